// A max pool of a convolution, in one call, and its gradients.
#include <vector>

#include "product.h"
#include "row_sums.h"

namespace sparse3d {
namespace {

// Can the convolution's rows be pooled while they are in the cache?
template <class T>
bool pools_in_cache(const Plan& plan, const Convolution<T>& args) {
    return has_few_channels(window_of(plan.geometry), plan.geometry.volume(), args.c_in) && plan.out->rows.empty();
}

// How the pool's output grid is cut into tasks: small enough for what they keep to stay in the cache, and for the last
// ones to end at the same time; larger where few sites are scattered over a large grid.
class Bands {
public:
    explicit Bands(const SiteView& pooled) : grid_(pooled) {
        while (count() > 64 + grid_.n_sites / 64 && (deep() > 1 || high() > 1)) (high() > 1 ? lines_ : planes_) *= 2;
    }
    std::int64_t count() const { return std::int64_t(grid_.batch) * deep() * high(); }
    Band at(std::int64_t number) const {
        const int z = int(number / high() % deep()) * planes_, y = int(number % high()) * lines_;
        return {int(number / high() / deep()), z, std::min(z + planes_, grid_.z), y, std::min(y + lines_, grid_.y)};
    }

private:
    int deep() const { return (grid_.z + planes_ - 1) / planes_; }
    int high() const { return (grid_.y + lines_ - 1) / lines_; }

    const SiteView& grid_;
    int planes_ = 4, lines_ = 8;
};

}  // namespace

template <class T>
void pooled_convolution(const Plan& plan, const Convolution<T>& args, const Plan& pool_plan, T* values,
                        std::int32_t* rows, T* background, int threads) {
    std::vector<T> ground(std::size_t(args.c_out));
    const T* pool_background = args.background != nullptr ? ground.data() : nullptr;
    if (!pools_in_cache(plan, args)) {
        const Scratchpad whole(std::size_t(plan.out->count()) * std::size_t(args.c_out) * sizeof(T) + 64);
        convolution(plan, args, whole.as<T>(), ground.data(), threads);
        if (background != nullptr) std::copy(ground.begin(), ground.end(), background);
        max_pool(pool_plan, whole.as<T>(), pool_background, args.c_out, values, rows, threads);
        return;
    }
    empty_window(plan, args, ground.data(), threads);
    if (background != nullptr) {
        std::copy(ground.begin(), ground.end(), background);
        activate(args, background);
    }
    PoolTask<T> pool{};
    pool.in = pool_plan.in->view();
    pool.out = pool_plan.out->view();
    if (pool.out.n_sites == 0) return;
    pool.window = window_of(pool_plan.geometry);
    pool.channels = args.c_out;
    pool.tile_rows = 128;
    pool.background = pool_background;
    pool.values = values;
    pool.rows = rows;
    Product<T> product = forward_product(plan, args);
    if (product.leaky && product.slope >= 0) {  // monotone, so the maximum may come first
        product.leaky = false;
        pool.leaky = 1;
        pool.slope = product.slope;
    } else {
        activate(args, ground.data());
    }
    Prepared<T> prepared = prepare<T>(plan, product, nullptr, false, threads);
    const Bands bands(pool.out);
    for (std::int64_t band = 0; band < bands.count(); ++band)
        prepared.task.kept_rows =
            std::max(prepared.task.kept_rows, chosen::pooled_convolution_rows<T>(prepared.task, pool, bands.at(band)));
    const WorkerScratch scratch(chosen::pooled_convolution_scratch<T>(prepared.task, pool), threads);
    parallel_for(bands.count(), threads, [&](std::int64_t band, int worker) {
        chosen::pooled_convolution_band<T>(prepared.task, pool, bands.at(band), scratch.of(worker));
    });
}

template <class T>
void pooled_convolution_backward(const Plan& plan, const Convolution<T>& args, const Plan& pool_plan, const T* grad,
                                 const T* grad_background, const std::int32_t* rows,
                                 const ConvolutionGradients<T>& result, int threads) {
    const std::int64_t m = pool_plan.out->count();
    std::vector<T> of_background(std::size_t(args.c_out));
    const auto add_that_of_background = [&] {
        if (args.background == nullptr)
            std::fill(of_background.begin(), of_background.end(), T(0));  // the pool met none
        for (std::size_t c = 0; c < of_background.size() && grad_background != nullptr; ++c)
            of_background[c] += grad_background[c];
    };
    if (!pools_in_cache(plan, args) || result.features != nullptr) {
        const Scratchpad whole(std::size_t(plan.out->count()) * std::size_t(args.c_out) * sizeof(T) + 64);
        max_pool_backward(pool_plan, grad, rows, args.c_out, whole.as<T>(), of_background.data(), threads);
        add_that_of_background();
        convolution_backward(plan, args, whole.as<T>(), of_background.data(), result, threads);
        return;
    }
    PoolTask<T> pool{};
    pool.in = pool_plan.out->view();
    pool.out = pool_plan.in->view();
    pool.window = window_of(pool_plan.geometry.reversed());
    pool.channels = args.c_out;
    pool.tile_rows = tile_rows_for(pool.out.n_sites, 16);
    pool.features = grad;
    pool.origin = rows;
    sum_unclaimed(m, args.c_out, grad, rows, of_background.data(), threads);
    add_that_of_background();
    weight_gradients<T>(plan, args, nullptr, of_background.data(), &pool, result, threads);
}

#define S3D_INSTANTIATE(T)                                                                                            \
    template void pooled_convolution<T>(const Plan&, const Convolution<T>&, const Plan&, T*, std::int32_t*, T*, int); \
    template void pooled_convolution_backward<T>(const Plan&, const Convolution<T>&, const Plan&, const T*, const T*, \
                                                 const std::int32_t*, const ConvolutionGradients<T>&, int);
S3D_INSTANTIATE(float)
S3D_INSTANTIATE(double)

}  // namespace sparse3d
