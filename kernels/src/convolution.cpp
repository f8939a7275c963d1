#include <algorithm>
#include <vector>

#include "isa.h"
#include "site_index.h"
#include "threads.h"

namespace sparse3d {
namespace {

int round_up(int n, int to) { return (n + to - 1) / to * to; }

int phase_count(const Window& w) { return w.transposed ? w.stride[0] * w.stride[1] * w.stride[2] : 1; }

// Does offset k reach the outputs of this phase?
bool in_phase(const Window& w, int k, int phase) {
    if (!w.transposed) return true;
    for (int axis = 2; axis >= 0; --axis) {
        const int offset = k % w.kernel[axis], position = phase % w.stride[axis];
        k /= w.kernel[axis];
        phase /= w.stride[axis];
        if ((position - offset * w.dilation[axis]) % w.stride[axis] != 0) return false;
    }
    return true;
}

// Small windows of few channels are cheaper copied side by side than multiplied offset by offset.
bool copies_windows(const Window& w, int volume, int c_in) {
    return c_in <= 4 && volume * c_in <= 512 && phase_count(w) == 1;
}

// Rows of a tile: enough to reuse each offset's weights, few enough for the sums to stay in the cache and for many
// tiles to share out. A function of sizes alone, never of the number of threads.
int tile_rows_for(std::int64_t rows) { return int(std::clamp<std::int64_t>((rows / 16 + 63) / 64 * 64, 64, 256)); }

std::int64_t tile_count(std::int64_t rows, int tile_rows) { return (rows + tile_rows - 1) / tile_rows; }

template <class T>
T* part(char*& next, std::size_t n) {
    char* p = next;
    next += (n * sizeof(T) + 63) / 64 * 64;
    return reinterpret_cast<T*>(p);
}

// The forward convolution and, with input and output exchanged, the gradient of the features.
template <class T>
struct Product {
    const T *features, *weight, *bias, *background;
    int c_in, c_out;
    std::int64_t weight_stride_out, weight_stride_in, weight_stride_offset;
    bool leaky;
    T slope;
};

template <class T>
void multiply(const Plan& plan, const Product<T>& p, T* result, int threads) {
    const TypedKernels<T>& k = typed_kernels<T>();
    ConvolutionTask<T> task{};
    task.in = plan.in->view();
    task.out = plan.out->view();
    if (task.out.n_sites == 0) return;
    task.window = window_of(plan.geometry);
    const int volume = plan.geometry.volume(), phases = phase_count(task.window);
    task.c_in = p.c_in;
    task.c_out = p.c_out;
    task.width = round_up(p.c_out, k.lanes);
    task.features = p.features;
    task.background = p.background;
    task.few_channels = copies_windows(task.window, volume, p.c_in) && p.weight_stride_in == 1;
    task.leaky = p.leaky;
    task.slope = p.slope;
    task.result = result;

    const std::size_t width = std::size_t(task.width);
    const std::size_t packed_size = std::size_t(volume) * std::size_t(p.c_in) * width;
    const Scratchpad pad((packed_size + (std::size_t(volume) + std::size_t(phases)) * width) * sizeof(T) + 3 * 64);
    char* next = pad.as<char>();
    T* packed = part<T>(next, packed_size);
    T* missing = part<T>(next, std::size_t(volume) * width);
    T* start = part<T>(next, std::size_t(phases) * width);
    task.packed = packed;
    task.missing = missing;
    task.start = start;

    const bool counts_missing = p.background != nullptr && !task.few_channels;
    if (task.few_channels) {
        k.pack_weight(p.weight, p.weight_stride_out, 1, p.c_out, volume * p.c_in, packed);
    } else {
        parallel_for(volume, packed_size > 20000 ? threads : 1, [&](std::int64_t offset, int) {
            T* block = packed + std::size_t(offset) * std::size_t(p.c_in) * width;
            k.pack_weight(p.weight + offset * p.weight_stride_offset, p.weight_stride_out, p.weight_stride_in, p.c_out, p.c_in, block);
            if (counts_missing)
                k.packed_times_vector(block, p.background, p.c_in, task.width, missing + std::size_t(offset) * width);
        });
    }
    if (counts_missing)
        task.missing_stride = task.width;
    else
        std::fill_n(missing, width, T(0));
    for (int phase = 0; phase < phases; ++phase) {
        T* row = start + std::size_t(phase) * width;
        std::fill_n(row, width, T(0));
        if (p.bias != nullptr) std::copy_n(p.bias, p.c_out, row);
        for (int offset = 0; offset < volume && counts_missing; ++offset)
            if (in_phase(task.window, offset, phase))
                for (std::size_t c = 0; c < width; ++c) row[c] += missing[std::size_t(offset) * width + c];
    }

    task.tile_rows = tile_rows_for(task.out.n_sites);
    const std::int64_t tiles = tile_count(task.out.n_sites, task.tile_rows);
    const int blocks = std::max(1, task.width / k.lanes / 4);
    task.splits = tiles < 8 ? int(std::min<std::int64_t>(blocks, (7 + tiles) / tiles)) : 1;
    const WorkerScratch scratch(k.convolution_scratch(task), threads);
    parallel_for(tiles * task.splits, threads,
                 [&](std::int64_t index, int worker) { k.convolution_tile(task, index, scratch.of(worker)); });
}

// Partial sums of stretches of rows, then the stretches in order.
template <class T>
void weight_gradients(const Plan& plan, const Convolution<T>& args, const T* grad, const ConvolutionGradients<T>& result, int threads) {
    const TypedKernels<T>& k = typed_kernels<T>();
    WeightGradientTask<T> task{};
    task.in = plan.in->view();
    task.out = plan.out->view();
    task.window = window_of(plan.geometry);
    const int volume = plan.geometry.volume(), phases = phase_count(task.window);
    const int c_in = args.c_in, c_out = args.c_out;
    const std::int64_t n = task.in.n_sites;
    task.c_in = c_in;
    task.c_out = c_out;
    task.few_channels = copies_windows(task.window, volume, c_in);
    task.features = args.features;
    task.grad = grad;
    task.background = args.background;
    task.width = round_up(task.few_channels ? volume * (c_in + 1) : c_in, k.lanes);
    task.stride_in = task.few_channels ? c_in : task.width;
    task.tile_rows = tile_rows_for(task.out.n_sites);

    // Whole vectors of features are read, so odd channels are copied into padded rows first.
    const bool pad_rows = !task.few_channels && task.width != c_in;
    const Scratchpad padded(pad_rows ? std::size_t(n) * std::size_t(task.width) * sizeof(T) : 64);
    if (pad_rows) {
        task.features = padded.as<T>();
        parallel_for((n + 1023) / 1024, threads, [&](std::int64_t block, int) {
            for (std::int64_t i = block * 1024; i < std::min(n, (block + 1) * 1024); ++i) {
                T* row = padded.as<T>() + i * task.width;
                std::copy_n(args.features + i * c_in, c_in, row);
                std::fill_n(row + c_in, task.width - c_in, T(0));
            }
        });
    }

    const std::int64_t tiles = tile_count(task.out.n_sites, task.tile_rows);
    const std::size_t each = std::size_t(c_out) * std::size_t(task.width) * std::size_t(task.few_channels ? 1 : volume);
    const std::int64_t most = std::clamp<std::int64_t>(std::int64_t(8e6 / (double(each) * sizeof(T))), 1, 16);
    const std::int64_t chunks = std::max<std::int64_t>(1, std::min(most, tiles / 4));
    task.tiles_per_chunk = int(std::max<std::int64_t>(1, (tiles + chunks - 1) / chunks));
    const int groups = task.few_channels ? 1 : int(std::min<std::int64_t>(volume, (16 + chunks - 1) / chunks));
    const std::size_t sums = std::size_t(chunks) * std::size_t(c_out);
    const Scratchpad pad(std::size_t(chunks) * each * sizeof(T) + sums * std::size_t(volume + phases) * sizeof(double) +
                         std::size_t(volume) * std::size_t(c_out) * sizeof(double) + 4 * 64);
    char* next = pad.as<char>();
    task.partial = part<T>(next, std::size_t(chunks) * each);
    task.paired = part<double>(next, sums * std::size_t(volume));
    task.total = part<double>(next, sums * std::size_t(phases));
    double* unpaired = part<double>(next, std::size_t(volume) * std::size_t(c_out));

    const WorkerScratch scratch(k.weight_gradient_scratch(task), threads);
    parallel_for(chunks * groups, threads, [&](std::int64_t index, int worker) {
        const std::int64_t chunk = index / groups;
        const int group = int(index % groups), first = volume * group / groups, last = volume * (group + 1) / groups;
        // this task's part of the sums starts at zero
        if (task.few_channels) {
            std::fill_n(task.partial + chunk * std::int64_t(each), each, T(0));
        } else {
            for (int o = 0; o < c_out; ++o)
                std::fill_n(task.partial + chunk * std::int64_t(each) + (std::int64_t(o) * volume + first) * task.width,
                            std::int64_t(last - first) * task.width, T(0));
            std::fill_n(task.paired + (chunk * volume + first) * c_out, (last - first) * c_out, 0.0);
        }
        if (first == 0) std::fill_n(task.total + chunk * phases * c_out, phases * c_out, 0.0);
        k.weight_gradient_chunk(task, chunk, first, last, scratch.of(worker));
    });

    std::vector<double> totals(std::size_t(phases * c_out), 0.0);
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk)
        for (int i = 0; i < phases * c_out; ++i) totals[std::size_t(i)] += task.total[chunk * phases * c_out + i];
    if (result.bias != nullptr)
        for (int o = 0; o < c_out; ++o) {
            double sum = 0;
            for (int phase = 0; phase < phases; ++phase) sum += totals[std::size_t(phase * c_out + o)];
            result.bias[o] = T(sum);
        }

