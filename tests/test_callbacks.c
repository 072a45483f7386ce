/* Callbacks against Keras's documented behaviour. */
#include "train_tools.h"

/* ---- when callbacks are called ---- */

typedef struct recorder {
    char text[256];
    int stop_at_step, fail_at_epoch;
} recorder;
static hone_status note(void *user, hone_fit_state *state, const char *what)
{
    recorder *r = user;
    size_t n = strlen(r->text);
    snprintf(r->text + n, sizeof r->text - n, "%s%d.%d ", what, state->epoch, (int)state->step);
    return HONE_OK;
}
static hone_status on_train_begin(void *user, hone_fit_state *state) { return note(user, state, "T"); }
static hone_status on_epoch_begin(void *user, hone_fit_state *state)
{
    assert_null(state->result);
    return note(user, state, "E");
}
static hone_status on_step_begin(void *user, hone_fit_state *state) { return note(user, state, "s"); }
static hone_status on_step_end(void *user, hone_fit_state *state)
{
    assert_true(state->loss > 0);
    if ((int)state->step == ((recorder *)user)->stop_at_step) state->stop = true;
    return note(user, state, "S");
}
static hone_status on_epoch_end(void *user, hone_fit_state *state)
{
    assert_true(state->result->loss > 0 && state->result->validation_loss > 0);
    note(user, state, "e");
    return state->epoch == ((recorder *)user)->fail_at_epoch ? HONE_IO : HONE_OK;
}
static hone_status on_train_end(void *user, hone_fit_state *state) { return note(user, state, "t"); }

static void test_callbacks_are_called_in_order(void **state)
{
    (void)state;
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    static const struct {
        int stop_at_step, fail_at_epoch;
        hone_status status;
        const char *want;
    } cases[] = {
        {-1, -1, HONE_OK, "T0.0 E0.0 s0.0 S0.0 s0.1 S0.1 e0.2 E1.2 s1.2 S1.2 s1.3 S1.3 e1.4 t1.4 "},
        {0, -1, HONE_OK, "T0.0 E0.0 s0.0 S0.0 e0.1 t0.1 "}, /* the epoch is closed, as in Keras */
        {-1, 0, HONE_IO, "T0.0 E0.0 s0.0 S0.0 s0.1 S0.1 e0.2 t0.2 "},
    };
    hone_dataset *dataset = hone_dataset_from_tensors(x, y);
    for (size_t i = 0; i < 2 * HONE_ARRAY_LEN(cases); i++) { /* of tensors, and of a loader: two steps an epoch each */
        size_t k = i / 2;
        recorder r = {.stop_at_step = cases[k].stop_at_step, .fail_at_epoch = cases[k].fail_at_epoch};
        hone_callback c = {&r, on_train_begin, on_epoch_begin, on_step_begin, on_step_end, on_epoch_end, on_train_end, NULL};
        hone_model *model = new_classifier(ctx, NULL);
        hone_loader *loader = i % 2 ? hone_loader_new(dataset, .batch_size = 45) : NULL;
        hone_status status =
            loader ? hone_fit_loader(model, loader, NULL, .epochs = 2, .validation_x = x, .validation_y = y, HONE_CALLBACKS(&c))
                   : hone_fit(model, x, y, NULL, .epochs = 2, .batch_size = 36, .validation_split = 0.2, HONE_CALLBACKS(&c));
        assert_int_equal(status, cases[k].status);
        assert_string_equal(r.text, cases[k].want);
        hone_loader_free(loader);
        hone_model_release(model);
    }
    hone_dataset_free(dataset);
    hone_tensor_free(x), hone_tensor_free(y);
}

/* ---- those that watch: driven by hand ---- */

static hone_model *one_weight(void)
{
    hone_model *model = hone_model_of(hone_dense(ctx, 1, .no_bias = true));
    assert_hone_ok(ctx, hone_model_build_for(model, HONE_F32, HONE_SHAPE(1, 1)));
    assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_sgd(ctx, .learning_rate = 1.0)));
    return model;
}

/* Epochs with these values as loss, validation loss and accuracy; the weight is the epoch's number. rates (may be NULL) receives
   the learning rate behind each. Returns the epochs that were run. */
