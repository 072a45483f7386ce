/* Hone: from files to tensors. Tables as frames, and pipelines that make tensors of them; rows of tensors, divided and scaled; arrays,
   pictures, sound and words; augmentation, datasets and loaders; text records for language models. Read after tensor.h. */
#ifndef HONE_DATA_H
#define HONE_DATA_H

#include "hone/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- frames: columns of numbers and of text --------------------------------------------------------------- */

/* What a column holds. INTEGER: whole numbers of at most 2^53 each way; kept as doubles, as real ones are. */
typedef enum hone_column_type { HONE_COLUMN_INTEGER, HONE_COLUMN_REAL, HONE_COLUMN_TEXT } hone_column_type;

/* One column of a frame. */
typedef struct hone_column {
    const char *name;
    hone_column_type type;
    double *numbers;   /* [rows], NaN: missing; NULL for text */
    int32_t *codes;    /* [rows] for text: which of the categories, -1: missing; NULL for numbers */
    char **categories; /* the different texts, sorted bytewise; some may be in no row any more */
    size_t n_categories;
} hone_column;

/* A table with columns of different types, all of as many rows. Change it by the functions below alone. */
typedef struct hone_frame {
    int64_t rows;
    hone_column *columns;
    size_t n_columns;
} hone_frame;

/* A list of names of columns, as an option. */
#define HONE_COLUMNS(...) ((const char *const[]){__VA_ARGS__, NULL})

typedef struct hone_frame_opts {
    size_t struct_size;
    char delimiter;             /* default: a tab for files that end in .tsv, else ',' */
    bool no_header;             /* the first line is data already: columns are named "0", "1", ... */
    const char *const *missing; /* HONE_COLUMNS of what stands for a missing value; default: nothing, NA, N/A, n/a, #N/A,
                                   <NA>, NULL, null, None; NaN and nan always do */
    const char *const *text;    /* HONE_COLUMNS that are text whatever they look like (codes, phone numbers) */
} hone_frame_opts;
/* Reads a CSV or TSV file (RFC 4180: quotes, "" inside them, line breaks inside them; LF or CRLF; a byte order mark and lines with
   nothing on them are skipped; every line has as many fields as the first), or, when the name ends in .jsonl, JSON lines: an object
   a row, a key a column; of the options `text` alone counts; null and a key that a row lacks are missing; lists and objects in it
   are refused. A column whose values are all numbers (with a point, and blanks around them if need be; "inf" and "infinity" are
   infinite) is one of numbers (INTEGER when all are whole; REAL when there are none at all), any other is text. NULL on error
   (sticky): IO; FORMAT with line and column (both from 1), also for two columns of one name; NOT_FOUND when `text` names a column
   that is not there; INVALID for a delimiter that is a quote or a line break; MEMORY. The frame is the caller's. */
HONE_API hone_frame *hone_frame_load_opt(hone_ctx *ctx, const char *path, const hone_frame_opts *opts);
#define hone_frame_load(...)                                                                                 \
    HONE_OPTS2(hone_frame_load_opt, hone_frame_opts, __VA_ARGS__, .struct_size = sizeof(hone_frame_opts))
/* A frame without columns, for data in memory: records to predict on. NULL on error (sticky): INVALID for rows < 0. */
HONE_API hone_frame *hone_frame_new(hone_ctx *ctx, int64_t rows);
/* Appends a column, copied from [rows] numbers (NaN: missing) or texts (NULL: missing). INVALID for a name that is empty or
   there already; errors stick. */
HONE_API hone_status hone_frame_add_numbers(hone_frame *frame, const char *name, const double *numbers);
HONE_API hone_status hone_frame_add_texts(hone_frame *frame, const char *name, const char *const *texts);
HONE_API void hone_frame_free(hone_frame *frame); /* NULL is allowed */
/* The column of that name; NULL when there is none (no error). */
HONE_API const hone_column *hone_frame_find(const hone_frame *frame, const char *name);
/* Is the value missing? true outside of the frame. */
HONE_API bool hone_column_missing(const hone_column *column, int64_t row);
/* The rows of these numbers, in this order, as a new frame. NULL on error (does not stick, but MEMORY): INVALID. */
HONE_API hone_frame *hone_frame_take(const hone_frame *frame, int64_t count, const int64_t *rows);
/* Where a row stood, from 0, in the frame that was read or made first, whatever was taken, divided or dropped since, as an index of
   pandas; errors tell that number. -1 for a row that is not there. */
HONE_API int64_t hone_frame_origin(const hone_frame *frame, int64_t row);
/* Drops rows in place: those with a missing value in one of the columns, or those that equal an earlier row in all of them
   (missing equals missing). columns: HONE_COLUMNS, NULL: every one. NOT_FOUND for a column that is not there. Errors do not
   stick, but MEMORY. */
HONE_API hone_status hone_frame_drop_missing(hone_frame *frame, const char *const *columns);
HONE_API hone_status hone_frame_drop_duplicates(hone_frame *frame, const char *const *columns);

typedef struct hone_frame_split_opts {
    size_t struct_size;
    const char *stratify; /* a column, of whose every value both parts then have the share that the whole has; default: none */
} hone_frame_split_opts;
/* Shuffles the rows by seed and cuts them: *train takes n - round(n * share), *test the rest (hone_split_rows). Both are the caller's.
   Both NULL on error (does not stick, but MEMORY): INVALID for a share outside [0, 1] and for a missing number to stratify by,
   NOT_FOUND for a column that is not there. */
