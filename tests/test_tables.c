/* hone train, predict and eval on tables, as a user would run them. */
#include "tables_tools.h"

#include <dirent.h>
#include <sys/stat.h>

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
    /* Rows of one class: the means are over all classes, as those of the report. */
    write_all(place("setosa.csv"), "sepal_length,sepal_width,petal_length,petal_width,species\n5.1,3.5,1.4,0.2,setosa\n4.9,3,1.4,0.2,setosa\n");
    r = HONE_RUN(NULL, "eval", "--model", place("iris"), "--data", place("setosa.csv"));
    check(r, 0, "2 rows, 5 columns");
    const char *means = "accuracy   1.0000\nprecision  0.3333\nrecall     0.3333\nf1         0.3333\n";
    assert_memory_equal(r.out, means, strlen(means));
    assert_non_null(strstr(r.out, "macro avg     0.3333    0.3333    0.3333         2\n"));
    release(r);
    r = HONE_RUN(NULL, "train", "--data", IRIS, "--target", "species", "--output-dir", place("again"), "--arch", "8", "--epochs", "3",
                 "--quiet");
    check(r, 0, NULL);
    assert_non_null(strstr(r.out, "macro avg"));
    release(r);
}

static int event_files(const char *folder)
{
    DIR *open = opendir(folder);
    int n = 0;
    for (struct dirent *e; open && (e = readdir(open));) n += strncmp(e->d_name, "events.out.", 11) == 0;
    if (open) closedir(open);
    return n;
}

static void test_an_epoch_is_told_and_dtype_is_obeyed(void **state)
{
    (void)state;
    result r = HONE_RUN(NULL, "train", "--data", IRIS, "--target", "species", "--output-dir", place("told"), "--epochs", "3", "--quiet");
    check(r, 0, NULL);
    release(r);
    char *lines = read_all(place("told/metrics.jsonl"));
    assert_int_equal(json_lines(lines, keep), 3);
    assert_true(number("learning_rate") == 0.002 && number("seconds") > 0 && number("eval_loss") > 0);
    free(lines);
    assert_int_equal(event_files(place("told/train")), 1);
    assert_int_equal(event_files(place("told/validation")), 1);
    write_all(place("told/train/events.out.tfevents.1700000000.host.42.0.v2"), "of another program");
    r = HONE_RUN(NULL, "train", "--data", IRIS, "--target", "species", "--output-dir", place("told"), "--epochs", "1");
    check(r, 0, "told/model.safetensors is there already, and is replaced when this training ends");
    release(r);
    assert_int_equal(event_files(place("told/train")), 2);
    assert_int_equal(event_files(place("told/validation")), 1);
    assert_int_equal(access(place("told/train/events.out.tfevents.1700000000.host.42.0.v2"), F_OK), 0);
    result by[3];
    for (int i = 0; i < 3; i++) {
        static const char *const types[] = {"auto", "f32", "bf16"};
        by[i] = HONE_RUN(NULL, "predict", "--model", place("told"), "--data", IRIS, "--dtype", types[i]);
        check(by[i], 0, NULL);
    }
    assert_string_equal(by[0].out, by[1].out); /* a table */
    assert_string_not_equal(by[0].out, by[2].out);
    for (int i = 0; i < 3; i++) release(by[i]);
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
                                        "dense 64 relu", "parameters, ", "macro avg", "Epochs as numbers",
                                        "<h2>ROC curve", "The class is <b>b &amp; c</b>", "<tr><td>b &amp; c</td><td>"};
    for (size_t i = 0; i < sizeof there / sizeof *there; i++)
        if (!strstr(html, there[i])) fail_msg("report.html lacks %s", there[i]);
    static const char *const not_there[] = {"<script", "<b>\"", "src=\"http", "src=\"loss", "<link", "@import", "url("};
    for (size_t i = 0; i < sizeof not_there / sizeof *not_there; i++)
        if (strstr(html, not_there[i])) fail_msg("report.html has %s", not_there[i]);
    if (access(place("evil/loss.svg"), R_OK) == 0) {
        assert_non_null(strstr(html, "src=\"data:image/svg+xml,"));
        assert_non_null(strstr(html, "<img alt=\"ROC curve\" src=\"data:image/svg+xml,"));
    }
    free(html);
}

