// Every operator against naive loops in double, over random and awkward geometries; bit-identity over thread counts.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "naive.h"

using namespace sparse3d;
using Sites4 = std::vector<std::int32_t>;

namespace {

int failures = 0;
std::string scene;

void check(bool ok, const char* what) {
    if (ok) return;
    ++failures;
    std::printf("FAILED %s: %s\n", scene.c_str(), what);
}

std::mt19937 random_bits(7);
double uniform() { return std::uniform_real_distribution<double>(-1, 1)(random_bits); }
int between(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_bits); }

template <class T>
std::vector<T> random_values(std::size_t n) {
    std::vector<T> v(n);
    for (T& x : v) x = T(uniform());
    return v;
}

Sites4 random_sites(int batch, std::array<int, 3> s, double density, bool shuffled) {
    std::vector<std::array<std::int32_t, 4>> sites;
    for (int b = 0; b < batch; ++b)
        for (int z = 0; z < s[0]; ++z)
            for (int y = 0; y < s[1]; ++y)
                for (int x = 0; x < s[2]; ++x)
                    if ((uniform() + 1) / 2 < density) sites.push_back({b, z, y, x});
    if (shuffled) std::shuffle(sites.begin(), sites.end(), random_bits);
    Sites4 flat;
    for (const auto& site : sites) flat.insert(flat.end(), site.begin(), site.end());
    return flat;
}

template <class T>
double tolerance() {
    return std::is_same_v<T, float> ? 4e-6 : 2e-13;
}

// Largest difference, relative to the largest expected value.
template <class T>
void check_close(const std::vector<T>& got, const std::vector<double>& expected, double factor, const char* what,
                 double scale = 1e-3) {
    double largest = scale, difference = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        largest = std::max(largest, std::abs(expected[i]));
        difference = std::max(difference, std::abs(double(got[i]) - expected[i]));
        if (std::isnan(double(got[i]))) difference = 1e300;
    }
    if (difference > factor * tolerance<T>() * largest) std::printf("  difference %g of %g\n", difference, largest);
    check(difference <= factor * tolerance<T>() * largest, what);
}

template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

struct Scene {
    Geometry geometry;
    Sites4 in, out;
    Plan plan;
    std::vector<std::vector<naive::Meeting>> meetings;
};

Scene make_scene(const Geometry& g, double density, bool shuffled, bool random_outputs) {
    Scene s{g, random_sites(g.batch, g.in_shape, density, shuffled), {}, {}, {}};
    const Sites in = index_sites(s.in.data(), std::int64_t(s.in.size() / 4), g.batch, g.in_shape, 2);
    Sites out = output_sites(in, g, 2);
    s.out.resize(std::size_t(site_count(out)) * 4);
    write_sites(out, s.out.data(), 2);
    check(s.out == naive::output_sites(g, s.in), "output sites");
    if (random_outputs) {
        s.out = random_sites(g.batch, g.out_shape, density, shuffled);
        out = index_sites(s.out.data(), std::int64_t(s.out.size() / 4), g.batch, g.out_shape, 2);
    }
    s.plan = make_plan(in, out, g);
    s.meetings = naive::meetings(g, s.in, s.out);
    return s;
}

void test_neighbours(const Scene& s) {
    const std::size_t m = s.out.size() / 4;
    std::vector<std::int32_t> table(std::size_t(s.geometry.volume()) * m, -7), expected(table.size(), -1);
    write_neighbours(s.plan, table.data(), 2);
    for (const auto& of : s.meetings)
        for (const auto& meeting : of)
            expected[std::size_t(meeting.offset) * m + std::size_t(meeting.out)] = meeting.in;
    check(table == expected, "neighbours");
}

