/* The llm room, for itself: a language model's configuration, files and network. */
#ifndef HONE_SRC_LLM_H
#define HONE_SRC_LLM_H

#include "hone/llm.h"
#include "nn/nn.h"

#include <jansson.h>

/* What a checkpoint says of its network; names as in Hugging Face's config.json. */
typedef struct hone__llm_config {
    int64_t vocab_size, hidden_size, intermediate_size, num_hidden_layers;
    int64_t num_attention_heads, num_key_value_heads, head_dim;
    int64_t max_position_embeddings;
    double rms_norm_eps, rope_theta;
    bool attention_bias, mlp_bias; /* q, k, v (and o: o_bias) have biases */
    bool o_bias;
    bool tie_word_embeddings;
    /* Llama 3's stretched positions (rope_scaling of type llama3); factor 0: none */
    double rope_factor, rope_low_freq_factor, rope_high_freq_factor;
    int64_t rope_original_max_position;
    float *rope_factors; /* [head_dim / 2], owned by the hone_llm; NULL: none */
} hone__llm_config;

/* One line a model family: how files call it. */
typedef struct hone__llm_family {
    const char *gguf;       /* general.architecture */
    const char *model_type; /* config.json */
    const char *hf_class;   /* architectures[0] of exported folders */
    bool permuted;          /* llama.cpp's converter reorders the rows of q and k */
    bool qkv_bias;          /* q, k and v have biases whatever the file says */
} hone__llm_family;
extern const hone__llm_family hone__llm_families[]; /* ends with gguf NULL */

struct hone_llm {
    hone_ctx *ctx;
    char *path;
    const hone__llm_family *family;
    hone__llm_config config;
    hone_tokenizer *tokenizer;
    hone_gguf *gguf;              /* either: the file ... */
    hone_safetensors *tensors;    /* ... or the folder's weights */
    json_t *hf_config;            /* the folder's config.json, for exporting what we do not interpret */
    hone_model *model;
    hone_dtype compute;
    hone_function *score;         /* evaluate.c */
    void **unpermuted;            /* rows of q and k in Hugging Face's order, owned */
    size_t n_unpermuted, unpermuted_capacity;
    hone_lora_opts lora;          /* rank 0: no adapter */
    hone_safetensors *adapter;    /* whose values the adapter's parameters begin with; NULL: none was loaded */
};

/* ---- configuration (config.c) ---- */
hone_status hone__llm_config_from_gguf(hone_llm *llm);
hone_status hone__llm_config_from_json(hone_llm *llm, const char *folder);
/* The same as JSON for an exported folder; a new reference. NULL: memory (sticky), or UNSUPPORTED for stretched positions
   that it has no words for (does not stick). */
json_t *hone__llm_config_to_json(const hone_llm *llm);
hone_status hone__llm_config_to_gguf(const hone_llm *llm, hone_gguf_writer *writer);

/* ---- adapters and files (adapter.c, export.c) ---- */
bool hone__adapter_source(hone_llm *llm, const char *name, hone__param_source *source);
hone_status hone__llm_add_lora(hone_llm *llm, const hone_lora_opts *opts);
hone_status hone__llm_record_params(hone_llm *llm); /* records a forward, so that every parameter is known */
hone_status hone__write_json(hone_ctx *ctx, const char *folder, const char *name, const json_t *json);
/* Weights (an adapter merged), config, tokenizer into a folder, file by file. */
hone_status hone__llm_save_folder(hone_llm *llm, const char *folder, hone_dtype dtype);

/* ---- names (names.c) ---- */
/* Hugging Face's name of a parameter as GGUF calls it, into text[size]; false when the table has none. */
bool hone__gguf_name(const char *name, char *text, size_t size);
/* Rows of q and k between Hugging Face's order (halves) and llama.cpp's (pairs), for one head of `size` rows: the
   row of the GGUF file that holds row r. */
int64_t hone__gguf_row(int64_t r, int64_t size);
/* Whether that parameter's rows are reordered in GGUF files of the family, and the size of a head in rows. */
bool hone__is_permuted(const hone_llm *llm, const char *name);

/* ---- the network (llama.c) ---- */
typedef struct hone__llama_inputs {
    hone_node *tokens, *positions; /* i32 [B, T] */
    hone_node *begin, *end;        /* i32 [B, T]: the keys that a token may see; NULL: from 0, up to itself */
    hone_node *cache_position;     /* i32 [B]: where in the cache the first token goes; NULL: no cache */
    hone_node *cache_rows;         /* i32 [B]: and in which of its rows */
    hone_session *session;         /* whose cache */
} hone__llama_inputs;
hone_layer *hone__llama_new(hone_ctx *ctx, const hone__llm_config *config);
/* Final hidden states, normed: [B, T, hidden]. */
hone_node *hone__llama_hidden(hone_layer *root, hone_graph *graph, const hone__llama_inputs *inputs);
/* The output layer's weight [V, hidden]. */
hone_node *hone__llama_head(hone_layer *root, hone_graph *graph);

/* ---- sessions (session.c) ---- */
struct hone_session {
    hone_llm *llm;
    hone_ctx *ctx;
    int64_t rows, capacity;
    int64_t *length;              /* [rows]: tokens fed */
    hone_tensor **keys, **values; /* a layer: [rows, capacity, kv heads, head size], in the compute dtype */
    hone_function *step;          /* plans look at this session's cache */
};

#endif
