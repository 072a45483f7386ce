/* Scaled dot-product attention without the matrix of scores: Dao, "FlashAttention-2", 2023. What a query sees
   is a range of keys: that covers causal masks, padding, sliding windows and a cache that is filled in part.
   */
#include "op/nn.h"

#include <math.h>

struct attention_attr {
    double scale; /* 0: 1 / sqrt(D) */
    bool causal;
    double dropout; /* of the weights */
    int64_t stream; /* 0: the call's own */
};
static const hone__attr attrs[] = {HONE__ATTR(struct attention_attr, scale, F64), HONE__ATTR(struct attention_attr, causal, BOOL),
                                   HONE__ATTR(struct attention_attr, dropout, F64), HONE__ATTR(struct attention_attr, stream, I64),
                                   {0}};

bool hone__attention_check(hone__call *call, int limits)
{
    hone_shape q = call->in[0]->shape, k = call->in[1]->shape, v = call->in[2]->shape;
    if (!hone__want_same_real(call, 0, 1) || !hone__want_same_real(call, 0, 2)) return false;
    bool chosen = hone__has(call, limits + 2);
    bool fits = q.rank == 4 && k.rank == 4 && hone_shape_equal(k, v) && (chosen || q.dim[0] == k.dim[0]) &&
                q.dim[3] == k.dim[3];
    if (!fits)
        return hone__refuse(call, HONE_SHAPE,
                            "q must be [B, Tq, H, D], k and v [B, Tk, Hkv, D]; they are %s, %s, %s",
                            HONE__SHAPE_STR(q), HONE__SHAPE_STR(k), HONE__SHAPE_STR(v));
    if (k.dim[2] < 1 || q.dim[2] % k.dim[2])
        return hone__refuse(call, HONE_SHAPE, "%lld heads cannot share %lld key heads evenly",
                            (long long)q.dim[2], (long long)k.dim[2]);
    if (q.dim[3] < 1)
        return hone__refuse(call, HONE_SHAPE, "heads of no values (q is %s)", HONE__SHAPE_STR(q));
    for (int i = limits; i < limits + 2; i++) {
        if (!hone__has(call, i)) continue;
        if (!hone__want_shape(call, i, HONE_SHAPE(q.dim[0], q.dim[1]), i == limits ? "begin" : "end"))
            return false;
        if (call->in[i]->dtype != HONE_I32)
            return hone__refuse(call, HONE_DTYPE, "begin and end must be i32, not %s",
                                hone_dtype_name(call->in[i]->dtype));
    }
    if (chosen && !hone__want_shape(call, limits + 2, HONE_SHAPE(q.dim[0]), "rows")) return false;
    if (chosen && call->in[limits + 2]->dtype != HONE_I32)
        return hone__refuse(call, HONE_DTYPE, "rows must be i32, not %s", hone_dtype_name(call->in[limits + 2]->dtype));
    return true;
}

static hone_shape lse_shape(const hone__call *call)
{
    hone_shape q = call->in[0]->shape;
    return HONE_SHAPE(q.dim[0], q.dim[2], q.dim[1]);
}

static bool shape(hone__call *call)
{
    const struct attention_attr *t = call->attr;
    if (!(t->dropout >= 0 && t->dropout < 1))
        return hone__refuse(call, HONE_INVALID, "the rate must be in [0, 1), it is %g", t->dropout);
    return hone__attention_check(call, 3) && hone__set_out(call, 0, call->in[0]->dtype, call->in[0]->shape) &&
           hone__set_out(call, 1, call->in[0]->dtype, lse_shape(call));
}

static hone__attention_side side(const hone__view *v)
{
    return (hone__attention_side){v->data, v->dtype, {v->stride[0], v->stride[1], v->stride[2]}};
}

static hone__attention describe(const hone__exec *e, int limits)
{
    const struct attention_attr *t = e->attr;
    hone_shape q = e->in[0].shape, k = e->in[1].shape;
    hone__attention a = {.b = q.dim[0],
                         .tq = q.dim[1],
                         .tk = k.dim[1],
                         .h = q.dim[2],
                         .hkv = k.dim[2],
                         .d = q.dim[3],
                         .scale = t->scale != 0 ? t->scale : 1 / sqrt((double)q.dim[3]),
                         .causal = t->causal,
                         .dropout = t->dropout,
                         .q = side(&e->in[0]),
                         .k = side(&e->in[1]),
                         .v = side(&e->in[2])};
    a.begin = hone__data(e, limits);
    a.end = hone__data(e, limits + 1);
    for (int i = 0; i < 2; i++) {
        if (a.begin) a.begin_stride[i] = e->in[limits].stride[i];
        if (a.end) a.end_stride[i] = e->in[limits + 1].stride[i];
    }
    return a;
}

