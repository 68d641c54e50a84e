/* Products of bit planes: AND or XOR, then popcount; convolved directly, without im2col.
 *
 *     y[m, o] = base[o] + sum_ij factor[i, j] sum_tap,word popcount(a_i[tap of m, word] op w_j[o, tap, word])
 *             + sum of border[tap, o] over the taps of m that lie in the padding
 *
 * A vector holds eight output channels, so that no sum runs across lanes; a block of eight positions by sixteen output
 * channels stays in registers. Outside the image bits are read from a row of zeros. */
#include <omp.h>

#include "shared.h"

#ifdef __AVX512VPOPCNTDQ__
#include <immintrin.h>
#endif

enum { LANES = TILE / 2, BLOCK = 8 };

typedef uint64_t vector __attribute__((vector_size(8 * LANES)));
typedef uint64_t in_memory __attribute__((vector_size(8 * LANES), aligned(8), may_alias));

typedef struct {
    const uint64_t *activations;    /* [a planes][positions of the input][groups][words] */
    const uint64_t *tiles;          /* [groups][tiles][w planes][taps][words][TILE] */
    const int64_t *factors;         /* [a planes][w planes] */
    const int32_t *base, *border;   /* [groups * outputs], [taps][groups * outputs]; border may be NULL */
    const uint64_t *zeros;          /* [words] */
    void *room;                     /* [threads][taps * (2 + a planes * BLOCK)] of 8 bytes */
    int64_t activation_planes, weight_planes, exclusive;
} Bits;

static inline vector count(vector bits) {
#ifdef __AVX512VPOPCNTDQ__
    return (vector)_mm512_popcnt_epi64((__m512i)bits);
#else
    vector found;
    for (int i = 0; i < LANES; i++) found[i] = (uint64_t)__builtin_popcountll(bits[i]);
    return found;
#endif
}

/* Add factor * popcounts of `rows` positions and one tile to `total`. */
static inline __attribute__((always_inline)) void multiply(
    const int rows, const int exclusive, const uint64_t *const *restrict from, const in_memory *restrict w,
    int64_t taps, int64_t words, int64_t factor, vector total[][2]) {
    vector sum[BLOCK][2] = {{{0}}};
    for (int64_t tap = 0; tap < taps; tap++, from += BLOCK)
        for (int64_t word = 0; word < words; word++, w += 2) {
            const vector left = w[0], right = w[1];
#pragma GCC unroll 8
            for (int p = 0; p < rows; p++) {
                const vector a = from[p][word] - (vector){0};
                sum[p][0] += count(exclusive ? a ^ left : a & left);
                sum[p][1] += count(exclusive ? a ^ right : a & right);
            }
        }
    for (int p = 0; p < rows; p++) {
        total[p][0] += sum[p][0] * (uint64_t)factor;
        total[p][1] += sum[p][1] * (uint64_t)factor;
    }
}

#define MULTIPLY(ROWS, OP)                                                                                       \
    static void multiply_##OP##_##ROWS(const uint64_t *const *from, const in_memory *w, int64_t taps, int64_t words, \
                                       int64_t factor, vector total[][2]) {                                      \
        multiply(ROWS, OP, from, w, taps, words, factor, total);                                                 \
    }
MULTIPLY(1, 0)
MULTIPLY(2, 0)
MULTIPLY(4, 0)
MULTIPLY(8, 0)
MULTIPLY(1, 1)
MULTIPLY(2, 1)
MULTIPLY(4, 1)
MULTIPLY(8, 1)

typedef void (*Multiply)(const uint64_t *const *, const in_memory *, int64_t, int64_t, int64_t, vector[][2]);
static const Multiply MULTIPLIES[2][4] = {
    {multiply_0_1, multiply_0_2, multiply_0_4, multiply_0_8},
    {multiply_1_1, multiply_1_2, multiply_1_4, multiply_1_8},
};

/* What a thread works with. */
typedef struct {
    int64_t *offsets;       /* [taps] in words, from the first tap of a position */
    int64_t *at;            /* [taps], of one position */
    const uint64_t **from;  /* [a planes][taps][BLOCK]: where the bits of a position's tap are read */
    int8_t outside[BLOCK];  /* whether some taps of a position lie in the padding */
} Room;

static Room room_of(const Geometry *g, const Bits *b) {
    const int64_t taps = taps_of(g), words = g->groups * g->words;
    int64_t *memory = (int64_t *)b->room + omp_get_thread_num() * taps * (2 + b->activation_planes * BLOCK);
    Room r = {memory, memory + taps, (const uint64_t **)(memory + 2 * taps), {0}};
    for (int64_t tap = 0; tap < taps; tap++)
        r.offsets[tap] = (tap / g->kernel_width * g->dilation_height * g->width +
                          tap % g->kernel_width * g->dilation_width) * words;
    return r;
}

