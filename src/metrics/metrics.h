/* The metrics room's own tools: a batch as numbers, and what a metric keeps. */
#ifndef HONE_SRC_METRICS_H
#define HONE_SRC_METRICS_H

#include "hone/metrics.h"
#include "tensor/tensor.h"

/* ---- a batch ---------------------------------------------------------------------------------------------- */

/* Predictions and targets as numbers, in memory that is kept from batch to batch. */
typedef struct hone__answers {
    int64_t rows, width; /* width 1: single scores or class numbers, else a score for each class or column */
    bool one_hot;        /* targets are [rows, width], else [rows] */
    bool classes;        /* predictions are class numbers */
    double epsilon;      /* of the predictions' dtype */
    double *p, *t;
    size_t p_capacity, t_capacity;
    double *w; /* [n_weights], each of rows / n_weights rows; n_weights 0: all 1 */
    int64_t n_weights;
    size_t w_capacity;
} hone__answers;
/* Reads both; columns: [rows, columns] as they stand, for regression. Errors don't stick (but MEMORY). */
hone_status hone__answers_read(hone__answers *a, hone_ctx *ctx, const hone_metric_opts *o, bool columns,
                               const hone_tensor *prediction, const hone_tensor *target);
void hone__answers_free(hone_ctx *ctx, hone__answers *a);
/* Of a batch that has been read. NULL: 1 each. */
hone_status hone__answers_weigh(hone__answers *a, hone_ctx *ctx, const hone_tensor *prediction, const hone_tensor *weights);
/* What the i-th of n rows (or decisions) counts. */
static inline double hone__weight(const hone__answers *a, int64_t i, int64_t n)
{
    return a->n_weights ? a->w[i / (n / a->n_weights)] : 1;
}
/* Decisions: rows, or with opts.elementwise and targets like predictions each element. */
int64_t hone__decisions(const hone__answers *a, const hone_metric_opts *o);
/* Of decision i the class answered and that of the target, below 0: to be left out. */
void hone__decision(const hone__answers *a, const hone_metric_opts *o, int64_t i, int64_t *answer, int64_t *target);
/* INVALID when a decision's classes are not within [0, classes), targets to be left out aside. */
hone_status hone__check_decisions(hone_ctx *ctx, const hone__answers *a, const hone_metric_opts *o, int64_t classes);

/* ---- boxes: x1, y1, x2, y2 ------------------------------------------------------------------------------------- */

double hone__box_iou(const double *a, const double *b);
/* [n, 4] as doubles, freed by the caller; NULL with an error when they are no boxes (does not stick), or for lack of memory. */
double *hone__read_boxes(const hone_tensor *boxes);

/* ---- metrics ------------------------------------------------------------------------------------------------- */

/* Of one class: right answers, all answers, all targets; sums of weights. */
typedef struct hone__class_count {
    double right, answers, targets;
} hone__class_count;
double hone__precision(hone__class_count c, double beta); /* beta is not looked at, by this and the next */
double hone__recall(hone__class_count c, double beta);
double hone__f_beta(hone__class_count c, double beta);
double hone__iou(hone__class_count c, double beta);
typedef double (*hone__class_score)(hone__class_count c, double beta);
/* The score of n classes as one number. */
double hone__average(const hone__class_count *c, int64_t n, hone_average average, hone__class_score score, double beta);

/* Of one column: how targets, predictions and both together vary (Welford 1962), and errors. */
typedef struct hone__column {
    double mean, variation, absolute, square;
    double predicted, predicted_variation, together;
} hone__column;

