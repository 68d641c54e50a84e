/* From numbers to bit planes, or to int8 codes.
 *
 *     signs       u = x >= threshold[channel]
 *     levels      u = round(clamp(x / scale + zero_point, low, high)) - first, half to even, in float32
 *     spikes      u = x != 0, numbers other than 0 and 1 counted
 *
 * Input: rows [R, C], or channel-first [B, C, S]. Bits: plane i of [R, groups, words], bit c of a word being channel
 * 64 word + c of its group; the bits past the last channel are 0. Codes: step * u - offset, [R, C]. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "shared.h"

#ifdef __AVX512BW__
#include <immintrin.h>
#endif

enum { SIGNS, LEVELS, SPIKES, BYTE_SPIKES };
enum { WORD = 64 };

typedef struct {
    const void *x;
    const float *threshold;            /* [C], for signs */
    uint64_t *bits;                    /* NULL where codes are wanted */
    int8_t *codes;
    int64_t kind, batch, channels, size, channel_first; /* rows: batch * size */
    int64_t groups, planes, step, offset, threads;
    float scale, zero_point, low, high, first; /* u is 0 at code `first` */
} Pack;

/* Turn n numbers into u, each of its own channel or `all_of_one`. Return how many are wrong. */
static inline int64_t code_of(const Pack *k, int64_t at, const float *threshold, int all_of_one, int n,
                              uint8_t *restrict u) {
    const float *restrict x = (const float *)k->x + at;
    const uint8_t *restrict bytes = (const uint8_t *)k->x + at;
    const float scale = k->scale, zero = k->zero_point, low = k->low, high = k->high, code = k->first;
    int32_t wrong = 0;
    switch (k->kind) {
    case SIGNS:
        if (all_of_one)
            for (int i = 0; i < n; i++) u[i] = x[i] >= threshold[0];
        else
            for (int i = 0; i < n; i++) u[i] = x[i] >= threshold[i];
        break;
    case LEVELS:
        for (int i = 0; i < n; i++) {
            float v = x[i] / scale + zero;
            wrong += v != v;
            v = v < low ? low : v;
            v = v > high ? high : v;
            v = v != v ? low : v;
            u[i] = (uint8_t)(int32_t)(rintf(v) - code);
        }
        break;
    case SPIKES:
        for (int i = 0; i < n; i++) {
            u[i] = x[i] != 0;
            wrong += x[i] != 0 && x[i] != 1;
        }
        break;
    default:
        for (int i = 0; i < n; i++) {
            u[i] = bytes[i] != 0;
            wrong += bytes[i] > 1;
        }
    }
    return wrong;
}

/* Bit i of 64 bytes, as a word. */
static inline uint64_t plane_of(const uint8_t *u, int i) {
#ifdef __AVX512BW__
    return _mm512_test_epi8_mask(_mm512_loadu_si512(u), _mm512_set1_epi8((char)(1 << i)));
#else
    uint64_t word = 0;
    for (int c = 0; c < WORD; c++) word |= (uint64_t)(u[c] >> i & 1) << c;
    return word;
#endif
}

/* Turn a matrix of 64 x 64 bits: word c, bit p becomes word p, bit c. */
static inline void transpose(uint64_t word[WORD]) {
    uint64_t mask = 0x00000000FFFFFFFFu;
    for (int width = WORD / 2; width; width >>= 1, mask ^= mask << width)
        for (int i = 0; i < WORD; i += 2 * width)
            for (int j = i; j < i + width; j++) {
                const uint64_t moved = (word[j] >> width ^ word[j + width]) & mask;
                word[j] ^= moved << width;
                word[j + width] ^= moved;
            }
}

typedef struct {
    int64_t group, word, channel; /* the first channel of a word, among all */
    int n;                        /* channels in it */
} Place;

static inline Place place(const Pack *k, int64_t number, int64_t words) {
    const int64_t each = k->channels / k->groups;
    const int64_t group = number / words, word = number % words, left = each - word * WORD;
    return (Place){group, word, group * each + word * WORD, left < WORD ? (int)left : WORD};
}

