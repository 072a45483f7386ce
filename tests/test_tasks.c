/* hone train, predict and eval on folders of pictures and sounds, on arrays and on texts, as a user would run them. */
#include "png.h"
#include "program.h"

#include "hone/data.h"

#include <math.h>
#include <sys/stat.h>

static json_t *last; /* the last object that was printed */
static void keep(const json_t *object, size_t line)
{
    (void)line;
    json_decref(last);
    last = json_deep_copy(object);
}
static double number(const char *name) { return json_number_value(json_object_get(last, name)); }
static const char *said(const char *name) { return json_string_value(json_object_get(last, name)); }

/* The same numbers everywhere. */
static uint32_t drawn = 1;
static int draw(int below)
{
    drawn = drawn * 1664525u + 1013904223u;
    return (int)((drawn >> 8) % (uint32_t)below);
}

/* ---- what a network says of data that it has not seen ---- */

/* `hone eval` counts so many rows, and most are right. */
static void answers_well(const char *model, const char *data, int rows)
{
    result r = HONE_RUN(NULL, "eval", "--model", place(model), "--data", place(data), "--json");
    check(r, 0, NULL);
    json_lines(r.out, keep);
    assert_true(number("rows") == rows && number("accuracy") > 0.8);
    release(r);
}

/* `hone predict --json` of a folder: so many lines, and what the last one says of which file. */
static void names_files(const char *model, const char *folder, int files, const char *class, const char *file)
{
    result r = HONE_RUN(NULL, "predict", "--model", place(model), "--data", place(folder), "--json");
    check(r, 0, NULL);
    assert_int_equal(json_lines(r.out, keep), files);
    assert_string_equal(said("prediction"), class);
    assert_non_null(strstr(said("file"), file));
    release(r);
}

/* The same of one file, as a table: how it begins, and what is in its line. */
static void names_file(const char *model, const char *file, const char *head, const char *line)
{
    result r = HONE_RUN(NULL, "predict", "--model", place(model), "--data", place(file));
    check(r, 0, NULL);
    assert_memory_equal(r.out, head, strlen(head));
    assert_non_null(strstr(r.out, line));
    release(r);
}

/* ---- pictures ---- */

enum { SIDE = 16, PICTURES = 40 };
static const char *const shapes[] = {"cross", "flat", "tall"};

static void draw_picture(uint8_t *pixels, int shape, int channels)
{
    int y = 4 + draw(8), x = 4 + draw(8);
    for (int i = 0; i < SIDE * SIDE; i++)
        for (int c = 0; c < channels; c++) {
            bool in = (shape != 2 && abs(i / SIDE - y) < 2) || (shape != 1 && abs(i % SIDE - x) < 2);
            pixels[i * channels + c] = (uint8_t)(draw(60) + (in ? 120 + 40 * c : 0));
        }
}

static void write_picture(const char *path, int shape, int channels)
{
    uint8_t pixels[SIDE * SIDE * 3];
    draw_picture(pixels, shape, channels);
    assert_int_equal(png_write(path, pixels, SIDE, SIDE, (uint32_t)channels), 0);
}

static void make_pictures(const char *folder, int n, int channels)
{
    char path[400];
    mkdir(place(folder), 0700);
    for (int shape = 0; shape < 3; shape++) {
        snprintf(path, sizeof path, "%s/%s", place(folder), shapes[shape]);
        mkdir(path, 0700);
        for (int i = 0; i < n; i++) {
            snprintf(path, sizeof path, "%s/%s/%03d.png", place(folder), shapes[shape], i);
            write_picture(path, shape, channels);
        }
    }
}

static void skip_without_png(result r)
{
    if (!strstr(r.err, "made without libpng") && !strstr(r.err, "install libpng")) return;
    release(r);
    skip();
}

static void test_pictures_are_learnt_and_told(void **unused)
{
    (void)unused;
    make_pictures("shapes", PICTURES, 1);
    result r = HONE_RUN(NULL, "train", "--data", place("shapes"), "--output-dir", place("eye"), "--epochs", "12", "--batch-size", "16", "--json");
    skip_without_png(r);
    check(r, 0, "120 pictures of 3 classes");
    assert_non_null(strstr(r.err, "pictures are grey, mostly 16 x 16 pixels; 16 x 16 are read"));
    assert_non_null(strstr(r.err, "network: conv2d 32 3 same no_bias, batch_norm, activation relu, max_pool2d 2, flatten"));
    json_lines(r.out, keep);
    assert_int_equal((int)number("rows"), 24);
    if (number("accuracy") < 0.85) fail_msg("accuracy %g: %s", number("accuracy"), r.err);
    release(r);
    char *report = read_all(place("eye/report.html"));
    assert_non_null(strstr(report, "<td>cross</td><td>40 pictures</td>"));
    free(report);

    make_pictures("more", 10, 1);
    answers_well("eye", "more", 30);
    r = HONE_RUN(NULL, "train", "--data", place("shapes"), "--validation", place("more"), "--output-dir", place("none"), "--epochs", "1");
    check(r, 0, "120 pictures of 3 classes");
    release(r);
    rename(place("more/tall"), place("more/high"));
    REFUSES(1, "more: 'high' is none of the classes that were learnt", "train", "--data", place("shapes"), "--test", place("more"), "--output-dir",
            place("none"), "--quiet");
    rename(place("more/high"), place("more/tall"));
    names_files("eye", "more/flat", 10, "flat", "more/flat/009.png");
    names_file("eye", "more/tall/000.png", "row,file,prediction,probability_cross,probability_flat,probability_tall\n0,", "000.png,tall,");
}

