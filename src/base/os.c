#include "base/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- memory ---- */

void *hone__system_alloc(size_t size)
{
    const size_t large_page = (size_t)2 << 20;
    void *memory;
    bool large = size >= 2 * large_page;
    if (posix_memalign(&memory, large ? large_page : HONE_ALIGN, HONE_MAX(size, HONE_ALIGN))) return NULL;
#ifdef MADV_HUGEPAGE
    if (large) madvise(memory, size, MADV_HUGEPAGE); /* a wish: what fails costs time alone */
#endif
    return memory;
}

/* ---- mappings and whole files ---- */

/* Opens a regular file for reading; -1 and a sticky error otherwise. O_NONBLOCK: a pipe must not hang us. */
static int open_regular(hone_ctx *ctx, const char *path, size_t *size)
{
    if (!path) return hone__fail(ctx, HONE_INVALID, "no path was given"), -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        hone__fail(ctx, HONE_IO, "%s: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        hone__fail(ctx, HONE_IO, "%s: %s", path,
                   S_ISDIR(st.st_mode) ? "is a folder" : "is not a regular file");
    } else {
        *size = (size_t)st.st_size;
        return fd;
    }
    if (fd >= 0) close(fd);
    return -1;
}

hone_status hone__map_open(hone_ctx *ctx, const char *path, hone__map *map)
{
    *map = (hone__map){0};
    if (!hone__ok(ctx)) return hone_ctx_status(ctx);
    size_t size;
    int fd = open_regular(ctx, path, &size);
    if (fd < 0) return hone_ctx_status(ctx);
    hone_status status = HONE_OK;
    if (size) {
        void *data = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED) {
            status = hone__fail(ctx, HONE_IO, "%s: cannot map %zu bytes: %s", path, size, strerror(errno));
        } else {
            map->data = data;
            map->size = size;
        }
    }
    close(fd); /* the mapping keeps the file */
    return status;
}

void hone__map_close(hone__map *map)
{
    if (map->data) munmap((void *)(uintptr_t)map->data, map->size);
    *map = (hone__map){0};
}

void hone__map_release(const hone__map *map, size_t offset, size_t size)
{
    if (!map->data || offset >= map->size) return;
    /* whole pages only, counted from address 0: a map may stand for a part of another that begins anywhere */
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)map->data + offset;
    uintptr_t first = (from + page - 1) / page * page, last = (from + HONE_MIN(size, map->size - offset)) / page * page;
    if (first < last) madvise((void *)first, last - first, MADV_DONTNEED);
}

char *hone__read_file(hone_ctx *ctx, const char *path, size_t max, size_t *size)
{
    if (!hone__ok(ctx)) return NULL;
    size_t bytes, done = 0;
    int fd = open_regular(ctx, path, &bytes);
    if (fd < 0) return NULL;
    char *data = NULL;
    if (bytes > max)
        hone__fail(ctx, HONE_IO, "%s: has %zu bytes, at most %zu are accepted", path, bytes, max);
    else if (bytes < SIZE_MAX)
        data = hone__alloc(ctx, bytes + 1);
    while (data && done < bytes) {
        ssize_t n = read(fd, data + done, bytes - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            hone__fail(ctx, HONE_IO, "%s: %s", path, strerror(errno));
            hone__free(ctx, data);
            data = NULL;
        }
        if (n <= 0) break; /* shorter than it was: somebody truncated it meanwhile */
        done += (size_t)n;
    }
    close(fd);
    if (!data) return NULL;
    data[done] = 0;
    if (size) *size = done;
    return data;
}

/* ---- atomic replacement ---- */

/* The folder part of a path: "." when there is none. NULL: memory ran out. */
static char *folder_of(hone_ctx *ctx, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return hone__strdup(ctx, ".");
    return hone__strndup(ctx, path, slash == path ? 1 : (size_t)(slash - path));
}

/* After a rename the target is in place whatever happens here, so a failure can only be told. */
static void sync_folder(hone_ctx *ctx, const char *path)
{
    char *folder = folder_of(ctx, path);
    if (!folder) return;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL)) /* EINVAL: a file system without folder sync */
        hone__log(ctx, HONE_LOG_WARNING, "%s: the folder could not be synced: %s", folder, strerror(errno));
    if (fd >= 0) close(fd);
    hone__free(ctx, folder);
}

