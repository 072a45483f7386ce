/* hone train and hone predict on tables, as a user would run them. */
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
    REFUSES(2, "--arch is up to 8 numbers", "train", "--data", IRIS, "--target", "species", "--output-dir", place("none"), "--arch", "8,,2");
    REFUSES(1, "No such file or directory", "train", "--data", IRIS, "--target", "species", "--output-dir", place("no/such"));
    REFUSES(1, "pipeline.json: No such file", "predict", "--model", place("nothing"), "--data", IRIS);
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
        cmocka_unit_test(test_wrong_usage_is_told),
    };
    return cmocka_run_group_tests(tests, make_folder, clean_up);
}
