// Sums over the rows of (M, C) arrays: of gradients for biases, of squares for BatchNorm and for the gradient's norm.
#include "kernel.cuh"

// total[r, c] = the sum over the r-th of R stretches of rows of
//     x                     without y and center,
//     x * y                 with y (which may be x),
//     (x - center[c])^2     with center.
//
// The sums are float where x is float16.
//
// Blocks are (W, 256 / W) threads: W columns side by side, so that a warp reads one stretch of memory also where rows
// are short. Grid: (C / W, R), rounded up. With R > 1 a second launch adds up the R rows of `total`.
template <typename T>  // float, double, float16
__global__ void column_sums_forward(const T* x,                  // (M, C)
                                    const T* y,                  // (M, C) or null
                                    const compute_t<T>* center,  // (C) or null
                                    compute_t<T>* total,         // (R, C)
                                    int M, int C, int R) {
    using A = compute_t<T>;
    __shared__ A parts[256];
    int column = blockIdx.x * blockDim.x + threadIdx.x;
    int length = (M + R - 1) / R, first = blockIdx.y * length, last = min(M, first + length);
    A sum = 0;
    if (column < C) {
        A middle = center ? center[column] : A(0);
        for (int row = first + threadIdx.y; row < last; row += blockDim.y) {
            A value = A(x[row * C + column]) - middle;
            sum += center ? value * value : y ? value * A(y[row * C + column]) : value;
        }
    }
    int place = threadIdx.y * blockDim.x + threadIdx.x;
    parts[place] = sum;
    // The lower half of the threads adds the upper half's parts, again and again.
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) parts[place] += parts[place + half * blockDim.x];
    }
    if (threadIdx.y == 0 && column < C) total[blockIdx.y * C + column] = parts[threadIdx.x];
}
