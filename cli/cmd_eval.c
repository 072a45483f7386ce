/* hone eval: loss, perplexity, accuracies of a language model; the metrics of what `hone train` made. */
#include "task.h"

#include <stdlib.h>

typedef struct eval_args {
    common_args common;
    const char *model, *adapter, *data, *labels;
    int64_t max_seq_length;
} eval_args;

/* More labels than these are no classes. */
enum { MOST_LABELS = 100 };

typedef struct labels {
    char **names; /* owned */
    size_t count;
} labels;

typedef struct evaluation {
    const eval_args *args;
    hone_ctx *ctx;
    hone_llm *llm;
    hone_records *records;
    const char *split; /* NULL: the file itself, or train */
    labels labels;
    hone_llm_data_counts counts;
    hone_llm_result result;
    hone_llm_labels classes;
    progress progress;
    double began;
} evaluation;

static bool add_label(labels *l, const char *text, size_t length)
{
    for (size_t i = 0; i < l->count; i++)
        if (strlen(l->names[i]) == length && !strncmp(l->names[i], text, length)) return false;
    l->names = cli_realloc(l->names, (l->count + 1) * sizeof *l->names);
    l->names[l->count] = cli_alloc(length + 1);
    memcpy(l->names[l->count++], text, length);
    return true;
}

