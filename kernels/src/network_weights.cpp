#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "network.h"
#include "simd/fingerprint.h"

namespace sparse3d {
namespace {

// Numbers of `weight` and `bias`.
template <class T>
std::pair<std::size_t, std::size_t> sizes(const Step& step, const StepWeights<T>& weights) {
    const std::size_t channels = std::size_t(weights.c_out);
    switch (step.kind) {
        case Step::Kind::convolution:
            return {channels * std::size_t(step.window->volume()) * std::size_t(weights.c_in),
                    weights.bias == nullptr ? 0 : channels};
        case Step::Kind::scale: return {channels, channels};
        default: return {0, 0};
    }
}

// The largest sum of magnitudes among rows of `each` numbers; infinite where one is not a number.
template <class T>
double largest_row(const T* values, std::size_t rows, std::size_t each) {
    double largest = 0;
    for (std::size_t row = 0; row < rows; ++row) {
        double sum = 0;
        for (std::size_t i = 0; i < each; ++i) sum += std::abs(double(values[row * each + i]));
        if (!(sum <= largest)) largest = std::isnan(sum) ? HUGE_VAL : sum;
    }
    return largest;
}

}  // namespace

template <class T>
FrozenNetwork<T>::FrozenNetwork(const std::vector<Step>& steps, const std::vector<StepWeights<T>>& weights) {
    if (steps.size() != weights.size())
        throw std::invalid_argument("each step of a network has its weights, got another number of them");
    std::size_t all = 0;
    for (std::size_t i = 0; i < steps.size(); ++i) {
        const StepWeights<T>& given = weights[i];
        const bool changes = steps[i].kind == Step::Kind::convolution;
        if (given.c_in < 1 || given.c_out < 1 || (!changes && given.c_in != given.c_out) ||
            (changes && !steps[i].window) || ((changes || steps[i].kind == Step::Kind::scale) && !given.weight))
            throw std::invalid_argument("a step has no such weights");
        const auto [weight, bias] = sizes(steps[i], given);
        all += weight + bias;
    }
    memory_.resize(all);
    T* next = memory_.data();
    const auto copied = [&](const T* from, std::size_t count) -> const T* {
        T* const to = next;
        next = std::copy_n(from, count, to);
        return count == 0 ? nullptr : to;
    };
    for (std::size_t i = 0; i < steps.size(); ++i) {
        const auto [weight, bias] = sizes(steps[i], weights[i]);
        StepWeights<T> own = weights[i];
        own.weight = copied(own.weight, weight);
        own.bias = copied(own.bias, bias);
        const std::size_t rows = std::size_t(own.c_out);
        steps_.push_back({steps[i].kind, own, steps[i].window ? steps[i].window->volume() : 1,
                          own.weight == nullptr ? 1 : largest_row(own.weight, rows, weight / rows),
                          largest_row(own.bias, bias, 1), std::make_unique<KeptWeights<T>>()});
    }
}

template <class T>
std::shared_ptr<const FrozenNetwork<T>> freeze_network(const std::vector<Step>& steps,
                                                       const std::vector<StepWeights<T>>& weights) {
    return std::make_shared<const FrozenNetwork<T>>(steps, weights);
}

std::uint64_t fingerprint(const std::vector<std::pair<const void*, std::size_t>>& arrays) {
    std::uint64_t all = arrays.size();
    for (const auto& [array, bytes] : arrays)
        all = (all ^ chosen::fingerprint(static_cast<const std::int32_t*>(array), std::int64_t(bytes / 4))) *
              0x9e3779b97f4a7c15u;
    return all;
}

template class FrozenNetwork<float>;
template class FrozenNetwork<double>;
template std::shared_ptr<const FrozenNetwork<float>> freeze_network(const std::vector<Step>&,
                                                                    const std::vector<StepWeights<float>>&);
template std::shared_ptr<const FrozenNetwork<double>> freeze_network(const std::vector<Step>&,
                                                                     const std::vector<StepWeights<double>>&);

}  // namespace sparse3d