/* Also what is done to pictures at random, and what batch norm has seen. */
static void test_learning_from_pictures_goes_on(void **unused)
{
    (void)unused;
    make_pictures("some", 10, 1);
    for (int i = 0; i < 3; i++) {
        result r = HONE_RUN(NULL, "train", "--data", place("some"), "--output-dir", place(i ? "parts" : "whole"), "--epochs", i == 1 ? "1" : "3",
                            "--batch-size", "8", "--patience", "9", i == 2 ? "--resume" : "--json", i == 1 ? "--save-epochs=1" : "--json");
        skip_without_png(r);
        check(r, 0, i == 2 ? "checkpoint-1: training goes on after epoch 1" : "30 pictures");
        release(r);
    }
    assert_same_files(place("whole/model.safetensors"), place("parts/model.safetensors"));
}

static void test_pictures_in_colour_of_a_size_and_an_arch(void **unused)
{
    (void)unused;
    make_pictures("colours", 8, 3);
    result r = HONE_RUN(NULL, "train", "--data", place("colours"), "--output-dir", place("colour"), "--epochs", "1", "--image-size", "12",
                        "--augment", "flip", "--arch", "conv2d 4 3 relu, global_average_pool");
    skip_without_png(r);
    check(r, 0, "pictures are in colour, mostly 16 x 16 pixels; 12 x 12 are read");
    assert_non_null(strstr(r.err, "network: conv2d 4 3 relu, global_average_pool, dense 3 softmax"));
    release(r);
    REFUSES(1, "--arch: its last layer must give a row of features for each of the pictures", "train", "--quiet", "--data", place("colours"),
            "--output-dir", place("none"), "--arch", "conv2d 4 3 relu");
    REFUSES(1, "--arch: ", "train", "--quiet", "--data", place("colours"), "--output-dir", place("none"), "--arch", "gru 8");
}

static void test_pictures_that_cannot_be_learnt_are_refused(void **unused)
{
    (void)unused;
    make_pictures("three", 1, 1);
    write_all(place("reviews.csv"), "a\n1\n");
    result r = HONE_RUN(NULL, "predict", "--model", place("eye"), "--data", place("three"));
    skip_without_png(r);
    check(r, 0, NULL);
    release(r);
    REFUSES(1, "at least 2, and 10 pictures; there are 3 and 3", "train", "--data", place("three"), "--output-dir", place("none"));
    make_pictures("alike", 12, 1);
    rename(place("alike/flat"), place("alike-flat")), rename(place("alike/tall"), place("alike-tall"));
    mkdir(place("alike/void"), 0700);
    REFUSES(1, "all pictures are of the class 'cross': there is nothing to tell apart", "train", "--data", place("alike"), "--output-dir", place("none"));
    REFUSES(1, "there are 0 and 1", "train", "--data", place("three/flat"), "--output-dir", place("none"));
    REFUSES(1, "--text is for tables and texts", "train", "--data", place("three"), "--text", "x", "--output-dir", place("none"));
    REFUSES(1, "reviews.csv: neither a folder nor a .png, .jpg or .jpeg", "predict", "--model", place("eye"), "--data", place("reviews.csv"));
    REFUSES(1, "--target is for tables and texts", "train", "--data", place("three"), "--target", "x", "--output-dir", place("none"));
    REFUSES(1, "which says what its pictures are", "eval", "--model", place("eye"), "--data", place("three/flat"));
    mkdir(place("none-here"), 0700);
    REFUSES(1, "no .png, .jpg or .jpeg in it", "predict", "--model", place("eye"), "--data", place("none-here"));
    REFUSES(1, "none-here: there is no .png, .jpg, .jpeg or .wav file", "train", "--data", place("none-here"), "--output-dir", place("none"));
    REFUSES(1, "nowhere: No such file or directory", "train", "--data", place("nowhere"), "--output-dir", place("none"));
    REFUSES(1, "one file is nothing to learn from", "train", "--data", place("three/flat/000.png"), "--output-dir", place("none"));
    REFUSES(1, "nowhere.png: ", "predict", "--model", place("eye"), "--data", place("nowhere.png"));
    rename(place("three/flat"), place("three/round"));
    REFUSES(1, "'round' is none of the classes that were learnt", "eval", "--model", place("eye"), "--data", place("three"));
    write_all(place("three/round/bad.png"), "no picture");
    REFUSES(1, "bad.png: is neither PNG nor JPEG", "predict", "--model", place("eye"), "--data", place("three/round/bad.png"));
    write_all(place("eye/task.json"), "{\"format\": \"hone-task\", \"version\": 1, \"kind\": \"images\", \"classes\": [\"a\", \"b\", \"c\"]}");
    REFUSES(1, "what it says of pictures is not whole", "predict", "--model", place("eye"), "--data", place("three"));
    write_all(place("eye/task.json"), "{\"format\": \"hone-task\", \"version\": 1, \"kind\": \"images\", \"classes\": [\"a\", \"b\"]}");
    REFUSES(1, "the network does not answer what", "predict", "--model", place("eye"), "--data", place("three"));
    write_all(place("eye/task.json"), "{\"format\": \"hone-task\", \"version\": 1, \"kind\": \"smells\"}");
    REFUSES(1, "task.json: not what `hone train` of this version wrote", "predict", "--model", place("eye"), "--data", place("three"));
}

