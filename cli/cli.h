/* What the subcommands share: errors, contexts, opening models, interrupts, how things are written. */
#ifndef HONE_CLI_H
#define HONE_CLI_H

#include "options.h"

#include "hone/llm.h"

#include <jansson.h>
#include <string.h>

/* Exit statuses. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* The subcommands: one a cmd_<name>.c, listed in main.c. */
extern const command cmd_info, cmd_tokenize, cmd_forward, cmd_generate, cmd_chat, cmd_eval, cmd_finetune,
    cmd_export, cmd_bench, cmd_train, cmd_predict;

/* ---- errors (common.c) ---- */

#if defined(__GNUC__)
#define CLI_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define CLI_PRINTF(fmt, args)
#endif
/* "hone finetune: message" on stderr; EXIT_FAILED. */
int cli_fail(const common_args *args, const char *format, ...) CLI_PRINTF(2, 3);
/* The same with a pointer to --help; EXIT_USAGE. */
int cli_usage(const common_args *args, const char *format, ...) CLI_PRINTF(2, 3);
/* The same with the context's error. */
int cli_fail_ctx(const common_args *args, const hone_ctx *ctx);
/* A line on stderr unless --quiet. */
void cli_note(const common_args *args, const char *format, ...) CLI_PRINTF(2, 3);
/* Flushes stdout: `status`, or EXIT_FAILED when something could not be written. */
int cli_finish(const common_args *args, int status);
const char *cli_system_error(void); /* of errno */

/* Memory; the program ends when there is none. */
void *cli_alloc(size_t size); /* zeros */
void *cli_realloc(void *memory, size_t size);
char *cli_copy(const char *text);
char *cli_join(const char *folder, const char *name); /* "folder/name" */
int cli_compare_case(const char *a, const char *b, size_t n); /* 0: the same but for ASCII case */

/* ---- contexts and models ---- */

/* A context as --threads and --seed ask for; warnings go to stderr. NULL: it has been said. */
hone_ctx *cli_ctx(const common_args *args);
/* The model, and its adapter (NULL: none). NULL: it has been said. */
hone_llm *cli_open(const common_args *args, hone_ctx *ctx, const char *model, const char *adapter);
/* What SIGINT and SIGTERM do from now on. */
typedef enum interrupts {
    INTERRUPTS_END,         /* end the program, as they do at first */
    INTERRUPTS_CANCEL,      /* cancel what runs on the context, however often they come */
    INTERRUPTS_CANCEL_ONCE, /* the same, but the second one ends the program */
    INTERRUPTS_TELL_ONCE,   /* nothing but that cli_interrupted() is true; the second one ends the program */
    INTERRUPTS_IGNORE,      /* nothing: while files are written, which takes moments */
} interrupts;
void cli_on_interrupt(interrupts what, hone_ctx *ctx); /* ctx: only CANCEL and CANCEL_ONCE read it */
bool cli_interrupted(void);                            /* has one come since then? */

#define OPTION_MODEL(type)                                                                                   \
    {                                                                                                        \
        .name = "model", .kind = OPTION_STRING, .offset = offsetof(type, model), .value = "MODEL",           \
        .required = true, .help = "a .gguf file, a Hugging Face folder, or what Hone wrote"                  \
    }
#define OPTION_ADAPTER(type)                                                                                 \
    {                                                                                                        \
        .name = "adapter", .kind = OPTION_STRING, .offset = offsetof(type, adapter), .value = "DIR",         \
        .help = "a LoRA adapter on top of the model: a folder from `hone finetune` or PEFT"                  \
    }

/* ---- training (output_dir.c) ---- */

/* A training that is not resumed begins to write into the folder: tells of a file `model` that it will replace, and removes older
   events for TensorBoard, of Hone's alone, from these folders in it ("." for itself; NULL behind the last). */
void cli_begin_output(const common_args *args, const char *folder, const char *model, const char *const *events);
/* Tells of checkpoint-N of an older fine-tuning, which stay. */
void cli_note_checkpoints(const common_args *args, const char *folder);

/* ---- generating (sampling.c) ---- */

