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

/* What is minimized at one output of a model that has several, and how it is measured; fields as in hone_compile_opts. */
typedef struct hone_output {
    const char *name; /* in history and logs: "<name>_loss", "<name>_accuracy", "<name>_<metric>"; default "output_0", "output_1", ... */
    hone_loss loss;
    double loss_weight; /* the factor of this loss in the sum that is minimized; default 1, HONE_ZERO for none */
    hone_loss_fn custom_loss;
    void *custom_user;
    hone_loss_opts loss_options;
    const char *metrics, *weighted_metrics;
} hone_output;
/* hone_compile(model, HONE_OUTPUTS({.name = "price", .loss = HONE_MAE}, {.name = "kind", .loss = HONE_MSE, .loss_weight = 0.2})): the
   options .outputs and .n_outputs. */
#define HONE_OUTPUTS(...)                                                                                    \
    .outputs = (const hone_output[]){__VA_ARGS__}, .n_outputs = sizeof((const hone_output[]){__VA_ARGS__}) / sizeof(hone_output)

typedef struct hone_compile_opts {
    size_t struct_size;
    hone_optimizer *optimizer; /* owned by the model from now on; default hone_adam */
    hone_loss loss;
    hone_loss_fn custom_loss;  /* instead of loss */
    void *custom_user;
    double max_grad_norm;      /* > 0: clipping (hone_step_opts) */
    double max_grad_value;     /* > 0: the same */
    hone_dtype compute;        /* f32 (default) or bf16 */
    hone_loss_opts loss_options; /* label_smoothing, delta, ...: its numbers; its nodes and reduction must be left out. With `axis` metrics
                                    read the output with its classes last; hone_predict gives it as it is */
    const char *metrics; /* as hone_metric_parse takes them, comma-separated: "precision, top_k_accuracy(k=3), f_beta(beta=2,
                            name=f2)"; fit and evaluate report them. They see probabilities whatever the loss takes */
    const char *weighted_metrics; /* the same, but sample_weights and class_weights count in them, as in Keras. Their names:
                                     weighted_<name> where metrics have the name, and for accuracy */
    bool auto_compute;   /* bf16 where the CPU is made for it (AMX), else f32; compute is then ignored */
    const hone_output *outputs; /* [n_outputs], one for each of the model's: needed when it has several. loss, custom_loss, */
    size_t n_outputs;           /* loss_options and metrics stand there then, and not above */
} hone_compile_opts;
/* Says how the model is to be trained. May be called again. Errors stick: NOT_FOUND for a metric that does not exist, INVALID for
   one of texts, two of one name, options that are not allowed, or another number of outputs than the model's. */
HONE_API hone_status hone_compile_opt(hone_model *model, const hone_compile_opts *opts);
#define hone_compile(...)                                                                                    \
    HONE_OPTS1(hone_compile_opt, hone_compile_opts, __VA_ARGS__, .struct_size = sizeof(hone_compile_opts))
/* What products and convolutions are computed in, f32 or bf16, which auto_compute chose for this CPU; f32 before hone_compile. */
HONE_API hone_dtype hone_model_compute(const hone_model *model);

/* What fit measured, an entry an epoch. NaN where there is nothing (accuracy of a regression or of several outputs together, no
   validation). */
typedef struct hone_epoch {
    double loss, accuracy, validation_loss, validation_accuracy, seconds;
    const double *metrics, *validation_metrics; /* n_metrics of the history each, over the epoch's batches as it went; the
                                                   weighted ones after the others */
} hone_epoch;
/* An entry an epoch; owned by whoever called hone_fit. */
typedef struct hone_history {
    hone_ctx *ctx;
    hone_epoch *epochs;
    size_t n_epochs;
    size_t n_metrics;          /* hone_model_metric_name */
    const char **metric_names;
    double *values;            /* behind the epochs' metrics */
} hone_history;
HONE_API void hone_history_free(hone_history *history); /* NULL is allowed */
/* The metrics that fit and evaluate tell, in their order: those of hone_compile. With several outputs, before them the loss of each
   output (without its loss_weight), "<output>_loss"; and before an output's metrics its "<output>_accuracy" where the loss knows
   right answers. NULL out of range. */
HONE_API size_t hone_model_metric_count(const hone_model *model);
HONE_API const char *hone_model_metric_name(const hone_model *model, size_t i);
/* A quantity of an epoch by name: "loss", "accuracy", a metric's, and each behind "val_" for what was held out; NaN: there is
   none. */
