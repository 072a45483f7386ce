/* hone train on .npz files that are not as one would wish, as a user would run it. */
#include "program.h"

#include "hone/data.h"

#include <math.h>

static hone_ctx *ctx;

/* Two classes, [n]. */
static hone_tensor *classes(int64_t n)
{
    hone_tensor *y = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(n));
    for (int64_t i = 0; i < n; i++) ((int32_t *)hone_tensor_data(y))[i] = i * 7 % 13 < 6;
    return y;
}

/* f64 of this shape: of each row the first number tells its class, the others nothing. */
static hone_tensor *numbers(hone_shape shape)
{
    hone_tensor *x = hone_tensor_new(ctx, HONE_F64, shape), *y = classes(shape.dim[0]);
    int64_t each = hone_shape_count(shape) / shape.dim[0];
    for (int64_t i = 0; i < hone_shape_count(shape); i++)
        ((double *)hone_tensor_data(x))[i] = (i % each ? 0 : 3 * hone_tensor_get(y, i / each)) + (double)(i * 31 % 17) / 17;
    hone_tensor_free(y);
    return x;
}

/* Writes arrays under these names and frees them; skips where there is no libzip. */
static void save(const char *name, size_t n, const char *const *names, hone_tensor *const *tensors)
{
    hone_named_tensor arrays[8];
    for (size_t i = 0; i < n; i++) arrays[i] = (hone_named_tensor){names[i], tensors[i]};
    hone_status status = hone_npz_save(ctx, place(name), arrays, n, false);
    for (size_t i = 0; i < n; i++) hone_tensor_free(tensors[i]);
    if (status == HONE_UNSUPPORTED) skip();
    assert_hone_ok(ctx, status);
}
#define SAVE(name, names, ...) save(name, sizeof((hone_tensor *[]){__VA_ARGS__}) / sizeof(hone_tensor *), names, (hone_tensor *[]){__VA_ARGS__})
#define NAMES(...) ((const char *const[]){__VA_ARGS__})

#define LEARN(data, to, ...) "train", "--data", place(data), "--output-dir", place(to), "--epochs", "2", __VA_ARGS__

static void runs(result r, const char *message)
{
    check(r, 0, message);
    release(r);
}

/* 0.1 has no exact mean in f64: divided by the rounding of it, a column that says nothing would be as large as any. */
static void test_columns_that_are_constant_but_for_rounding_are_not_blown_up(void **unused)
{
    (void)unused;
    hone_tensor *x = numbers(HONE_SHAPE(60, 4));
    double *values = hone_tensor_data(x);
    for (int i = 0; i < 60; i++) {
        values[4 * i + 1] = 0.1;
        values[4 * i + 2] = i % 2 ? 0.1 : nextafter(0.1, 1);
        values[4 * i + 3] = 1e-9 * i; /* small, and no rounding */
    }
    SAVE("constant.npz", NAMES("x", "y"), x, classes(60));
    runs(HONE_RUN(NULL, LEARN("constant.npz", "constant", "--seed", "1")), "x is features [60, 4], y a class");
    json_t *task = json_load_file(place("constant/task.json"), 0, NULL);
    const json_t *mean = json_object_get(task, "mean"), *deviation = json_object_get(task, "deviation");
    assert_int_equal(json_array_size(deviation), 4);
    assert_true(json_number_value(json_array_get(mean, 1)) == 0.1);
    assert_true(json_number_value(json_array_get(deviation, 0)) > 0.5);
    assert_true(json_number_value(json_array_get(deviation, 1)) == 1);
    assert_true(json_number_value(json_array_get(deviation, 2)) == 1);
    double small = json_number_value(json_array_get(deviation, 3));
    assert_true(small > 1e-9 && small < 1e-7);
    json_decref(task);
}

static void test_numbers_that_cannot_be_scaled_are_refused_by_name(void **unused)
{
    (void)unused;
    hone_tensor *x = numbers(HONE_SHAPE(60, 3));
    for (int i = 0; i < 60; i++) ((double *)hone_tensor_data(x))[3 * i + 2] = i % 2 ? 1e200 : -1e200;
    SAVE("large.npz", NAMES("x", "y"), x, classes(60));
    REFUSES(1, "too large to be scaled in feature 2", LEARN("large.npz", "none", "--quiet"));
    static const struct {
        double value;
        const char *message;
    } wrong[] = {{NAN, "x is nan in row 12"}, {INFINITY, "x is inf in row 12"}, {-INFINITY, "x is -inf in row 12"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        x = numbers(HONE_SHAPE(60, 3));
        ((double *)hone_tensor_data(x))[12 * 3 + i] = wrong[i].value;
        SAVE("wrong.npz", NAMES("x", "y"), x, classes(60));
        REFUSES(1, wrong[i].message, LEARN("wrong.npz", "none", "--quiet"));
    }
    SAVE("right.npz", NAMES("x", "y"), numbers(HONE_SHAPE(60, 3)), classes(60));
    runs(HONE_RUN(NULL, LEARN("right.npz", "right", "--quiet")), NULL);
    REFUSES(1, "x is -inf in row 12", "predict", "--model", place("right"), "--data", place("wrong.npz"));
    REFUSES(1, "right.npz has arrays: --augment is for folders of pictures", LEARN("right.npz", "none", "--augment", "none"));
}

/* [rows, channels, 1, steps], as recordings are often kept: a side of 1 cannot be halved. */
static void test_pictures_of_height_1_get_a_network_that_fits(void **unused)
{
    (void)unused;
    const hone_shape shapes[] = {HONE_SHAPE(40, 2, 1, 9), HONE_SHAPE(40, 2, 1, 1), HONE_SHAPE(40, 2, 2, 2)};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        SAVE("low.npz", NAMES("x", "y"), numbers(shapes[i]), classes(40));
        runs(HONE_RUN(NULL, LEARN("low.npz", "low", "--seed", "1")), i < 2 ? "network: flatten, dense 64 relu" : "network: conv2d 32 3 same");
    }
}

