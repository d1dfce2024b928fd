// A product of matrices in tiles, C = A B, where A and B may be anything that can be read by row and column.
//
// A block of 256 threads makes 128 x 64 elements of C (of float16 128 x 128, see tensor.cuh). It walks along the inner
// dimension 64 bytes at a time: all threads together bring a piece of A and a piece of B into shared memory, once, and
// then each of them reads them from there for its own 32 elements, which it sums up in registers. So an element of A is
// read from memory once for 64 elements of C, and from shared memory once for 4.
//
// There are two pieces of each in shared memory: while one is multiplied, the next is on its way from memory to the
// registers, from where it goes to the other's place. Otherwise everybody would wait for memory in every round.
#pragma once
#include "kernel.cuh"

constexpr int TILE_THREADS = 256;
constexpr int TILE_ROWS = 128;                                                  // of C, that a block makes
template <typename T> constexpr int TILE_COLUMNS = sizeof(T) == 2 ? 128 : 64;

template <typename T> constexpr int PACKED = 16 / sizeof(T);    // elements that one instruction moves
template <typename T> constexpr int DEPTH = 4 * PACKED<T>;      // of the inner dimension, in a piece
template <typename T> using Packed = Pack<T, PACKED<T>>;

// -- what is multiplied ---------------------------------------------------------------------------------------------
// A row of A and a column of B are both called `outer`, a place along the inner dimension `inner`. Whatever is multiplied
// has these members:
//   outer, inner   what can be computed ahead for such a place
//   further        the inner place a DEPTH behind another, for which nobody has to divide
//   ALONG_INNER    the direction in which neighbours lie side by side in memory
//   whole          whether every pack in this direction lies so that one instruction moves it, inside or outside as a whole
//   at             where the pack from a place on lies, if all are whole; null outside of the matrix
//   collect        the pack from a place on, element by element, with zeros outside of the matrix

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
    __device__ bool whole() const { return aligned(elements) && inners % PACKED<T> == 0; }
    __device__ const T* at(Outer o, Inner i) const {
        return o < outers && i < inners ? elements + o * inners + i : nullptr;
    }
    __device__ Packed<T> collect(Outer o, Inner i) const {
        return fetch_some<PACKED<T>>(elements + o * inners + i, o < outers ? inners - i : 0, false);
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
    __device__ bool whole() const { return aligned(elements) && outers % PACKED<T> == 0; }
    __device__ const T* at(Outer o, Inner i) const {
        return o < outers && i < inners ? elements + i * outers + o : nullptr;
    }
    __device__ Packed<T> collect(Outer o, Inner i) const {
        return fetch_some<PACKED<T>>(elements + i * outers + o, i < inners ? outers - o : 0, false);
    }
};

// A thread's share of bringing pieces of OUTERS x DEPTH elements of a matrix M.
template <typename T, typename M, int OUTERS>
struct Share {
    static constexpr int PACKS = OUTERS * DEPTH<T> / PACKED<T> / TILE_THREADS;  // that a thread brings
    static constexpr int LINE = (M::ALONG_INNER ? DEPTH<T> : OUTERS) / PACKED<T>;  // packs side by side in memory
    static constexpr int INNERS = M::ALONG_INNER ? 1 : PACKS;  // all packs of a thread begin at one inner place, or not
    const M& matrix;
    bool whole;
    typename M::Outer outers[PACKS];
    typename M::Inner inners[INNERS];

    static __device__ int along(int p) { return (threadIdx.x + p * TILE_THREADS) % LINE * PACKED<T>; }
    static __device__ int across(int p) { return (threadIdx.x + p * TILE_THREADS) / LINE; }
    static __device__ int outer_of(int p) { return M::ALONG_INNER ? across(p) : along(p); }
    static __device__ int inner_of(int p) { return M::ALONG_INNER ? along(p) : across(p); }

