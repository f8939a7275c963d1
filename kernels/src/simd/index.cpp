// Making site sets: the words that a window reaches, their ranks, and back to coordinates.
#include "index.h"

#include "pairs.h"

namespace sparse3d {
namespace S3D_ISA {
namespace {

// The cells of an output line that one input word reaches along x, as words from `first` on.
struct Reach {
    static constexpr int kWords = 16;
    int first, count;
    uint64_t cells[kWords];
};

// False if they are too far apart for that.
S3D_INLINE bool reach_along_x(const Window& w, int word_x, uint64_t bits, int out_x, int out_words, Reach& reach) {
    const int stride = w.stride[2];
    // where the ends of the word go through the first and the last offset
    const int ends[2] = {word_x * 64 + lowest(bits), word_x * 64 + 63 - __builtin_clzll(bits)};
    const int far = (w.kernel[2] - 1) * w.dilation[2];
    const int low = w.transposed ? ends[0] * stride - w.padding[2] : (ends[0] + w.padding[2] - far) / stride;
    const int high = w.transposed ? ends[1] * stride + far - w.padding[2] : (ends[1] + w.padding[2]) / stride;
    reach.first = low < 0 ? 0 : low >> 6;
    const int last = min(high >> 6, out_words - 1);
    reach.count = last - reach.first + 1;
    if (reach.count > Reach::kWords) return false;
    for (int i = 0; i < reach.count; ++i) reach.cells[i] = 0;
    const auto put = [&](int word, uint64_t cells) {
        if (word >= reach.first && word <= last) reach.cells[word - reach.first] |= cells;
    };
    for (int kx = 0; kx < w.kernel[2]; ++kx) {
        const int shift = (w.padding[2] - kx * w.dilation[2]) * (w.transposed ? -1 : 1);
        if (stride == 1 || (stride == 2 && !w.transposed)) {
            const int x = word_x * 64 + shift;
            const int word = x >> 6, s = x & 63;
            const uint64_t moved[2] = {bits << s, s ? bits >> (64 - s) : 0};
            for (int i = 0; i < 2; ++i) {
                if (moved[i] == 0 || word + i < 0) continue;
                if (stride == 1)
                    put(word + i, moved[i]);
                else
                    put((word + i) >> 1, even_bits(moved[i]) << ((word + i) & 1 ? 32 : 0));
            }
        } else {
            for (uint64_t rest = bits; rest != 0; rest &= rest - 1) {
                const int x = output_coordinate(w, 2, word_x * 64 + lowest(rest), kx, out_x);
                if (x >= 0) put(x >> 6, uint64_t(1) << (x & 63));
            }
        }
    }
    if (last == out_words - 1 && (out_x & 63) && reach.count > 0) reach.cells[reach.count - 1] &= below(out_x & 63);
    return true;
}

// Call put(word of the grid, cells) for all that the input words [first, last) reach in the output planes [z0, z1); a
// word may come many times.
template <class Put>
S3D_INLINE void over_reached(const SiteView& in, const Window& w, const SiteView& out, uint32_t first, uint32_t last,
                             int z0, int z1, Put&& put) {
    for (uint32_t slot = first; slot < last; ++slot) {
        int word_x;
        const Line at = line_of(in, in.word[slot], word_x);
        // a word at a time, or where that reaches too far, a cell at a time
        for (uint64_t rest = in.bits[slot]; rest != 0;) {
            Reach reach;
            uint64_t bits = rest;
            if (!reach_along_x(w, word_x, bits, out.x, out.words_x, reach)) {
                bits = rest & (0 - rest);
                reach_along_x(w, word_x, bits, out.x, out.words_x, reach);
            }
            rest &= ~bits;
            for (int kz = 0; kz < w.kernel[0]; ++kz) {
                const int z = output_coordinate(w, 0, at.z, kz, out.z);
                if (z < z0 || z >= z1) continue;
                for (int ky = 0; ky < w.kernel[1]; ++ky) {
                    const int y = output_coordinate(w, 1, at.y, ky, out.y);
                    if (y < 0) continue;
                    const uint32_t word = first_word(out, at.b, z, y) + uint32_t(reach.first);
                    for (int i = 0; i < reach.count; ++i)
                        if (reach.cells[i]) put(word + uint32_t(i), reach.cells[i]);
                }
            }
        }
    }
}

}  // namespace

// The input planes [low, high) that the output planes [z0, z1) meet.
S3D_INLINE void met_planes(const SiteView& in, const Window& w, int z0, int z1, int& low, int& high) {
    const int far = (w.kernel[0] - 1) * w.dilation[0];
    low = w.transposed ? (z0 + w.padding[0] - far) / w.stride[0] : z0 * w.stride[0] - w.padding[0];
    high = w.transposed ? (z1 - 1 + w.padding[0]) / w.stride[0] : (z1 - 1) * w.stride[0] - w.padding[0] + far;
    low = low < 0 ? 0 : min(low, in.z);
    high = high < low ? low : min(high + 1, in.z);
}

void mark_cells(const SiteView& in, const Window& w, const SiteView& out, int b, int z0, int z1, uint64_t* grid) {
    const int64_t out_plane = int64_t(out.y) * out.words_x, begin = (int64_t(b) * out.z + z0) * out_plane;
    for (int64_t i = 0; i < (z1 - z0) * out_plane; ++i) grid[begin + i] = 0;
    int low, high;
    met_planes(in, w, z0, z1, low, high);
    const int64_t plane = int64_t(in.y) * in.words_x, volume = int64_t(b) * in.z;
    const uint32_t first = slot_of_word(in, (volume + low) * plane), last = slot_of_word(in, (volume + high) * plane);
    over_reached(in, w, out, first, last, z0, z1, [&](uint32_t word, uint64_t cells) { grid[word] |= cells; });
}

// The same with the input planes written out, axis after axis: 64 cells at a time whether they hold sites or not.

namespace {

constexpr int kBeside = 10;  // words on either side of a line, which a window may reach: see window_of

// Where the input of output 0 through offset k lies; the windows here have stride 1 where they are transposed.
S3D_INLINE int first_met(const Window& w, int axis, int k) {
    const int at = k * w.dilation[axis] - w.padding[axis];
    return w.transposed ? -at : at;
}

S3D_INLINE int padded_words(const SiteView& in, const SiteView& out, const Window& w) {
    const int read = out.words_x * w.stride[2];
    return (in.words_x > read ? in.words_x : read) + 2 * kBeside;
}

// The 64 cells from x on.
S3D_INLINE uint64_t cells_at(const uint64_t* line, int x) {
    const int word = x >> 6, shift = x & 63;
    return shift == 0 ? line[word] : line[word] >> shift | line[word + 1] << (64 - shift);
}

S3D_INLINE uint64_t cells_met(const uint64_t* line, const Window& w, int x) {
    uint64_t cells = 0;
    for (int kx = 0; kx < w.kernel[2]; ++kx) cells |= cells_at(line, x + first_met(w, 2, kx));
    return cells;
}

}  // namespace

bool marks_planes(const Window& w) {
    if (w.padding[2] > 512) return false;
    if (w.transposed) return w.stride[0] == 1 && w.stride[1] == 1 && w.stride[2] == 1;
    return w.stride[2] <= 2;
}

size_t mark_planes_scratch(const SiteView& in, const Window& w, const SiteView& out, int planes) {
    const size_t plane = size_t(in.y) * size_t(in.words_x);
    const size_t met = size_t(planes - 1) * size_t(w.stride[0]) + size_t(w.kernel[0] - 1) * size_t(w.dilation[0]) + 1;
    return ((met < size_t(in.z) ? met : size_t(in.z)) + 1) * plane * 8 + size_t(padded_words(in, out, w)) * 8 + 3 * 64;
}

void mark_planes(const SiteView& in, const Window& w, const SiteView& out, int b, int z0, int z1, uint64_t* grid,
                 void* memory) {
    Scratch scratch{static_cast<char*>(memory)};
    int low, high;
    met_planes(in, w, z0, z1, low, high);
    const int64_t plane = int64_t(in.y) * in.words_x, begin = (int64_t(b) * in.z + low) * plane,
                  count = (high - low) * plane;
    const uint32_t first = slot_of_word(in, begin), last = slot_of_word(in, begin + count);
    if (first == last) {
        uint64_t* const to = grid + first_word(out, b, z0, 0);
        for (int64_t i = 0; i < int64_t(z1 - z0) * out.y * out.words_x; ++i) to[i] = 0;
        return;
    }
    uint64_t* cells = scratch.take<uint64_t>(size_t(count));
    for (int64_t i = 0; i < count; ++i) cells[i] = 0;
    for (uint32_t slot = first; slot < last; ++slot) cells[in.word[slot] - begin] = in.bits[slot];

    uint64_t* together = scratch.take<uint64_t>(size_t(plane));
    uint64_t* padded = scratch.take<uint64_t>(size_t(padded_words(in, out, w)));
    for (int i = 0; i < padded_words(in, out, w); ++i) padded[i] = 0;
    uint64_t* line = padded + kBeside;
    for (int z = z0; z < z1; ++z) {
        for (int64_t i = 0; i < plane; ++i) together[i] = 0;
        for (int kz = 0; kz < w.kernel[0]; ++kz) {
            const int from = z * w.stride[0] + first_met(w, 0, kz);
            if (from < low || from >= high) continue;
            const uint64_t* met = cells + (from - low) * plane;
            for (int64_t i = 0; i < plane; ++i) together[i] |= met[i];
        }
        for (int y = 0; y < out.y; ++y) {
            uint64_t any = 0;
            for (int i = 0; i < in.words_x; ++i) {
                uint64_t word = 0;
                for (int ky = 0; ky < w.kernel[1]; ++ky) {
                    const int from = y * w.stride[1] + first_met(w, 1, ky);
                    if (from >= 0 && from < in.y) word |= together[int64_t(from) * in.words_x + i];
                }
                line[i] = word;
                any |= word;
            }
            uint64_t* to = grid + first_word(out, b, z, y);
            for (int i = 0; i < out.words_x; ++i) {
                if (any == 0)
                    to[i] = 0;
                else if (w.stride[2] == 1)
                    to[i] = cells_met(line, w, i * 64);
                else
                    to[i] = even_bits(cells_met(line, w, i * 128)) | even_bits(cells_met(line, w, i * 128 + 64)) << 32;
            }
            if (out.x & 63) to[out.words_x - 1] &= below(out.x & 63);
        }
    }
}

void mark_words(const SiteView& in, const Window& w, const SiteView& out, uint64_t* top) {
    over_reached(in, w, out, 0, in.n_words, 0, out.z,
                 [&](uint32_t word, uint64_t) { top[word >> 6] |= uint64_t(1) << (word & 63); });
}

void mark_sites(const SiteView& in, const Window& w, const SiteView& out, uint64_t* bits) {
    over_reached(in, w, out, 0, in.n_words, 0, out.z, [&](uint32_t word, uint64_t cells) {
        bits[out.top_rank[word >> 6] + uint32_t(popcount(out.top[word >> 6] & below(int(word & 63))))] |= cells;
    });
}

namespace {

// Call f(block, words of it that are not 0, whether all of it lies in the stretch) for the 64-word blocks of a stretch
// of the grid.
template <class F>
S3D_INLINE void over_blocks(const uint64_t* grid, int64_t first, int64_t last, F&& f) {
    for (int64_t block = first >> 6; block * 64 < last; ++block) {
        const int64_t from = block * 64 > first ? block * 64 : first, to = min(block * 64 + 64, last);
        uint64_t held = 0;
        int64_t i = from;
#if defined(__AVX512F__)
        for (; i + 8 <= to; i += 8) {
            const __m512i words = _mm512_loadu_si512(grid + i);
            held |= uint64_t(_mm512_test_epi64_mask(words, words)) << (i & 63);
        }
#endif
        for (; i < to; ++i) held |= uint64_t(grid[i] != 0) << (i & 63);
        if (held != 0) f(block, held, to - from == 64);
    }
}

}  // namespace

void count_cells(const uint64_t* grid, int64_t first, int64_t last, uint32_t* words, uint32_t* sites) {
    uint32_t n = 0, all = 0;
    over_blocks(grid, first, last, [&](int64_t block, uint64_t held, bool) {
        n += uint32_t(popcount(held));
        for (; held != 0; held &= held - 1) all += uint32_t(popcount(grid[block * 64 + lowest(held)]));
    });
    *words = n;
    *sites = all;
}

void list_cells(const uint64_t* grid, int64_t first, int64_t last, uint32_t rank, uint64_t* top, uint32_t* word,
                uint64_t* bits, uint32_t* base) {
    over_blocks(grid, first, last, [&](int64_t block, uint64_t held, bool whole) {
        if (whole)
            top[block] = held;
        else  // the rest is another's
            __atomic_fetch_or(top + block, held, __ATOMIC_RELAXED);
        for (; held != 0; held &= held - 1) {
            const int64_t at = block * 64 + lowest(held);
            *word++ = uint32_t(at);
            *base++ = rank;
            rank += uint32_t(popcount(*bits++ = grid[at]));
        }
    });
}

void rank_top(const uint64_t* top, int64_t n, uint32_t* rank) {
    uint32_t sum = 0;
    for (int64_t i = 0; i < n; ++i) {
        rank[i] = sum;
        sum += uint32_t(popcount(top[i]));
    }
    rank[n] = sum;
}

uint32_t rank_bits(const uint64_t* bits, uint32_t n, uint32_t* base) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < n; ++i) {
        base[i] = sum;
        sum += uint32_t(popcount(bits[i]));
    }
    base[n] = sum;
    return sum;
}

