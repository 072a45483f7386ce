/* Hone: the ops that a forward function calls. Read after graph.h.
 *
 * Each appends a node to the graph of its inputs, or returns NULL (the context says why; NULL inputs are passed on).
 * Real inputs are f32 or f64, all of one type. Shapes broadcast as in NumPy where it says "broadcast". */
#ifndef HONE_OP_H
#define HONE_OP_H

#include "hone/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* x as another dtype: f32, f64, bf16, i32, i64 or u8; float to integer truncates towards zero. */
HONE_API hone_node *hone_cast(hone_node *x, hone_dtype dtype);

/* ---- matrix products ---- */

typedef struct hone_matmul_opts {
    size_t struct_size;
    bool transpose_a, transpose_b; /* swap the last two axes of that input */
} hone_matmul_opts;
/* a [..., M, K] b [..., K, N] -> [..., M, N]; leading axes broadcast. Computed in the function's compute dtype with f32
   accumulation. */
HONE_API hone_node *hone_matmul_opt(hone_node *a, hone_node *b, const hone_matmul_opts *opts);
#define hone_matmul(...)                                                                                     \
    HONE_OPTS2(hone_matmul_opt, hone_matmul_opts, __VA_ARGS__, .struct_size = sizeof(hone_matmul_opts))

/* Activations that a layer applies to its output. Those with numbers a, b (hone_activation_opts) name them with their defaults. */
typedef enum hone_activation {
    HONE_NO_ACTIVATION,
    HONE_RELU,
    HONE_SIGMOID,
    HONE_TANH,
    HONE_GELU,
    HONE_GELU_TANH,
    HONE_SILU,
    HONE_SOFTPLUS,   /* log(1 + e^(a x)) / a, or x where a x > b: beta 1, threshold 20 */
    HONE_LEAKY_RELU, /* slope a = 0.01 */
    HONE_SOFTMAX,    /* over the last axis */
    HONE_ELU,        /* alpha a = 1 */
    HONE_SELU,
    HONE_CELU,       /* alpha a = 1 */
    HONE_SOFTSIGN,
    HONE_HARD_SIGMOID,
    HONE_HARD_SWISH,
    HONE_HARD_TANH,  /* clamped to [a, b] = [-1, 1] */
    HONE_MISH,
    HONE_RELU6,      /* clamped to [0, 6] */
    HONE_LOG_SIGMOID,
    HONE_LOG_SOFTMAX, /* over the last axis */
    HONE_EXPONENTIAL,
    HONE_TANH_SHRINK, /* x - tanh(x) */
    HONE_SOFT_SHRINK, /* x - a, 0, x + a: towards 0 by lambda a = 0.5 */
    HONE_HARD_SHRINK, /* |x| > a ? x : 0, lambda a = 0.5 */
    HONE_SOFTMIN,     /* softmax(-x) over the last axis */
    HONE_SQUAREPLUS,  /* (x + sqrt(x^2 + a)) / 2, a = 4: Barron, 2021 */
    HONE_THRESHOLD,   /* x > a ? x : b, both 0 */
    HONE_RRELU        /* x > 0 ? x : s x; in training each element's s is drawn from [a, b) = [1/8, 1/3), as hone_dropout draws, in
                         evaluation it is (a + b) / 2: Xu et al., 2015. In a functional model as a layer, which is told the mode */
} hone_activation;
typedef struct hone_activation_opts {
    size_t struct_size;
    double a, b; /* 0: the activation's default, HONE_ZERO: 0; in the order of PyTorch's arguments */
} hone_activation_opts;
/* y = activation(x). INVALID for numbers that the activation does not take: any of one that names none, a beta of HONE_SOFTPLUS or an
   alpha of HONE_CELU of 0, bounds the wrong way round, a negative lambda. */
HONE_API hone_node *hone_activate_opt(hone_node *x, hone_activation activation, const hone_activation_opts *opts);
#define hone_activate(...)                                                                                   \
    HONE_OPTS2(hone_activate_opt, hone_activation_opts, __VA_ARGS__, .struct_size = sizeof(hone_activation_opts))

typedef struct hone_linear_opts {
    size_t struct_size;
    hone_activation activation; /* applied to the sum */
} hone_linear_opts;
/* y = activation(x w^T + bias): x [..., K], w [N, K] as PyTorch lays it, bias [N] or NULL -> [..., N]. A frozen w may be
   stored in any dtype, blocks too. */
HONE_API hone_node *hone_linear_opt(hone_node *x, hone_node *w, hone_node *bias, const hone_linear_opts *opts);
#define hone_linear(...)                                                                                     \
    HONE_OPTS3(hone_linear_opt, hone_linear_opts, __VA_ARGS__, .struct_size = sizeof(hone_linear_opts))

/* ---- convolution and pooling: values are [N, channels, spatial...] with 1 to 3 spatial axes, as in PyTorch ---- */

/* How an input is padded along its spatial axes. */
typedef enum hone_padding {
    HONE_VALID, /* by pad_before and pad_after, which default to 0 */
    HONE_SAME   /* such that an output has ceil(input / stride) positions; an odd one goes behind (as TensorFlow and, for
                   stride 1, PyTorch do) */
} hone_padding;

