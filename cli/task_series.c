/* Time series: a column of a table, a value a row, oldest first. A row of the task is a window of values; its targets are those that
   come next. What the network sees is the window around its own mean, and what it answers is by how much the values to come differ
   from the seasonal naive forecast (without a season from the last value): a trend moves both, so learning is the same at any level.
   Series whose swings grow with their level are taken as logarithms. */
#include "task.h"

#include <math.h>
#include <stdlib.h>

enum { FEWEST_WINDOWS = 8, MOST = 1 << 20 };

typedef struct series_task {
    task base;
    double *values; /* [n] as they are computed with: themselves, or their logarithms */
    double *raw;    /* [n] */
    int64_t n, first;    /* of row 0 the first value */
    int64_t window, season; /* 0: there is none */
    bool logarithms;
    double deviation, mean_change, change; /* of windows around their mean; of what is learnt */
} series_task;

static series_task *series_of(const task *t) { return (series_task *)(uintptr_t)t; }

/* ---- the file ---- */

static bool is_descending(const hone_frame *frame, const hone_column *c)
{
    for (int64_t i = 1; i < frame->rows; i++)
        if (hone_column_missing(c, i) || hone_column_missing(c, i - 1) ||
            strcmp(c->categories[c->codes[i]], c->categories[c->codes[i - 1]]) > 0) return false;
    return frame->rows > 2 && c->codes[0] != c->codes[frame->rows - 1];
}

/* Something like 2024-05-01: a year in front, and a mark behind it. */
static bool are_dates(const hone_column *c)
{
    bool all = c->n_categories > 0;
    for (size_t i = 0; all && i < c->n_categories; i++) {
        size_t digits = strspn(c->categories[i], "0123456789");
        all = digits == 4 && strchr("-/.", c->categories[i][4]) && c->categories[i][4];
    }
    return all;
}

/* Years, or numbers of days: or something else that falls. */
static bool is_counting_down(const hone_frame *frame, const hone_column *c)
{
    int64_t i = 1;
    while (i < frame->rows && c->numbers[i] < c->numbers[i - 1]) i++;
    return c->type == HONE_COLUMN_INTEGER && frame->rows > 2 && i == frame->rows;
}

/* Dates the other way round would make the past the future. */
static bool check_order(const task *t, const hone_frame *frame, const char *path)
{
    for (size_t i = 0; i < frame->n_columns; i++) {
        const hone_column *c = &frame->columns[i];
        if (!c->codes && strcmp(c->name, t->target) != 0 && is_counting_down(frame, c))
            cli_note(t->args, "%s: '%s' falls from row to row: if it is the time, turn the rows around, as a series has its oldest row first",
                     path, c->name);
        if (!c->codes || !are_dates(c) || !is_descending(frame, c)) continue;
        return cli_fail(t->args, "%s: '%s' runs backwards: a series has its oldest row first", path, c->name), false;
    }
    return true;
}

static bool read_values(series_task *own, const hone_frame *frame, const char *path)
{
    task *t = &own->base;
    const hone_column *column = task_find_target(t->args, frame, path, t->target);
    if (!column || !check_order(t, frame, path)) return false;
    if (column->categories)
        return cli_fail(t->args, "%s: '%s' has text, as '%.60s': a series is of numbers", path, t->target,
                        column->n_categories ? column->categories[0] : ""), false;
    own->n = frame->rows;
    own->raw = cli_alloc((size_t)own->n * sizeof *own->raw);
    for (int64_t i = 0; i < own->n; i++) {
        own->raw[i] = column->numbers[i];
        if (hone_column_missing(column, i) || !(fabs(own->raw[i]) < 1e30))
            return cli_fail(t->args, "%s: row %lld has no %s%s: a series has a value in every row, at the same distances", path, (long long)i,
                            t->target, hone_column_missing(column, i) ? "" : " that could be learnt"), false;
    }
    return true;
}

