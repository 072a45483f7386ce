/* hone chat: talks with a model, a line a turn. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct chat_args {
    common_args common;
    const char *model, *adapter, *system;
    int64_t context_length;
    sampling_args sampling;
} chat_args;

typedef struct chat {
    const chat_args *args;
    hone_ctx *ctx;
    hone_llm *llm;
    hone_session *session;
    hone_message *messages; /* the contents are ours; a system message may be the first */
    size_t n;
    hone_tokens fed; /* what the session holds, and perhaps one token more */
    char *answer;    /* of this turn */
    size_t answer_size;
    bool interactive; /* lines come from a terminal */
} chat;

static void add_message(chat *c, const char *role, const char *content)
{
    c->messages = cli_realloc(c->messages, (c->n + 1) * sizeof *c->messages);
    c->messages[c->n++] = (hone_message){role, cli_copy(content)};
}

static void drop_messages(chat *c, size_t first, size_t count)
{
    if (!count) return;
    for (size_t i = first; i < first + count; i++) free((char *)(uintptr_t)c->messages[i].content);
    memmove(c->messages + first, c->messages + first + count, (c->n - first - count) * sizeof *c->messages);
    c->n -= count;
}

static bool on_text(void *user, const char *text, size_t size)
{
    chat *c = user;
    c->answer = cli_realloc(c->answer, c->answer_size + size + 1);
    memcpy(c->answer + c->answer_size, text, size);
    c->answer[c->answer_size += size] = 0;
    if (hone_cancelled(c->ctx)) return false;
    return c->args->common.json || (fwrite(text, 1, size, stdout) == size && !fflush(stdout));
}

/* The whole conversation as tokens, its oldest turns left out until there is room to answer. */
static bool render(chat *c, hone_tokens *tokens)
{
    int64_t capacity = c->args->context_length, room = c->args->sampling.max_tokens;
    if (capacity > hone_llm_context_length(c->llm)) capacity = hone_llm_context_length(c->llm);
    if (room > capacity / 4) room = capacity / 4;
    size_t first = c->args->system != NULL;
    for (;;) {
        tokens->count = 0;
        if (hone_chat_encode(c->ctx, hone_llm_tokenizer(c->llm), c->messages, c->n, true, tokens) !=
            HONE_OK) {
            cli_fail_ctx(&c->args->common, c->ctx);
            return false;
        }
        if ((int64_t)tokens->count + room <= capacity) return true;
        if (c->n - first < 3) break;
        drop_messages(c, first, 2);
        cli_note(&c->args->common,
                 "(the oldest turn is forgotten: the conversation is longer than %lld tokens)",
                 (long long)capacity);
    }
    cli_fail(&c->args->common,
             "that is too long: %zu tokens, and %lld are kept for the answer; the context holds %lld",
             tokens->count, (long long)room, (long long)capacity);
    return false;
}

/* Feeds what the session does not hold yet, and answers into c->answer. */
static hone_status answer(chat *c, const hone_tokens *tokens)
{
    size_t same = 0, held = (size_t)hone_session_length(c->session);
    while (same < held && same + 1 < tokens->count && c->fed.ids[same] == tokens->ids[same]) same++;
    hone_status status = hone_session_rewind(c->session, (int64_t)same);
    hone_generate_opts opts = sampling_opts(&c->args->common, &c->args->sampling);
    opts.on_text = on_text;
    opts.user = c;
    opts.earlier = tokens->ids, opts.n_earlier = (int64_t)same;
    hone_tokens made = {0};
    c->answer_size = 0;
    if (status == HONE_OK)
        status =
            hone_generate_opt(c->session, tokens->ids + same, (int64_t)(tokens->count - same), &made, &opts);
    size_t count = tokens->count + made.count;
    if (c->fed.capacity < count) {
        c->fed.ids = cli_realloc(c->fed.ids, count * sizeof *c->fed.ids);
        c->fed.capacity = count;
    }
    memcpy(c->fed.ids, tokens->ids, tokens->count * sizeof *tokens->ids);
    if (made.count) memcpy(c->fed.ids + tokens->count, made.ids, made.count * sizeof *made.ids);
    hone_tokens_free(c->ctx, &made);
    return status;
}