HONE_API double hone_epoch_value(const hone_model *model, const hone_epoch *result, const char *name);

/* Called after each epoch; false ends the training. */
typedef bool (*hone_epoch_fn)(void *user, hone_model *model, size_t epoch, const hone_epoch *result);

/* What a callback sees of a training that is under way. */
typedef struct hone_fit_state {
    hone_model *model;
    int epochs;               /* that were asked for */
    int epoch;                /* this one, from 0 */
    uint64_t step;            /* of the optimizer, from 0, over all calls of hone_fit; at step_end the one just made */
    double loss;              /* at step_end: the step's mean loss */
    const hone_epoch *result; /* at epoch_end; else NULL */
    bool stop;                /* set it: the training ends after this step, its epoch being closed as usual */
    bool no_validation;       /* nothing is held out: result has no quantities of it */
} hone_fit_state;

/* Functions that hone_fit calls, in the order of its list; any may be NULL. Other than HONE_OK ends the training with that
   status. train_end is called for all of them, also after an error. */
typedef struct hone_callback {
    void *user;
    hone_status (*train_begin)(void *user, hone_fit_state *state);
    hone_status (*epoch_begin)(void *user, hone_fit_state *state);
    hone_status (*step_begin)(void *user, hone_fit_state *state);
    hone_status (*step_end)(void *user, hone_fit_state *state);
    hone_status (*epoch_end)(void *user, hone_fit_state *state); /* after validation */
    hone_status (*train_end)(void *user, hone_fit_state *state);
    void (*destroy)(void *user); /* by hone_callback_free */
} hone_callback;

typedef struct hone_fit_opts {
    size_t struct_size;
    int epochs;              /* default 1 */
    int initial_epoch;       /* of a training that goes on: epochs are counted from it on, so that epochs - initial_epoch are made, and
                                the schedule stands where it would if they had been made before (not HONE_SCHEDULE_PLATEAU, which
                                begins anew, as callbacks do); default 0 */
    int batch_size;          /* default 32 */
    int accumulate;          /* micro-batches of batch_size a step; default 1. Exact: the loss is the mean over all */
    double validation_split; /* the last share of the rows is held out (before shuffling, as Keras does), unless */
    const hone_tensor *validation_x, *validation_y; /* these are given, */
    const hone_tensor *validation_sample_weights;   /* real [rows]: of those rows, in the loss and the weighted metrics */
    hone_tensors validation_inputs, validation_targets; /* or these: for hone_fit_many */
    hone_loader *validation_loader; /* or an epoch of these (always that of number 0), in their own batches */
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
    const double *class_weights;       /* [n_class_weights]: factors by an example's one class, in training alone; for models of
                                          one output */
    size_t n_class_weights;
    hone_callback *const *callbacks; /* HONE_CALLBACKS(stop, log); they stay the caller's */
    size_t n_callbacks;
    bool drop_last;          /* leave out, in training, the rows of a last batch that is not full: others each epoch. Default: it is
                                trained on as it is; but where a single row is left over and the model has a batch norm, which cannot
                                be trained on one, it is a part of the batch before it (of a loader's, too). INVALID when no batch is
                                full */
} hone_fit_opts;
/* hone_fit(..., HONE_CALLBACKS(a, b)): the options .callbacks and .n_callbacks. */
#define HONE_CALLBACKS(...)                                                                                  \
    .callbacks = (hone_callback *const[]){__VA_ARGS__},                                                      \
    .n_callbacks = sizeof((hone_callback *const[]){__VA_ARGS__}) / sizeof(hone_callback *)
/* Trains on x [rows, ...], y [rows, ...]. *history (may be NULL) is owned by the caller. CANCELLED after hone_cancel,
   NUMERIC when the loss is not finite (named layer in the message; parameters are those of the last good step). Weighted
   losses are summed and divided by the number of examples, as in Keras; of the metrics only the weighted ones know of weights.
   x of f64 or u8 is given to the model as f32 (bytes as 0 to 255, where datasets scale them to [0, 1]; not to one that begins with an embedding or a layer of one's own, nor to a functional
   input of another type), here and in what evaluates and predicts. Class numbers may be [rows, 1], and f32 or f64 that are whole. SHAPE
   (sticky) names the loss for targets that do not belong to the output, INVALID the row of a class that it does not have. */