static bool open_file(series_task *own, const char *path)
{
    task *t = &own->base;
    t->path = path;
    hone_frame *frame = task_is_arrays(path) ? NULL : task_load_frame(t->args, t->ctx, path, 0, NULL);
    if (task_is_arrays(path)) cli_fail(t->args, "%s: a table is expected, as in training: .csv, .tsv or .jsonl", path);
    bool ok = frame && read_values(own, frame, path);
    hone_frame_free(frame);
    return ok;
}

/* From value `from` on, as the others are not looked at. False: one of them has no logarithm. */
static bool compute_values(series_task *own, int64_t from)
{
    const task *t = &own->base;
    own->values = cli_alloc((size_t)own->n * sizeof *own->values);
    for (int64_t i = from; i < own->n; i++) {
        if (own->logarithms && !(own->raw[i] > 0))
            return cli_fail(t->args, "%s: '%s' is %g in row %lld: only values above 0 were learnt from", t->path, t->target, own->raw[i],
                            (long long)i), false;
        own->values[i] = own->logarithms ? log(own->raw[i]) : own->raw[i];
    }
    return true;
}

/* ---- what kind of series is it? ---- */

/* The deviation of the changes from each value to the next in [from, to). */
static double restlessness(const double *values, int64_t from, int64_t to)
{
    double sum = 0, squares = 0, n = (double)(to - from - 1);
    for (int64_t i = from + 1; i < to; i++) sum += values[i] - values[i - 1];
    for (int64_t i = from + 1; i < to; i++) squares += pow(values[i] - values[i - 1] - sum / n, 2);
    return sqrt(squares / n);
}

/* Are changes of logarithms more alike early and late than those of the values? */
static bool takes_logarithms(const double *raw, int64_t n)
{
    double *logs = cli_alloc((size_t)n * sizeof *logs);
    bool positive = true;
    for (int64_t i = 0; i < n; i++) positive = positive && raw[i] > 0, logs[i] = log(raw[i]);
    double plain = fabs(log(restlessness(raw, n / 2, n) / restlessness(raw, 0, n / 2)));
    double taken = fabs(log(restlessness(logs, n / 2, n) / restlessness(logs, 0, n / 2)));
    free(logs);
    return positive && isfinite(taken) && taken < plain - 0.1;
}

/* The lag, at most `most`, at which changes are most like themselves: the highest peak of their autocorrelation that is not chance
   (above two standard errors, Bartlett 1946, and 0.3). 0: there is none. */
static int64_t find_season(const double *values, int64_t n, int64_t most)
{
    int64_t m = n - 1, best = 0;
    double *d = cli_alloc((size_t)m * sizeof *d), *r = cli_alloc((size_t)(most + 2) * sizeof *r), mean = 0, height = fmax(0.3, 2 / sqrt((double)m));
    for (int64_t i = 0; i < m; i++) mean += (d[i] = values[i + 1] - values[i]) / (double)m;
    for (int64_t lag = 0; lag <= most + 1 && lag < m; lag++)
        for (int64_t i = lag; i < m; i++) r[lag] += (d[i] - mean) * (d[i - lag] - mean);
    for (int64_t lag = 2; lag <= most && r[0] > 0; lag++)
        if (r[lag] > r[lag - 1] && r[lag] >= r[lag + 1] && r[lag] / r[0] > height) best = lag, height = r[lag] / r[0];
    free(d), free(r);
    return best;
}

/* Where what is learnt from ends, what is watched, and what is tested: all values. */
static void find_ends(const series_task *own, double watched, double tested, int64_t ends[3])
{
    const int64_t least = own->base.outputs;
    int64_t test = (int64_t)ceil(tested * (double)own->n), watch;
    if (tested > 0 && test < least) test = least;
    watch = (int64_t)ceil(watched * (double)(own->n - test));
    if (watched > 0 && watch < least) watch = least;
    ends[0] = own->n - test - watch, ends[1] = own->n - test, ends[2] = own->n;
}

static bool all_have_logarithms(const series_task *own)
{
    int64_t i = 0;
    while (i < own->n && own->raw[i] > 0) i++;
    return i == own->n;
}

