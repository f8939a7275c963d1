#include "threads.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "pages.h"
#include "simd/kernel.h"
#include "sparse3d/sparse3d.h"

namespace sparse3d {
namespace {

void pause_a_little() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("isb");  // `yield` does nothing on most of them
#endif
}

// The caller opens a gate, takes tasks, closes the gate when none is left, and waits for the workers that came in: one
// that slept or was not given a processor meanwhile is not waited for. Workers wait for a new round by spinning for
// some microseconds (layers of a network follow each other closely), then asleep. One round at a time: a second caller
// finds the pool busy and works alone.
class Pool {
public:
    void run(std::int64_t tasks, int threads, Order order, Body body, void* context) {
        const std::unique_lock<std::mutex> only_round(round_mutex_, std::try_to_lock);
        threads = int(std::min<std::int64_t>(threads, tasks));
        if (!only_round.owns_lock() || threads <= 1 || std::uint64_t(tasks) >= kHigh) {
            for (std::int64_t task = 0; task < tasks; ++task) body(context, task, 0);
            return;
        }
        for (; workers_ < threads - 1; ++workers_)
            std::thread([this, worker = workers_ + 1, seen = gate_.load()] { work(worker, seen); }).detach();
        threads_ = threads;
        share_out(tasks, order == Order::by_number ? 1 : threads);
        body_ = body;
        context_ = context;
        {
            const std::lock_guard<std::mutex> lock(sleep_mutex_);
            gate_.store(gate_.load(std::memory_order_relaxed) + kRound + kOpen, std::memory_order_release);
        }
        if (asleep_.load() > 0) wake_.notify_all();
        take_tasks(0);
        gate_.fetch_and(~kOpen, std::memory_order_acq_rel);
        for (int turn = 0; (gate_.load(std::memory_order_acquire) & kInside) != 0; ++turn) relax(turn);
    }

private:
    // The gate: number of the round, whether it is open, how many workers are inside.
    static constexpr std::uint64_t kInside = 0xffff, kOpen = 0x10000, kRound = 0x20000;
    static bool is_new(std::uint64_t gate, std::uint64_t seen) {
        return (gate & kOpen) != 0 && gate / kRound != seen / kRound;
    }

    // Tasks that no one has begun yet. Each worker has its own, as neighbours read the same rows, and what one layer
    // wrote the next one reads: they are in that processor's cache. It takes them from the front; who is through with
    // its own takes the others' from the back, which leaves both with a stretch.
    struct alignas(64) Share {
        std::int64_t first = 0;
        std::atomic<std::uint64_t> left{
            0};  // counted from `first`: the next in the low half, behind the last in the high one
    };
    static constexpr std::uint64_t kHigh = std::uint64_t(1) << 32;

    void share_out(std::int64_t tasks, int shares) {
        if (std::size_t(shares) > shares_.size()) shares_ = std::vector<Share>(std::size_t(shares));
        share_count_ = shares;
        for (int i = 0; i < shares; ++i) {
            Share& share = shares_[std::size_t(i)];
            share.first = tasks * i / shares;
            share.left.store(std::uint64_t(tasks * (i + 1) / shares - share.first) * kHigh, std::memory_order_relaxed);
        }
    }

    // The next of a share, or its last; -1 if none is left.
    static std::int64_t take(Share& share, bool last) {
        std::uint64_t left = share.left.load(std::memory_order_relaxed);
        while (left % kHigh < left / kHigh) {
            if (share.left.compare_exchange_weak(left, last ? left - kHigh : left + 1, std::memory_order_relaxed))
                return share.first + std::int64_t(last ? left / kHigh - 1 : left % kHigh);
        }
        return -1;
    }

    void take_tasks(int worker) {
        for (int turn = 0; turn < share_count_; ++turn) {
            Share& share = shares_[std::size_t((worker + turn) % share_count_)];
            for (std::int64_t task; (task = take(share, turn > 0)) >= 0;) body_(context_, task, worker);
        }
    }

    void work(int worker, std::uint64_t seen) {
        for (;;) {
            std::uint64_t gate = gate_.load(std::memory_order_acquire);
            for (int spins = 0; !is_new(gate, seen); gate = gate_.load(std::memory_order_acquire)) {
                pause_a_little();
                if (++spins < kSpins) continue;
                std::unique_lock<std::mutex> lock(sleep_mutex_);
                asleep_.fetch_add(1);
                wake_.wait(lock, [&] { return is_new(gate_.load(), seen); });
                asleep_.fetch_sub(1);
            }
            if (!gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acq_rel)) continue;
            seen = gate;
            if (worker < threads_) take_tasks(worker);
            gate_.fetch_sub(1, std::memory_order_acq_rel);
        }
    }

