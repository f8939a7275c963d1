// The site sets of all steps of a network.
#include <stdexcept>
#include <tuple>

#include "sparse3d/sparse3d.h"

namespace sparse3d {
namespace {

bool same_geometry(const Geometry& a, const Geometry& b) {
    const auto all = [](const Geometry& g) {
        return std::tie(g.kernel, g.stride, g.padding, g.dilation, g.in_shape, g.out_shape, g.batch, g.transposed);
    };
    return all(a) == all(b);
}

// The sites that windows make, each set once.
class Written {
public:
    explicit Written(int threads) : threads_(threads) {}

    Sites of(const Sites& in, const Geometry& geometry) {
        for (const Made& one : made_)
            if (one.in == in && same_geometry(one.geometry, geometry)) return one.out;
        return made_.emplace_back(Made{in, output_sites(in, geometry, threads_), geometry}).out;
    }

private:
    struct Made {
        Sites in, out;
        Geometry geometry;
    };
    std::vector<Made> made_;
    int threads_;
};

}  // namespace

NetworkPlan plan_network(const Sites& in, const std::vector<Step>& steps, int threads) {
    if (steps.empty()) throw std::invalid_argument("a network needs at least one step, got none");
    NetworkPlan plan{in, {}};
    Written written(threads);
    const auto sites = [&](int value) -> const Sites& {
        if (value < 0 || value > int(plan.steps.size()))
            throw std::invalid_argument("a step reads a value that no step before it makes");
        return value == 0 ? in : plan.steps[std::size_t(value) - 1].out;
    };
    for (const Step& step : steps) {
        StepPlan made{step, std::nullopt, std::nullopt, sites(step.input)};
        if (step.window) {
            const Sites from = made.out;
            made.out = step.at >= 0 ? sites(step.at) : written.of(from, *step.window);
            made.window = make_plan(from, made.out, *step.window);
        } else if (step.kind != Step::Kind::scale && step.kind != Step::Kind::sum) {
            throw std::invalid_argument("a convolution or pool needs a window, got none");
        }
        if (step.pool) {
            const Sites from = made.out;
            made.out = written.of(from, *step.pool);
            made.pool = make_plan(from, made.out, *step.pool);
        }
        const bool adds = step.other >= 0;
        if (step.kind == Step::Kind::sum && !adds) throw std::invalid_argument("a sum needs two values, got one");
        if (adds && sites(step.other) != made.out && !same_sites(sites(step.other), made.out))
            throw std::invalid_argument("values can be added only at the same sites, in the same order");
        plan.steps.push_back(std::move(made));
    }
    return plan;
}

}  // namespace sparse3d
