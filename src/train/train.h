/* The train room, for the rest of the library. */
#ifndef HONE_SRC_TRAIN_H
#define HONE_SRC_TRAIN_H

#include "hone/data.h"
#include "hone/train.h"
#include "nn/nn.h"
#include "optim/optim.h"

/* What hone_compile leaves with the model. */
typedef struct hone__compiled {
    hone_ctx *ctx;
    hone_function *step, *predict;
    hone_optimizer *optimizer;
    hone_loss loss;
    hone_loss_fn custom_loss;
    void *custom_user;
    double max_grad_norm;
} hone__compiled;

#endif
