// Volumes to voxels, and the arrays that hold them.
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>

#include <array>
#include <memory>

#include "binding.h"

namespace sparse3d::binding {
namespace {

// An array with nothing in it yet; its memory goes back to the store with the last view of it.
template <class T, std::size_t axes>
nb::ndarray<nb::numpy, T, nb::ndim<axes>> new_array(const std::array<std::size_t, axes>& shape) {
    std::size_t size = 1;
    for (const std::size_t side : shape) size *= side;
    auto* block = new std::shared_ptr<void>(result_block(size * sizeof(T)));
    const nb::capsule owner(block, [](void* held) noexcept { delete static_cast<std::shared_ptr<void>*>(held); });
    return {block->get(), axes, shape.data(), owner};
}

template <class T>
struct Voxels {};

template <class T>
void bind_type(nb::module_& m, const char* name) {
    using Triple = std::array<std::int64_t, 3>;
    nb::class_<Voxels<T>>(m, name, "Voxels with low <= value <= high; shape and strides (bytes) are (z, y, x).")
        .def_static(
            "count",
            [](Address data, Triple shape, Triple strides, double low, double high, int threads) {
                return count_voxels<T>({at<T>(data), shape, strides}, low, high, threads);
            },
            nb::kw_only(), "data"_a, "shape"_a, "strides"_a, "low"_a, "high"_a, "threads"_a, Release())
        .def_static(
            "find",
            [](Address data, Triple shape, Triple strides, double low, double high, std::int64_t capacity,
               Address indices, Address values, Address bitmap, int threads) {
                return find_voxels<T>({at<T>(data), shape, strides}, low, high, capacity, at<std::int32_t>(indices),
                                      at<float>(values), at<std::uint64_t>(bitmap), threads);
            },
            nb::kw_only(), "data"_a, "shape"_a, "strides"_a, "low"_a, "high"_a, "capacity"_a, "indices"_a, "values"_a,
            "bitmap"_a, "threads"_a, Release(),
            "How many there are; indices (capacity, 3) int32 and values (capacity) float32 are of use if that is no "
            "more than capacity.");
}

}  // namespace

void bind_voxels(nb::module_& m) {
    bind_type<std::uint8_t>(m, "VoxelsUInt8");
    bind_type<std::int16_t>(m, "VoxelsInt16");
    bind_type<std::uint16_t>(m, "VoxelsUInt16");
    bind_type<float>(m, "VoxelsFloat32");
    m.def("new_bytes", [](std::size_t bytes) { return new_array<std::uint8_t, 1>({bytes}); }, "bytes"_a);
    m.def("new_rows", [](std::size_t rows) { return new_array<std::int32_t, 2>({rows, 3}); }, "rows"_a);
    m.def("new_values", [](std::size_t count) { return new_array<float, 1>({count}); }, "count"_a);
}

}  // namespace sparse3d::binding
