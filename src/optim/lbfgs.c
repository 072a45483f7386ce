/* Limited-memory BFGS, iteration by iteration what torch.optim.LBFGS does. All trained parameters are one vector. */
#include "optim/optim.h"

#include <math.h>
#include <stdio.h>

typedef struct pair {
    float *y, *s; /* change of the gradient, step; NULL: not made yet */
    double ro;    /* 1 / y s */
} pair;

typedef struct lbfgs {
    int64_t n;            /* elements; 0: nothing is allocated */
    float *gradient[4];   /* at this point, at the last one, and at points of the line search */
    int now, last;        /* which of them */
    float *direction, *origin; /* of the line search */
    pair *pairs, spare;   /* from the oldest on */
    double *alpha;
    double *numbers; /* [3 + history], for files */
    int n_pairs;
    uint64_t iterations;
    double length, diagonal; /* of the last step; of the first guess of the inverse Hessian */
} lbfgs;

/* A step under way. */
typedef struct search {
    hone_optimizer *o;
    hone_model *model;
    hone_closure_fn closure;
    void *user;
    lbfgs *l;
    int evaluations;
} search;

/* ---- vectors ---- */

typedef struct terms {
    const hone__kernels *k;
    float *y;
    const float *a, *b;
    double scale;
} terms;
static double dot_piece(void *arg, int64_t begin, int64_t end)
{
    const terms *t = arg;
    return t->k->dot(t->a + begin, t->b + begin, end - begin);
}
static double dot(const search *s, const float *a, const float *b)
{
    return hone__optim_pieces(s->o, s->l->n, dot_piece, &(terms){.k = s->o->k, .a = a, .b = b});
}
static double add_piece(void *arg, int64_t begin, int64_t end)
{
    const terms *t = arg;
    t->k->axpy(t->y + begin, t->a + begin, HONE_F32, t->scale, end - begin);
    return 0;
}
static void add(const search *s, float *y, const float *x, double scale)
{
    hone__optim_pieces(s->o, s->l->n, add_piece, &(terms){.k = s->o->k, .y = y, .a = x, .scale = scale});
}
static double scale_piece(void *arg, int64_t begin, int64_t end)
{
    const terms *t = arg;
    t->k->unary(HONE__AFFINE, t->y + begin, HONE_F32, t->a + begin, HONE_F32, 1, end - begin, t->scale, 0);
    return 0;
}
/* y = scale x */
static void scaled(const search *s, float *y, const float *x, double scale)
{
    hone__optim_pieces(s->o, s->l->n, scale_piece, &(terms){.k = s->o->k, .y = y, .a = x, .scale = scale});
}
static double largest(const search *s, const float *x)
{
    double most = s->o->k->reduce(HONE__MAX, x, HONE_F32, 1, s->l->n), least = s->o->k->reduce(HONE__MIN, x, HONE_F32, 1, s->l->n);
    return HONE_MAX(most, -least);
}

/* ---- between the vector and the segments ---- */

typedef struct walk {
    const lbfgs *l;
    float *to;
    double t;
    int64_t at;
} walk;
static double count_range(hone_optimizer *o, const hone__optim_segment *segment, int group, int64_t begin, int64_t end, void *arg)
{
    (void)o, (void)segment, (void)group, (void)arg;
    return (double)(end - begin);
}
static double read_gradient(hone_optimizer *o, const hone__optim_segment *segment, int group, int64_t begin, int64_t end, void *arg)
{
    (void)o, (void)group;
    walk *w = arg;
    memcpy(w->to + w->at, segment->segment->grads + begin, (size_t)(end - begin) * sizeof *w->to);
    w->at += end - begin;
    return 0;
}
static double read_values(hone_optimizer *o, const hone__optim_segment *segment, int group, int64_t begin, int64_t end, void *arg)
{
    (void)o, (void)group;
    walk *w = arg;
    memcpy(w->to + w->at, segment->segment->values + begin, (size_t)(end - begin) * sizeof *w->to);
    w->at += end - begin;
    return 0;
}
/* origin + t direction */
static double move_values(hone_optimizer *o, const hone__optim_segment *segment, int group, int64_t begin, int64_t end, void *arg)
{
    (void)group;
    walk *w = arg;
    float *values = segment->segment->values + begin;
    memcpy(values, w->l->origin + w->at, (size_t)(end - begin) * sizeof *values);
    o->k->axpy(values, w->l->direction + w->at, HONE_F32, w->t, end - begin);
    w->at += end - begin;
    return 0;
}
static void move(const search *s, double t)
{
    hone__optim_ranges(s->o, true, move_values, &(walk){.l = s->l, .t = t});
    hone__model_touch(s->model);
}

