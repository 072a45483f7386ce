/* Hone: optimizers, learning-rate schedules, averages of weights. Read after nn.h. */
#ifndef HONE_OPTIM_H
#define HONE_OPTIM_H

#include "hone/nn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A rule by which parameters follow their gradients, and its state for each of them. Below, w is a parameter, g its
   gradient, lr the learning rate, t the step, counted from 1. Weight decay is coupled where it says "added to the gradient"
   (g + weight_decay w, L2), decoupled where w loses lr weight_decay w apart from the gradient. Options that are 0 take
   their default, HONE_ZERO is zero. A NULL optimizer is an error that sticks: INVALID or MEMORY. */
typedef struct hone_optimizer hone_optimizer;

/* ---- rules ---- */

typedef struct hone_sgd_opts {
    size_t struct_size;
    double learning_rate; /* default 0.01 */
    double momentum;      /* default 0: none */
    bool nesterov;
    double weight_decay;  /* added to the gradient; default 0 */
} hone_sgd_opts;
/* v = momentum v + g; w -= lr v (nesterov: lr (g + momentum v)), as torch.optim.SGD: Sutskever et al. 2013. */
HONE_API hone_optimizer *hone_sgd_opt(hone_ctx *ctx, const hone_sgd_opts *opts);
#define hone_sgd(...)                                                                                        \
    HONE_OPTS1(hone_sgd_opt, hone_sgd_opts, __VA_ARGS__, .struct_size = sizeof(hone_sgd_opts))

