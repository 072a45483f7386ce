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

/* Arrays that belong together: those to answer on stand before those to learn from, and the first two are for answering alone. */
static const char *const pairs[][2] = {{"x_test", "y_test"}, {"X_test", "y_test"}, {"x", "y"}, {"X", "y"}, {"x_train", "y_train"}, {"X_train", "y_train"}};
enum { N_PAIRS = sizeof pairs / sizeof *pairs, FOR_ANSWERING = 2 };

static int64_t length_of(const hone_tensor *tensor)
{
    hone_shape shape = hone_tensor_shape(tensor);
    return shape.rank ? shape.dim[0] : 0;
}

/* The x of a y: of its pair, else of as many rows, else the first one there is. */
static hone_tensor *find_x(const hone_npz *npz, size_t first, const char *y_name)
{
    hone_tensor *found = NULL, *y = hone_npz_get(npz, y_name);
    for (int pass = 0; pass < 3; pass++)
        for (size_t i = first; i < N_PAIRS && !found; i++) {
            hone_tensor *x = hone_npz_get(npz, pairs[i][0]);
            if (x && (pass == 0 ? !strcmp(pairs[i][1], y_name) : pass == 2 || length_of(x) == length_of(y))) found = x;
        }
    return found;
}

/* Is it a name for which another file of such data has another one? */
static bool is_usual(const char *target)
{
    bool usual = false;
    for (size_t i = 0; i < N_PAIRS; i++) usual = usual || !strcmp(target, pairs[i][1]);
    return usual;
}

/* Finds x and with `targets` y: to learn from, or with first = 0 to answer on. */
static void find_arrays(arrays_task *own, size_t first, bool targets)
{
    const hone_npz *npz = own->npz;
    const char *name = own->base.target;
    if (!first && name && !strcmp(name, "y")) name = NULL; /* as it is called when it was not named */
    if (targets && name && (own->y = hone_npz_get(npz, name))) own->x = find_x(npz, first, name);
    if (own->y || (targets && name && (first || !is_usual(name)))) return;
    for (size_t i = first; i < N_PAIRS && !own->x; i++) {
        own->x = hone_npz_get(npz, pairs[i][0]), own->y = targets ? hone_npz_get(npz, pairs[i][1]) : NULL;
        if (targets && !own->y) own->x = NULL;
    }
    for (size_t i = first; targets && i < N_PAIRS && !own->y; i++)
        if ((own->y = hone_npz_get(npz, pairs[i][1]))) own->x = find_x(npz, first, pairs[i][1]);
}

static const char *name_in(const hone_npz *npz, const hone_tensor *tensor)
{
    for (size_t i = 0; i < hone_npz_count(npz); i++)
        if (hone_npz_get(npz, hone_npz_name(npz, i)) == tensor) return hone_npz_name(npz, i);
    return NULL;
}