/* The loss at origin + t direction, its gradient in that buffer, and the slope along the direction. */
static hone_status evaluate(search *s, double t, int buffer, double *loss, double *slope)
{
    move(s, t);
    *loss = 0;
    hone_status status = s->closure(s->user, loss);
    s->evaluations++;
    if (status != HONE_OK) return status;
    if (!isfinite(*loss)) *loss = INFINITY; /* too far */
    float *g = s->l->gradient[buffer];
    hone__optim_ranges(s->o, true, read_gradient, &(walk){.to = g});
    *slope = dot(s, g, s->l->direction);
    return HONE_OK;
}

/* ---- the line search ---- */

/* A length that was tried. */
typedef struct point {
    double t, loss, slope;
    int gradient;
} point;

/* The minimum of the cubic through two points (Nocedal and Wright, equation 3.59), cut to [low, high]; the middle where
   there is none. */
static double interpolate(const point *p, const point *q, double low, double high)
{
    const point *a = p->t <= q->t ? p : q, *b = p->t <= q->t ? q : p;
    double d1 = a->slope + b->slope - 3 * (a->loss - b->loss) / (a->t - b->t), square = d1 * d1 - a->slope * b->slope;
    if (!(square >= 0)) return (low + high) / 2;
    double d2 = sqrt(square), t = b->t - (b->t - a->t) * ((b->slope + d2 - d1) / (b->slope - a->slope + 2 * d2));
    return isfinite(t) ? HONE_MIN(HONE_MAX(t, low), high) : (low + high) / 2;
}

/* A buffer that neither of two points nor the start needs. */
static int free_buffer(const lbfgs *l, const point *a, const point *b)
{
    int i = 0;
    while (i == l->now || i == a->gradient || i == b->gradient) i++;
    return i;
}

static const double decrease = 1e-4, curvature = 0.9; /* c1 and c2 of the Wolfe conditions */

static bool too_high(const point *start, const point *p) { return p->loss > start->loss + decrease * p->t * start->slope; }
static bool flat_enough(const point *start, const point *p) { return fabs(p->slope) <= -curvature * start->slope; }

/* Algorithm 3.5: lengthens the step until it is good, or a good one lies between bracket[0] and bracket[1]. */
static hone_status find_bracket(search *s, const point *start, double t, int tries, point bracket[2], int *tried, bool *done)
{
    point before = *start, now = {.t = t, .gradient = free_buffer(s->l, start, start)};
    hone_status status = evaluate(s, t, now.gradient, &now.loss, &now.slope);
    *done = false;
    for (*tried = 0; status == HONE_OK && *tried < tries; ++*tried) {
        *done = !too_high(start, &now) && !(*tried > 1 && now.loss >= before.loss) && flat_enough(start, &now);
        bool between = too_high(start, &now) || (*tried > 1 && now.loss >= before.loss) || now.slope >= 0;
        bracket[0] = *done ? now : before, bracket[1] = now;
        if (*done || between) return HONE_OK;
        double next = interpolate(&before, &now, now.t + 0.01 * (now.t - before.t), now.t * 10);
        before = now;
        now = (point){.t = next, .gradient = free_buffer(s->l, &before, &before)};
        status = evaluate(s, next, now.gradient, &now.loss, &now.slope);
    }
    bracket[0] = *start, bracket[1] = now;
    return status;
}

/* Algorithm 3.6: narrows the bracket down to a good step. */
static hone_status zoom(search *s, const point *start, int tries, int tried, double size, point bracket[2], point *found)
{
    int low = bracket[0].loss <= bracket[1].loss ? 0 : 1;
    bool slow = false, done = false;
    for (; !done && tried < tries && fabs(bracket[1].t - bracket[0].t) * size >= s->o->search.tolerance_change; tried++) {
        double left = HONE_MIN(bracket[0].t, bracket[1].t), right = HONE_MAX(bracket[0].t, bracket[1].t), rim = 0.1 * (right - left);
        double t = interpolate(&bracket[0], &bracket[1], left, right);
        bool near = HONE_MIN(right - t, t - left) < rim, pushed = near && (slow || t >= right || t <= left);
        if (pushed) t = fabs(t - right) < fabs(t - left) ? right - rim : left + rim;
        slow = near && !pushed;
        point now = {.t = t, .gradient = free_buffer(s->l, &bracket[0], &bracket[1])};
        hone_status status = evaluate(s, t, now.gradient, &now.loss, &now.slope);
        if (status != HONE_OK) return status;
        if (too_high(start, &now) || now.loss >= bracket[low].loss) {
            bracket[!low] = now;
            low = bracket[0].loss <= bracket[1].loss ? 0 : 1;
            continue;
        }
        done = flat_enough(start, &now);
        if (!done && now.slope * (bracket[!low].t - bracket[low].t) >= 0) bracket[!low] = bracket[low];
        bracket[low] = now;
    }
    *found = bracket[low];
    return HONE_OK;
}

