/* hone train: a network for a table, without code. */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { MOST_CLASSES = 20, MOST_HIDDEN = 8 }; /* whole numbers with more values are quantities; layers of --arch */

typedef struct train_args {
    common_args common;
    const char *data, *target, *output_dir, *arch;
    int64_t epochs, batch_size, patience;
    double learning_rate, test_share;
} train_args;

typedef struct training {
    const train_args *args;
    hone_ctx *ctx;
    hone_frame *frame;
    hone_pipeline *pipeline;
    hone_tensor *x, *y, *x_valid, *y_valid, *x_test, *y_test;
    int64_t classes; /* 0: the target is a quantity */
    double mean, deviation; /* of such a target in training */
    int64_t hidden[MOST_HIDDEN];
    int n_hidden;
    hone_model *model;
    hone_history *history;
    FILE *metrics;
} training;

static bool failed(const training *t)
{
    cli_fail_ctx(&t->args->common, t->ctx);
    return false;
}

/* ---- looking at the data ---- */

/* How many classes a target has; 0: it is a quantity. */
static int64_t count_classes(const hone_frame *frame, const hone_column *column)
{
    bool met[MOST_CLASSES] = {false};
    int64_t most = -1, different = 0;
    if (column->type == HONE_COLUMN_TEXT) return (int64_t)column->n_categories;
    if (column->type == HONE_COLUMN_REAL) return 0;
    for (int64_t i = 0; i < frame->rows; i++) {
        double v = column->numbers[i];
        if (isnan(v)) continue;
        if (v < 0 || v >= MOST_CLASSES) return 0;
        if (!met[(int)v]) met[(int)v] = true, different++;
        most = (int64_t)fmax((double)most, v);
    }
    return different > 1 ? most + 1 : 0;
}

/* Reads the table, drops rows without a target, and says what is there. */
static bool look(training *t)
{
    const train_args *args = t->args;
    if (!(t->frame = hone_frame_load(t->ctx, args->data))) return failed(t);
    const hone_column *target = hone_frame_find(t->frame, args->target);
    if (!target) {
        const char **names = cli_alloc(t->frame->n_columns * sizeof *names);
        for (size_t i = 0; i < t->frame->n_columns; i++) names[i] = t->frame->columns[i].name;
        const char *near = nearest_name(args->target, names, t->frame->n_columns);
        cli_fail(&args->common, near ? "%s has no column '%s'; did you mean '%s'?" : "%s has no column '%s'", args->data,
                 args->target, near);
        free(names);
        return false;
    }
    int64_t before = t->frame->rows;
    if (hone_frame_drop_missing(t->frame, HONE_COLUMNS(args->target)) != HONE_OK) return failed(t);
    t->classes = count_classes(t->frame, target = hone_frame_find(t->frame, args->target));
    cli_note(&args->common, "%s: %lld rows, %zu columns; %lld rows have no %s", args->data, (long long)before,
             t->frame->n_columns, (long long)(before - t->frame->rows), args->target);
    if (t->frame->rows < 10) {
        cli_fail(&args->common, "%lld rows with a target are too few to learn from", (long long)t->frame->rows);
        return false;
    }
    if (t->classes)
        cli_note(&args->common, "'%s' is one of %lld classes", args->target, (long long)t->classes);
    else
        cli_note(&args->common, "'%s' is a quantity", args->target);
    return true;
}

/* The steps that this table needs; texts that nearly every row has another one of tell nothing. */
static hone_pipeline *propose(const training *t)
{
    hone_pipeline *p = hone_pipeline_new(t->ctx, .target = t->args->target);
    for (size_t i = 0; p && i < t->frame->n_columns; i++) {
        const hone_column *c = &t->frame->columns[i];
        bool names = c->type == HONE_COLUMN_TEXT && (int64_t)c->n_categories > t->frame->rows / 2;
        if (!names || !strcmp(c->name, t->args->target)) continue;
        cli_note(&t->args->common, "'%s' is left out: %zu different texts", c->name, c->n_categories);
        hone_pipeline_add(p, HONE_DROP_COLUMNS, .columns = HONE_COLUMNS(c->name));
    }
    hone_pipeline_add(p, HONE_SIMPLE_IMPUTER, .strategy = HONE_IMPUTE_MEDIAN);
    hone_pipeline_add(p, HONE_ONE_HOT_ENCODER, .ignore_unknown = true);
    hone_pipeline_add(p, HONE_STANDARD_SCALER);
    return p;
}

