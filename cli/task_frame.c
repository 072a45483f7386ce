/* Tables from files: how they are written, and whether there is a text to read. */
#include "task.h"

#include <math.h>
#include <stdlib.h>

/* ---- the file ---- */

static bool is_named(const char *path, const char *ending)
{
    size_t n = strlen(path), m = strlen(ending);
    return n > m && !strcmp(path + n - m, ending);
}

/* What parts the columns of a .csv file without commas in its first line (Excel writes semicolons in many countries); 0: as the
   file's name says. */
static char delimiter_of(const char *path)
{
    char line[1 << 14];
    FILE *file = is_named(path, ".csv") ? fopen(path, "rb") : NULL;
    bool quoted = false, any = file && fgets(line, sizeof line, file);
    size_t commas = 0, semicolons = 0, tabs = 0;
    for (const char *at = line; any && *at; at++) {
        if (*at == '"') quoted = !quoted;
        if (quoted) continue;
        commas += *at == ',', semicolons += *at == ';', tabs += *at == '\t';
    }
    if (file) fclose(file);
    return commas || !(semicolons + tabs) ? 0 : semicolons >= tabs ? ';' : '\t';
}

static bool is_utf8(const common_args *args, const hone_frame *frame, const char *path)
{
    for (size_t i = 0; i < frame->n_columns; i++) {
        const hone_column *c = &frame->columns[i];
        bool good = cli_is_utf8(c->name);
        for (size_t k = 0; k < c->n_categories && good; k++) good = cli_is_utf8(c->categories[k]);
        if (good) continue;
        cli_fail(args, "%s: column %zu is not in UTF-8: convert the file, for example by `iconv -f WINDOWS-1252 -t UTF-8`", path, i + 1);
        return false;
    }
    return true;
}

hone_frame *task_load_frame(const common_args *args, hone_ctx *ctx, const char *path, size_t n, char *const *texts)
{
    if (is_named(path, ".json")) {
        cli_fail(args, "%s: of JSON only lines are read, an object each, in a file that ends in .jsonl", path);
        return NULL;
    }
    char delimiter = delimiter_of(path);
    hone_frame *frame = hone_frame_load(ctx, path, .delimiter = delimiter);
    const char **wrong = cli_alloc((n + 1) * sizeof *wrong);
    size_t n_wrong = 0;
    for (size_t i = 0; frame && i < n; i++) {
        const hone_column *c = hone_frame_find(frame, texts[i]);
        if (c && c->numbers) wrong[n_wrong++] = texts[i];
    }
    if (n_wrong) {
        hone_frame_free(frame);
        frame = hone_frame_load(ctx, path, .delimiter = delimiter, .text = wrong);
    }
    free(wrong);
    if (!frame) return cli_fail_ctx(args, ctx), NULL;
    if (is_utf8(args, frame, path)) return frame;
    hone_frame_free(frame);
    return NULL;
}

/* "3", "-2,5" or "1.234,5" */
static bool is_with_comma(const char *text, bool *comma)
{
    text += *text == '-' || *text == '+';
    size_t whole = strspn(text, "0123456789."), part = text[whole] == ',' ? strspn(text + whole + 1, "0123456789") : 0;
    if (part) *comma = true;
    return whole && text[0] != '.' && !text[part ? whole + 1 + part : whole];
}

bool task_has_commas(const hone_column *column)
{
    bool all = column->n_categories > 0, comma = false;
    for (size_t i = 0; i < column->n_categories && all; i++) all = is_with_comma(column->categories[i], &comma);
    return all && comma;
}

