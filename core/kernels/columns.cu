// Sums over the rows of (M, C) arrays, of gradients for biases and of squares for BatchNorm, and over whole arrays.
//
// Every sum takes one launch. The rows are cut into R stretches, one for each of R blocks, and the block that is ready
// last puts together what all of them have left in `parts`; the order is the same in every run.
//
// Blocks are (W, 256 / W) threads: W packs of columns side by side, so that a warp reads one stretch of memory also where
// rows are short. Grid: (packs / W, R), rounded up.
#include "elements.cuh"

constexpr int THREADS = 256;  // of a block
constexpr int AHEAD = 4;      // rows that a thread has on their way at once: there is little else to do meanwhile

// What a thread works on: K columns side by side, fewer at the right border, and every so many rows of its stretch.
template <typename T>
struct Share {
    static constexpr int K = 16 / sizeof(T);
    int C, first, count, row, last, stretches;
    __device__ Share(int M, int C) : C(C), stretches(gridDim.y) {
        first = (blockIdx.x * blockDim.x + threadIdx.x) * K;
        count = min(K, C - first);  // below 0 beyond the last column
        int length = (M + stretches - 1) / stretches;
        row = blockIdx.y * length + threadIdx.y;
        last = min(M, (static_cast<int>(blockIdx.y) + 1) * length);
    }
    // Where this block leaves its part number `which`, and where the block of another stretch does.
    __device__ int part(int which, int stretch) const { return (which * stretches + stretch) * C + first; }
};

// take(x, y, k) for the elements of K columns in the rows first, first + step, ... below `last`.
template <int K, typename T, typename F>
__device__ void go_down(const T* x, const T* y, int C, int count, int first, int last, F take) {
    using A = compute_t<T>;
    bool whole = C % K == 0 && aligned(x, y);
    int step = blockDim.y;
    for (int row = first; row < last; row += AHEAD * step) {
        Pack<T, K> xs[AHEAD] = {}, ys[AHEAD] = {};
#pragma unroll
        for (int n = 0; n < AHEAD; ++n) {
            bool there = row + n * step < last;
            int place = there ? (row + n * step) * C : 0;
            xs[n] = fetch_some<K>(x + place, there ? count : 0, whole);
            if (y) ys[n] = fetch_some<K>(y + place, there ? count : 0, whole);
        }
#pragma unroll
        for (int n = 0; n < AHEAD; ++n)
            if (row + n * step < last)
                for (int k = 0; k < K; ++k) take(A(xs[n].at[k]), A(ys[n].at[k]), k);
    }
}

// Merges each of N values of the threads that stand above each other in a block, into those of the uppermost thread.
template <int N, typename V, typename F>
__device__ void fold(V* values, F merge) {
    __shared__ V parts[THREADS * N];
    int place = threadIdx.y * blockDim.x + threadIdx.x;
    for (int n = 0; n < N; ++n) parts[n * THREADS + place] = values[n];
    // The lower half of the threads takes the upper half's parts, again and again.
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half)
            for (int n = 0; n < N; ++n)
                merge(parts[n * THREADS + place], parts[n * THREADS + place + half * blockDim.x]);
    }
    for (int n = 0; n < N; ++n) values[n] = parts[n * THREADS + place];  // the uppermost has waited for all
}

// total[c] = the sum of term(x, y, k) over all rows, and other[c] that of x * y unless it is null.
template <int S, typename T, typename A, typename F>
__device__ void sum_columns(const T* x, const T* y, F term, A* total, A* other, A* parts, int* arrived, int M, int C) {
    constexpr int K = Share<T>::K;
    auto add = [](A& a, A b) { a += b; };
    Share<T> own(M, C);
    A sums[S * K] = {}, again[S * K] = {};
    auto take = [&](A x, A y, int k) {
        sums[k] += term(x, y, k);
        if constexpr (S == 2) sums[K + k] += x * y;
    };
    go_down<K>(x + own.first, y ? y + own.first : y, C, own.count, own.row, own.last, take);
    fold<S * K>(sums, add);
    A* to[] = {total, other};
    if (threadIdx.y == 0)
        for (int s = 0; s < S; ++s)
            for (int k = 0; k < own.count; ++k)
                (own.stretches == 1 ? to[s] + own.first : parts + own.part(s, blockIdx.y))[k] = sums[s * K + k];
    if (own.stretches == 1 || !is_last_block(arrived + blockIdx.x, own.stretches)) return;
    for (int s = 0; s < S; ++s)
        go_down<K>(parts + own.part(s, 0), static_cast<A*>(nullptr), C, own.count, threadIdx.y, own.stretches,
                   [&](A part, A, int k) { again[s * K + k] += part; });
    fold<S * K>(again, add);
    if (threadIdx.y == 0)
        for (int s = 0; s < S; ++s)
            for (int k = 0; k < own.count; ++k) to[s][own.first + k] = again[s * K + k];
}

