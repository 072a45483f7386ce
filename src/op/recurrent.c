/* Recurrent layers: one direction over a whole sequence is one op, whatever the cell. The product with the input is made
   outside, for all steps at once; here each step multiplies the state with its weights, which are packed once, and a kernel
   makes gates and the new state of the sums. Backwards the gates' gradients of all steps are left to one product more, the
   weights' gradient. Time comes first, so that a step's rows lie in one piece. */
#include "op/nn.h"

struct recurrent_attr {
    int kind; /* hone__cell_kind */
    bool reverse;
    double scale; /* of what dropout's mask keeps */
};
static const hone__attr attrs[] = {HONE__ATTR(struct recurrent_attr, kind, INT), HONE__ATTR(struct recurrent_attr, reverse, BOOL),
                                   HONE__ATTR(struct recurrent_attr, scale, F64), {0}};

static const struct cell {
    int gates, saved; /* blocks of H that the sums have; that the backward pass reads */
    bool cells;       /* and a state that it reads besides */
} cells[] = {[HONE__CELL_TANH] = {1, 1, false}, [HONE__CELL_RELU] = {1, 1, false}, [HONE__CELL_GRU] = {3, 4, true},
             [HONE__CELL_LSTM] = {4, 4, true}};
int hone__cell_gates(hone__cell_kind kind) { return cells[kind].gates; }

enum { X, WEIGHT, BIAS, H0, C0, LENGTHS, MASK, INPUTS };            /* of recurrent */
enum { Y, H_LAST, C_LAST, OPERAND, SAVED, CELLS, OUTPUTS };         /* its outputs; the last three for the backward pass */
enum { G_WEIGHT, G_SAVED, G_CELLS, G_BEFORE, G_LENGTHS, G_MASK, G_DY, G_DH, G_DC, G_INPUTS }; /* of recurrent_grad */
enum { DX, DZ, DH, DC, G_OUTPUTS };                                 /* its outputs; DZ: GRU, else DX is the same */

/* ---- shapes ---- */

static const struct cell *cell_of(const hone__call *call) { return &cells[((const struct recurrent_attr *)call->attr)->kind]; }
static bool is_lstm(const hone__call *call)
{
    return ((const struct recurrent_attr *)call->attr)->kind == HONE__CELL_LSTM;
}

static bool want_real(hone__call *call, int i, int like, hone_shape shape, const char *what)
{
    return !hone__has(call, i) || (hone__want_same_real(call, like, i) && hone__want_shape(call, i, shape, what));
}

/* What both directions take: lengths [B] and a mask [B, H]. */
static bool want_limits(hone__call *call, int lengths, int mask, int64_t b, int64_t h)
{
    if (hone__has(call, lengths) &&
        (!hone__want_integer(call, lengths) || !hone__want_shape(call, lengths, HONE_SHAPE(b), "lengths")))
        return false;
    if (!hone__has(call, mask)) return true;
    if (call->in[mask]->dtype != HONE_U8) return hone__refuse(call, HONE_DTYPE, "the mask must be u8");
    return hone__want_shape(call, mask, HONE_SHAPE(b, h), "mask");
}

static bool want_weight(hone__call *call, int i, const struct cell *cell)
{
    hone_shape w = call->in[i]->shape;
    return (w.rank == 2 && w.dim[1] >= 1 && w.dim[0] == cell->gates * w.dim[1]) ||
           hone__refuse(call, HONE_SHAPE, "the weight must be [%d units, units], not %s", cell->gates, HONE__SHAPE_STR(w));
}

