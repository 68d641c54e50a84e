/* The passes of norm_lif over a chunk of neighbours, each through all timesteps. */
#ifndef NEURO_NORM_LIF_CHUNKS_H
#define NEURO_NORM_LIF_CHUNKS_H
#include "norm_lif.h"

typedef void (*ChunkFunction)(const Task *, const Rows *, Chunk);

static const float zero_row[CHUNK];

/* Ask for timestep t of the next chunk; for one tensor at a time, between computations, so that the processor never has
   more under way than it can wait for. */
INLINE void ahead(const Task *k, const void *tensor, Chunk chunk, int64_t t) {
    if (tensor) row_wanted(tensor, k->dtype, chunk.next + t * timestep(k), chunk.n);
}

/* `streamed`: past the caches, for what is not read again before it would be evicted. */
static void write_as(int32_t dtype, void *tensor, int streamed, int64_t at, const float *row, int64_t n) {
    if (dtype == FLOAT32 && !streamed) memcpy((float *)tensor + at, row, (size_t)n * sizeof *row);
    else row_done(tensor, dtype, streamed, at, row, n);
}

static void write_row(const Task *k, void *tensor, int streamed, int64_t at, const float *row, int64_t n) {
    write_as(k->dtype, tensor, streamed, at, row, n);
}

/* Timestep `at` of a tensor that may be absent. */
INLINE const float *row_or_zero(const Task *k, const void *tensor, int64_t at, float *room, int64_t n) {
    return tensor ? row_in(tensor, k->dtype, at, room, n) : zero_row;
}

static void set_potential(const Task *k, int64_t base, int64_t n, float *v) {
    for (int64_t j = 0; j < n; j++) v[j] = k->v ? k->v[base + j] : k->neuron.rest;
}

/* --- forward --- */

