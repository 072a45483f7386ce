"""Writes a Llama of any sizes with random weights, as a Hugging Face folder in bf16: speed and memory don't depend on values.

    bench/random_model.py FOLDER [--width N --depth N --vocabulary N --head N --context N]

Without options it has the sizes of SmolLM2-135M. There are as many heads of size --head as fill the width; a third of them have
keys and values of their own, half or all where that is no whole number; the layers inside are 8/3 as wide. The tokenizer is the small one of tests/data: a vocabulary
may be larger than what it knows."""
import argparse, json, pathlib, random, shutil

TOKENIZER = pathlib.Path(__file__).resolve().parent.parent / "tests/data/tiny-llama"
SIGNS = bytes(0x3C | (byte & 0x80) for byte in range(256))  # the upper byte of +-2^-7 .. +-2^-5 in bf16


def matrix(rows, columns, seed):
    count = rows * columns
    values = bytearray(2 * count)
    values[0::2] = random.Random(2 * seed).randbytes(count)
    values[1::2] = random.Random(2 * seed + 1).randbytes(count).translate(SIGNS)
    return [rows, columns], bytes(values)


def gain(width):
    return [width], b"\x80\x3f" * width  # ones


def heads_of(width, head):
    """Heads, and those with keys and values of their own: about as many as fill the width."""
    heads = max(1, round(width / head))
    return heads, heads // 3 if heads % 3 == 0 else heads // 2 if heads % 2 == 0 else heads


def tensors(width, depth, vocabulary, head):
    heads, kv_heads = heads_of(width, head)
    inner = round(width * 8 / 3)
    yield "model.embed_tokens.weight", matrix(vocabulary, width, 1)
    yield "model.norm.weight", gain(width)
    shapes = {"self_attn.q_proj": (heads * head, width), "self_attn.k_proj": (kv_heads * head, width),
              "self_attn.v_proj": (kv_heads * head, width), "self_attn.o_proj": (width, heads * head),
              "mlp.gate_proj": (inner, width), "mlp.up_proj": (inner, width), "mlp.down_proj": (width, inner)}
    for layer in range(depth):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"model.layers.{layer}.{norm}.weight", gain(width)
        for i, (name, shape) in enumerate(shapes.items()):
            yield f"model.layers.{layer}.{name}.weight", matrix(*shape, 2 + 7 * layer + i)


def multiplied(width, depth, vocabulary, head=64):
    """Parameters that a token is multiplied with."""
    heads, kv_heads = heads_of(width, head)
    return vocabulary * width + depth * width * (2 * heads * head + 2 * kv_heads * head + 3 * round(width * 8 / 3))


def write(folder, width=576, depth=30, vocabulary=49152, head=64, context=8192):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    heads, kv_heads = heads_of(width, head)
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width, "num_hidden_layers": depth,
        "intermediate_size": round(width * 8 / 3), "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": head,
        "vocab_size": vocabulary, "max_position_embeddings": context, "rms_norm_eps": 1e-5, "rope_theta": 100000.0,
        "tie_word_embeddings": True, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16"}))
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(TOKENIZER / name, folder)
    header, at = {}, 0
    for name, (shape, values) in tensors(width, depth, vocabulary, head):
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + len(values)]}
        at += len(values)
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, (_, values) in tensors(width, depth, vocabulary, head):
            file.write(values)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    for name, default in (("width", 576), ("depth", 30), ("vocabulary", 49152), ("head", 64), ("context", 8192)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = vars(parser.parse_args())
    if min(value for value in args.values() if isinstance(value, int)) < 1:
        parser.error("sizes are positive")
    if args["head"] % 2:
        parser.error("a head has an even size: positions rotate pairs")
    write(**args)


if __name__ == "__main__":
    main()
