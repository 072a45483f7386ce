#include "kernel/conv.h"
#include "kernel/conv_weights.h"

#ifdef HONE_HAVE_ONEDNN
#include "kernel/onednn/onednn.h"
#endif

/* The general way, an image at a time: the windows of some outputs are gathered into rows [taps, channels of a group],
   which gemm multiplies with the weights [o, taps, channels]; gradients of x are scattered back the same way. */
struct hone__conv {
    hone_ctx *ctx;
    hone__conv_desc d;
    const hone__kernels *k;
    hone__conv_weights *weights; /* gradients of weights by AMX; or NULL */
#ifdef HONE_HAVE_ONEDNN
    hone__dnnl_conv *dnnl;
#endif
    bool sums_bias;              /* oneDNN's sum over y in f32 is plain SSE, a tenth of a training step: ours instead */
    int64_t real;                /* bytes of a real */
    int64_t in, out, taps, ci, oi; /* positions of x, y and the kernel; channels of a group */
    int64_t rows;                /* outputs gathered at a time */
    int64_t parts;               /* pieces of the batch, each with scratch of its own */
    size_t w_bytes, bias_bytes, x_bytes, y_bytes, rows_bytes, part_bytes;
};

/* Gathered rows stay in the second cache. */
#define ROW_ELEMENTS (64 * 1024)
/* Gradients of weights are summed over so many pieces of the batch, however many threads there are: the same bits. */
#define WEIGHT_PARTS 8

static void plan_general(hone__conv *c)
{
    const hone__conv_desc *d = &c->d;
    size_t real = (size_t)c->real;
    c->in = hone__volume(d->window.in);
    c->out = hone__volume(d->window.out);
    c->taps = hone__volume(d->window.kernel);
    c->ci = d->c / d->groups;
    c->oi = d->o / d->groups;
    int64_t row = HONE_MAX(c->taps * c->ci, 1);
    c->rows = HONE_MAX(HONE_MIN(c->out, ROW_ELEMENTS / row), 1);
    c->parts = HONE_MAX(HONE_MIN(d->n, d->kind == HONE__CONV_WEIGHTS ? WEIGHT_PARTS : (int64_t)c->ctx->threads), 1);
    c->w_bytes = hone__align((size_t)(d->o * row) * real);
    c->bias_bytes = hone__align((size_t)d->o * real);
    c->x_bytes = hone__align((size_t)(c->in * d->c) * real);
    c->y_bytes = hone__align((size_t)(c->out * d->o) * real);
    c->rows_bytes = hone__align((size_t)(c->rows * row) * real);
    c->part_bytes = c->x_bytes + c->y_bytes + c->rows_bytes + hone__align((size_t)c->k->gemm_scratch(c->rows, c->oi, row) * real);
    if (d->kind == HONE__CONV_WEIGHTS) c->part_bytes += c->w_bytes + c->bias_bytes;
}

hone__conv *hone__conv_new(hone_ctx *ctx, const hone__conv_desc *d)
{
    hone__conv *c = hone__calloc(ctx, 1, sizeof *c);
    if (!c) return NULL;
    c->ctx = ctx;
    c->d = *d;
    c->k = hone__kernels_for(d->type == HONE_F64 ? HONE_F64 : HONE_F32);
    c->real = d->type == HONE_F64 ? 8 : 4;
    plan_general(c);
    c->weights = hone__conv_weights_new(ctx, d);
#ifdef HONE_HAVE_ONEDNN
    hone__conv_desc to_dnnl = *d;
    c->sums_bias = d->kind == HONE__CONV_WEIGHTS && d->bias && d->type == HONE_F32;
    if (c->sums_bias) to_dnnl.bias = false;
    if (!c->weights && d->n > 0 && c->in > 0 && c->out > 0 && d->c > 0 && d->o > 0) c->dnnl = hone__dnnl_conv_new(ctx, &to_dnnl);
#endif
    if (hone__ok(ctx)) return c;
    hone__conv_free(c);
    return NULL;
}

void hone__conv_free(hone__conv *c)
{
    if (!c) return;
    hone__conv_weights_free(c->weights);
#ifdef HONE_HAVE_ONEDNN
    hone__dnnl_conv_free(c->ctx, c->dnnl);
#endif
    hone__free(c->ctx, c);
}

