#include "isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "sparse3d/sparse3d.h"

namespace sparse3d {
namespace {

struct InstructionSet {
    const Kernels& kernels;
    bool here;  // does this processor have it?
};

// Those of this build, the slowest first.
std::vector<InstructionSet> instruction_sets() {
#if defined(SPARSE3D_NEON)
    return {{kernels_neon, true}};
#elif defined(SPARSE3D_X86)
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    static const Kernels avx512_bf16 = [] {
        Kernels k = kernels_avx512;
        k.name = "avx512_bf16";
        k.voxels = &avx512_bf16::voxel_kernels;
        k.bf16 = &avx512_bf16::bfloat16_kernels;
        return k;
    }();
    return {{kernels_baseline, true},
            {kernels_avx2, avx2},
            {kernels_avx512, avx512},
            {avx512_bf16, avx512 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vbmi2")}};
#else
    return {{kernels_baseline, true}};
#endif
}

// "a, b or c"
std::string names(const std::vector<InstructionSet>& sets) {
    std::string list;
    for (std::size_t i = 0; i < sets.size(); ++i)
        list += (i == 0 ? "" : i + 1 < sets.size() ? ", " : " or ") + std::string(sets[i].kernels.name);
    return list;
}

const Kernels& choose() {
    const char* variable = std::getenv("NAPARI_SPARSE3D_ISA");
    const std::string wanted = variable != nullptr ? variable : "";
    const std::vector<InstructionSet> sets = instruction_sets();
    for (auto set = sets.rbegin(); set != sets.rend(); ++set) {
        if (wanted.empty() ? set->here : wanted == set->kernels.name) {
            if (set->here) return set->kernels;
            throw std::invalid_argument("NAPARI_SPARSE3D_ISA=" + wanted +
                                        ", but this processor lacks it; unset the variable");
        }
    }
    throw std::invalid_argument("NAPARI_SPARSE3D_ISA=" + wanted + " is no instruction set of this build; choose " +
                                names(sets));
}

}  // namespace

const Kernels& kernels() {
    static const Kernels& chosen = choose();
    return chosen;
}

const char* instruction_set() { return kernels().name; }
bool multiplies_bfloat16() { return kernels().bf16->in_one_instruction; }

}  // namespace sparse3d
