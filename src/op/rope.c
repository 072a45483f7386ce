/* Rotary position embedding (Su et al., "RoFormer", 2021). The gradient turns back: the same op, inverse. */
#include "op/nn.h"

#include <math.h>

struct rope_attr {
    double theta;
    int rotary; /* values of a head that are turned; 0: all */
    bool interleaved, inverse;
};
static const hone__attr attrs[] = {HONE__ATTR(struct rope_attr, theta, F64),
                                   HONE__ATTR(struct rope_attr, rotary, INT),
                                   HONE__ATTR(struct rope_attr, interleaved, BOOL),
                                   HONE__ATTR(struct rope_attr, inverse, BOOL),
                                   {0}};

enum { MOST = 512 }; /* values of a head: kernel/ref/rope.c keeps one in its chunk */

static int64_t rotary_of(const struct rope_attr *t, int64_t d) { return t->rotary ? t->rotary : d; }

static bool shape(hone__call *call)
{
    const struct rope_attr *t = call->attr;
    hone_shape x = call->in[0]->shape, p = call->in[1]->shape;
    if (!hone__want_real(call, 0) || !hone__want_integer(call, 1)) return false;
    if (x.rank != 4 || x.dim[3] > MOST)
        return hone__refuse(call, HONE_SHAPE, "the input must be [B, T, H, D] with D at most %d, not %s",
                            (int)MOST, HONE__SHAPE_STR(x));
    int64_t rotary = rotary_of(t, x.dim[3]);
    if (rotary < 0 || rotary % 2 || rotary > x.dim[3])
        return hone__refuse(call, HONE_INVALID,
                            "the values that are turned must be even and at most D = %lld, not %lld",
                            (long long)x.dim[3], (long long)rotary);
    if (!(t->theta > 0)) return hone__refuse(call, HONE_INVALID, "theta must be above 0, it is %g", t->theta);
    bool fits = (p.rank == 1 && p.dim[0] == x.dim[1]) ||
                (p.rank == 2 && p.dim[0] == x.dim[0] && p.dim[1] == x.dim[1]);
    if (!fits)
        return hone__refuse(call, HONE_SHAPE, "positions must be [B, T] or [T] of an input %s, not %s",
                            HONE__SHAPE_STR(x), HONE__SHAPE_STR(p));
    if (hone__has(call, 2) &&
        (!hone__want_real(call, 2) || !hone__want_shape(call, 2, HONE_SHAPE(rotary / 2), "factors")))
        return false;
    return hone__set_out(call, 0, call->in[0]->dtype, x);
}

/* Full turns a position, before factors: theta^(-2 i / rotary) / 2 pi. Powers take longer than a token's turning. */
typedef struct prepared {
    hone_ctx *ctx;
    double turns[MOST / 2];
} prepared;

static void free_prepared(void *state)
{
    prepared *p = state;
    hone__free(p->ctx, p);
}

static hone_status prepare(hone__exec *e)
{
    const struct rope_attr *t = e->attr;
    int64_t half = rotary_of(t, e->in[0].shape.dim[3]) / 2;
    prepared *p = e->state = hone__alloc(e->ctx, sizeof *p);
    if (!p) return e->ctx->status;
    p->ctx = e->ctx;
    e->free_state = free_prepared;
    for (int64_t i = 0; i < half; i++) p->turns[i] = pow(t->theta, -(double)i / (double)half) * 0.15915494309189535;
    e->scratch_size = sizeof p->turns;
    return HONE_OK;
}

static void part(void *arg, int64_t begin, int64_t end)
{
    hone__exec *e = arg;
    const struct rope_attr *t = e->attr;
    const hone__view *x = &e->in[0], *p = &e->in[1], *y = &e->out[0];
    int64_t times = x->shape.dim[1], heads = x->shape.dim[2], d = x->shape.dim[3];
    for (int64_t i = begin; i < end; i++) {
        int64_t b = i / times, at = i % times;
        int64_t position =
            hone__index_at(p, p->shape.rank == 1 ? at * p->stride[0] : b * p->stride[0] + at * p->stride[1]);
        e->k->rope(hone__at(y, i * heads * d), y->dtype, hone__at(x, b * x->stride[0] + at * x->stride[1]),
                   x->dtype, x->stride[2], x->stride[3], heads, d, rotary_of(t, d), (double)position,
                   e->scratch, t->interleaved, t->inverse);
    }
}

static hone_status run(hone__exec *e)
{
    const struct rope_attr *t = e->attr;
    hone_shape x = e->in[0].shape;
    int64_t half = rotary_of(t, x.dim[3]) / 2;
    const double *each = ((const prepared *)e->state)->turns;
    double *turns = e->scratch; /* each over its factor */
    for (int64_t i = 0; i < half; i++) {
        double factor = 1;
        if (hone__data(e, 2))
            hone__convert(&factor, HONE_F64, hone__at(&e->in[2], i * e->in[2].stride[0]), e->in[2].dtype, 1);
        turns[i] = each[i] / factor;
    }
    if (hone_shape_count(x))
        hone__parallel_for(e->ctx, x.dim[0] * x.dim[1], HONE_MAX(HONE__GRAIN / 2 / (x.dim[2] * x.dim[3]), 1),
                           part, e);
    return HONE_OK;
}

