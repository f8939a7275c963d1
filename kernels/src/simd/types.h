// Plain data that the drivers (compiled once) hand to the kernels (compiled once for each instruction set).
// No standard library here beyond <stdint.h>: an inline template of it, compiled with AVX-512, could be the copy that
// the linker keeps for everybody.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace sparse3d {

// A site set. Words are 64 cells along x; lines (b, z, y) have `words_x` of them. Only words that hold a site are kept.
struct SiteView {
    int32_t batch, z, y, x, words_x;
    uint32_t n_words, n_sites;
    const uint64_t* top;       // one bit for each word of the grid: does it hold a site?
    const uint32_t* top_rank;  // number of kept words before each 64 bits of `top`
    const uint32_t* word;      // (n_words) number of the word in the grid, ascending
    const uint64_t* bits;      // (n_words) its sites
    const uint32_t* base;      // (n_words + 1) rank of its first site; the last one is n_sites
    const int32_t* rows;       // (n_sites) the caller's row of each rank, or null where they are equal
};

struct Window {
    int32_t kernel[3], stride[3], padding[3], dilation[3];
    int32_t transposed;
};

constexpr int kTileSlack = 64;  // a tile ends with a whole word, so it may hold this many rows more than asked

// Two neighbouring channels as bfloat16, the first in the low half.
struct Halves {
    uint32_t bits;
};

// Input rows to output rows. `packed` holds, for each offset and each block of up to four vectors of output channels,
// c_in rows of the block's width. A missing input adds `missing`: it is counted in `start` for every offset and taken
// back where the input turns out to be there, so that a tile's cost follows its pairs.
template <class T>
struct ConvolutionTask {
    SiteView in, out;
    Window window;
    int32_t c_in, c_out;
    int32_t width;                  // c_out rounded up to whole vectors
    const T* features;              // (n, c_in)
    const T* packed;                // (volume, c_in, width) in blocks
    const Halves* features_halves;  // (n, pairs of c_in) and (volume, pairs of c_in, width) in blocks, or null
    const Halves* packed_halves;
    const T* start;    // (phases, width): bias + background of all offsets of the phase
    const T* missing;  // (volume, width), or (width) zeros with missing_stride 0
    int32_t missing_stride;
    const T* background;   // (c_in) or null: for few_channels
    int32_t few_channels;  // `packed` is one product over volume * c_in channels: see few_channels.cpp
    int32_t tile_rows;
    int64_t kept_rows;  // pooled convolution: most rows that one task keeps
    int32_t splits;     // pieces of the output channels that are tasks of their own
    int32_t leaky;      // apply x > 0 ? x : slope * x at the end
    T slope;
    T* result;  // (m, c_out)
};

// The weight gradient of one stretch of output rows and a range of offsets.
template <class T>
struct PoolTask;
template <class T>
struct WeightGradientTask {
    SiteView in, out;
    Window window;
    int32_t c_in, c_out;
    int32_t stride_in;  // of a feature row: c_in, or where that is no whole vectors, rounded up
    int32_t width;      // of a row of sums: c_in, or for few_channels c_out, rounded up to whole vectors
    int32_t few_channels;
    int32_t flags;  // few_channels: also sum up where each offset's input is missing
    const T* features;
    const T* grad;            // (m, c_out)
    const T* background;      // (c_in) or null
    const PoolTask<T>* pool;  // few_channels: the gradient comes through this max pool, tile by tile
    int32_t tile_rows;
    int32_t tiles_per_chunk;
    T* partial;  // (chunks, c_out, volume, width); few_channels (chunks, volume * c_in + flags * volume, width)
    double*
        paired;     // (chunks, volume, c_out): sum of grad over the rows that offset k reaches; unused for few_channels
    double* total;  // (chunks, phases, c_out): sum of grad over the rows of a phase
};

template <class T>
struct PoolTask {
    SiteView in, out;
    Window window;
    int32_t channels;
    int32_t tile_rows;
    const T* features;      // (n, channels): pooled, or for a gradient (m, channels) of it
    const T* background;    // (channels) or null
    const int32_t* origin;  // (m, channels): where each maximum came from (gradient of the maximum)
    const T* scale;         // (m): weight of each output row (gradient of the mean)
    int32_t leaky;          // apply x > 0 ? x : slope * x to the maximum
    T slope;
    T* values;      // (rows of the tile's side, channels)
    int32_t* rows;  // (m, channels) or null
    T* counts;      // (m) or null: number of active inputs of each output row
};

