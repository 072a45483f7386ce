/* A small convolutional network, in the sequential style, that learns to tell shapes in noisy colour pictures apart:
   discs, squares, crosses and stripes of any colour at any place, made here from the seed.
   usage: simple_cnn [SEED] */
#include <hone/hone.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { PICTURES = 512, SIZE = 32, CLASSES = 4 };

static float uniform(void) { return (float)rand() / (float)RAND_MAX; }

/* Is the point, relative to the shape's centre, inside a shape of radius r? */
static int inside(int shape, float x, float y, float r)
{
    if (shape == 0) return x * x + y * y < r * r;
    if (fabsf(x) > r || fabsf(y) > r) return 0;
    if (shape == 1) return 1;
    if (shape == 2) return fabsf(x) < r / 3 || fabsf(y) < r / 3;
    return (int)(y + SIZE) % 6 < 3;
}

static void draw(float *picture, int shape)
{
    float r = 6 + 5 * uniform(), x = r + (SIZE - 2 * r) * uniform(), y = r + (SIZE - 2 * r) * uniform();
    for (int channel = 0; channel < 3; channel++) {
        float paint = 0.7f + 0.8f * uniform();
        for (int i = 0; i < SIZE * SIZE; i++)
            *picture++ = (inside(shape, (float)(i % SIZE) - x, (float)(i / SIZE) - y, r) ? paint : 0) +
                         0.4f * uniform();
    }
}

int main(int argc, char **argv)
{
    hone_ctx *ctx = hone_ctx_new(.seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0);
    hone_tensor *x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(PICTURES, 3, SIZE, SIZE));
    hone_tensor *y = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(PICTURES));
    if (hone_ctx_status(ctx) != HONE_OK) return fprintf(stderr, "simple_cnn: %s\n", hone_error(ctx)), 1;
    srand((unsigned)hone_seed(ctx));
    for (int i = 0; i < PICTURES; i++) {
        ((int32_t *)hone_tensor_data(y))[i] = i % CLASSES;
        draw((float *)hone_tensor_data(x) + i * 3 * SIZE * SIZE, i % CLASSES);
    }
    hone_tensor *x_test, *y_test, *x_train, *y_train;
    hone_train_test_split(x, y, 0.25, hone_seed(ctx), &x_train, &y_train, &x_test, &y_test);

    hone_model *model = hone_model_of(hone_sequential(ctx,
        hone_conv2d(ctx, 32, 3, .padding = HONE_SAME, .activation = HONE_RELU),
        hone_max_pool2d(ctx, 2),
        hone_conv2d(ctx, 64, 3, .padding = HONE_SAME, .activation = HONE_RELU),
        hone_max_pool2d(ctx, 2),
        hone_flatten(ctx),
        hone_dense(ctx, 128, .activation = HONE_RELU),
        hone_dense(ctx, CLASSES)));

    hone_compile(model, .optimizer = hone_adam(ctx), .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS);
    double loss = 0, accuracy = 0;
    if (hone_ctx_status(ctx) != HONE_OK ||
        hone_fit(model, x_train, y_train, NULL, .epochs = 20, .batch_size = 32) != HONE_OK ||
        hone_evaluate(model, x_test, y_test, 32, &loss, &accuracy) != HONE_OK)
        return fprintf(stderr, "simple_cnn: %s\n", hone_error(ctx)), 1;
    printf("Loss: %.4f, Accuracy: %.4f\n", loss, accuracy);

    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
    hone_tensor_free(x_train), hone_tensor_free(y_train), hone_tensor_free(x_test), hone_tensor_free(y_test);
    hone_ctx_release(ctx);
    return 0;
}
