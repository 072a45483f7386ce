/* Running language models: logits of whole sequences, and sessions with a cache of keys and values. */
#include "llm/llm.h"

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
    if (!llm) return NULL;
    hone_ctx *ctx = llm->ctx;
    if (!hone__ok(ctx)) return NULL;
    if (count < 1 || count > llm->config.max_position_embeddings) {
        hone__fail_run(ctx, HONE_INVALID, "logits: 1 to %lld tokens, not %lld", (long long)llm->config.max_position_embeddings,
                       (long long)count);
        return NULL;
    }
    if (check_tokens(llm, ids, count) != HONE_OK) return NULL;
    hone_function *f = hone_function_new(ctx, 1, 1, record_logits, llm, .compute = llm->compute);
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

/* inputs: tokens, positions, end [B, T]; cache positions, cache rows [B]; the last token that is no padding [1]. One of B
   and T is 1: the tokens of a prompt, or one token of each of some rows. */
enum { INPUTS = 6 };
static void record_step(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    hone_session *session = user;
    hone_llm *llm = session->llm;
    hone_shape shape = hone_node_shape(in[0]);
    hone__llama_inputs inputs = {.tokens = in[0], .positions = in[1], .end = in[2], .cache_position = in[3],
                                 .cache_rows = in[4], .session = session};
    hone_node *x = hone__llama_hidden(llm->model->root, graph, &inputs);
    hone_node *head = x ? hone__llama_head(llm->model->root, graph) : NULL;
    if (!head) return;
    x = hone_reshape(x, HONE_SHAPE(shape.dim[0] * shape.dim[1], llm->config.hidden_size));
    if (shape.dim[1] > 1) x = hone_gather(x, in[5], 0);
    out[0] = hone_linear(x, head, NULL);
}

hone_session *hone_session_new(hone_llm *llm, int64_t capacity) { return hone_session_new_rows(llm, 1, capacity); }

hone_session *hone_session_new_rows(hone_llm *llm, int64_t rows, int64_t capacity)
{
    if (!llm) return NULL;
    hone_ctx *ctx = llm->ctx;
    if (!hone__ok(ctx)) return NULL;
    const hone__llm_config *c = &llm->config;
    if (capacity < 1 || capacity > c->max_position_embeddings) {
        hone__fail(ctx, HONE_INVALID, "session: a capacity of 1 to %lld tokens, not %lld", (long long)c->max_position_embeddings,
                   (long long)capacity);
        return NULL;
    }
    if (rows < 1 || rows > HONE_SESSION_ROWS) {
        hone__fail(ctx, HONE_INVALID, "session: 1 to %d rows, not %lld", HONE_SESSION_ROWS, (long long)rows);
        return NULL;
    }
    hone_session *s = hone__calloc(ctx, 1, sizeof *s);
    if (!s) return NULL;
    *s = (hone_session){.llm = llm, .ctx = ctx, .rows = rows, .capacity = capacity};
    s->length = hone__calloc(ctx, (size_t)rows, sizeof *s->length);
    s->keys = hone__calloc(ctx, (size_t)c->num_hidden_layers, sizeof *s->keys);
    s->values = hone__calloc(ctx, (size_t)c->num_hidden_layers, sizeof *s->values);
    hone_shape shape = HONE_SHAPE(rows, capacity, c->num_key_value_heads, c->head_dim);
    for (int64_t i = 0; i < c->num_hidden_layers && s->keys && s->values; i++) {
        s->keys[i] = hone_tensor_new(ctx, llm->compute, shape);
        s->values[i] = hone_tensor_new(ctx, llm->compute, shape);
    }
    s->step = hone_function_new(ctx, INPUTS, 1, record_step, s, .compute = llm->compute);
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
    hone__free(s->ctx, s->length);
    hone__free(s->ctx, s);
}

int64_t hone_session_rows(const hone_session *s) { return s ? s->rows : 0; }
int64_t hone_session_length(const hone_session *s) { return hone_session_row_length(s, 0); }
int64_t hone_session_row_length(const hone_session *s, int64_t row) { return s && row >= 0 && row < s->rows ? s->length[row] : -1; }

static hone_status check_row(const hone_session *s, int64_t row)
{
    if (!s) return HONE_INVALID;
    if (row >= 0 && row < s->rows) return HONE_OK;
    return hone__fail_run(s->ctx, HONE_INVALID, "session: there is no row %lld among %lld", (long long)row, (long long)s->rows);
}

hone_status hone_session_rewind(hone_session *s, int64_t length) { return hone_session_row_rewind(s, 0, length); }

hone_status hone_session_row_rewind(hone_session *s, int64_t row, int64_t length)
{
    hone_status status = check_row(s, row);
    if (status != HONE_OK) return status;
    if (length < 0 || length > s->length[row])
        return hone__fail_run(s->ctx, HONE_INVALID, "session: cannot go back to %lld of %lld tokens", (long long)length,
                              (long long)s->length[row]);
    s->length[row] = length;
    return HONE_OK;
}

hone_status hone_session_row_copy(hone_session *s, int64_t to, int64_t from, int64_t length)
{
    hone_status status = check_row(s, to);
    if (status == HONE_OK) status = check_row(s, from);
    if (status != HONE_OK) return status;
    if (length < 0 || length > s->length[from])
        return hone__fail_run(s->ctx, HONE_INVALID, "session: cannot copy %lld of %lld tokens", (long long)length,
                              (long long)s->length[from]);
    const hone__llm_config *c = &s->llm->config;
    int64_t token = c->num_key_value_heads * c->head_dim * hone__dtypes[s->llm->compute].bytes, row = s->capacity * token;
    for (int64_t i = 0; i < c->num_hidden_layers && to != from; i++) {
        char *keys = s->keys[i]->data, *values = s->values[i]->data;
        memcpy(keys + to * row, keys + from * row, (size_t)(length * token));
        memcpy(values + to * row, values + from * row, (size_t)(length * token));
    }
    s->length[to] = length;
    return HONE_OK;
}

