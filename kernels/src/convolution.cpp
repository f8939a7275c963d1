#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "isa.h"
#include "row_sums.h"
#include "site_index.h"
#include "threads.h"
#include "winograd.h"

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

bool has_few_channels(const Window& w, int volume, int c_in) {
    return c_in <= 4 && volume * c_in <= 512 && !w.transposed;
}

// Rows of a tile: enough to reuse each offset's weights, few enough for the sums to stay in the cache and for many
// tiles to share out. A function of sizes alone, never of the number of threads.
int tile_rows_for(std::int64_t rows, int tiles) {
    return int(std::clamp<std::int64_t>((rows / tiles + 63) / 64 * 64, 64, 256));
}

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
    bool bfloat16 = false;
};

// Everything of a product but its tiles: packed weights, and what an output holds before any input is met.
template <class T>
struct Prepared {
    ConvolutionTask<T> task;
    Scratchpad pad;
};

// Features (n, c_in) and background rounded to bfloat16, the background as a float again.
void round_inputs(const Product<float>& p, std::int64_t n, Halves* features, float* background, int threads) {
    const Bfloat16Kernels& k = *kernels().bf16;
    const std::int64_t pairs = (p.c_in + 1) / 2;
    constexpr std::int64_t kRows = 1024;
    parallel_for((n + kRows - 1) / kRows, threads, [&](std::int64_t block, int) {
        const std::int64_t first = block * kRows;
        k.round_rows(p.features + first * p.c_in, std::min(kRows, n - first), p.c_in, features + first * pairs);
    });
    if (p.background == nullptr) return;
    std::vector<Halves> rounded(static_cast<std::size_t>(pairs));
    k.round_rows(p.background, 1, p.c_in, rounded.data());
    for (int c = 0; c < p.c_in; ++c) {
        const std::uint32_t both = rounded[std::size_t(c / 2)].bits,
                            bits = c % 2 == 0 ? both << 16 : both & 0xffff0000u;
        std::memcpy(background + c, &bits, sizeof bits);
    }
}

