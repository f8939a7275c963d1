// A number for the content of an array: see fingerprint.cpp.
#pragma once

#include "kernel.h"

namespace sparse3d {

S3D_KERNEL(uint64_t, fingerprint, const int32_t* values, int64_t n)

}  // namespace sparse3d