static int drive(hone_callback *c, hone_model *model, int n, const double *values, double *rates)
{
    hone_fit_state s = {.model = model, .epochs = n};
    if (c->train_begin) assert_int_equal(c->train_begin(c->user, &s), HONE_OK);
    while (s.epoch < n && !s.stop) {
        double v = values[s.epoch];
        assert_hone_ok(ctx, hone_param_write(hone_model_param(model, 0), 1, &(float){(float)s.epoch}));
        s.result = NULL;
        if (c->epoch_begin) assert_int_equal(c->epoch_begin(c->user, &s), HONE_OK);
        s.result = &(hone_epoch){.loss = v, .accuracy = v, .validation_loss = v, .validation_accuracy = v};
        if (c->epoch_end) assert_int_equal(c->epoch_end(c->user, &s), HONE_OK);
        if (rates) rates[s.epoch] = hone_optimizer_learning_rate(hone_model_optimizer(model));
        s.epoch++;
    }
    int epochs = s.epoch--;
    s.result = NULL;
    if (c->train_end) assert_int_equal(c->train_end(c->user, &s), HONE_OK);
    return epochs;
}

static float weight(hone_model *model)
{
    float w;
    assert_hone_ok(ctx, hone_param_read(hone_model_param(model, 0), 1, &w));
    return w;
}

static void test_early_stopping_is_keras(void **state)
{
    (void)state;
    static const double baseline = 0.5;
    static const struct {
        hone_early_stopping_opts opts;
        double values[8];
        int epochs, stopped, best;
        float weight;
    } cases[] = {
        {{.patience = 2}, {1, 0.9, 0.95, 0.96, 0.97}, 4, 3, 1, 3},
        {{.patience = 2, .restore_best_weights = true}, {1, 0.9, 0.95, 0.96, 0.97}, 4, 3, 1, 1},
        {{0}, {1, 2, 3}, 2, 1, 0, 1},                                                     /* never in the first epoch */
        {{.patience = 1, .min_delta = 0.1}, {1, 0.95, 0.7}, 2, 1, 0, 1},                  /* too little is none */
        {{.patience = 3}, {1, 2, 0.9, 2, 2, 0.8, 2, 2}, 8, 0, 5, 7},                      /* each improvement counts anew */
        {{.patience = 2, .restore_best_weights = true}, {1, 0.9, 0.8, 0.95}, 4, 0, 2, 2}, /* not stopped: restored all the same */
        {{.monitor = "val_accuracy", .patience = 1}, {0.1, 0.5, 0.4}, 3, 2, 1, 2},        /* larger is better */
        {{.mode = HONE_MONITOR_MAX, .patience = 1}, {0.1, 0.5, 0.4}, 3, 2, 1, 2},
        {{.baseline = &baseline, .patience = 2}, {1, 0.9, 0.8, 0.7}, 4, 0, 3, 3},         /* improves, though never past it */
        {{.baseline = &baseline, .patience = 2}, {1, 0.9, 0.95}, 3, 2, 1, 2},             /* waited from the start */
        {{.patience = 1, .start_from_epoch = 2}, {1, 2, 3, 4}, 4, 3, 2, 3},
        {{.patience = 1}, {NAN, NAN}, 2, 1, -1, 1},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        int n = 8;
        while (n > 1 && cases[i].values[n - 1] == 0) n--;
        hone_model *model = one_weight();
        hone_callback *c = hone_early_stopping_opt(ctx, &cases[i].opts);
        for (int again = 0; again < 2; again++) { /* each training begins afresh */
            int epochs = drive(c, model, n, cases[i].values, NULL);
            if (epochs != cases[i].epochs) fail_msg("case %zu: %d epochs", i, epochs);
            if (hone_early_stopping_stopped_epoch(c) != cases[i].stopped) fail_msg("case %zu: stopped", i);
            if (hone_early_stopping_best_epoch(c) != cases[i].best) fail_msg("case %zu: best", i);
            if (weight(model) != cases[i].weight) fail_msg("case %zu: weight %g", i, (double)weight(model));
        }
        hone_callback_free(c);
        hone_model_release(model);
    }
    assert_null(hone_early_stopping(ctx, .monitor = ""));
    assert_error(HONE_INVALID, "must name a quantity");
}

