/* Folders of sounds, one for each class: WAV files as log-mel spectrograms, which are read as pictures of one channel. */
#include "task.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { FEWEST = 10, MELS = 40, MOST_SECONDS = 5, MOST_RATE = 768000 };
static const double WINDOW_SECONDS = 0.032; /* of a frame; the next one begins half of it later */

typedef struct sound_task {
    task base;
    char **files; /* [rows] */
    int rate;     /* Hz; another one is refused */
    int64_t samples; /* so many from the beginning of each, silence behind shorter ones */
    double mean, deviation;
} sound_task;

static sound_task *sounds_of(const task *t) { return (sound_task *)(uintptr_t)t; }

/* ---- folders ---- */

static bool ends_in(const char *name, const char *ending)
{
    size_t n = strlen(name), m = strlen(ending);
    return n > m && name[0] != '.' && !cli_compare_case(name + n - m, ending, m + 1);
}

static bool is_wav(const char *name) { return ends_in(name, ".wav"); }
static bool is_picture(const char *name) { return ends_in(name, ".png") || ends_in(name, ".jpg") || ends_in(name, ".jpeg"); }

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Paths in a folder, sorted, of WAV files or of folders; the caller's. NULL: it cannot be read (errno). */
static char **list(const char *folder, bool folders, size_t *n)
{
    DIR *open = opendir(folder);
    *n = 0;
    if (!open) return NULL;
    char **paths = cli_alloc(sizeof *paths);
    for (struct dirent *e; (e = readdir(open));) {
        char *path = cli_join(folder, e->d_name);
        if (e->d_name[0] != '.' && (folders ? is_folder(path) : is_wav(e->d_name) && !is_folder(path))) {
            paths = cli_realloc(paths, (*n + 1) * sizeof *paths);
            paths[(*n)++] = path;
        } else {
            free(path);
        }
    }
    closedir(open);
    if (*n) qsort(paths, *n, sizeof *paths, by_name);
    return paths;
}

static void free_list(char **paths, size_t n)
{
    for (size_t i = 0; i < n; i++) free(paths[i]);
    free(paths);
}

static int64_t count(const char *folder, bool (*is_one)(const char *name))
{
    int64_t n = 0;
    DIR *open = opendir(folder);
    for (struct dirent *e; open && (e = readdir(open));) n += is_one(e->d_name);
    if (open) closedir(open);
    return n;
}

void task_count_files(const char *folder, int64_t *pictures, int64_t *sounds)
{
    size_t n;
    char **folders = list(folder, true, &n);
    *pictures = *sounds = 0;
    for (size_t i = 0; i < n; i++) *pictures += count(folders[i], is_picture), *sounds += count(folders[i], is_wav);
    free_list(folders, n);
    if (!*pictures && !*sounds) *sounds = count(folder, is_picture) ? 0 : count(folder, is_wav);
}

/* The files, and with `classes` the number of its folder for each, whose names are in *names then. */
static bool find_files(sound_task *own, const char *path, bool classes, char ***names, size_t *n_names)
{
    task *t = &own->base;
    size_t n = 0;
    t->rows = 0;
    const bool folder = classes || is_folder(path);
    *n_names = 0;
    *names = folder ? list(path, true, n_names) : cli_alloc(sizeof **names);
    if (!*names) return cli_fail(t->args, "%s: %s", path, cli_system_error()), false;
    for (size_t k = 0; k < *n_names + 1; k++) { /* the last one: what lies in the folder itself, or it is a file */
        bool last = k == *n_names;
        if (last && classes) break;
        char **some = last && !folder ? cli_alloc(sizeof *some) : list(last ? path : (*names)[k], false, &n);
        if (!some) return cli_fail(t->args, "%s: %s", last ? path : (*names)[k], cli_system_error()), false;
        if (last && !folder) some[0] = cli_copy(path), n = 1;
        own->files = cli_realloc(own->files, ((size_t)t->rows + n + 1) * sizeof *own->files);
        t->labels = cli_realloc(t->labels, ((size_t)t->rows + n + 1) * sizeof *t->labels);
        for (size_t i = 0; i < n; i++) {
            own->files[t->rows] = some[i];
            t->labels[t->rows++] = (int32_t)k;
        }
        free(some);
    }
    for (size_t k = 0; k < *n_names; k++) {
        char *name = cli_copy(strrchr((*names)[k], '/') + 1);
        free((*names)[k]);
        (*names)[k] = name;
    }
    if (t->rows) return true;
    return cli_fail(t->args, "%s: there is no .wav file%s", path, classes ? " in folders that name the classes" : ""), false;
}

/* ---- looking ---- */

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Why nothing can be learnt from samples; NULL: it can. */
static const char *why_not(hone_tensor *x)
{
    const float *samples = hone_tensor_data(x);
    int64_t n = hone_shape_count(hone_tensor_shape(x));
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(samples[i])) return "has samples that are not finite";
    return n ? NULL : "has no samples";
}

