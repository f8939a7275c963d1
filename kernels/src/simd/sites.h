// Reading a site set, and finding which input meets which output, 64 cells at a time.
#pragma once

#include "vec.h"

namespace sparse3d {
namespace S3D_ISA {

// Words --------------------------------------------------------------------------------------------------------------

struct Line {
    int b, z, y;
};

S3D_INLINE Line line_of(const SiteView& sites, uint32_t word, int& word_x) {
    const uint32_t line = word / uint32_t(sites.words_x);
    word_x = int(word - line * uint32_t(sites.words_x));
    const uint32_t plane = line / uint32_t(sites.y);
    const uint32_t b = plane / uint32_t(sites.z);
    return {int(b), int(plane - b * uint32_t(sites.z)), int(line - plane * uint32_t(sites.y))};
}

S3D_INLINE uint32_t first_word(const SiteView& sites, int b, int z, int y) {
    return ((uint32_t(b) * uint32_t(sites.z) + uint32_t(z)) * uint32_t(sites.y) + uint32_t(y)) * uint32_t(sites.words_x);
}

// 64 neighbouring cells of a line and the rank of the first site among them (meaningful only if there is one).
struct Cells {
    uint64_t bits;
    uint32_t rank;
};

S3D_INLINE Cells word_at(const SiteView& sites, uint32_t line_word, int word_x) {
    if (word_x < 0 || word_x >= sites.words_x) return {0, 0};
    const uint32_t word = line_word + uint32_t(word_x);
    const uint64_t top = sites.top[word >> 6];
    const int position = int(word & 63);
    if (!((top >> position) & 1)) return {0, 0};
    const uint32_t slot = sites.top_rank[word >> 6] + uint32_t(popcount(top & below(position)));
    return {sites.bits[slot], sites.base[slot]};
}

// The 64 cells from x on, which need not be a multiple of 64, and may lie outside the line.
S3D_INLINE Cells cells_from(Cells low, Cells high, int shift) {
    if (shift == 0) return low;
    const uint64_t bits = (low.bits >> shift) | (high.bits << (64 - shift));
    const uint32_t rank = low.bits ? low.rank + uint32_t(popcount(low.bits & below(shift))) : high.rank;
    return {bits, rank};
}

// The index formula on one axis: the input coordinate that output coordinate `o` meets through offset `k`, or -1.
S3D_INLINE int input_coordinate(const Window& w, int axis, int o, int k, int size) {
    int i;
    if (w.transposed) {
        const int scaled = o + w.padding[axis] - k * w.dilation[axis];
        if (scaled < 0 || scaled % w.stride[axis] != 0) return -1;
        i = scaled / w.stride[axis];
    } else {
        i = o * w.stride[axis] + k * w.dilation[axis] - w.padding[axis];
    }
    return i >= 0 && i < size ? i : -1;
}

// The same formula the other way: the output that input `i` meets, or -1.
S3D_INLINE int output_coordinate(const Window& w, int axis, int i, int k, int size) {
    int o;
    if (w.transposed) {
        o = i * w.stride[axis] + k * w.dilation[axis] - w.padding[axis];
    } else {
        const int scaled = i + w.padding[axis] - k * w.dilation[axis];
        if (scaled < 0 || scaled % w.stride[axis] != 0) return -1;
        o = scaled / w.stride[axis];
    }
    return o >= 0 && o < size ? o : -1;
}

// Phase of an output site of a transposed window: which offsets can reach it depends on it alone.
S3D_INLINE int phase_of(const Window& w, int z, int y, int x) {
    if (!w.transposed) return 0;
    return ((z + w.padding[0]) % w.stride[0] * w.stride[1] + (y + w.padding[1]) % w.stride[1]) * w.stride[2] +
           (x + w.padding[2]) % w.stride[2];
}

// Tiles --------------------------------------------------------------------------------------------------------------

// First word whose first rank is at least `rank`.
S3D_INLINE uint32_t word_of_rank(const SiteView& sites, uint32_t rank) {
    uint32_t low = 0, high = sites.n_words;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (sites.base[middle] < rank)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// Tile t is the words whose first rank lies in [t * tile_rows, (t + 1) * tile_rows): whole words, and a cut that
// depends on the sites alone.
struct Tile {
    uint32_t first, last;  // words
    int32_t rank, rows;
};

S3D_INLINE Tile tile_at(const SiteView& sites, int tile_rows, int64_t tile) {
    Tile t;
    t.first = word_of_rank(sites, uint32_t(tile * tile_rows));
    t.last = word_of_rank(sites, uint32_t((tile + 1) * tile_rows));
    t.rank = int32_t(sites.base[t.first]);
    t.rows = int32_t(sites.base[t.last]) - t.rank;
    return t;
}

// Pairs --------------------------------------------------------------------------------------------------------------

// For each offset, the pairs (input row, output row within the tile), in raster order of the outputs.
struct PairLists {
    int32_t* in;
    int32_t* out;
    int32_t* count;
    int capacity;  // of each offset's list

    // Room past the last pair: vectors are stored whole, and lists are filled up to whole row blocks.
    static int capacity_for(int tile_rows) { return (tile_rows + kTileSlack + 64 + 15) / 16 * 16; }
};

S3D_INLINE PairLists take_pair_lists(Scratch& scratch, int tile_rows, int offsets) {
    PairLists lists;
    lists.capacity = PairLists::capacity_for(tile_rows);
    lists.in = scratch.take<int32_t>(size_t(lists.capacity) * size_t(offsets));
    lists.out = scratch.take<int32_t>(size_t(lists.capacity) * size_t(offsets));
    lists.count = scratch.take<int32_t>(size_t(offsets));
    return lists;
}

S3D_INLINE size_t pair_lists_bytes(int tile_rows, int offsets) {
    return size_t(PairLists::capacity_for(tile_rows)) * size_t(offsets) * 8 + size_t(offsets) * 4 + 3 * 64;
}

#if defined(__AVX512F__)
// Append base + position of each set bit of `mask` that is also in `of`, counted within `of`.
S3D_INLINE void append_positions(uint64_t mask, uint64_t of, int32_t base, int32_t* list) {
    const uint64_t chosen = _pext_u64(mask, of);
    __m512i lane = _mm512_add_epi32(_mm512_set1_epi32(base),
                                    _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    for (uint64_t rest = chosen; rest != 0; rest >>= 16) {
        const __mmask16 part = __mmask16(rest);
        _mm512_storeu_si512(list, _mm512_maskz_compress_epi32(part, lane));
        list += popcount(part);
        lane = _mm512_add_epi32(lane, _mm512_set1_epi32(16));
    }
}
#elif defined(__BMI2__)
S3D_INLINE void append_positions(uint64_t mask, uint64_t of, int32_t base, int32_t* list) {
    for (uint64_t chosen = _pext_u64(mask, of); chosen != 0; chosen &= chosen - 1) *list++ = base + lowest(chosen);
}
#else
S3D_INLINE void append_positions(uint64_t mask, uint64_t of, int32_t base, int32_t* list) {
    for (; mask != 0; mask &= mask - 1) *list++ = base + popcount(of & ((mask & (0 - mask)) - 1));
}
#endif

// One output word against one input line, cell by cell: any stride, either direction.
S3D_INLINE int append_one_by_one(const SiteView& in, uint32_t line_word, const Window& w, int word_x, uint64_t out_bits,
                                 int32_t out_base, int kx, int32_t* in_list, int32_t* out_list) {
    int n = 0;
    Cells cells = {0, 0};
    int held = -1;
    for (uint64_t rest = out_bits; rest != 0; rest &= rest - 1, ++out_base) {
        const int x = input_coordinate(w, 2, word_x * 64 + lowest(rest), kx, in.x);
        if (x < 0) continue;
        if (x >> 6 != held) {
            held = x >> 6;
            cells = word_at(in, line_word, held);
        }
        if (!((cells.bits >> (x & 63)) & 1)) continue;
        in_list[n] = int32_t(cells.rank) + popcount(cells.bits & below(x & 63));
        out_list[n++] = out_base;
    }
    return n;
}

// Fill `lists` with the pairs of the output words [first, last) through offsets [first_offset, last_offset); list 0
// belongs to first_offset.
static void find_pairs(const SiteView& in, const SiteView& out, const Window& w, uint32_t first, uint32_t last,
                       int first_offset, int last_offset, const PairLists& lists) {
    for (int k = first_offset; k < last_offset; ++k) lists.count[k - first_offset] = 0;
    const int plane = w.kernel[1] * w.kernel[2];
    const int32_t origin = int32_t(out.base[first]);
    for (uint32_t slot = first; slot < last; ++slot) {
        int word_x;
        const Line at = line_of(out, out.word[slot], word_x);
        const uint64_t out_bits = out.bits[slot];
        const int32_t out_base = int32_t(out.base[slot]) - origin;
        for (int kz = first_offset / plane; kz * plane < last_offset; ++kz) {
            const int z = input_coordinate(w, 0, at.z, kz, in.z);
            if (z < 0) continue;
            for (int ky = 0; ky < w.kernel[1]; ++ky) {
                const int k0 = (kz * w.kernel[1] + ky) * w.kernel[2];
                if (k0 + w.kernel[2] <= first_offset || k0 >= last_offset) continue;
                const int y = input_coordinate(w, 1, at.y, ky, in.y);
                if (y < 0) continue;
                const uint32_t line_word = first_word(in, at.b, z, y);
                int held = -2;
                Cells low = {0, 0}, high = {0, 0};
                for (int kx = 0; kx < w.kernel[2]; ++kx) {
                    const int k = k0 + kx - first_offset;
                    if (k < 0 || k >= last_offset - first_offset) continue;
                    int32_t* in_list = lists.in + int64_t(k) * lists.capacity + lists.count[k];
                    int32_t* out_list = lists.out + int64_t(k) * lists.capacity + lists.count[k];
                    if (w.stride[2] != 1) {
                        lists.count[k] += append_one_by_one(in, line_word, w, word_x, out_bits, out_base, kx, in_list, out_list);
                        continue;
                    }
                    const int reach = kx * w.dilation[2] - w.padding[2];
                    const int x = word_x * 64 + (w.transposed ? -reach : reach);
                    const int word = x >> 6;  // floor, also below zero
                    if (word != held) {
                        low = held + 1 == word ? high : word_at(in, line_word, word);
                        high = word_at(in, line_word, word + 1);
                        held = word;
                    }
                    const Cells cells = cells_from(low, high, x & 63);
                    const uint64_t both = cells.bits & out_bits;
                    if (both == 0) continue;
                    append_positions(both, out_bits, out_base, out_list);
                    append_positions(both, cells.bits, int32_t(cells.rank), in_list);
                    lists.count[k] += popcount(both);
                }
            }
        }
    }
    if (in.rows != nullptr)
        for (int k = 0; k < last_offset - first_offset; ++k) {
            int32_t* list = lists.in + int64_t(k) * lists.capacity;
            for (int i = 0; i < lists.count[k]; ++i) list[i] = in.rows[list[i]];
        }
}

// table (rows of the tile, offsets): the input row, or -1.
S3D_INLINE void tabulate(const PairLists& lists, int rows, int offsets, int32_t* table) {
    for (int i = 0; i < rows * offsets; ++i) table[i] = -1;
    for (int k = 0; k < offsets; ++k) {
        const int32_t* in = lists.in + int64_t(k) * lists.capacity;
        const int32_t* out = lists.out + int64_t(k) * lists.capacity;
        for (int i = 0; i < lists.count[k]; ++i) table[int64_t(out[i]) * offsets + k] = in[i];
    }
}

}  // namespace S3D_ISA
}  // namespace sparse3d
