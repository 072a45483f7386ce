/* A model's weights in a safetensors file, and which of them fit. */
#include "train/train.h"

/* ---- saving ---- */

/* As it is stored; blocks, which the format lacks, as f32. */
static hone_dtype dtype_of(const hone_param *param)
{
    return hone__dtypes[param->v.stored].safetensors[0] ? param->v.stored : HONE_F32;
}

hone_status hone__weights_declare(const hone_model *model, hone_safetensors_writer *writer)
{
    hone_status status = HONE_OK;
    for (size_t i = 0; i < model->n_params && status == HONE_OK; i++) {
        const hone_param *p = model->params[i];
        status = p->sealed ? hone_safetensors_add_tensor(writer, p->name, dtype_of(p), p->v.shape)
                           : hone__fail_run(model->ctx, HONE_STATE, "parameter '%s' has no values yet", p->name);
    }
    return status;
}

hone_status hone__weights_write(const hone_model *model, hone_safetensors_writer *writer)
{
    hone_status status = HONE_OK;
    for (size_t i = 0; i < model->n_params && status == HONE_OK; i++) {
        const hone_param *p = model->params[i];
        int64_t count = hone_shape_count(p->v.shape);
        size_t bytes = hone__dtype_bytes(dtype_of(p), count);
        if (dtype_of(p) == p->v.stored) {
            status = hone_safetensors_write(writer, p->name, p->v.data, bytes);
            continue;
        }
        float *values = hone__alloc(model->ctx, bytes);
        status = values ? hone_param_read(p, count, values) : HONE_MEMORY;
        if (status == HONE_OK) status = hone_safetensors_write(writer, p->name, values, bytes);
        hone__free(model->ctx, values);
    }
    return status;
}

hone_status hone_model_save_weights(const hone_model *model, const char *path)
{
    if (!model) return HONE_INVALID;
    hone_ctx *ctx = model->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    if (!model->n_params)
        return hone__fail_run(ctx, HONE_INVALID, "%s: the model has no weights yet: run it, or call hone_model_build_for", path);
    hone_safetensors_writer *writer = hone_safetensors_writer_new(ctx, path);
    if (!writer) return hone__ok(ctx) ? HONE_IO : ctx->status;
    hone_status status = hone__weights_declare(model, writer);
    if (status == HONE_OK) status = hone__weights_write(model, writer);
    if (status == HONE_OK) return hone_safetensors_writer_commit(writer);
    hone_safetensors_writer_abandon(writer);
    return status;
}

/* ---- comparing ---- */

void hone_load_report_free(hone_load_report *report)
{
    if (!report) return;
    hone_ctx *ctx = report->ctx;
    for (size_t i = 0; i < report->n_entries; i++) hone__free(ctx, report->entries[i].name);
    hone__free(ctx, report->entries);
    hone__free(ctx, report);
    hone_ctx_release(ctx);
}

static bool add(hone_load_report *r, size_t *capacity, hone_load_entry entry)
{
    if (entry.name && hone__grow(r->ctx, (void **)&r->entries, capacity, r->n_entries + 1, sizeof *r->entries)) {
        r->entries[r->n_entries++] = entry;
        size_t *count[] = {&r->loaded, &r->missing, &r->unexpected, &r->other_shape};
        ++*count[entry.outcome];
        return true;
    }
    hone__free(r->ctx, entry.name);
    return false;
}

/* The parameters of a layer and of those below it, in the model's order. */
static bool add_layer(hone_load_report *r, size_t *capacity, const hone_layer *layer, const hone_safetensors *file)
{
    for (size_t i = 0; i < layer->n_params; i++) {
        hone_load_entry e = {.name = hone__layer_path(layer, layer->params[i]->local), .model = layer->params[i]->v.shape};
        const hone_tensor_info *info = e.name ? hone_safetensors_find(file, e.name) : NULL;
        if (info) e.file = info->shape;
        e.outcome = !info ? HONE_MISSING : hone_shape_equal(e.model, e.file) ? HONE_LOADED : HONE_OTHER_SHAPE;
        if (!add(r, capacity, e)) return false;
    }
    for (size_t i = 0; i < layer->n_children; i++)
        if (!add_layer(r, capacity, layer->children[i], file)) return false;
    return true;
}

static bool passed_over(const char *name)
{
    static const char batches[] = "num_batches_tracked"; /* of PyTorch's batch norm, for a momentum that Hone's has not */
    size_t n = strlen(name), k = sizeof batches - 1;
    return !strncmp(name, HONE__OPTIMIZER_PREFIX, sizeof HONE__OPTIMIZER_PREFIX - 1) ||
           (n > k && name[n - k - 1] == '.' && !strcmp(name + n - k, batches));
}