/* Find the bits of the taps of `rows` positions from `first`: by one addition each where all lie inside the image. */
static void find_bits(const Geometry *g, const Bits *b, int64_t first, int rows, int64_t group, Room *r) {
    const int64_t taps = taps_of(g), size = taps * BLOCK, words = g->groups * g->words;
    const int64_t plane = g->batch * g->height * g->width * words;
    const int64_t reach_y = (g->kernel_height - 1) * g->dilation_height;
    const int64_t reach_x = (g->kernel_width - 1) * g->dilation_width;
    int64_t x = first % g->out_width, y = first / g->out_width % g->out_height;
    int64_t image = first / g->out_width / g->out_height;
    const uint64_t *start = b->activations + group * g->words;
    for (int p = 0; p < rows; p++) {
        const int64_t left = x * g->stride_width - g->padding_width, top = y * g->stride_height - g->padding_height;
        r->outside[p] = left < 0 || top < 0 || left + reach_x >= g->width || top + reach_y >= g->height;
        if (r->outside[p]) {
            find_taps(g, first + p, 1, r->at);
            for (int64_t tap = 0; tap < taps; tap++)
                r->from[tap * BLOCK + p] = r->at[tap] < 0 ? b->zeros : start + r->at[tap] * words;
        } else {
            const uint64_t *corner = start + ((image * g->height + top) * g->width + left) * words;
            for (int64_t tap = 0; tap < taps; tap++) r->from[tap * BLOCK + p] = corner + r->offsets[tap];
        }
        if (++x < g->out_width) continue;
        x = 0;
        if (++y < g->out_height) continue;
        y = 0;
        image++;
    }
    for (int64_t i = 1; i < b->activation_planes; i++)
        for (int64_t tap = 0; tap < taps; tap++)
            for (int p = 0; p < rows; p++) {
                const uint64_t *from = r->from[tap * BLOCK + p];
                r->from[i * size + tap * BLOCK + p] = from == b->zeros ? from : from + i * plane;
            }
}

/* Keep the sums of n channels from `channel` of position m. */
static inline void finish(const Geometry *g, const Bits *b, const Output *out, int64_t m, int64_t channel, int n,
                          const Room *r, int outside, const vector total[2]) {
    const int64_t channels = g->groups * g->outputs;
    /* The lower halves of the 64-bit sums. */
    Sums sum = SHUFFLE((Sums)total[0], (Sums)total[1], 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    if (outside && b->border) {
        find_taps(g, m, 1, r->at);
        sum += sum_border(b->border + channel, r->at, 1, taps_of(g), channels, n);
    }
    keep(out, sum, b->base, m * channels + channel, channel, n);
}

/* A block of `rows` positions from `first` by the tiles from `tile` up to `end`. */
static void block(const Geometry *g, const Bits *b, const Output *out, int64_t first, int rows, int64_t group,
                  int64_t tile, int64_t end, Room *r) {
    const int64_t taps = taps_of(g), step = taps * g->words * 2, tiles = (g->outputs + TILE - 1) / TILE;
    find_bits(g, b, first, rows, group, r);
    for (; tile < end; tile++) {
        const in_memory *w = (const in_memory *)b->tiles + (group * tiles + tile) * b->weight_planes * step;
        vector total[BLOCK][2] = {{{0}}};
        for (int64_t i = 0; i < b->activation_planes; i++)
            for (int64_t j = 0; j < b->weight_planes; j++) {
                const int64_t factor = b->factors[i * b->weight_planes + j];
                for (int p = 0, power = 3; p < rows; p += 1 << power) {
                    while (1 << power > rows - p) power--;
                    MULTIPLIES[b->exclusive][power](r->from + i * taps * BLOCK + p, w + j * step, taps, g->words,
                                                    factor, total + p);
                }
            }
        const int64_t left = g->outputs - tile * TILE, channel = group * g->outputs + tile * TILE;
        for (int p = 0; p < rows; p++)
            finish(g, b, out, first + p, channel, left < TILE ? (int)left : TILE, r, r->outside[p], total[p]);
    }
}

void quant_packed_bits(const Geometry *g, const Bits *b, const Output *out) {
    const int64_t positions = positions_of(g), tiles = (g->outputs + TILE - 1) / TILE;
    const int64_t blocks = (positions + BLOCK - 1) / BLOCK, independent = blocks * g->groups;
    /* Few positions: the output channels are divided too, so that every thread has several tasks. */
    const int64_t wanted = 1 + 4 * g->threads / (independent + 1);
    const int64_t parts = wanted < tiles ? wanted : tiles;
#pragma omp parallel num_threads(g->threads)
    {
        Room room = room_of(g, b);
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < independent * parts; task++) {
            const int64_t part = task % parts, group = task / parts % g->groups;
            const int64_t first = task / parts / g->groups * BLOCK;
            const int rows = positions - first < BLOCK ? (int)(positions - first) : BLOCK;
            block(g, b, out, first, rows, group, part * tiles / parts, (part + 1) * tiles / parts, &room);
        }
    }
}
