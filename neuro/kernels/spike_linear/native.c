/* Matrix products and depthwise convolution of spikes: additions only, integers in 32 bits.
 *
 * Spikes are bytes (0 or 1), words (bit i of word w is neuron 32 w + i) or time-packed bytes (bit t of byte t / 8 is
 * timestep t). Bytes are read lowest address first, as x86 and ARM store them. */
#include <omp.h>
#include <stdint.h>
#include <string.h>

enum { TILE = 32, ROWS = 4 };

/* ---- spikes in any dtype to bytes; the values that are neither 0 nor 1 are counted ---- */

#define TO_BYTES(NAME, TYPE, ONE, MAGNITUDE)                                                                 \
    void NAME(const TYPE *restrict x, uint8_t *restrict out, int64_t n, int64_t *found, int64_t threads) {   \
        int64_t ones = 0, others = 0;                                                                        \
        _Pragma("omp parallel for num_threads(threads) schedule(static) reduction(+ : ones, others)")        \
        for (int64_t begin = 0; begin < n; begin += 4096) {                                                  \
            const int64_t end = begin + 4096 < n ? begin + 4096 : n;                                         \
            uint32_t one = 0, zero = 0;                                                                      \
            for (int64_t i = begin; i < end; i++) {                                                          \
                const uint32_t is_one = x[i] == (TYPE)(ONE);                                                 \
                out[i] = (uint8_t)is_one;                                                                    \
                one += is_one;                                                                               \
                zero += (x[i] & (TYPE)(MAGNITUDE)) == 0;                                                     \
            }                                                                                                \
            ones += one;                                                                                     \
            others += end - begin - one - zero;                                                              \
        }                                                                                                    \
        found[0] = ones;                                                                                     \
        found[1] = others;                                                                                   \
    }

TO_BYTES(neuro_spike_bytes_f32, uint32_t, 0x3F800000u, 0x7FFFFFFFu)
TO_BYTES(neuro_spike_bytes_f16, uint16_t, 0x3C00u, 0x7FFFu)
TO_BYTES(neuro_spike_bytes_bf16, uint16_t, 0x3F80u, 0x7FFFu)
TO_BYTES(neuro_spike_bytes_u8, uint8_t, 1u, 0xFFu)

/* ---- popcount products ---- */

/* One bit plane [columns, words] as tiles [columns / TILE][words][TILE], the last one filled with zeros. */
static void tile(const uint32_t *restrict plane, uint32_t *restrict out, int64_t columns, int64_t words) {
    for (int64_t n = 0; n < columns; n++)
        for (int64_t w = 0; w < words; w++) out[(n / TILE * words + w) * TILE + n % TILE] = plane[n * words + w];
}

/* popcount(s & plane) of ROWS rows and one tile. */
static inline void count(const uint32_t *restrict s, int64_t stride, const uint32_t *restrict plane, int64_t words,
                         int32_t y[ROWS][TILE]) {
    int32_t a[TILE] = {0}, b[TILE] = {0}, c[TILE] = {0}, d[TILE] = {0};
    for (int64_t w = 0; w < words; w++) {
        const uint32_t *restrict p = plane + w * TILE;
        const uint32_t s0 = s[w], s1 = s[stride + w], s2 = s[2 * stride + w], s3 = s[3 * stride + w];
        for (int n = 0; n < TILE; n++) {
            a[n] += __builtin_popcount(s0 & p[n]);
            b[n] += __builtin_popcount(s1 & p[n]);
            c[n] += __builtin_popcount(s2 & p[n]);
            d[n] += __builtin_popcount(s3 & p[n]);
        }
    }
    memcpy(y[0], a, sizeof a);
    memcpy(y[1], b, sizeof b);
    memcpy(y[2], c, sizeof c);
    memcpy(y[3], d, sizeof d);
}

static int32_t total(const uint32_t *restrict s, int64_t words) {
    int32_t sum = 0;
    for (int64_t w = 0; w < words; w++) sum += __builtin_popcount(s[w]);
    return sum;
}

static int32_t both(const uint32_t *restrict s, const uint32_t *restrict p, int64_t words) {
    int32_t sum = 0;
    for (int64_t w = 0; w < words; w++) sum += __builtin_popcount(s[w] & p[w]);
    return sum;
}

/* Few rows: tiling the planes would cost more than it saves. */
static void few(const uint32_t *restrict s, const uint32_t *restrict plus, const uint32_t *restrict minus,
                int32_t *restrict y, int64_t rows, int64_t columns, int64_t words, int64_t threads) {
    for (int64_t m = 0; m < rows; m++) {
        const uint32_t *row = s + m * words;
        const int32_t all = total(row, words);
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int64_t n = 0; n < columns; n++) {
            const int32_t ahead = both(row, plus + n * words, words);
            y[m * columns + n] = minus ? ahead - both(row, minus + n * words, words) : 2 * ahead - all;
        }
    }
}

