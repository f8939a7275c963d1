// Stretches of rows in batch normalisation: scaled, summed, and their gradients. Vectors run along the channels.
#include "norm.h"

#include "vec.h"

namespace sparse3d {
namespace S3D_ISA {
namespace {

// The gradient before the activation, of which `value` came out.
template <class T>
S3D_INLINE T before_activation(T grad, T value, T slope) {
    return value > 0 ? grad : slope * grad;
}

}  // namespace

template <class T>
void scale_stretch(const T* __restrict x, const T* __restrict scale, const T* __restrict shift,
                   const T* __restrict other, int64_t rows, int channels, T slope, T* y) {
    for (int64_t row = 0; row < rows; ++row, x += channels, y += channels) {
        if (other != nullptr) {
            S3D_INDEPENDENT
            for (int c = 0; c < channels; ++c) {
                const T v = x[c] * scale[c] + shift[c] + other[c];
                y[c] = v > 0 ? v : slope * v;
            }
            other += channels;
        } else {
            S3D_INDEPENDENT
            for (int c = 0; c < channels; ++c) {
                const T v = x[c] * scale[c] + shift[c];
                y[c] = v > 0 ? v : slope * v;
            }
        }
    }
}

template <class T>
void add_statistics(const T* __restrict x, const T* __restrict origin, int64_t rows, int channels,
                    double* __restrict sum, double* __restrict squares) {
    for (int64_t row = 0; row < rows; ++row, x += channels)
        for (int c = 0; c < channels; ++c) {
            const double v = double(x[c]) - double(origin[c]);
            sum[c] += v;
            squares[c] += v * v;
        }
}

template <class T>
void add_norm_gradients(const T* __restrict grad, const T* __restrict values, const T* __restrict x,
                        const T* __restrict mean, int64_t rows, int channels, T slope, double* __restrict sum,
                        double* __restrict products) {
    for (int64_t row = 0; row < rows; ++row, grad += channels, x += channels) {
        if (values != nullptr) {
            for (int c = 0; c < channels; ++c) {
                const double g = double(before_activation(grad[c], values[c], slope));
                sum[c] += g;
                products[c] += g * (double(x[c]) - double(mean[c]));
            }
            values += channels;
        } else {
            for (int c = 0; c < channels; ++c) {
                sum[c] += double(grad[c]);
                products[c] += double(grad[c]) * (double(x[c]) - double(mean[c]));
            }
        }
    }
}

template <class T>
void norm_gradient_stretch(const T* __restrict grad, const T* __restrict values, const T* __restrict x,
                           const T* __restrict of_grad, const T* __restrict of_features, const T* __restrict constant,
                           int64_t rows, int channels, T slope, T* __restrict result, T* __restrict other) {
    for (int64_t row = 0; row < rows; ++row, grad += channels, x += channels, result += channels) {
        if (values == nullptr) {
            for (int c = 0; c < channels; ++c) result[c] = grad[c] * of_grad[c] + (x[c] * of_features[c] + constant[c]);
            if (other != nullptr)
                for (int c = 0; c < channels; ++c) other[c] = grad[c];
        } else {
            if (other != nullptr)
                for (int c = 0; c < channels; ++c) other[c] = before_activation(grad[c], values[c], slope);
            for (int c = 0; c < channels; ++c)
                result[c] =
                    before_activation(grad[c], values[c], slope) * of_grad[c] + (x[c] * of_features[c] + constant[c]);
            values += channels;
        }
        if (other != nullptr) other += channels;
    }
}

#define S3D_INSTANTIATE(T)                                                                                           \
    template void scale_stretch<T>(const T*, const T*, const T*, const T*, int64_t, int, T, T*);                     \
    template void add_statistics<T>(const T*, const T*, int64_t, int, double*, double*);                             \
    template void add_norm_gradients<T>(const T*, const T*, const T*, const T*, int64_t, int, T, double*, double*);  \
    template void norm_gradient_stretch<T>(const T*, const T*, const T*, const T*, const T*, const T*, int64_t, int, \
                                           T, T*, T*);
S3D_INSTANTIATE(float)
S3D_INSTANTIATE(double)

}  // namespace S3D_ISA
}  // namespace sparse3d
