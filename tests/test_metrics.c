/* Metrics against scikit-learn, sacrebleu, rouge-score and jiwer: scripts/golden/make_metric_golden.py. */
#include "graph_tools.h"

#include "metrics/metrics.h"

#include <jansson.h>
#include <math.h>

static json_t *golden;
static int open_golden(void **state)
{
    (void)state;
    return (golden = json_load_file(HONE_TEST_DATA "/metrics.golden.json", 0, NULL)) ? 0 : -1;
}
static int close_golden(void **state)
{
    (void)state;
    json_decref(golden);
    return 0;
}

/* ---- values ------------------------------------------------------------------------------------------------------- */

static void flatten(json_t *list, double *to, int64_t *n)
{
    size_t i;
    json_t *item;
    if (!json_is_array(list)) {
        to[(*n)++] = json_number_value(list);
        return;
    }
    json_array_foreach(list, i, item) flatten(item, to, n);
}

/* A list, or a list of rows; i32 when its numbers are written without a point. */
static hone_tensor *tensor_of(json_t *list)
{
    static double values[1024];
    int64_t n = 0;
    json_t *row = json_array_get(list, 0), *first = json_is_array(row) ? json_array_get(row, 0) : row;
    hone_shape shape = HONE_SHAPE((int64_t)json_array_size(list), (int64_t)json_array_size(row));
    shape.rank = json_is_array(row) ? 2 : 1;
    flatten(list, values, &n);
    hone_tensor *t = hone_tensor_new(ctx, json_is_integer(first) ? HONE_I32 : HONE_F64, shape);
    assert_hone_ok(ctx, hone_tensor_write(t, 0, n, HONE_F64, values));
    return t;
}

static hone_tensor *rows(hone_tensor *x, int64_t from, int64_t count)
{
    hone_shape shape = x->shape;
    size_t row = x->bytes / (size_t)shape.dim[0];
    shape.dim[0] = count;
    return hone_tensor_borrow(ctx, x->dtype, shape, (char *)x->data + (size_t)from * row);
}

/* weights may be NULL. */
static void feed_weighted(hone_metric *m, hone_tensor *p, hone_tensor *t, hone_tensor *weights, int64_t batch)
{
    for (int64_t at = 0; at < p->shape.dim[0]; at += batch) {
        int64_t count = HONE_MIN(batch, p->shape.dim[0] - at);
        hone_tensor *bp = rows(p, at, count), *bt = rows(t, at, count), *bw = weights ? rows(weights, at, count) : NULL;
        assert_hone_ok(ctx, hone_metric_update_weighted(m, bp, bt, bw));
        hone_tensor_free(bp), hone_tensor_free(bt), hone_tensor_free(bw);
    }
}
static void feed(hone_metric *m, hone_tensor *p, hone_tensor *t, int64_t batch) { feed_weighted(m, p, t, NULL, batch); }

static hone_metric_opts options_of(json_t *o)
{
    static const char *const averages[] = {"auto", "binary", "macro", "micro", "weighted"};
    hone_metric_opts opts = {.beta = json_number_value(json_object_get(o, "beta")),
                             .k = (int)json_integer_value(json_object_get(o, "k")),
                             .threshold = json_number_value(json_object_get(o, "threshold")),
                             .at_least = json_number_value(json_object_get(o, "at_least")),
                             .from_logits = json_is_true(json_object_get(o, "from_logits")),
                             .elementwise = json_is_true(json_object_get(o, "elementwise"))};
    const char *average = json_string_value(json_object_get(o, "average"));
    for (size_t i = 0; i < HONE_ARRAY_LEN(averages); i++)
        if (average && !strcmp(average, averages[i])) opts.average = (hone_average)i;
    return opts;
}