// `pays`: for Winograd, which takes the missing inputs as they are.
template <class T>
Prepared<T> prepare(const Plan& plan, const Product<T>& p, T* result, bool pays, int threads) {
    const TypedKernels<T>& k = typed_kernels<T>();
    ConvolutionTask<T> task{};
    task.in = plan.in->view();
    task.out = plan.out->view();
    task.window = window_of(plan.geometry);
    const int volume = plan.geometry.volume(), phases = phase_count(task.window);
    task.c_in = p.c_in;
    task.c_out = p.c_out;
    task.width = round_up(p.c_out, k.lanes);
    task.features = p.features;
    task.background = p.background;
    task.few_channels = has_few_channels(task.window, volume, p.c_in) && p.weight_stride_in == 1;
    task.leaky = p.leaky;
    task.slope = p.slope;
    task.result = result;

    const std::size_t width = std::size_t(task.width);
    const std::size_t packed_size = std::size_t(volume) * std::size_t(p.c_in) * width;
    const bool rounds = p.bfloat16 && !task.few_channels && !pays;
    const std::size_t pairs = rounds ? std::size_t(p.c_in + 1) / 2 : 0, inputs = std::size_t(plan.in->count());
    Scratchpad pad((packed_size + (std::size_t(volume) + std::size_t(phases)) * width) * sizeof(T) +
                   ((inputs + std::size_t(volume) * width) * sizeof(Halves) + 2 * sizeof(float)) * pairs + 6 * 64);
    char* next = pad.as<char>();
    T* packed = part<T>(next, packed_size);
    T* missing = part<T>(next, std::size_t(volume) * width);
    T* start = part<T>(next, std::size_t(phases) * width);
    task.packed = packed;
    task.missing = missing;
    task.start = start;

    Halves* packed_halves = part<Halves>(next, std::size_t(volume) * width * pairs);
    const T* background = p.background;
    if constexpr (std::is_same_v<T, float>)
        if (rounds) {
            Halves* features = part<Halves>(next, inputs * pairs);
            float* rounded_background = part<float>(next, 2 * pairs);
            round_inputs(p, std::int64_t(inputs), features, rounded_background, threads);
            task.packed_halves = packed_halves;
            task.features_halves = features;
            if (background != nullptr) background = rounded_background;
        }

    const bool counts_missing = p.background != nullptr && !task.few_channels && !pays;
    const int vectors = task.width / k.lanes;
    if (task.few_channels) {
        k.pack_weight(p.weight, p.weight_stride_out, 1, p.c_out, volume * p.c_in, 0, vectors, packed);
    } else {
        const auto pack = [&](std::int64_t offset, int first, int last) {
            T* block = packed + std::size_t(offset) * std::size_t(p.c_in) * width;
            k.pack_weight(p.weight + offset * p.weight_stride_offset, p.weight_stride_out, p.weight_stride_in, p.c_out,
                          p.c_in, first, last, block);
            if constexpr (std::is_same_v<T, float>)
                if (rounds)
                    kernels().bf16->round_packed(block, p.c_in, task.width,
                                                 packed_halves + std::size_t(offset) * pairs * width);
            if (counts_missing)
                k.packed_times_vector(block, background, p.c_in, task.width, first, last,
                                      missing + std::size_t(offset) * width);
        };
        // All weights of an output channel lie together, and are best read in one go; rounding takes an offset as a
        // whole.
        const bool by_output = p.weight_stride_in == 1 && !rounds;
        parallel_for(by_output ? vectors : volume, packed_size > 8000 ? threads : 1, [&](std::int64_t part, int) {
            if (!by_output) pack(part, 0, vectors);
            for (int offset = 0; by_output && offset < volume; ++offset) pack(offset, int(part), int(part) + 1);
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
    return {task, std::move(pad)};
}

// What a window without any site gives: bias, and all weights times the background; before any activation.
template <class T>
void empty_window(const Plan& plan, const Convolution<T>& args, T* result, int threads) {
    // the background once for each offset, as a row of weights has it
    const std::int64_t each = std::int64_t(plan.geometry.volume()) * args.c_in;
    const Scratchpad pad(std::size_t(each) * sizeof(T));
    T* repeated = pad.as<T>();
    for (int offset = 0; offset < plan.geometry.volume() && args.background != nullptr; ++offset)
        std::copy_n(args.background, args.c_in, repeated + std::int64_t(offset) * args.c_in);
    constexpr std::int64_t kRows = 16;
    parallel_for(
        (args.c_out + kRows - 1) / kRows, each * args.c_out > 100000 ? threads : 1, [&](std::int64_t part, int) {
            for (std::int64_t o = part * kRows; o < std::min<std::int64_t>(args.c_out, (part + 1) * kRows); ++o) {
                result[o] = args.bias != nullptr ? args.bias[o] : T(0);
                if (args.background != nullptr)
                    result[o] += typed_kernels<T>().dot_product(args.weight + o * each, repeated, each);
            }
        });
}

template <class T>
void activate(const Convolution<T>& args, T* values) {
    for (int o = 0; o < args.c_out && args.activation == Activation::leaky_relu; ++o)
        values[o] = values[o] > 0 ? values[o] : args.slope * values[o];
}

// `start`, if not null, gets what an output holds before any input is met. Whether that is known.
template <class T>
bool multiply(const Plan& plan, const Product<T>& p, T* result, T* start, int threads) {
    if (plan.out->count() == 0) return false;
    const TypedKernels<T>& k = typed_kernels<T>();
    const bool pays = std::is_same_v<T, float> && winograd_pays(plan, p.c_in, p.c_out, false, p.bfloat16, threads);
    Prepared<T> prepared = prepare(plan, p, result, pays, threads);
    if constexpr (std::is_same_v<T, float>)
        if (pays) {
            winograd_multiply(plan, prepared.task, threads);
            return false;
        }
    ConvolutionTask<T>& task = prepared.task;
    if (start != nullptr) std::copy_n(task.start, p.c_out, start);
    task.tile_rows = tile_rows_for(task.out.n_sites, 24);
    const std::int64_t tiles = tile_count(task.out.n_sites, task.tile_rows);
    const int blocks = task.few_channels ? 1 : std::max(1, task.width / k.lanes / 4);
    task.splits = tiles < 8 ? int(std::min<std::int64_t>(blocks, (7 + tiles) / tiles)) : 1;
    const WorkerScratch scratch(k.convolution_scratch(task), threads);
    auto tile = k.convolution_tile;
    if constexpr (std::is_same_v<T, float>)
        if (task.features_halves != nullptr) tile = kernels().bf16->convolution_tile;
    parallel_for(tiles * task.splits, threads,
                 [&](std::int64_t index, int worker) { tile(task, index, scratch.of(worker)); });
    return !task.few_channels && phase_count(task.window) == 1;
}

// `unpaired` (volume, c_out): the gradient of the outputs that each offset does not reach.
template <class T>
void background_gradient(const Convolution<T>& args, int volume, const double* unpaired, T* background, int threads) {
    const std::int64_t rows = std::int64_t(args.c_out) * volume;
    const std::vector<double> sums =
        sum_stretches(rows, std::size_t(args.c_in), threads, [&](std::int64_t first, std::int64_t n, double* sum) {
            for (std::int64_t row = first; row < first + n; ++row) {
                const double g = unpaired[row % volume * args.c_out + row / volume];
                for (int c = 0; c < args.c_in; ++c) sum[c] += g * double(args.weight[row * args.c_in + c]);
            }
        });
    for (int c = 0; c < args.c_in; ++c) background[c] = T(sums[std::size_t(c)]);
}

// Partial sums of stretches of rows, then the stretches in order. `grad_background` (c_out), if not null: of the
// output's background, which is one more output that no offset reaches.
template <class T>
void weight_gradients(const Plan& plan, const Convolution<T>& args, const T* grad, const T* grad_background,
                      const PoolTask<T>* pool, const ConvolutionGradients<T>& result, int threads) {
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
    task.few_channels = has_few_channels(task.window, volume, c_in);
    task.features = args.features;
    task.grad = grad;
    task.background = args.background;
    task.width = round_up(task.few_channels ? c_out : c_in, k.lanes);
    task.stride_in = task.few_channels ? c_in : task.width;
    task.flags = task.few_channels && args.background != nullptr && result.background != nullptr;
    task.pool = pool;
    task.tile_rows = pool != nullptr ? pool->tile_rows : tile_rows_for(task.out.n_sites, 16);

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
    const std::size_t sum_rows = std::size_t(volume) * std::size_t(task.few_channels ? c_in + task.flags : c_out);
    const std::size_t each = sum_rows * std::size_t(task.width);
    const std::int64_t most =
        std::clamp<std::int64_t>(std::int64_t(8e6 / (double(each) * sizeof(T))), 1, task.few_channels ? 64 : 16);
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
            double sum = grad_background != nullptr ? double(grad_background[o]) : 0;
            for (int phase = 0; phase < phases; ++phase) sum += totals[std::size_t(phase * c_out + o)];
            result.bias[o] = T(sum);
        }

    // What every offset did not reach was multiplied with the background.
    if (args.background != nullptr) {
        for (int offset = 0; offset < volume; ++offset)
            for (int o = 0; o < c_out; ++o) {
                double sum = grad_background != nullptr ? double(grad_background[o]) : 0;
                if (task.few_channels) {
                    for (std::int64_t chunk = 0; chunk < chunks && task.flags; ++chunk)
                        sum += double(task.partial[chunk * std::int64_t(each) +
                                                   std::int64_t(volume * c_in + offset) * task.width + o]);
                } else {
                    for (int phase = 0; phase < phases; ++phase)
                        if (in_phase(task.window, offset, phase)) sum += totals[std::size_t(phase * c_out + o)];
                    for (std::int64_t chunk = 0; chunk < chunks; ++chunk)
                        sum -= task.paired[(chunk * volume + offset) * c_out + o];
                }
                unpaired[std::size_t(offset) * std::size_t(c_out) + std::size_t(o)] = sum;
            }
        if (result.background != nullptr) background_gradient(args, volume, unpaired, result.background, threads);
    }

    if (result.weight == nullptr) return;
    parallel_for(c_out, threads, [&](std::int64_t o, int) {
        for (int offset = 0; offset < volume; ++offset) {
            T* to = result.weight + (o * volume + offset) * c_in;
            const std::int64_t from =
                task.few_channels ? std::int64_t(offset) * c_in * task.width + o : (o * volume + offset) * task.width;
            const std::int64_t step = task.few_channels ? task.width : 1;
            T g = T(0);  // few_channels writes missing inputs out
            if (args.background != nullptr && !task.few_channels)
                g = T(unpaired[std::size_t(offset) * std::size_t(c_out) + std::size_t(o)]);
            else if (args.background != nullptr && grad_background != nullptr)
                g = grad_background[o];
            for (int c = 0; c < c_in; ++c) to[c] = g == T(0) ? T(0) : g * args.background[c];
            for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
                const T* sum = task.partial + chunk * std::int64_t(each) + from;
                for (int c = 0; c < c_in; ++c) to[c] += sum[c * step];
            }
        }
    });
}

template <class T>
Product<T> forward_product(const Plan& plan, const Convolution<T>& args) {
    return {args.features,
            args.weight,
            args.bias,
            args.background,
            args.c_in,
            args.c_out,
            std::int64_t(plan.geometry.volume()) * args.c_in,
            1,
            args.c_in,
            args.activation == Activation::leaky_relu,
            args.slope,
            std::is_same_v<T, float> && args.bfloat16};
}

// Can the convolution's rows be pooled while they are in the cache?
template <class T>
bool pools_in_cache(const Plan& plan, const Convolution<T>& args) {
    return has_few_channels(window_of(plan.geometry), plan.geometry.volume(), args.c_in) && plan.out->rows.empty();
}

}  // namespace

