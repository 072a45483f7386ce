"""What torch.optim and transformers' schedules do: tests/data/optim.golden.safetensors (parameters of y = x w^T + b after
every tenth of 100 steps on the mean squared error, in float64) and tests/data/optim.golden.json (learning rates). Needs
torch, transformers, safetensors.

    python scripts/golden/make_optim_golden.py
"""
import json, pathlib

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


def main():
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
