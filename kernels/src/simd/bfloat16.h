// Products of bfloat16, sums in float32: see bfloat16.cpp.
#pragma once

#include "convolution.h"

namespace sparse3d {

// Whether one instruction makes two of them: without it they cost more than those of float32.
S3D_NEWEST_KERNEL(bool, has_bfloat16_products, void)
// (n, channels) -> (n, pairs of channels), to the nearest; an odd last channel is paired with 0
S3D_NEWEST_KERNEL(void, round_rows, const float* rows, int64_t n, int channels, Halves* rounded)
// packed (c_in, width) in blocks, rounded where it stands, and as pairs of input channels
S3D_NEWEST_KERNEL(void, round_packed, float* packed, int c_in, int width, Halves* rounded)
S3D_NEWEST_KERNEL(void, bfloat16_convolution_tile, const ConvolutionTask<float>& task, int64_t index, void* scratch)

}  // namespace sparse3d
