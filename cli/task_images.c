/* Folders of pictures, one for each class: brought to one size and to mean 0, shifted at random while the network learns. */
#include "task.h"

#include <math.h>
#include <stdlib.h>

enum { MOST_PROBED = 64, MOST_MEASURED = 512, LONGEST_SIDE = 96, SHORTEST_SIDE = 8, BATCH = 256, FEWEST = 10, MOST_SIDE = 1024 };

typedef struct image_task {
    task base;
    hone_dataset *set;
    int channels, augment;
    int64_t height, width;
    float mean[3], deviation[3];
    hone_transform steps[3]; /* of training; the last one scales */
} image_task;

static image_task *images_of(const task *t) { return (image_task *)(uintptr_t)t; }

/* ---- looking ---- */

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Sizes in the middle of those of some pictures, brought down to what is quick to learn; 1 channel when all are grey. */
static bool probe(image_task *own, const task_wishes *wishes)
{
    task *t = &own->base;
    int64_t heights[MOST_PROBED], widths[MOST_PROBED], n = t->rows < MOST_PROBED ? t->rows : MOST_PROBED;
    own->channels = 1;
    for (int64_t i = 0; i < n; i++) {
        hone_tensor *x = hone_image_load(t->ctx, hone_dataset_file(own->set, i * t->rows / n));
        if (!x) return task_failed(t);
        hone_shape s = hone_tensor_shape(x);
        int64_t pixels = s.dim[1] * s.dim[2];
        const float *v = hone_tensor_data(x);
        for (int64_t k = 0; k < pixels && own->channels == 1; k++)
            if (v[k] != v[pixels + k] || v[k] != v[2 * pixels + k]) own->channels = 3;
        heights[i] = s.dim[1], widths[i] = s.dim[2];
        hone_tensor_free(x);
    }
    qsort(heights, (size_t)n, sizeof *heights, by_size);
    qsort(widths, (size_t)n, sizeof *widths, by_size);
    double h = (double)heights[n / 2], w = (double)widths[n / 2], longer = fmax(h, w);
    double scale = wishes->image_size ? (double)wishes->image_size / longer : fmin(1, LONGEST_SIDE / longer);
    own->height = (int64_t)fmax(SHORTEST_SIDE, round(h * scale));
    own->width = (int64_t)fmax(SHORTEST_SIDE, round(w * scale));
    cli_note(t->args, "pictures are %s, mostly %.0f x %.0f pixels; %lld x %lld are read", own->channels == 1 ? "grey" : "in colour", h, w,
             (long long)own->height, (long long)own->width);
    return true;
}

/* keep: the pictures will be read several times. */
static bool open_set(image_task *own, const char *path, bool keep)
{
    task *t = &own->base;
    hone_dataset_free(own->set);
    own->set = hone_dataset_images(t->ctx, path, .channels = own->channels, .height = own->height, .width = own->width, .no_keep = !keep);
    t->rows = hone_dataset_rows(own->set);
    return own->set || task_failed(t);
}

/* For the first time: what is nothing else may be pictures. */
static bool find_pictures(image_task *own, const char *path)
{
    task *t = &own->base;
    own->set = hone_dataset_images(t->ctx, path, .channels = 1, .height = 1, .width = 1, .no_keep = true);
    t->rows = hone_dataset_rows(own->set);
    if (!own->set && hone_ctx_status(t->ctx) == HONE_NOT_FOUND)
        cli_fail(t->args, "%s: there is no .png, .jpg, .jpeg or .wav file in folders that name the classes", path);
    else if (!own->set)
        cli_fail_ctx(t->args, t->ctx);
    return own->set != NULL;
}

static bool name_classes(task *t, const char *path)
{
    const hone_dataset *set = images_of(t)->set;
    t->classes = (int64_t)hone_dataset_classes(set);
    if (t->classes < 2 || t->rows < FEWEST) {
        cli_fail(t->args, "%s: a folder for each class is expected, at least 2, and %d pictures; there are %lld and %lld", path, FEWEST,
                 (long long)t->classes, (long long)t->rows);
        t->classes = 0;
        return false;
    }
    t->names = cli_alloc((size_t)t->classes * sizeof *t->names);
    t->labels = cli_alloc((size_t)t->rows * sizeof *t->labels);
    for (int64_t i = 0; i < t->classes; i++) {
        t->names[i] = cli_copy(hone_dataset_class(set, (size_t)i));
        if (!cli_is_utf8(t->names[i])) return cli_fail(t->args, "%s/%s: the folder's name is not in UTF-8", path, t->names[i]), false;
    }
    for (int64_t i = 0; i < t->rows; i++) t->labels[i] = hone_dataset_label(set, i);
    cli_note(t->args, "%s: %lld pictures of %lld classes", path, (long long)t->rows, (long long)t->classes);
    return true;
}