static int counted;
static void count(const json_t *object, size_t line)
{
    (void)line;
    counted = (int)json_integer_value(json_object_get(object, "rows"));
}
static void evaluates(const char *model, const char *data, const char *message, int expected)
{
    result r = HONE_RUN(NULL, "eval", "--model", place(model), "--data", place(data), "--json");
    check(r, 0, message);
    json_lines(r.out, count);
    assert_int_equal(counted, expected);
    release(r);
}

/* What is learnt from y_train is measured on y_test, in the same file or another one. */
static void test_what_is_learnt_from_and_measured_on_are_pairs(void **unused)
{
    (void)unused;
    SAVE("both.npz", NAMES("x_test", "x_train", "y_test", "y_train", "other"), numbers(HONE_SHAPE(20, 3)), numbers(HONE_SHAPE(60, 3)),
         classes(20), classes(60), classes(60));
    SAVE("plain.npz", NAMES("x", "y"), numbers(HONE_SHAPE(30, 3)), classes(30));
    SAVE("train.npz", NAMES("x_train", "y_train"), numbers(HONE_SHAPE(40, 3)), classes(40));
    SAVE("unlike.npz", NAMES("x", "y_test"), numbers(HONE_SHAPE(12, 3)), classes(12));
    SAVE("alone.npz", NAMES("y"), classes(12));
    runs(HONE_RUN(NULL, LEARN("both.npz", "pairs", "--seed", "1")), "both.npz: x_train and y_train are read");
    evaluates("pairs", "both.npz", "both.npz: x_test and y_test are read", 20);
    evaluates("pairs", "plain.npz", NULL, 30);
    evaluates("pairs", "train.npz", "train.npz: x_train and y_train are read", 40);
    evaluates("pairs", "unlike.npz", "unlike.npz: x and y_test are read", 12);
    REFUSES(1, "alone.npz has no array 'x'; there are: y", "eval", "--model", place("pairs"), "--data", place("alone.npz"));
    result r = HONE_RUN(NULL, "predict", "--model", place("pairs"), "--data", place("both.npz"), "--json");
    check(r, 0, "both.npz: x_test is read");
    assert_int_equal(json_lines(r.out, NULL), 20);
    release(r);
    /* A name that was given is the one that is meant. */
    runs(HONE_RUN(NULL, LEARN("both.npz", "named", "--target", "other")), "both.npz: x_train and other are read");
    evaluates("named", "both.npz", "both.npz: x_train and other are read", 60);
    REFUSES(1, "plain.npz has no array 'other'; there are: x, y", "eval", "--model", place("named"), "--data", place("plain.npz"));
    REFUSES(1, "plain.npz has no array 'y_train'; there are: x, y", LEARN("plain.npz", "none", "--target", "y_train"));
    runs(HONE_RUN(NULL, LEARN("train.npz", "usual", "--target", "y_train")), "train.npz: x_train and y_train are read");
    evaluates("usual", "plain.npz", "plain.npz: x and y are read", 30);
}

/* Whatever the classes are, each row gets its own: all of them stand in the files in another order than they are learnt in. */
static void test_many_classes_are_told_apart(void **unused)
{
    (void)unused;
    enum { ROWS = 800, CLASSES = 400 };
    hone_tensor *y = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(ROWS));
    for (int i = 0; i < ROWS; i++) ((int32_t *)hone_tensor_data(y))[i] = (i * 7 % CLASSES - 150) * 1000003;
    SAVE("many.npz", NAMES("x", "y"), numbers(HONE_SHAPE(ROWS, 1)), y);
    runs(HONE_RUN(NULL, LEARN("many.npz", "many", "--arch", "dense 2")), "dense 400 softmax");
    result r = HONE_RUN(NULL, "eval", "--model", place("many"), "--data", place("many.npz"));
    check(r, 0, NULL);
    for (const char *const *name = NAMES("-150000450", "249000747", "-149000447", NULL); *name; name++) {
        const char *at = strstr(r.out, *name); /* and how often it is right, and in how many rows it stands */
        if (!at) fail_msg("%s is not told", *name);
        char line[200];
        snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
        assert_string_equal(strrchr(line, ' '), " 2");
    }
    release(r);
    SAVE("unknown.npz", NAMES("x", "y"), numbers(HONE_SHAPE(30, 1)), classes(30));
    REFUSES(1, "which is none of the 400 classes that were learnt", "eval", "--model", place("many"), "--data", place("unknown.npz"));
}

static int set_up(void **state)
{
    ctx = hone_ctx_new(.threads = 1);
    return !ctx || make_folder(state);
}
static int tear_down(void **state)
{
    hone_ctx_release(ctx);
    return scratch_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns_that_are_constant_but_for_rounding_are_not_blown_up),
        cmocka_unit_test(test_numbers_that_cannot_be_scaled_are_refused_by_name),
        cmocka_unit_test(test_pictures_of_height_1_get_a_network_that_fits),
        cmocka_unit_test(test_what_is_learnt_from_and_measured_on_are_pairs),
        cmocka_unit_test(test_many_classes_are_told_apart),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
