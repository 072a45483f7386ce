/* hone generate: continues a prompt, or several at once. */
#include "cli.h"

#include <stdlib.h>
#include <unistd.h>

typedef struct generate_args {
    common_args common;
    const char *model, *adapter, *prompt, *prompts;
    int64_t num_sequences, batch_size;
    sampling_args sampling;
} generate_args;

/* Text as it comes, to stdout or, for --json, kept. */
typedef struct sink {
    char *kept; /* NULL: print */
    size_t size;
    bool keep;
} sink;

static bool on_text(void *user, const char *text, size_t size)
{
    sink *s = user;
    if (s->keep) {
        s->kept = cli_realloc(s->kept, s->size + size);
        memcpy(s->kept + s->size, text, size);
        s->size += size;
        return true;
    }
    return fwrite(text, 1, size, stdout) == size && !fflush(stdout);
}

static hone_status generate(const generate_args *args, hone_llm *llm, const hone_tokens *prompt,
                            int64_t capacity, sink *to, hone_tokens *made)
{
    hone_session *session = hone_session_new(llm, capacity);
    hone_generate_opts opts = sampling_opts(&args->common, &args->sampling);
    opts.on_text = on_text;
    opts.user = to;
    hone_status status = session
                             ? hone_generate_opt(session, prompt->ids, (int64_t)prompt->count, made, &opts)
                             : hone_ctx_status(hone_model_ctx(hone_llm_model(llm)));
    hone_session_free(session);
    return status;
}

static int run_one(const generate_args *args, hone_ctx *ctx, hone_llm *llm, const char *text, size_t size)
{
    hone_tokens prompt = {0}, made = {0};
    sink to = {.keep = args->common.json};
    int status = EXIT_DONE;
    int64_t context = hone_llm_context_length(llm);
    if (hone_tokenizer_encode(ctx, hone_llm_tokenizer(llm), text, size,
                              HONE_ENCODE_SPECIAL | HONE_ENCODE_ENDS, &prompt) != HONE_OK) {
        status = cli_fail_ctx(&args->common, ctx);
    } else if (!prompt.count) {
        status = cli_fail(&args->common, "the prompt is empty: there is nothing to continue");
    } else if ((int64_t)prompt.count > context) {
        status = cli_fail(&args->common, "the prompt has %zu tokens; the model's context holds %lld",
                          prompt.count, (long long)context);
    } else {
        int64_t count = (int64_t)prompt.count, most = args->sampling.max_tokens;
        int64_t capacity = most > context - count ? context : count + most;
        if (generate(args, llm, &prompt, capacity, &to, &made) != HONE_OK)
            status = cli_fail_ctx(&args->common, ctx);
    }
    if (args->common.json && status == EXIT_DONE)
        cli_print_json(json_pack("{s:o, s:o, s:I, s:I}", "text", cli_json_text(to.kept ? to.kept : "", to.size),
                                 "ids", cli_json_ids(&made), "tokens", (json_int_t)made.count, "prompt_tokens",
                                 (json_int_t)prompt.count));
    else if (!args->common.json && isatty(STDOUT_FILENO))
        putchar('\n');
    free(to.kept);
    hone_tokens_free(ctx, &prompt);
    hone_tokens_free(ctx, &made);
    return status;
}

/* ---- several at once ---- */

typedef struct many {
    const generate_args *args;
    hone_ctx *ctx;
    hone_llm *llm;
    hone_tokens *prompts; /* [n_prompts] */
    int64_t n_prompts;
    hone_generation *items; /* [n_prompts * num_sequences], a prompt's one behind the other */
    bool *done;
    int64_t n, printed;
} many;

static hone_tokens *add_prompt(many *m)
{
    m->prompts = cli_realloc(m->prompts, (size_t)(m->n_prompts + 1) * sizeof *m->prompts);
    m->prompts[m->n_prompts] = (hone_tokens){0};
    return &m->prompts[m->n_prompts++];
}

static bool add_text(many *m, const char *text, size_t size)
{
    return hone_tokenizer_encode(m->ctx, hone_llm_tokenizer(m->llm), text, size, HONE_ENCODE_SPECIAL | HONE_ENCODE_ENDS,
                                 add_prompt(m)) == HONE_OK;
}

