// The forward convolution.
#include "product.h"

namespace sparse3d {

template <class T>
void convolution(const Plan& plan, const Convolution<T>& args, T* result, T* background, int threads) {
    const bool known = multiply<T>(plan, forward_product(plan, args), result, background, threads);
    if (background == nullptr) return;
    if (!known) empty_window(plan, args, background, threads);
    activate(args, background);
}

template void convolution<float>(const Plan&, const Convolution<float>&, float*, float*, int);
template void convolution<double>(const Plan&, const Convolution<double>&, double*, double*, int);

}  // namespace sparse3d
