// Pooling: the maximum or the mean of each window of an image, every channel by itself.
#include "kernel.cuh"

// Windows of KH x KW pixels that move by SH, SW over an image with PH, PW pixels of padding around it.

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
    for (int o = first_element(); o < N * OH * OW * C; o += all_threads()) {
        int c = o % C, ow = o / C % OW, oh = o / C / OW % OH, n = o / C / OW / OH;
        A best = A(-INFINITY);
        int winner = -1;
        for (int j = 0; j < KW; ++j)
            for (int i = 0; i < KH; ++i) {
                int h = oh * SH - PH + i, w = ow * SW - PW + j;
                if (h < 0 || h >= H || w < 0 || w >= W) continue;
                A pixel = x[((n * H + h) * W + w) * C + c];
                if (winner < 0 || pixel > best || pixel != pixel) {
                    best = pixel;
                    winner = i * KW + j;
                }
            }
        if (bias) {
            best += bias[c];
            best = best < 0 ? A(0) : best;
        }
        y[o] = T(best);
        if (winners) winners[o] = static_cast<unsigned char>(winner);
    }
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
    for (int p = first_element(); p < N * H * W * C; p += all_threads()) {
        int c = p % C, w = p / C % W, h = p / C / W % H, n = p / C / W / H;
        A sum = 0;
        // Windows whose first row lies at most KH - 1 above this pixel, and columns alike.
        for (int oh = max(0, h + PH - KH + SH) / SH; oh < OH && oh * SH <= h + PH; ++oh)
            for (int ow = max(0, w + PW - KW + SW) / SW; ow < OW && ow * SW <= w + PW; ++ow) {
                int o = ((n * OH + oh) * OW + ow) * C + c;
                int place = (h + PH - oh * SH) * KW + (w + PW - ow * SW);
                if (winners[o] == place && (!y || A(y[o]) > 0)) sum += A(dy[o]);
            }
        dx[p] = T(sum);
    }
}

// y = the mean of each window, in which padding counts as zeros.
template <typename T>  // float, double, float16
__global__ void avg_pool_forward(const T* x,  // (N, H, W, C)
                                 T* y,        // (N, OH, OW, C)
                                 int N, int H, int W, int C, int OH, int OW, int KH, int KW, int SH, int SW, int PH,
                                 int PW) {
    using A = compute_t<T>;
    for (int o = first_element(); o < N * OH * OW * C; o += all_threads()) {
        int c = o % C, ow = o / C % OW, oh = o / C / OW % OH, n = o / C / OW / OH;
        A sum = 0;
        for (int h = max(0, oh * SH - PH); h < min(H, oh * SH - PH + KH); ++h)
            for (int w = max(0, ow * SW - PW); w < min(W, ow * SW - PW + KW); ++w)
                sum += A(x[((n * H + h) * W + w) * C + c]);
        y[o] = T(sum / (KH * KW));
    }
}

// dx = an equal share of dy from all windows over this pixel.
template <typename T>  // float, double, float16
__global__ void avg_pool_backward(const T* dy,  // (N, OH, OW, C)
                                  T* dx,        // (N, H, W, C)
                                  int N, int H, int W, int C, int OH, int OW, int KH, int KW, int SH, int SW, int PH,
                                  int PW) {
    using A = compute_t<T>;
    for (int p = first_element(); p < N * H * W * C; p += all_threads()) {
        int c = p % C, w = p / C % W, h = p / C / W % H, n = p / C / W / H;
        A sum = 0;
        for (int oh = max(0, h + PH - KH + SH) / SH; oh < OH && oh * SH <= h + PH; ++oh)
            for (int ow = max(0, w + PW - KW + SW) / SW; ow < OW && ow * SW <= w + PW; ++ow)
                sum += A(dy[((n * OH + oh) * OW + ow) * C + c]);
        dx[p] = T(sum / (KH * KW));
    }
}
