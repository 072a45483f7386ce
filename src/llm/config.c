#include "base/os.h"
#include "llm/llm.h"

#include <math.h>
#include <stdio.h>

const hone__llm_family hone__llm_families[] = {
    {"llama", "llama", "LlamaForCausalLM", true, false},
    {"llama", "mistral", "MistralForCausalLM", true, false},
    {"qwen2", "qwen2", "Qwen2ForCausalLM", false, true},
    {0},
};

static hone_status unknown_family(hone_llm *llm, const char *name)
{
    return hone__fail(llm->ctx, HONE_UNSUPPORTED, "%s: models of type '%.60s' are not supported; llama, mistral and qwen2 are",
                      llm->path, name);
}

/* Everything that a shape or an allocation will be made from, whatever the file said. */
static hone_status check(hone_llm *llm)
{
    hone__llm_config *c = &llm->config;
    if (!c->num_key_value_heads) c->num_key_value_heads = c->num_attention_heads;
    if (!c->head_dim && c->num_attention_heads > 0) c->head_dim = c->hidden_size / c->num_attention_heads;
    const struct {
        const char *name;
        int64_t value, most;
    } sizes[] = {{"vocab_size", c->vocab_size, 1 << 24},
                 {"hidden_size", c->hidden_size, 1 << 20},
                 {"intermediate_size", c->intermediate_size, 1 << 22},
                 {"num_hidden_layers", c->num_hidden_layers, 4096},
                 {"num_attention_heads", c->num_attention_heads, 65536},
                 {"num_key_value_heads", c->num_key_value_heads, 65536},
                 {"head_dim", c->head_dim, 65536},
                 {"max_position_embeddings", c->max_position_embeddings, 1 << 30}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(sizes); i++)
        if (sizes[i].value < 1 || sizes[i].value > sizes[i].most)
            return hone__fail(llm->ctx, HONE_FORMAT, "%s: %s is %lld, 1 to %lld expected", llm->path, sizes[i].name,
                              (long long)sizes[i].value, (long long)sizes[i].most);
    if (c->num_attention_heads % c->num_key_value_heads || c->head_dim % 2)
        return hone__fail(llm->ctx, HONE_FORMAT, "%s: %lld heads with %lld key/value heads of size %lld do not fit together",
                          llm->path, (long long)c->num_attention_heads, (long long)c->num_key_value_heads, (long long)c->head_dim);
    if (!(c->rms_norm_eps > 0 && c->rms_norm_eps < 1) || !(c->rope_theta > 0 && c->rope_theta < 1e12))
        return hone__fail(llm->ctx, HONE_FORMAT, "%s: rms_norm_eps %g or rope_theta %g is out of range", llm->path,
                          c->rms_norm_eps, c->rope_theta);
    return HONE_OK;
}

/* Wavelengths longer than the original context are stretched by `factor`, short ones kept, those between blended:
   Llama 3.1's rope_type "llama3" as transformers defines it. */
static double rope_factor(const hone__llm_config *c, int64_t i)
{
    double original = (double)c->rope_original_max_position;
    double wavelength = 6.283185307179586 * pow(c->rope_theta, 2.0 * (double)i / (double)c->head_dim);
    double low = original / c->rope_low_freq_factor, high = original / c->rope_high_freq_factor;
    if (wavelength < high) return 1;
    if (wavelength > low) return c->rope_factor;
    double smooth = (original / wavelength - c->rope_low_freq_factor) / (c->rope_high_freq_factor - c->rope_low_freq_factor);
    return 1 / ((1 - smooth) / c->rope_factor + smooth);
}

static hone_status make_rope_factors(hone_llm *llm)
{
    hone__llm_config *c = &llm->config;
    if (!(c->rope_factor > 0)) return HONE_OK;
    if (c->rope_original_max_position < 1 || !(c->rope_low_freq_factor > 0) || !(c->rope_high_freq_factor > c->rope_low_freq_factor))
        return hone__fail(llm->ctx, HONE_FORMAT, "%s: rope_scaling lacks sensible original_max_position_embeddings, "
                                                 "low_freq_factor and high_freq_factor", llm->path);
    if (!(c->rope_factors = hone__alloc(llm->ctx, (size_t)(c->head_dim / 2) * sizeof(float)))) return llm->ctx->status;
    for (int64_t i = 0; i < c->head_dim / 2; i++) c->rope_factors[i] = (float)rope_factor(c, i);
    return HONE_OK;
}

