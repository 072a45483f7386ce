/* report.html: what was learnt, from what, and how well, in one file that needs nothing beside it. Pictures are drawn by the
   library and stand in it as data: URIs; where they cannot be drawn, the tables remain. */
#include "task.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

enum { MOST_IN_MATRIX = 40, MOST_DOTS = 2000 };

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<style>\n"
    "body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 56rem; margin: 2rem auto; padding: 0 1rem }\n"
    "h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd }\n"
    "table { border-collapse: collapse; font-size: .9rem } th, td { padding: .25rem .7rem; text-align: left; vertical-align: top }\n"
    "th { border-bottom: 2px solid #888 } td { border-bottom: 1px solid #e4e4e4 } .n td, .n th { text-align: right }\n"
    ".n td:first-child, .n th:first-child { text-align: left } .wide { overflow-x: auto }\n"
    "pre { background: #f6f6f4; padding: .8rem; overflow-x: auto; font-size: .85rem } img { max-width: 100%; height: auto }\n"
    ".value { display: inline-block; margin-right: 2.5rem } .value b { display: block; font-size: 1.7rem; font-weight: 600 }\n"
    "</style>\n";

/* ---- text ---- */

/* Names and labels come from files: nothing of them may be read as HTML. */
static void put(FILE *to, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<': fputs("&lt;", to); break;
        case '>': fputs("&gt;", to); break;
        case '&': fputs("&amp;", to); break;
        case '"': fputs("&quot;", to); break;
        case '\'': fputs("&#39;", to); break;
        default: fputc(*text, to);
        }
    }
}

static void put_cell(FILE *to, const char *tag, const char *text)
{
    fprintf(to, "<%s>", tag);
    put(to, text);
    fprintf(to, "</%s>", tag);
}

/* What --config has set, as the command would have it. */
static void put_config(FILE *to, const common_args *args)
{
    char *text = NULL;
    size_t size;
    FILE *words = open_memstream(&text, &size);
    if (!words) return;
    for (size_t i = 0; i < args->from_config.count; i += 2) {
        const char *value = args->from_config.items[i + 1];
        fprintf(words, i ? " --%s" : "--%s", args->from_config.items[i]);
        if (value) fputc(' ', words), cli_print_shell(words, value);
    }
    fclose(words);
    fputs("<p>From ", to);
    put_cell(to, "code", args->config);
    fputs(", unless the command says otherwise:</p>\n", to);
    put_cell(to, "pre", text);
    free(text);
}

/* The command, as a shell takes it. */
static void put_command(FILE *to, const common_args *args)
{
    char *text = NULL;
    size_t size;
    FILE *words = open_memstream(&text, &size);
    if (!words) return;
    fputs("hone", words);
    for (int i = 1; i < args->argc; i++) {
        fputc(' ', words);
        cli_print_shell(words, args->argv[i]);
    }
    fclose(words);
    put_cell(to, "pre", text);
    free(text);
}

/* ---- pictures ---- */

/* A picture of the folder as <img>; false: it is not there. */
static bool put_picture(FILE *to, const char *path, const char *says)
{
    FILE *from = fopen(path, "rb");
    if (!from) return false;
    fputs("<p><img alt=\"", to);
    put(to, says);
    fputs("\" src=\"data:image/svg+xml,", to);
    for (int c; (c = fgetc(from)) != EOF;) {
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_.~/:", c))
            fputc(c, to);
        else
            fprintf(to, "%%%02X", (unsigned)c);
    }
    fputs("\"></p>\n", to);
    fclose(from);
    return true;
}

/* Draws lines into folder/name.svg, and .png beside it if wanted, and shows them. */
static void draw(FILE *to, const task_report *r, const char *name, bool png, const char *x, const char *y, size_t n,
                 const hone_plot_series *series)
{
    char file[64];
    snprintf(file, sizeof file, "%s.svg", name);
    char *path = cli_join(r->folder, file);
    const char *title = r->t->target ? r->t->target : r->t->kind->plural;
    if (hone_plot_lines(r->t->ctx, path, title, x, y, n, series) == HONE_OK)
        put_picture(to, path, y);
    else
        cli_note(r->t->args, "no picture %s: %s", file, hone_error(r->t->ctx));
    free(path);
    if (!png) return;
    snprintf(file, sizeof file, "%s.png", name);
    path = cli_join(r->folder, file);
    hone_plot_lines(r->t->ctx, path, title, x, y, n, series);
    free(path);
}

