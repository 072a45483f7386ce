"""Makes what the language-model tests compare with: tests/data/tiny-llama/ (a seeded two-layer Llama as a Hugging Face
folder), tests/data/tiny-llama.gguf (the same weights, to the bit, as llama.cpp's converter would store them),
tests/data/tiny-qwen2.gguf (one layer, biases, an output layer of its own), and tests/data/tiny-llama-golden/ with what
transformers and peft compute: logits, gradients, 20 steps of training in full and with LoRA.

The weights are rounded through Q8_0 and F16 first, so that both files hold the same numbers. The tokenizer is the one in
tests/data/tokenizer. Needs torch, transformers, peft, safetensors, gguf.

    python scripts/golden/make_llama_golden.py
"""
import copy, json, pathlib, shutil

import gguf, numpy, torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast, Qwen2Config

DATA = pathlib.Path(__file__).resolve().parents[2] / "tests" / "data"
FOLDER, GOLDEN = DATA / "tiny-llama", DATA / "tiny-llama-golden"
BATCH, STEPS, RATE, DECAY, CLIP = 4, 20, 1e-3, 0.01, 1.0
ENDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}

# Chats of very unequal length; the longest has two answers.
TOPICS = [("the film", "positive"), ("a slow and rather silly story about a boat", "negative"), ("it", "negative"),
          ("the acting, which the author of this review had not expected to like at all", "positive")]


def conversations():
    out = []
    for i in range(24):
        topic, label = TOPICS[i % 4]
        text = f"Review {i}: I saw {topic}" + " again and again" * (i % 3) + "."
        chat = [("user", text), ("assistant", label if i % 5 else f"{label}, as a matter of fact")]
        if i % 7 == 3:
            chat += [("user", "Sure?"), ("assistant", "Yes.\nQuite sure: " + "very " * (i % 6) + label)]
        if i % 6 == 5:
            chat.insert(0, ("system", "Be brief."))
        out.append([{"role": r, "content": c} for r, c in chat])
    return out


def encode(tok, chat):
    """Ids, and which are trained: the assistant's text and the token that ends its turn."""
    ids, trained = [], []
    if chat[0]["role"] != "system":
        chat = [{"role": "system", "content": "You are a helpful AI assistant named Hone"}] + chat
    for m in chat:
        for text, learn in ((f"<|im_start|>{m['role']}\n", False), (m["content"] + "<|im_end|>", m["role"] == "assistant"),
                            ("\n", False)):
            piece = tok(text, add_special_tokens=False)["input_ids"]
            ids += piece
            trained += [int(learn)] * len(piece)
    assert ids == tok(tok.apply_chat_template(chat, tokenize=False), add_special_tokens=False)["input_ids"]
    return ids, trained


def batches(examples, size):
    """Padded to the longest; targets are the next tokens where they are trained, else -100."""
    for at in range(0, len(examples), size):
        rows = examples[at:at + size]
        longest = max(len(ids) for ids, _ in rows)
        ids = torch.full((len(rows), longest), ENDS["pad_token_id"])
        mask, target = torch.zeros_like(ids), torch.full_like(ids, -100)
        for r, (row, trained) in enumerate(rows):
            ids[r, :len(row)] = torch.tensor(row)
            mask[r, :len(row)] = 1
            for i in range(1, len(row)):
                if trained[i]:
                    target[r, i - 1] = row[i]
        yield ids, mask, target


def loss_of(model, batch, reduction="mean"):
    ids, mask, target = batch
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits.float()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-100, reduction=reduction)


def train(model, examples, bf16=False):
    model.train()
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=RATE, weight_decay=DECAY)
    steps, losses, norms = list(batches(examples, BATCH)), [], []
    for step in range(STEPS):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = loss_of(model, steps[step % len(steps)])
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(params, CLIP)))
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses, norms


KINDS = {"embed_tokens": "F16", "lm_head": "F16", "v_proj": "F16", "norm": "F32", "layernorm": "F32", "bias": "F32"}


