// Which voxels of a line lie in a range: how many, or their bits, coordinates and values.
#include "voxels.h"

#include "vec.h"

namespace sparse3d {
namespace S3D_ISA {
namespace {

S3D_INLINE uint64_t bits_of(const uint8_t* v, VoxelRange<uint8_t> r) {
#if defined(__AVX512F__)
    const __m512i a = _mm512_loadu_si512(v);
    return _mm512_cmpge_epu8_mask(a, _mm512_set1_epi8(char(r.low))) &
           _mm512_cmple_epu8_mask(a, _mm512_set1_epi8(char(r.high)));
#else
    uint64_t bits = 0;
    for (int i = 0; i < 64; ++i) bits |= uint64_t(v[i] >= r.low && v[i] <= r.high) << i;
    return bits;
#endif
}

S3D_INLINE uint64_t bits_of(const int16_t* v, VoxelRange<int16_t> r) {
#if defined(__AVX512F__)
    const __m512i low = _mm512_set1_epi16(r.low), high = _mm512_set1_epi16(r.high);
    const __m512i a = _mm512_loadu_si512(v), b = _mm512_loadu_si512(v + 32);
    const __mmask32 first = _mm512_cmpge_epi16_mask(a, low) & _mm512_cmple_epi16_mask(a, high);
    const __mmask32 second = _mm512_cmpge_epi16_mask(b, low) & _mm512_cmple_epi16_mask(b, high);
    return uint64_t(first) | uint64_t(second) << 32;
#elif defined(__AVX2__)
    const __m256i low = _mm256_set1_epi16(r.low), high = _mm256_set1_epi16(r.high);
    uint64_t bits = 0;
    for (int i = 0; i < 64; i += 32) {
        __m256i outside[2];
        for (int j = 0; j < 2; ++j) {
            const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(v + i + 16 * j));
            outside[j] = _mm256_or_si256(_mm256_cmpgt_epi16(low, a), _mm256_cmpgt_epi16(a, high));
        }
        const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi16(outside[0], outside[1]), 0xd8);
        bits |= uint64_t(uint32_t(~_mm256_movemask_epi8(packed))) << i;
    }
    return bits;
#else
    uint64_t bits = 0;
    for (int i = 0; i < 64; ++i) bits |= uint64_t(v[i] >= r.low && v[i] <= r.high) << i;
    return bits;
#endif
}

S3D_INLINE uint64_t bits_of(const uint16_t* v, VoxelRange<uint16_t> r) {
#if defined(__AVX512F__)
    const __m512i low = _mm512_set1_epi16(int16_t(r.low)), high = _mm512_set1_epi16(int16_t(r.high));
    const __m512i a = _mm512_loadu_si512(v), b = _mm512_loadu_si512(v + 32);
    const __mmask32 first = _mm512_cmpge_epu16_mask(a, low) & _mm512_cmple_epu16_mask(a, high);
    const __mmask32 second = _mm512_cmpge_epu16_mask(b, low) & _mm512_cmple_epu16_mask(b, high);
    return uint64_t(first) | uint64_t(second) << 32;
#else
    uint64_t bits = 0;
    for (int i = 0; i < 64; ++i) bits |= uint64_t(v[i] >= r.low && v[i] <= r.high) << i;
    return bits;
#endif
}

S3D_INLINE uint64_t bits_of(const float* v, VoxelRange<float> r) {
    uint64_t bits = 0;
#if defined(__AVX512F__)
    for (int i = 0; i < 64; i += 16) {
        const __m512 a = _mm512_loadu_ps(v + i);
        const __mmask16 in = _mm512_cmp_ps_mask(a, _mm512_set1_ps(r.low), _CMP_GE_OQ) &
                             _mm512_cmp_ps_mask(a, _mm512_set1_ps(r.high), _CMP_LE_OQ);
        bits |= uint64_t(in) << i;
    }
#elif defined(__AVX2__)
    for (int i = 0; i < 64; i += 8) {
        const __m256 a = _mm256_loadu_ps(v + i);
        const __m256 in = _mm256_and_ps(_mm256_cmp_ps(a, _mm256_set1_ps(r.low), _CMP_GE_OQ),
                                        _mm256_cmp_ps(a, _mm256_set1_ps(r.high), _CMP_LE_OQ));
        bits |= uint64_t(uint32_t(_mm256_movemask_ps(in))) << i;
    }
#else
    for (int i = 0; i < 64; ++i) bits |= uint64_t(v[i] >= r.low && v[i] <= r.high) << i;
#endif
    return bits;
}

template <class T>
S3D_INLINE const T& voxel(const T* line, int64_t stride, int64_t x) {
    return *reinterpret_cast<const T*>(reinterpret_cast<const char*>(line) + x * stride);
}

// Bits of `count` voxels from x on, wherever they lie.
template <class T>
S3D_INLINE uint64_t bits_of_some(const T* line, int64_t stride, int x, int count, VoxelRange<T> range) {
    uint64_t word = 0;
    for (int i = 0; i < count; ++i) {
        const T v = voxel(line, stride, x + i);
        word |= uint64_t(v >= range.low && v <= range.high) << i;
    }
    return word;
}

#if defined(__AVX512F__)
// Three vectors of z y x z y x ...: where y and x stand, and which x it is.
constexpr __mmask16 kIsY[3] = {0x2492, 0x9249, 0x4924}, kIsX[3] = {0x4924, 0x2492, 0x9249};
alignas(64) constexpr int32_t kWhichX[3][16] = {{0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5},
                                                {5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 9, 10, 10},
                                                {10, 11, 11, 11, 12, 12, 12, 13, 13, 13, 14, 14, 14, 15, 15, 15}};
#endif

// Where voxels are taken out of words, the processor does not look far enough ahead by itself.
template <class T>
S3D_INLINE void fetch_ahead(const T* cells) {
    constexpr uintptr_t kAhead = 2048;
    for (uintptr_t byte = 0; byte < 64 * sizeof(T); byte += 64)
        __builtin_prefetch(reinterpret_cast<const char*>(uintptr_t(cells) + kAhead + byte));
}

#if defined(__AVX512VBMI2__)
// Values of 16 cells of a word, given where they stand in it.
S3D_INLINE __m512 values_at(const uint8_t* cells, __m128i at) {
    return _mm512_cvtepi32_ps(_mm512_i32gather_epi32(_mm512_cvtepu8_epi32(at), cells, 1) & _mm512_set1_epi32(0xff));
}
S3D_INLINE __m256i both_halves(const void* cells, __m128i at) {
    const char* half = static_cast<const char*>(cells);
    const __m512i which = _mm512_castsi256_si512(_mm256_cvtepu8_epi16(at));
    return _mm512_castsi512_si256(
        _mm512_permutex2var_epi16(_mm512_loadu_si512(half), which, _mm512_loadu_si512(half + 64)));
}
S3D_INLINE __m512 values_at(const int16_t* cells, __m128i at) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(both_halves(cells, at)));
}
S3D_INLINE __m512 values_at(const uint16_t* cells, __m128i at) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(both_halves(cells, at)));
}
S3D_INLINE __m512 values_at(const float* cells, __m128i at) {
    return _mm512_i32gather_ps(_mm512_cvtepu8_epi32(at), cells, 4);
}

