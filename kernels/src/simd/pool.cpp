// Pools. A maximum looks at the whole window of an output at once, so that it stays in registers; means and gradients
// add offset by offset. Gradients run over the input rows and look at the windows that hold them (the reversed window),
// so no two rows of the result are written by two threads.
#include "pool.h"

#include "few_channels.h"
#include "pairs.h"

namespace sparse3d {
namespace S3D_ISA {
namespace {

S3D_INLINE int volume_of(const Window& w) { return w.kernel[0] * w.kernel[1] * w.kernel[2]; }
S3D_INLINE int64_t row_of(const SiteView& sites, int64_t rank) {
    return sites.rows != nullptr ? sites.rows[rank] : rank;
}

// The pairs of some words, offset by offset.
struct TilePairs {
    Tile tile;
    PairLists lists;
    int volume;
    Scratch rest;  // scratch memory that is left
};

template <class T>
S3D_INLINE TilePairs pairs_of(const PoolTask<T>& task, const Tile& t, void* memory) {
    const int volume = volume_of(task.window);
    Scratch scratch{static_cast<char*>(memory)};
    const PairLists lists = take_pair_lists(scratch, task.tile_rows, volume);
    find_pairs(task.in, task.out, task.window, t.first, t.last, 0, volume, lists);
    return {t, lists, volume, scratch};
}

// Call f(n, input rows, output rows within the tile) for each offset.
template <class F>
S3D_INLINE void over_offsets(const TilePairs& pairs, F&& f) {
    for (int k = 0; k < pairs.volume; ++k)
        f(pairs.lists.count[k], pairs.lists.in + int64_t(k) * pairs.lists.capacity,
          pairs.lists.out + int64_t(k) * pairs.lists.capacity);
}

S3D_INLINE int tile_capacity(int tile_rows) { return tile_rows + kTileSlack; }

// table (rows of the tile, offsets): the input row, or -1.
S3D_INLINE void tabulate(const TilePairs& pairs, int32_t* table) {
    for (int i = 0; i < pairs.tile.rows * pairs.volume; ++i) table[i] = -1;
    int k = 0;
    over_offsets(pairs, [&](int count, const int32_t* in, const int32_t* out) {
        for (int i = 0; i < count; ++i) table[int64_t(out[i]) * pairs.volume + k] = in[i];
        ++k;
    });
}

// By bits: which inputs are missing cannot be foreseen, and compilers make a branch of the plain choice.
template <class T>
S3D_INLINE const T* either(bool first, const T* a, const T* b) {
    const uintptr_t mask = -uintptr_t(first);
    return reinterpret_cast<const T*>((reinterpret_cast<uintptr_t>(a) & mask) |
                                      (reinterpret_cast<uintptr_t>(b) & ~mask));
}

// One output: `candidate` and `origin` of its window, in the order of the offsets.
template <class T>
struct WindowRows {
    const T* const* candidate;
    const int32_t* origin;
    int count;
};

// Channels [first, last), one by one. A value that is not a number wins over all before it, as in torch.
template <class T>
void exact_maxima(const WindowRows<T>& window, int first, int last, T* values, int32_t* rows) {
    for (int c = first; c < last; ++c) {
        T best = window.candidate[0][c];
        int32_t from = window.origin[0];
        for (int k = 1; k < window.count; ++k) {
            const T v = window.candidate[k][c];
            if (v > best || v != v) {
                best = v;
                from = window.origin[k];
            }
        }
        values[c] = best;
        if (rows != nullptr) rows[c] = from;
    }
}

// V vectors of channels at once. False, with nothing of use written, where a value is not finite.
template <int V, bool kOrigins>
S3D_INLINE bool fast_maxima(const WindowRows<float>& window, int c, float* values, int32_t* rows) {
    using Ints = VecOf<float>::ints;
    typedef int32_t loose_ints __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
    constexpr int L = kLanes<float>;
    Vec<float> best[V], odd[V];
    Ints from[V];
    for (int v = 0; v < V; ++v) {
        best[v] = load(window.candidate[0] + c + v * L);
        odd[v] = best[v] * 0.0f;
        from[v] = Ints{} + window.origin[0];
    }
    for (int k = 1; k < window.count; ++k)
        for (int v = 0; v < V; ++v) {
            const Vec<float> value = load(window.candidate[k] + c + v * L);
            if (kOrigins) {
                const Ints better = value > best[v];
                from[v] = better ? Ints{} + window.origin[k] : from[v];
            }
            best[v] = value > best[v] ? value : best[v];
            odd[v] += value * 0.0f;
        }
    bool finite = true;
    for (int v = 0; v < V; ++v) {
        store(values + c + v * L, best[v]);  // the activation comes later: this may not be the maximum
        if (kOrigins) *reinterpret_cast<loose_ints*>(rows + c + v * L) = from[v];
        finite &= all_zero(odd[v]);
    }
    return finite;
}

template <int V>
S3D_INLINE void maxima(const WindowRows<float>& window, int c, float* values, int32_t* rows) {
    const bool finite = rows != nullptr ? fast_maxima<V, true>(window, c, values, rows)
                                        : fast_maxima<V, false>(window, c, values, rows);
    if (!finite) exact_maxima(window, c, c + V * kLanes<float>, values, rows);
}

S3D_INLINE void maxima(const WindowRows<float>& window, int channels, float* values, int32_t* rows) {
    constexpr int L = kLanes<float>;
    int c = 0;
    // Each vector is one chain of sums: four of them hide how long one takes, and more than that do not fit the
    // registers.
    for (; rows == nullptr && c + 4 * L <= channels; c += 4 * L) maxima<4>(window, c, values, rows);
    for (; c + 2 * L <= channels; c += 2 * L) maxima<2>(window, c, values, rows);
    for (; c + L <= channels; c += L) maxima<1>(window, c, values, rows);
    exact_maxima(window, c, channels, values, rows);
}
S3D_INLINE void maxima(const WindowRows<double>& window, int channels, double* values, int32_t* rows) {
    exact_maxima(window, 0, channels, values, rows);
}

}  // namespace

template <class T>
size_t pool_scratch(const PoolTask<T>& task) {
    const size_t volume = size_t(volume_of(task.window));
    return pair_lists_bytes(task.tile_rows, int(volume)) + size_t(tile_capacity(task.tile_rows)) * volume * 4 +
           volume * 20 + 5 * 64;
}

template <class T>
void max_pool_words(const PoolTask<T>& task, uint32_t first_word, uint32_t last_word, const T* const* planes,
                    void* memory) {
    TilePairs pairs = pairs_of(task, words_as_tile(task.out, first_word, last_word), memory);
    const int volume = pairs.volume, channels = task.channels;
    int32_t* table = pairs.rest.template take<int32_t>(size_t(tile_capacity(task.tile_rows)) * size_t(volume));
    const T** candidate = pairs.rest.template take<const T*>(size_t(volume));
    int32_t* few = pairs.rest.template take<int32_t>(size_t(volume));
    const T** source = pairs.rest.template take<const T*>(size_t(volume));
    for (int k = 0; k < volume; ++k)
        source[k] = planes != nullptr ? planes[k / (task.window.kernel[1] * task.window.kernel[2])] : task.features;
    tabulate(pairs, table);
    for (int i = 0; i < pairs.tile.rows; ++i) {
        const int32_t* near = table + int64_t(i) * volume;
        const int64_t row = row_of(task.out, pairs.tile.rank + i);
        T* values = task.values + row * channels;
        int32_t* rows = task.rows != nullptr ? task.rows + row * channels : nullptr;
        WindowRows<T> window{candidate, near, volume};
        if (task.background != nullptr) {
            // No branch: a missing input is one more that holds the background.
            for (int k = 0; k < volume; ++k) {
                const T* there = source[k] + int64_t(near[k]) * channels;
                candidate[k] = either(near[k] < 0, task.background, there);
            }
        } else {
            window = {candidate, few, 0};
            for (int k = 0; k < volume; ++k) {
                candidate[window.count] = source[k] + int64_t(near[k]) * channels;
                few[window.count] = near[k];
                window.count += near[k] >= 0;
            }
        }
        if (window.count > 0) {
            maxima(window, channels, values, rows);
        } else {
            for (int c = 0; c < channels; ++c) values[c] = 0;
            for (int c = 0; c < channels && rows != nullptr; ++c) rows[c] = -1;
        }
        if (task.leaky) {
            int c = 0;
            for (; c + kLanes<T> <= channels; c += kLanes<T>) store(values + c, leaky<T>(load(values + c), task.slope));
            for (; c < channels; ++c) values[c] = values[c] > 0 ? values[c] : task.slope * values[c];
        }
    }
}

template <class T>
void max_pool_tile(const PoolTask<T>& task, int64_t index, void* memory) {
    const Tile t = tile_at(task.out, task.tile_rows, index);
    max_pool_words<T>(task, t.first, t.last, nullptr, memory);
}

// Call f(row, other row) for every pair of the words [first, last), offset by offset, with `values` of their rows at
// zero.
template <class T, class F>
S3D_INLINE void over_pairs(const PoolTask<T>& task, const TilePairs& pairs, F&& f) {
    const Tile& t = pairs.tile;
    for (int i = 0; i < t.rows; ++i) {
        T* values = task.values + row_of(task.out, t.rank + i) * task.channels;
        for (int c = 0; c < task.channels; ++c) values[c] = 0;
    }
    over_offsets(pairs, [&](int count, const int32_t* in, const int32_t* out) {
        for (int i = 0; i < count; ++i) f(row_of(task.out, t.rank + out[i]), int64_t(in[i]));
    });
}

namespace {

// values += the gradients whose maximum came from this row.
S3D_INLINE int add_claimed(float* values, const float* grad, const int32_t* origin, int32_t row, int channels) {
    typedef int32_t loose_ints __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
    constexpr int L = kLanes<float>;
    int c = 0;
    for (; c + L <= channels; c += L) {
        const VecOf<float>::ints claimed = *reinterpret_cast<const loose_ints*>(origin + c) == row;
        store(values + c, load(values + c) + (claimed ? load(grad + c) : Vec<float>{}));
    }
    return c;
}
S3D_INLINE int add_claimed(double*, const double*, const int32_t*, int32_t, int) { return 0; }

}  // namespace

template <class T>
void max_pool_gradient_words(const PoolTask<T>& task, uint32_t first, uint32_t last, void* memory) {
    const int channels = task.channels;
    over_pairs(task, pairs_of(task, words_as_tile(task.out, first, last), memory), [&](int64_t row, int64_t pooled) {
        T* values = task.values + row * channels;
        const T* grad = task.features + pooled * channels;
        const int32_t* origin = task.origin + pooled * channels;
        for (int c = add_claimed(values, grad, origin, int32_t(row), channels); c < channels; ++c)
            values[c] += origin[c] == int32_t(row) ? grad[c] : T(0);
    });
}

template <class T>
void max_pool_gradient_tile(const PoolTask<T>& task, int64_t index, void* memory) {
    const Tile t = tile_at(task.out, task.tile_rows, index);
    max_pool_gradient_words(task, t.first, t.last, memory);
}

// Convolution + max pool ------------------------------------------------------------------------------------
//
// The rows of the convolution that a band of the pool looks at are made in the cache and pooled from there. Those at
// the border of two bands are made twice, which costs less than writing and reading the whole.

namespace {

// What the outputs [first, last) of a pool meet along an axis.
struct Stretch {
    int first, last;
};

S3D_INLINE Stretch met_by(const Window& w, int axis, int first, int last, int size) {
    const int low = first * w.stride[axis] - w.padding[axis];
    const int high = (last - 1) * w.stride[axis] - w.padding[axis] + (w.kernel[axis] - 1) * w.dilation[axis] + 1;
    const int from = low < 0 ? 0 : min(low, size);
    return {from, high < from ? from : min(high, size)};
}

// The words of some lines of a plane.
struct Words {
    uint32_t first, last;
};

S3D_INLINE Words words_of(const SiteView& sites, int b, int z, int y0, int y1) {
    return {slot_of_word(sites, first_word(sites, b, z, y0)),
            slot_of_word(sites, int64_t(first_word(sites, b, z, y0)) + int64_t(y1 - y0) * sites.words_x)};
}

// Call f(plane, words) for the planes of the convolution that a band meets.
template <class F>
S3D_INLINE void over_planes(const SiteView& convolution, const Window& w, const Band& band, F&& f) {
    const Stretch planes = met_by(w, 0, band.z0, band.z1, convolution.z),
                  lines = met_by(w, 1, band.y0, band.y1, convolution.y);
    for (int z = planes.first; z < planes.last; ++z) f(z, words_of(convolution, band.b, z, lines.first, lines.last));
}

}  // namespace

template <class T>
int64_t pooled_convolution_rows(const ConvolutionTask<T>& convolution, const PoolTask<T>& pool, const Band& band) {
    int64_t rows = 0;
    over_planes(convolution.out, pool.window, band, [&](int, Words at) {
        rows += int64_t(convolution.out.base[at.last]) - convolution.out.base[at.first];
    });
    return rows;
}

template <class T>
size_t pooled_convolution_scratch(const ConvolutionTask<T>& convolution, const PoolTask<T>& pool) {
    const size_t one = few_channels_scratch(convolution), other = pool_scratch(pool);
    return size_t(convolution.kept_rows) * size_t(convolution.c_out) * sizeof(T) +
           size_t(convolution.out.z + pool.window.kernel[0]) * sizeof(T*) + 3 * 64 + (one > other ? one : other);
}

template <class T>
void pooled_convolution_band(const ConvolutionTask<T>& convolution, const PoolTask<T>& pool, const Band& band,
                             void* memory) {
    const Window& w = pool.window;
    Scratch scratch{static_cast<char*>(memory)};
    T* kept = scratch.take<T>(size_t(convolution.kept_rows) * size_t(convolution.c_out));
    const T** plane = scratch.take<const T*>(size_t(convolution.out.z));  // where the rows of each are counted from
    over_planes(convolution.out, w, band, [&](int z, Words at) {
        const int64_t first = convolution.out.base[at.first];
        T* rows = kept - first * convolution.c_out;
        few_channels_words(convolution, at.first, at.last, rows, true, scratch.next);
        kept += (int64_t(convolution.out.base[at.last]) - first) * convolution.c_out;
        plane[z] = rows;
    });
    const T** met = scratch.take<const T*>(size_t(w.kernel[0]));
    for (int z = band.z0; z < band.z1; ++z) {
        for (int kz = 0; kz < w.kernel[0]; ++kz) {
            const int from = input_coordinate(w, 0, z, kz, convolution.out.z);
            met[kz] = from < 0 ? kept : plane[from];  // outside, where no pair is found, any will do
        }
        const Words words = words_of(pool.out, band.b, z, band.y0, band.y1);
        for (uint32_t word = words.first, end; word < words.last; word = end) {
            for (end = word + 1;
                 end < words.last && int64_t(pool.out.base[end]) - pool.out.base[word] < pool.tile_rows;)
                ++end;
            max_pool_words(pool, word, end, met, scratch.next);
        }
    }
}

template <class T>
void avg_pool_tile(const PoolTask<T>& task, int64_t index, void* memory) {
    TilePairs pairs = pairs_of(task, tile_at(task.out, task.tile_rows, index), memory);
    const Tile& tile = pairs.tile;
    const int volume = pairs.volume, channels = task.channels;
    int32_t* active = pairs.rest.template take<int32_t>(size_t(tile_capacity(task.tile_rows)));
    for (int i = 0; i < tile.rows; ++i) active[i] = 0;
    over_offsets(pairs, [&](int count, const int32_t*, const int32_t* out) {
        for (int i = 0; i < count; ++i) ++active[out[i]];
    });
    for (int i = 0; i < tile.rows; ++i) {
        const int64_t row = row_of(task.out, tile.rank + i);
        const T background_weight = T(volume - active[i]);
        for (int c = 0; c < channels; ++c)
            task.values[row * channels + c] =
                task.background != nullptr ? background_weight * task.background[c] : T(0);
        if (task.counts != nullptr) task.counts[row] = T(active[i]);
    }
    over_offsets(pairs, [&](int count, const int32_t* in, const int32_t* out) {
        for (int i = 0; i < count; ++i) {
            T* values = task.values + row_of(task.out, tile.rank + out[i]) * channels;
            const T* from = task.features + int64_t(in[i]) * channels;
            for (int c = 0; c < channels; ++c) values[c] += from[c];
        }
    });
    for (int i = 0; i < tile.rows; ++i) {
        T* values = task.values + row_of(task.out, tile.rank + i) * channels;
        const int members = task.background != nullptr ? volume : active[i];
        for (int c = 0; c < channels && members > 1; ++c) values[c] /= T(members);
    }
}

// Here "out" are the pool's inputs; `scale` belongs to the pool's outputs.
template <class T>
void avg_pool_gradient_tile(const PoolTask<T>& task, int64_t index, void* memory) {
    const int channels = task.channels;
    over_pairs(task, pairs_of(task, tile_at(task.out, task.tile_rows, index), memory),
               [&](int64_t row, int64_t pooled) {
                   T* values = task.values + row * channels;
                   const T* grad = task.features + pooled * channels;
                   const T scale = task.scale[pooled];
                   for (int c = 0; c < channels; ++c) values[c] += scale * grad[c];
               });
}

#define S3D_INSTANTIATE(T)                                                                                       \
    template size_t pool_scratch<T>(const PoolTask<T>&);                                                         \
    template void max_pool_words<T>(const PoolTask<T>&, uint32_t, uint32_t, const T* const*, void*);             \
    template void max_pool_gradient_words<T>(const PoolTask<T>&, uint32_t, uint32_t, void*);                     \
    template size_t pooled_convolution_scratch<T>(const ConvolutionTask<T>&, const PoolTask<T>&);                \
    template void pooled_convolution_band<T>(const ConvolutionTask<T>&, const PoolTask<T>&, const Band&, void*); \
    template int64_t pooled_convolution_rows<T>(const ConvolutionTask<T>&, const PoolTask<T>&, const Band&);     \
    template void max_pool_tile<T>(const PoolTask<T>&, int64_t, void*);                                          \
    template void max_pool_gradient_tile<T>(const PoolTask<T>&, int64_t, void*);                                 \
    template void avg_pool_tile<T>(const PoolTask<T>&, int64_t, void*);                                          \
    template void avg_pool_gradient_tile<T>(const PoolTask<T>&, int64_t, void*);
S3D_INSTANTIATE(float)
S3D_INSTANTIATE(double)

}  // namespace S3D_ISA
}  // namespace sparse3d
