/* Loss, perplexity and token accuracy over examples; accuracy of answers that are labels. */
#include "llm/data.h"
#include "llm/tokenizer.h"

#include <ctype.h>
#include <math.h>
#include <strings.h>

/* Logits come in pieces of so many rows, so that they are never whole. */
enum { PIECE = 128, ROWS = 4 };

/* batch: tokens, positions, begin, targets. outputs: sum of losses, number of right tokens. */
static void record(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    hone_llm *llm = user;
    hone_node *x = hone__llm_hidden(llm, graph, in), *head = x ? hone__llama_head(llm->model->root, graph) : NULL;
    if (!head) return;
    int64_t n = hone_node_shape(x).dim[0];
    hone_node *targets = hone_reshape(in[3], HONE_SHAPE(n)), *loss = NULL, *right = NULL;
    for (int64_t at = 0; at < n && hone__ok(graph->ctx); at += PIECE) {
        int64_t end = HONE_MIN(at + PIECE, n);
        hone_node *logits = hone_linear(hone_slice(x, 0, at, end, 1), head, NULL), *t = hone_slice(targets, 0, at, end, 1);
        hone_node *l = hone_sum(hone_softmax_cross_entropy(logits, t, NULL), HONE_ALL_AXES, false);
        hone_node *r = hone_sum(hone_cast(hone_equal(hone_argmax(logits, -1), t), HONE_F32), HONE_ALL_AXES, false);
        loss = loss ? hone_add(loss, l) : l;
        right = right ? hone_add(right, r) : r;
    }
    out[0] = loss;
    out[1] = right;
}

hone_status hone_llm_evaluate(hone_llm *llm, const hone_llm_data *data, hone_llm_result *result)
{
    if (!llm || !data) return HONE_INVALID;
    hone_ctx *ctx = llm->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    *result = (hone_llm_result){NAN, NAN, NAN, 0};
    if (!llm->score) llm->score = hone_function_new(ctx, 4, 2, record, llm, .compute = llm->compute);
    int64_t n = (int64_t)data->examples, *order = hone__alloc(ctx, (size_t)HONE_MAX(n, 1) * sizeof *order);
    hone__packing packing = {0};
    /* Rows as long as they need to be: the longest example, at least 256, a multiple of 64. */
    int64_t length = HONE_MAX((data->longest + 63) / 64 * 64, (int64_t)256);
    hone_status status = llm->score && order ? HONE_OK : ctx->status;
    for (int64_t i = 0; i < n && status == HONE_OK; i++) order[i] = i;
    if (status == HONE_OK) status = hone__pack(data, order, n, length, false, &packing);
    double loss = 0, right = 0;
    for (int64_t at = 0; at < packing.rows && status == HONE_OK; at += ROWS) {
        hone__batch batch;
        status = hone__batch_make(data, &packing, at, ROWS, length, &batch);
        if (status != HONE_OK) break;
        status = hone_function_call(llm->score, ((hone_tensor *[]){batch.tokens, batch.positions, batch.begin, batch.targets}));
        if (status == HONE_OK) {
            loss += hone_tensor_get(hone_function_output(llm->score, 0), 0);
            right += hone_tensor_get(hone_function_output(llm->score, 1), 0);
            result->tokens += batch.trained;
        }
        hone__batch_free(&batch);
    }
    hone__packing_free(&packing);
    hone__free(ctx, order);
    if (status == HONE_OK && result->tokens) {
        result->loss = loss / (double)result->tokens;
        result->perplexity = exp(result->loss);
        result->token_accuracy = right / (double)result->tokens;
    }
    return status;
}

/* ---- labels ---- */

/* So many records are worked on together: each step reads the weights once for all of them. */
enum { TOGETHER = 8 };

