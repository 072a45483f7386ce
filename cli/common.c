/* What the subcommands share: errors, contexts, models, interrupts, input and output. */
#include "task.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- errors and memory ---- */

static void say(const common_args *args, const char *format, va_list list)
{
    fflush(stdout);
    fprintf(stderr, "hone %s: ", args->command->name);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
}

int cli_fail(const common_args *args, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    say(args, format, list);
    va_end(list);
    return EXIT_FAILED;
}

int cli_usage(const common_args *args, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    say(args, format, list);
    va_end(list);
    fprintf(stderr, "`hone %s --help` lists the options\n", args->command->name);
    return EXIT_USAGE;
}

int cli_fail_ctx(const common_args *args, const hone_ctx *ctx)
{
    return cli_fail(args, "%s", hone_error(ctx));
}

void cli_note(const common_args *args, const char *format, ...)
{
    if (args->quiet) return;
    va_list list;
    va_start(list, format);
    fflush(stdout);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
}

int cli_finish(const common_args *args, int status)
{
    bool before = ferror(stdout), now = fflush(stdout) != 0;
    if (!before && !now) return status;
    return cli_fail(args, "stdout: %s", before ? "cannot be written" : cli_system_error());
}

const char *cli_system_error(void) { return strerror(errno); }

static void *checked(void *memory)
{
    if (memory) return memory;
    fputs("hone: memory ran out\n", stderr);
    exit(EXIT_FAILED);
}

void *cli_alloc(size_t size) { return checked(calloc(1, size ? size : 1)); }
void *cli_realloc(void *memory, size_t size) { return checked(realloc(memory, size ? size : 1)); }

char *cli_copy(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(cli_alloc(size), text, size);
}

char *cli_join(const char *folder, const char *name)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = cli_alloc(size);
    snprintf(path, size, "%s/%s", folder, name);
    return path;
}

int cli_compare_case(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int x = a[i] >= 'A' && a[i] <= 'Z' ? a[i] + 32 : a[i],
            y = b[i] >= 'A' && b[i] <= 'Z' ? b[i] + 32 : b[i];
        if (x != y || !x) return x - y;
    }
    return 0;
}

/* ---- contexts and models ---- */

static void log_line(void *user, hone_log_level level, const char *message)
{
    if (level == HONE_LOG_WARNING) cli_note(user, "warning: %s", message);
}

hone_ctx *cli_ctx(const common_args *args)
{
    hone_ctx *ctx = hone_ctx_new(.threads = (int)args->threads, .seed = args->seed, .log = log_line,
                                 .log_user = (void *)(uintptr_t)args);
    if (!ctx) cli_fail(args, "memory ran out");
    return ctx;
}

hone_llm *cli_open(const common_args *args, hone_ctx *ctx, const char *model, const char *adapter)
{
    if (task_exists(model)) {
        cli_fail(args, "%s is what `hone train` wrote, and no language model: `hone predict` and `hone eval` take it", model);
        return NULL;
    }
    hone_llm *llm = hone_llm_open(ctx, model, .compute = args->dtype == DTYPE_BF16 ? HONE_BF16 : HONE_F32,
                                  .auto_compute = args->dtype == DTYPE_AUTO);
    if (llm && (!adapter || hone_llm_load_adapter(llm, adapter) == HONE_OK)) return llm;
    cli_fail_ctx(args, ctx);
    hone_llm_free(llm);
    return NULL;
}

/* A handler gets no argument of ours. */
static hone_ctx *volatile to_cancel;
static volatile sig_atomic_t interrupted, ends_next;

static void handle(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
    if (to_cancel) hone_cancel(to_cancel);
    if (ends_next) handle(SIG_DFL);
}

void cli_on_interrupt(interrupts what, hone_ctx *ctx)
{
    interrupted = 0;
    to_cancel = what == INTERRUPTS_CANCEL || what == INTERRUPTS_CANCEL_ONCE ? ctx : NULL;
    ends_next = what == INTERRUPTS_CANCEL_ONCE || what == INTERRUPTS_TELL_ONCE;
    handle(what == INTERRUPTS_END ? SIG_DFL : what == INTERRUPTS_IGNORE ? SIG_IGN : on_signal);
}

bool cli_interrupted(void) { return interrupted != 0; }

/* ---- input ---- */

bool cli_read_stdin(const common_args *args, char **text, size_t *size)
{
    size_t capacity = 1 << 16, n = 0;
    char *data = cli_alloc(capacity);
    for (size_t got; (got = fread(data + n, 1, capacity - n - 1, stdin)) > 0;) {
        n += got;
        if (capacity - n == 1) data = cli_realloc(data, capacity *= 2);
    }
    if (ferror(stdin)) {
        cli_fail(args, "stdin: %s", cli_system_error());
        free(data);
        return false;
    }
    data[n] = 0;
    *text = data;
    *size = n;
    return true;
}

