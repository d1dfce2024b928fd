// Mixed precision: between float16, in which layers compute, and float32, in which weights are kept.
#include "kernel.cuh"

__global__ void cast_to_half(const float* x,  // (N)
                             float16* y,      // (N)
                             int N) {
    for (int i = first_element(); i < N; i += all_threads()) y[i] = float16(x[i]);
}

__global__ void cast_from_half(const float16* x,  // (N)
                               float* y,          // (N)
                               int N) {
    for (int i = first_element(); i < N; i += all_threads()) y[i] = float(x[i]);
}

// grad /= scale[0], and overflow[0] = 1 if any element is not finite; it is left as it is otherwise.
template <typename T>
__global__ void unscale_backward(T* grad,         // (N)
                                 const T* scale,  // (1)
                                 int* overflow,   // (1)
                                 int N) {
    T inverse = 1 / scale[0];
    bool bad = false;
    for (int i = first_element(); i < N; i += all_threads()) {
        grad[i] *= inverse;
        bad |= !isfinite(grad[i]);
    }
    if (bad) overflow[0] = 1;  // all who write, write the same
}
