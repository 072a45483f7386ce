/* Optimizers against 100 steps of torch.optim, schedules against transformers: scripts/golden/make_optim_golden.py. */
#include "graph_tools.h"

#include "optim/optim.h"
#include "io/io.h"
#include "train/train.h"

#include <jansson.h>
#include <math.h>

enum { PARAMS = 18 }; /* w [3, 5], b [3] */

static hone_safetensors *golden;
static hone_tensor *golden_tensor(const char *name)
{
    const hone_tensor_info *info = hone_safetensors_find(golden, name);
    assert_non_null(info);
    return hone_tensor_from_f32(ctx, info->shape, info->data);
}

/* y = x w^T + b as the golden script begins it. */
static hone_model *golden_model(void)
{
    hone_tensor *w = golden_tensor("w"), *b = golden_tensor("b"), *x = golden_tensor("x");
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 3)));
    hone_tensor_free(hone_predict(model, x, 16)); /* makes the parameters */
    assert_hone_ok(ctx, hone_param_write(hone_model_find_param(model, "0.weight"), 15, hone_tensor_data(w)));
    assert_hone_ok(ctx, hone_param_write(hone_model_find_param(model, "0.bias"), 3, hone_tensor_data(b)));
    hone_tensor_free(w), hone_tensor_free(b), hone_tensor_free(x);
    return model;
}

static void read_params(hone_model *model, float *to)
{
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "0.weight"), 15, to));
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "0.bias"), 3, to + 15));
}

typedef struct path {
    const char *name;
    const float *want; /* [10, PARAMS] */
    double worst;
} path;
static bool compare(void *user, hone_model *model, size_t epoch, const hone_epoch *result)
{
    path *p = user;
    (void)result;
    if ((epoch + 1) % 10) return true;
    float have[PARAMS];
    read_params(model, have);
    for (int i = 0; i < PARAMS; i++)
        p->worst = HONE_MAX(p->worst, fabs((double)have[i] - (double)p->want[((epoch + 1) / 10 - 1) * PARAMS + (size_t)i]));
    return true;
}

/* Takes the optimizer over. */
static void assert_path(const char *name, hone_optimizer *optimizer, double max_grad_norm)
{
    if (!optimizer) fail_msg("%s: %s", name, hone_error(ctx));
    hone_model *model = golden_model();
    hone_tensor *x = golden_tensor("x"), *y = golden_tensor("y");
    path p = {.name = name, .want = hone_safetensors_find(golden, name)->data};
    assert_hone_ok(ctx, hone_compile(model, .optimizer = optimizer, .loss = HONE_MSE, .max_grad_norm = max_grad_norm));
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 100, .batch_size = 16, .no_shuffle = true, .on_epoch = compare,
                                 .on_epoch_user = &p));
    if (!(p.worst <= 1e-5)) fail_msg("%s: %g away", name, p.worst);
    assert_int_equal(hone_optimizer_steps(optimizer), 100);
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
}

static void test_sgd_follows_pytorch(void **state)
{
    (void)state;
    assert_path("sgd", hone_sgd(ctx, .learning_rate = 0.1), 0);
    assert_path("sgd_decay", hone_sgd(ctx, .learning_rate = 0.05, .weight_decay = 0.1), 0);
    assert_path("sgd_momentum", hone_sgd(ctx, .learning_rate = 0.02, .momentum = 0.9), 0);
    assert_path("sgd_nesterov", hone_sgd(ctx, .learning_rate = 0.02, .momentum = 0.8, .nesterov = true, .weight_decay = 0.02), 0);
    assert_path("sgd_clipped", hone_sgd(ctx, .learning_rate = 0.1), 0.25);
}

static void test_adam_follows_pytorch(void **state)
{
    (void)state;
    assert_path("adam", hone_adam(ctx, .learning_rate = 0.01), 0);
    assert_path("adam_decay", hone_adam(ctx, .learning_rate = 0.02, .beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-6, .weight_decay = 0.1), 0);
    assert_path("adamw", hone_adamw(ctx, .learning_rate = 0.01), 0);
    assert_path("adamw_none", hone_adamw(ctx, .learning_rate = 0.01, .weight_decay = HONE_ZERO), 0);
    assert_path("adamw_clipped", hone_adamw(ctx, .learning_rate = 0.03, .weight_decay = 0.2), 0.25);
}

