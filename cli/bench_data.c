/* The workloads of hone bench that read pictures from files: a loader alone, and a network that it feeds. */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { FILES = 250, CLASSES = 10, SIDE = 32, BATCHES = 20 }; /* files come several times an epoch: writing many takes long */

typedef struct reading {
    char *folder;
    hone_dataset *pictures;
    hone_loader *loader;
} reading;

/* Waves of three colours with some noise: as PNG 2 kB, like photographs of this size. All classes have the same pictures: were
   they learnt, gradients would vanish, and what is tiny takes longer to compute. */
static hone_tensor *draw(hone_ctx *ctx, const hone_tensor *noise, int64_t number)
{
    hone_tensor *picture = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(3, SIDE, SIDE));
    for (int64_t i = 0; picture && i < 3 * SIDE * SIDE; i++) {
        double at = (double)(i % SIDE) * (double)(number % 7 + 1) + (double)(i / SIDE % SIDE) * (double)(number % 5 + 1);
        double wave = sin(at / SIDE + (double)(i / (SIDE * SIDE) + number));
        double value = 0.5 + 0.3 * wave + 0.02 * hone_tensor_get(noise, i);
        ((float *)hone_tensor_data(picture))[i] = (float)value;
    }
    return picture;
}

static bool write_pictures(const bench_run *run, const char *folder)
{
    hone_tensor *noise = bench_noise(run->ctx, HONE_F32, HONE_SHAPE(3, SIDE, SIDE), 0);
    bool ok = noise != NULL;
    for (int i = 0; ok && i < FILES; i++) {
        char path[500];
        snprintf(path, sizeof path, "%s/%d", folder, i % CLASSES);
        if (i < CLASSES && mkdir(path, 0777)) ok = (cli_fail(run->args, "%s: %s", path, cli_system_error()), false);
        snprintf(path, sizeof path, "%s/%d/%d.png", folder, i % CLASSES, i);
        hone_tensor *picture = ok ? draw(run->ctx, noise, i / CLASSES) : NULL;
        ok = picture && hone_image_save(picture, path) == HONE_OK;
        hone_tensor_free(picture);
    }
    hone_tensor_free(noise);
    return ok;
}

static void end_reading(const bench_run *run, reading *r)
{
    hone_loader_free(r->loader);
    hone_dataset_free(r->pictures);
    bench_remove_folder(run->args, r->folder);
}

static bool begin_reading(const bench_run *run, bool keep, reading *r)
{
    static const float mean[3] = {0.5F, 0.5F, 0.5F}, deviation[3] = {0.25F, 0.25F, 0.25F};
    static const hone_transform steps[] = {{.kind = HONE_RANDOM_CROP, .padding = 4},
                                           {.kind = HONE_RANDOM_HORIZONTAL_FLIP},
                                           {.kind = HONE_NORMALIZE, .mean = mean, .deviation = deviation}};
    *r = (reading){.folder = bench_make_folder(run->args)};
    if (r->folder && write_pictures(run, r->folder))
        r->pictures = hone_dataset_images(run->ctx, r->folder, .height = SIDE, .width = SIDE, .no_keep = !keep);
    int64_t n = run->work->batch * BATCHES, *rows = r->pictures ? cli_alloc((size_t)n * sizeof *rows) : NULL;
    for (int64_t i = 0; rows && i < n; i++) rows[i] = i % FILES;
    if (rows)
        r->loader = hone_loader_new(r->pictures, .batch_size = (int)run->work->batch, .threads = run->work->loader_threads, .rows = rows,
                                    .n_rows = n, .transforms = steps, .n_transforms = sizeof steps / sizeof *steps);
    free(rows);
    if (r->loader) return true;
    end_reading(run, r);
    return false;
}

static bool read_all(hone_loader *loader, int64_t epoch)
{
    hone_tensor *x = NULL, *y;
    hone_status status = hone_loader_begin(loader, epoch);
    do {
        if (status == HONE_OK) status = hone_loader_next(loader, &x, &y);
    } while (status == HONE_OK && x);
    return status == HONE_OK;
}

/* Every picture from its file, in each epoch. */
bool bench_loader(bench_run *run)
{
    reading r;
    if (!begin_reading(run, false, &r)) return false;
    bool ok = read_all(r.loader, 0);
    for (int64_t epoch = 1; ok && !bench_enough(run); epoch++) {
        double began = cli_now();
        ok = read_all(r.loader, epoch);
        bench_sample(run, (double)hone_loader_rows(r.loader), cli_now() - began);
    }
    run->peak_memory = hone_peak_memory();
    end_reading(run, &r);
    return ok;
}

bool bench_cnn_files(bench_run *run)
{
    reading r;
    if (!begin_reading(run, true, &r)) return false;
    bool ok = bench_fit_loader(run, bench_small_cnn(run), r.loader, (double)hone_loader_rows(r.loader));
    end_reading(run, &r);
    return ok;
}
