/* Generating text: tokens chosen from logits, decoded as they come, until something ends them. */
#include "llm/llm.h"
#include "llm/tokenizer.h"

#include <math.h>

typedef struct generation {
    hone_llm *llm;
    const hone_generate_opts *o;
    hone_sampler *sampler;
    hone_tokens *out; /* NULL: not wanted */
    hone_decode_stream stream;
    hone_text text;   /* decoded and not yet handed out: it may be the beginning of a stop string */
    hone_text *kept;  /* where text is handed out to; NULL: to on_text */
    size_t longest;   /* stop string */
    int64_t left;     /* tokens that may still be generated */
    bool *seen;       /* [V] was the token there? NULL: no penalty is asked for */
    float *logits;    /* [V] with the penalty */
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
    bool go_on = !ready || g->kept || !g->o->on_text || g->o->on_text(g->o->user, g->text.data, ready);
    if (ready && g->kept) go_on = hone__text_add(g->llm->ctx, g->kept, g->text.data, ready);
    if (ready) memmove(g->text.data, g->text.data + ready, keep);
    g->text.size = keep;
    return go_on && !g->stopped;
}

/* ---- the penalty for repetition ---- */

static bool is_penalized(const hone_generate_opts *o) { return o->repetition_penalty != 0 && o->repetition_penalty != 1; }

static void see(generation *g, const int32_t *ids, int64_t count)
{
    for (int64_t i = 0; g->seen && i < count; i++)
        if (ids[i] >= 0 && ids[i] < g->llm->config.vocab_size) g->seen[ids[i]] = true; /* others are refused when they are fed */
}

static const float *penalize(const generation *g, const float *logits)
{
    const float penalty = g->o->repetition_penalty;
    for (int64_t i = 0; i < g->llm->config.vocab_size; i++)
        g->logits[i] = !g->seen[i] ? logits[i] : logits[i] > 0 ? logits[i] / penalty : logits[i] * penalty;
    return g->logits;
}

static hone_status prepare_penalty(generation *g)
{
    hone_ctx *ctx = g->llm->ctx;
    const float penalty = g->o->repetition_penalty;
    if (!(penalty >= 0) || isinf(penalty))
        return hone__fail_run(ctx, HONE_INVALID, "generate: repetition_penalty is %g; more than 0 is allowed", (double)penalty);
    if (!is_penalized(g->o)) return HONE_OK;
    size_t n = (size_t)g->llm->config.vocab_size;
    g->seen = hone__calloc(ctx, n, sizeof *g->seen);
    g->logits = hone__alloc(ctx, n * sizeof *g->logits);
    if (!g->seen || !g->logits) return ctx->status;
    see(g, g->o->earlier, g->o->n_earlier);
    return HONE_OK;
}

/* ---- one sequence ---- */

static hone_status begin(generation *g, hone_llm *llm, const hone_generate_opts *o, uint64_t seed)
{
    hone_sampler_opts sampling = o->sampling;
    sampling.seed = seed;
    *g = (generation){.llm = llm, .o = o, .left = o->max_tokens ? o->max_tokens : 256};
    for (size_t i = 0; i < o->n_stop; i++) g->longest = HONE_MAX(g->longest, strlen(o->stop[i]));
    g->sampler = hone_sampler_new_opt(llm->ctx, &sampling);
    return g->sampler ? prepare_penalty(g) : llm->ctx->status;
}

/* Chooses the token at `position` from the logits before it; *go_on: it is to be fed, for another one. */
static hone_status choose(generation *g, const float *logits, int64_t position, int32_t *id, bool *go_on)
{
    hone_ctx *ctx = g->llm->ctx;
    *go_on = false;
    if (g->seen) logits = penalize(g, logits);
    hone_status status = hone_sampler_next(g->sampler, logits, g->llm->config.vocab_size, (uint64_t)position, id);
    if (status != HONE_OK || (!g->o->ignore_end && hone_tokenizer_is_end(g->llm->tokenizer, *id))) return status;
    see(g, id, 1);
    if (g->out && hone__tokens_add(ctx, g->out, *id) != HONE_OK) return ctx->status;
    status = hone_decode_stream_add(ctx, g->llm->tokenizer, *id, HONE_DECODE_SKIP_SPECIAL, &g->stream, &g->text);
    if (status == HONE_OK) *go_on = hand_out(g, false) && --g->left > 0;
    return hone__ok(ctx) ? status : ctx->status;
}