/* ---- splitting ---- */

/* Numbers of the rows: those to learn from, to stop by, to test on, one behind the other. Classes are shared out evenly. */
static bool split(training *t, int64_t *rows, int64_t *n_train, int64_t *n_known)
{
    const hone_column *target = hone_frame_find(t->frame, t->args->target);
    int32_t *codes = cli_alloc((size_t)t->frame->rows * sizeof *codes);
    for (int64_t i = 0; t->classes && i < t->frame->rows; i++)
        codes[i] = target->codes ? target->codes[i] : (int32_t)target->numbers[i];
    hone_tensor *by = hone_tensor_from_i32(t->ctx, HONE_SHAPE(t->frame->rows), codes);
    hone_status status = by ? hone_split_rows(t->ctx, t->frame->rows, t->args->test_share, t->classes ? by : NULL, t->args->common.seed,
                                              rows, n_known) : hone_ctx_status(t->ctx);
    *n_train = *n_known - *n_known * 15 / 100;
    hone_tensor_free(by);
    free(codes);
    return status == HONE_OK || failed(t);
}

static hone_tensor *quantities(const training *t, const hone_frame *frame)
{
    const double *numbers = hone_frame_find(frame, t->args->target)->numbers;
    hone_tensor *y = hone_tensor_new(t->ctx, HONE_F32, HONE_SHAPE(frame->rows, 1));
    for (int64_t i = 0; y && i < frame->rows; i++) ((float *)hone_tensor_data(y))[i] = (float)numbers[i];
    return y;
}

static bool part(training *t, const int64_t *rows, int64_t count, hone_tensor **x, hone_tensor **y)
{
    hone_frame *some = hone_frame_take(t->frame, count, rows);
    bool ok = some && hone_pipeline_apply(t->pipeline, some, x, t->classes ? y : NULL) == HONE_OK;
    if (ok && !t->classes) ok = (*y = quantities(t, some)) != NULL;
    hone_frame_free(some);
    return ok || failed(t);
}

static bool prepare(training *t)
{
    int64_t n_train, n_known, n = t->frame->rows, *rows = cli_alloc((size_t)n * sizeof *rows);
    bool ok = split(t, rows, &n_train, &n_known);
    hone_frame *learnt_from = ok ? hone_frame_take(t->frame, n_train, rows) : NULL;
    if (ok && !learnt_from) ok = failed(t);
    if (ok && (!(t->pipeline = propose(t)) || hone_pipeline_fit(t->pipeline, learnt_from) != HONE_OK)) ok = failed(t);
    ok = ok && part(t, rows, n_train, &t->x, &t->y) && part(t, rows + n_train, n_known - n_train, &t->x_valid, &t->y_valid) &&
         part(t, rows + n_known, n - n_known, &t->x_test, &t->y_test);
    hone_frame_free(learnt_from);
    free(rows);
    return ok;
}

/* ---- the network ---- */

static bool read_arch(training *t)
{
    const char *at = t->args->arch;
    if (!at) {
        t->hidden[0] = t->frame->rows < 5000 ? 64 : 128, t->hidden[1] = t->hidden[0] / 2, t->n_hidden = 2;
        return true;
    }
    for (char *end; *at; at = end + (*end == ',')) {
        errno = 0;
        long units = strtol(at, &end, 10);
        if (end == at || (*end && *end != ',') || errno || units < 1 || units > 65536 || t->n_hidden == MOST_HIDDEN) {
            cli_usage(&t->args->common, "--arch is up to %d numbers of units from 1 to 65536 with commas between: 64,32", MOST_HIDDEN);
            return false;
        }
        t->hidden[t->n_hidden++] = units;
    }
    return true;
}