typedef struct sampling_args {
    int64_t max_tokens, top_k;
    double temperature, top_p, min_p, repetition_penalty;
    string_list stop;
} sampling_args;
#define OPTIONS_SAMPLING(type)                                                                               \
    {.name = "max-tokens", .kind = OPTION_INT, .offset = offsetof(type, sampling.max_tokens), .value = "N",  \
     .initial = "256", OPTION_AT_LEAST(1), .help = "the most tokens to generate"},                           \
        {.name = "temperature", .kind = OPTION_REAL, .offset = offsetof(type, sampling.temperature),         \
         .value = "X", .initial = "0", .min = 0, .max = 100, .help = "0: always the likeliest token"},       \
        {.name = "top-k", .kind = OPTION_INT, .offset = offsetof(type, sampling.top_k), .value = "N",        \
         .initial = "0", OPTION_AT_LEAST(0), .help = "only the N likeliest tokens; 0: all"},                 \
        {.name = "top-p", .kind = OPTION_POSITIVE, .offset = offsetof(type, sampling.top_p), .value = "X",   \
         .initial = "1", .max = 1, .help = "only the likeliest tokens that together reach probability X"},   \
        {.name = "min-p", .kind = OPTION_REAL, .offset = offsetof(type, sampling.min_p), .value = "X",       \
         .initial = "0", .min = 0, .max = 1,                                                                 \
         .help = "only tokens at least X times as likely as the likeliest one"},                             \
        {.name = "repetition-penalty", .kind = OPTION_POSITIVE,                                              \
         .offset = offsetof(type, sampling.repetition_penalty), .value = "X", .initial = "1", .max = 100,    \
         .help = "above 1: tokens of the prompt and the answer so far become less likely"},                  \
    {                                                                                                        \
        .name = "stop", .kind = OPTION_STRINGS, .offset = offsetof(type, sampling.stop), .value = "TEXT",    \
        .help = "ends the answer where this text would begin"                                                \
    }
/* Texts that cannot stop anything are wrong usage; EXIT_DONE when all is well. */
int sampling_check(const common_args *args, const sampling_args *sampling);
hone_generate_opts sampling_opts(const common_args *args, const sampling_args *sampling);

/* ---- input and output ---- */

/* All of stdin; false: it has been said. *size bytes, NUL behind them, owned by the caller. */
bool cli_read_stdin(const common_args *args, char **text, size_t *size);
/* A line of stdin without its "\n", in *line (kept between calls); *newline: it had one. False at the end. */
bool cli_read_line(char **line, size_t *capacity, size_t *size, bool *newline);
/* Whole numbers between commas and blanks, appended; false when something else is there, from *bad on. */
bool cli_parse_ids(const char *text, size_t size, int32_t **ids, size_t *count, const char **bad);
/* One object, one line on stdout; takes the reference. */
void cli_print_json(json_t *object);
void cli_write_json(FILE *to, json_t *object); /* the same in a file */
json_t *cli_json_real(double value);                     /* null when it is not finite */
json_t *cli_json_ids(const hone_tokens *tokens);          /* an array of numbers */
json_t *cli_json_text(const char *text, size_t size);    /* bytes that are not UTF-8 become U+FFFD */
bool cli_is_utf8(const char *text);
const char *cli_bytes(double bytes, char text[32]);      /* "1.23 GB" */
const char *cli_count(int64_t count, char text[32]);     /* "1,234,567" */
const char *cli_duration(double seconds, char text[32]); /* "2 min 50 s" */
double cli_now(void);                                    /* seconds, monotonic */
void cli_print_shell(FILE *to, const char *word);        /* quoted for a shell where it must be */

/* ---- progress on stderr (progress.c) ---- */

/* On a terminal a line redrawn in place, otherwise plain lines now and then. Zero-initialise. */
typedef struct progress {
    bool off;
    const char *unit;    /* what is counted; default "step" */
    double began, drawn; /* seconds */
    bool open;           /* the terminal's line is not ended */
} progress;
bool progress_is_terminal(void);
/* Shows how far the work is, not more often than one wants to read; always when it is done. */
void progress_show(progress *p, const hone_progress *state);
/* Leaves the line, so that something else can be written. */
void progress_end(progress *p);

#endif
