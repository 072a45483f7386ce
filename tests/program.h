/* For tests of the program: build/hone as a child process, what it prints and how it ends. */
#ifndef HONE_TEST_PROGRAM_H
#define HONE_TEST_PROGRAM_H

#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM HONE_BINARY_DIR "/hone"
/* A seeded Llama of two layers with a tokenizer and a chat template. */
#define TINY HONE_TEST_DATA "/tiny-llama.gguf"

/* ---- running it ---- */

/* What a child reads and writes: "in", "out", "err". */
static inline const char *stream(const char *name)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/%s", scratch_folder, name);
    return path;
}

/* A path for the test itself, good for its next 15 calls. */
static inline const char *place(const char *name)
{
    static char paths[16][640];
    static int next;
    char *path = paths[next++ % 16];
    snprintf(path, sizeof paths[0], "%s/%s", scratch_folder, name);
    return path;
}

typedef struct result {
    int status; /* exit status; 128 + the signal's number */
    char *out, *err;
} result;

static inline char *read_all(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s: %s", path, strerror(errno));
    char *text = calloc(1, 1 << 20);
    size_t n = fread(text, 1, (1 << 20) - 1, file);
    text[n] = 0;
    fclose(file);
    return text;
}

static inline void write_all(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    if (!file) fail_msg("%s: %s", path, strerror(errno));
    fputs(text, file);
    fclose(file);
}

static inline pid_t start(const char *input, char *const *argv)
{
    write_all(stream("in"), input ? input : "");
    fflush(NULL);
    pid_t child = fork();
    if (child) return child;
    int from = open(stream("in"), O_RDONLY), out = open(stream("out"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int err = open(stream("err"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (dup2(from, 0) >= 0 && dup2(out, 1) >= 0 && dup2(err, 2) >= 0) execv(PROGRAM, argv);
    _exit(127);
}

static inline result finish(pid_t child)
{
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) fail_msg("%s is not there: build it first", PROGRAM);
    return (result){WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_all(stream("out")),
                    read_all(stream("err"))};
}

static inline void release(result r)
{
    free(r.out);
    free(r.err);
}

#define HONE_RUN(input, ...) \
    finish(start((input), (char *const *)(const char *const[]){"hone", __VA_ARGS__, NULL}))

/* Exit status, and a part of what it says on stderr (NULL: nothing is said there). */
static inline void check(result r, int status, const char *message)
{
    if (r.status != status) fail_msg("exit status %d instead of %d: %s", r.status, status, r.err);
    if (message ? !strstr(r.err, message) : r.err[0])
        fail_msg("'%s' on stderr, expected '%s'", r.err, message ? message : "");
}
#define REFUSES(status, message, ...)                 \
    do {                                              \
        result refused = HONE_RUN(NULL, __VA_ARGS__); \
        check(refused, (status), (message));          \
        assert_string_equal(refused.out, "");         \
        release(refused);                             \
    } while (0)

/* Every line of text is one JSON object: how many. `each` (may be NULL) gets them. */
static inline size_t json_lines(const char *text, void (*each)(const json_t *object, size_t line))
{
    size_t n = 0;
    while (*text) {
        size_t length = strcspn(text, "\n");
        json_error_t error;
        json_t *object = json_loadb(text, length, 0, &error);
        if (!json_is_object(object)) fail_msg("no JSON object: %.*s (%s)", (int)length, text, error.text);
        if (each) each(object, n);
        json_decref(object);
        n++;
        assert_int_equal(text[length], '\n');
        text += length + 1;
    }
    return n;
}

/* The same bytes in both. */
static inline void assert_same_files(const char *a, const char *b)
{
    FILE *first = fopen(a, "rb"), *second = fopen(b, "rb");
    if (!first || !second) fail_msg("%s or %s: %s", a, b, strerror(errno));
    long at = 0;
    for (int x = 0, y = 0; x != EOF; at++)
        if ((x = fgetc(first)) != (y = fgetc(second))) fail_msg("%s and %s differ at byte %ld", a, b, at);
    fclose(first), fclose(second);
}

/* Under AddressSanitizer a child that leaks fails; what draws the curves keeps its fonts to the end. */
static inline int make_folder(void **state)
{
    if (scratch_make(state)) return -1;
    char options[400];
    snprintf(options, sizeof options, "print_suppressions=0:suppressions=%s", place("lsan"));
    write_all(place("lsan"),
              "leak:libfontconfig\nleak:libpango\nleak:libcairo\nleak:libglib\nleak:libplplot\n");
    return setenv("LSAN_OPTIONS", options, 0);
}

#endif
