/* Rules that need whole parameters: LAMB (norms), Adafactor (factored moments), Muon (products of matrices). */
#include "optim/optim.h"

#include "kernel/matmul.h"

#include <float.h>
#include <math.h>

/* A parameter at its step. */
typedef struct job {
    const hone_optimizer *o;
    const hone__optim_step *step;
    float *w;
    const float *g;
    void *state[HONE__OPTIM_STATES];
    hone_shape shape;
    int64_t count;
    double change;
    float *x;         /* Muon: the matrix on its way */
    int64_t rows, columns, matrices;
    double keep, sum; /* Adafactor: of the old moments */
    const double *mean;
} job;

static job begin(hone_optimizer *o, const hone__optim_segment *segment, size_t i)
{
    const hone_param *p = segment->segment->params[i];
    job j = {.o = o, .step = &o->groups[segment->group[i]].step, .w = segment->segment->values + p->offset,
             .g = segment->segment->grads + p->offset, .shape = p->v.shape, .count = hone_shape_count(p->v.shape)};
    for (int s = 0; s < o->rule->states; s++) j.state[s] = hone__optim_state(o, segment, s, i);
    return j;
}

static double values_squared(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    return j->o->k->sumsq(j->w + begin, end - begin);
}

/* ---- LAMB ---- */

static double lamb_piece(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    bool first = j->change == 0; /* moments, and the sum of r^2 */
    return j->o->k->lamb(j->step, j->w + begin, first ? j->g + begin : NULL, (float *)j->state[0] + begin,
                         (float *)j->state[1] + begin, end - begin, j->change);
}

static hone_status lamb_parameter(hone_optimizer *o, const hone__optim_segment *segment, size_t i)
{
    job j = begin(o, segment, i);
    double size = sqrt(hone__optim_pieces(o, j.count, values_squared, &j));
    double length = sqrt(hone__optim_pieces(o, j.count, lamb_piece, &j));
    j.change = o->groups[segment->group[i]].learning_rate * (size > 0 && length > 0 ? size / length : 1);
    if (j.change != 0) hone__optim_pieces(o, j.count, lamb_piece, &j);
    return HONE_OK;
}

/* r is free of the learning rate; weight decay is a part of it. */
static void lamb_constants(hone_optimizer *o, hone__optim_step *s)
{
    s->rate = 1;
    hone__adam_constants(o, s);
}

const hone__rule hone__lamb_rule = {.name = "lamb",
                                .defaults = {.learning_rate = 1e-3, .weight_decay = 0.01, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-6},
                                .states = 2, .state = {{"exp_avg", HONE_F32, 1}, {"exp_avg_sq", HONE_F32, 1}},
                                .constants = lamb_constants, .parameter = lamb_parameter, .again = hone__adam_again};
hone_optimizer *hone_lamb_opt(hone_ctx *ctx, const hone_adam_opts *opts) { return hone__adam_like(ctx, &hone__lamb_rule, opts); }

/* ---- Adafactor ---- */

enum { ROW, COLUMN, ELEMENT }; /* states: means of squares over rows and columns, or each square */

static hone_shape adafactor_shape(int state, hone_shape s, const hone_group_opts *group)
{
    (void)group;
    if ((state == ELEMENT) == (s.rank > 1)) return HONE_SHAPE(0);
    if (state != ELEMENT) s.dim[state == ROW ? s.rank - 1 : s.rank - 2] = 1;
    return s;
}

static void measure(job *j)
{
    bool matrix = j->shape.rank > 1;
    j->columns = matrix ? j->shape.dim[j->shape.rank - 1] : j->count;
    j->rows = matrix ? j->shape.dim[j->shape.rank - 2] : 1; /* of each matrix */
    j->matrices = j->count / (j->rows * j->columns);
}

static hone_status adafactor_prepare(hone_optimizer *o, hone_shape s, const hone_group_opts *group)
{
    (void)group;
    job j = {.shape = s, .count = hone_shape_count(s)};
    if (!j.count) return HONE_OK;
    measure(&j);
    return hone__optim_scratch(o, (size_t)j.matrices * sizeof(double));
}

