/* Recording, differentiating, effects: what the graph promises apart from what each op computes. */
#include "graph_tools.h"

#include <math.h>

/* ---- recording ----------------------------------------------------------------------------------------- */

static void test_null_is_passed_on_without_an_error(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(2));
    assert_null(hone_add(NULL, x));
    assert_null(hone_tanh(hone_add(x, NULL)));
    assert_null(hone_where(x, NULL, x));
    assert_null(hone_concatenate(2, (hone_node *[]){x, NULL}, 0));
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    hone_graph_release(graph);
}

static void test_the_first_error_sticks(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *a = hone_input(graph, "a", HONE_F32, HONE_SHAPE(2)),
              *b = hone_input(graph, "b", HONE_F32, HONE_SHAPE(3));
    assert_null(hone_add(a, b));
    assert_error(HONE_SHAPE, "add: shapes [2] and [3] cannot be broadcast");
    assert_null(hone_tanh(a)); /* a legal call, but building has failed */
    assert_null(hone_reshape(a, HONE_SHAPE(7)));
    assert_error(HONE_SHAPE, "add: shapes [2] and [3] cannot be broadcast");
    hone_clear_error(ctx);
    assert_non_null(hone_tanh(a));
    hone_graph_release(graph);
}

static void test_nodes_of_another_graph_are_refused(void **state)
{
    (void)state;
    hone_graph *one = hone_graph_new(ctx), *two = hone_graph_new(ctx);
    hone_node *a = hone_input(one, "a", HONE_F32, HONE_SHAPE(2)),
              *b = hone_input(two, "b", HONE_F32, HONE_SHAPE(2));
    assert_null(hone_add(a, b));
    assert_error(HONE_INVALID, "input 1 belongs to another graph");
    hone_clear_error(ctx);
    assert_null(hone__plan_new(one, 1, &b, HONE_F32));
    assert_error(HONE_INVALID, "another graph");
    hone_clear_error(ctx);
    hone_node *gradient;
    assert_int_equal(hone_grad(hone_sum(a, HONE_ALL_AXES, false), 1, &b, &gradient), HONE_INVALID);
    hone_graph_release(one);
    hone_graph_release(two);
}

static void test_impossible_leaves_are_refused(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    assert_null(hone_input(graph, "x", HONE_Q8_0, HONE_SHAPE(32)));
    assert_error(HONE_DTYPE, "input 'x'");
    hone_clear_error(ctx);
    assert_null(hone_input(graph, "x", HONE_F32, HONE_SHAPE(-1)));
    assert_error(HONE_SHAPE, "[-1]");
    hone_clear_error(ctx);
    assert_null(hone_input(graph, "x", HONE_F32, HONE_SHAPE(INT64_MAX / 2, 3)));
    hone_clear_error(ctx);
    assert_null(hone_fill(graph, HONE_F16, HONE_SHAPE(2), 1));
    assert_error(HONE_DTYPE, "f16");
    hone_clear_error(ctx);
    assert_null(hone_broadcast_to(hone_fill(graph, HONE_F32, HONE_SCALAR, 1), HONE_SHAPE(INT64_MAX, 2)));
    assert_error(HONE_SHAPE, "broadcast_to");
    hone_graph_release(graph);
    hone_clear_error(ctx);
    graph = hone_graph_new(ctx, .eager = true);
    assert_null(hone_input(graph, "x", HONE_F32, HONE_SHAPE(2)));
    assert_error(HONE_STATE, "eager");
    hone_graph_release(graph);
}

static void test_refusals_name_the_layer(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(2));
    const char *outer = hone__scope_push(graph, "block"), *inner = hone__scope_push(graph, "fc1");
    assert_null(hone_reshape(x, HONE_SHAPE(3)));
    assert_error(HONE_SHAPE, "reshape 'block.fc1': ");
    hone__scope_pop(graph, inner);
    assert_string_equal(graph->scope, "block");
    hone__scope_pop(graph, outer);
    assert_string_equal(graph->scope, "");
    hone_graph_release(graph);
}

