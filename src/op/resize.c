/* Resizing of spatial axes, channels last. Along each axis it is a linear map of few weights, which depend on the sizes alone: a list
   for each output. The gradient is the same with the lists of the transposed map, so every element is one thread's sum in a fixed
   order. */
#include "op/nn.h"

#include <math.h>

struct resize_attr {
    hone_shape spatial; /* of the result; of a gradient: those of what was resized */
    int mode;           /* hone_resize_mode */
    bool align_corners;
    double scale[3]; /* by spatial axis; 0: the sizes' ratio */
};
#define SCALE(name, i) {name, HONE__ATTR_F64, offsetof(struct resize_attr, scale) + (i) * sizeof(double)}
static const hone__attr attrs[] = {HONE__ATTR(struct resize_attr, spatial, SHAPE), HONE__ATTR(struct resize_attr, mode, INT),
                                   HONE__ATTR(struct resize_attr, align_corners, BOOL), SCALE("scale0", 0), SCALE("scale1", 1),
                                   SCALE("scale2", 2), {0}};
static const char *const mode_names[] = {"nearest", "linear", "cubic", "area"};
enum { LARGEST = 1 << 24 }; /* positions of an axis */

static hone_shape spatial_of(hone_shape s)
{
    hone_shape to = {.rank = s.rank - 2};
    for (int a = 0; a < to.rank; a++) to.dim[a] = s.dim[2 + a];
    return to;
}

static bool resized_shape(hone__call *call)
{
    const struct resize_attr *t = call->attr;
    hone_shape x = call->in[0]->shape, y = x;
    if (!hone__want_real(call, 0)) return false;
    if (x.rank < 3 || x.rank > 5)
        return hone__refuse(call, HONE_SHAPE, "the input must be [N, channels, spatial...] with 1 to 3 spatial axes, not %s",
                            HONE__SHAPE_STR(x));
    if (t->spatial.rank != x.rank - 2)
        return hone__refuse(call, HONE_SHAPE, "sizes %s for %d spatial axes (input shape %s)", HONE__SHAPE_STR(t->spatial), x.rank - 2,
                            HONE__SHAPE_STR(x));
    for (int a = 0; a < x.rank - 2; a++) {
        if (x.dim[2 + a] < 1 || x.dim[2 + a] > LARGEST || t->spatial.dim[a] < 1 || t->spatial.dim[a] > LARGEST)
            return hone__refuse(call, HONE_SHAPE, "from %s to the sizes %s: each spatial axis must have 1 to 2^24 positions",
                                HONE__SHAPE_STR(x), HONE__SHAPE_STR(t->spatial));
        if (!(t->scale[a] >= 0 && isfinite(t->scale[a])))
            return hone__refuse(call, HONE_INVALID, "the scale %g must be positive", t->scale[a]);
        y.dim[2 + a] = t->spatial.dim[a];
    }
    if (t->mode < HONE_RESIZE_NEAREST || t->mode > HONE_RESIZE_AREA) return hone__refuse(call, HONE_INVALID, "no mode %d", t->mode);
    if (t->align_corners && t->mode != HONE_RESIZE_LINEAR && t->mode != HONE_RESIZE_CUBIC)
        return hone__refuse(call, HONE_INVALID, "align_corners is for linear and cubic, not for %s", mode_names[t->mode]);
    if (t->mode == HONE_RESIZE_CUBIC && x.rank != 4)
        return hone__refuse(call, HONE_SHAPE, "cubic is for 2 spatial axes, not for %s", HONE__SHAPE_STR(x));
    return hone__set_out(call, 0, call->in[0]->dtype, y);
}

/* ---- weights ---- */

/* Where output o lies between the inputs, in their distances. */
static double source_of(int64_t o, int64_t in, int64_t out, bool align_corners, double scale)
{
    if (align_corners) return out > 1 ? (double)o * (double)(in - 1) / (double)(out - 1) : 0;
    double step = scale > 0 ? 1 / scale : (double)in / (double)out;
    return ((double)o + 0.5) * step - 0.5;
}

/* Keys' kernel of 1981 with a = -0.75 at a distance from 0 to 2. */
static double cubic(double away)
{
    const double a = -0.75;
    if (away <= 1) return ((a + 2) * away - (a + 3)) * away * away + 1;
    return ((a * away - 5 * a) * away + 8 * a) * away - 4 * a;
}