typedef struct labelled {
    hone_llm *llm;
    hone_session *session; /* a row a record */
    int64_t n;
    const char *const *labels;
    hone_tokens *ids; /* of each label; with the end of the turn where one label begins another */
    float *logits, *first; /* [TOGETHER, vocabulary]; first: after the prompts */
    int64_t *confusion; /* [n, n]: right label, chosen label */
    int64_t count;      /* records at work, and of each: */
    int64_t length[TOGETHER], right[TOGETHER], best[TOGETHER];
    double score[TOGETHER], highest[TOGETHER];
    hone_text text[TOGETHER];
} labelled;

/* log softmax(logits)[id] */
static double log_probability(const float *logits, int64_t n, int32_t id)
{
    double most = logits[0], sum = 0;
    for (int64_t i = 1; i < n; i++) most = HONE_MAX(most, (double)logits[i]);
    for (int64_t i = 0; i < n; i++) sum += exp((double)logits[i] - most);
    return (double)logits[id] - most - log(sum);
}

static void rewind_rows(labelled *l)
{
    for (int64_t r = 0; r < l->count; r++) hone_session_row_rewind(l->session, r, l->length[r]);
}

/* The label's logarithmic likelihood after each prompt. The session holds the prompts, before and afterwards. */
static hone_status likelihoods(labelled *l, const hone_tokens *label)
{
    int64_t v = l->llm->config.vocab_size;
    int32_t rows[TOGETHER], ids[TOGETHER];
    hone_status status = HONE_OK;
    for (size_t i = 0; i < label->count && status == HONE_OK; i++) {
        for (int64_t r = 0; r < l->count; r++) rows[r] = (int32_t)r, ids[r] = label->ids[i ? i - 1 : 0];
        if (i) status = hone_session_step(l->session, l->count, rows, ids, l->logits);
        for (int64_t r = 0; r < l->count && status == HONE_OK; r++)
            l->score[r] = (i ? l->score[r] : 0) + log_probability((i ? l->logits : l->first) + r * v, v, label->ids[i]);
    }
    rewind_rows(l);
    return status;
}

static bool same_answer(const char *text, size_t size, const char *label)
{
    while (size && isspace((unsigned char)*text)) text++, size--;
    while (size && (isspace((unsigned char)text[size - 1]) || text[size - 1] == '.')) size--;
    return size == strlen(label) && !strncasecmp(text, label, size);
}

/* The greedy answers, from the logits after the prompts; no longer than the longest label could be. */
static hone_status generate(labelled *l, int64_t most)
{
    hone_ctx *ctx = l->llm->ctx;
    int64_t v = l->llm->config.vocab_size, n = l->count;
    int32_t rows[TOGETHER], ids[TOGETHER];
    hone_sampler *greedy = hone_sampler_new(ctx);
    hone_status status = greedy ? HONE_OK : ctx->status;
    memcpy(l->logits, l->first, (size_t)(n * v) * sizeof(float));
    for (int64_t r = 0; r < n; r++) rows[r] = (int32_t)r, l->text[r].size = 0;
    for (int64_t i = 0; i < most && n && status == HONE_OK; i++) {
        int64_t left = 0;
        for (int64_t k = 0; k < n && status == HONE_OK; k++) {
            int32_t id;
            status = hone_sampler_next(greedy, l->logits + k * v, v, (uint64_t)i, &id);
            if (status != HONE_OK || hone_tokenizer_is_end(l->llm->tokenizer, id)) continue;
            status = hone_tokenizer_decode(ctx, l->llm->tokenizer, &id, 1, HONE_DECODE_SKIP_SPECIAL, &l->text[rows[k]]);
            ids[left] = id;
            rows[left++] = rows[k];
        }
        n = left;
        if (status == HONE_OK && n && i + 1 < most) status = hone_session_step(l->session, n, rows, ids, l->logits);
    }
    hone_sampler_free(greedy);
    return status;
}

