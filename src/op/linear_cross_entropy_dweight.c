/* The weight's gradient from that of the logits, which linear_cross_entropy has kept. It is larger than any other: made in
   blocks of classes, which need little scratch, and of rows. */
#include "kernel/matmul.h"
#include "op/nn.h"

enum { BLOCK_ROWS = 1024, BLOCK_CLASSES = 4096 };

struct dweight_attr {
    int64_t classes;
};
static const hone__attr attrs[] = {HONE__ATTR(struct dweight_attr, classes, I64), {0}};

static bool shape(hone__call *call)
{
    const struct dweight_attr *t = call->attr;
    if (!hone__want_same_real(call, 0, 1) || !hone__want_rank(call, 0, 1) || !hone__want_rank(call, 1, 1)) return false;
    hone_shape g = call->in[0]->shape, rows = call->in[1]->shape;
    if (t->classes < 1 || t->classes > hone__row_length(g))
        return hone__refuse(call, HONE_SHAPE, "%lld classes in a gradient %s", (long long)t->classes, HONE__SHAPE_STR(g));
    rows.dim[rows.rank - 1] = hone__row_length(g);
    return hone__want_shape(call, 0, rows, "gradient of logits") &&
           hone__set_out(call, 0, call->in[0]->dtype, HONE_SHAPE(t->classes, hone__row_length(call->in[1]->shape)));
}

typedef struct prepared {
    hone_ctx *ctx;
    int64_t n, d, v, rows, classes; /* of all; rows and classes of a block */
    hone__matmul *product[2][2][2]; /* [last, smaller rows][last classes][adding] */
} prepared;

static void free_prepared(void *state)
{
    prepared *p = state;
    if (!p) return;
    for (int i = 0; i < 8; i++) hone__matmul_free(p->product[i >> 2][i >> 1 & 1][i & 1]);
    hone__free(p->ctx, p);
}

/* (classes, d) = dlogits (rows, classes)^T x (rows, d) */
static bool make(hone__exec *e, const prepared *p, int64_t rows, int64_t classes, bool add, hone__matmul **product)
{
    hone__matmul_desc m = {.batch = 1, .m = classes, .n = p->d, .k = rows, .ab = e->in[1].dtype, .c = e->out[0].dtype, .a_row = 1,
                           .a_col = hone__row_length(e->in[0].shape), .b_row = p->d, .b_col = 1, .c_row = p->d, .accumulate = add};
    if (!rows || !classes || !p->d) return true;
    if (!(*product = hone__matmul_new(e->ctx, &m))) return false;
    e->scratch_size = HONE_MAX(e->scratch_size, hone__matmul_scratch(*product));
    return true;
}

static hone_status prepare(hone__exec *e)
{
    const struct dweight_attr *t = e->attr;
    prepared *p = hone__calloc(e->ctx, 1, sizeof *p);
    if (!p) return e->ctx->status;
    e->state = p;
    e->free_state = free_prepared;
    *p = (prepared){.ctx = e->ctx, .n = hone__row_count(e->in[1].shape), .d = e->out[0].shape.dim[1], .v = t->classes};
    p->rows = HONE_MAX(HONE_MIN(p->n, BLOCK_ROWS), 1);
    p->classes = HONE_MIN(p->v, BLOCK_CLASSES);
    for (int i = 0; i < 8; i++) {
        int last_rows = i >> 2, last_classes = i >> 1 & 1, add = i & 1;
        bool needed = add ? e->accumulate || e->first_write || p->n > p->rows : !e->accumulate;
        if (needed && !make(e, p, last_rows ? p->n % p->rows : HONE_MIN(p->rows, p->n), last_classes ? p->v % p->classes : p->classes,
                            add, &p->product[last_rows][last_classes][add]))
            return e->ctx->status;
    }
    return HONE_OK;
}

static hone_status run(hone__exec *e)
{
    const prepared *p = e->state;
    hone_status status = HONE_OK;
    if (p->n == 0 && !e->accumulate) hone__fill_view(e, &e->out[0], 0);
    for (int64_t r = 0; r < p->n; r += p->rows)
        for (int64_t v = 0; v < p->v && p->d && status == HONE_OK; v += p->classes) {
            bool last_rows = p->n - r < p->rows, last_classes = p->v - v < p->classes;
            status = hone__matmul_run(p->product[last_rows][last_classes][e->accumulate || r > 0],
                                      hone__at(&e->in[0], r * hone__row_length(e->in[0].shape) + v), hone__at(&e->in[1], r * p->d), NULL,
                                      hone__at(&e->out[0], v * p->d), e->scratch);
        }
    return status;
}

#define CLASSES(n) .attr = &(struct dweight_attr){n}, .no_grad = true /* it has no vjp */
static const hone__sample samples[] = {
    {.name = "matrix", .n_in = 2, .in = {{.shape = {2, {5, 7}}}, {.shape = {2, {5, 3}}}}, CLASSES(7)},
    {.name = "batch", .n_in = 2, .in = {{.shape = {3, {2, 3, 9}}}, {.shape = {3, {2, 3, 4}}}}, CLASSES(8)},
    {.name = "row_blocks", .n_in = 2, .in = {{.shape = {2, {1100, 40}}}, {.shape = {2, {1100, 20}}}}, CLASSES(35), .tolerance = 1e-4},
    {.name = "class_blocks", .n_in = 2, .in = {{.shape = {2, {3, 5000}}}, {.shape = {2, {3, 2}}}}, CLASSES(4999)},
    {.name = "empty", .n_in = 2, .in = {{.shape = {2, {0, 7}}}, {.shape = {2, {0, 3}}}}, CLASSES(7)},
    {.name = "rows", .n_in = 2, .in = {{.shape = {2, {5, 7}}}, {.shape = {2, {4, 3}}}}, CLASSES(7), .refused = "must be [4, 7], not [5, 7]"},
    {.name = "classes", .n_in = 2, .in = {{.shape = {2, {5, 7}}}, {.shape = {2, {5, 3}}}}, CLASSES(8), .refused = "8 classes in a gradient [5, 7]"},
    {0}};

const hone_op hone__op_linear_cross_entropy_dweight = {.name = "linear_cross_entropy_dweight",
                                                       .doc = "dweight = dlogits^T x of so many classes",
                                                       .n_in = 2,
                                                       .n_out = 1,
                                                       .flags = HONE__COMPUTE | HONE__ACCUMULATE,
                                                       .keep_out = 1,
                                                       .attr_size = sizeof(struct dweight_attr),
                                                       .attrs = attrs,
                                                       .shape = shape,
                                                       .prepare = prepare,
                                                       .run = run,
                                                       .samples = samples};

hone_node *hone__dweight(hone_node *dlogits, hone_node *x, int64_t classes)
{
    if (!dlogits || !x) return NULL;
    return hone__record(dlogits->call->graph, &hone__op_linear_cross_entropy_dweight, 2, (hone_node *[]){dlogits, x},
                        &(struct dweight_attr){classes});
}
