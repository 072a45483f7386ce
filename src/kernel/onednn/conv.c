/* Convolutions by oneDNN, channels last, with weights in its own layout. */
#include "kernel/onednn/shim.h"

struct hone__dnnl_conv {
    hone__conv_desc d;
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t primitive, reorder; /* reorder: weights from plain to packed, or their gradient back */
    dnnl_memory_t x, w, bias, y, scratchpad, plain;
    size_t scratch, packed;
    md packed_md;
    uint64_t layout;
    int w_rank;
    dnnl_dims_t w_dims, w_strides; /* plain */
};

/* What a primitive is made of. */
typedef struct parts {
    md x, w, bias, y;
    dnnl_dims_t stride, dilation, before, after;
} parts;

#if DNNL_VERSION_MAJOR >= 3
static bool append_relu(dnnl_post_ops_t post)
{
    return dnnl_post_ops_append_eltwise(post, dnnl_eltwise_relu, 0, 0) == dnnl_success;
}
static bool conv_desc(dnnl_primitive_desc_t *pd, const hone__conv_desc *d, hone__conv_kind kind, const parts *p,
                      const_dnnl_primitive_attr_t attr, const_dnnl_primitive_desc_t hint)
{
    dnnl_engine_t e = hone__dnnl_engine();
    md bias = d->bias ? p->bias : NULL;
    if (kind == HONE__CONV_FORWARD)
        return dnnl_convolution_forward_primitive_desc_create(pd, e, dnnl_forward_training, dnnl_convolution_direct, p->x, p->w,
                                                              bias, p->y, p->stride, p->dilation, p->before, p->after,
                                                              attr) == dnnl_success;
    if (kind == HONE__CONV_INPUT)
        return dnnl_convolution_backward_data_primitive_desc_create(pd, e, dnnl_convolution_direct, p->x, p->w, p->y,
                                                                    p->stride, p->dilation, p->before, p->after, hint,
                                                                    attr) == dnnl_success;
    return dnnl_convolution_backward_weights_primitive_desc_create(pd, e, dnnl_convolution_direct, p->x, p->w, bias, p->y,
                                                                   p->stride, p->dilation, p->before, p->after, hint,
                                                                   attr) == dnnl_success;
}
#else
static bool append_relu(dnnl_post_ops_t post)
{
    return dnnl_post_ops_append_eltwise(post, 1, dnnl_eltwise_relu, 0, 0) == dnnl_success;
}
static bool conv_desc(dnnl_primitive_desc_t *pd, const hone__conv_desc *d, hone__conv_kind kind, const parts *p,
                      const_dnnl_primitive_attr_t attr, const_dnnl_primitive_desc_t hint)
{
    dnnl_convolution_desc_t c;
    const md *bias = d->bias ? &p->bias : NULL;
    dnnl_status_t status;
    if (kind == HONE__CONV_FORWARD)
        status = dnnl_dilated_convolution_forward_desc_init(&c, dnnl_forward_training, dnnl_convolution_direct, &p->x, &p->w,
                                                            bias, &p->y, p->stride, p->dilation, p->before, p->after);
    else if (kind == HONE__CONV_INPUT)
        status = dnnl_dilated_convolution_backward_data_desc_init(&c, dnnl_convolution_direct, &p->x, &p->w, &p->y, p->stride,
                                                                  p->dilation, p->before, p->after);
    else
        status = dnnl_dilated_convolution_backward_weights_desc_init(&c, dnnl_convolution_direct, &p->x, &p->w, bias, &p->y,
                                                                     p->stride, p->dilation, p->before, p->after);
    return status == dnnl_success && dnnl_primitive_desc_create(pd, &c, attr, hone__dnnl_engine(), hint) == dnnl_success;
}
#endif

/* [n, c, spatial...] with the channels innermost. */
static bool activation(md *to, const hone__conv_desc *d, int64_t channels, const int64_t size[3], hone_dtype type)
{
    int axes = d->window.axes;
    dnnl_dims_t dims = {d->n, channels}, strides = {0, 1};
    int64_t step = channels;
    for (int a = axes - 1; a >= 0; a--) {
        dims[2 + a] = size[3 - axes + a];
        strides[2 + a] = step;
        step *= dims[2 + a];
    }
    strides[0] = step;
    return md_strided(to, axes + 2, dims, type_of(type), strides);
}

