/* Choosing the next token. */
#include "hone/llm.h"
#include "kernel/table.h"

#include <math.h>

struct hone_sampler {
    hone_ctx *ctx;
    hone_sampler_opts opts;
    uint64_t key;
    int32_t *order; /* [V] candidates: a heap at the front, the chosen ones behind it */
    double *weight; /* [V] by order: exp((logit - max) / temperature) */
    size_t order_room, weight_room;
};

hone_sampler *hone_sampler_new_opt(hone_ctx *ctx, const hone_sampler_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    hone_sampler_opts o = {0};
    if (opts) memcpy(&o, opts, HONE_MIN(opts->struct_size, sizeof o));
    if (!(o.temperature >= 0) || !isfinite(o.temperature)) {
        hone__fail(ctx, HONE_INVALID, "sampler: temperature is %g; 0 (greedy) or more is allowed",
                   (double)o.temperature);
        return NULL;
    }
    if (o.top_k < 0 || !(o.top_p >= 0 && o.top_p <= 1)) {
        hone__fail(ctx, HONE_INVALID,
                   "sampler: top_k is %lld and top_p %g; top_k >= 0 and 0 <= top_p <= 1 are allowed",
                   (long long)o.top_k, (double)o.top_p);
        return NULL;
    }
    if (!(o.min_p >= 0 && o.min_p <= 1)) return hone__fail(ctx, HONE_INVALID, "sampler: min_p is %g; 0 to 1 are allowed", (double)o.min_p), NULL;
    hone_sampler *s = hone__calloc(ctx, 1, sizeof *s);
    if (!s) return NULL;
    s->ctx = ctx;
    s->opts = o;
    s->key = hone__key(o.seed, hone__hash("sampler", 7, 0));
    return s;
}

void hone_sampler_free(hone_sampler *s)
{
    if (!s) return;
    hone__free(s->ctx, s->order);
    hone__free(s->ctx, s->weight);
    hone__free(s->ctx, s);
}

/* The larger logit goes first, of equal ones the lower id. */
static bool before(const float *logits, int32_t a, int32_t b)
{
    return logits[a] > logits[b] || (!(logits[a] < logits[b]) && a < b);
}

static void sift_down(int32_t *heap, int64_t size, int64_t at, const float *logits)
{
    int32_t value = heap[at];
    for (int64_t child; (child = 2 * at + 1) < size; at = child) {
        child += child + 1 < size && before(logits, heap[child + 1], heap[child]);
        if (!before(logits, heap[child], value)) break;
        heap[at] = heap[child];
    }
    heap[at] = value;
}

/* The best of the heap's `size` candidates goes behind the others. */
static int32_t take_best(int32_t *heap, int64_t size, const float *logits)
{
    int32_t best = heap[0];
    heap[0] = heap[size - 1];
    heap[size - 1] = best;
    sift_down(heap, size - 1, 0, logits);
    return best;
}

/* Draws from `weights` of candidates 0, 1, ...; total is their sum. */
static int64_t draw(const hone_sampler *s, int64_t count, double total, uint64_t position)
{
    double left = (double)hone__random_uniform(s->key, position) * total;
    for (int64_t i = 0; i < count - 1; i++) {
        left -= s->weight[i];
        if (left < 0) return i;
    }
    return count - 1;
}

hone_status hone_sampler_next(hone_sampler *s, const float *logits, int64_t count, uint64_t position,
                              int32_t *id)
{
    if (!s) return HONE_INVALID;
    hone_ctx *ctx = s->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    if (count <= 0 || count > INT32_MAX)
        return hone__fail_run(ctx, HONE_INVALID, "sampler: %lld logits", (long long)count);
    const hone__kernels *k = hone__kernels_for(HONE_F32);
    int64_t best = k->argmax(logits, 1, count);
    if (!isfinite(logits[best]) || !isfinite(k->reduce(HONE__MIN, logits, HONE_F32, 1, count))) {
        int64_t i = 0;
        while (isfinite(logits[i])) i++;
        return hone__fail_run(ctx, HONE_NUMERIC, "sampler: logit %lld of position %llu is %g", (long long)i,
                              (unsigned long long)position, (double)logits[i]);
    }
    *id = (int32_t)best;
    if (!(s->opts.temperature > 0) || s->opts.top_k == 1) return HONE_OK;

    bool cut_p = s->opts.top_p > 0 && s->opts.top_p < 1;
    int64_t top_k = s->opts.top_k > 0 && s->opts.top_k < count ? s->opts.top_k : count, kept = top_k;
    if (!hone__grow(ctx, (void **)&s->order, &s->order_room, (size_t)count, sizeof *s->order) ||
        !hone__grow(ctx, (void **)&s->weight, &s->weight_room, (size_t)count, sizeof *s->weight))
        return ctx->status;
    double scale = 1.0 / (double)s->opts.temperature, top = (double)logits[best], total = 0;
    const double least = (double)s->opts.min_p; /* of weights: the best one is 1 */
    for (int64_t i = 0; i < count; i++) s->order[i] = (int32_t)i;
    if (top_k == count && !cut_p) { /* nobody is left out for others, so no order is needed */
        int64_t n = 0;
        for (int64_t i = 0; i < count; i++) {
            double weight = exp(((double)logits[i] - top) * scale);
            if (weight < least) continue;
            total += s->weight[n] = weight;
            s->order[n++] = (int32_t)i;
        }
        *id = s->order[draw(s, n, total, position)];
        return HONE_OK;
    }
    /* The i-th best candidate ends at order[count - 1 - i]. */
    for (int64_t i = count / 2; i-- > 0;) sift_down(s->order, count, i, logits);
    double limit = 0;
    if (top_k == count) {
        for (int64_t i = 0; i < count; i++) limit += exp(((double)logits[i] - top) * scale);
    } else {
        for (int64_t i = 0; i < top_k; i++) {
            int32_t next = take_best(s->order, count - i, logits);
            limit += s->weight[i] = exp(((double)logits[next] - top) * scale);
        }
    }
    limit *= cut_p ? (double)s->opts.top_p : 1;
    for (int64_t i = 0; i < top_k; i++) {
        if (top_k == count) {
            int32_t next = take_best(s->order, count - i, logits);
            s->weight[i] = exp(((double)logits[next] - top) * scale);
        }
        if (s->weight[i] < least) {
            kept = i;
            break;
        }
        total += s->weight[i];
        if (cut_p && total >= limit) {
            kept = i + 1;
            break;
        }
    }
    *id = s->order[count - 1 - draw(s, kept, total, position)];
    return HONE_OK;
}
