// The kernels of the instruction set in use.
#pragma once

#include "simd/types.h"

namespace sparse3d {

const Kernels& kernels();

template <class T>
const TypedKernels<T>& typed_kernels();
template <>
inline const TypedKernels<float>& typed_kernels<float>() {
    return kernels().f32;
}
template <>
inline const TypedKernels<double>& typed_kernels<double>() {
    return kernels().f64;
}

}  // namespace sparse3d
