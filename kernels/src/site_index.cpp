#include "site_index.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "simd/fingerprint.h"
#include "simd/index.h"
#include "threads.h"

namespace sparse3d {
namespace {

std::string text(const std::int32_t* site) {
    return "[" + std::to_string(site[0]) + ", " + std::to_string(site[1]) + ", " + std::to_string(site[2]) + ", " +
           std::to_string(site[3]) + "]";
}

std::string text(const std::array<int, 3>& shape) {
    return "(" + std::to_string(shape[0]) + ", " + std::to_string(shape[1]) + ", " + std::to_string(shape[2]) + ")";
}

// A cell's coordinate, and what a window reaches from there, are ints.
constexpr int kLargestSide = 1 << 30;

int popcount(std::uint64_t bits) { return __builtin_popcountll(bits); }

}  // namespace

SiteIndex::SiteIndex(int batch_size, std::array<int, 3> grid) : batch(batch_size), shape(grid) {
    if (batch < 0 || shape[0] < 1 || shape[1] < 1 || shape[2] < 1)
        throw std::invalid_argument("a grid needs at least one cell on every axis, got " + text(shape) +
                                    " and batch size " + std::to_string(batch));
    if (std::max({shape[0], shape[1], shape[2]}) > kLargestSide)
        throw std::invalid_argument("a grid of " + text(shape) +
                                    " is too large: at most 2^30 cells along an axis; use a smaller field");
    words_x = (shape[2] + 63) / 64;
    const double words = double(batch) * shape[0] * shape[1] * words_x;
    if (words >= 4294967296.0)
        throw std::invalid_argument("a grid of " + text(shape) + " times " + std::to_string(batch) +
                                    " is too large: at most 2^32 words of 64 cells; use a smaller field or batch");
    top.assign(std::size_t(words) / 64 + 1, 0);
}

void SiteIndex::rank_words() {
    top_rank.resize(top.size() + 1);
    chosen::rank_top(top.data(), std::int64_t(top.size()), top_rank.data());
}

void SiteIndex::list_words() {
    rank_words();
    word.resize(top_rank.back());
    chosen::list_words(top.data(), std::int64_t(top.size()), word.data());
    bits.assign(word.size(), 0);
}

void SiteIndex::rank_sites() {
    base.resize(bits.size() + 1);
    chosen::rank_bits(bits.data(), std::uint32_t(bits.size()), base.data());
}

SiteView SiteIndex::view() const {
    SiteView v{};
    v.batch = batch;
    v.z = shape[0];
    v.y = shape[1];
    v.x = shape[2];
    v.words_x = words_x;
    v.n_words = std::uint32_t(word.size());
    v.n_sites = std::uint32_t(count());
    v.top = top.data();
    v.top_rank = top_rank.data();
    v.word = word.data();
    v.bits = bits.data();
    v.base = base.data();
    v.rows = rows.empty() ? nullptr : rows.data();
    return v;
}

namespace {

// What the sites reach, with all words of the grid written out.
void reach_in_grid(const SiteView& from, const Window& window, SiteIndex& out, int threads) {
    const SiteView to = out.view();
    constexpr int kPlanes = 4;
    const int per_volume = (to.z + kPlanes - 1) / kPlanes;
    const std::int64_t words = out.word_count(), plane = std::int64_t(to.y) * to.words_x;
    struct Piece {
        std::int64_t first, last;  // words of the grid
        std::uint32_t words, sites;
    };
    std::vector<Piece> pieces(std::size_t(to.batch * per_volume));
    if (words <= 2000) threads = 1;
    const Scratchpad pad(std::size_t(words) * 8);
    std::uint64_t* const grid = pad.as<std::uint64_t>();
    const bool by_planes = chosen::marks_planes(window) &&
                           std::int64_t(from.batch) * from.z * from.y * from.words_x <= 16 * std::int64_t(from.n_words);
    const WorkerScratch scratch(by_planes ? chosen::mark_planes_scratch(from, window, to, kPlanes) : 0, threads);
    parallel_for(std::int64_t(pieces.size()), threads, [&](std::int64_t task, int worker) {
        const int b = int(task / per_volume), z0 = int(task % per_volume) * kPlanes, z1 = std::min(z0 + kPlanes, to.z);
        if (by_planes)
            chosen::mark_planes(from, window, to, b, z0, z1, grid, scratch.of(worker));
        else
            chosen::mark_cells(from, window, to, b, z0, z1, grid);
        Piece& piece = pieces[std::size_t(task)];
        piece.first = (std::int64_t(b) * to.z + z0) * plane;
        piece.last = piece.first + (z1 - z0) * plane;
        chosen::count_cells(grid, piece.first, piece.last, &piece.words, &piece.sites);
    });
    std::uint32_t slots = 0, sites = 0;
    for (Piece& piece : pieces) {  // from how many to how many before
        slots += std::exchange(piece.words, slots);
        sites += std::exchange(piece.sites, sites);
    }
    out.word.resize(slots);
    out.bits.resize(slots);
    out.base.resize(std::size_t(slots) + 1);
    parallel_for(std::int64_t(pieces.size()), threads, [&](std::int64_t task, int) {
        const Piece& piece = pieces[std::size_t(task)];
        chosen::list_cells(grid, piece.first, piece.last, piece.sites, out.top.data(), out.word.data() + piece.words,
                           out.bits.data() + piece.words, out.base.data() + piece.words);
    });
    out.base[slots] = sites;
    out.rank_words();
}

Sites reached_sites(const SiteIndex& in, const Geometry& geometry, int threads) {
    auto out = std::make_shared<SiteIndex>(geometry.batch, geometry.out_shape);
    const Window window = window_of(geometry);
    const SiteView from = in.view();
    if (out->word_count() <= 16 * std::int64_t(from.n_words) + 65536) {
        reach_in_grid(from, window, *out, threads);
    } else {
        chosen::mark_words(from, window, out->view(), out->top.data());
        out->list_words();
        chosen::mark_sites(from, window, out->view(), out->bits.data());
        out->rank_sites();
    }
    return out;
}

}  // namespace

const SiteIndex& SiteIndex::blocks(int along_x, int threads) const {
    const auto half = [](int n) { return (n + 1) / 2; };
    std::call_once(blocks_made_, [&] {
        blocks_ = reached_sites(*this,
                                {{2, 2, 2},
                                 {2, 2, 2},
                                 {0, 0, 0},
                                 {1, 1, 1},
                                 shape,
                                 {half(shape[0]), half(shape[1]), half(shape[2])},
                                 batch,
                                 false},
                                threads);
    });
    if (along_x == 2) return *blocks_;
    std::call_once(long_blocks_made_, [&] {
        const std::array<int, 3> fine = blocks_->shape;
        long_blocks_ = reached_sites(
            *blocks_,
            {{1, 1, 2}, {1, 1, 2}, {0, 0, 0}, {1, 1, 1}, fine, {fine[0], fine[1], half(fine[2])}, batch, false},
            threads);
    });
    return *long_blocks_;
}

Window window_of(const Geometry& g) {
    Window w{};
    for (std::size_t axis = 0; axis < 3; ++axis) {
        if (g.kernel[axis] < 1 || g.stride[axis] < 1 || g.dilation[axis] < 1 || g.padding[axis] < 0)
            throw std::invalid_argument(
                "kernel, stride and dilation must be at least 1 and padding at least 0 on every axis");
        if (std::int64_t(g.kernel[axis] - 1) * g.dilation[axis] > 512 || g.stride[axis] > 512)
            throw std::invalid_argument("a window may reach over at most 512 cells, and strides are at most 512");
        const std::int64_t side = g.transposed ? g.in_shape[axis] : g.out_shape[axis];
        if (side * g.stride[axis] + 512 > kLargestSide * std::int64_t(2) - 1 - g.padding[axis] ||
            g.padding[axis] > kLargestSide)
            throw std::invalid_argument("a window with stride " + std::to_string(g.stride[axis]) + " and padding " +
                                        std::to_string(g.padding[axis]) + " leads out of 32 bits in a grid of " +
                                        std::to_string(side) + " cells along an axis");
        w.kernel[axis] = g.kernel[axis];
        w.stride[axis] = g.stride[axis];
        w.padding[axis] = g.padding[axis];
        w.dilation[axis] = g.dilation[axis];
    }
    w.transposed = g.transposed;
    return w;
}

Geometry Geometry::reversed() const {
    Geometry r = *this;
    r.in_shape = out_shape;
    r.out_shape = in_shape;
    r.transposed = !transposed;
    return r;
}

namespace {

bool same_word(const std::int32_t* a, const std::int32_t* b) {
    return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] >> 6 == b[3] >> 6;
}

constexpr std::int64_t kStretch = 16384;  // sites

// The words of a stretch of sites, the first of which begins a word; its last may go on past kStretch sites.
struct Stretch {
    static constexpr std::size_t kRoom = kStretch + 64, kBytes = kRoom * 16;
    std::uint64_t* bits;
    std::uint32_t *word, *base;
    std::size_t words;
    bool good;

