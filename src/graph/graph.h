/* The graph room, for the rest of the library: what a call, an op, a plan are. */
#ifndef HONE_SRC_GRAPH_H
#define HONE_SRC_GRAPH_H

#include "hone/graph.h"
#include "kernel/table.h"
#include "tensor/tensor.h"

typedef struct hone__call hone__call;
typedef struct hone__exec hone__exec;
typedef struct hone__plan hone__plan;
typedef struct hone_op hone_op;
typedef struct hone__variable hone__variable;

/* ---- variables: memory that outlives a graph ------------------------------------------------------------------- */

/* A copy of a variable in another dtype or layout (a packed weight), remade when the variable has changed. */
typedef struct hone__derived hone__derived;
struct hone__derived {
    hone__derived *next;
    uint64_t key;     /* which layout; chosen by who derives it */
    uint64_t version; /* of the variable when it was last made; 0: never */
    void *data;
    size_t bytes;
    /* Fills data from the variable. state belongs to the entry. */
    hone_status (*refresh)(hone__derived *, hone__variable *);
    void *state;
    void (*free_state)(void *);
};

struct hone__variable {
    hone_ctx *ctx;
    const char *name;  /* dotted, as in the checkpoint */
    hone_dtype dtype;  /* how nodes see it: f32, f64 or an integer type */
    hone_dtype stored; /* how it lies in data: any dtype, block formats too */
    hone_shape shape;
    void *data;       /* stays where it is while a plan uses it */
    void *grad;       /* f32 (or f64), dense, same shape; NULL: gradients are not kept */
    bool trainable;
    uint64_t version; /* > 0; raised by whoever changes data */
    hone__derived *derived;
    void *owner;      /* the parameter or tensor behind it */
    bool by_hand;     /* hone_variable: in the graph's arena; its memory may change between any two runs */
    hone__variable *next; /* by hand: of the same graph */
    size_t mapped;    /* bytes, when data lies in a file's mapping */
};
/* Data that has been packed elsewhere need not stay in memory: mapped pages are given back. */
void hone__variable_release(const hone__variable *variable);

/* The entry with that key, or a new one of `bytes`, not yet filled (refresh is called before each run when it is out
   of date). NULL: memory (sticky). */
hone__derived *hone__derive(hone__variable *variable, uint64_t key, size_t bytes,
                            hone_status (*refresh)(hone__derived *, hone__variable *), void *state,
                            void (*free_state)(void *));
/* The variable's values as plain elements of a float type: made from any stored dtype. */
hone__derived *hone__derive_plain(hone__variable *variable, hone_dtype dtype);
uint64_t hone__plain_key(hone_dtype dtype); /* of that copy */
hone__derived *hone__find_derived(hone__variable *variable, uint64_t key);
void hone__drop_derived(hone__variable *variable); /* no plan may use them any more */
hone_status hone__refresh_derived(hone__derived *derived, hone__variable *variable); /* when out of date */

/* ---- nodes ---------------------------------------------------------------------------------------------------------- */

/* A value: output `out` of a call. */
struct hone_node {
    hone__call *call;
    int out;
    int id; /* unique in the graph, dense from 0 */
    hone_dtype dtype;
    hone_shape shape;
    hone__view value; /* eager graphs: where it lies */
    hone_node *lengths; /* layers: i32 [B], how many positions of each row count along axis `time`; NULL: all do */
    int time;
};

struct hone__call {
    const hone_op *op;
    hone_graph *graph;
    int id; /* position in the graph: inputs come before their users */
    int n_in;
    hone_node **in;   /* NULL entries: optional inputs left out */
    void *attr;       /* op->attr_size bytes */
    const char *scope; /* dotted name of the layer that recorded it; "" outside layers */
    uint64_t stream;  /* of randomness: from the scope's name and its call count */
    hone__variable *variable; /* variable, assign, cache_write, grad_store */
    const hone_tensor *constant;
    int segment;         /* of gradient checkpointing; 0: none */
    hone__call *repeats; /* computes again what this earlier call did; NULL: a call of its own */
    bool sums_gradients; /* adds contributions to one gradient: kept in f32 */
    int n_out;
    hone_node out[]; /* op->n_out of them */
};

/* Who owns variables: a model. Both functions are called with it. */
typedef struct hone__owner {
    void *user;
    /* Raised when what it records may be another (layers added, frozen, LoRA): part of a function's cache key. */
    uint64_t (*generation)(void *user);
    hone_status (*before_plan)(void *user); /* after each recording: gives variables their memory */
} hone__owner;