HONE_API hone_status hone_frame_split_opt(const hone_frame *frame, double share, uint64_t seed, hone_frame **train,
                                          hone_frame **test, const hone_frame_split_opts *opts);
#define hone_frame_split(...)                                                                                \
    HONE_OPTS5(hone_frame_split_opt, hone_frame_split_opts, __VA_ARGS__, .struct_size = sizeof(hone_frame_split_opts))
/* A frame of numbers as it is, where nothing has to be learnt (else: a pipeline). *x: every column but the target's, in order, f32
   [rows, columns], NaN where a value is missing. *y: the target, [rows]: of text i32, the number of its category, so that
   hone_frame_find(frame, target)->categories are the classes' names, which parts of a frame share; i32 as they are for whole
   numbers >= 0; else f32. target NULL: none, and y is NULL. Both are the caller's. Both NULL on error (does not stick, but MEMORY):
   NOT_FOUND; DTYPE with column, row and value for a feature that is text; NUMERIC for a number that f32 cannot hold; INVALID for a
   target that is missing or infinite, and when one of target and y is NULL alone. */
HONE_API hone_status hone_frame_to_tensors(const hone_frame *frame, const char *target, hone_tensor **x, hone_tensor **y);

/* ---- pipelines: from frames to tensors, in the same way for training and prediction ----------------------- */

/* What a step of a pipeline does; results are those of scikit-learn's class of that name. Missing values are left out when
   fitting and stay missing, but for imputers and encoders. */
typedef enum hone_pipeline_step {
    HONE_STANDARD_SCALER, /* (v - mean) / standard deviation, the population's; columns that do not vary are centred alone */
    HONE_MIN_MAX_SCALER,  /* the least becomes `low`, the largest `high` */
    HONE_ROBUST_SCALER,   /* (v - median) / (quantile high - quantile low) */
    HONE_CLIP_OUTLIERS,   /* values outside of [low, high] become low or high: quantiles, or q1 - factor (q3 - q1) and
                             q3 + factor (q3 - q1) with the quartiles q1 and q3 */
    HONE_SIMPLE_IMPUTER,  /* missing values become the column's mean, median, most frequent value (the least of several) or
                             a constant */
    HONE_ONE_HOT_ENCODER, /* a column for each value, named <column>_<value>, 1 in the rows that have it, in the sorted
                             order of the values; it stands where the column stood */
    HONE_ORDINAL_ENCODER, /* a value becomes its number in the sorted order of the values, from 0 */
    HONE_LABEL_ENCODER,   /* the same of the target, which no other step sees: text or numbers become classes, i32 (text does without
                             this step, too); hone_pipeline_invert_target is the way back. Once, at any place */
    HONE_DROP_COLUMNS     /* the named columns go: row numbers, names of persons. As a first step: they need not be there later */
} hone_pipeline_step;

/* What stands in for a missing value. */
typedef enum hone_impute {
    HONE_IMPUTE_MEAN,
    HONE_IMPUTE_MEDIAN,
    HONE_IMPUTE_MOST_FREQUENT,
    HONE_IMPUTE_CONSTANT
} hone_impute;

typedef struct hone_pipeline_add_opts {
    size_t struct_size;
    const char *const *columns; /* HONE_COLUMNS; default: every column that the step is for: text for encoders, for an
                                   imputer with fill_text, and none for HONE_DROP_COLUMNS; most frequent: all; else numbers.
                                   Encoders take columns of numbers when they are named */
    hone_impute strategy;       /* imputer; default the mean */
    double fill_value;          /* imputer, constant: for numbers; default 0 */
    const char *fill_text;      /* imputer, constant: for text */
    double low, high;           /* both 0: 0.01 and 0.99 (clip), 0 and 1 (min-max), 0.25 and 0.75 (robust) */
    double iqr_factor;          /* clip: > 0, e.g. 1.5: by quartiles instead of low and high */
    bool ignore_unknown;        /* encoders: a value not seen in training, or a missing one, is no error but zeros (one-hot)
                                   or unknown_value (ordinal, label) */
    double unknown_value;       /* default -1; HONE_ZERO for 0; of labels whole, and the number of no class */
    bool drop_first;            /* one-hot: no column for the first value */
} hone_pipeline_add_opts;

typedef struct hone_pipeline_opts {
    size_t struct_size;
    const char *target; /* the column that is to be predicted; default: none, and every column is a feature */
} hone_pipeline_opts;

/* Steps in their order, fitted on the training data alone and then applied to those and to all others. */
typedef struct hone_pipeline hone_pipeline;
/* A pipeline without steps, owned by the caller. NULL on error (sticky): MEMORY. */
HONE_API hone_pipeline *hone_pipeline_new_opt(hone_ctx *ctx, const hone_pipeline_opts *opts);
#define hone_pipeline_new(...)                                                                               \
    HONE_OPTS1(hone_pipeline_new_opt, hone_pipeline_opts, __VA_ARGS__, .struct_size = sizeof(hone_pipeline_opts))
/* Appends a step, which sees what the steps before it made. INVALID for options out of range, for a second label encoder and for one
   without a target; STATE once the pipeline is fitted. Errors stick. */
