/* BatchNorm, shortcut and neuron in one pass; the meaning is in reference.py.

   A chunk of up to CHUNK neighbours goes through all timesteps while it lies in the first cache. A contiguous tensor is
   walked channel by channel, so that the second pass over a channel finds it in the second cache; a channels-last
   tensor is walked in memory order, with the numbers of its channels laid out beside each other.
   Sums over the batch are taken in double precision, in lanes. */
#include "../lif/lif.h"

enum { CHUNK = 256, POTENTIALS = 8192, RUN = 2048 };

/* Field by field `_Task` of cpu.py. `void` tensors have the dtype of x, which is [T, B, C, P] or [T, B, P, C]. */
typedef struct {
    const void *x, *residual;      /* residual may be null */
    const float *v;                /* null: all neurons at rest */
    void *s, *h;                   /* h may be null: the sum is not kept; backward reads it */
    float *v_last;
    const float *weight, *bias;    /* null without BatchNorm */
    float *mean, *var, *rstd;      /* written by forward where the statistics are the batch's */
    const void *grad_s, *grad_h;   /* either may be null: zero */
    void *grad_x, *grad_sum;       /* grad_sum may be null: nobody wants it */
    float *grad_v;                 /* may be null */
    float *grad_weight, *grad_bias;
    int64_t T, B, C, P;
    double eps;
    int32_t dtype, channels_last, batch_statistics, streamed, threads;
    neuro_lif_settings neuron;
} Task;

/* What a chunk needs of its channels, element by element. */
typedef struct {
    float *gain, *shift, *mean, *rstd, *mean_g, *mean_gx;
    double *sum, *sum_x;
} Rows;

/* A chunk: n neighbours from element `base` of a timestep on; the next one will begin at `next`. */
typedef struct {
    int64_t base, n, next;
} Chunk;

typedef void (*ChunkFunction)(const Task *, const Rows *, Chunk);

/* --- a chunk through all timesteps --- */

INLINE int64_t timestep(const Task *k) { return k->B * k->C * k->P; }

/* Ask for timestep t of the next chunk. */
INLINE void ahead(const Task *k, const void *tensor, Chunk chunk, int64_t t) {
    if (tensor) row_wanted(tensor, k->dtype, chunk.next + t * timestep(k), chunk.n);
}

static void statistics_chunk(const Task *k, const Rows *rows, Chunk chunk) {
    float room[CHUNK];
    const int64_t base = chunk.base, n = chunk.n;
    double *restrict sum = rows->sum, *restrict sum_x = rows->sum_x;
    const float *restrict origin = rows->mean;
    for (int64_t t = 0; t < k->T; t++) {
        const float *restrict x = row_in(k->x, k->dtype, base + t * timestep(k), room, n);
        ahead(k, k->x, chunk, t);
        for (int64_t j = 0; j < n; j++) {
            const double d = (double)x[j] - (double)origin[j];
            sum[j] += d;
            sum_x[j] += d * d;
        }
    }
}

/* A row rounded to the dtype of x, as a tensor of it would hold it. */
static void round_row(int32_t dtype, float *row, int64_t n) {
    uint16_t rounded[CHUNK];
    if (dtype == FLOAT32) return;
    row_done(rounded, dtype, 0, 0, row, n);
    row_in(rounded, dtype, 0, row, n);
}

/* BatchNorm and shortcut. */
static void sum_row(const Task *k, const Rows *rows, int64_t at, int64_t n, float *restrict out) {
    float room[CHUNK];
    const float *restrict gain = rows->gain, *restrict shift = rows->shift;
    const float *restrict x = row_in(k->x, k->dtype, at, room, n);
    for (int64_t j = 0; j < n; j++) out[j] = MULTIPLY_ADD(x[j], gain[j], shift[j]);
    round_row(k->dtype, out, n);
    if (!k->residual) return;
    const float *restrict residual = row_in(k->residual, k->dtype, at, room, n);
    for (int64_t j = 0; j < n; j++) out[j] += residual[j];
    round_row(k->dtype, out, n);
}

static void set_potential(const Task *k, int64_t base, int64_t n, float *v) {
    for (int64_t j = 0; j < n; j++) v[j] = k->v ? k->v[base + j] : k->neuron.rest;
}

