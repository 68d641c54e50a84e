/* Multi-step IF, LIF, PLIF and integer LIF on the CPU: all timesteps of a block of neurons while it lies in L1.

   A tensor is [steps, neurons] in storage order. Forward reads x once and writes spikes (dense, or packed over time)
   and the last potential. Backward reads x and the gradient of the spikes once, computes the charged potentials
   again into scratch of [steps, block], then runs through them backwards.

   Arithmetic and memory take about as long, so that both have to be busy all the time: what the next block will need
   is asked for a piece of a row at a time, between pieces of the computation. Asked for at once, it would only be
   waited for. */
#include "lif.h"

enum { ROW = 1024, PIECE = 64 }; /* most neurons in a block; of a row between two requests */

/* Neurons in a block of the backward pass: 16 KiB of potentials, or as many timesteps of 64 neurons. */
static int64_t block_of(int64_t steps) {
    int64_t fits = 4 * ROW / steps / PIECE * PIECE;
    return fits < PIECE ? PIECE : smaller(fits, ROW);
}

/* A pass over tensors [steps, neurons]. */
typedef struct {
    const void *x, *grad_s;
    void *out; /* spikes, or the gradient of x */
    int64_t steps, neurons;
    int32_t dtype, streamed;
    const neuro_lif_settings *p;
    int exact;
} Pass;

static void set_potential(float *potential, const float *v, float start, int64_t at, int64_t n) {
    for (int64_t i = 0; i < n; i++) potential[i] = v ? v[at + i] : start;
}

static void pack_row(const float *restrict s, uint8_t *restrict bytes, int64_t t, int64_t n) {
    const uint8_t kept = t % 8 ? 0xff : 0, bit = (uint8_t)(1u << (t % 8));
    for (int64_t i = 0; i < n; i++) bytes[i] = (uint8_t)((bytes[i] & kept) | (s[i] != 0.0f ? bit : 0));
}

/* Timestep t of neurons at, at + 1, ...; into `packed` where it is not NULL. */
static void forward_row(const Pass *k, uint8_t *packed, int64_t t, int64_t at, int64_t n, float *potential) {
    _Alignas(64) float in[ROW], out[ROW];
    const int64_t here = t * k->neurons + at;
    const float *x = row_in(k->x, k->dtype, here, in, n);
    float *s = packed ? out : row_out(k->out, k->dtype, k->streamed, here, out);
    for (int64_t i = 0; i < n; i += 2 * PIECE) {
        const int64_t m = smaller(2 * PIECE, n - i);
        row_wanted(k->x, k->dtype, here + ROW + i, m);
        step(x + i, potential + i, s + i, m, k->p, k->exact);
    }
    if (packed)
        pack_row(s, packed + (t / 8) * k->neurons + at, t, n);
    else
        row_done(k->out, k->dtype, k->streamed, here, s, n);
}

/* Run all timesteps forward. `v` may be NULL (all neurons at `start`), and so may `v_last`.
   Packed: bit t % 8 of byte t / 8 of a neuron is its spike at timestep t. */
void neuro_lif_forward(const void *x, const float *v, float start, void *s, uint8_t *packed, float *v_last,
                       int64_t steps, int64_t neurons, int32_t dtype, int32_t streamed,
                       const neuro_lif_settings *p, int32_t threads) {
    const Pass pass = {x, NULL, s, steps, neurons, dtype, streamed, p, is_power_of_two(p->tau)};
    const int64_t blocks = (neurons + ROW - 1) / ROW;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t block = 0; block < blocks; block++) {
        _Alignas(64) float potential[ROW];
        const int64_t at = block * ROW, n = smaller(ROW, neurons - at);
        set_potential(potential, v, start, at, n);
        for (int64_t t = 0; t < steps; t++) forward_row(&pass, packed, t, at, n, potential);
        if (v_last && streamed) row_streamed(potential, v_last + at, (size_t)n * sizeof(float));
        else if (v_last) memcpy(v_last + at, potential, (size_t)n * sizeof(float));
        if (streamed) streams_done();
    }
}