#ifdef HONE_HAVE_ONEDNN
/* Short rows are summed several side by side. */
static int64_t rows_beside(const hone__conv *c) { return HONE_MAX(512 / c->d.o, 1); }
static size_t sum_bytes(const hone__conv *c) { return hone__align((size_t)(rows_beside(c) * c->d.o) * sizeof(float)); }

typedef struct bias_job {
    const hone__conv *c;
    const float *y;
    char *sums;
} bias_job;

static void bias_part(void *arg, int64_t begin, int64_t end)
{
    const bias_job *j = arg;
    const hone__kernels *k = j->c->k;
    int64_t o = j->c->d.o, rows = j->c->d.n * j->c->out, beside = rows_beside(j->c);
    for (int64_t p = begin; p < end; p++) {
        float *sum = (float *)(void *)(j->sums + (size_t)p * sum_bytes(j->c));
        int64_t r = rows * p / WEIGHT_PARTS, stop = rows * (p + 1) / WEIGHT_PARTS;
        memset(sum, 0, sum_bytes(j->c));
        for (; r + beside <= stop; r += beside) k->reduce_row(HONE__SUM, sum, j->y + r * o, HONE_F32, beside * o);
        for (; r < stop; r++) k->reduce_row(HONE__SUM, sum, j->y + r * o, HONE_F32, o);
        for (int64_t b = 1; b < beside; b++) k->reduce_row(HONE__SUM, sum, sum + b * o, HONE_F32, o);
    }
}

static void sum_bias(const hone__conv *c, const hone__conv_data *data, char *sums)
{
    float *bias = data->bias;
    hone__parallel_for(c->ctx, WEIGHT_PARTS, 1, bias_part, &(bias_job){c, data->y, sums});
    memcpy(bias, sums, (size_t)c->d.o * sizeof *bias);
    for (int p = 1; p < WEIGHT_PARTS; p++)
        c->k->reduce_row(HONE__SUM, bias, sums + (size_t)p * sum_bytes(c), HONE_F32, c->d.o);
}
#endif

size_t hone__conv_scratch(const hone__conv *c)
{
    if (c->weights) return hone__conv_weights_scratch(c->weights);
#ifdef HONE_HAVE_ONEDNN
    if (c->dnnl) return hone__dnnl_conv_scratch(c->dnnl) + (c->sums_bias ? WEIGHT_PARTS * sum_bytes(c) : 0);
#endif
    return c->w_bytes + (size_t)c->parts * c->part_bytes;
}

uint64_t hone__conv_layout(const hone__conv *c)
{
#ifdef HONE_HAVE_ONEDNN
    if (c->dnnl) return hone__dnnl_conv_layout(c->dnnl);
#endif
    (void)c;
    return 0;
}

size_t hone__conv_packed_bytes(const hone__conv *c)
{
#ifdef HONE_HAVE_ONEDNN
    if (c->dnnl) return hone__dnnl_conv_packed_bytes(c->dnnl);
#endif
    (void)c;
    return 0;
}

hone__packer *hone__conv_packer(const hone__conv *c)
{
#ifdef HONE_HAVE_ONEDNN
    if (c->dnnl) return hone__packer_of(c->ctx, hone__dnnl_conv_packer(c->ctx, c->dnnl));
#endif
    return hone__packer_of(c->ctx, NULL);
}

/* ---- the general way ---- */

typedef struct job {
    const hone__conv *c;
    const hone__conv_data *data;
    char *w, *parts; /* w: reals [o, taps, ci] */
} job;

/* One image's part of the scratch. */
typedef struct buffers {
    char *x, *y, *rows, *gemm, *dw, *dbias;
} buffers;

static buffers cut(const hone__conv *c, char *part)
{
    buffers b = {.x = part};
    b.y = b.x + c->x_bytes;
    b.rows = b.y + c->y_bytes;
    b.dw = b.rows + c->rows_bytes;
    b.dbias = b.dw + (c->d.kind == HONE__CONV_WEIGHTS ? c->w_bytes : 0);
    b.gemm = b.dbias + (c->d.kind == HONE__CONV_WEIGHTS ? c->bias_bytes : 0);
    return b;
}

/* [o, ci, taps] of any float type to reals [o, taps, ci]; or back. */
static void turn_weights(const hone__conv *c, char *turned, char *plain, hone_dtype type, bool back)
{
    int64_t bytes = hone__dtypes[type].bytes;
    for (int64_t o = 0; o < c->d.o; o++)
        for (int64_t i = 0; i < c->ci; i++) {
            char *t = turned + (o * c->taps * c->ci + i) * c->real, *p = plain + (o * c->ci + i) * c->taps * bytes;
            if (back)
                c->k->move(p, type, 1, t, c->k->real, c->ci, c->taps);
            else
                c->k->move(t, c->k->real, c->ci, p, type, 1, c->taps);
        }
}

