/* Running language models: logits and losses of whole sequences, and sessions with a cache of keys and values. */
#include "llm/llm.h"
#include "llm/tokenizer.h"

/* ---- whole sequences ---- */

static hone_node *ramp(hone_graph *graph, int64_t b, int64_t t)
{
    hone_tensor *tensor = hone_tensor_new(graph->ctx, HONE_I32, HONE_SHAPE(b, t));
    for (int64_t i = 0; tensor && i < b * t; i++) ((int32_t *)tensor->data)[i] = (int32_t)(i % t);
    hone_node *node = hone_constant(graph, tensor);
    hone_tensor_free(tensor);
    return node;
}

static void record_logits(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    hone_llm *llm = user;
    hone_shape s = hone_node_shape(in[0]);
    hone__llama_inputs inputs = {.tokens = in[0], .positions = ramp(graph, s.dim[0], s.dim[1])};
    hone_node *x = hone__llama_hidden(llm->model->root, graph, &inputs);
    hone_node *head = x ? hone__llama_head(llm->model->root, graph) : NULL;
    if (head) out[0] = hone_linear(hone_reshape(x, HONE_SHAPE(s.dim[1], llm->config.hidden_size)), head, NULL);
}

static hone_status check_tokens(const hone_llm *llm, const int32_t *ids, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= llm->config.vocab_size)
            return hone__fail_run(llm->ctx, HONE_INVALID, "token %lld is %d; the vocabulary has %lld", (long long)i, (int)ids[i],
                                  (long long)llm->config.vocab_size);
    return HONE_OK;
}

hone_tensor *hone_llm_logits(hone_llm *llm, const int32_t *ids, int64_t count)
{
    hone_ctx *ctx = llm->ctx;
    if (!hone__ok(ctx)) return NULL;
    if (count < 1 || count > llm->config.max_position_embeddings) {
        hone__fail_run(ctx, HONE_INVALID, "logits: 1 to %lld tokens, not %lld", (long long)llm->config.max_position_embeddings,
                       (long long)count);
        return NULL;
    }
    if (check_tokens(llm, ids, count) != HONE_OK) return NULL;
    hone_function *f = hone_function_new(ctx, 1, 1, record_logits, llm, .compute = llm->compute);
    hone__function_use_model(f, llm->model);
    hone_tensor *tokens = hone_tensor_from_i32(ctx, HONE_SHAPE(1, count), ids), *result = NULL;
    if (f && tokens && hone_function_call(f, &tokens) == HONE_OK) {
        const hone_tensor *y = hone_function_output(f, 0);
        result = hone_tensor_new(ctx, HONE_F32, y->shape);
        if (result) memcpy(result->data, y->data, y->bytes);
    }
    hone_tensor_free(tokens);
    hone_function_free(f);
    return result;
}

/* ---- sessions ---- */

static void record_step(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    hone_session *session = user;
    hone_llm *llm = session->llm;
    int64_t t = hone_node_shape(in[0]).dim[1];
    hone__llama_inputs inputs = {.tokens = in[0], .positions = in[1], .end = in[2], .cache_position = in[3], .session = session};
    hone_node *x = hone__llama_hidden(llm->model->root, graph, &inputs);
    hone_node *head = x ? hone__llama_head(llm->model->root, graph) : NULL;
    if (!head) return;
    x = hone_reshape(x, HONE_SHAPE(t, llm->config.hidden_size));
    if (t > 1) x = hone_gather(x, in[4], 0); /* the last token that is no padding */
    out[0] = hone_linear(x, head, NULL);
}