template <class T>
void convolution(const Plan& plan, const Convolution<T>& args, T* result, T* background, int threads) {
    const bool known = multiply<T>(plan, forward_product(plan, args), result, background, threads);
    if (background == nullptr) return;
    if (!known) empty_window(plan, args, background, threads);
    activate(args, background);
}

template <class T>
void convolution_backward(const Plan& plan, const Convolution<T>& args, const T* grad, const T* grad_background,
                          const ConvolutionGradients<T>& result, int threads) {
    const int volume = plan.geometry.volume();
    if (result.features != nullptr) {
        const Plan reversed{plan.out, plan.in, plan.geometry.reversed()};
        multiply<T>(reversed,
                    {grad, args.weight, nullptr, nullptr, args.c_out, args.c_in, 1, std::int64_t(volume) * args.c_in,
                     args.c_in, false, T(0)},
                    result.features, nullptr, threads);
    }
    if (result.weight == nullptr && result.bias == nullptr && result.background == nullptr) return;
    if constexpr (std::is_same_v<T, float>)
        if (result.weight != nullptr && winograd_pays(plan, args.c_in, args.c_out, true, false, threads)) {
            winograd_weight_gradients(plan, args, grad, grad_background, result.weight, threads);
            const auto ground = [&](int o) { return grad_background != nullptr ? grad_background[o] : T(0); };
            if (result.bias != nullptr) {
                sum_rows(plan.out->count(), args.c_out, result.bias, threads,
                         [&](std::int64_t row, int c) { return grad[row * args.c_out + c]; });
                for (int o = 0; o < args.c_out; ++o) result.bias[o] += ground(o);
            }
            if (result.background != nullptr && args.background != nullptr) {
                std::vector<double> missing(std::size_t(volume * args.c_out));
                missing_rows(plan, grad, args.c_out, missing.data(), threads);
                for (std::size_t i = 0; i < missing.size(); ++i) missing[i] += double(ground(int(i) % args.c_out));
                background_gradient(args, volume, missing.data(), result.background, threads);
            }
            return;
        }
    weight_gradients<T>(plan, args, grad, grad_background, nullptr, result, threads);
}

