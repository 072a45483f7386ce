/* A pipeline's parts, for pipeline.c (what users call), steps.c (what steps learn and do) and pipeline_json.c. */
#ifndef HONE_SRC_PIPELINE_H
#define HONE_SRC_PIPELINE_H

#include "data/frame.h"

/* What a step learnt of one column. */
typedef struct hone__learnt {
    const char *column;
    double a, b;      /* imputer: a is the value; clip: [a, b]; scalers: (v - a) / b */
    const char *text; /* imputer of text: the value */
    char **texts;     /* encoders, of text: [n] categories, sorted bytewise */
    double *numbers;  /* encoders, of numbers: [n], sorted */
    size_t n;
} hone__learnt;

typedef struct hone__step {
    hone_pipeline_step kind;
    hone_pipeline_add_opts o; /* names and texts are the pipeline's */
    hone__learnt *learnt;
    size_t n_learnt;
} hone__step;

typedef struct hone__input {
    const char *name;
    bool text;
} hone__input;

struct hone_pipeline {
    hone_ctx *ctx;
    hone__arena arena;  /* the steps' options */
    hone__arena fitted; /* everything below */
    hone__step *steps;
    size_t n_steps, capacity;
    const char *target; /* NULL: none */
    bool is_fitted, is_loaded; /* loaded: what the steps were asked to do is not in the file */
    hone__input *inputs; /* the columns it was fitted on, without the target */
    size_t n_inputs;
    char **features;
    size_t n_features;
    bool target_text, target_real; /* neither: whole numbers >= 0 */
    char **classes;                /* a text target's, sorted */
    size_t n_classes;
};

/* A row of the table of steps. */
typedef struct hone__step_type {
    const char *name;
    bool takes_text; /* by default: text; else numbers */
    hone_status (*fit)(hone_pipeline *p, hone__step *s, hone_frame *frame, const hone_column *column, hone__learnt *learnt);
    /* errors are those of a run */
    hone_status (*apply)(const hone_pipeline *p, const hone__step *s, hone_frame *frame, size_t at, const hone__learnt *learnt);
} hone__step_type;
extern const hone__step_type hone__step_types[HONE_DROP_COLUMNS + 1];

/* Learns from the frame, and applies itself to it. */
hone_status hone__step_fit(hone_pipeline *p, hone__step *s, hone_frame *frame);
hone_status hone__step_apply(const hone_pipeline *p, const hone__step *s, hone_frame *frame);
/* Are the step's options in range? Fills in defaults that depend on the kind. Sticky. */
bool hone__step_check(hone_ctx *ctx, hone__step *s);
/* Which of the sorted texts; -1: none. */
int64_t hone__find_text(char *const *texts, size_t n, const char *text);
/* Appends a step with options copied; NULL: the error sticks. */
hone__step *hone__pipeline_append(hone_pipeline *p, hone_pipeline_step kind, const hone_pipeline_add_opts *o);

#endif
