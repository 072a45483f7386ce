#include "optim/optim.h"

#include <math.h>

hone_optimizer *hone__optimizer_new(hone_ctx *ctx, const hone__rule *rule)
{
    if (!hone__ok(ctx)) return NULL;
    hone_optimizer *o = hone__calloc(ctx, 1, sizeof *o);
    if (!o) return NULL;
    o->ctx = hone_ctx_retain(ctx);
    o->rule = rule;
    o->k = hone__kernels_for(HONE_F32);
    return o;
}

void hone_optimizer_free(hone_optimizer *o)
{
    if (!o) return;
    hone_ctx *ctx = o->ctx;
    for (size_t i = 0; i < o->n_segments; i++)
        for (int s = 0; s < o->rule->states; s++) hone__free(ctx, o->segments[i].state[s]);
    hone__free(ctx, o->segments);
    hone__free(ctx, o);
    hone_ctx_release(ctx);
}

const char *hone_optimizer_name(const hone_optimizer *o) { return o->rule->name; }
double hone_optimizer_learning_rate(const hone_optimizer *o) { return o->learning_rate; }
void hone_optimizer_set_learning_rate(hone_optimizer *o, double learning_rate) { o->learning_rate = learning_rate; }
uint64_t hone_optimizer_steps(const hone_optimizer *o) { return o->steps; }

hone_status hone__optimizer_prepare(hone_optimizer *o, hone_model *model)
{
    for (const hone__segment *s = model->segments; s; s = s->next) {
        bool known = false;
        for (size_t i = 0; i < o->n_segments; i++) known |= o->segments[i].segment == s;
        if (known) continue;
        if (!hone__grow(o->ctx, (void **)&o->segments, &o->segments_capacity, o->n_segments + 1, sizeof *o->segments))
            return o->ctx->status;
        hone__optim_segment *segment = &o->segments[o->n_segments];
        *segment = (hone__optim_segment){.segment = s};
        for (int i = 0; i < o->rule->states; i++) {
            const struct hone__rule_state *state = &o->rule->state[i];
            segment->state[i] = hone__calloc(o->ctx, 1, hone__dtype_bytes(state->dtype, s->count / state->per));
            if (segment->state[i]) continue;
            while (i-- > 0) hone__free(o->ctx, segment->state[i]);
            return o->ctx->status;
        }
        o->n_segments++;
    }
    return HONE_OK;
}

/* Work comes in pieces of fixed size, so that the norm's order of summation does not depend on threads. */
enum { PIECE = 1 << 16 };

typedef struct range {
    int64_t begin, end; /* of a segment, elements */
} range;

/* Merged ranges of what is trained now: all of the segment unless something in it was frozen later. */
static size_t trained_ranges(const hone__segment *s, range *ranges)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_params; i++) {
        const hone_param *p = s->params[i];
        if (!p->v.trainable) continue;
        int64_t begin = p->offset, end = i + 1 < s->n_params ? s->params[i + 1]->offset : s->count;
        if (n && ranges[n - 1].end == begin)
            ranges[n - 1].end = end;
        else
            ranges[n++] = (range){begin, end};
    }
    return n;
}

typedef struct job {
    hone_optimizer *o;
    const hone__optim_segment *segment;
    range range;
    double scale;
    double *sums;
} job;

static void sum_pieces(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    for (int64_t p = begin; p < end; p++) {
        int64_t from = j->range.begin + p * PIECE, to = HONE_MIN(j->range.end, from + PIECE);
        j->sums[p] = j->o->k->sumsq(j->segment->segment->grads + from, to - from);
    }
}

static void update_pieces(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    for (int64_t p = begin; p < end; p++) {
        int64_t from = j->range.begin + p * PIECE, to = HONE_MIN(j->range.end, from + PIECE);
        void *state[HONE__OPTIM_STATES] = {0};
        for (int s = 0; s < j->o->rule->states; s++) state[s] = hone__optim_state(j->o, j->segment, s, from);
        j->o->rule->update(j->o, j->segment->segment->values + from, j->segment->segment->grads + from, state, to - from,
                           j->scale);
    }
}

static int64_t pieces(range r) { return (r.end - r.begin + PIECE - 1) / PIECE; }

/* fn over every piece of every trained range; sums (when wanted) gathered in order into *total. */
static hone_status each_piece(hone_optimizer *o, hone__range_fn fn, double scale, double *total)
{
    for (size_t i = 0; i < o->n_segments; i++) {
        const hone__optim_segment *segment = &o->segments[i];
        range *ranges = hone__alloc(o->ctx, segment->segment->n_params * sizeof *ranges);
        double *sums = hone__alloc(o->ctx, (size_t)(segment->segment->count / PIECE + 1) * sizeof *sums);
        size_t n = ranges && sums ? trained_ranges(segment->segment, ranges) : 0;
        for (size_t r = 0; r < n; r++) {
            job j = {o, segment, ranges[r], scale, sums};
            hone__parallel_for(o->ctx, pieces(ranges[r]), 1, fn, &j);
            for (int64_t p = 0; total && p < pieces(ranges[r]); p++) *total += sums[p];
        }
        hone__free(o->ctx, ranges);
        hone__free(o->ctx, sums);
        if (!hone__ok(o->ctx)) return o->ctx->status;
    }
    return HONE_OK;
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
    double each = 0; /* bytes of state a parameter has */
    for (int k = 0; k < o->rule->states; k++)
        each += (double)hone__dtype_bytes(o->rule->state[k].dtype, 1) / (double)o->rule->state[k].per;
    for (size_t i = 0; i < o->n_segments; i++) {
        const hone__segment *s = o->segments[i].segment;
        kept += (size_t)((double)s->count * each);
        for (size_t k = 0; k < s->n_params; k++)
            if (s->params[k]->v.trainable) count += hone_shape_count(s->params[k]->v.shape);
    }
    double once = (double)count * sizeof(float), updated = once * 3 + (double)count * 2 * each;
    hone__profile_span(o->ctx, o->rule->name, began, &(hone__work){.bytes = updated + once, .updated = updated}, kept);
}

hone_status hone_optimizer_step_opt(hone_optimizer *o, hone_model *model, double *grad_norm, const hone_step_opts *opts)
{
    if (!hone__ok(o->ctx)) return o->ctx->status;
    hone_status status = hone__model_want_gradients(model);
    if (status == HONE_OK) status = hone__optimizer_prepare(o, model);
    double total = 0, scale = 1, began = hone__profile_clock(o->ctx);
    if (status == HONE_OK) status = each_piece(o, sum_pieces, 1, &total);
    if (status != HONE_OK) return status;
    double norm = sqrt(total);
    if (grad_norm) *grad_norm = norm;
    if (!isfinite(norm)) {
        const hone_param *p = first_nonfinite(o);
        return hone__fail_run(o->ctx, HONE_NUMERIC, "the gradient%s%s%s is not finite: no step was made", p ? " of '" : "",
                              p ? p->name : "", p ? "'" : "");
    }
    /* torch.nn.utils.clip_grad_norm_'s formula, its 1e-6 included */
    if (opts && opts->max_grad_norm > 0) scale = HONE_MIN(1.0, opts->max_grad_norm / (norm + 1e-6));
    o->steps++;
    status = each_piece(o, update_pieces, scale, NULL);
    hone__model_touch(model);
    if (began > 0) tell_profile(o, began);
    return status;
}