/* Also one that is only looked at when the network has been learnt. */
static void test_a_broken_picture_is_named_before_training(void **unused)
{
    (void)unused;
    make_pictures("broken", 6, 1);
    char path[400];
    mkdir(place("broken/void"), 0700);
    result r = HONE_RUN(NULL, "train", "--data", place("broken"), "--output-dir", place("none"), "--epochs", "1");
    skip_without_png(r);
    check(r, 0, "too few pictures to learn 1 of the classes: 'void' has 0");
    release(r);
    for (int i = 0; i < 6; i++) {
        snprintf(path, sizeof path, "%s/flat/%03d.png", place("broken"), i);
        char *kept = calloc(1, 2000);
        FILE *file = fopen(path, "rb");
        size_t size = fread(kept, 1, 2000, file);
        fclose(file);
        write_all(path, "no picture");
        r = HONE_RUN(NULL, "train", "--data", place("broken"), "--output-dir", place("none"), "--epochs", "1", "--quiet");
        snprintf(path, sizeof path, "flat/%03d.png: is neither PNG nor JPEG", i);
        check(r, 1, path);
        assert_null(strstr(r.err, "epoch"));
        release(r);
        snprintf(path, sizeof path, "%s/flat/%03d.png", place("broken"), i);
        file = fopen(path, "wb");
        fwrite(kept, 1, size, file);
        fclose(file);
        free(kept);
    }
}

/* ---- sounds ---- */

enum { RATE = 8000, SAMPLES = 2400 };

/* 16 bit PCM: a tone of so many Hz, or noise (0), for a part of the time, somewhere in it, with some noise. */
static void write_sound(const char *path, int rate, double hertz)
{
    int16_t samples[SAMPLES];
    int begin = draw(SAMPLES / 2);
    for (int i = 0; i < SAMPLES; i++) {
        bool in = i >= begin && i < begin + SAMPLES / 2;
        double v = in ? hertz > 0 ? 8000 * sin(6.283185307179586 * hertz * i / rate) : draw(16000) - 8000 : 0;
        samples[i] = (int16_t)(v + draw(200) - 100);
    }
    const uint32_t bytes = sizeof samples, whole = 36 + bytes, head = 16, per_second = (uint32_t)rate * 2, hz = (uint32_t)rate;
    const uint16_t kind[2] = {1, 1}, frame[2] = {2, 16};
    FILE *file = fopen(path, "wb");
    if (!file) fail_msg("%s: %s", path, strerror(errno));
    fwrite("RIFF", 1, 4, file), fwrite(&whole, 4, 1, file), fwrite("WAVEfmt ", 1, 8, file), fwrite(&head, 4, 1, file);
    fwrite(kind, 2, 2, file), fwrite(&hz, 4, 1, file), fwrite(&per_second, 4, 1, file), fwrite(frame, 2, 2, file);
    fwrite("data", 1, 4, file), fwrite(&bytes, 4, 1, file), fwrite(samples, 1, bytes, file);
    fclose(file);
}

/* 32 bit floats: n samples, all of them `value`. */
static void write_constant(const char *path, uint32_t n, float value)
{
    const uint32_t bytes = n * 4, whole = 36 + bytes, head = 16, hz = RATE, per_second = RATE * 4;
    const uint16_t kind[2] = {3, 1}, frame[2] = {4, 32};
    FILE *file = fopen(path, "wb");
    if (!file) fail_msg("%s: %s", path, strerror(errno));
    fwrite("RIFF", 1, 4, file), fwrite(&whole, 4, 1, file), fwrite("WAVEfmt ", 1, 8, file), fwrite(&head, 4, 1, file);
    fwrite(kind, 2, 2, file), fwrite(&hz, 4, 1, file), fwrite(&per_second, 4, 1, file), fwrite(frame, 2, 2, file);
    fwrite("data", 1, 4, file), fwrite(&bytes, 4, 1, file);
    for (uint32_t i = 0; i < n; i++) fwrite(&value, 4, 1, file);
    fclose(file);
}

