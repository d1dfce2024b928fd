// A whole epoch of gradient descent in one launch: D features -> H1 -> H2 -> C genres, ReLU between, softmax at the end.
//
// One block trains. Its shared memory holds all weights from the first song to the last, and everything that a batch
// needs, so the way to memory (and the launch, some microseconds) is paid once an epoch instead of ten times a song.
// What is left are eight barriers a batch: a layer's outputs must be there before the next one reads them. Where a batch
// is one song and the network small, one_by_one.cu does without them.
//
// A sum over a layer's inputs is shared by GROUP neighbouring threads, each of which takes every GROUP-th term. Rows of
// the weights lie `padded(J)` apart: 4 modulo 8, so that the 8 rows and 4 columns that a warp reads at once lie in 32
// different banks of the shared memory.
#include "kernel.cuh"

constexpr int GROUP = 8;

__device__ inline int padded(int J) { return J + (12 - J % 8) % 8; }

// y[b][j] = sum over i of x[b][i] * m[i * rows + j * columns] + bias[j], in groups; ReLU, or where `kept` is given, times
// the derivative of the ReLU that put it out. Backward is the same product with rows and columns exchanged.
template <typename A>
__device__ void product(const A* x, const A* m, const A* bias, const A* kept, A* y, int B, int I, int J, int rows,
                        int columns, bool relu) {
    int groups = blockDim.x / GROUP, group = threadIdx.x / GROUP, first = threadIdx.x % GROUP;
    for (int begin = 0; begin < B * J; begin += groups) {  // as often in all threads, for they meet in the shuffles
        int output = begin + group, b = output / J, j = output - b * J;
        A sum = 0;
        if (output < B * J)
            for (int i = first; i < I; i += GROUP) sum += x[b * I + i] * m[i * rows + j * columns];
        for (int distance = GROUP / 2; distance > 0; distance /= 2)
            sum += __shfl_xor_sync(ALL_LANES, sum, distance);
        if (output < B * J && first == 0) {
            if (bias) sum += bias[j];
            if (relu) sum = sum < 0 ? A(0) : sum;  // not a number stays so, and shows in the loss
            if (kept) sum = kept[output] > 0 ? sum : A(0);
            y[output] = sum;
        }
    }
}

// Gradient of the mean cross-entropy, dz = (softmax(z) - target) / B in place of z (B, C); a warp takes a song.
template <typename A>
__device__ void softmax_gradient(A* z, const int* labels, const int* order, A* losses, int* right, int B, int C) {
    for (int b = threadIdx.x / 32; b < B; b += blockDim.x / 32) {
        int c = lane(), label = labels[order[b]];
        A logit = c < C ? z[b * C + c] : A(-INFINITY), top = warp_max(logit);
        A e = c < C ? exp(logit - top) : A(0), total = warp_sum(e);
        A of_label = __shfl_sync(ALL_LANES, logit, label);
        unsigned highest = __ballot_sync(ALL_LANES, logit == top);
        if (c < C) z[b * C + c] = (e / total - (c == label ? A(1) : A(0))) / A(B);
        if (c == 0) {
            losses[b] = log(total) - (of_label - top);
            right[b] = __ffs(highest) - 1 == label;
        }
    }
}

// m[i][j] -= rate * sum over b of x[b][i] * dy[b][j], and bias[j] -= rate * sum over b of dy[b][j].
template <typename A>
__device__ void update(const A* x, const A* dy, A* m, A* bias, A rate, int B, int I, int J) {
    int stride = padded(J);
    for (int i = threadIdx.x / 32; i <= I; i += blockDim.x / 32)  // a warp a row; the row after the last is the bias
        for (int j = lane(); j < J; j += 32) {
            A sum = 0;
            for (int b = 0; b < B; ++b) sum += (i < I ? x[b * I + i] : A(1)) * dy[b * J + j];
            (i < I ? m[i * stride + j] : bias[j]) -= rate * sum;
        }
}