static bool build(training *t)
{
    hone_layer *layers[2 * MOST_HIDDEN + 1];
    int n = 0;
    char text[MOST_HIDDEN * 24] = "";
    for (int i = 0; i < t->n_hidden; i++) {
        layers[n++] = hone_dense(t->ctx, t->hidden[i], .activation = HONE_RELU, .initializer = HONE_INIT_HE_UNIFORM);
        layers[n++] = hone_dropout_layer(t->ctx, 0.1);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%lld relu, ", (long long)t->hidden[i]);
    }
    layers[n++] = t->classes ? hone_dense(t->ctx, t->classes, .activation = HONE_SOFTMAX) : hone_dense(t->ctx, 1);
    t->model = hone_model_of(hone_sequential_n(t->ctx, n, layers));
    if (!t->model || hone_compile(t->model, .optimizer = hone_adamw(t->ctx, .learning_rate = t->args->learning_rate),
                                  .loss = t->classes ? HONE_SPARSE_CATEGORICAL_CROSSENTROPY : HONE_MSE,
                                  .max_grad_norm = 1) != HONE_OK)
        return failed(t);
    cli_note(&t->args->common, "network: %zu features, %s%lld %s", hone_pipeline_features(t->pipeline), text,
             (long long)(t->classes ? t->classes : 1), t->classes ? "softmax" : "linear");
    return true;
}

/* ---- quantities: learnt at mean 0 and deviation 1, answered as they are ---- */

static void scale(const training *t, hone_tensor *y)
{
    float *values = hone_tensor_data(y);
    for (int64_t i = 0; i < hone_tensor_shape(y).dim[0]; i++) values[i] = (float)(((double)values[i] - t->mean) / t->deviation);
}

static void scale_targets(training *t)
{
    int64_t n = hone_tensor_shape(t->y).dim[0];
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) sum += hone_tensor_get(t->y, i);
    t->mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) squares += pow(hone_tensor_get(t->y, i) - t->mean, 2);
    t->deviation = squares > 0 ? sqrt(squares / (double)n) : 1;
    scale(t, t->y);
    scale(t, t->y_valid);
}

/* The last layer does what undoes the scaling. */
static bool unscale(training *t)
{
    for (size_t i = hone_model_param_count(t->model) - 2; i < hone_model_param_count(t->model); i++) {
        hone_param *p = hone_model_param(t->model, i);
        int64_t n = hone_shape_count(hone_param_shape(p));
        float *values = cli_alloc((size_t)n * sizeof *values);
        hone_status status = hone_param_read(p, n, values);
        for (int64_t k = 0; k < n; k++) values[k] = (float)((double)values[k] * t->deviation);
        if (strstr(hone_param_name(p), "bias")) values[0] += (float)t->mean;
        if (status == HONE_OK) status = hone_param_write(p, n, values);
        free(values);
        if (status != HONE_OK) return failed(t);
    }
    return true;
}

/* ---- training ---- */

static bool on_epoch(void *user, hone_model *model, size_t epoch, const hone_epoch *e)
{
    training *t = user;
    (void)model;
    json_t *o = json_pack("{s:I, s:o, s:o, s:o, s:o}", "epoch", (json_int_t)epoch + 1, "loss", cli_json_real(e->loss), "accuracy",
                          cli_json_real(e->accuracy), "eval_loss", cli_json_real(e->validation_loss), "eval_accuracy",
                          cli_json_real(e->validation_accuracy));
    json_dumpf(o, t->metrics, JSON_COMPACT | JSON_REAL_PRECISION(9));
    fputc('\n', t->metrics);
    json_decref(o);
    return true;
}

