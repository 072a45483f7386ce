/* Opening language models: a GGUF file, or a Hugging Face folder. */
#include "llm/llm.h"

#include "base/os.h"
#include "io/io.h"

/* Rows of q and k back in Hugging Face's order, in the file's own dtype. */
static const void *unpermute(hone_llm *llm, const hone_tensor_info *info)
{
    int64_t rows = info->shape.dim[0], size = llm->config.head_dim;
    size_t row = info->bytes / (size_t)rows;
    if (rows % size) return info->data;
    char *copy = hone__alloc(llm->ctx, info->bytes);
    if (!copy || !hone__grow(llm->ctx, (void **)&llm->unpermuted, &llm->unpermuted_capacity, llm->n_unpermuted + 1,
                             sizeof *llm->unpermuted)) {
        hone__free(llm->ctx, copy);
        return NULL;
    }
    for (int64_t r = 0; r < rows; r++)
        memcpy(copy + (size_t)r * row, (const char *)info->data + (size_t)hone__gguf_row(r, size) * row, row);
    llm->unpermuted[llm->n_unpermuted++] = copy;
    return copy;
}

/* The file's tensor for a parameter; NULL when there is none. */
static const hone_tensor_info *find(const hone_llm *llm, const char *name)
{
    char gguf[128];
    if (!llm->gguf) return hone_safetensors_find(llm->tensors, name);
    return hone__gguf_name(name, gguf, sizeof gguf) ? hone_gguf_find(llm->gguf, gguf) : NULL;
}

static bool source(void *user, const char *name, hone__param_source *to)
{
    hone_llm *llm = user;
    if (strstr(name, ".lora_")) return hone__adapter_source(llm, name, to);
    const hone_tensor_info *info = find(llm, name);
    if (!info) return false;
    *to = (hone__param_source){info->dtype, info->shape, info->data, info->bytes};
    if (!hone__is_float(info->dtype) && !hone__is_blocks(info->dtype)) {
        hone__fail(llm->ctx, HONE_DTYPE, "%s: tensor '%s' is %s, no weight", llm->path, info->name, hone_dtype_name(info->dtype));
        return false;
    }
    if (llm->gguf && hone__is_permuted(llm, name) && info->shape.rank) {
        to->mapped = 0;
        return (to->data = unpermute(llm, info)) != NULL;
    }
    return true;
}

void hone_llm_free(hone_llm *llm)
{
    if (!llm) return;
    hone_ctx *ctx = llm->ctx;
    hone_function_free(llm->score);
    hone_model_release(llm->model);
    hone_tokenizer_free(llm->tokenizer);
    hone_gguf_close(llm->gguf);
    hone_safetensors_close(llm->tensors);
    json_decref(llm->hf_config);
    for (size_t i = 0; i < llm->n_unpermuted; i++) hone__free(ctx, llm->unpermuted[i]);
    hone__free(ctx, llm->unpermuted);
    hone__free(ctx, llm->config.rope_factors);
    hone_safetensors_close(llm->adapter);
    hone__free(ctx, llm->path);
    hone__free(ctx, llm);
    hone_ctx_release(ctx);
}

static hone_status open_files(hone_llm *llm)
{
    hone_ctx *ctx = llm->ctx;
    if (!hone__is_folder(llm->path)) {
        if (!(llm->gguf = hone_gguf_open(ctx, llm->path))) return ctx->status;
        hone_status status = hone__llm_config_from_gguf(llm);
        if (status == HONE_OK && !(llm->tokenizer = hone_tokenizer_from_gguf(ctx, llm->gguf))) status = ctx->status;
        return status;
    }
    hone_status status = hone__llm_config_from_json(llm, llm->path);
    if (status != HONE_OK) return status;
    if (!(llm->tensors = hone_safetensors_open(ctx, llm->path))) return ctx->status;
    if (!hone_safetensors_find(llm->tensors, "lm_head.weight")) llm->config.tie_word_embeddings = true;
    if (!(llm->tokenizer = hone_tokenizer_from_json(ctx, llm->path))) return ctx->status;
    return HONE_OK;
}

hone_status hone__llm_record_params(hone_llm *llm)
{
    hone_graph *graph = hone_graph_new(llm->ctx);
    hone_node *ids = hone_input(graph, "tokens", HONE_I32, HONE_SHAPE(1, 1));
    hone_layer *root = llm->model->root;
    if (ids && hone__llama_hidden(root, graph, &(hone__llama_inputs){.tokens = ids, .positions = ids}))
        hone__llama_head(root, graph);
    hone_graph_release(graph);
    return llm->ctx->status;
}

/* Parameters get their values when the model first runs; that the file has them all is known at once. */
static hone_status check_tensors(hone_llm *llm, const hone_layer *layer)
{
    hone_ctx *ctx = llm->ctx;
    for (size_t i = 0; i < layer->n_params && hone__ok(ctx); i++) {
        char *name = hone__layer_path(layer, layer->params[i]->local);
        const hone_tensor_info *info = name ? find(llm, name) : NULL;
        hone_shape shape = layer->params[i]->v.shape;
        if (name && !info)
            hone__fail(ctx, HONE_NOT_FOUND, "%s: there is no tensor for parameter '%s' %s", llm->path, name, HONE__SHAPE_STR(shape));
        else if (name && !hone_shape_equal(info->shape, shape))
            hone__fail(ctx, HONE_SHAPE, "%s: parameter '%s': the model needs %s, the file has %s", llm->path, name,
                       HONE__SHAPE_STR(shape), HONE__SHAPE_STR(info->shape));
        hone__free(ctx, name);
    }
    for (size_t i = 0; i < layer->n_children && hone__ok(ctx); i++) check_tensors(llm, layer->children[i]);
    return ctx->status;
}

static hone_status make_model(hone_llm *llm)
{
    hone_ctx *ctx = llm->ctx;
    hone_layer *root = hone__llama_new(ctx, &llm->config);
    if (!(llm->model = hone_model_of(root))) return ctx->status;
    llm->model->keep_frozen = true;
    llm->model->source = source;
    llm->model->source_user = llm;
    llm->model->source_strict = true;
    hone_status status = hone__llm_record_params(llm);
    return status == HONE_OK ? check_tensors(llm, root) : status;
}

hone_llm *hone_llm_open_opt(hone_ctx *ctx, const char *path, const hone_llm_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    hone_llm *llm = hone__calloc(ctx, 1, sizeof *llm);
    if (!llm) return NULL;
    llm->ctx = hone_ctx_retain(ctx);
    llm->compute = opts ? hone__compute_dtype(opts->auto_compute, opts->compute) : HONE_F32;
    llm->path = hone__strdup(ctx, path);
    if (llm->path && open_files(llm) == HONE_OK && make_model(llm) == HONE_OK) return llm;
    hone_llm_free(llm);
    return NULL;
}

hone_model *hone_llm_model(hone_llm *llm) { return llm ? llm->model : NULL; }
const hone_tokenizer *hone_llm_tokenizer(const hone_llm *llm) { return llm ? llm->tokenizer : NULL; }
hone_dtype hone_llm_compute(const hone_llm *llm) { return llm ? llm->compute : HONE_F32; }
int64_t hone_llm_vocabulary(const hone_llm *llm) { return llm ? llm->config.vocab_size : 0; }
int64_t hone_llm_context_length(const hone_llm *llm) { return llm ? llm->config.max_position_embeddings : 0; }
