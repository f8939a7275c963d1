#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "simd/types.h"
#include "sparse3d/sparse3d.h"

namespace sparse3d {

// A vector whose new elements hold anything, for those that are written at once, perhaps by several threads.
template <class T>
struct Unwritten : std::allocator<T> {
    template <class U>
    struct rebind {
        using other = Unwritten<U>;
    };
    template <class U>
    void construct(U* place) {
        ::new (static_cast<void*>(place)) U;
    }
    template <class U, class... Args>
    void construct(U* place, Args&&... args) {
        ::new (static_cast<void*>(place)) U(std::forward<Args>(args)...);
    }
};
template <class T>
using RawVector = std::vector<T, Unwritten<T>>;

class SiteIndex {
public:
    int batch = 0;
    std::array<int, 3> shape{};
    int words_x = 0;
    RawVector<std::uint64_t> top, bits;
    RawVector<std::uint32_t> top_rank, word, base;
    std::vector<std::int32_t> rows;  // empty where rows are ranks

    SiteIndex(int batch, std::array<int, 3> shape);  // no sites yet; throws if the grid has no size or is too large
    void rank_words();                               // from `top`: how many words come before each 64
    void list_words();                               // the same, and the words; makes room for bits
    void rank_sites();                               // from `bits`: bases
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
