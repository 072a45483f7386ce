/* Losses against PyTorch, in f64 and f32: values, means and gradients of scripts/golden/make_loss_golden.py; what is refused; and
   what compile and fit make of them. */
#include "graph_tools.h"

#include "io/io.h"
#include "train/train.h"

#include <math.h>

/* ---- golden values ---------------------------------------------------------------------------------------------- */

typedef hone_node *(*loss_fn)(hone_node *, hone_node *, const hone_loss_opts *);
typedef hone_node *(*loss3_fn)(hone_node *, hone_node *, hone_node *, const hone_loss_opts *);

typedef struct loss_case {
    const char *name;
    loss_fn loss;
    loss3_fn loss3;
    hone_loss_opts o;
} loss_case;
/* The same by softmax along that axis. */
static hone_node *by_parts(hone_node *x, hone_node *y, const hone_loss_opts *o) { return hone_nll_loss_opt(hone_log_softmax_along(x, (int)o->axis), y, o); }
static hone_node *categorical_by_parts(hone_node *x, hone_node *t, const hone_loss_opts *o)
{
    return hone_categorical_cross_entropy_loss_opt(hone_softmax_along(x, (int)o->axis), t, o);
}
static const loss_case cases[] = {
    {"mse", hone_mse_loss_opt, NULL, {0}},
    {"mae", hone_mae_loss_opt, NULL, {0}},
    {"huber", hone_huber_loss_opt, NULL, {.delta = 0.7}},
    {"log_cosh", hone_log_cosh_loss_opt, NULL, {0}},
    {"hinge", hone_hinge_loss_opt, NULL, {0}},
    {"bce", hone_binary_cross_entropy_loss_opt, NULL, {0}},
    {"bce_smoothed", hone_binary_cross_entropy_loss_opt, NULL, {.label_smoothing = 0.2}},
    {"bce_logits", hone_binary_cross_entropy_with_logits_loss_opt, NULL, {0}},
    {"focal", hone_focal_loss_opt, NULL, {0}},
    {"focal_options", hone_focal_loss_opt, NULL, {.alpha = 0.7, .gamma = 0.5}},
    {"focal_plain", hone_focal_loss_opt, NULL, {.alpha = (double)HONE_ZERO, .gamma = (double)HONE_ZERO}},
    {"kl_divergence", hone_kl_divergence_loss_opt, NULL, {0}},
    {"cosine", hone_cosine_loss_opt, NULL, {0}},
    {"dice", hone_dice_loss_opt, NULL, {0}},
    {"dice_bare", hone_dice_loss_opt, NULL, {.smooth = (double)HONE_ZERO}},
    {"triplet", NULL, hone_triplet_loss_opt, {.margin = 0.5}},
    {"contrastive", NULL, hone_contrastive_loss_opt, {.margin = 3}},
    {"categorical", hone_categorical_cross_entropy_loss_opt, NULL, {0}},
    {"categorical_options", hone_categorical_cross_entropy_loss_opt, NULL, {.label_smoothing = 0.1}},
    {"categorical_logits", hone_categorical_cross_entropy_with_logits_loss_opt, NULL, {0}},
    {"categorical_logits_options", hone_categorical_cross_entropy_with_logits_loss_opt, NULL, {.label_smoothing = 0.1}},
    {"cross_entropy", hone_cross_entropy_loss_opt, NULL, {0}},
    {"cross_entropy_options", hone_cross_entropy_loss_opt, NULL, {.label_smoothing = 0.15}},
    {"cross_entropy_ignore_3", hone_cross_entropy_loss_opt, NULL, {.ignore_index = 3}},
    {"cross_entropy_ignore_0", hone_cross_entropy_loss_opt, NULL, {.ignore_index = HONE_IGNORE_ZERO}},
    {"nll", hone_nll_loss_opt, NULL, {0}},
    {"sparse", hone_sparse_categorical_cross_entropy_loss_opt, NULL, {0}},
    {"ctc", hone_ctc_loss_opt, NULL, {0}},
    {"ctc_options", hone_ctc_loss_opt, NULL, {.blank = 3}},
    {"ctc_zero_infinity", hone_ctc_loss_opt, NULL, {.zero_infinity = true}},
    {"bce_weighted", hone_binary_cross_entropy_loss_opt, NULL, {.positive_weight = 2.5}},
    {"bce_logits_weighted", hone_binary_cross_entropy_with_logits_loss_opt, NULL, {.positive_weight = 2.5}},
    {"bce_logits_negatives", hone_binary_cross_entropy_with_logits_loss_opt, NULL, {.positive_weight = (double)HONE_ZERO}},
    {"sparse_options", hone_sparse_categorical_cross_entropy_loss_opt, NULL, {.label_smoothing = 0.15}},
    {"mape", hone_mape_loss_opt, NULL, {0}},
    {"msle", hone_msle_loss_opt, NULL, {0}},
    {"squared_hinge", hone_squared_hinge_loss_opt, NULL, {0}},
    {"poisson", hone_poisson_loss_opt, NULL, {0}},
    {"poisson_log", hone_poisson_loss_opt, NULL, {.log_input = true}},
    {"bce_logits_positives", hone_binary_cross_entropy_with_logits_loss_opt, NULL, {0}},
    {"cross_entropy_axis", hone_cross_entropy_loss_opt, NULL, {.label_smoothing = 0.15, .axis = 1}},
    {"nll_axis", hone_nll_loss_opt, NULL, {.axis = -3}},
    {"by_parts_axis", by_parts, NULL, {.axis = 1}},
    {"categorical_logits_axis", hone_categorical_cross_entropy_with_logits_loss_opt, NULL, {.axis = 1}},
    {"categorical_by_parts_axis", categorical_by_parts, NULL, {.axis = 1}},
    {"categorical_focal", hone_categorical_focal_loss_opt, NULL, {0}},
    {"categorical_focal_axis", hone_categorical_focal_loss_opt, NULL, {.alpha = 0.7, .gamma = 0.5, .axis = 1}},
    {"sparse_focal", hone_sparse_categorical_focal_loss_opt, NULL, {.alpha = (double)HONE_ZERO, .gamma = 1.5, .label_smoothing = 0.1}},
    {"categorical_dice", hone_categorical_dice_loss_opt, NULL, {.axis = 1}},
    {"joined_triplet", hone_joined_triplet_loss_opt, NULL, {.margin = 0.5}},
    {"joined_contrastive", hone_joined_contrastive_loss_opt, NULL, {.margin = 3}},
    {"kl_axis", hone_kl_divergence_loss_opt, NULL, {.axis = -2}},
};

