"""What PyTorch computes for every loss: tests/data/losses.golden.safetensors, all in float64.

    python scripts/golden/make_loss_golden.py tests/data/losses.golden.safetensors

A case is inputs and a function that gives one value an element, row or example, and, where PyTorch's mean is not the mean of
these, another that gives PyTorch's own. Stored are `case.in0`, ... and `case.class_weights` or `case.positive_weights`,
`case.none`, `case.mean`, and `case.grad0`, ...: the gradient of the mean in the real inputs. test_losses.c lists the same cases with Hone's options.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

generator = torch.Generator().manual_seed(7)
results = {}


def normal(*shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def uniform(*shape):
    return 0.05 + 0.9 * torch.rand(*shape, generator=generator, dtype=torch.float64)


def bits(*shape):
    return torch.randint(0, 2, shape, generator=generator).double()


def classes(n, *shape):
    return torch.randint(0, n, shape, generator=generator)


def numpy(x):
    x = x.detach().numpy()
    return np.ascontiguousarray(x).reshape(x.shape)


def case(name, inputs, none, mean=None, class_weights=None, wanted=1, positive_weights=None):
    """wanted: gradients of the first so many inputs."""
    inputs = [x.clone().requires_grad_() if i < wanted else x for i, x in enumerate(inputs)]
    losses = none(*inputs)
    loss = mean(*inputs) if mean else losses.mean()
    for i, gradient in enumerate(torch.autograd.grad(loss, inputs[:wanted])):
        results[f"{name}.grad{i}"] = numpy(gradient)
    for i, x in enumerate(inputs):
        results[f"{name}.in{i}"] = numpy(x)
    if class_weights is not None:
        results[f"{name}.class_weights"] = numpy(class_weights)
    if positive_weights is not None:
        results[f"{name}.positive_weights"] = numpy(positive_weights)
    results[f"{name}.none"], results[f"{name}.mean"] = numpy(losses), numpy(loss)


def both(function, **options):
    """PyTorch's function with reduction none and mean."""
    return (lambda *x: function(*x, reduction="none", **options)), (lambda *x: function(*x, reduction="mean", **options))


def focal(x, t, alpha, gamma):
    """torchvision.ops.sigmoid_focal_loss"""
    p, ce = torch.sigmoid(x), F.binary_cross_entropy_with_logits(x, t, reduction="none")
    loss = ce * (1 - (p * t + (1 - p) * (1 - t))) ** gamma
    return loss * (alpha * t + (1 - alpha) * (1 - t)) if alpha else loss


def smoothed(t, s, v):
    return (1 - s) * t + s / v


def log_probabilities(*shape):
    return normal(*shape).log_softmax(-1)


def kl(o, t):
    return F.kl_div(o, t, reduction="none").sum(-1)


def dice(o, t, smooth):
    o, t = o.flatten(1), t.flatten(1)
    return 1 - (2 * (o * t).sum(1) + smooth) / (o.sum(1) + t.sum(1) + smooth)


def contrastive(a, b, same, margin):
    d = (a - b).norm(dim=-1)
    return 0.5 * (same * d**2 + (1 - same) * F.relu(margin - d) ** 2)


def categorical(p, t, w=1):
    return -(w * t * p.log()).sum(-1)


def rows(function, **options):
    """Losses of class numbers over any leading axes."""
    def flat(x, y, reduction):
        losses = function(x.reshape(-1, x.shape[-1]), y.reshape(-1), reduction=reduction, **options)
        return losses.reshape(y.shape) if reduction == "none" else losses

    return (lambda x, y: flat(x, y, "none")), (lambda x, y: flat(x, y, "mean"))


shape = (4, 5)
case("mse", [normal(*shape), normal(*shape)], *both(F.mse_loss), wanted=2)
case("mae", [normal(*shape), normal(*shape)], *both(F.l1_loss), wanted=2)
case("huber", [3 * normal(*shape), normal(*shape)], *both(F.huber_loss, delta=0.7), wanted=2)
case("log_cosh", [normal(*shape), normal(*shape)], lambda o, t: torch.log(torch.cosh(o - t)), wanted=2)
case("hinge", [normal(*shape), 2 * bits(*shape) - 1], lambda o, t: F.relu(1 - o * t))
case("bce", [uniform(*shape), uniform(*shape)], *both(F.binary_cross_entropy))
case("bce_smoothed", [uniform(*shape), bits(*shape)], lambda o, t: F.binary_cross_entropy(o, smoothed(t, 0.2, 2), reduction="none"))
case("bce_logits", [normal(*shape), uniform(*shape)], *both(F.binary_cross_entropy_with_logits))
case("focal", [2 * normal(*shape), bits(*shape)], lambda o, t: focal(o, t, 0.25, 2))
case("focal_options", [2 * normal(*shape), bits(*shape)], lambda o, t: focal(o, t, 0.7, 0.5))
case("focal_plain", [2 * normal(*shape), bits(*shape)], lambda o, t: focal(o, t, None, 0))
case("kl_divergence", [log_probabilities(*shape), torch.cat([normal(3, 5).softmax(-1), F.one_hot(torch.tensor([2]), 5).double()])],
     kl, lambda o, t: F.kl_div(o, t, reduction="batchmean"))
