/* Fine-tuning: the same losses as PyTorch, exact accumulation, what a run writes, and what it refuses. Stopping and resuming is
   tested by test_resume.c. */
#include "finetune_tools.h"

/* ---- parity ----------------------------------------------------------------------------------------------- */

static setup parity(hone_finetune_method method)
{
    return (setup){.adapter = method == HONE_FINETUNE_LORA ? ADAPTER : NULL,
                   .o = {.method = method, .max_steps = 20, .batch_size = 4, .no_packing = true, .no_shuffle = true,
                         .learning_rate = number("learning_rate"), .weight_decay = number("weight_decay")}};
}

static void test_gradients_are_those_of_pytorch(void **state)
{
    (void)state;
    tuning t;
    trace seen = {0};
    setup s = parity(HONE_FINETUNE_FULL);
    s.o.optimizer = "sgd", s.o.learning_rate = 1e-30, s.o.weight_decay = 0, s.o.max_steps = 1, s.o.on_step = note, s.o.user = &seen;
    assert_hone_ok(t.ctx, prepare(&t, &s));
    assert_hone_ok(t.ctx, hone_finetune_run(t.run));
    assert_true(fabs(seen.loss[0] / number("batch_loss") - 1) <= 1e-5);
    assert_int_equal(hone_model_param_count(hone_llm_model(t.llm)), 20);
    for (size_t i = 0; i < 20; i++) {
        static float have[VOCABULARY * HIDDEN];
        char name[200];
        int64_t n;
        const hone_param *p = hone_model_param(hone_llm_model(t.llm), i);
        snprintf(name, sizeof name, "gradient.%s", hone_param_name(p));
        const float *want = golden_values(name, &n);
        assert_hone_ok(t.ctx, hone_param_read_gradient(p, n, have));
        double most = 0, d = distance(have, want, n);
        for (int64_t k = 0; k < n; k++) most = HONE_MAX(most, fabs((double)want[k]));
        if (!(d <= 1e-5 * (1 + most))) fail_msg("%s: %g away, of %g", name, d, most);
    }
    finish(&t);
}

static void assert_parity(const trace *t, const char *losses, const char *norms)
{
    assert_int_equal(t->n, 20);
    for (int i = 0; i < 20; i++) {
        double want = number_at(losses, (size_t)i), norm = number_at(norms, (size_t)i);
        if (!(fabs(t->loss[i] / want - 1) <= 1e-3)) fail_msg("%s, step %d: %.7g, PyTorch %.7g", losses, i + 1, t->loss[i], want);
        if (!(fabs(t->norm[i] / norm - 1) <= 5e-3)) fail_msg("%s, step %d: %.7g, PyTorch %.7g", norms, i + 1, t->norm[i], norm);
    }
}

static void test_full_training_follows_pytorch(void **state)
{
    (void)state;
    trace t = {0};
    run_to(parity(HONE_FINETUNE_FULL), &t, HONE_OK, NULL);
    assert_parity(&t, "full_losses", "full_norms");
}

static void test_lora_follows_peft(void **state)
{
    (void)state;
    const char *const models[] = {LLAMA, LLAMA_GGUF};
    for (int i = 0; i < 2; i++) {
        trace t = {0};
        setup s = parity(HONE_FINETUNE_LORA);
        s.model = models[i];
        run_to(s, &t, HONE_OK, NULL);
        assert_parity(&t, "lora_losses", "lora_norms");
    }
}

