#include "optim/optim.h"

#include <math.h>

/* ---- making one ---- */

hone_optimizer *hone__optimizer_refuse(hone_optimizer *o, const char *why)
{
    hone__fail(o->ctx, HONE_INVALID, "%s: %s", o->rule->name, why);
    hone_optimizer_free(o);
    return NULL;
}

hone_optimizer *hone__optimizer_new(hone_ctx *ctx, const hone__rule *rule, const hone__optim_values *given)
{
    if (!hone__ok(ctx)) return NULL;
    hone_optimizer *o = hone__calloc(ctx, 1, sizeof *o);
    if (!o) return NULL;
    o->ctx = hone_ctx_retain(ctx);
    o->rule = rule;
    o->decoupled = rule->decoupled;
    o->product = 1;
    o->k = hone__kernels_for(HONE_F32);
    hone__optim_values *v = &o->v;
    *v = (hone__optim_values){.learning_rate = hone__choose(given->learning_rate, rule->defaults.learning_rate),
                              .weight_decay = hone__choose(given->weight_decay, rule->defaults.weight_decay),
                              .momentum = hone__choose(given->momentum, rule->defaults.momentum),
                              .beta1 = hone__choose(given->beta1, rule->defaults.beta1),
                              .beta2 = hone__choose(given->beta2, rule->defaults.beta2),
                              .epsilon = hone__choose(given->epsilon, rule->defaults.epsilon)};
    if (!(v->learning_rate >= 0 && v->weight_decay >= 0 && v->momentum >= 0 && v->epsilon >= 0))
        return hone__optimizer_refuse(o, "learning_rate, weight_decay, momentum and epsilon must not be negative");
    if (!(v->beta1 >= 0 && v->beta1 < 1 && v->beta2 >= 0 && v->beta2 < 1))
        return hone__optimizer_refuse(o, "betas must be in [0, 1)");
    if (hone__grow(ctx, (void **)&o->groups, &o->groups_capacity, 1, sizeof *o->groups)) {
        o->groups[o->n_groups++] = (hone__optim_group){0};
        return o;
    }
    hone_optimizer_free(o);
    return NULL;
}

static void free_segment(hone_ctx *ctx, hone__optim_segment *segment)
{
    for (int s = 0; s < HONE__OPTIM_STATES; s++) hone__free(ctx, segment->state[s]), hone__free(ctx, segment->begin[s]);
    hone__free(ctx, segment->group);
}

void hone_optimizer_free(hone_optimizer *o)
{
    if (!o) return;
    hone_ctx *ctx = o->ctx;
    if (o->rule->release) o->rule->release(o);
    for (size_t i = 0; i < o->n_segments; i++) free_segment(ctx, &o->segments[i]);
    for (size_t i = 0; i < o->n_groups; i++) hone__free(ctx, o->groups[i].pattern);
    hone__free(ctx, o->segments);
    hone__free(ctx, o->groups);
    hone__free(ctx, o->sums);
    hone__free(ctx, o->scratch);
    hone__free(ctx, o);
    hone_ctx_release(ctx);
}

const char *hone_optimizer_name(const hone_optimizer *o) { return o ? o->rule->name : NULL; }
double hone_optimizer_learning_rate(const hone_optimizer *o) { return o ? o->v.learning_rate : NAN; }
void hone_optimizer_set_learning_rate(hone_optimizer *o, double learning_rate) { if (o) o->v.learning_rate = learning_rate; }
uint64_t hone_optimizer_steps(const hone_optimizer *o) { return o ? o->steps : 0; }

/* ---- groups ---- */

/* * stands for any characters, ? for one. */
static bool matches(const char *pattern, const char *name)
{
    const char *star = NULL, *from = NULL;
    while (*name) {
        if (*pattern == '*')
            star = pattern++, from = name;
        else if (*pattern == *name || *pattern == '?')
            pattern++, name++;
        else if (star)
            pattern = star + 1, name = ++from;
        else
            return false;
    }
    while (*pattern == '*') pattern++;
    return !*pattern;
}

