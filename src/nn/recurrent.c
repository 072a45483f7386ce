/* Recurrent layers and cells: kinds, layers and directions differ in a table and in loops. */
#include "nn/nn.h"
#include "op/nn.h"

#include <stdio.h>

enum { PARTS = 4, NAME = 40, MOST_LAYERS = 1000 };
typedef char part_name[NAME];

typedef struct recurrent {
    hone_layer base;
    hone__cell_kind kind;
    bool cell; /* one step of [B, in] */
    int64_t units;
    int layers, directions;
    hone_recurrent_opts opts;
    part_name (*names)[PARTS]; /* of each layer's each direction */
    const hone_recurrent_states *states; /* while hone_recurrent_apply applies it */
} recurrent;

/* What comes in besides x. */
typedef struct given {
    hone_node *lengths, *h, *c; /* [B], [layers directions, B, units] twice; NULL: not given */
} given;

static bool misfit(recurrent *r, hone_graph *graph, const char *what, hone_shape shape, const char *wanted)
{
    hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': %s must be %s, not %s", r->base.type, graph->scope, what, wanted,
               HONE__SHAPE_STR(shape));
    return false;
}

/* Inputs behind x are told apart by what they are: lengths are integers, states real, h before c. */
static bool sort_inputs(recurrent *r, hone_graph *graph, hone_node *const *in, int n, given *to)
{
    *to = (given){0};
    for (int i = 1; i < n; i++) {
        hone_node **slot = hone__is_integer(in[i]->dtype) ? &to->lengths : to->h ? &to->c : &to->h;
        if (*slot || (slot == &to->c && r->kind != HONE__CELL_LSTM) || (slot == &to->lengths && r->cell)) {
            hone__fail(graph->ctx, HONE_INVALID, "%s '%s': does not take input %d", r->base.type, graph->scope, i);
            return false;
        }
        *slot = in[i];
    }
    if (!to->lengths && !r->cell && in[0]->time == 1) to->lengths = in[0]->lengths;
    hone_shape x = in[0]->shape;
    if (x.rank != (r->cell ? 2 : 3))
        return misfit(r, graph, "the input", x, r->cell ? "[batch, features]" : "[batch, time, features]");
    int64_t layers = (int64_t)r->layers * r->directions;
    hone_shape state = r->cell ? HONE_SHAPE(x.dim[0], r->units) : HONE_SHAPE(layers, x.dim[0], r->units);
    if (to->h && !hone_shape_equal(to->h->shape, state)) return misfit(r, graph, "h", to->h->shape, HONE__SHAPE_STR(state));
    if (to->c && !hone_shape_equal(to->c->shape, state)) return misfit(r, graph, "c", to->c->shape, HONE__SHAPE_STR(state));
    return true;
}

/* Layer `which`'s part of the states [layers directions, B, units], as [B, units], which a cell's are. */
static hone_node *state_of(const recurrent *r, hone_node *states, int which)
{
    if (!states || r->cell) return states;
    return hone_squeeze(hone_slice(states, 0, which, which + 1, 1), 0);
}

/* A mask for all steps: Gal and Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks",
   2016. NULL without an error: none. */
static hone_node *state_mask(hone_graph *graph, hone_dtype dtype, int64_t rows, int64_t units, double rate)
{
    if (rate == 0 || hone_graph_mode(graph) != HONE_TRAIN) return NULL;
    hone_node *zero = hone_fill(graph, dtype, HONE_SHAPE(1), 0);
    return hone_greater(hone_dropout(hone_fill(graph, dtype, HONE_SHAPE(rows, units), 1), rate), zero);
}

/* Both biases go into the product with the input, but for a GRU's second one of n: that stands inside the reset gate's
   product. */
