// Mixed precision: between float16, in which layers compute, and float, in which weights are kept.
#include "elements.cuh"

// y = factor * x, rounded; what is too large becomes infinite.
__global__ void cast_to_half(const float* x,  // (N)
                             float16* y,      // (N)
                             int N, float factor) {
    each(N, [=](float from, float& to) { to = factor * from; }, reads(x), writes(y));
}

__global__ void cast_from_half(const float16* x,  // (N)
                               float* y,          // (N)
                               int N, float factor) {
    each(N, [=](float from, float& to) { to = factor * from; }, reads(x), writes(y));
}

// grad *= factor, and overflow[0] = 1 if any element is not finite; it is left as it is otherwise.
__global__ void unscale_backward(float* grad,    // (N)
                                 int* overflow,  // (1)
                                 int N, float factor) {
    bool bad = false;
    auto unscale = [=, &bad](float& g) {
        g *= factor;
        bad |= !isfinite(g);
    };
    each(N, unscale, updates(grad));
    if (bad) overflow[0] = 1;  // all who write, write the same
}
