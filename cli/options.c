/* Parsing the command line, and --help, from the tables of options. */
#include "options.h"
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const option common_options[] = {
    {.name = "dtype", .kind = OPTION_CHOICE, .offset = offsetof(common_args, dtype),
     .value = "auto|f32|bf16", .initial = "auto",
     .help = "what is computed in; auto: bf16 where the CPU is made for it, else f32"},
    {.name = "threads", .kind = OPTION_INT, .offset = offsetof(common_args, threads), .value = "N",
     .shown = "the CPUs this process may use", .min = 1, .max = 4096, .help = "compute threads"},
    {.name = "seed", .kind = OPTION_SEED, .offset = offsetof(common_args, seed), .value = "N",
     .initial = "0", .help = "root of all randomness"},
    {.name = "config", .kind = OPTION_STRING, .offset = offsetof(common_args, config), .value = "FILE.yaml",
     .help = "options from a file, one `name: value` a line; the command line wins over it"},
    {.name = "json", .kind = OPTION_FLAG, .offset = offsetof(common_args, json),
     .help = "results on stdout as JSON, one object a line"},
    {.name = "quiet", .kind = OPTION_FLAG, .offset = offsetof(common_args, quiet),
     .help = "no progress, no notes: errors and results only"},
    {.name = "help", .kind = OPTION_FLAG, .offset = offsetof(common_args, help), .help = "this text"},
};
enum { N_COMMON = sizeof common_options / sizeof *common_options };

/* ---- names ---- */

static char fold(char c) { return c == '_' ? '-' : c; }

static bool same_name(const char *name, size_t length, const char *other)
{
    for (size_t i = 0; i < length; i++)
        if (fold(name[i]) != other[i]) return false;
    return !other[length];
}

const option *options_find(const command *c, const char *name, size_t length)
{
    for (size_t i = 0; i < c->n_options; i++)
        if (same_name(name, length, c->options[i].name)) return &c->options[i];
    for (size_t i = 0; i < N_COMMON; i++)
        if (same_name(name, length, common_options[i].name)) return &common_options[i];
    return NULL;
}

