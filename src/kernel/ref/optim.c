/* Optimizer steps, in the order of operations of PyTorch's single-tensor implementations (torch/optim/). */
#include "kernel/ref/kernel.h"

typedef struct adam {
    real lr_decay, decay, beta1, one_minus_beta1, beta2, one_minus_beta2, step_size, root2, eps, scale;
} adam;

/* root2 = sqrt(1 - beta2^step): sqrt(v / (1 - beta2^step)) = sqrt(v) / root2. */
static adam constants(double learning_rate, double beta1, double beta2, double eps, double weight_decay,
                      int64_t step, double grad_scale)
{
    return (adam){.lr_decay = (real)(1 - learning_rate * weight_decay),
                  .decay = (real)weight_decay,
                  .beta1 = (real)beta1,
                  .one_minus_beta1 = (real)(1 - beta1),
                  .beta2 = (real)beta2,
                  .one_minus_beta2 = (real)(1 - beta2),
                  .step_size = (real)(learning_rate / (1 - pow(beta1, (double)step))),
                  .root2 = (real)sqrt(1 - pow(beta2, (double)step)),
                  .eps = (real)eps,
                  .scale = (real)grad_scale};
}

/* Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019. */
void HONE_K(adamw)(void *param, const void *grad, void *m, void *v, int64_t n, double learning_rate,
                   double beta1, double beta2, double eps, double weight_decay, int64_t step,
                   double grad_scale)
{
    const adam a = constants(learning_rate, beta1, beta2, eps, weight_decay, step, grad_scale);
    real *restrict p = param, *restrict first = m, *restrict second = v;
    const real *restrict g = grad;
    SIMD for (int64_t i = 0; i < n; i++)
    {
        real d = g[i] * a.scale, w = p[i] * a.lr_decay;
        real mi = first[i] + a.one_minus_beta1 * (d - first[i]);
        real vi = a.beta2 * second[i] + a.one_minus_beta2 * d * d;
        first[i] = mi;
        second[i] = vi;
        p[i] = w - a.step_size * mi / (real_sqrt(vi) / a.root2 + a.eps);
    }
}

/* Kingma and Ba, "Adam", ICLR 2015; weight decay is added to the gradient. */
void HONE_K(adam)(void *param, const void *grad, void *m, void *v, int64_t n, double learning_rate,
                  double beta1, double beta2, double eps, double weight_decay, int64_t step,
                  double grad_scale)
{
    const adam a = constants(learning_rate, beta1, beta2, eps, weight_decay, step, grad_scale);
    real *restrict p = param, *restrict first = m, *restrict second = v;
    const real *restrict g = grad;
    SIMD for (int64_t i = 0; i < n; i++)
    {
        real d = g[i] * a.scale + a.decay * p[i];
        real mi = first[i] + a.one_minus_beta1 * (d - first[i]);
        real vi = a.beta2 * second[i] + a.one_minus_beta2 * d * d;
        first[i] = mi;
        second[i] = vi;
        p[i] -= a.step_size * mi / (real_sqrt(vi) / a.root2 + a.eps);
    }
}

/* momentum_buffer NULL: plain descent. The first step sets the buffer to the gradient (dampening 0). */
void HONE_K(sgd)(void *param, const void *grad, void *momentum_buffer, int64_t n, double learning_rate,
                 double momentum, bool nesterov, double weight_decay, bool first_step, double grad_scale)
{
    real *restrict p = param, *restrict b = momentum_buffer;
    const real *restrict g = grad;
    real lr = (real)learning_rate, decay = (real)weight_decay, mu = (real)momentum, scale = (real)grad_scale;
    if (!b) {
        SIMD for (int64_t i = 0; i < n; i++) p[i] -= lr * (g[i] * scale + decay * p[i]);
        return;
    }
    real keep = first_step ? 0 : mu, own = nesterov ? 1 : 0, from_buffer = nesterov ? mu : 1;
    SIMD for (int64_t i = 0; i < n; i++)
    {
        real d = g[i] * scale + decay * p[i];
        real bi = (keep != 0 ? keep * b[i] : 0) + d; /* the buffer need not be set before the first step */
        b[i] = bi;
        p[i] -= lr * (own * d + from_buffer * bi);
    }
}

double HONE_K(sumsq)(const void *x, int64_t n)
{
    const real *v = x;
    double total = 0;
    SIMD_SUM(total) for (int64_t i = 0; i < n; i++) total += (double)v[i] * (double)v[i];
    return total;
}
