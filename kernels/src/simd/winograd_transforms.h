// The transforms of Winograd's minimal filtering, for windows of 3^3 on blocks of 2 x 2 x 4 outputs and 2^3 on 2 x 2
// x 2.
//
// Along one axis, M outputs of a window of R cells need N = M + R - 1 products instead of M R:
//
//     y = A' [(G g) * (B' d)]      d: N inputs, g: R weights, y: M outputs, * elementwise
//
//     F(2, 3)   B' d = d0 - d2, d1 + d2, d2 - d1, d1 - d3     G g = g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2
//               y    = m0 + m1 + m2,  m1 - m2 - m3
//     F(2, 2)   B' d = d0 - d1, d1, d2 - d1                   G g = g0, g0 + g1, g1
//               y    = m0 + m1,  m1 + m2
//     F(4, 3)   see below
//
// (Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016.) In three dimensions a block of 3^3
// takes 4 x 4 x 6 = 96 products a channel pair instead of 16 x 27 = 432, one of 2^3 takes 27 instead of 64. What is
// saved grows with how full a block is, as products are made for the missing sites too; the driver chooses
// (../winograd.cpp).
//
// A task takes a few dozen blocks and goes through the values of u_z one at a time: then the transformed values of a
// block fit in the registers, and everything of a step fits in the L2 cache.
#pragma once

#include "vec.h"
#include "winograd.h"

