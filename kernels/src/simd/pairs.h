// Which input row meets which output row: found 64 outputs at a time, for one tile of outputs, whenever it is needed.
#pragma once

#include "sites.h"

namespace sparse3d {
namespace S3D_ISA {

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

// One input line, read 64 cells at a time; the two words read last are kept, as neighbouring offsets share them.
struct LineReader {
    const SiteView& sites;
    uint32_t line_word;
    int held;
    Cells low, high;

    S3D_INLINE_MEMBER Cells from(int x) {
        const int word = x >> 6;  // floor, also below zero
        if (word != held) {
            low = held + 1 == word ? high : word_at(sites, line_word, word);
            high = word_at(sites, line_word, word + 1);
            held = word;
        }
        return cells_from(low, high, x & 63);
    }
};

// The input cells, in the word opposite an output word and in the two beside it, that its outputs meet through any
// offset along x. Few words of scattered sites have one there, and most lines need not be looked at offset by offset.
struct Opposite {
    uint64_t cells[3];
};

// Only for windows of stride 1 that reach less than a word along x.
S3D_INLINE bool reaches_next_words_only(const Window& w) {
    return w.stride[2] == 1 && w.padding[2] < 64 && (w.kernel[2] - 1) * w.dilation[2] - w.padding[2] < 64;
}

S3D_INLINE Opposite opposite(const Window& w, uint64_t out_bits) {
    Opposite all{{0, 0, 0}};
    for (int kx = 0; kx < w.kernel[2]; ++kx) {
        const int reach = (kx * w.dilation[2] - w.padding[2]) * (w.transposed ? -1 : 1);
        if (reach >= 0) {
            all.cells[1] |= out_bits << reach;
            if (reach > 0) all.cells[2] |= out_bits >> (64 - reach);
        } else {
            all.cells[1] |= out_bits >> -reach;
            all.cells[0] |= out_bits << (64 + reach);
        }
    }
    return all;
}

S3D_INLINE bool has_any(const SiteView& sites, uint32_t line_word, int word_x, const Opposite& opposite) {
    const auto in_word = [&](int i) {
        return opposite.cells[i] != 0 && (word_at(sites, line_word, word_x + i - 1).bits & opposite.cells[i]) != 0;
    };
    return in_word(1) || in_word(0) || in_word(2);
}

// The pairs of one output word (cells `out_bits` from x on, first local row `out_base`) with one input line through
// offset kx, appended to two lists; returns how many.
S3D_INLINE int append_pairs(LineReader& line, const Window& w, int out_x, uint64_t out_bits, int32_t out_base, int kx,
                            int32_t* in_list, int32_t* out_list) {
    const int reach = kx * w.dilation[2] - w.padding[2];
    if (w.stride[2] == 1) {
        const Cells cells = line.from(w.transposed ? out_x - reach : out_x + reach);
        const uint64_t both = cells.bits & out_bits;
        if (both == 0) return 0;
        append_positions(both, out_bits, out_base, out_list);
        append_positions(both, cells.bits, int32_t(cells.rank), in_list);
        return popcount(both);
    }
    if (w.stride[2] == 2 && !w.transposed) {  // 64 outputs meet every other one of 128 inputs
        const Cells first = line.from(2 * out_x + reach), second = line.from(2 * out_x + reach + 64);
        const uint64_t both = (even_bits(first.bits) | even_bits(second.bits) << 32) & out_bits;
        if (both == 0) return 0;
        append_positions(both, out_bits, out_base, out_list);
        append_positions(spread_bits(both), first.bits, int32_t(first.rank), in_list);
        const int n = popcount(both & 0xffffffffu);
        append_positions(spread_bits(both >> 32), second.bits, int32_t(second.rank), in_list + n);
        return popcount(both);
    }
    if (w.stride[2] == 2) {  // every other one of 64 outputs meets 32 inputs
        const int odd = reach & 1;
        const Cells cells = line.from((out_x + odd - reach) / 2);
        const uint64_t both = (spread_bits(cells.bits) << odd) & out_bits;
        if (both == 0) return 0;
        append_positions(both, out_bits, out_base, out_list);
        append_positions(even_bits(both >> odd), cells.bits, int32_t(cells.rank), in_list);
        return popcount(both);
    }
    int n = 0;
    for (uint64_t rest = out_bits; rest != 0; rest &= rest - 1, ++out_base) {
        const int x = input_coordinate(w, 2, out_x + lowest(rest), kx, line.sites.x);
        if (x < 0) continue;
        const Cells cells = word_at(line.sites, line.line_word, x >> 6);
        if (!((cells.bits >> (x & 63)) & 1)) continue;
        in_list[n] = int32_t(cells.rank) + popcount(cells.bits & below(x & 63));
        out_list[n++] = out_base;
    }
    return n;
}

// Fill `lists` with the pairs of the output words [first, last) through offsets [first_offset, last_offset); list 0
// belongs to first_offset.
inline void find_pairs(const SiteView& in, const SiteView& out, const Window& w, uint32_t first, uint32_t last,
                       int first_offset, int last_offset, const PairLists& lists) {
    for (int k = first_offset; k < last_offset; ++k) lists.count[k - first_offset] = 0;
    const int plane = w.kernel[1] * w.kernel[2];
    const int32_t origin = int32_t(out.base[first]);
    const bool look_first = reaches_next_words_only(w);
    for (uint32_t slot = first; slot < last; ++slot) {
        int word_x;
        const Line at = line_of(out, out.word[slot], word_x);
        const uint64_t out_bits = out.bits[slot];
        const int32_t out_base = int32_t(out.base[slot]) - origin;
        const Opposite cells = look_first ? opposite(w, out_bits) : Opposite{};
        for (int kz = first_offset / plane; kz * plane < last_offset; ++kz) {
            const int z = input_coordinate(w, 0, at.z, kz, in.z);
            if (z < 0) continue;
            for (int ky = 0; ky < w.kernel[1]; ++ky) {
                const int k0 = (kz * w.kernel[1] + ky) * w.kernel[2];
                if (k0 + w.kernel[2] <= first_offset || k0 >= last_offset) continue;
                const int y = input_coordinate(w, 1, at.y, ky, in.y);
                if (y < 0) continue;
                const uint32_t line_word = first_word(in, at.b, z, y);
                if (look_first && !has_any(in, line_word, word_x, cells)) continue;
                LineReader line{in, line_word, -2, {0, 0}, {0, 0}};
                for (int kx = 0; kx < w.kernel[2]; ++kx) {
                    const int k = k0 + kx - first_offset;
                    if (k < 0 || k >= last_offset - first_offset) continue;
                    const int64_t end = int64_t(k) * lists.capacity + lists.count[k];
                    lists.count[k] +=
                        append_pairs(line, w, word_x * 64, out_bits, out_base, kx, lists.in + end, lists.out + end);
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

}  // namespace S3D_ISA
}  // namespace sparse3d
