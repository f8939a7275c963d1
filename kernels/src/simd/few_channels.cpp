// Convolutions of one to four input channels, such as the first layer of a network.
//
// Here the product is cheap and looking up neighbours is what costs. So the input lines that a word of 64 outputs sees
// are written out densely (missing cells hold the background), and each output reads its window from them with fixed
// steps: no pairs, no sums in memory, each output row written once. Not for transposed windows.
#include "few_channels.h"

#include "gemm.h"
#include "sites.h"

namespace sparse3d {
namespace S3D_ISA {
namespace {

constexpr int kMargin = 64;  // cells before and after a line, so that whole words can be written out

struct Lines {
    int count;     // lines of a window
    int cells;     // of each line, margins included
    int channels;  // c_in, and one more that says 1 where the cell is missing, if `flags`
    int c_in;
    bool flags;
};

S3D_INLINE Lines lines_of(const Window& w, int c_in, bool flags) {
    const int span = 63 * w.stride[2] + (w.kernel[2] - 1) * w.dilation[2] + 1;
    return {w.kernel[0] * w.kernel[1], (span + 15) / 16 * 16 + 2 * kMargin, c_in + (flags ? 1 : 0), c_in, flags};
}

template <class T>
S3D_INLINE size_t lines_bytes(const Lines& lines) {
    return size_t(lines.count) * size_t(lines.cells) * size_t(lines.channels) * sizeof(T) + 64;
}

// Where step t of the window lies, counted from the first cell that the output sees: all offsets and channels, then all
// flags.
S3D_INLINE void list_steps(const Window& w, const Lines& lines, int32_t* step) {
    for (int part = 0; part < (lines.flags ? 2 : 1); ++part)
        for (int line = 0; line < lines.count; ++line)
            for (int kx = 0; kx < w.kernel[2]; ++kx)
                for (int c = part ? lines.c_in : 0; c < (part ? lines.c_in + 1 : lines.c_in); ++c)
                    *step++ = (line * lines.cells + kx * w.dilation[2]) * lines.channels + c;
}

// The features of one input word, from `to` on.
template <class T>
S3D_INLINE void write_word(const SiteView& in, const Lines& lines, Cells cells, const T* features, T* to) {
#if defined(__AVX512F__)
    if (sizeof(T) == 4 && lines.channels == 1 && in.rows == nullptr) {
        const float* from = reinterpret_cast<const float*>(features) + cells.rank;
        float* target = reinterpret_cast<float*>(to);
        for (uint64_t rest = cells.bits; rest != 0; rest >>= 16, target += 16) {
            const __mmask16 part = __mmask16(rest);
            const int n = popcount(part);
            const __m512 values = _mm512_maskz_loadu_ps(__mmask16((1u << n) - 1), from);
            _mm512_storeu_ps(target, _mm512_mask_expand_ps(_mm512_loadu_ps(target), part, values));
            from += n;
        }
        return;
    }
#endif
    uint32_t rank = cells.rank;
    for (uint64_t rest = cells.bits; rest != 0; rest &= rest - 1, ++rank) {
        const int64_t row = in.rows != nullptr ? in.rows[rank] : rank;
        T* cell = to + int64_t(lowest(rest)) * lines.channels;
        for (int c = 0; c < lines.c_in; ++c) cell[c] = features[row * lines.c_in + c];
        if (lines.flags) cell[lines.c_in] = 0;
    }
}

// All input lines that the outputs of one word see.
template <class T>
S3D_INLINE void write_lines(const SiteView& in, const Window& w, const Lines& lines, const Line& at, int out_x,
                            const T* features, const T* background, T* buffer) {
    const int first = out_x * w.stride[2] - w.padding[2];  // the input cell that stands after the margin
    T* line = buffer;
    for (int kz = 0; kz < w.kernel[0]; ++kz) {
        const int z = input_coordinate(w, 0, at.z, kz, in.z);
        for (int ky = 0; ky < w.kernel[1]; ++ky, line += int64_t(lines.cells) * lines.channels) {
            // the margins are written to, but never read
            if (lines.channels == 1) {
                const T value = background != nullptr ? background[0] : T(0);
                for (int i = kMargin; i < lines.cells - kMargin; ++i) line[i] = value;
            } else {
                for (int i = kMargin; i < lines.cells - kMargin; ++i)
                    for (int c = 0; c < lines.channels; ++c)
                        line[i * lines.channels + c] = c == lines.c_in         ? T(1)
                                                       : background != nullptr ? background[c]
                                                                               : T(0);
            }
            const int y = input_coordinate(w, 1, at.y, ky, in.y);
            if (z < 0 || y < 0) continue;
            const uint32_t line_word = first_word(in, at.b, z, y);
            const int last = first + lines.cells - 2 * kMargin;
            for (int word = first >> 6; word * 64 < last; ++word) {
                const Cells cells = word_at(in, line_word, word);
                if (cells.bits)
                    write_word(in, lines, cells, features,
                               line + int64_t(word * 64 - first + kMargin) * lines.channels);
            }
        }
    }
}

// R outputs times V vectors of output channels over all steps of the window.
template <class T, int R, int V>
S3D_INLINE void window_rows(const T* const* cells, const int32_t* step, int steps, const T* packed, const T* start,
                            bool activate, T slope, T* const* result, int channels) {
    Vec<T> sum[R][V];
    for (int v = 0; v < V; ++v) {
        const Vec<T> from = load(start + v * kLanes<T>);
        for (int r = 0; r < R; ++r) sum[r][v] = from;
    }
    for (int t = 0; t < steps; ++t, packed += V * kLanes<T>) {
        const int64_t at = step[t];
        Vec<T> b[V];
        for (int v = 0; v < V; ++v) b[v] = load(packed + v * kLanes<T>);
        for (int r = 0; r < R; ++r)
            for (int v = 0; v < V; ++v) sum[r][v] += cells[r][at] * b[v];
    }
    if (activate) {
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sum[r][v] = leaky<T>(sum[r][v], slope);
    }
    if (channels >= V * kLanes<T>) {
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) store(result[r] + v * kLanes<T>, sum[r][v]);
        return;
    }
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < channels; ++c) result[r][c] = sum[r][c / kLanes<T>][c % kLanes<T>];
}

template <class T, int V>
S3D_INLINE void window_block(int n, const T** cells, const int32_t* step, int steps, const T* packed, const T* start,
                             bool activate, T slope, T** result, T* unread, int channels) {
    constexpr int R = block_rows(V);
    for (int i = n; i < n + R; ++i) {
        cells[i] = cells[n - 1];
        result[i] = unread;
    }
    int i = 0;
    for (; i + R / 2 < n; i += R)
        window_rows<T, R, V>(cells + i, step, steps, packed, start, activate, slope, result + i, channels);
    for (; i < n; i += 4)
        window_rows<T, 4, V>(cells + i, step, steps, packed, start, activate, slope, result + i, channels);
}

}  // namespace

