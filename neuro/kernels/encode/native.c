/* Values as spikes and back on the CPU: all timesteps of a block of neurons while its state lies in L1.

   A tensor is [outer, steps, inner] in memory, its state [outer, inner]: samples need not stand outermost. What
   differs between channels (units, biases) has `channels` entries, each for `run` neighbours in the state.
   The order of operations is that of reference.py, so results are equal bit for bit. */
#include "../lif/lif.h"

#define ROW 512 /* most neurons in a block */

enum { POWER_OF_TWO, TERNARY, BINARY, INTEGER, IDEAL };

typedef struct {
    int64_t outer, steps, inner;
    int32_t dtype, threads;
} neuro_encode_shape;

typedef struct {
    const float *values;
    int64_t channels, run;
} neuro_encode_along;

/* The values for n neurons from neuron `at` of the state. */
static void along_row(const neuro_encode_along *p, int64_t at, float *restrict row, int64_t n) {
    if (p->channels == 1) {
        for (int64_t i = 0; i < n; i++) row[i] = p->values[0];
        return;
    }
    int64_t channel = at / p->run % p->channels, left = p->run - at % p->run;
    for (int64_t i = 0; i < n;) {
        if (p->run == 1) {
            const int64_t count = smaller(p->channels - channel, n - i);
            memcpy(row + i, p->values + channel, (size_t)count * sizeof(float));
            i += count;
            channel = 0;
            continue;
        }
        const float value = p->values[channel];
        for (const int64_t end = i + smaller(left, n - i); i < end; i++) row[i] = value;
        channel = channel + 1 == p->channels ? 0 : channel + 1;
        left = p->run;
    }
}

INLINE float sent_now(float r, float unit, float shrink, float levels, int kind) {
    const float size = fabsf(r), none = r != r ? r : 0.0f; /* NaN stays NaN */
    if (kind == POWER_OF_TWO) {
        const float smallest = unit * shrink;
        uint32_t bits;
        memcpy(&bits, &size, sizeof bits);
        bits = (bits + 0x400000u) & 0x7f800000u;
        float nearest;
        memcpy(&nearest, &bits, sizeof nearest);
        nearest = nearest < unit ? nearest : unit;
        nearest = nearest > smallest ? nearest : smallest;
        return 2.0f * size >= smallest ? copysignf(nearest, r) : none;
    }
    if (kind == TERNARY) return 2.0f * size >= unit ? copysignf(unit, r) : none;
    if (kind == BINARY) return 2.0f * r >= unit ? unit : none;
    if (kind == INTEGER) {
        float count = rintf(r / unit);
        count = count < -levels ? -levels : count;
        return unit * (count > levels ? levels : count);
    }
    return r;
}

/* One timestep of a row: spikes, and what is sent if they are sent as they are. */
INLINE void encode_row(const float *restrict x, float *restrict sent, const float *restrict unit, float *restrict s,
                       int64_t n, float presented, float shrink, float levels, int exact, int kind) {
    for (int64_t i = 0; i < n; i++) {
        const float now = sent_now(presented * x[i] - sent[i], unit[i], shrink, levels, kind);
        s[i] = now;
        if (exact) sent[i] += now;
    }
}

/* Whether each remainder is within reach, where the gradient passes. */
INLINE void reached_row(const float *restrict x, const float *restrict sent, const float *restrict unit,
                        uint8_t *restrict passes, int64_t n, float presented, float reach) {
    for (int64_t i = 0; i < n; i++) passes[i] = fabsf(presented * x[i] - sent[i]) <= reach * unit[i];
}

#define CASE_KIND(exact)                                                                                           \
    switch (kind) {                                                                                                \
    case POWER_OF_TWO: encode_row(x, sent, unit, s, n, presented, shrink, levels, exact, POWER_OF_TWO); break;     \
    case TERNARY: encode_row(x, sent, unit, s, n, presented, shrink, levels, exact, TERNARY); break;               \
    case BINARY: encode_row(x, sent, unit, s, n, presented, shrink, levels, exact, BINARY); break;                 \
    case INTEGER: encode_row(x, sent, unit, s, n, presented, shrink, levels, exact, INTEGER); break;               \
    default: encode_row(x, sent, unit, s, n, presented, shrink, levels, exact, IDEAL);                             \
    }

