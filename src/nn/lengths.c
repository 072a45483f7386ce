/* How long each row of a batch is: nodes carry it from the layer that sees the padding to those that leave it out. */
#include "nn/nn.h"

#include <math.h>

hone_node *hone_lengths(const hone_node *x) { return x ? x->lengths : NULL; }

void hone__keep_lengths(hone_node *to, const hone_node *from)
{
    const int d = from->time;
    if (!from->lengths || to->lengths || to->shape.rank <= d || to->shape.dim[0] != from->shape.dim[0] ||
        to->shape.dim[d] != from->shape.dim[d])
        return;
    to->lengths = from->lengths;
    to->time = d;
}

hone_node *hone__copy_of(hone_node *x)
{
    hone_node *y = hone__record(x->call->graph, &hone__op_copy, 1, &x, NULL);
    if (y) hone__keep_lengths(y, x);
    return y;
}

/* first, first + 1, ... along one axis of `rank`. */
static hone_node *ramp(hone_graph *graph, hone_dtype dtype, int64_t count, int first, int axis, int rank)
{
    hone_shape shape = {.rank = rank};
    hone_tensor *t = hone_tensor_new(graph->ctx, HONE_I32, HONE_SHAPE(count));
    if (!t) return NULL;
    for (int64_t i = 0; i < count; i++) ((int32_t *)t->data)[i] = (int32_t)i + first;
    hone_node *node = hone_cast(hone_constant(graph, t), dtype);
    hone_tensor_free(t);
    for (int d = 0; d < rank; d++) shape.dim[d] = d == axis ? count : 1;
    return hone_reshape(node, shape);
}

hone_node *hone__lengths_from(hone_node *counts)
{
    enum { LARGEST = 1 << 24 }; /* as an f32 */
    if (!counts) return NULL;
    hone_graph *graph = counts->call->graph;
    const hone_shape s = counts->shape;
    if (s.dim[1] < 1 || s.dim[1] > LARGEST) {
        hone__fail(graph->ctx, HONE_SHAPE, "'%s': lengths are of 1 to 2^24 positions, not %lld", graph->scope, (long long)s.dim[1]);
        return NULL;
    }
    hone_axes others = {.count = s.rank - 1};
    for (int d = 1; d < s.rank; d++) others.axis[d - 1] = d;
    hone_node *ends = hone_where(counts, ramp(graph, HONE_F32, s.dim[1], 1, 1, s.rank), hone_fill(graph, HONE_F32, HONE_SCALAR, 0));
    return hone_cast(hone_max(ends, others, false), HONE_I32);
}

/* [B] as [B, 1, ...] of x's rank. */
static hone_node *as_column(const hone_node *x, hone_node *lengths)
{
    hone_shape shape = {.rank = x->shape.rank};
    for (int d = 0; d < shape.rank; d++) shape.dim[d] = d ? 1 : x->shape.dim[0];
    return hone_reshape(lengths, shape);
}

/* x with a value for what lies beyond each row's length along an axis. */
static hone_node *fill_padding(hone_node *x, hone_node *lengths, int time, double value)
{
    hone_graph *graph = x->call->graph;
    hone_node *counts = hone_less(ramp(graph, HONE_I32, x->shape.dim[time], 0, time, x->shape.rank), as_column(x, lengths));
    return hone_where(counts, x, hone_fill(graph, x->dtype, HONE_SCALAR, value));
}

hone_node *hone__mean_of_rows(hone_node *x)
{
    hone_node *one = hone_fill(x->call->graph, x->dtype, HONE_SCALAR, 1);
    hone_node *sum = hone_sum(fill_padding(x, x->lengths, x->time, 0), HONE_AXES(x->time), true);
    return hone_squeeze(hone_div(sum, hone_maximum(hone_cast(as_column(x, x->lengths), x->dtype), one)), x->time);
}

hone_node *hone__max_of_rows(hone_node *x)
{
    hone_node *nothing = hone_fill(x->call->graph, HONE_I32, HONE_SCALAR, 0), *zero = hone_fill(x->call->graph, x->dtype, HONE_SCALAR, 0);
    /* finite, in bf16 as well: monitors name the first value that is not */
    hone_node *most = hone_max(fill_padding(x, x->lengths, x->time, -1e30), HONE_AXES(x->time), true);
    return hone_squeeze(hone_where(hone_greater(as_column(x, x->lengths), nothing), most, zero), x->time);
}

/* ---- masking ---- */

typedef struct masking {
    hone_layer base;
    double value;
} masking;

static hone_node *forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    hone_node *x = in[0];
    (void)n;
    if (x->shape.rank < 2) {
        hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': the input must be [B, T, ...], not %s", self->type, graph->scope, HONE__SHAPE_STR(x->shape));
        return NULL;
    }
    hone_node *value = hone_fill(graph, x->dtype, HONE_SCALAR, ((masking *)(void *)self)->value);
    hone_node *lengths = hone__lengths_from(hone_not_equal(x, value)), *y = lengths ? fill_padding(x, lengths, 1, 0) : NULL;
    if (y) y->lengths = lengths, y->time = 1;
    return y;
}
hone_layer *hone_masking(hone_ctx *ctx, double mask_value)
{
    if (!hone__ok(ctx)) return NULL;
    if (!isfinite(mask_value)) {
        hone__fail(ctx, HONE_INVALID, "masking: the value must be a finite number, not %g", mask_value);
        return NULL;
    }
    masking *l = (masking *)(void *)hone_layer_new(ctx, sizeof *l, "masking", forward);
    if (l) l->value = mask_value;
    return l ? &l->base : NULL;
}
static hone_layer *again(hone_ctx *ctx, const hone_layer *like) { return hone_masking(ctx, ((const masking *)(const void *)like)->value); }
static const hone__field fields[] = {HONE__FIELD(masking, "mask_value", value, F64), {0}};
const hone__layer_kind hone__masking_kind = {"masking", forward, sizeof(masking), fields, again};