HONE_API hone_status hone_fit_opt(hone_model *model, const hone_tensor *x, const hone_tensor *y, hone_history **history,
                                  const hone_fit_opts *opts);
#define hone_fit(...)                                                                                        \
    HONE_OPTS4(hone_fit_opt, hone_fit_opts, __VA_ARGS__, .struct_size = sizeof(hone_fit_opts))
/* The same on the batches of a loader, whose examples have as many inputs and targets as the model has inputs and outputs. It decides
   on their size and order: batch_size, no_shuffle, drop_last, validation_split and sample_weights are INVALID here (hone_split_rows and .rows of the loader hold rows out, its .weights draw rows more often, its
   .sample_weights are the factors of losses). An epoch's number is how many the model has seen. */
HONE_API hone_status hone_fit_loader_opt(hone_model *model, hone_loader *loader, hone_history **history, const hone_fit_opts *opts);
#define hone_fit_loader(...)                                                                                 \
    HONE_OPTS3(hone_fit_loader_opt, hone_fit_opts, __VA_ARGS__, .struct_size = sizeof(hone_fit_opts))

/* hone_fit for models of several inputs or outputs (functional ones; inputs alone also those whose root takes several, as an
   hone_lstm its lengths):
     hone_fit_many(model, HONE_TENSORS(text, price), HONE_TENSORS(kind, rating), &history, .epochs = 10)
   What is minimized is the sum of the outputs' losses by their loss_weight, which "loss" tells. sample_weights weigh all outputs;
   rows are shuffled, cut into batches and held out together. INVALID for another number of tensors than the model has, SHAPE for
   other numbers of rows. */
HONE_API hone_status hone_fit_many_opt(hone_model *model, hone_tensors x, hone_tensors y, hone_history **history,
                                       const hone_fit_opts *opts);
#define hone_fit_many(...)                                                                                   \
    HONE_OPTS4(hone_fit_many_opt, hone_fit_opts, __VA_ARGS__, .struct_size = sizeof(hone_fit_opts))

/* Mean loss over all rows, and the share of right answers (NaN where a target is no class); pointers may be NULL. */
HONE_API hone_status hone_evaluate(hone_model *model, const hone_tensor *x, const hone_tensor *y, int batch_size,
                                   double *loss, double *accuracy);
/* The metrics of hone_compile over all rows, in their order, into values[n]; n must be how many there are. */
HONE_API hone_status hone_evaluate_metrics(hone_model *model, const hone_tensor *x, const hone_tensor *y, int batch_size,
                                           size_t n, double *values);
/* Both, n being 0 or how many metrics there are, with factors of the rows' losses, real [rows], which weighted metrics see as well
   (the accuracy does not); NULL: 1 each. The sum of weighted losses is divided by the number of rows, as in Keras's evaluate. */
HONE_API hone_status hone_evaluate_weighted(hone_model *model, const hone_tensor *x, const hone_tensor *y,
                                            const hone_tensor *sample_weights, int batch_size, double *loss, double *accuracy, size_t n,
                                            double *values);
/* Both on the examples of a loader (epoch 0), also those of several inputs and targets, with its sample_weights: n is 0, or how many
   metrics there are. */
HONE_API hone_status hone_evaluate_loader(hone_model *model, hone_loader *loader, double *loss, double *accuracy, size_t n,
                                          double *values);
/* hone_evaluate_weighted for several inputs or outputs: values[n] receives what hone_model_metric_name names. */
HONE_API hone_status hone_evaluate_many(hone_model *model, hone_tensors x, hone_tensors y, const hone_tensor *sample_weights,
                                        int batch_size, double *loss, size_t n, double *values);
/* The model's output for every row, owned by the caller; NULL on error (does not stick): INVALID for no rows. Computed in the dtype of hone_compile, f32
   before it. */
HONE_API hone_tensor *hone_predict(hone_model *model, const hone_tensor *x, int batch_size);
/* The same for the examples of a loader (epoch 0), in its order (.no_shuffle: the dataset's); y is not looked at. */
HONE_API hone_tensor *hone_predict_loader(hone_model *model, hone_loader *loader);
/* The same of several inputs or outputs: outputs[n], as many as the model has, are owned by the caller; NULL on error. INVALID for
   other numbers of inputs or outputs, SHAPE; does not stick. */