static bool shape(hone__call *call)
{
    const struct cell *cell = cell_of(call);
    if (!hone__want_same_real(call, X, WEIGHT) || !want_weight(call, WEIGHT, cell)) return false;
    hone_shape x = call->in[X]->shape, w = call->in[WEIGHT]->shape;
    if (x.rank != 3 || x.dim[2] != w.dim[0])
        return hone__refuse(call, HONE_SHAPE, "the gates' sums must be [time, batch, %lld], not %s", (long long)w.dim[0],
                            HONE__SHAPE_STR(x));
    int64_t t = x.dim[0], b = x.dim[1], h = w.dim[1];
    hone_shape state = HONE_SHAPE(b, h), none = HONE_SHAPE(0);
    if (hone__has(call, C0) && !is_lstm(call)) return hone__refuse(call, HONE_INVALID, "only an LSTM has a second state");
    if (!want_real(call, BIAS, X, HONE_SHAPE(h), "bias") || !want_real(call, H0, X, state, "state") ||
        !want_real(call, C0, X, state, "cell state") || !want_limits(call, LENGTHS, MASK, b, h))
        return false;
    hone_dtype real = call->in[X]->dtype;
    hone_shape steps = HONE_SHAPE(t, b, h), saved = HONE_SHAPE(t, b, cell->saved * h);
    return hone__set_out(call, Y, real, steps) && hone__set_out(call, H_LAST, real, state) &&
           hone__set_out(call, C_LAST, real, is_lstm(call) ? state : none) && hone__set_out(call, OPERAND, real, steps) &&
           hone__set_out(call, SAVED, real, saved) && hone__set_out(call, CELLS, real, cell->cells ? steps : none);
}

static bool grad_shape(hone__call *call)
{
    const struct cell *cell = cell_of(call);
    if (!hone__want_same_real(call, G_WEIGHT, G_SAVED) || !want_weight(call, G_WEIGHT, cell)) return false;
    hone_shape w = call->in[G_WEIGHT]->shape, s = call->in[G_SAVED]->shape;
    int64_t h = w.dim[1];
    if (s.rank != 3 || s.dim[2] != cell->saved * h)
        return hone__refuse(call, HONE_SHAPE, "the gates must be [time, batch, %lld], not %s", (long long)(cell->saved * h),
                            HONE__SHAPE_STR(s));
    hone_shape steps = HONE_SHAPE(s.dim[0], s.dim[1], h), state = HONE_SHAPE(s.dim[1], h), x = s, none = HONE_SHAPE(0);
    x.dim[2] = w.dim[0];
    if (cell->cells && !hone__has(call, G_CELLS)) return hone__refuse(call, HONE_INVALID, "the cells' states are missing");
    if (!want_real(call, G_CELLS, G_SAVED, cell->cells ? steps : none, "cells' state") ||
        !want_real(call, G_BEFORE, G_SAVED, state, "state before") || !want_limits(call, G_LENGTHS, G_MASK, s.dim[1], h) ||
        !want_real(call, G_DY, G_SAVED, steps, "gradient") || !want_real(call, G_DH, G_SAVED, state, "state's gradient") ||
        !want_real(call, G_DC, G_SAVED, is_lstm(call) ? state : none, "cell state's gradient"))
        return false;
    hone_dtype real = call->in[G_SAVED]->dtype;
    bool gru = ((const struct recurrent_attr *)call->attr)->kind == HONE__CELL_GRU;
    return hone__set_out(call, DX, real, x) && hone__set_out(call, DZ, real, gru ? x : none) &&
           hone__set_out(call, DH, real, state) && hone__set_out(call, DC, real, is_lstm(call) ? state : none);
}

/* ---- running ---- */

typedef struct prepared {
    hone_ctx *ctx;
    hone__matmul *matmul;
    const void *weight; /* packed or plain; NULL: the input as it lies */
} prepared;

static void free_prepared(void *state)
{
    prepared *p = state;
    if (!p) return;
    hone__matmul_free(p->matmul);
    hone__free(p->ctx, p);
}

/* Scratch: a step's product and what has no output to lie in. */
typedef struct room {
    void *product;    /* [B, gates H] or, backwards, [B, H] reals */
    void *h, *c;      /* [B, H] reals */
    void *operand;    /* what the product reads, in its type */
    int32_t *lengths; /* [B] */
    void *matmul;
} room;

