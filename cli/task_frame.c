/* Tables from files: the target's column, and whether there is a text to read. */
#include "task.h"

#include <math.h>
#include <stdlib.h>

enum { MOST_NUMBERS = 20, MOST_CLASSES = 1000, FEWEST_ROWS = 10 }; /* whole numbers with more values are quantities */

/* ---- the target ---- */

/* How many classes a target has; 0: it is a quantity. */
static int64_t count_classes(const hone_frame *frame, const hone_column *column)
{
    bool met[MOST_NUMBERS] = {false};
    int64_t most = -1, different = 0;
    if (column->type == HONE_COLUMN_TEXT) return (int64_t)column->n_categories;
    if (column->type == HONE_COLUMN_REAL) return 0;
    for (int64_t i = 0; i < frame->rows; i++) {
        double v = column->numbers[i];
        if (v < 0 || v >= MOST_NUMBERS) return 0;
        if (!met[(int)v]) met[(int)v] = true, different++;
        most = (int64_t)fmax((double)most, v);
    }
    return different > 1 ? most + 1 : 0;
}

static void name_classes(task *t, const hone_column *column)
{
    t->names = cli_alloc((size_t)t->classes * sizeof *t->names);
    for (int64_t i = 0; i < t->classes; i++) {
        char number[24];
        snprintf(number, sizeof number, "%lld", (long long)i);
        t->names[i] = cli_copy(column->categories ? column->categories[i] : number);
    }
}

/* The class of a value; -1: none. */
static int32_t class_of(const task *t, const hone_column *column, int64_t row, char text[32])
{
    const char *name = text;
    if (column->categories)
        name = column->categories[column->codes[row]];
    else
        snprintf(text, 32, "%.17g", column->numbers[row]);
    for (int64_t i = 0; i < t->classes; i++)
        if (!strcmp(t->names[i], name)) return (int32_t)i;
    snprintf(text, 32, "%.31s", name);
    return -1;
}

/* Labels or values of the rows, none of which lacks its target. */
static bool read_targets(task *t)
{
    const hone_column *column = hone_frame_find(t->frame, t->target);
    if (!t->classes && column->categories) {
        cli_fail(t->args, "'%s' is a quantity for this model, and text here: '%.60s'", t->target, column->categories[0]);
        return false;
    }
    if (t->classes)
        t->labels = cli_alloc((size_t)t->rows * sizeof *t->labels);
    else
        t->values = cli_alloc((size_t)t->rows * sizeof *t->values);
    for (int64_t i = 0; i < t->rows; i++) {
        char text[32];
        if (!t->classes) {
            t->values[i] = column->numbers[i];
        } else if ((t->labels[i] = class_of(t, column, i, text)) < 0) {
            cli_fail(t->args, "'%s' is '%s' in a row, which is none of the %lld classes that were learnt", t->target, text, (long long)t->classes);
            return false;
        }
    }
    return true;
}

/* The target's column; NULL: it has been said that there is none. */
static const hone_column *find_target(const common_args *args, const hone_frame *frame, const char *path, const char *target)
{
    const hone_column *column = hone_frame_find(frame, target);
    if (column) return column;
    const char **names = cli_alloc(frame->n_columns * sizeof *names);
    for (size_t i = 0; i < frame->n_columns; i++) names[i] = frame->columns[i].name;
    const char *near = nearest_name(target, names, frame->n_columns);
    cli_fail(args, near ? "%s has no column '%s'; did you mean '%s'?" : "%s has no column '%s'", path, target, near);
    free(names);
    return NULL;
}

/* ---- is there a text to read? ---- */

/* Nearly every row has another one: it tells nothing as a category. */
static bool mostly_different(const hone_frame *frame, const hone_column *c)
{
    return c->type == HONE_COLUMN_TEXT && (int64_t)c->n_categories > frame->rows / 2;
}

static double mean_words(const hone_column *c)
{
    double words = 0;
    for (size_t i = 0; i < c->n_categories; i++)
        for (const char *at = c->categories[i]; *at; words++) {
            size_t n = strcspn(at, " \t\n");
            at += n + strspn(at + n, " \t\n");
        }
    return words / (double)(c->n_categories ? c->n_categories : 1);
}

static double mean_bytes(const hone_column *c)
{
    double bytes = 0;
    for (size_t i = 0; i < c->n_categories; i++) bytes += (double)strlen(c->categories[i]);
    return bytes / (double)(c->n_categories ? c->n_categories : 1);
}

/* Sentences: mostly different, of several words (or long where no blanks part words). */
static bool is_prose(const hone_frame *frame, const hone_column *c)
{
    return mostly_different(frame, c) && (mean_words(c) >= 4 || mean_bytes(c) >= 40);
}

