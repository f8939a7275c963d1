// Volumes to voxels.
#include "tests.h"

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

template void test_voxels<std::uint8_t>();
template void test_voxels<std::int16_t>();
template void test_voxels<std::uint16_t>();
template void test_voxels<float>();
