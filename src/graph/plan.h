/* Inside the graph room: what a plan is. */
#ifndef HONE_SRC_PLAN_H
#define HONE_SRC_PLAN_H

#include "graph/graph.h"

typedef struct hone__plan_slot {
    hone__view view; /* dense */
    int buffer;      /* while planning; -1: no reader */
} hone__plan_slot;

typedef struct hone__plan_use {
    hone__variable *variable;
    hone__derived *derived;
} hone__plan_use;

struct hone__plan {
    hone_ctx *ctx;
    hone_graph *graph;
    hone__arena memory; /* of views and the like */
    hone__exec *execs;
    size_t n_execs, execs_capacity;
    hone__plan_slot *inputs, *outputs;
    size_t n_inputs;
    int n_outputs;
    hone__plan_use *uses;
    size_t n_uses, uses_capacity;
    void *arena; /* activations and scratch */
    size_t arena_bytes;
    hone__run_info info;
    uint64_t profile; /* number of the profile that knows this plan; 0: none */
    size_t profile_node; /* its node of the first exec; those of the uses follow after the last */
};

#endif