namespace sparse3d {
namespace S3D_ISA {
namespace winograd {

using V = Vec<float>;
constexpr int L = kLanes<float>;

struct F23 {
    static constexpr int kOutputs = 2, kPoints = 4;
    S3D_INLINE_MEMBER static void inputs(V* d) {
        const V d0 = d[0] - d[2], d1 = d[1] + d[2], d2 = d[2] - d[1], d3 = d[1] - d[3];
        d[0] = d0;
        d[1] = d1;
        d[2] = d2;
        d[3] = d3;
    }
    S3D_INLINE_MEMBER static void outputs(const V* m, V* y) {
        y[0] = m[0] + m[1] + m[2];
        y[1] = m[1] - m[2] - m[3];
    }
    S3D_INLINE_MEMBER static void gradients(const V* y, V* m) {
        m[0] = y[0];
        m[1] = y[0] + y[1];
        m[2] = y[0] - y[1];
        m[3] = -y[1];
    }
    S3D_INLINE_MEMBER static void weights(const V* g, V* u) {
        const V half = (g[0] + g[2]) * 0.5f, other = g[1] * 0.5f;
        u[0] = g[0];
        u[1] = half + other;
        u[2] = half - other;
        u[3] = g[2];
    }
    S3D_INLINE_MEMBER static void weight_gradients(const V* u, V* g) {
        const V half = (u[1] + u[2]) * 0.5f;
        g[0] = u[0] + half;
        g[1] = (u[1] - u[2]) * 0.5f;
        g[2] = half + u[3];
    }
    // The z step alone: which planes make u_z, and which outputs it belongs to.
    static constexpr int plane[4][2] = {{0, 2}, {1, 2}, {2, 1}, {1, 3}};
    static constexpr int sign[4] = {-1, 1, -1, -1};  // of the second plane
    static constexpr int to_output[4][2] = {{1, 0}, {1, 1}, {1, -1}, {0, -1}};
};

struct F22 {
    static constexpr int kOutputs = 2, kPoints = 3;
    S3D_INLINE_MEMBER static void inputs(V* d) {
        d[0] -= d[1];
        d[2] -= d[1];
    }
    S3D_INLINE_MEMBER static void outputs(const V* m, V* y) {
        y[0] = m[0] + m[1];
        y[1] = m[1] + m[2];
    }
    S3D_INLINE_MEMBER static void gradients(const V* y, V* m) {
        m[0] = y[0];
        m[1] = y[0] + y[1];
        m[2] = y[1];
    }
    S3D_INLINE_MEMBER static void weights(const V* g, V* u) {
        u[0] = g[0];
        u[1] = g[0] + g[1];
        u[2] = g[1];
    }
    S3D_INLINE_MEMBER static void weight_gradients(const V* u, V* g) {
        g[0] = u[0] + u[1];
        g[1] = u[1] + u[2];
    }
    static constexpr int plane[3][2] = {{0, 1}, {1, 1}, {2, 1}};
    static constexpr int sign[3] = {-1, 0, -1};
    static constexpr int to_output[3][2] = {{1, 0}, {1, 1}, {0, 1}};
};

// Toom and Cook's construction (Winograd, Arithmetic Complexity of Computations, 1980, chapter V) at the points 0, a,
// -a, b, -b and infinity, with M(p) = p (p^2 - a^2) (p^2 - b^2):
//
//     G g  = g(p) / M'(p), and g2          g(p) = g0 + g1 p + g2 p^2
//     B' d = the coefficients of M(p) / (p - p_i), and of M, times d
//     y_k  = sum of p_i^k m_i, and m5 more for y3
//
// a = 3/4 and b = 3/2 are exact in binary and lose a third fewer digits than the usual 1 and 2: against double, a layer
// of 32 channels differs by 4.7e-7 of its norm (1 and 2: 6.7e-7; F(2, 3) on all axes: 2.6e-7). On a second axis it
// would be 8.0e-7.
struct F43 {
    static constexpr int kOutputs = 4, kPoints = 6;
    static constexpr float a = 0.75f, b = 1.5f, a2 = a * a, b2 = b * b;
    static constexpr float at_0 = 1 / (a2 * b2), at_a = 1 / (2 * a2 * (a2 - b2)), at_b = 1 / (2 * b2 * (b2 - a2));
    S3D_INLINE_MEMBER static void inputs(V* d) {
        const V even_a = d[4] - b2 * d[2], odd_a = a * (d[3] - b2 * d[1]);
        const V even_b = d[4] - a2 * d[2], odd_b = b * (d[3] - a2 * d[1]);
        d[0] = even_b - b2 * (d[2] - a2 * d[0]);
        d[5] = (d[5] - a2 * d[3]) - b2 * (d[3] - a2 * d[1]);
        d[1] = even_a + odd_a;
        d[2] = even_a - odd_a;
        d[3] = even_b + odd_b;
        d[4] = even_b - odd_b;
    }
    S3D_INLINE_MEMBER static void outputs(const V* m, V* y) {
        const V even_a = m[1] + m[2], odd_a = a * (m[1] - m[2]), even_b = m[3] + m[4], odd_b = b * (m[3] - m[4]);
        y[0] = m[0] + even_a + even_b;
        y[1] = odd_a + odd_b;
        y[2] = a2 * even_a + b2 * even_b;
        y[3] = a2 * odd_a + b2 * odd_b + m[5];
    }
    S3D_INLINE_MEMBER static void gradients(const V* y, V* m) {
        const V even_a = y[0] + a2 * y[2], odd_a = a * (y[1] + a2 * y[3]), even_b = y[0] + b2 * y[2],
                odd_b = b * (y[1] + b2 * y[3]);
        m[0] = y[0];
        m[1] = even_a + odd_a;
        m[2] = even_a - odd_a;
        m[3] = even_b + odd_b;
        m[4] = even_b - odd_b;
        m[5] = y[3];
    }
    S3D_INLINE_MEMBER static void weights(const V* g, V* u) {
        const V even_a = at_a * (g[0] + a2 * g[2]), odd_a = (at_a * a) * g[1], even_b = at_b * (g[0] + b2 * g[2]),
                odd_b = (at_b * b) * g[1];
        u[0] = at_0 * g[0];
        u[1] = even_a + odd_a;
        u[2] = even_a - odd_a;
        u[3] = even_b + odd_b;
        u[4] = even_b - odd_b;
        u[5] = g[2];
    }
    S3D_INLINE_MEMBER static void weight_gradients(const V* u, V* g) {
        const V even_a = at_a * (u[1] + u[2]), even_b = at_b * (u[3] + u[4]);
        g[0] = at_0 * u[0] + even_a + even_b;
        g[1] = (at_a * a) * (u[1] - u[2]) + (at_b * b) * (u[3] - u[4]);
        g[2] = a2 * even_a + b2 * even_b + u[5];
    }
};

// A window of R^3: the filter along z and y, and along x. Blocks are longer along x, where sites follow each other in
// memory.
template <int R>
struct Window3 {
    using Y = F23;
    using X = F43;
};
template <>
struct Window3<2> {
    using Y = F22;
    using X = F22;
};
template <int R>
struct Size {
    static constexpr int kY = Window3<R>::Y::kPoints, kX = Window3<R>::X::kPoints, kPlane = kY * kX,
                         kInputs = kY * kPlane;
    static constexpr int kOutX = Window3<R>::X::kOutputs, kOutputs = 4 * kOutX;
    static_assert(kOutX == winograd_outputs_x(R) && kPlane == winograd_plane(R),
                  "the driver counts with the same sizes");
};

}  // namespace winograd
}  // namespace S3D_ISA
}  // namespace sparse3d
