/* Optimizers against 100 steps of torch.optim: scripts/golden/make_optim_golden.py. */
#include "optim_tools.h"

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

static void test_adams_kin_follow_pytorch(void **state)
{
    (void)state;
    assert_path("amsgrad", hone_adam(ctx, .learning_rate = 0.02, .beta1 = 0.5, .beta2 = 0.6, .weight_decay = 0.05, .amsgrad = true), 0);
    assert_path("amsgradw", hone_adamw(ctx, .learning_rate = 0.02, .beta1 = 0.5, .beta2 = 0.6, .weight_decay = 0.05, .amsgrad = true), 0);
    assert_path("nadam", hone_nadam(ctx, .learning_rate = 0.01), 0);
    assert_path("nadam_decay", hone_nadam(ctx, .learning_rate = 0.02, .beta1 = 0.8, .beta2 = 0.95, .momentum_decay = 0.02, .weight_decay = 0.1), 0);
    assert_path("nadam_decoupled", hone_nadam(ctx, .learning_rate = 0.02, .weight_decay = 0.1, .decoupled_weight_decay = true), 0);
    assert_path("radam", hone_radam(ctx, .learning_rate = 0.02), 0);
    assert_path("radam_decay", hone_radam(ctx, .learning_rate = 0.01, .beta1 = 0.8, .beta2 = 0.95, .weight_decay = 0.1), 0);
    assert_path("radam_decoupled", hone_radam(ctx, .learning_rate = 0.02, .weight_decay = 0.1, .decoupled_weight_decay = true), 0);
    assert_path("adamax", hone_adamax(ctx, .learning_rate = 0.02), 0);
    assert_path("adamax_decay", hone_adamax(ctx, .learning_rate = 0.01, .beta1 = 0.8, .beta2 = 0.95, .weight_decay = 0.1), 0);
}

static void test_rules_of_squares_follow_pytorch(void **state)
{
    (void)state;
    assert_path("adagrad", hone_adagrad(ctx, .learning_rate = 0.1), 0);
    assert_path("adagrad_decay", hone_adagrad(ctx, .learning_rate = 0.2, .lr_decay = 0.02, .weight_decay = 0.05,
                                              .initial_accumulator_value = 0.1, .epsilon = 1e-6), 0);
    assert_path("rmsprop", hone_rmsprop(ctx, .learning_rate = 0.005), 0);
    assert_path("rmsprop_momentum", hone_rmsprop(ctx, .learning_rate = 0.002, .alpha = 0.9, .momentum = 0.8, .weight_decay = 0.05), 0);
    assert_path("rmsprop_centered", hone_rmsprop(ctx, .learning_rate = 0.002, .alpha = 0.95, .centered = true, .epsilon = 1e-3), 0);
    assert_path("rmsprop_both", hone_rmsprop(ctx, .learning_rate = 0.001, .alpha = 0.95, .centered = true, .momentum = 0.7, .epsilon = 1e-3), 0);
    assert_path("adadelta", hone_adadelta(ctx), 0);
    assert_path("adadelta_decay", hone_adadelta(ctx, .learning_rate = 0.5, .rho = 0.95, .epsilon = 1e-4, .weight_decay = 0.1), 0);
}

static void test_lion_and_lamb_follow_their_papers(void **state)
{
    (void)state;
    assert_path("lion", hone_lion(ctx, .learning_rate = 0.003), 0);
    assert_path("lion_decay", hone_lion(ctx, .learning_rate = 0.005, .beta1 = 0.8, .beta2 = 0.95, .weight_decay = 0.5), 0);
    assert_path("lamb", hone_lamb(ctx, .learning_rate = 0.01), 0);
    assert_path("lamb_clipped", hone_lamb(ctx, .learning_rate = 0.005, .beta1 = 0.8, .beta2 = 0.95, .weight_decay = HONE_ZERO, .epsilon = 1e-4), 0.25);
}

static void test_adafactor_and_muon_follow_pytorch(void **state)
{
    (void)state;
    assert_path("adafactor", hone_adafactor(ctx, .learning_rate = 0.05), 0);
    assert_path("adafactor_decay", hone_adafactor(ctx, .learning_rate = 0.03, .beta2_decay = 0.9, .epsilon1 = 1e-2, .epsilon2 = 0.1,
                                                  .clip_threshold = 1.5, .weight_decay = 0.3), 0);
    assert_path("adafactor_clipped", hone_adafactor(ctx, .learning_rate = 0.02), 0.25);
    assert_path("muon", hone_muon(ctx, .learning_rate = 0.005), 0);
    assert_path("muon_plain", hone_muon(ctx, .learning_rate = 0.004, .weight_decay = HONE_ZERO, .momentum = 0.8, .no_nesterov = true,
                                        .match_rms_adamw = true, .ns_steps = 3, .adamw_factor = 2), 0.25);
}

