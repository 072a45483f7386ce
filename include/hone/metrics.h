/* Hone: metrics, streaming over batches: how good are answers; boxes. Read after tensor.h.
 *
 * Made by name, fed batch by batch, asked at any time. All sums are f64; results equal those of scikit-learn, sacrebleu,
 * rouge-score and jiwer over all batches together. Errors of updates don't stick (but MEMORY) and change nothing. */
#ifndef HONE_METRICS_H
#define HONE_METRICS_H

#include "hone/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a number for each class becomes one. */
typedef enum hone_average {
    HONE_AVERAGE_AUTO,    /* binary while no class above 1 was met (ranking: with one score a row or two classes), else macro */
    HONE_AVERAGE_BINARY,  /* of class 1 alone */
    HONE_AVERAGE_MACRO,   /* the mean over classes that were met, as target or as answer */
    HONE_AVERAGE_MICRO,   /* of all decisions together */
    HONE_AVERAGE_WEIGHTED /* the mean weighted by how often each class is the target */
} hone_average;

typedef struct hone_metric_opts {
    size_t struct_size;
    hone_average average;
    double beta;          /* f_beta: recall counts beta times as much as precision; default 1 */
    int k;                /* top_k_accuracy: default 5 */
    double threshold;     /* single scores above it say class 1; default 0.5; HONE_ZERO for 0 */
    bool from_logits;     /* predictions are turned by sigmoid (one score a decision) or softmax (one a class) first */
    bool elementwise;     /* predictions shaped as targets are decisions of their own (multi-label), not rows over classes */
    int64_t ignore_index; /* targets equal to it are left out; so are those below 0; default: none */
    const char *name;     /* what histories and logs call it, at most 63 bytes; default: the metric's own. Copied */
    double at_least;      /* precision_at_recall and its kin: what the other is at least, in (0, 1]; default 0.5 */
} hone_metric_opts;

/* A metric that is being computed. */
typedef struct hone_metric hone_metric;
/* By name, owned by the caller:
   accuracy         share of right answers
   top_k_accuracy   share of rows whose class is among the k highest scores; of equal ones the later class is higher
   precision        tp / (tp + fp); 0 where nothing is divided by (so for all of these)
   recall           tp / (tp + fn)
   f1, f_beta       (1 + b^2) tp / ((1 + b^2) tp + b^2 fn + fp)
   mean_iou         tp / (tp + fp + fn), by default the mean over classes, also of two
   roc_auc          area under the curve of true over false positive rate, trapezoids; many classes: each against the rest
   average_precision  sum (R_n - R_n-1) P_n over thresholds
   precision_at_recall, recall_at_precision  the most of the one at any threshold where the other is at_least so much
   sensitivity_at_specificity, specificity_at_sensitivity  the same of true positive and true negative rate
   matthews_correlation, cohen_kappa  how far answers and targets agree beyond chance, over all classes: Matthews 1975, Gorodkin
                    2004; Cohen 1960
   balanced_accuracy  mean recall over the classes that are targets
   log_loss         mean -log p[target], p cut to [e, 1 - e], e the precision of the predictions' dtype
   perplexity       exp of the mean -log p[target]
   mae, mse, rmse   mean |y - p|, mean (y - p)^2, its root (of each column, then the mean)
   mape             mean 100 |y - p| / max(|y|, 1e-7): percent, as Keras; scikit-learn's is a share
   msle             mean (log(1 + max(y, 1e-7)) - log(1 + max(p, 1e-7)))^2
   log_cosh, poisson  mean log cosh(p - y); mean p - y log(p + 1e-7)
   hinge, squared_hinge  mean max(0, 1 - y p), of its square; y -1 or 1, or a label 0 or 1
   categorical_hinge  mean over rows of max(0, 1 + the largest (1 - y) p - sum y p), y one-hot
   cosine_similarity  mean over rows of y p / (|y| |p|), norms at least 1e-7
   kl_divergence    mean over rows of sum y log(y / p), both cut to [1e-7, 1]
   pearson_correlation  of each column, then the mean; NaN where one of both is constant
   r2               1 - sum (y - p)^2 / sum (y - mean y)^2 of each column, then the mean
   bleu             of corpora, 0 to 100: Papineni et al. 2002 as sacrebleu computes it (13a tokenizer, exponential smoothing)
   rouge_l          mean F-measure by longest common subsequence of words, the best reference: Lin 2004, as rouge-score
   wer, cer         word, character error rate: edits / words (characters) of the references, as jiwer
   average matters to precision, recall, f1, f_beta, mean_iou, roc_auc, average_precision and those at a least other. Names and
   formulas that scikit-learn lacks are Keras's, but that thresholds are all scores there are, not 200. NULL on error (sticky):
   NOT_FOUND names what there is; INVALID. */
