// The gradients of a convolution, and of its activation.
#include <type_traits>
#include <vector>

#include "product.h"
#include "row_sums.h"
#include "winograd.h"

namespace sparse3d {
namespace {

// The gradients of bias and background, where Winograd made that of the weight.
void beside_the_weight(const Plan& plan, const Convolution<float>& args, const float* grad,
                       const float* grad_background, const ConvolutionGradients<float>& result, int threads) {
    const auto ground = [&](int o) { return grad_background != nullptr ? grad_background[o] : 0.0f; };
    if (result.bias != nullptr) {
        sum_rows(plan.out->count(), args.c_out, result.bias, threads,
                 [&](std::int64_t row, int c) { return grad[row * args.c_out + c]; });
        for (int o = 0; o < args.c_out; ++o) result.bias[o] += ground(o);
    }
    if (result.background == nullptr || args.background == nullptr) return;
    const int volume = plan.geometry.volume();
    std::vector<double> missing(std::size_t(volume * args.c_out));
    missing_rows(plan, grad, args.c_out, missing.data(), threads);
    for (std::size_t i = 0; i < missing.size(); ++i) missing[i] += double(ground(int(i) % args.c_out));
    background_gradient(args, volume, missing.data(), result.background, threads);
}

}  // namespace

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
        if (result.weight != nullptr && winograd_pays(plan, args.c_in, args.c_out, true, false, threads) &&
            winograd_weight_gradients(plan, args, grad, grad_background, result.weight, threads)) {
            beside_the_weight(plan, args, grad, grad_background, result, threads);
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

#define S3D_INSTANTIATE(T)                                                                        \
    template void convolution_backward<T>(const Plan&, const Convolution<T>&, const T*, const T*, \
                                          const ConvolutionGradients<T>&, int);                   \
    template void leaky_relu_backward<T>(const T*, const T*, T, std::int64_t, T*, int);
S3D_INSTANTIATE(float)
S3D_INSTANTIATE(double)

}  // namespace sparse3d
