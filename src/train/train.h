/* The train room, for the rest of the library. */
#ifndef HONE_SRC_TRAIN_H
#define HONE_SRC_TRAIN_H

#include "hone/data.h"
#include "hone/train.h"
#include "metrics/metrics.h"
#include "nn/nn.h"
#include "optim/optim.h"

/* What targets are: loss.def says more. */
typedef enum hone__targets { HONE__VALUES, HONE__BINARY, HONE__CATEGORIES, HONE__CLASSES, HONE__SEQUENCES } hone__targets;

/* A line of loss.def. */
typedef struct hone__loss_info {
    const char *name;
    hone_node *(*function)(hone_node *output, hone_node *target, const hone_loss_opts *opts);
    hone__targets targets;
    bool logits;
} hone__loss_info;

/* What hone_compile leaves with the model. */
typedef struct hone__compiled {
    hone_ctx *ctx;
    hone_function *step, *predict;
    hone_optimizer *optimizer;
    const hone__loss_info *loss; /* NULL: custom_loss */
    hone_loss_opts loss_options;
    hone_loss_fn custom_loss;
    void *custom_user;
    double max_grad_norm, max_grad_value;
    hone_metric **metrics;
    size_t n_metrics;
} hone__compiled;

/* The model's, made when it has none: compile and predict need it. NULL: memory (sticky). */
hone__compiled *hone__compiled_of(hone_model *model);
/* A function over the model, called with it. */
hone_function *hone__model_function(hone_model *model, int n_in, int n_out, hone_forward_fn forward, hone_dtype compute);

/* Factors of the examples' losses [n] (owned by the caller), NULL in *weights when the options have none; class weights are those
   of rows below `trained`. Errors don't stick (but MEMORY). */
hone_status hone__example_weights(const hone__compiled *c, const hone_tensor *y, int64_t trained, const hone_fit_opts *o,
                                  float **weights);

#endif
