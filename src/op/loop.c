#include "op/op.h"

void hone__loop_init(hone__loop *loop, hone_shape shape, int operands, const hone__view *const *views)
{
    int64_t stride[HONE__LOOP_OPERANDS][HONE_MAX_RANK] = {{0}};
    for (int o = 0; o < operands; o++) {
        int shift = shape.rank - views[o]->shape.rank;
        for (int d = shift; d < shape.rank; d++)
            stride[o][d] = views[o]->shape.dim[d - shift] == 1 ? 0 : views[o]->stride[d - shift];
    }
    *loop = (hone__loop){.operands = operands, .count = hone_shape_count(shape)};
    bool alike = operands > 0 && hone_shape_equal(views[0]->shape, shape);
    for (int o = 0; o < operands && alike; o++) alike = hone__view_same_layout(views[0], views[o]);
    if (alike) { /* one run through memory, whatever the order of the axes there */
        loop->dim[loop->rank++] = loop->count;
        for (int o = 0; o < operands; o++) loop->stride[o][0] = 1;
        return;
    }
    for (int d = 0; d < shape.rank; d++) {
        if (shape.dim[d] == 1) continue;
        bool merge = loop->rank > 0;
        for (int o = 0; o < operands && merge; o++)
            merge = loop->stride[o][loop->rank - 1] == stride[o][d] * shape.dim[d];
        int to = merge ? loop->rank - 1 : loop->rank++;
        loop->dim[to] = merge ? loop->dim[to] * shape.dim[d] : shape.dim[d];
        for (int o = 0; o < operands; o++) loop->stride[o][to] = stride[o][d];
    }
    if (loop->rank == 0) loop->dim[loop->rank++] = 1;
}

typedef struct walk {
    const hone__loop *loop;
    hone__loop_fn fn;
    void *arg;
} walk;

static void range(void *arg, int64_t begin, int64_t end)
{
    const walk *w = arg;
    const hone__loop *loop = w->loop;
    int last = loop->rank - 1;
    int64_t inner = loop->dim[last];
    for (int64_t at = begin, n; at < end; at += n) {
        int64_t row = at / inner, column = at % inner, offset[HONE__LOOP_OPERANDS];
        n = HONE_MIN(inner - column, end - at);
        for (int o = 0; o < loop->operands; o++) offset[o] = column * loop->stride[o][last];
        for (int d = last - 1; d >= 0; d--) {
            int64_t index = row % loop->dim[d];
            row /= loop->dim[d];
            for (int o = 0; o < loop->operands; o++) offset[o] += index * loop->stride[o][d];
        }
        w->fn(w->arg, loop, offset, n);
    }
}

void hone__loop_run(const hone_ctx *ctx, const hone__loop *loop, int64_t grain, hone__loop_fn fn, void *arg)
{
    if (loop->count == 0) return;
    walk w = {loop, fn, arg};
    hone__parallel_for(ctx, loop->count, grain, range, &w);
}
