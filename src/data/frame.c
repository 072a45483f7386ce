/* Frames: columns of numbers and of text; rows taken, divided and dropped. */
#include "data/csv.h"
#include "data/frame.h"

#include <math.h>
#include <stdlib.h>

typedef hone__frame frame;

static frame *frame_of(const hone_frame *public) { return (frame *)(uintptr_t)public; }

/* ---- columns ---- */

hone_frame *hone_frame_new(hone_ctx *ctx, int64_t rows)
{
    if (!hone__ok(ctx)) return NULL;
    if (rows < 0) return hone__fail(ctx, HONE_INVALID, "a frame of %lld rows", (long long)rows), NULL;
    frame *f = hone__calloc(ctx, 1, sizeof *f);
    if (!f) return NULL;
    f->public.rows = rows;
    f->ctx = hone_ctx_retain(ctx);
    hone__arena_init(&f->arena, ctx);
    return &f->public;
}

static void free_column(hone_ctx *ctx, hone_column *c)
{
    hone__free(ctx, c->numbers);
    hone__free(ctx, c->codes);
}

void hone_frame_free(hone_frame *public)
{
    if (!public) return;
    frame *f = frame_of(public);
    hone_ctx *ctx = f->ctx;
    for (size_t i = 0; i < public->n_columns; i++) free_column(ctx, &public->columns[i]);
    hone__free(ctx, public->columns);
    hone__arena_free(&f->arena);
    hone__free(ctx, f->origin);
    hone__free(ctx, f);
    hone_ctx_release(ctx);
}

hone_column *hone__frame_insert(hone_frame *public, size_t at, size_t count)
{
    frame *f = frame_of(public);
    if (!hone__grow(f->ctx, (void **)&public->columns, &f->capacity, public->n_columns + count, sizeof *public->columns))
        return NULL;
    hone_column *c = public->columns + at;
    memmove(c + count, c, (public->n_columns - at) * sizeof *c);
    memset(c, 0, count * sizeof *c);
    public->n_columns += count;
    return c;
}

void hone__frame_remove(hone_frame *public, size_t at)
{
    hone_column *c = public->columns + at;
    free_column(frame_of(public)->ctx, c);
    memmove(c, c + 1, (--public->n_columns - at) * sizeof *c);
}

const hone_column *hone_frame_find(const hone_frame *public, const char *name)
{
    for (size_t i = 0; public && name && i < public->n_columns; i++)
        if (!strcmp(public->columns[i].name, name)) return &public->columns[i];
    return NULL;
}

bool hone_column_missing(const hone_column *c, int64_t row)
{
    if (!c || row < 0) return true;
    return c->codes ? c->codes[row] < 0 : isnan(c->numbers[row]);
}

bool hone__is_empty(const hone_column *c, int64_t rows)
{
    bool empty = true;
    for (int64_t r = 0; empty && r < rows; r++) empty = hone_column_missing(c, r);
    return empty;
}

bool hone__is_whole(double v) { return isnan(v) || (fabs(v) <= 0x1p53 && v == floor(v)); }

hone_column *hone__frame_append(hone_frame *public, const char *name, hone_column_type type)
{
    frame *f = frame_of(public);
    hone_column *c = hone__frame_insert(public, public->n_columns, 1);
    if (!c) return NULL;
    c->type = type;
    void *values = type == HONE_COLUMN_TEXT ? (void *)(c->codes = hone__calloc(f->ctx, (size_t)public->rows, sizeof *c->codes))
                                            : (c->numbers = hone__calloc(f->ctx, (size_t)public->rows, sizeof *c->numbers));
    if (values && (c->name = hone__arena_strdup(&f->arena, name))) return c;
    hone__frame_remove(public, public->n_columns - 1);
    return NULL;
}

static hone_column *append_checked(frame *f, const char *name, hone_column_type type, const void *values)
{
    if (!f || !hone__ok(f->ctx)) return NULL;
    if (!name || !name[0] || hone_frame_find(&f->public, name) || !values)
        return hone__fail(f->ctx, HONE_INVALID, "column '%.60s': %s", name ? name : "",
                          !name || !name[0] ? "a name is needed"
                          : values          ? "the frame has one of that name"
                                            : "its values are NULL"),
               NULL;
    return hone__frame_append(&f->public, name, type);
}

