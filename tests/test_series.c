/* hone train --forecast, predict and eval on series, as a user would run them. */
#include "program.h"

#include <math.h>

static json_t *last; /* the last object that was printed */
static void keep(const json_t *object, size_t line)
{
    (void)line;
    json_decref(last);
    last = json_deep_copy(object);
}
static double number(const char *name) { return json_number_value(json_object_get(last, name)); }

/* The same numbers everywhere, in [-0.5, 0.5). */
static uint32_t drawn = 1;
static double noise(void)
{
    drawn = drawn * 1664525u + 1013904223u;
    return (double)(drawn >> 8) / (1 << 24) - 0.5;
}

/* As airline passengers: a season of 12 that grows with the level, and a trend. */
static double passengers(int i) { return exp(5 + 0.01 * i + 0.3 * sin(6.283185307179586 * i / 12) + 0.15 * cos(6.283185307179586 * i / 4) + 0.05 * noise()); }

static void write_series(const char *name, int from, int to, double (*value)(int i))
{
    FILE *file = fopen(place(name), "w");
    assert_non_null(file);
    fputs("month,value\n", file);
    drawn = 1;
    for (int i = 0; i < to; i++) {
        double v = value(i); /* also those before: the noise is the same */
        if (i >= from) fprintf(file, "%d-%02d,%.6g\n", 1900 + i / 12, i % 12 + 1, v);
    }
    fclose(file);
}

#define FORECAST(data, n, to, ...) "train", "--data", place(data), "--target", "value", "--forecast", n, "--output-dir", place(to), __VA_ARGS__

static void test_a_series_is_learnt_and_forecast(void **unused)
{
    (void)unused;
    write_series("air.csv", 0, 144, passengers);
    result r = HONE_RUN(NULL, FORECAST("air.csv", "12", "air", "--json"));
    check(r, 0, "144 values of 'value', the oldest first; a season of 12 rows was found; the last 24 (as logarithms) say the next 12");
    assert_non_null(strstr(r.err, "network: gru 32, dense 12"));
    json_lines(r.out, keep);
    assert_int_equal((int)number("rows"), 18); /* windows whose next 12 are all among the last 29 */
    assert_true(number("naive_mae") > number("seasonal_naive_mae"));
    if (!(number("mae") < 0.5 * number("seasonal_naive_mae"))) fail_msg("mae %g, %g as a season ago", number("mae"), number("seasonal_naive_mae"));
    release(r);
    char *report = read_all(place("air/report.html"));
    static const char *const there[] = {"<h2>Forecasts", "<tr><td>as a season ago (seasonal naive)</td><td>", "a series of 144 values with a season of 12"};
    for (size_t i = 0; i < sizeof there / sizeof *there; i++)
        if (!strstr(report, there[i])) fail_msg("report.html lacks %s", there[i]);
    free(report);

    /* what comes after the file's end: months that nobody has shown it */
    r = HONE_RUN(NULL, "predict", "--model", place("air"), "--data", place("air.csv"));
    check(r, 0, NULL);
    assert_memory_equal(r.out, "row,prediction\n144,", 19);
    double error = 0, naive = 0, all[156];
    drawn = 1;
    for (int i = 0; i < 156; i++) all[i] = passengers(i);
    const char *at = strchr(r.out, '\n') + 1;
    for (int h = 0; h < 12; h++, at = strchr(at, '\n') + 1) {
        assert_int_equal(strtol(at, (char **)&at, 10), 144 + h);
        error += fabs(strtod(at + 1, NULL) - all[144 + h]) / 12, naive += fabs(all[132 + h] - all[144 + h]) / 12;
    }
    assert_int_equal(*at, 0);
    if (!(error < 0.7 * naive)) fail_msg("mae %g of what comes, %g as a season ago", error, naive);
    release(r);

    /* the same of the last window alone; with more before it, nothing else is seen */
    write_series("end.csv", 120, 144, passengers);
    result whole = HONE_RUN(NULL, "predict", "--model", place("air"), "--data", place("air.csv"), "--json");
    r = HONE_RUN(NULL, "predict", "--model", place("air"), "--data", place("end.csv"), "--json");
    check(r, 0, NULL);
    assert_int_equal(json_lines(r.out, keep), 12);
    double of_end = number("prediction");
    assert_int_equal((int)number("row"), 35);
    json_lines(whole.out, keep);
    assert_true(of_end == number("prediction") && number("row") == 155);
    release(r), release(whole);

    write_series("next.csv", 100, 200, passengers);
    r = HONE_RUN(NULL, "eval", "--model", place("air"), "--data", place("next.csv"), "--json");
    check(r, 0, NULL);
    json_lines(r.out, keep);
    assert_true(number("rows") == 65 && number("mae") < number("seasonal_naive_mae"));
    release(r);
}