/* The distance of bf16 from f32 is at most 1.2 times PyTorch's own (root mean square over 20 steps). */
static void test_bf16_stays_as_near_as_pytorch(void **state)
{
    (void)state;
    static const char *const names[][2] = {{"lora_losses", "lora_bf16_losses"}, {"full_losses", "full_bf16_losses"}};
    for (int m = 0; m < 2; m++) {
        trace t = {0};
        setup s = parity(m ? HONE_FINETUNE_FULL : HONE_FINETUNE_LORA);
        s.compute = HONE_BF16;
        run_to(s, &t, HONE_OK, NULL);
        double ours = 0, theirs = 0;
        for (size_t i = 0; i < 20; i++) {
            double f32 = number_at(names[m][0], i);
            ours += pow(t.loss[i] - f32, 2);
            theirs += pow(number_at(names[m][1], i) - f32, 2);
        }
        if (!(sqrt(ours) <= 1.2 * sqrt(theirs))) fail_msg("%s: %g, PyTorch %g", names[m][1], sqrt(ours / 20), sqrt(theirs / 20));
    }
}

static void test_accumulation_is_exact(void **state)
{
    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        static float values[4][VOCABULARY * HIDDEN];
        double losses[4][6];
        static const int64_t sizes[] = {8, 4, 2, 1};
        for (int i = 0; i < 4; i++) {
            tuning t;
            trace seen = {0};
            setup s = {.o = {.method = HONE_FINETUNE_FULL, .max_steps = 6, .batch_size = sizes[i], .optimizer = "sgd",
                             .gradient_accumulation_steps = 8 / sizes[i], .no_packing = !packed, .learning_rate = 0.05,
                             .on_step = note, .user = &seen}};
            assert_hone_ok(t.ctx, prepare(&t, &s));
            assert_hone_ok(t.ctx, hone_finetune_run(t.run));
            const hone_param *p = hone_model_find_param(hone_llm_model(t.llm), "model.embed_tokens.weight");
            assert_hone_ok(t.ctx, hone_param_read(p, VOCABULARY * HIDDEN, values[i]));
            memcpy(losses[i], seen.loss, sizeof losses[i]);
            finish(&t);
            double d = distance(values[i], values[0], VOCABULARY * HIDDEN);
            if (!(d <= 1e-5)) fail_msg("batches of %d: weights %g away", (int)sizes[i], d);
            for (int k = 0; k < 6; k++)
                if (!(fabs(losses[i][k] - losses[0][k]) <= 1e-5 * losses[0][k]))
                    fail_msg("batches of %d, step %d: %.9g, in one %.9g", (int)sizes[i], k + 1, losses[i][k], losses[0][k]);
        }
    }
}

/* ---- files ------------------------------------------------------------------------------------------------ */

static void test_reports_and_old_checkpoints(void **state)
{
    (void)state;
    trace t = {0};
    setup s = {.validate = true, .o = {.output_dir = scratch("reports"), .max_steps = 7, .eval_steps = 3, .save_steps = 2,
                                       .save_total_limit = 2, .batch_size = 8, .learning_rate = 1e-3}};
    run_to(s, &t, HONE_OK, NULL);
    assert_int_equal(t.n, 7);
    assert_int_equal(t.evaluations, 3); /* after 3, 6 and the last */
    char **names;
    size_t n, checkpoints = 0;
    assert_hone_ok(ctx, hone__list_folder(ctx, scratch("reports"), &names, &n));
    for (size_t i = 0; i < n; i++) {
        checkpoints += !strncmp(names[i], "checkpoint-", 11);
        assert_true(names[i][0] != '.');
    }
    hone__free(ctx, names);
    assert_int_equal(checkpoints, 2);
    assert_true(hone__is_folder(scratch("reports/checkpoint-6")));
    for (int i = 0; i < 10; i++) {
        json_t *j = json_of(scratch("reports"), "metrics.jsonl", i);
        bool eval = i == 3 || i == 7 || i == 9;
        assert_true(json_is_integer(json_object_get(j, "step")));
        assert_true(json_is_real(json_object_get(j, eval ? "eval_loss" : "loss")));
        json_decref(j);
    }
    assert_null(json_of(scratch("reports"), "metrics.jsonl", 10));
    /* what was written is an adapter that loads */
    hone_llm *llm = open_llm(LLAMA);
    assert_hone_ok(ctx, hone_llm_load_adapter(llm, scratch("reports")));
    hone_llm_free(llm);
}

