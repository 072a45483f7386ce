#include "kernel/quantized.h"
#include "kernel/x86/quantized.h"

struct hone__quantized {
    hone_ctx *ctx;
    hone_dtype format;
    int64_t rows, n, k, blocks;
    const uint8_t *w;
    hone__quantized_dot dot;
};

/* With more rows than this, unpacking the weight once for a real matrix product is faster. */
#define FEW_ROWS 8

hone__quantized *hone__quantized_new(hone_ctx *ctx, hone_dtype format, int64_t rows, int64_t n, int64_t k, const void *w)
{
    hone__quantized_dot dot = NULL;
#ifdef HONE_X86
    if (hone__isa_level() >= HONE__ISA_AVX512) dot = hone__quantized_dot_avx512(format);
#endif
    if (!dot || rows > FEW_ROWS || rows < 1 || k % 32) return NULL;
    hone__quantized *q = hone__calloc(ctx, 1, sizeof *q);
    if (!q) return NULL;
    *q = (hone__quantized){ctx, format, rows, n, k, k / 32, w, dot};
    return q;
}

void hone__quantized_free(hone__quantized *q)
{
    if (q) hone__free(q->ctx, q);
}

/* Per row: k int8 values, then k / 32 scales and k / 32 scaled sums. */
static size_t row_bytes(const hone__quantized *q) { return (size_t)(q->k + q->blocks * 8 + 63) & ~(size_t)63; }

size_t hone__quantized_scratch(const hone__quantized *q) { return (size_t)q->rows * (row_bytes(q) + (size_t)q->k * 4); }

static void quantize_row(const float *x, int64_t blocks, int8_t *values, float *scales, float *sums)
{
    for (int64_t b = 0; b < blocks; b++, x += 32, values += 32) {
        float most = 0;
        for (int i = 0; i < 32; i++) {
            float a = x[i] < 0 ? -x[i] : x[i];
            most = a > most ? a : most;
        }
        float scale = most / 127, inverse = most > 0 ? 127 / most : 0;
        int sum = 0;
        for (int i = 0; i < 32; i++) {
            float v = x[i] * inverse;
            int rounded = (int)(v + (v < 0 ? -0.5f : 0.5f));
            values[i] = (int8_t)rounded;
            sum += rounded;
        }
        scales[b] = scale;
        sums[b] = scale * (float)sum;
    }
}

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
    for (int64_t c = begin; c < end; c++) {
        float sum[FEW_ROWS];
        q->dot(q->w + (size_t)c * stride, &j->x, q->blocks, sum);
        for (int64_t r = 0; r < q->rows; r++) {
            float v = sum[r] + (j->bias ? j->bias[c] : 0);
            if (j->y_type == HONE_BF16)
                ((uint16_t *)j->y)[r * q->n + c] = hone__f32_to_bf16(v);
            else
                ((float *)j->y)[r * q->n + c] = v;
        }
    }
}

void hone__quantized_run(const hone__quantized *q, const void *x, hone_dtype x_type, const void *bias, void *y,
                         hone_dtype y_type, void *scratch)
{
    char *at = scratch;
    job j = {.q = q, .x = {.rows = (int)q->rows}, .bias = bias, .y = y, .y_type = y_type};
    float *plain = (float *)(void *)(at + (size_t)q->rows * row_bytes(q));
    hone__kernels_for(HONE_F32)->copy(plain, HONE_F32, x, x_type, 1, q->rows * q->k);
    for (int64_t r = 0; r < q->rows; r++, at += row_bytes(q)) {
        int8_t *values = (int8_t *)at;
        float *scales = (float *)(void *)(at + q->k), *sums = scales + q->blocks;
        quantize_row(plain + r * q->k, q->blocks, values, scales, sums);
        j.x.values[r] = values, j.x.scales[r] = scales, j.x.sums[r] = sums;
    }
    hone__parallel_for(q->ctx, q->n, HONE_MAX(1, 32768 / q->k), columns, &j);
}