    // What every offset did not reach was multiplied with the background.
    if (args.background != nullptr) {
        for (int offset = 0; offset < volume; ++offset)
            for (int o = 0; o < c_out; ++o) {
                double sum = 0;
                if (task.few_channels) {
                    for (std::int64_t chunk = 0; chunk < chunks; ++chunk)
                        sum += double(task.partial[chunk * std::int64_t(each) + std::int64_t(o) * task.width + volume * c_in + offset]);
                } else {
                    for (int phase = 0; phase < phases; ++phase)
                        if (in_phase(task.window, offset, phase)) sum += totals[std::size_t(phase * c_out + o)];
                    for (std::int64_t chunk = 0; chunk < chunks; ++chunk)
                        sum -= task.paired[(chunk * volume + offset) * c_out + o];
                }
                unpaired[std::size_t(offset) * std::size_t(c_out) + std::size_t(o)] = sum;
            }
        if (result.background != nullptr) {
            std::vector<double> sums_in(std::size_t(c_in), 0.0);
            for (int o = 0; o < c_out; ++o)
                for (int offset = 0; offset < volume; ++offset) {
                    const T* w = args.weight + (std::int64_t(o) * volume + offset) * c_in;
                    const double g = unpaired[std::size_t(offset) * std::size_t(c_out) + std::size_t(o)];
                    for (int c = 0; c < c_in; ++c) sums_in[std::size_t(c)] += g * double(w[c]);
                }
            for (int c = 0; c < c_in; ++c) result.background[c] = T(sums_in[std::size_t(c)]);
        }
    }

