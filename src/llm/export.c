/* Models to files: Hugging Face folders and GGUF, an adapter merged into the weights on the way. */
#include "base/os.h"
#include "llm/llm.h"
#include "tensor/block.h"

#include <stdio.h>

/* A parameter's values as f32, the adapter merged: W + (alpha / rank) B A. One parameter at a time is in memory. */
static hone_status merged(hone_llm *llm, const hone_param *p, float *values)
{
    hone_ctx *ctx = llm->ctx;
    int64_t count = hone_shape_count(p->v.shape);
    hone_status status = hone__convert_all(ctx, values, HONE_F32, p->v.data, p->v.stored, count);
    if (status != HONE_OK || !llm->lora.rank || p->v.shape.rank != 2) return status;
    size_t stem = strlen(p->name) - strlen("weight");
    char name[512];
    snprintf(name, sizeof name, "%.*slora_A.weight", (int)stem, p->name);
    const hone_param *a = hone_model_find_param(llm->model, name);
    snprintf(name, sizeof name, "%.*slora_B.weight", (int)stem, p->name);
    const hone_param *b = hone_model_find_param(llm->model, name);
    if (!a || !b) return HONE_OK;
    const hone__kernels *k = hone__kernels_for(HONE_F32);
    int64_t out = p->v.shape.dim[0], in = p->v.shape.dim[1], rank = a->v.shape.dim[0];
    void *scratch = hone__alloc(ctx, (size_t)k->gemm_scratch(out, in, rank) * sizeof(float));
    if (!scratch) return ctx->status;
    k->gemm(out, in, rank, llm->lora.alpha / (double)rank, b->v.data, rank, 1, a->v.data, in, 1, 1, values, in, scratch);
    hone__free(ctx, scratch);
    return HONE_OK;
}

static bool is_base(const hone_param *p) { return strstr(p->name, ".lora_") == NULL; }

/* Vectors (norms, biases) keep f32 in GGUF files, as llama.cpp wants them. */
static hone_dtype dtype_for(const hone_param *p, const hone_export_opts *o)
{
    bool gguf = o->format == HONE_EXPORT_GGUF;
    return gguf && p->v.shape.rank < 2 ? HONE_F32 : o->dtype;
}

/* Where a parameter's bytes go; the row order and the names differ. */
typedef struct sink {
    hone_llm *llm;
    const hone_export_opts *o;
    hone_gguf_writer *gguf;
    hone_safetensors_writer *tensors;
} sink;

static hone_status put(sink *s, const char *name, const void *data, size_t bytes)
{
    return s->gguf ? hone_gguf_write(s->gguf, name, data, bytes) : hone_safetensors_write(s->tensors, name, data, bytes);
}

static hone_status declare(sink *s, const hone_param *p)
{
    char name[256];
    hone_dtype dtype = dtype_for(p, s->o);
    if (hone__is_blocks(dtype) && p->v.shape.dim[1] % hone__dtypes[dtype].block)
        return hone__fail_run(s->llm->ctx, HONE_UNSUPPORTED, "parameter '%s' has rows of %lld, no multiple of %d: %s cannot hold it",
                              p->name, (long long)p->v.shape.dim[1], hone__dtypes[dtype].block, hone_dtype_name(dtype));
    if (!s->gguf) return hone_safetensors_add_tensor(s->tensors, p->name, dtype, p->v.shape);
    if (!hone__gguf_name(p->name, name, sizeof name))
        return hone__fail_run(s->llm->ctx, HONE_INTERNAL, "parameter '%s' has no name in GGUF", p->name);
    return hone_gguf_add_tensor(s->gguf, name, dtype, p->v.shape);
}

