/* Adam and AdamW differ in where the decay goes. */
#include "optim/optim.h"

static void adam_update(const hone_optimizer *o, float *param, const float *grad, void *const *state, int64_t n, double scale)
{
    o->k->adam(param, grad, state[0], state[1], n, o->learning_rate, o->beta1, o->beta2, o->epsilon, o->weight_decay,
               (int64_t)o->steps, scale);
}
static void adamw_update(const hone_optimizer *o, float *param, const float *grad, void *const *state, int64_t n, double scale)
{
    o->k->adamw(param, grad, state[0], state[1], n, o->learning_rate, o->beta1, o->beta2, o->epsilon, o->weight_decay,
                (int64_t)o->steps, scale);
}
static void adam8_update(const hone_optimizer *o, float *param, const float *grad, void *const *state, int64_t n, double scale)
{
    o->k->adam8(false, param, grad, state[0], state[1], state[2], state[3], n, o->learning_rate, o->beta1, o->beta2, o->epsilon,
                o->weight_decay, (int64_t)o->steps, scale);
}
static void adamw8_update(const hone_optimizer *o, float *param, const float *grad, void *const *state, int64_t n, double scale)
{
    o->k->adam8(true, param, grad, state[0], state[1], state[2], state[3], n, o->learning_rate, o->beta1, o->beta2, o->epsilon,
                o->weight_decay, (int64_t)o->steps, scale);
}
#define MOMENTS .states = 2, .state = {{"exp_avg", HONE_F32, 1}, {"exp_avg_sq", HONE_F32, 1}}
#define MOMENTS8                                                                                                              \
    .states = 4, .state = {{"exp_avg", HONE_U8, 1}, {"exp_avg_sq", HONE_U8, 1}, {"exp_avg_scale", HONE_F32, HONE__ADAM8_BLOCK}, \
                           {"exp_avg_sq_scale", HONE_F32, HONE__ADAM8_BLOCK}}
static const hone__rule adam = {.name = "adam", MOMENTS, .update = adam_update};
static const hone__rule adamw = {.name = "adamw", MOMENTS, .update = adamw_update};
static const hone__rule adam8 = {.name = "adam8bit", MOMENTS8, .update = adam8_update};
static const hone__rule adamw8 = {.name = "adamw8bit", MOMENTS8, .update = adamw8_update};
_Static_assert((int)HONE__ADAM8_BLOCK == (int)HONE__SEGMENT_ALIGN, "a block of moments belongs to one parameter");

static hone_optimizer *make(hone_ctx *ctx, const hone__rule *rule, const hone_adam_opts *opts, double decay)
{
    static const hone_adam_opts none = {0};
    if (!hone__ok(ctx)) return NULL;
    if (!opts) opts = &none;
    hone_optimizer *o = hone__optimizer_new(ctx, rule);
    if (!o) return NULL;
    o->learning_rate = hone__choose(opts->learning_rate, 1e-3);
    o->beta1 = hone__choose(opts->beta1, 0.9);
    o->beta2 = hone__choose(opts->beta2, 0.999);
    o->epsilon = hone__choose(opts->epsilon, 1e-8);
    o->weight_decay = hone__choose(opts->weight_decay, decay);
    bool ok = o->learning_rate >= 0 && o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1 && o->epsilon >= 0 &&
              o->weight_decay >= 0;
    if (ok) return o;
    hone__fail(ctx, HONE_INVALID, "%s: betas must be in [0, 1), learning_rate, epsilon and weight_decay not negative",
               rule->name);
    hone_optimizer_free(o);
    return NULL;
}

hone_optimizer *hone_adam_opt(hone_ctx *ctx, const hone_adam_opts *opts)
{
    return make(ctx, opts && opts->eight_bit ? &adam8 : &adam, opts, 0);
}
hone_optimizer *hone_adamw_opt(hone_ctx *ctx, const hone_adam_opts *opts)
{
    return make(ctx, opts && opts->eight_bit ? &adamw8 : &adamw, opts, 0.01);
}