/* Which weights are dropped is a function of the run, as in dropout.c. */
static void choose_dropped(const hone__exec *e, hone__attention *a)
{
    const struct attention_attr *t = e->attr;
    uint64_t stream = t->stream ? (uint64_t)t->stream : e->call->stream;
    if (t->dropout > 0) a->key = hone__key(hone__key(hone__key(e->info->seed, e->info->step), e->info->micro_batch), stream);
}

/* Inputs whose last axis is not contiguous are copied ahead of the work. */
static bool scattered(const hone__view *v) { return v->shape.dim[3] > 1 && v->stride[3] != 1; }
static size_t copies_size(const hone__exec *e, int n, const int *inputs)
{
    size_t size = 0;
    for (int i = 0; i < n; i++) {
        const hone__view *v = &e->in[inputs[i]];
        if (scattered(v)) size += hone__align(hone__dtype_bytes(v->dtype, hone_shape_count(v->shape)));
    }
    return size;
}

typedef struct copying {
    const hone__exec *e;
    hone__view *to;
    const hone__view *from;
} copying;

static void copy_part(void *arg, const hone__loop *loop, const int64_t *at, int64_t n)
{
    const copying *c = arg;
    c->e->k->copy(hone__at(c->to, at[0]), c->to->dtype, hone__at(c->from, at[1]), c->from->dtype,
                  hone__loop_stride(loop, 1), n);
}

static void gather_side(const hone__exec *e, int input, hone__attention_side *to, char **scratch)
{
    const hone__view *v = &e->in[input];
    if (!scattered(v)) return;
    hone__view dense = hone__view_dense(
        hone__take(scratch, hone__dtype_bytes(v->dtype, hone_shape_count(v->shape))), v->dtype, v->shape);
    hone__loop loop;
    hone__loop_init(&loop, v->shape, 2, (const hone__view *const[]){&dense, v});
    hone__loop_run(e->ctx, &loop, HONE__GRAIN, copy_part, &(copying){e, &dense, v});
    *to = side(&dense);
}

typedef struct job {
    const hone__exec *e;
    const hone__attention *a;
    char *parts, *scratch;
    size_t part_bytes, slot_bytes;
    int64_t tasks;
} job;

enum { ROWS = 5 }; /* the input that says whose keys and values a row of q looks at */

static int64_t row_at(const hone__exec *e, int64_t b)
{
    return ((const int32_t *)e->in[ROWS].data)[b * e->in[ROWS].stride[0]];
}

static hone_status check_rows(hone__exec *e)
{
    int64_t rows = e->in[1].shape.dim[0];
    for (int64_t b = 0; hone__data(e, ROWS) && b < e->in[0].shape.dim[0]; b++)
        if (row_at(e, b) < 0 || row_at(e, b) >= rows)
            return hone__fail_run(e->ctx, HONE_INVALID, "row %lld of q looks at row %lld of %lld of the keys", (long long)b,
                                  (long long)row_at(e, b), (long long)rows);
    return HONE_OK;
}

static void *moved(const hone__attention_side *x, int64_t rows)
{
    return (char *)x->data + rows * x->stride[0] * hone__dtypes[x->dtype].bytes;
}

/* The call as one of its tasks sees it (a batch row's tasks are neighbours): keys and values where they are for its row. */
static const hone__attention *of_task(const job *j, int64_t task, hone__attention *own)
{
    if (!hone__data(j->e, ROWS)) return j->a;
    int64_t b = task / (j->tasks / j->a->b), rows = row_at(j->e, b) - b;
    *own = *j->a;
    own->k.data = moved(&own->k, rows);
    own->v.data = moved(&own->v, rows);
    return own;
}

/* One query a row, as in generation: keys and values are streamed once, and cut over threads. */
static bool decodes(const hone__attention *a) { return a->tq == 1 && a->dropout == 0; }
/* Tasks worth a thread: about HONE__GRAIN * 4 multiply-adds. */
static int64_t grain(const hone__attention *a, int64_t tasks)
{
    int64_t work = a->b * a->h * a->tq * a->tk * a->d;
    return HONE_MAX(HONE__GRAIN * 4 * tasks / HONE_MAX(work, 1), 1);
}

static const int forward_sides[] = {0, 1, 2};

