/* Hone: recording, differentiating and running computations. Read after tensor.h.
 *
 * Record: ops (op.h) append nodes to a graph; shapes are checked at once, nothing is computed.
 * Differentiate: hone_grad appends the nodes of the gradient.
 * Plan and run: a hone_function records, plans once for each kind of input, and replays the plan.
 *
 * Node handles die with their graph. A recording function that fails returns NULL and leaves the reason in the
 * context; NULL as a required input is passed on as NULL, so a program checks once at the end. */
#ifndef HONE_GRAPH_H
#define HONE_GRAPH_H

#include "hone/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Recorded calls, and a value that one of them gives. */
typedef struct hone_graph hone_graph;
typedef struct hone_node hone_node;

/* Which axes an op works on; negative ones count from the end. */
typedef struct hone_axes {
    int count; /* 0: all axes */
    int axis[HONE_MAX_RANK];
} hone_axes;
/* HONE_AXES(0, -1): a hone_axes of two. HONE_ALL_AXES: every one. */
#define HONE_AXES(...) ((hone_axes){(int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)), {__VA_ARGS__}})
#define HONE_ALL_AXES ((hone_axes){0, {0}})

/* What a forward function is run for. */
typedef enum hone_mode { HONE_EVALUATE, HONE_TRAIN } hone_mode;

typedef struct hone_graph_opts {
    size_t struct_size;
    hone_mode mode; /* what dropout and the like look at; default HONE_EVALUATE */
    bool eager;     /* run each node as it is recorded; read it with hone_node_read */
} hone_graph_opts;

/* A new graph, owned by the caller (one reference). */
HONE_API hone_graph *hone_graph_new_opt(hone_ctx *ctx, const hone_graph_opts *opts);
#define hone_graph_new(...)                                                                                  \
    HONE_OPTS1(hone_graph_new_opt, hone_graph_opts, __VA_ARGS__, .struct_size = sizeof(hone_graph_opts))
HONE_API hone_graph *hone_graph_retain(hone_graph *graph);
HONE_API void hone_graph_release(hone_graph *graph);
HONE_API hone_ctx *hone_graph_ctx(const hone_graph *graph);
HONE_API hone_mode hone_graph_mode(const hone_graph *graph);

/* ---- leaves -------------------------------------------------------------------------------------------------- */

/* A value given at each call, in the order in which the inputs were made. name is copied. */
HONE_API hone_node *hone_input(hone_graph *graph, const char *name, hone_dtype dtype, hone_shape shape);
/* A copy of the tensor's values, fixed in the graph. Plain dtypes only. */
HONE_API hone_node *hone_constant(hone_graph *graph, const hone_tensor *tensor);
/* A node of that shape whose every element is `value`. */
HONE_API hone_node *hone_fill(hone_graph *graph, hone_dtype dtype, hone_shape shape, double value);
/* Reads the tensor's memory at run time: a weight held by hand, a running statistic, a cache. The caller keeps
   the tensor alive as long as the graph and every function made from it. The same tensor gives the same node. */
HONE_API hone_node *hone_variable(hone_graph *graph, hone_tensor *tensor);

/* ---- effects --------------------------------------------------------------------------------------------------- */

/* When the graph runs, the variable's tensor takes value (same dtype and shape), after every node that reads the old
   value has run. The result stands for the new value, and may be assigned to in its turn. Never differentiated. */
HONE_API hone_node *hone_assign(hone_node *variable, hone_node *value);
/* Writes value [B, T, ...] into variable [B, C, ...] in place, row b from index position[b] (i32 [B]) of axis 1
   on: a KV cache. The result stands for the whole new variable. A position outside [0, C - T] is an error of the run. */
HONE_API hone_node *hone_cache_write(hone_node *variable, hone_node *value, hone_node *position);
/* The same for some rows of the cache: value [B, T, ...] into variable [R, C, ...], its row b into row rows[b] (i32 [B]). */
HONE_API hone_node *hone_cache_write_rows(hone_node *variable, hone_node *value, hone_node *position, hone_node *rows);

/* ---- gradients ---------------------------------------------------------------------------------------------------- */

