/* Losses that need care with logarithms, elementwise. */
#include "op/nn.h"

struct term_attr {
    int kind; /* hone__loss */
};
static const hone__attr attrs[] = {HONE__ATTR(struct term_attr, kind, INT), {0}};

static bool shape(hone__call *call)
{
    return hone__want_same_real(call, 0, 1) && hone__want_shape(call, 1, call->in[0]->shape, "targets") &&
           hone__set_out(call, 0, call->in[0]->dtype, call->in[0]->shape);
}

static void part(void *arg, int64_t begin, int64_t end)
{
    hone__exec *e = arg;
    const struct term_attr *t = e->attr;
    e->k->loss_term((hone__loss)t->kind, hone__at(&e->out[0], begin), hone__at(&e->in[0], begin),
                    hone__at(&e->in[1], begin), end - begin);
}
static hone_status run(hone__exec *e)
{
    hone__parallel_for(e->ctx, hone_shape_count(e->in[0].shape), HONE__GRAIN / 4, part, e);
    return HONE_OK;
}

static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **d)
{
    hone_node *in[3] = {call->in[0], call->in[1], dy[0]};
    hone_node *g = hone__record(call->graph, &hone__op_loss_term_grad, 3, in, call->attr);
    if (wanted[0]) d[0] = g;
    if (wanted[1]) d[1] = hone__output(g, 1);
    return g != NULL;
}

static bool grad_shape(hone__call *call)
{
    return shape(call) && hone__want_same_real(call, 0, 2) &&
           hone__want_shape(call, 2, call->in[0]->shape, "gradient") &&
           hone__set_out(call, 1, call->in[0]->dtype, call->in[0]->shape);
}

static void grad_part(void *arg, int64_t begin, int64_t end)
{
    hone__exec *e = arg;
    const struct term_attr *t = e->attr;
    hone__view *dp = &e->out[0], *dt = &e->out[1];
    e->k->loss_term_grad((hone__loss)t->kind, dp->data ? hone__at(dp, begin) : NULL,
                         dt->data ? hone__at(dt, begin) : NULL, hone__at(&e->in[0], begin),
                         hone__at(&e->in[1], begin), hone__at(&e->in[2], begin), end - begin);
}
static hone_status grad_run(hone__exec *e)
{
    hone__parallel_for(e->ctx, hone_shape_count(e->in[0].shape), HONE__GRAIN / 4, grad_part, e);
    return HONE_OK;
}

#define P(...) {.shape = __VA_ARGS__, .fill = HONE__FILL_UNIFORM, .low = 0.05, .high = 0.95}
#define KIND(k) .attr = &(struct term_attr){k}
static const hone__sample samples[] = {
    {.name = "bce", .n_in = 2, .in = {P({2, {3, 7}}), P({2, {3, 7}})}, KIND(HONE__LOSS_BCE)},
    {.name = "bce_logits",
     .n_in = 2,
     .in = {{.shape = {2, {3, 7}}}, P({2, {3, 7}})},
     KIND(HONE__LOSS_BCE_LOGITS)},
    {.name = "bce_logits_large",
     .n_in = 2,
     .in = {{.shape = {1, {9}}, .fill = HONE__FILL_UNIFORM, .low = -90, .high = 90}, P({1, {9}})},
     KIND(HONE__LOSS_BCE_LOGITS)},
    {.name = "log", .n_in = 2, .in = {P({3, {2, 3, 5}}), P({3, {2, 3, 5}})}, KIND(HONE__LOSS_LOG)},
    {.name = "empty", .n_in = 2, .in = {P({1, {0}}), P({1, {0}})}, KIND(HONE__LOSS_BCE)},
    {.name = "misfit",
     .n_in = 2,
     .in = {P({2, {3, 7}}), P({2, {3, 6}})},
     KIND(HONE__LOSS_BCE),
     .refused = "the targets must be [3, 7]"},
    {0}};
static const hone__sample grad_samples[] = {{.name = "bce",
                                             .n_in = 3,
                                             .in = {P({2, {3, 7}}), P({2, {3, 7}}), {.shape = {2, {3, 7}}}},
                                             KIND(HONE__LOSS_BCE)},
                                            {0}};

const hone_op hone__op_loss_term = {.name = "loss_term",
                                    .doc = "a loss of a prediction and a target, elementwise",
                                    .n_in = 2,
                                    .n_out = 1,
                                    .attr_size = sizeof(struct term_attr),
                                    .attrs = attrs,
                                    .shape = shape,
                                    .run = run,
                                    .vjp = vjp,
                                    .samples = samples};
const hone_op hone__op_loss_term_grad = {.name = "loss_term_grad",
                                         .doc = "dprediction, dtarget of loss_term",
                                         .n_in = 3,
                                         .n_out = 2,
                                         .attr_size = sizeof(struct term_attr),
                                         .attrs = attrs,
                                         .shape = grad_shape,
                                         .run = grad_run,
                                         .samples = grad_samples};

static hone_node *term(hone_node *p, hone_node *t, hone__loss kind)
{
    if (!p || !t) return NULL;
    return hone__record(p->call->graph, &hone__op_loss_term, 2, (hone_node *[]){p, t},
                        &(struct term_attr){(int)kind});
}
hone_node *hone_binary_cross_entropy(hone_node *p, hone_node *t) { return term(p, t, HONE__LOSS_BCE); }
hone_node *hone_binary_cross_entropy_with_logits(hone_node *x, hone_node *t)
{
    return term(x, t, HONE__LOSS_BCE_LOGITS);
}
hone_node *hone__log_loss(hone_node *p, hone_node *t) { return term(p, t, HONE__LOSS_LOG); }
