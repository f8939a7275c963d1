#include "isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "sparse3d/sparse3d.h"

namespace sparse3d {
namespace {

#if defined(SPARSE3D_X86)
bool has_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
           __builtin_cpu_supports("popcnt");
}
bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

const Kernels& choose() {
    const char* variable = std::getenv("NAPARI_SPARSE3D_ISA");
    const std::string wanted = variable != nullptr ? variable : "";
#if defined(SPARSE3D_X86)
    if (wanted.empty()) return has_avx512() ? kernels_avx512 : has_avx2() ? kernels_avx2 : kernels_baseline;
    const std::string lacking = "NAPARI_SPARSE3D_ISA=" + wanted + ", but this processor lacks it; unset the variable";
    if (wanted == "avx512") {
        if (!has_avx512()) throw std::invalid_argument(lacking);
        return kernels_avx512;
    }
    if (wanted == "avx2") {
        if (!has_avx2()) throw std::invalid_argument(lacking);
        return kernels_avx2;
    }
    const char* known = "baseline, avx2 or avx512";
#else
    const char* known = "baseline";
#endif
    if (wanted.empty() || wanted == "baseline") return kernels_baseline;
    throw std::invalid_argument("NAPARI_SPARSE3D_ISA=" + wanted + " is no instruction set of this build; choose " + known);
}

}  // namespace

const Kernels& kernels() {
    static const Kernels& chosen = choose();
    return chosen;
}

const char* instruction_set() { return kernels().name; }

}  // namespace sparse3d
