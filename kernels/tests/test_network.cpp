// A whole network in one call against its steps one after the other.
#include <limits>
#include <stdexcept>

#include "tests.h"

namespace {

Step convolution_step(int input, const Geometry& window, int at = -1) {
    return {Step::Kind::convolution, input, window, at, std::nullopt, -1};
}

template <class T>
double largest_of(const std::vector<T>& values) {
    double most = 0;
    for (const T value : values) most = std::max(most, std::abs(double(value)));
    return most;
}

template <class F>
void check_refused(F&& call, const char* what) {
    try {
        call();
        check(false, what);
    } catch (const std::invalid_argument&) {
    }
}

}  // namespace

// A convolution, then a branch that goes through a strided pool and back to the sites it left, and its sum with what
// went past it; without a background, normalised on the way.
template <class T>
void test_network(const Scene& s, int c_in, int c_out, bool with_background) {
    const std::array<int, 3> shape = s.geometry.out_shape;
    const int batch = s.geometry.batch;
    const Geometry same_grid{{3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, shape, shape, batch, false};
    Geometry pool{{2, 2, 2}, {2, 2, 1}, {1, 1, 1}, {1, 1, 1}, shape, {}, batch, false};
    pool.out_shape = output_shape(pool);
    Geometry up = pool.reversed();
    const std::size_t n = s.in.size() / 4, ci = std::size_t(c_in), co = std::size_t(c_out),
                      volume = std::size_t(s.geometry.volume());
    const std::vector<T> features = random_values<T>(n * ci), first = random_values<T>(co * volume * ci),
                         second = random_values<T>(27 * co * co), third = random_values<T>(8 * co * co),
                         bias = random_values<T>(co), scale = random_values<T>(co), shift = random_values<T>(co),
                         ground = random_values<T>(ci);
    const T* background = with_background ? ground.data() : nullptr;

    std::vector<Step> steps{convolution_step(0, s.geometry),
                            {Step::Kind::max_pool, 1, pool, -1, std::nullopt, -1},
                            {Step::Kind::avg_pool, 1, pool, -1, std::nullopt, -1},
                            {Step::Kind::sum, 2, std::nullopt, -1, std::nullopt, 3},
                            convolution_step(4, up, 1),
                            convolution_step(5, same_grid, 5),
                            {Step::Kind::sum, 6, std::nullopt, -1, std::nullopt, 1}};
    if (!with_background) steps.back().kind = Step::Kind::scale;
    const StepWeights<T> none{nullptr, nullptr, c_out, c_out};
    std::vector<StepWeights<T>> weights(steps.size(), none);
    weights[0] = {first.data(), bias.data(), c_in, c_out, T(0.25)};
    weights[4] = {third.data(), nullptr, c_out, c_out};
    weights[5] = {second.data(), bias.data(), c_out, c_out, T(0)};
    if (!with_background) weights[6] = {scale.data(), shift.data(), c_out, c_out, T(0)};

    const NetworkPlan plan = plan_network(s.plan.in, steps, 2);
    check(plan.steps[1].out == plan.steps[2].out, "sites that two steps make in the same way");
    const auto frozen = freeze_network<T>(steps, weights);
    const std::size_t m = std::size_t(site_count(plan.out()));
    for (int threads : {1, 3}) {
        std::vector<T> got(m * co), got_background(co);
        const double bound = run_network<T>(plan, *frozen, features.data(), background, got.data(),
                                            with_background ? got_background.data() : nullptr, threads);

        const Plan &in = *plan.steps[0].window, &down = *plan.steps[1].window;
        const std::size_t p = std::size_t(site_count(down.out));
        std::vector<T> skip(m * co), ground_1(co), largest(p * co), mean(largest), back(m * co), ground_2(co),
            expected(m * co), ground_3(co), lower(co);
        const auto of = [&](const std::vector<T>& one) { return with_background ? one.data() : nullptr; };
        Convolution<T> a{features.data(), first.data(), bias.data(), background, c_in, c_out};
        a.activation = Activation::leaky_relu;
        a.slope = T(0.25);
        convolution(in, a, skip.data(), ground_1.data(), threads);
        max_pool<T>(down, skip.data(), of(ground_1), c_out, largest.data(), nullptr, threads);
        avg_pool<T>(down, skip.data(), of(ground_1), c_out, mean.data(), threads);
        for (std::size_t i = 0; i < p * co; ++i) largest[i] += mean[i];
        for (std::size_t c = 0; c < co; ++c) lower[c] = ground_1[c] + ground_1[c];
        Convolution<T> b{largest.data(), third.data(), nullptr, of(lower), c_out, c_out};
        convolution(*plan.steps[4].window, b, back.data(), ground_2.data(), threads);
        Convolution<T> c{back.data(), second.data(), bias.data(), of(ground_2), c_out, c_out};
        c.activation = Activation::leaky_relu;
        convolution(*plan.steps[5].window, c, expected.data(), ground_3.data(), threads);
        const double before_last =
            std::max({largest_of(skip), largest_of(largest), largest_of(back), largest_of(expected)});
        if (with_background)
            for (std::size_t i = 0; i < m * co; ++i) expected[i] += skip[i];
        else
            scale_rows<T>(expected.data(), scale.data(), shift.data(), skip.data(), std::int64_t(m), c_out, T(0),
                          expected.data(), threads);
        for (std::size_t i = 0; i < co; ++i) ground_3[i] += ground_1[i];
        check(same(got, expected), "a network in one call");
        check(!with_background || same(got_background, ground_3), "background of a network in one call");
        check(bound >= before_last && bound >= largest_of(got) && bound < 1e30, "bound of what a network makes");
    }

    if (with_background) {  // what was kept of another background is not used
        const std::vector<T> other_ground = random_values<T>(ci);
        std::vector<T> got(m * co), got_background(co), expected(got), expected_background(co);
        const auto run = [&](const auto& network, std::vector<T>& values, std::vector<T>& made) {
            run_network<T>(plan, network, features.data(), other_ground.data(), values.data(), made.data(), 2);
        };
        run(*frozen, got, got_background);
        run(*freeze_network<T>(steps, weights), expected, expected_background);
        check(same(got, expected) && same(got_background, expected_background), "another background");
    }

    if (n == 0 || c_in > 2) return;  // the rest does not follow the sizes
    std::vector<T> large = first, got(m * co), got_background(co);
    large[0] = std::numeric_limits<T>::max();
    weights[0].weight = large.data();
    const auto run = [&] {
        return run_network<T>(plan, *freeze_network<T>(steps, weights), features.data(), background, got.data(),
                              with_background ? got_background.data() : nullptr, 2);
    };
    check(!(run() < 1e30), "bound of what may grow too large");
    large[0] = std::numeric_limits<T>::quiet_NaN();
    check(!(run() < 1e30), "bound where a weight is not a number");
    std::fill(large.begin(), large.end(), T(7));  // a network that was frozen is what it was
    std::vector<T> again(got);
    run_network<T>(plan, *frozen, features.data(), background, got.data(),
                   with_background ? got_background.data() : nullptr, 1);
    run_network<T>(plan, *frozen, features.data(), background, again.data(),
                   with_background ? got_background.data() : nullptr, 3);
    check(same(got, again), "a frozen network");
}

template void test_network<float>(const Scene&, int, int, bool);
template void test_network<double>(const Scene&, int, int, bool);

void test_network_refusals() {
    scene = "refusals of networks";
    const std::int32_t one[] = {0, 1, 1, 1}, elsewhere[] = {0, 2, 1, 1};
    const Sites sites = index_sites(one, 1, 1, {4, 4, 4}, 1), others = index_sites(elsewhere, 1, 1, {4, 4, 4}, 1);
    const Geometry window{{3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {4, 4, 4}, {4, 4, 4}, 1, false};
    Geometry other_grid = window;
    other_grid.in_shape = {5, 5, 5};
    const Step sum{Step::Kind::sum, 0, std::nullopt, -1, std::nullopt, 1}, conv = convolution_step(0, window);
    check_refused([&] { plan_network(sites, {}, 1); }, "a network without steps is refused");
    check_refused([&] { plan_network(sites, {convolution_step(1, window)}, 1); }, "a step before its input is refused");
    check_refused([&] { plan_network(sites, {convolution_step(-1, window)}, 1); }, "no input is refused");
    check_refused([&] { plan_network(sites, {convolution_step(0, other_grid)}, 1); }, "another grid is refused");
    check_refused([&] { plan_network(sites, {conv, sum}, 1); }, "a sum over other sites is refused");
    check_refused([&] { plan_network(sites, {{Step::Kind::sum, 0, {}, -1, {}, -1}}, 1); }, "half a sum is refused");
    check_refused([&] { plan_network(sites, {{Step::Kind::max_pool, 0, {}, -1, {}, -1}}, 1); },
                  "a pool without a window is refused");
    plan_network(sites, {convolution_step(0, window, 0), sum}, 1);

    const std::vector<float> weight(27 * 4), features(4), background(2);
    std::vector<float> result(4);
    const StepWeights<float> given{weight.data(), nullptr, 2, 2};
    check_refused([&] { freeze_network<float>({conv}, {}); }, "steps without weights are refused");
    check_refused([&] { freeze_network<float>({conv}, {{nullptr, nullptr, 2, 2}}); }, "no weight is refused");
    check_refused([&] { freeze_network<float>({sum}, {{nullptr, nullptr, 2, 3}}); }, "other channels are refused");
    const NetworkPlan plan = plan_network(sites, {convolution_step(0, window, 0)}, 1);
    const auto frozen = freeze_network<float>({conv}, {given});
    run_network<float>(plan, *frozen, features.data(), nullptr, result.data(), nullptr, 1);
    const auto two = freeze_network<float>({conv, conv}, {given, given});
    check_refused([&] { run_network<float>(plan, *two, features.data(), nullptr, result.data(), nullptr, 1); },
                  "weights of another network are refused");
    const Step scale{Step::Kind::scale, 0, std::nullopt, -1, std::nullopt, -1};
    const NetworkPlan scaled = plan_network(others, {scale}, 1);
    const auto by = freeze_network<float>({scale}, {{weight.data(), weight.data(), 2, 2}});
    std::vector<float> ground(2);
    check_refused(
        [&] { run_network<float>(scaled, *by, features.data(), background.data(), result.data(), ground.data(), 1); },
        "rows with a background are not scaled");
    const float values[] = {1, 2, 3}, changed[] = {1, 2, 4};
    check(fingerprint({{values, 12}}) != fingerprint({{changed, 12}}), "fingerprint of other values");
    check(fingerprint({{values, 4}, {changed, 4}}) != fingerprint({{values, 8}}), "fingerprint of other arrays");
}
