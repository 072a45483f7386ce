/* What `hone train` learns and `hone predict` and `hone eval` answer: a column of a table, the class of a picture or of a text.
   Arrays are what other programs have made of data. The kinds differ in how data become tensors; all else is shared. */
#ifndef HONE_CLI_TASK_H
#define HONE_CLI_TASK_H

#include "cli.h"

typedef struct task task;

/* What --options of train say about the data. */
typedef struct task_wishes {
    const char *text; /* the column of texts; NULL: find it */
    int64_t image_size; /* of the longer side; 0: propose */
    int augment; /* 0: not given, which is to shift */
    int learn;
    int64_t forecast, window; /* the values to come and those to see them from; 0: it is no series; proposed */
    double watched, tested;   /* shares that will be kept from learning */
} task_wishes;
/* The name of an option that only folders of pictures have a use for, and that was given; NULL: none was. */
const char *task_wish_of_pictures(const task_wishes *wishes);
enum { AUGMENT_SHIFT = 1, AUGMENT_FLIP, AUGMENT_NONE };
enum { LEARN_AUTO = 1, LEARN_CLASSES, LEARN_QUANTITY };

typedef struct task_kind {
    const char *name;   /* in task.json */
    const char *plural; /* what its rows are called */
    size_t size;        /* of its struct, which begins with a task */
    int64_t epochs, patience, batch_size; /* proposed */
    double learning_rate;                 /* the same */
    /* Learns from these rows how the data become tensors, and tells it in facts. */
    bool (*learn)(task *t, int64_t n, const int64_t *rows);
    /* The layers before the last one, as --arch takes them; in `first` those that must be there, ending in ", ". */
    void (*propose)(task *t, char first[64], char arch[512]);
    /* Puts rows to learn from, then to stop by from *n_train on, then to measure from *n_known on, into rows[t->rows]; *n of them.
       Shares of 0: none. False: it has been said why not. NULL: they are drawn at random. */
    bool (*split)(task *t, double watched, double tested, int64_t *rows, int64_t *n_train, int64_t *n_known, int64_t *n);
    /* f32 [n, outputs], the caller's: as the network learns them, or in their unit. NULL: classes, or quantities in values. */
    hone_tensor *(*targets)(const task *t, int64_t n, const int64_t *rows, bool scaled);
    void (*restore)(const task *t, int64_t n, const int64_t *rows, hone_tensor *y); /* answers to their unit; with targets */
    /* Rows as x, the caller's. NULL: the context has the error. */
    hone_tensor *(*take)(task *t, int64_t n, const int64_t *rows);
    hone_dataset *(*dataset)(task *t); /* all rows, read when they are needed; NULL: take them */
    /* For data to answer on: sets rows, and with `targets` labels or values. False: it has been said. */
    bool (*read)(task *t, const char *path, bool targets);
    const char *(*name_of)(const task *t, int64_t row); /* a picture's or sound's file; NULL: rows have numbers alone */
    bool (*save)(const task *t, const char *folder, json_t *into);
    bool (*load)(task *t, const char *folder, const json_t *from);
    void (*lend)(const task *t, task *to); /* what is known of the data by now, for rows of another file; `to` does not own it */
    void (*free)(task *t); /* what is its own; may be NULL */
} task_kind;
extern const task_kind task_table, task_images, task_text, task_arrays, task_sounds, task_series;

struct task {
    const task_kind *kind;
    const task *from; /* whose network and knowledge it has; NULL: its own */
    const common_args *args;
    hone_ctx *ctx;
    hone_model *model;
    char *target;    /* the column, or the array; NULL: pictures and sounds, whose folder is their class */
    int64_t classes; /* 0: the target is a quantity */
    char **names;    /* [classes] */
    int64_t outputs; /* of a series: how many values to come; else 0 */
    const char *path; /* of the data at hand, where that can be told; not owned */
    int64_t rows;    /* of the data at hand */
    int32_t *labels; /* [rows] classes; NULL: they are not known */
    double *values;  /* [rows] quantities; the same */
    hone_frame *frame; /* tables and texts */
    char **texts;      /* [n_texts] columns that were text in training, of an opened one */
    size_t n_texts;
    const hone_transform *transforms; /* of what is learnt from */
    size_t n_transforms;
    json_t *facts; /* [[name, what it is, what becomes of it], ...] */
};

/* ---- making and opening (task.c); what returns NULL or false has said why, or its context has (then `failed` says it) ---- */

