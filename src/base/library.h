/* Libraries that only some users need: found when they are first used, so that the others neither install nor load them.
     #define FUNCTIONS(X) X(zip_open) X(zip_close)
     HONE__LIBRARY(zip, FUNCTIONS)            a struct zip with a pointer for each, and their names
     struct zip zip;
     if (!hone__library_open(&zip, zip_names, ..., "libzip.so.4")) ...
   The library's header must be there when Hone is built. */
#ifndef HONE_SRC_LIBRARY_H
#define HONE_SRC_LIBRARY_H

#include "base/base.h"

#define HONE__FUNCTION_MEMBER(f) __typeof__(&f) f;
#define HONE__FUNCTION_NAME(f) #f,
#define HONE__LIBRARY(name, LIST)            \
    struct name {                            \
        LIST(HONE__FUNCTION_MEMBER)          \
    };                                       \
    static const char *const name##_names[] = {LIST(HONE__FUNCTION_NAME)}

/* Loads the first of the files (a list that ends with NULL) that there is, once for the whole process and for good, and
   looks up the n names: library is a struct of as many pointers to functions. NULL when all is well, else what is missing. */
const char *hone__library_open(const char *const *files, const char *const *names, size_t n, void *library);

#endif
