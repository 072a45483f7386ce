"""Rows that end in padding, in PyTorch: tests/data/lengths.golden.safetensors. Three networks, the sequences packed or masked by hand:
first values by Hone's names, and the losses of six steps of SGD. Computed in float64. Needs torch, safetensors.

    python scripts/golden/make_lengths_golden.py
"""
import math
import pathlib

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

ROOT = pathlib.Path(__file__).resolve().parents[2]
TIME, WORDS, WIDTH, CLASSES = 6, 9, 4, 3
LENGTHS = torch.tensor([6, 2, 1, 4, 3])
PADDED = torch.arange(TIME) >= LENGTHS[:, None]


def run(layer, x, sequences):
    y, h = layer(pack_padded_sequence(x, LENGTHS, True, False))
    if sequences:
        return pad_packed_sequence(y, True, total_length=TIME)[0]
    h = h[0] if isinstance(h, tuple) else h
    return torch.cat([h[-2], h[-1]], 1) if layer.bidirectional else h[-1]


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.first = nn.LSTM(WIDTH, 3, batch_first=True, bidirectional=True)
        self.second = nn.LSTM(6, 5, batch_first=True)
        self.out = nn.Linear(5, CLASSES)
        self.names = {"embedding": "0", "first": "1", "second": "3", "out": "4"}

    def forward(self, ids):
        return self.out(run(self.second, run(self.first, self.embedding(ids), True), False))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(WIDTH, 2, 8, 0, batch_first=True) for _ in range(2))
        self.out = nn.Linear(WIDTH, CLASSES)
        self.names = {"embedding": "0", "layers": "2.layers", "out": "5"}

    def forward(self, ids):
        angle = torch.arange(TIME)[:, None] * 10000 ** -(torch.arange(0, WIDTH, 2) / WIDTH)
        x = self.embedding(ids) + torch.stack([angle.sin(), angle.cos()], 2).flatten(1)
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=PADDED)
        return self.out(x.masked_fill(PADDED[..., None], 0).sum(1) / LENGTHS[:, None])


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(WIDTH, 5, batch_first=True)
        self.out = nn.Linear(5, CLASSES)
        self.names = {"gru": "1", "out": "2"}

    def forward(self, x):
        return self.out(run(self.gru, x, True))


def hone_names(model):
    """PyTorch's attention has query, key and value in one matrix."""
    for name, value in model.named_parameters():
        first, rest = name.split(".", 1)
        name = f"{model.names[first]}.{rest}".replace("out_proj", "o_proj")
        if "in_proj_" in name:
            for which, part in zip("qkv", value.chunk(3)):
                yield name.replace("in_proj_", f"{which}_proj."), part
        else:
            yield name, value


def main():
    torch.manual_seed(11)
    torch.set_default_dtype(torch.float64)
    ids = torch.randint(1, WORDS, (len(LENGTHS), TIME)).masked_fill(PADDED, 0)
    ids[0, 2] = 0  # in the middle of a row: counts
    values = torch.randn(len(LENGTHS), TIME, WIDTH).float().double().masked_fill(PADDED[..., None], -1)
    classes = torch.randint(CLASSES, (len(LENGTHS),))
    tags = torch.randint(CLASSES, (len(LENGTHS), TIME))
    golden = {"ids": ids.int(), "values": values.float(), "classes": classes.int(), "tags": tags.int()}
    for name, model, x, rate in (("reader", Reader(), ids, 0.5), ("encoder", Encoder(), ids, 0.5), ("tagger", Tagger(), values, 0.1)):
        for parameter in model.parameters():
            parameter.data = parameter.data.float().double()
        for key, value in hone_names(model):
            golden[f"{name}.{key}"] = value.detach().float().clone()
        optimizer = torch.optim.SGD(model.parameters(), rate)
        losses = []
        for _ in range(6):
            output = model(x)
            if output.dim() == 3:  # an example's loss is the mean over its own positions
                each = cross_entropy(output.transpose(1, 2), tags, reduction="none").masked_fill(PADDED, 0)
                loss = (each.sum(1) / LENGTHS).mean()
            else:
                loss = cross_entropy(output, classes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert all(map(math.isfinite, losses)) and losses[-1] < losses[0]
        golden[f"{name}.losses"] = torch.tensor(losses)
    target = ROOT / "tests" / "data" / "lengths.golden.safetensors"
    save_file(golden, target)
    target.chmod(0o644)
    print(len(golden), target.stat().st_size)


main()
