/* silu(gate) up, the gate of Llama's feed-forward layers. */
#include "op/nn.h"

static bool shape(hone__call *call)
{
    return hone__want_same_real(call, 0, 1) &&
           hone__want_shape(call, 1, call->in[0]->shape, "second factor") &&
           hone__set_out(call, 0, call->in[0]->dtype, call->in[0]->shape);
}

static void part(void *arg, const hone__loop *loop, const int64_t *at, int64_t n)
{
    hone__exec *e = arg;
    hone__view *y = &e->out[0], *g = &e->in[0], *u = &e->in[1];
    e->k->swiglu(hone__at(y, at[0]), y->dtype, hone__at(g, at[1]), g->dtype, hone__loop_stride(loop, 1),
                 hone__at(u, at[2]), u->dtype, hone__loop_stride(loop, 2), n);
}

static hone_status run(hone__exec *e)
{
    hone__loop loop;
    hone__loop_init(&loop, e->out[0].shape, 3, (const hone__view *const[]){&e->out[0], &e->in[0], &e->in[1]});
    hone__loop_run(e->ctx, &loop, HONE__GRAIN / 4, part, e);
    return HONE_OK;
}

static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **d)
{
    hone_node *g = hone__record(call->graph, &hone__op_swiglu_grad, 3,
                                (hone_node *[]){call->in[0], call->in[1], dy[0]}, NULL);
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

static void grad_part(void *arg, const hone__loop *loop, const int64_t *at, int64_t n)
{
    hone__exec *e = arg;
    hone__view *dg = &e->out[0], *du = &e->out[1], *g = &e->in[0], *u = &e->in[1], *dy = &e->in[2];
    e->k->swiglu_grad(dg->data ? hone__at(dg, at[0]) : NULL, dg->dtype, du->data ? hone__at(du, at[0]) : NULL,
                      du->dtype, hone__at(g, at[1]), g->dtype, hone__loop_stride(loop, 1), hone__at(u, at[2]),
                      u->dtype, hone__loop_stride(loop, 2), hone__at(dy, at[3]), dy->dtype,
                      hone__loop_stride(loop, 3), n);
}

static hone_status grad_run(hone__exec *e)
{
    hone__loop loop;
    hone__view dense =
        hone__view_dense(NULL, HONE_F32, e->in[0].shape); /* both results: one or the other may be unwanted */
    hone__loop_init(&loop, dense.shape, 4,
                    (const hone__view *const[]){&dense, &e->in[0], &e->in[1], &e->in[2]});
    hone__loop_run(e->ctx, &loop, HONE__GRAIN / 4, grad_part, e);
    return HONE_OK;
}

static const hone__sample samples[] = {
    {.name = "matrix", .n_in = 2, .in = {{.shape = {2, {3, 7}}}, {.shape = {2, {3, 7}}}}},
    {.name = "row", .n_in = 2, .in = {{.shape = {1, {67}}}, {.shape = {1, {67}}}}},
    {.name = "chunks",
     .n_in = 2,
     .in = {{.shape = {3, {2, 3, 1025}}}, {.shape = {3, {2, 3, 1025}}}},
     .no_grad = true},
    {.name = "empty", .n_in = 2, .in = {{.shape = {2, {0, 7}}}, {.shape = {2, {0, 7}}}}},
    {.name = "misfit",
     .n_in = 2,
     .in = {{.shape = {2, {3, 7}}}, {.shape = {1, {7}}}},
     .refused = "second factor must be [3, 7]"},
    {0}};
static const hone__sample grad_samples[] = {
    {.name = "matrix",
     .n_in = 3,
     .in = {{.shape = {2, {3, 7}}}, {.shape = {2, {3, 7}}}, {.shape = {2, {3, 7}}}}},
    {.name = "misfit",
     .n_in = 3,
     .in = {{.shape = {2, {3, 7}}}, {.shape = {2, {3, 7}}}, {.shape = {2, {3, 6}}}},
     .refused = "the gradient must be"},
    {0}};

const hone_op hone__op_swiglu = {.name = "swiglu", .doc = "y = gate sigmoid(gate) up", .n_in = 2, .n_out = 1,
                                 .flags = HONE__STRIDED | HONE__FLEX | HONE__CHEAP, .shape = shape, .run = run, .vjp = vjp,
                                 .samples = samples};
const hone_op hone__op_swiglu_grad = {.name = "swiglu_grad",
                                      .doc = "dgate, dup of swiglu",
                                      .n_in = 3,
                                      .n_out = 2,
                                      .flags = HONE__STRIDED | HONE__FLEX,
                                      .shape = grad_shape,
                                      .run = grad_run,
                                      .samples = grad_samples};

hone_node *hone_swiglu(hone_node *gate, hone_node *up)
{
    if (!gate || !up) return NULL;
    return hone__record(gate->call->graph, &hone__op_swiglu, 2, (hone_node *[]){gate, up}, NULL);
}

hone_node *hone_glu(hone_node *x, int axis)
{
    hone_node *halves[2];
    if (!x || hone_split(x, axis, 2, halves) != HONE_OK) return NULL;
    return hone_mul(halves[0], hone_sigmoid(halves[1]));
}
