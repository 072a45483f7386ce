/* Parameter groups, constraints, clipping by value, averages of weights; and memory that runs out. */
#include "optim_tools.h"

static void step_with_ones(hone_optimizer *o, hone_model *model)
{
    assert_hone_ok(ctx, hone__model_want_gradients(model));
    for (int64_t i = 0; i < model->segments->count; i++) model->segments->grads[i] = 1;
    assert_hone_ok(ctx, hone_optimizer_step(o, model, NULL));
}

/* Each group moves by its own rate and decay, by a rule of either kind. */
static void test_groups_have_options_of_their_own(void **state)
{
    (void)state;
    float before[PARAMS], after[PARAMS];
    hone_model *model = golden_model();
    hone_optimizer *o = hone_sgd(ctx, .learning_rate = 0.5, .weight_decay = 0.1);
    assert_hone_ok(ctx, hone_optimizer_group(o, "0", .learning_rate_factor = 7)); /* a later one holds */
    assert_hone_ok(ctx, hone_optimizer_group(o, "*.we?ght", .learning_rate_factor = 0.25));
    assert_hone_ok(ctx, hone_optimizer_group(o, "0.bias", .weight_decay = HONE_ZERO));
    read_params(model, before);
    step_with_ones(o, model);
    read_params(model, after);
    for (int i = 0; i < PARAMS; i++) {
        float want = i < 15 ? before[i] - 0.125f * (1 + 0.1f * before[i]) : before[i] - 0.5f;
        assert_true(fabsf(after[i] - want) <= 1e-6f);
    }
    hone_optimizer_free(o);
    o = hone_lamb(ctx, .learning_rate = 0.5);
    assert_hone_ok(ctx, hone_optimizer_group(o, "*bias", .learning_rate_factor = HONE_ZERO));
    read_params(model, before);
    step_with_ones(o, model);
    read_params(model, after);
    for (int i = 0; i < PARAMS; i++) assert_true((after[i] == before[i]) == (i >= 15));
    hone_optimizer_free(o);
    /* muon: a weight of the group is AdamW's, whose first step is the rate */
    o = hone_muon(ctx, .learning_rate = 0.5, .weight_decay = HONE_ZERO);
    assert_hone_ok(ctx, hone_optimizer_group(o, "0.weight", .adamw = true));
    read_params(model, before);
    step_with_ones(o, model);
    read_params(model, after);
    for (int i = 0; i < PARAMS; i++) assert_true(fabsf(after[i] - (before[i] - 0.5f)) <= 1e-6f);
    hone_optimizer_free(o);
    hone_model_release(model);
}

static void test_regularizers_are_a_part_of_the_gradient(void **state)
{
    (void)state;
    float before[PARAMS], after[PARAMS];
    hone_model *model = golden_model();
    hone_optimizer *o = hone_sgd(ctx, .learning_rate = 0.5);
    assert_hone_ok(ctx, hone_optimizer_group(o, "0.weight", .l1 = 0.125, .l2 = 0.25));
    read_params(model, before);
    step_with_ones(o, model);
    read_params(model, after);
    for (int i = 0; i < PARAMS; i++) {
        float sign = (float)(before[i] > 0) - (float)(before[i] < 0), more = i < 15 ? 0.125f * sign + 0.5f * before[i] : 0;
        assert_true(fabsf(after[i] - (before[i] - 0.5f * (1 + more))) <= 1e-6f);
    }
    hone_optimizer_free(o);
    hone_model_release(model);
}

static void test_wrong_groups_are_refused(void **state)
{
    (void)state;
    hone_model *model = golden_model();
    hone_optimizer *o = hone_adam(ctx);
    assert_int_equal(hone_optimizer_group(o, "", .weight_decay = 1), HONE_INVALID);
    assert_error(HONE_INVALID, "a parameter group needs a pattern");
    hone_clear_error(ctx);
    assert_int_equal(hone_optimizer_group(o, "0", .weight_decay = -1), HONE_INVALID);
    hone_clear_error(ctx);
    assert_int_equal(hone_optimizer_group(o, "0", .max_norm = 1, .unit_norm = true), HONE_INVALID);
    hone_clear_error(ctx);
    assert_int_equal(hone_optimizer_group(o, "0", .min_norm = 2, .max_norm = 1), HONE_INVALID);
    hone_clear_error(ctx);
    assert_int_equal(hone_optimizer_group(o, "0", .min_norm = 2, .norm_rate = 1.5), HONE_INVALID);
    hone_clear_error(ctx);
    assert_hone_ok(ctx, hone_optimizer_group(o, "*.kernel"));
    assert_int_equal(hone_optimizer_step(o, model, NULL), HONE_NOT_FOUND);
    assert_error(HONE_NOT_FOUND, "no trained parameter matches '*.kernel'");
    hone_clear_error(ctx);
    hone_optimizer_free(o);
    o = hone_adam(ctx);
    step_with_ones(o, model);
    assert_int_equal(hone_optimizer_group(o, "0"), HONE_STATE);
    hone_clear_error(ctx);
    hone_optimizer_free(o);
    o = hone_lbfgs(ctx);
    assert_int_equal(hone_optimizer_group(o, "0"), HONE_INVALID);
    hone_clear_error(ctx);
    hone_optimizer_free(o);
    hone_model_release(model);
}