static void test_the_learning_rate_falls_on_a_plateau_as_in_keras(void **state)
{
    (void)state;
    static const struct {
        hone_plateau_opts opts;
        double values[8], rates[8];
    } cases[] = {
        {{.factor = 0.5, .patience = 2}, {1, 1, 1, 1, 1, 0.5, 1, 1}, {1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125}},
        {{.factor = 0.5, .patience = 1, .cooldown = 2}, {1, 1, 1, 1, 1, 1, 1, 1}, {1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625}},
        {{.factor = 0.5, .patience = 1, .min_learning_rate = 0.4}, {1, 1, 1, 1, 1, 1, 1, 1}, {1, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4}},
        {{.factor = 0.5, .patience = 1}, {1, 0.99995, 0.9998, 1, 1, 1, 1, 1}, {1, 0.5, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625}},
        {{.factor = 0.5, .patience = 1, .min_delta = HONE_ZERO}, {1, 0.99995, 0.9998, 1, 1, 1, 1, 1},
         {1, 1, 1, 0.5, 0.25, 0.125, 0.0625, 0.03125}},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        double rates[8];
        hone_model *model = one_weight();
        hone_callback *c = hone_reduce_lr_on_plateau_opt(ctx, &cases[i].opts);
        drive(c, model, 8, cases[i].values, rates);
        for (int e = 0; e < 8; e++)
            if (fabs(rates[e] - cases[i].rates[e]) > 1e-12) fail_msg("case %zu, epoch %d: %g", i, e, rates[e]);
        hone_callback_free(c);
        hone_model_release(model);
    }
    assert_null(hone_reduce_lr_on_plateau(ctx, .patience = -1));
    assert_error(HONE_INVALID, "patience");
    hone_clear_error(ctx);
    assert_null(hone_reduce_lr_on_plateau(ctx, .factor = 1));
    assert_error(HONE_INVALID, "factor");
}

static double half(void *user, int epoch, double rate) { return epoch == *(int *)user ? NAN : epoch ? rate / 2 : rate; }
static void test_a_scheduler_sets_the_rate_of_an_epoch(void **state)
{
    (void)state;
    int bad = -1;
    double rates[3];
    hone_model *model = one_weight();
    hone_callback *c = hone_learning_rate_scheduler(ctx, half, &bad);
    drive(c, model, 3, (double[]){1, 1, 1}, rates);
    assert_true(rates[0] == 1 && rates[1] == 0.5 && rates[2] == 0.25);
    bad = 0;
    assert_int_equal(c->epoch_begin(c->user, &(hone_fit_state){.model = model}), HONE_INVALID);
    hone_callback_free(c);
    hone_model_release(model);
}

/* ---- those that write ---- */

static void test_checkpoints_are_named_by_epoch_and_value(void **state)
{
    (void)state;
    hone_model *model = one_weight();
    hone_callback *c = hone_model_checkpoint(ctx, scratch("m-{epoch:03d}-{val_loss:.2f}.safetensors"), .save_best_only = true);
    drive(c, model, 4, (double[]){1, 2, 0.5, 0.75}, NULL);
    hone_callback_free(c);
    assert_true(hone__is_file(scratch("m-001-1.00.safetensors")) && hone__is_file(scratch("m-003-0.50.safetensors")));
    assert_false(hone__is_file(scratch("m-002-2.00.safetensors")) || hone__is_file(scratch("m-004-0.75.safetensors")));
    hone_model_release(model);
    model = hone_model_load(ctx, scratch("m-003-0.50.safetensors"));
    assert_true(weight(model) == 2);
    c = hone_model_checkpoint(ctx, scratch("last-{epoch}.safetensors"), .save_weights_only = true);
    drive(c, model, 2, (double[]){1, 2}, NULL);
    hone_callback_free(c);
    assert_hone_ok(ctx, hone_model_load_weights(model, scratch("last-2.safetensors"), NULL));
    assert_true(weight(model) == 1);
    hone_model_release(model);
    model = one_weight();
    c = hone_model_checkpoint(ctx, scratch("{epochs}.safetensors")); /* only the model says what there is */
    assert_int_equal(c->train_begin(c->user, &(hone_fit_state){.model = model}), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "this model has loss, accuracy, and each"));
    hone_callback_free(c);
    hone_model_release(model);
    static const char *const wrong[] = {"{epoch", "{epoch:.2f}", "{loss:d}", "{}", "{epoch:1000d}", "{loss:.5}"};
    for (size_t i = 0; i < HONE_ARRAY_LEN(wrong); i++) {
        assert_null(hone_model_checkpoint(ctx, wrong[i]));
        assert_error(HONE_INVALID, "between braces");
        hone_clear_error(ctx);
    }
}

