// How large numbers are: see magnitude.cpp.
#pragma once

#include "kernel.h"

namespace sparse3d {

// The largest magnitude of n values; 0 for none of them, not a number if one is not.
S3D_KERNEL(float, largest_magnitude, const float* values, int64_t n)

}  // namespace sparse3d