static void test_metrics_equal_scikit_learn(void **state)
{
    (void)state;
    static const int64_t batches[] = {1000, 7, 1};
    size_t i, r, checked = 0;
    json_t *item, *result;
    json_array_foreach(json_object_get(golden, "numbers"), i, item)
    {
        json_t *weights = json_object_get(item, "weights");
        hone_tensor *p = tensor_of(json_object_get(item, "prediction")), *t = tensor_of(json_object_get(item, "target"));
        hone_tensor *w = weights ? tensor_of(weights) : NULL;
        json_array_foreach(json_object_get(item, "results"), r, result)
        {
            const char *name = json_string_value(json_array_get(result, 0));
            hone_metric_opts o = options_of(json_array_get(result, 1));
            double want = json_number_value(json_array_get(result, 2));
            hone_metric *m = hone_metric_new_opt(ctx, name, &o);
            if (!m) fail_msg("%s", hone_error(ctx));
            assert_string_equal(hone_metric_name(m), name);
            for (size_t b = 0; b < HONE_ARRAY_LEN(batches); b++) {
                assert_true(isnan(hone_metric_result(m)));
                feed_weighted(m, p, t, w, batches[b]);
                double have = hone_metric_result(m);
                if (!(fabs(have - want) <= 1e-12 * fmax(1, fabs(want))))
                    fail_msg("case %zu, %s in batches of %d: %.15g, not %.15g", i, name, (int)batches[b], have, want);
                hone_metric_reset(m);
            }
            hone_metric_free(m);
            checked++;
        }
        hone_tensor_free(p), hone_tensor_free(t), hone_tensor_free(w);
    }
    assert_true(checked > 130);
}

static void check_curve(json_t *item, const char *metric, const char *key)
{
    hone_tensor *p = tensor_of(json_object_get(item, "prediction")), *t = tensor_of(json_object_get(item, "target"));
    json_t *want_x = json_array_get(json_object_get(item, key), 0), *want_y = json_array_get(json_object_get(item, key), 1);
    hone_metric *m = hone_metric_new_opt(ctx, metric, NULL);
    size_t n;
    double *x, *y;
    feed(m, p, t, 9);
    assert_hone_ok(ctx, hone_metric_curve(m, 0, &n, &x, &y));
    assert_int_equal(n, json_array_size(want_x));
    for (size_t k = 0; k < n; k++) {
        assert_true(fabs(x[k] - json_number_value(json_array_get(want_x, k))) < 1e-12);
        assert_true(fabs(y[k] - json_number_value(json_array_get(want_y, k))) < 1e-12);
    }
    hone_free_curve(ctx, x, y);
    assert_int_equal(hone_metric_curve(m, 1, &n, &x, &y), HONE_INVALID);
    assert_true(n == 0 && !x && !y);
    hone_metric_free(m);
    hone_tensor_free(p), hone_tensor_free(t);
}

static void test_curves_equal_scikit_learn(void **state)
{
    (void)state;
    size_t i, n, found = 0;
    double *x, *y;
    json_t *item;
    json_array_foreach(json_object_get(golden, "numbers"), i, item)
    {
        if (!json_object_get(item, "roc")) continue;
        check_curve(item, "roc_auc", "roc");
        check_curve(item, "average_precision", "precision_recall");
        found++;
    }
    assert_int_equal(found, 1);
    hone_metric *m = hone_metric_new(ctx, "accuracy");
    assert_int_equal(hone_metric_curve(m, 0, &n, &x, &y), HONE_STATE);
    hone_metric_free(m);
}

/* ---- texts ---------------------------------------------------------------------------------------------------------- */

static void test_texts_equal_sacrebleu_and_others(void **state)
{
    (void)state;
    size_t i, t, r;
    json_t *item, *text, *want, *reference;
    const char *name;
    json_array_foreach(json_object_get(golden, "texts"), i, item)
    {
        json_object_foreach(json_object_get(item, "results"), name, want)
        {
            hone_metric *m = hone_metric_new_opt(ctx, name, NULL);
            bool one = !strcmp(name, "wer") || !strcmp(name, "cer");
            for (int again = 0; again < 2; again++) {
                json_array_foreach(json_object_get(item, "texts"), t, text)
                {
                    const char *references[8];
                    json_array_foreach(json_array_get(text, 1), r, reference) references[r] = json_string_value(reference);
                    assert_hone_ok(ctx, hone_metric_update_text(m, json_string_value(json_array_get(text, 0)), one ? 1 : r, references));
                }
                double have = hone_metric_result(m);
                if (!(fabs(have - json_number_value(want)) <= 1e-10))
                    fail_msg("texts %zu, %s: %.15g, not %.15g", i, name, have, json_number_value(want));
                hone_metric_reset(m);
            }
            hone_metric_free(m);
        }
    }
    assert_true(i >= 6);
}

