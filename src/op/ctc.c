/* Connectionist temporal classification: Graves et al. 2006. The backward pass computes the forward one again. */
#include "op/nn.h"

#include <math.h>

struct ctc_attr {
    int64_t blank;
};
static const hone__attr attrs[] = {HONE__ATTR(struct ctc_attr, blank, I64), {0}};

/* Inputs 0 log-probabilities and 1 targets; from `lengths` on, if they are there, those of outputs and of targets. */
static bool check(hone__call *call, int lengths)
{
    const struct ctc_attr *attr = call->attr;
    if (!hone__want_real(call, 0) || !hone__want_integer(call, 1)) return false;
    hone_shape p = call->in[0]->shape, y = call->in[1]->shape;
    if (p.rank != 3 || y.rank != 2 || p.dim[0] != y.dim[0])
        return hone__refuse(call, HONE_SHAPE, "outputs must be [B, T, V] and targets [B, S], not %s and %s", HONE__SHAPE_STR(p),
                            HONE__SHAPE_STR(y));
    if (attr->blank < 0 || attr->blank >= p.dim[2] || p.dim[1] > INT32_MAX || y.dim[1] > INT32_MAX)
        return hone__refuse(call, HONE_SHAPE, "the blank, %lld, must be in [0, %lld)", (long long)attr->blank, (long long)p.dim[2]);
    for (int i = lengths; i < lengths + 2; i++)
        if (hone__has(call, i) && (!hone__want_integer(call, i) || !hone__want_shape(call, i, HONE_SHAPE(p.dim[0]), "lengths")))
            return false;
    return true;
}

static bool shape(hone__call *call)
{
    return check(call, 2) && hone__set_out(call, 0, call->in[0]->dtype, HONE_SHAPE(call->in[0]->shape.dim[0]));
}

static bool grad_shape(hone__call *call)
{
    return check(call, 3) && hone__want_same_real(call, 0, 2) &&
           hone__want_shape(call, 2, HONE_SHAPE(call->in[0]->shape.dim[0]), "gradient") &&
           hone__set_out(call, 0, call->in[0]->dtype, call->in[0]->shape);
}

typedef struct job {
    hone__exec *e;
    hone__ctc a;
    int32_t *target, *times, *labels; /* (B, S), (B), (B) */
    double *rows;                     /* what the kernel wants, of each slot */
    int64_t row_count;
} job;

/* Scratch, in the order of the job; from NULL on its size. */
static char *lay_out(job *j, char *scratch, bool backward)
{
    hone__exec *e = j->e;
    int64_t b = e->in[0].shape.dim[0], t = e->in[0].shape.dim[1], s = e->in[1].shape.dim[1];
    j->row_count = ((backward ? t : 0) + 2) * (2 * s + 1);
    j->target = hone__take(&scratch, (size_t)(b * s) * sizeof(int32_t));
    j->times = hone__take(&scratch, (size_t)b * sizeof(int32_t));
    j->labels = hone__take(&scratch, (size_t)b * sizeof(int32_t));
    j->rows = hone__take(&scratch, (size_t)(j->row_count * hone__slots(e->ctx, b, 1)) * sizeof(double));
    return scratch;
}

static hone_status prepare(hone__exec *e)
{
    e->scratch_size = (size_t)(uintptr_t)lay_out(&(job){.e = e}, NULL, false);
    return HONE_OK;
}

static hone_status grad_prepare(hone__exec *e)
{
    e->scratch_size = (size_t)(uintptr_t)lay_out(&(job){.e = e}, NULL, true);
    return HONE_OK;
}

/* Targets and lengths of example b as i32, checked. */
static hone_status read_example(job *j, int lengths, int64_t b)
{
    hone__exec *e = j->e;
    int64_t t = j->a.t, s = j->a.s, v = j->a.v, labels = 0, times = t;
    const hone__view *y = &e->in[1];
    while (labels < s && hone__index_at(y, b * s + labels) >= 0) labels++;
    if (hone__data(e, lengths)) times = hone__index_at(&e->in[lengths], b);
    if (hone__data(e, lengths + 1)) labels = hone__index_at(&e->in[lengths + 1], b);
    if (times < 0 || times > t || labels < 0 || labels > s)
        return hone__fail_run(e->ctx, HONE_INVALID, "ctc: example %lld has %lld outputs and %lld targets; there is room for %lld and %lld",
                              (long long)b, (long long)times, (long long)labels, (long long)t, (long long)s);
    for (int64_t i = 0; i < labels; i++) {
        int64_t c = hone__index_at(y, b * s + i);
        if (c == j->a.blank)
            return hone__fail_run(e->ctx, HONE_INVALID, "ctc: target %lld of example %lld is the blank", (long long)c, (long long)b);
        if (c < 0 || c >= v)
            return hone__fail_run(e->ctx, HONE_INVALID, "ctc: target %lld of example %lld is no class in [0, %lld)", (long long)c,
                                  (long long)b, (long long)v);
        j->target[b * s + i] = (int32_t)c;
    }
    j->times[b] = (int32_t)times;
    j->labels[b] = (int32_t)labels;
    return HONE_OK;
}

static void examples(void *arg, int slot, int64_t begin, int64_t end)
{
    const job *j = arg;
    for (int64_t b = begin; b < end; b++) j->e->k->ctc(&j->a, b, j->rows + slot * j->row_count);
}