static size_t lay_out(const hone__exec *e, const prepared *p, int64_t b, int64_t h, int64_t gates, bool backward, room *r)
{
    const hone__view *w = &e->in[backward ? G_WEIGHT : WEIGHT];
    char *at = e->scratch;
    r->product = hone__take(&at, hone__dtype_bytes(e->k->real, b * h * (backward ? 1 : gates)));
    r->h = hone__take(&at, hone__dtype_bytes(e->k->real, b * h));
    r->c = hone__take(&at, hone__dtype_bytes(e->k->real, b * h));
    r->operand = hone__take(&at, hone__dtype_bytes(w->dtype, b * h * (backward ? gates : 1)));
    r->lengths = hone__take(&at, (size_t)b * sizeof *r->lengths);
    r->matmul = hone__take(&at, hone__matmul_scratch(p->matmul));
    return (size_t)((uintptr_t)at - (uintptr_t)e->scratch);
}

/* The product of a step: [b, h] with the weight transposed, or, backwards, [b, gates h] with the weight. */
static hone_status prepare_step(hone__exec *e, int64_t b, int weight, bool backward)
{
    const hone__view *w = &e->in[weight];
    hone__variable *variable = e->plan ? e->variable[weight] : NULL;
    int64_t h = w->shape.dim[1], sums = w->shape.dim[0];
    prepared *p = hone__calloc(e->ctx, 1, sizeof *p);
    if (!p) return e->ctx->status;
    p->ctx = e->ctx;
    e->state = p;
    e->free_state = free_prepared;
    hone__matmul_desc d = {.batch = 1, .m = b, .n = backward ? h : sums, .k = backward ? sums : h, .ab = w->dtype, .c = e->k->real,
                           .a_row = backward ? sums : h, .a_col = 1, .b_row = backward ? h : 1, .b_col = backward ? 1 : h,
                           .c_row = backward ? h : sums, .pack_b = variable && w->dtype != HONE_F64};
    if (!(p->matmul = hone__matmul_new(e->ctx, &d))) return e->ctx->status;
    if (d.pack_b && !hone__matmul_layout(p->matmul)) { /* without oneDNN: a product that packs as it goes */
        hone__matmul_free(p->matmul);
        d.pack_b = false;
        if (!(p->matmul = hone__matmul_new(e->ctx, &d))) return e->ctx->status;
    }
    bool as_it_lies = !variable || (variable->stored == w->dtype && !hone__matmul_layout(p->matmul));
    if (!as_it_lies && !hone__derive_weight(e, variable, p->matmul, backward, w->dtype, &p->weight)) return e->ctx->status;
    room r;
    e->scratch_size = lay_out(e, p, b, h, sums / h, backward, &r);
    return HONE_OK;
}
static hone_status prepare(hone__exec *e) { return prepare_step(e, e->in[X].shape.dim[1], WEIGHT, false); }
static hone_status grad_prepare(hone__exec *e) { return prepare_step(e, e->in[G_SAVED].shape.dim[1], G_WEIGHT, true); }

static hone__cell_rows rows_at(const hone__view *view, int64_t step)
{
    if (!view->data) return (hone__cell_rows){0};
    return (hone__cell_rows){hone__at(view, step * view->shape.dim[1] * view->shape.dim[2]), view->dtype};
}
static const hone__view *input(const hone__exec *e, int i) { return i < e->n_in && e->in[i].data ? &e->in[i] : NULL; }

/* to [B, H] reals: a copy of input i, or zeros. */
static void begin_state(const hone__exec *e, void *to, int i, int64_t count)
{
    size_t bytes = hone__dtype_bytes(e->k->real, count);
    if (hone__data(e, i))
        memcpy(to, hone__data(e, i), bytes);
    else
        memset(to, 0, bytes);
}

static hone_status read_limits(const hone__exec *e, int lengths, int mask, int64_t steps, room *r, hone__cell *cell)
{
    const struct recurrent_attr *t = e->attr;
    const hone__view *given = input(e, lengths);
    cell->kind = (hone__cell_kind)t->kind;
    cell->mask = hone__data(e, mask);
    cell->scale = t->scale;
    if (!given) return HONE_OK;
    hone_status status = hone__check_indices(e, given, steps + 1);
    if (status != HONE_OK) return status;
    for (int64_t i = 0; i < given->shape.dim[0]; i++) r->lengths[i] = (int32_t)hone__index_at(given, i);
    cell->lengths = r->lengths;
    return HONE_OK;
}