typedef struct hone_conv_opts {
    size_t struct_size;
    int64_t stride[3];          /* per spatial axis; entries left 0 take the first one's value, which defaults to 1 */
    int64_t dilation[3];        /* the same, between the kernel's taps */
    hone_padding padding;
    int64_t pad_before[3];      /* zeros ahead of the input, per spatial axis; for HONE_VALID */
    int64_t pad_after[3];       /* zeros behind it */
    int64_t groups;             /* default 1; as many as there are channels: depthwise */
    hone_activation activation; /* applied to the sum */
} hone_conv_opts;
/* y[n, o, p] = activation(bias[o] + sum over c, k of w[o, c, k] x[n, g C / groups + c, p stride - pad_before + k dilation]),
   o in group g: cross-correlation, as in PyTorch. x [N, C, in...], w [O, C / groups, kernel...], bias [O] or NULL ->
   [N, O, out...], out = (in + pad_before + pad_after - dilation (kernel - 1) - 1) / stride + 1, rounded down. Computed in
   the function's compute dtype with f32 accumulation. It and its gradients may be differentiated again. The sum over
   images in the gradient of w is cut by threads: equal bits need an equal number of them. */
HONE_API hone_node *hone_conv_opt(hone_node *x, hone_node *w, hone_node *bias, const hone_conv_opts *opts);
#define hone_conv(...) HONE_OPTS3(hone_conv_opt, hone_conv_opts, __VA_ARGS__, .struct_size = sizeof(hone_conv_opts))

typedef struct hone_conv_transpose_opts {
    size_t struct_size;
    int64_t stride[3];          /* per spatial axis; entries left 0 take the first one's value, which defaults to 1 */
    int64_t dilation[3];        /* the same */
    hone_padding padding;       /* HONE_SAME: an output has in * stride positions */
    int64_t pad_before[3];      /* positions of the result that are left out ahead of it; for HONE_VALID */
    int64_t pad_after[3];       /* and behind it */
    int64_t output_padding[3];  /* positions more, behind it, which the sum may not reach */
    int64_t groups;             /* default 1 */
    hone_activation activation; /* applied to the sum */
} hone_conv_transpose_opts;
/* The transpose of hone_conv, the gradient of its input: x [N, C, in...], w [C, O / groups, kernel...] as PyTorch lays it, bias [O]
   or NULL -> [N, O, out...], out = (in - 1) stride - pad_before - pad_after + dilation (kernel - 1) + output_padding + 1. */
HONE_API hone_node *hone_conv_transpose_opt(hone_node *x, hone_node *w, hone_node *bias, const hone_conv_transpose_opts *opts);
#define hone_conv_transpose(...)                                                                             \
    HONE_OPTS3(hone_conv_transpose_opt, hone_conv_transpose_opts, __VA_ARGS__, .struct_size = sizeof(hone_conv_transpose_opts))

typedef struct hone_pool_opts {
    size_t struct_size;
    int64_t stride[3]; /* per spatial axis; entries left 0 take the first one's value; none given: the kernel's sizes */
    int64_t dilation[3]; /* the distance of a window's elements; entries left 0 take the first one's value, which defaults to 1 */
    hone_padding padding;
    int64_t pad_before[3]; /* for HONE_VALID; each smaller than what a window spans, dilation (kernel - 1) + 1 */
    int64_t pad_after[3];
    bool exclude_padding; /* average: over the elements that exist (PyTorch's count_include_pad=False) */
    bool ceil_mode;       /* out is rounded up: a last window may reach over the end, but not begin behind the input (PyTorch) */
} hone_pool_opts;
/* The largest, or the mean, of each window of kernel sizes (HONE_SHAPE(2, 2)) of x [N, C, in...] -> [N, C, out...], out as
   of hone_conv. Padding never wins; in a mean it counts as zeros unless excluded, and what ceil_mode adds behind it never counts. NaN
   wins; at a tie the gradient goes to the first. The gradient of a maximum is not differentiated again. INVALID, SHAPE: padding that is
   too large, and windows that would see padding alone (dilation larger than a padded axis). */
HONE_API hone_node *hone_max_pool_opt(hone_node *x, hone_shape kernel, const hone_pool_opts *opts);
#define hone_max_pool(...) HONE_OPTS2(hone_max_pool_opt, hone_pool_opts, __VA_ARGS__, .struct_size = sizeof(hone_pool_opts))
HONE_API hone_node *hone_average_pool_opt(hone_node *x, hone_shape kernel, const hone_pool_opts *opts);
#define hone_average_pool(...)                                                                               \
    HONE_OPTS2(hone_average_pool_opt, hone_pool_opts, __VA_ARGS__, .struct_size = sizeof(hone_pool_opts))

