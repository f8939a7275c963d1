// A network in one call: its steps one after the other, what lies between them in one piece of memory.
#include "network.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <type_traits>

#include "simd/magnitude.h"
#include "threads.h"

namespace sparse3d {
namespace {

// Where each value lies in one piece of memory: in the first gap among those that are still read when it is written.
struct Arena {
    std::vector<std::size_t> at;
    std::size_t bytes = 0;

    Arena(const std::vector<std::size_t>& sizes, const std::vector<std::size_t>& last_read) {
        for (std::size_t value = 0; value < sizes.size(); ++value) {
            std::vector<std::size_t> live;
            for (std::size_t before = 0; before < value; ++before)
                if (last_read[before] >= value && sizes[before] > 0) live.push_back(before);
            std::sort(live.begin(), live.end(), [&](std::size_t a, std::size_t b) { return at[a] < at[b]; });
            std::size_t begin = 0;
            for (const std::size_t one : live) {
                if (begin + sizes[value] <= at[one]) break;
                begin = std::max(begin, at[one] + sizes[one]);
            }
            at.push_back(begin);
            bytes = std::max(bytes, begin + sizes[value]);
        }
    }
};

std::size_t whole_lines(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

// Infinite where one is not a number.
template <class T>
double largest(const T* values, std::int64_t n) {
    double most = 0;
    if constexpr (std::is_same_v<T, float>)
        most = double(chosen::largest_magnitude(values, n));
    else
        for (std::int64_t i = 0; i < n; ++i)
            if (!(std::abs(double(values[i])) <= most)) most = std::abs(double(values[i]));
    return std::isnan(most) ? HUGE_VAL : most;
}

bool is_pool(Step::Kind kind) { return kind == Step::Kind::max_pool || kind == Step::Kind::avg_pool; }

// Rows and background of a value, and a bound of their magnitude.
template <class T>
struct Value {
    T* rows;
    T* background;  // null for none
    std::int64_t count;
    int channels;
    double bound;
};

template <class T>
class Run {
public:
    Run(const NetworkPlan& plan, const FrozenNetwork<T>& weights, int threads)
        : plan_(plan), weights_(weights.steps()), threads_(threads) {
        if (plan.steps.size() != weights_.size())
            throw std::invalid_argument("plan and weights are of networks with another number of steps");
        std::vector<int> channels{weights_.front().weights.c_in};
        for (std::size_t i = 0; i < weights_.size(); ++i) {
            const Step& step = plan.steps[i].step;
            const StepWeights<T>& own = weights_[i].weights;
            if (step.kind != weights_[i].kind || (step.window && step.window->volume() != weights_[i].volume) ||
                channels[std::size_t(step.input)] != own.c_in ||
                (step.other >= 0 && channels[std::size_t(step.other)] != own.c_out))
                throw std::invalid_argument("plan and weights are of different networks");
            channels.push_back(own.c_out);
        }
    }

    double operator()(const T* features, const T* background, T* result, T* result_background) {
        const std::size_t count = plan_.steps.size();
        std::vector<std::size_t> rows(count), last_read(count);
        std::size_t grounds = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t channels = std::size_t(weights_[i].weights.c_out);
            if (i + 1 < count)
                rows[i] = whole_lines(std::size_t(site_count(plan_.steps[i].out)) * channels * sizeof(T));
            for (const int read : {plan_.steps[i].step.input, plan_.steps[i].step.other})
                if (read > 0) last_read[std::size_t(read) - 1] = i;
            grounds += channels;
        }
        const Arena arena(rows, last_read);
        const Scratchpad pad(arena.bytes);
        std::vector<T> ground(background == nullptr ? 0 : grounds);
        T* next = ground.data();
        // they are only read: a step writes to its own value
        values_ = {{const_cast<T*>(features), const_cast<T*>(background), site_count(plan_.in),
                    weights_.front().weights.c_in, 0}};
        values_[0].bound = look(values_[0]);
        for (std::size_t i = 0; i < count; ++i) {
            const int channels = weights_[i].weights.c_out;
            const bool last = i + 1 == count;
            Value<T> made{last ? result : reinterpret_cast<T*>(pad.bytes_at(arena.at[i])),
                          background == nullptr ? nullptr
                          : last                ? result_background
                                                : next,
                          site_count(plan_.steps[i].out), channels, 0};
            next += background == nullptr ? 0 : channels;
            take(plan_.steps[i], weights_[i], made);
            if (!(made.bound <= kLooked)) made.bound = look(made);
            values_.push_back(made);
        }
        return most_;
    }

private:
    // Above this, what a step made is looked at: a bound from weights alone grows with each layer, values do not.
    static constexpr double kLooked = 1e12;

    double look(const Value<T>& value) const {
        const double rows = largest(value.rows, value.count * value.channels);
        return value.background == nullptr ? rows : std::max(rows, largest(value.background, value.channels));
    }

    // One step, and the bound of what it makes, with some room for what was rounded.
    void take(const StepPlan& plan, const typename FrozenNetwork<T>::Frozen& frozen, Value<T>& made) {
        const Value<T>& input = values_[std::size_t(plan.step.input)];
        const Value<T>* other = plan.step.other < 0 ? nullptr : &values_[std::size_t(plan.step.other)];
        const StepWeights<T>& own = frozen.weights;
        made.bound = 1.01 * (frozen.gain * input.bound + frozen.offset) + (other == nullptr ? 0 : other->bound);
        made.bound *= std::max(1.0, double(own.slope));
        double on_the_way = made.bound;
        switch (plan.step.kind) {
            case Step::Kind::convolution:
                convolve(plan, frozen, input, made);
                on_the_way *= 3;  // a missing input is counted, and taken back where it is none
                break;
            case Step::Kind::max_pool:
                max_pool<T>(*plan.window, input.rows, input.background, input.channels, made.rows, nullptr, threads_);
                break;
            case Step::Kind::avg_pool:
                avg_pool<T>(*plan.window, input.rows, input.background, input.channels, made.rows, threads_);
                on_the_way *= plan.window->geometry.volume();
                break;
            case Step::Kind::scale:
                if (input.background != nullptr)
                    throw std::invalid_argument("rows are scaled without a background, got one");
                scale_rows<T>(input.rows, own.weight, own.bias, other == nullptr ? nullptr : other->rows, input.count,
                              input.channels, own.slope, made.rows, threads_);
                break;
            case Step::Kind::sum: add(input, *other, made); break;
        }
        if (is_pool(plan.step.kind) && made.background != nullptr)
            std::copy_n(input.background, input.channels, made.background);
        if (!(on_the_way <= most_)) most_ = std::isnan(on_the_way) ? HUGE_VAL : on_the_way;
    }

    void convolve(const StepPlan& plan, const typename FrozenNetwork<T>::Frozen& frozen, const Value<T>& input,
                  const Value<T>& made) {
        const StepWeights<T>& own = frozen.weights;
        Convolution<T> args{input.rows, own.weight, own.bias, input.background, own.c_in, own.c_out};
        args.activation = own.slope == 1 ? Activation::none : Activation::leaky_relu;
        args.slope = own.slope;
        args.kept = frozen.kept.get();
        if (plan.pool)
            pooled_convolution<T>(*plan.window, args, *plan.pool, made.rows, nullptr, made.background, threads_);
        else
            convolution<T>(*plan.window, args, made.rows, made.background, threads_);
    }

    void add(const Value<T>& one, const Value<T>& other, const Value<T>& made) const {
        constexpr std::int64_t kPart = 16384;
        const std::int64_t all = one.count * one.channels;
        parallel_for((all + kPart - 1) / kPart, threads_, [&](std::int64_t part, int) {
            for (std::int64_t i = part * kPart; i < std::min(all, (part + 1) * kPart); ++i)
                made.rows[i] = one.rows[i] + other.rows[i];
        });
        for (int c = 0; c < made.channels && made.background != nullptr; ++c)
            made.background[c] = one.background[c] + other.background[c];
    }

    const NetworkPlan& plan_;
    const std::vector<typename FrozenNetwork<T>::Frozen>& weights_;
    int threads_;
    std::vector<Value<T>> values_;
    double most_ = 0;
};

}  // namespace

template <class T>
double run_network(const NetworkPlan& plan, const FrozenNetwork<T>& weights, const T* features, const T* background,
                   T* result, T* result_background, int threads) {
    return Run<T>(plan, weights, threads)(features, background, result, result_background);
}

template double run_network<float>(const NetworkPlan&, const FrozenNetwork<float>&, const float*, const float*, float*,
                                   float*, int);
template double run_network<double>(const NetworkPlan&, const FrozenNetwork<double>&, const double*, const double*,
                                    double*, double*, int);

}  // namespace sparse3d