/* Chats up to the last answer, which is what is to be generated; texts as they are. */
static bool add_records(many *m)
{
    hone_records *records = hone_records_load(m->ctx, m->args->prompts, NULL);
    bool ok = records != NULL;
    for (size_t i = 0; i < hone_records_count(records) && ok; i++) {
        const hone_record *r = hone_records_get(records, i);
        size_t n = r->n_messages;
        if (n > 1 && !strcmp(r->messages[n - 1].role, "assistant")) n--;
        ok = r->messages ? hone_chat_encode(m->ctx, hone_llm_tokenizer(m->llm), r->messages, n, true, add_prompt(m)) == HONE_OK
                         : add_text(m, r->text, r->text_length);
    }
    hone_records_free(records);
    return ok;
}

/* A line a prompt; lines with nothing on them are passed over. */
static bool add_lines(many *m)
{
    bool standard = !strcmp(m->args->prompts, "-"), ok = true;
    FILE *file = standard ? stdin : fopen(m->args->prompts, "r");
    if (!file) {
        cli_fail(&m->args->common, "%s: %s", m->args->prompts, cli_system_error());
        return false;
    }
    char *line = NULL;
    size_t capacity = 0;
    for (ssize_t size; ok && (size = getline(&line, &capacity, file)) >= 0;) {
        if (size && line[size - 1] == '\n') size--;
        if (size && line[size - 1] == '\r') size--;
        if (size) ok = add_text(m, line, (size_t)size);
    }
    bool whole = !ferror(file);
    if (!whole) cli_fail(&m->args->common, "%s: %s", m->args->prompts, cli_system_error());
    free(line);
    if (!standard) fclose(file);
    return ok && whole;
}

static bool add_prompts(many *m)
{
    const char *path = m->args->prompts;
    size_t n = path ? strlen(path) : 0;
    bool ok = !path                                          ? add_text(m, m->args->prompt, strlen(m->args->prompt))
              : n > 6 && !strcmp(path + n - 6, ".jsonl") ? add_records(m)
                                                             : add_lines(m);
    if (!ok && hone_error(m->ctx)[0]) cli_fail_ctx(&m->args->common, m->ctx);
    if (ok && !m->n_prompts) cli_fail(&m->args->common, "%s: no prompts", path);
    int64_t context = hone_llm_context_length(m->llm);
    for (int64_t i = 0; i < m->n_prompts && ok; i++) {
        ok = m->prompts[i].count > 0 && (int64_t)m->prompts[i].count <= context;
        if (!ok)
            cli_fail(&m->args->common, "prompt %lld has %zu tokens; 1 to %lld fit the model's context", (long long)i + 1,
                     m->prompts[i].count, (long long)context);
    }
    return ok && m->n_prompts;
}

/* A line a text, whatever is in it. */
static void print_line(const hone_text *text)
{
    for (size_t i = 0; i < text->size; i++) {
        if (text->data[i] == '\n') fputs("\\n", stdout);
        else if (text->data[i] == '\r') fputs("\\r", stdout);
        else putchar(text->data[i]);
    }
    putchar('\n');
}

/* Results come in any order, and are printed in that of the prompts. */
static bool on_done(void *user, int64_t i)
{
    many *m = user;
    m->done[i] = true;
    for (; m->printed < m->n && m->done[m->printed]; m->printed++) {
        hone_generation *g = &m->items[m->printed];
        if (m->args->common.json)
            cli_print_json(json_pack("{s:I, s:I, s:o, s:o, s:I, s:I}", "prompt",
                                     (json_int_t)(m->printed / m->args->num_sequences), "sequence",
                                     (json_int_t)(m->printed % m->args->num_sequences), "text",
                                     cli_json_text(g->text.data ? g->text.data : "", g->text.size), "ids",
                                     cli_json_ids(&g->tokens), "tokens", (json_int_t)g->tokens.count, "prompt_tokens",
                                     (json_int_t)g->count));
        else
            print_line(&g->text);
        hone_text_free(m->ctx, &g->text);
        hone_tokens_free(m->ctx, &g->tokens);
    }
    return !fflush(stdout);
}