static void find_groups(hone_optimizer *o, hone__optim_segment *segment)
{
    for (size_t i = 0; i < segment->segment->n_params; i++) {
        const char *name = segment->segment->params[i]->name;
        segment->group[i] = 0;
        for (size_t g = 1; g < o->n_groups; g++) {
            const char *pattern = o->groups[g].pattern;
            bool hit = strpbrk(pattern, "*?") ? matches(pattern, name) : !strncmp(name, pattern, strlen(pattern));
            if (!hit) continue;
            segment->group[i] = (int)g;
            o->groups[g].matched = true;
        }
    }
}

hone_status hone_optimizer_group_opt(hone_optimizer *o, const char *pattern, const hone_group_opts *opts)
{
    static const hone_group_opts none = {0};
    if (!o) return HONE_INVALID;
    if (!hone__ok(o->ctx)) return o->ctx->status;
    if (!opts) opts = &none;
    if (o->rule->minimize) return hone__fail(o->ctx, HONE_INVALID, "%s takes no parameter groups", o->rule->name);
    if (o->n_segments) return hone__fail(o->ctx, HONE_STATE, "parameter groups come before the first step");
    bool ok = hone__choose(opts->learning_rate_factor, 1) >= 0 && hone__choose(opts->weight_decay, 0) >= 0 && opts->max_norm >= 0 &&
              opts->l1 >= 0 && opts->l2 >= 0 && opts->min_norm >= 0 && opts->norm_rate >= 0 && opts->norm_rate <= 1;
    bool bounded = opts->max_norm > 0 || opts->min_norm > 0;
    if (!pattern || !pattern[0] || !ok || (bounded && opts->unit_norm) || (opts->max_norm > 0 && opts->min_norm > opts->max_norm))
        return hone__fail(o->ctx, HONE_INVALID, "a parameter group needs a pattern; learning_rate_factor, weight_decay, l1, l2, "
                                                "min_norm and max_norm must not be negative, norm_rate is at most 1, min_norm at "
                                                "most max_norm, and both exclude unit_norm");
    if (!hone__grow(o->ctx, (void **)&o->groups, &o->groups_capacity, o->n_groups + 1, sizeof *o->groups)) return o->ctx->status;
    hone__optim_group group = {.pattern = hone__strdup(o->ctx, pattern), .opts = *opts};
    if (!group.pattern) return o->ctx->status;
    o->groups[o->n_groups++] = group;
    return HONE_OK;
}

/* ---- state ---- */

hone_status hone__optim_scratch(hone_optimizer *o, size_t bytes)
{
    return hone__grow(o->ctx, &o->scratch, &o->scratch_capacity, bytes, 1) ? HONE_OK : o->ctx->status;
}

/* Work comes in pieces of fixed size, so that the order of summation does not depend on threads. They are small, so that threads
   end together whatever parameters the caches still hold. */
enum {
    PIECE = 1 << 14,
    LARGE = 1 << 17 /* elements of a parameter that are worth a division of their own among threads */
};

hone_status hone__optim_room(hone_optimizer *o, int64_t count)
{
    size_t n = (size_t)(count / PIECE) + 1;
    return hone__grow(o->ctx, (void **)&o->sums, &o->sums_capacity, n, sizeof *o->sums) ? HONE_OK : o->ctx->status;
}

