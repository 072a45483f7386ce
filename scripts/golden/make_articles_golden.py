#!/usr/bin/env python3
"""tests/data/articles.golden.safetensors: the losses of 20 steps of PyTorch on the networks of examples/first_networks.c, with the
first weights that they began from, and on that of examples/simple_cnn.c, whose half a million first weights a formula gives
(numbers, which tests/test_articles.c has as well).

usage: make_articles_golden.py (torch 2.13, safetensors)"""
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

DATA = Path(__file__).resolve().parents[2] / "tests/data"
STEPS = 20


def numbers(count, seed):
    """In [-1, 1): number i is MurmurHash3's finalizer (Appleby 2011) of i and the seed."""
    x = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(seed)
    x = (x ^ x >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    x = (x ^ x >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    return (x ^ x >> np.uint32(16)).astype(np.float64) * 2.0**-31 - 1


def steps(net, loss, x, y, rate):
    """The losses of all of x and y in each step, Adam with its defaults but for the learning rate."""
    optimizer, losses = torch.optim.Adam(net.parameters(), lr=rate), []
    for _ in range(STEPS):
        optimizer.zero_grad()
        value = loss(net(x), y)
        value.backward()
        optimizer.step()
        losses.append(value.detach())
    return torch.stack(losses)


def run(name, net, loss, x, y, out):
    out[f"{name}.x"], out[f"{name}.y"] = x.clone(), y.clone()
    out |= {f"{name}.param.{k}": v.detach().clone() for k, v in net.named_parameters()}
    out[f"{name}.losses"] = steps(net, loss, x, y, 0.01)


def simple_cnn():
    net = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
                        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4096, 128), nn.ReLU(), nn.Linear(128, 10))
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):  # PyTorch's own bounds, +-1 / sqrt(inputs of a sum), for weights; biases 0.1
            bound = 0.1 if p.dim() == 1 else p[0].numel() ** -0.5
            p.copy_(torch.from_numpy(numbers(p.numel(), i) * bound).reshape(p.shape))
    x = torch.from_numpy(numbers(8 * 3 * 32 * 32, 100) / 2 + 0.5).float().reshape(8, 3, 32, 32)
    return steps(net, nn.CrossEntropyLoss(), x, torch.arange(8), 0.001)


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    out, x = {}, torch.rand(64, 2) * 2 - 1
    inside = ((x**2).sum(1, keepdim=True) < 0.6).float()
    run("binary", nn.Sequential(nn.Linear(2, 10), nn.ReLU(), nn.Linear(10, 1), nn.Sigmoid()), nn.BCELoss(), x, inside, out)
    run("regression", nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)), nn.MSELoss(), x,
        x[:, :1].abs() + 0.5 * x[:, 1:], out)
    out["simple_cnn.losses"] = simple_cnn()
    save_file({k: v.contiguous() for k, v in out.items()}, DATA / "articles.golden.safetensors")


if __name__ == "__main__":
    main()
