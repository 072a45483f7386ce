/* Trainings of hone train that are interrupted, killed or resumed. */
#include "tables_tools.h"

#include <dirent.h>
#include <signal.h>
#include <time.h>

/* ---- Ctrl-C ---- */

static void wait_for_line(pid_t child, const char *path)
{
    for (bool there = false; !there;) {
        int status;
        if (waitpid(child, &status, WNOHANG) == child) fail_msg("it ended by itself: %s", read_all(stream("err")));
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        char *text = access(path, R_OK) ? calloc(1, 1) : read_all(path);
        there = strchr(text, '\n') != NULL;
        free(text);
    }
}

static pid_t start_endless(const char *to, const char *arch)
{
    write_rows("endless.csv", ',', fine);
    return start(NULL, (char *const *)(const char *const[]){"hone", "train", "--data", place("endless.csv"), "--target", "y", "--output-dir", place(to),
                                                            "--patience", "1000000", "--epochs", "1000000", "--arch", arch, NULL});
}

static void test_interrupted_training_saves_its_best(void **state)
{
    (void)state;
    pid_t child = start_endless("stopped", "8");
    wait_for_line(child, place("stopped/metrics.jsonl"));
    kill(child, SIGTERM);
    result r = finish(child);
    check(r, 0, "stopped in epoch ");
    assert_memory_equal(r.out, "mae ", 4);
    release(r);
    char *metrics = read_all(place("stopped/metrics.jsonl")), *report = read_all(place("stopped/report.html"));
    assert_true(json_lines(metrics, NULL) >= 1);
    assert_non_null(strstr(report, "stopped by Ctrl-C before training had ended by itself"));
    free(metrics), free(report);
    r = HONE_RUN(NULL, "predict", "--model", place("stopped"), "--data", place("endless.csv"));
    check(r, 0, NULL);
    release(r);
}

/* However far the first one got: nothing of a model, or all of it. */
static void test_a_second_interrupt_leaves_no_half_of_a_file(void **state)
{
    (void)state;
    pid_t child = start_endless("twice", "dense 2000, dense 2000");
    wait_for_line(child, place("twice/metrics.jsonl"));
    kill(child, SIGINT);
    nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
    kill(child, SIGINT);
    result r = finish(child);
    assert_true(r.status == 128 + SIGINT || r.status == 0);
    DIR *folder = opendir(place("twice"));
    assert_non_null(folder);
    size_t files = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (strstr(entry->d_name, ".tmp")) fail_msg("%s was left", entry->d_name);
        static const char *const written[] = {"model.safetensors", "task.json", "report.html"};
        for (size_t i = 0; i < sizeof written / sizeof *written; i++) files += strcmp(entry->d_name, written[i]) == 0;
    }
    closedir(folder);
    assert_int_equal(files, r.status == 0 ? 3 : 0);
    char *metrics = read_all(place("twice/metrics.jsonl"));
    assert_true(json_lines(metrics, NULL) >= 1);
    free(metrics);
    release(r);
}

/* ---- checkpoints ---- */

/* N of the one checkpoint-N in a folder of the scratch; 0: none. */
static int checkpoint_of(const char *name)
{
    int n = 0, found = 0;
    DIR *folder = opendir(place(name));
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (sscanf(entry->d_name, "checkpoint-%d", &n) == 1 && n > found) found = n;
    if (folder) closedir(folder);
    return found;
}

/* metrics.jsonl of both tell the same, but for how long it took. */
static void assert_same_metrics(const char *a, const char *b)
{
    char *first = read_all(a), *second = read_all(b), *x = first, *y = second;
    while (*x && *y) {
        size_t n = strcspn(x, "\n"), seconds = (size_t)(strstr(x, "\"seconds\"") - x);
        assert_memory_equal(x, y, seconds);
        x += n + 1, y += strcspn(y, "\n") + 1;
    }
    assert_true(!*x && !*y);
    free(first), free(second);
}

static void assert_same_trainings(const char *a, const char *b)
{
    char path[2][40];
    for (int i = 0; i < 2; i++) snprintf(path[i], sizeof path[i], "%s/model.safetensors", i ? b : a);
    assert_same_files(place(path[0]), place(path[1]));
    for (int i = 0; i < 2; i++) snprintf(path[i], sizeof path[i], "%s/metrics.jsonl", i ? b : a);
    assert_same_metrics(place(path[0]), place(path[1]));
}

#define LEARN_IRIS(to, epochs, ...)                                                                                                      \
    HONE_RUN(NULL, "train", "--data", IRIS, "--target", "species", "--output-dir", place(to), "--quiet", "--learning-rate", "0.02",      \
             "--patience", "4", "--epochs", epochs, "--json", __VA_ARGS__)