/* In the seasonal naive forecast as in what is told of it. */
static void test_naive_forecasts_are_what_they_say(void **unused)
{
    (void)unused;
    FILE *file = fopen(place("steps.csv"), "w");
    fputs("value\n", file);
    double v[80], naive = 0, seasonal = 0;
    for (int i = 0; i < 80; i++) fprintf(file, "%g\n", v[i] = i % 4 * 10 + i / 4 + i % 3);
    fclose(file);
    result r = HONE_RUN(NULL, FORECAST("steps.csv", "5", "steps", "--epochs", "1", "--window", "9", "--json"));
    check(r, 0, "a season of 4 rows was found; the last 9 say the next 5");
    json_lines(r.out, keep);
    int rows = (int)number("rows");
    assert_int_equal(rows, 12); /* the first values to come are numbers 64 to 75 */
    for (int row = 64; row <= 75; row++)
        for (int h = 0; h < 5; h++) naive += fabs(v[row + h] - v[row - 1]), seasonal += fabs(v[row + h] - v[row + h - (h < 4 ? 4 : 8)]);
    assert_true(fabs(number("naive_mae") - naive / 60) < 1e-4);
    assert_true(fabs(number("seasonal_naive_mae") - seasonal / 60) < 1e-4);
    release(r);
}

/* A value that the half of the one before it, and noise, make: there is no season, and the naive forecast is far from the best. */
static double level;
static double returning(int i) { return level = (i ? 0.5 * level : 0) + noise(); }

static void test_a_series_without_a_season_is_learnt_and_goes_on(void **unused)
{
    (void)unused;
    write_series("back.csv", 0, 600, returning);
    result r = HONE_RUN(NULL, FORECAST("back.csv", "3", "back", "--json", "--epochs", "20"));
    check(r, 0, "no season was found; the last 16 say the next 3");
    json_lines(r.out, keep);
    assert_true(number("mae") < 0.95 * number("naive_mae"));
    assert_true(json_is_null(json_object_get(last, "seasonal_naive_mae")));
    release(r);
    for (int i = 0; i < 2; i++) {
        r = HONE_RUN(NULL, FORECAST("back.csv", "3", "parts", "--epochs", i ? "20" : "7", "--save-epochs", "1", i ? "--resume" : "--quiet"));
        check(r, 0, i ? "training goes on after epoch 7" : NULL);
        release(r);
    }
    assert_same_files(place("back/model.safetensors"), place("parts/model.safetensors"));
    REFUSES(1, "--window was not given, now 8", FORECAST("back.csv", "3", "parts", "--window", "8", "--resume", "--quiet"));
    /* a series of its own to stop by and to be measured on */
    write_series("later.csv", 600, 700, returning);
    r = HONE_RUN(NULL, FORECAST("back.csv", "3", "apart", "--validation", place("later.csv"), "--test", place("later.csv"), "--epochs", "3", "--json"));
    check(r, 0, "network: gru 32, dense 3");
    json_lines(r.out, keep);
    assert_int_equal((int)number("rows"), 100 - 16 - 3 + 1);
    release(r);
}