static void make_sounds(const char *folder, int n)
{
    static const struct {
        const char *name;
        double least, most;
    } kinds[] = {{"hiss", 0, 0}, {"high", 1500, 2500}, {"low", 200, 400}};
    char path[400];
    mkdir(place(folder), 0700);
    for (int kind = 0; kind < 3; kind++) {
        snprintf(path, sizeof path, "%s/%s", place(folder), kinds[kind].name);
        mkdir(path, 0700);
        for (int i = 0; i < n; i++) {
            snprintf(path, sizeof path, "%s/%s/%03d.wav", place(folder), kinds[kind].name, i);
            write_sound(path, RATE, kinds[kind].least + (kinds[kind].most - kinds[kind].least) * draw(100) / 100);
        }
    }
}

/* Also a folder whose files are left out, as they are of another kind. */
static void test_sounds_of_one_class_are_refused(void **unused)
{
    (void)unused;
    char path[400];
    mkdir(place("mixed"), 0700), mkdir(place("mixed/high"), 0700), mkdir(place("mixed/drawn"), 0700);
    write_all(place("mixed/drawn/one.png"), "");
    for (int i = 0; i < 12; i++) {
        snprintf(path, sizeof path, "%s/%03d.wav", place("mixed/high"), i);
        write_sound(path, RATE, 2000);
    }
    result r = HONE_RUN(NULL, "train", "--data", place("mixed"), "--output-dir", place("none"));
    if (strstr(r.err, "sndfile")) {
        release(r);
        skip();
    }
    check(r, 1, "all sounds are of the class 'high': there is nothing to tell apart");
    assert_non_null(strstr(r.err, "the pictures are left out"));
    release(r);
}

static void test_sounds_are_learnt_and_told(void **unused)
{
    (void)unused;
    make_sounds("sounds", 24);
    result r = HONE_RUN(NULL, "train", "--data", place("sounds"), "--output-dir", place("ear"), "--epochs", "12", "--batch-size", "8", "--json");
    if (strstr(r.err, "sndfile")) {
        release(r);
        skip();
    }
    check(r, 0, "72 sounds of 3 classes");
    assert_non_null(strstr(r.err, "sounds have 8000 samples a second; the first 0.30 s of each are read"));
    assert_non_null(strstr(r.err, "network: conv2d 32 3 same no_bias"));
    json_lines(r.out, keep);
    if (number("accuracy") < 0.85) fail_msg("accuracy %g: %s", number("accuracy"), r.err);
    release(r);
    char *report = read_all(place("ear/report.html"));
    assert_non_null(strstr(report, "<h1>Classes of sounds</h1>"));
    assert_null(strstr(report, "pictures"));
    free(report);
    make_sounds("sounds-more", 6);
    answers_well("ear", "sounds-more", 18);
    names_files("ear", "sounds-more/low", 6, "low", "sounds-more/low/005.wav");
    names_file("ear", "sounds-more/high/000.wav", "row,file,prediction,probability_high,probability_hiss,probability_low\n0,", "000.wav,high,");
    REFUSES(1, "there is no .wav file in folders that name the classes", "eval", "--model", place("ear"), "--data", place("sounds-more/low"));
    REFUSES(1, "--image-size is for pictures", "train", "--data", place("sounds"), "--image-size", "32", "--output-dir", place("none"));
    REFUSES(1, "--augment is for pictures", "train", "--data", place("sounds"), "--augment", "flip", "--output-dir", place("none"));
    REFUSES(1, "--target is for tables and texts", "train", "--data", place("sounds"), "--target", "x", "--output-dir", place("none"));
    r = HONE_RUN(NULL, "train", "--data", place("sounds"), "--test", place("sounds-more"), "--output-dir", place("none"), "--epochs", "1", "--json");
    check(r, 0, "72 sounds of 3 classes");
    json_lines(r.out, keep);
    assert_int_equal((int)number("rows"), 18);
    release(r);
    rename(place("sounds-more/low"), place("sounds-more/deep"));
    REFUSES(1, "'deep' is none of the classes that were learnt", "eval", "--model", place("ear"), "--data", place("sounds-more"));
    write_sound(place("sounds-more/deep/000.wav"), 16000, 300);
    REFUSES(1, "000.wav has 16000 samples a second, 8000 are expected", "predict", "--model", place("ear"), "--data", place("sounds-more/deep"));
    write_all(place("sounds-more/deep/000.wav"), "no sound");
    REFUSES(1, "000.wav: ", "predict", "--model", place("ear"), "--data", place("sounds-more/deep/000.wav"));
    REFUSES(1, "000.wav: ", "train", "--data", place("sounds-more"), "--output-dir", place("none"), "--quiet");
    write_constant(place("sounds-more/deep/000.wav"), 0, 0);
    REFUSES(1, "deep/000.wav has no samples", "train", "--data", place("sounds-more"), "--output-dir", place("none"), "--quiet");
    write_constant(place("sounds-more/deep/000.wav"), 2400, NAN);
    REFUSES(1, "deep/000.wav has samples that are not finite", "train", "--data", place("sounds-more"), "--output-dir", place("none"), "--quiet");
    write_constant(place("sounds-more/deep/000.wav"), 2400, 0.1f);
    assert_int_equal(truncate(place("sounds-more/deep/000.wav"), 2000), 0);
    REFUSES(1, "deep/000.wav: is cut off", "train", "--data", place("sounds-more"), "--output-dir", place("none"), "--quiet");
    write_sound(place("sounds-more/deep/000.wav"), RATE, 300);
    if (geteuid() != 0) { /* who may read everything */
        chmod(place("sounds-more/deep"), 0);
        REFUSES(1, "sounds-more/deep: Permission denied", "train", "--data", place("sounds-more"), "--output-dir", place("none"), "--quiet");
        chmod(place("sounds-more/deep"), 0700);
    }
    REFUSES(1, "nowhere: No such file or directory", "predict", "--model", place("ear"), "--data", place("nowhere"));
    write_all(place("ear/task.json"), "{\"format\": \"hone-task\", \"version\": 1, \"kind\": \"sounds\", \"classes\": [\"a\", \"b\", \"c\"]}");
    REFUSES(1, "what it says of sounds is not whole", "predict", "--model", place("ear"), "--data", place("sounds"));
}