/* `streamed`: past the caches, for what is not read again before it would be evicted. */
static void write_row(const Task *k, void *tensor, int streamed, int64_t at, const float *row, int64_t n) {
    if (k->dtype == FLOAT32 && !streamed) memcpy((float *)tensor + at, row, (size_t)n * sizeof *row);
    else row_done(tensor, k->dtype, streamed, at, row, n);
}

/* All of a timestep at once, for single precision. */
INLINE void norm_step_row(const Rows *rows, const float *restrict x, const float *restrict residual, float *restrict v,
                          float *restrict h, float *restrict s, int64_t n, const neuro_lif_settings *settings,
                          int charge, int exact, int reset) {
    const neuro_lif_settings p = *settings;
    const float *restrict gain = rows->gain, *restrict shift = rows->shift;
    for (int64_t i = 0; i < n; i++) {
        h[i] = MULTIPLY_ADD(x[i], gain[i], shift[i]) + residual[i];
        const float potential = charged(h[i], v[i], &p, charge, exact), spikes = fired(potential, &p, charge);
        v[i] = after_reset(potential, spikes, &p, charge, reset);
        s[i] = charge == CHARGE_INTEGER ? spikes / p.divisor : spikes;
    }
}

static void norm_step(const Rows *rows, const float *x, const float *residual, float *v, float *h, float *s, int64_t n,
                      const neuro_lif_settings *p, int exact) {
#define NORM_STEP(charge, exact, reset) norm_step_row(rows, x, residual, v, h, s, n, p, charge, exact, reset)
    CASE_CHARGE(NORM_STEP, p, exact)
}

static void forward_chunk(const Task *k, const Rows *rows, Chunk chunk) {
    _Alignas(64) float v[CHUNK], h[CHUNK], s[CHUNK], zero[CHUNK];
    const int64_t base = chunk.base, n = chunk.n;
    const int exact = is_power_of_two(k->neuron.tau);
    memset(zero, 0, sizeof zero);
    set_potential(k, base, n, v);
    for (int64_t t = 0; t < k->T; t++) {
        const int64_t at = base + t * timestep(k);
        ahead(k, k->x, chunk, t);
        ahead(k, k->residual, chunk, t);
        if (!k->streamed) ahead(k, k->h, chunk, t);
        if (!k->streamed) ahead(k, k->s, chunk, t);
        if (k->dtype == FLOAT32) {
            const float *residual = k->residual ? (const float *)k->residual + at : zero;
            norm_step(rows, (const float *)k->x + at, residual, v, h, s, n, &k->neuron, exact);
        } else {
            sum_row(k, rows, at, n, h);
            step(h, v, s, n, &k->neuron, exact);
        }
        if (k->h) write_row(k, k->h, k->streamed, at, h, n);
        write_row(k, k->s, k->streamed, at, s, n);
    }
    memcpy(k->v_last + base, v, (size_t)n * sizeof *v);
}

/* The charged potentials of all timesteps, computed anew. */
static void charge_anew(const Task *k, const Rows *rows, int64_t base, int64_t n, float *charged) {
    float v[CHUNK], room[CHUNK];
    const int exact = is_power_of_two(k->neuron.tau);
    set_potential(k, base, n, v);
    for (int64_t t = 0; t < k->T; t++) {
        const float *h = room;
        if (k->h) h = row_in(k->h, k->dtype, base + t * timestep(k), room, n);
        else sum_row(k, rows, base + t * timestep(k), n, room);
        charge(h, v, charged + t * n, n, &k->neuron, exact);
    }
}

/* Sums over the timesteps of a chunk, few enough for single precision. */
static void add_sums(const Rows *rows, const float *restrict x, const float *restrict g, float *restrict sum,
                     float *restrict sum_x, int64_t n) {
    const float *restrict mean = rows->mean;
    for (int64_t j = 0; j < n; j++) {
        sum[j] += g[j];
        sum_x[j] += g[j] * (x[j] - mean[j]);
    }
}

static void keep_sums(const Rows *rows, const float *restrict sum, const float *restrict sum_x, int64_t n) {
    const float *restrict rstd = rows->rstd;
    double *restrict to = rows->sum, *restrict to_x = rows->sum_x;
    for (int64_t j = 0; j < n; j++) {
        to[j] += (double)sum[j];
        to_x[j] += (double)sum_x[j] * (double)rstd[j];
    }
}