/* If the optimizer, the order of rows, the best weights, or how long nothing was better were lost, bits would differ. */
static void test_training_that_goes_on_is_as_if_it_had_never_stopped(void **state)
{
    (void)state;
    result whole = LEARN_IRIS("whole", "100", "--dtype", "auto");
    check(whole, 0, NULL);
    char *lines = read_all(place("whole/metrics.jsonl"));
    size_t made = json_lines(lines, NULL);
    assert_true(made > 8 && made < 100); /* it ended by itself */
    free(lines);
    assert_int_equal(checkpoint_of("whole"), 0);
    char late[32];
    snprintf(late, sizeof late, "%zu", made - 1); /* the best epoch was before it */
    const char *const until[] = {"3", late, "100"};
    for (size_t i = 0; i < sizeof until / sizeof *until; i++) {
        result r = i ? LEARN_IRIS("parts", until[i], "--save-epochs", "1", "--resume") : LEARN_IRIS("parts", until[i], "--save-epochs", "1");
        check(r, 0, NULL);
        if (i == 2) assert_string_equal(r.out, whole.out);
        release(r);
    }
    assert_same_trainings("whole", "parts");
    assert_int_equal(checkpoint_of("parts"), (int)made);
    result r = LEARN_IRIS("parts", "100", "--resume"); /* there is nothing left to do */
    check(r, 0, NULL);
    assert_string_equal(r.out, whole.out);
    release(r), release(whole);
    assert_same_trainings("whole", "parts");
    char *report = read_all(place("parts/report.html"));
    snprintf(late, sizeof late, "<p>%zu epochs in ", made);
    assert_non_null(strstr(report, late));
    free(report);
}

/* Its rate stands where it would, and it ends with the last epoch: another number of them is another training. */
static void test_a_schedule_goes_on(void **state)
{
    (void)state;
    write_rows("falling.csv", ',', fine);
#define LEARN_FALLING(to, epochs, decay, ...)                                                                                            \
    "train", "--data", place("falling.csv"), "--target", "y", "--output-dir", place(to), "--patience", "1000000", "--quiet", "--schedule", \
        "cosine", "--weight-decay", decay, "--epochs", epochs, "--arch", "8", __VA_ARGS__
    pid_t child = start(NULL, (char *const *)(const char *const[]){"hone", LEARN_FALLING("falling", "3000", "0.1", "--json"), NULL});
    wait_for_line(child, place("falling/metrics.jsonl"));
    kill(child, SIGINT);
    result r = finish(child);
    check(r, 0, NULL);
    release(r);
    assert_true(checkpoint_of("falling") > 0 && checkpoint_of("falling") < 3000);
    REFUSES(1, "--epochs was 3000, now 2000", LEARN_FALLING("falling", "2000", "0.1", "--resume"));
    REFUSES(1, "--weight-decay was 0.1", LEARN_FALLING("falling", "3000", "0.2", "--resume"));
    r = HONE_RUN(NULL, LEARN_FALLING("falling", "3000", "0.1", "--resume"));
    check(r, 0, NULL);
    release(r);
    r = HONE_RUN(NULL, LEARN_FALLING("fell", "3000", "0.1", "--json"));
    check(r, 0, NULL);
    release(r);
    assert_same_trainings("falling", "fell");
}

/* As if it had not been stopped; and where not even one epoch was whole, that is told. */
static void test_interrupted_training_goes_on(void **state)
{
    (void)state;
    write_rows("kept-on.csv", ',', fine);
#define LEARN_KEPT_ON(to, ...) "train", "--data", place("kept-on.csv"), "--target", "y", "--output-dir", place(to), "--patience", "1000000", __VA_ARGS__
    pid_t child = start(NULL, (char *const *)(const char *const[]){"hone", LEARN_KEPT_ON("kept-on", "--epochs", "1000000"), NULL});
    wait_for_line(child, place("kept-on/metrics.jsonl"));
    kill(child, SIGINT);
    result r = finish(child);
    check(r, 0, "--resume goes on after epoch ");
    release(r);
    int made = checkpoint_of("kept-on");
    assert_true(made > 0);
    char epochs[32];
    snprintf(epochs, sizeof epochs, "%d", made + 3);
    r = HONE_RUN(NULL, LEARN_KEPT_ON("kept-on", "--epochs", epochs, "--resume"));
    check(r, 0, "training goes on after epoch ");
    release(r);
    r = HONE_RUN(NULL, LEARN_KEPT_ON("unstopped", "--epochs", epochs, "--quiet"));
    check(r, 0, NULL);
    release(r);
    assert_same_trainings("kept-on", "unstopped");
}

