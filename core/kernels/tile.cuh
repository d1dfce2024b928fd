// A product of matrices in tiles, C = A B, where A and B may be anything that can be read by row and column.
//
// A block of 256 threads makes 128 x 64 elements of C. It walks along the inner dimension 64 bytes at a time: all
// threads together bring a piece of A and a piece of B into shared memory, once, and then each of them reads them from
// there for its own 32 elements, which it sums up in registers. So an element of A is read from memory once for 64
// elements of C, and from shared memory once for 4.
//
// There are two pieces of each in shared memory: while one is multiplied, the next is on its way from memory to the
// registers, from where it goes to the other's place. Otherwise everybody would wait for memory in every round.
#pragma once
#include "kernel.cuh"

constexpr int TILE_ROWS = 128, TILE_COLUMNS = 64;  // of C, that a block makes
constexpr int TILE_THREADS = 256;

template <typename T> constexpr int PACKED = 16 / sizeof(T);    // elements that one instruction moves
template <typename T> constexpr int DEPTH = 4 * PACKED<T>;      // of the inner dimension, in a piece
template <typename T> using Packed = Pack<T, PACKED<T>>;

// -- what is multiplied ---------------------------------------------------------------------------------------------
// A row of A and a column of B are both called `outer`, a place along the inner dimension `inner`. Whatever is multiplied
// has these members: `outer` and `inner`, what can be computed ahead for such a place; `further`, the inner place a DEPTH
// behind another, for which nobody has to divide; `take`, the pack of elements from a place on, in the direction in which
// neighbours lie side by side in memory; ALONG_INNER, which direction that is. Outside of the matrix `take` gives zeros.

// A plain matrix in memory (outers, inners).
template <typename T>
struct AlongInner {
    static constexpr bool ALONG_INNER = true;
    using Outer = int;
    using Inner = int;
    const T* elements;
    int outers, inners;
    __device__ Outer outer(int o) const { return o; }
    __device__ Inner inner(int i) const { return i; }
    __device__ Inner further(Inner i) const { return i + DEPTH<T>; }
    __device__ Packed<T> take(Outer o, Inner i) const {
        if (o >= outers) return {};
        bool whole = aligned(elements) && inners % PACKED<T> == 0;
        return fetch_some<PACKED<T>>(elements + o * inners + i, inners - i, whole);
    }
};

// A plain matrix in memory (inners, outers).
template <typename T>
struct AlongOuter {
    static constexpr bool ALONG_INNER = false;
    using Outer = int;
    using Inner = int;
    const T* elements;
    int inners, outers;
    __device__ Outer outer(int o) const { return o; }
    __device__ Inner inner(int i) const { return i; }
    __device__ Inner further(Inner i) const { return i + DEPTH<T>; }
    __device__ Packed<T> take(Outer o, Inner i) const {
        if (i >= inners) return {};
        bool whole = aligned(elements) && outers % PACKED<T> == 0;
        return fetch_some<PACKED<T>>(elements + i * outers + o, outers - o, whole);
    }
};

// -- pieces in shared memory ----------------------------------------------------------------------------------------
// Where the element (outer, inner) of a piece lies: at outer * OUTER_STEP + inner * INNER_STEP.
//
// Threads read neighbouring outers; tensor cores, which float16 is for, take either order, so there a pack stays whole.
// A pack more in each line than it needs, or packs of several lines would meet in one bank of the shared memory.
template <typename T, bool ALONG_INNER, int OUTERS>
struct Piece {
    static constexpr bool INNER_FIRST = ALONG_INNER && sizeof(T) == 2;
    static constexpr int OUTER_STEP = INNER_FIRST ? DEPTH<T> + PACKED<T> : 1;
    static constexpr int INNER_STEP = INNER_FIRST ? 1 : OUTERS + PACKED<T>;
    static constexpr int SIZE = INNER_FIRST ? OUTERS * OUTER_STEP : DEPTH<T> * INNER_STEP;
};

// A thread's share of bringing pieces of a matrix M from memory, by way of its registers.
template <typename T, typename M, int OUTERS>
struct Bringer {
    using P = Piece<T, M::ALONG_INNER, OUTERS>;
    static constexpr int PACKS = OUTERS * DEPTH<T> / PACKED<T> / TILE_THREADS;  // that a thread brings
    static constexpr int LINE = (M::ALONG_INNER ? DEPTH<T> : OUTERS) / PACKED<T>;  // packs side by side in memory
    static constexpr int INNERS = M::ALONG_INNER ? 1 : PACKS;  // all packs of a thread begin at one inner place, or not
    const M& matrix;
    typename M::Outer outers[PACKS];
    typename M::Inner inners[INNERS];
    Packed<T> packs[PACKS];

    static __device__ int along(int p) { return (threadIdx.x + p * TILE_THREADS) % LINE * PACKED<T>; }
    static __device__ int across(int p) { return (threadIdx.x + p * TILE_THREADS) / LINE; }
    static __device__ int outer_of(int p) { return M::ALONG_INNER ? across(p) : along(p); }
    static __device__ int inner_of(int p) { return M::ALONG_INNER ? along(p) : across(p); }

