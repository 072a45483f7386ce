/* One engine, products and packing. */
#include "kernel/onednn/shim.h"

#include <pthread.h>
#include <stdio.h>

#if DNNL_VERSION_MAJOR >= 3
static bool matmul_desc(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, const md *a, const md *b, const md *bias,
                        const md *c, const_dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(pd, engine, *a, *b, bias ? *bias : NULL, *c, attr) == dnnl_success;
}
#else
static bool matmul_desc(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, const md *a, const md *b, const md *bias,
                        const md *c, const_dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t d;
    return dnnl_matmul_desc_init(&d, a, b, bias, c) == dnnl_success &&
           dnnl_primitive_desc_create(pd, &d, attr, engine, NULL) == dnnl_success;
}
#endif

/* Field by field: past the rank lie values that nobody set. */
uint64_t hone__dnnl_md_hash(MD_HANDLE m)
{
    blocks b;
    if (!md_blocks(m, &b)) return 0;
    uint64_t h = hone__key((uint64_t)b.rank, (uint64_t)b.type);
    for (int i = 0; i < b.rank; i++)
        h = hone__key(h, hone__key(hone__key((uint64_t)b.dims[i], (uint64_t)b.padded[i]), (uint64_t)b.strides[i]));
    for (int i = 0; i < b.inner_count; i++) h = hone__key(h, hone__key((uint64_t)b.inner[i], (uint64_t)b.indices[i]));
    return h | 1;
}

/* ---- one engine and one stream a process ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static dnnl_engine_t engine;
static dnnl_stream_t stream;
static bool usable;

static void start(void)
{
    hone__isa isa = hone__isa_level();
    if (isa < HONE__ISA_AVX2) return;
    if (isa == HONE__ISA_AVX2) dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2);
    if (isa == HONE__ISA_AVX512) dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx512_core_bf16);
    usable = dnnl_engine_create(&engine, dnnl_cpu, 0) == dnnl_success &&
             dnnl_stream_create(&stream, engine, dnnl_stream_default_flags) == dnnl_success;
}

bool hone__dnnl_usable(void)
{
    pthread_once(&once, start);
    return usable;
}

dnnl_engine_t hone__dnnl_engine(void) { return engine; }
dnnl_stream_t hone__dnnl_stream(void) { return stream; }

const char *hone__dnnl_version(char text[32])
{
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, 32, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    return text;
}

/* ---- products ---- */

struct hone__dnnl_matmul {
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t primitive;
    dnnl_memory_t a, b, bias, c, scratchpad;
    size_t scratch, packed;
    md packed_md;
    uint64_t layout;
};

void hone__dnnl_matmul_free(hone_ctx *ctx, hone__dnnl_matmul *m)
{
    if (!m) return;
    dnnl_memory_t memories[] = {m->a, m->b, m->bias, m->c, m->scratchpad};
    for (size_t i = 0; i < HONE_ARRAY_LEN(memories); i++)
        if (memories[i]) dnnl_memory_destroy(memories[i]);
    if (m->primitive) dnnl_primitive_destroy(m->primitive);
    if (m->pd) dnnl_primitive_desc_destroy(m->pd);
    md_free(&m->packed_md);
    hone__free(ctx, m);
}

/* Dims and strides as oneDNN sees an operand; the batch axis only where there is one. */
static int layout(dnnl_dims_t dims, dnnl_dims_t strides, int64_t batch, int64_t rows, int64_t cols, int64_t batch_stride,
                  int64_t row, int64_t col, bool batched)
{
    int n = 0;
    if (batched) {
        dims[n] = batch_stride ? batch : 1;
        strides[n++] = batch_stride ? batch_stride : rows * HONE_MAX(row, 1);
    }
    dims[n] = rows, strides[n++] = row;
    dims[n] = cols, strides[n++] = col;
    return n;
}

static bool build(hone__dnnl_matmul *m, const hone__matmul_desc *d)
{
    bool batched = d->batch > 1;
    dnnl_dims_t dims = {0}, strides = {0}, bias_dims = {1, 1, 1}, bias_strides = {d->n, d->n, 1};
    md a, b, c, bias;
    memset(&a, 0, sizeof a), memset(&b, 0, sizeof b), memset(&c, 0, sizeof c), memset(&bias, 0, sizeof bias);
    int rank = layout(dims, strides, d->batch, d->m, d->k, d->a_batch, d->a_row, d->a_col, batched);
    bool ok = md_strided(&a, rank, dims, type_of(d->ab), strides);
    layout(dims, strides, d->batch, d->k, d->n, d->b_batch, d->b_row, d->b_col, batched);
    ok = ok && (d->pack_b ? md_any(&b, rank, dims, type_of(d->ab)) : md_strided(&b, rank, dims, type_of(d->ab), strides));
    layout(dims, strides, d->batch, d->m, d->n, d->c_batch, d->c_row, 1, batched);
    ok = ok && md_strided(&c, rank, dims, type_of(d->c), strides);
    bias_dims[rank - 1] = d->n;
    if (rank == 2) bias_strides[1] = 1;
    ok = ok && (!d->bias || md_strided(&bias, rank, bias_dims, dnnl_f32, bias_strides));

    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t post = NULL;
    ok = ok && dnnl_primitive_attr_create(&attr) == dnnl_success;
    ok = ok && dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) == dnnl_success;
    if (ok && d->accumulate) {
        ok = dnnl_post_ops_create(&post) == dnnl_success;
#if DNNL_VERSION_MAJOR >= 3
        ok = ok && dnnl_post_ops_append_sum(post, 1, 0, dnnl_data_type_undef) == dnnl_success;
#else
        ok = ok && dnnl_post_ops_append_sum(post, 1) == dnnl_success;
#endif
        ok = ok && dnnl_primitive_attr_set_post_ops(attr, post) == dnnl_success;
    }
    ok = ok && matmul_desc(&m->pd, engine, &a, &b, d->bias ? &bias : NULL, &c, attr) &&
         dnnl_primitive_create(&m->primitive, m->pd) == dnnl_success;
    if (ok) {
        MD_HANDLE weights = dnnl_primitive_desc_query_md(m->pd, dnnl_query_weights_md, 0);
        MD_HANDLE scratch = dnnl_primitive_desc_query_md(m->pd, dnnl_query_scratchpad_md, 0);
        m->scratch = dnnl_memory_desc_get_size(scratch);
        if (d->pack_b) {
            m->packed = dnnl_memory_desc_get_size(weights);
            m->layout = hone__dnnl_md_hash(weights);
            ok = m->layout && md_copy(&m->packed_md, weights);
        }
        ok = ok && add_memory(&m->a, MD(a)) && add_memory(&m->b, weights) && add_memory(&m->c, MD(c)) &&
             add_memory(&m->scratchpad, scratch) && (!d->bias || add_memory(&m->bias, MD(bias)));
    }
    if (post) dnnl_post_ops_destroy(post);
    if (attr) dnnl_primitive_attr_destroy(attr);
    md_free(&a), md_free(&b), md_free(&c), md_free(&bias);
    return ok;
}