/* state = keep state + (1 - keep) mean of squares, with squares of g as it is clipped */
static void row_squares(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    float *to = j->state[ROW];
    double by = (1 - j->keep) * j->step->scale * j->step->scale / (double)j->columns;
    for (int64_t i = begin; i < end; i++)
        to[i] = (float)(j->keep * (double)to[i] + by * j->o->k->sumsq(j->g + i * j->columns, j->columns));
}
enum { BLOCK = 1024 }; /* columns */
static void column_squares(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    int64_t blocks = (j->columns + BLOCK - 1) / BLOCK;
    double by = (1 - j->keep) * j->step->scale * j->step->scale / (double)j->rows;
    for (int64_t b = begin; b < end; b++) {
        int64_t m = b / blocks, from = b % blocks * BLOCK, n = HONE_MIN(j->columns - from, (int64_t)BLOCK);
        float *to = (float *)j->state[j->shape.rank > 1 ? COLUMN : ELEMENT] + m * j->columns + from;
        j->o->k->unary(HONE__AFFINE, to, HONE_F32, to, HONE_F32, 1, n, j->keep, 0);
        for (int64_t i = 0; i < j->rows; i++) j->o->k->add_squares(to, j->g + (m * j->rows + i) * j->columns + from, by, n);
    }
}

/* Elements [begin, end): parts of rows. */
static double adafactor_piece(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    bool matrix = j->shape.rank > 1;
    double total = 0;
    for (int64_t at = begin, n; at < end; at += n) {
        int64_t row = at / j->columns, column = at % j->columns, m = row / j->rows;
        n = HONE_MIN(end - at, j->columns - column);
        const float *squares = (const float *)j->state[matrix ? COLUMN : ELEMENT] + m * (matrix ? j->columns : 0) + column;
        double of_row = matrix ? (double)((const float *)j->state[ROW])[row] / j->mean[m] : 1;
        total += j->o->k->adafactor(j->step, j->change != 0 ? j->w + at : NULL, j->g + at, of_row, squares, n, j->change);
    }
    return total;
}

static hone_status adafactor_parameter(hone_optimizer *o, const hone__optim_segment *segment, size_t i)
{
    job j = begin(o, segment, i);
    measure(&j);
    double t = (double)o->steps, count = (double)j.count, rate = o->groups[segment->group[i]].learning_rate;
    j.keep = 1 - pow(t, -o->extra);
    double size = sqrt(hone__optim_pieces(o, j.count, values_squared, &j) / count);
    hone__parallel_for(o->ctx, j.matrices * ((j.columns + BLOCK - 1) / BLOCK), 1, column_squares, &j);
    if (j.shape.rank > 1) {
        double *mean = o->scratch;
        hone__parallel_for(o->ctx, j.matrices * j.rows, HONE_MAX(BLOCK * 16 / j.columns, (int64_t)1), row_squares, &j);
        for (int64_t m = 0; m < j.matrices; m++) {
            mean[m] = 0;
            for (int64_t r = 0; r < j.rows; r++) mean[m] += (double)((const float *)j.state[ROW])[m * j.rows + r];
            mean[m] = HONE_MAX(mean[m] / (double)j.rows, HONE_MAX(o->v.epsilon, (double)FLT_MIN));
        }
        j.mean = mean;
    }
    double update = sqrt(hone__optim_pieces(o, j.count, adafactor_piece, &j) / count);
    j.change = HONE_MAX(o->epsilon2, size) * HONE_MIN(rate, 1 / sqrt(t)) / HONE_MAX(1.0, update / o->clip_threshold);
    if (j.change != 0) hone__optim_pieces(o, j.count, adafactor_piece, &j);
    return HONE_OK;
}

static hone_optimizer *adafactor_again(hone_ctx *ctx, const hone_optimizer *like)
{
    const hone__optim_values *v = &like->v, *d = &hone__adafactor_rule.defaults;
    return hone_adafactor(ctx, .learning_rate = hone__given(v->learning_rate, d->learning_rate), .beta2_decay = hone__given(like->extra, 0.8),
                          .epsilon1 = hone__given(v->epsilon, d->epsilon), .epsilon2 = hone__given(like->epsilon2, 1e-3),
                          .clip_threshold = hone__given(like->clip_threshold, 1), .weight_decay = hone__given(v->weight_decay, 0));
}