/* Appends the gradient of loss (one element) with respect to each of wrt[n], same shapes, into gradients[n]; zeros
   where loss does not depend on it. UNSUPPORTED, by name, when an op on the way cannot be differentiated. */
HONE_API hone_status hone_grad(hone_node *loss, int n, hone_node *const *wrt, hone_node **gradients);

/* ---- gradient checkpointing ------------------------------------------------------------------------------------------ */

/* What is recorded between begin and end is a segment: gradients compute its values again, from those that come into it,
   instead of keeping them from the forward pass (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").
   Memory falls from all activations to the segments' inputs and one segment's activations, for at most one forward pass
   more. Results are the same, bit for bit, dropout's choices included. Inputs, variables and effects (hone_assign) inside
   are not repeated. Pairs may nest: the outermost is the segment. Taking a gradient ends it. Without a gradient, and in
   eager graphs, nothing changes. A functional model, recorded anew from its recipe, keeps the marks of its layers alone:
   hone_layer_set_checkpointing in nn.h. */
HONE_API void hone_checkpoint_begin(hone_graph *graph); /* NULL is allowed */
HONE_API void hone_checkpoint_end(hone_graph *graph);   /* of the latest begin; without one: STATE (sticky) */

/* ---- looking ------------------------------------------------------------------------------------------------------- */

HONE_API hone_graph *hone_node_graph(const hone_node *node);
HONE_API hone_shape hone_node_shape(const hone_node *node);
HONE_API hone_dtype hone_node_dtype(const hone_node *node);
/* Eager graphs: the node's values, converted to dtype; count must be its number of elements. */
HONE_API hone_status hone_node_read(const hone_node *node, int64_t count, hone_dtype dtype, void *values);

typedef enum hone_dump_format { HONE_DUMP_TEXT, HONE_DUMP_DOT } hone_dump_format;
/* The graph as text (a line a node: number, op, attributes, inputs, shape, layer) or for Graphviz. The caller
   frees the result with hone_free_text. NULL on error (sticky). */
HONE_API char *hone_graph_dump(const hone_graph *graph, hone_dump_format format);
HONE_API void hone_free_text(hone_ctx *ctx, char *text);

/* ---- recorded functions --------------------------------------------------------------------------------------------- */

/* Records the computation: reads inputs[], sets every outputs[]. Called again only when shapes, dtypes, mode or
   the models whose layers it applies change, so whatever varies otherwise must be an input. These models get their memory
   with the first call, and outlive the function. */
typedef void (*hone_forward_fn)(void *user, hone_graph *graph, hone_node *const *inputs, hone_node **outputs);

typedef struct hone_function hone_function;

typedef struct hone_function_opts {
    size_t struct_size;
    hone_dtype compute;  /* of matrix products and attention: f32 (default) or bf16 */
    size_t cache_bytes;  /* plans beyond this go, least recently used first; default: 4 plans, or 1 GiB */
    bool auto_compute;   /* bf16 where the CPU is made for it, else f32; compute is then ignored */
} hone_function_opts;

/* A function of n_in tensors with n_out results; owned by the caller. names[n_in] are copied (NULL: "input0", ...). */
HONE_API hone_function *hone_function_new_opt(hone_ctx *ctx, int n_in, int n_out, hone_forward_fn forward, void *user,
                                              const hone_function_opts *opts);
#define hone_function_new(...)                                                                               \
    HONE_OPTS5(hone_function_new_opt, hone_function_opts, __VA_ARGS__, .struct_size = sizeof(hone_function_opts))
HONE_API void hone_function_free(hone_function *function);

typedef struct hone_call_opts {
    size_t struct_size;
    hone_mode mode;
    uint64_t step;        /* optimizer step: with seed and micro_batch the root of dropout's randomness */
    uint64_t micro_batch; /* > 0: parameter gradients are added to those of the micro-batches before */
} hone_call_opts;

/* Runs the function on inputs[n_in]. Results are read with hone_function_output until the next call. */
HONE_API hone_status hone_function_call_opt(hone_function *function, hone_tensor *const *inputs,
                                            const hone_call_opts *opts);
#define hone_function_call(...)                                                                              \
    HONE_OPTS2(hone_function_call_opt, hone_call_opts, __VA_ARGS__, .struct_size = sizeof(hone_call_opts))