HONE_API hone_status hone_predict_many(hone_model *model, hone_tensors x, int batch_size, int n, hone_tensor **outputs);
/* The same for a loader whose examples have several inputs, or a model with several outputs. */
HONE_API hone_status hone_predict_loader_many(hone_model *model, hone_loader *loader, int n, hone_tensor **outputs);
/* hone_predict of a frame's rows (hone_frame_load reads them from a file), which the model's pipeline makes its input of; columns
   beside those it was fitted on, the target among them, are not looked at. NULL on error, which does not stick but for MEMORY: STATE
   without a pipeline (hone_model_set_pipeline), INVALID without rows, what hone_pipeline_apply and hone_predict say. */
HONE_API hone_tensor *hone_predict_frame(hone_model *model, const hone_frame *frame, int batch_size);

/* Running statistics of all batch norms anew: the mean of those of x's batches, which run as in training (dropout too) but leave the
   weights. For weights that were averaged (hone_ema_swap), as torch.optim.swa_utils.update_bn. STATE for a model that has no
   parameters yet; INVALID; on error they are as before. */
HONE_API hone_status hone_update_batch_norm(hone_model *model, const hone_tensor *x, int batch_size);
/* The same for models of several inputs; SHAPE for other numbers of rows. */
HONE_API hone_status hone_update_batch_norm_many(hone_model *model, hone_tensors x, int batch_size);

typedef struct hone_batch_opts {
    size_t struct_size;
    const hone_tensor *sample_weights; /* real [rows]: factors of the examples' losses, as hone_fit's; default 1 each */
    const double *class_weights;       /* [n_class_weights]: hone_fit's; INVALID for hone_test_on_batch */
    size_t n_class_weights;
    double *metrics;  /* [n_metrics] receives what hone_model_metric_name names; NaN on error */
    size_t n_metrics; /* 0 (default), or how many metrics there are */
} hone_batch_opts;
/* One optimizer step on x [rows, ...], y [rows, ...] as one batch; *loss (may be NULL) and *accuracy (may be NULL) are those
   before it. What hone_fit does for a batch, for loops of one's own: Keras's train_on_batch. Errors as of hone_fit. */
HONE_API hone_status hone_train_on_batch_opt(hone_model *model, const hone_tensor *x, const hone_tensor *y, double *loss,
                                             double *accuracy, const hone_batch_opts *opts);
#define hone_train_on_batch(...)                                                                             \
    HONE_OPTS5(hone_train_on_batch_opt, hone_batch_opts, __VA_ARGS__, .struct_size = sizeof(hone_batch_opts))
/* hone_evaluate_weighted on one batch. */
HONE_API hone_status hone_test_on_batch_opt(hone_model *model, const hone_tensor *x, const hone_tensor *y, double *loss,
                                            double *accuracy, const hone_batch_opts *opts);
#define hone_test_on_batch(...)                                                                              \
    HONE_OPTS5(hone_test_on_batch_opt, hone_batch_opts, __VA_ARGS__, .struct_size = sizeof(hone_batch_opts))
/* Both for models of several inputs or outputs (of these *accuracy is NaN: .metrics has each one's), as hone_fit_many. */
HONE_API hone_status hone_train_on_batch_many_opt(hone_model *model, hone_tensors x, hone_tensors y, double *loss, double *accuracy,
                                                  const hone_batch_opts *opts);
#define hone_train_on_batch_many(...)                                                                        \
    HONE_OPTS5(hone_train_on_batch_many_opt, hone_batch_opts, __VA_ARGS__, .struct_size = sizeof(hone_batch_opts))
HONE_API hone_status hone_test_on_batch_many_opt(hone_model *model, hone_tensors x, hone_tensors y, double *loss, double *accuracy,
                                                 const hone_batch_opts *opts);
#define hone_test_on_batch_many(...)                                                                         \
    HONE_OPTS5(hone_test_on_batch_many_opt, hone_batch_opts, __VA_ARGS__, .struct_size = sizeof(hone_batch_opts))
/* The optimizer that hone_compile gave the model; NULL before. Belongs to the model. */
HONE_API hone_optimizer *hone_model_optimizer(hone_model *model);

/* ---- callbacks: semantics and defaults are Keras 3's --------------------------------------------------- */

