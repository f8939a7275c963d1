// Site sets: see index.cpp.
#pragma once

#include "kernel.h"
#include "types.h"

namespace sparse3d {

// What the input sites reach: all cells of some planes of the grid, site by site or, faster where there are many, plane
// by plane (for some windows); or, where the grid is too large to write out, first the words, and with these ranked,
// their cells.
S3D_KERNEL(void, mark_cells, const SiteView& in, const Window& window, const SiteView& out, int b, int z0, int z1,
           uint64_t* grid)
S3D_KERNEL(bool, marks_planes, const Window& window)
S3D_KERNEL(size_t, mark_planes_scratch, const SiteView& in, const Window& window, const SiteView& out, int planes)
S3D_KERNEL(void, mark_planes, const SiteView& in, const Window& window, const SiteView& out, int b, int z0, int z1,
           uint64_t* grid, void* scratch)
S3D_KERNEL(void, mark_words, const SiteView& in, const Window& window, const SiteView& out, uint64_t* top)
S3D_KERNEL(void, mark_sites, const SiteView& in, const Window& window, const SiteView& out, uint64_t* bits)
// The words [first, last) of such a grid: how many hold a site, and how many sites; then their lists.
S3D_KERNEL(void, count_cells, const uint64_t* grid, int64_t first, int64_t last, uint32_t* words, uint32_t* sites)
S3D_KERNEL(void, list_cells, const uint64_t* grid, int64_t first, int64_t last, uint32_t rank, uint64_t* top,
           uint32_t* word, uint64_t* bits, uint32_t* base)
S3D_KERNEL(void, rank_top, const uint64_t* top, int64_t n, uint32_t* rank)
S3D_KERNEL(uint32_t, rank_bits, const uint64_t* bits, uint32_t n, uint32_t* base)
S3D_KERNEL(void, list_words, const uint64_t* top, int64_t n, uint32_t* word)
S3D_KERNEL(void, write_sites, const SiteView& sites, uint32_t first, uint32_t last, int32_t* indices)
S3D_KERNEL(size_t, neighbours_scratch, const SiteView& out, const Window& window, int tile_rows)
S3D_KERNEL(void, neighbours_tile, const SiteView& in, const SiteView& out, const Window& window, int tile_rows,
           int64_t tile, int32_t* table, void* scratch)
// Pairs of every `step`th output word, the outputs in those words, and the blocks of two cells along x that hold one.
S3D_KERNEL(void, count_pairs, const SiteView& in, const SiteView& out, const Window& window, int step, int64_t* pairs,
           int64_t* outputs, int64_t* twos)
// sums (volume, c_out) += gradient rows of the words [first, last) where the input of each offset is missing
S3D_KERNEL(void, add_missing_rows, const SiteView& in, const SiteView& out, const Window& window, uint32_t first,
           uint32_t last, const float* grad, int c_out, double* sums)

}  // namespace sparse3d