static double row_norm(const float *w)
{
    double sum = 0;
    for (int i = 0; i < 5; i++) sum += (double)w[i] * (double)w[i];
    return sqrt(sum);
}
static void test_constraints_hold_after_a_step(void **state)
{
    (void)state;
    float w[PARAMS], free_[PARAMS];
    for (int way = 0; way < 4; way++) {
        hone_model *models[] = {golden_model(), golden_model()};
        hone_optimizer *free_rule = hone_sgd(ctx, .learning_rate = 0.3), *o = hone_sgd(ctx, .learning_rate = 0.3);
        hone_group_opts opts = {.struct_size = sizeof opts, .max_norm = way == 0 ? 1.5 : 0, .unit_norm = way == 1, .non_negative = way == 2,
                                .min_norm = way == 3 ? 4 : 0, .norm_rate = way == 3 ? 0.75 : 0};
        assert_hone_ok(ctx, hone_optimizer_group_opt(o, "0.weight", &opts));
        step_with_ones(free_rule, models[0]), step_with_ones(o, models[1]);
        read_params(models[0], free_), read_params(models[1], w);
        assert_memory_equal(w + 15, free_ + 15, 3 * sizeof *w); /* the bias is not in the group */
        int changed = 0;
        for (int r = 0; r < 3; r++) {
            double was = row_norm(free_ + 5 * r), is = row_norm(w + 5 * r);
            changed += was != is;
            if (way == 0) assert_true(fabs(is - HONE_MIN(was, 1.5)) < 1e-5);
            if (way == 1) assert_true(fabs(is - 1) < 1e-5);
            if (way == 3) assert_true(fabs(is - (0.75 * HONE_MAX(was, 4) + 0.25 * was)) < 1e-5); /* keras.constraints.MinMaxNorm */
            for (int i = 0; i < 5 && way == 2; i++) assert_true(w[5 * r + i] == HONE_MAX(free_[5 * r + i], 0));
        }
        assert_true(changed > 0);
        for (int m = 0; m < 2; m++) hone_model_release(models[m]);
        hone_optimizer_free(free_rule), hone_optimizer_free(o);
    }
}

/* Rows of words that the batch does not have, too: Keras's embeddings_regularizer and embeddings_constraint. */
static void test_embeddings_are_regularized_and_constrained(void **state)
{
    (void)state;
    float before[12], after[12];
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_embedding_layer(ctx, 4, 3, .initializer = HONE_INIT_UNIFORM), hone_flatten(ctx), hone_dense(ctx, 1)));
    hone_tensor *x = hone_tensor_from_i32(ctx, HONE_SHAPE(1, 2), (int32_t[]){1, 1}), *y = hone_tensor_from_f32(ctx, HONE_SHAPE(1, 1), VALUES(5));
    hone_optimizer *o = hone_sgd(ctx, .learning_rate = 0.5);
    assert_hone_ok(ctx, hone_optimizer_group(o, "0.weight", .l2 = 0.25, .max_norm = 0.04));
    assert_hone_ok(ctx, hone_compile(model, .optimizer = o, .loss = HONE_MSE));
    assert_hone_ok(ctx, hone_model_build_for(model, HONE_I32, HONE_SHAPE(1, 2)));
    const hone_param *p = hone_model_find_param(model, "0.weight");
    hone_param_read(p, 12, before);
    assert_hone_ok(ctx, hone_train_on_batch(model, x, y, NULL, NULL));
    hone_param_read(p, 12, after);
    for (int r = 0; r < 4; r++) {
        double was = 0, is = 0;
        for (int i = 0; i < 3; i++) was += pow(0.75 * (double)before[3 * r + i], 2), is += pow((double)after[3 * r + i], 2);
        if (r == 1) assert_true(fabs(sqrt(is) - 0.04) < 1e-6); /* its own gradient is large */
        else assert_true(fabs(sqrt(is) - HONE_MIN(sqrt(was), 0.04)) < 1e-6); /* w - 0.5 * 2 * 0.25 w */
    }
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
}

static void test_clipping_by_value_follows_pytorch(void **state)
{
    (void)state;
    assert_path_opt("by_value", hone_sgd(ctx, .learning_rate = 0.125), 0, 0.0625);
    assert_path_opt("by_both", hone_sgd(ctx, .learning_rate = 0.2), 0.1, 0.05);
}

/* ---- averages ---- */

