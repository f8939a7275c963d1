// The gradient of a weight: see weight_gradient.cpp.
#pragma once

#include "kernel.h"
#include "types.h"

namespace sparse3d {

template <class T>
struct PoolTask;

// That of one stretch of output rows and a range of offsets.
template <class T>
struct WeightGradientTask {
    SiteView in, out;
    Window window;
    int32_t c_in, c_out;
    int32_t stride_in;  // of a feature row: c_in, or where that is no whole vectors, rounded up
    int32_t width;      // of a row of sums: c_in, or for few_channels c_out, rounded up to whole vectors
    int32_t few_channels;
    int32_t flags;  // few_channels: also sum up where each offset's input is missing
    const T* features;
    const T* grad;            // (m, c_out)
    const T* background;      // (c_in) or null
    const PoolTask<T>* pool;  // few_channels: the gradient comes through this max pool, tile by tile
    int32_t tile_rows;
    int32_t tiles_per_chunk;
    T* partial;      // (chunks, c_out, volume, width); few_channels (chunks, volume * c_in + flags * volume, width)
    double* paired;  // (chunks, volume, c_out): sum of grad over the rows that offset k reaches, but for few_channels
    double* total;   // (chunks, phases, c_out): sum of grad over the rows of a phase
};

S3D_TYPED_KERNEL(size_t, weight_gradient_scratch, const WeightGradientTask<T>& task)
S3D_TYPED_KERNEL(void, weight_gradient_chunk, const WeightGradientTask<T>& task, int64_t chunk, int first_offset,
                 int last_offset, void* scratch)

}  // namespace sparse3d
