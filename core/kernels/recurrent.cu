// Recurrent cells over all steps of packed sequences: how a block walks through them stands in walk.cuh, and the
// formulas in core/ops/cpu/recurrent.py.
//
// The arrays of a second direction are called `..._2`, and nobody looks at them in a grid for one.
#include "walk.cuh"

// -- the cells -------------------------------------------------------------------------------------------------------
// For one element of one sequence: `forward` gets what the inputs and the state contribute to each gate and returns the
// new state; it leaves the slopes in `gate`, and in `cache`, whose first is the state before, what backward needs.
// `backward` gets dh' and returns what reaches the state past the weights; it leaves the gradients of the gates in
// `gate`, and in `d` those of the products. CHANGED: which of the cache's arrays it changes, 0 for none.
template <typename T>
__device__ T sigmoid_of_double(T a) {
    return T(0.5) + T(0.5) * tanh(a);
}

template <typename T>
struct RNN {
    static constexpr int GATES = 1, CACHED = 1, CHANGED = 0;

    __device__ T forward(T (&gate)[1], const T (&product)[1], T (&)[1], T&, int) const {
        T h = tanh(gate[0] + product[0]);
        gate[0] = 1 - h * h;
        return h;
    }

    __device__ T backward(T dh, T (&gate)[1], T (&)[1], T (&d)[1], T&) const {
        d[0] = gate[0] *= dh;
        return 0;
    }
};

template <typename T>
struct GRU {
    static constexpr int GATES = 3, CACHED = 3, CHANGED = 2;
    const T* bias;  // (H)

    __device__ T forward(T (&gate)[3], const T (&product)[3], T (&cache)[3], T&, int e) const {
        T f = sigmoid_of_double(gate[0] + product[0]);
        T z = sigmoid_of_double(gate[1] + product[1]);
        T m = f * (product[2] + bias[e]);
        T n = tanh(gate[2] + m);
        T carried = z * (cache[0] - n);
        cache[1] = m * (1 - f);
        cache[2] = carried * (1 - z);
        gate[0] = f;
        gate[1] = z;
        gate[2] = (1 - z) * (1 - n * n);
        return n + carried;
    }

    __device__ T backward(T dh, T (&gate)[3], T (&cache)[3], T (&d)[3], T&) const {
        T f = gate[0], z = gate[1];
        gate[2] *= dh;
        d[0] = gate[0] = gate[2] * cache[1];
        d[1] = gate[1] = dh * cache[2];
        d[2] = cache[2] = gate[2] * f;
        return dh * z;
    }
};

template <typename T>
struct LSTM {
    static constexpr int GATES = 4, CACHED = 3, CHANGED = 0;

    __device__ T forward(T (&gate)[4], const T (&product)[4], T (&cache)[3], T& memory, int) const {
        T i = sigmoid_of_double(gate[0] + product[0]);
        T f = sigmoid_of_double(gate[1] + product[1]);
        T g = tanh(gate[2] + product[2]);
        T o = sigmoid_of_double(gate[3] + product[3]);
        T written = i * g, kept = f * memory;
        memory = kept + written;
        T t = tanh(memory), h = o * t;
        cache[1] = f;
        cache[2] = o - t * h;  // dh'/dc'
        gate[0] = written * (1 - i);
        gate[1] = kept * (1 - f);
        gate[2] = i * (1 - g * g);
        gate[3] = h * (1 - o);
        return h;
    }

    __device__ T backward(T dh, T (&gate)[4], T (&cache)[3], T (&d)[4], T& dmemory) const {
        T dc = dmemory + dh * cache[2];
        d[0] = gate[0] *= dc;
        d[1] = gate[1] *= dc;
        d[2] = gate[2] *= dc;
        d[3] = gate[3] *= dh;
        dmemory = dc * cache[1];
        return 0;
    }
};

// -- the kernels -----------------------------------------------------------------------------------------------------

