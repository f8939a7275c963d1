// Winograd's minimal filtering on 2 x 2 x 2 outputs, for windows of 2^3 and 3^3 with stride 1.
//
// Along one axis, two outputs of a window of R cells need N = R + 1 products instead of 2 R:
//
//     y = A' [(G g) * (B' d)]      d: N inputs, g: R weights, y: 2 outputs, * elementwise
//
//     F(2, 3)   B' d = d0 - d2, d1 + d2, d2 - d1, d1 - d3     G g = g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2
//               y    = m0 + m1 + m2,  m1 - m2 - m3
//     F(2, 2)   B' d = d0 - d1, d1, d2 - d1                   G g = g0, g0 + g1, g1
//               y    = m0 + m1,  m1 + m2
//
// (Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016.) In three dimensions a block takes N^3
// products a channel pair instead of 8 R^3: 64 against 216, 27 against 64. What is saved grows with how full a block is, as
// products are made for the missing sites too; the driver chooses (../winograd.cpp).
//
// A task takes a few dozen blocks and goes through the N values of u_z one at a time: then the N^2 transformed values of a
// block fit in the registers, and everything of a step fits in the L2 cache.
#include "gemm.h"
#include "pairs.h"

namespace sparse3d {
namespace S3D_ISA {
namespace {

using V = Vec<float>;
constexpr int L = kLanes<float>;

template <int N>
struct Filter;

template <>
struct Filter<4> {
    static constexpr int kWindow = 3;
    S3D_INLINE_MEMBER static void inputs(V* d) {
        const V d0 = d[0] - d[2], d1 = d[1] + d[2], d2 = d[2] - d[1], d3 = d[1] - d[3];
        d[0] = d0;
        d[1] = d1;
        d[2] = d2;
        d[3] = d3;
    }
    S3D_INLINE_MEMBER static void outputs(const V* m, V& y0, V& y1) {
        y0 = m[0] + m[1] + m[2];
        y1 = m[1] - m[2] - m[3];
    }
    S3D_INLINE_MEMBER static void gradients(V y0, V y1, V* m) {
        m[0] = y0;
        m[1] = y0 + y1;
        m[2] = y0 - y1;
        m[3] = -y1;
    }
    S3D_INLINE_MEMBER static void weights(V g0, V g1, V g2, V* u) {
        const V half = (g0 + g2) * 0.5f, other = g1 * 0.5f;
        u[0] = g0;
        u[1] = half + other;
        u[2] = half - other;
        u[3] = g2;
    }
    S3D_INLINE_MEMBER static void weight_gradients(const V* u, V* g) {
        const V half = (u[1] + u[2]) * 0.5f;
        g[0] = u[0] + half;
        g[1] = (u[1] - u[2]) * 0.5f;
        g[2] = half + u[3];
    }
    // The z step alone: which planes make u_z, and which outputs it belongs to.
    static constexpr int plane[4][2] = {{0, 2}, {1, 2}, {2, 1}, {1, 3}};
    static constexpr int sign[4] = {-1, 1, -1, -1};           // of the second plane
    static constexpr int to_output[4][2] = {{1, 0}, {1, 1}, {1, -1}, {0, -1}};
};

template <>
struct Filter<3> {
    static constexpr int kWindow = 2;
    S3D_INLINE_MEMBER static void inputs(V* d) {
        d[0] -= d[1];
        d[2] -= d[1];
    }
    S3D_INLINE_MEMBER static void outputs(const V* m, V& y0, V& y1) {
        y0 = m[0] + m[1];
        y1 = m[1] + m[2];
    }
    S3D_INLINE_MEMBER static void gradients(V y0, V y1, V* m) {
        m[0] = y0;
        m[1] = y0 + y1;
        m[2] = y1;
    }
    S3D_INLINE_MEMBER static void weights(V g0, V g1, V, V* u) {
        u[0] = g0;
        u[1] = g0 + g1;
        u[2] = g1;
    }
    S3D_INLINE_MEMBER static void weight_gradients(const V* u, V* g) {
        g[0] = u[0] + u[1];
        g[1] = u[1] + u[2];
    }
    static constexpr int plane[3][2] = {{0, 1}, {1, 1}, {2, 1}};
    static constexpr int sign[3] = {-1, 0, -1};
    static constexpr int to_output[3][2] = {{1, 0}, {1, 1}, {0, 1}};
};

// The blocks of one task: for each, where its N^3 inputs and 8 outputs are.
struct Blocks {
    int count;
    const float** input;  // (count, N, N, N)
    int32_t* output;      // (count, 2, 2, 2) row, or -1
};

constexpr int kSpan = 128;    // output cells that one word of blocks covers
constexpr int kMargin = 64;

// Rows (by the caller's numbering) of the cells of a line, -1 where there is none; line[0] is cell `first`.
S3D_INLINE void write_rows(const SiteView& sites, int b, int z, int y, int first, int cells, int32_t* line) {
    for (int i = 0; i < cells; ++i) line[i] = -1;
    if (z < 0 || z >= sites.z || y < 0 || y >= sites.y) return;
    const uint32_t line_word = first_word(sites, b, z, y);
    for (int word = first >> 6; word * 64 < first + cells; ++word) {
        const Cells found = word_at(sites, line_word, word);
        uint32_t rank = found.rank;
        for (uint64_t rest = found.bits; rest != 0; rest &= rest - 1, ++rank) {
            const int i = word * 64 + lowest(rest) - first;
            if (i >= 0 && i < cells) line[i] = sites.rows != nullptr ? sites.rows[rank] : int32_t(rank);
        }
    }
}

template <int N>
Blocks find_blocks(const WinogradTask& task, int64_t index, Scratch& scratch) {
    Blocks found;
    const int most = task.blocks_per_task;
    found.count = 0;
    found.input = scratch.take<const float*>(size_t(most) * N * N * N);
    found.output = scratch.take<int32_t>(size_t(most) * 8);
    constexpr int kCells = kSpan + N;
    int32_t* in_rows = scratch.take<int32_t>(size_t(N) * N * kCells);
    int32_t* out_rows = scratch.take<int32_t>(size_t(4) * kSpan);
    const uint32_t first = uint32_t(index * most);
    uint32_t slot = word_of_rank(task.blocks, first + 1) - 1;  // the word that holds block `first`
    for (; slot < task.blocks.n_words && found.count < most; ++slot) {
        int word_x;
        const Line at = line_of(task.blocks, task.blocks.word[slot], word_x);
        const int x0 = word_x * kSpan;
        for (int z = 0; z < N; ++z)
            for (int y = 0; y < N; ++y)
                write_rows(task.in, at.b, 2 * at.z + z - task.reach[0], 2 * at.y + y - task.reach[1], x0 - task.reach[2], kCells,
                           in_rows + (z * N + y) * kCells);
        for (int line = 0; line < 4; ++line)
            write_rows(task.out, at.b, 2 * at.z + line / 2, 2 * at.y + line % 2, x0, kSpan, out_rows + line * kSpan);
        uint32_t rank = task.blocks.base[slot];
        for (uint64_t rest = task.blocks.bits[slot]; rest != 0 && found.count < most; rest &= rest - 1, ++rank) {
            if (rank < first) continue;
            const int x = 2 * lowest(rest);
            const float** input = found.input + int64_t(found.count) * N * N * N;
            for (int line = 0; line < N * N; ++line)
                for (int i = 0; i < N; ++i) {
                    const int32_t row = in_rows[line * kCells + x + i];
                    *input++ = row < 0 ? task.background : task.features + int64_t(row) * task.c_in;
                }
            int32_t* output = found.output + found.count * 8;
            for (int line = 0; line < 4; ++line)
                for (int i = 0; i < 2; ++i) *output++ = out_rows[line * kSpan + x + i];
            ++found.count;
        }
    }
    return found;
}

// values (N^2, stride rows, c_in): B' d of all blocks for one u_z.
template <int N, int U>
void transform_inputs(const Blocks& blocks, int c_in, int stride, float* values) {
    using F = Filter<N>;
    for (int t = 0; t < blocks.count; ++t) {
        const float* const* first = blocks.input + int64_t(t) * N * N * N + F::plane[U][0] * N * N;
        const float* const* second = blocks.input + int64_t(t) * N * N * N + F::plane[U][1] * N * N;
        for (int c = 0; c < c_in; c += L) {
            V d[N][N];
            for (int y = 0; y < N; ++y)
                for (int x = 0; x < N; ++x) {
                    d[x][y] = load(first[y * N + x] + c);
                    if (F::sign[U] > 0) d[x][y] += load(second[y * N + x] + c);
                    if (F::sign[U] < 0) d[x][y] -= load(second[y * N + x] + c);
                }
            for (int x = 0; x < N; ++x) F::inputs(d[x]);
            for (int y = 0; y < N; ++y) {
                V row[N];
                for (int x = 0; x < N; ++x) row[x] = d[x][y];
                F::inputs(row);
                for (int x = 0; x < N; ++x) store(values + (int64_t(y * N + x) * stride + t) * c_in + c, row[x]);
            }
        }
    }
}

// R rows that follow each other times V vectors, from zero.
template <int R, int W>
S3D_INLINE void product_rows(const float* a, int64_t a_stride, const float* packed, int c_in, float* result, int64_t result_stride) {
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
S3D_INLINE void product_block(int rows, const float* a, int64_t a_stride, const float* packed, int c_in, float* result, int64_t result_stride) {
    constexpr int R = block_rows(W);
    for (int r = 0; r < rows; r += R) product_rows<R, W>(a + r * a_stride, a_stride, packed, c_in, result + r * result_stride, result_stride);
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

// sums (count, 8, width) += A' m for one u_z.
template <int N, int U>
void transform_outputs(int count, int width, int stride, const float* products, float* sums) {
    using F = Filter<N>;
    for (int t = 0; t < count; ++t)
        for (int c = 0; c < width; c += L) {
            V m[N][N], half[2][N], y[2][2];
            for (int j = 0; j < N; ++j)
                for (int i = 0; i < N; ++i) m[i][j] = load(products + (int64_t(j * N + i) * stride + t) * width + c);
            for (int i = 0; i < N; ++i) F::outputs(m[i], half[0][i], half[1][i]);
            for (int j = 0; j < 2; ++j) F::outputs(half[j], y[j][0], y[j][1]);
            for (int z = 0; z < 2; ++z) {
                if (F::to_output[U][z] == 0) continue;
                float* sum = sums + (int64_t(t) * 8 + z * 4) * width + c;
                for (int j = 0; j < 2; ++j)
                    for (int i = 0; i < 2; ++i) {
                        float* p = sum + int64_t(j * 2 + i) * width;
                        // u_z = 0 is the first that output 0 meets, 1 the first that output 1 meets
                        const V before = U == z ? V{} : load(p);
                        store(p, F::to_output[U][z] > 0 ? before + y[j][i] : before - y[j][i]);
                    }
            }
        }
}

template <int N, int U>
S3D_INLINE void step(const WinogradTask& task, const Blocks& blocks, int stride, float* values, float* products, float* sums) {
    transform_inputs<N, U>(blocks, task.c_in, stride, values);
    const int64_t each = int64_t(task.c_in) * task.width;
    for (int p = 0; p < N * N; ++p)
        product(blocks.count, values + int64_t(p) * stride * task.c_in, task.c_in, task.transformed + (U * N * N + p) * each, task.width,
                products + int64_t(p) * stride * task.width);
    transform_outputs<N, U>(blocks.count, task.width, stride, products, sums);
}

// Row blocks read and write whole, so arrays have some rows more.
int padded_blocks(const WinogradTask& task) { return task.blocks_per_task + kMostRows; }

template <int N>
void convolve(const WinogradTask& task, int64_t index, Scratch scratch) {
    const int stride = padded_blocks(task);
    float* values = scratch.take<float>(size_t(N * N) * size_t(stride) * size_t(task.c_in));
    float* products = scratch.take<float>(size_t(N * N) * size_t(stride) * size_t(task.width));
    float* sums = scratch.take<float>(size_t(task.blocks_per_task) * 8 * size_t(task.width));
    const Blocks blocks = find_blocks<N>(task, index, scratch);
    step<N, 0>(task, blocks, stride, values, products, sums);
    step<N, 1>(task, blocks, stride, values, products, sums);
    step<N, 2>(task, blocks, stride, values, products, sums);
    if constexpr (N == 4) step<N, 3>(task, blocks, stride, values, products, sums);
    for (int i = 0; i < blocks.count * 8; ++i) {
        if (blocks.output[i] < 0) continue;
        const float* sum = sums + int64_t(i) * task.width;
        float* result = task.result + int64_t(blocks.output[i]) * task.c_out;
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

// Weight gradient -------------------------------------------------------------------------------------------------------

// values (N^2, stride rows, width): A dy of all blocks for one u_z; sites that are not there have no gradient.
template <int N, int U>
void transform_gradients(const WinogradTask& task, const Blocks& blocks, int stride, float* values) {
    using F = Filter<N>;
    for (int t = 0; t < blocks.count; ++t) {
        const float* from[8];
        for (int i = 0; i < 8; ++i)
            from[i] = blocks.output[t * 8 + i] < 0 ? task.zeros : task.grad + int64_t(blocks.output[t * 8 + i]) * task.c_out;
        for (int c = 0; c < task.c_out; c += L) {
            V y[2][2];
            for (int j = 0; j < 2; ++j)
                for (int i = 0; i < 2; ++i) {
                    y[i][j] = V{};
                    for (int z = 0; z < 2; ++z) {
                        if (F::to_output[U][z] > 0) y[i][j] += load(from[z * 4 + j * 2 + i] + c);
                        if (F::to_output[U][z] < 0) y[i][j] -= load(from[z * 4 + j * 2 + i] + c);
                    }
                }
            V half[2][N];
            for (int i = 0; i < 2; ++i) F::gradients(y[i][0], y[i][1], half[i]);
            for (int j = 0; j < N; ++j) {
                V row[N];
                F::gradients(half[0][j], half[1][j], row);
                for (int i = 0; i < N; ++i) store(values + (int64_t(j * N + i) * stride + t) * task.c_out + c, row[i]);
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

template <int N, int U>
void weight_step(const WinogradTask& task, const Blocks& blocks, int stride, float* inputs, float* gradients, float* sums) {
    transform_inputs<N, U>(blocks, task.c_in, stride, inputs);
    transform_gradients<N, U>(task, blocks, stride, gradients);
    for (int p = 0; p < N * N; ++p) {
        const float* x = inputs + int64_t(p) * stride * task.c_in;
        const float* g = gradients + int64_t(p) * stride * task.c_out;
        float* sum = sums + int64_t(U * N * N + p) * task.c_out * task.c_in;
        int c = 0;
        for (; c + 2 * L <= task.c_in; c += 2 * L) add_outer_rows<2>(g, task.c_out, x + c, task.c_in, blocks.count, sum + c);
        if (c < task.c_in) add_outer_rows<1>(g, task.c_out, x + c, task.c_in, blocks.count, sum + c);
    }
}

template <int N>
void weight_gradient(const WinogradTask& task, int64_t first, int64_t last, int u, float* sums, Scratch scratch) {
    const int stride = padded_blocks(task);
    float* inputs = scratch.take<float>(size_t(N * N) * size_t(stride) * size_t(task.c_in));
    float* gradients = scratch.take<float>(size_t(N * N) * size_t(stride) * size_t(task.c_out));
    for (int64_t index = first; index < last; ++index) {
        Scratch rest = scratch;
        const Blocks blocks = find_blocks<N>(task, index, rest);
        switch (u) {
            case 0: weight_step<N, 0>(task, blocks, stride, inputs, gradients, sums); break;
            case 1: weight_step<N, 1>(task, blocks, stride, inputs, gradients, sums); break;
            case 2: weight_step<N, 2>(task, blocks, stride, inputs, gradients, sums); break;
            default:
                if constexpr (N == 4) weight_step<N, 3>(task, blocks, stride, inputs, gradients, sums);
        }
    }
}

// Along each axis in turn, for L weights at once.
template <int N>
void transform_weights(const float* const* offset, float* transformed, int64_t each, int64_t first, int64_t last) {
    using F = Filter<N>;
    constexpr int R = F::kWindow;
    for (int64_t e = first; e < last; e += L) {
        V g[R][R][N], h[R][N][N];
        for (int z = 0; z < R; ++z)
            for (int y = 0; y < R; ++y) {
                const float* const* w = offset + (z * R + y) * R;
                F::weights(load(w[0] + e), load(w[1] + e), load(w[R - 1] + e), g[z][y]);
            }
        for (int z = 0; z < R; ++z)
            for (int x = 0; x < N; ++x) {
                V u[N];
                F::weights(g[z][0][x], g[z][1][x], g[z][R - 1][x], u);
                for (int y = 0; y < N; ++y) h[z][y][x] = u[y];
            }
        for (int y = 0; y < N; ++y)
            for (int x = 0; x < N; ++x) {
                V u[N];
                F::weights(h[0][y][x], h[1][y][x], h[R - 1][y][x], u);
                for (int z = 0; z < N; ++z) store(transformed + ((z * N + y) * N + x) * each + e, u[z]);
            }
    }
}

template <int N>
void transform_weight_gradients(const float* sums, int64_t each, int64_t chunks, int64_t chunk_stride, int64_t e, float* const* offset) {
    using F = Filter<N>;
    constexpr int R = F::kWindow;
    V g[N][N][R], h[N][R][R];
    for (int z = 0; z < N; ++z)
        for (int y = 0; y < N; ++y) {
            V u[N];
            for (int x = 0; x < N; ++x) {
                u[x] = V{};
                for (int64_t chunk = 0; chunk < chunks; ++chunk) u[x] += load(sums + chunk * chunk_stride + ((z * N + y) * N + x) * each + e);
            }
            F::weight_gradients(u, g[z][y]);
        }
    for (int z = 0; z < N; ++z)
        for (int x = 0; x < R; ++x) {
            V u[N], w[R];
            for (int y = 0; y < N; ++y) u[y] = g[z][y][x];
            F::weight_gradients(u, w);
            for (int y = 0; y < R; ++y) h[z][y][x] = w[y];
        }
    for (int y = 0; y < R; ++y)
        for (int x = 0; x < R; ++x) {
            V u[N], w[R];
            for (int z = 0; z < N; ++z) u[z] = h[z][y][x];
            F::weight_gradients(u, w);
            for (int z = 0; z < R; ++z) store(offset[(z * R + y) * R + x], w[z]);
        }
}

}  // namespace

size_t winograd_scratch(const WinogradTask& task) {
    const size_t n = size_t(task.window + 1), rows = size_t(padded_blocks(task));
    const size_t wide = size_t(task.width > task.c_out ? task.width : task.c_out);
    return n * n * rows * (size_t(task.c_in) + wide) * 4 + size_t(task.blocks_per_task) * 8 * wide * 4 +
           size_t(task.blocks_per_task) * (n * n * n * sizeof(void*) + 32) + n * n * (kSpan + n) * 4 + 4 * kSpan * 4 + 8 * 64;
}

void winograd_convolution(const WinogradTask& task, int64_t index, void* memory) {
    const Scratch scratch{static_cast<char*>(memory)};
    if (task.window == 3)
        convolve<4>(task, index, scratch);
    else
        convolve<3>(task, index, scratch);
}

void winograd_weight_gradient(const WinogradTask& task, int64_t first, int64_t last, int u, float* sums, void* memory) {
    const Scratch scratch{static_cast<char*>(memory)};
    if (task.window == 3)
        weight_gradient<4>(task, first, last, u, sums, scratch);
    else
        weight_gradient<3>(task, first, last, u, sums, scratch);
}

void winograd_weights(int window, const float* const* offset, float* transformed, int64_t each, int64_t first, int64_t last) {
    if (window == 3)
        transform_weights<4>(offset, transformed, each, first, last);
    else
        transform_weights<3>(offset, transformed, each, first, last);
}

// weight (volume, c_in): the rows of one output channel.
void winograd_weights_back(int window, const float* sums, int64_t each, int64_t chunks, int64_t chunk_stride, int o, int c_in, float* weight) {
    for (int c = 0; c < c_in; c += L) {
        float* offset[27];
        for (int k = 0; k < window * window * window; ++k) offset[k] = weight + int64_t(k) * c_in + c;
        const int64_t e = int64_t(o) * c_in + c;
        if (window == 3)
            transform_weight_gradients<4>(sums, each, chunks, chunk_stride, e, offset);
        else
            transform_weight_gradients<3>(sums, each, chunks, chunk_stride, e, offset);
    }
}

}  // namespace S3D_ISA
}  // namespace sparse3d
