// Kernels in which a warp takes a row and looks at it several times.
//
// The row stays in the registers of the warp, so that memory is read once and written once. Only what a row has beyond
// Row::STRETCH elements (512 of float) is fetched anew each time, and kept in memory when it has changed.
//
// Instructions are scarce: while a fast memory moves a row of 256 floats in and out, a multiprocessor has time for about
// 450 of a warp, and each lane has eight of the elements. So no element asks whether it is there. A pack lies within its
// row or beyond it, and where C is no multiple of 16 bytes, or an array starts elsewhere, packs are single elements.
// And a row spares divisions: their long way for rare operands is a function that takes 16 registers of every thread.
#pragma once
#include "kernel.cuh"

template <typename T, int K>
struct Row {
    static constexpr int PACKS = 4, STRETCH = 32 * K * PACKS;
    const T* memory;
    int C;
    Pack<T, K> held[PACKS];  // lane l has the packs l, l + 32, ... of a stretch

    __device__ Row(const T* memory, int C) : memory(memory), C(C) { fetch(0); }

    // task(p, c) for the packs p of this lane that lie in the row, and their first columns c.
    template <typename Task>
    __device__ static void each_pack(int C, int stretch, Task task) {
#pragma unroll
        for (int p = 0; p < PACKS; ++p) {
            int first = stretch + 32 * p * K, c = first + lane() * K;
            if (first >= C) break;  // for the whole warp
            if (c < C) task(p, c);
        }
    }
    __device__ void fetch(int stretch) {
        each_pack(C, stretch, [&](int p, int c) { held[p] = *packs<K>(memory + c); });
    }
    __device__ void put(T* y, int stretch) const {
        each_pack(C, stretch, [&](int p, int c) { *packs<K>(y + c) = held[p]; });
    }
    __device__ Pack<T, K>& pack(int p, int) { return held[p]; }

    // To be called after the last change, which has written a long row already.
    __device__ void store(T* y) const {
        if (C <= STRETCH) put(y, 0);
    }
};

// A row that belongs to all rows, such as weights: fetched when it is needed, since the cache has it.
template <typename T, int K>
struct Beside {
    const T* memory;
    __device__ void fetch(int) {}
    __device__ Pack<T, K> pack(int, int c) const { return *packs<K>(memory + c); }
};

// formula(c, v, ...) for the elements c of one stretch of some rows.
template <typename T, int K, typename F, typename... Rows>
__device__ void apply(int stretch, F& formula, Row<T, K>& first, Rows&... others) {
    auto in_pack = [&](int c, auto&&... of_rows) {
#pragma unroll
        for (int k = 0; k < K; ++k) formula(c + k, of_rows.at[k]...);
    };
    first.each_pack(first.C, stretch, [&](int p, int c) { in_pack(c, first.pack(p, c), others.pack(p, c)...); });
}

// formula(c, v, ...) for all elements c of some rows, which it leaves as they are.
template <typename T, int K, typename F, typename... Rows>
__device__ void look(F formula, Row<T, K>& first, Rows&&... others) {
    if (first.C <= first.STRETCH) return apply(0, formula, first, others...);
    for (int stretch = 0; stretch < first.C; stretch += first.STRETCH) {
        first.fetch(stretch), (others.fetch(stretch), ...);
        apply(stretch, formula, first, others...);
    }
}

// The same, where the formula changes the elements of the first row. One that is too long for registers moves to y.
template <typename T, int K, typename F, typename... Rows>
__device__ void change(T* y, F formula, Row<T, K>& first, Rows&&... others) {
    if (first.C <= first.STRETCH) return apply(0, formula, first, others...);
    for (int stretch = 0; stretch < first.C; stretch += first.STRETCH) {
        first.fetch(stretch), (others.fetch(stretch), ...);
        apply(stretch, formula, first, others...);
        first.put(y, stretch);
    }
    first.memory = y;
}

template <int K>
struct Width { static constexpr int value = K; };

// run(width), where packs of width.value elements lie within rows of C elements of all these arrays.
template <typename T, typename Run, typename... Arrays>
__device__ void in_packs(int C, Run run, const T* first, const Arrays*... others) {
    constexpr int K = 16 / sizeof(T);
    if (C % K == 0 && aligned(first, others...)) run(Width<K>());
    else run(Width<1>());
}
