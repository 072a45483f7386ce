/* hone train: a network for a table, for pictures, sounds, texts or arrays, without code. */
#include "task.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct train_args {
    common_args common;
    const char *data, *validation, *test, *target, *output_dir, *arch;
    task_wishes wishes;
    int64_t epochs, batch_size, patience, save_epochs;
    double learning_rate, weight_decay, test_share;
    int optimizer, schedule, loss, class_weights;
    bool resume;
} train_args;

enum { WEIGHTS_NONE = 1, WEIGHTS_BALANCED };
enum { DECAY_NOT_GIVEN = -1 };
/* As --schedule has them, from 1 on. */
static const struct {
    const char *name;
    hone_schedule_kind kind;
} schedules[] = {{NULL, HONE_SCHEDULE_CONSTANT},  {"constant", HONE_SCHEDULE_CONSTANT}, {"cosine", HONE_SCHEDULE_COSINE},
                 {"linear", HONE_SCHEDULE_LINEAR}, {"one_cycle", HONE_SCHEDULE_ONE_CYCLE}};
static const char *const optimizers[] = {NULL,
#define HONE_OPTIMIZER(name, ...) #name,
#include "hone/optimizer.def"
#undef HONE_OPTIMIZER
};
/* Learning rates over Adam's. */
static const double rates[] = {1,
#define HONE_OPTIMIZER(name, rate, ...) rate,
#include "hone/optimizer.def"
#undef HONE_OPTIMIZER
};
/* "|adamw|adamw8bit|..." */
static const char optimizer_choices[] =
#define HONE_OPTIMIZER(name, ...) "|" #name
#include "hone/optimizer.def"
#undef HONE_OPTIMIZER
    ;
/* Of quantities, as --loss has them. */
static const hone_loss losses[] = {HONE_MSE /* not given */, HONE_MSE, HONE_MAE, HONE_HUBER, HONE_LOG_COSH};

typedef struct training {
    const train_args *args;
    hone_ctx *ctx;
    task *task, *valid, *test; /* valid, test: of --validation and --test; NULL: their rows are some of task's */
    int64_t *rows, n_train, n_known, n_rows; /* rows to learn from, to stop by [n_train, n_known), to test on */
    hone_tensor *x, *y, *x_valid, *y_valid; /* x, y: NULL when the task reads its rows as they are needed */
    task_files *files; /* then */
    hone_dataset *own;
    hone_loader *loader;
    double mean, deviation; /* of a quantity in training */
    char first[64], arch[512], *layers; /* what must be there, what is proposed, all */
    char *summary;
    task_checkpoints checkpoints;
    hone_epoch *epochs; /* [n_epochs], when all have been made */
    size_t n_epochs;
    int best_epoch;
    bool stopped; /* by Ctrl-C */
    double seconds;
    FILE *metrics;
} training;

static bool failed(const training *t) { return task_failed(t->task); }

static int64_t batch_size(const training *t) { return t->args->batch_size ? t->args->batch_size : t->task->kind->batch_size; }
static int64_t epochs(const training *t) { return t->args->epochs ? t->args->epochs : t->task->kind->epochs; }
static double learning_rate(const training *t)
{
    return t->args->learning_rate > 0 ? t->args->learning_rate : rates[t->args->optimizer] * t->task->kind->learning_rate;
}

static bool is_constant(const training *t) { return schedules[t->args->schedule].kind == HONE_SCHEDULE_CONSTANT; }
/* As hone_optimizer_from_name takes it. */
static double weight_decay(const training *t)
{
    double decay = t->args->weight_decay;
    return decay > 0 ? decay : decay < 0 ? 0 : (double)HONE_ZERO;
}

/* ---- parts of the data ---- */

enum { WATCHED = 15 }; /* percent of the rows that are known while learning say when to stop */

static double test_share(const training *t) { return t->args->test_share > 0 ? t->args->test_share : 0.2; }

/* Files of their own, with what is to be learnt in them. */
static bool open_others(training *t)
{
    const train_args *args = t->args;
    if (args->validation && !(t->valid = task_beside(t->task, args->validation))) return false;
    if (args->test && !(t->test = task_beside(t->task, args->test))) return false;
    return true;
}