/* Creates "<folder>/.hone-<process>-<clock>.tmp"; the name does not grow with the target's, which may be
   at NAME_MAX. */
static int create_temporary(hone_ctx *ctx, hone__file *file)
{
    char *folder = folder_of(ctx, file->path);
    if (!folder) return -1;
    int fd = -1;
    for (int attempt = 0; attempt < 100 && fd < 0; attempt++) {
        struct timespec now = {0};
        clock_gettime(CLOCK_MONOTONIC, &now);
        hone__free(ctx, file->temporary);
        file->temporary = hone__format(ctx, "%s/.hone-%ld-%lx%lx-%d.tmp", folder, (long)getpid(),
                                       (unsigned long)now.tv_sec, (unsigned long)now.tv_nsec, attempt);
        if (!file->temporary) break;
        fd = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && (errno != EEXIST || attempt == 99)) {
            hone__fail_run(ctx, HONE_IO, "%s: cannot create a file in its folder: %s", file->path,
                           strerror(errno));
            break;
        }
    }
    hone__free(ctx, folder);
    return fd;
}

/* Closes what is open, removes the temporary file, frees. */
static void discard(hone__file *file)
{
    if (file->stream) fclose(file->stream);
    if (file->temporary) unlink(file->temporary);
    hone__free(file->ctx, file->temporary);
    hone__free(file->ctx, file->path);
    *file = (hone__file){.ctx = file->ctx};
}

hone_status hone__file_create(hone_ctx *ctx, hone__file *file, const char *path)
{
    *file = (hone__file){.ctx = ctx};
    if (!path) return hone__fail_run(ctx, HONE_INVALID, "no path was given");
    struct stat st;
    bool exists = stat(path, &st) == 0;
    /* Renaming over a device or a pipe would destroy it. */
    if (exists && !S_ISREG(st.st_mode))
        return hone__fail_run(ctx, HONE_IO, "%s: %s", path,
                              S_ISDIR(st.st_mode) ? "is a folder" : "is not a regular file");
    if (!(file->path = hone__strdup(ctx, path))) return HONE_MEMORY;
    int fd = create_temporary(ctx, file);
    if (fd < 0) {
        hone__free(ctx, file->temporary); /* it is not ours to unlink */
        file->temporary = NULL;
        discard(file);
        return ctx->status == HONE_MEMORY ? HONE_MEMORY : HONE_IO;
    }
    bool mode_kept = !exists || fchmod(fd, st.st_mode & 0777) == 0;
    file->stream = mode_kept ? fdopen(fd, "wb") : NULL;
    if (!file->stream) {
        hone__fail_run(ctx, HONE_IO, "%s: %s", path, strerror(errno));
        close(fd);
        discard(file);
        return HONE_IO;
    }
    setvbuf(file->stream, NULL, _IOFBF, 1 << 18);
    return HONE_OK;
}

static void write_failed(hone__file *file)
{
    if (!file->failed) file->reason = errno;
    file->failed = true;
}

void hone__file_write(hone__file *file, const void *data, size_t size)
{
    if (!file->stream || file->failed || !size) return;
    errno = 0;
    if (fwrite(data, 1, size, file->stream) != size) write_failed(file);
}

void hone__file_pad(hone__file *file, size_t multiple)
{
    static const char zeros[64];
    if (!file->stream || file->failed || !multiple) return;
    off_t at = ftello(file->stream);
    if (at < 0) {
        write_failed(file);
        return;
    }
    size_t over = (size_t)at % multiple;
    for (size_t left = over ? multiple - over : 0, n; left; left -= n) {
        n = HONE_MIN(left, sizeof zeros);
        hone__file_write(file, zeros, n);
    }
}

