/* The elementwise rules: what each keeps, its defaults, and the constants of a step. Their formulas are in
   kernel/ref/optim.c. */
#include "optim/optim.h"

#include <math.h>

/* ---- constants of a step, as PyTorch's single-tensor implementations make them ---- */

static void momentum_constants(hone_optimizer *o, hone__optim_step *s)
{
    s->own = o->nesterov ? s->rate : 0;
    if (o->nesterov) s->rate *= s->momentum;
}

void hone__adam_constants(hone_optimizer *o, hone__optim_step *s)
{
    s->rate /= 1 - pow(s->beta1, (double)o->steps);
    s->root = 1 / sqrt(1 - pow(s->beta2, (double)o->steps)); /* sqrt(v / (1 - beta2^t)) = sqrt(v) root */
}

static void nadam_constants(hone_optimizer *o, hone__optim_step *s)
{
    /* the product of all momenta so far: after a checkpoint anew from the first, else one factor a step */
    if (o->product_steps > o->steps) o->product = 1, o->product_steps = 0;
    double rate = s->rate, t = (double)o->steps;
    for (; o->product_steps < o->steps; o->product_steps++)
        o->product *= s->beta1 * (1 - 0.5 * pow(0.96, (double)(o->product_steps + 1) * o->extra));
    double mu = s->beta1 * (1 - 0.5 * pow(0.96, t * o->extra));
    double next = s->beta1 * (1 - 0.5 * pow(0.96, (t + 1) * o->extra));
    hone__adam_constants(o, s);
    s->own = rate * (1 - mu) / (1 - o->product);
    s->rate = rate * next / (1 - o->product * next);
}

static void radam_constants(hone_optimizer *o, hone__optim_step *s)
{
    double t = (double)o->steps, left = 1 - pow(s->beta2, t); /* equations 5 and 6, and the rectification of algorithm 2 */
    double most = 2 / (1 - s->beta2) - 1, length = most - 2 * t * pow(s->beta2, t) / left;
    s->rate /= 1 - pow(s->beta1, t);
    if (length > 5)
        s->rate *= sqrt(left) * sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length));
    else
        s->root = 0, s->epsilon = 1;
}

static void adamax_constants(hone_optimizer *o, hone__optim_step *s) { s->rate /= 1 - pow(s->beta1, (double)o->steps); }

static void adagrad_constants(hone_optimizer *o, hone__optim_step *s) { s->rate /= 1 + ((double)o->steps - 1) * o->extra; }

static void adam8_update(const hone_optimizer *o, const hone__optim_group *group, float *param, const float *grad,
                         void *const *state, int64_t n)
{
    const hone__optim_step *s = &group->step;
    o->k->adam8(o->decoupled, param, grad, state[0], state[1], state[2], state[3], n, group->learning_rate, s->beta1, s->beta2,
                s->epsilon, group->weight_decay, (int64_t)o->steps, s->scale);
}

/* ---- the table ---- */

static hone_optimizer *sgd_again(hone_ctx *ctx, const hone_optimizer *like), *adagrad_again(hone_ctx *ctx, const hone_optimizer *like),
    *adadelta_again(hone_ctx *ctx, const hone_optimizer *like), *rmsprop_again(hone_ctx *ctx, const hone_optimizer *like);
static const double MOMENTUM_DECAY = 4e-3; /* NAdam's default */

#define STATE(name) {name, HONE_F32, 1}
#define MOMENTS .states = 2, .state = {STATE("exp_avg"), STATE("exp_avg_sq")}
#define MOMENTS3 .states = 3, .state = {STATE("exp_avg"), STATE("exp_avg_sq"), STATE("max_exp_avg_sq")}
#define MOMENTS8                                                                                                              \
    .states = 4, .state = {{"exp_avg", HONE_U8, 1}, {"exp_avg_sq", HONE_U8, 1}, {"exp_avg_scale", HONE_F32, HONE__ADAM8_BLOCK}, \
                           {"exp_avg_sq_scale", HONE_F32, HONE__ADAM8_BLOCK}}
#define ADAM(rate, decay)                                                                                                     \
    .again = hone__adam_again, .defaults = {.learning_rate = rate, .weight_decay = decay, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8}
_Static_assert((int)HONE__ADAM8_BLOCK == (int)HONE__SEGMENT_ALIGN, "a block of moments belongs to one parameter");

static const hone__rule sgd = {.name = "sgd", .kind = HONE__SGD, .defaults = {.learning_rate = 0.01}, .again = sgd_again};
static const hone__rule sgd_momentum = {.name = "sgd", .kind = HONE__MOMENTUM, .defaults = {.learning_rate = 0.01}, .states = 1,
                                        .state = {STATE("momentum")}, .constants = momentum_constants, .again = sgd_again};
