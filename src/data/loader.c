/* A loader: its threads fill batches of a small ring, row by row, ahead of who takes them. A row's content depends on (seed,
   epoch, row) alone and its place on the epoch's order, so it does not matter which thread makes it or when. */
#include "data/dataset.h"
#include "data/mix.h"
#include "data/transform.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>

enum { MAX_THREADS = 256, MAX_PREFETCH = 1024 };

/* A batch of the ring. */
typedef struct slot {
    hone_tensor *parts[2 * HONE__MOST_PARTS]; /* inputs and targets, of batch_size rows */
    int64_t batch, count;
    int64_t taken, done; /* rows that threads took, and have made */
    hone_status status;  /* of the first row that failed, `failed` */
    int64_t failed;
    char error[512];
} slot;

typedef struct worker {
    struct hone_loader *loader;
    pthread_t thread;
    hone_ctx *ctx; /* its own: the loader's belongs to another thread */
    void *parts[2 * HONE__MOST_PARTS]; /* an example as it was read */
    float *rooms[2];
} worker;

struct hone_loader {
    hone_ctx *ctx;
    const hone_dataset *dataset;
    hone_loader_opts o;
    int64_t *rows;   /* [n] which rows of the dataset; NULL: all */
    double *weights; /* [n]; NULL: each once */
    float *sample_weights; /* [rows of the dataset]; NULL: 1 */
    hone_tensor *batch_weights; /* of the batch taken last */
    int64_t n, batches, epoch;
    bool join_last, joined; /* joined: in this epoch the last batch, of one row, is a part of the one before it */
    int64_t *order; /* [n] of the epoch */
    hone__part parts[2 * HONE__MOST_PARTS]; /* of an example in a batch */
    worker *workers;
    int n_workers; /* that run */
    slot *slots;
    int64_t n_slots, next; /* next: the batch that will be taken */
    int64_t chunk;         /* rows that a thread takes at once: threads that work beside training must not meet at a lock too often */
    bool begun;
    pthread_mutex_t mutex; /* of everything below, and of the slots' counts */
    pthread_cond_t work, ready;
    int busy;  /* threads that make rows */
    bool idle; /* between epochs: no row may be taken */
    bool quit, has_locks;
};

/* ---- threads ---- */

/* The earliest batch with a row that nobody took; NULL: there is none. */
static slot *next_work(hone_loader *l)
{
    slot *found = NULL;
    for (int64_t i = 0; !l->idle && i < l->n_slots; i++) {
        slot *s = &l->slots[i];
        if (s->taken < s->count && (!found || s->batch < found->batch)) found = s;
    }
    return found;
}

/* A class number as one-hot. */
static hone_status write_class(const hone_loader *l, hone_ctx *ctx, hone_dtype dtype, const void *from, float *y)
{
    int64_t class = dtype == HONE_I32 ? *(const int32_t *)from : *(const int64_t *)from;
    if (class < 0 || class >= l->o.classes)
        return hone__fail_run(ctx, HONE_INVALID, "class %lld; there are %d", (long long)class, l->o.classes);
    memset(y, 0, (size_t)l->o.classes * sizeof *y);
    y[class] = 1;
    return HONE_OK;
}

static hone_status make_row(worker *w, slot *s, int64_t i)
{
    hone_loader *l = w->loader;
    const hone_dataset *d = l->dataset;
    int64_t place = s->batch * l->o.batch_size + i, row = l->order[place];
    hone_status status = d->read(d->user, w->ctx, row, w->parts, w->parts + d->n_x);
    uint64_t key = hone__row_key(l->o.seed, l->epoch, row);
    if (l->weights) key = hone__key(key, (uint64_t)place); /* a row may come twice */
    for (int p = 0; p < d->n_parts && status == HONE_OK; p++) {
        size_t bytes = hone__dtype_bytes(l->parts[p].dtype, hone_shape_count(l->parts[p].shape));
        char *to = (char *)s->parts[p]->data + (size_t)i * bytes;
        const void *from = w->parts[p];
        if (!p && l->o.n_transforms)
            from = hone__transforms_run(w->ctx, l->o.transforms, l->o.n_transforms, d->parts[0].shape, from, w->rooms, key);
        if (!from) return w->ctx->status;
        if (p == d->n_x && l->o.classes)
            status = write_class(l, w->ctx, d->parts[p].dtype, from, (float *)(void *)to);
        else if (bytes)
            memcpy(to, from, bytes);
    }
    return status;
}

