/* The order of every sum depends on shapes and strides alone, never on threads: outputs are independent,
   and where there are few of them their elements are cut into a number of parts that the shape fixes,
   added up in order. */
#include "op/reduce.h"

#include <math.h>

enum {
    BLOCK = 256, /* outputs, and rows, that are gathered in the real type before they enter a double */
    MAX_PARTS = 32,
    PART_WORK = 16384 /* elements that make a part worth while */
};

typedef struct axes {
    int rank;
    int64_t count, dim[HONE_MAX_RANK], stride[HONE_MAX_RANK];
} axes;

typedef struct job {
    hone__exec *e;
    hone__reduce kind;
    double scale;
    axes kept, gone; /* neighbours merged */
    bool rows;       /* kept elements lie side by side: add whole rows */
    int64_t parts;
    double *partial; /* (parts, outputs); NULL when parts is 1 */
} job;

static axes gather_axes(const hone__view *x, unsigned mask)
{
    axes a = {.count = 1};
    for (int d = 0; d < x->shape.rank; d++) {
        int64_t dim = x->shape.dim[d];
        if (!(mask >> d & 1)) continue;
        a.count *= dim;
        if (dim == 1) continue;
        bool merge = a.rank && a.stride[a.rank - 1] == x->stride[d] * dim;
        int to = merge ? a.rank - 1 : a.rank++;
        a.dim[to] = merge ? a.dim[to] * dim : dim;
        a.stride[to] = x->stride[d];
    }
    if (!a.rank) a.dim[a.rank++] = 1;
    return a;
}

static int64_t offset_of(const axes *a, int64_t index)
{
    int64_t offset = 0;
    for (int d = a->rank - 1; d > 0; d--) {
        offset += index % a->dim[d] * a->stride[d];
        index /= a->dim[d];
    }
    return offset + index * a->stride[0];
}

static int64_t part_count(int64_t outputs, int64_t depth)
{
    if (outputs == 0 || outputs > BLOCK || depth < 2) return 1;
    return HONE_MAX(1, HONE_MIN(HONE_MIN(MAX_PARTS, depth), outputs * depth / PART_WORK));
}

size_t hone__reduce_scratch(const hone__view *x, unsigned gone)
{
    int64_t outputs = gather_axes(x, ~gone).count, parts = part_count(outputs, gather_axes(x, gone).count);
    return parts > 1 ? (size_t)(parts * outputs) * sizeof(double) : 0;
}

static double join(hone__reduce kind, double a, double b)
{
    if (kind == HONE__SUM) return a + b;
    if (kind == HONE__MAX) return b > a || b != b ? b : a;
    return b < a || b != b ? b : a;
}

static double start(hone__reduce kind)
{
    return kind == HONE__SUM ? 0 : kind == HONE__MAX ? -INFINITY : INFINITY;
}

/* One output from elements [from, to) of the reduced axes. */
static double one(const job *j, int64_t output, int64_t from, int64_t to)
{
    const hone__view *x = &j->e->in[0];
    int last = j->gone.rank - 1;
    int64_t inner = j->gone.dim[last], base = offset_of(&j->kept, output);
    double total = start(j->kind);
    for (int64_t at = from, m; at < to; at += m) {
        m = HONE_MIN(inner - at % inner, to - at);
        const void *run = hone__at(x, base + offset_of(&j->gone, at));
        total = join(j->kind, total, j->e->k->reduce(j->kind, run, x->dtype, j->gone.stride[last], m));
    }
    return total;
}

/* m outputs that lie side by side: rows added in the real type, BLOCK of them at a time, blocks in double. */
static void rows(const job *j, int64_t output, int64_t m, int64_t from, int64_t to, double *total)
{
    const hone__kernels *k = j->e->k;
    const hone__view *x = &j->e->in[0];
    int64_t base = offset_of(&j->kept, output);
    double sum[BLOCK], as_double[BLOCK]; /* sum holds m reals of the table's type */
    for (int64_t i = 0; i < m; i++) total[i] = start(j->kind);
    for (int64_t at = from; at < to; at += BLOCK) {
        int64_t end = HONE_MIN(to, at + BLOCK);
        k->copy(sum, k->real, hone__at(x, base + offset_of(&j->gone, at)), x->dtype, 1, m);
        for (int64_t row = at + 1; row < end; row++)
            k->reduce_row(j->kind, sum, hone__at(x, base + offset_of(&j->gone, row)), x->dtype, m);
        hone__convert(as_double, HONE_F64, sum, k->real, m);
        for (int64_t i = 0; i < m; i++) total[i] = join(j->kind, total[i], as_double[i]);
    }
}

static void outputs(const job *j, int64_t output, int64_t m, int64_t part, double *total)
{
    int64_t from = j->gone.count * part / j->parts, to = j->gone.count * (part + 1) / j->parts;
    if (!j->rows) {
        for (int64_t i = 0; i < m; i++) total[i] = one(j, output + i, from, to);
        return;
    }
    int64_t inner = j->kept.dim[j->kept.rank - 1];
    for (int64_t i = 0, n; i < m; i += n) {
        n = HONE_MIN(inner - (output + i) % inner, m - i);
        rows(j, output + i, n, from, to, total + i);
    }
}

static void finish(const job *j, int64_t output, int64_t m, double *total)
{
    const hone__view *y = &j->e->out[0];
    for (int64_t i = 0; i < m; i++) total[i] *= j->scale;
    if (!j->e->accumulate) {
        hone__convert(hone__at(y, output), y->dtype, total, HONE_F64, m);
        return;
    }
    double real[BLOCK];
    hone__convert(real, j->e->k->real, total, HONE_F64, m);
    j->e->k->axpy(hone__at(y, output), real, j->e->k->real, 1, m);
}

/* Work items are (part, output), the outputs innermost. */
static void range(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    double total[BLOCK];
    for (int64_t at = begin, m; at < end; at += m) {
        int64_t part = at / j->kept.count, output = at % j->kept.count;
        m = HONE_MIN(HONE_MIN(j->kept.count - output, end - at), BLOCK);
        outputs(j, output, m, part, total);
        if (j->partial)
            memcpy(j->partial + at, total, (size_t)m * sizeof *total);
        else
            finish(j, output, m, total);
    }
}

void hone__reduce_run(hone__exec *e, hone__reduce kind, unsigned gone, double scale)
{
    const hone__view *x = &e->in[0];
    job j = {
        .e = e, .kind = kind, .scale = scale, .kept = gather_axes(x, ~gone), .gone = gather_axes(x, gone)};
    int64_t n = j.kept.count, depth = j.gone.count;
    j.parts = part_count(n, depth);
    j.partial = j.parts > 1 ? e->scratch : NULL;
    int64_t side = j.kept.stride[j.kept.rank - 1], down = j.gone.stride[j.gone.rank - 1];
    j.rows = side == 1 && j.kept.dim[j.kept.rank - 1] > 1 && (down != 1 || j.gone.dim[j.gone.rank - 1] == 1);
    int64_t each = HONE_MAX(depth / j.parts, 1);
    hone__parallel_for(e->ctx, n * j.parts, HONE_MAX(HONE__GRAIN / each, 1), range, &j);
    if (!j.partial) return;
    double total[BLOCK]; /* n <= BLOCK where there are parts */
    for (int64_t i = 0; i < n; i++) {
        total[i] = j.partial[i];
        for (int64_t part = 1; part < j.parts; part++)
            total[i] = join(kind, total[i], j.partial[part * n + i]);
    }
    finish(&j, 0, n, total);
}
