#include "graph/graph.h"

static void print_attr(hone_ctx *ctx, hone__buffer *text, const hone__attr *attr, const char *base)
{
    const void *at = base + attr->offset;
    hone__buffer_print(ctx, text, " %s=", attr->name);
    switch (attr->type) {
    case HONE__ATTR_BOOL: hone__buffer_print(ctx, text, *(const bool *)at ? "true" : "false"); break;
    case HONE__ATTR_INT: hone__buffer_print(ctx, text, "%d", *(const int *)at); break;
    case HONE__ATTR_I64: hone__buffer_print(ctx, text, "%lld", (long long)*(const int64_t *)at); break;
    case HONE__ATTR_F64: hone__buffer_print(ctx, text, "%.9g", *(const double *)at); break;
    case HONE__ATTR_DTYPE: hone__buffer_print(ctx, text, "%s", hone_dtype_name(*(const hone_dtype *)at)); break;
    case HONE__ATTR_SHAPE: hone__buffer_print(ctx, text, "%s", HONE__SHAPE_STR(*(const hone_shape *)at)); break;
    case HONE__ATTR_AXES: {
        const hone_axes *axes = at;
        for (int i = 0; i < axes->count; i++) hone__buffer_print(ctx, text, "%s%d", i ? "," : "", axes->axis[i]);
        if (!axes->count) hone__buffer_print(ctx, text, "all");
        break;
    }
    }
}

static void print_call(hone_ctx *ctx, hone__buffer *text, const hone__call *call, const char *separator)
{
    hone__buffer_print(ctx, text, "%s", call->op->name);
    if (call->variable && call->variable->name[0]) hone__buffer_print(ctx, text, " %s", call->variable->name);
    for (const hone__attr *a = call->op->attrs; a && a->name; a++) print_attr(ctx, text, a, call->attr);
    hone__buffer_print(ctx, text, "%s", separator);
    for (int i = 0; i < call->n_out; i++)
        hone__buffer_print(ctx, text, "%s%s %s", i ? ", " : "", hone_dtype_name(call->out[i].dtype),
                           HONE__SHAPE_STR(call->out[i].shape));
}

char *hone_graph_dump(const hone_graph *graph, hone_dump_format format)
{
    if (!graph) return NULL;
    hone_ctx *ctx = graph->ctx;
    hone__buffer text = {0};
    bool dot = format == HONE_DUMP_DOT;
    if (dot) hone__buffer_print(ctx, &text, "digraph hone {\n  node [shape=box, fontname=\"sans-serif\"];\n");
    for (size_t c = 0; c < graph->n_calls; c++) {
        const hone__call *call = graph->calls[c];
        if (dot) {
            hone__buffer_print(ctx, &text, "  n%d [label=\"", call->id);
            print_call(ctx, &text, call, "\\n");
            hone__buffer_print(ctx, &text, "\"];\n");
            for (int i = 0; i < call->n_in; i++)
                if (call->in[i]) hone__buffer_print(ctx, &text, "  n%d -> n%d;\n", call->in[i]->call->id, call->id);
            continue;
        }
        hone__buffer_print(ctx, &text, "%%%d = ", call->id);
        print_call(ctx, &text, call, " : ");
        hone__buffer_print(ctx, &text, " <-");
        for (int i = 0; i < call->n_in; i++) {
            if (!call->in[i])
                hone__buffer_print(ctx, &text, " none");
            else if (call->in[i]->out)
                hone__buffer_print(ctx, &text, " %%%d.%d", call->in[i]->call->id, call->in[i]->out);
            else
                hone__buffer_print(ctx, &text, " %%%d", call->in[i]->call->id);
        }
        if (call->scope[0]) hone__buffer_print(ctx, &text, "  [%s]", call->scope);
        hone__buffer_print(ctx, &text, "\n");
    }
    if (dot) hone__buffer_print(ctx, &text, "}\n");
    if (!text.data) hone__buffer_add(ctx, &text, "", 0);
    if (hone__ok(ctx)) return text.data;
    hone__buffer_free(ctx, &text);
    return NULL;
}

void hone_free_text(hone_ctx *ctx, char *text) { hone__free(ctx, text); }