static bool biases(recurrent *r, hone_graph *graph, part_name *names, hone_node **sums, hone_node **inner)
{
    int64_t gates = hone__cell_gates(r->kind) * r->units;
    *sums = *inner = NULL;
    if (r->opts.no_bias) return true;
    hone_node *ih = hone_weight(&r->base, graph, names[2], HONE_SHAPE(gates), r->opts.bias_initializer ? r->opts.bias_initializer : HONE_INIT_ZEROS);
    hone_node *hh = hone_weight(&r->base, graph, names[3], HONE_SHAPE(gates), HONE_INIT_ZEROS);
    if (r->kind == HONE__CELL_GRU) {
        *inner = hone_slice(hh, 0, 2 * r->units, HONE_END, 1);
        hh = hone_pad(hone_slice(hh, 0, 0, 2 * r->units, 1), HONE_SHAPE(0), HONE_SHAPE(r->units), 0);
    }
    return (*sums = hone_add(ih, hh)) != NULL;
}

/* x [T, B, in] -> [T, B, units] by one layer in one direction, whose states afterwards become after[0] and after[1]. */
static hone_node *direction(recurrent *r, hone_graph *graph, hone_node *x, int which, const given *in, hone_node *after[2])
{
    part_name *names = r->names[which];
    int64_t units = r->units, gates = hone__cell_gates(r->kind) * units, rows = x->shape.dim[1];
    hone_initializer first = r->opts.initializer ? r->opts.initializer : HONE_INIT_GLOROT_UNIFORM;
    hone_initializer second = r->opts.recurrent_initializer ? r->opts.recurrent_initializer : HONE_INIT_TORCH_LINEAR;
    hone_node *w_ih = hone_weight(&r->base, graph, names[0], HONE_SHAPE(gates, x->shape.dim[2]), first);
    hone__recurrent op = {.weight = hone_weight(&r->base, graph, names[1], HONE_SHAPE(gates, units), second),
                          .lengths = in->lengths, .kind = r->kind, .reverse = which % r->directions == 1,
                          .scale = hone__drop_scale(r->opts.recurrent_dropout)};
    hone_node *bias;
    if (!w_ih || !op.weight || !biases(r, graph, names, &bias, &op.bias)) return NULL;
    op.x = hone_linear(x, w_ih, bias);
    op.h = state_of(r, in->h, which);
    op.c = state_of(r, in->c, which);
    op.mask = state_mask(graph, x->dtype, rows, units, r->opts.recurrent_dropout);
    if (!hone__ok(graph->ctx)) return NULL;
    hone_node *y = hone__recurrent_node(&op);
    after[0] = hone__output(y, 1);
    after[1] = hone__output(y, 2);
    return y;
}

/* n nodes [B, units] as one [n, B, units]. */
static hone_node *stack(int n, hone_node **nodes)
{
    for (int i = 0; i < n; i++) nodes[i] = hone_expand_dims(nodes[i], 0);
    return n == 1 ? nodes[0] : hone_concatenate(n, nodes, 0);
}

static void hand_out(recurrent *r, int n, hone_node **h, hone_node **c)
{
    const hone_recurrent_states *s = r->states;
    if (s && s->h_after) *s->h_after = r->cell ? h[0] : stack(n, h);
    if (s && s->c_after) *s->c_after = r->kind != HONE__CELL_LSTM ? NULL : r->cell ? c[0] : stack(n, c);
}