/* The way back: a GGUF file has the factors alone. Every model so far has low_freq_factor 1 and high_freq_factor 4, and a
   power of two for the original context. */
static bool guess_rope_scaling(hone__llm_config *c)
{
    int64_t half = c->head_dim / 2;
    c->rope_low_freq_factor = 1, c->rope_high_freq_factor = 4, c->rope_factor = (double)c->rope_factors[half - 1];
    for (c->rope_original_max_position = 32; c->rope_original_max_position <= 1 << 24; c->rope_original_max_position *= 2) {
        int64_t same = 0;
        while (same < half && fabs(rope_factor(c, same) / (double)c->rope_factors[same] - 1) < 1e-4) same++;
        if (same == half) return true;
    }
    c->rope_factor = 0;
    return false;
}

/* ---- GGUF ---- */

static int64_t get_int(const hone_llm *llm, const char *name, int64_t otherwise)
{
    char key[128];
    int64_t value;
    snprintf(key, sizeof key, "%s.%s", llm->family->gguf, name);
    return hone_gguf_get_i64(llm->gguf, key, &value) ? value : otherwise;
}

static double get_real(const hone_llm *llm, const char *name, double otherwise)
{
    char key[128];
    double value;
    snprintf(key, sizeof key, "%s.%s", llm->family->gguf, name);
    return hone_gguf_get_f64(llm->gguf, key, &value) ? value : otherwise;
}

hone_status hone__llm_config_from_gguf(hone_llm *llm)
{
    const char *architecture = hone_gguf_get_string(llm->gguf, "general.architecture", NULL);
    if (!architecture)
        return hone__fail(llm->ctx, HONE_FORMAT, "%s: no general.architecture: not a language model", llm->path);
    for (const hone__llm_family *f = hone__llm_families; f->gguf && !llm->family; f++)
        if (!strcmp(f->gguf, architecture)) llm->family = f;
    if (!llm->family) return unknown_family(llm, architecture);
    const hone_tensor_info *embedding = hone_gguf_find(llm->gguf, "token_embd.weight");
    if (!embedding || embedding->shape.rank != 2)
        return hone__fail(llm->ctx, HONE_FORMAT, "%s: there is no token_embd.weight matrix", llm->path);
    llm->config = (hone__llm_config){
        .vocab_size = embedding->shape.dim[0],
        .hidden_size = get_int(llm, "embedding_length", 0),
        .intermediate_size = get_int(llm, "feed_forward_length", 0),
        .num_hidden_layers = get_int(llm, "block_count", 0),
        .num_attention_heads = get_int(llm, "attention.head_count", 0),
        .num_key_value_heads = get_int(llm, "attention.head_count_kv", 0),
        .head_dim = get_int(llm, "attention.key_length", get_int(llm, "rope.dimension_count", 0)),
        .max_position_embeddings = get_int(llm, "context_length", 2048),
        .rms_norm_eps = get_real(llm, "attention.layer_norm_rms_epsilon", 1e-5),
        .rope_theta = get_real(llm, "rope.freq_base", 10000),
        .attention_bias = llm->family->qkv_bias || hone_gguf_find(llm->gguf, "blk.0.attn_q.bias") != NULL,
        .tie_word_embeddings = hone_gguf_find(llm->gguf, "output.weight") == NULL};
    hone_status status = check(llm);
    if (status != HONE_OK) return status;
    if (get_int(llm, "rope.dimension_count", llm->config.head_dim) != llm->config.head_dim)
        return hone__fail(llm->ctx, HONE_UNSUPPORTED, "%s: partly rotated heads are not supported", llm->path);
    char key[128];
    snprintf(key, sizeof key, "%s.rope.scaling.type", llm->family->gguf);
    const char *scaling = hone_gguf_get_string(llm->gguf, key, NULL);
    if (scaling && strcmp(scaling, "none") != 0)
        return hone__fail(llm->ctx, HONE_UNSUPPORTED, "%s: rope scaling of type '%.40s' is not supported", llm->path, scaling);
    const hone_tensor_info *factors = hone_gguf_find(llm->gguf, "rope_freqs.weight");
    int64_t half = llm->config.head_dim / 2;
    if (factors) {
        if (factors->dtype != HONE_F32 || hone_shape_count(factors->shape) != half)
            return hone__fail(llm->ctx, HONE_FORMAT, "%s: rope_freqs.weight must be %lld f32 values", llm->path, (long long)half);
        if (!(llm->config.rope_factors = hone__alloc(llm->ctx, (size_t)half * sizeof(float)))) return llm->ctx->status;
        memcpy(llm->config.rope_factors, factors->data, (size_t)half * sizeof(float));
    }
    return HONE_OK;
}