// total[c] = the sum over all rows of
//     x                     without y and center,
//     x * y                 with y (which may be x),
//     (x - center[c])^2     with center.
//
// The sums are float where x is float16.
template <typename T>  // float, double, float16
__global__ void column_sums_forward(const T* x,                  // (M, C)
                                    const T* y,                  // (M, C) or null
                                    const compute_t<T>* center,  // (C) or null
                                    compute_t<T>* total,         // (C)
                                    compute_t<T>* parts,         // (P)
                                    int* arrived,                // (G)
                                    int M, int C, int P, int G) {
    using A = compute_t<T>;
    A *other = nullptr, middle[Share<T>::K] = {};
    if (y) return sum_columns<1>(x, y, [](A x, A y, int) { return x * y; }, total, other, parts, arrived, M, C);
    if (!center) return sum_columns<1>(x, y, [](A x, A, int) { return x; }, total, other, parts, arrived, M, C);
    Share<T> own(M, C);
    for (int k = 0; k < own.count; ++k) middle[k] = center[own.first + k];
    auto squared = [&](A x, A, int k) { return (x - middle[k]) * (x - middle[k]); };
    sum_columns<1>(x, y, squared, total, other, parts, arrived, M, C);
}

// dbias = the sum of dy over all rows, and dweight that of dy * x_hat: what a normalisation's bias and weight learn from.
template <typename T>  // float, double, float16
__global__ void norm_gradients_backward(const T* dy,            // (M, C)
                                        const T* x_hat,         // (M, C)
                                        compute_t<T>* dbias,    // (C)
                                        compute_t<T>* dweight,  // (C)
                                        compute_t<T>* parts,    // (P)
                                        int* arrived,           // (G)
                                        int M, int C, int P, int G) {
    using A = compute_t<T>;
    sum_columns<2>(dy, x_hat, [](A dy, A, int) { return dy; }, dbias, dweight, parts, arrived, M, C);
}

// Of n numbers: their mean, and the sum of squares around it. Updates by Welford 1962, merged by Chan et al. 1979: unlike
// the difference of two large sums, this loses no digits where the mean is large.
template <typename A>
struct Moments {
    A n, mean, squares;
    __device__ void merge(const Moments& other) {
        if (other.n == 0) return;
        A all = n + other.n, distance = other.mean - mean;
        mean += distance * (other.n / all);
        squares += other.squares + distance * distance * (n * (other.n / all));
        n = all;
    }
};

// The mean and 1 / sqrt(variance + eps) of each column; the running statistics go a share `momentum` of the way to them,
// the variance to the unbiased one.
template <typename T>  // float, double, float16
__global__ void column_statistics_forward(const T* x,                       // (M, C)
                                          compute_t<T>* mean,               // (C)
                                          compute_t<T>* inverse_deviation,  // (C)
                                          compute_t<T>* running_mean,       // (C) or null
                                          compute_t<T>* running_var,        // (C) or null
                                          compute_t<T>* parts,              // (P)
                                          int* arrived,                     // (G)
                                          int M, int C, int P, int G, compute_t<T> eps, compute_t<T> momentum) {
    using A = compute_t<T>;
    constexpr int K = Share<T>::K;
    auto merge = [](Moments<A>& a, const Moments<A>& b) { a.merge(b); };
    Share<T> own(M, C);
    Moments<A> found[K] = {};
    A inverse_n = 0;
    auto take = [&](A x, A, int k) {
        Moments<A>& m = found[k];
        m.n += 1;
        if (k == 0) inverse_n = 1 / m.n;  // the same for all columns
        A distance = x - m.mean;
        m.mean += distance * inverse_n;
        m.squares += distance * (x - m.mean);
    };
    go_down<K>(x + own.first, static_cast<const T*>(nullptr), C, own.count, own.row, own.last, take);
    fold<K>(found, merge);
    if (own.stretches > 1) {
        if (threadIdx.y == 0)
            for (int k = 0; k < own.count; ++k) {
                parts[own.part(0, blockIdx.y) + k] = found[k].n;
                parts[own.part(1, blockIdx.y) + k] = found[k].mean;
                parts[own.part(2, blockIdx.y) + k] = found[k].squares;
            }
        if (!is_last_block(arrived + blockIdx.x, own.stretches)) return;
        for (int k = 0; k < K; ++k) found[k] = {};
        for (int stretch = threadIdx.y; stretch < own.stretches; stretch += blockDim.y)
            for (int k = 0; k < own.count; ++k)
                found[k].merge({parts[own.part(0, stretch) + k], parts[own.part(1, stretch) + k],
                                parts[own.part(2, stretch) + k]});
        fold<K>(found, merge);
    }
    if (threadIdx.y > 0) return;
    for (int k = 0; k < own.count; ++k) {
        int c = own.first + k;
        Moments<A> m = found[k];
        mean[c] = m.mean;
        inverse_deviation[c] = 1 / sqrt(m.squares / max(m.n, A(1)) + eps);
        if (!running_mean || m.n == 0) continue;  // no rows, nothing learnt
        running_mean[c] += momentum * (m.mean - running_mean[c]);
        running_var[c] += momentum * (m.squares / max(m.n - 1, A(1)) - running_var[c]);
    }
}

// total[0] = the sum of the squares of all elements.
template <typename T>  // float, double, float16
__global__ void square_sum_forward(const T* x,           // (N)
                                   compute_t<T>* total,  // (1)
                                   compute_t<T>* parts,  // (P)
                                   int* arrived,         // (G)
                                   int N, int P, int G) {
    using A = compute_t<T>;
    A sum = 0;
    each(N, [&](A x) { sum += x * x; }, reads(x));
    grid_sum(sum, parts, arrived, total);
}
