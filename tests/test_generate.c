/* Generating text: one prompt, and several at once, against single ones and what transformers generates. */
#include "llm_tools.h"

/* ---- generation ------------------------------------------------------------------------------------------ */

typedef struct heard {
    char text[2000];
    size_t size;
    int pieces, most;
} heard;
static bool hear(void *user, const char *text, size_t size)
{
    heard *h = user;
    assert_true(h->size + size < sizeof h->text);
    memcpy(h->text + h->size, text, size);
    h->size += size;
    h->text[h->size] = 0;
    return ++h->pieces != h->most;
}

static void test_greedy_generation(void **state)
{
    (void)state;
    int32_t ids[64], want[64];
    int64_t n = sequence("short", ids, 64), count = integers(json_object_get(numbers, "greedy"), want, 64);
    hone_llm *llm = open_llm(LLAMA);
    hone_session *session = hone_session_new(llm, 128);
    hone_tokens out = {0};
    heard all = {0};
    assert_hone_ok(ctx, hone_generate(session, ids, n, &out, .max_tokens = count, .ignore_end = true, .on_text = hear, .user = &all));
    assert_int_equal(out.count, count);
    assert_memory_equal(out.ids, want, (size_t)count * sizeof *want);
    hone_text text = {0};
    assert_hone_ok(ctx, hone_tokenizer_decode(ctx, hone_llm_tokenizer(llm), want, (size_t)count, HONE_DECODE_SKIP_SPECIAL, &text));
    assert_non_null(strstr(all.text, "which which"));
    assert_true(all.size >= text.size); /* the stream writes U+FFFD for bytes that are no character */

    /* stop texts, wherever they begin: the text ends before the first of them, and nothing of it is heard */
    static const char *const stops[] = {"h wh", "\n\n ", "Cex which", "never"};
    for (size_t s = 0; s < HONE_ARRAY_LEN(stops); s++) {
        heard h = {0};
        const char *both[] = {"neither", stops[s]}, *at = strstr(all.text, stops[s]);
        assert_hone_ok(ctx, hone_session_rewind(session, 0));
        assert_hone_ok(ctx, hone_generate(session, ids, n, NULL, .max_tokens = count, .ignore_end = true, .stop = both, .n_stop = 2,
                                          .on_text = hear, .user = &h));
        assert_int_equal(h.size, at ? (size_t)(at - all.text) : all.size);
        assert_memory_equal(h.text, all.text, h.size);
    }
    /* the listener stops it; so does a full session */
    heard h = {.most = 3};
    out.count = 0;
    assert_hone_ok(ctx, hone_session_rewind(session, 0));
    assert_hone_ok(ctx, hone_generate(session, ids, n, &out, .ignore_end = true, .on_text = hear, .user = &h));
    assert_int_equal(h.pieces, 3);
    assert_true(out.count < (size_t)count);
    hone_session_free(session);
    session = hone_session_new(llm, n + 5);
    out.count = 0;
    assert_hone_ok(ctx, hone_generate(session, ids, n, &out, .ignore_end = true));
    assert_int_equal(out.count, 6); /* five are fed again, the sixth comes from the last logits */
    assert_int_equal(hone_session_length(session), n + 5);
    hone_cancel(ctx);
    assert_hone_ok(ctx, hone_session_rewind(session, 0));
    assert_int_equal(hone_generate(session, ids, n, NULL), HONE_CANCELLED);
    hone_clear_cancel(ctx);
    hone_tokens_free(ctx, &out);
    hone_text_free(ctx, &text);
    hone_session_free(session);
    hone_llm_free(llm);
}

/* The likeliest token of a session's logits by transformers' formula, with `n` tokens before it. */
static int32_t likeliest(const hone_session *session, int64_t v, const int32_t *ids, int64_t n, float penalty)
{
    const float *logits = hone_session_logits(session);
    int32_t best = 0;
    float most = -INFINITY;
    for (int32_t t = 0; t < v; t++) {
        bool seen = false;
        for (int64_t i = 0; i < n && !seen; i++) seen = ids[i] == t;
        float x = !seen ? logits[t] : logits[t] < 0 ? logits[t] * penalty : logits[t] / penalty;
        if (x > most) best = t, most = x;
    }
    return best;
}

