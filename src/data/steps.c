/* What each step of a pipeline learns of a column and does to it; one table. Formulas: scikit-learn's user guide, 7.3
   (preprocessing) and 7.4 (imputation). */
#include "data/pipeline.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef hone__step step;
typedef hone__learnt learnt;

/* ---- learning ---- */

static hone_status nothing_to_learn(const hone_pipeline *p, const step *s, const hone_column *c)
{
    return hone__fail_run(p->ctx, HONE_INVALID, "%s: column '%.60s' has no values to learn from; drop it",
                          hone__step_types[s->kind].name, c->name);
}

static hone_status infinite(const hone_pipeline *p, const step *s, const hone_frame *frame, const hone_column *c)
{
    int64_t row = 0;
    while (row < frame->rows && !isinf(c->numbers[row])) row++;
    return hone__fail_run(p->ctx, HONE_NUMERIC, "%s: column '%.60s' has infinite values, as in row %lld", hone__step_types[s->kind].name,
                          c->name, (long long)hone_frame_origin(frame, row));
}

/* The column's values, sorted; an error where nothing can be learnt. */
static hone_status sorted_values(hone_pipeline *p, const step *s, const hone_frame *frame, const hone_column *c,
                                 double **sorted, int64_t *count)
{
    if (!(*sorted = hone__sorted(p->ctx, c->numbers, frame->rows, count))) return p->ctx->status;
    double *v = *sorted;
    if (*count && isfinite(v[0]) && isfinite(v[*count - 1])) return HONE_OK;
    hone__free(p->ctx, v);
    if (!*count) return nothing_to_learn(p, s, c);
    return infinite(p, s, frame, c);
}

/* The longest run of equal values, the first of several. */
static double most_frequent(const double *sorted, int64_t count)
{
    double best = sorted[0];
    for (int64_t i = 0, begin = 0, longest = 0; i < count; i++) {
        if (sorted[i] != sorted[begin]) begin = i;
        if (i - begin + 1 > longest) longest = i - begin + 1, best = sorted[i];
    }
    return best;
}

/* The most frequent category of a column of text. */
static hone_status frequent_category(hone_pipeline *p, const step *s, const hone_frame *frame, const hone_column *c, const char **text)
{
    int64_t *counts = hone__calloc(p->ctx, c->n_categories, sizeof *counts), best = -1;
    if (!counts) return p->ctx->status;
    for (int64_t r = 0; r < frame->rows; r++)
        if (c->codes[r] >= 0) counts[c->codes[r]]++;
    for (size_t i = 0; i < c->n_categories; i++)
        if (counts[i] && (best < 0 || counts[i] > counts[best])) best = (int64_t)i;
    hone__free(p->ctx, counts);
    if (best < 0) return nothing_to_learn(p, s, c);
    *text = hone__arena_strdup(&p->fitted, c->categories[best]);
    return p->ctx->status;
}

static hone_status fit_imputer(hone_pipeline *p, step *s, const hone_frame *frame, const hone_column *c, learnt *l)
{
    hone_impute how = s->o.strategy;
    if (hone__is_text(c) && how == HONE_IMPUTE_MOST_FREQUENT) return frequent_category(p, s, frame, c, &l->text);
    if (hone__is_text(c)) {
        l->text = how == HONE_IMPUTE_CONSTANT ? s->o.fill_text : NULL;
        if (l->text) return HONE_OK;
        return hone__fail_run(p->ctx, HONE_DTYPE,
                              "imputer: column '%.60s' is text: only the most frequent value or fill_text can stand in", c->name);
    }
    l->a = s->o.fill_value;
    if (how == HONE_IMPUTE_CONSTANT) return HONE_OK;
    int64_t count;
    double *sorted;
    hone_status status = sorted_values(p, s, frame, c, &sorted, &count);
    if (status != HONE_OK) return status;
    l->a = how == HONE_IMPUTE_MEAN     ? hone__measure(sorted, count).mean
           : how == HONE_IMPUTE_MEDIAN ? hone__quantile(sorted, count, 0.5)
                                       : most_frequent(sorted, count);
    hone__free(p->ctx, sorted);
    return HONE_OK;
}

