/* Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models". Names and first values are PEFT's. */
#include "nn/nn.h"
#include "op/op.h"

hone_node *hone__lora_apply(hone_layer *layer, hone_graph *graph, const hone__lora *lora, hone_node *x, hone_node *w,
                            hone_node *bias)
{
    if (!x || !w) return NULL;
    int64_t in = w->shape.dim[1], out = w->shape.dim[0];
    double scale = lora->alpha / (double)lora->rank;
    hone_node *a = hone_weight(layer, graph, "lora_A.weight", HONE_SHAPE(lora->rank, in), HONE_INIT_TORCH_LINEAR);
    hone_node *b = hone_weight(layer, graph, "lora_B.weight", HONE_SHAPE(out, lora->rank), HONE_INIT_ZEROS);
    hone_node *dropped = hone_dropout(x, lora->dropout);
    if (dropped == x) return hone__linear_low_rank(x, w, bias, a, b, scale);
    return hone_add(hone_linear(x, w, bias), hone_affine(hone_linear(hone_linear(dropped, a, NULL), b, NULL), scale, 0));
}

/* Does the comma-separated list name this layer? "all": every dense layer but a head at the top of the model. */
static bool is_target(const char *targets, const hone_layer *layer)
{
    if (!strcmp(targets, "all")) return layer->parent && layer->parent->parent && strcmp(layer->name, "lm_head") != 0;
    for (size_t n; targets[0]; targets += n + (targets[n] == ',')) {
        n = strcspn(targets, ",");
        if (layer->name && strlen(layer->name) == n && !memcmp(layer->name, targets, n)) return true;
    }
    return false;
}

static int add(hone_layer *layer, const hone__lora *lora, const char *targets)
{
    int found = 0;
    if (!strcmp(layer->type, "dense") && is_target(targets, layer)) {
        ((hone__dense *)(void *)layer)->lora = *lora;
        found = 1;
    }
    for (size_t i = 0; i < layer->n_children; i++) found += add(layer->children[i], lora, targets);
    return found;
}

/* Every name in the list must be some dense layer's, or a typing error would pass unseen. */
static hone_status check_targets(hone_model *model, const char *targets)
{
    for (size_t n; targets[0]; targets += n + (targets[n] == ',')) {
        n = strcspn(targets, ",");
        char *one = hone__strndup(model->ctx, targets, n);
        if (!one) return model->ctx->status;
        int found = add(model->root, &(hone__lora){0}, one);
        if (!found) hone__fail(model->ctx, HONE_NOT_FOUND, "LoRA: no dense layer is called '%s'", one);
        hone__free(model->ctx, one);
        if (!found) return model->ctx->status;
    }
    return HONE_OK;
}

hone_status hone_model_add_lora_opt(hone_model *model, const hone_lora_opts *opts)
{
    hone_status usable = HONE__STATUS_OF(model);
    if (usable != HONE_OK) return usable;
    hone__lora lora = {.rank = opts && opts->rank ? opts->rank : 16, .alpha = opts && opts->alpha != 0 ? opts->alpha : 32,
                       .dropout = opts ? opts->dropout : 0};
    const char *targets = opts && opts->targets && opts->targets[0] ? opts->targets : "all";
    if (lora.rank < 1 || lora.rank > 65536 || lora.dropout < 0 || lora.dropout >= 1)
        return hone__fail(model->ctx, HONE_INVALID, "LoRA: rank must be 1 to 65536 and dropout in [0, 1), not %lld and %g",
                          (long long)lora.rank, lora.dropout);
    hone_status status = check_targets(model, targets);
    if (status == HONE_OK) status = hone_model_set_trainable(model, "", false);
    if (status != HONE_OK) return status;
    add(model->root, &lora, targets);
    model->keep_frozen = false; /* what is new from now on are the adapters */
    model->generation++;
    return HONE_OK;
}