static void test_repeated_tokens_are_penalized(void **state)
{
    (void)state;
    enum { COUNT = 16 };
    int32_t ids[128];
    int64_t n = sequence("short", ids, 64);
    hone_llm *llm = open_llm(LLAMA);
    hone_session *session = hone_session_new(llm, 128), *rows = hone_session_new_rows(llm, 2, 128);
    hone_tokens out = {0}, plain = {0};
    assert_hone_ok(ctx, hone_generate(session, ids, n, &plain, .max_tokens = COUNT, .ignore_end = true));
    for (int k = 0; k < 2; k++) {
        const float penalty = k ? 0.7f : 1.6f;
        out.count = 0;
        assert_hone_ok(ctx, hone_session_rewind(session, 0));
        assert_hone_ok(ctx, hone_generate(session, ids, n, &out, .max_tokens = COUNT, .ignore_end = true, .repetition_penalty = penalty));
        assert_int_equal(out.count, COUNT);
        assert_hone_ok(ctx, hone_session_rewind(session, 0));
        assert_hone_ok(ctx, hone_session_feed(session, ids, n, NULL));
        for (int64_t i = 0; i < COUNT; i++) {
            ids[n + i] = likeliest(session, hone_llm_vocabulary(llm), ids, n + i, penalty);
            assert_int_equal(out.ids[i], ids[n + i]);
            assert_hone_ok(ctx, hone_session_feed(session, &ids[n + i], 1, NULL));
        }
        if (!k) assert_memory_not_equal(out.ids, plain.ids, COUNT * sizeof *plain.ids);
        /* a prompt of which the session holds the beginning, and one of several */
        hone_tokens rest = {0};
        assert_hone_ok(ctx, hone_session_rewind(session, 2));
        assert_hone_ok(ctx, hone_generate(session, ids + 2, n - 2, &rest, .max_tokens = COUNT, .ignore_end = true, .repetition_penalty = penalty,
                                          .earlier = ids, .n_earlier = 2));
        assert_memory_equal(rest.ids, out.ids, COUNT * sizeof *rest.ids);
        hone_generation item = {.prompt = ids, .count = n};
        assert_hone_ok(ctx, hone_generate_batch(rows, &item, 1, .max_tokens = COUNT, .ignore_end = true, .repetition_penalty = penalty));
        assert_memory_equal(item.tokens.ids, out.ids, COUNT * sizeof *rest.ids);
        hone_tokens_free(ctx, &rest), hone_tokens_free(ctx, &item.tokens), hone_text_free(ctx, &item.text);
    }
    static const float wrong[] = {-1, NAN, INFINITY};
    for (size_t i = 0; i < HONE_ARRAY_LEN(wrong); i++) {
        assert_hone_ok(ctx, hone_session_rewind(session, 0));
        assert_int_equal(hone_generate(session, ids, n, NULL, .repetition_penalty = wrong[i]), HONE_INVALID);
        assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    }
    hone_tokens_free(ctx, &out), hone_tokens_free(ctx, &plain);
    hone_session_free(session), hone_session_free(rows);
    hone_llm_free(llm);
}

/* ---- several sequences at once ------------------------------------------------------------------------------ */

enum { PROMPTS = 11, MADE = 12 };

/* Prompts of 1 to 40 tokens that have nothing to do with each other. */
static void fill_prompts(int32_t ids[PROMPTS][40], int64_t counts[PROMPTS])
{
    for (int i = 0; i < PROMPTS; i++) {
        counts[i] = 1 + (i * 17) % 40;
        for (int64_t t = 0; t < counts[i]; t++) ids[i][t] = (int32_t)hone__random_below(9, (uint64_t)(i * 40 + t), VOCABULARY);
    }
}

