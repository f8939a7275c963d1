// The gradients of a convolution's weight, bias and background: sums over stretches of rows, then the stretches in
// order.
#include <vector>

#include "product.h"
#include "row_sums.h"
#include "simd/weight_gradient.h"

namespace sparse3d {

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

namespace {

// Features in whole vectors, which the kernels read: odd channels are copied into padded rows.
template <class T>
Scratchpad padded_features(WeightGradientTask<T>& task, int threads) {
    const bool pads = !task.few_channels && task.width != task.c_in;
    const std::int64_t n = task.in.n_sites;
    Scratchpad pad(pads ? std::size_t(n) * std::size_t(task.width) * sizeof(T) : 64);
    if (!pads) return pad;
    constexpr std::int64_t kRows = 1024;
    T* rows = pad.as<T>();
    parallel_for((n + kRows - 1) / kRows, threads, [&](std::int64_t block, int) {
        for (std::int64_t i = block * kRows; i < std::min(n, (block + 1) * kRows); ++i) {
            T* row = rows + i * task.width;
            std::copy_n(task.features + i * task.c_in, task.c_in, row);
            std::fill_n(row + task.c_in, task.width - task.c_in, T(0));
        }
    });
    task.features = rows;
    return pad;
}

// The sums of one call: how they are cut into chunks of tiles, each of which is summed on its own, and into groups of
// offsets; a function of sizes alone.
template <class T>
struct WeightSums {
    WeightGradientTask<T> task;
    int volume, phases, groups;
    std::int64_t chunks;
    std::int64_t each;  // sums of a chunk

    explicit WeightSums(const WeightGradientTask<T>& given, int kernel_volume)
        : task(given), volume(kernel_volume), phases(phase_count(given.window)) {
        const std::int64_t tiles = tile_count(task.out.n_sites, task.tile_rows);
        each = std::int64_t(volume) * (task.few_channels ? task.c_in + task.flags : task.c_out) * task.width;
        const std::int64_t fit = std::int64_t(8e6 / (double(each) * sizeof(T)));
        chunks = std::max<std::int64_t>(
            1, std::min(std::clamp<std::int64_t>(fit, 1, task.few_channels ? 64 : 16), tiles / 4));
        task.tiles_per_chunk = int(std::max<std::int64_t>(1, (tiles + chunks - 1) / chunks));
        groups = task.few_channels ? 1 : int(std::min<std::int64_t>(volume, (16 + chunks - 1) / chunks));
    }

    std::size_t bytes() const {
        return std::size_t(chunks * each) * sizeof(T) +
               std::size_t(chunks * task.c_out * (volume + phases)) * sizeof(double) + 3 * 64;
    }
    void lie_in(char* memory) {
        task.partial = part<T>(memory, std::size_t(chunks * each));
        task.paired = part<double>(memory, std::size_t(chunks * task.c_out * volume));
        task.total = part<double>(memory, std::size_t(chunks * task.c_out * phases));
    }

    // What one task adds to starts at zero.
    void clear(std::int64_t chunk, int first, int last) const {
        if (task.few_channels) {
            std::fill_n(task.partial + chunk * each, each, T(0));
        } else {
            for (int o = 0; o < task.c_out; ++o)
                std::fill_n(task.partial + chunk * each + (std::int64_t(o) * volume + first) * task.width,
                            std::int64_t(last - first) * task.width, T(0));
            std::fill_n(task.paired + (chunk * volume + first) * task.c_out, (last - first) * task.c_out, 0.0);
        }
        if (first == 0) std::fill_n(task.total + chunk * phases * task.c_out, phases * task.c_out, 0.0);
    }

    void run(int threads) const {
        const WorkerScratch scratch(chosen::weight_gradient_scratch<T>(task), threads);
        parallel_for(chunks * groups, threads, [&](std::int64_t index, int worker) {
            const std::int64_t chunk = index / groups;
            const int group = int(index % groups);
            const int first = volume * group / groups, last = volume * (group + 1) / groups;
            clear(chunk, first, last);
            chosen::weight_gradient_chunk<T>(task, chunk, first, last, scratch.of(worker));
        });
    }

    // (phases, c_out): the sum of the gradient over the rows of each phase.
    std::vector<double> totals() const {
        std::vector<double> sums(std::size_t(phases * task.c_out), 0.0);
        for (std::int64_t chunk = 0; chunk < chunks; ++chunk)
            for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += task.total[std::size_t(chunk) * sums.size() + i];
        return sums;
    }

