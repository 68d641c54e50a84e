/* BatchNorm, shortcut and neuron in one pass; the meaning is in reference.py.

   A chunk of up to CHUNK neighbours goes through all timesteps while it lies in the first cache. A contiguous tensor is
   walked a few channels at a time, so that the second pass over them finds them in the outer caches; a channels-last
   tensor is walked in memory order, with the numbers of its channels laid out beside each other.
   Sums over the batch are taken in double precision, in lanes. */
#include "chunks.h"

/* --- the numbers of a channel --- */

/* A value of the channel: deviations from it lose nothing where the mean is far from zero. */
static float origin_of(const Task *k, int64_t c) {
    float room[1];
    const float x = *row_in(k->x, k->dtype, k->channels_last ? c : c * k->P, room, 1);
    return isfinite(x) ? x : 0.0f;
}

static void set_statistics(const Task *k, int64_t c, float origin, double sum, double squares) {
    const double n = (double)(k->T * k->B * k->P), mean = sum / n, var = (squares - sum * mean) / n;
    k->mean[c] = (float)((double)origin + mean);
    k->var[c] = (float)(var < 0.0 ? 0.0 : var);
    k->rstd[c] = (float)(1.0 / sqrt((double)k->var[c] + k->eps));
}

static void set_gradients(const Task *k, int64_t c, double sum, double sum_x) {
    k->grad_bias[c] = (float)sum;
    k->grad_weight[c] = (float)(sum_x * (double)k->rstd[c]);
}

/* What forward wants to know of channel c, for elements j, j + stride, ... below `end`. */
static void set_forward(const Task *k, const Rows *rows, int64_t c, int64_t j, int64_t stride, int64_t end) {
    const float gain = k->weight ? k->weight[c] * k->rstd[c] : 1.0f;
    const float shift = k->weight ? MULTIPLY_ADD(-k->mean[c], gain, k->bias[c]) : 0.0f;
    for (; j < end; j += stride) {
        rows->gain[j] = gain;
        rows->shift[j] = shift;
    }
}

/* The same for backward, whose second pass knows the gradients' means. */
static void set_backward(const Task *k, const Rows *rows, int64_t c, int64_t j, int64_t stride, int64_t end) {
    const double n = (double)(k->T * k->B * k->P);
    set_forward(k, rows, c, j, stride, end);
    if (!k->weight) return;
    const float mean_g = (float)((double)k->grad_bias[c] / n);
    const float mean_gx = (float)((double)k->grad_weight[c] / n * (double)k->rstd[c]);
    for (; j < end; j += stride) {
        rows->mean[j] = k->mean[c];
        rows->mean_g[j] = mean_g;
        rows->mean_gx[j] = mean_gx;
    }
}

static void set_origin(const Task *k, const Rows *rows, int64_t c, int64_t j, int64_t stride, int64_t end) {
    const float origin = origin_of(k, c);
    for (; j < end; j += stride) rows->mean[j] = origin;
}

static double total(const double *lanes, int64_t from, int64_t stride, int64_t length) {
    double sum = 0.0;
    for (int64_t j = from; j < length; j += stride) sum += lanes[j];
    return sum;
}

/* Lanes of sums in whole cache lines: a line that two threads add to would go to and fro between them. */
INLINE int64_t whole_lines(int64_t lanes) { return (lanes + 7) / 8 * 8; }

/* Rows of `length`, and sums of `length` lanes for each of `threads`, `whole_lines(length)` apart. */
static int rows_open(Rows *rows, int64_t length, int64_t threads) {
    const int64_t lanes = whole_lines(length) * threads;
    float *room = calloc((size_t)(5 * length), sizeof *room);
    double *sums = aligned_alloc(64, (size_t)(2 * lanes) * sizeof *sums);
    *rows = (Rows){room, room, room, room, room, sums, sums};
    if (!room || !sums) return 0;
    memset(sums, 0, (size_t)(2 * lanes) * sizeof *sums);
    *rows = (Rows){room, room + length, room + 2 * length, room + 3 * length, room + 4 * length, sums, sums + lanes};
    return 1;
}

