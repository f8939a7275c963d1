// A small thread pool and the scratch memory of its workers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace sparse3d {

// Run body(task, worker) for every task in [0, tasks), on up to `threads` threads, the caller among them. `worker` is
// below `threads` and no two bodies with the same worker run at once. Which worker takes which task varies; results
// must not depend on it. Bodies must not throw.
using Body = void (*)(void* context, std::int64_t task, int worker);
enum class Order {
    by_share,   // each worker first takes a stretch of neighbours, which read the same rows
    by_number,  // a task is begun only after all before it, for which it may therefore wait
};
void run_parallel(std::int64_t tasks, int threads, Order order, Body body, void* context);

template <class F>
void parallel_for(Order order, std::int64_t tasks, int threads, F&& f) {
    run_parallel(
        tasks, threads, order,
        [](void* context, std::int64_t task, int worker) {
            (*static_cast<std::remove_reference_t<F>*>(context))(task, worker);
        },
        &f);
}
template <class F>
void parallel_for(std::int64_t tasks, int threads, F&& f) {
    parallel_for(Order::by_share, tasks, threads, f);
}

// A turn of waiting for another thread that is about to finish: a moment, and after some turns the processor is given
// up, as that thread may be waiting for one.
void relax(int turn);

// A block of memory, 64-byte aligned, taken from a store of used ones and returned to it at the end of the scope.
class Scratchpad {
public:
    explicit Scratchpad(std::size_t bytes);
    ~Scratchpad();
    Scratchpad(Scratchpad&& other) noexcept : block_(std::exchange(other.block_, nullptr)), bytes_(other.bytes_) {}
    Scratchpad(const Scratchpad&) = delete;
    Scratchpad& operator=(const Scratchpad&) = delete;
    Scratchpad& operator=(Scratchpad&&) = delete;

    template <class T>
    T* as() const {
        return static_cast<T*>(block_);
    }
    char* bytes_at(std::size_t offset) const { return static_cast<char*>(block_) + offset; }

private:
    void* block_;
    std::size_t bytes_;
};

// One piece of scratch memory for each worker.
class WorkerScratch {
public:
    WorkerScratch(std::size_t bytes, int threads)
        : each_((bytes + 4095) / 4096 * 4096), pad_(each_ * std::size_t(threads)) {}
    void* of(int worker) const { return pad_.bytes_at(each_ * std::size_t(worker)); }

private:
    std::size_t each_;
    Scratchpad pad_;
};

}  // namespace sparse3d