static void test_eval_measures_other_data(void **state)
{
    (void)state;
    result r = HONE_RUN(NULL, "eval", "--model", place("iris"), "--data", IRIS, "--json", "--quiet");
    check(r, 0, NULL);
    json_lines(r.out, keep);
    assert_true(number("rows") == 150 && number("accuracy") > 0.92 && number("f1") > 0.92);
    assert_true(number("roc_auc") > 0.98 && number("roc_auc") <= 1);
    release(r);
    /* without some class, its curve and its share of the mean are not there */
    write_all(place("rest.csv"), "sepal_length,sepal_width,petal_length,petal_width,species\n5.1,3.5,1.4,0.2,setosa\n"
                                 "6.4,3.2,4.5,1.5,versicolor\n4.9,3,1.4,0.2,setosa\n");
    r = HONE_RUN(NULL, "eval", "--model", place("iris"), "--data", place("rest.csv"), "--json", "--quiet");
    check(r, 0, NULL);
    json_lines(r.out, keep);
    assert_true(number("rows") == 3 && number("roc_auc") == 1);
    release(r);
    write_all(place("rest.csv"), "sepal_length,sepal_width,petal_length,petal_width,species\n5.1,3.5,1.4,0.2,setosa\n");
    r = HONE_RUN(NULL, "eval", "--model", place("iris"), "--data", place("rest.csv"), "--json", "--quiet");
    check(r, 0, NULL);
    assert_non_null(strstr(r.out, "\"roc_auc\":null"));
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

static void test_rows_to_stop_by_and_to_measure_come_from_other_files(void **state)
{
    (void)state;
    write_irises("learn.csv", 0, 2, "");
    write_irises("stop.csv", 1, 4, "");
    write_irises("final.csv", 3, 4, "");
    result r = HONE_RUN(NULL, "train", "--data", place("learn.csv"), "--validation", place("stop.csv"), "--test", place("final.csv"), "--target",
                        "species", "--output-dir", place("parted-iris"), "--epochs", "60", "--json");
    check(r, 0, "stop.csv: 38 rows, 5 columns");
    json_lines(r.out, keep);
    assert_true(number("rows") == 37 && number("accuracy") > 0.9);
    char out[400];
    snprintf(out, sizeof out, "%s", r.out);
    release(r);
    char *html = read_all(place("parted-iris/report.html"));
    assert_non_null(strstr(html, ": 75 rows; 75 to learn from, 38 to say when to stop, 37 held out for the result."));
    assert_non_null(strstr(html, "/stop.csv</b> says when to stop. <b>"));
    free(html);
    /* what is told of the test is what eval says of it */
    r = HONE_RUN(NULL, "eval", "--model", place("parted-iris"), "--data", place("final.csv"), "--json", "--quiet");
    check(r, 0, NULL);
    assert_string_equal(r.out, out);
    release(r);
    /* one of them alone: the other is a share */
    r = HONE_RUN(NULL, "train", "--data", IRIS, "--validation", place("stop.csv"), "--target", "species", "--output-dir", place("parted-iris"),
                 "--epochs", "1", "--json");
    check(r, 0, "stop.csv: 38 rows");
    json_lines(r.out, keep);
    assert_true(number("rows") == 30);
    release(r);
    html = read_all(place("parted-iris/report.html"));
    assert_non_null(strstr(html, ": 150 rows; 120 to learn from, 38 to say when to stop, 30 held out"));
    free(html);
    r = HONE_RUN(NULL, "train", "--data", place("learn.csv"), "--test", place("final.csv"), "--target", "species", "--output-dir",
                 place("parted-iris"), "--epochs", "1", "--quiet");
    check(r, 0, NULL);
    release(r);
    html = read_all(place("parted-iris/report.html"));
    assert_non_null(strstr(html, ": 75 rows; 64 to learn from, 11 to say when to stop, 37 held out"));
    free(html);
#define OTHER(option, file) \
    "train", "--data", place("learn.csv"), option, place(file), "--target", "species", "--output-dir", place("none"), "--quiet"
    write_irises("rose.csv", 0, 9, "1,2,3,4,rose\n");
    REFUSES(1, "rose.csv: 'species' is 'rose' in a row, which is none of the 3 classes", OTHER("--validation", "rose.csv"));
    REFUSES(1, "rose.csv: 'species' is 'rose' in a row", OTHER("--test", "rose.csv"));
    write_all(place("narrow.csv"), "sepal_length,sepal_width,petal_length,species\n1,2,3,setosa\n");
    REFUSES(1, "narrow.csv: column 'petal_width' is missing", OTHER("--validation", "narrow.csv"));
    write_all(place("narrow.csv"), "sepal_length,sepal_width,petal_length,petal_width\n1,2,3,4\n");
    REFUSES(1, "narrow.csv has no column 'species'", OTHER("--test", "narrow.csv"));
    write_all(place("narrow.csv"), "sepal_length,sepal_width,petal_length,petal_width,species\n1,2,3,broad,setosa\n");
    REFUSES(1, "narrow.csv: ", OTHER("--test", "narrow.csv"));
    REFUSES(1, "nowhere.csv: ", OTHER("--validation", "nowhere.csv"));
    REFUSES(1, "a table is expected, as in training", OTHER("--validation", "picture.png"));
    REFUSES(2, "--test and --test-share exclude each other", OTHER("--test", "final.csv"), "--test-share", "0.2");
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
    check(r, 0, "network: dense 12 gelu no_bias, batch_norm, dense 5 relu, dense 3 softmax");
    release(r);
    char *html = read_all(place("hand/report.html"));
    assert_non_null(strstr(html, "<pre>--target species --epochs 2 --arch &#39;dense 12 gelu no_bias, batch_norm, dense 5 relu&#39;</pre>"));
    free(html);
    write_all(place("bad.yaml"), "target: species\narch:\n  - dense: 12\n");
    REFUSES(2, "arch: a list of plain values is expected", "train", "--data", IRIS, "--config", place("bad.yaml"), "--output-dir",
            place("none"));
    REFUSES(2, "--arch: layer 2: there is no layer 'dropuot'; there are", "train", "--data", IRIS, "--target", "species", "--output-dir",
            place("none"), "--arch", "dense 8, dropuot 0.1");
    REFUSES(2, "dense: 'rleu' is none of its options; they are units, activation (none|relu|", "train", "--data", IRIS, "--target", "species",
            "--output-dir", place("none"), "--arch", "dense 8 rleu");
    REFUSES(2, "option 'units' is 100000000; at most 16777216 is possible", "train", "--data", IRIS, "--target", "species", "--output-dir",
            place("none"), "--arch", "dense 100000000");
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
    check(r, 0, "'name' is left out: nearly every row has another text");
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
    REFUSES(1, "no-such.csv: No such file", "train", "--data", "no-such.csv", "--output-dir", place("none"));
    REFUSES(1, "no-such.csv: No such file", "train", "--data", "no-such.csv", "--target", "x", "--output-dir", place("none"));
    REFUSES(2, "--arch: layer 2 is empty", "train", "--data", IRIS, "--target", "species", "--output-dir", place("none"), "--arch", "8,,2");
    REFUSES(1, "--target COLUMN is missing", "train", "--data", IRIS, "--output-dir", place("none"));
    REFUSES(1, "leaves none to test on", "train", "--data", IRIS, "--target", "species", "--output-dir", place("none"), "--quiet", "--test-share",
            "0.001");
    REFUSES(1, "No such file or directory", "train", "--data", IRIS, "--target", "species", "--output-dir", place("no/such"));
    write_all(place("same.csv"), "a,b\n1,x\n2,x\n3,x\n4,x\n5,x\n6,x\n7,x\n8,x\n9,x\n10,x\n");
    REFUSES(1, "'b' is 'x' in every row", "train", "--data", place("same.csv"), "--target", "b", "--output-dir", place("none"), "--quiet");
    REFUSES(1, "task.json: ", "predict", "--model", place("nothing"), "--data", IRIS);
    assert_int_not_equal(access(place("none"), F_OK), 0); /* no look that failed has left it there */
    write_all(place("a-file"), "");
    REFUSES(1, "a-file: Not a directory", "train", "--data", IRIS, "--target", "species", "--output-dir", place("a-file"));
    mkdir(place("full"), 0700);
    assert_int_equal(symlink("/dev/full", place("full/metrics.jsonl")), 0);
    result r = HONE_RUN(NULL, "train", "--data", IRIS, "--target", "species", "--output-dir", place("full"), "--epochs", "2", "--quiet");
    check(r, 1, "full/metrics.jsonl: No space left on device");
    release(r);
    write_all(place("sales-idx2024.csv"), "a,b\n1,2\n");
    REFUSES(1, "--target COLUMN is missing", "train", "--data", place("sales-idx2024.csv"), "--output-dir", place("none"));
    REFUSES(1, "x.npz: a table is expected, as in training", "predict", "--model", place("iris"), "--data", "x.npz");
    REFUSES(1, "is what `hone train` wrote, and no language model", "info", place("iris"));
    write_all(place("one.npy"), "");
    REFUSES(1, "one array is nothing to learn from", "train", "--data", place("one.npy"), "--output-dir", place("none"));
    write_all(place("few.csv"), "a,b\n1,2\n3,4\n");
    REFUSES(1, "2 rows with a target are too few to learn from: at least 10 are needed", "train", "--data", place("few.csv"), "--target", "b", "--output-dir", place("none"));
}

/* As spreadsheets of many countries write them. */
static void test_decimal_commas_are_told(void **state)
{
    (void)state;
    FILE *file = fopen(place("komma.csv"), "w");
    assert_non_null(file);
    fputs("preis;wert;menge;code;art\n", file);
    for (int i = 0; i < 40; i++)
        fprintf(file, "%s%d,%d;1.%03d,5;%d;%d,x;%c\n", i % 3 ? "" : "-", i, i % 10, i, i % 7, i % 2, i % 2 ? 'a' : 'b');
    fclose(file);
    result r = HONE_RUN(NULL, "train", "--data", place("komma.csv"), "--target", "art", "--output-dir", place("komma"), "--epochs", "1");
    check(r, 0, "'preis' has numbers with commas, which are read as text: write them as 1234.5, for example by `tr , . <");
    assert_non_null(strstr(r.err, "'wert' has numbers with commas, which are read as text: write them as 1234.5\n"));
    assert_non_null(strstr(r.err, "'preis' is left out: its numbers have commas"));
    assert_null(strstr(r.err, "'menge' has numbers"));
    assert_null(strstr(r.err, "'code' has numbers"));
    release(r);
}

static const char *two(int row) { return row < 20 ? "x" : "z"; }
static const char *same(int row) { return (void)row, "3.5"; }
static const char *infinite(int row) { return row == 7 ? "inf" : row % 2 ? "1.5" : "2.5"; }
static const char *huge(int row) { return row % 2 ? "1e300" : "2e300"; }
static const char *tens(int row) { return row < 20 ? "10" : row < 30 ? "20" : "30"; }
static const char *rare(int row) { return row == 9 ? "only" : two(row); }
#define TRAIN(data, target, to) "train", "--data", place(data), "--target", target, "--output-dir", place(to), "--epochs", "2"

static void test_targets_that_cannot_be_learnt_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *(*target)(int row);
        const char *message;
    } cases[] = {{same, "'y' is 3.5 in every row: there is nothing to learn"},
                 {infinite, "'y' is inf in a row: no quantity can be that large"},
                 {huge, "'y' is 2e+300 in a row: no quantity can be that large"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_rows("target.csv", ',', cases[i].target);
        REFUSES(1, cases[i].message, TRAIN("target.csv", "y", "none"));
    }
    REFUSES(1, "has no column 'q'; there are: a, b, y", TRAIN("target.csv", "q", "none"));
    REFUSES(1, "--learn quantity: 'b' has text, as 't0'", TRAIN("target.csv", "b", "none"), "--learn", "quantity");
    REFUSES(1, "'a' has 40 different numbers in 40 rows: these are no classes", TRAIN("target.csv", "a", "none"), "--learn", "classes");
    REFUSES(1, "--image-size is for pictures", TRAIN("target.csv", "a", "none"), "--image-size", "20");
    REFUSES(1, "--augment is for pictures", TRAIN("target.csv", "a", "none"), "--augment", "flip");
}