    explicit Stretch(char* memory)
        : bits(reinterpret_cast<std::uint64_t*>(memory)),
          word(reinterpret_cast<std::uint32_t*>(bits + kRoom)),
          base(word + kRoom),
          words(0),
          good(true) {}
};

// Sites [first, last) of all; not good if they are not in raster order after the one before, inside the grid and
// unique.
void read_stretch(const std::int32_t* indices, std::int64_t first, std::int64_t last, const SiteIndex& grid,
                  Stretch& stretch) {
    const std::int32_t none[4] = {-1, 0, 0, 0};
    const std::int32_t* line = first > 0 ? indices + 4 * (first - 1) : none;  // of the site before
    std::int32_t last_x = line[3];
    std::uint32_t line_word = 0, word = 0;
    std::uint64_t bits = 0;
    const auto word_of_line = [&](const std::int32_t* site) {
        return ((std::uint32_t(site[0]) * std::uint32_t(grid.shape[0]) + std::uint32_t(site[1])) *
                    std::uint32_t(grid.shape[1]) +
                std::uint32_t(site[2])) *
               std::uint32_t(grid.words_x);
    };
    line_word = word_of_line(line);
    bool good = true;
    for (std::int64_t i = first; i < last && good; ++i) {
        const std::int32_t* site = indices + 4 * i;
        const std::int32_t x = site[3];
        if (site[2] != line[2] || site[1] != line[1] || site[0] != line[0]) {
            good = std::uint32_t(site[0]) < std::uint32_t(grid.batch) &&
                   std::uint32_t(site[1]) < std::uint32_t(grid.shape[0]) &&
                   std::uint32_t(site[2]) < std::uint32_t(grid.shape[1]) &&
                   (site[0] > line[0] ||
                    (site[0] == line[0] && (site[1] > line[1] || (site[1] == line[1] && site[2] > line[2]))));
            line = site;
            line_word = word_of_line(site);
            last_x = -1;
        }
        good = good && x > last_x && x < grid.shape[2];
        last_x = x;
        const std::uint32_t of = line_word + std::uint32_t(x >> 6);
        if (of != word || bits == 0) {
            if (bits != 0) stretch.bits[stretch.words++] = bits;
            stretch.word[stretch.words] = of;
            stretch.base[stretch.words] = std::uint32_t(i);
            word = of;
            bits = 0;
        }
        bits |= std::uint64_t(1) << (x & 63);
    }
    if (bits != 0) stretch.bits[stretch.words++] = bits;
    stretch.good = good;
}

// False, with the index as it was, if the sites are not in raster order, inside the grid and unique.
bool index_in_raster_order(const std::int32_t* indices, std::int64_t n, SiteIndex& index, int threads) {
    if (n == 0) return false;
    const std::int64_t pieces = (n + kStretch - 1) / kStretch;
    const auto begin = [&](std::int64_t piece) {  // where a word begins
        std::int64_t at = std::min(n, piece * kStretch);
        while (at > 0 && at < n && same_word(indices + 4 * at, indices + 4 * (at - 1))) ++at;
        return at;
    };
    const Scratchpad pad(std::size_t(pieces) * Stretch::kBytes);
    std::vector<Stretch> stretches;
    for (std::int64_t piece = 0; piece < pieces; ++piece)
        stretches.emplace_back(pad.bytes_at(std::size_t(piece) * Stretch::kBytes));
    parallel_for(pieces, threads, [&](std::int64_t piece, int) {
        read_stretch(indices, begin(piece), begin(piece + 1), index, stretches[std::size_t(piece)]);
    });
    std::size_t words = 0;
    std::vector<std::size_t> begins;
    for (const Stretch& stretch : stretches) {
        if (!stretch.good) return false;
        begins.push_back(words);
        words += stretch.words;
    }
    index.word.resize(words);
    index.bits.resize(words);
    index.base.resize(words + 1);
    parallel_for(pieces, threads, [&](std::int64_t piece, int) {
        const Stretch& stretch = stretches[std::size_t(piece)];
        const std::size_t at = begins[std::size_t(piece)];
        std::copy_n(stretch.word, stretch.words, index.word.data() + at);
        std::copy_n(stretch.bits, stretch.words, index.bits.data() + at);
        std::copy_n(stretch.base, stretch.words, index.base.data() + at);
        for (std::size_t i = 0; i < stretch.words;) {
            const std::uint32_t of = stretch.word[i] >> 6;
            std::uint64_t held = 0;
            for (; i < stretch.words && stretch.word[i] >> 6 == of; ++i)
                held |= std::uint64_t(1) << (stretch.word[i] & 63);
            // the next stretch may go on in the same word
            __atomic_fetch_or(&index.top[of], held, __ATOMIC_RELAXED);
        }
    });
    index.base[words] = std::uint32_t(n);
    index.rank_words();
    return true;
}

}  // namespace

