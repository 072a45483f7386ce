/* Checkpoints of hone train: checkpoint-N/ of what N epochs have learnt. Filled under another name and renamed whole, so that what
   ends the program leaves the older one or the newer one:
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

/* ---- folders ---- */

/* N of "checkpoint-N"; -1: another name. */
static long long number_of(const char *name)
{
    long long n = -1;
    int end = 0;
    return sscanf(name, "checkpoint-%lld%n", &n, &end) == 1 && !name[end] && n > 0 ? n : -1;
}

static void remove_folder(const char *folder)
{
    DIR *open = opendir(folder);
    for (struct dirent *e; open && (e = readdir(open));) {
        char *path = cli_join(folder, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) unlink(path);
        free(path);
    }
    if (open) closedir(open);
    rmdir(folder);
}

/* The newest one's number; -1: none. */
static long long newest(const char *folder)
{
    long long best = -1;
    DIR *open = opendir(folder);
    for (struct dirent *e; open && (e = readdir(open));)
        if (number_of(e->d_name) > best) best = number_of(e->d_name);
    if (open) closedir(open);
    return best;
}

/* Removes all but checkpoint-`kept`, those of other trainings and what was left half filled among them. */
static void remove_others(const char *folder, long long kept)
{
    DIR *open = opendir(folder);
    for (struct dirent *e; open && (e = readdir(open));) {
        bool half = e->d_name[0] == '.' && number_of(e->d_name + 1) > 0;
        if (!half && (number_of(e->d_name) < 0 || number_of(e->d_name) == kept)) continue;
        char *path = cli_join(folder, e->d_name);
        remove_folder(path);
        free(path);
    }
    if (open) closedir(open);
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

static bool fill(const task_checkpoints *c, const char *folder)
{
    json_t *o = json_pack("{s:s, s:i, s:O, s:O}", "format", "hone-training", "version", 1, "training", c->training, "epochs", c->epochs);
    char *text = o ? json_dumps(o, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) : NULL;
    char *path = cli_join(folder, "model.safetensors"), *json = cli_join(folder, "training.json");
    bool ok = text && hone_model_save(c->t->model, path) == HONE_OK && save_best(c, folder) &&
              hone_write_file(c->t->ctx, json, text, strlen(text)) == HONE_OK;
    free(path), free(json), free(text);
    json_decref(o);
    return ok;
}

/* A disk that is full does not end a training that can be finished. */
static void save(task_checkpoints *c)
{
    char name[40];
    long long n = (long long)json_array_size(c->epochs);
    snprintf(name, sizeof name, ".checkpoint-%lld", n);
    char *half = cli_join(c->folder, name), *path = cli_join(c->folder, name + 1);
    remove_folder(half);
    bool ok = mkdir(half, 0777) == 0 && fill(c, half);
    if (ok) remove_folder(path); /* of another training */
    ok = ok && rename(half, path) == 0;
    if (ok) {
        remove_others(c->folder, n);
    } else {
        cli_note(c->t->args, "warning: %s could not be written: %s", path,
                 *hone_error(c->t->ctx) ? hone_error(c->t->ctx) : cli_system_error());
        remove_folder(half);
    }
    free(path), free(half);
    c->saved = cli_now();
}

static hone_status on_epoch_end(void *user, hone_fit_state *state)
{
    task_checkpoints *c = user;
    if (cli_interrupted()) return HONE_OK; /* the epoch may not have been whole */
    if (!c->best) c->best = new_parameters(state->model);
    if (hone_early_stopping_best_epoch(c->stop) == state->epoch && !move_parameters(state->model, c->best, false))
        return hone_ctx_status(c->t->ctx);
    if (c->every ? (state->epoch + 1) % c->every == 0 : cli_now() - c->saved >= EVERY_SECONDS) save(c);
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

/* Is it a training of the same kind? What differs has been said otherwise. */
static bool same_training(const task_checkpoints *c, const char *path, const json_t *was)
{
    const char *name;
    json_t *value;
    json_object_foreach(c->training, name, value) {
        const char *now = json_string_value(value), *then = json_string_value(json_object_get(was, name));
        if (then && !strcmp(now, then)) continue;
        return cli_fail(c->t->args, "%s is of another training: %s was %s, now %s; without --resume it begins anew", path, name,
                        then ? then : "not known", now), false;
    }
    return true;
}

/* What each epoch measured, when it is a training of the same kind. */
static bool load_epochs(task_checkpoints *c, const char *folder)
{
    char *path = cli_join(folder, "training.json");
    json_error_t error;
    json_t *o = json_load_file(path, 0, &error), *epochs = json_object_get(o, "epochs");
    const char *format = json_string_value(json_object_get(o, "format"));
    bool ok = format && !strcmp(format, "hone-training") && json_integer_value(json_object_get(o, "version")) == 1 && json_array_size(epochs);
    if (!ok) cli_fail(c->t->args, "%s: %s", path, o ? "not what `hone train` of this version wrote" : error.text);
    ok = ok && same_training(c, folder, json_object_get(o, "training"));
    if (ok) json_decref(c->epochs), c->epochs = json_incref(epochs);
    json_decref(o);
    free(path);
    return ok;
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

bool task_resume(task_checkpoints *c)
{
    char name[40];
    long long n = newest(c->folder);
    if (n < 0)
        return cli_fail(c->t->args, "--resume: there is no checkpoint in %s (--save-epochs says how often one is written)", c->folder), false;
    snprintf(name, sizeof name, "checkpoint-%lld", n);
    char *folder = cli_join(c->folder, name);
    bool ok = load_epochs(c, folder) && load_model(c, folder);
    if (ok) cli_note(c->t->args, "%s: training goes on after epoch %zu", folder, json_array_size(c->epochs));
    free(folder);
    return ok;
}

void task_checkpoints_free(task_checkpoints *c)
{
    json_decref(c->training);
    json_decref(c->epochs);
    free(c->best);
}
