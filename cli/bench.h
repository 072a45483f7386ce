/* hone bench: its workloads, and how one is measured. */
#ifndef HONE_CLI_BENCH_H
#define HONE_CLI_BENCH_H

#include "cli.h"

#include "hone/hone.h"

/* What a workload reads. All but the first are made from --model. */
typedef enum bench_model { BENCH_NO_MODEL, BENCH_MODEL, BENCH_MODEL_BF16, BENCH_MODEL_Q8_0 } bench_model;

typedef struct bench_workload bench_workload;

enum { BENCH_SAMPLES = 64 };
/* One workload being measured, in this process. */
typedef struct bench_run {
    const common_args *args;
    const bench_workload *work;
    hone_ctx *ctx;
    const char *model;  /* the path; NULL: the workload needs none */
    bool resized;       /* options set its sizes: a model that cannot read so much is an error */
    int64_t repeats;    /* wanted, 1 .. BENCH_SAMPLES */
    double samples[BENCH_SAMPLES]; /* in the workload's unit */
    int64_t n;
    double limit;       /* in that unit: what this CPU could do at best; 0: not defined */
    size_t peak_memory; /* bytes, of the work alone: measuring limits comes after it */
    hone_profile *profile;
    bool profiled;      /* its table is wanted */
    char *table;        /* it; owned: hone_free_text */
    double began;       /* seconds */
} bench_run;

struct bench_workload {
    const char *name, *unit, *about;
    bench_model model;
    bool less_is_better; /* the unit is a time */
    bool whole_process;  /* a process a repeat, timed from outside */
    bool (*run)(bench_run *run); /* false: it failed, and the context or stderr says why */
    hone_dtype dtype;    /* and sizes, for those that share a function; 0: it has no such size */
    int64_t batch, length, prompt_length; /* prompt_length: tokens before those that are generated */
    hone_finetune_method method;
    const char *optimizer; /* of fine-tuning; NULL: the default */
    bool gradient_checkpointing;
    int loader_threads;
};
extern const bench_workload *const bench_workloads[];
extern const size_t bench_count;

/* ---- measuring (bench.c) ---- */

/* A repeat took so many seconds for `count` of what the unit counts (tokens, images). */
void bench_sample(bench_run *run, double count, double seconds);
/* Are there samples enough? As many as wanted, or, when they are slow, three in half a minute. */
bool bench_enough(const bench_run *run);
/* Takes note of the memory, and begins a profile of the repeats that follow. */
bool bench_begin_limit(bench_run *run);
/* After one repeat more, of `count`: what would it take at the limit? And the table by node, if it is wanted. */
bool bench_end_limit(bench_run *run, double count);
/* All of this around repeat(state), which is called once more before. */
bool bench_repeat(bench_run *run, double count, bool (*repeat)(void *state), void *state);

/* A new folder among the system's temporary ones, to be freed; NULL: it has been said. And its end, with all that is in it. */
char *bench_make_folder(const common_args *args);
void bench_remove_folder(const common_args *args, char *folder); /* frees the name; NULL is allowed */

/* ---- the workloads ---- */

bool bench_finetune(bench_run *run); /* bench_llm.c */
bool bench_prompt(bench_run *run);
bool bench_generate(bench_run *run);
bool bench_first_token(bench_run *run);
bool bench_mlp(bench_run *run); /* bench_net.c */
bool bench_cnn(bench_run *run);
bool bench_lstm(bench_run *run);
bool bench_gpt2(bench_run *run);
bool bench_iris(bench_run *run);
bool bench_nodes(bench_run *run);
bool bench_resnet(bench_run *run); /* bench_deep.c */
bool bench_bert(bench_run *run);
bool bench_loader(bench_run *run); /* bench_data.c */
bool bench_cnn_files(bench_run *run);

/* ---- what they share (bench_net.c) ---- */

/* Standard normal values, or whole numbers below `classes`. */
hone_tensor *bench_noise(hone_ctx *ctx, hone_dtype dtype, hone_shape shape, int32_t classes);
/* Are the workload's sequences no longer than `model` reads? False: it has said so. */
bool bench_reads(const bench_run *run, const char *model, int64_t most);
/* Adds child as "<block><number>_<part>". */
hone_layer *bench_add_part(hone_layer *parent, const char *block, int number, const char *part, hone_layer *child);
/* hone_fit of a compiled model; an epoch, which is `count` of what the unit counts, is a repeat. Takes model, x and y over. */
bool bench_fit(bench_run *run, hone_model *model, hone_tensor *x, hone_tensor *y, double count);
/* The same from a loader, which stays the caller's. */
bool bench_fit_loader(bench_run *run, hone_model *model, hone_loader *loader, double count);
/* The network of examples/simple_cnn.c with ten classes, compiled. */
hone_model *bench_small_cnn(const bench_run *run);

#endif