    static constexpr int kSpins = 20000;
    std::mutex round_mutex_, sleep_mutex_;
    std::condition_variable wake_;
    int workers_ = 0;
    std::atomic<std::uint64_t> gate_{0};
    std::atomic<int> asleep_{0};
    std::vector<Share> shares_;
    int share_count_ = 0, threads_ = 0;
    Body body_ = nullptr;
    void* context_ = nullptr;
};

// Never destroyed: workers may outlive main. A forked child has none of its parent's threads, so it gets a new pool.
Pool& pool() {
    static std::mutex mutex;
    static Pool* current = nullptr;
    const std::lock_guard<std::mutex> lock(mutex);
#if defined(__unix__) || defined(__APPLE__)
    static pid_t owner = 0;
    if (owner != getpid()) current = nullptr;
    owner = getpid();
#endif
    if (current == nullptr) current = new Pool;
    return *current;
}

// Used blocks, by size. Fresh pages cost a fault each, so big blocks are worth keeping; a new one takes the place of
// the next smaller, so that what is held stays near what was once needed at the same time.
struct Store {
    std::mutex mutex;
    std::multimap<std::size_t, void*> blocks;
    std::size_t held = 0;
};
// A larger block goes back to the system at once: beside the work that needs so much, its pages cost little.
constexpr std::size_t kLargestKept = std::size_t(256) << 20;
constexpr std::size_t kMostKept = std::size_t(512) << 20;  // of all together: results come back in any number
constexpr std::size_t kLarge = std::size_t(32) << 20;
Store& store() {
    static Store* const s = new Store;
    return *s;
}

}  // namespace

void relax(int turn) {
    if (turn < 100)
        pause_a_little();
    else
        std::this_thread::yield();
}

void run_parallel(std::int64_t tasks, int threads, Order order, Body body, void* context) {
    if (tasks <= 0) return;
    set_in_use();  // throws here if it must, as a body, which calls kernels, must not
    if (threads <= 1 || tasks == 1) {
        for (std::int64_t task = 0; task < tasks; ++task) body(context, task, 0);
        return;
    }
    pool().run(tasks, threads, order, body, context);
}

Scratchpad::Scratchpad(std::size_t bytes) : block_(nullptr), bytes_(0) {
    Store& s = store();
    void* replaced = nullptr;
    {
        const std::lock_guard<std::mutex> lock(s.mutex);
        const auto found = s.blocks.lower_bound(bytes);
        if (found != s.blocks.end() && found->first <= 4 * bytes + (1 << 16)) {
            bytes_ = found->first;
            block_ = found->second;
            s.blocks.erase(found);
            s.held -= bytes_;
            return;
        }
        if (found != s.blocks.begin() && bytes <= kLargestKept) {
            const auto smaller = std::prev(found);
            replaced = smaller->second;
            s.held -= smaller->first;
            s.blocks.erase(smaller);
        }
    }
    if (replaced != nullptr) ::operator delete(replaced, std::align_val_t(64));
    bytes_ = std::max<std::size_t>(64, (bytes + 63) / 64 * 64);
    block_ = ::operator new(bytes_, std::align_val_t(64));
    if (bytes_ >= kLarge) use_huge_pages(block_, bytes_);
}

Scratchpad::~Scratchpad() {
    if (block_ == nullptr) return;
    Store& s = store();
    {
        const std::lock_guard<std::mutex> lock(s.mutex);
        if (bytes_ <= kLargestKept && s.held + bytes_ <= kMostKept) {
            s.blocks.emplace(bytes_, block_);
            s.held += bytes_;
            return;
        }
    }
    ::operator delete(block_, std::align_val_t(64));
}

std::shared_ptr<void> result_block(std::size_t bytes) {
    const auto pad = std::make_shared<Scratchpad>(bytes);
    return {pad, pad->as<void>()};
}

void trim() {
    Store& s = store();
    const std::lock_guard<std::mutex> lock(s.mutex);
    for (const auto& [bytes, block] : s.blocks) ::operator delete(block, std::align_val_t(64));
    s.blocks.clear();
    s.held = 0;
}

std::size_t scratch_bytes() {
    Store& s = store();
    const std::lock_guard<std::mutex> lock(s.mutex);
    return s.held;
}

}  // namespace sparse3d
