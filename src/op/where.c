#include "op/op.h"

static bool shape(hone__call *call)
{
    hone_dtype a = call->in[1]->dtype, b = call->in[2]->dtype;
    if (call->in[0]->dtype != HONE_U8)
        return hone__refuse(call, HONE_DTYPE, "the condition must be u8, not %s",
                            hone_dtype_name(call->in[0]->dtype));
    if (a != b)
        return hone__refuse(call, HONE_DTYPE, "input 1 is %s, input 2 %s: cast one of them",
                            hone_dtype_name(a), hone_dtype_name(b));
    hone_shape choices, out;
    if (!hone__broadcast(call, 1, 2, &choices)) return false;
    hone_shape condition = call->in[0]->shape;
    if (!hone__broadcast_shapes(call, condition, choices, &out)) return false;
    return hone__set_out(call, 0, a, out);
}

static void part(void *arg, const hone__loop *loop, const int64_t *offset, int64_t n)
{
    const hone__exec *e = arg;
    e->k->where(hone__at(&e->out[0], offset[0]), e->out[0].dtype, hone__at(&e->in[0], offset[1]),
                hone__loop_stride(loop, 1), hone__at(&e->in[1], offset[2]), hone__loop_stride(loop, 2),
                hone__at(&e->in[2], offset[3]), hone__loop_stride(loop, 3), n);
}

static hone_status run(hone__exec *e)
{
    hone__loop loop;
    hone__loop_init(&loop, e->out[0].shape, 4,
                    (const hone__view *const[]){&e->out[0], &e->in[0], &e->in[1], &e->in[2]});
    hone__loop_run(e->ctx, &loop, HONE__GRAIN, part, e);
    return HONE_OK;
}

static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **d)
{
    hone_node *zero = hone_fill(call->graph, dy[0]->dtype, HONE_SCALAR, 0);
    if (wanted[1] && !(d[1] = hone__reduce_to(hone_where(call->in[0], dy[0], zero), call->in[1]->shape)))
        return false;
    if (wanted[2] && !(d[2] = hone__reduce_to(hone_where(call->in[0], zero, dy[0]), call->in[2]->shape)))
        return false;
    return true;
}

#define CONDITION(...)                                                              \
    {                                                                               \
        .dtype = HONE_U8, .shape = __VA_ARGS__, .fill = HONE__FILL_INDEX, .high = 2 \
    }
#define INTEGER(...)                                                                            \
    {                                                                                           \
        .dtype = HONE_I64, .shape = __VA_ARGS__, .fill = HONE__FILL_INDEX, .low = -9, .high = 9 \
    }
static const hone__sample samples[] = {
    {.name = "same",
     .n_in = 3,
     .in = {CONDITION({2, {3, 5}}), {.shape = {2, {3, 5}}}, {.shape = {2, {3, 5}}}}},
    {.name = "broadcast",
     .n_in = 3,
     .in = {CONDITION({2, {3, 1}}), {.shape = {1, {5}}}, {.shape = {3, {2, 1, 1}}}}},
    {.name = "scalars", .n_in = 3, .in = {CONDITION({2, {3, 5}}), {.shape = {0, {0}}}, {.shape = {0, {0}}}}},
    {.name = "empty", .n_in = 3, .in = {CONDITION({2, {0, 5}}), {.shape = {1, {5}}}, {.shape = {0, {0}}}}},
    {.name = "i64", .n_in = 3, .in = {CONDITION({2, {3, 5}}), INTEGER({2, {3, 5}}), INTEGER({1, {5}})}},
    {.name = "condition",
     .n_in = 3,
     .in = {{.shape = {1, {3}}}, {.shape = {1, {3}}}, {.shape = {1, {3}}}},
     .refused = "condition must be u8"},
    {.name = "mixed",
     .n_in = 3,
     .in = {CONDITION({1, {3}}), {.shape = {1, {3}}}, INTEGER({1, {3}})},
     .refused = "cast one"},
    {.name = "misfit",
     .n_in = 3,
     .in = {CONDITION({1, {4}}), {.shape = {1, {3}}}, {.shape = {1, {3}}}},
     .refused = "cannot be broadcast"},
    {0}};

const hone_op hone__op_where = {.name = "where",
                                .doc = "y = condition ? a : b",
                                .n_in = 3,
                                .n_out = 1,
                                .flags = HONE__STRIDED,
                                .shape = shape,
                                .run = run,
                                .vjp = vjp,
                                .samples = samples};

hone_node *hone_where(hone_node *condition, hone_node *a, hone_node *b)
{
    if (!condition || !a || !b) return NULL;
    return hone__record(condition->call->graph, &hone__op_where, 3, (hone_node *[]){condition, a, b}, NULL);
}