/* Sounds among pictures and pictures among sounds. */
static void test_what_strayed_into_a_folder_does_not_decide(void **unused)
{
    (void)unused;
    char name[40];
    make_pictures("stray", 5, 1);
    write_sound(place("stray/flat/note.wav"), RATE, 300);
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "stray/%02d.wav", i);
        write_sound(place(name), RATE, 300);
    }
    result r = HONE_RUN(NULL, "train", "--data", place("stray"), "--output-dir", place("none"), "--epochs", "1");
    skip_without_png(r);
    check(r, 0, "has pictures and sounds, 15 and 1: the sounds are left out");
    assert_non_null(strstr(r.err, "15 pictures of 3 classes"));
    release(r);
    for (int i = 0; i < 14; i++) {
        snprintf(name, sizeof name, "stray/tall/%02d.wav", i);
        write_sound(place(name), RATE, 300);
    }
    REFUSES(1, "has pictures and sounds, as many of both", "train", "--data", place("stray"), "--output-dir", place("none"));
    write_sound(place("stray/cross/note.WAV"), RATE, 300);
    r = HONE_RUN(NULL, "train", "--data", place("stray"), "--output-dir", place("none"), "--epochs", "1");
    if (!strstr(r.err, "sndfile")) check(r, 0, "16 sounds of 3 classes");
    release(r);
    make_pictures("alone", 4, 1);
    write_sound(place("alone/note.wav"), RATE, 300);
    r = HONE_RUN(NULL, "train", "--data", place("alone"), "--output-dir", place("none"), "--epochs", "1");
    check(r, 0, "12 pictures of 3 classes");
    release(r);
    mkdir(place("flat-sounds"), 0700);
    write_sound(place("flat-sounds/note.wav"), RATE, 300);
    REFUSES(1, "there is no .wav file in folders that name the classes", "train", "--data", place("flat-sounds"), "--output-dir", place("none"));
}

/* ---- arrays ---- */

/* An IDX file of bytes [n], or [n, SIDE, SIDE]. */
static void write_idx(const char *path, int n, bool pictures, const uint8_t *values)
{
    FILE *file = fopen(path, "wb");
    if (!file) fail_msg("%s: %s", path, strerror(errno));
    const uint8_t head[] = {0, 0, 8, pictures ? 3 : 1, 0, 0, (uint8_t)(n >> 8), (uint8_t)n, 0, 0, 0, SIDE, 0, 0, 0, SIDE};
    fwrite(head, 1, pictures ? 16 : 8, file);
    fwrite(values, 1, (size_t)n * (pictures ? SIDE * SIDE : 1), file);
    fclose(file);
}

/* The three shapes, numbered 0, 4 and 9. */
static void make_idx(const char *images, const char *labels, int n)
{
    uint8_t *pixels = malloc((size_t)n * SIDE * SIDE), *kinds = malloc((size_t)n);
    assert_true(pixels && kinds);
    for (int i = 0; i < n; i++) {
        draw_picture(pixels + (size_t)i * SIDE * SIDE, i % 3, 1);
        kinds[i] = (uint8_t[]){0, 4, 9}[i % 3];
    }
    write_idx(place(images), n, true, pixels);
    if (labels) write_idx(place(labels), n, false, kinds);
    free(pixels), free(kinds);
}