static hone_status write_param(sink *s, const hone_param *p)
{
    hone_ctx *ctx = s->llm->ctx;
    hone_dtype dtype = dtype_for(p, s->o);
    int64_t count = hone_shape_count(p->v.shape), rows = p->v.shape.rank ? p->v.shape.dim[0] : 1, row = rows ? count / rows : 0;
    float *values = hone__alloc(ctx, (size_t)count * sizeof *values);
    size_t row_bytes = hone__dtype_bytes(dtype, row);
    void *packed = hone__alloc(ctx, HONE_MAX(row_bytes, (size_t)1));
    hone_status status = values && packed ? merged(s->llm, p, values) : ctx->status;
    char name[256];
    snprintf(name, sizeof name, "%s", p->name);
    if (s->gguf) hone__gguf_name(p->name, name, sizeof name);
    bool permuted = s->gguf && hone__is_permuted(s->llm, p->name);
    int64_t size = s->llm->config.head_dim;
    const hone__block_format *blocks = hone__block_format_of(dtype);
    for (int64_t r = 0; r < rows && status == HONE_OK; r++) {
        /* the file's row r is the parameter's row with hone__gguf_row(row) == r: pairs back to halves */
        int64_t from = permuted ? r / size * size + r % size / 2 + r % 2 * (size / 2) : r;
        const float *at = values + from * row;
        if (blocks)
            blocks->pack(packed, at, row);
        else
            status = hone__convert(packed, dtype, at, HONE_F32, row);
        if (status == HONE_OK) status = put(s, name, packed, row_bytes);
    }
    hone__free(ctx, values);
    hone__free(ctx, packed);
    return status;
}

static hone_status each_param(sink *s, hone_status (*visit)(sink *, const hone_param *))
{
    hone_model *model = s->llm->model;
    hone_status status = HONE_OK;
    for (size_t i = 0; i < model->n_params && status == HONE_OK; i++)
        if (is_base(model->params[i])) status = visit(s, model->params[i]);
    return status;
}

/* ---- GGUF ---- */

/* llama.cpp's file_type numbers (llama.h, LLAMA_FTYPE_*) */
static uint32_t file_type(hone_dtype t)
{
    switch (t) {
    case HONE_F16: return 1;
    case HONE_Q4_0: return 2;
    case HONE_Q4_1: return 3;
    case HONE_Q8_0: return 7;
    case HONE_BF16: return 32;
    default: return 0;
    }
}

static hone_status gguf_metadata(hone_llm *llm, hone_gguf_writer *w, hone_dtype dtype)
{
    hone_status status = HONE_OK;
    if (llm->gguf) { /* everything the source said, but what the weights' storage changes */
        for (int64_t i = 0; i < hone_gguf_key_count(llm->gguf) && status == HONE_OK; i++) {
            const char *key = hone_gguf_key(llm->gguf, i)->name;
            if (!strcmp(key, "general.file_type") || !strcmp(key, "general.alignment")) continue;
            status = hone_gguf_copy_key(w, llm->gguf, key);
        }
    } else {
        status = hone__llm_config_to_gguf(llm, w);
        const char *name = strrchr(llm->path, '/');
        if (status == HONE_OK) status = hone_gguf_set_string(w, "general.name", name && name[1] ? name + 1 : llm->path);
        if (status == HONE_OK) status = hone_gguf_set_u32(w, "general.quantization_version", 2);
        if (status == HONE_OK) status = hone_tokenizer_write_gguf(llm->ctx, llm->tokenizer, w);
    }
    return status == HONE_OK ? hone_gguf_set_u32(w, "general.file_type", file_type(dtype)) : status;
}

static hone_status export_gguf(hone_llm *llm, const char *path, const hone_export_opts *o)
{
    sink s = {.llm = llm, .o = o, .gguf = hone_gguf_writer_new(llm->ctx, path)};
    if (!s.gguf) return hone__ok(llm->ctx) ? HONE_IO : llm->ctx->status;
    hone_status status = gguf_metadata(llm, s.gguf, o->dtype);
    const float *factors = llm->config.rope_factors;
    hone_shape half = HONE_SHAPE(llm->config.head_dim / 2);
    if (status == HONE_OK && factors) status = hone_gguf_add_tensor(s.gguf, "rope_freqs.weight", HONE_F32, half);
    if (status == HONE_OK) status = each_param(&s, declare);
    if (status == HONE_OK && factors)
        status = hone_gguf_write(s.gguf, "rope_freqs.weight", factors, (size_t)half.dim[0] * sizeof *factors);
    if (status == HONE_OK) status = each_param(&s, write_param);
    if (status == HONE_OK) return hone_gguf_writer_commit(s.gguf);
    hone_gguf_writer_abandon(s.gguf);
    return status;
}

