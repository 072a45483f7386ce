/* Fine-tuning: the same losses as PyTorch, exact accumulation, runs that are stopped, killed, out of disk or memory and
   then resumed. Some tests run this program again as a child: see main. */
#include "llm_tools.h"

#include "llm/finetune.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Drawing the loss leaves fontconfig's caches behind, which no program frees. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfontconfig\nleak:libpango\nleak:libcairo\nleak:libglib\nleak:libplplot\n";
}

/* ---- a run in a context of its own ------------------------------------------------------------------------ */

typedef struct tuning {
    hone_ctx *ctx;
    hone_llm *llm;
    hone_records *records;
    hone_llm_data *data;
    hone_finetune *run;
} tuning;

typedef struct setup {
    const char *model, *adapter, *data; /* NULL: the tiny Llama, none, the golden chats */
    hone_dtype compute;
    uint64_t seed;
    bool validate;
    const hone_allocator *allocator;
    hone_finetune_opts o;
} setup;

static hone_status prepare(tuning *t, const setup *s)
{
    *t = (tuning){.ctx = s->allocator ? hone_ctx_new(.threads = 1, .seed = s->seed, .allocator = *s->allocator)
                                      : hone_ctx_new(.threads = 2, .seed = s->seed)};
    if (!t->ctx) return HONE_MEMORY;
    t->llm = hone_llm_open(t->ctx, s->model ? s->model : LLAMA, .compute = s->compute);
    if (t->llm && s->adapter) hone_llm_load_adapter(t->llm, s->adapter);
    t->records = hone_records_load(t->ctx, s->data ? s->data : GOLDEN "/train.jsonl", NULL);
    if (t->llm && t->records) t->data = hone_llm_data_new(t->llm, t->records, .max_seq_length = 256);
    if (t->data) t->run = hone_finetune_new(t->llm, t->data, s->validate ? t->data : NULL, &s->o);
    return t->run ? HONE_OK : hone_ctx_status(t->ctx);
}

static void finish(tuning *t)
{
    hone_finetune_free(t->run);
    hone_llm_data_free(t->data);
    hone_records_free(t->records);
    hone_llm_free(t->llm);
    hone_ctx_release(t->ctx);
}

/* What a run told, step by step. */
typedef struct trace {
    double loss[128], norm[128], rate[128];
    int n, evaluations;
    int stop_at, cancel_at; /* 0: never */
    hone_ctx *ctx;
} trace;
static bool note(void *user, const hone_finetune_step *s)
{
    trace *t = user;
    if (s->is_evaluation) return t->evaluations++, true;
    assert_true(t->n < 128);
    t->loss[t->n] = s->loss, t->norm[t->n] = s->grad_norm, t->rate[t->n++] = s->learning_rate;
    if (t->n == t->cancel_at) hone_cancel(t->ctx);
    return t->n != t->stop_at;
}

/* Prepares and runs; must come to `want`, with `part` in the error's text (NULL: any). */
static void run_to(setup s, trace *t, hone_status want, const char *part)
{
    tuning one;
    static trace unused;
    if (!t) unused = (trace){0}, t = &unused;
    s.o.struct_size = sizeof s.o;
    s.o.on_step = note;
    s.o.user = t;
    hone_status status = prepare(&one, &s);
    t->ctx = one.ctx;
    if (status == HONE_OK) status = hone_finetune_run(one.run);
    if (status != want) fail_msg("%s: %s", hone_status_name(status), hone_error(one.ctx));
    if (part && !strstr(hone_error(one.ctx), part)) fail_msg("'%s' does not contain '%s'", hone_error(one.ctx), part);
    finish(&one);
}

static setup parity(hone_finetune_method method)
{
    return (setup){.adapter = method == HONE_FINETUNE_LORA ? ADAPTER : NULL,
                   .o = {.method = method, .max_steps = 20, .batch_size = 4, .no_packing = true, .no_shuffle = true,
                         .learning_rate = number("learning_rate"), .weight_decay = number("weight_decay")}};
}

/* ---- parity ----------------------------------------------------------------------------------------------- */

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

