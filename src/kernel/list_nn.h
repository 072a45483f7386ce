/* The part of the kernel list for networks: rows of norms, softmax, attention, losses. Included by list.h. */
#ifndef HONE_SRC_KERNEL_LIST_NN_H
#define HONE_SRC_KERNEL_LIST_NN_H

#include "kernel/window.h"
#include "tensor/tensor.h"

/* Layer norm and RMS norm over rows of n elements, and their backward pass (kernel/ref/norm.c). */
typedef struct hone__norm {
    int64_t n;
    double eps;
    const void *x, *gain, *bias; /* (rows, n), (n), (n); gain and bias may be NULL */
    hone_dtype xt, gt, bt;
    void *y;
    hone_dtype yt;
    void *mean, *rstd; /* reals (rows). Forward: written unless NULL. Backward: read; mean NULL means 0 (RMS norm) */
    const void *dy;    /* backward alone */
    hone_dtype dyt;
    void *dx; /* NULL: not wanted */
    hone_dtype dxt;
    const void *more; /* backward: (rows, n) that is added to dx; NULL: nothing */
    hone_dtype mt;
    void *dx_again; /* backward: dx once more, in bf16; NULL: not wanted */
    bool centre; /* layer norm subtracts the mean, RMS norm does not */
} hone__norm;

/* Norms of channels, values channels last: `segments` (1, or one a sample) of `rows` rows of n channels; in a segment each of
   `groups` groups of neighbouring channels has a mean and a variance (kernel/ref/channel_norm.c). A segment is cut into `pieces`. */
typedef struct hone__channel_norm {
    int64_t segments, rows, n, groups, pieces;
    double eps;
    bool given; /* mean and variance are constants, not those of x */
    const void *x, *dy;
    hone_dtype xt, dyt;
    void *y; /* backward: dx; NULL: not wanted */
    hone_dtype yt;
    bool relu;     /* y is relu of it; backward: of dy counts what the forward pass left above 0 */
    const void *z; /* forward: added ahead of relu; NULL: nothing */
    hone_dtype zt;
    const void *gain, *bias;    /* reals (n); NULL: 1 and 0 */
    void *mean, *variance;      /* reals (segments, groups): written, or read when given and backward */
    void *parts;                /* reals (segments, pieces, 2, n): sums of the pieces */
    void *coefficients;         /* reals (segments, 5, n): what `apply` multiplies with */
    void *dgain, *dbias;        /* backward, reals (n), added to; NULL: not wanted */
    void *dmean, *dvariance;    /* the same, when given */
} hone__channel_norm;

/* Terms of losses, elementwise in a prediction p and a target t. log is cut at -100 as in PyTorch's BCELoss. */
typedef enum hone__loss {
    HONE__LOSS_BCE,        /* -(t log p + (1 - t) log(1 - p)) */
    HONE__LOSS_BCE_LOGITS, /* the same of p = sigmoid(x), without overflow */
    HONE__LOSS_LOG         /* -t log p */
} hone__loss;

/* Connectionist temporal classification and its backward pass (kernel/ref/ctc.c), an example at a time. */
typedef struct hone__ctc {
    int64_t t, v, s, blank;
    const void *log_p;             /* reals (b, t, v) */
    const int32_t *target;         /* (b, s), classes but the blank in the first labels[b] */
    const int32_t *times, *labels; /* (b): how many of t and of s count */
    void *loss;                    /* reals (b); NULL: not wanted */
    const void *dloss;             /* backward alone: reals (b) */
    void *dx;                      /* (b, t, v); NULL: forward alone */
} hone__ctc;

/* softmax(scale Q K^T) V and its backward pass (kernel/ref/attention.c). Strides in elements of batch, time and head;
   the last axis is contiguous. Query i of batch b sees keys j in [begin, end) of its own and, when causal,
   j <= i + tk - tq. */
typedef struct hone__attention_side {
    void *data;
    hone_dtype dtype;
    int64_t stride[3];
} hone__attention_side;
/* Dropout draws 16 bits an element, of which a rate counts as many: what is dropped has bits below this. Those of element i are of word
   i / 2 mod 4, the lower half for even i, of philox(key, i / 8). */
