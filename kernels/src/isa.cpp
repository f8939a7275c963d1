// Which instruction set is in use.
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "simd/bfloat16.h"
#include "simd/kernel.h"
#include "sparse3d/sparse3d.h"

namespace sparse3d {
namespace {

struct InstructionSet {
    const char* name;
    bool here;  // does this processor have it?
};

// Those of this build, the slowest first: in the order of simd/kernel.h.
std::vector<InstructionSet> instruction_sets() {
#if defined(SPARSE3D_NEON)
    return {{"neon", true}};
#elif defined(SPARSE3D_X86)
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    const bool newest = avx512 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vbmi2");
    return {{"baseline", true}, {"avx2", avx2}, {"avx512", avx512}, {"avx512_bf16", newest}};
#else
    return {{"baseline", true}};
#endif
}

// "a, b or c"
std::string names(const std::vector<InstructionSet>& sets) {
    std::string list;
    for (std::size_t i = 0; i < sets.size(); ++i)
        list += (i == 0 ? "" : i + 1 < sets.size() ? ", " : " or ") + std::string(sets[i].name);
    return list;
}

int choose() {
    const char* variable = std::getenv("NAPARI_SPARSE3D_ISA");
    const std::string wanted = variable != nullptr ? variable : "";
    const std::vector<InstructionSet> sets = instruction_sets();
    for (std::size_t i = sets.size(); i-- > 0;) {
        if (wanted.empty() ? !sets[i].here : wanted != sets[i].name) continue;
        if (sets[i].here) return int(i);
        throw std::invalid_argument("NAPARI_SPARSE3D_ISA=" + wanted +
                                    ", but this processor lacks it; unset the variable");
    }
    throw std::invalid_argument("NAPARI_SPARSE3D_ISA=" + wanted + " is no instruction set of this build; choose " +
                                names(sets));
}

}  // namespace

int set_in_use() {
    static const int chosen = choose();
    return chosen;
}

const char* instruction_set() {
    static const std::string name = instruction_sets()[std::size_t(set_in_use())].name;
    return name.c_str();
}
bool multiplies_bfloat16() { return chosen::has_bfloat16_products(); }

}  // namespace sparse3d
