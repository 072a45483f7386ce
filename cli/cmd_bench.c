/* hone bench: how fast Hone is here, each workload in a process of its own. */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct bench_args {
    common_args common;
    string_list names;
    const char *model, *compare;
    int64_t repeats;
    int64_t batch, length, prompt_length; /* 0: the workload's own */
    bool list, in_process, profile;
} bench_args;

/* ---- one result ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* {"name", "unit", "value" (the median), "min", "max", "samples", "limit", "share_of_limit", "peak_memory_bytes"} */
static json_t *result_of(const bench_workload *w, double *samples, int64_t n, double limit, size_t peak)
{
    json_t *all = json_array();
    for (int64_t i = 0; i < n; i++) json_array_append_new(all, json_real(samples[i]));
    qsort(samples, (size_t)n, sizeof *samples, ascending);
    double median = (samples[n / 2] + samples[(n - 1) / 2]) / 2;
    double share = limit <= 0 ? 0 : w->less_is_better ? limit / median : median / limit;
    return json_pack("{s:s, s:s, s:f, s:f, s:f, s:o, s:o, s:o, s:I}", "name", w->name, "unit", w->unit, "value", median,
                     "min", samples[0], "max", samples[n - 1], "samples", all, "limit",
                     limit > 0 ? json_real(limit) : json_null(), "share_of_limit", limit > 0 ? json_real(share) : json_null(),
                     "peak_memory_bytes", (json_int_t)peak);
}

static bool is_resized(const bench_args *args)
{
    return args->batch || args->length || args->prompt_length;
}

static json_t *measure_here(const bench_args *args, const bench_workload *meant)
{
    bench_workload sized = *meant, *w = &sized;
    if (args->batch) w->batch = args->batch;
    if (args->length) w->length = args->length;
    if (args->prompt_length) w->prompt_length = args->prompt_length;
    bench_run run = {.args = &args->common, .work = w, .model = w->model ? args->model : NULL, .resized = is_resized(args),
                     .profiled = args->profile, .repeats = w->whole_process ? 1 : args->repeats, .began = cli_now(), .ctx = cli_ctx(&args->common)};
    if (!run.ctx) return NULL;
    bool ok = w->run(&run) && run.n > 0;
    if (!ok && hone_error(run.ctx)[0]) cli_fail_ctx(&args->common, run.ctx);
    json_t *result = ok ? result_of(w, run.samples, run.n, run.limit, run.peak_memory) : NULL;
    if (result && run.table) json_object_set_new(result, "profile", json_string(run.table));
    hone_free_text(run.ctx, run.table);
    hone_profile_free(run.profile);
    hone_ctx_release(run.ctx);
    return result;
}

/* ---- children ---- */

/* Runs this program with those arguments (which end with NULL; the first is its name); what it prints, owned by the caller.
   NULL: it failed, and has said why. */
static char *run_self(const bench_args *args, char *const *argv)
{
    int ends[2];
    if (pipe(ends)) {
        cli_fail(&args->common, "pipe: %s", cli_system_error());
        return NULL;
    }
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (dup2(ends[1], STDOUT_FILENO) >= 0 && !close(ends[0]) && !close(ends[1])) execv("/proc/self/exe", argv);
        _exit(127);
    }
    close(ends[1]);
    size_t n = 0, capacity = 4096;
    char *text = cli_alloc(capacity);
    for (ssize_t got; child > 0 && ((got = read(ends[0], text + n, capacity - n - 1)) > 0 || (got < 0 && errno == EINTR));) {
        n += got > 0 ? (size_t)got : 0;
        if (capacity - n == 1) text = cli_realloc(text, capacity *= 2);
    }
    close(ends[0]);
    text[n] = 0;
    int status = -1;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) return text;
    free(text);
    if (child < 0 || !WIFEXITED(status) || WEXITSTATUS(status) == 127)
        cli_fail(&args->common, "'%s %s' did not run to its end", argv[1], argv[2]);
    return NULL;
}