static void test_killed_training_goes_on(void **state)
{
    (void)state;
    write_rows("killed.csv", ',', fine);
#define LEARN_KILLED(to, ...) \
    "train", "--data", place("killed.csv"), "--target", "y", "--output-dir", place(to), "--patience", "1000000", "--quiet", __VA_ARGS__
    pid_t child = start(NULL, (char *const *)(const char *const[]){"hone", LEARN_KILLED("killed", "--epochs", "1000000", "--save-epochs", "1"), NULL});
    while (checkpoint_of("killed") < 3) {
        if (waitpid(child, &(int){0}, WNOHANG) == child) fail_msg("it ended by itself: %s", read_all(stream("err")));
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    kill(child, SIGKILL);
    result r = finish(child);
    assert_int_equal(r.status, 128 + SIGKILL);
    release(r);
    char epochs[32];
    snprintf(epochs, sizeof epochs, "%d", checkpoint_of("killed") + 3);
    r = HONE_RUN(NULL, LEARN_KILLED("killed", "--epochs", epochs, "--resume"));
    check(r, 0, NULL);
    release(r);
    r = HONE_RUN(NULL, LEARN_KILLED("unhurt", "--epochs", epochs));
    check(r, 0, NULL);
    release(r);
    assert_same_trainings("killed", "unhurt");
}

static void test_what_cannot_go_on_is_refused(void **state)
{
    (void)state;
    write_irises("learn.csv", 0, 2, "");
    result r = LEARN_IRIS("kept", "2", "--save-epochs", "1");
    check(r, 0, NULL);
    release(r);
#define GO_ON(to, ...) "train", "--data", IRIS, "--target", "species", "--output-dir", place(to), "--resume", "--quiet", __VA_ARGS__
    REFUSES(1, "--resume: there is no checkpoint in ", GO_ON("empty", "--epochs", "2"));
    REFUSES(1, "checkpoint-2 is of another training: --learning-rate was 0.02", GO_ON("kept", "--epochs", "3"));
    REFUSES(1, "checkpoint-2 is of another training: --arch was dense 64 relu", GO_ON("kept", "--learning-rate", "0.02", "--arch", "8"));
    REFUSES(1, "--batch-size was 32, now 16", GO_ON("kept", "--learning-rate", "0.02", "--batch-size", "16"));
    static const char *const others[][3] = {
        {"--test-share", "0.3", "--test-share was 0.2"},   {"--seed", "7", "--seed was 0, now 7"}, {"--optimizer", "sgd", "--optimizer was adamw, now sgd"},
        {"--validation", IRIS, "--validation was not given"}, {"--test", IRIS, "--test was not given, now given"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        REFUSES(1, others[i][2], GO_ON("kept", "--learning-rate", "0.02", others[i][0], others[i][1]));
    REFUSES(1, "--target was species, now sepal_width", "train", "--data", IRIS, "--target", "sepal_width", "--output-dir", place("kept"),
            "--resume", "--quiet", "--learning-rate", "0.02");
    REFUSES(1, "the data was 150 rows (", "train", "--data", place("learn.csv"), "--target", "species", "--output-dir", place("kept"), "--resume",
            "--quiet", "--learning-rate", "0.02");
    REFUSES(2, "--save-epochs", GO_ON("kept", "--save-epochs", "0"));
    char *model = read_all(place("kept/checkpoint-2/training.json"));
    write_all(place("kept/checkpoint-2/training.json"), "{}");
    REFUSES(1, "training.json: not what `hone train` of this version wrote", GO_ON("kept", "--learning-rate", "0.02"));
    write_all(place("kept/checkpoint-2/training.json"), model);
    free(model);
    write_all(place("kept/checkpoint-2/best.safetensors"), "none");
    REFUSES(1, "best.safetensors", GO_ON("kept", "--learning-rate", "0.02"));
    unlink(place("kept/checkpoint-2/model.safetensors"));
    REFUSES(1, "model.safetensors", GO_ON("kept", "--learning-rate", "0.02"));
    r = LEARN_IRIS("kept", "1", "--save-epochs", "1"); /* begins anew, and what it does not go on from is gone */
    check(r, 0, NULL);
    release(r);
    assert_int_equal(checkpoint_of("kept"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interrupted_training_saves_its_best),
        cmocka_unit_test(test_a_second_interrupt_leaves_no_half_of_a_file),
        cmocka_unit_test(test_training_that_goes_on_is_as_if_it_had_never_stopped),
        cmocka_unit_test(test_interrupted_training_goes_on),
        cmocka_unit_test(test_a_schedule_goes_on),
        cmocka_unit_test(test_killed_training_goes_on),
        cmocka_unit_test(test_what_cannot_go_on_is_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, scratch_remove);
}