/* Scratch of a thread, [steps, size]: charged potentials, and what tau divides where its gradient is wanted. */
typedef struct {
    float *h, *q;
    int64_t size;
} Scratch;

/* Compute the charged potentials of timestep t again. */
static void charge_again(const Pass *k, const Scratch *scratch, int64_t t, int64_t at, int64_t n, float *potential) {
    _Alignas(64) float in[ROW];
    const float *x = row_in(k->x, k->dtype, t * k->neurons + at, in, n);
    if (scratch->q) quotient_row(x, potential, scratch->q + t * scratch->size, n, k->p);
    charge(x, potential, scratch->h + t * scratch->size, n, k->p, k->exact);
}

/* From the gradients of s_t and v_t to those of x_t and v_(t-1); return the sum of the former times q. */
static double back_through(const Pass *k, const Scratch *scratch, int64_t t, int64_t at, int64_t n, float *of_v) {
    _Alignas(64) float in[ROW], out[ROW], g[ROW];
    const int64_t here = t * k->neurons + at;
    const float *h = scratch->h + t * scratch->size;
    for (int64_t i = 0; i < n; i += PIECE) {
        const int64_t m = smaller(PIECE, n - i);
        row_wanted(k->x, k->dtype, here + scratch->size + i, m);
        row_wanted(k->grad_s, k->dtype, here + scratch->size + i, m);
        derive(h + i, g + i, m, k->p);
    }
    const float *grad_s = row_in(k->grad_s, k->dtype, here, in, n);
    float *grad_x = row_out(k->out, k->dtype, k->streamed, here, out);
    (t == k->steps - 1 ? back_detached : back)(h, g, grad_s, of_v, grad_x, n, k->p, k->exact);
    double of_tau = 0.0;
    if (scratch->q) {
        const float *q = scratch->q + t * scratch->size;
#pragma omp simd reduction(+ : of_tau)
        for (int64_t i = 0; i < n; i++) of_tau += (double)grad_x[i] * (double)q[i];
    }
    row_done(k->out, k->dtype, k->streamed, here, grad_x, n);
    return of_tau;
}

/* Run backward. `grad_v` and `tau_parts` ([blocks of `neuro_lif_block`], the parts of the gradient of tau) may be
   NULL. Returns nonzero where there is no memory for the scratch. */
int32_t neuro_lif_backward(const void *grad_s, const void *x, const float *v, float start, void *grad_x, float *grad_v,
                           double *tau_parts, int64_t steps, int64_t neurons, int32_t dtype, int32_t streamed,
                           const neuro_lif_settings *p, int32_t threads) {
    const Pass pass = {x, grad_s, grad_x, steps, neurons, dtype, streamed, p, is_power_of_two(p->tau)};
    const int64_t size = block_of(steps), blocks = (neurons + size - 1) / size;
    const size_t bytes = (size_t)(steps * size) * sizeof(float);
    int32_t failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        const Scratch scratch = {aligned_alloc(64, bytes), tau_parts ? aligned_alloc(64, bytes) : NULL, size};
        failed = !scratch.h || (tau_parts && !scratch.q);
#pragma omp for schedule(static)
        for (int64_t block = 0; block < blocks; block++) {
            _Alignas(64) float potential[ROW];
            const int64_t at = block * size, n = smaller(size, neurons - at);
            double of_tau = 0.0;
            if (failed) continue;
            set_potential(potential, v, start, at, n);
            for (int64_t t = 0; t < steps; t++) charge_again(&pass, &scratch, t, at, n, potential);
            float *of_v = potential;
            memset(of_v, 0, (size_t)n * sizeof(float));
            for (int64_t t = steps - 1; t >= 0; t--) of_tau += back_through(&pass, &scratch, t, at, n, of_v);
            if (grad_v) memcpy(grad_v + at, of_v, (size_t)n * sizeof(float));
            if (tau_parts) tau_parts[block] = p->charge == CHARGE_LIF ? -of_tau : of_tau / (double)p->tau;
            if (streamed) streams_done();
        }
        free(scratch.h);
        free(scratch.q);
    }
    return failed;
}

/* Neurons in a block of the backward pass. */
int64_t neuro_lif_block(int64_t steps) { return block_of(steps); }
