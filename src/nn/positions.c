/* Where in a sequence something stands, added to it. */
#include "nn/nn.h"

#include <math.h>

/* x is [..., T, features]. */
static bool is_sequence(const hone_layer *self, const hone_graph *graph, const hone_node *x)
{
    if (x->shape.rank >= 2) return true;
    hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': wants [..., T, features], not %s", self->type, graph->scope,
               HONE__SHAPE_STR(x->shape));
    return false;
}

static hone_node *sinusoidal(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)n;
    if (!is_sequence(self, graph, in[0])) return NULL;
    const int64_t *last = in[0]->shape.dim + in[0]->shape.rank - 2;
    hone_tensor *table = hone_tensor_new(graph->ctx, HONE_F32, HONE_SHAPE(last[0], last[1]));
    if (!table) return NULL;
    for (int64_t i = 0; i < last[1]; i++) {
        double rate = pow(10000, -(double)(i - i % 2) / (double)last[1]);
        for (int64_t t = 0; t < last[0]; t++)
            ((float *)table->data)[t * last[1] + i] = (float)(i % 2 ? cos((double)t * rate) : sin((double)t * rate));
    }
    hone_node *encoding = hone_constant(graph, table);
    hone_tensor_free(table);
    return hone_add(in[0], encoding);
}

hone_layer *hone_sinusoidal_positions(hone_ctx *ctx)
{
    hone_layer *self = hone_layer_new(ctx, sizeof *self, "sinusoidal_positions", sinusoidal);
    if (self) self->keeps_lengths = true;
    return self;
}

static hone_layer *sinusoidal_again(hone_ctx *ctx, const hone_layer *like)
{
    (void)like;
    return hone_sinusoidal_positions(ctx);
}
const hone__layer_kind hone__sinusoidal_positions_kind = {"sinusoidal_positions", sinusoidal, sizeof(hone_layer), NULL, sinusoidal_again};

typedef struct positions {
    hone_layer base;
    int64_t length;
    hone_initializer initializer;
} positions;

static hone_node *learned(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    positions *p = (positions *)(void *)self;
    (void)n;
    if (!is_sequence(self, graph, in[0])) return NULL;
    const int64_t *last = in[0]->shape.dim + in[0]->shape.rank - 2;
    if (last[0] > p->length) {
        hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': there are %lld positions, the input has %lld (input shape %s)", self->type,
                   graph->scope, (long long)p->length, (long long)last[0], HONE__SHAPE_STR(in[0]->shape));
        return NULL;
    }
    hone_node *weight = hone_weight(self, graph, "weight", HONE_SHAPE(p->length, last[1]), p->initializer);
    return hone_add(in[0], last[0] == p->length ? weight : hone_slice(weight, 0, 0, last[0], 1));
}

hone_layer *hone_learned_positions_opt(hone_ctx *ctx, int64_t length, const hone_positions_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    if (length < 1) {
        hone__fail(ctx, HONE_INVALID, "learned_positions: length must be at least 1, not %lld", (long long)length);
        return NULL;
    }
    positions *p = (positions *)(void *)hone_layer_new(ctx, sizeof *p, "learned_positions", learned);
    if (!p) return NULL;
    p->length = length;
    p->base.keeps_lengths = true;
    p->initializer = opts && opts->initializer ? opts->initializer : HONE_INIT_NORMAL;
    return &p->base;
}

static hone_layer *again(hone_ctx *ctx, const hone_layer *like)
{
    const positions *p = (const positions *)(const void *)like;
    return hone_learned_positions(ctx, p->length, .initializer = p->initializer);
}
static const hone__field fields[] = {HONE__FIELD(positions, "length", length, I64),
                                     HONE__FIELD(positions, "initializer", initializer, INITIALIZER),
                                     {0}};
const hone__layer_kind hone__learned_positions_kind = {"learned_positions", learned, sizeof(positions), fields, again};
