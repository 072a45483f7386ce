/* LoRA adapters as PEFT keeps them: adapter_config.json beside adapter_model.safetensors. */
#include "base/os.h"
#include "llm/llm.h"

#include <stdio.h>

#define PREFIX "base_model.model."

static const char *lora_part(const char *name) { return strstr(name, ".lora_"); }

bool hone__adapter_source(hone_llm *llm, const char *name, hone__param_source *to)
{
    char full[512];
    if (!llm->adapter || snprintf(full, sizeof full, PREFIX "%s", name) >= (int)sizeof full) return false;
    const hone_tensor_info *info = hone_safetensors_find(llm->adapter, full);
    if (!info)
        hone__fail(llm->ctx, HONE_NOT_FOUND, "the adapter has no tensor '%s'", full);
    else
        *to = (hone__param_source){info->dtype, info->shape, info->data, 0};
    return info != NULL;
}

hone_status hone__llm_add_lora(hone_llm *llm, const hone_lora_opts *opts)
{
    hone_status status = hone_model_add_lora_opt(llm->model, opts);
    if (status != HONE_OK) return status;
    llm->lora = *opts;
    if (!llm->lora.rank) llm->lora.rank = 16;
    if (llm->lora.alpha == 0) llm->lora.alpha = 32;
    llm->lora.targets = NULL;
    return hone__llm_record_params(llm); /* the adapter's parameters come into being */
}

/* "q_proj,v_proj" from target_modules: a list of names, or one name. A new string. */
static char *targets_from(hone_ctx *ctx, const json_t *list)
{
    hone__buffer text = {0};
    if (json_is_string(list)) {
        const char *one = json_string_value(list);
        hone__buffer_print(ctx, &text, "%s", strcmp(one, "all-linear") ? one : "all");
    }
    for (size_t i = 0; json_is_array(list) && i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        const char *last = name ? strrchr(name, '.') : NULL;
        if (name) hone__buffer_print(ctx, &text, "%s%s", i ? "," : "", last ? last + 1 : name);
    }
    return text.data;
}

static hone_status read_config(hone_llm *llm, const char *path, hone_lora_opts *opts, char **targets)
{
    hone_ctx *ctx = llm->ctx;
    size_t size;
    char *text = hone__read_file(ctx, path, 1 << 20, &size);
    if (!text) return ctx->status;
    json_error_t error;
    json_t *j = json_loadb(text, size, 0, &error);
    hone__free(ctx, text);
    const char *type = json_string_value(json_object_get(j, "peft_type"));
    const json_t *rank = json_object_get(j, "r"), *alpha = json_object_get(j, "lora_alpha");
    if (!j)
        hone__fail(ctx, HONE_FORMAT, "%s: line %d: %s", path, error.line, error.text);
    else if (!type || strcmp(type, "LORA") != 0)
        hone__fail(ctx, HONE_UNSUPPORTED, "%s: peft_type '%.40s' is not supported, only LORA", path, type ? type : "(none)");
    else if (json_is_true(json_object_get(j, "use_rslora")) || json_is_true(json_object_get(j, "use_dora")))
        hone__fail(ctx, HONE_UNSUPPORTED, "%s: rsLoRA and DoRA are not supported", path);
    else if (json_object_size(json_object_get(j, "rank_pattern")) || json_object_size(json_object_get(j, "alpha_pattern")))
        hone__fail(ctx, HONE_UNSUPPORTED, "%s: rank_pattern and alpha_pattern are not supported", path);
    else if (!json_is_integer(rank) || json_integer_value(rank) < 1 || json_integer_value(rank) > 65536 || !json_is_number(alpha))
        hone__fail(ctx, HONE_FORMAT, "%s: r and lora_alpha must be numbers, r from 1 to 65536", path);
    else if (!(*targets = targets_from(ctx, json_object_get(j, "target_modules"))))
        hone__fail(ctx, HONE_FORMAT, "%s: target_modules names no layer", path);
    if (hone__ok(ctx))
        *opts = (hone_lora_opts){.struct_size = sizeof *opts, .rank = json_integer_value(rank), .alpha = json_number_value(alpha),
                                 .dropout = json_number_value(json_object_get(j, "lora_dropout")), .targets = *targets};
    json_decref(j);
    return ctx->status;
}

/* A tensor that no parameter takes would be lost in silence: biases, whole layers (modules_to_save), other names. */
static hone_status check_all_used(hone_llm *llm, const char *path)
{
    for (int64_t i = 0; i < hone_safetensors_count(llm->adapter); i++) {
        const char *name = hone_safetensors_at(llm->adapter, i)->name;
        bool ours = !strncmp(name, PREFIX, sizeof PREFIX - 1) && lora_part(name);
        if (!ours || !hone_model_find_param(llm->model, name + sizeof PREFIX - 1))
            return hone__fail(llm->ctx, HONE_UNSUPPORTED, "%s: tensor '%s' fits nothing that adapter_config.json names", path, name);
    }
    return HONE_OK;
}

