/* Average precision of boxes, as pycocotools computes it (COCO) and as the VOC 2012 development kit does. */
#include "metrics/metrics.h"

#include <math.h>
#include <stdlib.h>

enum { MAX_CLASSES = 1 << 20, THRESHOLDS = 10, RECALLS = 101, MOST = 100 };

/* A box that was found: at which thresholds it is right, a bit each. */
typedef struct answer {
    double score;
    int32_t class;
    uint32_t right;
    size_t number; /* in the order in which they came */
} answer;

struct hone_detection {
    hone_ctx *ctx;
    hone_detection_opts o;
    int64_t classes;
    int n_thresholds;
    double threshold[THRESHOLDS];
    int64_t *wanted; /* [classes] boxes that are there */
    answer *answers;
    size_t n, capacity;
};

hone_detection *hone_detection_new_opt(hone_ctx *ctx, int64_t classes, const hone_detection_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    hone_detection_opts o = {0};
    if (opts) memcpy(&o, opts, HONE_MIN(opts->struct_size, sizeof o));
    if (classes < 1 || classes > MAX_CLASSES || !(o.iou >= 0 && o.iou <= 1) || (unsigned)o.style > HONE_DETECTION_VOC) {
        hone__fail(ctx, HONE_INVALID, "detection: classes must be 1 to %d, iou in [0, 1], style one of hone_detection_style", MAX_CLASSES);
        return NULL;
    }
    hone_detection *d = hone__calloc(ctx, 1, sizeof *d);
    if (!d) return NULL;
    d->ctx = hone_ctx_retain(ctx);
    d->o = o;
    d->classes = classes;
    d->n_thresholds = o.iou == 0 && o.style == HONE_DETECTION_COCO ? THRESHOLDS : 1;
    for (int i = 0; i < d->n_thresholds; i++) d->threshold[i] = fmin(o.iou > 0 ? o.iou : 0.5 + 0.05 * i, 1 - 1e-10);
    if ((d->wanted = hone__calloc(ctx, (size_t)classes, sizeof *d->wanted))) return d;
    hone_detection_free(d);
    return NULL;
}

void hone_detection_free(hone_detection *d)
{
    if (!d) return;
    hone_ctx *ctx = d->ctx;
    hone__free(ctx, d->wanted);
    hone__free(ctx, d->answers);
    hone__free(ctx, d);
    hone_ctx_release(ctx);
}

void hone_detection_reset(hone_detection *d)
{
    if (!d) return;
    memset(d->wanted, 0, (size_t)d->classes * sizeof *d->wanted);
    d->n = 0;
}

