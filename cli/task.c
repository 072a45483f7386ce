/* Tasks: looking at data, saving and opening the folder of a model, answering. */
#include "task.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

static const task_kind *const kinds[] = {&task_table, &task_images, &task_text, &task_arrays, &task_sounds, &task_series};
enum { N_KINDS = sizeof kinds / sizeof *kinds, CHUNK = 1024 };

bool task_failed(const task *t)
{
    const char *error = hone_error(t->ctx);
    if (t->from && t->path && !strstr(error, t->path))
        cli_fail(t->args, "%s: %s", t->path, error); /* which of the files it is in */
    else
        cli_fail(t->args, "%s", error);
    return false;
}

void task_fact(task *t, const char *name, const char *what, const char *becomes)
{
    if (!t->facts) t->facts = json_array();
    json_t *fact = json_array();
    for (int i = 0; i < 3; i++) {
        const char *text = (const char *[]){name, what, becomes}[i];
        json_array_append_new(fact, cli_json_text(text, strlen(text)));
    }
    json_array_append_new(t->facts, fact);
}

void task_tell_classes(task *t)
{
    char what[80];
    for (int64_t k = 0; k < t->classes; k++) {
        int64_t rows = 0;
        for (int64_t i = 0; i < t->rows; i++) rows += t->labels[i] == k;
        snprintf(what, sizeof what, "%lld %s", (long long)rows, t->kind->plural);
        task_fact(t, t->names[k], what, "a class");
    }
}

const char *task_wish_of_pictures(const task_wishes *wishes)
{
    return wishes->image_size ? "image-size" : wishes->augment ? "augment" : NULL;
}

double task_deviation(double n, double mean, double variance)
{
    double rounding = n * DBL_EPSILON * variance + pow(n * mean * DBL_EPSILON, 2);
    return variance <= rounding ? 1 : sqrt(variance);
}

/* A folder without one example, or whose files are of another kind, is a class in name alone. */
static bool has_two_classes(const task *t)
{
    int64_t i = 1;
    while (i < t->rows && t->labels[i] == t->labels[0]) i++;
    if (i < t->rows) return true;
    return cli_fail(t->args, "all %s are of the class '%s': there is nothing to tell apart", t->kind->plural, t->names[t->labels[0]]), false;
}

static void note_rare_classes(const task *t)
{
    int64_t *rows = cli_alloc((size_t)t->classes * sizeof *rows), rare = 0, first = -1;
    for (int64_t i = 0; i < t->rows; i++) rows[t->labels[i]]++;
    for (int64_t k = t->classes - 1; k >= 0; k--)
        if (rows[k] < 2) rare++, first = k;
    if (rare)
        cli_note(t->args, "warning: too few %s to learn %lld of the classes: '%s' has %lld", t->kind->plural, (long long)rare, t->names[first],
                 (long long)rows[first]);
    free(rows);
}

bool task_is_named(const char *path, const char *const *endings)
{
    size_t n = strlen(path);
    for (; *endings; endings++) {
        size_t m = strlen(*endings);
        if (n > m && !cli_compare_case(path + n - m, *endings, m + 1)) return true;
    }
    return false;
}

/* Files that are part of what can be learnt from. */
static bool is_one_of_many(const common_args *args, const char *path)
{
    if (task_is_named(path, (const char *const[]){".wav", ".png", ".jpg", ".jpeg", NULL}))
        cli_fail(args, "%s: one file is nothing to learn from; a folder is, with a folder of such files for each class", path);
    else if (task_is_named(path, (const char *const[]){".npy", NULL}))
        cli_fail(args, "%s: one array is nothing to learn from; an .npz file with x and y is: numpy.savez(\"data.npz\", x=x, y=y)", path);
    else
        return false;
    return true;
}

