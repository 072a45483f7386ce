#include "kernel/gemm.h"
#include "kernel/narrow.h"

#ifdef HONE_HAVE_ONEDNN
#include "kernel/onednn/onednn.h"
#endif

struct hone__matmul {
    hone_ctx *ctx;
    hone__matmul_desc d;
    const hone__kernels *k;
    hone__narrow *narrow;
    hone__gemm *gemm;
#ifdef HONE_HAVE_ONEDNN
    hone__dnnl_matmul *dnnl;
#endif
    int64_t parts;     /* pieces of m, each with gemm scratch of its own */
    size_t part_bytes; /* gemm scratch of a piece */
    size_t a_bytes, b_bytes, c_bytes; /* f32 copies of bf16 operands of one batch entry */
};

/* Below this many multiply-adds oneDNN's call costs more than the work. */
#define SMALL_PRODUCT (32 * 1024)

bool hone__matmul_reads(const hone__matmul_desc *d, hone_dtype stored) { return hone__gemm_reads(d, stored); }

hone__matmul *hone__matmul_new(hone_ctx *ctx, const hone__matmul_desc *d)
{
    hone__matmul *m = hone__calloc(ctx, 1, sizeof *m);
    if (!m) return NULL;
    m->ctx = ctx;
    m->d = *d;
    m->k = hone__kernels_for(d->ab == HONE_F64 ? HONE_F64 : HONE_F32);
    m->narrow = hone__narrow_new(ctx, d);
    if (!m->narrow) m->gemm = hone__gemm_new(ctx, d, NULL);
    if (m->narrow || m->gemm) return m;
    if (d->b_raw) hone__fail(ctx, HONE_INTERNAL, "no product reads %s", hone_dtype_name(d->b_stored));
    if (!hone__ok(ctx)) {
        hone__matmul_free(m);
        return NULL;
    }
#ifdef HONE_HAVE_ONEDNN
    bool tiny = d->ab == HONE_F32 && d->m * d->n * d->k <= SMALL_PRODUCT && !d->pack_b;
    if (!tiny && d->batch > 0 && d->m > 0 && d->n > 0 && d->k > 0) m->dnnl = hone__dnnl_matmul_new(ctx, d);
    if (!hone__ok(ctx)) {
        hone__matmul_free(m);
        return NULL;
    }
#endif
    size_t real = d->ab == HONE_F64 ? 8 : 4;
    m->parts = d->m * d->n * d->k > 2 * SMALL_PRODUCT ? HONE_MIN((int64_t)ctx->threads, (d->m + 15) / 16) : 1;
    m->parts = HONE_MAX(m->parts, 1);
    m->part_bytes = hone__align((size_t)m->k->gemm_scratch(d->m, d->n, d->k) * real);
    if (d->ab == HONE_BF16) {
        m->a_bytes = hone__align((size_t)(d->m * d->k) * 4);
        m->b_bytes = hone__align((size_t)(d->k * d->n) * 4);
    }
    if (d->c == HONE_BF16) m->c_bytes = hone__align((size_t)(d->m * d->n) * 4);
    return m;
}

void hone__matmul_free(void *matmul)
{
    hone__matmul *m = matmul;
    if (!m) return;
    hone__narrow_free(m->narrow);
    hone__gemm_free(m->gemm);
#ifdef HONE_HAVE_ONEDNN
    hone__dnnl_matmul_free(m->ctx, m->dnnl);
#endif
    hone__free(m->ctx, m);
}

size_t hone__matmul_scratch(const hone__matmul *m)
{
    if (m->narrow) return hone__narrow_scratch(m->narrow);
    if (m->gemm) return hone__gemm_scratch(m->gemm);
#ifdef HONE_HAVE_ONEDNN
    if (m->dnnl) return hone__dnnl_matmul_scratch(m->dnnl);
#endif
    return m->a_bytes + m->b_bytes + m->c_bytes + (size_t)m->parts * m->part_bytes;
}

typedef struct job {
    const hone__matmul *m;
    const char *a, *b;
    char *c, *scratch;
    int64_t a_row, a_col, b_row, b_col, c_row;
    double beta;
} job;

static void piece(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    const hone__matmul *m = j->m;
    int64_t real = m->k->real == HONE_F64 ? 8 : 4;
    for (int64_t p = begin; p < end; p++) {
        int64_t from = m->d.m * p / m->parts, to = m->d.m * (p + 1) / m->parts;
        m->k->gemm(to - from, m->d.n, m->d.k, 1, j->a + from * j->a_row * real, j->a_row, j->a_col, j->b, j->b_row,
                   j->b_col, j->beta, j->c + from * j->c_row * real, j->c_row, j->scratch + (size_t)p * m->part_bytes);
    }
}

/* rows x cols values at any strides as dense f32. */
static void widen(const hone__kernels *k, float *to, const uint16_t *x, int64_t rows, int64_t cols, int64_t row, int64_t col)
{
    for (int64_t i = 0; i < rows; i++) k->copy(to + i * cols, HONE_F32, x + i * row, HONE_BF16, col, cols);
}