static const hone__rule adam[2][3] = {
    /* plain, amsgrad, eight_bit */
    {{.name = "adam", .kind = HONE__ADAM, ADAM(1e-3, 0), MOMENTS, .constants = hone__adam_constants},
     {.name = "amsgrad", .kind = HONE__AMSGRAD, ADAM(1e-3, 0), MOMENTS3, .constants = hone__adam_constants},
     {.name = "adam8bit", ADAM(1e-3, 0), MOMENTS8, .update = adam8_update}},
    {{.name = "adamw", .kind = HONE__ADAM, .decoupled = true, ADAM(1e-3, 0.01), MOMENTS, .constants = hone__adam_constants},
     {.name = "amsgradw", .kind = HONE__AMSGRAD, .decoupled = true, ADAM(1e-3, 0.01), MOMENTS3, .constants = hone__adam_constants},
     {.name = "adamw8bit", .decoupled = true, ADAM(1e-3, 0.01), MOMENTS8, .update = adam8_update}},
};
static const hone__rule nadam = {.name = "nadam", .kind = HONE__ADAM, ADAM(2e-3, 0), MOMENTS, .constants = nadam_constants};
static const hone__rule radam = {.name = "radam", .kind = HONE__ADAM, ADAM(1e-3, 0), MOMENTS, .constants = radam_constants};
static const hone__rule adamax = {.name = "adamax", .kind = HONE__ADAMAX, ADAM(2e-3, 0), .states = 2,
                                  .state = {STATE("exp_avg"), STATE("exp_inf")}, .constants = adamax_constants};
static const hone__rule lion = {.name = "lion", .kind = HONE__LION, .decoupled = true, .again = hone__adam_again,
                                .defaults = {.learning_rate = 1e-4, .beta1 = 0.9, .beta2 = 0.99}, .states = 1,
                                .state = {STATE("exp_avg")}};
static const hone__rule adagrad = {.name = "adagrad", .kind = HONE__ADAGRAD, .defaults = {.learning_rate = 0.01, .epsilon = 1e-10},
                                   .states = 1, .state = {STATE("sum")}, .constants = adagrad_constants, .again = adagrad_again};
static const hone__rule adadelta = {.name = "adadelta", .kind = HONE__ADADELTA, .again = adadelta_again,
                                    .defaults = {.learning_rate = 1, .beta2 = 0.9, .epsilon = 1e-6}, .states = 2,
                                    .state = {STATE("square_avg"), STATE("acc_delta")}};
#define RMSPROP .name = "rmsprop", .again = rmsprop_again, .defaults = {.learning_rate = 0.01, .beta2 = 0.99, .epsilon = 1e-8}
static const hone__rule rmsprop[2][2] = {
    /* [centered][momentum] */
    {{RMSPROP, .kind = HONE__RMSPROP, .states = 1, .state = {STATE("square_avg")}},
     {RMSPROP, .kind = HONE__RMSPROP_MOMENTUM, .states = 2, .state = {STATE("square_avg"), STATE("momentum")}}},
    {{RMSPROP, .kind = HONE__RMSPROP_CENTERED, .states = 2, .state = {STATE("square_avg"), STATE("grad_avg")}},
     {RMSPROP, .kind = HONE__RMSPROP_CENTERED_MOMENTUM, .states = 3,
      .state = {STATE("square_avg"), STATE("grad_avg"), STATE("momentum")}}},
};

/* ---- making them ---- */

hone_optimizer *hone_sgd_opt(hone_ctx *ctx, const hone_sgd_opts *opts)
{
    static const hone_sgd_opts none = {0};
    if (!opts) opts = &none;
    bool plain = hone__choose(opts->momentum, 0) == 0;
    hone_optimizer *o = hone__optimizer_new(ctx, plain ? &sgd : &sgd_momentum,
                                            &(hone__optim_values){.learning_rate = opts->learning_rate, .momentum = opts->momentum,
                                                                  .weight_decay = opts->weight_decay});
    if (o && opts->nesterov && plain) return hone__optimizer_refuse(o, "nesterov needs momentum");
    if (o) o->nesterov = opts->nesterov;
    return o;
}

