/* A model's values, and its optimizer's state, in memory. */
#include "train/train.h"

typedef struct piece {
    hone_param *param;
    void *values;
    size_t bytes;
} piece;

struct hone__snapshot {
    hone_model *model;
    size_t n_pieces, n_states;
    piece *pieces;
    bool optimizer;
    double learning_rate;
    uint64_t steps;
    void *(*states)[HONE__OPTIM_STATES]; /* of each segment of the optimizer */
    void **kept; /* what its rule keeps beside them; the first are `numbers` */
    size_t n_kept, n_numbers;
};

static size_t state_bytes(const hone_optimizer *o, size_t segment, int k)
{
    const struct hone__rule_state *state = &o->rule->state[k];
    const hone__optim_segment *s = &o->segments[segment];
    size_t last = s->segment->n_params - 1;
    int64_t count = s->segment->count / state->per;
    if (o->rule->shape) count = s->begin[k][last] + hone_shape_count(hone__optim_state_shape(o, s, k, last));
    return hone__dtype_bytes(state->dtype, count);
}

static void *copy(hone_ctx *ctx, const void *from, size_t bytes)
{
    void *to = hone__alloc(ctx, bytes);
    if (to) memcpy(to, from, bytes);
    return to;
}

static bool take_optimizer(hone__snapshot *s)
{
    const hone_optimizer *o = hone_model_optimizer(s->model);
    hone_ctx *ctx = s->model->ctx;
    s->learning_rate = o->v.learning_rate;
    s->steps = o->steps;
    if (!(s->states = hone__calloc(ctx, o->n_segments + 1, sizeof *s->states))) return false;
    for (; s->n_states < o->n_segments; s->n_states++)
        for (int k = 0; k < o->rule->states; k++) {
            size_t i = s->n_states;
            if (!(s->states[i][k] = copy(ctx, o->segments[i].state[k], state_bytes(o, i, k)))) return s->n_states++, false;
        }
    hone__kept kept;
    size_t capacity = 0;
    for (; o->rule->kept && o->rule->kept(o, s->n_kept, &kept); s->n_kept++) {
        if (!s->n_kept) s->n_numbers = (size_t)kept.count;
        if (!hone__grow(ctx, (void **)&s->kept, &capacity, s->n_kept + 1, sizeof *s->kept)) return false;
        if (!(s->kept[s->n_kept] = copy(ctx, kept.data, hone__dtype_bytes(kept.dtype, kept.count)))) return false;
    }
    return true;
}

/* A rule that had kept nothing begins anew. */
static void restore_kept(const hone__snapshot *s, hone_optimizer *o)
{
    static const double none[3] = {0};
    hone__kept kept;
    if (!o->rule->make_room || o->rule->make_room(o, s->n_kept ? s->kept[0] : none, s->n_kept ? s->n_numbers : 3) != HONE_OK) return;
    for (size_t i = 1; i < s->n_kept && o->rule->kept(o, i, &kept); i++)
        memcpy(kept.data, s->kept[i], hone__dtype_bytes(kept.dtype, kept.count));
}

hone__snapshot *hone__snapshot_take(hone_model *model, bool optimizer)
{
    hone_ctx *ctx = model->ctx;
    hone__snapshot *s = hone__calloc(ctx, 1, sizeof *s);
    if (!s) return NULL;
    *s = (hone__snapshot){.model = model, .optimizer = optimizer && hone_model_optimizer(model)};
    s->pieces = hone__calloc(ctx, model->n_params + 1, sizeof *s->pieces);
    for (size_t i = 0; s->pieces && i < model->n_params; i++) {
        hone_param *p = model->params[i];
        if (!p->sealed || p->v.mapped || (!p->segment && !p->own)) continue; /* a file's, which nothing changes */
        size_t bytes = hone__dtype_bytes(p->v.stored, hone_shape_count(p->v.shape));
        s->pieces[s->n_pieces] = (piece){p, copy(ctx, p->v.data, bytes), bytes};
        if (!s->pieces[s->n_pieces++].values) break;
    }
    if (hone__ok(ctx) && (!s->optimizer || take_optimizer(s))) return s;
    hone__snapshot_free(s);
    return NULL;
}

void hone__snapshot_restore(const hone__snapshot *s)
{
    for (size_t i = 0; i < s->n_pieces; i++) {
        memcpy(s->pieces[i].param->v.data, s->pieces[i].values, s->pieces[i].bytes);
        s->pieces[i].param->v.version++;
    }
    if (!s->optimizer) return;
    hone_optimizer *o = hone_model_optimizer(s->model);
    o->v.learning_rate = s->learning_rate;
    o->steps = s->steps;
    for (size_t i = 0; i < o->n_segments; i++)
        for (int k = 0; k < o->rule->states; k++) {
            size_t bytes = state_bytes(o, i, k);
            float *state = o->segments[i].state[k];
            if (i < s->n_states)
                memcpy(state, s->states[i][k], bytes);
            else if (o->initial != 0) /* Adagrad's, f32 */
                for (size_t e = 0; e < bytes / sizeof *state; e++) state[e] = (float)o->initial;
            else
                memset(state, 0, bytes);
        }
    restore_kept(s, o);
}

void hone__snapshot_free(hone__snapshot *s)
{
    if (!s) return;
    hone_ctx *ctx = s->model->ctx;
    for (size_t i = 0; i < s->n_pieces; i++) hone__free(ctx, s->pieces[i].values);
    for (size_t i = 0; i < s->n_states; i++)
        for (int k = 0; k < HONE__OPTIM_STATES; k++) hone__free(ctx, s->states[i][k]);
    hone__free(ctx, s->pieces);
    for (size_t i = 0; i < s->n_kept; i++) hone__free(ctx, s->kept[i]);
    hone__free(ctx, s->kept);
    hone__free(ctx, s->states);
    hone__free(ctx, s);
}
