// One tile of output rows: start from the bias, add each offset's pairs, apply the activation, write once.
#include "gemm.h"
#include "sites.h"

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
            for (int c = first_channel; c < last; ++c) to[c] = from[c] > 0 ? from[c] : task.slope * from[c];
        } else {
            copy(to + first_channel, from + first_channel, last - first_channel);
        }
    }
}

}  // namespace

template <class T>
size_t convolution_scratch(const ConvolutionTask<T>& task) {
    const int volume = volume_of(task.window);
    const size_t rows = size_t(task.tile_rows + kTileSlack + 1);
    size_t bytes = pair_lists_bytes(task.tile_rows, volume) + rows * size_t(task.width) * sizeof(T) + 64;
    if (task.few_channels) bytes += rows * size_t(volume * task.c_in) * sizeof(T) + 64 + 2 * (rows + 64) * 4 + 128;
    return bytes;
}

template <class T>
void convolution_tile(const ConvolutionTask<T>& task, int64_t index, void* memory) {
    const int volume = volume_of(task.window), width = task.width;
    const Tile t = tile_at(task.out, task.tile_rows, index / task.splits);
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

    if (task.few_channels) {
        // Whole windows side by side, missing inputs as background: one product with volume * c_in channels.
        const int c_in = task.c_in, channels = volume * c_in;
        T* windows = scratch.take<T>(size_t(task.tile_rows + kTileSlack) * size_t(channels));
        int32_t* row = scratch.take<int32_t>(size_t(t.rows) + 64);
        int32_t* copy_of_row = scratch.take<int32_t>(size_t(t.rows) + 64);
        for (int i = 0; i < t.rows; ++i) {
            row[i] = copy_of_row[i] = i;
            for (int j = 0; j < channels; ++j)
                windows[int64_t(i) * channels + j] = task.background != nullptr ? task.background[j % c_in] : T(0);
        }
        for (int k = 0; k < volume; ++k) {
            const int32_t* in = lists.in + int64_t(k) * lists.capacity;
            const int32_t* out = lists.out + int64_t(k) * lists.capacity;
            for (int i = 0; i < lists.count[k]; ++i)
                copy(windows + int64_t(out[i]) * channels + k * c_in, task.features + int64_t(in[i]) * c_in, c_in);
        }
        for (int b = first_block; b < last_block && t.rows > 0; ++b) {
            const Block block = block_at<T>(width, b);
            multiply_block<T>(block.vectors, windows, channels, row, copy_of_row, t.rows, t.rows,
                              task.packed + int64_t(block.vector) * kLanes<T> * channels, channels, task.missing,
                              tile + block.vector * kLanes<T>, width);
        }
    } else {
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
    }
    finish_tile(task, t, first_channel, last_channel, tile);
}

template <class T>
void pack_weight(const T* source, int64_t stride_out, int64_t stride_in, int c_out, int c_in, T* packed) {
    const int width = whole<T>(c_out), blocks = block_count<T>(width);
    for (int b = 0; b < blocks; ++b) {
        const Block block = block_at<T>(width, b);
        const int first = block.vector * kLanes<T>, n = block.vectors * kLanes<T>;
        for (int c = 0; c < c_in; ++c)
            for (int o = 0; o < n; ++o)
                *packed++ = first + o < c_out ? source[(first + o) * stride_out + c * stride_in] : T(0);
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

#define S3D_INSTANTIATE(T)                                                        \
    template size_t convolution_scratch<T>(const ConvolutionTask<T>&);            \
    template void convolution_tile<T>(const ConvolutionTask<T>&, int64_t, void*); \
    template void pack_weight<T>(const T*, int64_t, int64_t, int, int, T*);       \
    template void packed_times_vector<T>(const T*, const T*, int, int, T*);
S3D_INSTANTIATE(float)
S3D_INSTANTIATE(double)

}  // namespace S3D_ISA
}  // namespace sparse3d