static inline uint32_t hone__drop_below(double rate)
{
    uint32_t below = (uint32_t)(rate * 65536 + 0.5);
    return below < 65536 ? below : 65535;
}
/* What stays is multiplied by this, so that the mean remains. */
static inline double hone__drop_scale(double rate) { return 65536.0 / (65536.0 - (double)hone__drop_below(rate)); }

typedef struct hone__attention {
    int64_t b, tq, tk, h, hkv, d;
    double scale;
    bool causal;
    hone__attention_side q, k, v, out;     /* (b, tq, h, d), (b, tk, hkv, d) twice, (b, tq, h, d) */
    hone__attention_side dout, dq, dk, dv; /* backward alone; dq, dk, dv with data NULL are not wanted */
    const int32_t *begin, *end;            /* (b, tq); NULL: 0 and tk */
    int64_t begin_stride[2], end_stride[2];
    double dropout; /* rate: hone__drop_below */
    uint64_t key;
    void *lse; /* reals (b, h, tq): the logarithm of the sum of exponentials of a row's scores; 0 where it sees nothing */
    int64_t lse_stride[3];
} hone__attention;
/* The weight of query i of head h and key j is dropped where the 16 bits of element j from this index on say so. */
static inline uint64_t hone__drop_index(const hone__attention *a, int64_t b, int64_t h, int64_t i)
{
    return (uint64_t)((b * a->h + h) * a->tq + i) * (uint64_t)((a->tk + 7) / 8);
}
enum { HONE__DECODE_KEYS = 256 }; /* keys a task where there is one query */

/* One step of a recurrent layer and its backward pass (kernel/ref/recurrent.c). Gates lie in PyTorch's order, `units` of each. */
typedef enum hone__cell_kind {
    HONE__CELL_TANH, /* 1 gate: Elman's */
    HONE__CELL_RELU,
    HONE__CELL_GRU, /* r, z, n: Cho et al. 2014, with the reset gate behind the product, as in cuDNN and PyTorch */
    HONE__CELL_LSTM /* i, f, g, o: Hochreiter and Schmidhuber 1997, Gers et al. 2000 */
} hone__cell_kind;
typedef struct hone__cell_rows {
    void *data; /* NULL: not there, or not wanted */
    hone_dtype dtype;
} hone__cell_rows;
typedef struct hone__cell {
    hone__cell_kind kind;
    int64_t units;
    const int32_t *lengths; /* (rows): from step lengths[r] on a row's state stays and its output is 0; NULL: no end */
    int64_t step;
    const uint8_t *mask; /* (rows, units): of dropout on the state that the product reads; NULL: none */
    double scale;        /* of what the mask keeps */
    hone__cell_rows gates; /* (rows, saved, units): LSTM i, f, g, o; GRU r, z, n and n's part from the state; else the new h */
    /* forward */
    hone__cell_rows x; /* (rows, gates, units): the gates' sums over the input, biases in them; NULL: no step, only `operand` */
    const void *z;     /* reals (rows, gates, units): their sums over the state */
    const void *bias;  /* reals (units): GRU: of n's part from the state; NULL: 0 */
    void *h, *c;       /* reals (rows, units): the state, replaced by the new one; c: LSTM */
    hone__cell_rows y, next, operand; /* (rows, units): the output; the new h, masked: what the next product reads, twice */
    hone__cell_rows cells;            /* (rows, units): LSTM the new c, GRU the new h; backward: read */
    /* backward: gates.data NULL: only dh gathers what comes to it */
    const void *before; /* reals (rows, units): LSTM the old c, GRU the old h; NULL: 0 */
    hone__cell_rows dy;
    const void *p; /* reals (rows, units): the gradient of what the product read; NULL: 0 */
    void *dh, *dc; /* reals (rows, units): of the new state, replaced by what goes to the old one past the product */
    hone__cell_rows dx, dz; /* (rows, gates, units): of x; GRU: of z */
    /* operand: (rows, gates, units) the gradient of z, for the product */
} hone__cell;