const hone__rule hone__adafactor_rule = {.name = "adafactor", .decoupled = true,
                                     .defaults = {.learning_rate = 0.01, .epsilon = 1.1920928955078125e-07}, .states = 3,
                                     .state = {{"row_var", HONE_F32, 1}, {"col_var", HONE_F32, 1}, {"variance", HONE_F32, 1}},
                                     .parameter = adafactor_parameter, .prepare = adafactor_prepare, .shape = adafactor_shape, .again = adafactor_again};

hone_optimizer *hone_adafactor_opt(hone_ctx *ctx, const hone_adafactor_opts *opts)
{
    static const hone_adafactor_opts none = {0};
    if (!opts) opts = &none;
    hone_optimizer *o = hone__optimizer_new(ctx, &hone__adafactor_rule,
                                            &(hone__optim_values){.learning_rate = opts->learning_rate, .epsilon = opts->epsilon1,
                                                                  .weight_decay = opts->weight_decay});
    if (!o) return NULL;
    o->extra = hone__choose(opts->beta2_decay, 0.8);
    o->epsilon2 = hone__choose(opts->epsilon2, 1e-3);
    o->clip_threshold = hone__choose(opts->clip_threshold, 1);
    if (o->extra >= 0 && o->epsilon2 >= 0 && o->clip_threshold > 0) return o;
    return hone__optimizer_refuse(o, "beta2_decay and epsilon2 must not be negative, clip_threshold above 0");
}

/* ---- Muon ---- */

/* The products for matrices of a shape: with side = min(rows, columns), x is multiplied from its short side. */
typedef struct products {
    struct products *next;
    int64_t rows, columns, side;
    hone__matmul *gram, *square, *apply; /* a = x x^T (or x^T x), a a, b x (or x b) */
    size_t scratch;                      /* of the largest */
} products;

static bool is_matrix(hone_shape s, const hone_group_opts *group) { return s.rank > 1 && !group->adamw; }

static void free_products(hone_ctx *ctx, products *p)
{
    hone__matmul_free(p->gram);
    hone__matmul_free(p->square);
    hone__matmul_free(p->apply);
    hone__free(ctx, p);
}
static void muon_release(hone_optimizer *o)
{
    for (products *p = o->own, *next; p; p = next) {
        next = p->next;
        free_products(o->ctx, p);
    }
}

static products *find_products(const hone_optimizer *o, int64_t rows, int64_t columns)
{
    for (products *p = o->own; p; p = p->next)
        if (p->rows == rows && p->columns == columns) return p;
    return NULL;
}

static hone__matmul *product(hone_ctx *ctx, int64_t m, int64_t n, int64_t k, int64_t a_row, int64_t a_col, int64_t b_row,
                             int64_t b_col)
{
    return hone__matmul_new(ctx, &(hone__matmul_desc){.batch = 1, .m = m, .n = n, .k = k, .ab = HONE_F32, .c = HONE_F32,
                                                      .a_row = a_row, .a_col = a_col, .b_row = b_row, .b_col = b_col, .c_row = n});
}

static size_t matrix_bytes(int64_t rows, int64_t columns) { return hone__align((size_t)(rows * columns) * sizeof(float)); }

