// Pools: each output row looks at its window once, channels in vectors. Gradients run over the input rows and look at the
// windows that hold them (the reversed window), so no two rows of the result are written by two threads.
#include "sites.h"

namespace sparse3d {
namespace S3D_ISA {
namespace {

S3D_INLINE int volume_of(const Window& w) { return w.kernel[0] * w.kernel[1] * w.kernel[2]; }
S3D_INLINE int64_t row_of(const SiteView& sites, int64_t rank) { return sites.rows != nullptr ? sites.rows[rank] : rank; }

struct Neighbours {
    Tile tile;
    const int32_t* table;  // (rows of the tile, volume): row of the other side, or -1
};

template <class T>
S3D_INLINE Neighbours neighbours(const PoolTask<T>& task, int64_t index, void* memory) {
    const int volume = volume_of(task.window);
    Scratch scratch{static_cast<char*>(memory)};
    const PairLists lists = take_pair_lists(scratch, task.tile_rows, volume);
    const Tile t = tile_at(task.out, task.tile_rows, index);
    int32_t* table = scratch.take<int32_t>(size_t(t.rows) * size_t(volume));
    find_pairs(task.in, task.out, task.window, t.first, t.last, 0, volume, lists);
    tabulate(lists, t.rows, volume, table);
    return {t, table};
}

// Blocks of channels: whole vectors first, then one by one.
template <class T, class Whole, class Single>
S3D_INLINE void over_channels(int channels, Whole&& whole_block, Single&& single) {
    int c = 0;
    for (; c + kLanes<T> <= channels; c += kLanes<T>) whole_block(c);
    for (; c < channels; ++c) single(c);
}

}  // namespace

template <class T>
size_t pool_scratch(const PoolTask<T>& task) {
    const int volume = volume_of(task.window);
    return pair_lists_bytes(task.tile_rows, volume) + size_t(task.tile_rows + kTileSlack) * size_t(volume) * 4 + 64;
}

template <class T>
void max_pool_tile(const PoolTask<T>& task, int64_t index, void* memory) {
    using Ints = typename VecOf<T>::ints;
    const Neighbours near = neighbours(task, index, memory);
    const int volume = volume_of(task.window), channels = task.channels;
    for (int i = 0; i < near.tile.rows; ++i) {
        const int32_t* table = near.table + int64_t(i) * volume;
        const int64_t row = row_of(task.out, near.tile.rank + i);
        T* values = task.values + row * channels;
        int32_t* rows = task.rows != nullptr ? task.rows + row * channels : nullptr;
        // The first candidate is taken as it is; a later one must be greater, or not a number.
        int first = 0;
        if (task.background == nullptr)
            while (first < volume && table[first] < 0) ++first;
        if (first == volume) {
            for (int c = 0; c < channels; ++c) values[c] = 0;
            for (int c = 0; c < channels && rows != nullptr; ++c) rows[c] = -1;
            continue;
        }
        const auto candidate = [&](int k) {
            return table[k] < 0 ? task.background : task.features + int64_t(table[k]) * channels;
        };
        over_channels<T>(
            channels,
            [&](int c) {
                Vec<T> best = load(candidate(first) + c);
                Ints from = Ints{} + table[first];
                for (int k = first + 1; k < volume; ++k) {
                    if (table[k] < 0 && task.background == nullptr) continue;
                    const Vec<T> v = load(candidate(k) + c);
                    const Ints better = (v > best) | (v != v);
                    best = better ? v : best;
                    from = better ? Ints{} + table[k] : from;
                }
                store(values + c, best);
                if (rows != nullptr)
                    for (int j = 0; j < kLanes<T>; ++j) rows[c + j] = int32_t(from[j]);
            },
            [&](int c) {
                T best = candidate(first)[c];
                int32_t from = table[first];
                for (int k = first + 1; k < volume; ++k) {
                    if (table[k] < 0 && task.background == nullptr) continue;
                    const T v = candidate(k)[c];
                    if (v > best || v != v) {
                        best = v;
                        from = table[k];
                    }
                }
                values[c] = best;
                if (rows != nullptr) rows[c] = from;
            });
    }
}

// Here "out" are the pool's inputs and the table holds the pool's outputs.
template <class T>
void max_pool_gradient_tile(const PoolTask<T>& task, int64_t index, void* memory) {
    const Neighbours near = neighbours(task, index, memory);
    const int volume = volume_of(task.window), channels = task.channels;
    for (int i = 0; i < near.tile.rows; ++i) {
        const int32_t* table = near.table + int64_t(i) * volume;
        const int64_t row = row_of(task.out, near.tile.rank + i);
        T* values = task.values + row * channels;
        for (int c = 0; c < channels; ++c) values[c] = 0;
        for (int k = 0; k < volume; ++k) {
            if (table[k] < 0) continue;
            const T* grad = task.features + int64_t(table[k]) * channels;
            const int32_t* origin = task.origin + int64_t(table[k]) * channels;
            for (int c = 0; c < channels; ++c) values[c] += origin[c] == int32_t(row) ? grad[c] : T(0);
        }
    }
}

template <class T>
void avg_pool_tile(const PoolTask<T>& task, int64_t index, void* memory) {
    const Neighbours near = neighbours(task, index, memory);
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
    const Neighbours near = neighbours(task, index, memory);
    const int volume = volume_of(task.window), channels = task.channels;
    for (int i = 0; i < near.tile.rows; ++i) {
        const int32_t* table = near.table + int64_t(i) * volume;
        T* values = task.values + row_of(task.out, near.tile.rank + i) * channels;
        for (int c = 0; c < channels; ++c) values[c] = 0;
        for (int k = 0; k < volume; ++k) {
            if (table[k] < 0) continue;
            const T* grad = task.features + int64_t(table[k]) * channels;
            const T scale = task.scale[table[k]];
            for (int c = 0; c < channels; ++c) values[c] += scale * grad[c];
        }
    }
}

#define S3D_INSTANTIATE(T)                                                       \
    template size_t pool_scratch<T>(const PoolTask<T>&);                         \
    template void max_pool_tile<T>(const PoolTask<T>&, int64_t, void*);          \
    template void max_pool_gradient_tile<T>(const PoolTask<T>&, int64_t, void*); \
    template void avg_pool_tile<T>(const PoolTask<T>&, int64_t, void*);          \
    template void avg_pool_gradient_tile<T>(const PoolTask<T>&, int64_t, void*);
S3D_INSTANTIATE(float)
S3D_INSTANTIATE(double)

}  // namespace S3D_ISA
}  // namespace sparse3d
