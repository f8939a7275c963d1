// The voxels of a line of a volume: see voxels.cpp.
#pragma once

#include "kernel.h"

namespace sparse3d {

template <class T>
struct VoxelRange {
    T low, high;  // both inclusive
};

// Of n voxels that lie `stride` bytes apart, how many lie in the range.
S3D_NEWEST_TYPED_KERNEL(int64_t, count_in_line, const T* line, int64_t stride, int n, VoxelRange<T> range)
// The same, and their bits (null: not wanted), indices (rows, 3) and values.
S3D_NEWEST_TYPED_KERNEL(int64_t, voxels_in_line, const T* line, int64_t stride, int n, VoxelRange<T> range, int z,
                        int y, uint64_t* bits, int32_t* positions, int32_t* indices, float* values)
S3D_NEWEST_KERNEL(void, copy_past_caches, const void* source, int64_t bytes, void* result)

}  // namespace sparse3d