static bool train(training *t)
{
    const train_args *args = t->args;
    char *path = cli_join(args->output_dir, "metrics.jsonl");
    if (!t->classes) scale_targets(t);
    if (!(t->metrics = fopen(path, "w"))) {
        cli_fail(&args->common, "%s: %s", path, cli_system_error());
        free(path);
        return false;
    }
    free(path);
    hone_callback *stop = hone_early_stopping(t->ctx, .patience = (int)args->patience, .restore_best_weights = true);
    cli_catch_interrupts(t->ctx, true);
    hone_status status = stop ? hone_fit(t->model, t->x, t->y, &t->history, .epochs = (int)args->epochs,
                                         .batch_size = (int)args->batch_size, .validation_x = t->x_valid,
                                         .validation_y = t->y_valid, .on_epoch = on_epoch, .on_epoch_user = t, HONE_CALLBACKS(stop))
                              : hone_ctx_status(t->ctx);
    cli_catch_interrupts(NULL, false);
    if (status == HONE_OK && t->history)
        cli_note(&args->common, "%zu epochs, the best one was number %d", t->history->n_epochs,
                 hone_early_stopping_best_epoch(stop) + 1);
    hone_callback_free(stop);
    if (status != HONE_OK) return failed(t);
    return t->classes || unscale(t);
}

/* ---- what it is worth ---- */

static const char *const class_metrics[] = {"accuracy", "precision", "recall", "f1", NULL};
static const char *const quantity_metrics[] = {"mae", "rmse", "r2", NULL};

static const char **class_names(const training *t)
{
    if (!hone_pipeline_classes(t->pipeline)) return NULL;
    const char **names = cli_alloc((size_t)t->classes * sizeof *names);
    for (size_t i = 0; i < (size_t)t->classes; i++) names[i] = hone_pipeline_class(t->pipeline, i);
    return names;
}

/* The table on stdout, and the pictures. */
static bool report(training *t)
{
    hone_tensor *answers = hone_predict(t->model, t->x_test, 256);
    hone_confusion *confusion = t->classes ? hone_confusion_new(t->ctx, t->classes) : NULL;
    const char **names = t->classes ? class_names(t) : NULL;
    bool ok = answers && (!t->classes || (confusion && hone_confusion_update(confusion, answers, t->y_test) == HONE_OK));
    json_t *o = json_pack("{s:I}", "rows", (json_int_t)hone_tensor_shape(t->x_test).dim[0]);
    for (const char *const *name = t->classes ? class_metrics : quantity_metrics; ok && *name; name++) {
        hone_metric *m = hone_metric_new(t->ctx, *name, .average = HONE_AVERAGE_MACRO);
        ok = m && hone_metric_update(m, answers, t->y_test) == HONE_OK;
        if (ok) json_object_set_new(o, *name, cli_json_real(hone_metric_result(m)));
        if (ok && !t->args->common.json) printf("%-10s %.4f\n", *name, hone_metric_result(m));
        hone_metric_free(m);
    }
    char *text = ok && t->classes ? hone_classification_report(confusion, names, 4) : NULL;
    if (text && !t->args->common.json) printf("\n%s", text);
    if (ok && t->args->common.json) cli_print_json(json_incref(o));
    if (text) hone_free_text(t->ctx, text);
    char *path = cli_join(t->args->output_dir, "confusion.svg");
    if (ok && t->classes && hone_plot_confusion(t->ctx, path, t->args->target, confusion, names) == HONE_UNSUPPORTED)
        cli_note(&t->args->common, "no pictures: %s", hone_error(t->ctx));
    free(path);
    free(names);
    json_decref(o);
    hone_confusion_free(confusion);
    hone_tensor_free(answers);
    return ok || failed(t);
}

static void draw_losses(training *t)
{
    size_t n = t->history->n_epochs;
    double *epochs = cli_alloc(3 * n * sizeof *epochs), *loss = epochs + n, *valid = loss + n;
    for (size_t i = 0; i < n; i++)
        epochs[i] = (double)i + 1, loss[i] = t->history->epochs[i].loss, valid[i] = t->history->epochs[i].validation_loss;
    const hone_plot_series series[] = {{.name = "training", .count = n, .x = epochs, .y = loss},
                                       {.name = "validation", .count = n, .x = epochs, .y = valid}};
    static const char *const files[] = {"loss.svg", "loss.png"};
    for (int i = 0; i < 2; i++) {
        char *path = cli_join(t->args->output_dir, files[i]);
        hone_plot_lines(t->ctx, path, t->args->target, "epoch", "loss", 2, series);
        free(path);
    }
    free(epochs);
}

