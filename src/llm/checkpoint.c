/* checkpoint-N/: adapter or model, optimizer.safetensors, trainer_state.json. Filled under another name and renamed whole,
   so that one that exists is complete. */
#include "base/os.h"
#include "llm/finetune.h"
#include "train/train.h"

#include <stdio.h>
#include <stdlib.h>

/* What must be the same for the resumed run to be the one that was interrupted. */
static json_t *fingerprint(const hone_finetune *run)
{
    const hone_llm_data *d = run->train;
    uint64_t tokens = hone__hash(d->tokens.ids, d->tokens.count * sizeof *d->tokens.ids, d->examples);
    char hash[32];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)tokens);
    const hone_lora_opts *lora = &run->llm->lora; /* zeros in full training */
    return json_pack("{s:s, s:I, s:I, s:I, s:b, s:b, s:I, s:s, s:s, s:I, s:f, s:f, s:I}", "data", hash, "batch_size",
                     (json_int_t)run->o.batch_size,
                     "gradient_accumulation_steps", (json_int_t)run->o.gradient_accumulation_steps, "max_seq_length",
                     (json_int_t)run->row_length, "no_packing", run->o.no_packing, "no_shuffle", run->o.no_shuffle, "seed",
                     (json_int_t)run->ctx->seed, "optimizer", hone_optimizer_name(run->optimizer), "method",
                     run->o.method == HONE_FINETUNE_FULL ? "full" : "lora", "lora_rank", (json_int_t)lora->rank, "lora_alpha",
                     lora->alpha, "lora_dropout", lora->dropout, "trained_parameters",
                     (json_int_t)hone__model_trained_count(run->llm->model));
}

static hone_status save_optimizer(hone_finetune *run, const char *folder)
{
    hone_ctx *ctx = run->ctx;
    char *path = hone__join_path(ctx, folder, "optimizer.safetensors");
    hone_safetensors_writer *w = path ? hone_safetensors_writer_new(ctx, path) : NULL;
    hone__free(ctx, path);
    if (!w) return hone__ok(ctx) ? HONE_IO : ctx->status;
    hone_status status = hone__optimizer_declare(run->optimizer, "", w);
    if (status == HONE_OK) status = hone__optimizer_write(run->optimizer, "", w);
    if (status == HONE_OK) return hone_safetensors_writer_commit(w);
    hone_safetensors_writer_abandon(w);
    return status;
}

static hone_status save_state(hone_finetune *run, const char *folder)
{
    json_t *j = json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:I, s:o}", "hone_version", hone_version(), "global_step",
                          (json_int_t)run->step, "epoch", (json_int_t)run->epoch, "row", (json_int_t)run->row, "total_steps",
                          (json_int_t)run->planned.total_steps, "elapsed_seconds", run->elapsed, "optimizer_steps",
                          (json_int_t)hone_optimizer_steps(run->optimizer), "run", fingerprint(run));
    hone_status status = hone__write_json(run->ctx, folder, "trainer_state.json", j);
    json_decref(j);
    return status;
}

static int64_t checkpoint_number(const char *name)
{
    static const char prefix[] = "checkpoint-";
    if (strncmp(name, prefix, sizeof prefix - 1) != 0 || !name[sizeof prefix - 1]) return -1;
    char *end;
    long long n = strtoll(name + sizeof prefix - 1, &end, 10);
    return *end || n < 0 ? -1 : (int64_t)n;
}

/* Steps of all checkpoints in output_dir, and what interrupted savings left behind removed. */
static hone_status list(hone_finetune *run, int64_t **steps, size_t *count)
{
    hone_ctx *ctx = run->ctx;
    char **names = NULL;
    size_t n = 0;
    *steps = NULL, *count = 0;
    hone_status status = hone__list_folder(ctx, run->output_dir, &names, &n);
    if (status != HONE_OK) return status;
    *steps = hone__alloc(ctx, (n + 1) * sizeof **steps);
    for (size_t i = 0; i < n && *steps; i++) {
        int64_t step = checkpoint_number(names[i]);
        if (step >= 0) (*steps)[(*count)++] = step;
        bool folder = !strncmp(names[i], ".checkpoint-", 12), file = !strncmp(names[i], ".hone-", 6);
        if (!folder && !file) continue;
        char *left = hone__join_path(ctx, run->output_dir, names[i]);
        if (left && folder) hone__remove_folder(ctx, left);
        if (left && file) remove(left);
        hone__free(ctx, left);
    }
    hone__free(ctx, names);
    return *steps ? HONE_OK : ctx->status;
}