/* How a resized position is made of those around the place it comes from, as in PyTorch's interpolate. */
typedef enum hone_resize_mode {
    HONE_RESIZE_NEAREST, /* that of number floor(o in / out) */
    HONE_RESIZE_LINEAR,  /* those on both sides, by their distance: bilinear, trilinear */
    HONE_RESIZE_CUBIC,   /* 2 spatial axes: the four nearest by Keys' kernel with a = -0.75, those past the border as the last one */
    HONE_RESIZE_AREA     /* the mean of [o in / out, (o + 1) in / out), rounded outwards: adaptive average pooling */
} hone_resize_mode;
typedef struct hone_resize_opts {
    size_t struct_size;
    hone_shape size;       /* of the result, for each spatial axis, or one for all; or */
    double scale[3];       /* as many times as long, rounded down; entries left 0 take the first one's value */
    hone_resize_mode mode; /* default HONE_RESIZE_NEAREST */
    bool align_corners;    /* linear and cubic: the first and last positions stay what they were; else the borders of all do */
} hone_resize_opts;
/* x [N, C, in...] with 1 to 3 spatial axes -> [N, C, out...]: output o comes from (o + 1/2) in / out - 1/2, where a scale that was rounded
   stands for out / in, and with align_corners from o (in - 1) / (out - 1). Fewer positions are picked, not averaged (no antialiasing)
   but with HONE_RESIZE_AREA. It and its gradient may be differentiated again. INVALID: neither size nor scale, or both. */
HONE_API hone_node *hone_resize_opt(hone_node *x, const hone_resize_opts *opts);
#define hone_resize(...) HONE_OPTS1(hone_resize_opt, hone_resize_opts, __VA_ARGS__, .struct_size = sizeof(hone_resize_opts))

/* [N, ...] -> [N, product of the others] */
HONE_API hone_node *hone_flat(hone_node *x);

/* ---- elementwise, two inputs, broadcast ---- */

HONE_API hone_node *hone_add(hone_node *a, hone_node *b);
HONE_API hone_node *hone_sub(hone_node *a, hone_node *b);
HONE_API hone_node *hone_mul(hone_node *a, hone_node *b);
HONE_API hone_node *hone_div(hone_node *a, hone_node *b);
HONE_API hone_node *hone_pow(hone_node *a, hone_node *b);     /* a^b; a > 0 where b's gradient is asked for */
HONE_API hone_node *hone_maximum(hone_node *a, hone_node *b); /* NaN wins; at a tie the gradient goes to a */
HONE_API hone_node *hone_minimum(hone_node *a, hone_node *b);

/* ---- elementwise, one input ---- */

HONE_API hone_node *hone_neg(hone_node *x);
HONE_API hone_node *hone_exp(hone_node *x);
HONE_API hone_node *hone_log(hone_node *x);
HONE_API hone_node *hone_sqrt(hone_node *x);
HONE_API hone_node *hone_rsqrt(hone_node *x); /* 1 / sqrt(x) */
HONE_API hone_node *hone_abs(hone_node *x);
HONE_API hone_node *hone_sin(hone_node *x);
HONE_API hone_node *hone_cos(hone_node *x);
HONE_API hone_node *hone_square(hone_node *x);
HONE_API hone_node *hone_reciprocal(hone_node *x);
HONE_API hone_node *hone_sigmoid(hone_node *x); /* 1 / (1 + e^-x) */
HONE_API hone_node *hone_tanh(hone_node *x);
HONE_API hone_node *hone_relu(hone_node *x);
HONE_API hone_node *hone_leaky_relu(hone_node *x, double slope); /* x < 0 ? slope x : x */
HONE_API hone_node *hone_gelu(hone_node *x);      /* x Phi(x): Hendrycks and Gimpel, 2016 */
HONE_API hone_node *hone_gelu_tanh(hone_node *x); /* its tanh approximation */
HONE_API hone_node *hone_silu(hone_node *x);      /* x sigmoid(x) */
HONE_API hone_node *hone_softplus(hone_node *x);  /* log(1 + e^x) */
HONE_API hone_node *hone_elu(hone_node *x, double alpha);  /* x > 0 ? x : alpha (e^x - 1): Clevert et al., 2015 */
HONE_API hone_node *hone_celu(hone_node *x, double alpha); /* x > 0 ? x : alpha (e^(x / alpha) - 1), alpha not 0: Barron, 2017 */
HONE_API hone_node *hone_selu(hone_node *x); /* 1.0507 elu(x, 1.6733), so that values stay normal: Klambauer et al., 2017 */
HONE_API hone_node *hone_softsign(hone_node *x);     /* x / (1 + |x|) */
HONE_API hone_node *hone_hard_sigmoid(hone_node *x); /* x / 6 + 1 / 2, clamped to [0, 1] */
HONE_API hone_node *hone_hard_swish(hone_node *x);   /* x hard_sigmoid(x): Howard et al., 2019 */
HONE_API hone_node *hone_mish(hone_node *x);         /* x tanh(softplus(x)): Misra, 2019 */
HONE_API hone_node *hone_log_sigmoid(hone_node *x);  /* log sigmoid(x) = -softplus(-x) */
HONE_API hone_node *hone_clamp(hone_node *x, double low, double high); /* gradient 1 inside and at the bounds */
HONE_API hone_node *hone_affine(hone_node *x, double scale, double shift); /* scale x + shift */

