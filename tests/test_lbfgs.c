/* L-BFGS against torch.optim.LBFGS, and what evaluates the loss several times in a step. */
#include "optim_tools.h"

/* ---- the way there: scripts/golden/make_lbfgs_golden.py ---- */

enum { N = 6, EXAMPLES = 24 };
static hone_safetensors *file; /* tests/data/lbfgs.golden.safetensors, while a test has it open */
static const void *golden_values(const char *name, const char *kind, const char *what, int64_t *rows)
{
    char all[80];
    snprintf(all, sizeof all, "%s.%s.%s", name, kind, what);
    const hone_tensor_info *info = hone_safetensors_find(file, all);
    if (!info) fail_msg("no golden tensor '%s'", all);
    *rows = info->shape.dim[0];
    return info->data;
}

/* Losses in f64, from points in f32. */
static double valley(const double *x, double *gradient)
{
    double sum = 0;
    for (int i = 0; i + 1 < N; i++) {
        double up = x[i + 1] - x[i] * x[i], left = 1 - x[i];
        sum += (2 * up * up + left * left) / 8;
        gradient[i] += (-8 * up * x[i] - 2 * left) / 8;
        gradient[i + 1] += up / 2;
    }
    return sum;
}
static double logistic(const double *w, double *gradient)
{
    const float *x = hone_safetensors_find(file, "x")->data, *y = hone_safetensors_find(file, "y")->data;
    double sum = 0;
    for (int row = 0; row < EXAMPLES; row++) {
        double z = 0;
        for (int i = 0; i < N; i++) z -= (double)y[row] * (double)x[row * N + i] * w[i];
        sum += log1p(exp(z)) / EXAMPLES;
        for (int i = 0; i < N; i++) gradient[i] -= (double)y[row] * (double)x[row * N + i] / (1 + exp(-z)) / EXAMPLES;
    }
    for (int i = 0; i < N; i++) sum += 0.02 * w[i] * w[i], gradient[i] += 0.04 * w[i];
    return sum;
}

static double quartic(const double *x, double *gradient)
{
    double all = -1, sum = 0;
    for (int i = 0; i < N; i++) all += x[i];
    for (int i = 0; i < N; i++) {
        sum += pow(x[i], 4) / 64 + x[i] * x[i] / 256;
        gradient[i] += pow(x[i], 3) / 16 + x[i] / 128 + all / 32;
    }
    return sum + all * all / 64;
}

/* A path that is followed, point by point. */
typedef struct way {
    const char *name, *kind;
    double (*loss)(const double *x, double *gradient);
    hone_model *model;
    const float *want; /* [n, N] */
    int64_t n, at;
} way;
static hone_status look(void *user, double *loss)
{
    way *w = user;
    float have[N];
    double x[N], gradient[N] = {0};
    assert_hone_ok(ctx, hone_param_read(hone_model_param(w->model, 0), N, have));
    for (int i = 0; i < N; i++) {
        const double want = w->at < w->n ? (double)w->want[w->at * N + i] : 0;
        x[i] = (double)have[i];
        if (w->at < w->n && !(fabs(x[i] - want) <= 1e-5 * fmax(1, fabs(want))))
            fail_msg("%s, %s: %g, not %.7g, is parameter %d at evaluation %d", w->name, w->kind, x[i], want, i, (int)w->at);
    }
    *loss = w->loss(x, gradient);
    assert_hone_ok(ctx, hone__model_want_gradients(w->model));
    for (int i = 0; i < N; i++) w->model->segments->grads[i] = (float)gradient[i];
    w->at++;
    return HONE_OK;
}

/* Every point at which the loss is asked for, those that the line search gives up included, is PyTorch's, for as long as f32 can follow:
   far from the minimum, where all the rules of the search and of the direction are at work. */
