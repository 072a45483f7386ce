/* Inside the graph room: what a plan runs and in which order, and where its buffers lie. */
#ifndef HONE_SRC_SCHEDULE_H
#define HONE_SRC_SCHEDULE_H

#include "graph/graph.h"

/* The calls that outputs and effects need, each after its inputs, effects after every needed reader of the old
   value. order: room for graph->n_calls ids; needed: n_calls flags, set here. STATE when readers and effects wait for
   each other. */
hone_status hone__schedule(hone_graph *graph, int n, hone_node *const *outputs, bool *needed, int *order, int *count);

/* Memory that is alive from step `begin` to step `end`, both included. */
typedef struct hone__lifetime {
    size_t size, offset; /* offset: set by hone__place */
    int begin, end;
} hone__lifetime;
/* Gives each buffer an offset such that no two alive at once overlap; *total: bytes for all. */
hone_status hone__place(hone_ctx *ctx, hone__lifetime *buffers, int count, size_t *total);

#endif