Sites index_sites(const std::int32_t* indices, std::int64_t n, int batch, std::array<int, 3> shape, int threads) {
    auto index = std::make_shared<SiteIndex>(batch, shape);
    if (n > 2147483647) throw std::invalid_argument("at most 2^31 - 1 sites, got " + std::to_string(n));
    if (index_in_raster_order(indices, n, *index, threads)) return index;
    const auto word_of = [&](const std::int32_t* site) {
        return ((std::uint32_t(site[0]) * std::uint32_t(shape[0]) + std::uint32_t(site[1])) * std::uint32_t(shape[1]) +
                std::uint32_t(site[2])) *
                   std::uint32_t(index->words_x) +
               std::uint32_t(site[3] >> 6);
    };
    bool raster = true;
    std::int64_t last = -1;
    for (std::int64_t i = 0; i < n; ++i) {
        const std::int32_t* site = indices + 4 * i;
        if (std::uint32_t(site[0]) >= std::uint32_t(batch) || std::uint32_t(site[1]) >= std::uint32_t(shape[0]) ||
            std::uint32_t(site[2]) >= std::uint32_t(shape[1]) || std::uint32_t(site[3]) >= std::uint32_t(shape[2]))
            throw std::invalid_argument("site " + text(site) + " [b, z, y, x] in row " + std::to_string(i) +
                                        " lies outside a grid of " + text(shape) + " with batch size " +
                                        std::to_string(batch) + "; crop the sites or enlarge the grid");
        const std::uint32_t word = word_of(site);
        const std::int64_t cell = std::int64_t(word) * 64 + (site[3] & 63);
        raster = raster && cell > last;
        last = cell;
        index->top[word >> 6] |= std::uint64_t(1) << (word & 63);
    }
    index->list_words();
    const auto slot_of = [&](std::uint32_t word) {
        return index->top_rank[word >> 6] +
               std::uint32_t(popcount(index->top[word >> 6] & ((std::uint64_t(1) << (word & 63)) - 1)));
    };
    std::uint32_t held_word = 0, slot = 0;
    for (std::int64_t i = 0; i < n; ++i) {
        const std::int32_t* site = indices + 4 * i;
        const std::uint32_t word = word_of(site);
        if (i == 0 || word != held_word) slot = slot_of(word);
        held_word = word;
        const std::uint64_t bit = std::uint64_t(1) << (site[3] & 63);
        if (index->bits[slot] & bit)
            throw std::invalid_argument("site " + text(site) + " [b, z, y, x] in row " + std::to_string(i) +
                                        " occurs twice; keep one row for each site");
        index->bits[slot] |= bit;
    }
    index->rank_sites();
    if (!raster) {
        index->rows.resize(std::size_t(n));
        for (std::int64_t i = 0; i < n; ++i) {
            const std::int32_t* site = indices + 4 * i;
            slot = slot_of(word_of(site));
            const std::uint64_t before = index->bits[slot] & ((std::uint64_t(1) << (site[3] & 63)) - 1);
            index->rows[index->base[slot] + std::uint32_t(popcount(before))] = std::int32_t(i);
        }
    }
    return index;
}

