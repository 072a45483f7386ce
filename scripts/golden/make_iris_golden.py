"""The test accuracy that Keras's recipe for irises reaches, run in PyTorch over ten seeds: tests/data/iris.golden.json.
4 -> Dense 10 relu -> Dense 3 softmax (Glorot uniform, biases zero), Adam (1e-3, epsilon 1e-7), 100 epochs, batch 32, the
last fifth of the training rows held out, 80/20 train/test split, features standardized. Needs torch, numpy.

    python scripts/golden/make_iris_golden.py
"""
import csv, json, math, pathlib

import numpy, torch

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(x, y, seed):
    torch.manual_seed(seed)
    order = numpy.random.RandomState(seed).permutation(len(x))
    cut = len(x) - round(len(x) * 0.2)
    train, test = order[:cut], order[cut:]
    mean, deviation = x[train].mean(0), x[train].std(0)
    x, y = torch.tensor((x - mean) / deviation, dtype=torch.float32), torch.tensor(y)
    fit = train[:math.floor(len(train) * 0.8)]
    net = torch.nn.Sequential(torch.nn.Linear(4, 10), torch.nn.ReLU(), torch.nn.Linear(10, 3))
    for layer in (net[0], net[2]):
        torch.nn.init.xavier_uniform_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.Adam(net.parameters(), eps=1e-7)
    for _ in range(100):
        for rows in torch.tensor(fit)[torch.randperm(len(fit))].split(32):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        logits = net(x[test])
    return {"loss": float(torch.nn.functional.cross_entropy(logits, y[test])),
            "accuracy": float((logits.argmax(1) == y[test]).float().mean())}


def main():
    torch.set_num_threads(1)
    rows = list(csv.DictReader((ROOT / "examples" / "data" / "iris.csv").open()))
    names = [n for n in rows[0] if n != "species"]
    classes = sorted({r["species"] for r in rows})
    x = numpy.array([[float(r[n]) for n in names] for r in rows])
    y = numpy.array([classes.index(r["species"]) for r in rows])
    runs = [run(x, y, seed) for seed in range(10)]
    golden = {"mean_accuracy": sum(r["accuracy"] for r in runs) / 10, "mean_loss": sum(r["loss"] for r in runs) / 10,
              "runs": runs}
    (ROOT / "tests" / "data" / "iris.golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    print(golden["mean_accuracy"], golden["mean_loss"])


main()
