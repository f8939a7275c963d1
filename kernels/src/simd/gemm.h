// The micro-kernel: a few rows times a few vectors, held in registers.
//
//     sum[row] += a[row][c] * b[c]        for every input channel c
//
// `In` is what a and b hold: as the sums (T), or pairs of channels in bfloat16, multiplied two at a time.
// R rows and V vectors are chosen so that R * V sums, V vectors of b and one broadcast of a fit in the registers. The
// rows of a are wherever the sites are (gathered by address, never copied); the sums come from the tile, which stays in
// the cache, and go back to it.
#pragma once

#include "vec.h"

namespace sparse3d {
namespace S3D_ISA {

constexpr int kBlockVectors = kRegisters == 32 ? 4 : 2;
#if defined(__aarch64__)
// An input of each row is in a register too: there is no multiplication with a value in memory.
constexpr int block_rows(int vectors) { return vectors == 4 ? 5 : vectors == 3 ? 6 : 8; }
#else
constexpr int block_rows(int vectors) { return vectors == kBlockVectors ? 6 : 8; }
#endif
constexpr int kMostRows = 8;

template <class T>
S3D_INLINE Vec<T> multiply_add(T a, Vec<T> b, Vec<T> sum) {
    return sum + a * b;
}

// Two channels of a with the two of each lane of b. Where the processor has no instruction for it they are widened,
// which gives the same products and takes longer. (The instruction takes numbers below 1.2e-38 as zero.)
S3D_INLINE Vec<float> multiply_add(Halves a, Vec<Halves> b, Vec<float> sum) {
    const Vec<Halves> both = Vec<Halves>{} + a.bits;
#if defined(__AVX512BF16__)
    return (Vec<float>)_mm512_dpbf16_ps((__m512)sum, (__m512bh)both, (__m512bh)b);
#else
    constexpr uint32_t kHigh = 0xffff0000u;
    sum += (Vec<float>)(both << 16) * (Vec<float>)(b << 16);
    return sum + (Vec<float>)(both & kHigh) * (Vec<float>)(b & kHigh);
#endif
}

template <class In, class T, int R, int V>
S3D_INLINE void multiply_rows(const In* features, int64_t feature_stride, const int32_t* in, const In* packed, int c_in,
                              const T* missing, const int32_t* out, T* tile, int64_t tile_stride) {
    const In* a[R];
    T* target[R];
    Vec<T> sum[R][V];
    for (int r = 0; r < R; ++r) {
        a[r] = features + in[r] * feature_stride;
        target[r] = tile + out[r] * tile_stride;
        for (int v = 0; v < V; ++v) sum[r][v] = load(target[r] + v * kLanes<T>) - load(missing + v * kLanes<T>);
    }
    for (int c = 0; c < c_in; ++c, packed += V * kLanes<T>) {
        Vec<In> b[V];
        for (int v = 0; v < V; ++v) b[v] = load(packed + v * kLanes<T>);
        for (int r = 0; r < R; ++r)
            for (int v = 0; v < V; ++v) sum[r][v] = multiply_add(a[r][c], b[v], sum[r][v]);
    }
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) store(target[r] + v * kLanes<T>, sum[r][v]);
}

// All pairs of one offset. `n` is filled up to whole blocks by repeating the last input and adding to a row that nobody
// reads, so the lists need room for kMostRows more.
template <class In, class T, int V>
inline void multiply_pairs(const In* features, int64_t feature_stride, int32_t* in, int32_t* out, int n, int unread_row,
                           const In* packed, int c_in, const T* missing, T* tile, int64_t tile_stride) {
    constexpr int R = block_rows(V);
    for (int i = n; i < n + R; ++i) {
        in[i] = in[n - 1];
        out[i] = unread_row;
    }
    int i = 0;
    for (; i + R / 2 < n; i += R)
        multiply_rows<In, T, R, V>(features, feature_stride, in + i, packed, c_in, missing, out + i, tile, tile_stride);
    for (; i < n; i += R / 4 < 2 ? 2 : R / 4)
        multiply_rows<In, T, (R / 4 < 2 ? 2 : R / 4), V>(features, feature_stride, in + i, packed, c_in, missing,
                                                         out + i, tile, tile_stride);
}

// The output channels, cut into blocks of up to kBlockVectors vectors.
struct Block {
    int vector, vectors;
};
template <class T>
S3D_INLINE int block_count(int width) {
    return (width / kLanes<T> + kBlockVectors - 1) / kBlockVectors;
}
// Even blocks: 6 vectors are 3 + 3, not 4 + 2.
template <class T>
S3D_INLINE Block block_at(int width, int index) {
    const int vectors = width / kLanes<T>, blocks = block_count<T>(width);
    const int first = vectors * index / blocks, last = vectors * (index + 1) / blocks;
    return {first, last - first};
}

template <class In, class T>
S3D_INLINE void multiply_block(int vectors, const In* features, int64_t feature_stride, int32_t* in, int32_t* out,
                               int n, int unread_row, const In* packed, int c_in, const T* missing, T* tile,
                               int64_t tile_stride) {
    switch (vectors) {
        case 1:
            return multiply_pairs<In, T, 1>(features, feature_stride, in, out, n, unread_row, packed, c_in, missing,
                                            tile, tile_stride);
        case 2:
            return multiply_pairs<In, T, 2>(features, feature_stride, in, out, n, unread_row, packed, c_in, missing,
                                            tile, tile_stride);
    }
    if constexpr (kBlockVectors > 2) {
        if (vectors == 3)
            return multiply_pairs<In, T, 3>(features, feature_stride, in, out, n, unread_row, packed, c_in, missing,
                                            tile, tile_stride);
        multiply_pairs<In, T, 4>(features, feature_stride, in, out, n, unread_row, packed, c_in, missing, tile,
                                 tile_stride);
    }
}

}  // namespace S3D_ISA
}  // namespace sparse3d
