/* Multi-step IF, LIF, PLIF and integer LIF on the CPU: all timesteps of a block of neurons while it lies in L1.

   A tensor is [steps, neurons] in storage order. Forward reads x once and writes spikes (dense, or packed over time)
   and the last potential. Backward reads x and the gradient of the spikes once, computes the charged potentials
   again into scratch of [steps, block], then runs through them backwards. */
#include "lif.h"

#define ROW 512 /* most neurons in a block */

/* Neurons in a block of the backward pass: 4 KiB of potentials, or as many timesteps of 64 neurons. */
static int64_t block_of(int64_t steps) {
    int64_t fits = 1024 / steps / 64 * 64;
    return fits < 64 ? 64 : smaller(fits, ROW);
}

/* Run all timesteps forward. `v` may be NULL (all neurons at `start`), and so may `v_last`.
   Packed: bit t % 8 of byte t / 8 of a neuron is its spike at timestep t. */
void neuro_lif_forward(const void *x, const float *v, float start, void *s, uint8_t *packed, float *v_last,
                       int64_t steps, int64_t neurons, int32_t dtype, int32_t streamed,
                       const neuro_lif_settings *p, int32_t threads) {
    const int exact = is_power_of_two(p->tau);
    const int64_t blocks = (neurons + ROW - 1) / ROW;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t block = 0; block < blocks; block++) {
        _Alignas(64) float potential[ROW], in[ROW], out[ROW];
        const int64_t at = block * ROW, n = smaller(ROW, neurons - at);
        for (int64_t i = 0; i < n; i++) potential[i] = v ? v[at + i] : start;
        for (int64_t t = 0; t < steps; t++) {
            const int64_t here = t * neurons + at;
            row_wanted(x, dtype, here + ROW, n);
            const float *x_t = row_in(x, dtype, here, in, n);
            float *s_t = packed ? out : row_out(s, dtype, streamed, here, out);
            step(x_t, potential, s_t, n, p, exact);
            if (!packed) {
                row_done(s, dtype, streamed, here, out, n);
                continue;
            }
            uint8_t *bytes = packed + (t / 8) * neurons + at;
            const uint8_t kept = t % 8 ? 0xff : 0, bit = (uint8_t)(1u << (t % 8));
            for (int64_t i = 0; i < n; i++) bytes[i] = (uint8_t)((bytes[i] & kept) | (out[i] != 0.0f ? bit : 0));
        }
        if (v_last) memcpy(v_last + at, potential, (size_t)n * sizeof(float));
        if (streamed) streams_done();
    }
}

/* Run backward. `grad_v` and `tau_parts` ([blocks of `neuro_lif_block`], the parts of the gradient of tau) may be
   NULL. Returns nonzero where there is no memory for the scratch. */
int32_t neuro_lif_backward(const void *grad_s, const void *x, const float *v, float start, void *grad_x, float *grad_v,
                           double *tau_parts, int64_t steps, int64_t neurons, int32_t dtype,
                           const neuro_lif_settings *p, int32_t threads) {
    const int exact = is_power_of_two(p->tau);
    const int64_t size = block_of(steps), blocks = (neurons + size - 1) / size;
    int32_t failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        float *h = aligned_alloc(64, (size_t)(steps * size) * sizeof(float));
        float *q = tau_parts ? aligned_alloc(64, (size_t)(steps * size) * sizeof(float)) : NULL;
        failed = !h || (tau_parts && !q);
#pragma omp for schedule(static)
        for (int64_t block = 0; block < blocks; block++) {
            _Alignas(64) float potential[ROW], in[ROW], out[ROW], g[ROW];
            const int64_t at = block * size, n = smaller(size, neurons - at);
            double of_tau = 0.0;
            if (failed) continue;
            for (int64_t i = 0; i < n; i++) potential[i] = v ? v[at + i] : start;
            for (int64_t t = 0; t < steps; t++) {
                row_wanted(grad_s, dtype, t * neurons + at, n);
                const float *x_t = row_in(x, dtype, t * neurons + at, in, n);
                if (q) quotient_row(x_t, potential, q + t * size, n, p);
                charge(x_t, potential, h + t * size, n, p, exact);
            }
            float *of_v = potential;
            memset(of_v, 0, (size_t)n * sizeof(float));
            for (int64_t t = steps - 1; t >= 0; t--) {
                const int64_t here = t * neurons + at;
                row_wanted(x, dtype, here + size, n);
                float *grad_x_t = row_out(grad_x, dtype, 0, here, out);
                derive(h + t * size, g, n, p);
                const float *grad_s_t = row_in(grad_s, dtype, here, in, n);
                (t == steps - 1 ? back_detached : back)(h + t * size, g, grad_s_t, of_v, grad_x_t, n, p, exact);
                if (q) {
                    const float *q_t = q + t * size;
#pragma omp simd reduction(+ : of_tau)
                    for (int64_t i = 0; i < n; i++) of_tau += (double)grad_x_t[i] * (double)q_t[i];
                }
                row_done(grad_x, dtype, 0, here, out, n);
            }
            if (grad_v) memcpy(grad_v + at, of_v, (size_t)n * sizeof(float));
            if (tau_parts) tau_parts[block] = p->charge == CHARGE_LIF ? -of_tau : of_tau / (double)p->tau;
        }
        free(h);
        free(q);
    }
    return failed;
}

/* Neurons in a block of the backward pass. */
int64_t neuro_lif_block(int64_t steps) { return block_of(steps); }