/* Classes are shared out evenly. Rows that another file has are not held out of these. */
static bool split(training *t)
{
    task *of = t->task;
    const double held = test_share(t), share = t->test ? WATCHED / 100.0 : held;
    hone_tensor *by = of->classes ? hone_tensor_from_i32(t->ctx, HONE_SHAPE(of->rows), of->labels) : NULL;
    t->rows = cli_alloc((size_t)of->rows * sizeof *t->rows);
    t->n_rows = of->rows;
    if (of->kind->split)
        return of->kind->split(of, t->args->wishes.watched, t->args->wishes.tested, t->rows, &t->n_train, &t->n_known, &t->n_rows);
    hone_status status = hone_split_rows(t->ctx, of->rows, share, by, t->args->common.seed, t->rows, &t->n_known);
    hone_tensor_free(by);
    if (status != HONE_OK) return failed(t);
    if (t->test) {
        t->n_train = t->valid ? of->rows : t->n_known;
        t->n_known = of->rows;
    } else {
        int64_t watched = t->n_known * WATCHED / 100;
        t->n_train = t->valid ? t->n_known : t->n_known - (watched ? watched : 1);
    }
    if (t->n_train >= 1 && (t->test || t->n_known < of->rows) && (t->valid || t->n_train < t->n_known)) return true;
    cli_fail(&t->args->common, "--test-share %g of %lld %s leaves none to %s", held, (long long)of->rows, of->kind->plural,
             t->n_train < 1 ? "learn from" : t->n_known < of->rows || t->test ? "stop by" : "test on");
    return false;
}

static int64_t n_tested(const training *t) { return t->test ? t->test->rows : t->n_rows - t->n_known; }
static int64_t n_watched(const training *t) { return t->valid ? t->valid->rows : t->n_known - t->n_train; }

/* Rows from 0 on, the caller's. */
static int64_t *count_up(int64_t n)
{
    int64_t *rows = cli_alloc((size_t)n * sizeof *rows);
    for (int64_t i = 0; i < n; i++) rows[i] = i;
    return rows;
}

/* Quantities are learnt at mean 0 and deviation 1, and answered as they are; a series has a way of its own. */
static bool is_scaled(const task *of) { return !of->classes && !of->kind->targets; }

static void scale(const training *t, hone_tensor *y)
{
    float *values = hone_tensor_data(y);
    for (int64_t i = 0; i < hone_tensor_shape(y).dim[0]; i++) values[i] = (float)(((double)values[i] - t->mean) / t->deviation);
}

static void measure_targets(training *t)
{
    double sum = 0, squares = 0, n = (double)t->n_train;
    for (int64_t i = 0; i < t->n_train; i++) sum += t->task->values[t->rows[i]];
    t->mean = sum / n;
    for (int64_t i = 0; i < t->n_train; i++) squares += pow(t->task->values[t->rows[i]] - t->mean, 2);
    t->deviation = task_deviation(n, t->mean, squares / n);
}

static bool take(training *t, task *of, const int64_t *rows, int64_t n, hone_tensor **x, hone_tensor **y)
{
    *x = task_take(of, n, rows);
    if (!*x) return false;
    *y = of->kind->targets ? of->kind->targets(of, n, rows, true) : task_targets(of, n, rows);
    if (*y && is_scaled(of)) scale(t, *y);
    return *y || failed(t);
}

/* What cannot be read of the rows to test on is told now, not when all has been learnt. */
static bool check_rest(const training *t)
{
    enum { SOME = 1024 };
    int64_t *own = t->test ? count_up(t->test->rows) : NULL;
    bool ok = true;
    for (int64_t at = 0; ok && at < n_tested(t); at += SOME) {
        int64_t left = n_tested(t) - at;
        hone_tensor *x = task_take(t->test ? t->test : t->task, left < SOME ? left : SOME, (own ? own : t->rows + t->n_known) + at);
        ok = x != NULL;
        hone_tensor_free(x);
    }
    free(own);
    return ok;
}

static bool take_watched(training *t)
{
    int64_t *own = t->valid ? count_up(t->valid->rows) : NULL;
    bool ok = take(t, t->valid ? t->valid : t->task, own ? own : t->rows + t->n_train, n_watched(t), &t->x_valid, &t->y_valid);
    free(own);
    return ok;
}

static bool prepare(training *t)
{
    task *of = t->task;
    if (!of->kind->learn(of, t->n_train, t->rows)) return false;
    if (is_scaled(of)) measure_targets(t);
    if (t->valid) task_share(t->valid);
    if (t->test) task_share(t->test);
    if (!take_watched(t) || !check_rest(t)) return false;
    if (!of->kind->dataset) {
        if (!take(t, of, t->rows, t->n_train, &t->x, &t->y)) return false;
        if (!(t->own = hone_dataset_from_tensors(t->x, t->y))) return failed(t);
    }
    t->loader = hone_loader_new(t->own ? t->own : of->kind->dataset(of), .batch_size = (int)batch_size(t), .threads = t->own ? 1 : 2,
                                .rows = t->own ? NULL : t->rows, .n_rows = t->own ? 0 : t->n_train, .transforms = of->transforms,
                                .n_transforms = of->n_transforms);
    return t->loader || failed(t);
}

