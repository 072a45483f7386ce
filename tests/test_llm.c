/* Language models against transformers: logits, sessions, data, evaluation. Generation: test_generate.c; files:
   test_llm_files.c. */
#include "llm_tools.h"

#include "llm/data.h"
#include "llm/tokenizer.h"

static void assert_golden_logits(const char *path, double tolerance)
{
    int32_t ids[64];
    hone_llm *llm = open_llm(path);
    assert_logits(llm, ids, sequence("short", ids, 64), "logits.short", tolerance);
    assert_logits(llm, ids, sequence("long", ids, 64), "logits.long", tolerance);
    hone_llm_free(llm);
}

/* ---- opening -------------------------------------------------------------------------------------------- */

static void test_logits_are_those_of_transformers(void **state)
{
    (void)state;
    assert_golden_logits(LLAMA, 1e-4);
    assert_golden_logits(LLAMA_GGUF, 1e-4);
}

static void test_both_files_are_the_same_model(void **state)
{
    (void)state;
    int32_t ids[64];
    int64_t n = sequence("long", ids, 64);
    hone_llm *one = open_llm(LLAMA), *two = open_llm(LLAMA_GGUF);
    hone_tensor *a = hone_llm_logits(one, ids, n), *b = hone_llm_logits(two, ids, n);
    assert_true(distance(hone_tensor_data(a), hone_tensor_data(b), n * VOCABULARY) <= 1e-5);
    hone_tensor_free(a);
    hone_tensor_free(b);
    hone_model_build(hone_llm_model(one));
    hone_model_build(hone_llm_model(two));
    size_t params = hone_model_param_count(hone_llm_model(one));
    assert_int_equal(params, 20);
    assert_int_equal(params, hone_model_param_count(hone_llm_model(two)));
    for (size_t i = 0; i < params; i++) {
        const hone_param *p = hone_model_param(hone_llm_model(one), i);
        const hone_param *q = hone_model_find_param(hone_llm_model(two), hone_param_name(p));
        assert_non_null(q);
        static float v[VOCABULARY * HIDDEN], w[VOCABULARY * HIDDEN];
        int64_t count = hone_shape_count(hone_param_shape(p));
        assert_hone_ok(ctx, hone_param_read(p, count, v));
        assert_hone_ok(ctx, hone_param_read(q, count, w));
        if (memcmp(v, w, (size_t)count * sizeof *v)) fail_msg("'%s' differs", hone_param_name(p));
    }
    hone_llm_description d = hone_llm_describe(two);
    assert_string_equal(d.family, "llama");
    assert_int_equal(d.layers, 2);
    assert_int_equal(d.kv_heads, 2);
    assert_int_equal(d.vocabulary, VOCABULARY);
    assert_int_equal(d.parameters, hone_llm_describe(one).parameters);
    assert_int_equal(d.main_dtype, HONE_Q8_0);
    hone_llm_free(one);
    hone_llm_free(two);
}

static void test_qwen2_has_biases_and_a_head_of_its_own(void **state)
{
    (void)state;
    int32_t ids[64];
    hone_llm *llm = open_llm(QWEN_GGUF);
    assert_logits(llm, ids, sequence("short", ids, 64), "logits.qwen2", 1e-4);
    assert_hone_ok(ctx, hone_llm_export(llm, scratch("qwen2"), .format = HONE_EXPORT_SAFETENSORS));
    hone_llm_free(llm);
    llm = open_llm(scratch("qwen2"));
    assert_logits(llm, ids, sequence("short", ids, 64), "logits.qwen2", 1e-4);
    assert_hone_ok(ctx, hone_llm_export(llm, scratch("qwen2.gguf"), .format = HONE_EXPORT_GGUF));
    hone_llm_free(llm);
    llm = open_llm(scratch("qwen2.gguf"));
    assert_logits(llm, ids, sequence("short", ids, 64), "logits.qwen2", 1e-4);
    hone_llm_free(llm);
}

