/* hone predict: the answers of what `hone train` made. */
#include "cli.h"

#include <stdlib.h>

typedef struct predict_args {
    common_args common;
    const char *model, *data;
} predict_args;

/* A field of a CSV line, quoted where it must be (RFC 4180). */
static void put_field(const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
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

/* The class's text, or its number. */
static const char *class_name(const hone_pipeline *pipeline, size_t i, char number[24])
{
    const char *name = hone_pipeline_class(pipeline, i);
    snprintf(number, 24, "%zu", i);
    return name ? name : number;
}

static size_t largest(const hone_tensor *y, int64_t row, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (hone_tensor_get(y, row * (int64_t)n + (int64_t)i) > hone_tensor_get(y, row * (int64_t)n + (int64_t)best)) best = i;
    return best;
}

static void print(const predict_args *args, const hone_pipeline *pipeline, const hone_tensor *y)
{
    hone_shape shape = hone_tensor_shape(y);
    size_t n = (size_t)shape.dim[1];
    char number[24];
    if (!args->common.json) {
        fputs("row,prediction", stdout);
        for (size_t i = 0; i < n && n > 1; i++) {
            char name[256];
            snprintf(name, sizeof name, "probability_%s", class_name(pipeline, i, number));
            putchar(',');
            put_field(name);
        }
        putchar('\n');
    }
    for (int64_t row = 0; row < shape.dim[0]; row++) {
        const char *answer = n > 1 ? class_name(pipeline, largest(y, row, n), number) : NULL;
        double value = hone_tensor_get(y, row * (int64_t)n);
        if (args->common.json) {
            json_t *o = json_pack("{s:I, s:o}", "row", (json_int_t)row, "prediction",
                                  answer ? cli_json_text(answer, strlen(answer)) : cli_json_real(value));
            for (size_t i = 0; i < n && n > 1; i++) {
                char name[256];
                snprintf(name, sizeof name, "probability_%s", class_name(pipeline, i, number));
                json_object_set_new(o, name, cli_json_real(hone_tensor_get(y, row * (int64_t)n + (int64_t)i)));
            }
            cli_print_json(o);
            continue;
        }
        printf("%lld,", (long long)row);
        if (answer)
            put_field(answer);
        else
            printf("%.9g", value);
        for (size_t i = 0; i < n && n > 1; i++) printf(",%.6f", hone_tensor_get(y, row * (int64_t)n + (int64_t)i));
        putchar('\n');
    }
}

static int run(void *memory)
{
    predict_args *args = memory;
    char *steps = cli_join(args->model, "pipeline.json"), *weights = cli_join(args->model, "model.safetensors");
    hone_ctx *ctx = cli_ctx(&args->common);
    hone_pipeline *pipeline = ctx ? hone_pipeline_load(ctx, steps) : NULL;
    hone_model *model = pipeline ? hone_model_load(ctx, weights) : NULL;
    hone_frame *frame = model ? hone_frame_load(ctx, args->data) : NULL;
    hone_tensor *x = NULL, *y = NULL;
    if (frame && hone_pipeline_apply(pipeline, frame, &x, NULL) == HONE_OK) y = hone_predict(model, x, 256);
    int status = EXIT_DONE;
    if (y)
        print(args, pipeline, y);
    else
        status = ctx ? cli_fail_ctx(&args->common, ctx) : EXIT_FAILED;
    hone_tensor_free(x), hone_tensor_free(y);
    hone_frame_free(frame);
    hone_model_release(model);
    hone_pipeline_free(pipeline);
    hone_ctx_release(ctx);
    free(steps);
    free(weights);
    return status;
}

static const option options[] = {
    {.name = "model", .kind = OPTION_STRING, .offset = offsetof(predict_args, model), .value = "DIR", .required = true,
     .help = "the folder that `hone train` wrote"},
    {.name = "data", .kind = OPTION_STRING, .offset = offsetof(predict_args, data), .value = "FILE", .required = true,
     .help = "a table with the columns of the training data; the target may be missing"},
};
const command cmd_predict = {
    .name = "predict",
    .summary = "the answers of what `hone train` made, as CSV",
    .about = "Prints a line a row: its number from 0, the prediction, and for classes the probability of each.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .args_size = sizeof(predict_args),
    .run = run,
};