static void rows_close(Rows *rows) {
    free(rows->gain);
    free(rows->sum);
}

/* Elements of a chunk: those of `length` shared out evenly, so that each asks for the whole of the next, in whole cache
   lines. */
static int64_t chunk_size(const Task *k, int64_t length) {
    const int64_t most = smaller(CHUNK, POTENTIALS / k->T), chunks = (length + most - 1) / most;
    return smaller(most, ((length + chunks - 1) / chunks + 15) / 16 * 16);
}

/* The rows from element j on, and the sums from lane i on. */
INLINE Rows rows_from(const Rows *r, int64_t j, int64_t i) {
    return (Rows){r->gain + j, r->shift + j, r->mean + j, r->mean_g + j, r->mean_gx + j, r->sum + i, r->sum_x + i};
}

/* --- contiguous: some channels at a time, from `first` on --- */

typedef struct {
    int64_t first, channels, period; /* period: elements of a sample's run before its numbers repeat */
} Block;

static void walk_block(const Task *k, const Rows *rows, Block block, ChunkFunction run) {
    const int64_t length = block.channels * k->P, size = smaller(chunk_size(k, length), block.period);
    const int varied = block.period == length;
    for (int64_t b = 0; b < k->B; b++) {
        const int64_t base = (b * k->C + block.first) * k->P;
        for (int64_t j = 0; j < length; j += size) {
            const int64_t next = j + size < length ? base + j + size : base + k->C * k->P;
            const Rows part = rows_from(rows, varied ? j : 0, varied ? j : 0);
            run(k, &part, (Chunk){base + j, smaller(size, length - j), next});
        }
    }
}

typedef void (*SetFunction)(const Task *, const Rows *, int64_t c, int64_t j, int64_t stride, int64_t end);

static void set_block(const Task *k, const Rows *rows, Block block, SetFunction set) {
    const int64_t lanes = smaller(k->P, block.period);
    for (int64_t c = 0; c < block.channels; c++) set(k, rows, block.first + c, c * lanes, 1, (c + 1) * lanes);
}

static void block_of_channels(const Task *k, const Rows *rows, Block block, int backward) {
    const int64_t lanes = smaller(k->P, block.period);
    if (backward || k->batch_statistics) {
        memset(rows->sum, 0, (size_t)block.period * sizeof *rows->sum);
        memset(rows->sum_x, 0, (size_t)block.period * sizeof *rows->sum_x);
    }
    if (!backward && k->batch_statistics) {
        set_block(k, rows, block, set_origin);
        walk_block(k, rows, block, statistics_chunk);
        for (int64_t c = 0; c < block.channels; c++)
            set_statistics(k, block.first + c, rows->mean[c * k->P], total(rows->sum + c * k->P, 0, 1, lanes),
                           total(rows->sum_x + c * k->P, 0, 1, lanes));
    }
    set_block(k, rows, block, backward ? set_backward : set_forward);
    walk_block(k, rows, block, backward ? backward_chunk : forward_chunk);
    if (!backward || !k->weight) return;
    for (int64_t c = 0; c < block.channels; c++)
        set_gradients(k, block.first + c, total(rows->sum + c * k->P, 0, 1, lanes),
                      total(rows->sum_x + c * k->P, 0, 1, lanes));
    if (!k->batch_statistics) return;
    set_block(k, rows, block, set_backward);
    walk_block(k, rows, block, norm_back_chunk);
}

/* Channels of a block: enough to make runs of memory that are fetched ahead, where a channel's own run is not, and a
   whole number of cache lines, where streamed runs begin and end. */
