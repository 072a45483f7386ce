/* Arrays: x and y of an .npz file, or a pair of IDX files. Rows of features, pictures, or sequences of features; brought to mean 0 and
   deviation 1 by feature, or by channel of a picture. */
#include "task.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

enum { FEWEST = 10, MOST_CLASSES = 1000, MOST_RANK = 4, SHAPE_SIZE = 120 };
typedef enum layout { FEATURES, SEQUENCES, PICTURES, LAST_CHANNELS } layout; /* PICTURES: channels first, as they are computed */
static const char *const layouts[] = {"features", "sequences", "pictures", "pictures-channels-last"};

typedef struct arrays_task {
    task base;
    hone_npz *npz;          /* owns x and y; NULL: they are this task's */
    hone_tensor *x, *y;     /* [rows, ...], [rows] */
    layout layout;
    hone_shape shape;       /* of one example as it is computed */
    double *mean, *deviation; /* [groups] */
    int64_t groups;
} arrays_task;

static arrays_task *arrays_of(const task *t) { return (arrays_task *)(uintptr_t)t; }

/* "[60, 8, 8]" */
static const char *shape_text(hone_shape shape, char text[SHAPE_SIZE])
{
    int n = 0;
    for (int i = 0; i < shape.rank && n < SHAPE_SIZE; i++)
        n += snprintf(text + n, (size_t)(SHAPE_SIZE - n), i ? ", %lld" : "[%lld", (long long)shape.dim[i]);
    if (n < SHAPE_SIZE - 1) strcpy(text + n, "]");
    return text;
}

/* ---- files ---- */

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool is_npz(const char *path) { return task_is_named(path, (const char *const[]){".npz", NULL}); }

/* "train-images-idx3-ubyte.gz", "images.idx", "images.idx3"; not "by-idx.csv", "sales-idx1.csv" or "sales-idx2024" */
static bool is_idx(const char *path)
{
    const char *name = file_name(path);
    for (const char *at = name; (at = strstr(at, "idx")); at++) {
        if (at == name || !strchr("-.", at[-1])) continue;
        const char *end = at + 3 + (at[3] >= '1' && at[3] <= '9');
        if (end > at + 3 && *end == '-') /* the type */
            for (end++; (*end >= 'a' && *end <= 'z') || (*end >= '0' && *end <= '9');) end++;
        if (!*end || !strcmp(end, ".gz")) return true;
    }
    return false;
}

bool task_is_arrays(const char *path) { return is_npz(path) || is_idx(path); }

static hone_tensor *find_array(const hone_npz *npz, const char *const names[3])
{
    hone_tensor *found = NULL;
    for (int i = 0; i < 3 && !found; i++) found = names[i] ? hone_npz_get(npz, names[i]) : NULL;
    return found;
}

static bool open_npz(arrays_task *own, const char *path, bool targets)
{
    task *t = &own->base;
    if (!(own->npz = hone_npz_load(t->ctx, path))) return task_failed(t);
    own->x = find_array(own->npz, (const char *const[3]){"x", "x_train", "X"});
    if (targets) own->y = find_array(own->npz, (const char *const[3]){t->target, t->target ? NULL : "y", t->target ? NULL : "y_train"});
    if (own->x && (own->y || !targets)) return true;
    char all[200] = "";
    for (size_t i = 0, n = 0; i < hone_npz_count(own->npz) && n < sizeof all; i++)
        n += (size_t)snprintf(all + n, sizeof all - n, i ? ", %s" : "%s", hone_npz_name(own->npz, i));
    return cli_fail(t->args, "%s has no array '%s'; there are: %s", path, !own->x ? "x" : t->target ? t->target : "y", all[0] ? all : "none"), false;
}

/* The file of labels beside one of "images": "train-labels-idx1-ubyte.gz". */
static char *labels_beside(const char *path)
{
    char *labels = cli_alloc(strlen(path) + 8);
    const char *name = file_name(path), *images = strstr(name, "images"), *rank = strstr(name, "idx");
    if (!images) return free(labels), NULL;
    sprintf(labels, "%.*slabels%s", (int)(images - path), path, images + strlen("images"));
    char *digit = rank && rank > images ? strstr(labels + (images - path), "idx") + 3 : NULL;
    if (digit && *digit >= '1' && *digit <= '9') *digit = '1';
    return labels;
}

static bool open_idx(arrays_task *own, const char *path, bool targets)
{
    task *t = &own->base;
    if (!(own->x = hone_idx_load(t->ctx, path))) return task_failed(t);
    if (!targets) return true;
    char *labels = labels_beside(path);
    if (!labels)
        return cli_fail(t->args, "%s: its name has no 'images', for which the file of labels beside it has 'labels'", path), false;
    own->y = hone_idx_load(t->ctx, labels);
    free(labels);
    return own->y || task_failed(t);
}