static void test_the_csv_log_has_a_line_an_epoch(void **state)
{
    (void)state;
    hone_model *model = one_weight();
    hone_callback *c = hone_csv_logger(ctx, scratch("log.csv"), false);
    drive(c, model, 2, (double[]){1, 0.5}, NULL);
    hone_callback_free(c);
    c = hone_csv_logger(ctx, scratch("log.csv"), true);
    drive(c, model, 1, (double[]){0.25}, NULL);
    hone_callback_free(c);
    char *text = hone__read_file(ctx, scratch("log.csv"), 4096, NULL);
    assert_string_equal(text, "epoch,accuracy,learning_rate,loss,val_accuracy,val_loss\n0,1,1,1,1,1\n1,0.5,1,0.5,0.5,0.5\n"
                              "0,0.25,1,0.25,0.25,0.25\n");
    hone__free(ctx, text);
    /* what there is not has no column */
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    c = hone_csv_logger(ctx, scratch("fit.csv"), false);
    hone_model_release(model);
    model = new_classifier(ctx, NULL);
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, HONE_CALLBACKS(c)));
    text = hone__read_file(ctx, scratch("fit.csv"), 4096, NULL);
    assert_memory_equal(text, "epoch,accuracy,learning_rate,loss\n0,", 36);
    hone__free(ctx, text);
    hone_callback_free(c);
    c = hone_csv_logger(ctx, scratch("no/folder.csv"), false);
    assert_int_equal(hone_fit(model, x, y, NULL, HONE_CALLBACKS(c)), HONE_IO);
    hone_callback_free(c);
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
}

/* The whole text of the only file in a folder of events holds a tag. */
static bool has_tag(const char *folder, const char *tag)
{
    char **names, *path;
    size_t n, size;
    assert_hone_ok(ctx, hone__list_folder(ctx, folder, &names, &n));
    assert_int_equal(n, 1);
    char *data = hone__read_file(ctx, path = hone__join_path(ctx, folder, names[0]), 1 << 20, &size);
    bool found = false;
    for (size_t i = 0; i + strlen(tag) <= size && !found; i++) found = !memcmp(data + i, tag, strlen(tag));
    hone__free(ctx, data), hone__free(ctx, path), hone__free(ctx, names);
    return found;
}

static void tell_norm(void *user, uint64_t step, const char *name, double norm, double gradient)
{
    double *seen = user;
    if (!strcmp(name, "2.bias")) seen[0]++, seen[1] = (double)step, seen[2] = norm, seen[3] = gradient;
}

static void test_tensorboard_and_norms_are_told(void **state)
{
    (void)state;
    double seen[4] = {0}, sum = 0;
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    hone_model *model = new_classifier(ctx, NULL);
    hone_callback *board = hone_tensorboard(ctx, scratch("board"), 2), *norms = hone_norm_monitor(ctx, 3, tell_norm, seen);
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 2, .validation_split = 0.2, .batch_size = 18, HONE_CALLBACKS(board, norms)));
    assert_true(has_tag(scratch("board/train"), "epoch_loss") && has_tag(scratch("board/train"), "epoch_accuracy"));
    assert_true(has_tag(scratch("board/train"), "epoch_learning_rate") && has_tag(scratch("board/train"), "batch_loss"));
    assert_true(has_tag(scratch("board/validation"), "epoch_loss"));
    assert_false(has_tag(scratch("board/validation"), "epoch_learning_rate"));
    assert_true(seen[0] == 3 && seen[1] == 6 && seen[3] > 0); /* steps 0, 3, 6 of 8 */
    /* after a step more, at a multiple of three, they are what can be read */
    assert_hone_ok(ctx, hone_train_on_batch(model, x, y, NULL, NULL));
    hone_callback_free(norms);
    norms = hone_norm_monitor(ctx, 1, tell_norm, seen);
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .batch_size = ROWS, HONE_CALLBACKS(norms)));
    float bias[3];
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "2.bias"), 3, bias));
    for (int i = 0; i < 3; i++) sum += (double)bias[i] * (double)bias[i];
    assert_true(fabs(seen[2] - sqrt(sum)) < 1e-6);
    assert_hone_ok(ctx, hone_param_read_gradient(hone_model_find_param(model, "2.bias"), 3, bias));
    for (int i = 0; i < 3; i++) sum += i ? (double)bias[i] * (double)bias[i] : (double)bias[0] * (double)bias[0] - sum;
    assert_true(fabs(seen[3] - sqrt(sum)) < 1e-6);
    hone_callback_free(board);
    hone_callback_free(norms);
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
}

/* ---- metrics in callbacks ---- */

/* A classifier of two classes and its metrics by every way: history, callbacks, files. */
static hone_model *with_metrics(const char *metrics, const char *weighted)
{
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 8, .activation = HONE_TANH), hone_dense(ctx, 3)));
    assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_sgd(ctx, .learning_rate = 0.5),
                                     .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS, .metrics = metrics, .weighted_metrics = weighted));
    return model;
}

