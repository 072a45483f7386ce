/* The train room, for the rest of the library. */
#ifndef HONE_SRC_TRAIN_H
#define HONE_SRC_TRAIN_H

#include "hone/data.h"
#include "hone/train.h"
#include "io/io.h"
#include "metrics/metrics.h"
#include "nn/nn.h"
#include "optim/optim.h"

/* What targets are: loss.def says more. */
typedef enum hone__targets { HONE__VALUES, HONE__BINARY, HONE__CATEGORIES, HONE__CLASSES, HONE__SEQUENCES, HONE__RELATIONS } hone__targets;

/* A line of loss.def. */
typedef struct hone__loss_info {
    const char *name;
    hone_node *(*function)(hone_node *output, hone_node *target, const hone_loss_opts *opts);
    hone__targets targets;
    bool logits;
} hone__loss_info;

enum { HONE__MOST_INPUTS = 16 }; /* of a model that is trained */

/* A metric that fit and evaluate compute. */
typedef struct hone__compiled_metric {
    hone_metric *metric;
    char *text;    /* as hone_compile was given it; NULL: of several outputs the mean loss of one, or of its right answers */
    int output;    /* that it looks at */
    bool is_loss;  /* of those without text */
    bool weighted; /* by the examples' weights */
} hone__compiled_metric;

/* What hone_compile was told of an output. */
typedef struct hone__compiled_output {
    char *name;
    const hone__loss_info *loss; /* NULL: custom_loss */
    hone_loss_opts loss_options;
    hone_loss_fn custom_loss;
    void *custom_user;
    double loss_weight;
    int64_t classes; /* of a loss of classes, once it was recorded */
} hone__compiled_output;

/* What hone_compile leaves with the model. */
typedef struct hone__compiled {
    hone_ctx *ctx;
    hone_function *step, *predict;
    int step_inputs, predict_inputs; /* of the model, that they were made for */
    hone_optimizer *optimizer;       /* NULL: the model was not compiled */
    hone__compiled_output *outputs;
    int n_outputs;
    double max_grad_norm, max_grad_value;
    hone__compiled_metric *metrics;
    size_t n_metrics, n_weighted, n_read; /* n_read: those that look at outputs themselves */
    hone_dtype compute;
    bool auto_compute; /* it was chosen for this CPU */
} hone__compiled;

/* What the step's function gives: the loss; each output's right answers (-1: not known); of several outputs each one's loss; and the
   outputs themselves if metrics read them. */
static inline int hone__step_right(int output) { return 1 + output; }
static inline int hone__step_loss(const hone__compiled *c, int output) { return c->n_outputs > 1 ? 1 + c->n_outputs + output : 0; }
static inline int hone__step_output(const hone__compiled *c, int output) { return 1 + c->n_outputs * (c->n_outputs > 1 ? 2 : 1) + output; }

/* The model's, made when it has none: compile and predict need it. NULL: memory (sticky). */
hone__compiled *hone__compiled_of(hone_model *model);
/* A function over the model, called with it. */
hone_function *hone__model_function(hone_model *model, int n_in, int n_out, hone_forward_fn forward, hone_dtype compute);

/* Makes c->step for that many inputs, unless it is there. Errors stick. */
hone_status hone__step_for(hone_model *model, int n_inputs);
/* From so many inputs to the outputs, made when first asked for. NULL: sticky. */
hone_function *hone__predict_function(hone_model *model, int n_inputs);
/* INVALID (does not stick) unless the model takes that many inputs and n_outputs is how many it has. */
hone_status hone__check_counts(const hone_model *model, size_t n_inputs, size_t n_outputs);
/* SHAPE (does not stick) unless each tensor has `rows` rows. */
hone_status hone__check_rows(hone_ctx *ctx, const char *what, hone_tensors tensors, int64_t rows);
/* hone_evaluate_many that tells the accuracy too; n is 0, or how many metrics there are. */
hone_status hone__evaluate(hone_model *model, hone_tensors x, hone_tensors y, const hone_tensor *sample_weights, int batch_size,
                           double *loss, double *accuracy, size_t n, double *values);
/* The rows order[0..count) of x: borrowed where they follow each other, else a copy. NULL: sticky. */
hone_tensor *hone__rows_of(const hone_tensor *x, int64_t count, const int64_t *order);
/* How many of the `left` rows come next, `size` at a time. join: a single row that would be left over comes with those before it. */
static inline int64_t hone__next_rows(int64_t left, int64_t size, bool join)
{
    return left <= size || (join && left == size + 1) ? left : size;
}
/* Whether fit and its kin do so, in batches of that many: for models with a batch norm. */
bool hone__joins_last(const hone_model *model, int64_t batch_size);

/* ---- what a batch is made of: batch.c ---- */

