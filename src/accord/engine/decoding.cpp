// What a decoding step does between its matrix products, for a few dozen rows of one token.
//
// Compiled on the machine that runs it, where there is a compiler (models/native.py). NaN and
// infinity pass through, so that the sampler can refuse them. Rows are independent of each other.

#include "few_rows.h"

namespace {

// Below, all threads of a parallel region call a function together, and leave it together.

// hidden += delta (where there is one); out = RMSNorm(hidden) * weight. All (rows, size). The sum
// over layers stays in float32: rounded, it would lose more than all products do.
template <class T, class U>
void add_norm(float* hidden, const T* delta, const float* weight, U* out, int64_t rows,
              int64_t size, float eps) {
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        float* h = hidden + row * size;
        if (delta) {
            const T* d = delta + row * size;
#pragma omp simd
            for (int64_t i = 0; i < size; i++) h[i] += get(d[i]);
        }
        const float scale = inverse_rms(h, size, eps);
        U* o = out + row * size;
#pragma omp simd
        for (int64_t i = 0; i < size; i++) put(o[i], h[i] * scale * weight[i]);
    }
}

// out = silu(gate) * up of gate_up (rows, 2 size).
template <class T>
void gate(const T* gate_up, T* out, int64_t rows, int64_t size) {
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        const T* g = gate_up + row * 2 * size;
        const T* u = g + size;
        T* o = out + row * size;
#pragma omp simd
        for (int64_t i = 0; i < size; i++) {
            const float x = get(g[i]);
            put(o[i], x / (1.0f + exponential(-x)) * get(u[i]));
        }
    }
}

// One head, normed where the family norms it, turned by its position: y (dim) float32.
template <class T>
void turned(const T* x, const T* norm, const float* cos, const float* sin, int64_t dim, float eps,
            float* y) {
    const float scale = norm ? inverse_rms(x, dim, eps) : 1.0f;
    const int64_t half = dim / 2;
#pragma omp simd
    for (int64_t i = 0; i < half; i++) {
        const float a = get(x[i]) * scale * (norm ? get(norm[i]) : 1.0f);
        const float b = get(x[i + half]) * scale * (norm ? get(norm[i + half]) : 1.0f);
        y[i] = a * cos[i] - b * sin[i];
        y[i + half] = b * cos[i + half] + a * sin[i + half];
    }
}

// The sums of four vectors' lanes.
inline quad sums(lanes a, lanes b, lanes c, lanes d) {
    typedef int32_t order __attribute__((vector_size(16)));
    const quad e = folded(a), f = folded(b), g = folded(c), h = folded(d);
    const quad ef = __builtin_shuffle(e, f, order{0, 4, 1, 5}) +
                    __builtin_shuffle(e, f, order{2, 6, 3, 7});
    const quad gh = __builtin_shuffle(g, h, order{0, 4, 1, 5}) +
                    __builtin_shuffle(g, h, order{2, 6, 3, 7});
    return __builtin_shuffle(ef, gh, order{0, 1, 4, 5}) +
           __builtin_shuffle(ef, gh, order{2, 3, 6, 7});
}

// Bytes that are asked for before they are needed: the processor's own guesses end with a page.
constexpr int64_t kAhead = 3072;

template <class T>
inline void fetch(const T* x, int64_t count) {
    const char* place = reinterpret_cast<const char*>(x) + kAhead;
    for (int64_t i = 0; i < count * static_cast<int64_t>(sizeof(T)); i += 64) {
        __builtin_prefetch(place + i);
    }
}

// scores[t] = query . keys[t] of `count` columns (count, dim).
template <class T>
void score(const float* query, const T* keys, int64_t count, int64_t dim, float* scores) {
    int64_t t = 0;
    for (; t + 4 <= count && dim % kLanes == 0; t += 4) {  // four columns read the query once
        const T* k = keys + t * dim;
        for (int64_t i = 0; i < 4; i++) fetch(k + i * dim, dim);
        lanes a = {}, b = {}, c = {}, d = {};
        for (int64_t i = 0; i < dim; i += kLanes) {
            const lanes q = load(query + i);
            a += q * load(k + i), b += q * load(k + dim + i);
            c += q * load(k + 2 * dim + i), d += q * load(k + 3 * dim + i);
        }
        const quad four = sums(a, b, c, d);
        std::memcpy(scores + t, &four, sizeof four);
    }
    for (; t < count; t++) {
        float sum = 0.0f;
        for (int64_t i = 0; i < dim; i++) sum += query[i] * get(keys[t * dim + i]);
        scores[t] = sum;
    }
}

