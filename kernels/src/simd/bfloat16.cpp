// Products of bfloat16, sums in float32: a convolution with its inputs and weights rounded, two channels in a lane.
//
// bfloat16 is the upper half of a float32: 8 bits of precision, the same exponents. The products are in gemm.h.
#include "bfloat16.h"

#include "output_tile.h"

namespace sparse3d {
namespace S3D_ISA {
namespace {

// To the nearest, of two equally near to the even one. Not a number stays none.
S3D_INLINE uint32_t rounded(float value) {
    uint32_t bits;
    __builtin_memcpy(&bits, &value, 4);
    const uint32_t nearest = (bits + 0x7fffu + ((bits >> 16) & 1)) >> 16;
    return value != value ? (bits >> 16) | 0x40u : nearest;
}

S3D_INLINE float widened(uint32_t half) {
    const uint32_t bits = half << 16;
    float value;
    __builtin_memcpy(&value, &bits, 4);
    return value;
}

}  // namespace

void round_rows(const float* rows, int64_t n, int channels, Halves* result) {
    if (channels % 2 == 0) {
        for (int64_t i = 0; i < n * channels / 2; ++i)
            result[i].bits = rounded(rows[2 * i]) | rounded(rows[2 * i + 1]) << 16;
        return;
    }
    for (int64_t row = 0; row < n; ++row, rows += channels) {
        for (int c = 0; c + 1 < channels; c += 2) (result++)->bits = rounded(rows[c]) | rounded(rows[c + 1]) << 16;
        (result++)->bits = rounded(rows[channels - 1]);
    }
}

void round_packed(float* packed, int c_in, int width, Halves* result) {
    for (int b = 0; b < block_count<float>(width); ++b) {
        const int n = block_at<float>(width, b).vectors * kLanes<float>;
        for (int c = 0; c < c_in; c += 2, result += n) {
            const bool paired = c + 1 < c_in;
            for (int o = 0; o < n; ++o) {
                const uint32_t low = rounded(packed[o]), high = paired ? rounded(packed[n + o]) : 0;
                packed[o] = widened(low);
                if (paired) packed[n + o] = widened(high);
                result[o].bits = low | high << 16;
            }
            packed += paired ? 2 * n : n;
        }
    }
}

void bfloat16_convolution_tile(const ConvolutionTask<float>& task, int64_t index, void* memory) {
    multiply_tile(task, task.features_halves, task.packed_halves, (task.c_in + 1) / 2, index, memory);
}

bool has_bfloat16_products() {
#if defined(__AVX512BF16__)
    return true;
#else
    return false;
#endif
}

}  // namespace S3D_ISA
}  // namespace sparse3d
