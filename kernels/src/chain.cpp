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

template <class T>
void convolution_chain(const std::vector<LayerPlan>& plans, const std::vector<Convolution<T>>& layers, const T* features,
                       const T* background, T* result, T* result_background, int threads) {
    std::unique_ptr<Scratchpad> held;  // what the last layer made
    std::vector<T> ground;
    for (std::size_t i = 0; i < plans.size(); ++i) {
        const LayerPlan& plan = plans[i];
        Convolution<T> layer = layers[i];
        layer.features = features;
        layer.background = background;
        const bool last = i + 1 == plans.size();
        std::unique_ptr<Scratchpad> made;
        if (!last) made = std::make_unique<Scratchpad>(std::size_t(site_count(plan.out())) * std::size_t(layer.c_out) * sizeof(T));
        std::vector<T> made_ground(std::size_t(layer.c_out));
        T* const values = last ? result : made->as<T>();
        T* const of_empty = background == nullptr ? nullptr : last ? result_background : made_ground.data();
        if (plan.pool)
            pooled_convolution<T>(plan.convolution, layer, *plan.pool, values, nullptr, of_empty, threads);
        else
            convolution(plan.convolution, layer, values, of_empty, threads);
        held.swap(made);
        ground.swap(made_ground);
        features = values;
        background = background == nullptr ? nullptr : ground.data();
    }
}

template void convolution_chain<float>(const std::vector<LayerPlan>&, const std::vector<Convolution<float>>&, const float*, const float*, float*,
                                       float*, int);
template void convolution_chain<double>(const std::vector<LayerPlan>&, const std::vector<Convolution<double>>&, const double*, const double*,
                                        double*, double*, int);

}  // namespace sparse3d
