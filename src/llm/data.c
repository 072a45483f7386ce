#include "llm/data.h"

#include "llm/tokenizer.h"

void hone_llm_data_free(hone_llm_data *data)
{
    if (!data) return;
    hone_ctx *ctx = data->ctx;
    hone_tokens_free(ctx, &data->tokens);
    hone__free(ctx, data->start);
    hone__free(ctx, data);
    hone_ctx_release(ctx);
}

/* The example is tokens [from, end of all): counts it, cuts what is too long. */
static hone_status close_example(hone_llm_data *d, size_t from, bool train_all, bool cut)
{
    size_t length = d->tokens.count - from;
    if (cut && (int64_t)length > d->max_seq_length) {
        d->tokens.count = from + (size_t)d->max_seq_length;
        d->truncated++;
    }
    bool learns = false;
    for (size_t i = from; i < d->tokens.count; i++) {
        if (train_all) d->tokens.trained[i] = 1;
        if (i > from && d->tokens.trained[i]) learns = true, d->trained++;
    }
    if (!hone__grow(d->ctx, (void **)&d->start, &d->start_capacity, d->examples + 2, sizeof *d->start)) return d->ctx->status;
    d->start[d->examples++] = from;
    d->start[d->examples] = d->tokens.count;
    d->empty += !learns;
    d->longest = HONE_MAX(d->longest, (int64_t)(d->tokens.count - from));
    return HONE_OK;
}

/* A long text is cut into pieces of max_seq_length, each beginning with the last token of the one before, so that every
   token but the first is predicted once. */
static hone_status close_text(hone_llm_data *d, size_t from)
{
    size_t end = d->tokens.count, most = (size_t)d->max_seq_length;
    if (end - from <= most) return close_example(d, from, true, false);
    size_t pieces = (end - from - 2) / (most - 1) + 1;
    int32_t *ids = hone__alloc(d->ctx, (end - from) * sizeof *ids);
    if (!ids) return d->ctx->status;
    memcpy(ids, d->tokens.ids + from, (end - from) * sizeof *ids);
    d->tokens.count = from;
    hone_status status = HONE_OK;
    for (size_t p = 0; p < pieces && status == HONE_OK; p++) {
        size_t at = p * (most - 1), stop = HONE_MIN(at + most, end - from), begin = d->tokens.count;
        for (size_t i = at; i < stop && status == HONE_OK; i++) status = hone__tokens_add(d->ctx, &d->tokens, ids[i]);
        if (status == HONE_OK) status = close_example(d, begin, true, false);
    }
    hone__free(d->ctx, ids);
    return status;
}

/* A tokenizer may know tokens that the network has no row for. */
static hone_status check_ids(const hone_llm *llm, const hone_llm_data *d, size_t from)
{
    for (size_t i = from; i < d->tokens.count; i++)
        if (d->tokens.ids[i] >= llm->config.vocab_size)
            return hone__fail_run(d->ctx, HONE_INVALID, "token %d of the tokenizer is beyond the model's vocabulary of %lld",
                                  (int)d->tokens.ids[i], (long long)llm->config.vocab_size);
    return HONE_OK;
}

static bool is_assistant(const hone_message *m) { return !strcmp(m->role, "assistant"); }

static bool is_blank(const char *text) { return !text[strspn(text, " \t\r\n")]; }

/* Why nothing of record `number` is learnt. */
static void explain_empty(hone_llm_data *d, const hone_message *messages, size_t count, size_t number)
{
    char roles[120] = "";
    bool any = false;
    for (size_t i = 0, at = 0; i < count; i++) {
        any |= is_assistant(&messages[i]);
        if (at < sizeof roles - 1) at += (size_t)snprintf(roles + at, sizeof roles - at, "%s'%.20s'", i ? ", " : "", messages[i].role);
    }
    if (any)
        snprintf(d->why_empty, sizeof d->why_empty, "of record %zu max_seq_length %lld cuts off what the assistant says", number,
                 (long long)d->max_seq_length);
    else
        snprintf(d->why_empty, sizeof d->why_empty, "record %zu has no message of the role 'assistant', whose text is learnt, but of %s", number,
                 roles);
}