static void test_llama3_stretches_positions(void **state)
{
    (void)state;
    int32_t ids[64];
    json_t *rope = json_deep_copy(json_object_get(numbers, "llama3_rope"));
    hone_llm *llm = open_llm(changed_llama("llama3", (change){.key = "rope_parameters", .value = rope}));
    assert_logits(llm, ids, sequence("long", ids, 64), "logits.llama3", 1e-4);
    assert_hone_ok(ctx, hone_llm_export(llm, scratch("llama3.gguf"), .format = HONE_EXPORT_GGUF));
    hone_llm_free(llm);
    llm = open_llm(scratch("llama3.gguf"));
    assert_logits(llm, ids, sequence("long", ids, 64), "logits.llama3", 1e-4);
    /* from there to a folder: the factors have no place in config.json, so it must not look as if they had */
    hone_status status = hone_llm_export(llm, scratch("llama3-again"));
    if (status == HONE_OK) {
        hone_llm_free(llm);
        llm = open_llm(scratch("llama3-again"));
        assert_logits(llm, ids, sequence("long", ids, 64), "logits.llama3", 1e-4);
    } else {
        assert_int_equal(status, HONE_UNSUPPORTED);
        assert_non_null(strstr(hone_error(ctx), "rope"));
    }
    hone_llm_free(llm);
}

static void test_bf16_stays_near(void **state)
{
    (void)state;
    int32_t ids[64];
    hone_llm *llm = hone_llm_open(ctx, LLAMA, .compute = HONE_BF16);
    assert_int_equal(hone_llm_compute(llm), HONE_BF16);
    assert_logits(llm, ids, sequence("long", ids, 64), "logits.long", 0.25); /* of values up to 8 */
    hone_llm_free(llm);
}

static void test_wrong_calls_are_refused(void **state)
{
    (void)state;
    hone_llm *llm = open_llm(LLAMA);
    int32_t ids[300] = {0};
    assert_null(hone_llm_logits(llm, ids, 0));
    assert_non_null(strstr(hone_error(ctx), "1 to 256 tokens"));
    assert_null(hone_llm_logits(llm, ids, 257));
    ids[3] = VOCABULARY;
    assert_null(hone_llm_logits(llm, ids, 5));
    assert_non_null(strstr(hone_error(ctx), "token 3 is 803; the vocabulary has 803"));
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    hone_llm_free(llm);
}

/* ---- sessions -------------------------------------------------------------------------------------------- */

/* The last position's logits after feeding `count` tokens in pieces of `piece`, against the whole sequence's. */
static void feed_in_pieces(hone_session *session, const int32_t *ids, int64_t count, int64_t piece, const float *whole)
{
    static float logits[VOCABULARY];
    for (int64_t from = hone_session_length(session), n; from < count; from += n) {
        n = HONE_MIN(piece, count - from);
        assert_hone_ok(ctx, hone_session_feed(session, ids + from, n, logits));
        double d = distance(logits, whole + (from + n - 1) * VOCABULARY, VOCABULARY);
        if (!(d <= 1e-4)) fail_msg("pieces of %lld, token %lld: %g away", (long long)piece, (long long)(from + n), d);
    }
    assert_int_equal(hone_session_length(session), count);
}

static void test_sessions_equal_whole_sequences(void **state)
{
    (void)state;
    int32_t ids[64];
    int64_t n = sequence("long", ids, 64), count;
    const float *whole = golden_values("logits.long", &count);
    const char *const paths[] = {LLAMA, LLAMA_GGUF};
    for (int p = 0; p < 2; p++) {
        hone_llm *llm = open_llm(paths[p]);
        static const int64_t pieces[] = {1, 9, 40, 3, 8, 17};
        for (size_t i = 0; i < (p ? 2 : HONE_ARRAY_LEN(pieces)); i++) {
            hone_session *session = hone_session_new(llm, i % 2 ? 64 : n); /* with and without room for padding */
            feed_in_pieces(session, ids, n, pieces[i], whole);
            assert_hone_ok(ctx, hone_session_rewind(session, 11));
            feed_in_pieces(session, ids, n, 5, whole);
            assert_hone_ok(ctx, hone_session_rewind(session, 0));
            feed_in_pieces(session, ids, n, 13, whole);
            hone_session_free(session);
        }
        hone_llm_free(llm);
    }
}

