// Normalisation: per column for BatchNorm, whose sums come from columns.cu, and per row for LayerNorm.
#include "kernel.cuh"

// y = scale * x + bias, column by column. y may be x.
template <typename T>
__global__ void affine_forward(const T* x,      // (M, C)
                               const T* scale,  // (C)
                               const T* bias,   // (C)
                               T* y,            // (M, C)
                               int M, int C) {
    for (int i = first_element(); i < M * C; i += all_threads()) y[i] = scale[i % C] * x[i] + bias[i % C];
}

// x_hat = (x - mean) * inverse_deviation and y = weight * x_hat + bias, column by column.
template <typename T>  // float, double, float16
__global__ void normalize_forward(const T* x,                             // (M, C)
                                  const compute_t<T>* mean,               // (C)
                                  const compute_t<T>* inverse_deviation,  // (C)
                                  const compute_t<T>* weight,             // (C)
                                  const compute_t<T>* bias,               // (C)
                                  T* x_hat,                               // (M, C)
                                  T* y,                                   // (M, C)
                                  int M, int C) {
    using A = compute_t<T>;
    for (int i = first_element(); i < M * C; i += all_threads()) {
        int c = i % C;
        A value = (A(x[i]) - mean[c]) * inverse_deviation[c];
        x_hat[i] = T(value);
        y[i] = T(weight[c] * value + bias[c]);
    }
}

// dx = scale * (dy - mean_dy - x_hat * mean_dy_x_hat), column by column; Ioffe and Szegedy 2015, section 3, simplified.
template <typename T>  // float, double, float16
__global__ void normalize_backward(const T* dy,                        // (M, C)
                                   const T* x_hat,                     // (M, C)
                                   const compute_t<T>* scale,          // (C)
                                   const compute_t<T>* mean_dy,        // (C)
                                   const compute_t<T>* mean_dy_x_hat,  // (C)
                                   T* dx,                              // (M, C)
                                   int M, int C) {
    using A = compute_t<T>;
    for (int i = first_element(); i < M * C; i += all_threads()) {
        int c = i % C;
        dx[i] = T(scale[c] * (A(dy[i]) - mean_dy[c] - A(x_hat[i]) * mean_dy_x_hat[c]));
    }
}

// One warp a row: the mean, then the variance around it, then x_hat and y. The second and third look at x find it in
// the cache.
template <typename T>
__global__ void layer_norm_forward(const T* x,            // (M, C)
                                   const T* weight,       // (C)
                                   const T* bias,         // (C)
                                   T* x_hat,              // (M, C)
                                   T* y,                  // (M, C)
                                   T* inverse_deviation,  // (M)
                                   int M, int C, T eps) {
    for (int row = first_warp(); row < M; row += all_warps()) {
        const T* own = x + row * C;
        T sum = 0, squares = 0;
        for (int c = lane(); c < C; c += 32) sum += own[c];
        T mean = warp_sum(sum) / C;
        for (int c = lane(); c < C; c += 32) squares += (own[c] - mean) * (own[c] - mean);
        T inverse = 1 / sqrt(warp_sum(squares) / C + eps);
        for (int c = lane(); c < C; c += 32) {
            T value = (own[c] - mean) * inverse;
            x_hat[row * C + c] = value;
            y[row * C + c] = weight[c] * value + bias[c];
        }
        if (lane() == 0) inverse_deviation[row] = inverse;
    }
}

// dx = (g - mean(g) - x_hat * mean(g * x_hat)) / deviation with g = dy * weight, and means within each row.
template <typename T>
__global__ void layer_norm_backward(const T* dy,                 // (M, C)
                                    const T* x_hat,              // (M, C)
                                    const T* weight,             // (C)
                                    const T* inverse_deviation,  // (M)
                                    T* dx,                       // (M, C)
                                    int M, int C) {
    for (int row = first_warp(); row < M; row += all_warps()) {
        T sum = 0, products = 0;
        for (int c = lane(); c < C; c += 32) {
            T g = dy[row * C + c] * weight[c];
            sum += g;
            products += g * x_hat[row * C + c];
        }
        T mean_g = warp_sum(sum) / C, mean_g_x_hat = warp_sum(products) / C;
        for (int c = lane(); c < C; c += 32) {
            int i = row * C + c;
            dx[i] = inverse_deviation[row] * (dy[i] * weight[c] - mean_g - x_hat[i] * mean_g_x_hat);
        }
    }
}