static hone_status add_record(hone_llm *llm, hone_llm_data *d, const hone_record *r, size_t number, bool train_on_prompt)
{
    size_t from = d->tokens.count;
    hone_status status;
    if (r->kind == HONE_RECORD_TEXT && !r->label) {
        status = hone_tokenizer_encode(d->ctx, llm->tokenizer, r->text, r->text_length, HONE_ENCODE_SPECIAL | HONE_ENCODE_ENDS,
                                       &d->tokens);
        if (status == HONE_OK) status = check_ids(llm, d, from);
        return status == HONE_OK ? close_text(d, from) : status;
    }
    hone_message labelled[2] = {{"user", r->text}, {"assistant", r->label}};
    const hone_message *messages = r->kind == HONE_RECORD_TEXT ? labelled : r->messages;
    size_t count = r->kind == HONE_RECORD_TEXT ? 2 : r->n_messages;
    status = hone_chat_encode(d->ctx, llm->tokenizer, messages, count, false, &d->tokens);
    if (status == HONE_OK) status = check_ids(llm, d, from);
    if (status == HONE_OK) status = close_example(d, from, train_on_prompt, true);
    if (d->empty && !d->why_empty[0]) explain_empty(d, messages, count, number);
    bool blank = false;
    for (size_t i = 0; i < count && !blank; i++) blank = is_assistant(&messages[i]) && is_blank(messages[i].content);
    d->blank += blank;
    return status;
}

hone_llm_data *hone_llm_data_new_opt(hone_llm *llm, const hone_records *records, const hone_llm_data_opts *opts)
{
    if (!llm) return NULL;
    hone_ctx *ctx = llm->ctx;
    if (!hone__ok(ctx) || !records) return NULL;
    int64_t context = llm->config.max_position_embeddings;
    int64_t most = opts && opts->max_seq_length ? opts->max_seq_length : HONE_MIN(context, (int64_t)1024);
    if (most < 2 || most > context) {
        hone__fail(ctx, HONE_INVALID, "max_seq_length must be 2 to %lld, the model's context length, not %lld",
                   (long long)context, (long long)most);
        return NULL;
    }
    hone_llm_data *d = hone__calloc(ctx, 1, sizeof *d);
    if (!d) return NULL;
    d->ctx = hone_ctx_retain(ctx);
    d->max_seq_length = most;
    for (size_t i = 0; i < hone_records_count(records); i++) {
        hone_status status = add_record(llm, d, hone_records_get(records, i), i + 1, opts && opts->train_on_prompt);
        if (status == HONE_OK) continue;
        if (hone__ok(ctx)) ctx->status = status; /* building: it sticks */
        hone__error_prefix(ctx, "record %zu", i + 1);
        hone_llm_data_free(d);
        return NULL;
    }
    return d;
}

hone_llm_data_counts hone_llm_data_count(const hone_llm_data *d)
{
    if (!d) return (hone_llm_data_counts){.why_empty = ""};
    return (hone_llm_data_counts){.examples = (int64_t)d->examples, .tokens = (int64_t)d->tokens.count, .trained_tokens = d->trained,
                                  .truncated = d->truncated, .empty = d->empty, .longest = d->longest, .blank = d->blank,
                                  .why_empty = d->why_empty};
}

hone_status hone_llm_data_example(const hone_llm_data *d, int64_t i, const int32_t **ids, const uint8_t **trained, int64_t *count)
{
    if (!d) return HONE_INVALID;
    if (i < 0 || i >= (int64_t)d->examples)
        return hone__fail_run(d->ctx, HONE_INVALID, "example %lld: there are %zu", (long long)i, d->examples);
    *ids = d->tokens.ids + d->start[i];
    *trained = d->tokens.trained + d->start[i];
    *count = hone__example_length(d, i);
    return HONE_OK;
}

/* ---- packing ---- */

static bool learns(const hone_llm_data *d, int64_t i)
{
    for (size_t k = d->start[i] + 1; k < d->start[i + 1]; k++)
        if (d->tokens.trained[k]) return true;
    return false;
}

void hone__packing_free(hone__packing *p)
{
    if (!p->ctx) return;
    hone__free(p->ctx, p->example);
    hone__free(p->ctx, p->row_start);
    *p = (hone__packing){0};
}