static hone_tensor *read_wav(sound_task *own, const char *path, int *rate)
{
    task *t = &own->base;
    hone_tensor *x = hone_wav_load(t->ctx, path, rate);
    if (!x) return NULL;
    if (!own->rate) own->rate = *rate;
    const char *wrong = why_not(x);
    if (!wrong && *rate == own->rate && *rate >= 1000 && *rate <= MOST_RATE) return x;
    if (wrong)
        cli_fail(t->args, "%s %s", path, wrong);
    else
        cli_fail(t->args, "%s has %d samples a second, %d are expected: convert it, for example by sox or ffmpeg", path, *rate, own->rate);
    hone_tensor_free(x);
    return NULL;
}

/* Reads every file: how many samples each has (NULL: only whether all can be read). */
static bool measure_lengths(sound_task *own, int64_t *lengths)
{
    task *t = &own->base;
    for (int64_t i = 0; i < t->rows; i++) {
        int rate;
        hone_tensor *x = read_wav(own, own->files[i], &rate);
        if (!x) return hone_ctx_status(t->ctx) != HONE_OK && task_failed(t);
        if (lengths) lengths[i] = hone_tensor_shape(x).dim[1];
        hone_tensor_free(x);
    }
    return true;
}

/* As long as nine in ten are, at most MOST_SECONDS. */
static bool choose_length(sound_task *own)
{
    task *t = &own->base;
    int64_t *lengths = cli_alloc((size_t)t->rows * sizeof *lengths);
    bool ok = measure_lengths(own, lengths);
    if (ok) {
        qsort(lengths, (size_t)t->rows, sizeof *lengths, ascending);
        int64_t length = lengths[t->rows * 9 / 10], most = (int64_t)MOST_SECONDS * own->rate, least = own->rate / 4;
        own->samples = length > most ? most : length < least ? least : length;
        cli_note(t->args, "sounds have %d samples a second; the first %.2f s of each are read", own->rate, (double)own->samples / own->rate);
    }
    free(lengths);
    return ok;
}

static bool name_classes(task *t, const char *path, char **names, size_t n)
{
    t->names = names, t->classes = (int64_t)n;
    if (t->classes < 2 || t->rows < FEWEST)
        return cli_fail(t->args, "%s: a folder for each class is expected, at least 2, and %d sounds; there are %lld and %lld", path, FEWEST,
                        (long long)t->classes, (long long)t->rows), false;
    for (size_t i = 0; i < n; i++)
        if (!cli_is_utf8(names[i])) return cli_fail(t->args, "%s/%s: the folder's name is not in UTF-8", path, names[i]), false;
    cli_note(t->args, "%s: %lld sounds of %lld classes", path, (long long)t->rows, (long long)t->classes);
    return true;
}

task *task_look_at_sounds(const common_args *args, hone_ctx *ctx, const char *path, const task_wishes *wishes)
{
    sound_task *own = cli_alloc(sizeof *own);
    task *t = &own->base;
    char **names = NULL;
    size_t n;
    t->kind = &task_sounds, t->args = args, t->ctx = ctx;
    if (task_wish_of_pictures(wishes))
        cli_fail(args, "--%s is for pictures, and %s has sounds", task_wish_of_pictures(wishes), path);
    else if (find_files(own, path, true, &names, &n) ? name_classes(t, path, names, n) && choose_length(own) : (free_list(names, n), false))
        return t;
    task_free(t);
    return NULL;
}

/* ---- spectrograms ---- */

static int64_t hop(const sound_task *own) { return (int64_t)(own->rate * WINDOW_SECONDS / 2); }
static int64_t frames(const sound_task *own) { return 1 + own->samples / hop(own); }

/* f32 [MELS, frames], decibels; NULL: the context has the error. */
static hone_tensor *spectrogram(sound_task *own, const char *path)
{
    int rate;
    hone_tensor *wav = read_wav(own, path, &rate);
    hone_tensor *mono = wav ? hone_tensor_new(own->base.ctx, HONE_F32, HONE_SHAPE(own->samples)) : NULL;
    if (mono) {
        const int64_t channels = hone_tensor_shape(wav).dim[0], length = hone_tensor_shape(wav).dim[1];
        const float *from = hone_tensor_data(wav);
        float *to = hone_tensor_data(mono);
        for (int64_t i = 0; i < own->samples; i++) {
            to[i] = 0;
            for (int64_t c = 0; c < channels && i < length; c++) to[i] += from[c * length + i] / (float)channels;
        }
    }
    hone_tensor *x = mono ? hone_spectrogram(mono, own->rate, .n_fft = (int)(2 * hop(own)), .hop_length = (int)hop(own), .n_mels = MELS) : NULL;
    hone_tensor_free(wav), hone_tensor_free(mono);
    return x;
}

