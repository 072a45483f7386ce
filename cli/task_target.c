/* The target of a table: classes or a quantity, and what it is in each row. */
#include "task.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

enum { MOST_NUMBERS = 20, MOST_CLASSES = 1000, FEWEST_ROWS = 10 }; /* whole numbers from MOST_NUMBERS on are quantities */

/* ---- what is it? ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The different numbers of a column that misses none, ascending; the caller's. */
static double *different_numbers(const hone_frame *frame, const hone_column *column, int64_t *n)
{
    double *values = cli_alloc((size_t)frame->rows * sizeof *values);
    memcpy(values, column->numbers, (size_t)frame->rows * sizeof *values);
    qsort(values, (size_t)frame->rows, sizeof *values, ascending);
    *n = 0;
    for (int64_t i = 0; i < frame->rows; i++)
        if (!*n || values[i] != values[*n - 1]) values[(*n)++] = values[i];
    return values;
}

bool task_look_like_classes(const double *values, int64_t n)
{
    bool whole = n <= MOST_NUMBERS;
    for (int64_t i = 0; i < n && whole; i++) whole = values[i] == round(values[i]);
    return whole && (n == 2 || (values[0] >= 0 && values[n - 1] < MOST_NUMBERS));
}

static void number_as_text(double value, char text[32]) { snprintf(text, 32, "%.15g", value); }

static bool has_classes(const task *t, int learn, const hone_column *column)
{
    if (column->categories || learn == LEARN_CLASSES) return true;
    if (learn == LEARN_QUANTITY) return false;
    int64_t n;
    double *values = different_numbers(t->frame, column, &n);
    bool classes = column->type == HONE_COLUMN_INTEGER && task_look_like_classes(values, n);
    free(values);
    return classes;
}

static bool name_classes(task *t, const hone_column *column)
{
    double *values = column->categories ? NULL : different_numbers(t->frame, column, &t->classes);
    if (!values) t->classes = (int64_t)column->n_categories;
    bool few = t->classes <= MOST_CLASSES && (t->classes <= t->rows / 2 || t->classes <= MOST_NUMBERS);
    if (few) {
        t->names = cli_alloc((size_t)t->classes * sizeof *t->names);
        for (int64_t i = 0; i < t->classes; i++) {
            char number[32];
            if (values) number_as_text(values[i], number);
            t->names[i] = cli_copy(values ? number : column->categories[i]);
        }
    } else {
        cli_fail(t->args, "'%s' has %lld different %s in %lld rows: these are no classes", t->target, (long long)t->classes,
                 values ? "numbers" : "texts", (long long)t->rows);
        t->classes = 0;
    }
    free(values);
    return few;
}

bool task_choose_target(task *t, int learn)
{
    const hone_column *column = hone_frame_find(t->frame, t->target);
    if (t->rows < FEWEST_ROWS)
        return cli_fail(t->args, "%lld rows with a target are too few to learn from: at least %d are needed", (long long)t->rows,
                        FEWEST_ROWS), false;
    if (column->categories && learn == LEARN_QUANTITY)
        return cli_fail(t->args, "--learn quantity: '%s' has text, as '%.60s'", t->target, column->categories[0]), false;
    if (has_classes(t, learn, column)) {
        if (!name_classes(t, column)) return false;
        if (t->classes == 1)
            return cli_fail(t->args, "'%s' is '%s' in every row: there is nothing to tell apart", t->target, t->names[0]), false;
    } else {
        bool varies = false;
        for (int64_t i = 1; i < t->rows && !varies; i++) varies = column->numbers[i] != column->numbers[0];
        if (!varies) return cli_fail(t->args, "'%s' is %g in every row: there is nothing to learn", t->target, column->numbers[0]), false;
    }
    cli_note(t->args, t->classes ? "'%s' is one of %lld classes" : "'%s' is a quantity", t->target, (long long)t->classes);
    return true;
}

/* ---- what is it in each row? ---- */

/* The class of a value; -1: none, and `text` says what it is. */
static int32_t class_of(const task *t, const hone_column *column, int64_t row, char text[32])
{
    const char *name = text;
    if (column->categories)
        name = column->categories[column->codes[row]];
    else
        number_as_text(column->numbers[row], text);
    for (int64_t i = 0; i < t->classes; i++)
        if (!strcmp(t->names[i], name)) return (int32_t)i;
    if (name != text) snprintf(text, 32, "%.31s", name);
    return -1;
}

static bool read_classes(task *t, const hone_column *column)
{
    t->labels = cli_alloc((size_t)t->rows * sizeof *t->labels);
    for (int64_t i = 0; i < t->rows; i++) {
        char text[32];
        if ((t->labels[i] = class_of(t, column, i, text)) >= 0) continue;
        cli_fail(t->args, "%s: '%s' is '%s' in a row, which is none of the %lld classes that were learnt", t->path, t->target, text,
                 (long long)t->classes);
        return false;
    }
    return true;
}

static bool read_quantities(task *t, const hone_column *column)
{
    if (column->categories) {
        cli_fail(t->args, "%s: '%s' is a quantity for this model, and text here: '%.60s'", t->path, t->target, column->categories[0]);
        return false;
    }
    t->values = cli_alloc((size_t)t->rows * sizeof *t->values);
    for (int64_t i = 0; i < t->rows; i++) {
        t->values[i] = column->numbers[i];
        if (fabs(t->values[i]) <= (double)FLT_MAX) continue;
        cli_fail(t->args, "%s: '%s' is %g in a row: no quantity can be that large", t->path, t->target, t->values[i]);
        return false;
    }
    return true;
}

bool task_read_targets(task *t)
{
    const hone_column *column = hone_frame_find(t->frame, t->target);
    return t->classes ? read_classes(t, column) : read_quantities(t, column);
}