template <class T>
void test_convolution(const Scene& s, int c_in, int c_out, bool with_bias, bool with_background) {
    const std::size_t n = s.in.size() / 4, m = s.out.size() / 4, volume = std::size_t(s.geometry.volume());
    const std::size_t ci = std::size_t(c_in), co = std::size_t(c_out);
    const std::vector<T> features = random_values<T>(n * ci), weight = random_values<T>(co * volume * ci),
                         bias = random_values<T>(co), background = random_values<T>(ci),
                         grad = random_values<T>(m * co);
    Convolution<T> args{features.data(),
                        weight.data(),
                        with_bias ? bias.data() : nullptr,
                        with_background ? background.data() : nullptr,
                        c_in,
                        c_out};

    std::vector<double> value(m * co, 0), g_features(n * ci, 0), g_weight(weight.size(), 0), g_bias(co, 0),
        g_background(ci, 0);
    for (std::size_t o = 0; o < m; ++o)
        for (std::size_t c = 0; c < co; ++c) {
            const double g = double(grad[o * co + c]);
            double sum = with_bias ? double(bias[c]) : 0;
            g_bias[c] += g;
            for (const naive::Meeting& meeting : s.meetings[o]) {
                if (meeting.in < 0 && !with_background) continue;
                const T* x = meeting.in < 0 ? background.data() : features.data() + std::size_t(meeting.in) * ci;
                double* gx = meeting.in < 0 ? g_background.data() : g_features.data() + std::size_t(meeting.in) * ci;
                const std::size_t w = (c * volume + std::size_t(meeting.offset)) * ci;
                for (std::size_t i = 0; i < ci; ++i) {
                    sum += double(weight[w + i]) * double(x[i]);
                    g_weight[w + i] += g * double(x[i]);
                    gx[i] += g * double(weight[w + i]);
                }
            }
            value[o * co + c] = sum;
        }
    // a window that sees no site: bias, and all weights times the background
    const std::vector<T> grad_of_background = random_values<T>(co);
    std::vector<double> empty_window(co, 0);
    for (std::size_t c = 0; c < co; ++c) {
        empty_window[c] = with_bias ? double(bias[c]) : 0;
        g_bias[c] += double(grad_of_background[c]);
        for (std::size_t w = 0; with_background && w < volume * ci; ++w) {
            empty_window[c] += double(weight[c * volume * ci + w]) * double(background[w % ci]);
            g_weight[c * volume * ci + w] += double(grad_of_background[c]) * double(background[w % ci]);
            g_background[w % ci] += double(grad_of_background[c]) * double(weight[c * volume * ci + w]);
        }
    }
    std::vector<T> first, first_gradients;
    for (int threads : {1, 2, 3, 8}) {
        std::vector<T> result(m * co, T(77)), made_background(co);
        convolution(s.plan, args, result.data(), made_background.data(), threads);
        std::vector<T> gradients(n * ci + weight.size() + co + ci, T(77));
        T* p = gradients.data();
        convolution_backward<T>(
            s.plan, args, grad.data(), grad_of_background.data(),
            {p, p + n * ci, p + n * ci + weight.size(), with_background ? p + n * ci + weight.size() + co : nullptr},
            threads);
        if (threads == 1) {
            first = result;
            first_gradients = gradients;
            check_close(result, value, 1, "convolution");
            check_close(made_background, empty_window, 1, "background of the output");
            const auto cut = [&](std::size_t from, std::size_t size) {
                return std::vector<T>(p + from, p + from + size);
            };
            check_close(cut(0, n * ci), g_features, 1, "gradient of features");
            check_close(cut(n * ci, weight.size()), g_weight, 2, "gradient of weight");
            check_close(cut(n * ci + weight.size(), co), g_bias, 2, "gradient of bias");
            // a difference of sums over all rows: exact to the size of those
            if (with_background)
                check_close(cut(n * ci + weight.size() + co, ci), g_background, 4, "gradient of background",
                            std::sqrt(double(m * co)));
        }
        check(same(result, first), "convolution is bit-identical for any number of threads");
        check(same(gradients, first_gradients), "gradients are bit-identical for any number of threads");
    }

    args.activation = Activation::leaky_relu;
    args.slope = T(0.25);
    std::vector<T> activated(m * co);
    convolution<T>(s.plan, args, activated.data(), nullptr, 2);
    for (T& v : first) v = v > 0 ? v : T(0.25) * v;
    check(same(activated, first), "fused activation");
    std::vector<T> back(m * co), slow_back(m * co);
    leaky_relu_backward(grad.data(), first.data(), T(0.25), std::int64_t(m * co), back.data(), 2);
    for (std::size_t i = 0; i < m * co; ++i) slow_back[i] = (first[i] > 0 ? T(1) : T(0.25)) * grad[i];
    check(same(back, slow_back), "gradient of the activation");
}

// To the nearest bfloat16, of two equally near to the even one, with nothing of the library's bits: 8 binary digits.
double to_bfloat16(double value) {
    int exponent;
    const double fraction = std::frexp(value, &exponent);
    return std::ldexp(std::nearbyint(std::ldexp(fraction, 8)), exponent - 8);
}

std::vector<double> to_bfloat16(const std::vector<float>& values) {
    std::vector<double> rounded(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) rounded[i] = to_bfloat16(double(values[i]));
    return rounded;
}

// Products of bfloat16 against rounded numbers multiplied in double; and, whichever way a layer takes, the error
// against the numbers as they were: two roundings of at most 2^-8 each in every product.
void test_bfloat16(const Scene& s, int c_in, int c_out, bool with_background) {
    const std::size_t n = s.in.size() / 4, m = s.out.size() / 4, volume = std::size_t(s.geometry.volume());
    const std::size_t ci = std::size_t(c_in), co = std::size_t(c_out);
    const std::vector<float> features = random_values<float>(n * ci), weight = random_values<float>(co * volume * ci),
                             bias = random_values<float>(co), background = random_values<float>(ci);
    Convolution<float> args{
        features.data(), weight.data(), bias.data(), with_background ? background.data() : nullptr, c_in, c_out};
    args.bfloat16 = true;
    std::vector<float> first, first_background;
    for (int threads : {1, 3}) {
        std::vector<float> result(m * co), made_background(co);
        convolution(s.plan, args, result.data(), made_background.data(), threads);
        if (threads == 1) {
            first = result;
            first_background = made_background;
        }
        check(same(result, first) && same(made_background, first_background),
              "bfloat16 is bit-identical for any number of threads");
    }
    const std::vector<double> r_features = to_bfloat16(features), r_weight = to_bfloat16(weight),
                              r_background = to_bfloat16(background);
    std::vector<double> rounded(m * co), empty_window(co);
    bool bounded = true;
    for (std::size_t o = 0; o < m; ++o)
        for (std::size_t c = 0; c < co; ++c) {
            double sum = double(bias[c]), exact = sum, size = 0;
            for (const naive::Meeting& meeting : s.meetings[o]) {
                if (meeting.in < 0 && !with_background) continue;
                const std::size_t at = (c * volume + std::size_t(meeting.offset)) * ci;
                const float *x = meeting.in < 0 ? background.data() : features.data() + std::size_t(meeting.in) * ci,
                            *w = weight.data() + at;
                const double* r =
                    meeting.in < 0 ? r_background.data() : r_features.data() + std::size_t(meeting.in) * ci;
                for (std::size_t i = 0; i < ci; ++i) {
                    sum += r_weight[at + i] * r[i];
                    exact += double(w[i]) * double(x[i]);
                    size += std::abs(double(w[i]) * double(x[i]));
                }
            }
            rounded[o * co + c] = sum;
            if (!(std::abs(double(first[o * co + c]) - exact) <= size * 0.0079 + 1e-4)) bounded = false;
        }
    check(bounded, "bfloat16 stays within two roundings of each product");
    const Geometry& g = s.geometry;
    const bool few = c_in <= 4 && !g.transposed;
    const bool may_be_winograd =
        g.kernel == std::array<int, 3>{3, 3, 3} && g.stride == std::array<int, 3>{1, 1, 1} && c_in >= 16 && c_out >= 16;
    if (few || may_be_winograd || m == 0) return;
    check_close(first, rounded, 2, "bfloat16");
    if (g.transposed) return;
    for (std::size_t c = 0; c < co; ++c) {
        empty_window[c] = double(bias[c]);
        for (std::size_t w = 0; with_background && w < volume * ci; ++w)
            empty_window[c] += r_weight[c * volume * ci + w] * r_background[w % ci];
    }
    check_close(first_background, empty_window, 2, "background of the output, bfloat16");
}