enum { MAX_IN = 5 };
typedef struct golden_run {
    const loss_case *c;
    int n_in;          /* without weights of classes or positives, which come last */
    bool weighted, positives;
    int n_gradients;
} golden_run;

static void record(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    (void)graph;
    const golden_run *run = user;
    hone_loss_opts o = run->c->o;
    if (run->weighted) *(run->positives ? &o.positive_weights : &o.class_weights) = in[run->n_in];
    if (run->c->loss && run->n_in == 4) o.output_lengths = in[2], o.target_lengths = in[3];
    for (int r = 0; r < 2; r++) {
        o.reduction = r ? HONE_REDUCE_NONE : HONE_REDUCE_MEAN;
        out[r] = run->c->loss ? run->c->loss(in[0], in[1], &o) : run->c->loss3(in[0], in[1], in[2], &o);
    }
    if (out[0]) hone_grad(out[0], run->n_gradients, in, out + 2);
}

static hone_safetensors *golden;
static const hone_tensor_info *find(const char *name, const char *part, int number)
{
    char text[96];
    snprintf(text, sizeof text, number < 0 ? "%s.%s" : "%s.%s%d", name, part, number);
    return hone_safetensors_find(golden, text);
}

static double furthest(const hone_tensor *have, const hone_tensor_info *want)
{
    double worst = 0;
    assert_non_null(want);
    assert_true(hone_shape_equal(hone_tensor_shape(have), want->shape));
    for (int64_t i = 0; i < hone_shape_count(want->shape); i++) {
        double off = fabs(hone_tensor_get(have, i) - ((const double *)want->data)[i]);
        worst = off > worst || isnan(off) ? off : worst;
    }
    return worst;
}

static void check_case(const loss_case *c, hone_dtype dtype, double tolerance)
{
    golden_run run = {.c = c};
    hone_tensor *in[MAX_IN] = {0};
    const hone_tensor_info *info;
    int n = 0;
    for (; n < 4 && (info = find(c->name, "in", n)); n++, run.n_in = n)
        if (find(c->name, "grad", n)) run.n_gradients = n + 1;
    for (int i = 0; i < n; i++) {
        info = find(c->name, "in", i);
        in[i] = hone_tensor_new(ctx, info->dtype == HONE_F64 ? dtype : info->dtype, info->shape);
        assert_hone_ok(ctx, hone_tensor_write(in[i], 0, hone_shape_count(info->shape), info->dtype, info->data));
    }
    run.positives = find(c->name, "positive_weights", -1) != NULL;
    if ((info = find(c->name, run.positives ? "positive_weights" : "class_weights", -1))) {
        run.weighted = true;
        in[n] = hone_tensor_new(ctx, dtype, info->shape);
        assert_hone_ok(ctx, hone_tensor_write(in[n++], 0, hone_shape_count(info->shape), HONE_F64, info->data));
    }
    assert_true(run.n_in >= 2 && run.n_gradients >= 1);
    hone_function *f = hone_function_new(ctx, n, 2 + run.n_gradients, record, &run);
    if (hone_function_call(f, in) != HONE_OK) fail_msg("%s: %s", c->name, hone_error(ctx));
    double off[2 + MAX_IN] = {furthest(hone_function_output(f, 0), find(c->name, "mean", -1)),
                              furthest(hone_function_output(f, 1), find(c->name, "none", -1))};
    for (int i = 0; i < run.n_gradients; i++) off[2 + i] = furthest(hone_function_output(f, 2 + i), find(c->name, "grad", i));
    for (int i = 0; i < 2 + run.n_gradients; i++)
        if (!(off[i] <= tolerance)) fail_msg("%s in %s: result %d is %g off", c->name, hone_dtype_name(dtype), i, off[i]);
    hone_function_free(f);
    for (int i = 0; i < n; i++) hone_tensor_free(in[i]);
}

static void test_losses_equal_pytorch(void **state)
{
    (void)state;
    golden = hone_safetensors_open(ctx, HONE_TEST_DATA "/losses.golden.safetensors");
    if (!golden) fail_msg("%s", hone_error(ctx));
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        check_case(&cases[i], HONE_F64, 1e-12);
        check_case(&cases[i], HONE_F32, 2e-6);
    }
    int64_t means = 0;
    for (int64_t i = 0; i < hone_safetensors_count(golden); i++) {
        const char *name = hone_safetensors_at(golden, i)->name;
        means += !strcmp(name + strlen(name) - 5, ".mean");
    }
    assert_int_equal(means, HONE_ARRAY_LEN(cases)); /* no golden case is forgotten here */
    hone_safetensors_close(golden);
}

