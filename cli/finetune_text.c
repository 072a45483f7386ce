/* What hone finetune says before and after it trains. */
#include "finetune.h"

#include <stdlib.h>
#include <unistd.h>

/* ---- before ---- */

/* Enough to see what is learnt. */
enum { SHOWN_TOKENS = 400 };

typedef struct page {
    bool colour, line_open, trained;
} page;

static const char GREEN[] = "\033[32m", PLAIN[] = "\033[0m", MARGIN[] = "  | ";

/* Text with a margin; control characters that could steer a terminal are shown as '?'. */
static void put_text(page *p, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (!p->line_open) fprintf(stderr, "%s%s", MARGIN, p->trained && p->colour ? GREEN : "");
        p->line_open = c != '\n';
        if (!p->line_open && p->trained && p->colour) fputs(PLAIN, stderr);
        fputc(c == '\n' || c == '\t' || (c >= 32 && c != 127) ? c : '?', stderr);
    }
}

static void put_mark(page *p, bool begin)
{
    if (begin && !p->colour) put_text(p, "[[", 2);
    p->trained = begin;
    if (p->colour && p->line_open) fputs(begin ? GREEN : PLAIN, stderr);
    if (!begin && !p->colour) put_text(p, "]]", 2);
}

static void print_tokens(const finetune_run *run, const int32_t *ids, const uint8_t *trained, int64_t count)
{
    page p = {.colour = progress_is_terminal()};
    hone_text text = {0};
    const hone_tokenizer *tokenizer = hone_llm_tokenizer(run->llm);
    int64_t shown = count < SHOWN_TOKENS ? count : SHOWN_TOKENS;
    for (int64_t at = 0, end; at < shown; at = end) {
        for (end = at + 1; end < shown && trained[end] == trained[at]; end++) {
        }
        text.size = 0;
        if (hone_tokenizer_decode(run->ctx, tokenizer, ids + at, (size_t)(end - at), 0, &text) != HONE_OK)
            break;
        if (trained[at]) put_mark(&p, true);
        put_text(&p, text.data ? text.data : "", text.size);
        if (trained[at]) put_mark(&p, false);
    }
    if (p.line_open) fputc('\n', stderr);
    if (shown < count) fprintf(stderr, "%s... and %lld tokens more\n", MARGIN, (long long)(count - shown));
    hone_text_free(run->ctx, &text);
}

/* The first example that has something to learn from. */
static void print_example(const finetune_run *run)
{
    int64_t examples = hone_llm_data_count(run->train).examples;
    for (int64_t i = 0; i < examples; i++) {
        const int32_t *ids;
        const uint8_t *trained;
        int64_t count, learnt = 0;
        if (hone_llm_data_example(run->train, i, &ids, &trained, &count) != HONE_OK) return;
        for (int64_t k = 0; k < count; k++) learnt += trained[k] != 0;
        if (!learnt) continue;
        fprintf(stderr, "Example %lld; what is learnt is %s:\n", (long long)i + 1,
                progress_is_terminal() ? "green" : "in [[ ]]");
        print_tokens(run, ids, trained, count);
        return;
    }
}

static void print_counts(const char *name, const hone_llm_data *data, int64_t max_seq_length)
{
    hone_llm_data_counts n = hone_llm_data_count(data);
    char a[32], b[32], c[32];
    fprintf(stderr, "%s %s examples, %s tokens, %s of them learnt; the longest has %lld\n", name,
            cli_count(n.examples, a), cli_count(n.tokens, b), cli_count(n.trained_tokens, c),
            (long long)n.longest);
    if (n.truncated && max_seq_length)
        fprintf(stderr, "           %s are longer than --max-seq-length %lld and lose their end\n",
                cli_count(n.truncated, a), (long long)max_seq_length);
    else if (n.truncated)
        fprintf(stderr,
                "           %s are too long and lose their end; --max-seq-length sets what is too long\n",
                cli_count(n.truncated, a));
    if (n.empty)
        fprintf(stderr, "           %s have nothing to learn from and are left out%s%s\n", cli_count(n.empty, a),
                n.why_empty[0] ? ": " : "", n.why_empty);
    if (n.blank)
        fprintf(stderr, "           %s have an empty answer: that there is nothing to say is learnt from them\n", cli_count(n.blank, a));
}