HONE_API hone_status hone_pipeline_add_opt(hone_pipeline *pipeline, hone_pipeline_step kind, const hone_pipeline_add_opts *opts);
#define hone_pipeline_add(...)                                                                               \
    HONE_OPTS2(hone_pipeline_add_opt, hone_pipeline_add_opts, __VA_ARGS__, .struct_size = sizeof(hone_pipeline_add_opts))
/* Learns means, categories and so on; again: anew (STATE for a pipeline that was loaded). Errors do not stick (but MEMORY), the
   pipeline is then not fitted: NOT_FOUND for a column that lacks, DTYPE for one of the wrong type and for text that no step encodes,
   with row and value; NUMERIC for infinite values; INVALID when there is nothing to learn from (no rows, a column without values),
   for a target that is missing or infinite, and for an unknown_value that is the number of a class. */
HONE_API hone_status hone_pipeline_fit(hone_pipeline *pipeline, const hone_frame *frame);
/* The features of every row, f32 [rows, features] (NaN: missing), and the target: i32 class numbers for text, for what a label
   encoder is for, and for whole numbers >= 0, as they are; else f32 [rows]; y NULL when it is not wanted, as for data to predict on:
   then the target need not be there. Both are the caller's. Other columns of the frame and their order don't matter. Errors do not
   stick (but MEMORY): STATE before fit; NOT_FOUND for a column that lacks; DTYPE for one of another type than in training; INVALID
   with column, row (from 0) and value for one that training had not; for a target that is missing; NUMERIC for what f32 cannot hold. */
HONE_API hone_status hone_pipeline_apply(const hone_pipeline *pipeline, const hone_frame *frame, hone_tensor **x,
                                         hone_tensor **y);
/* The columns of x, in order; 0 and NULL before fit and out of range. */
HONE_API size_t hone_pipeline_features(const hone_pipeline *pipeline);
HONE_API const char *hone_pipeline_feature(const hone_pipeline *pipeline, size_t index);
/* The classes of a target: the texts in sorted order (bytewise), or, of numbers with a label encoder, those in theirs, as text. 0 and
   NULL for another target of numbers, and out of range. */
HONE_API size_t hone_pipeline_classes(const hone_pipeline *pipeline);
HONE_API const char *hone_pipeline_class(const hone_pipeline *pipeline, size_t index);
/* The classes' names of class numbers y, i32 [n], into names[n], which live until the pipeline is fitted again or freed: scikit-learn's
   LabelEncoder.inverse_transform. NULL for unknown_value, when unknown ones are ignored. Errors do not stick: STATE before fit;
   INVALID for a target without classes and for the number of none; DTYPE, SHAPE. */
HONE_API hone_status hone_pipeline_invert_target(const hone_pipeline *pipeline, const hone_tensor *y, const char **names);
/* Writes a fitted pipeline as JSON (hone_model_set_pipeline keeps it with a model instead); the file appears whole or not at all. STATE
   before fit, IO, INVALID for names or values that are not UTF-8; errors do not stick. */
HONE_API hone_status hone_pipeline_save(const hone_pipeline *pipeline, const char *path);
/* Reads it again, owned by the caller: applied, it gives the same to the bit. NULL on error (sticky): IO, FORMAT, MEMORY. */
HONE_API hone_pipeline *hone_pipeline_load(hone_ctx *ctx, const char *path);
HONE_API void hone_pipeline_free(hone_pipeline *pipeline); /* NULL is allowed */

/* ---- rows of tensors, divided and scaled ------------------------------------------------------------------------ */

/* Rows of x (any tensor, axis 0) by number, as a new tensor owned by the caller. NULL on error (does not stick, but MEMORY): INVALID
   when a number is outside, SHAPE for a scalar, DTYPE when a row is not made of whole blocks. */
HONE_API hone_tensor *hone_take(const hone_tensor *x, int64_t count, const int64_t *rows);
/* Shuffles rows [0, n) by seed and cuts them as hone_frame_split does: the first part takes n - round(n * share), the second the
   rest. x and y are cut alike; y may be NULL (then y_train and y_test may be). Results are owned by the caller; all NULL on error (does
   not stick, but MEMORY): INVALID for a share outside [0, 1], SHAPE when x and y differ in rows, and those of hone_take. */
HONE_API hone_status hone_train_test_split(const hone_tensor *x, const hone_tensor *y, double share,
                                           uint64_t seed, hone_tensor **x_train, hone_tensor **y_train,
                                           hone_tensor **x_test, hone_tensor **y_test);

typedef struct hone_scaler_opts {
    size_t struct_size;
    hone_pipeline_step kind; /* HONE_STANDARD_SCALER (default), HONE_MIN_MAX_SCALER or HONE_ROBUST_SCALER */
    double low, high;        /* as hone_pipeline_add has them */
} hone_scaler_opts;
/* A scaling step of a pipeline for data that are a tensor: fitted on one f32 [rows, features], by column, and applied to others. NaN
   is left out when fitting and stays NaN. */
typedef struct hone_scaler hone_scaler;
/* The caller's. NULL on error (sticky): INVALID for options, SHAPE, DTYPE, NUMERIC for values that are infinite or too large, MEMORY. */
HONE_API hone_scaler *hone_scaler_fit_opt(const hone_tensor *x, const hone_scaler_opts *opts);
#define hone_scaler_fit(...)                                                                                 \
    HONE_OPTS1(hone_scaler_fit_opt, hone_scaler_opts, __VA_ARGS__, .struct_size = sizeof(hone_scaler_opts))
