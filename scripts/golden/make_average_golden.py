"""Averages of weights and of running statistics, and statistics made anew, as PyTorch has them: tests/data/averages.golden.json.

    python scripts/golden/make_average_golden.py tests/data/averages.golden.json

Five steps of SGD on one batch. `swa` and `ema`: torch.optim.swa_utils.AveragedModel with use_buffers, all values in the order of
named_parameters of each layer, its buffers after them; `update_bn`: the buffers of an average without use_buffers after update_bn
on batches of 6, 6 and 4 rows.
"""

import json
import sys

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4, momentum=0.3), torch.nn.Linear(4, 2))
x, y = torch.randn(16, 3), torch.randn(16, 2)


def values(of, buffers_alone=False):
    names = ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "2.weight", "2.bias"]
    state = of.state_dict()
    return [float(v) for name in names if not buffers_alone or "running" in name for v in state[name].flatten()]


golden = {"x": x.flatten().tolist(), "y": y.flatten().tolist(), "first": values(model)}
averages = {"swa": AveragedModel(model, use_buffers=True),
            "ema": AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.8), use_buffers=True)}
plain = AveragedModel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(5):
    optimizer.zero_grad()
    torch.nn.functional.mse_loss(model(x), y).backward()
    optimizer.step()
    for average in (*averages.values(), plain):
        average.update_parameters(model)
for name, average in averages.items():
    golden[name] = values(average.module)
update_bn([x[:6], x[6:12], x[12:]], plain)
golden["update_bn"] = values(plain.module, buffers_alone=True)
with open(sys.argv[1], "w") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")
