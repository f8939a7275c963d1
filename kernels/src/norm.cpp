// Batch normalisation with what may follow it: one pass over the rows forward, two backward.
#include <algorithm>
#include <vector>

#include "row_sums.h"
#include "simd/norm.h"
#include "sparse3d/sparse3d.h"

namespace sparse3d {

template <class T>
void scale_rows(const T* features, const T* scale, const T* shift, const T* other, std::int64_t rows, int channels,
                T slope, T* result, int threads) {
    over_stretches(rows, threads, [&](std::int64_t first, std::int64_t count, std::int64_t) {
        const std::int64_t at = first * channels;
        chosen::scale_stretch<T>(features + at, scale, shift, other == nullptr ? nullptr : other + at, count, channels,
                                 slope, result + at);
    });
}

template <class T>
void row_statistics(const T* features, std::int64_t rows, int channels, T* mean, T* variance, int threads) {
    // counted from the first row, so that a mean far from zero takes nothing from the variance
    const std::vector<double> sums = sum_stretches(
        rows, 2 * std::size_t(channels), threads, [&](std::int64_t first, std::int64_t count, double* sum) {
            chosen::add_statistics<T>(features + first * channels, features, count, channels, sum, sum + channels);
        });
    for (int c = 0; c < channels; ++c) {
        const double from_first = sums[std::size_t(c)] / double(rows),
                     square = sums[std::size_t(channels + c)] / double(rows);
        mean[c] = T(double(features[c]) + from_first);
        variance[c] = T(std::max(0.0, square - from_first * from_first));
    }
}

template <class T>
void normalized_rows_backward(const T* grad, const T* values, const T* features, const T* mean, const T* deviation,
                              const T* weight, std::int64_t rows, int channels, T slope,
                              const NormalizedGradients<T>& result, int threads) {
    const auto from = [&](auto* array, std::int64_t row) {
        return array == nullptr ? nullptr : array + row * channels;
    };
    const std::vector<double> sums = sum_stretches(
        rows, 2 * std::size_t(channels), threads, [&](std::int64_t first, std::int64_t count, double* sum) {
            chosen::add_norm_gradients<T>(from(grad, first), from(values, first), from(features, first), mean, count,
                                          channels, slope, sum, sum + channels);
        });
    // of the features: grad * of_grad + features * of_features + constant
    std::vector<T> of_grad(std::size_t(channels), T(0)), of_features(of_grad), constant(of_grad);
    for (std::size_t c = 0; c < std::size_t(channels); ++c) {
        const double total = sums[c], product = sums[std::size_t(channels) + c] / double(deviation[c]);
        const double scale = (weight == nullptr ? 1.0 : double(weight[c])) / double(deviation[c]);
        result.bias[c] = T(total);
        result.weight[c] = T(product);
        const double slant = -scale * product / double(deviation[c]) / double(rows);
        of_grad[c] = T(scale);
        of_features[c] = T(slant);
        constant[c] = T(-scale * total / double(rows) - slant * double(mean[c]));
    }
    over_stretches(rows, threads, [&](std::int64_t first, std::int64_t count, std::int64_t) {
        chosen::norm_gradient_stretch<T>(from(grad, first), from(values, first), from(features, first), of_grad.data(),
                                         of_features.data(), constant.data(), count, channels, slope,
                                         from(result.features, first), from(result.other, first));
    });
}

#define S3D_INSTANTIATE(T)                                                                                \
    template void scale_rows<T>(const T*, const T*, const T*, const T*, std::int64_t, int, T, T*, int);   \
    template void row_statistics<T>(const T*, std::int64_t, int, T*, T*, int);                            \
    template void normalized_rows_backward<T>(const T*, const T*, const T*, const T*, const T*, const T*, \
                                              std::int64_t, int, T, const NormalizedGradients<T>&, int);
S3D_INSTANTIATE(float)
S3D_INSTANTIATE(double)

}  // namespace sparse3d
