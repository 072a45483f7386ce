/* hone predict: the answers of what `hone train` made. */
#include "task.h"

#include <stdlib.h>

typedef struct predict_args {
    common_args common;
    const char *model, *data;
} predict_args;

/* A field of a CSV line, quoted where it must be (RFC 4180). */
static void put_field(const char *before, const char *text)
{
    fputs(before, stdout);
    if (!text[strcspn(text, ",\"\r\n")]) {
        fputs(text, stdout);
        return;
    }
    putchar('"');
    for (; *text; text++) {
        if (*text == '"') putchar('"');
        putchar(*text);
    }
    putchar('"');
}

static int64_t largest(const hone_tensor *y, int64_t row, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (hone_tensor_get(y, row * n + i) > hone_tensor_get(y, row * n + best)) best = i;
    return best;
}

static void print_head(const task *t)
{
    fputs(t->kind->name_of ? "row,file,prediction" : "row,prediction", stdout);
    for (int64_t i = 0; i < t->classes; i++) {
        char *name = cli_alloc(strlen(t->names[i]) + 16);
        sprintf(name, "probability_%s", t->names[i]);
        put_field(",", name);
        free(name);
    }
    putchar('\n');
}

static void print_object(const task *t, int64_t row, const char *file, const hone_tensor *y, int64_t i)
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
    cli_print_json(o);
}

/* A line for each value to come, numbered on from the file's rows. */
static void print_forecast(const task *t, const hone_tensor *y)
{
    for (int64_t h = 0; h < t->outputs; h++) {
        long long row = (long long)(task_series_next(t, 0) + h);
        if (t->args->json)
            cli_print_json(json_pack("{s:I, s:o}", "row", (json_int_t)row, "prediction", cli_json_real(hone_tensor_get(y, h))));
        else
            printf("%lld,%.9g\n", row, hone_tensor_get(y, h));
    }
}

static bool print(void *user, int64_t from, int64_t count, const hone_tensor *y)
{
    const task *t = user;
    if (!from && !t->args->json) print_head(t); /* not before something can be answered */
    if (t->outputs) return print_forecast(t, y), true;
    for (int64_t i = 0; i < count; i++) {
        const char *file = t->kind->name_of ? t->kind->name_of(t, from + i) : NULL;
        if (t->args->json) {
            print_object(t, from + i, file, y, i);
            continue;
        }
        printf("%lld", (long long)(from + i));
        if (file) put_field(",", file);
        if (t->classes)
            put_field(",", t->names[largest(y, i, t->classes)]);
        else
            printf(",%.9g", hone_tensor_get(y, i));
        for (int64_t k = 0; k < t->classes; k++) printf(",%.6f", hone_tensor_get(y, i * t->classes + k));
        putchar('\n');
    }
    return true;
}

static int run(void *memory)
{
    predict_args *args = memory;
    hone_ctx *ctx = cli_ctx(&args->common);
    task *t = ctx ? task_open(&args->common, ctx, args->model) : NULL;
    bool ok = t && t->kind->read(t, args->data, false) && task_answer(t, 0, NULL, print, t);
    task_free(t);
    hone_ctx_release(ctx);
    return ok ? EXIT_DONE : EXIT_FAILED;
}

static const option options[] = {
    {.name = "model", .kind = OPTION_STRING, .offset = offsetof(predict_args, model), .value = "DIR", .required = true,
     .help = "the folder that `hone train` wrote"},
    {.name = "data", .kind = OPTION_STRING, .offset = offsetof(predict_args, data), .value = "DATA", .required = true,
     .help = "a table with the columns of the training data, of which the target may be missing; a picture or a sound, or a folder of some; arrays"},
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