hone_status hone_frame_add_numbers(hone_frame *public, const char *name, const double *numbers)
{
    hone_column *c = append_checked(frame_of(public), name, HONE_COLUMN_INTEGER, numbers);
    if (!c) return public ? hone_ctx_status(frame_of(public)->ctx) : HONE_INVALID;
    bool any = false;
    for (int64_t i = 0; i < public->rows; i++) {
        c->numbers[i] = numbers[i];
        any = any || !isnan(numbers[i]);
        if (!hone__is_whole(numbers[i])) c->type = HONE_COLUMN_REAL;
    }
    if (!any) c->type = HONE_COLUMN_REAL;
    return HONE_OK;
}

hone_status hone_frame_add_texts(hone_frame *public, const char *name, const char *const *texts)
{
    frame *f = frame_of(public);
    hone_column *c = append_checked(f, name, HONE_COLUMN_TEXT, texts);
    if (!c) return f ? hone_ctx_status(f->ctx) : HONE_INVALID;
    char **copies = hone__calloc(f->ctx, (size_t)public->rows, sizeof *copies);
    bool ok = copies != NULL;
    for (int64_t i = 0; ok && i < public->rows; i++)
        if (texts[i]) ok = (copies[i] = hone__arena_strdup(&f->arena, texts[i])) != NULL;
    ok = ok && hone__number_texts(f->ctx, &f->arena, copies, (size_t)public->rows, c->codes, &c->categories, &c->n_categories);
    hone__free(f->ctx, copies);
    if (!ok) hone__frame_remove(public, public->n_columns - 1);
    return hone_ctx_status(f->ctx);
}

/* Bytes of a value in a column. */
static size_t value_size(const hone_column *c) { return c->codes ? sizeof *c->codes : sizeof *c->numbers; }
static char *values_of(const hone_column *c) { return c->codes ? (char *)c->codes : (char *)c->numbers; }

/* A column like this one, its categories copied, its values not set. */
static hone_column *append_like(frame *f, const hone_column *from)
{
    hone_column *c = hone__frame_append(&f->public, from->name, from->type);
    if (!c || !from->n_categories) return c;
    char **categories = hone__arena_alloc(&f->arena, from->n_categories * sizeof *categories);
    for (size_t i = 0; categories && i < from->n_categories; i++)
        if (!(categories[i] = hone__arena_strdup(&f->arena, from->categories[i]))) return NULL;
    if (!categories) return NULL;
    c->categories = categories;
    c->n_categories = from->n_categories;
    return c;
}

bool hone__frame_copy(hone_frame *public, const hone_column *from)
{
    hone_column *c = append_like(frame_of(public), from);
    if (c && public->rows) memcpy(values_of(c), values_of(from), (size_t)public->rows * value_size(c));
    return c != NULL;
}

/* ---- rows ---- */

int64_t hone_frame_origin(const hone_frame *public, int64_t row)
{
    if (!public || row < 0 || row >= public->rows) return -1;
    const frame *f = frame_of(public);
    return f->origin ? f->origin[row] : row;
}

/* Room for where the rows come from, which is where they are; NULL: memory ran out, or there are none. */
static int64_t *origins(frame *f)
{
    if (!f->origin && f->public.rows) f->origin = hone__alloc(f->ctx, (size_t)f->public.rows * sizeof *f->origin);
    return f->origin;
}

bool hone__frame_follow(hone_frame *to, const hone_frame *from)
{
    const int64_t *origin = frame_of(from)->origin;
    if (!origin || !from->rows) return true;
    if (!origins(frame_of(to))) return false;
    memcpy(frame_of(to)->origin, origin, (size_t)from->rows * sizeof *origin);
    return true;
}