/* ---- comparing and choosing, broadcast ---- */

/* 1 where it holds, else 0, as u8. a and b are of one type: real or integer. A NaN equals nothing, itself included. */
HONE_API hone_node *hone_equal(hone_node *a, hone_node *b);
HONE_API hone_node *hone_not_equal(hone_node *a, hone_node *b);
HONE_API hone_node *hone_less(hone_node *a, hone_node *b);
HONE_API hone_node *hone_less_equal(hone_node *a, hone_node *b);
HONE_API hone_node *hone_greater(hone_node *a, hone_node *b);
HONE_API hone_node *hone_greater_equal(hone_node *a, hone_node *b);
/* a where condition (u8) is not 0, else b; a and b of one type, any. The gradient goes to the one that was taken. */
HONE_API hone_node *hone_where(hone_node *condition, hone_node *a, hone_node *b);

/* ---- reductions: over HONE_AXES(...) or HONE_ALL_AXES; keep_dims leaves reduced axes with length 1 ---- */

HONE_API hone_node *hone_sum(hone_node *x, hone_axes axes, bool keep_dims);  /* 0 over no elements */
HONE_API hone_node *hone_mean(hone_node *x, hone_axes axes, bool keep_dims); /* refused over no elements, as max and min */
/* NaN wins. At a tie the gradient is shared evenly (as PyTorch's amax and amin do). */
HONE_API hone_node *hone_max(hone_node *x, hone_axes axes, bool keep_dims);
HONE_API hone_node *hone_min(hone_node *x, hone_axes axes, bool keep_dims);
/* The index of the first largest element (of the first NaN, if any) along axis, as i32, without that axis. */
HONE_API hone_node *hone_argmax(hone_node *x, int axis);
/* sum((x - mean)^2) / (n - ddof) in two passes; ddof 1: the sample variance, 0: the population's. Needs n > ddof. */
HONE_API hone_node *hone_variance(hone_node *x, hone_axes axes, bool keep_dims, int ddof);
/* sqrt(sum x^2), the L2 norm; where it is 0 the gradient is 0. */
HONE_API hone_node *hone_norm(hone_node *x, hone_axes axes, bool keep_dims);

/* ---- shapes ---- */

/* The same elements in row-major order under another shape; one dimension may be -1: whatever is left. */
HONE_API hone_node *hone_reshape(hone_node *x, hone_shape shape);
HONE_API hone_node *hone_squeeze(hone_node *x, int axis);     /* drops an axis of length 1 */
HONE_API hone_node *hone_expand_dims(hone_node *x, int axis); /* puts in an axis of length 1, at `axis` of the result */
/* Axis i of the result is axis order.axis[i] of x: a permutation of all of x's axes. */
HONE_API hone_node *hone_transpose(hone_node *x, hone_axes order);
HONE_API hone_node *hone_transpose2(hone_node *x); /* swaps the last two axes */
/* Elements start, start + step, ... before stop along an axis; step > 0. Negative start and stop count from the end;
   HONE_END is the end itself. Positions outside the axis are refused. */
HONE_API hone_node *hone_slice(hone_node *x, int axis, int64_t start, int64_t stop, int64_t step);
#define HONE_END INT64_MAX
/* x cut into n equal pieces along axis, into outputs[n]. SHAPE when they cannot be equal. */
HONE_API hone_status hone_split(hone_node *x, int axis, int n, hone_node **outputs);
/* x repeated along axes of length 1 and along new axes in front. */
HONE_API hone_node *hone_broadcast_to(hone_node *x, hone_shape shape);
/* inputs[n], n > 0, one after the other along axis; otherwise equal in shape; of one type, any. */
HONE_API hone_node *hone_concatenate(int n, hone_node *const *inputs, int axis);
/* `value` around x: before.dim[i] of it in front of axis i and after.dim[i] behind. */
HONE_API hone_node *hone_pad(hone_node *x, hone_shape before, hone_shape after, double value);

/* ---- indices: i32, i64 or u8; one outside its axis is an error of the run that says which ---- */

/* Slices of x along axis, picked by indices [i...]: x [a..., n, b...] gives [a..., i..., b...]. With axis 0 an embedding
   (x may then be a variable stored in any dtype, blocks too: only the rows taken are unpacked). */
HONE_API hone_node *hone_gather(hone_node *x, hone_node *indices, int axis);
/* Its inverse: zeros [a..., n, b...], to which updates [a..., i..., b...] are added at indices [i...] of axis; repeated
   indices add up, in order. */
HONE_API hone_node *hone_scatter_add(hone_node *updates, hone_node *indices, int axis, int64_t n);
/* [i...] to [i..., depth] of dtype f32, f64 or u8: 1 at the index, 0 elsewhere. */
HONE_API hone_node *hone_one_hot(hone_node *indices, int64_t depth, hone_dtype dtype);

/* ---- networks: norms, softmax, dropout, attention ---- */