static void *work(void *arg)
{
    worker *w = arg;
    hone_loader *l = w->loader;
    pthread_mutex_lock(&l->mutex);
    while (!l->quit) {
        slot *s = next_work(l);
        if (!s) {
            pthread_cond_wait(&l->work, &l->mutex);
            continue;
        }
        int64_t first = s->taken, count = HONE_MIN(l->chunk, s->count - first), i = 0;
        s->taken += count;
        l->busy++;
        pthread_mutex_unlock(&l->mutex);
        w->ctx->error[0] = 0;
        hone_status status = HONE_OK;
        while (i < count && (status = make_row(w, s, first + i)) == HONE_OK) i++;
        pthread_mutex_lock(&l->mutex);
        if (status != HONE_OK && (s->status == HONE_OK || first + i < s->failed)) {
            s->status = status;
            s->failed = first + i;
            snprintf(s->error, sizeof s->error, "%.500s", w->ctx->error[0] ? w->ctx->error : "the dataset's function failed");
        }
        hone_clear_error(w->ctx);
        l->busy--;
        s->done += count;
        if (s->done == s->count || (l->idle && !l->busy)) pthread_cond_signal(&l->ready);
    }
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}

/* ---- building ---- */

static hone_status check(hone_loader *l)
{
    const hone_dataset *d = l->dataset;
    hone_loader_opts *o = &l->o;
    hone_ctx *ctx = l->ctx;
    if (!o->batch_size) o->batch_size = 32;
    if (!o->threads) o->threads = 1;
    if (!o->prefetch) o->prefetch = 2;
    if (!o->seed) o->seed = ctx->seed;
    if (o->batch_size < 1 || o->threads < 1 || o->threads > MAX_THREADS || o->prefetch < 1 || o->prefetch > MAX_PREFETCH)
        return hone__fail(ctx, HONE_INVALID, "loader: batch_size, threads (at most %d) and prefetch (at most %d) must be positive",
                          MAX_THREADS, MAX_PREFETCH);
    if (o->n_rows < 0 || (o->n_rows && !o->rows) || (o->n_transforms && !o->transforms) || o->classes < 0 || !(o->mixup >= 0) ||
        !(o->cutmix >= 0))
        return hone__fail(ctx, HONE_INVALID, "loader: rows, transforms, classes, mixup and cutmix must not be negative or NULL");
    for (int64_t i = 0; i < o->n_rows; i++)
        if (o->rows[i] < 0 || o->rows[i] >= d->rows)
            return hone__fail(ctx, HONE_INVALID, "loader: row %lld was asked for, and there are %lld", (long long)o->rows[i],
                              (long long)d->rows);
    l->n = o->rows ? o->n_rows : d->rows;
    l->chunk = HONE_MAX(o->batch_size / (4 * o->threads), 1);
    l->batches = o->drop_last ? l->n / o->batch_size : (l->n + o->batch_size - 1) / o->batch_size;
    if (l->batches < 1) return hone__fail(ctx, HONE_INVALID, "loader: %lld rows give no batch of %d", (long long)l->n, o->batch_size);
    const hone__part *x = &d->parts[0], *y = &d->parts[d->n_x];
    if (o->classes && ((y->dtype != HONE_I32 && y->dtype != HONE_I64) || hone_shape_count(y->shape) != 1))
        return hone__fail(ctx, HONE_DTYPE, "loader: classes are one whole number each, not %s %s", hone_dtype_name(y->dtype),
                          HONE__SHAPE_STR(y->shape));
    if ((o->mixup > 0 || o->cutmix > 0) &&
        (x->dtype != HONE_F32 || !o->classes || d->n_parts > 2 || (o->cutmix > 0 && x->shape.rank != 3)))
        return hone__fail(ctx, HONE_INVALID, "loader: mixup and cutmix need classes and one x in f32, cutmix pictures [channels, height, "
                                             "width]");
    if (o->sample_weights && (o->mixup > 0 || o->cutmix > 0))
        return hone__fail(ctx, HONE_INVALID, "loader: what mixup and cutmix make of two examples has no one sample weight");
    if (o->classes) l->parts[d->n_x] = (hone__part){HONE_F32, HONE_SHAPE(o->classes), NULL};
    return HONE_OK;
}

