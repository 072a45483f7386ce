/* WAV to a tensor [channels, frames], with libsndfile. */
#include "data/data.h"
#include "base/library.h"
#include "base/os.h"

#if HONE_HAVE_SNDFILE

#include <sndfile.h>

#define FUNCTIONS(X) X(sf_open_virtual) X(sf_readf_float) X(sf_strerror) X(sf_close)
HONE__LIBRARY(sndfile, FUNCTIONS);

/* The file's bytes, for libsndfile. */
typedef struct bytes {
    const uint8_t *data;
    sf_count_t size, at;
} bytes;

static sf_count_t size_of(void *user) { return ((bytes *)user)->size; }
static sf_count_t tell(void *user) { return ((bytes *)user)->at; }
static sf_count_t seek(sf_count_t offset, int whence, void *user)
{
    bytes *b = user;
    sf_count_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? b->at : b->size, to;
    if (__builtin_add_overflow(base, offset, &to) || to < 0 || to > b->size) return -1;
    return b->at = to;
}
static sf_count_t read_bytes(void *to, sf_count_t count, void *user)
{
    bytes *b = user;
    sf_count_t n = HONE_MAX(HONE_MIN(count, b->size - b->at), 0);
    if (n) memcpy(to, b->data + b->at, (size_t)n);
    b->at += n;
    return n;
}

/* Bytes of a sample; 0: not a format that is read. */
static int sample_size(int format)
{
    int container = format & SF_FORMAT_TYPEMASK;
    if (container != SF_FORMAT_WAV && container != SF_FORMAT_WAVEX && container != SF_FORMAT_RF64) return 0;
    switch (format & SF_FORMAT_SUBMASK) {
    case SF_FORMAT_PCM_U8: return 1;
    case SF_FORMAT_PCM_16: return 2;
    case SF_FORMAT_PCM_24: return 3;
    case SF_FORMAT_PCM_32:
    case SF_FORMAT_FLOAT: return 4;
    case SF_FORMAT_DOUBLE: return 8;
    default: return 0;
    }
}

static uint64_t little_endian(const uint8_t *at, int width)
{
    uint64_t value = 0;
    while (width--) value = value << 8 | at[width];
    return value;
}

/* Bytes of samples that the file says it has and that are not there; libsndfile takes such a file for a shorter one. 0 of what has no
   length yet: programs that write to a pipe put 0xFFFFFFFF or nearly 2^31 there. */
static uint64_t missing_bytes(const uint8_t *data, size_t size)
{
    enum { HEAD = 8, UNKNOWN = 0x7FFF0000 };
    bool large = !memcmp(data, "RF64", 4);
    uint64_t length_of_data = 0; /* in RF64's "ds64", behind that of the file */
    for (size_t at = 12; size - at >= HEAD;) {
        uint64_t length = little_endian(data + at + 4, 4), left = size - at - HEAD;
        if (large && !memcmp(data + at, "ds64", 4) && left >= 16) length_of_data = little_endian(data + at + HEAD + 8, 8);
        if (!memcmp(data + at, "data", 4)) {
            bool unknown = length >= UNKNOWN;
            if (large && length == UINT32_MAX) length = length_of_data, unknown = length >= INT64_MAX;
            return unknown || length <= left ? 0 : length - left;
        }
        length += length & 1; /* chunks begin at even places */
        if (length > left) break;
        at += HEAD + (size_t)length;
    }
    return 0;
}