/* Ascending whole numbers, each once, as rows are numbered. */
static bool is_number_of_row(const hone_frame *frame, const hone_column *c)
{
    for (int64_t i = 1; i < frame->rows && c->numbers; i++)
        if (!(c->numbers[i] > c->numbers[i - 1])) return false;
    return c->type == HONE_COLUMN_INTEGER;
}

/* The column to read: the longest prose of a table that has nothing else to learn from. NULL: none. */
static const hone_column *find_text(const common_args *args, const hone_frame *frame, const char *target)
{
    const hone_column *best = NULL;
    size_t others = 0;
    for (size_t i = 0; i < frame->n_columns; i++) {
        const hone_column *c = &frame->columns[i];
        if (!strcmp(c->name, target)) continue;
        if (is_prose(frame, c)) {
            if (!best || mean_bytes(c) > mean_bytes(best)) best = c;
        } else if (!mostly_different(frame, c) && !is_number_of_row(frame, c)) {
            others++;
        }
    }
    if (!best || !others) return best;
    cli_note(args, "'%s' holds texts, and there are columns beside it: `--text %s` would learn from the texts alone", best->name, best->name);
    return NULL;
}

static bool choose_text(const common_args *args, const hone_frame *frame, const char *target, const char *wish, const hone_column **text)
{
    *text = wish ? hone_frame_find(frame, wish) : find_text(args, frame, target);
    if (!wish || (*text && (*text)->type == HONE_COLUMN_TEXT && strcmp(wish, target) != 0)) return true;
    cli_fail(args, !*text ? "--text: there is no column '%s'" : "--text: column '%s' is %s", wish,
             strcmp(wish, target) != 0 ? "numbers" : "the target");
    return false;
}

/* ---- reading ---- */

static hone_frame *load(const common_args *args, hone_ctx *ctx, const char *path, const char *target, bool drop)
{
    hone_frame *frame = hone_frame_load(ctx, path);
    if (!frame) cli_fail_ctx(args, ctx);
    if (!frame || !drop) return frame;
    const hone_column *column = find_target(args, frame, path, target);
    int64_t before = frame->rows;
    if (column && hone_frame_drop_missing(frame, HONE_COLUMNS(target)) == HONE_OK) {
        cli_note(args, "%s: %lld rows, %zu columns; %lld rows have no %s", path, (long long)before, frame->n_columns,
                 (long long)(before - frame->rows), target);
        return frame;
    }
    if (column) cli_fail_ctx(args, ctx);
    hone_frame_free(frame);
    return NULL;
}

bool task_read_frame(task *t, const char *path, bool targets)
{
    if (!(t->frame = load(t->args, t->ctx, path, t->target, targets))) return false;
    t->rows = t->frame->rows;
    if (t->rows) return !targets || read_targets(t);
    cli_fail(t->args, "%s: there are no rows%s", path, targets ? " with a target" : "");
    return false;
}

/* Can that be learnt? */
static bool check(const task *t)
{
    if (t->rows < FEWEST_ROWS)
        return cli_fail(t->args, "%lld rows with a target are too few to learn from", (long long)t->rows), false;
    if (t->classes > MOST_CLASSES || (t->classes > t->rows / 2 && t->classes > MOST_NUMBERS))
        return cli_fail(t->args, "'%s' has %lld different texts in %lld rows: these are no classes", t->target, (long long)t->classes,
                        (long long)t->rows),
               false;
    if (t->classes == 1) return cli_fail(t->args, "'%s' is '%s' in every row: there is nothing to tell apart", t->target, t->names[0]), false;
    cli_note(t->args, t->classes ? "'%s' is one of %lld classes" : "'%s' is a quantity", t->target, (long long)t->classes);
    return true;
}

task *task_look_at_frame(const common_args *args, hone_ctx *ctx, const char *path, const char *target, const task_wishes *wishes)
{
    const hone_column *text;
    hone_frame *frame = load(args, ctx, path, target, true);
    if (!frame) return NULL;
    if (!choose_text(args, frame, target, wishes->text, &text)) {
        hone_frame_free(frame);
        return NULL;
    }
    const task_kind *kind = text ? &task_text : &task_table;
    task *t = cli_alloc(kind->size);
    t->kind = kind, t->args = args, t->ctx = ctx, t->frame = frame, t->rows = frame->rows;
    t->target = cli_copy(target);
    const hone_column *column = hone_frame_find(frame, target);
    t->classes = count_classes(frame, column);
    if (t->classes) name_classes(t, column);
    if (text) task_use_text(t, text->name);
    if (check(t) && read_targets(t)) return t;
    task_free(t);
    return NULL;
}