static void assert_same_file(const char *a, const char *b, const char *name)
{
    char path[2][800];
    size_t size[2];
    snprintf(path[0], sizeof path[0], "%s/%s", a, name);
    snprintf(path[1], sizeof path[1], "%s/%s", b, name);
    char *x = hone__read_file(ctx, path[0], 1 << 24, &size[0]), *y = hone__read_file(ctx, path[1], 1 << 24, &size[1]);
    if (!x || !y) fail_msg("%s", hone_error(ctx));
    if (size[0] != size[1] || memcmp(x, y, size[0])) fail_msg("%s differs from %s", path[0], path[1]);
    hone__free(ctx, x);
    hone__free(ctx, y);
}

/* A JSON file, or line `line` (from 0) of one that has many; without what depends on the clock. NULL: no such line. */
static json_t *json_of(const char *folder, const char *name, int line)
{
    char path[800], text[4000];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (line < 0) return json_load_file(path, 0, NULL);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    bool there = true;
    for (int i = 0; i <= line && there; i++) there = fgets(text, sizeof text, file) != NULL;
    fclose(file);
    json_t *j = there ? json_loads(text, 0, NULL) : NULL;
    if (there) assert_non_null(j);
    json_object_del(j, "tokens_per_second");
    json_object_del(j, "peak_memory_bytes");
    return j;
}

static void assert_same_run(const char *a, const char *b, bool full)
{
    const char *weights = full ? "model.safetensors" : "adapter_model.safetensors";
    char one[600], two[600];
    snprintf(one, sizeof one, "%s/checkpoint-20", a);
    snprintf(two, sizeof two, "%s/checkpoint-20", b);
    assert_same_file(a, b, weights);
    assert_same_file(one, two, weights);
    assert_same_file(one, two, "optimizer.safetensors");
    json_t *x = json_of(one, "trainer_state.json", -1), *y = json_of(two, "trainer_state.json", -1);
    json_object_del(x, "elapsed_seconds");
    json_object_del(y, "elapsed_seconds");
    assert_true(json_equal(x, y));
    json_decref(x);
    json_decref(y);
    int line = 0;
    for (;; line++) {
        x = json_of(a, "metrics.jsonl", line), y = json_of(b, "metrics.jsonl", line);
        if (!x && !y) break;
        if (!x || !y || !json_equal(x, y)) fail_msg("%s and %s: line %d of metrics.jsonl differs", a, b, line + 1);
        json_decref(x);
        json_decref(y);
    }
    assert_int_equal(line, 20);
}