// Of an array of the first direction and one of the second, the one that this block works on.
template <typename A>
__device__ A* own(A* first, A* second) { return blockIdx.y == 0 ? first : second; }

// Whether rows of H and of S elements, and what lies at these places, can be read by fours.
template <typename... T>
__device__ bool by_fours(int H, int S, const T*... arrays) { return (H | S) % COLUMNS == 0 && aligned(arrays...); }

template <typename T>
__global__ void __launch_bounds__(MOST_THREADS) rnn_forward(
    const T* weight,     // (1, H, H)
    const T* weight_2,   // (1, H, H)
    T* gates,            // (1, M, H)
    T* gates_2,          // (1, M, H)
    T* state,            // (B, H)
    T* state_2,          // (B, H)
    T* y,                // (M, H; S)
    T* y_2,              // (M, H; S)
    T* cache,            // (1, M, H) or null
    T* cache_2,          // (1, M, H) or null
    const int* spans,    // (L, 2)
    const int* spans_2,  // (L, 2)
    T* scratch,          // (N) or null
    int B, int H, int L, int M, int N, int S) {
    weight = own(weight, weight_2);
    gates = own(gates, gates_2);
    state = own(state, state_2);
    y = own(y, y_2);
    cache = own(cache, cache_2);
    bool wide = by_fours(H, S, weight, gates, y, cache);
    Walk<T> walk = {own(spans, spans_2), scratch, B, H, L, M, S, wide};
    walk_forward(RNN<T>{}, walk, weight, gates, state, (T*)nullptr, y, cache);
}

template <typename T>
__global__ void __launch_bounds__(MOST_THREADS) rnn_backward(
    const T* weight_t,    // (1, H, H)
    const T* weight_t_2,  // (1, H, H)
    T* gates,             // (1, M, H)
    T* gates_2,           // (1, M, H)
    T* dstate,            // (B, H)
    T* dstate_2,          // (B, H)
    const T* dy,          // (M, H; S) or null
    const T* dy_2,        // (M, H; S) or null
    const int* spans,     // (L, 2)
    const int* spans_2,   // (L, 2)
    T* scratch,           // (N) or null
    int B, int H, int L, int M, int N, int S) {
    weight_t = own(weight_t, weight_t_2);
    gates = own(gates, gates_2);
    dstate = own(dstate, dstate_2);
    dy = own(dy, dy_2);
    bool wide = by_fours(H, dy ? S : 0, weight_t, gates, dstate, dy);
    Walk<T> walk = {own(spans, spans_2), scratch, B, H, L, M, S, wide};
    walk_backward(RNN<T>{}, walk, weight_t, gates, (T*)nullptr, dstate, (T*)nullptr, dy);
}

template <typename T>
__global__ void __launch_bounds__(MOST_THREADS) gru_forward(
    const T* weight,     // (3, H, H)
    const T* weight_2,   // (3, H, H)
    T* gates,            // (3, M, H)
    T* gates_2,          // (3, M, H)
    const T* bias,       // (H)
    const T* bias_2,     // (H)
    T* state,            // (B, H)
    T* state_2,          // (B, H)
    T* y,                // (M, H; S)
    T* y_2,              // (M, H; S)
    T* cache,            // (3, M, H) or null
    T* cache_2,          // (3, M, H) or null
    const int* spans,    // (L, 2)
    const int* spans_2,  // (L, 2)
    T* scratch,          // (N) or null
    int B, int H, int L, int M, int N, int S) {
    weight = own(weight, weight_2);
    gates = own(gates, gates_2);
    state = own(state, state_2);
    y = own(y, y_2);
    cache = own(cache, cache_2);
    bool wide = by_fours(H, S, weight, gates, y, cache);
    Walk<T> walk = {own(spans, spans_2), scratch, B, H, L, M, S, wide};
    walk_forward(GRU<T>{own(bias, bias_2)}, walk, weight, gates, state, (T*)nullptr, y, cache);
}

