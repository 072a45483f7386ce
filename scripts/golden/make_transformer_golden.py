"""Transformer layers in PyTorch: tests/data/transformer.golden.safetensors. For each case the inputs, the parameters by
Hone's names, what the output is multiplied with before everything is added up to the loss, the output, and the gradients of
parameters and inputs; computed in f64. Absent inputs are left out. Needs torch, safetensors.

    python scripts/golden/make_transformer_golden.py
"""
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
golden = {}


def hone_names(module):
    """(Hone's name, values, gradient) of each parameter: q, k and v are three layers."""
    for name, p in module.named_parameters():
        if "in_proj" in name:
            place, part = name.split("in_proj_")
            for which, value, gradient in zip("qkv", p.chunk(3), p.grad.chunk(3)):
                yield f"{place}{which}_proj.{part}", value, gradient
        else:
            for which in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
                name = name.replace(which, which.replace("_weight", ".weight"))
            yield name.replace("out_proj", "o_proj"), p, p.grad


def case(name, module, inputs, run, dtype=torch.float32):
    """inputs: as Hone takes them (None: absent); run(module, inputs): what PyTorch makes of them."""
    if module:
        module.double().train()
        with torch.no_grad():
            for p in module.parameters():
                p.copy_((p + 0.1 * torch.randn(p.shape)).float())
                if isinstance(module, torch.nn.Embedding):
                    p[module.padding_idx] = 0
    inputs = [x.float().to(torch.float64) if x is not None and x.is_floating_point() else x for x in inputs]
    for x in inputs:
        if x is not None and x.is_floating_point():
            x.requires_grad_()
    out = run(module, inputs)
    weight = torch.randn(out.shape).float().double()
    (out * weight).sum().backward()
    kept = {"out": out, "loss_weight": weight}
    for i, x in enumerate(inputs):
        if x is None:
            continue
        kept[f"in{i}"] = x
        if x.requires_grad:
            kept[f"in{i}.grad"] = x.grad
    for key, value, gradient in hone_names(module) if module else ():
        kept[f"param.{key}"], kept[f"param.{key}.grad"] = value, gradient
    for key, value in kept.items():
        value = value.detach().clone()
        golden[f"{name}.{key}"] = (value.to(dtype) if value.is_floating_point() else value).contiguous()


def beyond(lengths, most):
    """PyTorch's key padding mask: True is ignored."""
    return torch.arange(most)[None] >= lengths[:, None]


def ahead(t):
    return torch.ones(t, t, dtype=torch.bool).triu(1)


class Rotary(torch.nn.Module):
    """Attention with fewer heads of keys and values and rotary positions (Su et al. 2021), halves of a head turned together as
    Llama's rotate_half does."""

    def __init__(self, features, heads, kv_heads, theta, size=None, key=None, causal=True, bias=True):
        super().__init__()
        self.heads, self.theta, self.size, self.causal = heads, theta, size or features // heads, causal
        linear, key = torch.nn.Linear, key or features
        self.q_proj = linear(features, heads * self.size, bias)
        self.k_proj, self.v_proj = linear(key, kv_heads * self.size, bias), linear(key, kv_heads * self.size, bias)
        self.o_proj = linear(heads * self.size, features, bias)

    def turn(self, x):  # [B, T, heads, size]
        frequency = self.theta ** (-torch.arange(0, self.size, 2, dtype=x.dtype) / self.size)
        angle = torch.arange(x.shape[1], dtype=x.dtype)[:, None, None] * frequency
        a, b = x.chunk(2, -1)
        return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)

    def forward(self, query, key=None):
        key = query if key is None else key
        q, k, v = (p(x).unflatten(-1, (-1, self.size)) for p, x in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, key)))
        y = F.scaled_dot_product_attention(self.turn(q).transpose(1, 2), self.turn(k).transpose(1, 2), v.transpose(1, 2),
                                           is_causal=self.causal, enable_gqa=True)
        return self.o_proj(y.transpose(1, 2).flatten(2))


class Llama(torch.nn.Module):
    """A pre-norm layer with such attention and SwiGLU (Shazeer 2020)."""

    def __init__(self, features, hidden, *attention):
        super().__init__()
        self.self_attn = Rotary(features, *attention)
        self.linear1, self.gate, self.linear2 = (torch.nn.Linear(*sizes) for sizes in
                                                 ((features, hidden), (features, hidden), (hidden, features)))
        self.norm1, self.norm2 = torch.nn.LayerNorm(features), torch.nn.LayerNorm(features)

    def forward(self, x):
        x = x + self.self_attn(self.norm1(x))
        y = self.norm2(x)
        return x + self.linear2(F.silu(self.gate(y)) * self.linear1(y))


