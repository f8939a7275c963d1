// A number for the content of an array, at the speed of memory: where the array is filled anew, another number.
//
// Word i goes to lane i mod 32, each lane a polynomial in an odd number, modulo 2^32: no single change leaves it as it
// was, and of many changes one in 2^32 for every lane they touch. Against mistakes, not against malice.
#include "fingerprint.h"

#include "vec.h"

namespace sparse3d {
namespace S3D_ISA {
namespace {

using V = Vec<uint32_t>;
constexpr int kSumLanes = 32, kVectors = kSumLanes / kLanes<uint32_t>;
constexpr uint32_t kFactor = 0x9e3779b1u;

// Every bit of the result depends on every bit of both (the finalizer of MurmurHash3).
S3D_INLINE uint64_t mixed(uint64_t sum, uint64_t next) {
    uint64_t h = sum * 0x9e3779b97f4a7c15u + next;
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53u;
    return h ^ (h >> 33);
}

}  // namespace

uint64_t fingerprint(const int32_t* values, int64_t n) {
    const uint32_t* words = reinterpret_cast<const uint32_t*>(values);
    V sums[kVectors] = {};
    int64_t i = 0;
    for (; i + kSumLanes <= n; i += kSumLanes)
        for (int v = 0; v < kVectors; ++v) sums[v] = sums[v] * kFactor + load(words + i + v * kLanes<uint32_t>);
    uint64_t all = mixed(0, uint64_t(n));
    for (int lane = 0; lane < kSumLanes; ++lane)
        all = mixed(all, sums[lane / kLanes<uint32_t>][lane % kLanes<uint32_t>]);
    for (; i < n; ++i) all = mixed(all, words[i]);
    return all;
}

}  // namespace S3D_ISA
}  // namespace sparse3d