// scores become weights that sum to 1.
inline void softmax(float* scores, int64_t count, float scaling) {
    float most = scores[0], sum = 0.0f;
#pragma omp simd reduction(max : most)
    for (int64_t t = 0; t < count; t++) most = scores[t] > most ? scores[t] : most;
#pragma omp simd reduction(+ : sum)
    for (int64_t t = 0; t < count; t++) {
        scores[t] = exponential((scores[t] - most) * scaling);
        sum += scores[t];
    }
    const float share = 1.0f / sum;
#pragma omp simd
    for (int64_t t = 0; t < count; t++) scores[t] *= share;
}

// found += the weighted sum of values (count, dim).
template <class T>
void weigh(const float* weights, const T* values, int64_t count, int64_t dim, float* found) {
    constexpr int64_t kBlock = 4 * kLanes;
    int64_t i = 0;
    for (; i + kBlock <= dim; i += kBlock) {
        lanes a = load(found + i), b = load(found + i + kLanes);
        lanes c = load(found + i + 2 * kLanes), d = load(found + i + 3 * kLanes);
        for (int64_t t = 0; t < count; t++) {
            const T* v = values + t * dim + i;
            fetch(v, kBlock);
            a += weights[t] * load(v), b += weights[t] * load(v + kLanes);
            c += weights[t] * load(v + 2 * kLanes), d += weights[t] * load(v + 3 * kLanes);
        }
        std::memcpy(found + i, &a, sizeof a), std::memcpy(found + i + kLanes, &b, sizeof b);
        std::memcpy(found + i + 2 * kLanes, &c, sizeof c);
        std::memcpy(found + i + 3 * kLanes, &d, sizeof d);
    }
    for (int64_t t = 0; t < count && i < dim; t++) {
#pragma omp simd
        for (int64_t j = i; j < dim; j++) found[j] += weights[t] * get(values[t * dim + j]);
    }
}

struct Shape {
    int64_t rows, groups, queries, dim;  // `queries` heads share the keys of one group
    int64_t row_stride, head_stride;     // of the cache, in numbers; columns follow each other
    int64_t column, column_step;         // row r's own keys and values are at column + r step
    int64_t before;                      // earlier ranges of columns that each row attends to
    float eps, scaling;
    int32_t threads;
};

// joint (rows, (groups queries + 2 groups) dim): queries, keys, values. cos, sin (rows, dim). A
// row attends to the columns from its start to its own, and to those of its earlier ranges, of
// which some may be empty: starts (rows), ranges (rows, before, 2).
template <class T>
void attend(const Shape& s, const T* joint, const float* cos, const float* sin, const T* query_norm,
            const T* key_norm, T* keys, T* values, const int64_t* starts, const int64_t* ranges,
            T* out) {
    const int64_t heads = s.groups * s.queries, width = (heads + 2 * s.groups) * s.dim;
    std::vector<float> scores(s.column + s.rows * s.column_step + 1);
    std::vector<float> query(s.dim), found(s.dim);
#pragma omp for schedule(static)
    for (int64_t row = 0; row < s.rows; row++) {
        for (int64_t group = 0; group < s.groups; group++) {
            const T* x = joint + row * width + (heads + group) * s.dim;
            const int64_t place = row * s.row_stride + group * s.head_stride +
                                  (s.column + row * s.column_step) * s.dim;
            turned(x, key_norm, cos + row * s.dim, sin + row * s.dim, s.dim, s.eps,
                   found.data());
            for (int64_t i = 0; i < s.dim; i++) put(keys[place + i], found[i]);
            std::memcpy(values + place, x + s.groups * s.dim, sizeof(T) * s.dim);
        }
    }
#pragma omp for schedule(dynamic, 1)
    for (int64_t row = 0; row < s.rows; row++) {
        const int64_t first = starts[row];
        const int64_t own = s.column + row * s.column_step + 1 - first;
        const int64_t* earlier = ranges + 2 * row * s.before;
        for (int64_t head = 0; head < heads; head++) {
            const int64_t place = row * s.row_stride + head / s.queries * s.head_stride;
            const T *k = keys + place, *v = values + place;
            turned(joint + row * width + head * s.dim, query_norm, cos + row * s.dim,
                   sin + row * s.dim, s.dim, s.eps, query.data());
            int64_t count = 0;
            for (const int64_t* r = earlier; r < earlier + 2 * s.before; r += 2) {
                score(query.data(), k + r[0] * s.dim, r[1] - r[0], s.dim,
                      scores.data() + count);
                count += r[1] - r[0];
            }
            score(query.data(), k + first * s.dim, own, s.dim, scores.data() + count);
            softmax(scores.data(), count + own, s.scaling);
            std::memset(found.data(), 0, sizeof(float) * s.dim);
            const float* weights = scores.data();
            for (const int64_t* r = earlier; r < earlier + 2 * s.before; r += 2) {
                weigh(weights, v + r[0] * s.dim, r[1] - r[0], s.dim, found.data());
                weights += r[1] - r[0];
            }
            weigh(weights, v + first * s.dim, own, s.dim, found.data());
            T* o = out + (row * heads + head) * s.dim;
            for (int64_t i = 0; i < s.dim; i++) put(o[i], found[i]);
        }
    }
}