/* Rows of outputs [first, first + n) of a group: gathered from x, or added back to it. */
static void slide(const hone__conv *c, char *x, char *rows, int64_t group, int64_t first, int64_t n, bool back)
{
    const hone__window *w = &c->d.window;
    int64_t at[3], low[3], high[3], run = c->ci * c->real, row = c->taps * run;
    x += group * run;
    hone__position(first, w->out, at);
    /* Taps side by side along the last axis are one run where a group has all channels. */
    bool joined = c->d.groups == 1 && w->dilation[2] == 1;
    for (int64_t r = 0; r < n; r++, rows += row) {
        for (int a = 0; a < 3; a++) hone__window_taps(w, a, at[a], &low[a], &high[a]);
        int64_t step = joined ? HONE_MAX(high[2] - low[2], 1) : 1;
        bool whole = hone__volume(high) == c->taps && low[0] + low[1] + low[2] == 0;
        if (!back && !whole) memset(rows, 0, (size_t)row);
        for (int64_t kd = low[0]; kd < high[0]; kd++)
            for (int64_t kh = low[1]; kh < high[1]; kh++)
                for (int64_t kw = low[2]; kw < high[2]; kw += step) {
                    int64_t d = at[0] * w->stride[0] - w->before[0] + kd * w->dilation[0];
                    int64_t h = at[1] * w->stride[1] - w->before[1] + kh * w->dilation[1];
                    int64_t v = at[2] * w->stride[2] - w->before[2] + kw * w->dilation[2];
                    char *from = x + ((d * w->in[1] + h) * w->in[2] + v) * c->d.c * c->real;
                    char *to = rows + ((kd * w->kernel[1] + kh) * w->kernel[2] + kw) * run;
                    if (back)
                        c->k->axpy(from, to, c->k->real, 1, step * c->ci);
                    else
                        memcpy(to, from, (size_t)(step * run));
                }
        hone__next_position(at, w->out);
    }
}

/* Image i of an activation as reals: where it lies, or converted. */
static char *as_reals(const hone__conv *c, void *from, hone_dtype type, int64_t i, int64_t count, char *tmp)
{
    char *at = (char *)from + i * count * hone__dtypes[type].bytes;
    if (type == c->k->real) return at;
    c->k->copy(tmp, c->k->real, at, type, 1, count);
    return tmp;
}

static void finish_image(const hone__conv *c, void *to, int64_t i, int64_t count, const char *from)
{
    char *at = (char *)to + i * count * hone__dtypes[c->d.result].bytes;
    if (at != from) c->k->copy(at, c->d.result, from, c->k->real, 1, count);
}

static char *result_image(const hone__conv *c, void *to, int64_t i, int64_t count, char *tmp)
{
    return c->d.result == c->k->real ? (char *)to + i * count * c->real : tmp;
}

static void forward_image(const job *j, int64_t i, const buffers *b)
{
    const hone__conv *c = j->c;
    int64_t o = c->d.o, row = c->taps * c->ci, in_count = c->in * c->d.c, out_count = c->out * o;
    char *x = as_reals(c, j->data->x, c->d.type, i, in_count, b->x), *y = result_image(c, j->data->y, i, out_count, b->y);
    for (int64_t p = 0; p < c->out && c->d.bias; p++) memcpy(y + p * o * c->real, j->data->bias, (size_t)(o * c->real));
    for (int64_t g = 0; g < c->d.groups; g++)
        for (int64_t p = 0; p < c->out; p += c->rows) {
            int64_t n = HONE_MIN(c->rows, c->out - p);
            slide(c, x, b->rows, g, p, n, false);
            c->k->gemm(n, c->oi, row, 1, b->rows, row, 1, j->w + g * c->oi * row * c->real, 1, row, c->d.bias,
                       y + (p * o + g * c->oi) * c->real, o, b->gemm);
        }
    if (c->d.relu) c->k->unary(HONE__RELU, y, c->k->real, y, c->k->real, 1, out_count, 0, 0);
    finish_image(c, j->data->y, i, out_count, y);
}

