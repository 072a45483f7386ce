/* Files of language models: what does not fit or is damaged, adapters against peft, exports opened again. */
#include "llm_tools.h"

#include "llm/tokenizer.h"

/* ---- opening ---------------------------------------------------------------------------------------------- */

static void test_misfits_are_named_on_opening(void **state)
{
    (void)state;
    const struct {
        change change;
        hone_status status;
        const char *part;
    } cases[] = {
        {{.tensor = "model.norm.weight", .drop = true}, HONE_NOT_FOUND, "'model.norm.weight'"},
        {{.tensor = "model.layers.1.mlp.up_proj.weight", .rows = 127}, HONE_SHAPE,
         "'model.layers.1.mlp.up_proj.weight': the model needs [128, 64], the file has [127, 64]"},
        {{.key = "num_hidden_layers", .value = json_integer(3)}, HONE_NOT_FOUND, "model.layers.2."},
        {{.key = "hidden_size", .value = json_integer(32)}, HONE_SHAPE, "model.embed_tokens.weight"},
        {{.key = "vocab_size", .value = json_integer(0)}, HONE_FORMAT, "vocab_size is 0"},
        {{.key = "hidden_size", .value = json_integer(INT64_MAX)}, HONE_FORMAT, "hidden_size is 9223372036854775807"},
        {{.key = "head_dim", .value = json_integer(15)}, HONE_FORMAT, "size 15"},
        {{.key = "num_key_value_heads", .value = json_integer(3)}, HONE_FORMAT, "4 heads with 3 key/value heads"},
        {{.key = "model_type", .value = json_string("bert")}, HONE_UNSUPPORTED, "'bert'"},
        {{.key = "model_type"}, HONE_UNSUPPORTED, "(none)"},
        {{.key = "hidden_act", .value = json_string("gelu")}, HONE_UNSUPPORTED, "'gelu'"},
        {{.key = "rms_norm_eps", .value = json_integer(-1)}, HONE_FORMAT, "rms_norm_eps -1"},
        {{.key = "rope_parameters", .value = json_pack("{s:s}", "rope_type", "yarn")}, HONE_UNSUPPORTED, "'yarn'"},
        {{.key = "rope_parameters", .value = json_pack("{s:s, s:f}", "rope_type", "llama3", "factor", 8.0)}, HONE_FORMAT,
         "rope_scaling lacks"},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        hone_llm *llm = hone_llm_open(ctx, changed_llama("misfit", cases[i].change));
        if (llm) fail_msg("case %zu was opened", i);
        assert_error(cases[i].status, cases[i].part);
        hone_clear_error(ctx);
    }
    assert_null(hone_llm_open(ctx, scratch("nowhere")));
    assert_error(HONE_IO, "nowhere");
    hone_clear_error(ctx);
    char path[600];
    const char *folder = changed_llama("misfit", (change){0});
    snprintf(path, sizeof path, "%s/config.json", folder);
    assert_hone_ok(ctx, hone_write_file(ctx, path, "{\"a\":\n 1,}", 10));
    assert_null(hone_llm_open(ctx, folder));
    assert_error(HONE_FORMAT, "config.json: line 2");
    hone_clear_error(ctx);
}

