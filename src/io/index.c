/* Sorted names and extents: what both readers check a file with. */
#include "io/io.h"

#include <stdlib.h>

static int by_name(const void *a, const void *b)
{
    const hone__name *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

const char *hone__names_sort(hone__name *names, int64_t count)
{
    if (count < 2) return NULL;
    qsort(names, (size_t)count, sizeof *names, by_name);
    for (int64_t i = 1; i < count; i++)
        if (!strcmp(names[i - 1].name, names[i].name)) return names[i].name;
    return NULL;
}

int64_t hone__names_find(const hone__name *names, int64_t count, const char *name)
{
    int64_t low = 0, high = count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        int order = strcmp(name, names[middle].name);
        if (order == 0) return names[middle].index;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

static int by_offset(const void *a, const void *b)
{
    const hone_tensor_info *x = *(const hone_tensor_info *const *)a, *y = *(const hone_tensor_info *const *)b;
    if (x->offset != y->offset) return x->offset > y->offset ? 1 : -1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

void hone__infos_sort(const hone_tensor_info **infos, int64_t count)
{
    if (count > 1) qsort(infos, (size_t)count, sizeof *infos, by_offset);
}
