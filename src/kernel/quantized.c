#include "kernel/quantized.h"
#include "kernel/x86/quantized.h"

struct hone__quantized {
    hone_ctx *ctx;
    hone_dtype format;
    int64_t rows, n, k, blocks;
    const uint8_t *w;
    hone__quantized_kernel kernel;
};

/* With more rows than this, unpacking the weight once for a real matrix product is faster. */
#define FEW_ROWS HONE__QUANTIZED_ROWS

hone__quantized *hone__quantized_new(hone_ctx *ctx, hone_dtype format, int64_t rows, int64_t n, int64_t k, const void *w)
{
    hone__quantized_kernel kernel = {NULL, NULL};
#ifdef HONE_X86
    if (hone__isa_level() >= HONE__ISA_AVX512) kernel = hone__quantized_avx512(format);
#endif
    if (!kernel.dot || rows > FEW_ROWS || rows < 1 || k % 32) return NULL;
    hone__quantized *q = hone__calloc(ctx, 1, sizeof *q);
    if (!q) return NULL;
    *q = (hone__quantized){ctx, format, rows, n, k, k / 32, w, kernel};
    return q;
}

void hone__quantized_free(hone__quantized *q)
{
    if (q) hone__free(q->ctx, q);
}

/* Per row: k int8 values, then k / 32 scales and k / 32 scaled sums. */
static size_t row_bytes(const hone__quantized *q) { return (size_t)(q->k + q->blocks * 8 + 63) & ~(size_t)63; }

size_t hone__quantized_scratch(const hone__quantized *q) { return (size_t)q->rows * row_bytes(q); }

typedef struct job {
    const hone__quantized *q;
    hone__quantized_rows x;
    const float *bias;
    void *y;
    hone_dtype y_type;
} job;

static void columns(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    const hone__quantized *q = j->q;
    size_t stride = hone__dtype_bytes(q->format, q->k);
    for (int64_t c = begin, n; c < end; c += n) {
        float sum[FEW_ROWS][HONE__QUANTIZED_COLUMNS];
        n = HONE_MIN(end - c, HONE__QUANTIZED_COLUMNS);
        q->kernel.dot(q->w + (size_t)c * stride, n, &j->x, q->blocks, sum);
        for (int64_t r = 0; r < q->rows; r++) {
            int64_t at = r * q->n + c;
            for (int64_t i = 0; i < n && j->bias; i++) sum[r][i] += j->bias[c + i];
            if (j->y_type == HONE_BF16)
                for (int64_t i = 0; i < n; i++) ((uint16_t *)j->y)[at + i] = hone__f32_to_bf16(sum[r][i]);
            else
                memcpy((float *)j->y + at, sum[r], (size_t)n * sizeof(float));
        }
    }
}

void hone__quantized_run(const hone__quantized *q, const void *x, hone_dtype x_type, const void *bias, void *y,
                         hone_dtype y_type, void *scratch)
{
    char *at = scratch;
    job j = {.q = q, .x = {.rows = (int)q->rows}, .bias = bias, .y = y, .y_type = y_type};
    for (int64_t r = 0; r < q->rows; r++, at += row_bytes(q)) {
        int8_t *values = (int8_t *)at;
        float *scales = (float *)(void *)(at + q->k), *sums = scales + q->blocks;
        const char *row = (const char *)x + hone__dtype_bytes(x_type, r * q->k);
        q->kernel.quantize(row, x_type == HONE_BF16, q->blocks, values, scales, sums);
        j.x.values[r] = values, j.x.scales[r] = scales, j.x.sums[r] = sums;
    }
    /* A thread is worth 10 us, about 130 thousand weights. */
    hone__parallel_for(q->ctx, q->n, HONE_MAX(HONE__QUANTIZED_COLUMNS, 131072 / q->k), columns, &j);
}