static void test_full_training_writes_a_model(void **state)
{
    (void)state;
    tuning t;
    trace seen = {0};
    setup s = parity(HONE_FINETUNE_FULL);
    s.o.output_dir = scratch("trained"), s.o.max_steps = 40, s.o.on_step = note, s.o.user = &seen;
    assert_hone_ok(t.ctx, prepare(&t, &s));
    assert_int_equal(hone_finetune_planned(t.run).trained_parameters, hone_finetune_planned(t.run).parameters);
    assert_int_equal(hone_finetune_planned(t.run).rows, 24);
    assert_true(hone_finetune_planned(t.run).memory_bytes > 0);
    assert_hone_ok(t.ctx, hone_finetune_run(t.run));
    hone_llm_result before, after;
    assert_hone_ok(t.ctx, hone_llm_evaluate(t.llm, t.data, &before));
    finish(&t);
    hone_llm *llm = open_llm(scratch("trained"));
    hone_records *records = hone_records_load(ctx, GOLDEN "/train.jsonl", NULL);
    hone_llm_data *data = hone_llm_data_new(llm, records, .max_seq_length = 256);
    assert_hone_ok(ctx, hone_llm_evaluate(llm, data, &after));
    assert_true(after.loss < 0.8); /* it was 8.1 */
    assert_true(fabs(after.loss - before.loss) <= 1e-6);
    hone_llm_data_free(data);
    hone_records_free(records);
    hone_llm_free(llm);
}

/* ---- what goes wrong ---------------------------------------------------------------------------------------- */

static void test_wrong_options_are_refused(void **state)
{
    (void)state;
    const struct {
        hone_finetune_opts o;
        const char *part;
    } cases[] = {
        {{.epochs = -1}, "epochs"},
        {{.epochs = NAN}, "epochs"},
        {{.epochs = 1e300}, "epochs"},
        {{.batch_size = 5000}, "batch_size"},
        {{.learning_rate = NAN}, "learning_rate"},
        {{.warmup_ratio = 1.5}, "warmup_ratio"},
        {{.save_steps = -1}, "save_steps"},
        {{.optimizer = "lino"}, "no optimizer 'lino'; there are adamw, adamw8bit"},
        {{.max_seq_length = 16}, "max_seq_length is smaller"},
        {{.lora = {.targets = "q_proj,nothing"}}, "'nothing'"},
        {{.lora = {.rank = -1}}, "rank must be 1 to 65536"},
        {{.resume_from = "latest"}, "no checkpoint to resume from"},
        {{.method = HONE_FINETUNE_LORA + 7}, "method"},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        tuning t;
        setup s = {.o = cases[i].o};
        if (prepare(&t, &s) == HONE_OK) fail_msg("case %zu was let through", i);
        if (!strstr(hone_error(t.ctx), cases[i].part)) fail_msg("'%s' does not contain '%s'", hone_error(t.ctx), cases[i].part);
        finish(&t);
    }
    run_to((setup){.adapter = ADAPTER, .o = {.method = HONE_FINETUNE_FULL}}, NULL, HONE_INVALID, "merged first");
    copy_file(LLAMA "/config.json", scratch("a-file"));
    run_to((setup){.o = {.output_dir = scratch("a-file/x")}}, NULL, HONE_IO, "a-file");
    const char *text = "{\"prompt\": \"a\", \"completion\": \"b\"}\n";
    assert_hone_ok(ctx, hone_write_file(ctx, scratch("one.jsonl"), text, strlen(text)));
    run_to((setup){.data = scratch("one.jsonl"), .o = {.max_steps = 2}}, NULL, HONE_OK, NULL);
}

