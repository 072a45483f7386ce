/* Gradients of the weights of bf16 convolutions of few channels, by AMX: oneDNN's reach a tenth of what such a CPU can do. */
#ifndef HONE_SRC_CONV_WEIGHTS_H
#define HONE_SRC_CONV_WEIGHTS_H

#include "kernel/conv.h"

typedef struct hone__conv_weights hone__conv_weights;

/* NULL without an error: not for this CPU or convolution. */
hone__conv_weights *hone__conv_weights_new(hone_ctx *ctx, const hone__conv_desc *desc);
void hone__conv_weights_free(hone__conv_weights *weights); /* NULL is allowed */
size_t hone__conv_weights_scratch(const hone__conv_weights *weights);
void hone__conv_weights_run(const hone__conv_weights *weights, const hone__conv_data *data, void *scratch);

#endif
