#include "nn/nn.h"

static hone_node *forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    hone__dense *dense = (hone__dense *)(void *)self;
    (void)n;
    hone_node *x = in[0];
    if (x->shape.rank < 1) {
        hone__fail(graph->ctx, HONE_SHAPE, "dense '%s': the input needs at least one axis", graph->scope);
        return NULL;
    }
    int64_t features = x->shape.dim[x->shape.rank - 1];
    /* The file's weight tells its own size: a misfit is then the input's fault, in linear's words. */
    hone_initializer initializer = dense->opts.initializer ? dense->opts.initializer : HONE_INIT_GLOROT_UNIFORM;
    for (size_t i = 0; i < self->n_params; i++)
        if (!strcmp(self->params[i]->local, "weight") && self->params[i]->v.shape.dim[1] != features) {
            hone__fail(graph->ctx, HONE_SHAPE, "dense '%s': input has %lld features, weight expects %lld (input shape %s)",
                       graph->scope, (long long)features, (long long)self->params[i]->v.shape.dim[1],
                       HONE__SHAPE_STR(x->shape));
            return NULL;
        }
    hone_node *w = hone_weight(self, graph, "weight", HONE_SHAPE(dense->units, features), initializer);
    hone_node *b = NULL;
    if (!dense->opts.no_bias && !(b = hone_weight(self, graph, "bias", HONE_SHAPE(dense->units),
                                                  dense->opts.bias_initializer ? dense->opts.bias_initializer : HONE_INIT_ZEROS)))
        return NULL;
    if (!dense->lora.rank) return hone_linear(x, w, b, .activation = dense->opts.activation);
    hone_node *y = hone__lora_apply(self, graph, &dense->lora, x, w, b);
    return hone_activate(y, dense->opts.activation);
}

hone_layer *hone_dense_opt(hone_ctx *ctx, int64_t units, const hone_dense_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    if (units < 1) {
        hone__fail(ctx, HONE_INVALID, "dense: units must be at least 1, not %lld", (long long)units);
        return NULL;
    }
    hone__dense *dense = (hone__dense *)(void *)hone_layer_new(ctx, sizeof *dense, "dense", forward);
    if (!dense) return NULL;
    dense->base.keeps_lengths = dense->base.mixes_last = true;
    dense->units = units;
    if (opts) dense->opts = *opts;
    return &dense->base;
}

hone_layer *hone__dense_child(hone_layer *layer, const char *name, int64_t units, const hone_dense_opts *opts)
{
    hone_layer *child = hone__layer_find(layer, name);
    return child ? child : hone_layer_add(layer, name, hone_dense_opt(layer->ctx, units, opts));
}

static hone_layer *again(hone_ctx *ctx, const hone_layer *like)
{
    const hone__dense *d = (const hone__dense *)(const void *)like;
    hone__dense *dense = (hone__dense *)(void *)hone_dense_opt(ctx, d->units, &d->opts);
    if (!dense) return NULL;
    dense->lora = d->lora;
    return &dense->base;
}
static const hone__field fields[] = {HONE__FIELD(hone__dense, "units", units, I64),
                                     HONE__FIELD(hone__dense, "activation", opts.activation, ACTIVATION),
                                     HONE__FIELD(hone__dense, "no_bias", opts.no_bias, BOOL),
                                     HONE__FIELD(hone__dense, "initializer", opts.initializer, INITIALIZER),
                                     HONE__FIELD(hone__dense, "bias_initializer", opts.bias_initializer, INITIALIZER),
                                     HONE__FIELD(hone__dense, "lora_rank", lora.rank, I64),
                                     HONE__FIELD(hone__dense, "lora_alpha", lora.alpha, F64),
                                     HONE__FIELD(hone__dense, "lora_dropout", lora.dropout, F64),
                                     {0}};
const hone__layer_kind hone__dense_kind = {"dense", forward, sizeof(hone__dense), fields, again};
