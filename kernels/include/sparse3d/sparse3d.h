// sparse3d: convolutions and pools over sparse 3D grids, forward and backward, on the CPU.
//
// This header is the whole interface. Nothing in it knows Python or torch; arrays are raw pointers with the shapes
// written beside them, row-major and contiguous. docs/kernels.md tells how it works inside.
//
// Words
//   site        a grid cell (b, z, y, x) that is stored; a row of a feature array belongs to one site
//   rank        the number of stored sites before a site in raster order of (b, z, y, x)
//   row         the position of a site in the caller's arrays; equal to its rank where those are in raster order
//   pair        (input row, output row) that meet through one kernel offset
//   background  the feature vector of every cell that is not stored, inside the grid and outside
//
// Results do not depend on the number of threads, bit for bit: work is cut into pieces by size alone, and sums that
// cross pieces are added in a fixed order.
//
// Errors of the caller throw std::invalid_argument with one sentence; nothing else throws but std::bad_alloc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace sparse3d {

// Input site i meets output site o through kernel offset k when, on each axis,
//     i = o * stride + k * dilation - padding,     0 <= k < kernel.
// `transposed` swaps the roles of i and o. All triples are ordered (z, y, x).
struct Geometry {
    std::array<int, 3> kernel, stride, padding, dilation;
    std::array<int, 3> in_shape, out_shape;
    int batch;
    bool transposed;

    int volume() const { return kernel[0] * kernel[1] * kernel[2]; }
    Geometry reversed() const;  // input and output exchanged: the geometry of the gradient
};

// Which cells of a batch of grids are stored: a bitmap of those 64-cell words that hold any site, and the rank of each
// word's first site. Memory and time follow the number of sites; the grid costs one bit for 64 cells.
class SiteIndex;
using Sites = std::shared_ptr<const SiteIndex>;

// indices (n, 4) [b, z, y, x], in any order. Throws if the grid has more than 2^30 cells along an axis or 2^32 words of
// 64 cells, a site lies outside the grid or the batch, or occurs twice.
Sites index_sites(const std::int32_t* indices, std::int64_t n, int batch, std::array<int, 3> shape, int threads);
// A number for what stands in indices (n, 4): another one where they were filled anew, whoever did it. At the speed of
// memory.
std::uint64_t fingerprint(const std::int32_t* indices, std::int64_t n);
// Every output site that has an input site in its window; raster order.
Sites output_sites(const Sites& in, const Geometry& geometry, int threads);
std::int64_t site_count(const Sites& sites);
// Whether they are the same sites of the same grids, in the same rows.
bool same_sites(const Sites& a, const Sites& b);
// indices (site_count, 4) [b, z, y, x], raster order.
void write_sites(const Sites& sites, std::int32_t* indices, int threads);

// Which input row meets which output row. Pairs are not stored: they are found again, tile by tile, whenever they are
// needed, which costs less than reading them.
struct Plan {
    Sites in, out;
    Geometry geometry;
};
// Throws if the sites do not belong to the geometry's grids.
Plan make_plan(Sites in, Sites out, const Geometry& geometry);
// rows (kernel volume, outputs): the input row, or -1. The plan written out, for those who want to see it.
void write_neighbours(const Plan& plan, std::int32_t* rows, int threads);

// In all that follows T is float or double; n and m are the numbers of input and output sites; `weight` is
// (c_out, kz, ky, kx, c_in); `background` (c_in) may be null: missing inputs then add nothing.

template <class T>
class KeptWeights;

enum class Activation { none, leaky_relu };  // leaky_relu: x > 0 ? x : slope * x; slope 0 is ReLU

template <class T>
struct Convolution {
    const T* features;    // (n, c_in)
    const T* weight;      // (c_out, kz, ky, kx, c_in)
    const T* bias;        // (c_out) or null
    const T* background;  // (c_in) or null
    int c_in, c_out;
    Activation activation = Activation::none;
    T slope = 0;
    // Round features, weights and background to bfloat16; their products are exact, sums stay float32. Only for T =
    // float, and not for the gradients. Layers of 1 to 4 input channels and those that Winograd makes faster stay
    // float32.
    bool bfloat16 = false;
    // Where what is made of the weights is kept for the next call with the very same weights; null: nowhere.
    const KeptWeights<T>* kept = nullptr;
};

// result (m, c_out): sum over the window, missing inputs as background, plus bias; then the activation.
// background (c_out), which may be null: the same for a window without any site, the background of the output.
template <class T>
void convolution(const Plan& plan, const Convolution<T>& args, T* result, T* background, int threads);

// Gradients of `convolution` without activation, given grad (m, c_out) and, unless null, that of the output's
// background (c_out). Null pointers are not computed.
template <class T>
struct ConvolutionGradients {
    T* features;    // (n, c_in)
    T* weight;      // (c_out, kz, ky, kx, c_in)
    T* bias;        // (c_out)
    T* background;  // (c_in)
};
template <class T>
void convolution_backward(const Plan& plan, const Convolution<T>& args, const T* grad, const T* grad_background,
                          const ConvolutionGradients<T>& result, int threads);