template <class T>
size_t few_channels_scratch(const ConvolutionTask<T>& task) {
    const int volume = task.window.kernel[0] * task.window.kernel[1] * task.window.kernel[2];
    return lines_bytes<T>(lines_of(task.window, task.c_in, false)) + size_t(volume * task.c_in) * 4 + 64 +
           size_t(task.width) * sizeof(T) + 64;
}

template <class T>
void few_channels_words(const ConvolutionTask<T>& task, uint32_t first, uint32_t last, T* result, bool by_rank,
                        void* memory) {
    const Window& w = task.window;
    const Lines lines = lines_of(w, task.c_in, false);
    const int steps = w.kernel[0] * w.kernel[1] * w.kernel[2] * task.c_in;
    Scratch scratch{static_cast<char*>(memory)};
    T* buffer = scratch.take<T>(size_t(lines.count) * size_t(lines.cells) * size_t(lines.channels));
    int32_t* step = scratch.take<int32_t>(size_t(steps));
    T* unread = scratch.take<T>(size_t(task.width));
    list_steps(w, lines, step);
    const int blocks = block_count<T>(task.width);
    for (uint32_t slot = first; slot < last; ++slot) {
        int word_x;
        const Line at = line_of(task.out, task.out.word[slot], word_x);
        write_lines(task.in, w, lines, at, word_x * 64, task.features, task.background, buffer);
        const T* cells[64 + kMostRows];
        T* target[64 + kMostRows];
        int n = 0;
        for (uint64_t rest = task.out.bits[slot]; rest != 0; rest &= rest - 1, ++n) {
            const int64_t rank = int64_t(task.out.base[slot]) + n;
            cells[n] = buffer + int64_t(kMargin + lowest(rest) * w.stride[2]) * lines.channels;
            target[n] = result + (by_rank || task.out.rows == nullptr ? rank : task.out.rows[rank]) * task.c_out;
        }
        for (int b = 0; b < blocks; ++b) {
            const Block block = block_at<T>(task.width, b);
            const int channel = block.vector * kLanes<T>;
            const T* packed = task.packed + int64_t(channel) * steps;
            const T* start = task.start + channel;
            const bool activate = task.leaky != 0;
            if (b > 0)
                for (int i = 0; i < n; ++i) target[i] += block_at<T>(task.width, b - 1).vectors * kLanes<T>;
            switch (block.vectors) {
                case 1:
                    window_block<T, 1>(n, cells, step, steps, packed, start, activate, task.slope, target, unread,
                                       task.c_out - channel);
                    break;
                case 2:
                    window_block<T, 2>(n, cells, step, steps, packed, start, activate, task.slope, target, unread,
                                       task.c_out - channel);
                    break;
                default:
                    if constexpr (kBlockVectors > 2) {
                        if (block.vectors == 3)
                            window_block<T, 3>(n, cells, step, steps, packed, start, activate, task.slope, target,
                                               unread, task.c_out - channel);
                        else
                            window_block<T, 4>(n, cells, step, steps, packed, start, activate, task.slope, target,
                                               unread, task.c_out - channel);
                    }
            }
        }
    }
}

