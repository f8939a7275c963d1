// Winograd's transforms mix the inputs of a block, so one value that is out of proportion would be felt, and one that
// is not a number seen, where no window holds it. Each such value in turn, against loops in double, at every place.
#include <limits>

#include "tests.h"

namespace {

constexpr double kRange = 256;  // what docs/kernels.md states

struct Arrays {
    std::vector<float> features, weight, grad;
};

struct Results {
    std::vector<float> value, g_features, g_weight;
};

Results run(const Scene& s, const Arrays& a, int c, int threads) {
    Results r{std::vector<float>(a.grad.size()), std::vector<float>(a.features.size()),
              std::vector<float>(a.weight.size())};
    const Convolution<float> args{a.features.data(), a.weight.data(), nullptr, nullptr, c, c};
    convolution<float>(s.plan, args, r.value.data(), nullptr, threads);
    convolution_backward<float>(s.plan, args, a.grad.data(), nullptr,
                                {r.g_features.data(), r.g_weight.data(), nullptr, nullptr}, threads);
    return r;
}

// The same in double, and for each number the sum of the magnitudes of its products.
struct Exact {
    std::vector<double> value, g_features, g_weight, value_size, g_features_size, g_weight_size;
};

Exact exact(const Scene& s, const Arrays& a, int channels) {
    const std::size_t c = std::size_t(channels), volume = std::size_t(s.geometry.volume());
    const auto zeros = [](std::size_t n) { return std::vector<double>(n, 0); };
    Exact e{zeros(a.grad.size()), zeros(a.features.size()), zeros(a.weight.size()),
            zeros(a.grad.size()), zeros(a.features.size()), zeros(a.weight.size())};
    for (std::size_t o = 0; o < s.meetings.size(); ++o)
        for (const naive::Meeting& meeting : s.meetings[o])
            for (std::size_t j = 0; j < c && meeting.in >= 0; ++j)
                for (std::size_t i = 0; i < c; ++i) {
                    const std::size_t w = (j * volume + std::size_t(meeting.offset)) * c + i;
                    const std::size_t x = std::size_t(meeting.in) * c + i, y = o * c + j;
                    const double f = double(a.features[x]), k = double(a.weight[w]), g = double(a.grad[y]);
                    e.value[y] += f * k;
                    e.value_size[y] += std::abs(f * k);
                    e.g_features[x] += g * k;
                    e.g_features_size[x] += std::abs(g * k);
                    e.g_weight[w] += f * g;
                    e.g_weight_size[w] += std::abs(f * g);
                }
    return e;
}

// Where products are finite, the error is at most `most` of them; where they are not, the result is not either.
void check_within(const std::vector<float>& got, const std::vector<double>& expected, const std::vector<double>& size,
                  double most, const char* what) {
    bool good = true;
    for (std::size_t i = 0; i < got.size() && good; ++i) {
        if (!std::isfinite(size[i]) || size[i] > 3e38)
            good = !std::isfinite(got[i]) || std::abs(double(got[i]) - expected[i]) <= 1e-5 * size[i];
        else
            good = std::abs(double(got[i]) - expected[i]) <= 1e-5 * size[i] + most;
        if (!good) std::printf("  at %zu: %g for %g, products of %g\n", i, double(got[i]), expected[i], size[i]);
    }
    check(good, what);
}

// All ones but for one value; `most`: what the error may be where only ones and the weights' size of 0.05 meet.
void test_one(const Scene& s, int channels, float value, int where, double most) {
    const std::size_t c = std::size_t(channels), n = s.in.size() / 4, m = s.out.size() / 4;
    Arrays a{std::vector<float>(n * c, 1.0f), random_values<float>(c * std::size_t(s.geometry.volume()) * c),
             std::vector<float>(m * c, 1.0f)};
    std::vector<float>& changed = where == 0 ? a.features : where == 1 ? a.weight : a.grad;
    changed[std::size_t(between(0, int(changed.size()) - 1))] = value;
    scene = std::string(where == 0   ? "a feature"
                        : where == 1 ? "a weight"
                                     : "a gradient") +
            " of " + std::to_string(value) + ", window of " + std::to_string(s.geometry.kernel[0]);
    const Results got = run(s, a, channels, 1), again = run(s, a, channels, 3);
    check(same(got.value, again.value) && same(got.g_features, again.g_features) && same(got.g_weight, again.g_weight),
          "bit-identical for any number of threads");
    const Exact e = exact(s, a, channels);
    check_within(got.value, e.value, e.value_size, most, "values");
    check_within(got.g_features, e.g_features, e.g_features_size, most, "gradient of features");
    // sums over all sites
    check_within(got.g_weight, e.g_weight, e.g_weight_size, most, "gradient of weights");
}

}  // namespace

void test_out_of_proportion() {
    for (const int kernel : {2, 3}) {
        const int padding = kernel == 3 ? 1 : 0, side = 12;
        Geometry g{{kernel, kernel, kernel},
                   {1, 1, 1},
                   {padding, padding, padding},
                   {1, 1, 1},
                   {side, side, side},
                   {},
                   1,
                   false};
        g.out_shape = output_shape(g);
        const Scene s = make_scene(g, 0.9, false, false);
        const float infinity = std::numeric_limits<float>::infinity();
        for (const float value : {1.0f, 1e30f, -3e38f, infinity, -infinity, std::nanf(""), 3e4f, 1000.0f, -255.0f})
            for (int where = 0; where < 3; ++where)
                // weights are at most 1
                test_one(s, 32, value, where, kRange * 1e-6);
    }
}
