/* Average precision of boxes against pycocotools and VOC's rules; generalized intersection over union:
   scripts/golden/make_detection_golden.py. */
#include "graph_tools.h"

#include "metrics/metrics.h"

#include <jansson.h>
#include <math.h>

static json_t *golden;
static int open_golden(void **state)
{
    (void)state;
    return (golden = json_load_file(HONE_TEST_DATA "/detection.golden.json", 0, NULL)) ? 0 : -1;
}
static int close_golden(void **state)
{
    (void)state;
    json_decref(golden);
    return 0;
}

/* [n, width], [n] for width 1. */
static hone_tensor *tensor_of(const json_t *list, int64_t width)
{
    int64_t n = (int64_t)json_array_size(list);
    hone_tensor *t = hone_tensor_new(ctx, HONE_F64, width > 1 ? HONE_SHAPE(n, width) : HONE_SHAPE(n));
    for (int64_t i = 0; i < n * width; i++) {
        const json_t *item = json_array_get(list, (size_t)(i / width));
        ((double *)hone_tensor_data(t))[i] = json_number_value(width > 1 ? json_array_get(item, (size_t)(i % width)) : item);
    }
    return t;
}

static void feed(hone_detection *d, const json_t *picture)
{
    hone_tensor *boxes = tensor_of(json_object_get(picture, "boxes"), 4), *scores = tensor_of(json_object_get(picture, "scores"), 1);
    hone_tensor *classes = tensor_of(json_object_get(picture, "classes"), 1), *truth = tensor_of(json_object_get(picture, "truth"), 4);
    hone_tensor *true_classes = tensor_of(json_object_get(picture, "true_classes"), 1);
    assert_hone_ok(ctx, hone_detection_update(d, boxes, scores, classes, truth, true_classes));
    hone_tensor_free(boxes), hone_tensor_free(scores), hone_tensor_free(classes), hone_tensor_free(truth), hone_tensor_free(true_classes);
}

static void test_average_precision_is_pycocotools_and_vocs(void **state)
{
    (void)state;
    size_t i, r, k, c, checked = 0;
    json_t *set, *result, *picture, *value;
    json_array_foreach(json_object_get(golden, "sets"), i, set) json_array_foreach(json_object_get(set, "results"), r, result)
    {
        bool voc = !strcmp(json_string_value(json_array_get(result, 0)), "voc");
        hone_detection *d = hone_detection_new(ctx, 4, .style = voc ? HONE_DETECTION_VOC : HONE_DETECTION_COCO,
                                               .iou = json_number_value(json_array_get(result, 1)));
        assert_true(isnan(hone_detection_result(d)));
        for (int again = 0; again < 2; again++) {
            double sum = 0, n = 0;
            json_array_foreach(json_object_get(set, "pictures"), k, picture) feed(d, picture);
            json_array_foreach(json_array_get(result, 2), c, value)
            {
                double have = hone_detection_result_of(d, (int64_t)c), want = json_is_null(value) ? NAN : json_number_value(value);
                if (isnan(want) ? !isnan(have) : !(fabs(have - want) < 1e-12))
                    fail_msg("set %zu, result %zu, class %zu: %.15g, not %.15g", i, r, c, have, want);
                if (!isnan(want)) sum += want, n++, checked++;
            }
            assert_true(fabs(hone_detection_result(d) - sum / n) < 1e-12);
            hone_detection_reset(d);
        }
        hone_detection_free(d);
    }
    assert_true(checked > 60);
}

static void test_giou_is_its_formula(void **state)
{
    (void)state;
    json_t *of = json_object_get(golden, "giou"), *values = json_object_get(of, "values");
    hone_tensor *a = tensor_of(json_object_get(of, "a"), 4), *b = tensor_of(json_object_get(of, "b"), 4), *have = hone_box_giou(a, b);
    assert_true(hone_shape_equal(hone_tensor_shape(have), HONE_SHAPE(6, 5)));
    for (int i = 0; i < 30; i++)
        assert_true(fabs(hone_tensor_get(have, i) - json_number_value(json_array_get(json_array_get(values, (size_t)i / 5), (size_t)i % 5))) < 1e-6);
    hone_tensor_free(a), hone_tensor_free(b), hone_tensor_free(have);
}

