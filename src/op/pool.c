/* Max and average pooling, channels last. */
#include "op/nn.h"

struct pool_attr {
    struct hone__window_attr window;
    hone_shape kernel;
    bool exclude_padding; /* average */
    bool relu;            /* max_pool_grad: x is what relu gave, so no gradient passes where the maximum is not positive */
    hone_shape spatial;   /* gradients: of the result */
};
#define POOL_ATTRS HONE__WINDOW_ATTRS, HONE__ATTR(struct hone__window_attr, ceil, BOOL), HONE__ATTR(struct pool_attr, kernel, SHAPE)
static const hone__attr max_attrs[] = {POOL_ATTRS, {0}};
static const hone__attr max_grad_attrs[] = {POOL_ATTRS, HONE__ATTR(struct pool_attr, relu, BOOL),
                                             HONE__ATTR(struct pool_attr, spatial, SHAPE), {0}};
static const hone__attr average_attrs[] = {POOL_ATTRS, HONE__ATTR(struct pool_attr, exclude_padding, BOOL), {0}};
static const hone__attr average_grad_attrs[] = {POOL_ATTRS, HONE__ATTR(struct pool_attr, exclude_padding, BOOL),
                                                HONE__ATTR(struct pool_attr, spatial, SHAPE), {0}};

static hone_shape with_spatial(hone_shape s, const hone__window *w, bool in)
{
    for (int a = 0; a < w->axes; a++) s.dim[2 + a] = (in ? w->in : w->out)[3 - w->axes + a];
    return s;
}

static bool want_pool(hone__call *call, int i, const int64_t *in, hone__window *w)
{
    const struct pool_attr *t = call->attr;
    hone_shape x = call->in[i]->shape;
    if (!hone__want_real(call, i)) return false;
    if (x.rank < 3 || x.rank > 5)
        return hone__refuse(call, HONE_SHAPE, "input %d must be [N, channels, spatial...] with 1 to 3 spatial axes, not %s",
                            i, HONE__SHAPE_STR(x));
    if (t->kernel.rank != x.rank - 2)
        return hone__refuse(call, HONE_SHAPE, "a kernel %s for %d spatial axes (input shape %s)", HONE__SHAPE_STR(t->kernel),
                            x.rank - 2, HONE__SHAPE_STR(x));
    if (!hone__want_window(call, &t->window, x.rank - 2, in, t->kernel.dim, w)) return false;
    for (int a = 0; a < 3; a++) { /* each window must see an input */
        if (HONE_MAX(w->before[a], w->after[a]) >= hone__window_reach(w, a))
            return hone__refuse(call, HONE_INVALID, "padding must be smaller than the kernel %s and what its dilation adds",
                                HONE__SHAPE_STR(t->kernel));
        if (w->before[a] + w->after[a] > 0 && w->in[a] < w->dilation[a])
            return hone__refuse(call, HONE_SHAPE, "of spatial axis %d with %lld elements a window of dilation %lld may see padding alone",
                                a - (3 - w->axes), (long long)w->in[a], (long long)w->dilation[a]);
    }
    return true;
}

static bool max_shape(hone__call *call)
{
    const struct pool_attr *t = call->attr;
    hone_shape x = call->in[0]->shape;
    hone__window w;
    if (!want_pool(call, 0, x.dim + 2, &w)) return false;
    hone_shape y = with_spatial(x, &w, false);
    return hone__set_out(call, 0, call->in[0]->dtype, y) &&
           hone__set_out(call, 1, hone_shape_count(t->kernel) > 256 ? HONE_I32 : HONE_U8, y);
}

static bool average_shape(hone__call *call)
{
    hone_shape x = call->in[0]->shape;
    hone__window w;
    return want_pool(call, 0, x.dim + 2, &w) && hone__set_out(call, 0, call->in[0]->dtype, with_spatial(x, &w, false));
}

/* Input 0 has the shape of a result; the gradient's is that of what was pooled. */
static bool grad_shape(hone__call *call)
{
    const struct pool_attr *t = call->attr;
    hone_shape y = call->in[0]->shape;
    hone__window w;
    if (t->spatial.rank != y.rank - 2)
        return hone__refuse(call, HONE_SHAPE, "%s are not the spatial axes of what gave %s", HONE__SHAPE_STR(t->spatial),
                            HONE__SHAPE_STR(y));
    return want_pool(call, 0, t->spatial.dim, &w) && hone__want_shape(call, 0, with_spatial(y, &w, false), "result") &&
           hone__set_out(call, 0, call->in[0]->dtype, with_spatial(y, &w, true));
}