static void statistics_chunk(const Task *k, const Rows *rows, Chunk chunk) {
    float room[CHUNK];
    const int64_t n = chunk.n;
    const float *restrict origin = rows->mean;
    double *restrict sum = rows->sum, *restrict sum_x = rows->sum_x;
    for (int64_t t = 0; t < k->T; t++) {
        const float *restrict x = row_in(k->x, k->dtype, chunk.base + t * timestep(k), room, n);
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
    _Alignas(64) float v[CHUNK], h[CHUNK], s[CHUNK];
    const int64_t base = chunk.base, n = chunk.n;
    const int exact = is_power_of_two(k->neuron.tau);
    set_potential(k, base, n, v);
    for (int64_t t = 0; t < k->T; t++) {
        const int64_t at = base + t * timestep(k);
        ahead(k, k->x, chunk, t);
        if (k->dtype == FLOAT32) {
            const float *residual = k->residual ? (const float *)k->residual + at : zero_row;
            norm_step(rows, (const float *)k->x + at, residual, v, h, s, n, &k->neuron, exact);
        } else {
            sum_row(k, rows, at, n, h);
            step(h, v, s, n, &k->neuron, exact);
        }
        if (!k->streamed) ahead(k, k->h, chunk, t);
        if (k->h) write_row(k, k->h, k->streamed, at, h, n);
        ahead(k, k->residual, chunk, t);
        if (!k->streamed) ahead(k, k->s, chunk, t);
        write_row(k, k->s, k->streamed, at, s, n);
    }
    write_as(FLOAT32, k->v_last, k->streamed, base, v, n);
}

/* --- backward --- */

/* The charged potentials of all timesteps, computed anew. */
static void charge_anew(const Task *k, const Rows *rows, Chunk chunk, float *charged) {
    const int64_t base = chunk.base, n = chunk.n;
    float v[CHUNK], room[CHUNK];
    const int exact = is_power_of_two(k->neuron.tau);
    set_potential(k, base, n, v);
    for (int64_t t = 0; t < k->T; t++) {
        const float *h = room;
        ahead(k, k->h ? k->h : k->residual, chunk, t);
        if (k->h) h = row_in(k->h, k->dtype, base + t * timestep(k), room, n);
        else sum_row(k, rows, base + t * timestep(k), n, room);
        charge(h, v, charged + t * n, n, &k->neuron, exact);
    }
}

/* g: what came through the neuron, and the gradient of the sum itself. The sums that BatchNorm wants of it are taken in
   single precision over the timesteps of a chunk. */
static void gather(const float *restrict of_h, const float *restrict grad_h, const float *restrict x,
                   const float *restrict mean, float *restrict g, float *restrict sum, float *restrict sum_x,
                   int64_t n) {
    for (int64_t j = 0; j < n; j++) {
        g[j] = of_h[j] + grad_h[j];
        sum[j] += g[j];
        sum_x[j] += g[j] * (x[j] - mean[j]);
    }
}

static void add_sums(const Rows *rows, const float *restrict sum, const float *restrict sum_x, int64_t n) {
    double *restrict to = rows->sum, *restrict to_x = rows->sum_x;
    for (int64_t j = 0; j < n; j++) {
        to[j] += (double)sum[j];
        to_x[j] += (double)sum_x[j];
    }
}

/* The tensor that keeps what is to go on through BatchNorm; null where it goes on at once and nobody else wants it. */
INLINE void *kept_in(const Task *k) {
    return k->grad_sum || !k->batch_statistics ? k->grad_sum : k->grad_x;
}

/* Through the neuron and the shortcut; with given statistics also through BatchNorm, else its second pass follows. */
static void backward_chunk(const Task *k, const Rows *rows, Chunk chunk) {
    const int64_t base = chunk.base, n = chunk.n;
    float charged[POTENTIALS], of_v[CHUNK], of_h[CHUNK], d[CHUNK], s_room[CHUNK], h_room[CHUNK], x_room[CHUNK];
    float g[CHUNK], sum[CHUNK], sum_x[CHUNK];
    const int exact = is_power_of_two(k->neuron.tau);
    const int streamed = k->streamed && (k->channels_last || !k->batch_statistics);
    const void *read = k->weight || !k->h ? k->x : NULL;
    void *kept = kept_in(k);
    charge_anew(k, rows, chunk, charged);
    memset(of_v, 0, sizeof of_v);
    memset(sum, 0, sizeof sum);
    memset(sum_x, 0, sizeof sum_x);
    for (int64_t t = k->T - 1; t >= 0; t--) {
        const int64_t at = base + t * timestep(k);
        const float *grad_s = row_or_zero(k, k->grad_s, at, s_room, n);
        const float *grad_h = row_or_zero(k, k->grad_h, at, h_room, n);
        const float *x = row_or_zero(k, k->weight ? k->x : NULL, at, x_room, n);
        ahead(k, k->grad_s, chunk, t);
        derive(charged + t * n, d, n, &k->neuron);
        ahead(k, k->grad_h, chunk, t);
        (t == k->T - 1 ? back_detached : back)(charged + t * n, d, grad_s, of_v, of_h, n, &k->neuron, exact);
        ahead(k, read, chunk, t);
        gather(of_h, grad_h, x, rows->mean, g, sum, sum_x, n);
        if (!streamed) ahead(k, kept, chunk, t);
        if (kept) write_row(k, kept, streamed, at, g, n);
        if (k->batch_statistics) continue;
        for (int64_t j = 0; j < n; j++) of_h[j] = g[j] * rows->gain[j];
        write_row(k, k->grad_x, k->streamed, at, of_h, n);
    }
    if (k->weight) add_sums(rows, sum, sum_x, n);
    if (k->grad_v) memcpy(k->grad_v + base, of_v, (size_t)n * sizeof *of_v);
}

/* Through BatchNorm, once the sums over the batch are known. */
static void norm_back_chunk(const Task *k, const Rows *rows, Chunk chunk) {
    const int64_t base = chunk.base, n = chunk.n;
    float x_room[CHUNK], g_room[CHUNK], out[CHUNK];
    const float *restrict gain = rows->gain, *restrict mean = rows->mean;
    const float *restrict mean_g = rows->mean_g, *restrict mean_gx = rows->mean_gx;
    const void *kept = kept_in(k);
    for (int64_t t = 0; t < k->T; t++) {
        const int64_t at = base + t * timestep(k);
        const float *restrict x = row_in(k->x, k->dtype, at, x_room, n);
        ahead(k, k->x, chunk, t);
        ahead(k, kept, chunk, t);
        if (kept != k->grad_x && !k->streamed) ahead(k, k->grad_x, chunk, t);
        const float *restrict g = row_in(kept, k->dtype, at, g_room, n);
        for (int64_t j = 0; j < n; j++) out[j] = gain[j] * (g[j] - (mean_g[j] + (x[j] - mean[j]) * mean_gx[j]));
        write_row(k, k->grad_x, k->streamed, at, out, n);
    }
}
#endif