static json_t *measure_once(const bench_args *args, const bench_workload *w, const char *model)
{
    const struct {
        const char *option;
        int64_t value;
    } numbers[] = {{"--repeats", args->repeats}, {"--threads", args->common.threads}, {"--batch", args->batch},
                   {"--length", args->length}, {"--prompt-length", args->prompt_length}};
    enum { NUMBERS = sizeof numbers / sizeof *numbers };
    char text_of[NUMBERS][24];
    const char *argv[5 + 2 * NUMBERS + 5] = {args->common.argv[0], "bench", w->name, "--in-process", "--json"};
    int n = 5;
    for (int i = 0; i < NUMBERS; i++) {
        snprintf(text_of[i], sizeof text_of[i], "%lld", (long long)numbers[i].value);
        if (numbers[i].value) argv[n++] = numbers[i].option, argv[n++] = text_of[i];
    }
    if (model) argv[n++] = "--model", argv[n++] = model;
    if (args->common.quiet) argv[n++] = "--quiet";
    if (args->profile) argv[n++] = "--profile";
    char *text = run_self(args, (char *const *)(uintptr_t)argv);
    json_t *result = text ? json_loads(text, 0, NULL) : NULL;
    if (text && !result) cli_fail(&args->common, "%s: its process told no result", w->name);
    free(text);
    return result;
}

/* Several processes, timed from outside; the first one finds the files in no cache. */
static json_t *measure_processes(const bench_args *args, const bench_workload *w, const char *model)
{
    double samples[BENCH_SAMPLES];
    json_int_t peak = 0;
    for (int64_t i = -1; i < args->repeats; i++) {
        double began = cli_now();
        json_t *one = measure_once(args, w, model);
        if (!one) return NULL;
        if (i >= 0) samples[i] = cli_now() - began;
        json_int_t bytes = json_integer_value(json_object_get(one, "peak_memory_bytes"));
        peak = bytes > peak ? bytes : peak;
        json_decref(one);
    }
    return result_of(w, samples, args->repeats, 0, (size_t)peak);
}

/* ---- models made from the one that is given ---- */

typedef struct models {
    char *folder;                     /* NULL: not made yet */
    char *path[BENCH_MODEL_Q8_0 + 1]; /* the same */
} models;

static const struct {
    const char *name, *format, *option, *value;
} exports[] = {[BENCH_MODEL_BF16] = {"bf16", "safetensors", "--dtype", "bf16"},
               [BENCH_MODEL_Q8_0] = {"q8_0.gguf", "gguf", "--quantize", "Q8_0"}};

static const char *model_path(const bench_args *args, models *m, bench_model which)
{
    if (which == BENCH_NO_MODEL) return NULL;
    if (which == BENCH_MODEL) return args->model;
    if (m->path[which]) return m->path[which];
    if (!m->folder && !(m->folder = bench_make_folder(&args->common))) return NULL;
    char *path = cli_join(m->folder, exports[which].name);
    const char *argv[] = {args->common.argv[0], "export", "--model", args->model, "--format", exports[which].format,
                          exports[which].option, exports[which].value, "--output", path, "--quiet", NULL};
    char *text = run_self(args, (char *const *)(uintptr_t)argv);
    if (text) m->path[which] = cli_copy(path);
    free(text);
    free(path);
    return m->path[which];
}

static void remove_models(const bench_args *args, models *m)
{
    bench_remove_folder(&args->common, m->folder);
    for (size_t i = 0; i < sizeof m->path / sizeof *m->path; i++) free(m->path[i]);
}

/* ---- what is said ---- */

/* Results of an earlier run by name; NULL: it has been said. */
static json_t *load_results(const bench_args *args)
{
    FILE *file = fopen(args->compare, "r");
    if (!file) {
        cli_fail(&args->common, "%s: %s", args->compare, cli_system_error());
        return NULL;
    }
    json_t *all = json_object();
    json_error_t error = {.text = "it is empty"};
    char *line = NULL;
    size_t capacity = 0;
    bool whole = true;
    for (ssize_t n; whole && (n = getline(&line, &capacity, file)) >= 0;) {
        json_t *one = json_loadb(line, (size_t)n, 0, &error);
        const char *name = json_string_value(json_object_get(one, "name"));
        whole = one != NULL;
        if (name) json_object_set(all, name, one);
        json_decref(one);
    }
    whole &= json_object_size(all) > 0;
    free(line);
    fclose(file);
    if (whole) return all;
    cli_fail(&args->common, "%s: no results of `hone bench --json`: %s", args->compare, error.text);
    json_decref(all);
    return NULL;
}