static hone_status make_state(hone_optimizer *o, hone__optim_segment *segment, int s)
{
    const struct hone__rule_state *state = &o->rule->state[s];
    const hone__segment *of = segment->segment;
    int64_t count = of->count / state->per;
    if (o->rule->shape) {
        count = 0;
        segment->begin[s] = hone__alloc(o->ctx, of->n_params * sizeof *segment->begin[s]);
        for (size_t i = 0; segment->begin[s] && i < of->n_params; i++) {
            segment->begin[s][i] = count;
            int64_t n = hone_shape_count(hone__optim_state_shape(o, segment, s, i));
            count += (int64_t)hone__align((size_t)n * sizeof(float)) / (int64_t)sizeof(float);
        }
    }
    size_t bytes = hone__dtype_bytes(state->dtype, count);
    segment->state[s] = hone__ok(o->ctx) ? hone__calloc(o->ctx, 1, bytes) : NULL;
    if (!segment->state[s]) return o->ctx->status;
    segment->state_bytes += bytes;
    for (int64_t e = 0; o->initial != 0 && e < count; e++) ((float *)segment->state[s])[e] = (float)o->initial;
    return HONE_OK;
}

static hone_status add_segment(hone_optimizer *o, const hone__segment *s)
{
    hone__optim_segment segment = {.segment = s};
    hone_status status = HONE_OK;
    if (!hone__grow(o->ctx, (void **)&o->segments, &o->segments_capacity, o->n_segments + 1, sizeof *o->segments) ||
        hone__optim_room(o, s->count) != HONE_OK ||
        !(segment.group = hone__alloc(o->ctx, s->n_params * sizeof *segment.group)))
        status = o->ctx->status;
    else
        find_groups(o, &segment);
    for (int i = 0; i < o->rule->states && status == HONE_OK; i++) status = make_state(o, &segment, i);
    for (size_t i = 0; i < s->n_params && status == HONE_OK && o->rule->prepare; i++)
        status = o->rule->prepare(o, s->params[i]->v.shape, &o->groups[segment.group[i]].opts);
    if (status != HONE_OK) {
        free_segment(o->ctx, &segment);
        return status;
    }
    o->segments[o->n_segments++] = segment;
    return HONE_OK;
}

hone_status hone__optimizer_prepare(hone_optimizer *o, hone_model *model)
{
    for (const hone__segment *s = model->segments; s; s = s->next) {
        bool known = false;
        for (size_t i = 0; i < o->n_segments; i++) known |= o->segments[i].segment == s;
        hone_status status = known ? HONE_OK : add_segment(o, s);
        if (status != HONE_OK) return status;
    }
    for (size_t g = 1; g < o->n_groups; g++)
        if (!o->groups[g].matched)
            return hone__fail(o->ctx, HONE_NOT_FOUND, "no trained parameter matches '%s', the pattern of a parameter group",
                              o->groups[g].pattern);
    return HONE_OK;
}

/* ---- going through parameters ---- */

typedef struct pieces {
    double *sums;
    int64_t count;
    hone__piece_fn fn;
    void *arg;
} pieces;
static void run_pieces(void *arg, int thread, int64_t begin, int64_t end)
{
    (void)thread;
    const pieces *p = arg;
    for (int64_t i = begin; i < end; i++) p->sums[i] = p->fn(p->arg, i * PIECE, HONE_MIN(p->count, (i + 1) * PIECE));
}

double hone__optim_pieces(hone_optimizer *o, int64_t count, hone__piece_fn fn, void *arg)
{
    int64_t n = (count + PIECE - 1) / PIECE;
    double total = 0;
    hone__parallel_share(n, 1, o->ctx->threads, run_pieces, &(pieces){o->sums, count, fn, arg});
    for (int64_t i = 0; i < n; i++) total += o->sums[i];
    return total;
}

/* Parameters side by side are one range unless one was frozen later, has another group, or is large: threads divide that as
   they divided the product that made its gradient, so that each finds its share in its own cache. */
double hone__optim_ranges(hone_optimizer *o, bool all, hone__segment_fn fn, void *arg)
{
    double total = 0;
    for (size_t i = 0; i < o->n_segments; i++) {
        const hone__segment *s = o->segments[i].segment;
        const int *group = o->segments[i].group;
        for (size_t p = 0, q; p < s->n_params; p = q) {
            q = p + 1;
            if (!s->params[p]->v.trainable) continue;
            while (q < s->n_params && s->params[q]->v.trainable && (all || group[q] == group[p]) &&
                   hone_shape_count(s->params[q]->v.shape) < LARGE)
                q++;
            int64_t end = q < s->n_params ? s->params[q]->offset : s->count;
            total += fn(o, &o->segments[i], group[p], s->params[p]->offset, end, arg);
        }
    }
    return total;
}