def kind_of(name):
    return next((k for part, k in KINDS.items() if part in name), "Q8_0")


def seed_weights(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        if p.dim() == 1:
            value = noise * 0.1 + (0 if name.endswith("bias") else 1)
        else:
            value = noise * (0.2 if "embed" in name else 0.15)
        kind = gguf.GGMLQuantizationType[kind_of(name)]
        stored = gguf.quants.quantize(value.numpy(), kind)
        p.data = torch.from_numpy(numpy.array(gguf.quants.dequantize(stored, kind), dtype=numpy.float32)).reshape(p.shape)


NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "input_layernorm": "attn_norm",
         "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    stem, last = name.rsplit(".", 1)
    if stem.startswith("model.layers."):
        _, _, layer, part = stem.split(".", 3)
        return f"blk.{layer}.{NAMES[part]}.{last}"
    return f"{NAMES[stem]}.{last}"


def write_gguf(path, model, arch):
    config = model.config
    writer = gguf.GGUFWriter(path, arch)
    for key, value in (("block_count", config.num_hidden_layers), ("context_length", config.max_position_embeddings),
                       ("embedding_length", config.hidden_size), ("feed_forward_length", config.intermediate_size),
                       ("attention.head_count", config.num_attention_heads),
                       ("attention.head_count_kv", config.num_key_value_heads), ("vocab_size", config.vocab_size)):
        writer.add_uint32(f"{arch}.{key}", value)
    if arch == "llama":
        writer.add_uint32("llama.rope.dimension_count", config.head_dim)
    writer.add_float32(f"{arch}.rope.freq_base", config.rope_parameters["rope_theta"])
    writer.add_float32(f"{arch}.attention.layer_norm_rms_epsilon", config.rms_norm_eps)
    for name, field in gguf.GGUFReader(DATA / "tokenizer" / "tokenizer.gguf").fields.items():
        if name.startswith("tokenizer."):
            kind = field.types[0]
            writer.add_key_value(name, field.contents(), kind,
                                 sub_type=field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    for name, p in model.named_parameters():
        value = p.detach().numpy()
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
        if arch == "llama" and heads: # convert_hf_to_gguf.py, LlamaModel.permute
            value = value.reshape(heads, 2, value.shape[0] // heads // 2, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)
        kind = gguf.GGMLQuantizationType[kind_of(name)]
        writer.add_tensor(gguf_name(name), gguf.quants.quantize(numpy.ascontiguousarray(value), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def logits_of(model, ids):
    model.eval()
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float().contiguous()


def save(model, folder, keep):
    model.save_pretrained(folder)
    for path in folder.iterdir():
        if path.name not in keep:
            path.unlink()


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for folder in (FOLDER, GOLDEN):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    tok = PreTrainedTokenizerFast.from_pretrained(DATA / "tokenizer")
    chats = conversations()
    (GOLDEN / "train.jsonl").write_text("".join(json.dumps({"messages": c}) + "\n" for c in chats))
    examples = [encode(tok, c) for c in chats]

    config = LlamaConfig(vocab_size=len(tok), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
                         num_key_value_heads=2, head_dim=16, max_position_embeddings=256, rms_norm_eps=1e-5,
                         rope_parameters={"rope_theta": 10000.0, "rope_type": "default"}, tie_word_embeddings=True, **ENDS)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    seed_weights(model, 1)
    save(model, FOLDER, ("config.json", "model.safetensors"))
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(DATA / "tokenizer" / name, FOLDER / name)
    write_gguf(DATA / "tiny-llama.gguf", model, "llama")

    golden = {}
    sequences = {"short": tok("The film was good, 1995.")["input_ids"], "long": examples[3][0][:40]}
    numbers = {"batch_size": BATCH, "steps": STEPS, "learning_rate": RATE, "weight_decay": DECAY, "max_grad_norm": CLIP,
               "sequences": sequences, "ids": [i for i, _ in examples], "trained": [t for _, t in examples]}
    for name, ids in sequences.items():
        golden[f"logits.{name}"] = logits_of(model, ids)

    ids = list(sequences["short"])
    for _ in range(24):
        ids.append(int(logits_of(model, ids)[-1].argmax()))
    numbers["greedy"] = ids[len(sequences["short"]):]

    # the loss over all examples, and gradients of the first batch
    with torch.no_grad():
        total = sum(float(loss_of(model, b, "sum")) for b in batches(examples, BATCH))
    numbers["trained_tokens"] = sum(sum(t[1:]) for _, t in examples)
    numbers["loss"] = total / numbers["trained_tokens"]
    probe = copy.deepcopy(model)
    loss = loss_of(probe, next(batches(examples, BATCH)))
    loss.backward()
    numbers["batch_loss"] = float(loss.detach())
    for name, p in probe.named_parameters():
        golden[f"gradient.{name}"] = p.grad

    numbers["full_losses"], numbers["full_norms"] = train(copy.deepcopy(model), examples)
    numbers["full_bf16_losses"], _ = train(copy.deepcopy(model), examples, bf16=True)

    lora = LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(copy.deepcopy(model), lora)
    generator = torch.Generator().manual_seed(2)
    for name, p in adapted.named_parameters():
        if "lora_" in name:
            p.data = torch.randn(p.shape, generator=generator) * (0.1 if "lora_A" in name else 0.05)
    adapted.peft_config["default"].base_model_name_or_path = "tests/data/tiny-llama"
    save(adapted, GOLDEN / "adapter", ("adapter_config.json", "adapter_model.safetensors"))
    golden["logits.adapter"] = logits_of(adapted, sequences["short"])
    golden["logits.merged"] = logits_of(copy.deepcopy(adapted).merge_and_unload(), sequences["short"])
    path = GOLDEN / "adapter" / "adapter_config.json"
    saved = json.loads(path.read_text())
    saved["target_modules"].sort() # a set until now
    path.write_text(json.dumps(saved, indent=1, sort_keys=True) + "\n")
    numbers["lora_bf16_losses"], _ = train(copy.deepcopy(adapted), examples, bf16=True)
    numbers["lora_losses"], numbers["lora_norms"] = train(adapted, examples)

    # Llama 3's stretched positions: the same weights, another config
    stretched = copy.deepcopy(config)
    stretched.rope_parameters = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
                                 "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    other = AutoModelForCausalLM.from_config(stretched, attn_implementation="eager", dtype=torch.float32)
    other.load_state_dict(model.state_dict())
    golden["logits.llama3"] = logits_of(other, sequences["long"])[-4:].contiguous()
    numbers["llama3_rope"] = stretched.rope_parameters

    qwen = AutoModelForCausalLM.from_config(
        Qwen2Config(vocab_size=len(tok), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
                    num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-6, tie_word_embeddings=False,
                    rope_parameters={"rope_theta": 1e6, "rope_type": "default"}, **ENDS),
        attn_implementation="eager", dtype=torch.float32)
    seed_weights(qwen, 3)
    write_gguf(DATA / "tiny-qwen2.gguf", qwen, "qwen2")
    golden["logits.qwen2"] = logits_of(qwen, sequences["short"])

    save_file({k: v.detach().clone() for k, v in golden.items()}, GOLDEN / "golden.safetensors")
    (GOLDEN / "golden.json").write_text(json.dumps(numbers, separators=(",", ":")) + "\n")
    print("loss", numbers["loss"], "full", numbers["full_losses"][::6], "lora", numbers["lora_losses"][::6])
    print("bf16 distance", max(abs(a - b) for a, b in zip(numbers["full_losses"], numbers["full_bf16_losses"])))
    print("lengths", [len(i) for i, _ in examples], {k: len(v) for k, v in sequences.items()})


main()