static void test_8_bit_adam_follows_its_formula(void **state)
{
    (void)state;
    assert_path("adam8bit_decay", hone_adam(ctx, .learning_rate = 0.02, .beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-6,
                                            .weight_decay = 0.1, .eight_bit = true), 0);
    assert_path("adamw8bit", hone_adamw(ctx, .learning_rate = 0.01, .eight_bit = true), 0);
}

/* Given gradients of seven decades within a block, three blocks, the last not full. What lies on the border of two cells
   may fall into either in f32, so a few elements may be a cell away. */
static void test_8_bit_moments_are_the_nearest_of_their_map(void **state)
{
    (void)state;
    enum { N = 600, STEPS = 10 };
    hone_safetensors *file = hone_safetensors_open(ctx, HONE_TEST_DATA "/optim8.golden.safetensors");
    assert_non_null(file);
    const float *first = hone_safetensors_find(file, "first")->data, *last = hone_safetensors_find(file, "last")->data;
    const float *gradients = hone_safetensors_find(file, "gradients")->data;
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 1, .no_bias = true)));
    hone_tensor *x = hone_tensor_from_f32(ctx, HONE_SHAPE(1, N), first);
    hone_tensor_free(hone_predict(model, x, 1));
    hone_tensor_free(x);
    assert_hone_ok(ctx, hone__model_want_gradients(model));
    assert_hone_ok(ctx, hone_param_write(hone_model_param(model, 0), N, first));
    hone_optimizer *o = hone_adamw(ctx, .learning_rate = 0.01, .weight_decay = 0.1, .eight_bit = true);
    assert_string_equal(hone_optimizer_name(o), "adamw8bit");
    for (int step = 0; step < STEPS; step++) {
        memcpy(model->segments->grads, gradients + step * N, N * sizeof *gradients);
        assert_hone_ok(ctx, hone_optimizer_step(o, model, NULL));
    }
    float have[N];
    assert_hone_ok(ctx, hone_param_read(hone_model_param(model, 0), N, have));
    int away = 0;
    for (int i = 0; i < N; i++) away += !(fabsf(have[i] - last[i]) <= 1e-5f);
    if (away > N / 100) fail_msg("%d of %d parameters are away from the formula's", away, N);
    /* The stored values, from the codes: number n of a decade of c cells is 10^d (0.1 + 0.9 (i + 1/2) / c). */
    static const char *const names[] = {"exp_avg", "exp_avg_sq"};
    for (int s = 0; s < 2; s++) {
        const float *want = hone_safetensors_find(file, names[s])->data, *scale = o->segments[0].state[2 + s];
        const uint8_t *codes = o->segments[0].state[s];
        away = 0;
        for (int i = 0; i < N; i++) {
            bool negative = !s && codes[i] > 128;
            int n = negative ? 256 - codes[i] : codes[i], cells = s ? 2 : 1, decade = -6;
            bool one = n == (s ? 255 : 128);
            double value = n == 0 ? 0 : 1;
            for (n--; n >= 0 && !one && n >= cells; n -= cells, cells *= 2) decade++;
            if (n >= 0 && !one) value = pow(10, decade) * (0.1 + 0.9 * (n + 0.5) / cells);
            value *= (double)scale[i / 256] * (negative ? -1 : 1);
            away += !(fabs(value - (double)want[i]) <= 1e-5 * fabs((double)want[i]));
        }
        if (away > N / 100) fail_msg("%d of %d %s are away from the formula's", away, N, names[s]);
    }
    hone_optimizer_free(o);
    hone_model_release(model);
    hone_safetensors_close(file);
}

static void test_zero_is_said_in_words(void **state)
{
    (void)state;
    hone_optimizer *o = hone_adamw(ctx);
    assert_true(o->weight_decay == 0.01 && o->learning_rate == 0.001 && o->beta1 == 0.9 && o->beta2 == 0.999 && o->epsilon == 1e-8);
    assert_string_equal(hone_optimizer_name(o), "adamw");
    hone_optimizer_free(o);
    o = hone_adamw(ctx, .weight_decay = HONE_ZERO, .learning_rate = HONE_ZERO, .beta1 = HONE_ZERO, .beta2 = HONE_ZERO, .epsilon = HONE_ZERO);
    assert_true(o->weight_decay == 0 && o->learning_rate == 0 && o->beta1 == 0 && o->beta2 == 0 && o->epsilon == 0);
    hone_optimizer_free(o);
    o = hone_adam(ctx);
    assert_true(o->weight_decay == 0);
    hone_optimizer_free(o);
    o = hone_sgd(ctx, .momentum = HONE_ZERO, .weight_decay = HONE_ZERO);
    if (!o) fail_msg("%s", hone_error(ctx));
    assert_true(o->momentum == 0 && o->weight_decay == 0 && o->learning_rate == 0.01);
    hone_optimizer_free(o);
    o = hone_sgd(ctx, .learning_rate = HONE_ZERO);
    assert_true(o->learning_rate == 0);
    hone_optimizer_set_learning_rate(o, 0.5);
    assert_true(hone_optimizer_learning_rate(o) == 0.5);
    hone_optimizer_free(o);
}

