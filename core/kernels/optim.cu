// Optimizers: one pass over the flat buffers of weights, gradients and moments. The formulas stand in core/ops/cpu/optim.py.
//
// What changes from step to step is read from device memory, `factors`, so that a step never waits and a recorded
// sequence of launches stays right.
#include "kernel.cuh"

template <typename T>
__global__ void set_factors(T* factors,  // (3)
                            double first, double second, double third) {
    factors[0] = T(first);
    factors[1] = T(second);
    factors[2] = T(third);
}

// factors: lr. Velocity is null without momentum.
template <typename T>
__global__ void sgd_update(T* data,           // (N)
                           const T* grad,     // (N)
                           T* velocity,       // (N) or null
                           const T* factors,  // (3)
                           int N, T momentum, T decay, bool nesterov) {
    T lr = factors[0];
    for (int i = first_element(); i < N; i += all_threads()) {
        T g = grad[i] + decay * data[i];
        if (velocity) {
            T v = velocity[i] = momentum * velocity[i] + g;
            g = nesterov ? g + momentum * v : v;
        }
        data[i] -= lr * g;
    }
}

// factors: lr and eps, with the corrections of this step in them, and what weight decay leaves of a weight where it
// shrinks. `largest` is AMSGrad's; decay is an L2 penalty.
template <typename T>
__global__ void adam_update(T* data,           // (N)
                            const T* grad,     // (N)
                            T* first_moment,   // (N)
                            T* second_moment,  // (N)
                            T* largest,        // (N) or null
                            const T* factors,  // (3)
                            int N, T beta1, T beta2, T decay, bool shrink) {
    T lr = factors[0], eps = factors[1], keep = factors[2];
    for (int i = first_element(); i < N; i += all_threads()) {
        T w = shrink ? keep * data[i] : data[i], g = grad[i] + decay * w;
        T m = first_moment[i] = beta1 * first_moment[i] + g;
        T v = second_moment[i] = beta2 * second_moment[i] + g * g;
        if (largest) v = largest[i] = max(largest[i], v);
        data[i] = w - lr * m / (sqrt(v) + eps);
    }
}