static void test_long_prompts_are_fed_in_chunks(void **state)
{
    (void)state;
    enum { N = 1100 };
    hone_llm *llm = open_llm(changed_llama("long", (change){.key = "max_position_embeddings", .value = json_integer(2048)}));
    static int32_t ids[N];
    static float logits[VOCABULARY];
    for (int i = 0; i < N; i++) ids[i] = (int32_t)hone__random_below(5, (uint64_t)i, VOCABULARY);
    hone_tensor *whole = hone_llm_logits(llm, ids, N);
    hone_session *session = hone_session_new(llm, N);
    assert_hone_ok(ctx, hone_session_feed(session, ids, N, logits));
    assert_true(distance(logits, (float *)hone_tensor_data(whole) + (N - 1) * VOCABULARY, VOCABULARY) <= 2e-4);
    hone_session_free(session);
    hone_tensor_free(whole);
    hone_llm_free(llm);
}

static void test_sessions_refuse_what_does_not_fit(void **state)
{
    (void)state;
    hone_llm *llm = open_llm(LLAMA);
    int32_t ids[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    hone_session *session = hone_session_new(llm, 6);
    assert_int_equal(hone_session_feed(session, ids, 7, NULL), HONE_INVALID);
    assert_int_equal(hone_session_feed(session, ids, 0, NULL), HONE_INVALID);
    assert_hone_ok(ctx, hone_session_feed(session, ids, 6, NULL));
    assert_int_equal(hone_session_feed(session, ids, 1, NULL), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "6 of 6 are taken"));
    assert_int_equal(hone_session_rewind(session, 7), HONE_INVALID);
    assert_int_equal(hone_session_rewind(session, -1), HONE_INVALID);
    ids[0] = -1;
    assert_hone_ok(ctx, hone_session_rewind(session, 2));
    assert_int_equal(hone_session_feed(session, ids, 1, NULL), HONE_INVALID);
    assert_int_equal(hone_session_length(session), 2);
    hone_session_free(session);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    assert_null(hone_session_new(llm, 257));
    assert_error(HONE_INVALID, "1 to 256 tokens");
    hone_clear_error(ctx);
    hone_llm_free(llm);
}

/* ---- data ------------------------------------------------------------------------------------------------ */

static hone_llm_data *golden_data(hone_llm *llm, int64_t max_seq_length)
{
    hone_records *records = hone_records_load(ctx, GOLDEN "/train.jsonl", NULL);
    hone_llm_data *data = hone_llm_data_new(llm, records, .max_seq_length = max_seq_length);
    hone_records_free(records);
    if (!data) fail_msg("%s", hone_error(ctx));
    return data;
}

static void test_examples_are_those_of_transformers(void **state)
{
    (void)state;
    hone_llm *llm = open_llm(LLAMA);
    hone_llm_data *data = golden_data(llm, 256);
    const json_t *ids = json_object_get(numbers, "ids"), *trained = json_object_get(numbers, "trained");
    hone_llm_data_counts c = hone_llm_data_count(data);
    assert_int_equal(c.examples, json_array_size(ids));
    assert_int_equal(c.trained_tokens, (int64_t)number("trained_tokens"));
    assert_int_equal(c.truncated, 0);
    assert_int_equal(c.empty, 0);
    for (int64_t i = 0; i < c.examples; i++) {
        const int32_t *have;
        const uint8_t *flags;
        int64_t n;
        int32_t want[256], mask[256];
        assert_hone_ok(ctx, hone_llm_data_example(data, i, &have, &flags, &n));
        assert_int_equal(n, integers(json_array_get(ids, (size_t)i), want, 256));
        integers(json_array_get(trained, (size_t)i), mask, 256);
        assert_memory_equal(have, want, (size_t)n * sizeof *want);
        for (int64_t k = 0; k < n; k++) assert_int_equal(flags[k], mask[k]);
    }
    assert_int_equal(hone_llm_data_example(data, c.examples, &(const int32_t *){0}, &(const uint8_t *){0}, &(int64_t){0}), HONE_INVALID);
    hone_llm_data_free(data);

    data = golden_data(llm, 80);
    c = hone_llm_data_count(data);
    assert_true(c.truncated > 5 && c.longest == 80);
    assert_true(c.empty > 0); /* their answer is cut off */
    hone_llm_data_free(data);
    hone_records *records = hone_records_load(ctx, GOLDEN "/train.jsonl", NULL);
    assert_null(hone_llm_data_new(llm, records, .max_seq_length = 257));
    assert_error(HONE_INVALID, "max_seq_length must be 2 to 256");
    hone_clear_error(ctx);
    data = hone_llm_data_new(llm, records, .max_seq_length = 256, .train_on_prompt = true);
    c = hone_llm_data_count(data);
    assert_int_equal(c.trained_tokens, c.tokens - c.examples);
    hone_llm_data_free(data);
    hone_records_free(records);
    hone_llm_free(llm);
}