/* How much better than in that earlier run; 0: it is not there. */
static double ratio_to(const json_t *before, const bench_workload *w, double value)
{
    double then = json_number_value(json_object_get(json_object_get(before, w->name), "value"));
    if (then <= 0 || value <= 0) return 0;
    return w->less_is_better ? then / value : value / then;
}

/* Three digits, or all those before the point. */
static const char *number(double x, char text[32])
{
    snprintf(text, 32, "%.*f", x >= 100 || x == 0 ? 0 : x >= 10 ? 1 : x >= 1 ? 2 : x >= 0.1 ? 3 : 4, x);
    return text;
}

static void print_heading(const bench_args *args)
{
    printf("%-16s %9s %9s %9s %-9s %9s %9s%s\n", "", "median", "min", "max", "", "memory", "of limit",
           args->compare ? "  before ->" : "");
}

static void print_row(const bench_workload *w, const json_t *result, double ratio)
{
    char a[32], b[32], c[32], d[32], share[32] = "-";
    double value = json_number_value(json_object_get(result, "value"));
    const json_t *limit = json_object_get(result, "share_of_limit");
    if (json_is_number(limit)) snprintf(share, sizeof share, "%.0f %%", 100 * json_number_value(limit));
    printf("%-16s %9s %9s %9s %-9s %9s %9s", w->name, number(value, a),
           number(json_number_value(json_object_get(result, "min")), b),
           number(json_number_value(json_object_get(result, "max")), c), w->unit,
           cli_bytes((double)json_integer_value(json_object_get(result, "peak_memory_bytes")), d), share);
    if (ratio > 0) printf("  %.2fx", ratio);
    putchar('\n');
    fflush(stdout);
}

static void print_list(void)
{
    for (size_t i = 0; i < bench_count; i++)
        printf("%-16s %s (%s)%s\n", bench_workloads[i]->name, bench_workloads[i]->about, bench_workloads[i]->unit,
               bench_workloads[i]->model ? "; needs --model" : "");
}

/* ---- the command ---- */

static const bench_workload *find(const bench_args *args, const char *name)
{
    const char *names[32];
    for (size_t i = 0; i < bench_count; i++) {
        names[i] = bench_workloads[i]->name;
        if (!strcmp(names[i], name)) return bench_workloads[i];
    }
    const char *near = nearest_name(name, names, bench_count);
    cli_usage(&args->common, near ? "there is no workload '%s'; did you mean '%s'?" : "there is no workload '%s'; --list shows them",
              name, near);
    return NULL;
}

static bool measure(const bench_args *args, const bench_workload *w, models *m, const json_t *before)
{
    const char *model = args->in_process ? args->model : model_path(args, m, w->model);
    if (w->model && !model) return false;
    json_t *result = args->in_process   ? measure_here(args, w)
                     : w->whole_process ? measure_processes(args, w, model)
                                        : measure_once(args, w, model);
    if (!result) return false;
    double ratio = ratio_to(before, w, json_number_value(json_object_get(result, "value")));
    if (!args->common.json) {
        print_row(w, result, ratio);
        const char *table = json_string_value(json_object_get(result, "profile"));
        if (table) printf("\n%s\n", table);
        json_decref(result);
        return true;
    }
    if (ratio > 0) json_object_set_new(result, "ratio", json_real(ratio));
    cli_print_json(result);
    return true;
}

static void say_where(const bench_args *args)
{
    hone_ctx *ctx = cli_ctx(&args->common);
    if (ctx && args->common.json)
        cli_print_json(json_pack("{s:s, s:s}", "hone", hone_version(), "hardware", hone_hardware(ctx)));
    else if (ctx)
        printf("hone %s, %s\n", hone_version(), hone_hardware(ctx));
    hone_ctx_release(ctx);
    if (!args->common.json) print_heading(args);
}

