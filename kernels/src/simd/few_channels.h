// Convolutions of one to four input channels, for those of convolution.h and pool.h: see few_channels.cpp.
#pragma once

#include "convolution.h"
#include "vec.h"
#include "weight_gradient.h"

namespace sparse3d {
namespace S3D_ISA {

template <class T>
size_t few_channels_scratch(const ConvolutionTask<T>& task);
// The output words [first, last). Rows go to `result`: by rank, or as the caller has them.
template <class T>
void few_channels_words(const ConvolutionTask<T>& task, uint32_t first, uint32_t last, T* result, bool by_rank,
                        void* memory);

template <class T>
size_t few_channels_gradient_scratch(const WeightGradientTask<T>& task);
// partial (steps, width) += window x gradient over the output words [first, last); rows of `grad` as above.
template <class T>
void few_channels_gradient_words(const WeightGradientTask<T>& task, uint32_t first, uint32_t last, const T* grad,
                                 bool by_rank, T* partial, void* memory);

}  // namespace S3D_ISA
}  // namespace sparse3d