/* Reads record i's prompt into row r. */
static hone_status read_record(labelled *l, const hone_record *record, int64_t i, int64_t r, hone_tokens *prompt)
{
    hone_ctx *ctx = l->llm->ctx;
    hone_message user = {"user", record->text};
    bool chat = record->kind == HONE_RECORD_MESSAGES;
    const char *answer = record->label;
    size_t count = chat ? record->n_messages : 1;
    if (chat && count && !strcmp(record->messages[count - 1].role, "assistant")) answer = record->messages[--count].content;
    l->right[r] = l->best[r] = -1;
    l->highest[r] = -INFINITY;
    for (int64_t k = 0; k < l->n; k++)
        if (answer && same_answer(answer, strlen(answer), l->labels[k])) l->right[r] = k;
    if (l->right[r] < 0)
        return hone__fail_run(ctx, HONE_INVALID, "record %lld: its answer '%.40s' is none of the labels", (long long)i + 1,
                              answer ? answer : "(none)");
    prompt->count = 0;
    hone_status status = hone_chat_encode(ctx, l->llm->tokenizer, chat ? record->messages : &user, count, true, prompt);
    if (status == HONE_OK) status = hone_session_row_rewind(l->session, r, 0);
    if (status == HONE_OK)
        status = hone_session_row_feed(l->session, r, prompt->ids, (int64_t)prompt->count, l->first + r * l->llm->config.vocab_size);
    l->length[r] = (int64_t)prompt->count;
    return status;
}

/* Records i to i + l->count - 1. */
static hone_status some_records(labelled *l, const hone_records *records, int64_t i, hone_llm_labels *result, hone_tokens *prompt)
{
    hone_status status = HONE_OK;
    int64_t most = 0;
    for (int64_t r = 0; r < l->count && status == HONE_OK; r++)
        status = read_record(l, hone_records_get(records, (size_t)(i + r)), i + r, r, prompt);
    for (int64_t k = 0; k < l->n && status == HONE_OK; k++) {
        most = HONE_MAX(most, (int64_t)l->ids[k].count + 1); /* and the end of the turn */
        status = likelihoods(l, &l->ids[k]);
        for (int64_t r = 0; r < l->count; r++)
            if (l->score[r] > l->highest[r]) l->highest[r] = l->score[r], l->best[r] = k;
    }
    if (status == HONE_OK) status = generate(l, most);
    if (status != HONE_OK) return status;
    for (int64_t r = 0; r < l->count; r++) {
        const hone_text *text = &l->text[r];
        result->generated_accuracy += text->size && same_answer(text->data, text->size, l->labels[l->right[r]]);
        if (l->best[r] >= 0) l->confusion[l->right[r] * l->n + l->best[r]]++;
        result->examples++;
    }
    return HONE_OK;
}

static void finish(const labelled *l, hone_llm_labels *result)
{
    double right = 0, f1 = 0;
    int64_t present = 0;
    for (int64_t k = 0; k < l->n; k++) {
        int64_t hit = l->confusion[k * l->n + k], is = 0, said = 0;
        for (int64_t j = 0; j < l->n; j++) is += l->confusion[k * l->n + j], said += l->confusion[j * l->n + k];
        right += (double)hit;
        present += is + said > 0;
        f1 += is + said ? 2.0 * (double)hit / (double)(is + said) : 0; /* 2 TP / (2 TP + FP + FN) */
    }
    double n = (double)HONE_MAX(result->examples, 1);
    result->likelihood_accuracy = right / n;
    result->generated_accuracy /= n;
    result->macro_f1 = present ? f1 / (double)present : 0;
}

static int64_t longest_prompt(const hone_records *records)
{
    size_t most = 0;
    for (size_t i = 0; i < hone_records_count(records); i++) {
        const hone_record *r = hone_records_get(records, i);
        size_t bytes = r->text_length;
        for (size_t m = 0; m < r->n_messages; m++) bytes += strlen(r->messages[m].content) + 64;
        most = HONE_MAX(most, bytes);
    }
    return (int64_t)most + 512; /* a token is at least a byte; the template adds its own */
}

