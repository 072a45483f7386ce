"""Layers of PyTorch: tests/data/layers.golden.safetensors, for tests/test_layers.c. Ten steps of a small network with batch norm
(losses, states and its evaluation after), transposed convolutions, activations with their slopes. Needs torch, safetensors.

    python scripts/golden/make_layer_golden.py
"""
import math
import pathlib

import torch
from safetensors.torch import save_file
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parents[2]
F = nn.functional

ACTIVATIONS = [F.elu, F.selu, F.celu, F.softsign, F.hardsigmoid, F.hardswish, F.hardtanh, F.mish, F.relu6, F.logsigmoid,
               F.tanhshrink, F.softshrink, F.hardshrink]
NUMBERED = [  # in the order of tests/test_layers.c; squareplus is Keras's
    lambda v: F.softplus(v, 2, 3), lambda v: F.softplus(v, -0.5, 1.5), lambda v: F.celu(v, 0.6), lambda v: F.softshrink(v, 0.7),
    lambda v: F.hardshrink(v, 1.3), lambda v: F.hardtanh(v, 0, 2.5), lambda v: F.threshold(v, 0.2, -3), F.relu, lambda v: F.softmin(v, -1),
    lambda v: (v + (v * v + 4).sqrt()) / 2, lambda v: (v + (v * v).sqrt()) / 2, lambda v: F.rrelu(v, 0.1, 0.4), F.rrelu, lambda v: F.elu(v, 0.7),
    lambda v: F.leaky_relu(v, 0)]
TRANSPOSED = [  # channels, filters, kernel, options: in the order of tests/test_layers.c
    (4, 6, (3, 2), {}),
    (4, 6, 3, {"stride": 2, "padding": 1, "output_padding": 1}),
    (4, 6, (3, 2), {"stride": (2, 3), "dilation": (1, 2), "groups": 2}),
]
OTHER_RANKS = [  # in the same order, behind them
    (nn.ConvTranspose1d, (4, 6, 4), {"stride": 3, "padding": 1}, (7,)),
    (nn.ConvTranspose3d, (2, 4, (3, 2, 3)), {"stride": (2, 1, 2), "dilation": (1, 2, 1), "output_padding": (1, 0, 0), "groups": 2}, (3, 4, 2)),
]


def normed():
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.GroupNorm(2, 6),
                         nn.ReLU(), nn.InstanceNorm2d(6, affine=True), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 5, bias=False), nn.BatchNorm1d(5, momentum=0.3))


def batch_norm(golden):
    net = normed()
    x, y = torch.randn(12, 3, 4, 4), torch.randint(0, 5, (12,))
    golden.update({"x": x, "y": y.int()})
    golden.update({name: value.detach().clone() for name, value in net.named_parameters()})
    net, x = net.double(), x.double()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    golden["losses"] = torch.tensor(losses)
    for name in ("1", "9"):
        for part in ("running_mean", "running_var"):
            golden[f"after.{name}.{part}"] = net.get_buffer(f"{name}.{part}").float()
    golden["evaluated"] = net.eval()(x).detach().float()


def evaluated_norms(golden):
    """The same network with statistics of its own, in evaluation."""
    net = normed()
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if "running" in name or name[0] in "1359":
                value.copy_(torch.rand(value.shape) + 0.5 if "var" in name or "weight" in name else torch.randn(value.shape))
    x = torch.randn(2, 3, 4, 4)
    golden.update({f"eval.{name}": value for name, value in net.state_dict().items() if "num_batches" not in name})
    golden.update({"eval.x": x, "eval.y": net.double().eval()(x.double()).detach().float()})


def upsampled(golden):
    """Over 1 to 3 axes, with the gradient of the squares' sum."""
    for axes, size, factors in ((1, (5,), (3,)), (2, (3, 4), (2, 3)), (3, (2, 3, 4), (2, 1, 3))):
        for kind, mode in (("nearest", "nearest"), ("linear", ("linear", "bilinear", "trilinear")[axes - 1])):
            x = torch.randn(2, 3, *size, requires_grad=True)
            y = F.interpolate(x, scale_factor=tuple(map(float, factors)), mode=mode)
            golden.update({f"upsampled.{kind}{axes}.x": x.detach(), f"upsampled.{kind}{axes}.y": y.detach(),
                           f"upsampled.{kind}{axes}.grad": torch.autograd.grad((y * y).sum(), x)[0]})


