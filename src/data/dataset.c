/* Datasets: examples by number, from tensors, folders of pictures or a function of the user's. */
#include "data/dataset.h"
#include "data/image.h"
#include "base/os.h"

#include <math.h>

static hone_dataset *new_dataset(hone_ctx *ctx, int64_t rows)
{
    if (!hone__ok(ctx)) return NULL;
    hone_dataset *d = hone__calloc(ctx, 1, sizeof *d);
    if (!d) return NULL;
    d->ctx = hone_ctx_retain(ctx);
    hone__arena_init(&d->arena, ctx);
    d->rows = rows;
    return d;
}

void hone_dataset_free(hone_dataset *d)
{
    if (!d) return;
    hone_ctx *ctx = d->ctx;
    hone__free(ctx, d->files);
    hone__free(ctx, d->labels);
    hone__free(ctx, d->kept.bytes), hone__free(ctx, d->kept.floats), hone__free(ctx, d->kept.state);
    hone__arena_free(&d->arena);
    hone__free(ctx, d);
    hone_ctx_release(ctx);
}

int64_t hone_dataset_rows(const hone_dataset *d) { return d ? d->rows : 0; }
size_t hone_dataset_classes(const hone_dataset *d) { return d ? d->n_classes : 0; }
int hone_dataset_label(const hone_dataset *d, int64_t row)
{
    return d && d->n_classes && row >= 0 && row < d->rows ? d->labels[row] : -1;
}
const char *hone_dataset_file(const hone_dataset *d, int64_t row)
{
    return d && d->files && row >= 0 && row < d->rows ? d->files[row] : NULL;
}
const char *hone_dataset_class(const hone_dataset *d, size_t i) { return i < hone_dataset_classes(d) ? d->classes[i] : NULL; }

/* Inputs and targets of an example, of which there must be some, of dtypes and shapes that batches can have. */
static hone_dataset *dataset_of(hone_ctx *ctx, int64_t rows, int n_x, const hone__part *x, int n_y, const hone__part *y)
{
    if (n_x < 1 || n_x > HONE__MOST_PARTS || n_y < 1 || n_y > HONE__MOST_PARTS)
        return hone__fail(ctx, HONE_INVALID, "an example has 1 to %d inputs and targets, not %d and %d", HONE__MOST_PARTS, n_x, n_y), NULL;
    hone_dataset *d = new_dataset(ctx, rows);
    if (!d) return NULL;
    d->n_x = n_x, d->n_parts = n_x + n_y;
    for (int i = 0; i < d->n_parts; i++) d->parts[i] = i < n_x ? x[i] : y[i - n_x];
    return d;
}

/* ---- a function ---- */

static hone_dataset *dataset_of_function(hone_ctx *ctx, int64_t rows, int n_x, const hone_example_part *x, int n_y, const hone_example_part *y,
                                         hone_read_many_fn read, void *user)
{
    hone__part parts[2][HONE__MOST_PARTS] = {0};
    for (int i = 0; i < 2 * HONE__MOST_PARTS; i++) {
        int k = i % HONE__MOST_PARTS;
        if (k >= (i == k ? n_x : n_y)) continue;
        const hone_example_part *p = i == k ? &x[k] : &y[k];
        int64_t count;
        size_t bytes;
        if (rows < 1 || p->shape.rank >= HONE_MAX_RANK || !hone__tensor_size(p->dtype, p->shape, &count, &bytes) || hone__is_blocks(p->dtype))
            return hone__fail(ctx, HONE_INVALID, "a dataset of %lld rows, %s %d %s %s", (long long)rows, i == k ? "x" : "y", k,
                              hone_dtype_name(p->dtype), HONE__SHAPE_STR(p->shape)),
                   NULL;
        parts[i != k][k] = (hone__part){p->dtype, p->shape, NULL};
    }
    hone_dataset *d = dataset_of(ctx, rows, n_x, parts[0], n_y, parts[1]);
    if (d) d->read = read, d->user = user;
    return d;
}

hone_dataset *hone_dataset_new_many(hone_ctx *ctx, int64_t rows, int n_x, const hone_example_part *x, int n_y, const hone_example_part *y,
                                    hone_read_many_fn read, void *user)
{
    if (!hone__ok(ctx)) return NULL;
    if (!x || !y || !read) return hone__fail(ctx, HONE_INVALID, "a dataset's inputs, targets and function must not be NULL"), NULL;
    return dataset_of_function(ctx, rows, n_x, x, n_y, y, read, user);
}