/* Without waiting for the disk. */
static void write_quickly(const char *path, const char *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Opens what must not bring the program down, and uses it when it opens. */
static void try_file(const char *path)
{
    hone_llm *llm = hone_llm_open(ctx, path);
    if (!llm && hone_ctx_status(ctx) == HONE_OK) fail_msg("refused without a reason");
    if (llm && hone_llm_context_length(llm) > 1) {
        hone_tensor *logits = hone_llm_logits(llm, (int32_t[]){1, 2}, 2);
        if (!logits) assert_true(hone_error(ctx)[0]);
        hone_tensor_free(logits);
    }
    hone_llm_free(llm);
    hone_clear_error(ctx);
}

static void test_damaged_files_are_survived(void **state)
{
    (void)state;
    size_t size, metadata = 24000;
    char *data = hone__read_file(ctx, LLAMA_GGUF, 1 << 24, &size);
    const char *path = scratch("damaged.gguf");
    for (size_t cut = 0; cut < size; cut += cut < metadata ? 1999 : 29989) { /* truncated: always an error */
        write_quickly(path, data, cut);
        assert_null(hone_llm_open(ctx, path));
        assert_true(hone_error(ctx)[0]);
        hone_clear_error(ctx);
    }
    for (uint64_t i = 0; i < 160; i++) { /* one byte is another */
        size_t where = hone__random_below(11, i, i < 120 ? 400 : size);
        char old = data[where];
        data[where] = (char)(old ^ (char)(1u << hone__random_below(12, i, 8)));
        write_quickly(path, data, size);
        data[where] = old;
        try_file(path);
    }
    hone__free(ctx, data);

    const char *folder = changed_llama("damaged", (change){0});
    char weights[600];
    snprintf(weights, sizeof weights, "%s/model.safetensors", folder);
    data = hone__read_file(ctx, weights, 1 << 24, &size);
    for (size_t cut = 0; cut < size; cut += cut < 2000 ? 499 : 99991) {
        write_quickly(weights, data, cut);
        assert_null(hone_llm_open(ctx, folder));
        assert_true(hone_error(ctx)[0]);
        hone_clear_error(ctx);
    }
    for (uint64_t i = 0; i < 60; i++) {
        size_t where = hone__random_below(13, i, 2000);
        char old = data[where];
        data[where] = (char)(old ^ (char)(1u << hone__random_below(14, i, 7)));
        write_quickly(weights, data, size);
        data[where] = old;
        try_file(folder);
    }
    hone__free(ctx, data);
}

/* ---- adapters ----------------------------------------------------------------------------------------------- */

static void test_adapters_are_those_of_peft(void **state)
{
    (void)state;
    int32_t ids[64];
    int64_t n = sequence("short", ids, 64);
    hone_llm *llm = open_llm(LLAMA_GGUF);
    assert_int_equal(hone_llm_save_adapter(llm, scratch("none")), HONE_STATE);
    assert_hone_ok(ctx, hone_llm_load_adapter(llm, ADAPTER));
    assert_logits(llm, ids, n, "logits.adapter", 1e-4);
    assert_hone_ok(ctx, hone_llm_save_adapter(llm, scratch("adapter")));
    hone_safetensors *before = hone_safetensors_open(ctx, ADAPTER "/adapter_model.safetensors");
    char path[600];
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", scratch("adapter"));
    hone_safetensors *after = hone_safetensors_open(ctx, path);
    assert_int_equal(hone_safetensors_count(before), 28);
    assert_int_equal(hone_safetensors_count(after), 28);
    for (int64_t i = 0; i < 28; i++) {
        const hone_tensor_info *a = hone_safetensors_at(before, i), *b = hone_safetensors_find(after, a->name);
        if (!b) fail_msg("'%s' was not saved", a->name);
        assert_true(hone_shape_equal(a->shape, b->shape));
        assert_int_equal(a->dtype, b->dtype);
        assert_memory_equal(a->data, b->data, a->bytes);
    }
    hone_safetensors_close(before);
    hone_safetensors_close(after);
    assert_int_equal(hone_llm_load_adapter(llm, ADAPTER), HONE_STATE);
    hone_clear_error(ctx);
    hone_llm_free(llm);
    llm = open_llm(LLAMA);
    assert_hone_ok(ctx, hone_llm_load_adapter(llm, scratch("adapter")));
    assert_logits(llm, ids, n, "logits.adapter", 1e-4);
    hone_llm_free(llm);
}

static void test_adapters_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    const struct {
        const char *key;
        json_t *value;
        hone_status status;
        const char *part;
    } cases[] = {
        {"peft_type", json_string("IA3"), HONE_UNSUPPORTED, "'IA3'"},
        {"use_dora", json_true(), HONE_UNSUPPORTED, "DoRA"},
        {"r", json_integer(0), HONE_FORMAT, "r and lora_alpha"},
        {"r", json_integer(8), HONE_SHAPE, "the model needs [8, 64], the file has [4, 64]"},
        {"lora_alpha", json_null(), HONE_FORMAT, "lora_alpha"},
        {"target_modules", json_array(), HONE_FORMAT, "target_modules"},
        {"target_modules", json_pack("[s]", "q_prj"), HONE_NOT_FOUND, "'q_prj'"},
        {"target_modules", json_pack("[s]", "q_proj"), HONE_UNSUPPORTED, "fits nothing"},
        {"alpha_pattern", json_pack("{s:i}", "q_proj", 3), HONE_UNSUPPORTED, "alpha_pattern"},
        {"rank_pattern", json_pack("{s:i}", "q_proj", 3), HONE_UNSUPPORTED, "rank_pattern"},
        {"lora_dropout", json_integer(2), HONE_INVALID, "dropout in [0, 1)"},
    };
    char path[600];
    const char *folder = scratch("misfit-adapter");
    assert_hone_ok(ctx, hone__make_folder(ctx, folder));
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
    copy_file(ADAPTER "/adapter_model.safetensors", path);
    snprintf(path, sizeof path, "%s/adapter_config.json", folder);
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        json_t *config = json_load_file(ADAPTER "/adapter_config.json", 0, NULL);
        json_object_set_new(config, cases[i].key, cases[i].value);
        json_dump_file(config, path, 0);
        json_decref(config);
        hone_llm *llm = open_llm(LLAMA);
        if (hone_llm_load_adapter(llm, folder) == HONE_OK) fail_msg("'%s' was let through", cases[i].key);
        assert_error(cases[i].status, cases[i].part);
        hone_clear_error(ctx);
        hone_llm_free(llm);
    }
    hone_llm *llm = open_llm(LLAMA);
    assert_int_equal(hone_llm_load_adapter(llm, scratch("nowhere")), HONE_IO);
    hone_clear_error(ctx);
    hone_llm_free(llm);
}

