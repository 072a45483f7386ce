/* hone finetune: what it takes, and what it says before and after. */
#ifndef HONE_CLI_FINETUNE_H
#define HONE_CLI_FINETUNE_H

#include "cli.h"

typedef struct finetune_args {
    common_args common;
    const char *model, *adapter, *data, *output_dir, *resume_from_checkpoint, *lora_target;
    int method, lr_scheduler_type, optimizer;
    int64_t lora_rank, max_steps, batch_size, gradient_accumulation_steps, max_seq_length;
    int64_t eval_steps, save_steps, save_total_limit;
    double lora_alpha, lora_dropout, epochs, max_seconds, learning_rate, warmup_ratio, weight_decay,
        max_grad_norm;
    bool no_packing, train_on_prompt, no_shuffle, gradient_checkpointing, profile;
} finetune_args;
enum { METHOD_LORA = 1, METHOD_FULL };

/* A run, as far as the reports need it. */
typedef struct finetune_run {
    const finetune_args *args;
    hone_ctx *ctx;
    hone_llm *llm;
    hone_llm_data *train, *valid;
    hone_finetune_plan plan;
    progress progress;
    double began;
    int64_t steps;                /* made */
    double first_loss, last_loss; /* of this run; the last is a running mean */
    size_t peak_memory_bytes;
    hone_profile *profile; /* --profile: of the steps after profiled_from */
    int64_t profiled_from, profiled_steps;
} finetune_run;

/* The example, the counts, the prediction: before the first step (finetune_text.c). */
void finetune_print_plan(const finetune_run *run);
/* Where everything is and what to try. */
void finetune_print_end(const finetune_run *run);
/* --profile: the table, and trace.json in the output folder. EXIT_FAILED: it has been said. */
int finetune_print_profile(finetune_run *run);
/* The command that goes on from the last checkpoint. */
void finetune_print_resume(const finetune_run *run);

#endif