static void test_averages_are_those_of_pytorch(void **state)
{
    (void)state;
    const float *weights = hone_safetensors_find(golden, "g.conv")->data;
    for (int equal = 0; equal < 2; equal++) {
        const float *want = hone_safetensors_find(golden, equal ? "swa" : "ema")->data;
        hone_model *model = conv_model();
        hone_param *p = hone_model_param(model, 0);
        hone_ema *ema = hone_ema_new(model, .decay = 0.9, .equal = equal);
        assert_int_equal(hone_ema_swap(ema), HONE_STATE);
        for (int step = 0; step < 10; step++) {
            float have[CONV], back[CONV];
            assert_hone_ok(ctx, hone_param_write(p, CONV, weights + step * CONV));
            assert_hone_ok(ctx, hone_ema_update(ema));
            assert_hone_ok(ctx, hone_ema_swap(ema));
            assert_int_equal(hone_ema_update(ema), HONE_STATE);
            hone_param_read(p, CONV, have);
            assert_hone_ok(ctx, hone_ema_swap(ema));
            hone_param_read(p, CONV, back);
            assert_memory_equal(back, weights + step * CONV, sizeof back);
            for (int e = 0; e < CONV; e++) assert_true(fabsf(have[e] - want[step * CONV + e]) <= 1e-5f);
        }
        hone_ema_free(ema);
        hone_model_release(model);
    }
    hone_model *model = conv_model();
    assert_null(hone_ema_new(model, .decay = 1.5));
    assert_error(HONE_INVALID, "decay must be in [0, 1]");
    hone_clear_error(ctx);
    hone_model_release(model);
    hone_ema_free(NULL);
}

static void test_fit_updates_the_average(void **state)
{
    (void)state;
    hone_model *model = golden_model();
    hone_tensor *x = golden_tensor("x"), *y = golden_tensor("y");
    hone_ema *ema = hone_ema_new(model, .equal = true);
    assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_sgd(ctx, .learning_rate = 0.1), .loss = HONE_MSE));
    float sum[PARAMS] = {0}, w[PARAMS];
    for (int i = 0; i < 4; i++) {
        assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .batch_size = 16, .ema = ema));
        read_params(model, w);
        for (int k = 0; k < PARAMS; k++) sum[k] += w[k];
    }
    double last, mean;
    assert_hone_ok(ctx, hone_evaluate(model, x, y, 16, &last, NULL));
    assert_hone_ok(ctx, hone_ema_swap(ema)); /* what was planned before must see the other values */
    assert_hone_ok(ctx, hone_evaluate(model, x, y, 16, &mean, NULL));
    assert_true(mean > last * 1.01);
    read_params(model, w);
    for (int k = 0; k < PARAMS; k++) assert_true(fabsf(w[k] - sum[k] / 4) <= 1e-6f);
    hone_ema_free(ema);
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
}

/* ---- memory ---- */

static hone_status small_run(counting *c, const char *name)
{
    hone_ctx *saved = ctx;
    if (!(ctx = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, c}))) return ctx = saved, HONE_MEMORY;
    float zeros[20] = {0};
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 3)));
    hone_tensor *x = hone_tensor_from_f32(ctx, HONE_SHAPE(4, 5), zeros), *y = hone_tensor_from_f32(ctx, HONE_SHAPE(4, 3), zeros);
    hone_optimizer *o = strcmp(name, "lbfgs") ? hone_optimizer_from_name(ctx, name, 0, 0) : hone_lbfgs(ctx, .history = 2);
    if (o && strcmp(name, "lbfgs")) hone_optimizer_group(o, "*bias", .weight_decay = HONE_ZERO);
    hone_ema *ema = hone_ema_new(model);
    hone_status status = hone_ctx_status(ctx);
    if (status == HONE_OK)
        status = hone_compile(model, .optimizer = o, .loss = HONE_MSE);
    else
        hone_optimizer_free(o);
    if (status == HONE_OK) status = hone_fit(model, x, y, NULL, .epochs = 2, .ema = ema);
    hone_ema_free(ema);
    hone_tensor_free(x), hone_tensor_free(y);
    hone_model_release(model);
    hone_ctx_release(ctx);
    ctx = saved;
    return status;
}

static void test_failing_allocations_end_in_an_error(void **state)
{
    (void)state;
    static const char *const names[] = {"adam", "adafactor", "muon", "lbfgs"};
    for (size_t i = 0; i < HONE_ARRAY_LEN(names); i++) {
        counting all = {0};
        assert_int_equal(small_run(&all, names[i]), HONE_OK);
        assert_int_equal(all.live, 0);
        for (int64_t n = 1; n <= all.calls; n++) {
            counting c = {.fail_at = n};
            hone_status status = small_run(&c, names[i]);
            if (status != HONE_MEMORY) fail_msg("%s: allocation %d failed, and it came to %s", names[i], (int)n, hone_status_name(status));
            if (c.live) fail_msg("%s: allocation %d failed, %d leaked", names[i], (int)n, (int)c.live);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_groups_have_options_of_their_own),
        TEST(test_regularizers_are_a_part_of_the_gradient),
        TEST(test_wrong_groups_are_refused),
        TEST(test_constraints_hold_after_a_step),
        TEST(test_embeddings_are_regularized_and_constrained),
        TEST(test_clipping_by_value_follows_pytorch),
        TEST(test_averages_are_those_of_pytorch),
        TEST(test_fit_updates_the_average),
        TEST(test_failing_allocations_end_in_an_error),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