    __device__ Bringer(const M& m, int first_outer, int first_inner) : matrix(m) {
#pragma unroll
        for (int p = 0; p < PACKS; ++p) outers[p] = m.outer(first_outer + outer_of(p));
#pragma unroll
        for (int p = 0; p < INNERS; ++p) inners[p] = m.inner(first_inner + inner_of(p));
    }

    __device__ void fetch() {
#pragma unroll
        for (int p = 0; p < PACKS; ++p) packs[p] = matrix.take(outers[p], inners[p % INNERS]);
#pragma unroll
        for (int p = 0; p < INNERS; ++p) inners[p] = matrix.further(inners[p]);
    }

    __device__ void put(T* piece) const {
#pragma unroll
        for (int p = 0; p < PACKS; ++p) {
            T* place = piece + outer_of(p) * P::OUTER_STEP + inner_of(p) * P::INNER_STEP;
            if (M::ALONG_INNER == P::INNER_FIRST) {
                *::packs<PACKED<T>>(place) = packs[p];
            } else {
#pragma unroll
                for (int k = 0; k < PACKED<T>; ++k) place[k * P::INNER_STEP] = packs[p].at[k];
            }
        }
    }
};

// -- sums in registers ----------------------------------------------------------------------------------------------
// A thread's share of the tile: two times 4 x 4 elements, 64 rows apart. tensor.cuh has another one for float16.
template <typename T, typename A, typename B>  // the kinds of the two pieces
struct Sums {
    static constexpr int EACH = 4, ROWS = TILE_ROWS / 2;
    Pack<T, EACH> sums[2][EACH] = {};

    static __device__ int row() { return threadIdx.x / 16 * EACH; }
    static __device__ int column() { return threadIdx.x % 16 * EACH; }

    __device__ void add(const T* a_piece, const T* b_piece) {
#pragma unroll
        for (int d = 0; d < DEPTH<T>; ++d) {
            auto b_own = *packs<EACH>(b_piece + d * B::INNER_STEP + column());
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                auto a_own = *packs<EACH>(a_piece + d * A::INNER_STEP + row() + half * ROWS);
#pragma unroll
                for (int i = 0; i < EACH; ++i)
#pragma unroll
                    for (int j = 0; j < EACH; ++j) sums[half][i].at[j] += a_own.at[i] * b_own.at[j];
            }
        }
    }

    template <typename Store>
    __device__ void give(int first_row, int first_column, const Store& store) const {
#pragma unroll
        for (int half = 0; half < 2; ++half)
#pragma unroll
            for (int i = 0; i < EACH; ++i)
                store(first_row + row() + half * ROWS + i, first_column + column(), sums[half][i]);
    }
};

// Where a plain matrix (rows, columns) is the result, plus a bias for each column unless that is null.
template <typename T>
struct StoreRows {
    T* elements;
    const compute_t<T>* bias;
    int rows, columns;
    template <int K>
    __device__ void operator()(int r, int c, const Pack<compute_t<T>, K>& sums) const {
        if (r >= rows) return;
        int count = columns - c;
        Pack<T, K> made;
#pragma unroll
        for (int k = 0; k < K; ++k) made.at[k] = T(bias && k < count ? sums.at[k] + bias[c + k] : sums.at[k]);
        put_some(elements + r * columns + c, made, count, aligned(elements) && columns % K == 0);
    }
};

#include "tensor.cuh"

// The block's tile of A B, over the inner dimension from `first` to `last`; `store` takes packs of each row.
// `last` is the end of the matrices, where only zeros come, or some multiple of DEPTH behind `first`.
// Blocks: one for each tile, x, those of the same rows one after the other. Threads: TILE_THREADS in a line.
template <typename T, typename MA, typename MB, typename Store>
__device__ void tile_product(const MA& a, const MB& b, int first, int last, const Store& store) {
    using A = Bringer<T, MA, TILE_ROWS>;
    using B = Bringer<T, MB, TILE_COLUMNS>;
    __shared__ __align__(16) T a_pieces[2][A::P::SIZE], b_pieces[2][B::P::SIZE];
    int side_by_side = (store.columns + TILE_COLUMNS - 1) / TILE_COLUMNS;
    int first_row = blockIdx.x / side_by_side * TILE_ROWS, first_column = blockIdx.x % side_by_side * TILE_COLUMNS;
    A a_bringer(a, first_row, first);
    B b_bringer(b, first_column, first);
    Sums<T, typename A::P, typename B::P> sums;
    int now = 0;
    a_bringer.fetch();
    b_bringer.fetch();
    for (int k = first; k < last; k += DEPTH<T>) {
        a_bringer.put(a_pieces[now]);
        b_bringer.put(b_pieces[now]);
        __syncthreads();  // all of it is there, and nobody still reads the other pieces
        if (k + DEPTH<T> < last) {
            a_bringer.fetch();
            b_bringer.fetch();
        }
        sums.add(a_pieces[now], b_pieces[now]);
        now ^= 1;
    }
    sums.give(first_row, first_column, store);
}
