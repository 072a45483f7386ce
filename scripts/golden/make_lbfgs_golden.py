"""What torch.optim.LBFGS does, evaluation by evaluation: tests/data/lbfgs.golden.safetensors. For three functions of six parameters (a
valley, which is not convex, a logistic regression and a quartic) and several options, every point at which the loss was asked for, those that the
line search gave up included, and how many they were after each step; for the linear regression of make_optim_golden.py, by PyTorch in
float64, the parameters after each step. Of each path as much as runs in float32 (nine, whose gradients are
rounded otherwise; of the two functions losses are in float64) keep to within 5e-6 of its size, so that a test may ask for 1e-5: where a
line search decides on differences that float32 does not have, paths part. Needs torch, safetensors.

    python scripts/golden/make_lbfgs_golden.py
"""
import pathlib

import torch
from safetensors.torch import load_file, save_file

DATA = pathlib.Path(__file__).resolve().parents[2] / "tests" / "data"
N, NEAR, RUNS = 6, 5e-6, 9
generator = torch.Generator().manual_seed(1)
X = (torch.randn(24, N, generator=generator) * torch.tensor([2, 1, 0.5, 1, 3, 1])).double()
Y = torch.randn(24, generator=generator).sign().double()


def valley(x):
    a, b = x[:-1], x[1:]
    return (2 * (b - a * a) ** 2 + (1 - a) ** 2).sum() / 8


def logistic(x):
    return torch.nn.functional.softplus(-Y * (X @ x)).mean() + 0.02 * (x * x).sum()


def quartic(x):
    """So flat that the sum of the gradient's absolute values is below 1."""
    return (x**4 / 64 + x * x / 256).sum() + (x.sum() - 1) ** 2 / 64


FUNCTIONS = {"valley": (valley, [-0.75, 0.25, -0.5, 0.75, 1.25, -0.25]), "logistic": (logistic, [1, -1, 2, 0.5, -0.25, 0.75]),
             "quartic": (quartic, [0.5, -0.75, 0.25, 0.875, -0.625, 0.375])}
OPTIONS = {  # and how many steps
    "one": ({"max_iter": 1, "max_eval": 25}, 30),
    "history": ({"max_iter": 5, "max_eval": 25, "history_size": 3}, 8),
    "short": ({"max_iter": 4, "max_eval": 25, "lr": 0.03}, 10),  # the line search has to lengthen the step
    "long": ({"max_iter": 4, "max_eval": 25, "lr": 2}, 10),  # or to shorten it
    "far": ({"max_iter": 4, "max_eval": 25, "lr": 5}, 10),
    "cut": ({"max_iter": 4, "max_eval": 5, "lr": 0.03}, 10),
    "stopped": ({"max_iter": 4, "max_eval": 3, "lr": 20}, 10),
    "few": ({"max_iter": 6, "max_eval": 4}, 10),
    "plain": ({"max_iter": 2, "lr": 0.2, "history_size": 4}, 20),
    "whole": ({"max_iter": 3, "history_size": 4}, 10),
}


def path(function, start, options, steps, dtype, double_loss=True, seed=0):
    """Points at which the loss was asked for, counts of them after each step, points after each step."""
    p = torch.tensor(start, dtype=dtype, requires_grad=True)
    line = None if "max_eval" not in options else "strong_wolfe"
    noise = torch.Generator().manual_seed(seed)
    optimizer, points, counts, ends = torch.optim.LBFGS([p], line_search_fn=line, **options), [], [], []

    def closure():
        x = p.detach().to(torch.float64 if double_loss else dtype).requires_grad_()
        loss = function(x)
        loss.backward()
        p.grad = x.grad.to(dtype)
        if seed:  # a last bit more or less
            p.grad *= 1 + torch.finfo(dtype).eps * torch.randint(-1, 2, p.shape, generator=noise)
        points.append(p.detach().double().clone())
        return loss.detach()

    for _ in range(steps):
        optimizer.step(closure)
        counts.append(len(points))
        ends.append(p.detach().double().clone())
    return torch.stack(points), counts, torch.stack(ends)


def same(a, b):
    """How many rows keep near each other."""
    n = min(len(a), len(b))
    far = ((a[:n] - b[:n]).abs() / a[:n].abs().clamp(min=1)).amax(1) > NEAR
    return int(far.nonzero()[0]) if far.any() else n


def kept(name, function, start, options, steps, double_loss):
    """path() in float64: the points, counts and ends that float32 can follow."""
    points, counts, ends = path(function, start, options, steps, torch.float64)
    n, m = len(points), steps
    for seed in range(RUNS):
        again = path(function, start, options, steps, torch.float32, double_loss, seed)
        n, m = min(n, same(points, again[0])), min(m, same(ends, again[2]))
        m = min([m] + [i for i, (a, b) in enumerate(zip(counts, again[1])) if a != b])
    m = min(m, sum(c <= n for c in counts))
    print(f"{name}: {n} of {len(points)} evaluations, {m} of {steps} steps")
    return points[:n].float(), torch.tensor(counts[:m], dtype=torch.int32), ends[:m].float()


def main():
    out = {"x": X.float(), "y": Y.float()}
    assert torch.equal(out["x"].double(), X)
    for name, (function, start) in FUNCTIONS.items():
        out[f"{name}.start"] = torch.tensor(start, dtype=torch.float32)
        for kind, (options, steps) in OPTIONS.items():
            out[f"{name}.{kind}.points"], out[f"{name}.{kind}.counts"], _ = kept(f"{name}.{kind}", function, start, options, steps, True)

    data = {k: v for k, v in load_file(DATA / "optim.golden.safetensors").items() if k in "xywb"}

    def regression(p):
        x, y = data["x"].to(p.dtype), data["y"].to(p.dtype)
        return ((x @ p[:15].reshape(3, 5).T + p[15:] - y) ** 2).mean()

    start = torch.cat([data["w"].flatten(), data["b"]]).tolist()
    options = {"max_iter": 2, "max_eval": 25, "history_size": 3}
    out["regression.steps"] = kept("regression", regression, start, options, 30, False)[2]
    target = DATA / "lbfgs.golden.safetensors"
    save_file({k: v.contiguous() for k, v in out.items()}, target)
    target.chmod(0o644)


main()
