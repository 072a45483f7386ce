/* Layers that lay out, cut, join or mask, and those of a user's function. */
#include "nn/nn.h"

typedef struct shaping {
    hone_layer base;
    hone_shape before, after; /* padding and cropping; reshape: the target */
    hone_axes order;
    int axis;
    bool normalize;
    double rate;
    hone_lambda_fn fn;
    void *user;
} shaping;

static shaping *make(hone_ctx *ctx, const char *type, hone_layer_fn forward)
{
    return (shaping *)(void *)hone_layer_new(ctx, sizeof(shaping), type, forward);
}

static hone_node *wants(hone_layer *self, hone_graph *graph, const hone_node *x, const char *what)
{
    hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': %s, the input is %s", self->type, graph->scope, what, HONE__SHAPE_STR(x->shape));
    return NULL;
}

/* A layer without options after which positions are where they were. */
static hone_layer *plain(hone_ctx *ctx, const char *type, hone_layer_fn forward)
{
    hone_layer *layer = hone_layer_new(ctx, sizeof *layer, type, forward);
    if (layer) layer->keeps_lengths = true;
    return layer;
}

/* ---- layout ---- */

static hone_node *reshape_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    hone_shape target = ((shaping *)(void *)self)->before, to = {.rank = target.rank + 1};
    (void)n;
    if (in[0]->shape.rank < 1) return wants(self, graph, in[0], "needs a batch axis");
    to.dim[0] = in[0]->shape.dim[0];
    for (int d = 0; d < target.rank; d++) to.dim[d + 1] = target.dim[d];
    return hone_reshape(in[0], to);
}
hone_layer *hone_reshape_layer(hone_ctx *ctx, hone_shape shape)
{
    if (!hone__ok(ctx)) return NULL;
    if (shape.rank < 0 || shape.rank >= HONE_MAX_RANK) {
        hone__fail(ctx, HONE_INVALID, "reshape: at most %d axes besides the batch", HONE_MAX_RANK - 1);
        return NULL;
    }
    shaping *l = make(ctx, "reshape", reshape_forward);
    if (l) l->before = shape;
    return l ? &l->base : NULL;
}

static hone_node *permute_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    hone_axes order = ((shaping *)(void *)self)->order, all = {.count = order.count + 1};
    (void)n;
    if (in[0]->shape.rank != all.count) return wants(self, graph, in[0], "the order must name every axis but the batch's");
    for (int d = 0; d < order.count; d++) all.axis[d + 1] = order.axis[d];
    hone_node *y = hone_transpose(in[0], all);
    for (int d = 1; d < all.count && y && in[0]->lengths; d++)
        if (all.axis[d] == in[0]->time) y->lengths = in[0]->lengths, y->time = d;
    return y;
}
hone_layer *hone_permute_layer(hone_ctx *ctx, hone_axes order)
{
    if (!hone__ok(ctx)) return NULL;
    bool good = order.count >= 1 && order.count < HONE_MAX_RANK;
    for (int d = 0; d < order.count && good; d++) good = order.axis[d] >= 1 && order.axis[d] <= order.count;
    if (!good) {
        hone__fail(ctx, HONE_INVALID, "permute: the order must hold each axis from 1 on once");
        return NULL;
    }
    shaping *l = make(ctx, "permute", permute_forward);
    if (l) l->order = order;
    return l ? &l->base : NULL;
}

/* ---- borders ---- */

static hone_node *zero_padding_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    const shaping *l = (const shaping *)(const void *)self;
    hone_shape x = in[0]->shape, before = {.rank = x.rank}, after = before;
    (void)n;
    if (x.rank != l->before.rank + 2) return wants(self, graph, in[0], "must be [N, channels, and an axis for each entry]");
    for (int d = 2; d < x.rank; d++) before.dim[d] = l->before.dim[d - 2], after.dim[d] = l->after.dim[d - 2];
    return hone_pad(in[0], before, after, 0);
}

