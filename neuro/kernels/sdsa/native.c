/* Spike-driven self-attention on bits, with its neuron: what reference.py says, in integers.
 *
 * q, k, v are read as spikes; where a value is neither 0 nor 1 it is counted, and the caller does without us.
 * Each (batch, head) is one unit of work. Its planes are turned to channel-major bytes first, so that tokens are
 * what the loops run along; k and v are then packed 32 tokens to a word, and
 *
 *     S[i][j] = sum_w popcount(k[i][w] & v[j][w])          <= N
 *     y[j][n] = sum_i S[i][j] q[i][n]                      <= N d, in 16 bits where that fits
 *
 * The potential of a block of tokens stays in registers over all timesteps. */
#include <omp.h>
#include <stdint.h>
#include <string.h>

enum { BLOCK = 64, ROWS = 4 };
enum { IF_CHARGE, LIF_CHARGE, LIF_PLAIN_INPUT };
enum { F32, F16, BF16, BYTE, TIME_PACKED };

typedef struct {
    int64_t kind, dtype, steps, batch, heads, tokens, width;
    int64_t strides[3][5]; /* of q, k, v: timestep, batch, head, token, channel, in elements */
    int64_t charge, hard, packed_out, threads;
    float scale, threshold, reset, tau;
} neuro_sdsa_shape;

static int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* ---- spikes to bytes ---- */

#define BYTES_OF(NAME, TYPE, ONE, MAGNITUDE)                                                                     \
    static int64_t NAME(const TYPE *restrict x, int64_t n, int64_t stride, uint8_t *restrict out, int64_t step) { \
        int64_t bad = 0;                                                                                          \
        if (stride == 1 && step == 1) {                                                                           \
            TYPE wrong = 0;                                                                                       \
            for (int64_t i = 0; i < n; i++) {                                                                     \
                out[i] = x[i] == (TYPE)(ONE);                                                                     \
                wrong |= (TYPE)((x[i] != (TYPE)(ONE)) & ((x[i] & (TYPE)(MAGNITUDE)) != 0));                       \
            }                                                                                                     \
            return wrong != 0;                                                                                    \
        }                                                                                                         \
        for (int64_t i = 0; i < n; i++) {                                                                         \
            const TYPE value = x[i * stride];                                                                     \
            out[i * step] = value == (TYPE)(ONE);                                                                 \
            bad |= (value != (TYPE)(ONE)) & ((value & (TYPE)(MAGNITUDE)) != 0);                                   \
        }                                                                                                         \
        return bad;                                                                                               \
    }

BYTES_OF(bytes_f32, uint32_t, 0x3F800000u, 0x7FFFFFFFu)
BYTES_OF(bytes_f16, uint16_t, 0x3C00u, 0x7FFFu)
BYTES_OF(bytes_bf16, uint16_t, 0x3F80u, 0x7FFFu)
BYTES_OF(bytes_byte, uint8_t, 1u, 0xFFu)

static int64_t bytes_packed(const uint8_t *restrict x, int64_t n, int64_t stride, uint8_t *restrict out, int64_t step,
                            int shift) {
    for (int64_t i = 0; i < n; i++) out[i * step] = (x[i * stride] >> shift) & 1;
    return 0;
}

static int64_t bytes_of(const void *x, int64_t at, int64_t dtype, int shift, int64_t n, int64_t stride, uint8_t *out,
                        int64_t step) {
    switch (dtype) {
    case F32: return bytes_f32((const uint32_t *)x + at, n, stride, out, step);
    case F16: return bytes_f16((const uint16_t *)x + at, n, stride, out, step);
    case BF16: return bytes_bf16((const uint16_t *)x + at, n, stride, out, step);
    case BYTE: return bytes_byte((const uint8_t *)x + at, n, stride, out, step);
    default: return bytes_packed((const uint8_t *)x + at, n, stride, out, step, shift);
    }
}