static void test_numbers_are_classes_or_a_quantity(void **state)
{
    (void)state;
    write_rows("tens.csv", ',', tens);
    result r = HONE_RUN(NULL, TRAIN("tens.csv", "y", "tens"));
    check(r, 0, "'y' is a quantity");
    release(r);
    r = HONE_RUN(NULL, TRAIN("tens.csv", "y", "tens"), "--learn", "classes");
    check(r, 0, "'y' is one of 3 classes");
    release(r);
    r = HONE_RUN(NULL, "predict", "--model", place("tens"), "--data", place("tens.csv"));
    check(r, 0, NULL);
    const char *head = "row,prediction,probability_10,probability_20,probability_30\n";
    assert_memory_equal(r.out, head, strlen(head));
    release(r);
    FILE *file = fopen(place("signs.csv"), "w");
    fputs("a,y\n", file);
    for (int i = 0; i < 40; i++) fprintf(file, "%d,%d\n", i, i < 20 ? -1 : 1);
    fclose(file);
    r = HONE_RUN(NULL, TRAIN("signs.csv", "y", "signs"));
    check(r, 0, "'y' is one of 2 classes");
    release(r);
    r = HONE_RUN(NULL, TRAIN("signs.csv", "y", "signs"), "--learn", "quantity");
    check(r, 0, "'y' is a quantity");
    release(r);
    write_rows("rare.csv", ',', rare);
    r = HONE_RUN(NULL, TRAIN("rare.csv", "y", "rare"));
    check(r, 0, "too few rows to learn 1 of the classes: 'only' has 1");
    release(r);
}

