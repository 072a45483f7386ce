/* Prepared convolutions: oneDNN where it has a good implementation, the table's gemm over gathered windows otherwise. */
#ifndef HONE_SRC_CONV_H
#define HONE_SRC_CONV_H

#include "kernel/matmul.h"
#include "kernel/window.h"

/* y = x * w and its two transposes. Activations are channels last: x [n, in..., c], y [n, out..., o]; weights plain are
   dense [o, c / groups, kernel...]. */
typedef enum hone__conv_kind {
    HONE__CONV_FORWARD, /* y = act(w * x + bias) */
    HONE__CONV_INPUT,   /* x = the gradient of x, from w and the gradient y */
    HONE__CONV_WEIGHTS  /* w, bias = their gradients, from x and the gradient y */
} hone__conv_kind;

typedef struct hone__conv_desc {
    hone__conv_kind kind;
    hone__window window;
    int64_t n, c, o, groups;
    hone_dtype type;   /* of what is read: f32, f64 or bf16. Bias, and gradients of weights, are f32 (f64) */
    hone_dtype result; /* of y or x: f32 (f64) or bf16 */
    bool bias;         /* FORWARD: added; WEIGHTS: wanted */
    bool relu;         /* FORWARD: applied to the sum */
    bool packed;       /* weights that are read come in the convolution's own layout (hone__conv_layout) */
} hone__conv_desc;

/* Which of them is the result depends on the kind. */
typedef struct hone__conv_data {
    void *x, *w, *bias, *y;
} hone__conv_data;

typedef struct hone__conv hone__conv;

hone__conv *hone__conv_new(hone_ctx *ctx, const hone__conv_desc *desc); /* NULL: memory (sticky) */
void hone__conv_free(hone__conv *conv);
size_t hone__conv_scratch(const hone__conv *conv); /* bytes, 64-aligned, for run */
hone_status hone__conv_run(hone__conv *conv, const hone__conv_data *data, void *scratch);
/* As of products (matmul.h); 0: weights are taken plain in desc.type. */
uint64_t hone__conv_layout(const hone__conv *conv);
size_t hone__conv_packed_bytes(const hone__conv *conv);
hone__packer *hone__conv_packer(const hone__conv *conv);

#endif
