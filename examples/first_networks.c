/* The first networks of every course. Is a point within a circle? Two layers say so, written as a Sequential and, the same, as a
   Module with a forward of its own; a third network fits a line with a bend. The data are made here. tests/test_articles.c trains
   all three from the same first weights as their originals in PyTorch: each of the first 20 losses is PyTorch's.
   usage: first_networks [SEED] */
#include <hone/hone.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { POINTS = 512 };

/* ---- the Module: layers as members, what they do as a function ---- */

typedef struct classifier {
    hone_layer layer;
    hone_layer *fc1, *fc2;
} classifier;

static hone_node *forward(hone_layer *self, hone_graph *graph, hone_node *const *x, int n)
{
    classifier *c = (classifier *)(void *)self;
    (void)graph, (void)n;
    hone_node *hidden = hone_relu(hone_apply(c->fc1, x[0]));
    return hone_sigmoid(hone_apply(c->fc2, hidden));
}

static hone_layer *classifier_new(hone_ctx *ctx)
{
    classifier *c = hone_module(ctx, classifier, forward);
    if (!c) return NULL;
    c->fc1 = hone_layer_add(&c->layer, "fc1", hone_dense(ctx, 10));
    c->fc2 = hone_layer_add(&c->layer, "fc2", hone_dense(ctx, 1));
    return &c->layer;
}

/* ---- training ---- */

static void train(hone_ctx *ctx, const char *name, hone_layer *net, hone_loss loss, const hone_tensor *x, const hone_tensor *y)
{
    hone_model *model = hone_model_of(net);
    double value = 0, accuracy = 0;
    hone_compile(model, .optimizer = hone_adam(ctx, .learning_rate = 0.01), .loss = loss);
    if (hone_ctx_status(ctx) != HONE_OK ||
        hone_fit(model, x, y, NULL, .epochs = 60, .batch_size = 32) != HONE_OK ||
        hone_evaluate(model, x, y, POINTS, &value, &accuracy) != HONE_OK) {
        fprintf(stderr, "first_networks: %s\n", hone_error(ctx));
        exit(1);
    }
    if (loss == HONE_MSE)
        printf("%s: loss %.4f\n", name, value);
    else
        printf("%s: loss %.4f, accuracy %.4f\n", name, value, accuracy);
    hone_model_release(model);
}

int main(int argc, char **argv)
{
    hone_ctx *ctx = hone_ctx_new(.seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0);
    hone_tensor *x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(POINTS, 2));
    hone_tensor *inside = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(POINTS, 1));
    hone_tensor *bend = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(POINTS, 1));
    if (hone_ctx_status(ctx) != HONE_OK) return fprintf(stderr, "first_networks: %s\n", hone_error(ctx)), 1;
    hone_tensor_fill_uniform(x, -1, 1, 0);
    for (int i = 0; i < POINTS; i++) {
        const float *at = (const float *)hone_tensor_data(x) + 2 * i;
        ((float *)hone_tensor_data(inside))[i] = at[0] * at[0] + at[1] * at[1] < 0.6f;
        ((float *)hone_tensor_data(bend))[i] = fabsf(at[0]) + 0.5f * at[1];
    }

    hone_layer *binary = hone_sequential(ctx,
        hone_dense(ctx, 10, .activation = HONE_RELU),
        hone_dense(ctx, 1, .activation = HONE_SIGMOID));
    hone_layer *line = hone_sequential(ctx,
        hone_dense(ctx, 2, .activation = HONE_RELU),
        hone_dense(ctx, 1));
    train(ctx, "Sequential", binary, HONE_BINARY_CROSSENTROPY, x, inside);
    train(ctx, "Module", classifier_new(ctx), HONE_BINARY_CROSSENTROPY, x, inside);
    train(ctx, "Regression", line, HONE_MSE, x, bend);

    hone_tensor_free(x), hone_tensor_free(inside), hone_tensor_free(bend);
    hone_ctx_release(ctx);
    return 0;
}