/* The most weights that an axis has: each output has so many, or, of means, those of neighbours share a border. */
static int64_t most_weights(const struct resize_attr *t, int64_t in, int64_t out)
{
    static const int64_t each[] = {1, 2, 4};
    return t->mode == HONE_RESIZE_AREA ? in + 2 * out : each[t->mode] * out;
}

static void append(hone__resize_axis *x, int32_t *n, int64_t at, double weight)
{
    x->at[*n] = (int32_t)at;
    x->weight[(*n)++] = weight;
}

/* The weights of output o of `out`, as PyTorch has them, behind the n that are there. */
static void append_weights(const struct resize_attr *t, int axis, int64_t o, hone__resize_axis *x, int32_t *n)
{
    int64_t in = x->from, out = x->to;
    double scale = t->scale[axis];
    if (t->mode == HONE_RESIZE_NEAREST) {
        int64_t at = scale > 0 ? (int64_t)fmin((double)o / scale, (double)(in - 1)) : o * in / out;
        append(x, n, at, 1);
    } else if (t->mode == HONE_RESIZE_LINEAR) {
        double from = fmax(source_of(o, in, out, t->align_corners, scale), 0);
        int64_t at = HONE_MIN((int64_t)from, in - 1);
        double share = fmin(from - (double)at, 1);
        append(x, n, at, 1 - share);
        append(x, n, HONE_MIN(at + 1, in - 1), share);
    } else if (t->mode == HONE_RESIZE_CUBIC) {
        double from = source_of(o, in, out, t->align_corners, scale), below = floor(from);
        for (int k = -1; k <= 2; k++)
            append(x, n, HONE_MIN(HONE_MAX((int64_t)below + k, 0), in - 1), cubic(fabs(from - below - k)));
    } else { /* the inputs in [o in / out, (o + 1) in / out), rounded outwards */
        int64_t begin = o * in / out, end = ((o + 1) * in + out - 1) / out;
        for (int64_t i = begin; i < end; i++) append(x, n, i, 1 / (double)(end - begin));
    }
}

/* A map with room for so many weights; its memory begins at `first`. false: memory ran out. */
static bool new_axis(hone_ctx *ctx, int64_t from, int64_t to, int64_t most, hone__resize_axis *x)
{
    size_t firsts = hone__align((size_t)(to + 1) * sizeof *x->first), ats = hone__align((size_t)most * sizeof *x->at);
    char *memory = hone__calloc(ctx, 1, firsts + ats + (size_t)most * sizeof *x->weight);
    if (!memory) return false;
    *x = (hone__resize_axis){from, to, (void *)memory, (void *)(memory + firsts), (void *)(memory + firsts + ats)};
    return true;
}

/* axis < 0: one that the user does not have. */
static bool make_axis(hone_ctx *ctx, const struct resize_attr *t, int axis, int64_t in, int64_t out, hone__resize_axis *x)
{
    bool same = axis < 0 || (in == out && (t->mode != HONE_RESIZE_CUBIC || t->scale[axis] == 0 || t->align_corners)); /* as in PyTorch */
    int32_t n = 0;
    if (!new_axis(ctx, in, out, same ? out : most_weights(t, in, out), x)) return false;
    for (int64_t o = 0; o < out; o++) {
        if (same)
            append(x, &n, o, 1);
        else
            append_weights(t, axis, o, x, &n);
        x->first[o + 1] = n;
    }
    return true;
}

/* x becomes the map of the other direction: an input's weights in the order of the outputs. */
static bool transpose(hone_ctx *ctx, hone__resize_axis *x)
{
    hone__resize_axis back;
    if (!new_axis(ctx, x->to, x->from, x->first[x->to], &back)) return false;
    for (int32_t i = 0; i < x->first[x->to]; i++) back.first[x->at[i] + 1]++;
    for (int64_t i = 0; i < x->from; i++) back.first[i + 1] += back.first[i];
    for (int64_t o = 0; o < x->to; o++)
        for (int32_t i = x->first[o]; i < x->first[o + 1]; i++) append(&back, &back.first[x->at[i]], o, x->weight[i]);
    memmove(back.first + 1, back.first, (size_t)x->from * sizeof *back.first); /* each had moved on to where the next begins */
    back.first[0] = 0;
    hone__free(ctx, x->first);
    *x = back;
    return true;
}

