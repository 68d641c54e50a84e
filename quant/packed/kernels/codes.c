/* Around the int8 product: rows of taps for it, depthwise convolution without it, and what follows its sums. */
#include <omp.h>
#include <string.h>

#include "shared.h"

/* Codes [positions of the input, groups, words] to rows [positions of the output, taps, words] of one group; `fill`
 * stands for 0 in the padding. Room: [threads, taps]. */
void quant_packed_rows(const Geometry *g, const int8_t *codes, int8_t *rows, int64_t group, int64_t fill,
                       int64_t *room) {
    const int64_t taps = taps_of(g), width = g->words;
#pragma omp parallel for num_threads(g->threads) schedule(static)
    for (int64_t m = 0; m < positions_of(g); m++) {
        int64_t *at = room + omp_get_thread_num() * taps;
        int8_t *to = rows + m * taps * width;
        const int64_t outside = find_taps(g, m, 1, at);
        if (!outside && g->groups == 1 && g->dilation_width == 1) { /* the taps of a line lie beside each other */
            const int64_t line = g->kernel_width * width;
            for (int64_t i = 0; i < g->kernel_height; i++, to += line)
                memcpy(to, codes + at[i * g->kernel_width] * width, (size_t)line);
            continue;
        }
        for (int64_t tap = 0; tap < taps; tap++, to += width)
            if (at[tap] < 0)
                memset(to, (int)fill, (size_t)width);
            else
                memcpy(to, codes + (at[tap] * g->groups + group) * width, (size_t)width);
    }
}

typedef int8_t Codes __attribute__((vector_size(TILE), aligned(1), may_alias));

static inline Sums read_codes(const int8_t *from) { return __builtin_convertvector(*(const Codes *)from, Sums); }

/* Sum of (code, or `fill` in the padding) * weight[tap] over taps, for a tile of channels. */
static inline Sums filter(const int8_t *codes, const int8_t *weight, const int64_t *at, int64_t taps,
                          int64_t channels, int32_t fill) {
    Sums sum = {0};
    for (int64_t tap = 0; tap < taps; tap++) {
        const Sums w = read_codes(weight + tap * channels);
        sum += w * (at[tap] < 0 ? (Sums){0} + fill : read_codes(codes + at[tap] * channels));
    }
    return sum;
}

/* The same for fewer channels. */
static inline Sums filter_few(const int8_t *codes, const int8_t *weight, const int64_t *at, int64_t taps,
                              int64_t channels, int32_t fill, int n) {
    Sums sum = {0};
    for (int64_t tap = 0; tap < taps; tap++)
        for (int c = 0; c < n; c++)
            sum[c] += weight[tap * channels + c] * (at[tap] < 0 ? fill : codes[at[tap] * channels + c]);
    return sum;
}

/* One input and one output channel in each group: codes [positions, groups], weight [taps, groups]. */
void quant_packed_depthwise(const Geometry *g, const int8_t *codes, const int8_t *weight, const int32_t *base,
                            int64_t fill, int64_t *room, const Output *out) {
    const int64_t taps = taps_of(g), channels = g->groups;
#pragma omp parallel for num_threads(g->threads) schedule(static)
    for (int64_t m = 0; m < positions_of(g); m++) {
        int64_t *at = room + omp_get_thread_num() * taps;
        find_taps(g, m, 1, at);
        for (int64_t c = 0; c < channels; c += TILE) {
            const int n = channels - c < TILE ? (int)(channels - c) : TILE;
            const Sums sum = n == TILE ? filter(codes + c, weight + c, at, taps, channels, (int32_t)fill)
                                       : filter_few(codes + c, weight + c, at, taps, channels, (int32_t)fill, n);
            keep(out, sum, base, m * channels + c, c, n);
        }
    }
}

/* Keep given sums [rows, channels], those from channel `first` of all, plus a base for each channel (or NULL). */
void quant_packed_keep(const int32_t *sums, const int32_t *base, int64_t rows, int64_t channels, int64_t first,
                       int64_t channels_in_all, int64_t threads, const Output *out) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t m = 0; m < rows; m++)
        for (int64_t c = 0; c < channels; c += TILE) {
            const int32_t *from = sums + m * channels + c;
            const int n = channels - c < TILE ? (int)(channels - c) : TILE;
            Sums sum = {0};
            if (n == TILE)
                sum = read_sums(from);
            else
                for (int i = 0; i < n; i++) sum[i] = from[i];
            keep(out, sum, base, m * channels_in_all + first + c, first + c, n);
        }
}