/* "a, b": false, and it has been said, when that is not a list of two different labels or more. */
static bool split_labels(const eval_args *args, labels *l)
{
    for (const char *at = args->labels;; at++) {
        size_t n = strcspn(at, ","), length = n;
        const char *from = at + strspn(at, " ");
        if (from > at + n) from = at + n;
        length -= (size_t)(from - at);
        while (length && from[length - 1] == ' ') length--;
        if (!length || !add_label(l, from, length)) {
            cli_usage(&args->common, "--labels %s: each label once, and none of them empty", args->labels);
            return false;
        }
        at += n;
        if (!*at) break;
    }
    if (l->count >= 2) return true;
    cli_usage(&args->common, "--labels %s: at least two are needed", args->labels);
    return false;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The labels of {"text", "label"} records, sorted; none when there are too many to be classes. */
static void collect_labels(evaluation *e)
{
    labels *l = &e->labels;
    for (size_t i = 0; i < hone_records_count(e->records); i++) {
        const char *label = hone_records_get(e->records, i)->label;
        if (label && *label) add_label(l, label, strlen(label));
        if (label && l->count <= MOST_LABELS) continue;
        if (label)
            cli_note(&e->args->common, "more than %d different labels: only the loss is measured",
                     MOST_LABELS);
        for (size_t k = 0; k < l->count; k++) free(l->names[k]);
        l->count = 0;
        return;
    }
    qsort(l->names, l->count, sizeof *l->names, by_name);
}

static bool on_progress(void *user, int64_t done, int64_t all)
{
    evaluation *e = user;
    double spent = cli_now() - e->began;
    hone_progress state = {.done = done, .total = all, .unit = "example"};
    if (spent > 1 && done) {
        state.rate = (double)done / spent;
        state.seconds_left = (double)(all - done) / state.rate;
    }
    progress_show(&e->progress, &state);
    return true;
}

static hone_status measure(evaluation *e)
{
    const eval_args *args = e->args;
    hone_status status = HONE_OK;
    hone_llm_data *data = hone_llm_data_new(e->llm, e->records, .max_seq_length = args->max_seq_length);
    if (data) {
        e->counts = hone_llm_data_count(data);
        cli_note(&args->common, "%lld examples of %s, %lld tokens, %lld of them predicted",
                 (long long)e->counts.examples, e->split ? e->split : args->data, (long long)e->counts.tokens,
                 (long long)e->counts.trained_tokens);
        if (e->counts.truncated)
            cli_note(&args->common, "%lld examples are cut at the longest sequence; --max-seq-length sets it",
                     (long long)e->counts.truncated);
        status = hone_llm_evaluate(e->llm, data, &e->result);
    } else {
        status = hone_ctx_status(e->ctx);
    }
    hone_llm_data_free(data);
    if (status == HONE_OK && e->labels.count) {
        e->began = cli_now();
        status = hone_llm_classify(e->llm, e->records, (int64_t)e->labels.count,
                                   (const char *const *)e->labels.names, &e->classes, on_progress, e);
        progress_end(&e->progress);
    }
    return status;
}

static void print_json(const evaluation *e)
{
    const char *data = e->args->data;
    json_t *o = json_pack(
        "{s:o, s:s?, s:o, s:o, s:o, s:I, s:I, s:I}", "data", cli_json_text(data, strlen(data)), "split",
        e->split, "loss", cli_json_real(e->result.loss), "perplexity", cli_json_real(e->result.perplexity),
        "token_accuracy", cli_json_real(e->result.token_accuracy), "tokens", (json_int_t)e->result.tokens,
        "examples", (json_int_t)e->counts.examples, "truncated", (json_int_t)e->counts.truncated);
    if (e->labels.count) {
        json_t *names = json_array();
        for (size_t i = 0; i < e->labels.count; i++)
            json_array_append_new(names, cli_json_text(e->labels.names[i], strlen(e->labels.names[i])));
        json_object_set_new(o, "labels", names);
        json_object_set_new(o, "likelihood_accuracy", cli_json_real(e->classes.likelihood_accuracy));
        json_object_set_new(o, "generated_accuracy", cli_json_real(e->classes.generated_accuracy));
        json_object_set_new(o, "macro_f1", cli_json_real(e->classes.macro_f1));
    }
    cli_print_json(o);
}

static void print_table(const evaluation *e)
{
    printf("loss                 %.6f\n", e->result.loss);
    printf("perplexity           %.4f\n", e->result.perplexity);
    printf("token accuracy       %.4f\n", e->result.token_accuracy);
    if (!e->labels.count) return;
    printf("likelihood accuracy  %.4f\n", e->classes.likelihood_accuracy);
    printf("generated accuracy   %.4f\n", e->classes.generated_accuracy);
    printf("macro F1             %.4f\n", e->classes.macro_f1);
}

/* What `hone train` made. */
static int evaluate_task(eval_args *args)
{
    if (args->adapter || args->labels || args->max_seq_length)
        return cli_usage(&args->common, "--%s is for language models, and %s is from `hone train`",
                         args->adapter ? "adapter" : args->labels ? "labels" : "max-seq-length", args->model);
    hone_ctx *ctx = cli_ctx(&args->common);
    task *t = ctx ? task_open(&args->common, ctx, args->model) : NULL;
    task_score score = {0};
    bool ok = t && t->kind->read(t, args->data, true) && task_measure(t, 0, NULL, &score) && task_score_print(&score);
    task_score_free(&score);
    task_free(t);
    hone_ctx_release(ctx);
    return ok ? EXIT_DONE : EXIT_FAILED;
}

static int run(void *memory)
{
    eval_args *args = memory;
    if (task_exists(args->model)) return evaluate_task(args);
    evaluation e = {.args = args};
    e.progress = (progress){.off = args->common.quiet, .unit = "example"};
    if (args->labels && !split_labels(args, &e.labels)) {
        for (size_t i = 0; i < e.labels.count; i++) free(e.labels.names[i]);
        free(e.labels.names);
        return EXIT_USAGE;
    }
    int status = EXIT_FAILED;
    e.ctx = cli_ctx(&args->common);
    if (e.ctx) {
        e.split = hone_records_exist(e.ctx, args->data, "test")    ? "test"
                  : hone_records_exist(e.ctx, args->data, "valid") ? "valid"
                                                                   : NULL;
        e.records = hone_records_load(e.ctx, args->data, e.split);
        if (!e.records) cli_fail_ctx(&args->common, e.ctx);
    }
    if (e.records && !e.labels.count) collect_labels(&e);
    if (e.records) e.llm = cli_open(&args->common, e.ctx, args->model, args->adapter);
    if (e.llm) {
        status = measure(&e) == HONE_OK ? EXIT_DONE : cli_fail_ctx(&args->common, e.ctx);
        if (status == EXIT_DONE && args->common.json)
            print_json(&e);
        else if (status == EXIT_DONE)
            print_table(&e);
    }
    for (size_t i = 0; i < e.labels.count; i++) free(e.labels.names[i]);
    free(e.labels.names);
    hone_records_free(e.records);
    hone_llm_free(e.llm);
    hone_ctx_release(e.ctx);
    return status;
}

static const option options[] = {
    OPTION_MODEL(eval_args),
    OPTION_ADAPTER(eval_args),
    {.name = "data", .kind = OPTION_STRING, .offset = offsetof(eval_args, data), .value = "DATA",
     .required = true,
     .help = "a .jsonl or .txt file, or a folder: of it test.jsonl, else valid.jsonl, else train.jsonl; for what `hone train` made "
             "a table or folder as it takes"},
    {.name = "labels", .kind = OPTION_STRING, .offset = offsetof(eval_args, labels), .value = "A,B,...",
     .shown = "those of {\"text\", \"label\"} records",
     .help = "the answers are these labels: also measures how often the likeliest label is right, how "
             "often the generated answer is, and macro F1"},
    {.name = "max-seq-length", .kind = OPTION_INT, .offset = offsetof(eval_args, max_seq_length),
     .value = "N", .shown = "1024, or what the model holds", OPTION_AT_LEAST(2),
     .help = "longer examples lose their end"},
};
const command cmd_eval = {
    .name = "eval",
    .summary = "loss, perplexity and accuracy on data",
    .about =
        "Measures a model on data, over the tokens that fine-tuning would learn: the loss (mean negative "
        "log-likelihood), its perplexity, and how often the likeliest token is the right one. Of a folder that `hone train` "
        "wrote: the metrics that it ends with, on other data.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .args_size = sizeof(eval_args),
    .run = run,
};
