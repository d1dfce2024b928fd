// The epoch of fused.cu for one song at a time and a small network: one warp, which never waits for another.
//
// A song is so little work (6000 multiplications) that what takes time is only the way from one number to the next that
// depends on it: the barriers of a block, sums over threads, weights from shared memory. So all weights are in
// registers, each in the lane that multiplies by it, and only a layer's outputs go from lane to lane. Forward a lane
// makes an output, and needs a column of the weights; backward it makes the gradient of an input, and needs a row. So it
// has both of the second and the third layer, and updates both: the same products of the same numbers, so that they stay
// equal to the bit. (__fmul_rn keeps a compiler from rounding once with a subtraction in one place and twice in another.)
//
// Layers are filled up to fixed sizes with weights of zero, which stay zero: what is not there puts out zero, and its
// gradient is zero. Classes that are not there have a bias of minus infinity, and so the probability zero. The lanes
// from 16 on do the same as those before them, but for the second layer's sums, of which each half of the warp makes a
// half.
#include "kernel.cuh"

constexpr int INPUTS = 60, FIRST = 32, SECOND = 16, CLASSES = 16;  // the largest network; on_chip.py knows them, too

template <int N>
using Numbers = Pack<float, N>;

// Lane k's number as the k-th in all lanes. `room` is free again after the next exchange.
template <int N>
__device__ Numbers<N> exchange(Numbers<N>& room, float own) {
    if (lane() < N) room.at[lane()] = own;
    __syncwarp(ALL_LANES);
    return room;
}