/* A layer applied at the outermost level: what a functional model replays instead of the calls [first, last). */
typedef struct hone__application {
    void *layer;
    int n_in, mode; /* mode: hone__apply */
    hone_node **in, *out;
    size_t first, last;
} hone__application;

struct hone_graph {
    hone_ctx *ctx;
    int refs;
    hone_mode mode;
    bool eager;
    hone__arena arena;
    hone__call **calls;
    size_t n_calls, calls_capacity;
    int n_nodes;
    hone_node **inputs; /* in the order in which they were made */
    size_t n_inputs, inputs_capacity;
    const char **input_names;
    size_t input_names_capacity;
    const char *scope;
    hone_node **variables; /* one node a variable */
    size_t n_variables, variables_capacity;
    hone__variable *by_hand; /* those of hone_variable, linked; models' variables may be gone before the graph is */
    const hone_tensor *pending_constant;
    hone_tensor **owned; /* constants and eager values */
    size_t n_owned, owned_capacity;
    size_t forward_calls; /* those before hone__grad_variables; 0: it was not called */
    int depth; /* of layers being applied */
    int segment, segments, segment_depth; /* of gradient checkpointing: the open one (0: none), how many, begins without an end */
    hone__application *applications;
    size_t n_applications, applications_capacity;
    hone__owner *owners; /* of its variables: models */
    size_t n_owners, owners_capacity;
    hone_node *extra_loss; /* hone_add_loss; NULL: none */
};

/* ---- ops -------------------------------------------------------------------------------------------------------------- */

typedef enum hone__attr_type {
    HONE__ATTR_BOOL, HONE__ATTR_INT, HONE__ATTR_I64, HONE__ATTR_F64, HONE__ATTR_DTYPE, HONE__ATTR_AXES, HONE__ATTR_SHAPE
} hone__attr_type;

/* One member of an op's attribute struct; drives printing and hashing. A list ends with name NULL. */
typedef struct hone__attr {
    const char *name;
    hone__attr_type type;
    size_t offset;
} hone__attr;
#define HONE__ATTR(type, member, kind) {#member, HONE__ATTR_##kind, offsetof(type, member)}

/* How a sample's input is filled. Real inputs are f32 or f64 as the driver wants. */
typedef enum hone__fill_kind {
    HONE__FILL_NORMAL,   /* standard normal, no value within 0.05 of 0 (kinks) and no two equal (ties) */
    HONE__FILL_UNIFORM,  /* real in [low, high) */
    HONE__FILL_INDEX,    /* integer in [low, high) */
    HONE__FILL_SOFTMAX,  /* rows over the last axis positive, summing to 1 */
    HONE__FILL_RAMP      /* low, low + 1, low + 2, ... */
} hone__fill_kind;

typedef struct hone__sample_input {
    hone_dtype dtype; /* HONE_F32 stands for "real" */
    hone_shape shape;
    hone__fill_kind fill;
    double low, high;
    bool absent; /* an optional input that is left out */
} hone__sample_input;

#define HONE__SAMPLE_INPUTS 8
typedef struct hone__sample {
    const char *name; /* NULL ends the list */
    int n_in;
    hone__sample_input in[HONE__SAMPLE_INPUTS];
    const void *attr;    /* NULL: zeros */
    const char *refused; /* not NULL: recording must fail, and the message contain this */
    bool no_grad;        /* skip finite differences (say why in the name) */
    bool rounds_within;  /* on bf16 inputs: a product's result is another's operand, so bf16 as between two ops */
    double tolerance;    /* f32 against f64, relative; 0: the driver's 2e-5 */
} hone__sample;

enum hone__op_flags {
    HONE__STRIDED = 1,     /* run takes inputs of any strides; otherwise the plan makes them dense */
    HONE__COMPUTE = 2,     /* matrix products: float inputs come in the compute dtype, outputs may be bf16 */
    HONE__FLEX = 4,        /* float inputs may be f32 or bf16, each output as the plan wishes; computes in f32 */
    HONE__VIEW = 8,        /* output 0 looks at input 0's memory: no run, a view function */
    HONE__ACCUMULATE = 16, /* run honours exec->accumulate: output 0 is added to, not overwritten */
    HONE__EFFECT = 32,     /* changes call->variable; always needed, ordered after readers of the old value */
    HONE__RANDOM = 64,     /* depends on seed, step, micro-batch and call->stream */
    HONE__CHEAP = 128,     /* one pass over its inputs: backward passes compute it again instead of keeping its result */
    HONE__ELEMENTWISE = 256, /* element by element: channels last if all inputs are; one input suffices where none may be strided */
    HONE__BY_THREADS = 512, /* oneDNN cuts its sums by threads: equal bits need an equal number of threads */
    HONE__AGAIN = 1024 /* run writes output sum_out once more, in bf16 for products: exec->out[call->n_out], if that has data */
};