/* All is chosen by the values that are learnt from, and by nothing of what is kept from that, but that each must be one that can be
   computed with. */
static bool choose(series_task *own, const task_wishes *wishes)
{
    task *t = &own->base;
    int64_t ends[3];
    t->outputs = wishes->forecast;
    find_ends(own, wishes->watched, wishes->tested, ends);
    const int64_t seen = ends[0];
    if (seen < 16 || seen < 2 * t->outputs)
        return cli_fail(t->args, "%s: %lld values are too few to learn to forecast %lld from", t->path, (long long)own->n, (long long)t->outputs), false;
    own->logarithms = takes_logarithms(own->raw, seen) && all_have_logarithms(own);
    if (!compute_values(own, 0)) return false;
    if (!(restlessness(own->values, 0, seen) > 0))
        return cli_fail(t->args, "%s: '%s' changes by the same from row to row: there is nothing to learn", t->path, t->target), false;
    int64_t most = seen / 3 < 1000 ? seen / 3 : 1000;
    if (wishes->window && wishes->window < most) most = wishes->window;
    own->season = find_season(own->values, seen, most);
    int64_t room = seen - t->outputs - FEWEST_WINDOWS;
    own->window = wishes->window ? wishes->window : own->season ? 2 * own->season : 2 * t->outputs > 16 ? 2 * t->outputs : 16;
    if (!wishes->window && own->window > room && room >= 1) own->window = own->season && room < own->season ? own->season : room;
    char season[60] = "no season was found";
    if (own->season) snprintf(season, sizeof season, "a season of %lld rows was found", (long long)own->season);
    cli_note(t->args, "%s: %lld values of '%s', the oldest first; %s; the last %lld %ssay the next %lld", t->path, (long long)own->n, t->target,
             season, (long long)own->window, own->logarithms ? "(as logarithms) " : "", (long long)t->outputs);
    return true;
}

/* Windows of which all that comes next is there. */
static bool count_windows(series_task *own)
{
    task *t = &own->base;
    own->first = 0;
    t->rows = own->n - own->window - t->outputs + 1;
    if (t->rows >= 1) return true;
    return cli_fail(t->args, "%s: %lld values are too few: %lld to see and %lld to come make one window", t->path, (long long)own->n,
                    (long long)own->window, (long long)t->outputs), false;
}

task *task_look_at_series(const common_args *args, hone_ctx *ctx, const char *path, const char *target, const task_wishes *wishes)
{
    series_task *own = cli_alloc(sizeof *own);
    task *t = &own->base;
    t->kind = &task_series, t->args = args, t->ctx = ctx;
    const char *wrong = wishes->text ? "text" : wishes->learn == LEARN_CLASSES ? "learn classes" : task_wish_of_pictures(wishes);
    if (wrong)
        cli_fail(args, "--%s and --forecast exclude each other: a series is a column of numbers", wrong);
    else if (!target)
        cli_fail(args, "--target COLUMN is missing: which column of %s is to be forecast?", path);
    else {
        t->target = cli_copy(target);
        if (open_file(own, path) && choose(own, wishes) && count_windows(own)) return t;
    }
    task_free(t);
    return NULL;
}

/* ---- rows ---- */

const double *task_series_values(const task *t, int64_t *n)
{
    *n = series_of(t)->n;
    return series_of(t)->raw;
}

int64_t task_series_next(const task *t, int64_t row) { return series_of(t)->first + row + series_of(t)->window; }

/* In logarithms where they are taken. */
static double naive(const series_task *own, int64_t row, int64_t h, int64_t season)
{
    const int64_t next = task_series_next(&own->base, row);
    return own->values[season ? next + h - season * (h / season + 1) : next - 1];
}

double task_series_naive(const task *t, int64_t row, int64_t h, bool seasonal)
{
    const series_task *own = series_of(t);
    if (seasonal && !own->season) return NAN;
    double v = naive(own, row, h, seasonal ? own->season : 0);
    return own->logarithms ? exp(v) : v;
}

