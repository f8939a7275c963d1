// A whole network in one call, for inference.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "binding.h"

namespace sparse3d::binding {
namespace {

// Where a step's weights lie; 0 for what it has not.
struct GivenWeights {
    Address weight, bias;
    int c_in, c_out;
    double slope;
};

template <class T>
struct Network {
    std::shared_ptr<const FrozenNetwork<T>> frozen;
};

Step::Kind kind_of(const std::string& name) {
    constexpr std::pair<const char*, Step::Kind> kinds[] = {{"convolution", Step::Kind::convolution},
                                                            {"max_pool", Step::Kind::max_pool},
                                                            {"avg_pool", Step::Kind::avg_pool},
                                                            {"scale", Step::Kind::scale},
                                                            {"sum", Step::Kind::sum}};
    for (const auto& [called, kind] : kinds)
        if (name == called) return kind;
    throw std::invalid_argument("there is no step of this kind");
}

template <class T>
Network<T> frozen(const std::vector<Step>& steps, const std::vector<GivenWeights>& weights) {
    std::vector<StepWeights<T>> each;
    for (const GivenWeights& one : weights)
        each.push_back({at<T>(one.weight), at<T>(one.bias), one.c_in, one.c_out, T(one.slope)});
    return {freeze_network<T>(steps, each)};
}

template <class T>
void bind_type(nb::module_& m, const char* name) {
    nb::class_<Network<T>>(m, name, "The weights of a network, copied.")
        .def(
            "__init__",
            [](Network<T>* self, const std::vector<Step>& steps, const std::vector<GivenWeights>& weights) {
                new (self) Network<T>{frozen<T>(steps, weights)};
            },
            nb::kw_only(), "steps"_a, "weights"_a, Release())
        .def(
            "run",
            [](const Network<T>& self, const NetworkPlan& plan, Address features, Address background, Address result,
               Address result_background, int threads) {
                return run_network<T>(plan, *self.frozen, at<T>(features), at<T>(background), at<T>(result),
                                      at<T>(result_background), threads);
            },
            nb::kw_only(), "plan"_a, "features"_a, "background"_a, "result"_a, "result_background"_a, "threads"_a,
            Release(), "A bound of all magnitudes on the way; infinite where none is known.");
}

void bind_steps(nb::module_& m) {
    nb::class_<Step>(m, "Step", "Makes the next value of a network from values before it; value 0 is the input.")
        .def(
            "__init__",
            [](Step* self, const std::string& kind, int input, std::optional<Geometry> window, int at,
               std::optional<Geometry> pool,
               int other) { new (self) Step{kind_of(kind), input, window, at, pool, other}; },
            nb::kw_only(), "kind"_a, "input"_a, "window"_a.none() = nb::none(), "at"_a = -1,
            "pool"_a.none() = nb::none(), "other"_a = -1);
    nb::class_<GivenWeights>(m, "StepWeights",
                             "weight (c_out, kz, ky, kx, c_in) or a scale (c_out), bias (c_out); 0 for none.")
        .def(
            "__init__",
            [](GivenWeights* self, Address weight, Address bias, int c_in, int c_out, double slope) {
                new (self) GivenWeights{weight, bias, c_in, c_out, slope};
            },
            nb::kw_only(), "weight"_a, "bias"_a, "c_in"_a, "c_out"_a, "slope"_a);
}

}  // namespace

void bind_networks(nb::module_& m) {
    bind_steps(m);
    nb::class_<NetworkPlan>(m, "NetworkPlan", nb::is_weak_referenceable())
        .def_prop_ro("inputs", [](const NetworkPlan& self) { return site_count(self.in); })
        .def_prop_ro("outputs", [](const NetworkPlan& self) { return site_count(self.out()); })
        .def_prop_ro("sites", [](const NetworkPlan& self) { return Index{self.out()}; });
    m.def(
        "plan_network",
        [](const Index& inputs, const std::vector<Step>& steps, int threads) {
            return plan_network(inputs.sites, steps, threads);
        },
        nb::kw_only(), "inputs"_a, "steps"_a, "threads"_a, Release());
    bind_type<float>(m, "Network32");
    bind_type<double>(m, "Network64");
    m.def(
        "fingerprint_arrays",
        [](const std::vector<std::pair<Address, std::size_t>>& arrays) {
            std::vector<std::pair<const void*, std::size_t>> each;
            for (const auto& [address, bytes] : arrays) each.emplace_back(at<void>(address), bytes);
            return fingerprint(each);
        },
        "arrays"_a, Release(), "A number for what stands in arrays, each an address and its bytes: words of four.");
}

}  // namespace sparse3d::binding