static hone_status remove_old(hone_finetune *run)
{
    if (run->o.save_total_limit < 1) return HONE_OK;
    int64_t *steps;
    size_t n;
    hone_status status = list(run, &steps, &n);
    for (; status == HONE_OK && n > (size_t)run->o.save_total_limit; n--) {
        size_t oldest = 0; /* those beyond this step are of an older training */
        for (size_t i = 1; i < n; i++) {
            bool foreign = steps[i] > run->step, other = steps[oldest] > run->step;
            if (foreign != other ? foreign : steps[i] < steps[oldest]) oldest = i;
        }
        char *path = hone__format(run->ctx, "%s/checkpoint-%lld", run->output_dir, (long long)steps[oldest]);
        status = path ? hone__remove_folder(run->ctx, path) : run->ctx->status;
        hone__free(run->ctx, path);
        steps[oldest] = steps[n - 1];
    }
    hone__free(run->ctx, steps);
    return status;
}

hone_status hone__checkpoint_save(hone_finetune *run)
{
    hone_ctx *ctx = run->ctx;
    if (!run->output_dir) return HONE_OK;
    char *path = hone__format(ctx, "%s/checkpoint-%lld", run->output_dir, (long long)run->step);
    char *temporary = hone__format(ctx, "%s/.checkpoint-%lld", run->output_dir, (long long)run->step);
    hone_status status = path && temporary ? hone__remove_folder(ctx, temporary) : ctx->status;
    if (status == HONE_OK) status = hone__make_folder(ctx, temporary);
    if (status == HONE_OK)
        status = run->o.method == HONE_FINETUNE_LORA ? hone_llm_save_adapter(run->llm, temporary)
                                                     : hone__llm_save_folder(run->llm, temporary, HONE_F32);
    if (status == HONE_OK) status = save_optimizer(run, temporary);
    if (status == HONE_OK) status = save_state(run, temporary);
    if (status == HONE_OK) status = hone__rename_folder(ctx, temporary, path);
    if (status != HONE_OK && temporary) hone__remove_folder(ctx, temporary);
    hone__free(ctx, path);
    hone__free(ctx, temporary);
    return status == HONE_OK ? remove_old(run) : status;
}

/* ---- loading ---- */

static hone_status load_tensor(hone_finetune *run, hone_safetensors *file, const char *path, const char *name, hone_dtype dtype,
                               hone_shape shape, void *to)
{
    const hone_tensor_info *info = hone_safetensors_find(file, name);
    if (!info) return hone__fail(run->ctx, HONE_FORMAT, "%s: there is no tensor '%s'", path, name);
    if (!hone_shape_equal(info->shape, shape) || info->dtype != dtype)
        return hone__fail(run->ctx, HONE_SHAPE, "%s: '%s' is %s %s, %s %s expected", path, name, hone_dtype_name(info->dtype),
                          HONE__SHAPE_STR(info->shape), hone_dtype_name(dtype), HONE__SHAPE_STR(shape));
    memcpy(to, info->data, info->bytes);
    return HONE_OK;
}

static hone_status load_weights(hone_finetune *run, const char *folder)
{
    hone_ctx *ctx = run->ctx;
    bool lora = run->o.method == HONE_FINETUNE_LORA;
    char *path = hone__join_path(ctx, folder, lora ? "adapter_model.safetensors" : "model.safetensors"), name[600];
    hone_safetensors *file = path ? hone_safetensors_open(ctx, path) : NULL;
    hone_status status = file ? HONE_OK : ctx->status;
    for (hone__segment *s = run->llm->model->segments; s; s = s->next)
        for (size_t i = 0; i < s->n_params && status == HONE_OK; i++) {
            const hone_param *p = s->params[i];
            snprintf(name, sizeof name, "%s%s", lora ? "base_model.model." : "", p->name);
            status = load_tensor(run, file, path, name, HONE_F32, p->v.shape, s->values + p->offset);
        }
    hone_safetensors_close(file);
    hone__free(ctx, path);
    hone__model_touch(run->llm->model);
    return status;
}