/* One plane [tokens, width] as bytes [width][pitch]; what lies behind the tokens is zero already. */
static int64_t plane(const neuro_sdsa_shape *p, const void *x, int which, int64_t t, int64_t b, int64_t head,
                     uint8_t *out, int64_t pitch) {
    const int64_t *s = p->strides[which];
    const int64_t step = p->dtype == TIME_PACKED ? t / 8 : t;
    const int64_t at = step * s[0] + b * s[1] + head * s[2];
    const int shift = (int)(t % 8);
    int64_t bad = 0;
    if (s[4] == 1 && s[3] != 1) {
        for (int64_t n = 0; n < p->tokens; n++)
            bad |= bytes_of(x, at + n * s[3], p->dtype, shift, p->width, 1, out + n, pitch);
        return bad;
    }
    for (int64_t i = 0; i < p->width; i++)
        bad |= bytes_of(x, at + i * s[4], p->dtype, shift, p->tokens, s[3], out + i * pitch, 1);
    return bad;
}

/* Eight bytes of 0 and 1 to eight bits, the first one lowest. */
static uint32_t eight(const uint8_t *bytes) {
    uint64_t x = 0;
    for (int i = 0; i < 8; i++) x |= (uint64_t)bytes[i] << (8 * i);
    return (uint32_t)((x * 0x0102040810204080ull) >> 56);
}

static uint32_t word(const uint8_t *bytes) {
    return eight(bytes) | eight(bytes + 8) << 8 | eight(bytes + 16) << 16 | eight(bytes + 24) << 24;
}

/* ---- the neuron ---- */

/* One timestep of a block: charge with x, fire into s, reset; the order of operations of the step equations. */
static inline void step(const neuro_sdsa_shape *p, const float *restrict x, float *restrict v, uint8_t *restrict s,
                        int64_t n) {
    const float threshold = p->threshold, tau = p->tau, reset = p->reset, rest = p->hard ? p->reset : 0.0f;
    float h[BLOCK];
    if (p->charge == IF_CHARGE)
        for (int64_t i = 0; i < n; i++) h[i] = v[i] + x[i];
    else if (p->charge == LIF_CHARGE)
        for (int64_t i = 0; i < n; i++) h[i] = v[i] + (x[i] - (v[i] - rest)) / tau;
    else
        for (int64_t i = 0; i < n; i++) h[i] = v[i] - (v[i] - rest) / tau + x[i];
    for (int64_t i = 0; i < n; i++) s[i] = h[i] >= threshold;
    if (p->hard)
        for (int64_t i = 0; i < n; i++) v[i] = h[i] >= threshold ? reset : h[i];
    else
        for (int64_t i = 0; i < n; i++) v[i] = h[i] - (h[i] >= threshold ? threshold : 0.0f);
}

/* Write n spikes of timestep t at element `at` of a timestep's plane; `size` elements a timestep. */
static void emit(const neuro_sdsa_shape *p, void *out, int64_t size, int64_t t, int64_t at, const uint8_t *restrict s,
                 int64_t n) {
    if (p->packed_out) {
        uint8_t *restrict to = (uint8_t *)out + (t / 8) * size + at;
        const int shift = (int)(t % 8);
        if (shift)
            for (int64_t i = 0; i < n; i++) to[i] |= (uint8_t)(s[i] << shift);
        else
            for (int64_t i = 0; i < n; i++) to[i] = s[i];
    } else if (p->dtype == F32) {
        float *restrict to = (float *)out + t * size + at;
        for (int64_t i = 0; i < n; i++) to[i] = (float)s[i];
    } else if (p->dtype == F16 || p->dtype == BF16) {
        uint16_t *restrict to = (uint16_t *)out + t * size + at;
        const uint16_t one = p->dtype == F16 ? 0x3C00u : 0x3F80u;
        for (int64_t i = 0; i < n; i++) to[i] = (uint16_t)(s[i] * one);
    } else {
        memcpy((uint8_t *)out + t * size + at, s, (size_t)n);
    }
}

/* ---- SDSA-3 and SDSA-4 ---- */

/* S[j][i] = sum over tokens of k_i v_j, and its transpose's layout is what the second product reads. */
static void scores(const uint8_t *kb, const uint8_t *vb, int64_t width, int64_t pitch, uint32_t *restrict kw,
                   int32_t *restrict S) {
    const int64_t words = pitch / 32;
    for (int64_t i = 0; i < width; i++)
        for (int64_t w = 0; w < words; w++) kw[w * width + i] = word(kb + i * pitch + 32 * w);
    memset(S, 0, (size_t)(width * width) * sizeof *S);
    for (int64_t j = 0; j < width; j++) {
        int32_t *restrict row = S + j * width;
        for (int64_t w = 0; w < words; w++) {
            const uint32_t v = word(vb + j * pitch + 32 * w);
            const uint32_t *restrict k = kw + w * width;
            for (int64_t i = 0; i < width; i++) row[i] += __builtin_popcount(k[i] & v);
        }
    }
}

