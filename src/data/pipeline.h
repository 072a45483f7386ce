/* A pipeline's parts, for pipeline.c (what users call), steps.c (what steps learn and do), target.c, scaler.c and pipeline_json.c. */
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

/* What y holds. */
typedef enum hone__target_type {
    HONE__TARGET_NONE,
    HONE__TARGET_TEXT,    /* numbers of texts */
    HONE__TARGET_REAL,    /* f32 */
    HONE__TARGET_CLASS, /* class numbers as they stand */
    HONE__TARGET_LABEL   /* what HONE_LABEL_ENCODER made of texts or numbers */
} hone__target_type;

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
    hone__target_type target_type;
    hone__step label;    /* HONE_LABEL_ENCODER, of one column: for HONE__TARGET_TEXT and HONE__TARGET_LABEL */
    bool label_is_asked; /* the user added that step */
    char **classes;      /* what it learnt, as text */
    size_t n_classes;
};

/* A row of the table of steps. */
typedef struct hone__step_type {
    const char *name;
    bool takes_text; /* by default: text; else numbers */
    hone_status (*fit)(hone_pipeline *p, hone__step *s, const hone_frame *frame, const hone_column *column, hone__learnt *learnt);
    /* errors are those of a run */
    hone_status (*apply)(const hone_pipeline *p, const hone__step *s, hone_frame *frame, size_t at, const hone__learnt *learnt);
} hone__step_type;
extern const hone__step_type hone__step_types[HONE_DROP_COLUMNS + 1];

/* Learns from the frame, and applies itself to it. */
hone_status hone__step_fit(hone_pipeline *p, hone__step *s, hone_frame *frame);
hone_status hone__step_apply(const hone_pipeline *p, const hone__step *s, hone_frame *frame);
/* A scaler's a and b of values [n], NaN left out; *count of the others, without which a is 0 and b 1. false: `wrong` tells what is
   wrong with the column, unless memory ran out. */
enum { HONE__WRONG = 80 };
bool hone__fit_scale(hone_ctx *ctx, const hone__step *s, const double *values, int64_t n, hone__learnt *l, int64_t *count,
                     char wrong[HONE__WRONG]);
/* Which of an encoder's values each row has; -1: none of them, which is an error unless the step ignores it. */
hone_status hone__encode(const hone_pipeline *p, const hone__step *s, const hone_frame *frame, const hone_column *column,
                         const hone__learnt *l, int32_t *codes);
enum { HONE__NUMBER = 32 }; /* bytes of a number as text */
/* With as many digits as tell it from others; returns text. */
const char *hone__number_text(double v, char text[HONE__NUMBER]);

/* The target (target.c): errors are those of a run. */
hone_status hone__target_fit(hone_pipeline *p, const hone_frame *frame);
hone_status hone__target_apply(const hone_pipeline *p, const hone_frame *frame, hone_tensor **y);
/* What the label encoder learnt, as the classes' names. */
hone_status hone__name_classes(hone_pipeline *p);

/* Are the step's options in range? Fills in defaults that depend on the kind. Sticky. */
bool hone__step_check(hone_ctx *ctx, hone__step *s);
/* Appends a step with options copied; NULL: the error sticks. */
hone__step *hone__pipeline_append(hone_pipeline *p, hone_pipeline_step kind, const hone_pipeline_add_opts *o);

#endif
