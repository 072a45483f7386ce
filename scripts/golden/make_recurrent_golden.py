"""Recurrent layers of PyTorch: tests/data/recurrent.golden.safetensors. Of each case x, lengths, states, parameters by their
names, the output (zeros past a row's length), the states after and, of a loss that weighs all of them, every gradient.
Computed in float64, stored as float32. Needs torch, safetensors.

    python scripts/golden/make_recurrent_golden.py
"""
import pathlib

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

ROOT = pathlib.Path(__file__).resolve().parents[2]
BATCH, TIME, IN, UNITS = 3, 5, 4, 6
LENGTHS = torch.tensor([5, 2, 3])

CASES = {  # in the order of tests/test_recurrent.c
    "lstm": (nn.LSTM, {}, False),
    "lstm_deep": (nn.LSTM, {"num_layers": 2, "bidirectional": True}, True),
    "gru": (nn.GRU, {}, False),
    "gru_deep": (nn.GRU, {"num_layers": 2, "bidirectional": True}, True),
    "rnn": (nn.RNN, {"nonlinearity": "relu", "bias": False}, False),
    "rnn_deep": (nn.RNN, {"num_layers": 2, "bidirectional": True}, True),
    "lstm_cell": (nn.LSTMCell, {}, False),
    "gru_cell": (nn.GRUCell, {}, False),
    "rnn_cell": (nn.RNNCell, {}, False),
}


def main():
    torch.manual_seed(5)
    torch.set_default_dtype(torch.float64)
    golden = {}
    for name, (kind, options, packed) in CASES.items():
        cell, lstm = name.endswith("cell"), name.startswith("lstm")
        layer = kind(IN, UNITS, **options) if cell else kind(IN, UNITS, batch_first=True, **options)
        count = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
        shape = (BATCH, UNITS) if cell else (count, BATCH, UNITS)
        given = {"x": torch.randn(BATCH, IN) if cell else torch.randn(BATCH, TIME, IN), "h": torch.randn(shape)}
        if lstm:
            given["c"] = torch.randn(shape)
        for key, value in given.items():
            given[key] = value.float().double().requires_grad_()
        for parameter in layer.parameters():
            parameter.data = parameter.data.float().double()
        states = (given["h"], given["c"]) if lstm else given["h"]
        x = pack_padded_sequence(given["x"], LENGTHS, True, False) if packed else given["x"]
        if cell:
            after = layer(x, states)
            y = after[0] if lstm else after
        else:
            y, after = layer(x, states)
            y = pad_packed_sequence(y, True, total_length=TIME)[0] if packed else y
        results = {"y": y, "h_after": after[0] if lstm else after}
        if lstm:
            results["c_after"] = after[1]
        weights = {key: torch.randn(value.shape).float().double() for key, value in results.items()}
        loss = sum((results[key] * weights[key]).sum() for key in results)
        wanted = {**given, **dict(layer.named_parameters())}
        gradients = torch.autograd.grad(loss, list(wanted.values()))
        for group in (wanted, results, {f"w_{key}": value for key, value in weights.items()},
                      {f"d_{key}": value for key, value in zip(wanted, gradients)}):
            golden.update({f"{name}.{key}": value.detach().float().contiguous() for key, value in group.items()})
    golden["lengths"] = LENGTHS.int()
    target = ROOT / "tests" / "data" / "recurrent.golden.safetensors"
    save_file(golden, target)
    target.chmod(0o644)
    print(len(golden), target.stat().st_size)


main()