/* ---- running ---- */

/* What a plan keeps: the maps, and how tasks are cut. */
typedef struct state {
    hone_ctx *ctx;
    hone__resizing r;
    int64_t tasks;
    size_t slot_bytes;
} state;

static void free_state(void *arg)
{
    state *s = arg;
    for (int a = 0; a < 3; a++) hone__free(s->ctx, s->r.axis[a].first);
    hone__free(s->ctx, s);
}

static int64_t grain(const hone__resizing *r)
{
    return HONE__GRAIN / 4 / HONE_MAX(HONE_MAX(r->axis[2].from, r->axis[2].to) * r->chunk, 1) + 1;
}

/* A task's row stays in the second cache; there are enough tasks for all threads. */
static void cut(state *s, int64_t pictures)
{
    enum { NEAR = 1 << 18, LEAST = 64 }; /* bytes; channels */
    hone__resizing *r = &s->r;
    int64_t rows = pictures * r->axis[0].to * r->axis[1].to, line = r->axis[2].from * (int64_t)sizeof(double);
    r->chunk = r->c;
    while (r->chunk >= 2 * LEAST && (r->chunk * line > NEAR || rows * hone__resize_pieces(r) < 2 * s->ctx->threads))
        r->chunk = (r->chunk / 2 + LEAST - 1) / LEAST * LEAST;
    s->tasks = rows * hone__resize_pieces(r);
    s->slot_bytes = hone__align((size_t)(r->chunk * line));
}

static hone_status prepare_any(hone__exec *e, bool backward)
{
    const struct resize_attr *t = e->attr;
    hone_shape from = e->call->in[0]->shape, to = e->call->out[0].shape;
    state *s = hone__calloc(e->ctx, 1, sizeof *s);
    if (!s) return HONE_MEMORY;
    e->state = s;
    e->free_state = free_state;
    s->ctx = e->ctx;
    s->r.c = from.dim[1];
    for (int a = 0; a < 3; a++) {
        int own = a - (5 - from.rank);
        int64_t in = own < 0 ? 1 : (backward ? to : from).dim[2 + own], out = own < 0 ? 1 : (backward ? from : to).dim[2 + own];
        hone__resize_axis *x = &s->r.axis[a];
        if (!make_axis(e->ctx, t, own, in, out, x) || (backward && !transpose(e->ctx, x))) return HONE_MEMORY;
    }
    cut(s, from.dim[0]);
    e->scratch_size = s->slot_bytes * (size_t)hone__slots(e->ctx, s->tasks, grain(&s->r));
    return HONE_OK;
}
static hone_status prepare(hone__exec *e) { return prepare_any(e, false); }
static hone_status grad_prepare(hone__exec *e) { return prepare_any(e, true); }

typedef struct job {
    const hone__exec *e;
    hone__resizing r;
    size_t slot_bytes;
} job;

static void part(void *arg, int slot, int64_t begin, int64_t end)
{
    const job *j = arg;
    j->e->k->resize(&j->r, begin, end, (char *)j->e->scratch + (size_t)slot * j->slot_bytes);
}

static hone_status run(hone__exec *e)
{
    const state *s = e->state;
    job j = {e, s->r, s->slot_bytes};
    j.r.x = e->in[0].data, j.r.xt = e->in[0].dtype;
    j.r.y = e->out[0].data, j.r.yt = e->out[0].dtype;
    hone__slots_run(e->ctx, s->tasks, grain(&j.r), part, &j);
    return HONE_OK;
}

/* ---- gradients: each op is the other's ---- */

static bool other(hone__call *call, const hone_op *op, hone_node *dy, hone_node **dx)
{
    struct resize_attr t = *(const struct resize_attr *)call->attr;
    t.spatial = spatial_of(call->in[0]->shape);
    return (dx[0] = hone__record(call->graph, op, 1, &dy, &t)) != NULL;
}
static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    (void)wanted;
    return other(call, &hone__op_resize_grad, dy[0], dx);
}
static bool grad_vjp(hone__call *call, hone_node *const *g, const bool *wanted, hone_node **d)
{
    (void)wanted;
    return other(call, &hone__op_resize, g[0], d);
}