/* ---- export --------------------------------------------------------------------------------------------------- */

static void test_exports_are_the_same_model(void **state)
{
    (void)state;
    const struct {
        const char *from, *name;
        hone_export_format format;
        hone_dtype dtype;
        double tolerance; /* of logits up to 8 */
    } cases[] = {
        {LLAMA, "f32", HONE_EXPORT_SAFETENSORS, HONE_F32, 0},
        {LLAMA_GGUF, "f32-again", HONE_EXPORT_SAFETENSORS, HONE_F32, 0},
        {LLAMA, "f16", HONE_EXPORT_SAFETENSORS, HONE_F16, 0.02},
        {LLAMA_GGUF, "bf16", HONE_EXPORT_SAFETENSORS, HONE_BF16, 0.15},
        {LLAMA, "f32.gguf", HONE_EXPORT_GGUF, HONE_F32, 0},
        {LLAMA_GGUF, "f32-again.gguf", HONE_EXPORT_GGUF, HONE_F32, 0},
        {LLAMA, "f16.gguf", HONE_EXPORT_GGUF, HONE_F16, 0.02},
        {LLAMA, "bf16.gguf", HONE_EXPORT_GGUF, HONE_BF16, 0.15},
        {LLAMA, "q8_0.gguf", HONE_EXPORT_GGUF, HONE_Q8_0, 0.3},
        {LLAMA_GGUF, "q8_0-again.gguf", HONE_EXPORT_GGUF, HONE_Q8_0, 0.3},
        {LLAMA, "q4_1.gguf", HONE_EXPORT_GGUF, HONE_Q4_1, 4},
    };
    int32_t ids[64];
    int64_t n = sequence("long", ids, 64);
    hone_llm *plain = open_llm(LLAMA);
    hone_tensor *want = hone_llm_logits(plain, ids, n);
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        const char *path = scratch(cases[i].name);
        hone_llm *llm = open_llm(cases[i].from);
        assert_hone_ok(ctx, hone_llm_export(llm, path, .format = cases[i].format, .dtype = cases[i].dtype));
        /* over what stands there */
        assert_hone_ok(ctx, hone_llm_export(llm, path, .format = cases[i].format, .dtype = cases[i].dtype));
        hone_llm_free(llm);
        llm = open_llm(path);
        hone_tensor *have = hone_llm_logits(llm, ids, n);
        if (!have) fail_msg("%s: %s", path, hone_error(ctx));
        double d = distance(hone_tensor_data(have), hone_tensor_data(want), n * VOCABULARY);
        if (!(d <= cases[i].tolerance + 1e-5)) fail_msg("%s: %g away", path, d);
        hone_tensor_free(have);
        assert_int_equal(hone_llm_describe(llm).main_dtype, cases[i].dtype);
        const hone_tokenizer *a = hone_llm_tokenizer(plain), *b = hone_llm_tokenizer(llm);
        assert_string_equal(hone_tokenizer_chat_template(a), hone_tokenizer_chat_template(b));
        hone_tokens x = {0}, y = {0};
        const char *text = "<|im_start|>1995 was <tool_call> it's\n\n  <|im_end|>";
        assert_hone_ok(ctx, hone_tokenizer_encode(ctx, a, text, strlen(text), HONE_ENCODE_SPECIAL, &x));
        assert_hone_ok(ctx, hone_tokenizer_encode(ctx, b, text, strlen(text), HONE_ENCODE_SPECIAL, &y));
        assert_int_equal(x.count, y.count);
        assert_memory_equal(x.ids, y.ids, x.count * sizeof *x.ids);
        for (int s = 0; s < HONE_SPECIAL_COUNT; s++)
            assert_int_equal(hone_tokenizer_special(a, (hone_special)s), hone_tokenizer_special(b, (hone_special)s));
        hone_tokens_free(ctx, &x);
        hone_tokens_free(ctx, &y);
        hone_llm_free(llm);
    }
    hone_tensor_free(want);
    hone_llm_free(plain);
}

