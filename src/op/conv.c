/* Convolution and its two transposes, the gradients: each is linear in both of its inputs, so that the gradients of any
   of the three are made of the others. Activations are channels last, weights packed once for their variable. */
#include "op/nn.h"

struct conv_attr {
    struct hone__window_attr window;
    int64_t groups;     /* 0: 1 */
    int relu;           /* conv */
    hone_shape spatial; /* conv_input_grad: of the result; conv_weight_grad: of the kernel */
    int bias;           /* conv_weight_grad: its second output is wanted */
};
static const hone__attr attrs[] = {HONE__WINDOW_ATTRS, HONE__ATTR(struct conv_attr, groups, I64),
                                   HONE__ATTR(struct conv_attr, relu, INT), {0}};
static const hone__attr grad_attrs[] = {HONE__WINDOW_ATTRS, HONE__ATTR(struct conv_attr, groups, I64),
                                        HONE__ATTR(struct conv_attr, spatial, SHAPE),
                                        HONE__ATTR(struct conv_attr, bias, INT), {0}};

/* ---- shapes ---- */

static int64_t groups_of(const hone__call *call)
{
    const struct conv_attr *t = call->attr;
    return t->groups ? t->groups : 1;
}

static bool want_activation(hone__call *call, int i)
{
    hone_shape x = call->in[i]->shape;
    if (x.rank >= 3 && x.rank <= 5) return true;
    return hone__refuse(call, HONE_SHAPE, "input %d must be [N, channels, spatial...] with 1 to 3 spatial axes, not %s",
                        i, HONE__SHAPE_STR(x));
}

/* x [N, c, ...] and w [o, c / groups, ...], whatever is input and what result. */
static bool want_channels(hone__call *call, int64_t c, hone_shape x, hone_shape w)
{
    int64_t groups = groups_of(call);
    if (groups < 1 || c % groups || w.dim[0] % groups)
        return hone__refuse(call, HONE_SHAPE, "%lld input and %lld output channels cannot be cut into %lld groups",
                            (long long)c, (long long)w.dim[0], (long long)groups);
    if (w.dim[1] * groups != c)
        return hone__refuse(call, HONE_SHAPE,
                            "input has %lld channels, weight %s with %lld groups expects %lld (input shape %s)",
                            (long long)c, HONE__SHAPE_STR(w), (long long)groups, (long long)(w.dim[1] * groups),
                            HONE__SHAPE_STR(x));
    return true;
}

static bool want_rank(hone__call *call, int i, int rank, const char *what)
{
    hone_shape s = call->in[i]->shape;
    if (s.rank == rank) return true;
    return hone__refuse(call, HONE_SHAPE, "the %s must have %d axes, not %s", what, rank, HONE__SHAPE_STR(s));
}

static hone_shape activation_shape(int64_t n, int64_t channels, const hone__window *w, bool in)
{
    hone_shape s = {.rank = 2 + w->axes, .dim = {n, channels}};
    for (int a = 0; a < w->axes; a++) s.dim[2 + a] = (in ? w->in : w->out)[3 - w->axes + a];
    return s;
}

static bool shape(hone__call *call)
{
    const struct conv_attr *t = call->attr;
    if (!hone__want_same_real(call, 0, 1) || !want_activation(call, 0)) return false;
    hone_shape x = call->in[0]->shape, w = call->in[1]->shape;
    hone__window window;
    if (!want_rank(call, 1, x.rank, "weight") || !want_channels(call, x.dim[1], x, w) ||
        !hone__want_window(call, &t->window, x.rank - 2, x.dim + 2, w.dim + 2, &window))
        return false;
    if (hone__has(call, 2) &&
        (!hone__want_same_real(call, 0, 2) || !hone__want_shape(call, 2, HONE_SHAPE(w.dim[0]), "bias")))
        return false;
    return hone__set_out(call, 0, call->in[0]->dtype, activation_shape(x.dim[0], w.dim[0], &window, false));
}

/* dy must be what conv gives for that x and w. */
static bool fits(hone__call *call, int i, int64_t n, int64_t o, const hone__window *window)
{
    return hone__want_shape(call, i, activation_shape(n, o, window, false), "gradient");
}

