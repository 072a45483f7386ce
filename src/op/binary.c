/* Elementwise ops of two inputs with broadcasting. */
#include "op/op.h"

static bool shape(hone__call *call)
{
    hone_shape out;
    if (!hone__want_same_real(call, 0, 1) || !hone__broadcast(call, 0, 1, &out)) return false;
    return hone__set_out(call, 0, call->in[0]->dtype, out);
}

typedef struct job {
    hone__exec *e;
    hone__binary op;
} job;

static void part(void *arg, const hone__loop *loop, const int64_t *offset, int64_t n)
{
    const job *j = arg;
    hone__view *y = &j->e->out[0], *a = &j->e->in[0], *b = &j->e->in[1];
    j->e->k->binary(j->op, hone__at(y, offset[0]), y->dtype, hone__at(a, offset[1]), a->dtype,
                    hone__loop_stride(loop, 1), hone__at(b, offset[2]), b->dtype, hone__loop_stride(loop, 2), n);
}

static hone_status run(hone__exec *e, hone__binary op)
{
    hone__loop loop;
    hone__loop_init(&loop, e->out[0].shape, 3, (const hone__view *const[]){&e->out[0], &e->in[0], &e->in[1]});
    hone__loop_run(e->ctx, &loop, HONE__GRAIN, part, &(job){e, op});
    return HONE_OK;
}

static hone_status add_run(hone__exec *e) { return run(e, HONE__ADD); }
static hone_status sub_run(hone__exec *e) { return run(e, HONE__SUB); }
static hone_status mul_run(hone__exec *e) { return run(e, HONE__MUL); }
static hone_status div_run(hone__exec *e) { return run(e, HONE__DIV); }
static hone_status pow_run(hone__exec *e) { return run(e, HONE__POW); }
static hone_status maximum_run(hone__exec *e) { return run(e, HONE__MAXIMUM); }
static hone_status minimum_run(hone__exec *e) { return run(e, HONE__MINIMUM); }

/* d_in[i] = g summed back to the input's shape. */
static bool give(hone__call *call, const bool *wanted, hone_node **d_in, int i, hone_node *g)
{
    if (wanted[i]) d_in[i] = hone__reduce_to(g, call->in[i]->shape);
    return !wanted[i] || d_in[i];
}

static bool add_vjp(hone__call *c, hone_node *const *dy, const bool *wanted, hone_node **d)
{
    return give(c, wanted, d, 0, dy[0]) && give(c, wanted, d, 1, dy[0]);
}
static bool sub_vjp(hone__call *c, hone_node *const *dy, const bool *wanted, hone_node **d)
{
    return give(c, wanted, d, 0, dy[0]) && (!wanted[1] || give(c, wanted, d, 1, hone_neg(dy[0])));
}
static bool mul_vjp(hone__call *c, hone_node *const *dy, const bool *wanted, hone_node **d)
{
    return (!wanted[0] || give(c, wanted, d, 0, hone_mul(dy[0], c->in[1]))) &&
           (!wanted[1] || give(c, wanted, d, 1, hone_mul(dy[0], c->in[0])));
}
static bool div_vjp(hone__call *c, hone_node *const *dy, const bool *wanted, hone_node **d)
{
    hone_node *by_b = hone_div(dy[0], c->in[1]); /* d(a/b) = da / b - (a/b) db / b */
    return give(c, wanted, d, 0, by_b) &&
           (!wanted[1] || give(c, wanted, d, 1, hone_neg(hone_mul(by_b, &c->out[0]))));
}
static bool pow_vjp(hone__call *c, hone_node *const *dy, const bool *wanted, hone_node **d)
{
    hone_node *a = c->in[0], *b = c->in[1];
    return (!wanted[0] || give(c, wanted, d, 0, hone_mul(dy[0], hone_mul(b, hone_pow(a, hone_affine(b, 1, -1)))))) &&
           (!wanted[1] || give(c, wanted, d, 1, hone_mul(dy[0], hone_mul(&c->out[0], hone_log(a)))));
}
static bool extreme_vjp(hone__call *c, hone_node *const *dy, const bool *wanted, hone_node **d, bool maximum)
{
    hone_node *first = maximum ? hone_greater_equal(c->in[0], c->in[1]) : hone_less_equal(c->in[0], c->in[1]);
    hone_node *zero = hone_fill(c->graph, dy[0]->dtype, HONE_SCALAR, 0);
    return (!wanted[0] || give(c, wanted, d, 0, hone_where(first, dy[0], zero))) &&
           (!wanted[1] || give(c, wanted, d, 1, hone_where(first, zero, dy[0])));
}
static bool maximum_vjp(hone__call *c, hone_node *const *dy, const bool *wanted, hone_node **d)
{
    return extreme_vjp(c, dy, wanted, d, true);
}
static bool minimum_vjp(hone__call *c, hone_node *const *dy, const bool *wanted, hone_node **d)
{
    return extreme_vjp(c, dy, wanted, d, false);
}

