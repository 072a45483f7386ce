/* hone forward: the logits of given tokens, for comparing with other software. */
#include "cli.h"

#include <stdlib.h>

typedef struct forward_args {
    common_args common;
    const char *model, *adapter, *tokens, *output;
    bool one_by_one;
} forward_args;

/* As generation computes them: a token at a time, behind a cache of those before. */
static hone_tensor *logits_one_by_one(hone_ctx *ctx, hone_llm *llm, const int32_t *ids, int64_t count)
{
    int64_t vocabulary = hone_llm_vocabulary(llm);
    hone_session *session = hone_session_new(llm, count);
    hone_tensor *logits = session ? hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(count, vocabulary)) : NULL;
    hone_status status = logits ? HONE_OK : HONE_MEMORY;
    for (int64_t t = 0; t < count && status == HONE_OK; t++)
        status = hone_session_feed(session, ids + t, 1, (float *)hone_tensor_data(logits) + t * vocabulary);
    hone_session_free(session);
    if (status == HONE_OK) return logits;
    hone_tensor_free(logits);
    return NULL;
}

static bool compute(const forward_args *args, hone_ctx *ctx, const int32_t *ids, size_t count)
{
    hone_llm *llm = cli_open(&args->common, ctx, args->model, args->adapter);
    if (!llm) return false;
    hone_tensor *logits = args->one_by_one ? logits_one_by_one(ctx, llm, ids, (int64_t)count) : hone_llm_logits(llm, ids, (int64_t)count);
    bool ok = logits && hone_npy_save(logits, args->output) == HONE_OK;
    if (!ok)
        cli_fail_ctx(&args->common, ctx);
    else if (args->common.json)
        cli_print_json(json_pack("{s:I, s:I, s:o}", "tokens", (json_int_t)count, "vocabulary",
                                 (json_int_t)hone_llm_vocabulary(llm), "output",
                                 cli_json_text(args->output, strlen(args->output))));
    else
        cli_note(&args->common, "%s: logits [%zu, %lld], f32", args->output, count,
                 (long long)hone_llm_vocabulary(llm));
    hone_tensor_free(logits);
    hone_llm_free(llm);
    return ok;
}

static int run(void *memory)
{
    forward_args *args = memory;
    int32_t *ids = NULL;
    size_t count = 0;
    const char *bad = NULL;
    int status = EXIT_FAILED;
    if (!cli_parse_ids(args->tokens, strlen(args->tokens), &ids, &count, &bad)) {
        status =
            cli_usage(&args->common, "--tokens: '%.*s' is no token id", (int)strcspn(bad, " \t\r\n,"), bad);
    } else if (!count) {
        status = cli_usage(&args->common, "--tokens: at least one is needed: 1,2,3");
    } else {
        hone_ctx *ctx = cli_ctx(&args->common);
        if (ctx && compute(args, ctx, ids, count)) status = EXIT_DONE;
        hone_ctx_release(ctx);
    }
    free(ids);
    return status;
}

static const option options[] = {
    OPTION_MODEL(forward_args),
    OPTION_ADAPTER(forward_args),
    {.name = "tokens", .kind = OPTION_STRING, .offset = offsetof(forward_args, tokens), .value = "1,2,3",
     .required = true, .help = "the token ids"},
    {.name = "output", .kind = OPTION_STRING, .offset = offsetof(forward_args, output), .value = "FILE.npy",
     .required = true, .help = "where the logits go: [tokens, vocabulary], f32"},
    {.name = "one-by-one", .kind = OPTION_FLAG, .offset = offsetof(forward_args, one_by_one),
     .help = "computes them as generation does, a token at a time"},
};
const command cmd_forward = {
    .name = "forward",
    .summary = "the logits of given tokens, into a .npy file",
    .about =
        "Writes the logits at every position of the given tokens as a NumPy file, for comparing with other "
        "software. Nothing is added to the tokens. For exact comparison use --dtype f32.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .args_size = sizeof(forward_args),
    .run = run,
};