typedef struct job {
    const hone__exec *e;
    const hone__cell *cell;
} job;
static void forward_rows(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    j->e->k->cell(j->cell, begin, end);
}
static void backward_rows(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    j->e->k->cell_grad(j->cell, begin, end);
}

static void each_row(const hone__exec *e, hone__range_fn fn, const hone__cell *cell, int64_t rows)
{
    int64_t row = cells[cell->kind].gates * cell->units;
    hone__parallel_for(e->ctx, rows, HONE_MAX(HONE__GRAIN / 8 / row, 1), fn, &(job){e, cell});
}

static hone_status run(hone__exec *e)
{
    const struct recurrent_attr *t = e->attr;
    const prepared *p = e->state;
    const hone__view *x = &e->in[X];
    int64_t steps = x->shape.dim[0], b = x->shape.dim[1], h = e->in[WEIGHT].shape.dim[1], sums = x->shape.dim[2];
    hone_dtype type = e->in[WEIGHT].dtype;
    room r;
    lay_out(e, p, b, h, sums / h, false, &r);
    hone__cell cell = {.units = h, .z = r.product, .bias = hone__data(e, BIAS)};
    hone_status status = read_limits(e, LENGTHS, MASK, steps, &r, &cell);
    if (status != HONE_OK) return status;
    cell.h = e->out[H_LAST].data ? e->out[H_LAST].data : r.h;
    begin_state(e, cell.h, H0, b * h);
    if (t->kind == HONE__CELL_LSTM) {
        cell.c = e->out[C_LAST].data ? e->out[C_LAST].data : r.c;
        begin_state(e, cell.c, C0, b * h);
    }
    /* Where OPERAND has the product's type, each step leaves there what the next one multiplies. */
    const hone__view *kept = &e->out[OPERAND];
    bool direct = kept->data && kept->dtype == type;
    hone__cell_rows none = {0}, aside = {r.operand, type};
    for (int64_t s = -1; s < steps; s++) { /* -1: hands on the first state */
        int64_t at = t->reverse ? steps - 1 - s : s, next = t->reverse ? at - 1 : at + 1;
        cell.step = at;
        if (s == 0 && !hone__data(e, H0)) {
            memset(r.product, 0, hone__dtype_bytes(e->k->real, b * sums));
        } else if (s >= 0) {
            const void *operand = direct ? rows_at(kept, at).data : r.operand;
            status = hone__matmul_run(p->matmul, operand, p->weight ? p->weight : e->in[WEIGHT].data, NULL, r.product, r.matmul);
            if (status != HONE_OK) return status;
        }
        if (s >= 0) {
            cell.x = rows_at(x, at);
            cell.y = rows_at(&e->out[Y], at);
            cell.gates = rows_at(&e->out[SAVED], at);
            cell.cells = cells[t->kind].cells ? rows_at(&e->out[CELLS], at) : none;
        }
        bool last = s + 1 == steps;
        cell.operand = last ? none : direct ? rows_at(kept, next) : aside;
        cell.next = last || direct ? none : rows_at(kept, next);
        each_row(e, forward_rows, &cell, b);
    }
    return HONE_OK;
}