/* x, and with `targets` y, as they are in the files. */
static bool open_arrays(arrays_task *own, const char *path, bool targets)
{
    task *t = &own->base;
    if (is_npz(path) ? !open_npz(own, path, targets) : !open_idx(own, path, targets)) return false;
    hone_shape x = hone_tensor_shape(own->x), y = own->y ? hone_tensor_shape(own->y) : HONE_SHAPE(0);
    t->rows = x.rank ? x.dim[0] : 0;
    if (x.rank < 2 || x.rank > MOST_RANK || hone_shape_count(x) == 0)
        return cli_fail(t->args, "%s: x must be [rows, features], [rows, steps, features], or pictures of rank 3 or 4; it has rank %d and %lld "
                                 "numbers", path, x.rank, (long long)hone_shape_count(x)), false;
    if (!targets || (y.rank >= 1 && y.dim[0] == t->rows && hone_shape_count(y) == t->rows)) return true;
    return cli_fail(t->args, "%s: y must have one number for each of the %lld rows of x, not %lld", path, (long long)t->rows,
                    (long long)hone_shape_count(y)), false;
}

/* ---- targets ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool read_values(arrays_task *own)
{
    task *t = &own->base;
    t->values = cli_alloc((size_t)t->rows * sizeof *t->values);
    for (int64_t i = 0; i < t->rows; i++) {
        t->values[i] = hone_tensor_get(own->y, i);
        if (fabs(t->values[i]) <= (double)FLT_MAX) continue;
        return cli_fail(t->args, "y is %g in row %lld: no target can be that", t->values[i], (long long)i), false;
    }
    return true;
}

static bool read_labels(task *t)
{
    t->labels = cli_alloc((size_t)t->rows * sizeof *t->labels);
    for (int64_t i = 0; i < t->rows; i++) {
        int64_t k = 0;
        while (k < t->classes && strtod(t->names[k], NULL) != t->values[i]) k++;
        if (k == t->classes)
            return cli_fail(t->args, "y is %g in row %lld, which is none of the %lld classes that were learnt", t->values[i], (long long)i,
                            (long long)t->classes), false;
        t->labels[i] = (int32_t)k;
    }
    return true;
}

/* Whole numbers by their type are classes; other types' where they look like classes, as a table's do; all else is a quantity. */
static bool choose_target(arrays_task *own, int learn)
{
    task *t = &own->base;
    hone_dtype dtype = hone_tensor_dtype(own->y);
    bool whole = dtype != HONE_F32 && dtype != HONE_F64 && dtype != HONE_F16 && dtype != HONE_BF16;
    double *sorted = cli_alloc((size_t)t->rows * sizeof *sorted);
    int64_t n = 0;
    memcpy(sorted, t->values, (size_t)t->rows * sizeof *sorted);
    qsort(sorted, (size_t)t->rows, sizeof *sorted, ascending);
    for (int64_t i = 0; i < t->rows; i++)
        if (!n || sorted[i] != sorted[n - 1]) sorted[n++] = sorted[i];
    whole = whole || task_look_like_classes(sorted, n);
    bool classes = learn == LEARN_CLASSES || (learn == LEARN_AUTO && whole), ok = false;
    if (t->rows < FEWEST)
        cli_fail(t->args, "%lld rows are too few to learn from", (long long)t->rows);
    else if (n == 1)
        cli_fail(t->args, "y is %g in every row: there is nothing to learn", sorted[0]);
    else if (classes && (n > MOST_CLASSES || n > t->rows / 2))
        cli_fail(t->args, "y has %lld different numbers in %lld rows: these are no classes; --learn quantity?", (long long)n, (long long)t->rows);
    else
        ok = true;
    if (ok && classes) {
        t->names = cli_alloc((size_t)n * sizeof *t->names);
        for (t->classes = 0; t->classes < n; t->classes++) {
            char number[32];
            snprintf(number, sizeof number, "%.17g", sorted[t->classes]);
            t->names[t->classes] = cli_copy(number);
        }
    }
    free(sorted);
    return ok;
}

/* ---- x ---- */

static bool is_channels(int64_t n) { return n == 1 || n == 3 || n == 4; }

/* What the rows are; in own->shape one of them as it is computed. */
static void choose_layout(arrays_task *own)
{
    hone_shape x = hone_tensor_shape(own->x);
    const int64_t *d = x.dim;
    own->layout = x.rank == 2 ? FEATURES : x.rank == 3 ? hone_tensor_dtype(own->x) == HONE_U8 ? PICTURES : SEQUENCES
                  : is_channels(d[3]) && !is_channels(d[1]) ? LAST_CHANNELS : PICTURES;
    if (own->layout == LAST_CHANNELS)
        own->shape = HONE_SHAPE(1, d[3], d[1], d[2]);
    else if (own->layout == PICTURES)
        own->shape = x.rank == 3 ? HONE_SHAPE(1, 1, d[1], d[2]) : HONE_SHAPE(1, d[1], d[2], d[3]);
    else
        own->shape = x.rank == 2 ? HONE_SHAPE(1, d[1]) : HONE_SHAPE(1, d[1], d[2]);
}