case("cosine", [normal(*shape), normal(*shape)],
     *both(lambda o, t, reduction: F.cosine_embedding_loss(o, t, torch.ones(4), reduction=reduction)), wanted=2)
case("dice", [uniform(3, 2, 4), bits(3, 2, 4)], lambda o, t: dice(o, t, 1))
case("dice_bare", [uniform(3, 7), bits(3, 7)], lambda o, t: dice(o, t, 0))
case("triplet", [normal(*shape), normal(*shape), normal(*shape)], *both(F.triplet_margin_loss, margin=0.5), wanted=3)
case("contrastive", [normal(6, 3), normal(6, 3), torch.tensor([1.0, 0, 1, 0, 0, 1]).double()],
     lambda a, b, same: contrastive(a, b, same, 3), wanted=2)

p, w = normal(4, 5).softmax(-1), uniform(5)
case("categorical", [p, normal(4, 5).softmax(-1)], categorical)
case("categorical_options", [p, F.one_hot(classes(5, 4), 5).double()], lambda o, t: categorical(o, smoothed(t, 0.1, 5), w), class_weights=w)
case("categorical_logits", [normal(4, 5), normal(4, 5).softmax(-1)], *both(F.cross_entropy))
case("categorical_logits_options", [normal(4, 5), F.one_hot(classes(5, 4), 5).double()],
     lambda o, t: F.cross_entropy(o, t, reduction="none", weight=w, label_smoothing=0.1), class_weights=w)

y = classes(5, 2, 6)
padded, zeros = y.clone(), y.clone()
padded[0, 3:], zeros[1, :2] = -100, 0
case("cross_entropy", [normal(2, 6, 5), padded], *rows(F.cross_entropy))
case("cross_entropy_options", [normal(2, 6, 5), padded], *rows(F.cross_entropy, weight=w, label_smoothing=0.15), class_weights=w)
case("cross_entropy_ignore_3", [normal(2, 6, 5), y], *rows(F.cross_entropy, ignore_index=3))
case("cross_entropy_ignore_0", [normal(2, 6, 5), zeros], *rows(F.cross_entropy, weight=w, ignore_index=0), class_weights=w)
case("nll", [log_probabilities(2, 6, 5), padded], *rows(F.nll_loss, weight=w), class_weights=w)


def sparse(p, y, reduction, weight=None, label_smoothing=0.0):
    """of probabilities: that of their logarithms, which softmax leaves alone, as they are given"""
    none = F.nll_loss(p.log(), y, weight=weight, reduction="none", ignore_index=-100)
    weights = torch.ones(p.shape[-1], dtype=p.dtype) if weight is None else weight
    counted = (y >= 0).double()
    rest = -(weights * p.log()).mean(-1) * counted
    losses = (1 - label_smoothing) * none + label_smoothing * rest
    return losses if reduction == "none" else losses.sum() / (counted * weights[y.clamp(min=0)]).sum()


case("sparse", [normal(2, 6, 5).softmax(-1), padded], *rows(sparse))
case("sparse_options", [normal(2, 6, 5).softmax(-1), padded], *rows(sparse, weight=w, label_smoothing=0.15), class_weights=w)

def ctc(x, y, output_lengths=None, target_lengths=None, blank=0):
    """Batch first, of logits; targets below 0 end a row."""
    t = torch.full((len(x),), x.shape[1]) if output_lengths is None else output_lengths
    s = (y >= 0).long().cumprod(1).sum(1) if target_lengths is None else target_lengths
    return F.ctc_loss(x.log_softmax(-1).transpose(0, 1), y, t, s, blank=blank, reduction="none")


labels = torch.tensor([[1, 2, 2, 4], [3, 1, -1, -1], [-1, -1, -1, -1], [4, 4, 4, 4]])
case("ctc", [normal(4, 8, 5), labels], ctc)
case("ctc_options", [normal(3, 9, 4), torch.tensor([[0, 0, 2], [1, 2, 0], [2, 1, 1]]), torch.tensor([9, 5, 7]), torch.tensor([3, 2, 1])],
     lambda x, y, t, s: ctc(x, y, t, s, blank=3))

case("bce_weighted", [uniform(*shape), uniform(*shape)], lambda o, t: -(2.5 * t * o.log() + (1 - t) * (1 - o).log()))
case("bce_logits_weighted", [normal(*shape), uniform(*shape)],
     *both(F.binary_cross_entropy_with_logits, pos_weight=torch.tensor(2.5, dtype=torch.float64)))
case("bce_logits_negatives", [normal(*shape), bits(*shape)],
     *both(F.binary_cross_entropy_with_logits, pos_weight=torch.tensor(0.0, dtype=torch.float64)))