/* Quantities to watch ("monitor"): any that hone_epoch_value knows, "val_loss" by default; an epoch in which it is NaN counts as no
   improvement. Epochs that do not have it (nothing is held out, or the loss knows no right answers) are left out, and the context's
   log is told so once a training. A name that the model does not have ends the training as it begins: INVALID. Each function
   below gives a callback that the caller frees with hone_callback_free after the training (a later hone_fit begins afresh); NULL
   on error (sticky): INVALID, MEMORY. */
HONE_API void hone_callback_free(hone_callback *callback); /* NULL is allowed */

/* What is better. */
typedef enum hone_monitor_mode {
    HONE_MONITOR_AUTO, /* smaller for losses and errors, larger for accuracy and its kin: hone_metric_larger_is_better */
    HONE_MONITOR_MIN,
    HONE_MONITOR_MAX
} hone_monitor_mode;

typedef struct hone_early_stopping_opts {
    size_t struct_size;
    const char *monitor;
    double min_delta;          /* less than this is no improvement; default 0 */
    int patience;              /* epochs without improvement after which it ends; default 0 */
    hone_monitor_mode mode;
    const double *baseline;    /* patience counts on until this is beaten; default none */
    bool restore_best_weights; /* at the end those of the best epoch, stopped early or not; default the last ones */
    int start_from_epoch;      /* epochs before it are not watched; default 0 */
} hone_early_stopping_opts;
/* Ends the training when monitor has not improved for `patience` epochs (never in the first epoch). */
HONE_API hone_callback *hone_early_stopping_opt(hone_ctx *ctx, const hone_early_stopping_opts *opts);
#define hone_early_stopping(...)                                                                             \
    HONE_OPTS1(hone_early_stopping_opt, hone_early_stopping_opts, __VA_ARGS__, .struct_size = sizeof(hone_early_stopping_opts))
/* The epoch, from 0, in which it ended the last training; 0: it did not (Keras's stopped_epoch). And the best one; -1: none. */
HONE_API int hone_early_stopping_stopped_epoch(const hone_callback *callback);
HONE_API int hone_early_stopping_best_epoch(const hone_callback *callback);

typedef struct hone_model_checkpoint_opts {
    size_t struct_size;
    const char *monitor;
    hone_monitor_mode mode;
    bool save_best_only;    /* only epochs in which monitor improved */
    bool save_weights_only; /* hone_model_save_weights instead of hone_model_save */
} hone_model_checkpoint_opts;
/* Saves the model after each epoch. In path, {epoch} is the epoch's number from 1, {val_loss} and the other quantities their
   values; {epoch:02d} and {val_loss:.4f} say how (0, width, and after a point the digits behind it). */
HONE_API hone_callback *hone_model_checkpoint_opt(hone_ctx *ctx, const char *path, const hone_model_checkpoint_opts *opts);
#define hone_model_checkpoint(...)                                                                           \
    HONE_OPTS2(hone_model_checkpoint_opt, hone_model_checkpoint_opts, __VA_ARGS__,                           \
               .struct_size = sizeof(hone_model_checkpoint_opts))

typedef struct hone_plateau_opts {
    size_t struct_size;
    const char *monitor;
    double factor;            /* the learning rate is multiplied by this; default 0.1 */
    int patience;             /* epochs without improvement after which it falls; default 10 */
    hone_monitor_mode mode;
    double min_delta;         /* default 1e-4; HONE_ZERO for none */
    int cooldown;             /* epochs after a reduction that do not count; default 0 */
    double min_learning_rate; /* default 0 */
} hone_plateau_opts;
/* Lowers the learning rate when monitor has not improved for `patience` epochs, as keras.callbacks.ReduceLROnPlateau: by min_delta,
   a difference. PyTorch's rule, which reduces an epoch later and compares by a share, is HONE_SCHEDULE_PLATEAU (optim.h). */
HONE_API hone_callback *hone_reduce_lr_on_plateau_opt(hone_ctx *ctx, const hone_plateau_opts *opts);
#define hone_reduce_lr_on_plateau(...)                                                                       \
    HONE_OPTS1(hone_reduce_lr_on_plateau_opt, hone_plateau_opts, __VA_ARGS__, .struct_size = sizeof(hone_plateau_opts))