hone_status hone__pack(const hone_llm_data *d, const int64_t *order, int64_t count, int64_t length, bool one_each,
                       hone__packing *p)
{
    enum { OPEN = 64 };
    hone_ctx *ctx = d->ctx;
    *p = (hone__packing){.ctx = ctx, .length = length};
    /* row of each example first, then examples by row */
    int64_t *row = hone__alloc(ctx, (size_t)HONE_MAX(count, 1) * sizeof *row), open[OPEN], left[OPEN], n_open = 0;
    p->example = hone__alloc(ctx, (size_t)HONE_MAX(count, 1) * sizeof *p->example);
    p->row_start = hone__calloc(ctx, (size_t)count + 2, sizeof *p->row_start);
    if (!row || !p->example || !p->row_start) {
        hone__free(ctx, row);
        hone__packing_free(p);
        return ctx->status;
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t size = hone__example_length(d, order[i]), slot = 0;
        row[i] = -1;
        if (!learns(d, order[i])) continue;
        if (!one_each)
            while (slot < n_open && left[slot] < size) slot++;
        if (one_each || slot == n_open) {
            if (n_open == OPEN) { /* the fullest row is closed */
                int64_t fullest = 0;
                for (int64_t k = 1; k < n_open; k++)
                    if (left[k] < left[fullest]) fullest = k;
                n_open--;
                open[fullest] = open[n_open], left[fullest] = left[n_open];
            }
            slot = one_each ? 0 : n_open++;
            open[slot] = p->rows++;
            left[slot] = length;
        }
        row[i] = open[slot];
        left[slot] -= size;
        p->row_start[row[i] + 2]++;
    }
    for (int64_t r = 0; r <= p->rows; r++) p->row_start[r + 1] += p->row_start[r];
    for (int64_t i = 0; i < count; i++)
        if (row[i] >= 0) p->example[p->row_start[row[i] + 1]++] = order[i];
    hone__free(ctx, row);
    return HONE_OK;
}

int64_t hone__batch_length(const hone_llm_data *d, const hone__packing *p, int64_t first, int64_t rows, bool one_each)
{
    if (!one_each) return p->length;
    int64_t longest = 1;
    for (int64_t r = first; r < HONE_MIN(first + rows, p->rows); r++)
        longest = HONE_MAX(longest, hone__example_length(d, p->example[p->row_start[r]]));
    return (longest + 15) / 16 * 16;
}

void hone__batch_free(hone__batch *b)
{
    hone_tensor_free(b->tokens);
    hone_tensor_free(b->positions);
    hone_tensor_free(b->begin);
    hone_tensor_free(b->targets);
    *b = (hone__batch){0};
}

hone_status hone__batch_make(const hone_llm_data *d, const hone__packing *p, int64_t first, int64_t rows, int64_t length,
                             hone__batch *b)
{
    hone_ctx *ctx = d->ctx;
    hone_shape shape = HONE_SHAPE(rows, length);
    *b = (hone__batch){hone_tensor_new(ctx, HONE_I32, shape), hone_tensor_new(ctx, HONE_I32, shape),
                       hone_tensor_new(ctx, HONE_I32, shape), hone_tensor_new(ctx, HONE_I32, shape), 0, 0};
    if (!b->tokens || !b->positions || !b->begin || !b->targets) {
        hone__batch_free(b);
        return ctx->status;
    }
    for (int64_t r = 0; r < rows; r++) {
        int32_t *tokens = (int32_t *)b->tokens->data + r * length, *positions = (int32_t *)b->positions->data + r * length;
        int32_t *begin = (int32_t *)b->begin->data + r * length, *targets = (int32_t *)b->targets->data + r * length;
        int64_t at = 0, row = first + r;
        for (int64_t e = row < p->rows ? p->row_start[row] : 0; row < p->rows && e < p->row_start[row + 1]; e++) {
            size_t start = d->start[p->example[e]];
            int64_t size = hone__example_length(d, p->example[e]);
            for (int64_t i = 0; i < size; i++) {
                bool next = i + 1 < size && d->tokens.trained[start + (size_t)i + 1];
                tokens[at + i] = d->tokens.ids[start + (size_t)i];
                positions[at + i] = (int32_t)i;
                begin[at + i] = (int32_t)at;
                targets[at + i] = next ? d->tokens.ids[start + (size_t)i + 1] : -1;
                b->trained += next;
            }
            at += size;
        }
        b->used += at;
        for (; at < length; at++) { /* padding sees itself alone */
            begin[at] = (int32_t)at;
            targets[at] = -1;
        }
    }
    return HONE_OK;
}

hone_node *hone__llm_hidden(hone_llm *llm, hone_graph *graph, hone_node *const *batch)
{
    hone__llama_inputs inputs = {.tokens = batch[0], .positions = batch[1], .begin = batch[2]};
    hone_node *x = hone__llama_hidden(llm->model->root, graph, &inputs);
    hone_shape s = hone_node_shape(batch[0]);
    return x ? hone_reshape(x, HONE_SHAPE(s.dim[0] * s.dim[1], llm->config.hidden_size)) : NULL;
}