static hone_status fit_clip(hone_pipeline *p, step *s, const hone_frame *frame, const hone_column *c, learnt *l)
{
    int64_t count;
    double *sorted;
    hone_status status = sorted_values(p, s, frame, c, &sorted, &count);
    if (status != HONE_OK) return status;
    bool quartiles = s->o.iqr_factor > 0;
    l->a = hone__quantile(sorted, count, quartiles ? 0.25 : s->o.low);
    l->b = hone__quantile(sorted, count, quartiles ? 0.75 : s->o.high);
    double more = quartiles ? s->o.iqr_factor * (l->b - l->a) : 0;
    l->a -= more, l->b += more;
    hone__free(p->ctx, sorted);
    return HONE_OK;
}

bool hone__fit_scale(hone_ctx *ctx, const step *s, const double *values, int64_t n, learnt *l, int64_t *count, char wrong[HONE__WRONG])
{
    hone__moments m = hone__measure(values, n);
    l->a = 0, l->b = 1;
    *count = m.count;
    snprintf(wrong, HONE__WRONG, "has infinite values");
    if (!m.count) return true;
    if (!isfinite(m.least) || !isfinite(m.most)) return false;
    if (s->kind == HONE_STANDARD_SCALER) {
        l->a = m.mean, l->b = m.deviation;
    } else if (s->kind == HONE_MIN_MAX_SCALER) { /* (v - least) / (most - least) * (high - low) + low, as (v - a) / b */
        l->b = m.most > m.least ? (m.most - m.least) / (s->o.high - s->o.low) : 1 / (s->o.high - s->o.low);
        l->a = m.least - s->o.low * l->b;
    } else {
        double *sorted = hone__sorted(ctx, values, n, count);
        if (!sorted) return false;
        l->a = hone__quantile(sorted, *count, 0.5);
        l->b = hone__quantile(sorted, *count, s->o.high) - hone__quantile(sorted, *count, s->o.low);
        hone__free(ctx, sorted);
    }
    snprintf(wrong, HONE__WRONG, "has values that are too large to be scaled, up to %g", fmax(fabs(m.least), fabs(m.most)));
    const bool finite = isfinite(l->a) && isfinite(l->b);
    if (!(l->b > 0)) l->b = 1; /* nothing varies */
    return finite;
}

static hone_status fit_scaler(hone_pipeline *p, step *s, const hone_frame *frame, const hone_column *c, learnt *l)
{
    int64_t count;
    char wrong[HONE__WRONG];
    for (int64_t r = 0; r < frame->rows; r++)
        if (isinf(c->numbers[r])) return infinite(p, s, frame, c);
    if (!hone__fit_scale(p->ctx, s, c->numbers, frame->rows, l, &count, wrong))
        return hone__fail_run(p->ctx, HONE_NUMERIC, "%s: column '%.60s' %s", hone__step_types[s->kind].name, c->name, wrong);
    return count ? HONE_OK : nothing_to_learn(p, s, c);
}

static hone_status fit_encoder(hone_pipeline *p, step *s, const hone_frame *frame, const hone_column *c, learnt *l)
{
    if (hone__is_text(c)) { /* the categories that a row has, in their order */
        bool *used = hone__calloc(p->ctx, HONE_MAX(c->n_categories, 1), sizeof *used);
        l->texts = used ? hone__arena_alloc(&p->fitted, c->n_categories * sizeof *l->texts) : NULL;
        for (int64_t r = 0; l->texts && r < frame->rows; r++)
            if (c->codes[r] >= 0) used[c->codes[r]] = true;
        bool ok = l->texts != NULL;
        for (size_t i = 0; ok && i < c->n_categories; i++)
            if (used[i]) ok = (l->texts[l->n++] = hone__arena_strdup(&p->fitted, c->categories[i])) != NULL;
        hone__free(p->ctx, used);
        return ok && !l->n ? nothing_to_learn(p, s, c) : p->ctx->status;
    }
    int64_t count;
    double *sorted;
    hone_status status = sorted_values(p, s, frame, c, &sorted, &count);
    if (status != HONE_OK) return status;
    for (int64_t i = 0; i < count; i++)
        if (!l->n || sorted[l->n - 1] != sorted[i]) sorted[l->n++] = sorted[i] == 0 ? 0 : sorted[i]; /* not -0 */
    l->numbers = hone__arena_alloc(&p->fitted, l->n * sizeof *l->numbers);
    if (l->numbers) memcpy(l->numbers, sorted, l->n * sizeof *l->numbers);
    hone__free(p->ctx, sorted);
    return p->ctx->status;
}

