"""What torch.optim and transformers' schedules do: tests/data/optim.golden.safetensors (parameters of y = x w^T + b after
every tenth of 100 steps on the mean squared error, in float64) and tests/data/optim.golden.json (learning rates). For Adam
with moments of 8 bits the same by NumPy in float64, and tests/data/optim8.golden.safetensors: 10 steps with given
gradients of seven decades on 600 parameters, which are three blocks. Needs torch, transformers, safetensors.

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


def main():
    blocks()
    torch.manual_seed(0)
    x, w, b = (torch.randn(s).double() for s in ((16, 5), (3, 5), (3,)))
    y = (torch.randn(16, 3) + x.float() @ torch.randn(5, 3)).double()
    out = {"x": x, "y": y, "w": w, "b": b}
    for name, (rule, options, clip) in RULES.items():
        params = [w.clone().requires_grad_(), b.clone().requires_grad_()]
        optimizer, kept = rule(params, **options), []
        for step in range(1, 101):
            optimizer.zero_grad()
            ((x @ params[0].T + params[1] - y) ** 2).mean().backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(params, clip)
            optimizer.step()
            if step % 10 == 0:
                kept.append(torch.cat([p.detach().flatten() for p in params]))
        out[name] = torch.stack(kept)
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
    (DATA / "optim.golden.json").write_text(json.dumps(rates, indent=1) + "\n")


main()