HONE_API hone_metric *hone_metric_new_opt(hone_ctx *ctx, const char *name, const hone_metric_opts *opts);
#define hone_metric_new(...)                                                                                 \
    HONE_OPTS2(hone_metric_new_opt, hone_metric_opts, __VA_ARGS__, .struct_size = sizeof(hone_metric_opts))
/* By a text with options in parentheses: "accuracy", "top_k_accuracy(k=3)", "f_beta(beta=2, average=macro, name=f2)". They are
   those of hone_metric_opts by name: average (auto, binary, macro, micro, weighted), beta, k, threshold, from_logits and
   elementwise (true, false), ignore_index, name; what the text leaves out is as `opts` says (may be NULL). Owned by the caller.
   NULL on error (sticky): as of hone_metric_new; INVALID for a text that is not of this form. */
HONE_API hone_metric *hone_metric_parse(hone_ctx *ctx, const char *text, const hone_metric_opts *opts);
HONE_API void hone_metric_free(hone_metric *metric); /* NULL is allowed */
/* .name of its options, else the metric's own. */
HONE_API const char *hone_metric_name(const hone_metric *metric);
/* Is a larger result better (accuracy and its kin, r2), or a smaller one (errors, log_loss, perplexity)? */
HONE_API bool hone_metric_larger_is_better(const hone_metric *metric);
/* Takes in a batch. Classification: predictions are class numbers (integers), scores [..., C] with targets [...] (class
   numbers) or [..., C] (one-hot or probabilities: the largest), or single scores of class 1 with as many targets, 1 above 0.5.
   Ranking and log_loss: scores as these. Regression: [rows, columns] or [rows], targets as many. SHAPE, DTYPE, INVALID for
   targets that are no classes; STATE for a metric of texts. */
HONE_API hone_status hone_metric_update(hone_metric *metric, const hone_tensor *prediction, const hone_tensor *target);
/* The same with what each row counts, as scikit-learn's sample_weight: real, at least 0, one a row, or one for each example along
   the first axis, of all its rows. Rows of weight 0 are as if they were not there. NULL: 1 each. SHAPE, INVALID. */
HONE_API hone_status hone_metric_update_weighted(hone_metric *metric, const hone_tensor *prediction, const hone_tensor *target,
                                                 const hone_tensor *weights);
/* bleu, rouge_l, wer, cer: a text (UTF-8) and its n references, one with wer and cer. STATE for other metrics. */
HONE_API hone_status hone_metric_update_text(hone_metric *metric, const char *prediction, size_t n,
                                             const char *const *references);
/* Of all that came since the beginning or reset; NaN when there is no answer (nothing came, one class alone for roc_auc,
   memory ran out). */
HONE_API double hone_metric_result(const hone_metric *metric);
HONE_API void hone_metric_reset(hone_metric *metric);
/* The curve behind roc_auc (x false, y true positive rate, from 0, 0 to 1, 1) or average_precision (x recall, y precision,
   from the highest threshold on) of the class in column `of` (0 with single scores), for hone_plot_lines. *x and *y hold *n
   values, and are freed with hone_free_curve. STATE for other metrics, INVALID without such a class or its targets; errors
   don't stick. */
HONE_API hone_status hone_metric_curve(hone_metric *metric, int64_t of, size_t *n, double **x, double **y);
HONE_API void hone_free_curve(hone_ctx *ctx, double *x, double *y); /* NULL is allowed */

/* ---- boxes around things in pictures: x1, y1, x2, y2 with x1 <= x2 and y1 <= y2, as in torchvision.ops -------------------- */

/* Intersection over union of each of a [N, 4] with each of b [M, 4]: f32 [N, M], the shared area over the area of both together, 0
   for two without area. The tensor is the caller's. NULL on error (does not stick, but MEMORY): SHAPE. */
HONE_API hone_tensor *hone_box_iou(const hone_tensor *a, const hone_tensor *b);
/* The same of the generalized one: what the smallest box around both has beside them, over its area, is subtracted, so that boxes
   apart are in (-1, 0]: Rezatofighi et al. 2019; torchvision.ops.generalized_box_iou. */