/* The best first, of equal ones the earlier. */
static int best_first(const void *a, const void *b)
{
    const answer *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

/* ---- a picture ---- */

typedef struct picture {
    int64_t found, there;
    double *boxes, *truth;
    const hone_tensor *classes, *true_classes;
    uint32_t *taken; /* [there] the thresholds at which a box is somebody's */
} picture;

static int64_t class_at(const hone_tensor *classes, int64_t i) { return classes ? (int64_t)hone_tensor_get(classes, i) : 0; }

/* COCO: the best that nobody better took, at least at the threshold, of equal ones the later. VOC: the best of all; who comes second is
   wrong. */
static void judge(hone_detection *d, const picture *p, answer *a)
{
    const double *box = p->boxes + 4 * a->number;
    for (int i = 0; i < d->n_thresholds; i++) {
        bool voc = d->o.style == HONE_DETECTION_VOC;
        double best = voc ? -1 : d->threshold[i];
        int64_t who = -1;
        for (int64_t t = 0; t < p->there; t++) {
            if (class_at(p->true_classes, t) != a->class || (!voc && p->taken[t] >> i & 1)) continue;
            double shared = hone__box_iou(box, p->truth + 4 * t);
            if (voc ? shared > best : shared >= best) best = shared, who = t;
        }
        if (who < 0 || best < d->threshold[i] || p->taken[who] >> i & 1) continue;
        p->taken[who] |= 1U << i;
        a->right |= 1U << i;
    }
}

/* COCO looks at a picture's 100 best boxes of a class. */
static void judge_all(hone_detection *d, const picture *p, answer *found)
{
    qsort(found, (size_t)p->found, sizeof *found, best_first);
    size_t first = d->n;
    for (int64_t i = 0; i < p->found; i++) {
        int64_t before = 0;
        for (size_t k = first; k < d->n; k++) before += d->answers[k].class == found[i].class;
        if (d->o.style == HONE_DETECTION_COCO && before == MOST) continue;
        judge(d, p, &found[i]);
        found[i].number = d->n;
        d->answers[d->n++] = found[i];
    }
    for (int64_t t = 0; t < p->there; t++) d->wanted[class_at(p->true_classes, t)]++;
}

static hone_status check_vector(hone_ctx *ctx, const char *what, const hone_tensor *x, int64_t n)
{
    if (!x || hone_shape_equal(x->shape, HONE_SHAPE(n))) return HONE_OK;
    return hone__fail_run(ctx, HONE_SHAPE, "detection: %s are %s for %lld boxes", what, HONE__SHAPE_STR(x->shape), (long long)n);
}

static hone_status check_classes(const hone_detection *d, const hone_tensor *classes, int64_t n)
{
    for (int64_t i = 0; classes && i < n; i++) {
        double c = hone_tensor_get(classes, i);
        if (!(c >= 0 && c < (double)d->classes && c == floor(c)))
            return hone__fail_run(d->ctx, HONE_INVALID, "detection: box %lld is of class %g; they are below %lld", (long long)i, c,
                                  (long long)d->classes);
    }
    return HONE_OK;
}

static hone_status read_answers(const hone_detection *d, const picture *p, const hone_tensor *scores, answer *found)
{
    for (int64_t i = 0; i < p->found; i++) {
        found[i] = (answer){.score = hone_tensor_get(scores, i), .class = (int32_t)class_at(p->classes, i), .number = (size_t)i};
        if (isnan(found[i].score)) return hone__fail_run(d->ctx, HONE_INVALID, "detection: the score of box %lld is NaN", (long long)i);
    }
    return HONE_OK;
}

hone_status hone_detection_update(hone_detection *d, const hone_tensor *boxes, const hone_tensor *scores, const hone_tensor *classes,
                                  const hone_tensor *true_boxes, const hone_tensor *true_classes)
{
    if (!d) return HONE_INVALID;
    hone_ctx *ctx = d->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    if (!boxes || !scores || !true_boxes) return hone__fail_run(ctx, HONE_INVALID, "detection: boxes, scores and true boxes are wanted");
    picture p = {.boxes = hone__read_boxes(boxes), .classes = classes, .true_classes = true_classes};
    p.truth = p.boxes ? hone__read_boxes(true_boxes) : NULL;
    hone_status status = p.truth ? HONE_OK : ctx->status != HONE_OK ? ctx->status : HONE_SHAPE;
    answer *found = NULL;
    if (status == HONE_OK) {
        p.found = boxes->shape.dim[0], p.there = true_boxes->shape.dim[0];
        status = check_vector(ctx, "scores", scores, p.found);
        if (status == HONE_OK) status = check_vector(ctx, "classes", classes, p.found);
        if (status == HONE_OK) status = check_vector(ctx, "true classes", true_classes, p.there);
        if (status == HONE_OK) status = check_classes(d, classes, p.found);
        if (status == HONE_OK) status = check_classes(d, true_classes, p.there);
    }
    if (status == HONE_OK) {
        p.taken = hone__calloc(ctx, (size_t)HONE_MAX(p.there, 1), sizeof *p.taken);
        found = p.taken ? hone__alloc(ctx, (size_t)HONE_MAX(p.found, 1) * sizeof *found) : NULL;
        bool room = found && hone__grow(ctx, (void **)&d->answers, &d->capacity, d->n + (size_t)p.found, sizeof *d->answers);
        status = room ? read_answers(d, &p, scores, found) : HONE_MEMORY;
    }
    if (status == HONE_OK) judge_all(d, &p, found);
    hone__free(ctx, found);
    hone__free(ctx, p.taken);
    hone__free(ctx, p.truth);
    hone__free(ctx, p.boxes);
    return status;
}

/* ---- over all pictures ---- */

static double recall_at(int i) { return i == RECALLS - 1 ? 1 : i * 0.01; }

/* Of n answers of a class, the best first, `wanted` boxes being there. Precision at an answer is the best of that and all later ones
   (it takes the scores' place); its mean over recalls 0, 0.01, ... 1, at the first answer that has it (COCO), or the area below it (VOC). */
static double area(const hone_detection *d, answer *a, size_t n, int64_t wanted, int threshold)
{
    double right = 0, sum = 0;
    int recall = 0;
    for (size_t i = 0; i < n; i++) right += a[i].right >> threshold & 1, a[i].score = right / (double)(i + 1);
    for (size_t i = n; i-- > 1;) a[i - 1].score = fmax(a[i - 1].score, a[i].score);
    right = 0;
    for (size_t i = 0; i < n; i++) {
        bool hit = a[i].right >> threshold & 1;
        right += hit;
        if (d->o.style == HONE_DETECTION_VOC) sum += hit ? a[i].score / (double)wanted : 0;
        else
            for (; recall < RECALLS && recall_at(recall) <= right / (double)wanted; recall++) sum += a[i].score / RECALLS;
    }
    return sum;
}

double hone_detection_result_of(const hone_detection *d, int64_t class)
{
    if (!d || class < 0 || class >= d->classes || !d->wanted[class]) return NAN;
    answer *of = hone__alloc(d->ctx, HONE_MAX(d->n, (size_t)1) * sizeof *of);
    if (!of) return NAN;
    size_t n = 0;
    for (size_t i = 0; i < d->n; i++)
        if (d->answers[i].class == class) of[n++] = d->answers[i];
    qsort(of, n, sizeof *of, best_first);
    double sum = 0;
    for (int i = 0; i < d->n_thresholds; i++) sum += area(d, of, n, d->wanted[class], i);
    hone__free(d->ctx, of);
    return sum / d->n_thresholds;
}

double hone_detection_result(const hone_detection *d)
{
    if (!d) return NAN;
    double sum = 0, classes = 0;
    for (int64_t c = 0; c < d->classes; c++)
        if (d->wanted[c]) sum += hone_detection_result_of(d, c), classes++;
    return sum / classes;
}