static int64_t channels_of_block(const Task *k) {
    const int64_t most = (k->C + 2 * k->threads - 1) / (2 * k->threads), fit = RUN / k->P;
    int64_t even = 16;
    while (even > 1 && even / 2 * k->P % 16 == 0) even /= 2;
    return fit < 1 ? 1 : smaller(fit < even ? fit : fit / even * even, most);
}

static int32_t contiguous(const Task *k, int backward) {
    const int64_t size = channels_of_block(k), blocks = (k->C + size - 1) / size;
    int32_t failed = 0;
#pragma omp parallel num_threads(k->threads) reduction(| : failed)
    {
        Rows rows;
        failed = !rows_open(&rows, RUN, 1);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < blocks; i++) {
            const int64_t channels = smaller(size, k->C - i * size), length = channels * k->P;
            const Block block = {i * size, channels, length > RUN ? CHUNK : length};
            if (!failed) block_of_channels(k, &rows, block, backward);
        }
        rows_close(&rows);
        if (k->streamed) streams_done();
    }
    return failed;
}

/* --- channels-last: in memory order, `period` elements, a whole number of pixels, at a time --- */

static void walk_pixels(const Task *k, const Rows *rows, int64_t period, ChunkFunction run) {
    const int64_t periods = (timestep(k) + period - 1) / period, size = chunk_size(k, period);
#pragma omp parallel for schedule(static) num_threads(k->threads)
    for (int64_t thread = 0; thread < k->threads; thread++) {
        for (int64_t q = periods * thread / k->threads; q < periods * (thread + 1) / k->threads; q++) {
            const int64_t end = smaller(period, timestep(k) - q * period);
            for (int64_t j = 0; j < end; j += size) {
                const Rows part = rows_from(rows, j, thread * whole_lines(period) + j);
                const int64_t n = smaller(size, end - j), base = q * period + j;
                run(k, &part, (Chunk){base, n, base + n});
            }
        }
        if (k->streamed) streams_done();
    }
}

/* Sum of channel c over all threads. */
static double total_of_threads(const Task *k, const double *sums, int64_t c, int64_t period) {
    double sum = 0.0;
    for (int64_t i = 0; i < k->threads; i++) sum += total(sums + i * whole_lines(period), c, k->C, period);
    return sum;
}

static void channels_last(const Task *k, const Rows *rows, int64_t period, int backward) {
    if (!backward && k->batch_statistics) {
        for (int64_t c = 0; c < k->C; c++) set_origin(k, rows, c, c, k->C, period);
        walk_pixels(k, rows, period, statistics_chunk);
        for (int64_t c = 0; c < k->C; c++)
            set_statistics(k, c, rows->mean[c], total_of_threads(k, rows->sum, c, period),
                           total_of_threads(k, rows->sum_x, c, period));
    }
    for (int64_t c = 0; c < k->C; c++) (backward ? set_backward : set_forward)(k, rows, c, c, k->C, period);
    walk_pixels(k, rows, period, backward ? backward_chunk : forward_chunk);
    if (!backward || !k->weight) return;
    for (int64_t c = 0; c < k->C; c++)
        set_gradients(k, c, total_of_threads(k, rows->sum, c, period), total_of_threads(k, rows->sum_x, c, period));
    if (!k->batch_statistics) return;
    for (int64_t c = 0; c < k->C; c++) set_backward(k, rows, c, c, k->C, period);
    walk_pixels(k, rows, period, norm_back_chunk);
}

static int32_t run(const Task *k, int backward) {
    if (!k->channels_last) return contiguous(k, backward);
    const int64_t period = k->C < CHUNK ? k->C * (CHUNK / k->C) : k->C;
    Rows rows;
    const int opened = rows_open(&rows, period, k->threads);
    if (opened) channels_last(k, &rows, period, backward);
    rows_close(&rows);
    return !opened;
}

/* Both return nonzero where there is no memory for the sums. */
int32_t neuro_norm_lif_forward(const Task *k) { return run(k, 0); }

int32_t neuro_norm_lif_backward(const Task *k) { return run(k, 1); }
