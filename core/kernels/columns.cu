// Sums over the rows of (M, C) arrays, of gradients for biases and of squares for BatchNorm, and over whole arrays.
//
// Every sum takes one launch. The rows are cut into R stretches, one for each of R blocks, and the block that is ready
// last adds up what all of them have left in `parts`; the order of the additions is the same in every run.
#include "elements.cuh"

constexpr int THREADS = 256;  // of a block
constexpr int AHEAD = 4;      // rows that a thread has on their way at once: there is little else to do meanwhile

// A thread's columns: K side by side, fewer at the right border.
template <typename T>
struct Columns {
    static constexpr int K = 16 / sizeof(T);
    int first, count;
    __device__ explicit Columns(int C) {
        first = (blockIdx.x * blockDim.x + threadIdx.x) * K;
        count = max(0, min(K, C - first));
    }
};

// Adds term(x, y, k) for the rows first, first + step, ... below `last` to sums[k], for column k of a thread's.
template <int K, typename T, typename A, typename F>
__device__ void add_rows(const T* x, const T* y, int C, int count, int first, int last, int step, F term, A* sums) {
    bool whole = C % K == 0 && aligned(x, y);
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
                for (int k = 0; k < K; ++k) sums[k] += term(A(xs[n].at[k]), A(ys[n].at[k]), k);
    }
}

// Leaves in to[k] the sums of sums[k] over the threads that stand above each other in a block; all must call it.
template <int K, typename A>
__device__ void add_threads(const A* sums, int count, A* to) {
    __shared__ A parts[THREADS * K];
    int place = threadIdx.y * blockDim.x + threadIdx.x;
    for (int k = 0; k < K; ++k) parts[k * THREADS + place] = sums[k];
    // The lower half of the threads adds the upper half's parts, again and again.
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half)
            for (int k = 0; k < K; ++k) parts[k * THREADS + place] += parts[k * THREADS + place + half * blockDim.x];
    }
    if (threadIdx.y == 0)
        for (int k = 0; k < count; ++k) to[k] = parts[k * THREADS + place];
}

// total[c] = the sum of term(x, y, k) over all rows; x and y, which may be null, are (M, C), parts has room for (R, C).
//
// Blocks are (W, 256 / W) threads: W packs of columns side by side, so that a warp reads one stretch of memory also where
// rows are short. Grid: (packs / W, R), rounded up.
template <typename T, typename A, typename F>
__device__ void sum_columns(const T* x, const T* y, F term, A* total, A* parts, int* arrived, int M, int C) {
    constexpr int K = Columns<T>::K;
    Columns<T> own(C);
    int R = gridDim.y, length = (M + R - 1) / R, first = blockIdx.y * length, last = min(M, first + length);
    A sums[K] = {}, again[K] = {};
    add_rows<K>(x + own.first, y ? y + own.first : y, C, own.count, first + threadIdx.y, last, blockDim.y, term, sums);
    add_threads<K>(sums, own.count, (R > 1 ? parts + blockIdx.y * C : total) + own.first);
    if (R == 1 || !is_last_block(arrived + blockIdx.x, R)) return;
    auto itself = [](A part, A, int) { return part; };
    add_rows<K>(parts + own.first, static_cast<A*>(nullptr), C, own.count, threadIdx.y, R, blockDim.y, itself, again);
    add_threads<K>(again, own.count, total + own.first);
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
    if (y) return sum_columns(x, y, [](A x, A y, int) { return x * y; }, total, parts, arrived, M, C);
    if (!center) return sum_columns(x, y, [](A x, A, int) { return x; }, total, parts, arrived, M, C);
    Columns<T> own(C);
    A middle[own.K] = {};
    for (int k = 0; k < own.count; ++k) middle[k] = center[own.first + k];
    auto squared = [&](A x, A, int k) { return (x - middle[k]) * (x - middle[k]); };
    sum_columns(x, y, squared, total, parts, arrived, M, C);
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
