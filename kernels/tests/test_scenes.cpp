// Every operator over random and awkward geometries, and over the layers of networks.
#include "tests.h"

namespace {

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
        test_network<T>(s, c_in, c_out, true);
        test_network<T>(s, c_in, c_out, false);
    }
}

}  // namespace

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
