/* What the callbacks of the train room share. */
#ifndef HONE_SRC_CALLBACK_H
#define HONE_SRC_CALLBACK_H

#include "train/train.h"

/* The head of each. */
typedef struct hone__callback {
    hone_callback callback;
    hone_ctx *ctx;
} hone__callback;
/* Zeroed, `size` bytes; the caller sets the functions. NULL: sticky. */
void *hone__callback_new(hone_ctx *ctx, size_t size, void (*destroy)(void *user));
void hone__callback_destroy(void *user);

/* Is the quantity better than it was? */
typedef struct hone__watch {
    int monitor;
    bool max;
    double min_delta, best;
} hone__watch;
/* monitor NULL: val_loss. false: INVALID (sticky). */
bool hone__watch_init(hone_ctx *ctx, hone__watch *watch, const char *monitor, hone_monitor_mode mode, double min_delta);
void hone__watch_reset(hone__watch *watch);
/* By more than min_delta; NaN is never better. */
bool hone__watch_better(const hone__watch *watch, double value, double than);

#endif