/* ---- parts ---- */

static void put_result(FILE *to, const task_report *r)
{
    fprintf(to, "<h2>Result</h2>\n<p>On %lld %s that it has not seen:</p>\n<p>", (long long)r->tested, r->t->kind->plural);
    for (size_t i = 0; i < r->score->n_metrics; i++)
        fprintf(to, "<span class=\"value\">%s<b>%.4g</b></span>\n", hone_metric_name(r->score->metrics[i]),
                task_score_value(r->score, i));
    fputs("</p>\n", to);
    if (r->t->classes)
        fprintf(to, "<p>Precision, recall%s are means over all classes.</p>\n", r->score->roc ? ", F1 and the area under the ROC curve" : " and F1");
}

static void put_data(FILE *to, const task_report *r)
{
    const task *t = r->t;
    fputs("<h2>Data</h2>\n<p>", to);
    put_cell(to, "b", r->data);
    fprintf(to, ": %lld %s; %lld to learn from, %lld to say when to stop, %lld held out for the result. ", (long long)t->rows,
            t->kind->plural, (long long)r->learnt, (long long)r->watched, (long long)r->tested);
    if (r->validation) put_cell(to, "b", r->validation), fputs(" says when to stop. ", to);
    if (r->test) put_cell(to, "b", r->test), fputs(" is measured. ", to);
    if (t->target) {
        fputs("To be predicted: ", to);
        put_cell(to, "b", t->target);
        fputs(t->classes ? "." : ", a quantity.", to);
    }
    fputs("</p>\n<table><tr><th></th><th>what it is</th><th>what becomes of it</th></tr>\n", to);
    size_t i;
    json_t *fact;
    json_array_foreach(t->facts, i, fact)
    {
        fputs("<tr>", to);
        for (size_t k = 0; k < 3; k++) put_cell(to, "td", json_string_value(json_array_get(fact, k)));
        fputs("</tr>\n", to);
    }
    fputs("</table>\n", to);
}

static void put_network(FILE *to, const task_report *r)
{
    fputs("<h2>Network</h2>\n<p>As <code>--arch</code> takes it; what the data ask for ahead of it, and the last layer, which has an output for each answer, are in the table:</p>\n", to);
    put_cell(to, "pre", r->arch);
    put_cell(to, "pre", r->summary);
}

static void put_epochs(FILE *to, const task_report *r)
{
    fputs("<details><summary>Epochs as numbers</summary><table class=\"n\"><tr><th>epoch</th><th>loss</th><th>of what it watched</th>", to);
    fputs(r->t->classes ? "<th>accuracy</th><th>of what it watched</th></tr>\n" : "</tr>\n", to);
    for (size_t i = 0; i < r->n_epochs; i++) {
        const hone_epoch *e = &r->epochs[i];
        fprintf(to, "<tr><td>%zu</td><td>%.5g</td><td>%.5g</td>", i + 1, e->loss, e->validation_loss);
        if (r->t->classes) fprintf(to, "<td>%.4f</td><td>%.4f</td>", e->accuracy, e->validation_accuracy);
        fputs("</tr>\n", to);
    }
    fputs("</table></details>\n", to);
}

static void put_learning(FILE *to, const task_report *r)
{
    char spent[32];
    size_t n = r->n_epochs;
    double *epochs = cli_alloc(5 * n * sizeof *epochs), *loss = epochs + n, *watched = loss + n, *right = watched + n, *right_watched = right + n;
    for (size_t i = 0; i < n; i++) {
        const hone_epoch *e = &r->epochs[i];
        epochs[i] = (double)i + 1, loss[i] = e->loss, watched[i] = e->validation_loss;
        right[i] = e->accuracy, right_watched[i] = e->validation_accuracy;
    }
    fprintf(to, "<h2>Learning</h2>\n<p>%zu epochs in %s%s; the network is that of epoch %d, where the loss on what it watched was least.</p>\n",
            n, cli_duration(r->seconds, spent), r->stopped ? ", stopped by Ctrl-C before training had ended by itself" : "", r->best_epoch);
    draw(to, r, "loss", true, "epoch", "loss", 2,
         (const hone_plot_series[]){{.name = "training", .count = n, .x = epochs, .y = loss},
                                    {.name = "validation", .count = n, .x = epochs, .y = watched}});
    if (r->t->classes)
        draw(to, r, "accuracy", false, "epoch", "accuracy", 2,
             (const hone_plot_series[]){{.name = "training", .count = n, .x = epochs, .y = right},
                                        {.name = "validation", .count = n, .x = epochs, .y = right_watched}});
    free(epochs);
    put_epochs(to, r);
}

