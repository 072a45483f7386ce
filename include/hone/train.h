/* Hone: compile, fit, evaluate, predict. Read after optim.h, data.h and metrics.h. */
#ifndef HONE_TRAIN_H
#define HONE_TRAIN_H

#include "hone/data.h"
#include "hone/metrics.h"
#include "hone/optim.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What is minimized, the mean over the examples; loss.def lists them, op.h has the formulas. Targets of values and binary
   ones have as many elements as the output (the last 1 may be missing) and are converted to its type. */
typedef enum hone_loss {
#define HONE_LOSS(name, function, text, targets, logits) HONE_##name,
#include "hone/loss.def"
#undef HONE_LOSS
    HONE_LOSS_COUNT
} hone_loss;
/* "mse", "huber", ...; "?" when out of range. Static storage. */
HONE_API const char *hone_loss_name(hone_loss loss);
/* The loss of that name; false when there is none. */
HONE_API bool hone_loss_from_name(const char *name, hone_loss *loss);

/* A loss of one's own: from the output and the target to one value an example, f32 [B]. */
typedef hone_node *(*hone_loss_fn)(void *user, hone_node *output, hone_node *target);

typedef struct hone_compile_opts {
    size_t struct_size;
    hone_optimizer *optimizer; /* owned by the model from now on; default hone_adam */
    hone_loss loss;
    hone_loss_fn custom_loss;  /* instead of loss */
    void *custom_user;
    double max_grad_norm;      /* > 0: clipping (hone_step_opts) */
    double max_grad_value;     /* > 0: the same */
    hone_dtype compute;        /* f32 (default) or bf16 */
    hone_loss_opts loss_options; /* label_smoothing, delta, ...: its numbers; its nodes and reduction must be left out */
    const char *metrics; /* names of metrics.h, comma-separated: "precision,roc_auc"; fit and evaluate report them. They see
                            probabilities whatever the loss takes */
} hone_compile_opts;
/* Says how the model is to be trained. May be called again. Errors stick: NOT_FOUND for a metric that does not exist, INVALID for
   one of texts or options that are not allowed. */
HONE_API hone_status hone_compile_opt(hone_model *model, const hone_compile_opts *opts);
#define hone_compile(...)                                                                                    \
    HONE_OPTS1(hone_compile_opt, hone_compile_opts, __VA_ARGS__, .struct_size = sizeof(hone_compile_opts))

/* What fit measured, an entry an epoch. NaN where there is nothing (accuracy of a regression, no validation). */
typedef struct hone_epoch {
    double loss, accuracy, validation_loss, validation_accuracy, seconds;
    const double *metrics, *validation_metrics; /* n_metrics of the history each, over the epoch's batches as it went */
} hone_epoch;
/* An entry an epoch; owned by whoever called hone_fit. */
typedef struct hone_history {
    hone_ctx *ctx;
    hone_epoch *epochs;
    size_t n_epochs;
    size_t n_metrics;          /* those of hone_compile */
    const char **metric_names;
    double *values;            /* behind the epochs' metrics */
} hone_history;
HONE_API void hone_history_free(hone_history *history); /* NULL is allowed */

/* Called after each epoch; false ends the training. */
typedef bool (*hone_epoch_fn)(void *user, hone_model *model, size_t epoch, const hone_epoch *result);

typedef struct hone_fit_opts {
    size_t struct_size;
    int epochs;              /* default 1 */
    int batch_size;          /* default 32 */
    int accumulate;          /* micro-batches of batch_size a step; default 1. Exact: the loss is the mean over all */
    double validation_split; /* the last share of the rows is held out (before shuffling, as Keras does) */
    const hone_tensor *validation_x, *validation_y; /* or these */
    const hone_schedule *schedule; /* of the learning rate, in steps from 0 on; default: it stays. peak 0: the optimizer's, total
                                      0: the steps of this call. A plateau is told the validation loss of each epoch, or the
                                      loss. Afterwards the optimizer has its own learning rate again */
    hone_ema *ema;           /* updated after each step; default none */
    bool no_shuffle;         /* default: a new order each epoch, from the context's seed */
    bool progress;           /* a bar on stderr when it is a terminal, else a line an epoch; drawn through `print` */
    void (*print)(void *user, const char *text); /* where progress goes; the library itself prints nothing */
    void *print_user;
    hone_epoch_fn on_epoch;
    void *on_epoch_user;
    const hone_tensor *sample_weights; /* real [rows]: factors of the examples' losses, in training and on rows held out */
    const double *class_weights;       /* [n_class_weights]: factors by an example's one class, in training alone */
    size_t n_class_weights;
} hone_fit_opts;
/* Trains on x [rows, ...], y [rows, ...]. *history (may be NULL) is owned by the caller. CANCELLED after hone_cancel,
   NUMERIC when the loss is not finite (named layer in the message; parameters are those of the last good step). Weighted
   losses are summed and divided by the number of examples, as in Keras; accuracy and metrics are not weighted. */
