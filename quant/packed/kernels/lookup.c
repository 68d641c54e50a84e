/* Products of bits and integers of up to 8 bits by looking sums up ("method of four Russians").
 *
 * Five inputs that are 0 or 1 select one of 32 sums of five weights. For each output channel and each five inputs the
 * 32 sums lie in one vector register, and one permutation (vpermw) looks up those of 32 positions: 160 products by one
 * lookup and one addition, where an int8 product brings 64 by one instruction. A lane is a position.
 *
 * The inputs are fives of bits: each 64-bit word is cut into 13 fives (the last one has four). Sums of 51 lookups fit
 * in 16 bits (51 * 5 * 128 < 2^15); they are then added to 32-bit ones. */
#include <omp.h>
#include <string.h>

#include "shared.h"

#ifdef __AVX512BW__
#include <immintrin.h>
#endif

enum { LANES = 32, VECTORS = 4, BLOCK = LANES * VECTORS, CHANNELS = 4, SEGMENT = 51, FIVES = 13 };

typedef int16_t shorts __attribute__((vector_size(2 * LANES)));

typedef struct {
    const uint64_t *activations;  /* [pSums][positions of the input][words], one group */
    const int8_t *weights;        /* [outputs rounded up to TILE][fives][6], the last 0 */
    const int32_t *base, *border; /* [outputs], [taps][outputs]; border may be NULL */
    const int64_t *fives;         /* [fives]: word of the position (tap * words + word) * 13 + which of its 13 */
    int64_t count, pSums, factor, positions; /* of fives; of bits; of the sums; of a chunk, a multiple of BLOCK */
    uint16_t *codes;              /* room for [pSums][chunk / BLOCK][fives][BLOCK] */
    void *room;                   /* [threads][chunk * TILE + SEGMENT * CHANNELS * LANES] of 4 bytes */
    int64_t channels;             /* of the output in all, and the first of this group */
    int64_t first_channel, words_in_all, first_word;
} Lookup;

int64_t quant_packed_lookup_is_fast(void) {
#ifdef __AVX512BW__
    return 1;
#else
    return 0;
#endif
}

static inline shorts look_up(shorts table, shorts code) {
#ifdef __AVX512BW__
    return (shorts)_mm512_permutexvar_epi16((__m512i)code, (__m512i)table);
#else
    shorts found;
    for (int i = 0; i < LANES; i++) found[i] = table[code[i]];
    return found;
#endif
}

/* The fives of BLOCK positions from `first`, position innermost. */
static void gather(const Geometry *g, const Lookup *l, int64_t first, int64_t *at, uint16_t *codes) {
    const int64_t positions = positions_of(g), taps = taps_of(g);
    const int64_t plane = g->batch * g->height * g->width * l->words_in_all, from = l->first_word;
    for (int64_t p = 0; p < BLOCK; p++) {
        if (first + p < positions) find_taps(g, first + p, BLOCK, at + p);
        else
            for (int64_t tap = 0; tap < taps; tap++) at[tap * BLOCK + p] = -1;
    }
    for (int64_t i = 0; i < l->pSums; i++) {
        const uint64_t *bits = l->activations + i * plane + from;
        uint16_t *to = codes + i * (l->positions * l->count);
        uint64_t words[BLOCK];
        int64_t last = -1;
        for (int64_t n = 0; n < l->count; n++, to += BLOCK) {
            const int64_t word = l->fives[n] / FIVES, shift = l->fives[n] % FIVES * 5;
            if (word != last) {
                const int64_t *tap = at + word / g->words * BLOCK;
                for (int64_t p = 0; p < BLOCK; p++)
                    words[p] = tap[p] < 0 ? 0 : bits[tap[p] * l->words_in_all + word % g->words];
            }
            last = word;
            for (int64_t p = 0; p < BLOCK; p++) to[p] = (uint16_t)(words[p] >> shift & 31);
        }
    }
}

/* The 32 sums that five bits select of five weights; a sixth weight is 0. */
static inline shorts sums_of(const int8_t *w) {
    const shorts index = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                          16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
    shorts table = {0};
    for (int bit = 0; bit < 6; bit += 2) {
        const shorts first = index >> bit & 1, second = index >> (bit + 1) & 1;
#ifdef __AVX512BW__
        int16_t pair;
        memcpy(&pair, w + bit, 2);
        table += (shorts)_mm512_maddubs_epi16((__m512i)(first | second << 8), _mm512_set1_epi16(pair));
#else
        table += (-first & (shorts)((shorts){0} + w[bit])) + (-second & (shorts)((shorts){0} + w[bit + 1]));
#endif
    }
    return table;
}

