/* The workloads of hone bench that need a language model. */
#include "bench.h"

#include <stdlib.h>
#include <unistd.h>

static hone_llm *open_model(const bench_run *run)
{
    return hone_llm_open(run->ctx, run->model, .compute = run->work->dtype);
}

/* As many tokens as the workload wants and the model can read. */
static bool fit(const bench_run *run, hone_llm *llm, int64_t *length)
{
    int64_t most = hone_llm_context_length(llm), wanted = *length;
    if (wanted <= most) return true;
    *length = most;
    if (run->resized)
        cli_fail(run->args, "%s: this model reads no more than %lld tokens, not %lld", run->work->name, (long long)most,
                 (long long)wanted);
    else
        cli_note(run->args, "%s: this model reads no more than %lld tokens", run->work->name, (long long)most);
    return !run->resized;
}

/* Token ids that look like nothing, the same ones every time: a linear congruential generator (Knuth's MMIX). */
static int32_t next_id(uint64_t *state, int64_t vocabulary)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int32_t)((*state >> 33) % (uint64_t)vocabulary);
}

/* ---- fine-tuning ---- */

/* Steps before the first sample: plans are made, memory is found. */
enum { WARM_STEPS = 2 };

typedef struct finetuning {
    bench_run *run;
    int64_t tokens; /* of a whole step */
    bool ok;
} finetuning;

/* At least one token a word. */
static bool write_words(FILE *file, int64_t words)
{
    uint64_t state = 1;
    for (int64_t i = 0; i < words; i++) {
        char word[6] = " ";
        for (int k = 1; k < 5; k++) word[k] = (char)('a' + next_id(&state, 26));
        fputs(word, file);
    }
    return !ferror(file);
}

/* Text for that many tokens, never the same twice; the file is gone when this returns. */
static hone_records *make_text(const bench_run *run, int64_t tokens)
{
    char *folder = bench_make_folder(run->args);
    if (!folder) return NULL;
    char *path = cli_join(folder, "words.txt");
    FILE *file = fopen(path, "w");
    bool written = file && write_words(file, tokens);
    if (file) written &= fclose(file) == 0;
    if (!written) cli_fail(run->args, "%s: %s", path, cli_system_error());
    hone_records *records = written ? hone_records_load(run->ctx, path, "train") : NULL;
    free(path);
    bench_remove_folder(run->args, folder);
    return records;
}

static bool on_step(void *user, const hone_finetune_step *s)
{
    finetuning *f = user;
    bench_run *run = f->run;
    if (s->is_evaluation || s->tokens != f->tokens) return true; /* the end of the data: not a whole step */
    if (run->profile) {
        f->ok = bench_end_limit(run, (double)f->tokens);
        return false;
    }
    if (s->step > WARM_STEPS) bench_sample(run, (double)f->tokens, (double)f->tokens / s->tokens_per_second);
    return !bench_enough(run) || bench_begin_limit(run);
}

bool bench_finetune(bench_run *run)
{
    const bench_workload *w = run->work;
    hone_llm *llm = open_model(run);
    if (!llm) return false;
    int64_t length = w->length, rows = w->batch * 8;
    hone_records *records = fit(run, llm, &length) ? make_text(run, (rows + 1) * length) : NULL;
    hone_llm_data *data = records ? hone_llm_data_new(llm, records, .max_seq_length = length) : NULL;
    finetuning f = {run, w->batch * length, false};
    hone_finetune_opts opts = {.struct_size = sizeof opts, .method = w->method, .batch_size = w->batch, .max_steps = 100000,
                               .max_seq_length = length, .learning_rate = 1e-5,
                               .max_grad_norm = HONE_ZERO /* the peers don't clip */, .optimizer = w->optimizer,
                               .gradient_checkpointing = w->gradient_checkpointing, .on_step = on_step, .user = &f};
    hone_finetune *work = data ? hone_finetune_new(llm, data, NULL, &opts) : NULL;
    if (work) {
        hone_status status = hone_finetune_run(work);
        f.ok &= status == HONE_OK || status == HONE_CANCELLED; /* on_step ends it */
    }
    hone_finetune_free(work);
    hone_llm_data_free(data);
    hone_records_free(records);
    hone_llm_free(llm);
    return f.ok;
}