/* The type in which the model is given its input i: f32 in place of f64 and u8, as Keras does, unless it may want them as they are. */
hone_dtype hone__input_dtype(const hone_model *model, int i, hone_dtype given);
/* The same for the targets of output k: class numbers are integers. */
hone_dtype hone__target_dtype(const hone__compiled *c, int k, hone_dtype given);
/* Takes over `rows`; the same, or a copy of that type. NULL: sticky. */
hone_tensor *hone__as_dtype(hone_tensor *rows, hone_dtype wants);
/* hone__rows_of an input, in the type in which the model takes it. */
hone_tensor *hone__input_rows(const hone_model *model, int i, const hone_tensor *x, int64_t count, const int64_t *order);
/* The targets as output k's loss takes them, or NULL (sticky SHAPE) with what it wants; notes the classes. */
hone_node *hone__check_target(hone__compiled *c, int k, const hone_node *output, hone_node *target);
/* INVALID (does not stick) for more class weights than there are classes, once the loss was recorded. */
hone_status hone__check_class_weights(const hone__compiled *c, size_t n);
/* INVALID (does not stick) for a class number that is not whole. order: the rows' numbers in the data; NULL: not known. */
hone_status hone__check_whole(const hone__compiled *c, int k, const hone_tensor *y, const int64_t *order);
/* A step failed with that status: names the row whose class number is too large, if one is. */
hone_status hone__blame_classes(const hone__compiled *c, hone_tensor *const *y, const int64_t *order, hone_status status);
/* Says which row of these inputs, of which n_x are the model's, has a NaN or an infinity; false: none. */
bool hone__find_nonfinite_row(hone_tensor *const *in, int n_x, int n, const int64_t *order, char *text, size_t size);

/* 0, 1, ... [n]; hone__free. NULL: memory (sticky). */
int64_t *hone__row_numbers(hone_ctx *ctx, int64_t n);

/* Factors of the examples' losses [n] (owned by the caller), NULL in *weights when the options have none; class weights are those
   of rows below `trained`. Errors don't stick (but MEMORY). */
hone_status hone__example_weights(const hone__compiled *c, const hone_tensor *y, int64_t trained, const hone_fit_opts *o,
                                  float **weights);

/* ---- the optimizer's state in a file: state.c. Names are "<prefix><parameter>.<state>" ---- */

hone_status hone__optimizer_declare(const hone_optimizer *optimizer, const char *prefix, hone_safetensors_writer *writer);
hone_status hone__optimizer_write(const hone_optimizer *optimizer, const char *prefix, hone_safetensors_writer *writer);
/* Into an optimizer that is prepared; every trained parameter's must be there. Errors stick. */
hone_status hone__optimizer_read(hone_optimizer *optimizer, const char *prefix, const hone_safetensors *file, const char *path);

/* ---- weights in a file: weights.c ---- */

/* What begins so in a file of weights is no parameter. */
#define HONE__OPTIMIZER_PREFIX "optimizer/"
hone_status hone__weights_declare(const hone_model *model, hone_safetensors_writer *writer);
hone_status hone__weights_write(const hone_model *model, hone_safetensors_writer *writer);
/* Checks that the file has what the model's layers need, also before they have memory; unless partial, nothing else and
   nothing less. Errors stick. *report: owned by the caller, also after SHAPE. */
hone_status hone__weights_compare(hone_model *model, const hone_safetensors *file, const char *path, bool partial,
                                  hone_load_report **report);
/* Copies what the report says is there. */
hone_status hone__weights_copy(hone_model *model, const hone_safetensors *file, const hone_load_report *report);

/* The model in an open file, which the caller closes: save.c. Errors stick. */
hone_model *hone__model_read(hone_ctx *ctx, const char *path, hone_safetensors *file, const hone_model_load_opts *opts);

/* In place of the model's pipeline, if it has one; the model owns it: model_pipeline.c. */
void hone__model_take_pipeline(hone_model *model, hone_pipeline *pipeline);

/* ---- a model's values and its optimizer's, kept for later: snapshot.c ---- */

typedef struct hone__snapshot hone__snapshot;
/* NULL: memory ran out (sticky). optimizer: its state, steps and learning rate too. */
hone__snapshot *hone__snapshot_take(hone_model *model, bool optimizer);
/* Puts everything back; what the model has got since (a first step's optimizer state) becomes what it was at first. Memory may run
   out (sticky) for what an optimizer keeps beside states (L-BFGS). */
void hone__snapshot_restore(const hone__snapshot *snapshot);
void hone__snapshot_free(hone__snapshot *snapshot); /* NULL is allowed */

/* ---- callbacks: callback.c ---- */

typedef enum hone__event {
    HONE__TRAIN_BEGIN,
    HONE__EPOCH_BEGIN,
    HONE__STEP_BEGIN,
    HONE__STEP_END,
    HONE__EPOCH_END,
    HONE__TRAIN_END
} hone__event;
/* Tells all callbacks of a fit. The first status that is not OK; only at the end of the training are the others told still. */
hone_status hone__callbacks(const hone_fit_opts *opts, hone__event event, hone_fit_state *state);

/* ---- what callbacks and logs look at: monitor.c ---- */

enum { HONE__MONITOR_NAME = 96 };
/* Quantities of an epoch by number: as many as the model has. */
int hone__monitors(const hone_model *model);
void hone__monitor_name(const hone_model *model, int i, char name[HONE__MONITOR_NAME]);
double hone__monitor_value(const hone_model *model, int i, const hone_epoch *result); /* NaN: there is none */
int hone__monitor_find(const hone_model *model, const char *name);                    /* -1: none */
/* INVALID (does not stick): who asked for that name is told which there are. */
hone_status hone__monitor_refuse(const hone_model *model, const char *what, const char *name);

#endif
