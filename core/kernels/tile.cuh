// A product of matrices in tiles, C = A B, where A and B may be anything that can be read by row and column.
//
// A block of 256 threads makes 64 x 64 elements of C. It walks along the inner dimension 16 at a time: all threads
// together bring a 64 x 16 piece of A and a 16 x 64 piece of B into shared memory, once, and then each of them reads
// them from there for its own 16 elements, which it sums up in registers. So an element of A is read from memory once
// for 64 elements of C, and from shared memory once for 4.
#pragma once
#include "kernel.cuh"

constexpr int TILE = 64;        // rows and columns of C that a block makes
constexpr int DEPTH = 16;       // of the inner dimension, at a time
constexpr int SIDE = 16;        // threads along each side of the tile
constexpr int EACH = TILE / SIDE;  // rows, and columns, of C that a thread makes
constexpr int TILE_THREADS = SIDE * SIDE;

// A plain matrix (rows, columns) with neighbours in a row side by side in memory, or a transposed one.
//
// Whatever is multiplied has these four members. `Row` and `Column` are what can be computed ahead for a whole row or
// column; ROWS_FIRST says that neighbours in memory are neighbours in a row, and so should be read by neighbouring
// threads.
template <typename T>
struct Plain {
    static constexpr bool ROWS_FIRST = true;
    using Row = int;
    using Column = int;
    const T* elements;
    int rows, columns;
    __device__ Row row(int r) const { return r < rows ? r * columns : -1; }
    __device__ Column column(int c) const { return c < columns ? c : -1; }
    __device__ T at(Row r, Column c) const { return r < 0 || c < 0 ? T(0) : elements[r + c]; }
};

// Bring ROWS x COLUMNS elements from (first_row, first_column) on into `piece`, which takes the element (r, c) at
// r * row_step + c * column_step.
template <int ROWS, int COLUMNS, typename T, typename M>
__device__ void bring(const M& matrix, int first_row, int first_column, T* piece, int row_step, int column_step) {
    constexpr int WIDTH = M::ROWS_FIRST ? COLUMNS : ROWS, STRIDE = TILE_THREADS / WIDTH;
    int along = threadIdx.x % WIDTH, across = threadIdx.x / WIDTH;
    if (M::ROWS_FIRST) {
        auto column = matrix.column(first_column + along);
        for (int r = across; r < ROWS; r += STRIDE)
            piece[r * row_step + along * column_step] = matrix.at(matrix.row(first_row + r), column);
    } else {
        auto row = matrix.row(first_row + along);
        for (int c = across; c < COLUMNS; c += STRIDE)
            piece[along * row_step + c * column_step] = matrix.at(row, matrix.column(first_column + c));
    }
}

// Where a plain matrix (rows, columns) is the result, plus a bias for each column unless that is null.
template <typename T>
struct StoreRows {
    T* elements;
    const compute_t<T>* bias;
    int rows, columns;
    __device__ void operator()(int r, int c, compute_t<T> sum) const {
        if (r < rows && c < columns) elements[r * columns + c] = T(bias ? sum + bias[c] : sum);
    }
};

// A thread's share of the tile: 4 x 4 elements, 16 rows and columns apart. tensor.cuh has another one for float16.
//
// The piece of A lies column by column, that of B row by row, a LINE each. One element more than a line needs, or 16
// threads that write a row of A would all meet in one bank of the shared memory.
template <typename T>
struct Sums {
    static constexpr int LINE = TILE + 1, SIZE = DEPTH * LINE;
    static constexpr int A_ROW = 1, A_COLUMN = LINE, B_ROW = LINE, B_COLUMN = 1;  // steps from one to the next
    T sums[EACH][EACH] = {};

    __device__ void add(const T* a_piece, const T* b_piece) {
        int own_row = threadIdx.x / SIDE, own_column = threadIdx.x % SIDE;
        for (int d = 0; d < DEPTH; ++d) {
            T a_own[EACH], b_own[EACH];
#pragma unroll
            for (int i = 0; i < EACH; ++i) {
                a_own[i] = a_piece[d * LINE + own_row + i * SIDE];
                b_own[i] = b_piece[d * LINE + own_column + i * SIDE];
            }
#pragma unroll
            for (int i = 0; i < EACH; ++i)
#pragma unroll
                for (int j = 0; j < EACH; ++j) sums[i][j] += a_own[i] * b_own[j];
        }
    }

    template <typename Store>
    __device__ void give(int first_row, int first_column, const Store& store) const {
        int own_row = threadIdx.x / SIDE, own_column = threadIdx.x % SIDE;
#pragma unroll
        for (int i = 0; i < EACH; ++i)
#pragma unroll
            for (int j = 0; j < EACH; ++j)
                store(first_row + own_row + i * SIDE, first_column + own_column + j * SIDE, sums[i][j]);
    }
};

#include "tensor.cuh"

// The block's tile of A B, over the inner dimension from `first` to `last`; store(row, column, sum) for each element.
// `last` is the end of the matrices, where only zeros come, or some multiple of DEPTH behind `first`.
// Blocks: x counts tiles of rows, y tiles of columns. Threads: TILE_THREADS in a line.
template <typename T, typename A, typename B, typename Store>
__device__ void tile_product(const A& a, const B& b, int first, int last, const Store& store) {
    using S = Sums<T>;
    __shared__ __align__(16) T a_piece[S::SIZE], b_piece[S::SIZE];
    int first_row = blockIdx.x * TILE, first_column = blockIdx.y * TILE;
    S sums;
    for (int k = first; k < last; k += DEPTH) {
        bring<TILE, DEPTH>(a, first_row, k, a_piece, S::A_ROW, S::A_COLUMN);
        bring<DEPTH, TILE>(b, k, first_column, b_piece, S::B_ROW, S::B_COLUMN);
        __syncthreads();  // all of it is there
        sums.add(a_piece, b_piece);
        __syncthreads();  // nobody still reads what the next round overwrites
    }
    sums.give(first_row, first_column, store);
}