// Between the flat weights in memory, whose rows follow each other, and those on the chip.
template <typename A>
__device__ void fetch(const A* from, A* to, int I, int J) {
    for (int e = threadIdx.x; e < I * J; e += blockDim.x) to[e / J * padded(J) + e % J] = from[e];
}
template <typename A>
__device__ void store(const A* from, A* to, int I, int J) {
    for (int e = threadIdx.x; e < I * J; e += blockDim.x) to[e] = from[e / J * padded(J) + e % J];
}

// Trains on x[order[0]], x[order[1]], ... in batches of B, the last of which may be smaller. To be launched with one
// block of (32 k) threads and, in elements of T, shared memory for the padded weights and for B songs (on_chip.py).
template <typename T>
__global__ void fused_epoch(T* w1,              // (D, H1)
                            T* w2,              // (H1, H2)
                            T* w3,              // (H2, C)
                            T* b1,              // (H1)
                            T* b2,              // (H2)
                            T* b3,              // (C)
                            const T* x,         // (N, D)
                            const int* labels,  // (N)
                            const int* order,   // (M)
                            const T* rates,     // (S)
                            T* losses,          // (M)
                            int* right,         // (M)
                            int N, int D, int H1, int H2, int C, int M, int S, int B) {
    if (blockIdx.x > 0) return;  // one block is enough: more would train the same weights once more
    T* m1 = dynamic_shared<T>();
    T* m2 = m1 + D * padded(H1);
    T* m3 = m2 + H1 * padded(H2);
    T* bias1 = m3 + H2 * padded(C);
    T* bias2 = bias1 + H1;
    T* bias3 = bias2 + H2;
    T* now = bias3 + C;  // (B, D) the songs of this batch
    T* ahead = now + B * D;  // (B, D) and of the next one
    T* h1 = ahead + B * D;
    T* h2 = h1 + B * H1;
    T* z = h2 + B * H2;
    T* dh2 = z + B * C;
    T* dh1 = dh2 + B * H2;
    fetch(w1, m1, D, H1);
    fetch(w2, m2, H1, H2);
    fetch(w3, m3, H2, C);
    fetch(b1, bias1, 1, H1);
    fetch(b2, bias2, 1, H2);
    fetch(b3, bias3, 1, C);
    for (int e = threadIdx.x; e < min(B, M) * D; e += blockDim.x) now[e] = x[order[e / D] * D + e % D];
    __syncthreads();

    for (int step = 0, start = 0; step < S; ++step, start += B) {
        int size = min(B, M - start), following = max(0, min(B, M - start - B)) * D;
        const int* next = order + start + B;
        // A song comes from memory while the batch before it is computed: asked for here, written down in the end.
        T first = threadIdx.x < following ? x[next[threadIdx.x / D] * D + threadIdx.x % D] : T(0);

        product<T>(now, m1, bias1, nullptr, h1, size, D, H1, padded(H1), 1, true);
        __syncthreads();
        product<T>(h1, m2, bias2, nullptr, h2, size, H1, H2, padded(H2), 1, true);
        __syncthreads();
        product<T>(h2, m3, bias3, nullptr, z, size, H2, C, padded(C), 1, false);
        __syncthreads();
        softmax_gradient(z, labels, order + start, losses + start, right + start, size, C);
        __syncthreads();
        product<T>(z, m3, nullptr, h2, dh2, size, C, H2, 1, padded(C), false);
        __syncthreads();
        product<T>(dh2, m2, nullptr, h1, dh1, size, H2, H1, 1, padded(H2), false);
        __syncthreads();
        update(h2, z, m3, bias3, rates[step], size, H2, C);
        update(h1, dh2, m2, bias2, rates[step], size, H1, H2);
        update(now, dh1, m1, bias1, rates[step], size, D, H1);
        for (int e = threadIdx.x; e < following; e += blockDim.x)
            ahead[e] = e < blockDim.x ? first : x[next[e / D] * D + e % D];
        __syncthreads();
        T* done = now;
        now = ahead;
        ahead = done;
    }
    store(m1, w1, D, H1);
    store(m2, w2, H1, H2);
    store(m3, w3, H2, C);
    store(bias1, b1, 1, H1);
    store(bias2, b2, 1, H2);
    store(bias3, b3, 1, C);
}
