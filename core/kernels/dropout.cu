// Dropout with random numbers made on the spot: the same ones that core.random.Stream draws on the CPU.
#include "philox.cuh"

// Number i of row r is 16 bits of the block (first_block + r * blocks a row + i / 16) of the stream.
struct Draws {
    unsigned long long seed, salt, first_block, batch, epoch;
};

// The 16 draws of the block at `place`, into `out`.
__device__ inline void draw_block(const Draws& draws, unsigned long long place, unsigned short* out) {
    Words words = philox(draws.seed, draws.salt, draws.first_block + place + 1, 0, draws.batch, draws.epoch);
    for (int w = 0; w < 4; ++w)
        for (int part = 0; part < 4; ++part) out[4 * w + part] = static_cast<unsigned short>(words.word[w] >> 16 * part);
}

constexpr int PER_BLOCK = 16;   // draws that one counter value gives
constexpr int THREADS = 256;    // of a block of threads
constexpr int STRETCH = 4096;   // draws that a block of threads makes at a time

// mask = 0 where the draw is below first_kept, else scale; y = x * mask.
//
// Each thread makes the 16 draws of one counter value. They go through shared memory, because neighbouring threads
// should write neighbouring elements.
template <typename T>  // float, double, float16
__global__ void dropout_forward(const T* x,  // (N, D) or null
                                T* mask,     // (N, D)
                                T* y,        // (N, D) or null
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
            if (y) y[i] = T(A(x[i]) * factor);
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