static hone_node *cropping_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    const shaping *l = (const shaping *)(const void *)self;
    hone_node *y = in[0];
    (void)n;
    if (y->shape.rank != l->before.rank + 2) return wants(self, graph, y, "must be [N, channels, and an axis for each entry]");
    for (int d = 2; d < in[0]->shape.rank && y; d++) {
        int64_t size = y->shape.dim[d], from = l->before.dim[d - 2], to = size - l->after.dim[d - 2];
        if (from >= to) return wants(self, graph, in[0], "nothing would be left");
        if (from > 0 || to < size) y = hone_slice(y, d, from, to, 1);
    }
    return y;
}

static hone_layer *borders(hone_ctx *ctx, const char *type, hone_layer_fn forward, hone_shape before, hone_shape after)
{
    if (!hone__ok(ctx)) return NULL;
    bool good = before.rank == after.rank && before.rank >= 1 && before.rank <= 3;
    for (int d = 0; d < before.rank && good; d++) good = before.dim[d] >= 0 && after.dim[d] >= 0;
    if (!good) {
        hone__fail(ctx, HONE_INVALID, "%s: before and after must hold 1 to 3 sizes each, none negative, not %s and %s", type,
                   HONE__SHAPE_STR(before), HONE__SHAPE_STR(after));
        return NULL;
    }
    shaping *l = make(ctx, type, forward);
    if (l) l->before = before, l->after = after;
    return l ? &l->base : NULL;
}
hone_layer *hone_zero_padding(hone_ctx *ctx, hone_shape before, hone_shape after)
{
    return borders(ctx, "zero_padding", zero_padding_forward, before, after);
}
hone_layer *hone_cropping(hone_ctx *ctx, hone_shape before, hone_shape after)
{
    return borders(ctx, "cropping", cropping_forward, before, after);
}

/* ---- channels ---- */

static hone_shape per_channel(hone_shape x, bool each_sample)
{
    hone_shape s = {.rank = x.rank};
    for (int d = 0; d < x.rank; d++) s.dim[d] = d == 1 || (d == 0 && each_sample) ? x.dim[d] : 1;
    return s;
}

static hone_node *spatial_dropout_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    double rate = ((shaping *)(void *)self)->rate;
    (void)n;
    if (in[0]->shape.rank < 2) return wants(self, graph, in[0], "must be [N, channels, ...]");
    if (rate == 0 || hone_graph_mode(graph) != HONE_TRAIN) return in[0];
    return hone_mul(in[0], hone_dropout(hone_fill(graph, in[0]->dtype, per_channel(in[0]->shape, true), 1), rate));
}
hone_layer *hone_spatial_dropout(hone_ctx *ctx, double rate)
{
    if (!hone__ok(ctx)) return NULL;
    if (!(rate >= 0 && rate < 1)) {
        hone__fail(ctx, HONE_INVALID, "spatial_dropout: the rate must be in [0, 1), not %g", rate);
        return NULL;
    }
    shaping *l = make(ctx, "spatial_dropout", spatial_dropout_forward);
    if (l) l->rate = rate, l->base.keeps_lengths = true;
    return l ? &l->base : NULL;
}

static hone_node *prelu_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)n;
    if (in[0]->shape.rank < 2) return wants(self, graph, in[0], "must be [N, channels, ...]");
    hone_node *w = hone_weight(self, graph, "weight", HONE_SHAPE(in[0]->shape.dim[1]), HONE_INIT_ZEROS);
    return hone_sub(hone_relu(in[0]), hone_mul(hone_relu(hone_neg(in[0])), hone_reshape(w, per_channel(in[0]->shape, false))));
}
hone_layer *hone_prelu(hone_ctx *ctx) { return plain(ctx, "prelu", prelu_forward); }

/* ---- several inputs ---- */

static hone_node *concatenate_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)graph;
    return hone_concatenate(n, in, ((shaping *)(void *)self)->axis);
}
hone_layer *hone_concatenate_layer(hone_ctx *ctx, int axis)
{
    shaping *l = make(ctx, "concatenate", concatenate_forward);
    if (l) l->axis = axis;
    return l ? &l->base : NULL;
}