static hone_status fit_nothing(hone_pipeline *p, step *s, const hone_frame *frame, const hone_column *c, learnt *l)
{
    (void)p, (void)s, (void)frame, (void)c, (void)l;
    return HONE_OK;
}

/* ---- doing ---- */

static hone_status impute(const hone_pipeline *p, const step *s, hone_frame *frame, size_t at, const learnt *l)
{
    hone_column *c = &frame->columns[at];
    (void)s;
    if (!hone__is_text(c)) {
        for (int64_t r = 0; r < frame->rows; r++)
            if (isnan(c->numbers[r])) c->numbers[r] = l->a;
        return HONE_OK;
    }
    /* The value's own category, which may be a new one: then at the place where it sorts. */
    size_t place = 0;
    while (place < c->n_categories && strcmp(c->categories[place], l->text) < 0) place++;
    bool there = place < c->n_categories && !strcmp(c->categories[place], l->text);
    if (!there) {
        hone__arena *arena = &((hone__frame *)frame)->arena;
        char **more = hone__arena_alloc(arena, (c->n_categories + 1) * sizeof *more);
        char *text = more ? hone__arena_strdup(arena, l->text) : NULL;
        if (!text) return p->ctx->status;
        if (place) memcpy(more, c->categories, place * sizeof *more);
        if (place < c->n_categories)
            memcpy(more + place + 1, c->categories + place, (c->n_categories - place) * sizeof *more);
        more[place] = text;
        c->categories = more;
        c->n_categories++;
    }
    for (int64_t r = 0; r < frame->rows; r++) {
        if (!there && c->codes[r] >= (int32_t)place) c->codes[r]++;
        if (c->codes[r] < 0) c->codes[r] = (int32_t)place;
    }
    return HONE_OK;
}

static hone_status clip(const hone_pipeline *p, const step *s, hone_frame *frame, size_t at, const learnt *l)
{
    double *v = frame->columns[at].numbers;
    (void)p, (void)s;
    for (int64_t r = 0; r < frame->rows; r++) v[r] = v[r] < l->a ? l->a : v[r] > l->b ? l->b : v[r]; /* NaN stays */
    frame->columns[at].type = HONE_COLUMN_REAL;
    return HONE_OK;
}

static hone_status scale(const hone_pipeline *p, const step *s, hone_frame *frame, size_t at, const learnt *l)
{
    double *v = frame->columns[at].numbers;
    (void)p, (void)s;
    for (int64_t r = 0; r < frame->rows; r++) v[r] = (v[r] - l->a) / l->b;
    frame->columns[at].type = HONE_COLUMN_REAL;
    return HONE_OK;
}

static int64_t find_text(char *const *texts, size_t n, const char *text)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(texts[middle], text);
        if (!order) return (int64_t)middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

static int64_t find_number(const double *numbers, size_t n, double v)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (numbers[middle] == v) return (int64_t)middle;
        if (numbers[middle] < v)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