static void test_tokens_without_a_row_are_refused(void **state)
{
    (void)state;
    hone_llm *llm = open_llm(changed_llama("fewer", (change){.tensor = "model.embed_tokens.weight", .rows = 800, .key = "vocab_size",
                                                             .value = json_integer(800)}));
    const char *text = "{\"text\": \"fine\"}\n{\"text\": \"no <think>\"}\n";
    assert_hone_ok(ctx, hone_write_file(ctx, scratch("think.jsonl"), text, strlen(text)));
    hone_records *records = hone_records_load(ctx, scratch("think.jsonl"), NULL);
    assert_null(hone_llm_data_new(llm, records));
    assert_error(HONE_INVALID, "record 2: token 802 of the tokenizer is beyond the model's vocabulary of 800");
    hone_clear_error(ctx);
    hone_records_free(records);
    hone_llm_free(llm);
}

/* Raw text in pieces: every token but the first is predicted exactly once. */
static void test_text_is_cut_into_pieces(void **state)
{
    (void)state;
    char text[4000];
    for (size_t i = 0; i < sizeof text; i++) text[i] = "abc de\n"[i % 7];
    assert_hone_ok(ctx, hone_write_file(ctx, scratch("long.txt"), text, sizeof text));
    hone_records *records = hone_records_load(ctx, scratch("long.txt"), NULL);
    hone_llm *llm = open_llm(LLAMA);
    hone_tokens whole = {0};
    assert_hone_ok(ctx, hone_tokenizer_encode(ctx, hone_llm_tokenizer(llm), text, sizeof text, 0, &whole));
    static const int64_t lengths[] = {2, 17, 64, 256};
    for (size_t l = 0; l < HONE_ARRAY_LEN(lengths); l++) {
        hone_llm_data *data = hone_llm_data_new(llm, records, .max_seq_length = lengths[l]);
        hone_llm_data_counts c = hone_llm_data_count(data);
        assert_int_equal(c.trained_tokens, whole.count - 1);
        size_t at = 0;
        for (int64_t i = 0; i < c.examples; i++) {
            const int32_t *ids;
            const uint8_t *trained;
            int64_t n;
            assert_hone_ok(ctx, hone_llm_data_example(data, i, &ids, &trained, &n));
            assert_true(n >= 2 && n <= lengths[l]);
            assert_memory_equal(ids, whole.ids + at, (size_t)n * sizeof *ids);
            at += (size_t)n - 1;
        }
        assert_int_equal(at + 1, whole.count);
        hone_llm_data_free(data);
    }
    hone_tokens_free(ctx, &whole);
    hone_records_free(records);
    hone_llm_free(llm);
}

static void record_losses(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    hone_llm *llm = user;
    hone_node *x = hone__llm_hidden(llm, graph, in);
    int64_t n = hone_node_shape(x).dim[0];
    out[0] = hone_linear_cross_entropy(x, hone__llama_head(llm->model->root, graph), hone_reshape(in[3], HONE_SHAPE(n)), NULL);
}

/* The loss of each trained token, example by example: [examples][256]. */
static void losses_of(hone_llm *llm, const hone_llm_data *data, bool one_each, float (*losses)[256], int64_t *rows)
{
    hone_function *f = hone_function_new(ctx, 4, 1, record_losses, llm);
    int64_t n = (int64_t)data->examples, order[64];
    for (int64_t i = 0; i < n; i++) order[i] = (i * 7 + 3) % n; /* 24 and 7 have no common factor */
    hone__packing p;
    assert_hone_ok(ctx, hone__pack(data, order, n, 256, one_each, &p));
    *rows = p.rows;
    int seen[64] = {0};
    for (int64_t r = 0; r < p.rows; r += 3) {
        hone__batch b;
        int64_t length = hone__batch_length(data, &p, r, 3, one_each);
        assert_hone_ok(ctx, hone__batch_make(data, &p, r, 3, length, &b));
        assert_hone_ok(ctx, hone_function_call(f, ((hone_tensor *[]){b.tokens, b.positions, b.begin, b.targets})));
        const float *values = hone_tensor_data(hone_function_output(f, 0));
        for (int64_t k = r; k < HONE_MIN(r + 3, p.rows); k++) {
            int64_t at = (k - r) * length;
            for (int64_t e = p.row_start[k]; e < p.row_start[k + 1]; e++) {
                int64_t size = hone__example_length(data, p.example[e]);
                memcpy(losses[p.example[e]], values + at, (size_t)size * sizeof *values);
                seen[p.example[e]]++;
                at += size;
            }
            assert_true(at <= (k - r + 1) * length);
        }
        hone__batch_free(&b);
    }
    for (int64_t i = 0; i < n; i++) assert_int_equal(seen[i], 1);
    hone__packing_free(&p);
    hone_function_free(f);
}