static void test_series_that_cannot_be_learnt_are_refused(void **unused)
{
    (void)unused;
    write_series("air.csv", 0, 144, passengers);
    REFUSES(2, "--window is for --forecast", "train", "--data", place("air.csv"), "--target", "value", "--window", "4", "--output-dir", place("none"));
    REFUSES(2, "--forecast", FORECAST("air.csv", "0", "none", "--quiet"));
    REFUSES(1, "144 values are too few to learn to forecast 50 from", FORECAST("air.csv", "50", "none", "--quiet"));
    REFUSES(1, "leave 1 windows of 85 to learn from, and 8 are needed", FORECAST("air.csv", "12", "none", "--window", "85", "--quiet"));
    REFUSES(1, "140 to see and 12 to come make one window", FORECAST("air.csv", "12", "none", "--window", "140", "--quiet"));
    REFUSES(1, "--text and --forecast exclude each other", FORECAST("air.csv", "12", "none", "--text", "month"));
    REFUSES(1, "--learn classes and --forecast exclude each other", FORECAST("air.csv", "12", "none", "--learn", "classes"));
    REFUSES(1, "--class-weights is for classes", FORECAST("air.csv", "12", "none", "--class-weights", "balanced", "--quiet"));
    REFUSES(1, "--target COLUMN is missing", "train", "--data", place("air.csv"), "--forecast", "3", "--output-dir", place("none"));
    REFUSES(1, "has no column 'valeu'; did you mean 'value'?", "train", "--data", place("air.csv"), "--forecast", "3", "--target", "valeu",
            "--output-dir", place("none"));
    REFUSES(1, "'month' has text, as '1900-01'", "train", "--data", place("air.csv"), "--forecast", "3", "--target", "month", "--output-dir", place("none"));
    REFUSES(1, "has arrays: --forecast is for a column of a table", "train", "--data", HONE_TEST_DATA "/data/series.npz", "--forecast", "3",
            "--output-dir", place("none"));
    REFUSES(1, "--forecast is for tables", "train", "--data", place("."), "--forecast", "3", "--output-dir", place("none"));
    write_all(place("gap.csv"), "month,value\n1,3\n2,\n3,4\n");
    REFUSES(1, "gap.csv: row 1 has no value", FORECAST("gap.csv", "1", "none", "--quiet"));
    write_all(place("back.csv"), "month,value\n2024-03,3\n2024-02,4\n2024-01,4\n");
    REFUSES(1, "'month' runs backwards: a series has its oldest row first", FORECAST("back.csv", "1", "none", "--quiet"));
    FILE *file = fopen(place("line.csv"), "w");
    fputs("value\n", file);
    for (int i = 0; i < 100; i++) fprintf(file, "%d\n", 3 * i);
    fclose(file);
    REFUSES(1, "'value' changes by the same from row to row: there is nothing to learn", FORECAST("line.csv", "2", "none", "--quiet"));
    write_all(place("few.csv"), "value\n1\n2\n");
    REFUSES(1, "few.csv: 2 values are too few: the next ones are forecast from the last 24", "predict", "--model", place("air"), "--data", place("few.csv"));
    REFUSES(1, "24 to see and 12 to come make one window", "eval", "--model", place("air"), "--data", place("few.csv"));
    file = fopen(place("low.csv"), "w");
    fputs("value\n", file);
    for (int i = 0; i < 30; i++) fprintf(file, "%d\n", 20 - i);
    fclose(file);
    REFUSES(1, "low.csv: 'value' is 0 in row 20: only values above 0 were learnt from", "predict", "--model", place("air"), "--data", place("low.csv"));
    write_all(place("years.csv"), "year,value\n2024,3\n2023,4\n2022,4\n");
    REFUSES(1, "'year' falls from row to row: if it is the time, turn the rows around", FORECAST("years.csv", "1", "none", "--seed", "0"));
    char *task = read_all(place("air/task.json")), *season = strstr(task, "\"season\": 12");
    assert_non_null(season);
    memcpy(season, "\"season\": 99", 12);
    write_all(place("air/task.json"), task);
    REFUSES(1, "what it says of a series is not whole", "predict", "--model", place("air"), "--data", place("air.csv"));
    free(task);
}

static double none_long_ago(int i) { return i ? passengers(i) : 0 * passengers(i); }
static double none_of_late(int i) { return i == 130 ? 0 * passengers(i) : passengers(i); }

/* What no forecast looks at may have no logarithm; where a value to be measured on has none, none are taken. */
static void test_values_of_zero_are_no_end(void **unused)
{
    (void)unused;
    write_series("old.csv", 0, 144, none_long_ago);
    write_series("late.csv", 0, 144, none_of_late);
    write_series("air.csv", 0, 144, passengers);
    result r = HONE_RUN(NULL, FORECAST("air.csv", "12", "taken", "--epochs", "1"));
    check(r, 0, "the last 24 (as logarithms) say the next 12");
    release(r);
    result same = HONE_RUN(NULL, "predict", "--model", place("taken"), "--data", place("air.csv"));
    r = HONE_RUN(NULL, "predict", "--model", place("taken"), "--data", place("old.csv"));
    check(r, 0, NULL);
    assert_string_equal(r.out, same.out);
    release(r), release(same);
    r = HONE_RUN(NULL, FORECAST("late.csv", "12", "late", "--epochs", "1"));
    check(r, 0, "the last 24 say the next 12");
    release(r);
}

static int clean_up(void **unused)
{
    json_decref(last);
    return scratch_remove(unused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_series_is_learnt_and_forecast),
        cmocka_unit_test(test_naive_forecasts_are_what_they_say),
        cmocka_unit_test(test_a_series_without_a_season_is_learnt_and_goes_on),
        cmocka_unit_test(test_values_of_zero_are_no_end),
        cmocka_unit_test(test_series_that_cannot_be_learnt_are_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, clean_up);
}