static hone_status read_one(void *user, hone_ctx *ctx, int64_t row, void *const *x, void *const *y)
{
    const hone_dataset *d = user;
    return d->read_one(d->user_of_one, ctx, row, x[0], y[0]);
}

hone_dataset *hone_dataset_new(hone_ctx *ctx, int64_t rows, hone_dtype x_dtype, hone_shape x_shape, hone_dtype y_dtype,
                               hone_shape y_shape, hone_read_fn read, void *user)
{
    if (!hone__ok(ctx)) return NULL;
    if (!read) return hone__fail(ctx, HONE_INVALID, "a dataset's function must not be NULL"), NULL;
    hone_dataset *d = dataset_of_function(ctx, rows, 1, &(hone_example_part){x_dtype, x_shape}, 1,
                                          &(hone_example_part){y_dtype, y_shape}, read_one, NULL);
    if (d) d->user = d, d->read_one = read, d->user_of_one = user;
    return d;
}

/* ---- tensors ---- */

/* Row `row` as the dataset gives it: pixels of bytes in [0, 1], class numbers of bytes as i32, all else as it is. */
static void copy_row(const hone_tensor *from, int64_t row, int64_t count, hone_dtype to_type, void *to)
{
    const char *at = (const char *)from->data + (size_t)row * hone__dtype_bytes(from->dtype, count);
    if (from->dtype == to_type) {
        memcpy(to, at, hone__dtype_bytes(to_type, count));
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        if (to_type == HONE_F32)
            ((float *)to)[i] = (float)((const uint8_t *)at)[i] / 255;
        else
            ((int32_t *)to)[i] = ((const uint8_t *)at)[i];
    }
}

static hone_status read_tensors(void *user, hone_ctx *ctx, int64_t row, void *const *x, void *const *y)
{
    const hone_dataset *d = user;
    (void)ctx;
    for (int i = 0; i < d->n_parts; i++) {
        const hone__part *p = &d->parts[i];
        copy_row(p->tensor, row, hone_shape_count(p->shape), p->dtype, i < d->n_x ? x[i] : y[i - d->n_x]);
    }
    return HONE_OK;
}

/* Rows of t: bytes are pixels of an input, classes of a target. */
static hone__part part_of(const hone_tensor *t, bool input)
{
    hone__part p = {.dtype = t->dtype, .shape = {.rank = t->shape.rank - 1}, .tensor = t};
    for (int i = 1; i < t->shape.rank; i++) p.shape.dim[i - 1] = t->shape.dim[i];
    if (t->dtype != HONE_U8) return p;
    p.dtype = input ? HONE_F32 : HONE_I32;
    if (input && p.shape.rank == 2) p.shape = HONE_SHAPE(1, p.shape.dim[0], p.shape.dim[1]);
    return p;
}

hone_dataset *hone_dataset_from_many(hone_ctx *ctx, hone_tensors x, hone_tensors y)
{
    hone__part parts[2][HONE__MOST_PARTS] = {0};
    if (!hone__ok(ctx)) return NULL;
    const hone_tensor *first = x.n ? x.tensor[0] : NULL;
    int64_t rows = first && first->shape.rank ? first->shape.dim[0] : 0;
    for (size_t k = 0; k < 2; k++) {
        hone_tensors list = k ? y : x;
        for (size_t i = 0; i < HONE_MIN(list.n, (size_t)HONE__MOST_PARTS); i++) {
            const hone_tensor *t = list.tensor[i];
            if (!t || t->shape.rank < 1 || t->shape.dim[0] != rows || rows < 1)
                return hone__fail(ctx, HONE_SHAPE, "x 0 is %s and %s %zu is %s; all need as many rows, at least one",
                                  first ? HONE__SHAPE_STR(first->shape) : "missing", k ? "y" : "x", i, t ? HONE__SHAPE_STR(t->shape) : "missing"),
                       NULL;
            if (hone__is_blocks(t->dtype))
                return hone__fail(ctx, HONE_DTYPE, "rows of %s cannot be taken apart", hone_dtype_name(t->dtype)), NULL;
            parts[k][i] = part_of(t, !k);
        }
    }
    hone_dataset *d = dataset_of(ctx, rows, (int)HONE_MIN(x.n, (size_t)INT32_MAX), parts[0], (int)HONE_MIN(y.n, (size_t)INT32_MAX), parts[1]);
    if (d) d->read = read_tensors, d->user = d;
    return d;
}

