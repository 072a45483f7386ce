#include "kernel/conv_weights.h"
#include "kernel/x86/conv_weights.h"

struct hone__conv_weights {
    hone_ctx *ctx;
    int64_t n, parts; /* images, and pieces of them: one a thread, unless too few are left to be multiplied at once */
    hone__conv_sums sums;
    void *tables;
};

#ifdef HONE_X86
/* oneDNN is as fast where a part's operands or sums leave the second cache (bytes). */
enum { MOST_CHANNELS = 256, MOST_STRIDE = 4, MOST_PACKED = 3 << 19, MOST_SUMS = 5 << 19 };

static int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }
static int64_t tiles_of(int64_t channels) { return (channels + 15) / 16; }

/* Along an axis: outputs o see inputs stride (o + shift) + phase. */
typedef struct tap {
    int64_t phase, shift;
} tap;
static tap tap_of(const hone__window *w, int axis, int64_t k)
{
    int64_t first = k * w->dilation[axis] - w->before[axis], shift = floor_div(first, w->stride[axis]);
    return (tap){first - shift * w->stride[axis], shift};
}

static bool has_phase(const hone__window *w, int axis, int64_t phase)
{
    for (int64_t k = 0; k < w->kernel[axis]; k++)
        if (tap_of(w, axis, k).phase == phase) return true;
    return false;
}

/* Planes of a row's phase, of columns' phases below `phase`: one as it is, and one for each tap that is moved. */
static int64_t planes_before(const hone__window *w, int64_t phase)
{
    int64_t n = 0;
    for (int64_t i = 0; i < phase; i++) n += has_phase(w, 2, i);
    for (int64_t k = 0; k < w->kernel[2]; k++)
        n += tap_of(w, 2, k).phase < phase && tap_of(w, 2, k).shift != 0;
    return n;
}

static int64_t plane_of(const hone__window *w, int64_t row_phase, int64_t kw)
{
    tap own = tap_of(w, 2, kw);
    int64_t n = planes_before(w, own.phase);
    for (int64_t i = 0; i < row_phase; i++) n += has_phase(w, 1, i) ? planes_before(w, w->stride[2]) : 0;
    for (int64_t k = 0; k <= kw && own.shift != 0; k++)
        n += tap_of(w, 2, k).phase == own.phase && tap_of(w, 2, k).shift != 0;
    return n;
}

/* Sizes that follow from the window. */
typedef struct sizes {
    int64_t pitch, height, phases; /* columns and rows of a phase; how many phases taps fall on */
} sizes;

static sizes measure(hone__conv_sums *s, const hone__conv_desc *d)
{
    const hone__window *w = &d->window;
    sizes z = {HONE_MAX(w->out[2], (w->in[2] + w->stride[2] - 1) / w->stride[2]),
               (w->in[1] + w->stride[1] - 1) / w->stride[1], 0};
    *s = (hone__conv_sums){.c = d->c, .o = d->o, .x_image = w->in[1] * w->in[2] * d->c, .bias = d->bias,
                           .y_image = w->out[1] * w->out[2] * d->o, .taps = w->kernel[1] * w->kernel[2]};
    int64_t of_rows = 0, of_columns = 0, above = 0, below = 0;
    for (int64_t phase = 0; phase < w->stride[1]; phase++) of_rows += has_phase(w, 1, phase);
    for (int64_t phase = 0; phase < w->stride[2]; phase++) of_columns += has_phase(w, 2, phase);
    z.phases = of_rows * of_columns;
    for (int64_t k = 0; k < w->kernel[1]; k++) {
        above = HONE_MAX(above, -tap_of(w, 1, k).shift);
        below = HONE_MAX(below, tap_of(w, 1, k).shift);
    }
    s->n_planes = of_rows * planes_before(w, w->stride[2]);
    s->n_rows = s->taps * tiles_of(d->c);
    s->blocks = (z.height * z.pitch + 31) / 32;
    s->steps = (w->out[1] * z.pitch + 31) / 32;
    s->images = HONE_MAX(HONE__CONV_CHUNK / s->steps, 1);
    /* an odd number of lines, so that neighbouring channels lie in different sets of the caches */
    s->lead = (int64_t)hone__align((size_t)(above * z.pitch * 2));
    int64_t reached = (int64_t)hone__align((size_t)(below * z.pitch * 2)) + s->steps * 64;
    s->channel = (s->lead + HONE_MAX(s->blocks * 64, reached)) | 64;
    s->left = (size_t)(s->images * s->n_planes * tiles_of(d->c) * 16 * s->channel);
    s->right = (size_t)(s->images * s->steps * tiles_of(d->o) * 1024);
    s->sums = (size_t)((s->n_rows * 1024 + 64) * tiles_of(d->o));
    return z;
}

