/* The llm room: a fine-tuning run, shared by finetune.c (the loop), checkpoint.c (saving, resuming) and report.c (what it
   writes for people). */
#ifndef HONE_SRC_FINETUNE_H
#define HONE_SRC_FINETUNE_H

#include "llm/data.h"
#include "optim/optim.h"

struct hone_finetune {
    hone_llm *llm;
    hone_ctx *ctx;
    const hone_llm_data *train, *valid;
    hone_finetune_opts o; /* defaults filled in */
    char *output_dir, *resume_from;
    hone_optimizer *optimizer;
    hone_function *step_function;
    hone_finetune_plan planned;
    int64_t row_length;

    /* Where the run is: everything a checkpoint keeps besides parameters and optimizer. */
    int64_t step;  /* optimizer steps made */
    int64_t epoch; /* whose rows are being read */
    int64_t row;   /* next row of the epoch */
    double elapsed; /* seconds of training before this process */

    hone__packing packing; /* of `epoch` */
    bool packed;

    FILE *metrics;
    hone_events *events;
    double *losses; /* [n_losses] for the picture, a step each */
    size_t n_losses, losses_capacity;
};

/* ---- checkpoint.c ---- */
hone_status hone__checkpoint_save(hone_finetune *run);
/* Parameters, optimizer and place from a folder that hone__checkpoint_save made ("latest": the newest in output_dir). */
hone_status hone__checkpoint_load(hone_finetune *run, const char *folder);

/* ---- report.c ---- */
hone_status hone__report_open(hone_finetune *run); /* drops lines after the resumed step */
hone_status hone__report_step(hone_finetune *run, const hone_finetune_step *step);
hone_status hone__report_close(hone_finetune *run); /* the pictures */

#endif