static void test_columns_that_say_nothing_are_left_out(void **state)
{
    (void)state;
    FILE *file = fopen(place("left.csv"), "w");
    fputs("Id,code,same,none,day,mark,a,y\n", file);
    for (int i = 0; i < 40; i++) fprintf(file, "%d,c%d,7,,2024-02-%02dT10:%02d:00Z,%s%d,%d,%s\n", i + 100, i, i % 29 + 1, i, i == 5 ? "?" : "", i == 5 ? 0 : i, i * 7 % 11, two(i));
    fclose(file);
    result r = HONE_RUN(NULL, TRAIN("left.csv", "y", "left"));
    check(r, 0, "'Id' is left out: it numbers the rows");
    static const char *const said[] = {"'code' is left out: nearly every row has another text", "'same' is left out: it is the same in every row",
                                       "'none' is left out: it has no values",
                                       "'day' is left out: dates are not read: columns of numbers are, such as year, month and weekday",
                                       "'mark' is read as text because of '?0': where this means that a value is missing, leave it empty"};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        if (!strstr(r.err, said[i])) fail_msg("'%s' is missing in %s", said[i], r.err);
    release(r);
    write_all(place("a.csv"), "a\n3\n");
    r = HONE_RUN(NULL, "predict", "--model", place("left"), "--data", place("a.csv"));
    check(r, 0, NULL);
    release(r);
    file = fopen(place("nothing.csv"), "w");
    fputs("code,y\n", file);
    for (int i = 0; i < 40; i++) fprintf(file, "c%d,%s\n", i, two(i));
    fclose(file);
    REFUSES(1, "there is no column from which 'y' could be learnt", TRAIN("nothing.csv", "y", "none"));
}

