#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <vector>

#include "simd/types.h"
#include "sparse3d/sparse3d.h"

namespace sparse3d {

class SiteIndex {
public:
    int batch = 0;
    std::array<int, 3> shape{};
    int words_x = 0;
    std::vector<std::uint64_t> top, bits;
    std::vector<std::uint32_t> top_rank, word, base;
    std::vector<std::int32_t> rows;  // empty where rows are ranks

    SiteIndex(int batch, std::array<int, 3> shape);  // no sites yet; throws if the grid has no size or is too large
    void list_words();  // from `top`: ranks and words; makes room for bits
    void rank_sites();  // from `bits`: bases
    SiteView view() const;
    std::int64_t word_count() const { return std::int64_t(batch) * shape[0] * shape[1] * words_x; }
    // The blocks of 2 x 2 x `along_x` (2 or 4) cells that hold a site, as sites of a smaller grid.
    const SiteIndex& blocks(int along_x, int threads) const;
    std::int64_t count() const { return base.empty() ? 0 : base.back(); }

private:
    mutable std::once_flag blocks_made_, long_blocks_made_;
    mutable Sites blocks_, long_blocks_;
};

Window window_of(const Geometry& geometry);

}  // namespace sparse3d
