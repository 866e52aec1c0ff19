// Products of a few rows with a frozen weight, at the rate at which the weight comes from memory.
//
// A decoding step reads every weight once for a few dozen rows, and a library's product waits for
// memory where it could ask ahead. Weights are laid out in panels of 32 outputs, in the order in
// which they are read (models/few_rows.py). All threads of a parallel region call these together.

#pragma once

#include "small_product.h"

#include <algorithm>

#ifdef __AMX_BF16__
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

constexpr int64_t kPanel = 32;

// What a thread holds while it multiplies.
template <class T>
struct Multiplying {};

// out (rows, n) = x (rows, k) weight^T + bias (n), where there is one; packed (n / 32, k, 32).
inline void few_rows(const float* x, const float* packed, const float* bias, float* out,
                     int64_t rows, int64_t n, int64_t k) {
#pragma omp for schedule(static)
    for (int64_t panel = 0; panel < n / kPanel; panel++) {
        const float* b = packed + panel * k * kPanel;
        float* c = out + panel * kPanel;
        // The first rows bring the panel from memory, the others find it in the cache.
        const int64_t first = rows < kTileRows ? 1 : kTileRows;
        if (first == 1) {
            tile<1, 2, kAskedAhead>(x, k, 1, b, kPanel, c, n, k, false);
        } else {
            tile<kTileRows, 2, kAskedAhead>(x, k, 1, b, kPanel, c, n, k, false);
        }
        strip<2>(rows - first, x + first * k, k, 1, b, kPanel, c + first * n, n, k, false);
        for (int64_t row = 0; bias && row < rows; row++) {
#pragma omp simd
            for (int64_t i = 0; i < kPanel; i++) c[row * n + i] += bias[panel * kPanel + i];
        }
    }
}

#ifdef __AMX_BF16__

constexpr int64_t kDepth = 32;   // numbers of a row that a tile holds
constexpr int64_t kTile = 512;   // numbers of a tile
constexpr int64_t kSide = 16;    // rows of a tile, and its sums a row

struct alignas(64) TileConfig {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
};

template <>
struct Multiplying<bf16> {
    Multiplying() {
        TileConfig config;
        for (int i = 0; i < 8; i++) config.row_bytes[i] = 64, config.rows[i] = kSide;
        // GCC before 14 believes that the instruction reads eight bytes of it (its bug 114098).
        __asm__ volatile("" : : "r"(&config) : "memory");
        _tile_loadconfig(&config);
    }
    ~Multiplying() { _tile_release(); }
};

// Sums of two tiles' rows by two tiles' outputs; kBlocks (1 or 2) of sixteen rows.
template <int kBlocks, bool kAsks>
inline void multiply(const bf16* x, int64_t k, const bf16* b, float* found) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t chunk = 0; chunk < k / kDepth; chunk++, b += 2 * kTile) {
        if (kAsks) {
            const char* ahead = reinterpret_cast<const char*>(b) + kAskedAhead;
            for (int64_t i = 0; i < 2048; i += 64) __builtin_prefetch(ahead + i);
        }
        _tile_loadd(4, x + chunk * kDepth, k * 2);
        _tile_loadd(6, b, 64);
        _tile_loadd(7, b + kTile, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        if (kBlocks == 2) {
            _tile_loadd(5, x + kSide * k + chunk * kDepth, k * 2);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    const int64_t stride = kPanel * sizeof(float);
    _tile_stored(0, found, stride);
    _tile_stored(1, found + kSide, stride);
    if (kBlocks == 2) {
        _tile_stored(2, found + kSide * kPanel, stride);
        _tile_stored(3, found + kSide * kPanel + kSide, stride);
    }
}

// As above; packed (n / 32, k / 32, 2, 16, 16, 2): of two neighbours in depth the sixteen outputs.
// x has a multiple of sixteen rows, of which the first `rows` are written.
inline void few_rows(const bf16* x, const bf16* packed, const bf16* bias, bf16* out, int64_t rows,
                     int64_t n, int64_t k) {
    const int64_t blocks = (rows + kSide - 1) / kSide;
    alignas(64) float found[2 * kSide * kPanel];
#pragma omp for schedule(static)
    for (int64_t panel = 0; panel < n / kPanel; panel++) {
        const bf16* b = packed + panel * k * kPanel;
        for (int64_t block = 0; block < blocks; block += 2) {
            const bf16* states = x + block * kSide * k;
            if (block + 1 == blocks) {
                block ? multiply<1, false>(states, k, b, found)
                      : multiply<1, true>(states, k, b, found);
            } else {
                block ? multiply<2, false>(states, k, b, found)
                      : multiply<2, true>(states, k, b, found);
            }
            const int64_t end = std::min(rows, (block + 2) * kSide);
            for (int64_t row = block * kSide; row < end; row++) {
                const float* from = found + (row - block * kSide) * kPanel;
                bf16* to = out + row * n + panel * kPanel;
                for (int64_t i = 0; i < kPanel; i++) {
                    put(to[i], bias ? from[i] + get(bias[panel * kPanel + i]) : from[i]);
                }
            }
        }
    }
}

// Tiles have to be asked for, once a process.
inline bool has_tiles() {
    constexpr int64_t kRequest = 0x1023, kTileData = 18;
    return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

#else

inline void few_rows(const bf16*, const bf16*, const bf16*, bf16*, int64_t, int64_t, int64_t) {}

inline bool has_tiles() { return false; }

#endif

}  // namespace
