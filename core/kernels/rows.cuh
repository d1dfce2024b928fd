// Kernels in which a warp takes a row and looks at it several times.
//
// The row stays in the registers of the warp, so that memory is read once and written once. Only what a row has beyond
// Row<T>::LENGTH elements (512 of float) is fetched anew each time, and kept in memory when it has changed.
#pragma once
#include "kernel.cuh"

template <typename T>
struct Row {
    static constexpr int K = 16 / sizeof(T), PACKS = 4, LENGTH = 32 * K * PACKS;
    const T* memory;
    int C;
    bool whole;          // whether a pack is one instruction
    T held[PACKS][K];    // lane l has the packs l, l + 32, ... of this stretch

    __device__ Row(const T* memory, int C) : memory(memory), C(C), whole(C % K == 0 && aligned(memory)) { fetch(0); }

    __device__ static int column(int stretch, int pack) { return stretch + (32 * pack + lane()) * K; }
    __device__ int count(int stretch, int pack) const { return C - column(stretch, pack); }

    __device__ void fetch(int stretch) {
#pragma unroll
        for (int p = 0; p < PACKS; ++p) {
            Pack<T, K> found = fetch_some<K>(memory + column(stretch, p), count(stretch, p), whole);
            for (int k = 0; k < K; ++k) held[p][k] = found.at[k];
        }
    }
    __device__ void put(T* y, int stretch) const {
        bool whole = C % K == 0 && aligned(y);
#pragma unroll
        for (int p = 0; p < PACKS; ++p) {
            Pack<T, K> made;
            for (int k = 0; k < K; ++k) made.at[k] = held[p][k];
            put_some(y + column(stretch, p), made, count(stretch, p), whole);
        }
    }
    // To be called after the last change, which has written a long row already.
    __device__ void store(T* y) const {
        if (C <= LENGTH) put(y, 0);
    }
};

// formula(c, v, ...) for the elements c of one stretch of some rows.
template <typename T, typename F, typename... Rows>
__device__ void apply(int stretch, F& formula, Row<T>& first, Rows&... others) {
#pragma unroll
    for (int p = 0; p < first.PACKS; ++p) {
        int c = first.column(stretch, p);
        if (c >= first.C) break;
#pragma unroll
        for (int k = 0; k < first.K; ++k)
            if (c + k < first.C) formula(c + k, first.held[p][k], others.held[p][k]...);
    }
}

// formula(c, v, ...) for all elements c of some rows, which it leaves as they are.
template <typename T, typename F, typename... Rows>
__device__ void look(F formula, Row<T>& first, Rows&... others) {
    for (int stretch = 0; stretch < first.C; stretch += first.LENGTH) {
        if (first.C > first.LENGTH) first.fetch(stretch), (others.fetch(stretch), ...);
        apply(stretch, formula, first, others...);
    }
}

// The same, where the formula changes the elements of the first row. One that is too long for registers moves to y.
template <typename T, typename F, typename... Rows>
__device__ void change(T* y, F formula, Row<T>& first, Rows&... others) {
    for (int stretch = 0; stretch < first.C; stretch += first.LENGTH) {
        if (first.C > first.LENGTH) first.fetch(stretch), (others.fetch(stretch), ...);
        apply(stretch, formula, first, others...);
        if (first.C > first.LENGTH) first.put(y, stretch);
    }
    if (first.C > first.LENGTH) first.memory = y;
}
