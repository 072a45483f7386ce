/* Elements that are only moved or set. */
#include "op/op.h"

void hone__fill_view(const hone__exec *e, const hone__view *y, double value)
{
    int64_t n = hone_shape_count(y->shape);
    char one[8];
    hone__convert(one, y->dtype, &value, HONE_F64, 1);
    e->k->move(y->data, y->dtype, 1, one, y->dtype, 0, n);
}

typedef struct job {
    const hone__exec *e;
    const hone__view *y, *x;
} job;

static void part(void *arg, const hone__loop *loop, const int64_t *offset, int64_t n)
{
    const job *j = arg;
    j->e->k->move(hone__at(j->y, offset[0]), j->y->dtype, hone__loop_stride(loop, 0),
                  hone__at(j->x, offset[1]), j->x->dtype, hone__loop_stride(loop, 1), n);
}

void hone__move_view(const hone__exec *e, const hone__view *y, const hone__view *x)
{
    hone__loop loop;
    hone__loop_init(&loop, y->shape, 2, (const hone__view *const[]){y, x});
    hone__loop_run(e->ctx, &loop, HONE__GRAIN, part, &(job){e, y, x});
}