/* Both in place; invert is the inverse (scikit-learn's inverse_transform). SHAPE when the columns are not as many, DTYPE; errors do not
   stick. */
HONE_API hone_status hone_scaler_apply(const hone_scaler *scaler, hone_tensor *x);
HONE_API hone_status hone_scaler_invert(const hone_scaler *scaler, hone_tensor *x);
HONE_API void hone_scaler_free(hone_scaler *scaler); /* NULL is allowed */

/* Windows of a time series [T, ...]: x [n, length, ...], rows [i * stride, i * stride + length), and what follows each,
   y [n, horizon, ...]; n = (T - length - horizon) / stride + 1. Both are the caller's; y may be NULL with horizon 0. Errors do
   not stick (but MEMORY): INVALID when a number is out of range, or there is no window; SHAPE, DTYPE. */
HONE_API hone_status hone_time_windows(const hone_tensor *series, int64_t length, int64_t horizon, int64_t stride,
                                       hone_tensor **x, hone_tensor **y);

/* ---- numbers of rows, to train on and to hold out ------------------------------------------------------------- */
/* For hone_take, hone_frame_take and loaders. All are a function of the seed. stratify: [n] class numbers, of which every part then has
   the share that the whole has, rounded to whole rows down or up; NULL: not. Errors do not stick (but MEMORY): INVALID, SHAPE, DTYPE. */

/* Numbers of all n rows into rows[n], shuffled: the first *n_train = n - round(n * share) to train on, the others held out. */
HONE_API hone_status hone_split_rows(hone_ctx *ctx, int64_t n, double share, const hone_tensor *stratify, uint64_t seed,
                                     int64_t *rows, int64_t *n_train);
/* The same for cross-validation: fold 0 to k - 1 of k parts is held out, of n / k rows and the first n % k of one more (as
   scikit-learn's KFold); the folds of one seed are disjoint and hold every row. */
HONE_API hone_status hone_k_fold(hone_ctx *ctx, int64_t n, int k, int fold, const hone_tensor *stratify, uint64_t seed,
                                 int64_t *rows, int64_t *n_train);
/* `count` rows drawn with replacement, row i with probability weights[i] / their sum; weights [n] are at least 0. */
HONE_API hone_status hone_sample_rows(hone_ctx *ctx, const double *weights, int64_t n, uint64_t seed, int64_t count,
                                      int64_t *rows);

/* ---- arrays, pictures and sound in files ------------------------------------------------------------------- */
/* The libraries behind these are loaded when first used; without them: UNSUPPORTED, with the package to install. */

/* The arrays of a NumPy .npz file, by name. */
typedef struct hone_npz hone_npz;
/* Reads numpy.savez's and savez_compressed's files (libzip). Owned by the caller. NULL on error (sticky): IO, FORMAT,
   UNSUPPORTED, MEMORY, and DTYPE for arrays of strings, objects and the like. */
HONE_API hone_npz *hone_npz_load(hone_ctx *ctx, const char *path);
HONE_API void hone_npz_free(hone_npz *npz); /* NULL is allowed */
HONE_API size_t hone_npz_count(const hone_npz *npz); /* arrays; 0 for NULL */
/* The name of array `index`; NULL when out of range. */
HONE_API const char *hone_npz_name(const hone_npz *npz, size_t index);
/* The array of that name, which lives as long as the npz; NULL when there is none (no error). */
HONE_API hone_tensor *hone_npz_get(const hone_npz *npz, const char *name);

/* An array and its name in an .npz file. */
typedef struct hone_named_tensor {
    const char *name;
    const hone_tensor *tensor;
} hone_named_tensor;
/* Writes arrays[n], n >= 1, as numpy.savez does, or with `compressed` as savez_compressed: numpy.load(path)[name] is what hone_npy_save
   would have written. The same arrays give the same bytes. The file appears whole or not at all; it is made in memory. Does not stick
   but for MEMORY: INVALID for a name that is empty, not UTF-8 or there twice and for a missing tensor, IO, UNSUPPORTED. */
HONE_API hone_status hone_npz_save(hone_ctx *ctx, const char *path, const hone_named_tensor *arrays, size_t n, bool compressed);

/* Reads an IDX file (MNIST, Fashion-MNIST), plain or .gz (zlib): u8 as it is, other integers as i32, floats as f32 and f64. The
   tensor is the caller's. NULL on error (sticky): IO, FORMAT, UNSUPPORTED, MEMORY. */
HONE_API hone_tensor *hone_idx_load(hone_ctx *ctx, const char *path);

/* Reads CIFAR-10 in its binary version: a file (test_batch.bin), or of a folder data_batch_1.bin and those of data_batch_2.bin to
   data_batch_5.bin that follow it without a gap. *x: u8 [n, 3, 32, 32], red, green, blue; *y: the class, 0 to 9, u8 [n], as
   hone_dataset_from_tensors takes them; both are the caller's. Both NULL on error (sticky): IO; FORMAT for files that are not whole
   records or name another class; MEMORY. */
HONE_API hone_status hone_cifar10_load(hone_ctx *ctx, const char *path, hone_tensor **x, hone_tensor **y);