/* y[m][n] = sum_k s[m][k] w[n][k] in int32: w is +1 where `plus` has a bit and -1 where `minus` has one, or, where
 * `minus` is null, -1 wherever `plus` has none. `tiles` has room for the planes, rounded up to whole tiles. */
void neuro_spike_popcount(const uint32_t *restrict s, const uint32_t *restrict plus, const uint32_t *restrict minus,
                          int32_t *restrict y, uint32_t *restrict tiles, int64_t rows, int64_t columns, int64_t words,
                          int64_t threads) {
    const int64_t many = rows / ROWS * ROWS, blocks = (columns + TILE - 1) / TILE, size = blocks * words * TILE;
    if (many) {
        tile(plus, tiles, columns, words);
        if (minus) tile(minus, tiles + size, columns, words);
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t m = 0; m < many; m += ROWS) {
        int32_t ahead[ROWS][TILE], behind[ROWS][TILE], all[ROWS];
        for (int r = 0; r < ROWS; r++) all[r] = total(s + (m + r) * words, words);
        for (int64_t block = 0; block < blocks; block++) {
            const int64_t n = block * TILE, here = columns - n < TILE ? columns - n : TILE;
            count(s + m * words, words, tiles + block * words * TILE, words, ahead);
            if (minus) count(s + m * words, words, tiles + size + block * words * TILE, words, behind);
            for (int r = 0; r < ROWS; r++) {
                int32_t *restrict to = y + (m + r) * columns + n;
                for (int64_t i = 0; i < here; i++)
                    to[i] = minus ? ahead[r][i] - behind[r][i] : 2 * ahead[r][i] - all[r];
            }
        }
    }
    few(s + many * words, plus, minus, y + many * columns, rows - many, columns, words, threads);
}

/* ---- event-driven products: the rows of the weights, input-major, that a spike selects ---- */

#define GATHER(NAME, WEIGHT, SUM)                                                                                     \
    void NAME(const uint8_t *restrict s, const WEIGHT *restrict w, SUM *restrict y, int64_t rows, int64_t inputs,     \
              int64_t columns, int64_t threads) {                                                                     \
        const int64_t strip = 512, strips = (columns + strip - 1) / strip;                                            \
        _Pragma("omp parallel for num_threads(threads) schedule(static)")                                             \
        for (int64_t unit = 0; unit < rows * strips; unit++) {                                                        \
            const int64_t m = unit / strips, n = unit % strips * strip;                                               \
            const int64_t here = columns - n < strip ? columns - n : strip;                                           \
            SUM *restrict to = y + m * columns + n;                                                                   \
            const WEIGHT *from[4];                                                                                    \
            int held = 0;                                                                                             \
            memset(to, 0, (size_t)here * sizeof *to);                                                                 \
            for (int64_t k = 0; k < inputs; k++) {                                                                    \
                if (!s[m * inputs + k]) continue;                                                                     \
                from[held++] = w + k * columns + n;                                                                   \
                if (held < 4) continue;                                                                               \
                const WEIGHT *restrict a = from[0], *restrict b = from[1], *restrict c = from[2], *restrict d = from[3]; \
                for (int64_t i = 0; i < here; i++) to[i] += ((SUM)a[i] + (SUM)b[i]) + ((SUM)c[i] + (SUM)d[i]);        \
                held = 0;                                                                                             \
            }                                                                                                         \
            while (held--)                                                                                            \
                for (int64_t i = 0; i < here; i++) to[i] += (SUM)from[held][i];                                       \
        }                                                                                                             \
    }

GATHER(neuro_spike_gather_f32, float, float)
GATHER(neuro_spike_gather_i8, int8_t, int32_t)

/* ---- depthwise convolution, stride 1, of time-packed spikes ---- */

/* A plane with a rim of `pad` zeros all round is read as one long row, so that every tap is one shifted sum over a
 * block of positions, which stays in registers; the sums on the rim mean nothing and are not copied out. Rows are
 * copied in whole blocks, in order, so that what one row writes too much the next one mends. The int8 sums fit 16 bits
 * up to 256 taps. */
enum { COPY = 16, POSITIONS = 128 };

typedef float f32_vector __attribute__((vector_size(64), aligned(4)));
typedef int16_t i16_vector __attribute__((vector_size(64), aligned(2)));

/* One timestep of a plane [height, width] to numbers inside a rim of zeros; `line` has room for the plane. */
#define SPREAD(NAME, SUM, SPIKE_OF)                                                                           \
    static void NAME(const uint8_t *restrict x, int shift, int64_t height, int64_t width, int64_t pad,        \
                     SUM *restrict line, SUM *restrict out) {                                                 \
        const SUM silent[COPY] = {0};                                                                         \
        for (int64_t i = 0; i < height * width; i++) line[i] = SPIKE_OF((x[i] >> shift) & 1);                 \
        for (int64_t i = 0; i < height; i++) {                                                                \
            SUM *to = out + (i + pad) * (width + 2 * pad) + pad;                                              \
            for (int64_t j = 0; j < width; j += COPY) memcpy(to + j, line + i * width + j, sizeof silent);    \
            for (int64_t j = 0; j < 2 * pad || !j; j += COPY) memcpy(to + width + j, silent, sizeof silent);  \
        }                                                                                                     \
    }

