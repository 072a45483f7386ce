/* Layers that lay out, cut, join and move values: shapes, and where each value comes from. */
#include "layer_tools.h"

static void test_layers_give_their_shapes(void **state)
{
    (void)state;
    assert_shape(hone_reshape_layer(ctx, HONE_SHAPE(3, -1)), HONE_SHAPE(2, 12), HONE_SHAPE(2, 3, 4));
    assert_shape(hone_permute_layer(ctx, HONE_AXES(2, 1)), HONE_SHAPE(2, 3, 4), HONE_SHAPE(2, 4, 3));
    assert_shape(hone_zero_padding(ctx, HONE_SHAPE(1, 0), HONE_SHAPE(2, 3)), HONE_SHAPE(2, 3, 4, 5), HONE_SHAPE(2, 3, 7, 8));
    assert_shape(hone_cropping(ctx, HONE_SHAPE(1, 0), HONE_SHAPE(2, 3)), HONE_SHAPE(2, 3, 4, 5), HONE_SHAPE(2, 3, 1, 2));
    assert_shape(hone_spatial_dropout(ctx, 0.5), HONE_SHAPE(2, 3, 4), HONE_SHAPE(2, 3, 4));
    assert_shape(hone_prelu(ctx), HONE_SHAPE(2, 3, 4), HONE_SHAPE(2, 3, 4));
    assert_shape(hone_conv_transpose2d(ctx, 5, 3, .stride = {2}, .padding = HONE_SAME), HONE_SHAPE(2, 3, 4, 6), HONE_SHAPE(2, 5, 8, 12));
    assert_shape(hone_conv_transpose2d(ctx, 5, 2, .stride = {3}, .padding = HONE_SAME, .activation = HONE_RELU), HONE_SHAPE(2, 3, 4, 6),
                 HONE_SHAPE(2, 5, 12, 18));
    assert_shape(hone_group_norm_layer(ctx, 3, .no_affine = true), HONE_SHAPE(2, 6), HONE_SHAPE(2, 6));
}

static hone_node *twice(void *user, hone_graph *graph, hone_node *const *in, int n)
{
    (void)graph;
    return n == 1 ? hone_affine(in[0], *(const double *)user, 0) : NULL;
}

/* in: x [2, 3] twice */
static void record_joins(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    (void)graph;
    hone_layer *const *layer = user;
    out[0] = hone_apply_n(layer[0], 2, in);
    out[1] = hone_apply_n(layer[1], 2, in);
    out[2] = hone_apply_n(layer[2], 2, in);
    out[3] = hone_apply(layer[3], in[0]);
}

static void test_layers_of_several_inputs_and_of_a_users_function(void **state)
{
    (void)state;
    double two = 2;
    hone_layer *layers[] = {hone_concatenate_layer(ctx, 1), hone_add_layer(ctx), hone_multiply_layer(ctx), hone_lambda(ctx, twice, &two)};
    hone_function *f = hone_function_new(ctx, 2, 4, record_joins, layers);
    hone_tensor *in[2] = {ramp(HONE_SHAPE(2, 3)), hone_tensor_from_f32(ctx, HONE_SHAPE(2, 3), VALUES(1, 2, 3, 4, 5, 6))};
    if (hone_function_call(f, in) != HONE_OK) fail_msg("%s", hone_error(ctx));
    assert_true(hone_shape_equal(hone_tensor_shape(hone_function_output(f, 0)), HONE_SHAPE(2, 6)));
    for (int i = 0; i < 12; i++) assert_true(at(hone_function_output(f, 0), i) == at(in[i % 6 / 3], i / 6 * 3 + i % 3));
    for (int i = 0; i < 6; i++) {
        assert_true(at(hone_function_output(f, 1), i) == at(in[0], i) + at(in[1], i));
        assert_true(at(hone_function_output(f, 2), i) == at(in[0], i) * at(in[1], i));
        assert_true(at(hone_function_output(f, 3), i) == 2 * at(in[0], i));
    }
    hone_function_free(f);
    hone_tensor_free(in[0]), hone_tensor_free(in[1]);
}

/* ---- layers that move values ---- */

/* Where what stands at `to` comes from; false: nowhere, it is 0. */
typedef bool (*origin_fn)(const int64_t *to, int64_t *from);
static bool padded(const int64_t *to, int64_t *from) /* (1, 0) before, (2, 3) behind [4, 5] */
{
    from[0] = to[0], from[1] = to[1], from[2] = to[2] - 1, from[3] = to[3];
    return from[2] >= 0 && from[2] < 4 && from[3] < 5;
}
static bool cropped(const int64_t *to, int64_t *from) { return from[0] = to[0], from[1] = to[1], from[2] = to[2] + 1, from[3] = to[3], true; }
static bool flat(const int64_t *to, int64_t *from)
{
    return from[0] = to[0], from[1] = to[1] / 20, from[2] = to[1] / 5 % 4, from[3] = to[1] % 5, true;
}
static bool reshaped(const int64_t *to, int64_t *from) { return flat((int64_t[]){to[0], to[1] * 12 + to[2]}, from); }
static bool permuted(const int64_t *to, int64_t *from) { return from[0] = to[0], from[3] = to[1], from[1] = to[2], from[2] = to[3], true; }

