// Softmax cross-entropy with its gradient, in one pass over the logits: one warp a row.
#include "kernel.cuh"

// With q = 1 - s at the label plus s / C everywhere, a_c = q_c w_c, and W the sum of the labels' weights:
//
//     loss    = -sum_c a_c log p_c / W,    summed over the rows by another launch
//     dlogits = (p_c sum a - a_c) / (W T),    p = softmax(z / T).
//
// Without weights w is 1 and W is N. A label outside of 0 ... C - 1 makes its row's loss not a number.
template <typename T>
__global__ void softmax_cross_entropy_forward(const T* logits,         // (N, C)
                                              const long long* labels, // (N)
                                              const T* weights,        // (C) or null
                                              const T* weight_total,   // (1) or null
                                              T* losses,               // (N)
                                              T* dlogits,              // (N, C)
                                              int N, int C, T smoothing, T temperature) {
    T W = weight_total ? weight_total[0] : T(N);
    for (int row = first_warp(); row < N; row += all_warps()) {
        const T* z = logits + row * C;
        long long label = labels[row];
        T largest = z[0];
        for (int c = lane(); c < C; c += 32) largest = max(largest, z[c]);
        largest = warp_max(largest);  // subtracting it changes nothing, and avoids overflow
        // One more pass: sum exp(z'), sum a and sum a z', with z' = (z - largest) / T.
        T sum = 0, sum_a = 0, sum_a_z = 0;
        for (int c = lane(); c < C; c += 32) {
            T shifted = (z[c] - largest) / temperature;
            T a = (smoothing / C + (c == label ? 1 - smoothing : T(0))) * (weights ? weights[c] : T(1));
            sum += exp(shifted);
            sum_a += a;
            sum_a_z += a * shifted;
        }
        sum = warp_sum(sum);
        sum_a = warp_sum(sum_a);
        sum_a_z = warp_sum(sum_a_z);
        for (int c = lane(); c < C; c += 32) {
            T p = exp((z[c] - largest) / temperature) / sum;
            T a = (smoothing / C + (c == label ? 1 - smoothing : T(0))) * (weights ? weights[c] : T(1));
            dlogits[row * C + c] = (p * sum_a - a) / (W * temperature);
        }
        bool known = label >= 0 && label < C;
        if (lane() == 0) losses[row] = known ? (log(sum) * sum_a - sum_a_z) / W : T(NAN);
    }
}