void finetune_print_plan(const finetune_run *run)
{
    const finetune_args *args = run->args;
    const hone_finetune_plan *plan = &run->plan;
    char a[32], b[32];
    if (args->common.quiet) return;
    print_example(run);
    print_counts("train     ", run->train, args->max_seq_length);
    if (run->valid) print_counts("valid     ", run->valid, args->max_seq_length);
    fprintf(stderr, "trained    %s of %s parameters (%.2f %%), computing in %s on %s\n",
            cli_count(plan->trained_parameters, a), cli_count(plan->parameters, b),
            100.0 * (double)plan->trained_parameters / (double)plan->parameters,
            hone_dtype_name(hone_llm_compute(run->llm)), hone_hardware(run->ctx));
    fprintf(stderr, "steps      %s%s of %lld x %lld %s; %s %s an epoch",
            args->max_seconds > 0 ? "at most " : "", cli_count(plan->total_steps, a),
            (long long)args->batch_size, (long long)args->gradient_accumulation_steps,
            args->no_packing ? "examples" : "packed rows", cli_count(plan->rows, b),
            args->no_packing ? "examples" : "rows");
    if (plan->resumed_step) fprintf(stderr, "; %lld are made already", (long long)plan->resumed_step);
    fprintf(stderr, "\nmemory     about %s at the peak\n", cli_bytes((double)plan->memory_bytes, a));
    if (plan->seconds > 0) fprintf(stderr, "time       about %s\n", cli_duration(plan->seconds, a));
}

/* ---- after ---- */

static void print_file(FILE *to, const char *folder, const char *names, const char *what)
{
    char path[4096];
    snprintf(path, sizeof path, "%.3000s/%.*s", folder, (int)strcspn(names, ","), names);
    if (!access(path, F_OK)) fprintf(to, "  %-28s %s\n", names, what);
}

static void print_try(FILE *to, const finetune_run *run, const char *verb, const char *rest)
{
    const finetune_args *args = run->args;
    fputs("  ", to);
    cli_print_shell(to, args->common.argv[0]);
    fprintf(to, " %s --model ", verb);
    cli_print_shell(to, args->method == METHOD_FULL ? args->output_dir : args->model);
    if (args->method == METHOD_LORA) {
        fputs(" --adapter ", to);
        cli_print_shell(to, args->output_dir);
    }
    fputs(rest, to);
}

void finetune_print_end(const finetune_run *run)
{
    const finetune_args *args = run->args;
    FILE *to = args->common.json ? stderr : stdout;
    char a[32], b[32];
    if (args->common.json && args->common.quiet) return;
    fprintf(to, "%lld steps in %s, loss %.4f -> %.4f, %s of memory at the peak\n", (long long)run->steps,
            cli_duration(cli_now() - run->began, a), run->first_loss, run->last_loss,
            cli_bytes((double)run->peak_memory_bytes, b));
    fprintf(to, "In %s:\n", args->output_dir);
    print_file(to, args->output_dir, "adapter_model.safetensors",
               "the adapter, with adapter_config.json (PEFT reads it too)");
    print_file(to, args->output_dir, "model.safetensors", "the model, with its configuration and tokenizer");
    print_file(to, args->output_dir, "loss.svg, loss.png", "the loss over the steps");
    print_file(to, args->output_dir, "metrics.jsonl",
               "every step as numbers; TensorBoard reads events.out.*");
    print_file(to, args->output_dir, "trace.json", "the profile for https://ui.perfetto.dev");
    fputs("Try next:\n", to);
    print_try(to, run, "chat", "\n");
    print_try(to, run, "eval", " --data ");
    cli_print_shell(to, args->data);
    fputc('\n', to);
    print_try(to, run, "export", " --format gguf --output model.gguf\n");
}

int finetune_print_profile(finetune_run *run)
{
    const finetune_args *args = run->args;
    char path[4096];
    int64_t steps = run->steps - run->profiled_from; /* --max-seconds may have ended it early */
    if (steps > run->profiled_steps) steps = run->profiled_steps;
    snprintf(path, sizeof path, "%.3000s/trace.json", args->output_dir);
    hone_profile_stop(run->profile);
    char *text = hone_profile_measure(run->profile) == HONE_OK ? hone_profile_text(run->profile, steps) : NULL;
    if (text) fputs(text, args->common.json ? stderr : stdout);
    bool ok = text && hone_profile_save_trace(run->profile, path) == HONE_OK;
    hone_free_text(run->ctx, text);
    return ok ? EXIT_DONE : cli_fail_ctx(&args->common, run->ctx);
}

static bool names_resume(const char *argument)
{
    static const char name[] = "--resume-from-checkpoint";
    for (size_t i = 0; name[i]; i++, argument++)
        if ((*argument == '_' ? '-' : *argument) != name[i]) return false;
    return !*argument || *argument == '=';
}

void finetune_print_resume(const finetune_run *run)
{
    const common_args *common = &run->args->common;
    fputs("Go on with:\n ", stderr);
    for (int i = 0; i < common->argc; i++) {
        if (names_resume(common->argv[i])) {
            i += !strchr(common->argv[i], '=');
            continue;
        }
        fputc(' ', stderr);
        cli_print_shell(stderr, common->argv[i]);
    }
    fputs(" --resume-from-checkpoint latest\n", stderr);
}
