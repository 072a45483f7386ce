/* An encoder-decoder that learns to spell words backwards, letter by letter: random words of 3 to 8 letters, made here from the
   seed. Trained with teacher forcing (the decoder sees the right answer up to the letter before), tested by greedy decoding
   (it sees its own). Prints the share of unseen words that are spelt right, letter by letter and as a whole.
   usage: translate_letters [SEED] */
#include <hone/hone.h>

#include <stdio.h>
#include <stdlib.h>

enum { PAD, BEGIN, END, LETTERS = 6, TOKENS = 3 + LETTERS }; /* then the letters */
enum { LONGEST = 8, T = LONGEST + 1, WORDS = 2048, TESTS = 256, WIDTH = 64 };

/* From a row of tokens [word and padding | BEGIN and the answer so far], [B, 2 T], to logits of the answer [B, T, TOKENS]. */
typedef struct translator {
    hone_layer base;
    hone_layer *embedding, *positions, *encoder, *decoder, *head;
} translator;

static hone_node *forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)n;
    translator *t = (translator *)(void *)self;
    hone_node *word = hone_slice(in[0], 1, 0, T, 1), *answer = hone_slice(in[0], 1, T, 2 * T, 1);
    /* how many tokens of each word are no padding */
    hone_node *counts = hone_cast(hone_not_equal(word, hone_fill(graph, HONE_I32, HONE_SCALAR, PAD)), HONE_F32);
    hone_node *lengths = hone_cast(hone_sum(counts, HONE_AXES(1), false), HONE_I32);
    hone_node *x = hone_apply(t->positions, hone_apply(t->embedding, word));
    hone_node *memory = hone_apply_n(t->encoder, 3, (hone_node *[]){x, NULL, lengths});
    hone_node *y = hone_apply(t->positions, hone_apply(t->embedding, answer));
    y = hone_apply_n(t->decoder, 4, (hone_node *[]){y, memory, NULL, lengths});
    return hone_apply(t->head, y);
}

static hone_model *new_translator(hone_ctx *ctx)
{
    translator *t = hone_module(ctx, translator, forward);
    if (!t) return NULL;
    t->embedding = hone_layer_add(&t->base, "embedding", hone_embedding_layer(ctx, TOKENS, WIDTH, .padding = true));
    t->positions = hone_layer_add(&t->base, "positions", hone_learned_positions(ctx, T));
    t->encoder = hone_layer_add(&t->base, "encoder", hone_transformer_encoder(ctx, 1, 4, 128, .pre_norm = true));
    t->decoder = hone_layer_add(&t->base, "decoder", hone_transformer_decoder(ctx, 1, 4, 128, .pre_norm = true));
    t->head = hone_layer_add(&t->base, "head", hone_dense(ctx, TOKENS));
    return hone_model_of(&t->base);
}

/* A row of x [rows, 2 T] and of the targets [rows, T], -1 where nothing is asked, from chance[T] in [0, 1). */
static void make_word(const float *chance, int32_t *x, int32_t *target)
{
    int length = 3 + (int)(chance[LONGEST] * (LONGEST - 2));
    for (int i = 0; i < T; i++) x[i] = x[T + i] = PAD, target[i] = -1;
    for (int i = 0; i < length; i++) x[i] = TOKENS - LETTERS + (int)(chance[i] * LETTERS);
    x[T] = BEGIN;
    for (int i = 0; i <= length; i++) {
        target[i] = i < length ? x[length - 1 - i] : END;
        if (i < length) x[T + 1 + i] = target[i];
    }
}

/* The mean over an answer's tokens; padding does not count. */
static hone_node *loss(void *user, hone_node *logits, hone_node *target)
{
    (void)user;
    return hone_mean(hone_softmax_cross_entropy(logits, target, NULL), HONE_AXES(1), false);
}

int main(int argc, char **argv)
{
    hone_ctx *ctx = hone_ctx_new(.seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0);
    hone_tensor *x = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(WORDS, 2 * T)), *y = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(WORDS, T));
    hone_tensor *test = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(TESTS, 2 * T)), *answers = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(TESTS, T));
    hone_tensor *chance = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(WORDS + TESTS, T));
    hone_model *model = new_translator(ctx);
    hone_compile(model, .optimizer = hone_adam(ctx, .learning_rate = 3e-3), .custom_loss = loss, .max_grad_norm = 1);
    if (hone_ctx_status(ctx) != HONE_OK) return fprintf(stderr, "translate_letters: %s\n", hone_error(ctx)), 1;
    int32_t *rows = hone_tensor_data(test), (*want)[T] = hone_tensor_data(answers);
    const float *chances = hone_tensor_data(chance);
    hone_tensor_fill_uniform(chance, 0, 1, 0);
    for (int i = 0; i < WORDS; i++)
        make_word(chances + i * T, (int32_t *)hone_tensor_data(x) + i * 2 * T, (int32_t *)hone_tensor_data(y) + i * T);
    for (int i = 0; i < TESTS; i++) make_word(chances + (WORDS + i) * T, rows + i * 2 * T, want[i]);

    double test_loss = 0;
    if (hone_fit(model, x, y, NULL, .epochs = 15, .batch_size = 64) != HONE_OK ||
        hone_evaluate(model, test, answers, TESTS, &test_loss, NULL) != HONE_OK)
        return fprintf(stderr, "translate_letters: %s\n", hone_error(ctx)), 1;

    /* Greedy: the likeliest token is the next input, until all answers are as long as they may be. */
    static int32_t said[TESTS][T];
    for (int i = 0; i < TESTS; i++)
        for (int k = 1; k < T; k++) rows[i * 2 * T + T + k] = PAD;
    for (int k = 0; k < T; k++) {
        hone_tensor *logits = hone_predict(model, test, TESTS);
        if (!logits) return fprintf(stderr, "translate_letters: %s\n", hone_error(ctx)), 1;
        for (int i = 0; i < TESTS; i++) {
            const float *p = (const float *)hone_tensor_data(logits) + (i * T + k) * TOKENS;
            for (int token = 0; token < TOKENS; token++)
                if (p[token] > p[said[i][k]]) said[i][k] = token;
            if (k + 1 < T) rows[i * 2 * T + T + k + 1] = said[i][k];
        }
        hone_tensor_free(logits);
    }
    int letters = 0, right = 0, words = 0;
    for (int i = 0; i < TESTS; i++) {
        int wrong = 0;
        for (int k = 0; k < T && want[i][k] >= 0; k++, letters++) right += said[i][k] == want[i][k], wrong += said[i][k] != want[i][k];
        words += !wrong;
    }
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < T && rows[i * 2 * T + k] != PAD; k++) putchar('a' + rows[i * 2 * T + k] - (TOKENS - LETTERS));
        printf(" -> ");
        for (int k = 0; k < T && said[i][k] >= TOKENS - LETTERS; k++) putchar('a' + said[i][k] - (TOKENS - LETTERS));
        putchar('\n');
    }
    printf("Loss: %.4f, Letters: %.4f, Words: %.4f\n", test_loss, (double)right / letters, (double)words / TESTS);

    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y), hone_tensor_free(test), hone_tensor_free(answers), hone_tensor_free(chance);
    hone_ctx_release(ctx);
    return 0;
}