/* Which op takes one input after the other. */
static const struct merge {
    const char *type;
    hone_node *(*two)(hone_node *a, hone_node *b);
} merges[] = {{"add", hone_add},         {"multiply", hone_mul},    {"average", hone_add},
              {"maximum", hone_maximum}, {"minimum", hone_minimum}, {"subtract", hone_sub}};

static hone_node *merge_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    const struct merge *m = merges;
    while (strcmp(m->type, self->type) != 0) m++;
    if (m->two == hone_sub && n != 2) return wants(self, graph, in[0], "needs two inputs");
    hone_node *y = in[0];
    for (int i = 1; i < n; i++) y = m->two(y, in[i]);
    return !strcmp(m->type, "average") && n > 1 ? hone_affine(y, 1.0 / n, 0) : y;
}
hone_layer *hone_add_layer(hone_ctx *ctx) { return plain(ctx, "add", merge_forward); }
hone_layer *hone_multiply_layer(hone_ctx *ctx) { return plain(ctx, "multiply", merge_forward); }
hone_layer *hone_average_layer(hone_ctx *ctx) { return plain(ctx, "average", merge_forward); }
hone_layer *hone_maximum_layer(hone_ctx *ctx) { return plain(ctx, "maximum", merge_forward); }
hone_layer *hone_minimum_layer(hone_ctx *ctx) { return plain(ctx, "minimum", merge_forward); }
hone_layer *hone_subtract_layer(hone_ctx *ctx) { return plain(ctx, "subtract", merge_forward); }

/* x [B, ...] as rows [B, others, length of the axis]; false: it has no such axis. */
static bool rows_along(hone_node *x, int axis, bool normalize, hone_node **rows, hone_shape *others)
{
    hone_shape s = x->shape;
    if (axis < 0) axis += s.rank;
    if (axis < 1 || axis >= s.rank) return false;
    hone_axes order = {.count = s.rank};
    *others = (hone_shape){.rank = s.rank - 2};
    for (int d = 0, to = 0; d < s.rank; d++)
        if (d != axis) order.axis[to++] = d;
    order.axis[s.rank - 1] = axis;
    for (int d = 0; d < others->rank; d++) others->dim[d] = s.dim[order.axis[d + 1]];
    *rows = hone_reshape(hone_transpose(x, order), HONE_SHAPE(s.dim[0], hone_shape_count(*others), s.dim[axis]));
    if (normalize && *rows) {
        hone_node *least = hone_fill(hone_node_graph(x), x->dtype, HONE_SCALAR, 1e-7);
        *rows = hone_div(*rows, hone_maximum(hone_norm(*rows, HONE_AXES(-1), true), least));
    }
    return true;
}

static hone_node *dot_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    const shaping *l = (const shaping *)(const void *)self;
    hone_node *rows[2] = {0}, *y;
    hone_shape others[2], out = {.rank = 1, .dim = {in[0]->shape.rank ? in[0]->shape.dim[0] : 0}};
    if (n != 2) return wants(self, graph, in[0], "needs two inputs");
    for (int i = 0; i < 2; i++) {
        if (!rows_along(in[i], l->order.axis[l->order.count == 2 ? i : 0], l->normalize, &rows[i], &others[i]))
            return wants(self, graph, in[i], "has no such axis besides the batch's");
        if (out.rank + others[i].rank > HONE_MAX_RANK) return wants(self, graph, in[i], "the result would have too many axes");
        for (int d = 0; d < others[i].rank; d++) out.dim[out.rank++] = others[i].dim[d];
    }
    if (!rows[0] || !rows[1]) return NULL;
    if (!hone_shape_equal(HONE_SHAPE(rows[0]->shape.dim[0], rows[0]->shape.dim[2]), HONE_SHAPE(rows[1]->shape.dim[0], rows[1]->shape.dim[2])))
        return wants(self, graph, in[1], "must have as many examples as the first input, and as long an axis");
    if (out.rank == 1) out.dim[out.rank++] = 1;
    if (rows[0]->shape.dim[1] == 1 && rows[1]->shape.dim[1] == 1)
        y = hone_sum(hone_mul(rows[0], rows[1]), HONE_AXES(-1), false);
    else
        y = hone_matmul(rows[0], rows[1], .transpose_b = true);
    return hone_reshape(y, out);
}
hone_layer *hone_dot_layer(hone_ctx *ctx, hone_axes axes, bool normalize)
{
    if (!hone__ok(ctx)) return NULL;
    if (axes.count < 1 || axes.count > 2 || axes.axis[0] == 0 || (axes.count == 2 && axes.axis[1] == 0)) {
        hone__fail(ctx, HONE_INVALID, "dot: axes are one or two, not the batch's, which is 0");
        return NULL;
    }
    shaping *l = make(ctx, "dot", dot_forward);
    if (l) l->order = axes, l->normalize = normalize;
    return l ? &l->base : NULL;
}