static bool input_grad_shape(hone__call *call)
{
    const struct conv_attr *t = call->attr;
    if (!hone__want_same_real(call, 0, 1) || !want_activation(call, 0)) return false;
    hone_shape dy = call->in[0]->shape, w = call->in[1]->shape;
    hone__window window;
    if (!want_rank(call, 1, dy.rank, "weight")) return false;
    int64_t c = w.dim[1] * groups_of(call);
    if (t->spatial.rank != dy.rank - 2)
        return hone__refuse(call, HONE_SHAPE, "%s are not %d spatial axes", HONE__SHAPE_STR(t->spatial), dy.rank - 2);
    if (!want_channels(call, c, dy, w) ||
        !hone__want_window(call, &t->window, dy.rank - 2, t->spatial.dim, w.dim + 2, &window) ||
        !fits(call, 0, dy.dim[0], w.dim[0], &window))
        return false;
    return hone__set_out(call, 0, call->in[0]->dtype, activation_shape(dy.dim[0], c, &window, true));
}

static bool weight_grad_shape(hone__call *call)
{
    const struct conv_attr *t = call->attr;
    if (!hone__want_same_real(call, 0, 1) || !want_activation(call, 0) || !want_activation(call, 1)) return false;
    hone_shape x = call->in[0]->shape, dy = call->in[1]->shape, w = {.rank = x.rank, .dim = {dy.dim[1]}};
    hone__window window;
    if (!want_rank(call, 1, x.rank, "gradient")) return false;
    if (t->spatial.rank != x.rank - 2)
        return hone__refuse(call, HONE_SHAPE, "%s are not %d spatial axes", HONE__SHAPE_STR(t->spatial), x.rank - 2);
    int64_t groups = groups_of(call);
    w.dim[1] = groups > 0 ? x.dim[1] / groups : 0;
    for (int a = 2; a < x.rank; a++) w.dim[a] = t->spatial.dim[a - 2];
    if (!want_channels(call, x.dim[1], x, w) ||
        !hone__want_window(call, &t->window, x.rank - 2, x.dim + 2, w.dim + 2, &window) ||
        !fits(call, 1, x.dim[0], w.dim[0], &window))
        return false;
    return hone__set_out(call, 0, call->in[0]->dtype, w) &&
           hone__set_out(call, 1, call->in[0]->dtype, HONE_SHAPE(w.dim[0]));
}

/* ---- running ---- */

typedef struct prepared {
    hone_ctx *ctx;
    hone__conv *conv;
    void *weight;      /* packed or plain; NULL: in[1] as it lies */
    size_t unused;     /* conv_weight_grad: where in scratch outputs go that nobody reads */
} prepared;

static void free_prepared(void *state)
{
    prepared *p = state;
    if (!p) return;
    hone__conv_free(p->conv);
    hone__free(p->ctx, p);
}

static bool derive_weight(hone__exec *e, prepared *p, hone__variable *w, hone_dtype compute)
{
    uint64_t layout = hone__conv_layout(p->conv);
    hone__derived *d = layout ? hone__find_derived(w, layout) : hone__derive_plain(w, compute);
    if (layout && !d) d = hone__derive_packed(w, layout, hone__conv_packed_bytes(p->conv), hone__conv_packer(p->conv));
    if (!d || !hone__plan_uses(e->plan, w, d)) return false;
    p->weight = d->data;
    return true;
}

static hone_status prepare(hone__exec *e, hone__conv_kind kind)
{
    const struct conv_attr *t = e->attr;
    const hone__call *call = e->call;
    prepared *p = hone__calloc(e->ctx, 1, sizeof *p);
    if (!p) return e->ctx->status;
    p->ctx = e->ctx;
    e->state = p;
    e->free_state = free_prepared;
    bool weights = kind == HONE__CONV_WEIGHTS;
    hone_shape x = kind == HONE__CONV_INPUT ? call->out[0].shape : call->in[0]->shape;
    hone_shape w = weights ? call->out[0].shape : call->in[1]->shape;
    hone__variable *variable = weights ? NULL : e->variable[1];
    hone__conv_desc d = {.kind = kind, .window = hone__window_of(&t->window, x.rank - 2, x.dim + 2, w.dim + 2),
                         .n = x.dim[0], .c = x.dim[1], .o = w.dim[0], .groups = groups_of(call), .type = e->in[0].dtype,
                         .result = e->out[0].dtype, .relu = t->relu,
                         .bias = weights ? t->bias : kind == HONE__CONV_FORWARD && hone__has(call, 2),
                         .packed = variable && e->plan && e->in[0].dtype != HONE_F64};
    if (!(p->conv = hone__conv_new(e->ctx, &d))) return e->ctx->status;
    e->scratch_size = hone__conv_scratch(p->conv);
    if (weights) {
        p->unused = e->scratch_size;
        e->scratch_size += hone__dtype_bytes(HONE_F64, hone_shape_count(w) + w.dim[0]);
    }
    bool plain = variable && variable->stored == d.type && !hone__conv_layout(p->conv);
    if (variable && e->plan && !plain && !derive_weight(e, p, variable, d.type)) return e->ctx->status;
    return HONE_OK;
}