static hone_status muon_prepare(hone_optimizer *o, hone_shape s, const hone_group_opts *group)
{
    if (!is_matrix(s, group) || !hone_shape_count(s)) return HONE_OK;
    int64_t r = s.dim[0], c = hone_shape_count(s) / r, side = HONE_MIN(r, c);
    products *p = find_products(o, r, c);
    if (!p) {
        if (!(p = hone__calloc(o->ctx, 1, sizeof *p))) return o->ctx->status;
        *p = (products){.rows = r, .columns = c, .side = side};
        bool wide = r <= c;
        p->gram = wide ? product(o->ctx, r, r, c, c, 1, 1, c) : product(o->ctx, c, c, r, 1, c, c, 1);
        p->square = p->gram ? product(o->ctx, side, side, side, side, 1, side, 1) : NULL;
        p->apply = !p->square ? NULL : wide ? product(o->ctx, r, c, r, r, 1, c, 1) : product(o->ctx, r, c, c, c, 1, c, 1);
        if (!p->apply) {
            free_products(o->ctx, p);
            return o->ctx->status;
        }
        p->scratch = HONE_MAX(hone__matmul_scratch(p->gram), HONE_MAX(hone__matmul_scratch(p->square), hone__matmul_scratch(p->apply)));
        p->next = o->own;
        o->own = p;
    }
    return hone__optim_scratch(o, 2 * matrix_bytes(r, c) + 2 * matrix_bytes(side, side) + p->scratch);
}

static hone_shape muon_shape(int state, hone_shape s, const hone_group_opts *group)
{
    return (state == 0) == is_matrix(s, group) ? s : HONE_SHAPE(0);
}

/* y = old y + a x */
static void mix(const hone__kernels *k, float *y, const float *x, double old, double a, int64_t n)
{
    k->unary(HONE__AFFINE, y, HONE_F32, y, HONE_F32, 1, n, old, 0);
    k->axpy(y, x, HONE_F32, a, n);
}
typedef struct mixture {
    const hone__kernels *k;
    float *y;
    const float *x;
    double old, a;
} mixture;
static double mix_piece(void *arg, int64_t begin, int64_t end)
{
    const mixture *m = arg;
    mix(m->k, m->y + begin, m->x + begin, m->old, m->a, end - begin);
    return 0;
}

/* The running mean of gradients, and x, the matrix to be made orthogonal; the sum of its squares. */
static double muon_gather(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    const hone__kernels *k = j->o->k;
    float *mean = (float *)j->state[0] + begin, *x = j->x + begin;
    double mu = j->step->momentum, fresh = (1 - mu) * j->step->scale;
    int64_t n = end - begin;
    mix(k, mean, j->g + begin, mu, fresh, n);
    memcpy(x, mean, (size_t)n * sizeof *x);
    if (j->o->nesterov) mix(k, x, j->g + begin, mu, fresh, n);
    return k->sumsq(x, n);
}
static double muon_scale(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    j->o->k->unary(HONE__AFFINE, j->x + begin, HONE_F32, j->x + begin, HONE_F32, 1, end - begin, j->change, 0);
    return 0;
}

/* Newton-Schulz: x becomes nearly orthogonal (Jordan et al. 2024); where it lies is returned. */
static hone_status orthogonalize(hone_optimizer *o, const products *p, float **x)
{
    static const double a = 3.4445, b = -4.7750, c = 2.0315;
    int64_t count = p->rows * p->columns, corner = p->side * p->side;
    float *from = *x, *to = (float *)((char *)from + matrix_bytes(p->rows, p->columns));
    float *gram = (float *)((char *)to + matrix_bytes(p->rows, p->columns));
    float *mixed = (float *)((char *)gram + matrix_bytes(p->side, p->side));
    void *scratch = (char *)mixed + matrix_bytes(p->side, p->side);
    bool wide = p->rows <= p->columns;
    hone_status status = HONE_OK;
    for (int i = 0; i < o->ns_steps && status == HONE_OK; i++) {
        status = hone__matmul_run(p->gram, from, from, NULL, gram, scratch);
        if (status == HONE_OK) status = hone__matmul_run(p->square, gram, gram, NULL, mixed, scratch);
        hone__optim_pieces(o, corner, mix_piece, &(mixture){o->k, mixed, gram, c, b}); /* c a a + b a */
        if (status == HONE_OK) status = hone__matmul_run(p->apply, wide ? mixed : from, wide ? from : mixed, NULL, to, scratch);
        hone__optim_pieces(o, count, mix_piece, &(mixture){o->k, to, from, 1, a});
        float *swapped = from;
        from = to, to = swapped;
    }
    *x = from;
    return status;
}