hone_status hone__file_commit(hone__file *file)
{
    hone_ctx *ctx = file->ctx;
    if (!file->stream) return hone__fail_run(ctx, HONE_STATE, "a file that is not open cannot be committed");
    errno = 0;
    if (fflush(file->stream) != 0) write_failed(file);
    if (ferror(file->stream)) write_failed(file);
    if (!file->failed && fsync(fileno(file->stream)) != 0) write_failed(file);
    int closed = fclose(file->stream);
    file->stream = NULL;
    if (closed != 0) write_failed(file);
    if (!file->failed && rename(file->temporary, file->path) != 0) write_failed(file);
    if (file->failed) {
        hone_status status = hone__fail_run(ctx, HONE_IO, "%s: %s; nothing was replaced", file->path,
                                            file->reason ? strerror(file->reason) : "writing failed");
        discard(file);
        return status;
    }
    sync_folder(ctx, file->path);
    hone__free(ctx, file->temporary);
    file->temporary = NULL;
    discard(file);
    return HONE_OK;
}

void hone__file_abandon(hone__file *file)
{
    if (file->ctx) discard(file);
}

hone_status hone_write_file(hone_ctx *ctx, const char *path, const void *data, size_t size)
{
    hone__file file;
    hone_status status = hone__file_create(ctx, &file, path);
    if (status != HONE_OK) return status;
    hone__file_write(&file, data, size);
    return hone__file_commit(&file);
}

/* ---- files and folders ---- */

bool hone__is_named(const char *path, const char *suffix)
{
    size_t n = strlen(path), m = strlen(suffix);
    return n > m && !strcmp(path + n - m, suffix);
}

bool hone__is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool hone__is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int64_t hone__file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? (int64_t)st.st_size : -1;
}

hone_status hone__make_folder(hone_ctx *ctx, const char *path)
{
    if (!path[0]) return hone__fail_run(ctx, HONE_INVALID, "the name of a folder is empty");
    char *part = hone__strdup(ctx, path);
    if (!part) return HONE_MEMORY;
    hone_status status = HONE_OK;
    for (char *end = part + 1; status == HONE_OK; end++) {
        char kept = *end;
        if (kept && kept != '/') continue;
        *end = 0;
        if (mkdir(part, 0777) != 0) {
            int reason = errno; /* EEXIST may hide behind EROFS or EACCES for a parent that is there */
            if (!hone__is_folder(part))
                status = hone__fail_run(ctx, HONE_IO, "%s: %s", part,
                                        reason == EEXIST ? "exists and is not a folder" : strerror(reason));
        }
        *end = kept;
        if (!kept) break;
    }
    hone__free(ctx, part);
    return status;
}

/* nftw hands no argument through; its result carries errno out. */
static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path) == 0 || errno == ENOENT ? 0 : errno;
}

hone_status hone__remove_folder(hone_ctx *ctx, const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? HONE_OK : hone__fail_run(ctx, HONE_IO, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode)) return hone__fail_run(ctx, HONE_IO, "%s: is not a folder", path);
    int result = nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    if (result == 0) return HONE_OK;
    return hone__fail_run(ctx, HONE_IO, "%s: cannot be removed: %s", path,
                          strerror(result > 0 ? result : errno));
}

hone_status hone__rename_folder(hone_ctx *ctx, const char *from, const char *to)
{
    if (rename(from, to) == 0) {
        sync_folder(ctx, to);
        return HONE_OK;
    }
    if (errno != ENOTEMPTY && errno != EEXIST)
        return hone__fail_run(ctx, HONE_IO, "%s: cannot become %s: %s", from, to, strerror(errno));
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE) == 0) {
        sync_folder(ctx, to);
        return hone__remove_folder(ctx, from);
    }
    /* A file system that cannot swap: the old one steps aside for a moment. */
    char *aside = hone__format(ctx, "%s.old-%ld", to, (long)getpid());
    if (!aside) return HONE_MEMORY;
    hone_status status = HONE_OK;
    if (rename(to, aside) != 0) {
        status = hone__fail_run(ctx, HONE_IO, "%s: cannot be moved aside: %s", to, strerror(errno));
    } else if (rename(from, to) != 0) {
        status = hone__fail_run(ctx, HONE_IO, "%s: cannot become %s: %s", from, to, strerror(errno));
        if (rename(aside, to) != 0) hone__error_prefix(ctx, "the old folder is kept as %s", aside);
    } else {
        sync_folder(ctx, to);
        status = hone__remove_folder(ctx, aside);
    }
    hone__free(ctx, aside);
    return status;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

