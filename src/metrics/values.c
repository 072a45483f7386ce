/* Metrics of probabilities and of numbers: sums. */
#include "metrics/metrics.h"

#include <math.h>

/* ---- probabilities ---- */

/* The weighted sum over rows of -t log p: p cut to [least, 1 - least]. */
static hone_status add_logs(hone_metric *m, double least)
{
    const hone__answers *a = &m->batch;
    bool single = a->width == 1;
    hone_metric_opts rows = m->o;
    rows.elementwise = false;
    if (a->classes) return hone__fail_run(m->ctx, HONE_DTYPE, "predictions must be probabilities, not class numbers");
    hone_status status = hone__check_decisions(m->ctx, a, &rows, HONE_MAX(a->width, 2));
    if (status != HONE_OK) return status;
    for (int64_t r = 0; r < a->rows; r++) {
        const double *p = a->p + r * a->width;
        double weight = hone__weight(a, r, a->rows);
        int64_t answer, target;
        hone__decision(a, &rows, r, &answer, &target);
        if (target < 0 || weight == 0) continue;
        if (a->one_hot) {
            for (int64_t c = 0; c < a->width; c++) {
                double t = a->t[r * a->width + c];
                if (t != 0) m->sum -= weight * t * log(fmin(fmax(p[c], least), 1 - least));
            }
        } else {
            double q = single ? (target ? p[0] : 1 - p[0]) : p[target];
            m->sum -= weight * log(fmin(fmax(q, least), 1 - least));
        }
        m->weight += weight;
        m->n++;
    }
    return HONE_OK;
}

hone_status hone__log_loss_update(hone_metric *m) { return add_logs(m, m->batch.epsilon); }
hone_status hone__perplexity_update(hone_metric *m) { return add_logs(m, 0); }
double hone__mean_result(const hone_metric *m) { return m->sum / m->weight; }
double hone__perplexity_result(const hone_metric *m) { return exp(hone__mean_result(m)); }

/* ---- regression ---- */

hone_status hone__columns_update(hone_metric *m)
{
    const hone__answers *a = &m->batch;
    size_t width = (size_t)a->width;
    if (a->rows == 0) return HONE_OK;
    if (m->n_columns && m->n_columns != width)
        return hone__fail_run(m->ctx, HONE_SHAPE, "predictions have %zu columns, those before had %zu", width, m->n_columns);
    if (!hone__grow(m->ctx, (void **)&m->columns, &m->columns_capacity, width, sizeof *m->columns)) return HONE_MEMORY;
    for (; m->n_columns < width; m->n_columns++) m->columns[m->n_columns] = (hone__column){0};
    for (int64_t r = 0; r < a->rows; r++) {
        double weight = hone__weight(a, r, a->rows);
        if (weight == 0) continue;
        m->n++;
        m->weight += weight;
        for (size_t c = 0; c < width; c++) {
            hone__column *column = &m->columns[c];
            double y = a->t[(size_t)r * width + c], p = a->p[(size_t)r * width + c], error = p - y;
            double away = y - column->mean, p_away = p - column->predicted;
            column->mean += weight * away / m->weight;
            column->predicted += weight * p_away / m->weight;
            column->variation += weight * away * (y - column->mean);
            column->predicted_variation += weight * p_away * (p - column->predicted);
            column->together += weight * away * (p - column->predicted);
            column->absolute += weight * fabs(error);
            column->square += weight * error * error;
        }
    }
    return HONE_OK;
}

static double absolute(const hone__column *c, double weight) { return c->absolute / weight; }
static double square(const hone__column *c, double weight) { return c->square / weight; }
static double root(const hone__column *c, double weight) { return sqrt(c->square / weight); }
static double explained(const hone__column *c, double weight)
{
    (void)weight;
    if (c->variation == 0) return c->square == 0;
    return 1 - c->square / c->variation;
}

static double correlation(const hone__column *c, double weight)
{
    (void)weight;
    return c->together / sqrt(c->variation * c->predicted_variation);
}

static double over_columns(const hone_metric *m, double (*of)(const hone__column *c, double weight))
{
    double sum = 0;
    for (size_t c = 0; c < m->n_columns; c++) sum += of(&m->columns[c], m->weight);
    return sum / (double)m->n_columns;
}

double hone__mae_result(const hone_metric *m) { return over_columns(m, absolute); }
double hone__mse_result(const hone_metric *m) { return over_columns(m, square); }
double hone__rmse_result(const hone_metric *m) { return over_columns(m, root); }
double hone__r2_result(const hone_metric *m) { return m->n < 2 ? NAN : over_columns(m, explained); }
double hone__pearson_result(const hone_metric *m) { return over_columns(m, correlation); }

/* ---- means over elements or rows: Keras's formulas, 1e-7 its epsilon ---- */

double hone__mape(double p, double t) { return 100 * fabs(t - p) / fmax(fabs(t), 1e-7); }
double hone__msle(double p, double t) { return pow(log1p(fmax(t, 1e-7)) - log1p(fmax(p, 1e-7)), 2); }
double hone__log_cosh(double p, double t) { return fabs(p - t) + log1p(exp(-2 * fabs(p - t))) - log(2); }
double hone__poisson(double p, double t) { return p - t * log(p + 1e-7); }
double hone__hinge(double p, double t) { return fmax(0, 1 - (t == 0 ? -1 : t) * p); } /* a label 0 is -1 */
double hone__squared_hinge(double p, double t) { return pow(hone__hinge(p, t), 2); }

double hone__categorical_hinge(const double *p, const double *t, int64_t n)
{
    double right = 0, wrong = -INFINITY;
    for (int64_t i = 0; i < n; i++) right += t[i] * p[i], wrong = fmax(wrong, (1 - t[i]) * p[i]);
    return fmax(0, 1 + wrong - right);
}

double hone__cosine(const double *p, const double *t, int64_t n)
{
    double both = 0, of_p = 0, of_t = 0;
    for (int64_t i = 0; i < n; i++) both += p[i] * t[i], of_p += p[i] * p[i], of_t += t[i] * t[i];
    return both / (fmax(sqrt(of_p), 1e-7) * fmax(sqrt(of_t), 1e-7));
}

static double cut(double v) { return fmin(fmax(v, 1e-7), 1); }
double hone__kl(const double *p, const double *t, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += cut(t[i]) * log(cut(t[i]) / cut(p[i]));
    return sum;
}

hone_status hone__rows_update(hone_metric *m)
{
    const hone__answers *a = &m->batch;
    for (int64_t r = 0; r < a->rows; r++) {
        const double *p = a->p + r * a->width, *t = a->t + r * a->width;
        double weight = hone__weight(a, r, a->rows), value = 0;
        if (weight == 0 || a->width == 0) continue;
        for (int64_t i = 0; i < a->width && m->type->element; i++) value += m->type->element(p[i], t[i]) / (double)a->width;
        m->sum += weight * (m->type->row ? m->type->row(p, t, a->width) : value);
        m->weight += weight;
        m->n++;
    }
    return HONE_OK;
}
