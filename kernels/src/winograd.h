// When and how a convolution goes through Winograd's transforms: see simd/winograd.cpp for what they are.
#pragma once

#include <cstdint>

#include "kept_weights.h"
#include "simd/convolution.h"
#include "sparse3d/sparse3d.h"
#include "threads.h"

namespace sparse3d {

// Does it pay? Only float, windows of 2^3 or 3^3 with stride 1, whole vectors of input channels, and blocks full
// enough. `bfloat16`: against products of bfloat16, which Winograd itself does not use.
bool winograd_pays(const Plan& plan, int c_in, int c_out, bool gradient, bool bfloat16, int threads);

// The two below give false where an input, weight or gradient is out of proportion: more than about a thousand times as
// large as is usual among them, or not finite (see docs/kernels.md for the bound). What they made is of no use then.

// task.result <- the convolution with the weights `packed` (volume, c_in * width), one matrix an offset.
// `kept` as in Convolution.
bool winograd_multiply(const Plan& plan, const ConvolutionTask<float>& direct, const KeptWeights<float>* kept,
                       int threads);

// weight (c_out, volume, c_in) <- gradient, with missing inputs as background; grad_background (c_out), if not null, is
// that of the output's background.
bool winograd_weight_gradients(const Plan& plan, const Convolution<float>& args, const float* grad,
                               const float* grad_background, float* weight, int threads);
// sums (volume, c_out) <- gradient rows where the input of an offset is missing, for plans of stride 1.
void missing_rows(const Plan& plan, const float* grad, int c_out, double* sums, int threads);

}  // namespace sparse3d
