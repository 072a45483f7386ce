/* hone train --resume, and what else may stand in the folder of its checkpoints, as a user would run it. */
#include "base/base.h"
#include "png.h"
#include "program.h"

#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

#define IRIS HONE_SOURCE_DIR "/examples/data/iris.csv"
#define LEARN(to, epochs, ...)                                                                                              \
    "train", "--data", IRIS, "--target", "species", "--output-dir", place(to), "--arch", "dense 4", "--epochs", epochs, "--patience", \
        "99", __VA_ARGS__

static void runs(result r, const char *message)
{
    check(r, 0, message);
    release(r);
}
static bool exists(const char *name)
{
    struct stat info;
    return lstat(place(name), &info) == 0;
}
static void make(const char *folder)
{
    if (mkdir(place(folder), 0700) != 0 && errno != EEXIST) fail_msg("%s: %s", folder, strerror(errno));
}
/* As hone finetune leaves one. */
static void make_foreign(const char *folder)
{
    char path[300];
    make(folder);
    snprintf(path, sizeof path, "%s/trainer_state.json", folder);
    write_all(place(path), "{\"global_step\": 7}");
}

/* Weeks of another program's work were lost otherwise. */
static void test_what_others_wrote_stays(void **unused)
{
    (void)unused;
    make("mixed");
    make_foreign("mixed/checkpoint-7");
    make_foreign("mixed/.checkpoint-8");
    make_foreign("mixed/checkpoint-+5");
    make_foreign("elsewhere");
    write_all(place("elsewhere/training.json"), "{\"format\": \"hone-training\"}");
    assert_int_equal(symlink("../elsewhere", place("mixed/checkpoint-9")), 0);
    assert_int_equal(symlink("../elsewhere", place("mixed/.train-checkpoint-2")), 0);
    write_all(place("mixed/checkpoint-6"), "a file");
    runs(HONE_RUN(NULL, LEARN("mixed", "3", "--save-epochs", "1")), "network: dense 4");
    static const char *const kept[] = {"mixed/checkpoint-7/trainer_state.json", "mixed/.checkpoint-8/trainer_state.json",
                                       "mixed/checkpoint-+5/trainer_state.json", "mixed/checkpoint-9",
                                       "elsewhere/training.json", "elsewhere/trainer_state.json", "mixed/checkpoint-6"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (!exists(kept[i])) fail_msg("%s is gone", kept[i]);
    assert_true(exists("mixed/checkpoint-3") && !exists("mixed/checkpoint-1"));
    /* None of them is taken for the newest either. */
    runs(HONE_RUN(NULL, LEARN("mixed", "5", "--resume", "--save-epochs", "1")), "checkpoint-3: training goes on after epoch 3");
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (!exists(kept[i])) fail_msg("%s is gone", kept[i]);
    assert_true(exists("mixed/checkpoint-5") && !exists("mixed/checkpoint-3"));
}

static void test_what_stands_in_the_way_is_told_before_training(void **unused)
{
    (void)unused;
    make("blocked");
    make_foreign("blocked/checkpoint-2");
    result r = HONE_RUN(NULL, LEARN("blocked", "3", "--save-epochs", "1"));
    check(r, 1, "checkpoint-2 stands where a checkpoint would, and `hone train` did not write it");
    assert_null(strstr(r.err, "epoch 1"));
    release(r);
    assert_true(exists("blocked/checkpoint-2/trainer_state.json") && !exists("blocked/checkpoint-1"));
    runs(HONE_RUN(NULL, LEARN("blocked", "4", "--save-epochs", "3")), "network: dense 4");
    assert_true(exists("blocked/checkpoint-2/trainer_state.json") && exists("blocked/checkpoint-3"));
    REFUSES(1, "--resume: there is no checkpoint in", LEARN("elsewhere-too", "3", "--resume", "--quiet"));
}

/* Newer ones that do not fit hide no older one that does, and what they have is told when none fits. */
static void test_the_newest_that_fits_is_gone_on_from(void **unused)
{
    (void)unused;
    runs(HONE_RUN(NULL, LEARN("one", "2", "--save-epochs", "2")), "network: dense 4");
    runs(HONE_RUN(NULL, LEARN("other", "4", "--save-epochs", "4", "--batch-size", "7")), "network: dense 4");
    assert_int_equal(rename(place("other/checkpoint-4"), place("one/checkpoint-4")), 0);
    write_all(place("one/checkpoint-9"), "");
    make("one/checkpoint-10");
    REFUSES(1, "checkpoint-4 is of another training: --batch-size was 7, now 5", LEARN("one", "6", "--batch-size", "5", "--resume", "--quiet"));
    runs(HONE_RUN(NULL, LEARN("one", "3", "--resume")), "checkpoint-2: training goes on after epoch 2");
}

static void test_epochs_that_are_made_are_not_asked_for_again(void **unused)
{
    (void)unused;
    runs(HONE_RUN(NULL, LEARN("made", "3", "--save-epochs", "1")), "network: dense 4");
    REFUSES(1, "--resume: 3 epochs have been made, more than --epochs 2", LEARN("made", "2", "--resume", "--quiet"));
    runs(HONE_RUN(NULL, LEARN("made", "3", "--resume")), "all of the 3 epochs have been made: nothing is left to learn");
}

/* What is computed in other numbers would not be the training that was stopped. */
static void test_another_kind_of_cpu_does_not_go_on(void **unused)
{
    (void)unused;
#define SERIES HONE_TEST_DATA "/data/series.npz"
#define SERIAL(...) "train", "--data", SERIES, "--arch", "flatten", "--output-dir", place("cpu"), __VA_ARGS__
    result r = HONE_RUN(NULL, SERIAL("--epochs", "1", "--save-epochs", "1"));
    if (strstr(r.err, "libzip") || !hone__bf16_is_fast()) {
        release(r);
        skip();
    }
    runs(r, "network: flatten");
    setenv("HONE_ISA", "ref", 1);
    r = HONE_RUN(NULL, SERIAL("--epochs", "2", "--resume", "--quiet"));
    unsetenv("HONE_ISA");
    check(r, 1, "checkpoint-1 was computed in bf16, and --dtype auto is f32 on this CPU");
    release(r);
    runs(HONE_RUN(NULL, SERIAL("--epochs", "2", "--resume")), "goes on after epoch 1");
}

/* ---- pictures, which are not read before they are needed ---- */

enum { SIDE = 8, EACH = 12 };

static void write_picture(const char *path, int class, int number)
{
    uint8_t pixels[SIDE * SIDE];
    for (int i = 0; i < SIDE * SIDE; i++) pixels[i] = (uint8_t)(100 * class + (i * 7 + number * 13) % 90);
    assert_int_equal(png_write(path, pixels, SIDE, SIDE, 1), 0);
}

static void make_pictures(const char *folder)
{
    char path[300];
    make(folder);
    for (int class = 0; class < 2; class++) {
        snprintf(path, sizeof path, "%s/%c", folder, 'a' + class);
        make(path);
        for (int i = 0; i < EACH; i++) {
            snprintf(path, sizeof path, "%s/%c/%02d.png", folder, 'a' + class, i);
            write_picture(place(path), class, i);
        }
    }
}

#define LOOK(data, epochs, ...)                                                                                                 \
    HONE_RUN(NULL, "train", "--data", place(data), "--output-dir", place("eye"), "--arch", "flatten, dense 4", "--epochs", epochs, \
             "--batch-size", "8", "--quiet", __VA_ARGS__)

/* Only the pictures to watch are read whole: those to learn from, and which there are, must count as well. */
static void test_other_pictures_are_other_data(void **unused)
{
    (void)unused;
    make_pictures("album");
    result r = LOOK("album", "1", "--save-epochs", "1");
    if (strstr(r.err, "libpng")) {
        release(r);
        skip();
    }
    runs(r, NULL);
    const struct timeval times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    assert_int_equal(utimes(place("album/a/03.png"), times), 0); /* the same bytes */
    make_pictures("copy");
    runs(LOOK("copy", "2", "--resume"), NULL);
    for (int i = 0; i < EACH; i++) {
        char path[60];
        snprintf(path, sizeof path, "album/a/%02d.png", i);
        write_picture(place(path), 0, i + 50);
        r = LOOK("album", "2", "--resume");
        check(r, 1, "is of another training: the data was 24 pictures (");
        release(r);
        write_picture(place(path), 0, i);
    }
    assert_int_equal(rename(place("album/a/05.png"), place("album/b/05-too.png")), 0);
    r = LOOK("album", "2", "--resume");
    check(r, 1, "is of another training: the data was 24 pictures (");
    release(r);
    runs(LOOK("copy", "2", "--resume"), NULL);
}

/* The checkpoint is written when training has begun, and its data must be those that were there then. */
static void test_pictures_that_change_in_training_are_told(void **unused)
{
    (void)unused;
    make_pictures("moving");
    result r = LOOK("moving", "1", "--save-epochs", "1");
    if (strstr(r.err, "libpng")) {
        release(r);
        skip();
    }
    runs(r, NULL);
    pid_t child = start(NULL, (char *const *)(const char *const[]){"hone", "train", "--data", place("moving"), "--output-dir", place("moved"), "--arch",
                                                                   "flatten, dense 4", "--epochs", "1000000", "--patience", "1000000", NULL});
    for (bool begun = false; !begun; nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL)) {
        if (waitpid(child, &(int){0}, WNOHANG) == child) fail_msg("it ended by itself: %s", read_all(stream("err")));
        char *text = access(place("moved/metrics.jsonl"), R_OK) ? calloc(1, 1) : read_all(place("moved/metrics.jsonl"));
        begun = strchr(text, '\n') != NULL;
        free(text);
    }
    write_picture(place("moving/a/03.png"), 1, 3);
    kill(child, SIGINT);
    runs(finish(child), "--resume goes on after epoch ");
    r = HONE_RUN(NULL, "train", "--data", place("moving"), "--output-dir", place("moved"), "--arch", "flatten, dense 4", "--resume", "--quiet");
    check(r, 1, "the data was 24 pictures (changed while they were learnt from), now 24 pictures (");
    release(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_others_wrote_stays),
        cmocka_unit_test(test_what_stands_in_the_way_is_told_before_training),
        cmocka_unit_test(test_the_newest_that_fits_is_gone_on_from),
        cmocka_unit_test(test_epochs_that_are_made_are_not_asked_for_again),
        cmocka_unit_test(test_another_kind_of_cpu_does_not_go_on),
        cmocka_unit_test(test_other_pictures_are_other_data),
        cmocka_unit_test(test_pictures_that_change_in_training_are_told),
    };
    return cmocka_run_group_tests(tests, make_folder, scratch_remove);
}