/* ---- the network ---- */

static bool refuse_arch(const training *t)
{
    cli_fail(&t->args->common, t->args->arch ? "--arch: %s" : "%s", hone_error(t->ctx));
    return false;
}

/* How many numbers the network answers. */
static int64_t answers(const task *of) { return of->classes ? of->classes : of->outputs ? of->outputs : 1; }

/* One example's shape, as a batch of one. */
static hone_shape input_shape(const training *t)
{
    hone_shape shape = hone_tensor_shape(t->x_valid);
    shape.dim[0] = 1;
    return shape;
}

static bool make_model(training *t)
{
    task *of = t->task;
    hone_layer *net = hone_sequential_from_text(t->ctx, t->layers);
    hone_layer *last = of->classes ? hone_dense(t->ctx, of->classes, .activation = HONE_SOFTMAX) : hone_dense(t->ctx, answers(of));
    if (net) hone_layer_add(net, NULL, last);
    of->model = net ? hone_model_of(net) : NULL;
    if (!of->model || hone_model_build_for(of->model, hone_tensor_dtype(t->x_valid), input_shape(t)) != HONE_OK) return refuse_arch(t);
    if (hone_model_root(of->model)->output.rank != 2) {
        cli_fail(&t->args->common, "--arch: its last layer must give a row of features for each of the %s; flatten, global_average_pool, or "
                                    "gru without return_sequences do", of->kind->plural);
        return false;
    }
    if (hone_compile(of->model, .optimizer = hone_optimizer_from_name(t->ctx, optimizers[t->args->optimizer], learning_rate(t), weight_decay(t)),
                     .loss = of->classes ? HONE_SPARSE_CATEGORICAL_CROSSENTROPY : losses[t->args->loss], .max_grad_norm = 1,
                     .auto_compute = t->args->common.dtype == DTYPE_AUTO && of->kind != &task_table && of->kind != &task_series /* whose products are small */,
                     .compute = t->args->common.dtype == DTYPE_BF16 ? HONE_BF16 : HONE_F32) != HONE_OK)
        return failed(t);
    return true;
}

/* ---- what training it is, for --resume ---- */

/* Of all that is learnt from and watched. */
static bool hash_data(const training *t, uint64_t *hash)
{
    const int64_t counts[] = {t->task->rows, t->n_train, t->n_known};
    hone_tensor *const tensors[] = {t->x, t->y, t->x_valid, t->y_valid};
    *hash = task_hash(TASK_HASH_BEGIN, counts, sizeof counts);
    if (t->task->labels) *hash = task_hash(*hash, t->task->labels, (size_t)t->task->rows * sizeof *t->task->labels);
    if (!t->x && !task_hash_files(t->task, hash)) return false;
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        if (tensors[i]) *hash = task_hash(*hash, hone_tensor_data(tensors[i]), hone_tensor_bytes(tensors[i]));
    return true;
}

static void put_text(json_t *to, const char *name, const char *format, ...)
{
    char text[400];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    json_object_set_new(to, name, cli_json_text(text, strlen(text)));
}

/* Options that decide on bits of what is learnt; they come before the data, which some of them change. */
static json_t *describe_options(const training *t)
{
    const train_args *args = t->args;
    const task_wishes *wishes = &args->wishes;
    json_t *o = json_object();
    put_text(o, "--target", "%s", t->task->target ? t->task->target : "none");
    put_text(o, "--learn", "%s", t->task->classes ? "classes" : "quantity");
    put_text(o, "--text", "%s", wishes->text ? wishes->text : "not given");
    put_text(o, "--image-size", wishes->image_size ? "%lld" : "not given", (long long)wishes->image_size);
    put_text(o, "--augment", "%s", (const char *[]){"shift", "shift", "flip", "none"}[wishes->augment]);
    put_text(o, "--forecast", "%lld", (long long)wishes->forecast);
    put_text(o, "--window", wishes->window ? "%lld" : "not given", (long long)wishes->window);
    put_text(o, "--validation", "%s", args->validation ? "given" : "not given");
    put_text(o, "--test", "%s", args->test ? "given" : "not given");
    put_text(o, "--test-share", "%.17g", t->test ? 0 : test_share(t));
    put_text(o, "--seed", "%llu", (unsigned long long)args->common.seed);
    put_text(o, "--batch-size", "%lld", (long long)batch_size(t));
    put_text(o, "--optimizer", "%s", optimizers[args->optimizer]);
    put_text(o, "--learning-rate", "%.17g", learning_rate(t));
    put_text(o, "--weight-decay", t->args->weight_decay < 0 ? "not given" : "%.17g", t->args->weight_decay);
    put_text(o, "--schedule", "%s", schedules[args->schedule].name);
    put_text(o, "--epochs", is_constant(t) ? "any" : "%lld", (long long)epochs(t)); /* a schedule ends with the last one */
    put_text(o, "--loss", "%s", hone_loss_name(losses[args->loss]));
    put_text(o, "--class-weights", "%s", args->class_weights == WEIGHTS_BALANCED ? "balanced" : "none");
    put_text(o, "--dtype", "%s", (const char *[]){"auto", "f32", "bf16"}[args->common.dtype - 1]);
    return o;
}

