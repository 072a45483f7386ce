/* hone predict: the answers of what `hone train` made. */
#include "task.h"

#include <stdlib.h>

typedef struct predict_args {
    common_args common;
    const char *model, *data, *output;
} predict_args;

/* Whose answers go where. */
typedef struct printing {
    const task *t;
    FILE *to;
} printing;

/* A field of a CSV line, quoted where it must be (RFC 4180). */
static void put_field(FILE *to, const char *before, const char *text)
{
    fputs(before, to);
    if (!text[strcspn(text, ",\"\r\n")]) {
        fputs(text, to);
        return;
    }
    fputc('"', to);
    for (; *text; text++) {
        if (*text == '"') fputc('"', to);
        fputc(*text, to);
    }
    fputc('"', to);
}

static int64_t largest(const hone_tensor *y, int64_t row, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (hone_tensor_get(y, row * n + i) > hone_tensor_get(y, row * n + best)) best = i;
    return best;
}

static void print_head(const task *t, FILE *to)
{
    fputs(t->kind->name_of ? "row,file,prediction" : "row,prediction", to);
    for (int64_t i = 0; i < t->classes; i++) {
        char *name = cli_alloc(strlen(t->names[i]) + 16);
        sprintf(name, "probability_%s", t->names[i]);
        put_field(to, ",", name);
        free(name);
    }
    fputc('\n', to);
}

static void print_object(const task *t, FILE *to, int64_t row, const char *file, const hone_tensor *y, int64_t i)
{
    json_t *o = json_pack("{s:I}", "row", (json_int_t)row);
    if (file) json_object_set_new(o, "file", cli_json_text(file, strlen(file)));
    const char *answer = t->classes ? t->names[largest(y, i, t->classes)] : NULL;
    json_object_set_new(o, "prediction", answer ? cli_json_text(answer, strlen(answer)) : cli_json_real(hone_tensor_get(y, i)));
    for (int64_t k = 0; k < t->classes; k++) {
        char *name = cli_alloc(strlen(t->names[k]) + 16);
        sprintf(name, "probability_%s", t->names[k]);
        json_object_set_new(o, name, cli_json_real(hone_tensor_get(y, i * t->classes + k)));
        free(name);
    }
    cli_write_json(to, o);
}

/* A line for each value to come, numbered on from the file's rows. */
static void print_forecast(const task *t, FILE *to, const hone_tensor *y)
{
    for (int64_t h = 0; h < t->outputs; h++) {
        long long row = (long long)(task_series_next(t, 0) + h);
        if (t->args->json)
            cli_write_json(to, json_pack("{s:I, s:o}", "row", (json_int_t)row, "prediction", cli_json_real(hone_tensor_get(y, h))));
        else
            fprintf(to, "%lld,%.9g\n", row, hone_tensor_get(y, h));
    }
}

static bool print(void *user, int64_t from, int64_t count, const hone_tensor *y)
{
    const printing *p = user;
    const task *t = p->t;
    FILE *to = p->to;
    if (!from && !t->args->json) print_head(t, to); /* not before something can be answered */
    if (t->outputs) return print_forecast(t, to, y), true;
    for (int64_t i = 0; i < count; i++) {
        const char *file = t->kind->name_of ? t->kind->name_of(t, from + i) : NULL;
        if (t->args->json) {
            print_object(t, to, from + i, file, y, i);
            continue;
        }
        fprintf(to, "%lld", (long long)(from + i));
        if (file) put_field(to, ",", file);
        if (t->classes)
            put_field(to, ",", t->names[largest(y, i, t->classes)]);
        else
            fprintf(to, ",%.9g", hone_tensor_get(y, i));
        for (int64_t k = 0; k < t->classes; k++) fprintf(to, ",%.6f", hone_tensor_get(y, i * t->classes + k));
        fputc('\n', to);
    }
    return true;
}

/* All that there is to answer, into --output: whole, or not at all. */
static bool write_answers(task *t, const char *path)
{
    char *text = NULL;
    size_t size = 0;
    printing p = {t, open_memstream(&text, &size)};
    bool ok = p.to && task_answer(t, 0, NULL, print, &p);
    bool whole = p.to && !ferror(p.to);
    whole = p.to && fclose(p.to) == 0 && whole;
    if (!p.to || (ok && !whole)) ok = (cli_fail(t->args, "%s: out of memory", path), false);
    ok = ok && (hone_write_file(t->ctx, path, text, size) == HONE_OK || (cli_fail_ctx(t->args, t->ctx), false));
    free(text);
    return ok;
}

static int run(void *memory)
{
    predict_args *args = memory;
    hone_ctx *ctx = cli_ctx(&args->common);
    task *t = ctx ? task_open(&args->common, ctx, args->model) : NULL;
    printing p = {t, stdout};
    bool ok = t && t->kind->read(t, args->data, false) && (args->output ? write_answers(t, args->output) : task_answer(t, 0, NULL, print, &p));
    task_free(t);
    hone_ctx_release(ctx);
    return ok ? EXIT_DONE : EXIT_FAILED;
}

static const option options[] = {
    {.name = "model", .kind = OPTION_STRING, .offset = offsetof(predict_args, model), .value = "DIR", .required = true,
     .help = "the folder that `hone train` wrote"},
    {.name = "data", .kind = OPTION_STRING, .offset = offsetof(predict_args, data), .value = "DATA", .required = true,
     .help = "a table with the columns of the training data, of which the target may be missing; a picture or a sound, or a folder of some; arrays"},
    {.name = "output", .kind = OPTION_STRING, .offset = offsetof(predict_args, output), .value = "FILE", .shown = "stdout",
     .help = "the file that gets the answers, all of them or none"},
};
const command cmd_predict = {
    .name = "predict",
    .summary = "the answers of what `hone train` made, as CSV",
    .about = "Prints a line a row: its number from 0, of a picture or sound its file, the prediction, and for classes the probability of each. Of a "
             "model by --forecast the values that come after the data's last row.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .args_size = sizeof(predict_args),
    .run = run,
};