/* Bytes that are no UTF-8, and texts that end within a character, are read as they are. */
static void test_damaged_texts_are_compared(void **state)
{
    (void)state;
    static const char *const names[] = {"bleu", "rouge_l", "wer", "cer"};
    const char *reference = "a \xE4 b c d e\xE2\x80";
    for (size_t i = 0; i < HONE_ARRAY_LEN(names); i++) {
        hone_metric *m = hone_metric_new_opt(ctx, names[i], NULL);
        assert_hone_ok(ctx, hone_metric_update_text(m, "a \xE4 b c d e\xE2\x80", 1, &reference));
        assert_true(fabs(hone_metric_result(m) - (i == 0 ? 100 : i == 1)) < 1e-12);
        hone_metric_free(m);
    }
}

/* ---- confusion ------------------------------------------------------------------------------------------------------- */

static void test_reports_are_scikit_learns(void **state)
{
    (void)state;
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(golden, "reports"), i, item)
    {
        hone_tensor *p = tensor_of(json_object_get(item, "prediction")), *t = tensor_of(json_object_get(item, "target"));
        json_t *list = json_object_get(item, "names"), *counts = json_object_get(item, "counts");
        int64_t classes = json_integer_value(json_object_get(item, "classes"));
        const char *names[8];
        for (size_t k = 0; k < json_array_size(list); k++) names[k] = json_string_value(json_array_get(list, k));
        hone_confusion *c = hone_confusion_new(ctx, classes);
        assert_int_equal(hone_confusion_classes(c), classes);
        assert_hone_ok(ctx, hone_confusion_update(c, p, t));
        hone_confusion_reset(c);
        assert_hone_ok(ctx, hone_confusion_update(c, p, t));
        for (int64_t a = 0; a < classes; a++)
            for (int64_t b = 0; b < classes; b++)
                assert_int_equal(hone_confusion_at(c, a, b),
                                 json_integer_value(json_array_get(json_array_get(counts, (size_t)a), (size_t)b)));
        assert_int_equal(hone_confusion_at(c, classes, 0), 0);
        char *text = hone_classification_report(c, json_is_array(list) ? names : NULL,
                                                (int)json_integer_value(json_object_get(item, "digits")));
        assert_string_equal(text, json_string_value(json_object_get(item, "text")));
        hone_free_text(ctx, text);
        hone_confusion_free(c);
        hone_tensor_free(p), hone_tensor_free(t);
    }
    assert_true(i >= 5);
}

/* ---- what is left out and what is refused ------------------------------------------------------------------------------ */

static hone_tensor *numbers(int n, const int32_t *values) { return hone_tensor_from_i32(ctx, HONE_SHAPE(n), values); }
#define NUMBERS(...) numbers((int)(sizeof((int32_t[]){__VA_ARGS__}) / 4), (const int32_t[]){__VA_ARGS__})

static void test_targets_are_left_out(void **state)
{
    (void)state;
    hone_tensor *p = NUMBERS(0, 1, 2, 1, 1), *t = NUMBERS(0, 2, 2, -100, 1);
    static const struct {
        int64_t ignored;
        double want;
    } cases[] = {{0, 3.0 / 4}, {2, 2.0 / 2}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        hone_metric *m = hone_metric_new(ctx, "accuracy", .ignore_index = cases[i].ignored);
        feed(m, p, t, 2);
        assert_true(hone_metric_result(m) == cases[i].want);
        hone_metric_free(m);
    }
    hone_tensor_free(p), hone_tensor_free(t);
    /* one-hot targets, rows over the last of three axes */
    hone_tensor *scores = hone_tensor_from_f32(ctx, HONE_SHAPE(1, 2, 2), VALUES(0.9f, 0.1f, 0.2f, 0.8f));
    hone_tensor *hot = hone_tensor_from_f32(ctx, HONE_SHAPE(1, 2, 2), VALUES(1, 0, 1, 0)), *classes = hone_tensor_new(ctx, HONE_U8, HONE_SHAPE(1, 2));
    hone_metric *m = hone_metric_new(ctx, "accuracy"), *loss = hone_metric_new(ctx, "log_loss");
    assert_hone_ok(ctx, hone_metric_update(m, scores, hot));
    assert_hone_ok(ctx, hone_metric_update(m, scores, classes));
    assert_true(hone_metric_result(m) == 0.5);
    assert_hone_ok(ctx, hone_metric_update(loss, scores, hot));
    assert_true(fabs(hone_metric_result(loss) + (log(0.9) + log(0.2)) / 2) < 1e-7);
    hone_metric_free(m), hone_metric_free(loss);
    hone_tensor_free(scores), hone_tensor_free(hot), hone_tensor_free(classes);
}