/* Numbers and weights of rows, copied. */
static bool copy_rows(hone_loader *l)
{
    const hone_loader_opts *o = &l->o;
    size_t n = (size_t)l->n;
    if (!(l->order = hone__calloc(l->ctx, n, sizeof *l->order))) return false;
    if (o->rows && !(l->rows = hone__calloc(l->ctx, n, sizeof *l->rows))) return false;
    if (l->rows) memcpy(l->rows, o->rows, n * sizeof *l->rows);
    if (!o->weights) return true;
    if (!(l->weights = hone__calloc(l->ctx, n, sizeof *l->weights))) return false;
    memcpy(l->weights, o->weights, n * sizeof *l->weights);
    hone_status status = hone_sample_rows(l->ctx, l->weights, l->n, 0, 0, NULL); /* are they weights? */
    if (status != HONE_OK && hone__ok(l->ctx)) hone__fail(l->ctx, status, "loader: the weights must be at least 0, and not all 0");
    return status == HONE_OK;
}

/* Of a batch: one more when a single row may join it. */
static int64_t most_rows(const hone_loader *l) { return HONE_MIN((int64_t)l->o.batch_size + (l->n % l->o.batch_size == 1), l->n); }

static bool copy_sample_weights(hone_loader *l)
{
    const double *from = l->o.sample_weights;
    int64_t rows = l->dataset->rows;
    if (!from) return true;
    if (!(l->sample_weights = hone__alloc(l->ctx, (size_t)rows * sizeof *l->sample_weights))) return false;
    for (int64_t i = 0; i < rows; i++) {
        l->sample_weights[i] = (float)from[i];
        if (!(from[i] >= 0 && isfinite(from[i])))
            return hone__fail(l->ctx, HONE_INVALID, "loader: the sample weight of row %lld is %g; it must be at least 0", (long long)i, from[i]), false;
    }
    return (l->batch_weights = hone_tensor_new(l->ctx, HONE_F32, HONE_SHAPE(most_rows(l)))) != NULL;
}

/* A batch's shape: that of an example behind the count. */
static hone_shape batch_shape(hone_shape row, int64_t count)
{
    hone_shape shape = {.rank = row.rank + 1, .dim = {count}};
    for (int i = 0; i < row.rank; i++) shape.dim[i + 1] = row.dim[i];
    return shape;
}

static bool make_slots(hone_loader *l)
{
    l->n_slots = HONE_MIN(l->o.prefetch + 1, l->batches);
    if (!(l->slots = hone__calloc(l->ctx, (size_t)l->n_slots, sizeof *l->slots))) return false;
    for (int64_t i = 0; i < l->n_slots; i++) {
        slot *s = &l->slots[i];
        int64_t count = most_rows(l);
        for (int p = 0; p < l->dataset->n_parts; p++)
            if (!(s->parts[p] = hone_tensor_new(l->ctx, l->parts[p].dtype, batch_shape(l->parts[p].shape, count)))) return false;
    }
    return true;
}

static bool start_workers(hone_loader *l, int64_t most)
{
    const hone_dataset *d = l->dataset;
    hone_ctx *ctx = l->ctx;
    if (!(l->workers = hone__calloc(ctx, (size_t)l->o.threads, sizeof *l->workers))) return false;
    for (int i = 0; i < l->o.threads; i++) {
        worker *w = &l->workers[i];
        *w = (worker){.loader = l, .ctx = hone_ctx_new(.threads = 1, .seed = l->o.seed)};
        if (!w->ctx) return hone__fail(ctx, HONE_MEMORY, "memory ran out for a loader's thread"), false;
        size_t room = l->o.n_transforms ? (size_t)most : 0;
        for (int p = 0; p < d->n_parts; p++)
            if (!(w->parts[p] = hone__alloc(ctx, hone__dtype_bytes(d->parts[p].dtype, hone_shape_count(d->parts[p].shape))))) return false;
        if (!(w->rooms[0] = hone__calloc(ctx, room, 2 * sizeof *w->rooms[0]))) return false;
        w->rooms[1] = w->rooms[0] + room;
        if (pthread_create(&w->thread, NULL, work, w) != 0)
            return hone__fail(ctx, HONE_MEMORY, "the system has no thread for a loader"), false;
        l->n_workers++;
    }
    return true;
}