static void test_metrics_are_monitored_by_name(void **state)
{
    (void)state;
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    hone_model *model = with_metrics("f_beta(beta=2, average=macro, name=f2), top_k_accuracy(k=2),log_loss", NULL);
    hone_callback *stop = hone_early_stopping(ctx, .monitor = "val_f2", .patience = 3, .restore_best_weights = true);
    hone_callback *lower = hone_reduce_lr_on_plateau(ctx, .monitor = "val_log_loss", .patience = 1, .factor = 0.5, .min_delta = 10);
    hone_callback *save = hone_model_checkpoint(ctx, scratch("f2-{epoch}-{val_f2:.3f}.safetensors"), .monitor = "f2", .save_best_only = true);
    hone_callback *csv = hone_csv_logger(ctx, scratch("metrics.csv"), false), *board = hone_tensorboard(ctx, scratch("metric_board"), 0);
    hone_history *h;
    assert_hone_ok(ctx, hone_fit(model, x, y, &h, .epochs = 40, .validation_split = 0.3, HONE_CALLBACKS(stop, lower, save, csv, board)));
    assert_int_equal(h->n_metrics, 3);
    assert_string_equal(h->metric_names[0], "f2");
    /* mode auto: f2 is to grow. The best epoch is that with the largest, and the run ended three after it. */
    int best = hone_early_stopping_best_epoch(stop), saved = 0;
    double most = -1;
    for (size_t e = 0; e < h->n_epochs; e++) {
        double f2 = hone_epoch_value(model, &h->epochs[e], "val_f2"), training = hone_epoch_value(model, &h->epochs[e], "f2");
        assert_true(f2 == h->epochs[e].validation_metrics[0] && training == h->epochs[e].metrics[0]);
        if (f2 > h->epochs[best].validation_metrics[0]) fail_msg("epoch %zu is better than %d", e, best);
        char path[64];
        snprintf(path, sizeof path, "f2-%zu-%.3f.safetensors", e + 1, f2);
        if (hone__is_file(scratch(path)) != (training > most)) fail_msg("%s", path);
        saved += training > most;
        most = fmax(most, training);
    }
    assert_true(saved > 1 && h->n_epochs < 40 && (int)h->n_epochs == best + 4);
    double restored[3], rate = hone_optimizer_learning_rate(hone_model_optimizer(model));
    int64_t order[ROWS];
    for (int i = 0; i < ROWS; i++) order[i] = i;
    hone_tensor *vx = hone_take(x, 27, order + 63), *vy = hone_take(y, 27, order + 63);
    assert_hone_ok(ctx, hone_evaluate_metrics(model, vx, vy, 27, 3, restored));
    assert_true(restored[0] == h->epochs[best].validation_metrics[0]);
    assert_true(rate < 0.5 && fabs(log2(0.5 / rate) - (double)(h->n_epochs - 1)) < 1e-9); /* each epoch but the first is "no improvement" */
    char *text = hone__read_file(ctx, scratch("metrics.csv"), 1 << 16, NULL);
    const char *header = "epoch,accuracy,f2,learning_rate,log_loss,loss,top_k_accuracy,val_accuracy,val_f2,val_log_loss,val_loss,val_top_k_accuracy\n0,";
    assert_memory_equal(text, header, strlen(header));
    hone__free(ctx, text);
    assert_true(has_tag(scratch("metric_board/train"), "epoch_f2") && has_tag(scratch("metric_board/validation"), "epoch_log_loss"));
    hone_callback *const all[] = {stop, lower, save, csv, board};
    for (int i = 0; i < 5; i++) hone_callback_free(all[i]);
    hone_history_free(h);
    /* what there is not */
    stop = hone_early_stopping(ctx, .monitor = "val_magic");
    assert_int_equal(hone_fit(model, x, y, NULL, HONE_CALLBACKS(stop)), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "monitor: there is no 'val_magic'; this model has loss, accuracy, f2, top_k_accuracy, log_loss, and"));
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    assert_true(isnan(hone_epoch_value(model, &(hone_epoch){0}, "magic")));
    hone_callback_free(stop);
    hone_tensor_free(x), hone_tensor_free(y), hone_tensor_free(vx), hone_tensor_free(vy);
    hone_model_release(model);
}

