"""Twenty steps of `hone finetune` against a PyTorch loop with the same batches, loss, clipping and AdamW: in full, and LoRA
from the same adapter; in f32 within 1e-3, in bf16 no further from f32 than 1.2 times PyTorch's autocast. Moments of 8 bits
end at the same loss within 0.5 %. And accumulation: 4 x 2 conversations of unequal length must be one batch of 8."""
import pathlib

import numpy as np

from common import Check, quiet

STEPS, BATCH = 20, 2
LONGEST = 128  # tokens
RATE = {"full": 2e-5, "lora": 2e-4}
F32 = 1e-3  # relative
BF16 = 1.2  # times PyTorch's own distance from f32
FLOOR = 5e-4  # a mean distance of losses that is no difference: twenty steps don't measure a distance more finely
ACCUMULATION = 1e-5  # relative
EIGHT_BIT = 5e-3  # of the last five losses' mean, relative


def conversations(check, count):
    """Reviews as answers: unequal lengths, and a prompt that is not learnt."""
    chosen = []
    for review in check.reviews:
        messages = [{"role": "user", "content": "Write a film review."}, {"role": "assistant", "content": review}]
        ids, learnt = check.chat_ids(messages)
        if len(ids) <= LONGEST:
            chosen.append((messages, ids, learnt))
        if len(chosen) == count:
            return chosen
    raise SystemExit(f"the reviews hold fewer than {count} short enough")


def peft_adapter(check):
    """An adapter as PEFT begins one, but for B: were it zero, A would not be trained at the first step."""
    import torch
    from peft import LoraConfig, get_peft_model

    folder = check.work / "adapter"
    torch.manual_seed(1)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(check.reference(), LoraConfig(r=16, lora_alpha=32, target_modules=targets, task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.01)
    model.save_pretrained(folder)
    return folder


def torch_losses(check, data, method, adapter, bf16):
    import torch
    import torch.nn.functional as F
    from peft import PeftModel

    model = check.reference()
    if method == "lora":
        model = PeftModel.from_pretrained(model, adapter, is_trainable=True)
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE[method], weight_decay=0)
    losses = []
    for first in range(0, STEPS * BATCH, BATCH):
        rows = data[first : first + BATCH]
        length = max(len(ids) for _, ids, _ in rows)
        tokens, targets = torch.zeros(BATCH, length, dtype=torch.long), torch.full((BATCH, length), -100)
        mask = torch.zeros(BATCH, length, dtype=torch.long)
        for r, (_, ids, learnt) in enumerate(rows):
            tokens[r, : len(ids)] = torch.tensor(ids)
            mask[r, : len(ids)] = 1
            targets[r, : len(ids) - 1] = torch.tensor([t if l else -100 for t, l in zip(ids[1:], learnt[1:])])
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            logits = model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="sum") / (targets >= 0).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return np.array(losses)


def settings(data, adapter):
    options = ["--data", data, "--no-shuffle", "--no-packing", "--max-seq-length", LONGEST, "--lr-scheduler-type", "constant",
               "--warmup-ratio", 0, "--weight-decay", 0]
    return options + (["--method", "lora", "--adapter", adapter] if adapter else ["--method", "full"])


def compare(check, data, file, method, adapter):
    exact = torch_losses(check, data, method, adapter, bf16=False)
    options = [*settings(file, adapter), "--learning-rate", RATE[method], "--batch-size", BATCH, "--max-steps", STEPS]
    ours = {dtype: np.array([s["loss"] for s in check.losses(*options, "--dtype", dtype)]) for dtype in ("f32", "bf16")}
    off = np.abs(ours["f32"] - exact) / exact
    check.tell(len(off) == STEPS and off.max() <= F32, f"training {method} f32",
               f"losses {exact[0]:.4f} ... {exact[-1]:.4f}, at most {off.max():.1e} from PyTorch's, relative ({F32:g} is allowed)")
    if method == "full":
        rough = np.array([s["loss"] for s in check.losses(*options, "--dtype", "bf16", "--optimizer", "adamw8bit")])
        off = abs(rough[-5:].mean() / ours["bf16"][-5:].mean() - 1)
        check.tell(off <= EIGHT_BIT, "training full adamw8bit", f"the last five losses' mean is {off:.1e} from adamw's, relative "
                                                                f"({EIGHT_BIT:g} is allowed)")
    mine = np.abs(ours["bf16"] - exact).mean()
    theirs = np.abs(torch_losses(check, data, method, adapter, bf16=True) - exact).mean()
    check.tell(mine <= max(BF16 * theirs, FLOOR), f"training {method} bf16",
               f"losses {mine:.1e} from f32 in the mean; PyTorch {theirs:.1e}: {mine / theirs:.2f}x ({BF16}x or {FLOOR:g} is allowed)")


def adapter_after(check, adapter, file, *options):
    """The adapter's values after one step of plain gradient descent of rate 1: what they lost is the gradient."""
    from safetensors.numpy import load_file

    folder = check.scratch / "accumulation"
    check.hone("finetune", "--model", check.model, "--output-dir", folder, "--quiet", *settings(file, adapter), "--dtype", "f32",
               "--optimizer", "sgd", "--learning-rate", 1, "--max-grad-norm", 0, "--max-steps", 1, *options)
    before, after = (load_file(pathlib.Path(f) / "adapter_model.safetensors") for f in (adapter, folder))
    return np.concatenate([(before[name] - after[name]).ravel() for name in sorted(before)])


def accumulation(check, file, adapter):
    steps = 4
    options = [*settings(file, adapter), "--learning-rate", RATE["lora"], "--dtype", "f32", "--max-steps", steps]
    at_once = check.losses(*options, "--batch-size", 8)
    in_parts = check.losses(*options, "--batch-size", 2, "--gradient-accumulation-steps", 4)
    for what in ("loss", "grad_norm"):
        off = max(abs(a[what] / b[what] - 1) for a, b in zip(at_once, in_parts, strict=True))
        check.tell(off <= ACCUMULATION, f"accumulation, {what}", f"4 x 2 is {off:.1e} from 8 over {steps} steps, relative")
    one, other = adapter_after(check, adapter, file, "--batch-size", 8), \
        adapter_after(check, adapter, file, "--batch-size", 2, "--gradient-accumulation-steps", 4)
    off = np.linalg.norm(one - other) / np.linalg.norm(one)
    check.tell(off <= ACCUMULATION, "accumulation, gradient", f"4 x 2 is {off:.1e} from 8, relative")


def main():
    check = Check(__doc__)
    quiet()
    data = conversations(check, STEPS * BATCH)
    file = check.write_jsonl("train.jsonl", [{"messages": messages} for messages, _, _ in data])
    adapter = peft_adapter(check)
    compare(check, data, file, "full", None)
    compare(check, data, file, "lora", adapter)
    accumulation(check, file, adapter)
    check.finish()


main()
