/* The base room, for the rest of the library: errors, memory, randomness, threads. hone__ names are not exported. */
#ifndef HONE_SRC_BASE_H
#define HONE_SRC_BASE_H

#include "hone/base.h"

#include <stdatomic.h>
#include <string.h>

#define HONE_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define HONE_MIN(a, b) ((a) < (b) ? (a) : (b))
#define HONE_MAX(a, b) ((a) > (b) ? (a) : (b))
#define HONE_ALIGN 64 /* bytes: a cache line, an AVX-512 vector */
/* bytes, rounded up to whole lines of those */
static inline size_t hone__align(size_t bytes) { return (bytes + HONE_ALIGN - 1) & ~(size_t)(HONE_ALIGN - 1); }

/* An option's value: 0 stands for the default, HONE_ZERO for zero. */
static inline double hone__choose(double given, double otherwise)
{
    if (given == 0) return otherwise;
    return given == (double)HONE_ZERO ? 0 : given;
}

struct hone__exec; /* graph room */

struct hone_ctx {
    atomic_int refs;
    hone_allocator allocator;
    hone_status status; /* sticky */
    char error[1024];
    uint64_t seed;
    int threads;
    hone_log_fn log;
    void *log_user;
    atomic_int cancel;
    size_t bytes, peak_bytes; /* of hone__alloc: now, and the most so far */
    char hardware[128];
    struct hone_layer *orphans; /* nn room: layers that nobody took yet; they die with the context */
    void (*free_orphans)(hone_ctx *ctx);
    struct hone_profile *profile; /* graph room: what times the runs; NULL: nothing does */
    uint64_t profiles;            /* made so far */
    void (*visit)(void *user, const struct hone__exec *exec); /* train room: told of each call that a plan ran; NULL: nobody is */
    void *visit_user;
};

/* ---- errors ------------------------------------------------------------------------------------------- */

/* Records a building error unless one sticks already (the first one is the cause). Returns the status. */
hone_status hone__fail(hone_ctx *ctx, hone_status status, const char *format, ...) HONE_PRINTF(3, 4);
/* Describes an error of a run: the message is kept, nothing sticks. Returns the status. */
hone_status hone__fail_run(hone_ctx *ctx, hone_status status, const char *format, ...) HONE_PRINTF(3, 4);
/* Puts "prefix: " before the message of the error just made; for adding where it happened. */
void hone__error_prefix(hone_ctx *ctx, const char *format, ...) HONE_PRINTF(2, 3);
/* Whether a function may go on with an object that has a `ctx`: OK; the error that sticks there; or INVALID for NULL, which is what a
   constructor gave that refused its arguments: its reason sticks already. */
#define HONE__STATUS_OF(object) ((object) ? (object)->ctx->status : HONE_INVALID)
static inline bool hone__ok(const hone_ctx *ctx) { return ctx && ctx->status == HONE_OK; }
void hone__log(hone_ctx *ctx, hone_log_level level, const char *format, ...) HONE_PRINTF(3, 4);

/* ---- memory: every allocation of ours goes through hone__alloc ------------------------------------------ */