/* Hands out what is left, unless the work has failed, and frees what the generation holds. */
static void end(generation *g, hone_status status)
{
    hone_ctx *ctx = g->llm->ctx;
    if ((status == HONE_OK || status == HONE_CANCELLED) && !g->stopped &&
        hone_decode_stream_end(ctx, &g->stream, &g->text) == HONE_OK)
        hand_out(g, true);
    hone_text_free(ctx, &g->text);
    hone_sampler_free(g->sampler);
    hone__free(ctx, g->seen);
    hone__free(ctx, g->logits);
}

static const hone_generate_opts none = {0};

hone_status hone_generate_opt(hone_session *s, const int32_t *prompt, int64_t count, hone_tokens *out,
                              const hone_generate_opts *opts)
{
    if (!s) return HONE_INVALID;
    hone_ctx *ctx = s->ctx;
    hone_llm *llm = s->llm;
    if (!hone__ok(ctx)) return ctx->status;
    generation g;
    hone_status status = begin(&g, llm, opts ? opts : &none, opts ? opts->sampling.seed : 0);
    g.out = out;
    see(&g, prompt, count);
    if (status == HONE_OK) status = hone_session_feed(s, prompt, count, NULL);
    bool go_on = true;
    for (int32_t id; status == HONE_OK && go_on;) {
        status = choose(&g, hone_session_logits(s), s->length[0], &id, &go_on);
        if (status != HONE_OK || !go_on || s->length[0] == s->capacity) break;
        if (hone_cancelled(ctx)) status = hone__fail_run(ctx, HONE_CANCELLED, "cancelled");
        if (status == HONE_OK) status = hone_session_feed(s, &id, 1, NULL);
    }
    end(&g, status);
    return status;
}

/* ---- several prompts ---- */

typedef struct row {
    generation g;
    int64_t item; /* -1: the row is free */
    int32_t next; /* the token to be fed */
} row;

typedef struct batch {
    hone_session *s;
    hone_generation *items;
    int64_t n, begun;
    const hone_generate_opts *o;
    row *rows;      /* [session's rows] */
    float *first;   /* [vocabulary]: after the prompt that was read last, which is in row `last`; -1: in none */
    int64_t last;
    bool stop;      /* on_done said so */
} batch;

/* The row's token was chosen, or could not be. */
static hone_status settle(batch *b, int64_t r, hone_status status, bool go_on)
{
    row *w = &b->rows[r];
    if (status == HONE_OK && go_on && b->s->length[r] < b->s->capacity) return HONE_OK;
    end(&w->g, status);
    int64_t item = w->item;
    w->item = -1;
    if (status != HONE_OK || !hone__ok(b->s->ctx)) return hone__ok(b->s->ctx) ? status : b->s->ctx->status;
    if (b->o->on_done && !b->o->on_done(b->o->user, item)) b->stop = true;
    return HONE_OK;
}

static bool same_prompt(const hone_generation *a, const hone_generation *b)
{
    return a->count == b->count && !memcmp(a->prompt, b->prompt, (size_t)a->count * sizeof *a->prompt);
}