static void test_rows_are_what_single_sessions_are(void **state)
{
    (void)state;
    enum { ROWS = 5, STEPS = 6 };
    static const struct {
        const char *path;
        hone_dtype compute;
        double tolerance;
    } cases[] = {{LLAMA, HONE_F32, 1e-4}, {LLAMA, HONE_BF16, 0.05}, {LLAMA_GGUF, HONE_F32, 1e-4}, {LLAMA_GGUF, HONE_BF16, 0.08}};
    int32_t ids[PROMPTS][40];
    int64_t counts[PROMPTS];
    fill_prompts(ids, counts);
    static float together[ROWS * VOCABULARY], alone[VOCABULARY];
    for (size_t c = 0; c < HONE_ARRAY_LEN(cases); c++) {
        hone_llm *llm = hone_llm_open(ctx, cases[c].path, .compute = cases[c].compute);
        hone_session *session = hone_session_new_rows(llm, ROWS, 64), *single = hone_session_new(llm, 64);
        assert_int_equal(hone_session_rows(session), ROWS);
        for (int64_t r = 0; r < ROWS; r++)
            assert_hone_ok(ctx, hone_session_row_feed(session, r, ids[r], counts[r], NULL));
        /* Rows 4, 2 and 0, in that order; then all of them; row 2 goes back and begins anew; row 1 becomes row 3's beginning. */
        const int32_t some[] = {4, 2, 0}, every[] = {0, 1, 2, 3, 4};
        assert_hone_ok(ctx, hone_session_step(session, 3, some, (int32_t[]){7, 8, 9}, together));
        assert_hone_ok(ctx, hone_session_row_rewind(session, 2, 0));
        assert_hone_ok(ctx, hone_session_row_feed(session, 2, ids[7], counts[7], NULL));
        assert_hone_ok(ctx, hone_session_row_copy(session, 1, 3, counts[3] - 2));
        assert_int_equal(hone_session_row_length(session, 1), counts[3] - 2);
        for (int t = 0; t < STEPS; t++)
            assert_hone_ok(ctx, hone_session_step(session, ROWS, every, (int32_t[]){10 + t, 20 + t, 30 + t, 40 + t, 50 + t}, together));
        for (int r = 0; r < ROWS; r++) {
            int from = r == 2 ? 7 : r == 1 ? 3 : r;
            assert_hone_ok(ctx, hone_session_rewind(single, 0));
            assert_hone_ok(ctx, hone_session_feed(single, ids[from], counts[from] - (r == 1 ? 2 : 0), NULL));
            if (r == 0 || r == 4) assert_hone_ok(ctx, hone_session_feed(single, &(int32_t){r ? 7 : 9}, 1, NULL));
            for (int t = 0; t < STEPS; t++) assert_hone_ok(ctx, hone_session_feed(single, &(int32_t){10 * (r + 1) + t}, 1, alone));
            assert_int_equal(hone_session_length(single), hone_session_row_length(session, r));
            double most = distance(alone, together + r * VOCABULARY, VOCABULARY);
            if (!(most <= cases[c].tolerance)) fail_msg("case %zu, row %d: logits differ by %g", c, r, most);
        }
        hone_session_free(session);
        hone_session_free(single);
        hone_llm_free(llm);
    }
}