// Sizes of a model that `step` runs.
struct Model {
    int64_t layers, size, inner;  // `inner` is the MLP's width
};

// Weights of one layer. Products are packed (few_rows.h); a bias or a norm may be missing.
template <class T>
struct Layer {
    const float* attention_norm;
    const T *query_key_value, *query_key_value_bias, *query_norm, *key_norm, *output, *output_bias;
    const float* mlp_norm;
    const T *gate_up, *gate_up_bias, *down, *down_bias;
};

// All layers for one token a row: out (rows, size) from hidden (rows, size), which is written over.
// caches: keys and values of each layer.
template <class T>
void step(const Shape& s, const Model& m, const Layer<T>* layers, T* const* caches, float* hidden,
          const float* cos, const float* sin, const float* last_norm, const int64_t* starts,
          T* scratch, float* out) {
    const int64_t attended_size = s.groups * s.queries * s.dim;
    const int64_t joint_size = attended_size + 2 * s.groups * s.dim;
    const int64_t padded_rows = padded(s.rows);  // products of bfloat16 read sixteen at a time
    T* normed = scratch;
    T* delta = normed + padded_rows * m.size;
    T* joint = delta + padded_rows * m.size;
    T* attended = joint + padded_rows * joint_size;
    T* wide = attended + padded_rows * attended_size;
    T* inner = wide + padded_rows * 2 * m.inner;
#pragma omp parallel num_threads(s.threads)
    {
        [[maybe_unused]] const Multiplying<T> held;
        for (int64_t i = 0; i < m.layers; i++) {
            const Layer<T>& w = layers[i];
            T* before = i ? delta : nullptr;
            add_norm(hidden, before, w.attention_norm, normed, s.rows, m.size, s.eps);
            few_rows(normed, w.query_key_value, w.query_key_value_bias, joint, s.rows, joint_size,
                     m.size);
            attend(s, joint, cos, sin, w.query_norm, w.key_norm, caches[2 * i], caches[2 * i + 1],
                   starts, static_cast<const int64_t*>(nullptr), attended);
            few_rows(attended, w.output, w.output_bias, delta, s.rows, m.size, attended_size);
            add_norm(hidden, delta, w.mlp_norm, normed, s.rows, m.size, s.eps);
            few_rows(normed, w.gate_up, w.gate_up_bias, wide, s.rows, 2 * m.inner, m.size);
            gate(wide, inner, s.rows, m.inner);
            few_rows(inner, w.down, w.down_bias, delta, s.rows, m.size, m.inner);
        }
        add_norm(hidden, delta, last_norm, out, s.rows, m.size, s.eps);
    }
}

// The sum of e^((x - most) scale) over `count` numbers.
inline double mass(const float* x, int64_t count, float most, float scale) {
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++) sum += exponential((x[i] - most) * scale);
    return sum;
}