static void record_ctc(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    (void)user, (void)graph;
    out[0] = hone_ctc_loss(in[0], in[1], .output_lengths = in[2], .target_lengths = in[3], .reduction = HONE_REDUCE_NONE);
    if (out[0]) hone_grad(hone_sum(out[0], HONE_ALL_AXES, false), 1, in, out + 1);
}
static void test_ctc_that_cannot_be(void **state)
{
    (void)state;
    hone_function *f = hone_function_new(ctx, 4, 2, record_ctc, NULL);
    hone_tensor *x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(2, 3, 4)), *t = hone_tensor_new(ctx, HONE_I64, HONE_SHAPE(2));
    hone_tensor *y = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(2, 2)), *s = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(2));
    hone_tensor *in[] = {x, y, t, s};
    static const struct {
        int32_t y[4], t[2], s[2];
        const char *part; /* NULL: runs */
    } tries[] = {{{1, 1, 2, 3}, {2, 0}, {2, 0}, NULL}, /* 1 1 needs a blank between: three places */
                 {{1, 4, 1, 1}, {3, 3}, {2, 1}, "target 4 of example 0 is no class in [0, 4)"},
                 {{1, 0, 1, 1}, {3, 3}, {2, 1}, "target 0 of example 0 is the blank"},
                 {{1, 1, -1, 1}, {3, 3}, {2, 1}, "target -1 of example 1"},
                 {{1, 1, 1, 1}, {4, 3}, {2, 1}, "example 0 has 4 outputs and 2 targets"},
                 {{1, 1, 1, 1}, {3, 3}, {2, 3}, "example 1 has 3 outputs and 3 targets"},
                 {{1, 1, 1, 1}, {3, -1}, {2, 1}, "example 1 has -1 outputs"}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(tries); i++) {
        assert_hone_ok(ctx, hone_tensor_write(y, 0, 4, HONE_I32, tries[i].y));
        assert_hone_ok(ctx, hone_tensor_write(t, 0, 2, HONE_I32, tries[i].t));
        assert_hone_ok(ctx, hone_tensor_write(s, 0, 2, HONE_I32, tries[i].s));
        assert_int_equal(hone_function_call(f, in), tries[i].part ? HONE_INVALID : HONE_OK);
        if (tries[i].part && !strstr(hone_error(ctx), tries[i].part)) fail_msg("%zu: '%s'", i, hone_error(ctx));
        if (tries[i].part) continue;
        assert_true(isinf(at(hone_function_output(f, 0), 0)) && at(hone_function_output(f, 0), 1) == 0);
        for (int k = 0; k < 24; k++) assert_true(at(hone_function_output(f, 1), k) == 0);
    }
    hone_function_free(f);
    hone_tensor_free(x), hone_tensor_free(y), hone_tensor_free(t), hone_tensor_free(s);
}

/* CTC learns to read: each row of the input is a label or nothing, told only the sequence. */
static void test_ctc_trains(void **state)
{
    (void)state;
    enum { N = 24, T = 6, S = 3 };
    static float x[N * T * 4];
    static int32_t y[N * S];
    for (int n = 0; n < N; n++) {
        int labels = 0;
        memset(y + n * S, -1, S * sizeof *y);
        for (int t = 0; t < T; t++) {
            int c = t % 2 ? (int)hone__random_below(5, (uint64_t)(n * T + t), 4) : 0;
            x[(n * T + t) * 4 + c] = 1;
            if (c) y[n * S + labels++] = c;
        }
    }
    hone_tensor *tx = hone_tensor_from_f32(ctx, HONE_SHAPE(N, T, 4), x), *ty = hone_tensor_from_i32(ctx, HONE_SHAPE(N, S), y);
    hone_model *model = hone_model_of(hone_dense(ctx, 4));
    hone_history *h;
    assert_hone_ok(ctx, hone_compile(model, .loss = HONE_CTC, .optimizer = hone_adam(ctx, .learning_rate = 0.1)));
    assert_hone_ok(ctx, hone_fit(model, tx, ty, &h, .epochs = 60, .batch_size = 8));
    assert_true(h->epochs[59].loss < 0.1 * h->epochs[0].loss && isnan(h->epochs[59].accuracy));
    hone_history_free(h);
    hone_model_release(model);
    hone_tensor_free(tx), hone_tensor_free(ty);
}

/* Weights multiply; the mean over classes divides by them. */
static void test_weights_and_sums(void **state)
{
    (void)state;
    hone_graph *g = hone_graph_new(ctx, .eager = true);
    hone_tensor *tx = hone_tensor_from_f32(ctx, HONE_SHAPE(2, 2), VALUES(1, 2, 3, 5)), *tw = vector(2, VALUES(1, 3));
    hone_tensor *ty = hone_tensor_from_i32(ctx, HONE_SHAPE(2), (const int32_t[]){0, 1});
    hone_node *x = hone_constant(g, tx), *w = hone_constant(g, tw), *y = hone_constant(g, ty);
    hone_node *zero = hone_fill(g, HONE_F32, HONE_SHAPE(2, 2), 0);
    float sum, mean, rows[2], weighted;
    assert_hone_ok(ctx, hone_node_read(hone_mse_loss(x, zero, .weights = w, .reduction = HONE_REDUCE_SUM), 1, HONE_F32, &sum));
    assert_true(sum == 1 + 12 + 9 + 75);
    assert_hone_ok(ctx, hone_node_read(hone_mse_loss(x, zero, .weights = w), 1, HONE_F32, &mean));
    assert_true(mean == sum / 4);
    assert_hone_ok(ctx, hone_node_read(hone_cross_entropy_loss(x, y, .reduction = HONE_REDUCE_NONE), 2, HONE_F32, rows));
    assert_hone_ok(ctx, hone_node_read(hone_cross_entropy_loss(x, y, .weights = w), 1, HONE_F32, &weighted));
    assert_true(fabsf(weighted - (rows[0] + 3 * rows[1]) / 4) < 1e-6f);
    hone_graph_release(g);
    hone_tensor_free(tx), hone_tensor_free(ty), hone_tensor_free(tw);
}

