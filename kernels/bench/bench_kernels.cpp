// How fast each kernel is by itself. Before anything is timed it is compared, on a small grid of the same kind, with
// the naive loops of the tests: a wrong kernel has no speed.
//
//   bench_kernels [threads, 2 if not given] [only those whose name holds this]
//
// NAPARI_SPARSE3D_ISA forces an instruction set. Times are medians; GFLOP/s count the products of the pairs that exist,
// so Winograd may pass the processor's peak, and GB/s count every input read once and every output written once.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>

#include "naive.h"

using namespace sparse3d;
using Indices = std::vector<std::int32_t>;  // (n, 4) [b, z, y, x]
using Values = std::vector<float>;

namespace {

int threads = 2;
std::string only;

std::mt19937 random_bits(7);

Values random_values(std::size_t n) {
    std::uniform_real_distribution<float> uniform(-1, 1);
    Values v(n);
    for (float& x : v) x = uniform(random_bits);
    return v;
}

[[noreturn]] void wrong(const char* name) {
    std::printf("%s: differs from the naive loops, so it is not timed\n", name);
    std::exit(1);
}

void check_close(const Values& got, const std::vector<double>& expected, const char* name) {
    double largest = 1e-3, difference = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        largest = std::max(largest, std::abs(expected[i]));
        difference = std::max(difference, std::abs(double(got[i]) - expected[i]));
    }
    if (!(difference <= 1e-5 * largest)) wrong(name);
}

// Seconds of one call: the median of calls that fill half a second, after one that warms up.
double seconds(const std::function<void()>& work) {
    using Clock = std::chrono::steady_clock;
    std::vector<double> taken;
    double total = 0;
    work();
    while (taken.size() < 5 || (total < 0.5 && taken.size() < 201)) {
        const auto begin = Clock::now();
        work();
        taken.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
        total += taken.back();
    }
    std::nth_element(taken.begin(), taken.begin() + std::ptrdiff_t(taken.size() / 2), taken.end());
    return taken[taken.size() / 2];
}

void row(const char* name, double s, std::size_t sites, double operations, double bytes) {
    std::printf("%-44s%10.3f ms%9.2f ns a site", name, s * 1e3, s * 1e9 / double(sites));
    if (operations > 0) std::printf("%9.1f GFLOP/s", operations / s * 1e-9);
    if (bytes > 0) std::printf("%9.1f GB/s", bytes / s * 1e-9);
    std::printf("\n");
    std::fflush(stdout);
}

bool wanted(const char* name) { return std::strstr(name, only.c_str()) != nullptr; }

// A ball that fills the grid: dense inside, a curved surface; or each cell by chance.
Indices ball(int side) {
    Indices sites;
    const double middle = (side - 1) / 2.0, radius = side * 0.45;
    for (int z = 0; z < side; ++z)
        for (int y = 0; y < side; ++y)
            for (int x = 0; x < side; ++x)
                if (std::hypot(z - middle, y - middle, x - middle) <= radius) sites.insert(sites.end(), {0, z, y, x});
    return sites;
}

Indices scattered(int side, double density) {
    Indices sites;
    std::bernoulli_distribution hit(density);
    for (int z = 0; z < side; ++z)
        for (int y = 0; y < side; ++y)
            for (int x = 0; x < side; ++x)
                if (hit(random_bits)) sites.insert(sites.end(), {0, z, y, x});
    return sites;
}

struct Scene {
    Geometry geometry;
    Indices in, out;
    Sites in_sites, out_sites;
    Plan plan;
    std::size_t n() const { return in.size() / 4; }
    std::size_t m() const { return out.size() / 4; }
};

// A window over a cube of this side. submanifold: the outputs are the inputs.
Geometry window(int side, int kernel, int stride, bool submanifold) {
    const int padding = submanifold ? kernel / 2 : 0, out = submanifold ? side : (side - kernel) / stride + 1;
    return {{kernel, kernel, kernel},
            {stride, stride, stride},
            {padding, padding, padding},
            {1, 1, 1},
            {side, side, side},
            {out, out, out},
            1,
            false};
}