static void test_idx_pairs_are_learnt_and_told(void **unused)
{
    (void)unused;
    make_idx("t-images-idx3-ubyte", "t-labels-idx1-ubyte", 150);
    result r = HONE_RUN(NULL, "train", "--data", place("t-images-idx3-ubyte"), "--output-dir", place("idx"), "--epochs", "12", "--batch-size", "16",
                        "--json");
    check(r, 0, "x is pictures [150, 16, 16], y a class");
    assert_non_null(strstr(r.err, "network: conv2d 32 3 same no_bias, batch_norm, activation relu, max_pool2d 2, flatten"));
    json_lines(r.out, keep);
    if (number("accuracy") < 0.85) fail_msg("accuracy %g: %s", number("accuracy"), r.err);
    release(r);
    make_idx("new-images-idx3-ubyte", NULL, 30);
    r = HONE_RUN(NULL, "predict", "--model", place("idx"), "--data", place("new-images-idx3-ubyte"));
    check(r, 0, NULL);
    const char *head = "row,prediction,probability_0,probability_4,probability_9\n0,0,";
    assert_memory_equal(r.out, head, strlen(head));
    assert_non_null(strstr(r.out, "\n1,4,"));
    assert_non_null(strstr(r.out, "\n2,9,"));
    release(r);
    REFUSES(1, "new-labels-idx1-ubyte", "eval", "--model", place("idx"), "--data", place("new-images-idx3-ubyte"));
    make_idx("other-images-idx3-ubyte", "other-labels-idx1-ubyte", 30);
    answers_well("idx", "other-images-idx3-ubyte", 30);
    write_idx(place("other-labels-idx1-ubyte"), 3, false, (const uint8_t[]){0, 4, 9});
    REFUSES(1, "y must have one number for each of the 30 rows of x, not 3", "eval", "--model", place("idx"), "--data",
            place("other-images-idx3-ubyte"));
    uint8_t wrong[30] = {5};
    write_idx(place("other-labels-idx1-ubyte"), 30, false, wrong);
    REFUSES(1, "y is 5 in row 0, which is none of the 3 classes", "eval", "--model", place("idx"), "--data", place("other-images-idx3-ubyte"));
    REFUSES(1, "--target is for tables", "train", "--data", place("t-images-idx3-ubyte"), "--target", "y", "--output-dir", place("none"));
    REFUSES(1, "has arrays: --augment is for folders of pictures", "train", "--data", place("t-images-idx3-ubyte"), "--augment", "shift",
            "--output-dir", place("none"));
    REFUSES(1, "an .npz or IDX file is expected", "predict", "--model", place("idx"), "--data", place("stream.csv"));
    REFUSES(1, "its name has no 'images'", "train", "--data", place("t-labels-idx1-ubyte"), "--output-dir", place("none"));
}

static void skip_without_zip(result r)
{
    if (!strstr(r.err, "libzip")) return;
    release(r);
    skip();
}

#define SERIES HONE_TEST_DATA "/data/series.npz"

static void test_npz_arrays_are_learnt_and_told(void **unused)
{
    (void)unused;
    result r = HONE_RUN(NULL, "train", "--data", SERIES, "--output-dir", place("npz"), "--arch", "flatten", "--learning-rate", "0.02",
                        "--batch-size", "16", "--epochs", "200", "--patience", "50", "--optimizer", "nadam", "--loss", "huber", "--json");
    skip_without_zip(r);
    check(r, 0, "series.npz: x is sequences [80, 6, 2], y a quantity");
    json_lines(r.out, keep);
    if (number("r2") < 0.95) fail_msg("r2 %g: %s", number("r2"), r.err);
    release(r);
    r = HONE_RUN(NULL, "eval", "--model", place("npz"), "--data", SERIES, "--json");
    check(r, 0, NULL);
    json_lines(r.out, keep);
    assert_true(number("rows") == 80 && number("r2") > 0.95);
    release(r);
    r = HONE_RUN(NULL, "predict", "--model", place("npz"), "--data", SERIES, "--json");
    check(r, 0, NULL);
    assert_int_equal(json_lines(r.out, keep), 80);
    release(r);
    r = HONE_RUN(NULL, "train", "--data", SERIES, "--target", "kind", "--output-dir", place("kind"), "--epochs", "2");
    check(r, 0, "network: gru 64 bidirectional, dropout 0.3, dense 2 softmax");
    assert_non_null(strstr(r.err, "x is sequences [80, 6, 2], y a class"));
    assert_non_null(strstr(r.out, "-2")); /* the classes are the numbers */
    release(r);
    r = HONE_RUN(NULL, "train", "--data", SERIES, "--validation", SERIES, "--test", SERIES, "--output-dir", place("none"), "--arch", "flatten",
                 "--epochs", "1", "--json");
    check(r, 0, "network: flatten, dense 1");
    json_lines(r.out, keep);
    assert_int_equal((int)number("rows"), 80);
    release(r);
    REFUSES(1, "plain.npz has no array 'x'", "train", "--data", SERIES, "--validation", HONE_TEST_DATA "/data/plain.npz", "--output-dir",
            place("none"), "--quiet");
    REFUSES(1, "has no array 'kin'; there are: x, y, kind, pair", "train", "--data", SERIES, "--target", "kin", "--output-dir", place("none"));
    REFUSES(1, "y must have one number for each of the 80 rows of x, not 160", "train", "--data", SERIES, "--target", "pair", "--output-dir",
            place("none"));
    REFUSES(1, "these are no classes; --learn quantity?", "train", "--data", SERIES, "--learn", "classes", "--output-dir", place("none"));
    REFUSES(1, "series.npz has arrays: --text is for texts", "train", "--data", SERIES, "--text", "x", "--output-dir", place("none"));
    REFUSES(1, "has no array 'x'; there are: a, b, c", "train", "--data", HONE_TEST_DATA "/data/plain.npz", "--output-dir", place("none"));
    REFUSES(1, "--class-weights is for classes, and the target is a quantity", "train", "--data", SERIES, "--class-weights", "balanced",
            "--output-dir", place("none"), "--quiet");
    REFUSES(1, "--loss is for quantities, and the target is one of several classes", "train", "--data", SERIES, "--target", "kind", "--loss",
            "mae", "--output-dir", place("none"), "--quiet");
    write_all(place("void.NPZ"), "");
    REFUSES(1, "void.NPZ: is no .npz file: it is empty", "train", "--data", place("void.NPZ"), "--output-dir", place("none"));
    char *task = read_all(place("npz/task.json")), *shape = strstr(task, "\"layout\": \"sequences\"");
    assert_non_null(shape);
    memcpy(shape, "\"layout\": \"pictures\" ", 21);
    write_all(place("npz/task.json"), task);
    REFUSES(1, "what it says of arrays is not whole", "predict", "--model", place("npz"), "--data", SERIES);
    free(task);
}

