// Pages of memory that nothing was written to yet.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sparse3d {

// For threads that fill a large fresh array together, in order, each from its own stretch on: the bytes [from, to) of
// `size`. They reach every new page at the same time, and each would clear one, all but one of them in vain. So the
// thread whose stretch comes near a huge page has it made while the others still write before it.
void make_pages_ahead(void* array, std::int64_t from, std::int64_t to, std::int64_t size);

// A large block in huge pages, where the system leaves that to the program: fewer faults, fewer misses of the page
// table.
void use_huge_pages(void* block, std::size_t bytes);

}  // namespace sparse3d