/* A weight of 0 leaves an example out of weighted metrics alone; whole numbers are repetitions. */
static void test_weights_count_in_weighted_metrics(void **state)
{
    (void)state;
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    hone_model *model = with_metrics("f1(average=macro), log_loss", "f1(average=macro),accuracy,mae(name=off)");
    assert_string_equal(((hone__compiled *)model->train)->metrics[2].text, "f1(average=macro)");
    hone_history *h;
    float weights[ROWS];
    int64_t order[2 * ROWS], n = 0;
    int32_t *classes = hone_tensor_data(y);
    for (int i = 0; i < ROWS; i += 5) classes[i] = (classes[i] + 1) % 3; /* so that not all is right once it is learnt */
    for (int i = 0; i < ROWS; i++) {
        weights[i] = (float)(i % 3 == 1 ? 0 : 1 + i % 2);
        for (int k = 0; k < (int)weights[i]; k++) order[n++] = i;
    }
    hone_tensor *w = hone_tensor_from_f32(ctx, HONE_SHAPE(ROWS), weights), *rx = hone_take(x, n, order), *ry = hone_take(y, n, order);
    hone_model_release(model);
    model = with_metrics("f1(average=macro), log_loss", "f1(average=macro),accuracy,log_loss(name=logs)");
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 3));
    hone_optimizer_set_learning_rate(hone_model_optimizer(model), 0); /* the model stays, so that what is told can be checked */
    assert_hone_ok(ctx, hone_fit(model, x, y, &h, .sample_weights = w, .validation_x = x, .validation_y = y, .validation_sample_weights = w));
    static const char *const names[] = {"f1", "log_loss", "weighted_f1", "weighted_accuracy", "logs"};
    assert_int_equal(h->n_metrics, 5);
    double plain[5], repeated[5], loss, accuracy;
    assert_hone_ok(ctx, hone_evaluate_metrics(model, x, y, 32, 5, plain));
    assert_hone_ok(ctx, hone_evaluate_metrics(model, rx, ry, 32, 5, repeated));
    assert_hone_ok(ctx, hone_evaluate(model, rx, ry, 32, &loss, &accuracy));
    for (int i = 0; i < 5; i++) {
        double want = i < 2 ? plain[i] : repeated[i];
        assert_string_equal(h->metric_names[i], names[i]);
        assert_true(fabs(h->epochs[0].metrics[i] - want) < 1e-6 && fabs(h->epochs[0].validation_metrics[i] - want) < 1e-6);
    }
    if (!(fabs(repeated[3] - accuracy) < 1e-9 && fabs(plain[0] - repeated[0]) > 1e-6))
        fail_msg("accuracy %g, not %g; f1 %g and %g", repeated[3], accuracy, plain[0], repeated[0]);
    assert_true(fabs(h->epochs[0].validation_loss - loss * (double)n / ROWS) < 1e-5); /* as Keras: over the number of examples */
    hone_history_free(h);
    /* class weights are weights of examples, in training alone */
    assert_hone_ok(ctx, hone_fit(model, x, y, &h, .class_weights = (double[]){0, 1, 0}, .n_class_weights = 3, .validation_x = x, .validation_y = y));
    double share = h->epochs[0].metrics[3];
    int right = 0, ones = 0;
    hone_tensor *p = hone_predict(model, x, ROWS);
    for (int i = 0; i < ROWS; i++) {
        ones += classes[i] == 1;
        right += classes[i] == 1 && at(p, 3 * i + 1) > at(p, 3 * i) && at(p, 3 * i + 1) > at(p, 3 * i + 2);
    }
    assert_true(ones > 20 && fabs(share - (double)right / ones) < 1e-9 && fabs(h->epochs[0].validation_metrics[3] - h->epochs[0].validation_accuracy) < 1e-9);
    hone_tensor_free(p);
    hone_history_free(h);
    assert_int_equal(hone_fit(model, x, y, NULL, .validation_sample_weights = w), HONE_INVALID);
    assert_int_equal(hone_fit(model, x, y, NULL, .validation_x = x, .validation_y = y, .validation_sample_weights = rx), HONE_SHAPE);
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y), hone_tensor_free(w), hone_tensor_free(rx), hone_tensor_free(ry);
}

static void test_metrics_of_one_name_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {{"f1,f1", NULL}, {"f_beta(beta=2),f_beta(beta=3)", NULL}, {"mae(name=loss)", NULL}, {NULL, "f1,f1,f1"}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(wrong); i++) {
        hone_model *model = hone_model_of(hone_dense(ctx, 3));
        assert_int_equal(hone_compile(model, .metrics = wrong[i][0], .weighted_metrics = wrong[i][1]), HONE_INVALID);
        assert_error(HONE_INVALID, "two quantities are called");
        hone_clear_error(ctx);
        assert_int_equal(hone_compile(model, .metrics = "f1(k=3"), HONE_INVALID);
        assert_error(HONE_INVALID, "a name, or name(option=value, ...) is wanted");
        hone_clear_error(ctx);
        hone_model_release(model);
    }
    hone_model *model = with_metrics("accuracy", NULL); /* told once, not twice */
    assert_int_equal(hone__monitor_find(model, "accuracy"), 2);
    assert_true(isnan(hone__monitor_value(model, 1, &(hone_epoch){.accuracy = 1})));
    hone_model_release(model);
}