static bool open_npz(arrays_task *own, const char *path, bool learning, bool targets)
{
    task *t = &own->base;
    if (!(own->npz = hone_npz_load(t->ctx, path))) return task_failed(t);
    size_t first = learning ? FOR_ANSWERING : 0;
    find_arrays(own, first, targets);
    if (own->x && (own->y || !targets)) {
        const char *x = name_in(own->npz, own->x), *y = own->y ? name_in(own->npz, own->y) : NULL;
        if (strcmp(x, "x") != 0 || (y && strcmp(y, t->target ? t->target : "y") != 0))
            cli_note(t->args, y ? "%s: %s and %s are read" : "%s: %s is read", path, x, y);
        return true;
    }
    char all[200] = "";
    for (size_t i = 0, n = 0; i < hone_npz_count(own->npz) && n < sizeof all; i++)
        n += (size_t)snprintf(all + n, sizeof all - n, i ? ", %s" : "%s", hone_npz_name(own->npz, i));
    bool any = false;
    for (size_t i = first; i < N_PAIRS; i++) any = any || hone_npz_get(own->npz, pairs[i][0]);
    return cli_fail(t->args, "%s has no array '%s'; there are: %s", path, !any ? "x" : t->target ? t->target : "y", all[0] ? all : "none"), false;
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

static bool is_real(const hone_tensor *tensor)
{
    hone_dtype dtype = hone_tensor_dtype(tensor);
    return dtype == HONE_F32 || dtype == HONE_F64 || dtype == HONE_F16 || dtype == HONE_BF16;
}

/* What is not finite can neither be scaled nor learnt from. */
static bool check_finite(const arrays_task *own, const char *path)
{
    enum { SOME = 1024 };
    double values[SOME];
    int64_t count = hone_shape_count(hone_tensor_shape(own->x)), each = count / own->base.rows;
    for (int64_t at = 0; at < count && is_real(own->x); at += SOME) {
        int64_t n = count - at < SOME ? count - at : SOME, i = 0;
        if (hone_tensor_read(own->x, at, n, HONE_F64, values) != HONE_OK) return task_failed(&own->base);
        while (i < n && isfinite(values[i])) i++;
        if (i == n) continue;
        return cli_fail(own->base.args, "%s: x is %s in row %lld", path, isnan(values[i]) ? "nan" : values[i] > 0 ? "inf" : "-inf",
                        (long long)((at + i) / each)), false;
    }
    return true;
}

/* x, and with `targets` y, as they are in the files. */
static bool open_arrays(arrays_task *own, const char *path, bool learning, bool targets)
{
    task *t = &own->base;
    t->path = path;
    if (is_npz(path) ? !open_npz(own, path, learning, targets) : !open_idx(own, path, targets)) return false;
    hone_shape x = hone_tensor_shape(own->x), y = own->y ? hone_tensor_shape(own->y) : HONE_SHAPE(0);
    t->rows = x.rank ? x.dim[0] : 0;
    if (x.rank < 2 || x.rank > MOST_RANK || hone_shape_count(x) == 0)
        return cli_fail(t->args, "%s: x must be [rows, features], [rows, steps, features], or pictures of rank 3 or 4; it has rank %d and %lld "
                                 "numbers", path, x.rank, (long long)hone_shape_count(x)), false;
    if (!check_finite(own, path)) return false;
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
        return cli_fail(t->args, "%s: y is %g in row %lld: no target can be that", t->path, t->values[i], (long long)i), false;
    }
    return true;
}

typedef struct class_number {
    double value; /* comes first: ascending() compares it */
    int32_t label;
} class_number;

static bool read_labels(task *t)
{
    class_number *classes = cli_alloc((size_t)t->classes * sizeof *classes);
    for (int64_t k = 0; k < t->classes; k++) classes[k] = (class_number){strtod(t->names[k], NULL), (int32_t)k};
    qsort(classes, (size_t)t->classes, sizeof *classes, ascending);
    t->labels = cli_alloc((size_t)t->rows * sizeof *t->labels);
    bool ok = true;
    for (int64_t i = 0; ok && i < t->rows; i++) {
        const class_number *found = bsearch(&t->values[i], classes, (size_t)t->classes, sizeof *classes, ascending);
        if (found)
            t->labels[i] = found->label;
        else
            ok = (cli_fail(t->args, "%s: y is %g in row %lld, which is none of the %lld classes that were learnt", t->path, t->values[i], (long long)i,
                           (long long)t->classes), false);
    }
    free(classes);
    return ok;
}