/* Up to so many tokens a run: enough for products to be efficient, little enough for activations to stay small. */
enum { CHUNK_TOKENS = 512 };

/* Plans are made for a few lengths only: a run is padded to one of them where the cache has room. What padding writes
   lies beyond the row's length, and is overwritten before anything looks there. */
static int64_t padded(int64_t length, int64_t capacity, int64_t t)
{
    int64_t step = t <= 1 ? 1 : t <= 8 ? 8 : t <= 128 ? 16 : 64, up = (t + step - 1) / step * step;
    return length + up <= capacity ? up : t;
}

/* The same for rows: the last one is given several times, and writes the same several times. */
static int64_t padded_rows(int64_t n) { return n <= 8 ? n : (n + 3) / 4 * 4; }

/* Runs B rows of T tokens, of which `count` are no padding: count <= B where T is 1, else count <= T and B is 1. */
static hone_status run_step(hone_session *s, int64_t b, int64_t t, int64_t count, const int32_t *rows, const int32_t *ids)
{
    hone_ctx *ctx = s->ctx;
    hone_tensor *in[INPUTS];
    hone_status status = HONE_OK;
    for (int i = 0; i < INPUTS; i++) {
        in[i] = hone_tensor_new(ctx, HONE_I32, i < 3 ? HONE_SHAPE(b, t) : HONE_SHAPE(i < 5 ? b : 1));
        if (!in[i]) status = ctx->status;
    }
    if (status == HONE_OK) {
        int32_t *to[INPUTS];
        for (int i = 0; i < INPUTS; i++) to[i] = in[i]->data;
        for (int64_t r = 0; r < b; r++) {
            int64_t given = HONE_MIN(r, count - 1), length = s->length[rows[t > 1 ? 0 : given]];
            for (int64_t i = 0; i < t; i++) {
                to[0][r * t + i] = t == 1 ? ids[given] : i < count ? ids[i] : 0;
                to[1][r * t + i] = (int32_t)(length + i);
                to[2][r * t + i] = (int32_t)(length + i + 1);
            }
            to[3][r] = (int32_t)length;
            to[4][r] = rows[t > 1 ? 0 : given];
        }
        to[5][0] = (int32_t)count - 1;
        status = hone_function_call(s->step, in);
    }
    for (int i = 0; i < INPUTS; i++) hone_tensor_free(in[i]);
    return status;
}

const float *hone_session_logits(const hone_session *s)
{
    if (!s) return NULL;
    const hone_tensor *y = hone_function_output(s->step, 0);
    return y ? y->data : NULL;
}

static void take_logits(const hone_session *s, int64_t count, float *logits)
{
    if (logits) memcpy(logits, hone_session_logits(s), (size_t)(count * s->llm->config.vocab_size) * sizeof *logits);
}

hone_status hone_session_feed(hone_session *s, const int32_t *ids, int64_t count, float *logits)
{
    return hone_session_row_feed(s, 0, ids, count, logits);
}

hone_status hone_session_row_feed(hone_session *s, int64_t row, const int32_t *ids, int64_t count, float *logits)
{
    if (!s) return HONE_INVALID;
    hone_ctx *ctx = s->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    hone_status status = check_row(s, row);
    if (status != HONE_OK) return status;
    int64_t *length = &s->length[row];
    if (count < 1 || count > s->capacity - *length)
        return hone__fail_run(ctx, HONE_INVALID, "session: %lld tokens do not fit: %lld of %lld are taken", (long long)count,
                              (long long)*length, (long long)s->capacity);
    status = check_tokens(s->llm, ids, count);
    for (int64_t at = 0; at < count && status == HONE_OK; at += CHUNK_TOKENS) {
        int64_t n = HONE_MIN((int64_t)CHUNK_TOKENS, count - at);
        status = run_step(s, 1, padded(*length, s->capacity, n), n, &(int32_t){(int32_t)row}, ids + at);
        if (status == HONE_OK) *length += n;
    }
    if (status == HONE_OK) take_logits(s, 1, logits);
    return status;
}

hone_status hone_session_step(hone_session *s, int64_t count, const int32_t *rows, const int32_t *ids, float *logits)
{
    if (!s) return HONE_INVALID;
    hone_ctx *ctx = s->ctx;
    bool seen[HONE_SESSION_ROWS] = {false};
    if (!hone__ok(ctx)) return ctx->status;
    if (count < 1 || count > s->rows)
        return hone__fail_run(ctx, HONE_INVALID, "session: a step of 1 to %lld rows, not %lld", (long long)s->rows, (long long)count);
    for (int64_t i = 0; i < count; i++) {
        if (check_row(s, rows[i]) != HONE_OK) return HONE_INVALID;
        if (seen[rows[i]]) return hone__fail_run(ctx, HONE_INVALID, "session: row %d twice in a step", (int)rows[i]);
        seen[rows[i]] = true;
        if (s->length[rows[i]] == s->capacity)
            return hone__fail_run(ctx, HONE_INVALID, "session: row %d is full: %lld tokens", (int)rows[i], (long long)s->capacity);
    }
    hone_status status = check_tokens(s->llm, ids, count);
    if (status == HONE_OK) status = run_step(s, padded_rows(count), 1, count, rows, ids);
    for (int64_t i = 0; i < count && status == HONE_OK; i++) s->length[rows[i]]++;
    if (status == HONE_OK) take_logits(s, count, logits);
    return status;
}