/* A row a target, a column an answer, shaded by the share of the row. */
static void put_matrix(FILE *to, const task_report *r)
{
    const task *t = r->t;
    fputs("<p>A row for each class, a column for what it was taken for:</p>\n<div class=\"wide\"><table class=\"n\"><tr><th></th>", to);
    for (int64_t k = 0; k < t->classes; k++) put_cell(to, "th", t->names[k]);
    fputs("</tr>\n", to);
    for (int64_t i = 0; i < t->classes; i++) {
        int64_t all = 0;
        for (int64_t k = 0; k < t->classes; k++) all += hone_confusion_at(r->score->confusion, i, k);
        fputs("<tr>", to);
        put_cell(to, "th", t->names[i]);
        for (int64_t k = 0; k < t->classes; k++) {
            int64_t count = hone_confusion_at(r->score->confusion, i, k);
            fprintf(to, "<td style=\"background: rgba(%s, %.2f)\">%lld</td>", i == k ? "0, 158, 115" : "213, 94, 0",
                    all ? 0.8 * (double)count / (double)all : 0, (long long)count);
        }
        fputs("</tr>\n", to);
    }
    fputs("</table></div>\n", to);
}

static void put_classes(FILE *to, const task_report *r)
{
    const task *t = r->t;
    const char *const *names = (const char *const *)t->names;
    char *text = hone_classification_report(r->score->confusion, names, 4), *path = cli_join(r->folder, "confusion.svg");
    hone_status drawn = hone_plot_confusion(t->ctx, path, t->target ? t->target : t->kind->plural, r->score->confusion, names);
    fputs("<h2>Right and wrong</h2>\n", to);
    if (t->classes <= MOST_IN_MATRIX)
        put_matrix(to, r);
    else if (drawn == HONE_OK)
        put_picture(to, path, "confusion matrix");
    if (text) put_cell(to, "pre", text);
    if (text) hone_free_text(t->ctx, text);
    free(path);
}

/* How scores order the rows: of two classes the second one's, of several each against the rest. */
static void put_rates(FILE *to, const task_report *r)
{
    const task *t = r->t;
    if (!r->score->roc) return;
    fputs("<h2>ROC curve</h2>\n<p>Which share of a class is found (true positives) when so large a share of the other rows is taken for it "
          "(false positives): a point for each probability from which on a row would count as the class. ", to);
    if (t->classes == 2) fputs("The class is ", to), put_cell(to, "b", t->names[1]), fputs(". ", to);
    fputs("The area is 1 where every row of the class has a higher probability than all others, 0.5 by chance.</p>\n", to);
    char *path = cli_join(r->folder, "roc.svg");
    if (hone_plot_roc(t->ctx, path, t->target ? t->target : t->kind->plural, r->score->roc, (const char *const *)t->names) == HONE_OK)
        put_picture(to, path, "ROC curve");
    else
        cli_note(t->args, "no picture roc.svg: %s", hone_error(t->ctx));
    free(path);
    fputs("<table class=\"n\"><tr><th>class</th><th>area</th></tr>\n", to);
    for (int64_t k = t->classes == 2; k < t->classes; k++) {
        double area = task_score_area(r->score, k);
        fputs("<tr>", to);
        put_cell(to, "td", t->names[k]);
        isnan(area) ? fputs("<td>none: the rows are all of it or none</td></tr>\n", to) : fprintf(to, "<td>%.4f</td></tr>\n", area);
    }
    fputs("</table>\n", to);
}