HONE_API hone_status hone_fit_opt(hone_model *model, const hone_tensor *x, const hone_tensor *y, hone_history **history,
                                  const hone_fit_opts *opts);
#define hone_fit(...)                                                                                        \
    HONE_OPTS4(hone_fit_opt, hone_fit_opts, __VA_ARGS__, .struct_size = sizeof(hone_fit_opts))
/* The same on the batches of a loader, which decides on their size and order: batch_size, no_shuffle, validation_split and
   weights are INVALID here (hone_split_rows and .rows of the loader hold rows out, its .weights draw rows more often). An epoch's
   number is how many the model has seen. */
HONE_API hone_status hone_fit_loader_opt(hone_model *model, hone_loader *loader, hone_history **history, const hone_fit_opts *opts);
#define hone_fit_loader(...)                                                                                 \
    HONE_OPTS3(hone_fit_loader_opt, hone_fit_opts, __VA_ARGS__, .struct_size = sizeof(hone_fit_opts))

/* Mean loss over all rows, and the share of right answers (NaN where a target is no class); pointers may be NULL. */
HONE_API hone_status hone_evaluate(hone_model *model, const hone_tensor *x, const hone_tensor *y, int batch_size,
                                   double *loss, double *accuracy);
/* The metrics of hone_compile over all rows, in their order, into values[n]; n must be how many there are. */
HONE_API hone_status hone_evaluate_metrics(hone_model *model, const hone_tensor *x, const hone_tensor *y, int batch_size,
                                           size_t n, double *values);
/* The model's output for every row, owned by the caller; NULL on error (does not stick). */
HONE_API hone_tensor *hone_predict(hone_model *model, const hone_tensor *x, int batch_size);

/* ---- pictures ---------------------------------------------------------------------------------------- */

/* One line of a picture. Points that are NaN or infinite are left out, and their neighbours joined. */
typedef struct hone_plot_series {
    const char *name; /* UTF-8, for the legend; NULL: not in it */
    size_t count;     /* may be 0; one point is drawn as a dot */
    const double *x, *y;
    bool faint; /* thin and pale, in the colour of the next series: raw values beneath their smoothed line */
} hone_plot_series;
/* Draws n series over one pair of axes, 900 x 540 pixels, as .svg or .png by the path's end, with PLplot
   (loaded when first called). Texts are UTF-8 and may be NULL. The file appears whole or not at all. Errors
   do not stick (but MEMORY): UNSUPPORTED without PLplot or its driver (names the package to install),
   INVALID for another ending, IO, INTERNAL when PLplot gives up. */
HONE_API hone_status hone_plot_lines(hone_ctx *ctx, const char *path, const char *title, const char *x_label,
                                     const char *y_label, size_t n, const hone_plot_series *series);
/* The same for a confusion matrix of up to 256 classes: a row a target, a column an answer, shaded by the share of the row, with
   counts while cells have room for them. names[classes], UTF-8; NULL: numbers. */
HONE_API hone_status hone_plot_confusion(hone_ctx *ctx, const char *path, const char *title, const hone_confusion *confusion,
                                         const char *const *names);

/* ---- TensorBoard ------------------------------------------------------------------------------------- */

/* A file of events that is being written. */
typedef struct hone_events hone_events;
/* Begins a new events.out.tfevents.* in the folder (made when missing). A run that is resumed calls it
   again: the first step then written replaces what older files of the folder have from that step on. NULL
   on error (sticky): IO, MEMORY. */
HONE_API hone_events *hone_events_open(hone_ctx *ctx, const char *folder);
/* Adds one value (kept as f32) of a curve, and hands it to the operating system. IO; errors do not stick
   (but MEMORY). */
HONE_API hone_status hone_events_scalar(hone_events *events, const char *tag, int64_t step, double value);
/* Frees it; IO when not everything could be written. NULL is allowed. */
HONE_API hone_status hone_events_close(hone_events *events);

/* ---- progress ---------------------------------------------------------------------------------------- */

/* A number with its name: {"loss", 1.234}. */
typedef struct hone_progress_value {
    const char *name;
    double value;
} hone_progress_value;
/* How far some work has come. */
typedef struct hone_progress {
    int64_t done, total; /* steps; total 0: not known, no bar */
    int width;           /* of the bar between its brackets, columns; default 10 */
    const hone_progress_value *values;
    size_t n_values;
    double learning_rate; /* 0: left out */
    double rate;          /* units a second; 0: left out */
    const char *unit;     /* default "step": "step/s" */
    double seconds_left;  /* 0: left out */
} hone_progress;
/* Writes "[=====>    ] 120/400  loss 1.234  lr 1.0e-04  812 tok/s  2:13 left" into buffer[size], NUL-terminated,
   one line without its end. From the first part that has no room on, parts are left out whole, so size may
   be the terminal's width and one. Returns the text's length. Prints nothing. */
HONE_API size_t hone_progress_text(char *buffer, size_t size, const hone_progress *progress);

#ifdef __cplusplus
}
#endif
#endif