static hone_status unknown_class(const hone_pipeline *p, const hone_frame *frame, const hone_column *c, int64_t row)
{
    char number[HONE__NUMBER];
    return hone__fail_run(p->ctx, HONE_INVALID, "the target '%.60s' is \"%.60s\" in row %lld, which was none of the %zu classes in "
                                                "training; HONE_LABEL_ENCODER with ignore_unknown accepts it",
                          c->name, c->codes ? c->categories[c->codes[row]] : hone__number_text(c->numbers[row], number),
                          (long long)hone_frame_origin(frame, row), p->n_classes);
}

static hone_status unknown(const hone_pipeline *p, const step *s, const hone_frame *frame, const hone_column *c, int64_t row,
                           const learnt *l)
{
    const long long told = hone_frame_origin(frame, row);
    const char *what = hone__step_types[s->kind].name;
    if (s->o.ignore_unknown) return HONE_OK;
    if (s->kind == HONE_LABEL_ENCODER) return unknown_class(p, frame, c, row);
    if (hone_column_missing(c, row))
        return hone__fail_run(p->ctx, HONE_INVALID,
                              "%s: column '%.60s' has no value in row %lld; impute it first, or set ignore_unknown", what,
                              c->name, told);
    if (hone__is_text(c))
        return hone__fail_run(p->ctx, HONE_INVALID,
                              "%s: column '%.60s', row %lld: \"%.60s\" was not among the %zu values in training (\"%.60s\", "
                              "...); set ignore_unknown to accept it",
                              what, c->name, told, c->categories[c->codes[row]], l->n, l->texts[0]);
    return hone__fail_run(p->ctx, HONE_INVALID,
                          "%s: column '%.60s', row %lld: %g was not among the %zu values in training (%g, ...); set "
                          "ignore_unknown to accept it",
                          what, c->name, told, c->numbers[row], l->n, l->numbers[0]);
}

/* A target without values may be of another type than what was learnt: none of it is known then. */
hone_status hone__encode(const hone_pipeline *p, const step *s, const hone_frame *frame, const hone_column *c,
                         const learnt *l, int32_t *codes)
{
    const bool alike = c->codes ? l->texts != NULL : l->numbers != NULL;
    int32_t *map = hone__calloc(p->ctx, c->n_categories, sizeof *map);
    hone_status status = p->ctx->status;
    for (size_t i = 0; map && alike && i < c->n_categories; i++) map[i] = (int32_t)find_text(l->texts, l->n, c->categories[i]);
    for (int64_t r = 0; status == HONE_OK && r < frame->rows; r++) {
        codes[r] = !alike ? -1 : !c->codes ? (int32_t)find_number(l->numbers, l->n, c->numbers[r]) : c->codes[r] >= 0 ? map[c->codes[r]] : -1;
        if (codes[r] < 0) status = unknown(p, s, frame, c, r, l);
    }
    hone__free(p->ctx, map);
    return status;
}

const char *hone__number_text(double v, char text[HONE__NUMBER])
{
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, HONE__NUMBER, "%.*g", digits, v);
        if (strtod(text, NULL) == v) break;
    }
    return text;
}

/* "sex_male" */
static char *category_name(hone__arena *arena, const learnt *l, size_t i)
{
    char number[HONE__NUMBER];
    const char *category = l->texts ? l->texts[i] : hone__number_text(l->numbers[i], number);
    size_t size = strlen(l->column) + strlen(category) + 2;
    char *name = hone__arena_alloc(arena, size);
    if (name) snprintf(name, size, "%s_%s", l->column, category);
    return name;
}

static hone_status one_hot(const hone_pipeline *p, const step *s, hone_frame *frame, size_t at, const learnt *l)
{
    size_t first = s->o.drop_first, rows = (size_t)frame->rows;
    int32_t *codes = hone__calloc(p->ctx, rows, sizeof *codes);
    hone_status status = codes ? hone__encode(p, s, frame, &frame->columns[at], l, codes) : p->ctx->status;
    if (status == HONE_OK && !hone__frame_insert(frame, at + 1, l->n - first)) status = p->ctx->status;
    for (size_t i = first; status == HONE_OK && i < l->n; i++) {
        hone_column *c = &frame->columns[at + 1 + i - first];
        c->type = HONE_COLUMN_INTEGER;
        c->name = category_name(&((hone__frame *)frame)->arena, l, i);
        c->numbers = hone__calloc(p->ctx, rows, sizeof *c->numbers);
        for (size_t r = 0; c->numbers && r < rows; r++) c->numbers[r] = codes[r] == (int32_t)i;
        status = p->ctx->status; /* columns that are not made yet are all zero: they go with the frame */
    }
    if (status == HONE_OK) hone__frame_remove(frame, at);
    hone__free(p->ctx, codes);
    return status;
}

