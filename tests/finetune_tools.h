/* For test_finetune.c and test_resume.c: a fine-tuning run in a context of its own, and what it told. */
#ifndef HONE_TEST_FINETUNE_TOOLS_H
#define HONE_TEST_FINETUNE_TOOLS_H

#include "llm_tools.h"

#include "llm/finetune.h"

/* Drawing the loss leaves fontconfig's caches behind, which no program frees. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfontconfig\nleak:libpango\nleak:libcairo\nleak:libglib\nleak:libplplot\n";
}

typedef struct tuning {
    hone_ctx *ctx;
    hone_llm *llm;
    hone_records *records;
    hone_llm_data *data;
    hone_finetune *run;
} tuning;

typedef struct setup {
    const char *model, *adapter, *data; /* NULL: the tiny Llama, none, the golden chats */
    hone_dtype compute;
    uint64_t seed;
    bool validate;
    const hone_allocator *allocator;
    hone_finetune_opts o;
} setup;

static inline hone_status prepare(tuning *t, const setup *s)
{
    *t = (tuning){.ctx = s->allocator ? hone_ctx_new(.threads = 1, .seed = s->seed, .allocator = *s->allocator)
                                      : hone_ctx_new(.threads = 2, .seed = s->seed)};
    if (!t->ctx) return HONE_MEMORY;
    t->llm = hone_llm_open(t->ctx, s->model ? s->model : LLAMA, .compute = s->compute);
    if (t->llm && s->adapter) hone_llm_load_adapter(t->llm, s->adapter);
    t->records = hone_records_load(t->ctx, s->data ? s->data : GOLDEN "/train.jsonl", NULL);
    if (t->llm && t->records) t->data = hone_llm_data_new(t->llm, t->records, .max_seq_length = 256);
    if (t->data) t->run = hone_finetune_new(t->llm, t->data, s->validate ? t->data : NULL, &s->o);
    return t->run ? HONE_OK : hone_ctx_status(t->ctx);
}

static inline void finish(tuning *t)
{
    hone_finetune_free(t->run);
    hone_llm_data_free(t->data);
    hone_records_free(t->records);
    hone_llm_free(t->llm);
    hone_ctx_release(t->ctx);
}

/* What a run told, step by step. */
typedef struct trace {
    double loss[128], norm[128], rate[128];
    int n, evaluations;
    int stop_at, cancel_at; /* 0: never */
    hone_ctx *ctx;
} trace;
static inline bool note(void *user, const hone_finetune_step *s)
{
    trace *t = user;
    if (s->is_evaluation) return t->evaluations++, true;
    assert_true(t->n < 128);
    t->loss[t->n] = s->loss, t->norm[t->n] = s->grad_norm, t->rate[t->n++] = s->learning_rate;
    if (t->n == t->cancel_at) hone_cancel(t->ctx);
    return t->n != t->stop_at;
}

/* Prepares and runs; must come to `want`, with `part` in the error's text (NULL: any). */
static inline void run_to(setup s, trace *t, hone_status want, const char *part)
{
    tuning one;
    static trace unused;
    if (!t) unused = (trace){0}, t = &unused;
    s.o.struct_size = sizeof s.o;
    s.o.on_step = note;
    s.o.user = t;
    hone_status status = prepare(&one, &s);
    t->ctx = one.ctx;
    if (status == HONE_OK) status = hone_finetune_run(one.run);
    if (status != want) fail_msg("%s: %s", hone_status_name(status), hone_error(one.ctx));
    if (part && !strstr(hone_error(one.ctx), part)) fail_msg("'%s' does not contain '%s'", hone_error(one.ctx), part);
    finish(&one);
}

/* A folder's JSON file, or that line of it, without what differs from run to run; NULL: there is none. */
static inline json_t *json_of(const char *folder, const char *name, int line)
{
    char path[800], text[4000];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (line < 0) return json_load_file(path, 0, NULL);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    bool there = true;
    for (int i = 0; i <= line && there; i++) there = fgets(text, sizeof text, file) != NULL;
    fclose(file);
    json_t *j = there ? json_loads(text, 0, NULL) : NULL;
    if (there) assert_non_null(j);
    json_object_del(j, "tokens_per_second");
    json_object_del(j, "peak_memory_bytes");
    return j;
}

#endif
