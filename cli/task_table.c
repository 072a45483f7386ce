/* Tables: columns filled in, encoded and scaled by a pipeline. */
#include "task.h"

#include <math.h>
#include <stdlib.h>

typedef struct table_task {
    task base;
    hone_pipeline *pipeline; /* of training; NULL: the model has it */
} table_task;

static table_task *table_of(const task *t) { return (table_task *)(uintptr_t)t; }

/* ---- what the columns are, and what becomes of them ---- */

/* Is it called a number of rows, and does it count them? */
static bool numbers_rows(const task *t, const hone_column *c)
{
    static const char *const names[] = {"", "id", "index", "row", "no", "nr", "#", "unnamed: 0"};
    size_t length = strlen(c->name);
    bool named = length > 3 && !cli_compare_case(c->name + length - 3, "_id", 4);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) named |= !cli_compare_case(c->name, names[i], length + 1);
    for (int64_t i = 1; named && i < t->rows; i++) named = c->numbers[i] > c->numbers[i - 1];
    return named && c->type == HONE_COLUMN_INTEGER;
}

/* Why nothing can be learnt from a column in these rows; NULL: it can. */
static const char *why_left_out(const task *t, const hone_column *c, int64_t n, const int64_t *rows)
{
    int64_t first = -1, others = 0;
    for (int64_t i = 0; i < n && !others; i++) {
        if (hone_column_missing(c, rows[i])) continue;
        if (first < 0) first = rows[i];
        others += c->numbers ? c->numbers[rows[i]] != c->numbers[first] : c->codes[rows[i]] != c->codes[first];
    }
    if (first < 0) return "it has no values";
    if (!others) return "it is the same in every row";
    if (c->type == HONE_COLUMN_TEXT && (int64_t)c->n_categories > t->rows / 2)
        return task_has_commas(c) ? "its numbers have commas"
               : task_has_dates(c) ? "dates are not read: columns of numbers are, such as year, month and weekday"
                                   : "nearly every row has another text";
    if (c->type == HONE_COLUMN_TEXT) return NULL;
    return numbers_rows(t, c) ? "it numbers the rows" : NULL;
}

/* The one text in a column that is numbers but for it; NULL: it is another kind of column. */
static const char *odd_one(const hone_column *c)
{
    const char *odd = NULL;
    size_t n = 0;
    for (size_t i = 0; i < c->n_categories && n < 2; i++) {
        char *end;
        strtod(c->categories[i], &end);
        if (end == c->categories[i] || *end) odd = c->categories[i], n++;
    }
    return n == 1 && c->n_categories > 2 ? odd : NULL;
}

/* why: it is left out; NULL: it is not. */
static void tell_column(task *t, const hone_column *c, const char *why)
{
    char what[160], becomes[160];
    int64_t missing = 0;
    double least = INFINITY, most = -INFINITY;
    for (int64_t i = 0; i < t->rows; i++) {
        if (hone_column_missing(c, i)) {
            missing++;
        } else if (c->numbers) {
            least = fmin(least, c->numbers[i]), most = fmax(most, c->numbers[i]);
        }
    }
    int n = c->numbers ? snprintf(what, sizeof what, "%s from %g to %g", c->type == HONE_COLUMN_INTEGER ? "whole numbers" : "numbers", least, most)
                       : snprintf(what, sizeof what, "text, %zu different ones", c->n_categories);
    if (missing) snprintf(what + n, sizeof what - (size_t)n, ", missing in %lld rows", (long long)missing);
    if (!strcmp(c->name, t->target))
        snprintf(becomes, sizeof becomes, t->classes ? "the target: one of %lld classes" : "the target: a quantity", (long long)t->classes);
    else if (why)
        snprintf(becomes, sizeof becomes, "left out: %s", why);
    else if (c->numbers)
        snprintf(becomes, sizeof becomes, "one number: the median where it is missing, scaled to mean 0 and standard deviation 1");
    else
        snprintf(becomes, sizeof becomes, "a number for each text: 1 where it stands, else 0; scaled likewise");
    task_fact(t, c->name, what, becomes);
}

static bool learn(task *t, int64_t n, const int64_t *rows)
{
    hone_pipeline *p = table_of(t)->pipeline = hone_pipeline_new(t->ctx, .target = t->target);
    size_t used = 0;
    for (size_t i = 0; i < t->frame->n_columns; i++) {
        const hone_column *c = &t->frame->columns[i];
        bool is_target = !strcmp(c->name, t->target);
        const char *why = is_target ? NULL : why_left_out(t, c, n, rows), *odd = c->categories ? odd_one(c) : NULL;
        tell_column(t, c, why);
        used += !is_target && !why;
        if (odd && !is_target)
            cli_note(t->args, "'%s' is read as text because of '%s': where this means that a value is missing, leave it empty", c->name, odd);
        if (!why) continue;
        cli_note(t->args, "'%s' is left out: %s", c->name, why);
        hone_pipeline_add(p, HONE_DROP_COLUMNS, .columns = HONE_COLUMNS(c->name));
    }
    if (!used) return cli_fail(t->args, "there is no column from which '%s' could be learnt", t->target), false;
    hone_pipeline_add(p, HONE_SIMPLE_IMPUTER, .strategy = HONE_IMPUTE_MEDIAN);
    hone_pipeline_add(p, HONE_ONE_HOT_ENCODER, .ignore_unknown = true);
    hone_pipeline_add(p, HONE_STANDARD_SCALER);
    hone_frame *some = hone_frame_take(t->frame, n, rows);
    bool ok = some && hone_pipeline_fit(p, some) == HONE_OK;
    hone_frame_free(some);
    return ok || task_failed(t);
}

static void propose(task *t, char first[64], char arch[512])
{
    int units = t->rows < 5000 ? 64 : 128;
    first[0] = 0;
    snprintf(arch, 512, "dense %d relu he_uniform, dropout 0.1, dense %d relu he_uniform, dropout 0.1", units, units / 2);
}

static const hone_pipeline *pipeline_of(const task *t)
{
    return table_of(t)->pipeline ? table_of(t)->pipeline : hone_model_pipeline(t->model);
}

static hone_tensor *take(task *t, int64_t n, const int64_t *rows)
{
    hone_frame *some = hone_frame_take(t->frame, n, rows);
    hone_tensor *x = NULL;
    if (some && hone_pipeline_apply(pipeline_of(t), some, &x, NULL) == HONE_DTYPE)
        hone_pipeline_apply(pipeline_of(t), t->frame, &x, NULL); /* the text that is no number may be in another row: it names that */
    hone_frame_free(some);
    return x;
}

/* The model is saved with it. */
static bool save(const task *t, const char *folder, json_t *into)
{
    (void)folder, (void)into;
    return hone_model_set_pipeline(t->model, pipeline_of(t)) == HONE_OK || task_failed(t);
}

static bool load(task *t, const char *folder, const json_t *from)
{
    (void)from;
    if (hone_model_pipeline(t->model)) return true;
    return cli_fail(t->args, "%s/model.safetensors: has no pipeline, which brings a table to numbers", folder), false;
}

static void lend(const task *t, task *to) { table_of(to)->pipeline = table_of(t)->pipeline; }

static void free_own(task *t)
{
    if (!t->from) hone_pipeline_free(table_of(t)->pipeline);
}

const task_kind task_table = {
    .name = "table", .plural = "rows", .size = sizeof(table_task), .epochs = 200, .patience = 20, .batch_size = 32, .learning_rate = 0.002,
    .learn = learn, .propose = propose, .take = take, .read = task_read_frame, .save = save, .load = load, .lend = lend, .free = free_own,
};