HONE_API hone_tensor *hone_box_giou(const hone_tensor *a, const hone_tensor *b);
/* Non-maximum suppression: goes through boxes [n, 4] from the highest of scores [n] on and drops each whose intersection over
   union with one that stays, of the same of classes [n] (NULL: there is one class), is above threshold in [0, 1]. The *n_kept that
   stay go into rows[n], the best first, of equal ones the earlier: for hone_take. Errors do not stick (but MEMORY): SHAPE, INVALID
   also for a score that is NaN. */
HONE_API hone_status hone_nms(const hone_tensor *boxes, const hone_tensor *scores, const hone_tensor *classes, double threshold,
                              int64_t *rows, int64_t *n_kept);

/* Whose average precision of boxes. */
typedef enum hone_detection_style {
    HONE_DETECTION_COCO, /* pycocotools: a box belongs to the best there is that no better scored one took; precision at recalls 0,
                            0.01, ... 1; at most 100 boxes of a class and picture */
    HONE_DETECTION_VOC   /* VOC 2010 and later: a box belongs to the best there is, whoever comes second is wrong; the area below the
                            curve. Sides of boxes are x2 - x1, not the kit's x2 - x1 + 1 */
} hone_detection_style;
typedef struct hone_detection_opts {
    size_t struct_size;
    hone_detection_style style;
    double iou; /* least intersection over union of a right box; default of COCO: the mean over 0.5, 0.55, ... 0.95, of VOC 0.5 */
} hone_detection_opts;
/* Mean average precision (mAP) of boxes found in pictures, which is being computed. */
typedef struct hone_detection hone_detection;
/* Over classes [0, classes); owned by the caller. NULL on error (sticky): INVALID, MEMORY. */
HONE_API hone_detection *hone_detection_new_opt(hone_ctx *ctx, int64_t classes, const hone_detection_opts *opts);
#define hone_detection_new(...)                                                                              \
    HONE_OPTS2(hone_detection_new_opt, hone_detection_opts, __VA_ARGS__, .struct_size = sizeof(hone_detection_opts))
HONE_API void hone_detection_free(hone_detection *detection); /* NULL is allowed */
/* One picture: boxes [n, 4] with scores [n] and classes [n] that were found, and those that are there [m, 4], [m] (classes NULL: all 0;
   n and m may be 0). On error nothing is counted, and it does not stick (but MEMORY): SHAPE; INVALID for a class out of range or a
   score that is NaN. */
HONE_API hone_status hone_detection_update(hone_detection *detection, const hone_tensor *boxes, const hone_tensor *scores,
                                           const hone_tensor *classes, const hone_tensor *true_boxes, const hone_tensor *true_classes);
/* The mean over the classes that were there, in [0, 1]; NaN without any. And of one class; NaN when it was not there. */
HONE_API double hone_detection_result(const hone_detection *detection);
HONE_API double hone_detection_result_of(const hone_detection *detection, int64_t of);
HONE_API void hone_detection_reset(hone_detection *detection);

/* ---- confusion ------------------------------------------------------------------------------------------- */

/* How often each class (row) was taken for each class (column). */
typedef struct hone_confusion hone_confusion;
/* Over classes [0, classes), at most 4096; owned by the caller. NULL on error (sticky): INVALID, MEMORY. */
HONE_API hone_confusion *hone_confusion_new(hone_ctx *ctx, int64_t classes);
HONE_API void hone_confusion_free(hone_confusion *confusion); /* NULL is allowed */
/* A batch, as hone_metric_update takes it for classification. INVALID when a class is outside: then nothing is counted. */
HONE_API hone_status hone_confusion_update(hone_confusion *confusion, const hone_tensor *prediction, const hone_tensor *target);
HONE_API int64_t hone_confusion_classes(const hone_confusion *confusion);
/* Rows of class `target` that were taken for class `answer`; 0 when out of range. */
HONE_API int64_t hone_confusion_at(const hone_confusion *confusion, int64_t target, int64_t answer);
HONE_API void hone_confusion_reset(hone_confusion *confusion);
/* Precision, recall, F1 and support of each class and their averages, with `digits` decimals, byte for byte as scikit-learn's
   classification_report: names NULL: of the classes that were met, by number; names[classes]: of all, by name (labels and
   target_names given there). The caller frees it with hone_free_text. NULL on error (does not stick, but MEMORY): INVALID when
   nothing was counted or digits is outside [0, 15]. */
HONE_API char *hone_classification_report(const hone_confusion *confusion, const char *const *names, int digits);

#ifdef __cplusplus
}
#endif
#endif