/* Compositions refuse in their own name or that of a part. */
static void test_compositions_refuse(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(2, 3)), *parts[2];
    assert_null(hone_squeeze(x, 0));
    assert_error(HONE_SHAPE, "squeeze: axis 0 of [2, 3] does not have length 1");
    hone_clear_error(ctx);
    assert_null(hone_expand_dims(x, 4));
    assert_error(HONE_SHAPE, "expand_dims: no new axis 4");
    hone_clear_error(ctx);
    assert_null(hone_transpose2(hone_reshape(x, HONE_SHAPE(6))));
    assert_error(HONE_SHAPE, "transpose2: needs at least 2");
    hone_clear_error(ctx);
    assert_null(hone_variance(x, HONE_AXES(0), false, 2));
    assert_error(HONE_SHAPE, "variance: 2 values with ddof 2");
    hone_clear_error(ctx);
    assert_int_equal(hone_split(x, 1, 2, parts), HONE_SHAPE);
    assert_error(HONE_SHAPE, "split: [2, 3] cannot be cut into 2");
    hone_graph_release(graph);
}

static void test_compositions_compute(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx, .eager = true);
    hone_tensor *t = vector(4, VALUES(3, 4, 0, 0)),
                *rows = hone_tensor_from_f32(ctx, HONE_SHAPE(2, 2), VALUES(3, 4, 0, 0));
    hone_node *x = hone_constant(graph, t), *m = hone_constant(graph, rows), *gradient, *parts[2];
    float value[4];
    assert_hone_ok(ctx, hone_node_read(hone_variance(x, HONE_ALL_AXES, false, 1), 1, HONE_F32, value));
    assert_float_equal(value[0], 4.25f, 1e-6f); /* mean 1.75 */
    hone_node *norm = hone_norm(m, HONE_AXES(1), false);
    assert_hone_ok(ctx, hone_node_read(norm, 2, HONE_F32, value));
    assert_float_equal(value[0], 5, 1e-6f);
    assert_float_equal(value[1], 0, 0);
    assert_hone_ok(ctx, hone_grad(hone_sum(norm, HONE_ALL_AXES, false), 1, &m, &gradient));
    assert_hone_ok(ctx, hone_node_read(gradient, 4, HONE_F32, value));
    assert_float_equal(value[0], 0.6f, 1e-6f);
    assert_float_equal(value[1], 0.8f, 1e-6f);
    assert_float_equal(value[2], 0, 0); /* at 0 the norm has no slope: 0 is given, not NaN */
    assert_hone_ok(ctx, hone_split(x, 0, 2, parts));
    assert_hone_ok(ctx, hone_node_read(parts[0], 2, HONE_F32, value));
    assert_float_equal(value[1], 4, 0);
    hone_node *wide = hone_expand_dims(hone_squeeze(hone_expand_dims(x, 0), 0), -1);
    assert_true(hone_shape_equal(hone_node_shape(wide), HONE_SHAPE(4, 1)));
    assert_true(hone_shape_equal(hone_node_shape(hone_transpose2(wide)), HONE_SHAPE(1, 4)));
    hone_tensor_free(t);
    hone_tensor_free(rows);
    hone_graph_release(graph);
}

static void test_a_wrong_index_is_an_error_of_the_run(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_fill(graph, HONE_F32, HONE_SHAPE(5, 2), 1);
    hone_node *i = hone_input(graph, "i", HONE_I32, HONE_SHAPE(3));
    hone_node *each[] = {hone_gather(x, i, 0),
                         hone_scatter_add(hone_fill(graph, HONE_F32, HONE_SHAPE(3), 1), i, 0, 5),
                         hone_one_hot(i, 5, HONE_F32)};
    const int32_t wrong[] = {5, -1};
    for (int w = 0; w < 2; w++)
        for (int k = 0; k < 3; k++) {
            hone__plan *plan = hone__plan_new(graph, 1, &each[k], HONE_F32);
            assert_non_null(plan);
            int32_t *index = hone__plan_input(plan, 0)->data;
            index[0] = 4, index[1] = wrong[w], index[2] = 0;
            assert_int_equal(hone__plan_run(plan, &now), HONE_INVALID);
            char expected[64];
            snprintf(expected, sizeof expected, "index %d at position 1 is outside [0, 5)", (int)wrong[w]);
            assert_non_null(strstr(hone_error(ctx), expected));
            assert_non_null(strstr(hone_error(ctx), each[k]->call->op->name));
            index[1] = 1; /* the plan can be run again */
            assert_int_equal(hone__plan_run(plan, &now), HONE_OK);
            hone__plan_free(plan);
        }
    assert_int_equal(hone_ctx_status(ctx), HONE_OK); /* errors of a run do not stick */
    hone_graph_release(graph);
}

