// Pooling: the maximum or the mean of each window of an image, every channel by itself.
//
// A thread takes K channels of a pixel, 16 bytes where the arrays allow that, and so divides once for all of them.
#include "kernel.cuh"

// Windows of KH x KW pixels that move by SH, SW over an image with PH, PW pixels of padding around it.

// The pixel, and the first of K channels, at the `place`-th pack of a (N, H, W, C) array.
template <int K>
struct Pixel {
    int n, h, w, c;
    __device__ Pixel(int place, int H, int W, int C) {
        int row = C / K;
        c = place % row * K;
        w = place / row % W;
        h = place / row / W % H;
        n = place / row / W / H;
    }
};

// run(k) with k.K = 16 / sizeof(T) channels at once, or 1 where packs do not fit all rows and arrays.
template <int N> struct Channels { static constexpr int K = N; };
template <typename T, typename Run, typename... Others>
__device__ void in_packs(int C, Run run, const T* x, const Others*... others) {
    constexpr int K = 16 / sizeof(T);
    if (C % K == 0 && aligned(x, others...)) run(Channels<K>());
    else run(Channels<1>());
}

// y = the largest pixel of each window, and winners = its place i * KW + j in the window. With a bias, y is
// relu(maximum + bias), which is the maximum of relu(x + bias), since adding and ReLU are monotone.
//
// Of equal pixels the one in the first column wins, and there the first; what is no number wins always.
template <typename T>  // float, double, float16
__global__ void max_pool_forward(const T* x,                // (N, H, W, C)
                                 const compute_t<T>* bias,  // (C) or null
                                 T* y,                      // (N, OH, OW, C)
                                 unsigned char* winners,    // (N, OH, OW, C) or null
                                 int N, int H, int W, int C, int OH, int OW, int KH, int KW, int SH, int SW, int PH,
                                 int PW) {
    using A = compute_t<T>;
    in_packs(C, [=](auto channels) {
        constexpr int K = channels.K;
        for (int place = first_element(); place < N * OH * OW * (C / K); place += all_threads()) {
            Pixel<K> o(place, OH, OW, C);
            A best[K] = {};
            int winner[K];
            for (int k = 0; k < K; ++k) winner[k] = -1;
            for (int j = 0; j < KW; ++j)
                for (int i = 0; i < KH; ++i) {
                    int h = o.h * SH - PH + i, w = o.w * SW - PW + j;
                    if (h < 0 || h >= H || w < 0 || w >= W) continue;
                    Pack<T, K> pixels = *packs<K>(x + ((o.n * H + h) * W + w) * C + o.c);
                    for (int k = 0; k < K; ++k) {
                        A pixel = A(pixels.at[k]);
                        if (winner[k] >= 0 && !(pixel > best[k]) && pixel == pixel) continue;
                        best[k] = pixel;
                        winner[k] = i * KW + j;
                    }
                }
            Pack<T, K> made;
            Pack<unsigned char, K> places;
            for (int k = 0; k < K; ++k) {
                A sum = winner[k] < 0 ? A(-INFINITY) : best[k];
                if (bias) sum += bias[o.c + k];
                made.at[k] = T(bias && sum < 0 ? A(0) : sum);
                places.at[k] = static_cast<unsigned char>(winner[k]);
            }
            packs<K>(y)[place] = made;
            if (winners) packs<K>(winners)[place] = places;
        }
    }, x, y, winners);
}