/* What lies beside an example in its row changes nothing. */
static void test_packed_rows_do_not_leak(void **state)
{
    (void)state;
    hone_llm *llm = open_llm(LLAMA);
    hone_llm_data *data = golden_data(llm, 256);
    static float single[24][256], packed[24][256];
    int64_t rows, few;
    losses_of(llm, data, true, single, &rows);
    losses_of(llm, data, false, packed, &few);
    assert_int_equal(rows, 24);
    assert_true(few <= 11); /* 2,100 tokens in rows of 256 */
    for (int64_t e = 0; e < 24; e++)
        for (int64_t i = 0; i < hone__example_length(data, e); i++)
            if (!(fabsf(single[e][i] - packed[e][i]) <= 1e-5f * (1 + fabsf(single[e][i]))))
                fail_msg("example %d, token %d: %g alone, %g in a row", (int)e, (int)i, (double)single[e][i], (double)packed[e][i]);
    hone_llm_data_free(data);
    hone_llm_free(llm);
}

static void test_packing_keeps_every_example(void **state)
{
    (void)state;
    hone_llm *llm = open_llm(LLAMA);
    hone_llm_data *data = golden_data(llm, 100);
    hone_llm_data_counts c = hone_llm_data_count(data);
    int64_t order[24];
    for (int64_t i = 0; i < 24; i++) order[i] = 23 - i;
    for (int one_each = 0; one_each < 2; one_each++) {
        hone__packing p;
        int64_t kept = 0;
        assert_hone_ok(ctx, hone__pack(data, order, 24, 128, one_each, &p));
        for (int64_t r = 0; r < p.rows; r++) {
            int64_t tokens = 0;
            for (int64_t e = p.row_start[r]; e < p.row_start[r + 1]; e++, kept++) tokens += hone__example_length(data, p.example[e]);
            assert_true(tokens >= 2 && tokens <= 128);
        }
        assert_int_equal(kept, 24 - c.empty);
        hone__packing_free(&p);
        assert_hone_ok(ctx, hone__pack(data, order, 0, 128, one_each, &p));
        assert_int_equal(p.rows, 0);
        hone__packing_free(&p);
    }
    hone_llm_data_free(data);
    hone_llm_free(llm);
}

/* ---- evaluation ------------------------------------------------------------------------------------------- */

static void test_evaluation_gives_the_golden_loss(void **state)
{
    (void)state;
    hone_llm *llm = open_llm(LLAMA);
    hone_llm_data *data = golden_data(llm, 256);
    hone_llm_result r;
    assert_hone_ok(ctx, hone_llm_evaluate(llm, data, &r));
    assert_int_equal(r.tokens, (int64_t)number("trained_tokens"));
    assert_true(fabs(r.loss - number("loss")) <= 1e-5 * number("loss"));
    assert_true(fabs(r.perplexity - exp(r.loss)) <= 1e-9 * r.perplexity);
    assert_true(r.token_accuracy >= 0 && r.token_accuracy < 0.2); /* nothing was learnt yet */
    hone_llm_data_free(data);
    hone_llm_free(llm);
}

static const char *write_records(const char *name, const char *text)
{
    const char *path = scratch(name);
    assert_hone_ok(ctx, hone_write_file(ctx, path, text, strlen(text)));
    return path;
}