static hone_status line_search(search *s, double t, double loss, double slope, point *found)
{
    point start = {.loss = loss, .slope = slope, .gradient = s->l->now}, bracket[2];
    int tries = s->o->search.max_evaluations - s->evaluations, tried;
    bool done;
    hone_status status = find_bracket(s, &start, t, tries, bracket, &tried, &done);
    if (status == HONE_OK && done) *found = bracket[0];
    if (status == HONE_OK && !done) status = zoom(s, &start, tries, tried, largest(s, s->l->direction), bracket, found);
    return status;
}

/* ---- the direction ---- */

static float *vector(hone_optimizer *o, int64_t n) { return hone__calloc(o->ctx, (size_t)n, sizeof(float)); }

/* Keeps the last step's pair, if the loss curves upwards along it; the oldest makes room. */
static hone_status remember(search *s)
{
    lbfgs *l = s->l;
    pair *p = &l->spare;
    if (!p->y && !(p->y = vector(s->o, l->n))) return s->o->ctx->status;
    if (!p->s && !(p->s = vector(s->o, l->n))) return s->o->ctx->status;
    scaled(s, p->y, l->gradient[l->now], 1);
    add(s, p->y, l->gradient[l->last], -1);
    scaled(s, p->s, l->direction, l->length);
    double ys = dot(s, p->y, p->s);
    if (!(ys > 1e-10)) return HONE_OK;
    p->ro = 1 / ys;
    l->diagonal = ys / dot(s, p->y, p->y);
    pair next = {0};
    if (l->n_pairs == s->o->search.history) {
        next = l->pairs[0];
        memmove(l->pairs, l->pairs + 1, (size_t)--l->n_pairs * sizeof *l->pairs);
    }
    l->pairs[l->n_pairs++] = *p;
    l->spare = next;
    return HONE_OK;
}

/* Algorithm 7.4: minus the inverse Hessian's estimate times the gradient. */
static void set_direction(const search *s)
{
    lbfgs *l = s->l;
    float *d = l->direction;
    scaled(s, d, l->gradient[l->now], -1);
    for (int i = l->n_pairs - 1; i >= 0; i--) {
        l->alpha[i] = dot(s, l->pairs[i].s, d) * l->pairs[i].ro;
        add(s, d, l->pairs[i].y, -l->alpha[i]);
    }
    scaled(s, d, d, l->diagonal);
    for (int i = 0; i < l->n_pairs; i++) add(s, d, l->pairs[i].s, l->alpha[i] - dot(s, l->pairs[i].y, d) * l->pairs[i].ro);
}

/* ---- a step ---- */

static void forget(hone_optimizer *o)
{
    lbfgs *l = o->own;
    for (int i = 0; i < 4; i++) hone__free(o->ctx, l->gradient[i]), l->gradient[i] = NULL;
    for (int i = 0; i < l->n_pairs; i++) hone__free(o->ctx, l->pairs[i].y), hone__free(o->ctx, l->pairs[i].s);
    hone__free(o->ctx, l->spare.y), hone__free(o->ctx, l->spare.s);
    hone__free(o->ctx, l->direction), hone__free(o->ctx, l->origin);
    l->spare = (pair){0};
    l->direction = l->origin = NULL;
    l->n_pairs = 0, l->n = 0, l->iterations = 0;
}
static void release(hone_optimizer *o)
{
    lbfgs *l = o->own;
    if (!l) return;
    forget(o);
    hone__free(o->ctx, l->pairs);
    hone__free(o->ctx, l->alpha);
    hone__free(o->ctx, l->numbers);
    hone__free(o->ctx, l);
}

