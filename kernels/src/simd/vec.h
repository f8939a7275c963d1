// The machine's vector, as wide as this file's instruction set has it.
#pragma once

#include "types.h"

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

// Before a loop: no round reads what another one writes.
#if defined(__clang__)
#define S3D_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define S3D_INDEPENDENT _Pragma("GCC ivdep")
#endif

#define S3D_INLINE_MEMBER inline __attribute__((always_inline))
#define S3D_INLINE static inline __attribute__((always_inline))

namespace sparse3d {
namespace S3D_ISA {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

// Vector registers: how many sums a loop may hold.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif

template <class T>
struct VecOf;
template <>
struct VecOf<float> {
    typedef float type __attribute__((vector_size(kVectorBytes)));
    typedef float loose __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
    typedef int32_t ints __attribute__((vector_size(kVectorBytes)));
};
template <>
struct VecOf<double> {
    typedef double type __attribute__((vector_size(kVectorBytes)));
    typedef double loose __attribute__((vector_size(kVectorBytes), aligned(8), may_alias));
    typedef int64_t ints __attribute__((vector_size(kVectorBytes)));
};

template <>
struct VecOf<Halves> {
    typedef uint32_t type __attribute__((vector_size(kVectorBytes)));
    typedef uint32_t loose __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
};
template <>
struct VecOf<uint32_t> {
    typedef uint32_t type __attribute__((vector_size(kVectorBytes)));
    typedef uint32_t loose __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
};

template <class T>
using Vec = typename VecOf<T>::type;
template <class T>
constexpr int kLanes = kVectorBytes / int(sizeof(T));

template <class T>
S3D_INLINE Vec<T> load(const T* p) {
    return *reinterpret_cast<const typename VecOf<T>::loose*>(p);
}
template <class T>
S3D_INLINE void store(T* p, Vec<T> v) {
    *reinterpret_cast<typename VecOf<T>::loose*>(p) = v;
}

// Whether no lane is above, below or not a number.
S3D_INLINE bool all_zero(Vec<float> v) {
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask((__m512)v, _mm512_setzero_ps(), _CMP_NEQ_UQ) == 0;
#elif defined(__AVX2__)
    return _mm256_movemask_ps(_mm256_cmp_ps((__m256)v, _mm256_setzero_ps(), _CMP_NEQ_UQ)) == 0;
#else
    int32_t all = -1;
    const VecOf<float>::ints is_zero = v == Vec<float>{};
    for (int j = 0; j < kLanes<float>; ++j) all &= is_zero[j];
    return all != 0;
#endif
}

template <class T>
S3D_INLINE Vec<T> leaky(Vec<T> v, T slope) {
    return v > 0 ? v : slope * v;
}

S3D_INLINE int min(int a, int b) { return a < b ? a : b; }
S3D_INLINE int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
S3D_INLINE int popcount(uint64_t bits) { return __builtin_popcountll(bits); }
S3D_INLINE int lowest(uint64_t bits) { return __builtin_ctzll(bits); }
S3D_INLINE uint64_t below(int position) { return (uint64_t(1) << position) - 1; }  // position < 64

// Whole vectors, rounded up.
template <class T>
S3D_INLINE int whole(int n) {
    return (n + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

// Scratch memory is handed out from one block, 64-byte aligned.
struct Scratch {
    char* next;
    template <class T>
    T* take(size_t n) {
        char* p = next;
        next += (n * sizeof(T) + 63) / 64 * 64;
        return reinterpret_cast<T*>(p);
    }
};

}  // namespace S3D_ISA
}  // namespace sparse3d
