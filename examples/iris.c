/* Classifying irises, in the functional style: 4 -> Dense 10 relu -> Dense 3 softmax.
   usage: iris [FILE.csv [SEED [PICTURE]]]     PICTURE: an .svg or .png file for the curves of its training */
#include <hone/hone.h>

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    hone_ctx *ctx = hone_ctx_new(.seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 0);

    hone_frame *iris = hone_frame_load(ctx, argc > 1 ? argv[1] : "examples/data/iris.csv"), *train, *test;
    hone_pipeline *pipeline = hone_pipeline_new(ctx, .target = "species");
    hone_pipeline_add(pipeline, HONE_STANDARD_SCALER);
    hone_tensor *x, *y, *x_test, *y_test;
    if (hone_frame_split(iris, 0.2, hone_seed(ctx), &train, &test) != HONE_OK ||
        hone_pipeline_fit(pipeline, train) != HONE_OK ||
        hone_pipeline_apply(pipeline, train, &x, &y) != HONE_OK ||
        hone_pipeline_apply(pipeline, test, &x_test, &y_test) != HONE_OK)
        return fprintf(stderr, "iris: %s\n", hone_error(ctx)), 1;

    hone_graph *graph = hone_graph_new(ctx);
    hone_node *input = hone_input(graph, "features", HONE_F32, HONE_SHAPE(HONE_BATCH, 4));
    hone_node *hidden = hone_apply(hone_dense(ctx, 10, .activation = HONE_RELU), input);
    hone_node *output = hone_apply(hone_dense(ctx, 3, .activation = HONE_SOFTMAX), hidden);
    hone_model *model = hone_model_new(1, &input, 1, &output);

    hone_compile(model, .optimizer = hone_adam(ctx), .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY);
    hone_history *history = NULL;
    double loss = 0, accuracy = 0;
    if (hone_ctx_status(ctx) != HONE_OK ||
        hone_fit(model, x, y, &history, .epochs = 100, .batch_size = 32, .validation_split = 0.2) != HONE_OK ||
        hone_evaluate(model, x_test, y_test, 32, &loss, &accuracy) != HONE_OK)
        return fprintf(stderr, "iris: %s\n", hone_error(ctx)), 1;
    printf("Loss: %.4f, Accuracy: %.4f\n", loss, accuracy);
    if (argc > 3 && hone_plot_history(ctx, argv[3], "Irises", history, NULL) != HONE_OK) fprintf(stderr, "iris: %s\n", hone_error(ctx));

    hone_history_free(history);
    hone_model_release(model);
    hone_graph_release(graph);
    hone_tensor_free(x), hone_tensor_free(y), hone_tensor_free(x_test), hone_tensor_free(y_test);
    hone_pipeline_free(pipeline);
    hone_frame_free(iris), hone_frame_free(train), hone_frame_free(test);
    hone_ctx_release(ctx);
    return 0;
}