/* Weights of four axes: Adafactor's are stacked matrices, Muon's one matrix. */
static void test_weights_of_convolutions_follow_too(void **state)
{
    (void)state;
    hone_optimizer *all[] = {hone_adafactor(ctx, .learning_rate = 0.05, .weight_decay = 0.1), hone_muon(ctx, .learning_rate = 0.02),
                             hone_lamb(ctx, .learning_rate = 0.02)};
    const float *gradients = hone_safetensors_find(golden, "g.conv")->data;
    for (int i = 0; i < 3; i++) {
        hone_model *model = conv_model();
        char name[40];
        snprintf(name, sizeof name, "conv.%s", hone_optimizer_name(all[i]));
        const float *want = hone_safetensors_find(golden, name)->data;
        for (int step = 0; step < 10; step++) {
            float have[CONV];
            memcpy(model->segments->grads, gradients + step * CONV, sizeof have);
            assert_hone_ok(ctx, hone_optimizer_step(all[i], model, NULL));
            assert_hone_ok(ctx, hone_param_read(hone_model_param(model, 0), CONV, have));
            for (int e = 0; e < CONV; e++)
                if (!(fabsf(have[e] - want[step * CONV + e]) <= 1e-5f))
                    fail_msg("%s, step %d: %g, not %g", name, step, (double)have[e], (double)want[step * CONV + e]);
        }
        hone_optimizer_free(all[i]);
        hone_model_release(model);
    }
}

static void test_every_name_makes_its_optimizer(void **state)
{
    (void)state;
    static const char *const names[] = {
#define HONE_OPTIMIZER(name, ...) #name,
#include "hone/optimizer.def"
#undef HONE_OPTIMIZER
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(names); i++) {
        hone_optimizer *o = hone_optimizer_from_name(ctx, names[i], 0.125, HONE_ZERO);
        if (!o) fail_msg("%s: %s", names[i], hone_error(ctx));
        assert_string_equal(hone_optimizer_name(o), names[i]);
        assert_true(hone_optimizer_learning_rate(o) == 0.125 && o->v.weight_decay == 0);
        hone_optimizer_free(o);
    }
    assert_null(hone_optimizer_from_name(ctx, "adamx", 0, 0));
    assert_error(HONE_INVALID, "no optimizer 'adamx'; there are adamw, adamw8bit");
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
    assert_true(o->v.weight_decay == 0.01 && o->v.learning_rate == 0.001 && o->v.beta1 == 0.9 && o->v.beta2 == 0.999 && o->v.epsilon == 1e-8);
    assert_string_equal(hone_optimizer_name(o), "adamw");
    hone_optimizer_free(o);
    o = hone_adamw(ctx, .weight_decay = HONE_ZERO, .learning_rate = HONE_ZERO, .beta1 = HONE_ZERO, .beta2 = HONE_ZERO, .epsilon = HONE_ZERO);
    assert_true(o->v.weight_decay == 0 && o->v.learning_rate == 0 && o->v.beta1 == 0 && o->v.beta2 == 0 && o->v.epsilon == 0);
    hone_optimizer_free(o);
    o = hone_adam(ctx);
    assert_true(o->v.weight_decay == 0);
    hone_optimizer_free(o);
    o = hone_sgd(ctx, .momentum = HONE_ZERO, .weight_decay = HONE_ZERO);
    if (!o) fail_msg("%s", hone_error(ctx));
    assert_true(o->v.momentum == 0 && o->v.weight_decay == 0 && o->v.learning_rate == 0.01);
    hone_optimizer_free(o);
    o = hone_sgd(ctx, .learning_rate = HONE_ZERO);
    assert_true(o->v.learning_rate == 0);
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
#define REFUSED(call, part) (assert_null(call), assert_error(HONE_INVALID, part), hone_clear_error(ctx))
    REFUSED(hone_adam(ctx, .amsgrad = true, .eight_bit = true), "adam8bit: eight_bit and amsgrad");
    REFUSED(hone_lion(ctx, .epsilon = 1e-8), "lion: there is no epsilon");
    REFUSED(hone_adamax(ctx, .amsgrad = true), "adamax: eight_bit and amsgrad are options of adam and adamw");
    REFUSED(hone_adam(ctx, .momentum_decay = 0.1), "adam: there is no momentum_decay");
    REFUSED(hone_lamb(ctx, .decoupled_weight_decay = true), "lamb: there is no decoupled_weight_decay");
    REFUSED(hone_nadam(ctx, .momentum_decay = -1), "momentum_decay must not be negative");
    REFUSED(hone_adagrad(ctx, .lr_decay = NAN), "lr_decay");
    REFUSED(hone_adadelta(ctx, .rho = 1.5), "adadelta: betas must be in [0, 1)");
    REFUSED(hone_adafactor(ctx, .clip_threshold = HONE_ZERO), "clip_threshold above 0");
    REFUSED(hone_muon(ctx, .ns_steps = 100), "ns_steps must be 1 to 99");
    REFUSED(hone_muon(ctx, .momentum = 1), "momentum in [0, 1)");
    REFUSED(hone_lbfgs(ctx, .history = -1), "history must be at least 1");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sgd_follows_pytorch),
        TEST(test_adam_follows_pytorch),
        TEST(test_8_bit_adam_follows_its_formula),
        TEST(test_adams_kin_follow_pytorch),
        TEST(test_rules_of_squares_follow_pytorch),
        TEST(test_lion_and_lamb_follow_their_papers),
        TEST(test_adafactor_and_muon_follow_pytorch),
        TEST(test_weights_of_convolutions_follow_too),
        TEST(test_every_name_makes_its_optimizer),
        TEST(test_8_bit_moments_are_the_nearest_of_their_map),
        TEST(test_zero_is_said_in_words),
        TEST(test_impossible_options_are_refused),
        TEST(test_clipping_scales_to_the_norm),
        TEST(test_gradients_that_are_not_finite_change_nothing),
        TEST(test_frozen_parameters_stay),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