static void encode_step(const float *x, float *sent, const float *unit, float *s, int64_t n, float presented,
                        float shrink, float levels, int exact, int32_t kind) {
    if (exact) CASE_KIND(1) else CASE_KIND(0)
}

/* Spikes in 16 bits are rounded; what was sent is what the receiver reads. */
INLINE void add_rounded(const float *restrict s, float *restrict sent, int64_t n, int32_t dtype) {
    uint16_t narrow[ROW];
    float wide[ROW];
    row_done(narrow, dtype, 0, 0, s, n);
    const float *rounded = row_in(narrow, dtype, 0, wide, n);
    for (int64_t i = 0; i < n; i++) sent[i] += rounded[i];
}

/* `sent` may be NULL (nothing yet), and so may `presentations` (1 in every timestep). `s` are spikes or, if `summed`,
   what they stand for so far. */
void neuro_encode_forward(const void *x, const float *sent, const neuro_encode_along *unit, const float *presentations,
                          void *s, float *sent_last, const neuro_encode_shape *shape, int32_t kind, float levels,
                          float shrink, int32_t summed, int32_t streamed) {
    const int64_t outer = shape->outer, steps = shape->steps, inner = shape->inner;
    const int64_t blocks = (inner + ROW - 1) / ROW;
    const int32_t dtype = shape->dtype;
#pragma omp parallel for num_threads(shape->threads) schedule(static)
    for (int64_t block = 0; block < outer * blocks; block++) {
        _Alignas(64) float e[ROW], units[ROW], in[ROW], out[ROW], spikes[ROW];
        const int64_t o = block / blocks, start = block % blocks * ROW, n = smaller(ROW, inner - start);
        const int64_t at = o * inner + start;
        for (int64_t i = 0; i < n; i++) e[i] = sent ? sent[at + i] : 0.0f;
        along_row(unit, at, units, n);
        for (int64_t t = 0; t < steps; t++) {
            const float presented = presentations ? presentations[t] : 1.0f;
            const int64_t here = (o * steps + t) * inner + start;
            row_wanted(x, dtype, here + ROW, n);
            const float *x_t = row_in(x, dtype, here, in, n);
            float *s_t = row_out(s, dtype, streamed, here, out);
            float *now = summed ? spikes : s_t;
            encode_step(x_t, e, units, now, n, presented, shrink, levels, dtype == FLOAT32, kind);
            if (dtype != FLOAT32) add_rounded(now, e, n, dtype);
            if (summed)
                for (int64_t i = 0; i < n; i++) s_t[i] = e[i] / presented;
            row_done(s, dtype, streamed, here, out, n);
        }
        memcpy(sent_last + at, e, (size_t)n * sizeof(float));
        if (streamed) streams_done();
    }
}

/* From the gradients of the spikes (if `summed`, of what they stand for) and of the last sum to those of x and of the first sum.

   Whether a remainder was within reach is computed again. Returns nonzero where there is no memory for that. */
