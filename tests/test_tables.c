/* hone train, predict and eval on tables, as a user would run them. */
#include "program.h"

#define IRIS HONE_SOURCE_DIR "/examples/data/iris.csv"

static json_t *last; /* the one object that was printed */
static void keep(const json_t *object, size_t line)
{
    (void)line;
    json_decref(last);
    last = json_deep_copy(object);
}
static double number(const char *name) { return json_number_value(json_object_get(last, name)); }

static void test_classes_are_learnt_and_predicted(void **state)
{
    (void)state;
    result r = HONE_RUN(NULL, "train", "--data", IRIS, "--target", "species", "--output-dir", place("iris"), "--json", "--quiet");
    check(r, 0, NULL);
    assert_int_equal(json_lines(r.out, keep), 1);
    assert_int_equal((int)number("rows"), 30);
    assert_true(number("accuracy") > 0.85 && number("f1") > 0.85);
    release(r);
    r = HONE_RUN(NULL, "predict", "--model", place("iris"), "--data", IRIS);
    check(r, 0, NULL);
    const char *head = "row,prediction,probability_setosa,probability_versicolor,probability_virginica\n0,setosa,";
    assert_memory_equal(r.out, head, strlen(head));
    size_t lines = 0, right = 0;
    for (const char *at = r.out; (at = strchr(at, '\n')); lines++) {
        static const char *const names[] = {",setosa,", ",versicolor,", ",virginica,"};
        const char *name = strchr(++at, ',');
        if (*at && !strncmp(name, names[lines / 50], strlen(names[lines / 50]))) right++;
    }
    assert_int_equal(lines, 151);
    assert_true(right >= 138);
    release(r);
    r = HONE_RUN(NULL, "predict", "--model", place("iris"), "--data", IRIS, "--json");
    check(r, 0, NULL);
    assert_int_equal(json_lines(r.out, keep), 150);
    assert_string_equal(json_string_value(json_object_get(last, "prediction")), "virginica");
    release(r);
    r = HONE_RUN(NULL, "train", "--data", IRIS, "--target", "species", "--output-dir", place("again"), "--arch", "8", "--epochs", "3",
                 "--quiet");
    check(r, 0, NULL);
    assert_non_null(strstr(r.out, "macro avg"));
    release(r);
}

/* One file that needs nothing beside it, and that no name or label can break out of. */
static void test_the_report_is_whole_and_safe(void **state)
{
    (void)state;
    FILE *file = fopen(place("evil.csv"), "w");
    assert_non_null(file);
    fputs("\"<b>\"\"x\"\" & y\",kind\n", file);
    for (int i = 0; i < 60; i++) fprintf(file, "%d,%s\n", i, i < 30 ? "<script>alert(1)</script>" : "b & c");
    fclose(file);
    result r = HONE_RUN(NULL, "train", "--data", place("evil.csv"), "--target", "kind", "--output-dir", place("evil"), "--epochs", "3");
    check(r, 0, "report.html tells all of it");
    release(r);
    char *html = read_all(place("evil/report.html"));
    assert_memory_equal(html, "<!DOCTYPE html>", 15);
    assert_non_null(strstr(html, "</html>"));
    static const char *const there[] = {"&lt;script&gt;alert(1)&lt;/script&gt;", "&lt;b&gt;&quot;x&quot; &amp; y", "b &amp; c", "<h2>Result",
                                        "<h2>Data", "<h2>Network", "<h2>Learning", "<h2>Right and wrong", "hone train --data",
                                        "dense 64 relu", "parameters, ", "macro avg", "Epochs as numbers"};
    for (size_t i = 0; i < sizeof there / sizeof *there; i++)
        if (!strstr(html, there[i])) fail_msg("report.html lacks %s", there[i]);
    static const char *const not_there[] = {"<script", "<b>\"", "src=\"http", "src=\"loss", "<link", "@import", "url("};
    for (size_t i = 0; i < sizeof not_there / sizeof *not_there; i++)
        if (strstr(html, not_there[i])) fail_msg("report.html has %s", not_there[i]);
    if (access(place("evil/loss.svg"), R_OK) == 0) assert_non_null(strstr(html, "src=\"data:image/svg+xml,"));
    free(html);
}

