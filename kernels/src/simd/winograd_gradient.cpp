// The weight gradient through Winograd's transforms: transformed inputs times transformed gradients, summed over
// blocks; the sums are transformed back once (winograd_weights.cpp).
#include "winograd_blocks.h"

namespace sparse3d {
namespace S3D_ISA {
namespace {

using namespace winograd;

// values (kPlane, stride rows, c_out): A dy of all blocks for one u_z; sites that are not there have no gradient.
template <int R, int U>
void transform_gradients(const WinogradTask& task, const Blocks<const float*>& blocks, int stride, float* values) {
    using S = Size<R>;
    using Y = typename Window3<R>::Y;
    using X = typename Window3<R>::X;
    for (int t = 0; t < blocks.count; ++t) {
        const float* const* from = blocks.output + t * S::kOutputs;
        for (int c = 0; c < task.c_out; c += L) {
            V half[S::kY][S::kOutX];
            for (int i = 0; i < S::kOutX; ++i) {
                V y[2], m[S::kY];
                for (int j = 0; j < 2; ++j) {
                    y[j] = V{};
                    for (int z = 0; z < 2; ++z) {
                        if (Y::to_output[U][z] > 0) y[j] += load(from[(z * 2 + j) * S::kOutX + i] + c);
                        if (Y::to_output[U][z] < 0) y[j] -= load(from[(z * 2 + j) * S::kOutX + i] + c);
                    }
                }
                Y::gradients(y, m);
                for (int j = 0; j < S::kY; ++j) half[j][i] = m[j];
            }
            for (int j = 0; j < S::kY; ++j) {
                V row[S::kX];
                X::gradients(half[j], row);
                for (int i = 0; i < S::kX; ++i)
                    store(values + (int64_t(j * S::kX + i) * stride + t) * task.c_out + c, row[i]);
            }
        }
    }
}

// sums (c_out, c_in) += gradients (n, c_out)' inputs (n, c_in), R times W vectors at once.
template <int R, int W>
S3D_INLINE void add_outer(const float* gradients, int c_out, const float* inputs, int c_in, int n, float* sums) {
    V sum[R][W];
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < W; ++v) sum[r][v] = load(sums + int64_t(r) * c_in + v * L);
    for (int i = 0; i < n; ++i) {
        V b[W];
        for (int v = 0; v < W; ++v) b[v] = load(inputs + int64_t(i) * c_in + v * L);
        for (int r = 0; r < R; ++r)
            for (int v = 0; v < W; ++v) sum[r][v] += gradients[int64_t(i) * c_out + r] * b[v];
    }
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < W; ++v) store(sums + int64_t(r) * c_in + v * L, sum[r][v]);
}

template <int W>
S3D_INLINE void add_outer_rows(const float* gradients, int c_out, const float* inputs, int c_in, int n, float* sums) {
    constexpr int R = kRegisters == 32 ? 8 : 4;
    for (int o = 0; o < c_out; o += R) add_outer<R, W>(gradients + o, c_out, inputs, c_in, n, sums + int64_t(o) * c_in);
}

template <int R, int U>
void weight_step(const WinogradTask& task, const Blocks<const float*>& blocks, int stride, float* inputs,
                 float* gradients, float* sums) {
    constexpr int kPlane = Size<R>::kPlane;
    transform_inputs<R, U>(blocks, task.c_in, stride, inputs);
    transform_gradients<R, U>(task, blocks, stride, gradients);
    for (int p = 0; p < kPlane; ++p) {
        const float* x = inputs + int64_t(p) * stride * task.c_in;
        const float* g = gradients + int64_t(p) * stride * task.c_out;
        float* sum = sums + int64_t(U * kPlane + p) * task.c_out * task.c_in;
        int c = 0;
        for (; c + 2 * L <= task.c_in; c += 2 * L)
            add_outer_rows<2>(g, task.c_out, x + c, task.c_in, blocks.count, sum + c);
        if (c < task.c_in) add_outer_rows<1>(g, task.c_out, x + c, task.c_in, blocks.count, sum + c);
    }
}

template <int R>
void weight_gradient(const WinogradTask& task, int64_t first, int64_t last, int first_u, int last_u, float* sums,
                     Scratch scratch) {
    const int stride = padded_blocks(task);
    float* inputs = scratch.take<float>(size_t(Size<R>::kPlane) * size_t(stride) * size_t(task.c_in));
    float* gradients = scratch.take<float>(size_t(Size<R>::kPlane) * size_t(stride) * size_t(task.c_out));
    for (int64_t index = first; index < last; ++index) {
        Scratch rest = scratch;
        const Blocks<const float*> blocks =
            find_blocks<R>(task, Rows<const float*>{task.grad, task.c_out, task.zeros}, index, rest);
        for (int u = first_u; u < last_u; ++u) switch (u) {
                case 0: weight_step<R, 0>(task, blocks, stride, inputs, gradients, sums); break;
                case 1: weight_step<R, 1>(task, blocks, stride, inputs, gradients, sums); break;
                case 2: weight_step<R, 2>(task, blocks, stride, inputs, gradients, sums); break;
                default:
                    if constexpr (R == 3) weight_step<R, 3>(task, blocks, stride, inputs, gradients, sums);
            }
    }
}

}  // namespace

void winograd_weight_gradient(const WinogradTask& task, int64_t first, int64_t last, int first_u, int last_u,
                              float* sums, void* memory) {
    const Scratch scratch{static_cast<char*>(memory)};
    if (task.window == 3)
        weight_gradient<3>(task, first, last, first_u, last_u, sums, scratch);
    else
        weight_gradient<2>(task, first, last, first_u, last_u, sums, scratch);
}

}  // namespace S3D_ISA
}  // namespace sparse3d