/* POSITIONS sums over all taps. */
#define FILTER(NAME, WEIGHT, SUM, VECTOR, MULTIPLY_ADD)                                                       \
    static inline void NAME(const SUM *restrict s, const WEIGHT *restrict taps, int64_t side, int64_t wide,   \
                            SUM *restrict out) {                                                              \
        enum { EACH = sizeof(VECTOR) / sizeof(SUM) };                                                         \
        for (int64_t n = 0; n < POSITIONS; n += 4 * EACH) {                                                   \
            VECTOR k = {0}, l = {0}, m = {0}, o = {0};                                                        \
            for (int64_t a = 0; a < side; a++)                                                                \
                for (int64_t b = 0; b < side; b++) {                                                          \
                    const SUM tap = taps[a * side + b];                                                       \
                    const VECTOR *from = (const VECTOR *)(s + n + a * wide + b);                              \
                    MULTIPLY_ADD(k, tap, from[0]);                                                            \
                    MULTIPLY_ADD(l, tap, from[1]);                                                            \
                    MULTIPLY_ADD(m, tap, from[2]);                                                            \
                    MULTIPLY_ADD(o, tap, from[3]);                                                            \
                }                                                                                             \
            VECTOR *to = (VECTOR *)(out + n);                                                                 \
            to[0] = k, to[1] = l, to[2] = m, to[3] = o;                                                       \
        }                                                                                                     \
    }

/* The sums inside the rim; the last rows one by one, for behind them lies another thread's plane. */
#define CROP(NAME, SUM, OUT)                                                                                  \
    static void NAME(const SUM *restrict sums, int64_t wide, int64_t height, int64_t width, OUT *restrict y) { \
        for (int64_t i = 0; i < height; i++) {                                                                \
            const SUM *restrict from = sums + i * wide;                                                       \
            OUT *restrict to = y + i * width;                                                                 \
            if (i * width + (width + COPY - 1) / COPY * COPY <= height * width)                               \
                for (int64_t j = 0; j < width; j += COPY)                                                     \
                    for (int n = 0; n < COPY; n++) to[j + n] = (OUT)from[j + n];                              \
            else                                                                                              \
                for (int64_t j = 0; j < width; j++) to[j] = (OUT)from[j];                                     \
        }                                                                                                     \
    }

#define DEPTHWISE(NAME, WEIGHT, SUM, OUT)                                                                     \
    void neuro_spike_depthwise_##NAME(                                                                        \
        const uint8_t *restrict x, const WEIGHT *restrict w, OUT *restrict y, int64_t steps, int64_t batch,   \
        int64_t channels, int64_t height, int64_t width, int64_t side, int64_t pad, int64_t threads,          \
        void *restrict room, int64_t part) {                                                                  \
        const int64_t wide = width + 2 * pad, planes = batch * channels;                                      \
        const int64_t out_width = wide - side + 1, out_height = height + 2 * pad - side + 1;                  \
        const int64_t run = (out_height - 1) * wide + out_width;                                              \
        _Pragma("omp parallel for num_threads(threads) schedule(static)")                                     \
        for (int64_t plane = 0; plane < planes; plane++) {                                                    \
            SUM *spikes = (SUM *)room + omp_get_thread_num() * 3 * part, *sums = spikes + part;               \
            const WEIGHT *taps = w + plane % channels * side * side;                                          \
            for (int64_t t = 0; t < steps; t++) {                                                             \
                const uint8_t *from = x + ((t / 8) * planes + plane) * height * width;                        \
                OUT *to = y + (t * planes + plane) * out_height * out_width;                                  \
                spread_##NAME(from, (int)(t % 8), height, width, pad, sums + part, spikes);                   \
                for (int64_t i = 0; i < run; i += POSITIONS)                                                  \
                    filter_##NAME(spikes + i, taps, side, wide, sums + i);                                    \
                crop_##NAME(sums, wide, out_height, out_width, to);                                           \
            }                                                                                                 \
        }                                                                                                     \
    }

#define AS_FLOAT(bit) ((float)(bit))
#define AS_MASK(bit) ((int16_t)(-(bit)))
#define ADD_PRODUCT(sum, w, s) sum += (w) * (s)
#define ADD_MASKED(sum, w, s) sum += (w) & (s)

/* Each thread has three parts of `room`, zero at first: the plane in its rim, the sums, the plane without a rim. */
SPREAD(spread_f32, float, AS_FLOAT)
FILTER(filter_f32, float, float, f32_vector, ADD_PRODUCT)
CROP(crop_f32, float, float)
DEPTHWISE(f32, float, float, float)

SPREAD(spread_i8, int16_t, AS_MASK)
FILTER(filter_i8, int8_t, int16_t, i16_vector, ADD_MASKED)
CROP(crop_i8, int16_t, int32_t)
DEPTHWISE(i8, int8_t, int16_t, int32_t)
