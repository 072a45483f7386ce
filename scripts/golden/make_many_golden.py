"""Twenty steps of a network of two inputs and two outputs in PyTorch: tests/data/many.golden.safetensors. Numbers [32, 4] through a
dense layer and words [32, 3] through an embedding meet in a dense layer; from it come a price (mean squared error, weight 0.7) and
scores of three kinds (cross-entropy, weight 1.3). Batches of 8 in order, five times, Adam 0.01; once plain, once with a weight an
example, whose losses are summed and divided by the examples. Holds data, first weights and last ones by Hone's names, and each
step's losses [20, 3]: what is minimized, price, kind. Needs torch, safetensors.

    python scripts/golden/make_many_golden.py
"""
import pathlib

import torch
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROWS, BATCH, EPOCHS = 32, 8, 5
LAYERS = {"embedding": torch.nn.Embedding(7, 2), "dense": torch.nn.Linear(4, 6), "dense_1": torch.nn.Linear(12, 8),
          "dense_2": torch.nn.Linear(8, 1), "dense_3": torch.nn.Linear(8, 3)}


def parameters(net, prefix):
    return {f"{prefix}.{k}": v.detach().clone() for k, v in net.state_dict().items()}


def train(net, data, weights):
    optimizer, losses = torch.optim.Adam(net.parameters(), lr=0.01), []
    for step in range(EPOCHS * ROWS // BATCH):
        at = step * BATCH % ROWS
        numbers, words, price, kind, weight = (x[at:at + BATCH] for x in (*data, weights))
        met = torch.cat([torch.tanh(net["dense"](numbers)), net["embedding"](words.long()).flatten(1)], 1)
        hidden = torch.tanh(net["dense_1"](met))
        price_loss = (weight * ((net["dense_2"](hidden) - price) ** 2).mean(1)).mean()
        kind_loss = (weight * torch.nn.functional.cross_entropy(net["dense_3"](hidden), kind.long(), reduction="none")).mean()
        loss = 0.7 * price_loss + 1.3 * kind_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append([loss.item(), price_loss.item(), kind_loss.item()])
    return torch.tensor(losses)


def main():
    torch.manual_seed(3)
    torch.set_num_threads(1)
    net = torch.nn.ModuleDict(LAYERS)
    for parameter in net.parameters():
        torch.nn.init.uniform_(parameter, -0.6, 0.6)
    numbers, words = torch.randn(ROWS, 4), torch.randint(7, (ROWS, 3), dtype=torch.int32)
    price = numbers[:, :1] * 2 + words[:, :1] * 0.3 + 0.1 * torch.randn(ROWS, 1)
    kind = words.sum(1).remainder(3).to(torch.int32)
    weights = torch.rand(ROWS) * 2
    data = (numbers, words, price, kind)
    first = parameters(net, "first")
    golden = {**first, "numbers": numbers, "words": words, "price": price, "kind": kind, "weights": weights}
    golden["losses"] = train(net, data, torch.ones(ROWS))
    golden |= parameters(net, "last")
    net.load_state_dict({k.removeprefix("first."): v for k, v in first.items()})
    golden["weighted_losses"] = train(net, data, weights)
    target = ROOT / "tests" / "data" / "many.golden.safetensors"
    save_file(golden, target)
    target.chmod(0o644)
    print(golden["losses"][[0, -1]], golden["weighted_losses"][[0, -1]])


main()