// Four sums at once, because an addition waits for the one before it.
template <int N>
__device__ float dot(const Numbers<N>& a, const Numbers<N>& b) {
    float sums[4] = {};
#pragma unroll
    for (int k = 0; k < N; ++k) sums[k % 4] += a.at[k] * b.at[k];
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// N a power of two, put together by halves for the same reason. (A loop over halves would not be unrolled, and what is
// in a register has no index.)
template <int N, typename F>
__device__ float folded(const float* a, F both) {
    if constexpr (N == 1) return a[0];
    else return both(folded<N / 2>(a, both), folded<N / 2>(a + N / 2, both));
}

// w -= a b, where the product is an input times the gradient of an output, and that times the learning rate.
template <int N>
__device__ void descend(Numbers<N>& w, const Numbers<N>& a, float b) {
#pragma unroll
    for (int k = 0; k < N; ++k) w.at[k] -= a.at[k] * b;
}

template <int N>
__device__ Numbers<N> times(Numbers<N> a, float factor) {
    for (int k = 0; k < N; ++k) a.at[k] *= factor;
    return a;
}

// Weights w (I, J): N rows of a column from `row` on, or N columns of a row.
template <int N>
__device__ Numbers<N> column_of(const float* w, int I, int J, int row, int column) {
    Numbers<N> found;
    for (int k = 0; k < N; ++k) found.at[k] = row + k < I && column < J ? w[(row + k) * J + column] : 0.0f;
    return found;
}
template <int N>
__device__ Numbers<N> row_of(const float* w, int I, int J, int row) {
    Numbers<N> found;
    for (int k = 0; k < N; ++k) found.at[k] = row < I && k < J ? w[row * J + k] : 0.0f;
    return found;
}
template <int N>
__device__ void put_column(float* w, const Numbers<N>& column, int I, int J, int row, int j) {
    for (int k = 0; k < N; ++k)
        if (row + k < I && j < J) w[(row + k) * J + j] = column.at[k];
}

// Not max(x, 0), which would make 0 of what is not a number: it has to show in the loss.
__device__ inline float relu(float x) { return x < 0 ? 0.0f : x; }

// One of D features, zero beyond them.
__device__ inline float feature(const float* song, int D, int d) { return d < D ? song[d] : 0.0f; }

// Trains on x[order[0]], x[order[1]], ..., each with its rate. To be launched with one warp.
__global__ void __launch_bounds__(32) one_by_one_epoch(float* w1,           // (D, H1)
                                                       float* w2,           // (H1, H2)
                                                       float* w3,           // (H2, C)
                                                       float* b1,           // (H1)
                                                       float* b2,           // (H2)
                                                       float* b3,           // (C)
                                                       const float* x,      // (N, D)
                                                       const int* labels,   // (N)
                                                       const int* order,    // (M)
                                                       const float* rates,  // (M)
                                                       float* losses,       // (M)
                                                       int* right,          // (M)
                                                       int N, int D, int H1, int H2, int C, int M) {
    if (blockIdx.x > 0 || M == 0) return;
    __shared__ Numbers<INPUTS> songs[2];  // the song that is learnt, and the next one
    __shared__ Numbers<FIRST> h1_room;
    __shared__ Numbers<SECOND> h2_room, dh2_room;
    __shared__ Numbers<CLASSES> z_room, e_room;
    int own = lane(), low = own % 16, half = own / 16 * 16;
    Numbers<INPUTS> column1 = column_of<INPUTS>(w1, D, H1, 0, own);
    Numbers<FIRST / 2> column2 = column_of<FIRST / 2>(w2, H1, H2, half, low);
    Numbers<SECOND> column3 = column_of<SECOND>(w3, H2, C, 0, low), row2 = row_of<SECOND>(w2, H1, H2, own);
    Numbers<CLASSES> row3 = row_of<CLASSES>(w3, H2, C, low);
    float bias1 = own < H1 ? b1[own] : 0.0f, bias2 = low < H2 ? b2[low] : 0.0f, bias3 = low < C ? b3[low] : -INFINITY;

    // What a song needs comes from memory while the song before it is learnt, and its number while the one before that.
    int now = order[0], following = order[min(1, M - 1)], next_label = labels[now];
    float next_rate = rates[0];
    for (int d = own; d < INPUTS; d += 32) songs[0].at[d] = feature(x + now * D, D, d);
    __syncwarp(ALL_LANES);
    for (int t = 0; t < M; ++t) {
        int label = next_label, ahead = min(t + 1, M - 1);
        float rate = next_rate;
        float next_low = feature(x + following * D, D, own), next_high = feature(x + following * D, D, own + 32);
        next_label = labels[following];
        next_rate = rates[ahead];
        following = order[min(t + 2, M - 1)];

        Numbers<INPUTS>& song = songs[t % 2];
        float h1 = relu(dot(song, column1) + bias1);
        exchange(h1_room, h1);
        Numbers<FIRST / 2> h1_half = *packs<FIRST / 2>(h1_room.at + half);
        float sum2 = dot(h1_half, column2);
        float h2 = relu(sum2 + __shfl_xor_sync(ALL_LANES, sum2, 16) + bias2);
        Numbers<SECOND> h2_all = exchange(h2_room, h2);
        float z = dot(h2_all, column3) + bias3;

        Numbers<CLASSES> z_all = exchange(z_room, z);
        float top = folded<CLASSES>(z_all.at, [](float a, float b) { return max(a, b); });
        float e = exp(z - top), of_label = z_room.at[label];
        Numbers<CLASSES> dz_all = exchange(e_room, e);
        float total = folded<CLASSES>(dz_all.at, [](float a, float b) { return a + b; }), inverse = 1 / total;
#pragma unroll
        for (int c = 0; c < CLASSES; ++c) dz_all.at[c] = __fmul_rn(dz_all.at[c], inverse) - (c == label ? 1.0f : 0.0f);
        float dz = __fmul_rn(e, inverse) - (low == label ? 1.0f : 0.0f);
        unsigned highest = __ballot_sync(ALL_LANES, z == top);
        if (own == 0) {
            losses[t] = log(total) - (of_label - top);
            right[t] = __ffs(highest) - 1 == label;
        }

        float dh2 = h2 > 0 ? dot(dz_all, row3) : 0.0f;
        Numbers<INPUTS>& next = songs[(t + 1) % 2];
        next.at[own] = next_low;
        if (own + 32 < INPUTS) next.at[own + 32] = next_high;
        Numbers<SECOND> dh2_all = exchange(dh2_room, dh2);
        float dh1 = h1 > 0 ? dot(dh2_all, row2) : 0.0f;

        descend(column1, song, rate * dh1);
        descend(column2, h1_half, rate * dh2);
        descend(row2, times(dh2_all, rate), h1);
        descend(column3, h2_all, rate * dz);
        descend(row3, times(dz_all, rate), h2);
        bias1 -= rate * dh1;
        bias2 -= rate * dh2;
        bias3 -= rate * dz;
    }
    put_column(w1, column1, D, H1, 0, own);
    put_column(w2, column2, H1, H2, half, low);
    if (own < 16) put_column(w3, column3, H2, C, 0, low);
    if (own < H1) b1[own] = bias1;
    if (own < H2) b2[own] = bias2;
    if (own < C) b3[own] = bias3;
}