HONE_API hone_node *hone_softmax(hone_node *x);     /* e^x / sum e^x over the last axis */
HONE_API hone_node *hone_log_softmax(hone_node *x); /* x - log sum e^x over the last axis */
/* The same over another axis, from the end when negative: of [N, C, H, W] over classes with 1. SHAPE for one that x has not. */
HONE_API hone_node *hone_softmax_along(hone_node *x, int axis);
HONE_API hone_node *hone_log_softmax_along(hone_node *x, int axis);
/* (x - mean) / sqrt(var + eps) * gain + bias over the last axis; gain and bias [n], or NULL. Ba, Kiros,
   Hinton, 2016. */
HONE_API hone_node *hone_layer_norm(hone_node *x, hone_node *gain, hone_node *bias, double eps);
/* x / sqrt(mean(x^2) + eps) * gain over the last axis; gain [n] or NULL. Zhang and Sennrich, NeurIPS 2019. */
HONE_API hone_node *hone_rms_norm(hone_node *x, hone_node *gain, double eps);
/* (x - mean) / sqrt(var + eps) * gain + bias of x [N, C, ...] with up to 3 spatial axes; gain and bias [C], or NULL. var is the mean
   square about the mean. Batch norm (Ioffe and Szegedy, 2015): mean and var of each channel over the batch, or `mean` and
   `variance` [C] where they are given (both or neither). Group norm (Wu and He, 2018): of each sample's `groups` groups of
   neighbouring channels. Instance norm (Ulyanov et al., 2016): of each sample's each channel. */
HONE_API hone_node *hone_batch_norm(hone_node *x, hone_node *gain, hone_node *bias, hone_node *mean, hone_node *variance,
                                    double eps);
HONE_API hone_node *hone_group_norm(hone_node *x, int64_t groups, hone_node *gain, hone_node *bias, double eps);
HONE_API hone_node *hone_instance_norm(hone_node *x, hone_node *gain, hone_node *bias, double eps);
/* Each element with probability 1 - rate as x / (1 - rate), else 0; rate in [0, 1), of which 16 bits count. x itself in a graph
   of mode HONE_EVALUATE. Which elements stay is a function of seed, step, micro-batch, layer and index alone. */
HONE_API hone_node *hone_dropout(hone_node *x, double rate);
/* Rows of weight [V, D], which may be stored in any dtype: ids [...] -> [..., D]. An id outside [0, V) is an
   error of the run. */
HONE_API hone_node *hone_embedding(hone_node *weight, hone_node *ids);
/* a sigmoid(b), a and b the halves of x along axis, whose length is even: Dauphin et al. 2017, "Language Modeling with Gated
   Convolutional Networks"; torch.nn.GLU. */
HONE_API hone_node *hone_glu(hone_node *x, int axis);
/* gate sigmoid(gate) up, same shapes. Shazeer, "GLU Variants Improve Transformer", 2020. */
HONE_API hone_node *hone_swiglu(hone_node *gate, hone_node *up);

typedef struct hone_attention_opts {
    size_t struct_size;
    double scale;     /* of the scores; default 1 / sqrt(D) */
    bool causal;      /* query i sees keys j <= i + Tk - Tq */
    hone_node *begin; /* i32 [B, Tq]: query i sees keys j >= begin[i]; default 0 */
    hone_node *end;   /* i32 [B, Tq]: query i sees keys j < end[i]; default Tk */
    hone_node *rows;  /* i32 [B]: row b of q looks at row rows[b] of k and v, whose first axis may then be of any length;
                         default b. Has no gradient; a row that does not exist is an error of the run */
    hone_node *mask;  /* broadcast to [B, H, Tq, Tk]. u8: 0 hides the key; as real as q: added to the scaled scores, -inf (all
                         of -1e30 and less) hides the key. With the other limits: a key is seen where all let it be seen */
    double dropout;   /* rate in [0, 1): hone_dropout on the weights, the softmax's results */
} hone_attention_opts;
/* softmax(scale q k^T) v a head: q [B, Tq, H, D], k and v [B, Tk, Hkv, D] -> [B, Tq, H, D]. H is a multiple
   of Hkv: head h reads key head h / (H / Hkv). A query that sees no key gives 0. Never a whole Tq x Tk matrix
   (Dao, "FlashAttention-2", 2023), but with a mask: lengths and causality are faster said by end and causal. */
HONE_API hone_node *hone_attention_opt(hone_node *q, hone_node *k, hone_node *v, const hone_attention_opts *opts);
#define hone_attention(...)                                                                                  \
    HONE_OPTS3(hone_attention_opt, hone_attention_opts, __VA_ARGS__, .struct_size = sizeof(hone_attention_opts))

typedef struct hone_rope_opts {
    size_t struct_size;
    double theta;       /* default 10000 */
    int rotary_dims;    /* the first so many values of a head are turned, an even number; default D */
    bool interleaved;   /* pairs (2 i, 2 i + 1); default (i, i + rotary_dims / 2), as in Hugging Face's rotate_half */
    hone_node *factors; /* real [rotary_dims / 2]: constants by which frequencies are divided (llama3 scaling); default 1 */
} hone_rope_opts;
/* Rotary position embedding (Su et al., 2021) of x [B, T, H, D], D at most 512: pair i of a head is turned by
   position * theta^(-2 i / rotary_dims). positions: integers [B, T] or [T]. */
