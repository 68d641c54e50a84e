/* Rows of neurons: between memory and fp32 scratch, and one timestep of them forward and backward.

   Shared by the kernels that end in a neuron. The order of operations is that of reference.py, so potentials and
   spikes are equal bit for bit. 16-bit floats are converted a row at a time; all arithmetic is in fp32. */
#ifndef NEURO_LIF_H
#define NEURO_LIF_H
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

enum { CHARGE_IF, CHARGE_LIF, CHARGE_LIF_UNDECAYED, CHARGE_INTEGER };
enum { RESET_ZERO, RESET_HARD, RESET_SOFT };
enum { SIGMOID, ATAN, TRIANGLE, RECTANGLE, PIECEWISE_QUADRATIC };
enum { FLOAT32, FLOAT16, BFLOAT16 };
enum { CONVERTED = 256 }; /* 16-bit numbers on their way past the caches */

typedef struct {
    int32_t charge, reset, surrogate, detach_reset;
    float tau, rest, v_threshold, v_reset, alpha;
    float keeps, levels, divisor; /* integer LIF: h = keeps v + x, counts up to levels, output count / divisor */
} neuro_lif_settings;

/* --- rows between memory and fp32 scratch --- */

INLINE float from_bf16(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

INLINE uint16_t to_bf16(float value) { /* to nearest, ties to even; NaN stays NaN */
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

static void row_from_fp16(const uint16_t *restrict from, float *restrict to, int64_t n) {
    int64_t i = 0;
#if defined(__F16C__)
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(from + i))));
#endif
    for (; i < n; i++) {
        _Float16 value;
        memcpy(&value, from + i, sizeof value);
        to[i] = (float)value;
    }
}

static void row_to_fp16(const float *restrict from, uint16_t *restrict to, int64_t n) {
    int64_t i = 0;
#if defined(__F16C__)
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(to + i), _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
#endif
    for (; i < n; i++) {
        _Float16 value = (_Float16)from[i];
        memcpy(to + i, &value, sizeof value);
    }
}

INLINE void row_to_half(const float *restrict from, uint16_t *restrict to, int32_t dtype, int64_t n) {
    if (dtype == FLOAT16)
        row_to_fp16(from, to, n);
    else
        for (int64_t i = 0; i < n; i++) to[i] = to_bf16(from[i]);
}

