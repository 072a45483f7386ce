#include "nn/nn.h"

static hone_node *forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    if (n != 1) {
        hone__fail(graph->ctx, HONE_INVALID, "sequential: takes one input, got %d", n);
        return NULL;
    }
    hone_node *x = in[0];
    for (size_t i = 0; i < self->n_children; i++) x = hone_apply(self->children[i], x);
    return x;
}

hone_layer *hone_sequential_n(hone_ctx *ctx, int n, hone_layer *const *layers)
{
    hone_layer *self = hone_layer_new(ctx, sizeof *self, "sequential", forward);
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

static hone_layer *again(hone_ctx *ctx, const hone_layer *like)
{
    (void)like;
    return hone_sequential_n(ctx, 0, NULL);
}
const hone__layer_kind hone__sequential_kind = {"sequential", forward, sizeof(hone_layer), NULL, again};