alignas(64) constexpr uint8_t kCells[64] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                            16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
                                            32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47,
                                            48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};

// x and values of the set bits of a word, 16 at a time.
template <class T>
S3D_INLINE void take(const T* cells, uint64_t bits, int found, int x, int32_t* positions, float* values) {
    alignas(64) uint8_t at[64];
    _mm512_store_si512(at, _mm512_maskz_compress_epi8(bits, _mm512_load_si512(kCells)));
    for (int i = 0; i < found; i += 16) {
        const __m128i some = _mm_load_si128(reinterpret_cast<const __m128i*>(at + i));
        _mm512_storeu_si512(positions + i, _mm512_add_epi32(_mm512_cvtepu8_epi32(some), _mm512_set1_epi32(x)));
        _mm512_storeu_ps(values + i, values_at(cells, some));
    }
}
template <class T>
S3D_INLINE void value_line(const T*, const int32_t*, int, float*) {}
#else
// Lowest set bit; of no bits, any number.
S3D_INLINE int lowest_if_any(uint64_t bits) {
#if defined(__BMI__)
    return int(_tzcnt_u64(bits));
#else
    return lowest(bits | uint64_t(1) << 63);
#endif
}

// x of the set bits of a word, of which the first eight are written at once whether they are there or not: how many
// there are cannot be foreseen, that there are not more than eight mostly can. Their values wait for the end of the
// line.
template <class T>
S3D_INLINE void take(const T*, uint64_t bits, int found, int x, int32_t* positions, float*) {
    for (int i = 0; i < found; i += 8)
        for (int j = 0; j < 8; ++j, bits &= bits - 1) positions[i + j] = x + lowest_if_any(bits);
}
template <class T>
S3D_INLINE void value_line(const T* line, const int32_t* positions, int count, float* values) {
    for (int i = 0; i < count; ++i) values[i] = float(line[positions[i]]);
}
#endif