// A token of each row by inverse CDF at its temperature (0: the likeliest, with its log-prob at
// temperature 1), as `sample` of draw.py. logits (rows, size).
void draw(const float* logits, const float* temperatures, const double* uniforms, int64_t* tokens,
          float* logprobs, int64_t rows, int64_t size, int threads) {
    constexpr int64_t kBlock = 128;
    const int64_t blocks = (size + kBlock - 1) / kBlock;
#pragma omp parallel num_threads(threads)
    {
        std::vector<double> masses(blocks);
#pragma omp for schedule(static)
        for (int64_t row = 0; row < rows; row++) {
            const float* x = logits + row * size;
            const bool is_greedy = temperatures[row] == 0.0f;
            const float scale = is_greedy ? 1.0f : 1.0f / temperatures[row];
            float most = x[0];
#pragma omp simd reduction(max : most)
            for (int64_t i = 0; i < size; i++) most = x[i] > most ? x[i] : most;
            double total = 0.0;
            for (int64_t b = 0; b < blocks; b++) {
                const int64_t count = b + 1 < blocks ? kBlock : size - b * kBlock;
                masses[b] = mass(x + b * kBlock, count, most, scale);
                total += masses[b];
            }
            const double wanted = uniforms[row] * total;
            const double target = wanted < total ? wanted : std::nextafter(total, 0.0);
            int64_t block = 0;
            double passed = 0.0;
            while (block + 1 < blocks && passed + masses[block] <= target) passed += masses[block++];
            // The block's own sum may round below the target: its last token of any mass is taken
            // then, and never one of probability 0.
            int64_t found = 0;
            const int64_t end = block + 1 < blocks ? (block + 1) * kBlock : size;
            for (int64_t i = block * kBlock; i < end && passed <= target; i++) {
                const float here = exponential((x[i] - most) * scale);
                passed += here;
                if (here > 0.0f) found = i;
            }
            if (is_greedy) {
                for (found = 0; found + 1 < size && x[found] != most;) found++;
            }
            tokens[row] = found;
            logprobs[row] = static_cast<float>((x[found] - most) * scale - std::log(total));
        }
    }
}

}  // namespace

#define EXPORTED(T, NAME)                                                                          \
    void add_norm_##NAME(float* hidden, const T* delta, const float* weight, T* out, float* last,  \
                         int64_t rows, int64_t size, float eps, int32_t threads) {                 \
        _Pragma("omp parallel num_threads(threads) if (rows * size > kSerial)") {                  \
            last ? add_norm(hidden, delta, weight, last, rows, size, eps)                          \
                 : add_norm(hidden, delta, weight, out, rows, size, eps);                          \
        }                                                                                          \
    }                                                                                              \
    void gate_##NAME(const T* gate_up, T* out, int64_t rows, int64_t size, int32_t threads) {      \
        _Pragma("omp parallel num_threads(threads) if (rows * size > kSerial)")                    \
        gate(gate_up, out, rows, size);                                                            \
    }                                                                                              \
    void attend_##NAME(const Shape* shape, const T* joint, const float* cos, const float* sin,     \
                       const T* query_norm, const T* key_norm, T* keys, T* values,                 \
                       const int64_t* starts, const int64_t* ranges, T* out) {                     \
        _Pragma("omp parallel num_threads(shape->threads)")                                        \
        attend(*shape, joint, cos, sin, query_norm, key_norm, keys, values, starts, ranges, out);  \
    }                                                                                              \
    void step_##NAME(const Shape* shape, const Model* model, const Layer<T>* layers,               \
                     T* const* caches, float* hidden, const float* cos, const float* sin,          \
                     const float* last_norm, const int64_t* starts, T* scratch, float* out) {      \
        step(*shape, *model, layers, caches, hidden, cos, sin, last_norm, starts, scratch, out);   \
    }

extern "C" {
EXPORTED(float, float32)
EXPORTED(bf16, bfloat16)

void draw_float32(const float* logits, const float* temperatures, const double* uniforms,
                  int64_t* tokens, float* logprobs, int64_t rows, int64_t size, int32_t threads) {
    draw(logits, temperatures, uniforms, tokens, logprobs, rows, size, threads);
}
}
