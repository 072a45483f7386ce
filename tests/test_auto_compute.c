/* bf16 or f32, as this CPU is made for: in models, in their files, in functions. */
#include "train_tools.h"

/* Does the system say that this CPU multiplies bf16, and may it be used (HONE_ISA)? */
static bool multiplies_bf16(void)
{
    const char *isa = getenv("HONE_ISA");
    if (isa && (!strcmp(isa, "ref") || !strcmp(isa, "avx2"))) return false;
    FILE *file = fopen("/proc/cpuinfo", "r");
    static char line[8192];
    bool found = false;
    while (file && !found && fgets(line, sizeof line, file)) found = !strncmp(line, "flags", 5) && strstr(line, " avx512_bf16");
    if (file) fclose(file);
    return found;
}

static void record_layer(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    (void)graph;
    out[0] = hone_apply(user, in[0]);
}

/* A function's choice is the one that it gives when it is asked for, and not the other. */
static void check_choice(hone_model *model, hone_tensor *x)
{
    float y[3]; /* the first value: chosen, asked for, not asked for */
    const hone_dtype fast = multiplies_bf16() ? HONE_BF16 : HONE_F32, slow = fast == HONE_F32 ? HONE_BF16 : HONE_F32;
    for (int i = 0; i < 3; i++) {
        hone_function *f = hone_function_new(ctx, 1, 1, record_layer, hone_model_root(model), .auto_compute = i == 0,
                                             .compute = i == 1 ? fast : slow);
        assert_hone_ok(ctx, hone_function_call(f, &x));
        y[i] = ((const float *)hone_tensor_data(hone_function_output(f, 0)))[0];
        hone_function_free(f);
    }
    assert_true(y[0] == y[1] && y[0] != y[2]);
}

/* Chosen for this CPU, and on another one again. */
static void test_a_compute_dtype_of_the_cpus_choice_is_kept(void **state)
{
    (void)state;
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    hone_model *model = hone_model_of(hone_dense(ctx, 3));
    assert_int_equal(hone_model_compute(model), HONE_F32);
    assert_hone_ok(ctx, hone_compile(model, .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS, .auto_compute = true,
                                     .loss_options = {.positive_weight = 3, .zero_infinity = true}));
    for (int i = 0; i < 2; i++) {
        const hone__compiled *c = model->train;
        assert_true(c->auto_compute && c->compute == (multiplies_bf16() ? HONE_BF16 : HONE_F32));
        assert_int_equal(hone_model_compute(model), c->compute);
        assert_true(c->outputs[0].loss_options.positive_weight == 3 && c->outputs[0].loss_options.zero_infinity);
        assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 1));
        check_choice(model, x);
        if (i) break;
        assert_hone_ok(ctx, hone_model_save(model, scratch("auto.safetensors")));
        hone_model_release(model);
        model = hone_model_load(ctx, scratch("auto.safetensors"));
        if (!model) fail_msg("%s", hone_error(ctx));
    }
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_a_compute_dtype_of_the_cpus_choice_is_kept)};
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
