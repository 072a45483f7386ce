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
    char name[HONE__MONITOR_NAME];
    hone_monitor_mode mode;
    int monitor; /* this and the next: of the training under way */
    bool max, told; /* told: that epochs do not have it */
    double min_delta, best;
} hone__watch;
/* monitor NULL: val_loss. false: INVALID (sticky). */
bool hone__watch_init(hone_ctx *ctx, hone__watch *watch, const char *monitor, hone_monitor_mode mode, double min_delta);
/* A training begins. INVALID (does not stick) when the model has no such quantity. */
hone_status hone__watch_begin(hone__watch *watch, const hone_model *model);
/* What the epoch has of it; false: nothing (no rows are held out), of which the log is told once for `who` watches. */
bool hone__watch_value(hone__watch *watch, const hone_fit_state *state, const char *who, double *value);
/* By more than min_delta; NaN is never better. */
bool hone__watch_better(const hone__watch *watch, double value, double than);

#endif