static hone_status prepare_forward(hone__exec *e) { return prepare(e, HONE__CONV_FORWARD); }
static hone_status prepare_input(hone__exec *e) { return prepare(e, HONE__CONV_INPUT); }
static hone_status prepare_weights(hone__exec *e) { return prepare(e, HONE__CONV_WEIGHTS); }

static hone_status run(hone__exec *e)
{
    const prepared *p = e->state;
    hone__conv_data data = {.x = e->in[0].data, .w = p->weight ? p->weight : e->in[1].data,
                            .bias = e->n_in > 2 ? e->in[2].data : NULL, .y = e->out[0].data};
    return hone__conv_run(p->conv, &data, e->scratch);
}

static hone_status input_grad_run(hone__exec *e)
{
    const prepared *p = e->state;
    hone__conv_data data = {.x = e->out[0].data, .w = p->weight ? p->weight : e->in[1].data, .y = e->in[0].data};
    return hone__conv_run(p->conv, &data, e->scratch);
}

static hone_status weight_grad_run(hone__exec *e)
{
    const prepared *p = e->state;
    const struct conv_attr *t = e->attr;
    hone__view *dw = &e->out[0], *db = &e->out[1];
    char *unused = (char *)e->scratch + p->unused;
    char *unused_bias = unused + hone__dtype_bytes(HONE_F64, hone_shape_count(e->call->out[0].shape));
    hone__conv_data data = {.x = e->in[0].data, .w = dw->data ? dw->data : unused,
                            .bias = db->data ? db->data : unused_bias, .y = e->in[1].data};
    if (!t->bias && db->data) hone__fill_view(e, db, 0);
    return hone__conv_run(p->conv, &data, e->scratch);
}

/* ---- gradients ---- */

static hone_shape spatial_of(hone_shape s)
{
    hone_shape to = {.rank = s.rank - 2};
    for (int a = 0; a < to.rank; a++) to.dim[a] = s.dim[2 + a];
    return to;
}

static struct conv_attr linear_part(const hone__call *call)
{
    struct conv_attr t = *(const struct conv_attr *)call->attr;
    t.relu = t.bias = 0;
    t.spatial = (hone_shape){0};
    return t;
}

static hone_node *conv_of(const hone__call *call, hone_node *x, hone_node *w)
{
    struct conv_attr t = linear_part(call);
    return hone__record(call->graph, &hone__op_conv, 2, (hone_node *[]){x, w}, &t);
}

static hone_node *input_grad_of(const hone__call *call, hone_node *dy, hone_node *w, hone_shape x)
{
    struct conv_attr t = linear_part(call);
    t.spatial = spatial_of(x);
    return hone__record(call->graph, &hone__op_conv_input_grad, 2, (hone_node *[]){dy, w}, &t);
}

static hone_node *weight_grad_of(const hone__call *call, hone_node *x, hone_node *dy, hone_shape w, bool bias)
{
    struct conv_attr t = linear_part(call);
    t.spatial = spatial_of(w);
    t.bias = bias;
    return hone__record(call->graph, &hone__op_conv_weight_grad, 2, (hone_node *[]){x, dy}, &t);
}

/* Over everything but the channels. */
static hone_node *sum_of_channels(hone_node *y)
{
    hone_axes axes = {.count = y->shape.rank - 1};
    for (int a = 1; a < axes.count; a++) axes.axis[a] = a + 1;
    return hone_sum(y, axes, false);
}

static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **d)
{
    const struct conv_attr *t = call->attr;
    hone_node *x = call->in[0], *w = call->in[1], *g = t->relu ? hone__relu_grad(&call->out[0], dy[0]) : dy[0];
    bool bias = call->n_in > 2 && wanted[2];
    if (!g || (wanted[0] && !(d[0] = input_grad_of(call, g, w, x->shape)))) return false;
    if (wanted[1]) {
        if (!(d[1] = weight_grad_of(call, x, g, w->shape, bias))) return false;
        if (bias) d[2] = hone__output(d[1], 1);
    } else if (bias) {
        d[2] = sum_of_channels(g);
    }
    return !bias || d[2];
}