/* ---- Hugging Face folder ---- */

static hone_status write_generation_config(hone_llm *llm, const char *folder)
{
    json_t *j = json_object();
    const struct {
        const char *name;
        hone_special which;
    } ids[] = {{"bos_token_id", HONE_SPECIAL_BOS}, {"pad_token_id", HONE_SPECIAL_PAD}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(ids); i++) {
        int32_t id = hone_tokenizer_special(llm->tokenizer, ids[i].which);
        if (id >= 0) json_object_set_new(j, ids[i].name, json_integer(id));
    }
    int32_t eos = hone_tokenizer_special(llm->tokenizer, HONE_SPECIAL_EOS), eot = hone_tokenizer_special(llm->tokenizer, HONE_SPECIAL_EOT);
    if (eos >= 0 && eot >= 0 && eos != eot)
        json_object_set_new(j, "eos_token_id", json_pack("[i, i]", (int)eos, (int)eot));
    else if (eos >= 0 || eot >= 0)
        json_object_set_new(j, "eos_token_id", json_integer(eos >= 0 ? eos : eot));
    hone_status status = hone__write_json(llm->ctx, folder, "generation_config.json", j);
    json_decref(j);
    return status;
}

static hone_status fill_folder(hone_llm *llm, const char *folder, const hone_export_opts *o)
{
    hone_ctx *ctx = llm->ctx;
    char *path = hone__join_path(ctx, folder, "model.safetensors");
    sink s = {.llm = llm, .o = o, .tensors = path ? hone_safetensors_writer_new(ctx, path) : NULL};
    hone__free(ctx, path);
    if (!s.tensors) return hone__ok(ctx) ? HONE_IO : ctx->status;
    hone_status status = hone_safetensors_set_metadata(s.tensors, "format", "pt");
    if (status == HONE_OK) status = each_param(&s, declare);
    if (status == HONE_OK) status = each_param(&s, write_param);
    if (status == HONE_OK)
        status = hone_safetensors_writer_commit(s.tensors);
    else
        hone_safetensors_writer_abandon(s.tensors);
    json_t *config = status == HONE_OK ? hone__llm_config_to_json(llm) : NULL;
    static const char *const names[] = {[HONE_F32] = "float32", [HONE_BF16] = "bfloat16", [HONE_F16] = "float16"};
    if (config) {
        json_object_set_new(config, "dtype", json_string(names[o->dtype]));
        json_object_del(config, "torch_dtype");
        json_object_del(config, "quantization_config");
        status = hone__write_json(ctx, folder, "config.json", config);
        json_decref(config);
    } else if (status == HONE_OK) {
        status = hone__ok(ctx) ? HONE_UNSUPPORTED : ctx->status;
    }
    if (status == HONE_OK) status = write_generation_config(llm, folder);
    return status == HONE_OK ? hone_tokenizer_save_json(ctx, llm->tokenizer, folder) : status;
}

hone_status hone__llm_save_folder(hone_llm *llm, const char *folder, hone_dtype dtype)
{
    hone_export_opts o = {.format = HONE_EXPORT_SAFETENSORS, .dtype = dtype};
    hone_status status = hone__make_folder(llm->ctx, folder);
    return status == HONE_OK ? fill_folder(llm, folder, &o) : status;
}