HONE_API hone_node *hone_rope_opt(hone_node *x, hone_node *positions, const hone_rope_opts *opts);
#define hone_rope(...)                                                                                       \
    HONE_OPTS2(hone_rope_opt, hone_rope_opts, __VA_ARGS__, .struct_size = sizeof(hone_rope_opts))

/* ---- losses ---- */

/* A loss a row: weights[r] (log sum e^logits[r] - logits[r, target]); logits [..., V], targets integers
   [...], weights [...] or NULL (1). A target below 0 does not count: loss and gradient 0. One of V or more is
   an error of the run. */
HONE_API hone_node *hone_softmax_cross_entropy(hone_node *logits, hone_node *targets, hone_node *weights);
/* The same of the logits x weight^T, x [..., D], weight [V, D] stored in any dtype, which are never whole:
   computed by blocks in the function's compute dtype with f32 accumulation, and again for the gradient. */
HONE_API hone_node *hone_linear_cross_entropy(hone_node *x, hone_node *weight, hone_node *targets, hone_node *weights);
/* Elementwise, same shapes: -(t log p + (1 - t) log(1 - p)), logarithms cut at -100 as in PyTorch's BCELoss;
   and the same of p = sigmoid(x), without overflow. */
HONE_API hone_node *hone_binary_cross_entropy(hone_node *p, hone_node *t);
HONE_API hone_node *hone_binary_cross_entropy_with_logits(hone_node *x, hone_node *t);

/* How the losses below are made one value. */
typedef enum hone_reduction {
    HONE_REDUCE_MEAN, /* over all values; with class numbers over the rows that count, divided by their weights */
    HONE_REDUCE_SUM,
    HONE_REDUCE_NONE
} hone_reduction;

/* What the losses below look at; each names what concerns it. Nodes belong to the graph of the output. */
typedef struct hone_loss_opts {
    size_t struct_size;
    hone_reduction reduction;
    hone_node *weights;       /* real, broadcast to the losses as they are before the reduction: their factors; default 1 */
    hone_node *class_weights; /* real [V], over classes: the factor of each; default 1 */
    double label_smoothing;   /* s in [0, 1): t becomes (1 - s) t + s / V, with binary targets (1 - s) t + s / 2 */
    int64_t ignore_index;     /* class numbers: rows with this one don't count, nor do those below 0 (PyTorch's -100 is);
                                 default: none; class 0: HONE_IGNORE_ZERO */
    double delta;             /* huber: where the square becomes a line; default 1 */
    double gamma, alpha;      /* focal ones: default 2 and 0.25; HONE_ZERO: no focus, no balance */
    double margin;            /* triplet, contrastive: default 1 */
    double smooth;            /* dice ones: default 1; HONE_ZERO for 0 */
    hone_node *output_lengths, *target_lengths; /* ctc: integers [B]; default T, and the targets before the first below 0 */
    int64_t blank;            /* ctc: the class that says nothing; default 0 */
    double positive_weight;   /* binary cross-entropies: the factor of the part where t is 1 (PyTorch's pos_weight); default 1,
                                 HONE_ZERO for 0 */
    bool zero_infinity;       /* ctc: 0 for targets that there is no way to write */
    hone_node *positive_weights; /* the same as positive_weight, instead of it, for each output: real, broadcast to the output (of
                                    [..., V] a vector [V], PyTorch's pos_weight) */
    bool log_input;           /* poisson: the output is the rate's logarithm */
    int64_t axis;             /* categorical ones, cross_entropy, nll, sparse_categorical ones, kl_divergence: where the classes lie, from the end
                                 when negative. 0, the batch's, stands for the last one; of [N, V, H, W], as PyTorch has it, 1 */
} hone_loss_opts;
#define HONE_IGNORE_ZERO INT64_MIN
#define HONE_LOSS_OPTS(function, ...)                                                                        \
    HONE_OPTS2(function, hone_loss_opts, __VA_ARGS__, .struct_size = sizeof(hone_loss_opts))

/* Losses as ordinary nodes: of an output and a target they give one value, or with HONE_REDUCE_NONE one for each element or
   row, as said. opts may be NULL. Errors stick: SHAPE when output and target don't fit, INVALID for an option out of range. */