/* ---- variables and effects ----------------------------------------------------------------------------- */

static void test_a_variable_is_one_node_and_read_at_each_run(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_tensor *full = vector(1, VALUES(1)), *half = hone_tensor_new(ctx, HONE_BF16, HONE_SHAPE(1));
    hone_node *a = hone_variable(graph, full), *b = hone_variable(graph, half);
    assert_ptr_equal(a, hone_variable(graph, full));
    assert_int_equal(hone_node_dtype(b), HONE_F32); /* half floats are seen as f32 */
    hone_node *sum = hone_maximum(a, b);            /* not an op that reads bf16 itself */
    hone__plan *plan = hone__plan_new(graph, 1, &sum, HONE_F32);
    assert_non_null(plan);
    for (int i = 1; i <= 3; i++) {
        float value = (float)i * 2;
        assert_hone_ok(ctx, hone_tensor_write(half, 0, 1, HONE_F32, &value));
        assert_hone_ok(ctx, hone__plan_run(plan, &now));
        assert_float_equal(((float *)hone__plan_output(plan, 0)->data)[0], value, 0);
    }
    hone__plan_free(plan);
    hone_graph_release(graph);
    hone_tensor_free(full);
    hone_tensor_free(half);
}

static void test_readers_of_the_old_value_run_before_the_assignment(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_tensor *t = vector(1, VALUES(1));
    hone_node *v = hone_variable(graph, t);
    hone_node *before = hone_affine(v, 2, 0), *assigned = hone_assign(v, hone_affine(v, 1, 10));
    hone_node *after = hone_affine(v, 3, 0), *updated = hone_affine(assigned, 5, 0);
    hone_node *outputs[] = {before, after, updated, v};
    double got[4];
    for (int run = 0; run < 2; run++) {
        double old = 1 + 10 * run;
        assert_hone_ok(ctx, run_scalars(graph, 4, outputs, got));
        assert_float_equal(got[0], 2 * old, 0);
        assert_float_equal(got[1], 3 * old, 0); /* recorded after the assignment, but of the old node */
        assert_float_equal(got[2], 5 * (old + 10), 0);
        assert_float_equal(got[3], old, 0);
        assert_float_equal(at(t, 0), old + 10, 0);
    }
    hone_graph_release(graph);
    hone_tensor_free(t);
}

static void test_views_and_later_assignments_see_the_right_value(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_tensor *t = hone_tensor_from_f32(ctx, HONE_SHAPE(2, 2), VALUES(1, 2, 3, 4));
    hone_node *v = hone_variable(graph, t);
    hone_node *first = hone_assign(v, hone_affine(v, 10, 0));
    hone_node *old_view = hone_transpose2(v); /* a result that looks at memory which is about to change */
    hone_node *second = hone_assign(v, hone_affine(v, 100, 0));
    hone_node *between = hone_affine(first, 1, 0); /* recorded after the second assignment */
    hone_node *outputs[] = {old_view, between, second};
    hone__plan *plan = hone__plan_new(graph, 3, outputs, HONE_F32);
    if (!plan) fail_msg("%s", hone_error(ctx));
    assert_hone_ok(ctx, hone__plan_run(plan, &now));
    assert_float_equal(((float *)hone__plan_output(plan, 0)->data)[1], 3, 0);
    assert_float_equal(((float *)hone__plan_output(plan, 1)->data)[1], 20, 0);
    assert_float_equal(((float *)hone__plan_output(plan, 2)->data)[1], 200, 0);
    assert_float_equal(at(t, 1), 200, 0);
    hone__plan_free(plan);
    hone_graph_release(graph);
    hone_tensor_free(t);
}

