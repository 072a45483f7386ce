/* Boxes around things in pictures: how much two are the same, and which stay of many around one thing. */
#include "metrics/metrics.h"

#include <math.h>
#include <stdlib.h>

static double area(const double *box) { return fmax(box[2] - box[0], 0) * fmax(box[3] - box[1], 0); }

/* *all: the area of both together. */
static double shared_area(const double *a, const double *b, double *all)
{
    const double both[4] = {fmax(a[0], b[0]), fmax(a[1], b[1]), fmin(a[2], b[2]), fmin(a[3], b[3])};
    double shared = area(both);
    *all = area(a) + area(b) - shared;
    return shared;
}

double hone__box_iou(const double *a, const double *b)
{
    double all, shared = shared_area(a, b, &all);
    return all > 0 ? shared / all : 0;
}

static double giou(const double *a, const double *b)
{
    const double hull[4] = {fmin(a[0], b[0]), fmin(a[1], b[1]), fmax(a[2], b[2]), fmax(a[3], b[3])};
    double all;
    shared_area(a, b, &all);
    return hone__box_iou(a, b) - (area(hull) > 0 ? (area(hull) - all) / area(hull) : 0);
}

double *hone__read_boxes(const hone_tensor *boxes)
{
    hone_ctx *ctx = boxes->ctx;
    if (boxes->shape.rank != 2 || boxes->shape.dim[1] != 4)
        return hone__fail_run(ctx, HONE_SHAPE, "boxes are [n, 4], not %s", HONE__SHAPE_STR(boxes->shape)), NULL;
    int64_t count = hone_shape_count(boxes->shape);
    double *values = hone__alloc(ctx, (size_t)HONE_MAX(count, 1) * sizeof *values);
    if (!values || hone_tensor_read(boxes, 0, count, HONE_F64, values) == HONE_OK) return values;
    hone__free(ctx, values);
    return NULL;
}

/* f32 [N, M] of each of a with each of b. */
static hone_tensor *pairs(const hone_tensor *a, const hone_tensor *b, double (*of)(const double *a, const double *b))
{
    if (!a || !b || !hone__ok(a->ctx)) return NULL;
    double *of_a = hone__read_boxes(a), *of_b = of_a ? hone__read_boxes(b) : NULL;
    hone_tensor *result = of_b ? hone_tensor_new(a->ctx, HONE_F32, HONE_SHAPE(a->shape.dim[0], b->shape.dim[0])) : NULL;
    for (int64_t i = 0, at = 0; result && i < a->shape.dim[0]; i++)
        for (int64_t j = 0; j < b->shape.dim[0]; j++) ((float *)result->data)[at++] = (float)of(of_a + 4 * i, of_b + 4 * j);
    hone__free(a->ctx, of_a);
    hone__free(a->ctx, of_b);
    return result;
}

hone_tensor *hone_box_iou(const hone_tensor *a, const hone_tensor *b) { return pairs(a, b, hone__box_iou); }
hone_tensor *hone_box_giou(const hone_tensor *a, const hone_tensor *b) { return pairs(a, b, giou); }

/* ---- suppression ---- */

typedef struct candidate {
    double score, class, box[4];
    int64_t row;
} candidate;

static int best_first(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static hone_status read_candidates(hone_ctx *ctx, const double *boxes, const hone_tensor *scores, const hone_tensor *classes,
                                   candidate *c, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        c[i] = (candidate){.score = hone_tensor_get(scores, i), .class = classes ? hone_tensor_get(classes, i) : 0, .row = i};
        memcpy(c[i].box, boxes + 4 * i, sizeof c[i].box);
        if (isnan(c[i].score)) return hone__fail_run(ctx, HONE_INVALID, "nms: the score of box %lld is NaN", (long long)i);
    }
    return HONE_OK;
}

/* Candidates that stay move to the front. */
static int64_t suppress(candidate *c, int64_t n, double threshold)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++) {
        bool stays = true;
        for (int64_t k = 0; k < kept && stays; k++) stays = c[k].class != c[i].class || hone__box_iou(c[k].box, c[i].box) <= threshold;
        if (stays) c[kept++] = c[i];
    }
    return kept;
}

hone_status hone_nms(const hone_tensor *boxes, const hone_tensor *scores, const hone_tensor *classes, double threshold, int64_t *rows,
                     int64_t *n_kept)
{
    hone_ctx *ctx = boxes ? boxes->ctx : NULL;
    if (!hone__ok(ctx)) return ctx ? ctx->status : HONE_INVALID;
    if (!scores || !rows || !n_kept || !(threshold >= 0 && threshold <= 1))
        return hone__fail_run(ctx, HONE_INVALID, "nms: scores are wanted, and a threshold in [0, 1], not %g", threshold);
    hone_shape want = {.rank = 1, .dim = {boxes->shape.rank ? boxes->shape.dim[0] : 0}};
    const hone_tensor *wrong = hone_shape_equal(scores->shape, want) ? NULL : scores;
    if (!wrong && classes && !hone_shape_equal(classes->shape, want)) wrong = classes;
    if (wrong)
        return hone__fail_run(ctx, HONE_SHAPE, "nms: %s are %s for boxes %s", wrong == scores ? "scores" : "classes",
                              HONE__SHAPE_STR(wrong->shape), HONE__SHAPE_STR(boxes->shape));
    double *values = hone__read_boxes(boxes);
    if (!values) return ctx->status != HONE_OK ? ctx->status : HONE_SHAPE;
    candidate *c = hone__alloc(ctx, (size_t)HONE_MAX(want.dim[0], 1) * sizeof *c);
    hone_status status = c ? read_candidates(ctx, values, scores, classes, c, want.dim[0]) : HONE_MEMORY;
    if (status == HONE_OK) {
        qsort(c, (size_t)want.dim[0], sizeof *c, best_first);
        *n_kept = suppress(c, want.dim[0], threshold);
        for (int64_t i = 0; i < *n_kept; i++) rows[i] = c[i].row;
    }
    hone__free(ctx, c);
    hone__free(ctx, values);
    return status;
}