static void test_lbfgs_looks_where_pytorch_does(void **state)
{
    (void)state;
    static const struct {
        const char *kind;
        hone_lbfgs_opts options;
    } cases[] = {
        {"one", {.max_iterations = 1, .max_evaluations = 25}},
        {"history", {.max_iterations = 5, .max_evaluations = 25, .history = 3}},
        {"short", {.max_iterations = 4, .max_evaluations = 25, .learning_rate = 0.03}},
        {"long", {.max_iterations = 4, .max_evaluations = 25, .learning_rate = 2}},
        {"far", {.max_iterations = 4, .max_evaluations = 25, .learning_rate = 5}},
        {"cut", {.max_iterations = 4, .max_evaluations = 5, .learning_rate = 0.03}},
        {"stopped", {.max_iterations = 4, .max_evaluations = 3, .learning_rate = 20}},
        {"few", {.max_iterations = 6, .max_evaluations = 4}},
        {"plain", {.max_iterations = 2, .learning_rate = 0.2, .history = 4, .no_line_search = true}},
        {"whole", {.max_iterations = 3, .history = 4, .no_line_search = true}},
    };
    file = hone_safetensors_open(ctx, HONE_TEST_DATA "/lbfgs.golden.safetensors");
    assert_non_null(file);
    for (size_t i = 0; i < 3 * HONE_ARRAY_LEN(cases); i++) {
        static const char *const names[] = {"valley", "logistic", "quartic"};
        static double (*const losses[])(const double *, double *) = {valley, logistic, quartic};
        way w = {.name = names[i % 3], .kind = cases[i / 3].kind, .loss = losses[i % 3]};
        const hone_tensor *zeros = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(1, N));
        int64_t steps;
        char start[40];
        snprintf(start, sizeof start, "%s.start", w.name);
        w.want = golden_values(w.name, w.kind, "points", &w.n);
        const int32_t *counts = golden_values(w.name, w.kind, "counts", &steps);
        w.model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 1, .no_bias = true)));
        hone_tensor_free(hone_predict(w.model, zeros, 1)); /* makes the parameters */
        assert_hone_ok(ctx, hone_param_write(hone_model_param(w.model, 0), N, hone_safetensors_find(file, start)->data));
        hone_optimizer *o = hone_lbfgs_opt(ctx, &cases[i / 3].options);
        for (int64_t step = 0; w.at < w.n; step++) {
            assert_hone_ok(ctx, hone_optimizer_minimize(o, w.model, look, &w, NULL));
            if (step < steps && w.at != counts[step]) fail_msg("%s, %s: %d evaluations, not %d", w.name, w.kind, (int)w.at, counts[step]);
        }
        hone_optimizer_free(o);
        hone_model_release(w.model);
        hone_tensor_free((hone_tensor *)zeros);
    }
    hone_safetensors_close(file);
}

/* As a user runs it, the loss in f32 too: so many steps as PyTorch in f32 keeps to its own path in f64. */
static bool compare_step(void *user, hone_model *model, size_t step, const hone_epoch *result)
{
    const float *want = (const float *)user + PARAMS * step;
    float have[PARAMS];
    (void)result;
    read_params(model, have);
    for (int i = 0; i < PARAMS; i++)
        if (!(fabsf(have[i] - want[i]) <= 1e-5f)) fail_msg("step %d: parameter %d is %g, not %g", (int)step, i, (double)have[i], (double)want[i]);
    return true;
}
static void test_fit_with_lbfgs_goes_pytorchs_way(void **state)
{
    (void)state;
    file = hone_safetensors_open(ctx, HONE_TEST_DATA "/lbfgs.golden.safetensors");
    assert_non_null(file);
    const hone_tensor_info *want = hone_safetensors_find(file, "regression.steps");
    assert_true(want->shape.dim[0] >= 5);
    hone_tensor *x = golden_tensor("x"), *y = golden_tensor("y");
    hone_model *model = golden_model();
    assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_lbfgs(ctx, .max_iterations = 2, .max_evaluations = 25, .history = 3), .loss = HONE_MSE));
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = (int)want->shape.dim[0], .batch_size = 16, .no_shuffle = true,
                                 .on_epoch = compare_step, .on_epoch_user = (void *)want->data));
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
    hone_safetensors_close(file);
}