static void test_exports_merge_the_adapter(void **state)
{
    (void)state;
    int32_t ids[64];
    int64_t n = sequence("short", ids, 64);
    const char *const from[] = {LLAMA, LLAMA_GGUF};
    for (int i = 0; i < 2; i++) {
        hone_llm *llm = open_llm(from[i]);
        assert_hone_ok(ctx, hone_llm_load_adapter(llm, ADAPTER));
        assert_hone_ok(ctx, hone_llm_export(llm, scratch("merged"), .format = HONE_EXPORT_SAFETENSORS));
        assert_hone_ok(ctx, hone_llm_export(llm, scratch("merged.gguf"), .format = HONE_EXPORT_GGUF));
        assert_hone_ok(ctx, hone_llm_export(llm, scratch("peft"), .format = HONE_EXPORT_PEFT));
        hone_llm_free(llm);
        const char *const to[] = {"merged", "merged.gguf", LLAMA};
        for (int k = 0; k < 3; k++) {
            llm = open_llm(k == 2 ? LLAMA : scratch(to[k]));
            if (k == 2) assert_hone_ok(ctx, hone_llm_load_adapter(llm, scratch("peft")));
            assert_logits(llm, ids, n, "logits.merged", 1e-4);
            hone_llm_free(llm);
        }
    }
}

static void test_exports_that_cannot_be_are_refused(void **state)
{
    (void)state;
    hone_llm *llm = open_llm(LLAMA);
    assert_int_equal(hone_llm_export(llm, scratch("x"), .dtype = HONE_Q8_0), HONE_UNSUPPORTED);
    assert_int_equal(hone_llm_export(llm, scratch("x"), .format = HONE_EXPORT_GGUF, .dtype = HONE_I32), HONE_UNSUPPORTED);
    assert_int_equal(hone_llm_export(llm, scratch("x"), .format = HONE_EXPORT_PEFT), HONE_STATE);
    copy_file(LLAMA "/config.json", scratch("file"));
    assert_int_equal(hone_llm_export(llm, scratch("file")), HONE_IO);
    assert_int_equal(hone_llm_export(llm, scratch("file/x")), HONE_IO);
    assert_int_equal(hone_llm_export(llm, scratch("file/x.gguf"), .format = HONE_EXPORT_GGUF), HONE_IO);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    assert_false(hone__is_folder(scratch("x")));
    assert_true(hone__is_file(scratch("file")));
    hone_llm_free(llm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_misfits_are_named_on_opening),
        TEST(test_damaged_files_are_survived),
        TEST(test_adapters_are_those_of_peft),
        TEST(test_adapters_that_do_not_fit_are_refused),
        TEST(test_exports_are_the_same_model),
        TEST(test_exports_merge_the_adapter),
        TEST(test_exports_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