    if (result.weight == nullptr) return;
    parallel_for(c_out, threads, [&](std::int64_t o, int) {
        for (int offset = 0; offset < volume; ++offset) {
            T* to = result.weight + (o * volume + offset) * c_in;
            const std::int64_t from = task.few_channels ? o * task.width + offset * c_in : (o * volume + offset) * task.width;
            const T g = args.background != nullptr && !task.few_channels
                            ? T(unpaired[std::size_t(offset) * std::size_t(c_out) + std::size_t(o)])
                            : T(0);
            for (int c = 0; c < c_in; ++c) to[c] = g == T(0) ? T(0) : g * args.background[c];
            for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
                const T* sum = task.partial + chunk * std::int64_t(each) + from;
                for (int c = 0; c < c_in; ++c) to[c] += sum[c];
            }
        }
    });
}

}  // namespace

template <class T>
void convolution(const Plan& plan, const Convolution<T>& args, T* result, int threads) {
    const int volume = plan.geometry.volume();
    multiply<T>(plan,
                {args.features, args.weight, args.bias, args.background, args.c_in, args.c_out, std::int64_t(volume) * args.c_in,
                 1, args.c_in, args.activation == Activation::leaky_relu, args.slope},
                result, threads);
}

template <class T>
void convolution_backward(const Plan& plan, const Convolution<T>& args, const T* grad, const ConvolutionGradients<T>& result, int threads) {
    const int volume = plan.geometry.volume();
    if (result.features != nullptr) {
        const Plan reversed{plan.out, plan.in, plan.geometry.reversed()};
        multiply<T>(reversed,
                    {grad, args.weight, nullptr, nullptr, args.c_out, args.c_in, 1, std::int64_t(volume) * args.c_in, args.c_in, false, T(0)},
                    result.features, threads);
    }
    if (result.weight != nullptr || result.bias != nullptr || result.background != nullptr)
        weight_gradients(plan, args, grad, result, threads);
}

#define S3D_INSTANTIATE(T)                                                           \
    template void convolution<T>(const Plan&, const Convolution<T>&, T*, int); \
    template void convolution_backward<T>(const Plan&, const Convolution<T>&, const T*, const ConvolutionGradients<T>&, int);
S3D_INSTANTIATE(float)
S3D_INSTANTIATE(double)

}  // namespace sparse3d
