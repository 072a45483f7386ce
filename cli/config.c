/* --config FILE.yaml: a flat mapping of the options' names. */
#include "cli.h"
#include "options.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

typedef struct reader {
    const command *command;
    common_args *args;
    const char *path;
    yaml_parser_t parser;
    yaml_event_t event; /* the last one taken */
    const option **seen;
    size_t n_seen;
} reader;

static unsigned long line_of(const reader *r) { return (unsigned long)r->event.start_mark.line + 1; }

static bool next(reader *r)
{
    yaml_event_delete(&r->event);
    if (yaml_parser_parse(&r->parser, &r->event)) return true;
    cli_fail(r->args, "%s line %lu: %s", r->path, (unsigned long)r->parser.problem_mark.line + 1,
             r->parser.problem ? r->parser.problem : "not YAML");
    return false;
}

/* The string lives as long as the arguments. */
static char *keep(reader *r, const char *text)
{
    common_args *args = r->args;
    args->owned = cli_realloc(args->owned, (args->n_owned + 1) * sizeof *args->owned);
    return args->owned[args->n_owned++] = cli_copy(text);
}

/* value: NULL for a flag. */
static bool set(reader *r, const option *o, const char *where, const char *value)
{
    if (!options_set(r->command, r->args, o, where, value)) return false;
    string_list *list = &r->args->from_config;
    list->items = cli_realloc(list->items, (list->count + 2) * sizeof *list->items);
    list->items[list->count++] = o->name;
    list->items[list->count++] = value;
    return true;
}

static const char *scalar(const reader *r) { return (const char *)r->event.data.scalar.value; }

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strlen(*words) == strlen(text) && !cli_compare_case(*words, text, strlen(text))) return true;
    return false;
}

static bool set_scalar(reader *r, const option *o, const char *where)
{
    static const char *const none[] = {"", "~", "null", NULL}, *const yes[] = {"true", "yes", "on", NULL},
                             *const no[] = {"false", "no", "off", NULL};
    const char *text = scalar(r);
    bool plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (plain && is_one_of(text, none)) return true; /* not set */
    if (strlen(text) != r->event.data.scalar.length) {
        cli_fail(r->args, "%s%s: a zero byte", where, o->name);
        return false;
    }
    if (o->kind != OPTION_FLAG) return set(r, o, where, keep(r, text));
    if (is_one_of(text, yes)) return set(r, o, where, NULL);
    if (is_one_of(text, no)) return true;
    cli_fail(r->args, "%s%s '%s': must be true or false", where, o->name, text);
    return false;
}

/* A list fills an option that may be given several times; in another it is joined with commas, and layers as people write them. */
static bool set_sequence(reader *r, const option *o, const char *where)
{
    char *joined = cli_copy("");
    bool ok = o->kind == OPTION_STRINGS || o->kind == OPTION_STRING;
    if (!ok) cli_fail(r->args, "%s%s: takes one value, not a list", where, o->name);
    for (size_t n = 0; ok; n++) {
        if (!(ok = next(r)) || r->event.type == YAML_SEQUENCE_END_EVENT) break;
        if (r->event.type != YAML_SCALAR_EVENT || strlen(scalar(r)) != r->event.data.scalar.length) {
            cli_fail(r->args, "%s%s: a list of plain values is expected", where, o->name);
            ok = false;
        } else if (o->kind == OPTION_STRINGS) {
            ok = set(r, o, where, keep(r, scalar(r)));
        } else {
            joined = cli_realloc(joined, strlen(joined) + strlen(scalar(r)) + 3);
            if (n) strcat(joined, !strcmp(o->value, "LAYERS") ? ", " : ",");
            strcat(joined, scalar(r));
        }
    }
    if (ok && o->kind == OPTION_STRING) ok = set(r, o, where, keep(r, joined));
    free(joined);
    return ok;
}

static bool read_entry(reader *r)
{
    char where[400], hint[80];
    if (r->event.type != YAML_SCALAR_EVENT) {
        cli_fail(r->args, "%s line %lu: an option's name is expected", r->path, line_of(r));
        return false;
    }
    const option *o = options_find(r->command, scalar(r), strlen(scalar(r)));
    if (!o || o->offset == offsetof(common_args, config) || o->offset == offsetof(common_args, help)) {
        cli_fail(r->args, "%s line %lu: unknown option '%s'%s", r->path, line_of(r), scalar(r),
                 o ? "" : options_suggest(r->command, scalar(r), "", hint, sizeof hint));
        return false;
    }
    snprintf(where, sizeof where, "%.300s line %lu: ", r->path, line_of(r));
    for (size_t i = 0; i < r->n_seen; i++) {
        if (r->seen[i] != o) continue;
        cli_fail(r->args, "%s'%s' comes twice", where, o->name);
        return false;
    }
    r->seen = cli_realloc(r->seen, (r->n_seen + 1) * sizeof *r->seen);
    r->seen[r->n_seen++] = o;
    if (!next(r)) return false;
    if (r->event.type == YAML_SCALAR_EVENT) return set_scalar(r, o, where);
    if (r->event.type == YAML_SEQUENCE_START_EVENT) return set_sequence(r, o, where);
    cli_fail(r->args, "%s%s: a plain value is expected", where, o->name);
    return false;
}

static bool read_document(reader *r)
{
    if (!next(r) || !next(r)) return false; /* the stream's beginning, the document's */
    if (r->event.type == YAML_STREAM_END_EVENT) return true;
    if (!next(r)) return false;
    if (r->event.type != YAML_MAPPING_START_EVENT) {
        cli_fail(r->args, "%s line %lu: `name: value` lines are expected", r->path, line_of(r));
        return false;
    }
    while (next(r)) {
        if (r->event.type == YAML_MAPPING_END_EVENT) {
            if (!next(r) || !next(r)) return false; /* the document's end */
            if (r->event.type == YAML_STREAM_END_EVENT) return true;
            cli_fail(r->args, "%s line %lu: a second document", r->path, line_of(r));
            return false;
        }
        if (!read_entry(r)) return false;
    }
    return false;
}

bool options_load(const command *c, void *args, const char *path)
{
    reader r = {.command = c, .args = args, .path = path};
    FILE *file = fopen(path, "rb");
    if (!file) {
        cli_fail(args, "--config %s: %s", path, cli_system_error());
        return false;
    }
    bool ok = yaml_parser_initialize(&r.parser) != 0;
    if (!ok) {
        cli_fail(args, "memory ran out");
    } else {
        yaml_parser_set_input_file(&r.parser, file);
        ok = read_document(&r);
        yaml_event_delete(&r.event);
        yaml_parser_delete(&r.parser);
    }
    free(r.seen);
    fclose(file);
    return ok;
}