/* The mean is over both classes, as sklearn.metrics.jaccard_score(average="macro") has it, unless class 1 alone is asked for. */
static void test_mean_iou_of_two_classes(void **state)
{
    (void)state;
    hone_tensor *p = NUMBERS(0, 1, 1, 1), *t = NUMBERS(0, 0, 1, 1);
    static const struct {
        hone_average average;
        double want;
    } cases[] = {{HONE_AVERAGE_AUTO, (1.0 / 2 + 2.0 / 3) / 2}, {HONE_AVERAGE_MACRO, (1.0 / 2 + 2.0 / 3) / 2}, {HONE_AVERAGE_BINARY, 2.0 / 3}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        hone_metric *m = hone_metric_new(ctx, "mean_iou", .average = cases[i].average);
        feed(m, p, t, 2);
        assert_true(fabs(hone_metric_result(m) - cases[i].want) < 1e-12);
        hone_metric_free(m);
    }
    hone_tensor_free(p), hone_tensor_free(t);
}

/* As in the loss, labels 0 and 1 are signs -1 and 1. */
static void test_hinge_of_labels_and_signs(void **state)
{
    (void)state;
    hone_tensor *p = vector(4, VALUES(0.5f, -2, 0.25f, 3)), *labels = vector(4, VALUES(0, 0, 1, 1)), *signs = vector(4, VALUES(-1, -1, 1, 1));
    static const struct {
        const char *name;
        double want;
    } cases[] = {{"hinge", (1.5 + 0 + 0.75 + 0) / 4}, {"squared_hinge", (2.25 + 0 + 0.5625 + 0) / 4}};
    for (int i = 0; i < 4; i++) {
        hone_metric *m = hone_metric_new(ctx, cases[i / 2].name);
        assert_hone_ok(ctx, hone_metric_update(m, p, i % 2 ? signs : labels));
        assert_true(fabs(hone_metric_result(m) - cases[i / 2].want) < 1e-12);
        hone_metric_free(m);
    }
    hone_tensor_free(p), hone_tensor_free(labels), hone_tensor_free(signs);
}

/* A row that counts two is two rows; weights of examples are those of their rows, as of a sentence's words. */
static void test_weights_are_repetitions(void **state)
{
    (void)state;
    static const char *const names[] = {"accuracy", "f1", "mean_iou", "log_loss", "roc_auc", "average_precision", "top_k_accuracy(k=1)"};
    float scores[12], twice[24], some[] = {2, 0};
    for (int i = 0; i < 12; i++) scores[i] = 0.05f + 0.07f * (float)(i * 5 % 12);
    memcpy(twice, scores, sizeof scores / 2), memcpy(twice + 6, scores, sizeof scores / 2);
    hone_tensor *p = hone_tensor_from_f32(ctx, HONE_SHAPE(2, 3, 2), scores), *t = hone_tensor_from_i32(ctx, HONE_SHAPE(2, 3), (int32_t[]){0, 1, 1, 0, 0, 1});
    hone_tensor *again = hone_tensor_from_f32(ctx, HONE_SHAPE(6, 2), twice), *wanted = NUMBERS(0, 1, 1, 0, 1, 1), *w = vector(2, some);
    for (size_t i = 0; i < HONE_ARRAY_LEN(names); i++) {
        hone_metric *a = hone_metric_parse(ctx, names[i], NULL), *b = hone_metric_parse(ctx, names[i], NULL);
        assert_hone_ok(ctx, hone_metric_update_weighted(a, p, t, w));
        assert_hone_ok(ctx, hone_metric_update(b, again, wanted));
        if (!(fabs(hone_metric_result(a) - hone_metric_result(b)) < 1e-12)) fail_msg("%s", names[i]);
        ((float *)w->data)[0] = 0;
        hone_metric_reset(a);
        assert_hone_ok(ctx, hone_metric_update_weighted(a, p, t, w));
        assert_true(isnan(hone_metric_result(a))); /* nothing counted */
        ((float *)w->data)[0] = -1;
        assert_int_equal(hone_metric_update_weighted(a, p, t, w), HONE_INVALID);
        assert_int_equal(hone_metric_update_weighted(a, again, wanted, p), HONE_SHAPE);
        ((float *)w->data)[0] = 2;
        hone_metric_free(a), hone_metric_free(b);
    }
    hone_tensor_free(p), hone_tensor_free(t), hone_tensor_free(again), hone_tensor_free(wanted), hone_tensor_free(w);
}

