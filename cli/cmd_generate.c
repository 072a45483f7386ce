/* hone generate: continues a prompt. */
#include "cli.h"

#include <stdlib.h>
#include <unistd.h>

typedef struct generate_args {
    common_args common;
    const char *model, *adapter, *prompt;
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

static int run_model(const generate_args *args, hone_ctx *ctx, hone_llm *llm, const char *text, size_t size)
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

static int run(void *memory)
{
    generate_args *args = memory;
    char *input = NULL;
    size_t size = strlen(args->prompt);
    int status = sampling_check(&args->common, &args->sampling);
    if (status != EXIT_DONE) return status;
    if (!strcmp(args->prompt, "-") && !cli_read_stdin(&args->common, &input, &size)) return EXIT_FAILED;
    hone_ctx *ctx = cli_ctx(&args->common);
    hone_llm *llm = ctx ? cli_open(&args->common, ctx, args->model, args->adapter) : NULL;
    status = llm ? run_model(args, ctx, llm, input ? input : args->prompt, size) : EXIT_FAILED;
    hone_llm_free(llm);
    hone_ctx_release(ctx);
    free(input);
    return status;
}

static const option options[] = {
    OPTION_MODEL(generate_args),
    OPTION_ADAPTER(generate_args),
    {.name = "prompt", .kind = OPTION_STRING, .offset = offsetof(generate_args, prompt), .value = "TEXT",
     .required = true,
     .help = "what is continued, as it is, special tokens in it recognised; -: all of stdin"},
    OPTIONS_SAMPLING(generate_args),
};
const command cmd_generate = {
    .name = "generate",
    .summary = "continues a prompt",
    .about =
        "Prints the continuation of a prompt, and nothing else, on stdout. The prompt is taken raw; to talk "
        "with a model in its own chat format use `hone chat`.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .args_size = sizeof(generate_args),
    .run = run,
};
