// Dropout with random numbers made on the spot: the same ones that core.random.Stream draws on the CPU.
#include "elements.cuh"
#include "philox.cuh"

constexpr int THREADS = 256;  // of a block of threads
constexpr int WORDS = 4;      // that one counter value gives, each of them DRAWS draws
constexpr int DRAWS = 4;

// Up to four elements of row `row`, beginning with `column`; less at the end of a row, none beyond the last row.
struct Place {
    int start, count;
    __device__ Place(int word, int row_words, int N, int D) {
        int row = word / row_words, column = DRAWS * (word % row_words);
        start = row * D + column;
        count = row < N ? D - column : 0;
    }
};

// mask = 0 where the draw is below first_kept, else scale; y = x * mask.
//
// Each thread makes the 16 draws of one counter value. They go through shared memory, because neighbouring threads
// should move neighbouring elements. Meanwhile x is on its way.
template <typename T>  // float, double, float16
__global__ void dropout_forward(const T* x,  // (N, D)
                                T* mask,     // (N, D)
                                T* y,        // (N, D)
                                int N, int D, unsigned long long seed, unsigned long long salt,
                                unsigned long long first_block, unsigned long long batch, unsigned long long epoch,
                                int first_kept, double scale) {
    using A = compute_t<T>;
    __shared__ unsigned long long made[WORDS * THREADS];
    Draws draws = {seed, salt, first_block, batch, epoch};
    bool whole = D % DRAWS == 0 && aligned(x, mask, y);
    int row_blocks = (D + PER_BLOCK - 1) / PER_BLOCK, all_blocks = N * row_blocks;
    for (int first = blockIdx.x * THREADS; first < all_blocks; first += gridDim.x * THREADS) {
        Pack<T, DRAWS> held[WORDS];
        for (int w = 0; w < WORDS; ++w) {
            Place place(WORDS * first + w * THREADS + threadIdx.x, WORDS * row_blocks, N, D);
            held[w] = fetch_some<DRAWS>(x + place.start, place.count, whole);
        }
        __syncthreads();  // nobody still reads what was made before
        Words words = draw_block(draws, first + threadIdx.x);
        for (int w = 0; w < WORDS; ++w) made[WORDS * threadIdx.x + w] = words.word[w];
        __syncthreads();
        for (int w = 0; w < WORDS; ++w) {
            Place place(WORDS * first + w * THREADS + threadIdx.x, WORDS * row_blocks, N, D);
            Pack<T, DRAWS> factors;
            for (int k = 0; k < DRAWS; ++k) {
                A factor = draw(made[w * THREADS + threadIdx.x], k) < first_kept ? A(0) : A(scale);
                factors.at[k] = T(factor);
                held[w].at[k] = T(A(held[w].at[k]) * factor);
            }
            put_some(mask + place.start, factors, place.count, whole);
            put_some(y + place.start, held[w], place.count, whole);
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
    each(N, [=](A dy, A mask, A& dx) { dx = dy * mask; }, reads(dy), reads(mask), writes(dx));
}