/* Result i of the last call; borrowed, valid until the next call. NULL when there was none. */
HONE_API hone_tensor *hone_function_output(hone_function *function, int i);
/* Bytes of activations and scratch that the plan of the last call holds. */
HONE_API size_t hone_function_bytes(const hone_function *function);

/* ---- profiling ------------------------------------------------------------------------------------------------------- */

/* Where the time goes, node by node. While a context has a profile, every call of a function on it (those that hone_fit,
   hone_session_feed and fine-tuning make among them) and every optimizer step is timed: some 100 ns a node. */
typedef struct hone_profile hone_profile;

/* Begins to time what runs on ctx. Owned by the caller. NULL on error (sticky): STATE when ctx is being profiled already. */
HONE_API hone_profile *hone_profile_new(hone_ctx *ctx);
/* Ends the timing, for good; what was found stays. NULL is allowed. */
HONE_API void hone_profile_stop(hone_profile *profile);
HONE_API void hone_profile_free(hone_profile *profile); /* stops it too; NULL is allowed */
/* Measures what this CPU can do, here and now: the best rate of each matrix product that was seen (it alone, its operands in
   the caches; or what the node itself reached, when that was faster), and the memory's bandwidth. Takes about a second and
   300 MB; without it the limits below are 0. Errors do not stick but for MEMORY; STATE while it is still running. */
HONE_API hone_status hone_profile_measure(hone_profile *profile);

/* Nodes of the same op, kind of layer and result, all calls together. */
typedef struct hone_profile_entry {
    const char *op;       /* "linear"; "pack": derived copies of weights, made again; an optimizer's name */
    const char *layer;    /* the last part of the layer's dotted name that is no number: "q_proj"; "" outside layers */
    hone_dtype dtype;     /* of the first result as it is stored */
    int64_t calls;
    double seconds;
    double flops;         /* of matrix products: 2 m n k each, of attention only what its queries see */
    double bytes;         /* inputs read and results written, each once */
    double limit_seconds; /* matrix products at their best rates and their weights read once; other nodes: bytes over bandwidth */
} hone_profile_entry;
/* How many entries, and entry i: the slowest first once the profile is stopped. Valid as long as the profile, except while
   it is still running: until the next call. NULL when there is none. */
HONE_API size_t hone_profile_count(const hone_profile *profile);
HONE_API const hone_profile_entry *hone_profile_at(const hone_profile *profile, size_t i);

/* A whole profile. */
typedef struct hone_profile_summary {
    int64_t calls;        /* of functions */
    double seconds;       /* of all entries */
    double elapsed;       /* from hone_profile_new to hone_profile_stop, or until now: what lies between nodes included */
    double flops;
    /* What must move whatever the plan does: weights read once a call in their smallest form at hand; gradients and copies of
       weights written once; parameters and optimizer states read and written by each step (AdamW: 28 bytes a parameter). */
    double bytes_read, bytes_updated;
    double read_bandwidth, update_bandwidth; /* measured, bytes a second: reading; reading and writing */
    double limit_seconds; /* matrix products of more than 8 rows at their best rates, and these bytes over these bandwidths */
    /* Memory by owner, bytes; of the largest plan that ran: weights as they lie in memory or file, what hone_variable reads
       (caches of keys and values), copies of either for matrix products, gradients, the optimizer's states, activations and
       scratch. */
    size_t weights, variables, derived, gradients, optimizer_state, arena;
} hone_profile_summary;
HONE_API hone_profile_summary hone_profile_summarize(const hone_profile *profile);

/* A table for people, its times divided by `steps` (1 or more): a line an entry, what lies between nodes, and memory by
   owner. The caller frees it with hone_free_text. NULL when memory runs out (sticky). */
HONE_API char *hone_profile_text(const hone_profile *profile, int64_t steps);
/* Writes every node's every run in Chrome's trace format (JSON), for Perfetto or chrome://tracing: the first million of them.
   IO, MEMORY; only the latter sticks. */
HONE_API hone_status hone_profile_save_trace(const hone_profile *profile, const char *path);

#ifdef __cplusplus
}
#endif
#endif