hone__dnnl_matmul *hone__dnnl_matmul_new(hone_ctx *ctx, const hone__matmul_desc *d)
{
    if (!hone__dnnl_usable() || d->ab == HONE_F64) return NULL;
    hone__dnnl_matmul *m = hone__calloc(ctx, 1, sizeof *m);
    if (!m) return NULL;
    if (build(m, d)) return m;
    hone__dnnl_matmul_free(ctx, m);
    return NULL;
}

size_t hone__dnnl_matmul_scratch(const hone__dnnl_matmul *m) { return m->scratch; }
uint64_t hone__dnnl_matmul_layout(const hone__dnnl_matmul *m) { return m->layout; }
size_t hone__dnnl_matmul_packed_bytes(const hone__dnnl_matmul *m) { return m->packed; }

bool hone__dnnl_matmul_run(hone__dnnl_matmul *m, const void *a, const void *b, const void *bias, void *c, void *scratch)
{
    point(m->a, a), point(m->b, b), point(m->c, c), point(m->scratchpad, scratch);
    dnnl_exec_arg_t args[5] = {{DNNL_ARG_SRC, m->a}, {DNNL_ARG_WEIGHTS, m->b}, {DNNL_ARG_DST, m->c},
                               {DNNL_ARG_SCRATCHPAD, m->scratchpad}};
    int n = 4;
    if (m->bias) {
        point(m->bias, bias);
        args[n++] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, m->bias};
    }
    return dnnl_primitive_execute(m->primitive, stream, n, args) == dnnl_success;
}

/* ---- packing ---- */

struct hone__dnnl_packer {
    md to;
    int rank;
    dnnl_dims_t dims, strides;
};

hone__dnnl_packer *hone__dnnl_packer_of(hone_ctx *ctx, MD_HANDLE to, int rank, const dnnl_dims_t from_dims,
                                        const dnnl_dims_t from_strides)
{
    hone__dnnl_packer *p = hone__calloc(ctx, 1, sizeof *p);
    if (!p) return NULL;
    p->rank = rank;
    memcpy(p->dims, from_dims, (size_t)rank * sizeof *p->dims);
    memcpy(p->strides, from_strides, (size_t)rank * sizeof *p->strides);
    if (md_copy(&p->to, to)) return p;
    hone__free(ctx, p);
    return NULL;
}

hone__dnnl_packer *hone__dnnl_packer_new(hone_ctx *ctx, const hone__dnnl_matmul *m, const hone__matmul_desc *d)
{
    dnnl_dims_t dims = {d->k, d->n}, strides = {d->b_row, d->b_col};
    return hone__dnnl_packer_of(ctx, MD(*(md *)(uintptr_t)&m->packed_md), 2, dims, strides);
}

void hone__dnnl_packer_free(hone_ctx *ctx, hone__dnnl_packer *p)
{
    if (!p) return;
    md_free(&p->to);
    hone__free(ctx, p);
}

bool hone__dnnl_packer_run(hone__dnnl_packer *p, void *packed, const void *b, hone_dtype b_type)
{
    md from;
    memset(&from, 0, sizeof from);
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t reorder = NULL;
    dnnl_memory_t source = NULL, target = NULL;
    bool ok = md_strided(&from, p->rank, p->dims, type_of(b_type), p->strides) &&
              dnnl_reorder_primitive_desc_create(&pd, MD(from), engine, MD(p->to), engine, NULL) == dnnl_success &&
              dnnl_primitive_create(&reorder, pd) == dnnl_success && add_memory(&source, MD(from)) &&
              add_memory(&target, MD(p->to));
    if (ok) {
        point(source, b), point(target, packed);
        dnnl_exec_arg_t args[2] = {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, target}};
        ok = dnnl_primitive_execute(reorder, stream, 2, args) == dnnl_success && dnnl_stream_wait(stream) == dnnl_success;
    }
    if (source) dnnl_memory_destroy(source);
    if (target) dnnl_memory_destroy(target);
    if (reorder) dnnl_primitive_destroy(reorder);
    if (pd) dnnl_primitive_desc_destroy(pd);
    md_free(&from);
    return ok;
}
