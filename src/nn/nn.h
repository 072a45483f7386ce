/* The nn room, for the rest of the library: parameters, their memory, models. */
#ifndef HONE_SRC_NN_H
#define HONE_SRC_NN_H

#include "graph/graph.h"
#include "hone/nn.h"

#include <stddef.h>

/* How a parameter's values begin. */
typedef struct hone__initial {
    hone_initializer initializer;
    hone_init_opts opts;
} hone__initial;
/* What hone_layer_initialize said; the latest comes first. */
struct hone_initial_rule {
    hone__initial initial;
    struct hone_initial_rule *next;
    char *name;
};

struct hone_param {
    hone__variable v;
    hone_layer *layer;
    const char *local; /* its name within the layer */
    char *name;        /* dotted; set when the model is known */
    hone__initial initial;
    bool state;     /* hone_state: never trained, memory of its own */
    bool sealed;    /* has its memory */
    int64_t offset; /* in its segment, elements; trained ones */
    struct hone__segment *segment; /* NULL: frozen */
    void *own;      /* frozen values of our own, freed with the parameter */
};

enum { HONE__SEGMENT_ALIGN = 256 }; /* elements: optimizers may keep one value for so many */

/* Trained parameters that were sealed together: f32 values and gradients, each in one piece. Never moved. */
typedef struct hone__segment {
    struct hone__segment *next;
    int64_t count; /* elements, each parameter's start aligned to HONE__SEGMENT_ALIGN; what lies between is 0 */
    float *values, *grads; /* grads NULL until training asks */
    hone_param **params;
    size_t n_params;
} hone__segment;

/* Where a parameter's first values come from: a file. false: not there. stored/data may be borrowed for the model's
   life; mapped: bytes of a file's mapping behind data, 0 when it is ordinary memory. */
typedef struct hone__param_source {
    hone_dtype stored;
    hone_shape shape;
    const void *data;
    size_t mapped;
} hone__param_source;
typedef bool (*hone__source_fn)(void *user, const char *name, hone__param_source *source);

struct hone_model {
    hone_ctx *ctx;
    int refs;
    hone_layer *root;
    uint64_t generation;
    bool train_gradients; /* plans keep gradients */
    bool keep_frozen; /* new parameters are not trained */
    hone_dtype input_dtype; /* of the one input that was last recorded: what to build the model for again */
    hone_shape input_shape; /* rank 0: none was */
    hone__segment *segments, **last_segment;
    hone_param **params;
    size_t n_params, params_capacity;
    hone__source_fn source;
    void *source_user;
    void (*source_free)(void *user); /* the file behind borrowed values */
    bool source_strict; /* a parameter that the source lacks is an error */
    void *train; /* train room: compiled state */
    void (*train_free)(void *train);
    void *pipeline; /* train room: what makes its input of a frame */
    void (*pipeline_free)(void *pipeline);
};

/* Memory for every parameter that has none yet; first values from the source or the initializer. */
hone_status hone__model_seal(hone_model *model);
/* Gradient memory for trained parameters. */
hone_status hone__model_want_gradients(hone_model *model);
/* Values of trained parameters changed: derived copies are out of date. */
void hone__model_touch(hone_model *model);
int64_t hone__model_trained_count(const hone_model *model); /* elements */
/* Records the model on one input, so that its layers make their parameters; they have no memory yet. */
hone_status hone__model_record(hone_model *model, hone_dtype dtype, hone_shape input);
/* The graph reads parameters of the model: sealed before planning, generation in the function's key. */
bool hone__graph_uses_model(hone_graph *graph, hone_model *model);
/* The model that the layer is a part of; NULL: none yet. */
hone_model *hone__layer_model(const hone_layer *layer);
/* hone_apply_n in a mode of its own; HONE__MODE_OF_GRAPH: in the graph's. */
enum { HONE__MODE_OF_GRAPH = -1 };
hone_node *hone__apply(hone_layer *layer, int n, hone_node *const *inputs, int mode);
/* A parent or a model takes the layer from its context's keeping. */
void hone__layer_adopted(hone_layer *layer);
/* NULL when there is no such layer; path dotted, "" the root. */
hone_layer *hone__layer_find(hone_layer *root, const char *path);
char *hone__layer_path(const hone_layer *layer, const char *last); /* dotted, with last appended; hone__free */
/* MEMORY: orthogonal ones need some. */
hone_status hone__fill_initial(hone_ctx *ctx, const hone__initial *initial, hone_shape shape, uint64_t key, float *values);
/* What was said of the layer's parameter of that name, else the layer's own choice. false: no memory to look it up. */
bool hone__initial_of(const hone_layer *layer, const char *name, hone_initializer own, hone__initial *initial);
void hone__free_initials(hone_layer *layer);
/* The layer's child of that name, a dense layer made when first asked for: its size depends on the input. */
hone_layer *hone__dense_child(hone_layer *layer, const char *name, int64_t units, const hone_dense_opts *opts);

/* ---- lengths of rows: lengths.c. Nodes have them in `lengths` and `time`; dimension 0 is the batch ---- */