static hone_status grad_run(hone__exec *e)
{
    const struct recurrent_attr *t = e->attr;
    const prepared *p = e->state;
    const hone__view *saved = &e->in[G_SAVED], *w = &e->in[G_WEIGHT], *dy = input(e, G_DY), *cell_states = input(e, G_CELLS);
    int64_t steps = saved->shape.dim[0], b = saved->shape.dim[1], h = w->shape.dim[1], sums = w->shape.dim[0];
    bool gru = t->kind == HONE__CELL_GRU;
    room r;
    lay_out(e, p, b, h, sums / h, true, &r);
    hone__cell cell = {.units = h};
    hone_status status = read_limits(e, G_LENGTHS, G_MASK, steps, &r, &cell);
    if (status != HONE_OK) return status;
    cell.dh = e->out[DH].data ? e->out[DH].data : r.h;
    begin_state(e, cell.dh, G_DH, b * h);
    if (t->kind == HONE__CELL_LSTM) {
        cell.dc = e->out[DC].data ? e->out[DC].data : r.c;
        begin_state(e, cell.dc, G_DC, b * h);
    }
    /* The product reads the gradients where they lie, if they have its type. */
    const hone__view *dz = &e->out[gru ? DZ : DX];
    bool direct = dz->data && dz->dtype == w->dtype;
    for (int64_t s = 0; s <= steps; s++) { /* the last: only dh gathers what came through the product */
        int64_t at = t->reverse ? s : steps - 1 - s, before = t->reverse ? at + 1 : at - 1;
        cell.step = at;
        cell.gates = s < steps ? rows_at(saved, at) : (hone__cell_rows){0};
        if (s < steps) {
            cell.dy = dy ? rows_at(dy, at) : (hone__cell_rows){0};
            cell.cells = cell_states && cells[t->kind].cells ? rows_at(cell_states, at) : (hone__cell_rows){0};
            cell.before = s + 1 == steps ? hone__data(e, G_BEFORE) : cell.cells.data ? rows_at(cell_states, before).data : NULL;
            cell.dx = rows_at(&e->out[DX], at);
            cell.dz = gru ? rows_at(dz, at) : (hone__cell_rows){0};
            cell.operand = direct ? (hone__cell_rows){0} : (hone__cell_rows){r.operand, w->dtype};
        }
        each_row(e, backward_rows, &cell, b);
        if (s == steps || (s + 1 == steps && !e->out[DH].data)) break;
        status = hone__matmul_run(p->matmul, direct ? rows_at(dz, at).data : r.operand, p->weight ? p->weight : w->data, NULL,
                                  r.product, r.matmul);
        if (status != HONE_OK) return status;
        cell.p = r.product;
    }
    return HONE_OK;
}

/* ---- gradients ---- */

/* [T, B, n] as [T B, n] */
static hone_node *flat(hone_node *x)
{
    if (!x) return NULL;
    return hone_reshape(x, HONE_SHAPE(x->shape.dim[0] * x->shape.dim[1], x->shape.dim[2]));
}

static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **d)
{
    const struct recurrent_attr *t = call->attr;
    const struct cell *cell = cell_of(call);
    bool gru = t->kind == HONE__CELL_GRU;
    hone_node *in[G_INPUTS] = {[G_WEIGHT] = call->in[WEIGHT], [G_SAVED] = &call->out[SAVED], [G_DY] = dy[Y], [G_DH] = dy[H_LAST]};
    if (cell->cells) in[G_CELLS] = &call->out[CELLS];
    if (is_lstm(call)) in[G_DC] = dy[C_LAST];
    int before = is_lstm(call) ? C0 : H0;
    if (cell->cells && hone__has(call, before)) in[G_BEFORE] = call->in[before];
    if (hone__has(call, LENGTHS)) in[G_LENGTHS] = call->in[LENGTHS];
    if (hone__has(call, MASK)) in[G_MASK] = call->in[MASK];
    hone_node *dx = hone__record(call->graph, &hone__op_recurrent_grad, G_INPUTS, in, t), *dz = gru ? hone__output(dx, DZ) : dx;
    if (!dx) return false;
    d[X] = dx;
    if (wanted[WEIGHT] && !(d[WEIGHT] = hone_matmul(flat(dz), flat(&call->out[OPERAND]), .transpose_a = true))) return false;
    if (hone__has(call, BIAS) && wanted[BIAS] && gru) {
        int64_t h = call->in[WEIGHT]->shape.dim[1];
        if (!(d[BIAS] = hone_sum(hone_slice(dz, 2, 2 * h, HONE_END, 1), HONE_AXES(0, 1), false))) return false;
    }
    if (hone__has(call, H0)) d[H0] = hone__output(dx, DH);
    if (hone__has(call, C0)) d[C0] = hone__output(dx, DC);
    return true;
}

