// The store of used blocks.
#include "tests.h"

void test_result_blocks() {
    scene = "blocks for results";
    trim();
    constexpr std::size_t kSmall = 1 << 20, kHuge = std::size_t(300) << 20;
    std::shared_ptr<void> one = result_block(kSmall), other = result_block(kSmall), same = one;
    void* const first = one.get();
    check(first != other.get(), "blocks in use are not given out again");
    one.reset();
    check(scratch_bytes() == 0, "a block goes back with its last owner");
    same.reset();
    check(scratch_bytes() == kSmall, "a block goes back with its last owner");
    check(result_block(kSmall).get() == first, "a block that was given back is used again");
    other.reset();
    result_block(kHuge).reset();
    check(scratch_bytes() == 2 * kSmall, "the largest blocks are not kept");
    std::vector<std::shared_ptr<void>> many;
    for (int i = 0; i < 4; ++i) many.push_back(result_block(std::size_t(200) << 20));  // pages that nobody touches
    many.clear();
    check(scratch_bytes() == std::size_t(400) << 20, "512 MB are kept at most");
    trim();
    check(scratch_bytes() == 0, "all blocks are given back");
}