/* The group (feature, or channel) of an element of an example as it is in the file. */
static int64_t group_of(const arrays_task *own, int64_t i)
{
    return own->layout == PICTURES ? i / (own->shape.dim[2] * own->shape.dim[3]) : i % own->groups;
}

/* Where it goes in the example as it is computed. */
static int64_t place_of(const arrays_task *own, int64_t i)
{
    return own->layout == LAST_CHANNELS ? i % own->groups * own->shape.dim[2] * own->shape.dim[3] + i / own->groups : i;
}

static void measure(arrays_task *own, int64_t n, const int64_t *rows)
{
    int64_t size = hone_shape_count(own->shape), each = size / own->groups;
    own->mean = cli_alloc((size_t)own->groups * sizeof *own->mean);
    own->deviation = cli_alloc((size_t)own->groups * sizeof *own->deviation);
    for (int pass = 0; pass < 2; pass++) {
        double *sums = pass ? own->deviation : own->mean;
        for (int64_t r = 0; r < n; r++)
            for (int64_t i = 0; i < size; i++) {
                double v = hone_tensor_get(own->x, rows[r] * size + i);
                int64_t g = group_of(own, i);
                sums[g] += pass ? (v - own->mean[g]) * (v - own->mean[g]) : v;
            }
        for (int64_t g = 0; g < own->groups; g++) sums[g] /= (double)n * (double)each;
    }
    for (int64_t g = 0; g < own->groups; g++) own->deviation[g] = own->deviation[g] > 0 ? sqrt(own->deviation[g]) : 1;
}

static bool learn(task *t, int64_t n, const int64_t *rows)
{
    arrays_task *own = arrays_of(t);
    char what[160], becomes[160];
    measure(own, n, rows);
    snprintf(what, sizeof what, "%s %s, %s", layouts[own->layout], shape_text(hone_tensor_shape(own->x), (char[SHAPE_SIZE]){0}),
             hone_dtype_name(hone_tensor_dtype(own->x)));
    task_fact(t, "x", what, own->shape.rank == 4 ? "each channel scaled to mean 0 and standard deviation 1"
                                                 : "each feature scaled to mean 0 and standard deviation 1");
    snprintf(becomes, sizeof becomes, t->classes ? "the target: one of %lld classes" : "the target: a quantity", (long long)t->classes);
    task_fact(t, t->target, hone_dtype_name(hone_tensor_dtype(own->y)), becomes);
    return true;
}

static void propose(task *t, char first[64], char arch[512])
{
    const arrays_task *own = arrays_of(t);
    const int64_t *d = own->shape.dim;
    int units = t->rows < 5000 ? 64 : 128;
    first[0] = 0;
    if (own->shape.rank == 4)
        task_propose_convolutions(t->classes, d[2] < d[3] ? d[2] : d[3], arch);
    else if (own->shape.rank == 3)
        snprintf(arch, 512, "gru 64 bidirectional, dropout 0.3");
    else
        snprintf(arch, 512, "dense %d relu he_uniform, dropout 0.1, dense %d relu he_uniform, dropout 0.1", units, units / 2);
}

static hone_tensor *take(task *t, int64_t n, const int64_t *rows)
{
    const arrays_task *own = arrays_of(t);
    hone_shape shape = own->shape;
    int64_t size = hone_shape_count(shape);
    shape.dim[0] = n;
    hone_tensor *x = hone_tensor_new(t->ctx, HONE_F32, shape);
    for (int64_t r = 0; x && r < n; r++) {
        float *to = (float *)hone_tensor_data(x) + r * size;
        for (int64_t i = 0; i < size; i++) {
            int64_t g = group_of(own, i);
            to[place_of(own, i)] = (float)((hone_tensor_get(own->x, rows[r] * size + i) - own->mean[g]) / own->deviation[g]);
        }
    }
    return x;
}

/* ---- looking, and new data ---- */

