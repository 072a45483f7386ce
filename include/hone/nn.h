/* Hone: layers and models. Read after op.h.
 *
 * A layer is {name, parameters, children, forward}. Three ways to build, one core:
 *   Sequential:  hone_sequential(ctx, hone_dense(ctx, 10, .activation = HONE_RELU), hone_dense(ctx, 3))
 *   functional:  x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(HONE_BATCH, 4)); y = hone_apply(layer, x); ...
 *                hone_model_new(1, &x, 1, &y)
 *   Module:      a struct of your own with a hone_layer first, made by hone_module, with a forward of its own.
 * Layers learn their input sizes when they are first applied. A layer belongs to its parent, the root to its model;
 * layer handles die with the model. Parameter names are dotted paths, as in checkpoints ("layers.0.q_proj.weight").
 *
 * Constructors return NULL on error: INVALID for a size or an option that is not allowed, MEMORY. The context keeps the first one,
 * and what is given a NULL passes it on, so a whole network is checked once, where it is compiled or run. That holds for all objects
 * of the library: functions take a NULL in their place and give INVALID, NULL, NaN or 0. Whether an input fits a layer shows when
 * the layer is applied: SHAPE, DTYPE or INVALID, with the layer's dotted name. */
#ifndef HONE_NN_H
#define HONE_NN_H

#include "hone/op.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_layer hone_layer;
typedef struct hone_model hone_model;
typedef struct hone_param hone_param;

/* Records the layer's computation; returns its output, NULL on error. */
typedef hone_node *(*hone_layer_fn)(hone_layer *self, hone_graph *graph, hone_node *const *inputs, int n_inputs);

/* The head of every layer, a user's modules included. Fields are read-only but for forward, destroy, keeps_lengths, mixes_last and user. */
struct hone_layer {
    hone_ctx *ctx;
    const char *type;      /* "dense" */
    char *name;            /* its part of the dotted path */
    hone_layer_fn forward;
    void (*destroy)(hone_layer *self); /* frees what the layer holds besides itself; may be NULL */
    hone_layer *parent;    /* NULL: a root */
    hone_layer **children;
    size_t n_children, children_capacity;
    hone_param **params;
    size_t n_params, params_capacity;
    hone_model *model;     /* roots: the model that owns it */
    bool frozen;           /* parameters that it makes from now on are not trained */
    bool checkpointing;    /* hone_layer_set_checkpointing */
    bool keeps_lengths;    /* its output's positions are its first input's: their lengths hold for it (hone_lengths). Yours to set */
    bool mixes_last;       /* but not along the last axis, whose values it mixes, as a dense layer does. Yours to set */
    int required_inputs;   /* > 0: inputs from this one on may be absent (NULL) */
    hone_shape output;     /* what it gave when it was applied last */
    struct hone_initial_rule *initials; /* hone_layer_initialize */
    hone_layer *next_orphan, **orphan_link; /* layers without parent and model: the context's list of them */
    void *user;
};

/* A batch axis of a functional model's input: any size when the model runs. */
#define HONE_BATCH INT64_C(1000003)

/* ---- applying and building ------------------------------------------------------------------------------------- */

/* Records the layer on x, or on n inputs, of which some may be absent (NULL) where the layer says so; a second time shares
   its parameters. */
HONE_API hone_node *hone_apply(hone_layer *layer, hone_node *x);
HONE_API hone_node *hone_apply_n(hone_layer *layer, int n, hone_node *const *inputs);

/* In a mode of its own, whatever the graph's: Keras's layer(x, training=False), PyTorch's eval() for a part of a network. A batch
   norm then uses its running statistics and leaves them as they are, dropout passes everything on; gradients flow through. */
HONE_API hone_node *hone_apply_mode(hone_layer *layer, hone_node *x, hone_mode mode);

/* Each application of the layer becomes a segment of gradient checkpointing (hone_checkpoint_begin in graph.h), or no
   longer; default no. Plans that exist are made anew. For blocks of a deep network: the residual block, the transformer
   block. */
HONE_API void hone_layer_set_checkpointing(hone_layer *layer, bool on);

/* A zeroed layer of `size` bytes (sizeof your struct, hone_layer first), the context's until it is added to a parent or
   a model: what nobody takes dies with the context. type has static storage. */