/* Streamed stores are ordered by nothing else before another thread reads them. */
INLINE void streams_done(void) {
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

/* Past the caches: a large result is not read again before it is evicted, and its lines need not be fetched first. */
static void row_streamed(const void *restrict from, void *restrict to, size_t bytes) {
    const char *source = from;
    char *at = to, *const end = at + bytes;
#if defined(__AVX512F__)
    const size_t head = (size_t)smaller((int64_t)(-(uintptr_t)at & 63), (int64_t)bytes);
    memcpy(at, source, head);
    for (at += head, source += head; end - at >= 64; at += 64, source += 64)
        _mm512_stream_si512((void *)at, _mm512_loadu_si512(source));
#elif defined(__SSE2__)
    const size_t head = (size_t)smaller((int64_t)(-(uintptr_t)at & 15), (int64_t)bytes);
    memcpy(at, source, head);
    for (at += head, source += head; end - at >= 16; at += 16, source += 16)
        _mm_stream_si128((__m128i *)at, _mm_loadu_si128((const __m128i *)source));
#endif
    memcpy(at, source, (size_t)(end - at));
}

/* Ask for a row before its turn: each timestep is another page, which the processor does not foresee. */
INLINE void row_wanted(const void *tensor, int32_t dtype, int64_t at, int64_t n) {
    const int64_t size = dtype == FLOAT32 ? 4 : 2;
    for (int64_t byte = at * size; byte < (at + n) * size; byte += 64) __builtin_prefetch((const char *)tensor + byte);
}

/* Return n values from element `at` of a tensor, where they are or converted into `scratch`. */
INLINE const float *row_in(const void *tensor, int32_t dtype, int64_t at, float *restrict scratch, int64_t n) {
    if (dtype == FLOAT32) return (const float *)tensor + at;
    const uint16_t *from = (const uint16_t *)tensor + at;
    if (dtype == FLOAT16)
        row_from_fp16(from, scratch, n);
    else
        for (int64_t i = 0; i < n; i++) scratch[i] = from_bf16(from[i]);
    return scratch;
}

/* Return where to write n values of element `at`: in place, or in `scratch`, which row_done then carries over. */
INLINE float *row_out(void *tensor, int32_t dtype, int streamed, int64_t at, float *scratch) {
    return dtype == FLOAT32 && !streamed ? (float *)tensor + at : scratch;
}

INLINE void row_done(void *tensor, int32_t dtype, int streamed, int64_t at, const float *restrict scratch, int64_t n) {
    uint16_t rounded[CONVERTED], *to = (uint16_t *)tensor + at;
    if (dtype == FLOAT32) {
        if (streamed) row_streamed(scratch, (float *)tensor + at, (size_t)n * sizeof(float));
        return;
    }
    for (int64_t i = 0; i < n; i += CONVERTED) {
        const int64_t m = smaller(CONVERTED, n - i);
        row_to_half(scratch + i, streamed ? rounded : to + i, dtype, m);
        if (streamed) row_streamed(rounded, to + i, (size_t)m * sizeof *rounded);
    }
}

/* --- one timestep of a row --- */

/* x / tau; by multiplication where the reciprocal is exact, that is where tau is a power of two. */
INLINE float divided(float x, float tau, int exact) { return exact ? x * (1.0f / tau) : x / tau; }

INLINE float charged(float x, float v, const neuro_lif_settings *p, int charge, int exact) {
    if (charge == CHARGE_IF) return v + x;
    if (charge == CHARGE_INTEGER) return v * p->keeps + x;
    float above_rest = v - p->rest;
    if (charge == CHARGE_LIF) return v + divided(x - above_rest, p->tau, exact);
    return v - divided(above_rest, p->tau, exact) + x;
}

INLINE float fired(float h, const neuro_lif_settings *p, int charge) {
    if (charge != CHARGE_INTEGER) return h - p->v_threshold >= 0.0f ? 1.0f : 0.0f;
    float count = h < 0.0f ? 0.0f : h;
    return rintf(count > p->levels ? p->levels : count);
}

/* Products and no selection: the reference's infinity times zero is NaN, and so is this. */
INLINE float after_reset(float h, float s, const neuro_lif_settings *p, int charge, int reset) {
    if (charge == CHARGE_INTEGER) return h - s;
    if (reset == RESET_SOFT) return h - p->v_threshold * s;
    if (reset == RESET_ZERO) return h * (1.0f - s);
    return h * (1.0f - s) + p->v_reset * s;
}

INLINE void step_row(const float *restrict x, float *restrict v, float *restrict s, int64_t n,
                     const neuro_lif_settings *settings, int charge, int reset, int exact) {
    const neuro_lif_settings p = *settings;
    for (int64_t i = 0; i < n; i++) {
        float h = charged(x[i], v[i], &p, charge, exact);
        float spikes = fired(h, &p, charge);
        v[i] = after_reset(h, spikes, &p, charge, reset);
        s[i] = charge == CHARGE_INTEGER ? spikes / p.divisor : spikes;
    }
}

/* The same for the backward pass, which wants h and not s. */
INLINE void charge_row(const float *restrict x, float *restrict v, float *restrict h, int64_t n,
                       const neuro_lif_settings *settings, int charge, int reset, int exact) {
    const neuro_lif_settings p = *settings;
    for (int64_t i = 0; i < n; i++) {
        h[i] = charged(x[i], v[i], &p, charge, exact);
        v[i] = after_reset(h[i], fired(h[i], &p, charge), &p, charge, reset);
    }
}

/* What tau divides, divided by it: the derivative of h with respect to tau is -+ this / tau. */
INLINE void quotient_row(const float *restrict x, const float *restrict v, float *restrict q, int64_t n,
                         const neuro_lif_settings *p) {
    const float rest = p->rest, tau = p->tau;
    if (p->charge == CHARGE_LIF)
        for (int64_t i = 0; i < n; i++) q[i] = (x[i] - (v[i] - rest)) / tau;
    else
        for (int64_t i = 0; i < n; i++) q[i] = (v[i] - rest) / tau;
}

#if defined(__FP_FAST_FMAF)
#define MULTIPLY_ADD(a, b, c) __builtin_fmaf(a, b, c)
#else
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#endif

/* exp(x) for x <= 0 to 2e-7 relative, 0 below -87; NaN stays NaN.
   2^n times the polynomial of degree 5 whose largest relative error on |r| <= ln(2)/2 is least, 1.05e-7. */
INLINE float exp_below_zero(float x) {
    const float round_off = 12582912.0f; /* 1.5 2^23: adding it leaves the nearest integer in the low bits */
    float shifted = MULTIPLY_ADD(x, 1.44269504f, round_off);
    float n = shifted - round_off;
    float r = MULTIPLY_ADD(n, -0.693359375f, x);
    r = MULTIPLY_ADD(n, 2.12194440e-4f, r);
    float y = 0.00831250194f;
    y = MULTIPLY_ADD(y, r, 0.0418903306f);
    y = MULTIPLY_ADD(y, r, 0.166671157f);
    y = MULTIPLY_ADD(y, r, 0.499992311f);
    y = MULTIPLY_ADD(y, r, 1.0f);
    y = MULTIPLY_ADD(y, r, 1.0f);
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + 0x3f800000u;
    float power;
    memcpy(&power, &bits, sizeof power);
    y *= power;
    /* A mask and no selection: the compiler would guard every step by it. */
    memcpy(&bits, &y, sizeof bits);
    bits &= (uint32_t)(x < -87.0f) - 1u;
    memcpy(&y, &bits, sizeof y);
    return y;
}

/* The surrogate derivative at the distance u = h - v_threshold. */
INLINE float derivative(float u, float alpha, int surrogate) {
    if (surrogate == SIGMOID) {
        float e = exp_below_zero(-fabsf(alpha * u)), d = 1.0f + e;
        return alpha * e / (d * d);
    }
    if (surrogate == ATAN) {
        float a = (float)(3.14159265358979323846 / 2 * (double)alpha) * u;
        return alpha / 2 / (1.0f + a * a);
    }
    float distance = fabsf(u);
    if (surrogate == RECTANGLE) return distance < 0.5f / alpha ? alpha : 0.0f;
    float height = surrogate == TRIANGLE ? 1.0f - distance : alpha - alpha * alpha * distance;
    height = height < 0.0f ? 0.0f : height;
    return surrogate == TRIANGLE ? alpha * height : height;
}

INLINE void derivative_row(const float *restrict h, float *restrict g, int64_t n, const neuro_lif_settings *p,
                           int surrogate) {
    const float at = p->v_threshold, alpha = p->alpha;
    for (int64_t i = 0; i < n; i++) g[i] = derivative(h[i] - at, alpha, surrogate);
}

/* One timestep backward: from the gradients of s_t and v_t to those of x_t and v_(t-1). */
INLINE void back_row(const float *restrict h, const float *restrict g, const float *restrict grad_s,
                     float *restrict grad_v, float *restrict grad_x, int64_t n, const neuro_lif_settings *settings,
                     int charge, int reset, int detach, int exact) {
    const neuro_lif_settings p = *settings;
    for (int64_t i = 0; i < n; i++) {
        float of_v = grad_v[i], of_s = grad_s[i], of_h;
        if (charge == CHARGE_INTEGER) {
            of_s = of_s / p.divisor - (detach ? 0.0f : of_v);
            of_h = of_s * ((h[i] >= 0.0f) & (h[i] <= p.levels) ? 1.0f : 0.0f) + of_v;
            grad_x[i] = of_h;
            grad_v[i] = of_h * p.keeps;
            continue;
        }
        if (reset == RESET_SOFT) {
            of_h = (detach ? of_s : of_s - p.v_threshold * of_v) * g[i] + of_v;
        } else {
            float s = fired(h[i], &p, charge);
            of_h = (detach ? of_s : of_s + (p.v_reset - h[i]) * of_v) * g[i] + of_v * (1.0f - s);
        }
        float leaked = charge == CHARGE_IF ? 0.0f : divided(of_h, p.tau, exact);
        grad_x[i] = charge == CHARGE_LIF ? leaked : of_h;
        grad_v[i] = of_h - leaked;
    }
}

/* --- a row with the settings made constants, so that each loop is compiled without branches --- */

#define CASE_RESET(f, p, ...)                                                                                      \
    if ((p)->reset == RESET_ZERO) f(__VA_ARGS__, RESET_ZERO);                                                      \
    else if ((p)->reset == RESET_HARD) f(__VA_ARGS__, RESET_HARD);                                                 \
    else f(__VA_ARGS__, RESET_SOFT);
#define CASE_CHARGE(f, p, exact)                                                                                   \
    switch ((p)->charge * 2 + (exact)) {                                                                           \
    case CHARGE_IF * 2: case CHARGE_IF * 2 + 1: CASE_RESET(f, p, CHARGE_IF, 1) break;                              \
    case CHARGE_LIF * 2: CASE_RESET(f, p, CHARGE_LIF, 0) break;                                                    \
    case CHARGE_LIF * 2 + 1: CASE_RESET(f, p, CHARGE_LIF, 1) break;                                                \
    case CHARGE_LIF_UNDECAYED * 2: CASE_RESET(f, p, CHARGE_LIF_UNDECAYED, 0) break;                                \
    case CHARGE_LIF_UNDECAYED * 2 + 1: CASE_RESET(f, p, CHARGE_LIF_UNDECAYED, 1) break;                            \
    default: f(CHARGE_INTEGER, 1, RESET_SOFT);                                                                     \
    }

static void step(const float *x, float *v, float *s, int64_t n, const neuro_lif_settings *p, int exact) {
#define STEP(charge, exact, reset) step_row(x, v, s, n, p, charge, reset, exact)
    CASE_CHARGE(STEP, p, exact)
}

static void charge(const float *x, float *v, float *h, int64_t n, const neuro_lif_settings *p, int exact) {
#define CHARGE(charge, exact, reset) charge_row(x, v, h, n, p, charge, reset, exact)
    CASE_CHARGE(CHARGE, p, exact)
}

static void derive(const float *h, float *g, int64_t n, const neuro_lif_settings *p) {
    switch (p->charge == CHARGE_INTEGER ? -1 : p->surrogate) {
    case SIGMOID: derivative_row(h, g, n, p, SIGMOID); break;
    case ATAN: derivative_row(h, g, n, p, ATAN); break;
    case TRIANGLE: derivative_row(h, g, n, p, TRIANGLE); break;
    case RECTANGLE: derivative_row(h, g, n, p, RECTANGLE); break;
    case PIECEWISE_QUADRATIC: derivative_row(h, g, n, p, PIECEWISE_QUADRATIC); break;
    default: break; /* integer LIF needs none */
    }
}

/* The same without what comes back through the reset; for the last timestep, whose reset nothing follows: there it
   must not even be zero times an infinite potential. */
static void back_detached(const float *h, const float *g, const float *grad_s, float *grad_v, float *grad_x, int64_t n,
                          const neuro_lif_settings *p, int exact) {
#define BACK_DETACHED(charge, exact, reset) back_row(h, g, grad_s, grad_v, grad_x, n, p, charge, reset, 1, exact)
    CASE_CHARGE(BACK_DETACHED, p, exact)
}

static void back(const float *h, const float *g, const float *grad_s, float *grad_v, float *grad_x, int64_t n,
                 const neuro_lif_settings *p, int exact) {
#define BACK(charge, exact, reset) back_row(h, g, grad_s, grad_v, grad_x, n, p, charge, reset, 0, exact)
    if (p->detach_reset) {
        back_detached(h, g, grad_s, grad_v, grad_x, n, p, exact);
        return;
    }
    CASE_CHARGE(BACK, p, exact)
}

static int is_power_of_two(float tau) {
    int exponent;
    return frexpf(tau, &exponent) == 0.5f && exponent < 126;
}
#endif
