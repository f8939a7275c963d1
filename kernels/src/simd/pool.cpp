// Pools: each output row looks at its window once, channels in vectors. Gradients run over the input rows and look at the
// windows that hold them (the reversed window), so no two rows of the result are written by two threads.
#include "pool.h"

#include "few_channels.h"
#include "pairs.h"

namespace sparse3d {
namespace S3D_ISA {
namespace {

S3D_INLINE int volume_of(const Window& w) { return w.kernel[0] * w.kernel[1] * w.kernel[2]; }
S3D_INLINE int64_t row_of(const SiteView& sites, int64_t rank) { return sites.rows != nullptr ? sites.rows[rank] : rank; }

struct Neighbours {
    Tile tile;
    const int32_t* table;  // (rows of the tile, volume): row of the other side, or -1
    void* candidate;       // room for volume pointers
    int32_t* origin;       // room for volume numbers
};

template <class T>
S3D_INLINE Neighbours neighbours(const PoolTask<T>& task, const Tile& t, void* memory) {
    const int volume = volume_of(task.window);
    Scratch scratch{static_cast<char*>(memory)};
    const PairLists lists = take_pair_lists(scratch, task.tile_rows, volume);
    int32_t* table = scratch.take<int32_t>(size_t(t.rows) * size_t(volume));
    find_pairs(task.in, task.out, task.window, t.first, t.last, 0, volume, lists);
    tabulate(lists, t.rows, volume, table);
    return {t, table, scratch.take<const T*>(size_t(volume)), scratch.take<int32_t>(size_t(volume))};
}

S3D_INLINE void store_rows(int32_t* to, VecOf<float>::ints from) {
    typedef int32_t loose __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
    *reinterpret_cast<loose*>(to) = from;
}
S3D_INLINE void store_rows(int32_t* to, VecOf<double>::ints from) {
    for (int j = 0; j < kLanes<double>; ++j) to[j] = int32_t(from[j]);
}

// Channels [first, last) one by one. A value that is not a number wins over all before it, as in torch.
template <class T>
void max_one_by_one(const PoolTask<T>& task, const T* const* candidate, const int32_t* origin, int n, int first, int last,
                    T* values, int32_t* rows) {
    for (int c = first; c < last; ++c) {
        T best = candidate[0][c];
        int32_t from = origin[0];
        for (int k = 1; k < n; ++k) {
            const T v = candidate[k][c];
            if (v > best || v != v) {
                best = v;
                from = origin[k];
            }
        }
        values[c] = task.leaky && !(best > 0) ? task.slope * best : best;
        if (rows != nullptr) rows[c] = from;
    }
}

// V vectors of channels at once.
template <class T, int V>
S3D_INLINE void max_of_candidates(const PoolTask<T>& task, const T* const* candidate, const int32_t* origin, int n, int c,
                                  T* values, int32_t* rows) {
    using Ints = typename VecOf<T>::ints;
    Vec<T> best[V];
    Ints from[V], odd[V];  // odd: not a number, looked at afterwards to keep the loop short
    for (int v = 0; v < V; ++v) {
        best[v] = load(candidate[0] + c + v * kLanes<T>);
        from[v] = Ints{} + origin[0];
        odd[v] = best[v] != best[v];
    }
    if (rows != nullptr) {
        for (int k = 1; k < n; ++k)
            for (int v = 0; v < V; ++v) {
                const Vec<T> value = load(candidate[k] + c + v * kLanes<T>);
                const Ints better = value > best[v];
                odd[v] |= value != value;
                best[v] = better ? value : best[v];
                from[v] = better ? Ints{} + origin[k] : from[v];
            }
        for (int v = 0; v < V; ++v) store_rows(rows + c + v * kLanes<T>, from[v]);
    } else {
        for (int k = 1; k < n; ++k)
            for (int v = 0; v < V; ++v) {
                const Vec<T> value = load(candidate[k] + c + v * kLanes<T>);
                odd[v] |= value != value;
                best[v] = value > best[v] ? value : best[v];
            }
    }
    bool any_odd = false;
    for (int v = 0; v < V; ++v) {
        for (int j = 0; j < kLanes<T>; ++j) any_odd |= odd[v][j] != 0;
        store(values + c + v * kLanes<T>, task.leaky ? (best[v] > 0 ? best[v] : task.slope * best[v]) : best[v]);
    }
    if (any_odd) max_one_by_one(task, candidate, origin, n, c, c + V * kLanes<T>, values, rows);
}

}  // namespace

template <class T>
size_t pool_scratch(const PoolTask<T>& task) {
    const int volume = volume_of(task.window);
    return pair_lists_bytes(task.tile_rows, volume) + size_t(task.tile_rows + kTileSlack) * size_t(volume) * 4 +
           size_t(volume) * 12 + 3 * 64;
}

template <class T>
void max_pool_words(const PoolTask<T>& task, uint32_t first_word, uint32_t last_word, void* memory) {
    const Neighbours near = neighbours(task, words_as_tile(task.out, first_word, last_word), memory);
    const int volume = volume_of(task.window), channels = task.channels;
    const T** candidate = static_cast<const T**>(near.candidate);
    int32_t* origin = near.origin;
    for (int i = 0; i < near.tile.rows; ++i) {
        const int32_t* table = near.table + int64_t(i) * volume;
        const int64_t row = row_of(task.out, near.tile.rank + i);
        T* values = task.values + row * channels;
        int32_t* rows = task.rows != nullptr ? task.rows + row * channels : nullptr;
        // The candidates in order of offsets; without a background only those that are there. All missing inputs hold the
        // same values, so the first of them stands for all.
        int n = 0;
        bool missing = task.background == nullptr;
        for (int k = 0; k < volume; ++k) {
            if (table[k] < 0 && missing) continue;
            missing = missing || table[k] < 0;
            candidate[n] = table[k] < 0 ? task.background : task.features + int64_t(table[k]) * channels;
            origin[n++] = table[k];
        }
        if (n == 0) {
            for (int c = 0; c < channels; ++c) values[c] = 0;
            for (int c = 0; c < channels && rows != nullptr; ++c) rows[c] = -1;
            continue;
        }
        int c = 0;
        for (; c + 2 * kLanes<T> <= channels; c += 2 * kLanes<T>) max_of_candidates<T, 2>(task, candidate, origin, n, c, values, rows);
        for (; c + kLanes<T> <= channels; c += kLanes<T>) max_of_candidates<T, 1>(task, candidate, origin, n, c, values, rows);
        max_one_by_one(task, candidate, origin, n, c, channels, values, rows);
    }
}

template <class T>
void max_pool_tile(const PoolTask<T>& task, int64_t index, void* memory) {
    const Tile t = tile_at(task.out, task.tile_rows, index);
    max_pool_words(task, t.first, t.last, memory);
}

// Call f(row, other row) for every pair of the words [first, last), offset by offset, with `values` of their rows at zero.
template <class T, class F>
S3D_INLINE void over_pairs(const PoolTask<T>& task, const Tile& t, void* memory, F&& f) {
    const int volume = volume_of(task.window);
    Scratch scratch{static_cast<char*>(memory)};
    const PairLists lists = take_pair_lists(scratch, task.tile_rows, volume);
    find_pairs(task.in, task.out, task.window, t.first, t.last, 0, volume, lists);
    for (int i = 0; i < t.rows; ++i) {
        T* values = task.values + row_of(task.out, t.rank + i) * task.channels;
        for (int c = 0; c < task.channels; ++c) values[c] = 0;
    }
    for (int k = 0; k < volume; ++k) {
        const int32_t* in = lists.in + int64_t(k) * lists.capacity;
        const int32_t* out = lists.out + int64_t(k) * lists.capacity;
        for (int i = 0; i < lists.count[k]; ++i) f(row_of(task.out, t.rank + out[i]), int64_t(in[i]));
    }
}

template <class T>
void max_pool_gradient_words(const PoolTask<T>& task, uint32_t first, uint32_t last, void* memory) {
    const int channels = task.channels;
    over_pairs(task, words_as_tile(task.out, first, last), memory, [&](int64_t row, int64_t pooled) {
        T* values = task.values + row * channels;
        const T* grad = task.features + pooled * channels;
        const int32_t* origin = task.origin + pooled * channels;
        for (int c = 0; c < channels; ++c) values[c] += origin[c] == int32_t(row) ? grad[c] : T(0);
    });
}

template <class T>
void max_pool_gradient_tile(const PoolTask<T>& task, int64_t index, void* memory) {
    const Tile t = tile_at(task.out, task.tile_rows, index);
    max_pool_gradient_words(task, t.first, t.last, memory);
}

// Convolution + max pool ------------------------------------------------------------------------------------------------
//
// The convolution's rows of a few planes stay in the cache and are pooled from there. Planes at the border of two tasks
// are computed twice, which costs less than writing and reading the whole.

namespace {

struct PlaneRanges {
    uint32_t pool_first, pool_last, first, last;  // words
};

template <class T>
PlaneRanges plane_ranges(const ConvolutionTask<T>& convolution, const PoolTask<T>& pool, int64_t first, int64_t last) {
    const Window& w = pool.window;
    const int64_t volume = first / pool.out.z;
    int64_t z0 = (first - volume * pool.out.z) * w.stride[0] - w.padding[0];
    int64_t z1 = (last - 1 - volume * pool.out.z) * w.stride[0] - w.padding[0] + (w.kernel[0] - 1) * w.dilation[0] + 1;
    const int64_t planes = convolution.out.z;
    z0 = z0 < 0 ? 0 : z0 > planes ? planes : z0;
    z1 = z1 < z0 ? z0 : z1 > planes ? planes : z1;
    const int64_t pool_words = int64_t(pool.out.y) * pool.out.words_x, words = int64_t(convolution.out.y) * convolution.out.words_x;
    return {slot_of_word(pool.out, first * pool_words), slot_of_word(pool.out, last * pool_words),
            slot_of_word(convolution.out, (volume * planes + z0) * words), slot_of_word(convolution.out, (volume * planes + z1) * words)};
}

}  // namespace

template <class T>
int64_t pooled_convolution_rows(const ConvolutionTask<T>& convolution, const PoolTask<T>& pool, int64_t first, int64_t last) {
    const PlaneRanges r = plane_ranges(convolution, pool, first, last);
    return r.pool_first == r.pool_last ? 0 : int64_t(convolution.out.base[r.last]) - convolution.out.base[r.first];
}

template <class T>
size_t pooled_convolution_scratch(const ConvolutionTask<T>& convolution, const PoolTask<T>& pool) {
    const size_t one = few_channels_scratch(convolution), other = pool_scratch(pool);
    return size_t(convolution.kept_rows) * size_t(convolution.c_out) * sizeof(T) + 64 + (one > other ? one : other);
}

template <class T>
void pooled_convolution_planes(const ConvolutionTask<T>& convolution, const PoolTask<T>& pool, int64_t first, int64_t last, void* memory) {
    const PlaneRanges r = plane_ranges(convolution, pool, first, last);
    if (r.pool_first == r.pool_last) return;
    Scratch scratch{static_cast<char*>(memory)};
    T* kept = scratch.take<T>(size_t(convolution.kept_rows) * size_t(convolution.c_out));
    T* by_rank = kept - int64_t(convolution.out.base[r.first]) * convolution.c_out;
    few_channels_words(convolution, r.first, r.last, by_rank, true, scratch.next);
    PoolTask<T> task = pool;
    task.features = by_rank;
    uint32_t word = r.pool_first;
    while (word < r.pool_last) {
        uint32_t end = word + 1;
        while (end < r.pool_last && int64_t(pool.out.base[end]) - pool.out.base[word] < pool.tile_rows) ++end;
        max_pool_words(task, word, end, scratch.next);
        word = end;
    }
}

template <class T>
void avg_pool_tile(const PoolTask<T>& task, int64_t index, void* memory) {
    const Neighbours near = neighbours(task, tile_at(task.out, task.tile_rows, index), memory);
    const int volume = volume_of(task.window), channels = task.channels;
    for (int i = 0; i < near.tile.rows; ++i) {
        const int32_t* table = near.table + int64_t(i) * volume;
        const int64_t row = row_of(task.out, near.tile.rank + i);
        T* values = task.values + row * channels;
        int active = 0;
        for (int k = 0; k < volume; ++k) active += table[k] >= 0;
        const T background_weight = T(volume - active);
        for (int c = 0; c < channels; ++c)
            values[c] = task.background != nullptr ? background_weight * task.background[c] : T(0);
        for (int k = 0; k < volume; ++k) {
            if (table[k] < 0) continue;
            const T* from = task.features + int64_t(table[k]) * channels;
            for (int c = 0; c < channels; ++c) values[c] += from[c];
        }
        const int members = task.background != nullptr ? volume : active;
        for (int c = 0; c < channels && members > 1; ++c) values[c] /= T(members);
        if (task.counts != nullptr) task.counts[row] = T(active);
    }
}

// Here "out" are the pool's inputs; `scale` belongs to the pool's outputs.
template <class T>
void avg_pool_gradient_tile(const PoolTask<T>& task, int64_t index, void* memory) {
    const int channels = task.channels;
    over_pairs(task, tile_at(task.out, task.tile_rows, index), memory, [&](int64_t row, int64_t pooled) {
        T* values = task.values + row * channels;
        const T* grad = task.features + pooled * channels;
        const T scale = task.scale[pooled];
        for (int c = 0; c < channels; ++c) values[c] += scale * grad[c];
    });
}

#define S3D_INSTANTIATE(T)                                                       \
    template size_t pool_scratch<T>(const PoolTask<T>&);                         \
    template void max_pool_words<T>(const PoolTask<T>&, uint32_t, uint32_t, void*); \
    template void max_pool_gradient_words<T>(const PoolTask<T>&, uint32_t, uint32_t, void*); \
    template size_t pooled_convolution_scratch<T>(const ConvolutionTask<T>&, const PoolTask<T>&); \
    template void pooled_convolution_planes<T>(const ConvolutionTask<T>&, const PoolTask<T>&, int64_t, int64_t, void*); \
    template int64_t pooled_convolution_rows<T>(const ConvolutionTask<T>&, const PoolTask<T>&, int64_t, int64_t); \
    template void max_pool_tile<T>(const PoolTask<T>&, int64_t, void*);          \
    template void max_pool_gradient_tile<T>(const PoolTask<T>&, int64_t, void*); \
    template void avg_pool_tile<T>(const PoolTask<T>&, int64_t, void*);          \
    template void avg_pool_gradient_tile<T>(const PoolTask<T>&, int64_t, void*);
S3D_INSTANTIATE(float)
S3D_INSTANTIATE(double)

}  // namespace S3D_ISA
}  // namespace sparse3d
