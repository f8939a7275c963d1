// How a kernel is declared: once, in the header of its own file.
//
//     S3D_KERNEL(void, rank_top, const uint64_t* top, int64_t n, uint32_t* rank)
//
// Its file, which is compiled once for each instruction set, defines it in the namespace of that set, S3D_ISA. A
// driver, compiled once, calls `chosen::rank_top(top, n, rank)`: the one of the set in use. S3D_TYPED_KERNEL declares a
// template of T, which its file instantiates for the types it is called with; S3D_NEWEST_... those that have a version
// for avx512_bf16 as well (others take avx512's there).
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(S3D_ISA)

#define S3D_KERNEL(result, name, ...) \
    namespace S3D_ISA {               \
    result name(__VA_ARGS__);         \
    }
#define S3D_TYPED_KERNEL(result, name, ...) \
    namespace S3D_ISA {                     \
    template <class T>                      \
    result name(__VA_ARGS__);               \
    }
#define S3D_NEWEST_KERNEL S3D_KERNEL
#define S3D_NEWEST_TYPED_KERNEL S3D_TYPED_KERNEL

#else

#define S3D_IN(isa, ...) \
    namespace isa {      \
    __VA_ARGS__;         \
    }
#if defined(SPARSE3D_X86)
#define S3D_IN_EACH(...) S3D_IN(baseline, __VA_ARGS__) S3D_IN(avx2, __VA_ARGS__) S3D_IN(avx512, __VA_ARGS__)
#define S3D_IN_EACH_AND_NEWEST(...) S3D_IN_EACH(__VA_ARGS__) S3D_IN(avx512_bf16, __VA_ARGS__)
#define S3D_OF_EACH(name) baseline::name, avx2::name, avx512::name, avx512::name
#define S3D_OF_EACH_AND_NEWEST(name) baseline::name, avx2::name, avx512::name, avx512_bf16::name
#else
#if defined(SPARSE3D_NEON)
#define S3D_ONLY neon
#else
#define S3D_ONLY baseline
#endif
#define S3D_IN_EACH(...) S3D_IN(S3D_ONLY, __VA_ARGS__)
#define S3D_IN_EACH_AND_NEWEST S3D_IN_EACH
#define S3D_OF_EACH(name) S3D_ONLY::name
#define S3D_OF_EACH_AND_NEWEST S3D_OF_EACH
#endif

#define S3D_DISPATCHED(in_each, of_each, result, name, ...) \
    in_each(result name(__VA_ARGS__)) namespace chosen { constexpr auto name = one_of(of_each(name)); }
#define S3D_TYPED_DISPATCHED(in_each, of_each, result, name, ...)           \
    in_each(template <class T> result name(__VA_ARGS__)) namespace chosen { \
        template <class T>                                                  \
        constexpr auto name = one_of(of_each(name<T>));                     \
    }
#define S3D_KERNEL(...) S3D_DISPATCHED(S3D_IN_EACH, S3D_OF_EACH, __VA_ARGS__)
#define S3D_TYPED_KERNEL(...) S3D_TYPED_DISPATCHED(S3D_IN_EACH, S3D_OF_EACH, __VA_ARGS__)
#define S3D_NEWEST_KERNEL(...) S3D_DISPATCHED(S3D_IN_EACH_AND_NEWEST, S3D_OF_EACH_AND_NEWEST, __VA_ARGS__)
#define S3D_NEWEST_TYPED_KERNEL(...) S3D_TYPED_DISPATCHED(S3D_IN_EACH_AND_NEWEST, S3D_OF_EACH_AND_NEWEST, __VA_ARGS__)

namespace sparse3d {

// The number of the set in use among those of this build, the slowest first: see isa.cpp, which knows their names.
// Throws std::invalid_argument if one is asked for that is not there.
int set_in_use();

// One kernel, in each set.
template <int sets, class R, class... A>
struct Kernel {
    R (*in_set[sets])(A...);
    auto here() const { return in_set[set_in_use()]; }  // for those that take as long as a call to find out
    R operator()(A... arguments) const { return here()(arguments...); }
};
template <class R, class... A, class... Others>
constexpr Kernel<1 + int(sizeof...(Others)), R, A...> one_of(R (*first)(A...), Others... others) {
    return {{first, others...}};
}

}  // namespace sparse3d

#endif
