#include "base/library.h"

#include <dlfcn.h>

const char *hone__library_open(const char *const *files, const char *const *names, size_t n, void *library)
{
    const char *first = *files;
    void *handle = NULL;
    for (; *files && !handle; files++) handle = dlopen(*files, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!handle) return first;
    const char *missing = NULL;
    for (size_t i = 0; i < n && !missing; i++) {
        void *symbol = dlsym(handle, names[i]);
        if (!symbol) missing = names[i];
        memcpy((char *)library + i * sizeof symbol, &symbol, sizeof symbol);
    }
    dlclose(handle); /* RTLD_NODELETE keeps it */
    return missing;
}
