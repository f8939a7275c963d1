// The Python face of sparse3d.h. Arrays come as addresses; whoever calls has checked dtype, shape and contiguity
// against the plan (_ready in engine/native.py, through which all pass), and keeps them alive. The GIL is released
// while kernels run.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "sparse3d/sparse3d.h"

namespace nb = nanobind;
using namespace sparse3d;

namespace {

using Address = std::uintptr_t;

template <class T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

// Geometry.pack(): kernel, stride, padding, dilation, in_shape, out_shape, batch_size, transposed.
Geometry unpack(const std::array<int, 20>& n) {
    const auto triple = [&](std::size_t i) { return std::array<int, 3>{n[3 * i], n[3 * i + 1], n[3 * i + 2]}; };
    return {triple(0), triple(1), triple(2), triple(3), triple(4), triple(5), n[18], n[19] != 0};
}

struct PyIndex {
    Sites sites;
};

struct PyChain {
    std::vector<LayerPlan> plans;
};

using Triple = std::tuple<int, int, int>;
Triple kernel_of(const Plan& plan) {
    const auto [z, y, x] = plan.geometry.kernel;
    return {z, y, x};
}
// weight, bias, c_in, c_out, slope
using Layer = std::tuple<Address, Address, int, int, double>;
using PackedLayer = std::tuple<std::array<int, 20>, bool, std::optional<std::array<int, 20>>>;

using Release = nb::call_guard<nb::gil_scoped_release>;

// A slope of 1 is no activation.
template <class T>
Convolution<T> forward(Address features, Address weight, Address bias, Address background, int c_in, int c_out,
                       double slope, bool bfloat16) {
    return {at<T>(features),
            at<T>(weight),
            at<T>(bias),
            at<T>(background),
            c_in,
            c_out,
            slope == 1 ? Activation::none : Activation::leaky_relu,
            T(slope),
            bfloat16};
}

template <class T>
std::vector<Convolution<T>> unpack_layers(const std::vector<Layer>& given, bool bfloat16) {
    std::vector<Convolution<T>> layers;
    for (const auto& [weight, bias, c_in, c_out, slope] : given)
        layers.push_back(forward<T>(0, weight, bias, 0, c_in, c_out, slope, bfloat16));
    return layers;
}

template <class T>
void bind_operators(nb::module_& m, const char* suffix) {
    const auto name = [&](const char* stem) { return std::string(stem) + suffix; };
    m.def(
        name("convolution_").c_str(),
        [](const Plan& plan, Address features, Address weight, Address bias, Address background, int c_in, int c_out,
           double slope, bool bfloat16, Address result, Address result_background, int threads) {
            convolution<T>(plan, forward<T>(features, weight, bias, background, c_in, c_out, slope, bfloat16),
                           at<T>(result), at<T>(result_background), threads);
        },
        Release());
    m.def(
        name("pooled_convolution_").c_str(),
        [](const Plan& plan, Address features, Address weight, Address bias, Address background, int c_in, int c_out,
           double slope, bool bfloat16, const Plan& pool_plan, Address values, Address rows, Address result_background,
           int threads) {
            pooled_convolution<T>(plan, forward<T>(features, weight, bias, background, c_in, c_out, slope, bfloat16),
                                  pool_plan, at<T>(values), at<std::int32_t>(rows), at<T>(result_background), threads);
        },
        Release());
    m.def(
        name("convolution_chain_").c_str(),
        [](const PyChain& chain, const std::vector<Layer>& given, Address features, Address background, bool bfloat16,
           Address result, Address result_background, int threads) {
            convolution_chain<T>(chain.plans, unpack_layers<T>(given, bfloat16), at<T>(features), at<T>(background),
                                 at<T>(result), at<T>(result_background), threads);
        },
        Release());
    m.def(name("convolution_chain_kept_bytes_").c_str(), [](const PyChain& chain, const std::vector<Layer>& given) {
        return layer_values_bytes<T>(chain.plans, unpack_layers<T>(given, false));
    });
    m.def(
        name("convolution_chain_kept_").c_str(),
        [](const PyChain& chain, const std::vector<Layer>& given, Address features, Address background, Address kept,
           Address result, Address result_background, int threads) {
            const auto layers = unpack_layers<T>(given, false);
            convolution_chain<T>(
                chain.plans, layers, at<T>(features), at<T>(background),
                layer_values<T>(chain.plans, layers, at<void>(kept), at<T>(result), at<T>(result_background)), threads);
        },
        Release());
    m.def(
        name("convolution_chain_backward_").c_str(),
        [](const PyChain& chain, const std::vector<Layer>& given, Address features, Address background, Address kept,
           Address result, Address result_background, Address grad, Address grad_background, Address g_features,
           Address g_background, const std::vector<std::tuple<Address, Address>>& g_layers, int threads) {
            const auto layers = unpack_layers<T>(given, false);
            std::vector<ConvolutionGradients<T>> results;
            for (const auto& [weight, bias] : g_layers)
                results.push_back({nullptr, at<T>(weight), at<T>(bias), nullptr});
            results.front().features = at<T>(g_features);
            results.front().background = at<T>(g_background);
            convolution_chain_backward<T>(
                chain.plans, layers, at<T>(features), at<T>(background),
                layer_values<T>(chain.plans, layers, at<void>(kept), at<T>(result), at<T>(result_background)),
                at<T>(grad), at<T>(grad_background), results, threads);
        },
        Release());
    m.def(
        name("pooled_convolution_backward_").c_str(),
        [](const Plan& plan, Address grad, Address grad_background, Address features, Address weight,
           Address background, int c_in, int c_out, const Plan& pool_plan, Address rows, Address g_features,
           Address g_weight, Address g_bias, Address g_background, int threads) {
            pooled_convolution_backward<T>(plan, forward<T>(features, weight, 0, background, c_in, c_out, 1, false),
                                           pool_plan, at<T>(grad), at<T>(grad_background), at<std::int32_t>(rows),
                                           {at<T>(g_features), at<T>(g_weight), at<T>(g_bias), at<T>(g_background)},
                                           threads);
        },
        Release());
    m.def(
        name("convolution_backward_").c_str(),
        [](const Plan& plan, Address grad, Address grad_background, Address features, Address weight,
           Address background, int c_in, int c_out, Address g_features, Address g_weight, Address g_bias,
           Address g_background, int threads) {
            convolution_backward<T>(plan, forward<T>(features, weight, 0, background, c_in, c_out, 1, false),
                                    at<T>(grad), at<T>(grad_background),
                                    {at<T>(g_features), at<T>(g_weight), at<T>(g_bias), at<T>(g_background)}, threads);
        },
        Release());
    m.def(
        name("leaky_relu_backward_").c_str(),
        [](Address grad, Address values, double slope, std::int64_t n, Address result, int threads) {
            leaky_relu_backward<T>(at<T>(grad), at<T>(values), T(slope), n, at<T>(result), threads);
        },
        Release());
    m.def(
        name("scale_rows_").c_str(),
        [](Address features, Address scale, Address shift, Address other, std::int64_t rows, int channels, double slope,
           Address result, int threads) {
            scale_rows<T>(at<T>(features), at<T>(scale), at<T>(shift), at<T>(other), rows, channels, T(slope),
                          at<T>(result), threads);
        },
        Release());
    m.def(
        name("row_statistics_").c_str(),
        [](Address features, std::int64_t rows, int channels, Address mean, Address variance, int threads) {
            row_statistics<T>(at<T>(features), rows, channels, at<T>(mean), at<T>(variance), threads);
        },
        Release());
    m.def(
        name("normalized_rows_backward_").c_str(),
        [](Address grad, Address values, Address features, Address mean, Address deviation, Address weight,
           std::int64_t rows, int channels, double slope, Address g_features, Address g_other, Address g_weight,
           Address g_bias, int threads) {
            normalized_rows_backward<T>(at<T>(grad), at<T>(values), at<T>(features), at<T>(mean), at<T>(deviation),
                                        at<T>(weight), rows, channels, T(slope),
                                        {at<T>(g_features), at<T>(g_other), at<T>(g_weight), at<T>(g_bias)}, threads);
        },
        Release());
    m.def(
        name("max_pool_").c_str(),
        [](const Plan& plan, Address features, Address background, int channels, Address values, Address rows,
           int threads) {
            max_pool<T>(plan, at<T>(features), at<T>(background), channels, at<T>(values), at<std::int32_t>(rows),
                        threads);
        },
        Release());
    m.def(
        name("max_pool_backward_").c_str(),
        [](const Plan& plan, Address grad, Address rows, int channels, Address features, Address background,
           int threads) {
            max_pool_backward<T>(plan, at<T>(grad), at<std::int32_t>(rows), channels, at<T>(features),
                                 at<T>(background), threads);
        },
        Release());
    m.def(
        name("avg_pool_").c_str(),
        [](const Plan& plan, Address features, Address background, int channels, Address values, int threads) {
            avg_pool<T>(plan, at<T>(features), at<T>(background), channels, at<T>(values), threads);
        },
        Release());
    m.def(
        name("avg_pool_backward_").c_str(),
        [](const Plan& plan, Address grad, int channels, bool over_active, Address features, Address background,
           int threads) {
            avg_pool_backward<T>(plan, at<T>(grad), channels, over_active, at<T>(features), at<T>(background), threads);
        },
        Release());
}

// shape and strides (bytes) are (z, y, x)
template <class T>
VolumeView<T> volume_view(Address data, const std::array<std::int64_t, 3>& shape,
                          const std::array<std::int64_t, 3>& strides) {
    return {at<T>(data), shape, strides};
}

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
void bind_voxels(nb::module_& m, const char* suffix) {
    using Triple = std::array<std::int64_t, 3>;
    m.def((std::string("count_voxels_") + suffix).c_str(),
          [](Address data, Triple shape, Triple strides, double low, double high, int threads) {
              return count_voxels(volume_view<T>(data, shape, strides), low, high, threads);
          },
          Release());
    m.def((std::string("find_voxels_") + suffix).c_str(),
          [](Address data, Triple shape, Triple strides, double low, double high, std::int64_t capacity,
             Address indices, Address values, Address bitmap, int threads) {
              return find_voxels(volume_view<T>(data, shape, strides), low, high, capacity, at<std::int32_t>(indices),
                                 at<float>(values), at<std::uint64_t>(bitmap), threads);
          },
          Release());
}

}  // namespace

