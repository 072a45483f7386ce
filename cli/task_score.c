/* How good a task's answers are. */
#include "task.h"

#include <math.h>
#include <stdlib.h>

static const char *const of_classes[] = {"accuracy", "precision", "recall", "f1", "roc_auc", NULL};
enum { ACCURACY, PRECISION, RECALL, F1, ROC_AUC }; /* their numbers */
enum { MOST_CURVES = 20 };                         /* of hone_plot_roc, which keeps all scores */
static const char *const of_quantities[] = {"mae", "rmse", "r2", NULL};

typedef struct measuring {
    task *t;
    const int64_t *rows;
    task_score *score;
} measuring;

/* Answers that are measured of a row. */
static int64_t each_row(const task *t) { return t->outputs ? t->outputs : 1; }

/* Sums of errors, until all are known. */
static void add_naive(const measuring *m, int64_t count, const int64_t *rows, const hone_tensor *targets)
{
    for (int seasonal = 0; seasonal < 2; seasonal++)
        for (int64_t i = 0; i < count; i++)
            for (int64_t h = 0; h < m->t->outputs; h++) {
                double e = task_series_naive(m->t, rows[i], h, seasonal) - hone_tensor_get(targets, i * m->t->outputs + h);
                m->score->naive[seasonal][0] += fabs(e), m->score->naive[seasonal][1] += e * e;
            }
}

static bool add(void *user, int64_t from, int64_t count, const hone_tensor *answers)
{
    measuring *m = user;
    task_score *s = m->score;
    int64_t *rows = cli_alloc((size_t)count * sizeof *rows);
    for (int64_t i = 0; i < count; i++) rows[i] = m->rows ? m->rows[from + i] : from + i;
    hone_tensor *targets = task_targets(m->t, count, rows);
    if (targets && m->t->outputs) add_naive(m, count, rows, targets);
    free(rows);
    bool ok = targets && (!s->confusion || hone_confusion_update(s->confusion, answers, targets) == HONE_OK);
    for (size_t i = 0; ok && i < s->n_metrics; i++) ok = hone_metric_update(s->metrics[i], answers, targets) == HONE_OK;
    const int64_t each = each_row(m->t);
    for (int64_t i = 0; ok && s->answers && i < count * each; i++) {
        s->targets[from * each + i] = hone_tensor_get(targets, i);
        s->answers[from * each + i] = hone_tensor_get(answers, i);
    }
    hone_tensor_free(targets);
    return ok || task_failed(m->t);
}

bool task_measure(task *t, int64_t n, const int64_t *rows, task_score *score)
{
    *score = (task_score){.t = t, .rows = rows ? n : t->rows};
    const size_t count = (size_t)(score->rows * each_row(t));
    if (t->classes && !(score->confusion = hone_confusion_new(t->ctx, t->classes))) return task_failed(t);
    if (!t->classes) {
        score->targets = cli_alloc(count * sizeof *score->targets);
        score->answers = cli_alloc(count * sizeof *score->answers);
    }
    for (const char *const *name = t->classes ? of_classes : of_quantities; *name; name++) {
        if (t->classes > MOST_CURVES && score->n_metrics == ROC_AUC) break;
        if (!(score->metrics[score->n_metrics++] = hone_metric_new(t->ctx, *name, .average = HONE_AVERAGE_MACRO))) return task_failed(t);
    }
    if (t->classes && score->n_metrics > ROC_AUC) score->roc = score->metrics[ROC_AUC];
    if (!task_answer(t, score->rows, rows, add, &(measuring){t, rows, score})) return false;
    for (int i = 0; i < 2; i++)
        score->naive[i][0] /= (double)count, score->naive[i][1] = sqrt(score->naive[i][1] / (double)count);
    return true;
}

/* The mean over all classes, as the report below has it (scikit-learn's with all labels, zero_division=0): a metric's own is over the
   classes that it has met. */
static double macro(const hone_confusion *confusion, size_t metric)
{
    const int64_t n = hone_confusion_classes(confusion);
    double sum = 0;
    for (int64_t k = 0; k < n; k++) {
        double right = (double)hone_confusion_at(confusion, k, k), targets = 0, answers = 0;
        for (int64_t i = 0; i < n; i++) {
            targets += (double)hone_confusion_at(confusion, k, i);
            answers += (double)hone_confusion_at(confusion, i, k);
        }
        double of = metric == PRECISION ? answers : metric == RECALL ? targets : (targets + answers) / 2;
        sum += of > 0 ? right / of : 0;
    }
    return sum / (double)n;
}

double task_score_area(const task_score *s, int64_t class)
{
    size_t n;
    double *x, *y, area = 0;
    if (!s->roc || hone_metric_curve(s->roc, class, &n, &x, &y) != HONE_OK) return NAN;
    for (size_t i = 1; i < n; i++) area += (x[i] - x[i - 1]) * (y[i] + y[i - 1]) / 2;
    hone_free_curve(s->t->ctx, x, y);
    return area;
}

/* The mean over the classes that have a curve: scikit-learn's macro one where all have. NaN: none has. */
static double mean_area(const task_score *s)
{
    double sum = 0, n = 0;
    for (int64_t k = 0; k < s->t->classes; k++) {
        double area = task_score_area(s, k);
        if (!isnan(area)) sum += area, n++;
    }
    return n > 0 ? sum / n : NAN;
}

double task_score_value(const task_score *s, size_t i)
{
    if (s->roc && i == ROC_AUC) return mean_area(s);
    return s->confusion && i != ACCURACY ? macro(s->confusion, i) : hone_metric_result(s->metrics[i]);
}

bool task_score_print(const task_score *s)
{
    const task *t = s->t;
    json_t *o = json_pack("{s:I}", "rows", (json_int_t)s->rows);
    for (size_t i = 0; i < s->n_metrics; i++) {
        double value = task_score_value(s, i);
        json_object_set_new(o, hone_metric_name(s->metrics[i]), cli_json_real(value));
        if (!t->args->json) printf("%-10s %.4f\n", hone_metric_name(s->metrics[i]), value);
    }
    for (int i = 0; t->outputs && i < 2; i++) {
        json_object_set_new(o, i ? "seasonal_naive_mae" : "naive_mae", cli_json_real(s->naive[i][0]));
        json_object_set_new(o, i ? "seasonal_naive_rmse" : "naive_rmse", cli_json_real(s->naive[i][1]));
        if (!t->args->json && !isnan(s->naive[i][0]))
            printf("%smae %.4f, rmse %.4f of the %s\n", i ? "" : "\n", s->naive[i][0], s->naive[i][1],
                   i ? "seasonal naive forecast: as a season ago" : "naive forecast: as the last value");
    }
    if (t->args->json) {
        cli_print_json(o);
        return true;
    }
    json_decref(o);
    if (!s->confusion) return true;
    char *text = hone_classification_report(s->confusion, (const char *const *)t->names, 4);
    if (!text) return task_failed(t);
    printf("\n%s", text);
    hone_free_text(t->ctx, text);
    return true;
}

void task_score_free(task_score *s)
{
    for (size_t i = 0; i < s->n_metrics; i++) hone_metric_free(s->metrics[i]);
    hone_confusion_free(s->confusion);
    free(s->targets);
    free(s->answers);
}
