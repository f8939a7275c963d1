// Sums over rows that come out the same for any number of threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "threads.h"

namespace sparse3d {

// sums (channels) of value(row, channel) over all rows: stretches of rows in parallel, then the stretches in order.
template <class T, class Value>
void sum_rows(std::int64_t rows, int channels, T* sums, int threads, Value&& value) {
    constexpr std::int64_t kRows = 4096;
    const std::int64_t chunks = (rows + kRows - 1) / kRows;
    std::vector<double> partial(std::size_t(chunks * channels), 0.0);
    parallel_for(chunks, threads, [&](std::int64_t chunk, int) {
        double* sum = partial.data() + chunk * channels;
        for (std::int64_t row = chunk * kRows; row < std::min(rows, (chunk + 1) * kRows); ++row)
            for (int c = 0; c < channels; ++c) sum[c] += double(value(row, c));
    });
    for (int c = 0; c < channels; ++c) {
        double sum = 0;
        for (std::int64_t chunk = 0; chunk < chunks; ++chunk) sum += partial[std::size_t(chunk * channels + c)];
        sums[c] = T(sum);
    }
}

// The gradient of a max pool's background: that of every maximum which no input claims.
template <class T>
void sum_unclaimed(std::int64_t rows, int channels, const T* grad, const std::int32_t* origin, T* background, int threads) {
    sum_rows(rows, channels, background, threads,
             [&](std::int64_t row, int c) { return origin[row * channels + c] < 0 ? grad[row * channels + c] : T(0); });
}

}  // namespace sparse3d
