/* Metrics of decisions: counts by class. */
#include "metrics/metrics.h"

#include <math.h>

enum { MAX_CLASSES = 1 << 24 }; /* of counts that grow with the classes met */

static double ratio(double a, double b) { return b > 0 ? a / b : 0; }

double hone__precision(hone__class_count c, double beta)
{
    (void)beta;
    return ratio(c.right, c.answers);
}

double hone__recall(hone__class_count c, double beta)
{
    (void)beta;
    return ratio(c.right, c.targets);
}

double hone__f_beta(hone__class_count c, double beta)
{
    double b2 = beta * beta;
    return ratio((1 + b2) * c.right, b2 * c.targets + c.answers);
}

double hone__iou(hone__class_count c, double beta)
{
    (void)beta;
    return ratio(c.right, c.targets + c.answers - c.right);
}

double hone__average(const hone__class_count *c, int64_t n, hone_average average, hone__class_score score, double beta)
{
    if (average == HONE_AVERAGE_AUTO) average = n <= 2 ? HONE_AVERAGE_BINARY : HONE_AVERAGE_MACRO;
    if (average == HONE_AVERAGE_BINARY) return n > 1 ? score(c[1], beta) : 0;
    hone__class_count all = {0};
    double sum = 0, weights = 0;
    for (int64_t i = 0; i < n; i++) {
        if (c[i].answers + c[i].targets == 0) continue; /* not met */
        double weight = average == HONE_AVERAGE_WEIGHTED ? c[i].targets : 1;
        sum += weight * score(c[i], beta);
        weights += weight;
        all = (hone__class_count){all.right + c[i].right, all.answers + c[i].answers, all.targets + c[i].targets};
    }
    return average == HONE_AVERAGE_MICRO ? score(all, beta) : ratio(sum, weights);
}

hone_status hone__classes_update(hone_metric *m)
{
    const hone__answers *a = &m->batch;
    int64_t n = hone__decisions(a, &m->o), most = -1, answer, target;
    hone_status status = hone__check_decisions(m->ctx, a, &m->o, MAX_CLASSES);
    if (status != HONE_OK) return status;
    for (int64_t i = 0; i < n; i++) {
        hone__decision(a, &m->o, i, &answer, &target);
        if (target >= 0 && hone__weight(a, i, n) > 0) most = HONE_MAX(most, HONE_MAX(answer, target));
    }
    if (!hone__grow(m->ctx, (void **)&m->classes, &m->classes_capacity, (size_t)most + 1, sizeof *m->classes)) return HONE_MEMORY;
    for (; m->n_classes < (size_t)(most + 1); m->n_classes++) m->classes[m->n_classes] = (hone__class_count){0};
    for (int64_t i = 0; i < n; i++) {
        double weight = hone__weight(a, i, n);
        hone__decision(a, &m->o, i, &answer, &target);
        if (target < 0 || weight == 0) continue;
        m->classes[answer].answers += weight;
        m->classes[target].targets += weight;
        if (answer == target) m->classes[answer].right += weight;
        m->n++;
    }
    return HONE_OK;
}

double hone__classes_result(const hone_metric *m)
{
    bool macro = m->o.average == HONE_AVERAGE_AUTO && m->type->macro;
    return hone__average(m->classes, (int64_t)m->n_classes, macro ? HONE_AVERAGE_MACRO : m->o.average, m->type->score, m->o.beta);
}

/* Sums over classes: of what is right, of all, of answers times targets, of answers and of targets squared. */
typedef struct agreement {
    double right, all, product, answers, targets;
} agreement;
static agreement agree(const hone_metric *m)
{
    agreement a = {0};
    for (size_t i = 0; i < m->n_classes; i++) {
        hone__class_count c = m->classes[i];
        a.right += c.right, a.all += c.targets, a.product += c.answers * c.targets;
        a.answers += c.answers * c.answers, a.targets += c.targets * c.targets;
    }
    return a;
}

/* 0 where answers or targets are all of one class. */
double hone__matthews_result(const hone_metric *m)
{
    agreement a = agree(m);
    return ratio(a.right * a.all - a.product, sqrt((a.all * a.all - a.answers) * (a.all * a.all - a.targets)));
}

double hone__kappa_result(const hone_metric *m)
{
    agreement a = agree(m);
    return (a.right * a.all - a.product) / (a.all * a.all - a.product);
}

double hone__balanced_result(const hone_metric *m)
{
    double sum = 0, classes = 0;
    for (size_t i = 0; i < m->n_classes; i++)
        if (m->classes[i].targets > 0) sum += hone__recall(m->classes[i], 1), classes++;
    return ratio(sum, classes);
}

/* A decision that is right or not, into a mean. */
static void add_share(hone_metric *m, bool right, double weight)
{
    m->n += weight > 0;
    m->weight += weight;
    m->sum += right ? weight : 0;
}

hone_status hone__accuracy_update(hone_metric *m)
{
    int64_t n = hone__decisions(&m->batch, &m->o);
    hone_status status = hone__check_decisions(m->ctx, &m->batch, &m->o, INT64_MAX);
    for (int64_t i = 0; i < n && status == HONE_OK; i++) {
        int64_t answer, target;
        hone__decision(&m->batch, &m->o, i, &answer, &target);
        if (target >= 0) add_share(m, answer == target, hone__weight(&m->batch, i, n));
    }
    return status;
}

/* Is the target's score among the k highest? Of equal ones the later class is higher, as in scikit-learn. */
hone_status hone__top_k_update(hone_metric *m)
{
    const hone__answers *a = &m->batch;
    if (a->width < 2) return hone__fail_run(m->ctx, HONE_SHAPE, "predictions must be scores [..., classes]");
    hone_metric_opts rows = m->o;
    rows.elementwise = false;
    hone_status status = hone__check_decisions(m->ctx, a, &rows, a->width);
    for (int64_t r = 0; r < a->rows && status == HONE_OK; r++) {
        const double *p = a->p + r * a->width;
        int64_t answer, target, higher = 0;
        hone__decision(a, &rows, r, &answer, &target);
        if (target < 0) continue;
        for (int64_t c = 0; c < a->width; c++) higher += p[c] > p[target] || (p[c] == p[target] && c > target);
        add_share(m, higher < m->o.k, hone__weight(a, r, a->rows));
    }
    return status;
}
