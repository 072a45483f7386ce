/* The confusion matrix, and scikit-learn's classification report of it. */
#include "metrics/metrics.h"

#include <stdio.h>

enum { MAX_CLASSES = 4096 }; /* 128 MiB of counts */

struct hone_confusion {
    hone_ctx *ctx;
    int64_t classes, *counts; /* [classes, classes]: target, answer */
    hone__answers batch;
};

static const hone_metric_opts defaults = {.threshold = 0.5};

hone_confusion *hone_confusion_new(hone_ctx *ctx, int64_t classes)
{
    if (!hone__ok(ctx)) return NULL;
    if (classes < 1 || classes > MAX_CLASSES) {
        hone__fail(ctx, HONE_INVALID, "confusion: %lld classes; there must be 1 to %d", (long long)classes, MAX_CLASSES);
        return NULL;
    }
    hone_confusion *c = hone__calloc(ctx, 1, sizeof *c);
    int64_t *counts = c ? hone__calloc(ctx, (size_t)(classes * classes), sizeof *counts) : NULL;
    if (!counts) {
        hone__free(ctx, c);
        return NULL;
    }
    *c = (hone_confusion){.ctx = hone_ctx_retain(ctx), .classes = classes, .counts = counts};
    return c;
}

void hone_confusion_free(hone_confusion *c)
{
    if (!c) return;
    hone_ctx *ctx = c->ctx;
    hone__answers_free(ctx, &c->batch);
    hone__free(ctx, c->counts);
    hone__free(ctx, c);
    hone_ctx_release(ctx);
}

hone_status hone_confusion_update(hone_confusion *c, const hone_tensor *prediction, const hone_tensor *target)
{
    if (!c) return HONE_INVALID;
    if (!hone__ok(c->ctx)) return hone_ctx_status(c->ctx);
    hone_status status = hone__answers_read(&c->batch, c->ctx, &defaults, false, prediction, target);
    if (status == HONE_OK) status = hone__check_decisions(c->ctx, &c->batch, &defaults, c->classes);
    if (status != HONE_OK) hone__error_prefix(c->ctx, "confusion");
    for (int64_t i = 0; status == HONE_OK && i < hone__decisions(&c->batch, &defaults); i++) {
        int64_t answer, is;
        hone__decision(&c->batch, &defaults, i, &answer, &is);
        if (is >= 0) c->counts[is * c->classes + answer]++;
    }
    return status;
}

int64_t hone_confusion_classes(const hone_confusion *c) { return c ? c->classes : 0; }

int64_t hone_confusion_at(const hone_confusion *c, int64_t target, int64_t answer)
{
    bool in = c && target >= 0 && target < c->classes && answer >= 0 && answer < c->classes;
    return in ? c->counts[target * c->classes + answer] : 0;
}

void hone_confusion_reset(hone_confusion *c) { if (c) memset(c->counts, 0, (size_t)(c->classes * c->classes) * sizeof *c->counts); }

/* ---- the report ---- */

static size_t characters(const char *text)
{
    size_t n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

typedef struct report {
    hone_ctx *ctx;
    hone__buffer text;
    int width, digits;
    bool ok;
} report;

static void name_line(report *r, const char *name)
{
    int blanks = r->width - (int)characters(name);
    r->ok = r->ok && hone__buffer_print(r->ctx, &r->text, "%*s%s ", HONE_MAX(blanks, 0), "", name);
}

static void numbers_line(report *r, const char *name, const double score[3], int64_t support)
{
    name_line(r, name);
    r->ok = r->ok && hone__buffer_print(r->ctx, &r->text, " %9.*f %9.*f %9.*f %9lld\n", r->digits, score[0], r->digits, score[1],
                                        r->digits, score[2], (long long)support);
}

/* Of all classes with names, else of those that were met. */
static void write_report(report *r, const hone_confusion *c, const hone__class_count *counts, const char *const *names)
{
    static const hone__class_score scores[3] = {hone__precision, hone__recall, hone__f_beta};
    int64_t right = 0, all = 0, lines = 0;
    double score[3], macro[3] = {0}, weighted[3];
    char number[32];
    r->width = HONE_MAX((int)strlen("weighted avg"), r->digits);
    for (int64_t i = 0; i < c->classes && names; i++) r->width = HONE_MAX(r->width, (int)characters(names[i]));
    name_line(r, "");
    r->ok = r->ok && hone__buffer_print(r->ctx, &r->text, " %9s %9s %9s %9s\n\n", "precision", "recall", "f1-score", "support");
    for (int64_t i = 0; i < c->classes; i++) {
        if (!names && counts[i].answers + counts[i].targets == 0) continue;
        snprintf(number, sizeof number, "%lld", (long long)i);
        for (int s = 0; s < 3; s++) macro[s] += score[s] = scores[s](counts[i], 1);
        numbers_line(r, names ? names[i] : number, score, (int64_t)counts[i].targets);
        right += (int64_t)counts[i].right, all += (int64_t)counts[i].targets, lines++;
    }
    r->ok = r->ok && hone__buffer_print(r->ctx, &r->text, "\n");
    name_line(r, "accuracy");
    r->ok = r->ok && hone__buffer_print(r->ctx, &r->text, " %9s %9s %9.*f %9lld\n", "", "", r->digits, (double)right / (double)all,
                                        (long long)all);
    for (int s = 0; s < 3; s++) {
        macro[s] /= (double)lines;
        weighted[s] = hone__average(counts, c->classes, HONE_AVERAGE_WEIGHTED, scores[s], 1);
    }
    numbers_line(r, "macro avg", macro, all);
    numbers_line(r, "weighted avg", weighted, all);
}

char *hone_classification_report(const hone_confusion *c, const char *const *names, int digits)
{
    if (!c) return NULL;
    hone_ctx *ctx = c->ctx;
    if (!hone__ok(ctx)) return NULL;
    int64_t all = 0;
    for (int64_t i = 0; i < c->classes * c->classes; i++) all += c->counts[i];
    if (all == 0 || digits < 0 || digits > 15) {
        hone__fail_run(ctx, HONE_INVALID, "report: %lld rows were counted, %d digits are wanted; some rows and 0 to 15 digits must be",
                       (long long)all, digits);
        return NULL;
    }
    hone__class_count *counts = hone__calloc(ctx, (size_t)c->classes, sizeof *counts);
    if (!counts) return NULL;
    for (int64_t t = 0; t < c->classes; t++)
        for (int64_t a = 0; a < c->classes; a++) {
            double n = (double)c->counts[t * c->classes + a];
            counts[t].targets += n, counts[a].answers += n;
            if (t == a) counts[t].right += n;
        }
    report r = {.ctx = ctx, .digits = digits, .ok = true};
    write_report(&r, c, counts, names);
    hone__free(ctx, counts);
    if (r.ok) return r.text.data;
    hone__buffer_free(ctx, &r.text);
    return NULL;
}