/* x [40, 2] and y, of which row i is `y` of i. */
static void write_arrays(const char *name, double (*y)(int i))
{
    float x[80], targets[40];
    for (int i = 0; i < 40; i++) targets[i] = (float)y(i), x[2 * i] = (float)draw(100), x[2 * i + 1] = targets[i];
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_tensor *tx = hone_tensor_from_f32(ctx, HONE_SHAPE(40, 2), x), *ty = hone_tensor_from_f32(ctx, HONE_SHAPE(40), targets);
    assert_hone_ok(ctx, hone_npz_save(ctx, place(name), (const hone_named_tensor[]){{"x", tx}, {"y", ty}}, 2, false));
    hone_tensor_free(tx), hone_tensor_free(ty);
    hone_ctx_release(ctx);
}

static double two(int i) { return i % 2 ? 1 : -1; }
static double ten(int i) { return i % 10; }
static double forty(int i) { return i; }
static double halves(int i) { return i % 2 ? 0.5 : 1; }

/* Floats are what their values look like, as the numbers of a table. */
static void test_few_whole_numbers_are_classes_as_floats_too(void **unused)
{
    (void)unused;
    static const struct {
        const char *name;
        double (*y)(int i);
        const char *says;
    } cases[] = {{"two.npz", two, "y a class"}, {"ten.npz", ten, "y a class"}, {"forty.npz", forty, "y a quantity"},
                 {"halves.npz", halves, "y a quantity"}};
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_npz *npz = hone_npz_load(ctx, SERIES);
    bool zip = hone_ctx_status(ctx) != HONE_UNSUPPORTED;
    hone_npz_free(npz);
    hone_ctx_release(ctx);
    if (!zip) skip();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_arrays(cases[i].name, cases[i].y);
        result r = HONE_RUN(NULL, "train", "--data", place(cases[i].name), "--output-dir", place("floats"), "--epochs", "1");
        check(r, 0, cases[i].says);
        release(r);
    }
    result r = HONE_RUN(NULL, "train", "--data", place("ten.npz"), "--learn", "quantity", "--output-dir", place("floats"), "--epochs", "1");
    check(r, 0, "y a quantity");
    release(r);
}

/* ---- texts ---- */

static const char *const good[] = {"lovely", "brilliant", "moving", "funny", "superb"};
static const char *const bad[] = {"dull", "awful", "clumsy", "tedious", "poor"};
static const char *const filler[] = {"the", "film", "a", "story", "with", "actors", "and", "music", "of", "it"};

static void write_text(char text[256], bool positive)
{
    int n = 6 + draw(8), at = draw(n);
    text[0] = 0;
    for (int i = 0; i < n; i++) {
        strcat(text, i ? " " : "");
        strcat(text, i == at ? (positive ? good : bad)[draw(5)] : filler[draw(10)]);
    }
}

static void make_texts(const char *name, int n, bool with_stars)
{
    char text[256];
    FILE *file = fopen(place(name), "w");
    bool jsonl = strstr(name, ".jsonl");
    if (!jsonl) fprintf(file, "id\treview\tlabel%s\n", with_stars ? "\tstars" : "");
    for (int i = 0; i < n; i++) {
        bool positive = draw(2);
        write_text(text, positive);
        if (jsonl)
            fprintf(file, "{\"review\": \"%s\", \"label\": \"%s\"}\n", text, positive ? "good" : "bad");
        else
            fprintf(file, "%d\t%s\t%s%s\n", i, text, positive ? "good" : "bad", with_stars ? i % 2 ? "\t4" : "\t5" : "");
    }
    fclose(file);
}