/* ---- where it ends ---- */

/* The golden problem's loss in f64: in f32 a line search ends where the loss no longer tells two points apart. */
typedef struct regression {
    hone_model *model;
    const float *x, *y; /* [16, 5], [16, 3] */
} regression;
static hone_status mean_squared_error(void *user, double *loss)
{
    regression *r = user;
    float w[PARAMS];
    double gradient[PARAMS] = {0}, sum = 0;
    read_params(r->model, w);
    for (int i = 0; i < 48; i++) {
        int row = i / 3, out = i % 3;
        double error = (double)w[15 + out] - (double)r->y[i];
        for (int k = 0; k < 5; k++) error += (double)w[5 * out + k] * (double)r->x[5 * row + k];
        sum += error * error / 48;
        for (int k = 0; k < 5; k++) gradient[5 * out + k] += error * (double)r->x[5 * row + k] / 24;
        gradient[15 + out] += error / 24;
    }
    assert_hone_ok(ctx, hone__model_want_gradients(r->model));
    for (int i = 0; i < PARAMS; i++)
        r->model->segments->grads[i < 15 ? i : hone_model_find_param(r->model, "0.bias")->offset + i - 15] = (float)gradient[i];
    *loss = sum;
    return HONE_OK;
}
static void assert_lbfgs_path(const char *name, hone_optimizer *o)
{
    regression r = {golden_model(), hone_safetensors_find(golden, "x")->data, hone_safetensors_find(golden, "y")->data};
    path p = {.name = name, .want = hone_safetensors_find(golden, name)->data};
    for (size_t step = 0; step < 100; step++) {
        assert_hone_ok(ctx, hone_optimizer_minimize(o, r.model, mean_squared_error, &r, NULL));
        compare(&p, r.model, step, NULL);
    }
    if (!(p.worst <= 1e-5)) fail_msg("%s: %g away", name, p.worst);
    hone_optimizer_free(o);
    hone_model_release(r.model);
}
/* A hundred steps end where PyTorch's do. Long before that they are at the minimum, so this says little of the way there. */
static void test_lbfgs_ends_where_pytorch_does(void **state)
{
    (void)state;
    assert_lbfgs_path("lbfgs", hone_lbfgs(ctx, .max_iterations = 2, .history = 3));
    assert_lbfgs_path("lbfgs_long", hone_lbfgs(ctx, .max_iterations = 4, .learning_rate = 0.1));
    assert_lbfgs_path("lbfgs_plain", hone_lbfgs(ctx, .max_iterations = 2, .learning_rate = 0.03, .history = 5, .no_line_search = true));
}

/* One step over the whole batch goes where a hundred of the others do not get. */
static void test_fit_evaluates_as_often_as_lbfgs_asks(void **state)
{
    (void)state;
    hone_tensor *x = golden_tensor("x"), *y = golden_tensor("y");
    hone_model *model = golden_model();
    double loss[2];
    for (int i = 0; i < 2; i++) {
        hone_history *h;
        hone_optimizer *o = i ? hone_lbfgs(ctx) : hone_sgd(ctx, .learning_rate = 0.1);
        assert_hone_ok(ctx, hone_compile(model, .optimizer = o, .loss = HONE_MSE));
        assert_hone_ok(ctx, hone_fit(model, x, y, &h, .epochs = i ? 1 : 100, .batch_size = 4, .accumulate = 4));
        assert_hone_ok(ctx, hone_evaluate(model, x, y, 16, &loss[i], NULL));
        if (i) assert_true(fabs(h->epochs[0].loss - loss[0]) < 1e-6); /* of the first evaluation */
        hone_history_free(h);
    }
    assert_true(loss[1] < loss[0] - 1e-4);
    float have[PARAMS];
    const float *want = (const float *)hone_safetensors_find(golden, "lbfgs_long")->data + 9 * PARAMS;
    read_params(model, have);
    for (int i = 0; i < PARAMS; i++) assert_true(fabsf(have[i] - want[i]) < 2e-3f);
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
}