// result (n) <- grad (n) where the activation's value (n) is above 0, else slope * grad; slope >= 0. `result` may be
// `grad`.
template <class T>
void leaky_relu_backward(const T* grad, const T* values, T slope, std::int64_t n, T* result, int threads);

// Batch normalisation, with a residual connection and an activation after it.

// result (rows, channels): features * scale + shift, plus `other` (rows, channels) unless null; then x > 0 ? x : slope
// * x. scale, shift (channels). `result` may be `features`.
template <class T>
void scale_rows(const T* features, const T* scale, const T* shift, const T* other, std::int64_t rows, int channels,
                T slope, T* result, int threads);
// Of each channel: mean and variance (divided by rows), (channels). rows >= 1.
template <class T>
void row_statistics(const T* features, std::int64_t rows, int channels, T* mean, T* variance, int threads);
// Gradients of (features - mean) / deviation * weight + bias + other, activated as by `scale_rows`, where mean and
// deviation are those of the features; given grad and values (rows, channels) of the result, values null where there is
// no activation. weight (channels) may be null: 1.
template <class T>
struct NormalizedGradients {
    T* features;  // (rows, channels)
    T* other;     // (rows, channels) or null
    T* weight;    // (channels)
    T* bias;      // (channels)
};
template <class T>
void normalized_rows_backward(const T* grad, const T* values, const T* features, const T* mean, const T* deviation,
                              const T* weight, std::int64_t rows, int channels, T slope,
                              const NormalizedGradients<T>& result, int threads);

// values (m, channels) and the input row each came from, -1 for the background. Of equal values the first offset in
// raster order wins. With background null only active inputs count. `rows` may be null.
template <class T>
void max_pool(const Plan& plan, const T* features, const T* background, int channels, T* values, std::int32_t* rows,
              int threads);
// `max_pool` of `convolution` (with its activation and background), through the two plans; where the convolution is
// cheap its rows never leave the cache. `rows`, which may be null, are rows of the convolution's output.
template <class T>
void pooled_convolution(const Plan& plan, const Convolution<T>& args, const Plan& pool_plan, T* values,
                        std::int32_t* rows, T* background, int threads);
// Its gradients given grad (m, c_out) and grad_background (c_out) or null, for a convolution without activation.
template <class T>
void pooled_convolution_backward(const Plan& plan, const Convolution<T>& args, const Plan& pool_plan, const T* grad,
                                 const T* grad_background, const std::int32_t* rows,
                                 const ConvolutionGradients<T>& result, int threads);

// Convolutions one after the other, each with its activation and maybe a max pool: what lies between them is not
// written out as sites, and for inference handed to nobody.
struct LayerGeometry {
    Geometry convolution;
    bool submanifold;  // the output sites are the input's
    std::optional<Geometry> pool;
};
struct LayerPlan {
    Plan convolution;
    std::optional<Plan> pool;
    const Sites& out() const { return pool ? pool->out : convolution.out; }
};
std::vector<LayerPlan> plan_chain(const Sites& in, const std::vector<LayerGeometry>& layers, int threads);
// layers: their features and background are not looked at. features (n, c_in of the first), result (m, c_out of the
// last); background (c_in), null for none at all, and result_background (c_out).
template <class T>
void convolution_chain(const std::vector<LayerPlan>& plans, const std::vector<Convolution<T>>& layers,
                       const T* features, const T* background, T* result, T* result_background, int threads);
// The same for training: what every layer gives is kept. `rows` where there is a pool, `background` where the chain has
// one.
template <class T>
struct LayerValues {
    T* values;           // (m, c_out)
    std::int32_t* rows;  // (m, c_out)
    T* background;       // (c_out)
};
// All of it in one piece of memory, but for the last layer's values and background; and how large that is.
template <class T>
std::vector<LayerValues<T>> layer_values(const std::vector<LayerPlan>& plans, const std::vector<Convolution<T>>& layers,
                                         void* memory, T* last_values, T* last_background);
template <class T>
std::size_t layer_values_bytes(const std::vector<LayerPlan>& plans, const std::vector<Convolution<T>>& layers);
template <class T>
void convolution_chain(const std::vector<LayerPlan>& plans, const std::vector<Convolution<T>>& layers,
                       const T* features, const T* background, const std::vector<LayerValues<T>>& kept, int threads);