/* "2024-02-29", with or without a time behind it (ISO 8601). */
static bool is_date(const char *text)
{
    static const char form[] = "dddd-dd-dd";
    for (size_t i = 0; form[i]; i++)
        if (form[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != form[i]) return false;
    const char *time = text + strlen(form);
    return !*time || ((*time == 'T' || *time == ' ') && strspn(time + 1, "0123456789:.+-Z") == strlen(time + 1));
}

bool task_has_dates(const hone_column *column)
{
    bool all = column->n_categories > 0;
    for (size_t i = 0; i < column->n_categories && all; i++) all = is_date(column->categories[i]);
    return all;
}

/* What is read as text, and meant as numbers. */
static void tell_commas(const common_args *args, const hone_frame *frame, const char *path)
{
    const bool semicolons = delimiter_of(path) == ';';
    for (size_t i = 0; i < frame->n_columns; i++) {
        const hone_column *c = &frame->columns[i];
        if (!task_has_commas(c)) continue;
        bool thousands = false; /* "1.234,5" */
        for (size_t k = 0; k < c->n_categories; k++) thousands |= strchr(c->categories[k], '.') != NULL;
        cli_note(args, "'%s' has numbers with commas, which are read as text: write them as 1234.5%s", c->name,
                 semicolons && !thousands ? ", for example by `tr , . < DATA.csv > NEW.csv`" : "");
    }
}

const hone_column *task_find_target(const common_args *args, const hone_frame *frame, const char *path, const char *target)
{
    const hone_column *column = hone_frame_find(frame, target);
    if (column) return column;
    const char **names = cli_alloc(frame->n_columns * sizeof *names);
    for (size_t i = 0; i < frame->n_columns; i++) names[i] = frame->columns[i].name;
    const char *near = nearest_name(target, names, frame->n_columns);
    char all[200];
    size_t n = 0;
    for (size_t i = 0; i < frame->n_columns && n < sizeof all - 1; i++)
        n += (size_t)snprintf(all + n, sizeof all - n, i ? ", %s" : "%s", names[i]);
    if (n >= sizeof all) strcpy(all + sizeof all - 4, "...");
    if (near)
        cli_fail(args, "%s has no column '%s'; did you mean '%s'?", path, target, near);
    else
        cli_fail(args, "%s has no column '%s'; there are: %s", path, target, all);
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
    cli_note(args, "'%s' holds texts, and there are columns beside it: a table's network does not read words, and is learnt from those columns; "
                   "`--text %s` would learn from the texts alone", best->name, best->name);
    return NULL;
}

static bool choose_text(const common_args *args, const hone_frame *frame, const char *target, const char *wish, const hone_column **text)
{
    *text = wish ? hone_frame_find(frame, wish) : find_text(args, frame, target);
    if (!wish || (*text && (*text)->type == HONE_COLUMN_TEXT && strcmp(wish, target) != 0)) return true;
    cli_fail(args, !*text ? "--text: there is no column '%s'" : "--text: column '%s' %s", wish,
             !strcmp(wish, target) ? "is the target" : "is numbers, or empty");
    return false;
}

/* ---- reading ---- */

/* Drops rows without a target. False: it has been said. */
static bool drop_missing(const common_args *args, hone_ctx *ctx, hone_frame *frame, const char *path, const char *target)
{
    const hone_column *column = task_find_target(args, frame, path, target);
    int64_t before = frame->rows;
    if (column && hone_frame_drop_missing(frame, HONE_COLUMNS(target)) == HONE_OK) {
        cli_note(args, "%s: %lld rows, %zu columns; %lld rows have no %s", path, (long long)before, frame->n_columns,
                 (long long)(before - frame->rows), target);
        return true;
    }
    if (column) cli_fail_ctx(args, ctx);
    return false;
}

bool task_read_frame(task *t, const char *path, bool targets)
{
    static const char *const others[] = {".npz", ".npy", ".wav", ".png", ".jpg", ".jpeg", ".gz", NULL};
    if (task_is_named(path, others) || task_is_arrays(path))
        return cli_fail(t->args, "%s: a table is expected, as in training: .csv, .tsv or .jsonl", path), false;
    t->path = path;
    if (!(t->frame = task_load_frame(t->args, t->ctx, path, t->n_texts, t->texts))) return false;
    if (targets && !drop_missing(t->args, t->ctx, t->frame, path, t->target)) return false;
    t->rows = t->frame->rows;
    if (t->rows) return !targets || task_read_targets(t);
    cli_fail(t->args, "%s: there are no rows%s", path, targets ? " with a target" : "");
    return false;
}

task *task_look_at_frame(const common_args *args, hone_ctx *ctx, const char *path, const char *target, const task_wishes *wishes)
{
    const hone_column *text;
    if (task_wish_of_pictures(wishes))
        return cli_fail(args, "--%s is for pictures, and %s is a file", task_wish_of_pictures(wishes), path), NULL;
    hone_frame *frame = task_load_frame(args, ctx, path, 0, NULL);
    if (!frame) return NULL;
    tell_commas(args, frame, path);
    if (!drop_missing(args, ctx, frame, path, target) || !choose_text(args, frame, target, wishes->text, &text)) {
        hone_frame_free(frame);
        return NULL;
    }
    const task_kind *kind = text ? &task_text : &task_table;
    task *t = cli_alloc(kind->size);
    t->kind = kind, t->args = args, t->ctx = ctx, t->frame = frame, t->rows = frame->rows, t->path = path;
    t->target = cli_copy(target);
    if (text) task_use_text(t, text->name);
    if (task_choose_target(t, wishes->learn) && task_read_targets(t)) return t;
    task_free(t);
    return NULL;
}
