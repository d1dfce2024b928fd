// The walk of a recurrent cell through all steps of packed sequences. recurrent.cu has the cells and the kernels.
//
// Sequences do not depend on each other. So a block takes ROWS of them and walks through all their steps alone, without
// waiting for other blocks: what a step multiplies with the weights stays in shared memory, and the weights, which are
// too large for it, come from the L2 cache in every step, once for all sequences of the block.
//
// The two directions of a layer do not depend on each other either. Grid: (sequences / ROWS, directions); the arrays of
// the second direction are called `..._2`, and nobody looks at them in a grid for one.
//
// `spans` (L, 2) holds (first row, number of rows) of each step, in the order of the walk forward; a step touches the
// first sequences only. Sigmoid gates arrive halved, because sigmoid(a) = (1 + tanh(a / 2)) / 2. A forward leaves in
// `gates` the slopes by which the backward multiplies; the backward leaves there the gradient of each gate.
//
// Shared memory is (elements, ROWS), so that a thread reads one element of all its sequences at once. What does not
// fit in there is handed from step to step through `scratch`; where that is null, everything fits.
#pragma once
#include "kernel.cuh"

constexpr int ROWS = 8;           // sequences of a block
constexpr int COLUMNS = 4;        // that a thread makes, side by side in memory
constexpr int WARP_COLUMNS = 16;  // of the four threads side by side; the other eight ways share the sum out
constexpr int MOST_THREADS = 512;

template <typename T> using Four = Pack<T, COLUMNS>;

// The first `there` of the four elements at `place`, zeros behind them. Wide: there are all four or none, and aligned.
template <typename T>
__device__ Four<T> load(const T* place, int there, bool wide) {
    Four<T> four = {};
    if (wide) {
        if (there > 0) four = *reinterpret_cast<const Four<T>*>(place);
    } else {
        for (int c = 0; c < COLUMNS; c++)
            if (c < there) four.at[c] = place[c];
    }
    return four;
}

template <typename T>
__device__ void store(T* place, const Four<T>& four, int there, bool wide) {
    if (wide) {
        if (there > 0) *reinterpret_cast<Four<T>*>(place) = four;
    } else {
        for (int c = 0; c < COLUMNS; c++)
            if (c < there) place[c] = four.at[c];
    }
}

// -- the product of a step -------------------------------------------------------------------------------------------
// A warp makes ROWS x WARP_COLUMNS sums over `inner` elements: thread l takes every eighth element, beginning with
// l / 4, for all rows and the columns 4 (l % 4) ... + 3. In the end it holds the whole sums of row l / 4.
__device__ inline int own_row() { return lane() / (WARP_COLUMNS / COLUMNS); }
__device__ inline int own_column() { return lane() % (WARP_COLUMNS / COLUMNS) * COLUMNS; }

// parts[i] belongs to row i of the lower half of a warp, and to row i ^ 4 of the upper half. Each half gives the other
// its rows, then each quarter, then each eighth.
template <typename T>
__device__ Four<T> sums_of_own_row(Four<T> (&parts)[ROWS]) {
#pragma unroll
    for (int half = ROWS / 2; half > 0; half /= 2) {
        bool upper = half < ROWS / 2 && (own_row() & half);
#pragma unroll
        for (int r = 0; r < half; r++)
#pragma unroll
            for (int c = 0; c < COLUMNS; c++) {
                T low = parts[r].at[c], high = parts[r + half].at[c];
                T got = __shfl_xor_sync(ALL_LANES, upper ? low : high, half * (WARP_COLUMNS / COLUMNS));
                parts[r].at[c] = (upper ? high : low) + got;
            }
    }
    return parts[0];
}

// Of the weights, on their way to a thread: as many as registers allow.
template <typename T>
constexpr int ROWS_AHEAD = sizeof(T) == 4 ? 8 : 2;