typedef struct hone__metric_type hone__metric_type;
struct hone_metric {
    hone_ctx *ctx;
    const hone__metric_type *type;
    hone_metric_opts o; /* with defaults in place */
    char name[64];
    hone__answers batch;
    int64_t n;          /* decisions, rows or texts so far */
    double weight, sum; /* of those, 1 each without weights; of right answers, logarithms, F-measures */
    int64_t count[10];  /* edits and words; BLEU's: see bleu.c */
    hone__class_count *classes;
    size_t n_classes, classes_capacity;
    hone__column *columns;
    size_t n_columns, columns_capacity;
    double *scores;     /* [n, width], and whether each belongs to its class */
    unsigned char *labels;
    double *weights;    /* [n] */
    size_t width, scores_capacity, labels_capacity, weights_capacity;
};

/* A metric that is told sums: of n values. NULL: memory (sticky). The name has at most 63 bytes. */
hone_metric *hone__mean_new(hone_ctx *ctx, const char *name, bool smaller_is_better);
void hone__mean_add(hone_metric *m, double sum, int64_t n);

typedef hone_status (*hone__metric_update_fn)(hone_metric *m);
typedef hone_status (*hone__metric_text_fn)(hone_metric *m, const char *prediction, size_t n, const char *const *references);
struct hone__metric_type {
    const char *name;
    hone__metric_update_fn update; /* of m->batch; NULL: a metric of texts */
    hone__metric_text_fn text;
    double (*result)(const hone_metric *m);
    hone__class_score score; /* of precision and its kin */
    double (*element)(double p, double t); /* of the mean over elements */
    double (*row)(const double *p, const double *t, int64_t n); /* of the mean over rows */
    bool columns;
    bool smaller; /* is better */
    bool macro;   /* HONE_AVERAGE_AUTO is the mean over classes even when there are two */
};

/* classes.c */
hone_status hone__accuracy_update(hone_metric *m);
hone_status hone__top_k_update(hone_metric *m);
hone_status hone__classes_update(hone_metric *m);
double hone__classes_result(const hone_metric *m);
double hone__matthews_result(const hone_metric *m);
double hone__kappa_result(const hone_metric *m);
double hone__balanced_result(const hone_metric *m);
/* values.c */
hone_status hone__log_loss_update(hone_metric *m);
hone_status hone__perplexity_update(hone_metric *m);
double hone__mean_result(const hone_metric *m); /* sum / weight */
double hone__perplexity_result(const hone_metric *m);
hone_status hone__columns_update(hone_metric *m);
double hone__mae_result(const hone_metric *m);
double hone__mse_result(const hone_metric *m);
double hone__rmse_result(const hone_metric *m);
double hone__r2_result(const hone_metric *m);
double hone__pearson_result(const hone_metric *m);
hone_status hone__rows_update(hone_metric *m);
double hone__mape(double p, double t);
double hone__msle(double p, double t);
double hone__log_cosh(double p, double t);
double hone__poisson(double p, double t);
double hone__hinge(double p, double t);
double hone__squared_hinge(double p, double t);
double hone__categorical_hinge(const double *p, const double *t, int64_t n);
double hone__cosine(const double *p, const double *t, int64_t n);
double hone__kl(const double *p, const double *t, int64_t n);
/* ranking.c */
hone_status hone__ranking_update(hone_metric *m);
double hone__roc_auc_result(const hone_metric *m);
double hone__average_precision_result(const hone_metric *m);
double hone__precision_at_recall_result(const hone_metric *m);
double hone__recall_at_precision_result(const hone_metric *m);
double hone__sensitivity_at_specificity_result(const hone_metric *m);
double hone__specificity_at_sensitivity_result(const hone_metric *m);
/* text.c, bleu.c */
hone_status hone__rouge_l_text(hone_metric *m, const char *prediction, size_t n, const char *const *references);
hone_status hone__wer_text(hone_metric *m, const char *prediction, size_t n, const char *const *references);
hone_status hone__cer_text(hone_metric *m, const char *prediction, size_t n, const char *const *references);
double hone__error_rate_result(const hone_metric *m);
hone_status hone__bleu_text(hone_metric *m, const char *prediction, size_t n, const char *const *references);
double hone__bleu_result(const hone_metric *m);

#endif