NB_MODULE(_kernels, m) {
    nb::set_leak_warnings(false);  // engines live until the interpreter ends
    m.doc() = "Sparse 3D kernels for the CPU (C++); see kernels/include/sparse3d/sparse3d.h.";

    nb::class_<PyIndex>(m, "SiteIndex", nb::is_weak_referenceable())
        .def_prop_ro("count", [](const PyIndex& self) { return site_count(self.sites); })
        .def(
            "write",
            [](const PyIndex& self, Address indices, int threads) {
                write_sites(self.sites, at<std::int32_t>(indices), threads);
            },
            Release());
    nb::class_<Plan>(m, "Plan", nb::is_weak_referenceable())
        .def_prop_ro("inputs", [](const Plan& self) { return site_count(self.in); })
        .def_prop_ro("outputs", [](const Plan& self) { return site_count(self.out); })
        .def_prop_ro("volume", [](const Plan& self) { return self.geometry.volume(); })
        .def_prop_ro("kernel", &kernel_of)
        .def("reads", [](const Plan& self, const Plan& before) { return same_sites(self.in, before.out); })
        .def(
            "write_neighbours",
            [](const Plan& self, Address rows, int threads) {
                write_neighbours(self, at<std::int32_t>(rows), threads);
            },
            Release());

    m.def(
        "index_sites",
        [](Address indices, std::int64_t n, int batch, std::array<int, 3> shape, int threads) {
            return PyIndex{index_sites(at<std::int32_t>(indices), n, batch, shape, threads)};
        },
        Release());
    m.def(
        "output_sites",
        [](const PyIndex& in, std::array<int, 20> geometry, int threads) {
            return PyIndex{output_sites(in.sites, unpack(geometry), threads)};
        },
        Release());
    m.def(
        "make_plan",
        [](const PyIndex& in, const PyIndex& out, std::array<int, 20> geometry) {
            return make_plan(in.sites, out.sites, unpack(geometry));
        },
        Release());
    nb::class_<PyChain>(m, "Chain", nb::is_weak_referenceable())
        .def_prop_ro("inputs", [](const PyChain& self) { return site_count(self.plans.front().convolution.in); })
        .def_prop_ro("kernels",
                     [](const PyChain& self) {
                         std::vector<Triple> kernels;
                         for (const LayerPlan& plan : self.plans) kernels.push_back(kernel_of(plan.convolution));
                         return kernels;
                     })
        .def_prop_ro("outputs", [](const PyChain& self) { return site_count(self.plans.back().out()); })
        .def_prop_ro("sites", [](const PyChain& self) { return PyIndex{self.plans.back().out()}; });
    m.def(
        "plan_chain",
        [](const PyIndex& in, const std::vector<PackedLayer>& packed, int threads) {
            std::vector<LayerGeometry> layers;
            for (const auto& [convolution, submanifold, pool] : packed) {
                layers.push_back({unpack(convolution), submanifold, std::nullopt});
                if (pool) layers.back().pool = unpack(*pool);
            }
            return PyChain{plan_chain(in.sites, layers, threads)};
        },
        Release());
    bind_operators<float>(m, "f32");
    bind_operators<double>(m, "f64");
    bind_voxels<std::uint8_t>(m, "u8");
    bind_voxels<std::int16_t>(m, "i16");
    bind_voxels<std::uint16_t>(m, "u16");
    bind_voxels<float>(m, "f32");
    m.def("new_bytes", [](std::size_t bytes) { return new_array<std::uint8_t, 1>({bytes}); });
    m.def("new_rows", [](std::size_t rows) { return new_array<std::int32_t, 2>({rows, 3}); });
    m.def("new_values", [](std::size_t count) { return new_array<float, 1>({count}); });
    m.def("instruction_set", [] { return instruction_set(); });
    m.def("multiplies_bfloat16", [] { return multiplies_bfloat16(); });
    m.def("trim", &trim);
    m.def("scratch_bytes", &scratch_bytes);
}