/* ---- a step ---- */

typedef struct job {
    hone_optimizer *o;
    const hone__optim_segment *segment;
    const hone__optim_group *group;
    int64_t begin;
    double limit;
} job;

static double sum_piece(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    return j->o->k->sumsq(j->segment->segment->grads + j->begin + begin, end - begin);
}
static double sum_range(hone_optimizer *o, const hone__optim_segment *segment, int group, int64_t begin, int64_t end, void *arg)
{
    (void)group, (void)arg;
    return hone__optim_pieces(o, end - begin, sum_piece, &(job){.o = o, .segment = segment, .begin = begin});
}

/* The gradient of l1 sum |w| + l2 sum w^2. */
static double regularize_piece(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    enum { SIGNS = 1024 };
    float *g = j->segment->segment->grads + j->begin, sign[SIGNS];
    const float *w = j->segment->segment->values + j->begin;
    for (int64_t at = begin, n; at < end; at += n) {
        n = HONE_MIN(end - at, (int64_t)SIGNS);
        j->o->k->unary(HONE__SIGN, sign, HONE_F32, w + at, HONE_F32, 1, n, 0, 0);
        j->o->k->axpy(g + at, sign, HONE_F32, j->group->opts.l1, n);
        j->o->k->axpy(g + at, w + at, HONE_F32, 2 * j->group->opts.l2, n);
    }
    return 0;
}
static double regularize_range(hone_optimizer *o, const hone__optim_segment *segment, int group, int64_t begin, int64_t end, void *arg)
{
    (void)arg;
    const hone__optim_group *g = &o->groups[group];
    if (g->opts.l1 == 0 && g->opts.l2 == 0) return 0;
    return hone__optim_pieces(o, end - begin, regularize_piece, &(job){.o = o, .segment = segment, .group = g, .begin = begin});
}

static double clip_piece(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    float *g = j->segment->segment->grads + j->begin + begin;
    j->o->k->unary(HONE__CLAMP, g, HONE_F32, g, HONE_F32, 1, end - begin, -j->limit, j->limit);
    return 0;
}
static double clip_range(hone_optimizer *o, const hone__optim_segment *segment, int group, int64_t begin, int64_t end, void *arg)
{
    (void)group;
    return hone__optim_pieces(o, end - begin, clip_piece, &(job){.o = o, .segment = segment, .begin = begin, .limit = *(double *)arg});
}

static double update_piece(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    const hone__rule *rule = j->o->rule;
    int64_t from = j->begin + begin, n = end - begin;
    float *values = j->segment->segment->values + from;
    const float *grads = j->segment->segment->grads + from;
    void *state[HONE__OPTIM_STATES] = {0};
    for (int s = 0; s < rule->states; s++)
        state[s] = (char *)j->segment->state[s] + hone__dtype_bytes(rule->state[s].dtype, from / rule->state[s].per);
    if (rule->update)
        rule->update(j->o, j->group, values, grads, state, n);
    else
        j->o->k->optim(&j->group->step, values, grads, state, n);
    return 0;
}
static double update_range(hone_optimizer *o, const hone__optim_segment *segment, int group, int64_t begin, int64_t end, void *arg)
{
    (void)arg;
    return hone__optim_pieces(o, end - begin, update_piece,
                              &(job){.o = o, .segment = segment, .group = &o->groups[group], .begin = begin});
}