static hone_status prepare(hone__exec *e)
{
    hone__attention a = describe(e, 3);
    if (a.b == 0 || a.tq == 0) return HONE_OK;
    int64_t tasks = decodes(&a) ? e->k->attention_decode_tasks(&a) : e->k->attention_tasks(&a);
    size_t slot = hone__align(decodes(&a) ? e->k->attention_decode_scratch(&a) : e->k->attention_scratch(&a));
    e->scratch_size =
        copies_size(e, 3, forward_sides) + slot * (size_t)hone__slots(e->ctx, tasks, grain(&a, tasks));
    if (decodes(&a)) e->scratch_size += hone__align((size_t)tasks * e->k->attention_decode_part(&a));
    return HONE_OK;
}

static void forward(void *arg, int slot, int64_t begin, int64_t end)
{
    const job *j = arg;
    hone__attention own;
    for (int64_t t = begin; t < end; t++)
        j->e->k->attention(of_task(j, t, &own), t, j->scratch + (size_t)slot * j->slot_bytes);
}

/* Are the keys of a row and a head cut into several tasks? */
static bool cut(const job *j) { return j->tasks > j->a->b * j->a->hkv; }

static void decode(void *arg, int slot, int64_t begin, int64_t end)
{
    const job *j = arg;
    hone__attention own;
    for (int64_t t = begin; t < end; t++) {
        j->e->k->attention_decode(of_task(j, t, &own), t, j->parts + (size_t)t * j->part_bytes,
                                  j->scratch + (size_t)slot * j->slot_bytes);
        if (!cut(j)) j->e->k->attention_decode_merge(j->a, t, j->parts);
    }
}

static void merge(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    for (int64_t i = begin; i < end; i++) j->e->k->attention_decode_merge(j->a, i, j->parts);
}

static hone_status run(hone__exec *e)
{
    hone__attention a = describe(e, 3);
    if (a.b == 0 || a.tq == 0 || (!e->out[0].data && !e->out[1].data)) return HONE_OK;
    if (check_rows(e) != HONE_OK) return HONE_INVALID;
    char *scratch = e->scratch;
    gather_side(e, 0, &a.q, &scratch);
    gather_side(e, 1, &a.k, &scratch);
    gather_side(e, 2, &a.v, &scratch);
    choose_dropped(e, &a);
    a.out = side(&e->out[0]);
    a.lse = e->out[1].data;
    for (int i = 0; i < 3; i++) a.lse_stride[i] = e->out[1].stride[i];
    job j = {.e = e, .a = &a};
    if (decodes(&a)) {
        int64_t tasks = j.tasks = e->k->attention_decode_tasks(&a);
        j.part_bytes = e->k->attention_decode_part(&a);
        j.slot_bytes = hone__align(e->k->attention_decode_scratch(&a));
        j.parts = hone__take(&scratch, (size_t)tasks * j.part_bytes);
        j.scratch = scratch;
        hone__slots_run(e->ctx, tasks, grain(&a, tasks), decode, &j);
        if (cut(&j)) hone__parallel_for(e->ctx, a.b * a.hkv, grain(&a, a.b * a.hkv), merge, &j);
        return HONE_OK;
    }
    int64_t tasks = j.tasks = e->k->attention_tasks(&a);
    j.slot_bytes = hone__align(e->k->attention_scratch(&a));
    j.scratch = scratch;
    hone__slots_run(e->ctx, tasks, grain(&a, tasks), forward, &j);
    return HONE_OK;
}

static bool vjp(hone__call *call, hone_node *const *d_out, const bool *wanted, hone_node **d)
{
    if (hone__has(call, ROWS)) return hone__refuse(call, HONE_UNSUPPORTED, "chosen rows of keys have no gradient");
    hone_node *in[8] = {call->in[0], call->in[1], call->in[2], &call->out[0], &call->out[1], d_out[0],
                        hone__has(call, 3) ? call->in[3] : NULL, hone__has(call, 4) ? call->in[4] : NULL};
    struct attention_attr t = *(const struct attention_attr *)call->attr;
    if (t.dropout > 0 && !t.stream) t.stream = (int64_t)call->stream;
    hone_node *g = hone__record(call->graph, &hone__op_attention_grad,
                                in[7]   ? 8
                                : in[6] ? 7
                                        : 6,
                                in, &t);
    for (int i = 0; i < 3; i++)
        if (wanted[i]) d[i] = hone__output(g, i);
    return g != NULL;
}