HONE_API hone_layer *hone_layer_new(hone_ctx *ctx, size_t size, const char *type, hone_layer_fn forward);
#define hone_module(ctx, struct_type, forward)                                                               \
    ((struct_type *)(void *)hone_layer_new((ctx), sizeof(struct_type), #struct_type, (forward)))
/* Makes child a part of parent under that name (NULL: its number) and returns it. NULL child: returns NULL. */
HONE_API hone_layer *hone_layer_add(hone_layer *parent, const char *name, hone_layer *child);
/* For a layer that was never given to a parent or model, if it is to go before its context. NULL is allowed. */
HONE_API void hone_layer_free(hone_layer *layer);

/* Children in order, one's output the next one's input; named "0", "1", ... */
HONE_API hone_layer *hone_sequential_n(hone_ctx *ctx, int n, hone_layer *const *layers);
#define hone_sequential(ctx, ...)                                                                            \
    hone_sequential_n((ctx), (int)(sizeof((hone_layer *[]){__VA_ARGS__}) / sizeof(hone_layer *)),           \
                      (hone_layer *[]){__VA_ARGS__})

/* A Sequential from text, one layer after the other, with commas between:
     "conv2d 32 3 same relu, batch_norm, max_pool2d 2, flatten, dense 64 relu, dropout 0.2"
   A layer is its name and its options by the names that files of models have for them: name=value ("conv2d 32 3 stride=2",
   "max_pool2d 3 stride=2x1"). Without a name, a number is the next of those a layer begins with (a convolution's filters, then
   its kernel; a dense layer's units), a word is a value (relu, same, he_uniform) or a switch (no_bias, bidirectional). A number in
   the place of a layer is a dense layer of so many units with relu. Layers are those that hone_model_save knows.
   NULL on error (sticky): INVALID, with the layer's number and what is known there, and what the
   layers' constructors refuse. */
HONE_API hone_layer *hone_sequential_from_text(hone_ctx *ctx, const char *text);

/* x + what such layers make of x, whose shape must stay: He et al. 2016. */
HONE_API hone_layer *hone_residual_n(hone_ctx *ctx, int n, hone_layer *const *layers);
#define hone_residual(ctx, ...)                                                                              \
    hone_residual_n((ctx), (int)(sizeof((hone_layer *[]){__VA_ARGS__}) / sizeof(hone_layer *)),             \
                    (hone_layer *[]){__VA_ARGS__})

/* A part of the loss that a layer has itself: one value an example, f32 [B]. fit and evaluate add it to the loss of each example
   before they weigh it; a step of one's own adds hone_added_loss. Keras's add_loss. NULL is ignored. */
HONE_API void hone_add_loss(hone_node *losses);
/* The sum of what layers have added in this graph so far, f32 [B]; NULL: nothing. */
HONE_API hone_node *hone_added_loss(const hone_graph *graph);

/* ---- parameters ------------------------------------------------------------------------------------------------- */

typedef enum hone_initializer {
    HONE_INIT_DEFAULT,        /* the layer's own choice */
    HONE_INIT_ZEROS,
    HONE_INIT_ONES,
    HONE_INIT_NORMAL,         /* mean 0, standard deviation 0.02 */
    HONE_INIT_GLOROT_UNIFORM, /* +-sqrt(6 / (fan_in + fan_out)): Glorot and Bengio 2010; Keras's default */
    HONE_INIT_GLOROT_NORMAL,
    HONE_INIT_HE_UNIFORM,     /* +-sqrt(6 / fan_in): He et al. 2015 */
    HONE_INIT_HE_NORMAL,
    HONE_INIT_LECUN_NORMAL,   /* standard deviation 1 / sqrt(fan_in) */
    HONE_INIT_TORCH_LINEAR,   /* +-1 / sqrt(fan_in): what torch.nn.Linear does */
    HONE_INIT_LECUN_UNIFORM,  /* +-sqrt(3 / fan_in) */
    HONE_INIT_UNIFORM,        /* +-value, default 0.05 */
    HONE_INIT_TRUNCATED_NORMAL, /* standard deviation value, default 0.02; drawn again beyond two of them, as Keras does */
    HONE_INIT_CONSTANT,       /* value, default 0 */
    HONE_INIT_ORTHOGONAL,     /* as a matrix [first axis, others]: value (default 1) times one whose rows, or columns if they are
                                 fewer, are orthonormal: Q of a normal matrix: Saxe et al. 2014 */
    HONE_INIT_VARIANCE_SCALING, /* variance value / fan, default 1 / fan_in, truncated normal: Keras's VarianceScaling */
    HONE_INIT_IDENTITY,       /* value (default 1) where output i reads input i, 0 elsewhere: [out, in] as Keras's Identity and
                                 torch.nn.init.eye_; of kernels [out, in, ...] at the middle tap, as torch.nn.init.dirac_ */
    HONE_INIT_UNIT_FORGET     /* of an LSTM's bias [4 units]: value (default 1) for the forget gate, 0 for the others, so that a new
                                 LSTM keeps its state: Jozefowicz et al. 2015; Keras's unit_forget_bias */
} hone_initializer;

typedef enum hone_fan { HONE_FAN_IN, HONE_FAN_OUT, HONE_FAN_AVERAGE } hone_fan;
typedef enum hone_distribution { HONE_DISTRIBUTE_TRUNCATED_NORMAL, HONE_DISTRIBUTE_NORMAL, HONE_DISTRIBUTE_UNIFORM } hone_distribution;
typedef struct hone_init_opts {
    size_t struct_size;
    double value; /* see hone_initializer; of HONE_INIT_NORMAL the standard deviation. HONE_ZERO for 0 */
    hone_fan fan; /* of HONE_INIT_VARIANCE_SCALING; default HONE_FAN_IN */
    hone_distribution distribution; /* the same; default HONE_DISTRIBUTE_TRUNCATED_NORMAL */
} hone_init_opts;
/* How parameters of the layer and of those below it begin, instead of as their layers would have it: every one whose
   dotted name, seen from the layer, is `name` or ends in it after a dot ("bias": all of them). Holds for parameters
   that are made later, so to be called before the first run. Of several calls the last one that fits wins, a nearer
   layer's before that of one above. name is copied. INVALID (sticky) for options that are not allowed. */
HONE_API hone_status hone_layer_initialize_opt(hone_layer *layer, const char *name, hone_initializer initializer,
                                               const hone_init_opts *opts);
#define hone_layer_initialize(...)                                                                           \
    HONE_OPTS3(hone_layer_initialize_opt, hone_init_opts, __VA_ARGS__, .struct_size = sizeof(hone_init_opts))

/* The layer's parameter of that name, made on first use. Weights are [out, in, ...]: fan_in is the product of all axes
   but the first. SHAPE when an existing one has another shape. For use in a layer's forward. */
HONE_API hone_node *hone_weight(hone_layer *layer, hone_graph *graph, const char *name, hone_shape shape,
                                hone_initializer initializer);
/* The same for a state of the layer, which no optimizer trains: running statistics, counters. hone_assign(state, value) in the
   layer's forward changes it when the graph runs; applied again in the same graph, the layer finds the new value. It is a
   parameter to everything else: its name, reading and writing, files. */
HONE_API hone_node *hone_state(hone_layer *layer, hone_graph *graph, const char *name, hone_shape shape,
                               hone_initializer initializer);
/* The same parameter under the name of another layer's: one memory, one gradient (tied weights). */
HONE_API hone_node *hone_weight_of(hone_layer *other, hone_graph *graph, const char *name);

/* ---- layers -------------------------------------------------------------------------------------------------------- */

typedef struct hone_dense_opts {
    size_t struct_size;
    hone_activation activation;
    bool no_bias;
    hone_initializer initializer;      /* default HONE_INIT_GLOROT_UNIFORM */
    hone_initializer bias_initializer; /* default HONE_INIT_ZEROS */
} hone_dense_opts;
/* y = activation(x weight^T + bias): x [..., in] -> [..., units]. Parameters weight [units, in], bias [units]. */
HONE_API hone_layer *hone_dense_opt(hone_ctx *ctx, int64_t units, const hone_dense_opts *opts);
#define hone_dense(...)                                                                                      \
    HONE_OPTS2(hone_dense_opt, hone_dense_opts, __VA_ARGS__, .struct_size = sizeof(hone_dense_opts))

typedef struct hone_conv_layer_opts {
    size_t struct_size;
    hone_activation activation;
    bool no_bias;
    hone_initializer initializer;      /* default HONE_INIT_GLOROT_UNIFORM */
    hone_initializer bias_initializer; /* default HONE_INIT_ZEROS */
    int64_t kernel[3];     /* per spatial axis, where the sizes differ; entries left 0 take `kernel` */
    int64_t stride[3];     /* entries left 0 take the first one's value, which defaults to 1 */
    int64_t dilation[3];   /* the same */
    hone_padding padding;
    int64_t pad_before[3]; /* for HONE_VALID, the default; default 0 */
    int64_t pad_after[3];
    int64_t groups;        /* default 1; as many as the input has channels: depthwise */
    int64_t depth_multiplier; /* of depthwise and separable ones, below: filters of each channel; default 1 */
} hone_conv_layer_opts;
/* hone_conv over 1, 2 or 3 spatial axes: x [N, C, in...] -> [N, filters, out...]. Parameters weight [filters, C / groups,
   kernel...], bias [filters]. */
HONE_API hone_layer *hone_conv1d_opt(hone_ctx *ctx, int64_t filters, int64_t kernel, const hone_conv_layer_opts *opts);
HONE_API hone_layer *hone_conv2d_opt(hone_ctx *ctx, int64_t filters, int64_t kernel, const hone_conv_layer_opts *opts);
HONE_API hone_layer *hone_conv3d_opt(hone_ctx *ctx, int64_t filters, int64_t kernel, const hone_conv_layer_opts *opts);
#define hone_conv1d(...)                                                                                     \
    HONE_OPTS3(hone_conv1d_opt, hone_conv_layer_opts, __VA_ARGS__, .struct_size = sizeof(hone_conv_layer_opts))
#define hone_conv2d(...)                                                                                     \
    HONE_OPTS3(hone_conv2d_opt, hone_conv_layer_opts, __VA_ARGS__, .struct_size = sizeof(hone_conv_layer_opts))
#define hone_conv3d(...)                                                                                     \
    HONE_OPTS3(hone_conv3d_opt, hone_conv_layer_opts, __VA_ARGS__, .struct_size = sizeof(hone_conv_layer_opts))

/* Each channel by itself, into depth_multiplier ones: x [N, C, in...] -> [N, C depth_multiplier, out...]. Parameters weight
   [C depth_multiplier, 1, kernel...], bias [C depth_multiplier]. `groups` cannot be chosen. As keras.layers.DepthwiseConv2D. */
HONE_API hone_layer *hone_depthwise_conv1d_opt(hone_ctx *ctx, int64_t kernel, const hone_conv_layer_opts *opts);
HONE_API hone_layer *hone_depthwise_conv2d_opt(hone_ctx *ctx, int64_t kernel, const hone_conv_layer_opts *opts);
#define hone_depthwise_conv1d(...)                                                                           \
    HONE_OPTS2(hone_depthwise_conv1d_opt, hone_conv_layer_opts, __VA_ARGS__, .struct_size = sizeof(hone_conv_layer_opts))
#define hone_depthwise_conv2d(...)                                                                           \
    HONE_OPTS2(hone_depthwise_conv2d_opt, hone_conv_layer_opts, __VA_ARGS__, .struct_size = sizeof(hone_conv_layer_opts))
/* A depthwise convolution without bias, then one of kernel 1 to `filters` channels, which has the bias and the activation: layers
   depthwise and pointwise. As keras.layers.SeparableConv2D; Chollet 2017, "Xception". */
HONE_API hone_layer *hone_separable_conv1d_opt(hone_ctx *ctx, int64_t filters, int64_t kernel, const hone_conv_layer_opts *opts);
HONE_API hone_layer *hone_separable_conv2d_opt(hone_ctx *ctx, int64_t filters, int64_t kernel, const hone_conv_layer_opts *opts);
#define hone_separable_conv1d(...)                                                                           \
    HONE_OPTS3(hone_separable_conv1d_opt, hone_conv_layer_opts, __VA_ARGS__, .struct_size = sizeof(hone_conv_layer_opts))
#define hone_separable_conv2d(...)                                                                           \
    HONE_OPTS3(hone_separable_conv2d_opt, hone_conv_layer_opts, __VA_ARGS__, .struct_size = sizeof(hone_conv_layer_opts))

typedef struct hone_conv_transpose_layer_opts {
    size_t struct_size;
    hone_activation activation;
    bool no_bias;
    hone_initializer initializer; /* default HONE_INIT_GLOROT_UNIFORM; the bias starts at zero */
    int64_t kernel[3];         /* as of hone_conv_layer_opts, and so are the next two */
    int64_t stride[3];
    int64_t dilation[3];
    hone_padding padding;      /* as of hone_conv_transpose_opts, and so is what follows */
    int64_t pad_before[3];
    int64_t pad_after[3];
    int64_t output_padding[3];
    int64_t groups;
} hone_conv_transpose_layer_opts;
/* hone_conv_transpose over 1, 2 or 3 spatial axes: x [N, C, in...] -> [N, filters, out...]. Parameters weight [C, filters / groups,
   kernel...], bias [filters]. */
HONE_API hone_layer *hone_conv_transpose1d_opt(hone_ctx *ctx, int64_t filters, int64_t kernel,
                                               const hone_conv_transpose_layer_opts *opts);
HONE_API hone_layer *hone_conv_transpose2d_opt(hone_ctx *ctx, int64_t filters, int64_t kernel,
                                               const hone_conv_transpose_layer_opts *opts);
HONE_API hone_layer *hone_conv_transpose3d_opt(hone_ctx *ctx, int64_t filters, int64_t kernel,
                                               const hone_conv_transpose_layer_opts *opts);
#define hone_conv_transpose1d(...)                                                                           \
    HONE_OPTS3(hone_conv_transpose1d_opt, hone_conv_transpose_layer_opts, __VA_ARGS__,                       \
               .struct_size = sizeof(hone_conv_transpose_layer_opts))
#define hone_conv_transpose2d(...)                                                                           \
    HONE_OPTS3(hone_conv_transpose2d_opt, hone_conv_transpose_layer_opts, __VA_ARGS__,                       \
               .struct_size = sizeof(hone_conv_transpose_layer_opts))
#define hone_conv_transpose3d(...)                                                                           \
    HONE_OPTS3(hone_conv_transpose3d_opt, hone_conv_transpose_layer_opts, __VA_ARGS__,                       \
               .struct_size = sizeof(hone_conv_transpose_layer_opts))

/* hone_max_pool and hone_average_pool with windows of `kernel` along each of 1, 2 or 3 spatial axes: [N, C, in...] ->
   [N, C, out...]. The stride defaults to the kernel. */
HONE_API hone_layer *hone_max_pool1d_opt(hone_ctx *ctx, int64_t kernel, const hone_pool_opts *opts);
HONE_API hone_layer *hone_max_pool2d_opt(hone_ctx *ctx, int64_t kernel, const hone_pool_opts *opts);
HONE_API hone_layer *hone_max_pool3d_opt(hone_ctx *ctx, int64_t kernel, const hone_pool_opts *opts);
HONE_API hone_layer *hone_average_pool1d_opt(hone_ctx *ctx, int64_t kernel, const hone_pool_opts *opts);
HONE_API hone_layer *hone_average_pool2d_opt(hone_ctx *ctx, int64_t kernel, const hone_pool_opts *opts);
HONE_API hone_layer *hone_average_pool3d_opt(hone_ctx *ctx, int64_t kernel, const hone_pool_opts *opts);
#define hone_max_pool1d(...)                                                                                 \
    HONE_OPTS2(hone_max_pool1d_opt, hone_pool_opts, __VA_ARGS__, .struct_size = sizeof(hone_pool_opts))
#define hone_max_pool2d(...)                                                                                 \
    HONE_OPTS2(hone_max_pool2d_opt, hone_pool_opts, __VA_ARGS__, .struct_size = sizeof(hone_pool_opts))
#define hone_max_pool3d(...)                                                                                 \
    HONE_OPTS2(hone_max_pool3d_opt, hone_pool_opts, __VA_ARGS__, .struct_size = sizeof(hone_pool_opts))
#define hone_average_pool1d(...)                                                                             \
    HONE_OPTS2(hone_average_pool1d_opt, hone_pool_opts, __VA_ARGS__, .struct_size = sizeof(hone_pool_opts))
#define hone_average_pool2d(...)                                                                             \
    HONE_OPTS2(hone_average_pool2d_opt, hone_pool_opts, __VA_ARGS__, .struct_size = sizeof(hone_pool_opts))
#define hone_average_pool3d(...)                                                                             \
    HONE_OPTS2(hone_average_pool3d_opt, hone_pool_opts, __VA_ARGS__, .struct_size = sizeof(hone_pool_opts))
/* The largest, or the mean, of each channel: [N, C, in...] -> [N, C]. */
HONE_API hone_layer *hone_global_max_pool(hone_ctx *ctx);
HONE_API hone_layer *hone_global_average_pool(hone_ctx *ctx);

/* x [N, C, in...] with 1 to 3 spatial axes, each `factor` times as long: factors for each axis, or one for all. hone_resize with
   HONE_RESIZE_NEAREST or, linear, HONE_RESIZE_LINEAR. */
HONE_API hone_layer *hone_upsampling(hone_ctx *ctx, hone_shape factors, bool linear);
/* hone_resize of x [N, C, in...] -> [N, C, out...]: to sizes, or by scales. INVALID: neither of the two, or both. */
HONE_API hone_layer *hone_resize_layer_opt(hone_ctx *ctx, const hone_resize_opts *opts);
#define hone_resize_layer(...) HONE_OPTS1(hone_resize_layer_opt, hone_resize_opts, __VA_ARGS__, .struct_size = sizeof(hone_resize_opts))
/* [N, C, in...] with 1 to 3 spatial axes -> [N, C, sizes...] (one size: for all axes): position o is the mean, or the largest, of
   [o in / out, (o + 1) in / out), rounded outwards, as in PyTorch (the mean is hone_resize's HONE_RESIZE_AREA). */
HONE_API hone_layer *hone_adaptive_average_pool(hone_ctx *ctx, hone_shape sizes);
HONE_API hone_layer *hone_adaptive_max_pool(hone_ctx *ctx, hone_shape sizes);

typedef struct hone_embedding_opts {
    size_t struct_size;
    hone_initializer initializer; /* default HONE_INIT_NORMAL */
    bool padding;          /* the id padding_index stands for nothing: zeros, and no gradient for its row */
    int64_t padding_index; /* default 0 */
    bool mask_zero;        /* ids [B, T] end in padding, the id padding_index: the layers behind know each row's length (hone_lengths) */
} hone_embedding_opts;
/* ids [...] (integers in [0, vocabulary)) -> [..., size]. Parameter weight [vocabulary, size]; regularizers and constraints of its
   rows are a group of the optimizer (optim.h). As keras.layers.Embedding. */
HONE_API hone_layer *hone_embedding_layer_opt(hone_ctx *ctx, int64_t vocabulary, int64_t size,
                                              const hone_embedding_opts *opts);
#define hone_embedding_layer(...)                                                                            \
    HONE_OPTS3(hone_embedding_layer_opt, hone_embedding_opts, __VA_ARGS__, .struct_size = sizeof(hone_embedding_opts))

/* x [B, T, ...] with what lies behind the last position of a row that has another value than mask_value anywhere as 0: that position is
   the row's end, which the layers behind know (hone_lengths). As keras.layers.Masking, but for positions in front of the end. */
HONE_API hone_layer *hone_masking(hone_ctx *ctx, double mask_value);
/* How many positions of each row of x count, i32 [B], where a layer found that out (hone_embedding_layer with mask_zero, hone_masking);
   NULL: not known, all count. Keras's masks, for padding at the end of rows: padding in front or between counts like all else. Lengths go
   from layer to layer, in a Sequential, in a functional model and in a forward of one's own, as long as positions are what they were:
   through dense layers, norms, dropout, activations, positions, attention, transformer layers, recurrent layers with all steps, sums and
   their kin, hone_residual; hone_permute_layer turns them along; convolutions, other pooling, reshaping and what is no layer forget them.
   Who uses them:
     recurrent layers       as lengths of hone_recurrent_apply
     attention, encoders    keys behind the end are not seen; of a decoder its memory's as well
     global pooling         of [B, channels, T] the mean, or the largest, of the positions that count; 0 if none does
     hone_compile's losses  of an output [B, T, ...] an example's loss, and its share of right answers, are the mean over its own
                            positions that count (Keras weighs all positions of a batch alike); CTC takes them as output_lengths; the
                            Dice losses and other metrics see all positions
   Lengths that a layer is given as an input come first. A functional model whose layers are given this node runs, but cannot be saved. */
HONE_API hone_node *hone_lengths(const hone_node *x);

typedef struct hone_norm_opts {
    size_t struct_size;
    double epsilon; /* default 1e-5 */
    bool no_bias;
    int axes;       /* so many of the last axes are one; default 1. The parameters have their shape */
} hone_norm_opts;
/* Over the last axis: (x - mean) / sqrt(variance + epsilon) * weight + bias: Ba et al. 2016. */
HONE_API hone_layer *hone_layer_norm_layer_opt(hone_ctx *ctx, const hone_norm_opts *opts);
#define hone_layer_norm_layer(...)                                                                           \
    HONE_OPTS1(hone_layer_norm_layer_opt, hone_norm_opts, __VA_ARGS__, .struct_size = sizeof(hone_norm_opts))
/* Over the last axis: x / sqrt(mean(x^2) + epsilon) * weight: Zhang and Sennrich 2019. */
HONE_API hone_layer *hone_rms_norm_layer_opt(hone_ctx *ctx, const hone_norm_opts *opts);
#define hone_rms_norm_layer(...)                                                                             \
    HONE_OPTS1(hone_rms_norm_layer_opt, hone_norm_opts, __VA_ARGS__, .struct_size = sizeof(hone_norm_opts))

typedef struct hone_batch_norm_opts {
    size_t struct_size;
    double epsilon;   /* default 1e-5 */
    double momentum;  /* the share of the batch in the running statistics; default 0.1 (PyTorch's; 1 - 0.1 is what Keras calls so);
                         HONE_ZERO: they stay */
    bool no_affine;   /* no weight and bias */
} hone_batch_norm_opts;
/* hone_batch_norm of x [N, C, ...] with up to 3 spatial axes. In training by the batch's own mean and variance, which move the
   states running_mean and running_var [C] (the latter by the unbiased variance), at first 0 and 1, by `momentum`; in evaluation by
   those states. Parameters weight, bias [C]. A training batch needs more than one value a channel. */
HONE_API hone_layer *hone_batch_norm_layer_opt(hone_ctx *ctx, const hone_batch_norm_opts *opts);
#define hone_batch_norm_layer(...)                                                                           \
    HONE_OPTS1(hone_batch_norm_layer_opt, hone_batch_norm_opts, __VA_ARGS__, .struct_size = sizeof(hone_batch_norm_opts))

typedef struct hone_group_norm_opts {
    size_t struct_size;
    double epsilon; /* default 1e-5 */
    bool no_affine; /* no weight and bias; instance norm in PyTorch has none, here it has */
} hone_group_norm_opts;
/* hone_group_norm and hone_instance_norm of x [N, C, ...] with up to 3 spatial axes. Parameters weight, bias [C]. */
HONE_API hone_layer *hone_group_norm_layer_opt(hone_ctx *ctx, int64_t groups, const hone_group_norm_opts *opts);
#define hone_group_norm_layer(...)                                                                           \
    HONE_OPTS2(hone_group_norm_layer_opt, hone_group_norm_opts, __VA_ARGS__, .struct_size = sizeof(hone_group_norm_opts))
HONE_API hone_layer *hone_instance_norm_layer_opt(hone_ctx *ctx, const hone_group_norm_opts *opts);
#define hone_instance_norm_layer(...)                                                                        \
    HONE_OPTS1(hone_instance_norm_layer_opt, hone_group_norm_opts, __VA_ARGS__, .struct_size = sizeof(hone_group_norm_opts))

/* In training mode zeroes a share `rate` in [0, 1) of the elements and scales the others by 1 / (1 - rate). */
HONE_API hone_layer *hone_dropout_layer(hone_ctx *ctx, double rate);
/* hone_activate with the same options: hone_activation_layer(ctx, HONE_SOFT_SHRINK, .a = 0.1). */
HONE_API hone_layer *hone_activation_layer_opt(hone_ctx *ctx, hone_activation activation, const hone_activation_opts *opts);
#define hone_activation_layer(...)                                                                           \
    HONE_OPTS2(hone_activation_layer_opt, hone_activation_opts, __VA_ARGS__, .struct_size = sizeof(hone_activation_opts))
/* hone_glu along axis; 0, which is the batch's, stands for the last one. As torch.nn.GLU. */
HONE_API hone_layer *hone_glu_layer(hone_ctx *ctx, int axis);
/* hone_leaky_relu; slope 0: 0.01, HONE_ZERO: 0. And hone_elu; alpha 0: 1, HONE_ZERO: 0. */
HONE_API hone_layer *hone_leaky_relu_layer(hone_ctx *ctx, double slope);
HONE_API hone_layer *hone_elu_layer(hone_ctx *ctx, double alpha);
/* x [B, ...] as it is; adds l1 sum |x| + l2 sum x^2 of each example to its loss (hone_add_loss): an activity regularizer, Keras's
   ActivityRegularization. (Regularizers of weights: groups of an optimizer, optim.h.) */
HONE_API hone_layer *hone_activity_regularization(hone_ctx *ctx, double l1, double l2);
/* [B, ...] -> [B, product of the others] */
HONE_API hone_layer *hone_flatten(hone_ctx *ctx);

/* Shapes are without the batch axis, as in Keras: [B, ...] -> [B, shape...], one of which may be -1; and axis i of the result is axis
   order.axis[i - 1] of the input, counted from 1. */
HONE_API hone_layer *hone_reshape_layer(hone_ctx *ctx, hone_shape shape);
HONE_API hone_layer *hone_permute_layer(hone_ctx *ctx, hone_axes order);
/* Zeros around the spatial axes of x [N, C, in...], or what is cut off there: as many entries as there are such axes. */
HONE_API hone_layer *hone_zero_padding(hone_ctx *ctx, hone_shape before, hone_shape after);
HONE_API hone_layer *hone_cropping(hone_ctx *ctx, hone_shape before, hone_shape after);
/* In training mode zeroes whole channels of x [N, C, ...], a share `rate` in [0, 1), and scales the others by 1 / (1 - rate):
   Tompson et al. 2015. */
HONE_API hone_layer *hone_spatial_dropout(hone_ctx *ctx, double rate);
/* x > 0 ? x : weight x, a weight [C] for each channel of x [N, C, ...], at first 0 as in Keras: He et al. 2015. */
HONE_API hone_layer *hone_prelu(hone_ctx *ctx);
/* Of several inputs (hone_apply_n): along an axis; their sum, product, mean, maximum, minimum (broadcast); of two the difference. */
HONE_API hone_layer *hone_concatenate_layer(hone_ctx *ctx, int axis);
HONE_API hone_layer *hone_add_layer(hone_ctx *ctx);
HONE_API hone_layer *hone_multiply_layer(hone_ctx *ctx);
HONE_API hone_layer *hone_average_layer(hone_ctx *ctx);
HONE_API hone_layer *hone_maximum_layer(hone_ctx *ctx);
HONE_API hone_layer *hone_minimum_layer(hone_ctx *ctx);
HONE_API hone_layer *hone_subtract_layer(hone_ctx *ctx);
/* Of two inputs a [B, ...] and b [B, ...]: sums of products over one axis of each, HONE_AXES(of_a, of_b), or HONE_AXES(of_both); what
   other axes they have follow each other: [B, those of a, those of b], [B, 1] without any. The batch's axis is 0 and cannot be
   summed over; axes below 0 count from the end. normalize: of vectors divided by their L2 norms (at least 1e-7), so that it is the
   cosine. As keras.layers.Dot. */
HONE_API hone_layer *hone_dot_layer(hone_ctx *ctx, hone_axes axes, bool normalize);
/* A function of yours as a layer without parameters: records ops on its inputs and returns a node, or NULL after an error. A model
   that has one cannot be saved as a whole (hone_model_save): its weights can. */
typedef hone_node *(*hone_lambda_fn)(void *user, hone_graph *graph, hone_node *const *inputs, int n_inputs);
HONE_API hone_layer *hone_lambda(hone_ctx *ctx, hone_lambda_fn fn, void *user);

/* ---- transformers: Vaswani et al. 2017, "Attention Is All You Need" ---------------------------------------------------- */

typedef struct hone_multi_head_attention_opts {
    size_t struct_size;
    int64_t kv_heads;  /* default: heads. Fewer: grouped-query attention (Ainslie et al. 2023) */
    int64_t head_size; /* default: features / heads */
    bool causal;
    bool no_bias;
    double rope_theta; /* > 0: rotary positions 0, 1, ... of queries and of keys (Su et al. 2021) */
    double dropout;    /* of the weights, rate in [0, 1); default 0 */
} hone_multi_head_attention_opts;
/* softmax(q k^T / sqrt(head_size)) v a head, as torch.nn.MultiheadAttention with batch_first. Inputs, absent ones NULL:
     query [B, Tq, features]
     key [B, Tk, ...]; default: the query (self-attention)
     value [B, Tk, ...]; default: the key
     mask, broadcast to [B, heads, Tq, Tk]: of hone_attention. A key padding mask is [B, 1, 1, Tk]
     lengths i32 [B]: keys from lengths[b] on are padding; faster than a mask that says the same
   -> [B, Tq, features]. A query that sees no key gives what o_proj makes of zeros. Parameters: those of dense layers q_proj,
   k_proj, v_proj, o_proj, which PyTorch calls in_proj (the first three in one) and out_proj. */
HONE_API hone_layer *hone_multi_head_attention_opt(hone_ctx *ctx, int64_t heads, const hone_multi_head_attention_opts *opts);
#define hone_multi_head_attention(...)                                                                       \
    HONE_OPTS2(hone_multi_head_attention_opt, hone_multi_head_attention_opts, __VA_ARGS__,                  \
               .struct_size = sizeof(hone_multi_head_attention_opts))
/* The same layer; its name where it has one input. */
HONE_API hone_layer *hone_self_attention_opt(hone_ctx *ctx, int64_t heads, const hone_multi_head_attention_opts *opts);
#define hone_self_attention(...)                                                                             \
    HONE_OPTS2(hone_self_attention_opt, hone_multi_head_attention_opts, __VA_ARGS__,                        \
               .struct_size = sizeof(hone_multi_head_attention_opts))

typedef struct hone_transformer_opts {
    size_t struct_size;
    hone_activation activation; /* of the feed-forward network; default HONE_RELU */
    bool swiglu;       /* instead: linear2(silu(gate x) * linear1 x), a dense layer `gate` more (Shazeer 2020) */
    double dropout;    /* of attention's weights, within the feed-forward network and before each sum; default 0 */
    bool pre_norm;     /* x + f(norm(x)) (Xiong et al. 2020); default norm(x + f(x)), as in the paper */
    bool causal;       /* an encoder's positions don't look ahead (a decoder's never do) */
    bool no_bias;      /* of the dense layers and norms */
    double epsilon;    /* of the norms; default 1e-5 */
    int64_t kv_heads;  /* as for attention */
    double rope_theta; /* of the self-attention */
} hone_transformer_opts;
/* Self-attention and a feed-forward network of that many hidden units, each in a residual sum with its norm, as
   torch.nn.TransformerEncoderLayer with batch_first. Inputs: x [B, T, features], mask, lengths (of hone_multi_head_attention;
   may be NULL) -> [B, T, features]. Layers self_attn, linear1, linear2, norm1, norm2. */
HONE_API hone_layer *hone_transformer_encoder_layer_opt(hone_ctx *ctx, int64_t heads, int64_t feed_forward,
                                                        const hone_transformer_opts *opts);
#define hone_transformer_encoder_layer(...)                                                                  \
    HONE_OPTS3(hone_transformer_encoder_layer_opt, hone_transformer_opts, __VA_ARGS__, .struct_size = sizeof(hone_transformer_opts))
/* Causal self-attention, attention to a memory, a feed-forward network, as torch.nn.TransformerDecoderLayer. Inputs: x [B, T,
   features], memory [B, S, ...], and, NULL if absent, memory mask [broadcast to B, heads, T, S], memory lengths i32 [B], mask and
   lengths of x -> [B, T, features]. Layers self_attn, multihead_attn, linear1, linear2, norm1, norm2, norm3. */
HONE_API hone_layer *hone_transformer_decoder_layer_opt(hone_ctx *ctx, int64_t heads, int64_t feed_forward,
                                                        const hone_transformer_opts *opts);
#define hone_transformer_decoder_layer(...)                                                                  \
    HONE_OPTS3(hone_transformer_decoder_layer_opt, hone_transformer_opts, __VA_ARGS__, .struct_size = sizeof(hone_transformer_opts))
/* So many of these layers, one's output the next one's x, and with pre_norm a last norm: layers.0, layers.1, ..., norm. */
HONE_API hone_layer *hone_transformer_encoder_opt(hone_ctx *ctx, int64_t layers, int64_t heads, int64_t feed_forward,
                                                  const hone_transformer_opts *opts);
#define hone_transformer_encoder(...)                                                                        \
    HONE_OPTS4(hone_transformer_encoder_opt, hone_transformer_opts, __VA_ARGS__, .struct_size = sizeof(hone_transformer_opts))
HONE_API hone_layer *hone_transformer_decoder_opt(hone_ctx *ctx, int64_t layers, int64_t heads, int64_t feed_forward,
                                                  const hone_transformer_opts *opts);
#define hone_transformer_decoder(...)                                                                        \
    HONE_OPTS4(hone_transformer_decoder_opt, hone_transformer_opts, __VA_ARGS__, .struct_size = sizeof(hone_transformer_opts))

/* x [..., T, features] + e, e[t, 2 i] = sin(t / 10000^(2 i / features)), e[t, 2 i + 1] = cos of the same: section 3.5. */
HONE_API hone_layer *hone_sinusoidal_positions(hone_ctx *ctx);
typedef struct hone_positions_opts {
    size_t struct_size;
    hone_initializer initializer; /* default HONE_INIT_NORMAL */
} hone_positions_opts;
/* x [..., T, features] + the first T rows of the parameter weight [length, features]. T must not be above length. */
HONE_API hone_layer *hone_learned_positions_opt(hone_ctx *ctx, int64_t length, const hone_positions_opts *opts);
#define hone_learned_positions(...)                                                                          \
    HONE_OPTS2(hone_learned_positions_opt, hone_positions_opts, __VA_ARGS__, .struct_size = sizeof(hone_positions_opts))

/* ---- recurrent layers ---- */

typedef struct hone_recurrent_opts {
    size_t struct_size;
    int layers;             /* default 1: one on the other */
    bool bidirectional;     /* a second one reads from the end; features [forward, backward] */
    bool return_sequences;  /* all steps: [B, T, units]; default the last one: [B, units] */
    bool no_bias;
    hone_activation activation; /* of hone_rnn and hone_rnn_cell: HONE_TANH, the default, or HONE_RELU */
    double dropout;             /* in training, between layers; in [0, 1) */
    double recurrent_dropout;   /* in training, on the state that the gates read, one mask for all steps: Gal and Ghahramani 2016 */
    hone_initializer initializer;           /* of weight_ih; default HONE_INIT_GLOROT_UNIFORM, as in Keras */
    hone_initializer recurrent_initializer; /* of weight_hh; default HONE_INIT_TORCH_LINEAR, +-1 / sqrt(units), which PyTorch draws all
                                               of a layer from. Keras's is HONE_INIT_ORTHOGONAL */
    hone_initializer bias_initializer;      /* of bias_ih; default HONE_INIT_ZEROS, which bias_hh always starts with: what counts is
                                               their sum. HONE_INIT_UNIT_FORGET (LSTM alone) is Keras's unit_forget_bias, its default */
} hone_recurrent_opts;
/* x [B, T, in] -> [B, units], or all steps; twice the features when bidirectional. With PyTorch's formulas and order of
   gates, W x = weight_ih x + bias_ih and U h = weight_hh h + bias_hh:
     rnn   h' = tanh(W x + U h), or relu: Elman 1990
     gru   r = sigmoid(Wr x + Ur h), z = sigmoid(Wz x + Uz h), n = tanh(Wn x + r Un h), h' = (1 - z) n + z h: Cho et al. 2014
     lstm  i, f, o = sigmoid(W x + U h), g = tanh(Wg x + Ug h), c' = f c + i g, h' = o tanh(c'); order i, f, g, o: Hochreiter
           and Schmidhuber 1997
   Parameters of layer k, gates 1, 3 or 4: weight_ih_lk [gates units, in], weight_hh_lk [gates units, units], bias_ih_lk and
   bias_hh_lk [gates units]; those of the second direction end in _reverse. */
HONE_API hone_layer *hone_rnn_opt(hone_ctx *ctx, int64_t units, const hone_recurrent_opts *opts);
HONE_API hone_layer *hone_gru_opt(hone_ctx *ctx, int64_t units, const hone_recurrent_opts *opts);
HONE_API hone_layer *hone_lstm_opt(hone_ctx *ctx, int64_t units, const hone_recurrent_opts *opts);
#define hone_rnn(...)                                                                                        \
    HONE_OPTS2(hone_rnn_opt, hone_recurrent_opts, __VA_ARGS__, .struct_size = sizeof(hone_recurrent_opts))
#define hone_gru(...)                                                                                        \
    HONE_OPTS2(hone_gru_opt, hone_recurrent_opts, __VA_ARGS__, .struct_size = sizeof(hone_recurrent_opts))
#define hone_lstm(...)                                                                                       \
    HONE_OPTS2(hone_lstm_opt, hone_recurrent_opts, __VA_ARGS__, .struct_size = sizeof(hone_recurrent_opts))
/* One step: x [B, in] -> h [B, units]. Parameters weight_ih, weight_hh, bias_ih, bias_hh. Options of several layers, directions
   or steps are refused. */
HONE_API hone_layer *hone_rnn_cell_opt(hone_ctx *ctx, int64_t units, const hone_recurrent_opts *opts);
HONE_API hone_layer *hone_gru_cell_opt(hone_ctx *ctx, int64_t units, const hone_recurrent_opts *opts);
HONE_API hone_layer *hone_lstm_cell_opt(hone_ctx *ctx, int64_t units, const hone_recurrent_opts *opts);
#define hone_rnn_cell(...)                                                                                   \
    HONE_OPTS2(hone_rnn_cell_opt, hone_recurrent_opts, __VA_ARGS__, .struct_size = sizeof(hone_recurrent_opts))
#define hone_gru_cell(...)                                                                                   \
    HONE_OPTS2(hone_gru_cell_opt, hone_recurrent_opts, __VA_ARGS__, .struct_size = sizeof(hone_recurrent_opts))
#define hone_lstm_cell(...)                                                                                  \
    HONE_OPTS2(hone_lstm_cell_opt, hone_recurrent_opts, __VA_ARGS__, .struct_size = sizeof(hone_recurrent_opts))

typedef struct hone_recurrent_states {
    size_t struct_size;
    hone_node *lengths; /* integers [B] in [0, T], layers only: the steps of each row that count. Later outputs are 0, the state
                           stays, and the second direction begins at the row's end, as with PyTorch's pack_padded_sequence */
    hone_node *h, *c;   /* the states before the first step; default 0. [layers x directions, B, units], of a cell [B, units]; c of
                           an LSTM alone */
    hone_node **h_after, **c_after; /* where to put the states after the last step, of the same shapes; NULL: nowhere */
} hone_recurrent_states;
/* Applies a recurrent layer or cell with states of your own: hone_recurrent_apply(lstm, x, .h = h, .c = c, .h_after = &h). For
   functions and the forward of a Module; a functional model may read the output alone. hone_apply_n takes the same inputs behind
   x: lengths, h, c. */
HONE_API hone_node *hone_recurrent_apply_opt(hone_layer *layer, hone_node *x, const hone_recurrent_states *states);
#define hone_recurrent_apply(...)                                                                            \
    HONE_OPTS2(hone_recurrent_apply_opt, hone_recurrent_states, __VA_ARGS__, .struct_size = sizeof(hone_recurrent_states))

/* ---- models --------------------------------------------------------------------------------------------------------- */

/* A model over a layer, which it owns from now on (also when this fails); owned by the caller. */
HONE_API hone_model *hone_model_of(hone_layer *root);
/* Closes a functional graph: from inputs[] (made by hone_input with a HONE_BATCH axis) to outputs[], of which there may be 16.
   hone_fit_many and its kin (train.h) train models of several. NULL on error (sticky): INVALID. */
HONE_API hone_model *hone_model_new(int n_inputs, hone_node *const *inputs, int n_outputs, hone_node *const *outputs);
HONE_API hone_model *hone_model_retain(hone_model *model);
HONE_API void hone_model_release(hone_model *model);
HONE_API hone_ctx *hone_model_ctx(const hone_model *model);
HONE_API hone_layer *hone_model_root(hone_model *model);
HONE_API int hone_model_output_count(const hone_model *model); /* 1 but for functional models */
/* Records the model on n_inputs inputs, for functions of one's own; its outputs, all of them, into outputs[n_outputs]. (hone_apply_n
   of the root of a model of several outputs gives the first.) Errors stick: INVALID for another number of outputs, and what its
   layers refuse. */
HONE_API hone_status hone_model_apply(hone_model *model, int n_inputs, hone_node *const *inputs, int n_outputs, hone_node **outputs);
/* Gives every parameter known so far its memory and first values; runs do it by themselves. */
HONE_API hone_status hone_model_build(hone_model *model);
/* The same after recording the model once on one input of that dtype and shape (batch axis included, any size), so that its
   layers know their sizes and make their parameters: Keras's model.build. Errors stick, as in building. */
HONE_API hone_status hone_model_build_for(hone_model *model, hone_dtype dtype, hone_shape input);

/* The model as a table, one layer a line, those within another indented: output shape, parameters, multiply-adds of a run (matrix
   products and convolutions), and memory in KB of 1,000 bytes: of its parameters and of the values that a run computes in it, which a
   training step keeps (most of them) and a run alone gives back for the next ones; then the sums, and the most scratch that one kernel
   needs beside them. For one input of that dtype and
   shape, batch first (a functional model of several inputs knows theirs: of input it takes the batch, and dtype says nothing);
   parameters are made if there are none yet. The caller frees it with hone_free_text. NULL on error (sticky):
   what the layers refuse, MEMORY. */
HONE_API char *hone_summary(hone_model *model, hone_dtype dtype, hone_shape input);

/* Parameters in order; known once the model has run or been built. Tied ones count once. */
HONE_API size_t hone_model_param_count(const hone_model *model);
HONE_API hone_param *hone_model_param(const hone_model *model, size_t i);
HONE_API hone_param *hone_model_find_param(const hone_model *model, const char *name); /* NULL: none */
HONE_API const char *hone_param_name(const hone_param *param);
HONE_API hone_shape hone_param_shape(const hone_param *param);
HONE_API hone_dtype hone_param_dtype(const hone_param *param); /* as it is stored */
HONE_API bool hone_param_trainable(const hone_param *param);
/* Values as f32, whatever the storage; count must be the number of elements. Writing needs f32 storage. */
HONE_API hone_status hone_param_read(const hone_param *param, int64_t count, float *values);
HONE_API hone_status hone_param_write(hone_param *param, int64_t count, const float *values);
/* The gradient of the last step; zeros before the first. */
HONE_API hone_status hone_param_read_gradient(const hone_param *param, int64_t count, float *values);
/* Frozen parameters get no gradient and stay as they are; what matches: a prefix of the dotted name ("" is all). Must
   be called before the first training step (freezing later too; unfreezing only what has f32 memory of its own). */
HONE_API hone_status hone_model_set_trainable(hone_model *model, const char *prefix, bool trainable);

/* ---- training steps of one's own: several losses, models that learn from each other --------------------------------------- */

/* In the forward of a hone_function: when it runs, the gradient of loss (one element) with respect to each trained parameter of
   the model is left with the model, for hone_optimizer_step (optim.h); zeros where loss does not depend on it. PyTorch's
   loss.backward(inputs=model.parameters()) after zero_grad. Other models on the way are differentiated through, and keep the
   gradients that they have. Several calls of one function for the same model add up; .micro_batch of hone_function_call adds up
   runs. So a step of training two networks against each other is two functions, each followed by its own optimizer:
     static void discriminator(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
     {
         out[0] = hone_add(real(hone_apply(d, in[0])), fake(hone_apply(d, hone_apply(g, in[1]))));
         hone_backward(out[0], d_model);
     }
   Errors stick, as in building: UNSUPPORTED as of hone_grad, STATE in an eager graph. */
HONE_API hone_status hone_backward(hone_node *loss, hone_model *model);

/* ---- LoRA: Hu et al. 2021. W x + (alpha / rank) B A dropout(x), W frozen ---------------------------------------------- */

typedef struct hone_lora_opts {
    size_t struct_size;
    int64_t rank;   /* default 16 */
    double alpha;   /* default 32 */
    double dropout; /* default 0 */
    const char *targets; /* comma-separated last parts of dense layers' names; "all" (default): every dense layer but the head */
} hone_lora_opts;
/* Adds adapters to the model's dense layers and freezes everything else. A starts uniform +-1/sqrt(in), B zero (as
   PEFT). NOT_FOUND when a target matches no layer. */
HONE_API hone_status hone_model_add_lora_opt(hone_model *model, const hone_lora_opts *opts);
#define hone_model_add_lora(...)                                                                             \
    HONE_OPTS1(hone_model_add_lora_opt, hone_lora_opts, __VA_ARGS__, .struct_size = sizeof(hone_lora_opts))

#ifdef __cplusplus
}
#endif
#endif
