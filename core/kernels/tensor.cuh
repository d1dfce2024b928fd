// A thread's share of a tile of float16: the tensor cores multiply, and sum up in float.
//
// Their instruction has a warp multiply a 16 x 16 piece of A with a 16 x 8 piece of B. Which elements a lane brings, and
// which sums it gets, is laid down in the PTX ISA, "Matrix Fragments for mma.m16n8k16": with row = lane / 4 and
// pair = lane % 4 * 2, the lane brings of A two neighbours at (row, pair), (row + 8, pair), (row, pair + 8) and
// (row + 8, pair + 8), of B two neighbours down a column at (pair, row) and (pair + 8, row), and gets the sums at
// (row, pair), (row, pair + 1), (row + 8, pair) and (row + 8, pair + 1).
#pragma once

#ifdef BARENETS_SHIM  // a CPU: fibers.h multiplies what the lanes bring
#define multiply_16_8_16(sums, a, b) shim::multiply_16_8_16<float16>(__LINE__, sums, a, b)
#else
__device__ inline void multiply_16_8_16(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else  // half as much at a time
#pragma unroll
    for (int half = 0; half < 2; ++half)
        asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
            : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
            : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
#endif
}
#endif

// Two neighbours, from an even place of an aligned array on, as the 32 bits that the instruction takes.
__device__ inline unsigned two(const float16* first) { return *reinterpret_cast<const unsigned*>(first); }

// Of the tile's 64 x 64 elements each of the 8 warps makes 32 x 16, as 2 x 2 products.
//
// Both pieces lie so that neighbours along the inner dimension are neighbours in memory. A LINE of 24 spreads what the
// lanes of a warp read at once over all banks of the shared memory.
template <>
struct Sums<float16> {
    static constexpr int LINE = DEPTH + 8, SIZE = TILE * LINE;
    static constexpr int A_ROW = LINE, A_COLUMN = 1, B_ROW = 1, B_COLUMN = LINE;
    float sums[2][2][4] = {};

    static __device__ int row() { return threadIdx.x / 128 * 32 + lane() / 4; }  // of the tile, the first of this lane
    static __device__ int column() { return threadIdx.x / 32 % 4 * 16; }         // of the tile, the warp's first
    static __device__ int pair() { return lane() % 4 * 2; }

    __device__ void add(const float16* a_piece, const float16* b_piece) {
        unsigned b[2][2];
#pragma unroll
        for (int j = 0; j < 2; ++j)
#pragma unroll
            for (int half = 0; half < 2; ++half)
                b[j][half] = two(b_piece + (column() + 8 * j + lane() / 4) * LINE + pair() + 8 * half);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            unsigned a[4];
#pragma unroll
            for (int part = 0; part < 4; ++part)
                a[part] = two(a_piece + (row() + 16 * i + part % 2 * 8) * LINE + pair() + part / 2 * 8);
#pragma unroll
            for (int j = 0; j < 2; ++j) multiply_16_8_16(sums[i][j], a, b[j]);
        }
    }

    template <typename Store>
    __device__ void give(int first_row, int first_column, const Store& store) const {
#pragma unroll
        for (int i = 0; i < 2; ++i)
#pragma unroll
            for (int j = 0; j < 2; ++j)
#pragma unroll
                for (int part = 0; part < 4; ++part)
                    store(first_row + row() + 16 * i + part / 2 * 8, first_column + column() + 8 * j + pair() + part % 2,
                          sums[i][j][part]);
    }
};
