// What training a decoder does between its matrix products, forward and backward; see
// training_kernels.py, which has the formulas. T is the type of what products read and write.

#ifdef __AVX512F__
// Compilers shun its registers, which on older processors lowered the clock; here they take a
// quarter to a half less time.
#pragma GCC target("prefer-vector-width=512")
#endif

#include <algorithm>

#include "native.h"

namespace {

// sum = hidden + delta (where there is one); out = RMSNorm(sum) * weight; scales (rows) 1 / rms.
template <class T>
void norm_forward(const float* hidden, const T* delta, const float* weight, float* sum, T* out,
                  float* scales, int64_t rows, int64_t size, float eps, int threads) {
#pragma omp parallel for num_threads(threads) if (rows * size > kSerial)
    for (int64_t row = 0; row < rows; row++) {
        const float* x = hidden + row * size;
        if (delta) {
            const T* d = delta + row * size;
            float* s = sum + row * size;
#pragma omp simd
            for (int64_t i = 0; i < size; i++) s[i] = x[i] + get(d[i]);
            x = s;
        }
        const float scale = inverse_rms(x, size, eps);
        scales[row] = scale;
        T* o = out + row * size;
#pragma omp simd
        for (int64_t i = 0; i < size; i++) put(o[i], x[i] * scale * weight[i]);
    }
}

// of_sum += what reaches the sum through its norm (of_sum may come from elsewhere, or be null);
// of_delta (where wanted) is the same in T; of_weight (size) += its gradient.
template <class T>
void norm_backward(const float* sum, const float* weight, const float* scales, const T* of_out,
                   const float* of_sum, float* found, T* of_delta, float* of_weight, int64_t rows,
                   int64_t size, int threads) {
#pragma omp parallel num_threads(threads) if (rows * size > kSerial)
    {
        std::vector<float> own(of_weight ? size : 0, 0.0f);
        float* w = own.data();
#pragma omp for schedule(static)
        for (int64_t row = 0; row < rows; row++) {
            const float* x = sum + row * size;
            const T* g = of_out + row * size;
            const float scale = scales[row];
            float inner = 0.0f;
#pragma omp simd reduction(+ : inner)
            for (int64_t i = 0; i < size; i++) inner += get(g[i]) * weight[i] * x[i];
            const float pull = inner * scale * scale / static_cast<float>(size);
            const float* s = of_sum ? of_sum + row * size : nullptr;
            float* f = found + row * size;
            if (s) {
#pragma omp simd
                for (int64_t i = 0; i < size; i++) {
                    f[i] = s[i] + scale * (get(g[i]) * weight[i] - x[i] * pull);
                }
            } else {
#pragma omp simd
                for (int64_t i = 0; i < size; i++) {
                    f[i] = scale * (get(g[i]) * weight[i] - x[i] * pull);
                }
            }
            if (of_weight) {
#pragma omp simd
                for (int64_t i = 0; i < size; i++) w[i] += get(g[i]) * x[i] * scale;
            }
            if (of_delta) {
                T* d = of_delta + row * size;
#pragma omp simd
                for (int64_t i = 0; i < size; i++) put(d[i], f[i]);
            }
        }
        if (of_weight) {
#pragma omp critical
            for (int64_t i = 0; i < size; i++) of_weight[i] += w[i];
        }
    }
}

inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

// out = silu(gate) * up, `count` numbers each.
template <class T>
void gate_forward(const T* gate, const T* up, T* out, int64_t count, int threads) {
#pragma omp parallel for simd num_threads(threads) if (count > kSerial)
    for (int64_t i = 0; i < count; i++) {
        const float g = get(gate[i]);
        put(out[i], g * sigmoid(g) * get(up[i]));
    }
}

template <class T>
void gate_backward(const T* gate, const T* up, const T* of_out, T* of_gate, T* of_up, int64_t count,
                   int threads) {
#pragma omp parallel for simd num_threads(threads) if (count > kSerial)
    for (int64_t i = 0; i < count; i++) {
        const float g = get(gate[i]), o = get(of_out[i]), s = sigmoid(g);
        put(of_up[i], o * g * s);
        put(of_gate[i], o * get(up[i]) * s * (1.0f + g * (1.0f - s)));
    }
}

// Of each row of logits (rows, size): log of the sum of e^x, and the entropy where wanted.
void read_logits(const float* logits, float* totals, float* entropies, int64_t rows, int64_t size,
                 int threads) {
    constexpr int64_t kBlock = 1024;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        const float* x = logits + row * size;
        float most = x[0];
#pragma omp simd reduction(max : most)
        for (int64_t i = 0; i < size; i++) most = x[i] > most ? x[i] : most;
        double mass = 0.0, moment = 0.0;
        for (int64_t start = 0; start < size; start += kBlock) {
            const int64_t end = std::min(size, start + kBlock);
            float part = 0.0f, first = 0.0f;
#pragma omp simd reduction(+ : part, first)
            for (int64_t i = start; i < end; i++) {
                const float e = exponential(x[i] - most);
                part += e;
                first += e * (x[i] - most);
            }
            mass += part, moment += first;
        }
        const double log_mass = std::log(mass);
        totals[row] = static_cast<float>(most + log_mass);
        if (entropies) entropies[row] = static_cast<float>(log_mass - moment / mass);
    }
}