static void add_row(float *restrict to, const float *restrict from, int64_t n) {
    for (int64_t j = 0; j < n; j++) to[j] += from[j];
}

/* Through the neuron and the shortcut. What is to go on through BatchNorm is kept in grad_sum, or in grad_x where nobody
   wants that; with given statistics it goes on at once. */
static void backward_chunk(const Task *k, const Rows *rows, Chunk chunk) {
    const int64_t base = chunk.base, n = chunk.n;
    float charged[POTENTIALS], of_v[CHUNK], of_h[CHUNK], d[CHUNK], room[CHUNK], sum[CHUNK], sum_x[CHUNK];
    const int exact = is_power_of_two(k->neuron.tau);
    void *kept = k->grad_sum || !k->batch_statistics ? k->grad_sum : k->grad_x;
    charge_anew(k, rows, base, n, charged);
    memset(of_v, 0, sizeof of_v);
    memset(sum, 0, sizeof sum);
    memset(sum_x, 0, sizeof sum_x);
    for (int64_t t = k->T - 1; t >= 0; t--) {
        const int64_t at = base + t * timestep(k);
        ahead(k, k->x, chunk, t);
        ahead(k, k->h ? k->h : k->residual, chunk, t);
        ahead(k, k->grad_s, chunk, t);
        ahead(k, k->grad_h, chunk, t);
        if (!(k->streamed && k->channels_last)) ahead(k, kept, chunk, t);
        const float *grad_s = room;
        if (k->grad_s) grad_s = row_in(k->grad_s, k->dtype, at, room, n);
        else memset(room, 0, sizeof room);
        derive(charged + t * n, d, n, &k->neuron);
        const int last = t == k->T - 1;
        (last ? back_detached : back)(charged + t * n, d, grad_s, of_v, of_h, n, &k->neuron, exact);
        if (k->grad_h) add_row(of_h, row_in(k->grad_h, k->dtype, at, room, n), n);
        if (kept) write_row(k, kept, k->streamed && k->channels_last, at, of_h, n);
        if (k->weight) add_sums(rows, row_in(k->x, k->dtype, at, room, n), of_h, sum, sum_x, n);
        if (k->batch_statistics) continue;
        for (int64_t j = 0; j < n; j++) of_h[j] *= rows->gain[j];
        write_row(k, k->grad_x, k->streamed, at, of_h, n);
    }
    if (k->weight) keep_sums(rows, sum, sum_x, n);
    if (k->grad_v) memcpy(k->grad_v + base, of_v, (size_t)n * sizeof *of_v);
}

/* Through BatchNorm, once the sums over the batch are known. */
static void norm_back_chunk(const Task *k, const Rows *rows, Chunk chunk) {
    const int64_t base = chunk.base, n = chunk.n;
    float x_room[CHUNK], g_room[CHUNK], out[CHUNK];
    const float *restrict gain = rows->gain, *restrict mean = rows->mean;
    const float *restrict mean_g = rows->mean_g, *restrict mean_gx = rows->mean_gx;
    for (int64_t t = 0; t < k->T; t++) {
        const int64_t at = base + t * timestep(k);
        const float *restrict x = row_in(k->x, k->dtype, at, x_room, n);
        ahead(k, k->x, chunk, t);
        ahead(k, k->grad_sum, chunk, t);
        if (!k->grad_sum || !k->streamed) ahead(k, k->grad_x, chunk, t);
        const float *restrict g = row_in(k->grad_sum ? k->grad_sum : k->grad_x, k->dtype, at, g_room, n);
        for (int64_t j = 0; j < n; j++) out[j] = gain[j] * (g[j] - (mean_g[j] + (x[j] - mean[j]) * mean_gx[j]));
        write_row(k, k->grad_x, k->streamed, at, out, n);
    }
}

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
        rows->rstd[j] = k->rstd[c];
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

static int rows_open(Rows *rows, int64_t length, int64_t threads) {
    float *room = calloc((size_t)(6 * length), sizeof *room);
    double *sums = calloc((size_t)(2 * length * threads), sizeof *sums);
    *rows = (Rows){room, room, room, room, room, room, sums, sums};
    if (!room || !sums) return 0;
    *rows = (Rows){room,           room + length,     room + 2 * length, room + 3 * length, room + 4 * length,
                   room + 5 * length, sums, sums + length * threads};
    return 1;
}

