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
/* Losses as the options want them. counted: what the mean divides by, the sum of these; NULL: the number of losses. */
hone_node *hone__reduce_losses(hone_node *losses, hone_node *counted, const hone_loss_opts *opts);

/* The next piece of scratch. Starting from NULL it measures how much that will be. */
static inline void *hone__take(char **scratch, size_t bytes)
{
    void *piece = *scratch;
    *scratch = (char *)((uintptr_t)piece + hone__align(bytes));
    return piece;
}

#endif