/* The learning rate of an epoch, counted from 0, from that of the one before. */
typedef double (*hone_epoch_rate_fn)(void *user, int epoch, double learning_rate);
/* Sets the learning rate at the beginning of each epoch. INVALID without a function, and during the training for one that is negative or not finite. */
HONE_API hone_callback *hone_learning_rate_scheduler(hone_ctx *ctx, hone_epoch_rate_fn rate, void *user);

/* Writes a line an epoch: epoch (from 0), then accuracy, learning_rate, loss, val_accuracy, val_loss and the metrics by the
   alphabet; those that the first epoch does not have are left out. append: goes on in a file that exists, without a second header. */
HONE_API hone_callback *hone_csv_logger(hone_ctx *ctx, const char *path, bool append);

/* Curves for TensorBoard: epoch_loss, epoch_accuracy, epoch_<metric> and epoch_learning_rate in folder/train, those of what is
   held out in folder/validation, by epoch; and with update_steps > 0 every so many steps batch_loss, by step. */
HONE_API hone_callback *hone_tensorboard(hone_ctx *ctx, const char *folder, int update_steps);

/* A parameter's L2 norms after a step: of its values and of the gradient that the step used. */
typedef void (*hone_norm_fn)(void *user, uint64_t step, const char *parameter, double norm, double gradient_norm);
/* Tells the norms of every trained parameter each `steps` steps. (A loss or a gradient that is not finite ends the training
   with the name of the first layer where it is: hone_fit.) */
HONE_API hone_callback *hone_norm_monitor(hone_ctx *ctx, int steps, hone_norm_fn tell, void *user);

/* L2 norms of a layer in a step; NaN where it has nothing of the kind. */
typedef struct hone_layer_norms {
    const char *layer;         /* its dotted name; "" for what no layer but the model's own records: the loss */
    double output;             /* of what its last op gave, in the step's last micro-batch */
    double weights, gradients; /* of the trained parameters that are its own (not its children's) after the step, of their gradients */
} hone_layer_norms;
/* Tells all layers of a step, in the order in which they first ran; the names live as long as the callback. */
typedef void (*hone_layer_norms_fn)(void *user, uint64_t step, size_t n, const hone_layer_norms *layers);
typedef struct hone_layer_monitor_opts {
    size_t struct_size;
    int steps;                /* looks at every so many steps; default 1 */
    hone_layer_norms_fn tell; /* default nobody */
    void *user;
    const char *path;         /* a CSV file for them: step, layer, output, weights, gradients; default none */
} hone_layer_monitor_opts;
/* Looks at every value of a step as it is computed, forwards and backwards, at the price of one more pass over each. The first that
   is NaN or infinite ends the training with NUMERIC and names its layer and op, also where the loss stays finite (an infinite
   score behind a softmax). One a training: STATE. */
HONE_API hone_callback *hone_layer_monitor_opt(hone_ctx *ctx, const hone_layer_monitor_opts *opts);
#define hone_layer_monitor(...)                                                                              \
    HONE_OPTS1(hone_layer_monitor_opt, hone_layer_monitor_opts, __VA_ARGS__, .struct_size = sizeof(hone_layer_monitor_opts))

/* ---- choosing ------------------------------------------------------------------------------------------- */

/* A new compiled model; NULL on error. */
typedef hone_model *(*hone_build_fn)(void *user, hone_ctx *ctx);
/* What one fold was worth. */
typedef struct hone_fold {
    double loss, accuracy; /* of the rows held out; accuracy NaN where the loss has none, or there are several outputs */
} hone_fold;
typedef struct hone_cross_validate_opts {
    size_t struct_size;
    int k;                    /* folds; default 5 */
    uint64_t seed;            /* of the rows' order */
    bool no_shuffle;          /* folds are consecutive rows */
    bool stratify;            /* y [rows] (the first one) are class numbers, of which every fold has the share that all rows have */
    const hone_fit_opts *fit; /* how each is trained; default as hone_fit's. sample_weights are those of all rows: they go with them */
    void *user;               /* build's */
    double *metrics;          /* [k, n_metrics] receives what hone_model_metric_name names, of the rows held out */
    size_t n_metrics;         /* 0 (default), or how many metrics the models have */
} hone_cross_validate_opts;
/* k-fold cross-validation: rows are cut into the k parts of hone_k_fold; for each, a model from build is trained on the others
   and evaluated on it. folds[k] receives what each was worth. INVALID for k below 2 or more than there are rows, SHAPE for other
   numbers of rows. */