struct hone_op {
    const char *name;
    const char *doc; /* the formula, one line */
    int n_in;        /* the most inputs; optional ones at the end may be NULL */
    int n_required;  /* the first so many must be there; 0: all n_in. variadic ops: -1 in n_in */
    int n_out;
    unsigned flags;
    unsigned keep_in, keep_out; /* bit i: float input/output i stays f32 even in bf16 plans */
    unsigned aux_out;           /* bit i: output i serves the backward pass alone and has no gradient of its own */
    unsigned last_in, last_out; /* bit i: input/output i lies channels last (hone__view_channels_last) */
    unsigned raw_in;            /* bit i: a variable there is handed over as it is stored (blocks, bf16, f16) */
    /* sum_in > 0: that input, of the shape of output sum_out, may be left out and is added to it. So what a value's gradient was before
       needs no pass of its own; the op's gradient for one input must be that output, and for no other. */
    int sum_in, sum_out;
    size_t attr_size;
    const hone__attr *attrs;
    /* Sets dtype and shape of every call->out, or hone__refuse()s. */
    bool (*shape)(hone__call *call);
    /* HONE__VIEW: the output as a view of the input; false: the input must be made dense first. */
    bool (*view)(const hone__call *call, const hone__view *in, hone__view *out);
    /* Optional, once a plan: chooses kernels, asks for scratch (hone__exec.scratch_size), prepares primitives. */
    hone_status (*prepare)(hone__exec *exec);
    hone_status (*run)(hone__exec *exec);
    /* Optional: may run(first) make the outputs of `next` too, which takes the same input 0 and follows it (behind
       first->joined others that said yes already)? Then it does so, for first + 1 to first + first->joined. */
    bool (*join)(const hone__exec *first, const hone__exec *next);
    /* Appends nodes for the inputs' gradients: d_in[i] stays NULL where there is none. d_out[i] is NULL where output i
       has no gradient (at least one has). wanted[i]: someone needs d_in[i]. false after an error. */
    bool (*vjp)(hone__call *call, hone_node *const *d_out, const bool *wanted, hone_node **d_in);
    const hone__sample *samples;
};

/* Attributes of input, constant and fill. */
struct hone__leaf {
    hone_dtype dtype;
    hone_shape shape;
    double value;
};

/* Records "op 'layer': message" as the reason and returns false. */
bool hone__refuse(hone__call *call, hone_status status, const char *format, ...) HONE_PRINTF(3, 4);

/* Appends a call. in[n_in] may hold NULL for optional inputs. Returns output 0, NULL on error. */
hone_node *hone__record(hone_graph *graph, const hone_op *op, int n_in, hone_node *const *in, const void *attr);
/* The same for effects and variables. */
hone_node *hone__record_on(hone_graph *graph, const hone_op *op, int n_in, hone_node *const *in, const void *attr,
                           hone__variable *variable);
static inline hone_node *hone__output(hone_node *node, int i) { return node ? &node->call->out[i] : NULL; }
static inline const hone_shape *hone__in_shape(const hone__call *call, int i) { return &call->in[i]->shape; }
/* A leaf that reads a variable; the same variable gives the same node. */
hone_node *hone__variable_node(hone_graph *graph, hone__variable *variable);
/* What the variable holds by now: that leaf, or what the latest effect on it left. */
hone_node *hone__variable_latest(hone_graph *graph, hone__variable *variable);
/* The graph reads variables of that owner; a second time nothing happens. false: memory (sticky). */
bool hone__graph_owned_by(hone_graph *graph, hone__owner owner);
/* The core ops that the graph itself needs (op/core.c). */
extern const hone_op hone__op_input, hone__op_constant, hone__op_variable, hone__op_fill, hone__op_copy, hone__op_cast,
    hone__op_add, hone__op_reduce_to, hone__op_assign, hone__op_cache_write, hone__op_grad_store;

/* Layers push their name; "a" then "b" makes "a.b". Returns the scope before, to be handed to pop. */
const char *hone__scope_push(hone_graph *graph, const char *name);
void hone__scope_pop(hone_graph *graph, const char *before);

