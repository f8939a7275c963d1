// Sums over rows that come out the same for any number of threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "threads.h"

namespace sparse3d {

constexpr std::int64_t kStretchRows = 1024;

// body(first row, rows, number) for stretches of rows that depend on their number alone, in parallel.
template <class Body>
void over_stretches(std::int64_t rows, int threads, Body&& body) {
    parallel_for((rows + kStretchRows - 1) / kStretchRows, threads, [&](std::int64_t number, int) {
        const std::int64_t first = number * kStretchRows;
        body(first, std::min(kStretchRows, rows - first), number);
    });
}

// `count` sums over all rows: add(first row, rows, sums) adds those of a stretch, and the stretches are added in order.
template <class Add>
std::vector<double> sum_stretches(std::int64_t rows, std::size_t count, int threads, Add&& add) {
    const std::size_t stretches = std::size_t((rows + kStretchRows - 1) / kStretchRows);
    std::vector<double> partial(stretches * count, 0.0), sums(count, 0.0);
    over_stretches(rows, threads, [&](std::int64_t first, std::int64_t n, std::int64_t number) {
        add(first, n, partial.data() + std::size_t(number) * count);
    });
    for (std::size_t number = 0; number < stretches; ++number)
        for (std::size_t i = 0; i < count; ++i) sums[i] += partial[number * count + i];
    return sums;
}

// sums (channels) of value(row, channel) over all rows.
template <class T, class Value>
void sum_rows(std::int64_t rows, int channels, T* sums, int threads, Value&& value) {
    const std::vector<double> found =
        sum_stretches(rows, std::size_t(channels), threads, [&](std::int64_t first, std::int64_t n, double* sum) {
            for (std::int64_t row = first; row < first + n; ++row)
                for (int c = 0; c < channels; ++c) sum[c] += double(value(row, c));
        });
    for (std::size_t c = 0; c < found.size(); ++c) sums[c] = T(found[c]);
}

// The gradient of a max pool's background: that of every maximum which no input claims.
template <class T>
void sum_unclaimed(std::int64_t rows, int channels, const T* grad, const std::int32_t* origin, T* background,
                   int threads) {
    sum_rows(rows, channels, background, threads,
             [&](std::int64_t row, int c) { return origin[row * channels + c] < 0 ? grad[row * channels + c] : T(0); });
}

}  // namespace sparse3d
