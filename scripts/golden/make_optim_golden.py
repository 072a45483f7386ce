"""What torch.optim and the schedules of transformers and torch do: tests/data/optim.golden.safetensors (parameters of
y = x w^T + b after every tenth of 100 steps on the mean squared error, in float64; of w.* and g.*, weights of a convolution
after each of 10 steps with given gradients; averages of weights) and tests/data/optim.golden.json (learning rates). What
torch has not, by NumPy in float64: Lion, LAMB, and Adam with moments of 8 bits, for which tests/data/optim8.golden.safetensors
has 10 steps with given gradients of seven decades on 600 parameters, which are three blocks. Needs torch, transformers,
safetensors.

    python scripts/golden/make_optim_golden.py
"""
import json, pathlib

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

DATA = pathlib.Path(__file__).resolve().parents[2] / "tests" / "data"
RULES = {
    "sgd": (torch.optim.SGD, {"lr": 0.1}, 0),
    "sgd_decay": (torch.optim.SGD, {"lr": 0.05, "weight_decay": 0.1}, 0),
    "sgd_momentum": (torch.optim.SGD, {"lr": 0.02, "momentum": 0.9}, 0),
    "sgd_nesterov": (torch.optim.SGD, {"lr": 0.02, "momentum": 0.8, "nesterov": True, "weight_decay": 0.02}, 0),
    "sgd_clipped": (torch.optim.SGD, {"lr": 0.1}, 0.25),
    "adam": (torch.optim.Adam, {"lr": 0.01}, 0),
    "adam_decay": (torch.optim.Adam, {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}, 0),
    "adamw": (torch.optim.AdamW, {"lr": 0.01}, 0),
    "adamw_none": (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.0}, 0),
    "adamw_clipped": (torch.optim.AdamW, {"lr": 0.03, "weight_decay": 0.2}, 0.25),
}


E = 1.1920928955078125e-07  # torch.finfo(torch.float32).eps, Adafactor's default for float32
O = torch.optim
RULES |= {
    "amsgrad": (O.Adam, {"lr": 0.02, "amsgrad": True, "betas": (0.5, 0.6), "weight_decay": 0.05}, 0),
    "amsgradw": (O.AdamW, {"lr": 0.02, "amsgrad": True, "betas": (0.5, 0.6), "weight_decay": 0.05}, 0),
    "adagrad": (O.Adagrad, {"lr": 0.1}, 0),
    "adagrad_decay": (O.Adagrad, {"lr": 0.2, "lr_decay": 0.02, "weight_decay": 0.05, "initial_accumulator_value": 0.1, "eps": 1e-6}, 0),
    "rmsprop": (O.RMSprop, {"lr": 0.005}, 0),
    "rmsprop_momentum": (O.RMSprop, {"lr": 0.002, "alpha": 0.9, "momentum": 0.8, "weight_decay": 0.05}, 0),
    "rmsprop_centered": (O.RMSprop, {"lr": 0.002, "alpha": 0.95, "centered": True, "eps": 1e-3}, 0),
    "rmsprop_both": (O.RMSprop, {"lr": 0.001, "alpha": 0.95, "centered": True, "momentum": 0.7, "eps": 1e-3}, 0),
    "adadelta": (O.Adadelta, {}, 0),
    "adadelta_decay": (O.Adadelta, {"lr": 0.5, "rho": 0.95, "eps": 1e-4, "weight_decay": 0.1}, 0),
    "nadam": (O.NAdam, {"lr": 0.01}, 0),
    "nadam_decay": (O.NAdam, {"lr": 0.02, "betas": (0.8, 0.95), "momentum_decay": 0.02, "weight_decay": 0.1}, 0),
    "nadam_decoupled": (O.NAdam, {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True}, 0),
    "radam": (O.RAdam, {"lr": 0.02}, 0),
    "radam_decay": (O.RAdam, {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.1}, 0),
    "radam_decoupled": (O.RAdam, {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True}, 0),
    "adamax": (O.Adamax, {"lr": 0.02}, 0),
    "adamax_decay": (O.Adamax, {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.1}, 0),
    "adafactor": (O.Adafactor, {"lr": 0.05, "eps": (E, 1e-3)}, 0),
    "adafactor_decay": (O.Adafactor, {"lr": 0.03, "beta2_decay": -0.9, "eps": (1e-2, 0.1), "d": 1.5, "weight_decay": 0.3}, 0),
    "adafactor_clipped": (O.Adafactor, {"lr": 0.02, "eps": (E, 1e-3)}, 0.25),
    "by_value": (O.SGD, {"lr": 0.125}, (0.0625, None)),
    "by_both": (O.SGD, {"lr": 0.2}, (0.05, 0.1)),
    # After one iteration a step, with two pairs, PyTorch's own f32 is 1.1e-5 from its f64; these are within 1e-6.
    "lbfgs": (O.LBFGS, {"max_iter": 2, "history_size": 3, "line_search_fn": "strong_wolfe"}, 0),
    "lbfgs_long": (O.LBFGS, {"max_iter": 4, "lr": 0.1, "line_search_fn": "strong_wolfe"}, 0),
    "lbfgs_plain": (O.LBFGS, {"max_iter": 2, "lr": 0.03, "history_size": 5}, 0),
}