/* False when the conversation cannot go on. */
static bool turn(chat *c, const char *line)
{
    hone_tokens tokens = {0};
    add_message(c, "user", line);
    hone_clear_cancel(c->ctx);
    bool ok = render(c, &tokens), fits = ok;
    if (!ok && c->interactive && hone_ctx_status(c->ctx) == HONE_OK) ok = true;
    if (fits) {
        hone_status status = answer(c, &tokens);
        ok = status == HONE_OK || status == HONE_CANCELLED;
        const char *text = c->answer_size ? c->answer : "";
        if (!ok) cli_fail_ctx(&c->args->common, c->ctx);
        if (ok && c->args->common.json)
            cli_print_json(
                json_pack("{s:s, s:o}", "role", "assistant", "content", cli_json_text(text, c->answer_size)));
        else if (!c->args->common.json)
            putchar('\n');
        ok = !fflush(stdout) && ok;
        add_message(c, "assistant", text);
    } else {
        drop_messages(c, c->n - 1, 1);
    }
    hone_tokens_free(c->ctx, &tokens);
    return ok;
}

static bool talk(chat *c)
{
    char *line = NULL;
    size_t capacity = 0, size;
    bool newline, ok = true;
    if (c->interactive) cli_note(&c->args->common, "Ctrl-C stops an answer, Ctrl-D ends.");
    while (ok) {
        if (c->interactive) fputs("> ", stderr);
        hone_clear_cancel(c->ctx);
        if (!cli_read_line(&line, &capacity, &size, &newline)) {
            if (!ferror(stdin) || errno != EINTR || !c->interactive) break;
            clearerr(stdin); /* Ctrl-C while typing: a fresh line */
            fputc('\n', stderr);
            continue;
        }
        if (strlen(line) != size)
            ok = cli_fail(&c->args->common, "a zero byte is no text") == EXIT_DONE;
        else if (strspn(line, " \t\r") != size)
            ok = turn(c, line);
    }
    if (ok && ferror(stdin)) ok = cli_fail(&c->args->common, "stdin: %s", cli_system_error()) == EXIT_DONE;
    if (ok && c->interactive) fputc('\n', stderr);
    free(line);
    return ok;
}

static int run(void *memory)
{
    chat_args *args = memory;
    int status = sampling_check(&args->common, &args->sampling);
    if (status != EXIT_DONE) return status;
    chat c = {.args = args, .ctx = cli_ctx(&args->common), .interactive = isatty(STDIN_FILENO)};
    if (c.ctx) c.llm = cli_open(&args->common, c.ctx, args->model, args->adapter);
    status = EXIT_FAILED;
    if (c.llm) {
        int64_t context = hone_llm_context_length(c.llm);
        c.session = hone_session_new(c.llm, args->context_length < context ? args->context_length : context);
        if (!c.session) cli_fail_ctx(&args->common, c.ctx);
    }
    if (c.session) {
        if (args->system) add_message(&c, "system", args->system);
        cli_on_interrupt(INTERRUPTS_CANCEL, c.ctx);
        if (talk(&c)) status = EXIT_DONE;
        cli_on_interrupt(INTERRUPTS_END, NULL);
    }
    drop_messages(&c, 0, c.n);
    free(c.messages);
    free(c.fed.ids);
    free(c.answer);
    hone_session_free(c.session);
    hone_llm_free(c.llm);
    hone_ctx_release(c.ctx);
    return status;
}

static const option options[] = {
    OPTION_MODEL(chat_args),
    OPTION_ADAPTER(chat_args),
    {.name = "system", .kind = OPTION_STRING, .offset = offsetof(chat_args, system), .value = "TEXT",
     .shown = "the model's own", .help = "the system message"},
    {.name = "context-length", .kind = OPTION_INT, .offset = offsetof(chat_args, context_length),
     .value = "N", .initial = "4096", OPTION_AT_LEAST(16),
     .help = "the most tokens of conversation that are kept, up to what the model can hold"},
    OPTIONS_SAMPLING(chat_args),
};
const command cmd_chat = {
    .name = "chat",
    .summary = "talks with a model",
    .about =
        "Talks with a model in its own chat format: reads a line, answers, and so on, remembering what was "
        "said. In a pipe every line of stdin is a turn, and every answer ends with a line break.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .args_size = sizeof(chat_args),
    .run = run,
};
