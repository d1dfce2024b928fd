// What all kernels share: the way through the elements, sums over warps and blocks, and 16-bit floating point.
//
// No header of a CUDA toolkit is needed: NVRTC knows everything else by itself.
#pragma once

#ifndef NAN  // NVRTC has no <cmath>, where these come from elsewhere
#define NAN __int_as_float(0x7fc00000)
#define INFINITY __int_as_float(0x7f800000)
#endif

// -- float16: stored in 16 bits, computed with in 32 ----------------------------------------------------------------
struct float16 {
    unsigned short bits;
    float16() = default;
    __device__ float16(float x);
    __device__ operator float() const;
};

#ifdef BARENETS_SHIM  // a CPU without instructions for it
inline float16::float16(float x) {
    unsigned u = __float_as_uint(x), sign = u >> 16 & 0x8000, rest = u & 0x7fffffff;
    if (rest > 0x7f800000) bits = sign | 0x7e00;                         // not a number
    else if (rest >= 0x477ff000) bits = sign | 0x7c00;                   // rounds to infinity
    else if (rest < 0x38800000)                                          // below the smallest normal number
        bits = sign | static_cast<unsigned short>(std::nearbyint(std::fabs(x) * 16777216.0f));
    else bits = sign | (rest - 0x38000000 + 0xfff + (rest >> 13 & 1)) >> 13;  // to nearest, ties to even
}
inline float16::operator float() const {
    unsigned sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31, fraction = bits & 1023;
    if (exponent == 31) return __uint_as_float(sign | 0x7f800000 | fraction << 13);
    if (exponent) return __uint_as_float(sign | (exponent + 112) << 23 | fraction << 13);
    return (sign ? -1.0f : 1.0f) * fraction / 16777216.0f;
}
#else
__device__ inline float16::float16(float x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x)); }
__device__ inline float16::operator float() const {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}
#endif

// The type in which to compute with elements of type T.
template <typename T> struct Compute { using type = T; };
template <> struct Compute<float16> { using type = float; };
template <typename T> using compute_t = typename Compute<T>::type;

// -- going through elements -----------------------------------------------------------------------------------------
// for (int i = first_element(); i < N; i += all_threads()): any grid covers any N, and neighbours read neighbours.
__device__ inline int first_element() { return blockIdx.x * blockDim.x + threadIdx.x; }
__device__ inline int all_threads() { return gridDim.x * blockDim.x; }

// for (int row = first_warp(); row < M; row += all_warps()): one warp a row, in blocks of (32 k, 1, 1) threads.
__device__ inline int lane() { return threadIdx.x % 32; }
__device__ inline int first_warp() { return first_element() / 32; }
__device__ inline int all_warps() { return all_threads() / 32; }

// K elements side by side. Where 16 bytes of them start at a multiple of 16 bytes, one instruction moves them all.
template <typename T, int K>
struct alignas(K * sizeof(T) < 16 ? K * sizeof(T) : 16) Pack { T at[K]; };

template <int K, typename T>
__device__ Pack<T, K>* packs(T* array) { return reinterpret_cast<Pack<T, K>*>(array); }
template <int K, typename T>
__device__ const Pack<T, K>* packs(const T* array) { return reinterpret_cast<const Pack<T, K>*>(array); }

// Whether all arrays start at multiples of 16 bytes; a view into a longer array may start anywhere.
template <typename... T>
__device__ bool aligned(const T*... arrays) { return ((reinterpret_cast<unsigned long long>(arrays) % 16 == 0) && ...); }

// The first `count` of K elements from x on, and zeros; `whole` says that whole packs lie where one instruction can move
// them. Counts may be negative, or above K: do not clamp them. Of max(0, min(K, n)) == K the assembler of CUDA 13.0 makes
// a VIMNMX.RELU for sm_90, which says yes for n = 0, too, as a card has shown.
template <int K, typename T>
__device__ Pack<T, K> fetch_some(const T* x, int count, bool whole) {
    if (whole && count >= K) return *packs<K>(x);
    Pack<T, K> found = {};
    for (int k = 0; k < K; ++k)
        if (k < count) found.at[k] = x[k];
    return found;
}

template <int K, typename T>
__device__ void put_some(T* y, const Pack<T, K>& made, int count, bool whole) {
    if (whole && count >= K) *packs<K>(y) = made;
    else
        for (int k = 0; k < K; ++k)
            if (k < count) y[k] = made.at[k];
}

// -- sums and maxima, the same in every run: no atomics, whose order would change the rounding -----------------------
constexpr unsigned ALL_LANES = 0xffffffffu;

// The sum over the 32 lanes of a warp, in every lane.
template <typename A>
__device__ A warp_sum(A x) {
    for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(ALL_LANES, x, distance);
    return x;
}

template <typename A>
__device__ A warp_max(A x) {
    for (int distance = 16; distance > 0; distance /= 2) x = max(x, __shfl_xor_sync(ALL_LANES, x, distance));
    return x;
}

// The sum over a block of (32 k, 1, 1) threads, in every thread. All of them must call it.
template <typename A>
__device__ A block_sum(A x) {
    __shared__ A sums[32];
    x = warp_sum(x);
    __syncthreads();  // nobody still reads the sums of the last call
    if (lane() == 0) sums[threadIdx.x / 32] = x;
    __syncthreads();
    return warp_sum(lane() < blockDim.x / 32 ? sums[lane()] : A(0));
}

// Whether this block is the last of `blocks` to get here, in all its threads; it sees what the others wrote before, and
// can put it together without another launch. `arrived` starts at zero, and ends there.
__device__ inline bool is_last_block(int* arrived, int blocks) {
    __shared__ bool is_last;
    __threadfence();  // what this thread wrote can be seen before its block arrives
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        is_last = atomicAdd(arrived, 1) == blocks - 1;
        if (is_last) *arrived = 0;
    }
    __syncthreads();
    __threadfence();
    return is_last;
}

// total[0] = the sum of x over all threads of a grid of (G, 1, 1) blocks; `parts` has room for G numbers.
template <typename A>
__device__ void grid_sum(A x, A* parts, int* arrived, A* total) {
    x = block_sum(x);
    if (threadIdx.x == 0) parts[blockIdx.x] = x;
    if (!is_last_block(arrived, gridDim.x)) return;
    A sum = 0;
    for (int block = threadIdx.x; block < gridDim.x; block += blockDim.x) sum += parts[block];
    sum = block_sum(sum);
    if (threadIdx.x == 0) total[0] = sum;
}

// Shared memory whose size the launch decides.
template <typename A>
__device__ A* dynamic_shared() {
#ifdef BARENETS_SHIM
    return reinterpret_cast<A*>(shim::dynamic_shared);
#else
    extern __shared__ __align__(16) unsigned char bytes[];
    return reinterpret_cast<A*>(bytes);
#endif
}
