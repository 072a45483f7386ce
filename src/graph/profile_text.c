/* Profiles for people: a table, and a trace for Perfetto. */
#include "graph/profile.h"

#include <stdio.h>

/* ---- the table ---- */

static const double SHOWN = 0.002; /* entries below this share of the time become one line */

static void put_share(hone_ctx *ctx, hone__buffer *to, double limit, double seconds)
{
    if (limit > 0 && seconds > 0)
        hone__buffer_print(ctx, to, "%7.0f %%", 100 * limit / seconds);
    else
        hone__buffer_print(ctx, to, "%9s", "-");
}

static void put_entry(hone_ctx *ctx, hone__buffer *to, const hone_profile_entry *e, double steps, double all)
{
    char calls[24];
    snprintf(calls, sizeof calls, "%.*f", e->calls == (int64_t)((double)e->calls / steps) * (int64_t)steps ? 0 : 1,
             (double)e->calls / steps);
    hone__buffer_print(ctx, to, "%10.2f %6.1f %7s ", 1e3 * e->seconds / steps, 100 * e->seconds / all, calls);
    if (e->flops > 0)
        hone__buffer_print(ctx, to, "%9.1f", e->seconds > 0 ? e->flops / e->seconds * 1e-9 : 0);
    else
        hone__buffer_print(ctx, to, "%9s", "-");
    hone__buffer_print(ctx, to, "%8.1f", e->seconds > 0 ? e->bytes / e->seconds * 1e-9 : 0);
    put_share(ctx, to, e->limit_seconds, e->seconds);
    hone__buffer_print(ctx, to, "  %s %s%s%s\n", e->op, e->layer, e->layer[0] ? " " : "", hone_dtype_name(e->dtype));
}

static void put_memory(hone_ctx *ctx, hone__buffer *to, const hone_profile_summary *s)
{
    const struct {
        const char *name;
        size_t bytes;
    } owners[] = {{"weights", s->weights}, {"copies of weights", s->derived}, {"caches and other variables", s->variables},
                  {"gradients", s->gradients}, {"optimizer states", s->optimizer_state},
                  {"activations and scratch", s->arena}};
    hone__buffer_print(ctx, to, "\n        MB  memory of\n");
    for (size_t i = 0; i < HONE_ARRAY_LEN(owners); i++)
        if (owners[i].bytes) hone__buffer_print(ctx, to, "%10.1f  %s\n", (double)owners[i].bytes * 1e-6, owners[i].name);
}

char *hone_profile_text(const hone_profile *p, int64_t step_count)
{
    if (!p) return NULL;
    hone_ctx *ctx = p->ctx;
    hone__buffer to = {0};
    hone_profile_summary s = hone_profile_summarize(p);
    double steps = (double)HONE_MAX(step_count, (int64_t)1), all = HONE_MAX(s.elapsed, s.seconds), rest = 0;
    if (all <= 0) all = 1;
    hone__buffer_print(ctx, &to, "%10s %6s %7s %9s%8s%9s  %s\n", "ms a step", "%", "calls", "GFLOP/s", "GB/s", "of limit",
                       "node");
    size_t few = 0;
    for (size_t i = 0; i < p->n_entries; i++) {
        const hone_profile_entry *e = hone_profile_at(p, i);
        if (e->seconds >= SHOWN * all)
            put_entry(ctx, &to, e, steps, all);
        else
            rest += e->seconds, few++;
    }
    if (few) hone__buffer_print(ctx, &to, "%10.2f %6.1f %34s %zu smaller entries\n", 1e3 * rest / steps, 100 * rest / all, "", few);
    hone__buffer_print(ctx, &to, "%10.2f %6.1f %34s between nodes: data, reports\n", 1e3 * (all - s.seconds) / steps,
                       100 * (all - s.seconds) / all, "");
    hone__buffer_print(ctx, &to, "%10.2f %6.1f %7s %9.1f%8s", 1e3 * all / steps, 100.0, "", s.flops / all * 1e-9, "");
    put_share(ctx, &to, s.limit_seconds, all);
    hone__buffer_print(ctx, &to, "  a step\n");
    if (s.limit_seconds > 0)
        hone__buffer_print(ctx, &to,
                           "The limit: matrix products at the best rates measured now, and what must move at %.1f GB/s (reading) and\n"
                           "%.1f GB/s (updating). A node beyond 100 %% found its data in a cache.\n",
                           s.read_bandwidth * 1e-9, s.update_bandwidth * 1e-9);
    put_memory(ctx, &to, &s);
    if (hone__ok(ctx)) return to.data;
    hone__buffer_free(ctx, &to);
    return NULL;
}

/* ---- the trace ---- */

static void put_json(hone__file *file, const char *text)
{
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(file->stream, "\\%c", *c);
        else if ((unsigned char)*c < 32)
            fprintf(file->stream, "\\u%04x", (unsigned)*c);
        else
            fputc(*c, file->stream);
    }
}

/* "Complete events" of the Trace Event Format: times in microseconds. */
static void put_event(hone__file *file, const hone_profile *p, const hone__profile_event *event)
{
    const hone__profile_node *node = &p->nodes[event->node];
    const hone_profile_entry *entry = &p->entries[node->entry];
    fputs(",\n{\"name\":\"", file->stream);
    put_json(file, node->op);
    if (entry->layer[0]) fputc(' ', file->stream), put_json(file, entry->layer);
    fprintf(file->stream, "\",\"cat\":\"node\",\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":%.3f,\"dur\":%.3f,\"args\":{\"layer\":\"",
            1e6 * (event->began - p->began), 1e6 * event->seconds);
    put_json(file, node->scope);
    fprintf(file->stream, "\",\"dtype\":\"%s\"", hone_dtype_name(entry->dtype));
    double flops = 0;
    for (int i = 0; i < node->work.n_products; i++) flops += node->work.product[i].flops / (double)node->calls;
    if (flops > 0 && event->seconds > 0) fprintf(file->stream, ",\"GFLOP/s\":%.2f", flops / event->seconds * 1e-9);
    if (event->seconds > 0)
        fprintf(file->stream, ",\"GB/s\":%.3f", node->work.bytes / (double)node->calls / event->seconds * 1e-9);
    fputs("}}", file->stream);
}

hone_status hone_profile_save_trace(const hone_profile *p, const char *path)
{
    if (!p) return HONE_INVALID;
    hone__file file;
    hone_status status = hone__file_create(p->ctx, &file, path);
    if (status != HONE_OK) return status;
    fputs("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":1,\"args\":{\"name\":\"hone\"}}",
          file.stream);
    for (size_t i = 0; i < p->n_events; i++) put_event(&file, p, &p->events[i]);
    fputs("\n]}\n", file.stream);
    return hone__file_commit(&file);
}