/* Memory for what is trained now; when that has changed the history is of no use. */
static hone_status need_vectors(hone_optimizer *o)
{
    lbfgs *l = o->own;
    int64_t n = (int64_t)hone__optim_ranges(o, true, count_range, NULL);
    if (l->n == n) return HONE_OK;
    forget(o);
    bool ok = hone__optim_room(o, n) == HONE_OK && (l->direction = vector(o, n)) && (l->origin = vector(o, n));
    for (int i = 0; i < 4 && ok; i++) ok = (l->gradient[i] = vector(o, n)) != NULL;
    if (ok) l->n = n;
    return ok ? HONE_OK : o->ctx->status;
}

static double first_length(const search *s, double rate)
{
    lbfgs *l = s->l;
    s->o->k->unary(HONE__ABS, l->origin, HONE_F32, l->gradient[l->now], HONE_F32, 1, l->n, 0, 0);
    return HONE_MIN(1.0, 1 / s->o->k->reduce(HONE__SUM, l->origin, HONE_F32, 1, l->n)) * rate;
}

/* One iteration; *more: another may follow. */
static hone_status iterate(search *s, double *loss, bool last, bool *more)
{
    lbfgs *l = s->l;
    const hone_lbfgs_opts *opts = &s->o->search;
    double rate = s->o->v.learning_rate, before = *loss;
    *more = false;
    hone_status status = l->iterations++ ? remember(s) : HONE_OK;
    if (status != HONE_OK) return status;
    if (l->iterations == 1) l->diagonal = 1;
    set_direction(s);
    l->last = l->now;
    double t = l->iterations == 1 ? first_length(s, rate) : rate, slope = dot(s, l->gradient[l->now], l->direction);
    l->length = t;
    if (slope > -opts->tolerance_change) return HONE_OK;
    hone__optim_ranges(s->o, true, read_values, &(walk){.to = l->origin});
    point found = {.t = t, .loss = *loss, .gradient = l->now};
    if (!opts->no_line_search) {
        status = line_search(s, t, *loss, slope, &found);
    } else if (!last) {
        found.gradient = (l->now + 1) % 4;
        status = evaluate(s, t, found.gradient, &found.loss, &slope);
    }
    if (status != HONE_OK) found.t = 0;
    move(s, found.t);
    if (status != HONE_OK) return status;
    *loss = found.loss;
    l->now = found.gradient;
    l->length = found.t;
    *more = !last && s->evaluations < opts->max_evaluations && largest(s, l->gradient[l->now]) > opts->tolerance_grad &&
            largest(s, l->direction) * fabs(found.t) > opts->tolerance_change && fabs(*loss - before) >= opts->tolerance_change;
    return HONE_OK;
}

static hone_status minimize(hone_optimizer *o, hone_model *model, hone_closure_fn closure, void *user, double *first)
{
    search s = {.o = o, .model = model, .closure = closure, .user = user, .l = o->own, .evaluations = 1};
    double loss = 0;
    hone_status status = closure(user, &loss);
    if (first) *first = loss;
    if (status == HONE_OK && !isfinite(loss)) status = hone__fail_run(o->ctx, HONE_NUMERIC, "the loss is %g: no step was made", loss);
    if (status == HONE_OK) status = hone__model_want_gradients(model);
    if (status == HONE_OK) status = hone__optimizer_prepare(o, model);
    if (status == HONE_OK) status = need_vectors(o);
    if (status != HONE_OK) return status;
    lbfgs *l = s.l;
    o->steps++;
    if (!l->n) return HONE_OK;
    if (l->iterations) l->now = (l->last + 1) % 4; /* the gradient where the last step ended, anew */
    hone__optim_ranges(o, true, read_gradient, &(walk){.to = l->gradient[l->now]});
    bool more = largest(&s, l->gradient[l->now]) >
                o->search.tolerance_grad;
    for (int i = 1; more && status == HONE_OK; i++) status = iterate(&s, &loss, i == o->search.max_iterations, &more);
    return status;
}

/* ---- files: scalars and each pair's ro; the last gradient and direction; the pairs ---- */

enum { SCALARS = 3 };