/* What decides on every bit of what is learnt, but for the number of epochs and the patience. To know the data all of it is read
   again: only who writes a checkpoint or goes on from one asks. */
static json_t *describe(void *user)
{
    const training *t = user;
    const char *arch = t->args->arch ? t->args->arch : t->arch;
    uint64_t hash;
    if (!hash_data(t, &hash)) return NULL;
    json_t *o = describe_options(t);
    if (t->files && task_files_changed(t->files))
        put_text(o, "the data", "%lld %s (changed while they were learnt from)", (long long)t->task->rows, t->task->kind->plural);
    else
        put_text(o, "the data", "%lld %s (%016llx)", (long long)t->task->rows, t->task->kind->plural, (unsigned long long)hash);
    json_object_set_new(o, "--arch", cli_json_text(arch, strlen(arch)));
    return o;
}

/* Are there epochs to go on with, and room for their checkpoints? */
static bool check_epochs(const training *t)
{
    int64_t made = (int64_t)json_array_size(t->checkpoints.epochs), wanted = epochs(t);
    if (made > wanted)
        return cli_fail(&t->args->common, "--resume: %lld epochs have been made, more than --epochs %lld%s", (long long)made,
                        (long long)wanted, t->args->epochs ? "" : ", which it is when not given"), false;
    if (made == wanted) cli_note(&t->args->common, "all of the %lld epochs have been made: nothing is left to learn", (long long)made);
    return task_checkpoints_fit(&t->checkpoints, wanted);
}

static bool build(training *t)
{
    task *of = t->task;
    of->kind->propose(of, t->first, t->arch);
    const char *arch = t->args->arch ? t->args->arch : t->arch;
    size_t size = strlen(t->first) + strlen(arch) + 1;
    t->layers = cli_alloc(size);
    snprintf(t->layers, size, "%s%s", t->first, arch);
    cli_note(&t->args->common, "network: %s%s, dense %lld%s", t->first, arch, (long long)answers(of),
             of->classes ? " softmax" : "");
    cli_note(&t->args->common, "optimizer: %s, learning rate %g%s%s, %lld %s a step", optimizers[t->args->optimizer], learning_rate(t),
             is_constant(t) ? "" : " at most, ", is_constant(t) ? "" : schedules[t->args->schedule].name, (long long)batch_size(t), of->kind->plural);
    if (!t->x) t->files = task_files_new(of);
    if (!(t->args->resume ? task_resume(&t->checkpoints) : make_model(t)) || !check_epochs(t)) return false;
    t->summary = hone_summary(of->model, hone_tensor_dtype(t->x_valid), input_shape(t));
    return t->summary || failed(t);
}