/* No overflow far away, no NaN at the corners that f32 has. */
static void test_losses_stay_finite(void **state)
{
    (void)state;
    static const loss_fn losses[] = {hone_log_cosh_loss_opt, hone_focal_loss_opt, hone_cosine_loss_opt, hone_huber_loss_opt,
                                     hone_kl_divergence_loss_opt, hone_mape_loss_opt, hone_msle_loss_opt, hone_categorical_focal_loss_opt};
    hone_graph *g = hone_graph_new(ctx, .eager = true);
    hone_tensor *tx = hone_tensor_from_f32(ctx, HONE_SHAPE(3, 2), VALUES(1e4f, -1e4f, 0, 0, 90, -90));
    hone_tensor *tt = hone_tensor_from_f32(ctx, HONE_SHAPE(3, 2), VALUES(1, 0, 0, 1, 0, 1));
    hone_node *x = hone_constant(g, tx), *t = hone_constant(g, tt);
    for (size_t i = 0; i < HONE_ARRAY_LEN(losses); i++) {
        hone_node *loss = losses[i](x, t, NULL), *gradient = NULL;
        float value, values[6];
        assert_hone_ok(ctx, hone_grad(loss, 1, &x, &gradient));
        assert_hone_ok(ctx, hone_node_read(loss, 1, HONE_F32, &value));
        assert_hone_ok(ctx, hone_node_read(gradient, 6, HONE_F32, values));
        for (int k = 0; k < 6; k++)
            if (!isfinite(value) || !isfinite(values[k])) fail_msg("loss %zu: %g, slope %g", i, (double)value, (double)values[k]);
    }
    hone_graph_release(g);
    hone_tensor_free(tx), hone_tensor_free(tt);
}

static void test_wrong_losses_are_refused(void **state)
{
    (void)state;
    hone_graph *g = hone_graph_new(ctx);
    hone_node *x = hone_input(g, "x", HONE_F32, HONE_SHAPE(4, 5)), *column = hone_input(g, "t", HONE_F32, HONE_SHAPE(4, 1));
    hone_node *y = hone_input(g, "y", HONE_I32, HONE_SHAPE(4)), *scalar = hone_input(g, "s", HONE_F32, HONE_SCALAR);
#define REFUSED(call, status, part)    \
    do {                               \
        assert_null(call);             \
        assert_error(status, part);    \
        hone_clear_error(ctx);         \
    } while (0)
    REFUSED(hone_mse_loss(x, column), HONE_SHAPE, "the target is [4, 1], the output [4, 5]");
    REFUSED(hone_cosine_loss(scalar, scalar), HONE_SHAPE, "no values along a last axis");
    REFUSED(hone_huber_loss(x, x, .delta = -1), HONE_INVALID, "delta is -1");
    REFUSED(hone_focal_loss(x, x, .alpha = 2), HONE_INVALID, "alpha 2");
    REFUSED(hone_focal_loss(x, x, .gamma = NAN), HONE_INVALID, "gamma nan");
    REFUSED(hone_triplet_loss(x, x, x, .margin = -2), HONE_INVALID, "margin is -2");
    REFUSED(hone_contrastive_loss(x, x, x), HONE_SHAPE, "contrastive_loss: the target is [4, 5]");
    REFUSED(hone_dice_loss(x, x, .smooth = -2), HONE_INVALID, "smooth is -2");
    REFUSED(hone_cross_entropy_loss(x, y, .label_smoothing = 1), HONE_INVALID, "label_smoothing is 1");
    REFUSED(hone_cross_entropy_loss(x, y, .class_weights = column), HONE_SHAPE, "class_weights are [4, 1]");
    REFUSED(hone_nll_loss(x, column), HONE_DTYPE, "must be an integer");
    REFUSED(hone_poisson_loss(x, column), HONE_SHAPE, "poisson_loss: the target is [4, 1]");
    REFUSED(hone_binary_cross_entropy_with_logits_loss(column, column, .positive_weights = x), HONE_SHAPE, "cannot be broadcast");
    REFUSED(hone_cross_entropy_loss(x, y, .axis = 2), HONE_SHAPE, "axis 2 is outside of [4, 5]");
    REFUSED(hone_kl_divergence_loss(x, x, .axis = -2), HONE_SHAPE, "axis -2 of [4, 5] is the batch");
    REFUSED(hone_kl_divergence_loss(x, x, .axis = INT64_MIN), HONE_SHAPE, "is outside of [4, 5]");
    REFUSED(hone_softmax_along(x, -3), HONE_SHAPE, "axis -3 is outside of [4, 5]");
    REFUSED(hone_log_softmax_along(scalar, 0), HONE_SHAPE, "axis 0 is outside of []");
    REFUSED(hone_categorical_focal_loss(x, x, .gamma = -2), HONE_INVALID, "gamma -2");
    REFUSED(hone_categorical_dice_loss(x, x, .smooth = -3), HONE_INVALID, "smooth is -3");
    REFUSED(hone_joined_triplet_loss(x, y), HONE_SHAPE, "joined_triplet_loss: the output is [4, 5]; 3 vectors of one length");
    REFUSED(hone_joined_contrastive_loss(scalar, y), HONE_SHAPE, "contrastive_loss: the output is []; 2 vectors");
    REFUSED(hone_mse_loss(x, x, .reduction = (hone_reduction)9), HONE_INVALID, "reduction 9 does not exist");
    assert_null(hone_mse_loss(NULL, x));
    assert_null(hone_cross_entropy_loss(x, NULL));
    hone_graph_release(g);
}

