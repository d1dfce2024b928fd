// The same training in the classic way: a kernel for each layer and each pass, and one song at a time.
//
// Nine launches a song, each for so little work that the GPU mostly waits for the next one; fused.cu shows what can be
// done about it. Each thread takes one output of its layer.
#include "kernel.cuh"

// y = x W + b, with ReLU where it is asked for.
template <typename T>
__global__ void naive_forward(const T* x,       // (I)
                              const T* weight,  // (I, J)
                              const T* bias,    // (J)
                              T* y,             // (J)
                              int I, int J, bool relu) {
    for (int j = first_element(); j < J; j += all_threads()) {
        T sum = bias[j];
        for (int i = 0; i < I; ++i) sum += x[i] * weight[i * J + j];
        y[j] = relu && sum < 0 ? T(0) : sum;
    }
}

// dz = softmax(z) - target; the loss, and whether the answer is right. One thread does it all.
template <typename T>
__global__ void naive_softmax_gradient(const T* z,         // (C)
                                       const int* labels,  // (N)
                                       T* dz,              // (C)
                                       T* losses,          // (M)
                                       int* right,         // (M)
                                       int N, int C, int M, int song, int place) {
    if (first_element() > 0) return;
    int label = labels[song], best = 0;
    for (int c = 1; c < C; ++c)
        if (z[c] > z[best]) best = c;
    T total = 0;
    for (int c = 0; c < C; ++c) total += exp(z[c] - z[best]);
    for (int c = 0; c < C; ++c) dz[c] = exp(z[c] - z[best]) / total - (c == label ? T(1) : T(0));
    losses[place] = log(total) - (z[label] - z[best]);
    right[place] = best == label;
}

// dx = W dy where the layer below put out something, else 0.
template <typename T>
__global__ void naive_backward(const T* dy,      // (J)
                               const T* weight,  // (I, J)
                               const T* x,       // (I)
                               T* dx,            // (I)
                               int I, int J) {
    for (int i = first_element(); i < I; i += all_threads()) {
        T sum = 0;
        for (int j = 0; j < J; ++j) sum += weight[i * J + j] * dy[j];
        dx[i] = x[i] > 0 ? sum : T(0);
    }
}

// W -= rate x dy^T and b -= rate dy.
template <typename T>
__global__ void naive_update(const T* x,   // (I)
                             const T* dy,  // (J)
                             T* weight,    // (I, J)
                             T* bias,      // (J)
                             int I, int J, T rate) {
    for (int e = first_element(); e < I * J; e += all_threads()) {
        weight[e] -= rate * x[e / J] * dy[e % J];
        if (e < J) bias[e] -= rate * dy[e];
    }
}
