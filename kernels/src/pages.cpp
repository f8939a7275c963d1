#include "pages.h"

#if defined(__linux__)
#include <sys/mman.h>
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#endif

namespace sparse3d {

void make_pages_ahead(void* array, std::int64_t from, std::int64_t to, std::int64_t size) {
#if defined(__linux__)
    constexpr std::uintptr_t page = 1 << 21, lead = page / 2;
    const std::uintptr_t begin = reinterpret_cast<std::uintptr_t>(array);
    const auto page_at = [&](std::int64_t offset) { return (begin + std::uintptr_t(offset) + lead) / page * page; };
    const std::uintptr_t next = page_at(to);
    // A system that does not know how leaves the pages to be made as they are written, as without this.
    if (next != page_at(from) && next + page <= begin + std::uintptr_t(size))
        (void)madvise(reinterpret_cast<void*>(next), page, MADV_POPULATE_WRITE);
#else
    (void)array, (void)from, (void)to, (void)size;
#endif
}

void use_huge_pages(void* block, std::size_t bytes) {
#if defined(__linux__)
    constexpr std::uintptr_t page = 1 << 21;
    const std::uintptr_t begin = (reinterpret_cast<std::uintptr_t>(block) + page - 1) / page * page;
    const std::uintptr_t end = (reinterpret_cast<std::uintptr_t>(block) + bytes) / page * page;
    if (begin < end) (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
    (void)block, (void)bytes;
#endif
}

}  // namespace sparse3d
