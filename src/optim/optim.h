/* The optim room: what a rule is, and the optimizer's state for checkpoints. */
#ifndef HONE_SRC_OPTIM_H
#define HONE_SRC_OPTIM_H

#include "hone/optim.h"
#include "nn/nn.h"

#define HONE__OPTIM_STATES 4

typedef struct hone__rule {
    const char *name;
    int states;
    struct hone__rule_state {
        const char *name;
        hone_dtype dtype; /* plain */
        int64_t per;      /* parameters a value stands for: 1, or HONE__SEGMENT_ALIGN */
    } state[HONE__OPTIM_STATES];
    /* On n consecutive parameters; n is a multiple of HONE__SEGMENT_ALIGN. */
    void (*update)(const hone_optimizer *optimizer, float *param, const float *grad, void *const *state, int64_t n,
                   double grad_scale);
} hone__rule;

/* States lie as the segment they belong to. */
typedef struct hone__optim_segment {
    const hone__segment *segment;
    void *state[HONE__OPTIM_STATES];
} hone__optim_segment;

struct hone_optimizer {
    hone_ctx *ctx;
    const hone__rule *rule;
    double learning_rate, weight_decay, momentum, beta1, beta2, epsilon;
    bool nesterov;
    uint64_t steps; /* made; the one under way counts while update runs */
    hone__optim_segment *segments;
    size_t n_segments, segments_capacity;
    const hone__kernels *k;
};

/* Where state s of the parameter that begins at element `offset` of the segment lies. */
static inline void *hone__optim_state(const hone_optimizer *o, const hone__optim_segment *segment, int s, int64_t offset)
{
    return (char *)segment->state[s] + hone__dtype_bytes(o->rule->state[s].dtype, offset / o->rule->state[s].per);
}
/* The shape of state s of a parameter of that shape: its own, or that of the blocks in a row. */
static inline hone_shape hone__optim_state_shape(const hone_optimizer *o, int s, hone_shape shape)
{
    int64_t per = o->rule->state[s].per;
    return per == 1 ? shape : HONE_SHAPE((hone_shape_count(shape) + per - 1) / per);
}

hone_optimizer *hone__optimizer_new(hone_ctx *ctx, const hone__rule *rule);
/* State memory for every segment of the model (zeros where new). */
hone_status hone__optimizer_prepare(hone_optimizer *optimizer, hone_model *model);

#endif