/* Inputs y, index, dy. */
static bool max_grad_shape(hone__call *call)
{
    hone_shape y = call->in[0]->shape;
    return hone__want_same_real(call, 0, 2) && hone__want_integer(call, 1) && grad_shape(call) &&
           hone__want_shape(call, 1, y, "index") && hone__want_shape(call, 2, y, "gradient");
}

/* ---- running ---- */

typedef struct job {
    const hone__exec *e;
    hone__pool p;
} job;

static void forward_part(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    j->e->k->pool(&j->p, begin, end);
}
static void backward_part(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    j->e->k->pool_grad(&j->p, begin, end);
}

static void scatter_part(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    j->e->k->pool_scatter(&j->p, begin, end);
}

static hone__pool pool_of(const hone__exec *e, hone_shape x, bool average)
{
    const struct pool_attr *t = e->attr;
    return (hone__pool){.w = hone__window_of(&t->window, x.rank - 2, x.dim + 2, t->kernel.dim), .c = x.dim[1],
                        .average = average, .exclude_padding = t->exclude_padding, .relu = t->relu};
}

static int64_t positions(hone_shape s) { return s.dim[1] ? hone_shape_count(s) / s.dim[1] : 0; }
static int64_t grain(const hone__pool *p) { return HONE__GRAIN / 4 / HONE_MAX(p->c, 1) + 1; }

static void forward(const hone__exec *e, bool average)
{
    hone_shape x = e->call->in[0]->shape;
    job j = {e, pool_of(e, x, average)};
    if (!e->out[0].data) return;
    j.p.x = e->in[0].data, j.p.xt = e->in[0].dtype;
    j.p.y = e->out[0].data, j.p.yt = e->out[0].dtype;
    if (!average) j.p.index = e->out[1].data, j.p.wide_index = e->call->out[1].dtype == HONE_I32;
    hone__parallel_for(e->ctx, positions(e->call->out[0].shape), grain(&j.p), forward_part, &j);
}
static hone_status max_run(hone__exec *e)
{
    forward(e, false);
    return HONE_OK;
}
static hone_status average_run(hone__exec *e)
{
    forward(e, true);
    return HONE_OK;
}

static void backward(const hone__exec *e, hone__pool p)
{
    job j = {e, p};
    j.p.dx = e->out[0].data, j.p.dxt = e->out[0].dtype;
    const hone__window *w = &p.w;
    bool apart = true, whole = true;
    for (int a = 0; a < 3; a++) {
        apart = apart && w->stride[a] >= hone__window_reach(w, a);
        whole = whole && w->stride[a] == w->kernel[a] && w->out[a] * w->stride[a] - w->before[a] >= w->in[a];
    }
    if (!apart) {
        hone__parallel_for(e->ctx, positions(e->out[0].shape), grain(&p), backward_part, &j);
        return;
    }
    if (!whole) hone__fill_view(e, &e->out[0], 0);
    hone__parallel_for(e->ctx, positions(e->call->in[0]->shape), grain(&p), scatter_part, &j);
}

static hone_status max_grad_run(hone__exec *e)
{
    hone__pool p = pool_of(e, e->out[0].shape, false);
    p.y = e->in[0].data, p.yt = e->in[0].dtype;
    p.index = e->in[1].data, p.wide_index = e->in[1].dtype == HONE_I32;
    p.dy = e->in[2].data, p.dyt = e->in[2].dtype;
    backward(e, p);
    return HONE_OK;
}

static hone_status average_grad_run(hone__exec *e)
{
    hone__pool p = pool_of(e, e->out[0].shape, true);
    p.dy = e->in[0].data, p.dyt = e->in[0].dtype;
    backward(e, p);
    return HONE_OK;
}

/* ---- gradients ---- */

static hone_shape spatial_of(hone_shape s)
{
    hone_shape to = {.rank = s.rank - 2};
    for (int a = 0; a < to.rank; a++) to.dim[a] = s.dim[2 + a];
    return to;
}

static bool max_vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    (void)wanted;
    struct pool_attr t = *(const struct pool_attr *)call->attr;
    t.spatial = spatial_of(call->in[0]->shape);
    hone_node *in[3] = {&call->out[0], &call->out[1], dy[0]};
    dx[0] = hone__record(call->graph, &hone__op_max_pool_grad, 3, in, &t);
    return dx[0] != NULL;
}

static bool average_vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    (void)wanted;
    struct pool_attr t = *(const struct pool_attr *)call->attr;
    t.spatial = spatial_of(call->in[0]->shape);
    return (dx[0] = hone__record(call->graph, &hone__op_average_pool_grad, 1, dy, &t)) != NULL;
}

