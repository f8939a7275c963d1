// Reading a site set, 64 cells at a time; the index formula; tiles.
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
    return ((uint32_t(b) * uint32_t(sites.z) + uint32_t(z)) * uint32_t(sites.y) + uint32_t(y)) *
           uint32_t(sites.words_x);
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

// value / divisor, or -1 where that is no whole number at or above 0. Strides are nearly always 1 or 2.
S3D_INLINE int exact_quotient(int value, int divisor) {
    if (divisor == 1) return value < 0 ? -1 : value;
    if (divisor == 2) return value < 0 || (value & 1) ? -1 : value >> 1;
    return value < 0 || value % divisor != 0 ? -1 : value / divisor;
}

// The index formula on one axis: the input coordinate that output coordinate `o` meets through offset `k`, or -1.
S3D_INLINE int input_coordinate(const Window& w, int axis, int o, int k, int size) {
    const int i = w.transposed ? exact_quotient(o + w.padding[axis] - k * w.dilation[axis], w.stride[axis])
                               : o * w.stride[axis] + k * w.dilation[axis] - w.padding[axis];
    return i >= 0 && i < size ? i : -1;
}

// The same formula the other way: the output that input `i` meets, or -1.
S3D_INLINE int output_coordinate(const Window& w, int axis, int i, int k, int size) {
    const int o = w.transposed ? i * w.stride[axis] + k * w.dilation[axis] - w.padding[axis]
                               : exact_quotient(i + w.padding[axis] - k * w.dilation[axis], w.stride[axis]);
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

S3D_INLINE Tile words_as_tile(const SiteView& sites, uint32_t first, uint32_t last) {
    return {first, last, int32_t(sites.base[first]), int32_t(sites.base[last] - sites.base[first])};
}

// First kept word at or after this word of the grid.
S3D_INLINE uint32_t slot_of_word(const SiteView& sites, int64_t word) {
    return sites.top_rank[word >> 6] + uint32_t(popcount(sites.top[word >> 6] & below(int(word & 63))));
}

// Every other bit, from bit 0 on, packed together; and the way back for the low 32 bits.
S3D_INLINE uint64_t even_bits(uint64_t v) {
#if defined(__BMI2__)
    return _pext_u64(v, 0x5555555555555555ull);
#else
    v &= 0x5555555555555555ull;
    v = (v | v >> 1) & 0x3333333333333333ull;
    v = (v | v >> 2) & 0x0f0f0f0f0f0f0f0full;
    v = (v | v >> 4) & 0x00ff00ff00ff00ffull;
    v = (v | v >> 8) & 0x0000ffff0000ffffull;
    return (v | v >> 16) & 0x00000000ffffffffull;
#endif
}
S3D_INLINE uint64_t spread_bits(uint64_t v) {
#if defined(__BMI2__)
    return _pdep_u64(v, 0x5555555555555555ull);
#else
    v &= 0x00000000ffffffffull;
    v = (v | v << 16) & 0x0000ffff0000ffffull;
    v = (v | v << 8) & 0x00ff00ff00ff00ffull;
    v = (v | v << 4) & 0x0f0f0f0f0f0f0f0full;
    v = (v | v << 2) & 0x3333333333333333ull;
    return (v | v << 1) & 0x5555555555555555ull;
#endif
}

}  // namespace S3D_ISA
}  // namespace sparse3d
