// What runs through a plan, for float32 and float64: one class a type, all of its functions static.
#include <nanobind/stl/vector.h>

#include "binding.h"

namespace sparse3d::binding {
namespace {

// A convolution of a chain; a slope of 1 is no activation.
struct Layer {
    Address weight, bias;
    int c_in, c_out;
    double slope;
};
struct LayerGradients {
    Address weight, bias;
};

template <class T>
struct Operators {};

template <class T>
Convolution<T> forward(const Layer& layer, Address features, Address background, bool bfloat16) {
    const Activation activation = layer.slope == 1 ? Activation::none : Activation::leaky_relu;
    Convolution<T> args{at<T>(features), at<T>(layer.weight), at<T>(layer.bias), at<T>(background),
                        layer.c_in,      layer.c_out,         activation,        T(layer.slope)};
    args.bfloat16 = bfloat16;
    return args;
}

template <class T>
std::vector<Convolution<T>> forward(const std::vector<Layer>& chain, bool bfloat16) {
    std::vector<Convolution<T>> layers;
    for (const Layer& layer : chain) layers.push_back(forward<T>(layer, 0, 0, bfloat16));
    return layers;
}

template <class T>
void bind_convolutions(nb::class_<Operators<T>>& of) {
    of.def_static(
        "convolution",
        [](const Plan& plan, const Layer& layer, Address features, Address background, bool bfloat16, Address result,
           Address result_background, int threads) {
            convolution<T>(plan, forward<T>(layer, features, background, bfloat16), at<T>(result),
                           at<T>(result_background), threads);
        },
        nb::kw_only(), "plan"_a, "layer"_a, "features"_a, "background"_a, "bfloat16"_a, "result"_a,
        "result_background"_a, "threads"_a, Release());
    of.def_static(
        "convolution_backward",
        [](const Plan& plan, const Layer& layer, Address features, Address background, Address grad,
           Address grad_background, Address g_features, Address g_weight, Address g_bias, Address g_background,
           int threads) {
            convolution_backward<T>(plan, forward<T>(layer, features, background, false), at<T>(grad),
                                    at<T>(grad_background),
                                    {at<T>(g_features), at<T>(g_weight), at<T>(g_bias), at<T>(g_background)}, threads);
        },
        nb::kw_only(), "plan"_a, "layer"_a, "features"_a, "background"_a, "grad"_a, "grad_background"_a, "g_features"_a,
        "g_weight"_a, "g_bias"_a, "g_background"_a, "threads"_a, Release());
    of.def_static(
        "pooled_convolution",
        [](const Plan& plan, const Plan& pool_plan, const Layer& layer, Address features, Address background,
           bool bfloat16, Address result, Address rows, Address result_background, int threads) {
            pooled_convolution<T>(plan, forward<T>(layer, features, background, bfloat16), pool_plan, at<T>(result),
                                  at<std::int32_t>(rows), at<T>(result_background), threads);
        },
        nb::kw_only(), "plan"_a, "pool_plan"_a, "layer"_a, "features"_a, "background"_a, "bfloat16"_a, "result"_a,
        "rows"_a, "result_background"_a, "threads"_a, Release());
    of.def_static(
        "pooled_convolution_backward",
        [](const Plan& plan, const Plan& pool_plan, const Layer& layer, Address features, Address background,
           Address rows, Address grad, Address grad_background, Address g_features, Address g_weight, Address g_bias,
           Address g_background, int threads) {
            pooled_convolution_backward<T>(plan, forward<T>(layer, features, background, false), pool_plan, at<T>(grad),
                                           at<T>(grad_background), at<std::int32_t>(rows),
                                           {at<T>(g_features), at<T>(g_weight), at<T>(g_bias), at<T>(g_background)},
                                           threads);
        },
        nb::kw_only(), "plan"_a, "pool_plan"_a, "layer"_a, "features"_a, "background"_a, "rows"_a, "grad"_a,
        "grad_background"_a, "g_features"_a, "g_weight"_a, "g_bias"_a, "g_background"_a, "threads"_a, Release());
}

template <class T>
void bind_chains(nb::class_<Operators<T>>& of) {
    of.def_static(
        "convolution_chain",
        [](const Chain& chain, const std::vector<Layer>& layers, Address features, Address background, bool bfloat16,
           Address result, Address result_background, int threads) {
            convolution_chain<T>(chain.plans, forward<T>(layers, bfloat16), at<T>(features), at<T>(background),
                                 at<T>(result), at<T>(result_background), threads);
        },
        nb::kw_only(), "chain"_a, "layers"_a, "features"_a, "background"_a, "bfloat16"_a, "result"_a,
        "result_background"_a, "threads"_a, Release());
    of.def_static(
        "convolution_chain_kept_bytes",
        [](const Chain& chain, const std::vector<Layer>& layers) {
            return layer_values_bytes<T>(chain.plans, forward<T>(layers, false));
        },
        nb::kw_only(), "chain"_a, "layers"_a, "How large `kept` is: what the layers make, but for the last one.");
    of.def_static(
        "convolution_chain_kept",
        [](const Chain& chain, const std::vector<Layer>& layers, Address features, Address background, Address kept,
           Address result, Address result_background, int threads) {
            const auto each = forward<T>(layers, false);
            convolution_chain<T>(
                chain.plans, each, at<T>(features), at<T>(background),
                layer_values<T>(chain.plans, each, at<void>(kept), at<T>(result), at<T>(result_background)), threads);
        },
        nb::kw_only(), "chain"_a, "layers"_a, "features"_a, "background"_a, "kept"_a, "result"_a, "result_background"_a,
        "threads"_a, Release());
    of.def_static(
        "convolution_chain_backward",
        [](const Chain& chain, const std::vector<Layer>& layers, Address features, Address background, Address kept,
           Address result, Address result_background, Address grad, Address grad_background, Address g_features,
           Address g_background, const std::vector<LayerGradients>& g_layers, int threads) {
            const auto each = forward<T>(layers, false);
            std::vector<ConvolutionGradients<T>> gradients;
            for (const auto& [weight, bias] : g_layers)
                gradients.push_back({nullptr, at<T>(weight), at<T>(bias), nullptr});
            gradients.front().features = at<T>(g_features);
            gradients.front().background = at<T>(g_background);
            convolution_chain_backward<T>(
                chain.plans, each, at<T>(features), at<T>(background),
                layer_values<T>(chain.plans, each, at<void>(kept), at<T>(result), at<T>(result_background)),
                at<T>(grad), at<T>(grad_background), gradients, threads);
        },
        nb::kw_only(), "chain"_a, "layers"_a, "features"_a, "background"_a, "kept"_a, "result"_a, "result_background"_a,
        "grad"_a, "grad_background"_a, "g_features"_a, "g_background"_a, "g_layers"_a, "threads"_a, Release());
}

template <class T>
void bind_rows(nb::class_<Operators<T>>& of) {
    of.def_static(
        "leaky_relu_backward",
        [](Address grad, Address values, double slope, std::int64_t count, Address result, int threads) {
            leaky_relu_backward<T>(at<T>(grad), at<T>(values), T(slope), count, at<T>(result), threads);
        },
        nb::kw_only(), "grad"_a, "values"_a, "slope"_a, "count"_a, "result"_a, "threads"_a, Release());
    of.def_static(
        "scale_rows",
        [](Address features, Address scale, Address shift, Address other, std::int64_t rows, int channels, double slope,
           Address result, int threads) {
            scale_rows<T>(at<T>(features), at<T>(scale), at<T>(shift), at<T>(other), rows, channels, T(slope),
                          at<T>(result), threads);
        },
        nb::kw_only(), "features"_a, "scale"_a, "shift"_a, "other"_a, "rows"_a, "channels"_a, "slope"_a, "result"_a,
        "threads"_a, Release());
    of.def_static(
        "row_statistics",
        [](Address features, std::int64_t rows, int channels, Address mean, Address variance, int threads) {
            row_statistics<T>(at<T>(features), rows, channels, at<T>(mean), at<T>(variance), threads);
        },
        nb::kw_only(), "features"_a, "rows"_a, "channels"_a, "mean"_a, "variance"_a, "threads"_a, Release());
    of.def_static(
        "normalized_rows_backward",
        [](Address grad, Address values, Address features, Address mean, Address deviation, Address weight,
           std::int64_t rows, int channels, double slope, Address g_features, Address g_other, Address g_weight,
           Address g_bias, int threads) {
            normalized_rows_backward<T>(at<T>(grad), at<T>(values), at<T>(features), at<T>(mean), at<T>(deviation),
                                        at<T>(weight), rows, channels, T(slope),
                                        {at<T>(g_features), at<T>(g_other), at<T>(g_weight), at<T>(g_bias)}, threads);
        },
        nb::kw_only(), "grad"_a, "values"_a, "features"_a, "mean"_a, "deviation"_a, "weight"_a, "rows"_a, "channels"_a,
        "slope"_a, "g_features"_a, "g_other"_a, "g_weight"_a, "g_bias"_a, "threads"_a, Release());
}

template <class T>
void bind_pools(nb::class_<Operators<T>>& of) {
    of.def_static(
        "max_pool",
        [](const Plan& plan, Address features, Address background, int channels, Address values, Address rows,
           int threads) {
            max_pool<T>(plan, at<T>(features), at<T>(background), channels, at<T>(values), at<std::int32_t>(rows),
                        threads);
        },
        nb::kw_only(), "plan"_a, "features"_a, "background"_a, "channels"_a, "values"_a, "rows"_a, "threads"_a,
        Release());
    of.def_static(
        "max_pool_backward",
        [](const Plan& plan, Address grad, Address rows, int channels, Address g_features, Address g_background,
           int threads) {
            max_pool_backward<T>(plan, at<T>(grad), at<std::int32_t>(rows), channels, at<T>(g_features),
                                 at<T>(g_background), threads);
        },
        nb::kw_only(), "plan"_a, "grad"_a, "rows"_a, "channels"_a, "g_features"_a, "g_background"_a, "threads"_a,
        Release());
    of.def_static(
        "avg_pool",
        [](const Plan& plan, Address features, Address background, int channels, Address values, int threads) {
            avg_pool<T>(plan, at<T>(features), at<T>(background), channels, at<T>(values), threads);
        },
        nb::kw_only(), "plan"_a, "features"_a, "background"_a, "channels"_a, "values"_a, "threads"_a, Release());
    of.def_static(
        "avg_pool_backward",
        [](const Plan& plan, Address grad, int channels, bool over_active, Address g_features, Address g_background,
           int threads) {
            avg_pool_backward<T>(plan, at<T>(grad), channels, over_active, at<T>(g_features), at<T>(g_background),
                                 threads);
        },
        nb::kw_only(), "plan"_a, "grad"_a, "channels"_a, "over_active"_a, "g_features"_a, "g_background"_a, "threads"_a,
        Release());
}

template <class T>
void bind_type(nb::module_& m, const char* name) {
    nb::class_<Operators<T>> of(m, name, "The operators for one type; arrays are addresses, 0 for one that is absent.");
    bind_convolutions(of);
    bind_chains(of);
    bind_rows(of);
    bind_pools(of);
}

}  // namespace

void bind_operators(nb::module_& m) {
    nb::class_<Layer>(m, "Layer", "weight (c_out, kz, ky, kx, c_in), bias (c_out) or 0; a slope of 1: no activation.")
        .def(
            "__init__",
            [](Layer* self, Address weight, Address bias, int c_in, int c_out, double slope) {
                new (self) Layer{weight, bias, c_in, c_out, slope};
            },
            nb::kw_only(), "weight"_a, "bias"_a, "c_in"_a, "c_out"_a, "slope"_a);
    nb::class_<LayerGradients>(m, "LayerGradients", "Where they are written; 0 for one that nobody asks for.")
        .def(
            "__init__",
            [](LayerGradients* self, Address weight, Address bias) { new (self) LayerGradients{weight, bias}; },
            nb::kw_only(), "weight"_a, "bias"_a);
    bind_type<float>(m, "Float32");
    bind_type<double>(m, "Float64");
}

}  // namespace sparse3d::binding