static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **d)
{
    struct rope_attr t = *(const struct rope_attr *)call->attr;
    (void)wanted; /* the factors are constants */
    t.inverse = !t.inverse;
    hone_node *in[3] = {dy[0], call->in[1], call->n_in > 2 ? call->in[2] : NULL};
    return (d[0] = hone__record(call->graph, &hone__op_rope, call->n_in, in, &t)) != NULL;
}

#define POSITIONS(...) {.dtype = HONE_I32, .shape = __VA_ARGS__, .fill = HONE__FILL_INDEX, .high = 5000}
#define ROPE(...) .attr = &(struct rope_attr){__VA_ARGS__}
static const hone__sample samples[] = {
    {.name = "halves",
     .n_in = 2,
     .in = {{.shape = {4, {2, 3, 2, 8}}}, POSITIONS({2, {2, 3}})},
     ROPE(10000, 0, false, false)},
    {.name = "pairs",
     .n_in = 2,
     .in = {{.shape = {4, {2, 3, 2, 6}}}, POSITIONS({1, {3}})},
     ROPE(10000, 0, true, false)},
    {.name = "partial",
     .n_in = 2,
     .in = {{.shape = {4, {1, 3, 2, 7}}}, POSITIONS({1, {3}})},
     ROPE(500000, 4, false, false)},
    {.name = "inverse",
     .n_in = 2,
     .in = {{.shape = {4, {1, 3, 1, 68}}}, POSITIONS({1, {3}})},
     ROPE(10000, 0, false, true)},
    {.name = "empty",
     .n_in = 2,
     .in = {{.shape = {4, {0, 3, 1, 8}}}, POSITIONS({1, {3}})},
     ROPE(10000, 0, false, false)},
    {.name = "odd",
     .n_in = 2,
     .in = {{.shape = {4, {1, 3, 1, 7}}}, POSITIONS({1, {3}})},
     ROPE(10000, 0, false, false),
     .refused = "must be even"},
    {.name = "rank",
     .n_in = 2,
     .in = {{.shape = {3, {3, 1, 8}}}, POSITIONS({1, {3}})},
     ROPE(10000, 0, false, false),
     .refused = "must be [B, T, H, D]"},
    {.name = "positions",
     .n_in = 2,
     .in = {{.shape = {4, {1, 3, 1, 8}}}, POSITIONS({1, {4}})},
     ROPE(10000, 0, false, false),
     .refused = "positions must be [B, T] or [T]"},
    {.name = "theta",
     .n_in = 2,
     .in = {{.shape = {4, {1, 3, 1, 8}}}, POSITIONS({1, {3}})},
     ROPE(0, 0, false, false),
     .refused = "theta must be above 0"},
    {.name = "factors",
     .no_grad = true,
     /* they are constants */ .n_in = 3,
     .in = {{.shape = {4, {2, 3, 2, 8}}},
            POSITIONS({2, {2, 3}}),
            {.shape = {1, {4}}, .fill = HONE__FILL_RAMP, .low = 1, .high = 9}},
     ROPE(10000, 0, false, false)},
    {.name = "factors_size",
     .n_in = 3,
     .in = {{.shape = {4, {1, 3, 1, 8}}},
            POSITIONS({1, {3}}),
            {.shape = {1, {3}}, .fill = HONE__FILL_UNIFORM, .low = 1, .high = 8}},
     ROPE(10000, 0, false, false),
     .refused = "the factors must be [4]"},
    {0}};

const hone_op hone__op_rope = {.name = "rope",
                               .doc = "pairs of a head's values turned by position theta^(-2 i / rotary)",
                               .n_in = 3,
                               .n_required = 2,
                               .n_out = 1,
                               .flags = HONE__STRIDED | HONE__FLEX,
                               .keep_in = 4,
                               .attr_size = sizeof(struct rope_attr),
                               .attrs = attrs,
                               .shape = shape,
                               .prepare = prepare,
                               .run = run,
                               .vjp = vjp,
                               .samples = samples};

hone_node *hone_rope_opt(hone_node *x, hone_node *positions, const hone_rope_opts *opts)
{
    if (!x || !positions) return NULL;
    hone_rope_opts o = opts ? *opts : (hone_rope_opts){0};
    hone_node *in[3] = {x, positions, o.factors};
    return hone__record(x->call->graph, &hone__op_rope, o.factors ? 3 : 2, in,
                        &(struct rope_attr){o.theta ? o.theta : 10000, o.rotary_dims, o.interleaved, false});
}
