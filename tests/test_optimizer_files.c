/* Every optimizer in a model's file: training that goes on has the bits of one that never stopped. */
#include "train_tools.h"

#include <jansson.h>

/* ---- all rules, and options that are not the default ---- */

static hone_optimizer *by_name(hone_ctx *owner, int i)
{
    static const char *const names[] = {
#define HONE_OPTIMIZER(name, ...) #name,
#include "hone/optimizer.def"
#undef HONE_OPTIMIZER
    };
    return i < (int)HONE_ARRAY_LEN(names) ? hone_optimizer_from_name(owner, names[i], 0.02, 0.01) : NULL;
}

static hone_optimizer *grouped(hone_optimizer *o)
{
    hone_optimizer_group(o, "0", .learning_rate_factor = 0.5, .l1 = 1e-3, .l2 = 1e-3, .min_norm = 0.5, .max_norm = 0.7, .norm_rate = 0.9);
    hone_optimizer_group(o, "*.bias", .weight_decay = HONE_ZERO, .non_negative = true);
    hone_optimizer_group(o, "2.weight", .unit_norm = true, .adamw = true);
    return o;
}

static hone_optimizer *with_options(hone_ctx *owner, int i)
{
    switch (i) {
    case 0: return hone_sgd(owner, .momentum = 0.9, .nesterov = true, .weight_decay = 1e-3);
    case 1: return hone_adam(owner, .beta1 = HONE_ZERO, .beta2 = 0.9, .epsilon = 1e-3);
    case 2: return hone_adamw(owner, .amsgrad = true, .weight_decay = HONE_ZERO);
    case 3: return hone_nadam(owner, .decoupled_weight_decay = true, .weight_decay = 0.1, .momentum_decay = 0.01);
    case 4: return hone_nadam(owner, .momentum_decay = HONE_ZERO);
    case 5: return hone_radam(owner, .decoupled_weight_decay = true, .weight_decay = 0.1, .beta2 = 0.5);
    case 6: return hone_adagrad(owner, .lr_decay = 0.1, .initial_accumulator_value = 0.2, .learning_rate = 0.1);
    case 7: return hone_rmsprop(owner, .centered = true, .momentum = 0.5);
    case 8: return hone_rmsprop(owner, .momentum = 0.5, .alpha = 0.9);
    case 9: return hone_rmsprop(owner, .centered = true);
    case 10: return hone_adafactor(owner, .beta2_decay = 0.5, .epsilon2 = 0.1, .clip_threshold = 0.5);
    case 11: return hone_muon(owner, .no_nesterov = true, .ns_steps = 3, .match_rms_adamw = true, .adamw_factor = 0.3);
    case 12: return grouped(hone_adamw(owner, .learning_rate = 0.01));
    case 13: return grouped(hone_muon(owner));
    case 14: return grouped(hone_adamw(owner, .eight_bit = true));
    case 15: return grouped(hone_adafactor(owner));
    case 16: return grouped(hone_lamb(owner));
    case 17: return hone_lbfgs(owner, .max_iterations = 3, .history = 4);
    case 18: return hone_lbfgs(owner, .learning_rate = 0.1, .max_iterations = 2, .no_line_search = true, .tolerance_grad = HONE_ZERO);
    default: return NULL;
    }
}

static hone_model *classifier(hone_ctx *owner, hone_optimizer *optimizer)
{
    hone_model *model = hone_model_of(hone_sequential(owner, hone_dense(owner, 8, .activation = HONE_TANH), hone_dropout_layer(owner, 0.2),
                                                      hone_dense(owner, 3)));
    bool clips = strcmp(hone_optimizer_name(optimizer), "lbfgs") != 0;
    assert_hone_ok(owner, hone_compile(model, .optimizer = optimizer, .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS,
                                       .max_grad_norm = clips ? 0.5 : 0));
    return model;
}

static void check(hone_optimizer *(*make)(hone_ctx *owner, int i), int i)
{
    float want[64], got[64];
    hone_tensor *x, *y;
    char name[32];
    make_points(ctx, &x, &y);
    hone_model *model = classifier(ctx, make(ctx, i));
    snprintf(name, sizeof name, "%s", hone_optimizer_name(hone_model_optimizer(model)));
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 5, .batch_size = 16));
    assert_int_equal(read_params(model, want), 51);
    hone_model_release(model);

    model = classifier(ctx, make(ctx, i));
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 2, .batch_size = 16));
    assert_hone_ok(ctx, hone_model_save(model, scratch("optimizer.safetensors")));
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);

    hone_ctx *other = hone_ctx_new(.threads = 2);
    make_points(other, &x, &y);
    model = hone_model_load(other, scratch("optimizer.safetensors"));
    if (!model) fail_msg("%s: %s", name, hone_error(other));
    hone_optimizer *loaded = hone_model_optimizer(model), *like = make(ctx, i);
    assert_string_equal(hone_optimizer_name(loaded), name);
    assert_true(loaded->rule == like->rule && loaded->n_groups == like->n_groups && hone_optimizer_steps(loaded) == 12);
    hone_optimizer_free(like);
    assert_hone_ok(other, hone_fit(model, x, y, NULL, .epochs = 3, .batch_size = 16));
    assert_int_equal(read_params(model, got), 51);
    if (memcmp(want, got, 51 * sizeof *want) != 0) fail_msg("%s (%d) went on otherwise", name, i);
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
    hone_ctx_release(other);
}