hone_dataset *hone_dataset_from_tensors(const hone_tensor *x, const hone_tensor *y)
{
    return x && y ? hone_dataset_from_many(x->ctx, (hone_tensors){&x, 1}, (hone_tensors){&y, 1}) : NULL;
}

/* ---- folders of pictures ---- */

enum { MOST_KEPT = 512 << 20, MOST_FILE = 1 << 30 }; /* bytes: of all pictures, of one file */
enum { NOT_KEPT, REFUSED, AS_BYTES, AS_FLOATS };        /* REFUSED: there is no room, or not yet all of it */

static bool make_room(hone_dataset *d)
{
    hone__kept *k = &d->kept;
    int64_t n = hone_shape_count(d->parts[0].shape);
    k->n_bytes = HONE_MIN(d->rows, MOST_KEPT / n);
    k->n_floats = HONE_MIN(d->rows, MOST_KEPT / (n * (int64_t)sizeof *k->floats));
    k->bytes = hone__alloc(d->ctx, (size_t)HONE_MAX(k->n_bytes * n, 1));
    k->floats = k->bytes ? hone__alloc(d->ctx, (size_t)HONE_MAX(k->n_floats * n, 1) * sizeof *k->floats) : NULL;
    k->state = k->floats ? hone__calloc(d->ctx, (size_t)d->rows, sizeof *k->state) : NULL;
    return k->state != NULL;
}

/* The byte that a value of [0, 1] was made of. */
static uint8_t byte_of(float value) { return (uint8_t)(value * 255 + 0.5F); }

/* Threads may come with the same row at once: one of them keeps it. */
static void keep(const hone_dataset *d, int64_t row, const float *x)
{
    const hone__kept *k = &d->kept;
    unsigned char now = NOT_KEPT;
    if (!k->state || !atomic_compare_exchange_strong(&k->state[row], &now, REFUSED)) return;
    int64_t n = hone_shape_count(d->parts[0].shape);
    bool exact = row < k->n_bytes;
    for (int64_t i = 0; i < n && exact; i++) exact = (float)byte_of(x[i]) / 255 == x[i];
    if (exact) {
        for (int64_t i = 0; i < n; i++) k->bytes[row * n + i] = byte_of(x[i]);
        atomic_store(&k->state[row], AS_BYTES);
    } else if (row < k->n_floats) {
        memcpy(k->floats + row * n, x, (size_t)n * sizeof *x);
        atomic_store(&k->state[row], AS_FLOATS);
    }
}

static bool take_kept(const hone_dataset *d, int64_t row, float *x)
{
    const hone__kept *k = &d->kept;
    int64_t n = hone_shape_count(d->parts[0].shape);
    int state = k->state ? atomic_load(&k->state[row]) : NOT_KEPT;
    if (state == AS_BYTES) {
        const uint8_t *bytes = k->bytes + row * n;
        for (int64_t i = 0; i < n; i++) x[i] = (float)bytes[i] / 255;
    } else if (state == AS_FLOATS) {
        memcpy(x, k->floats + row * n, (size_t)n * sizeof *x);
    }
    return state == AS_BYTES || state == AS_FLOATS;
}

/* Files are read, not mapped: taking a mapping away interrupts every thread of the process. */
static hone_status read_picture(void *user, hone_ctx *ctx, int64_t row, void *const *inputs, void *const *targets)
{
    const hone_dataset *d = user;
    const int64_t *size_of = d->parts[0].shape.dim;
    float *x = inputs[0];
    *(int32_t *)targets[0] = d->labels[row];
    if (take_kept(d, row, x)) return HONE_OK;
    size_t size;
    char *file = hone__read_file(ctx, d->files[row], MOST_FILE, &size);
    float *pixels;
    hone_shape shape;
    if (file && hone__image_decode(ctx, d->files[row], (const uint8_t *)file, size, (int)size_of[0], size_of[1], size_of[2],
                                   &pixels, &shape)) {
        memcpy(x, pixels, (size_t)hone_shape_count(shape) * sizeof *pixels);
        hone__free(ctx, pixels);
        keep(d, row, x);
    }
    hone__free(ctx, file);
    return ctx->status;
}