/* Elements, o and t of one shape: (o - t)^2. */
HONE_API hone_node *hone_mse_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_mse_loss(...) HONE_LOSS_OPTS(hone_mse_loss_opt, __VA_ARGS__)
/* |o - t| */
HONE_API hone_node *hone_mae_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_mae_loss(...) HONE_LOSS_OPTS(hone_mae_loss_opt, __VA_ARGS__)
/* d = |o - t|: d <= delta ? d^2 / 2 : delta (d - delta / 2). Huber 1964; torch.nn.HuberLoss. */
HONE_API hone_node *hone_huber_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_huber_loss(...) HONE_LOSS_OPTS(hone_huber_loss_opt, __VA_ARGS__)
/* log(cosh(o - t)), without overflow: keras.losses.LogCosh. */
HONE_API hone_node *hone_log_cosh_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_log_cosh_loss(...) HONE_LOSS_OPTS(hone_log_cosh_loss_opt, __VA_ARGS__)
/* 100 |t - o| / max(|t|, 1e-7): percent. keras.losses.MeanAbsolutePercentageError. */
HONE_API hone_node *hone_mape_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_mape_loss(...) HONE_LOSS_OPTS(hone_mape_loss_opt, __VA_ARGS__)
/* (log(1 + max(o, 1e-7)) - log(1 + max(t, 1e-7)))^2: keras.losses.MeanSquaredLogarithmicError. */
HONE_API hone_node *hone_msle_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_msle_loss(...) HONE_LOSS_OPTS(hone_msle_loss_opt, __VA_ARGS__)
/* Of rates o and counts t: o - t log(o + 1e-7), keras.losses.Poisson; with log_input e^o - t o, torch.nn.PoissonNLLLoss. */
HONE_API hone_node *hone_poisson_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_poisson_loss(...) HONE_LOSS_OPTS(hone_poisson_loss_opt, __VA_ARGS__)
/* max(0, 1 - t o), t -1 or 1, or a label 0 or 1, of which 0 is taken as -1: keras.losses.Hinge. */
HONE_API hone_node *hone_hinge_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_hinge_loss(...) HONE_LOSS_OPTS(hone_hinge_loss_opt, __VA_ARGS__)
/* hone_binary_cross_entropy, of probabilities: -(w t log p + (1 - t) log(1 - p)), w positive_weight or positive_weights;
   label_smoothing. */
HONE_API hone_node *hone_binary_cross_entropy_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_binary_cross_entropy_loss(...) HONE_LOSS_OPTS(hone_binary_cross_entropy_loss_opt, __VA_ARGS__)
/* max(0, 1 - t o)^2, t as of hone_hinge_loss: keras.losses.SquaredHinge. */
HONE_API hone_node *hone_squared_hinge_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_squared_hinge_loss(...) HONE_LOSS_OPTS(hone_squared_hinge_loss_opt, __VA_ARGS__)
/* hone_binary_cross_entropy_with_logits, p = sigmoid(x); positive_weight or positive_weights, label_smoothing:
   torch.nn.BCEWithLogitsLoss. */
HONE_API hone_node *hone_binary_cross_entropy_with_logits_loss_opt(hone_node *output, hone_node *target,
                                                                   const hone_loss_opts *opts);
#define hone_binary_cross_entropy_with_logits_loss(...) HONE_LOSS_OPTS(hone_binary_cross_entropy_with_logits_loss_opt, __VA_ARGS__)
/* Of logits x with t 0 or 1, p = sigmoid(x), q = t ? p : 1 - p, a = t ? alpha : 1 - alpha: -a (1 - q)^gamma log q. Lin et
   al. 2017, "Focal Loss for Dense Object Detection", equation 5; torchvision's sigmoid_focal_loss. */
HONE_API hone_node *hone_focal_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_focal_loss(...) HONE_LOSS_OPTS(hone_focal_loss_opt, __VA_ARGS__)

/* Rows, output and target probabilities t [..., V]: of probabilities p, -sum w[c] t log p, logarithms cut at -100; of logits,
   p = softmax(x). class_weights, label_smoothing. */
HONE_API hone_node *hone_categorical_cross_entropy_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_categorical_cross_entropy_loss(...) HONE_LOSS_OPTS(hone_categorical_cross_entropy_loss_opt, __VA_ARGS__)
HONE_API hone_node *hone_categorical_cross_entropy_with_logits_loss_opt(hone_node *output, hone_node *target,
                                                                        const hone_loss_opts *opts);
#define hone_categorical_cross_entropy_with_logits_loss(...)                                                 \
    HONE_LOSS_OPTS(hone_categorical_cross_entropy_with_logits_loss_opt, __VA_ARGS__)
/* Rows, output [..., V] and class numbers y [...]: -(1 - s) w[y] log p[y] - s / V sum w[c] log p[c], s label_smoothing; 0
   where the row does not count; a class of V or more is an error of the run. As torch.nn.CrossEntropyLoss, but that classes
   are the last axis unless `axis` says another: output [N, V, H, W] and y [N, H, W]. cross_entropy: of logits, p = softmax(x). nll: of log p. sparse_categorical: of p, logarithms cut at
   -100. */
HONE_API hone_node *hone_cross_entropy_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_cross_entropy_loss(...) HONE_LOSS_OPTS(hone_cross_entropy_loss_opt, __VA_ARGS__)
HONE_API hone_node *hone_nll_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_nll_loss(...) HONE_LOSS_OPTS(hone_nll_loss_opt, __VA_ARGS__)
HONE_API hone_node *hone_sparse_categorical_cross_entropy_loss_opt(hone_node *output, hone_node *target,
                                                                   const hone_loss_opts *opts);