typedef struct hone_image_opts {
    size_t struct_size;
    int channels;          /* 3 (default): red, green, blue; 1: grey */
    int64_t height, width; /* what every picture is resized to; default: its own */
    bool no_keep;          /* of a dataset: files are read each time. Default: what was decoded is kept, up to 512 MB of pictures
                              that had the size asked for, and of resized ones */
} hone_image_opts;
/* Reads a PNG (libpng) or JPEG (TurboJPEG) as f32 [channels, height, width] with values in [0, 1]; what is transparent is
   black. Resizing is bilinear with antialiasing (Pillow's BILINEAR). The tensor is the caller's. NULL on error (sticky): IO,
   FORMAT (also for more than 32768 pixels a side), UNSUPPORTED, INVALID for options, MEMORY. */
HONE_API hone_tensor *hone_image_load_opt(hone_ctx *ctx, const char *path, const hone_image_opts *opts);
#define hone_image_load(...)                                                                                 \
    HONE_OPTS2(hone_image_load_opt, hone_image_opts, __VA_ARGS__, .struct_size = sizeof(hone_image_opts))

typedef struct hone_image_save_opts {
    size_t struct_size;
    double low, high; /* values that are black and white; what is beyond is cut off. Default (both 0): 0 and 1; of a network that
                         ends in tanh: -1 and 1; of u8 tensors 0 and 255 */
    int columns;      /* of a grid; default 8, or as many as there are pictures */
    int padding;      /* of a grid: pixels around each picture; default 2 */
    bool no_padding;
    double background; /* of a grid's padding and of places without a picture, in [low, high]; default low, HONE_ZERO for 0 */
} hone_image_save_opts;
/* Writes a real or u8 tensor as a PNG of 8 bits a channel (libpng): a picture [height, width] or [channels, height, width], or a
   grid of N of them [N, channels, height, width], row by row, as torchvision.utils.save_image lays it out. Channels are 1 (grey)
   or 3 (red, green, blue); NaN is black. The file appears whole or not at all. Does not stick but for MEMORY: SHAPE for another
   shape, no picture, or more than 32768 pixels a side, INVALID for options, DTYPE, UNSUPPORTED without libpng, IO. */
HONE_API hone_status hone_image_save_opt(const hone_tensor *images, const char *path, const hone_image_save_opts *opts);
#define hone_image_save(...)                                                                                 \
    HONE_OPTS2(hone_image_save_opt, hone_image_save_opts, __VA_ARGS__, .struct_size = sizeof(hone_image_save_opts))

/* Reads a WAV file (libsndfile): 8, 16, 24 and 32 bit PCM, 32 and 64 bit floats, as f32 [channels, frames]; whole numbers are
   scaled to [-1, 1), floats are what they are. *sample_rate, in Hz, may be NULL. The tensor is the caller's. NULL on error (sticky):
   IO, FORMAT (also of a file that is shorter than it says), UNSUPPORTED (also for compressed ones), MEMORY. */
HONE_API hone_tensor *hone_wav_load(hone_ctx *ctx, const char *path, int *sample_rate);

typedef struct hone_spectrogram_opts {
    size_t struct_size;
    int n_fft;           /* samples of a frame; default 2048. Products of small primes are fast */
    int hop_length;      /* samples from one frame to the next; default n_fft / 4 */
    int win_length;      /* of the Hann window in the middle of a frame; default n_fft */
    int n_mels;          /* default 128 */
    double f_min, f_max; /* Hz; default 0 and half the sample rate */
    bool no_log;         /* powers; default: decibels, 10 log10 */
    double top_db;       /* decibels: nothing is further below the largest value; default 80 */
    int n_mfcc;          /* > 0: so many cepstral coefficients instead, an orthonormal cosine transform of the decibels */
} hone_spectrogram_opts;
/* A mel spectrogram of f32 [samples] or [channels, samples]: f32 [n_mels or n_mfcc, frames], or that for each channel, with
   1 + samples / hop_length frames, centred, zeros beyond the ends; Slaney's mel scale. Equal to librosa.power_to_db of
   librosa.feature.melspectrogram, and to librosa.feature.mfcc (0.11). The tensor is the caller's. NULL on error (does not
   stick, but MEMORY): INVALID, SHAPE, DTYPE. */
HONE_API hone_tensor *hone_spectrogram_opt(const hone_tensor *x, int sample_rate, const hone_spectrogram_opts *opts);
#define hone_spectrogram(...)                                                                                \
    HONE_OPTS2(hone_spectrogram_opt, hone_spectrogram_opts, __VA_ARGS__, .struct_size = sizeof(hone_spectrogram_opts))

/* ---- words as numbers: Keras's TextVectorization ---------------------------------------------------------------- */

typedef struct hone_vocabulary_opts {
    size_t struct_size;
    int64_t min_count; /* words that occur less often are unknown; default 2, or 1 with fewer than 1000 texts */
    int64_t max_words; /* the most frequent ones are kept; default 20000 */
    int64_t length;    /* numbers a text; default what 95 % of the texts have room in, at most 256 */
} hone_vocabulary_opts;
enum { HONE_WORD_PADDING = 0, HONE_WORD_UNKNOWN = 1 }; /* numbers of no words; the words' begin with 2 */
/* The words of texts, the most frequent first. A word is a run of letters, digits and characters beyond ASCII, with ' between them,
   in small letters (those of ASCII); a Chinese or Japanese character is a word by itself. */
typedef struct hone_vocabulary hone_vocabulary;
/* Of n texts, in UTF-8; NULL ones are empty. Owned by the caller. NULL on error (sticky): INVALID for options out of range, and
   when no word is left; MEMORY. */