// sums[k].at[c] = sum over j < inner of left[j, own row] right[k, j, column + c]: left (inner, ROWS) in shared memory,
// right (K, inner, H). WHOLE: there are only whole rounds of AHEAD rows a thread.
//
// The L2 cache is far, so AHEAD rows of the weights are on their way to a thread at any time: when it has used one, it
// asks for the one that it needs a round later, be it another matrix's. The assembler would undo that: it moves a load
// as close to its use as it may. Of loads that stood together at the beginning of a round it made single ones (a
// backward of GRUs took 19 us a step on an H200, a forward, where it did not, 11), and requests that follow their uses
// gather at the end of the round, shortly before they are needed. It moves none past a synchronization or out of a
// loop, so the threads of a warp, which are together anyway, meet in the middle of a round.
//
// The upper half of a warp reads the rows 4 to 7 of the state first, so that what the warp reads at once lies in
// different banks.
template <bool WIDE, bool WHOLE, int K, typename T>
__device__ void products_of(const T* left, const T* right, int inner, int H, int column, Four<T> (&sums)[K]) {
    constexpr int AHEAD = WIDE ? ROWS_AHEAD<T> : 1, ROUND = ROWS * AHEAD;
    int there = WIDE ? COLUMNS : H - column, mine = own_row() / COLUMNS * COLUMNS;
    if (H <= column) column = 0;  // a thread beyond the last column repeats the first ones, and nobody takes its sums
    Four<T> factors[AHEAD];
    const T* matrix = right + column;  // and a round of it, of which rows are asked for
    int round = 0;
    auto ask = [&](int a, bool more) {
        int j = round + own_row() + ROWS * a;
        factors[a] = load(matrix + j * H, more && (WHOLE || j < inner) ? there : 0, WIDE);
    };
#pragma unroll
    for (int a = 0; a < AHEAD; a++) ask(a, true);
#pragma unroll
    for (int k = 0; k < K; k++) {
        Four<T> parts[ROWS] = {};
        for (int now = 0; now < inner; now += ROUND) {
            round = now + ROUND;
            if (round >= inner) {
                round = 0;
                matrix += inner * H;
            }
            bool more = k < K - 1 || round > 0;
#pragma unroll
            for (int a = 0; a < AHEAD; a++) {
                int j = now + own_row() + ROWS * a;
                const T* state = left + (WHOLE ? j : min(j, inner - 1)) * ROWS;
                Four<T> near = load(state + mine, COLUMNS, true), far = load(state + (mine ^ COLUMNS), COLUMNS, true);
#pragma unroll
                for (int r = 0; r < ROWS; r++)
#pragma unroll
                    for (int c = 0; c < COLUMNS; c++)
                        parts[r].at[c] += (r < COLUMNS ? near.at[r % COLUMNS] : far.at[r % COLUMNS]) * factors[a].at[c];
                ask(a, more);
                if (a == AHEAD / 2 - 1) __syncwarp(ALL_LANES);
            }
        }
        sums[k] = sums_of_own_row(parts);
    }
}

template <int K, typename T>
__device__ void products(const T* left, const T* right, int inner, int H, int column, bool wide, Four<T> (&sums)[K]) {
    bool whole = inner % (ROWS * ROWS_AHEAD<T>) == 0;
    if (wide && whole) products_of<true, true>(left, right, inner, H, column, sums);
    else if (wide) products_of<true, false>(left, right, inner, H, column, sums);
    else products_of<false, false>(left, right, inner, H, column, sums);
}

// -- the walks -------------------------------------------------------------------------------------------------------
template <typename T>
struct Walk {
    const int* spans;  // (L, 2)
    T* scratch;
    int B, H, L, M, S;
    bool wide;  // whether all arrays can be read by fours
};

// Of the blocks of both directions.
__device__ inline int own_block() { return blockIdx.y * gridDim.x + blockIdx.x; }

template <typename T>
__device__ void copy(const T* from, T* to, int elements) {
    for (int i = threadIdx.x; i < elements; i += blockDim.x) to[i] = from[i];
}

// for (int warp = first_columns(); warp < H; warp += all_columns()): the columns of a warp.
__device__ inline int first_columns() { return threadIdx.x / 32 * WARP_COLUMNS; }
__device__ inline int all_columns() { return blockDim.x / 32 * WARP_COLUMNS; }

// `memory` is null for cells without one, `cache` in inference.
template <typename Cell, typename T>
__device__ void walk_forward(const Cell& cell, const Walk<T>& walk, const T* weight, T* gates, T* state, T* memory,
                             T* y, T* cache) {
    constexpr int K = Cell::GATES, C = Cell::CACHED;
    int H = walk.H, MH = walk.M * H, block_row = blockIdx.x * ROWS, sequence = block_row + own_row();
    bool wide = walk.wide;
    T* now = dynamic_shared<T>();                                                            // (H, ROWS)
    T* next = walk.scratch ? walk.scratch + own_block() * H * ROWS : now + H * ROWS;         // (H, ROWS)
    for (int i = threadIdx.x; i < H * ROWS; i += blockDim.x)
        now[i % H * ROWS + i / H] = block_row + i / H < walk.B ? state[block_row * H + i] : T(0);
    __syncthreads();
    for (int t = 0; t < walk.L; t++) {
        int start = walk.spans[2 * t], count = walk.spans[2 * t + 1];
        if (count <= block_row) continue;  // none of these sequences runs
        for (int warp = first_columns(); warp < H; warp += all_columns()) {
            int column = warp + own_column(), there = sequence < count ? H - column : 0;
            int place = (start + sequence) * H + column;
            Four<T> gate[K], sums[K], kept[C], after, held = {};
            for (int k = 0; k < K; k++) gate[k] = load(gates + k * MH + place, there, wide);
            if (memory) held = load(memory + sequence * H + column, there, wide);
            products(now, weight, H, H, column, wide, sums);
            for (int c = 0; c < COLUMNS; c++) {
                if (column + c >= H) break;
                int e = column + c;
                T a[K], p[K], x[C];
                for (int k = 0; k < K; k++) a[k] = gate[k].at[c], p[k] = sums[k].at[c];
                x[0] = now[e * ROWS + own_row()];
                after.at[c] = cell.forward(a, p, x, held.at[c], e);
                next[e * ROWS + own_row()] = c < there ? after.at[c] : x[0];
                for (int k = 0; k < K; k++) gate[k].at[c] = a[k];
                for (int k = 0; k < C; k++) kept[k].at[c] = x[k];
            }
            store(y + (start + sequence) * walk.S + column, after, there, wide);
            if (memory) store(memory + sequence * H + column, held, there, wide);
            if (cache) {
                for (int k = 0; k < K; k++) store(gates + k * MH + place, gate[k], there, wide);
                for (int k = 0; k < C; k++) store(cache + k * MH + place, kept[k], there, wide);
            }
        }
        __syncthreads();
        if (walk.scratch) {
            copy(next, now, H * ROWS);
            __syncthreads();
        } else {
            T* before = now;
            now = next;
            next = before;
        }
    }
    for (int i = threadIdx.x; i < H * ROWS; i += blockDim.x)
        if (block_row + i / H < walk.B) state[block_row * H + i] = now[i % H * ROWS + i / H];
}