hone_status hone__llm_config_to_gguf(const hone_llm *llm, hone_gguf_writer *writer)
{
    const hone__llm_config *c = &llm->config;
    const struct {
        const char *name;
        int64_t value;
    } sizes[] = {{"block_count", c->num_hidden_layers},
                 {"context_length", c->max_position_embeddings},
                 {"embedding_length", c->hidden_size},
                 {"feed_forward_length", c->intermediate_size},
                 {"attention.head_count", c->num_attention_heads},
                 {"attention.head_count_kv", c->num_key_value_heads},
                 {"attention.key_length", c->head_dim},
                 {"attention.value_length", c->head_dim},
                 {"rope.dimension_count", c->head_dim},
                 {"vocab_size", c->vocab_size}};
    char key[128];
    hone_status status = hone_gguf_set_string(writer, "general.architecture", llm->family->gguf);
    for (size_t i = 0; i < HONE_ARRAY_LEN(sizes) && status == HONE_OK; i++) {
        snprintf(key, sizeof key, "%s.%s", llm->family->gguf, sizes[i].name);
        status = hone_gguf_set_u32(writer, key, (uint32_t)sizes[i].value);
    }
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", llm->family->gguf);
    if (status == HONE_OK) status = hone_gguf_set_f32(writer, key, (float)c->rms_norm_eps);
    snprintf(key, sizeof key, "%s.rope.freq_base", llm->family->gguf);
    if (status == HONE_OK) status = hone_gguf_set_f32(writer, key, (float)c->rope_theta);
    return status;
}

/* ---- config.json ---- */