static void put_quantities(FILE *to, const task_report *r)
{
    const task_score *s = r->score;
    size_t n = (size_t)(s->rows < MOST_DOTS ? s->rows : MOST_DOTS);
    double least = INFINITY, most = -INFINITY, *errors = cli_alloc(n * sizeof *errors);
    for (size_t i = 0; i < n; i++) {
        least = fmin(least, s->targets[i]), most = fmax(most, s->targets[i]);
        errors[i] = s->answers[i] - s->targets[i];
    }
    const double ends[] = {least, most}, zero[] = {0, 0};
    fputs("<h2>Answers</h2>\n<p>Each dot is a row; on the line an answer is right.</p>\n", to);
    draw(to, r, "answers", false, "target", "answer", 2,
         (const hone_plot_series[]){{.count = n, .x = s->targets, .y = s->answers, .points = true}, {.count = 2, .x = ends, .y = ends}});
    draw(to, r, "residuals", false, "target", "answer - target", 2,
         (const hone_plot_series[]){{.count = n, .x = s->targets, .y = errors, .points = true}, {.count = 2, .x = ends, .y = zero}});
    fputs("<details><summary>The first rows as numbers</summary><table class=\"n\"><tr><th>target</th><th>answer</th></tr>\n", to);
    for (size_t i = 0; i < n && i < 50; i++) fprintf(to, "<tr><td>%.6g</td><td>%.6g</td></tr>\n", s->targets[i], s->answers[i]);
    fputs("</table></details>\n", to);
    free(errors);
}

/* Held out values and what was said of them: forecasts one behind the other, each from the values before it. */
static void put_forecasts(FILE *to, const task_report *r)
{
    enum { MOST_DRAWN = 5000 };
    const task_score *s = r->score;
    const int64_t each = r->measured->outputs, first = task_series_next(r->measured, r->rows ? r->rows[0] : 0);
    int64_t n, before = first < 3 * (s->rows + each) ? first : 3 * (s->rows + each), drawn = 0;
    const double *values = task_series_values(r->measured, &n);
    if (n - first + before > MOST_DRAWN) before = 0;
    n = n - first + before < MOST_DRAWN ? n : first - before + MOST_DRAWN;
    double *x = cli_alloc((size_t)(n + 1) * sizeof *x), *said = cli_alloc((size_t)(n + 1) * sizeof *said);
    for (int64_t i = 0; i < n; i++) x[i] = (double)i;
    for (int64_t row = 0; row < s->rows && first + row + each <= n; row += each)
        for (int64_t h = 0; h < each; h++) said[drawn++] = s->answers[row * each + h];
    fprintf(to, "<h2>Forecasts</h2>\n<p>Those of %lld values each, one behind the other, over what came. Errors are of all %lld forecasts, one from "
                "every row:</p>\n<table class=\"n\"><tr><th></th><th>MAE</th><th>RMSE</th></tr>\n", (long long)each, (long long)s->rows);
    fprintf(to, "<tr><td>network</td><td>%.5g</td><td>%.5g</td></tr>\n", task_score_value(s, 0), task_score_value(s, 1));
    for (int i = 0; i < 2; i++)
        if (!isnan(s->naive[i][0]))
            fprintf(to, "<tr><td>%s</td><td>%.5g</td><td>%.5g</td></tr>\n",
                    i ? "as a season ago (seasonal naive)" : "as the last value (naive)", s->naive[i][0], s->naive[i][1]);
    fputs("</table>\n", to);
    draw(to, r, "forecast", false, "row", "value", 2,
         (const hone_plot_series[]){{.name = "actual", .count = (size_t)(n - first + before), .x = x + first - before, .y = values + first - before},
                                    {.name = "forecast", .count = (size_t)drawn, .x = x + first, .y = said}});
    free(x), free(said);
}

bool task_write_report(const task_report *r)
{
    char *text = NULL;
    size_t size = 0;
    char classes[40];
    snprintf(classes, sizeof classes, "Classes of %s", r->t->kind->plural);
    const char *title = r->t->target ? r->t->target : classes;
    FILE *to = open_memstream(&text, &size);
    if (to) {
        fputs(head, to);
        put_cell(to, "title", title);
        fputs("</head><body>\n", to);
        put_cell(to, "h1", title);
        put_command(to, r->t->args);
        if (r->t->args->from_config.count) put_config(to, r->t->args);
        put_result(to, r);
        put_data(to, r);
        put_network(to, r);
        put_learning(to, r);
        if (r->t->classes)
            put_classes(to, r), put_rates(to, r);
        else if (r->t->outputs)
            put_forecasts(to, r);
        else
            put_quantities(to, r);
        fputs("</body></html>\n", to);
    }
    bool ok = to && !ferror(to);
    if (to && fclose(to) != 0) ok = false;
    ok = ok ? task_write(r->t, r->folder, "report.html", text, size) : (cli_fail(r->t->args, "report.html: out of memory"), false);
    free(text);
    return ok;
}
