// CUDA's language on a CPU, as far as our kernels use it: compiled in front of a .cu file, by a C++ compiler.
#pragma once
#include "fibers.h"

#define BARENETS_SHIM 1
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __constant__ static const
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__ static thread_local  // thread-local for `forget_shared_memory` alone: blocks take turns
#define __syncthreads() shim::barrier(__LINE__)
#define __syncwarp(...) shim::sync_warp(__LINE__, ##__VA_ARGS__)
#define __shfl_xor_sync(mask, value, lanes) shim::exchange(__LINE__, mask, value, shim::lane() ^ (lanes))
#define __shfl_down_sync(mask, value, lanes) shim::exchange(__LINE__, mask, value, shim::lane() + (lanes))
#define __shfl_up_sync(mask, value, lanes) shim::exchange(__LINE__, mask, value, shim::lane() - (lanes))
#define __shfl_sync(mask, value, lane) shim::exchange(__LINE__, mask, value, (lane) % 32)
#define __ballot_sync(mask, condition) shim::ballot(__LINE__, mask, condition)
#define __any_sync(mask, condition) (shim::ballot(__LINE__, mask, condition) != 0)
#define __all_sync(mask, condition) (shim::ballot(__LINE__, mask, condition) == (mask))

struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) double2 { double x, y; };

// -- CUDA's functions ---------------------------------------------------------------------------------------------
template <typename V> V atomicAdd(V* place, V value) { V before = *place; *place += value; return before; }
template <typename V> V atomicMax(V* place, V value) { V before = *place; if (value > before) *place = value; return before; }
template <typename V> V atomicOr(V* place, V value) { V before = *place; *place |= value; return before; }
template <typename V> V atomicExch(V* place, V value) { V before = *place; *place = value; return before; }
template <typename V> V atomicCAS(V* place, V wanted, V value) { V before = *place; if (before == wanted) *place = value; return before; }
inline void __threadfence() {}
template <typename V> V __ldg(const V* place) { return *place; }

// Of a number and what is none, CUDA's return the number.
template <typename A, typename B> auto min(A a, B b) -> typename std::common_type<A, B>::type { return b < a || a != a ? b : a; }
template <typename A, typename B> auto max(A a, B b) -> typename std::common_type<A, B>::type { return a < b || a != a ? b : a; }
using std::abs; using std::ceil; using std::erf; using std::erfc; using std::exp; using std::expm1; using std::fabs;
using std::floor; using std::fma; using std::isfinite; using std::isinf; using std::isnan; using std::log;
using std::log1p; using std::pow; using std::sqrt; using std::tanh;
inline float rsqrt(float x) { return 1 / std::sqrt(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline float __uint_as_float(unsigned bits) { float x; memcpy(&x, &bits, 4); return x; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline unsigned __float_as_uint(float x) { unsigned bits; memcpy(&bits, &x, 4); return bits; }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
