/* For test_graph.c and test_plan.c: a context for each test, values, a plan run once. */
#ifndef HONE_TEST_GRAPH_TOOLS_H
#define HONE_TEST_GRAPH_TOOLS_H

#include "scratch.h"

#include "graph/plan.h"
#include "op/op.h"

static hone_ctx *ctx;
static inline int new_ctx(void **state)
{
    (void)state;
    return (ctx = hone_ctx_new(.threads = 2)) ? 0 : -1;
}
static inline int free_ctx(void **state)
{
    (void)state;
    hone_ctx_release(ctx);
    return 0;
}

#define VALUES(...) ((const float[]){__VA_ARGS__})
static inline hone_tensor *vector(int n, const float *values)
{
    return hone_tensor_from_f32(ctx, HONE_SHAPE(n), values);
}
static inline float at(const hone_tensor *t, int64_t i) { return (float)hone_tensor_get(t, i); }
static const hone__run_info now = {0};

/* Plans and runs; the results of n outputs of one element each. */
static inline hone_status run_scalars(hone_graph *graph, int n, hone_node *const *outputs, double *results)
{
    hone__plan *plan = hone__plan_new(graph, n, outputs, HONE_F32);
    if (!plan) return ctx->status;
    hone_status status = hone__plan_run(plan, &now);
    for (int i = 0; i < n; i++) {
        const hone__view *view = hone__plan_output(plan, i);
        hone__convert(&results[i], HONE_F64, view->data, view->dtype, 1);
    }
    hone__plan_free(plan);
    return status;
}

static inline void assert_error(hone_status status, const char *part)
{
    assert_int_equal(hone_ctx_status(ctx), status);
    if (!strstr(hone_error(ctx), part)) fail_msg("'%s' does not contain '%s'", hone_error(ctx), part);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, new_ctx, free_ctx)

#endif
