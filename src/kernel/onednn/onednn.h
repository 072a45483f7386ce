/* The only door to oneDNN: products, convolutions and packing. Everything else includes
   kernel/matmul.h and kernel/conv.h. */
#ifndef HONE_SRC_ONEDNN_H
#define HONE_SRC_ONEDNN_H

#include "kernel/conv.h"

typedef struct hone__dnnl_matmul hone__dnnl_matmul;
typedef struct hone__dnnl_packer hone__dnnl_packer;
typedef struct hone__dnnl_conv hone__dnnl_conv;

bool hone__dnnl_usable(void); /* false below AVX2 and where oneDNN would not start */
const char *hone__dnnl_version(char text[32]);
/* NULL when oneDNN has no implementation for it: the caller takes its own. */
hone__dnnl_matmul *hone__dnnl_matmul_new(hone_ctx *ctx, const hone__matmul_desc *desc);
void hone__dnnl_matmul_free(hone_ctx *ctx, hone__dnnl_matmul *matmul);
size_t hone__dnnl_matmul_scratch(const hone__dnnl_matmul *matmul);
bool hone__dnnl_matmul_run(hone__dnnl_matmul *matmul, const void *a, const void *b, const void *bias, void *c, void *scratch);
uint64_t hone__dnnl_matmul_layout(const hone__dnnl_matmul *matmul);
size_t hone__dnnl_matmul_packed_bytes(const hone__dnnl_matmul *matmul);
hone__dnnl_packer *hone__dnnl_packer_new(hone_ctx *ctx, const hone__dnnl_matmul *matmul, const hone__matmul_desc *desc);
void hone__dnnl_packer_free(hone_ctx *ctx, hone__dnnl_packer *packer);
bool hone__dnnl_packer_run(hone__dnnl_packer *packer, void *packed, const void *b, hone_dtype b_type);

/* NULL when oneDNN has no good implementation for it. */
hone__dnnl_conv *hone__dnnl_conv_new(hone_ctx *ctx, const hone__conv_desc *desc);
void hone__dnnl_conv_free(hone_ctx *ctx, hone__dnnl_conv *conv);
size_t hone__dnnl_conv_scratch(const hone__dnnl_conv *conv);
bool hone__dnnl_conv_run(hone__dnnl_conv *conv, const hone__conv_data *data, void *scratch);
uint64_t hone__dnnl_conv_layout(const hone__dnnl_conv *conv);
size_t hone__dnnl_conv_packed_bytes(const hone__dnnl_conv *conv);
hone__dnnl_packer *hone__dnnl_conv_packer(hone_ctx *ctx, const hone__dnnl_conv *conv);

#endif
