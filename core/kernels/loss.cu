// Softmax cross-entropy with its gradient, in one pass over the logits: one warp a row.
#include "rows.cuh"

// With q = 1 - s at the label plus s / C everywhere, a_c = q_c w_c, and W the sum of the labels' weights:
//
//     loss    = -sum_c a_c log p_c / W,    summed over the rows
//     dlogits = (p_c sum a - a_c) / (W T),    p = softmax(z / T).
//
// Without weights w is 1 and W is N. A label outside of 0 ... C - 1 makes its row's loss not a number.
template <typename T>
__global__ void softmax_cross_entropy_forward(const T* logits,         // (N, C)
                                              const long long* labels, // (N)
                                              const T* weights,        // (C) or null
                                              const T* weight_total,   // (1) or null
                                              T* loss,                 // (1)
                                              T* dlogits,              // (N, C)
                                              T* parts,                // (P)
                                              int* arrived,            // (G)
                                              int N, int C, int P, int G, T smoothing, T temperature) {
    T W = weight_total ? weight_total[0] : T(N), losses = 0, everywhere = smoothing / C, sharpness = 1 / temperature;
    for (int row = first_warp(); row < N; row += all_warps()) {
        T* own_dlogits = dlogits + row * C;
        long long label = labels[row];
        auto a = [=](int c) { return (c == label ? 1 - smoothing + everywhere : everywhere) * (weights ? weights[c] : T(1)); };
        Row<T> z(logits + row * C, C);
        T largest = -INFINITY, sum = 0, sum_a = 0, sum_a_z = 0;
        look([&](int, T v) { largest = max(largest, v); }, z);
        largest = warp_max(largest);  // subtracting it changes nothing, and avoids overflow
        auto sum_up = [&](int c, T& v) {
            T shifted = (v - largest) * sharpness;
            v = exp(shifted);
            sum += v;
            sum_a += a(c);
            sum_a_z += a(c) * shifted;
        };
        change(own_dlogits, sum_up, z);
        sum = warp_sum(sum);
        sum_a = warp_sum(sum_a);
        sum_a_z = warp_sum(sum_a_z);
        T scale = 1 / (W * temperature), p_scale = scale * sum_a / sum;
        change(own_dlogits, [=](int c, T& v) { v = p_scale * v - scale * a(c); }, z);
        z.store(own_dlogits);
        bool known = label >= 0 && label < C;
        losses += known ? (log(sum) * sum_a - sum_a_z) / W : T(NAN);
    }
    grid_sum(lane() == 0 ? losses : T(0), parts, arrived, loss);
}