/* Whole numbers by their type are classes; other types' where they look like classes, as a table's do; all else is a quantity. */
static bool choose_target(arrays_task *own, int learn)
{
    task *t = &own->base;
    bool whole = !is_real(own->y);
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

/* Sums are of the differences from the first value: those of a column that is the same everywhere have no rounding. */
static bool measure(arrays_task *own, int64_t n, const int64_t *rows)
{
    int64_t size = hone_shape_count(own->shape);
    double count = (double)n * (double)(size / own->groups);
    own->mean = cli_alloc((size_t)own->groups * sizeof *own->mean);
    own->deviation = cli_alloc((size_t)own->groups * sizeof *own->deviation);
    double *from = cli_alloc((size_t)own->groups * sizeof *from);
    for (int64_t i = size; i-- > 0;) from[group_of(own, i)] = hone_tensor_get(own->x, rows[0] * size + i);
    for (int pass = 0; pass < 2; pass++) {
        double *sums = pass ? own->deviation : own->mean;
        for (int64_t r = 0; r < n; r++)
            for (int64_t i = 0; i < size; i++) {
                int64_t g = group_of(own, i);
                double v = hone_tensor_get(own->x, rows[r] * size + i) - from[g];
                sums[g] += pass ? v * v : v;
            }
        for (int64_t g = 0; g < own->groups; g++) {
            sums[g] /= count;
            if (!pass) from[g] = own->mean[g] += from[g];
        }
    }
    free(from);
    for (int64_t g = 0; g < own->groups; g++) {
        if (!isfinite(own->mean[g]) || !isfinite(own->deviation[g]))
            return cli_fail(own->base.args, "the numbers of x are too large to be scaled in %s %lld: they have no finite standard deviation",
                            own->shape.rank == 4 ? "channel" : "feature", (long long)g), false;
        own->deviation[g] = task_deviation(count, own->mean[g], own->deviation[g]);
    }
    return true;
}

static bool learn(task *t, int64_t n, const int64_t *rows)
{
    arrays_task *own = arrays_of(t);
    char what[160], becomes[160];
    if (!measure(own, n, rows)) return false;
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
    if (own->shape.rank == 4 && d[2] > 1 && d[3] > 1)
        task_propose_convolutions(t->classes, d[2] < d[3] ? d[2] : d[3], arch);
    else if (own->shape.rank == 3)
        snprintf(arch, 512, "gru 64 bidirectional, dropout 0.3");
    else
        snprintf(arch, 512, "%sdense %d relu he_uniform, dropout 0.1, dense %d relu he_uniform, dropout 0.1",
                 own->shape.rank == 4 ? "flatten, " : "" /* nothing that could be pooled */, units, units / 2);
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
    const char *wrong = wishes->text ? "text" : target && is_idx(path) ? "target" : task_wish_of_pictures(wishes);
    if (wrong)
        ok = (cli_fail(args, "%s has arrays: --%s is for %s", path, wrong, wishes->text ? "texts" : *wrong == 't' ? "tables, texts and .npz"
                       : "folders of pictures"), false);
    t->target = target ? cli_copy(target) : NULL;
    ok = ok && open_arrays(own, path, true, true) && read_values(own) && choose_target(own, wishes->learn) && (!t->classes || read_labels(t));
    if (!ok) return task_free(t), NULL;
    if (!t->target) t->target = cli_copy("y"); /* whatever the array is called: other files may have y_test */
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
    if (!open_arrays(own, path, false, targets)) return false;
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

static void lend(const task *t, task *to)
{
    const arrays_task *from = arrays_of(t);
    arrays_task *own = arrays_of(to);
    own->layout = from->layout, own->shape = from->shape, own->groups = from->groups;
    own->mean = from->mean, own->deviation = from->deviation;
}

static void free_own(task *t)
{
    arrays_task *own = arrays_of(t);
    if (!own->npz) hone_tensor_free(own->x), hone_tensor_free(own->y);
    hone_npz_free(own->npz);
    if (!t->from) free(own->mean), free(own->deviation);
}

const task_kind task_arrays = {
    .name = "arrays", .plural = "rows", .size = sizeof(arrays_task), .epochs = 50, .patience = 8, .batch_size = 64, .learning_rate = 0.001,
    .learn = learn, .propose = propose, .take = take, .read = read_arrays, .save = save, .load = load, .lend = lend, .free = free_own,
};
