/* CIFAR-10's binary version (Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images";
   https://www.cs.toronto.edu/~kriz/cifar.html): records of a class in a byte and the red, green and blue planes of a picture. */
#include "data/data.h"
#include "base/os.h"

enum { CLASSES = 10, PIXELS = 3 * 32 * 32, RECORD = 1 + PIXELS, FILES = 5 };

/* The records of one file to x [n, PIXELS] and y [n]. */
static hone_status copy_records(hone_ctx *ctx, const char *path, const hone__map *map, uint8_t *x, uint8_t *y)
{
    for (size_t i = 0; i < map->size / RECORD; i++) {
        const uint8_t *record = map->data + i * RECORD;
        if (record[0] >= CLASSES)
            return hone__fail(ctx, HONE_FORMAT, "%s: record %zu is of class %d; CIFAR-10 has 0 to 9", path, i, record[0]);
        y[i] = record[0];
        memcpy(x + i * PIXELS, record + 1, PIXELS);
    }
    return HONE_OK;
}

static hone_status open_records(hone_ctx *ctx, const char *path, hone__map *map)
{
    hone_status status = hone__map_open(ctx, path, map);
    if (status == HONE_OK && (!map->size || map->size % RECORD))
        status = hone__fail(ctx, HONE_FORMAT, "%s: %zu bytes are no whole records of CIFAR-10, of %d bytes each; is it cut off?", path,
                            map->size, RECORD);
    return status;
}

hone_status hone_cifar10_load(hone_ctx *ctx, const char *path, hone_tensor **x, hone_tensor **y)
{
    hone__map map[FILES] = {{0}};
    char *name[FILES] = {0}, file[] = "data_batch_1.bin";
    bool folder = hone__is_folder(path);
    int n = 0;
    int64_t records = 0;
    hone_tensor *pictures = NULL, *classes = NULL;
    *x = *y = NULL;
    hone_status status = hone_ctx_status(ctx);
    for (; status == HONE_OK && n < (folder ? FILES : 1); n++) {
        file[sizeof "data_batch_" - 1] = (char)('1' + n);
        name[n] = hone__join_path(ctx, folder ? path : "", folder ? file : path);
        if (name[n] && n && !hone__is_file(name[n])) break;
        status = name[n] ? open_records(ctx, name[n], &map[n]) : HONE_MEMORY;
        records += (int64_t)(map[n].size / RECORD);
    }
    if (status == HONE_OK) {
        pictures = hone_tensor_new(ctx, HONE_U8, HONE_SHAPE(records, 3, 32, 32));
        classes = hone_tensor_new(ctx, HONE_U8, HONE_SHAPE(records));
        status = hone_ctx_status(ctx);
    }
    for (int64_t i = 0, row = 0; status == HONE_OK && i < n; row += (int64_t)(map[i++].size / RECORD))
        status = copy_records(ctx, name[i], &map[i], (uint8_t *)pictures->data + row * PIXELS, (uint8_t *)classes->data + row);
    for (int i = 0; i < FILES; i++) {
        hone__map_close(&map[i]);
        hone__free(ctx, name[i]);
    }
    if (status == HONE_OK) return *x = pictures, *y = classes, HONE_OK;
    hone_tensor_free(pictures), hone_tensor_free(classes);
    return status;
}