/* What a loader holds out is what tensors hold out. */
static void test_validation_may_come_from_a_loader(void **state)
{
    (void)state;
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    int64_t order[ROWS];
    for (int i = 0; i < ROWS; i++) order[i] = i;
    hone_dataset *dataset = hone_dataset_from_tensors(x, y);
    hone_loader *apart = hone_loader_new(dataset, .batch_size = 7, .rows = order + 60, .n_rows = 30, .threads = 2);
    hone_loader *training = hone_loader_new(dataset, .batch_size = 16, .rows = order, .n_rows = 60);
    hone_tensor *vx = hone_take(x, 30, order + 60), *vy = hone_take(y, 30, order + 60);
    hone_history *a, *b;
    double loss[2], accuracy[2], values[2][2];
    for (int of_loader = 0; of_loader < 2; of_loader++) {
        hone_model *one = with_metrics("f1(average=macro),roc_auc", NULL), *two = with_metrics("f1(average=macro),roc_auc", NULL);
        if (of_loader) {
            assert_hone_ok(ctx, hone_fit_loader(one, training, &a, .epochs = 3, .validation_x = vx, .validation_y = vy));
            assert_hone_ok(ctx, hone_fit_loader(two, training, &b, .epochs = 3, .validation_loader = apart));
        } else {
            assert_hone_ok(ctx, hone_fit(one, x, y, &a, .epochs = 3, .batch_size = 16, .validation_x = vx, .validation_y = vy));
            assert_hone_ok(ctx, hone_fit(two, x, y, &b, .epochs = 3, .batch_size = 16, .validation_loader = apart));
        }
        for (int e = 0; e < 3; e++) {
            assert_true(a->epochs[e].loss == b->epochs[e].loss);
            assert_true(fabs(a->epochs[e].validation_loss - b->epochs[e].validation_loss) < 1e-6);
            assert_true(fabs(a->epochs[e].validation_accuracy - b->epochs[e].validation_accuracy) < 1e-9);
            for (int m = 0; m < 2; m++) assert_true(fabs(a->epochs[e].validation_metrics[m] - b->epochs[e].validation_metrics[m]) < 1e-9);
        }
        assert_hone_ok(ctx, hone_evaluate_loader(two, apart, &loss[0], &accuracy[0], 2, values[0]));
        assert_hone_ok(ctx, hone_evaluate(two, vx, vy, 30, &loss[1], &accuracy[1]));
        assert_hone_ok(ctx, hone_evaluate_metrics(two, vx, vy, 30, 2, values[1]));
        assert_true(fabs(loss[0] - loss[1]) < 1e-6 && fabs(accuracy[0] - accuracy[1]) < 1e-9 && fabs(values[0][1] - values[1][1]) < 1e-9);
        assert_true(loss[0] == b->epochs[2].validation_loss);
        assert_hone_ok(ctx, hone_evaluate_loader(two, apart, NULL, NULL, 0, NULL));
        assert_int_equal(hone_evaluate_loader(two, apart, NULL, NULL, 1, values[0]), HONE_INVALID);
        assert_int_equal(hone_evaluate_loader(two, NULL, NULL, NULL, 0, NULL), HONE_INVALID);
        assert_int_equal(hone_fit(two, x, y, NULL, .validation_loader = apart, .validation_x = x, .validation_y = y), HONE_INVALID);
        assert_int_equal(hone_fit_loader(two, training, NULL, .validation_loader = training), HONE_INVALID);
        hone_history_free(a), hone_history_free(b);
        hone_model_release(one), hone_model_release(two);
    }
    hone_loader_free(apart), hone_loader_free(training);
    hone_dataset_free(dataset);
    hone_tensor_free(x), hone_tensor_free(y), hone_tensor_free(vx), hone_tensor_free(vy);
}

/* ---- a quantity that no epoch has is left out, and the log told once ---- */

typedef struct told {
    int warnings;
    char last[512];
} told;
static void hear(void *user, hone_log_level level, const char *text)
{
    told *t = user;
    if (level != HONE_LOG_WARNING) return;
    t->warnings++;
    snprintf(t->last, sizeof t->last, "%s", text);
}

