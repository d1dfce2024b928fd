// A product of matrices in four steps, to learn from. Fully connected layers use cuBLAS.
//
// On an H200 they reach 12, 17 and 77 % of cuBLAS in float32 and the last one 33 % in float16, for 4096 x 4096 elements
// (scripts/gpu_check.py).
#include "tile.cuh"

// Step 1: one thread an element of C. A warp reads a row of B in one go, but every element of A and B comes from memory
// as often as there are columns or rows in C.
template <typename T>
__global__ void gemm_naive(const T* a,  // (M, K)
                           const T* b,  // (K, N)
                           T* c,        // (M, N)
                           int M, int N, int K) {
    int column = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y * blockDim.y + threadIdx.y;
    if (row >= M || column >= N) return;
    T sum = 0;
    for (int k = 0; k < K; ++k) sum += a[row * K + k] * b[k * N + column];
    c[row * N + column] = sum;
}

// Step 2: 32 x 32 threads bring 32 x 32 tiles of A and B into shared memory, and multiply them there: every element
// comes from memory 32 times less often. Now each multiplication waits for two reads of shared memory.
template <typename T>
__global__ void gemm_tiled(const T* a,  // (M, K)
                           const T* b,  // (K, N)
                           T* c,        // (M, N)
                           int M, int N, int K) {
    __shared__ T a_tile[32][32], b_tile[32][32];
    int x = threadIdx.x, y = threadIdx.y, column = blockIdx.x * 32 + x, row = blockIdx.y * 32 + y;
    T sum = 0;
    for (int first = 0; first < K; first += 32) {
        a_tile[y][x] = row < M && first + x < K ? a[row * K + first + x] : T(0);
        b_tile[y][x] = first + y < K && column < N ? b[(first + y) * N + column] : T(0);
        __syncthreads();
        for (int k = 0; k < 32; ++k) sum += a_tile[y][k] * b_tile[k][x];
        __syncthreads();
    }
    if (row < M && column < N) c[row * N + column] = sum;
}

// Step 3: each thread makes 32 elements in registers, so that 3 reads of 16 bytes of shared memory serve 32
// multiplications, and the next pieces are on their way from memory meanwhile: see tile.cuh. Step 4, for float16: tensor
// cores do the multiplications, see tensor.cuh. What lies between this and cuBLAS on a Hopper: larger tiles, more pieces
// on their way at once, and there, for float16, the instructions by which four warps multiply together (wgmma).
template <typename T>  // float, double, float16
__global__ void gemm_blocked(const T* a,  // (M, K)
                             const T* b,  // (K, N)
                             T* c,        // (M, N)
                             int M, int N, int K) {
    tile_product<T>(AlongInner<T>{a, M, K}, AlongOuter<T>{b, K, N}, 0, K, StoreRows<T>{c, nullptr, M, N});
}
