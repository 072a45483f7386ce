/* The SimpleCNN of PyTorch's beginners: two convolutions, 3 -> 32 -> 64, and two dense layers, 4096 -> 128 -> 10, for the colour
   pictures of 32 x 32 of CIFAR-10 (Krizhevsky 2009):
       x = pool(relu(conv1(x)))       conv1 = nn.Conv2d(3, 32, 3, padding=1)     pool = nn.MaxPool2d(2)
       x = pool(relu(conv2(x)))       conv2 = nn.Conv2d(32, 64, 3, padding=1)
       x = relu(fc1(x.flatten(1)))    fc1 = nn.Linear(64 * 8 * 8, 128)
       return fc2(x)                  fc2 = nn.Linear(128, 10)                   nn.CrossEntropyLoss(), optim.Adam(lr=0.001)
   tests/test_articles.c trains both from the same first weights: each of the first 20 losses is that of PyTorch.
   FOLDER is that of CIFAR-10's binary version, with data_batch_1.bin and so on and test_batch.bin. By default Fashion-MNIST
   (Xiao et al. 2017; Debian's dataset-fashion-mnist) stands in for it: grey pictures of 28 x 28 as 3 x 32 x 32. Five epochs, 40 s on
   two cores with AMX, tell 0.918 of its test pictures right.
   usage: simple_cnn [FOLDER [EPOCHS [PICTURES [SEED]]]] */
#include <hone/hone.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 32, GREY_SIDE = 28, EDGE = (SIDE - GREY_SIDE) / 2, CLASSES = 10 };

/* Pictures and their classes in bytes; grey: [n, 28, 28] instead of [n, 3, 32, 32]. */
typedef struct pictures {
    hone_tensor *x, *y;
    bool grey;
} pictures;

/* CIFAR-10, if the folder has it, else Fashion-MNIST. */
static bool load(hone_ctx *ctx, const char *folder, bool test, pictures *p)
{
    char path[4096], labels[4096];
    snprintf(path, sizeof path, "%s/%s", folder, test ? "test_batch.bin" : "data_batch_1.bin");
    FILE *file = fopen(path, "rb");
    p->grey = !file;
    if (file) {
        fclose(file);
        return hone_cifar10_load(ctx, test ? path : folder, &p->x, &p->y) == HONE_OK;
    }
    snprintf(path, sizeof path, "%s/%s-images-idx3-ubyte.gz", folder, test ? "t10k" : "train");
    snprintf(labels, sizeof labels, "%s/%s-labels-idx1-ubyte.gz", folder, test ? "t10k" : "train");
    p->x = hone_idx_load(ctx, path), p->y = hone_idx_load(ctx, labels);
    return p->x && p->y;
}

/* A grey picture amid the larger one, the same in red, green and blue. */
static hone_status read_grey(void *user, hone_ctx *ctx, int64_t row, void *x, void *y)
{
    const pictures *p = user;
    const uint8_t *from = (const uint8_t *)hone_tensor_data(p->x) + row * GREY_SIDE * GREY_SIDE;
    float(*to)[SIDE][SIDE] = x;
    (void)ctx;
    memset(x, 0, 3 * SIDE * SIDE * sizeof(float));
    for (int i = 0; i < 3 * GREY_SIDE * GREY_SIDE; i++) {
        int channel = i / (GREY_SIDE * GREY_SIDE), at = i % (GREY_SIDE * GREY_SIDE);
        to[channel][EDGE + at / GREY_SIDE][EDGE + at % GREY_SIDE] = (float)from[at] / 255;
    }
    *(int32_t *)y = ((const uint8_t *)hone_tensor_data(p->y))[row];
    return HONE_OK;
}

static hone_dataset *dataset(hone_ctx *ctx, pictures *p)
{
    if (!p->grey) return hone_dataset_from_tensors(p->x, p->y);
    return hone_dataset_new(ctx, hone_tensor_shape(p->y).dim[0], HONE_F32, HONE_SHAPE(3, SIDE, SIDE), HONE_I32, HONE_SCALAR, read_grey, p);
}

static void print(void *user, const char *text) { (void)user, fputs(text, stderr); }

static int learn(hone_ctx *ctx, hone_dataset *learnt, hone_dataset *held_out, int epochs, int64_t rows)
{
    int64_t n_test = hone_dataset_rows(held_out), *first = malloc((size_t)hone_dataset_rows(learnt) * sizeof *first);
    for (int64_t i = 0; i < hone_dataset_rows(learnt); i++) first[i] = i;
    hone_loader *batches = hone_loader_new(learnt, .batch_size = 64, .rows = first, .n_rows = rows);
    hone_loader *tests = hone_loader_new(held_out, .batch_size = 500, .rows = first, .n_rows = rows < n_test ? rows : n_test,
                                         .no_shuffle = true);

    hone_model *model = hone_model_of(hone_sequential(ctx,
        hone_conv2d(ctx, 32, 3, .padding = HONE_SAME, .activation = HONE_RELU),
        hone_max_pool2d(ctx, 2),
        hone_conv2d(ctx, 64, 3, .padding = HONE_SAME, .activation = HONE_RELU),
        hone_max_pool2d(ctx, 2),
        hone_flatten(ctx),
        hone_dense(ctx, 128, .activation = HONE_RELU),
        hone_dense(ctx, CLASSES)));
    hone_compile(model, .optimizer = hone_adam(ctx), .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS, .auto_compute = true);

    double loss = 0, accuracy = 0;
    bool done = hone_ctx_status(ctx) == HONE_OK &&
                hone_fit_loader(model, batches, NULL, .epochs = epochs, .progress = true, .print = print) == HONE_OK &&
                hone_evaluate_loader(model, tests, &loss, &accuracy, 0, NULL) == HONE_OK;
    if (done) printf("Loss: %.4f, Accuracy: %.4f\n", loss, accuracy);
    else fprintf(stderr, "simple_cnn: %s\n", hone_error(ctx));

    hone_model_release(model);
    hone_loader_free(batches), hone_loader_free(tests);
    free(first);
    return done ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : "/usr/share/datasets/fashion-mnist";
    hone_ctx *ctx = hone_ctx_new(.seed = argc > 4 ? strtoull(argv[4], NULL, 10) : 0);
    pictures train = {0}, test = {0};
    int status = 1;
    if (load(ctx, folder, false, &train) && load(ctx, folder, true, &test)) {
        hone_dataset *learnt = dataset(ctx, &train), *held_out = dataset(ctx, &test);
        int64_t n = hone_dataset_rows(learnt), rows = argc > 3 ? atoll(argv[3]) : n;
        bool enough = rows >= 1 && rows <= n;
        if (enough)
            printf("%lld pictures of %s\n", (long long)rows,
                   train.grey ? "Fashion-MNIST, as 3 x 32 x 32, stand in for CIFAR-10 (give the folder of its .bin files, if you have them)"
                              : "CIFAR-10");
        else fprintf(stderr, "simple_cnn: there are %lld pictures to learn from\n", (long long)n);
        status = enough ? learn(ctx, learnt, held_out, argc > 2 ? atoi(argv[2]) : 5, rows) : 2;
        hone_dataset_free(learnt), hone_dataset_free(held_out);
    } else {
        fprintf(stderr, "simple_cnn: %s\n", hone_error(ctx));
    }
    hone_tensor_free(train.x), hone_tensor_free(train.y), hone_tensor_free(test.x), hone_tensor_free(test.y);
    hone_ctx_release(ctx);
    return status;
}
