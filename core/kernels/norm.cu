// Normalisation: per column for BatchNorm, whose sums come from columns.cu, and per row for LayerNorm.
#include "elements.cuh"
#include "rows.cuh"

// y = scale * x + bias, column by column. y may be x.
template <typename T>
__global__ void affine_forward(const T* x,      // (M, C)
                               const T* scale,  // (C)
                               const T* bias,   // (C)
                               T* y,            // (M, C)
                               int M, int C) {
    auto affine = [=](T x, T scale, T bias, T& y) { y = scale * x + bias; };
    each_in_rows(M, C, affine, reads(x), per_column(scale), per_column(bias), writes(y));
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
    auto normalize = [=](A x, A mean, A inverse, A weight, A bias, A& x_hat, A& y) {
        x_hat = (x - mean) * inverse;
        y = weight * x_hat + bias;
    };
    each_in_rows(M, C, normalize, reads(x), per_column(mean), per_column(inverse_deviation), per_column(weight),
                 per_column(bias), writes(x_hat), writes(y));
}

// dx = weight * inverse_deviation * (dy - share * (dbias + x_hat * dweight)), column by column, where `share` makes means
// of sums over all rows; Ioffe and Szegedy 2015, section 3, simplified.
template <typename T>  // float, double, float16
__global__ void normalize_backward(const T* dy,                            // (M, C)
                                   const T* x_hat,                         // (M, C)
                                   const compute_t<T>* weight,             // (C)
                                   const compute_t<T>* inverse_deviation,  // (C) or null
                                   const compute_t<T>* dbias,              // (C)
                                   const compute_t<T>* dweight,            // (C)
                                   T* dx,                                  // (M, C)
                                   int M, int C, compute_t<T> share) {
    using A = compute_t<T>;
    bool is_scaled = !inverse_deviation;  // in `weight` already
    auto differentiate = [=](A dy, A x_hat, A weight, A inverse, A dbias, A dweight, A& dx) {
        dx = (is_scaled ? weight : weight * inverse) * (dy - share * (dbias + x_hat * dweight));
    };
    each_in_rows(M, C, differentiate, reads(dy), reads(x_hat), per_column(weight), per_column(inverse_deviation),
                 per_column(dbias), per_column(dweight), writes(dx));
}

// One warp a row: the mean, then the variance around it, then x_hat and y.
template <typename T>
__global__ void layer_norm_forward(const T* x,            // (M, C)
                                   const T* weight,       // (C)
                                   const T* bias,         // (C)
                                   T* x_hat,              // (M, C)
                                   T* y,                  // (M, C)
                                   T* inverse_deviation,  // (M)
                                   int M, int C, T eps) {
    T share = T(1) / C;
    auto normalize = [&](auto width) {
        constexpr int K = width.value;
        for (int row = first_warp(); row < M; row += all_warps()) {
            T *own_x_hat = x_hat + row * C, *own_y = y + row * C;
            Row<T, K> own(x + row * C, C);
            T sum = 0, squares = 0;
            look([&](int, T v) { sum += v; }, own);
            T mean = warp_sum(sum) * share;
            look([&](int, T v) { squares += (v - mean) * (v - mean); }, own);
            T inverse = rsqrt(warp_sum(squares) * share + eps);
            change(own_x_hat, [=](int, T& v) { v = (v - mean) * inverse; }, own);
            own.store(own_x_hat);
            Beside<T, K> weights{weight}, biases{bias};
            change(own_y, [=](int, T& v, T w, T b) { v = w * v + b; }, own, weights, biases);
            own.store(own_y);
            if (lane() == 0) inverse_deviation[row] = inverse;
        }
    };
    in_packs(C, normalize, x, weight, bias, x_hat, y);
}

// dx = (g - mean(g) - x_hat * mean(g * x_hat)) / deviation with g = dy * weight, and means within each row.
template <typename T>
__global__ void layer_norm_backward(const T* dy,                 // (M, C)
                                    const T* x_hat,              // (M, C)
                                    const T* weight,             // (C)
                                    const T* inverse_deviation,  // (M)
                                    T* dx,                       // (M, C)
                                    int M, int C) {
    T share = T(1) / C;
    auto differentiate = [&](auto width) {
        constexpr int K = width.value;
        for (int row = first_warp(); row < M; row += all_warps()) {
            T* own_dx = dx + row * C;
            Row<T, K> g(dy + row * C, C), x_hats(x_hat + row * C, C);
            T inverse = inverse_deviation[row], sum = 0, products = 0;
            auto weigh = [&](int, T& g, T x_hat, T w) {
                g *= w;
                sum += g;
                products += g * x_hat;
            };
            change(own_dx, weigh, g, x_hats, Beside<T, K>{weight});
            T mean_g = warp_sum(sum) * share, mean_g_x_hat = warp_sum(products) * share;
            change(own_dx, [=](int, T& g, T x_hat) { g = inverse * (g - mean_g - x_hat * mean_g_x_hat); }, g, x_hats);
            g.store(own_dx);
        }
    };
    in_packs(C, differentiate, dy, x_hat, weight, dx);
}