HONE_API hone_vocabulary *hone_vocabulary_new_opt(hone_ctx *ctx, int64_t n, const char *const *texts, const hone_vocabulary_opts *opts);
#define hone_vocabulary_new(...)                                                                             \
    HONE_OPTS3(hone_vocabulary_new_opt, hone_vocabulary_opts, __VA_ARGS__, .struct_size = sizeof(hone_vocabulary_opts))
HONE_API void hone_vocabulary_free(hone_vocabulary *vocabulary); /* NULL is allowed */
/* Numbers that a text can have: words and the two; 0 for NULL. What an embedding needs. */
HONE_API int64_t hone_vocabulary_size(const hone_vocabulary *vocabulary);
HONE_API int64_t hone_vocabulary_length(const hone_vocabulary *vocabulary);
/* The word of a number; NULL for the two that are none and out of range. */
HONE_API const char *hone_vocabulary_word(const hone_vocabulary *vocabulary, int64_t number);
/* The number of a word as it stands; HONE_WORD_UNKNOWN when it is not there. */
HONE_API int32_t hone_vocabulary_find(const hone_vocabulary *vocabulary, const char *word);
/* i32 [n, length]: the last `length` words of each text, padding ahead of them, so that a recurrent layer ends where the text
   does. The tensor is the caller's. NULL on error (does not stick, but MEMORY): INVALID. */
HONE_API hone_tensor *hone_vocabulary_encode(const hone_vocabulary *vocabulary, int64_t n, const char *const *texts);
/* Writes it as JSON; the file appears whole or not at all. IO; errors do not stick. */
HONE_API hone_status hone_vocabulary_save(const hone_vocabulary *vocabulary, const char *path);
/* Reads it again, owned by the caller. Untrusted. NULL on error (sticky): IO, FORMAT, MEMORY. */
HONE_API hone_vocabulary *hone_vocabulary_load(hone_ctx *ctx, const char *path);

/* ---- augmentation --------------------------------------------------------------------------------------------- */

/* What can be done to one example. Pictures are f32 [channels, height, width], sound f32 [samples] or [channels, samples],
   spectrograms f32 [mels, frames] or [channels, mels, frames], tokens i32 [length]. Angles are in degrees, counterclockwise. */
typedef enum hone_transform_kind {
    HONE_RANDOM_HORIZONTAL_FLIP, /* with probability, default 0.5 */
    HONE_RANDOM_VERTICAL_FLIP,
    HONE_RANDOM_CROP,     /* height x width (default: as it is) of the picture with `padding` zeros on each side */
    HONE_CENTER_CROP,     /* height x width from the middle */
    HONE_RESIZE,          /* to height x width, bilinear with antialiasing */
    HONE_RANDOM_ROTATION, /* by up to +-degrees around the middle, bilinear; zeros come in */
    HONE_RANDOM_AFFINE,   /* and moved by up to +-translate of its size, scaled by low to high (default 1), sheared along x by
                             up to +-shear degrees */
    HONE_COLOR_JITTER,    /* brightness, contrast, saturation: each factor from 1 - it to 1 + it, in this order; then the hue
                             turned by up to +-hue of a circle. Values stay in [0, 1] */
    HONE_RANDOM_ERASING,  /* with probability (default 0.5) a rectangle of low to high (default 0.02 to 0.33) of the area, its
                             sides' ratio 0.3 to 3.3, becomes `value` (Zhong et al. 2017, arXiv:1708.04896) */
    HONE_GAUSSIAN_NOISE,  /* normal noise of deviation `std` (default 0.1) is added, to anything in f32 */
    HONE_NORMALIZE,       /* (x - mean[c]) / deviation[c] by channel */
    HONE_TIME_STRETCH,    /* sound at low to high times the speed (default 0.8 to 1.25), its pitch kept (a phase vocoder);
                             zeros at the end, or the end cut off, so that it is as long as before */
    HONE_SPEC_AUGMENT,    /* `masks` (default 1) bands of up to `height` mels and as many of up to `width` frames become `value`
                             (Park et al. 2019, arXiv:1904.08779); both 0: a third of the mels and a tenth of the frames */
    HONE_WORD_DROPOUT,    /* each token becomes the token `value` with probability, default 0.1 */
    HONE_WORD_SWAP        /* `swaps` (default 1) times two neighbouring tokens change places */
} hone_transform_kind;

/* One transform; what a kind does not name it does not read. degrees, translate, shear, brightness, contrast, saturation, hue and
   padding are 0 by default, which does nothing of that sort. probability: of doing it at all (HONE_WORD_DROPOUT: for each
   token), default 1 where nothing else is said. */
typedef struct hone_transform {
    hone_transform_kind kind;
    double probability;
    int64_t height, width, padding;
    double degrees, translate, shear, low, high;
    double brightness, contrast, saturation, hue;
    double std, value;
    const float *mean, *deviation; /* [channels] */
    int masks, swaps;
} hone_transform;
/* Applies a list of transforms, in order, to one example; a function of (seed, epoch, row) alone. The result is the caller's.
   NULL on error (does not stick, but MEMORY): SHAPE and DTYPE when a transform is not for such an example, INVALID for numbers
   out of range. */
HONE_API hone_tensor *hone_transform_apply(const hone_tensor *x, const hone_transform *transforms, size_t n, uint64_t seed,
                                           int64_t epoch, int64_t row);

/* ---- datasets and loaders --------------------------------------------------------------------------------------- */

