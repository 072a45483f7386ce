/* hone bench and hone finetune --profile, on tiny work: what they print, not how fast it is. */
#include "program.h"

static const char *const net_workloads[] = {"nodes", "iris", "mlp", "cnn_f32", "cnn_bf16"};
static const char *const llm_workloads[] = {"full_f32", "full_bf16_8bit", "lora_bf16", "lora_checkpointing", "prompt",
                                           "prompt_q8_0", "generate_8", "generate_bf16", "load"};

static void is_machine_or_result(const json_t *o, size_t line)
{
    if (line == 0) {
        assert_non_null(json_string_value(json_object_get(o, "hone")));
        assert_non_null(json_string_value(json_object_get(o, "hardware")));
        return;
    }
    double value = json_number_value(json_object_get(o, "value")), min = json_number_value(json_object_get(o, "min"));
    assert_non_null(json_string_value(json_object_get(o, "name")));
    assert_non_null(json_string_value(json_object_get(o, "unit")));
    assert_true(min > 0 && min <= value && value <= json_number_value(json_object_get(o, "max")));
    assert_int_equal(json_array_size(json_object_get(o, "samples")), 2);
    assert_true(json_integer_value(json_object_get(o, "peak_memory_bytes")) > 1000000);
    const json_t *limit = json_object_get(o, "limit"), *share = json_object_get(o, "share_of_limit");
    assert_true((json_is_null(limit) && json_is_null(share)) || (json_number_value(limit) > 0 && json_number_value(share) > 0));
}

static void results_are_json_and_can_be_compared_with(void **state)
{
    (void)state;
    result r = HONE_RUN(NULL, "bench", net_workloads[0], net_workloads[1], net_workloads[2], "--json", "--repeats", "2");
    check(r, 0, NULL);
    assert_int_equal(json_lines(r.out, is_machine_or_result), 1 + 3);
    write_all(place("before.jsonl"), r.out);
    release(r);
    result again = HONE_RUN(NULL, "bench", "nodes", "--compare", place("before.jsonl"), "--repeats", "2");
    check(again, 0, NULL);
    assert_non_null(strstr(again.out, "before ->"));
    assert_non_null(strstr(strstr(again.out, "nodes"), "x\n"));
    release(again);
}

static void profiles_are_printed_and_in_json(void **state)
{
    (void)state;
    result r = HONE_RUN(NULL, "bench", "mlp", "--batch", "4", "--profile", "--repeats", "1");
    check(r, 0, NULL);
    assert_non_null(strstr(r.out, "ms a step"));
    assert_non_null(strstr(r.out, "  linear 0 f32\n"));
    assert_non_null(strstr(r.out, "  optimizer states\n"));
    release(r);
    r = HONE_RUN(NULL, "bench", "generate", "--model", TINY, "--length", "3", "--profile", "--json", "--repeats", "1");
    check(r, 0, NULL);
    assert_non_null(strstr(r.out, "\"profile\":\" ms a step"));
    release(r);
}

static void workloads_of_language_models_run(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof llm_workloads / sizeof *llm_workloads; i++) {
        result r = HONE_RUN(NULL, "bench", llm_workloads[i], "--model", TINY, "--json", "--repeats", "2", "--quiet");
        check(r, 0, NULL);
        assert_int_equal(json_lines(r.out, is_machine_or_result), 1 + 1);
        assert_non_null(strstr(r.out, llm_workloads[i]));
        release(r);
    }
}

static void sizes_can_be_set(void **state)
{
    (void)state;
    static const char *const resized[][5] = {{"full_f32", "--batch", "3", "--length", "17"}, {"lora_bf16", "--length", "2"},
                                             {"prompt", "--length", "1"}, {"generate", "--length", "7", "--prompt-length", "33"},
                                             {"mlp", "--batch", "1"}, {"cnn_f32", "--batch", "2"}, {"cnn_bf16", "--batch", "3"},
                                             {"lstm_f32", "--batch", "2", "--length", "5"}, {"lstm_bf16", "--batch", "1", "--length", "3"},
                                             {"loader", "--batch", "3"}, {"loader_2", "--batch", "2"}, {"cnn_files", "--batch", "2"},
                                             {"resnet_f32", "--batch", "2"}, {"resnet_bf16", "--batch", "1"},
                                             {"bert_f32", "--batch", "1", "--length", "3"}, {"bert_bf16", "--batch", "2", "--length", "5"}};
    for (size_t i = 0; i < sizeof resized / sizeof *resized; i++) {
        const char *const *w = resized[i];
        result r = HONE_RUN(NULL, "bench", "--model", TINY, "--json", "--repeats", "2", "--quiet", w[0], w[1], w[2], w[3], w[4]);
        check(r, 0, NULL);
        assert_int_equal(json_lines(r.out, is_machine_or_result), 1 + 1);
        release(r);
    }
    REFUSES(2, "nodes has no size that --batch could set", "bench", "mlp", "nodes", "--batch", "2");
    REFUSES(2, "prompt has no size that --batch could set", "bench", "prompt", "--batch", "2", "--model", TINY);
    REFUSES(2, "full_f32 has no size that --prompt-length could set", "bench", "--prompt-length", "2", "--model", TINY);
    REFUSES(2, "--length", "bench", "prompt", "--length", "0", "--model", TINY);
    static const char *const too_long[][4] = {
        {"this model reads no more than 256 tokens, not 257", "prompt", "--length", "257"},
        {"this model reads no more than 256 tokens, not 264", "generate", "--prompt-length", "200"},
        {"this model reads no more than 256 tokens, not 300", "full_f32", "--length", "300"},
        {"GPT-2 reads no more than 1024 tokens, not 1025", "gpt2_f32", "--length", "1025"},
        {"BERT reads no more than 512 tokens, not 513", "bert_f32", "--length", "513"},
        {"max_seq_length must be 2 to 256", "lora_bf16", "--length", "1"}};
    for (size_t i = 0; i < sizeof too_long / sizeof *too_long; i++) {
        result r = HONE_RUN(NULL, "bench", too_long[i][1], too_long[i][2], too_long[i][3], "--model", TINY);
        check(r, 1, too_long[i][0]);
        release(r);
    }
}