static void test_files_are_read_as_they_are_written(void **state)
{
    (void)state;
    write_rows("semicolons.csv", ';', two);
    result r = HONE_RUN(NULL, TRAIN("semicolons.csv", "y", "parted"));
    check(r, 0, "40 rows, 3 columns");
    release(r);
    write_rows("tabs.csv", '\t', two);
    r = HONE_RUN(NULL, "eval", "--model", place("parted"), "--data", place("tabs.csv"));
    check(r, 0, "40 rows, 3 columns");
    release(r);
    /* all of b looks like numbers here, or is missing */
    write_all(place("numbers.csv"), "a,b\n1.5,17\n2.5,\n");
    r = HONE_RUN(NULL, "predict", "--model", place("parted"), "--data", place("numbers.csv"));
    check(r, 0, NULL);
    assert_non_null(strstr(r.out, "\n1,"));
    release(r);
    write_all(place("big.csv"), "a,b\n1.5,t1\n1e300,t2\n");
    REFUSES(1, "column 'a', row 1: a number too large", "predict", "--model", place("parted"), "--data", place("big.csv"));
    write_all(place("latin.csv"), "a,b\n1.5,\xF6\n");
    REFUSES(1, "column 2 is not in UTF-8", "predict", "--model", place("parted"), "--data", place("latin.csv"));
    write_all(place("rows.json"), "[]");
    REFUSES(1, "of JSON only lines are read", TRAIN("rows.json", "y", "none"));
    FILE *file = fopen(place("bigs.csv"), "w");
    fputs("a,y\n", file);
    for (int i = 0; i < 40; i++) fprintf(file, "%de300,%s\n", i, two(i));
    fclose(file);
    REFUSES(1, "column 'a' has values that are too large to be scaled, up to 3.", TRAIN("bigs.csv", "y", "none"), "--quiet");
    REFUSES(1, "latin.csv/task.json: is not there: `hone train` writes such folders", "predict", "--model", place("latin.csv"), "--data", place("big.csv"));
    write_all(place("parted/task.json"), "{\"format\": \"hone-task\", \"version\": 1, \"kind\": \"table\", \"target\": \"y\", "
                                         "\"classes\": [\"x\", \"z\"], \"text_columns\": [1]}");
    REFUSES(1, "not what `hone train` of this version wrote", "predict", "--model", place("parted"), "--data", place("numbers.csv"));
}

