// One stretch of output rows: for each offset, the outer products of gradient rows and feature rows, summed over pairs.
#include "weight_gradient.h"

#include "few_channels.h"
#include "pairs.h"
#include "pool.h"

namespace sparse3d {
namespace S3D_ISA {
namespace {

// R output channels times V vectors of input channels, in registers while the pairs go by.
template <class T, int R, int V>
S3D_INLINE void outer_products(const T* features, int64_t feature_stride, const int32_t* in, const T* grad,
                               int64_t grad_stride, const int32_t* out, int n, T* result, int64_t result_stride) {
    Vec<T> sum[R][V];
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) sum[r][v] = Vec<T>{};
    for (int i = 0; i < n; ++i) {
        const T* x = features + in[i] * feature_stride;
        const T* g = grad + out[i] * grad_stride;
        Vec<T> b[V];
        for (int v = 0; v < V; ++v) b[v] = load(x + v * kLanes<T>);
        for (int r = 0; r < R; ++r)
            for (int v = 0; v < V; ++v) sum[r][v] += g[r] * b[v];
    }
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) {
            T* p = result + r * result_stride + v * kLanes<T>;
            store(p, load(p) + sum[r][v]);
        }
}

constexpr int kOuterVectors = 2, kOuterRows = kRegisters == 32 ? 8 : 6;

template <class T, int V>
void outer_products_rows(const T* features, int64_t feature_stride, const int32_t* in, const T* grad, int c_out,
                         const int32_t* out, int n, T* result, int64_t result_stride) {
    int o = 0;
    for (; o + kOuterRows <= c_out; o += kOuterRows)
        outer_products<T, kOuterRows, V>(features, feature_stride, in, grad + o, c_out, out, n,
                                         result + o * result_stride, result_stride);
    for (; o + 2 <= c_out; o += 2)
        outer_products<T, 2, V>(features, feature_stride, in, grad + o, c_out, out, n, result + o * result_stride,
                                result_stride);
    for (; o < c_out; ++o)
        outer_products<T, 1, V>(features, feature_stride, in, grad + o, c_out, out, n, result + o * result_stride,
                                result_stride);
}

// result (c_out, width) += sum over pairs of grad row (c_out) x feature row (width)
template <class T>
void add_outer_products(const T* features, int64_t feature_stride, int width, const int32_t* in, const T* grad,
                        int c_out, const int32_t* out, int n, T* result, int64_t result_stride) {
    const int vectors = width / kLanes<T>;
    int v = 0;
    for (; v + kOuterVectors <= vectors; v += kOuterVectors)
        outer_products_rows<T, kOuterVectors>(features + v * kLanes<T>, feature_stride, in, grad, c_out, out, n,
                                              result + v * kLanes<T>, result_stride);
    for (; v < vectors; ++v)
        outer_products_rows<T, 1>(features + v * kLanes<T>, feature_stride, in, grad, c_out, out, n,
                                  result + v * kLanes<T>, result_stride);
}

// In double: what is left after subtracting two of these must keep its digits.
template <class T>
void add_rows(const T* grad, int c_out, const int32_t* rows, int n, double* total) {
    for (int i = 0; i < n; ++i) {
        const T* g = grad + int64_t(rows[i]) * c_out;
        for (int c = 0; c < c_out; ++c) total[c] += double(g[c]);
    }
}

}  // namespace

template <class T>
size_t weight_gradient_scratch(const WeightGradientTask<T>& task) {
    const int volume = task.window.kernel[0] * task.window.kernel[1] * task.window.kernel[2];
    const size_t rows = size_t(task.tile_rows + kTileSlack);
    size_t bytes = pair_lists_bytes(task.tile_rows, volume) + 2 * (rows * 4 + 64);
    if (task.few_channels) bytes += few_channels_gradient_scratch(task);
    if (task.pool != nullptr) bytes += rows * size_t(task.c_out) * sizeof(T) + 64 + pool_scratch(*task.pool);
    return bytes;
}