template <typename T>
__global__ void __launch_bounds__(MOST_THREADS) gru_backward(
    const T* weight_t,    // (3, H, H)
    const T* weight_t_2,  // (3, H, H)
    T* gates,             // (3, M, H)
    T* gates_2,           // (3, M, H)
    T* cache,             // (3, M, H)
    T* cache_2,           // (3, M, H)
    T* dstate,            // (B, H)
    T* dstate_2,          // (B, H)
    const T* dy,          // (M, H; S) or null
    const T* dy_2,        // (M, H; S) or null
    const int* spans,     // (L, 2)
    const int* spans_2,   // (L, 2)
    T* scratch,           // (N) or null
    int B, int H, int L, int M, int N, int S) {
    weight_t = own(weight_t, weight_t_2);
    gates = own(gates, gates_2);
    cache = own(cache, cache_2);
    dstate = own(dstate, dstate_2);
    dy = own(dy, dy_2);
    bool wide = by_fours(H, dy ? S : 0, weight_t, gates, cache, dstate, dy);
    Walk<T> walk = {own(spans, spans_2), scratch, B, H, L, M, S, wide};
    walk_backward(GRU<T>{nullptr}, walk, weight_t, gates, cache, dstate, (T*)nullptr, dy);
}

template <typename T>
__global__ void __launch_bounds__(MOST_THREADS) lstm_forward(
    const T* weight,     // (4, H, H)
    const T* weight_2,   // (4, H, H)
    T* gates,            // (4, M, H)
    T* gates_2,          // (4, M, H)
    T* state,            // (B, H)
    T* state_2,          // (B, H)
    T* memory,           // (B, H)
    T* memory_2,         // (B, H)
    T* y,                // (M, H; S)
    T* y_2,              // (M, H; S)
    T* cache,            // (3, M, H) or null
    T* cache_2,          // (3, M, H) or null
    const int* spans,    // (L, 2)
    const int* spans_2,  // (L, 2)
    T* scratch,          // (N) or null
    int B, int H, int L, int M, int N, int S) {
    weight = own(weight, weight_2);
    gates = own(gates, gates_2);
    state = own(state, state_2);
    memory = own(memory, memory_2);
    y = own(y, y_2);
    cache = own(cache, cache_2);
    bool wide = by_fours(H, S, weight, gates, memory, y, cache);
    Walk<T> walk = {own(spans, spans_2), scratch, B, H, L, M, S, wide};
    walk_forward(LSTM<T>{}, walk, weight, gates, state, memory, y, cache);
}

template <typename T>
__global__ void __launch_bounds__(MOST_THREADS) lstm_backward(
    const T* weight_t,    // (4, H, H)
    const T* weight_t_2,  // (4, H, H)
    T* gates,             // (4, M, H)
    T* gates_2,           // (4, M, H)
    T* cache,             // (3, M, H)
    T* cache_2,           // (3, M, H)
    T* dstate,            // (B, H)
    T* dstate_2,          // (B, H)
    T* dmemory,           // (B, H)
    T* dmemory_2,         // (B, H)
    const T* dy,          // (M, H; S) or null
    const T* dy_2,        // (M, H; S) or null
    const int* spans,     // (L, 2)
    const int* spans_2,   // (L, 2)
    T* scratch,           // (N) or null
    int B, int H, int L, int M, int N, int S) {
    weight_t = own(weight_t, weight_t_2);
    gates = own(gates, gates_2);
    cache = own(cache, cache_2);
    dstate = own(dstate, dstate_2);
    dmemory = own(dmemory, dmemory_2);
    dy = own(dy, dy_2);
    bool wide = by_fours(H, dy ? S : 0, weight_t, gates, cache, dstate, dmemory, dy);
    Walk<T> walk = {own(spans, spans_2), scratch, B, H, L, M, S, wide};
    walk_backward(LSTM<T>{}, walk, weight_t, gates, cache, dstate, dmemory, dy);
}
