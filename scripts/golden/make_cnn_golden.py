"""Twenty steps of a small convolutional network in PyTorch: tests/data/cnn.golden.safetensors. conv 3 -> 6 relu, max pool,
conv 6 -> 8 relu, max pool, dense 16 relu, dense 5; cross entropy, Adam (1e-2), always the same batch. Holds the batch,
the initial weights by Hone's names and the loss before each step. Needs torch, safetensors.

    python scripts/golden/make_cnn_golden.py
"""
import pathlib

import torch
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    torch.manual_seed(3)
    torch.set_num_threads(1)
    nn = torch.nn
    net = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(),
                        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 5))
    x, y = torch.randn(12, 3, 8, 8), torch.randint(0, 5, (12,))
    golden = {"x": x, "y": y.int()}
    for place, name in {"0": "0", "3": "2", "7": "5", "9": "6"}.items():  # Hone's layers hold their relu
        for part in ("weight", "bias"):
            golden[f"{name}.{part}"] = net.get_parameter(f"{place}.{part}").detach().clone()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    golden["losses"] = torch.tensor(losses)
    target = ROOT / "tests" / "data" / "cnn.golden.safetensors"
    save_file(golden, target)
    target.chmod(0o644)
    print(losses[0], losses[-1])


main()