static hone_node *lambda_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    const shaping *l = (const shaping *)(const void *)self;
    return l->fn(l->user, graph, in, n);
}
hone_layer *hone_lambda(hone_ctx *ctx, hone_lambda_fn fn, void *user)
{
    if (!hone__ok(ctx)) return NULL;
    if (!fn) {
        hone__fail(ctx, HONE_INVALID, "lambda: needs a function");
        return NULL;
    }
    shaping *l = make(ctx, "lambda", lambda_forward);
    if (l) l->fn = fn, l->user = user;
    return l ? &l->base : NULL;
}

/* ---- made again ---- */

/* Those without options. */
static hone_layer *plain_again(hone_ctx *ctx, const hone_layer *like)
{
    return plain(ctx, like->type, !strcmp(like->type, "prelu") ? prelu_forward : merge_forward);
}
static hone_layer *shaping_again(hone_ctx *ctx, const hone_layer *like)
{
    const shaping *l = (const shaping *)(const void *)like;
    if (!strcmp(like->type, "reshape")) return hone_reshape_layer(ctx, l->before);
    if (!strcmp(like->type, "permute")) return hone_permute_layer(ctx, l->order);
    if (!strcmp(like->type, "zero_padding")) return hone_zero_padding(ctx, l->before, l->after);
    if (!strcmp(like->type, "cropping")) return hone_cropping(ctx, l->before, l->after);
    if (!strcmp(like->type, "dot")) return hone_dot_layer(ctx, l->order, l->normalize);
    if (!strcmp(like->type, "concatenate")) return hone_concatenate_layer(ctx, l->axis);
    return hone_spatial_dropout(ctx, l->rate);
}
static const hone__field reshape_fields[] = {HONE__FIELD(shaping, "shape", before, SHAPE), {0}};
static const hone__field permute_fields[] = {HONE__FIELD(shaping, "order", order, AXES), {0}};
static const hone__field border_fields[] = {HONE__FIELD(shaping, "before", before, SHAPE), HONE__FIELD(shaping, "after", after, SHAPE), {0}};
static const hone__field dot_fields[] = {HONE__FIELD(shaping, "axes", order, AXES), HONE__FIELD(shaping, "normalize", normalize, BOOL), {0}};
static const hone__field axis_field[] = {HONE__FIELD(shaping, "axis", axis, INT), {0}};
static const hone__field rate_field[] = {HONE__FIELD(shaping, "rate", rate, F64), {0}};
const hone__layer_kind hone__prelu_kind = {"prelu", prelu_forward, sizeof(hone_layer), NULL, plain_again};
#define MERGE(name) const hone__layer_kind hone__##name##_kind = {#name, merge_forward, sizeof(hone_layer), NULL, plain_again}
MERGE(add);
MERGE(multiply);
MERGE(average);
MERGE(maximum);
MERGE(minimum);
MERGE(subtract);
#define KIND(name, fields) const hone__layer_kind hone__##name##_kind = {#name, name##_forward, sizeof(shaping), fields, shaping_again}
KIND(concatenate, axis_field);
KIND(dot, dot_fields);
KIND(spatial_dropout, rate_field);
KIND(reshape, reshape_fields);
KIND(permute, permute_fields);
KIND(zero_padding, border_fields);
KIND(cropping, border_fields);