static void test_eval_measures_other_data(void **state)
{
    (void)state;
    result r = HONE_RUN(NULL, "eval", "--model", place("iris"), "--data", IRIS, "--json", "--quiet");
    check(r, 0, NULL);
    json_lines(r.out, keep);
    assert_true(number("rows") == 150 && number("accuracy") > 0.92 && number("f1") > 0.92);
    release(r);
    r = HONE_RUN(NULL, "eval", "--model", place("homes"), "--data", place("homes.csv"));
    check(r, 0, "6 rows have no price");
    assert_memory_equal(r.out, "mae ", 4);
    assert_non_null(strstr(r.out, "\nr2         0.9"));
    release(r);
    write_all(place("rose.csv"), "sepal_length,sepal_width,petal_length,petal_width,species\n1,2,3,4,rose\n");
    REFUSES(1, "'species' is 'rose' in a row, which is none of the 3 classes", "eval", "--model", place("iris"), "--data", place("rose.csv"),
            "--quiet");
    REFUSES(1, "has no column 'price'", "eval", "--model", place("homes"), "--data", IRIS);
    REFUSES(2, "--labels is for language models", "eval", "--model", place("iris"), "--data", IRIS, "--labels", "a,b");
    write_all(place("words.csv"), "city,a,price\nRome,3,dear\n");
    REFUSES(1, "'price' is a quantity for this model, and text here: 'dear'", "eval", "--model", place("homes"), "--data", place("words.csv"),
            "--quiet");
}

static void test_networks_are_written_by_hand(void **state)
{
    (void)state;
    result r = HONE_RUN(NULL, "train", "--data", IRIS, "--target", "species", "--output-dir", place("hand"), "--epochs", "2", "--arch",
                        "dense 12 tanh, dropout 0.2, 6");
    check(r, 0, "network: dense 12 tanh, dropout 0.2, 6, dense 3 softmax");
    release(r);
    write_all(place("run.yaml"), "target: species\nepochs: 2\narch:\n  - dense 12 gelu no_bias\n  - batch_norm\n  - dense 5 relu\n");
    r = HONE_RUN(NULL, "train", "--data", IRIS, "--config", place("run.yaml"), "--output-dir", place("hand"));
    check(r, 0, "network: dense 12 gelu no_bias,batch_norm,dense 5 relu, dense 3 softmax");
    release(r);
    write_all(place("bad.yaml"), "target: species\narch:\n  - dense: 12\n");
    REFUSES(2, "arch: a list of plain values is expected", "train", "--data", IRIS, "--config", place("bad.yaml"), "--output-dir",
            place("none"));
    REFUSES(2, "--arch: layer 2: there is no layer 'dropuot'; there are", "train", "--data", IRIS, "--target", "species", "--output-dir",
            place("none"), "--arch", "dense 8, dropuot 0.1");
    REFUSES(2, "dense: 'rleu' is none of its options; they are units, activation (none|relu|", "train", "--data", IRIS, "--target", "species",
            "--output-dir", place("none"), "--arch", "dense 8 rleu");
    REFUSES(1, "--arch: ", "train", "--quiet", "--data", IRIS, "--target", "species", "--output-dir", place("none"), "--arch", "conv2d 8 3");
    FILE *file = fopen(place("rows.jsonl"), "w");
    for (int i = 0; i < 40; i++) fprintf(file, "{\"size\": %d, \"big\": %s}\n", i, i < 20 ? "false" : "true");
    fclose(file);
    r = HONE_RUN(NULL, "train", "--data", place("rows.jsonl"), "--target", "big", "--output-dir", place("jsonl"), "--epochs", "2");
    check(r, 0, "'big' is one of 2 classes");
    release(r);
}