static void test_a_text_says_a_metrics_options(void **state)
{
    (void)state;
    hone_metric_opts given = {.from_logits = true, .k = 7};
    hone_metric *m = hone_metric_parse(ctx, " f_beta ( beta=0.5,average = macro , name=f_half, threshold=0 ) ", &given);
    if (!m) fail_msg("%s", hone_error(ctx));
    assert_string_equal(hone_metric_name(m), "f_half");
    assert_true(m->o.beta == 0.5 && m->o.average == HONE_AVERAGE_MACRO && m->o.threshold == 0 && m->o.from_logits && m->o.k == 7);
    assert_true(hone_metric_larger_is_better(m));
    hone_metric_free(m);
    m = hone_metric_parse(ctx, "mae(ignore_index=-100,elementwise=true,from_logits=false,k=3)", &given);
    assert_string_equal(hone_metric_name(m), "mae");
    assert_true(m->o.ignore_index == -100 && m->o.elementwise && !m->o.from_logits && m->o.k == 3);
    assert_false(hone_metric_larger_is_better(m));
    hone_metric_free(m);
    m = hone_metric_parse(ctx, "f1()", NULL);
    assert_string_equal(hone_metric_name(m), "f1");
    hone_metric_free(m);
    static const char *const wrong[] = {"f1(", "f1)", "f1(beta)", "f1(beta=)", "f1(beta=x)", "f1(beta=1.2.3)", "f1(k=0)", "f1(k=1.5)", "f1(average=all)",
                                        "f1(name=)", "f1(elementwise=yes)", "f1(magic=1)", "f1(beta=2) x", "f1((k=2))",
                                        "f1(average=)", "f1(threshold=.)", "f1(k=99999999999999999999)", "f1(k=2)(k=3)",
                                        "f1(name=0123456789012345678901234567890123456789012345678901234567890123)"};
    for (size_t i = 0; i < HONE_ARRAY_LEN(wrong); i++) {
        if (hone_metric_parse(ctx, wrong[i], NULL)) fail_msg("'%s' was taken", wrong[i]);
        if (i == 1) assert_error(HONE_NOT_FOUND, "there is no metric 'f1)'");
        else assert_error(HONE_INVALID, "metric 'f1");
        hone_clear_error(ctx);
    }
    assert_null(hone_metric_parse(ctx, "", NULL));
    assert_error(HONE_NOT_FOUND, "there is no metric ''");
    hone_clear_error(ctx);
}

static void test_no_answer_is_nan(void **state)
{
    (void)state;
    hone_tensor *p = vector(3, VALUES(0.2f, 0.5f, 0.4f)), *t = NUMBERS(0, 0, 0), *one = vector(1, VALUES(1));
    hone_metric *auc = hone_metric_new(ctx, "roc_auc"), *r2 = hone_metric_new(ctx, "r2"), *ap = hone_metric_new(ctx, "average_precision");
    size_t n;
    double *x, *y;
    feed(auc, p, t, 3);
    assert_true(isnan(hone_metric_result(auc)));
    assert_int_equal(hone_metric_curve(auc, 0, &n, &x, &y), HONE_INVALID);
    feed(ap, p, t, 3);
    assert_true(hone_metric_result(ap) == 0);
    feed(r2, one, one, 1);
    assert_true(isnan(hone_metric_result(r2)));
    feed(r2, one, one, 1);
    assert_true(hone_metric_result(r2) == 1); /* constant and met */
    hone_metric_free(auc), hone_metric_free(r2), hone_metric_free(ap);
    hone_tensor_free(p), hone_tensor_free(t), hone_tensor_free(one);
}