/* f(x) = 100 (b - a^2)^2 + (1 - a)^2, with gradients by hand. */
typedef struct steep {
    hone_model *model;
    int evaluations, fail_at;
} steep;
static hone_status rosenbrock(void *user, double *loss)
{
    steep *v = user;
    float w[2];
    if (++v->evaluations == v->fail_at) return HONE_CANCELLED;
    assert_hone_ok(ctx, hone_param_read(hone_model_param(v->model, 0), 2, w));
    double a = (double)w[0], b = (double)w[1];
    assert_hone_ok(ctx, hone__model_want_gradients(v->model));
    v->model->segments->grads[0] = (float)(-400 * a * (b - a * a) - 2 * (1 - a));
    v->model->segments->grads[1] = (float)(200 * (b - a * a));
    *loss = 100 * (b - a * a) * (b - a * a) + (1 - a) * (1 - a);
    return HONE_OK;
}
static void test_minimizing_evaluates_the_loss_again(void **state)
{
    (void)state;
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 1, .no_bias = true)));
    hone_tensor *x = hone_tensor_from_f32(ctx, HONE_SHAPE(1, 2), VALUES(0, 0));
    hone_tensor_free(hone_predict(model, x, 1));
    hone_tensor_free(x);
    float w[2] = {-1.2f, 1};
    hone_param_write(hone_model_param(model, 0), 2, w);
    steep v = {.model = model};
    hone_optimizer *o = hone_lbfgs(ctx, .max_iterations = 100);
    double loss = 0;
    assert_hone_ok(ctx, hone_optimizer_minimize(o, model, rosenbrock, &v, &loss));
    assert_true(fabs(loss - 24.2) < 1e-4); /* the first one */
    hone_param_read(hone_model_param(model, 0), 2, w);
    if (!(fabsf(w[0] - 1) < 1e-3f && fabsf(w[1] - 1) < 2e-3f)) fail_msg("ended at %g %g", (double)w[0], (double)w[1]);
    assert_true(v.evaluations > 20 && v.evaluations <= 125);
    /* an error within the line search leaves the parameters where they were */
    float back[2] = {-1.2f, 1};
    hone_param_write(hone_model_param(model, 0), 2, back);
    v = (steep){.model = model, .fail_at = 2};
    assert_int_equal(hone_optimizer_minimize(o, model, rosenbrock, &v, NULL), HONE_CANCELLED);
    hone_param_read(hone_model_param(model, 0), 2, w);
    assert_memory_equal(w, back, sizeof w);
    assert_int_equal(hone_optimizer_step(o, model, NULL), HONE_STATE);
    assert_non_null(strstr(hone_error(ctx), "hone_optimizer_minimize"));
    assert_int_equal(hone_optimizer_minimize(o, model, rosenbrock, &v, NULL, .max_grad_norm = 1), HONE_INVALID);
    hone_optimizer_free(o);
    /* of others: once, and a step */
    o = hone_sgd(ctx, .learning_rate = 1e-3);
    v = (steep){.model = model};
    assert_hone_ok(ctx, hone_optimizer_minimize(o, model, rosenbrock, &v, NULL));
    hone_param_read(hone_model_param(model, 0), 2, w);
    assert_int_equal(v.evaluations, 1);
    assert_true(fabsf(w[0] - (-1.2f + 0.2156f)) < 1e-4f);
    hone_optimizer_free(o);
    hone_model_release(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lbfgs_looks_where_pytorch_does),
        TEST(test_fit_with_lbfgs_goes_pytorchs_way),
        TEST(test_lbfgs_ends_where_pytorch_does),
        TEST(test_fit_evaluates_as_often_as_lbfgs_asks),
        TEST(test_minimizing_evaluates_the_loss_again),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
