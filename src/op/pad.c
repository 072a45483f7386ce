/* Constants around and, for the gradient of a slice with steps, between elements. */
#include "op/op.h"

struct pad_attr {
    hone_shape before, after, between; /* elements per axis */
    double value;
};
static const hone__attr attrs[] = {HONE__ATTR(struct pad_attr, before, SHAPE),
                                   HONE__ATTR(struct pad_attr, after, SHAPE),
                                   HONE__ATTR(struct pad_attr, between, SHAPE),
                                   HONE__ATTR(struct pad_attr, value, F64),
                                   {0}};

static bool padded(int64_t n, int64_t before, int64_t after, int64_t between, int64_t *out)
{
    int64_t gaps;
    return before >= 0 && after >= 0 && between >= 0 &&
           !__builtin_mul_overflow(between, HONE_MAX(n - 1, 0), &gaps) &&
           !__builtin_add_overflow(n, gaps, out) && !__builtin_add_overflow(*out, before, out) &&
           !__builtin_add_overflow(*out, after, out);
}

static bool shape(hone__call *call)
{
    const struct pad_attr *a = call->attr;
    hone_shape in = call->in[0]->shape, out = in;
    bool fits = a->before.rank == in.rank && a->after.rank == in.rank && a->between.rank == in.rank;
    for (int d = 0; fits && d < in.rank; d++)
        fits = padded(in.dim[d], a->before.dim[d], a->after.dim[d], a->between.dim[d], &out.dim[d]);
    if (!fits)
        return hone__refuse(call, HONE_SHAPE, "%s before and %s after do not suit %s: one count >= 0 an axis",
                            HONE__SHAPE_STR(a->before), HONE__SHAPE_STR(a->after), HONE__SHAPE_STR(in));
    return hone__set_out(call, 0, call->in[0]->dtype, out);
}

static hone_status run(hone__exec *e)
{
    const struct pad_attr *a = e->attr;
    const hone__view *x = &e->in[0];
    hone__view inside = e->out[0];
    hone__fill_view(e, &e->out[0], a->value);
    inside.shape = x->shape;
    int64_t offset = 0;
    for (int d = 0; d < x->shape.rank; d++) {
        offset += a->before.dim[d] * inside.stride[d];
        inside.stride[d] *= a->between.dim[d] + 1;
    }
    if (hone_shape_count(x->shape) == 0) return HONE_OK;
    inside.data = hone__at(&inside, offset);
    hone__move_view(e, &inside, x);
    return HONE_OK;
}

static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    (void)wanted;
    const struct pad_attr *a = call->attr;
    hone_node *d = dy[0];
    for (int i = 0; d && i < call->in[0]->shape.rank; i++) {
        int64_t n = call->in[0]->shape.dim[i], start = a->before.dim[i], step = a->between.dim[i] + 1;
        if (n != d->shape.dim[i]) d = hone_slice(d, i, start, start + (n ? (n - 1) * step + 1 : 0), step);
    }
    return (dx[0] = d) != NULL;
}

#define BY(...) \
    .attr = &(struct pad_attr) { __VA_ARGS__ }
static const hone__sample samples[] = {
    {.name = "matrix",
     .n_in = 1,
     .in = {{.shape = {2, {3, 5}}}},
     BY({2, {1, 0}}, {2, {0, 2}}, {2, {0, 0}}, 0)},
    {.name = "image",
     .n_in = 1,
     .in = {{.shape = {4, {2, 1, 3, 3}}}},
     BY({4, {0, 0, 1, 2}}, {4, {0, 0, 1, 1}}, {4, {0}}, -1.5)},
    {.name = "between",
     .n_in = 1,
     .in = {{.shape = {2, {3, 4}}}},
     BY({2, {1, 2}}, {2, {0, 1}}, {2, {2, 1}}, 0)},
    {.name = "nothing", .n_in = 1, .in = {{.shape = {1, {4}}}}, BY({1, {0}}, {1, {0}}, {1, {0}}, 7)},
    {.name = "from_empty",
     .n_in = 1,
     .in = {{.shape = {2, {0, 2}}}},
     BY({2, {1, 1}}, {2, {2, 0}}, {2, {0}}, 3)},
    {.name = "scalar", .n_in = 1, .in = {{.shape = {0, {0}}}}, BY({0, {0}}, {0, {0}}, {0, {0}}, 3)},
    {.name = "integer",
     .n_in = 1,
     .in = {{.dtype = HONE_I32, .shape = {1, {4}}, .fill = HONE__FILL_RAMP}},
     BY({1, {2}}, {1, {1}}, {1, {0}}, -3)},
    {.name = "negative",
     .n_in = 1,
     .in = {{.shape = {1, {4}}}},
     BY({1, {-1}}, {1, {0}}, {1, {0}}, 0),
     .refused = "do not suit"},
    {.name = "rank",
     .n_in = 1,
     .in = {{.shape = {1, {4}}}},
     BY({2, {1, 1}}, {1, {0}}, {1, {0}}, 0),
     .refused = "do not suit"},
    {0}};

const hone_op hone__op_pad = {.name = "pad",
                              .doc = "y = x with a constant around it",
                              .n_in = 1,
                              .n_out = 1,
                              .flags = HONE__STRIDED | HONE__FLEX,
                              .attr_size = sizeof(struct pad_attr),
                              .attrs = attrs,
                              .shape = shape,
                              .run = run,
                              .vjp = vjp,
                              .samples = samples};

hone_node *hone__pad_between(hone_node *x, hone_shape before, hone_shape after, hone_shape between,
                             double value)
{
    if (!x) return NULL;
    return hone__record(x->call->graph, &hone__op_pad, 1, &x,
                        &(struct pad_attr){before, after, between, value});
}

hone_node *hone_pad(hone_node *x, hone_shape before, hone_shape after, double value)
{
    return x ? hone__pad_between(x, before, after, (hone_shape){.rank = x->shape.rank}, value) : NULL;
}
