// Pools, and a max pool after a convolution of few channels: see pool.cpp.
#pragma once

#include "kernel.h"
#include "types.h"

namespace sparse3d {

template <class T>
struct ConvolutionTask;

template <class T>
struct PoolTask {
    SiteView in, out;
    Window window;
    int32_t channels;
    int32_t tile_rows;
    const T* features;      // (n, channels): pooled, or for a gradient (m, channels) of it
    const T* background;    // (channels) or null
    const int32_t* origin;  // (m, channels): where each maximum came from (gradient of the maximum)
    const T* scale;         // (m): weight of each output row (gradient of the mean)
    int32_t leaky;          // apply x > 0 ? x : slope * x to the maximum
    T slope;
    T* values;      // (rows of the tile's side, channels)
    int32_t* rows;  // (m, channels) or null
    T* counts;      // (m) or null: number of active inputs of each output row
};

// A piece of the pool's output grid: planes [z0, z1), and of each the lines [y0, y1).
struct Band {
    int b, z0, z1, y0, y1;
};

S3D_TYPED_KERNEL(size_t, pool_scratch, const PoolTask<T>& task)
S3D_TYPED_KERNEL(void, max_pool_tile, const PoolTask<T>& task, int64_t tile, void* scratch)
S3D_TYPED_KERNEL(void, max_pool_gradient_tile, const PoolTask<T>& task, int64_t tile, void* scratch)
S3D_TYPED_KERNEL(void, avg_pool_tile, const PoolTask<T>& task, int64_t tile, void* scratch)
S3D_TYPED_KERNEL(void, avg_pool_gradient_tile, const PoolTask<T>& task, int64_t tile, void* scratch)
S3D_TYPED_KERNEL(size_t, pooled_convolution_scratch, const ConvolutionTask<T>& task, const PoolTask<T>& pool)
S3D_TYPED_KERNEL(void, pooled_convolution_band, const ConvolutionTask<T>& task, const PoolTask<T>& pool,
                 const Band& band, void* scratch)
// Rows of the convolution that a band looks at.
S3D_TYPED_KERNEL(int64_t, pooled_convolution_rows, const ConvolutionTask<T>& task, const PoolTask<T>& pool,
                 const Band& band)

#if defined(S3D_ISA)
namespace S3D_ISA {

// The output words [first, last) of a maximum, at most task.tile_rows + kTileSlack rows. `planes`: where the input rows
// that each of the window's planes meets are counted from; null: all from task.features.
template <class T>
void max_pool_words(const PoolTask<T>& task, uint32_t first, uint32_t last, const T* const* planes, void* memory);
// The same of its gradient; "out" are then the pool's inputs and `features` the gradient of its outputs.
template <class T>
void max_pool_gradient_words(const PoolTask<T>& task, uint32_t first, uint32_t last, void* memory);

}  // namespace S3D_ISA
#endif

}  // namespace sparse3d