/* 64-byte aligned, not cleared; size 0 is legal. On failure: sticky HONE_MEMORY, and NULL. */
void *hone__alloc(hone_ctx *ctx, size_t size);
void *hone__calloc(hone_ctx *ctx, size_t count, size_t size); /* checks count * size */
/* Grows to at least count elements (capacity doubles); keeps the contents. false and *array unchanged on failure. */
bool hone__grow(hone_ctx *ctx, void **array, size_t *capacity, size_t count, size_t size);
void hone__free(hone_ctx *ctx, void *memory); /* NULL is allowed */
char *hone__strdup(hone_ctx *ctx, const char *text);
char *hone__strndup(hone_ctx *ctx, const char *text, size_t length);
char *hone__format(hone_ctx *ctx, const char *format, ...) HONE_PRINTF(2, 3);
/* a * b (or + b) into *out; false when it overflows. */
static inline bool hone__mul_size(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool hone__add_size(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }

/* Many small objects that die together. Zeroed when handed out. */
typedef struct hone__arena {
    hone_ctx *ctx;
    struct hone__arena_block *blocks;
    size_t left;
    char *next;
} hone__arena;
void hone__arena_init(hone__arena *arena, hone_ctx *ctx);
void *hone__arena_alloc(hone__arena *arena, size_t size); /* NULL: memory ran out (sticky) */
char *hone__arena_strdup(hone__arena *arena, const char *text);
void hone__arena_free(hone__arena *arena);

/* A byte buffer that grows: text building, file writing. Zero is empty; data is NUL-terminated when not NULL. */
typedef struct hone__buffer {
    char *data;
    size_t size, capacity;
} hone__buffer;
bool hone__buffer_add(hone_ctx *ctx, hone__buffer *buffer, const void *data, size_t size);
bool hone__buffer_print(hone_ctx *ctx, hone__buffer *buffer, const char *format, ...) HONE_PRINTF(3, 4);
void hone__buffer_free(hone_ctx *ctx, hone__buffer *buffer);

/* The length of the character at text (1 to 4) and its code; 0: not UTF-8. */
int hone__utf8_next(const char *text, size_t size, uint32_t *code);

/* ---- randomness: Philox-4x32-10 (Salmon et al., SC 2011), a function of (key, index), never of call order -- */

/* Mixes parts of a key: hone__key(hone__key(seed, step), stream). SplitMix64's finalizer. */
uint64_t hone__key(uint64_t a, uint64_t b);
uint64_t hone__hash(const void *data, size_t size, uint64_t seed); /* FNV-1a, 64 bits, finalized */
void hone__philox(uint64_t key, uint64_t index, uint32_t out[4]);
/* The same to be inlined, where a loop of them is to vectorize. Philox-4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel Random
   Numbers: As Easy as 1, 2, 3", SC 2011. */
static inline __attribute__((always_inline)) void hone__philox_rounds(uint64_t key, uint64_t index, uint32_t *out)
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32), c2 = 0, c3 = 0;
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}
/* Uniform in [0, 1) with 24 bits, and standard normal (Box-Muller), for element `index` of stream `key`. */
float hone__random_uniform(uint64_t key, uint64_t index);
float hone__random_normal(uint64_t key, uint64_t index);
/* Uniform in [0, bound), bound > 0. */
uint64_t hone__random_below(uint64_t key, uint64_t index, uint64_t bound);
/* Fisher-Yates over order[0..count), seeded by key. */
void hone__shuffle(uint64_t key, int64_t *order, int64_t count);

/* ---- threads --------------------------------------------------------------------------------------------- */

/* oneDNN takes as many threads as OpenMP's setting of the calling thread says, which any context of another number changes (those of a
   loader's threads have one): called before plans are made and run. */
void hone__use_threads(const hone_ctx *ctx);

typedef void (*hone__range_fn)(void *arg, int64_t begin, int64_t end);
/* Calls fn over [0, n) cut into one range a thread; on the caller alone when n <= grain (so tiny work pays
   nothing). Ranges depend on n, grain and the thread count only. fn must not fail and not call back. */
void hone__parallel_for(const hone_ctx *ctx, int64_t n, int64_t grain, hone__range_fn fn, void *arg);

/* The same for work of which each piece gives the same result whoever does it: up to `threads` threads begin with a share
   each, take up to `chunk` from its front at a time, and when it is done from the end of others' shares, so that nobody
   waits for a thread that was late. fn is called with its thread's number, below HONE_MIN(threads, HONE__SHARES). */
enum { HONE__SHARES = 64 };
typedef void (*hone__share_fn)(void *arg, int thread, int64_t begin, int64_t end);
void hone__parallel_share(int64_t n, int64_t chunk, int64_t threads, hone__share_fn fn, void *arg);

/* ---- what the CPU can do, read once ------------------------------------------------------------------------ */

typedef enum hone__isa { HONE__ISA_REF, HONE__ISA_AVX2, HONE__ISA_AVX512, HONE__ISA_AMX } hone__isa;
/* The best level that this CPU and HONE_ISA allow. AVX512 means F, BW, DQ, VL and VNNI. */
hone__isa hone__isa_level(void);
const char *hone__isa_name(hone__isa isa);
/* Is bf16 arithmetic fast here (AVX512-BF16 or AMX, and not lowered away)? */
bool hone__bf16_is_fast(void);

#endif