HONE_API hone_status hone_cross_validate_opt(hone_ctx *ctx, hone_build_fn build, const hone_tensor *x, const hone_tensor *y,
                                             hone_fold *folds, const hone_cross_validate_opts *opts);
#define hone_cross_validate(...)                                                                             \
    HONE_OPTS5(hone_cross_validate_opt, hone_cross_validate_opts, __VA_ARGS__,                               \
               .struct_size = sizeof(hone_cross_validate_opts))
/* The same for models of several inputs or outputs, as hone_fit_many. */
HONE_API hone_status hone_cross_validate_many_opt(hone_ctx *ctx, hone_build_fn build, hone_tensors x, hone_tensors y, hone_fold *folds,
                                                  const hone_cross_validate_opts *opts);
#define hone_cross_validate_many(...)                                                                        \
    HONE_OPTS5(hone_cross_validate_many_opt, hone_cross_validate_opts, __VA_ARGS__,                          \
               .struct_size = sizeof(hone_cross_validate_opts))

typedef struct hone_rate_finder_opts {
    size_t struct_size;
    double least, most; /* learning rates; default 1e-7 and 1 */
    int steps;          /* default 100 */
    int batch_size;     /* default 32 */
    double smoothing;   /* of the losses: a running mean that keeps so much of what it was, without its bias towards 0;
                           default 0.9, HONE_ZERO for none */
    double diverged;    /* ends when the smoothed loss is more than this times the least one; default 4 */
} hone_rate_finder_opts;
/* What it found; for hone_plot_lines. */
typedef struct hone_rate_finder {
    hone_ctx *ctx;
    size_t n;
    double *learning_rates, *losses; /* [n], smoothed */
    double suggestion;               /* NaN when there were too few steps or the loss never fell */
} hone_rate_finder;
/* The learning-rate range test of Smith 2017 ("Cyclical Learning Rates for Training Neural Networks", section 3.3): trains
   with learning rates that rise by the same factor from step to step, and suggests the one where the smoothed loss falls
   most steeply over the rate's logarithm. The model and its optimizer are then as before. Owned by the caller; NULL on error
   (sticky only for MEMORY and what a step makes stick). */
HONE_API hone_rate_finder *hone_find_learning_rate_opt(hone_model *model, const hone_tensor *x, const hone_tensor *y,
                                                       const hone_rate_finder_opts *opts);
#define hone_find_learning_rate(...)                                                                         \
    HONE_OPTS3(hone_find_learning_rate_opt, hone_rate_finder_opts, __VA_ARGS__, .struct_size = sizeof(hone_rate_finder_opts))
/* The same for models of several inputs or outputs, as hone_fit_many. */
HONE_API hone_rate_finder *hone_find_learning_rate_many_opt(hone_model *model, hone_tensors x, hone_tensors y,
                                                            const hone_rate_finder_opts *opts);
#define hone_find_learning_rate_many(...)                                                                    \
    HONE_OPTS3(hone_find_learning_rate_many_opt, hone_rate_finder_opts, __VA_ARGS__, .struct_size = sizeof(hone_rate_finder_opts))
HONE_API void hone_rate_finder_free(hone_rate_finder *finder); /* NULL is allowed */

/* ---- saving and loading -------------------------------------------------------------------------------- */

/* Saves the whole model as one safetensors file, which is replaced whole or not at all: weights under their names; what the
   layers are, the compile options and the optimizer's as JSON in the metadata ("hone_model"); the optimizer's state as tensors
   "optimizer/<parameter>.<state>"; the pipeline, if it has one. Training that goes on from it equals one that never stopped, bit for bit, when the
   context's seed is the same, whatever the optimizer, its groups included. Functional models are saved with their graph, also those
   of several inputs and outputs. UNSUPPORTED, by name, for layers of one's own and hone_lambda, for what stands between the layers of a
   functional model and is an op with weights or a constant tensor, for losses of one's own at more than one output, and for other models of
   several inputs. Does not stick but for MEMORY. */
HONE_API hone_status hone_model_save(hone_model *model, const char *path);
/* Gives the model a copy of a fitted pipeline, in place of one that it has (NULL: none), so that the one file of hone_model_save says
   how columns become its input. Nothing else looks at it but hone_predict_frame. Does not stick but for MEMORY: STATE before
   hone_pipeline_fit, INVALID for names or values that are not UTF-8. */
