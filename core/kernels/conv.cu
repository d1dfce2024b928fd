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
    int image, h, w;  // behind the last one image is N
};

__device__ inline Pixel pixel_of(int index, int height, int width) {
    return {index / width / height, index / width % height, index % width};
}

__device__ inline Pixel onward(Pixel p, int pixels, int height, int width) {
    for (p.w += pixels; p.w >= width; p.w -= width)
        if (++p.h == height) p = {p.image + 1, 0, p.w};
    return p;
}

// A place in a window, in pixels, and a channel; behind the last one h is KH * DH.
struct Point {
    int h, w, channel;
};

__device__ inline Point point_of(int index, const Windows& s, int channels) {
    return {index / channels / s.KW * s.DH, index / channels % s.KW * s.DW, index % channels};
}

__device__ inline Point onward(Point p, int elements, const Windows& s, int channels) {
    for (p.channel += elements; p.channel >= channels; p.channel -= channels)
        if ((p.w += s.DW) >= s.KW * s.DW) p = {p.h + s.DH, 0, p.channel};
    return p;
}

// The elements that a view shows from a pixel and a point on: neighbours are channels, and then points. A view says
// where that is in its memory, null for nowhere. Where packs are whole, none reaches beyond the channels of its point.
template <typename T, typename View>
__device__ Packed<T> collect_from(const View& view, Pixel pixel, Point point) {
    Packed<T> found = {};
    for (int k = 0; k < PACKED<T>; ++k, point = onward(point, 1, view.s, view.channels)) {
        const T* element = view.place(pixel, point);
        if (element) found.at[k] = *element;
    }
    return found;
}

// What a window of x sees. Pixel: of the output, whose window it is.
template <typename T>
struct Image {
    const T* elements;  // x
    int channels;
    Windows s;
    __device__ Pixel pixel(int o) const { return pixel_of(o, s.OH, s.OW); }
    __device__ Pixel further(Pixel o, int pixels) const { return onward(o, pixels, s.OH, s.OW); }
    __device__ const T* place(Pixel o, Point p) const {
        int h = o.h * s.SH - s.PH + p.h, w = o.w * s.SW - s.PW + p.w;
        if (o.image >= s.N || p.h >= s.KH * s.DH || h < 0 || h >= s.H || w < 0 || w >= s.W) return nullptr;
        return elements + ((o.image * s.H + h) * s.W + w) * s.C + p.channel;
    }
};

// dy of that window which sees a pixel of the input with that point of its own, if there is one.
template <typename T>
struct Gradient {
    const T* elements;  // dy
    int channels;
    Windows s;
    __device__ Pixel pixel(int i) const { return pixel_of(i, s.H, s.W); }
    __device__ const T* place(Pixel i, Point p) const {
        int h = i.h + s.PH - p.h, w = i.w + s.PW - p.w;
        if (i.image >= s.N || p.h >= s.KH * s.DH || h < 0 || w < 0) return nullptr;
        if (s.SH > 1 || s.SW > 1) {
            if (h % s.SH || w % s.SW) return nullptr;
            h /= s.SH;
            w /= s.SW;
        }
        return h < s.OH && w < s.OW ? elements + ((i.image * s.OH + h) * s.OW + w) * s.K + p.channel : nullptr;
    }
};

// A view as a matrix: a row for each pixel, a column for each point and channel.
template <typename T, typename View>
struct PixelsByPoints {
    static constexpr bool ALONG_INNER = true;
    using Outer = Pixel;
    using Inner = Point;
    View view;
    __device__ Outer outer(int o) const { return view.pixel(o); }
    __device__ Inner inner(int i) const { return point_of(i, view.s, view.channels); }
    __device__ Inner further(Inner i) const { return onward(i, DEPTH<T>, view.s, view.channels); }
    __device__ bool whole() const { return view.channels % PACKED<T> == 0 && aligned(view.elements); }
    __device__ const T* at(Outer o, Inner i) const { return view.place(o, i); }
    __device__ Packed<T> collect(Outer o, Inner i) const { return collect_from<T>(view, o, i); }
};

// The same matrix, transposed.
template <typename T, typename View>
struct PointsByPixels {
    static constexpr bool ALONG_INNER = false;
    using Outer = Point;
    using Inner = Pixel;
    PixelsByPoints<T, View> matrix;
    __device__ Outer outer(int o) const { return matrix.inner(o); }
    __device__ Inner inner(int i) const { return matrix.outer(i); }
    __device__ Inner further(Inner i) const { return matrix.view.further(i, DEPTH<T>); }
    __device__ bool whole() const { return matrix.whole(); }
    __device__ const T* at(Outer o, Inner i) const { return matrix.at(i, o); }
    __device__ Packed<T> collect(Outer o, Inner i) const { return matrix.collect(i, o); }
};

// B of the input's gradient. Outer: an input channel; inner: a point and an output channel. Element: the weight between
// the two.
template <typename T>
struct WeightBackward {
    static constexpr bool ALONG_INNER = true;
    struct Inner {
        int point, k;
    };
    using Outer = int;
    const T* weight;
    int points, C, K;
    __device__ Outer outer(int o) const { return o; }
    __device__ Inner inner(int i) const { return {i / K, i % K}; }
    __device__ Inner further(Inner i) const {
        for (i.k += DEPTH<T>; i.k >= K; i.k -= K) ++i.point;
        return i;
    }
    __device__ bool whole() const { return K % PACKED<T> == 0 && aligned(weight); }
    __device__ const T* at(Outer c, Inner i) const {
        return c < C && i.point < points ? weight + (i.point * C + c) * K + i.k : nullptr;
    }
    __device__ Packed<T> collect(Outer c, Inner i) const {
        Packed<T> found = {};
        for (int k = 0; k < PACKED<T>; ++k) {
            const T* element = at(c, i);
            if (element) found.at[k] = *element;
            if (++i.k == K) i = {i.point + 1, 0};
        }
        return found;
    }
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
    tile_product<T>(PixelsByPoints<T, Image<T>>{{x, C, s}}, AlongOuter<T>{weight, points, K}, 0, points,
                    StoreRows<T>{y, bias, N * OH * OW, K});
}

// dx: every input pixel collects from the windows that see it, so that no two threads write to one place.
template <typename T>  // float, double, float16
__global__ void conv2d_backward_input(const T* dy,      // (N, OH, OW, K)
                                      const T* weight,  // (KH * KW * C, K)
                                      T* dx,            // (N, H, W, C)
                                      int N, int H, int W, int C, int OH, int OW, int K, int KH, int KW, int SH,
                                      int SW, int PH, int PW, int DH, int DW) {
    Windows s = WINDOWS;
    tile_product<T>(PixelsByPoints<T, Gradient<T>>{{dy, K, s}}, WeightBackward<T>{weight, KH * KW, C, K}, 0,
                    KH * KW * K, StoreRows<T>{dx, nullptr, N * H * W, C});
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
    int length = ((pixels + G - 1) / G + DEPTH<T> - 1) / DEPTH<T> * DEPTH<T>;
    int first = min(pixels, static_cast<int>(blockIdx.z) * length);
    tile_product<T>(PointsByPixels<T, Image<T>>{{{x, C, s}}}, AlongOuter<T>{dy, pixels, K}, first,
                    min(pixels, first + length),
                    StoreRows<compute_t<T>>{dweight + blockIdx.z * points * K, nullptr, points, K});
}
