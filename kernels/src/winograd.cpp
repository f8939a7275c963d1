#include "winograd.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdlib>

#include "simd/index.h"
#include "simd/magnitude.h"
#include "simd/winograd.h"
#include "site_index.h"

namespace sparse3d {
namespace {

// Blocks for which all that one step touches stays in the L2 cache. More gain nothing, and for a window of 2 neither do
// more than one round of the product's rows.
int blocks_per_task(int c_in, int c_out, int window) {
    if (window == 2) return 24;
    const int fit = 640 * 1024 / (winograd_plane(window) * 4 * (c_in + c_out));
    return std::clamp(fit / 24 * 24, 24, 48);
}

int round_up(int n, int to) { return (n + to - 1) / to * to; }

WinogradTask block_task(const Plan& plan, int c_in, int c_out, int threads) {
    WinogradTask task{};
    task.in = plan.in->view();
    task.out = plan.out->view();
    task.blocks = plan.out->blocks(winograd_outputs_x(plan.geometry.kernel[0]), threads).view();
    task.window = plan.geometry.kernel[0];
    for (std::size_t axis = 0; axis < 3; ++axis)
        task.reach[axis] = plan.geometry.transposed ? plan.geometry.kernel[axis] - 1 - plan.geometry.padding[axis]
                                                    : plan.geometry.padding[axis];
    task.c_in = c_in;
    task.c_out = c_out;
    task.width = round_up(c_out, chosen::lanes<float>());
    task.blocks_per_task = blocks_per_task(c_in, task.width, task.window);
    return task;
}

// In each half of them, chunks get smaller from 1.6 to 0.4 of the mean: the last ones, which some worker does while
// others have nothing left to do, are small.
std::int64_t begin_of_chunk(std::int64_t chunk, std::int64_t chunks, std::int64_t tasks) {
    const std::int64_t first = chunks / 2;  // chunks of the first half
    const bool second = chunk >= first && chunks > 1;
    const double n = double(second ? chunks - first : std::max<std::int64_t>(first, 1)),
                 x = double(second ? chunk - first : chunk) / n;
    const double begin = second ? double(first) : 0, part = x * (1.6 - 0.6 * x) * n;
    return std::int64_t(double(tasks) * (begin + part) / double(chunks) + 0.5);
}

std::int64_t task_count(const WinogradTask& task) {
    return (std::int64_t(task.blocks.n_sites) + task.blocks_per_task - 1) / task.blocks_per_task;
}

// Beyond so many times the usual size, and beyond the absolute one, whose products with each other are finite whatever
// the transforms make of them, a value is out of proportion.
constexpr float kRange = 256, kLargest = 1e15f;

// Rows (n, channels) whose values must be in proportion. What is usual is the median of the largest magnitudes of some
// rows, taken from all over; rows of nothing but zeros say nothing about the size of others.
class Proportion {
public:
    Proportion(const float* rows, std::int64_t n, int channels) : rows_(rows), n_(n), channels_(channels) {
        constexpr std::int64_t kLooked = 1024, kStep = 389;  // coprime: each of them once, neighbours far apart
        constexpr std::size_t kWanted = 63;
        std::array<float, kWanted> sizes{};
        std::size_t found = 0;
        for (std::int64_t i = 0; i < std::min(n, kLooked) && found < kWanted; ++i) {
            const std::int64_t row = n <= kLooked ? i : i * kStep % kLooked * n / kLooked;
            const float size = chosen::largest_magnitude(rows + row * channels, channels);
            if (size > 0 && std::isfinite(size)) sizes[found++] = size;
        }
        if (found == 0) return;
        const auto middle = sizes.begin() + std::ptrdiff_t(found / 2);
        std::nth_element(sizes.begin(), middle, sizes.begin() + std::ptrdiff_t(found));
        most_ = std::min(kRange * *middle, kLargest);
    }