hone_loader *hone_loader_new_opt(const hone_dataset *d, const hone_loader_opts *opts)
{
    if (!d || !hone__ok(d->ctx)) return NULL;
    hone_ctx *ctx = d->ctx;
    hone_loader *l = hone__calloc(ctx, 1, sizeof *l);
    if (!l) return NULL;
    l->ctx = hone_ctx_retain(ctx);
    l->dataset = d;
    l->idle = true;
    if (opts) memcpy(&l->o, opts, HONE_MIN(opts->struct_size, sizeof l->o));
    int64_t most;
    memcpy(l->parts, d->parts, sizeof l->parts);
    bool ok = check(l) == HONE_OK;
    if (ok) {
        hone_status status = hone__transforms_check(ctx, l->o.transforms, l->o.n_transforms, d->parts[0].dtype, &l->parts[0].shape, &most);
        if (status != HONE_OK) { /* that of a run: here it sticks */
            char error[sizeof ctx->error];
            memcpy(error, ctx->error, sizeof error);
            hone__fail(ctx, status, "loader: %s", error);
            ok = false;
        }
    }
    if (ok) {
        pthread_mutex_init(&l->mutex, NULL);
        pthread_cond_init(&l->work, NULL);
        pthread_cond_init(&l->ready, NULL);
        l->has_locks = true;
        ok = copy_rows(l) && copy_sample_weights(l) && make_slots(l) && start_workers(l, most);
    }
    if (ok) return l;
    hone_loader_free(l);
    return NULL;
}

void hone_loader_free(hone_loader *l)
{
    if (!l) return;
    hone_ctx *ctx = l->ctx;
    if (l->has_locks) {
        pthread_mutex_lock(&l->mutex);
        l->quit = true;
        pthread_cond_broadcast(&l->work);
        pthread_mutex_unlock(&l->mutex);
        for (int i = 0; i < l->n_workers; i++) pthread_join(l->workers[i].thread, NULL);
        pthread_cond_destroy(&l->ready);
        pthread_cond_destroy(&l->work);
        pthread_mutex_destroy(&l->mutex);
    }
    for (int i = 0; l->workers && i < l->o.threads; i++) {
        worker *w = &l->workers[i];
        for (int p = 0; p < l->dataset->n_parts; p++) hone__free(ctx, w->parts[p]);
        hone__free(ctx, w->rooms[0]);
        hone_ctx_release(w->ctx);
    }
    for (int64_t i = 0; l->slots && i < l->n_slots; i++)
        for (int p = 0; p < HONE__MOST_PARTS * 2; p++) hone_tensor_free(l->slots[i].parts[p]);
    hone__free(ctx, l->workers), hone__free(ctx, l->slots);
    hone__free(ctx, l->rows), hone__free(ctx, l->weights), hone__free(ctx, l->order);
    hone__free(ctx, l->sample_weights), hone_tensor_free(l->batch_weights);
    hone__free(ctx, l);
    hone_ctx_release(ctx);
}

int hone_loader_inputs(const hone_loader *l) { return l ? l->dataset->n_x : 0; }
int hone_loader_targets(const hone_loader *l) { return l ? l->dataset->n_parts - l->dataset->n_x : 0; }
int64_t hone_loader_batches(const hone_loader *l) { return l ? l->batches : 0; }
int hone_loader_batch_size(const hone_loader *l) { return l ? l->o.batch_size : 0; }
int64_t hone_loader_rows(const hone_loader *l) { return l ? HONE_MIN(l->n, l->batches * l->o.batch_size) : 0; }

/* ---- epochs ---- */

/* Is the last batch a single row behind others? */
static bool has_single(const hone_loader *l) { return l->batches > 1 && l->n - (l->batches - 1) * l->o.batch_size == 1; }
void hone__loader_join_last(hone_loader *l, bool on) { l->join_last = on; }
static int64_t batches_of_epoch(const hone_loader *l) { return l->batches - l->joined; }

/* Lets threads make this batch; the mutex is held, or nobody works. */
static void assign(hone_loader *l, int64_t batch)
{
    slot *s = &l->slots[batch % l->n_slots];
    s->batch = batch;
    int64_t left = l->n - batch * l->o.batch_size, last = batches_of_epoch(l) - 1;
    s->count = batch > last ? 0 : batch == last && l->joined ? left : HONE_MIN((int64_t)l->o.batch_size, left);
    s->taken = s->done = 0;
    s->status = HONE_OK;
}

static void set_rows(hone_tensor *t, int64_t count)
{
    size_t row = t->bytes / (size_t)HONE_MAX(t->shape.dim[0], 1);
    t->shape.dim[0] = count;
    t->bytes = row * (size_t)count;
}

