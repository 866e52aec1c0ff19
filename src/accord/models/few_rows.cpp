// The products of few_rows.h, one at a time.

#include "few_rows.h"

namespace {

template <class T>
void alone(const T* x, const T* packed, const T* bias, T* out, int64_t rows, int64_t n, int64_t k,
           int threads) {
#pragma omp parallel num_threads(threads)
    {
        [[maybe_unused]] const Multiplying<T> held;
        few_rows(x, packed, bias, out, rows, n, k);
    }
}

}  // namespace

extern "C" {
void few_rows_float32(const float* x, const float* packed, const float* bias, float* out,
                      int64_t rows, int64_t n, int64_t k, int32_t threads) {
    alone(x, packed, bias, out, rows, n, k, threads);
}

void few_rows_bfloat16(const bf16* x, const bf16* packed, const bf16* bias, bf16* out, int64_t rows,
                       int64_t n, int64_t k, int32_t threads) {
    alone(x, packed, bias, out, rows, n, k, threads);
}

// Whether float32 and bfloat16 are multiplied with what the tiles are made for.
void kinds(int32_t* answers) {
    answers[0] = kTileRows == 8;
    answers[1] = has_tiles();
}
}