namespace {

// sum[step][v] += window value of the step * gradient row, over n rows: S steps times V vectors in registers.
template <class T, int S, int V>
S3D_INLINE void window_gradient(const T* const* cells, const T* const* grad, int n, const int32_t* step, T* partial,
                                int64_t stride) {
    Vec<T> sum[S][V];
    for (int s = 0; s < S; ++s)
        for (int v = 0; v < V; ++v) sum[s][v] = load(partial + s * stride + v * kLanes<T>);
    for (int i = 0; i < n; ++i) {
        Vec<T> g[V];
        for (int v = 0; v < V; ++v) g[v] = load(grad[i] + v * kLanes<T>);
        for (int s = 0; s < S; ++s)
            for (int v = 0; v < V; ++v) sum[s][v] += cells[i][step[s]] * g[v];
    }
    for (int s = 0; s < S; ++s)
        for (int v = 0; v < V; ++v) store(partial + s * stride + v * kLanes<T>, sum[s][v]);
}

template <class T, int V>
S3D_INLINE void window_gradients(const T* const* cells, const T* const* grad, int n, const int32_t* step, int steps,
                                 T* partial, int64_t stride) {
    constexpr int S = kRegisters == 32 ? 8 : 4;
    int s = 0;
    for (; s + S <= steps; s += S) window_gradient<T, S, V>(cells, grad, n, step + s, partial + s * stride, stride);
    for (; s < steps; ++s) window_gradient<T, 1, V>(cells, grad, n, step + s, partial + s * stride, stride);
}

}  // namespace

template <class T>
size_t few_channels_gradient_scratch(const WeightGradientTask<T>& task) {
    const int volume = task.window.kernel[0] * task.window.kernel[1] * task.window.kernel[2];
    return lines_bytes<T>(lines_of(task.window, task.c_in, true)) + size_t(volume) * size_t(task.c_in + 1) * 4 + 64 +
           size_t(task.width) * 64 * sizeof(T) + 64;
}

template <class T>
void few_channels_gradient_words(const WeightGradientTask<T>& task, uint32_t first, uint32_t last, const T* grad,
                                 bool by_rank, T* partial, void* memory) {
    const Window& w = task.window;
    const Lines lines = lines_of(w, task.c_in, task.flags != 0);
    const int steps = w.kernel[0] * w.kernel[1] * w.kernel[2] * lines.channels;
    Scratch scratch{static_cast<char*>(memory)};
    T* buffer = scratch.take<T>(size_t(lines.count) * size_t(lines.cells) * size_t(lines.channels));
    int32_t* step = scratch.take<int32_t>(size_t(steps));
    T* padded = scratch.take<T>(size_t(task.width) * 64);
    list_steps(w, lines, step);
    for (uint32_t slot = first; slot < last; ++slot) {
        int word_x;
        const Line at = line_of(task.out, task.out.word[slot], word_x);
        write_lines(task.in, w, lines, at, word_x * 64, task.features, task.background, buffer);
        const T* cells[64];
        const T* rows[64];
        int n = 0;
        for (uint64_t rest = task.out.bits[slot]; rest != 0; rest &= rest - 1, ++n) {
            const int64_t rank = int64_t(task.out.base[slot]) + n;
            cells[n] = buffer + int64_t(kMargin + lowest(rest) * w.stride[2]) * lines.channels;
            rows[n] = grad + (by_rank || task.out.rows == nullptr ? rank : task.out.rows[rank]) * task.c_out;
            if (task.width != task.c_out) {  // whole vectors are read
                T* copied = padded + int64_t(n) * task.width;
                for (int c = 0; c < task.width; ++c) copied[c] = c < task.c_out ? rows[n][c] : T(0);
                rows[n] = copied;
            }
        }
        int c = 0;
        for (; c + 2 * kLanes<T> <= task.width; c += 2 * kLanes<T>) {
            window_gradients<T, 2>(cells, rows, n, step, steps, partial + c, task.width);
            for (int i = 0; i < n; ++i) rows[i] += 2 * kLanes<T>;
        }
        if (c < task.width) window_gradients<T, 1>(cells, rows, n, step, steps, partial + c, task.width);
    }
}

#define S3D_INSTANTIATE(T)                                                                                             \
    template size_t few_channels_scratch<T>(const ConvolutionTask<T>&);                                                \
    template void few_channels_words<T>(const ConvolutionTask<T>&, uint32_t, uint32_t, T*, bool, void*);               \
    template size_t few_channels_gradient_scratch<T>(const WeightGradientTask<T>&);                                    \
    template void few_channels_gradient_words<T>(const WeightGradientTask<T>&, uint32_t, uint32_t, const T*, bool, T*, \
                                                 void*);
S3D_INSTANTIATE(float)
S3D_INSTANTIATE(double)

}  // namespace S3D_ISA
}  // namespace sparse3d
