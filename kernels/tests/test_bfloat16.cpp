// Products of bfloat16 against rounded numbers multiplied in double.
#include <limits>
#include "tests.h"

namespace {

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

}  // namespace

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