/* A view reads nothing, but one that is a result must be copied before its memory changes. */
static void test_a_result_that_is_a_view_keeps_the_old_value(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_tensor *t = vector(2, VALUES(1, 2));
    hone_node *v = hone_variable(graph, t);
    hone_assign(v, hone_fill(graph, HONE_F32, HONE_SHAPE(2), 7));
    hone_node *last = hone_slice(v, 0, 1, 2, 1);
    double got;
    assert_hone_ok(ctx, run_scalars(graph, 1, &last, &got));
    assert_float_equal(got, 2, 0);
    assert_float_equal(at(t, 1), 7, 0);
    hone_graph_release(graph);
    hone_tensor_free(t);
}

/* The first assignment to v waits for u's, which waits for a reader recorded last: the second one must
   wait too. */
static void test_assignments_run_in_the_order_of_recording(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_tensor *t = vector(1, VALUES(1)), *other = vector(1, VALUES(5));
    hone_node *v = hone_variable(graph, t), *u = hone_variable(graph, other);
    hone_assign(v, hone_assign(u, hone_fill(graph, HONE_F32, HONE_SHAPE(1), 6)));
    hone_assign(v, hone_fill(graph, HONE_F32, HONE_SHAPE(1), 8));
    hone_node *late = hone_affine(u, 2, 0);
    double got;
    assert_hone_ok(ctx, run_scalars(graph, 1, &late, &got));
    assert_float_equal(got, 10, 0);
    assert_float_equal(at(t, 0), 8, 0);
    hone_graph_release(graph);
    hone_tensor_free(t);
    hone_tensor_free(other);
}

static void test_a_variable_can_be_assigned_a_view_of_itself(void **state)
{
    (void)state;
    for (int eager = 0; eager < 2; eager++) {
        hone_graph *graph = hone_graph_new(ctx, .eager = eager);
        hone_tensor *t = hone_tensor_from_f32(ctx, HONE_SHAPE(2, 2), VALUES(1, 2, 3, 4));
        hone_node *v = hone_variable(graph, t), *turned = hone_assign(v, hone_transpose2(v));
        assert_non_null(turned);
        if (!eager) {
            double ignored[4];
            assert_hone_ok(ctx, run_scalars(graph, 0, NULL, ignored));
        }
        for (int i = 0; i < 4; i++) assert_float_equal(at(t, i), VALUES(1, 3, 2, 4)[i], 0);
        hone_graph_release(graph);
        hone_tensor_free(t);
    }
}

static void test_a_cycle_through_an_assignment_is_refused(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_tensor *t = vector(1, VALUES(1));
    hone_node *v = hone_variable(graph, t), *assigned = hone_assign(v, hone_affine(v, 2, 0));
    hone_node *sum = hone_add(v, assigned); /* wants the old value after the new one */
    assert_null(hone__plan_new(graph, 1, &sum, HONE_F32));
    assert_error(HONE_STATE, "use the node that hone_assign returned");
    hone_graph_release(graph);
    hone_tensor_free(t);
}

static void test_assign_refuses(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_tensor *t = vector(2, VALUES(1, 2));
    hone_node *v = hone_variable(graph, t), *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(3));
    assert_null(hone_assign(v, x));
    assert_error(HONE_SHAPE, "the variable is f32 [2], the value f32 [3]");
    hone_clear_error(ctx);
    assert_null(hone_assign(x, x));
    assert_error(HONE_INVALID, "no variable");
    hone_clear_error(ctx);
    hone_node *loss = hone_sum(hone_assign(v, hone_slice(x, 0, 0, 2, 1)), HONE_ALL_AXES, false), *gradient;
    assert_int_equal(hone_grad(loss, 1, &x, &gradient), HONE_UNSUPPORTED);
    assert_error(HONE_UNSUPPORTED, "assign: cannot be differentiated");
    hone_graph_release(graph);
    hone_tensor_free(t);
}

