/* Whose voice is it? Nine men say the vowels "a" and "e": 12 linear-prediction coefficients at each of 7 to 29 steps (Japanese
   Vowels, Kudo et al. 1999; scripts/get-data '' vowels fetches it). A GRU reads every utterance from both ends, only as far as it
   goes; the mean of what it gives at each step tells the speaker. Learns from 270 utterances and is asked for 370 others, as the
   data's authors divided them: 0.98 to 0.99 are told right, after two seconds.
   usage: japanese_vowels [FOLDER [EPOCHS [SEED]]] */
#include <hone/hone.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIMENSIONS = 12, LONGEST = 29, SPEAKERS = 9, MOST = 1000, UNITS = 64 };

/* Utterances: zeros behind the end of each. */
typedef struct utterances {
    int n, length[MOST];
    int32_t speaker[MOST];
    float steps[MOST][LONGEST][DIMENSIONS];
} utterances;

/* A line of a .ts file: "a,b,c:d,e,f:...:3", the series of each dimension, all of one length, then the class, from 1. false: it
   is not of that form. */
static bool read_utterance(const char *at, float (*steps)[DIMENSIONS], int *length, int32_t *speaker)
{
    char *end;
    for (int d = 0; d < DIMENSIONS; d++) {
        int i = 0;
        do {
            if (i == LONGEST) return false;
            steps[i++][d] = strtof(at, &end);
            if (end == at || (*end != ',' && *end != ':')) return false;
            at = end + 1;
        } while (*end == ',');
        if (d && i != *length) return false;
        *length = i;
    }
    *speaker = (int32_t)strtol(at, &end, 10) - 1;
    return end > at && *speaker >= 0 && *speaker < SPEAKERS;
}

static bool read_file(const char *folder, const char *name, utterances *u)
{
    static char path[4096], line[65536];
    snprintf(path, sizeof path, "%s/JapaneseVowels_%s.ts", folder, name);
    FILE *file = fopen(path, "r");
    if (!file) return fprintf(stderr, "japanese_vowels: %s cannot be read; scripts/get-data '' vowels fetches it\n", path), false;
    bool data = false, good = true; /* the head ends with "@data" */
    while (good && u->n < MOST && fgets(line, sizeof line, file)) {
        if (data && line[0] != '\n')
            good = read_utterance(line, u->steps[u->n], &u->length[u->n], &u->speaker[u->n]), u->n++;
        else if (!strncmp(line, "@data", 5))
            data = true;
    }
    fclose(file);
    if (!good || !u->n) fprintf(stderr, "japanese_vowels: %s: utterance %d is not as it should be\n", path, u->n);
    return good && u->n;
}

/* The scaler that gives every coefficient mean 0 and deviation 1 over all steps of these. */
static hone_scaler *new_scaler(hone_ctx *ctx, const utterances *u)
{
    int64_t total = 0;
    for (int i = 0; i < u->n; i++) total += u->length[i];
    hone_tensor *all = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(total, DIMENSIONS));
    float *to = all ? hone_tensor_data(all) : NULL;
    for (int i = 0; to && i < u->n; to += u->length[i++] * DIMENSIONS)
        memcpy(to, u->steps[i], sizeof u->steps[i][0] * (size_t)u->length[i]);
    hone_scaler *scaler = hone_scaler_fit(all);
    hone_tensor_free(all);
    return scaler;
}

/* Padding stays 0. */
static void scale(hone_ctx *ctx, const hone_scaler *scaler, utterances *u)
{
    for (int i = 0; scaler && i < u->n; i++) {
        hone_tensor *one = hone_tensor_borrow(ctx, HONE_F32, HONE_SHAPE(u->length[i], DIMENSIONS), u->steps[i]);
        hone_scaler_apply(scaler, one);
        hone_tensor_free(one);
    }
}

typedef struct listener {
    hone_layer base;
    hone_layer *gru, *dropout, *head;
} listener;

