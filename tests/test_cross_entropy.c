/* The two ways to the gradient of a language model's loss: with a frozen weight the forward pass makes that of x, with a
   trained one the backward pass makes both. A failure means that they disagree, or that one is farther from the truth. */
#include "graph_tools.h"

#include <math.h>

enum { ROWS = 96, WIDTH = 64, CLASSES = 5000 }; /* two blocks of classes */

static hone_tensor *made(hone_dtype dtype, int64_t rows, bool weight)
{
    hone_tensor *t = hone_tensor_new(ctx, dtype, HONE_SHAPE(rows, WIDTH));
    if (!t) fail_msg("%s", hone_error(ctx));
    for (int64_t i = 0; i < rows * WIDTH; i++) {
        int64_t row = i / WIDTH;
        double value = 0.3 * (double)hone__random_normal(weight, (uint64_t)i);
        /* Rows 5 and 6 find a logit, 77, that leaves all before it far behind: in the first block, and in the second. */
        if (!weight && (row == 5 || row == 6)) value = row == 5 ? 2 : -2;
        if (weight && (row == 300 || row == 4600)) value = row == 300 ? 0.6 : -0.6;
        value = (double)hone__bf16_to_f32(hone__f32_to_bf16((float)value)); /* so that all precisions begin alike */
        if (dtype == HONE_F64)
            ((double *)t->data)[i] = value;
        else
            ((float *)t->data)[i] = (float)value;
    }
    return t;
}

/* Of x, into dx[ROWS * WIDTH]. */
static void gradient(hone_dtype dtype, hone_dtype compute, bool frozen, double *dx)
{
    hone_graph *graph = hone_graph_new(ctx, .mode = HONE_TRAIN);
    hone_tensor *x = made(dtype, ROWS, false), *w = made(dtype, CLASSES, true);
    hone_tensor *targets = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(ROWS));
    for (int i = 0; i < ROWS; i++) ((int32_t *)targets->data)[i] = i % 7 == 3 ? -100 : i * 811 % CLASSES;
    hone_node *wrt[2] = {hone_variable(graph, x), hone_variable(graph, w)}, *out[2];
    hone_node *losses = hone_linear_cross_entropy(wrt[0], wrt[1], hone_constant(graph, targets), NULL);
    hone_node *loss = hone_sum(hone_mul(losses, losses), HONE_ALL_AXES, false); /* each row's gradient is of another size */
    assert_hone_ok(ctx, hone_grad(loss, frozen ? 1 : 2, wrt, out));
    hone__plan *plan = hone__plan_new(graph, 1, out, compute);
    if (!plan) fail_msg("%s", hone_error(ctx));
    assert_hone_ok(ctx, hone__plan_run(plan, &(hone__run_info){0}));
    const hone__view *view = hone__plan_output(plan, 0);
    hone__convert(dx, HONE_F64, view->data, view->dtype, ROWS * WIDTH);
    hone__plan_free(plan);
    hone_graph_release(graph);
    hone_tensor_free(x), hone_tensor_free(w), hone_tensor_free(targets);
}

static double distance(const double *a, const double *b)
{
    double sum = 0, all = 0;
    for (int i = 0; i < ROWS * WIDTH; i++) sum += (a[i] - b[i]) * (a[i] - b[i]), all += b[i] * b[i];
    return sqrt(sum / all);
}

static void test_a_frozen_weight_changes_no_gradient(void **state)
{
    (void)state;
    static double truth[ROWS * WIDTH], trained[ROWS * WIDTH], frozen[ROWS * WIDTH];
    gradient(HONE_F64, HONE_F64, false, truth);
    for (int i = 3; i < ROWS; i += 7) assert_true(truth[i * WIDTH] == 0); /* rows that do not count */
    gradient(HONE_F64, HONE_F64, true, frozen);
    assert_true(distance(frozen, truth) < 1e-12);
    gradient(HONE_F32, HONE_F32, true, frozen);
    assert_true(distance(frozen, truth) < 1e-5);
    gradient(HONE_F32, HONE_BF16, false, trained);
    gradient(HONE_F32, HONE_BF16, true, frozen);
    double far = distance(frozen, truth), usual = distance(trained, truth);
    if (!(far < 0.01 && far <= 1.1 * usual + 1e-6)) fail_msg("bf16: %g from f64, with a trained weight %g", far, usual);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_a_frozen_weight_changes_no_gradient)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
