/* The optim room: what a rule is, and the optimizer's state for checkpoints. */
#ifndef HONE_SRC_OPTIM_H
#define HONE_SRC_OPTIM_H

#include "hone/optim.h"
#include "nn/nn.h"

#define HONE__OPTIM_STATES 2

typedef struct hone__rule {
    const char *name;
    int states; /* f32 arrays as long as the parameters */
    const char *state_names[HONE__OPTIM_STATES];
    /* Elementwise on n consecutive parameters. */
    void (*update)(const hone_optimizer *optimizer, float *param, const float *grad, float *const *state, int64_t n,
                   double grad_scale);
} hone__rule;

/* States lie as the segment they belong to. */
typedef struct hone__optim_segment {
    const hone__segment *segment;
    float *state[HONE__OPTIM_STATES];
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

/* An option's value: 0 stands for the default, HONE_ZERO for zero. */
static inline double hone__choose(double given, double otherwise)
{
    if (given == 0) return otherwise;
    return given == (double)HONE_ZERO ? 0 : given;
}

hone_optimizer *hone__optimizer_new(hone_ctx *ctx, const hone__rule *rule);
/* State memory for every segment of the model (zeros where new). */
hone_status hone__optimizer_prepare(hone_optimizer *optimizer, hone_model *model);

#endif