#define hone_sparse_categorical_cross_entropy_loss(...) HONE_LOSS_OPTS(hone_sparse_categorical_cross_entropy_loss_opt, __VA_ARGS__)
/* Rows of logits x with targets as of hone_categorical_cross_entropy_loss, or with class numbers as of hone_cross_entropy_loss,
   p = softmax(x): sum w[c] t alpha (1 - p)^gamma (-log p), where 1 - p is at least 1e-7; class_weights, label_smoothing, ignore_index. Lin et
   al. 2017 for many classes, as keras.losses.CategoricalFocalCrossentropy(from_logits=True). */
HONE_API hone_node *hone_categorical_focal_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_categorical_focal_loss(...) HONE_LOSS_OPTS(hone_categorical_focal_loss_opt, __VA_ARGS__)
HONE_API hone_node *hone_sparse_categorical_focal_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_sparse_categorical_focal_loss(...) HONE_LOSS_OPTS(hone_sparse_categorical_focal_loss_opt, __VA_ARGS__)
/* Rows, of log-probabilities with target probabilities [..., V]: sum t (log t - o), t log t being 0 for 0. The mean is
   torch.nn.KLDivLoss's "batchmean". */
HONE_API hone_node *hone_kl_divergence_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_kl_divergence_loss(...) HONE_LOSS_OPTS(hone_kl_divergence_loss_opt, __VA_ARGS__)
/* Rows, [..., D]: 1 - o t / (|o| |t|), each norm at least 1e-8: torch.nn.CosineEmbeddingLoss of pairs that belong together. */
HONE_API hone_node *hone_cosine_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_cosine_loss(...) HONE_LOSS_OPTS(hone_cosine_loss_opt, __VA_ARGS__)
/* Examples, probabilities and masks [B, ...]: 1 - (2 sum p t + smooth) / (sum p + sum t + smooth). Milletari et al. 2016,
   "V-Net", with the sums of Sudre et al. 2017. */
HONE_API hone_node *hone_dice_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_dice_loss(...) HONE_LOSS_OPTS(hone_dice_loss_opt, __VA_ARGS__)
/* Examples, probabilities and one-hot targets [B, ..., V]: the mean over classes of 1 - (2 sum p t + smooth) / (sum p + sum t + smooth), the
   sums over an example's positions; a class that is nowhere counts. MONAI's DiceLoss with smooth_nr = smooth_dr = smooth, averaged by
   example. */
HONE_API hone_node *hone_categorical_dice_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_categorical_dice_loss(...) HONE_LOSS_OPTS(hone_categorical_dice_loss_opt, __VA_ARGS__)

/* Examples, logits [B, T, V] and class numbers [B, S] without the blank: -log of the probability of all ways to write the
   target into T places with blanks between, p = softmax(output) (so log-probabilities do as well). Of the places the first
   output_lengths count, of the targets the first target_lengths. Infinite, or 0 with zero_infinity, both with gradient 0, when there is no way. Graves et
   al. 2006; torch.nn.CTCLoss with reduction="none", but batch first, and the mean is over examples alone. A length or class
   out of range is an error of the run. */
HONE_API hone_node *hone_ctc_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_ctc_loss(...) HONE_LOSS_OPTS(hone_ctc_loss_opt, __VA_ARGS__)

/* Rows, [..., D]: max(0, |a - p + 1e-6| - |a - n + 1e-6| + margin), L2 norms: torch.nn.TripletMarginLoss. */
HONE_API hone_node *hone_triplet_loss_opt(hone_node *anchor, hone_node *positive, hone_node *negative,
                                          const hone_loss_opts *opts);
#define hone_triplet_loss(...)                                                                               \
    HONE_OPTS3(hone_triplet_loss_opt, hone_loss_opts, __VA_ARGS__, .struct_size = sizeof(hone_loss_opts))
/* Rows a and b [..., D], same [...] 1 where they belong together, else 0: (same d^2 + (1 - same) max(0, margin - d)^2) / 2,
   d = |a - b|. Hadsell et al. 2006, "Dimensionality Reduction by Learning an Invariant Mapping", equation 4. */
HONE_API hone_node *hone_contrastive_loss_opt(hone_node *a, hone_node *b, hone_node *same, const hone_loss_opts *opts);
#define hone_contrastive_loss(...)                                                                           \
    HONE_OPTS3(hone_contrastive_loss_opt, hone_loss_opts, __VA_ARGS__, .struct_size = sizeof(hone_loss_opts))
/* The same of one output, which is what hone_compile's HONE_TRIPLET and HONE_CONTRASTIVE take: an example's anchor, positive and negative one
   behind the other, [B, 3 D] or [B, 3, D], its target not looked at (hone_fit wants one a row: zeros); its a and b, [B, 2 D] or [B, 2, D], the
   target B numbers `same`. One network on each of three (two) inputs of a functional model, and hone_concatenate_layer(ctx, 1). */
HONE_API hone_node *hone_joined_triplet_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_joined_triplet_loss(...) HONE_LOSS_OPTS(hone_joined_triplet_loss_opt, __VA_ARGS__)
HONE_API hone_node *hone_joined_contrastive_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts);
#define hone_joined_contrastive_loss(...) HONE_LOSS_OPTS(hone_joined_contrastive_loss_opt, __VA_ARGS__)

#ifdef __cplusplus
}
#endif
#endif
