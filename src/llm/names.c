/* One table from Hugging Face's names to GGUF's, and the order of rows that differs between the two. */
#include "llm/llm.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *hf, *gguf;
} outside[] = {
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
};

static const struct {
    const char *hf, *gguf;
    bool permuted;
} in_layer[] = {
    {"input_layernorm", "attn_norm", false},     {"self_attn.q_proj", "attn_q", true},
    {"self_attn.k_proj", "attn_k", true},        {"self_attn.v_proj", "attn_v", false},
    {"self_attn.o_proj", "attn_output", false},  {"post_attention_layernorm", "ffn_norm", false},
    {"mlp.gate_proj", "ffn_gate", false},        {"mlp.up_proj", "ffn_up", false},
    {"mlp.down_proj", "ffn_down", false},
};

/* "model.layers.7.<part>.weight": the layer's number and the table's line; -1: none. `rest` is what follows the part. */
static int find(const char *name, long *layer, const char **rest)
{
    static const char prefix[] = "model.layers.";
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) return -1;
    char *end;
    *layer = strtol(name + sizeof prefix - 1, &end, 10);
    if (*end != '.' || *layer < 0) return -1;
    for (size_t i = 0; i < HONE_ARRAY_LEN(in_layer); i++) {
        size_t n = strlen(in_layer[i].hf);
        if (!strncmp(end + 1, in_layer[i].hf, n) && (!strcmp(end + 1 + n, ".weight") || !strcmp(end + 1 + n, ".bias"))) {
            *rest = end + 1 + n;
            return (int)i;
        }
    }
    return -1;
}

bool hone__gguf_name(const char *name, char *text, size_t size)
{
    for (size_t i = 0; i < HONE_ARRAY_LEN(outside); i++)
        if (!strcmp(outside[i].hf, name)) return snprintf(text, size, "%s", outside[i].gguf) < (int)size;
    long layer;
    const char *rest;
    int i = find(name, &layer, &rest);
    return i >= 0 && snprintf(text, size, "blk.%ld.%s%s", layer, in_layer[i].gguf, rest) < (int)size;
}

bool hone__is_permuted(const hone_llm *llm, const char *name)
{
    long layer;
    const char *rest;
    int i = find(name, &layer, &rest);
    return llm->family->permuted && i >= 0 && in_layer[i].permuted;
}

int64_t hone__gguf_row(int64_t r, int64_t size)
{
    int64_t head = r / size, within = r % size, half = size / 2;
    return head * size + within % half * 2 + within / half;
}