/* Where positions lie in an image: row by row, pitch a row, of which rows by columns exist. */
static void number(int32_t *to, int64_t count, int64_t pitch, const int64_t size[3], const int64_t stride[3],
                   int64_t row, int64_t column, int64_t channels)
{
    for (int64_t i = 0; i < count; i++) {
        int64_t r = i / pitch * stride[1] + row, c = i % pitch * stride[2] + column;
        to[i] = r < size[1] && c < size[2] ? (int32_t)((r * size[2] + c) * channels) : -1;
    }
}

static void fill_keep(uint32_t *keep, int64_t count, int64_t pitch, int64_t shift)
{
    for (int64_t i = 0; i < count; i++) {
        int64_t c = i % pitch + shift;
        if (c >= 0 && c < pitch) keep[i / 32] |= UINT32_C(1) << i % 32;
    }
}

static void fill_rows(const hone__conv_sums *s, const hone__window *w, hone__conv_row *row, int64_t pitch)
{
    for (int64_t kw = 0; kw < w->kernel[2]; kw++)
        for (int64_t c = 0; c < tiles_of(s->c); c++)
            for (int64_t kh = 0; kh < w->kernel[1]; kh++, row++) {
                tap t = tap_of(w, 1, kh);
                row->at = (plane_of(w, t.phase, kw) * tiles_of(s->c) + c) * 16 * s->channel + s->lead +
                          t.shift * pitch * 2;
                row->result = c * 16 * s->taps + kh * w->kernel[2] + kw;
                row->left = s->c - c * 16;
            }
}

static bool fill_tables(hone__conv_weights *f, const hone__conv_desc *d, sizes z)
{
    static const int64_t one[3] = {1, 1, 1};
    const hone__window *w = &d->window;
    hone__conv_sums *s = &f->sums;
    int64_t inputs = s->blocks * 32, outputs = s->steps * 32;
    size_t planes = hone__align((size_t)s->n_planes * sizeof *s->planes), rows = hone__align((size_t)s->n_rows * sizeof *s->rows);
    size_t from = (size_t)(z.phases * inputs + outputs) * sizeof(int32_t);
    size_t keep = (size_t)(s->n_planes * s->blocks) * sizeof(uint32_t);
    char *at = f->tables = hone__calloc(f->ctx, 1, planes + rows + from + keep);
    if (!at) return false;
    hone__conv_plane *plane = (hone__conv_plane *)(void *)at;
    hone__conv_row *row = (hone__conv_row *)(void *)(at + planes);
    int32_t *x_from = (int32_t *)(void *)(at + planes + rows), *y_from = x_from + z.phases * inputs;
    uint32_t *kept = (uint32_t *)(void *)(y_from + outputs);
    s->planes = plane;
    s->rows = row;
    s->y_from = y_from;
    number(y_from, outputs, z.pitch, w->out, one, 0, 0, d->o);
    for (int64_t ph = 0; ph < w->stride[1]; ph++)
        for (int64_t pw = 0; pw < w->stride[2] && has_phase(w, 1, ph); pw++) {
            if (!has_phase(w, 2, pw)) continue;
            number(x_from, inputs, z.pitch, w->in, w->stride, ph, pw, d->c);
            *plane++ = (hone__conv_plane){.from = x_from};
            x_from += inputs;
            for (int64_t kw = 0; kw < w->kernel[2]; kw++) {
                tap t = tap_of(w, 2, kw);
                if (t.phase != pw || t.shift == 0) continue;
                *plane++ = (hone__conv_plane){.keep = kept, .shift = t.shift};
                fill_keep(kept, z.height * z.pitch, z.pitch, t.shift);
                kept += s->blocks;
            }
        }
    fill_rows(s, w, row, z.pitch);
    return true;
}

