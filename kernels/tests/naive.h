// The operators as loops over dense grids in double: slow, obvious, and sharing nothing with the library but its types.
#pragma once

#include <limits>
#include <vector>

#include "sparse3d/sparse3d.h"

namespace naive {

using sparse3d::Geometry;
using Shape = std::array<int, 3>;

inline std::size_t cell(const Shape& s, int b, int z, int y, int x) {
    return ((std::size_t(b) * std::size_t(s[0]) + std::size_t(z)) * std::size_t(s[1]) + std::size_t(y)) *
               std::size_t(s[2]) +
           std::size_t(x);
}

// Call f(offset, b, out z y x, in z y x, inside) for each output cell and offset whose coordinates divide.
template <class F>
void meet(const Geometry& g, F&& f) {
    const auto solve = [&](int axis, int o, int k, int& i) {
        const std::size_t a = std::size_t(axis);
        if (!g.transposed) {
            i = o * g.stride[a] + k * g.dilation[a] - g.padding[a];
            return true;
        }
        const int scaled = o + g.padding[a] - k * g.dilation[a];
        i = scaled >= 0 ? scaled / g.stride[a] : -1 - (-1 - scaled) / g.stride[a];
        return i * g.stride[a] == scaled;
    };
    for (int b = 0; b < g.batch; ++b)
        for (int z = 0; z < g.out_shape[0]; ++z)
            for (int y = 0; y < g.out_shape[1]; ++y)
                for (int x = 0; x < g.out_shape[2]; ++x)
                    for (int k = 0; k < g.volume(); ++k) {
                        const int kx = k % g.kernel[2], ky = k / g.kernel[2] % g.kernel[1],
                                  kz = k / g.kernel[2] / g.kernel[1];
                        int iz, iy, ix;
                        if (!solve(0, z, kz, iz) || !solve(1, y, ky, iy) || !solve(2, x, kx, ix)) continue;
                        const bool inside = iz >= 0 && iz < g.in_shape[0] && iy >= 0 && iy < g.in_shape[1] && ix >= 0 &&
                                            ix < g.in_shape[2];
                        f(k, b, z, y, x, iz, iy, ix, inside);
                    }
}

// Row of each cell, or -1.
inline std::vector<int> rows_of(const std::vector<std::int32_t>& sites, int batch, const Shape& s) {
    std::vector<int> rows(std::size_t(batch) * std::size_t(s[0]) * std::size_t(s[1]) * std::size_t(s[2]), -1);
    for (std::size_t i = 0; i * 4 < sites.size(); ++i)
        rows[cell(s, sites[4 * i], sites[4 * i + 1], sites[4 * i + 2], sites[4 * i + 3])] = int(i);
    return rows;
}

struct Meeting {
    int offset, out, in;  // rows; in is -1 where the input is background
};

// Everything that the stored outputs meet, in order of output row and offset.
inline std::vector<std::vector<Meeting>> meetings(const Geometry& g, const std::vector<std::int32_t>& in,
                                                  const std::vector<std::int32_t>& out) {
    const std::vector<int> in_rows = rows_of(in, g.batch, g.in_shape), out_rows = rows_of(out, g.batch, g.out_shape);
    std::vector<std::vector<Meeting>> of(out.size() / 4);
    meet(g, [&](int k, int b, int z, int y, int x, int iz, int iy, int ix, bool inside) {
        const int o = out_rows[cell(g.out_shape, b, z, y, x)];
        if (o >= 0) of[std::size_t(o)].push_back({k, o, inside ? in_rows[cell(g.in_shape, b, iz, iy, ix)] : -1});
    });
    return of;
}

inline std::vector<std::int32_t> output_sites(const Geometry& g, const std::vector<std::int32_t>& in) {
    const std::vector<int> in_rows = rows_of(in, g.batch, g.in_shape);
    std::vector<char> hit(
        std::size_t(g.batch) * std::size_t(g.out_shape[0]) * std::size_t(g.out_shape[1]) * std::size_t(g.out_shape[2]),
        0);
    meet(g, [&](int, int b, int z, int y, int x, int iz, int iy, int ix, bool inside) {
        if (inside && in_rows[cell(g.in_shape, b, iz, iy, ix)] >= 0) hit[cell(g.out_shape, b, z, y, x)] = 1;
    });
    std::vector<std::int32_t> sites;
    for (int b = 0; b < g.batch; ++b)
        for (int z = 0; z < g.out_shape[0]; ++z)
            for (int y = 0; y < g.out_shape[1]; ++y)
                for (int x = 0; x < g.out_shape[2]; ++x)
                    if (hit[cell(g.out_shape, b, z, y, x)]) sites.insert(sites.end(), {b, z, y, x});
    return sites;
}

}  // namespace naive