static void rows_close(Rows *rows) {
    free(rows->gain);
    free(rows->sum);
}

/* The rows from element j on, and the sums from lane i on. */
INLINE Rows rows_from(const Rows *r, int64_t j, int64_t i) {
    return (Rows){r->gain + j,   r->shift + j,   r->mean + j, r->rstd + j,
                  r->mean_g + j, r->mean_gx + j, r->sum + i,  r->sum_x + i};
}

/* --- contiguous: some channels at a time, from `first` on --- */

typedef struct {
    int64_t first, channels, period; /* period: elements of a sample's run before its numbers repeat */
} Block;

static void walk_block(const Task *k, const Rows *rows, Block block, ChunkFunction run) {
    const int64_t size = smaller(smaller(CHUNK, POTENTIALS / k->T), block.period), length = block.channels * k->P;
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
    for (int64_t c = 0; c < block.channels; c++) {
        k->grad_bias[block.first + c] = (float)total(rows->sum + c * k->P, 0, 1, lanes);
        k->grad_weight[block.first + c] = (float)total(rows->sum_x + c * k->P, 0, 1, lanes);
    }
    if (!k->batch_statistics) return;
    set_block(k, rows, block, set_backward);
    walk_block(k, rows, block, norm_back_chunk);
}

/* Several channels at a time make runs of memory long enough to be fetched ahead; one where its own run is. */
static int32_t contiguous(const Task *k, int backward) {
    const int64_t most = (k->C + 2 * k->threads - 1) / (2 * k->threads), fit = RUN / k->P;
    /* A whole number of cache lines, where streamed runs begin and end. */
    const int64_t even = fit < 8 ? fit : fit / 8 * 8;
    const int64_t size = fit < 1 ? 1 : smaller(even, most), blocks = (k->C + size - 1) / size;
    int32_t failed = 0;
#pragma omp parallel num_threads(k->threads) reduction(| : failed)
    {
        Rows rows;
        failed = !rows_open(&rows, RUN, 1);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < blocks; i++) {
            const int64_t channels = smaller(size, k->C - i * size);
            const Block block = {i * size, channels, fit < 1 ? CHUNK : channels * k->P};
            if (!failed) block_of_channels(k, &rows, block, backward);
        }
        rows_close(&rows);
        if (k->streamed) streams_done();
    }
    return failed;
}

/* --- channels-last: in memory order, `period` elements, a whole number of pixels, at a time --- */

static void walk_pixels(const Task *k, const Rows *rows, int64_t period, ChunkFunction run) {
    const int64_t periods = (timestep(k) + period - 1) / period, size = smaller(CHUNK, POTENTIALS / k->T);
#pragma omp parallel for schedule(static) num_threads(k->threads)
    for (int64_t thread = 0; thread < k->threads; thread++) {
        for (int64_t q = periods * thread / k->threads; q < periods * (thread + 1) / k->threads; q++) {
            const int64_t end = smaller(period, timestep(k) - q * period);
            for (int64_t j = 0; j < end; j += size) {
                const Rows part = rows_from(rows, j, thread * period + j);
                const int64_t n = smaller(size, end - j), base = q * period + j;
                run(k, &part, (Chunk){base, n, base + n});
            }
        }
        if (k->streamed) streams_done();
    }
}

static void channels_last(const Task *k, const Rows *rows, int64_t period, int backward) {
    const int64_t lanes = period * k->threads;
    if (!backward && k->batch_statistics) {
        for (int64_t c = 0; c < k->C; c++) set_origin(k, rows, c, c, k->C, period);
        walk_pixels(k, rows, period, statistics_chunk);
        for (int64_t c = 0; c < k->C; c++)
            set_statistics(k, c, rows->mean[c], total(rows->sum, c, k->C, lanes), total(rows->sum_x, c, k->C, lanes));
    }
    for (int64_t c = 0; c < k->C; c++) (backward ? set_backward : set_forward)(k, rows, c, c, k->C, period);
    walk_pixels(k, rows, period, backward ? backward_chunk : forward_chunk);
    if (!backward || !k->weight) return;
    for (int64_t c = 0; c < k->C; c++) {
        k->grad_bias[c] = (float)total(rows->sum, c, k->C, lanes);
        k->grad_weight[c] = (float)total(rows->sum_x, c, k->C, lanes);
    }
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