#define X3(...) {.shape = {3, {__VA_ARGS__}}}
#define X2(...) {.shape = {2, {__VA_ARGS__}}}
#define X1(...) {.shape = {1, {__VA_ARGS__}}}
#define SMALL(most, ...) {.shape = {2, {__VA_ARGS__}}, .fill = HONE__FILL_UNIFORM, .low = -(most), .high = most}
#define OPEN(...) {.shape = {3, {__VA_ARGS__}}, .fill = HONE__FILL_UNIFORM, .low = 0.1, .high = 0.9}
#define NO {.absent = true}
#define LENGTHS_OF(b, most) {.dtype = HONE_I32, .shape = {1, {b}}, .fill = HONE__FILL_INDEX, .low = 0, .high = (most) + 1}
#define MASK_OF(b, h) {.dtype = HONE_U8, .shape = {2, {b, h}}, .fill = HONE__FILL_INDEX, .low = 0, .high = 2}
#define OF(kind) WITH(kind, false, 1)
#define WITH(...) .attr = &(struct recurrent_attr) { __VA_ARGS__ }
#define ALL .rounds_within = true, .n_in = INPUTS
static const hone__sample samples[] = {
    {.name = "lstm", .rounds_within = true, .n_in = 2, .in = {X3(4, 3, 20), X2(20, 5)}, OF(HONE__CELL_LSTM)},
    {.name = "lstm_all", ALL, .in = {X3(5, 4, 12), X2(12, 3), NO, X2(4, 3), X2(4, 3), LENGTHS_OF(4, 5), MASK_OF(4, 3)},
     WITH(HONE__CELL_LSTM, false, 2)},
    {.name = "lstm_reverse", ALL, .in = {X3(5, 4, 12), X2(12, 3), NO, X2(4, 3), X2(4, 3), LENGTHS_OF(4, 5), MASK_OF(4, 3)},
     WITH(HONE__CELL_LSTM, true, 1.25)},
    {.name = "lstm_units", .rounds_within = true, .n_in = 2, .in = {X3(2, 3, 2060), SMALL(0.05, 2060, 515)}, OF(HONE__CELL_LSTM),
     .no_grad = true, .tolerance = 1e-4},
    {.name = "gru", .rounds_within = true, .n_in = 3, .in = {X3(4, 3, 15), X2(15, 5), X1(5)}, OF(HONE__CELL_GRU)},
    {.name = "gru_all", ALL, .in = {X3(5, 4, 9), X2(9, 3), X1(3), X2(4, 3), NO, LENGTHS_OF(4, 5), MASK_OF(4, 3)},
     WITH(HONE__CELL_GRU, false, 2)},
    {.name = "gru_reverse", ALL, .in = {X3(5, 4, 9), X2(9, 3), NO, X2(4, 3), NO, LENGTHS_OF(4, 5), MASK_OF(4, 3)},
     WITH(HONE__CELL_GRU, true, 1.25)},
    {.name = "tanh", ALL, .in = {X3(5, 4, 3), X2(3, 3), NO, X2(4, 3), NO, LENGTHS_OF(4, 5), MASK_OF(4, 3)},
     WITH(HONE__CELL_TANH, true, 2)},
    {.name = "relu", .rounds_within = true, .n_in = 4, .in = {X3(4, 3, 5), SMALL(0.4, 5, 5), NO, X2(3, 5)}, OF(HONE__CELL_RELU)},
    {.name = "no_steps", .n_in = 5, .in = {X3(0, 3, 8), X2(8, 2), NO, X2(3, 2), X2(3, 2)}, OF(HONE__CELL_LSTM)},
    {.name = "no_rows", .n_in = 2, .in = {X3(3, 0, 8), X2(8, 2)}, OF(HONE__CELL_LSTM)},
    {.name = "weight", .n_in = 2, .in = {X3(3, 2, 8), X2(6, 2)}, OF(HONE__CELL_LSTM), .refused = "must be [4 units, units]"},
    {.name = "sums", .n_in = 2, .in = {X3(3, 2, 7), X2(6, 2)}, OF(HONE__CELL_GRU), .refused = "must be [time, batch, 6]"},
    {.name = "state", .n_in = 4, .in = {X3(3, 2, 6), X2(6, 2), NO, X2(3, 2)}, OF(HONE__CELL_GRU), .refused = "the state must be"},
    {.name = "second_state", .n_in = 5, .in = {X3(3, 2, 6), X2(6, 2), NO, NO, X2(2, 2)}, OF(HONE__CELL_GRU),
     .refused = "only an LSTM"},
    {.name = "lengths", .n_in = 6, .in = {X3(3, 2, 6), X2(6, 2), NO, NO, NO, LENGTHS_OF(3, 2)}, OF(HONE__CELL_GRU),
     .refused = "the lengths must be [2]"},
    {.name = "mask", .n_in = 7, .in = {X3(3, 2, 6), X2(6, 2), NO, NO, NO, NO, X2(2, 2)}, OF(HONE__CELL_GRU),
     .refused = "the mask must be u8"},
    {0}};