# 4 4 4 4 needs seven places
case("ctc_zero_infinity", [normal(4, 6, 5), labels],
     lambda x, y: F.ctc_loss(x.log_softmax(-1).transpose(0, 1), y, torch.full((4,), 6), torch.tensor([4, 2, 0, 4]), reduction="none",
                             zero_infinity=True))

# of Keras, by its formulas
t = 1 + classes(64, *shape).double() / 64  # and differences that f32 has exactly: percent of rounding would be all else
case("mape", [t + (2 * bits(*shape) - 1) * (1 + classes(4, *shape)) / 64, t],
     lambda o, t: 100 * (t - o).abs() / t.abs().clamp(min=1e-7))
case("msle", [3 * normal(*shape), 3 * uniform(*shape)],
     lambda o, t: (torch.log(o.clamp(min=1e-7) + 1) - torch.log(t.clamp(min=1e-7) + 1)) ** 2, wanted=2)
case("squared_hinge", [normal(*shape), 2 * bits(*shape) - 1], lambda o, t: F.relu(1 - o * t) ** 2)
case("poisson", [3 * uniform(*shape), classes(6, *shape).double()], *both(F.poisson_nll_loss, log_input=False, eps=1e-7))
case("poisson_log", [normal(*shape), classes(6, *shape).double()], *both(F.poisson_nll_loss, log_input=True))
w = 3 * uniform(5)
case("bce_logits_positives", [normal(*shape), uniform(*shape)], *both(F.binary_cross_entropy_with_logits, pos_weight=w), positive_weights=w)

# classes on axis 1
y = classes(4, 2, 3, 5)
y[0, 1] = -100
w = uniform(4)
case("cross_entropy_axis", [normal(2, 4, 3, 5), y], *both(F.cross_entropy, weight=w, label_smoothing=0.15), class_weights=w)
case("nll_axis", [normal(2, 4, 3, 5).log_softmax(1), y], *both(F.nll_loss))
case("by_parts_axis", [normal(2, 4, 3, 5), y], *both(F.cross_entropy))
case("categorical_logits_axis", [normal(2, 4, 3), normal(2, 4, 3).softmax(1)], *both(F.cross_entropy))
case("categorical_by_parts_axis", [normal(2, 4, 3), normal(2, 4, 3).softmax(1)], *both(F.cross_entropy))
case("kl_axis", [normal(2, 4, 3).log_softmax(1), normal(2, 4, 3).softmax(1)], lambda o, t: F.kl_div(o, t, reduction="none").sum(1))



def categorical_focal(x, t, alpha=0.25, gamma=2, dim=-1):
    """keras.losses.CategoricalFocalCrossentropy's formula"""
    p = x.softmax(dim)
    return -(alpha * (1 - p) ** gamma * t * p.log()).sum(dim)


def sparse_focal(x, y, w, reduction):
    hot = F.one_hot(y.clamp(min=0), x.shape[-1]).double() * (y >= 0)[..., None]
    none = categorical_focal(x, w * smoothed(hot, 0.1, x.shape[-1]) * (y >= 0)[..., None], 1, 1.5)
    return none if reduction == "none" else none.sum() / (w[y.clamp(min=0)] * (y >= 0)).sum()


def categorical_dice(p, t, smooth):
    p, t = p.flatten(2), t.flatten(2)
    return (1 - (2 * (p * t).sum(2) + smooth) / (p.sum(2) + t.sum(2) + smooth)).mean(1)


case("categorical_focal", [normal(4, 5), normal(4, 5).softmax(-1)], categorical_focal)
case("categorical_focal_axis", [normal(2, 4, 3), F.one_hot(classes(4, 2, 3), 4).double().transpose(1, 2).contiguous()],
     lambda x, t: categorical_focal(x, t, 0.7, 0.5, 1))
w, y = uniform(5), classes(5, 2, 6)
y[0, 4:] = -1
case("sparse_focal", [normal(2, 6, 5), y], lambda x, y: sparse_focal(x, y, w, "none"), lambda x, y: sparse_focal(x, y, w, "mean"), class_weights=w)
case("categorical_dice", [normal(3, 4, 2, 5).softmax(1), F.one_hot(classes(4, 3, 2, 5), 4).double().permute(0, 3, 1, 2).contiguous()],
     lambda p, t: categorical_dice(p, t, 1))
case("joined_triplet", [normal(4, 3, 5), torch.zeros(4).double()],
     *both(lambda x, t, reduction: F.triplet_margin_loss(*x.unbind(1), margin=0.5, reduction=reduction)))
case("joined_contrastive", [normal(6, 6), torch.tensor([1.0, 0, 1, 0, 0, 1]).double()], lambda x, same: contrastive(x[:, :3], x[:, 3:], same, 3))

save_file(results, sys.argv[1])
Path(sys.argv[1]).chmod(0o644)
print(f"{len(results)} tensors, {Path(sys.argv[1]).stat().st_size} bytes")