SAME = [  # sizes, kernel, stride, dilation: in the order of tests/test_layers.c
    ((8,), (3,), 2, 1), ((9,), (3,), 2, 1), ((9,), (4,), 2, 1), ((8,), (4,), 2, 1), ((8,), (2,), 3, 1), ((7,), (1,), 2, 1),
    ((8, 8), (3, 3), 2, 1), ((7, 8), (3, 3), 2, 1), ((9, 6), (4, 3), 2, 1), ((8, 9), (5, 2), 2, 1), ((8, 7), (3, 3), 2, 2),
]


def same(golden):
    """Convolutions padded as TensorFlow and Keras pad for "same": ceil(n / stride) outputs, and where the padding is odd one more
    behind than ahead. With the gradients of the squares' sum."""
    for i, (sizes, kernel, stride, dilation) in enumerate(SAME):
        x = torch.randn(2, 3, *sizes, requires_grad=True)
        w, b = (torch.randn(5, 3, *kernel) / (3 * math.prod(kernel)) ** 0.5).requires_grad_(), torch.randn(5)
        pads = []
        for n, k in reversed(list(zip(sizes, kernel))):
            total = max((-(-n // stride) - 1) * stride + dilation * (k - 1) + 1 - n, 0)
            pads += [total // 2, total - total // 2]
        convolution = (F.conv1d, F.conv2d)[len(sizes) - 1]
        y = convolution(F.pad(x.double(), pads), w.double(), b.double(), stride=stride, dilation=dilation)
        assert list(y.shape[2:]) == [-(-n // stride) for n in sizes]
        dx, dw = torch.autograd.grad((y * y).sum(), (x, w))
        golden.update({f"same{i}.{name}": value.detach().float()
                       for name, value in {"x": x, "w": w, "b": b, "y": y, "dx": dx, "dw": dw}.items()})


def depthwise(golden):
    """Keras's DepthwiseConv2D and SeparableConv2D are grouped convolutions; in the order of tests/test_layers.c."""
    for axes, conv in ((1, nn.Conv1d), (2, nn.Conv2d)):
        alone = conv(3, 6, 3, stride=2, padding=1, groups=3)
        split, mixed = conv(3, 6, 3, dilation=2, groups=3, bias=False), conv(6, 5, 1)
        x = torch.randn(2, 3, *(7, 6)[:axes])
        golden.update({f"depthwise{axes}.x": x, f"depthwise{axes}.weight": alone.weight.detach(), f"depthwise{axes}.bias": alone.bias.detach(),
                       f"depthwise{axes}.y": alone(x).detach(), f"separable{axes}.x": x.clone(), f"separable{axes}.depthwise.weight": split.weight.detach(),
                       f"separable{axes}.pointwise.weight": mixed.weight.detach(), f"separable{axes}.pointwise.bias": mixed.bias.detach(),
                       f"separable{axes}.y": F.relu(mixed(split(x))).detach()})


def pooled(golden):
    """Adaptive pooling over 1 to 3 axes, with the gradient of the squares' sum."""
    for axes, size, out in ((1, (7,), (3,)), (2, (5, 8), (3, 4)), (3, (4, 5, 3), (2, 7, 2))):
        for kind in ("avg", "max"):
            x = torch.randn(2, 3, *size, requires_grad=True)
            y = getattr(F, f"adaptive_{kind}_pool{axes}d")(x, out)
            golden.update({f"pooled.{kind}{axes}.x": x.detach(), f"pooled.{kind}{axes}.y": y.detach(),
                           f"pooled.{kind}{axes}.grad": torch.autograd.grad((y * y).sum(), x)[0]})


def merged(golden):
    """Of several inputs: Keras's Dot by einsum; and torch.nn.GLU; with the gradient of the squares' sum. In the order of tests/test_layers.c."""
    a, b, c, d = (torch.randn(*s) for s in ((4, 5), (4, 5), (4, 3, 5), (4, 5, 2)))
    unit = F.normalize
    x = torch.randn(4, 6, 5)
    cases = [((a, b), lambda a, b: torch.einsum("bk,bk->b", a, b)[:, None]),
             ((a, b), lambda a, b: F.cosine_similarity(a, b)[:, None]),
             ((c, d), lambda c, d: torch.einsum("bmk,bkn->bmn", c, d)),
             ((c, d), lambda c, d: torch.einsum("bmk,bkn->bmn", unit(c, dim=2), unit(d, dim=1))),
             ((c, a), lambda c, a: torch.einsum("bmk,bk->bm", c, a)),
             ((x,), lambda x: F.glu(x, 1)),
             ((a, b), lambda a, b: (a + b) / 2), ((a, b), torch.maximum), ((a, b), torch.minimum), ((a, b), lambda a, b: a - b),
             ((a,), lambda a: F.leaky_relu(a, 0.2)), ((a,), lambda a: F.elu(a, 0.7))]
    for i, (inputs, function) in enumerate(cases):
        inputs = [v.clone().requires_grad_() for v in inputs]
        y = function(*inputs)
        golden[f"merged{i}.y"] = y.detach()
        for k, (v, gradient) in enumerate(zip(inputs, torch.autograd.grad((y * y).sum(), inputs))):
            golden.update({f"merged{i}.x{k}": v.detach(), f"merged{i}.grad{k}": gradient.clone()})


def main():
    torch.manual_seed(7)
    torch.set_num_threads(1)
    golden = {}
    batch_norm(golden)
    for i, (channels, filters, kernel, options) in enumerate(TRANSPOSED):
        layer = nn.ConvTranspose2d(channels, filters, kernel, **options)
        x = torch.randn(2, channels, 4, 5)
        golden.update({f"transposed{i}.{key}": value.detach() for key, value in
                       {"x": x, "weight": layer.weight, "bias": layer.bias, "y": layer(x)}.items()})
    x = torch.randn(2, 3, 5, 4)
    golden.update({"resampled.x": x, "resampled.y0": F.interpolate(x, scale_factor=(2, 3), mode="nearest"),
                   "resampled.y1": F.interpolate(x, scale_factor=2, mode="bilinear"),
                   "resampled.y2": F.adaptive_avg_pool2d(x, (3, 4)), "resampled.y3": F.adaptive_avg_pool2d(x, (1, 7))})
    v = torch.linspace(-7.9, 8.05, 160).requires_grad_()
    golden["activations.x"] = v.detach().clone()
    for i, function in enumerate(ACTIVATIONS):
        y = function(v)
        golden[f"activations.y{i}"] = y.detach()
        golden[f"activations.slope{i}"] = torch.autograd.grad(y.sum(), v)[0]
    weights = torch.linspace(-1, 2, 160)
    golden["numbered.weights"] = weights
    for i, function in enumerate(NUMBERED):
        y = function(v)
        golden[f"numbered.y{i}"] = y.detach()
        golden[f"numbered.slope{i}"] = torch.autograd.grad((y * weights).sum(), v)[0]
    for i, (kind, sizes, options, size) in enumerate(OTHER_RANKS, len(TRANSPOSED)):
        layer = kind(*sizes, **options)
        x = torch.randn(2, layer.in_channels, *size)
        golden.update({f"transposed{i}.{key}": value.detach() for key, value in
                       {"x": x, "weight": layer.weight, "bias": layer.bias, "y": layer(x)}.items()})
    depthwise(golden)
    pooled(golden)
    evaluated_norms(golden)
    upsampled(golden)
    merged(golden)
    same(golden)
    target = ROOT / "tests" / "data" / "layers.golden.safetensors"
    save_file({key: value.contiguous() for key, value in golden.items()}, target)
    target.chmod(0o644)
    print(len(golden), target.stat().st_size, golden["losses"])


main()
