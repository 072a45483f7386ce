/* The op room's own tools: shape rules and loops that many ops share. */
#ifndef HONE_SRC_OP_H
#define HONE_SRC_OP_H

#include "graph/graph.h"
#include "hone/op.h"
#include "kernel/conv.h"

/* ops.def: one line an op. */
#define HONE_OP(name) extern const hone_op hone__op_##name;
#include "op/ops.def"
#undef HONE_OP
extern const hone_op *const hone__ops[]; /* all of them; ends with NULL */

/* ---- shape rules: each refuses with a message and returns false ---- */

bool hone__want_real(hone__call *call, int i);              /* input i is f32 or f64 */
bool hone__want_same_real(hone__call *call, int i, int j);  /* both real, of one dtype */
bool hone__want_integer(hone__call *call, int i);           /* i32, i64 or u8 */
bool hone__want_rank(hone__call *call, int i, int least);
/* An axis counted from the end when negative, into [0, rank). */
bool hone__want_axis(hone__call *call, int axis, int rank, int *result);
/* NumPy's broadcasting rule for inputs i and j. */
bool hone__broadcast(hone__call *call, int i, int j, hone_shape *result);
bool hone__broadcast_shapes(hone__call *call, hone_shape a, hone_shape b, hone_shape *result);
/* A bit for each axis that is named, of a shape of that rank; none named means all. */
bool hone__want_axes(hone__call *call, const hone_axes *axes, int rank, unsigned *mask);
static inline bool hone__set_out(hone__call *call, int i, hone_dtype dtype, hone_shape shape)
{
    call->out[i].dtype = dtype;
    call->out[i].shape = shape;
    return true;
}

/* ---- loops ---- */

/* Walks a shape with up to 4 operands of their own strides; neighbouring axes that allow it are merged. Operand
   shapes are broadcast to `shape` (aligned at the end). */
#define HONE__LOOP_OPERANDS 4
typedef struct hone__loop {
    int rank, operands;
    int64_t dim[HONE_MAX_RANK];
    int64_t stride[HONE__LOOP_OPERANDS][HONE_MAX_RANK];
    int64_t count;
} hone__loop;
void hone__loop_init(hone__loop *loop, hone_shape shape, int operands, const hone__view *const *views);

/* fn gets the element offset of each operand and a run of n elements along the innermost axis. */
typedef void (*hone__loop_fn)(void *arg, const hone__loop *loop, const int64_t *offset, int64_t n);
/* All of it, on all threads; grain: the fewest elements worth a thread. */
void hone__loop_run(const hone_ctx *ctx, const hone__loop *loop, int64_t grain, hone__loop_fn fn, void *arg);
/* The stride of operand i along the innermost axis. */
static inline int64_t hone__loop_stride(const hone__loop *loop, int i) { return loop->stride[i][loop->rank - 1]; }
/* Elements that one thread should get at least, for work of about one operation an element. */
#define HONE__GRAIN 16384

/* Every element of a dense view becomes value. */
void hone__fill_view(const hone__exec *e, const hone__view *y, double value);
/* y = x, element by element, whatever the strides of both: x is broadcast to y's shape; of one type, or both float. */
void hone__move_view(const hone__exec *e, const hone__view *y, const hone__view *x);

/* Element i of dense indices (i32, i64 or u8). */
static inline int64_t hone__index_at(const hone__view *indices, int64_t i)
{
    if (indices->dtype == HONE_I32) return ((const int32_t *)indices->data)[i];
    if (indices->dtype == HONE_I64) return ((const int64_t *)indices->data)[i];
    return ((const uint8_t *)indices->data)[i];
}
/* INVALID, with the value and its position, when one is outside [0, n). */
hone_status hone__check_indices(const hone__exec *e, const hone__view *indices, int64_t n);

/* ---- weights packed for a primitive ---- */