/* ---- backward: inputs q, k, v, out, lse, dout, begin, end ---- */

static bool grad_shape(hone__call *call)
{
    hone_shape q = call->in[0]->shape;
    if (!hone__attention_check(call, 6) || !hone__want_same_real(call, 0, 3) || !hone__want_same_real(call, 0, 4) ||
        !hone__want_same_real(call, 0, 5) || !hone__want_shape(call, 3, q, "result") ||
        !hone__want_shape(call, 4, lse_shape(call), "log sum") || !hone__want_shape(call, 5, q, "gradient"))
        return false;
    for (int i = 0; i < 3; i++) hone__set_out(call, i, call->in[0]->dtype, call->in[i]->shape);
    return true;
}

static const int grad_sides[] = {0, 1, 2, 3, 5};

static hone_status grad_prepare(hone__exec *e)
{
    hone__attention a = describe(e, 6);
    int64_t tasks = a.b * a.hkv;
    size_t slot = hone__align(e->k->attention_grad_scratch(&a));
    e->scratch_size =
        copies_size(e, 5, grad_sides) + slot * (size_t)hone__slots(e->ctx, tasks, grain(&a, tasks));
    return HONE_OK;
}

static void backward(void *arg, int slot, int64_t begin, int64_t end)
{
    const job *j = arg;
    for (int64_t t = begin; t < end; t++)
        j->e->k->attention_grad(j->a, t, j->scratch + (size_t)slot * j->slot_bytes);
}

static hone_status grad_run(hone__exec *e)
{
    hone__attention a = describe(e, 6);
    char *scratch = e->scratch;
    choose_dropped(e, &a);
    a.out = side(&e->in[3]);
    a.dout = side(&e->in[5]);
    hone__attention_side *sides[] = {&a.q, &a.k, &a.v, &a.out, &a.dout};
    for (int i = 0; i < 5; i++) gather_side(e, grad_sides[i], sides[i], &scratch);
    a.lse = e->in[4].data;
    for (int i = 0; i < 3; i++) a.lse_stride[i] = e->in[4].stride[i];
    a.dq = side(&e->out[0]);
    a.dk = side(&e->out[1]);
    a.dv = side(&e->out[2]);
    int64_t tasks = a.b * a.hkv;
    job j = {
        .e = e, .a = &a, .scratch = scratch, .slot_bytes = hone__align(e->k->attention_grad_scratch(&a))};
    hone__slots_run(e->ctx, tasks, grain(&a, tasks), backward, &j);
    return HONE_OK;
}

#define X(...) {.shape = {4, {__VA_ARGS__}}}
#define LIMIT(low_, high_, ...)                                                                              \
    {                                                                                                        \
        .dtype = HONE_I32, .shape = {2, {__VA_ARGS__}}, .fill = HONE__FILL_INDEX, .low = low_, .high = high_ \
    }