static bool add_unexpected(hone_load_report *r, size_t *capacity, const hone_safetensors *file)
{
    size_t n = r->n_entries;
    hone__name *names = hone__alloc(r->ctx, (n + 1) * sizeof *names);
    if (!names) return false;
    for (size_t i = 0; i < n; i++) names[i] = (hone__name){r->entries[i].name, (int64_t)i};
    hone__names_sort(names, (int64_t)n);
    bool ok = true;
    for (int64_t i = 0; i < hone_safetensors_count(file) && ok; i++) {
        const hone_tensor_info *info = hone_safetensors_at(file, i);
        if (passed_over(info->name) || hone__names_find(names, (int64_t)n, info->name) >= 0) continue;
        ok = add(r, capacity, (hone_load_entry){.name = hone__strdup(r->ctx, info->name), .outcome = HONE_UNEXPECTED, .file = info->shape});
    }
    hone__free(r->ctx, names);
    return ok;
}

/* ", 2 missing ('a', ...)"; nothing for none. */
static void tell(hone_ctx *ctx, hone__buffer *text, const hone_load_report *r, hone_load_outcome outcome, size_t count,
                 const char *what)
{
    if (!count) return;
    size_t i = 0;
    while (r->entries[i].outcome != outcome) i++;
    const hone_load_entry *e = &r->entries[i];
    hone__buffer_print(ctx, text, "%s%zu %s ('%.100s'", text->size ? ", " : "", count, what, e->name);
    if (outcome == HONE_OTHER_SHAPE)
        hone__buffer_print(ctx, text, " is %s in the model, %s in the file", HONE__SHAPE_STR(e->model), HONE__SHAPE_STR(e->file));
    hone__buffer_print(ctx, text, "%s)", count > 1 ? ", ..." : "");
}

hone_status hone__weights_compare(hone_model *model, const hone_safetensors *file, const char *path, bool partial,
                                  hone_load_report **report)
{
    hone_ctx *ctx = model->ctx;
    hone_load_report *r = *report = hone__calloc(ctx, 1, sizeof *r);
    size_t capacity = 0;
    if (!r) return ctx->status;
    r->ctx = hone_ctx_retain(ctx);
    if (!add_layer(r, &capacity, model->root, file) || !add_unexpected(r, &capacity, file)) return ctx->status;
    if (partial || !(r->missing + r->unexpected + r->other_shape)) return HONE_OK;
    hone__buffer text = {0};
    tell(ctx, &text, r, HONE_MISSING, r->missing, "missing");
    tell(ctx, &text, r, HONE_OTHER_SHAPE, r->other_shape, "of another shape");
    tell(ctx, &text, r, HONE_UNEXPECTED, r->unexpected, "unexpected");
    hone_status status = hone__fail(ctx, HONE_SHAPE, "%s does not fit the model: %s; .partial of hone_model_load_weights loads what "
                                                     "fits", path, text.data ? text.data : "");
    hone__buffer_free(ctx, &text);
    return status;
}

/* ---- loading ---- */

static hone_status copy_values(hone_param *param, const hone_tensor_info *info)
{
    hone_ctx *ctx = param->v.ctx;
    int64_t count = hone_shape_count(param->v.shape);
    float *values = hone__alloc(ctx, (size_t)count * sizeof *values);
    void *aligned = hone__alloc(ctx, info->bytes); /* where they lie in the file, they may not be */
    hone_status status = values && aligned ? HONE_OK : ctx->status;
    if (status == HONE_OK && info->bytes) memcpy(aligned, info->data, info->bytes);
    if (status == HONE_OK) status = hone__convert_all(ctx, values, HONE_F32, aligned, info->dtype, count);
    if (status == HONE_OK) status = hone_param_write(param, count, values);
    hone__free(ctx, aligned);
    hone__free(ctx, values);
    return status;
}

hone_status hone__weights_copy(hone_model *model, const hone_safetensors *file, const hone_load_report *report)
{
    hone_status status = HONE_OK;
    for (size_t i = 0; i < report->n_entries && status == HONE_OK; i++) {
        const hone_load_entry *e = &report->entries[i];
        if (e->outcome != HONE_LOADED) continue;
        hone_param *param = hone_model_find_param(model, e->name);
        status = copy_values(param, hone_safetensors_find(file, e->name));
        if (status != HONE_OK) hone__fail(model->ctx, status, "parameter '%s' cannot take the values of the file", e->name);
    }
    return status;
}

hone_status hone_model_load_weights_opt(hone_model *model, const char *path, hone_load_report **report,
                                        const hone_load_weights_opts *opts)
{
    hone_load_report *r = NULL;
    if (report) *report = NULL;
    hone_status usable = HONE__STATUS_OF(model);
    if (usable != HONE_OK) return usable;
    hone_ctx *ctx = model->ctx;
    if (hone__model_seal(model) == HONE_OK && !model->n_params)
        return hone__fail(ctx, HONE_STATE, "%s: the model does not know its parameters yet: run it, or call hone_model_build_for", path);
    hone_safetensors *file = hone_safetensors_open(ctx, path);
    hone_status status = file ? hone__weights_compare(model, file, path, opts && opts->partial, &r) : ctx->status;
    if (status == HONE_OK) status = hone__weights_copy(model, file, r);
    hone_safetensors_close(file);
    if (report)
        *report = r;
    else
        hone_load_report_free(r);
    return status;
}
