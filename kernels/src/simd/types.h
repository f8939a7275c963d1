// Plain data that the drivers (compiled once) hand to the kernels (compiled once for each instruction set).
// No standard library here beyond <stdint.h>: an inline template of it, compiled with AVX-512, could be the copy that
// the linker keeps for everybody.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace sparse3d {

// A site set. Words are 64 cells along x; lines (b, z, y) have `words_x` of them. Only words that hold a site are kept.
struct SiteView {
    int32_t batch, z, y, x, words_x;
    uint32_t n_words, n_sites;
    const uint64_t* top;       // one bit for each word of the grid: does it hold a site?
    const uint32_t* top_rank;  // number of kept words before each 64 bits of `top`
    const uint32_t* word;      // (n_words) number of the word in the grid, ascending
    const uint64_t* bits;      // (n_words) its sites
    const uint32_t* base;      // (n_words + 1) rank of its first site; the last one is n_sites
    const int32_t* rows;       // (n_sites) the caller's row of each rank, or null where they are equal
};

struct Window {
    int32_t kernel[3], stride[3], padding[3], dilation[3];
    int32_t transposed;
};

// Two neighbouring channels as bfloat16, the first in the low half.
struct Halves {
    uint32_t bits;
};

constexpr int kTileSlack = 64;  // a tile ends with a whole word, so it may hold this many rows more than asked

}  // namespace sparse3d