task *task_look_at_images(const common_args *args, hone_ctx *ctx, const char *path, const task_wishes *wishes)
{
    image_task *own = cli_alloc(sizeof *own);
    task *t = &own->base;
    t->kind = &task_images, t->args = args, t->ctx = ctx;
    own->augment = wishes->augment ? wishes->augment : AUGMENT_SHIFT;
    own->channels = 1, own->height = own->width = 1; /* until they are known */
    if (find_pictures(own, path) && name_classes(t, path) && probe(own, wishes) && open_set(own, path, true)) return t;
    task_free(t);
    return NULL;
}

/* ---- pixels ---- */

static hone_tensor *read_pixels(image_task *own, int64_t n, const int64_t *rows, const hone_transform *steps, size_t n_steps)
{
    task *t = &own->base;
    hone_loader *loader = hone_loader_new(own->set, .batch_size = BATCH, .threads = 2, .no_shuffle = true, .rows = rows, .n_rows = n,
                                          .transforms = steps, .n_transforms = n_steps);
    hone_tensor *all = loader ? hone_tensor_new(t->ctx, HONE_F32, HONE_SHAPE(n, own->channels, own->height, own->width)) : NULL, *x, *y;
    bool ok = all && hone_loader_begin(loader, 0) == HONE_OK;
    for (size_t at = 0; ok && (ok = hone_loader_next(loader, &x, &y) == HONE_OK) && x; at += hone_tensor_bytes(x))
        memcpy((char *)hone_tensor_data(all) + at, hone_tensor_data(x), hone_tensor_bytes(x));
    hone_loader_free(loader);
    if (ok) return all;
    hone_tensor_free(all);
    return NULL;
}

static hone_transform scaling(const image_task *own)
{
    return (hone_transform){.kind = HONE_NORMALIZE, .mean = own->mean, .deviation = own->deviation};
}

static hone_tensor *take(task *t, int64_t n, const int64_t *rows)
{
    hone_transform scale = scaling(images_of(t));
    return read_pixels(images_of(t), n, rows, &scale, 1);
}

static hone_dataset *dataset(task *t) { return images_of(t)->set; }

static bool measure(image_task *own, int64_t n, const int64_t *rows)
{
    n = n < MOST_MEASURED ? n : MOST_MEASURED; /* rows are shuffled: these are of all classes */
    hone_tensor *x = read_pixels(own, n, rows, NULL, 0);
    if (!x) return task_failed(&own->base);
    int64_t pixels = own->height * own->width;
    for (int c = 0; c < own->channels; c++) {
        double sum = 0, squares = 0, count = (double)(n * pixels);
        for (int64_t i = 0; i < n; i++)
            for (int64_t k = 0; k < pixels; k++) {
                double v = (double)((const float *)hone_tensor_data(x))[(i * own->channels + c) * pixels + k];
                sum += v, squares += v * v;
            }
        double variance = squares / count - sum / count * (sum / count);
        own->mean[c] = (float)(sum / count);
        own->deviation[c] = variance > 1e-8 ? (float)sqrt(variance) : 1;
    }
    hone_tensor_free(x);
    return true;
}

static bool learn(task *t, int64_t n, const int64_t *rows)
{
    image_task *own = images_of(t);
    if (!measure(own, n, rows)) return false;
    int64_t longer = own->height > own->width ? own->height : own->width, padding = longer / 12;
    if (own->augment != AUGMENT_NONE) {
        own->steps[t->n_transforms++] = (hone_transform){.kind = HONE_RANDOM_CROP, .padding = padding};
        if (own->augment == AUGMENT_FLIP) own->steps[t->n_transforms++] = (hone_transform){.kind = HONE_RANDOM_HORIZONTAL_FLIP};
    }
    own->steps[t->n_transforms++] = scaling(own);
    t->transforms = own->steps;
    char what[160], becomes[160];
    snprintf(what, sizeof what, "%s, brought to %lld x %lld pixels", own->channels == 1 ? "grey" : "in colour", (long long)own->height,
             (long long)own->width);
    snprintf(becomes, sizeof becomes, "scaled to mean 0 and standard deviation 1; %s",
             own->augment == AUGMENT_NONE ? "as they are"
             : own->augment == AUGMENT_FLIP ? "shifted and flipped left to right at random while learning"
                                            : "shifted at random while learning");
    task_fact(t, "pictures", what, becomes);
    task_tell_classes(t);
    return true;
}