    bool holds(const float* values, std::int64_t count) const {
        return chosen::largest_magnitude(values, count) <= most_;  // never for what is not a number
    }
    // The rows of the tasks [first, last), of `all` that share them: about those which the tasks read next, so that
    // nothing is fetched for this alone.
    bool holds(std::int64_t first, std::int64_t last, std::int64_t all) const {
        const std::int64_t from = n_ * first / all, to = n_ * last / all;
        return holds(rows_ + from * channels_, (to - from) * channels_);
    }

private:
    const float* rows_;
    std::int64_t n_;
    int channels_;
    float most_ = 0;
};

// A variable of the environment, or what it was called in earlier versions.
const char* first_set(const char* name, const char* former) {
    const char* value = std::getenv(name);
    return value != nullptr ? value : std::getenv(former);
}

}  // namespace

bool winograd_pays(const Plan& plan, int c_in, int c_out, bool gradient, bool bfloat16, int threads) {
    const Geometry& g = plan.geometry;
    const int lanes = chosen::lanes<float>(), window = g.kernel[0];
    for (std::size_t axis = 0; axis < 3; ++axis)
        if (g.kernel[axis] != window || g.stride[axis] != 1 || g.dilation[axis] != 1) return false;
    if ((window != 2 && window != 3) || c_in % lanes != 0 || c_in < 16 || c_out < 16 || plan.out->count() < 64)
        return false;
    if (gradient && (c_out % lanes != 0 || g.transposed)) return false;
    // A block costs its products and the transforms, as much as `even` pairs; a full one has 432 (window of 3) or 64.
    static const char* const forced = first_set("NAPARI_SPARSE3D_WINOGRAD_PAIRS", "SPARSE3D_WINOGRAD_PAIRS");
    const double even = (forced != nullptr ? std::atof(forced) : window == 3 ? 150 : 40) * (bfloat16 ? 1.75 : 1);
    const SiteView in = plan.in->view(), out = plan.out->view();
    std::int64_t pairs = 0, outputs = 0, twos = 0;
    chosen::count_pairs(in, out, window_of(g), int(std::max<std::int64_t>(1, out.n_words / 64)), &pairs, &outputs,
                        &twos);
    // Blocks are counted only where it may pay: if they are as full along the other axes as two cells along x.
    const int out_x = winograd_outputs_x(window);
    const double along_x = double(outputs) / double(std::max<std::int64_t>(twos, 1));
    if (double(pairs) * along_x * along_x * along_x * (out_x / 2) < 0.7 * even * double(outputs)) return false;
    return double(pairs) * double(out.n_sites) / double(outputs) >
           even * double(plan.out->blocks(out_x, threads).count());
}

bool winograd_multiply(const Plan& plan, const ConvolutionTask<float>& direct, const KeptWeights<float>* kept,
                       int threads) {
    WinogradTask task = block_task(plan, direct.c_in, direct.c_out, threads);
    task.features = direct.features;
    task.start = direct.start;
    task.leaky = direct.leaky;
    task.slope = direct.slope;
    task.result = direct.result;

    const int points = (task.window + 1) * winograd_plane(task.window),
              volume = task.window * task.window * task.window;
    const std::int64_t each = std::int64_t(task.c_in) * task.width;
    KeptWeights<float>::Block pad = kept == nullptr ? nullptr : kept->find(Packing::transformed, nullptr, task.c_in);
    const bool ready = pad != nullptr;  // then the weights were in proportion
    if (!ready)
        pad = std::make_shared<const Scratchpad>(std::size_t(each) * std::size_t(points) * 4 +
                                                 std::size_t(task.c_in) * 4 + 128);
    float* transformed = pad->as<float>();
    float* zeros = transformed + each * points;
    if (!ready) std::fill_n(zeros, task.c_in, 0.0f);
    task.transformed = transformed;
    task.background = direct.background != nullptr ? direct.background : zeros;
    const float* offset[27];
    for (int i = 0; i < volume; ++i) offset[i] = direct.packed + (plan.geometry.transposed ? volume - 1 - i : i) * each;
    const Proportion weights(direct.packed, std::int64_t(volume) * task.c_in, task.width);
    const Proportion features(direct.features, task.in.n_sites, task.c_in);
    std::atomic<bool> in_proportion{features.holds(task.background, task.c_in)};
    constexpr std::int64_t kPart = 512;
    parallel_for(ready ? 0 : (each + kPart - 1) / kPart, threads, [&](std::int64_t part, int) {
        const std::int64_t first = part * kPart, last = std::min(each, (part + 1) * kPart);
        for (int i = 0; i < volume; ++i)
            if (!weights.holds(offset[i] + first, last - first)) in_proportion.store(false, std::memory_order_relaxed);
        chosen::winograd_weights(task.window, offset, transformed, each, first, last);
    });
    if (kept != nullptr && !ready && in_proportion) kept->put(Packing::transformed, nullptr, task.c_in, pad);
    const WorkerScratch scratch(chosen::winograd_scratch(task), threads);
    const std::int64_t tasks = task_count(task);
    parallel_for(tasks, threads, [&](std::int64_t index, int worker) {
        if (!in_proportion.load(std::memory_order_relaxed)) return;
        if (features.holds(index, index + 1, tasks))
            chosen::winograd_convolution(task, index, scratch.of(worker));
        else
            in_proportion.store(false, std::memory_order_relaxed);
    });
    return in_proportion;
}

bool winograd_weight_gradients(const Plan& plan, const Convolution<float>& args, const float* grad,
                               const float* grad_background, float* weight, int threads) {
    WinogradTask task = block_task(plan, args.c_in, args.c_out, threads);
    task.features = args.features;
    task.grad = grad;
    const std::size_t width = std::size_t(std::max(args.c_in, args.c_out));
    const Scratchpad zeros(width * 4 + 64);
    std::fill_n(zeros.as<float>(), width, 0.0f);
    task.zeros = zeros.as<float>();
    task.background = args.background != nullptr ? args.background : task.zeros;

    // Stretches of blocks, and for each the values of u_z, are tasks; the stretches are added in order. Where the sums
    // of all u_z fit into the L2 cache beside the rest, a task takes them all and finds its blocks once.
    const int planes = task.window + 1, volume = task.window * task.window * task.window;
    const std::int64_t each = std::int64_t(args.c_in) * args.c_out, plane = each * winograd_plane(task.window),
                       all = planes * plane, tasks = task_count(task);
    const int together = all * 4 <= 400 * 1024 ? planes : 1, parts = planes / together;
    const std::int64_t most = std::min<std::int64_t>((16 + parts - 1) / parts, std::int64_t(8e6) / (all * 4));
    const std::int64_t chunks = std::clamp<std::int64_t>(tasks / 4, 1, std::max<std::int64_t>(most, 1));
    const Scratchpad sums(std::size_t(chunks * all) * 4);
    const WorkerScratch scratch(chosen::winograd_scratch(task), threads);
    const Proportion features(args.features, task.in.n_sites, args.c_in), gradients(grad, task.out.n_sites, args.c_out);
    std::atomic<bool> in_proportion{features.holds(task.background, args.c_in)};
    parallel_for(chunks * parts, threads, [&](std::int64_t index, int worker) {
        if (!in_proportion.load(std::memory_order_relaxed)) return;
        const std::int64_t chunk = index / parts, u = index % parts * together;
        const std::int64_t first = begin_of_chunk(chunk, chunks, tasks),
                           last = begin_of_chunk(chunk + 1, chunks, tasks);
        if (u == 0 && !(features.holds(first, last, tasks) && gradients.holds(first, last, tasks))) {
            in_proportion.store(false, std::memory_order_relaxed);
            return;
        }
        float* sum = sums.as<float>() + chunk * all;
        std::fill_n(sum + u * plane, together * plane, 0.0f);
        chosen::winograd_weight_gradient(task, first, last, int(u), int(u) + together, sum, scratch.of(worker));
    });
    if (!in_proportion) return false;
    parallel_for(args.c_out, threads, [&](std::int64_t o, int) {
        float* const row = weight + o * volume * args.c_in;
        chosen::winograd_weights_back(task.window, sums.as<float>(), each, chunks, all, int(o), args.c_in, row);
        if (grad_background == nullptr || args.background == nullptr) return;
        for (int offset = 0; offset < volume; ++offset)
            for (int c = 0; c < args.c_in; ++c) row[offset * args.c_in + c] += grad_background[o] * args.background[c];
    });
    return true;
}

void missing_rows(const Plan& plan, const float* grad, int c_out, double* sums, int threads) {
    const SiteView in = plan.in->view(), out = plan.out->view();
    const Window window = window_of(plan.geometry);
    const std::int64_t each = std::int64_t(plan.geometry.volume()) * c_out;
    constexpr std::int64_t kChunks = 8;
    const Scratchpad partial(std::size_t(kChunks * each) * 8);
    parallel_for(kChunks, threads, [&](std::int64_t chunk, int) {
        double* sum = partial.as<double>() + chunk * each;
        std::fill_n(sum, each, 0.0);
        chosen::add_missing_rows(in, out, window, std::uint32_t(out.n_words * chunk / kChunks),
                                 std::uint32_t(out.n_words * (chunk + 1) / kChunks), grad, c_out, sum);
    });
    for (std::int64_t i = 0; i < each; ++i) {
        sums[i] = 0;
        for (std::int64_t chunk = 0; chunk < kChunks; ++chunk) sums[i] += partial.as<double>()[chunk * each + i];
    }
}

}  // namespace sparse3d