static bool near(const hone__window *w)
{
    int64_t first = tap_of(w, 2, 0).shift, last = tap_of(w, 2, w->kernel[2] - 1).shift;
    return w->stride[1] <= MOST_STRIDE && w->stride[2] <= MOST_STRIDE && first >= -HONE__CONV_SHIFT &&
           last <= HONE__CONV_SHIFT;
}

static bool possible(const hone__conv_desc *d)
{
    const hone__window *w = &d->window;
    return hone__isa_level() == HONE__ISA_AMX && d->kind == HONE__CONV_WEIGHTS && d->type == HONE_BF16 &&
           d->groups == 1 && w->in[0] == 1 && w->out[0] == 1 && w->kernel[0] == 1 && d->n > 0 &&
           w->in[1] * w->in[2] > 0 && w->out[1] * w->out[2] > 0 && d->c > 0 && d->o > 0 &&
           d->c <= MOST_CHANNELS && d->o <= MOST_CHANNELS && near(w) && hone__volume(w->in) * d->c <= MOST_PACKED;
}
#endif

hone__conv_weights *hone__conv_weights_new(hone_ctx *ctx, const hone__conv_desc *d)
{
#ifdef HONE_X86
    hone__conv_sums sums;
    if (!possible(d)) return NULL;
    sizes z = measure(&sums, d);
    if (sums.left + sums.right > MOST_PACKED || sums.sums > MOST_SUMS) return NULL;
    hone__conv_weights *f = hone__calloc(ctx, 1, sizeof *f);
    if (!f) return NULL;
    f->ctx = ctx;
    f->n = d->n;
    f->parts = HONE_MAX(HONE_MIN((int64_t)ctx->threads, d->n / sums.images), 1);
    f->sums = sums;
    if (fill_tables(f, d, z)) return f;
    hone__conv_weights_free(f);
#else
    (void)ctx, (void)d;
#endif
    return NULL;
}

void hone__conv_weights_free(hone__conv_weights *f)
{
    if (!f) return;
    hone__free(f->ctx, f->tables);
    hone__free(f->ctx, f);
}

size_t hone__conv_weights_scratch(const hone__conv_weights *f)
{
    return (size_t)f->parts * hone__conv_sums_bytes(&f->sums);
}

#ifdef HONE_X86
typedef struct job {
    const hone__conv_weights *f;
    const hone__conv_data *data;
    char *scratch;
} job;

static void sum_part(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    const hone__conv_weights *f = j->f;
    const hone__conv_sums *s = &f->sums;
    for (int64_t p = begin; p < end; p++) {
        int64_t i = f->n * p / f->parts, stop = f->n * (p + 1) / f->parts;
        hone__conv_sums_amx(s, (const uint16_t *)j->data->x + i * s->x_image,
                            (const uint16_t *)j->data->y + i * s->y_image, stop - i,
                            j->scratch + (size_t)p * hone__conv_sums_bytes(s));
    }
}

static void finish(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    hone__conv_sums_finish_amx(&j->f->sums, j->scratch, j->f->parts, begin, end, j->data->w, j->data->bias);
}
#endif

void hone__conv_weights_run(const hone__conv_weights *f, const hone__conv_data *data, void *scratch)
{
#ifdef HONE_X86
    job j = {f, data, scratch};
    hone__parallel_for(f->ctx, f->parts, 1, sum_part, &j);
    hone__parallel_for(f->ctx, tiles_of(f->sums.o), 1, finish, &j);
#else
    (void)f, (void)data, (void)scratch;
#endif
}