task *task_look_at_arrays(const common_args *args, hone_ctx *ctx, const char *path, const char *target, const task_wishes *wishes)
{
    arrays_task *own = cli_alloc(sizeof *own);
    task *t = &own->base;
    t->kind = &task_arrays, t->args = args, t->ctx = ctx;
    bool ok = true;
    if (wishes->text || wishes->image_size || (target && is_idx(path)))
        ok = (cli_fail(args, "%s has arrays: --%s is for %s", path, wishes->text ? "text" : wishes->image_size ? "image-size" : "target",
                       wishes->text ? "texts" : wishes->image_size ? "folders of pictures" : "tables, texts and .npz"), false);
    t->target = target ? cli_copy(target) : NULL;
    ok = ok && open_arrays(own, path, true) && read_values(own) && choose_target(own, wishes->learn) && (!t->classes || read_labels(t));
    if (!ok) return task_free(t), NULL;
    if (!t->target) t->target = cli_copy(own->npz && hone_npz_get(own->npz, "y") != own->y ? "y_train" : "y");
    choose_layout(own);
    own->groups = own->shape.dim[own->shape.rank == 4 ? 1 : own->shape.rank - 1];
    cli_note(args, "%s: x is %s %s, y %s", path, layouts[own->layout], shape_text(hone_tensor_shape(own->x), (char[SHAPE_SIZE]){0}),
             t->classes ? "a class" : "a quantity");
    return t;
}

static bool read_arrays(task *t, const char *path, bool targets)
{
    arrays_task *own = arrays_of(t);
    if (!task_is_arrays(path)) return cli_fail(t->args, "%s: an .npz or IDX file is expected, as in training", path), false;
    layout was = own->layout;
    hone_shape shape = own->shape;
    if (!open_arrays(own, path, targets)) return false;
    choose_layout(own);
    if (own->layout != was || !hone_shape_equal(own->shape, shape))
        return cli_fail(t->args, "%s: x is %s %s, and %s %s were learnt from", path, layouts[own->layout],
                        shape_text(hone_tensor_shape(own->x), (char[SHAPE_SIZE]){0}), layouts[was], shape_text(shape, (char[SHAPE_SIZE]){0})), false;
    return !targets || (read_values(own) && (!t->classes || read_labels(t)));
}

/* ---- the folder ---- */

static bool save(const task *t, const char *folder, json_t *into)
{
    const arrays_task *own = arrays_of(t);
    (void)folder;
    json_t *shape = json_array(), *means = json_array(), *deviations = json_array();
    for (int i = 0; i < own->shape.rank; i++) json_array_append_new(shape, json_integer(own->shape.dim[i]));
    for (int64_t g = 0; g < own->groups; g++) {
        json_array_append_new(means, cli_json_real(own->mean[g]));
        json_array_append_new(deviations, cli_json_real(own->deviation[g]));
    }
    json_object_set_new(into, "layout", json_string(layouts[own->layout]));
    json_object_set_new(into, "shape", shape);
    json_object_set_new(into, "mean", means);
    json_object_set_new(into, "deviation", deviations);
    return true;
}

static bool load(task *t, const char *folder, const json_t *from)
{
    arrays_task *own = arrays_of(t);
    const json_t *shape = json_object_get(from, "shape"), *means = json_object_get(from, "mean"), *deviations = json_object_get(from, "deviation");
    const char *name = json_string_value(json_object_get(from, "layout"));
    size_t rank = json_array_size(shape), n = json_array_size(means);
    int kind = 0;
    while (name && kind <= LAST_CHANNELS && strcmp(name, layouts[kind]) != 0) kind++;
    bool ok = name && kind <= LAST_CHANNELS && rank == (kind == FEATURES ? 2 : kind == SEQUENCES ? 3 : 4);
    for (size_t i = 0; ok && i < rank; i++) {
        own->shape.dim[own->shape.rank++] = json_integer_value(json_array_get(shape, i));
        ok = own->shape.dim[i] >= 1 && own->shape.dim[i] < (1 << 24);
    }
    own->layout = (layout)kind;
    own->groups = (int64_t)n;
    ok = ok && own->shape.dim[0] == 1 && json_array_size(deviations) == n && own->groups == own->shape.dim[rank == 4 ? 1 : rank - 1];
    own->mean = cli_alloc(n * sizeof *own->mean), own->deviation = cli_alloc(n * sizeof *own->deviation);
    for (size_t g = 0; ok && g < n; g++) {
        own->mean[g] = json_number_value(json_array_get(means, g));
        own->deviation[g] = json_number_value(json_array_get(deviations, g));
        ok = own->deviation[g] > 0;
    }
    if (!ok) cli_fail(t->args, "%s/task.json: what it says of arrays is not whole", folder);
    return ok;
}

static void free_own(task *t)
{
    arrays_task *own = arrays_of(t);
    if (!own->npz) hone_tensor_free(own->x), hone_tensor_free(own->y);
    hone_npz_free(own->npz);
    free(own->mean), free(own->deviation);
}

const task_kind task_arrays = {
    .name = "arrays", .plural = "rows", .size = sizeof(arrays_task), .epochs = 50, .patience = 8, .batch_size = 64, .learning_rate = 0.001,
    .learn = learn, .propose = propose, .take = take, .read = read_arrays, .save = save, .load = load, .free = free_own,
};
