// What the native functions share: bfloat16 in memory, e^x, and vectors of sixteen numbers.
//
// Numbers are float32 or bfloat16 in memory and float32 in registers; NaN and infinity pass through.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

// Numbers below which waking another thread costs more than it brings.
constexpr int64_t kSerial = 16384;

struct bf16 {
    uint16_t bits;
};

inline float get(float x) { return x; }

inline float get(bf16 x) {
    const uint32_t wide = static_cast<uint32_t>(x.bits) << 16;
    float value;
    std::memcpy(&value, &wide, 4);
    return value;
}

inline void put(float& place, float x) { place = x; }

inline void put(bf16& place, float x) {  // to the nearest, ties to even
    uint32_t wide;
    std::memcpy(&wide, &x, 4);
    const bool is_nan = (wide & 0x7fffffffu) > 0x7f800000u;
    const uint32_t rounded = (wide + 0x7fffu + ((wide >> 16) & 1u)) >> 16;
    place.bits = static_cast<uint16_t>(is_nan ? 0x7fc0u : rounded);
}

// e^x to 2e-7 of itself, and 0 below 1e-38: x = n ln 2 + r, a polynomial in r, n added to the
// exponent.
inline float exponential(float given) {
    float x = given < -87.0f ? -87.0f : given;
    x = x > 88.0f ? 88.0f : x;
    const float n = __builtin_rintf(x * 1.44269504f);
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    const int32_t scale = (static_cast<int32_t>(n) + 127) << 23;
    float two_to_n;
    std::memcpy(&two_to_n, &scale, 4);
    return given < -87.0f ? 0.0f : p * two_to_n;
}

template <class T>
float inverse_rms(const T* x, int64_t size, float eps) {
    float squares = 0.0f;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < size; i++) squares += get(x[i]) * get(x[i]);
    return 1.0f / __builtin_sqrtf(squares / static_cast<float>(size) + eps);
}

// Sixteen numbers at a time; the compiler cuts them to what the processor has.
constexpr int64_t kLanes = 16;
typedef float lanes __attribute__((vector_size(64)));
typedef float quad __attribute__((vector_size(16)));
typedef uint16_t half_bits __attribute__((vector_size(32)));
typedef uint32_t wide_bits __attribute__((vector_size(64)));

inline lanes load(const float* x) {
    lanes value;
    std::memcpy(&value, x, sizeof value);
    return value;
}

inline lanes load(const bf16* x) {
    half_bits bits;
    std::memcpy(&bits, x, sizeof bits);
    const wide_bits wide = __builtin_convertvector(bits, wide_bits) << 16;
    lanes value;
    std::memcpy(&value, &wide, sizeof value);
    return value;
}

inline quad folded(lanes x) {
    quad q[4];
    std::memcpy(q, &x, sizeof q);
    return (q[0] + q[1]) + (q[2] + q[3]);
}

}  // namespace
