/* The ways to the gradient of a language model's loss. A failure means that they disagree, or that one is farther from the
   truth. */
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

typedef enum way {
    FROZEN, /* the forward pass makes that of x */
    KEPT,   /* and keeps that of the logits, from which the weight's is made */
    AGAIN   /* logits are made again, as they are where memory counts */
} way;

typedef struct gradients {
    double x[ROWS * WIDTH], weight[CLASSES * WIDTH];
} gradients;

static void read_output(const hone__plan *plan, int i, double *to, int64_t count)
{
    const hone__view *view = hone__plan_output(plan, i);
    hone__convert(to, HONE_F64, view->data, view->dtype, count);
}

static void find(hone_dtype dtype, hone_dtype compute, way how, gradients *d)
{
    hone_graph *graph = hone_graph_new(ctx, .mode = HONE_TRAIN);
    hone_tensor *x = made(dtype, ROWS, false), *w = made(dtype, CLASSES, true);
    hone_tensor *targets = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(ROWS));
    for (int i = 0; i < ROWS; i++) ((int32_t *)targets->data)[i] = i % 7 == 3 ? -100 : i * 811 % CLASSES;
    hone_node *wrt[2] = {hone_variable(graph, x), hone_variable(graph, w)}, *out[2];
    hone_node *losses = hone_linear_cross_entropy(wrt[0], wrt[1], hone_constant(graph, targets), NULL);
    if (how == AGAIN) hone_checkpoint_begin(graph), hone_checkpoint_end(graph);
    hone_node *loss = hone_sum(hone_mul(losses, losses), HONE_ALL_AXES, false); /* each row's gradient is of another size */
    int n = how == FROZEN ? 1 : 2;
    assert_hone_ok(ctx, hone_grad(loss, n, wrt, out));
    hone__plan *plan = hone__plan_new(graph, n, out, compute);
    if (!plan) fail_msg("%s", hone_error(ctx));
    assert_hone_ok(ctx, hone__plan_run(plan, &(hone__run_info){0}));
    read_output(plan, 0, d->x, ROWS * WIDTH);
    if (n == 2) read_output(plan, 1, d->weight, CLASSES * WIDTH);
    hone__plan_free(plan);
    hone_graph_release(graph);
    hone_tensor_free(x), hone_tensor_free(w), hone_tensor_free(targets);
}

static double distance(const double *a, const double *b, int64_t count)
{
    double sum = 0, all = 0;
    for (int64_t i = 0; i < count; i++) sum += (a[i] - b[i]) * (a[i] - b[i]), all += b[i] * b[i];
    return sqrt(sum / all);
}

static gradients truth, again, other;

/* The usual way is the farthest that another may be; f32 and f64 have their own bounds. */
static void compare(const char *name, way how, hone_dtype dtype, hone_dtype compute, double bound)
{
    find(dtype, compute, AGAIN, &again);
    find(dtype, compute, how, &other);
    double x = distance(other.x, truth.x, ROWS * WIDTH), usual = distance(again.x, truth.x, ROWS * WIDTH);
    if (!(x < bound && x <= 1.1 * usual + bound / 100)) fail_msg("%s: dx is %g from f64, else %g", name, x, usual);
    if (how == FROZEN) return;
    double w = distance(other.weight, truth.weight, CLASSES * WIDTH);
    usual = distance(again.weight, truth.weight, CLASSES * WIDTH);
    if (!(w < bound && w <= 1.2 * usual + bound / 100)) fail_msg("%s: dweight is %g from f64, else %g", name, w, usual);
}

static void test_all_ways_to_a_gradient_agree(void **state)
{
    (void)state;
    find(HONE_F64, HONE_F64, AGAIN, &truth);
    for (int i = 3; i < ROWS; i += 7) assert_true(truth.x[i * WIDTH] == 0); /* rows that do not count */
    for (way how = FROZEN; how <= KEPT; how++) {
        compare(how == KEPT ? "kept, f64" : "frozen, f64", how, HONE_F64, HONE_F64, 1e-12);
        compare(how == KEPT ? "kept, f32" : "frozen, f32", how, HONE_F32, HONE_F32, 1e-5);
        compare(how == KEPT ? "kept, bf16" : "frozen, bf16", how, HONE_F32, HONE_BF16, 0.01);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_all_ways_to_a_gradient_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