/* Does it end in one of these, in letters of either case? The last one is NULL. */
bool task_is_named(const char *path, const char *const *endings);
/* Looks at a file or folder: what kind of data is there, and what is to be learnt? */
task *task_look(const common_args *args, hone_ctx *ctx, const char *path, const char *target, const task_wishes *wishes);
/* The folder that train wrote, model and all. */
task *task_open(const common_args *args, hone_ctx *ctx, const char *folder);
/* The rows of another file or folder, with targets, in a task of their own: as those of t in kind, columns and classes. It may be asked
   for x once t has learnt how (task_share), and for answers once t has a model. */
task *task_beside(const task *t, const char *path);
void task_share(task *beside); /* what t has learnt since */
bool task_exists(const char *folder); /* is it such a folder? */
bool task_save(task *t, const char *folder);
void task_free(task *t);
/* False; says the context's error. */
bool task_failed(const task *t);
/* Puts size bytes in the place of folder/name. */
bool task_write(const task *t, const char *folder, const char *name, const char *data, size_t size);
void task_fact(task *t, const char *name, const char *what, const char *becomes);
/* A fact for each class: how many rows it has. */
void task_tell_classes(task *t);

/* The standard deviation of n numbers with this mean and variance; 1 when only rounding keeps them from being all the same
   (scikit-learn's _is_constant_feature: after Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance"). */
double task_deviation(double n, double mean, double variance);
/* y of these rows: i32 [n] classes or f32 [n, 1] quantities. */
hone_tensor *task_targets(const task *t, int64_t n, const int64_t *rows);
/* Rows as x, the caller's; NULL: it has been said that they cannot be read, or have numbers that no network can. */
hone_tensor *task_take(task *t, int64_t n, const int64_t *rows);
/* Predicts rows (NULL: all of them, n is not read), many at a time; `each` gets the outputs f32 [count, outputs] of
   rows[from..from + count). */
bool task_answer(task *t, int64_t n, const int64_t *rows, bool (*each)(void *user, int64_t from, int64_t count, const hone_tensor *y),
                 void *user);

/* ---- tables from files (task_frame.c): for task_table and task_text ---- */

/* A task of one of the two, its frame read, labels or values set. */
task *task_look_at_frame(const common_args *args, hone_ctx *ctx, const char *path, const char *target, const task_wishes *wishes);
/* The frame of a file; columns of these names are text whatever they look like here. NULL: it has been said. */
hone_frame *task_load_frame(const common_args *args, hone_ctx *ctx, const char *path, size_t n, char *const *texts);
/* NULL: it has been said that there is none, and what there is. */
const hone_column *task_find_target(const common_args *args, const hone_frame *frame, const char *path, const char *target);
/* Are all of its texts numbers, some with a decimal comma? */
bool task_has_commas(const hone_column *column);
/* Are all of its texts dates, as ISO 8601 writes them? */
bool task_has_dates(const hone_column *column);
bool task_read_frame(task *t, const char *path, bool targets);
/* Says whether the target has classes or is a quantity; false: it cannot be learnt, which has been said (task_target.c). */
bool task_choose_target(task *t, int learn);
/* Do n different numbers, ascending, look like classes? Few small whole ones, or two whole ones of any size. */
bool task_look_like_classes(const double *values, int64_t n);
/* Sets labels or values of the rows, none of which lacks its target. */
bool task_read_targets(task *t);
task *task_look_at_images(const common_args *args, hone_ctx *ctx, const char *path, const task_wishes *wishes);
/* For pictures [channels, height, width] of which the shorter side is `side`; what --arch takes. */
void task_propose_convolutions(int64_t classes, int64_t side, char arch[512]);
/* Pictures and WAV files in the folders of a folder; with neither, the WAV files in itself (task_sounds.c). */
void task_count_files(const char *folder, int64_t *pictures, int64_t *sounds);
task *task_look_at_sounds(const common_args *args, hone_ctx *ctx, const char *path, const task_wishes *wishes);
bool task_is_arrays(const char *path); /* by its name (task_arrays.c) */
task *task_look_at_arrays(const common_args *args, hone_ctx *ctx, const char *path, const char *target, const task_wishes *wishes);
void task_use_text(task *t, const char *column); /* task_text.c */

/* ---- time series (task_series.c) ---- */

task *task_look_at_series(const common_args *args, hone_ctx *ctx, const char *path, const char *target, const task_wishes *wishes);
const double *task_series_values(const task *t, int64_t *n);
/* The value, from 0, that is the first to come of a row. */
int64_t task_series_next(const task *t, int64_t row);
/* What comes h + 1 values behind a row's window if all is as it was a season ago, or with seasonal = false as it was last; NaN: there is
   no season. */