// Numbers that rounding treats apart: halfway, subnormal in bfloat16's last place, infinite, none.
void test_rounding_to_bfloat16() {
    scene = "rounding to bfloat16";
    const Geometry g{{1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, 1, false};
    const std::int32_t site[] = {0, 0, 0, 0};
    const Sites sites = index_sites(site, 1, 1, {1, 1, 1}, 1);
    const Plan plan = make_plan(sites, sites, g);
    std::vector<float> weight(5 * 5, 0.0f), features(5);
    for (std::size_t i = 0; i < 5; ++i) weight[i * 5 + i] = 1;
    Convolution<float> args{features.data(), weight.data(), nullptr, nullptr, 5, 5};
    args.bfloat16 = true;
    const auto rounds = [&](float value) {
        features = {value, 0, 0, 0, 0};
        float result[5];
        convolution<float>(plan, args, result, nullptr, 1);
        return result[0];
    };
    for (float value : {1.0f, -1.00390625f, 1.01171875f, 0.99609375f, 255.5f, 3e38f, 1.17549435e-38f, 65537.0f, -0.1f})
        check(double(rounds(value)) == to_bfloat16(double(value)), "to the nearest, then to even");
    check(rounds(3.4e38f) > 3.4e38f, "beyond the largest is infinite");
    features = {0, 0, 0, 0, std::numeric_limits<float>::quiet_NaN()};
    float result[5];
    convolution<float>(plan, args, result, nullptr, 1);
    check(std::isnan(result[4]), "not a number stays none");
}

template <class T>
void test_pools(const Scene& s, int channels, bool with_background) {
    const std::size_t n = s.in.size() / 4, m = s.out.size() / 4, c = std::size_t(channels);
    std::vector<T> features = random_values<T>(n * c), background = random_values<T>(c);
    const std::vector<T> grad = random_values<T>(m * c);
    // ties, so that the first offset has to win
    for (T& v : features) v = T(std::round(v * 4) / 4);
    for (T& v : background) v = T(std::round(v * 4) / 4);

    std::vector<T> maximum(m * c), g_max(n * c, 0);
    std::vector<std::int32_t> origin(m * c);
    std::vector<double> mean(m * c), gm_features(n * c, 0), gm_background(c, 0), ga_features(n * c, 0),
        ga_background(c, 0);
    for (std::size_t o = 0; o < m; ++o)
        for (std::size_t j = 0; j < c; ++j) {
            T best = 0;
            int from = -1, members = 0;
            double sum = 0;
            for (const naive::Meeting& meeting : s.meetings[o]) {
                if (meeting.in < 0 && !with_background) continue;
                const T v = meeting.in < 0 ? background[j] : features[std::size_t(meeting.in) * c + j];
                if (members == 0 || v > best) {
                    best = v;
                    from = meeting.in;
                }
                sum += double(v);
                ++members;
            }
            maximum[o * c + j] = best;
            origin[o * c + j] = from;
            mean[o * c + j] = members ? sum / members : 0;
            const double g = double(grad[o * c + j]);
            (from < 0 ? gm_background[j] : gm_features[std::size_t(from) * c + j]) += g;
            for (const naive::Meeting& meeting : s.meetings[o]) {
                if (meeting.in < 0 && !with_background) continue;
                (meeting.in < 0 ? ga_background[j] : ga_features[std::size_t(meeting.in) * c + j]) += g / members;
            }
        }

    std::vector<T> first;
    for (int threads : {1, 2, 8}) {
        std::vector<T> got(m * c), averaged(m * c), g_features(n * c), g_background(c), a_features(n * c),
            a_background(c);
        std::vector<std::int32_t> rows(m * c);
        max_pool(s.plan, features.data(), with_background ? background.data() : nullptr, channels, got.data(),
                 rows.data(), threads);
        check(same(got, maximum), "max pool");
        check(same(rows, origin), "origin of the maximum");
        max_pool_backward(s.plan, grad.data(), rows.data(), channels, g_features.data(), g_background.data(), threads);
        check_close(g_features, gm_features, 2, "max pool gradient of features");
        check_close(g_background, gm_background, 2, "max pool gradient of background");
        avg_pool(s.plan, features.data(), with_background ? background.data() : nullptr, channels, averaged.data(),
                 threads);
        check_close(averaged, mean, 2, "mean pool");
        avg_pool_backward(s.plan, grad.data(), channels, !with_background, a_features.data(), a_background.data(),
                          threads);
        check_close(a_features, ga_features, 2, "mean pool gradient of features");
        check_close(a_background, ga_background, 2, "mean pool gradient of background");
        for (const auto* part : {&g_background, &a_features, &a_background})
            g_features.insert(g_features.end(), part->begin(), part->end());
        if (threads == 1) first = g_features;
        check(same(g_features, first), "pool gradients are bit-identical for any number of threads");
    }
}

// Convolution and max pool at once against one after the other.
template <class T>
void test_pooled_convolution(const Scene& s, int c_in, int c_out, bool with_background) {
    Geometry g{{3, 2, 3}, {2, 2, 2}, {1, 0, 1}, {1, 1, 1}, s.geometry.out_shape, {}, s.geometry.batch, false};
    for (std::size_t a = 0; a < 3; ++a) {
        if (g.in_shape[a] + 2 * g.padding[a] < g.kernel[a]) return;
        g.out_shape[a] = (g.in_shape[a] + 2 * g.padding[a] - g.kernel[a]) / 2 + 1;
    }
    const Plan pool = make_plan(s.plan.out, output_sites(s.plan.out, g, 1), g);
    const std::size_t n = s.in.size() / 4, m = s.out.size() / 4, p = std::size_t(site_count(pool.out)),
                      co = std::size_t(c_out), ci = std::size_t(c_in);
    const std::vector<T> features = random_values<T>(n * ci),
                         weight = random_values<T>(co * std::size_t(s.geometry.volume()) * ci),
                         bias = random_values<T>(co), background = random_values<T>(ci),
                         grad_of_background = random_values<T>(co), grad = random_values<T>(p * co);
    const Convolution<T> args{
        features.data(), weight.data(), bias.data(), with_background ? background.data() : nullptr, c_in, c_out};
    std::vector<T> pool_background(co), got_background(co);
    const T* ground = with_background ? pool_background.data() : nullptr;
    std::vector<T> whole(m * co), expected(p * co), got(p * co);
    std::vector<std::int32_t> expected_rows(p * co), rows(p * co);
    convolution(s.plan, args, whole.data(), pool_background.data(), 2);
    max_pool(pool, whole.data(), ground, c_out, expected.data(), expected_rows.data(), 2);
    pooled_convolution(s.plan, args, pool, got.data(), rows.data(), got_background.data(), 3);
    check(same(got_background, pool_background), "background of convolution and max pool");
    check(same(got, expected) && same(rows, expected_rows), "convolution and max pool at once");
    Convolution<T> activated = args;
    activated.activation = Activation::leaky_relu;
    activated.slope = T(0.25);
    pooled_convolution<T>(s.plan, activated, pool, got.data(), nullptr, nullptr, 2);
    convolution(s.plan, activated, whole.data(), pool_background.data(), 2);
    max_pool(pool, whole.data(), ground, c_out, expected.data(), expected_rows.data(), 2);
    check(same(got, expected), "convolution, max pool and activation at once");

    std::vector<T> g_whole(m * co), g_ground(co), first;
    max_pool_backward(pool, grad.data(), expected_rows.data(), c_out, g_whole.data(), g_ground.data(), 2);
    for (bool features_too : {false, true})
        for (int threads : {1, 3}) {
            max_pool(pool, whole.data(), ground, c_out, expected.data(), expected_rows.data(), 2);
            max_pool_backward(pool, grad.data(), expected_rows.data(), c_out, g_whole.data(), g_ground.data(), 2);
            for (std::size_t i = 0; i < co; ++i) g_ground[i] += grad_of_background[i];
            std::vector<T> a(features_too ? n * ci : 0), aw(weight.size()), ab(co), ag(ci), b(a), bw(aw), bb(ab),
                bg(ag);
            convolution_backward<T>(
                s.plan, args, g_whole.data(), g_ground.data(),
                {features_too ? a.data() : nullptr, aw.data(), ab.data(), with_background ? ag.data() : nullptr}, 2);
            pooled_convolution_backward<T>(
                s.plan, args, pool, grad.data(), grad_of_background.data(), expected_rows.data(),
                {features_too ? b.data() : nullptr, bw.data(), bb.data(), with_background ? bg.data() : nullptr},
                threads);
            check(same(a, b) && same(aw, bw) && same(ab, bb) && same(ag, bg),
                  "gradients of convolution and max pool at once");
        }
}

// Three layers in one call against one after the other.
// Against the layers' own forward and backward passes.
template <class T>
void test_chain_backward(const std::vector<LayerPlan>& plans, std::vector<Convolution<T>> layers,
                         const std::vector<T>& features, const T* background, int threads) {
    struct Of {
        std::vector<T> values, ground, input, weight, bias, input_ground;
        std::vector<std::int32_t> rows;
    };
    const std::size_t count = layers.size();
    std::vector<Of> kept(count), one_call(count), one_by_one(count);
    std::vector<LayerValues<T>> made;
    std::vector<ConvolutionGradients<T>> results;
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t ci = std::size_t(layers[i].c_in), co = std::size_t(layers[i].c_out),
                          n = std::size_t(site_count(plans[i].convolution.in)),
                          m = std::size_t(site_count(plans[i].out())),
                          volume = std::size_t(plans[i].convolution.geometry.volume());
        kept[i].values.resize(m * co);
        kept[i].ground.resize(co);
        kept[i].rows.resize(m * co);
        for (Of* of : {&one_call[i], &one_by_one[i]}) {
            of->input.resize(n * ci);
            of->weight.resize(co * volume * ci);
            of->bias.resize(co);
            of->input_ground.resize(ci);
        }
        made.push_back({kept[i].values.data(), plans[i].pool ? kept[i].rows.data() : nullptr,
                        background != nullptr ? kept[i].ground.data() : nullptr});
        results.push_back({nullptr, one_call[i].weight.data(), one_call[i].bias.data(), nullptr});
    }
    convolution_chain<T>(plans, layers, features.data(), background, made, threads);
    std::vector<T> grad = random_values<T>(kept.back().values.size()),
                   grad_ground = random_values<T>(kept.back().ground.size());
    const T* of_ground = background != nullptr ? grad_ground.data() : nullptr;
    results[0].features = one_call[0].input.data();
    results[0].background = background != nullptr ? one_call[0].input_ground.data() : nullptr;
    convolution_chain_backward<T>(plans, layers, features.data(), background, made, grad.data(), of_ground, results,
                                  threads);

    std::vector<T> frozen = one_call[2].weight;  // without the gradients before it
    std::fill(one_call[2].weight.begin(), one_call[2].weight.end(), T(7));
    convolution_chain_backward<T>(plans, layers, features.data(), background, made, grad.data(), of_ground,
                                  {{}, {}, {nullptr, one_call[2].weight.data(), nullptr, nullptr}}, threads);
    check(same(one_call[2].weight, frozen), "gradient of the last layer alone");

    for (std::size_t i = count; i-- > 0;) {
        Convolution<T> layer = layers[i];
        layer.features = i == 0 ? features.data() : kept[i - 1].values.data();
        layer.background = background == nullptr ? nullptr : i == 0 ? background : kept[i - 1].ground.data();
        Of& of = one_by_one[i];
        std::vector<T> values(kept[i].values.size()), ground(kept[i].ground.size());
        std::vector<std::int32_t> rows(kept[i].rows.size());
        if (plans[i].pool)
            pooled_convolution<T>(plans[i].convolution, layer, *plans[i].pool, values.data(), rows.data(),
                                  ground.data(), threads);
        else
            convolution(plans[i].convolution, layer, values.data(), ground.data(), threads);
        check(same(values, kept[i].values), "values kept for the gradient");
        if (layer.activation == Activation::leaky_relu) {
            leaky_relu_backward(grad.data(), values.data(), layer.slope, std::int64_t(grad.size()), grad.data(),
                                threads);
            leaky_relu_backward(grad_ground.data(), ground.data(), layer.slope, std::int64_t(grad_ground.size()),
                                grad_ground.data(), threads);
        }
        const ConvolutionGradients<T> result{of.input.data(), of.weight.data(), of.bias.data(),
                                             background != nullptr ? of.input_ground.data() : nullptr};
        of_ground = background != nullptr ? grad_ground.data() : nullptr;
        if (plans[i].pool)
            pooled_convolution_backward<T>(plans[i].convolution, layer, *plans[i].pool, grad.data(), of_ground,
                                           rows.data(), result, threads);
        else
            convolution_backward(plans[i].convolution, layer, grad.data(), of_ground, result, threads);
        check(same(of.weight, one_call[i].weight) && same(of.bias, one_call[i].bias),
              "gradients of layers in one call");
        grad = of.input;
        grad_ground = of.input_ground;
    }
    check(same(one_by_one[0].input, one_call[0].input), "gradient of the input in one call");
    check(background == nullptr || same(one_by_one[0].input_ground, one_call[0].input_ground),
          "gradient of the background in one call");
}