/* Tables are read as they are stored: q8_0 [3, 32] with scales 1, 2, 3, and bf16; whole rows and single elements. */
static void test_gather_reads_tables_as_they_are_stored(void **state)
{
    (void)state;
    enum { ROW = 34 };
    _Alignas(64) uint8_t blocks[3 * ROW];
    static const uint16_t scale[3] = {0x3C00, 0x4000, 0x4200}; /* 1, 2, 3 as f16 */
    for (int r = 0; r < 3; r++) {
        memcpy(blocks + r * ROW, &scale[r], 2);
        for (int i = 0; i < 32; i++) blocks[r * ROW + 2 + i] = (uint8_t)(i - 16);
    }
    hone_tensor *table[2] = {hone_tensor_borrow(ctx, HONE_Q8_0, HONE_SHAPE(3, 32), blocks),
                             hone_tensor_new(ctx, HONE_BF16, HONE_SHAPE(3, 32))};
    for (int i = 0; i < 96; i++) {
        float value = (float)((i / 32 + 1) * (i % 32 - 16));
        assert_hone_ok(ctx, hone_tensor_write(table[1], i, 1, HONE_F32, &value));
    }
    hone_tensor *picks = hone_tensor_from_i32(ctx, HONE_SHAPE(2), (const int32_t[]){2, 0});
    for (int t = 0; t < 2; t++)
        for (int eager = 0; eager < 2; eager++) {
            hone_graph *graph = hone_graph_new(ctx, .eager = eager);
            hone_node *v = hone_variable(graph, table[t]), *at_picks = hone_constant(graph, picks);
            hone_node *out[] = {hone_gather(v, at_picks, 0), hone_gather(v, at_picks, 1)};
            float rows[64], columns[6];
            if (eager) {
                assert_hone_ok(ctx, hone_node_read(out[0], 64, HONE_F32, rows));
                assert_hone_ok(ctx, hone_node_read(out[1], 6, HONE_F32, columns));
            } else {
                hone__plan *plan = hone__plan_new(graph, 2, out, HONE_F32);
                assert_non_null(plan);
                assert_hone_ok(ctx, hone__plan_run(plan, &now));
                memcpy(rows, hone__plan_output(plan, 0)->data, sizeof rows);
                memcpy(columns, hone__plan_output(plan, 1)->data, sizeof columns);
                assert_null(graph->by_hand->derived); /* the table was not unpacked as a whole */
                hone__plan_free(plan);
            }
            for (int i = 0; i < 32; i++) {
                assert_float_equal(rows[i], 3 * (i - 16), 0);
                assert_float_equal(rows[32 + i], i - 16, 0);
            }
            for (int r = 0; r < 3; r++) {
                assert_float_equal(columns[2 * r], (r + 1) * (2 - 16), 0);
                assert_float_equal(columns[2 * r + 1], (r + 1) * (0 - 16), 0);
            }
            hone_graph_release(graph);
        }
    hone_tensor_free(table[0]);
    hone_tensor_free(table[1]);
    hone_tensor_free(picks);
}

static void test_constants_are_copies(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_tensor *t = vector(1, VALUES(7));
    hone_node *c = hone_constant(graph, t);
    hone_tensor_free(t);
    double got;
    assert_hone_ok(ctx, run_scalars(graph, 1, &c, &got));
    assert_float_equal(got, 7, 0);
    hone_graph_release(graph);
}

/* ---- gradients ----------------------------------------------------------------------------------------- */

