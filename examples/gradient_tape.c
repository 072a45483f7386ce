/* A 2-10-1 perceptron by hand: weights are plain tensors, the gradient is asked for, the update is written out.
   Learns whether a point lies inside a circle. */
#include <hone/hone.h>

#include <stdio.h>

enum { POINTS = 256 };

/* From points [N, 2], labels [N, 1] and a learning rate to the loss; each weight is changed as the graph runs. */
static void step(void *user, hone_graph *tape, hone_node *const *in, hone_node **out)
{
    hone_tensor **weights = user;
    hone_node *x = in[0], *y = in[1], *learning_rate = in[2], *w[4], *g[4];
    for (int i = 0; i < 4; i++) w[i] = hone_variable(tape, weights[i]);

    hone_node *hidden = hone_tanh(hone_add(hone_matmul(x, w[0]), w[1]));
    hone_node *p = hone_sigmoid(hone_add(hone_matmul(hidden, w[2]), w[3]));
    hone_node *loss = hone_mean(hone_binary_cross_entropy(p, y), HONE_ALL_AXES, false);

    hone_grad(loss, 4, w, g);
    for (int i = 0; i < 4; i++) hone_assign(w[i], hone_sub(w[i], hone_mul(learning_rate, g[i]))); /* w -= lr * g */
    out[0] = loss;
}

/* Numbers in [-1, 1) that look random: a linear congruential generator. */
static float next(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / (float)(1u << 23) - 1;
}

int main(void)
{
    hone_ctx *ctx = hone_ctx_new();
    unsigned state = 7;
    float x[POINTS][2], y[POINTS], w1[2][10], w2[10], zeros[10] = {0}, rate = 1.0f;
    for (int i = 0; i < POINTS; i++) {
        x[i][0] = next(&state), x[i][1] = next(&state);
        y[i] = x[i][0] * x[i][0] + x[i][1] * x[i][1] < 0.5f;
    }
    for (int i = 0; i < 10; i++) w1[0][i] = 2 * next(&state), w1[1][i] = 2 * next(&state), w2[i] = next(&state);

    hone_tensor *weights[4] = {
        hone_tensor_from_f32(ctx, HONE_SHAPE(2, 10), &w1[0][0]), hone_tensor_from_f32(ctx, HONE_SHAPE(10), zeros),
        hone_tensor_from_f32(ctx, HONE_SHAPE(10, 1), w2), hone_tensor_from_f32(ctx, HONE_SHAPE(1), zeros)};
    hone_tensor *inputs[3] = {hone_tensor_from_f32(ctx, HONE_SHAPE(POINTS, 2), &x[0][0]),
                              hone_tensor_from_f32(ctx, HONE_SHAPE(POINTS, 1), y),
                              hone_tensor_from_f32(ctx, HONE_SHAPE(1), &rate)};
    hone_function *train = hone_function_new(ctx, 3, 1, step, weights);

    for (int epoch = 0; epoch <= 200; epoch++) {
        if (hone_function_call(train, inputs) != HONE_OK) return fprintf(stderr, "%s\n", hone_error(ctx)), 1;
        if (epoch % 10 == 0) printf("epoch %3d  loss %.4f\n", epoch, hone_tensor_get(hone_function_output(train, 0), 0));
    }

    hone_function_free(train);
    for (int i = 0; i < 4; i++) hone_tensor_free(weights[i]);
    for (int i = 0; i < 3; i++) hone_tensor_free(inputs[i]);
    hone_ctx_release(ctx);
    return 0;
}