static void test_what_epochs_do_not_have_is_not_watched(void **state)
{
    (void)state;
    told heard = {0};
    hone_ctx *c = hone_ctx_new(.seed = 1, .log = hear, .log_user = &heard);
    hone_tensor *x, *y;
    make_points(c, &x, &y);
    hone_model *model = new_classifier(c, NULL);
    hone_callback *watching[] = {hone_early_stopping(c, .patience = 3, .restore_best_weights = true),
                                 hone_reduce_lr_on_plateau(c, .patience = 2),
                                 hone_model_checkpoint(c, scratch("never.safetensors"), .save_best_only = true)};
    static const char *const names[] = {"early_stopping", "reduce_lr_on_plateau", "model_checkpoint"};
    for (size_t i = 0; i < HONE_ARRAY_LEN(watching); i++) {
        hone_history *history = NULL;
        heard = (told){0};
        double rate = hone_optimizer_learning_rate(hone_model_optimizer(model));
        assert_hone_ok(c, hone_fit(model, x, y, &history, .epochs = 12, .callbacks = &watching[i], .n_callbacks = 1));
        assert_int_equal(history->n_epochs, 12);
        assert_int_equal(heard.warnings, 1);
        assert_true(strstr(heard.last, names[i]) && strstr(heard.last, "'val_loss'") && strstr(heard.last, "no validation data"));
        assert_true(hone_optimizer_learning_rate(hone_model_optimizer(model)) == rate);
        hone_history_free(history);
        heard = (told){0}; /* with data there is nothing to be told */
        assert_hone_ok(c, hone_fit(model, x, y, NULL, .epochs = 2, .validation_x = x, .validation_y = y, .callbacks = &watching[i],
                                   .n_callbacks = 1));
        assert_int_equal(heard.warnings, 0);
        hone_callback_free(watching[i]);
    }
    assert_true(hone__is_file(scratch("never.safetensors"))); /* by the second training */
    hone_model_release(model);
    /* a loss without right answers has no accuracy, in training neither */
    model = hone_model_of(hone_dense(c, 2));
    assert_hone_ok(c, hone_compile(model, .loss = HONE_MSE));
    hone_callback *stop = hone_early_stopping(c, .monitor = "accuracy", .patience = 2);
    hone_history *history = NULL;
    assert_hone_ok(c, hone_fit(model, x, x, &history, .epochs = 5, HONE_CALLBACKS(stop)));
    assert_int_equal(history->n_epochs, 5);
    assert_true(heard.warnings == 1 && strstr(heard.last, "'accuracy'"));
    hone_history_free(history);
    hone_callback_free(stop);
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
    hone_ctx_release(c);
}

static hone_model *never(void *user, hone_ctx *c) { return (void)user, (void)c, NULL; }
static void test_functions_that_are_needed_are_not_null(void **state)
{
    (void)state;
    assert_null(hone_learning_rate_scheduler(ctx, NULL, NULL));
    assert_error(HONE_INVALID, "learning_rate_scheduler");
    hone_clear_error(ctx);
    assert_null(hone_norm_monitor(ctx, 1, NULL, NULL));
    assert_error(HONE_INVALID, "norm_monitor");
    hone_clear_error(ctx);
    hone_tensor *x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(4, 2));
    hone_fold folds[2];
    assert_int_equal(hone_cross_validate(ctx, NULL, x, x, folds, .k = 2), HONE_INVALID);
    assert_int_equal(hone_cross_validate(ctx, never, x, x, NULL, .k = 2), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "cross_validate"));
    hone_model *model = one_weight();
    double loss;
    assert_int_equal(hone_optimizer_minimize(hone_model_optimizer(model), model, NULL, NULL, &loss), HONE_INVALID);
    hone_model_release(model);
    hone_tensor_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_callbacks_are_called_in_order),
        TEST(test_early_stopping_is_keras),
        TEST(test_the_learning_rate_falls_on_a_plateau_as_in_keras),
        TEST(test_a_scheduler_sets_the_rate_of_an_epoch),
        TEST(test_checkpoints_are_named_by_epoch_and_value),
        TEST(test_the_csv_log_has_a_line_an_epoch),
        TEST(test_tensorboard_and_norms_are_told),
        TEST(test_metrics_are_monitored_by_name),
        TEST(test_weights_count_in_weighted_metrics),
        TEST(test_metrics_of_one_name_are_refused),
        TEST(test_validation_may_come_from_a_loader),
        TEST(test_what_epochs_do_not_have_is_not_watched),
        TEST(test_functions_that_are_needed_are_not_null),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
