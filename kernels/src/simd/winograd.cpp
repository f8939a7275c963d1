// Winograd's minimal filtering on blocks of outputs, for windows of 3^3 (2 x 2 x 4 outputs) and 2^3 (2 x 2 x 2), with
// stride 1.
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
#include "gemm.h"
#include "pairs.h"

namespace sparse3d {
namespace S3D_ISA {
namespace {

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

// The blocks of one task: where the inputs of each are, and its outputs (or gradients of them).
template <class Row>
struct Blocks {
    int count;
    const float** input;  // (count, kY, kY, kX)
    Row* output;          // (count, 2, 2, kOutX)
};

// Rows of a matrix by site; `missing` is the row of a cell where no site is.
template <class Row>
struct Rows {
    Row first;
    int64_t stride;
    Row missing;
};

// Where the rows of the cells of a line are; line[0] is cell `first`. Sites are taken in runs, whose rows follow each
// other.
template <class Row>
S3D_INLINE void locate_rows(const SiteView& sites, const Rows<Row>& rows, int b, int z, int y, int first, int cells,
                            Row* line) {
    for (int i = 0; i < cells; ++i) line[i] = rows.missing;
    if (z < 0 || z >= sites.z || y < 0 || y >= sites.y) return;
    const uint32_t line_word = first_word(sites, b, z, y);
    for (int word = first >> 6; word * 64 < first + cells; ++word) {
        const int at = word * 64 - first;  // of the word's first cell in `line`
        const Cells found = word_at(sites, line_word, word);
        uint64_t rest = found.bits;
        if (at < 0) rest &= ~below(-at);
        if (at + 64 > cells) rest &= below(cells - at);
        uint32_t rank = found.rank + uint32_t(popcount(found.bits & (at < 0 ? below(-at) : 0)));
        while (rest != 0) {
            const int start = lowest(rest);
            const uint64_t after = ~(rest >> start);
            const int run = after != 0 ? lowest(after) : 64;
            Row* to = line + at + start;
            if (sites.rows == nullptr)
                for (int i = 0; i < run; ++i) to[i] = rows.first + int64_t(rank + uint32_t(i)) * rows.stride;
            else
                for (int i = 0; i < run; ++i)
                    to[i] = rows.first + int64_t(sites.rows[rank + uint32_t(i)]) * rows.stride;
            rank += uint32_t(run);
            rest = after != 0 ? rest & ~((below(run)) << start) : 0;
        }
    }
}

// Rows are scattered in memory, so they are fetched well before they are read.
S3D_INLINE void fetch_ahead(const float* row, int channels) {
    for (int c = 0; c < channels; c += 16) __builtin_prefetch(row + c, 0, 2);
}

template <int R, class Row>
Blocks<Row> find_blocks(const WinogradTask& task, const Rows<Row>& outputs, int64_t index, Scratch& scratch) {
    using S = Size<R>;
    constexpr int kSpan = 64 * S::kOutX,
                  kCells = kSpan + R;  // output cells that one word of blocks covers, and the inputs they see
    const int most = task.blocks_per_task;
    const Rows<const float*> inputs{task.features, task.c_in, task.background};
    Blocks<Row> found{0, scratch.take<const float*>(size_t(most) * S::kInputs),
                      scratch.take<Row>(size_t(most) * S::kOutputs)};
    const float** in_rows = scratch.take<const float*>(size_t(S::kY) * S::kY * kCells);
    Row* out_rows = scratch.take<Row>(size_t(4) * kSpan);
    const uint32_t first = uint32_t(index * most);
    uint32_t slot = word_of_rank(task.blocks, first + 1) - 1;  // the word that holds block `first`
    for (; slot < task.blocks.n_words && found.count < most; ++slot) {
        int word_x;
        const Line at = line_of(task.blocks, task.blocks.word[slot], word_x);
        const int x0 = word_x * kSpan;
        for (int z = 0; z < S::kY; ++z)
            for (int y = 0; y < S::kY; ++y)
                locate_rows(task.in, inputs, at.b, 2 * at.z + z - task.reach[0], 2 * at.y + y - task.reach[1],
                            x0 - task.reach[2], kCells, in_rows + (z * S::kY + y) * kCells);
        for (int line = 0; line < 4; ++line)
            locate_rows(task.out, outputs, at.b, 2 * at.z + line / 2, 2 * at.y + line % 2, x0, kSpan,
                        out_rows + line * kSpan);
        uint32_t rank = task.blocks.base[slot];
        for (uint64_t rest = task.blocks.bits[slot]; rest != 0 && found.count < most; rest &= rest - 1, ++rank) {
            if (rank < first) continue;
            const int x = S::kOutX * lowest(rest);
            const float** input = found.input + int64_t(found.count) * S::kInputs;
            for (int line = 0; line < S::kY * S::kY; ++line) {
                const float** row = in_rows + line * kCells + x;
                for (int i = 0; i < S::kX; ++i) *input++ = row[i];
                for (int i = R - 1; i < S::kX; ++i) fetch_ahead(row[i], task.c_in);
            }
            Row* output = found.output + found.count * S::kOutputs;
            for (int line = 0; line < 4; ++line)
                for (int i = 0; i < S::kOutX; ++i) *output++ = out_rows[line * kSpan + x + i];
            ++found.count;
        }
    }
    return found;
}

// values (kPlane, stride rows, c_in): B' d of all blocks for one u_z.
template <int R, int U, class Row>
void transform_inputs(const Blocks<Row>& blocks, int c_in, int stride, float* values) {
    using S = Size<R>;
    using Y = typename Window3<R>::Y;
    using X = typename Window3<R>::X;
    for (int t = 0; t < blocks.count; ++t) {
        const float* const* first = blocks.input + int64_t(t) * S::kInputs + Y::plane[U][0] * S::kPlane;
        const float* const* second = blocks.input + int64_t(t) * S::kInputs + Y::plane[U][1] * S::kPlane;
        for (int c = 0; c < c_in; c += L) {
            V d[S::kX][S::kY];
            for (int x = 0; x < S::kX; ++x) {
                for (int y = 0; y < S::kY; ++y) {
                    d[x][y] = load(first[y * S::kX + x] + c);
                    if (Y::sign[U] > 0) d[x][y] += load(second[y * S::kX + x] + c);
                    if (Y::sign[U] < 0) d[x][y] -= load(second[y * S::kX + x] + c);
                }
                Y::inputs(d[x]);
            }
            for (int y = 0; y < S::kY; ++y) {
                V row[S::kX];
                for (int x = 0; x < S::kX; ++x) row[x] = d[x][y];
                X::inputs(row);
                for (int x = 0; x < S::kX; ++x)
                    store(values + (int64_t(y * S::kX + x) * stride + t) * c_in + c, row[x]);
            }
        }
    }
}

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

// Row blocks read and write whole, so arrays have some rows more.
int padded_blocks(const WinogradTask& task) { return task.blocks_per_task + kMostRows; }

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
    for (int i = 0; i < blocks.count * S::kOutputs; ++i) {
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

// Weight gradient -------------------------------------------------------------------------------------------

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

size_t winograd_scratch(const WinogradTask& task) {
    const size_t n = size_t(task.window + 1), plane = size_t(winograd_plane(task.window)),
                 rows = size_t(padded_blocks(task));
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

void winograd_weight_gradient(const WinogradTask& task, int64_t first, int64_t last, int first_u, int last_u,
                              float* sums, void* memory) {
    const Scratch scratch{static_cast<char*>(memory)};
    if (task.window == 3)
        weight_gradient<3>(task, first, last, first_u, last_u, sums, scratch);
    else
        weight_gradient<2>(task, first, last, first_u, last_u, sums, scratch);
}

void winograd_weights(int window, const float* const* offset, float* transformed, int64_t each, int64_t first,
                      int64_t last) {
    if (window == 3)
        transform_weights<3>(offset, transformed, each, first, last);
    else
        transform_weights<2>(offset, transformed, each, first, last);
}

// weight (volume, c_in): the rows of one output channel.
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