template <class T>
void weight_gradient_chunk(const WeightGradientTask<T>& task, int64_t chunk, int first_offset, int last_offset,
                           void* memory) {
    const Window& w = task.window;
    const int volume = w.kernel[0] * w.kernel[1] * w.kernel[2], offsets = last_offset - first_offset;
    const int phases = w.transposed ? w.stride[0] * w.stride[1] * w.stride[2] : 1;
    Scratch scratch{static_cast<char*>(memory)};
    const PairLists lists = take_pair_lists(scratch, task.tile_rows, offsets);
    int32_t* row = scratch.take<int32_t>(size_t(task.tile_rows + kTileSlack));
    T* pooled =
        task.pool != nullptr ? scratch.take<T>(size_t(task.tile_rows + kTileSlack) * size_t(task.c_out)) : nullptr;

    const int sum_rows = task.few_channels ? volume * (task.c_in + (task.flags ? 1 : 0)) : volume * task.c_out;
    T* partial = task.partial + chunk * sum_rows * int64_t(task.width);
    const int64_t tiles = (int64_t(task.out.n_sites) + task.tile_rows - 1) / task.tile_rows;
    const int64_t last_tile = (chunk + 1) * task.tiles_per_chunk < tiles ? (chunk + 1) * task.tiles_per_chunk : tiles;
    for (int64_t tile = chunk * task.tiles_per_chunk; tile < last_tile; ++tile) {
        const Tile t = tile_at(task.out, task.tile_rows, tile);
        if (t.rows == 0) continue;
        for (int i = 0; i < t.rows; ++i) row[i] = task.out.rows != nullptr ? task.out.rows[t.rank + i] : t.rank + i;
        const T* grad = task.grad;
        if (task.pool != nullptr) {  // rows by rank, from this tile's first one on
            PoolTask<T> pool = *task.pool;
            pool.values = pooled - int64_t(t.rank) * task.c_out;
            max_pool_gradient_words(pool, t.first, t.last, scratch.next);
            grad = pool.values;
            for (int i = 0; i < t.rows; ++i) row[i] = t.rank + i;
        }
        if (first_offset == 0) {  // one task of the chunk adds up the gradient of each phase
            if (phases == 1) {
                add_rows(grad, task.c_out, row, t.rows, task.total + chunk * task.c_out);
            } else {
                int i = 0;
                for (uint32_t slot = t.first; slot < t.last; ++slot) {
                    int word_x;
                    const Line at = line_of(task.out, task.out.word[slot], word_x);
                    for (uint64_t rest = task.out.bits[slot]; rest != 0; rest &= rest - 1, ++i) {
                        const int phase = phase_of(w, at.z, at.y, word_x * 64 + lowest(rest));
                        double* total = task.total + (chunk * phases + phase) * task.c_out;
                        for (int c = 0; c < task.c_out; ++c) total[c] += double(grad[int64_t(row[i]) * task.c_out + c]);
                    }
                }
            }
        }

        if (task.few_channels) {
            few_channels_gradient_words(task, t.first, t.last, grad, task.pool != nullptr, partial, scratch.next);
            continue;
        }
        find_pairs(task.in, task.out, w, t.first, t.last, first_offset, last_offset, lists);
        for (int k = 0; k < offsets; ++k) {
            const int n = lists.count[k];
            const int32_t* in = lists.in + int64_t(k) * lists.capacity;
            int32_t* out = lists.out + int64_t(k) * lists.capacity;
            for (int i = 0; i < n; ++i) out[i] = row[out[i]];
            add_outer_products(task.features, task.stride_in, task.width, in, task.grad, task.c_out, out, n,
                               partial + int64_t(first_offset + k) * task.width, int64_t(volume) * task.width);
            add_rows(task.grad, task.c_out, out, n, task.paired + (chunk * volume + first_offset + k) * task.c_out);
        }
    }
}

#define S3D_INSTANTIATE(T)                                                    \
    template size_t weight_gradient_scratch<T>(const WeightGradientTask<T>&); \
    template void weight_gradient_chunk<T>(const WeightGradientTask<T>&, int64_t, int, int, void*);
S3D_INSTANTIATE(float)
S3D_INSTANTIATE(double)

}  // namespace S3D_ISA
}  // namespace sparse3d