void list_words(const uint64_t* top, int64_t n, uint32_t* word) {
    for (int64_t i = 0; i < n; ++i)
        for (uint64_t rest = top[i]; rest != 0; rest &= rest - 1) *word++ = uint32_t(i * 64 + lowest(rest));
}

void write_sites(const SiteView& sites, uint32_t first, uint32_t last, int32_t* indices) {
    for (uint32_t slot = first; slot < last; ++slot) {
        int word_x;
        const Line at = line_of(sites, sites.word[slot], word_x);
        int32_t* row = indices + int64_t(sites.base[slot]) * 4;
        for (uint64_t rest = sites.bits[slot]; rest != 0; rest &= rest - 1, row += 4) {
            row[0] = at.b;
            row[1] = at.z;
            row[2] = at.y;
            row[3] = word_x * 64 + lowest(rest);
        }
    }
}

size_t neighbours_scratch(const SiteView&, const Window& w, int tile_rows) {
    return pair_lists_bytes(tile_rows, w.kernel[0] * w.kernel[1] * w.kernel[2]);
}

namespace {

#if defined(__AVX512F__)
// Windows of stride 1 on rows in raster order: each word's stretch of a column is written at once, 16 cells at a time.
// The ranks of the inputs are spread over their cells, and the cells that are outputs drawn together; both stay in
// registers.
void neighbours_of_words(const SiteView& in, const SiteView& out, const Window& w, const Tile& t, int32_t* table) {
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i missing = _mm512_set1_epi32(-1);
    const int64_t end = int64_t(t.rank) + t.rows;
    for (uint32_t slot = t.first; slot < t.last; ++slot) {
        int word_x;
        const Line at = line_of(out, out.word[slot], word_x);
        const uint64_t out_bits = out.bits[slot];
        int64_t first[4];  // output row of each 16 cells
        for (int part = 0; part < 4; ++part) first[part] = out.base[slot] + popcount(out_bits & below(part * 16));
        for (int kz = 0; kz < w.kernel[0]; ++kz)
            for (int ky = 0; ky < w.kernel[1]; ++ky) {
                const int z = input_coordinate(w, 0, at.z, kz, in.z), y = input_coordinate(w, 1, at.y, ky, in.y);
                const bool inside = z >= 0 && y >= 0;
                LineReader line{in, inside ? first_word(in, at.b, z, y) : 0, -2, {0, 0}, {0, 0}};
                int32_t* column = table + int64_t(kz * w.kernel[1] + ky) * w.kernel[2] * out.n_sites;
                for (int kx = 0; kx < w.kernel[2]; ++kx, column += out.n_sites) {
                    const int reach = kx * w.dilation[2] - w.padding[2];
                    const Cells cells = inside ? line.from(word_x * 64 + (w.transposed ? -reach : reach)) : Cells{0, 0};
                    __m512i rank = _mm512_add_epi32(_mm512_set1_epi32(int32_t(cells.rank)), lane);
                    // there are too many columns for the processor to see where each goes on
                    __builtin_prefetch(column + first[0] + 64, 1);
                    __builtin_prefetch(column + first[0] + 80, 1);
                    for (int part = 0; part < 4; ++part) {
                        const __mmask16 wanted = __mmask16(out_bits >> (16 * part)),
                                        there = __mmask16(cells.bits >> (16 * part));
                        if (wanted == 0) {
                            rank = _mm512_add_epi32(rank, _mm512_set1_epi32(popcount(there)));
                            continue;
                        }
                        const __m512i rows =
                            _mm512_maskz_compress_epi32(wanted, _mm512_mask_expand_epi32(missing, there, rank));
                        rank = _mm512_add_epi32(rank, _mm512_set1_epi32(popcount(there)));
                        // What is written past these rows is written over later, up to the end of the tile.
                        if (first[part] + 16 <= end)
                            _mm512_storeu_si512(column + first[part], rows);
                        else
                            _mm512_mask_storeu_epi32(column + first[part], __mmask16((1u << popcount(wanted)) - 1),
                                                     rows);
                    }
                }
            }
    }
}
#endif

}  // namespace