template <class T>
void leaky_relu_backward(const T* grad, const T* values, T slope, std::int64_t n, T* result, int threads) {
    constexpr std::int64_t kPart = 16384;
    parallel_for((n + kPart - 1) / kPart, threads, [&](std::int64_t part, int) {
        for (std::int64_t i = part * kPart; i < std::min(n, (part + 1) * kPart); ++i)
            result[i] = values[i] > 0 ? grad[i] : slope * grad[i];
    });
}

template <class T>
void pooled_convolution(const Plan& plan, const Convolution<T>& args, const Plan& pool_plan, T* values,
                        std::int32_t* rows, T* background, int threads) {
    std::vector<T> ground(std::size_t(args.c_out));
    const T* pool_background = args.background != nullptr ? ground.data() : nullptr;
    if (!pools_in_cache(plan, args)) {
        const Scratchpad whole(std::size_t(plan.out->count()) * std::size_t(args.c_out) * sizeof(T) + 64);
        convolution(plan, args, whole.as<T>(), ground.data(), threads);
        if (background != nullptr) std::copy(ground.begin(), ground.end(), background);
        max_pool(pool_plan, whole.as<T>(), pool_background, args.c_out, values, rows, threads);
        return;
    }
    empty_window(plan, args, ground.data(), threads);
    if (background != nullptr) {
        std::copy(ground.begin(), ground.end(), background);
        activate(args, background);
    }
    const TypedKernels<T>& k = typed_kernels<T>();
    PoolTask<T> pool{};
    pool.in = pool_plan.in->view();
    pool.out = pool_plan.out->view();
    if (pool.out.n_sites == 0) return;
    pool.window = window_of(pool_plan.geometry);
    pool.channels = args.c_out;
    pool.tile_rows = 128;
    pool.background = pool_background;
    pool.values = values;
    pool.rows = rows;
    Product<T> product = forward_product(plan, args);
    if (product.leaky && product.slope >= 0) {  // monotone, so the maximum may come first
        product.leaky = false;
        pool.leaky = 1;
        pool.slope = product.slope;
    } else {
        activate(args, ground.data());
    }
    Prepared<T> prepared = prepare<T>(plan, product, nullptr, false, threads);
    // Bands small enough for what they keep to stay in the cache, and for the last ones to end at the same time; larger
    // ones where few sites are scattered over a large grid.
    int planes = 4, lines = 8;
    const auto deep = [&] { return (pool.out.z + planes - 1) / planes; };
    const auto high = [&] { return (pool.out.y + lines - 1) / lines; };
    const auto bands = [&] { return std::int64_t(pool.out.batch) * deep() * high(); };
    while (bands() > 64 + pool.out.n_sites / 64 && (deep() > 1 || high() > 1)) (high() > 1 ? lines : planes) *= 2;
    const auto band = [&](std::int64_t task) {
        const int z = int(task / high() % deep()) * planes, y = int(task % high()) * lines;
        return Band{int(task / high() / deep()), z, std::min(z + planes, pool.out.z), y,
                    std::min(y + lines, pool.out.y)};
    };
    const std::int64_t tasks = bands();
    for (std::int64_t task = 0; task < tasks; ++task)
        prepared.task.kept_rows =
            std::max(prepared.task.kept_rows, k.pooled_convolution_rows(prepared.task, pool, band(task)));
    const WorkerScratch scratch(k.pooled_convolution_scratch(prepared.task, pool), threads);
    parallel_for(tasks, threads, [&](std::int64_t task, int worker) {
        k.pooled_convolution_band(prepared.task, pool, band(task), scratch.of(worker));
    });
}