static void test_losses_that_are_not_finite_name_the_layer(void **state)
{
    (void)state;
    /* a poisoned weight */
    setup s = {.model = changed_llama("poisoned", (change){.tensor = "model.layers.1.mlp.up_proj.weight", .poison = true}),
               .o = {.output_dir = scratch("poisoned-run"), .max_steps = 5}};
    run_to(s, NULL, HONE_NUMERIC, "model.layers.1.mlp");
    s.o.method = HONE_FINETUNE_FULL;
    run_to(s, NULL, HONE_NUMERIC, "model.layers.1.mlp");
    /* a step that is far too large: the last good parameters are kept */
    tuning t;
    trace seen = {0};
    s = (setup){.o = {.method = HONE_FINETUNE_FULL, .output_dir = scratch("far"), .max_steps = 5, .learning_rate = 1e30, .on_step = note,
                      .user = &seen}};
    assert_hone_ok(t.ctx, prepare(&t, &s));
    assert_int_equal(hone_finetune_run(t.run), HONE_NUMERIC);
    if (!strstr(hone_error(t.ctx), "model.")) fail_msg("%s", hone_error(t.ctx));
    assert_non_null(strstr(hone_error(t.ctx), "far/checkpoint-1"));
    assert_int_equal(seen.n, 1);
    assert_int_equal(hone_ctx_status(t.ctx), HONE_OK);
    finish(&t);
    hone_safetensors *saved = hone_safetensors_open(ctx, scratch("far/checkpoint-1/model.safetensors"));
    assert_non_null(saved);
    for (int64_t i = 0; i < hone_safetensors_count(saved); i++) {
        const hone_tensor_info *info = hone_safetensors_at(saved, i);
        assert_true(distance(info->data, info->data, hone_shape_count(info->shape)) == 0); /* finite */
    }
    hone_safetensors_close(saved);
}

/* ---- memory ------------------------------------------------------------------------------------------------- */

/* Opens, prepares, makes one step and saves, with allocation number fail_at failing. */
static hone_status try_step(counting *c, hone_finetune_method method, const char *folder)
{
    tuning t;
    hone_allocator allocator = {counting_alloc, counting_free, c};
    setup s = {.model = LLAMA_GGUF, .adapter = method == HONE_FINETUNE_LORA ? ADAPTER : NULL, .allocator = &allocator,
               .o = {.method = method, .output_dir = folder, .max_steps = 1, .save_steps = 1, .batch_size = 1}};
    hone_status status = prepare(&t, &s);
    if (status == HONE_OK) status = hone_finetune_run(t.run);
    if (t.ctx && status != HONE_OK) assert_true(hone_error(t.ctx)[0]);
    finish(&t);
    return status;
}

static void test_failing_allocations_end_in_an_error(void **state)
{
    (void)state;
    char folder[300];
    snprintf(folder, sizeof folder, "%s/memory", scratch_folder);
    for (int method = 0; method < 2; method++) {
        counting all = {0};
        assert_int_equal(try_step(&all, (hone_finetune_method)method, folder), HONE_OK);
        assert_int_equal(all.live, 0);
        int64_t step = HONE_MAX(all.calls / 120, (int64_t)1);
        for (int64_t at = 1; at <= all.calls; at += at < 40 ? 1 : step + at % 3) {
            counting c = {.fail_at = at};
            hone_status status = try_step(&c, (hone_finetune_method)method, folder);
            if (c.live) fail_msg("allocation %d failed: %d others leaked", (int)at, (int)c.live);
            /* a picture that cannot be drawn and the like are no reason to lose a run */
            if (status == HONE_OK && at < all.calls * 8 / 10) fail_msg("allocation %d failed unseen", (int)at);
            if (status != HONE_OK && status != HONE_MEMORY) fail_msg("allocation %d: %s", (int)at, hone_status_name(status));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_gradients_are_those_of_pytorch),
        TEST(test_full_training_follows_pytorch),
        TEST(test_lora_follows_peft),
        TEST(test_bf16_stays_as_near_as_pytorch),
        TEST(test_accumulation_is_exact),
        TEST(test_reports_and_old_checkpoints),
        TEST(test_full_training_writes_a_model),
        TEST(test_wrong_options_are_refused),
        TEST(test_losses_that_are_not_finite_name_the_layer),
        TEST(test_failing_allocations_end_in_an_error),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