static void test_impossible_options_are_refused(void **state)
{
    (void)state;
    assert_null(hone_sgd(ctx, .nesterov = true));
    assert_error(HONE_INVALID, "nesterov needs momentum");
    hone_clear_error(ctx);
    assert_null(hone_sgd(ctx, .learning_rate = -1));
    hone_clear_error(ctx);
    assert_null(hone_sgd(ctx, .momentum = NAN));
    hone_clear_error(ctx);
    assert_null(hone_adam(ctx, .beta1 = 1));
    assert_error(HONE_INVALID, "adam: betas must be in [0, 1)");
    hone_clear_error(ctx);
    assert_null(hone_adamw(ctx, .weight_decay = NAN));
    hone_clear_error(ctx);
    assert_null(hone_adamw(ctx, .epsilon = -1));
    hone_clear_error(ctx);
    hone_optimizer_free(NULL);
}

/* ---- stepping by hand ----------------------------------------------------------------------------------------- */

/* A model of one 300 x 400 weight (more than one piece of the optimizer's work) with gradients of our own. */
static hone_model *large_model(void)
{
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 300, .no_bias = true)));
    float zeros[400] = {0};
    hone_tensor *x = hone_tensor_from_f32(ctx, HONE_SHAPE(1, 400), zeros);
    hone_tensor_free(hone_predict(model, x, 1));
    hone_tensor_free(x);
    assert_hone_ok(ctx, hone__model_want_gradients(model));
    for (int64_t i = 0; i < 120000; i++) model->segments->grads[i] = hone__random_normal(3, (uint64_t)i);
    return model;
}

static void test_clipping_scales_to_the_norm(void **state)
{
    (void)state;
    hone_model *model = large_model();
    static float before[120000], after[120000], gradient[120000];
    hone_param *p = hone_model_param(model, 0);
    hone_param_read(p, 120000, before);
    hone_param_read_gradient(p, 120000, gradient);
    double want = 0, norm = 0, moved = 0;
    for (int i = 0; i < 120000; i++) want += (double)gradient[i] * (double)gradient[i];
    hone_optimizer *o = hone_sgd(ctx, .learning_rate = 1);
    assert_hone_ok(ctx, hone_optimizer_step(o, model, &norm, .max_grad_norm = 2));
    assert_true(fabs(norm / sqrt(want) - 1) <= 1e-6);
    hone_param_read(p, 120000, after);
    for (int i = 0; i < 120000; i++) moved += pow((double)after[i] - (double)before[i], 2);
    assert_true(fabs(sqrt(moved) / 2 - 1) <= 1e-4);
    /* below the limit nothing is scaled */
    assert_hone_ok(ctx, hone_optimizer_step(o, model, NULL, .max_grad_norm = 1e6));
    hone_param_read(p, 120000, before);
    for (int i = 0; i < 120000; i += 999) assert_true(fabsf(before[i] - (after[i] - gradient[i])) <= 1e-6f * (1 + fabsf(before[i])));
    hone_optimizer_free(o);
    hone_model_release(model);
}

static void test_gradients_that_are_not_finite_change_nothing(void **state)
{
    (void)state;
    hone_model *model = large_model();
    static float before[120000], after[120000];
    hone_param *p = hone_model_param(model, 0);
    hone_optimizer *o = hone_adamw(ctx);
    hone_param_read(p, 120000, before);
    model->segments->grads[77777] = INFINITY;
    double norm = 0;
    assert_int_equal(hone_optimizer_step(o, model, &norm), HONE_NUMERIC);
    assert_non_null(strstr(hone_error(ctx), "'0.weight'"));
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    assert_int_equal(hone_optimizer_steps(o), 0);
    hone_param_read(p, 120000, after);
    assert_memory_equal(before, after, sizeof before);
    model->segments->grads[77777] = 1;
    assert_hone_ok(ctx, hone_optimizer_step(o, model, &norm));
    assert_int_equal(hone_optimizer_steps(o), 1);
    hone_optimizer_free(o);
    hone_model_release(model);
}