#define TWO(...) .n_in = 2, .in = {__VA_ARGS__}
static const hone__sample samples[] = {
    {.name = "same", TWO({.shape = {2, {3, 5}}}, {.shape = {2, {3, 5}}})},
    {.name = "row", TWO({.shape = {2, {3, 5}}}, {.shape = {1, {5}}})},
    {.name = "outer", TWO({.shape = {3, {4, 1, 3}}}, {.shape = {2, {2, 1}}})},
    {.name = "scalar", TWO({.shape = {0, {0}}}, {.shape = {2, {2, 3}}})},
    {.name = "empty", TWO({.shape = {2, {0, 3}}}, {.shape = {1, {3}}})},
    {.name = "misfit", TWO({.shape = {1, {3}}}, {.shape = {1, {4}}}), .refused = "cannot be broadcast"},
    {.name = "integer", TWO({.shape = {1, {3}}}, {.dtype = HONE_I32, .shape = {1, {3}}, .fill = HONE__FILL_INDEX, .high = 4}),
     .refused = "must be f32 or f64"},
    {0}};
static const hone__sample positive[] = {
    {.name = "same", TWO({.shape = {2, {3, 5}}, .fill = HONE__FILL_UNIFORM, .low = 0.3, .high = 2},
                         {.shape = {2, {3, 5}}, .fill = HONE__FILL_UNIFORM, .low = 0.3, .high = 2})},
    {.name = "row", TWO({.shape = {2, {3, 5}}, .fill = HONE__FILL_UNIFORM, .low = 0.3, .high = 2},
                        {.shape = {1, {5}}, .fill = HONE__FILL_UNIFORM, .low = 0.3, .high = 2})},
    {.name = "misfit", TWO({.shape = {1, {3}}}, {.shape = {1, {4}}}), .refused = "cannot be broadcast"},
    {0}};

#define BINARY(n, formula, more, s)                                                                           \
    const hone_op hone__op_##n = {.name = #n, .doc = formula, .n_in = 2, .n_out = 1, .flags = HONE__STRIDED | HONE__ELEMENTWISE | (more), \
                                  .shape = shape, .run = n##_run, .vjp = n##_vjp, .samples = s};              \
    hone_node *hone_##n(hone_node *a, hone_node *b)                                                           \
    {                                                                                                         \
        if (!a || !b) return NULL;                                                                            \
        return hone__record(a->call->graph, &hone__op_##n, 2, (hone_node *[]){a, b}, NULL);                   \
    }
BINARY(add, "y = a + b", HONE__FLEX, samples)
BINARY(sub, "y = a - b", HONE__FLEX, samples)
BINARY(mul, "y = a b", HONE__FLEX, samples)
BINARY(div, "y = a / b", 0, positive)
BINARY(pow, "y = a^b", 0, positive)
BINARY(maximum, "y = max(a, b)", 0, samples)
BINARY(minimum, "y = min(a, b)", 0, samples)