static void test_resumed_runs_equal_whole_ones(void **state)
{
    (void)state;
    const struct {
        const char *name;
        setup s;
    } cases[] = {
        {"full", {.seed = 3, .o = {.method = HONE_FINETUNE_FULL, .batch_size = 2, .lr_scheduler_type = HONE_SCHEDULE_COSINE,
                                   .warmup_ratio = 0.1, .learning_rate = 1e-3, .weight_decay = 0.01}}},
        {"full-adamw8bit", {.o = {.method = HONE_FINETUNE_FULL, .optimizer = "adamw8bit", .batch_size = 2, .learning_rate = 1e-3}}},
        {"full-sgd", {.o = {.method = HONE_FINETUNE_FULL, .optimizer = "sgd", .no_packing = true, .batch_size = 5}}},
        {"full-nadam", {.o = {.method = HONE_FINETUNE_FULL, .optimizer = "nadam", .batch_size = 2, .learning_rate = 1e-3,
                              .lr_scheduler_type = HONE_SCHEDULE_ONE_CYCLE}}},
        {"full-adafactor", {.o = {.method = HONE_FINETUNE_FULL, .optimizer = "adafactor", .batch_size = 2, .learning_rate = 1e-3}}},
        {"full-muon", {.o = {.method = HONE_FINETUNE_FULL, .optimizer = "muon", .batch_size = 2, .learning_rate = 1e-3}}},
        {"lora", {.model = LLAMA_GGUF, .seed = 5, .o = {.lora = {.rank = 4, .dropout = 0.1}, .batch_size = 2,
                                                       .gradient_accumulation_steps = 2, .learning_rate = 1e-3,
                                                       .optimizer = "adamw8bit", .gradient_checkpointing = true}}},
        {"lora-bf16", {.compute = HONE_BF16, .adapter = ADAPTER, .o = {.no_packing = true, .batch_size = 3, .learning_rate = 1e-3,
                                                                      .lr_scheduler_type = HONE_SCHEDULE_LINEAR}}},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        char whole[280], parts[280];
        snprintf(whole, sizeof whole, "%s/%s-whole", scratch_folder, cases[i].name);
        snprintf(parts, sizeof parts, "%s/%s-parts", scratch_folder, cases[i].name);
        setup s = cases[i].s;
        s.o.max_steps = 20, s.o.save_steps = 10;
        s.o.output_dir = whole;
        run_to(s, NULL, HONE_OK, NULL);
        s.o.output_dir = parts;
        run_to(s, &(trace){.stop_at = 10}, HONE_CANCELLED, "stopped after step 10 of 20; saved in ");
        s.o.resume_from = "latest";
        run_to(s, &(trace){.cancel_at = 3}, HONE_CANCELLED, "checkpoint-13");
        run_to(s, NULL, HONE_OK, NULL);
        char extra[400];
        snprintf(extra, sizeof extra, "%s/checkpoint-13", parts);
        assert_true(hone__is_folder(extra));
        assert_same_run(whole, parts, s.o.method == HONE_FINETUNE_FULL);
        /* from step 10 again, by the folder's name, in another place */
        snprintf(extra, sizeof extra, "%s/checkpoint-10", whole);
        s.o.resume_from = extra;
        run_to(s, NULL, HONE_OK, NULL);
        char one[400], two[400];
        snprintf(one, sizeof one, "%s/checkpoint-20", whole);
        snprintf(two, sizeof two, "%s/checkpoint-20", parts);
        assert_same_file(one, two, "optimizer.safetensors");
        /* nothing is left to do */
        s.o.resume_from = "latest";
        run_to(s, NULL, HONE_OK, NULL);
    }
}

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
    assert_hone_ok(ctx, hone__write_file(ctx, scratch("one.jsonl"), text, strlen(text)));
    run_to((setup){.data = scratch("one.jsonl"), .o = {.max_steps = 2}}, NULL, HONE_OK, NULL);
}

static void test_other_runs_are_not_resumed(void **state)
{
    (void)state;
    setup s = {.o = {.output_dir = scratch("others"), .max_steps = 2, .save_steps = 1, .batch_size = 2, .lora = {.rank = 4}}};
    run_to(s, NULL, HONE_OK, NULL);
    s.o.resume_from = "latest";
    setup other = s;
    other.o.batch_size = 3;
    run_to(other, NULL, HONE_STATE, "batch_size was 2, now it is 3");
    other = s, other.o.no_shuffle = true;
    run_to(other, NULL, HONE_STATE, "no_shuffle");
    other = s, other.seed = 1;
    run_to(other, NULL, HONE_STATE, "seed was 0, now it is 1");
    other = s, other.o.optimizer = "sgd";
    run_to(other, NULL, HONE_STATE, "optimizer");
    other = s, other.o.method = HONE_FINETUNE_FULL;
    run_to(other, NULL, HONE_STATE, "method");
    other = s, other.o.lora.alpha = 7;
    run_to(other, NULL, HONE_STATE, "lora_alpha");
    other = s, other.o.lora.rank = 8;
    run_to(other, NULL, HONE_STATE, "lora_rank");
    other = s, other.o.lora.targets = "q_proj";
    run_to(other, NULL, HONE_STATE, "trained_parameters");
    const char *text = "{\"prompt\": \"a\", \"completion\": \"b\"}\n";
    assert_hone_ok(ctx, hone__write_file(ctx, scratch("other.jsonl"), text, strlen(text)));
    other = s, other.data = scratch("other.jsonl");
    run_to(other, NULL, HONE_STATE, "data");
    other = s, other.o.resume_from = scratch("nothing-here");
    run_to(other, NULL, HONE_IO, "nothing-here");
    s.o.max_steps = 3; /* a longer run is the same run */
    run_to(s, NULL, HONE_OK, NULL);
}