/* From 0 on, as `hone predict` counts them: over many, and where some before them were dropped for want of a target. */
static void test_rows_are_told_as_the_file_has_them(void **state)
{
    (void)state;
    write_rows("numbered.csv", ',', two);
    result r = HONE_RUN(NULL, TRAIN("numbered.csv", "y", "numbered"));
    check(r, 0, "40 rows, 3 columns");
    release(r);
    static const char *const wrong[][2] = {{"1e300", "column 'a', row 1500: a number too large"},
                                           {"fast", "column 'a' holds text here and held numbers in training (\"fast\" in row 1500)"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        FILE *file = fopen(place("many.csv"), "w");
        fputs("a,b\n", file);
        for (int row = 0; row < 1600; row++) row == 1500 ? fprintf(file, "%s,t1\n", wrong[i][0]) : fprintf(file, "%d.5,t1\n", row % 40);
        fclose(file);
        r = HONE_RUN(NULL, "predict", "--model", place("numbered"), "--data", place("many.csv"));
        check(r, 1, wrong[i][1]);
        release(r);
    }
    FILE *file = fopen(place("endless-rows.csv"), "w");
    fputs("a,b,y\n", file);
    for (int row = 0; row < 40; row++) fprintf(file, "%s,%d,%s\n", row == 30 ? "inf" : row % 2 ? "1.5" : "2.5", row * 7 % 11, row % 4 == 3 ? "" : two(row));
    fclose(file);
    REFUSES(1, "imputer: column 'a' has infinite values, as in row 30", TRAIN("endless-rows.csv", "y", "none"), "--quiet");
}

static void test_answers_go_into_a_file_whole_or_not_at_all(void **state)
{
    (void)state;
    for (int json = 0; json < 2; json++) {
        const char *form = json ? "--json" : "--quiet";
        result told = HONE_RUN(NULL, "predict", "--model", place("iris"), "--data", IRIS, form);
        result r = HONE_RUN(NULL, "predict", "--model", place("iris"), "--data", IRIS, "--output", place("answers"), form);
        check(r, 0, NULL);
        assert_string_equal(r.out, "");
        char *written = read_all(place("answers"));
        assert_string_equal(written, told.out);
        free(written);
        release(told), release(r);
    }
    FILE *file = fopen(place("late.csv"), "w");
    fputs("sepal_length,sepal_width,petal_length,petal_width\n", file);
    for (int i = 0; i < 1200; i++) fputs(i < 1100 ? "5,3,1,0.2\n" : "5,1e300,1,0.2\n", file);
    fclose(file);
    write_all(place("answers"), "older");
    REFUSES(1, "row 1100", "predict", "--model", place("iris"), "--data", place("late.csv"), "--output", place("answers"));
    char *kept = read_all(place("answers"));
    assert_string_equal(kept, "older");
    free(kept);
    REFUSES(1, "No such file or directory", "predict", "--model", place("iris"), "--data", IRIS, "--output", place("no/such/answers"));
}

/* The rate of the last epoch's last step; what decays more has smaller weights. */
static void test_the_learning_rate_follows_its_schedule(void **state)
{
    (void)state;
    static const struct {
        const char *schedule, *told;
        double least, most; /* of the last rate, over the first one given */
    } cases[] = {{"constant", "learning rate 0.002, 32", 1, 1}, {"linear", "learning rate 0.002 at most, linear, 32", 0.04, 0.07},
                 {"cosine", "at most, cosine", 0.0001, 0.02}, {"one_cycle", "at most, one_cycle", 0, 0.02}};
    double squares[2];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        result r = HONE_RUN(NULL, "train", "--data", IRIS, "--target", "species", "--output-dir", place("scheduled"), "--epochs", "5", "--schedule",
                            cases[i].schedule);
        check(r, 0, cases[i].told);
        release(r);
        char *lines = read_all(place("scheduled/metrics.jsonl"));
        assert_int_equal(json_lines(lines, keep), 5);
        double share = number("learning_rate") / 0.002;
        if (!(share >= cases[i].least * 0.999 && share <= cases[i].most * 1.001)) fail_msg("%s ends at %g", cases[i].schedule, share);
        free(lines);
    }
    for (int i = 0; i < 2; i++) {
        result r = HONE_RUN(NULL, "train", "--data", IRIS, "--target", "species", "--output-dir", place("decayed"), "--epochs", "20", "--arch", "8",
                            "--weight-decay", i ? "40" : "0", "--json", "--quiet");
        check(r, 0, NULL);
        json_lines(r.out, keep);
        squares[i] = number("accuracy");
        release(r);
    }
    assert_true(squares[0] > squares[1]); /* of weights that decay to nothing nothing is learnt */
    REFUSES(2, "--weight-decay must be at least 0", TRAIN("left.csv", "y", "none"), "--weight-decay", "-0.5");
}

