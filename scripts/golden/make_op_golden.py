"""What PyTorch computes for every sample of every op: tests/data/ops.golden.safetensors.

    test_ops --dump FOLDER
    python scripts/golden/make_op_golden.py FOLDER tests/data/ops.golden.safetensors

An op is a function (inputs, attributes) -> output or tuple of outputs. Inputs that are left out are None. Everything is
computed in float64 from inputs that float32 can hold, and stored as float32. A new op needs a line in OPS.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

LARGEST = 8192  # elements: larger gradients are not stored (GOLDEN_LARGEST of tests/test_ops.c)

DTYPES = {"f32": torch.float64, "f64": torch.float64, "i32": torch.int32, "i64": torch.int64, "u8": torch.uint8}

# In the order of hone__unary and hone__compare (src/kernel/list.h).
UNARY = [
    lambda x, a, b: -x,
    lambda x, a, b: torch.exp(x),
    lambda x, a, b: torch.log(x),
    lambda x, a, b: torch.sqrt(x),
    lambda x, a, b: torch.rsqrt(x),
    lambda x, a, b: torch.abs(x),
    lambda x, a, b: torch.sign(x),
    lambda x, a, b: torch.sin(x),
    lambda x, a, b: torch.cos(x),
    lambda x, a, b: torch.square(x),
    lambda x, a, b: torch.reciprocal(x),
    lambda x, a, b: torch.sigmoid(x),
    lambda x, a, b: torch.tanh(x),
    lambda x, a, b: F.relu(x),
    lambda x, a, b: F.leaky_relu(x, a),
    lambda x, a, b: F.gelu(x),
    lambda x, a, b: F.gelu(x, approximate="tanh"),
    lambda x, a, b: F.silu(x),
    lambda x, a, b: F.softplus(x),
    lambda x, a, b: torch.clamp(x, a, b),
    lambda x, a, b: a * x + b,
    lambda x, a, b: torch.where(x > 0, x, a * torch.expm1(b * x)),
]
COMPARE = [torch.eq, torch.ne, torch.lt, torch.le, torch.gt, torch.ge]
# hone_activation, those that linear fuses.
ACTIVATION = [lambda x: x, F.relu, torch.sigmoid, torch.tanh]


def axes_of(x, a):
    return a["axes"] or list(range(x.ndim))


def reduce_with(function):
    def run(x, a):
        return function(x[0], dim=axes_of(x[0], a), keepdim=a["keep_dims"]) if x[0].ndim else x[0].clone()

    return run


def cut(x, a):
    index = [slice(None)] * x.ndim
    index[a["axis"]] = slice(a["start"], None if a["stop"] == 2**63 - 1 else a["stop"], a["step"])
    return x[tuple(index)]


def pad(x, a):
    shape = [b + (n + max(n - 1, 0) * g) + e for n, b, e, g in zip(x.shape, a["before"], a["after"], a["between"])]
    y = torch.full(shape, a["value"], dtype=x.dtype)
    y[tuple(slice(b, b + n + max(n - 1, 0) * g, g + 1) for n, b, g in zip(x.shape, a["before"], a["between"]))] = x
    return y


def gather(x, a):
    axis, index = a["axis"] % x[0].ndim, x[1].long()
    taken = torch.index_select(x[0], axis, index.reshape(-1))
    return taken.reshape(x[0].shape[:axis] + index.shape + x[0].shape[axis + 1 :])


def scatter_add(x, a):
    updates, index = x[0], x[1].long()
    axis = a["axis"] % (updates.ndim + 1 - index.ndim)
    outer, inner = updates.shape[:axis], updates.shape[axis + index.ndim :]
    y = torch.zeros(outer + (a["n"],) + inner, dtype=updates.dtype)
    return y.index_add(axis, index.reshape(-1), updates.reshape(outer + (index.numel(),) + inner))


def reduce_to(x, a):
    return x.sum_to_size(a["shape"]) if a["shape"] else x.sum()


def matmul(x, a):
    left = x[0].mT if a["transpose_a"] else x[0]
    right = x[1].mT if a["transpose_b"] else x[1]
    return left @ right


def linear(x, a):
    turned = (lambda w: w) if a["transposed"] else (lambda w: w.mT)
    x0, w, bias, p, q, before = (x + [None] * 4)[:6]
    y = x0 @ turned(w)
    if bias is not None:
        y = y + bias
    u = torch.zeros(0, dtype=y.dtype)
    if p is not None:
        u = a["scale"] * (x0 @ turned(p))
        y = y + u @ turned(q)
    if before is not None:
        y = y + before
    return ACTIVATION[a["activation"]](y), u


def layer_norm(x, a):
    gain, bias = (x + [None, None])[1:3]
    return F.layer_norm(x[0], x[0].shape[-1:], gain, bias, a["eps"])


def rms_norm(x, a):
    return F.rms_norm(x[0], x[0].shape[-1:], x[1] if len(x) > 1 else None, a["eps"])


def channel_norm(x, a):
    x0, gain, bias, mean, variance = (x + [None] * 5)[:5]
    if not x0.numel():  # PyTorch refuses it
        return x0.clone(), None, None
    if a["per_sample"]:
        y = F.group_norm(x0, a["groups"] or x0.shape[1], gain, bias, a["eps"])
    elif mean is None:
        y = F.batch_norm(x0, None, None, gain, bias, True, 0, a["eps"])
    else:  # PyTorch's own has no gradient for mean and variance
        shape = (1, -1) + (1,) * (x0.ndim - 2)
        y = (x0 - mean.view(shape)) / (variance.view(shape) + a["eps"]).sqrt()
        y = y * (1 if gain is None else gain.view(shape)) + (0 if bias is None else bias.view(shape))
    return y, None, None


def padded(x, a, value):
    """x with the window's padding, of any sizes before and after, around its spatial axes."""
    axes = x.ndim - 2
    sizes = []
    for before, after in reversed(list(zip(per_axis(a["before"], axes, 0), per_axis(a["after"], axes, 0)))):
        sizes += [before, after]
    return F.pad(x, sizes, value=value)