static void test_wrong_boxes_are_refused_and_not_counted(void **state)
{
    (void)state;
    hone_tensor *box = hone_tensor_from_f32(ctx, HONE_SHAPE(1, 4), VALUES(0, 0, 2, 2)), *one = vector(1, VALUES(1)), *two = vector(2, VALUES(0, 0));
    hone_tensor *bad = vector(1, VALUES(NAN)), *zero = vector(1, VALUES(0));
    hone_detection *d = hone_detection_new(ctx, 1);
    assert_int_equal(hone_detection_update(d, one, one, NULL, box, NULL), HONE_SHAPE);
    assert_int_equal(hone_detection_update(d, box, two, NULL, box, NULL), HONE_SHAPE);
    assert_int_equal(hone_detection_update(d, box, one, NULL, box, two), HONE_SHAPE);
    assert_int_equal(hone_detection_update(d, box, one, one, box, NULL), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "box 0 is of class 1; they are below 1"));
    assert_int_equal(hone_detection_update(d, box, one, NULL, box, bad), HONE_INVALID);
    assert_int_equal(hone_detection_update(d, box, bad, NULL, box, NULL), HONE_INVALID);
    assert_int_equal(hone_detection_update(d, box, NULL, NULL, box, NULL), HONE_INVALID);
    assert_hone_ok(ctx, hone_ctx_status(ctx));
    assert_true(isnan(hone_detection_result(d)));
    assert_hone_ok(ctx, hone_detection_update(d, box, one, NULL, box, zero));
    assert_true(fabs(hone_detection_result(d) - 1) < 1e-12 && isnan(hone_detection_result_of(d, 1)) && isnan(hone_detection_result_of(d, -1)));
    hone_detection_free(d);
    assert_null(hone_detection_new(ctx, 0));
    hone_clear_error(ctx);
    assert_null(hone_detection_new(ctx, 1, .iou = 1.5));
    assert_error(HONE_INVALID, "iou in [0, 1]");
    hone_clear_error(ctx);
    hone_tensor_free(box), hone_tensor_free(one), hone_tensor_free(two), hone_tensor_free(bad), hone_tensor_free(zero);
}

static void test_failing_allocations_end_in_an_error(void **state)
{
    (void)state;
    hone_ctx *saved = ctx;
    int64_t calls = 0;
    for (int64_t n = 0; n <= calls; n++) {
        counting c = {.fail_at = n};
        if (!(ctx = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, &c}))) continue;
        hone_tensor *boxes = hone_tensor_from_f32(ctx, HONE_SHAPE(2, 4), VALUES(0, 0, 2, 2, 3, 3, 4, 5)), *scores = vector(2, VALUES(0.5f, 0.25f));
        hone_detection *d = hone_detection_new(ctx, 4);
        hone_status status = d && boxes && scores ? hone_detection_update(d, boxes, scores, NULL, boxes, NULL) : HONE_MEMORY;
        double result = status == HONE_OK ? hone_detection_result(d) : (double)NAN;
        assert_true(n ? isnan(result) && hone_ctx_status(ctx) == HONE_MEMORY : fabs(result - 1) < 1e-12);
        if (!n) calls = c.calls;
        hone_tensor_free(boxes), hone_tensor_free(scores);
        hone_detection_free(d);
        hone_ctx_release(ctx);
        assert_int_equal(c.live, 0);
    }
    ctx = saved;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_average_precision_is_pycocotools_and_vocs),
        TEST(test_giou_is_its_formula),
        TEST(test_wrong_boxes_are_refused_and_not_counted),
        TEST(test_failing_allocations_end_in_an_error),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