static void input_image(const job *j, int64_t i, const buffers *b)
{
    const hone__conv *c = j->c;
    int64_t o = c->d.o, row = c->taps * c->ci, in_count = c->in * c->d.c, out_count = c->out * o;
    char *y = as_reals(c, j->data->y, c->d.type, i, out_count, b->y), *x = result_image(c, j->data->x, i, in_count, b->x);
    memset(x, 0, (size_t)(in_count * c->real));
    for (int64_t g = 0; g < c->d.groups; g++)
        for (int64_t p = 0; p < c->out; p += c->rows) {
            int64_t n = HONE_MIN(c->rows, c->out - p);
            c->k->gemm(n, row, c->oi, 1, y + (p * o + g * c->oi) * c->real, o, 1, j->w + g * c->oi * row * c->real, row, 1, 0,
                       b->rows, row, b->gemm);
            slide(c, x, b->rows, g, p, n, true);
        }
    finish_image(c, j->data->x, i, in_count, x);
}

static void weights_image(const job *j, int64_t i, const buffers *b)
{
    const hone__conv *c = j->c;
    int64_t o = c->d.o, row = c->taps * c->ci;
    char *x = as_reals(c, j->data->x, c->d.type, i, c->in * c->d.c, b->x);
    char *y = as_reals(c, j->data->y, c->d.type, i, c->out * o, b->y);
    for (int64_t p = 0; p < c->out && c->d.bias; p++)
        c->k->reduce_row(HONE__SUM, b->dbias, y + p * o * c->real, c->k->real, o);
    for (int64_t g = 0; g < c->d.groups; g++)
        for (int64_t p = 0; p < c->out; p += c->rows) {
            int64_t n = HONE_MIN(c->rows, c->out - p);
            slide(c, x, b->rows, g, p, n, false);
            c->k->gemm(c->oi, row, n, 1, y + (p * o + g * c->oi) * c->real, 1, o, b->rows, row, 1, 1,
                       b->dw + g * c->oi * row * c->real, row, b->gemm);
        }
}

static void pieces(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    const hone__conv *c = j->c;
    for (int64_t p = begin; p < end; p++) {
        buffers b = cut(c, j->parts + (size_t)p * c->part_bytes);
        if (c->d.kind == HONE__CONV_WEIGHTS) memset(b.dw, 0, c->w_bytes + c->bias_bytes);
        for (int64_t i = c->d.n * p / c->parts; i < c->d.n * (p + 1) / c->parts; i++) {
            if (c->d.kind == HONE__CONV_FORWARD) forward_image(j, i, &b);
            else if (c->d.kind == HONE__CONV_INPUT) input_image(j, i, &b);
            else weights_image(j, i, &b);
        }
    }
}

static void run_general(hone__conv *c, const hone__conv_data *data, char *scratch)
{
    job j = {c, data, scratch, scratch + c->w_bytes};
    bool weights = c->d.kind == HONE__CONV_WEIGHTS;
    if (!weights) turn_weights(c, j.w, data->w, c->d.type, false);
    hone__parallel_for(c->ctx, c->parts, 1, pieces, &j);
    if (!weights) return;
    buffers sum = cut(c, j.parts);
    for (int64_t p = 1; p < c->parts; p++) { /* the paddings' zeros are added too */
        buffers b = cut(c, j.parts + (size_t)p * c->part_bytes);
        c->k->axpy(sum.dw, b.dw, c->k->real, 1, (int64_t)(c->w_bytes + c->bias_bytes) / c->real);
    }
    if (data->w) turn_weights(c, sum.dw, data->w, c->k->real, true);
    if (c->d.bias) memcpy(data->bias, sum.dbias, (size_t)(c->d.o * c->real));
}

hone_status hone__conv_run(hone__conv *c, const hone__conv_data *data, void *scratch)
{
    if (c->weights) {
        hone__conv_weights_run(c->weights, data, scratch);
        return HONE_OK;
    }
#ifdef HONE_HAVE_ONEDNN
    if (c->dnnl) {
        if (c->sums_bias) sum_bias(c, data, (char *)scratch + hone__dnnl_conv_scratch(c->dnnl));
        if (hone__dnnl_conv_run(c->dnnl, data, scratch)) return HONE_OK;
        return hone__fail_run(c->ctx, HONE_INTERNAL, "oneDNN refused to run a convolution");
    }
#endif
    run_general(c, data, scratch);
    return HONE_OK;
}