#define X(...) {.shape = {__VA_ARGS__}}
#define OF(...) .attr = &(struct resize_attr) { __VA_ARGS__ }
#define SAMPLE(name_, mode_, in_, ...) {.name = name_, .n_in = 1, .in = {X in_}, OF(.mode = HONE_RESIZE_##mode_, __VA_ARGS__)}
static const hone__sample samples[] = {
    SAMPLE("nearest", NEAREST, (4, {2, 3, 4, 5}), .spatial = {2, {8, 15}}),
    SAMPLE("nearest_fewer", NEAREST, (4, {2, 3, 7, 9}), .spatial = {2, {3, 5}}),
    SAMPLE("nearest_scale", NEAREST, (3, {2, 3, 5}), .spatial = {1, {8}}, .scale = {1.7}),
    SAMPLE("nearest_three_axes", NEAREST, (5, {1, 2, 2, 3, 4}), .spatial = {3, {4, 3, 6}}),
    SAMPLE("one_axis", LINEAR, (3, {2, 3, 5}), .spatial = {1, {9}}),
    SAMPLE("one_axis_corners", LINEAR, (3, {2, 3, 5}), .spatial = {1, {13}}, .align_corners = true),
    SAMPLE("linear", LINEAR, (4, {2, 3, 4, 5}), .spatial = {2, {8, 10}}),
    SAMPLE("linear_corners", LINEAR, (4, {2, 3, 4, 5}), .spatial = {2, {7, 1}}, .align_corners = true),
    SAMPLE("linear_fewer", LINEAR, (4, {2, 3, 9, 8}), .spatial = {2, {4, 3}}),
    SAMPLE("linear_scale", LINEAR, (4, {1, 3, 5, 4}), .spatial = {2, {9, 4}}, .scale = {1.9, 1.2}),
    SAMPLE("linear_vectors", LINEAR, (4, {2, 37, 3, 4}), .spatial = {2, {6, 8}}),
    SAMPLE("three_axes", LINEAR, (5, {1, 2, 3, 2, 4}), .spatial = {3, {5, 4, 3}}),
    SAMPLE("three_axes_corners", LINEAR, (5, {1, 2, 3, 2, 4}), .spatial = {3, {5, 4, 3}}, .align_corners = true),
    SAMPLE("cubic", CUBIC, (4, {2, 3, 4, 5}), .spatial = {2, {8, 7}}),
    SAMPLE("cubic_corners", CUBIC, (4, {2, 3, 4, 5}), .spatial = {2, {9, 10}}, .align_corners = true),
    SAMPLE("cubic_fewer", CUBIC, (4, {1, 2, 9, 7}), .spatial = {2, {4, 3}}),
    SAMPLE("cubic_scale", CUBIC, (4, {1, 2, 5, 3}), .spatial = {2, {7, 3}}, .scale = {1.5, 1.2}),
    SAMPLE("area", AREA, (4, {2, 3, 7, 9}), .spatial = {2, {3, 4}}),
    SAMPLE("area_more", AREA, (3, {2, 3, 4}), .spatial = {1, {7}}),
    SAMPLE("area_three_axes", AREA, (5, {1, 2, 5, 4, 6}), .spatial = {3, {2, 1, 5}}),
    SAMPLE("same", CUBIC, (4, {1, 2, 3, 4}), .spatial = {2, {3, 8}}),
    {.name = "chunks", .n_in = 1, .in = {X(3, {1, 600, 70})}, OF(.mode = HONE_RESIZE_LINEAR, .spatial = {1, {33}}), .no_grad = true},
    SAMPLE("empty", LINEAR, (4, {0, 3, 4, 5}), .spatial = {2, {8, 10}}),
    {.name = "axes", .n_in = 1, .in = {X(2, {3, 4})}, OF(.spatial = {1, {4}}), .refused = "1 to 3 spatial axes"},
    {.name = "sizes", .n_in = 1, .in = {X(4, {1, 2, 3, 4})}, OF(.spatial = {1, {4}}), .refused = "sizes [4] for 2 spatial axes"},
    {.name = "nothing", .n_in = 1, .in = {X(3, {1, 2, 0})}, OF(.spatial = {1, {4}}), .refused = "1 to 2^24 positions"},
    {.name = "to_nothing", .n_in = 1, .in = {X(3, {1, 2, 3})}, OF(.spatial = {1, {0}}), .refused = "1 to 2^24 positions"},
    {.name = "mode", .n_in = 1, .in = {X(3, {1, 2, 3})}, OF(.spatial = {1, {4}}, .mode = 4), .refused = "no mode 4"},
    {.name = "scale", .n_in = 1, .in = {X(3, {1, 2, 3})}, OF(.spatial = {1, {4}}, .scale = {-1}), .refused = "the scale -1 must be"},
    {.name = "corners", .n_in = 1, .in = {X(3, {1, 2, 3})}, OF(.spatial = {1, {4}}, .align_corners = true),
     .refused = "align_corners is for linear and cubic, not for nearest"},
    {.name = "cubic_axes", .n_in = 1, .in = {X(3, {1, 2, 3})}, OF(.spatial = {1, {4}}, .mode = HONE_RESIZE_CUBIC),
     .refused = "cubic is for 2 spatial axes"},
    {0}};