/* Add lookups of one block in `count` tables of CHANNELS channels each to 32-bit sums [CHANNELS][stride]. */
static void add(const shorts *restrict tables, const uint16_t *restrict codes, int64_t count, int32_t *restrict to,
                int64_t stride) {
    shorts sum[CHANNELS][VECTORS] = {{{0}}};
    for (int64_t n = 0; n < count; n++, tables += CHANNELS, codes += BLOCK) {
        shorts code[VECTORS];
        memcpy(code, codes, sizeof code);
#pragma GCC unroll 4
        for (int c = 0; c < CHANNELS; c++) {
            shorts table = tables[c];
#ifdef __AVX512BW__
            __asm__("" : "+v"(table)); /* in a register: the compiler would load it for each lookup */
#endif
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++) sum[c][v] += look_up(table, code[v]);
        }
    }
    for (int c = 0; c < CHANNELS; c++) {
        int16_t found[BLOCK];
        memcpy(found, sum[c], sizeof found);
        for (int p = 0; p < BLOCK; p++) to[c * stride + p] += found[p];
    }
}

/* Sums of TILE channels from `channel` for a chunk: into [TILE][positions of the chunk]. */
static void sum_tile(const Lookup *l, int64_t channel, const uint16_t *codes, int64_t blocks, shorts *tables,
                     int32_t *sums) {
    memset(sums, 0, sizeof(int32_t) * (size_t)(TILE * l->positions));
    for (int64_t c = 0; c < TILE; c += CHANNELS)
        for (int64_t begin = 0; begin < l->count; begin += SEGMENT) {
            const int64_t count = l->count - begin < SEGMENT ? l->count - begin : SEGMENT;
            for (int64_t n = 0; n < count; n++)
                for (int i = 0; i < CHANNELS; i++)
                    tables[n * CHANNELS + i] = sums_of(l->weights + ((channel + c + i) * l->count + begin + n) * 6);
            for (int64_t b = 0; b < blocks; b++)
                add(tables, codes + (b * l->count + begin) * BLOCK, count, sums + c * l->positions + b * BLOCK,
                    l->positions);
        }
}

/* Turn [TILE][stride] into [TILE][TILE]: four times the halves are shuffled into each other. */
static inline void transpose(const int32_t *from, int64_t stride, Sums to[TILE]) {
    Sums next[TILE];
    for (int i = 0; i < TILE; i++) to[i] = read_sums(from + i * stride);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < TILE / 2; i++) {
            next[2 * i] = SHUFFLE(to[i], to[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            next[2 * i + 1] = SHUFFLE(to[i], to[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        }
        memcpy(to, next, sizeof next);
    }
}

/* Keep the sums of n channels from `channel` of position m. */
static inline void finish(const Geometry *g, const Lookup *l, const Output *out, int64_t m, int64_t channel, int n,
                          Sums sum, int64_t *at) {
    sum *= (int32_t)l->factor;
    if (l->border && find_taps(g, m, 1, at))
        sum += sum_border(l->border + channel, at, 1, taps_of(g), l->channels, n);
    keep(out, sum, l->base, m * l->channels + channel, channel, n);
}

/* Keep sums [pSums][TILE][positions of the chunk] of the positions from `first`. */
static void keep_chunk(const Geometry *g, const Lookup *l, const Output *out, int64_t tile, int64_t first,
                       int64_t end, const int32_t *sums, int64_t *at) {
    const int n = g->outputs - tile < TILE ? (int)(g->outputs - tile) : TILE;
    const int64_t channel = l->first_channel + tile;
    for (int64_t m = first; m < end; m += TILE) {
        Sums rows[TILE], more[TILE];
        transpose(sums + m - first, l->positions, rows);
        for (int64_t i = 1; i < l->pSums; i++) {
            transpose(sums + i * TILE * l->positions + m - first, l->positions, more);
            for (int p = 0; p < TILE; p++) rows[p] += more[p] << (int)i;
        }
        for (int64_t p = 0; p < TILE && m + p < end; p++) finish(g, l, out, m + p, channel, n, rows[p], at);
    }
}

void quant_packed_lookup(const Geometry *g, const Lookup *l, const Output *out) {
    const int64_t positions = positions_of(g), tiles = (g->outputs + TILE - 1) / TILE;
    const int64_t table_bytes = (int64_t)sizeof(shorts) * SEGMENT * CHANNELS, tap_bytes = taps_of(g) * BLOCK * 8;
    const int64_t sum_bytes = l->pSums * TILE * l->positions * 4, part = table_bytes + sum_bytes + tap_bytes;
    for (int64_t first = 0; first < positions; first += l->positions) {
        const int64_t end = positions - first < l->positions ? positions : first + l->positions;
        const int64_t blocks = (end - first + BLOCK - 1) / BLOCK;
#pragma omp parallel num_threads(g->threads)
        {
            char *room = (char *)l->room + omp_get_thread_num() * part;
            int32_t *sums = (int32_t *)(room + table_bytes);
            int64_t *at = (int64_t *)(room + table_bytes + sum_bytes);
#pragma omp for schedule(dynamic)
            for (int64_t b = 0; b < blocks; b++)
                gather(g, l, first + b * BLOCK, at, l->codes + b * l->count * BLOCK);
#pragma omp for schedule(dynamic)
            for (int64_t tile = 0; tile < tiles; tile++) {
                for (int64_t i = 0; i < l->pSums; i++)
                    sum_tile(l, tile * TILE, l->codes + i * l->positions * l->count, blocks, (shorts *)room,
                             sums + i * TILE * l->positions);
                keep_chunk(g, l, out, tile * TILE, first, end, sums, at);
            }
        }
    }
}