hone_session *hone_session_new(hone_llm *llm, int64_t capacity)
{
    hone_ctx *ctx = llm->ctx;
    if (!hone__ok(ctx)) return NULL;
    const hone__llm_config *c = &llm->config;
    if (capacity < 1 || capacity > c->max_position_embeddings) {
        hone__fail(ctx, HONE_INVALID, "session: a capacity of 1 to %lld tokens, not %lld", (long long)c->max_position_embeddings,
                   (long long)capacity);
        return NULL;
    }
    hone_session *s = hone__calloc(ctx, 1, sizeof *s);
    if (!s) return NULL;
    *s = (hone_session){.llm = llm, .ctx = ctx, .capacity = capacity};
    s->keys = hone__calloc(ctx, (size_t)c->num_hidden_layers, sizeof *s->keys);
    s->values = hone__calloc(ctx, (size_t)c->num_hidden_layers, sizeof *s->values);
    hone_shape shape = HONE_SHAPE(1, capacity, c->num_key_value_heads, c->head_dim);
    for (int64_t i = 0; i < c->num_hidden_layers && s->keys && s->values; i++) {
        s->keys[i] = hone_tensor_new(ctx, llm->compute, shape);
        s->values[i] = hone_tensor_new(ctx, llm->compute, shape);
    }
    s->step = hone_function_new(ctx, 5, 1, record_step, s, .compute = llm->compute);
    hone__function_use_model(s->step, llm->model);
    if (hone__ok(ctx)) return s;
    hone_session_free(s);
    return NULL;
}

void hone_session_free(hone_session *s)
{
    if (!s) return;
    hone_function_free(s->step);
    for (int64_t i = 0; i < s->llm->config.num_hidden_layers; i++) {
        if (s->keys) hone_tensor_free(s->keys[i]);
        if (s->values) hone_tensor_free(s->values[i]);
    }
    hone__free(s->ctx, s->keys);
    hone__free(s->ctx, s->values);
    hone__free(s->ctx, s);
}

int64_t hone_session_length(const hone_session *s) { return s->length; }

hone_status hone_session_rewind(hone_session *s, int64_t length)
{
    if (length < 0 || length > s->length)
        return hone__fail_run(s->ctx, HONE_INVALID, "session: cannot go back to %lld of %lld tokens", (long long)length,
                              (long long)s->length);
    s->length = length;
    return HONE_OK;
}

/* Up to so many tokens a run: enough for products to be efficient, little enough for activations to stay small. */
enum { CHUNK_TOKENS = 512 };

/* Plans are made for a few lengths only: a run is padded to one of them where the cache has room. What padding writes
   lies beyond the session's length, and is overwritten before anything looks there. */
static int64_t padded(const hone_session *s, int64_t t)
{
    int64_t step = t <= 1 ? 1 : t <= 8 ? 8 : t <= 128 ? 16 : 64, up = (t + step - 1) / step * step;
    return s->length + up <= s->capacity ? up : t;
}

static hone_status feed(hone_session *s, const int32_t *ids, int64_t count)
{
    hone_ctx *ctx = s->ctx;
    int64_t t = padded(s, count);
    hone_shape shape = HONE_SHAPE(1, t);
    hone_tensor *in[5] = {hone_tensor_new(ctx, HONE_I32, shape), hone_tensor_new(ctx, HONE_I32, shape),
                          hone_tensor_new(ctx, HONE_I32, shape), hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(1)),
                          hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(1))};
    hone_status status = ctx->status;
    if (status == HONE_OK) {
        for (int64_t i = 0; i < t; i++) {
            ((int32_t *)in[0]->data)[i] = i < count ? ids[i] : 0;
            ((int32_t *)in[1]->data)[i] = (int32_t)(s->length + i);
            ((int32_t *)in[2]->data)[i] = (int32_t)(s->length + i + 1);
        }
        ((int32_t *)in[3]->data)[0] = (int32_t)s->length;
        ((int32_t *)in[4]->data)[0] = (int32_t)count - 1;
        status = hone_function_call(s->step, in);
    }
    for (int i = 0; i < 5; i++) hone_tensor_free(in[i]);
    if (status == HONE_OK) s->length += count;
    return status;
}

