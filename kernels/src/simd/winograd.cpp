// A convolution through Winograd's transforms. What is saved grows with how full a block is, as products are made for
// the missing sites too; the driver chooses (../winograd.cpp).
#include "winograd.h"

#include "winograd_blocks.h"

namespace sparse3d {
namespace S3D_ISA {
namespace {

using namespace winograd;

// R rows that follow each other times V vectors, from zero.
template <int R, int W>
S3D_INLINE void product_rows(const float* a, int64_t a_stride, const float* packed, int c_in, float* result,
                             int64_t result_stride) {
    V sum[R][W];
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < W; ++v) sum[r][v] = V{};
    for (int c = 0; c < c_in; ++c, packed += W * L) {
        V b[W];
        for (int v = 0; v < W; ++v) b[v] = load(packed + v * L);
        for (int r = 0; r < R; ++r)
            for (int v = 0; v < W; ++v) sum[r][v] += a[r * a_stride + c] * b[v];
    }
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < W; ++v) store(result + r * result_stride + v * L, sum[r][v]);
}

template <int W>
S3D_INLINE void product_block(int rows, const float* a, int64_t a_stride, const float* packed, int c_in, float* result,
                              int64_t result_stride) {
    constexpr int R = block_rows(W);
    for (int r = 0; r < rows; r += R)
        product_rows<R, W>(a + r * a_stride, a_stride, packed, c_in, result + r * result_stride, result_stride);
}

void product(int rows, const float* a, int c_in, const float* packed, int width, float* result) {
    for (int b = 0; b < block_count<float>(width); ++b) {
        const Block block = block_at<float>(width, b);
        float* target = result + block.vector * L;
        const float* weights = packed + int64_t(block.vector) * L * c_in;
        switch (block.vectors) {
            case 1: product_block<1>(rows, a, c_in, weights, c_in, target, width); break;
            case 2: product_block<2>(rows, a, c_in, weights, c_in, target, width); break;
            default:
                if constexpr (kBlockVectors > 2) {
                    if (block.vectors == 3)
                        product_block<3>(rows, a, c_in, weights, c_in, target, width);
                    else
                        product_block<4>(rows, a, c_in, weights, c_in, target, width);
                }
        }
    }
}

// sums (count, 2, 2, kOutX, width) += A' m for one u_z.
template <int R, int U>
void transform_outputs(int count, int width, int stride, const float* products, float* sums) {
    using S = Size<R>;
    using Y = typename Window3<R>::Y;
    using X = typename Window3<R>::X;
    for (int t = 0; t < count; ++t)
        for (int c = 0; c < width; c += L) {
            V half[2][S::kX], out[2][S::kOutX];
            for (int x = 0; x < S::kX; ++x) {
                V m[S::kY], y[2];
                for (int j = 0; j < S::kY; ++j)
                    m[j] = load(products + (int64_t(j * S::kX + x) * stride + t) * width + c);
                Y::outputs(m, y);
                for (int j = 0; j < 2; ++j) half[j][x] = y[j];
            }
            for (int j = 0; j < 2; ++j) X::outputs(half[j], out[j]);
            for (int z = 0; z < 2; ++z) {
                if (Y::to_output[U][z] == 0) continue;
                float* sum = sums + (int64_t(t) * S::kOutputs + z * 2 * S::kOutX) * width + c;
                for (int j = 0; j < 2; ++j)
                    for (int i = 0; i < S::kOutX; ++i) {
                        float* p = sum + int64_t(j * S::kOutX + i) * width;
                        // u_z = 0 is the first that output 0 meets, 1 the first that output 1 meets
                        const V before = U == z ? V{} : load(p);
                        store(p, Y::to_output[U][z] > 0 ? before + out[j][i] : before - out[j][i]);
                    }
            }
        }
}

template <int R, int U>
S3D_INLINE void step(const WinogradTask& task, const Blocks<float*>& blocks, int stride, float* values, float* products,
                     float* sums) {
    constexpr int kPlane = Size<R>::kPlane;
    transform_inputs<R, U>(blocks, task.c_in, stride, values);
    const int64_t each = int64_t(task.c_in) * task.width;
    for (int p = 0; p < kPlane; ++p)
        product(blocks.count, values + int64_t(p) * stride * task.c_in, task.c_in,
                task.transformed + (U * kPlane + p) * each, task.width, products + int64_t(p) * stride * task.width);
    transform_outputs<R, U>(blocks.count, task.width, stride, products, sums);
}

// The result of each output, from its sums: bias and activation.
template <int R>
S3D_INLINE void write_outputs(const WinogradTask& task, const Blocks<float*>& blocks, const float* sums) {
    for (int i = 0; i < blocks.count * Size<R>::kOutputs; ++i) {
        const float* sum = sums + int64_t(i) * task.width;
        float* result = blocks.output[i];
        int c = 0;
        for (; c + L <= task.c_out; c += L) {
            const V value = load(sum + c) + load(task.start + c);
            store(result + c, task.leaky ? (value > 0 ? value : task.slope * value) : value);
        }
        for (; c < task.c_out; ++c) {
            const float value = sum[c] + task.start[c];
            result[c] = task.leaky && !(value > 0) ? task.slope * value : value;
        }
    }
}

template <int R>
void convolve(const WinogradTask& task, int64_t index, Scratch scratch) {
    using S = Size<R>;
    const int stride = padded_blocks(task);
    float* values = scratch.take<float>(size_t(S::kPlane) * size_t(stride) * size_t(task.c_in));
    float* products = scratch.take<float>(size_t(S::kPlane) * size_t(stride) * size_t(task.width));
    float* sums = scratch.take<float>(size_t(task.blocks_per_task) * S::kOutputs * size_t(task.width));
    float* unread = scratch.take<float>(size_t(task.width));  // what the missing outputs of a block come to
    const Blocks<float*> blocks = find_blocks<R>(task, Rows<float*>{task.result, task.c_out, unread}, index, scratch);
    step<R, 0>(task, blocks, stride, values, products, sums);
    step<R, 1>(task, blocks, stride, values, products, sums);
    step<R, 2>(task, blocks, stride, values, products, sums);
    if constexpr (R == 3) step<R, 3>(task, blocks, stride, values, products, sums);
    write_outputs<R>(task, blocks, sums);
}

}  // namespace

size_t winograd_scratch(const WinogradTask& task) {
    const size_t n = size_t(task.window + 1), plane = size_t(winograd_plane(task.window)),
                 rows = size_t(winograd::padded_blocks(task));
    const size_t out_x = size_t(winograd_outputs_x(task.window)), most = size_t(task.blocks_per_task);
    const size_t wide = size_t(task.width > task.c_out ? task.width : task.c_out);
    return (plane * rows * (size_t(task.c_in) + wide) + most * 4 * out_x * wide + wide) * sizeof(float) +
           (most * (n * plane + 4 * out_x) + n * n * (64 * out_x + n) + 4 * 64 * out_x) * sizeof(float*) + 8 * 64;
}

void winograd_convolution(const WinogradTask& task, int64_t index, void* memory) {
    const Scratch scratch{static_cast<char*>(memory)};
    if (task.window == 3)
        convolve<3>(task, index, scratch);
    else
        convolve<2>(task, index, scratch);
}

}  // namespace S3D_ISA
}  // namespace sparse3d