static bool save(training *t)
{
    char *model = cli_join(t->args->output_dir, "model.safetensors"), *pipeline = cli_join(t->args->output_dir, "pipeline.json");
    bool ok = hone_model_save(t->model, model) == HONE_OK && hone_pipeline_save(t->pipeline, pipeline) == HONE_OK;
    if (ok) cli_note(&t->args->common, "%s and %s: `hone predict --model %s --data FILE`", model, pipeline, t->args->output_dir);
    free(model);
    free(pipeline);
    return ok || failed(t);
}

static int run(void *memory)
{
    train_args *args = memory;
    training t = {.args = args};
    if (mkdir(args->output_dir, 0777) != 0 && errno != EEXIST)
        return cli_fail(&args->common, "%s: %s", args->output_dir, cli_system_error());
    t.ctx = cli_ctx(&args->common);
    int status = EXIT_FAILED;
    if (t.ctx && look(&t)) {
        status = read_arch(&t) ? EXIT_FAILED : EXIT_USAGE;
        if (status == EXIT_FAILED && prepare(&t) && build(&t) && train(&t)) {
            draw_losses(&t);
            if (report(&t) && save(&t)) status = EXIT_DONE;
        }
    }
    if (t.metrics && fclose(t.metrics) != 0 && status == EXIT_DONE)
        status = cli_fail(&args->common, "metrics.jsonl: %s", cli_system_error());
    hone_history_free(t.history);
    hone_model_release(t.model);
    hone_tensor_free(t.x), hone_tensor_free(t.y), hone_tensor_free(t.x_valid), hone_tensor_free(t.y_valid);
    hone_tensor_free(t.x_test), hone_tensor_free(t.y_test);
    hone_pipeline_free(t.pipeline);
    hone_frame_free(t.frame);
    hone_ctx_release(t.ctx);
    return status;
}

static const option options[] = {
    {.name = "data", .kind = OPTION_STRING, .offset = offsetof(train_args, data), .value = "FILE", .required = true,
     .help = "a table: a .csv file, or .tsv, with the columns' names in the first line"},
    {.name = "target", .kind = OPTION_STRING, .offset = offsetof(train_args, target), .value = "COLUMN", .required = true,
     .help = "the column to predict: text and few whole numbers are classes, other numbers a quantity"},
    {.name = "output-dir", .kind = OPTION_STRING, .offset = offsetof(train_args, output_dir), .value = "DIR", .required = true,
     .help = "where the model, the pipeline, metrics.jsonl and the pictures go"},
    {.name = "arch", .kind = OPTION_STRING, .offset = offsetof(train_args, arch), .value = "N,N,...",
     .shown = "64,32; 128,64 from 5,000 rows on", .help = "units of the hidden layers"},
    {.name = "epochs", .kind = OPTION_INT, .offset = offsetof(train_args, epochs), .value = "N", .initial = "200",
     .min = 1, .max = 1000000, .help = "the most passes over the data"},
    {.name = "patience", .kind = OPTION_INT, .offset = offsetof(train_args, patience), .value = "N", .initial = "20",
     .min = 0, .max = 1000000, .help = "ends after so many epochs without a better validation loss, and takes the best"},
    {.name = "batch-size", .kind = OPTION_INT, .offset = offsetof(train_args, batch_size), .value = "N", .initial = "32",
     .min = 1, .max = 1000000, .help = "rows a step"},
    {.name = "learning-rate", .kind = OPTION_POSITIVE, .offset = offsetof(train_args, learning_rate), .value = "X",
     .initial = "0.002", .max = 10, .help = "of AdamW"},
    {.name = "test-share", .kind = OPTION_POSITIVE, .offset = offsetof(train_args, test_share), .value = "X", .initial = "0.2",
     .max = 0.9, .help = "of the rows is held out and measured at the end; 15 % of the others say when to stop"},
};
const command cmd_train = {
    .name = "train",
    .summary = "a network for a table, without code",
    .about = "Looks at a table, fills in, encodes and scales its columns, trains a network with early stopping, and measures it on "
             "rows that it has not seen: the table on stdout.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .args_size = sizeof(train_args),
    .run = run,
};