static void by_gemm(const hone__matmul *m, const void *a, const void *b, const void *bias, void *c, char *scratch)
{
    const hone__matmul_desc *d = &m->d;
    int64_t bytes = hone__dtypes[d->ab].bytes, c_bytes = hone__dtypes[d->c].bytes;
    float *wide_a = (float *)scratch, *wide_b = (float *)(scratch + m->a_bytes);
    float *wide_c = (float *)(scratch + m->a_bytes + m->b_bytes);
    job j = {.m = m, .scratch = scratch + m->a_bytes + m->b_bytes + m->c_bytes, .a_row = d->a_row, .a_col = d->a_col,
             .b_row = d->b_row, .b_col = d->b_col, .c_row = d->c_row, .beta = d->accumulate || d->bias};
    for (int64_t i = 0; i < d->batch; i++) {
        j.a = (const char *)a + i * d->a_batch * bytes;
        j.b = (const char *)b + i * d->b_batch * bytes;
        char *to = (char *)c + i * d->c_batch * c_bytes;
        j.c = to;
        if (m->a_bytes) {
            widen(m->k, wide_a, (const uint16_t *)j.a, d->m, d->k, d->a_row, d->a_col);
            widen(m->k, wide_b, (const uint16_t *)j.b, d->k, d->n, d->b_row, d->b_col);
            j.a = (char *)wide_a, j.a_row = d->k, j.a_col = 1;
            j.b = (char *)wide_b, j.b_row = d->n, j.b_col = 1;
        }
        if (m->c_bytes) {
            j.c = (char *)wide_c, j.c_row = d->n;
            if (d->accumulate) widen(m->k, wide_c, (const uint16_t *)to, d->m, d->n, d->c_row, 1);
        }
        hone_dtype real = m->k->real;
        int64_t size = real == HONE_F64 ? 8 : 4;
        if (d->bias)
            for (int64_t r = 0; r < d->m; r++) {
                char *row = j.c + r * j.c_row * size;
                if (d->accumulate)
                    m->k->axpy(row, bias, real, 1, d->n);
                else
                    memcpy(row, bias, (size_t)(d->n * size));
            }
        hone__parallel_for(m->ctx, m->parts, 1, piece, &j);
        if (m->c_bytes)
            for (int64_t r = 0; r < d->m; r++)
                m->k->copy((uint16_t *)(void *)to + r * d->c_row, HONE_BF16, wide_c + r * d->n, HONE_F32, 1, d->n);
    }
}

hone_status hone__matmul_run(hone__matmul *m, const void *a, const void *b, const void *bias, void *c, void *scratch)
{
    if (m->narrow || m->gemm) {
        if (m->narrow) hone__narrow_run(m->narrow, a, b, c, scratch);
        else hone__gemm_run(m->gemm, a, b, bias, c, scratch, NULL, NULL);
        return HONE_OK;
    }
#ifdef HONE_HAVE_ONEDNN
    if (m->dnnl) {
        if (hone__dnnl_matmul_run(m->dnnl, a, b, bias, c, scratch)) return HONE_OK;
        return hone__fail_run(m->ctx, HONE_INTERNAL, "oneDNN refused to run a product of %lld x %lld x %lld",
                              (long long)m->d.m, (long long)m->d.n, (long long)m->d.k);
    }
#endif
    by_gemm(m, a, b, bias, c, scratch);
    return HONE_OK;
}

bool hone__matmul_sums(const hone__matmul *m) { return m->gemm && m->d.ab == HONE_BF16; }

void hone__matmul_run_sum(hone__matmul *m, const void *a, const void *b, const void *bias, const hone__view *sum, void *c, void *scratch)
{
    hone__gemm_run(m->gemm, a, b, bias, c, scratch, NULL, sum);
}

bool hone__matmul_hands_over(const hone__matmul *m) { return m->gemm && hone__gemm_hands_over(m->gemm); }

void hone__matmul_hand_over(hone__matmul *m, const void *a, const void *b, hone__sums_fn take, void *arg, void *scratch)
{
    hone__gemm_hand_over(m->gemm, a, b, take, arg, scratch);
}

/* ---- packing: without oneDNN the layout is plain row-major [k, n] ---- */

uint64_t hone__matmul_layout(const hone__matmul *m)
{
#ifdef HONE_HAVE_ONEDNN
    if (m->dnnl) return hone__dnnl_matmul_layout(m->dnnl);
#endif
    (void)m;
    return 0;
}

size_t hone__matmul_packed_bytes(const hone__matmul *m)
{
#ifdef HONE_HAVE_ONEDNN
    if (m->dnnl) return hone__dnnl_matmul_packed_bytes(m->dnnl);
#endif
    (void)m;
    return 0;
}

struct hone__packer {
    hone_ctx *ctx;
    void *dnnl; /* hone__dnnl_packer */
};

hone__packer *hone__packer_of(hone_ctx *ctx, void *dnnl)
{
    hone__packer *p = hone__calloc(ctx, 1, sizeof *p);
    if (!p || !dnnl) {
        hone__fail(ctx, HONE_INTERNAL, "what has no layout of its own needs no packing");
        hone__free(ctx, p);
#ifdef HONE_HAVE_ONEDNN
        hone__dnnl_packer_free(ctx, dnnl);
#endif
        return NULL;
    }
    *p = (hone__packer){ctx, dnnl};
    return p;
}

hone__packer *hone__packer_new(const hone__matmul *m)
{
#ifdef HONE_HAVE_ONEDNN
    if (m->dnnl) return hone__packer_of(m->ctx, hone__dnnl_packer_new(m->ctx, m->dnnl, &m->d));
#endif
    return hone__packer_of(m->ctx, NULL);
}

void hone__packer_free(void *packer)
{
    hone__packer *p = packer;
    if (!p) return;
#ifdef HONE_HAVE_ONEDNN
    hone__dnnl_packer_free(p->ctx, p->dnnl);
#endif
    hone__free(p->ctx, p);
}

hone_status hone__packer_run(hone__packer *p, void *packed, const void *b, hone_dtype b_type)
{
#ifdef HONE_HAVE_ONEDNN
    if (hone__dnnl_packer_run(p->dnnl, packed, b, b_type)) return HONE_OK;
#else
    (void)packed, (void)b, (void)b_type;
#endif
    return hone__fail_run(p->ctx, HONE_INTERNAL, "oneDNN refused to pack a weight");
}