static bool input_grad_vjp(hone__call *call, hone_node *const *g, const bool *wanted, hone_node **d)
{
    hone_node *dy = call->in[0], *w = call->in[1];
    return (!wanted[0] || (d[0] = conv_of(call, g[0], w))) &&
           (!wanted[1] || (d[1] = weight_grad_of(call, g[0], dy, w->shape, false)));
}

static bool weight_grad_vjp(hone__call *call, hone_node *const *g, const bool *wanted, hone_node **d)
{
    const struct conv_attr *t = call->attr;
    hone_node *x = call->in[0], *dy = call->in[1], *each = NULL;
    if (wanted[0] && g[0] && !(d[0] = input_grad_of(call, dy, g[0], x->shape))) return false;
    if (!wanted[1]) return true;
    if (g[1] && t->bias) {
        hone_shape s = {.rank = dy->shape.rank};
        for (int a = 0; a < s.rank; a++) s.dim[a] = a == 1 ? dy->shape.dim[1] : 1;
        if (!(each = hone_broadcast_to(hone_reshape(g[1], s), dy->shape))) return false;
    }
    hone_node *of_w = g[0] ? conv_of(call, x, g[0]) : NULL;
    if (g[0] && !of_w) return false;
    d[1] = of_w && each ? hone_add(of_w, each) : of_w ? of_w : each;
    return true;
}

#define X(...) {.shape = {__VA_ARGS__}}
#define ONES(n) {n, {1, 1, 1}}
#define OF(...) .attr = &(struct conv_attr) { __VA_ARGS__ }
static const hone__sample samples[] = {
    {.name = "same", .n_in = 3, .in = {X(4, {2, 3, 7, 6}), X(4, {4, 3, 3, 3}), X(1, {4})},
     OF(.window = {.before = ONES(2), .after = ONES(2)})},
    {.name = "relu", .n_in = 3, .in = {X(4, {2, 3, 5, 6}), X(4, {5, 3, 3, 3}), X(1, {5})},
     OF(.window = {.before = ONES(2), .after = ONES(2)}, .relu = 1)},
    {.name = "one_axis", .n_in = 3, .in = {X(3, {2, 4, 11}), X(3, {3, 4, 4}), X(1, {3})},
     OF(.window = {.stride = {1, {2}}, .before = {1, {2}}, .after = {1, {1}}})},
    {.name = "three_axes", .n_in = 3, .in = {X(5, {2, 2, 4, 5, 3}), X(5, {3, 2, 2, 3, 2}), X(1, {3})},
     OF(.window = {.stride = {3, {1, 2, 1}}, .before = {3, {0, 1, 1}}})},
    {.name = "strided", .n_in = 2, .in = {X(4, {2, 3, 8, 9}), X(4, {4, 3, 2, 3})}, OF(.window = {.stride = {2, {3, 2}}})},
    {.name = "dilated", .n_in = 3, .in = {X(4, {1, 2, 9, 8}), X(4, {3, 2, 3, 2}), X(1, {3})},
     OF(.window = {.dilation = {2, {2, 3}}, .before = {2, {2, 0}}, .after = {2, {1, 1}}})},
    {.name = "groups", .n_in = 3, .in = {X(4, {2, 4, 5, 5}), X(4, {6, 2, 3, 3}), X(1, {6})},
     OF(.window = {.before = ONES(2)}, .groups = 2)},
    {.name = "depthwise", .n_in = 3, .in = {X(4, {2, 5, 6, 5}), X(4, {5, 1, 3, 3}), X(1, {5})},
     OF(.window = {.before = ONES(2), .after = ONES(2)}, .groups = 5)},
    {.name = "pointwise", .n_in = 2, .in = {X(4, {2, 5, 4, 3}), X(4, {7, 5, 1, 1})}},
    {.name = "channels", .n_in = 3, .in = {X(4, {3, 32, 8, 8}), X(4, {48, 32, 3, 3}), X(1, {48})},
     OF(.window = {.before = ONES(2), .after = ONES(2)}), .no_grad = true, .tolerance = 1e-4},
    {.name = "empty", .n_in = 3, .in = {X(4, {0, 3, 5, 5}), X(4, {4, 3, 3, 3}), X(1, {4})}},
    {.name = "axes", .n_in = 2, .in = {X(2, {5, 7}), X(2, {4, 7})}, .refused = "1 to 3 spatial axes"},
    {.name = "weight_axes", .n_in = 2, .in = {X(4, {1, 3, 5, 5}), X(3, {4, 3, 3})}, .refused = "must have 4 axes"},
    {.name = "channels_misfit", .n_in = 2, .in = {X(4, {1, 3, 5, 5}), X(4, {4, 2, 3, 3})}, .refused = "input has 3 channels"},
    {.name = "groups_misfit", .n_in = 2, .in = {X(4, {1, 3, 5, 5}), X(4, {4, 3, 3, 3})}, OF(.groups = 2),
     .refused = "cannot be cut into 2 groups"},
    {.name = "window", .n_in = 2, .in = {X(4, {1, 3, 2, 5}), X(4, {4, 3, 3, 3})}, .refused = "the window reaches over 3"},
    {.name = "stride_zero", .n_in = 2, .in = {X(4, {1, 3, 5, 5}), X(4, {4, 3, 3, 3})}, OF(.window = {.stride = {2, {1, 0}}}),
     .refused = "stride [1, 0]: each must be at least 1"},
    {.name = "bias_size", .n_in = 3, .in = {X(4, {1, 3, 5, 5}), X(4, {4, 3, 3, 3}), X(1, {3})}, .refused = "bias must be [4]"},
    {0}};
