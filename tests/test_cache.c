/* Caches of keys and values: written in place, row by row or by chosen rows, and looked at. */
#include "graph_tools.h"

/* Rows of a cache that are named: written to, and looked at. */
static void test_cache_rows(void **state)
{
    (void)state;
    enum { ROWS = 4, CAPACITY = 5, HEADS = 2, D = 4, STEP = HEADS * D };
    for (int64_t times = 1; times <= 2; times++) { /* one query a row, and several */
        hone_graph *graph = hone_graph_new(ctx);
        hone_tensor *cache = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(ROWS, CAPACITY, HEADS, D));
        for (int64_t i = 0; i < ROWS * CAPACITY * STEP; i++) ((float *)cache->data)[i] = (float)(i % 13) / 7;
        hone_node *q = hone_input(graph, "q", HONE_F32, HONE_SHAPE(2, times, HEADS, D));
        hone_node *position = hone_input(graph, "position", HONE_I32, HONE_SHAPE(2)), *v = hone_variable(graph, cache);
        hone_node *rows = hone_input(graph, "rows", HONE_I32, HONE_SHAPE(2));
        hone_node *written = hone_cache_write_rows(v, q, position, rows), *gradient;
        /* the same by hand: the rows gathered */
        hone_node *some = hone_gather(written, rows, 0);
        hone_node *outputs[] = {hone_attention(q, written, written, .rows = rows, .causal = true),
                                hone_attention(q, some, some, .causal = true), written};
        hone_node *sum = hone_sum(hone_attention(q, v, v, .rows = rows), HONE_ALL_AXES, false);
        assert_int_equal(hone_grad(sum, 1, &q, &gradient), HONE_UNSUPPORTED);
        assert_error(HONE_UNSUPPORTED, "chosen rows of keys have no gradient");
        hone_clear_error(ctx);
        assert_null(hone_cache_write_rows(v, q, position, hone_input(graph, "wrong", HONE_I32, HONE_SHAPE(3))));
        assert_error(HONE_SHAPE, "rows must be i32 [2]");
        hone_clear_error(ctx);
        hone__plan *plan = hone__plan_new(graph, 3, outputs, HONE_F32);
        assert_non_null(plan);
        float *x = hone__plan_input(plan, 0)->data;
        for (int64_t i = 0; i < 2 * times * STEP; i++) x[i] = (float)(i % 5) - 2;
        memcpy(hone__plan_input(plan, 1)->data, ((int32_t[]){2, 0}), 8);
        int32_t *row = hone__plan_input(plan, 2)->data;
        row[0] = 3, row[1] = 1;
        assert_hone_ok(ctx, hone__plan_run(plan, &now));
        const float *a = hone__plan_output(plan, 0)->data, *b = hone__plan_output(plan, 1)->data, *all = hone__plan_output(plan, 2)->data;
        for (int64_t i = 0; i < 2 * times * STEP; i++) assert_float_equal(a[i], b[i], 1e-6);
        assert_memory_equal(all + (3 * CAPACITY + 2) * STEP, x, (size_t)(times * STEP) * sizeof(float));
        assert_memory_equal(all + 1 * CAPACITY * STEP, x + times * STEP, (size_t)(times * STEP) * sizeof(float));
        for (int32_t bad = -1; bad <= ROWS; bad += ROWS + 1) {
            row[1] = bad;
            assert_int_equal(hone__plan_run(plan, &now), HONE_INVALID);
        }
        hone__plan_free(plan);
        hone_graph_release(graph);
        hone_tensor_free(cache);
    }
}

static void test_cache_write(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_tensor *cache = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(2, 4, 1));
    hone_node *v = hone_variable(graph, cache), *old = hone_sum(v, HONE_ALL_AXES, false);
    hone_node *value = hone_input(graph, "value", HONE_F32, HONE_SHAPE(2, 2, 1));
    hone_node *position = hone_input(graph, "position", HONE_I32, HONE_SHAPE(2));
    hone_node *outputs[] = {hone_cache_write(v, value, position), old};
    assert_null(hone_cache_write(v, hone_input(graph, "long", HONE_F32, HONE_SHAPE(2, 5, 1)), position));
    assert_error(HONE_SHAPE, "a cache of shape [2, 4, 1] cannot take a value of shape [2, 5, 1]");
    hone_clear_error(ctx);
    assert_null(hone_cache_write(v, value, hone_input(graph, "wrong", HONE_I64, HONE_SHAPE(2))));
    assert_error(HONE_SHAPE, "position must be i32 [2]");
    hone_clear_error(ctx);
    hone__plan *plan = hone__plan_new(graph, 2, outputs, HONE_F32);
    assert_non_null(plan);
    memcpy(hone__plan_input(plan, 0)->data, VALUES(1, 2, 3, 4), 16);
    int32_t *at_position = hone__plan_input(plan, 1)->data;
    at_position[0] = 2, at_position[1] = 0;
    assert_hone_ok(ctx, hone__plan_run(plan, &now));
    for (int i = 0; i < 8; i++) assert_float_equal(at(cache, i), VALUES(0, 0, 1, 2, 3, 4, 0, 0)[i], 0);
    assert_float_equal(((float *)hone__plan_output(plan, 1)->data)[0], 0, 0);
    const int32_t outside[] = {3, -1};
    for (int i = 0; i < 2; i++) {
        at_position[1] = outside[i];
        assert_int_equal(hone__plan_run(plan, &now), HONE_INVALID);
        assert_non_null(strstr(hone_error(ctx), "is outside a cache of 4"));
    }
    for (int i = 0; i < 8; i++) assert_float_equal(at(cache, i), VALUES(0, 0, 1, 2, 3, 4, 0, 0)[i], 0);
    hone__plan_free(plan);
    hone_graph_release(graph);
    hone_tensor_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_cache_write),
        TEST(test_cache_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