static void test_gradients_of_shared_nodes_add_up(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_fill(graph, HONE_F64, HONE_SCALAR, 3),
              *unrelated = hone_fill(graph, HONE_F64, HONE_SHAPE(2), 1);
    hone_node *y = hone_add(hone_mul(x, x), hone_add(x, hone_mul(hone_square(x), x))); /* x^2 + x + x^3 */
    hone_node *gradients[2], *wrt[] = {x, unrelated};
    double got;
    assert_hone_ok(ctx, hone_grad(y, 2, wrt, gradients));
    assert_hone_ok(ctx, run_scalars(graph, 1, gradients, &got));
    assert_float_equal(got, 2 * 3 + 1 + 3 * 9, 1e-12);
    assert_true(hone_shape_equal(hone_node_shape(gradients[1]), HONE_SHAPE(2))); /* zeros, of its shape */
    hone_graph_release(graph);
}

static void test_second_derivatives(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_fill(graph, HONE_F64, HONE_SCALAR, 0.7), *first[2], *second[2];
    hone_node *y[] = {hone_mul(hone_square(x), x), hone_tanh(x)};
    for (int i = 0; i < 2; i++) {
        assert_hone_ok(ctx, hone_grad(y[i], 1, &x, &first[i]));
        assert_hone_ok(ctx, hone_grad(first[i], 1, &x, &second[i]));
    }
    double got[2], t = tanh(0.7);
    assert_hone_ok(ctx, run_scalars(graph, 2, second, got));
    assert_float_equal(got[0], 6 * 0.7, 1e-12);
    assert_float_equal(got[1], -2 * t * (1 - t * t), 1e-12);
    hone_graph_release(graph);
}

/* loss = sum(f(x)^3), f linear and made of moves: the Hessian times ones is 6 J^T (f * J ones), checked by
   differences of the gradient. */
static hone_node *moved(hone_node *x, hone_node *indices)
{
    hone_node *cut = hone_slice(x, 1, 1, 6, 2);                                               /* [4, 3] */
    hone_node *wide = hone_pad(cut, HONE_SHAPE(1, 0), HONE_SHAPE(0, 2), 0.5);                 /* [5, 5] */
    hone_node *taken = hone_gather(wide, indices, 0);                                         /* [3, 5] */
    hone_node *spread = hone_scatter_add(taken, indices, 0, 5);                               /* [5, 5] */
    hone_node *both = hone_concatenate(2, (hone_node *[]){spread, hone_transpose2(wide)}, 1); /* [5, 10] */
    hone_node *mean = hone_mean(both, HONE_AXES(0), true), *most = hone_max(both, HONE_AXES(1), true);
    return hone_add(hone_add(both, hone_broadcast_to(mean, HONE_SHAPE(5, 10))), most);
}

static void test_gradients_of_gradients_of_moves(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_tensor *at_rows = hone_tensor_from_i32(ctx, HONE_SHAPE(3), (const int32_t[]){4, 0, 4});
    hone_node *x = hone_input(graph, "x", HONE_F64, HONE_SHAPE(4, 7)),
              *f = moved(x, hone_constant(graph, at_rows));
    hone_node *first, *second, *loss = hone_sum(hone_mul(hone_square(f), f), HONE_ALL_AXES, false);
    assert_hone_ok(ctx, hone_grad(loss, 1, &x, &first));
    hone_node *total = hone_sum(first, HONE_ALL_AXES, false);
    assert_hone_ok(ctx, hone_grad(total, 1, &x, &second));
    hone__plan *plan = hone__plan_new(graph, 2, (hone_node *[]){total, second}, HONE_F32);
    if (!plan) fail_msg("%s", hone_error(ctx));
    double value[28], *in = hone__plan_input(plan, 0)->data;
    for (int e = -1; e < 28; e++) {
        double sum[2] = {0, 0};
        for (int side = 0; side < 2; side++) {
            for (int i = 0; i < 28; i++) in[i] = (double)hone__random_normal(11, (uint64_t)i);
            if (e >= 0) in[e] += side ? -1e-5 : 1e-5;
            assert_hone_ok(ctx, hone__plan_run(plan, &now));
            sum[side] = *(double *)hone__plan_output(plan, 0)->data;
            if (e < 0) memcpy(value, hone__plan_output(plan, 1)->data, sizeof value);
        }
        if (e >= 0) assert_float_equal(value[e], (sum[0] - sum[1]) / 2e-5, 1e-5);
    }
    hone__plan_free(plan);
    hone_graph_release(graph);
    hone_tensor_free(at_rows);
}

