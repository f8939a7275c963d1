#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <type_traits>

#include "pages.h"
#include "simd/voxels.h"
#include "sparse3d/sparse3d.h"
#include "threads.h"

namespace sparse3d {
namespace {

// The values of T that lie between low and high; low above high if there are none.
template <class T>
VoxelRange<T> range_of(double low, double high) {
    using Limits = std::numeric_limits<T>;
    if (std::isnan(low) || std::isnan(high) || low > high || high < double(Limits::lowest()) ||
        low > double(Limits::max())) {
        if (std::is_integral_v<T> || std::isnan(low) || std::isnan(high) || low > high) return {T(1), T(0)};
    }
    if constexpr (std::is_integral_v<T>) {
        const double first = std::max(std::ceil(low), double(Limits::min())),
                     last = std::min(std::floor(high), double(Limits::max()));
        return first > last ? VoxelRange<T>{T(1), T(0)} : VoxelRange<T>{T(first), T(last)};
    } else {
        T first = T(low), last = T(high);
        if (double(first) < low) first = std::nextafter(first, std::numeric_limits<T>::infinity());
        if (double(last) > high) last = std::nextafter(last, -std::numeric_limits<T>::infinity());
        return {first, last};
    }
}

template <class T>
const T* line_at(const VolumeView<T>& v, std::int64_t line) {
    const std::int64_t z = line / v.shape[1], y = line - z * v.shape[1];
    return reinterpret_cast<const T*>(reinterpret_cast<const char*>(v.data) + z * v.strides[0] + y * v.strides[1]);
}

// Lines of a task: few enough that their voxels stay in the cache until they can be copied to their place.
template <class T>
std::int64_t lines_per_task(const VolumeView<T>& v) {
    return std::max<std::int64_t>(1, 128 * 1024 / std::max<std::int64_t>(1, v.shape[2] * std::int64_t(sizeof(T))));
}

}  // namespace

template <class T>
std::int64_t count_voxels(const VolumeView<T>& volume, double low, double high, int threads) {
    const VoxelRange<T> range = range_of<T>(low, high);
    const std::int64_t lines = volume.shape[0] * volume.shape[1], per_task = lines_per_task(volume);
    std::atomic<std::int64_t> count{0};
    const auto count_in_line = chosen::count_in_line<T>.here();
    parallel_for((lines + per_task - 1) / per_task, threads, [&](std::int64_t task, int) {
        std::int64_t found = 0;
        for (std::int64_t line = task * per_task; line < std::min(lines, (task + 1) * per_task); ++line)
            found += count_in_line(line_at(volume, line), volume.strides[2], int(volume.shape[2]), range);
        count += found;
    });
    return count;
}

// Results of more bytes would not stay in the caches, so they go past them.
constexpr std::int64_t kLarge = 1 << 25;

template <class T>
std::int64_t find_voxels(const VolumeView<T>& volume, double low, double high, std::int64_t capacity,
                         std::int32_t* indices, float* values, std::uint64_t* bitmap, int threads) {
    const VoxelRange<T> range = range_of<T>(low, high);
    const auto voxels_in_line = chosen::voxels_in_line<T>.here();
    const std::int64_t lines = volume.shape[0] * volume.shape[1], per_task = lines_per_task(volume),
                       words = (volume.shape[2] + 63) / 64;
    const std::int64_t tasks = (lines + per_task - 1) / per_task;
    // first[t]: row of task t's first voxel, -1 until the task before has counted its own. Tasks are begun in order, so
    // the one waited for is under way.
    const std::unique_ptr<std::atomic<std::int64_t>[]> first(new std::atomic<std::int64_t>[std::size_t(tasks) + 1]);
    for (std::int64_t t = 0; t <= tasks; ++t) first[std::size_t(t)].store(t == 0 ? 0 : -1, std::memory_order_relaxed);
    const bool large = capacity * 16 > kLarge;
    const auto copy = [&](const void* from, std::int64_t bytes, void* to) {
        if (large)
            chosen::copy_past_caches(from, bytes, to);
        else
            std::memcpy(to, from, std::size_t(bytes));
    };
    // A task's voxels are gathered before it is known where they go; the volume is read once, and so is the result
    // written.
    const std::int64_t cells = words * 64 + 16, rows = per_task * volume.shape[2] + 64;
    const WorkerScratch scratch(std::size_t(cells + 4 * rows) * 4, threads);
    parallel_for(Order::by_number, tasks, threads, [&](std::int64_t task, int worker) {
        std::int32_t* const positions = static_cast<std::int32_t*>(scratch.of(worker));
        std::int32_t* const own_indices = positions + cells;
        float* const own_values = reinterpret_cast<float*>(own_indices + 3 * rows);
        std::int64_t count = 0;
        for (std::int64_t line = task * per_task; line < std::min(lines, (task + 1) * per_task); ++line) {
            const std::int64_t z = line / volume.shape[1];
            count +=
                voxels_in_line(line_at(volume, line), volume.strides[2], int(volume.shape[2]), range, int(z),
                               int(line - z * volume.shape[1]), bitmap == nullptr ? nullptr : bitmap + line * words,
                               positions, own_indices + count * 3, own_values + count);
        }
        std::int64_t row;
        for (int turn = 0; (row = first[std::size_t(task)].load(std::memory_order_acquire)) < 0; ++turn) relax(turn);
        first[std::size_t(task) + 1].store(row + count, std::memory_order_release);
        if (row + count > capacity || count == 0) return;
        if (large && threads > 1) {
            make_pages_ahead(indices, row * 12, (row + count) * 12, capacity * 12);
            make_pages_ahead(values, row * 4, (row + count) * 4, capacity * 4);
        }
        copy(own_indices, count * 12, indices + row * 3);
        copy(own_values, count * 4, values + row);
    });
    return first[std::size_t(tasks)];
}

#define S3D_INSTANTIATE(T)                                                                                          \
    template std::int64_t count_voxels<T>(const VolumeView<T>&, double, double, int);                               \
    template std::int64_t find_voxels<T>(const VolumeView<T>&, double, double, std::int64_t, std::int32_t*, float*, \
                                         std::uint64_t*, int);
S3D_INSTANTIATE(std::uint8_t)
S3D_INSTANTIATE(std::int16_t)
S3D_INSTANTIATE(std::uint16_t)
S3D_INSTANTIATE(float)

}  // namespace sparse3d