static void test_rows_refuse_what_does_not_fit(void **state)
{
    (void)state;
    hone_llm *llm = open_llm(LLAMA);
    static float logits[3 * VOCABULARY];
    hone_session *session = hone_session_new_rows(llm, 3, 4);
    const int32_t ids[5] = {1, 2, 3, 4, 5};
    assert_int_equal(hone_session_row_feed(session, 3, ids, 1, NULL), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "no row 3 among 3"));
    assert_int_equal(hone_session_row_feed(session, -1, ids, 1, NULL), HONE_INVALID);
    assert_int_equal(hone_session_row_rewind(session, 3, 0), HONE_INVALID);
    assert_int_equal(hone_session_row_copy(session, 0, 5, 0), HONE_INVALID);
    assert_int_equal(hone_session_row_copy(session, 0, 1, 1), HONE_INVALID);
    assert_int_equal(hone_session_row_length(session, 3), -1);
    assert_int_equal(hone_session_row_feed(session, 1, ids, 5, NULL), HONE_INVALID);
    assert_hone_ok(ctx, hone_session_row_feed(session, 1, ids, 4, NULL));
    assert_int_equal(hone_session_step(session, 2, (int32_t[]){0, 1}, ids, logits), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "row 1 is full: 4 tokens"));
    assert_int_equal(hone_session_step(session, 0, (int32_t[]){0}, ids, logits), HONE_INVALID);
    assert_int_equal(hone_session_step(session, 4, (int32_t[]){0, 1, 2, 3}, ids, logits), HONE_INVALID);
    assert_int_equal(hone_session_step(session, 2, (int32_t[]){0, 0}, ids, logits), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "row 0 twice"));
    assert_int_equal(hone_session_step(session, 2, (int32_t[]){0, 3}, ids, logits), HONE_INVALID);
    assert_int_equal(hone_session_step(session, 1, (int32_t[]){0}, (int32_t[]){VOCABULARY}, logits), HONE_INVALID);
    assert_int_equal(hone_session_row_length(session, 0), 0);
    hone_generation items[2] = {{.prompt = ids, .count = 2}, {.prompt = ids, .count = 5}};
    assert_int_equal(hone_generate_batch(session, items, 2), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "prompt 2 has 5 tokens; 1 to 4 fit"));
    items[1].count = 0;
    assert_int_equal(hone_generate_batch(session, items, 2), HONE_INVALID);
    hone_session_free(session);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    assert_null(hone_session_new_rows(llm, 0, 4));
    hone_clear_error(ctx);
    assert_null(hone_session_new_rows(llm, HONE_SESSION_ROWS + 1, 4));
    assert_error(HONE_INVALID, "1 to 64 rows");
    hone_clear_error(ctx);
    hone_llm_free(llm);
}

static bool two_are_enough(void *user, int64_t i)
{
    (void)i;
    return ++*(int *)user < 2;
}

/* More prompts than rows, of different lengths and, with stop texts, ends; the same prompt twice. */
static void test_batches_generate_what_single_prompts_do(void **state)
{
    (void)state;
    int32_t ids[PROMPTS][40];
    int64_t counts[PROMPTS];
    fill_prompts(ids, counts);
    memcpy(ids[5], ids[4], sizeof ids[4]);
    counts[5] = counts[4];
    hone_llm *llm = open_llm(LLAMA);
    hone_session *single = hone_session_new(llm, 48);
    static const char *const stop[] = {"which", "e"};
    for (int64_t rows = 1; rows <= 10; rows += 3)
        for (int warm = 0; warm < 2; warm++) {
            hone_session *session = hone_session_new_rows(llm, rows, 48);
            hone_generation items[PROMPTS] = {{0}};
            hone_generate_opts o = {.struct_size = sizeof o, .max_tokens = MADE, .ignore_end = true, .stop = stop, .n_stop = 2,
                                    .sampling = {.temperature = warm ? 1.0f : 0, .seed = 3}};
            for (int i = 0; i < PROMPTS; i++) items[i] = (hone_generation){.prompt = ids[i], .count = counts[i], .seed = (uint64_t)i};
            assert_hone_ok(ctx, hone_generate_batch_opt(session, items, PROMPTS, &o));
            for (int i = 0; i < PROMPTS; i++) {
                hone_tokens out = {0};
                heard text = {0};
                o.on_text = hear, o.user = &text, o.sampling.seed = 3 + (uint64_t)i;
                assert_hone_ok(ctx, hone_session_rewind(single, 0));
                assert_hone_ok(ctx, hone_generate_opt(single, ids[i], counts[i], &out, &o));
                assert_int_equal(items[i].tokens.count, out.count);
                assert_memory_equal(items[i].tokens.ids, out.ids, out.count * sizeof *out.ids);
                assert_int_equal(items[i].text.size, text.size);
                if (text.size) assert_memory_equal(items[i].text.data, text.text, text.size);
                hone_tokens_free(ctx, &out);
                hone_tokens_free(ctx, &items[i].tokens);
                hone_text_free(ctx, &items[i].text);
            }
            hone_session_free(session);
        }
    hone_session_free(single);
    /* on_done ends it; so does cancelling, which is an error */
    hone_session *session = hone_session_new_rows(llm, 3, 48);
    hone_generation items[PROMPTS] = {{0}};
    for (int i = 0; i < PROMPTS; i++) items[i] = (hone_generation){.prompt = ids[i], .count = counts[i]};
    int done = 0;
    assert_hone_ok(ctx, hone_generate_batch(session, items, PROMPTS, .max_tokens = 4, .on_done = two_are_enough, .user = &done));
    assert_int_equal(done, 2);
    hone_cancel(ctx);
    assert_int_equal(hone_generate_batch(session, items, PROMPTS), HONE_CANCELLED);
    hone_clear_cancel(ctx);
    assert_int_equal(hone_generate_batch(session, items, 1, .on_text = hear), HONE_INVALID);
    for (int i = 0; i < PROMPTS; i++) {
        hone_tokens_free(ctx, &items[i].tokens);
        hone_text_free(ctx, &items[i].text);
    }
    hone_session_free(session);
    hone_llm_free(llm);
}

