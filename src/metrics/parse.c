/* Metrics by text: "f_beta(beta=2, average=macro, name=f2)". */
#include "metrics/metrics.h"

#include <math.h>
#include <stddef.h>

/* A part of the text. */
typedef struct word {
    const char *at;
    size_t length;
} word;

static bool is(word w, const char *name) { return strlen(name) == w.length && !memcmp(name, w.at, w.length); }

static word trimmed(const char *at, size_t length)
{
    while (length && *at == ' ') at++, length--;
    while (length && at[length - 1] == ' ') length--;
    return (word){at, length};
}

/* Digits and perhaps a point, whatever the locale; NaN for anything else. */
static double number(word w)
{
    bool minus = w.length && *w.at == '-';
    double value = 0, unit = 0;
    size_t digits = 0;
    for (size_t i = minus; i < w.length; i++) {
        if (w.at[i] == '.' && unit == 0) {
            unit = 1;
            continue;
        }
        if (w.at[i] < '0' || w.at[i] > '9' || ++digits > 15) return NAN;
        value = value * 10 + (w.at[i] - '0');
        unit *= 10;
    }
    if (!digits) return NAN;
    value /= unit > 0 ? unit : 1; /* both exact: rounded once */
    return minus ? -value : value;
}

typedef enum option_type { NUMBER, COUNT, INDEX, FLAG, AVERAGE, NAME } option_type;
static const struct option {
    const char *name;
    option_type type;
    size_t offset;
} options[] = {
#define OPTION(name, type) {#name, type, offsetof(hone_metric_opts, name)}
    OPTION(average, AVERAGE),  OPTION(beta, NUMBER),      OPTION(k, COUNT),            OPTION(threshold, NUMBER),
    OPTION(from_logits, FLAG), OPTION(elementwise, FLAG), OPTION(ignore_index, INDEX), OPTION(at_least, NUMBER),
    OPTION(name, NAME),
#undef OPTION
};

static bool set_average(word value, hone_average *to)
{
    static const char *const names[] = {"auto", "binary", "macro", "micro", "weighted"};
    for (size_t i = 0; i < HONE_ARRAY_LEN(names); i++)
        if (is(value, names[i])) return *to = (hone_average)i, true;
    return false;
}

/* false: the option cannot be that. name: room for the metric's. */
static bool set(const struct option *option, word value, hone_metric_opts *o, char name[64])
{
    void *to = (char *)o + option->offset;
    double v = number(value);
    bool whole = v == floor(v) && fabs(v) < 1e9;
    switch (option->type) {
    case NUMBER: *(double *)to = v == 0 ? (double)HONE_ZERO : v; return !isnan(v);
    case COUNT: *(int *)to = whole ? (int)v : 0; return whole && v > 0;
    case INDEX: *(int64_t *)to = whole ? (int64_t)v : 0; return whole;
    case FLAG: *(bool *)to = is(value, "true"); return is(value, "true") || is(value, "false");
    case AVERAGE: return set_average(value, to);
    case NAME: break;
    }
    if (!value.length || value.length > 63) return false;
    memcpy(name, value.at, value.length);
    name[value.length] = 0;
    o->name = name;
    return true;
}

static bool set_option(word key, word value, hone_metric_opts *o, char name[64])
{
    for (size_t i = 0; i < HONE_ARRAY_LEN(options); i++)
        if (is(key, options[i].name)) return set(&options[i], value, o, name);
    return false;
}

hone_metric *hone_metric_parse(hone_ctx *ctx, const char *text, const hone_metric_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    if (!text) text = "";
    hone_metric_opts o = opts ? *opts : (hone_metric_opts){0};
    char own_name[64];
    word all = trimmed(text, strlen(text)), name = trimmed(all.at, strcspn(all.at, "("));
    bool listed = name.length < all.length && strchr(text, '(');
    const char *end = all.at + all.length - (listed ? 1 : 0);
    bool ok = !listed || (*end == ')' && memchr(all.at, ')', all.length) == end);
    if (!listed) name = all;
    for (const char *at = listed ? strchr(text, '(') + 1 : end; ok && at < end;) {
        const char *comma = memchr(at, ',', (size_t)(end - at)), *stop = comma ? comma : end;
        const char *equals = memchr(at, '=', (size_t)(stop - at));
        ok = equals && set_option(trimmed(at, (size_t)(equals - at)), trimmed(equals + 1, (size_t)(stop - equals - 1)), &o, own_name);
        if (!ok)
            hone__fail(ctx, HONE_INVALID, "metric '%.100s': '%.*s' is no option; there are average=macro, beta=2, k=3, threshold=0.5, "
                                          "from_logits=true, elementwise=true, ignore_index=-100, at_least=0.9, name=...",
                       text, (int)HONE_MIN(stop - at, (ptrdiff_t)100), at);
        at = comma ? comma + 1 : end;
    }
    if (!ok && hone__ok(ctx)) hone__fail(ctx, HONE_INVALID, "metric '%.100s': a name, or name(option=value, ...) is wanted", text);
    char *known = ok ? hone__strndup(ctx, name.at, name.length) : NULL;
    hone_metric *m = known ? hone_metric_new_opt(ctx, known, &o) : NULL;
    hone__free(ctx, known);
    return m;
}