/* Examples by number. */
typedef struct hone_dataset hone_dataset;
/* Writes example `row` to x and y. Called from several threads at once; ctx is the thread's own, for reading files. Anything
   but OK ends the epoch with that status. */
typedef hone_status (*hone_read_fn)(void *user, hone_ctx *ctx, int64_t row, void *x, void *y);
/* Examples that a function gives; dtypes and shapes are those of one. NULL on error (sticky): INVALID, MEMORY. */
HONE_API hone_dataset *hone_dataset_new(hone_ctx *ctx, int64_t rows, hone_dtype x_dtype, hone_shape x_shape, hone_dtype y_dtype,
                                        hone_shape y_shape, hone_read_fn read, void *user);
/* Rows of x [rows, ...] and y [rows, ...], which are borrowed. Bytes are pixels and classes: x in u8 is given as f32 in [0, 1],
   and [rows, height, width] as [rows, 1, height, width]; y in u8 as i32. NULL on error (sticky): SHAPE, DTYPE, MEMORY. */
HONE_API hone_dataset *hone_dataset_from_tensors(const hone_tensor *x, const hone_tensor *y);
/* Pictures (.png, .jpg, .jpeg) in a folder for each class, in sorted order: x f32 [channels, height, width], y i32, the number of
   the folder. Without such folders, those of `folder` itself, or the one picture that it is: y is -1, for data to predict on.
   They are read when they are needed, and then kept unless no_keep is set. height and width must be given. NULL on error (sticky):
   IO, NOT_FOUND when there is no picture, INVALID, MEMORY. */
HONE_API hone_dataset *hone_dataset_images_opt(hone_ctx *ctx, const char *folder, const hone_image_opts *opts);
#define hone_dataset_images(...)                                                                             \
    HONE_OPTS2(hone_dataset_images_opt, hone_image_opts, __VA_ARGS__, .struct_size = sizeof(hone_image_opts))

/* Tensors [rows, ...], one for each input of a model, or for each output. They are borrowed. */
typedef struct hone_tensors {
    const hone_tensor *const *tensor;
    size_t n;
} hone_tensors;
/* HONE_TENSORS(images, ages) */
#define HONE_TENSORS(...)                                                                                    \
    ((hone_tensors){(const hone_tensor *const[]){__VA_ARGS__},                                               \
                    sizeof((const hone_tensor *const[]){__VA_ARGS__}) / sizeof(hone_tensor *)})
/* hone_dataset_from_tensors of examples with several inputs or targets, 1 to 16 each, in the order of the model's inputs and outputs.
   The tensors are borrowed, the lists copied. NULL on error (sticky): INVALID for other numbers, SHAPE, DTYPE, MEMORY. */
HONE_API hone_dataset *hone_dataset_from_many(hone_ctx *ctx, hone_tensors x, hone_tensors y);
/* An input or a target of one example. */
typedef struct hone_example_part {
    hone_dtype dtype;
    hone_shape shape;
} hone_example_part;
/* As hone_read_fn: writes example `row` to x[n_x] and y[n_y]. */
typedef hone_status (*hone_read_many_fn)(void *user, hone_ctx *ctx, int64_t row, void *const *x, void *const *y);
/* hone_dataset_new of examples with several inputs or targets, 1 to 16 each; x[n_x] and y[n_y] are copied. */
HONE_API hone_dataset *hone_dataset_new_many(hone_ctx *ctx, int64_t rows, int n_x, const hone_example_part *x, int n_y,
                                             const hone_example_part *y, hone_read_many_fn read, void *user);
HONE_API void hone_dataset_free(hone_dataset *dataset); /* NULL is allowed */
HONE_API int64_t hone_dataset_rows(const hone_dataset *dataset); /* 0 for NULL */
/* The classes' folders; 0 and NULL for other datasets. */
HONE_API size_t hone_dataset_classes(const hone_dataset *dataset);
HONE_API const char *hone_dataset_class(const hone_dataset *dataset, size_t index);

/* Of pictures: the class of a row without reading it, -1: none; and its file, NULL: out of range or another dataset. */
HONE_API int hone_dataset_label(const hone_dataset *dataset, int64_t row);
HONE_API const char *hone_dataset_file(const hone_dataset *dataset, int64_t row);

typedef struct hone_loader_opts {
    size_t struct_size;
    int batch_size;  /* default 32 */
    int threads;     /* that read and transform; default 1. Batches are the same to the bit however many there are */
    int prefetch;    /* batches that are made ahead; default 2 */
    bool no_shuffle; /* default: a new order each epoch */
    bool drop_last;  /* leave out a last batch that is not full */
    uint64_t seed;   /* default 0: the context's */
    const int64_t *rows; /* [n_rows]: only these, e.g. a fold; default all. Copied */
    int64_t n_rows;
    const double *weights; /* of those rows: an epoch draws as many with replacement (hone_sample_rows); default: each once. Copied */
    const hone_transform *transforms; /* [n_transforms], on x, of several the first; borrowed */
    size_t n_transforms;
    int classes;   /* > 0: y (of several the first), class numbers, is given one-hot, f32 [classes] */
    double mixup;  /* > 0: lambda of Beta(mixup, mixup); example i and B - 1 - i of a batch are mixed, and their one-hot
                      classes (Zhang et al. 2017, arXiv:1710.09412; the pairing is timm's). Needs f32, classes, and one
                      input and target */
    double cutmix; /* the same, but a rectangle comes from the other picture (Yun et al. 2019, arXiv:1905.04899); with both,
                      each batch takes one of them by chance */
    const double *sample_weights; /* [rows of the dataset]: the factor of each example's loss, at least 0 (hone_loader_weights);
                                     default 1. Copied. Not with mixup and cutmix */
} hone_loader_opts;
/* Makes batches of a dataset on threads of its own, ahead of who takes them. Whatever is random is a function of (seed, epoch,
   row). Belongs to the thread of its context. */