// Gradients of the chain, activations included, given grad (m, c_out) of the last layer's values and, unless null, that
// of its background. results: weight and bias of each layer; of the first, features and background as well. Null
// pointers are not computed, nor anything before the first layer that has one.
template <class T>
void convolution_chain_backward(const std::vector<LayerPlan>& plans, const std::vector<Convolution<T>>& layers,
                                const T* features, const T* background, const std::vector<LayerValues<T>>& kept,
                                const T* grad, const T* grad_background,
                                const std::vector<ConvolutionGradients<T>>& results, int threads);

// A network in one call, for inference. Value 0 is the input, and step i makes value i + 1 of values before it; the
// last one is the result.
struct Step {
    enum class Kind { convolution, max_pool, avg_pool, scale, sum };
    Kind kind;
    int input;                       // the value that is read
    std::optional<Geometry> window;  // of a convolution or pool
    int at = -1;                     // the value at whose sites that writes; -1: every site that the window makes
    std::optional<Geometry> pool;    // of the max pool after a convolution
    int other = -1;                  // scale, sum: the value at the same sites that is added; -1: none
};
struct StepPlan {
    Step step;
    std::optional<Plan> window, pool;
    Sites out;
};
struct NetworkPlan {
    Sites in;
    std::vector<StepPlan> steps;  // at least one
    const Sites& out() const { return steps.back().out; }
};
// Sites that several steps make in the same way are made once. Throws if a step reads a value that is not there yet,
// its window does not belong to that value's grid, or what is added stands at other sites.
NetworkPlan plan_network(const Sites& in, const std::vector<Step>& steps, int threads);

// What a step multiplies with and adds.
template <class T>
struct StepWeights {
    const T* weight;  // convolution: (c_out, kz, ky, kx, c_in); scale: (c_out); else null
    const T* bias;    // convolution: (c_out) or null; scale: (c_out); else null
    int c_in, c_out;
    T slope = 1;  // convolution, scale: of the leaky ReLU after it
};
// The weights of a network, copied: what is done with the originals later is not seen.
template <class T>
class FrozenNetwork;
template <class T>
std::shared_ptr<const FrozenNetwork<T>> freeze_network(const std::vector<Step>& steps,
                                                       const std::vector<StepWeights<T>>& weights);
// features (n, c_in of the first step); background (c_in) or null for none at all, which `scale` needs; result (m,
// c_out of the last step), result_background (c_out). Returns a bound: no magnitude on the way, sums in the middle of a
// step included, is above it; it is infinite where that is not known. Throws if plan and weights are not of the same
// steps.
template <class T>
double run_network(const NetworkPlan& plan, const FrozenNetwork<T>& weights, const T* features, const T* background,
                   T* result, T* result_background, int threads);
// `fingerprint` of arrays one after the other: where they are and how many bytes, whole words of four.
std::uint64_t fingerprint(const std::vector<std::pair<const void*, std::size_t>>& arrays);

// grad (m, channels) -> features (n, channels), background (channels).
template <class T>
void max_pool_backward(const Plan& plan, const T* grad, const std::int32_t* rows, int channels, T* features,
                       T* background, int threads);

// values (m, channels): mean over the whole window, or over its active inputs where background is null.
template <class T>
void avg_pool(const Plan& plan, const T* features, const T* background, int channels, T* values, int threads);
template <class T>
void avg_pool_backward(const Plan& plan, const T* grad, int channels, bool over_active, T* features, T* background,
                       int threads);

// Volumes to voxels. T is uint8_t, int16_t, uint16_t or float; strides are in bytes and may be negative.

template <class T>
struct VolumeView {
    const T* data;
    std::array<std::int64_t, 3> shape, strides;  // (z, y, x)
};

// Voxels with low <= value <= high (not a number is never in a range).
template <class T>
std::int64_t count_voxels(const VolumeView<T>& volume, double low, double high, int threads);
// One pass over memory: indices (capacity, 3) [z, y, x] in raster order and values (capacity). Returns how many there
// are; where that is more than `capacity`, nothing that was written is of use, and the call has to be repeated with
// more. `bitmap` (z, y, ceil(x / 64)) may be null.
template <class T>
std::int64_t find_voxels(const VolumeView<T>& volume, double low, double high, std::int64_t capacity,
                         std::int32_t* indices, float* values, std::uint64_t* bitmap, int threads);

// The instruction set in use: "baseline", "avx2", "avx512", "avx512_bf16" or "neon". The environment variable
// NAPARI_SPARSE3D_ISA forces one; the first call throws std::invalid_argument if the processor lacks it or there is
// none of that name.
const char* instruction_set();
// Whether it has an instruction for products of bfloat16: only then they are faster than those of float32.
bool multiplies_bfloat16();

// Scratch memory is kept between calls, in blocks of up to 256 MB, 512 MB in all. `trim` gives it back; `scratch_bytes`
// says how much is held.
void trim();
std::size_t scratch_bytes();
// Room for a result, from the same store and back to it: who thresholds again and again writes to the same pages.
std::shared_ptr<void> result_block(std::size_t bytes);

}  // namespace sparse3d
