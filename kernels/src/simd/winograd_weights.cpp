// The transform of weights, and of sums back to their gradient.
#include "winograd_transforms.h"

namespace sparse3d {
namespace S3D_ISA {
namespace {

using namespace winograd;

// Along each axis in turn, for L weights at once.
template <int R>
void transform_weights(const float* const* offset, float* transformed, int64_t each, int64_t first, int64_t last) {
    constexpr int kY = Size<R>::kY, kX = Size<R>::kX;
    using Y = typename Window3<R>::Y;
    for (int64_t e = first; e < last; e += L) {
        V g[R][R][kX], h[R][kY][kX];
        for (int z = 0; z < R; ++z)
            for (int y = 0; y < R; ++y) {
                V w[R];
                for (int x = 0; x < R; ++x) w[x] = load(offset[(z * R + y) * R + x] + e);
                Window3<R>::X::weights(w, g[z][y]);
            }
        for (int z = 0; z < R; ++z)
            for (int x = 0; x < kX; ++x) {
                V w[R], u[kY];
                for (int y = 0; y < R; ++y) w[y] = g[z][y][x];
                Y::weights(w, u);
                for (int y = 0; y < kY; ++y) h[z][y][x] = u[y];
            }
        for (int y = 0; y < kY; ++y)
            for (int x = 0; x < kX; ++x) {
                V w[R], u[kY];
                for (int z = 0; z < R; ++z) w[z] = h[z][y][x];
                Y::weights(w, u);
                for (int z = 0; z < kY; ++z) store(transformed + ((z * kY + y) * kX + x) * each + e, u[z]);
            }
    }
}

template <int R>
void transform_weight_gradients(const float* sums, int64_t each, int64_t chunks, int64_t chunk_stride, int64_t e,
                                float* const* offset) {
    constexpr int kY = Size<R>::kY, kX = Size<R>::kX;
    using Y = typename Window3<R>::Y;
    V g[kY][kY][R], h[kY][R][R];
    for (int z = 0; z < kY; ++z)
        for (int y = 0; y < kY; ++y) {
            V u[kX];
            for (int x = 0; x < kX; ++x) {
                u[x] = V{};
                for (int64_t chunk = 0; chunk < chunks; ++chunk)
                    u[x] += load(sums + chunk * chunk_stride + ((z * kY + y) * kX + x) * each + e);
            }
            Window3<R>::X::weight_gradients(u, g[z][y]);
        }
    for (int z = 0; z < kY; ++z)
        for (int x = 0; x < R; ++x) {
            V u[kY], w[R];
            for (int y = 0; y < kY; ++y) u[y] = g[z][y][x];
            Y::weight_gradients(u, w);
            for (int y = 0; y < R; ++y) h[z][y][x] = w[y];
        }
    for (int y = 0; y < R; ++y)
        for (int x = 0; x < R; ++x) {
            V u[kY], w[R];
            for (int z = 0; z < kY; ++z) u[z] = h[z][y][x];
            Y::weight_gradients(u, w);
            for (int z = 0; z < R; ++z) store(offset[(z * R + y) * R + x], w[z]);
        }
}

}  // namespace

void winograd_weights(int window, const float* const* offset, float* transformed, int64_t each, int64_t first,
                      int64_t last) {
    if (window == 3)
        transform_weights<3>(offset, transformed, each, first, last);
    else
        transform_weights<2>(offset, transformed, each, first, last);
}

void winograd_weights_back(int window, const float* sums, int64_t each, int64_t chunks, int64_t chunk_stride, int o,
                           int c_in, float* weight) {
    for (int c = 0; c < c_in; c += L) {
        float* offset[27];
        for (int k = 0; k < window * window * window; ++k) offset[k] = weight + int64_t(k) * c_in + c;
        const int64_t e = int64_t(o) * c_in + c;
        if (window == 3)
            transform_weight_gradients<3>(sums, each, chunks, chunk_stride, e, offset);
        else
            transform_weight_gradients<2>(sums, each, chunks, chunk_stride, e, offset);
    }
}

}  // namespace S3D_ISA
}  // namespace sparse3d