hone_status hone_session_feed(hone_session *s, const int32_t *ids, int64_t count, float *logits)
{
    hone_ctx *ctx = s->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    if (count < 1 || count > s->capacity - s->length)
        return hone__fail_run(ctx, HONE_INVALID, "session: %lld tokens do not fit: %lld of %lld are taken", (long long)count,
                              (long long)s->length, (long long)s->capacity);
    hone_status status = check_tokens(s->llm, ids, count);
    for (int64_t at = 0; at < count && status == HONE_OK; at += CHUNK_TOKENS)
        status = feed(s, ids + at, HONE_MIN((int64_t)CHUNK_TOKENS, count - at));
    if (status == HONE_OK && logits)
        memcpy(logits, hone_function_output(s->step, 0)->data, (size_t)s->llm->config.vocab_size * sizeof *logits);
    return status;
}

/* ---- generation ---- */

typedef struct generation {
    hone_llm *llm;
    const hone_generate_opts *o;
    hone_decode_stream stream;
    hone_text text;  /* decoded and not yet handed out: it may be the beginning of a stop string */
    size_t longest;  /* stop string */
    bool stopped;
} generation;

static const char *find_bytes(const char *text, size_t size, const char *what, size_t n)
{
    for (size_t i = 0; n && i + n <= size; i++)
        if (!memcmp(text + i, what, n)) return text + i;
    return NULL;
}

/* Hands out what is certain not to be part of a stop string; all of it at the end. */
static bool hand_out(generation *g, bool all)
{
    for (size_t i = 0; i < g->o->n_stop && !g->stopped && g->text.size; i++) {
        const char *at = find_bytes(g->text.data, g->text.size, g->o->stop[i], strlen(g->o->stop[i]));
        if (!at) continue;
        g->text.size = (size_t)(at - g->text.data);
        g->stopped = all = true;
    }
    size_t keep = all || !g->longest ? 0 : HONE_MIN(g->longest - 1, g->text.size), ready = g->text.size - keep;
    bool go_on = !ready || !g->o->on_text || g->o->on_text(g->o->user, g->text.data, ready);
    if (ready) memmove(g->text.data, g->text.data + ready, keep);
    g->text.size = keep;
    return go_on && !g->stopped;
}

hone_status hone_generate_opt(hone_session *s, const int32_t *prompt, int64_t count, hone_tokens *out,
                              const hone_generate_opts *opts)
{
    static const hone_generate_opts none = {0};
    hone_ctx *ctx = s->ctx;
    hone_llm *llm = s->llm;
    if (!hone__ok(ctx)) return ctx->status;
    generation g = {.llm = llm, .o = opts ? opts : &none};
    for (size_t i = 0; i < g.o->n_stop; i++) g.longest = HONE_MAX(g.longest, strlen(g.o->stop[i]));
    hone_sampler *sampler = hone_sampler_new_opt(ctx, &g.o->sampling);
    float *logits = hone__alloc(ctx, (size_t)llm->config.vocab_size * sizeof *logits);
    hone_status status = sampler && logits ? hone_session_feed(s, prompt, count, logits) : ctx->status;
    int64_t most = g.o->max_tokens ? g.o->max_tokens : 256;
    for (int64_t i = 0; i < most && status == HONE_OK; i++) {
        int32_t id;
        status = hone_sampler_next(sampler, logits, llm->config.vocab_size, (uint64_t)s->length, &id);
        if (status != HONE_OK || (!g.o->ignore_end && hone_tokenizer_is_end(llm->tokenizer, id))) break;
        if (out && hone__tokens_add(ctx, out, id) != HONE_OK) status = ctx->status;
        if (status == HONE_OK)
            status = hone_decode_stream_add(ctx, llm->tokenizer, id, HONE_DECODE_SKIP_SPECIAL, &g.stream, &g.text);
        if (status != HONE_OK || !hand_out(&g, false)) break;
        if (i + 1 == most || s->length == s->capacity) break;
        if (hone_cancelled(ctx)) status = hone__fail_run(ctx, HONE_CANCELLED, "cancelled");
        if (status == HONE_OK) status = hone_session_feed(s, &id, 1, logits);
    }
    if (status == HONE_OK || status == HONE_CANCELLED) {
        if (!g.stopped && hone_decode_stream_end(ctx, &g.stream, &g.text) == HONE_OK) hand_out(&g, true);
    }
    hone_text_free(ctx, &g.text);
    hone__free(ctx, logits);
    hone_sampler_free(sampler);
    return status;
}