static void what_needs_a_model_is_left_out_and_named(void **state)
{
    (void)state;
    result r = HONE_RUN(NULL, "bench", "prompt", "nodes", "--repeats", "1");
    check(r, 0, "prompt is left out: it needs --model");
    assert_non_null(strstr(r.out, "nodes"));
    release(r);
    REFUSES(2, "prompt needs --model", "bench", "prompt", "full_f32");
}

static void every_workload_is_listed(void **state)
{
    (void)state;
    result r = HONE_RUN(NULL, "bench", "--list");
    check(r, 0, NULL);
    for (size_t i = 0; i < sizeof net_workloads / sizeof *net_workloads; i++) assert_non_null(strstr(r.out, net_workloads[i]));
    for (size_t i = 0; i < sizeof llm_workloads / sizeof *llm_workloads; i++) assert_non_null(strstr(r.out, llm_workloads[i]));
    release(r);
}

static void wrong_usage_is_refused(void **state)
{
    (void)state;
    REFUSES(2, "there is no workload 'nodez'; did you mean 'nodes'?", "bench", "iris", "nodez");
    REFUSES(2, "--in-process measures one workload", "bench", "--in-process", "iris", "nodes");
    REFUSES(2, "--repeats", "bench", "nodes", "--repeats", "0");
    REFUSES(1, "No such file", "bench", "nodes", "--compare", place("nothing.jsonl"));
    write_all(place("broken.jsonl"), "{\"name\": \"nodes\", \"value\": 1}\n{\"name\"");
    REFUSES(1, "no results of", "bench", "nodes", "--compare", place("broken.jsonl"));
    write_all(place("broken.gguf"), "GGUF");
    result r = HONE_RUN(NULL, "bench", "prompt", "nodes", "--model", place("broken.gguf"), "--repeats", "1");
    check(r, 1, "hone bench: "); /* said by the workload's own process; the others are measured all the same */
    assert_null(strstr(r.out, "\nprompt"));
    assert_non_null(strstr(r.out, "\nnodes"));
    release(r);
}

/* The number at the beginning of the line that ends with `end`. */
static double line_of(const char *text, const char *end)
{
    const char *at = strstr(text, end);
    if (!at) fail_msg("no '%s' in:\n%s", end, text);
    while (at > text && at[-1] != '\n') at--;
    return strtod(at, NULL);
}

static void finetune_profiles_its_steps(void **state)
{
    (void)state;
    char data[300], folder[300];
    snprintf(data, sizeof data, "%s", place("data.txt"));
    snprintf(folder, sizeof folder, "%s", place("profiled"));
    FILE *file = fopen(data, "w");
    for (int i = 0; i < 2000; i++) fprintf(file, "%d is followed by %d. ", i, i + 1);
    fclose(file);
    result r = HONE_RUN(NULL, "finetune", "--model", TINY, "--data", data, "--output-dir", folder, "--max-seq-length", "64",
                        "--max-steps", "6", "--profile", "--quiet");
    check(r, 0, NULL);
    double all = line_of(r.out, "  a step\n"), sum = 0;
    for (const char *at = strchr(r.out, '\n') + 1, *end; (end = strchr(at, '\n')); at = end + 1) { /* behind the heading */
        if (end - at > 8 && !strncmp(end - 8, "  a step", 8)) break;
        sum += strtod(at, NULL);
    }
    /* each line is rounded to 0.01 ms */
    if (!(sum > all - 0.5 && sum < all + 0.5)) fail_msg("the lines sum up to %g ms, a step is %g ms:\n%s", sum, all, r.out);
    assert_non_null(strstr(r.out, "linear q_proj"));
    assert_true(line_of(r.out, "gradients\n") > 0 && line_of(r.out, "activations and scratch\n") > 0);
    assert_non_null(strstr(r.out, "trace.json"));
    release(r);
    json_error_t error;
    json_t *trace = json_load_file(place("profiled/trace.json"), 0, &error);
    if (!trace) fail_msg("trace.json: %s", error.text);
    assert_true(json_array_size(json_object_get(trace, "traceEvents")) > 100);
    json_decref(trace);
    /* fewer steps than are profiled: all of them are */
    result few = HONE_RUN(NULL, "finetune", "--model", TINY, "--data", data, "--output-dir", folder, "--max-seq-length", "64",
                          "--max-steps", "1", "--profile", "--json", "--quiet");
    check(few, 0, " a step\n"); /* stdout is for JSON alone */
    assert_int_equal(json_lines(few.out, NULL), 1);
    release(few);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_json_and_can_be_compared_with),
        cmocka_unit_test(profiles_are_printed_and_in_json), cmocka_unit_test(workloads_of_language_models_run),
        cmocka_unit_test(sizes_can_be_set),
        cmocka_unit_test(what_needs_a_model_is_left_out_and_named),
        cmocka_unit_test(every_workload_is_listed),
        cmocka_unit_test(wrong_usage_is_refused),
        cmocka_unit_test(finetune_profiles_its_steps),
    };
    return cmocka_run_group_tests(tests, make_folder, scratch_remove);
}