/* ---- prompts and generation ---- */

enum { FIRST_PROMPT = 16 }; /* tokens before the first one that counts as an answer */

typedef struct reading {
    hone_llm *llm;
    hone_session *session;
    hone_sampler *sampler;
    int32_t *first;   /* [rows]: the tokens after the prompts */
    int32_t *ids;     /* [rows, count] */
    int64_t rows, count, generated;
} reading;

static bool open_reading(bench_run *run, reading *r, int64_t rows, int64_t prompt, int64_t generated)
{
    uint64_t state = 1;
    *r = (reading){.llm = open_model(run)};
    if (!r->llm) return false;
    int64_t all = prompt + generated;
    if (!fit(run, r->llm, &all)) return false;
    r->count = all < prompt + generated ? all - (generated < all ? generated : 0) : prompt;
    r->generated = all - r->count;
    r->rows = rows;
    r->session = hone_session_new_rows(r->llm, rows, all);
    r->sampler = hone_sampler_new(run->ctx);
    r->first = cli_alloc((size_t)rows * sizeof *r->first);
    r->ids = cli_alloc((size_t)(rows * r->count) * sizeof *r->ids);
    for (int64_t i = 0; i < rows * r->count; i++) r->ids[i] = next_id(&state, hone_llm_vocabulary(r->llm));
    return r->session && r->sampler;
}

static void close_reading(reading *r)
{
    free(r->ids);
    free(r->first);
    hone_sampler_free(r->sampler);
    hone_session_free(r->session);
    hone_llm_free(r->llm);
}

/* The token after the logits of the session's row i of those fed last. */
static bool choose(const reading *r, int64_t i, int64_t position, int32_t *id)
{
    int64_t vocabulary = hone_llm_vocabulary(r->llm);
    return hone_sampler_next(r->sampler, hone_session_logits(r->session) + i * vocabulary, vocabulary, (uint64_t)position, id) ==
           HONE_OK;
}

static bool read_prompt(void *state)
{
    reading *r = state;
    bool ok = true;
    for (int64_t i = 0; i < r->rows && ok; i++)
        ok = hone_session_row_rewind(r->session, i, 0) == HONE_OK &&
             hone_session_row_feed(r->session, i, r->ids + i * r->count, r->count, NULL) == HONE_OK &&
             choose(r, 0, r->count, &r->first[i]);
    return ok;
}

bool bench_prompt(bench_run *run)
{
    reading r;
    bool ok = open_reading(run, &r, 1, run->work->length, 0) && bench_repeat(run, (double)r.count, read_prompt, &r);
    close_reading(&r);
    return ok;
}

/* Greedily, from the end of the prompt; what ends a text does not end this. */
static bool generate(void *state)
{
    reading *r = state;
    int32_t rows[HONE_SESSION_ROWS], ids[HONE_SESSION_ROWS];
    bool ok = true;
    for (int64_t i = 0; i < r->rows && ok; i++) {
        rows[i] = (int32_t)i, ids[i] = r->first[i];
        ok = hone_session_row_rewind(r->session, i, r->count) == HONE_OK;
    }
    for (int64_t t = 0; t < r->generated && ok; t++) {
        ok = hone_session_step(r->session, r->rows, rows, ids, NULL) == HONE_OK;
        for (int64_t i = 0; i < r->rows && ok; i++) ok = choose(r, i, r->count + 1 + t, &ids[i]);
    }
    return ok;
}

bool bench_generate(bench_run *run)
{
    reading r;
    bool ok = open_reading(run, &r, run->work->batch, run->work->prompt_length, run->work->length) && read_prompt(&r) &&
              bench_repeat(run, (double)(r.rows * r.generated), generate, &r);
    close_reading(&r);
    return ok;
}

bool bench_first_token(bench_run *run)
{
    reading r;
    bool ok = open_reading(run, &r, 1, FIRST_PROMPT, 0) && read_prompt(&r);
    bench_sample(run, 1, cli_now() - run->began);
    run->peak_memory = hone_peak_memory();
    close_reading(&r);
    return ok;
}