static void plain_weights(hone__dnnl_conv *c)
{
    const hone__conv_desc *d = &c->d;
    int rank = 0, axes = d->window.axes;
    if (d->groups > 1) c->w_dims[rank++] = d->groups;
    c->w_dims[rank++] = d->o / d->groups;
    c->w_dims[rank++] = d->c / d->groups;
    for (int a = 3 - axes; a < 3; a++) c->w_dims[rank++] = d->window.kernel[a];
    int64_t step = 1;
    for (int i = rank - 1; i >= 0; i--) {
        c->w_strides[i] = step;
        step *= c->w_dims[i];
    }
    c->w_rank = rank;
}

/* oneDNN's reference implementations are for checking results: a thousand times slower than gemm. */
static bool is_good(const_dnnl_primitive_desc_t pd)
{
    const char *name = NULL;
    return dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name) == dnnl_success && name &&
           strncmp(name, "ref", 3) != 0;
}

static bool make_parts(const hone__dnnl_conv *c, parts *p, hone__conv_kind kind)
{
    const hone__conv_desc *d = &c->d;
    const hone__window *w = &d->window;
    for (int a = 0; a < w->axes; a++) {
        int from = 3 - w->axes + a;
        p->stride[a] = w->stride[from];
        p->dilation[a] = w->dilation[from] - 1;
        p->before[a] = w->before[from];
        /* What the last window does not reach is no part of oneDNN's input. */
        p->after[a] = (w->out[from] - 1) * w->stride[from] + (w->kernel[from] - 1) * w->dilation[from] + 1 - w->in[from] -
                      w->before[from];
    }
    dnnl_dims_t bias_dims = {d->o}, one = {1};
    return activation(&p->x, d, d->c, w->in, kind == HONE__CONV_INPUT ? d->result : d->type) &&
           activation(&p->y, d, d->o, w->out, kind == HONE__CONV_FORWARD ? d->result : d->type) &&
           md_any(&p->w, c->w_rank, c->w_dims, kind == HONE__CONV_WEIGHTS ? dnnl_f32 : type_of(d->type)) &&
           md_strided(&p->bias, 1, bias_dims, dnnl_f32, one);
}

static void free_parts(parts *p) { md_free(&p->x), md_free(&p->w), md_free(&p->bias), md_free(&p->y); }

static bool make_primitive(hone__dnnl_conv *c, dnnl_primitive_attr_t attr)
{
    const hone__conv_desc *d = &c->d;
    dnnl_primitive_desc_t hint = NULL;
    parts p, h;
    memset(&p, 0, sizeof p), memset(&h, 0, sizeof h);
    bool ok = make_parts(c, &p, d->kind);
    if (ok && d->kind != HONE__CONV_FORWARD) {
        hone__conv_desc forward = *d;
        forward.result = d->type;
        hone__dnnl_conv as_forward = *c;
        as_forward.d = forward;
        ok = make_parts(&as_forward, &h, HONE__CONV_FORWARD) && conv_desc(&hint, d, HONE__CONV_FORWARD, &h, attr, NULL);
    }
    ok = ok && conv_desc(&c->pd, d, d->kind, &p, attr, hint) && is_good(c->pd) &&
         dnnl_primitive_create(&c->primitive, c->pd) == dnnl_success && add_memory(&c->x, MD(p.x)) &&
         add_memory(&c->y, MD(p.y)) && (!d->bias || add_memory(&c->bias, MD(p.bias)));
    if (hint) dnnl_primitive_desc_destroy(hint);
    free_parts(&p), free_parts(&h);
    return ok;
}

static bool make_reorder(hone__dnnl_conv *c)
{
    bool back = c->d.kind == HONE__CONV_WEIGHTS;
    dnnl_engine_t e = hone__dnnl_engine();
    md plain;
    memset(&plain, 0, sizeof plain);
    dnnl_primitive_desc_t pd = NULL;
    bool ok = md_strided(&plain, c->w_rank, c->w_dims, back ? dnnl_f32 : type_of(c->d.type), c->w_strides) &&
              dnnl_reorder_primitive_desc_create(&pd, back ? MD(c->packed_md) : MD(plain), e,
                                                 back ? MD(plain) : MD(c->packed_md), e, NULL) == dnnl_success &&
              dnnl_primitive_create(&c->reorder, pd) == dnnl_success && add_memory(&c->plain, MD(plain));
    if (pd) dnnl_primitive_desc_destroy(pd);
    md_free(&plain);
    return ok;
}

