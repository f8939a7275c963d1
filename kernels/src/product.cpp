#include "product.h"

#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "simd/bfloat16.h"
#include "winograd.h"

namespace sparse3d {

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
            std::is_same_v<T, float> && args.bfloat16,
            args.kept};
}

namespace {

// Features (n, c_in) and background rounded to bfloat16, the background as a float again.
void round_inputs(const Product<float>& p, std::int64_t n, Halves* features, float* background, int threads) {
    const std::int64_t pairs = (p.c_in + 1) / 2;
    constexpr std::int64_t kRows = 1024;
    parallel_for((n + kRows - 1) / kRows, threads, [&](std::int64_t block, int) {
        const std::int64_t first = block * kRows;
        chosen::round_rows(p.features + first * p.c_in, std::min(kRows, n - first), p.c_in, features + first * pairs);
    });
    if (p.background == nullptr) return;
    std::vector<Halves> rounded(static_cast<std::size_t>(pairs));
    chosen::round_rows(p.background, 1, p.c_in, rounded.data());
    for (int c = 0; c < p.c_in; ++c) {
        const std::uint32_t both = rounded[std::size_t(c / 2)].bits,
                            bits = c % 2 == 0 ? both << 16 : both & 0xffff0000u;
        std::memcpy(background + c, &bits, sizeof bits);
    }
}

// Where the arrays of a product lie in its scratch memory.
template <class T>
struct Room {
    std::size_t width, volume, phases, pairs, inputs, packed_size;

    std::size_t bytes() const {
        return (packed_size + (volume + phases) * width) * sizeof(T) +
               ((inputs + volume * width) * sizeof(Halves) + 2 * sizeof(float)) * pairs + 6 * 64;
    }
};

// The weights packed, offset by offset, and for each what a missing input adds, where that is counted.
template <class T>
struct Packer {
    const Product<T>& product;
    const T* background;  // null where missing inputs are not counted
    int volume, width;
    T* packed;
    T* missing;
    Halves* halves;  // null where nothing is rounded

    // The vectors [first, last) of output channels.
    void pack(std::int64_t offset, int first, int last) const {
        const Product<T>& p = product;
        const std::size_t columns = std::size_t(width), at = std::size_t(offset) * columns;
        T* block = packed + at * std::size_t(p.c_in);
        chosen::pack_weight<T>(p.weight + offset * p.weight_stride_offset, p.weight_stride_out, p.weight_stride_in,
                               p.c_out, p.c_in, first, last, block);
        if constexpr (std::is_same_v<T, float>)
            if (halves != nullptr)
                chosen::round_packed(block, p.c_in, width, halves + at * std::size_t((p.c_in + 1) / 2));
        if (background != nullptr)
            chosen::packed_times_vector<T>(block, background, p.c_in, width, first, last, missing + at);
    }

    // All weights of an output channel lie together, and are best read in one go; rounding takes an offset as a whole.
    void pack_all(int threads) const {
        const int vectors = width / chosen::lanes<T>();
        const bool by_output = product.weight_stride_in == 1 && halves == nullptr;
        const bool large = std::int64_t(volume) * product.c_in * width > 8000;
        parallel_for(by_output ? vectors : volume, large ? threads : 1, [&](std::int64_t part, int) {
            if (!by_output) pack(part, 0, vectors);
            for (int offset = 0; by_output && offset < volume; ++offset) pack(offset, int(part), int(part) + 1);
        });
    }
};

// start (phases, width): the bias, and where missing inputs are counted those of all offsets of the phase.
template <class T>
void start_rows(const ConvolutionTask<T>& task, const Product<T>& p, int volume, bool counts_missing, T* start) {
    for (int phase = 0; phase < phase_count(task.window); ++phase) {
        T* row = start + std::ptrdiff_t(phase) * task.width;
        std::fill_n(row, task.width, T(0));
        if (p.bias != nullptr) std::copy_n(p.bias, p.c_out, row);
        for (int offset = 0; offset < volume && counts_missing; ++offset)
            if (in_phase(task.window, offset, phase))
                for (int c = 0; c < task.width; ++c) row[c] += task.missing[std::ptrdiff_t(offset) * task.width + c];
    }
}

template <class T>
ConvolutionTask<T> task_of(const Plan& plan, const Product<T>& p, T* result) {
    ConvolutionTask<T> task{};
    task.in = plan.in->view();
    task.out = plan.out->view();
    task.window = window_of(plan.geometry);
    task.c_in = p.c_in;
    task.c_out = p.c_out;
    task.width = round_up(p.c_out, chosen::lanes<T>());
    task.features = p.features;
    task.background = p.background;
    task.few_channels = has_few_channels(task.window, plan.geometry.volume(), p.c_in) && p.weight_stride_in == 1;
    task.leaky = p.leaky;
    task.slope = p.slope;
    task.result = result;
    return task;
}

}  // namespace

