// Attention within and across the pieces of a packed row, forward and backward, for rows of up to
// some thousands of tokens; see native_attention.py. A task is one head of keys in one tree of
// pieces: a piece, and those that continue it. Scores exist for a block of queries at a time.

#include <algorithm>

#include "small_product.h"

namespace {

constexpr int64_t kQueries = 32;  // of a block

struct Shape {
    int64_t trees, groups, queries, dim;  // `queries` heads share the keys of one group
    float scaling;
    int32_t threads;
};

// Of a piece: its first token and their number, the piece that it continues (or -1), and its first
// query and their number.
struct Piece {
    int64_t start, length, after, first, count;
};

// Where the numbers of one head lie: token t's at place + t stride.
template <class T>
struct Head {
    T* place;
    int64_t stride;
    T* at(int64_t token) const { return place + token * stride; }
};

// y = x turned by its position, times a factor; backwards with the sign of the sines changed.
template <class T, class U>
inline void turn(const T* x, const float* cos, const float* sin, int64_t dim, float factor,
                 float sign, U* y) {
    const int64_t half = dim / 2;
#pragma omp simd
    for (int64_t i = 0; i < half; i++) {
        const float a = get(x[i]) * factor, b = get(x[i + half]) * factor;
        // Forward: a cos - b sin. Its transpose takes each half's sine to the other half.
        const float s = sign > 0 ? sin[i] : sin[i + half];
        const float t = sign > 0 ? sin[i + half] : sin[i];
        put(y[i], a * cos[i] - sign * b * s);
        put(y[i + half], b * cos[i + half] + sign * a * t);
    }
}

// What a task keeps between its pieces.
struct Scratch {
    std::vector<float> keys, keys_across, values, values_across, scores, of_scores, query, out;
    std::vector<float> of_keys, of_values, of_query, tree_keys, tree_values;
    std::vector<int64_t> line;
};

inline float* room(std::vector<float>& v, int64_t count) {
    if (static_cast<int64_t>(v.size()) < count) v.resize(count);
    return v.data();
}

// The tokens that a piece's queries may see, in order, into s.line.
inline void line_of(const Piece* pieces, int64_t last, Scratch& s) {
    s.line.clear();
    for (int64_t p = last; p >= 0; p = pieces[p].after) {
        for (int64_t t = pieces[p].length; t-- > 0;) s.line.push_back(pieces[p].start + t);
    }
    std::reverse(s.line.begin(), s.line.end());
}

// Rows (count, dim) beside each other: (dim, width), with zeros beyond count.
inline void across(const float* rows, int64_t count, int64_t dim, int64_t width, float* found) {
    for (int64_t d = 0; d < dim; d++) {
        float* f = found + d * width;
        for (int64_t t = 0; t < count; t++) f[t] = rows[t * dim + d];
        for (int64_t t = count; t < width; t++) f[t] = 0.0f;
    }
}

// Scores (count, width) of a block's queries become weights; query i sees seen + places[i] columns.
inline void weigh(float* scores, int64_t count, int64_t width, int64_t seen,
                  const int64_t* places) {
    for (int64_t i = 0; i < count; i++) {
        float* x = scores + i * width;
        const int64_t limit = seen + places[i] + 1;
        float most = x[0], sum = 0.0f;
#pragma omp simd reduction(max : most)
        for (int64_t t = 0; t < limit; t++) most = x[t] > most ? x[t] : most;
#pragma omp simd reduction(+ : sum)
        for (int64_t t = 0; t < limit; t++) {
            x[t] = exponential(x[t] - most);
            sum += x[t];
        }
        const float share = 1.0f / sum;
#pragma omp simd
        for (int64_t t = 0; t < limit; t++) x[t] *= share;
        for (int64_t t = limit; t < width; t++) x[t] = 0.0f;
    }
}

// One task: all pieces of a tree for one head of keys. `at` (queries) are the queries' places in
// the row; gradients are taken where `of_out` is there.
template <class T>
void attend_tree(const Shape& s, const Piece* pieces, int64_t first, int64_t end,
                 const int64_t* at, const float* cos, const float* sin, const T* query,
                 const T* key, const T* value, T* out, const T* of_out, T* of_query, T* of_key,
                 T* of_value, int64_t group, Scratch& k) {
    const int64_t dim = s.dim, heads = s.groups * s.queries;
    const int64_t base = pieces[first].start;
    const int64_t tokens = pieces[end - 1].start + pieces[end - 1].length - base;
    const Head<const T> keys{key + group * dim, s.groups * dim};
    const Head<const T> values{value + group * dim, s.groups * dim};
    float *tree_keys = nullptr, *tree_values = nullptr;
    if (of_out) {
        tree_keys = room(k.tree_keys, tokens * dim), tree_values = room(k.tree_values, tokens * dim);
        std::fill_n(tree_keys, tokens * dim, 0.0f), std::fill_n(tree_values, tokens * dim, 0.0f);
    }
    for (int64_t p = first; p < end; p++) {
        const Piece& piece = pieces[p];
        if (piece.count == 0) continue;
        line_of(pieces, p, k);
        const int64_t columns = k.line.size(), width = padded(columns);
        const int64_t seen = columns - piece.length;
        float* line_keys = room(k.keys, columns * dim);
        float* line_values = room(k.values, columns * dim);
        for (int64_t t = 0; t < columns; t++) {
            const int64_t token = k.line[t];
            turn(keys.at(token), cos + token * dim, sin + token * dim, dim, 1.0f, 1.0f,
                 line_keys + t * dim);
            const T* v = values.at(token);
#pragma omp simd
            for (int64_t d = 0; d < dim; d++) line_values[t * dim + d] = get(v[d]);
        }
        float* keys_across = room(k.keys_across, dim * width);
        across(line_keys, columns, dim, width, keys_across);
        float *values_across = nullptr, *of_keys = nullptr, *of_values = nullptr;
        if (of_out) {
            values_across = room(k.values_across, dim * width);
            across(line_values, columns, dim, width, values_across);
            of_keys = room(k.of_keys, columns * dim), of_values = room(k.of_values, columns * dim);
            std::fill_n(of_keys, columns * dim, 0.0f), std::fill_n(of_values, columns * dim, 0.0f);
        }
        for (int64_t head = group * s.queries; head < (group + 1) * s.queries; head++) {
            for (int64_t start = 0; start < piece.count; start += kQueries) {
                const int64_t count = std::min(kQueries, piece.count - start);
                const int64_t one = piece.first + start;
                const int64_t stride = heads * dim;
                int64_t places[kQueries];
                float* q = room(k.query, kQueries * dim);
                for (int64_t i = 0; i < count; i++) {
                    const int64_t token = at[one + i];
                    places[i] = token - piece.start;
                    turn(query + (one + i) * stride + head * dim, cos + token * dim,
                         sin + token * dim, dim, s.scaling, 1.0f, q + i * dim);
                }
                const int64_t limit = seen + places[count - 1] + 1, wide = padded(limit);
                float* scores = room(k.scores, kQueries * width);
                product(count, wide, dim, q, dim, 1, keys_across, width, scores, wide, false);
                weigh(scores, count, wide, seen, places);
                if (!of_out) {
                    float* found = room(k.out, kQueries * dim);
                    product(count, dim, limit, scores, wide, 1, line_values, dim, found, dim, false);
                    for (int64_t i = 0; i < count; i++) {
                        T* o = out + (one + i) * stride + head * dim;
#pragma omp simd
                        for (int64_t d = 0; d < dim; d++) put(o[d], found[i * dim + d]);
                    }
                    continue;
                }
                float* given = room(k.out, kQueries * dim);
                for (int64_t i = 0; i < count; i++) {
                    const T* o = of_out + (one + i) * stride + head * dim;
#pragma omp simd
                    for (int64_t d = 0; d < dim; d++) given[i * dim + d] = get(o[d]);
                }
                product(limit, dim, count, scores, 1, wide, given, dim, of_values, dim, true);
                float* of_scores = room(k.of_scores, kQueries * width);
                product(count, wide, dim, given, dim, 1, values_across, width, of_scores, wide,
                        false);
                for (int64_t i = 0; i < count; i++) {
                    const float* w = scores + i * wide;
                    float* g = of_scores + i * wide;
                    float inner = 0.0f;
#pragma omp simd reduction(+ : inner)
                    for (int64_t t = 0; t < wide; t++) inner += w[t] * g[t];
#pragma omp simd
                    for (int64_t t = 0; t < wide; t++) g[t] = w[t] * (g[t] - inner);
                }
                product(limit, dim, count, of_scores, 1, wide, q, dim, of_keys, dim, true);
                float* of_q = room(k.of_query, kQueries * dim);
                product(count, dim, limit, of_scores, wide, 1, line_keys, dim, of_q, dim, false);
                for (int64_t i = 0; i < count; i++) {
                    const int64_t token = at[one + i];
                    turn(of_q + i * dim, cos + token * dim, sin + token * dim, dim, s.scaling,
                         -1.0f, of_query + (one + i) * stride + head * dim);
                }
            }
        }
        if (!of_out) continue;
        for (int64_t t = 0; t < columns; t++) {
            float* sum_k = tree_keys + (k.line[t] - base) * dim;
            float* sum_v = tree_values + (k.line[t] - base) * dim;
#pragma omp simd
            for (int64_t d = 0; d < dim; d++) {
                sum_k[d] += of_keys[t * dim + d], sum_v[d] += of_values[t * dim + d];
            }
        }
    }
    for (int64_t t = 0; of_out && t < tokens; t++) {
        const int64_t token = base + t, place = token * s.groups * dim + group * dim;
        turn(tree_keys + t * dim, cos + token * dim, sin + token * dim, dim, 1.0f, -1.0f,
             of_key + place);
#pragma omp simd
        for (int64_t d = 0; d < dim; d++) put(of_value[place + d], tree_values[t * dim + d]);
    }
}

// trees (trees + 1): where in the pieces each begins; at (queries); cos, sin (tokens, dim); query,
// out (queries, heads dim); key, value (tokens, groups dim).
template <class T>
void attend(const Shape& s, const int64_t* trees, const int64_t* pieces, const int64_t* at,
            const float* cos, const float* sin, const T* query, const T* key, const T* value,
            T* out, const T* of_out, T* of_query, T* of_key, T* of_value) {
#pragma omp parallel num_threads(s.threads)
    {
        Scratch scratch;
#pragma omp for schedule(dynamic, 1) collapse(2)
        for (int64_t tree = 0; tree < s.trees; tree++) {
            for (int64_t group = 0; group < s.groups; group++) {
                attend_tree(s, reinterpret_cast<const Piece*>(pieces), trees[tree],
                            trees[tree + 1], at, cos, sin, query, key, value, out, of_out,
                            of_query, of_key, of_value, group, scratch);
            }
        }
    }
}

}  // namespace

#define EXPORTED(T, NAME)                                                                          \
    void attend_##NAME(const Shape* shape, const int64_t* trees, const int64_t* pieces,            \
                       const int64_t* at, const float* cos, const float* sin, const T* query,      \
                       const T* key, const T* value, T* out, const T* of_out, T* of_query,         \
                       T* of_key, T* of_value) {                                                   \
        attend(*shape, trees, pieces, at, cos, sin, query, key, value, out, of_out, of_query,      \
               of_key, of_value);                                                                  \
    }

extern "C" {
EXPORTED(float, float32)
EXPORTED(bf16, bfloat16)
}