Sites output_sites(const Sites& in, const Geometry& geometry, int threads) {
    if (in->shape != geometry.in_shape || in->batch != geometry.batch)
        throw std::invalid_argument("the sites lie in a grid of " + text(in->shape) + ", but the geometry reads " +
                                    text(geometry.in_shape));
    return reached_sites(*in, geometry, threads);
}

std::int64_t site_count(const Sites& sites) { return sites->count(); }

bool same_sites(const Sites& a, const Sites& b) {
    return a == b || (a->batch == b->batch && a->shape == b->shape && a->word == b->word && a->bits == b->bits &&
                      a->rows == b->rows);
}

void write_sites(const Sites& sites, std::int32_t* indices, int threads) {
    const SiteView v = sites->view();
    constexpr std::uint32_t kWords = 1024;
    parallel_for((v.n_words + kWords - 1) / kWords, threads, [&](std::int64_t task, int) {
        const std::uint32_t first = std::uint32_t(task) * kWords;
        chosen::write_sites(v, first, first + kWords < v.n_words ? first + kWords : v.n_words, indices);
    });
}

Plan make_plan(Sites in, Sites out, const Geometry& geometry) {
    window_of(geometry);
    if (in->shape != geometry.in_shape || out->shape != geometry.out_shape || in->batch != geometry.batch ||
        out->batch != geometry.batch)
        throw std::invalid_argument("the sites lie in grids of " + text(in->shape) + " and " + text(out->shape) +
                                    ", but the geometry goes from " + text(geometry.in_shape) + " to " +
                                    text(geometry.out_shape));
    return {std::move(in), std::move(out), geometry};
}

void write_neighbours(const Plan& plan, std::int32_t* rows, int threads) {
    const SiteView in = plan.in->view(), out = plan.out->view();
    const Window window = window_of(plan.geometry);
    constexpr int kRows = 4096;
    const WorkerScratch scratch(chosen::neighbours_scratch(out, window, kRows), threads);
    parallel_for((std::int64_t(out.n_sites) + kRows - 1) / kRows, threads, [&](std::int64_t tile, int worker) {
        chosen::neighbours_tile(in, out, window, kRows, tile, rows, scratch.of(worker));
    });
}

std::uint64_t fingerprint(const std::int32_t* indices, std::int64_t n) { return chosen::fingerprint(indices, n * 4); }

}  // namespace sparse3d