static bool average_grad_vjp(hone__call *call, hone_node *const *g, const bool *wanted, hone_node **d)
{
    (void)wanted;
    struct pool_attr t = *(const struct pool_attr *)call->attr;
    t.spatial = (hone_shape){0};
    return (d[0] = hone__record(call->graph, &hone__op_average_pool, 1, g, &t)) != NULL;
}

hone_node *hone__relu_grad(hone_node *y, hone_node *dy)
{
    if (!y || !dy) return NULL;
    const hone__call *call = dy->call;
    bool pooled = call->op == &hone__op_max_pool_grad && call->in[0]->call->op == &hone__op_max_pool &&
                  call->in[0]->call->in[0] == y;
    if (!pooled) return hone__unary_grad(y, dy, HONE__RELU, 0, 0); /* y > 0 exactly where the sum is */
    struct pool_attr t = *(const struct pool_attr *)call->attr;
    t.relu = true;
    return hone__record(call->graph, &hone__op_max_pool_grad, 3, call->in, &t);
}

#define X(...) {.shape = {__VA_ARGS__}}
#define OF(...) .attr = &(struct pool_attr) { __VA_ARGS__ }
#define BY(n, s) {n, {s, s, s}}
static const hone__sample max_samples[] = {
    {.name = "halves", .n_in = 1, .in = {X(4, {2, 3, 6, 4})}, OF(.window = {.stride = BY(2, 2)}, .kernel = BY(2, 2))},
    {.name = "overlap", .n_in = 1, .in = {X(4, {2, 3, 7, 5})},
     OF(.window = {.stride = BY(2, 2), .before = BY(2, 1), .after = BY(2, 1)}, .kernel = BY(2, 3))},
    {.name = "one_axis", .n_in = 1, .in = {X(3, {2, 5, 9})}, OF(.window = {.stride = {1, {3}}}, .kernel = {1, {2}})},
    {.name = "three_axes", .n_in = 1, .in = {X(5, {1, 2, 4, 5, 6})},
     OF(.window = {.stride = {3, {1, 2, 3}}, .before = {3, {1, 0, 1}}}, .kernel = {3, {2, 2, 3}})},
    {.name = "vectors", .n_in = 1, .in = {X(4, {2, 37, 4, 5})}, OF(.window = {.stride = BY(2, 2)}, .kernel = BY(2, 2))},
    {.name = "dilated", .n_in = 1, .in = {X(4, {2, 3, 9, 8})},
     OF(.window = {.stride = BY(2, 2), .dilation = {2, {2, 3}}, .before = BY(2, 1), .after = BY(2, 2)}, .kernel = {2, {3, 2}})},
    {.name = "dilated_apart", .n_in = 1, .in = {X(3, {2, 19, 11})}, OF(.window = {.stride = {1, {3}}, .dilation = {1, {2}}}, .kernel = {1, {2}})},
    {.name = "ceil", .n_in = 1, .in = {X(4, {2, 3, 6, 7})},
     OF(.window = {.stride = BY(2, 2), .before = {2, {1, 0}}, .after = {2, {1, 0}}, .ceil = true}, .kernel = {2, {3, 2}})},
    {.name = "ceil_partial", .n_in = 1, .in = {X(3, {2, 19, 2})}, OF(.window = {.stride = {1, {2}}, .ceil = true}, .kernel = {1, {3}})},
    {.name = "ceil_dropped", .n_in = 1, .in = {X(3, {2, 3, 5})}, OF(.window = {.stride = {1, {3}}, .before = {1, {1}}, .after = {1, {1}}, .ceil = true}, .kernel = {1, {2}})},
    {.name = "wide", .n_in = 1, .in = {X(4, {1, 2, 17, 18})}, OF(.window = {.stride = BY(2, 17)}, .kernel = BY(2, 17))},
    {.name = "empty", .n_in = 1, .in = {X(4, {0, 3, 6, 4})}, OF(.kernel = BY(2, 2))},
    {.name = "padding", .n_in = 1, .in = {X(4, {1, 3, 6, 4})}, OF(.window = {.before = BY(2, 2)}, .kernel = BY(2, 2)),
     .refused = "padding must be smaller than the kernel"},
    {.name = "unseen", .n_in = 1, .in = {X(3, {1, 3, 2})}, OF(.window = {.dilation = {1, {3}}, .before = {1, {1}}, .after = {1, {1}}}, .kernel = {1, {2}}),
     .refused = "may see padding alone"},
    {.name = "kernel", .n_in = 1, .in = {X(4, {1, 3, 6, 4})}, OF(.kernel = BY(1, 2)), .refused = "a kernel [2] for 2 spatial axes"},
    {.name = "axes", .n_in = 1, .in = {X(2, {6, 4})}, OF(.kernel = BY(1, 2)), .refused = "1 to 3 spatial axes"},
    {.name = "window", .n_in = 1, .in = {X(3, {1, 3, 2})}, OF(.kernel = BY(1, 3)), .refused = "the window reaches over 3"},
    {0}};
