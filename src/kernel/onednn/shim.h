/* oneDNN 2.6 and 3.x behind one face. In 2.x a memory descriptor is a struct, in 3.x a handle: md_* hides that. For the
   files of this folder alone. */
#ifndef HONE_SRC_ONEDNN_SHIM_H
#define HONE_SRC_ONEDNN_SHIM_H

#include "kernel/onednn/onednn.h"

#include <oneapi/dnnl/dnnl.h>

/* A layout in blocks, as oneDNN's guide on memory formats describes it. */
typedef struct {
    int rank, inner_count;
    dnnl_data_type_t type;
    const dnnl_dim_t *dims, *padded, *strides, *inner, *indices;
} blocks;

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t md;
#define MD(x) (x)
#define MD_HANDLE const_dnnl_memory_desc_t
static inline bool md_strided(md *to, int rank, const dnnl_dims_t dims, dnnl_data_type_t type, const dnnl_dims_t strides)
{
    return dnnl_memory_desc_create_with_strides(to, rank, dims, type, strides) == dnnl_success;
}
static inline bool md_any(md *to, int rank, const dnnl_dims_t dims, dnnl_data_type_t type)
{
    return dnnl_memory_desc_create_with_tag(to, rank, dims, type, dnnl_format_tag_any) == dnnl_success;
}
static inline bool md_copy(md *to, MD_HANDLE from) { return dnnl_memory_desc_clone(to, from) == dnnl_success; }
static inline void md_free(md *m)
{
    if (*m) dnnl_memory_desc_destroy(*m);
    *m = NULL;
}
/* False where it is not laid out in blocks, or opaque. */
static inline bool md_blocks(MD_HANDLE m, blocks *b)
{
    dnnl_format_kind_t kind = dnnl_format_kind_undef;
    dnnl_dims_t *dims = NULL, *padded = NULL, *strides = NULL, *inner = NULL, *indices = NULL;
    bool known = dnnl_memory_desc_query(m, dnnl_query_ndims_s32, &b->rank) == dnnl_success &&
                 dnnl_memory_desc_query(m, dnnl_query_data_type, &b->type) == dnnl_success &&
                 dnnl_memory_desc_query(m, dnnl_query_format_kind, &kind) == dnnl_success && kind == dnnl_blocked &&
                 dnnl_memory_desc_query(m, dnnl_query_dims, &dims) == dnnl_success &&
                 dnnl_memory_desc_query(m, dnnl_query_padded_dims, &padded) == dnnl_success &&
                 dnnl_memory_desc_query(m, dnnl_query_strides, &strides) == dnnl_success &&
                 dnnl_memory_desc_query(m, dnnl_query_inner_nblks_s32, &b->inner_count) == dnnl_success &&
                 dnnl_memory_desc_query(m, dnnl_query_inner_blks, &inner) == dnnl_success &&
                 dnnl_memory_desc_query(m, dnnl_query_inner_idxs, &indices) == dnnl_success;
    if (known) *b = (blocks){b->rank, b->inner_count, b->type, *dims, *padded, *strides, *inner, *indices};
    return known;
}
#else
typedef dnnl_memory_desc_t md;
#define MD(x) (&(x))
#define MD_HANDLE const dnnl_memory_desc_t *
static inline bool md_strided(md *to, int rank, const dnnl_dims_t dims, dnnl_data_type_t type, const dnnl_dims_t strides)
{
    return dnnl_memory_desc_init_by_strides(to, rank, dims, type, strides) == dnnl_success;
}
static inline bool md_any(md *to, int rank, const dnnl_dims_t dims, dnnl_data_type_t type)
{
    return dnnl_memory_desc_init_by_tag(to, rank, dims, type, dnnl_format_tag_any) == dnnl_success;
}
static inline bool md_copy(md *to, MD_HANDLE from)
{
    *to = *from;
    return true;
}
static inline void md_free(md *m) { (void)m; }
static inline bool md_blocks(MD_HANDLE m, blocks *b)
{
    if (m->format_kind != dnnl_blocked) return false;
    const dnnl_blocking_desc_t *d = &m->format_desc.blocking;
    *b = (blocks){m->ndims, d->inner_nblks, m->data_type, m->dims, m->padded_dims, d->strides, d->inner_blks, d->inner_idxs};
    return true;
}
#endif


uint64_t hone__dnnl_md_hash(MD_HANDLE m); /* tells packed weights apart; 0: a layout that cannot be told from others */
dnnl_engine_t hone__dnnl_engine(void);    /* the process's only one */
dnnl_stream_t hone__dnnl_stream(void);

static inline dnnl_data_type_t type_of(hone_dtype t) { return t == HONE_BF16 ? dnnl_bf16 : dnnl_f32; }
static inline bool add_memory(dnnl_memory_t *memory, MD_HANDLE m)
{
    return dnnl_memory_create(memory, m, hone__dnnl_engine(), DNNL_MEMORY_NONE) == dnnl_success;
}
static inline void point(dnnl_memory_t memory, const void *data)
{
    dnnl_memory_set_data_handle(memory, (void *)(uintptr_t)data);
}

/* Keeps a copy of `to`. from_dims and from_strides: where each element of the packed layout lies in what is packed. */
hone__dnnl_packer *hone__dnnl_packer_of(hone_ctx *ctx, MD_HANDLE to, int rank, const dnnl_dims_t from_dims,
                                        const dnnl_dims_t from_strides);

#endif
