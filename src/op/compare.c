/* Comparisons: one op with the operator as an attribute. */
#include "op/op.h"

struct compare_attr {
    int operator; /* hone__compare */
};
static const hone__attr attrs[] = {HONE__ATTR(struct compare_attr, operator, INT), {0}};

static bool shape(hone__call *call)
{
    hone_dtype a = call->in[0]->dtype, b = call->in[1]->dtype;
    hone_shape out;
    if (!hone__is_integer(a) && !hone__want_real(call, 0)) return false;
    if (a != b)
        return hone__refuse(call, HONE_DTYPE, "input 0 is %s, input 1 %s: cast one of them",
                            hone_dtype_name(a), hone_dtype_name(b));
    return hone__broadcast(call, 0, 1, &out) && hone__set_out(call, 0, HONE_U8, out);
}

static void part(void *arg, const hone__loop *loop, const int64_t *offset, int64_t n)
{
    const hone__exec *e = arg;
    const hone__view *a = &e->in[0], *b = &e->in[1];
    const struct compare_attr *c = e->attr;
    e->k->compare((hone__compare)c->operator, hone__at(&e->out[0], offset[0]), a->dtype,
                  hone__at(a, offset[1]), hone__loop_stride(loop, 1), hone__at(b, offset[2]),
                  hone__loop_stride(loop, 2), n);
}

static hone_status run(hone__exec *e)
{
    hone__loop loop;
    hone__loop_init(&loop, e->out[0].shape, 3, (const hone__view *const[]){&e->out[0], &e->in[0], &e->in[1]});
    hone__loop_run(e->ctx, &loop, HONE__GRAIN, part, e);
    return HONE_OK;
}

/* Small integers as reals: so that ties occur. */
#define LEVELS(...)                                                          \
    {                                                                        \
        .shape = __VA_ARGS__, .fill = HONE__FILL_INDEX, .low = -2, .high = 3 \
    }
#define INTEGER(type, ...)                                                       \
    {                                                                            \
        .dtype = type, .shape = __VA_ARGS__, .fill = HONE__FILL_INDEX, .high = 3 \
    }
#define OF(o) \
    .attr = &(struct compare_attr) { o }
static const hone__sample samples[] = {
    {.name = "equal", .n_in = 2, .in = {LEVELS({2, {3, 7}}), LEVELS({2, {3, 7}})}, OF(HONE__EQ)},
    {.name = "not_equal", .n_in = 2, .in = {LEVELS({2, {3, 7}}), LEVELS({1, {7}})}, OF(HONE__NE)},
    {.name = "less", .n_in = 2, .in = {LEVELS({2, {3, 1}}), LEVELS({1, {7}})}, OF(HONE__LT)},
    {.name = "less_equal", .n_in = 2, .in = {LEVELS({2, {3, 7}}), LEVELS({0, {0}})}, OF(HONE__LE)},
    {.name = "greater", .n_in = 2, .in = {LEVELS({0, {0}}), LEVELS({0, {0}})}, OF(HONE__GT)},
    {.name = "greater_equal", .n_in = 2, .in = {LEVELS({2, {0, 7}}), LEVELS({1, {7}})}, OF(HONE__GE)},
    {.name = "i32",
     .n_in = 2,
     .in = {INTEGER(HONE_I32, {2, {3, 7}}), INTEGER(HONE_I32, {1, {7}})},
     OF(HONE__EQ)},
    {.name = "i64",
     .n_in = 2,
     .in = {INTEGER(HONE_I64, {2, {3, 7}}), INTEGER(HONE_I64, {2, {3, 1}})},
     OF(HONE__LT)},
    {.name = "u8",
     .n_in = 2,
     .in = {INTEGER(HONE_U8, {2, {3, 7}}), INTEGER(HONE_U8, {0, {0}})},
     OF(HONE__GE)},
    {.name = "misfit",
     .n_in = 2,
     .in = {LEVELS({1, {3}}), LEVELS({1, {4}})},
     OF(HONE__EQ),
     .refused = "cannot be broadcast"},
    {.name = "mixed",
     .n_in = 2,
     .in = {LEVELS({1, {3}}), INTEGER(HONE_I32, {1, {3}})},
     OF(HONE__EQ),
     .refused = "cast one"},
    {0}};

const hone_op hone__op_compare = {.name = "compare",
                                  .doc = "y = a (operator) b: 1 or 0",
                                  .n_in = 2,
                                  .n_out = 1,
                                  .flags = HONE__STRIDED,
                                  .attr_size = sizeof(struct compare_attr),
                                  .attrs = attrs,
                                  .shape = shape,
                                  .run = run,
                                  .samples = samples};

static hone_node *compare(hone_node *a, hone_node *b, hone__compare operator)
{
    if (!a || !b) return NULL;
    return hone__record(a->call->graph, &hone__op_compare, 2, (hone_node *[]){a, b},
                        &(struct compare_attr){(int)operator});
}
hone_node *hone_equal(hone_node *a, hone_node *b) { return compare(a, b, HONE__EQ); }
hone_node *hone_not_equal(hone_node *a, hone_node *b) { return compare(a, b, HONE__NE); }
hone_node *hone_less(hone_node *a, hone_node *b) { return compare(a, b, HONE__LT); }
hone_node *hone_less_equal(hone_node *a, hone_node *b) { return compare(a, b, HONE__LE); }
hone_node *hone_greater(hone_node *a, hone_node *b) { return compare(a, b, HONE__GT); }
hone_node *hone_greater_equal(hone_node *a, hone_node *b) { return compare(a, b, HONE__GE); }
