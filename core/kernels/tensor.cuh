// A product of matrices of float16 in tiles of 128 x 128: the tensor cores multiply, and sum up in float.
//
// They are so fast that two pieces are on their way while a third is multiplied, and that the pieces go to the shared
// memory without a stop in registers, by cp.async.
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

__device__ inline unsigned shared_address(const void* place) {
    return static_cast<unsigned>(__cvta_generic_to_shared(place));
}

__device__ inline void load_matrices(bool transposed, unsigned (&found)[4], const float16* line) {
    if (transposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(found[0]), "=r"(found[1]), "=r"(found[2]), "=r"(found[3])
                     : "r"(shared_address(line)) : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(found[0]), "=r"(found[1]), "=r"(found[2]), "=r"(found[3])
                     : "r"(shared_address(line)) : "memory");
}
#endif

// -- copies that nobody waits for, on GPUs from sm_80 on; elsewhere copies -------------------------------------------
// A pack from memory to shared memory, zeros where `from` is null.
__device__ inline void copy_ahead(float16* to, const float16* from) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :: "r"(shared_address(to)), "l"(from), "r"(from ? 16 : 0) : "memory");
#else
    *packs<8>(to) = from ? *packs<8>(from) : Pack<float16, 8>{};
#endif
}

// What was asked for since the last call is one group.
__device__ inline void close_group() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Wait until all groups of this thread but the last PENDING have arrived.
template <int PENDING>
__device__ void wait_for_groups() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#endif
}

// -- pieces in shared memory ----------------------------------------------------------------------------------------
// A pack stays as it lies in memory: ldmatrix reads either order. Eight packs that one ldmatrix reads, or that lie side by
// side, have to lie in different banks; so the packs of a line change places, in each line in another way.
template <bool ALONG_INNER, int OUTERS>
struct HalfPiece {
    static constexpr int SIZE = OUTERS * DEPTH<float16>;
    static __device__ int place(int outer, int inner) {  // of the first element of a pack
        if (ALONG_INNER) return outer * 32 + (inner / 8 ^ outer / 2 % 4) * 8;  // a line is 64 bytes, half of all banks
        return inner * OUTERS + (outer / 8 ^ inner % 8) * 8;
    }
};

template <typename M, int OUTERS>
struct HalfBringer : Share<float16, M, OUTERS> {
    using Base = Share<float16, M, OUTERS>;
    using Piece = HalfPiece<M::ALONG_INNER, OUTERS>;
    using Base::Base;

    __device__ void bring(float16* piece) {
#pragma unroll
        for (int p = 0; p < Base::PACKS; ++p) {
            float16* place = piece + Piece::place(Base::outer_of(p), Base::inner_of(p));
            if (this->whole) copy_ahead(place, this->at(p));
            else *packs<8>(place) = this->collect(p);
        }
        this->move_on();
    }
};

// -- sums in registers ----------------------------------------------------------------------------------------------
// Of the tile each of the 8 warps makes 64 x 32, as 4 x 4 products.
template <bool A_ALONG_INNER, bool B_ALONG_INNER>
struct HalfSums {
    float sums[4][4][4] = {};

    static __device__ int row() { return threadIdx.x / 128 * 64; }  // of the tile, the warp's first
    static __device__ int column() { return threadIdx.x / 32 % 4 * 32; }

    // Four matrices of a piece from (outer, inner) on. Each bit of their number means 8 further, one of them along the
    // outer and one along the inner dimension: which, `inner_bit` says.
    template <bool ALONG_INNER>
    static __device__ void load(unsigned (&found)[4], const float16* piece, int outer, int inner, int inner_bit) {
        int number = lane() / 8, line = lane() % 8;
        outer += 8 * (number >> (1 - inner_bit) & 1) + (ALONG_INNER ? line : 0);
        inner += 8 * (number >> inner_bit & 1) + (ALONG_INNER ? 0 : line);
        const float16* first = piece + HalfPiece<ALONG_INNER, 128>::place(outer, inner);
        load_matrices(!ALONG_INNER, found, first);
    }

    __device__ void add(const float16* a_piece, const float16* b_piece) {
#pragma unroll
        for (int d = 0; d < DEPTH<float16>; d += 16) {
            unsigned a[4][4], b[4][2];
#pragma unroll
            for (int i = 0; i < 4; ++i) load<A_ALONG_INNER>(a[i], a_piece, row() + 16 * i, d, 1);
#pragma unroll
            for (int j = 0; j < 4; j += 2) {
                unsigned found[4];
                load<B_ALONG_INNER>(found, b_piece, column() + 8 * j, d, 0);
#pragma unroll
                for (int part = 0; part < 4; ++part) b[j + part / 2][part % 2] = found[part];
            }
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) multiply_16_8_16(sums[i][j], a[i], b[j]);
        }
    }

    template <typename Store>
    __device__ void give(int first_row, int first_column, const Store& store) const {
        first_row += row() + lane() / 4;
        first_column += column() + lane() % 4 * 2;
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j)
#pragma unroll
                for (int below = 0; below < 2; ++below)
                    store(first_row + 16 * i + 8 * below, first_column + 8 * j,
                          Pack<float, 2>{sums[i][j][2 * below], sums[i][j][2 * below + 1]});
    }
};

// What tile_product is for float16.
template <typename MA, typename MB, typename Store>
__device__ void tensor_product(const MA& a, const MB& b, int first, int last, const Store& store) {
    using A = HalfBringer<MA, TILE_ROWS>;
    using B = HalfBringer<MB, TILE_COLUMNS<float16>>;
    constexpr int ROUNDS = 3, STEP = DEPTH<float16>;  // pieces of each at once: 48 KB, as much as every GPU has
    __shared__ __align__(128) float16 a_pieces[ROUNDS][A::Piece::SIZE], b_pieces[ROUNDS][B::Piece::SIZE];
    Tile<float16> tile(store.columns);
    A a_bringer(a, tile.row, first);
    B b_bringer(b, tile.column, first);
    HalfSums<MA::ALONG_INNER, MB::ALONG_INNER> sums;
    for (int round = 0; round < ROUNDS - 1; ++round) {
        if (first + round * STEP < last) a_bringer.bring(a_pieces[round]), b_bringer.bring(b_pieces[round]);
        close_group();
    }
    for (int k = first, now = 0; k < last; k += STEP, now = (now + 1) % ROUNDS) {
        wait_for_groups<ROUNDS - 2>();
        __syncthreads();  // everybody's part of this piece is there, and nobody still reads the one before it
        int free = (now + ROUNDS - 1) % ROUNDS;
        if (k + (ROUNDS - 1) * STEP < last) a_bringer.bring(a_pieces[free]), b_bringer.bring(b_pieces[free]);
        close_group();
        sums.add(a_pieces[now], b_pieces[now]);
    }
    sums.give(tile.row, tile.column, store);
}