static const hone__sample average_samples[] = {
    {.name = "halves", .n_in = 1, .in = {X(4, {2, 3, 6, 4})}, OF(.window = {.stride = BY(2, 2)}, .kernel = BY(2, 2))},
    {.name = "overlap", .n_in = 1, .in = {X(4, {2, 3, 7, 5})},
     OF(.window = {.stride = BY(2, 2), .before = BY(2, 1), .after = BY(2, 1)}, .kernel = BY(2, 3))},
    {.name = "excluded", .n_in = 1, .in = {X(4, {2, 3, 7, 5})},
     OF(.window = {.stride = BY(2, 2), .before = BY(2, 1), .after = BY(2, 1)}, .kernel = BY(2, 3), .exclude_padding = true)},
    {.name = "dilated", .n_in = 1, .in = {X(4, {2, 3, 9, 8})},
     OF(.window = {.stride = BY(2, 2), .dilation = {2, {2, 3}}, .before = BY(2, 1), .after = BY(2, 2)}, .kernel = {2, {3, 2}})},
    {.name = "dilated_excluded", .n_in = 1, .in = {X(3, {2, 3, 9})},
     OF(.window = {.stride = {1, {1}}, .dilation = {1, {2}}, .before = {1, {2}}, .after = {1, {1}}}, .kernel = {1, {3}}, .exclude_padding = true)},
    {.name = "ceil", .n_in = 1, .in = {X(4, {2, 3, 6, 7})},
     OF(.window = {.stride = BY(2, 2), .before = {2, {1, 0}}, .after = {2, {1, 0}}, .ceil = true}, .kernel = {2, {3, 2}})},
    {.name = "ceil_excluded", .n_in = 1, .in = {X(4, {2, 3, 6, 7})},
     OF(.window = {.stride = BY(2, 2), .before = {2, {1, 0}}, .after = {2, {1, 0}}, .ceil = true}, .kernel = {2, {3, 2}}, .exclude_padding = true)},
    {.name = "ceil_vectors", .n_in = 1, .in = {X(3, {2, 19, 8})}, OF(.window = {.stride = {1, {3}}, .ceil = true}, .kernel = {1, {3}})},
    {.name = "one_axis", .n_in = 1, .in = {X(3, {2, 5, 9})}, OF(.window = {.stride = {1, {3}}}, .kernel = {1, {2}})},
    {.name = "three_axes", .n_in = 1, .in = {X(5, {1, 2, 4, 5, 6})}, OF(.window = {.stride = {3, {1, 2, 3}}}, .kernel = {3, {2, 2, 3}})},
    {.name = "vectors", .n_in = 1, .in = {X(4, {2, 37, 4, 5})},
     OF(.window = {.stride = BY(2, 2), .after = BY(2, 1)}, .kernel = BY(2, 2), .exclude_padding = true)},
    {.name = "empty", .n_in = 1, .in = {X(4, {0, 3, 6, 4})}, OF(.kernel = BY(2, 2))},
    {.name = "kernel", .n_in = 1, .in = {X(4, {1, 3, 6, 4})}, OF(.kernel = BY(1, 2)), .refused = "a kernel [2] for 2 spatial axes"},
    {0}};
#define INDEX(...) {.dtype = HONE_U8, .shape = {__VA_ARGS__}, .fill = HONE__FILL_INDEX, .low = 0, .high = 4}
static const hone__sample max_grad_samples[] = {
    {.name = "halves", .n_in = 3, .in = {X(4, {2, 3, 3, 2}), INDEX(4, {2, 3, 3, 2}), X(4, {2, 3, 3, 2})},
     OF(.window = {.stride = BY(2, 2)}, .kernel = BY(2, 2), .spatial = {2, {6, 5}})},
    {.name = "relu", .n_in = 3, .in = {X(3, {2, 3, 5}), INDEX(3, {2, 3, 5}), X(3, {2, 3, 5})},
     OF(.window = {.stride = BY(1, 2), .before = BY(1, 1)}, .kernel = BY(1, 4), .spatial = {1, {11}}, .relu = true)},
    {.name = "vectors", .n_in = 3, .in = {X(3, {2, 37, 5}), INDEX(3, {2, 37, 5}), X(3, {2, 37, 5})},
     OF(.window = {.stride = BY(1, 4)}, .kernel = BY(1, 4), .spatial = {1, {22}}, .relu = true)},
    {.name = "misfit", .n_in = 3, .in = {X(3, {2, 3, 5}), INDEX(3, {2, 3, 5}), X(3, {2, 3, 5})},
     OF(.kernel = BY(1, 4), .spatial = {1, {11}}), .refused = "the result must be"},
    {0}};
