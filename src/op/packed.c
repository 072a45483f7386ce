/* A weight in the layout of the primitive that reads it, made from any stored dtype. */
#include "op/op.h"

typedef struct packing {
    hone_ctx *ctx;
    hone__packer *packer;
} packing;

static void free_packing(void *state)
{
    packing *p = state;
    if (!p) return;
    hone__packer_free(p->packer);
    hone__free(p->ctx, p);
}

static hone_status refresh_packed(hone__derived *derived, hone__variable *variable)
{
    packing *p = derived->state;
    hone_dtype from = variable->stored;
    if (from == HONE_F32 || from == HONE_BF16)
        return hone__packer_run(p->packer, derived->data, variable->data, from);
    /* Blocks and f16 become f32 first, for as long as the packing takes. */
    int64_t n = hone_shape_count(variable->shape);
    float *plain = hone__alloc(p->ctx, (size_t)n * sizeof *plain);
    if (!plain) return p->ctx->status;
    hone_status status = hone__convert_all(p->ctx, plain, HONE_F32, variable->data, from, n);
    if (status == HONE_OK) status = hone__packer_run(p->packer, derived->data, plain, HONE_F32);
    hone__free(p->ctx, plain);
    hone__variable_release(variable);
    return status;
}

hone__derived *hone__derive_packed(hone__variable *w, uint64_t key, size_t bytes, hone__packer *packer)
{
    packing *state = packer ? hone__calloc(w->ctx, 1, sizeof *state) : NULL;
    if (!state) {
        hone__packer_free(packer);
        return NULL;
    }
    *state = (packing){w->ctx, packer};
    return hone__derive(w, key, bytes, refresh_packed, state, free_packing);
}

bool hone__derive_weight(hone__exec *e, hone__variable *w, const hone__matmul *m, bool transposed, hone_dtype compute,
                         const void **copy)
{
    /* A square weight has the same layout in both directions, but not the same contents. */
    uint64_t layout = hone__matmul_layout(m);
    if (layout) layout = hone__key(layout, transposed) | 1;
    hone__derived *d = layout ? hone__find_derived(w, layout) : hone__derive_plain(w, compute);
    if (layout && !d) d = hone__derive_packed(w, layout, hone__matmul_packed_bytes(m), hone__packer_new(m));
    if (!d || !hone__plan_uses(e->plan, w, d)) return false;
    *copy = d->data;
    return true;
}