static int generate_many(many *m)
{
    const generate_args *args = m->args;
    int64_t longest = 0, context = hone_llm_context_length(m->llm), most = args->sampling.max_tokens;
    m->n = m->n_prompts * args->num_sequences;
    m->items = cli_alloc((size_t)m->n * sizeof *m->items);
    m->done = cli_alloc((size_t)m->n * sizeof *m->done);
    for (int64_t i = 0; i < m->n; i++) {
        const hone_tokens *prompt = &m->prompts[i / args->num_sequences];
        m->items[i] = (hone_generation){.prompt = prompt->ids, .count = (int64_t)prompt->count,
                                        .seed = (uint64_t)(i % args->num_sequences)};
        if (m->items[i].count > longest) longest = m->items[i].count;
    }
    int64_t rows = args->batch_size < m->n ? args->batch_size : m->n;
    hone_session *session = hone_session_new_rows(m->llm, rows, most > context - longest ? context : longest + most);
    hone_generate_opts opts = sampling_opts(&args->common, &args->sampling);
    opts.on_done = on_done;
    opts.user = m;
    bool ok = session && hone_generate_batch_opt(session, m->items, m->n, &opts) == HONE_OK;
    hone_session_free(session);
    return ok ? EXIT_DONE : cli_fail_ctx(&args->common, m->ctx);
}

static int run_many(const generate_args *args, hone_ctx *ctx, hone_llm *llm)
{
    many m = {.args = args, .ctx = ctx, .llm = llm};
    int status = add_prompts(&m) ? generate_many(&m) : EXIT_FAILED;
    for (int64_t i = m.printed; i < m.n; i++) {
        hone_text_free(ctx, &m.items[i].text);
        hone_tokens_free(ctx, &m.items[i].tokens);
    }
    for (int64_t i = 0; i < m.n_prompts; i++) hone_tokens_free(ctx, &m.prompts[i]);
    free(m.prompts);
    free(m.items);
    free(m.done);
    return status;
}

static int check(const generate_args *args)
{
    if (!args->prompt && !args->prompts) return cli_usage(&args->common, "--prompt TEXT is missing, or --prompts FILE");
    if (args->prompt && args->prompts) return cli_usage(&args->common, "--prompt and --prompts exclude each other");
    if (args->num_sequences > 1 && args->sampling.temperature <= 0)
        return cli_usage(&args->common, "--num-sequences: without --temperature they would all be the same");
    return sampling_check(&args->common, &args->sampling);
}

static int run(void *memory)
{
    generate_args *args = memory;
    char *input = NULL;
    int status = check(args);
    if (status != EXIT_DONE) return status;
    bool several = args->prompts || args->num_sequences > 1;
    size_t size = args->prompt ? strlen(args->prompt) : 0;
    if (args->prompt && !strcmp(args->prompt, "-") && !cli_read_stdin(&args->common, &input, &size)) return EXIT_FAILED;
    hone_ctx *ctx = cli_ctx(&args->common);
    hone_llm *llm = ctx ? cli_open(&args->common, ctx, args->model, args->adapter) : NULL;
    if (input) args->prompt = input;
    status = !llm ? EXIT_FAILED : several ? run_many(args, ctx, llm) : run_one(args, ctx, llm, args->prompt, size);
    hone_llm_free(llm);
    hone_ctx_release(ctx);
    free(input);
    return status;
}

static const option options[] = {
    OPTION_MODEL(generate_args),
    OPTION_ADAPTER(generate_args),
    {.name = "prompt", .kind = OPTION_STRING, .offset = offsetof(generate_args, prompt), .value = "TEXT",
     .help = "what is continued, as it is, special tokens in it recognised; -: all of stdin"},
    {.name = "prompts", .kind = OPTION_STRING, .offset = offsetof(generate_args, prompts), .value = "FILE",
     .help = "several prompts, several at a time: each line one, or each record of a .jsonl file (chats up to the last "
             "answer); -: stdin. Each result is a line, newlines in it as \\n"},
    {.name = "num-sequences", .kind = OPTION_INT, .offset = offsetof(generate_args, num_sequences), .value = "N",
     .initial = "1", OPTION_AT_LEAST(1), .help = "so many continuations of each prompt, sampled with seeds SEED, SEED + 1, ..."},
    {.name = "batch-size", .kind = OPTION_INT, .offset = offsetof(generate_args, batch_size), .value = "N", .initial = "8",
     .min = 1, .max = HONE_SESSION_ROWS, .help = "of several, so many are generated at once"},
    OPTIONS_SAMPLING(generate_args),
};
const command cmd_generate = {
    .name = "generate",
    .summary = "continues a prompt, or several at once",
    .about =
        "Prints the continuation of a prompt, and nothing else, on stdout. The prompt is taken raw; to talk "
        "with a model in its own chat format use `hone chat`. With --prompts each of several is continued, "
        "as it would be alone.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .args_size = sizeof(generate_args),
    .run = run,
};