// table (offsets, sites of out)
void neighbours_tile(const SiteView& in, const SiteView& out, const Window& w, int tile_rows, int64_t tile,
                     int32_t* table, void* memory) {
    const Tile t = tile_at(out, tile_rows, tile);
#if defined(__AVX512F__)
    if (w.stride[2] == 1 && in.rows == nullptr && out.rows == nullptr) {
        neighbours_of_words(in, out, w, t, table);
        return;
    }
#endif
    const int offsets = w.kernel[0] * w.kernel[1] * w.kernel[2];
    Scratch scratch{static_cast<char*>(memory)};
    const PairLists lists = take_pair_lists(scratch, tile_rows, offsets);
    find_pairs(in, out, w, t.first, t.last, 0, offsets, lists);
    for (int k = 0; k < offsets; ++k) {
        int32_t* column = table + int64_t(k) * out.n_sites;
        const int32_t* from = lists.in + int64_t(k) * lists.capacity;
        const int32_t* to = lists.out + int64_t(k) * lists.capacity;
        const auto row = [&](int i) { return out.rows != nullptr ? out.rows[t.rank + i] : t.rank + i; };
        for (int i = 0; i < t.rows; ++i) column[row(i)] = -1;
        for (int i = 0; i < lists.count[k]; ++i) column[row(to[i])] = from[i];
    }
}