/* Gradients of loss for every trainable variable in the graph that `wanted` (NULL: for all) says yes to, stored into (or added
   to) the variables' grad memory when the graph runs; zeros where loss does not depend on it. */
typedef bool (*hone__wanted_fn)(void *user, const hone__variable *variable);
hone_status hone__grad_variables(hone_node *loss, hone__wanted_fn wanted, void *user);

/* ---- plans ---------------------------------------------------------------------------------------------------------------- */

/* What varies from run to run. */
typedef struct hone__run_info {
    uint64_t seed, step, micro_batch;
} hone__run_info;

/* One prepared call. */
struct hone__exec {
    hone_status (*run)(hone__exec *exec);
    const hone__call *call; /* NULL for casts and copies that the plan put in */
    const void *attr;
    hone_ctx *ctx;
    const hone__kernels *k; /* of the call's real type and this CPU */
    int n_in, n_out;
    hone__view *in, *out;   /* in[i].data NULL: left out. out[i].data NULL: nobody wants it */
    hone__variable **variable; /* per input: the variable directly behind it, else NULL */
    hone__variable *target;    /* effects */
    void *scratch;
    size_t scratch_size;  /* set by prepare */
    bool accumulate;      /* HONE__ACCUMULATE: add to output 0 */
    bool first_write;     /* accumulate is set per run: micro_batch > 0 */
    int joined;           /* execs behind this one that its run makes as well (hone_op.join) */
    void *state;          /* prepared primitive, freed with the plan */
    void (*free_state)(void *state);
    const hone__run_info *info;
    hone__plan *plan;
};

/* Needs a derived copy kept up to date for this plan: refreshed before each run. */
bool hone__plan_uses(hone__plan *plan, hone__variable *variable, hone__derived *derived);

/* A plan for outputs[n] and every effect of the graph (which it retains). NULL: error (sticky). */
hone__plan *hone__plan_new(hone_graph *graph, int n, hone_node *const *outputs, hone_dtype compute);
void hone__plan_free(hone__plan *plan);
size_t hone__plan_bytes(const hone__plan *plan);
size_t hone__plan_length(const hone__plan *plan);
hone__view *hone__plan_input(hone__plan *plan, int i);        /* dense; filled by the caller before a run */
const hone__view *hone__plan_output(const hone__plan *plan, int i); /* dense */
hone_status hone__plan_run(hone__plan *plan, const hone__run_info *info);
/* Are all values finite (whole numbers are)? *squares: the sum of their squares. Of a dense view, in any order of axes. */
bool hone__view_squares(const hone__view *view, double *squares);
/* Runs again and stops at the first call with a value that is not finite; its description into text. false: none. */
bool hone__plan_find_nonfinite(hone__plan *plan, const hone__run_info *info, char *text, size_t size);

hone__plan *hone__function_plan(hone_function *function); /* of the last call */
/* After a call with these inputs gave something not finite: runs it again and says where that began. false: nowhere. */
bool hone__function_find_nonfinite(hone_function *function, hone_tensor *const *inputs, const hone_call_opts *opts, char *text,
                                   size_t size);
/* Records and plans for such inputs (their values do not matter) without running. */
hone_status hone__function_prepare(hone_function *function, hone_tensor *const *inputs, hone_mode mode);

/* ---- profiles ------------------------------------------------------------------------------------------------------------ */

/* A matrix product that a call makes, `batch` times. */
typedef struct hone__product {
    int64_t batch, m, n, k;
    hone_dtype type; /* of its operands */
    double flops;    /* fewer than 2 batch m n k where parts are left out */
} hone__product;

enum { HONE__PRODUCTS = 3 };
/* What a prepared call does when it runs now. */
typedef struct hone__work {
    int n_products;
    hone__product product[HONE__PRODUCTS];
    double bytes; /* inputs read and results written */
    double read, updated; /* of these what must move, see hone_profile_summary */
} hone__work;
/* Of any op; defined in the op room (op/work.c), the one place that counts. */
void hone__exec_work(const hone__exec *exec, hone__work *work);

/* Seconds now when ctx is being profiled, else 0: the beginning of a span. */
double hone__profile_clock(const hone_ctx *ctx);
/* Work outside of plans that began then and ends now. name is static; state_bytes: memory it keeps, the optimizer's. Nothing
   happens when began is 0. */
void hone__profile_span(hone_ctx *ctx, const char *name, double began, const hone__work *work, size_t state_bytes);

/* Runs one call of an eager graph at once. */
hone_status hone__eager_run(hone__call *call);

#endif