/* Of a rule with Adam's options, some of which it may lack. */
hone_optimizer *hone__adam_like(hone_ctx *ctx, const hone__rule *rule, const hone_adam_opts *opts)
{
    static const hone_adam_opts none = {0};
    if (!opts) opts = &none;
    hone_optimizer *o = hone__optimizer_new(ctx, rule,
                                            &(hone__optim_values){.learning_rate = opts->learning_rate, .beta1 = opts->beta1,
                                                                  .beta2 = opts->beta2, .epsilon = opts->epsilon,
                                                                  .weight_decay = opts->weight_decay});
    if (!o) return NULL;
    bool rectified = rule == &nadam || rule == &radam, eight = rule->update != NULL, largest = rule->kind == HONE__AMSGRAD;
    if (opts->decoupled_weight_decay && !rectified) return hone__optimizer_refuse(o, "there is no decoupled_weight_decay");
    if (opts->momentum_decay != 0 && rule != &nadam) return hone__optimizer_refuse(o, "there is no momentum_decay");
    if (opts->amsgrad != largest || opts->eight_bit != eight)
        return hone__optimizer_refuse(o, "eight_bit and amsgrad are options of adam and adamw, one at a time");
    if (opts->epsilon != 0 && rule->defaults.epsilon == 0) return hone__optimizer_refuse(o, "there is no epsilon");
    o->decoupled |= opts->decoupled_weight_decay;
    o->extra = hone__choose(opts->momentum_decay, MOMENTUM_DECAY);
    if (!(o->extra >= 0)) return hone__optimizer_refuse(o, "momentum_decay must not be negative");
    return o;
}
static const hone__rule *adam_rule(bool decoupled, const hone_adam_opts *opts)
{
    return &adam[decoupled][!opts ? 0 : opts->eight_bit ? 2 : opts->amsgrad ? 1 : 0];
}
hone_optimizer *hone_adam_opt(hone_ctx *ctx, const hone_adam_opts *opts) { return hone__adam_like(ctx, adam_rule(false, opts), opts); }
hone_optimizer *hone_adamw_opt(hone_ctx *ctx, const hone_adam_opts *opts) { return hone__adam_like(ctx, adam_rule(true, opts), opts); }
hone_optimizer *hone_nadam_opt(hone_ctx *ctx, const hone_adam_opts *opts) { return hone__adam_like(ctx, &nadam, opts); }
hone_optimizer *hone_radam_opt(hone_ctx *ctx, const hone_adam_opts *opts) { return hone__adam_like(ctx, &radam, opts); }
hone_optimizer *hone_adamax_opt(hone_ctx *ctx, const hone_adam_opts *opts) { return hone__adam_like(ctx, &adamax, opts); }
hone_optimizer *hone_lion_opt(hone_ctx *ctx, const hone_adam_opts *opts) { return hone__adam_like(ctx, &lion, opts); }

hone_optimizer *hone_adagrad_opt(hone_ctx *ctx, const hone_adagrad_opts *opts)
{
    static const hone_adagrad_opts none = {0};
    if (!opts) opts = &none;
    hone_optimizer *o = hone__optimizer_new(ctx, &adagrad,
                                            &(hone__optim_values){.learning_rate = opts->learning_rate, .epsilon = opts->epsilon,
                                                                  .weight_decay = opts->weight_decay});
    if (!o) return NULL;
    o->extra = hone__choose(opts->lr_decay, 0);
    o->initial = hone__choose(opts->initial_accumulator_value, 0);
    if (o->extra >= 0 && o->initial >= 0) return o;
    return hone__optimizer_refuse(o, "lr_decay and initial_accumulator_value must not be negative");
}

hone_optimizer *hone_adadelta_opt(hone_ctx *ctx, const hone_adadelta_opts *opts)
{
    static const hone_adadelta_opts none = {0};
    if (!opts) opts = &none;
    return hone__optimizer_new(ctx, &adadelta,
                               &(hone__optim_values){.learning_rate = opts->learning_rate, .beta2 = opts->rho,
                                                     .epsilon = opts->epsilon, .weight_decay = opts->weight_decay});
}

hone_optimizer *hone_rmsprop_opt(hone_ctx *ctx, const hone_rmsprop_opts *opts)
{
    static const hone_rmsprop_opts none = {0};
    if (!opts) opts = &none;
    hone_optimizer *o = hone__optimizer_new(ctx, &rmsprop[opts->centered][hone__choose(opts->momentum, 0) != 0],
                                            &(hone__optim_values){.learning_rate = opts->learning_rate, .beta2 = opts->alpha,
                                                                  .epsilon = opts->epsilon, .momentum = opts->momentum,
                                                                  .weight_decay = opts->weight_decay});
    if (o) o->centered = opts->centered;
    return o;
}

/* ---- making them again: from the values of another ---- */

static hone_optimizer *sgd_again(hone_ctx *ctx, const hone_optimizer *like)
{
    const hone__optim_values *v = &like->v;
    return hone_sgd(ctx, .learning_rate = hone__given(v->learning_rate, sgd.defaults.learning_rate), .momentum = hone__given(v->momentum, 0),
                    .nesterov = like->nesterov, .weight_decay = hone__given(v->weight_decay, 0));
}

