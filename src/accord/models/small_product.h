// Products of matrices that fit a processor's cache, in float32; no other library is called from
// within a thread.

#pragma once

#include "native.h"

namespace {

#ifdef __AVX512F__
constexpr int64_t kTileRows = 8;  // 16 of 32 registers hold sums
#else
constexpr int64_t kTileRows = 2;
#endif
constexpr int64_t kTileColumns = 2 * kLanes;

inline int64_t padded(int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }

inline void store(float* place, lanes x) { std::memcpy(place, &x, sizeof x); }

// Bytes that are asked for before they are needed, by who reads from memory and not from a cache.
constexpr int64_t kAskedAhead = 4096;

// A number of rows of C = (or +=) A B, for `width` (16 or 32) columns; A's element (i, k) lies at
// a[i row + k step].
template <int64_t kRows, int64_t kVectors, int64_t kAhead = 0>
inline void tile(const float* a, int64_t row, int64_t step, const float* b, int64_t ldb, float* c,
                 int64_t ldc, int64_t depth, bool adds) {
    lanes sums[kRows][kVectors];
#pragma GCC unroll 8
    for (int64_t i = 0; i < kRows; i++) {
#pragma GCC unroll 2
        for (int64_t j = 0; j < kVectors; j++) {
            sums[i][j] = adds ? load(c + i * ldc + j * kLanes) : lanes{};
        }
    }
    for (int64_t k = 0; k < depth; k++) {
        lanes right[kVectors];
        if (kAhead) {
            const char* place = reinterpret_cast<const char*>(b + k * ldb) + kAhead;
            __builtin_prefetch(place), __builtin_prefetch(place + 64);
        }
#pragma GCC unroll 2
        for (int64_t j = 0; j < kVectors; j++) right[j] = load(b + k * ldb + j * kLanes);
#pragma GCC unroll 8
        for (int64_t i = 0; i < kRows; i++) {
            const float left = a[i * row + k * step];
#pragma GCC unroll 2
            for (int64_t j = 0; j < kVectors; j++) sums[i][j] += left * right[j];
        }
    }
#pragma GCC unroll 8
    for (int64_t i = 0; i < kRows; i++) {
#pragma GCC unroll 2
        for (int64_t j = 0; j < kVectors; j++) store(c + i * ldc + j * kLanes, sums[i][j]);
    }
}

template <int64_t kVectors>
inline void strip(int64_t rows, const float* a, int64_t row, int64_t step, const float* b,
                  int64_t ldb, float* c, int64_t ldc, int64_t depth, bool adds) {
    int64_t i = 0;
    for (; i + kTileRows <= rows; i += kTileRows) {
        tile<kTileRows, kVectors>(a + i * row, row, step, b, ldb, c + i * ldc, ldc, depth, adds);
    }
    for (; i < rows; i++) {
        tile<1, kVectors>(a + i * row, row, step, b, ldb, c + i * ldc, ldc, depth, adds);
    }
}

// C (rows, columns) = or += A (rows, depth) B (depth, columns); columns are a multiple of 16.
inline void product(int64_t rows, int64_t columns, int64_t depth, const float* a, int64_t row,
                    int64_t step, const float* b, int64_t ldb, float* c, int64_t ldc, bool adds) {
    int64_t j = 0;
    for (; j + kTileColumns <= columns; j += kTileColumns) {
        strip<2>(rows, a, row, step, b + j, ldb, c + j, ldc, depth, adds);
    }
    if (j < columns) strip<1>(rows, a, row, step, b + j, ldb, c + j, ldc, depth, adds);
}

}  // namespace
