// All steps of packed sequences at once, without a cell. What each does stands in core/ops/cpu/sequences.py.
//
// `spans` (L, 2) holds (first row, number of rows) of each step. Grid: (elements of a step, steps), and steps are the
// second coordinate, through which blocks go in strides as well.
#include "kernel.cuh"

// Every gate's bias, to the rows of that gate. Grid: (elements of a gate, gates).
template <typename T>
__global__ void add_bias_forward(const T* bias,  // (K, H)
                                 T* gates,       // (K, M, H)
                                 int K, int M, int H) {
    T* gate = gates + blockIdx.y * M * H;
    for (int i = first_element(); i < M * H; i += all_threads()) gate[i] += bias[blockIdx.y * H + i % H];
}

template <typename T>
__global__ void multiply_steps_forward(T* rows,           // (M, C)
                                       const T* factors,  // (B, C)
                                       const int* spans,  // (L, 2)
                                       int B, int C, int L, int M) {
    for (int t = blockIdx.y; t < L; t += gridDim.y) {
        T* step = rows + spans[2 * t] * C;
        int elements = spans[2 * t + 1] * C;
        for (int i = first_element(); i < elements; i += all_threads()) step[i] *= factors[i];
    }
}

// A thread adds up all steps of one element of one sequence.
template <typename T>
__global__ void sum_steps_forward(const T* rows,     // (M, C)
                                  T* total,          // (B, C)
                                  const int* spans,  // (L, 2)
                                  int B, int C, int L, int M) {
    for (int i = first_element(); i < B * C; i += all_threads()) {
        T sum = 0;
        for (int t = 0; t < L; t++)
            if (i < spans[2 * t + 1] * C) sum += rows[spans[2 * t] * C + i];
        total[i] = sum;
    }
}

template <typename T>
__global__ void sum_steps_backward(const T* dtotal,   // (B, C)
                                   T* drows,          // (M, C)
                                   const int* spans,  // (L, 2)
                                   int B, int C, int L, int M) {
    for (int t = blockIdx.y; t < L; t += gridDim.y) {
        T* step = drows + spans[2 * t] * C;
        int elements = spans[2 * t + 1] * C;
        for (int i = first_element(); i < elements; i += all_threads()) step[i] = dtotal[i];
    }
}