int32_t neuro_encode_backward(const void *grad_s, const float *grad_last, const void *x, const float *sent,
                              const neuro_encode_along *unit, const float *presentations, void *grad_x,
                              float *grad_sent, const neuro_encode_shape *shape, int32_t kind, float levels,
                              float shrink, int32_t summed, float reach) {
    const int64_t outer = shape->outer, steps = shape->steps, inner = shape->inner;
    const int64_t blocks = (inner + ROW - 1) / ROW;
    const int32_t dtype = shape->dtype;
    int32_t failed = 0;
#pragma omp parallel num_threads(shape->threads) reduction(| : failed)
    {
        uint8_t *passes = aligned_alloc(64, (size_t)(steps * ROW));
        failed = !passes;
#pragma omp for schedule(static)
        for (int64_t block = 0; block < outer * blocks; block++) {
            _Alignas(64) float e[ROW], units[ROW], in[ROW], out[ROW];
            const int64_t o = block / blocks, start = block % blocks * ROW, n = smaller(ROW, inner - start);
            const int64_t at = o * inner + start;
            if (failed) continue;
            for (int64_t i = 0; i < n; i++) e[i] = sent ? sent[at + i] : 0.0f;
            along_row(unit, at, units, n);
            for (int64_t t = 0; t < steps; t++) {
                const float presented = presentations ? presentations[t] : 1.0f;
                const float *x_t = row_in(x, dtype, (o * steps + t) * inner + start, in, n);
                reached_row(x_t, e, units, passes + t * ROW, n, presented, reach);
                encode_step(x_t, e, units, out, n, presented, shrink, levels, dtype == FLOAT32, kind);
                if (dtype != FLOAT32) add_rounded(out, e, n, dtype);
            }
            float *carry = e; /* the gradient of the sum after a timestep */
            memcpy(carry, grad_last + at, (size_t)n * sizeof(float));
            for (int64_t t = steps - 1; t >= 0; t--) {
                const int64_t here = (o * steps + t) * inner + start;
                const float presented = presentations ? presentations[t] : 1.0f;
                const uint8_t *restrict pass = passes + t * ROW;
                const float *restrict g = row_in(grad_s, dtype, here, in, n);
                float *restrict grad_x_t = row_out(grad_x, dtype, 0, here, out);
                for (int64_t i = 0; i < n; i++) {
                    const float of_sum = carry[i] + (summed ? g[i] / presented : 0.0f);
                    const float of_r = pass[i] ? (summed ? of_sum : g[i] + of_sum) : 0.0f;
                    grad_x_t[i] = presented * of_r;
                    carry[i] = of_sum - of_r;
                }
                row_done(grad_x, dtype, 0, here, out, n);
            }
            memcpy(grad_sent + at, carry, (size_t)n * sizeof(float));
        }
        free(passes);
    }
    return failed;
}

/* `arrived` may be NULL (nothing yet), and so may `divisors` (1 in every timestep); `bias->values` too. */
void neuro_encode_decode(const void *currents, const float *arrived, const float *divisors,
                         const neuro_encode_along *bias, void *values, float *arrived_last,
                         const neuro_encode_shape *shape, int32_t streamed) {
    const int64_t outer = shape->outer, steps = shape->steps, inner = shape->inner;
    const int64_t blocks = (inner + ROW - 1) / ROW;
    const int32_t dtype = shape->dtype;
#pragma omp parallel for num_threads(shape->threads) schedule(static)
    for (int64_t block = 0; block < outer * blocks; block++) {
        _Alignas(64) float total[ROW], shift[ROW], in[ROW], out[ROW];
        const int64_t o = block / blocks, start = block % blocks * ROW, n = smaller(ROW, inner - start);
        const int64_t at = o * inner + start;
        for (int64_t i = 0; i < n; i++) total[i] = arrived ? arrived[at + i] : 0.0f;
        if (bias->values) along_row(bias, at, shift, n);
        for (int64_t t = 0; t < steps; t++) {
            const int64_t here = (o * steps + t) * inner + start;
            row_wanted(currents, dtype, here + ROW, n);
            const float *restrict c = row_in(currents, dtype, here, in, n);
            float *restrict y = row_out(values, dtype, streamed, here, out);
            for (int64_t i = 0; i < n; i++) y[i] = total[i] += c[i];
            if (divisors)
                for (int64_t i = 0; i < n; i++) y[i] /= divisors[t];
            if (bias->values)
                for (int64_t i = 0; i < n; i++) y[i] += shift[i];
            row_done(values, dtype, streamed, here, out, n);
        }
        memcpy(arrived_last + at, total, (size_t)n * sizeof(float));
        if (streamed) streams_done();
    }
}