namespace {

// Call f(offset, output word, its cells, the input cells that stand opposite) for offsets of stride 1.
template <class F>
S3D_INLINE void over_words(const SiteView& in, const SiteView& out, const Window& w, uint32_t first, uint32_t last,
                           uint32_t step, F&& f) {
    for (uint32_t slot = first; slot < last; slot += step) {
        int word_x;
        const Line at = line_of(out, out.word[slot], word_x);
        for (int kz = 0; kz < w.kernel[0]; ++kz)
            for (int ky = 0; ky < w.kernel[1]; ++ky) {
                const int z = input_coordinate(w, 0, at.z, kz, in.z), y = input_coordinate(w, 1, at.y, ky, in.y);
                const bool inside = z >= 0 && y >= 0;
                LineReader line{in, inside ? first_word(in, at.b, z, y) : 0, -2, {0, 0}, {0, 0}};
                for (int kx = 0; kx < w.kernel[2]; ++kx) {
                    const int reach = kx * w.dilation[2] - w.padding[2];
                    const uint64_t cells = inside ? line.from(word_x * 64 + (w.transposed ? -reach : reach)).bits : 0;
                    f((kz * w.kernel[1] + ky) * w.kernel[2] + kx, slot, out.bits[slot], cells);
                }
            }
    }
}

}  // namespace