static void test_wrong_input_is_refused(void **state)
{
    (void)state;
    hone_tensor *p = hone_tensor_from_f32(ctx, HONE_SHAPE(2, 3), VALUES(1, 2, 3, 4, 5, NAN)), *many = NUMBERS(0, 3), *few = NUMBERS(1);
    hone_tensor *half = vector(2, VALUES(0.5f, 1)), *y = NUMBERS(0, 1), *blocks = hone_tensor_new(ctx, HONE_Q8_0, HONE_SHAPE(2, 32));
    const struct {
        const char *metric;
        hone_tensor *p, *t;
        hone_status status;
        const char *part;
    } wrong[] = {{"accuracy", p, few, HONE_SHAPE, "targets [1] don't fit predictions [2, 3]"},
                 {"top_k_accuracy", p, many, HONE_INVALID, "is no class in [0, 3)"},
                 {"top_k_accuracy", y, y, HONE_SHAPE, "must be scores"},
                 {"accuracy", p, half, HONE_INVALID, "target 0.5"},
                 {"log_loss", y, y, HONE_DTYPE, "not class numbers"},
                 {"log_loss", p, many, HONE_INVALID, "target 3 or answer at position 1"},
                 {"roc_auc", y, y, HONE_DTYPE, "must be scores"},
                 {"roc_auc", p, y, HONE_NUMERIC, "score 5 is NaN"},
                 {"mae", p, y, HONE_SHAPE, "don't fit"},
                 {"mae", NULL, y, HONE_INVALID, "are wanted"},
                 {"bleu", p, y, HONE_STATE, "call hone_metric_update_text"}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(wrong); i++) {
        hone_metric *m = hone_metric_new_opt(ctx, wrong[i].metric, NULL);
        assert_int_equal(hone_metric_update(m, wrong[i].p, wrong[i].t), wrong[i].status);
        if (!strstr(hone_error(ctx), wrong[i].part)) fail_msg("%s: '%s'", wrong[i].metric, hone_error(ctx));
        assert_true(isnan(hone_metric_result(m)));
        hone_metric_free(m);
    }
    hone_metric *m = hone_metric_new(ctx, "mae");
    assert_hone_ok(ctx, hone_metric_update(m, blocks, blocks)); /* read as what they stand for */
    assert_int_equal(hone_metric_update(m, half, half), HONE_SHAPE);
    assert_int_equal(hone_metric_update_text(m, "a", 1, (const char *const[]){"a"}), HONE_STATE);
    hone_metric_free(m);
    m = hone_metric_new(ctx, "wer");
    assert_int_equal(hone_metric_update_text(m, "a", 2, (const char *const[]){"a", "b"}), HONE_INVALID);
    assert_int_equal(hone_metric_update_text(m, "a", 0, NULL), HONE_INVALID);
    assert_int_equal(hone_metric_update_text(m, NULL, 1, (const char *const[]){"a"}), HONE_INVALID);
    hone_metric_free(m);
    hone_confusion *c = hone_confusion_new(ctx, 2);
    assert_int_equal(hone_confusion_update(c, many, many), HONE_INVALID);
    assert_null(hone_classification_report(c, NULL, 2));
    assert_hone_ok(ctx, hone_confusion_update(c, y, y));
    assert_null(hone_classification_report(c, NULL, 16));
    hone_confusion_free(c);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    assert_null(hone_confusion_new(ctx, 0));
    assert_error(HONE_INVALID, "0 classes");
    hone_clear_error(ctx);
    assert_null(hone_metric_new(ctx, "nonsense"));
    assert_error(HONE_NOT_FOUND, "there is no metric 'nonsense'; there are accuracy, ");
    hone_clear_error(ctx);
    assert_null(hone_metric_new(ctx, "f_beta", .beta = -1));
    assert_error(HONE_INVALID, "beta and k must be positive");
    hone_clear_error(ctx);
    hone_tensor_free(p), hone_tensor_free(many), hone_tensor_free(few), hone_tensor_free(half), hone_tensor_free(y), hone_tensor_free(blocks);
}

/* ---- boxes ---------------------------------------------------------------------------------------------------------- */

enum { SIDE = 16, BOXES = 40 };

/* Corners are whole, so that areas are counts of pixels. */
static void random_boxes(float boxes[][4], int n)
{
    for (int i = 0; i < n; i++)
        for (int d = 0; d < 2; d++) {
            int from = (int)(hone__random_uniform(7, (uint64_t)(4 * i + d)) * SIDE);
            boxes[i][d] = (float)from;
            boxes[i][d + 2] = (float)(from + (int)(hone__random_uniform(7, (uint64_t)(4 * i + d + 2)) * (float)(SIDE - from + 1)));
        }
}