static void test_damaged_checkpoints_are_refused(void **state)
{
    (void)state;
    static const char *const files[] = {"trainer_state.json", "optimizer.safetensors", "adapter_model.safetensors"};
    setup s = {.o = {.output_dir = scratch("damaged"), .max_steps = 1, .save_steps = 1, .lora = {.rank = 4, .targets = "v_proj"}}};
    run_to(s, NULL, HONE_OK, NULL);
    s.o.resume_from = "latest";
    s.o.max_steps = 2;
    for (size_t f = 0; f < 3; f++) {
        char path[600];
        size_t size;
        snprintf(path, sizeof path, "%s/checkpoint-1/%s", scratch("damaged"), files[f]);
        char *data = hone__read_file(ctx, path, 1 << 24, &size);
        for (uint64_t i = 0; i < 24; i++) {
            size_t cut = i < 8 ? size * i / 8 : size, where = hone__random_below(f, i, HONE_MIN(size, (size_t)600));
            char old = data[where];
            if (i >= 8) data[where] = (char)(old ^ (char)(1u << hone__random_below(f + 9, i, 7)));
            assert_hone_ok(ctx, hone__write_file(ctx, path, data, cut));
            data[where] = old;
            tuning t;
            hone_status status = prepare(&t, &s);
            if (i < 8 && status == HONE_OK) fail_msg("%s: cut after %zu bytes, but resumed", files[f], cut);
            if (status != HONE_OK) assert_true(hone_error(t.ctx)[0]);
            finish(&t);
        }
        assert_hone_ok(ctx, hone__write_file(ctx, path, data, size));
        hone__free(ctx, data);
    }
    char path[600];
    static const char *const wrong[] = {"{}", "[]", "{\"run\": 5}", "{\"global_step\": 1}", "{\"run\": []}"};
    snprintf(path, sizeof path, "%s/checkpoint-1/trainer_state.json", scratch("damaged"));
    for (size_t i = 0; i < HONE_ARRAY_LEN(wrong); i++) {
        assert_hone_ok(ctx, hone__write_file(ctx, path, wrong[i], strlen(wrong[i])));
        run_to(s, NULL, HONE_STATE, "checkpoint-1/trainer_state.json");
    }
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

/* ---- children of this program --------------------------------------------------------------------------------- */

static setup child_setup(const char *folder, bool full)
{
    return (setup){.o = {.struct_size = sizeof(hone_finetune_opts), .method = full ? HONE_FINETUNE_FULL : HONE_FINETUNE_LORA,
                         .output_dir = folder, .max_steps = 100000, .save_steps = 1, .save_total_limit = 2, .batch_size = 2,
                         .lora = {.rank = 4, .dropout = 0.1}}};
}

/* child train FOLDER full|lora: goes on with a run that saves every step, until it is killed. */
static int child_train(const char *folder, bool full)
{
    tuning t;
    setup s = child_setup(folder, full);
    s.o.resume_from = "latest";
    hone_status status = prepare(&t, &s);
    if (status == HONE_NOT_FOUND) {
        finish(&t);
        s.o.resume_from = NULL;
        status = prepare(&t, &s);
    }
    if (status == HONE_OK) status = hone_finetune_run(t.run);
    fprintf(stderr, "child: %s\n", hone_error(t.ctx));
    finish(&t);
    return 1;
}

/* child full-disk FOLDER: from step 2 on no file may grow beyond 100 kB. */
static bool fill_disk(void *user, const hone_finetune_step *s)
{
    (void)user;
    struct rlimit limit = {100000, 100000};
    return s->step < 2 || setrlimit(RLIMIT_FSIZE, &limit) == 0;
}
static int child_full_disk(const char *folder)
{
    tuning t;
    setup s = child_setup(folder, true);
    s.o.on_step = fill_disk;
    signal(SIGXFSZ, SIG_IGN);
    hone_status status = prepare(&t, &s);
    if (status == HONE_OK) status = hone_finetune_run(t.run);
    bool said = strstr(hone_error(t.ctx), "model.safetensors") != NULL;
    if (status != HONE_IO || !said) fprintf(stderr, "child: %s: %s\n", hone_status_name(status), hone_error(t.ctx));
    finish(&t);
    return status == HONE_IO && said ? 0 : 1;
}

static char program[512];
static pid_t start(const char *what, const char *folder, const char *how)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child) return child;
    execl(program, program, "child", what, folder, how, (char *)NULL);
    _exit(127);
}