#define ROW_NUMBERS(high_, n) {.dtype = HONE_I32, .shape = {1, {n}}, .fill = HONE__FILL_INDEX, .low = 0, .high = high_}
#define ATTENTION(...) .attr = &(struct attention_attr){__VA_ARGS__, 0, 0}
#define DROPPING(...) .attr = &(struct attention_attr){__VA_ARGS__, 0}
static const hone__sample samples[] = {
    {.name = "plain", .n_in = 3, .in = {X(2, 3, 2, 4), X(2, 5, 2, 4), X(2, 5, 2, 4)}, ATTENTION(0, false)},
    {.name = "causal", .n_in = 3, .in = {X(1, 5, 2, 3), X(1, 5, 2, 3), X(1, 5, 2, 3)}, ATTENTION(0, true)},
    {.name = "causal_behind_cache",
     .n_in = 3,
     .in = {X(1, 3, 1, 4), X(1, 7, 1, 4), X(1, 7, 1, 4)},
     ATTENTION(0, true)},
    {.name = "causal_sees_nothing",
     .n_in = 3,
     .in = {X(1, 5, 1, 4), X(1, 3, 1, 4), X(1, 3, 1, 4)},
     ATTENTION(0, true)},
    {.name = "grouped", .n_in = 3, .in = {X(2, 3, 6, 5), X(2, 4, 2, 5), X(2, 4, 2, 5)}, ATTENTION(0.3, true)},
    {.name = "limits",
     .n_in = 5,
     .in = {X(2, 4, 2, 3), X(2, 9, 1, 3), X(2, 9, 1, 3), LIMIT(0, 4, 2, 4), LIMIT(3, 12, 2, 4)},
     ATTENTION(0, false)},
    {.name = "end",
     .n_in = 5,
     .in = {X(2, 4, 2, 3), X(2, 9, 1, 3), X(2, 9, 1, 3), {.absent = true}, LIMIT(-1, 12, 2, 4)},
     ATTENTION(0, true)},
    {.name = "decode",
     .n_in = 5,
     .in = {X(2, 1, 6, 4), X(2, 9, 2, 4), X(2, 9, 2, 4), {.absent = true}, LIMIT(3, 9, 2, 1)},
     ATTENTION(0, false)},
    {.name = "rows_shape",
     .n_in = 6,
     .in = {X(2, 3, 2, 4), X(4, 5, 2, 4), X(4, 5, 2, 4), {.absent = true}, {.absent = true}, ROW_NUMBERS(4, 3)},
     ATTENTION(0, true),
     .refused = "the rows must be [2]"},
    {.name = "decode_long",
     .no_grad = true,
     .n_in = 3,
     .in = {X(1, 1, 4, 19), X(1, 700, 2, 19), X(1, 700, 2, 19)},
     ATTENTION(0, true)},
    {.name = "blocks",
     .n_in = 3,
     .in = {X(1, 150, 3, 17), X(1, 150, 1, 17), X(1, 150, 1, 17)},
     .no_grad = true, /* slow */
     ATTENTION(0, true),
     .tolerance = 1e-4},
    {.name = "blocks_limits",
     .n_in = 5,
     .in = {X(1, 133, 2, 33), X(1, 200, 2, 33), X(1, 200, 2, 33), LIMIT(0, 100, 1, 133),
            LIMIT(50, 220, 1, 133)},
     .no_grad = true,
     ATTENTION(0, false),
     .tolerance = 1e-4},
    {.name = "no_keys", .n_in = 3, .in = {X(1, 2, 1, 4), X(1, 0, 1, 4), X(1, 0, 1, 4)}, ATTENTION(0, false)},
    {.name = "empty", .n_in = 3, .in = {X(0, 2, 1, 4), X(0, 3, 1, 4), X(0, 3, 1, 4)}, ATTENTION(0, false)},
    {.name = "heads",
     .n_in = 3,
     .in = {X(1, 2, 3, 4), X(1, 2, 2, 4), X(1, 2, 2, 4)},
     ATTENTION(0, false),
     .refused = "3 heads cannot share 2 key heads"},
    {.name = "sizes",
     .n_in = 3,
     .in = {X(1, 2, 2, 4), X(1, 2, 2, 5), X(1, 2, 2, 5)},
     ATTENTION(0, false),
     .refused = "q must be [B, Tq, H, D]"},
    {.name = "end_shape",
     .n_in = 5,
     .in = {X(2, 4, 2, 3), X(2, 9, 1, 3), X(2, 9, 1, 3), {.absent = true}, LIMIT(1, 9, 4, 2)},
     ATTENTION(0, false),
     .refused = "the end must be [2, 4]"},
    {0}};
static const hone__sample grad_samples[] = {
    {.name = "causal",
     .n_in = 6,
     .in = {X(1, 5, 4, 3),
            X(1, 5, 2, 3),
            X(1, 5, 2, 3),
            X(1, 5, 4, 3),
            {.shape = {3, {1, 4, 5}}, .fill = HONE__FILL_UNIFORM, .low = 2, .high = 3},
            X(1, 5, 4, 3)},
     .rounds_within = true, /* weights, for their products */
     ATTENTION(0, true)},
    {.name = "blocks",
     .n_in = 6,
     .in = {X(1, 150, 4, 20),
            X(1, 130, 2, 20),
            X(1, 130, 2, 20),
            X(1, 150, 4, 20),
            {.shape = {3, {1, 4, 150}}, .fill = HONE__FILL_UNIFORM, .low = 5, .high = 6},
            X(1, 150, 4, 20)},
     .rounds_within = true,
     ATTENTION(0, false),
     .tolerance = 1e-4},
    {.name = "dropout",
     .n_in = 6,
     .in = {X(2, 133, 4, 32),
            X(2, 201, 2, 32),
            X(2, 201, 2, 32),
            X(2, 133, 4, 32),
            {.shape = {3, {2, 4, 133}}, .fill = HONE__FILL_UNIFORM, .low = 5, .high = 6},
            X(2, 133, 4, 32)},
     .attr = &(struct attention_attr){0, true, 0.3, 7},
     .rounds_within = true,
     .tolerance = 1e-4},
    {.name = "misfit",
     .n_in = 6,
     .in = {X(1, 5, 2, 3),
            X(1, 5, 2, 3),
            X(1, 5, 2, 3),
            X(1, 5, 2, 3),
            {.shape = {3, {1, 5, 2}}},
            X(1, 5, 2, 3)},
     ATTENTION(0, true),
     .refused = "the log sum must be [1, 2, 5]"},
    {0}};