Scene make_scene(const Geometry& g, Indices in, bool submanifold) {
    Scene s{g, std::move(in), {}, {}, {}, {}};
    s.in_sites = index_sites(s.in.data(), std::int64_t(s.n()), 1, g.in_shape, threads);
    s.out_sites = submanifold ? s.in_sites : output_sites(s.in_sites, g, threads);
    s.out.resize(std::size_t(site_count(s.out_sites)) * 4);
    write_sites(s.out_sites, s.out.data(), threads);
    s.plan = make_plan(s.in_sites, s.out_sites, g);
    return s;
}

double pairs_of(const Scene& s) {
    std::vector<std::int32_t> rows(std::size_t(s.geometry.volume()) * s.m());
    write_neighbours(s.plan, rows.data(), threads);
    return double(std::count_if(rows.begin(), rows.end(), [](std::int32_t row) { return row >= 0; }));
}

// --- the index ---------------------------------------------------------------------------------------------

void bench_index(const char* kind, const Indices& small, int small_side, const Indices& large, int side) {
    if (!wanted("index") && !wanted("output sites") && !wanted("neighbours")) return;
    std::string name;
    for (const int stride : {1, 2}) {
        const bool submanifold = stride == 1;
        const Scene few = make_scene(window(small_side, 3, stride, submanifold), small, submanifold);
        if (few.out != (submanifold ? few.in : naive::output_sites(few.geometry, few.in))) wrong("output sites");
        std::vector<std::int32_t> rows(27 * few.m()), expected(27 * few.m(), -1);
        write_neighbours(few.plan, rows.data(), threads);
        for (const auto& of : naive::meetings(few.geometry, few.in, few.out))
            for (const auto& met : of) expected[std::size_t(met.offset) * few.m() + std::size_t(met.out)] = met.in;
        if (rows != expected) wrong("neighbours");

        const Scene many = make_scene(window(side, 3, stride, submanifold), large, submanifold);
        if (submanifold) {
            name = std::string("index, ") + kind;
            row(name.c_str(), seconds([&] {
                    index_sites(many.in.data(), std::int64_t(many.n()), 1, many.geometry.in_shape, threads);
                }),
                many.n(), 0, double(many.in.size() * 4));
        } else {
            name = std::string("output sites 3^3 stride 2, ") + kind;
            row(name.c_str(), seconds([&] { output_sites(many.in_sites, many.geometry, threads); }), many.n(), 0, 0);
        }
        rows.resize(27 * many.m());
        name = std::string("neighbours 3^3 stride ") + std::to_string(stride) + ", " + kind;
        row(name.c_str(), seconds([&] { write_neighbours(many.plan, rows.data(), threads); }), many.m(), 0,
            double(rows.size() * 4));
    }
}

// --- convolutions ------------------------------------------------------------------------------------------

struct Layer {
    Values features, weight, grad;
    Convolution<float> args{};
};

Layer make_layer(const Scene& s, int c_in, int c_out) {
    Layer made{random_values(s.n() * std::size_t(c_in)),
               random_values(std::size_t(c_out * s.geometry.volume() * c_in)),
               random_values(s.m() * std::size_t(c_out)),
               {}};
    made.args = {made.features.data(), made.weight.data(), nullptr, nullptr, c_in, c_out};
    return made;
}

void check_convolution(const char* name, const Scene& s, int c_in, int c_out) {
    const Layer layer = make_layer(s, c_in, c_out);
    const std::size_t ci = std::size_t(c_in), co = std::size_t(c_out), volume = std::size_t(s.geometry.volume());
    std::vector<double> value(s.m() * co, 0), g_features(s.n() * ci, 0), g_weight(layer.weight.size(), 0);
    for (const auto& of : naive::meetings(s.geometry, s.in, s.out))
        for (const auto& met : of)
            for (std::size_t c = 0; met.in >= 0 && c < co; ++c)
                for (std::size_t i = 0; i < ci; ++i) {
                    const std::size_t w = (c * volume + std::size_t(met.offset)) * ci + i,
                                      x = std::size_t(met.in) * ci + i, y = std::size_t(met.out) * co + c;
                    value[y] += double(layer.weight[w]) * double(layer.features[x]);
                    g_weight[w] += double(layer.grad[y]) * double(layer.features[x]);
                    g_features[x] += double(layer.grad[y]) * double(layer.weight[w]);
                }
    Values result(value.size()), features(g_features.size()), weight(g_weight.size()), bias(co);
    convolution<float>(s.plan, layer.args, result.data(), nullptr, threads);
    check_close(result, value, name);
    convolution_backward<float>(s.plan, layer.args, layer.grad.data(), nullptr,
                                {features.data(), weight.data(), bias.data(), nullptr}, threads);
    check_close(features, g_features, name);
    check_close(weight, g_weight, name);
}