static hone_status ordinal(const hone_pipeline *p, const step *s, hone_frame *frame, size_t at, const learnt *l)
{
    hone_column *c = &frame->columns[at];
    size_t rows = (size_t)frame->rows;
    int32_t *codes = hone__calloc(p->ctx, rows, sizeof *codes);
    double *numbers = codes ? hone__calloc(p->ctx, rows, sizeof *numbers) : NULL;
    hone_status status = numbers ? hone__encode(p, s, frame, c, l, codes) : p->ctx->status;
    if (status == HONE_OK) {
        for (size_t r = 0; r < rows; r++) numbers[r] = codes[r] >= 0 ? codes[r] : s->o.unknown_value;
        hone__free(p->ctx, c->numbers);
        hone__free(p->ctx, c->codes);
        *c = (hone_column){.name = c->name, .type = HONE_COLUMN_INTEGER, .numbers = numbers};
        numbers = NULL;
    }
    hone__free(p->ctx, numbers);
    hone__free(p->ctx, codes);
    return status;
}

static hone_status drop(const hone_pipeline *p, const step *s, hone_frame *frame, size_t at, const learnt *l)
{
    (void)p, (void)s, (void)l;
    hone__frame_remove(frame, at);
    return HONE_OK;
}

const hone__step_type hone__step_types[HONE_DROP_COLUMNS + 1] = {
    [HONE_STANDARD_SCALER] = {"standard_scaler", false, fit_scaler, scale},
    [HONE_MIN_MAX_SCALER] = {"min_max_scaler", false, fit_scaler, scale},
    [HONE_ROBUST_SCALER] = {"robust_scaler", false, fit_scaler, scale},
    [HONE_CLIP_OUTLIERS] = {"clip_outliers", false, fit_clip, clip},
    [HONE_SIMPLE_IMPUTER] = {"imputer", false, fit_imputer, impute},
    [HONE_ONE_HOT_ENCODER] = {"one_hot_encoder", true, fit_encoder, one_hot},
    [HONE_ORDINAL_ENCODER] = {"ordinal_encoder", true, fit_encoder, ordinal},
    [HONE_LABEL_ENCODER] = {"label_encoder", true, fit_encoder, NULL}, /* of the target: pipeline.c applies it */
    [HONE_DROP_COLUMNS] = {"drop_columns", false, fit_nothing, drop},
};

/* ---- a step as a whole ---- */

