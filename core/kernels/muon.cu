// Muon's update, all but the products of matrices, for all parameters at once. The formulas stand in core/ops/cpu/muon.py.
//
// Parameters lie side by side in flat buffers, and blocks with one blockIdx.y work on one of them. The matrices' steps
// lie side by side in x, those of one shape together, so that they can be multiplied together.
#include "elements.cuh"

// Where a parameter lies: row blockIdx.y of the table.
struct Stretch {
    int start, size, columns;
    int place;  // in x, or -1: no matrix
    __device__ explicit Stretch(const int* table) {
        const int* row = table + 4 * blockIdx.y;
        start = row[0], size = row[1], columns = row[2], place = row[3];
    }
};

// The velocity, and with it the step of each matrix and the squares of its norm and of its weights' norm. What is no
// matrix is updated at once.
template <typename T>
__global__ void muon_momentum(T* data,            // (N)
                              const T* grad,      // (N)
                              T* velocity,        // (N)
                              const int* table,   // (S, 4)
                              const T* rates,     // (S)
                              T* x,               // (X)
                              T* squares,         // (2, S)
                              T* parts,           // (2, S, P)
                              int* arrived,       // (2, S)
                              int N, int S, int X, int P, T lr, T momentum, T others_momentum, T decay) {
    Stretch own(table);
    T *w = data + own.start, *v = velocity + own.start, rate = rates[blockIdx.y];
    const T* g = grad + own.start;
    if (own.place < 0) {
        if (rate == 0) return;
        auto update = [=](T& w, T g, T& v) {
            g += decay / rate * w;
            v = others_momentum * v + g;
            w -= lr * rate * (g + others_momentum * v);
        };
        return each(own.size, update, updates(w), reads(g), updates(v));
    }
    T of_step = 0, of_weights = 0;
    auto look_ahead = [=, &of_step, &of_weights](T w, T g, T& v, T& step) {
        v = momentum * v + g;
        step = g + momentum * v;
        of_step += step * step;
        of_weights += w * w;
    };
    each(own.size, look_ahead, reads(w), reads(g), updates(v), writes(x + own.place));
    int s = blockIdx.y;
    grid_sum(of_step, parts + s * P, arrived + s, squares + s);
    grid_sum(of_weights, parts + (S + s) * P, arrived + S + s, squares + S + s);
}

// Each step divided by its norm.
template <typename T>
__global__ void muon_normalize(const int* table,  // (S, 4)
                               const T* squares,  // (2, S)
                               T* x,              // (X)
                               int S, int X, T smallest) {
    Stretch own(table);
    if (own.place < 0) return;
    T factor = 1 / (sqrt(squares[blockIdx.y]) + smallest);
    each(own.size, [=](T& x) { x *= factor; }, updates(x + own.place));
}

// x = a x + b y.
template <typename T>
__global__ void muon_combine(T* x,        // (N)
                             const T* y,  // (N)
                             int N, T a, T b) {
    each(N, [=](T& x, T y) { x = a * x + b * y; }, updates(x), reads(y));
}

// The weights W (I, O) of each matrix go to W sqrt(O) / |W| - lr x.
template <typename T>
__global__ void muon_update(T* data,           // (N)
                            const int* table,  // (S, 4)
                            const T* squares,  // (2, S)
                            const T* x,        // (X)
                            int N, int S, int X, T lr, T smallest) {
    Stretch own(table);
    if (own.place < 0) return;
    T factor = sqrt(T(own.columns)) / max(sqrt(squares[S + blockIdx.y]), smallest);
    each(own.size, [=](T& w, T x) { w = factor * w - lr * x; }, updates(data + own.start), reads(x + own.place));
}
