// Softmax cross-entropy with its gradient, in one pass over the logits: one warp a row.
#include "rows.cuh"

// With q = 1 - s at the label plus s / C everywhere, a_c = q_c w_c, and W the sum of the labels' weights:
//
//     loss    = -sum_c a_c log p_c / W,    summed over the rows
//     dlogits = (p_c sum a - a_c) / (W T),    p = softmax(z / T).
//
// Without weights w is 1 and W is N. A label outside of 0 ... C - 1 makes its row's loss not a number. A class of weight 0
// costs nothing, also one that is ruled out by -infinity.
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
    T scale = 1 / (W * temperature);
    auto weight_of = [=](int c) { return weights ? weights[c] : T(1); };
    auto take_rows = [&](auto width) {
        for (int row = first_warp(); row < N; row += all_warps()) {
            const T* own_logits = logits + row * C;
            T* own_dlogits = dlogits + row * C;
            constexpr int K = width.value;
            Row<T, K> z(own_logits, C);
            bool known = labels[row] >= 0 && labels[row] < C;
            int label = known ? static_cast<int>(labels[row]) : -1;
            T a_label = known ? (1 - smoothing) * weight_of(label) : T(0), z_label = known ? own_logits[label] : T(0);

            T largest = -INFINITY, sum = 0, sum_a = a_label, sum_a_z = 0, others = 0, others_z = 0;
            look([&](int, T v) { largest = max(largest, v); }, z);
            largest = warp_max(largest);  // subtracting it changes nothing, and avoids overflow
            if (a_label > 0) sum_a_z = a_label * ((z_label - largest) * sharpness);
            if (smoothing > 0) {
                auto add = [&](int c, T v) {
                    T w = weight_of(c);
                    others += w;
                    if (w > 0) others_z += w * ((v - largest) * sharpness);
                };
                look(add, z);
                sum_a += everywhere * warp_sum(others);
                sum_a_z += everywhere * warp_sum(others_z);
            }
            change(own_dlogits, [&](int, T& v) { sum += v = exp((v - largest) * sharpness); }, z);
            sum = warp_sum(sum);
            T log_sum = log(sum), p_scale = scale * sum_a * exp(-log_sum);
            auto differentiate = [=](int c, T& v) {
                v = p_scale * v - (c == label ? scale * a_label : T(0));
                if (smoothing > 0) v -= scale * everywhere * weight_of(c);
            };
            change(own_dlogits, differentiate, z);
            z.store(own_dlogits);
            losses += known ? log_sum * sum_a - sum_a_z : T(NAN);
        }
    };
    in_packs(C, take_rows, logits, dlogits);
    grid_sum(lane() == 0 ? losses / W : T(0), parts, arrived, loss);
}

// The share of the rows whose largest element is that of the label; of equal elements, the first counts as the largest.
// What is not a number counts as larger than all numbers, as in NumPy's argmax.
template <typename T>
__global__ void accuracy_forward(const T* logits,          // (N, C)
                                 const long long* labels,  // (N)
                                 T* share,                 // (1)
                                 T* parts,                 // (P)
                                 int* arrived,             // (G)
                                 int N, int C, int P, int G) {
    T right = 0;
    auto take_rows = [&](auto width) {
        constexpr int K = width.value;
        for (int row = first_warp(); row < N; row += all_warps()) {
            Row<T, K> z(logits + row * C, C);
            long long label = labels[row];
            bool known = label >= 0 && label < C;
            T of_label = known ? logits[row * C + label] : T(NAN), beaten = known ? 0 : 1;
            auto is_larger = [](T a, T b) { return a > b || (isnan(a) && !isnan(b)); };
            auto compare = [&](int c, T v) {
                if (is_larger(v, of_label) || (c < label && !is_larger(of_label, v))) beaten = 1;
            };
            look(compare, z);
            right += warp_max(beaten) == 0;
        }
    };
    in_packs(C, take_rows, logits);
    grid_sum(lane() == 0 ? right / N : T(0), parts, arrived, share);
}