/* Max and average pooling, channels last, and their backward pass (kernel/ref/pool.c). */
typedef struct hone__pool {
    hone__window w;
    int64_t c;
    bool average;         /* the mean, else the largest */
    bool exclude_padding; /* the mean over elements that exist, else over the whole window */
    bool relu;            /* backward: y went through relu; no gradient where it is not positive */
    bool wide_index;      /* index is i32, else u8 */
    const void *x;
    hone_dtype xt;
    void *y; /* (n, out..., c); backward: read where relu is set */
    hone_dtype yt;
    void *index; /* of the largest within its window, (n, out..., c); forward: may be NULL */
    const void *dy; /* backward alone */
    hone_dtype dyt;
    void *dx;
    hone_dtype dxt;
} hone__pool;

/* A linear map along each of three spatial axes, channels last (kernel/ref/resize.c): resizing, and its transpose. Position o of an axis is
   the sum of weight[i] x[at[i]] for i in [first[o], first[o + 1]), in that order. */
typedef struct hone__resize_axis {
    int64_t from, to;
    int32_t *first, *at;
    double *weight;
} hone__resize_axis;
typedef struct hone__resizing {
    hone__resize_axis axis[3]; /* of fewer the last ones are used, and the others have length 1 and weight 1 */
    int64_t c, chunk;          /* channels; how many a task takes */
    const void *x;             /* (n, from..., c) */
    hone_dtype xt;
    void *y; /* (n, to..., c) */
    hone_dtype yt;
} hone__resizing;
/* Tasks of one of the n. */
static inline int64_t hone__resize_pieces(const hone__resizing *r) { return r->chunk ? (r->c + r->chunk - 1) / r->chunk : 0; }

/* By how much x - shift of exp_block may exceed 0: sums of so large powers don't overflow. */
#define HONE__EXP_ROOM 20

