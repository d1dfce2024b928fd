// Convolution as a product of matrices that are never written down ("implicit GEMM"): tile.cuh multiplies, and what is
// an element of a matrix there is looked up in the image here. What it computes stands in core/ops/cpu/conv_simple.py.
#include "tile.cuh"

// The windows: KH x KW points, DH, DW apart, that move by SH, SW over an image with padding PH, PW.
struct Windows {
    int N, H, W, C, OH, OW, K, KH, KW, SH, SW, PH, PW, DH, DW;
};

#define WINDOWS \
    { N, H, W, C, OH, OW, K, KH, KW, SH, SW, PH, PW, DH, DW }

struct Pixel {
    int image, h, w;  // which image, -1 for none, and where
};

struct Point {
    int h, w, channel;  // where in a window, in pixels; channel -1 for none
};

__device__ inline Pixel pixel_of(int index, int images, int height, int width) {
    if (index >= images * height * width) return {-1, 0, 0};
    return {index / width / height, index / width % height, index % width};
}

__device__ inline Point point_of(int index, const Windows& s, int channels) {
    if (index >= s.KH * s.KW * channels) return {0, 0, -1};
    return {index / channels / s.KW * s.DH, index / channels % s.KW * s.DW, index % channels};
}

// Row: an output pixel; column: a point of the window and a channel. Element: what the window sees there.
template <typename T>
struct Seen {
    static constexpr bool ROWS_FIRST = true;
    using Row = Pixel;
    using Column = Point;
    const T* x;
    Windows s;
    __device__ Row row(int r) const { return pixel_of(r, s.N, s.OH, s.OW); }
    __device__ Column column(int c) const { return point_of(c, s, s.C); }
    __device__ T at(Row o, Column p) const {
        int h = o.h * s.SH - s.PH + p.h, w = o.w * s.SW - s.PW + p.w;
        if (o.image < 0 || p.channel < 0 || h < 0 || h >= s.H || w < 0 || w >= s.W) return T(0);
        return x[((o.image * s.H + h) * s.W + w) * s.C + p.channel];
    }
};

// The same matrix, transposed.
template <typename T>
struct SeenTransposed {
    static constexpr bool ROWS_FIRST = false;
    using Row = Point;
    using Column = Pixel;
    Seen<T> seen;
    __device__ Row row(int r) const { return seen.column(r); }
    __device__ Column column(int c) const { return seen.row(c); }
    __device__ T at(Row p, Column o) const { return seen.at(o, p); }
};

// Row: an input pixel; column: a point of the window and an output channel. Element: dy of that window which sees the
// pixel with that point of its own, if there is one.
template <typename T>
struct Seers {
    static constexpr bool ROWS_FIRST = true;
    using Row = Pixel;
    using Column = Point;
    const T* dy;
    Windows s;
    __device__ Row row(int r) const { return pixel_of(r, s.N, s.H, s.W); }
    __device__ Column column(int c) const { return point_of(c, s, s.K); }
    __device__ T at(Row i, Column p) const {
        int h = i.h + s.PH - p.h, w = i.w + s.PW - p.w;
        if (i.image < 0 || p.channel < 0 || h < 0 || w < 0 || h % s.SH || w % s.SW) return T(0);
        h /= s.SH;
        w /= s.SW;
        return h < s.OH && w < s.OW ? dy[((i.image * s.OH + h) * s.OW + w) * s.K + p.channel] : T(0);
    }
};

// Row: a point and an output channel; column: an input channel. Element: the weight between the two.
template <typename T>
struct WeightBackward {
    static constexpr bool ROWS_FIRST = false;
    struct Row {
        int point, k;
    };
    using Column = int;
    const T* weight;
    int points, C, K;
    __device__ Row row(int r) const { return r < points * K ? Row{r / K, r % K} : Row{-1, 0}; }
    __device__ Column column(int c) const { return c < C ? c : -1; }
    __device__ T at(Row r, Column c) const { return r.point < 0 || c < 0 ? T(0) : weight[(r.point * C + c) * K + r.k]; }
};

// y = the windows of x, as rows, times the weight, plus the bias.
template <typename T>  // float, double, float16
__global__ void conv2d_forward(const T* x,                // (N, H, W, C)
                               const T* weight,           // (KH * KW * C, K)
                               const compute_t<T>* bias,  // (K) or null
                               T* y,                      // (N, OH, OW, K)
                               int N, int H, int W, int C, int OH, int OW, int K, int KH, int KW, int SH, int SW,
                               int PH, int PW, int DH, int DW) {
    Windows s = WINDOWS;
    int points = KH * KW * C;
    tile_product<T>(Seen<T>{x, s}, Plain<T>{weight, points, K}, 0, points, StoreRows<T>{y, bias, N * OH * OW, K});
}

// dx: every input pixel collects from the windows that see it, so that no two threads write to one place.
template <typename T>  // float, double, float16
__global__ void conv2d_backward_input(const T* dy,      // (N, OH, OW, K)
                                      const T* weight,  // (KH * KW * C, K)
                                      T* dx,            // (N, H, W, C)
                                      int N, int H, int W, int C, int OH, int OW, int K, int KH, int KW, int SH,
                                      int SW, int PH, int PW, int DH, int DW) {
    Windows s = WINDOWS;
    tile_product<T>(Seers<T>{dy, s}, WeightBackward<T>{weight, KH * KW, C, K}, 0, KH * KW * K,
                    StoreRows<T>{dx, nullptr, N * H * W, C});
}

// dweight[g] = the g-th of G stretches of the sum over all output pixels of what the window sees, times dy. The sum is
// long and the matrix small, so many blocks share it; column_sums_forward adds up their parts. The last may be empty.
template <typename T>  // float, double, float16
__global__ void conv2d_backward_weight(const T* x,             // (N, H, W, C)
                                       const T* dy,            // (N, OH, OW, K)
                                       compute_t<T>* dweight,  // (G, KH * KW * C, K)
                                       int N, int H, int W, int C, int OH, int OW, int K, int KH, int KW, int SH,
                                       int SW, int PH, int PW, int DH, int DW, int G) {
    Windows s = WINDOWS;
    int points = KH * KW * C, pixels = N * OH * OW;
    int length = ((pixels + G - 1) / G + DEPTH - 1) / DEPTH * DEPTH;
    int first = min(pixels, static_cast<int>(blockIdx.z) * length);
    tile_product<T>(SeenTransposed<T>{{x, s}}, Plain<T>{dy, pixels, K}, first, min(pixels, first + length),
                    StoreRows<compute_t<T>>{dweight + blockIdx.z * points * K, nullptr, points, K});
}