// The same of cells that are no whole word or do not lie side by side.
template <class T>
int take_some(const T* line, int64_t stride, uint64_t bits, int x, int32_t* positions, float* values) {
    int found = 0;
    for (; bits != 0; bits &= bits - 1, ++found) {
        positions[found] = x + lowest(bits);
        values[found] = float(voxel(line, stride, positions[found]));
    }
    return found;
}

}  // namespace

template <class T>
int64_t count_in_line(const T* line, int64_t stride, int n, VoxelRange<T> range) {
    int64_t count = 0;
    for (int x = 0; x < n; x += 64)
        count += popcount(stride == int64_t(sizeof(T)) && x + 64 <= n
                              ? bits_of(line + x, range)
                              : bits_of_some(line, stride, x, min(64, n - x), range));
    return count;
}

// The voxels of a line that lie in the range: their bits, indices (rows, 3) [z, y, x] and values (rows); returns how
// many. 64 rows more than there are may be written; `positions` has room for all cells of the line's words, and 16
// more.
template <class T>
int64_t voxels_in_line(const T* line, int64_t stride, int n, VoxelRange<T> range, int z, int y, uint64_t* bits,
                       int32_t* positions, int32_t* indices, float* values) {
    int count = 0, x = 0;
    if (stride == int64_t(sizeof(T))) {
        for (; x + 64 <= n; x += 64) {
            const uint64_t word = bits_of(line + x, range);
            if (bits != nullptr) bits[x >> 6] = word;
            if (word == 0) continue;
            fetch_ahead(line + x);
            const int found = popcount(word);
            take(line + x, word, found, x, positions + count, values + count);
            count += found;
        }
        value_line(line, positions, count, values);
    }
    for (; x < n; x += 64) {
        const uint64_t word = bits_of_some(line, stride, x, min(64, n - x), range);
        if (bits != nullptr) bits[x >> 6] = word;
        count += take_some(line, stride, word, x, positions + count, values + count);
    }
#if defined(__AVX512F__)
    for (int i = 0; i < count; i += 16) {
        const __m512i at = _mm512_loadu_si512(positions + i);
        for (int v = 0; v < 3; ++v) {
            const __m512i zy = _mm512_mask_blend_epi32(kIsY[v], _mm512_set1_epi32(z), _mm512_set1_epi32(y));
            _mm512_storeu_si512(indices + i * 3 + v * 16,
                                _mm512_mask_permutexvar_epi32(zy, kIsX[v], _mm512_load_si512(kWhichX[v]), at));
        }
    }
#else
    for (int i = 0; i < count; ++i) {
        indices[i * 3] = z;
        indices[i * 3 + 1] = y;
        indices[i * 3 + 2] = positions[i];
    }
#endif
    return count;
}

void copy_past_caches(const void* source, int64_t bytes, void* result) {
    const char* from = static_cast<const char*>(source);
    char* to = static_cast<char*>(result);
#if defined(__AVX512F__)
    const int64_t head = min(int64_t(-reinterpret_cast<uintptr_t>(to) & 63), bytes);
    const auto some = [&](int64_t count) {
        const __mmask64 mask = (uint64_t(1) << count) - 1;
        _mm512_mask_storeu_epi8(to, mask, _mm512_maskz_loadu_epi8(mask, from));
        from += count;
        to += count;
        bytes -= count;
    };
    some(head);
    for (; bytes >= 64; bytes -= 64, from += 64, to += 64)
        _mm512_stream_si512(reinterpret_cast<__m512i*>(to), _mm512_loadu_si512(from));
    some(bytes);
    _mm_sfence();
#else
    __builtin_memcpy(to, from, size_t(bytes));
#endif
}

#define S3D_INSTANTIATE(T)                                                                                             \
    template int64_t count_in_line<T>(const T*, int64_t, int, VoxelRange<T>);                                          \
    template int64_t voxels_in_line<T>(const T*, int64_t, int, VoxelRange<T>, int, int, uint64_t*, int32_t*, int32_t*, \
                                       float*);
S3D_INSTANTIATE(uint8_t)
S3D_INSTANTIATE(int16_t)
S3D_INSTANTIATE(uint16_t)
S3D_INSTANTIATE(float)

}  // namespace S3D_ISA
}  // namespace sparse3d