/* ---- compile and fit ----------------------------------------------------------------------------------------------- */

static void test_losses_have_names(void **state)
{
    (void)state;
    hone_loss loss;
    for (int i = 0; i < HONE_LOSS_COUNT; i++) {
        assert_true(hone_loss_from_name(hone_loss_name((hone_loss)i), &loss));
        assert_int_equal(loss, i);
    }
    assert_true(hone_loss_from_name("huber", &loss) && loss == HONE_HUBER);
    assert_false(hone_loss_from_name("nonsense", &loss));
    assert_string_equal(hone_loss_name(HONE_LOSS_COUNT), "?");
}

enum { ROWS = 40 };
typedef struct problem {
    hone_tensor *x, *values, *bits, *signs, *counts, *one_hot, *classes;
} problem;
static problem make_problem(void)
{
    float x[ROWS * 3], values[ROWS * 2], bits[ROWS * 2], signs[ROWS * 2], counts[ROWS * 2], one_hot[ROWS * 2] = {0};
    int32_t classes[ROWS];
    for (int r = 0; r < ROWS; r++) {
        for (int i = 0; i < 3; i++) x[3 * r + i] = hone__random_normal(1, (uint64_t)(3 * r + i));
        values[2 * r] = x[3 * r] - x[3 * r + 1];
        values[2 * r + 1] = x[3 * r + 2];
        for (int i = 0; i < 2; i++) bits[2 * r + i] = values[2 * r + i] > 0, signs[2 * r + i] = 2 * bits[2 * r + i] - 1, counts[2 * r + i] = 5 * bits[2 * r + i];
        classes[r] = values[2 * r] > 0;
        one_hot[2 * r + classes[r]] = 1;
    }
    return (problem){hone_tensor_from_f32(ctx, HONE_SHAPE(ROWS, 3), x), hone_tensor_from_f32(ctx, HONE_SHAPE(ROWS, 2), values),
                     hone_tensor_from_f32(ctx, HONE_SHAPE(ROWS, 2), bits), hone_tensor_from_f32(ctx, HONE_SHAPE(ROWS, 2), signs),
                     hone_tensor_from_f32(ctx, HONE_SHAPE(ROWS, 2), counts),
                     hone_tensor_from_f32(ctx, HONE_SHAPE(ROWS, 2), one_hot), hone_tensor_from_i32(ctx, HONE_SHAPE(ROWS), classes)};
}
static void free_problem(problem *p)
{
    hone_tensor_free(p->x), hone_tensor_free(p->values), hone_tensor_free(p->bits);
    hone_tensor_free(p->signs), hone_tensor_free(p->counts), hone_tensor_free(p->one_hot), hone_tensor_free(p->classes);
}

static hone_node *log_softmax_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)self, (void)graph, (void)n;
    return hone_log_softmax(in[0]);
}

/* Every loss of the table learns a problem of its kind, and tells how often it is right where it can. */
static void test_every_loss_trains(void **state)
{
    (void)state;
    problem p = make_problem();
    hone_tensor *const targets[] = {[HONE__VALUES] = p.values, [HONE__BINARY] = p.bits, [HONE__CATEGORIES] = p.one_hot,
                                    [HONE__CLASSES] = p.classes};
    for (int l = 0; l < HONE_LOSS_COUNT; l++) {
        hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 8, .activation = HONE_TANH), hone_dense(ctx, 2)));
        assert_hone_ok(ctx, hone_compile(model, .loss = (hone_loss)l));
        const hone__loss_info *info = ((hone__compiled *)model->train)->outputs[0].loss;
        if (info->targets == HONE__SEQUENCES || info->targets == HONE__RELATIONS) {
            hone_model_release(model);
            continue;
        }
        bool positive = l == HONE_POISSON || l == HONE_MSLE, signs = l == HONE_MAPE;
        bool logs = l == HONE_NLL || l == HONE_KL_DIVERGENCE, one_of = info->targets == HONE__CATEGORIES || info->targets == HONE__CLASSES;
        hone_layer *last = logs ? hone_layer_new(ctx, sizeof *last, "log_softmax", log_softmax_forward)
                                : hone_activation_layer(ctx, positive ? HONE_SOFTPLUS : info->logits || info->targets == HONE__VALUES ? HONE_NO_ACTIVATION
                                                             : one_of ? HONE_SOFTMAX : HONE_SIGMOID);
        hone_model_release(model);
        model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 8, .activation = HONE_TANH), hone_dense(ctx, 2), last));
        assert_hone_ok(ctx, hone_compile(model, .loss = (hone_loss)l, .optimizer = hone_adam(ctx, .learning_rate = 0.03)));
        hone_history *h;
        if (hone_fit(model, p.x, positive ? p.counts : signs ? p.signs : targets[info->targets], &h, .epochs = 40, .batch_size = 8) != HONE_OK)
            fail_msg("%s: %s", info->name, hone_error(ctx));
        if (!(h->epochs[39].loss < 0.6 * h->epochs[0].loss))
            fail_msg("%s: %g after %g", info->name, h->epochs[39].loss, h->epochs[0].loss);
        if (info->targets == HONE__VALUES) assert_true(isnan(h->epochs[39].accuracy));
        else if (!(h->epochs[39].accuracy > 0.9)) fail_msg("%s: accuracy %g", info->name, h->epochs[39].accuracy);
        hone_history_free(h);
        hone_model_release(model);
    }
    free_problem(&p);
}

