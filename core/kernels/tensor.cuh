// A thread's share of a tile of float16: the tensor cores multiply, and sum up in float.
//
// Their instruction has a warp multiply a 16 x 16 piece of A with a 16 x 8 piece of B. Which elements a lane brings, and
// which sums it gets, is laid down in the PTX ISA, "Matrix Fragments for mma.m16n8k16": with row = lane / 4 and
// pair = lane % 4 * 2, the lane brings of A two neighbours at (row, pair), (row + 8, pair), (row, pair + 8) and
// (row + 8, pair + 8), of B two neighbours down a column at (pair, row) and (pair + 8, row), and gets the sums at
// (row, pair), (row, pair + 1), (row + 8, pair) and (row + 8, pair + 1).
//
// Another instruction, ldmatrix, hands out just that: four matrices of 8 x 8 from shared memory, whose lines of 8 begin
// where the lanes say, lane l for line l % 8 of matrix l / 8. Of each matrix a lane gets the pair at (row, pair); with
// .trans that of the transposed matrix.
#pragma once

#ifdef BARENETS_SHIM  // a CPU: fibers.h multiplies and hands out what the lanes bring
#define multiply_16_8_16(sums, a, b) shim::multiply_16_8_16<float16>(__LINE__, sums, a, b)
#define load_matrices(transposed, found, line) shim::load_matrices(__LINE__, transposed, found, line)
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

__device__ inline void load_matrices(bool transposed, unsigned (&found)[4], const float16* line) {
    auto place = static_cast<unsigned>(__cvta_generic_to_shared(line));
    if (transposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(found[0]), "=r"(found[1]), "=r"(found[2]), "=r"(found[3]) : "r"(place) : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(found[0]), "=r"(found[1]), "=r"(found[2]), "=r"(found[3]) : "r"(place) : "memory");
}
#endif

// Of the tile's 128 x 64 elements each of the 8 warps makes 32 x 32, as 2 x 4 products.
template <typename A, typename B>
struct Sums<float16, A, B> {
    float sums[2][4][4] = {};

    static __device__ int row() { return threadIdx.x / 64 * 32; }         // of the tile, the warp's first
    static __device__ int column() { return threadIdx.x / 32 % 2 * 32; }

    // Four matrices of a piece from (outer, inner) on: bit 0 of their number means 8 further along the one dimension,
    // bit 1 along the other, `inner_bit` says which of them is the inner one.
    template <typename P>
    static __device__ void load(unsigned (&found)[4], const float16* piece, int outer, int inner, int inner_bit) {
        int bits = lane() / 8, in_line = lane() % 8;
        outer += 8 * (bits >> (1 - inner_bit) & 1) + (P::INNER_FIRST ? in_line : 0);
        inner += 8 * (bits >> inner_bit & 1) + (P::INNER_FIRST ? 0 : in_line);
        load_matrices(!P::INNER_FIRST, found, piece + outer * P::OUTER_STEP + inner * P::INNER_STEP);
    }

    __device__ void add(const float16* a_piece, const float16* b_piece) {
#pragma unroll
        for (int d = 0; d < DEPTH<float16>; d += 16) {
            unsigned a[2][4], b[4][2];
#pragma unroll
            for (int i = 0; i < 2; ++i) load<A>(a[i], a_piece, row() + 16 * i, d, 1);
#pragma unroll
            for (int j = 0; j < 4; j += 2) {
                unsigned found[4];
                load<B>(found, b_piece, column() + 8 * j, d, 0);
#pragma unroll
                for (int part = 0; part < 4; ++part) b[j + part / 2][part % 2] = found[part];
            }
#pragma unroll
            for (int i = 0; i < 2; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) multiply_16_8_16(sums[i][j], a[i], b[j]);
        }
    }

    template <typename Store>
    __device__ void give(int first_row, int first_column, const Store& store) const {
        first_row += row() + lane() / 4;
        first_column += column() + lane() % 4 * 2;
#pragma unroll
        for (int i = 0; i < 2; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j)
#pragma unroll
                for (int below = 0; below < 2; ++below)
                    store(first_row + 16 * i + 8 * below, first_column + 8 * j,
                          Pack<float, 2>{sums[i][j][2 * below], sums[i][j][2 * below + 1]});
    }
};