static void test_texts_are_learnt_and_told(void **unused)
{
    (void)unused;
    make_texts("reviews.tsv", 500, false);
    result r = HONE_RUN(NULL, "train", "--data", place("reviews.tsv"), "--target", "label", "--output-dir", place("critic"), "--epochs", "20",
                        "--patience", "20", "--learning-rate", "0.01", "--batch-size", "16", "--json");
    check(r, 0, "'id' is left out: only 'review' is read");
    assert_non_null(strstr(r.err, "'review' is read: 20 words are known"));
    assert_non_null(strstr(r.err, "network: embedding 22 64 padding, dropout 0.5, permute 2x1, global_average_pool, dropout 0.3, dense 2 softmax"));
    json_lines(r.out, keep);
    if (number("accuracy") < 0.9) fail_msg("accuracy %g: %s", number("accuracy"), r.err);
    release(r);
    make_texts("more.jsonl", 60, false);
    r = HONE_RUN(NULL, "eval", "--model", place("critic"), "--data", place("more.jsonl"), "--json");
    check(r, 0, "60 rows, 2 columns; 0 rows have no label");
    json_lines(r.out, keep);
    assert_true(number("rows") == 60 && number("accuracy") > 0.9);
    release(r);
    r = HONE_RUN(NULL, "train", "--data", place("reviews.tsv"), "--validation", place("more.jsonl"), "--test", place("more.jsonl"), "--target", "label",
                 "--output-dir", place("none"), "--epochs", "1", "--json");
    check(r, 0, "more.jsonl: 60 rows, 2 columns");
    json_lines(r.out, keep);
    assert_int_equal((int)number("rows"), 60);
    release(r);
    write_all(place("one.csv"), "review\na superb story and music\n\"dull, DULL film\"\n");
    r = HONE_RUN(NULL, "predict", "--model", place("critic"), "--data", place("one.csv"));
    check(r, 0, NULL);
    const char *first = "row,prediction,probability_bad,probability_good\n0,good,";
    assert_memory_equal(r.out, first, strlen(first));
    assert_non_null(strstr(r.out, "\n1,bad,"));
    release(r);
    write_all(place("other.csv"), "text\nx\n");
    REFUSES(1, "column 'review' is missing", "predict", "--model", place("critic"), "--data", place("other.csv"));
    write_all(place("numbers.csv"), "review\n1\n");
    r = HONE_RUN(NULL, "predict", "--model", place("critic"), "--data", place("numbers.csv"));
    check(r, 0, NULL);
    release(r);
    write_all(place("critic/vocabulary.json"), "{}");
    REFUSES(1, "is no vocabulary of version 1", "predict", "--model", place("critic"), "--data", place("one.csv"));
}

/* A column beside the texts that may say something makes it a table, unless one asks. */
static void test_the_column_of_texts_is_found_or_named(void **unused)
{
    (void)unused;
    make_texts("stars.tsv", 60, true);
    result r = HONE_RUN(NULL, "train", "--data", place("stars.tsv"), "--target", "label", "--output-dir", place("stars"), "--epochs", "1");
    check(r, 0, "'review' holds texts, and there are columns beside it: a table's network does not read words, and is learnt from those columns; `--text review` would");
    assert_non_null(strstr(r.err, "network: dense 64 relu"));
    release(r);
    r = HONE_RUN(NULL, "train", "--data", place("stars.tsv"), "--target", "label", "--output-dir", place("stars"), "--epochs", "1", "--text",
                 "review", "--arch", "gru 8 bidirectional");
    check(r, 0, " 64 padding, gru 8 bidirectional, dense 2 softmax");
    release(r);
    REFUSES(1, "--text: there is no column 'revue'", "train", "--data", place("stars.tsv"), "--target", "label", "--output-dir", place("none"),
            "--text", "revue", "--quiet");
    REFUSES(1, "--augment is for pictures, and ", "train", "--data", place("stars.tsv"), "--target", "label", "--output-dir", place("none"),
            "--text", "review", "--augment", "none");
    REFUSES(1, "--text: column 'id' is numbers", "train", "--data", place("stars.tsv"), "--target", "label", "--output-dir", place("none"),
            "--text", "id", "--quiet");
    REFUSES(1, "--text: column 'label' is the target", "train", "--data", place("stars.tsv"), "--target", "label", "--output-dir",
            place("none"), "--text", "label", "--quiet");
}

static int clean_up(void **unused)
{
    json_decref(last);
    return scratch_remove(unused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pictures_are_learnt_and_told),
        cmocka_unit_test(test_learning_from_pictures_goes_on),
        cmocka_unit_test(test_pictures_in_colour_of_a_size_and_an_arch),
        cmocka_unit_test(test_pictures_that_cannot_be_learnt_are_refused),
        cmocka_unit_test(test_a_broken_picture_is_named_before_training),
        cmocka_unit_test(test_sounds_of_one_class_are_refused),
        cmocka_unit_test(test_sounds_are_learnt_and_told),
        cmocka_unit_test(test_what_strayed_into_a_folder_does_not_decide),
        cmocka_unit_test(test_idx_pairs_are_learnt_and_told),
        cmocka_unit_test(test_npz_arrays_are_learnt_and_told),
        cmocka_unit_test(test_few_whole_numbers_are_classes_as_floats_too),
        cmocka_unit_test(test_texts_are_learnt_and_told),
        cmocka_unit_test(test_the_column_of_texts_is_found_or_named),
    };
    return cmocka_run_group_tests(tests, make_folder, clean_up);
}