static hone_node *forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    recurrent *r = (recurrent *)(void *)self;
    given given_;
    if (!sort_inputs(r, graph, in, n, &given_)) return NULL;
    hone_node *x = r->cell ? hone_expand_dims(in[0], 0) : hone_transpose(in[0], HONE_AXES(1, 0, 2)); /* [T, B, in] */
    int count = r->layers * r->directions;
    hone_node **h = hone__arena_alloc(&graph->arena, 2 * (size_t)count * sizeof *h), **c = h ? h + count : NULL;
    if (!x || !h) return NULL;
    hone_node *last = NULL;
    for (int layer = 0; layer < r->layers; layer++) {
        hone_node *y[2], *after[2];
        if (layer && !(x = hone_dropout(x, r->opts.dropout))) return NULL;
        for (int d = 0; d < r->directions; d++) {
            int which = layer * r->directions + d;
            if (!(y[d] = direction(r, graph, x, which, &given_, after))) return NULL;
            h[which] = after[0];
            c[which] = after[1];
        }
        x = r->directions == 1 ? y[0] : hone_concatenate(2, y, 2);
    }
    if (r->cell || !r->opts.return_sequences)
        last = r->directions == 1 ? h[count - 1] : hone_concatenate(2, h + count - 2, 1);
    else
        last = hone_transpose(x, HONE_AXES(1, 0, 2));
    hand_out(r, count, h, c);
    return last;
}

static void destroy(hone_layer *self) { hone__free(self->ctx, ((recurrent *)(void *)self)->names); }

/* ---- making them ---- */

static bool check(hone_ctx *ctx, const char *type, hone__cell_kind kind, bool cell, int64_t units, const hone_recurrent_opts *o)
{
    const char *wrong = NULL;
    if (units < 1) wrong = "units must be at least 1";
    if (o->layers < 0 || o->layers > MOST_LAYERS) wrong = "layers must be 1 to 1000";
    if (!(o->dropout >= 0 && o->dropout < 1)) wrong = "dropout must be in [0, 1)";
    if (!(o->recurrent_dropout >= 0 && o->recurrent_dropout < 1)) wrong = "recurrent_dropout must be in [0, 1)";
    if (cell && (o->layers > 1 || o->bidirectional || o->return_sequences || o->dropout > 0))
        wrong = "a cell has one layer, one direction and one step";
    bool elman = kind == HONE__CELL_TANH && (o->activation == HONE_RELU || o->activation == HONE_TANH);
    if (o->activation != HONE_NO_ACTIVATION && !elman) wrong = "an activation can be chosen for an rnn alone: HONE_TANH or HONE_RELU";
    if (o->bias_initializer == HONE_INIT_UNIT_FORGET && kind != HONE__CELL_LSTM) wrong = "an LSTM alone has a forget gate for HONE_INIT_UNIT_FORGET";
    if (wrong) hone__fail(ctx, HONE_INVALID, "%s: %s", type, wrong);
    return !wrong;
}

static hone_layer *new_recurrent(hone_ctx *ctx, const char *type, hone__cell_kind kind, bool cell, int64_t units,
                                 const hone_recurrent_opts *opts)
{
    hone_recurrent_opts o = {0};
    if (opts) o = *opts;
    if (!hone__ok(ctx) || !check(ctx, type, kind, cell, units, &o)) return NULL;
    recurrent *r = (recurrent *)(void *)hone_layer_new(ctx, sizeof *r, type, forward);
    if (!r) return NULL;
    r->base.destroy = destroy;
    r->base.keeps_lengths = o.return_sequences;
    r->base.mixes_last = true;
    r->kind = o.activation == HONE_RELU ? HONE__CELL_RELU : kind;
    r->cell = cell;
    r->units = units;
    r->layers = o.layers ? o.layers : 1;
    r->directions = o.bidirectional ? 2 : 1;
    r->opts = o;
    int count = r->layers * r->directions;
    if (!(r->names = hone__calloc(ctx, (size_t)count, sizeof *r->names))) return NULL;
    static const char *const parts[PARTS] = {"weight_ih", "weight_hh", "bias_ih", "bias_hh"};
    for (int i = 0; i < count; i++)
        for (int k = 0; k < PARTS; k++) {
            char *name = r->names[i][k];
            if (cell)
                snprintf(name, NAME, "%s", parts[k]);
            else
                snprintf(name, NAME, "%s_l%d%s", parts[k], i / r->directions, i % r->directions ? "_reverse" : "");
        }
    return &r->base;
}