template <class T>
void test_chain(const Scene& s, int c_in, int c_out, bool with_background) {
    const std::array<int, 3> shape = s.geometry.out_shape;
    const Geometry back{{3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, shape, shape, s.geometry.batch, false};
    Geometry pool{{2, 1, 2}, {1, 1, 1}, {1, 0, 0}, {1, 1, 1}, shape, {}, s.geometry.batch, false};
    for (std::size_t a = 0; a < 3; ++a) {
        if (shape[a] + 2 * pool.padding[a] < pool.kernel[a]) return;
        pool.out_shape[a] = shape[a] + 2 * pool.padding[a] - pool.kernel[a] + 1;
    }
    const Geometry last{{1, 1, 1},      {1, 1, 1},      {0, 0, 0},        {1, 1, 1},
                        pool.out_shape, pool.out_shape, s.geometry.batch, false};
    const std::vector<LayerPlan> plans =
        plan_chain(s.plan.in, {{s.geometry, false, {}}, {back, true, pool}, {last, true, {}}}, 2);
    const std::size_t n = s.in.size() / 4, ci = std::size_t(c_in), co = std::size_t(c_out),
                      m = std::size_t(site_count(plans[0].out())), p = std::size_t(site_count(plans[2].out()));
    const std::vector<T> features = random_values<T>(n * ci),
                         first = random_values<T>(co * std::size_t(s.geometry.volume()) * ci),
                         second = random_values<T>(27 * co * co), third = random_values<T>(5 * co),
                         bias = random_values<T>(co), ground = random_values<T>(ci);
    const T* background = with_background ? ground.data() : nullptr;
    Convolution<T> a{features.data(), first.data(),           bias.data(), background, c_in,
                     c_out,           Activation::leaky_relu, T(0.25)};
    Convolution<T> b{nullptr, second.data(), nullptr, nullptr, c_out, c_out},
        c{nullptr, third.data(), nullptr, nullptr, c_out, 5};
    for (int threads : {1, 3}) {
        std::vector<T> got(p * 5), expected(got), got_background(5), expected_background(5), after_first(m * co),
            after_second(p * co), ground_1(co), ground_2(co);
        convolution_chain<T>(plans, {a, b, c}, features.data(), background, got.data(),
                             with_background ? got_background.data() : nullptr, threads);
        convolution(plans[0].convolution, a, after_first.data(), ground_1.data(), threads);
        b.features = after_first.data();
        b.background = with_background ? ground_1.data() : nullptr;
        pooled_convolution<T>(plans[1].convolution, b, *plans[1].pool, after_second.data(), nullptr, ground_2.data(),
                              threads);
        c.features = after_second.data();
        c.background = with_background ? ground_2.data() : nullptr;
        convolution(plans[2].convolution, c, expected.data(), expected_background.data(), threads);
        check(same(got, expected), "layers in one call");
        check(!with_background || same(got_background, expected_background), "background of layers in one call");
        test_chain_backward<T>(plans, {a, b, c}, features, background, threads);
    }
}

template <class T>
void test_batch_norm(std::size_t rows, int channels, T slope, bool with_other, bool with_weight) {
    scene = "batch norm of " + std::to_string(rows) + " rows, " + std::to_string(channels) + " channels" +
            (std::is_same_v<T, float> ? " float" : " double");
    const std::size_t c = std::size_t(channels), n = rows * c;
    const std::vector<T> x = random_values<T>(n), other = random_values<T>(n), grad = random_values<T>(n),
                         weight = random_values<T>(c), bias = random_values<T>(c);
    const auto weight_of = [&](std::size_t j) { return with_weight ? double(weight[j]) : 1.0; };
    std::vector<double> mean(c, 0), variance(c, 0), deviation(c), value(n), g_x(n), g_other(n), g_weight(c, 0),
        g_bias(c, 0);
    for (std::size_t i = 0; i < n; ++i) mean[i % c] += double(x[i]) / double(rows);
    for (std::size_t i = 0; i < n; ++i) variance[i % c] += std::pow(double(x[i]) - mean[i % c], 2) / double(rows);
    for (std::size_t j = 0; j < c; ++j) deviation[j] = std::sqrt(variance[j] + 1e-3);
    for (std::size_t i = 0; i < n; ++i) {
        const std::size_t j = i % c;
        const double normal = (double(x[i]) - mean[j]) / deviation[j],
                     v = normal * weight_of(j) + double(bias[j]) + (with_other ? double(other[i]) : 0.0);
        value[i] = v > 0 ? v : double(slope) * v;
        g_other[i] = double(grad[i]) * (v > 0 ? 1.0 : double(slope));
        g_bias[j] += g_other[i];
        g_weight[j] += g_other[i] * normal;
    }
    for (std::size_t i = 0; i < n; ++i) {
        const std::size_t j = i % c;
        const double normal = (double(x[i]) - mean[j]) / deviation[j];
        g_x[i] =
            weight_of(j) / deviation[j] * (g_other[i] - g_bias[j] / double(rows) - normal * g_weight[j] / double(rows));
    }
    std::vector<T> first;
    for (const int threads : {1, 2, 3, 8}) {
        std::vector<T> all(2 * c + 3 * n + 2 * c, T(77));
        T *const m = all.data(), *const s2 = m + c, *const y = s2 + c, *const gx = y + n, *const go = gx + n,
                 *const gw = go + n, *const gb = gw + c;
        row_statistics(x.data(), std::int64_t(rows), channels, m, s2, threads);
        std::vector<T> d(c), scale(c), shift(c);
        for (std::size_t j = 0; j < c; ++j) {
            d[j] = T(std::sqrt(double(s2[j]) + 1e-3));
            scale[j] = T(weight_of(j)) / d[j];
            shift[j] = bias[j] - m[j] * scale[j];
        }
        scale_rows(x.data(), scale.data(), shift.data(), with_other ? other.data() : nullptr, std::int64_t(rows),
                   channels, slope, y, threads);
        normalized_rows_backward<T>(grad.data(), slope == 1 ? nullptr : y, x.data(), m, d.data(),
                                    with_weight ? weight.data() : nullptr, std::int64_t(rows), channels, slope,
                                    {gx, go, gw, gb}, threads);
        if (threads == 1) {
            first = all;
            const auto cut = [&](const T* from, std::size_t size) { return std::vector<T>(from, from + size); };
            check_close(cut(m, c), mean, 1, "mean");
            check_close(cut(s2, c), variance, 1, "variance");
            check_close(cut(y, n), value, 2, "values");
            check_close(cut(gx, n), g_x, 4, "gradient of features",
                        1 / std::sqrt(1e-3));  // a difference of values so large
            check_close(cut(go, n), g_other, 1, "gradient of what was added");
            check_close(cut(gw, c), g_weight, 4, "gradient of weight", std::sqrt(double(rows)));
            check_close(cut(gb, c), g_bias, 4, "gradient of bias", std::sqrt(double(rows)));
        }
        check(same(all, first), "batch norm is bit-identical for any number of threads");
    }
}

template <class T>
void test_batch_norms() {
    test_batch_norm<T>(1, 3, T(1), false, true);
    test_batch_norm<T>(700, 1, T(0.25), true, false);
    test_batch_norm<T>(9000, 17, T(1), true, true);
}

template <class T>
void test_scene(const Geometry& g, double density, bool shuffled, bool random_outputs, int c_in, int c_out) {
    scene = "kernel " + std::to_string(g.kernel[0]) + std::to_string(g.kernel[1]) + std::to_string(g.kernel[2]) +
            " stride " + std::to_string(g.stride[0]) + std::to_string(g.stride[1]) + std::to_string(g.stride[2]) +
            " padding " + std::to_string(g.padding[0]) + std::to_string(g.padding[1]) + std::to_string(g.padding[2]) +
            " dilation " + std::to_string(g.dilation[0]) + std::to_string(g.dilation[1]) +
            std::to_string(g.dilation[2]) + " in " + std::to_string(g.in_shape[0]) + "x" +
            std::to_string(g.in_shape[1]) + "x" + std::to_string(g.in_shape[2]) + (g.transposed ? " transposed" : "") +
            " density " + std::to_string(density) + (shuffled ? " shuffled" : "") +
            (random_outputs ? " random outputs" : "") + " channels " + std::to_string(c_in) + " to " +
            std::to_string(c_out) + (std::is_same_v<T, float> ? " float" : " double");
    const Scene s = make_scene(g, density, shuffled, random_outputs);
    test_neighbours(s);
    test_convolution<T>(s, c_in, c_out, true, true);
    test_convolution<T>(s, c_in, c_out, false, false);
    if (std::is_same_v<T, float>) {
        test_bfloat16(s, c_in, c_out, true);
        test_bfloat16(s, c_in, c_out, false);
    }
    if (!g.transposed) {
        test_pools<T>(s, c_out, true);
        test_pools<T>(s, c_out, false);
        test_pooled_convolution<T>(s, c_in, c_out, true);
        test_pooled_convolution<T>(s, c_in, c_out, false);
        test_chain<T>(s, c_in, c_out, true);
        test_chain<T>(s, c_in, c_out, false);
    }
}

// The grid that a window makes of `in` (0 where it does not fit), as Window.output_shape has it.
std::array<int, 3> output_shape(const Geometry& g) {
    std::array<int, 3> out{};
    for (std::size_t a = 0; a < 3; ++a)
        out[a] = g.transposed
                     ? (g.in_shape[a] - 1) * g.stride[a] - 2 * g.padding[a] + g.dilation[a] * (g.kernel[a] - 1) + 1
                     : (g.in_shape[a] + 2 * g.padding[a] - g.dilation[a] * (g.kernel[a] - 1) - 1 + g.stride[a]) /
                           g.stride[a];
    return out;
}

void test_random_scenes(int rounds) {
    for (int round = 0; round < rounds;) {
        Geometry g{};
        for (std::size_t a = 0; a < 3; ++a) {
            g.kernel[a] = between(1, 4);
            g.stride[a] = between(1, 3);
            g.padding[a] = between(0, 2);
            g.dilation[a] = between(1, 2);
            g.in_shape[a] = between(1, 8);
        }
        if (between(0, 2) == 0) g.in_shape[2] = between(60, 140);  // several words in a line
        if (between(0, 2) == 0) g.stride = {1, 1, 1};
        if (between(0, 3) == 0) g.stride = {2, 2, 2};
        g.batch = between(1, 3);
        g.transposed = between(0, 2) == 0;
        g.out_shape = output_shape(g);
        if (*std::min_element(g.out_shape.begin(), g.out_shape.end()) < 1) continue;
        const double densities[] = {0, 0.02, 0.2, 0.6, 1};
        const int channels[] = {1, 2, 3, 4, 5, 8, 16, 17, 32, 35, 48, 64, 96};
        const double density = densities[between(0, 4)];
        const int c_in = channels[between(0, 12)], c_out = channels[between(0, round % 4 ? 8 : 12)];
        if (round % 3 == 0)
            test_scene<double>(g, density, between(0, 1), between(0, 3) == 0, c_in, c_out);
        else
            test_scene<float>(g, density, between(0, 1), between(0, 3) == 0, c_in, c_out);
        ++round;
    }
}

void test_networks_layers() {
    const auto geometry = [](int kernel, int stride, int padding, int side, int batch) {
        Geometry g{{kernel, kernel, kernel},
                   {stride, stride, stride},
                   {padding, padding, padding},
                   {1, 1, 1},
                   {side, side, side},
                   {},
                   batch,
                   false};
        g.out_shape = output_shape(g);
        return g;
    };
    test_scene<float>(geometry(2, 1, 0, 20, 1), 0.7, false, false, 32, 64);
    test_scene<float>(geometry(3, 1, 1, 14, 2), 0.8, false, true, 32, 32);
    test_scene<float>(geometry(3, 1, 1, 14, 1), 1.0, true, true, 64, 64);
    test_scene<float>(geometry(2, 1, 0, 2, 1), 1, false, false, 160, 192);
    test_scene<float>(geometry(3, 2, 0, 13, 1), 0.5, false, false, 96, 96);
    test_scene<float>(geometry(5, 1, 2, 9, 1), 0.3, false, false, 4, 24);
    test_scene<float>(geometry(1, 1, 0, 9, 1), 0.3, false, false, 24, 100);
}

template <class T>
void test_voxels() {
    scene = "voxels of " + std::to_string(sizeof(T)) + " bytes";
    for (int round = 0; round < 12; ++round) {
        const std::int64_t z = between(1, 6), y = between(1, 70), x = between(1, 200), skip = between(1, 2);
        std::vector<T> data(std::size_t(z * y * x * skip));
        for (T& v : data) v = T(between(0, 200));
        const VolumeView<T> volume{data.data(),
                                   {z, y, x},
                                   {y * x * skip * std::int64_t(sizeof(T)), x * skip * std::int64_t(sizeof(T)),
                                    skip * std::int64_t(sizeof(T))}};
        const double low = round == 0 ? -1 : between(0, 200) - 0.5,
                     high = round == 1 ? 1e9 : low + between(0, 100) + 0.25;
        std::vector<std::int32_t> expected;
        for (std::int64_t i = 0; i < z * y * x; ++i) {
            const double v = double(data[std::size_t(i * skip)]);
            if (v >= low && v <= high) expected.insert(expected.end(), {int(i / (y * x)), int(i / x % y), int(i % x)});
        }
        const std::int64_t n = std::int64_t(expected.size() / 3);
        for (int threads : {1, 3}) {
            check(count_voxels(volume, low, high, threads) == n, "number of voxels");
            std::vector<std::int32_t> indices(expected.size() + 1, -9);
            std::vector<float> values(std::size_t(n) + 1, -9.0f);
            std::vector<std::uint64_t> bitmap(std::size_t(z * y * ((x + 63) / 64)));
            check(find_voxels(volume, low, high, n, indices.data(), values.data(), bitmap.data(), threads) == n,
                  "number of voxels found");
            bool good = indices.back() == -9 && values.back() == -9.0f;  // nothing is written past the end
            indices.pop_back();
            for (std::int64_t i = 0; i < n && good; ++i) {
                const std::int32_t* at = expected.data() + 3 * i;
                const std::int64_t line = at[0] * y + at[1];
                good = values[std::size_t(i)] == float(data[std::size_t((line * x + at[2]) * skip)]) &&
                       ((bitmap[std::size_t(line * ((x + 63) / 64) + at[2] / 64)] >> (at[2] % 64)) & 1);
            }
            check(good && indices == expected, "voxels, values and bitmap");
            check(n == 0 || find_voxels(volume, low, high, n - 1, indices.data(), values.data(), nullptr, threads) == n,
                  "too little room is reported");
        }
    }
}

// A batch size of zero, no sites, and every mistake a caller can make.
void test_result_blocks() {
    scene = "blocks for results";
    trim();
    constexpr std::size_t kSmall = 1 << 20, kHuge = std::size_t(300) << 20;
    std::shared_ptr<void> one = result_block(kSmall), other = result_block(kSmall), same = one;
    void* const first = one.get();
    check(first != other.get(), "blocks in use are not given out again");
    one.reset();
    check(scratch_bytes() == 0, "a block goes back with its last owner");
    same.reset();
    check(scratch_bytes() == kSmall, "a block goes back with its last owner");
    check(result_block(kSmall).get() == first, "a block that was given back is used again");
    other.reset();
    result_block(kHuge).reset();
    check(scratch_bytes() == 2 * kSmall, "the largest blocks are not kept");
    std::vector<std::shared_ptr<void>> many;
    for (int i = 0; i < 4; ++i) many.push_back(result_block(std::size_t(200) << 20));  // pages that nobody touches
    many.clear();
    check(scratch_bytes() == std::size_t(400) << 20, "512 MB are kept at most");
    trim();
    check(scratch_bytes() == 0, "all blocks are given back");
}

void test_refusals() {
    scene = "refusals";
    const auto refuses = [](const Sites4& sites, const char* expected) {
        try {
            index_sites(sites.data(), std::int64_t(sites.size() / 4), 2, {4, 5, 6}, 2);
        } catch (const std::invalid_argument& error) {
            return std::string(error.what()).find(expected) != std::string::npos;
        }
        return false;
    };
    check(refuses({0, 0, 0, 6}, "outside"), "x beyond the grid");
    check(refuses({0, -1, 0, 0}, "outside"), "z below the grid");
    check(refuses({2, 0, 0, 0}, "outside"), "beyond the batch");
    check(refuses({0, 1, 2, 3, 1, 1, 2, 3, 0, 1, 2, 3}, "twice"), "a duplicate");
    check(site_count(index_sites(nullptr, 0, 0, {4, 5, 6}, 2)) == 0, "an empty batch");
}

}  // namespace

int main(int argc, char** argv) {
    try {
        std::printf("instruction set %s\n", instruction_set());
    } catch (const std::invalid_argument& error) {
        std::printf("%s\n", error.what());
        return 77;
    }
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 150;
    test_refusals();
    test_rounding_to_bfloat16();
    test_networks_layers();
    test_voxels<std::uint8_t>();
    test_voxels<std::int16_t>();
    test_voxels<std::uint16_t>();
    test_voxels<float>();
    test_result_blocks();
    test_batch_norms<float>();
    test_batch_norms<double>();
    test_random_scenes(rounds);
    trim();
    check(scratch_bytes() == 0, "scratch memory is given back");
    std::printf(failures ? "%d checks failed\n" : "all checks passed\n", failures);
    return failures ? 1 : 0;
}