static double adamw_piece(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    void *state[HONE__OPTIM_STATES] = {(float *)j->state[1] + begin, (float *)j->state[2] + begin};
    j->o->k->optim(j->step, j->w + begin, j->g + begin, state, end - begin);
    return 0;
}

static hone_status muon_parameter(hone_optimizer *o, const hone__optim_segment *segment, size_t i)
{
    job j = begin(o, segment, i);
    const hone__optim_group *group = &o->groups[segment->group[i]];
    double rate = group->learning_rate;
    if (!is_matrix(j.shape, &group->opts)) {
        rate *= o->extra;
        hone__optim_step adamw = {.kind = HONE__ADAM, .scale = j.step->scale, .keep = 1 - rate * group->weight_decay, .rate = rate,
                                  .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
        hone__adam_constants(o, &adamw);
        j.step = &adamw;
        hone__optim_pieces(o, j.count, adamw_piece, &j);
        return HONE_OK;
    }
    int64_t rows = j.shape.dim[0], columns = j.count / rows;
    j.x = o->scratch;
    double norm = sqrt(hone__optim_pieces(o, j.count, muon_gather, &j));
    j.change = 1 / HONE_MAX(norm, HONE_MAX(o->v.epsilon, (double)FLT_MIN));
    hone__optim_pieces(o, j.count, muon_scale, &j);
    hone_status status = orthogonalize(o, find_products(o, rows, columns), &j.x);
    if (status != HONE_OK) return status;
    rate *= o->match_rms_adamw ? 0.2 * sqrt((double)HONE_MAX(rows, columns)) : sqrt(HONE_MAX(1.0, (double)rows / (double)columns));
    hone__optim_pieces(o, j.count, mix_piece, &(mixture){o->k, j.w, j.x, j.step->keep, -rate});
    return HONE_OK;
}

static hone_optimizer *muon_again(hone_ctx *ctx, const hone_optimizer *like)
{
    const hone__optim_values *v = &like->v, *d = &hone__muon_rule.defaults;
    return hone_muon(ctx, .learning_rate = hone__given(v->learning_rate, d->learning_rate), .momentum = hone__given(v->momentum, d->momentum),
                     .no_nesterov = !like->nesterov, .weight_decay = hone__given(v->weight_decay, d->weight_decay), .ns_steps = like->ns_steps,
                     .epsilon = hone__given(v->epsilon, d->epsilon), .match_rms_adamw = like->match_rms_adamw,
                     .adamw_factor = hone__given(like->extra, 1));
}

const hone__rule hone__muon_rule = {.name = "muon", .decoupled = true,
                                .defaults = {.learning_rate = 1e-3, .weight_decay = 0.1, .momentum = 0.95, .epsilon = 1e-7},
                                .states = 3,
                                .state = {{"momentum", HONE_F32, 1}, {"exp_avg", HONE_F32, 1}, {"exp_avg_sq", HONE_F32, 1}},
                                .parameter = muon_parameter, .prepare = muon_prepare, .shape = muon_shape, .release = muon_release,
                                    .again = muon_again};

hone_optimizer *hone_muon_opt(hone_ctx *ctx, const hone_muon_opts *opts)
{
    static const hone_muon_opts none = {0};
    if (!opts) opts = &none;
    hone_optimizer *o = hone__optimizer_new(ctx, &hone__muon_rule,
                                            &(hone__optim_values){.learning_rate = opts->learning_rate, .momentum = opts->momentum,
                                                                  .weight_decay = opts->weight_decay, .epsilon = opts->epsilon});
    if (!o) return NULL;
    o->nesterov = !opts->no_nesterov;
    o->ns_steps = opts->ns_steps ? opts->ns_steps : 5;
    o->match_rms_adamw = opts->match_rms_adamw;
    o->extra = hone__choose(opts->adamw_factor, 1);
    if (o->ns_steps > 0 && o->ns_steps < 100 && o->v.momentum < 1 && o->extra >= 0) return o;
    return hone__optimizer_refuse(o, "ns_steps must be 1 to 99, momentum in [0, 1), adamw_factor not negative");
}