static hone_tensor *take(task *t, int64_t n, const int64_t *rows)
{
    sound_task *own = sounds_of(t);
    int64_t size = MELS * frames(own);
    hone_tensor *x = hone_tensor_new(t->ctx, HONE_F32, HONE_SHAPE(n, 1, MELS, frames(own)));
    for (int64_t i = 0; x && i < n; i++) {
        hone_tensor *one = spectrogram(own, own->files[rows[i]]);
        const float *from = one ? hone_tensor_data(one) : NULL;
        float *to = (float *)hone_tensor_data(x) + i * size;
        for (int64_t k = 0; one && k < size; k++) to[k] = (float)(((double)from[k] - own->mean) / own->deviation);
        hone_tensor_free(one);
        if (one) continue;
        hone_tensor_free(x);
        x = NULL;
    }
    return x;
}

static bool learn(task *t, int64_t n, const int64_t *rows)
{
    enum { MOST_MEASURED = 512 };
    sound_task *own = sounds_of(t);
    double sum = 0, squares = 0;
    own->mean = 0, own->deviation = 1;
    hone_tensor *x = take(t, n < MOST_MEASURED ? n : MOST_MEASURED, rows); /* rows are shuffled: these are of all classes */
    if (!x) return task_failed(t);
    int64_t count = hone_shape_count(hone_tensor_shape(x));
    for (int64_t i = 0; i < count; i++) {
        double v = (double)((const float *)hone_tensor_data(x))[i];
        sum += v, squares += v * v;
    }
    hone_tensor_free(x);
    own->mean = sum / (double)count;
    double variance = squares / (double)count - own->mean * own->mean;
    own->deviation = variance > 1e-8 ? sqrt(variance) : 1;
    char what[160];
    snprintf(what, sizeof what, "the first %.2f s, %d samples a second", (double)own->samples / own->rate, own->rate);
    task_fact(t, "sounds", what, "decibels in 40 mel bands every 16 ms, scaled to mean 0 and standard deviation 1");
    task_tell_classes(t);
    return true;
}

static void propose(task *t, char first[64], char arch[512])
{
    first[0] = 0;
    task_propose_convolutions(t->classes, frames(sounds_of(t)) < MELS ? frames(sounds_of(t)) : MELS, arch);
}

/* ---- new sounds, and the folder ---- */

static bool read_sounds(task *t, const char *path, bool targets)
{
    char **names;
    size_t n;
    bool ok = find_files(sounds_of(t), path, targets, &names, &n);
    for (int64_t i = 0; ok && targets && i < t->rows; i++) {
        const char *name = names[t->labels[i]];
        int64_t k = 0;
        while (k < t->classes && strcmp(t->names[k], name) != 0) k++;
        if (k == t->classes) ok = (cli_fail(t->args, "%s: '%s' is none of the classes that were learnt", path, name), false);
        t->labels[i] = (int32_t)k;
    }
    if (!targets) free(t->labels), t->labels = NULL;
    free_list(names, n);
    return ok && measure_lengths(sounds_of(t), NULL);
}

static const char *name_of(const task *t, int64_t row) { return sounds_of(t)->files[row]; }

static bool save(const task *t, const char *folder, json_t *into)
{
    const sound_task *own = sounds_of(t);
    (void)folder;
    json_object_set_new(into, "rate", json_integer(own->rate));
    json_object_set_new(into, "samples", json_integer(own->samples));
    json_object_set_new(into, "mean", json_real(own->mean));
    json_object_set_new(into, "deviation", json_real(own->deviation));
    return true;
}

static bool load(task *t, const char *folder, const json_t *from)
{
    sound_task *own = sounds_of(t);
    json_int_t rate = json_integer_value(json_object_get(from, "rate")), samples = json_integer_value(json_object_get(from, "samples"));
    own->mean = json_number_value(json_object_get(from, "mean"));
    own->deviation = json_number_value(json_object_get(from, "deviation"));
    bool ok = rate >= 1000 && rate <= MOST_RATE && samples >= 1 && samples <= MOST_SECONDS * rate && own->deviation > 0 && t->classes >= 2;
    if (!ok) return cli_fail(t->args, "%s/task.json: what it says of sounds is not whole", folder), false;
    own->rate = (int)rate, own->samples = samples;
    return true;
}

static void lend(const task *t, task *to)
{
    const sound_task *from = sounds_of(t);
    sound_task *own = sounds_of(to);
    own->rate = from->rate, own->samples = from->samples, own->mean = from->mean, own->deviation = from->deviation;
}

static void free_own(task *t) { free_list(sounds_of(t)->files, sounds_of(t)->files ? (size_t)t->rows : 0); }

const task_kind task_sounds = {
    .name = "sounds", .plural = "sounds", .size = sizeof(sound_task), .epochs = 40, .patience = 8, .batch_size = 32, .learning_rate = 0.001,
    .learn = learn, .propose = propose, .take = take, .read = read_sounds, .name_of = name_of, .save = save, .load = load, .lend = lend, .free = free_own,
};
