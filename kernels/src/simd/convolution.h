// Convolutions, a tile of outputs at a time, and the packing of their weights: see convolution.cpp.
#pragma once

#include "kernel.h"
#include "types.h"

namespace sparse3d {

// Input rows to output rows. `packed` holds, for each offset and each block of up to four vectors of output channels,
// c_in rows of the block's width. A missing input adds `missing`: it is counted in `start` for every offset and taken
// back where the input turns out to be there, so that a tile's cost follows its pairs.
template <class T>
struct ConvolutionTask {
    SiteView in, out;
    Window window;
    int32_t c_in, c_out;
    int32_t width;                  // c_out rounded up to whole vectors
    const T* features;              // (n, c_in)
    const T* packed;                // (volume, c_in, width) in blocks
    const Halves* features_halves;  // (n, pairs of c_in) and (volume, pairs of c_in, width) in blocks, or null
    const Halves* packed_halves;
    const T* start;    // (phases, width): bias + background of all offsets of the phase
    const T* missing;  // (volume, width), or (width) zeros with missing_stride 0
    int32_t missing_stride;
    const T* background;   // (c_in) or null: for few_channels
    int32_t few_channels;  // `packed` is one product over volume * c_in channels: see few_channels.cpp
    int32_t tile_rows;
    int64_t kept_rows;  // pooled convolution: most rows that one task keeps
    int32_t splits;     // pieces of the output channels that are tasks of their own
    int32_t leaky;      // apply x > 0 ? x : slope * x at the end
    T slope;
    T* result;  // (m, c_out)
};

// Lanes of a vector.
S3D_TYPED_KERNEL(int, lanes, void)
S3D_TYPED_KERNEL(size_t, convolution_scratch, const ConvolutionTask<T>& task)
S3D_TYPED_KERNEL(void, convolution_tile, const ConvolutionTask<T>& task, int64_t index, void* scratch)
// packed <- source[out * stride_out + in * stride_in], of the output channels the vectors [first, last)
S3D_TYPED_KERNEL(void, pack_weight, const T* source, int64_t stride_out, int64_t stride_in, int c_out, int c_in,
                 int first, int last, T* packed)
// result (width) <- sum over c_in of packed * vector, of the same
S3D_TYPED_KERNEL(void, packed_times_vector, const T* packed, const T* vector, int c_in, int width, int first, int last,
                 T* result)
// The sum of products of two lines of n.
S3D_TYPED_KERNEL(T, dot_product, const T* a, const T* b, int64_t n)

}  // namespace sparse3d