/* Of Adam and the rules that keep the same moments; a rule refuses options that it has not. */
typedef struct hone_adam_opts {
    size_t struct_size;
    double learning_rate; /* default 0.001; NAdam and Adamax 0.002, Lion 0.0001 */
    double beta1, beta2;  /* default 0.9, 0.999; Lion 0.9, 0.99 */
    double epsilon;       /* default 1e-8; LAMB 1e-6; Lion has none */
    double weight_decay;  /* default 0; AdamW and LAMB 0.01 */
    bool eight_bit;       /* Adam and AdamW: the two moments in a byte each instead of four; default no */
    bool amsgrad;         /* Adam and AdamW: divides by the largest second moment so far (Reddi et al. 2018); default no */
    bool decoupled_weight_decay; /* NAdam and RAdam; default no */
    double momentum_decay;       /* NAdam; default 0.004 */
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
/* Dozat 2016, "Incorporating Nesterov Momentum into Adam", with a momentum of beta1 (1 - 0.96^(t momentum_decay) / 2), as
   torch.optim.NAdam. */
HONE_API hone_optimizer *hone_nadam_opt(hone_ctx *ctx, const hone_adam_opts *opts);
#define hone_nadam(...)                                                                                      \
    HONE_OPTS1(hone_nadam_opt, hone_adam_opts, __VA_ARGS__, .struct_size = sizeof(hone_adam_opts))
/* Liu et al. 2020, "On the Variance of the Adaptive Learning Rate and Beyond", as torch.optim.RAdam: plain momentum as
   long as the variance of the second moment cannot be told. */
HONE_API hone_optimizer *hone_radam_opt(hone_ctx *ctx, const hone_adam_opts *opts);
#define hone_radam(...)                                                                                      \
    HONE_OPTS1(hone_radam_opt, hone_adam_opts, __VA_ARGS__, .struct_size = sizeof(hone_adam_opts))
/* Kingma and Ba 2015, section 7.1: divides by u = max(beta2 u, |g| + epsilon), as torch.optim.Adamax. */
HONE_API hone_optimizer *hone_adamax_opt(hone_ctx *ctx, const hone_adam_opts *opts);
#define hone_adamax(...)                                                                                     \
    HONE_OPTS1(hone_adamax_opt, hone_adam_opts, __VA_ARGS__, .struct_size = sizeof(hone_adam_opts))
/* Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms": w -= lr sign(beta1 m + (1 - beta1) g), then
   m = beta2 m + (1 - beta2) g; decoupled weight decay. One state a parameter. */
HONE_API hone_optimizer *hone_lion_opt(hone_ctx *ctx, const hone_adam_opts *opts);
#define hone_lion(...)                                                                                       \
    HONE_OPTS1(hone_lion_opt, hone_adam_opts, __VA_ARGS__, .struct_size = sizeof(hone_adam_opts))
/* You et al. 2020, "Large Batch Optimization for Deep Learning", algorithm 2: Adam's step r, weight_decay w added to it, is
   scaled to w -= lr |w| / |r| r, norms being those of a whole parameter (where either is 0: w -= lr r). */
HONE_API hone_optimizer *hone_lamb_opt(hone_ctx *ctx, const hone_adam_opts *opts);
#define hone_lamb(...)                                                                                       \
    HONE_OPTS1(hone_lamb_opt, hone_adam_opts, __VA_ARGS__, .struct_size = sizeof(hone_adam_opts))

typedef struct hone_adagrad_opts {
    size_t struct_size;
    double learning_rate; /* default 0.01 */
    double lr_decay;      /* the learning rate is divided by 1 + (t - 1) lr_decay; default 0 */
    double initial_accumulator_value; /* default 0 */
    double epsilon;       /* default 1e-10 */
    double weight_decay;  /* added to the gradient; default 0 */
} hone_adagrad_opts;
/* s += g^2; w -= lr g / (sqrt(s) + epsilon), as torch.optim.Adagrad: Duchi et al. 2011. */
HONE_API hone_optimizer *hone_adagrad_opt(hone_ctx *ctx, const hone_adagrad_opts *opts);
#define hone_adagrad(...)                                                                                    \
    HONE_OPTS1(hone_adagrad_opt, hone_adagrad_opts, __VA_ARGS__, .struct_size = sizeof(hone_adagrad_opts))

typedef struct hone_adadelta_opts {
    size_t struct_size;
    double learning_rate; /* default 1 */
    double rho;           /* default 0.9 */
    double epsilon;       /* default 1e-6 */
    double weight_decay;  /* added to the gradient; default 0 */
} hone_adadelta_opts;
/* v = rho v + (1 - rho) g^2; u = g sqrt(a + epsilon) / sqrt(v + epsilon); a = rho a + (1 - rho) u^2; w -= lr u, as
   torch.optim.Adadelta: Zeiler 2012. */
HONE_API hone_optimizer *hone_adadelta_opt(hone_ctx *ctx, const hone_adadelta_opts *opts);
#define hone_adadelta(...)                                                                                   \
    HONE_OPTS1(hone_adadelta_opt, hone_adadelta_opts, __VA_ARGS__, .struct_size = sizeof(hone_adadelta_opts))

typedef struct hone_rmsprop_opts {
    size_t struct_size;
    double learning_rate; /* default 0.01 */
    double alpha;         /* default 0.99 */
    double epsilon;       /* default 1e-8 */
    double momentum;      /* default 0: none */
    bool centered;        /* v is the variance: the mean's square is subtracted (Graves 2013) */
    double weight_decay;  /* added to the gradient; default 0 */
} hone_rmsprop_opts;
/* v = alpha v + (1 - alpha) g^2; b = momentum b + g / (sqrt(v) + epsilon); w -= lr b, as torch.optim.RMSprop: Tieleman and
   Hinton 2012. */
HONE_API hone_optimizer *hone_rmsprop_opt(hone_ctx *ctx, const hone_rmsprop_opts *opts);
#define hone_rmsprop(...)                                                                                    \
    HONE_OPTS1(hone_rmsprop_opt, hone_rmsprop_opts, __VA_ARGS__, .struct_size = sizeof(hone_rmsprop_opts))

typedef struct hone_adafactor_opts {
    size_t struct_size;
    double learning_rate;  /* default 0.01: the upper bound of a step, relative to the parameter's size */
    double beta2_decay;    /* second moments keep 1 - t^-beta2_decay; default 0.8 */
    double epsilon1;       /* least root of a second moment; default 1.1920929e-07 */
    double epsilon2;       /* least size of a parameter, as the root of its mean square; default 0.001 */
    double clip_threshold; /* of the root mean square of an update (PyTorch: d); default 1 */
    double weight_decay;   /* decoupled; default 0 */
} hone_adafactor_opts;
/* Shazeer and Stern, "Adafactor", ICML 2018, as torch.optim.Adafactor: of the second moments of a matrix (the last two axes)
   the means of its rows and of its columns are kept. State: R + C values for [R, C], as many as elements for a vector. */
HONE_API hone_optimizer *hone_adafactor_opt(hone_ctx *ctx, const hone_adafactor_opts *opts);
#define hone_adafactor(...)                                                                                  \
    HONE_OPTS1(hone_adafactor_opt, hone_adafactor_opts, __VA_ARGS__, .struct_size = sizeof(hone_adafactor_opts))

typedef struct hone_muon_opts {
    size_t struct_size;
    double learning_rate; /* default 0.001 */
    double momentum;      /* default 0.95 */
    bool no_nesterov;
    double weight_decay;  /* decoupled; default 0.1 */
    int ns_steps;         /* of the Newton-Schulz iteration, at most 99; default 5 */
    double epsilon;       /* least norm that a matrix is divided by; default 1e-7 */
    bool match_rms_adamw; /* steps as large as AdamW's: lr 0.2 sqrt(max(R, C)) instead of lr sqrt(max(1, R / C)) */
    double adamw_factor;  /* AdamW's learning rate for what is no matrix, over lr; default 1 */
} hone_muon_opts;
/* Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks", as torch.optim.Muon, in f32: the running
   mean of a matrix's gradients is made nearly orthogonal by x = 3.4445 x - 4.7750 x x^T x + 2.0315 x x^T x x^T x. Weights of
   more axes are matrices [out, rest]. Vectors, and parameters of groups with `adamw` (embeddings, the head), take AdamW's
   step with its default betas and epsilon and the same weight decay. */
HONE_API hone_optimizer *hone_muon_opt(hone_ctx *ctx, const hone_muon_opts *opts);
#define hone_muon(...)                                                                                       \
    HONE_OPTS1(hone_muon_opt, hone_muon_opts, __VA_ARGS__, .struct_size = sizeof(hone_muon_opts))

typedef struct hone_lbfgs_opts {
    size_t struct_size;
    double learning_rate;    /* default 1: the first length that is tried */
    int max_iterations;      /* of a step; default 20 */
    int max_evaluations;     /* of a step; default 5/4 of max_iterations */
    int history;             /* pairs of vectors that are kept; default 100 */
    double tolerance_grad;   /* the largest element of a gradient that counts as none; default 1e-7 */
    double tolerance_change; /* of the loss and of parameters; default 1e-9 */
    bool no_line_search;     /* takes learning_rate as the length of every step but the first */
} hone_lbfgs_opts;
/* Limited-memory BFGS with a line search for the strong Wolfe conditions (Nocedal and Wright, "Numerical Optimization",
   algorithms 7.4, 3.5 and 3.6), as torch.optim.LBFGS with line_search_fn="strong_wolfe". Needs
   hone_optimizer_minimize; the loss must be a function of the parameters (the same batch, the same dropout). Takes no
   weight decay, groups or clipping. State: up to 2 history + 8 vectors as long as the trained parameters. */
HONE_API hone_optimizer *hone_lbfgs_opt(hone_ctx *ctx, const hone_lbfgs_opts *opts);
#define hone_lbfgs(...)                                                                                      \
    HONE_OPTS1(hone_lbfgs_opt, hone_lbfgs_opts, __VA_ARGS__, .struct_size = sizeof(hone_lbfgs_opts))

/* By a name of hone/optimizer.def ("adamw", "lion", ...); 0: the rule's default. NULL for another name, which the error
   answers with those there are. */
HONE_API hone_optimizer *hone_optimizer_from_name(hone_ctx *ctx, const char *name, double learning_rate, double weight_decay);

HONE_API void hone_optimizer_free(hone_optimizer *optimizer); /* NULL is allowed */
/* As in hone/optimizer.def, or "lbfgs". */
HONE_API const char *hone_optimizer_name(const hone_optimizer *optimizer);
/* Of the next step; schedules set it before each one. */
HONE_API double hone_optimizer_learning_rate(const hone_optimizer *optimizer);
HONE_API void hone_optimizer_set_learning_rate(hone_optimizer *optimizer, double learning_rate);
/* Steps made so far. */
HONE_API uint64_t hone_optimizer_steps(const hone_optimizer *optimizer);

/* ---- parameter groups ---- */

typedef struct hone_group_opts {
    size_t struct_size;
    double learning_rate_factor; /* default 1; HONE_ZERO: these parameters stay */
    double weight_decay;         /* default: the optimizer's; HONE_ZERO: none */
    bool adamw;                  /* Muon: AdamW for these */
    /* Regularizers: l1 sum |w| + l2 sum w^2 as a part of the loss, as keras.regularizers.L1L2; its gradient is added before
       clipping, reported losses are without it. Default 0. */
    double l1, l2;
    /* Constraints, applied after each step. A unit is an element of the first axis: a row of a dense layer's weight, a
       filter of a convolution, the vector of a word of an embedding; a parameter of one axis is one unit. As
       keras.constraints.MaxNorm, MinMaxNorm, UnitNorm, NonNeg. */
    double max_norm;   /* > 0: a unit that is longer is scaled down to this L2 norm */
    bool unit_norm;    /* each unit is scaled to L2 norm 1 */
    bool non_negative; /* negative elements become 0 */
    double min_norm;   /* > 0: a unit that is shorter is scaled up to this L2 norm */
    double norm_rate;  /* of min_norm and max_norm: the share of the way to the norm that is gone in a step; default 1 */
} hone_group_opts;
/* Other options for the parameters whose dotted names match `pattern`: a prefix ("model.embed_tokens"), or with * (any
   characters, dots too) and ? (one) the whole name ("*.bias", "*norm.weight"). Of several that match the last one holds.
   hone_optimizer_step fails with NOT_FOUND when no parameter matches. */
HONE_API hone_status hone_optimizer_group_opt(hone_optimizer *optimizer, const char *pattern, const hone_group_opts *opts);
#define hone_optimizer_group(...)                                                                            \
    HONE_OPTS2(hone_optimizer_group_opt, hone_group_opts, __VA_ARGS__, .struct_size = sizeof(hone_group_opts))

/* ---- steps ---- */

typedef struct hone_step_opts {
    size_t struct_size;
    double max_grad_norm;  /* > 0: gradients are scaled down so that their L2 norm is at most this */
    double max_grad_value; /* > 0: first each element of a gradient is cut to [-max_grad_value, max_grad_value] */
} hone_step_opts;
/* One step on the model's trained parameters with the gradients of the last run. *grad_norm (may be NULL): the L2 norm
   before clipping. NUMERIC, and nothing changed, when the norm is not finite. Does not stick but for MEMORY and NOT_FOUND. */
HONE_API hone_status hone_optimizer_step_opt(hone_optimizer *optimizer, hone_model *model, double *grad_norm,
                                             const hone_step_opts *opts);
#define hone_optimizer_step(...)                                                                             \
    HONE_OPTS3(hone_optimizer_step_opt, hone_step_opts, __VA_ARGS__, .struct_size = sizeof(hone_step_opts))

/* Runs the model on what is to be learnt: leaves its gradients with the model, and the loss in *loss. */
typedef hone_status (*hone_closure_fn)(void *user, double *loss);
/* One step of an optimizer that may evaluate the loss several times (L-BFGS); of the others, closure once and
   hone_optimizer_step. *loss (may be NULL): that of the first evaluation. An error of closure ends the step and is
   returned; parameters are then those of before the line search. NUMERIC when the first loss is not finite. */
HONE_API hone_status hone_optimizer_minimize_opt(hone_optimizer *optimizer, hone_model *model, hone_closure_fn closure,
                                                 void *user, double *loss, const hone_step_opts *opts);
#define hone_optimizer_minimize(...)                                                                         \
    HONE_OPTS5(hone_optimizer_minimize_opt, hone_step_opts, __VA_ARGS__, .struct_size = sizeof(hone_step_opts))

/* ---- averages of weights ---- */

typedef struct hone_ema hone_ema;
typedef struct hone_ema_opts {
    size_t struct_size;
    double decay; /* average = decay average + (1 - decay) w; default 0.999 */
    bool equal;   /* stochastic weight averaging (Izmailov et al. 2018): the mean of all updates, whatever decay says */
    bool buffers; /* running statistics and other f32 states (hone_state) are averaged in the same way: use_buffers=True. Default:
                     they stay the model's; hone_update_batch_norm (train.h) makes those that belong to the average */
} hone_ema_opts;
/* An exponential moving average of the trained parameters, as torch.optim.swa_utils.AveragedModel: the first update copies
   them. Holds a reference of the model; owned by the caller; NULL on error (sticky). */
HONE_API hone_ema *hone_ema_new_opt(hone_model *model, const hone_ema_opts *opts);
#define hone_ema_new(...)                                                                                    \
    HONE_OPTS1(hone_ema_new_opt, hone_ema_opts, __VA_ARGS__, .struct_size = sizeof(hone_ema_opts))
HONE_API void hone_ema_free(hone_ema *ema); /* NULL is allowed; what is swapped in stays in */
/* After a step. STATE while the average is swapped in. */
HONE_API hone_status hone_ema_update(hone_ema *ema);
/* Exchanges the average and the model's parameters: once to evaluate or save the average, again to go on training.
   STATE before the first update. */
HONE_API hone_status hone_ema_swap(hone_ema *ema);

/* ---- learning-rate schedules ---- */

typedef enum hone_schedule_kind {
    HONE_SCHEDULE_CONSTANT,
    HONE_SCHEDULE_LINEAR,      /* from peak to least */
    HONE_SCHEDULE_COSINE,      /* the same along half a period: Loshchilov and Hutter 2017 */
    HONE_SCHEDULE_STEP,        /* times factor every so many steps */
    HONE_SCHEDULE_MULTISTEP,   /* times factor at each milestone */
    HONE_SCHEDULE_EXPONENTIAL, /* times factor at each step */
    HONE_SCHEDULE_POLYNOMIAL,  /* least + (peak - least) (1 - share)^power */
    HONE_SCHEDULE_COSINE_WITH_RESTARTS, /* SGDR: cosines of length every, every restart, every restart^2, ... */
    HONE_SCHEDULE_ONE_CYCLE,   /* from peak / start_divisor along cosines up to peak and down to that / end_divisor:
                                  Smith and Topin 2018 */
    HONE_SCHEDULE_PLATEAU      /* times factor when hone_schedule_report has told of no progress for too long */
} hone_schedule_kind;
/* What a plateau remembers of the reports so far; zeros before the first. */
typedef struct hone_schedule_reports {
    bool any;
    double best, rate;     /* the best metric; the learning rate */
    uint64_t bad, cooling; /* reports without progress; those still to be let pass after a reduction */
} hone_schedule_reports;
typedef struct hone_schedule {
    hone_schedule_kind kind;
    double peak;     /* the learning rate after warming up */
    double least;    /* where linear, cosine, polynomial and restarts end, and the least of a plateau; default 0 */
    uint64_t total;  /* steps in all, warm-up included: for linear, cosine, polynomial and one_cycle */
    uint64_t warmup; /* steps that rise linearly from peak / warmup to peak, in front of the rest */
    double factor;   /* step, multistep, plateau: default 0.1; exponential: default 0.99 */
    uint64_t every;  /* step, restarts: steps, counted from the end of the warm-up; default: all that total leaves */
    const uint64_t *milestones; /* multistep: rising, counted from the end of the warm-up; outlives the schedule */
    size_t n_milestones;
    double power;         /* polynomial; default 1 */
    uint64_t restart;     /* restarts: how much longer each is than the one before; default 1 */
    double rise;          /* one_cycle: the share of the steps up to the peak; default 0.3 */
    double start_divisor; /* one_cycle; default 25 */
    double end_divisor;   /* one_cycle; default 10000 */
    uint64_t patience;    /* plateau: reports without progress that are let pass; default 10 */
    uint64_t cooldown;    /* plateau: reports after a reduction that don't count; default 0 */
    double threshold;     /* plateau: a metric must be better than the best by this share of it; default 1e-4 */
    bool maximize;        /* plateau: larger metrics are better; default smaller ones */
    hone_schedule_reports reported; /* plateau: kept by hone_schedule_report */
} hone_schedule;
/* The learning rate of a step, counted from 0; after `total` the last value. Warm-up, linear and cosine are those of
   transformers' get_*_schedule_with_warmup, but that the first step learns; after the warm-up the values are those of
   torch.optim.lr_scheduler (StepLR, MultiStepLR, ExponentialLR, LinearLR, PolynomialLR, CosineAnnealingLR,
   CosineAnnealingWarmRestarts, OneCycleLR, ReduceLROnPlateau). */
HONE_API double hone_schedule_at(const hone_schedule *schedule, uint64_t step);
/* Tells a plateau a metric, once an epoch or an evaluation; of other kinds it does nothing. */
HONE_API void hone_schedule_report(hone_schedule *schedule, double metric);
/* "constant", "linear", "cosine", "step", "multistep", "exponential", "polynomial", "cosine_with_restarts", "one_cycle",
   "plateau"; false for another name. */
HONE_API bool hone_schedule_kind_from_name(const char *name, hone_schedule_kind *kind);

#ifdef __cplusplus
}
#endif
#endif