static void test_values_are_where_they_belong(void **state)
{
    (void)state;
    const hone_shape in = HONE_SHAPE(2, 3, 4, 5);
    const struct {
        hone_layer *layer;
        hone_shape out;
        origin_fn origin;
    } cases[] = {{hone_zero_padding(ctx, HONE_SHAPE(1, 0), HONE_SHAPE(2, 3)), HONE_SHAPE(2, 3, 7, 8), padded},
                 {hone_cropping(ctx, HONE_SHAPE(1, 0), HONE_SHAPE(2, 3)), HONE_SHAPE(2, 3, 1, 2), cropped},
                 {hone_flatten(ctx), HONE_SHAPE(2, 60), flat},
                 {hone_reshape_layer(ctx, HONE_SHAPE(5, -1)), HONE_SHAPE(2, 5, 12), reshaped},
                 {hone_permute_layer(ctx, HONE_AXES(3, 1, 2)), HONE_SHAPE(2, 5, 3, 4), permuted}};
    hone_tensor *x = ramp(in);
    for (size_t c = 0; c < HONE_ARRAY_LEN(cases); c++) {
        hone_shape out = cases[c].out;
        hone_tensor *y = apply_once(cases[c].layer, in);
        if (!y) fail_msg("%s", hone_error(ctx));
        assert_true(hone_shape_equal(hone_tensor_shape(y), out));
        for (int64_t i = 0; i < hone_shape_count(out); i++) {
            int64_t to[HONE_MAX_RANK], from[HONE_MAX_RANK], rest = i, k = 0;
            for (int a = out.rank - 1; a >= 0; a--) to[a] = rest % out.dim[a], rest /= out.dim[a];
            bool there = cases[c].origin(to, from);
            for (int a = 0; there && a < in.rank; a++) k = k * in.dim[a] + from[a];
            if (at(y, i) != (there ? at(x, k) : 0)) fail_msg("case %zu: element %lld is %g", c, (long long)i, (double)at(y, i));
        }
        hone_tensor_free(y);
    }
    hone_tensor_free(x);
}

static void test_global_pools_take_whole_channels(void **state)
{
    (void)state;
    hone_tensor *x = ramp(HONE_SHAPE(2, 3, 4, 5)), *most = apply_once(hone_global_max_pool(ctx), HONE_SHAPE(2, 3, 4, 5)),
                *mean = apply_once(hone_global_average_pool(ctx), HONE_SHAPE(2, 3, 4, 5));
    for (int c = 0; c < 6; c++) {
        double largest = -INFINITY, sum = 0;
        for (int i = 0; i < 20; i++) largest = fmax(largest, (double)at(x, c * 20 + i)), sum += (double)at(x, c * 20 + i);
        assert_true((double)at(most, c) == largest && fabs((double)at(mean, c) - sum / 20) < 1e-6);
    }
    hone_tensor_free(x), hone_tensor_free(most), hone_tensor_free(mean);
}

/* Whole channels go, and those that stay are scaled. */
static void test_spatial_dropout_drops_channels(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx, .mode = HONE_TRAIN);
    hone_tensor *ones = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(4, 16, 3, 3));
    for (int i = 0; i < 4 * 16 * 9; i++) ((float *)hone_tensor_data(ones))[i] = 1;
    hone_node *y = hone_apply(hone_spatial_dropout(ctx, 0.5), hone_constant(graph, ones));
    hone__plan *plan = hone__plan_new(graph, 1, &y, HONE_F32);
    assert_non_null(plan);
    assert_hone_ok(ctx, hone__plan_run(plan, &now));
    const float *have = hone__plan_output(plan, 0)->data;
    int kept = 0;
    for (int c = 0; c < 64; c++) {
        kept += have[(int64_t)c * 9] != 0;
        for (int i = 0; i < 9; i++) assert_true(have[c * 9 + i] == have[c * 9] && (have[c * 9] == 0 || have[c * 9] == 2));
    }
    assert_true(kept > 10 && kept < 54);
    hone__plan_free(plan);
    hone_tensor_free(ones);
    hone_graph_release(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_layers_give_their_shapes),
                                       TEST(test_layers_of_several_inputs_and_of_a_users_function),
                                       TEST(test_values_are_where_they_belong),
                                       TEST(test_global_pools_take_whole_channels),
                                       TEST(test_spatial_dropout_drops_channels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
