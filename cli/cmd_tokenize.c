/* hone tokenize: text to token ids and back. */
#include "cli.h"

#include <stdlib.h>

typedef struct tokenize_args {
    common_args common;
    const char *model, *text;
    bool decode;
} tokenize_args;

typedef struct work {
    const tokenize_args *args;
    hone_ctx *ctx;
    const hone_tokenizer *tokenizer;
    hone_tokens tokens; /* of a line; reused */
    hone_text text;
    int32_t *ids;
} work;

static bool encode(work *w, const char *text, size_t size)
{
    w->tokens.count = 0;
    if (hone_tokenizer_encode(w->ctx, w->tokenizer, text, size, HONE_ENCODE_SPECIAL, &w->tokens) != HONE_OK) {
        cli_fail_ctx(&w->args->common, w->ctx);
        return false;
    }
    if (w->args->common.json) {
        cli_print_json(json_pack("{s:o}", "ids", cli_json_ids(&w->tokens)));
        return true;
    }
    for (size_t i = 0; i < w->tokens.count; i++) printf("%s%d", i ? " " : "", (int)w->tokens.ids[i]);
    putchar('\n');
    return true;
}

/* The bytes of the ids; then `end`, what ended their line. */
static bool decode(work *w, const char *text, size_t size, const char *where, const char *end)
{
    size_t count = 0;
    const char *bad = NULL;
    if (!cli_parse_ids(text, size, &w->ids, &count, &bad)) {
        size_t length = strcspn(bad, " \t\r\n,");
        cli_fail(&w->args->common, "%s'%.*s' is no token id", where, (int)(length < 40 ? length : 40), bad);
        return false;
    }
    w->text.size = 0;
    if (hone_tokenizer_decode(w->ctx, w->tokenizer, w->ids, count, 0, &w->text) != HONE_OK) {
        cli_fail(&w->args->common, "%s%s", where, hone_error(w->ctx));
        return false;
    }
    if (w->args->common.json) {
        cli_print_json(
            json_pack("{s:o}", "text", cli_json_text(w->text.data ? w->text.data : "", w->text.size)));
        return true;
    }
    if (w->text.size) fwrite(w->text.data, 1, w->text.size, stdout);
    fputs(end, stdout);
    return true;
}

static bool each_line(work *w)
{
    char *line = NULL, where[40];
    size_t capacity = 0, size;
    bool newline, ok = true;
    for (unsigned long n = 1; ok && cli_read_line(&line, &capacity, &size, &newline); n++) {
        snprintf(where, sizeof where, "line %lu: ", n);
        ok = w->args->decode ? decode(w, line, size, where, newline ? "\n" : "") : encode(w, line, size);
    }
    free(line);
    if (ok && ferror(stdin)) {
        cli_fail(&w->args->common, "stdin: %s", cli_system_error());
        ok = false;
    }
    return ok;
}

static int run(void *memory)
{
    tokenize_args *args = memory;
    hone_ctx *ctx = cli_ctx(&args->common);
    hone_llm *llm = ctx ? cli_open(&args->common, ctx, args->model, NULL) : NULL;
    bool ok = llm != NULL;
    if (ok) {
        work w = {.args = args, .ctx = ctx, .tokenizer = hone_llm_tokenizer(llm)};
        if (!args->text)
            ok = each_line(&w);
        else if (args->decode)
            ok = decode(&w, args->text, strlen(args->text), "", "");
        else
            ok = encode(&w, args->text, strlen(args->text));
        hone_tokens_free(ctx, &w.tokens);
        hone_text_free(ctx, &w.text);
        free(w.ids);
    }
    hone_llm_free(llm);
    hone_ctx_release(ctx);
    return ok ? EXIT_DONE : EXIT_FAILED;
}

static const option options[] = {
    OPTION_MODEL(tokenize_args),
    {.name = "text", .kind = OPTION_STRING, .offset = offsetof(tokenize_args, text), .value = "TEXT",
     .positional = true, .help = "the text, or with --decode the ids; without it the lines of stdin"},
    {.name = "decode", .kind = OPTION_FLAG, .offset = offsetof(tokenize_args, decode),
     .help = "from ids to text: the exact bytes, a line of text for a line of ids"},
};
const command cmd_tokenize = {
    .name = "tokenize",
    .summary = "text to token ids, and back",
    .about =
        "Prints the token ids of TEXT, or of each line of stdin, separated by blanks, one line a line. "
        "Special tokens written in the text are those tokens; none are added. With --decode the way back.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .args_size = sizeof(tokenize_args),
    .run = run,
};
