#include <utility>

#include "sparse3d/sparse3d.h"
#include "threads.h"

namespace sparse3d {

std::vector<LayerPlan> plan_chain(const Sites& in, const std::vector<LayerGeometry>& layers, int threads) {
    std::vector<LayerPlan> plans;
    Sites at = in;
    for (const LayerGeometry& layer : layers) {
        const auto next = [&](const Geometry& geometry, bool stays) {
            Plan plan = make_plan(at, stays ? at : output_sites(at, geometry, threads), geometry);
            at = plan.out;
            return plan;
        };
        LayerPlan& made = plans.emplace_back(LayerPlan{next(layer.convolution, layer.submanifold), std::nullopt});
        if (layer.pool) made.pool = next(*layer.pool, false);
    }
    return plans;
}

namespace {

template <class T>
void run_layer(const LayerPlan& plan, const Convolution<T>& layer, const LayerValues<T>& made, int threads) {
    if (plan.pool)
        pooled_convolution<T>(plan.convolution, layer, *plan.pool, made.values, made.rows, made.background, threads);
    else
        convolution(plan.convolution, layer, made.values, made.background, threads);
}

template <class T>
std::unique_ptr<Scratchpad> rows_of(const Sites& sites, int channels) {
    return std::make_unique<Scratchpad>(std::size_t(site_count(sites)) * std::size_t(channels) * sizeof(T));
}

// Call f(number of the layer, which of its three, bytes) for every piece that is kept.
enum class Piece { values, rows, background };
template <class T, class F>
void over_kept(const std::vector<LayerPlan>& plans, const std::vector<Convolution<T>>& layers, F&& f) {
    for (std::size_t i = 0; i < plans.size(); ++i) {
        const std::size_t channels = std::size_t(layers[i].c_out),
                          size = std::size_t(site_count(plans[i].out())) * channels;
        if (plans[i].pool) f(i, Piece::rows, size * sizeof(std::int32_t));
        if (i + 1 == plans.size()) break;
        f(i, Piece::values, size * sizeof(T));
        f(i, Piece::background, channels * sizeof(T));
    }
}

std::size_t whole_lines(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

template <class T>
bool asks(const ConvolutionGradients<T>& result) {
    return result.features != nullptr || result.weight != nullptr || result.bias != nullptr ||
           result.background != nullptr;
}

}  // namespace

template <class T>
void convolution_chain(const std::vector<LayerPlan>& plans, const std::vector<Convolution<T>>& layers,
                       const T* features, const T* background, T* result, T* result_background, int threads) {
    std::unique_ptr<Scratchpad> held;  // what the last layer made
    std::vector<T> ground;
    for (std::size_t i = 0; i < plans.size(); ++i) {
        Convolution<T> layer = layers[i];
        layer.features = features;
        layer.background = background;
        const bool last = i + 1 == plans.size();
        std::unique_ptr<Scratchpad> made;
        if (!last) made = rows_of<T>(plans[i].out(), layer.c_out);
        std::vector<T> made_ground(std::size_t(layer.c_out));
        T* const values = last ? result : made->template as<T>();
        run_layer<T>(plans[i], layer,
                     {values, nullptr,
                      background == nullptr ? nullptr
                      : last                ? result_background
                                            : made_ground.data()},
                     threads);
        held.swap(made);
        ground.swap(made_ground);
        features = values;
        background = background == nullptr ? nullptr : ground.data();
    }
}

template <class T>
std::size_t layer_values_bytes(const std::vector<LayerPlan>& plans, const std::vector<Convolution<T>>& layers) {
    std::size_t all = 0;
    over_kept(plans, layers, [&](std::size_t, Piece, std::size_t bytes) { all += whole_lines(bytes); });
    return all;
}

template <class T>
std::vector<LayerValues<T>> layer_values(const std::vector<LayerPlan>& plans, const std::vector<Convolution<T>>& layers,
                                         void* memory, T* last_values, T* last_background) {
    std::vector<LayerValues<T>> kept(plans.size(), LayerValues<T>{});
    char* next = static_cast<char*>(memory);
    over_kept(plans, layers, [&](std::size_t i, Piece piece, std::size_t bytes) {
        switch (piece) {
            case Piece::values: kept[i].values = reinterpret_cast<T*>(next); break;
            case Piece::rows: kept[i].rows = reinterpret_cast<std::int32_t*>(next); break;
            case Piece::background:
                kept[i].background = last_background == nullptr ? nullptr : reinterpret_cast<T*>(next);
                break;
        }
        next += whole_lines(bytes);
    });
    kept.back().values = last_values;
    kept.back().background = last_background;
    return kept;
}

template <class T>
void convolution_chain(const std::vector<LayerPlan>& plans, const std::vector<Convolution<T>>& layers,
                       const T* features, const T* background, const std::vector<LayerValues<T>>& kept, int threads) {
    for (std::size_t i = 0; i < plans.size(); ++i) {
        Convolution<T> layer = layers[i];
        layer.features = i == 0 ? features : kept[i - 1].values;
        layer.background = i == 0 ? background : kept[i - 1].background;
        run_layer(plans[i], layer, kept[i], threads);
    }
}

template <class T>
void convolution_chain_backward(const std::vector<LayerPlan>& plans, const std::vector<Convolution<T>>& layers,
                                const T* features, const T* background, const std::vector<LayerValues<T>>& kept,
                                const T* grad, const T* grad_background,
                                const std::vector<ConvolutionGradients<T>>& results, int threads) {
    std::size_t first = 0;
    while (first < results.size() && !asks(results[first])) ++first;
    std::unique_ptr<Scratchpad> held;  // the gradient of what lies before the last layer seen
    std::vector<T> ground;
    for (std::size_t i = plans.size(); i-- > first;) {
        const LayerPlan& plan = plans[i];
        Convolution<T> layer = layers[i];
        layer.features = i == 0 ? features : kept[i - 1].values;
        layer.background = i == 0 ? background : kept[i - 1].background;
        if (layer.activation == Activation::leaky_relu) {
            // what the layer after this one made is written over; what the caller gave is not
            if (held == nullptr) held = rows_of<T>(plan.out(), layer.c_out);
            T* const before = held->template as<T>();
            leaky_relu_backward(grad, kept[i].values, layer.slope, site_count(plan.out()) * layer.c_out, before,
                                threads);
            grad = before;
            if (grad_background != nullptr) {
                ground.resize(std::size_t(layer.c_out));
                leaky_relu_backward(grad_background, kept[i].background, layer.slope, layer.c_out, ground.data(), 1);
                grad_background = ground.data();
            }
        }
        ConvolutionGradients<T> result = results[i];
        std::unique_ptr<Scratchpad> made;
        std::vector<T> made_ground(std::size_t(layer.c_in));
        if (i > first) {
            made = rows_of<T>(plan.convolution.in, layer.c_in);
            result.features = made->template as<T>();
            result.background = background == nullptr ? nullptr : made_ground.data();
        }
        if (plan.pool)
            pooled_convolution_backward<T>(plan.convolution, layer, *plan.pool, grad, grad_background, kept[i].rows,
                                           result, threads);
        else
            convolution_backward(plan.convolution, layer, grad, grad_background, result, threads);
        held.swap(made);
        ground.swap(made_ground);
        grad = result.features;
        grad_background = result.background;
    }
}

#define S3D_INSTANTIATE(T)                                                                                          \
    template void convolution_chain<T>(const std::vector<LayerPlan>&, const std::vector<Convolution<T>>&, const T*, \
                                       const T*, T*, T*, int);                                                      \
    template void convolution_chain<T>(const std::vector<LayerPlan>&, const std::vector<Convolution<T>>&, const T*, \
                                       const T*, const std::vector<LayerValues<T>>&, int);                          \
    template std::size_t layer_values_bytes<T>(const std::vector<LayerPlan>&, const std::vector<Convolution<T>>&);  \
    template std::vector<LayerValues<T>> layer_values<T>(const std::vector<LayerPlan>&,                             \
                                                         const std::vector<Convolution<T>>&, void*, T*, T*);        \
    template void convolution_chain_backward<T>(const std::vector<LayerPlan>&, const std::vector<Convolution<T>>&,  \
                                                const T*, const T*, const std::vector<LayerValues<T>>&, const T*,   \
                                                const T*, const std::vector<ConvolutionGradients<T>>&, int);
S3D_INSTANTIATE(float)
S3D_INSTANTIATE(double)

}  // namespace sparse3d
