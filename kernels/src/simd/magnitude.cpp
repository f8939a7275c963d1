// The largest magnitude among many values, for those that may have to be refused.
//
// Without their sign bit, numbers of float32 are in the order of the integers with the same bits, and whatever is not a
// number comes after all of them, infinity included.
#include "magnitude.h"

#include "vec.h"

namespace sparse3d {
namespace S3D_ISA {

float largest_magnitude(const float* values, int64_t n) {
    using V = Vec<float>;
    using Ints = VecOf<float>::ints;
    constexpr int L = kLanes<float>, kVectors = 4;
    constexpr int32_t kMagnitude = 0x7fffffff;
    Ints largest[kVectors] = {};
    int64_t i = 0;
    for (; i + kVectors * L <= n; i += kVectors * L)
        for (int v = 0; v < kVectors; ++v) {
            const V at = load(values + i + v * L);
            const Ints size = (Ints)at & kMagnitude;
            largest[v] = size > largest[v] ? size : largest[v];
        }
    int32_t all = 0;
    for (const Ints& lanes : largest)
        for (int lane = 0; lane < L; ++lane) all = lanes[lane] > all ? lanes[lane] : all;
    for (; i < n; ++i) {
        int32_t bits;
        __builtin_memcpy(&bits, values + i, sizeof bits);
        bits &= kMagnitude;
        all = bits > all ? bits : all;
    }
    float result;
    __builtin_memcpy(&result, &all, sizeof result);
    return result;
}

}  // namespace S3D_ISA
}  // namespace sparse3d