// A piece of the pool's output grid: planes [z0, z1), and of each the lines [y0, y1).
struct Band {
    int b, z0, z1, y0, y1;
};

// Blocks of 2 x 2 x winograd_outputs_x outputs: see winograd.cpp. Each has `window` + 1 planes of transformed values.
constexpr int winograd_outputs_x(int window) { return window == 3 ? 4 : 2; }
constexpr int winograd_plane(int window) { return (window + 1) * (window - 1 + winograd_outputs_x(window)); }

// `reach` is the padding of the equivalent plain window.
struct WinogradTask {
    SiteView in, out, blocks;
    int32_t window;  // 2 or 3
    int32_t reach[3];
    int32_t c_in, c_out, width;
    int32_t blocks_per_task;
    int32_t leaky;
    float slope;
    const float* features;
    const float* background;   // (c_in), zeros where there is none
    const float* transformed;  // (window + 1, winograd_plane, c_in * width in blocks)
    const float* start;        // (width) bias
    const float* grad;         // (m, c_out)
    const float* zeros;        // (c_out)
    float* result;             // (m, c_out)
};

// Products of bfloat16, sums in float32.
struct Bfloat16Kernels {
    bool in_one_instruction;
    // (n, channels) -> (n, pairs of channels), to the nearest; an odd last channel is paired with 0
    void (*round_rows)(const float* rows, int64_t n, int channels, Halves* rounded);
    // packed (c_in, width) in blocks, rounded where it stands, and as pairs of input channels
    void (*round_packed)(float* packed, int c_in, int width, Halves* rounded);
    void (*convolution_tile)(const ConvolutionTask<float>&, int64_t task, void* scratch);
};

template <class T>
struct TypedKernels {
    int lanes;
    size_t (*convolution_scratch)(const ConvolutionTask<T>&);
    void (*convolution_tile)(const ConvolutionTask<T>&, int64_t task, void* scratch);
    // packed <- source[out * stride_out + in * stride_in], of the output channels the vectors [first, last)
    void (*pack_weight)(const T* source, int64_t stride_out, int64_t stride_in, int c_out, int c_in, int first,
                        int last, T* packed);
    // result (width) <- sum over c_in of packed * vector, of the same
    void (*packed_times_vector)(const T* packed, const T* vector, int c_in, int width, int first, int last, T* result);
    T (*dot_product)(const T* a, const T* b, int64_t n);
    size_t (*weight_gradient_scratch)(const WeightGradientTask<T>&);
    void (*weight_gradient_chunk)(const WeightGradientTask<T>&, int64_t chunk, int first_offset, int last_offset,
                                  void* scratch);
    size_t (*pool_scratch)(const PoolTask<T>&);
    // convolution of few channels, then max pool
    size_t (*pooled_convolution_scratch)(const ConvolutionTask<T>&, const PoolTask<T>&);
    void (*pooled_convolution_band)(const ConvolutionTask<T>&, const PoolTask<T>&, const Band&, void* scratch);
    int64_t (*pooled_convolution_rows)(const ConvolutionTask<T>&, const PoolTask<T>&, const Band&);
    void (*max_pool_tile)(const PoolTask<T>&, int64_t tile, void* scratch);
    void (*max_pool_gradient_tile)(const PoolTask<T>&, int64_t tile, void* scratch);
    void (*avg_pool_tile)(const PoolTask<T>&, int64_t tile, void* scratch);
    void (*avg_pool_gradient_tile)(const PoolTask<T>&, int64_t tile, void* scratch);
    // batch normalisation, some rows each: see norm.cpp
    void (*scale_stretch)(const T* x, const T* scale, const T* shift, const T* other, int64_t rows, int channels,
                          T slope, T* y);
    void (*add_statistics)(const T* x, const T* origin, int64_t rows, int channels, double* sum, double* squares);
    void (*add_norm_gradients)(const T* grad, const T* values, const T* x, const T* mean, int64_t rows, int channels,
                               T slope, double* sum, double* products);
    void (*norm_gradient_stretch)(const T* grad, const T* values, const T* x, const T* of_grad, const T* of_features,
                                  const T* constant, int64_t rows, int channels, T slope, T* result, T* other);
};

template <class T>
struct VoxelRange {
    T low, high;  // both inclusive
};

