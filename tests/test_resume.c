/* Runs that are stopped, killed or out of disk, and then resumed: they equal the ones that never stopped. Some tests run this
   program again as a child: see main. */
#include "finetune_tools.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* ---- what is refused ---------------------------------------------------------------------------------------- */

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
    assert_hone_ok(ctx, hone_write_file(ctx, scratch("other.jsonl"), text, strlen(text)));
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
            assert_hone_ok(ctx, hone_write_file(ctx, path, data, cut));
            data[where] = old;
            tuning t;
            hone_status status = prepare(&t, &s);
            if (i < 8 && status == HONE_OK) fail_msg("%s: cut after %zu bytes, but resumed", files[f], cut);
            if (status != HONE_OK) assert_true(hone_error(t.ctx)[0]);
            finish(&t);
        }
        assert_hone_ok(ctx, hone_write_file(ctx, path, data, size));
        hone__free(ctx, data);
    }
    char path[600];
    static const char *const wrong[] = {"{}", "[]", "{\"run\": 5}", "{\"global_step\": 1}", "{\"run\": []}"};
    snprintf(path, sizeof path, "%s/checkpoint-1/trainer_state.json", scratch("damaged"));
    for (size_t i = 0; i < HONE_ARRAY_LEN(wrong); i++) {
        assert_hone_ok(ctx, hone_write_file(ctx, path, wrong[i], strlen(wrong[i])));
        run_to(s, NULL, HONE_STATE, "checkpoint-1/trainer_state.json");
    }
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

int main(int argc, char **argv)
{
    if (argc > 4 && !strcmp(argv[1], "child"))
        return !strcmp(argv[2], "train") ? child_train(argv[3], !strcmp(argv[4], "full")) : child_full_disk(argv[3]);
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n < 0) return 1;
    program[n] = 0;
    const struct CMUnitTest tests[] = {
        TEST(test_resumed_runs_equal_whole_ones),
        TEST(test_other_runs_are_not_resumed),
        TEST(test_damaged_checkpoints_are_refused),
        TEST(test_killed_runs_can_be_resumed),
        TEST(test_a_full_disk_leaves_the_old_checkpoint),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
