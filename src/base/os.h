/* Everything that asks the operating system, in one file: mappings, whole files, atomic replacement,
   folders, clocks. */
#ifndef HONE_SRC_OS_H
#define HONE_SRC_OS_H

#include "base/base.h"
#include <stdio.h>

/* A read-only mapping of a whole regular file. size 0 is legal (data NULL). */
typedef struct hone__map {
    const uint8_t *data;
    size_t size;
} hone__map;
/* IO with the path and the system's reason on failure. */
hone_status hone__map_open(hone_ctx *ctx, const char *path, hone__map *map);
void hone__map_close(hone__map *map);
/* The pages wholly inside [offset, offset + size) may be dropped from memory; they come back when read. */
void hone__map_release(const hone__map *map, size_t offset, size_t size);

/* A whole file, NUL-terminated beyond *size (size may be NULL), to be freed with hone__free. Refuses more
   than max bytes and anything but a regular file. NULL on failure (sticky error). */
char *hone__read_file(hone_ctx *ctx, const char *path, size_t max, size_t *size);

/* A file written beside its final name and put in its place whole, or not at all: on commit the data are
   synced, renamed over the target, and the folder synced. */
typedef struct hone__file {
    hone_ctx *ctx;
    FILE *stream; /* write with hone__file_write, or with stdio: errors are seen at commit */
    char *path, *temporary;
    bool failed;
    int reason; /* errno of the first failed write; 0 when unknown */
} hone__file;
hone_status hone__file_create(hone_ctx *ctx, hone__file *file, const char *path);
void hone__file_write(hone__file *file, const void *data, size_t size); /* errors are kept until commit */
void hone__file_pad(hone__file *file, size_t multiple);                 /* zeros up to a multiple of bytes */
hone_status hone__file_commit(hone__file *file); /* also frees; the target is untouched when it fails */
void hone__file_abandon(hone__file *file);       /* removes the temporary file */
/* All of the above for bytes in memory is hone_write_file. */

bool hone__is_named(const char *path, const char *suffix); /* something that ends so, ".csv" for example */
bool hone__is_file(const char *path);
bool hone__is_folder(const char *path);
int64_t hone__file_size(const char *path);                           /* -1 when there is none */
hone_status hone__make_folder(hone_ctx *ctx, const char *path);      /* with its parents; existing is fine */
/* A folder of files filled under a temporary name and renamed whole into place (an old one is replaced). */
hone_status hone__rename_folder(hone_ctx *ctx, const char *from, const char *to);
hone_status hone__remove_folder(hone_ctx *ctx, const char *path);    /* with its contents; absent is fine */
/* Names in a folder (no "." and ".."), sorted bytewise; one allocation, freed with hone__free. */
hone_status hone__list_folder(hone_ctx *ctx, const char *path, char ***names, size_t *count);
char *hone__join_path(hone_ctx *ctx, const char *folder, const char *name);

/* Memory to be freed with free(), at a multiple of HONE_ALIGN; NULL when there is none. Much of it comes in large pages, if
   the system has them: by pages of 4 KB, products and optimizers that walk through gigabytes wait for addresses. */
void *hone__system_alloc(size_t size);

double hone__seconds(void);      /* monotonic */
int64_t hone__unix_time(void);   /* seconds since 1970 */
size_t hone__total_memory(void); /* of the machine or its control group, bytes; 0 when unknown */

#endif
