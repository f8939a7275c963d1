// Batch normalisation, some rows each: see norm.cpp.
#pragma once

#include "kernel.h"

namespace sparse3d {

// y <- x * scale + shift + other (unless null), activated
S3D_TYPED_KERNEL(void, scale_stretch, const T* x, const T* scale, const T* shift, const T* other, int64_t rows,
                 int channels, T slope, T* y)
S3D_TYPED_KERNEL(void, add_statistics, const T* x, const T* origin, int64_t rows, int channels, double* sum,
                 double* squares)
S3D_TYPED_KERNEL(void, add_norm_gradients, const T* grad, const T* values, const T* x, const T* mean, int64_t rows,
                 int channels, T slope, double* sum, double* products)
S3D_TYPED_KERNEL(void, norm_gradient_stretch, const T* grad, const T* values, const T* x, const T* of_grad,
                 const T* of_features, const T* constant, int64_t rows, int channels, T slope, T* result, T* other)

}  // namespace sparse3d