/* The last layer does what undoes the scaling. */
static bool unscale(training *t)
{
    hone_model *model = t->task->model;
    for (size_t i = hone_model_param_count(model) - 2; i < hone_model_param_count(model); i++) {
        hone_param *p = hone_model_param(model, i);
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

/* scikit-learn's "balanced": every class weighs as much as the others do, and a row 1 in the mean. NULL: rows weigh the same. */
static double *class_weights(const training *t)
{
    if (t->args->class_weights != WEIGHTS_BALANCED) return NULL;
    int64_t classes = t->task->classes;
    double *weights = cli_alloc((size_t)classes * sizeof *weights);
    for (int64_t i = 0; i < t->n_train; i++) weights[t->task->labels[t->rows[i]]]++;
    for (int64_t k = 0; k < classes; k++) weights[k] = weights[k] > 0 ? (double)t->n_train / ((double)classes * weights[k]) : 1;
    return weights;
}

/* The first line that cannot be written is told when it is, and once. */
static void put_metrics(training *t, const json_t *epoch)
{
    bool before = ferror(t->metrics);
    json_dumpf(epoch, t->metrics, JSON_COMPACT | JSON_REAL_PRECISION(9));
    fputc('\n', t->metrics);
    if ((fflush(t->metrics) != 0 || ferror(t->metrics)) && !before)
        cli_fail(&t->args->common, "%s/metrics.jsonl: %s", t->args->output_dir, cli_system_error());
}

/* False when something of it could not be written. */
static bool close_metrics(training *t)
{
    if (!t->metrics) return true;
    bool ok = !ferror(t->metrics);
    if (fclose(t->metrics) == 0) return ok;
    if (ok) cli_fail(&t->args->common, "%s/metrics.jsonl: %s", t->args->output_dir, cli_system_error());
    return false;
}

static bool on_epoch(void *user, hone_model *model, size_t epoch, const hone_epoch *e)
{
    training *t = user;
    json_t *o = json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "epoch", (json_int_t)epoch + 1, "loss", cli_json_real(e->loss), "accuracy",
                          cli_json_real(e->accuracy), "eval_loss", cli_json_real(e->validation_loss), "eval_accuracy",
                          cli_json_real(e->validation_accuracy), "learning_rate",
                          cli_json_real(hone_optimizer_learning_rate(hone_model_optimizer(model))), "seconds", cli_json_real(e->seconds));
    json_array_append_new(t->checkpoints.epochs, o);
    put_metrics(t, o);
    return true;
}

/* Has Ctrl-C ended the training, and not something else before? Tells it once. */
static bool is_interrupted(training *t, const hone_fit_state *state)
{
    if (!cli_interrupted() || (state->stop && !t->stopped)) return false;
    if (!t->stopped)
        cli_note(&t->args->common, "stopped in epoch %d; what has been learnt is being measured and saved (Ctrl-C again: not saved)",
                 state->epoch + 1);
    return t->stopped = true;
}

/* No step is begun then, and the epoch is closed as usual: what it has learnt counts. A short one is made whole, for its checkpoint. */
static hone_status end_in_epoch(void *user, hone_fit_state *state)
{
    training *t = user;
    if (is_interrupted(t, state) && !task_epochs_are_short(&t->checkpoints)) state->stop = t->checkpoints.cut = true;
    return HONE_OK;
}

static hone_status end_after_epoch(void *user, hone_fit_state *state)
{
    training *t = user;
    if (is_interrupted(t, state)) state->stop = true;
    return HONE_OK;
}

static void tell_how_to_go_on(const training *t)
{
    const common_args *args = &t->args->common;
    if (t->checkpoints.written)
        cli_note(args, "--resume goes on after epoch %lld, of which %s/checkpoint-%lld is", (long long)t->checkpoints.written,
                 t->args->output_dir, (long long)t->checkpoints.written);
    else
        cli_note(args, "there is no checkpoint for --resume: %s",
                 t->checkpoints.cut && t->n_epochs == 1 ? "the first epoch was not whole" : "none could be written");
}

static void print(void *user, const char *text) { (void)user, fputs(text, stderr); }

static bool open_metrics(training *t)
{
    char *path = cli_join(t->args->output_dir, "metrics.jsonl");
    t->metrics = fopen(path, "w");
    if (!t->metrics) cli_fail(&t->args->common, "%s: %s", path, cli_system_error());
    free(path);
    for (size_t i = 0; t->metrics && i < json_array_size(t->checkpoints.epochs); i++)
        put_metrics(t, json_array_get(t->checkpoints.epochs, i));
    return t->metrics != NULL;
}

/* All that were made, also before a training that goes on. */
static void take_epochs(training *t)
{
    t->n_epochs = json_array_size(t->checkpoints.epochs);
    t->epochs = cli_alloc(t->n_epochs * sizeof *t->epochs);
    for (size_t i = 0; i < t->n_epochs; i++) {
        t->epochs[i] = task_epoch(json_array_get(t->checkpoints.epochs, i));
        t->seconds += t->epochs[i].seconds;
    }
}

static bool train(training *t)
{
    const train_args *args = t->args;
    const task_kind *kind = t->task->kind;
    if (!args->resume) cli_begin_output(&args->common, args->output_dir, "model.safetensors", (const char *const[]){"train", "validation", NULL});
    if (!open_metrics(t)) return false;
    hone_callback *stop = hone_early_stopping(t->ctx, .patience = (int)(args->patience < 0 ? kind->patience : args->patience),
                                              .restore_best_weights = true);
    t->checkpoints.stop = stop;
    hone_callback checkpoints = task_checkpoint_callback(&t->checkpoints);
    /* before the checkpoints: what it stops after is saved */
    hone_callback watch = {.user = t, .step_end = end_in_epoch, .epoch_end = end_after_epoch};
    hone_callback *events = hone_tensorboard(t->ctx, args->output_dir, 0);
    cli_on_interrupt(INTERRUPTS_TELL_ONCE, NULL);
    double *weights = class_weights(t);
    int before = (int)json_array_size(t->checkpoints.epochs);
    const hone_schedule schedule = {.kind = schedules[args->schedule].kind};
    /* of a training that goes on, the optimizer has the rate where it stopped; the schedule's peak is its own one */
    hone_optimizer_set_learning_rate(hone_model_optimizer(t->task->model), learning_rate(t));
    hone_status status = stop && events ? hone_fit_loader(t->task->model, t->loader, NULL,
                                                          .epochs = (int)epochs(t), .initial_epoch = before, .schedule = is_constant(t) ? NULL : &schedule,
                                                          .validation_x = t->x_valid, .validation_y = t->y_valid, .on_epoch = on_epoch,
                                                          .on_epoch_user = t, .progress = !args->common.quiet, .print = print,
                                                          .class_weights = weights, .n_class_weights = weights ? (size_t)t->task->classes : 0,
                                                          HONE_CALLBACKS(stop, &watch, &checkpoints, events))
                                        : hone_ctx_status(t->ctx);
    if (status == HONE_OK) {
        char spent[32];
        t->best_epoch = hone_early_stopping_best_epoch(stop) + 1;
        take_epochs(t);
        cli_note(&args->common, "%zu epochs in %s, the best one was number %d", t->n_epochs, cli_duration(t->seconds, spent), t->best_epoch);
        if (t->stopped) tell_how_to_go_on(t);
    }
    free(weights);
    hone_callback_free(stop);
    hone_callback_free(events);
    if (status != HONE_OK) return failed(t);
    return !is_scaled(t->task) || unscale(t);
}

/* ---- what it is worth ---- */

static bool finish(training *t)
{
    const char *folder = t->args->output_dir;
    task_score score;
    if (t->test) task_share(t->test); /* there is a model now */
    bool ok = t->test ? task_measure(t->test, 0, NULL, &score) : task_measure(t->task, n_tested(t), t->rows + t->n_known, &score);
    ok = ok && task_score_print(&score);
    cli_on_interrupt(INTERRUPTS_IGNORE, NULL); /* the folder is written whole */
    if (ok) {
        const task_report report = {.t = t->task, .data = t->args->data, .folder = folder, .arch = t->args->arch ? t->args->arch : t->arch, .summary = t->summary,
                                    .measured = t->test ? t->test : t->task, .rows = t->test ? NULL : t->rows + t->n_known,
                                    .validation = t->args->validation, .test = t->args->test,
                                    .learnt = t->n_train, .watched = n_watched(t), .tested = score.rows,
                                    .epochs = t->epochs, .n_epochs = t->n_epochs, .best_epoch = t->best_epoch, .stopped = t->stopped, .seconds = t->seconds, .score = &score};
        ok = task_save(t->task, folder) && task_write_report(&report);
    }
    task_score_free(&score);
    if (ok) cli_note(&t->args->common, "%s/report.html tells all of it; `hone predict --model %s --data DATA` answers", folder, folder);
    return ok;
}

/* Options that are for one kind of target alone. */
static bool check_target(const training *t)
{
    const train_args *args = t->args;
    const char *wrong = t->task->classes ? args->loss ? "--loss" : NULL : args->class_weights == WEIGHTS_BALANCED ? "--class-weights" : NULL;
    if (!wrong) return true;
    cli_fail(&args->common, "%s is for %s, and the target is %s", wrong, t->task->classes ? "quantities" : "classes",
             t->task->classes ? "one of several classes" : "a quantity");
    return false;
}

/* Is --arch well written? Before anything is read, and in a context of its own: errors stick. */
static bool check_arch(const train_args *args)
{
    hone_ctx *ctx = args->arch ? cli_ctx(&args->common) : NULL;
    bool ok = !args->arch || (ctx && hone_sequential_from_text(ctx, args->arch));
    if (ctx && !ok) cli_usage(&args->common, "--arch: %s", hone_error(ctx));
    hone_ctx_release(ctx);
    return ok;
}

/* The folder to write into, before anything is read. */
static bool make_folder(const train_args *args, bool *made)
{
    struct stat info;
    const char *path = args->output_dir;
    *made = mkdir(path, 0777) == 0;
    bool ok = *made || errno == EEXIST;
    if (ok && stat(path, &info) == 0 && !S_ISDIR(info.st_mode)) ok = false, errno = ENOTDIR;
    if (ok && access(path, W_OK | X_OK) != 0) ok = false;
    if (!ok) cli_fail(&args->common, "%s: %s", path, cli_system_error());
    return ok;
}

static int run(void *memory)
{
    train_args *args = memory;
    training t = {.args = args};
    if (!check_arch(args)) return EXIT_USAGE;
    if (args->wishes.window && !args->wishes.forecast) return cli_usage(&args->common, "--window is for --forecast");
    if (args->weight_decay < 0 && args->weight_decay != DECAY_NOT_GIVEN) return cli_usage(&args->common, "--weight-decay must be at least 0");
    if (args->test && args->test_share > 0) return cli_usage(&args->common, "--test and --test-share exclude each other");
    bool made;
    if (!make_folder(args, &made)) return EXIT_FAILED;
    args->wishes.watched = args->validation ? 0 : WATCHED / 100.0;
    args->wishes.tested = args->test ? 0 : test_share(&t);
    t.ctx = cli_ctx(&args->common);
    t.task = t.ctx ? task_look(&args->common, t.ctx, args->data, args->target, &args->wishes) : NULL;
    t.checkpoints = (task_checkpoints){.t = t.task, .folder = args->output_dir, .every = args->save_epochs, .epochs = json_array(),
                                          .describe = describe, .user = &t};
    int status = t.task && check_target(&t) && open_others(&t) && split(&t) && prepare(&t) && build(&t) && train(&t) && finish(&t) ? EXIT_DONE : EXIT_FAILED;
    if (!close_metrics(&t)) status = EXIT_FAILED;
    if (made && status != EXIT_DONE) rmdir(args->output_dir); /* which only does it to an empty one */
    task_checkpoints_free(&t.checkpoints);
    free(t.epochs);
    if (t.summary) hone_free_text(t.ctx, t.summary);
    hone_loader_free(t.loader);
    hone_dataset_free(t.own);
    hone_tensor_free(t.x), hone_tensor_free(t.y), hone_tensor_free(t.x_valid), hone_tensor_free(t.y_valid);
    task_free(t.valid), task_free(t.test); /* which have what is task's */
    task_free(t.task);
    hone_ctx_release(t.ctx);
    free(t.layers);
    free(t.files);
    free(t.rows);
    return status;
}

static const option options[] = {
    {.name = "data", .kind = OPTION_STRING, .offset = offsetof(train_args, data), .value = "DATA", .required = true,
     .help = "a table (.csv, .tsv with the columns' names in the first line; .jsonl), a folder with a folder of .png and .jpg pictures, "
             "or of .wav sounds, for each class; an .npz file of arrays x [rows, ...] and y [rows], or x_train and y_train; or IDX files as MNIST's, \"...images-idx3...\" with "
             "\"...labels-idx1...\" beside it"},
    {.name = "validation", .kind = OPTION_STRING, .offset = offsetof(train_args, validation), .value = "DATA",
     .shown = "15 % of DATA", .help = "rows that say when to stop, in a file or folder of their own, as DATA in kind, columns and classes"},
    {.name = "test", .kind = OPTION_STRING, .offset = offsetof(train_args, test), .value = "DATA",
     .shown = "--test-share of DATA", .help = "the same of rows that are measured at the end"},
    {.name = "target", .kind = OPTION_STRING, .offset = offsetof(train_args, target), .value = "COLUMN",
     .help = "the column to predict: text and few whole numbers are classes, other numbers a quantity. Folders and IDX "
             "files need none; of an .npz file the array: when not given y or y_train, and y_test where `hone eval` finds it. Whole "
             "numbers are classes there, few of them also as floats"},
    {.name = "learn", .kind = OPTION_CHOICE, .offset = offsetof(train_args, wishes.learn), .value = "auto|classes|quantity",
     .initial = "auto", .help = "what the target is, where it does not look like it"},
    {.name = "forecast", .kind = OPTION_INT, .offset = offsetof(train_args, wishes.forecast), .value = "N", .min = 1, .max = 10000,
     .help = "the target is a series, its oldest value in the first row: learn to say the next N values from the last ones. The newest "
             "rows are held out, never shuffled, and the naive forecasts are told beside the network's. `hone predict` says what "
             "comes after a file's end"},
    {.name = "window", .kind = OPTION_INT, .offset = offsetof(train_args, wishes.window), .value = "N",
     .shown = "two seasons, where one is found; else 2 x --forecast, at least 16; fewer in a short series", .min = 1, .max = 100000, .help = "so many last values say the next ones"},
    {.name = "output-dir", .kind = OPTION_STRING, .offset = offsetof(train_args, output_dir), .value = "DIR", .required = true,
     .help = "where the model, report.html, metrics.jsonl, events for TensorBoard and the pictures go; those of an older training in it are "
             "replaced, unless --resume goes on with it"},
    {.name = "text", .kind = OPTION_STRING, .offset = offsetof(train_args, wishes.text), .value = "COLUMN",
     .shown = "one of mostly different sentences, when there is nothing else to learn from", .help = "the column of texts to read"},
    {.name = "arch", .kind = OPTION_STRING, .offset = offsetof(train_args, arch), .value = "LAYERS", .shown = "proposed and told",
     .help = "the layers before the last one, with commas between: \"dense 64 relu, dropout 0.2\"; pictures: \"conv2d 32 3 same relu, "
             "max_pool2d 2, flatten\"; texts: \"gru 64 bidirectional\". In a YAML file a list"},
    {.name = "image-size", .kind = OPTION_INT, .offset = offsetof(train_args, wishes.image_size), .value = "N",
     .shown = "as most are, at most 96", .min = 8, .max = 1024, .help = "of folders of pictures: pixels of the longer side that they are brought to"},
    {.name = "augment", .kind = OPTION_CHOICE, .offset = offsetof(train_args, wishes.augment), .value = "shift|flip|none",
     .shown = "shift", .help = "of folders of pictures: what is done to them at random while learning; flip: left to right, and shift"},
    {.name = "epochs", .kind = OPTION_INT, .offset = offsetof(train_args, epochs), .value = "N",
     .shown = "200; pictures 30; texts 20; arrays 50; sounds 40", .min = 1, .max = 1000000, .help = "the most passes over the data"},
    {.name = "patience", .kind = OPTION_INT, .offset = offsetof(train_args, patience), .value = "N", .initial = "-1",
     .shown = "20; series 30; pictures 5; texts 3; arrays and sounds 8", .min = -1, .max = 1000000,
     .help = "ends after so many epochs without a better validation loss, and takes the best"},
    {.name = "batch-size", .kind = OPTION_INT, .offset = offsetof(train_args, batch_size), .value = "N",
     .shown = "32 for tables and sounds, 16 for series, else 64", .min = 1, .max = 1000000, .help = "rows a step"},
    {.name = "learning-rate", .kind = OPTION_POSITIVE, .offset = offsetof(train_args, learning_rate), .value = "X",
     .shown = "0.002 for tables and series, else 0.001, with Adam's kin", .max = 10,
     .help = "of the optimizer. Times 20 with sgd, 500 with adadelta, 10 with adagrad and muon, 5 with adafactor, 2 with adamax and lamb, "
             "a quarter with lion"},
    {.name = "optimizer", .kind = OPTION_CHOICE, .offset = offsetof(train_args, optimizer), .value = optimizer_choices + 1,
     .initial = "adamw", .help = "what makes the steps"},
    {.name = "weight-decay", .kind = OPTION_REAL, .offset = offsetof(train_args, weight_decay), .value = "X", .initial = "-1",
     .shown = "0.01 with adamw and lamb, 0.1 with muon, else 0", OPTION_AT_LEAST(DECAY_NOT_GIVEN),
     .help = "decoupled from the gradient with adamw, lion, muon, adafactor, and with lamb a part of its step; else added to the gradient"},
    {.name = "schedule", .kind = OPTION_CHOICE, .offset = offsetof(train_args, schedule), .value = "constant|cosine|linear|one_cycle",
     .initial = "constant", .help = "how the learning rate falls to 0 by the last of --epochs; one_cycle: rises over 30 % of the steps first"},
    {.name = "loss", .kind = OPTION_CHOICE, .offset = offsetof(train_args, loss), .value = "mse|mae|huber|log_cosh", .shown = "mse",
     .help = "of a quantity, brought to mean 0 and standard deviation 1; of classes it is the cross-entropy"},
    {.name = "class-weights", .kind = OPTION_CHOICE, .offset = offsetof(train_args, class_weights), .value = "none|balanced",
     .initial = "none", .help = "balanced: rows of rare classes count for more while learning, so that every class weighs the same"},
    {.name = "save-epochs", .kind = OPTION_INT, .offset = offsetof(train_args, save_epochs), .value = "N",
     .shown = "when half a minute has passed", .min = 1, .max = 1000000, .help = "epochs from one checkpoint-N to the next; the newest is kept. "
     "Ctrl-C and a first epoch of a second or more leave one, too"},
    {.name = "resume", .kind = OPTION_FLAG, .offset = offsetof(train_args, resume),
     .help = "goes on from the checkpoint in --output-dir to the bits of a training that was never stopped; --epochs and --patience may "
             "be others than they were, --epochs with a constant --schedule alone"},
    {.name = "test-share", .kind = OPTION_POSITIVE, .offset = offsetof(train_args, test_share), .value = "X", .shown = "0.2",
     .max = 0.9, .help = "of the rows is held out and measured at the end; 15 % of the others say when to stop"},
};
const command cmd_train = {
    .name = "train",
    .summary = "a network for a table, a series, pictures, sounds, texts or arrays, without code",
    .about = "Looks at the data, proposes a network, trains it with early stopping, and measures it on rows that it has not seen: the "
             "table on stdout, all of it in report.html. `hone predict` and `hone eval` use the folder that it writes. Ctrl-C ends the "
             "training early and saves the best of it; --resume goes on where a checkpoint was written. With --dtype auto tables are computed in f32.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .args_size = sizeof(train_args),
    .run = run,
};