bool cli_read_line(char **line, size_t *capacity, size_t *size, bool *newline)
{
    ssize_t n = getline(line, capacity, stdin);
    if (n < 0) return false;
    *newline = n && (*line)[n - 1] == '\n';
    if (*newline) (*line)[--n] = 0;
    *size = (size_t)n;
    return true;
}

bool cli_parse_ids(const char *text, size_t size, int32_t **ids, size_t *count, const char **bad)
{
    const char *end = text + size;
    for (const char *at = text;;) {
        while (at < end && strchr(" \t\r\n,", *at) && *at) at++;
        if (at == end) return true;
        *bad = at;
        int64_t id = 0;
        for (; at < end && *at >= '0' && *at <= '9'; at++)
            if ((id = id * 10 + (*at - '0')) > INT32_MAX) return false;
        if (at == *bad || (at < end && (!*at || !strchr(" \t\r\n,", *at)))) return false;
        if (!(*count & (*count + 1))) *ids = cli_realloc(*ids, (*count * 2 + 2) * sizeof **ids);
        (*ids)[(*count)++] = (int32_t)id;
    }
}

/* ---- output ---- */

void cli_print_json(json_t *object)
{
    cli_write_json(stdout, object);
    fflush(stdout);
}

void cli_write_json(FILE *to, json_t *object)
{
    json_dumpf(object, to, JSON_COMPACT | JSON_REAL_PRECISION(9));
    fputc('\n', to);
    json_decref(object);
}

json_t *cli_json_real(double value) { return isfinite(value) ? json_real(value) : json_null(); }

/* Length of the UTF-8 character at text (RFC 3629), 0: none. */
static size_t utf8_length(const unsigned char *text, size_t size)
{
    unsigned char c = text[0];
    size_t n = c < 0x80                ? 1
               : c >= 0xC2 && c < 0xE0 ? 2
               : (c & 0xF0) == 0xE0    ? 3
               : c >= 0xF0 && c < 0xF5 ? 4
                                       : 0;
    if (!n || n > size) return 0;
    for (size_t i = 1; i < n; i++)
        if ((text[i] & 0xC0) != 0x80) return 0;
    if ((c == 0xE0 && text[1] < 0xA0) || (c == 0xED && text[1] > 0x9F) || (c == 0xF0 && text[1] < 0x90) ||
        (c == 0xF4 && text[1] > 0x8F))
        return 0;
    return n;
}

bool cli_is_utf8(const char *text)
{
    size_t size = strlen(text), length = 1;
    for (size_t i = 0; i < size && length; i += length) length = utf8_length((const unsigned char *)text + i, size - i);
    return length != 0;
}

json_t *cli_json_ids(const hone_tokens *tokens)
{
    json_t *ids = json_array();
    for (size_t i = 0; i < tokens->count; i++) json_array_append_new(ids, json_integer(tokens->ids[i]));
    return ids;
}

json_t *cli_json_text(const char *text, size_t size)
{
    char *clean = cli_alloc(size * 3 + 1);
    size_t n = 0;
    for (size_t i = 0; i < size;) {
        size_t length = utf8_length((const unsigned char *)text + i, size - i);
        memcpy(clean + n, length ? text + i : "\xEF\xBF\xBD", length ? length : 3);
        n += length ? length : 3;
        i += length ? length : 1;
    }
    json_t *result = json_stringn(clean, n);
    free(clean);
    return result;
}

const char *cli_bytes(double bytes, char text[32])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    int unit = 0;
    for (; bytes >= 1000 && unit < 4; unit++) bytes /= 1000;
    snprintf(text, 32, unit ? "%.3g %s" : "%.0f %s", bytes, units[unit]);
    return text;
}

const char *cli_count(int64_t count, char text[32])
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%lld", (long long)count), at = 0;
    for (int i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0 && digits[i - 1] != '-') text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = 0;
    return text;
}

const char *cli_duration(double seconds, char text[32])
{
    long s = seconds < 0 ? 0 : seconds > 3.6e8 ? 360000000 : lround(seconds);
    if (s < 60)
        snprintf(text, 32, seconds < 10 ? "%.1f s" : "%.0f s", seconds < 0 ? 0 : seconds);
    else if (s < 3600)
        snprintf(text, 32, "%ld min %ld s", s / 60, s % 60);
    else
        snprintf(text, 32, "%ld h %ld min", s / 3600, s / 60 % 60);
    return text;
}

double cli_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void cli_print_shell(FILE *to, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=,:+@%";
    if (*word && strspn(word, plain) == strlen(word)) {
        fputs(word, to);
        return;
    }
    fputc('\'', to);
    for (; *word; word++) fputs(*word == '\'' ? "'\\''" : (char[]){*word, 0}, to);
    fputc('\'', to);
}