/* The samples, channels apart, from frames of channels side by side. */
static hone_tensor *read_frames(hone_ctx *ctx, const struct sndfile *lib, SNDFILE *file, const SF_INFO *info, const char *path)
{
    enum { FRAMES = 1024 };
    int64_t frames = info->frames, channels = info->channels;
    hone_tensor *t = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(channels, frames));
    float *part = t ? hone__calloc(ctx, (size_t)channels, FRAMES * sizeof *part) : NULL, *to = t ? t->data : NULL;
    int64_t done = 0;
    while (part && done < frames) {
        sf_count_t n = lib->sf_readf_float(file, part, HONE_MIN(frames - done, (int64_t)FRAMES));
        if (n <= 0) break;
        for (int64_t c = 0; c < channels; c++)
            for (int64_t i = 0; i < n; i++) to[c * frames + done + i] = part[i * channels + c];
        done += n;
    }
    hone__free(ctx, part);
    if (part && done < frames) hone__fail(ctx, HONE_FORMAT, "%s: is cut off: %lld of %lld frames", path, (long long)done, (long long)frames);
    if (part && done == frames) return t;
    hone_tensor_free(t);
    return NULL;
}

static hone_tensor *read_wav(hone_ctx *ctx, const char *path, const uint8_t *data, size_t size, int *sample_rate)
{
    static const char *const files[] = {"libsndfile.so.1", NULL};
    struct sndfile lib;
    if (hone__library_open(files, sndfile_names, HONE_ARRAY_LEN(sndfile_names), &lib))
        return hone__fail(ctx, HONE_UNSUPPORTED, "%s: WAV needs libsndfile; install libsndfile1", path), NULL;
    bytes b = {.data = data, .size = (sf_count_t)size};
    SF_VIRTUAL_IO io = {.get_filelen = size_of, .seek = seek, .read = read_bytes, .tell = tell};
    SF_INFO info = {0};
    /* Other containers have larger readers; what is not asked for need not see foreign bytes. */
    if (size < 12 || (memcmp(data, "RIFF", 4) != 0 && memcmp(data, "RF64", 4) != 0) || memcmp(data + 8, "WAVE", 4) != 0)
        return hone__fail(ctx, HONE_FORMAT, "%s: is not a WAV file", path), NULL;
    SNDFILE *file = lib.sf_open_virtual(&io, SFM_READ, &info, &b);
    if (!file) return hone__fail(ctx, HONE_FORMAT, "%s: %s", path, lib.sf_strerror(NULL)), NULL;
    int bytes_each = sample_size(info.format);
    const unsigned long long missing = missing_bytes(data, size);
    hone_tensor *t = NULL;
    if (!bytes_each)
        hone__fail(ctx, HONE_UNSUPPORTED, "%s: is compressed; 8, 16, 24 and 32 bit PCM and floats are read", path);
    else if (info.channels < 1 || info.samplerate < 1 || info.frames < 0 ||
             info.frames > (sf_count_t)size / bytes_each / info.channels)
        hone__fail(ctx, HONE_FORMAT, "%s: %lld frames of %d channels do not fit into the file", path, (long long)info.frames,
                   info.channels);
    else if (missing)
        hone__fail(ctx, HONE_FORMAT, "%s: is cut off: the last %llu bytes of its samples are not there", path, missing);
    else
        t = read_frames(ctx, &lib, file, &info, path);
    lib.sf_close(file);
    if (t && sample_rate) *sample_rate = info.samplerate;
    return t;
}

#else

static hone_tensor *read_wav(hone_ctx *ctx, const char *path, const uint8_t *data, size_t size, int *sample_rate)
{
    (void)data, (void)size, (void)sample_rate;
    return hone__fail(ctx, HONE_UNSUPPORTED, "%s: this build of Hone was made without libsndfile (libsndfile1-dev)", path), NULL;
}

#endif

hone_tensor *hone__wav_read(hone_ctx *ctx, const char *path, const uint8_t *data, size_t size, int *sample_rate)
{
    return hone__ok(ctx) ? read_wav(ctx, path, data, size, sample_rate) : NULL;
}

hone_tensor *hone_wav_load(hone_ctx *ctx, const char *path, int *sample_rate)
{
    hone__map map;
    if (hone__map_open(ctx, path, &map) != HONE_OK) return NULL;
    hone_tensor *t = hone__wav_read(ctx, path, map.data, map.size, sample_rate);
    hone__map_close(&map);
    return t;
}