#define MAKE(name, kind, cell)                                                                             \
    hone_layer *hone_##name##_opt(hone_ctx *ctx, int64_t units, const hone_recurrent_opts *opts)           \
    {                                                                                                      \
        return new_recurrent(ctx, #name, kind, cell, units, opts);                                         \
    }
MAKE(rnn, HONE__CELL_TANH, false)
MAKE(gru, HONE__CELL_GRU, false)
MAKE(lstm, HONE__CELL_LSTM, false)
MAKE(rnn_cell, HONE__CELL_TANH, true)
MAKE(gru_cell, HONE__CELL_GRU, true)
MAKE(lstm_cell, HONE__CELL_LSTM, true)

static hone_layer *again(hone_ctx *ctx, const hone_layer *like)
{
    const recurrent *r = (const recurrent *)(const void *)like;
    static const struct {
        const char *type;
        hone_layer *(*make)(hone_ctx *ctx, int64_t units, const hone_recurrent_opts *opts);
    } makers[] = {{"rnn", hone_rnn_opt}, {"gru", hone_gru_opt}, {"lstm", hone_lstm_opt},
                  {"rnn_cell", hone_rnn_cell_opt}, {"gru_cell", hone_gru_cell_opt}, {"lstm_cell", hone_lstm_cell_opt}};
    size_t i = 0;
    while (strcmp(makers[i].type, like->type) != 0) i++;
    return makers[i].make(ctx, r->units, &r->opts);
}
static const hone__field fields[] = {HONE__FIELD(recurrent, "units", units, I64),
                                     HONE__FIELD(recurrent, "layers", opts.layers, INT),
                                     HONE__FIELD(recurrent, "bidirectional", opts.bidirectional, BOOL),
                                     HONE__FIELD(recurrent, "return_sequences", opts.return_sequences, BOOL),
                                     HONE__FIELD(recurrent, "no_bias", opts.no_bias, BOOL),
                                     HONE__FIELD(recurrent, "activation", opts.activation, ACTIVATION),
                                     HONE__FIELD(recurrent, "dropout", opts.dropout, F64),
                                     HONE__FIELD(recurrent, "recurrent_dropout", opts.recurrent_dropout, F64),
                                     HONE__FIELD(recurrent, "initializer", opts.initializer, INITIALIZER),
                                     HONE__FIELD(recurrent, "recurrent_initializer", opts.recurrent_initializer, INITIALIZER),
                                     HONE__FIELD(recurrent, "bias_initializer", opts.bias_initializer, INITIALIZER),
                                     {0}};
#define KIND(name) const hone__layer_kind hone__##name##_kind = {#name, forward, sizeof(recurrent), fields, again}
KIND(rnn);
KIND(gru);
KIND(lstm);
KIND(rnn_cell);
KIND(gru_cell);
KIND(lstm_cell);

hone_node *hone_recurrent_apply_opt(hone_layer *layer, hone_node *x, const hone_recurrent_states *states)
{
    hone_recurrent_states none = {0}, *s = &none;
    if (!layer || !x) return NULL;
    if (layer->forward != forward) {
        hone__fail(layer->ctx, HONE_INVALID, "%s is no recurrent layer", layer->type);
        return NULL;
    }
    if (states) none = *states;
    if (s->c && !s->h) {
        hone__fail(layer->ctx, HONE_INVALID, "%s: c without h", layer->type);
        return NULL;
    }
    hone_node *in[4] = {x};
    int n = 1;
    if (s->lengths) in[n++] = s->lengths;
    if (s->h) in[n++] = s->h;
    if (s->c) in[n++] = s->c;
    if (s->h_after) *s->h_after = NULL;
    if (s->c_after) *s->c_after = NULL;
    recurrent *r = (recurrent *)(void *)layer;
    r->states = s;
    hone_node *y = hone_apply_n(layer, n, in);
    r->states = NULL;
    return y;
}