static bool build(hone__dnnl_conv *c)
{
    const hone__conv_desc *d = &c->d;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t post = NULL;
    plain_weights(c);
    bool ok = dnnl_primitive_attr_create(&attr) == dnnl_success &&
              dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) == dnnl_success;
    if (ok && d->relu)
        ok = dnnl_post_ops_create(&post) == dnnl_success && append_relu(post) &&
             dnnl_primitive_attr_set_post_ops(attr, post) == dnnl_success;
    ok = ok && make_primitive(c, attr);
    if (ok) {
        MD_HANDLE weights = dnnl_primitive_desc_query_md(
            c->pd, d->kind == HONE__CONV_WEIGHTS ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0);
        MD_HANDLE scratch = dnnl_primitive_desc_query_md(c->pd, dnnl_query_scratchpad_md, 0);
        c->scratch = hone__align(dnnl_memory_desc_get_size(scratch));
        c->packed = dnnl_memory_desc_get_size(weights);
        c->layout = hone__dnnl_md_hash(weights);
        ok = c->layout && md_copy(&c->packed_md, weights) && add_memory(&c->w, weights) &&
             add_memory(&c->scratchpad, scratch) && (d->packed || make_reorder(c));
    }
    if (post) dnnl_post_ops_destroy(post);
    if (attr) dnnl_primitive_attr_destroy(attr);
    return ok;
}

hone__dnnl_conv *hone__dnnl_conv_new(hone_ctx *ctx, const hone__conv_desc *d)
{
    if (!hone__dnnl_usable() || d->type == HONE_F64) return NULL;
    hone__dnnl_conv *c = hone__calloc(ctx, 1, sizeof *c);
    if (!c) return NULL;
    c->d = *d;
    if (build(c)) return c;
    hone__dnnl_conv_free(ctx, c);
    return NULL;
}

void hone__dnnl_conv_free(hone_ctx *ctx, hone__dnnl_conv *c)
{
    if (!c) return;
    dnnl_memory_t memories[] = {c->x, c->w, c->bias, c->y, c->scratchpad, c->plain};
    for (size_t i = 0; i < HONE_ARRAY_LEN(memories); i++)
        if (memories[i]) dnnl_memory_destroy(memories[i]);
    if (c->reorder) dnnl_primitive_destroy(c->reorder);
    if (c->primitive) dnnl_primitive_destroy(c->primitive);
    if (c->pd) dnnl_primitive_desc_destroy(c->pd);
    md_free(&c->packed_md);
    hone__free(ctx, c);
}

size_t hone__dnnl_conv_scratch(const hone__dnnl_conv *c) { return c->scratch + (c->reorder ? hone__align(c->packed) : 0); }
uint64_t hone__dnnl_conv_layout(const hone__dnnl_conv *c) { return c->layout; }
size_t hone__dnnl_conv_packed_bytes(const hone__dnnl_conv *c) { return c->packed; }

hone__dnnl_packer *hone__dnnl_conv_packer(hone_ctx *ctx, const hone__dnnl_conv *c)
{
    return hone__dnnl_packer_of(ctx, MD(*(md *)(uintptr_t)&c->packed_md), c->w_rank, c->w_dims, c->w_strides);
}

static bool reorder(hone__dnnl_conv *c, dnnl_memory_t from, dnnl_memory_t to)
{
    dnnl_exec_arg_t args[2] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    return dnnl_primitive_execute(c->reorder, hone__dnnl_stream(), 2, args) == dnnl_success;
}

bool hone__dnnl_conv_run(hone__dnnl_conv *c, const hone__conv_data *data, void *scratch)
{
    hone__conv_kind kind = c->d.kind;
    point(c->x, data->x), point(c->y, data->y), point(c->scratchpad, scratch);
    point(c->w, c->reorder ? (char *)scratch + c->scratch : data->w);
    if (c->bias) point(c->bias, data->bias);
    if (c->reorder) point(c->plain, data->w);
    if (c->reorder && kind != HONE__CONV_WEIGHTS && !reorder(c, c->plain, c->w)) return false;
    dnnl_exec_arg_t args[5] = {{kind == HONE__CONV_INPUT ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, c->x},
                               {kind == HONE__CONV_WEIGHTS ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, c->w},
                               {kind == HONE__CONV_FORWARD ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST, c->y},
                               {DNNL_ARG_SCRATCHPAD, c->scratchpad}};
    int n = 4;
    if (c->bias) args[n++] = (dnnl_exec_arg_t){kind == HONE__CONV_WEIGHTS ? DNNL_ARG_DIFF_BIAS : DNNL_ARG_BIAS, c->bias};
    return dnnl_primitive_execute(c->primitive, hone__dnnl_stream(), n, args) == dnnl_success &&
           (kind != HONE__CONV_WEIGHTS || reorder(c, c->w, c->plain));
}