// dx = the sum of dy over all windows that this pixel has won. With y, dy passes only where y > 0.
//
// Every pixel collects from the windows over it, so that no two threads write to one place.
template <typename T>  // float, double, float16
__global__ void max_pool_backward(const T* dy,                   // (N, OH, OW, C)
                                  const T* y,                    // (N, OH, OW, C) or null
                                  const unsigned char* winners,  // (N, OH, OW, C)
                                  T* dx,                         // (N, H, W, C)
                                  int N, int H, int W, int C, int OH, int OW, int KH, int KW, int SH, int SW, int PH,
                                  int PW) {
    using A = compute_t<T>;
    in_packs(C, [=](auto channels) {
        constexpr int K = channels.K;
        for (int place = first_element(); place < N * H * W * (C / K); place += all_threads()) {
            Pixel<K> p(place, H, W, C);
            A sums[K] = {};
            // Windows whose first row lies at most KH - 1 above this pixel, and columns alike.
            for (int oh = max(0, p.h + PH - KH + SH) / SH; oh < OH && oh * SH <= p.h + PH; ++oh)
                for (int ow = max(0, p.w + PW - KW + SW) / SW; ow < OW && ow * SW <= p.w + PW; ++ow) {
                    int o = ((p.n * OH + oh) * OW + ow) * C + p.c;
                    int here = (p.h + PH - oh * SH) * KW + (p.w + PW - ow * SW);
                    Pack<T, K> dys = *packs<K>(dy + o), ys = {};
                    Pack<unsigned char, K> winner = *packs<K>(winners + o);
                    if (y) ys = *packs<K>(y + o);
                    for (int k = 0; k < K; ++k)
                        if (winner.at[k] == here && (!y || A(ys.at[k]) > 0)) sums[k] += A(dys.at[k]);
                }
            Pack<T, K> made;
            for (int k = 0; k < K; ++k) made.at[k] = T(sums[k]);
            packs<K>(dx)[place] = made;
        }
    }, dy, y, winners, dx);
}

// y = the mean of each window, in which padding counts as zeros.
template <typename T>  // float, double, float16
__global__ void avg_pool_forward(const T* x,  // (N, H, W, C)
                                 T* y,        // (N, OH, OW, C)
                                 int N, int H, int W, int C, int OH, int OW, int KH, int KW, int SH, int SW, int PH,
                                 int PW) {
    using A = compute_t<T>;
    in_packs(C, [=](auto channels) {
        constexpr int K = channels.K;
        for (int place = first_element(); place < N * OH * OW * (C / K); place += all_threads()) {
            Pixel<K> o(place, OH, OW, C);
            A sums[K] = {};
            for (int h = max(0, o.h * SH - PH); h < min(H, o.h * SH - PH + KH); ++h)
                for (int w = max(0, o.w * SW - PW); w < min(W, o.w * SW - PW + KW); ++w) {
                    Pack<T, K> pixels = *packs<K>(x + ((o.n * H + h) * W + w) * C + o.c);
                    for (int k = 0; k < K; ++k) sums[k] += A(pixels.at[k]);
                }
            Pack<T, K> made;
            for (int k = 0; k < K; ++k) made.at[k] = T(sums[k] / (KH * KW));
            packs<K>(y)[place] = made;
        }
    }, x, y);
}

// dx = an equal share of dy from all windows over this pixel.
template <typename T>  // float, double, float16
__global__ void avg_pool_backward(const T* dy,  // (N, OH, OW, C)
                                  T* dx,        // (N, H, W, C)
                                  int N, int H, int W, int C, int OH, int OW, int KH, int KW, int SH, int SW, int PH,
                                  int PW) {
    using A = compute_t<T>;
    in_packs(C, [=](auto channels) {
        constexpr int K = channels.K;
        for (int place = first_element(); place < N * H * W * (C / K); place += all_threads()) {
            Pixel<K> p(place, H, W, C);
            A sums[K] = {};
            for (int oh = max(0, p.h + PH - KH + SH) / SH; oh < OH && oh * SH <= p.h + PH; ++oh)
                for (int ow = max(0, p.w + PW - KW + SW) / SW; ow < OW && ow * SW <= p.w + PW; ++ow) {
                    Pack<T, K> dys = *packs<K>(dy + ((p.n * OH + oh) * OW + ow) * C + p.c);
                    for (int k = 0; k < K; ++k) sums[k] += A(dys.at[k]);
                }
            Pack<T, K> made;
            for (int k = 0; k < K; ++k) made.at[k] = T(sums[k] / (KH * KW));
            packs<K>(dx)[place] = made;
        }
    }, dy, dx);
}
