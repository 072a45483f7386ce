/* What a fine-tuning run writes for people and their tools: metrics.jsonl, TensorBoard events, pictures of the loss. */
#include "base/os.h"
#include "llm/finetune.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static bool remember(hone_finetune *run, int64_t step, double loss)
{
    size_t n = (size_t)step;
    if (!hone__grow(run->ctx, (void **)&run->losses, &run->losses_capacity, n, sizeof *run->losses)) return false;
    while (run->n_losses < n) run->losses[run->n_losses++] = NAN;
    run->losses[n - 1] = loss;
    return true;
}

/* Lines of a run that is resumed: those up to the checkpoint's step stay. */
static hone_status keep_lines(hone_finetune *run, const char *path)
{
    hone_ctx *ctx = run->ctx;
    hone__buffer kept = {0};
    size_t size = 0;
    char *text = run->step && hone__is_file(path) ? hone__read_file(ctx, path, (size_t)1 << 30, &size) : NULL;
    for (char *line = text, *end; line && line < text + size; line = end + 1) {
        end = memchr(line, '\n', (size_t)(text + size - line));
        if (!end) break; /* cut off by a crash */
        json_t *j = json_loadb(line, (size_t)(end - line), 0, NULL);
        const json_t *step = json_object_get(j, "step"), *loss = json_object_get(j, "loss");
        if (json_is_integer(step) && json_integer_value(step) > 0 && json_integer_value(step) <= run->step) {
            hone__buffer_add(ctx, &kept, line, (size_t)(end - line) + 1);
            if (json_is_number(loss)) remember(run, json_integer_value(step), json_number_value(loss));
        }
        json_decref(j);
    }
    hone__free(ctx, text);
    hone_status status = hone__ok(ctx) ? hone_write_file(ctx, path, kept.data ? kept.data : "", kept.size) : ctx->status;
    hone__buffer_free(ctx, &kept);
    return status;
}

hone_status hone__report_open(hone_finetune *run)
{
    hone_ctx *ctx = run->ctx;
    if (!run->output_dir) return HONE_OK;
    char *path = hone__join_path(ctx, run->output_dir, "metrics.jsonl");
    hone_status status = path ? keep_lines(run, path) : ctx->status;
    if (status == HONE_OK && !(run->metrics = fopen(path, "a")))
        status = hone__fail(ctx, HONE_IO, "%s: cannot be written", path);
    hone__free(ctx, path);
    if (status == HONE_OK && !(run->events = hone_events_open(ctx, run->output_dir))) status = ctx->status;
    return status;
}

static hone_status write_line(hone_finetune *run, json_t *j)
{
    char *text = j ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    bool ok = text && fprintf(run->metrics, "%s\n", text) > 0 && fflush(run->metrics) == 0;
    free(text);
    json_decref(j);
    return ok ? HONE_OK : hone__fail_run(run->ctx, HONE_IO, "%s/metrics.jsonl: cannot be written", run->output_dir);
}

hone_status hone__report_step(hone_finetune *run, const hone_finetune_step *s)
{
    if (!s->is_evaluation && !remember(run, s->step, s->loss)) return run->ctx->status;
    if (!run->metrics) return HONE_OK;
    const struct {
        const char *tag;
        double value;
    } of_step[] = {{"train/loss", s->loss}, {"train/learning_rate", s->learning_rate}, {"train/grad_norm", s->grad_norm},
                   {"train/tokens_per_second", s->tokens_per_second}},
      of_eval[] = {{"eval/loss", s->eval.loss}, {"eval/perplexity", s->eval.perplexity}, {"eval/token_accuracy", s->eval.token_accuracy}};
    hone_status status = HONE_OK;
    for (size_t i = 0; i < (s->is_evaluation ? HONE_ARRAY_LEN(of_eval) : HONE_ARRAY_LEN(of_step)) && status == HONE_OK; i++)
        status = hone_events_scalar(run->events, s->is_evaluation ? of_eval[i].tag : of_step[i].tag, s->step,
                                    s->is_evaluation ? of_eval[i].value : of_step[i].value);
    if (status != HONE_OK) return status;
    if (s->is_evaluation)
        return write_line(run, json_pack("{s:I, s:f, s:f, s:f, s:f}", "step", (json_int_t)s->step, "epoch", s->epoch, "eval_loss",
                                         s->eval.loss, "eval_perplexity", s->eval.perplexity, "eval_token_accuracy",
                                         s->eval.token_accuracy));
    return write_line(run, json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:I}", "step", (json_int_t)s->step, "epoch", s->epoch, "loss",
                                     s->loss, "learning_rate", s->learning_rate, "grad_norm", s->grad_norm, "tokens_per_second",
                                     s->tokens_per_second, "peak_memory_bytes", (json_int_t)s->peak_memory_bytes));
}

/* Raw values, and beneath them an exponential mean over about a twentieth of the run. */
static hone_status draw(hone_finetune *run)
{
    hone_ctx *ctx = run->ctx;
    size_t n = run->n_losses;
    double *x = hone__alloc(ctx, (n + 1) * sizeof *x), *smooth = hone__alloc(ctx, (n + 1) * sizeof *smooth);
    hone_status status = x && smooth ? HONE_OK : ctx->status;
    double keep = n > 40 ? 1 - 20.0 / (double)n : 0.5, mean = 0, weight = 0;
    for (size_t i = 0; i < n && status == HONE_OK; i++) {
        x[i] = (double)(i + 1);
        if (isfinite(run->losses[i])) mean = keep * mean + (1 - keep) * run->losses[i], weight = keep * weight + (1 - keep);
        smooth[i] = weight > 0 ? mean / weight : NAN;
    }
    hone_plot_series series[2] = {{.name = "loss", .count = n, .x = x, .y = run->losses, .faint = true},
                                  {.name = "smoothed", .count = n, .x = x, .y = smooth}};
    static const char *const files[] = {"loss.svg", "loss.png"};
    for (int i = 0; i < 2 && status == HONE_OK; i++) {
        char *path = hone__join_path(ctx, run->output_dir, files[i]);
        status = path ? hone_plot_lines(ctx, path, "Training loss", "step", "loss", 2, series) : ctx->status;
        hone__free(ctx, path);
    }
    hone__free(ctx, x);
    hone__free(ctx, smooth);
    return status;
}

hone_status hone__report_close(hone_finetune *run)
{
    hone_status status = HONE_OK;
    if (run->metrics && fclose(run->metrics) != 0)
        status = hone__fail_run(run->ctx, HONE_IO, "%s/metrics.jsonl: cannot be written", run->output_dir);
    if (run->metrics && run->n_losses && status == HONE_OK) {
        status = draw(run);
        if (status == HONE_UNSUPPORTED) { /* no plotting library: the numbers are there all the same */
            hone__log(run->ctx, HONE_LOG_WARNING, "no picture of the loss: %s", hone_error(run->ctx));
            status = HONE_OK;
        }
    }
    run->metrics = NULL;
    if (run->events) {
        hone_status closed = hone_events_close(run->events);
        if (status == HONE_OK) status = closed;
    }
    run->events = NULL;
    return status;
}