template <class T>
struct VoxelKernels {
    // of n voxels that lie `stride` bytes apart, how many lie in the range; and their bits (null: not wanted), indices
    // and values
    int64_t (*count)(const T* line, int64_t stride, int n, VoxelRange<T> range);
    int64_t (*voxels)(const T* line, int64_t stride, int n, VoxelRange<T> range, int z, int y, uint64_t* bits,
                      int32_t* positions, int32_t* indices, float* values);
};

struct AnyVoxelKernels {
    VoxelKernels<uint8_t> u8;
    VoxelKernels<int16_t> i16;
    VoxelKernels<uint16_t> u16;
    VoxelKernels<float> f32;
};

struct Kernels {
    const char* name;
    // What the input sites reach: all cells of some planes of the grid, site by site or, faster where there are many,
    // plane by plane (for some windows); or, where the grid is too large to write out, first the words, and with these
    // ranked, their cells.
    void (*mark_cells)(const SiteView& in, const Window&, const SiteView& out, int b, int z0, int z1, uint64_t* grid);
    bool (*marks_planes)(const Window&);
    size_t (*mark_planes_scratch)(const SiteView& in, const Window&, const SiteView& out, int planes);
    void (*mark_planes)(const SiteView& in, const Window&, const SiteView& out, int b, int z0, int z1, uint64_t* grid,
                        void* scratch);
    // the words [first, last) of such a grid: how many hold a site, and how many sites; then their lists
    void (*count_cells)(const uint64_t* grid, int64_t first, int64_t last, uint32_t* words, uint32_t* sites);
    void (*list_cells)(const uint64_t* grid, int64_t first, int64_t last, uint32_t rank, uint64_t* top, uint32_t* word,
                       uint64_t* bits, uint32_t* base);
    void (*mark_words)(const SiteView& in, const Window&, const SiteView& out, uint64_t* top);
    void (*mark_sites)(const SiteView& in, const Window&, const SiteView& out, uint64_t* bits);
    void (*rank_top)(const uint64_t* top, int64_t n, uint32_t* rank);
    uint32_t (*rank_bits)(const uint64_t* bits, uint32_t n, uint32_t* base);
    void (*list_words)(const uint64_t* top, int64_t n, uint32_t* word);
    void (*write_sites)(const SiteView&, uint32_t first, uint32_t last, int32_t* indices);
    size_t (*neighbours_scratch)(const SiteView& out, const Window&, int tile_rows);
    void (*neighbours_tile)(const SiteView& in, const SiteView& out, const Window&, int tile_rows, int64_t tile,
                            int32_t* table, void* scratch);
    // Pairs of every `step`th output word, the outputs in those words, and the blocks of two cells along x that hold
    // one.
    void (*count_pairs)(const SiteView& in, const SiteView& out, const Window&, int step, int64_t* pairs,
                        int64_t* outputs, int64_t* twos);
    // sums (volume, c_out) += gradient rows of the words [first, last) where the input of each offset is missing
    void (*add_missing_rows)(const SiteView& in, const SiteView& out, const Window&, uint32_t first, uint32_t last,
                             const float* grad, int c_out, double* sums);
    size_t (*winograd_scratch)(const WinogradTask&);
    void (*winograd_convolution)(const WinogradTask&, int64_t task, void* scratch);
    // the u_z in [first_u, last_u) of the tasks [first, last); sums (window + 1, winograd_plane, c_out, c_in)
    void (*winograd_weight_gradient)(const WinogradTask&, int64_t first, int64_t last, int first_u, int last_u,
                                     float* sums, void* scratch);
    void (*winograd_weights)(int window, const float* const* offset, float* transformed, int64_t each, int64_t first,
                             int64_t last);
    void (*winograd_weights_back)(int window, const float* sums, int64_t each, int64_t chunks, int64_t chunk_stride,
                                  int o, int c_in, float* weight);
    void (*copy_past_caches)(const void* source, int64_t bytes, void* result);
    TypedKernels<float> f32;
    TypedKernels<double> f64;
    const AnyVoxelKernels* voxels;
    const Bfloat16Kernels* bf16;
};

extern const Kernels kernels_baseline;
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
extern const Kernels kernels_neon;
namespace avx512_bf16 {  // all else is avx512's
extern const AnyVoxelKernels voxel_kernels;
extern const Bfloat16Kernels bfloat16_kernels;
}  // namespace avx512_bf16

}  // namespace sparse3d