static inline void to_codes(const uint8_t *restrict u, uint8_t step, uint8_t offset, int n, int8_t *restrict codes) {
    for (int c = 0; c < n; c++) codes[c] = (int8_t)(uint8_t)(u[c] * step - offset);
}

static int64_t pack_row(const Pack *k, int64_t row, int64_t words) {
    uint8_t u[WORD] = {0};
    int64_t wrong = 0;
    const uint8_t step = (uint8_t)k->step, offset = (uint8_t)k->offset;
    const int64_t plane = k->batch * k->size * k->groups * words;
    for (int64_t number = 0; number < k->groups * words; number++) {
        const Place at = place(k, number, words);
        const float *threshold = k->kind == SIGNS ? k->threshold + at.channel : NULL;
        const int64_t from = row * k->channels + at.channel;
        if (at.n == WORD) wrong += code_of(k, from, threshold, 0, WORD, u);
        else {
            memset(u + at.n, 0, (size_t)(WORD - at.n));
            wrong += code_of(k, from, threshold, 0, at.n, u);
        }
        for (int i = 0; k->bits && i < k->planes; i++)
            k->bits[i * plane + row * k->groups * words + number] = plane_of(u, i);
        if (k->codes && at.n == WORD)
            to_codes(u, step, offset, WORD, k->codes + from);
        else if (k->codes)
            to_codes(u, step, offset, at.n, k->codes + from);
    }
    return wrong;
}

/* 64 positions of one image from `first`, channel-first. */
static int64_t pack_positions(const Pack *k, int64_t image, int64_t first, int64_t words) {
    uint8_t u[WORD][WORD];
    uint64_t word[WORD];
    int64_t wrong = 0;
    const int count = k->size - first < WORD ? (int)(k->size - first) : WORD;
    const int64_t plane = k->batch * k->size * k->groups * words, row = image * k->size + first;
    for (int64_t number = 0; number < k->groups * words; number++) {
        const Place at = place(k, number, words);
        for (int c = 0; c < at.n; c++) {
            const int64_t from = (image * k->channels + at.channel + c) * k->size + first;
            const float *threshold = k->kind == SIGNS ? k->threshold + at.channel + c : NULL;
            wrong += count == WORD ? code_of(k, from, threshold, 1, WORD, u[c])
                                   : code_of(k, from, threshold, 1, count, u[c]);
        }
        for (int i = 0; k->bits && i < k->planes; i++) {
            for (int c = 0; c < WORD; c++) word[c] = c < at.n ? plane_of(u[c], i) : 0;
            transpose(word);
            uint64_t *to = k->bits + i * plane + row * k->groups * words + number;
            for (int p = 0; p < count; p++) to[p * k->groups * words] = word[p];
        }
        for (int p = 0; k->codes && p < count; p++)
            for (int c = 0; c < at.n; c++)
                k->codes[(row + p) * k->channels + at.channel + c] = (int8_t)(u[c][p] * k->step - k->offset);
    }
    return wrong;
}

/* Return how many numbers were wrong. */
int64_t quant_packed_pack(const Pack *k) {
    const int64_t words = (k->channels / k->groups + WORD - 1) / WORD;
    const int64_t parts = (k->size + WORD - 1) / WORD, rows = k->batch * k->size;
    int64_t wrong = 0;
    if (k->channel_first) {
#pragma omp parallel for num_threads(k->threads) schedule(static) reduction(+ : wrong)
        for (int64_t task = 0; task < k->batch * parts; task++)
            wrong += pack_positions(k, task / parts, task % parts * WORD, words);
    } else {
#pragma omp parallel for num_threads(k->threads) schedule(static) reduction(+ : wrong)
        for (int64_t row = 0; row < rows; row++) wrong += pack_row(k, row, words);
    }
    return wrong;
}
