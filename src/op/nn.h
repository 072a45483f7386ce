/* What the ops of networks share. */
#ifndef HONE_SRC_OP_NN_H
#define HONE_SRC_OP_NN_H

#include "op/op.h"

/* Input i, if it is there, has this shape. */
bool hone__want_shape(hone__call *call, int i, hone_shape shape, const char *what);
static inline bool hone__has(const hone__call *call, int i) { return i < call->n_in && call->in[i]; }
static inline const void *hone__data(const hone__exec *e, int i)
{
    return i < e->n_in ? e->in[i].data : NULL;
}

/* Targets of a classification over n classes as i32; below 0 ("does not count") becomes -1, n and above is an
   error. */
hone_status hone__read_targets(const hone__exec *e, const hone__view *targets, int64_t n, int32_t *to);

/* Tasks on all threads where each thread needs scratch of its own: slot s < hone__slots() works on [begin,
   end). */
typedef void (*hone__slot_fn)(void *arg, int slot, int64_t begin, int64_t end);
int hone__slots(const hone_ctx *ctx, int64_t tasks, int64_t grain);
void hone__slots_run(const hone_ctx *ctx, int64_t tasks, int64_t grain, hone__slot_fn fn, void *arg);

/* Parts of losses: y[r] = x[r, index[r]], or fill where the index is below 0; -t log p. */
hone_node *hone__pick(hone_node *x, hone_node *index, double fill);
hone_node *hone__log_loss(hone_node *p, hone_node *t);
/* x with that axis, from the end when negative, last and the others in their order; back: the last one there. torch.movedim. NULL: SHAPE
   (sticky) where x has no such axis. */
hone_node *hone__axis_last(hone_node *x, int64_t axis, bool back);
/* An output, or targets like it, with the classes of a loss's option `axis` last; 0: they are. NULL: SHAPE (sticky). */
hone_node *hone__classes_last(hone_node *x, int64_t axis);
/* Losses as the options want them. counted: what the mean divides by, the sum of these; NULL: the number of losses. */
hone_node *hone__reduce_losses(hone_node *losses, hone_node *counted, const hone_loss_opts *opts);

/* dlogits^T x [classes, d] of inputs x [..., d] and gradients [..., classes or more], of which the first ones count. */
hone_node *hone__dweight(hone_node *dlogits, hone_node *x, int64_t classes);

/* One direction of a recurrent layer over a whole sequence (recurrent.c). */
typedef struct hone__recurrent {
    hone_node *x;       /* [T, B, gates H]: the gates' sums over the input, biases in them, in PyTorch's order */
    hone_node *weight;  /* [gates H, H]: of the state */
    hone_node *bias;    /* [H]: GRU: inside the reset gate's product; NULL: 0 */
    hone_node *h, *c;   /* [B, H]: the state before; NULL: 0. c: LSTM */
    hone_node *lengths; /* integers [B]: steps that count; NULL: all. Later outputs are 0, and the state stays */
    hone_node *mask;    /* u8 [B, H]: of the state's elements those that the product reads, times `scale`; NULL: all */
    double scale;
    hone__cell_kind kind;
    bool reverse; /* from the last step to the first */
} hone__recurrent;
/* [T, B, H]; its call's outputs 1 and 2 are the state after, h and (LSTM) c [B, H]. */
hone_node *hone__recurrent_node(const hone__recurrent *r);
int hone__cell_gates(hone__cell_kind kind);

/* Refuses what is no attention: q, k, v are inputs 0, 1, 2; begin and end are inputs `limits` and `limits` + 1, rows is
   `limits` + 2. */
bool hone__attention_check(hone__call *call, int limits);
/* hone_attention with the whole matrix of scores, for a mask and for dropout. opts not NULL. */
hone_node *hone__attention_masked(hone_node *q, hone_node *k, hone_node *v, const hone_attention_opts *opts);

/* The next piece of scratch. Starting from NULL it measures how much that will be. */
static inline void *hone__take(char **scratch, size_t bytes)
{
    void *piece = *scratch;
    *scratch = (char *)((uintptr_t)piece + hone__align(bytes));
    return piece;
}

#endif