#define HONE_KERNEL_LIST_NN(K)                                                                                \
    /* over each row of n reals; logarithm: log softmax; y is the forward's result */                         \
    K(void, softmax, (bool logarithm, void *y, const void *x, int64_t rows, int64_t n))                       \
    K(void, softmax_grad, (bool logarithm, void *dx, const void *y, const void *dy, int64_t rows, int64_t n)) \
    K(void, norm, (const hone__norm *a, int64_t begin, int64_t end))                                          \
    /* dx of rows [begin, end); their part is added to dgain[n] and dbias[n], reals, unless NULL */           \
    K(void, norm_grad, (const hone__norm *a, int64_t begin, int64_t end, void *dgain, void *dbias))           \
    /* sums of pieces [begin, end) of all segments; what follows from them for segments [begin, end); y or dx of pieces */ \
    K(void, channel_norm_sums, (const hone__channel_norm *a, int64_t begin, int64_t end))                     \
    K(void, channel_norm_finish, (const hone__channel_norm *a, int64_t begin, int64_t end))                   \
    K(void, channel_norm_apply, (const hone__channel_norm *a, int64_t begin, int64_t end))                    \
    K(void, channel_norm_grad_sums, (const hone__channel_norm *a, int64_t begin, int64_t end))                \
    K(void, channel_norm_grad_finish, (const hone__channel_norm *a, int64_t begin, int64_t end))              \
    /* y = hone__drop_scale x where it stays (hone__drop_below), else 0; first is a multiple of 8 */          \
    K(void, dropout, (void *y, hone_dtype yt, const void *x, hone_dtype xt, uint64_t key, int64_t first, int64_t n, \
                      double rate))                                                                           \
    /* cross entropy, by blocks of columns (kernel/ref/cross_entropy.c) */                                    \
    K(void, lse_begin, (void *max, void *sum, void *picked, int64_t rows))                                    \
    K(void, lse_block, (void *max, void *sum, void *picked, const void *x, int64_t stride, const int32_t *target, \
                        int64_t first, int64_t rows, int64_t columns))                                        \
    K(void, exp_block, (void *y, hone_dtype yt, int64_t y_stride, void *shift, void *sum, void *picked, void *factor, \
                        const void *x, int64_t stride, const int32_t *target, int64_t first, int64_t rows, int64_t columns)) \
    K(void, lse_finish, (void *loss, void *lse, void *counted, const void *max, const void *sum, const void *picked, \
                         const int32_t *target, const void *weight, int64_t rows))                            \
    K(void, cross_entropy_grad, (void *dx, hone_dtype dxt, int64_t dx_stride, const void *x, int64_t stride,  \
                                 const void *lse, const void *dloss, const int32_t *target, const void *weight, \
                                 int64_t first, int64_t rows, int64_t columns))                               \
    K(void, loss_term, (hone__loss kind, void *y, const void *p, const void *t, int64_t n))                   \
    /* scratch: (forward 2, backward t + 2) rows of 2 s + 1 */                                                \
    K(void, ctc, (const hone__ctc *a, int64_t b, double *scratch))                                            \
    K(void, loss_term_grad, (hone__loss kind, void *dp, void *dt, const void *p, const void *t, const void *dy, \
                             int64_t n))                                                                      \
    /* one token: heads of d values; turns[rotary / 2]: full turns a position; see kernel/ref/rope.c */       \
    K(void, rope, (void *y, hone_dtype yt, const void *x, hone_dtype xt, int64_t head_stride, int64_t sx,     \
                   int64_t heads, int64_t d, int64_t rotary, double position, const double *turns, bool interleaved, \
                   bool inverse))                                                                             \
    K(void, swiglu, (void *y, hone_dtype yt, const void *gate, hone_dtype gt, int64_t gs, const void *up, hone_dtype ut, \
                     int64_t us, int64_t n))                                                                  \
    /* dgate and dup contiguous, NULL when not wanted */                                                      \
    K(void, swiglu_grad, (void *dgate, hone_dtype dgt, void *dup, hone_dtype dut, const void *gate, hone_dtype gt, \
                          int64_t gs, const void *up, hone_dtype ut, int64_t us, const void *dy, hone_dtype dyt, \
                          int64_t ds, int64_t n))                                                             \
    /* scratch in bytes for one call, and how many calls (tasks) the whole takes */                           \
    K(int64_t, attention_tasks, (const hone__attention *a))                                                   \
    K(size_t, attention_scratch, (const hone__attention *a))                                                  \
    K(void, attention, (const hone__attention *a, int64_t task, void *scratch))                               \
    /* one query a batch row (tq = 1): tasks leave a partial result each; one merge for each of b * hkv ends it */ \
    K(int64_t, attention_decode_tasks, (const hone__attention *a))                                            \
    K(size_t, attention_decode_part, (const hone__attention *a))                                              \
    K(size_t, attention_decode_scratch, (const hone__attention *a))                                           \
    K(void, attention_decode, (const hone__attention *a, int64_t task, void *part, void *scratch))            \
    K(void, attention_decode_merge, (const hone__attention *a, int64_t row_group, const void *parts))         \
    /* one batch row and kv head a task: b * hkv tasks */                                                     \
    K(size_t, attention_grad_scratch, (const hone__attention *a))                                             \
    K(void, attention_grad, (const hone__attention *a, int64_t task, void *scratch))                          \
    K(void, cell, (const hone__cell *a, int64_t begin, int64_t end))                                          \
    K(void, cell_grad, (const hone__cell *a, int64_t begin, int64_t end))                                     \
    K(void, pool, (const hone__pool *p, int64_t begin, int64_t end))                                          \
    K(void, pool_grad, (const hone__pool *p, int64_t begin, int64_t end))                                     \
    /* the same where windows do not overlap */                                                               \
    K(void, pool_scatter, (const hone__pool *p, int64_t begin, int64_t end))                                  \
    /* tasks [begin, end): a chunk of the channels of a row, n * to[0] * to[1] rows; scratch: reals (from[2], chunk) */ \
    K(void, resize, (const hone__resizing *r, int64_t begin, int64_t end, void *scratch))

#endif