class ByHand:
    """Rules of papers, in float64."""

    def __init__(self, params, lr, betas, weight_decay=0.0, eps=1e-6):
        self.params, self.lr, self.betas, self.decay, self.eps, self.steps = params, lr, betas, weight_decay, eps, 0
        self.m = [np.zeros(p.shape) for p in params]
        self.v = [np.zeros(p.shape) for p in params]

    def zero_grad(self):
        for p in self.params:
            p.grad = None

    def step(self):
        self.steps += 1
        for i, p in enumerate(self.params):
            self.update(i, p.detach().numpy(), p.grad.numpy())


class Lion(ByHand):
    """Chen et al. 2023, algorithm 2."""

    def update(self, i, w, g):
        c = self.betas[0] * self.m[i] + (1 - self.betas[0]) * g
        self.m[i] = self.betas[1] * self.m[i] + (1 - self.betas[1]) * g
        w -= self.lr * (np.sign(c) + self.decay * w)


class Lamb(ByHand):
    """You et al. 2020, algorithm 2, phi the identity."""

    def update(self, i, w, g):
        self.m[i] = self.betas[0] * self.m[i] + (1 - self.betas[0]) * g
        self.v[i] = self.betas[1] * self.v[i] + (1 - self.betas[1]) * g * g
        m, v = self.m[i] / (1 - self.betas[0] ** self.steps), self.v[i] / (1 - self.betas[1] ** self.steps)
        r = m / (np.sqrt(v) + self.eps) + self.decay * w
        size, length = np.linalg.norm(w), np.linalg.norm(r)
        w -= self.lr * (size / length if size > 0 and length > 0 else 1) * r


class Muon:
    """torch.optim.Muon for matrices, its products in float64 instead of bfloat16, and AdamW for vectors."""

    def __init__(self, params, lr, weight_decay, adamw=1.0, **options):
        matrices, vectors = [p for p in params if p.dim() == 2], [p for p in params if p.dim() < 2]
        self.rules = [torch.optim.Muon(matrices, lr=lr, weight_decay=weight_decay, **options)]
        if vectors:
            self.rules.append(torch.optim.AdamW(vectors, lr=lr * adamw, weight_decay=weight_decay))

    def zero_grad(self):
        for r in self.rules:
            r.zero_grad()

    def step(self):
        half, torch.Tensor.bfloat16 = torch.Tensor.bfloat16, torch.Tensor.clone
        for r in self.rules:
            r.step()
        torch.Tensor.bfloat16 = half


RULES |= {
    "lion": (Lion, {"lr": 0.003, "betas": (0.9, 0.99)}, 0),
    "lion_decay": (Lion, {"lr": 0.005, "betas": (0.8, 0.95), "weight_decay": 0.5}, 0),
    "lamb": (Lamb, {"lr": 0.01, "betas": (0.9, 0.999), "weight_decay": 0.01}, 0),
    "lamb_clipped": (Lamb, {"lr": 0.005, "betas": (0.8, 0.95), "weight_decay": 0.0, "eps": 1e-4}, 0.25),
    "muon": (Muon, {"lr": 0.005, "weight_decay": 0.1}, 0),
    "muon_plain": (Muon, {"lr": 0.004, "weight_decay": 0.0, "momentum": 0.8, "nesterov": False, "adjust_lr_fn": "match_rms_adamw",
                          "ns_steps": 3, "adamw": 2.0}, 0.25),
}


def dynamic_map(signed):
    """Dettmers et al. 2022, section 1.3: decades of twice as many values each, the middles of equal cells; 0 and 1."""
    values = [0.0, 1.0]
    for decade in range(7):
        edges = np.linspace(0.1, 1, (1 if signed else 2) * 2**decade + 1)
        middles = 10.0 ** (decade - 6) * (edges[:-1] + edges[1:]) / 2
        values += [*middles, *(-middles if signed else [])]
    assert len(values) == 256
    return np.sort(values)


