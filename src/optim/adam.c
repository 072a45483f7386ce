/* Adam and AdamW differ in where the decay goes. */
#include "optim/optim.h"

static void adam_update(const hone_optimizer *o, float *param, const float *grad, float *const *state, int64_t n, double scale)
{
    o->k->adam(param, grad, state[0], state[1], n, o->learning_rate, o->beta1, o->beta2, o->epsilon, o->weight_decay,
               (int64_t)o->steps, scale);
}
static void adamw_update(const hone_optimizer *o, float *param, const float *grad, float *const *state, int64_t n, double scale)
{
    o->k->adamw(param, grad, state[0], state[1], n, o->learning_rate, o->beta1, o->beta2, o->epsilon, o->weight_decay,
                (int64_t)o->steps, scale);
}
static const hone__rule adam = {.name = "adam", .states = 2, .state_names = {"exp_avg", "exp_avg_sq"}, .update = adam_update};
static const hone__rule adamw = {.name = "adamw", .states = 2, .state_names = {"exp_avg", "exp_avg_sq"}, .update = adamw_update};

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

hone_optimizer *hone_adam_opt(hone_ctx *ctx, const hone_adam_opts *opts) { return make(ctx, &adam, opts, 0); }
hone_optimizer *hone_adamw_opt(hone_ctx *ctx, const hone_adam_opts *opts) { return make(ctx, &adamw, opts, 0.01); }