bool hone__step_check(hone_ctx *ctx, step *s)
{
    static const double defaults[HONE_DROP_COLUMNS + 1][2] = {
        [HONE_CLIP_OUTLIERS] = {0.01, 0.99}, [HONE_MIN_MAX_SCALER] = {0, 1}, [HONE_ROBUST_SCALER] = {0.25, 0.75}};
    hone_pipeline_add_opts *o = &s->o;
    if (o->low == 0 && o->high == 0) o->low = defaults[s->kind][0], o->high = defaults[s->kind][1];
    if (o->unknown_value == 0) o->unknown_value = -1;
    if (o->unknown_value == (double)HONE_ZERO) o->unknown_value = 0;
    bool quantiles = s->kind == HONE_CLIP_OUTLIERS || s->kind == HONE_ROBUST_SCALER;
    const char *wrong = NULL;
    if (o->strategy > HONE_IMPUTE_CONSTANT) wrong = "there is no such strategy";
    if (defaults[s->kind][1] > 0 && !(o->low < o->high)) wrong = "low must be below high";
    if (quantiles && !(o->low >= 0 && o->high <= 1)) wrong = "low and high are quantiles, in [0, 1]";
    if (!isfinite(o->low) || !isfinite(o->high) || !isfinite(o->fill_value) || !isfinite(o->unknown_value))
        wrong = "numbers must be finite";
    if (!(o->iqr_factor >= 0 && isfinite(o->iqr_factor))) wrong = "iqr_factor must be positive";
    if (s->kind == HONE_DROP_COLUMNS && !o->columns) wrong = "columns must be named";
    if (s->kind == HONE_LABEL_ENCODER && o->columns) wrong = "it is for the target; HONE_ORDINAL_ENCODER is for other columns";
    if (s->kind == HONE_LABEL_ENCODER && !(fabs(o->unknown_value) <= INT32_MAX && o->unknown_value == floor(o->unknown_value)))
        wrong = "unknown_value must be a whole number of 32 bits";
    if (wrong) hone__fail(ctx, HONE_INVALID, "%s: %s", hone__step_types[s->kind].name, wrong);
    return !wrong;
}

/* Is it a column that the step takes by default? */
static bool takes(const step *s, const hone_column *c)
{
    if (s->kind != HONE_SIMPLE_IMPUTER) return hone__step_types[s->kind].takes_text == hone__is_text(c);
    if (s->o.strategy == HONE_IMPUTE_MOST_FREQUENT) return true;
    return (s->o.strategy == HONE_IMPUTE_CONSTANT && s->o.fill_text) == hone__is_text(c);
}

hone_status hone__step_fit(hone_pipeline *p, step *s, hone_frame *frame)
{
    const char *what = hone__step_types[s->kind].name;
    size_t named = 0;
    while (s->o.columns && s->o.columns[named]) named++;
    size_t most = s->o.columns ? named : frame->n_columns;
    s->n_learnt = 0;
    s->learnt = hone__arena_alloc(&p->fitted, most * sizeof *s->learnt);
    if (!s->learnt) return p->ctx->status;
    for (size_t i = 0; i < most; i++) {
        const hone_column *c = s->o.columns ? hone_frame_find(frame, s->o.columns[i]) : &frame->columns[i];
        if (!c)
            return hone__fail_run(p->ctx, HONE_NOT_FOUND, "%s: there is no column '%.60s' at this step", what, s->o.columns[i]);
        if (!s->o.columns && !takes(s, c)) continue;
        if (hone__is_text(c) && s->kind <= HONE_CLIP_OUTLIERS)
            return hone__fail_run(p->ctx, HONE_DTYPE, "%s: column '%.60s' is text, and numbers are needed", what, c->name);
        learnt *l = &s->learnt[s->n_learnt];
        *l = (learnt){.column = hone__arena_strdup(&p->fitted, c->name)};
        if (!l->column) return p->ctx->status;
        hone_status status = hone__step_types[s->kind].fit(p, s, frame, c, l);
        if (status != HONE_OK) return status;
        s->n_learnt++;
    }
    return hone__step_apply(p, s, frame);
}

hone_status hone__step_apply(const hone_pipeline *p, const step *s, hone_frame *frame)
{
    hone_status status = HONE_OK;
    for (size_t i = 0; i < s->n_learnt && status == HONE_OK; i++) {
        const learnt *l = &s->learnt[i];
        const hone_column *c = hone_frame_find(frame, l->column);
        bool any = s->kind == HONE_DROP_COLUMNS;
        if (!c || (!any && hone__is_text(c) != (l->text || l->texts))) /* a damaged file, as the inputs were checked */
            return hone__fail_run(p->ctx, HONE_DTYPE, "%s: column '%.60s' %s at this step", hone__step_types[s->kind].name,
                                  l->column, c ? "is of another type" : "is not there");
        status = hone__step_types[s->kind].apply(p, s, frame, (size_t)(c - frame->columns), l);
    }
    return status;
}