def main():
    torch.manual_seed(11)
    torch.set_num_threads(1)
    nn, randn = torch.nn, torch.randn
    lengths = torch.tensor([7, 4], dtype=torch.int32)
    first = dict(batch_first=True)

    # query, key, value, mask, lengths
    case("cross", nn.MultiheadAttention(16, 4, kdim=10, vdim=6, **first), [randn(2, 5, 16), randn(2, 7, 10), randn(2, 7, 6), None, lengths],
         lambda m, x: m(x[0], x[1], x[2], key_padding_mask=beyond(x[4], 7))[0])
    seen = (torch.rand(2, 1, 1, 6) > 0.3).to(torch.uint8)
    seen[..., 0] = 1
    case("padding", nn.MultiheadAttention(12, 3, **first), [randn(2, 6, 12), None, None, seen],
         lambda m, x: m(x[0], x[0], x[0], key_padding_mask=x[3][:, 0, 0] == 0, attn_mask=ahead(6))[0])
    bias = randn(5, 7)
    bias[1, 3] = bias[4, 0] = -torch.inf
    case("bias", nn.MultiheadAttention(12, 3, bias=False, **first), [randn(2, 5, 12), randn(2, 7, 12), None, bias],
         lambda m, x: m(x[0], x[1], x[1], attn_mask=x[3])[0])
    # the op itself: q, k, v of shared heads, and a mask a head
    case("grouped", None, [randn(2, 3, 6, 4), randn(2, 5, 2, 4), randn(2, 5, 2, 4), randn(2, 6, 3, 5)],
         lambda m, x: F.scaled_dot_product_attention(*(y.transpose(1, 2) for y in x[:3]), attn_mask=x[3], enable_gqa=True).transpose(1, 2),
         torch.float64)

    encoder = dict(d_model=16, nhead=4, dim_feedforward=24, dropout=0.0, **first)
    case("encoder", nn.TransformerEncoderLayer(**encoder), [randn(2, 7, 16), None, lengths],
         lambda m, x: m(x[0], src_key_padding_mask=beyond(x[2], 7)))
    case("encoder_pre", nn.TransformerEncoderLayer(activation="gelu", norm_first=True, bias=False, **encoder), [randn(2, 7, 16)],
         lambda m, x: m(x[0]))
    case("encoder_stack", nn.TransformerEncoder(nn.TransformerEncoderLayer(norm_first=True, **encoder), 2, nn.LayerNorm(16),
                                                enable_nested_tensor=False),
         [randn(2, 7, 16), None, lengths], lambda m, x: m(x[0], src_key_padding_mask=beyond(x[2], 7)))
    # x, memory, memory mask, memory lengths, mask, lengths
    own = torch.tensor([3, 5], dtype=torch.int32)
    case("decoder", nn.TransformerDecoderLayer(**encoder), [randn(2, 5, 16), randn(2, 7, 16), None, lengths, None, own],
         lambda m, x: m(x[0], x[1], tgt_mask=ahead(5), memory_key_padding_mask=beyond(x[3], 7), tgt_key_padding_mask=beyond(x[5], 5)))
    case("decoder_pre", nn.TransformerDecoderLayer(activation="gelu", norm_first=True, **encoder),
         [randn(2, 5, 16), randn(2, 7, 16), randn(5, 7)],
         lambda m, x: m(x[0], x[1], tgt_mask=ahead(5), memory_mask=x[2]))
    case("decoder_stack", nn.TransformerDecoder(nn.TransformerDecoderLayer(**encoder), 2), [randn(2, 5, 16), randn(2, 7, 16)],
         lambda m, x: m(x[0], x[1], tgt_mask=ahead(5)))

    case("norm", nn.LayerNorm((3, 4)), [randn(2, 5, 3, 4)], lambda m, x: m(x[0]))
    case("embedding", nn.Embedding(9, 4, padding_idx=2), [torch.tensor([[1, 2, 8], [2, 2, 1]], dtype=torch.int32)],
         lambda m, x: m(x[0].long()))

    case("rotary", Rotary(16, 4, 2, 100.0), [randn(2, 6, 16)], lambda m, x: m(x[0]))
    case("rotary_cross", Rotary(12, 4, 1, 10000.0, size=6, key=10, causal=False, bias=False), [randn(2, 5, 12), randn(2, 7, 10)],
         lambda m, x: m(x[0], x[1]))
    case("llama", Llama(16, 24, 4, 2, 100.0), [randn(2, 6, 16)], lambda m, x: m(x[0]))

    target = ROOT / "tests" / "data" / "transformer.golden.safetensors"
    save_file(golden, target)
    target.chmod(0o644)
    print(f"{len(golden)} tensors, {target.stat().st_size} bytes")


main()