static void test_grad_refuses(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(2)),
              *i = hone_input(graph, "i", HONE_I32, HONE_SHAPE(1));
    hone_node *gradient;
    assert_int_equal(hone_grad(x, 1, &x, &gradient), HONE_SHAPE);
    assert_error(HONE_SHAPE, "the loss must be one real number, not f32 of shape [2]");
    hone_clear_error(ctx);
    assert_int_equal(hone_grad(i, 1, &x, &gradient), HONE_SHAPE);
    hone_clear_error(ctx);
    assert_int_equal(hone_grad(hone_sum(x, HONE_ALL_AXES, false), 1, &i, &gradient), HONE_INVALID);
    assert_error(HONE_INVALID, "wrt[0]");
    hone_clear_error(ctx);
    hone_node *fused = hone_sum(hone__unary_grad(x, x, HONE__GELU, 0, 0), HONE_ALL_AXES, false);
    assert_int_equal(hone_grad(fused, 1, &x, &gradient), HONE_UNSUPPORTED);
    assert_error(HONE_UNSUPPORTED, "unary_grad: cannot be differentiated");
    assert_int_equal(hone_grad(NULL, 1, &x, &gradient), HONE_INVALID);
    hone_graph_release(graph);
}

/* Comparisons and choices by index have no gradient and stop none. */
static void test_gradients_pass_integers_by(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_fill(graph, HONE_F32, HONE_SHAPE(3), 2), *gradient;
    hone_node *mask = hone_cast(hone_greater(x, hone_fill(graph, HONE_F32, HONE_SCALAR, 1)), HONE_F32);
    hone_node *loss =
        hone_sum(hone_mul(mask, hone_gather(x, hone_cast(x, HONE_I32), 0)), HONE_ALL_AXES, false);
    assert_hone_ok(ctx, hone_grad(loss, 1, &x, &gradient));
    hone_node *last = hone_slice(gradient, 0, 2, 3, 1);
    double got;
    assert_hone_ok(ctx, run_scalars(graph, 1, &last, &got));
    assert_float_equal(got, 3, 0); /* all three picked element 2 */
    hone_graph_release(graph);
}

/* A trainable variable, as a model would own it. */
static hone__variable parameter(float *data, float *grad, int64_t n)
{
    return (hone__variable){.ctx = ctx,
                            .name = "w",
                            .dtype = HONE_F32,
                            .stored = HONE_F32,
                            .shape = HONE_SHAPE(n),
                            .data = data,
                            .grad = grad,
                            .trainable = true,
                            .version = 1};
}

static void test_gradients_are_written_into_their_slots(void **state)
{
    (void)state;
    float w[3] = {1, 2, 3}, slot[3] = {99, 99, 99};
    hone__variable variable = parameter(w, slot, 3);
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *v = hone__variable_node(graph, &variable),
              *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(4, 3));
    /* Two readers: their contributions are stored one after the other, the first one overwrites. */
    hone_node *loss = hone_add(hone_sum(hone_add(x, v), HONE_ALL_AXES, false),
                               hone_sum(hone_square(v), HONE_ALL_AXES, false));
    size_t before = graph->n_calls;
    assert_hone_ok(ctx, hone__grad_variables(loss, NULL, NULL));
    int stores = 0;
    for (size_t c = before; c < graph->n_calls; c++) stores += graph->calls[c]->op == &hone__op_grad_store;
    assert_int_equal(stores, 2);
    hone__plan *plan = hone__plan_new(graph, 1, &loss, HONE_F32);
    assert_non_null(plan);
    for (uint64_t micro = 0; micro < 3; micro++) {
        assert_hone_ok(ctx, hone__plan_run(plan, &(hone__run_info){.micro_batch = micro}));
        for (int i = 0; i < 3; i++) assert_float_equal(slot[i], (float)(micro + 1) * (4 + 2 * w[i]), 1e-5f);
    }
    assert_hone_ok(ctx, hone__plan_run(plan, &now)); /* a new step overwrites */
    assert_float_equal(slot[0], 6, 1e-6f);
    hone__plan_free(plan);
    variable.grad = NULL; /* frozen since it was recorded: nothing is stored, nothing breaks */
    plan = hone__plan_new(graph, 1, &loss, HONE_F32);
    assert_non_null(plan);
    assert_hone_ok(ctx, hone__plan_run(plan, &now));
    hone__plan_free(plan);
    hone_graph_release(graph);
}