hone_status hone_llm_export_opt(hone_llm *llm, const char *path, const hone_export_opts *opts)
{
    if (!llm) return HONE_INVALID;
    static const hone_export_opts none = {0};
    hone_ctx *ctx = llm->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    if (!opts) opts = &none;
    hone_dtype t = opts->dtype;
    bool gguf = opts->format == HONE_EXPORT_GGUF, half = t == HONE_F32 || t == HONE_F16 || t == HONE_BF16;
    if (!half && !(gguf && (t == HONE_Q8_0 || t == HONE_Q4_0 || t == HONE_Q4_1)))
        return hone__fail_run(ctx, HONE_UNSUPPORTED, "export: %s is not written in this format", hone_dtype_name(t));
    hone_status status = hone__model_seal(llm->model);
    if (status != HONE_OK) return status;
    if (gguf) return export_gguf(llm, path, opts);
    if (hone__is_file(path)) return hone__fail_run(ctx, HONE_IO, "%s is a file; this format is a folder", path);
    if (opts->format == HONE_EXPORT_PEFT && !llm->lora.rank)
        return hone__fail_run(ctx, HONE_STATE, "export: the model carries no adapter; give one with --adapter");
    /* Filled under a temporary name: what stood there before goes only when all is written. */
    char *temporary = hone__format(ctx, "%s.part", path);
    status = temporary ? hone__remove_folder(ctx, temporary) : ctx->status;
    if (status == HONE_OK) status = hone__make_folder(ctx, temporary);
    if (status == HONE_OK)
        status = opts->format == HONE_EXPORT_PEFT ? hone_llm_save_adapter(llm, temporary) : fill_folder(llm, temporary, opts);
    if (status == HONE_OK) status = hone__rename_folder(ctx, temporary, path);
    if (status != HONE_OK && temporary) hone__remove_folder(ctx, temporary);
    hone__free(ctx, temporary);
    return status;
}

/* ---- describing ---- */

hone_llm_description hone_llm_describe(const hone_llm *llm)
{
    if (!llm) return (hone_llm_description){0};
    const hone__llm_config *c = &llm->config;
    hone_llm_description d = {.family = llm->family->gguf, .layers = c->num_hidden_layers, .hidden_size = c->hidden_size,
                              .heads = c->num_attention_heads, .kv_heads = c->num_key_value_heads,
                              .intermediate_size = c->intermediate_size, .vocabulary = c->vocab_size,
                              .context_length = c->max_position_embeddings};
    int64_t by_dtype[HONE_DTYPE_COUNT] = {0}, n = llm->gguf ? hone_gguf_tensor_count(llm->gguf) : hone_safetensors_count(llm->tensors);
    size_t embedding = (size_t)(c->vocab_size * c->hidden_size);
    for (int64_t i = 0; i < n; i++) {
        const hone_tensor_info *t = llm->gguf ? hone_gguf_tensor(llm->gguf, i) : hone_safetensors_at(llm->tensors, i);
        d.parameters += hone_shape_count(t->shape);
        d.stored_bytes += t->bytes;
        if (t->shape.rank > 1) by_dtype[t->dtype] += hone_shape_count(t->shape);
    }
    for (int t = 0; t < HONE_DTYPE_COUNT; t++)
        if (by_dtype[t] > by_dtype[d.main_dtype]) d.main_dtype = (hone_dtype)t;
    size_t p = (size_t)d.parameters, compute = llm->compute == HONE_BF16 ? 2 : 4, base = (size_t)64 << 20;
    size_t cache = 2048 * 2 * (size_t)(c->num_hidden_layers * c->num_key_value_heads * c->head_dim) * compute;
    /* activations of 1,024 tokens: what a block keeps for its backward pass, in elements a token */
    size_t kept = (size_t)(6 * c->hidden_size + 2 * c->num_attention_heads * c->head_dim +
                           2 * c->num_key_value_heads * c->head_dim + 3 * c->intermediate_size);
    size_t activations = 1024 * kept * (size_t)c->num_hidden_layers * (compute + 1);
    d.memory_generate = base + d.stored_bytes + p * compute + cache;
    d.memory_lora = base + d.stored_bytes / 4 + 2 * p * compute + activations + embedding * compute;
    d.memory_full = base + 16 * p + (compute == 2 ? 4 * p : 0) + activations;
    return d;
}