/* ---- classes of which one is rare ---- */

/* The two overlap: who guesses the common one where both may be is right more often, and finds few of the rare one. */
static void test_balanced_classes_weigh_the_same(void **state)
{
    (void)state;
    uint32_t drawn = 9;
    FILE *file = fopen(place("rare.csv"), "w");
    assert_non_null(file);
    fputs("a,kind\n", file);
    for (int i = 0; i < 600; i++) {
        double sum = 0;
        for (int k = 0; k < 6; k++) sum += (double)((drawn = drawn * 1664525u + 1013904223u) >> 8) / (1 << 24) - 0.5;
        fprintf(file, "%.4f,%s\n", sum + (i % 12 ? 0 : 1.2), i % 12 ? "common" : "rare");
    }
    fclose(file);
    double found[2];
    for (int balanced = 0; balanced < 2; balanced++) {
        result r = HONE_RUN(NULL, "train", "--data", place("rare.csv"), "--target", "kind", "--output-dir", place("rare"), "--epochs", "30", "--json",
                            "--quiet", "--class-weights", balanced ? "balanced" : "none");
        check(r, 0, NULL);
        json_lines(r.out, keep);
        found[balanced] = number("recall"); /* mean over the classes */
        release(r);
    }
    if (!(found[1] > found[0] + 0.1)) fail_msg("recall %g balanced, %g not", found[1], found[0]);
    /* each with a rate of its own, or sgd would be far from done */
    static const char *const optimizers[][2] = {{"sgd", "optimizer: sgd, learning rate 0.04, 32 rows a step"}, {"lion", "lion, learning rate 0.0005"},
                                                {"adadelta", "adadelta, learning rate 1,"}, {"adamw8bit", "adamw8bit, learning rate 0.002"}};
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++) {
        result r = HONE_RUN(NULL, "train", "--data", IRIS, "--target", "species", "--output-dir", place("ruled"), "--optimizer", optimizers[i][0], "--json");
        check(r, 0, optimizers[i][1]);
        json_lines(r.out, keep);
        if (!(number("accuracy") > 0.8)) fail_msg("%s: accuracy %g", optimizers[i][0], number("accuracy"));
        release(r);
    }
    REFUSES(2, "--optimizer", "train", "--data", IRIS, "--target", "species", "--output-dir", place("none"), "--optimizer", "adamm");
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
        cmocka_unit_test(test_an_epoch_is_told_and_dtype_is_obeyed), cmocka_unit_test(test_the_report_is_whole_and_safe),
        cmocka_unit_test(test_eval_measures_other_data),
        cmocka_unit_test(test_rows_to_stop_by_and_to_measure_come_from_other_files),
        cmocka_unit_test(test_networks_are_written_by_hand),
        cmocka_unit_test(test_decimal_commas_are_told), cmocka_unit_test(test_wrong_usage_is_told),
        cmocka_unit_test(test_targets_that_cannot_be_learnt_are_refused),
        cmocka_unit_test(test_numbers_are_classes_or_a_quantity),
        cmocka_unit_test(test_columns_that_say_nothing_are_left_out),
        cmocka_unit_test(test_files_are_read_as_they_are_written),
        cmocka_unit_test(test_rows_are_told_as_the_file_has_them),
        cmocka_unit_test(test_answers_go_into_a_file_whole_or_not_at_all),
        cmocka_unit_test(test_the_learning_rate_follows_its_schedule),
        cmocka_unit_test(test_balanced_classes_weigh_the_same),
    };
    return cmocka_run_group_tests(tests, make_folder, clean_up);
}