static int run_workloads(const bench_args *args, const bench_workload *const *work, size_t n, const json_t *before)
{
    models m = {0};
    int status = EXIT_DONE;
    size_t left_out = 0;
    for (size_t i = 0; i < n; i++) left_out += work[i]->model && !args->model;
    if (left_out == n) return cli_usage(&args->common, "%s needs --model", work[0]->name);
    if (!args->in_process) say_where(args);
    for (size_t i = 0; i < n; i++) {
        if (work[i]->model && !args->model)
            cli_note(&args->common, "%s is left out: it needs --model", work[i]->name);
        else if (!measure(args, work[i], &m, before))
            status = EXIT_FAILED;
    }
    remove_models(args, &m);
    return status;
}

/* Has each of them the sizes that options set? */
static bool can_be_resized(const bench_args *args, const bench_workload *const *work, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct {
            const char *option;
            int64_t wanted, has;
        } sizes[] = {{"--batch", args->batch, work[i]->batch}, {"--length", args->length, work[i]->length},
                     {"--prompt-length", args->prompt_length, work[i]->prompt_length}};
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
            if (sizes[k].wanted && !sizes[k].has)
                return cli_usage(&args->common, "%s has no size that %s could set: name the workloads that are meant",
                                 work[i]->name, sizes[k].option), false;
    }
    return true;
}

static int run(void *memory)
{
    const bench_args *args = memory;
    const bench_workload *work[64];
    size_t n = args->names.count ? args->names.count : bench_count;
    if (args->list) return print_list(), EXIT_DONE;
    if (n > sizeof work / sizeof *work) return cli_usage(&args->common, "so many names at once are not meant");
    for (size_t i = 0; i < n; i++) {
        work[i] = args->names.count ? find(args, args->names.items[i]) : bench_workloads[i];
        if (!work[i]) return EXIT_USAGE;
    }
    if (!can_be_resized(args, work, n)) return EXIT_USAGE;
    if (args->in_process && n != 1) return cli_usage(&args->common, "--in-process measures one workload: name it");
    json_t *before = args->compare ? load_results(args) : NULL;
    if (args->compare && !before) return EXIT_FAILED;
    int status = run_workloads(args, work, n, before);
    json_decref(before);
    return status;
}

#define AT(member) .offset = offsetof(bench_args, member)
static const option options[] = {
    {.name = "names", .kind = OPTION_STRINGS, AT(names), .value = "NAME...", .positional = true,
     .shown = "all that can run", .help = "what to measure"},
    {.name = "list", .kind = OPTION_FLAG, AT(list), .help = "only says what there is"},
    {.name = "model", .kind = OPTION_STRING, AT(model), .value = "MODEL",
     .help = "a language model, for the workloads that need one; the figures of the README are of SmolLM2-135M"},
    {.name = "repeats", .kind = OPTION_INT, AT(repeats), .value = "N", .initial = "5", .min = 1, .max = BENCH_SAMPLES,
     .help = "how often each is timed; slow ones three times"},
    {.name = "batch", .kind = OPTION_INT, AT(batch), .value = "N", .shown = "the workload's own", .min = 1, .max = 65536,
     .help = "sequences or pictures a step"},
    {.name = "length", .kind = OPTION_INT, AT(length), .value = "N", .shown = "the workload's own", .min = 1, .max = 1 << 20,
     .help = "tokens a sequence, a prompt or an answer"},
    {.name = "prompt-length", .kind = OPTION_INT, AT(prompt_length), .value = "N", .shown = "16", .min = 1, .max = 1 << 20,
     .help = "tokens before those that are generated"},
    {.name = "profile", .kind = OPTION_FLAG, AT(profile),
     .help = "a table of each by node: time, rates, share of the limit, memory by owner"},
    {.name = "compare", .kind = OPTION_STRING, AT(compare), .value = "FILE",
     .help = "what --json printed earlier: how much better each is now"},
    {.name = "in-process", .kind = OPTION_FLAG, AT(in_process),
     .help = "one workload in this very process, for debuggers; its memory then includes what was there before"},
};
const command cmd_bench = {
    .name = "bench",
    .summary = "how fast Hone is on this machine",
    .about = "Measures how fast and with how much memory Hone works here, each workload in a process of its own, and what "
             "share that is of what this CPU could do: the workload's matrix products at the best rates measured now, and "
             "the bytes that must move at the memory's measured bandwidth. bench/run --peers sets it beside other software.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .args_size = sizeof(bench_args),
    .run = run,
};