static double mean_of(const series_task *own, int64_t row)
{
    double sum = 0;
    for (int64_t i = 0; i < own->window; i++) sum += own->values[own->first + row + i];
    return sum / (double)own->window;
}

/* Values that are held out, and those to stop by before them, are the last ones; windows whose targets are on both sides are left out. */
static bool split(task *t, double watched, double tested, int64_t *rows, int64_t *n_train, int64_t *n_known, int64_t *n)
{
    const series_task *own = series_of(t);
    int64_t ends[3];
    find_ends(own, watched, tested, ends);
    int64_t *counts[] = {n_train, n_known, n};
    *n = 0;
    for (int part = 0; part < 3; part++) {
        for (int64_t row = 0; row < t->rows; row++) {
            int64_t next = task_series_next(t, row);
            if ((part == 0 || next >= ends[part - 1]) && next + t->outputs <= ends[part]) rows[(*n)++] = row;
        }
        *counts[part] = *n;
    }
    if (*n_train >= FEWEST_WINDOWS && (watched == 0 || *n_known > *n_train) && (tested == 0 || *n > *n_known)) return true;
    return cli_fail(t->args, "%s: %lld values leave %lld windows of %lld to learn from, and %d are needed: a shorter --window, or a shorter --forecast",
                    t->path, (long long)own->n, (long long)(*n_train), (long long)own->window, FEWEST_WINDOWS), false;
}

static bool learn(task *t, int64_t n, const int64_t *rows)
{
    series_task *own = series_of(t);
    double squares = 0, sum = 0, changes = 0, count = (double)(n * t->outputs);
    for (int64_t i = 0; i < n; i++) {
        double mean = mean_of(own, rows[i]);
        for (int64_t k = 0; k < own->window; k++) squares += pow(own->values[rows[i] + k] - mean, 2);
        for (int64_t h = 0; h < t->outputs; h++) sum += own->values[task_series_next(t, rows[i]) + h] - naive(own, rows[i], h, own->season);
    }
    own->mean_change = sum / count;
    for (int64_t i = 0; i < n; i++)
        for (int64_t h = 0; h < t->outputs; h++)
            changes += pow(own->values[task_series_next(t, rows[i]) + h] - naive(own, rows[i], h, own->season) - own->mean_change, 2);
    own->deviation = task_deviation((double)(n * own->window), 0, squares / (double)(n * own->window));
    own->change = task_deviation(count, own->mean_change, changes / count);
    char what[160], becomes[200];
    snprintf(what, sizeof what, "a series of %lld values%s", (long long)own->n, own->season ? "" : ", without a season");
    if (own->season) snprintf(what, sizeof what, "a series of %lld values with a season of %lld", (long long)own->n, (long long)own->season);
    snprintf(becomes, sizeof becomes, "windows of %lld values%s around their mean, scaled; learnt is the difference of the next %lld from %s",
             (long long)own->window, own->logarithms ? ", as logarithms," : "", (long long)t->outputs,
             own->season ? "those a season before" : "the last one");
    task_fact(t, t->target, what, becomes);
    return true;
}

/* Of a year of airline passengers the MAE was 15.2 with a GRU, 15.2 to 24.2 with an LSTM, 16.6 with a linear layer, 19 with a dense
   one before it (seeds 0 to 2; as a season ago: 46.8). */
static void propose(task *t, char first[64], char arch[512])
{
    (void)t;
    first[0] = 0;
    snprintf(arch, 512, "gru 32");
}

static hone_tensor *take(task *t, int64_t n, const int64_t *rows)
{
    const series_task *own = series_of(t);
    hone_tensor *x = hone_tensor_new(t->ctx, HONE_F32, HONE_SHAPE(n, own->window, 1));
    for (int64_t i = 0; x && i < n; i++) {
        float *to = (float *)hone_tensor_data(x) + i * own->window;
        double mean = mean_of(own, rows[i]);
        for (int64_t k = 0; k < own->window; k++) to[k] = (float)((own->values[own->first + rows[i] + k] - mean) / own->deviation);
    }
    return x;
}