/* `to` has the lengths of `from`, where its shape has the same batch and as many positions, unless it has its own. */
void hone__keep_lengths(hone_node *to, const hone_node *from);
/* x's value as one of its own, with x's lengths. */
hone_node *hone__copy_of(hone_node *x);
/* counts u8 [B, T, ...] -> i32 [B]: behind the last position that has a 1. */
hone_node *hone__lengths_from(hone_node *counts);
/* Of an x with lengths: its mean, or its largest, over the positions that count, without that axis; 0 for a row without any. */
hone_node *hone__mean_of_rows(hone_node *x);
hone_node *hone__max_of_rows(hone_node *x);

/* How fast a batch norm's running statistics follow; NULL: it is another layer. */
double *hone__batch_norm_momentum(hone_layer *layer);
/* Is it, or is anything in it, a batch norm, which cannot be trained on one value? */
bool hone__has_batch_norm(const hone_layer *layer);

/* ---- functional models: functional.c, their description: describe_functional.c ---- */

struct json_t;
typedef struct hone__functional {
    hone_layer base;
    hone_graph *recipe; /* recorded with HONE_BATCH */
    hone_node **inputs, **outputs;
    int n_inputs, n_outputs;
    hone_node **made; /* [n_outputs]: what the outputs were when it was last recorded */
} hone__functional;
enum { HONE__MOST_OUTPUTS = 16 };
/* One without inputs and outputs yet. */
hone__functional *hone__functional_new(hone_graph *recipe);
/* Gives it them, which are copied, and the layers that were applied. false: error (sticky). */
bool hone__functional_close(hone__functional *f, int n_inputs, hone_node *const *inputs, int n_outputs, hone_node *const *outputs);
bool hone__is_functional(const hone_layer *layer);
/* NULL: the model is none. */
hone__functional *hone__functional_of(const hone_model *model);
/* What it is besides its children. false: told, by hone__fail_run and by hone__fail. */
bool hone__functional_to_json(const hone_layer *layer, struct json_t *json);
bool hone__functional_from_json(hone_layer *layer, const struct json_t *json); /* untrusted */

/* ---- what layers are made of, for saving and for making them again: describe.c ---- */

typedef enum hone__field_type {
    HONE__FIELD_I64,
    HONE__FIELD_INT,
    HONE__FIELD_I64X3, /* int64_t[3] */
    HONE__FIELD_SHAPE,
    HONE__FIELD_AXES,
    HONE__FIELD_F64,
    HONE__FIELD_F64_GIVEN, /* an option whose 0, the default, is left out; HONE_ZERO is written as 0 */
    HONE__FIELD_F64_ZERO, /* a double that is 0 only when one says so: always written; read, 0 becomes HONE_ZERO */
    HONE__FIELD_BOOL,
    HONE__FIELD_ACTIVATION,
    HONE__FIELD_INITIALIZER,
    HONE__FIELD_FAN,
    HONE__FIELD_DISTRIBUTION,
    HONE__FIELD_PADDING,
    HONE__FIELD_RESIZE_MODE
} hone__field_type;
/* An option in a layer's struct. A list ends with name NULL. */
typedef struct hone__field {
    const char *name;
    hone__field_type type;
    size_t offset;
} hone__field;
#define HONE__FIELD(type, name, member, kind) {name, HONE__FIELD_##kind, offsetof(type, member)}

/* A layer of the library's; layers.def lists them. */
typedef struct hone__layer_kind {
    const char *type;
    hone_layer_fn forward; /* a user's layer may have the same type, but not the same forward */
    size_t size;
    const hone__field *fields; /* NULL: no options */
    /* A new layer with the options of `like`, checked; `like` has its type and nothing beside the fields. */
    hone_layer *(*again)(hone_ctx *ctx, const hone_layer *like);
} hone__layer_kind;

/* The layers of layers.def, and the one of that type; NULL: none. */
const hone__layer_kind *const *hone__layer_kinds(size_t *count);
const hone__layer_kind *hone__find_layer_kind(const char *type);
/* The values of an enumeration by name; NULL and 0 for other types. */
const char *const *hone__field_values(hone__field_type type, int *count);

/* A new reference; NULL (not sticky but for MEMORY): UNSUPPORTED, by name, for layers that are not the library's. */
struct json_t *hone__layer_to_json(const hone_layer *layer);
/* The layer and all below it. Untrusted. NULL on error (sticky): FORMAT, or the constructor's. */
hone_layer *hone__layer_from_json(hone_ctx *ctx, const struct json_t *json);

/* ---- LoRA ---- */
typedef struct hone__lora {
    int64_t rank;
    double alpha, dropout;
} hone__lora;
static inline bool hone__is_lora(const char *local) { return !strncmp(local, "lora_", 5); }
/* Dense layers only (type "dense"); the adapter lies beside the layer's parameters as lora_A, lora_B. */
typedef struct hone__dense {
    hone_layer base;
    int64_t units;
    hone_dense_opts opts;
    hone__lora lora; /* rank 0: none */
} hone__dense;
/* x weight^T + bias and the adapter's part; bias may be NULL. */
hone_node *hone__lora_apply(hone_layer *layer, hone_graph *graph, const hone__lora *lora, hone_node *x, hone_node *w,
                            hone_node *bias);

#endif