hone_status hone__list_folder(hone_ctx *ctx, const char *path, char ***names, size_t *count)
{
    *names = NULL;
    *count = 0;
    if (!hone__ok(ctx)) return hone_ctx_status(ctx);
    DIR *folder = opendir(path);
    if (!folder) return hone__fail(ctx, HONE_IO, "%s: %s", path, strerror(errno));
    hone__buffer text = {0}; /* the names, each with its NUL */
    size_t n = 0;
    hone_status status = HONE_OK;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(folder);
        if (!entry) {
            if (errno) status = hone__fail(ctx, HONE_IO, "%s: %s", path, strerror(errno));
            break;
        }
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (!hone__buffer_add(ctx, &text, entry->d_name, strlen(entry->d_name) + 1)) {
            status = HONE_MEMORY;
            break;
        }
        n++;
    }
    closedir(folder);
    size_t bytes;
    if (status == HONE_OK &&
        (!hone__mul_size(n, sizeof(char *), &bytes) || !hone__add_size(bytes, text.size, &bytes)))
        status = hone__fail(ctx, HONE_MEMORY, "%s: too many files", path);
    char **list = status == HONE_OK ? hone__alloc(ctx, bytes) : NULL;
    if (list) {
        char *next = (char *)(list + n);
        if (text.size) memcpy(next, text.data, text.size);
        for (size_t i = 0; i < n; i++, next += strlen(next) + 1) list[i] = next;
        if (n) qsort(list, n, sizeof *list, by_bytes);
        *names = list;
        *count = n;
    } else if (status == HONE_OK) {
        status = HONE_MEMORY;
    }
    hone__buffer_free(ctx, &text);
    return status;
}

char *hone__join_path(hone_ctx *ctx, const char *folder, const char *name)
{
    size_t n = strlen(folder);
    if (!n) return hone__strdup(ctx, name);
    return hone__format(ctx, "%s%s%s", folder, folder[n - 1] == '/' ? "" : "/", name);
}

/* ---- clocks and memory ---- */

double hone__seconds(void)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int64_t hone__unix_time(void) { return (int64_t)time(NULL); }

size_t hone_peak_memory(void)
{
    FILE *status = fopen("/proc/self/status", "re");
    if (!status) return 0;
    char line[256];
    unsigned long long kilobytes = 0;
    while (fgets(line, sizeof line, status))
        if (sscanf(line, "VmHWM: %llu kB", &kilobytes) == 1) break;
    fclose(status);
    return (size_t)kilobytes * 1024;
}

/* The smallest limit named `file` in folder `mount``group` and its parents, up to the mount; SIZE_MAX:
   none. */
static size_t group_limit(const char *mount, char *group, const char *file)
{
    size_t least = SIZE_MAX;
    for (;;) {
        char path[PATH_MAX];
        int n = snprintf(path, sizeof path, "%s%s/%s", mount, group, file);
        FILE *limit = n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
        unsigned long long bytes;
        if (limit) {
            if (fscanf(limit, "%llu", &bytes) == 1) least = HONE_MIN(least, (size_t)bytes); /* or "max" */
            fclose(limit);
        }
        char *slash = strrchr(group, '/');
        if (!slash) return least;
        *slash = 0;
    }
}

size_t hone__total_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    size_t total = pages > 0 && page > 0 ? (size_t)pages * (size_t)page : SIZE_MAX;
    FILE *groups = fopen("/proc/self/cgroup", "re");
    char line[PATH_MAX];
    /* cgroups(7): lines are "id:controllers:path"; version 2 has id 0 and no controllers. */
    while (groups && fgets(line, sizeof line, groups)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) continue;
        *group++ = 0;
        controllers++;
        if (!strcmp(controllers, ""))
            total = HONE_MIN(total, group_limit("/sys/fs/cgroup", group, "memory.max"));
        else if (!strcmp(controllers, "memory"))
            total = HONE_MIN(total, group_limit("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes"));
    }
    if (groups) fclose(groups);
    return total == SIZE_MAX ? 0 : total;
}