def per_axis(given, axes, missing):
    return list(given) + [missing] * (axes - len(given))


def conv(x, a):
    axes = x[0].ndim - 2
    function = [F.conv1d, F.conv2d, F.conv3d][axes - 1]
    y = function(padded(x[0], a, 0), x[1], x[2] if len(x) > 2 else None, per_axis(a["stride"], axes, 1), 0,
                 per_axis(a["dilation"], axes, 1), a["groups"] or 1)
    return F.relu(y) if a["relu"] else y


def max_pool(x, a):
    axes = x[0].ndim - 2
    if not x[0].numel():  # PyTorch refuses it
        return x[0][..., : x[0].shape[-2] - a["kernel"][0] + 1, : x[0].shape[-1] - a["kernel"][1] + 1], None
    function = [F.max_pool1d, F.max_pool2d, F.max_pool3d][axes - 1]
    if a["ceil"]:  # PyTorch's own padding, which both sides have
        return function(x[0], a["kernel"], per_axis(a["stride"], axes, 1), per_axis(a["before"], axes, 0), per_axis(a["dilation"], axes, 1), True), None
    return function(padded(x[0], a, -torch.inf), a["kernel"], per_axis(a["stride"], axes, 1), 0, per_axis(a["dilation"], axes, 1)), None


def average_pool(x, a):
    axes = x[0].ndim - 2
    function = [F.avg_pool1d, F.avg_pool2d, F.avg_pool3d][axes - 1]
    stride = per_axis(a["stride"], axes, 1)
    if a["ceil"]:  # PyTorch's own padding, which both sides have
        return function(x[0], a["kernel"], stride, per_axis(a["before"], axes, 0), True, not a["exclude_padding"])
    if any(d > 1 for d in a["dilation"]):  # it has none: a convolution with a constant weight
        conv, channels = [F.conv1d, F.conv2d, F.conv3d][axes - 1], x[0].shape[1]
        weight = torch.ones(channels, 1, *a["kernel"], dtype=x[0].dtype)
        function = lambda v, kernel, stride: conv(v, weight, None, stride, 0, a["dilation"], channels) / weight[0].numel()
    y = function(padded(x[0], a, 0), a["kernel"], stride)
    return y / function(padded(torch.ones_like(x[0]), a, 0), a["kernel"], stride) if a["exclude_padding"] else y


def resize(x, a):
    """In the order of hone_resize_mode (include/hone/op.h)."""
    axes, sizes = x[0].ndim - 2, a["spatial"]
    mode = ("nearest", ("linear", "bilinear", "trilinear")[axes - 1], "bicubic", "area")[a["mode"]]
    scale = [a[f"scale{i}"] or to / of for i, (to, of) in enumerate(zip(sizes, x[0].shape[2:]))]
    how = {"scale_factor": scale} if any(a[f"scale{i}"] for i in range(axes)) else {"size": sizes}
    if not x[0].numel():  # PyTorch refuses it
        return x[0].new_empty(*x[0].shape[:2], *sizes)
    return F.interpolate(x[0], mode=mode, align_corners=a["align_corners"] if a["mode"] in (1, 2) else None, **how)