hone_frame *hone_frame_take(const hone_frame *public, int64_t count, const int64_t *rows)
{
    if (!public) return NULL;
    hone_ctx *ctx = frame_of(public)->ctx;
    if (count < 0 || (count && !rows)) return hone__fail_run(ctx, HONE_INVALID, "a negative count of rows, or none given"), NULL;
    for (int64_t i = 0; i < count; i++)
        if (rows[i] < 0 || rows[i] >= public->rows)
            return hone__fail_run(ctx, HONE_INVALID, "row %lld was asked for (entry %lld), and there are %lld",
                                  (long long)rows[i], (long long)i, (long long)public->rows),
                   NULL;
    hone_frame *taken = hone_frame_new(ctx, count);
    if (taken && count && !origins(frame_of(taken))) {
        hone_frame_free(taken);
        return NULL;
    }
    for (int64_t i = 0; taken && i < count; i++) frame_of(taken)->origin[i] = hone_frame_origin(public, rows[i]);
    for (size_t k = 0; taken && k < public->n_columns; k++) {
        hone_column *to = append_like(frame_of(taken), &public->columns[k]);
        if (!to) {
            hone_frame_free(taken);
            return NULL;
        }
        size_t size = value_size(to);
        for (int64_t i = 0; i < count; i++)
            memcpy(values_of(to) + (size_t)i * size, values_of(&public->columns[k]) + (size_t)rows[i] * size, size);
    }
    return taken;
}

/* What rows are stratified by, f64 [rows]: codes of texts, or numbers. */
static hone_tensor *strata(hone_ctx *ctx, const hone_frame *public, const char *name)
{
    const hone_column *c = hone_frame_find(public, name);
    if (!c) return hone__fail_run(ctx, HONE_NOT_FOUND, "the frame has no column '%.60s' to stratify by", name), NULL;
    hone_tensor *by = hone_tensor_new(ctx, HONE_F64, HONE_SHAPE(public->rows));
    for (int64_t r = 0; by && r < public->rows; r++) ((double *)by->data)[r] = c->codes ? c->codes[r] : c->numbers[r];
    return by;
}

hone_status hone_frame_split_opt(const hone_frame *public, double share, uint64_t seed, hone_frame **train, hone_frame **test,
                                 const hone_frame_split_opts *opts)
{
    if (train) *train = NULL;
    if (test) *test = NULL;
    if (!public || !train || !test) return HONE_INVALID;
    hone_ctx *ctx = frame_of(public)->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    hone_frame_split_opts o = {0};
    if (opts) memcpy(&o, opts, HONE_MIN(opts->struct_size, sizeof o));
    hone_tensor *by = o.stratify ? strata(ctx, public, o.stratify) : NULL;
    if (o.stratify && !by) return hone__ok(ctx) ? HONE_NOT_FOUND : ctx->status;
    int64_t *rows = hone__calloc(ctx, (size_t)public->rows, sizeof *rows), n_train;
    hone_status status = rows ? hone_split_rows(ctx, public->rows, share, by, seed, rows, &n_train) : ctx->status;
    if (status == HONE_OK && (*train = hone_frame_take(public, n_train, rows)))
        *test = hone_frame_take(public, public->rows - n_train, rows + n_train);
    hone_tensor_free(by);
    hone__free(ctx, rows);
    if (status != HONE_OK || *test) return status;
    hone_frame_free(*train);
    *train = NULL;
    return ctx->status;
}

/* The named columns, NULL: all; *n of them, hone__free them. */
static const hone_column **choose(hone_frame *public, const char *const *names, size_t *n)
{
    hone_ctx *ctx = frame_of(public)->ctx;
    size_t given = 0;
    while (names && names[given]) given++;
    *n = names ? given : public->n_columns;
    const hone_column **chosen = hone__calloc(ctx, HONE_MAX(*n, 1), sizeof *chosen);
    for (size_t i = 0; chosen && i < *n; i++) {
        chosen[i] = names ? hone_frame_find(public, names[i]) : &public->columns[i];
        if (chosen[i]) continue;
        hone__fail_run(ctx, HONE_NOT_FOUND, "the frame has no column '%.60s'", names[i]);
        hone__free(ctx, chosen);
        return NULL;
    }
    return chosen;
}

/* Keeps rows keep[0..count), which ascend. */
static void compact(hone_frame *public, const int64_t *keep, int64_t count)
{
    for (size_t k = 0; k < public->n_columns; k++) {
        char *values = values_of(&public->columns[k]);
        size_t size = value_size(&public->columns[k]);
        for (int64_t i = 0; i < count; i++) memmove(values + (size_t)i * size, values + (size_t)keep[i] * size, size);
    }
    int64_t *origin = frame_of(public)->origin;
    for (int64_t i = 0; i < count; i++) origin[i] = origin[keep[i]];
    public->rows = count;
}