static bool is_picture(const char *name)
{
    static const char *const ends[] = {".png", ".jpg", ".jpeg"};
    size_t n = strlen(name);
    for (size_t i = 0; i < HONE_ARRAY_LEN(ends); i++) {
        size_t e = strlen(ends[i]), same = 0;
        while (n > e && same < e && (name[n - e + same] | 0x20) == (ends[i][same] | 0x20)) same++;
        if (n > e && same == e) return true;
    }
    return false;
}

/* Room for paths and labels. */
typedef struct room {
    size_t files, labels;
} room;

static bool add_picture(hone_dataset *d, const char *path, int32_t label, room *r)
{
    size_t count = (size_t)d->rows + 1;
    bool ok = hone__grow(d->ctx, (void **)&d->files, &r->files, count, sizeof *d->files) &&
              hone__grow(d->ctx, (void **)&d->labels, &r->labels, count, sizeof *d->labels) &&
              (d->files[d->rows] = hone__arena_strdup(&d->arena, path));
    if (ok) d->labels[d->rows++] = label;
    return ok;
}

/* Goes through a folder: of classes, each a folder, or with pictures of one class. */
static bool add_folder(hone_dataset *d, const char *folder, bool of_classes, room *r)
{
    hone_ctx *ctx = d->ctx;
    char **names;
    size_t n;
    bool ok = hone__list_folder(ctx, folder, &names, &n) == HONE_OK;
    if (ok && of_classes) ok = (d->classes = hone__arena_alloc(&d->arena, HONE_MAX(n, 1) * sizeof *d->classes)) != NULL;
    for (size_t i = 0; ok && i < n; i++) {
        char *path = hone__join_path(ctx, folder, names[i]);
        ok = path != NULL;
        if (ok && of_classes && names[i][0] != '.' && hone__is_folder(path))
            ok = (d->classes[d->n_classes++] = hone__arena_strdup(&d->arena, names[i])) && add_folder(d, path, false, r);
        else if (ok && !of_classes && is_picture(names[i]))
            ok = add_picture(d, path, (int32_t)d->n_classes - 1, r);
        hone__free(ctx, path);
    }
    hone__free(ctx, names);
    return ok;
}

static bool add_pictures(hone_dataset *d, const char *path)
{
    room r = {0};
    if (is_picture(path) && !hone__is_folder(path)) return add_picture(d, path, -1, &r);
    if (hone__is_file(path)) return hone__fail(d->ctx, HONE_NOT_FOUND, "%s: neither a folder nor a .png, .jpg or .jpeg", path), false;
    if (!add_folder(d, path, true, &r)) return false;
    if (d->rows) return true;
    d->n_classes = 0; /* folders without pictures */
    if (!add_folder(d, path, false, &r)) return false;
    if (!d->rows) hone__fail(d->ctx, HONE_NOT_FOUND, "%s: no .png, .jpg or .jpeg in it or in a folder of it", path);
    return hone__ok(d->ctx);
}

hone_dataset *hone_dataset_images_opt(hone_ctx *ctx, const char *folder, const hone_image_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    hone_image_opts o = {0};
    if (opts) memcpy(&o, opts, HONE_MIN(opts->struct_size, sizeof o));
    if (!o.channels) o.channels = 3;
    if (!hone__image_opts_ok(ctx, &o)) return NULL;
    if (!o.height || !o.width)
        return hone__fail(ctx, HONE_INVALID, "%s: height and width are needed: a batch has pictures of one size", folder), NULL;
    const hone__part picture = {HONE_F32, HONE_SHAPE(o.channels, o.height, o.width), NULL}, class = {HONE_I32, HONE_SCALAR, NULL};
    hone_dataset *d = dataset_of(ctx, 0, 1, &picture, 1, &class);
    if (!d) return NULL;
    d->read = read_picture, d->user = d;
    if (add_pictures(d, folder) && (o.no_keep || make_room(d))) return d;
    hone_dataset_free(d);
    return NULL;
}