void count_pairs(const SiteView& in, const SiteView& out, const Window& w, int step, int64_t* pairs, int64_t* outputs,
                 int64_t* twos) {
    int64_t both = 0, all = 0, two = 0;
    over_words(in, out, w, 0, out.n_words, uint32_t(step),
               [&](int offset, uint32_t, uint64_t out_bits, uint64_t in_bits) {
                   both += popcount(out_bits & in_bits);
                   if (offset != 0) return;
                   all += popcount(out_bits);
                   two += popcount((out_bits | out_bits >> 1) & 0x5555555555555555u);
               });
    *pairs = both;
    *outputs = all;
    *twos = two;
}

void add_missing_rows(const SiteView& in, const SiteView& out, const Window& w, uint32_t first, uint32_t last,
                      const float* grad, int c_out, double* sums) {
    over_words(in, out, w, first, last, 1, [&](int offset, uint32_t slot, uint64_t out_bits, uint64_t in_bits) {
        for (uint64_t missing = out_bits & ~in_bits; missing != 0; missing &= missing - 1) {
            const uint32_t rank = out.base[slot] + uint32_t(popcount(out_bits & below(lowest(missing))));
            const float* g = grad + int64_t(out.rows != nullptr ? out.rows[rank] : int32_t(rank)) * c_out;
            double* sum = sums + int64_t(offset) * c_out;
            for (int c = 0; c < c_out; ++c) sum[c] += double(g[c]);
        }
    });
}

}  // namespace S3D_ISA
}  // namespace sparse3d