class Adam8:
    """torch.optim.Adam's and AdamW's step on moments that are quantized, to nearest, in blocks of 256 after it."""

    BLOCK = 256
    MAPS = dynamic_map(True), dynamic_map(False)

    def __init__(self, params, decoupled, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        self.params, self.decoupled, self.lr, self.betas, self.eps, self.decay = params, decoupled, lr, betas, eps, weight_decay
        self.moments = [[np.zeros(p.numel()), np.zeros(p.numel())] for p in params]
        self.steps = 0

    def zero_grad(self):
        for p in self.params:
            p.grad = None

    def quantized(self, x, values):
        out = np.empty_like(x)
        for i in range(0, len(x), self.BLOCK):
            block = x[i : i + self.BLOCK]
            scale = np.abs(block).max()
            near = np.abs(block[:, None] / (scale or 1) - values).argmin(1)
            out[i : i + self.BLOCK] = values[near] * scale
        return out

    def step(self):
        self.steps += 1
        for p, moments in zip(self.params, self.moments):
            x, g = p.detach().numpy().reshape(-1), p.grad.numpy().reshape(-1)
            if self.decoupled:
                x *= 1 - self.lr * self.decay
            else:
                g = g + self.decay * x
            m = moments[0] + (1 - self.betas[0]) * (g - moments[0])
            v = self.betas[1] * moments[1] + (1 - self.betas[1]) * g * g
            root = np.sqrt(v) / np.sqrt(1 - self.betas[1] ** self.steps) + self.eps
            x -= self.lr / (1 - self.betas[0] ** self.steps) * m / root
            moments[:] = [self.quantized(a, values) for a, values in zip((m, v), self.MAPS)]


RULES["adam8bit_decay"] = (lambda p, **o: Adam8(p, False, **o), RULES["adam_decay"][1], 0)
RULES["adamw8bit"] = (lambda p, **o: Adam8(p, True, **o), {"lr": 0.01, "weight_decay": 0.01}, 0)


def blocks():
    """Gradients that differ by seven decades within a block, so that every part of the map is used."""
    random = np.random.default_rng(0)
    first = random.standard_normal(600).astype(np.float32)
    scale = 10.0 ** random.uniform(-7, 0, 600)
    gradients = (random.standard_normal((10, 600)) * scale).astype(np.float32)
    p = torch.tensor(first.astype(np.float64))
    optimizer = Adam8([p], True, lr=0.01, weight_decay=0.1)
    for g in gradients:
        p.grad = torch.tensor(g.astype(np.float64))
        optimizer.step()
    out = {"first": torch.tensor(first), "gradients": torch.tensor(gradients), "last": p.float()}
    out |= {name: torch.tensor(a).float() for name, a in zip(("exp_avg", "exp_avg_sq"), optimizer.moments[0])}
    save_file(out, DATA / "optim8.golden.safetensors")


def convolution(out):
    """Weights of more than two axes: 10 steps with given gradients."""
    random = np.random.default_rng(1)
    shape = (4, 3, 2, 3)
    out["w.conv"] = torch.tensor(random.standard_normal(shape))
    gradients = out["g.conv"] = torch.tensor(random.standard_normal((10, *shape)))
    for name, make, flat in (("adafactor", lambda p: O.Adafactor(p, lr=0.05, eps=(E, 1e-3), weight_decay=0.1), False),
                             ("muon", lambda p: Muon(p, lr=0.02, weight_decay=0.1), True),
                             ("lamb", lambda p: Lamb(p, 0.02, (0.9, 0.999), 0.01), False)):
        p = out["w.conv"].clone().reshape(4, -1 if flat else 3, *(() if flat else (2, 3))).requires_grad_()
        rule, kept = make([p]), []
        for g in gradients:
            p.grad = g.reshape(p.shape).clone()
            rule.step()
            kept.append(p.detach().clone().reshape(shape))
        out[f"conv.{name}"] = torch.stack(kept)


def averages(out):
    """torch.optim.swa_utils on the same convolution's given "gradients", taken as the weights after each step."""
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    for name, fn in (("ema", get_ema_multi_avg_fn(0.9)), ("swa", None)):
        net = torch.nn.Conv2d(3, 4, (2, 3), bias=False).double()
        average, kept = AveragedModel(net, multi_avg_fn=fn), []
        for w in out["g.conv"]:
            net.weight.data = w.clone()
            average.update_parameters(net)
            kept.append(average.module.weight.detach().clone())
        out[name] = torch.stack(kept)


def torch_rates(rates):
    """100 steps of torch.optim.lr_scheduler, each beside the fields of hone_schedule that make the same."""
    S = O.lr_scheduler

    def warm(make, steps):
        return lambda o: S.SequentialLR(o, [S.LinearLR(o, 1 / steps, 1, steps - 1), make(o)], [steps])

    cases = [
        ("step", {"every": 30}, lambda o: S.StepLR(o, 30)),
        ("step", {"every": 7, "factor": 0.8, "warmup": 10}, warm(lambda o: S.StepLR(o, 7, 0.8), 10)),
        ("multistep", {"milestones": [20, 50, 51], "factor": 0.3}, lambda o: S.MultiStepLR(o, [20, 50, 51], 0.3)),
        ("exponential", {"factor": 0.97}, lambda o: S.ExponentialLR(o, 0.97)),
        ("exponential", {"factor": 0.9, "warmup": 25}, warm(lambda o: S.ExponentialLR(o, 0.9), 25)),
        ("linear", {"total": 80, "least": 0.03}, lambda o: S.LinearLR(o, 1, 0.1, 80)),
        ("polynomial", {"total": 80, "power": 2.5}, lambda o: S.PolynomialLR(o, 80, 2.5)),
        ("polynomial", {"total": 90}, lambda o: S.PolynomialLR(o, 90)),
        ("cosine", {"total": 100, "least": 0.01}, lambda o: S.CosineAnnealingLR(o, 100, 0.01)),
        ("cosine", {"total": 100, "least": 0.01, "warmup": 20}, warm(lambda o: S.CosineAnnealingLR(o, 80, 0.01), 20)),
        ("cosine_with_restarts", {"every": 30, "least": 0.01}, lambda o: S.CosineAnnealingWarmRestarts(o, 30, 1, 0.01)),
        ("cosine_with_restarts", {"every": 10, "restart": 2}, lambda o: S.CosineAnnealingWarmRestarts(o, 10, 2)),
        ("one_cycle", {"total": 100}, lambda o: S.OneCycleLR(o, 0.3, 100, cycle_momentum=False)),
        ("one_cycle", {"total": 100, "rise": 0.15, "start_divisor": 10, "end_divisor": 100},
         lambda o: S.OneCycleLR(o, 0.3, 100, pct_start=0.15, div_factor=10, final_div_factor=100, cycle_momentum=False)),
    ]
    kept = []
    for kind, fields, make in cases:
        optimizer = O.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
        schedule, values = make(optimizer), []
        for step in range(100):
            values.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if step < 99:
                schedule.step()
        kept.append({"kind": kind, **fields, "rates": values})
    random = np.random.default_rng(2)
    for fields, options in (({}, {}), ({"factor": 0.5, "patience": 3, "cooldown": 4, "least": 0.02, "threshold": 0.05},
                                       {"factor": 0.5, "patience": 3, "cooldown": 4, "min_lr": 0.02, "threshold": 0.05}),
                            ({"maximize": True, "patience": 2, "factor": 0.7}, {"mode": "max", "patience": 2, "factor": 0.7})):
        optimizer = O.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
        schedule, values = S.ReduceLROnPlateau(optimizer, **options), []
        metrics = (2 / np.arange(1, 101) ** 0.3 + random.uniform(0, 0.3, 100)).tolist()
        for m in metrics:
            values.append(optimizer.param_groups[0]["lr"])
            schedule.step(m)
        kept.append({"kind": "plateau", **fields, "metrics": metrics, "rates": values})
    rates["torch"] = kept


def main():
    blocks()
    torch.manual_seed(0)
    x, w, b = (torch.randn(s).double() for s in ((16, 5), (3, 5), (3,)))
    y = (torch.randn(16, 3) + x.float() @ torch.randn(5, 3)).double()
    out = {"x": x, "y": y, "w": w, "b": b}
    for name, (rule, options, clip) in RULES.items():
        params = [w.clone().requires_grad_(), b.clone().requires_grad_()]
        optimizer, kept = rule(params, **options), []

        def loss():
            optimizer.zero_grad()
            value = ((x @ params[0].T + params[1] - y) ** 2).mean()
            value.backward()
            return value

        for step in range(1, 101):
            loss()
            by_value, by_norm = clip if isinstance(clip, tuple) else (None, clip)
            if by_value:
                torch.nn.utils.clip_grad_value_(params, by_value)
            if by_norm:
                torch.nn.utils.clip_grad_norm_(params, by_norm)
            optimizer.step(loss) if rule is O.LBFGS else optimizer.step()
            if step % 10 == 0:
                kept.append(torch.cat([p.detach().flatten() for p in params]))
        out[name] = torch.stack(kept)
    convolution(out)
    averages(out)
    save_file({k: v.float().contiguous() for k, v in out.items()}, DATA / "optim.golden.safetensors")

    rates = {}
    for kind in ("constant", "linear", "cosine"):
        for warmup, total in ((0, 10), (4, 20), (7, 7)):
            optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
            make = getattr(transformers, f"get_{kind}_schedule_with_warmup")
            ends = {} if kind == "constant" else {"num_training_steps": total}
            schedule, kept = make(optimizer, num_warmup_steps=warmup, **ends), []
            for _ in range(total + 3):
                kept.append(schedule.get_last_lr()[0])
                optimizer.step()
                schedule.step()
            rates[f"{kind} {warmup} {total}"] = kept
    torch_rates(rates)
    (DATA / "optim.golden.json").write_text(json.dumps(rates) + "\n")


main()