/* The newest checkpoint; -1: none. */
static int64_t newest(const char *folder)
{
    char **names = NULL;
    size_t n = 0;
    int64_t most = -1;
    if (!hone__is_folder(folder)) return -1;
    assert_hone_ok(ctx, hone__list_folder(ctx, folder, &names, &n));
    for (size_t i = 0; i < n; i++)
        if (!strncmp(names[i], "checkpoint-", 11)) most = HONE_MAX(most, (int64_t)atoll(names[i] + 11));
    hone__free(ctx, names);
    return most;
}

static void test_killed_runs_can_be_resumed(void **state)
{
    (void)state;
    for (int full = 0; full < 2; full++) {
        char folder[300];
        snprintf(folder, sizeof folder, "%s/killed-%d", scratch_folder, full);
        int64_t reached = -1;
        for (uint64_t i = 0; i < 10; i++) {
            pid_t child = start("train", folder, full ? "full" : "lora");
            /* all but the first live until they have saved something, and a little longer */
            for (int k = 0; i && k < 60000 && newest(folder) <= reached; k++) usleep(1000);
            usleep((useconds_t)hone__random_below((uint64_t)full, i, 60000));
            kill(child, SIGKILL);
            int how;
            assert_int_equal(waitpid(child, &how, 0), child);
            assert_true(WIFSIGNALED(how));
            int64_t now_at = newest(folder);
            assert_true(i == 0 || now_at > reached);
            if (now_at < 0) continue;
            tuning t;
            setup s = child_setup(folder, full);
            s.o.resume_from = "latest";
            hone_status status = prepare(&t, &s);
            if (status != HONE_OK) fail_msg("kill %d: %s", (int)i + 1, hone_error(t.ctx));
            reached = hone_finetune_planned(t.run).resumed_step;
            assert_int_equal(reached, now_at);
            finish(&t);
        }
        trace t = {.stop_at = 2};
        setup s = child_setup(folder, full);
        s.o.resume_from = "latest";
        run_to(s, &t, HONE_CANCELLED, NULL);
        assert_int_equal(newest(folder), reached + 2);
        char **names;
        size_t n;
        assert_hone_ok(ctx, hone__list_folder(ctx, folder, &names, &n));
        for (size_t i = 0; i < n; i++)
            if (names[i][0] == '.') fail_msg("'%s' was left behind", names[i]);
        hone__free(ctx, names);
    }
}

static void test_a_full_disk_leaves_the_old_checkpoint(void **state)
{
    (void)state;
    char folder[300];
    snprintf(folder, sizeof folder, "%s/full-disk", scratch_folder);
    int how;
    pid_t child = start("full-disk", folder, "");
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    assert_int_equal(newest(folder), 1);
    setup s = child_setup(folder, true);
    s.o.resume_from = "latest";
    run_to(s, &(trace){.stop_at = 1}, HONE_CANCELLED, NULL);
    assert_int_equal(newest(folder), 2);
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

int main(int argc, char **argv)
{
    if (argc > 4 && !strcmp(argv[1], "child"))
        return !strcmp(argv[2], "train") ? child_train(argv[3], !strcmp(argv[4], "full")) : child_full_disk(argv[3]);
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n < 0) return 1;
    program[n] = 0;
    const struct CMUnitTest tests[] = {
        TEST(test_gradients_are_those_of_pytorch),
        TEST(test_full_training_follows_pytorch),
        TEST(test_lora_follows_peft),
        TEST(test_bf16_stays_as_near_as_pytorch),
        TEST(test_accumulation_is_exact),
        TEST(test_resumed_runs_equal_whole_ones),
        TEST(test_reports_and_old_checkpoints),
        TEST(test_full_training_writes_a_model),
        TEST(test_wrong_options_are_refused),
        TEST(test_other_runs_are_not_resumed),
        TEST(test_damaged_checkpoints_are_refused),
        TEST(test_losses_that_are_not_finite_name_the_layer),
        TEST(test_killed_runs_can_be_resumed),
        TEST(test_a_full_disk_leaves_the_old_checkpoint),
        TEST(test_failing_allocations_end_in_an_error),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