static double counted_iou(const float *a, const float *b)
{
    int both = 0, any = 0;
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            int in_a = (float)x >= a[0] && (float)x < a[2] && (float)y >= a[1] && (float)y < a[3];
            int in_b = (float)x >= b[0] && (float)x < b[2] && (float)y >= b[1] && (float)y < b[3];
            both += in_a && in_b;
            any += in_a || in_b;
        }
    return any ? (double)both / any : 0;
}

static void test_box_iou_is_shared_area_over_all_area(void **state)
{
    (void)state;
    float boxes[BOXES][4];
    random_boxes(boxes, BOXES);
    hone_tensor *a = hone_tensor_borrow(ctx, HONE_F32, HONE_SHAPE(BOXES, 4), boxes);
    hone_tensor *b = hone_tensor_borrow(ctx, HONE_F32, HONE_SHAPE(5, 4), boxes + 3), *iou = hone_box_iou(a, b);
    assert_true(hone_shape_equal(hone_tensor_shape(iou), HONE_SHAPE(BOXES, 5)));
    int some = 0;
    for (int i = 0; i < BOXES; i++)
        for (int j = 0; j < 5; j++) {
            double want = counted_iou(boxes[i], boxes[3 + j]);
            assert_true(fabs(hone_tensor_get(iou, i * 5 + j) - want) < 1e-6);
            some += want > 0 && want < 1;
        }
    assert_true(some > 20);
    hone_tensor_free(a), hone_tensor_free(b), hone_tensor_free(iou);
}

/* What greedy suppression is: those that stay come best first and overlap little; each other one overlaps a better one that stays. */
static void test_nms_keeps_the_best_of_those_that_overlap(void **state)
{
    (void)state;
    float boxes[BOXES][4], scores[BOXES], classes[BOXES];
    random_boxes(boxes, BOXES);
    for (int i = 0; i < BOXES; i++) scores[i] = (float)(i * 17 % BOXES / 2), classes[i] = (float)(i % 3); /* scores in pairs */
    hone_tensor *b = hone_tensor_borrow(ctx, HONE_F32, HONE_SHAPE(BOXES, 4), boxes);
    hone_tensor *s = vector(BOXES, scores), *c = vector(BOXES, classes);
    int64_t rows[BOXES], all[2] = {0};
    for (int by_class = 0; by_class < 2; by_class++) {
        int64_t *n = &all[by_class], at[BOXES];
        assert_hone_ok(ctx, hone_nms(b, s, by_class ? c : NULL, 0.2, rows, n));
        for (int i = 0; i < BOXES; i++) at[i] = BOXES;
        for (int64_t k = 0; k < *n; k++) {
            at[rows[k]] = k;
            if (k) assert_true(scores[rows[k]] < scores[rows[k - 1]] || (scores[rows[k]] == scores[rows[k - 1]] && rows[k] > rows[k - 1]));
        }
        for (int i = 0; i < BOXES; i++) {
            bool covered = false; /* by a better one that stays */
            for (int64_t k = 0; k < *n && k < at[i]; k++) {
                int better = (int)rows[k];
                covered |= counted_iou(boxes[i], boxes[better]) > 0.2 && (!by_class || classes[i] == classes[better]) &&
                           (scores[better] > scores[i] || (scores[better] == scores[i] && better < i));
            }
            assert_int_equal(covered, at[i] == BOXES);
        }
    }
    assert_true(all[0] < all[1] && all[1] < BOXES);
    hone_tensor *none = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(0, 4)), *empty = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(0));
    assert_hone_ok(ctx, hone_nms(none, empty, NULL, 0.5, rows, &all[0]));
    assert_int_equal(all[0], 0);

    assert_int_equal(hone_nms(b, empty, NULL, 0.5, rows, &all[0]), HONE_SHAPE);
    assert_error(HONE_OK, "nms: scores are [0] for boxes [40, 4]");
    assert_int_equal(hone_nms(b, s, empty, 0.5, rows, &all[0]), HONE_SHAPE);
    assert_int_equal(hone_nms(s, s, NULL, 0.5, rows, &all[0]), HONE_SHAPE);
    assert_error(HONE_OK, "boxes are [n, 4], not [40]");
    assert_null(hone_box_iou(b, s));
    assert_int_equal(hone_nms(b, s, NULL, 1.5, rows, &all[0]), HONE_INVALID);
    scores[3] = NAN;
    hone_tensor *bad = vector(BOXES, scores);
    assert_int_equal(hone_nms(b, bad, NULL, 0.5, rows, &all[0]), HONE_INVALID);
    assert_error(HONE_OK, "the score of box 3 is NaN");
    hone_tensor_free(b), hone_tensor_free(s), hone_tensor_free(c), hone_tensor_free(none), hone_tensor_free(empty), hone_tensor_free(bad);
}