/* Widths whose weights are no multiple of four; what several blocks of keys and slices of rows drop. */
static const hone__sample dropout_samples[] = {
    {.name = "half", .n_in = 3, .in = {X(2, 3, 2, 4), X(2, 5, 2, 4), X(2, 5, 2, 4)}, DROPPING(0, false, 0.5)},
    {.name = "grouped", .n_in = 3, .in = {X(2, 3, 6, 5), X(2, 4, 2, 5), X(2, 4, 2, 5)}, DROPPING(0.3, true, 0.25)},
    {.name = "limits", .n_in = 5,
     .in = {X(2, 4, 2, 3), X(2, 9, 1, 3), X(2, 9, 1, 3), LIMIT(0, 4, 2, 4), LIMIT(3, 12, 2, 4)}, DROPPING(0, false, 0.1)},
    {.name = "one_query", .n_in = 3, .in = {X(2, 1, 6, 4), X(2, 9, 2, 4), X(2, 9, 2, 4)}, DROPPING(0, false, 0.5)},
    {.name = "blocks", .n_in = 3, .in = {X(2, 133, 4, 32), X(2, 201, 2, 32), X(2, 201, 2, 32)}, .no_grad = true,
     DROPPING(0, true, 0.3), .tolerance = 1e-4},
    {.name = "empty", .n_in = 3, .in = {X(0, 2, 1, 4), X(0, 3, 1, 4), X(0, 3, 1, 4)}, DROPPING(0, false, 0.1)},
    {.name = "all", .n_in = 3, .in = {X(1, 2, 1, 4), X(1, 3, 1, 4), X(1, 3, 1, 4)}, DROPPING(0, false, 1),
     .refused = "the rate must be in [0, 1)"},
    {0}};

#define FORWARD                                                                                                               \
    .n_in = 6, .n_required = 3, .n_out = 2, .keep_out = 2, .aux_out = 2, .attr_size = sizeof(struct attention_attr),          \
    .attrs = attrs, .shape = shape, .prepare = prepare, .run = run, .vjp = vjp
const hone_op hone__op_attention = {
    .name = "attention",
    .doc = "softmax(scale q k^T) v over the keys that a query sees; the logarithm of the sum of exponentials",
    .flags = HONE__STRIDED | HONE__COMPUTE, .samples = samples, FORWARD};
const hone_op hone__op_attention_dropout = {
    .name = "attention_dropout",
    .doc = "attention that drops weights, and scales the others by 1 / (1 - rate)",
    .flags = HONE__STRIDED | HONE__COMPUTE | HONE__RANDOM, .samples = dropout_samples, FORWARD};
const hone_op hone__op_attention_grad = {.name = "attention_grad",
                                         .doc = "dq, dk, dv of attention",
                                         .n_in = 8,
                                         .n_required = 6,
                                         .n_out = 3,
                                         .flags = HONE__STRIDED | HONE__COMPUTE,
                                         .keep_in = 16,
                                         .attr_size = sizeof(struct attention_attr),
                                         .attrs = attrs,
                                         .shape = grad_shape,
                                         .prepare = grad_prepare,
                                         .run = grad_run,
                                         .samples = grad_samples};

hone_node *hone_attention_opt(hone_node *q, hone_node *k, hone_node *v, const hone_attention_opts *opts)
{
    if (!q || !k || !v) return NULL;
    hone_attention_opts o = opts ? *opts : (hone_attention_opts){0};
    bool drops = o.dropout != 0 && (hone_graph_mode(q->call->graph) == HONE_TRAIN || !(o.dropout > 0 && o.dropout < 1));
    if (o.mask || (drops && o.rows)) return hone__attention_masked(q, k, v, &o);
    hone_node *in[6] = {q, k, v, o.begin, o.end, o.rows};
    return hone__record(q->call->graph, drops ? &hone__op_attention_dropout : &hone__op_attention,
                        o.rows ? 6 : o.end ? 5 : o.begin ? 4 : 3, in,
                        &(struct attention_attr){o.scale, o.causal, drops ? o.dropout : 0, 0});
}