/* Of pictures or sounds, whichever there are more of: one that strayed into the others does not decide what is learnt. */
static task *look_at_folder(const common_args *args, hone_ctx *ctx, const char *path, const task_wishes *wishes)
{
    int64_t pictures, sounds;
    task_count_files(path, &pictures, &sounds);
    if (pictures && pictures == sounds)
        return cli_fail(args, "%s has pictures and sounds, as many of both: which are to be learnt? Move the others", path), NULL;
    if (pictures && sounds)
        cli_note(args, "%s has pictures and sounds, %lld and %lld: the %s are left out", path, (long long)pictures, (long long)sounds,
                 pictures > sounds ? "sounds" : "pictures");
    return sounds > pictures ? task_look_at_sounds(args, ctx, path, wishes) : task_look_at_images(args, ctx, path, wishes);
}

task *task_look(const common_args *args, hone_ctx *ctx, const char *path, const char *target, const task_wishes *wishes)
{
    struct stat info;
    if (stat(path, &info) != 0) return cli_fail(args, "%s: %s", path, cli_system_error()), NULL;
    const bool folder = S_ISDIR(info.st_mode);
    if (!folder && is_one_of_many(args, path)) return NULL;
    const char *other = !folder ? NULL : wishes->forecast ? "forecast" : target ? "target" : wishes->text ? "text" : wishes->learn != LEARN_AUTO ? "learn" : NULL;
    task *t = NULL;
    if (other)
        cli_fail(args, "%s is a folder, of pictures or sounds by class: --%s is for tables and texts", path, other);
    else if (folder)
        t = look_at_folder(args, ctx, path, wishes);
    else if (wishes->forecast && task_is_arrays(path))
        cli_fail(args, "%s has arrays: --forecast is for a column of a table", path);
    else if (wishes->forecast)
        t = task_look_at_series(args, ctx, path, target, wishes);
    else if (task_is_arrays(path))
        t = task_look_at_arrays(args, ctx, path, target, wishes);
    else if (!target)
        cli_fail(args, "--target COLUMN is missing: which column of %s is to be predicted?", path);
    else
        t = task_look_at_frame(args, ctx, path, target, wishes);
    if (!t || !t->classes) return t;
    if (!has_two_classes(t)) return task_free(t), NULL;
    note_rare_classes(t);
    return t;
}

void task_free(task *t)
{
    if (!t) return;
    if (t->kind->free) t->kind->free(t);
    for (int64_t i = 0; t->names && i < t->classes; i++) free(t->names[i]);
    free(t->names);
    for (size_t i = 0; i < t->n_texts; i++) free(t->texts[i]);
    free(t->texts);
    free(t->target);
    free(t->labels);
    free(t->values);
    json_decref(t->facts);
    hone_frame_free(t->frame);
    if (!t->from) hone_model_release(t->model);
    free(t);
}

/* ---- the folder: model.safetensors, task.json and what the kind has beside them or gives the model ---- */

bool task_exists(const char *folder)
{
    char *path = cli_join(folder, "task.json");
    struct stat info;
    bool exists = stat(path, &info) == 0;
    free(path);
    return exists;
}

bool task_write(const task *t, const char *folder, const char *name, const char *data, size_t size)
{
    char *path = cli_join(folder, name);
    bool ok = hone_write_file(t->ctx, path, data, size) == HONE_OK || task_failed(t);
    free(path);
    return ok;
}