/* Keras's Hinge takes labels 0 and 1, too, as -1 and 1. */
static void record_hinge(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    (void)user, (void)graph;
    hone_node *o = in[0];
    for (int k = 0; k < 2; k++) {
        out[2 * k] = hone_hinge_loss(o, in[1 + k]);
        hone_grad(out[2 * k], 1, &o, &out[2 * k + 1]);
    }
}

static void test_hinge_takes_labels_and_signs(void **state)
{
    (void)state;
    problem p = make_problem();
    hone_tensor *in[] = {p.values, p.bits, p.signs};
    hone_function *f = hone_function_new(ctx, 3, 4, record_hinge, NULL);
    assert_hone_ok(ctx, hone_function_call(f, in));
    for (int k = 0; k < 2; k++) {
        const hone_tensor *bits = hone_function_output(f, k), *signs = hone_function_output(f, 2 + k);
        assert_true(at(signs, 0) != 0);
        assert_memory_equal(bits->data, signs->data, bits->bytes);
    }
    hone_function_free(f);
    free_problem(&p);
}

/* A row that weighs 3 is a row given three times, two that weigh nothing are not there; over the number of rows. */
static void test_weights_of_rows(void **state)
{
    (void)state;
    float x[6] = {1, 2, 3, 4, 5, 6}, y[6] = {1, 5, 2, 8, 3, 1}, w[6] = {3, 1, 0, 2, 0, 0};
    int64_t repeated[6] = {0, 0, 0, 1, 3, 3};
    hone_tensor *tx = hone_tensor_from_f32(ctx, HONE_SHAPE(6, 1), x), *ty = hone_tensor_from_f32(ctx, HONE_SHAPE(6), y);
    hone_tensor *tw = hone_tensor_from_f32(ctx, HONE_SHAPE(6), w), *rx = hone_take(tx, 6, repeated), *ry = hone_take(ty, 6, repeated);
    float weights[2][2];
    double loss[2];
    for (int i = 0; i < 2; i++) {
        hone_model *model = hone_model_of(hone_dense(ctx, 1, .initializer = HONE_INIT_ZEROS));
        hone_history *h;
        assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_sgd(ctx, .learning_rate = 0.01)));
        assert_hone_ok(ctx, hone_fit(model, i ? rx : tx, i ? ry : ty, &h, .epochs = 3, .batch_size = 6, .sample_weights = i ? NULL : tw));
        for (int k = 0; k < 2; k++) assert_hone_ok(ctx, hone_param_read(hone_model_param(model, (size_t)k), 1, &weights[i][k]));
        loss[i] = h->epochs[2].loss;
        hone_history_free(h);
        hone_model_release(model);
    }
    assert_true(fabs(loss[0] - loss[1]) < 1e-5 && fabsf(weights[0][0] - weights[1][0]) < 1e-6f && fabsf(weights[0][1] - weights[1][1]) < 1e-6f);
    hone_tensor_free(tx), hone_tensor_free(ty), hone_tensor_free(tw), hone_tensor_free(rx), hone_tensor_free(ry);
}

/* Class weights are sample weights by class, for each kind of target; not for rows held out. */
static void test_weights_of_classes(void **state)
{
    (void)state;
    problem p = make_problem();
    float by_row[ROWS];
    for (int r = 0; r < ROWS; r++) by_row[r] = r >= 30 ? 1 : hone_tensor_get(p.classes, r) > 0 ? 0.25f : 4;
    hone_tensor *w = hone_tensor_from_f32(ctx, HONE_SHAPE(ROWS), by_row), *bit = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(ROWS, 1));
    for (int r = 0; r < ROWS; r++) ((float *)hone_tensor_data(bit))[r] = (float)hone_tensor_get(p.classes, r);
    const struct {
        hone_loss loss;
        hone_tensor *y;
    } kinds[] = {{HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS, p.classes}, {HONE_CATEGORICAL_CROSSENTROPY_LOGITS, p.one_hot},
                 {HONE_BINARY_CROSSENTROPY_LOGITS, bit}};
    static const double class_weights[2] = {4, 0.25};
    for (size_t k = 0; k < HONE_ARRAY_LEN(kinds); k++) {
        double loss[3][2];
        for (int i = 0; i < 3; i++) {
            hone_model *model = hone_model_of(hone_dense(ctx, k == 2 ? 1 : 2));
            hone_history *h;
            assert_hone_ok(ctx, hone_compile(model, .loss = kinds[k].loss));
            assert_hone_ok(ctx, hone_fit(model, p.x, kinds[k].y, &h, .epochs = 3, .validation_split = 0.25, .sample_weights = i == 1 ? w : NULL,
                                         .class_weights = i == 0 ? class_weights : NULL, .n_class_weights = i == 0 ? 2 : 0));
            loss[i][0] = h->epochs[2].loss, loss[i][1] = h->epochs[2].validation_loss;
            hone_history_free(h);
            hone_model_release(model);
        }
        assert_true(loss[0][0] == loss[1][0] && loss[0][1] == loss[1][1]);
        assert_true(fabs(loss[0][0] - loss[2][0]) > 0.01);
    }
    /* refusals */
    hone_model *model = hone_model_of(hone_dense(ctx, 2));
    assert_hone_ok(ctx, hone_compile(model, .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS));
    assert_int_equal(hone_fit(model, p.x, p.classes, NULL, .class_weights = class_weights, .n_class_weights = 1), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "there are 1 class_weights"));
    assert_int_equal(hone_fit(model, p.x, p.classes, NULL, .sample_weights = bit), HONE_OK);
    assert_int_equal(hone_fit(model, p.x, p.classes, NULL, .sample_weights = p.x), HONE_SHAPE);
    ((float *)hone_tensor_data(w))[3] = -1;
    assert_int_equal(hone_fit(model, p.x, p.classes, NULL, .sample_weights = w), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "the weight of row 3 is -1"));
    assert_hone_ok(ctx, hone_compile(model, .loss = HONE_MAE));
    assert_int_equal(hone_fit(model, p.x, p.values, NULL, .class_weights = class_weights, .n_class_weights = 2), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "one class an example"));
    hone_model_release(model);
    hone_tensor_free(w), hone_tensor_free(bit);
    free_problem(&p);
}