void bench_convolution(const char* name, const Scene& small, const Scene& large, int c_in, int c_out) {
    if (!wanted(name)) return;
    check_convolution(name, small, c_in, c_out);
    const Layer layer = make_layer(large, c_in, c_out);
    const double operations = 2 * pairs_of(large) * c_in * c_out;
    Values result(layer.grad.size()), features(layer.features.size()), weight(layer.weight.size()),
        bias(std::size_t(c_out), 0);
    const double bytes = 4.0 * double(features.size() + weight.size() + result.size());
    const std::string all = name;
    row(name, seconds([&] { convolution<float>(large.plan, layer.args, result.data(), nullptr, threads); }), large.m(),
        operations, bytes);
    row((all + ", input gradient").c_str(), seconds([&] {
            convolution_backward<float>(large.plan, layer.args, layer.grad.data(), nullptr,
                                        {features.data(), nullptr, nullptr, nullptr}, threads);
        }),
        large.m(), operations, bytes);
    row((all + ", weight gradient").c_str(), seconds([&] {
            convolution_backward<float>(large.plan, layer.args, layer.grad.data(), nullptr,
                                        {nullptr, weight.data(), nullptr, nullptr}, threads);
        }),
        large.m(), operations, bytes);
}

// --- pools -------------------------------------------------------------------------------------------------

void bench_pools(const char* kind, const Scene& small, const Scene& large, int channels) {
    if (!wanted("pool")) return;
    const std::size_t c = std::size_t(channels);
    for (const Scene* s : {&small, &large}) {
        const Values features = random_values(s->n() * c), grad = random_values(s->m() * c);
        Values values(s->m() * c), mean(s->m() * c), back(s->n() * c), of_background(c);
        std::vector<std::int32_t> rows(s->m() * c);
        max_pool<float>(s->plan, features.data(), nullptr, channels, values.data(), rows.data(), threads);
        avg_pool<float>(s->plan, features.data(), nullptr, channels, mean.data(), threads);
        if (s == &small) {
            std::vector<double> largest(values.size(), -1e30), sum(values.size(), 0), count(s->m(), 0);
            for (const auto& of : naive::meetings(s->geometry, s->in, s->out))
                for (const auto& met : of) {
                    if (met.in < 0) continue;
                    count[std::size_t(met.out)] += 1;
                    for (std::size_t i = 0; i < c; ++i) {
                        const double x = double(features[std::size_t(met.in) * c + i]);
                        largest[std::size_t(met.out) * c + i] = std::max(largest[std::size_t(met.out) * c + i], x);
                        sum[std::size_t(met.out) * c + i] += x;
                    }
                }
            for (std::size_t i = 0; i < sum.size(); ++i) sum[i] /= count[i / c];
            check_close(values, largest, "max pool");
            check_close(mean, sum, "average pool");
            continue;
        }
        const std::string name = std::string("pool 3^3 stride 2, ") + kind;
        const double bytes = 4.0 * double(features.size() + values.size());
        row(("max " + name).c_str(), seconds([&] {
                max_pool<float>(s->plan, features.data(), nullptr, channels, values.data(), rows.data(), threads);
            }),
            s->m(), 0, bytes + double(rows.size() * 4));
        row(("max " + name + ", backward").c_str(), seconds([&] {
                max_pool_backward(s->plan, grad.data(), rows.data(), channels, back.data(), of_background.data(),
                                  threads);
            }),
            s->m(), 0, bytes + double(rows.size() * 4));
        row(("average " + name).c_str(),
            seconds([&] { avg_pool<float>(s->plan, features.data(), nullptr, channels, mean.data(), threads); }),
            s->m(), 0, bytes);
    }
}