/* 10 a + 1000 in Rome, 2000 in Oslo; with names that tell nothing, missing values, and numbers with points in few rows alone. */
static void test_quantities_are_answered_in_their_own_unit(void **state)
{
    (void)state;
    FILE *file = fopen(place("homes.csv"), "w");
    assert_non_null(file);
    fputs("name,city,a,price\n", file);
    for (int i = 0; i < 300; i++) {
        int a = i * 37 % 101;
        fprintf(file, "\"home, %d\",%s,", i, i % 2 ? "Rome" : "Oslo");
        fprintf(file, i % 20 == 7 ? "," : "%d,", a);
        if (i % 50 == 3)
            fputs("\n", file);
        else
            fprintf(file, i % 30 == 5 ? "%d.5\n" : "%d\n", 10 * (i % 20 == 7 ? 50 : a) + (i % 2 ? 1000 : 2000));
    }
    fclose(file);
    result r = HONE_RUN(NULL, "train", "--data", place("homes.csv"), "--target", "price", "--output-dir", place("homes"), "--json");
    check(r, 0, "'name' is left out: 300 different texts");
    assert_non_null(strstr(r.err, "300 rows, 4 columns; 6 rows have no price\n'price' is a quantity"));
    assert_int_equal(json_lines(r.out, keep), 1);
    assert_true(number("r2") > 0.95);
    release(r);
    write_all(place("new.csv"), "city,a\nRome,20\nOslo,20\nParis,\n");
    r = HONE_RUN(NULL, "predict", "--model", place("homes"), "--data", place("new.csv"));
    check(r, 0, NULL);
    double rome, oslo, paris;
    assert_int_equal(sscanf(r.out, "row,prediction\n0,%lf\n1,%lf\n2,%lf\n", &rome, &oslo, &paris), 3);
    assert_true(rome > 1000 && rome < 1400 && oslo > 2000 && oslo < 2400 && paris > 1000 && paris < 3000);
    release(r);
    write_all(place("bad.csv"), "city\nRome\n");
    REFUSES(1, "column 'a' is missing", "predict", "--model", place("homes"), "--data", place("bad.csv"));
}

static void test_wrong_usage_is_told(void **state)
{
    (void)state;
    REFUSES(1, "has no column 'specis'; did you mean 'species'?", "train", "--data", IRIS, "--target", "specis", "--output-dir",
            place("none"));
    REFUSES(1, "no-such.csv: No such file", "train", "--data", "no-such.csv", "--target", "x", "--output-dir", place("none"));
    REFUSES(2, "--arch: layer 2 is empty", "train", "--data", IRIS, "--target", "species", "--output-dir", place("none"), "--arch", "8,,2");
    REFUSES(1, "--target COLUMN is missing", "train", "--data", IRIS, "--output-dir", place("none"));
    REFUSES(1, "leaves none to test on", "train", "--data", IRIS, "--target", "species", "--output-dir", place("none"), "--quiet", "--test-share",
            "0.001");
    REFUSES(1, "No such file or directory", "train", "--data", IRIS, "--target", "species", "--output-dir", place("no/such"));
    write_all(place("same.csv"), "a,b\n1,x\n2,x\n3,x\n4,x\n5,x\n6,x\n7,x\n8,x\n9,x\n10,x\n");
    REFUSES(1, "'b' is 'x' in every row", "train", "--data", place("same.csv"), "--target", "b", "--output-dir", place("none"), "--quiet");
    REFUSES(1, "task.json: ", "predict", "--model", place("nothing"), "--data", IRIS);
    write_all(place("few.csv"), "a,b\n1,2\n3,4\n");
    REFUSES(1, "2 rows with a target are too few", "train", "--data", place("few.csv"), "--target", "b", "--output-dir", place("none"));
}

static int clean_up(void **state)
{
    json_decref(last);
    return scratch_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes_are_learnt_and_predicted),
        cmocka_unit_test(test_quantities_are_answered_in_their_own_unit),
        cmocka_unit_test(test_the_report_is_whole_and_safe),
        cmocka_unit_test(test_eval_measures_other_data),
        cmocka_unit_test(test_networks_are_written_by_hand),
        cmocka_unit_test(test_wrong_usage_is_told),
    };
    return cmocka_run_group_tests(tests, make_folder, clean_up);
}