hone_status hone_loader_begin(hone_loader *l, int64_t epoch)
{
    if (!l) return HONE_INVALID;
    if (!hone__ok(l->ctx)) return l->ctx->status;
    pthread_mutex_lock(&l->mutex);
    l->idle = true;
    while (l->busy) pthread_cond_wait(&l->ready, &l->mutex);
    pthread_mutex_unlock(&l->mutex);
    uint64_t key = hone__key(hone__key(l->o.seed, (uint64_t)epoch), hone__hash("loader", 6, 0));
    hone_status status = HONE_OK;
    if (l->weights)
        status = hone_sample_rows(l->ctx, l->weights, l->n, key, l->n, l->order);
    else
        for (int64_t i = 0; i < l->n; i++) l->order[i] = i;
    if (status != HONE_OK) return status;
    if (!l->weights && !l->o.no_shuffle) hone__shuffle(key, l->order, l->n);
    for (int64_t i = 0; l->rows && i < l->n; i++) l->order[i] = l->rows[l->order[i]];
    l->epoch = epoch;
    l->next = 0;
    l->joined = l->join_last && has_single(l);
    l->begun = true;
    for (int64_t b = 0; b < l->n_slots; b++) assign(l, b);
    pthread_mutex_lock(&l->mutex);
    l->idle = false;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->mutex);
    return HONE_OK;
}

hone_status hone_loader_next(hone_loader *l, hone_tensor **x, hone_tensor **y)
{
    *x = *y = NULL;
    if (!l) return HONE_INVALID;
    if (hone__ok(l->ctx) && l->dataset->n_parts > 2)
        return hone__fail_run(l->ctx, HONE_INVALID, "loader: its examples have %d inputs and %d targets: call hone_loader_next_many",
                              hone_loader_inputs(l), hone_loader_targets(l));
    return hone_loader_next_many(l, x, y);
}

hone_status hone_loader_next_many(hone_loader *l, hone_tensor **x, hone_tensor **y)
{
    const int n_x = hone_loader_inputs(l), n_y = hone_loader_targets(l);
    for (int i = 0; i < n_x; i++) x[i] = NULL;
    for (int i = 0; i < n_y; i++) y[i] = NULL;
    if (!l) return HONE_INVALID;
    if (!hone__ok(l->ctx)) return l->ctx->status;
    if (!l->begun) return hone__fail_run(l->ctx, HONE_STATE, "loader: call hone_loader_begin first");
    pthread_mutex_lock(&l->mutex);
    if (l->next > 0 && l->next < batches_of_epoch(l)) { /* what was taken last may be overwritten now */
        assign(l, l->next - 1 + l->n_slots);
        pthread_cond_broadcast(&l->work);
    }
    slot *s = &l->slots[l->next % l->n_slots];
    bool more = l->next < batches_of_epoch(l);
    while (more && s->done < s->count) pthread_cond_wait(&l->ready, &l->mutex);
    pthread_mutex_unlock(&l->mutex);
    if (!more) return HONE_OK;
    if (s->status != HONE_OK) {
        int64_t row = l->order[l->next * l->o.batch_size + s->failed];
        l->next = batches_of_epoch(l);
        return hone__fail_run(l->ctx, s->status, "row %lld: %s", (long long)row, s->error);
    }
    for (int p = 0; p < n_x + n_y; p++) set_rows(s->parts[p], s->count);
    if (l->o.mixup > 0 || l->o.cutmix > 0)
        hone__mix(s->parts[0], s->parts[1], l->o.mixup, l->o.cutmix, hone__key(hone__row_key(l->o.seed, l->epoch, l->next), hone__hash("mix", 3, 0)));
    if (l->batch_weights) {
        const int64_t *row = l->order + l->next * l->o.batch_size;
        set_rows(l->batch_weights, s->count);
        for (int64_t i = 0; i < s->count; i++) ((float *)l->batch_weights->data)[i] = l->sample_weights[row[i]];
    }
    for (int i = 0; i < n_x; i++) x[i] = s->parts[i];
    for (int i = 0; i < n_y; i++) y[i] = s->parts[n_x + i];
    l->next++;
    return HONE_OK;
}

const hone_tensor *hone_loader_weights(const hone_loader *l) { return l && l->next ? l->batch_weights : NULL; }