/* What fit and evaluate report are the metrics of what predict says. */
static void collect(void *user, const char *text) { strncat(user, text, 4000); }
static void test_metrics_are_reported(void **state)
{
    (void)state;
    problem p = make_problem();
    hone_model *model = hone_model_of(hone_dense(ctx, 2));
    hone_history *h;
    static char said[8000];
    assert_hone_ok(ctx, hone_compile(model, .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS, .metrics = "accuracy, log_loss,roc_auc"));
    assert_hone_ok(ctx, hone_fit(model, p.x, p.classes, &h, .epochs = 5, .batch_size = 8, .validation_split = 0.25, .progress = true,
                                 .print = collect, .print_user = said));
    assert_int_equal(h->n_metrics, 3);
    assert_string_equal(h->metric_names[2], "roc_auc");
    for (int e = 0; e < 5; e++) {
        const hone_epoch *epoch = &h->epochs[e];
        assert_true(fabs(epoch->metrics[0] - epoch->accuracy) < 1e-6 && fabs(epoch->metrics[1] - epoch->loss) < 1e-5);
        assert_true(fabs(epoch->validation_metrics[0] - epoch->validation_accuracy) < 1e-6);
        assert_true(fabs(epoch->validation_metrics[1] - epoch->validation_loss) < 1e-5);
    }
    assert_non_null(strstr(said, "  roc_auc "));
    assert_non_null(strstr(said, "  val_roc_auc "));
    double values[3], loss;
    assert_hone_ok(ctx, hone_evaluate_metrics(model, p.x, p.classes, 7, 3, values));
    assert_hone_ok(ctx, hone_evaluate(model, p.x, p.classes, 7, &loss, NULL));
    hone_tensor *answers = hone_predict(model, p.x, ROWS);
    hone_metric *auc = hone_metric_new(ctx, "roc_auc", .from_logits = true);
    assert_hone_ok(ctx, hone_metric_update(auc, answers, p.classes));
    assert_true(fabs(values[1] - loss) < 1e-5 && fabs(values[2] - hone_metric_result(auc)) < 1e-12);
    hone_metric_free(auc);
    hone_tensor_free(answers);
    hone_history_free(h);
    /* each output of a binary loss is a decision; without metrics there is nothing to report */
    assert_hone_ok(ctx, hone_compile(model, .loss = HONE_BINARY_CROSSENTROPY_LOGITS, .metrics = "accuracy"));
    double accuracy;
    assert_hone_ok(ctx, hone_evaluate_metrics(model, p.x, p.bits, 7, 1, values));
    assert_hone_ok(ctx, hone_evaluate(model, p.x, p.bits, 7, NULL, &accuracy));
    assert_true(fabs(values[0] - accuracy) < 1e-6);
    assert_int_equal(hone_evaluate_metrics(model, p.x, p.bits, 7, 2, values), HONE_INVALID);
    assert_hone_ok(ctx, hone_compile(model, .loss = HONE_BINARY_CROSSENTROPY_LOGITS));
    assert_hone_ok(ctx, hone_fit(model, p.x, p.bits, &h));
    assert_int_equal(h->n_metrics, 0);
    hone_history_free(h);
    hone_model_release(model);
    free_problem(&p);
}