    __device__ Share(const M& m, int first_outer, int first_inner) : matrix(m), whole(m.whole()) {
#pragma unroll
        for (int p = 0; p < PACKS; ++p) outers[p] = m.outer(first_outer + outer_of(p));
#pragma unroll
        for (int p = 0; p < INNERS; ++p) inners[p] = m.inner(first_inner + inner_of(p));
    }
    __device__ const T* at(int p) const { return matrix.at(outers[p], inners[p % INNERS]); }
    __device__ Packed<T> collect(int p) const { return matrix.collect(outers[p], inners[p % INNERS]); }
    __device__ void move_on() {
#pragma unroll
        for (int p = 0; p < INNERS; ++p) inners[p] = matrix.further(inners[p]);
    }
};

// -- pieces in shared memory ----------------------------------------------------------------------------------------
// The element (outer, inner) lies at inner * LINE + outer, so that threads read neighbouring outers with one instruction.
// A line is a pack longer than it needs, or packs of several lines would meet in one bank of the shared memory.
template <typename T, typename M, int OUTERS>
struct Bringer : Share<T, M, OUTERS> {
    using Base = Share<T, M, OUTERS>;
    static constexpr int LINE = OUTERS + PACKED<T>, SIZE = DEPTH<T> * LINE;
    Packed<T> held[Base::PACKS];

    using Base::Base;

    __device__ void fetch() {
#pragma unroll
        for (int p = 0; p < Base::PACKS; ++p) {
            const T* place = this->whole ? this->at(p) : nullptr;
            held[p] = place ? *packs<PACKED<T>>(place) : Packed<T>{};
            if (!this->whole) held[p] = this->collect(p);
        }
        this->move_on();
    }

    __device__ void put(T* piece) const {
#pragma unroll
        for (int p = 0; p < Base::PACKS; ++p) {
            T* place = piece + Base::inner_of(p) * LINE + Base::outer_of(p);
            if (M::ALONG_INNER)
                for (int k = 0; k < PACKED<T>; ++k) place[k * LINE] = held[p].at[k];
            else
                *packs<PACKED<T>>(place) = held[p];
        }
    }
};

// -- sums in registers ----------------------------------------------------------------------------------------------
// A thread's share of the tile: two times 4 x 4 elements, 64 rows apart.
template <typename T, int A_LINE, int B_LINE>
struct Sums {
    static constexpr int EACH = 4, ROWS = TILE_ROWS / 2;
    Pack<T, EACH> sums[2][EACH] = {};

    static __device__ int row() { return threadIdx.x / 16 * EACH; }
    static __device__ int column() { return threadIdx.x % 16 * EACH; }

    __device__ void add(const T* a_piece, const T* b_piece) {
#pragma unroll
        for (int d = 0; d < DEPTH<T>; ++d) {
            auto b_own = *packs<EACH>(b_piece + d * B_LINE + column());
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                auto a_own = *packs<EACH>(a_piece + d * A_LINE + row() + half * ROWS);
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

// Which tile a block makes: those of the same rows follow each other, so that what they share is still in the cache.
template <typename T>
struct Tile {
    int row, column;
    __device__ explicit Tile(int columns) {
        int side_by_side = (columns + TILE_COLUMNS<T> - 1) / TILE_COLUMNS<T>;
        row = blockIdx.x / side_by_side * TILE_ROWS;
        column = blockIdx.x % side_by_side * TILE_COLUMNS<T>;
    }
};

#include "tensor.cuh"

// The block's tile of A B, over the inner dimension from `first` to `last`; `store` takes packs of each row.
// `last` is the end of the matrices, where only zeros come, or some multiple of DEPTH behind `first`.
// Blocks: one for each tile, x. Threads: TILE_THREADS in a line.
template <typename T, typename MA, typename MB, typename Store>
__device__ void tile_product(const MA& a, const MB& b, int first, int last, const Store& store) {
    if constexpr (sizeof(T) == 2) return tensor_product(a, b, first, last, store);
    else {
        using A = Bringer<T, MA, TILE_ROWS>;
        using B = Bringer<T, MB, TILE_COLUMNS<T>>;
        __shared__ __align__(16) T a_pieces[2][A::SIZE], b_pieces[2][B::SIZE];
        Tile<T> tile(store.columns);
        A a_bringer(a, tile.row, first);
        B b_bringer(b, tile.column, first);
        Sums<T, A::LINE, B::LINE> sums;
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
        sums.give(tile.row, tile.column, store);
    }
}
