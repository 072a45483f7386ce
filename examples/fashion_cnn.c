/* Telling clothes apart: Fashion-MNIST (Xiao et al. 2017; Debian's dataset-fashion-mnist) with a convolutional network, its
   pictures flipped at random while it learns, the learning rate rising and falling in one cycle.
   usage: fashion_cnn [FOLDER [EPOCHS [PICTURES]]] */
#include <hone/hone.h>

#include <stdio.h>
#include <stdlib.h>

static hone_tensor *load(hone_ctx *ctx, const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s-ubyte.gz", folder, name);
    return hone_idx_load(ctx, path);
}

/* Two convolutions, each normalized over the batch, and a pooling. */
static hone_layer *block(hone_ctx *ctx, int filters)
{
    return hone_sequential(ctx,
        hone_conv2d(ctx, filters, 3, .padding = HONE_SAME, .no_bias = true), hone_batch_norm_layer(ctx),
        hone_activation_layer(ctx, HONE_RELU),
        hone_conv2d(ctx, filters, 3, .padding = HONE_SAME, .no_bias = true), hone_batch_norm_layer(ctx),
        hone_activation_layer(ctx, HONE_RELU),
        hone_max_pool2d(ctx, 2));
}

static void print(void *user, const char *text) { (void)user, fputs(text, stderr); }

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : "/usr/share/datasets/fashion-mnist";
    int epochs = argc > 2 ? atoi(argv[2]) : 8;
    int64_t rows = argc > 3 ? atoll(argv[3]) : 60000;
    hone_ctx *ctx = hone_ctx_new(.seed = 1);
    hone_tensor *x = load(ctx, folder, "train-images-idx3"), *y = load(ctx, folder, "train-labels-idx1");
    hone_tensor *x_test = load(ctx, folder, "t10k-images-idx3"), *y_test = load(ctx, folder, "t10k-labels-idx1");
    hone_dataset *train = x && y ? hone_dataset_from_tensors(x, y) : NULL;
    hone_dataset *test = x_test && y_test ? hone_dataset_from_tensors(x_test, y_test) : NULL;
    if (!train || !test) return fprintf(stderr, "fashion_cnn: %s\n", hone_error(ctx)), 1;
    if (epochs < 1 || rows < 1 || rows > hone_dataset_rows(train))
        return fprintf(stderr, "fashion_cnn: there are %lld pictures to learn from\n", (long long)hone_dataset_rows(train)), 2;

    const hone_transform flip = {.kind = HONE_RANDOM_HORIZONTAL_FLIP};
    int64_t *first = malloc((size_t)rows * sizeof *first);
    for (int64_t i = 0; i < rows; i++) first[i] = i;
    hone_loader *batches = hone_loader_new(train, .batch_size = 64, .rows = first, .n_rows = rows, .transforms = &flip,
                                           .n_transforms = 1);
    int64_t test_rows = rows < hone_dataset_rows(test) ? rows : hone_dataset_rows(test);
    hone_loader *held_out = hone_loader_new(test, .batch_size = (int)test_rows, .rows = first, .n_rows = test_rows, .no_shuffle = true);

    hone_model *model = hone_model_of(hone_sequential(ctx,
        block(ctx, 32), block(ctx, 64),
        hone_flatten(ctx), hone_dense(ctx, 128, .activation = HONE_RELU), hone_dropout_layer(ctx, 0.3), hone_dense(ctx, 10)));
    hone_compile(model, .optimizer = hone_adamw(ctx, .weight_decay = 0.01), .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS,
                 .auto_compute = true);
    const hone_schedule one_cycle = {.kind = HONE_SCHEDULE_ONE_CYCLE, .peak = 0.005};
    if (hone_ctx_status(ctx) != HONE_OK ||
        hone_fit_loader(model, batches, NULL, .epochs = epochs, .schedule = &one_cycle, .progress = true, .print = print) != HONE_OK)
        return fprintf(stderr, "fashion_cnn: %s\n", hone_error(ctx)), 1;

    hone_tensor *x_all, *y_all;
    double loss = 0, accuracy = 0;
    if (hone_loader_begin(held_out, 0) != HONE_OK || hone_loader_next(held_out, &x_all, &y_all) != HONE_OK ||
        hone_evaluate(model, x_all, y_all, 500, &loss, &accuracy) != HONE_OK)
        return fprintf(stderr, "fashion_cnn: %s\n", hone_error(ctx)), 1;
    printf("Loss: %.4f, Accuracy: %.4f\n", loss, accuracy);

    hone_model_release(model);
    hone_loader_free(batches), hone_loader_free(held_out);
    hone_dataset_free(train), hone_dataset_free(test);
    hone_tensor_free(x), hone_tensor_free(y), hone_tensor_free(x_test), hone_tensor_free(y_test);
    free(first);
    hone_ctx_release(ctx);
    return 0;
}
