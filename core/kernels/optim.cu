// Optimizers: one pass over the flat buffers of weights, gradients and moments. The formulas stand in core/ops/cpu/optim.py.
//
// What changes from step to step is read from device memory, `factors`, so that a step never waits and a recorded
// sequence of launches stays right.
#include "elements.cuh"

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
    auto update = [=](T& w, T g, T& v) {
        g += decay * w;
        v = momentum * v + g;
        w -= lr * (!velocity ? g : nesterov ? g + momentum * v : v);
    };
    each(N, update, updates(data), reads(grad), updates(velocity));
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
    auto update = [=](T& w, T g, T& m, T& v, T& most) {
        if (shrink) w *= keep;
        g += decay * w;
        m = beta1 * m + g;
        v = beta2 * v + g * g;
        most = max(most, v);
        w -= lr * m / (sqrt(largest ? most : v) + eps);
    };
    each(N, update, updates(data), reads(grad), updates(first_moment), updates(second_moment), updates(largest));
}
