// The blocks of a task, where their rows are, and the transform of their inputs.
#pragma once

#include "gemm.h"
#include "pairs.h"
#include "winograd_transforms.h"

namespace sparse3d {
namespace S3D_ISA {
namespace winograd {

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
static Blocks<Row> find_blocks(const WinogradTask& task, const Rows<Row>& outputs, int64_t index, Scratch& scratch) {
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
static void transform_inputs(const Blocks<Row>& blocks, int c_in, int stride, float* values) {
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

// Row blocks read and write whole, so arrays have some rows more.
S3D_INLINE int padded_blocks(const WinogradTask& task) { return task.blocks_per_task + kMostRows; }

}  // namespace winograd
}  // namespace S3D_ISA
}  // namespace sparse3d
