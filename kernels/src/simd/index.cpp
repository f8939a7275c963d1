// Making site sets: the words that a window reaches, their ranks, and back to coordinates.
#include "pairs.h"

namespace sparse3d {
namespace S3D_ISA {
namespace {

// Call put(word_x, bits) with the cells of an output line that the cells of one input word reach along x.
template <class Put>
S3D_INLINE void reach_along_x(const Window& w, int word_x, uint64_t bits, int out_x, int out_words, Put&& put) {
    const int stride = w.stride[2];
    for (int kx = 0; kx < w.kernel[2]; ++kx) {
        const int shift = (w.padding[2] - kx * w.dilation[2]) * (w.transposed ? -1 : 1);
        if (stride == 1 || (stride == 2 && !w.transposed)) {
            const int x = word_x * 64 + shift;
            const int word = x >> 6, s = x & 63;
            const uint64_t moved[2] = {bits << s, s ? bits >> (64 - s) : 0};
            for (int i = 0; i < 2; ++i) {
                if (moved[i] == 0 || word + i < 0) continue;
                int target = word + i;
                uint64_t cells = moved[i];
                if (stride == 2) {
                    cells = even_bits(cells) << (target & 1 ? 32 : 0);
                    target >>= 1;
                }
                if (target >= out_words) continue;
                if (target == out_words - 1 && (out_x & 63)) cells &= below(out_x & 63);
                if (cells) put(target, cells);
            }
        } else {
            for (uint64_t rest = bits; rest != 0; rest &= rest - 1) {
                const int x = output_coordinate(w, 2, word_x * 64 + lowest(rest), kx, out_x);
                if (x >= 0) put(x >> 6, uint64_t(1) << (x & 63));
            }
        }
    }
}

template <class Put>
S3D_INLINE void reach(const SiteView& in, const Window& w, const SiteView& out, Put&& put) {
    for (uint32_t slot = 0; slot < in.n_words; ++slot) {
        int word_x;
        const Line at = line_of(in, in.word[slot], word_x);
        for (int kz = 0; kz < w.kernel[0]; ++kz) {
            const int z = output_coordinate(w, 0, at.z, kz, out.z);
            if (z < 0) continue;
            for (int ky = 0; ky < w.kernel[1]; ++ky) {
                const int y = output_coordinate(w, 1, at.y, ky, out.y);
                if (y < 0) continue;
                const uint32_t line_word = first_word(out, at.b, z, y);
                reach_along_x(w, word_x, in.bits[slot], out.x, out.words_x,
                              [&](int x, uint64_t cells) { put(line_word + uint32_t(x), cells); });
            }
        }
    }
}

}  // namespace

void mark_words(const SiteView& in, const Window& w, const SiteView& out, uint64_t* top) {
    reach(in, w, out, [&](uint32_t word, uint64_t) { top[word >> 6] |= uint64_t(1) << (word & 63); });
}

void mark_sites(const SiteView& in, const Window& w, const SiteView& out, uint64_t* bits) {
    reach(in, w, out, [&](uint32_t word, uint64_t cells) {
        bits[out.top_rank[word >> 6] + uint32_t(popcount(out.top[word >> 6] & below(int(word & 63))))] |= cells;
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
    const int offsets = w.kernel[0] * w.kernel[1] * w.kernel[2];
    return pair_lists_bytes(tile_rows, offsets);
}

// table (offsets, sites of out)
void neighbours_tile(const SiteView& in, const SiteView& out, const Window& w, int tile_rows, int64_t tile, int32_t* table,
                     void* memory) {
    const int offsets = w.kernel[0] * w.kernel[1] * w.kernel[2];
    Scratch scratch{static_cast<char*>(memory)};
    const PairLists lists = take_pair_lists(scratch, tile_rows, offsets);
    const Tile t = tile_at(out, tile_rows, tile);
    find_pairs(in, out, w, t.first, t.last, 0, offsets, lists);
    for (int k = 0; k < offsets; ++k) {
        int32_t* column = table + int64_t(k) * out.n_sites;
        const int32_t* from = lists.in + int64_t(k) * lists.capacity;
        const int32_t* to = lists.out + int64_t(k) * lists.capacity;
        if (out.rows != nullptr) {
            for (int i = 0; i < t.rows; ++i) column[out.rows[t.rank + i]] = -1;
            for (int i = 0; i < lists.count[k]; ++i) column[out.rows[t.rank + to[i]]] = from[i];
        } else {
            for (int i = 0; i < t.rows; ++i) column[t.rank + i] = -1;
            for (int i = 0; i < lists.count[k]; ++i) column[t.rank + to[i]] = from[i];
        }
    }
}

namespace {

// Call f(offset, output word, its cells, the input cells that stand opposite) for offsets of stride 1.
template <class F>
S3D_INLINE void over_words(const SiteView& in, const SiteView& out, const Window& w, uint32_t first, uint32_t last, uint32_t step, F&& f) {
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

void count_pairs(const SiteView& in, const SiteView& out, const Window& w, int step, int64_t* pairs, int64_t* outputs) {
    int64_t both = 0, all = 0;
    over_words(in, out, w, 0, out.n_words, uint32_t(step), [&](int offset, uint32_t, uint64_t out_bits, uint64_t in_bits) {
        both += popcount(out_bits & in_bits);
        if (offset == 0) all += popcount(out_bits);
    });
    *pairs = both;
    *outputs = all;
}

void add_missing_rows(const SiteView& in, const SiteView& out, const Window& w, uint32_t first, uint32_t last, const float* grad,
                      int c_out, double* sums) {
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