/* The variable's copy under that key, filled by packer, which it takes. NULL: memory, or no packer (sticky). */
hone__derived *hone__derive_packed(hone__variable *w, uint64_t key, size_t bytes, hone__packer *packer);
/* *copy: the variable as that product reads it, in the product's layout or plain in its type; kept up to date for e's plan.
   transposed tells the two directions of one weight apart. */
bool hone__derive_weight(hone__exec *e, hone__variable *w, const hone__matmul *m, bool transposed, hone_dtype compute,
                         const void **copy);

/* ---- windows over spatial axes: convolution and pooling (window.c) ---- */

/* The first attributes of those ops: a number for each spatial axis; missing ones are 1 (stride, dilation) or 0. */
struct hone__window_attr {
    hone_shape stride, dilation, before, after;
    bool ceil; /* pooling: a last window may reach over the end, if it begins inside the input or the padding ahead of it */
};
#define HONE__WINDOW_ATTRS                                                                                  \
    HONE__ATTR(struct hone__window_attr, stride, SHAPE), HONE__ATTR(struct hone__window_attr, dilation, SHAPE), \
        HONE__ATTR(struct hone__window_attr, before, SHAPE), HONE__ATTR(struct hone__window_attr, after, SHAPE)
/* The window of kernel sizes kernel[axes] over spatial axes in[axes]; refuses what gives no output. */
bool hone__want_window(hone__call *call, const struct hone__window_attr *attr, int axes, const int64_t *in,
                       const int64_t *kernel, hone__window *window);
/* The same for what has been recorded already. */
hone__window hone__window_of(const struct hone__window_attr *attr, int axes, const int64_t *in, const int64_t *kernel);
/* Options to attributes: entries left 0 take the first one's value; HONE_SAME is resolved. */
bool hone__window_options(hone_ctx *ctx, const char *what, int axes, const int64_t *in, const int64_t *kernel,
                          const int64_t stride[3], const int64_t dilation[3], hone_padding padding, const int64_t before[3],
                          const int64_t after[3], struct hone__window_attr *attr);

/* ---- activations ---- */

/* An activation's numbers, defaults resolved; INVALID (sticky) for those that it does not take. */
bool hone__activation_numbers(hone_ctx *ctx, hone_activation activation, const hone_activation_opts *opts, double *a, double *b);
/* Each element times a number in [low, high), drawn as hone_dropout draws (random_scale.c). */
hone_node *hone__random_scale(hone_node *x, double low, double high);

/* ---- pointers into views ---- */
static inline void *hone__at(const hone__view *view, int64_t element)
{
    return (char *)view->data + element * (int64_t)hone__dtypes[view->dtype].bytes;
}

/* Rows of a dense view: elements before the last axis, and its length (1 for a scalar). */
static inline int64_t hone__row_length(hone_shape shape) { return shape.rank ? shape.dim[shape.rank - 1] : 1; }
static inline int64_t hone__row_count(hone_shape shape)
{
    int64_t rows = 1;
    for (int i = 0; i + 1 < shape.rank; i++) rows *= shape.dim[i];
    return rows;
}

/* ---- recording shorthands used by vjps ---- */
hone_node *hone__reduce_to(hone_node *x, hone_shape shape); /* sums over what broadcasting had repeated */
hone_node *hone__pad_between(hone_node *x, hone_shape before, hone_shape after, hone_shape between, double value);
/* x w^T + bias + scale (x p^T) q^T: p [r, in], q [out, r]; bias may be NULL. */
hone_node *hone__linear_low_rank(hone_node *x, hone_node *w, hone_node *bias, hone_node *p, hone_node *q, double scale);
hone_node *hone__unary_grad(hone_node *x, hone_node *dy, hone__unary kind, double a, double b);
/* dy masked with y > 0, y = relu(...). Where a max pooling of y alone made dy, it masks in its own pass. */
hone_node *hone__relu_grad(hone_node *y, hone_node *dy);
/* hone_relu of what a norm of channels made, or a sum with that; NULL: x is no such thing. */
hone_node *hone__channel_norm_relu(hone_node *x);

#endif
