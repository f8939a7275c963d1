// Convolutions of one type throughout, and the packing of their weights.
#include "convolution.h"

#include "few_channels.h"
#include "output_tile.h"

namespace sparse3d {
namespace S3D_ISA {

template <class T>
int lanes() {
    return kLanes<T>;
}

template <class T>
size_t convolution_scratch(const ConvolutionTask<T>& task) {
    if (task.few_channels) return few_channels_scratch(task);
    const int volume = volume_of(task.window);
    const size_t rows = size_t(task.tile_rows + kTileSlack + 1);
    return pair_lists_bytes(task.tile_rows, volume) + rows * size_t(task.width) * sizeof(T) + 64;
}

template <class T>
void convolution_tile(const ConvolutionTask<T>& task, int64_t index, void* memory) {
    if (task.few_channels) {
        const Tile t = tile_at(task.out, task.tile_rows, index / task.splits);
        few_channels_words(task, t.first, t.last, task.result, false, memory);
        return;
    }
    multiply_tile(task, task.features, task.packed, task.c_in, index, memory);
}

namespace {

// Lanes of a and, from L on, of b.
template <class T>
S3D_INLINE Vec<T> shuffled(Vec<T> a, Vec<T> b, typename VecOf<T>::ints which) {
#if defined(__clang__)  // whose own builtin wants constants; these loops come to the same
    constexpr int L = kLanes<T>;
    Vec<T> result;
    for (int i = 0; i < L; ++i) result[i] = which[i] < L ? a[which[i]] : b[which[i] - L];
    return result;
#else
    return __builtin_shuffle(a, b, which);
#endif
}

// A square of as many vectors as they have lanes. Each round interleaves the first half of the rows with the second;
// after log2 of the lanes, lane i of row j is what lane j of row i was.
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
            next[2 * i] = shuffled<T>(square[i], square[i + L / 2], low);
            next[2 * i + 1] = shuffled<T>(square[i], square[i + L / 2], high);
        }
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) square[i] = next[i];
    }
}

// Of a block of n output channels, `first` on, those in [from, to): columns of its c_in rows.
template <class T>
void pack_columns(const T* source, int64_t stride_out, int64_t stride_in, int first, int n, int from, int to, int c_out,
                  int c_in, T* packed) {
    const int there = min(c_out - first, to);
    if (stride_out == 1) {
        for (int c = 0; c < c_in; ++c)
            for (int o = from; o < to; ++o)
                packed[int64_t(c) * n + o] = o < there ? source[first + o + c * stride_in] : T(0);
        return;
    }
    constexpr int L = kLanes<T>;
    int o = from;
    for (; o + L <= there; o += L) {
        const T* rows = source + (first + o) * stride_out;
        int c = 0;
        for (; c + L <= c_in && stride_in == 1; c += L) {
            Vec<T> square[L];
            for (int i = 0; i < L; ++i) {
                square[i] = load(rows + i * stride_out + c);
                __builtin_prefetch(rows + i * stride_out + c + 8 * L, 0, 2);
            }
            transpose<T>(square);
            for (int j = 0; j < L; ++j) store(packed + int64_t(c + j) * n + o, square[j]);
        }
        for (; c < c_in; ++c)
            for (int i = 0; i < L; ++i) packed[int64_t(c) * n + o + i] = rows[i * stride_out + c * stride_in];
    }
    for (; o < to; ++o)
        for (int c = 0; c < c_in; ++c)
            packed[int64_t(c) * n + o] = o < there ? source[(first + o) * stride_out + c * stride_in] : T(0);
}

// Call f(block, its first vector to take, the one after the last, where it begins) for what [first, last) has of each
// block.
template <class T, class Packed, class F>
S3D_INLINE void over_vectors(int width, int c_in, int first, int last, Packed* packed, F&& f) {
    for (int b = 0; b < block_count<T>(width); ++b) {
        const Block block = block_at<T>(width, b);
        const int from = first > block.vector ? first : block.vector, to = min(last, block.vector + block.vectors);
        if (from < to) f(block, from, to, packed);
        packed += int64_t(block.vectors) * kLanes<T> * c_in;
    }
}

}  // namespace

template <class T>
void pack_weight(const T* source, int64_t stride_out, int64_t stride_in, int c_out, int c_in, int first, int last,
                 T* packed) {
    constexpr int L = kLanes<T>;
    over_vectors<T>(whole<T>(c_out), c_in, first, last, packed, [&](Block block, int from, int to, T* there) {
        pack_columns(source, stride_out, stride_in, block.vector * L, block.vectors * L, (from - block.vector) * L,
                     (to - block.vector) * L, c_out, c_in, there);
    });
}

template <class T>
void packed_times_vector(const T* packed, const T* vector, int c_in, int width, int first, int last, T* result) {
    over_vectors<T>(width, c_in, first, last, packed, [&](Block block, int from, int to, const T* there) {
        for (int v = from; v < to; ++v) {
            Vec<T> sum = {};
            for (int c = 0; c < c_in; ++c)
                sum += vector[c] * load(there + (int64_t(c) * block.vectors + v - block.vector) * kLanes<T>);
            store(result + v * kLanes<T>, sum);
        }
    });
}

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

#define S3D_INSTANTIATE(T)                                                            \
    template int lanes<T>();                                                          \
    template size_t convolution_scratch<T>(const ConvolutionTask<T>&);                \
    template void convolution_tile<T>(const ConvolutionTask<T>&, int64_t, void*);     \
    template void pack_weight<T>(const T*, int64_t, int64_t, int, int, int, int, T*); \
    template void packed_times_vector<T>(const T*, const T*, int, int, int, int, T*); \
    template T dot_product<T>(const T*, const T*, int64_t);
S3D_INSTANTIATE(float)
S3D_INSTANTIATE(double)

}  // namespace S3D_ISA
}  // namespace sparse3d
