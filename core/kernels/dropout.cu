// Dropout with random numbers made on the spot: the same ones that core.random.Stream draws on the CPU.
#include "philox.cuh"

constexpr int THREADS = 256;   // of a block of threads
constexpr int STRETCH = 4096;  // draws that a block of threads makes at a time

// mask = 0 where the draw is below first_kept, else scale; y = x * mask.
//
// Each thread makes the 16 draws of one counter value. They go through shared memory, because neighbouring threads
// should write neighbouring elements.
template <typename T>  // float, double, float16
__global__ void dropout_forward(const T* x,  // (N, D)
                                T* mask,     // (N, D)
                                T* y,        // (N, D)
                                int N, int D, unsigned long long seed, unsigned long long salt,
                                unsigned long long first_block, unsigned long long batch, unsigned long long epoch,
                                int first_kept, double scale) {
    using A = compute_t<T>;
    __shared__ unsigned short made[STRETCH];
    Draws draws = {seed, salt, first_block, batch, epoch};
    int row_blocks = (D + PER_BLOCK - 1) / PER_BLOCK, all_blocks = N * row_blocks;
    for (int first = blockIdx.x * THREADS; first < all_blocks; first += gridDim.x * THREADS) {
        int own = first + threadIdx.x;
        __syncthreads();  // nobody still reads what was made before
        if (own < all_blocks) draw_block(draws, own, made + PER_BLOCK * threadIdx.x);
        __syncthreads();
        for (int k = threadIdx.x; k < STRETCH; k += THREADS) {
            int place = first + k / PER_BLOCK, row = place / row_blocks;
            int column = place % row_blocks * PER_BLOCK + k % PER_BLOCK;
            if (place >= all_blocks || column >= D) continue;
            int i = row * D + column;
            A factor = made[k] < first_kept ? A(0) : A(scale);
            mask[i] = T(factor);
            y[i] = T(A(x[i]) * factor);
        }
    }
}

// c = a * b, element by element: dx = dy * mask. c may be a.
template <typename T>  // float, double, float16
__global__ void dropout_backward(const T* dy,    // (N)
                                 const T* mask,  // (N)
                                 T* dx,          // (N)
                                 int N) {
    using A = compute_t<T>;
    for (int i = first_element(); i < N; i += all_threads()) dx[i] = T(A(dy[i]) * A(mask[i]));
}
