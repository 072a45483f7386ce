/* The program's options: a table a subcommand, from which come parsing, --help, --config and suggestions. */
#ifndef HONE_CLI_OPTIONS_H
#define HONE_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum option_kind {
    OPTION_FLAG,     /* bool */
    OPTION_STRING,   /* const char * */
    OPTION_STRINGS,  /* string_list; each use adds one */
    OPTION_INT,      /* int64_t in [min, max] */
    OPTION_SEED,     /* uint64_t */
    OPTION_REAL,     /* double in [min, max] */
    OPTION_POSITIVE, /* double in (0, max] */
    OPTION_CHOICE    /* int: 1, 2, ... for "first|second|third" in `value`; 0: not given */
} option_kind;

typedef struct string_list {
    const char **items;
    size_t count;
} string_list;

typedef struct option {
    const char *name; /* as in --name, with hyphens */
    option_kind kind;
    size_t offset;       /* of the value in the subcommand's arguments */
    const char *value;   /* what --help calls the value; the choices */
    const char *initial; /* the default, in the option's own notation; NULL: zero, false, NULL */
    const char *shown;   /* the default in words, where `initial` does not say it */
    double min, max;     /* max < min: no upper bound */
    bool required;
    bool positional; /* may be given without its name */
    const char *help;
} option;
#define OPTION_NO_MAX (-1.0)
/* `.min` and `.max` of a number that has only a lower bound. */
#define OPTION_AT_LEAST(least) .min = (least), .max = (least)-1

typedef struct command {
    const char *name;
    const char *summary; /* a line, for `hone help` */
    const char *about;   /* what --help says on top of the options */
    const option *options;
    size_t n_options;
    size_t args_size;       /* of a struct that begins with common_args */
    int (*run)(void *args); /* exit status */
} command;

/* What every subcommand takes; the first member of its arguments. */
typedef struct common_args {
    const command *command;
    int argc; /* as main got them */
    char **argv;
    int64_t threads;
    uint64_t seed;
    int dtype; /* dtype_choice */
    bool quiet, json, help;
    const char *config;
    char **owned; /* strings from --config */
    size_t n_owned;
    string_list from_config; /* what it sets: a name, its value (NULL: a flag), the next name, ... */
} common_args;
enum dtype_choice { DTYPE_AUTO = 1, DTYPE_F32, DTYPE_BF16 };

/* Fills args (zeros, args_size bytes) from the defaults, --config and argv[first..argc). False when something
   is wrong: it has been said on stderr. After --help, args->help is set and nothing else counts. Free in
   either case. */
bool options_parse(const command *c, int argc, char **argv, int first, void *args);
void options_free(const command *c, void *args);
void options_help(const command *c, FILE *to);

/* The option of that name (hyphens and underscores alike), NULL: none. Own options hide common ones. */
const option *options_find(const command *c, const char *name, size_t length);
/* "; did you mean '<prefix>name'?" when a name is near, else "". In text[size]. */
const char *options_suggest(const command *c, const char *name, const char *prefix, char *text, size_t size);
/* The nearest of names[n] to `name`, NULL: none is near. */
const char *nearest_name(const char *name, const char *const *names, size_t n);
/* Sets one option; `where` and `name` begin the message when the value is wrong. */
bool options_set(const command *c, void *args, const option *o, const char *where, const char *value);
/* Applies a YAML file (config.c). */
bool options_load(const command *c, void *args, const char *path);

#endif
