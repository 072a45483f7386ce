/* Elements that are only moved or set. */
#include "op/op.h"

typedef struct filling {
    const hone__exec *e;
    const hone__view *y;
    char one[8];
    bool zero; /* all bytes of the value are, for which the C library has the fastest loop */
} filling;

static void fill_part(void *arg, int64_t begin, int64_t end)
{
    const filling *f = arg;
    void *to = hone__at(f->y, begin);
    if (f->zero)
        memset(to, 0, hone__dtype_bytes(f->y->dtype, end - begin));
    else
        f->e->k->move(to, f->y->dtype, 1, f->one, f->y->dtype, 0, end - begin);
}

void hone__fill_view(const hone__exec *e, const hone__view *y, double value)
{
    filling f = {.e = e, .y = y};
    hone__convert(f.one, y->dtype, &value, HONE_F64, 1);
    f.zero = !memcmp(f.one, (const char[8]){0}, 8);
    hone__parallel_for(e->ctx, hone_shape_count(y->shape), HONE__GRAIN, fill_part, &f);
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
