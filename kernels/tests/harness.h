// What all tests use: checks, chance, and scenes, a geometry with sites on both sides and who meets whom.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "naive.h"

using namespace sparse3d;
using Sites4 = std::vector<std::int32_t>;

extern int failures;
extern std::string scene;  // what is tested now, for messages

inline void check(bool ok, const char* what) {
    if (ok) return;
    ++failures;
    std::printf("FAILED %s: %s\n", scene.c_str(), what);
}

extern std::mt19937 random_bits;
inline double uniform() { return std::uniform_real_distribution<double>(-1, 1)(random_bits); }
inline int between(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_bits); }

template <class T>
std::vector<T> random_values(std::size_t n) {
    std::vector<T> v(n);
    for (T& x : v) x = T(uniform());
    return v;
}

inline Sites4 random_sites(int batch, std::array<int, 3> s, double density, bool shuffled) {
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

inline Scene make_scene(const Geometry& g, double density, bool shuffled, bool random_outputs) {
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

// The grid that a window makes of `in` (0 where it does not fit), as Window.output_shape has it.
inline std::array<int, 3> output_shape(const Geometry& g) {
    std::array<int, 3> out{};
    for (std::size_t a = 0; a < 3; ++a)
        out[a] = g.transposed
                     ? (g.in_shape[a] - 1) * g.stride[a] - 2 * g.padding[a] + g.dilation[a] * (g.kernel[a] - 1) + 1
                     : (g.in_shape[a] + 2 * g.padding[a] - g.dilation[a] * (g.kernel[a] - 1) - 1 + g.stride[a]) /
                           g.stride[a];
    return out;
}
