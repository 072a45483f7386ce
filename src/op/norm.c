#include "op/norm.h"

const hone__attr hone__norm_attrs[] = {HONE__ATTR(struct norm_attr, eps, F64), {0}};

typedef struct job {
    hone__exec *e;
    const hone__norm *a;
    int64_t rows, pieces;
    char *dgain, *dbias; /* (pieces, n) reals each; NULL when not wanted */
    size_t row_bytes;    /* of n reals */
} job;

static void part(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    j->e->k->norm(j->a, begin, end);
}

void hone__norm_run(hone__exec *e, hone__norm *a)
{
    hone_shape x = e->in[0].shape;
    a->n = hone__row_length(x);
    if (a->n)
        hone__parallel_for(e->ctx, hone__row_count(x), HONE_MAX(HONE__GRAIN / 2 / a->n, 1), part,
                           &(job){e, a, 0, 0, 0, 0, 0});
}

/* The sums over rows are made in pieces whose number depends on the rows alone, so that threads change no bit
   of them. */
static int64_t pieces_of(int64_t rows) { return HONE_MAX(HONE_MIN(rows / 8, 64), 1); }

hone_status hone__norm_grad_prepare(hone__exec *e, hone_shape x)
{
    size_t real = e->k->real == HONE_F64 ? 8 : 4;
    int64_t n = hone__row_length(x);
    e->scratch_size = (size_t)(2 * pieces_of(hone__row_count(x)) * n) * real;
    return HONE_OK;
}

static void grad_part(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    for (int64_t p = begin; p < end; p++) {
        char *dgain = j->dgain ? j->dgain + (size_t)p * j->row_bytes : NULL;
        char *dbias = j->dbias ? j->dbias + (size_t)p * j->row_bytes : NULL;
        if (dgain) memset(dgain, 0, j->row_bytes);
        if (dbias) memset(dbias, 0, j->row_bytes);
        j->e->k->norm_grad(j->a, j->rows * p / j->pieces, j->rows * (p + 1) / j->pieces, dgain, dbias);
    }
}

static void sum_pieces(const job *j, const char *parts, hone__view *to, bool accumulate)
{
    hone__exec *e = j->e;
    for (int64_t p = 0; p < j->pieces; p++) {
        const char *from = parts + (size_t)p * j->row_bytes;
        if (p || accumulate)
            e->k->axpy(to->data, from, e->k->real, 1, j->a->n);
        else
            memcpy(to->data, from, j->row_bytes);
    }
}

void hone__norm_grad_run(hone__exec *e, hone__norm *a)
{
    hone_shape x = e->in[0].shape;
    bool bias = a->centre && e->out[2].data;
    int more = e->call->op->sum_in, again = e->call->n_out;
    if (e->n_in > more) a->more = e->in[more].data, a->mt = e->in[more].dtype;
    if (e->n_out > again) a->dx_again = e->out[again].data;
    a->n = hone__row_length(x);
    job j = {.e = e, .a = a, .rows = hone__row_count(x)};
    if (a->n == 0) return;
    j.pieces = pieces_of(j.rows);
    j.row_bytes = (size_t)a->n * (e->k->real == HONE_F64 ? 8 : 4);
    j.dgain = e->out[0].data ? e->scratch : NULL;
    j.dbias = bias ? (char *)e->scratch + (size_t)j.pieces * j.row_bytes : NULL;
    int64_t rows_a_piece = HONE_MAX(j.rows / j.pieces, 1);
    hone__parallel_for(e->ctx, j.pieces, HONE_MAX(HONE__GRAIN / 2 / (a->n * rows_a_piece), 1), grad_part, &j);
    if (j.dgain) sum_pieces(&j, j.dgain, &e->out[0], e->accumulate);
    if (j.dbias) sum_pieces(&j, j.dbias, &e->out[2], false);
}
