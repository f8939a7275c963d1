// The kernels of one instruction set, gathered under one name.
#include "types.h"

namespace sparse3d {
namespace S3D_ISA {

void mark_cells(const SiteView&, const Window&, const SiteView&, int, int, int, uint64_t*);
bool marks_planes(const Window&);
size_t mark_planes_scratch(const SiteView&, const Window&, const SiteView&, int);
void mark_planes(const SiteView&, const Window&, const SiteView&, int, int, int, uint64_t*, void*);
void count_cells(const uint64_t*, int64_t, int64_t, uint32_t*, uint32_t*);
void list_cells(const uint64_t*, int64_t, int64_t, uint32_t, uint64_t*, uint32_t*, uint64_t*, uint32_t*);
void mark_words(const SiteView&, const Window&, const SiteView&, uint64_t*);
void mark_sites(const SiteView&, const Window&, const SiteView&, uint64_t*);
void rank_top(const uint64_t*, int64_t, uint32_t*);
uint32_t rank_bits(const uint64_t*, uint32_t, uint32_t*);
void list_words(const uint64_t*, int64_t, uint32_t*);
void write_sites(const SiteView&, uint32_t, uint32_t, int32_t*);
size_t neighbours_scratch(const SiteView&, const Window&, int);
void neighbours_tile(const SiteView&, const SiteView&, const Window&, int, int64_t, int32_t*, void*);
void count_pairs(const SiteView&, const SiteView&, const Window&, int, int64_t*, int64_t*, int64_t*);
void add_missing_rows(const SiteView&, const SiteView&, const Window&, uint32_t, uint32_t, const float*, int, double*);
size_t winograd_scratch(const WinogradTask&);
void winograd_convolution(const WinogradTask&, int64_t, void*);
void winograd_weight_gradient(const WinogradTask&, int64_t, int64_t, int, int, float*, void*);
void winograd_weights(int, const float* const*, float*, int64_t, int64_t, int64_t);
void winograd_weights_back(int, const float*, int64_t, int64_t, int64_t, int, int, float*);
extern const Bfloat16Kernels bfloat16_kernels;
extern const AnyVoxelKernels voxel_kernels;
void copy_past_caches(const void*, int64_t, void*);
template <class T>
size_t convolution_scratch(const ConvolutionTask<T>&);
template <class T>
void convolution_tile(const ConvolutionTask<T>&, int64_t, void*);
template <class T>
void pack_weight(const T*, int64_t, int64_t, int, int, int, int, T*);
template <class T>
void packed_times_vector(const T*, const T*, int, int, int, int, T*);
template <class T>
T dot_product(const T*, const T*, int64_t);
template <class T>
size_t weight_gradient_scratch(const WeightGradientTask<T>&);
template <class T>
void weight_gradient_chunk(const WeightGradientTask<T>&, int64_t, int, int, void*);
template <class T>
size_t pool_scratch(const PoolTask<T>&);
template <class T>
size_t pooled_convolution_scratch(const ConvolutionTask<T>&, const PoolTask<T>&);
template <class T>
void pooled_convolution_band(const ConvolutionTask<T>&, const PoolTask<T>&, const Band&, void*);
template <class T>
int64_t pooled_convolution_rows(const ConvolutionTask<T>&, const PoolTask<T>&, const Band&);
template <class T>
void max_pool_tile(const PoolTask<T>&, int64_t, void*);
template <class T>
void max_pool_gradient_tile(const PoolTask<T>&, int64_t, void*);
template <class T>
void avg_pool_tile(const PoolTask<T>&, int64_t, void*);
template <class T>
void avg_pool_gradient_tile(const PoolTask<T>&, int64_t, void*);
template <class T>
void scale_stretch(const T*, const T*, const T*, const T*, int64_t, int, T, T*);
template <class T>
void add_statistics(const T*, const T*, int64_t, int, double*, double*);
template <class T>
void add_norm_gradients(const T*, const T*, const T*, const T*, int64_t, int, T, double*, double*);
template <class T>
void norm_gradient_stretch(const T*, const T*, const T*, const T*, const T*, const T*, int64_t, int, T, T*, T*);

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class T>
constexpr TypedKernels<T> typed() {
    return {kVectorBytes / int(sizeof(T)),
            convolution_scratch<T>,
            convolution_tile<T>,
            pack_weight<T>,
            packed_times_vector<T>,
            dot_product<T>,
            weight_gradient_scratch<T>,
            weight_gradient_chunk<T>,
            pool_scratch<T>,
            pooled_convolution_scratch<T>,
            pooled_convolution_band<T>,
            pooled_convolution_rows<T>,
            max_pool_tile<T>,
            max_pool_gradient_tile<T>,
            avg_pool_tile<T>,
            avg_pool_gradient_tile<T>,
            scale_stretch<T>,
            add_statistics<T>,
            add_norm_gradients<T>,
            norm_gradient_stretch<T>};
}

#define S3D_TEXT2(name) #name
#define S3D_TEXT(name) S3D_TEXT2(name)
#define S3D_JOIN2(a, b) a##b
#define S3D_JOIN(a, b) S3D_JOIN2(a, b)

}  // namespace S3D_ISA

const Kernels S3D_JOIN(kernels_, S3D_ISA) = {
    S3D_TEXT(S3D_ISA),
    S3D_ISA::mark_cells,
    S3D_ISA::marks_planes,
    S3D_ISA::mark_planes_scratch,
    S3D_ISA::mark_planes,
    S3D_ISA::count_cells,
    S3D_ISA::list_cells,
    S3D_ISA::mark_words,
    S3D_ISA::mark_sites,
    S3D_ISA::rank_top,
    S3D_ISA::rank_bits,
    S3D_ISA::list_words,
    S3D_ISA::write_sites,
    S3D_ISA::neighbours_scratch,
    S3D_ISA::neighbours_tile,
    S3D_ISA::count_pairs,
    S3D_ISA::add_missing_rows,
    S3D_ISA::winograd_scratch,
    S3D_ISA::winograd_convolution,
    S3D_ISA::winograd_weight_gradient,
    S3D_ISA::winograd_weights,
    S3D_ISA::winograd_weights_back,
    S3D_ISA::copy_past_caches,
    S3D_ISA::typed<float>(),
    S3D_ISA::typed<double>(),
    &S3D_ISA::voxel_kernels,
    &S3D_ISA::bfloat16_kernels,
};

}  // namespace sparse3d
