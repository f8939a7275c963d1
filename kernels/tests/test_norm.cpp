// Batch normalisation against its definition in double.
#include "tests.h"

namespace {

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

}  // namespace

template <class T>
void test_batch_norms() {
    test_batch_norm<T>(1, 3, T(1), false, true);
    test_batch_norm<T>(700, 1, T(0.25), true, false);
    test_batch_norm<T>(9000, 17, T(1), true, true);
}

template void test_batch_norms<float>();
template void test_batch_norms<double>();