HONE_API hone_status hone_model_set_pipeline(hone_model *model, const hone_pipeline *pipeline);
/* The model's copy, until it gets another; NULL: it has none. */
HONE_API const hone_pipeline *hone_model_pipeline(const hone_model *model);
/* The weights alone, under their dotted names: a PyTorch state_dict. INVALID for a model that has none yet. */
HONE_API hone_status hone_model_save_weights(const hone_model *model, const char *path);

typedef struct hone_model_load_opts {
    size_t struct_size;
    hone_loss_fn custom_loss; /* for a model that was compiled with one */
    void *custom_user;
} hone_model_load_opts;
/* The model as it was saved, compiled if it was; owned by the caller. Untrusted. NULL on error (sticky): IO, FORMAT, SHAPE;
   STATE when it needs a custom_loss. */
HONE_API hone_model *hone_model_load_opt(hone_ctx *ctx, const char *path, const hone_model_load_opts *opts);
#define hone_model_load(...)                                                                                 \
    HONE_OPTS2(hone_model_load_opt, hone_model_load_opts, __VA_ARGS__, .struct_size = sizeof(hone_model_load_opts))

/* What became of a tensor of a file of weights. */
typedef enum hone_load_outcome {
    HONE_LOADED,
    HONE_MISSING,    /* the file has no such tensor */
    HONE_UNEXPECTED, /* the model has no such parameter */
    HONE_OTHER_SHAPE
} hone_load_outcome;
/* One name. */
typedef struct hone_load_entry {
    char *name;
    hone_load_outcome outcome;
    hone_shape model, file; /* shapes, where there are any */
} hone_load_entry;
/* Every parameter of the model, in its order, then what the file has beside them. */
typedef struct hone_load_report {
    hone_ctx *ctx;
    size_t n_entries, loaded, missing, unexpected, other_shape;
    hone_load_entry *entries;
} hone_load_report;
HONE_API void hone_load_report_free(hone_load_report *report); /* NULL is allowed */

typedef struct hone_load_weights_opts {
    size_t struct_size;
    bool partial; /* load what fits (transfer learning); default: everything must fit */
} hone_load_weights_opts;
/* Loads weights by name from a safetensors file or folder, into a model whose parameters are known (it has run, or
   hone_model_build_for). *report (may be NULL) is the caller's, also when something does not fit: then SHAPE, and nothing was
   loaded. What a PyTorch file has beside parameters (num_batches_tracked) and an optimizer's state are passed over. Errors
   stick, as in building. */
HONE_API hone_status hone_model_load_weights_opt(hone_model *model, const char *path, hone_load_report **report,
                                                 const hone_load_weights_opts *opts);
#define hone_model_load_weights(...)                                                                         \
    HONE_OPTS3(hone_model_load_weights_opt, hone_load_weights_opts, __VA_ARGS__, .struct_size = sizeof(hone_load_weights_opts))

/* ---- pictures ---------------------------------------------------------------------------------------- */

/* One line of a picture. Points that are NaN or infinite are left out, and their neighbours joined. */
typedef struct hone_plot_series {
    const char *name; /* UTF-8, for the legend; NULL: not in it */
    size_t count;     /* may be 0; one point is drawn as a dot */
    const double *x, *y;
    bool faint; /* thin and pale, in the colour of the next series: raw values beneath their smoothed line */
    bool points; /* a dot for each, and no line between: answers over targets */
    bool guide; /* thin and grey: what the others are to be seen against, as the diagonal of chance */
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
/* The same for a history: one quantity over the epochs, "loss", "accuracy" or a metric's name, in training and of what was held out;
   NULL: all there are on one pair of axes, named as by hone_epoch_value. INVALID when the history has no such numbers. */
HONE_API hone_status hone_plot_history(hone_ctx *ctx, const char *path, const char *title, const hone_history *history, const char *quantity);
/* The same for a metric roc_auc that has been told scores: the curve of hone_metric_curve for each class, its area in the legend, and
   the diagonal of chance. Of two classes that of class 1. names[classes], UTF-8; NULL: numbers. Classes that the targets lack, or
   have alone, have no curve. STATE for other metrics; INVALID for more than 20 classes, or when no class has a curve. */
HONE_API hone_status hone_plot_roc(hone_ctx *ctx, const char *path, const char *title, hone_metric *metric, const char *const *names);

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