/* A network whose classes lie on axis 1, as PyTorch's, trains as one that permutes them to the end. */
static void test_classes_may_lie_on_any_axis(void **state)
{
    (void)state;
    enum { N = 6, CLASSES = 4, H = 3, W = 2, ALL = N * H * W };
    hone_tensor *x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(N, 5, H, W)), *y = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(N, H, W));
    hone_tensor *hot[2] = {hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(N, CLASSES, H, W)), hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(N, H, W, CLASSES))};
    assert_hone_ok(ctx, hone_tensor_fill_normal(x, 0, 1, 3));
    for (int k = 0; k < 2; k++) memset(hone_tensor_data(hot[k]), 0, ALL * CLASSES * sizeof(float));
    for (int i = 0; i < ALL; i++) {
        int c = ((int32_t *)hone_tensor_data(y))[i] = i * 7 % 5 % CLASSES, n = i / (H * W), at = i % (H * W);
        ((float *)hone_tensor_data(hot[0]))[(n * CLASSES + c) * H * W + at] = ((float *)hone_tensor_data(hot[1]))[i * CLASSES + c] = 1;
    }
    for (int sparse = 0; sparse < 2; sparse++) {
        double loss[2][5], right[2][5], metrics[2][2];
        for (int last = 0; last < 2; last++) {
            hone_layer *conv = hone_conv2d(ctx, CLASSES, 1);
            hone_model *model = hone_model_of(last ? hone_sequential(ctx, conv, hone_permute_layer(ctx, HONE_AXES(2, 3, 1))) : hone_sequential(ctx, conv));
            const hone_tensor *targets = sparse ? y : hot[last];
            assert_hone_ok(ctx, hone_compile(model, .loss = sparse ? HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS : HONE_CATEGORICAL_CROSSENTROPY_LOGITS,
                                             .optimizer = hone_sgd(ctx, .learning_rate = 0.5), .loss_options = {.axis = last ? 0 : 1, .label_smoothing = 0.1},
                                             .metrics = sparse ? "accuracy, mean_iou" : NULL));
            for (int step = 0; step < 5; step++) assert_hone_ok(ctx, hone_train_on_batch(model, x, targets, &loss[last][step], &right[last][step]));
            if (sparse) assert_hone_ok(ctx, hone_evaluate_metrics(model, x, targets, N, 2, metrics[last]));
            hone_model_release(model);
        }
        for (int step = 0; step < 5; step++) assert_true(fabs(loss[0][step] - loss[1][step]) < 1e-6 && fabs(right[0][step] - right[1][step]) < 1e-6);
        assert_true(loss[0][4] < loss[0][0] && right[0][4] > 0);
        for (int m = 0; m < 2 && sparse; m++) assert_true(metrics[0][m] > 0 && fabs(metrics[0][m] - metrics[1][m]) < 1e-6);
    }
    hone_tensor_free(x), hone_tensor_free(y), hone_tensor_free(hot[0]), hone_tensor_free(hot[1]);
}

static void test_wrong_compiles_are_refused(void **state)
{
    (void)state;
    hone_model *model = hone_model_of(hone_dense(ctx, 2));
    hone_graph *g = hone_graph_new(ctx);
    hone_node *node = hone_input(g, "w", HONE_F32, HONE_SHAPE(2));
    const struct {
        hone_compile_opts o;
        hone_status status;
        const char *part;
    } wrong[] = {{{.metrics = "acuracy"}, HONE_NOT_FOUND, "there is no metric 'acuracy'; there are accuracy, top_k_accuracy"},
                 {{.metrics = "accuracy,,mae"}, HONE_NOT_FOUND, "there is no metric ''"},
                 {{.metrics = "accuracy, bleu"}, HONE_INVALID, "metric 'bleu' compares texts"},
                 {{.loss = (hone_loss)99}, HONE_INVALID, "loss 99 does not exist"},
                 {{.loss_options = {.class_weights = node}}, HONE_INVALID, "given to hone_fit"},
                 {{.loss = HONE_CATEGORICAL_CROSSENTROPY, .loss_options = {.axis = 1}, .metrics = "accuracy"}, HONE_INVALID, "metrics want classes last"}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(wrong); i++) {
        assert_int_equal(hone_compile_opt(model, &wrong[i].o), wrong[i].status);
        assert_error(wrong[i].status, wrong[i].part);
        hone_clear_error(ctx);
    }
    hone_graph_release(g);
    hone_model_release(model);
}

/* Whichever allocation of compile and fit fails is told, and nothing stays behind. */
static void test_failing_allocations_lose_nothing(void **state)
{
    (void)state;
    static const double class_weights[2] = {1, 2};
    static const float values[8] = {1, 2, 3, 4, 4, 3, 2, 1};
    static const int32_t numbers[4] = {0, 1, 1, 0};
    int failures = 0;
    for (int64_t n = 1;; n++) {
        counting count = {0};
        hone_ctx *c = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, &count});
        count.fail_at = count.calls + n;
        hone_tensor *x = hone_tensor_from_f32(c, HONE_SHAPE(4, 2), values), *y = hone_tensor_from_i32(c, HONE_SHAPE(4), numbers);
        hone_model *model = hone_model_of(hone_dense(c, 2));
        hone_history *h = NULL;
        hone_status status = hone_compile(model, .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS, .metrics = "f1,roc_auc",
                                          .loss_options = {.label_smoothing = 0.1});
        if (status == HONE_OK)
            status = hone_fit(model, x, y, &h, .epochs = 2, .batch_size = 2, .class_weights = class_weights, .n_class_weights = 2,
                              .validation_x = x, .validation_y = y);
        bool reached = count.calls >= count.fail_at;
        assert_true((status == HONE_OK) == !reached && (hone_ctx_status(c) == HONE_OK) == !reached);
        hone_history_free(h);
        hone_model_release(model);
        hone_tensor_free(x), hone_tensor_free(y);
        hone_ctx_release(c);
        assert_int_equal(count.live, 0);
        if (!reached) break;
        failures++;
    }
    assert_true(failures > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_losses_equal_pytorch),
        TEST(test_ctc_that_cannot_be),
        TEST(test_ctc_trains),
        TEST(test_weights_and_sums),
        TEST(test_losses_stay_finite),
        TEST(test_wrong_losses_are_refused),
        TEST(test_losses_have_names),
        TEST(test_hinge_takes_labels_and_signs), TEST(test_every_loss_trains),
        TEST(test_weights_of_rows),
        TEST(test_weights_of_classes),
        TEST(test_metrics_are_reported),
        TEST(test_classes_may_lie_on_any_axis), TEST(test_wrong_compiles_are_refused),
        TEST(test_failing_allocations_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
