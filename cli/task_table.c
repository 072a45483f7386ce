/* Tables: columns filled in, encoded and scaled by a pipeline. */
#include "task.h"

#include <math.h>
#include <stdlib.h>

typedef struct table_task {
    task base;
    hone_pipeline *pipeline;
} table_task;

static table_task *table_of(const task *t) { return (table_task *)(uintptr_t)t; }

/* ---- what the columns are, and what becomes of them ---- */

/* Texts that nearly every row has another one of tell nothing. */
static bool is_left_out(const task *t, const hone_column *c)
{
    return c->type == HONE_COLUMN_TEXT && (int64_t)c->n_categories > t->rows / 2;
}

static void tell_column(task *t, const hone_column *c)
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
    else if (is_left_out(t, c))
        snprintf(becomes, sizeof becomes, "left out: nearly every row has another one");
    else if (c->numbers)
        snprintf(becomes, sizeof becomes, "one number: the median where it is missing, scaled to mean 0 and standard deviation 1");
    else
        snprintf(becomes, sizeof becomes, "a number for each text: 1 where it stands, else 0; scaled likewise");
    task_fact(t, c->name, what, becomes);
}

static bool learn(task *t, int64_t n, const int64_t *rows)
{
    hone_pipeline *p = table_of(t)->pipeline = hone_pipeline_new(t->ctx, .target = t->target);
    for (size_t i = 0; i < t->frame->n_columns; i++) {
        const hone_column *c = &t->frame->columns[i];
        tell_column(t, c);
        if (!is_left_out(t, c) || !strcmp(c->name, t->target)) continue;
        cli_note(t->args, "'%s' is left out: %zu different texts", c->name, c->n_categories);
        hone_pipeline_add(p, HONE_DROP_COLUMNS, .columns = HONE_COLUMNS(c->name));
    }
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

static hone_tensor *take(task *t, int64_t n, const int64_t *rows)
{
    hone_frame *some = hone_frame_take(t->frame, n, rows);
    hone_tensor *x = NULL;
    if (some) hone_pipeline_apply(table_of(t)->pipeline, some, &x, NULL);
    hone_frame_free(some);
    return x;
}

static bool save(const task *t, const char *folder, json_t *into)
{
    (void)into;
    char *path = cli_join(folder, "pipeline.json");
    bool ok = hone_pipeline_save(table_of(t)->pipeline, path) == HONE_OK || task_failed(t);
    free(path);
    return ok;
}

static bool load(task *t, const char *folder, const json_t *from)
{
    (void)from;
    char *path = cli_join(folder, "pipeline.json");
    table_of(t)->pipeline = hone_pipeline_load(t->ctx, path);
    free(path);
    return table_of(t)->pipeline || task_failed(t);
}

static void free_own(task *t) { hone_pipeline_free(table_of(t)->pipeline); }

const task_kind task_table = {
    .name = "table", .plural = "rows", .size = sizeof(table_task), .epochs = 200, .patience = 20, .batch_size = 32, .learning_rate = 0.002,
    .learn = learn, .propose = propose, .take = take, .read = task_read_frame, .save = save, .load = load, .free = free_own,
};
