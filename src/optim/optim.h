/* The optim room: what a rule is, and the optimizer's state for checkpoints. */
#ifndef HONE_SRC_OPTIM_H
#define HONE_SRC_OPTIM_H

#include "hone/optim.h"
#include "nn/nn.h"

#define HONE__OPTIM_STATES 4

/* What most rules have; 0 in a rule: it has no such option. */
typedef struct hone__optim_values {
    double learning_rate, weight_decay, momentum, beta1, beta2, epsilon;
} hone__optim_values;

/* Parameters that share options; the first group has all that match no pattern. */
typedef struct hone__optim_group {
    char *pattern;
    hone_group_opts opts;
    bool matched;
    double learning_rate, weight_decay; /* of the step under way */
    hone__optim_step step;
} hone__optim_group;

/* States lie as the segment they belong to, or, where the rule gives them a shape, one parameter after the other. */
typedef struct hone__optim_segment {
    const hone__segment *segment;
    void *state[HONE__OPTIM_STATES];
    int64_t *begin[HONE__OPTIM_STATES]; /* with a shape: where each parameter's values begin */
    size_t state_bytes;
    int *group; /* of each parameter */
} hone__optim_segment;

/* Values [count] under a name. */
typedef struct hone__kept {
    char name[32];
    hone_dtype dtype;
    int64_t count;
    void *data;
} hone__kept;

/* A rule is data; most are elementwise and share one loop over merged ranges of a segment. */
typedef struct hone__rule {
    const char *name;
    hone__optim_kind kind;
    bool decoupled; /* weight decay */
    hone__optim_values defaults;
    int states;
    struct hone__rule_state {
        const char *name;
        hone_dtype dtype; /* plain */
        int64_t per;      /* parameters a value stands for: 1, or HONE__SEGMENT_ALIGN */
    } state[HONE__OPTIM_STATES];
    /* step comes with kind, gradient scale, weight decay, betas and epsilon, the learning rate as its rate and a root of 1;
       NULL: that is all. */
    void (*constants)(hone_optimizer *optimizer, hone__optim_step *step);
    /* On n consecutive parameters; n is a multiple of HONE__SEGMENT_ALIGN. NULL: the kernel of its kind. */
    void (*update)(const hone_optimizer *optimizer, const hone__optim_group *group, float *param, const float *grad,
                   void *const *state, int64_t n);
    /* Rules that need whole parameters have these instead. parameter: parameter i of the segment. prepare, which may be
       NULL: before the first step, what else it needs. shape: of a state, HONE_SHAPE(0) for none; NULL: the parameter's. */
    hone_status (*parameter)(hone_optimizer *optimizer, const hone__optim_segment *segment, size_t i);
    hone_status (*prepare)(hone_optimizer *optimizer, hone_shape param, const hone_group_opts *group);
    hone_shape (*shape)(int state, hone_shape param, const hone_group_opts *group);
    /* Rules that evaluate the loss themselves have this one alone. */
    hone_status (*minimize)(hone_optimizer *optimizer, hone_model *model, hone_closure_fn closure, void *user, double *loss);
    void (*release)(hone_optimizer *optimizer); /* frees `own` */
    /* A new optimizer with the options of `like`, through its constructor, which checks them; `like` has a rule of that name,
       and no more than what its users may set. */
    hone_optimizer *(*again)(hone_ctx *ctx, const hone_optimizer *like);
    /* What it keeps beside the parameters' states, for files: the i-th, false: no more; the first are `numbers`, f64. And room for
       as much as these numbers ask for, untrusted; errors stick. NULL: it keeps nothing. */
    bool (*kept)(const hone_optimizer *optimizer, size_t i, hone__kept *kept);
    hone_status (*make_room)(hone_optimizer *optimizer, const double *numbers, size_t n);
} hone__rule;