static const hone__sample grad_samples[] = {
    {.name = "lstm", .rounds_within = true, .n_in = 7,
     .in = {X2(12, 3), OPEN(4, 2, 12), X3(4, 2, 3), NO, NO, NO, X3(4, 2, 3)}, OF(HONE__CELL_LSTM)},
    {.name = "gru", .rounds_within = true, .n_in = 7,
     .in = {X2(9, 3), OPEN(4, 2, 12), X3(4, 2, 3), X2(2, 3), NO, NO, X3(4, 2, 3)}, OF(HONE__CELL_GRU)},
    {.name = "cells", .n_in = 2, .in = {X2(12, 3), X3(4, 2, 12)}, OF(HONE__CELL_LSTM), .refused = "states are missing"},
    {.name = "gates", .n_in = 2, .in = {X2(12, 3), X3(4, 2, 9)}, OF(HONE__CELL_LSTM), .refused = "the gates must be"},
    {.name = "weight", .n_in = 2, .in = {X2(11, 3), X3(4, 2, 12)}, OF(HONE__CELL_LSTM), .refused = "must be [4 units, units]"},
    {.name = "misfit", .n_in = 7, .in = {X2(12, 3), X3(4, 2, 12), X3(4, 2, 3), NO, NO, NO, X3(3, 2, 3)}, OF(HONE__CELL_LSTM),
     .refused = "the gradient must be"},
    {0}};

const hone_op hone__op_recurrent = {
    .name = "recurrent",
    .doc = "y, h and c after; a step each: gates of x + h weight^T, then h and c of them, for LSTM, GRU and Elman's cell",
    .n_in = INPUTS, .n_required = 2, .n_out = OUTPUTS, .flags = HONE__COMPUTE, .keep_in = 1u << BIAS | 1u << H0 | 1u << C0,
    .keep_out = 1u << H_LAST | 1u << C_LAST | 1u << CELLS, .aux_out = 1u << OPERAND | 1u << SAVED | 1u << CELLS,
    .attr_size = sizeof(struct recurrent_attr), .attrs = attrs, .shape = shape, .prepare = prepare, .run = run, .vjp = vjp,
    .samples = samples};
const hone_op hone__op_recurrent_grad = {
    .name = "recurrent_grad", .doc = "the gradients of recurrent: of x, of the state's product, of the states before",
    .n_in = G_INPUTS, .n_required = 2, .n_out = G_OUTPUTS, .flags = HONE__COMPUTE,
    .keep_in = 1u << G_CELLS | 1u << G_BEFORE | 1u << G_DH | 1u << G_DC, .keep_out = 1u << DH | 1u << DC,
    .attr_size = sizeof(struct recurrent_attr), .attrs = attrs, .shape = grad_shape, .prepare = grad_prepare, .run = grad_run,
    .samples = grad_samples};

hone_node *hone__recurrent_node(const hone__recurrent *r)
{
    if (!r->x || !r->weight) return NULL;
    hone_node *in[INPUTS] = {[X] = r->x, [WEIGHT] = r->weight, [BIAS] = r->bias, [H0] = r->h, [C0] = r->c,
                             [LENGTHS] = r->lengths, [MASK] = r->mask};
    return hone__record(r->x->call->graph, &hone__op_recurrent, INPUTS, in,
                        &(struct recurrent_attr){(int)r->kind, r->reverse, r->scale});
}