static const hone__sample input_samples[] = {
    {.name = "uneven", .n_in = 2, .in = {X(4, {2, 4, 3, 3}), X(4, {4, 3, 3, 2})},
     OF(.window = {.stride = {2, {2, 2}}, .before = ONES(2)}, .spatial = {2, {7, 6}})},
    {.name = "groups", .n_in = 2, .in = {X(3, {2, 4, 5}), X(3, {4, 3, 3})}, OF(.groups = 2, .spatial = {1, {7}})},
    {.name = "misfit", .n_in = 2, .in = {X(4, {2, 4, 3, 3}), X(4, {4, 3, 3, 2})}, OF(.spatial = {2, {7, 6}}),
     .refused = "the gradient must be"},
    {0}};
static const hone__sample weight_samples[] = {
    {.name = "bias", .n_in = 2, .in = {X(4, {2, 3, 7, 6}), X(4, {2, 4, 3, 3})},
     OF(.window = {.stride = {2, {2, 2}}, .before = ONES(2)}, .spatial = {2, {3, 2}}, .bias = 1)},
    {.name = "groups", .n_in = 2, .in = {X(3, {9, 4, 7}), X(3, {9, 6, 5})}, OF(.groups = 2, .spatial = {1, {3}}, .bias = 1)},
    {.name = "misfit", .n_in = 2, .in = {X(4, {2, 3, 7, 6}), X(4, {2, 4, 3, 3})}, OF(.spatial = {2, {3, 2}}),
     .refused = "the gradient must be"},
    {0}};

const hone_op hone__op_conv = {.name = "conv", .doc = "y = relu(x * w + bias), cross-correlation over 1 to 3 spatial axes",
                               .n_in = 3, .n_required = 2, .n_out = 1, .flags = HONE__COMPUTE | HONE__BY_THREADS, .keep_in = 4, .raw_in = 2,
                               .last_in = 1, .last_out = 1, .attr_size = sizeof(struct conv_attr), .attrs = attrs,
                               .shape = shape, .prepare = prepare_forward, .run = run, .vjp = vjp, .samples = samples};
const hone_op hone__op_conv_input_grad = {.name = "conv_input_grad", .doc = "dx of conv, from dy and w: a transposed convolution",
                                          .n_in = 2, .n_out = 1, .flags = HONE__COMPUTE | HONE__BY_THREADS, .raw_in = 2, .last_in = 1,
                                          .last_out = 1, .attr_size = sizeof(struct conv_attr), .attrs = grad_attrs,
                                          .shape = input_grad_shape, .prepare = prepare_input, .run = input_grad_run,
                                          .vjp = input_grad_vjp, .samples = input_samples};
const hone_op hone__op_conv_weight_grad = {.name = "conv_weight_grad", .doc = "dw, and dbias where it is asked for, of conv",
                                           .n_in = 2, .n_out = 2, .flags = HONE__COMPUTE | HONE__BY_THREADS, .keep_out = 3,
                                           .last_in = 3, .attr_size = sizeof(struct conv_attr), .attrs = grad_attrs,
                                           .shape = weight_grad_shape, .prepare = prepare_weights, .run = weight_grad_run,
                                           .vjp = weight_grad_vjp, .samples = weight_samples};