template <class T>
void pooled_convolution_backward(const Plan& plan, const Convolution<T>& args, const Plan& pool_plan, const T* grad,
                                 const T* grad_background, const std::int32_t* rows,
                                 const ConvolutionGradients<T>& result, int threads) {
    const std::int64_t m = pool_plan.out->count();
    std::vector<T> of_background(std::size_t(args.c_out));
    const auto add_that_of_background = [&] {
        if (args.background == nullptr)
            std::fill(of_background.begin(), of_background.end(), T(0));  // the pool met none
        for (std::size_t c = 0; c < of_background.size() && grad_background != nullptr; ++c)
            of_background[c] += grad_background[c];
    };
    if (!pools_in_cache(plan, args) || result.features != nullptr) {
        const Scratchpad whole(std::size_t(plan.out->count()) * std::size_t(args.c_out) * sizeof(T) + 64);
        max_pool_backward(pool_plan, grad, rows, args.c_out, whole.as<T>(), of_background.data(), threads);
        add_that_of_background();
        convolution_backward(plan, args, whole.as<T>(), of_background.data(), result, threads);
        return;
    }
    PoolTask<T> pool{};
    pool.in = pool_plan.out->view();
    pool.out = pool_plan.in->view();
    pool.window = window_of(pool_plan.geometry.reversed());
    pool.channels = args.c_out;
    pool.tile_rows = tile_rows_for(pool.out.n_sites, 16);
    pool.features = grad;
    pool.origin = rows;
    sum_unclaimed(m, args.c_out, grad, rows, of_background.data(), threads);
    add_that_of_background();
    weight_gradients<T>(plan, args, nullptr, of_background.data(), &pool, result, threads);
}

#define S3D_INSTANTIATE(T)                                                                                            \
    template void convolution<T>(const Plan&, const Convolution<T>&, T*, T*, int);                                    \
    template void convolution_backward<T>(const Plan&, const Convolution<T>&, const T*, const T*,                     \
                                          const ConvolutionGradients<T>&, int);                                       \
    template void leaky_relu_backward<T>(const T*, const T*, T, std::int64_t, T*, int);                               \
    template void pooled_convolution<T>(const Plan&, const Convolution<T>&, const Plan&, T*, std::int32_t*, T*, int); \
    template void pooled_convolution_backward<T>(const Plan&, const Convolution<T>&, const Plan&, const T*, const T*, \
                                                 const std::int32_t*, const ConvolutionGradients<T>&, int);
S3D_INSTANTIATE(float)
S3D_INSTANTIATE(double)

}  // namespace sparse3d