hone_optimizer *hone__adam_again(hone_ctx *ctx, const hone_optimizer *like)
{
    const hone__rule *rule = like->rule;
    const hone__optim_values *v = &like->v, *d = &rule->defaults;
    hone_adam_opts o = {.struct_size = sizeof o,
                        .learning_rate = hone__given(v->learning_rate, d->learning_rate),
                        .beta1 = hone__given(v->beta1, d->beta1),
                        .beta2 = hone__given(v->beta2, d->beta2),
                        .epsilon = hone__given(v->epsilon, d->epsilon),
                        .weight_decay = hone__given(v->weight_decay, d->weight_decay),
                        .eight_bit = rule->update != NULL,
                        .amsgrad = rule->kind == HONE__AMSGRAD,
                        .decoupled_weight_decay = like->decoupled && !rule->decoupled,
                        .momentum_decay = rule == &nadam ? hone__given(like->extra, MOMENTUM_DECAY) : 0};
    return hone__adam_like(ctx, rule, &o);
}

static hone_optimizer *adagrad_again(hone_ctx *ctx, const hone_optimizer *like)
{
    const hone__optim_values *v = &like->v, *d = &adagrad.defaults;
    return hone_adagrad(ctx, .learning_rate = hone__given(v->learning_rate, d->learning_rate), .lr_decay = hone__given(like->extra, 0),
                        .initial_accumulator_value = hone__given(like->initial, 0), .epsilon = hone__given(v->epsilon, d->epsilon),
                        .weight_decay = hone__given(v->weight_decay, 0));
}

static hone_optimizer *adadelta_again(hone_ctx *ctx, const hone_optimizer *like)
{
    const hone__optim_values *v = &like->v, *d = &adadelta.defaults;
    return hone_adadelta(ctx, .learning_rate = hone__given(v->learning_rate, d->learning_rate), .rho = hone__given(v->beta2, d->beta2),
                         .epsilon = hone__given(v->epsilon, d->epsilon), .weight_decay = hone__given(v->weight_decay, 0));
}

static hone_optimizer *rmsprop_again(hone_ctx *ctx, const hone_optimizer *like)
{
    const hone__optim_values *v = &like->v, *d = &rmsprop[0][0].defaults;
    return hone_rmsprop(ctx, .learning_rate = hone__given(v->learning_rate, d->learning_rate), .alpha = hone__given(v->beta2, d->beta2),
                        .epsilon = hone__given(v->epsilon, d->epsilon), .momentum = hone__given(v->momentum, 0), .centered = like->centered,
                        .weight_decay = hone__given(v->weight_decay, 0));
}

/* ---- by name ---- */

const hone__rule *hone__rule_find(const char *name)
{
    static const hone__rule *const all[] = {&sgd,         &adam[0][0],      &adam[0][1],           &adam[0][2],      &adam[1][0],
                                            &adam[1][1],  &adam[1][2],      &nadam,                &radam,           &adamax,
                                            &lion,        &adagrad,         &adadelta,             &rmsprop[0][0],   &hone__lamb_rule,
                                            &hone__adafactor_rule, &hone__muon_rule, &hone__lbfgs_rule};
    for (size_t i = 0; i < HONE_ARRAY_LEN(all); i++)
        if (!strcmp(all[i]->name, name)) return all[i];
    return NULL;
}

#define HONE_OPTIMIZER(name, rate, function, ...)                                                                            \
    static hone_optimizer *make_##name(hone_ctx *ctx, double learning_rate, double weight_decay)                         \
    {                                                                                                                    \
        return function(ctx, .learning_rate = learning_rate, .weight_decay = weight_decay, __VA_ARGS__);                 \
    }
#include "hone/optimizer.def"
#undef HONE_OPTIMIZER

hone_optimizer *hone_optimizer_from_name(hone_ctx *ctx, const char *name, double learning_rate, double weight_decay)
{
    static const struct {
        const char *name;
        hone_optimizer *(*make)(hone_ctx *ctx, double learning_rate, double weight_decay);
    } all[] = {
#define HONE_OPTIMIZER(name, ...) {#name, make_##name},
#include "hone/optimizer.def"
#undef HONE_OPTIMIZER
    };
    static const char names[] =
#define HONE_OPTIMIZER(name, ...) ", " #name
#include "hone/optimizer.def"
#undef HONE_OPTIMIZER
        ;
    for (size_t i = 0; i < HONE_ARRAY_LEN(all); i++)
        if (!strcmp(name, all[i].name)) return all[i].make(ctx, learning_rate, weight_decay);
    hone__fail(ctx, HONE_INVALID, "there is no optimizer '%s'; there are %s", name, names + 2);
    return NULL;
}