    // The gradient of output channel o over the rows that an offset does not reach, from `sum` on.
    double unpaired(int offset, int o, double sum, const std::vector<double>& totals) const {
        if (task.few_channels) {
            for (std::int64_t chunk = 0; chunk < chunks && task.flags; ++chunk)
                sum += double(task.partial[chunk * each + std::int64_t(volume * task.c_in + offset) * task.width + o]);
            return sum;
        }
        for (int phase = 0; phase < phases; ++phase)
            if (in_phase(task.window, offset, phase)) sum += totals[std::size_t(phase * task.c_out + o)];
        for (std::int64_t chunk = 0; chunk < chunks; ++chunk)
            sum -= task.paired[(chunk * volume + offset) * task.c_out + o];
        return sum;
    }

    // to (c_in) += the sums of one offset and output channel, chunk by chunk
    void add(int offset, std::int64_t o, T* to) const {
        const std::int64_t from =
            task.few_channels ? std::int64_t(offset) * task.c_in * task.width + o : (o * volume + offset) * task.width;
        const std::int64_t step = task.few_channels ? task.width : 1;
        for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
            const T* sum = task.partial + chunk * each + from;
            for (int c = 0; c < task.c_in; ++c) to[c] += sum[c * step];
        }
    }
};

template <class T>
WeightGradientTask<T> task_of(const Plan& plan, const Convolution<T>& args, const T* grad, const PoolTask<T>* pool,
                              bool of_background) {
    WeightGradientTask<T> task{};
    task.in = plan.in->view();
    task.out = plan.out->view();
    task.window = window_of(plan.geometry);
    task.c_in = args.c_in;
    task.c_out = args.c_out;
    task.few_channels = has_few_channels(task.window, plan.geometry.volume(), args.c_in);
    task.features = args.features;
    task.grad = grad;
    task.background = args.background;
    task.width = round_up(task.few_channels ? args.c_out : args.c_in, chosen::lanes<T>());
    task.stride_in = task.few_channels ? args.c_in : task.width;
    task.flags = task.few_channels && args.background != nullptr && of_background;
    task.pool = pool;
    task.tile_rows = pool != nullptr ? pool->tile_rows : tile_rows_for(task.out.n_sites, 16);
    return task;
}

}  // namespace

template <class T>
void weight_gradients(const Plan& plan, const Convolution<T>& args, const T* grad, const T* grad_background,
                      const PoolTask<T>* pool, const ConvolutionGradients<T>& result, int threads) {
    const int volume = plan.geometry.volume(), c_in = args.c_in, c_out = args.c_out;
    WeightGradientTask<T> task = task_of(plan, args, grad, pool, result.background != nullptr);
    const Scratchpad padded = padded_features(task, threads);
    WeightSums<T> sums(task, volume);
    const Scratchpad pad(sums.bytes());
    sums.lie_in(pad.as<char>());
    sums.run(threads);

    const auto ground = [&](std::int64_t o) { return grad_background != nullptr ? grad_background[o] : T(0); };
    const std::vector<double> totals = sums.totals();
    for (int o = 0; o < c_out && result.bias != nullptr; ++o) {
        double sum = double(ground(o));
        for (int phase = 0; phase < sums.phases; ++phase) sum += totals[std::size_t(phase * c_out + o)];
        result.bias[o] = T(sum);
    }

    // What every offset did not reach was multiplied with the background.
    std::vector<double> unpaired(args.background != nullptr ? std::size_t(volume) * std::size_t(c_out) : 0);
    for (std::size_t i = 0; i < unpaired.size(); ++i) {
        const int offset = int(i) / c_out, o = int(i) % c_out;
        unpaired[i] = sums.unpaired(offset, o, double(ground(o)), totals);
    }
    if (args.background != nullptr && result.background != nullptr)
        background_gradient(args, volume, unpaired.data(), result.background, threads);

    if (result.weight == nullptr) return;
    parallel_for(c_out, threads, [&](std::int64_t o, int) {
        for (int offset = 0; offset < volume; ++offset) {
            T* to = result.weight + (o * volume + offset) * c_in;
            T g = T(0);
            if (args.background != nullptr)  // few_channels writes missing inputs out
                g = task.few_channels ? ground(o)
                                      : T(unpaired[std::size_t(offset) * std::size_t(c_out) + std::size_t(o)]);
            for (int c = 0; c < c_in; ++c) to[c] = g == T(0) ? T(0) : g * args.background[c];
            sums.add(offset, o, to);
        }
    });
}

#define S3D_INSTANTIATE(T)                                                                                        \
    template void background_gradient<T>(const Convolution<T>&, int, const double*, T*, int);                     \
    template void weight_gradients<T>(const Plan&, const Convolution<T>&, const T*, const T*, const PoolTask<T>*, \
                                      const ConvolutionGradients<T>&, int);
S3D_INSTANTIATE(float)
S3D_INSTANTIATE(double)

}  // namespace sparse3d
