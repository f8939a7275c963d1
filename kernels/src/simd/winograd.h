// Winograd's minimal filtering: see winograd_transforms.h, and winograd.cpp for the convolution.
#pragma once

#include "kernel.h"
#include "types.h"

namespace sparse3d {

// Blocks of 2 x 2 x winograd_outputs_x outputs. Each has `window` + 1 planes of transformed values.
constexpr int winograd_outputs_x(int window) { return window == 3 ? 4 : 2; }
constexpr int winograd_plane(int window) { return (window + 1) * (window - 1 + winograd_outputs_x(window)); }

// `reach` is the padding of the equivalent plain window.
struct WinogradTask {
    SiteView in, out, blocks;
    int32_t window;  // 2 or 3
    int32_t reach[3];
    int32_t c_in, c_out, width;
    int32_t blocks_per_task;
    int32_t leaky;
    float slope;
    const float* features;
    const float* background;   // (c_in), zeros where there is none
    const float* transformed;  // (window + 1, winograd_plane, c_in * width in blocks)
    const float* start;        // (width) bias
    const float* grad;         // (m, c_out)
    const float* zeros;        // (c_out)
    float* result;             // (m, c_out)
};

S3D_KERNEL(size_t, winograd_scratch, const WinogradTask& task)
S3D_KERNEL(void, winograd_convolution, const WinogradTask& task, int64_t index, void* scratch)
// the u_z in [first_u, last_u) of the tasks [first, last); sums (window + 1, winograd_plane, c_out, c_in)
S3D_KERNEL(void, winograd_weight_gradient, const WinogradTask& task, int64_t first, int64_t last, int first_u,
           int last_u, float* sums, void* scratch)
// offset (volume) pointers to `each` weights; transformed (window + 1, winograd_plane, each); of the weights [first,
// last)
S3D_KERNEL(void, winograd_weights, int window, const float* const* offset, float* transformed, int64_t each,
           int64_t first, int64_t last)
// weight (volume, c_in): the rows of one output channel
S3D_KERNEL(void, winograd_weights_back, int window, const float* sums, int64_t each, int64_t chunks,
           int64_t chunk_stride, int o, int c_in, float* weight)

}  // namespace sparse3d