/* The next prompt into free row r; the same prompt as the one before is not read again. */
static hone_status begin_item(batch *b, int64_t r)
{
    row *w = &b->rows[r];
    int64_t i = b->begun++;
    hone_generation *item = &b->items[i];
    hone_status status = begin(&w->g, b->s->llm, b->o, b->o->sampling.seed + item->seed);
    w->item = i;
    w->g.out = &item->tokens;
    w->g.kept = &item->text;
    see(&w->g, item->prompt, item->count);
    if (status == HONE_OK && i && b->last >= 0 && same_prompt(item, item - 1)) {
        status = hone_session_row_copy(b->s, r, b->last, item->count);
    } else if (status == HONE_OK) {
        b->last = -1;
        status = hone_session_row_rewind(b->s, r, 0);
        if (status == HONE_OK) status = hone_session_row_feed(b->s, r, item->prompt, item->count, b->first);
    }
    b->last = r; /* whose cache begins with the prompt, whatever is appended */
    bool go_on = false;
    if (status == HONE_OK) status = choose(&w->g, b->first, item->count, &w->next, &go_on);
    return settle(b, r, status, go_on);
}

/* One token of every row that is at work. */
static hone_status step(batch *b, int64_t *active)
{
    int32_t rows[HONE_SESSION_ROWS], ids[HONE_SESSION_ROWS];
    int64_t n = 0, v = b->s->llm->config.vocab_size;
    for (int64_t r = 0; r < b->s->rows; r++)
        if (b->rows[r].item >= 0) rows[n] = (int32_t)r, ids[n++] = b->rows[r].next;
    *active = n;
    if (!n) return HONE_OK;
    if (hone_cancelled(b->s->ctx)) return hone__fail_run(b->s->ctx, HONE_CANCELLED, "cancelled");
    hone_status status = hone_session_step(b->s, n, rows, ids, NULL);
    const float *logits = hone_session_logits(b->s);
    for (int64_t i = 0; i < n && status == HONE_OK && !b->stop; i++) {
        row *w = &b->rows[rows[i]];
        bool go_on;
        status = choose(&w->g, logits + i * v, b->s->length[rows[i]], &w->next, &go_on);
        status = settle(b, rows[i], status, go_on);
    }
    return status;
}

static hone_status run_batch(batch *b)
{
    hone_status status = HONE_OK;
    for (int64_t active = 1; status == HONE_OK && !b->stop && (active || b->begun < b->n);) {
        for (int64_t r = 0; r < b->s->rows && status == HONE_OK && b->begun < b->n && !b->stop; r++)
            while (b->rows[r].item < 0 && status == HONE_OK && b->begun < b->n && !b->stop) status = begin_item(b, r);
        if (status == HONE_OK && !b->stop) status = step(b, &active);
    }
    for (int64_t r = 0; r < b->s->rows; r++)
        if (b->rows[r].item >= 0) end(&b->rows[r].g, status == HONE_OK ? HONE_CANCELLED : status);
    return status;
}

hone_status hone_generate_batch_opt(hone_session *s, hone_generation *items, int64_t n, const hone_generate_opts *opts)
{
    if (!s) return HONE_INVALID;
    hone_ctx *ctx = s->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    batch b = {.s = s, .items = items, .n = n, .o = opts ? opts : &none, .last = -1};
    if (b.o->on_text) return hone__fail_run(ctx, HONE_INVALID, "generate: on_text is for one prompt alone");
    for (int64_t i = 0; i < n; i++)
        if (items[i].count < 1 || items[i].count > s->capacity)
            return hone__fail_run(ctx, HONE_INVALID, "generate: prompt %lld has %lld tokens; 1 to %lld fit", (long long)i + 1,
                                  (long long)items[i].count, (long long)s->capacity);
    size_t v = (size_t)s->llm->config.vocab_size;
    b.rows = hone__calloc(ctx, (size_t)s->rows, sizeof *b.rows);
    b.first = hone__alloc(ctx, v * sizeof *b.first);
    hone_status status = b.rows && b.first ? HONE_OK : ctx->status;
    for (int64_t r = 0; r < s->rows && b.rows; r++) b.rows[r].item = -1;
    if (status == HONE_OK) status = run_batch(&b);
    hone__free(ctx, b.rows);
    hone__free(ctx, b.first);
    return status;
}