/* log p(answer and the end of the turn | prompt), from whole-sequence logits */
static double log_likelihood(hone_llm *llm, const char *text, const char *label)
{
    const hone_tokenizer *t = hone_llm_tokenizer(llm);
    hone_tokens ids = {0};
    hone_message user = {"user", text};
    assert_hone_ok(ctx, hone_chat_encode(ctx, t, &user, 1, true, &ids));
    size_t prompt = ids.count;
    assert_hone_ok(ctx, hone_tokenizer_encode(ctx, t, label, strlen(label), 0, &ids));
    assert_hone_ok(ctx, hone_tokenizer_encode(ctx, t, "<|im_end|>", 10, HONE_ENCODE_SPECIAL, &ids));
    hone_tensor *logits = hone_llm_logits(llm, ids.ids, (int64_t)ids.count);
    const float *v = hone_tensor_data(logits);
    double sum = 0;
    for (size_t i = prompt; i < ids.count; i++) {
        const float *row = v + (i - 1) * VOCABULARY;
        double all = 0;
        for (int k = 0; k < VOCABULARY; k++) all += exp((double)row[k]);
        sum += (double)row[ids.ids[i]] - log(all);
    }
    hone_tensor_free(logits);
    hone_tokens_free(ctx, &ids);
    return sum;
}

static bool stop_after_two(void *user, int64_t done, int64_t all)
{
    assert_int_equal(all, *(int64_t *)user);
    return done < 2;
}

static void test_labels_are_chosen_by_likelihood(void **state)
{
    (void)state;
    static const char *const labels[] = {"bad", "good", "so so"};
    static const char *const texts[] = {"a", "The film", "I liked it a lot.", "no", "Quite long, and rather dull at that", "?"};
    char lines[1000] = "";
    hone_llm *llm = open_llm(LLAMA);
    int64_t right = 0, n = HONE_ARRAY_LEN(texts), said[3] = {0}, hit[3] = {0}, is[3] = {0};
    for (int64_t i = 0; i < n; i++) {
        char line[200];
        snprintf(line, sizeof line, "{\"text\": \"%s\", \"label\": \"%s\"}\n", texts[i], labels[i % 2]);
        strncat(lines, line, sizeof lines - strlen(lines) - 1);
        double best = -INFINITY;
        int64_t choice = -1;
        for (int64_t k = 0; k < 3; k++) {
            double l = log_likelihood(llm, texts[i], labels[k]);
            if (l > best) best = l, choice = k;
        }
        right += choice == i % 2;
        said[choice]++, is[i % 2]++, hit[choice] += choice == i % 2;
    }
    double f1 = 0, present = 0;
    for (int k = 0; k < 3; k++)
        if (is[k] + said[k]) present++, f1 += 2.0 * (double)hit[k] / (double)(is[k] + said[k]);
    hone_records *records = hone_records_load(ctx, write_records("labels.jsonl", lines), NULL);
    hone_llm_labels r;
    assert_hone_ok(ctx, hone_llm_classify(llm, records, 3, labels, &r, NULL, NULL));
    assert_int_equal(r.examples, n);
    assert_true(fabs(r.likelihood_accuracy - (double)right / (double)n) < 1e-12);
    assert_true(fabs(r.macro_f1 - f1 / present) < 1e-12);
    assert_true(r.generated_accuracy >= 0 && r.generated_accuracy <= 1);
    assert_int_equal(hone_llm_classify(llm, records, 3, labels, &r, stop_after_two, &n), HONE_CANCELLED);
    static const char *const others[] = {"good", "fine"};
    assert_int_equal(hone_llm_classify(llm, records, 2, others, &r, NULL, NULL), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "record 1: its answer 'bad' is none of the labels"));
    assert_int_equal(hone_llm_classify(llm, records, 1, others, &r, NULL, NULL), HONE_INVALID);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    hone_records_free(records);
    hone_llm_free(llm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_logits_are_those_of_transformers),
        TEST(test_both_files_are_the_same_model),
        TEST(test_qwen2_has_biases_and_a_head_of_its_own),
        TEST(test_llama3_stretches_positions),
        TEST(test_bf16_stays_near),
        TEST(test_wrong_calls_are_refused),
        TEST(test_sessions_equal_whole_sequences),
        TEST(test_long_prompts_are_fed_in_chunks),
        TEST(test_sessions_refuse_what_does_not_fit),
        TEST(test_examples_are_those_of_transformers),
        TEST(test_tokens_without_a_row_are_refused),
        TEST(test_text_is_cut_into_pieces),
        TEST(test_packed_rows_do_not_leak),
        TEST(test_packing_keeps_every_example),
        TEST(test_evaluation_gives_the_golden_loss),
        TEST(test_labels_are_chosen_by_likelihood),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