static hone_status update_parameters(hone_optimizer *o)
{
    for (size_t i = 0; i < o->n_segments; i++)
        for (size_t p = 0; p < o->segments[i].segment->n_params; p++) {
            const hone_param *param = o->segments[i].segment->params[p];
            if (!param->v.trainable || !hone_shape_count(param->v.shape)) continue;
            hone_status status = o->rule->parameter(o, &o->segments[i], p);
            if (status != HONE_OK) return status;
        }
    return HONE_OK;
}

/* What the step under way is for each group. */
static void set_constants(hone_optimizer *o, double scale)
{
    for (size_t i = 0; i < o->n_groups; i++) {
        hone__optim_group *g = &o->groups[i];
        double rate = g->learning_rate = o->v.learning_rate * hone__choose(g->opts.learning_rate_factor, 1);
        double decay = g->weight_decay = hone__choose(g->opts.weight_decay, o->v.weight_decay);
        g->step = (hone__optim_step){.kind = o->rule->kind, .scale = scale, .decay = o->decoupled ? 0 : decay,
                                     .keep = o->decoupled ? 1 - rate * decay : 1, .rate = rate, .beta1 = o->v.beta1,
                                     .beta2 = o->v.beta2, .root = 1, .epsilon = o->v.epsilon, .momentum = o->v.momentum};
        if (o->rule->constants) o->rule->constants(o, &g->step);
    }
}

/* The L2 norm that a unit of norm `norm` is to have. */
static double wanted_norm(const hone_group_opts *opts, double norm)
{
    if (opts->unit_norm) return 1;
    double want = HONE_MAX(norm, opts->min_norm), rate = opts->norm_rate > 0 ? opts->norm_rate : 1;
    if (opts->max_norm > 0) want = HONE_MIN(want, opts->max_norm);
    return rate * want + (1 - rate) * norm;
}

/* keras.constraints; epsilon is theirs. */
static void constrain(const hone_optimizer *o, const hone_group_opts *opts, const hone_param *p)
{
    float *w = p->segment->values + p->offset;
    int64_t count = hone_shape_count(p->v.shape), units = p->v.shape.rank > 1 ? p->v.shape.dim[0] : 1;
    if (opts->non_negative) o->k->unary(HONE__RELU, w, HONE_F32, w, HONE_F32, 1, count, 0, 0);
    bool scales = opts->max_norm > 0 || opts->min_norm > 0 || opts->unit_norm;
    for (int64_t i = 0, n = units ? count / units : 0; i < units && scales; i++) {
        double norm = sqrt(o->k->sumsq(w + i * n, n)), want = wanted_norm(opts, norm);
        if (opts->unit_norm || norm > want || norm < want)
            o->k->unary(HONE__AFFINE, w + i * n, HONE_F32, w + i * n, HONE_F32, 1, n, want / (norm + 1e-7), 0);
    }
}
static void constrain_all(const hone_optimizer *o)
{
    for (size_t i = 0; i < o->n_segments && o->n_groups > 1; i++)
        for (size_t p = 0; p < o->segments[i].segment->n_params; p++)
            if (o->segments[i].segment->params[p]->v.trainable)
                constrain(o, &o->groups[o->segments[i].group[p]].opts, o->segments[i].segment->params[p]);
}

/* The first parameter whose gradient is not finite; NULL when only their sum is not. */
static const hone_param *first_nonfinite(const hone_optimizer *o)
{
    for (size_t i = 0; i < o->n_segments; i++)
        for (size_t k = 0; k < o->segments[i].segment->n_params; k++) {
            const hone_param *p = o->segments[i].segment->params[k];
            for (int64_t e = 0; p->v.trainable && e < hone_shape_count(p->v.shape); e++)
                if (!isfinite(p->segment->grads[p->offset + e])) return p;
        }
    return NULL;
}

