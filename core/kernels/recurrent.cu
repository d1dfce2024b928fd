// One step of the recurrent cells, between two products of matrices. The formulas stand in core/ops/cpu/recurrent.py.
//
// A step works on R sequences, the rows `start ...` of the M packed ones. Sigmoid gates arrive halved, because
// sigmoid(a) = (1 + tanh(a / 2)) / 2. A forward leaves in `gates` the slopes by which the backward multiplies; the
// backward leaves there the gradient of each gate, and in `drows` what the product with the weights goes on with.
#include "kernel.cuh"

template <typename T>
__device__ T sigmoid_of_double(T a) {
    return T(0.5) + T(0.5) * tanh(a);
}

// What comes back to the state of row r, element e: what was there, the last product, and the gradient of the output.
template <typename T>
__device__ T state_gradient(const T* dstate, const T* product, const T* dy, int r, int e, int H, int P, int S) {
    T dh = dstate[r * H + e];
    if (r < P) dh += product[r * H + e];
    return dy ? dh + dy[r * S + e] : dh;
}

template <typename T>
__global__ void rnn_forward(const T* products,  // (R, H)
                            T* gates,           // (M, H)
                            T* state,           // (R, H)
                            T* y,               // (R, H; S)
                            T* cache,           // (M, H) or null
                            int R, int H, int M, int S, int start) {
    for (int i = first_element(); i < R * H; i += all_threads()) {
        int r = i / H, e = i % H, place = start * H + i;
        T before = state[i], h = tanh(gates[place] + products[i]);
        state[i] = y[r * S + e] = h;
        if (cache) {
            cache[place] = before;
            gates[place] = 1 - h * h;
        }
    }
}

template <typename T>
__global__ void rnn_backward(T* gates,          // (M, H)
                             T* dstate,         // (R, H)
                             const T* product,  // (P, H)
                             const T* dy,       // (R, H; S) or null
                             T* drows,          // (R, H)
                             int R, int H, int M, int P, int S, int start) {
    for (int i = first_element(); i < R * H; i += all_threads()) {
        T dh = state_gradient(dstate, product, dy, i / H, i % H, H, P, S);
        drows[i] = gates[start * H + i] *= dh;
        dstate[i] = 0;
    }
}

template <typename T>
__global__ void gru_forward(const T* products,  // (R, 3 * H)
                            T* gates,           // (3, M, H)
                            const T* bias,      // (H)
                            T* state,           // (R, H)
                            T* y,               // (R, H; S)
                            T* cache,           // (3, M, H) or null
                            int R, int H, int M, int S, int start) {
    for (int i = first_element(); i < R * H; i += all_threads()) {
        int r = i / H, e = i % H, place = start * H + i, row = r * 3 * H + e;
        T* reset = gates + place;
        T* update = reset + M * H;
        T* next = update + M * H;
        T before = state[i];
        T f = sigmoid_of_double(*reset + products[row]);
        T z = sigmoid_of_double(*update + products[row + H]);
        T m = f * (products[row + 2 * H] + bias[e]);
        T n = tanh(*next + m);
        T carried = z * (before - n);
        state[i] = y[r * S + e] = n + carried;
        if (cache) {
            cache[place] = before;
            cache[place + M * H] = m * (1 - f);
            cache[place + 2 * M * H] = carried * (1 - z);
            *reset = f;
            *update = z;
            *next = (1 - z) * (1 - n * n);
        }
    }
}

template <typename T>
__global__ void gru_backward(T* gates,          // (3, M, H)
                             T* cache,          // (3, M, H)
                             T* dstate,         // (R, H)
                             const T* product,  // (P, H)
                             const T* dy,       // (R, H; S) or null
                             T* drows,          // (R, 3 * H)
                             int R, int H, int M, int P, int S, int start) {
    for (int i = first_element(); i < R * H; i += all_threads()) {
        int r = i / H, e = i % H, place = start * H + i, row = r * 3 * H + e;
        T* reset = gates + place;
        T* update = reset + M * H;
        T* next = update + M * H;
        T *slope_f = cache + place + M * H, *slope_z = slope_f + M * H;
        T dh = state_gradient(dstate, product, dy, r, e, H, P, S), f = *reset, z = *update;
        T da_z = dh * *slope_z, da_n = dh * *next, da_r = da_n * *slope_f, dm = da_n * f;
        dstate[i] = dh * z;
        drows[row] = *reset = da_r;
        drows[row + H] = *update = da_z;
        drows[row + 2 * H] = *slope_z = dm;
        *next = da_n;
    }
}

template <typename T>
__global__ void lstm_forward(const T* products,  // (R, 4 * H)
                             T* gates,           // (4, M, H)
                             T* state,           // (R, H)
                             T* memory,          // (R, H)
                             T* y,               // (R, H; S)
                             T* cache,           // (3, M, H) or null
                             int R, int H, int M, int S, int start) {
    for (int k = first_element(); k < R * H; k += all_threads()) {
        int r = k / H, e = k % H, place = start * H + k, row = r * 4 * H + e;
        T* gate = gates + place;
        T before = state[k];
        T i = sigmoid_of_double(gate[0] + products[row]);
        T f = sigmoid_of_double(gate[M * H] + products[row + H]);
        T g = tanh(gate[2 * M * H] + products[row + 2 * H]);
        T o = sigmoid_of_double(gate[3 * M * H] + products[row + 3 * H]);
        T written = i * g, kept = f * memory[k], c = kept + written, t = tanh(c), h = o * t;
        memory[k] = c;
        state[k] = y[r * S + e] = h;
        if (cache) {
            cache[place] = before;
            cache[place + M * H] = f;
            cache[place + 2 * M * H] = o - t * h;  // dh'/dc'
            gate[0] = written * (1 - i);
            gate[M * H] = kept * (1 - f);
            gate[2 * M * H] = i * (1 - g * g);
            gate[3 * M * H] = h * (1 - o);
        }
    }
}

template <typename T>
__global__ void lstm_backward(T* gates,          // (4, M, H)
                              const T* cache,    // (3, M, H)
                              T* dstate,         // (R, H)
                              T* dmemory,        // (R, H)
                              const T* product,  // (P, H)
                              const T* dy,       // (R, H; S) or null
                              T* drows,          // (R, 4 * H)
                              int R, int H, int M, int P, int S, int start) {
    for (int k = first_element(); k < R * H; k += all_threads()) {
        int r = k / H, e = k % H, place = start * H + k, row = r * 4 * H + e;
        T* gate = gates + place;
        T dh = state_gradient(dstate, product, dy, r, e, H, P, S);
        T dc = dmemory[k] + dh * cache[place + 2 * M * H];
        drows[row] = gate[0] *= dc;
        drows[row + H] = gate[M * H] *= dc;
        drows[row + 2 * H] = gate[2 * M * H] *= dc;
        drows[row + 3 * H] = gate[3 * M * H] *= dh;
        dmemory[k] = dc * cache[place + M * H];
        dstate[k] = 0;
    }
}
