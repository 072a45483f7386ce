/* Checkpoints of hone train: checkpoint-N/ of what N epochs have learnt. Filled under another name and renamed whole, so that what
   ends the program leaves the older one or the newer one. A folder is written over or removed only when its training.json says that it
   is such a checkpoint: `hone finetune` and others call theirs the same.
     model.safetensors  the network, its compile options and the optimizer's state
     best.safetensors   the weights of the best epoch yet
     training.json      what kind of training it is, and what each epoch measured */
#include "task.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const double EVERY_SECONDS = 30; /* unless --save-epochs says otherwise */
static const double SHORT_SECONDS = 1;  /* an epoch, which Ctrl-C waits for */

/* ---- folders ---- */

static const char checkpoint[] = "checkpoint-", half_filled[] = ".train-checkpoint-"; /* before the number */

/* N of "<prefix>N", in digits alone as they are written; -1: another name. */
static long long number_of(const char *name, const char *prefix)
{
    size_t n = strlen(prefix);
    if (strncmp(name, prefix, n) != 0 || name[n] == '0') return -1;
    size_t digits = strspn(name + n, "0123456789");
    return digits && digits <= 18 && !name[n + digits] ? strtoll(name + n, NULL, 10) : -1;
}

static char *path_of(const task_checkpoints *c, const char *prefix, long long number)
{
    char name[60];
    snprintf(name, sizeof name, "%s%lld", prefix, number);
    return cli_join(c->folder, name);
}