/* ---- memory ------------------------------------------------------------------------------------------------------------ */

static hone_status use_everything(hone_ctx *c, hone_tensor *p, hone_tensor *t)
{
    static const char *const names[] = {"accuracy", "f1", "roc_auc", "mae", "bleu", "rouge_l", "wer"};
    const char *const references[] = {"the cat, sat", "a cat"};
    for (size_t i = 0; i < HONE_ARRAY_LEN(names) && hone_ctx_status(c) == HONE_OK; i++) {
        hone_metric *m = hone_metric_new_opt(c, names[i], NULL);
        if (m && m->type->text) hone_metric_update_text(m, "a cat sat.", i == 6 ? 1 : 2, references);
        if (m && m->type->update) hone_metric_update(m, i == 3 ? t : p, t);
        if (m) hone_metric_result(m);
        size_t n;
        double *x = NULL, *y = NULL;
        if (m && i == 2 && hone_ctx_status(c) == HONE_OK) hone_metric_curve(m, 0, &n, &x, &y);
        hone_free_curve(c, x, y);
        hone_metric_free(m);
    }
    hone_confusion *confusion = hone_confusion_new(c, 2);
    if (confusion && hone_confusion_update(confusion, p, t) == HONE_OK) hone_free_text(c, hone_classification_report(confusion, NULL, 2));
    hone_confusion_free(confusion);
    hone_tensor *box = hone_tensor_from_f32(c, HONE_SHAPE(1, 4), (float[]){0, 0, 1, 1});
    hone_tensor *score = hone_tensor_from_f32(c, HONE_SHAPE(1), (float[]){1});
    int64_t row, kept;
    hone_tensor *iou = box && score && hone_nms(box, score, NULL, 0.5, &row, &kept) == HONE_OK ? hone_box_iou(box, box) : NULL;
    hone_tensor_free(iou), hone_tensor_free(box), hone_tensor_free(score);
    return hone_ctx_status(c);
}

static void test_failing_allocations_lose_nothing(void **state)
{
    (void)state;
    hone_tensor *p = vector(4, VALUES(0.1f, 0.9f, 0.4f, 0.6f)), *t = vector(4, VALUES(0, 1, 1, 0));
    int failures = 0;
    for (int64_t n = 1;; n++) {
        counting count = {0};
        hone_ctx *c = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, &count});
        count.fail_at = count.calls + n;
        hone_status status = use_everything(c, p, t);
        bool reached = count.calls >= count.fail_at;
        assert_int_equal(status, reached ? HONE_MEMORY : HONE_OK);
        hone_ctx_release(c);
        assert_int_equal(count.live, 0);
        if (!reached) break;
        failures++;
    }
    assert_true(failures > 40);
    hone_tensor_free(p), hone_tensor_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_metrics_equal_scikit_learn),
        TEST(test_curves_equal_scikit_learn),
        TEST(test_texts_equal_sacrebleu_and_others),
        TEST(test_damaged_texts_are_compared),
        TEST(test_reports_are_scikit_learns),
        TEST(test_targets_are_left_out),
        TEST(test_mean_iou_of_two_classes),
        TEST(test_hinge_of_labels_and_signs),
        TEST(test_weights_are_repetitions),
        TEST(test_a_text_says_a_metrics_options),
        TEST(test_no_answer_is_nan),
        TEST(test_wrong_input_is_refused),
        TEST(test_box_iou_is_shared_area_over_all_area),
        TEST(test_nms_keeps_the_best_of_those_that_overlap),
        TEST(test_failing_allocations_lose_nothing),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