static bool begins(const hone_tokens *a, const hone_tokens *b)
{
    return a->count <= b->count && !memcmp(a->ids, b->ids, a->count * sizeof *a->ids);
}

/* The labels' tokens. Labels of which none begins another are told apart by their own tokens alone: no need to ask how
   likely the answer ends there. */
static hone_status encode_labels(labelled *l)
{
    hone_ctx *ctx = l->llm->ctx;
    int32_t end = hone_tokenizer_special(l->llm->tokenizer, HONE_SPECIAL_EOT);
    hone_status status = HONE_OK;
    bool ambiguous = false;
    for (int64_t k = 0; k < l->n && status == HONE_OK; k++) {
        if (!l->labels[k][0]) return hone__fail_run(ctx, HONE_INVALID, "label %lld is empty", (long long)k + 1);
        status = hone_tokenizer_encode(ctx, l->llm->tokenizer, l->labels[k], strlen(l->labels[k]), 0, &l->ids[k]);
        if (status == HONE_OK && !l->ids[k].count)
            return hone__fail_run(ctx, HONE_INVALID, "label '%.40s' has no tokens", l->labels[k]);
    }
    for (int64_t a = 0; a < l->n && status == HONE_OK; a++)
        for (int64_t b = 0; b < l->n; b++) ambiguous |= a != b && begins(&l->ids[a], &l->ids[b]);
    for (int64_t k = 0; k < l->n && status == HONE_OK && ambiguous && end >= 0; k++)
        status = hone__tokens_add(ctx, &l->ids[k], end);
    return status;
}

hone_status hone_llm_classify(hone_llm *llm, const hone_records *records, int64_t n_labels, const char *const *labels,
                              hone_llm_labels *result, bool (*progress)(void *user, int64_t done, int64_t all), void *user)
{
    if (!llm) return HONE_INVALID;
    hone_ctx *ctx = llm->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    *result = (hone_llm_labels){0};
    if (n_labels < 2 || n_labels > 1000) return hone__fail_run(ctx, HONE_INVALID, "classify: 2 to 1000 labels");
    labelled l = {.llm = llm, .n = n_labels, .labels = labels};
    size_t v = (size_t)llm->config.vocab_size;
    l.session = hone_session_new_rows(llm, TOGETHER, HONE_MIN(llm->config.max_position_embeddings, longest_prompt(records)));
    l.ids = hone__calloc(ctx, (size_t)n_labels, sizeof *l.ids);
    l.logits = hone__alloc(ctx, TOGETHER * v * sizeof(float));
    l.first = hone__alloc(ctx, TOGETHER * v * sizeof(float));
    l.confusion = hone__calloc(ctx, (size_t)(n_labels * n_labels), sizeof *l.confusion);
    hone_status status = l.session && l.ids && l.logits && l.first && l.confusion ? HONE_OK : ctx->status;
    if (status == HONE_OK) status = encode_labels(&l);
    hone_tokens prompt = {0};
    int64_t all = (int64_t)hone_records_count(records);
    for (int64_t i = 0; i < all && status == HONE_OK; i += l.count) {
        l.count = HONE_MIN(all - i, (int64_t)TOGETHER);
        status = some_records(&l, records, i, result, &prompt);
        if (hone_cancelled(ctx) || (status == HONE_OK && progress && !progress(user, i + l.count, all)))
            status = hone__fail_run(ctx, HONE_CANCELLED, "cancelled");
    }
    if (status == HONE_OK) finish(&l, result);
    hone_tokens_free(ctx, &prompt);
    for (int r = 0; r < TOGETHER; r++) hone_text_free(ctx, &l.text[r]);
    for (int64_t k = 0; l.ids && k < n_labels; k++) hone_tokens_free(ctx, &l.ids[k]);
    hone__free(ctx, l.ids);
    hone__free(ctx, l.logits);
    hone__free(ctx, l.first);
    hone__free(ctx, l.confusion);
    hone_session_free(l.session);
    return status;
}
