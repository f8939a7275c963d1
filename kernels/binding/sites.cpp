// Geometries, site sets and plans.
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <tuple>

#include "binding.h"

namespace sparse3d::binding {
namespace {

using Shape = std::array<int, 3>;
using Triple = std::tuple<int, int, int>;

Triple kernel_of(const Plan& plan) {
    const auto [z, y, x] = plan.geometry.kernel;
    return {z, y, x};
}

void bind_geometry(nb::module_& m) {
    nb::class_<Geometry>(m, "Geometry", "Which input meets which output: i = o * stride + k * dilation - padding.")
        .def(
            "__init__",
            [](Geometry* self, Shape kernel, Shape stride, Shape padding, Shape dilation, Shape in_shape,
               Shape out_shape, int batch_size, bool transposed) {
                new (self) Geometry{kernel, stride, padding, dilation, in_shape, out_shape, batch_size, transposed};
            },
            nb::kw_only(), "kernel"_a, "stride"_a, "padding"_a, "dilation"_a, "in_shape"_a, "out_shape"_a,
            "batch_size"_a, "transposed"_a);
    nb::class_<LayerGeometry>(m, "LayerGeometry", "Of a convolution in a chain, and of the max pool after it.")
        .def(
            "__init__",
            [](LayerGeometry* self, const Geometry& convolution, bool submanifold, std::optional<Geometry> pool) {
                new (self) LayerGeometry{convolution, submanifold, pool};
            },
            nb::kw_only(), "convolution"_a, "submanifold"_a, "pool"_a.none());
}

void bind_plans(nb::module_& m) {
    nb::class_<Plan>(m, "Plan", nb::is_weak_referenceable())
        .def_prop_ro("inputs", [](const Plan& self) { return site_count(self.in); })
        .def_prop_ro("outputs", [](const Plan& self) { return site_count(self.out); })
        .def_prop_ro("volume", [](const Plan& self) { return self.geometry.volume(); })
        .def_prop_ro("kernel", &kernel_of)
        .def(
            "reads", [](const Plan& self, const Plan& before) { return same_sites(self.in, before.out); }, "before"_a,
            "Whether its inputs are the outputs of another.")
        .def(
            "write_neighbours",
            [](const Plan& self, Address rows, int threads) {
                write_neighbours(self, at<std::int32_t>(rows), threads);
            },
            nb::kw_only(), "rows"_a, "threads"_a, Release(), "rows (volume, outputs) int32: the input row, or -1.");
    m.def(
        "make_plan",
        [](const Index& inputs, const Index& outputs, const Geometry& geometry) {
            return make_plan(inputs.sites, outputs.sites, geometry);
        },
        nb::kw_only(), "inputs"_a, "outputs"_a, "geometry"_a, Release());
    nb::class_<Chain>(m, "Chain", nb::is_weak_referenceable())
        .def_prop_ro("inputs", [](const Chain& self) { return site_count(self.plans.front().convolution.in); })
        .def_prop_ro("kernels",
                     [](const Chain& self) {
                         std::vector<Triple> kernels;
                         for (const LayerPlan& plan : self.plans) kernels.push_back(kernel_of(plan.convolution));
                         return kernels;
                     })
        .def_prop_ro("outputs", [](const Chain& self) { return site_count(self.plans.back().out()); })
        .def_prop_ro("sites", [](const Chain& self) { return Index{self.plans.back().out()}; });
    m.def(
        "plan_chain",
        [](const Index& inputs, const std::vector<LayerGeometry>& layers, int threads) {
            return Chain{plan_chain(inputs.sites, layers, threads)};
        },
        nb::kw_only(), "inputs"_a, "layers"_a, "threads"_a, Release());
}

}  // namespace

void bind_sites(nb::module_& m) {
    bind_geometry(m);
    nb::class_<Index>(m, "SiteIndex", nb::is_weak_referenceable(), "Which cells of a batch of grids are stored.")
        .def_prop_ro("count", [](const Index& self) { return site_count(self.sites); })
        .def(
            "write",
            [](const Index& self, Address indices, int threads) {
                write_sites(self.sites, at<std::int32_t>(indices), threads);
            },
            nb::kw_only(), "indices"_a, "threads"_a, Release(), "indices (count, 4) int32 [b, z, y, x], raster order.");
    m.def(
        "index_sites",
        [](Address indices, std::int64_t rows, int batch_size, Shape shape, int threads) {
            return Index{index_sites(at<std::int32_t>(indices), rows, batch_size, shape, threads)};
        },
        nb::kw_only(), "indices"_a, "rows"_a, "batch_size"_a, "shape"_a, "threads"_a, Release(),
        "indices (rows, 4) int32 [b, z, y, x], in any order; ValueError if one is outside the grid or stands twice.");
    m.def(
        "fingerprint", [](Address indices, std::int64_t rows) { return fingerprint(at<std::int32_t>(indices), rows); },
        nb::kw_only(), "indices"_a, "rows"_a,
        "A number for what stands in indices (rows, 4) int32: another where they were filled anew.");
    m.def(
        "output_sites",
        [](const Index& inputs, const Geometry& geometry, int threads) {
            return Index{output_sites(inputs.sites, geometry, threads)};
        },
        nb::kw_only(), "inputs"_a, "geometry"_a, "threads"_a, Release(),
        "Every output site that has an input site in its window; raster order.");
    bind_plans(m);
}

}  // namespace sparse3d::binding