/* x [B, T, DIMENSIONS] -> logits [B, SPEAKERS] */
static hone_node *forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)n;
    listener *l = (listener *)(void *)self;
    /* A step counts where any coefficient is not 0. */
    hone_node *size = hone_max(hone_abs(in[0]), HONE_AXES(2), false), *zero = hone_fill(graph, HONE_F32, HONE_SCALAR, 0);
    hone_node *lengths = hone_sum(hone_cast(hone_greater(size, zero), HONE_F32), HONE_AXES(1), true); /* [B, 1] */
    hone_node *steps = hone_recurrent_apply(l->gru, in[0], .lengths = hone_cast(hone_squeeze(lengths, 1), HONE_I32));
    hone_node *mean = hone_div(hone_sum(steps, HONE_AXES(1), false), lengths); /* outputs behind the end are 0 */
    return hone_apply(l->head, hone_apply(l->dropout, mean));
}

static hone_model *new_listener(hone_ctx *ctx)
{
    listener *l = hone_module(ctx, listener, forward);
    if (!l) return NULL;
    hone_layer *gru = hone_gru(ctx, UNITS, .layers = 2, .bidirectional = true, .return_sequences = true, .dropout = 0.3);
    l->gru = hone_layer_add(&l->base, "gru", gru);
    l->dropout = hone_layer_add(&l->base, "dropout", hone_dropout_layer(ctx, 0.3));
    l->head = hone_layer_add(&l->base, "head", hone_dense(ctx, SPEAKERS));
    return hone_model_of(&l->base);
}

static void print(void *user, const char *text) { (void)user, fputs(text, stderr); }

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : ".";
    int epochs = argc > 2 ? atoi(argv[2]) : 30;
    static utterances train, test;
    if (!read_file(folder, "TRAIN", &train) || !read_file(folder, "TEST", &test)) return 1;
    hone_ctx *ctx = hone_ctx_new(.seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 0);
    hone_scaler *scaler = new_scaler(ctx, &train);
    scale(ctx, scaler, &train), scale(ctx, scaler, &test);
    hone_tensor *x = hone_tensor_borrow(ctx, HONE_F32, HONE_SHAPE(train.n, LONGEST, DIMENSIONS), train.steps);
    hone_tensor *y = hone_tensor_borrow(ctx, HONE_I32, HONE_SHAPE(train.n), train.speaker);
    hone_tensor *x_test = hone_tensor_borrow(ctx, HONE_F32, HONE_SHAPE(test.n, LONGEST, DIMENSIONS), test.steps);
    hone_tensor *y_test = hone_tensor_borrow(ctx, HONE_I32, HONE_SHAPE(test.n), test.speaker);

    hone_model *model = new_listener(ctx);
    hone_compile(model, .optimizer = hone_adamw(ctx), .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS, .max_grad_norm = 1,
                 .loss_options = {.label_smoothing = 0.1});
    const hone_schedule one_cycle = {.kind = HONE_SCHEDULE_ONE_CYCLE, .peak = 0.005};
    double loss = 0, accuracy = 0;
    if (hone_ctx_status(ctx) != HONE_OK ||
        hone_fit(model, x, y, NULL, .epochs = epochs, .batch_size = 16, .schedule = &one_cycle, .progress = true,
                 .print = print) != HONE_OK ||
        hone_evaluate(model, x_test, y_test, test.n, &loss, &accuracy) != HONE_OK)
        return fprintf(stderr, "japanese_vowels: %s\n", hone_error(ctx)), 1;
    printf("%d utterances held out: loss %.4f, accuracy %.4f\n", test.n, loss, accuracy);

    hone_model_release(model);
    hone_scaler_free(scaler);
    hone_tensor_free(x), hone_tensor_free(y), hone_tensor_free(x_test), hone_tensor_free(y_test);
    hone_ctx_release(ctx);
    return 0;
}