struct hone_optimizer {
    hone_ctx *ctx;
    const hone__rule *rule;
    hone__optim_values v;
    bool nesterov, decoupled, centered /* RMSprop */;
    hone_lbfgs_opts search; /* L-BFGS, defaults filled in */
    double extra;   /* a rule's own: Adagrad's lr_decay, NAdam's momentum_decay, Adafactor's beta2_decay, Muon's adamw_factor */
    double initial; /* of the states (Adagrad) */
    double epsilon2, clip_threshold; /* Adafactor */
    int ns_steps;                    /* Muon */
    bool match_rms_adamw;
    void *own;                       /* of the rule: Muon's products, L-BFGS's vectors */
    double product;                  /* NAdam: of the momenta of product_steps steps */
    uint64_t product_steps;
    uint64_t steps; /* made; the one under way counts while update runs */
    hone__optim_group *groups;
    size_t n_groups, groups_capacity;
    hone__optim_segment *segments;
    size_t n_segments, segments_capacity;
    double *sums; /* of the pieces of the largest segment */
    size_t sums_capacity;
    void *scratch; /* of a parameter (hone__optim_scratch) */
    size_t scratch_capacity;
    const hone__kernels *k;
};

/* Where state s of parameter i of the segment lies, and its shape. */
static inline void *hone__optim_state(const hone_optimizer *o, const hone__optim_segment *segment, int s, size_t i)
{
    int64_t at = o->rule->shape ? segment->begin[s][i] : segment->segment->params[i]->offset / o->rule->state[s].per;
    return (char *)segment->state[s] + hone__dtype_bytes(o->rule->state[s].dtype, at);
}
static inline hone_shape hone__optim_state_shape(const hone_optimizer *o, const hone__optim_segment *segment, int s, size_t i)
{
    hone_shape shape = segment->segment->params[i]->v.shape;
    if (o->rule->shape) return o->rule->shape(s, shape, &o->groups[segment->group[i]].opts);
    int64_t per = o->rule->state[s].per;
    return per == 1 ? shape : HONE_SHAPE((hone_shape_count(shape) + per - 1) / per);
}

/* With the rule's defaults where `given` has 0; refuses what no rule can take. NULL: sticky. */
hone_optimizer *hone__optimizer_new(hone_ctx *ctx, const hone__rule *rule, const hone__optim_values *given);
/* Frees it; returns NULL, the error being INVALID. */
hone_optimizer *hone__optimizer_refuse(hone_optimizer *optimizer, const char *why);
/* Of a rule with Adam's options; refuses those that it lacks. */
hone_optimizer *hone__adam_like(hone_ctx *ctx, const hone__rule *rule, const hone_adam_opts *opts);
/* Such a rule's `again`. */
hone_optimizer *hone__adam_again(hone_ctx *ctx, const hone_optimizer *like);
/* A rule of that name, for its `again`; NULL: there is none. */
const hone__rule *hone__rule_find(const char *name);
extern const hone__rule hone__lamb_rule, hone__adafactor_rule, hone__muon_rule, hone__lbfgs_rule;
/* An option that gives `value` where 0 stands for `otherwise`: the inverse of hone__choose. */
static inline double hone__given(double value, double otherwise)
{
    return value == otherwise ? 0 : value == 0 ? (double)HONE_ZERO : value;
}
/* State memory for every segment of the model (zeros where new). */
hone_status hone__optimizer_prepare(hone_optimizer *optimizer, hone_model *model);
/* At least so many bytes at optimizer->scratch. */
hone_status hone__optim_scratch(hone_optimizer *optimizer, size_t bytes);

/* Room for the sums of so many elements' pieces. */
hone_status hone__optim_room(hone_optimizer *optimizer, int64_t count);
/* fn over [0, count) in pieces of fixed size, on all threads; the sum of what it returns, in an order of its own. */
typedef double (*hone__piece_fn)(void *arg, int64_t begin, int64_t end);
double hone__optim_pieces(hone_optimizer *optimizer, int64_t count, hone__piece_fn fn, void *arg);
/* fn for each merged range of parameters that are trained now and, unless `all`, of one group; large ones begin a range. */
typedef double (*hone__segment_fn)(hone_optimizer *optimizer, const hone__optim_segment *segment, int group, int64_t begin,
                                   int64_t end, void *arg);
double hone__optim_ranges(hone_optimizer *optimizer, bool all, hone__segment_fn fn, void *arg);

/* What all plateaus share: counts a report. true: there were more than `patience` in a row without progress, those while cooling
   aside; if the learning rate then falls, hone__plateau_cool. */
bool hone__plateau_lasts(hone_schedule_reports *reports, bool better, uint64_t patience);
/* `cooldown` reports from now do not count. */
void hone__plateau_cool(hone_schedule_reports *reports, uint64_t cooldown);

/* Adam's corrections of bias into step: its rate and root. */
void hone__adam_constants(hone_optimizer *optimizer, hone__optim_step *step);

#endif