static hone_tensor *targets(const task *t, int64_t n, const int64_t *rows, bool scaled)
{
    const series_task *own = series_of(t);
    hone_tensor *y = hone_tensor_new(t->ctx, HONE_F32, HONE_SHAPE(n, t->outputs));
    for (int64_t i = 0; y && i < n; i++)
        for (int64_t h = 0; h < t->outputs; h++) {
            int64_t at = task_series_next(t, rows[i]) + h;
            double v = scaled ? (own->values[at] - naive(own, rows[i], h, own->season) - own->mean_change) / own->change : own->raw[at];
            ((float *)hone_tensor_data(y))[i * t->outputs + h] = (float)v;
        }
    return y;
}

static void restore(const task *t, int64_t n, const int64_t *rows, hone_tensor *y)
{
    const series_task *own = series_of(t);
    float *values = hone_tensor_data(y);
    for (int64_t i = 0; i < n; i++)
        for (int64_t h = 0; h < t->outputs; h++) {
            float *at = &values[i * t->outputs + h];
            double v = (double)*at * own->change + own->mean_change + naive(own, rows[i], h, own->season);
            *at = (float)(own->logarithms ? exp(v) : v);
        }
}

/* ---- new data, and the folder ---- */

/* Without targets one row: the window at the end. */
static bool read_series(task *t, const char *path, bool with_targets)
{
    series_task *own = series_of(t);
    if (!open_file(own, path)) return false;
    if (with_targets) return compute_values(own, 0) && count_windows(own);
    own->first = own->n - own->window, t->rows = 1;
    if (own->first >= 0) return compute_values(own, own->first);
    return cli_fail(t->args, "%s: %lld values are too few: the next ones are forecast from the last %lld", path, (long long)own->n,
                    (long long)own->window), false;
}

static bool save(const task *t, const char *folder, json_t *into)
{
    const series_task *own = series_of(t);
    (void)folder;
    json_object_set_new(into, "forecast", json_integer(t->outputs));
    json_object_set_new(into, "window", json_integer(own->window));
    json_object_set_new(into, "season", json_integer(own->season));
    json_object_set_new(into, "logarithms", json_boolean(own->logarithms));
    json_object_set_new(into, "deviation", json_real(own->deviation));
    json_object_set_new(into, "mean_change", json_real(own->mean_change));
    json_object_set_new(into, "change", json_real(own->change));
    return true;
}

static bool load(task *t, const char *folder, const json_t *from)
{
    series_task *own = series_of(t);
    own->window = json_integer_value(json_object_get(from, "window"));
    own->season = json_integer_value(json_object_get(from, "season"));
    own->logarithms = json_is_true(json_object_get(from, "logarithms"));
    own->deviation = json_number_value(json_object_get(from, "deviation"));
    own->mean_change = json_number_value(json_object_get(from, "mean_change"));
    own->change = json_number_value(json_object_get(from, "change"));
    bool ok = own->window >= 1 && own->window < MOST && t->outputs >= 1 && t->outputs < MOST && own->season >= 0 && own->season <= own->window &&
              own->deviation > 0 && own->change > 0 && !t->classes;
    return ok || (cli_fail(t->args, "%s/task.json: what it says of a series is not whole", folder), false);
}

static void lend(const task *t, task *to)
{
    const series_task *from = series_of(t);
    series_task *own = series_of(to);
    own->window = from->window, own->season = from->season, own->logarithms = from->logarithms;
    own->deviation = from->deviation, own->mean_change = from->mean_change, own->change = from->change;
}

static void free_own(task *t) { free(series_of(t)->values), free(series_of(t)->raw); }

const task_kind task_series = {
    .name = "series", .plural = "windows", .size = sizeof(series_task), .epochs = 200, .patience = 30, .batch_size = 16, .learning_rate = 0.002,
    .learn = learn, .propose = propose, .split = split, .take = take, .targets = targets, .restore = restore, .read = read_series, .save = save,
    .load = load, .lend = lend, .free = free_own,
};
