/* The part of the kernel list for optimizers. Included by list.h. */
#ifndef HONE_SRC_KERNEL_LIST_OPTIM_H
#define HONE_SRC_KERNEL_LIST_OPTIM_H

#include "tensor/tensor.h"

/* Elementwise rules, X(name, state vectors); their formulas are `one` in kernel/ref/optim.c. */
#define HONE__OPTIM_KINDS(X)                                                                                  \
    X(SGD, 0) X(MOMENTUM, 1) X(ADAM, 2) X(AMSGRAD, 3) X(ADAMAX, 2) X(ADAGRAD, 1) X(ADADELTA, 2) X(LION, 1)    \
    X(RMSPROP, 1) X(RMSPROP_MOMENTUM, 2) X(RMSPROP_CENTERED, 2) X(RMSPROP_CENTERED_MOMENTUM, 3)
typedef enum hone__optim_kind {
#define HONE__OPTIM_KIND(name, states) HONE__##name,
    HONE__OPTIM_KINDS(HONE__OPTIM_KIND)
#undef HONE__OPTIM_KIND
} hone__optim_kind;

/* One step, the same for all parameters of a group. A rule sees the gradient d = scale g + decay w, and takes its change
   from keep w: with coupled weight decay keep is 1, with decoupled decay is 0. */
typedef struct hone__optim_step {
    hone__optim_kind kind;
    double scale, decay, keep;
    double rate;          /* the learning rate, corrections of bias included */
    double own;           /* what d counts beside its running mean (NAdam, Nesterov) */
    double beta1, beta2;  /* how much of the means of d and d^2 a step keeps */
    double root, epsilon; /* the root of the mean of d^2 is multiplied by root, and epsilon added */
    double momentum;
} hone__optim_step;

enum { HONE__ADAM8_BLOCK = 256 }; /* elements that share a scale */

/* param, grad and states are n reals. */
#define HONE_KERNEL_LIST_OPTIM(K)                                                                             \
    K(void, optim, (const hone__optim_step *step, void *param, const void *grad, void *const *state, int64_t n)) \
    /* Adam (W: decoupled) with moments of 8 bits, n a multiple of HONE__ADAM8_BLOCK; one scale a block each (kernel/ref/adam8.c); \
       grad is multiplied by grad_scale first; step counts from 1 */                                          \
    K(void, adam8, (bool decoupled, void *param, const void *grad, uint8_t *m, uint8_t *v, float *m_scale, float *v_scale, \
                    int64_t n, double learning_rate, double beta1, double beta2, double eps, double weight_decay, \
                    int64_t step, double grad_scale))                                                         \
    /* r = rate m / (sqrt(v) root + epsilon) + decay param; with grad: updates m and v first, and is the sum of r^2;  \
       without: param -= change r */                                                                          \
    K(double, lamb, (const hone__optim_step *step, void *param, const void *grad, void *m, void *v, int64_t n, double change)) \
    /* u = scale grad / sqrt(max(row column, epsilon^2)); param NULL: the sum of u^2; else param = keep param - change u */ \
    K(double, adafactor, (const hone__optim_step *step, void *param, const void *grad, double row, const void *column, \
                          int64_t n, double change))                                                          \
    /* y += scale x^2 */                                                                                      \
    K(void, add_squares, (void *y, const void *x, double scale, int64_t n))                                   \
    K(double, sumsq, (const void *x, int64_t n))

#endif