// The gradient of sum g log p(target) + h H: g at the target, less p (g + h (log p + H)); h and H
// may be null. `found` may be the logits themselves.
template <class T>
void logits_backward(const float* logits, const int64_t* targets, const float* totals,
                     const float* entropies, const float* of_logprobs, const float* of_entropies,
                     T* found, int64_t rows, int64_t size, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        const float* x = logits + row * size;
        T* f = found + row * size;
        const float total = totals[row], g = of_logprobs[row];
        const float h = of_entropies ? of_entropies[row] : 0.0f;
        const float fixed = -g - (of_entropies ? h * entropies[row] : 0.0f);
        const float of_target = x[targets[row]] - total;
        if (of_entropies) {
#pragma omp simd
            for (int64_t i = 0; i < size; i++) {
                const float logprob = x[i] - total;
                put(f[i], exponential(logprob) * (fixed - h * logprob));
            }
        } else {
#pragma omp simd
            for (int64_t i = 0; i < size; i++) put(f[i], exponential(x[i] - total) * fixed);
        }
        const float pull = of_entropies ? fixed - h * of_target : fixed;
        put(f[targets[row]], g + exponential(of_target) * pull);
    }
}

}  // namespace

#define EXPORTED(T, NAME)                                                                          \
    void norm_forward_##NAME(const float* hidden, const T* delta, const float* weight, float* sum, \
                             T* out, float* scales, int64_t rows, int64_t size, float eps,         \
                             int32_t threads) {                                                    \
        norm_forward(hidden, delta, weight, sum, out, scales, rows, size, eps, threads);           \
    }                                                                                              \
    void norm_backward_##NAME(const float* sum, const float* weight, const float* scales,          \
                              const T* of_out, const float* of_sum, float* found, T* of_delta,     \
                              float* of_weight, int64_t rows, int64_t size, int32_t threads) {     \
        norm_backward(sum, weight, scales, of_out, of_sum, found, of_delta, of_weight, rows, size, \
                      threads);                                                                    \
    }                                                                                              \
    void gate_forward_##NAME(const T* gate, const T* up, T* out, int64_t count, int32_t threads) { \
        gate_forward(gate, up, out, count, threads);                                               \
    }                                                                                              \
    void gate_backward_##NAME(const T* gate, const T* up, const T* of_out, T* of_gate, T* of_up,   \
                              int64_t count, int32_t threads) {                                    \
        gate_backward(gate, up, of_out, of_gate, of_up, count, threads);                           \
    }                                                                                              \
    void logits_backward_##NAME(const float* logits, const int64_t* targets, const float* totals,  \
                                const float* entropies, const float* of_logprobs,                  \
                                const float* of_entropies, T* found, int64_t rows, int64_t size,   \
                                int32_t threads) {                                                 \
        logits_backward(logits, targets, totals, entropies, of_logprobs, of_entropies, found,      \
                        rows, size, threads);                                                      \
    }

extern "C" {
EXPORTED(float, float32)
EXPORTED(bf16, bfloat16)

void read_logits_float32(const float* logits, float* totals, float* entropies, int64_t rows,
                         int64_t size, int32_t threads) {
    read_logits(logits, totals, entropies, rows, size, threads);
}
}