typedef struct hone_loader hone_loader;
/* A loader of a dataset that outlives it. NULL on error (sticky): INVALID, SHAPE, DTYPE, MEMORY. */
HONE_API hone_loader *hone_loader_new_opt(const hone_dataset *dataset, const hone_loader_opts *opts);
#define hone_loader_new(...)                                                                                 \
    HONE_OPTS1(hone_loader_new_opt, hone_loader_opts, __VA_ARGS__, .struct_size = sizeof(hone_loader_opts))
HONE_API void hone_loader_free(hone_loader *loader); /* also in the midst of an epoch; NULL is allowed */
/* Examples and batches an epoch; batch_size: of all but the last. 0 for NULL. */
HONE_API int64_t hone_loader_rows(const hone_loader *loader);
HONE_API int64_t hone_loader_batches(const hone_loader *loader);
HONE_API int hone_loader_batch_size(const hone_loader *loader);
/* Begins an epoch, from 0; what is left of the present one is dropped. */
HONE_API hone_status hone_loader_begin(hone_loader *loader, int64_t epoch);
/* The next batch, x [B, ...] and y [B, ...], which are the loader's until the next call; both NULL at the end of the epoch. On
   error, which is that of the first row that could not be read: both NULL; does not stick. */
HONE_API hone_status hone_loader_next(hone_loader *loader, hone_tensor **x, hone_tensor **y);
/* How many inputs and targets an example has; 0 for NULL. */
HONE_API int hone_loader_inputs(const hone_loader *loader);
HONE_API int hone_loader_targets(const hone_loader *loader);
/* hone_loader_next of any number of them, for which it is INVALID: x[inputs] and y[targets] receive them. */
HONE_API hone_status hone_loader_next_many(hone_loader *loader, hone_tensor **x, hone_tensor **y);

/* The sample_weights of the batch that hone_loader_next gave last, f32 [B], the loader's as the batch is; NULL: it has none. */
HONE_API const hone_tensor *hone_loader_weights(const hone_loader *loader);

/* ---- text records, for language models --------------------------------------------------------------- */

/* A part of a conversation. */
typedef struct hone_message {
    const char *role;    /* "system", "user", "assistant", ... */
    const char *content; /* UTF-8, NUL-terminated */
} hone_message;

/* What a record holds: a conversation, or text that is taken as it is. */
typedef enum hone_record_kind { HONE_RECORD_MESSAGES, HONE_RECORD_TEXT } hone_record_kind;

/* One example. */
typedef struct hone_record {
    hone_record_kind kind;
    const hone_message *messages; /* [n_messages]; NULL for text */
    size_t n_messages;            /* at least 1 for messages */
    const char *text;             /* NULL for messages; NUL-terminated; bytes of a .txt file may be any */
    size_t text_length;           /* bytes, without the NUL */
    const char *label;            /* NULL: none; numbers and booleans as in JSON: "1", "0.5", "true" */
} hone_record;

/* The records of one file, read-only: several contexts may look at them at the same time. */
typedef struct hone_records hone_records;

/* Reads the records of a split from `path`: a file (which is the split "train", whatever its name), or a
   folder with train.jsonl and optionally valid.jsonl, test.jsonl (or .txt instead). split NULL: "train".
   The name's end says what the file is, .txt (one record, the whole file) or .jsonl (one JSON object a
   line, UTF-8; lines with nothing on them are skipped). The keys of the first record say which of these
   formats every record of a .jsonl file has, the first that fits; other keys are passed over:
     {"messages": [{"role", "content"}, ...]}       messages
     {"conversations": [{"from", "value"}, ...]}    messages; human and user are the user, gpt and assistant
                                                    the assistant, system is system
     {"prompt", "completion"}                       messages: user, assistant
     {"instruction", "input", "output"}             messages: user (the instruction, and if there is an input
                                                    that is not empty, a blank line and it), assistant
     {"text", "label"}                              text, with a label: a string, a number or a boolean
     {"text"}                                       text
   NULL on error (sticky): IO; NOT_FOUND when the folder lacks the split; FORMAT with the line (from 1) and
   the byte (from 0) for what does not fit, a line of more than 64 MiB, or a file without records; INVALID
   for an empty split name or one with a slash, and when a folder has the split twice; MEMORY. The result is
   the caller's. */
HONE_API hone_records *hone_records_load(hone_ctx *ctx, const char *path, const char *split);
HONE_API void hone_records_free(hone_records *records); /* NULL is allowed */
/* Is there a file for hone_records_load to read? Never an error. */
HONE_API bool hone_records_exist(hone_ctx *ctx, const char *path, const char *split);
/* How many there are; 0 for NULL. */
HONE_API size_t hone_records_count(const hone_records *records);
/* Record i, from 0; NULL when out of range. It lives as long as the records. */
HONE_API const hone_record *hone_records_get(const hone_records *records, size_t i);

#ifdef __cplusplus
}
#endif
#endif
