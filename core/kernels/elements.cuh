// Kernels that are a formula: something done to element i of some arrays, for every i.
//
//     each(N, [=](float x, float& y) { y = 2 * x; }, reads(x), writes(y));
//
// What is here moves the elements: 16 bytes an instruction where the arrays lie so that it can, and always the next
// elements of all arrays before anything is done with them. The way to memory takes some 700 cycles, and it is busy
// only while every multiprocessor waits for about 32 KB, which are 16 bytes a thread.
#pragma once
#include "kernel.cuh"

// How a formula uses an array. What is null reads as zeros and is not written.
enum Use { READS, WRITES, UPDATES, PER_COLUMN };

// An array, and in registers the AHEAD packs of K elements that a thread works on.
template <Use USE, typename T, int K = 1, int AHEAD = 1>
struct Operand {
    static constexpr int BYTES = USE == PER_COLUMN ? 0 : sizeof(T);  // that move
    static constexpr bool IS_READ = USE == READS || USE == UPDATES, IS_WRITTEN = USE == WRITES || USE == UPDATES;
    using A = compute_t<T>;
    T* array;
    A values[AHEAD][K];

    __device__ bool movable() const { return USE == PER_COLUMN || aligned(array); }
    template <int K2, int AHEAD2>
    __device__ Operand<USE, T, K2, AHEAD2> in_packs(int start) const { return {array ? array + start : array}; }

    __device__ A& at(int ahead, int k) { return values[USE == PER_COLUMN ? 0 : ahead][k]; }
    __device__ void begin(unsigned pack_of_row) {
        if constexpr (USE == PER_COLUMN)
            for (int k = 0; k < K; ++k) values[0][k] = array ? A(array[pack_of_row * K + k]) : A(0);
    }
    __device__ void fetch(int ahead, unsigned pack) {
        if constexpr (IS_READ) {
            Pack<T, K> found = {};
            if (array) found = packs<K>(array)[pack];
            for (int k = 0; k < K; ++k) values[ahead][k] = A(found.at[k]);
        }
    }
    __device__ void put(int ahead, unsigned pack) {
        if constexpr (IS_WRITTEN) {
            Pack<T, K> made;
            for (int k = 0; k < K; ++k) made.at[k] = T(values[ahead][k]);
            if (array) packs<K>(array)[pack] = made;
        }
    }
};

template <typename T> __device__ Operand<READS, T> reads(const T* x) { return {const_cast<T*>(x)}; }
template <typename T> __device__ Operand<WRITES, T> writes(T* x) { return {x}; }
template <typename T> __device__ Operand<UPDATES, T> updates(T* x) { return {x}; }
template <typename T> __device__ Operand<PER_COLUMN, T> per_column(const T* x) { return {const_cast<T*>(x)}; }  // (C)

// All packs, of which `row` are side by side in a row. A thread stays in its column, so that it divides once, and reads
// what belongs to the column once. (Unsigned, because two steps beyond 2^30 elements still fit.)
template <int K, int AHEAD, typename F, typename... Operands>
__device__ void walk(unsigned all, unsigned row, F formula, Operands... held) {
    unsigned threads = all_threads(), stride = max(threads / row, 1u) * row;
    for (unsigned first = first_element(); first < stride; first += threads) {
        (held.begin(first % row), ...);
        for (unsigned pack = first; pack < all; pack += AHEAD * stride) {
#pragma unroll
            for (int n = 0; n < AHEAD; ++n)
                if (pack + n * stride < all) (held.fetch(n, pack + n * stride), ...);
#pragma unroll
            for (int n = 0; n < AHEAD; ++n) {
                if (pack + n * stride >= all) break;
#pragma unroll
                for (int k = 0; k < K; ++k) formula(held.at(n, k)...);
                (held.put(n, pack + n * stride), ...);
            }
        }
    }
}

// How many elements of the largest type that moves 16 bytes hold.
template <typename... Operands>
__device__ constexpr int most_at_once() {
    int largest = 1;
    ((largest = Operands::BYTES > largest ? Operands::BYTES : largest), ...);
    return 16 / largest;
}

// The more arrays are read, the more is on its way anyway.
template <typename... Operands>
__device__ constexpr int packs_ahead() { return (Operands::IS_READ + ...) < 3 ? 2 : 1; }

// formula(x, y, ...) for the elements i of all operands (N), for every i. What is written may be what is read.
template <typename F, typename... Operands>
__device__ void each(int N, F formula, Operands... operands) {
    constexpr int K = most_at_once<Operands...>(), AHEAD = packs_ahead<Operands...>();
    int all = (operands.movable() && ...) ? N / K : 0;
    walk<K, AHEAD>(all, 1, formula, operands.template in_packs<K, AHEAD>(0)...);
    walk<1, AHEAD>(N - all * K, 1, formula, operands.template in_packs<1, AHEAD>(all * K)...);
}

// The same for all elements of (M, C) arrays, beside operands `per_column` (C).
template <typename F, typename... Operands>
__device__ void each_in_rows(int M, int C, F formula, Operands... operands) {
    constexpr int K = most_at_once<Operands...>(), AHEAD = packs_ahead<Operands...>();
    if (C % K == 0 && (operands.movable() && ...))
        walk<K, AHEAD>(M * (C / K), C / K, formula, operands.template in_packs<K, AHEAD>(0)...);
    else walk<1, AHEAD>(M * C, C, formula, operands.template in_packs<1, AHEAD>(0)...);
}