static bool is_there(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

/* Is it a folder itself, not a link to one? */
static bool is_folder(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* training.json of a checkpoint; NULL: `path` is none. */
static json_t *read_training(const char *path)
{
    char *file = cli_join(path, "training.json");
    json_t *o = is_folder(path) ? json_load_file(file, 0, NULL) : NULL;
    const char *format = json_string_value(json_object_get(o, "format"));
    free(file);
    if (format && !strcmp(format, "hone-training")) return o;
    json_decref(o);
    return NULL;
}

static bool is_ours(const char *path)
{
    json_t *o = read_training(path);
    bool ours = o != NULL;
    json_decref(o);
    return ours;
}

static void remove_folder(const char *folder)
{
    DIR *open = is_folder(folder) ? opendir(folder) : NULL;
    for (struct dirent *e; open && (e = readdir(open));) {
        char *path = cli_join(folder, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) unlink(path);
        free(path);
    }
    if (open) closedir(open);
    rmdir(folder);
}

static int descending(const void *a, const void *b)
{
    long long x = *(const long long *)a, y = *(const long long *)b;
    return (x < y) - (x > y);
}

/* The numbers of all that is called "<prefix>N", whatever it is, the highest first; the caller's. */
static long long *list(const task_checkpoints *c, const char *prefix, size_t *n)
{
    long long *numbers = NULL;
    DIR *open = opendir(c->folder);
    *n = 0;
    for (struct dirent *e; open && (e = readdir(open));) {
        if (number_of(e->d_name, prefix) < 0) continue;
        numbers = cli_realloc(numbers, (*n + 1) * sizeof *numbers);
        numbers[(*n)++] = number_of(e->d_name, prefix);
    }
    if (open) closedir(open);
    if (*n) qsort(numbers, *n, sizeof *numbers, descending);
    return numbers;
}

/* Removes all checkpoints but checkpoint-`kept`, those of other trainings and what was left half filled among them. */
static void remove_others(const task_checkpoints *c, long long kept)
{
    for (int half = 0; half < 2; half++) {
        size_t n;
        long long *numbers = list(c, half ? half_filled : checkpoint, &n);
        for (size_t i = 0; i < n; i++) {
            char *path = path_of(c, half ? half_filled : checkpoint, numbers[i]);
            if (half || (numbers[i] != kept && is_ours(path))) remove_folder(path);
            free(path);
        }
        free(numbers);
    }
}

bool task_checkpoints_fit(const task_checkpoints *c, int64_t epochs)
{
    size_t n, i = 0;
    long long *numbers = list(c, checkpoint, &n), before = (long long)json_array_size(c->epochs);
    bool fit = true;
    for (; c->every && fit && i < n; i++) {
        if (numbers[i] <= before || numbers[i] > epochs || numbers[i] % c->every != 0) continue;
        char *path = path_of(c, checkpoint, numbers[i]);
        fit = is_ours(path) || (cli_fail(c->t->args, "%s stands where a checkpoint would, and `hone train` did not write it: move it, or take "
                                                     "another --output-dir", path), false);
        free(path);
    }
    free(numbers);
    return fit;
}

/* ---- all parameters of a model, one behind another ---- */

static bool move_parameters(hone_model *model, float *values, bool into_model)
{
    hone_status status = HONE_OK;
    for (size_t i = 0; i < hone_model_param_count(model) && status == HONE_OK; i++) {
        hone_param *p = hone_model_param(model, i);
        int64_t n = hone_shape_count(hone_param_shape(p));
        status = into_model ? hone_param_write(p, n, values) : hone_param_read(p, n, values);
        values += n;
    }
    return status == HONE_OK;
}

static float *new_parameters(const hone_model *model)
{
    int64_t n = 0;
    for (size_t i = 0; i < hone_model_param_count(model); i++) n += hone_shape_count(hone_param_shape(hone_model_param(model, i)));
    return cli_alloc((size_t)n * sizeof(float));
}

/* ---- saving ---- */

static bool save_best(const task_checkpoints *c, const char *folder)
{
    hone_model *model = c->t->model;
    float *now = new_parameters(model);
    char *path = cli_join(folder, "best.safetensors");
    bool ok = move_parameters(model, now, false) && move_parameters(model, c->best, true);
    ok = ok && hone_model_save_weights(model, path) == HONE_OK;
    ok = move_parameters(model, now, true) && ok;
    free(now), free(path);
    return ok;
}

/* What it takes to know is done once, and only by who needs it. */
static bool know_training(task_checkpoints *c)
{
    if (!c->training) c->training = c->describe(c->user);
    return c->training != NULL;
}

static bool fill(task_checkpoints *c, const char *folder)
{
    if (!know_training(c)) return false;
    json_t *o = json_pack("{s:s, s:i, s:s, s:O, s:O}", "format", "hone-training", "version", 1, "compute",
                          hone_dtype_name(hone_model_compute(c->t->model)), "training", c->training, "epochs", c->epochs);
    char *text = o ? json_dumps(o, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) : NULL;
    char *path = cli_join(folder, "model.safetensors"), *json = cli_join(folder, "training.json");
    bool ok = text && hone_model_save(c->t->model, path) == HONE_OK && save_best(c, folder) &&
              hone_write_file(c->t->ctx, json, text, strlen(text)) == HONE_OK;
    free(path), free(json), free(text);
    json_decref(o);
    return ok;
}

/* A disk that is full does not end a training that can be finished. Where something else stands, the next epoch is saved. */
static void save(task_checkpoints *c)
{
    long long n = (long long)json_array_size(c->epochs);
    char *half = path_of(c, half_filled, n), *path = path_of(c, checkpoint, n);
    if (!is_there(path) || is_ours(path)) {
        remove_folder(half);
        bool ok = mkdir(half, 0777) == 0 && fill(c, half);
        if (ok && is_there(path)) remove_folder(path); /* of another training */
        ok = ok && rename(half, path) == 0;
        if (!ok) {
            cli_note(c->t->args, "warning: %s could not be written: %s", path,
                     *hone_error(c->t->ctx) ? hone_error(c->t->ctx) : cli_system_error());
            remove_folder(half);
        } else {
            remove_others(c, n);
            c->written = n;
        }
        c->saved = cli_now();
    }
    free(path), free(half);
}

static double seconds_of_last(const task_checkpoints *c)
{
    size_t n = json_array_size(c->epochs);
    return n ? json_number_value(json_object_get(json_array_get(c->epochs, n - 1), "seconds")) : INFINITY;
}

bool task_epochs_are_short(const task_checkpoints *c) { return seconds_of_last(c) < SHORT_SECONDS; }

static bool is_due(const task_checkpoints *c, int64_t epoch)
{
    if (cli_interrupted() || (!c->tried && !task_epochs_are_short(c))) return true;
    return c->every ? epoch % c->every == 0 : cli_now() - c->saved >= EVERY_SECONDS;
}

static hone_status on_epoch_end(void *user, hone_fit_state *state)
{
    task_checkpoints *c = user;
    if (c->cut) return HONE_OK;
    if (!c->best) c->best = new_parameters(state->model);
    if (hone_early_stopping_best_epoch(c->stop) == state->epoch && !move_parameters(state->model, c->best, false))
        return hone_ctx_status(c->t->ctx);
    if (is_due(c, state->epoch + 1)) c->tried = true, save(c);
    return HONE_OK;
}

/* ---- going on ---- */

static double real(const json_t *o, const char *name)
{
    const json_t *value = json_object_get(o, name);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

hone_epoch task_epoch(const json_t *o)
{
    return (hone_epoch){.loss = real(o, "loss"), .accuracy = real(o, "accuracy"), .validation_loss = real(o, "eval_loss"),
                        .validation_accuracy = real(o, "eval_accuracy"), .seconds = real(o, "seconds")};
}

/* Early stopping is told of the epochs that were, so that it knows how many were no better, and holds the best weights. */
static hone_status on_train_begin(void *user, hone_fit_state *state)
{
    task_checkpoints *c = user;
    c->saved = cli_now();
    if (!json_array_size(c->epochs)) return HONE_OK;
    float *now = new_parameters(state->model);
    bool ok = move_parameters(state->model, now, false) && move_parameters(state->model, c->best, true);
    hone_status status = HONE_OK;
    for (size_t i = 0; i < json_array_size(c->epochs) && ok && status == HONE_OK; i++) {
        hone_epoch result = task_epoch(json_array_get(c->epochs, i));
        state->stop = false; /* it may have more patience than it had */
        state->epoch = (int)i, state->result = &result;
        status = c->stop->epoch_end(c->stop->user, state);
    }
    state->result = NULL;
    ok = move_parameters(state->model, now, true) && ok;
    free(now);
    return status != HONE_OK || ok ? status : hone_ctx_status(c->t->ctx);
}

hone_callback task_checkpoint_callback(task_checkpoints *c)
{
    return (hone_callback){.user = c, .train_begin = on_train_begin, .epoch_end = on_epoch_end};
}

/* In why[size] what a checkpoint has that this training has not; "": nothing, it can go on from it. */
static void compare(const task_checkpoints *c, const char *path, const json_t *o, size_t size, char *why)
{
    const char *name;
    json_t *value, *was = json_object_get(o, "training");
    why[0] = 0;
    if (json_integer_value(json_object_get(o, "version")) != 1 || !json_array_size(json_object_get(o, "epochs"))) {
        snprintf(why, size, "%s/training.json: not what `hone train` of this version wrote", path);
        return;
    }
    json_object_foreach(c->training, name, value) {
        const char *now = json_string_value(value), *then = json_string_value(json_object_get(was, name));
        if (then && !strcmp(now, then)) continue;
        snprintf(why, size, "%s is of another training: %s was %s, now %s; without --resume it begins anew", path, name,
                 then ? then : "not known", now);
        return;
    }
}

static bool load_model(task_checkpoints *c, const char *folder)
{
    char *path = cli_join(folder, "model.safetensors"), *best = cli_join(folder, "best.safetensors");
    hone_model *model = c->t->model = hone_model_load(c->t->ctx, path);
    bool ok = false;
    if (model) {
        float *now = new_parameters(model);
        c->best = new_parameters(model);
        ok = move_parameters(model, now, false) && hone_model_load_weights(model, best, NULL) == HONE_OK &&
             move_parameters(model, c->best, false) && move_parameters(model, now, true);
        free(now);
    }
    free(path), free(best);
    return ok || task_failed(c->t);
}

/* With --dtype auto the CPU decides, and this one may be another. */
static bool same_compute(const task_checkpoints *c, const char *path, const json_t *o)
{
    const char *now = hone_dtype_name(hone_model_compute(c->t->model)), *then = json_string_value(json_object_get(o, "compute"));
    if (then && !strcmp(now, then)) return true;
    return cli_fail(c->t->args, "%s was computed in %s, and --dtype %s is %s on this CPU; without --resume it begins anew", path,
                    then ? then : "what is not known", c->t->args->dtype == DTYPE_AUTO ? "auto" : now, now), false;
}

/* Says why there is nothing to go on from: what the newest checkpoint has, or that there is none. */
static void say_none(const task_checkpoints *c, const char *why, long long newest)
{
    char *path = path_of(c, checkpoint, newest), *file = cli_join(path, "training.json");
    if (*why)
        cli_fail(c->t->args, "%s", why);
    else if (newest > 0 && is_folder(path) && is_there(file))
        cli_fail(c->t->args, "%s: not what `hone train` of this version wrote", file);
    else
        cli_fail(c->t->args, "--resume: there is no checkpoint in %s (--save-epochs says how often one is written)", c->folder);
    free(path), free(file);
}

bool task_resume(task_checkpoints *c)
{
    enum { WHY = 2000 };
    char why[WHY], *first = cli_alloc(WHY), *path = NULL; /* first: of the newest */
    size_t n;
    long long *numbers = list(c, checkpoint, &n);
    json_t *found = NULL;
    if (n && !know_training(c)) return free(first), free(numbers), false;
    for (size_t i = 0; i < n && !found; i++) {
        free(path);
        path = path_of(c, checkpoint, numbers[i]);
        if (!(found = read_training(path))) continue;
        compare(c, path, found, sizeof why, why);
        if (!*why) break;
        if (!*first) strcpy(first, why);
        json_decref(found);
        found = NULL;
    }
    if (!found) say_none(c, first, n ? numbers[0] : -1);
    bool ok = found && load_model(c, path) && same_compute(c, path, found);
    if (ok) {
        json_decref(c->epochs);
        c->epochs = json_incref(json_object_get(found, "epochs"));
        c->written = (int64_t)json_array_size(c->epochs);
        cli_note(c->t->args, "%s: training goes on after epoch %zu", path, json_array_size(c->epochs));
    }
    json_decref(found);
    free(path), free(first), free(numbers);
    return ok;
}

void task_checkpoints_free(task_checkpoints *c)
{
    json_decref(c->training);
    json_decref(c->epochs);
    free(c->best);
}
