// Activation functions, with or without a bias in front. The formulas are those of core/ops/cpu/activation.py.
//
// One kernel for all of them: which function it is, is asked once, outside of the loop through the elements.
#include "elements.cuh"

enum Kind { IDENTITY, RELU, LEAKY_RELU, SIGMOID, TANH, SOFTPLUS, SELU, GELU, GELU_TANH };

// Klambauer et al. 2017, eq. 2; Hendrycks and Gimpel 2016.
#define SELU_ALPHA A(1.6732632423543772)
#define SELU_SCALE A(1.0507009873554805)
#define SQRT_HALF A(0.7071067811865476)
#define SQRT_2_OVER_PI A(0.7978845608028654)
#define INVERSE_SQRT_2_PI A(0.3989422804014327)
#define GELU_CUBIC A(0.044715)
#define FAR A(40)  // from here on the normal distribution has no tail, in any type

// The normal distribution function. By erf, because erfc takes as long as the way to memory; what the sum with 1 rounds
// away is less than 1e-7 in float.
template <typename A>
__device__ A normal(A x) {
    return A(0.5) + A(0.5) * erf(x * SQRT_HALF);
}

// x where its products neither overflow nor are 0 times infinity; what is no number stays none.
template <typename A>
__device__ A near(A x) {
    return x > FAR ? FAR : x < -FAR ? -FAR : x;
}

// `a` and `b` are the slope of a leaky ReLU, or beta and threshold of softplus.
template <int KIND, typename A>
struct Activation {
    A a, b;

    // y from x.
    __device__ A value(A x) const {
        switch (KIND) {
            case RELU: return x < 0 ? A(0) : x;  // what is no number stays none
            case LEAKY_RELU: return x > 0 ? x : a * x;
            case SIGMOID: return A(0.5) + A(0.5) * tanh(A(0.5) * x);
            case TANH: return tanh(x);
            case SOFTPLUS: return a * x > b ? x : (max(a * x, A(0)) + log1p(exp(-fabs(a * x)))) / a;
            case SELU: return SELU_SCALE * (x > 0 ? x : SELU_ALPHA * expm1(x));
            case GELU: return max(x, -FAR) * normal(x);
            case GELU_TANH: return A(0.5) * max(x, -FAR) * (1 + tanh(SQRT_2_OVER_PI * (x + GELU_CUBIC * x * x * x)));
            default: return x;
        }
    }

    // dy/dx from what forward kept: y for ReLU, sigmoid, tanh and SELU, x for the others.
    __device__ A slope(A kept) const {
        switch (KIND) {
            case RELU: return kept > 0 ? A(1) : A(0);
            case LEAKY_RELU: return kept > 0 ? A(1) : a;
            case SIGMOID: return kept * (1 - kept);
            case TANH: return 1 - kept * kept;
            case SOFTPLUS: return a * kept > b ? A(1) : A(0.5) + A(0.5) * tanh(A(0.5) * a * kept);
            case SELU: return kept > 0 ? SELU_SCALE : kept + SELU_SCALE * SELU_ALPHA;
            case GELU: {
                A x = near(kept);
                return normal(x) + x * INVERSE_SQRT_2_PI * exp(A(-0.5) * x * x);
            }
            case GELU_TANH: {
                A x = near(kept), t = tanh(SQRT_2_OVER_PI * (x + GELU_CUBIC * x * x * x));
                A du = SQRT_2_OVER_PI * (1 + 3 * GELU_CUBIC * x * x);
                return A(0.5) * (1 + t + x * (1 - t * t) * du);
            }
            default: return A(1);
        }
    }
};

// run(f) with the function f that `kind` names.
template <typename A, typename Run>
__device__ void choose(int kind, A a, A b, Run run) {
    switch (kind) {
        case RELU: return run(Activation<RELU, A>{a, b});
        case LEAKY_RELU: return run(Activation<LEAKY_RELU, A>{a, b});
        case SIGMOID: return run(Activation<SIGMOID, A>{a, b});
        case TANH: return run(Activation<TANH, A>{a, b});
        case SOFTPLUS: return run(Activation<SOFTPLUS, A>{a, b});
        case SELU: return run(Activation<SELU, A>{a, b});
        case GELU: return run(Activation<GELU, A>{a, b});
        case GELU_TANH: return run(Activation<GELU_TANH, A>{a, b});
        default: return run(Activation<IDENTITY, A>{a, b});
    }
}

// y = f(x + bias). y may be x.
template <typename T>  // float, double, float16
__global__ void activation_forward(const T* x,                // (N)
                                   const compute_t<T>* bias,  // (C) or null
                                   T* y,                      // (N)
                                   int N, int C, int kind, double a, double b) {
    using A = compute_t<T>;
    choose<A>(kind, a, b, [=](auto f) {
        if (bias) {
            auto add = [=](A x, A bias, A& y) { y = f.value(x + bias); };
            each_in_rows(N / C, C, add, reads(x), per_column(bias), writes(y));
        } else each(N, [=](A x, A& y) { y = f.value(x); }, reads(x), writes(y));
    });
}

// dx = dy f'. dx may be dy. `kept` is as `slope` says.
template <typename T>  // float, double, float16
__global__ void activation_backward(const T* dy,    // (N)
                                    const T* kept,  // (N)
                                    T* dx,          // (N)
                                    int N, int kind, double a, double b) {
    using A = compute_t<T>;
    choose<A>(kind, a, b, [=](auto f) {
        each(N, [=](A dy, A kept, A& dx) { dx = dy * f.slope(kept); }, reads(dy), reads(kept), writes(dx));
    });
}
