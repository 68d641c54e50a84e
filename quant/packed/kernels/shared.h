/* What the products share: the shape of a convolution, where a tap lies in the image, and what becomes of a sum.
 *
 * A linear layer is a convolution of one tap over images of one position. Positions are rows [B, H, W] of the input
 * and [B, H', W'] of the output, channels innermost. */
#ifndef QUANT_PACKED_SHARED_H
#define QUANT_PACKED_SHARED_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    int64_t batch, height, width;         /* of the input */
    int64_t out_height, out_width;        /* of the output */
    int64_t groups, outputs;              /* output channels of one group */
    int64_t words;                        /* of one group at one position: 64-bit words, or channels for codes */
    int64_t kernel_height, kernel_width;
    int64_t stride_height, stride_width;
    int64_t padding_height, padding_width;
    int64_t dilation_height, dilation_width;
    int64_t threads;
} Geometry;

/* Equal steps: (round(clamp(x / scale + zero_point, low, high)) - zero_point) scale; none where the scale is 0. */
typedef struct {
    float scale, zero_point, low, high;
} Steps;

/* Sums as they are, or as floats; absent parts are NULL:
 *     prelu(steps(sum * scale + shift) + steps(residual) - before, slope) + after */
typedef struct {
    int32_t *sums;
    float *values;
    const float *scale, *shift, *residual, *before, *slope, *after;
    Steps steps; /* of both operands of the sum with the residual */
} Output;

static inline int64_t positions_of(const Geometry *g) { return g->batch * g->out_height * g->out_width; }

static inline int64_t taps_of(const Geometry *g) { return g->kernel_height * g->kernel_width; }

/* The input position of each tap of output position m; -1 in the padding. Return how many lie in the padding. */
static inline int64_t find_taps(const Geometry *g, int64_t m, int64_t step, int64_t *found) {
    const int64_t x0 = m % g->out_width * g->stride_width - g->padding_width;
    const int64_t y0 = m / g->out_width % g->out_height * g->stride_height - g->padding_height;
    const int64_t image = m / (g->out_width * g->out_height) * g->height;
    int64_t outside = 0;
    for (int64_t i = 0; i < g->kernel_height; i++)
        for (int64_t j = 0; j < g->kernel_width; j++, found += step) {
            const int64_t y = y0 + i * g->dilation_height, x = x0 + j * g->dilation_width;
            const int inside = y >= 0 && y < g->height && x >= 0 && x < g->width;
            *found = inside ? (image + y) * g->width + x : -1;
            outside += !inside;
        }
    return outside;
}

enum { TILE = 16 }; /* output channels of one vector of sums */

typedef int32_t Sums __attribute__((vector_size(4 * TILE)));
typedef float Values __attribute__((vector_size(4 * TILE)));
typedef int32_t SumsInMemory __attribute__((vector_size(4 * TILE), aligned(4), may_alias));
typedef float ValuesInMemory __attribute__((vector_size(4 * TILE), aligned(4), may_alias));

#ifdef __clang__
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (Sums){__VA_ARGS__})
#endif

static inline Values read_values(const float *from) { return *(const ValuesInMemory *)from; }

static inline Sums read_sums(const int32_t *from) { return *(const SumsInMemory *)from; }

static inline Values choose(Sums which, Values a, Values b) { return (Values)((which & (Sums)a) | (~which & (Sums)b)); }

/* Rounding half to even, of |x| < 2^22: below that, 1.5 * 2^23 leaves no bits behind the point. */
#define ROUND_BY 12582912.0f

static inline Values round_values(Steps by, Values x) {
    x = x / by.scale + by.zero_point;
    x = choose(x < by.low, (Values){0} + by.low, x);
    x = choose(x > by.high, (Values){0} + by.high, x);
    x = (x + ROUND_BY) - ROUND_BY;
    return (x - by.zero_point) * by.scale;
}

static inline float round_value(Steps by, float x) {
    x = x / by.scale + by.zero_point;
    x = x < by.low ? by.low : x;
    x = x > by.high ? by.high : x;
    x = (x + ROUND_BY) - ROUND_BY;
    return (x - by.zero_point) * by.scale;
}

/* Keep a tile of sums whose first belongs to `channel` and lies `at` in the output. */
static inline void keep_tile(const Output *out, Sums sum, int64_t at, int64_t channel) {
    if (!out->values) {
        *(SumsInMemory *)(out->sums + at) = sum;
        return;
    }
    Values y = __builtin_convertvector(sum, Values) * read_values(out->scale + channel);
    if (out->shift) y += read_values(out->shift + channel);
    if (out->residual) {
        const Values residual = read_values(out->residual + at);
        const int stepped = out->steps.scale != 0;
        y = stepped ? round_values(out->steps, y) + round_values(out->steps, residual) : y + residual;
    }
    if (out->before) y -= read_values(out->before + channel);
    if (out->slope) y = choose(y < 0, y * read_values(out->slope + channel), y);
    if (out->after) y += read_values(out->after + channel);
    *(ValuesInMemory *)(out->values + at) = y;
}

/* The same for fewer channels than a tile has. */
static inline void keep_few(const Output *out, const int32_t *sum, int64_t at, int64_t channel, int n) {
    for (int i = 0; i < n; i++) {
        const int64_t c = channel + i;
        if (!out->values) {
            out->sums[at + i] = sum[i];
            continue;
        }
        float y = (float)sum[i] * out->scale[c];
        if (out->shift) y += out->shift[c];
        if (out->residual) {
            const float residual = out->residual[at + i];
            const int stepped = out->steps.scale != 0;
            y = stepped ? round_value(out->steps, y) + round_value(out->steps, residual) : y + residual;
        }
        if (out->before) y -= out->before[c];
        if (out->slope) y = y < 0 ? y * out->slope[c] : y;
        if (out->after) y += out->after[c];
        out->values[at + i] = y;
    }
}

/* Keep the first n sums of a tile, those of `base` (or NULL) added. */
static inline void keep(const Output *out, Sums sum, const int32_t *base, int64_t at, int64_t channel, int n) {
    if (n == TILE) {
        keep_tile(out, base ? sum + read_sums(base + channel) : sum, at, channel);
        return;
    }
    int32_t few[TILE];
    for (int i = 0; i < TILE; i++) few[i] = sum[i];
    for (int i = 0; base && i < n; i++) few[i] += base[channel + i];
    keep_few(out, few, at, channel, n);
}

/* What the taps in the padding bring to n channels: the sum of their rows of `border` [taps][channels]. */
static inline Sums sum_border(const int32_t *border, const int64_t *at, int64_t step, int64_t taps, int64_t channels,
                              int n) {
    Sums sum = {0};
    for (int64_t tap = 0; tap < taps; tap++, border += channels) {
        if (at[tap * step] >= 0) continue;
        if (n == TILE)
            sum += read_sums(border);
        else
            for (int i = 0; i < n; i++) sum[i] += border[i];
    }
    return sum;
}

#endif