hone_status hone_llm_load_adapter(hone_llm *llm, const char *folder)
{
    if (!llm) return HONE_INVALID;
    hone_ctx *ctx = llm->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    if (llm->lora.rank) return hone__fail(ctx, HONE_STATE, "the model carries an adapter already");
    char *config = hone__join_path(ctx, folder, "adapter_config.json"), *targets = NULL;
    char *weights = hone__join_path(ctx, folder, "adapter_model.safetensors");
    hone_lora_opts opts;
    hone_status status = config && weights ? read_config(llm, config, &opts, &targets) : ctx->status;
    if (status == HONE_OK && !(llm->adapter = hone_safetensors_open(ctx, weights))) status = ctx->status;
    if (status == HONE_OK) status = hone__llm_add_lora(llm, &opts);
    if (status == HONE_OK && (status = hone__model_seal(llm->model)) != HONE_OK) hone__error_prefix(ctx, "%s", weights);
    if (status == HONE_OK) status = check_all_used(llm, weights);
    hone__free(ctx, config);
    hone__free(ctx, weights);
    hone__free(ctx, targets);
    return status;
}

/* ---- saving ---- */

/* The distinct last parts of the names of layers with an adapter. */
static json_t *targets_of(const hone_llm *llm)
{
    json_t *list = json_array();
    for (size_t i = 0; i < llm->model->n_params; i++) {
        const char *name = llm->model->params[i]->name, *end = lora_part(name), *last = end;
        if (!end) continue;
        while (last > name && last[-1] != '.') last--;
        bool known = false;
        for (size_t k = 0; k < json_array_size(list) && !known; k++) {
            const char *other = json_string_value(json_array_get(list, k));
            known = strlen(other) == (size_t)(end - last) && !memcmp(other, last, (size_t)(end - last));
        }
        if (!known) json_array_append_new(list, json_stringn(last, (size_t)(end - last)));
    }
    return list;
}

hone_status hone__write_json(hone_ctx *ctx, const char *folder, const char *name, const json_t *json)
{
    char *path = hone__join_path(ctx, folder, name);
    char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
    hone_status status = path ? HONE_OK : ctx->status;
    if (status == HONE_OK && !text) status = hone__fail(ctx, HONE_MEMORY, "memory ran out while writing %s", name);
    if (status == HONE_OK) status = hone_write_file(ctx, path, text, strlen(text));
    free(text);
    hone__free(ctx, path);
    return status;
}

static hone_status write_config(hone_llm *llm, const char *folder)
{
    json_t *j = json_pack("{s:s, s:s, s:s, s:I, s:f, s:f, s:o, s:s, s:b, s:b, s:n, s:b}", "peft_type", "LORA", "task_type",
                          "CAUSAL_LM", "base_model_name_or_path", llm->path, "r", (json_int_t)llm->lora.rank, "lora_alpha",
                          llm->lora.alpha, "lora_dropout", llm->lora.dropout, "target_modules", targets_of(llm), "bias", "none",
                          "fan_in_fan_out", 0, "inference_mode", 1, "modules_to_save", "use_rslora", 0);
    hone_status status = hone__write_json(llm->ctx, folder, "adapter_config.json", j);
    json_decref(j);
    return status;
}

hone_status hone_llm_save_adapter(hone_llm *llm, const char *folder)
{
    if (!llm) return HONE_INVALID;
    hone_ctx *ctx = llm->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    if (!llm->lora.rank) return hone__fail_run(ctx, HONE_STATE, "the model carries no adapter");
    hone_status status = hone__model_seal(llm->model);
    if (status == HONE_OK) status = hone__make_folder(ctx, folder);
    if (status == HONE_OK) status = write_config(llm, folder);
    char *path = hone__join_path(ctx, folder, "adapter_model.safetensors");
    hone_safetensors_writer *w = status == HONE_OK && path ? hone_safetensors_writer_new(ctx, path) : NULL;
    if (status == HONE_OK && !w) status = hone__ok(ctx) ? HONE_IO : ctx->status;
    if (status == HONE_OK) status = hone_safetensors_set_metadata(w, "format", "pt");
    char name[512];
    for (int pass = 0; pass < 2; pass++) /* declare, then write */
        for (size_t i = 0; i < llm->model->n_params && status == HONE_OK; i++) {
            const hone_param *p = llm->model->params[i];
            if (!lora_part(p->name)) continue;
            snprintf(name, sizeof name, PREFIX "%s", p->name);
            status = pass ? hone_safetensors_write(w, name, p->v.data, (size_t)hone_shape_count(p->v.shape) * sizeof(float))
                          : hone_safetensors_add_tensor(w, name, HONE_F32, p->v.shape);
        }
    if (w && status == HONE_OK)
        status = hone_safetensors_writer_commit(w);
    else
        hone_safetensors_writer_abandon(w);
    hone__free(ctx, path);
    return status;
}