// A thread alone reads and writes its elements of `dstate` and `dmemory`; only the gradients of the gates are shared.
// Of them `scratch`, where it is there, lets one gate at a time into shared memory.
template <typename Cell, typename T>
__device__ void walk_backward(const Cell& cell, const Walk<T>& walk, const T* weight_t, T* gates, T* cache, T* dstate,
                              T* dmemory, const T* dy) {
    constexpr int K = Cell::GATES, C = Cell::CACHED;
    int H = walk.H, MH = walk.M * H, block_row = blockIdx.x * ROWS, sequence = block_row + own_row();
    bool wide = walk.wide;
    T* left = dynamic_shared<T>();                                               // (K * H, ROWS), or (H, ROWS)
    T* all = walk.scratch ? walk.scratch + own_block() * K * H * ROWS : left;    // (K * H, ROWS)
    int at_once = walk.scratch ? H : K * H;
    if (dmemory)
        for (int warp = first_columns(); warp < H; warp += all_columns()) {
            int column = warp + own_column(), there = sequence < walk.B ? H - column : 0;
            store(dmemory + sequence * H + column, Four<T>{}, there, wide);
        }
    for (int t = walk.L - 1; t >= 0; t--) {
        int start = walk.spans[2 * t], count = walk.spans[2 * t + 1];
        if (count <= block_row) continue;
        for (int warp = first_columns(); warp < H; warp += all_columns()) {
            int column = warp + own_column(), there = sequence < count ? H - column : 0;
            int place = (start + sequence) * H + column, own = sequence * H + column;
            Four<T> gate[K], kept[C], held = {}, came = {}, dh = load(dstate + own, there, wide);
            if (dy) came = load(dy + (start + sequence) * walk.S + column, there, wide);
            if (dmemory) held = load(dmemory + own, there, wide);
            for (int k = 0; k < K; k++) gate[k] = load(gates + k * MH + place, there, wide);
            for (int k = 1; k < C; k++) kept[k] = load(cache + k * MH + place, there, wide);
            for (int c = 0; c < COLUMNS; c++) {
                if (column + c >= H) break;
                T a[K], x[C], d[K];
                for (int k = 0; k < K; k++) a[k] = gate[k].at[c];
                for (int k = 1; k < C; k++) x[k] = kept[k].at[c];
                dh.at[c] = cell.backward(dh.at[c] + came.at[c], a, x, d, held.at[c]);
                for (int k = 0; k < K; k++) all[(k * H + column + c) * ROWS + own_row()] = c < there ? d[k] : T(0);
                for (int k = 0; k < K; k++) gate[k].at[c] = a[k];
                for (int k = 1; k < C; k++) kept[k].at[c] = x[k];
            }
            store(dstate + own, dh, there, wide);
            if (dmemory) store(dmemory + own, held, there, wide);
            for (int k = 0; k < K; k++) store(gates + k * MH + place, gate[k], there, wide);
            if (Cell::CHANGED) store(cache + Cell::CHANGED * MH + place, kept[Cell::CHANGED], there, wide);
        }
        __syncthreads();
        for (int done = 0; done < K * H; done += at_once) {
            if (walk.scratch) {
                copy(all + done * ROWS, left, at_once * ROWS);
                __syncthreads();
            }
            for (int warp = first_columns(); warp < H; warp += all_columns()) {
                int column = warp + own_column(), there = sequence < count ? H - column : 0;
                Four<T> dh = load(dstate + sequence * H + column, there, wide);
                Four<T> sums[1];
                products(left, weight_t + done * H, at_once, H, column, wide, sums);
                for (int c = 0; c < COLUMNS; c++) dh.at[c] += sums[0].at[c];
                store(dstate + sequence * H + column, dh, there, wide);
            }
            __syncthreads();
        }
    }
}
