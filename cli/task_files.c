/* The files that the rows of a task stand in: what is in them, for telling data from other data, and whether they have changed since. */
#include "task.h"

#include <stdlib.h>
#include <sys/stat.h>

/* FNV-1a of 64 bits, a word at a time. */
uint64_t task_hash(uint64_t hash, const void *data, size_t size)
{
    for (size_t i = 0; i < size; i += 4) {
        uint32_t word = 0;
        memcpy(&word, (const char *)data + i, size - i < 4 ? size - i : 4);
        hash = (hash ^ word) * 0x100000001B3u;
    }
    return hash;
}

/* A file's name and bytes: also where a copy of the folder is learnt from, training goes on. */
static bool hash_file(const task *t, const char *path, uint64_t *hash)
{
    enum { SOME = 1 << 16 };
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    FILE *file = fopen(path, "rb");
    char *bytes = cli_alloc(SOME);
    *hash = task_hash(*hash, name, strlen(name));
    for (size_t n = 1; file && n;) *hash = task_hash(*hash, bytes, n = fread(bytes, 1, SOME, file));
    bool ok = file && !ferror(file);
    if (!ok) cli_fail(t->args, "%s: %s", path, cli_system_error());
    if (file) fclose(file);
    free(bytes);
    return ok;
}

bool task_hash_files(const task *t, uint64_t *hash)
{
    for (int64_t i = 0; i < t->rows; i++)
        if (!hash_file(t, t->kind->name_of(t, i), hash)) return false;
    return true;
}

/* How a file is, as far as can be seen without reading it. */
typedef struct file_state {
    int64_t size, seconds, nanoseconds; /* and when it was written */
} file_state;

struct task_files {
    const task *t;
    file_state state[]; /* [rows] */
};

static file_state state_of(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0) return (file_state){.size = -1};
    return (file_state){.size = (int64_t)info.st_size, .seconds = info.st_mtim.tv_sec, .nanoseconds = info.st_mtim.tv_nsec};
}

task_files *task_files_new(const task *t)
{
    task_files *files = cli_alloc(sizeof *files + (size_t)t->rows * sizeof *files->state);
    files->t = t;
    for (int64_t i = 0; i < t->rows; i++) files->state[i] = state_of(t->kind->name_of(t, i));
    return files;
}

bool task_files_changed(const task_files *files)
{
    for (int64_t i = 0; i < files->t->rows; i++) {
        file_state now = state_of(files->t->kind->name_of(files->t, i)), then = files->state[i];
        if (now.size != then.size || now.seconds != then.seconds || now.nanoseconds != then.nanoseconds) return true;
    }
    return false;
}
