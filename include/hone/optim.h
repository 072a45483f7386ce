/* Hone: optimizers and learning-rate schedules. Read after nn.h. */
#ifndef HONE_OPTIM_H
#define HONE_OPTIM_H

#include "hone/nn.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_optimizer hone_optimizer;

typedef struct hone_sgd_opts {
    size_t struct_size;
    double learning_rate; /* default 0.01 */
    double momentum;      /* default 0: none */
    bool nesterov;
    double weight_decay;  /* added to the gradient (L2); default 0 */
} hone_sgd_opts;
/* v = momentum v + g; w -= lr v (nesterov: lr (g + momentum v)), as torch.optim.SGD: Sutskever et al. 2013. */
HONE_API hone_optimizer *hone_sgd_opt(hone_ctx *ctx, const hone_sgd_opts *opts);
#define hone_sgd(...)                                                                                        \
    HONE_OPTS1(hone_sgd_opt, hone_sgd_opts, __VA_ARGS__, .struct_size = sizeof(hone_sgd_opts))

typedef struct hone_adam_opts {
    size_t struct_size;
    double learning_rate; /* default 0.001 */
    double beta1, beta2;  /* default 0.9, 0.999 */
    double epsilon;       /* default 1e-8 */
    double weight_decay;  /* default: Adam 0, AdamW 0.01; HONE_ZERO for none */
    bool eight_bit;       /* the two moments in a byte each instead of four; default no */
} hone_adam_opts;
/* With eight_bit (Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization"): moments are kept as the nearest
   value of a dynamic map (section 1.3: seven decades, each with twice the values of the one below, from 5.5e-7, signed
   for the first, from 3.3e-7 for the second moment, to 1, and 0) times the largest magnitude of their block of 256
   consecutive elements of one parameter; a step computes in f32. State: 2.03 bytes a parameter. */
/* Kingma and Ba 2015; weight_decay is added to the gradient, as torch.optim.Adam. */
HONE_API hone_optimizer *hone_adam_opt(hone_ctx *ctx, const hone_adam_opts *opts);
#define hone_adam(...)                                                                                       \
    HONE_OPTS1(hone_adam_opt, hone_adam_opts, __VA_ARGS__, .struct_size = sizeof(hone_adam_opts))
/* Loshchilov and Hutter 2019: w -= lr weight_decay w, apart from the gradient, as torch.optim.AdamW. */
HONE_API hone_optimizer *hone_adamw_opt(hone_ctx *ctx, const hone_adam_opts *opts);
#define hone_adamw(...)                                                                                      \
    HONE_OPTS1(hone_adamw_opt, hone_adam_opts, __VA_ARGS__, .struct_size = sizeof(hone_adam_opts))

HONE_API void hone_optimizer_free(hone_optimizer *optimizer); /* NULL is allowed */
HONE_API const char *hone_optimizer_name(const hone_optimizer *optimizer); /* "sgd", "adam", "adamw", "adam8bit", "adamw8bit" */
/* Of the next step; schedules set it before each one. */
HONE_API double hone_optimizer_learning_rate(const hone_optimizer *optimizer);
HONE_API void hone_optimizer_set_learning_rate(hone_optimizer *optimizer, double learning_rate);
/* Steps made so far. */
HONE_API uint64_t hone_optimizer_steps(const hone_optimizer *optimizer);

typedef struct hone_step_opts {
    size_t struct_size;
    double max_grad_norm; /* > 0: gradients are scaled down so that their L2 norm is at most this */
} hone_step_opts;
/* One step on the model's trained parameters with the gradients of the last run. *grad_norm (may be NULL): the L2 norm
   before clipping. NUMERIC, and nothing changed, when the norm is not finite. Does not stick but for MEMORY. */
HONE_API hone_status hone_optimizer_step_opt(hone_optimizer *optimizer, hone_model *model, double *grad_norm,
                                             const hone_step_opts *opts);
#define hone_optimizer_step(...)                                                                             \
    HONE_OPTS3(hone_optimizer_step_opt, hone_step_opts, __VA_ARGS__, .struct_size = sizeof(hone_step_opts))

/* ---- learning-rate schedules ---- */

typedef enum hone_schedule_kind { HONE_SCHEDULE_CONSTANT, HONE_SCHEDULE_LINEAR, HONE_SCHEDULE_COSINE } hone_schedule_kind;
typedef struct hone_schedule {
    hone_schedule_kind kind;
    double peak;    /* the learning rate after warming up */
    double least;   /* where linear and cosine end; default 0 */
    uint64_t total; /* steps in all, warm-up included */
    uint64_t warmup; /* steps that rise linearly from peak / warmup to peak */
} hone_schedule;
/* The learning rate of a step, counted from 0; after `total` the last value. Linear and cosine (half a period:
   Loshchilov and Hutter 2017) fall from peak to least over the steps after the warm-up, as transformers'
   get_linear_ and get_cosine_schedule_with_warmup do. */
HONE_API double hone_schedule_at(const hone_schedule *schedule, uint64_t step);
/* "constant", "linear", "cosine"; false for another name. */
HONE_API bool hone_schedule_kind_from_name(const char *name, hone_schedule_kind *kind);

#ifdef __cplusplus
}
#endif
#endif