/* y of ROWS channels and BLOCK tokens; q are masks, all ones where a spike is. */
#define MIX(NAME, TYPE)                                                                                             \
    static inline void NAME(const TYPE *restrict q, int64_t pitch, const int32_t *restrict S, int64_t width,        \
                            int64_t rows, float scale, float x[ROWS][BLOCK]) {                                      \
        TYPE y[ROWS][BLOCK];                                                                                        \
        memset(y, 0, sizeof y);                                                                                     \
        if (rows == ROWS)                                                                                           \
            for (int64_t i = 0; i < width; i++) {                                                                   \
                const TYPE *restrict mask = q + i * pitch;                                                          \
                const TYPE a = (TYPE)S[i], b = (TYPE)S[width + i], c = (TYPE)S[2 * width + i];                      \
                const TYPE d = (TYPE)S[3 * width + i];                                                              \
                for (int n = 0; n < BLOCK; n++) {                                                                   \
                    y[0][n] += mask[n] & a;                                                                         \
                    y[1][n] += mask[n] & b;                                                                         \
                    y[2][n] += mask[n] & c;                                                                         \
                    y[3][n] += mask[n] & d;                                                                         \
                }                                                                                                   \
            }                                                                                                       \
        else                                                                                                        \
            for (int64_t r = 0; r < rows; r++)                                                                      \
                for (int64_t i = 0; i < width; i++)                                                                 \
                    for (int n = 0; n < BLOCK; n++) y[r][n] += q[i * pitch + n] & (TYPE)S[r * width + i];           \
        for (int64_t r = 0; r < rows; r++)                                                                          \
            for (int n = 0; n < BLOCK; n++) x[r][n] = (float)y[r][n] * scale;                                       \
    }

MIX(mix16, uint16_t)
MIX(mix32, uint32_t)

typedef struct {
    uint8_t *kb, *vb;
    uint32_t *kw;
    int32_t *S;
    void *q;
} scratch;

static int64_t narrow(const neuro_sdsa_shape *p) { return p->tokens * p->width <= UINT16_MAX; }

/* Bytes of one thread's scratch. */
int64_t neuro_sdsa_scratch(const neuro_sdsa_shape *p) {
    const int64_t pitch = up(p->tokens, BLOCK), flat = up(pitch * p->width, 64);
    return 2 * flat + up(pitch / 32 * p->width * 4, 64) + up(p->steps * p->width * p->width * 4, 64) +
           p->steps * flat * (narrow(p) ? 2 : 4);
}

static scratch carve(const neuro_sdsa_shape *p, uint8_t *at) {
    const int64_t pitch = up(p->tokens, BLOCK), flat = up(pitch * p->width, 64);
    scratch s;
    s.kb = at;
    s.vb = at + flat;
    s.kw = (uint32_t *)(at + 2 * flat);
    s.S = (int32_t *)((uint8_t *)s.kw + up(pitch / 32 * p->width * 4, 64));
    s.q = (uint8_t *)s.S + up(p->steps * p->width * p->width * 4, 64);
    return s;
}

static int64_t prepare(const neuro_sdsa_shape *p, const void *q, const void *k, const void *v, int64_t b, int64_t head,
                       const scratch *s) {
    const int64_t pitch = up(p->tokens, BLOCK), flat = pitch * p->width;
    int64_t bad = 0;
    for (int64_t t = 0; t < p->steps; t++) {
        bad |= plane(p, q, 0, t, b, head, s->kb, pitch);
        if (narrow(p)) {
            uint16_t *restrict mask = (uint16_t *)s->q + t * flat;
            for (int64_t i = 0; i < flat; i++) mask[i] = (uint16_t)-s->kb[i];
        } else {
            uint32_t *restrict mask = (uint32_t *)s->q + t * flat;
            for (int64_t i = 0; i < flat; i++) mask[i] = -(uint32_t)s->kb[i];
        }
        bad |= plane(p, k, 1, t, b, head, s->kb, pitch);
        bad |= plane(p, v, 2, t, b, head, s->vb, pitch);
        scores(s->kb, s->vb, p->width, pitch, s->kw, s->S + t * p->width * p->width);
    }
    return bad;
}