/* What was frozen after the first step stays, and its gradient is not in the norm. */
static void test_frozen_parameters_stay(void **state)
{
    (void)state;
    hone_model *model = golden_model();
    hone_tensor *x = golden_tensor("x"), *y = golden_tensor("y");
    assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_adamw(ctx), .loss = HONE_MSE));
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL));
    assert_hone_ok(ctx, hone_model_set_trainable(model, "0.weight", false));
    float before[PARAMS], after[PARAMS];
    read_params(model, before);
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 3));
    read_params(model, after);
    assert_memory_equal(before, after, 15 * sizeof *before);
    for (int i = 15; i < 18; i++) assert_true(before[i] != after[i]);
    assert_hone_ok(ctx, hone_model_set_trainable(model, "0.weight", true));
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL));
    read_params(model, before);
    for (int i = 0; i < 18; i++) assert_true(before[i] != after[i]);
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
}

/* ---- schedules -------------------------------------------------------------------------------------------------- */

/* transformers begins a warm-up at 0; here its first step is one that learns, so that step s has what s + 1 has there. */
static void test_schedules_are_those_of_transformers(void **state)
{
    (void)state;
    json_t *all = json_load_file(HONE_TEST_DATA "/optim.golden.json", 0, NULL), *rates;
    assert_non_null(all);
    const char *name;
    int seen = 0;
    json_object_foreach(all, name, rates)
    {
        char kind[20];
        unsigned long long warmup, total;
        assert_int_equal(sscanf(name, "%19s %llu %llu", kind, &warmup, &total), 3);
        hone_schedule s = {.peak = 0.3, .total = total, .warmup = warmup};
        assert_true(hone_schedule_kind_from_name(kind, &s.kind));
        for (uint64_t step = 0; step < json_array_size(rates); step++) {
            double want = json_number_value(json_array_get(rates, (size_t)(step < warmup ? step + 1 : HONE_MIN(step, (uint64_t)total))));
            /* nothing is left after a warm-up that takes all steps: there the peak stays */
            if (step >= warmup && total == warmup) continue;
            if (step + 1 == warmup) want = 0.3;
            if (!(fabs(hone_schedule_at(&s, step) - want) <= 1e-12)) fail_msg("%s, step %d", name, (int)step);
        }
        seen++;
    }
    assert_int_equal(seen, 9);
    json_decref(all);
    hone_schedule_kind kind;
    assert_false(hone_schedule_kind_from_name("cubic", &kind));
    hone_schedule s = {HONE_SCHEDULE_COSINE, .peak = 1, .least = 0.1, .total = 10};
    assert_true(hone_schedule_at(&s, 0) == 1);
    assert_true(fabs(hone_schedule_at(&s, 5) - 0.55) < 1e-12);
    assert_true(fabs(hone_schedule_at(&s, 10) - 0.1) < 1e-12);
    assert_true(fabs(hone_schedule_at(&s, UINT64_MAX) - 0.1) < 1e-12);
}

static hone_ctx *golden_ctx;
static int open_golden(void **state)
{
    (void)state;
    golden_ctx = hone_ctx_new(.threads = 1);
    return (golden = hone_safetensors_open(golden_ctx, HONE_TEST_DATA "/optim.golden.safetensors")) ? 0 : -1;
}
static int close_golden(void **state)
{
    (void)state;
    hone_safetensors_close(golden);
    hone_ctx_release(golden_ctx);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sgd_follows_pytorch),
        TEST(test_adam_follows_pytorch),
        TEST(test_8_bit_adam_follows_its_formula),
        TEST(test_8_bit_moments_are_the_nearest_of_their_map),
        TEST(test_zero_is_said_in_words),
        TEST(test_impossible_options_are_refused),
        TEST(test_clipping_scales_to_the_norm),
        TEST(test_gradients_that_are_not_finite_change_nothing),
        TEST(test_frozen_parameters_stay),
        TEST(test_schedules_are_those_of_transformers),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