// --- volumes to voxels -------------------------------------------------------------------------------------

void bench_voxels(int side) {
    if (!wanted("voxels")) return;
    const std::size_t cells = std::size_t(side) * std::size_t(side) * std::size_t(side);
    std::vector<std::int16_t> data(cells);
    std::uniform_int_distribution<int> value(-1000, 2999);
    for (std::int16_t& x : data) x = std::int16_t(value(random_bits));
    const VolumeView<std::int16_t> volume{data.data(), {side, side, side}, {2LL * side * side, 2LL * side, 2}};
    const double low = 2800, high = 32767;
    Indices expected;
    for (std::size_t i = 0; i < cells; ++i)
        if (data[i] >= low) {
            const int at = int(i);
            expected.insert(expected.end(), {at / side / side, at / side % side, at % side});
        }
    const std::int64_t n = std::int64_t(expected.size() / 3);
    Indices indices(expected.size());
    Values values(expected.size() / 3);
    if (count_voxels(volume, low, high, threads) != n) wrong("voxels, counted");
    if (find_voxels(volume, low, high, n, indices.data(), values.data(), nullptr, threads) != n || indices != expected)
        wrong("voxels");
    for (std::size_t i = 0; i < values.size(); ++i) {
        const std::size_t z = std::size_t(indices[3 * i]), y = std::size_t(indices[3 * i + 1]),
                          x = std::size_t(indices[3 * i + 2]);
        if (values[i] != float(data[(z * std::size_t(side) + y) * std::size_t(side) + x])) wrong("voxels");
    }
    // into memory that has been written before: pages that are new to the process cost as much again
    row("voxels of int16, 5 % by chance",
        seconds([&] { find_voxels(volume, low, high, n, indices.data(), values.data(), nullptr, threads); }),
        std::size_t(n), 0, double(cells * 2) + double(n) * 16);
    row("voxels, counted", seconds([&] { count_voxels(volume, low, high, threads); }), std::size_t(n), 0,
        double(cells * 2));
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 1) threads = std::atoi(argv[1]);
    if (argc > 2) only = argv[2];
    if (threads < 1) {
        std::printf("the number of threads must be at least 1, got %s\n", argv[1]);
        return 2;
    }
    std::printf("%s, %d threads\n", instruction_set(), threads);

    const int small = 14, side = 72;  // a ball of 142,000 sites
    bench_index("ball", ball(small), small, ball(side), side);
    bench_index("1 % by chance", scattered(small, 0.01), small, scattered(240, 0.01), 240);

    const auto convolutions = [&](const std::string& kind, const Indices& few, const Indices& many, int large_side) {
        const auto both = [&](const char* what, int kernel, int stride, bool submanifold, int c_in, int c_out) {
            const std::string name =
                std::string(what) + " " + std::to_string(c_in) + " to " + std::to_string(c_out) + ", " + kind;
            if (!wanted(name.c_str())) return;
            bench_convolution(name.c_str(), make_scene(window(small, kernel, stride, submanifold), few, submanifold),
                              make_scene(window(large_side, kernel, stride, submanifold), many, submanifold), c_in,
                              c_out);
        };
        both("submanifold 3^3", 3, 1, true, 1, 32);
        both("submanifold 3^3", 3, 1, true, 32, 32);  // full windows: Winograd; lone sites: direct
        both("submanifold 3^3", 3, 1, true, 64, 64);
        both("convolution 2^3 stride 2", 2, 2, false, 32, 64);
        both("convolution 2^3", 2, 1, false, 32, 64);
    };
    convolutions("ball", ball(small), ball(side), side);
    convolutions("1 % by chance", scattered(small, 0.01), scattered(160, 0.01), 160);

    bench_pools("ball", make_scene(window(small, 3, 2, false), ball(small), false),
                make_scene(window(side, 3, 2, false), ball(side), false), 32);
    bench_voxels(384);
    return 0;
}