static void attend(const neuro_sdsa_shape *p, int64_t unit, const scratch *s, void *out, float *last) {
    const int64_t pitch = up(p->tokens, BLOCK), width = p->width, flat = pitch * width;
    const int64_t size = p->batch * p->heads * width * p->tokens;
    for (int64_t n = 0; n < p->tokens; n += BLOCK)
        for (int64_t j = 0; j < width; j += ROWS) {
            const int64_t rows = width - j < ROWS ? width - j : ROWS;
            const int64_t here = p->tokens - n < BLOCK ? p->tokens - n : BLOCK;
            const int64_t at = (unit * width + j) * p->tokens + n;
            float v[ROWS][BLOCK], x[ROWS][BLOCK];
            uint8_t fired[BLOCK];
            for (int64_t r = 0; r < ROWS; r++)
                for (int i = 0; i < BLOCK; i++) v[r][i] = p->hard ? p->reset : 0.0f;
            for (int64_t t = 0; t < p->steps; t++) {
                const int32_t *S = s->S + (t * width + j) * width;
                if (narrow(p))
                    mix16((const uint16_t *)s->q + t * flat + n, pitch, S, width, rows, p->scale, x);
                else
                    mix32((const uint32_t *)s->q + t * flat + n, pitch, S, width, rows, p->scale, x);
                for (int64_t r = 0; r < rows; r++) {
                    step(p, x[r], v[r], fired, BLOCK);
                    emit(p, out, size, t, at + r * p->tokens, fired, here);
                }
            }
            for (int64_t r = 0; r < rows; r++) memcpy(last + at + r * p->tokens, v[r], (size_t)here * sizeof(float));
        }
}

/* ---- SDSA-1 ---- */

/* The neuron sees one number a channel, the tokens at which k and v both spike; where it fires, q passes. */
static int64_t gate(const neuro_sdsa_shape *p, const void *q, const void *k, const void *v, int64_t unit,
                    const scratch *s, void *out, float *last) {
    const int64_t pitch = up(p->tokens, BLOCK), width = p->width, b = unit / p->heads, head = unit % p->heads;
    const int64_t size = p->batch * p->heads * width * p->tokens;
    float *potential = last + unit * width;
    uint8_t *queries = (uint8_t *)s->q;
    int64_t bad = 0;
    for (int64_t i = 0; i < width; i++) potential[i] = p->hard ? p->reset : 0.0f;
    for (int64_t t = 0; t < p->steps; t++) {
        bad |= plane(p, q, 0, t, b, head, queries, pitch);
        bad |= plane(p, k, 1, t, b, head, s->kb, pitch);
        bad |= plane(p, v, 2, t, b, head, s->vb, pitch);
        for (int64_t i = 0; i < width; i++) {
            const uint8_t *restrict ki = s->kb + i * pitch, *restrict vi = s->vb + i * pitch;
            uint8_t *restrict qi = queries + i * pitch, fires;
            int32_t both = 0;
            for (int64_t n = 0; n < p->tokens; n++) both += ki[n] & vi[n];
            const float x = (float)both * p->scale;
            step(p, &x, potential + i, &fires, 1);
            for (int64_t n = 0; n < p->tokens; n++) qi[n] &= fires;
            emit(p, out, size, t, (unit * width + i) * p->tokens, qi, p->tokens);
        }
    }
    return bad;
}

/* Run all of it; out is [T, B, heads, d, N] (packed: [ceil(T/8), ...]), last [B, heads, d, N], for SDSA-1
 * [B, heads, d]. Returns whether some value was neither 0 nor 1, in which case the outputs mean nothing. */
int64_t neuro_sdsa(const neuro_sdsa_shape *p, const void *q, const void *k, const void *v, void *out, float *last,
                   uint8_t *memory) {
    const int64_t each = neuro_sdsa_scratch(p);
    int64_t bad = 0;
#pragma omp parallel for num_threads(p->threads) schedule(static) reduction(| : bad)
    for (int64_t unit = 0; unit < p->batch * p->heads; unit++) {
        const scratch s = carve(p, memory + omp_get_thread_num() * each);
        if (p->kind == 1) {
            bad |= gate(p, q, k, v, unit, &s, out, last);
        } else {
            bad |= prepare(p, q, k, v, unit / p->heads, unit % p->heads, &s);
            attend(p, unit, &s, out, last);
        }
    }
    return bad;
}
