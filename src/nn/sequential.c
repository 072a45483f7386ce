/* Layers one after the other, and with their input added to what they give. */
#include "nn/nn.h"

static hone_node *forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    if (n != 1) {
        hone__fail(graph->ctx, HONE_INVALID, "%s: takes one input, got %d", self->type, n);
        return NULL;
    }
    hone_node *x = in[0];
    for (size_t i = 0; i < self->n_children; i++) x = hone_apply(self->children[i], x);
    return x;
}

static hone_node *residual_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    hone_node *y = forward(self, graph, in, n);
    if (!y || hone_shape_equal(y->shape, in[0]->shape)) return hone_add(in[0], y);
    hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': its layers make %s of %s; the shape must stay", self->type, graph->scope,
               HONE__SHAPE_STR(y->shape), HONE__SHAPE_STR(in[0]->shape));
    return NULL;
}

static hone_layer *new_sequence(hone_ctx *ctx, const char *type, hone_layer_fn fn, int n, hone_layer *const *layers)
{
    hone_layer *self = hone_layer_new(ctx, sizeof *self, type, fn);
    for (int i = 0; i < n; i++) {
        if (self && layers[i]) hone_layer_add(self, NULL, layers[i]);
        else hone_layer_free(layers[i]);
    }
    if (self && !hone__ok(ctx)) {
        hone_layer_free(self);
        return NULL;
    }
    return self;
}
hone_layer *hone_sequential_n(hone_ctx *ctx, int n, hone_layer *const *layers) { return new_sequence(ctx, "sequential", forward, n, layers); }
hone_layer *hone_residual_n(hone_ctx *ctx, int n, hone_layer *const *layers)
{
    hone_layer *self = new_sequence(ctx, "residual", residual_forward, n, layers);
    if (self) self->keeps_lengths = true;
    return self;
}

static hone_layer *again(hone_ctx *ctx, const hone_layer *like)
{
    (void)like;
    return hone_sequential_n(ctx, 0, NULL);
}
static hone_layer *residual_again(hone_ctx *ctx, const hone_layer *like)
{
    (void)like;
    return hone_residual_n(ctx, 0, NULL);
}
const hone__layer_kind hone__sequential_kind = {"sequential", forward, sizeof(hone_layer), NULL, again};
const hone__layer_kind hone__residual_kind = {"residual", residual_forward, sizeof(hone_layer), NULL, residual_again};