static hone_status load_optimizer(hone_finetune *run, const char *folder)
{
    hone_ctx *ctx = run->ctx;
    char *path = hone__join_path(ctx, folder, "optimizer.safetensors");
    hone_safetensors *file = path ? hone_safetensors_open(ctx, path) : NULL;
    hone_status status = file ? hone__optimizer_read(run->optimizer, "", file, path) : ctx->status;
    hone_safetensors_close(file);
    hone__free(ctx, path);
    return status;
}

static hone_status check_same_run(hone_finetune *run, const char *path, const json_t *saved)
{
    json_t *now = fingerprint(run), *value;
    const char *key;
    hone_status status = HONE_OK;
    json_object_foreach(now, key, value)
    {
        const json_t *then = json_object_get(saved, key);
        if (status != HONE_OK || (then && json_equal(then, value))) continue;
        char *a = then ? json_dumps(then, JSON_ENCODE_ANY) : NULL, *b = json_dumps(value, JSON_ENCODE_ANY);
        status = hone__fail(run->ctx, HONE_STATE, "%s: this checkpoint is of another run: %s was %s, now it is %s; start afresh "
                                                  "with --adapter or --model instead", path, key, a ? a : "not recorded", b ? b : "?");
        free(a);
        free(b);
    }
    json_decref(now);
    return status;
}

static hone_status load_state(hone_finetune *run, const char *folder)
{
    hone_ctx *ctx = run->ctx;
    char *path = hone__join_path(ctx, folder, "trainer_state.json");
    size_t size;
    char *text = path ? hone__read_file(ctx, path, 1 << 20, &size) : NULL;
    json_error_t error;
    json_t *j = text ? json_loadb(text, size, 0, &error) : NULL;
    if (text && !j) hone__fail(ctx, HONE_FORMAT, "%s: line %d: %s", path, error.line, error.text);
    hone_status status = j ? check_same_run(run, path, json_object_get(j, "run")) : ctx->status;
    json_int_t step = json_integer_value(json_object_get(j, "global_step")), epoch = json_integer_value(json_object_get(j, "epoch"));
    json_int_t row = json_integer_value(json_object_get(j, "row")), made = json_integer_value(json_object_get(j, "optimizer_steps"));
    if (status == HONE_OK && (step < 0 || epoch < 0 || epoch > 1000000 || row < 0 || made < 0))
        status = hone__fail(ctx, HONE_FORMAT, "%s: global_step, epoch, row and optimizer_steps must not be negative", path);
    if (status == HONE_OK) {
        run->step = run->planned.resumed_step = step;
        run->epoch = epoch;
        run->row = row;
        run->elapsed = json_number_value(json_object_get(j, "elapsed_seconds"));
        run->optimizer->steps = (uint64_t)made;
    }
    json_decref(j);
    hone__free(ctx, text);
    hone__free(ctx, path);
    return status;
}

static char *latest(hone_finetune *run)
{
    int64_t *steps, best = -1;
    size_t n;
    if (!run->output_dir || list(run, &steps, &n) != HONE_OK) {
        hone__fail(run->ctx, HONE_NOT_FOUND, "there is no checkpoint to resume from");
        return NULL;
    }
    for (size_t i = 0; i < n; i++) best = HONE_MAX(best, steps[i]);
    hone__free(run->ctx, steps);
    if (best >= 0) return hone__format(run->ctx, "%s/checkpoint-%lld", run->output_dir, (long long)best);
    hone__fail(run->ctx, HONE_NOT_FOUND, "%s: there is no checkpoint to resume from", run->output_dir);
    return NULL;
}

hone_status hone__checkpoint_load(hone_finetune *run, const char *folder)
{
    char *path = strcmp(folder, "latest") ? hone__strdup(run->ctx, folder) : latest(run);
    hone_status status = path ? load_state(run, path) : run->ctx->status;
    if (status == HONE_OK) status = load_weights(run, path);
    if (status == HONE_OK) status = load_optimizer(run, path);
    hone__free(run->ctx, path);
    return status;
}
