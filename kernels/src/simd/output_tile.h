// One tile of output rows: start from the bias, add each offset's pairs, apply the activation, write once.
#pragma once

#include "gemm.h"
#include "pairs.h"

namespace sparse3d {
namespace S3D_ISA {

S3D_INLINE int volume_of(const Window& w) { return w.kernel[0] * w.kernel[1] * w.kernel[2]; }

template <class T>
S3D_INLINE void copy(T* to, const T* from, int n) {
    for (int i = 0; i < n; ++i) to[i] = from[i];
}

// Every row of the tile starts from the sum for "no input is there".
template <class T>
S3D_INLINE void start_tile(const ConvolutionTask<T>& task, const Tile& t, T* tile) {
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
S3D_INLINE void finish_tile(const ConvolutionTask<T>& task, const Tile& t, int first_channel, int last_channel,
                            const T* tile) {
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

// `packed` (volume, c_in, width) in blocks: both it and the features in the type that is multiplied (see gemm.h).
template <class In, class T>
S3D_INLINE void multiply_tile(const ConvolutionTask<T>& task, const In* features, const In* packed, int c_in,
                              int64_t index, void* memory) {
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

    for (int k = 0; k < volume; ++k) {
        if (lists.count[k] == 0) continue;
        for (int b = first_block; b < last_block; ++b) {
            const Block block = block_at<T>(width, b);
            const int channel = block.vector * kLanes<T>;
            multiply_block(block.vectors, features, c_in, lists.in + int64_t(k) * lists.capacity,
                           lists.out + int64_t(k) * lists.capacity, lists.count[k], t.rows,
                           packed + (int64_t(k) * width + channel) * c_in, c_in,
                           task.missing + int64_t(k) * task.missing_stride + channel, tile + channel, width);
        }
    }
    finish_tile(task, t, first_channel, last_channel, tile);
}

}  // namespace S3D_ISA
}  // namespace sparse3d
