// What forward convolutions, pooled ones and gradients share: a product of rows with weights, through a plan.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "kept_weights.h"
#include "simd/convolution.h"
#include "simd/pool.h"
#include "site_index.h"
#include "sparse3d/sparse3d.h"
#include "threads.h"

namespace sparse3d {

inline int round_up(int n, int to) { return (n + to - 1) / to * to; }

int phase_count(const Window& w);
// Does offset k reach the outputs of this phase?
bool in_phase(const Window& w, int k, int phase);
bool has_few_channels(const Window& w, int volume, int c_in);

// Rows of a tile: enough to reuse each offset's weights, few enough for the sums to stay in the cache and for many
// tiles to share out. A function of sizes alone, never of the number of threads.
inline int tile_rows_for(std::int64_t rows, int tiles) {
    return int(std::clamp<std::int64_t>((rows / tiles + 63) / 64 * 64, 64, 256));
}
inline std::int64_t tile_count(std::int64_t rows, int tile_rows) { return (rows + tile_rows - 1) / tile_rows; }

// n elements from `next` on, which moves behind them, to the next 64 bytes.
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
    const KeptWeights<T>* kept = nullptr;
};
template <class T>
Product<T> forward_product(const Plan& plan, const Convolution<T>& args);

// Everything of a product but its tiles: packed weights, and what an output holds before any input is met.
template <class T>
struct Prepared {
    ConvolutionTask<T> task;
    std::shared_ptr<const Scratchpad> pad;
};
// `for_winograd`, which takes the missing inputs as they are.
template <class T>
Prepared<T> prepare(const Plan& plan, const Product<T>& p, T* result, bool for_winograd, int threads);

// The product. `start`, if not null, gets what an output holds before any input is met; returns whether that is known.
template <class T>
bool multiply(const Plan& plan, const Product<T>& p, T* result, T* start, int threads);

// What a window without any site gives: bias, and all weights times the background; before any activation.
template <class T>
void empty_window(const Plan& plan, const Convolution<T>& args, T* result, int threads);

// values (c_out) of one row, activated as the convolution's are.
template <class T>
void activate(const Convolution<T>& args, T* values) {
    for (int o = 0; o < args.c_out && args.activation == Activation::leaky_relu; ++o)
        values[o] = values[o] > 0 ? values[o] : args.slope * values[o];
}

// `unpaired` (volume, c_out): the gradient of the outputs that each offset does not reach.
template <class T>
void background_gradient(const Convolution<T>& args, int volume, const double* unpaired, T* background, int threads);

// Gradients of the weight, the bias and the background. `grad_background` (c_out), if not null: of the output's
// background, which is one more output that no offset reaches. `pool`: the gradient comes through this max pool.
template <class T>
void weight_gradients(const Plan& plan, const Convolution<T>& args, const T* grad, const T* grad_background,
                      const PoolTask<T>* pool, const ConvolutionGradients<T>& result, int threads);

}  // namespace sparse3d