static hone_status run_all(hone__exec *e, bool backward)
{
    job j = {.e = e};
    lay_out(&j, e->scratch, backward);
    const hone_shape *p = &e->in[0].shape;
    j.a = (hone__ctc){.t = p->dim[1],
                      .v = p->dim[2],
                      .s = e->in[1].shape.dim[1],
                      .blank = ((const struct ctc_attr *)e->attr)->blank,
                      .log_p = e->in[0].data,
                      .target = j.target,
                      .times = j.times,
                      .labels = j.labels,
                      .loss = backward ? NULL : e->out[0].data,
                      .dloss = backward ? e->in[2].data : NULL,
                      .dx = backward ? e->out[0].data : NULL};
    for (int64_t b = 0; b < p->dim[0]; b++) {
        hone_status status = read_example(&j, backward ? 3 : 2, b);
        if (status != HONE_OK) return status;
    }
    hone__slots_run(e->ctx, p->dim[0], 1, examples, &j);
    return HONE_OK;
}
static hone_status run(hone__exec *e) { return run_all(e, false); }
static hone_status grad_run(hone__exec *e) { return run_all(e, true); }

static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    (void)wanted;
    hone_node *in[5] = {call->in[0], call->in[1], dy[0], hone__has(call, 2) ? call->in[2] : NULL,
                        hone__has(call, 3) ? call->in[3] : NULL};
    return (dx[0] = hone__record(call->graph, &hone__op_ctc_grad, 5, in, call->attr)) != NULL;
}

#define INDEX(low_, high_, ...) {.dtype = HONE_I32, .shape = __VA_ARGS__, .fill = HONE__FILL_INDEX, .low = low_, .high = high_}
static const hone__sample samples[] = {
    {.name = "batch", .n_in = 2, .in = {{.shape = {3, {3, 8, 5}}}, INDEX(1, 5, {2, {3, 3}})}},
    {.name = "lengths",
     .n_in = 4,
     .in = {{.shape = {3, {4, 9, 4}}}, INDEX(0, 3, {2, {4, 3}}), INDEX(7, 10, {1, {4}}), INDEX(0, 4, {1, {4}})},
     .attr = &(struct ctc_attr){3}},
    {.name = "targets_alone",
     .n_in = 4,
     .in = {{.shape = {3, {2, 5, 3}}}, INDEX(1, 3, {2, {2, 2}}), {.absent = true}, INDEX(1, 3, {1, {2}})}},
    {.name = "no_targets", .n_in = 2, .in = {{.shape = {3, {2, 4, 3}}}, INDEX(1, 3, {2, {2, 0}})}},
    {.name = "empty", .n_in = 2, .in = {{.shape = {3, {0, 4, 3}}}, INDEX(1, 3, {2, {0, 2}})}},
    {.name = "rank", .n_in = 2, .in = {{.shape = {2, {4, 3}}}, INDEX(1, 3, {2, {4, 2}})}, .refused = "must be [B, T, V]"},
    {.name = "blank",
     .n_in = 2,
     .in = {{.shape = {3, {2, 4, 3}}}, INDEX(0, 3, {2, {2, 2}})},
     .attr = &(struct ctc_attr){3},
     .refused = "the blank, 3, must be in [0, 3)"},
    {.name = "misfit",
     .n_in = 3,
     .in = {{.shape = {3, {2, 4, 3}}}, INDEX(1, 3, {2, {2, 2}}), INDEX(4, 5, {1, {3}})},
     .refused = "the lengths must be [2]"},
    {0}};
static const hone__sample grad_samples[] = {
    {.name = "batch", .n_in = 3, .in = {{.shape = {3, {3, 8, 5}}}, INDEX(1, 5, {2, {3, 3}}), {.shape = {1, {3}}}}},
    {.name = "misfit",
     .n_in = 3,
     .in = {{.shape = {3, {3, 8, 5}}}, INDEX(1, 5, {2, {3, 3}}), {.shape = {1, {2}}}},
     .refused = "the gradient must be [3]"},
    {0}};

const hone_op hone__op_ctc = {.name = "ctc",
                              .doc = "-log of the probability of all alignments of targets with outputs",
                              .n_in = 4,
                              .n_required = 2,
                              .n_out = 1,
                              .attr_size = sizeof(struct ctc_attr),
                              .attrs = attrs,
                              .shape = shape,
                              .prepare = prepare,
                              .run = run,
                              .vjp = vjp,
                              .samples = samples};
const hone_op hone__op_ctc_grad = {.name = "ctc_grad",
                                   .doc = "d log p[t, c] = -dloss times the probability of being at label c at time t",
                                   .n_in = 5,
                                   .n_required = 3,
                                   .n_out = 1,
                                   .attr_size = sizeof(struct ctc_attr),
                                   .attrs = attrs,
                                   .shape = grad_shape,
                                   .prepare = grad_prepare,
                                   .run = grad_run,
                                   .samples = grad_samples};

hone_node *hone_ctc_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    static const hone_loss_opts none = {0};
    if (!opts) opts = &none;
    if (!output || !target) return NULL;
    hone_node *in[4] = {hone_log_softmax(output), target, opts->output_lengths, opts->target_lengths};
    hone_node *losses = in[0] ? hone__record(output->call->graph, &hone__op_ctc, 4, in, &(struct ctc_attr){opts->blank}) : NULL;
    if (losses && opts->zero_infinity) {
        hone_node *zero = hone_fill(losses->call->graph, losses->dtype, HONE_SCALAR, 0);
        losses = hone_where(hone_less(losses, hone_fill(losses->call->graph, losses->dtype, HONE_SCALAR, INFINITY)), losses, zero);
    }
    return hone__reduce_losses(losses, NULL, opts);
}