/* What a step reads and writes: the gradient for its norm, then parameter, gradient and states. */
static void tell_profile(const hone_optimizer *o, double began)
{
    int64_t count = 0;
    size_t kept = 0;
    double states = 0; /* of what is trained now */
    for (size_t i = 0; i < o->n_segments; i++) {
        const hone__segment *s = o->segments[i].segment;
        int64_t trained = 0;
        for (size_t k = 0; k < s->n_params; k++)
            if (s->params[k]->v.trainable) trained += hone_shape_count(s->params[k]->v.shape);
        kept += o->segments[i].state_bytes;
        count += trained;
        states += (double)o->segments[i].state_bytes * (double)trained / (double)HONE_MAX(s->count, (int64_t)1);
    }
    double once = (double)count * sizeof(float), updated = once * 3 + 2 * states;
    hone__profile_span(o->ctx, o->rule->name, began, &(hone__work){.bytes = updated + once, .updated = updated}, kept);
}

hone_status hone_optimizer_step_opt(hone_optimizer *o, hone_model *model, double *grad_norm, const hone_step_opts *opts)
{
    if (!o || !model) return HONE_INVALID;
    if (!hone__ok(o->ctx)) return o->ctx->status;
    if (o->rule->minimize)
        return hone__fail_run(o->ctx, HONE_STATE, "%s evaluates the loss itself: call hone_optimizer_minimize", o->rule->name);
    hone_status status = hone__model_want_gradients(model);
    if (status == HONE_OK) status = hone__optimizer_prepare(o, model);
    if (status != HONE_OK) return status;
    double scale = 1, began = hone__profile_clock(o->ctx);
    if (o->n_groups > 1) hone__optim_ranges(o, false, regularize_range, NULL);
    double norm = sqrt(hone__optim_ranges(o, true, sum_range, NULL));
    if (grad_norm) *grad_norm = norm;
    if (!isfinite(norm)) {
        const hone_param *p = first_nonfinite(o);
        return hone__fail_run(o->ctx, HONE_NUMERIC, "the gradient%s%s%s is not finite: no step was made", p ? " of '" : "",
                              p ? p->name : "", p ? "'" : "");
    }
    bool by_norm = opts && opts->max_grad_norm > 0;
    if (opts && opts->max_grad_value > 0) {
        double limit = opts->max_grad_value;
        hone__optim_ranges(o, true, clip_range, &limit);
        if (by_norm) norm = sqrt(hone__optim_ranges(o, true, sum_range, NULL));
    }
    /* torch.nn.utils.clip_grad_norm_'s formula, its 1e-6 included */
    if (by_norm) scale = HONE_MIN(1.0, opts->max_grad_norm / (norm + 1e-6));
    o->steps++;
    set_constants(o, scale);
    if (o->rule->parameter)
        status = update_parameters(o);
    else
        hone__optim_ranges(o, false, update_range, NULL);
    constrain_all(o);
    hone__model_touch(model);
    if (began > 0) tell_profile(o, began);
    return status;
}

hone_status hone_optimizer_minimize_opt(hone_optimizer *o, hone_model *model, hone_closure_fn closure, void *user, double *loss,
                                        const hone_step_opts *opts)
{
    if (!o || !model) return HONE_INVALID;
    if (!hone__ok(o->ctx)) return o->ctx->status;
    if (!closure) return hone__fail_run(o->ctx, HONE_INVALID, "%s: a function is wanted that leaves gradients, not NULL", o->rule->name);
    if (o->rule->minimize) {
        if (opts && (opts->max_grad_norm > 0 || opts->max_grad_value > 0))
            return hone__fail_run(o->ctx, HONE_INVALID, "%s needs the gradient as it is: it cannot be clipped", o->rule->name);
        return o->rule->minimize(o, model, closure, user, loss);
    }
    double value = 0;
    hone_status status = closure(user, &value);
    if (loss) *loss = value;
    if (status == HONE_OK && !isfinite(value)) status = hone__fail_run(o->ctx, HONE_NUMERIC, "the loss is %g: no step was made", value);
    return status == HONE_OK ? hone_optimizer_step_opt(o, model, NULL, opts) : status;
}