static int64_t json_int(const json_t *j, const char *name, int64_t otherwise)
{
    const json_t *v = json_object_get(j, name);
    return json_is_integer(v) ? (int64_t)json_integer_value(v) : otherwise;
}
static double json_real_or(const json_t *j, const char *name, double otherwise)
{
    const json_t *v = json_object_get(j, name);
    return json_is_number(v) ? json_number_value(v) : otherwise;
}
static bool json_bool(const json_t *j, const char *name, bool otherwise)
{
    const json_t *v = json_object_get(j, name);
    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

static hone_status read_rope(hone_llm *llm, const json_t *j)
{
    hone__llm_config *c = &llm->config;
    /* transformers 5 gathers everything under rope_parameters; before, rope_theta stood alone */
    const json_t *rope = json_object_get(j, "rope_parameters");
    if (!json_is_object(rope)) rope = json_object_get(j, "rope_scaling");
    c->rope_theta = json_real_or(j, "rope_theta", 10000);
    if (!json_is_object(rope)) return HONE_OK;
    c->rope_theta = json_real_or(rope, "rope_theta", c->rope_theta);
    const char *type = json_string_value(json_object_get(rope, "rope_type"));
    if (!type) type = json_string_value(json_object_get(rope, "type"));
    if (!type || !strcmp(type, "default")) return HONE_OK;
    if (strcmp(type, "llama3") != 0)
        return hone__fail(llm->ctx, HONE_UNSUPPORTED, "%s: rope scaling of type '%.40s' is not supported", llm->path, type);
    c->rope_factor = json_real_or(rope, "factor", 0);
    c->rope_low_freq_factor = json_real_or(rope, "low_freq_factor", 0);
    c->rope_high_freq_factor = json_real_or(rope, "high_freq_factor", 0);
    c->rope_original_max_position = json_int(rope, "original_max_position_embeddings", 0);
    return HONE_OK;
}

hone_status hone__llm_config_from_json(hone_llm *llm, const char *folder)
{
    hone_ctx *ctx = llm->ctx;
    char *path = hone__join_path(ctx, folder, "config.json");
    size_t size = 0;
    char *text = path ? hone__read_file(ctx, path, 16 << 20, &size) : NULL;
    json_error_t error;
    json_t *j = text ? json_loadb(text, size, 0, &error) : NULL;
    if (text && !json_is_object(j))
        hone__fail(ctx, HONE_FORMAT, "%s: line %d: %s", path, error.line, j ? "not a JSON object" : error.text);
    hone__free(ctx, text);
    hone__free(ctx, path);
    if (!hone__ok(ctx)) {
        json_decref(j);
        return ctx->status;
    }
    llm->hf_config = j;
    const char *type = json_string_value(json_object_get(j, "model_type"));
    for (const hone__llm_family *f = hone__llm_families; f->gguf && type && !llm->family; f++)
        if (!strcmp(f->model_type, type)) llm->family = f;
    if (!llm->family) return unknown_family(llm, type ? type : "(none)");
    const char *act = json_string_value(json_object_get(j, "hidden_act"));
    if (act && strcmp(act, "silu") != 0)
        return hone__fail(ctx, HONE_UNSUPPORTED, "%s: hidden_act '%.40s' is not supported, only silu", llm->path, act);
    bool bias = json_bool(j, "attention_bias", false);
    llm->config = (hone__llm_config){.vocab_size = json_int(j, "vocab_size", 0),
                                     .hidden_size = json_int(j, "hidden_size", 0),
                                     .intermediate_size = json_int(j, "intermediate_size", 0),
                                     .num_hidden_layers = json_int(j, "num_hidden_layers", 0),
                                     .num_attention_heads = json_int(j, "num_attention_heads", 0),
                                     .num_key_value_heads = json_int(j, "num_key_value_heads", 0),
                                     .head_dim = json_int(j, "head_dim", 0),
                                     .max_position_embeddings = json_int(j, "max_position_embeddings", 2048),
                                     .rms_norm_eps = json_real_or(j, "rms_norm_eps", 1e-6),
                                     .attention_bias = bias || llm->family->qkv_bias,
                                     .o_bias = bias && !llm->family->qkv_bias,
                                     .mlp_bias = json_bool(j, "mlp_bias", false),
                                     .tie_word_embeddings = json_bool(j, "tie_word_embeddings", false)};
    hone_status status = read_rope(llm, j);
    if (status == HONE_OK) status = check(llm);
    return status == HONE_OK ? make_rope_factors(llm) : status;
}

json_t *hone__llm_config_to_json(const hone_llm *llm)
{
    const hone__llm_config *c = &llm->config;
    if (llm->hf_config) return json_deep_copy(llm->hf_config);
    hone__llm_config rope = *c;
    if (c->rope_factors && !guess_rope_scaling(&rope)) {
        hone__fail_run(llm->ctx, HONE_UNSUPPORTED, "%s: config.json cannot express these rope_freqs.weight; export to GGUF", llm->path);
        return NULL;
    }
    json_t *j = json_pack("{s:[s], s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:b, s:b, s:b, s:s, s:f}",
                          "architectures", llm->family->hf_class, "model_type", llm->family->model_type, "hidden_act", "silu",
                          "vocab_size", (json_int_t)c->vocab_size, "hidden_size", (json_int_t)c->hidden_size,
                          "intermediate_size", (json_int_t)c->intermediate_size, "num_hidden_layers",
                          (json_int_t)c->num_hidden_layers, "num_attention_heads", (json_int_t)c->num_attention_heads,
                          "num_key_value_heads", (json_int_t)c->num_key_value_heads, "head_dim", (json_int_t)c->head_dim,
                          "max_position_embeddings", (json_int_t)c->max_position_embeddings, "rms_norm_eps", c->rms_norm_eps,
                          "rope_theta", c->rope_theta, "attention_bias", c->attention_bias && !llm->family->qkv_bias,
                          "mlp_bias", c->mlp_bias, "tie_word_embeddings", c->tie_word_embeddings, "dtype", "float32",
                          "initializer_range", 0.02);
    const struct {
        const char *name;
        hone_special which;
    } ids[] = {{"bos_token_id", HONE_SPECIAL_BOS}, {"eos_token_id", HONE_SPECIAL_EOS}, {"pad_token_id", HONE_SPECIAL_PAD}};
    for (size_t i = 0; j && i < HONE_ARRAY_LEN(ids); i++) {
        int32_t id = llm->tokenizer ? hone_tokenizer_special(llm->tokenizer, ids[i].which) : -1;
        if (id >= 0) json_object_set_new(j, ids[i].name, json_integer(id));
    }
    if (c->rope_factors)
        json_object_set_new(j, "rope_scaling", json_pack("{s:s, s:f, s:f, s:f, s:I}", "rope_type", "llama3", "factor",
                                                         rope.rope_factor, "low_freq_factor", rope.rope_low_freq_factor,
                                                         "high_freq_factor", rope.rope_high_freq_factor,
                                                         "original_max_position_embeddings",
                                                         (json_int_t)rope.rope_original_max_position));
    if (!j) hone__fail(llm->ctx, HONE_MEMORY, "memory ran out while writing config.json");
    return j;
}