/* Convolutions and poolings until some 7 pixels a side are left, then a layer over them that grows with the classes. */
void task_propose_convolutions(int64_t classes, int64_t side, char arch[512])
{
    int n = 0;
    for (int filters = 32; n == 0 || (side >= 10 && filters <= 256); filters *= 2, side /= 2)
        n += snprintf(arch + n, (size_t)(512 - n), "conv2d %d 3 same no_bias, batch_norm, activation relu, max_pool2d 2, ", filters);
    snprintf(arch + n, (size_t)(512 - n), "flatten, dense %d relu, dropout 0.3", classes <= 4 ? 64 : classes <= 50 ? 128 : 256);
}

static void propose(task *t, char first[64], char arch[512])
{
    const image_task *own = images_of(t);
    first[0] = 0;
    task_propose_convolutions(t->classes, own->height < own->width ? own->height : own->width, arch);
}

/* ---- new pictures ---- */

static bool read_images(task *t, const char *path, bool targets)
{
    image_task *own = images_of(t);
    if (!open_set(own, path, false)) return false;
    if (!targets) return true;
    size_t n = hone_dataset_classes(own->set);
    if (!n) return cli_fail(t->args, "%s: a folder for each class is expected, which says what its pictures are", path), false;
    int32_t *number = cli_alloc(n * sizeof *number);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        number[i] = -1;
        for (int64_t k = 0; k < t->classes; k++)
            if (!strcmp(t->names[k], hone_dataset_class(own->set, i))) number[i] = (int32_t)k;
        if (number[i] < 0)
            ok = (cli_fail(t->args, "%s: '%s' is none of the classes that were learnt", path, hone_dataset_class(own->set, i)), false);
    }
    t->labels = cli_alloc((size_t)t->rows * sizeof *t->labels);
    for (int64_t i = 0; ok && i < t->rows; i++) t->labels[i] = number[hone_dataset_label(own->set, i)];
    free(number);
    return ok;
}

static const char *name_of(const task *t, int64_t row) { return hone_dataset_file(images_of(t)->set, row); }

static bool save(const task *t, const char *folder, json_t *into)
{
    const image_task *own = images_of(t);
    (void)folder;
    json_t *means = json_array(), *deviations = json_array();
    for (int c = 0; c < own->channels; c++) {
        json_array_append_new(means, json_real((double)own->mean[c]));
        json_array_append_new(deviations, json_real((double)own->deviation[c]));
    }
    json_object_set_new(into, "height", json_integer(own->height));
    json_object_set_new(into, "width", json_integer(own->width));
    json_object_set_new(into, "mean", means);
    json_object_set_new(into, "deviation", deviations);
    return true;
}

static bool load(task *t, const char *folder, const json_t *from)
{
    image_task *own = images_of(t);
    const json_t *means = json_object_get(from, "mean"), *deviations = json_object_get(from, "deviation");
    own->height = json_integer_value(json_object_get(from, "height"));
    own->width = json_integer_value(json_object_get(from, "width"));
    own->channels = (int)json_array_size(means);
    bool ok = own->height >= 1 && own->width >= 1 && own->height <= MOST_SIDE && own->width <= MOST_SIDE && t->classes >= 2 &&
              (own->channels == 1 || own->channels == 3) && json_array_size(deviations) == (size_t)own->channels;
    for (int c = 0; ok && c < own->channels; c++) {
        own->mean[c] = (float)json_number_value(json_array_get(means, (size_t)c));
        own->deviation[c] = (float)json_number_value(json_array_get(deviations, (size_t)c));
        ok = own->deviation[c] > 0;
    }
    if (!ok) cli_fail(t->args, "%s/task.json: what it says of pictures is not whole", folder);
    return ok;
}

static void lend(const task *t, task *to)
{
    const image_task *from = images_of(t);
    image_task *own = images_of(to);
    own->channels = from->channels, own->height = from->height, own->width = from->width;
    memcpy(own->mean, from->mean, sizeof own->mean);
    memcpy(own->deviation, from->deviation, sizeof own->deviation);
}

static void free_own(task *t) { hone_dataset_free(images_of(t)->set); }

const task_kind task_images = {
    .name = "images", .plural = "pictures", .size = sizeof(image_task), .epochs = 30, .patience = 5, .batch_size = 64, .learning_rate = 0.001,
    .learn = learn, .propose = propose, .take = take, .dataset = dataset, .read = read_images, .name_of = name_of, .save = save,
    .load = load, .lend = lend, .free = free_own,
};
