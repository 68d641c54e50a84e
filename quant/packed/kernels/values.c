/* Values between products: equal steps, and integrate-and-fire neurons. */
#include "shared.h"

enum { LANES = TILE };

typedef struct {
    const float *x;
    float *y;
    int64_t count, threads;
    Steps steps;
} Round;

/* y = (round(clamp(x / scale + zero_point, low, high)) - zero_point) scale. */
void quant_packed_round(const Round *r) {
    const int64_t whole = r->count / LANES * LANES;
#pragma omp parallel for num_threads(r->threads) schedule(static)
    for (int64_t i = 0; i < whole; i += LANES)
        *(ValuesInMemory *)(r->y + i) = round_values(r->steps, read_values(r->x + i));
    for (int64_t i = whole; i < r->count; i++) r->y[i] = round_value(r->steps, r->x[i]);
}

typedef struct {
    const float *current;     /* [timesteps][count] */
    uint8_t *spikes;          /* [timesteps][count] */
    int64_t timesteps, count; /* count: of neurons */
    int64_t integer, threads; /* whether the membrane potential is a whole number of steps */
    float threshold, leak, step, low, high;
} Fire;

/* v = leak u + x / threshold; s = v >= 1; u = v - s, from 1/2; an integer v is rounded and saturates. */
static inline __attribute__((always_inline)) void fire(const Fire *f, int64_t first, const int n, float *state) {
    for (int i = 0; i < n; i++) state[i] = 0.5f;
    for (int64_t t = 0; t < f->timesteps; t++) {
        const float *restrict x = f->current + t * f->count + first;
        uint8_t *restrict spikes = f->spikes + t * f->count + first;
        for (int i = 0; i < n; i++) {
            float v = state[i] * f->leak + x[i] / f->threshold;
            if (f->integer) {
                v /= f->step;
                v = v < f->low ? f->low : v;
                v = v > f->high ? f->high : v;
                v = ((v + ROUND_BY) - ROUND_BY) * f->step;
            }
            spikes[i] = v >= 1;
            state[i] = v >= 1 ? v - 1 : v;
        }
    }
}

void quant_packed_fire(const Fire *f) {
    enum { BLOCK = 256 };
    const int64_t blocks = f->count / BLOCK;
#pragma omp parallel for num_threads(f->threads) schedule(static)
    for (int64_t b = 0; b < blocks; b++) {
        float state[BLOCK];
        fire(f, b * BLOCK, BLOCK, state);
    }
    float state[BLOCK];
    fire(f, blocks * BLOCK, (int)(f->count - blocks * BLOCK), state);
}