/* ---- looking ------------------------------------------------------------------------------------------- */

static void test_dumps(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(2, 3));
    const char *before = hone__scope_push(graph, "head");
    hone_sum(hone_slice(x, 1, 0, 2, 1), HONE_AXES(0, 1), true);
    hone__scope_pop(graph, before);
    char *text = hone_graph_dump(graph, HONE_DUMP_TEXT), *dot = hone_graph_dump(graph, HONE_DUMP_DOT);
    assert_non_null(strstr(text, "%1 = slice axis=1 start=0 stop=2 step=1 : f32 [2, 2] <- %0  [head]\n"));
    assert_non_null(strstr(text, "%2 = sum axes=0,1 keep_dims=true : f32 [1, 1] <- %1  [head]\n"));
    assert_int_equal(strncmp(dot, "digraph hone {\n", 15), 0);
    assert_non_null(strstr(dot, "  n1 -> n2;\n"));
    hone_free_text(ctx, text);
    hone_free_text(ctx, dot);
    hone_graph_release(graph);
}

static void test_eager_nodes_can_be_read(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx, .eager = true), *recorded = hone_graph_new(ctx);
    hone_node *x = hone_fill(graph, HONE_F32, HONE_SHAPE(2, 3), 1.5);
    int32_t whole[6];
    assert_hone_ok(ctx, hone_node_read(hone_transpose2(x), 6, HONE_I32, whole));
    assert_int_equal(whole[5], 1);
    assert_int_equal(hone_node_read(x, 5, HONE_I32, whole), HONE_INVALID);
    assert_int_equal(hone_node_read(NULL, 5, HONE_I32, whole), HONE_INVALID);
    assert_int_equal(hone_node_read(hone_fill(recorded, HONE_F32, HONE_SHAPE(6), 1), 6, HONE_I32, whole),
                     HONE_STATE);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    hone_graph_release(graph);
    hone_graph_release(recorded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_null_is_passed_on_without_an_error),
        TEST(test_the_first_error_sticks),
        TEST(test_nodes_of_another_graph_are_refused),
        TEST(test_impossible_leaves_are_refused),
        TEST(test_refusals_name_the_layer),
        TEST(test_compositions_refuse),
        TEST(test_compositions_compute),
        TEST(test_a_wrong_index_is_an_error_of_the_run),
        TEST(test_a_variable_is_one_node_and_read_at_each_run),
        TEST(test_readers_of_the_old_value_run_before_the_assignment),
        TEST(test_views_and_later_assignments_see_the_right_value),
        TEST(test_a_result_that_is_a_view_keeps_the_old_value),
        TEST(test_assignments_run_in_the_order_of_recording),
        TEST(test_a_variable_can_be_assigned_a_view_of_itself),
        TEST(test_a_cycle_through_an_assignment_is_refused),
        TEST(test_assign_refuses),
        TEST(test_gather_reads_tables_as_they_are_stored),
        TEST(test_constants_are_copies),
        TEST(test_gradients_of_shared_nodes_add_up),
        TEST(test_second_derivatives),
        TEST(test_gradients_of_gradients_of_moves),
        TEST(test_grad_refuses),
        TEST(test_gradients_pass_integers_by),
        TEST(test_gradients_are_written_into_their_slots),
        TEST(test_dumps),
        TEST(test_eager_nodes_can_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