hone_node *hone_conv_opt(hone_node *x, hone_node *w, hone_node *bias, const hone_conv_opts *opts)
{
    if (!x || !w) return NULL;
    const hone_conv_opts o = opts ? *opts : (hone_conv_opts){0};
    struct conv_attr t = {.groups = o.groups, .relu = o.activation == HONE_RELU};
    int axes = HONE_MIN(HONE_MIN(x->shape.rank, w->shape.rank) - 2, 3); /* the op refuses what does not fit */
    if (axes > 0 && !hone__window_options(x->call->graph->ctx, "conv", axes, x->shape.dim + 2, w->shape.dim + 2, o.stride,
                                          o.dilation, o.padding, o.pad_before, o.pad_after, &t.window))
        return NULL;
    hone_node *y = hone__record(x->call->graph, &hone__op_conv, bias ? 3 : 2, (hone_node *[]){x, w, bias}, &t);
    return t.relu ? y : hone_activate(y, o.activation);
}

/* y's spatial axes, with the padding that HONE_SAME asks for. */
static bool transposed_window(hone_node *x, hone_node *w, const hone_conv_transpose_opts *o, int axes, struct conv_attr *t)
{
    hone_ctx *ctx = x->call->graph->ctx;
    enum { LARGEST = 1 << 24 }; /* no size that follows overflows */
    const int64_t none[3] = {0};
    if (!hone__window_options(ctx, "conv_transpose", axes, none, none, o->stride, o->dilation, HONE_VALID, o->pad_before,
                              o->pad_after, &t->window))
        return false;
    t->spatial.rank = axes;
    for (int a = 0; a < axes; a++) {
        int64_t stride = t->window.stride.dim[a], dilation = t->window.dilation.dim[a], kernel = w->shape.dim[2 + a];
        int64_t *before = &t->window.before.dim[a], *after = &t->window.after.dim[a], more = o->output_padding[a];
        const int64_t sizes[] = {stride, dilation, kernel, *before, *after, more, x->shape.dim[2 + a]};
        for (size_t i = 0; i < HONE_ARRAY_LEN(sizes); i++)
            if (sizes[i] < 0 || sizes[i] > LARGEST) {
                hone__fail(ctx, HONE_INVALID, "conv_transpose: a stride, dilation, padding or size of %lld", (long long)sizes[i]);
                return false;
            }
        int64_t reach = dilation * (kernel - 1) + 1;
        if (o->padding == HONE_SAME) {
            if (*before || *after || more) {
                hone__fail(ctx, HONE_INVALID, "conv_transpose: padding is either HONE_SAME or given, not both");
                return false;
            }
            *before = HONE_MAX(reach - stride, 0) / 2;
            *after = HONE_MAX(reach - stride, 0) - *before;
            more = HONE_MAX(stride - reach, 0);
        }
        t->spatial.dim[a] = (x->shape.dim[2 + a] - 1) * stride - *before - *after + reach + more;
        if (more >= HONE_MAX(stride, dilation) && more > 0) {
            hone__fail(ctx, HONE_INVALID, "conv_transpose: output_padding %lld must be smaller than stride or dilation", (long long)more);
            return false;
        }
        if (x->shape.dim[2 + a] < 1 || t->spatial.dim[a] < 1) {
            hone__fail(ctx, HONE_SHAPE, "conv_transpose: spatial axis %d of %s would have %lld positions", a, HONE__SHAPE_STR(x->shape),
                       (long long)t->spatial.dim[a]);
            return false;
        }
    }
    return true;
}

hone_node *hone_conv_transpose_opt(hone_node *x, hone_node *w, hone_node *bias, const hone_conv_transpose_opts *opts)
{
    if (!x || !w) return NULL;
    const hone_conv_transpose_opts o = opts ? *opts : (hone_conv_transpose_opts){0};
    struct conv_attr t = {.groups = o.groups};
    int axes = HONE_MIN(HONE_MIN(x->shape.rank, w->shape.rank) - 2, 3); /* the op refuses what does not fit */
    if (axes > 0 && !transposed_window(x, w, &o, axes, &t)) return NULL;
    hone_node *y = hone__record(x->call->graph, &hone__op_conv_input_grad, 2, (hone_node *[]){x, w}, &t);
    if (y && bias) {
        hone_shape s = {.rank = y->shape.rank};
        for (int a = 0; a < s.rank; a++) s.dim[a] = a == 1 ? y->shape.dim[1] : 1;
        y = hone_add(y, hone_reshape(bias, s));
    }
    return hone_activate(y, o.activation);
}