static const hone__sample average_grad_samples[] = {
    {.name = "overlap", .n_in = 1, .in = {X(4, {2, 3, 4, 3})},
     OF(.window = {.stride = BY(2, 2), .before = BY(2, 1), .after = BY(2, 1)}, .kernel = BY(2, 3), .spatial = {2, {7, 5}})},
    {.name = "misfit", .n_in = 1, .in = {X(3, {2, 3, 5})}, OF(.kernel = BY(1, 4), .spatial = {1, {11}}),
     .refused = "the result must be"},
    {0}};

const hone_op hone__op_max_pool = {.name = "max_pool", .doc = "y = the largest of each window; and where in it that was", .n_in = 1,
                                   .n_out = 2, .flags = HONE__FLEX, .aux_out = 2, .last_in = 1, .last_out = 3,
                                   .attr_size = sizeof(struct pool_attr), .attrs = max_attrs, .shape = max_shape, .run = max_run,
                                   .vjp = max_vjp, .samples = max_samples};
const hone_op hone__op_max_pool_grad = {.name = "max_pool_grad", .doc = "dx of max_pool, from y, the index and dy", .n_in = 3,
                                        .n_out = 1, .flags = HONE__FLEX, .last_in = 7, .last_out = 1,
                                        .attr_size = sizeof(struct pool_attr), .attrs = max_grad_attrs,
                                        .shape = max_grad_shape, .run = max_grad_run, .samples = max_grad_samples};
const hone_op hone__op_average_pool = {.name = "average_pool", .doc = "y = the mean of each window", .n_in = 1, .n_out = 1,
                                       .flags = HONE__FLEX, .last_in = 1, .last_out = 1,
                                       .attr_size = sizeof(struct pool_attr), .attrs = average_attrs, .shape = average_shape,
                                       .run = average_run, .vjp = average_vjp, .samples = average_samples};
const hone_op hone__op_average_pool_grad = {.name = "average_pool_grad", .doc = "dx of average_pool", .n_in = 1, .n_out = 1,
                                            .flags = HONE__FLEX, .last_in = 1, .last_out = 1,
                                            .attr_size = sizeof(struct pool_attr), .attrs = average_grad_attrs,
                                            .shape = grad_shape, .run = average_grad_run, .vjp = average_grad_vjp,
                                            .samples = average_grad_samples};

static hone_node *pool(const hone_op *op, hone_node *x, hone_shape kernel, const hone_pool_opts *opts)
{
    if (!x) return NULL;
    hone_pool_opts o = opts ? *opts : (hone_pool_opts){0};
    struct pool_attr t = {.kernel = kernel, .exclude_padding = o.exclude_padding};
    int axes = HONE_MIN(HONE_MIN(x->shape.rank - 2, kernel.rank), 3); /* the op refuses what does not fit */
    for (int a = 0; a < axes && !o.stride[0]; a++) t.window.stride.dim[a] = kernel.dim[a];
    const int64_t *stride = o.stride[0] ? o.stride : t.window.stride.dim;
    int64_t steps[3] = {stride[0], stride[1], stride[2]};
    if (axes > 0 && !hone__window_options(x->call->graph->ctx, op->name, axes, x->shape.dim + 2, kernel.dim, steps, o.dilation,
                                          o.padding, o.pad_before, o.pad_after, &t.window))
        return NULL;
    t.window.ceil = o.ceil_mode;
    return hone__record(x->call->graph, op, 1, &x, &t);
}

hone_node *hone_max_pool_opt(hone_node *x, hone_shape kernel, const hone_pool_opts *opts)
{
    return pool(&hone__op_max_pool, x, kernel, opts);
}
hone_node *hone_average_pool_opt(hone_node *x, hone_shape kernel, const hone_pool_opts *opts)
{
    return pool(&hone__op_average_pool, x, kernel, opts);
}