def rope(x, a):
    """rotate_half of Hugging Face's transformers, or complex numbers for pairs that lie side by side."""
    d = a["rotary"] or x[0].shape[-1]
    frequency = a["theta"] ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    if len(x) > 2:
        frequency = frequency / x[2].detach()
    angle = x[1].double()[..., None, None] * frequency * (-1 if a["inverse"] else 1)  # (B, T, 1, d / 2) or (T, 1, d / 2)
    turned, rest = x[0][..., :d], x[0][..., d:]
    if a["interleaved"]:
        pairs = torch.view_as_complex(turned.reshape(*turned.shape[:-1], d // 2, 2))
        turned = torch.view_as_real(pairs * torch.polar(torch.ones_like(angle), angle)).reshape(turned.shape)
    else:
        first, second = turned.chunk(2, -1)
        half = torch.cat((-second, first), -1)
        turned = turned * torch.cat((angle, angle), -1).cos() + half * torch.cat((angle, angle), -1).sin()
    return torch.cat((turned, rest), -1)


def attention(x, a):
    q, k, v = (t.transpose(1, 2) for t in x[:3])  # (B, H, T, D)
    begin, end = (x + [None, None])[3:5]
    k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
    queries, keys = torch.arange(q.shape[2])[:, None], torch.arange(k.shape[2])[None, :]
    seen = torch.ones(q.shape[0], q.shape[2], k.shape[2], dtype=torch.bool)
    if a["causal"]:
        seen &= keys <= queries + k.shape[2] - q.shape[2]
    if begin is not None:
        seen &= keys >= begin[:, :, None]
    if end is not None:
        seen &= keys < end[:, :, None]
    scores = q @ k.mT * (a["scale"] or q.shape[-1] ** -0.5)
    p = scores.masked_fill(~seen[:, None], -1e30).softmax(-1) * seen.any(-1)[:, None, :, None]  # no key: 0
    return (p @ v).transpose(1, 2)


CELL = ["tanh", "relu", "gru", "lstm"]  # in the order of hone__cell_kind (src/kernel/list_nn.h)


def recurrent(x, a):
    """torch.nn's formulas step by step; PyTorch's own layers know neither dropout on the state nor rows of no length."""
    sums, w, bias, h0, c0, lengths, mask = (x + [None] * 7)[:7]
    steps, rows, units, kind = sums.shape[0], sums.shape[1], w.shape[1], CELL[a["kind"]]
    h = torch.zeros(rows, units, dtype=sums.dtype) if h0 is None else h0
    c = torch.zeros_like(h) if c0 is None else c0
    y = [None] * steps
    for t in reversed(range(steps)) if a["reverse"] else range(steps):
        z = (h if mask is None else h * mask * a["scale"]) @ w.mT
        if kind == "lstm":
            i, f, g, o = (sums[t] + z).chunk(4, -1)
            new_c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            new_h = o.sigmoid() * new_c.tanh()
        elif kind == "gru":
            (xr, xu, xn), (zr, zu, zn) = sums[t].chunk(3, -1), z.chunk(3, -1)
            r, u = (xr + zr).sigmoid(), (xu + zu).sigmoid()
            n = (xn + r * (zn if bias is None else zn + bias)).tanh()
            new_h, new_c = (1 - u) * n + u * h, c
        else:
            new_h, new_c = (sums[t] + z).tanh() if kind == "tanh" else F.relu(sums[t] + z), c
        runs = torch.ones(rows, 1, dtype=torch.bool) if lengths is None else (t < lengths)[:, None]
        h, c = torch.where(runs, new_h, h), torch.where(runs, new_c, c)
        y[t] = torch.where(runs, new_h, torch.zeros_like(h))
    y = torch.stack(y) if steps else torch.zeros(0, rows, units, dtype=sums.dtype)
    return y, h, c if kind == "lstm" else torch.zeros(0, dtype=y.dtype), None, None, None


def cross_entropy(logits, target, weight):
    losses = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), target.long().reshape(-1).clamp(min=-1),
                             ignore_index=-1, reduction="none").reshape(target.shape)
    return losses if weight is None else losses * weight


def pick(x, a):
    index = x[1].long()
    return torch.where(index < 0, a["fill"], x[0].gather(-1, index.clamp(min=0)[..., None])[..., 0])


# In the order of hone__loss (src/kernel/list_nn.h).
LOSS = [
    lambda p, t: F.binary_cross_entropy(p, t, reduction="none"),
    lambda p, t: F.binary_cross_entropy_with_logits(p, t, reduction="none"),
    lambda p, t: -t * p.log(),
]