/* Opens the model and generates for three prompts in two rows, with allocation number fail_at failing. */
static hone_status try_batch(counting *c, hone_dtype compute)
{
    hone_allocator allocator = {counting_alloc, counting_free, c};
    hone_ctx *own = hone_ctx_new(.threads = 2, .allocator = allocator);
    if (!own) return HONE_MEMORY;
    hone_llm *llm = hone_llm_open(own, LLAMA_GGUF, .compute = compute);
    hone_session *session = llm ? hone_session_new_rows(llm, 2, 32) : NULL;
    const int32_t ids[] = {1, 2, 3, 4, 5, 6};
    hone_generation items[] = {{.prompt = ids, .count = 3}, {.prompt = ids, .count = 3}, {.prompt = ids + 1, .count = 5}};
    if (session) hone_generate_batch(session, items, 3, .max_tokens = 3, .ignore_end = true, .repetition_penalty = 1.1f);
    hone_status status = hone_ctx_status(own);
    for (int i = 0; i < 3; i++) {
        if (status == HONE_OK) assert_int_equal(items[i].tokens.count, 3);
        hone_tokens_free(own, &items[i].tokens);
        hone_text_free(own, &items[i].text);
    }
    hone_session_free(session);
    hone_llm_free(llm);
    hone_ctx_release(own);
    return status;
}

static void test_batches_survive_failing_allocations(void **state)
{
    (void)state;
    for (int half = 0; half < 2; half++) {
        hone_dtype compute = half ? HONE_BF16 : HONE_F32;
        counting all = {0};
        assert_int_equal(try_batch(&all, compute), HONE_OK);
        assert_int_equal(all.live, 0);
        int64_t step = HONE_MAX(all.calls / 150, (int64_t)1);
        for (int64_t at = 1; at <= all.calls; at += at > all.calls - 60 ? 1 : step + at % 3) {
            counting c = {.fail_at = at};
            hone_status status = try_batch(&c, compute);
            if (status != HONE_MEMORY) fail_msg("allocation %d of %d: %s", (int)at, (int)all.calls, hone_status_name(status));
            if (c.live) fail_msg("allocation %d failed: %d others leaked", (int)at, (int)c.live);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_greedy_generation),
        TEST(test_repeated_tokens_are_penalized),
        TEST(test_rows_are_what_single_sessions_are),
        TEST(test_rows_refuse_what_does_not_fit),
        TEST(test_batches_generate_what_single_prompts_do),
        TEST(test_batches_survive_failing_allocations),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