double task_series_naive(const task *t, int64_t row, int64_t h, bool seasonal);

/* ---- how good are answers (task_score.c) ---- */

typedef struct task_score {
    const task *t;
    int64_t rows;
    hone_metric *metrics[5];
    size_t n_metrics;
    hone_metric *roc; /* the one of metrics that has curves; NULL: quantities, or more classes than a picture has lines for */
    hone_confusion *confusion; /* classes */
    double *targets, *answers; /* [rows] quantities; of series [rows, outputs] */
    double naive[2][2];        /* of series: MAE and RMSE of the naive and the seasonal naive forecast; NaN: there is no season */
} task_score;
/* Of these rows of the task (NULL: all). Free it in either case. */
bool task_measure(task *t, int64_t n, const int64_t *rows, task_score *score);
/* Metric i; of classes, but for the accuracy, the mean over all classes, also over those that these rows do not have. */
double task_score_value(const task_score *score, size_t i);
/* The area under the ROC curve of a class against the rest; NaN: these rows are all or none of it. */
double task_score_area(const task_score *score, int64_t class);
/* The metrics on stdout, as a table and a report by classes, or with --json as an object. */
bool task_score_print(const task_score *score);
void task_score_free(task_score *score);

/* ---- are data the same as before? (task_files.c) ---- */

#define TASK_HASH_BEGIN 0xCBF29CE484222325u
/* `hash`, from TASK_HASH_BEGIN on, of more data. */
uint64_t task_hash(uint64_t hash, const void *data, size_t size);
/* The same of the files that rows stand in, their names and all of their bytes. False: one could not be read, which has been said. */
bool task_hash_files(const task *t, uint64_t *hash);
/* How those files are now, without reading them; free(). */
typedef struct task_files task_files;
task_files *task_files_new(const task *t);
bool task_files_changed(const task_files *files); /* since then: another size, or another time of writing */

/* ---- checkpoints of a training (task_checkpoint.c) ---- */

typedef struct task_checkpoints {
    task *t;
    const char *folder; /* in which checkpoint-N/ are */
    int64_t every;      /* epochs from one to the next; 0: when half a minute has passed */
    hone_callback *stop; /* its early stopping, which stands before the checkpoints' own in the list of callbacks */
    json_t *training;    /* {name: text}: of what a training that goes on must have the same; NULL: not yet asked for */
    json_t *(*describe)(void *user); /* makes it, when the first checkpoint or --resume needs it; NULL: it has been said why not */
    void *user;                      /* of describe */
    bool cut;                        /* Ctrl-C ended this epoch before it was whole */
    int64_t written;                 /* N of the newest checkpoint of this training; 0: there is none */
    bool tried;                      /* one was to be written, if perhaps in vain */
    json_t *epochs;      /* [{"epoch", "loss", "accuracy", "eval_loss", "eval_accuracy", "learning_rate", "seconds"}] that were made */
    float *best;         /* the parameters of the best */
    double saved;        /* when the last one was written */
} task_checkpoints;
/* Epochs and, as the task's, the model of the newest one that fits this training; false: it has been said why none does. */
bool task_resume(task_checkpoints *c);
/* Does nothing that `hone train` has not written stand where a checkpoint of the epochs up to this one will? False: it has been
   said. When checkpoints are written is not known with every = 0: they go around it. */
bool task_checkpoints_fit(const task_checkpoints *c, int64_t epochs);
hone_callback task_checkpoint_callback(task_checkpoints *c);
/* Are its epochs so short that Ctrl-C waits for the end of one, which a checkpoint then has? Longer ones have one after the first. */
bool task_epochs_are_short(const task_checkpoints *c);
hone_epoch task_epoch(const json_t *epoch); /* one of `epochs` */
void task_checkpoints_free(task_checkpoints *c);

/* ---- report.html (report_html.c) ---- */

typedef struct task_report {
    task *t;
    const char *data, *folder, *arch, *summary;
    const char *validation, *test; /* files or folders of rows to stop by and of those held out; NULL: shares of data */
    int64_t learnt, watched, tested; /* rows: to learn from, to stop by, held out */
    const task *measured;     /* whose rows are held out */
    const int64_t *rows;      /* [tested] which of them; NULL: all */
    const hone_epoch *epochs; /* [n_epochs] */
    size_t n_epochs;
    int best_epoch; /* from 1 */
    bool stopped;   /* by Ctrl-C */
    double seconds;
    const task_score *score;
} task_report;
/* Writes folder/report.html, and the pictures that it shows beside it. */
bool task_write_report(const task_report *r);

#endif