OPS = {
    "fill": lambda x, a: torch.full(a["shape"], a["value"], dtype=DTYPES[a["dtype"]]),
    "copy": lambda x, a: x[0].clone(),
    "cast": lambda x, a: x[0].to(DTYPES[a["dtype"]]),
    "add": lambda x, a: x[0] + x[1],
    "sub": lambda x, a: x[0] - x[1],
    "mul": lambda x, a: x[0] * x[1],
    "div": lambda x, a: x[0] / x[1],
    "pow": lambda x, a: x[0] ** x[1],
    "maximum": lambda x, a: torch.maximum(x[0], x[1]),
    "minimum": lambda x, a: torch.minimum(x[0], x[1]),
    "unary": lambda x, a: UNARY[a["function"]](x[0], a["a"], a["b"]),
    "compare": lambda x, a: COMPARE[a["operator"]](x[0], x[1]),
    "where": lambda x, a: torch.where(x[0].bool(), x[1], x[2]),
    "sum": reduce_with(torch.sum),
    "mean": reduce_with(torch.mean),
    "max": reduce_with(torch.amax),
    "min": reduce_with(torch.amin),
    "reduce_to": lambda x, a: reduce_to(x[0], a),
    "argmax": lambda x, a: torch.argmax(x[0], a["axis"]),
    "reshape": lambda x, a: x[0].reshape(a["shape"]),
    "transpose": lambda x, a: x[0].permute(a["order"]),
    "slice": lambda x, a: cut(x[0], a),
    "broadcast_to": lambda x, a: x[0].expand(a["shape"]),
    "concatenate": lambda x, a: torch.cat(x, a["axis"]),
    "pad": lambda x, a: pad(x[0], a),
    "gather": gather,
    "scatter_add": scatter_add,
    "one_hot": lambda x, a: F.one_hot(x[0].long(), a["depth"]),
    "matmul": matmul,
    "linear": linear,
    "conv": conv,
    "max_pool": max_pool,
    "average_pool": average_pool,
    "resize": resize,
    "softmax": lambda x, a: x[0].softmax(-1),
    "log_softmax": lambda x, a: x[0].log_softmax(-1),
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "channel_norm": channel_norm,
    "swiglu": lambda x, a: F.silu(x[0]) * x[1],
    "rope": rope,
    "attention": attention,
    "recurrent": recurrent,
    "softmax_cross_entropy": lambda x, a: cross_entropy(x[0], x[1], x[2] if len(x) > 2 else None),
    "linear_cross_entropy": lambda x, a: cross_entropy(x[0] @ x[1].mT, x[2], x[3] if len(x) > 3 else None),
    "loss_term": lambda x, a: LOSS[a["kind"]](x[0], x[1]),
    "pick": pick,
}


def stored(x):
    x = x.detach().numpy()
    return np.ascontiguousarray(x.astype(np.float32) if x.dtype.kind == "f" else x.astype(np.int32)).reshape(x.shape)


def answer(folder, entry, results):
    name = f"{entry['op']}.{entry['sample']}"

    def load(what):
        x = torch.from_numpy(np.load(folder / f"{name}.{what}.npy"))
        return x.double() if x.is_floating_point() else x

    inputs = [load(f"in{i}") if given else None for i, given in enumerate(entry["inputs"])]
    for i in entry["gradients"]:
        inputs[i].requires_grad_()
    outputs = OPS[entry["op"]](inputs, entry["attrs"])
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    loss = 0
    for i, (output, about) in enumerate(zip(outputs, entry["outputs"])):
        if not about["aux"]:
            results[f"{name}.out{i}"] = stored(output)
        if about["weight"]:
            loss = loss + (output * load(f"w{i}")).sum()
    if not entry["gradients"]:
        return
    wanted = [inputs[i] for i in entry["gradients"]]
    gradients = torch.autograd.grad(loss, wanted, allow_unused=True) if loss.requires_grad else [None] * len(wanted)
    for i, x, gradient in zip(entry["gradients"], wanted, gradients):
        if x.numel() <= LARGEST:
            results[f"{name}.grad{i}"] = stored(torch.zeros_like(x) if gradient is None else gradient)


def main():
    folder, target = Path(sys.argv[1]), sys.argv[2]
    results, missing = {}, set()
    for entry in json.loads((folder / "manifest.json").read_text()):
        if entry["op"] not in OPS:
            missing.add(entry["op"])
            continue
        try:
            answer(folder, entry, results)
        except Exception as error:
            raise SystemExit(f"{entry['op']}.{entry['sample']}: {error}") from error
    save_file(results, target)
    Path(target).chmod(0o644)
    print(f"{len(results)} tensors, {Path(target).stat().st_size} bytes")
    if missing:
        raise SystemExit(f"no function for: {', '.join(sorted(missing))}")


if __name__ == "__main__":
    main()
