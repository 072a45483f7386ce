#include "optim/optim.h"

static void update(const hone_optimizer *o, float *param, const float *grad, void *const *state, int64_t n, double scale)
{
    o->k->sgd(param, grad, state[0], n, o->learning_rate, o->momentum, o->nesterov, o->weight_decay, o->steps == 1, scale);
}
static const hone__rule plain = {.name = "sgd", .states = 0, .update = update};
static const hone__rule with_momentum = {.name = "sgd", .states = 1, .state = {{"momentum", HONE_F32, 1}}, .update = update};

hone_optimizer *hone_sgd_opt(hone_ctx *ctx, const hone_sgd_opts *opts)
{
    static const hone_sgd_opts none = {0};
    if (!hone__ok(ctx)) return NULL;
    if (!opts) opts = &none;
    double rate = hone__choose(opts->learning_rate, 0.01), momentum = hone__choose(opts->momentum, 0);
    double decay = hone__choose(opts->weight_decay, 0);
    if (!(rate >= 0) || !(momentum >= 0) || !(decay >= 0) || (opts->nesterov && momentum == 0)) {
        hone__fail(ctx, HONE_INVALID, "sgd: learning_rate, momentum and weight_decay must not be negative, and nesterov "
                                      "needs momentum");
        return NULL;
    }
    hone_optimizer *o = hone__optimizer_new(ctx, momentum > 0 ? &with_momentum : &plain);
    if (!o) return NULL;
    o->learning_rate = rate;
    o->momentum = momentum;
    o->nesterov = opts->nesterov;
    o->weight_decay = decay;
    return o;
}
