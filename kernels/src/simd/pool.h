// Pools over stretches of words: see pool.cpp.
#pragma once

#include "vec.h"

namespace sparse3d {
namespace S3D_ISA {

template <class T>
size_t pool_scratch(const PoolTask<T>& task);
// The output words [first, last) of a maximum, at most task.tile_rows + kTileSlack rows. `planes`: where the input rows
// that each of the window's planes meets are counted from; null: all from task.features.
template <class T>
void max_pool_words(const PoolTask<T>& task, uint32_t first, uint32_t last, const T* const* planes, void* memory);
// The same of its gradient; "out" are then the pool's inputs and `features` the gradient of its outputs.
template <class T>
void max_pool_gradient_words(const PoolTask<T>& task, uint32_t first, uint32_t last, void* memory);

}  // namespace S3D_ISA
}  // namespace sparse3d