static void test_training_goes_on_with_each_rule(void **state)
{
    (void)state;
    hone_optimizer *(*const makers[])(hone_ctx *, int) = {by_name, with_options};
    int checked = 0;
    for (size_t m = 0; m < HONE_ARRAY_LEN(makers); m++)
        for (int i = 0;; i++, checked++) {
            hone_optimizer *o = makers[m](ctx, i);
            if (!o) break;
            hone_optimizer_free(o);
            check(makers[m], i);
        }
    assert_true(checked >= 16 + 19);
}

/* ---- files that are wrong ---- */

static hone_model *load_json(const char *optimizer, double *numbers, int64_t n)
{
    char text[1024];
    snprintf(text, sizeof text, "{\"version\":1,\"architecture\":{\"type\":\"dense\",\"options\":{\"units\":1,\"no_bias\":true}},"
             "\"input\":{\"dtype\":\"f32\",\"shape\":[1,2]},\"compile\":{\"loss\":\"mse\",\"compute\":\"f32\"},\"optimizer\":%s}", optimizer);
    float weight[2] = {1, 2};
    hone_safetensors_writer *w = hone_safetensors_writer_new(ctx, scratch("wrong.safetensors"));
    assert_hone_ok(ctx, hone_safetensors_set_metadata(w, "hone_model", text));
    assert_hone_ok(ctx, hone_safetensors_add_tensor(w, "weight", HONE_F32, HONE_SHAPE(1, 2)));
    if (numbers) assert_hone_ok(ctx, hone_safetensors_add_tensor(w, "optimizer/lbfgs/numbers", HONE_F64, HONE_SHAPE(n)));
    assert_hone_ok(ctx, hone_safetensors_write(w, "weight", weight, sizeof weight));
    if (numbers) assert_hone_ok(ctx, hone_safetensors_write(w, "optimizer/lbfgs/numbers", numbers, (size_t)n * sizeof *numbers));
    assert_hone_ok(ctx, hone_safetensors_writer_commit(w));
    return hone_model_load(ctx, scratch("wrong.safetensors"));
}

static void test_damaged_optimizers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        hone_status status;
        const char *part;
        int n; /* numbers of L-BFGS; 0: none */
        double numbers[6];
    } wrong[] = {
        {"{\"name\":\"magic\"}", HONE_UNSUPPORTED, "no optimizer 'magic'", 0, {0}},
        {"{}", HONE_UNSUPPORTED, "no optimizer ''", 0, {0}},
        {"{\"name\":\"adam\",\"learning_rate\":-1}", HONE_INVALID, "must not be negative", 0, {0}},
        {"{\"name\":\"muon\",\"momentum\":2}", HONE_INVALID, "momentum in [0, 1)", 0, {0}},
        {"{\"name\":\"muon\",\"ns_steps\":99999999999}", HONE_INVALID, "ns_steps must be", 0, {0}},
        {"{\"name\":\"adam\",\"groups\":[{\"l1\":1}]}", HONE_INVALID, "needs a pattern", 0, {0}},
        {"{\"name\":\"adam\",\"groups\":[{\"pattern\":\"x\",\"l2\":-1}]}", HONE_INVALID, "must not be negative", 0, {0}},
        {"{\"name\":\"adam\",\"steps\":1,\"groups\":[{\"pattern\":\"x\"}]}", HONE_NOT_FOUND, "matches 'x'", 0, {0}},
        {"{\"name\":\"adam\",\"steps\":1}", HONE_FORMAT, "no tensor 'optimizer/weight.exp_avg'", 0, {0}},
        {"{\"name\":\"adam\",\"steps\":-1}", HONE_FORMAT, "negative", 0, {0}},
        {"{\"name\":\"lbfgs\",\"steps\":1,\"history\":2}", HONE_FORMAT, "f64 tensor 'optimizer/lbfgs/numbers'", 0, {0}},
        {"{\"name\":\"lbfgs\",\"steps\":1,\"history\":2}", HONE_FORMAT, "damaged", 2, {1, 1}},
        {"{\"name\":\"lbfgs\",\"steps\":1,\"history\":2}", HONE_FORMAT, "asks for more", 6, {1, 1, 1, 1, 1, 1}},
        {"{\"name\":\"lbfgs\",\"steps\":1,\"history\":2}", HONE_FORMAT, "damaged", 3, {-1, 1, 1}},
        {"{\"name\":\"lbfgs\",\"steps\":1,\"history\":2}", HONE_FORMAT, "damaged", 4, {1, 1, 1, INFINITY}},
        {"{\"name\":\"lbfgs\",\"steps\":1,\"history\":1}", HONE_FORMAT, "damaged", 5, {1, 1, 1, 1, 1}},
        {"{\"name\":\"lbfgs\",\"steps\":1,\"history\":2}", HONE_FORMAT, "no tensor 'optimizer/lbfgs/gradient'", 4, {1, 1, 1, 1}},
        {"{\"name\":\"lbfgs\",\"history\":-2}", HONE_INVALID, "history must be at least 1", 0, {0}},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(wrong); i++) {
        double numbers[6];
        memcpy(numbers, wrong[i].numbers, sizeof numbers);
        if (load_json(wrong[i].json, wrong[i].n ? numbers : NULL, wrong[i].n)) fail_msg("case %zu was loaded", i);
        if (hone_ctx_status(ctx) != wrong[i].status || !strstr(hone_error(ctx), wrong[i].part)) fail_msg("case %zu: %s", i, hone_error(ctx));
        hone_clear_error(ctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_training_goes_on_with_each_rule), TEST(test_damaged_optimizers_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
