/* Hone: contexts, errors, threads. Read this header first.
 *
 * A hone_ctx belongs to one thread at a time. It carries the allocator, the error, the seed, the log callback
 * and the cancel flag. Errors while building (making layers, recording, opening files) stick to the context:
 * later building calls do nothing and pass NULL or the status on, so a program checks once where it matters.
 * Errors of a run (hone_function_call, hone_fit, ...) are returned and do not stick; hone_error() describes
 * the last one of either kind. The library never prints, exits or aborts. */
#ifndef HONE_BASE_H
#define HONE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of these headers; hone_version() is that of the library. */
#define HONE_VERSION_MAJOR 0
#define HONE_VERSION_MINOR 1
#define HONE_VERSION_PATCH 0

#if defined(__GNUC__)
#define HONE_API __attribute__((visibility("default")))
#define HONE_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define HONE_API
#define HONE_PRINTF(fmt, args)
#endif

/* What a call came to; status.def says what each means. */
typedef enum hone_status {
#define HONE_STATUS(name, text) HONE_##name,
#include "hone/status.def"
#undef HONE_STATUS
    HONE_STATUS_COUNT
} hone_status;

/* "SHAPE" for HONE_SHAPE_..., "?" when out of range. Static storage. */
HONE_API const char *hone_status_name(hone_status status);
/* The one-line meaning from status.def. Static storage. */
HONE_API const char *hone_status_text(hone_status status);
/* "0.1.0" */
HONE_API const char *hone_version(void);

/* What everything is made with: see the top of this page. */
typedef struct hone_ctx hone_ctx;

/* Memory as the library asks for it. alloc returns `size` bytes aligned to 64, or NULL; free takes what alloc
   returned (never NULL). Both may be called from the context's thread only. */
typedef struct hone_allocator {
    void *(*alloc)(void *user, size_t size);
    void (*free)(void *user, void *memory);
    void *user;
} hone_allocator;

/* How much a message of the library matters; hone_log_fn gets each as a line without its newline. */
typedef enum hone_log_level { HONE_LOG_DEBUG, HONE_LOG_INFO, HONE_LOG_WARNING } hone_log_level;
typedef void (*hone_log_fn)(void *user, hone_log_level level, const char *message);

typedef struct hone_ctx_opts {
    size_t struct_size;
    int threads;              /* compute threads; 0: OMP_NUM_THREADS, else the CPUs this process may use */
    uint64_t seed;            /* root of all randomness; default 0 */
    hone_allocator allocator; /* default: the C library's */
    hone_log_fn log;          /* default: none */
    void *log_user;
} hone_ctx_opts;

/* A new context, owned by the caller (one reference). NULL only when memory runs out or opts are not allowed.
   opts NULL: all defaults. */
HONE_API hone_ctx *hone_ctx_new_opt(const hone_ctx_opts *opts);
#define hone_ctx_new(...) hone_ctx_new_opt(&(hone_ctx_opts){.struct_size = sizeof(hone_ctx_opts), __VA_ARGS__})
HONE_API hone_ctx *hone_ctx_retain(hone_ctx *ctx);
/* Drops one reference; models and graphs hold their own. NULL is allowed. */
HONE_API void hone_ctx_release(hone_ctx *ctx);

/* The sticky status of building; HONE_OK when nothing went wrong. */
HONE_API hone_status hone_ctx_status(const hone_ctx *ctx);
/* What went wrong last, where and how to mend it; "" when nothing did. Valid until the next call on ctx. */
HONE_API const char *hone_error(const hone_ctx *ctx);
HONE_API void hone_clear_error(hone_ctx *ctx);

/* As given to hone_ctx_new, or set since. */
HONE_API uint64_t hone_seed(const hone_ctx *ctx);
HONE_API void hone_set_seed(hone_ctx *ctx, uint64_t seed);
HONE_API int hone_threads(const hone_ctx *ctx);

/* Asks the work that runs on ctx to stop at its next step; it returns HONE_CANCELLED. The one call that is
   safe from another thread or a signal handler. Cleared by hone_clear_cancel. */
HONE_API void hone_cancel(hone_ctx *ctx);
HONE_API void hone_clear_cancel(hone_ctx *ctx);
HONE_API bool hone_cancelled(const hone_ctx *ctx);

/* What is used of this CPU, e.g. "amx, 2 threads": the instruction set of the kernels and the compute threads. Valid until
   the context goes. HONE_ISA=ref|avx2|avx512|amx lowers it for the whole process. */
HONE_API const char *hone_hardware(const hone_ctx *ctx);

/* Puts size bytes in the place of the file at path, whole or not at all: when it fails (HONE_IO; not
   sticky), an old one is untouched. */
HONE_API hone_status hone_write_file(hone_ctx *ctx, const char *path, const void *data, size_t size);

/* The most memory that the process has held so far, bytes (Linux: VmHWM); 0 where the system doesn't tell. */
HONE_API size_t hone_peak_memory(void);

/* How the option macros work: HONE_OPTS2(f, type, a, b, .x = 1, .struct_size = ...) is f(a, b, &(type){.x = 1, ...}).
   The size comes last, so that a call without any option is correct C11 too. */
#define HONE_OPTS1(f, type, a, ...) f((a), &(type){__VA_ARGS__})
#define HONE_OPTS2(f, type, a, b, ...) f((a), (b), &(type){__VA_ARGS__})
#define HONE_OPTS3(f, type, a, b, c, ...) f((a), (b), (c), &(type){__VA_ARGS__})
#define HONE_OPTS4(f, type, a, b, c, d, ...) f((a), (b), (c), (d), &(type){__VA_ARGS__})
#define HONE_OPTS5(f, type, a, b, c, d, e, ...) f((a), (b), (c), (d), (e), &(type){__VA_ARGS__})

/* An option whose zero is a legal choice but not the default is given as HONE_ZERO, e.g. .momentum = HONE_ZERO. */
#define HONE_ZERO (-1e-38f)

#ifdef __cplusplus
}
#endif
#endif
