// Kernels with the mistakes that the shim must catch, beside the same kernels without.
#include "kernel.cuh"

__global__ void reversed_good(const float* x,  // (N)
                              float* y,        // (N)
                              int N) {
    __shared__ float tile[256];
    tile[threadIdx.x] = threadIdx.x < N ? x[threadIdx.x] : 0;
    __syncthreads();
    if (threadIdx.x < N) y[threadIdx.x] = tile[N - 1 - threadIdx.x];
}

__global__ void reversed_without_barrier(const float* x,  // (N)
                                         float* y,        // (N)
                                         int N) {
    __shared__ float tile[256];
    tile[threadIdx.x] = threadIdx.x < N ? x[threadIdx.x] : 0;
    if (threadIdx.x < N) y[threadIdx.x] = tile[N - 1 - threadIdx.x];
}

// Right in one order of the threads, wrong in the other.
__global__ void shifted_without_barrier(const float* x,  // (N)
                                        float* y,        // (N)
                                        int N) {
    __shared__ float tile[256];
    tile[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = threadIdx.x ? tile[threadIdx.x - 1] : 0;
}

// The last round of a tree without a barrier, as people wrote it when the lanes of a warp ran in lock-step.
__global__ void warp_tree_without_sync(const float* x,  // (N)
                                       float* y,        // (1)
                                       int N) {
    __shared__ float sums[32];
    sums[threadIdx.x] = x[threadIdx.x];
    for (int half = 16; half > 0; half /= 2)
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    if (threadIdx.x == 0) y[0] = sums[0];
}

__global__ void barrier_in_a_branch(float* y,  // (N)
                                    int N) {
    if (threadIdx.x < N) {
        y[threadIdx.x] = 1;
        __syncthreads();
    }
}

__global__ void two_barriers(float* y,  // (N)
                             int N) {
    if (threadIdx.x % 2) {
        __syncthreads();
    } else {
        __syncthreads();
    }
    y[threadIdx.x] = 1;
}

__global__ void shuffle_with_the_departed(float* y,  // (N)
                                          int N) {
    if (threadIdx.x >= N) return;
    y[threadIdx.x] = warp_sum(1.0f);
}

__global__ void reads_behind_the_end(const float* x,  // (N)
                                     float* y,        // (N)
                                     int N) {
    int i = first_element();
    if (i < N) y[i] = x[i + 1];
}

__global__ void writes_behind_the_end(const float* x,  // (N)
                                      float* y,        // (N)
                                      int N) {
    int i = first_element();
    if (i <= N) y[i] = i < N ? x[i] : 0;
}

// One element a thread: right only in a grid that is large enough.
__global__ void copy_forward(const float* x,  // (N)
                             float* y,        // (N)
                             int N) {
    int i = first_element();
    if (i < N) y[i] = x[i];
}

// Blocks that add up in the order in which they come.
__global__ void sum_in_any_order(const float* x,  // (N)
                                 float* y,        // (1)
                                 int N) {
    float sum = block_sum(first_element() < N ? x[first_element()] : 0.0f);
    if (threadIdx.x == 0) atomicAdd(y, sum);
}

__global__ void everything(const float* x,  // (N)
                           int* votes,      // (N)
                           float* shifted,  // (N)
                           float* sums,     // (N)
                           float* shared,   // (N)
                           int N) {
    int i = first_element();
    votes[i] = __ballot_sync(ALL_LANES, x[i] > 0);
    shifted[i] = __shfl_down_sync(ALL_LANES, x[i], 1);
    sums[i] = block_sum(x[i]);
    float* memory = dynamic_shared<float>();
    memory[threadIdx.x] = x[i];
    __syncthreads();
    shared[i] = memory[blockDim.x - 1 - threadIdx.x];
}

template <typename T>  // float, double, float16
__global__ void round_trip(const float* x,  // (N)
                           T* y,            // (N)
                           int N) {
    for (int i = first_element(); i < N; i += all_threads()) y[i] = T(x[i]);
}