static bool write_json(const task *t, const char *folder, const json_t *o)
{
    char *text = json_dumps(o, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
    bool ok = text ? task_write(t, folder, "task.json", text, strlen(text)) : (cli_fail(t->args, "task.json: out of memory"), false);
    free(text);
    return ok;
}

/* Does column c hold text? It is read as such also where all of it looks like numbers. */
static bool is_text_column(const task *t, const hone_column *c) { return c->codes && strcmp(c->name, t->target) != 0; }

static json_t *text_columns(const task *t)
{
    json_t *names = json_array();
    for (size_t i = 0; i < t->frame->n_columns; i++) {
        const hone_column *c = &t->frame->columns[i];
        if (is_text_column(t, c)) json_array_append_new(names, cli_json_text(c->name, strlen(c->name)));
    }
    return names;
}

/* ---- rows of another file ---- */

void task_share(task *beside)
{
    beside->model = beside->from->model;
    beside->kind->lend(beside->from, beside);
}

task *task_beside(const task *t, const char *path)
{
    task *b = cli_alloc(t->kind->size);
    b->kind = t->kind, b->args = t->args, b->ctx = t->ctx, b->from = t, b->path = path;
    b->outputs = t->outputs;
    b->target = t->target ? cli_copy(t->target) : NULL;
    b->names = cli_alloc((size_t)t->classes * sizeof *b->names);
    for (; b->classes < t->classes; b->classes++) b->names[b->classes] = cli_copy(t->names[b->classes]);
    b->texts = cli_alloc((t->frame ? t->frame->n_columns : 0) * sizeof *b->texts);
    for (size_t i = 0; t->frame && i < t->frame->n_columns; i++)
        if (is_text_column(t, &t->frame->columns[i])) b->texts[b->n_texts++] = cli_copy(t->frame->columns[i].name);
    task_share(b);
    if (t->kind->read(b, path, true)) return b;
    task_free(b);
    return NULL;
}

bool task_save(task *t, const char *folder)
{
    json_t *o = json_pack("{s:s, s:i, s:s, s:s?}", "format", "hone-task", "version", 1, "kind", t->kind->name, "target", t->target);
    if (!o) return cli_fail(t->args, "'%s' is no text in UTF-8", t->target), false;
    if (t->classes) {
        json_t *names = json_array();
        for (int64_t i = 0; i < t->classes; i++) json_array_append_new(names, cli_json_text(t->names[i], strlen(t->names[i])));
        json_object_set_new(o, "classes", names);
    }
    if (t->frame) json_object_set_new(o, "text_columns", text_columns(t));
    char *model = cli_join(folder, "model.safetensors");
    bool ok = t->kind->save(t, folder, o); /* it may give the model something */
    ok = ok && (hone_model_save(t->model, model) == HONE_OK || task_failed(t)) && write_json(t, folder, o);
    free(model);
    json_decref(o);
    return ok;
}

/* A list of texts; false: something else is in it. */
static bool take_texts(const json_t *from, char ***texts, size_t *n)
{
    *texts = cli_alloc(json_array_size(from) * sizeof **texts);
    for (*n = 0; *n < json_array_size(from); ++*n) {
        const char *text = json_string_value(json_array_get(from, *n));
        if (!text) return false;
        (*texts)[*n] = cli_copy(text);
    }
    return true;
}

static bool take_names(task *t, const json_t *from)
{
    size_t n;
    bool ok = take_texts(from, &t->names, &n);
    t->classes = (int64_t)n;
    return ok;
}

/* A new task with what task.json says. */
static task *read_task(const common_args *args, hone_ctx *ctx, const json_t *o)
{
    const char *format = json_string_value(json_object_get(o, "format")), *kind = json_string_value(json_object_get(o, "kind"));
    const char *target = json_string_value(json_object_get(o, "target"));
    if (!format || strcmp(format, "hone-task") != 0 || json_integer_value(json_object_get(o, "version")) != 1) return NULL;
    for (size_t i = 0; kind && i < N_KINDS; i++) {
        if (strcmp(kinds[i]->name, kind) != 0) continue;
        task *t = cli_alloc(kinds[i]->size);
        t->kind = kinds[i], t->args = args, t->ctx = ctx;
        t->target = target ? cli_copy(target) : NULL;
        t->outputs = json_integer_value(json_object_get(o, "forecast"));
        if (take_names(t, json_object_get(o, "classes")) && take_texts(json_object_get(o, "text_columns"), &t->texts, &t->n_texts) &&
            (target || kinds[i] == &task_images || kinds[i] == &task_sounds) && (t->outputs > 0) == (kinds[i] == &task_series)) return t;
        task_free(t);
    }
    return NULL;
}

/* Does the network answer with as many numbers as there are classes, or with one? */
static bool fits(const task *t)
{
    const hone_param *last = hone_model_param(t->model, hone_model_param_count(t->model) - 1);
    return last && hone_shape_count(hone_param_shape(last)) == (t->classes ? t->classes : t->outputs ? t->outputs : 1);
}

task *task_open(const common_args *args, hone_ctx *ctx, const char *folder)
{
    if (!task_exists(folder)) {
        cli_fail(args, "%s/task.json: is not there: `hone train` writes such folders", folder);
        return NULL;
    }
    char *path = cli_join(folder, "task.json"), *weights = cli_join(folder, "model.safetensors");
    json_error_t error;
    json_t *o = json_load_file(path, 0, &error);
    task *t = o ? read_task(args, ctx, o) : NULL;
    if (!t) cli_fail(args, "%s: %s", path, o ? "not what `hone train` of this version wrote" : error.text);
    bool ok = t && (((t->model = hone_model_load(ctx, weights)) != NULL) || task_failed(t));
    if (ok && !fits(t)) ok = (cli_fail(args, "%s: the network does not answer what %s says", weights, path), false);
    ok = ok && t->kind->load(t, folder, o);
    if (ok && args->dtype != DTYPE_AUTO)
        ok = hone_compile(t->model, .loss = t->classes ? HONE_SPARSE_CATEGORICAL_CROSSENTROPY : HONE_MSE,
                          .compute = args->dtype == DTYPE_BF16 ? HONE_BF16 : HONE_F32) == HONE_OK || task_failed(t);
    json_decref(o);
    free(path);
    free(weights);
    if (ok) return t;
    task_free(t);
    return NULL;
}

/* ---- answering ---- */

hone_tensor *task_targets(const task *t, int64_t n, const int64_t *rows)
{
    if (t->kind->targets) return t->kind->targets(t, n, rows, false);
    hone_tensor *y = t->classes ? hone_tensor_new(t->ctx, HONE_I32, HONE_SHAPE(n)) : hone_tensor_new(t->ctx, HONE_F32, HONE_SHAPE(n, 1));
    for (int64_t i = 0; y && i < n; i++) {
        if (t->classes)
            ((int32_t *)hone_tensor_data(y))[i] = t->labels[rows[i]];
        else
            ((float *)hone_tensor_data(y))[i] = (float)t->values[rows[i]];
    }
    return y;
}

/* Of the file, in which there may be rows without a target. */
static int64_t task_row(const task *t, int64_t row) { return t->frame ? hone_frame_origin(t->frame, row) : row; }

hone_tensor *task_take(task *t, int64_t n, const int64_t *rows)
{
    hone_tensor *x = t->kind->take(t, n, rows);
    if (!x) return task_failed(t), NULL;
    int64_t count = hone_tensor_dtype(x) == HONE_F32 ? hone_shape_count(hone_tensor_shape(x)) : 0, i = 0;
    const float *values = hone_tensor_data(x);
    while (i < count && isfinite(values[i])) i++;
    if (i == count) return x;
    cli_fail(t->args, "%s%srow %lld has a number that is infinite, or far too large beside those that were learnt from",
             t->from ? t->path : "", t->from ? ": " : "", (long long)task_row(t, rows[i / (count / n)]));
    hone_tensor_free(x);
    return NULL;
}

bool task_answer(task *t, int64_t n, const int64_t *rows, bool (*each)(void *user, int64_t from, int64_t count, const hone_tensor *y),
                 void *user)
{
    int64_t some[CHUNK];
    bool ok = true;
    if (!rows) n = t->rows;
    for (int64_t from = 0; ok && from < n; from += CHUNK) {
        int64_t count = n - from < CHUNK ? n - from : CHUNK;
        for (int64_t i = 0; i < count; i++) some[i] = rows ? rows[from + i] : from + i;
        hone_tensor *x = task_take(t, count, some), *y = x ? hone_predict(t->model, x, 256) : NULL;
        if (y && t->kind->restore) t->kind->restore(t, count, some, y);
        ok = y ? each(user, from, count, y) : x && task_failed(t);
        hone_tensor_free(x);
        hone_tensor_free(y);
    }
    return ok;
}