typedef int64_t (*filter_fn)(const hone_frame *public, const hone_column *const *columns, size_t n, int64_t *keep);

/* `filter` puts the numbers of the rows that stay into keep, and says how many; -1: memory ran out. */
static hone_status keep_rows(hone_frame *public, const char *const *names, filter_fn filter)
{
    if (!public) return HONE_INVALID;
    hone_ctx *ctx = frame_of(public)->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    size_t n;
    const hone_column **columns = choose(public, names, &n);
    if (!columns) return hone__ok(ctx) ? HONE_NOT_FOUND : ctx->status;
    int64_t *keep = hone__calloc(ctx, (size_t)public->rows, sizeof *keep), count = keep ? filter(public, columns, n, keep) : -1;
    if (count >= 0 && count < public->rows) {
        const bool first = !frame_of(public)->origin;
        int64_t *origin = origins(frame_of(public));
        for (int64_t i = 0; origin && first && i < public->rows; i++) origin[i] = i;
        if (origin) compact(public, keep, count);
    }
    hone__free(ctx, keep);
    hone__free(ctx, columns);
    return ctx->status;
}

static int64_t whole_rows(const hone_frame *public, const hone_column *const *columns, size_t n, int64_t *keep)
{
    int64_t count = 0;
    for (int64_t r = 0; r < public->rows; r++) {
        bool whole = true;
        for (size_t k = 0; k < n && whole; k++) whole = !hone_column_missing(columns[k], r);
        if (whole) keep[count++] = r;
    }
    return count;
}

typedef struct hashed {
    uint64_t hash;
    int64_t row;
} hashed;

static int by_hash(const void *a, const void *b)
{
    const hashed *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

/* -0 equals 0, and missing is missing whatever its NaN's bits are. */
static double plain(double v) { return isnan(v) ? NAN : v == 0 ? 0 : v; }

static uint64_t hash_row(const hone_column *const *columns, size_t n, int64_t row)
{
    uint64_t hash = 0;
    for (size_t k = 0; k < n; k++) {
        double v = columns[k]->codes ? (double)columns[k]->codes[row] : plain(columns[k]->numbers[row]);
        hash = hone__hash(&v, sizeof v, hash);
    }
    return hash;
}

static bool equal_rows(const hone_column *const *columns, size_t n, int64_t a, int64_t b)
{
    for (size_t k = 0; k < n; k++) {
        const hone_column *c = columns[k];
        if (c->codes ? c->codes[a] != c->codes[b]
                     : !(c->numbers[a] == c->numbers[b] || (isnan(c->numbers[a]) && isnan(c->numbers[b]))))
            return false;
    }
    return true;
}

static int by_row(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int64_t first_rows(const hone_frame *public, const hone_column *const *columns, size_t n, int64_t *keep)
{
    hone_ctx *ctx = frame_of(public)->ctx;
    hashed *rows = hone__calloc(ctx, (size_t)public->rows, sizeof *rows);
    if (!rows) return -1;
    for (int64_t r = 0; r < public->rows; r++) rows[r] = (hashed){hash_row(columns, n, r), r};
    qsort(rows, (size_t)public->rows, sizeof *rows, by_hash);
    int64_t count = 0, group = 0; /* group: where in keep those of the present hash begin */
    for (int64_t i = 0; i < public->rows; i++) {
        if (i && rows[i].hash != rows[i - 1].hash) group = count;
        bool seen = false;
        for (int64_t k = group; k < count && !seen; k++) seen = equal_rows(columns, n, keep[k], rows[i].row);
        if (!seen) keep[count++] = rows[i].row;
    }
    qsort(keep, (size_t)count, sizeof *keep, by_row);
    hone__free(ctx, rows);
    return count;
}

hone_status hone_frame_drop_missing(hone_frame *f, const char *const *columns) { return keep_rows(f, columns, whole_rows); }
hone_status hone_frame_drop_duplicates(hone_frame *f, const char *const *columns) { return keep_rows(f, columns, first_rows); }
