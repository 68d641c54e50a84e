/* What norm_lif is asked for, and what its passes know of the channels. */
#ifndef NEURO_NORM_LIF_H
#define NEURO_NORM_LIF_H
#include "../lif/lif.h"

enum {
    CHUNK = 256,       /* most neighbours that go through all timesteps together */
    POTENTIALS = 8192, /* of a chunk, over all timesteps */
    RUN = 2048,        /* neighbours of a block of channels, unless one channel has more */
};

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
    float *gain, *shift, *mean, *mean_g, *mean_gx;
    double *sum, *sum_x;
} Rows;

/* A chunk: n neighbours from element `base` of a timestep on; the next one will begin at `next`. */
typedef struct {
    int64_t base, n, next;
} Chunk;

INLINE int64_t timestep(const Task *k) { return k->B * k->C * k->P; }
#endif
