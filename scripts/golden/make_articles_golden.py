#!/usr/bin/env python3
"""tests/data/articles.golden.safetensors: the losses of 20 steps of PyTorch on the networks of examples/first_networks.c and
examples/simple_cnn.c's shape in small, with the first weights that they began from.

usage: make_articles_golden.py (torch 2.13, safetensors)"""
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

DATA = Path(__file__).resolve().parents[2] / "tests/data"
STEPS = 20


def run(name, net, loss, x, y, out):
    """All of x and y in each step, Adam with its defaults but for the learning rate."""
    out[f"{name}.x"], out[f"{name}.y"] = x.clone(), y.clone()
    out |= {f"{name}.param.{k}": v.detach().clone() for k, v in net.named_parameters()}
    optimizer, losses = torch.optim.Adam(net.parameters(), lr=0.01), []
    for _ in range(STEPS):
        optimizer.zero_grad()
        value = loss(net(x), y)
        value.backward()
        optimizer.step()
        losses.append(value.detach())
    out[f"{name}.losses"] = torch.stack(losses)


def main():
    torch.manual_seed(0)
    out, x = {}, torch.rand(64, 2) * 2 - 1
    inside = ((x**2).sum(1, keepdim=True) < 0.6).float()
    run("binary", nn.Sequential(nn.Linear(2, 10), nn.ReLU(), nn.Linear(10, 1), nn.Sigmoid()), nn.BCELoss(), x, inside, out)
    run("regression", nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)), nn.MSELoss(), x,
        x[:, :1].abs() + 0.5 * x[:, 1:], out)
    pictures = torch.rand(16, 3, 16, 16)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),
                        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 10))
    run("cnn", net, nn.CrossEntropyLoss(), pictures, torch.randint(10, (16,)), out)
    out["cnn.y"] = out["cnn.y"].int()
    save_file({k: v.contiguous() for k, v in out.items()}, DATA / "articles.golden.safetensors")


if __name__ == "__main__":
    main()
