/* Spikes as bits. An element is handled as the unsigned integer of its width: silent is 0, firing is `one` (1 for
 * bool and uint8, the pattern of 1.0 for floats). What is neither leaves a bit in `wrong`; `mask` leaves out the bits
 * of it that do not count (the sign of a float zero). Loops have no branch on values, so that they are vectorised. */

#include <stdint.h>

enum { BLOCK = 4096 }; /* elements of a piece of work: its bytes stay in the first-level cache */

#define DEFINE(TYPE, NAME)                                                                                            \
    static TYPE pack_block_##NAME(const TYPE *restrict s, uint32_t *restrict words, int64_t count, TYPE one,          \
                                  TYPE mask) {                                                                        \
        TYPE wrong = 0;                                                                                               \
        for (int64_t w = 0; w < count; w++) {                                                                         \
            uint32_t word = 0;                                                                                        \
            for (int j = 0; j < 32; j++) {                                                                            \
                TYPE value = s[32 * w + j], fires = value == one;                                                     \
                word |= (uint32_t)fires << j;                                                                         \
                wrong |= (value ^ (TYPE)(fires * one)) & mask;                                                        \
            }                                                                                                         \
            words[w] = word;                                                                                          \
        }                                                                                                             \
        return wrong;                                                                                                 \
    }                                                                                                                 \
                                                                                                                      \
    static TYPE pack_tail_##NAME(const TYPE *restrict s, uint32_t *restrict word, int64_t count, TYPE one,            \
                                 TYPE mask) {                                                                         \
        TYPE wrong = 0;                                                                                               \
        *word = 0;                                                                                                    \
        for (int64_t j = 0; j < count; j++) {                                                                         \
            TYPE value = s[j], fires = value == one;                                                                  \
            *word |= (uint32_t)fires << j;                                                                            \
            wrong |= (value ^ (TYPE)(fires * one)) & mask;                                                            \
        }                                                                                                             \
        return wrong;                                                                                                 \
    }                                                                                                                 \
                                                                                                                      \
    /* rows x size elements into rows x ceil(size / 32) words; returns 1 where an element is neither, then early. */  \
    int neuro_bitpack_pack_words_##NAME(const TYPE *s, uint32_t *words, int64_t rows, int64_t size, uint32_t one_,    \
                                        uint32_t mask_, int threads) {                                                \
        const int64_t per_row = (size + 31) / 32, pieces = (size + BLOCK - 1) / BLOCK;                                \
        const TYPE one = (TYPE)one_, mask = (TYPE)mask_;                                                              \
        int wrong = 0;                                                                                                \
        _Pragma("omp parallel for num_threads(threads)")                                                              \
        for (int64_t piece = 0; piece < rows * pieces; piece++) {                                                     \
            int seen;                                                                                                 \
            _Pragma("omp atomic read")                                                                                \
            seen = wrong;                                                                                             \
            if (seen) continue;                                                                                       \
            const int64_t row = piece / pieces, start = piece % pieces * BLOCK;                                       \
            const int64_t count = size - start < BLOCK ? size - start : BLOCK, whole = count / 32;                    \
            const TYPE *from = s + row * size + start;                                                                \
            uint32_t *to = words + row * per_row + start / 32;                                                        \
            TYPE bad = pack_block_##NAME(from, to, whole, one, mask);                                                 \
            if (count % 32) bad |= pack_tail_##NAME(from + 32 * whole, to + whole, count % 32, one, mask);            \
            if (bad) {                                                                                                \
                _Pragma("omp atomic write")                                                                           \
                wrong = 1;                                                                                            \
            }                                                                                                         \
        }                                                                                                             \
        return wrong;                                                                                                 \
    }                                                                                                                 \
                                                                                                                      \
    void neuro_bitpack_unpack_words_##NAME(const uint32_t *words, TYPE *s, int64_t rows, int64_t size, uint32_t one_, \
                                           int threads) {                                                             \
        const int64_t per_row = (size + 31) / 32, pieces = (size + BLOCK - 1) / BLOCK;                                \
        const TYPE one = (TYPE)one_;                                                                                  \
        _Pragma("omp parallel for num_threads(threads)")                                                              \
        for (int64_t piece = 0; piece < rows * pieces; piece++) {                                                     \
            const int64_t row = piece / pieces, start = piece % pieces * BLOCK;                                       \
            const int64_t count = size - start < BLOCK ? size - start : BLOCK, whole = count / 32;                    \
            const uint32_t *restrict from = words + row * per_row + start / 32;                                       \
            TYPE *restrict to = s + row * size + start;                                                               \
            for (int64_t w = 0; w < whole; w++)                                                                       \
                for (int j = 0; j < 32; j++) to[32 * w + j] = (TYPE)((from[w] >> j & 1u) * one);                      \
            for (int64_t i = 32 * whole; i < count; i++) to[i] = (TYPE)((from[whole] >> (i % 32) & 1u) * one);        \
        }                                                                                                             \
    }                                                                                                                 \
                                                                                                                      \
    /* steps x size elements into ceil(steps / 8) x size bytes; bit t % 8 of byte row t / 8 is timestep t. */         \
    int neuro_bitpack_pack_##NAME(const TYPE *s, uint8_t *bytes, int64_t steps, int64_t size, uint32_t one_,          \
                                  uint32_t mask_, int threads) {                                                      \
        const int64_t planes = (steps + 7) / 8, pieces = (size + BLOCK - 1) / BLOCK;                                  \
        const TYPE one = (TYPE)one_, mask = (TYPE)mask_;                                                              \
        int wrong = 0;                                                                                                \
        _Pragma("omp parallel for num_threads(threads) reduction(|: wrong)")                                          \
        for (int64_t piece = 0; piece < planes * pieces; piece++) {                                                   \
            const int64_t plane = piece / pieces, start = piece % pieces * BLOCK;                                     \
            const int64_t count = size - start < BLOCK ? size - start : BLOCK;                                        \
            const int64_t last = steps - 8 * plane < 8 ? steps - 8 * plane : 8;                                       \
            uint8_t *restrict to = bytes + plane * size + start;                                                      \
            TYPE bad = 0;                                                                                             \
            for (int64_t i = 0; i < count; i++) to[i] = 0;                                                            \
            for (int64_t t = 0; t < last; t++) {                                                                      \
                const TYPE *restrict from = s + (8 * plane + t) * size + start;                                       \
                for (int64_t i = 0; i < count; i++) {                                                                 \
                    TYPE value = from[i], fires = value == one;                                                       \
                    to[i] |= (uint8_t)(fires << t);                                                                   \
                    bad |= (value ^ (TYPE)(fires * one)) & mask;                                                      \
                }                                                                                                     \
            }                                                                                                         \
            wrong |= bad != 0;                                                                                        \
        }                                                                                                             \
        return wrong;                                                                                                 \
    }                                                                                                                 \
                                                                                                                      \
    void neuro_bitpack_unpack_##NAME(const uint8_t *bytes, TYPE *s, int64_t steps, int64_t size, uint32_t one_,       \
                                     int threads) {                                                                   \
        const int64_t pieces = (size + BLOCK - 1) / BLOCK;                                                            \
        const TYPE one = (TYPE)one_;                                                                                  \
        _Pragma("omp parallel for num_threads(threads)")                                                              \
        for (int64_t piece = 0; piece < steps * pieces; piece++) {                                                    \
            const int64_t t = piece / pieces, start = piece % pieces * BLOCK;                                         \
            const int64_t count = size - start < BLOCK ? size - start : BLOCK;                                        \
            const uint8_t *restrict from = bytes + t / 8 * size + start;                                              \
            TYPE *restrict to = s + t * size + start;                                                                 \
            for (int64_t i = 0; i < count; i++) to[i] = (TYPE)((from[i] >> (t % 8) & 1) * one);                       \
        }                                                                                                             \
    }

DEFINE(uint8_t, 8)
DEFINE(uint16_t, 16)
DEFINE(uint32_t, 32)

/* The set bits of every row of `size` bytes. */
void neuro_bitpack_popcount(const uint8_t *bytes, int64_t *counts, int64_t rows, int64_t size, int threads) {
#pragma omp parallel for num_threads(threads)
    for (int64_t row = 0; row < rows; row++) {
        const uint8_t *from = bytes + row * size;
        int64_t count = 0, i = 0;
        for (; i + 8 <= size; i += 8) {
            uint64_t eight;
            __builtin_memcpy(&eight, from + i, 8);
            count += __builtin_popcountll(eight);
        }
        for (; i < size; i++) count += __builtin_popcount(from[i]);
        counts[row] = count;
    }
}
