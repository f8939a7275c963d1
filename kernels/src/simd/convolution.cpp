// One tile of output rows: start from the bias, add each offset's pairs, apply the activation, write once.
#include "few_channels.h"
#include "gemm.h"
#include "pairs.h"

namespace sparse3d {
namespace S3D_ISA {
namespace {

S3D_INLINE int volume_of(const Window& w) { return w.kernel[0] * w.kernel[1] * w.kernel[2]; }

template <class T>
S3D_INLINE void copy(T* to, const T* from, int n) {
    for (int i = 0; i < n; ++i) to[i] = from[i];
}

// Every row of the tile starts from the sum for "no input is there".
template <class T>
void start_tile(const ConvolutionTask<T>& task, const Tile& t, T* tile) {
    int row = 0;
    for (uint32_t slot = t.first; slot < t.last; ++slot) {
        int word_x;
        const Line at = line_of(task.out, task.out.word[slot], word_x);
        for (uint64_t rest = task.out.bits[slot]; rest != 0; rest &= rest - 1, ++row) {
            const int phase = phase_of(task.window, at.z, at.y, word_x * 64 + lowest(rest));
            const T* start = task.start + int64_t(phase) * task.width;
            T* target = tile + int64_t(row) * task.width;
            for (int c = 0; c < task.width; c += kLanes<T>) store(target + c, load(start + c));
        }
    }
}

template <class T>
void finish_tile(const ConvolutionTask<T>& task, const Tile& t, int first_channel, int last_channel, const T* tile) {
    const int last = last_channel < task.c_out ? last_channel : task.c_out;
    for (int row = 0; row < t.rows; ++row) {
        const int64_t target = task.out.rows != nullptr ? task.out.rows[t.rank + row] : t.rank + row;
        const T* from = tile + int64_t(row) * task.width;
        T* to = task.result + target * task.c_out;
        if (task.leaky) {
            int c = first_channel;
            for (; c + kLanes<T> <= last; c += kLanes<T>) store(to + c, leaky<T>(load(from + c), task.slope));
            for (; c < last; ++c) to[c] = from[c] > 0 ? from[c] : task.slope * from[c];
        } else {
            copy(to + first_channel, from + first_channel, last - first_channel);
        }
    }
}

}  // namespace

template <class T>
size_t convolution_scratch(const ConvolutionTask<T>& task) {
    if (task.few_channels) return few_channels_scratch(task);
    const int volume = volume_of(task.window);
    const size_t rows = size_t(task.tile_rows + kTileSlack + 1);
    return pair_lists_bytes(task.tile_rows, volume) + rows * size_t(task.width) * sizeof(T) + 64;
}

template <class T>
void convolution_tile(const ConvolutionTask<T>& task, int64_t index, void* memory) {
    const int volume = volume_of(task.window), width = task.width;
    const Tile t = tile_at(task.out, task.tile_rows, index / task.splits);
    if (task.few_channels) {
        few_channels_words(task, t.first, t.last, task.result, false, memory);
        return;
    }
    const int split = int(index % task.splits), blocks = block_count<T>(width);
    const int first_block = blocks * split / task.splits, last_block = blocks * (split + 1) / task.splits;

    Scratch scratch{static_cast<char*>(memory)};
    const PairLists lists = take_pair_lists(scratch, task.tile_rows, volume);
    T* tile = scratch.take<T>(size_t(task.tile_rows + kTileSlack + 1) * size_t(width));
    find_pairs(task.in, task.out, task.window, t.first, t.last, 0, volume, lists);
    start_tile(task, t, tile);

    const int first_channel = block_at<T>(width, first_block).vector * kLanes<T>;
    const Block last = block_at<T>(width, last_block - 1);
    const int last_channel = (last.vector + last.vectors) * kLanes<T>;

    for (int k = 0; k < volume; ++k) {
        if (lists.count[k] == 0) continue;
        for (int b = first_block; b < last_block; ++b) {
            const Block block = block_at<T>(width, b);
            const int channel = block.vector * kLanes<T>;
            multiply_block<T>(block.vectors, task.features, task.c_in, lists.in + int64_t(k) * lists.capacity,
                              lists.out + int64_t(k) * lists.capacity, lists.count[k], t.rows,
                              task.packed + (int64_t(k) * width + channel) * task.c_in, task.c_in,
                              task.missing + int64_t(k) * task.missing_stride + channel, tile + channel, width);
        }
    }
    finish_tile(task, t, first_channel, last_channel, tile);
}

namespace {

// A square of as many vectors as they have lanes. Each round interleaves the first half of the rows with the second; after
// log2 of the lanes, lane i of row j is what lane j of row i was.
template <class T>
S3D_INLINE void transpose(Vec<T>* square) {
    constexpr int L = kLanes<T>;
    using Ints = typename VecOf<T>::ints;
    Ints low, high;  // lanes 0, L, 1, L + 1, ... of two vectors side by side, and the other half
    for (int i = 0; i < L; ++i) {
        low[i] = i / 2 + (i % 2) * L;
        high[i] = low[i] + L / 2;
    }
    for (int rounds = L; rounds > 1; rounds /= 2) {
        Vec<T> next[L];
#pragma GCC unroll 8
        for (int i = 0; i < L / 2; ++i) {
            next[2 * i] = __builtin_shuffle(square[i], square[i + L / 2], low);
            next[2 * i + 1] = __builtin_shuffle(square[i], square[i + L / 2], high);
        }
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) square[i] = next[i];
    }
}

// A block of n output channels, `first` on: rows of c_in.
template <class T>
void pack_block(const T* source, int64_t stride_out, int64_t stride_in, int first, int n, int c_out, int c_in, T* packed) {
    const int there = first + n <= c_out ? n : c_out - first;
    if (stride_out == 1) {
        for (int c = 0; c < c_in; ++c)
            for (int o = 0; o < n; ++o) packed[int64_t(c) * n + o] = o < there ? source[first + o + c * stride_in] : T(0);
        return;
    }
    constexpr int L = kLanes<T>;
    int o = 0;
    for (; o + L <= there; o += L) {
        const T* from = source + (first + o) * stride_out;
        int c = 0;
        for (; c + L <= c_in && stride_in == 1; c += L) {
            Vec<T> square[L];
            for (int i = 0; i < L; ++i) square[i] = load(from + i * stride_out + c);
            transpose<T>(square);
            for (int j = 0; j < L; ++j) store(packed + int64_t(c + j) * n + o, square[j]);
        }
        for (; c < c_in; ++c)
            for (int i = 0; i < L; ++i) packed[int64_t(c) * n + o + i] = from[i * stride_out + c * stride_in];
    }
    for (; o < n; ++o)
        for (int c = 0; c < c_in; ++c) packed[int64_t(c) * n + o] = o < there ? source[(first + o) * stride_out + c * stride_in] : T(0);
}

}  // namespace

template <class T>
void pack_weight(const T* source, int64_t stride_out, int64_t stride_in, int c_out, int c_in, T* packed) {
    const int width = whole<T>(c_out), blocks = block_count<T>(width);
    for (int b = 0; b < blocks; ++b) {
        const Block block = block_at<T>(width, b);
        const int first = block.vector * kLanes<T>, n = block.vectors * kLanes<T>;
        pack_block(source, stride_out, stride_in, first, n, c_out, c_in, packed);
        packed += int64_t(n) * c_in;
    }
}

template <class T>
void packed_times_vector(const T* packed, const T* vector, int c_in, int width, T* result) {
    const int blocks = block_count<T>(width);
    for (int b = 0; b < blocks; ++b) {
        const Block block = block_at<T>(width, b);
        for (int v = 0; v < block.vectors; ++v) {
            Vec<T> sum = {};
            for (int c = 0; c < c_in; ++c) sum += vector[c] * load(packed + (int64_t(c) * block.vectors + v) * kLanes<T>);
            store(result + (block.vector + v) * kLanes<T>, sum);
        }
        packed += int64_t(c_in) * block.vectors * kLanes<T>;
    }
}

// The sum of products of two lines of n.
template <class T>
T dot_product(const T* a, const T* b, int64_t n) {
    constexpr int L = kLanes<T>;
    Vec<T> sum[4] = {};
    int64_t i = 0;
    for (; i + 4 * L <= n; i += 4 * L)
        for (int v = 0; v < 4; ++v) sum[v] += load(a + i + v * L) * load(b + i + v * L);
    for (; i + L <= n; i += L) sum[0] += load(a + i) * load(b + i);
    const Vec<T> all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    T total = 0;
    for (int j = 0; j < L; ++j) total += all[j];
    for (; i < n; ++i) total += a[i] * b[i];
    return total;
}

#define S3D_INSTANTIATE(T)                                                        \
    template size_t convolution_scratch<T>(const ConvolutionTask<T>&);            \
    template void convolution_tile<T>(const ConvolutionTask<T>&, int64_t, void*); \
    template void pack_weight<T>(const T*, int64_t, int64_t, int, int, T*);       \
    template void packed_times_vector<T>(const T*, const T*, int, int, T*);       \
    template T dot_product<T>(const T*, const T*, int64_t);
S3D_INSTANTIATE(float)
S3D_INSTANTIATE(double)

}  // namespace S3D_ISA
}  // namespace sparse3d
