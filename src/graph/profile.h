/* Inside the graph room: what a profile keeps. profile.c collects, limit.c measures what the CPU can do, profile_text.c
   writes tables and traces. */
#ifndef HONE_SRC_PROFILE_H
#define HONE_SRC_PROFILE_H

#include "base/os.h"
#include "graph/plan.h"

/* One prepared call of one plan, a derived copy of a weight, or a kind of work outside of plans. */
typedef struct hone__profile_node {
    const char *op, *scope; /* scope: the whole dotted name, the profile's */
    size_t entry;
    int64_t calls;
    double seconds, best; /* of all calls; of the fastest one */
    hone__work work;      /* sums over the calls; the products' shapes are those of the first */
} hone__profile_node;

typedef struct hone__profile_event {
    size_t node;
    double began, seconds;
} hone__profile_event;

struct hone_profile {
    hone_ctx *ctx;
    uint64_t number; /* plans remember whose nodes they have */
    hone__arena arena;
    hone__profile_node *nodes;
    size_t n_nodes, nodes_capacity;
    hone_profile_entry *entries;
    size_t n_entries, entries_capacity;
    size_t *order; /* of the entries, the slowest first */
    hone__profile_event *events;
    size_t n_events, events_capacity;
    hone_profile_summary sum; /* seconds, flops and limits are made when asked for */
    size_t largest;           /* bytes of the plan whose memory is in sum */
    double began, stopped;    /* stopped: 0 while it runs */
};

/* ---- for run.c: a plan that runs while its context has a profile ---- */

/* Gives the plan its nodes. */
hone_status hone__profile_enter(hone__plan *plan);
/* Prepared call i, or derived copy i, began then and has just ended. */
void hone__profile_mark_exec(const hone__plan *plan, size_t i, double began);
void hone__profile_mark_use(const hone__plan *plan, size_t i, double began);

#endif
