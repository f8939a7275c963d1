#include <algorithm>
#include <vector>

#include "row_sums.h"
#include "simd/pool.h"
#include "site_index.h"
#include "threads.h"

namespace sparse3d {
namespace {

constexpr int kTileRows = 128;

template <class T>
PoolTask<T> pool_task(const Plan& plan, int channels) {
    PoolTask<T> task{};
    task.in = plan.in->view();
    task.out = plan.out->view();
    task.window = window_of(plan.geometry);
    task.channels = channels;
    task.tile_rows = kTileRows;
    return task;
}

template <class T, class Kernel>
void over_tiles(const PoolTask<T>& task, Kernel kernel, int threads) {
    const std::int64_t tiles = (std::int64_t(task.out.n_sites) + kTileRows - 1) / kTileRows;
    const WorkerScratch scratch(chosen::pool_scratch<T>(task), threads);
    parallel_for(tiles, threads, [&](std::int64_t tile, int worker) { kernel(task, tile, scratch.of(worker)); });
}

}  // namespace

template <class T>
void max_pool(const Plan& plan, const T* features, const T* background, int channels, T* values, std::int32_t* rows,
              int threads) {
    PoolTask<T> task = pool_task<T>(plan, channels);
    task.features = features;
    task.background = background;
    task.values = values;
    task.rows = rows;
    over_tiles(task, chosen::max_pool_tile<T>.here(), threads);
}

template <class T>
void max_pool_backward(const Plan& plan, const T* grad, const std::int32_t* rows, int channels, T* features,
                       T* background, int threads) {
    PoolTask<T> task = pool_task<T>({plan.out, plan.in, plan.geometry.reversed()}, channels);
    task.features = grad;
    task.origin = rows;
    task.values = features;
    over_tiles(task, chosen::max_pool_gradient_tile<T>.here(), threads);
    sum_unclaimed(plan.out->count(), channels, grad, rows, background, threads);
}

template <class T>
void avg_pool(const Plan& plan, const T* features, const T* background, int channels, T* values, int threads) {
    PoolTask<T> task = pool_task<T>(plan, channels);
    task.features = features;
    task.background = background;
    task.values = values;
    over_tiles(task, chosen::avg_pool_tile<T>.here(), threads);
}

template <class T>
void avg_pool_backward(const Plan& plan, const T* grad, int channels, bool over_active, T* features, T* background,
                       int threads) {
    const std::int64_t m = plan.out->count();
    const int volume = plan.geometry.volume();
    const Scratchpad pad(std::size_t(m) * 2 * sizeof(T) + 64);
    T *counts = pad.as<T>(), *scale = counts + m;
    PoolTask<T> count = pool_task<T>(plan, 0);
    count.counts = counts;
    over_tiles(count, chosen::avg_pool_tile<T>.here(), threads);
    for (std::int64_t i = 0; i < m; ++i) scale[i] = T(1) / (over_active ? std::max(counts[i], T(1)) : T(volume));

    PoolTask<T> task = pool_task<T>({plan.out, plan.in, plan.geometry.reversed()}, channels);
    task.features = grad;
    task.scale = scale;
    task.values = features;
    over_tiles(task, chosen::avg_pool_gradient_tile<T>.here(), threads);
    sum_rows(m, channels, background, threads, [&](std::int64_t row, int c) {
        return over_active ? T(0) : (T(volume) - counts[row]) * scale[row] * grad[row * channels + c];
    });
}

#define S3D_INSTANTIATE(T)                                                                            \
    template void max_pool<T>(const Plan&, const T*, const T*, int, T*, std::int32_t*, int);          \
    template void max_pool_backward<T>(const Plan&, const T*, const std::int32_t*, int, T*, T*, int); \
    template void avg_pool<T>(const Plan&, const T*, const T*, int, T*, int);                         \
    template void avg_pool_backward<T>(const Plan&, const T*, int, bool, T*, T*, int);
S3D_INSTANTIATE(float)
S3D_INSTANTIATE(double)

}  // namespace sparse3d