static bool kept(const hone_optimizer *o, size_t i, hone__kept *to)
{
    lbfgs *l = o->own;
    if (!o->steps || i > (l->n ? 2 + 2 * (size_t)l->n_pairs : 0)) return false;
    *to = (hone__kept){.dtype = i ? HONE_F32 : HONE_F64, .count = i ? l->n : SCALARS + l->n_pairs};
    if (i == 0) {
        memcpy(l->numbers, (double[SCALARS]){(double)l->iterations, l->length, l->diagonal}, SCALARS * sizeof *l->numbers);
        for (int p = 0; p < l->n_pairs; p++) l->numbers[SCALARS + p] = l->pairs[p].ro;
        strcpy(to->name, "numbers");
        to->data = l->numbers;
    } else if (i < 3) {
        strcpy(to->name, i == 1 ? "gradient" : "direction");
        to->data = i == 1 ? l->gradient[l->last] : l->direction;
    } else {
        const pair *p = &l->pairs[(i - 3) / 2];
        snprintf(to->name, sizeof to->name, "%s.%zu", i % 2 ? "y" : "s", (i - 3) / 2);
        to->data = i % 2 ? p->y : p->s;
    }
    return true;
}

static hone_status make_room(hone_optimizer *o, const double *numbers, size_t n)
{
    lbfgs *l = o->own;
    bool ok = n >= SCALARS && n - SCALARS <= (size_t)o->search.history && numbers[0] >= 0 && numbers[0] < 9e15;
    for (size_t i = 0; i < n && ok; i++) ok = isfinite(numbers[i]);
    if (!ok) return hone__fail(o->ctx, HONE_FORMAT, "lbfgs: the file's state is damaged");
    forget(o);
    hone_status status = need_vectors(o);
    if (status != HONE_OK || !l->n) return status;
    l->iterations = (uint64_t)numbers[0], l->length = numbers[1], l->diagonal = numbers[2];
    l->last = 0;
    for (; l->n_pairs < (int)(n - SCALARS); l->n_pairs++) {
        pair *p = &l->pairs[l->n_pairs];
        *p = (pair){.y = vector(o, l->n), .s = vector(o, l->n), .ro = numbers[SCALARS + l->n_pairs]};
        if (!hone__ok(o->ctx)) return l->n_pairs++, o->ctx->status; /* forget() frees what there is of it */
    }
    return HONE_OK;
}

static hone_optimizer *again(hone_ctx *ctx, const hone_optimizer *like)
{
    hone_lbfgs_opts o = like->search;
    o.struct_size = sizeof o;
    o.learning_rate = hone__given(like->v.learning_rate, 1);
    o.tolerance_grad = hone__given(o.tolerance_grad, 1e-7);
    o.tolerance_change = hone__given(o.tolerance_change, 1e-9);
    return hone_lbfgs_opt(ctx, &o);
}

const hone__rule hone__lbfgs_rule = {.name = "lbfgs", .defaults = {.learning_rate = 1}, .minimize = minimize, .release = release,
                                     .again = again, .kept = kept, .make_room = make_room};

hone_optimizer *hone_lbfgs_opt(hone_ctx *ctx, const hone_lbfgs_opts *opts)
{
    static const hone_lbfgs_opts none = {0};
    if (!opts) opts = &none;
    hone_optimizer *o = hone__optimizer_new(ctx, &hone__lbfgs_rule, &(hone__optim_values){.learning_rate = opts->learning_rate});
    if (!o) return NULL;
    hone_lbfgs_opts all = *opts;
    if (!all.max_iterations) all.max_iterations = 20;
    if (!all.max_evaluations) all.max_evaluations = (int)((int64_t)all.max_iterations * 5 / 4);
    if (!all.history) all.history = 100;
    all.tolerance_grad = hone__choose(all.tolerance_grad, 1e-7);
    all.tolerance_change = hone__choose(all.tolerance_change, 1e-9);
    if (all.max_iterations < 1 || all.max_evaluations < 1 || all.history < 1 || all.history > 1 << 20 ||
        !(all.tolerance_grad >= 0) || !(all.tolerance_change >= 0))
        return hone__optimizer_refuse(o, "max_iterations, max_evaluations and history must be at least 1, tolerances not negative");
    lbfgs *l = o->own = hone__calloc(ctx, 1, sizeof *l);
    if (l) {
        o->search = all;
        l->pairs = hone__calloc(ctx, (size_t)all.history, sizeof *l->pairs);
        l->alpha = l->pairs ? hone__calloc(ctx, (size_t)all.history, sizeof *l->alpha) : NULL;
        l->numbers = l->alpha ? hone__calloc(ctx, (size_t)all.history + SCALARS, sizeof *l->numbers) : NULL;
    }
    if (l && l->numbers) return o;
    hone_optimizer_free(o);
    return NULL;
}