static const hone__sample grad_samples[] = {
    SAMPLE("linear", LINEAR, (4, {2, 3, 8, 10}), .spatial = {2, {4, 5}}),
    SAMPLE("unread", NEAREST, (4, {2, 3, 3, 2}), .spatial = {2, {7, 5}}),
    SAMPLE("cubic_corners", CUBIC, (4, {1, 2, 7, 6}), .spatial = {2, {3, 4}}, .align_corners = true),
    SAMPLE("three_axes", LINEAR, (5, {1, 2, 5, 4, 3}), .spatial = {3, {3, 2, 4}}),
    {.name = "sizes", .n_in = 1, .in = {X(3, {1, 2, 3})}, OF(.spatial = {2, {4, 4}}), .refused = "sizes [4, 4] for 1 spatial axes"},
    {0}};

const hone_op hone__op_resize = {.name = "resize", .doc = "y = x at other sizes of its spatial axes", .n_in = 1, .n_out = 1,
                                 .flags = HONE__FLEX, .last_in = 1, .last_out = 1, .attr_size = sizeof(struct resize_attr),
                                 .attrs = attrs, .shape = resized_shape, .prepare = prepare, .run = run, .vjp = vjp,
                                 .samples = samples};
const hone_op hone__op_resize_grad = {.name = "resize_grad", .doc = "dx of resize", .n_in = 1, .n_out = 1, .flags = HONE__FLEX,
                                      .last_in = 1, .last_out = 1, .attr_size = sizeof(struct resize_attr), .attrs = attrs,
                                      .shape = resized_shape, .prepare = grad_prepare, .run = run, .vjp = grad_vjp,
                                      .samples = grad_samples};

hone_node *hone_resize_opt(hone_node *x, const hone_resize_opts *opts)
{
    if (!x) return NULL;
    hone_resize_opts o = opts ? *opts : (hone_resize_opts){0};
    struct resize_attr t = {.mode = (int)o.mode, .align_corners = o.align_corners, .spatial = o.size};
    hone_ctx *ctx = x->call->graph->ctx;
    int axes = HONE_MIN(HONE_MAX(x->shape.rank - 2, 0), 3); /* the op refuses what does not fit */
    if ((o.size.rank > 0) == (o.scale[0] != 0)) {
        hone__fail(ctx, HONE_INVALID, "resize: either the sizes or the scales must be given");
        return NULL;
    }
    if (o.size.rank == 1)
        for (t.spatial.rank = axes; axes > 0 && --axes > 0;) t.spatial.dim[axes] = o.size.dim[0];
    for (int a = 0; !o.size.rank && a < axes; a++) {
        double scale = o.scale[a] != 0 ? o.scale[a] : o.scale[0], size = floor((double)x->shape.dim[2 + a] * scale);
        if (!(size >= 1 && size <= LARGEST)) {
            hone__fail(ctx, HONE_INVALID, "resize: %s times %g: each spatial axis must have 1 to 2^24 positions", HONE__SHAPE_STR(x->shape),
                       scale);
            return NULL;
        }
        t.spatial.dim[t.spatial.rank++] = (int64_t)size;
        if (size != (double)x->shape.dim[2 + a] * scale) t.scale[a] = scale;
    }
    return hone__record(x->call->graph, &hone__op_resize, 1, &x, &t);
}