/* Edits (insert, remove, change, swap neighbours) between two names of up to 40 characters. */
static size_t distance(const char *a, const char *b)
{
    enum { MOST = 40 };
    size_t n = strlen(a), m = strlen(b), d[MOST + 1][MOST + 1];
    if (n > MOST || m > MOST) return MOST;
    for (size_t i = 0; i <= n; i++) {
        for (size_t j = 0; j <= m; j++) {
            if (!i || !j) {
                d[i][j] = i + j;
                continue;
            }
            size_t best = d[i - 1][j - 1] + (fold(a[i - 1]) != fold(b[j - 1]));
            if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[n][m];
}

const char *nearest_name(const char *name, const char *const *names, size_t n)
{
    const char *best = NULL;
    size_t length = strlen(name), least = length / 3 + 2;
    for (size_t i = 0; i < n; i++) {
        bool begins = length >= 3 && !strncmp(names[i], name, length); /* --batch for --batch-size */
        size_t edits = begins ? 1 : distance(name, names[i]);
        if (edits < least && edits < strlen(names[i])) {
            least = edits;
            best = names[i];
        }
    }
    return best;
}

const char *options_suggest(const command *c, const char *name, const char *prefix, char *text, size_t size)
{
    const char **names = cli_alloc((c->n_options + N_COMMON) * sizeof *names);
    size_t n = 0;
    for (size_t i = 0; i < c->n_options; i++) names[n++] = c->options[i].name;
    for (size_t i = 0; i < N_COMMON; i++) names[n++] = common_options[i].name;
    const char *near = nearest_name(name, names, n);
    text[0] = 0;
    if (near) snprintf(text, size, "; did you mean '%s%s'?", prefix, near);
    free(names);
    return text;
}

/* ---- values ---- */

static bool parse_int(const char *text, long long *value)
{
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return strchr("+-0123456789", *text) && *text && end != text && !*end && !errno;
}

static bool parse_seed(const char *text, uint64_t *value)
{
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return strchr("0123456789", *text) && *text && !*end && !errno;
}

static bool parse_real(const char *text, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return *text && strspn(text, "+-.0123456789eE") == strlen(text) && !*end && isfinite(*value);
}

static bool parse_choice(const char *text, const char *choices, int *value)
{
    size_t length = strlen(text);
    const char *at = choices;
    for (int i = 1; length; i++) {
        size_t n = strcspn(at, "|");
        if (n == length && !cli_compare_case(at, text, n)) {
            *value = i;
            return true;
        }
        if (!at[n]) break;
        at += n + 1;
    }
    return false;
}

static void wrong_choice(const common_args *args, const option *o, const char *where, const char *value)
{
    char choices[200];
    size_t n = 0;
    for (const char *at = o->value; *at && n + 3 < sizeof choices; at++) {
        choices[n++] = *at == '|' ? ',' : *at;
        if (*at == '|') choices[n++] = ' ';
    }
    choices[n] = 0;
    cli_fail(args, "%s%s '%s': must be one of %s", where, o->name, value, choices);
}

/* Says what a number may be. */
static bool out_of_range(const common_args *args, const option *o, const char *where, const char *value)
{
    if (o->kind == OPTION_POSITIVE && o->max <= 0)
        cli_fail(args, "%s%s %s: must be more than 0", where, o->name, value);
    else if (o->kind == OPTION_POSITIVE)
        cli_fail(args, "%s%s %s: must be more than 0 and at most %.10g", where, o->name, value, o->max);
    else if (o->max < o->min)
        cli_fail(args, "%s%s %s: must be at least %.10g", where, o->name, value, o->min);
    else
        cli_fail(args, "%s%s %s: must be between %.10g and %.10g", where, o->name, value, o->min, o->max);
    return false;
}

static bool in_range(const option *o, double x)
{
    if (o->kind == OPTION_POSITIVE) return x > 0 && (o->max <= 0 || x <= o->max);
    return x >= o->min && (o->max < o->min || x <= o->max);
}

/* What names a file or folder names one; a text, a column and a network of no layers may be empty. */
static bool may_be_empty(const option *o)
{
    static const char *const kinds[] = {"TEXT", "COLUMN", "LAYERS"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(o->value, kinds[i])) return true;
    return false;
}

/* An INT without bounds of its own has min = max = 0: every table gives them. */
bool options_set(const command *c, void *args, const option *o, const char *where, const char *value)
{
    const common_args *common = args;
    void *to = (char *)args + o->offset;
    long long whole;
    (void)c;
    switch (o->kind) {
    case OPTION_FLAG:
        *(bool *)to = !value;
        return true;
    case OPTION_STRING:
        *(const char **)to = value;
        if (*value || may_be_empty(o)) return true;
        cli_fail(common, "%s%s is empty: %s is expected", where, o->name, o->value);
        return false;
    case OPTION_STRINGS: {
        string_list *list = to;
        list->items = cli_realloc(list->items, (list->count + 1) * sizeof *list->items);
        list->items[list->count++] = value;
        return true;
    }
    case OPTION_INT:
        if (!parse_int(value, &whole)) {
            cli_fail(common, "%s%s '%s': not a whole number", where, o->name, value);
            return false;
        }
        if (!in_range(o, (double)whole)) return out_of_range(common, o, where, value);
        *(int64_t *)to = whole;
        return true;
    case OPTION_SEED:
        if (parse_seed(value, to)) return true;
        cli_fail(common, "%s%s '%s': not a whole number from 0 to 18446744073709551615", where, o->name,
                 value);
        return false;
    case OPTION_REAL:
    case OPTION_POSITIVE:
        if (!parse_real(value, to)) {
            cli_fail(common, "%s%s '%s': not a number", where, o->name, value);
            return false;
        }
        return in_range(o, *(double *)to) || out_of_range(common, o, where, value);
    case OPTION_CHOICE:
        if (parse_choice(value, o->value, to)) return true;
        wrong_choice(common, o, where, value);
        return false;
    }
    return false;
}

/* ---- the command line ---- */

typedef struct assignment {
    const option *option;
    const char *value; /* NULL: a flag */
} assignment;

typedef struct command_line {
    const command *command;
    common_args *args;
    assignment *set;
    size_t n;
} command_line;

static bool is_option_name(const command *c, const char *text)
{
    return !strncmp(text, "--", 2) && options_find(c, text + 2, strcspn(text + 2, "="));
}

static bool add_positional(command_line *line, const char *text)
{
    for (size_t i = 0; i < line->command->n_options; i++) {
        const option *o = &line->command->options[i];
        bool taken = !o->positional;
        for (size_t k = 0; k < line->n && !taken && o->kind != OPTION_STRINGS; k++) taken = line->set[k].option == o;
        if (taken) continue;
        line->set[line->n++] = (assignment){o, text};
        return true;
    }
    cli_fail(line->args, "unexpected argument '%s'; an option begins with --", text);
    return false;
}

/* One --name, --name=value or --name value; advances *i over the value. */
static bool add_option(command_line *line, int *i)
{
    common_args *args = line->args;
    char *text = args->argv[*i], hint[80];
    size_t length = strcspn(text + 2, "=");
    const option *o = options_find(line->command, text + 2, length);
    const char *value = text[2 + length] ? text + 2 + length + 1 : NULL;
    if (!o) {
        char name[41];
        snprintf(name, sizeof name, "%.*s", (int)(length < 40 ? length : 40), text + 2);
        cli_fail(args, "unknown option '--%s'%s", name,
                 options_suggest(line->command, name, "--", hint, sizeof hint));
        return false;
    }
    if (o->kind == OPTION_FLAG && value) {
        cli_fail(args, "--%s takes no value", o->name);
        return false;
    }
    if (o->kind != OPTION_FLAG && !value) {
        value = *i + 1 < args->argc ? args->argv[*i + 1] : NULL;
        if (!value || is_option_name(line->command, value)) {
            cli_fail(args, "--%s needs a value: --%s %s", o->name, o->name, o->value);
            return false;
        }
        ++*i;
    }
    line->set[line->n++] = (assignment){o, value};
    return true;
}

static bool collect(command_line *line, int first)
{
    common_args *args = line->args;
    bool names = true; /* no -- yet */
    for (int i = first; i < args->argc; i++) {
        char *text = args->argv[i];
        if (names && !strcmp(text, "--")) {
            names = false;
        } else if (names && (!strcmp(text, "-h") || !strcmp(text, "--help"))) {
            args->help = true;
            return true;
        } else if (names && !strncmp(text, "--", 2)) {
            if (!add_option(line, &i)) return false;
        } else if (names && text[0] == '-' && text[1]) {
            cli_fail(args, "unknown option '%s'; options are written out: --name value", text);
            return false;
        } else if (!add_positional(line, text)) {
            return false;
        }
    }
    return true;
}

static bool set_defaults(const command *c, void *args)
{
    for (size_t i = 0; i < N_COMMON; i++)
        if (common_options[i].initial &&
            !options_set(c, args, &common_options[i], "default of --", common_options[i].initial))
            return false;
    for (size_t i = 0; i < c->n_options; i++)
        if (c->options[i].initial &&
            !options_set(c, args, &c->options[i], "default of --", c->options[i].initial))
            return false;
    return true;
}

/* What is required is a string or a choice. */
static bool is_given(const option *o, const void *args)
{
    const void *value = (const char *)args + o->offset;
    return o->kind == OPTION_CHOICE ? *(const int *)value != 0 : *(const char *const *)value != NULL;
}

static bool check_required(const command *c, void *args)
{
    for (size_t i = 0; i < c->n_options; i++) {
        const option *o = &c->options[i];
        if (!o->required || is_given(o, args)) continue;
        if (o->positional)
            cli_fail(args, "%s is missing", o->value);
        else
            cli_fail(args, "--%s %s is missing", o->name, o->value);
        return false;
    }
    return true;
}

static bool apply(command_line *line)
{
    common_args *args = line->args;
    const command *c = line->command;
    if (!set_defaults(c, args)) return false;
    for (size_t i = 0; i < line->n; i++)
        if (line->set[i].option->offset == offsetof(common_args, config) && !options_set(c, args, line->set[i].option, "--", line->set[i].value))
            return false;
    if (args->config && !options_load(c, args, args->config)) return false;
    for (size_t i = 0; i < line->n; i++) /* a list on the command line replaces the file's */
        if (line->set[i].option->kind == OPTION_STRINGS)
            ((string_list *)((char *)args + line->set[i].option->offset))->count = 0;
    for (size_t i = 0; i < line->n; i++)
        if (!options_set(c, args, line->set[i].option, "--", line->set[i].value)) return false;
    return check_required(c, args);
}

bool options_parse(const command *c, int argc, char **argv, int first, void *args)
{
    common_args *common = args;
    common->command = c;
    common->argc = argc;
    common->argv = argv;
    command_line line = {
        .command = c, .args = common, .set = cli_alloc(((size_t)argc + 1) * sizeof *line.set)};
    bool ok = collect(&line, first) && (common->help || apply(&line));
    free(line.set);
    if (!ok) fprintf(stderr, "`hone %s --help` lists the options\n", c->name);
    return ok;
}

void options_free(const command *c, void *args)
{
    common_args *common = args;
    for (size_t i = 0; i < c->n_options; i++)
        if (c->options[i].kind == OPTION_STRINGS)
            free(((string_list *)((char *)args + c->options[i].offset))->items);
    for (size_t i = 0; i < common->n_owned; i++) free(common->owned[i]);
    free(common->owned);
    free(common->from_config.items);
}

/* ---- --help ---- */

enum { HELP_COLUMN = 32, HELP_WIDTH = 100 };

/* Text from column `from`, wrapped; *at is where the cursor stands. */
static void wrap(FILE *to, const char *text, int from, int *at)
{
    while (*text) {
        int word = (int)strcspn(text, " \n");
        bool breaks = text[word] == '\n';
        if (*at > from && *at + 1 + word > HELP_WIDTH) {
            fprintf(to, "\n%*s", from, "");
            *at = from;
        }
        *at += fprintf(to, "%s%.*s", *at > from ? " " : "", word, text);
        text += word + (text[word] != 0);
        if (breaks) {
            fprintf(to, "\n%*s", from, "");
            *at = from;
        }
    }
}

/* "first|second|third", in several lines where it must be; returns where the cursor stands. */
static int help_value(const char *value, int at, FILE *to)
{
    while (*value) {
        int n = (int)strcspn(value, "|");
        n += value[n] != 0;
        if (at + n > HELP_WIDTH) at = fprintf(to, "\n%6s", "") - 1;
        at += fprintf(to, "%.*s", n, value);
        value += n;
    }
    return at;
}

static void help_option(const option *o, FILE *to)
{
    char text[600];
    int at = fprintf(to, "  --%s%s", o->name, o->value ? " " : "");
    if (o->value) at = help_value(o->value, at, to);
    if (at >= HELP_COLUMN) {
        fputc('\n', to);
        at = 0;
    }
    fprintf(to, "%*s", HELP_COLUMN - at, "");
    at = HELP_COLUMN;
    const char *initial = o->shown ? o->shown : o->initial;
    const char *note = o->required                 ? " (required)"
                       : o->kind == OPTION_STRINGS ? " (may be given several times)"
                                                   : "";
    if (initial)
        snprintf(text, sizeof text, "%s%s (default: %s)", o->help, note, initial);
    else
        snprintf(text, sizeof text, "%s%s", o->help, note);
    wrap(to, text, HELP_COLUMN, &at);
    fputc('\n', to);
}

void options_help(const command *c, FILE *to)
{
    int at = fprintf(to, "usage: hone %s", c->name);
    char part[120];
    for (size_t i = 0; i < c->n_options; i++) {
        const option *o = &c->options[i];
        if (!o->required && !o->positional) continue;
        if (o->positional)
            snprintf(part, sizeof part, o->required ? "%s" : "[%s]", o->value);
        else
            snprintf(part, sizeof part, "--%s %s", o->name, o->value);
        at += fprintf(to, " %s", part);
    }
    fputs(" [options]\n\n", to);
    at = 0;
    wrap(to, c->about, 0, &at);
    fputs("\n\n", to);
    for (size_t i = 0; i < c->n_options; i++) help_option(&c->options[i], to);
    fputc('\n', to);
    for (size_t i = 0; i < N_COMMON; i++)
        if (options_find(c, common_options[i].name, strlen(common_options[i].name)) == &common_options[i])
            help_option(&common_options[i], to);
}