template <class T>
Prepared<T> prepare(const Plan& plan, const Product<T>& p, T* result, bool for_winograd, int threads) {
    ConvolutionTask<T> task = task_of(plan, p, result);
    const int volume = plan.geometry.volume();
    const bool rounds = p.bfloat16 && !task.few_channels && !for_winograd;
    const bool counts_missing = p.background != nullptr && !task.few_channels && !for_winograd;

    Room<T> room{};
    room.width = std::size_t(task.width);
    room.volume = std::size_t(volume);
    room.phases = std::size_t(phase_count(task.window));
    room.pairs = rounds ? std::size_t(p.c_in + 1) / 2 : 0;
    room.inputs = std::size_t(plan.in->count());
    room.packed_size = room.volume * std::size_t(p.c_in) * room.width;
    const Packing packing = for_winograd ? Packing::for_winograd : Packing::direct;
    const KeptWeights<T>* const keeper = rounds ? nullptr : p.kept;
    const T* const counted = counts_missing ? p.background : nullptr;
    std::shared_ptr<const Scratchpad> pad = keeper == nullptr ? nullptr : keeper->find(packing, counted, p.c_in);
    const bool ready = pad != nullptr;
    if (!ready) pad = std::make_shared<const Scratchpad>(room.bytes());
    char* next = pad->template as<char>();
    T* packed = part<T>(next, room.packed_size);
    T* missing = part<T>(next, room.volume * room.width);
    T* start = part<T>(next, room.phases * room.width);
    Halves* packed_halves = part<Halves>(next, room.volume * room.width * room.pairs);
    task.packed = packed;
    task.missing = missing;
    task.start = start;

    const T* background = p.background;
    if constexpr (std::is_same_v<T, float>)
        if (rounds) {
            Halves* features = part<Halves>(next, room.inputs * room.pairs);
            float* rounded_background = part<float>(next, 2 * room.pairs);
            round_inputs(p, std::int64_t(room.inputs), features, rounded_background, threads);
            task.packed_halves = packed_halves;
            task.features_halves = features;
            if (background != nullptr) background = rounded_background;
        }

    if (counts_missing) task.missing_stride = task.width;
    if (ready) return {task, std::move(pad)};
    if (task.few_channels)
        chosen::pack_weight<T>(p.weight, p.weight_stride_out, 1, p.c_out, volume * p.c_in, 0,
                               task.width / chosen::lanes<T>(), packed);
    else
        Packer<T>{p,       counts_missing ? background : nullptr, volume, task.width, packed,
                  missing, rounds ? packed_halves : nullptr}
            .pack_all(threads);
    if (!counts_missing) std::fill_n(missing, room.width, T(0));
    start_rows(task, p, volume, counts_missing, start);
    if (keeper != nullptr) keeper->put(packing, counted, p.c_in, pad);
    return {task, std::move(pad)};
}

namespace {

// All tiles of a prepared product. A few tiles are cut into pieces of the output channels as well.
template <class T>
void run_tiles(ConvolutionTask<T>& task, int threads) {
    task.tile_rows = tile_rows_for(task.out.n_sites, 24);
    const std::int64_t tiles = tile_count(task.out.n_sites, task.tile_rows);
    const int blocks = task.few_channels ? 1 : std::max(1, task.width / chosen::lanes<T>() / 4);
    task.splits = tiles < 8 ? int(std::min<std::int64_t>(blocks, (7 + tiles) / tiles)) : 1;
    const WorkerScratch scratch(chosen::convolution_scratch<T>(task), threads);
    auto tile = chosen::convolution_tile<T>.here();
    if constexpr (std::is_same_v<T, float>)
        if (task.features_halves != nullptr) tile = chosen::bfloat16_convolution_tile.here();
    parallel_for(tiles * task.splits, threads,
                 [&](std::int64_t index, int worker) { tile(task, index, scratch.of(worker)); });
}

}  // namespace

template <class T>
bool multiply(const Plan& plan, const Product<T>& p, T* result, T* start, int threads) {
    if (plan.out->count() == 0) return false;
    if constexpr (std::is_same_v<T, float>)
        if (winograd_pays(plan, p.c_in, p.c_out, false, p.bfloat16, threads)) {
            const Prepared<T> prepared = prepare(plan, p, result, true, threads);
            if (winograd_multiply(plan, prepared.task, p.kept, threads)) return false;
        }
    Prepared<T> prepared = prepare(plan, p, result, false, threads);
    if (start != nullptr) std::copy_n(prepared.task.start, p.c_out, start);
    run_tiles(prepared.task, threads);
    return !prepared.task.few_channels && phase_count(prepared.task.window) == 1;
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
                    result[o] += chosen::dot_product<T>(args.weight + o * each, repeated, each);
            }
        });
}

#define S3D_INSTANTIATE(T)                                                          \
    template Product<T> forward_product<T>(const Plan&, const Convolution<T>&);     \
    template Prepared<T> prepare<T>(const Plan&, const Product<T>&, T*, bool, int); \
    template bool multiply<T>(const Plan&, const Product<T>&, T*, T*, int);         \
    template void empty_window<T>(const Plan&, const Convolution<T>&, T*, int);
S3D_INSTANTIATE(float)
S3D_INSTANTIATE(double)

}  // namespace sparse3d
