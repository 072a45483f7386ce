"""The same work in PyTorch and llama.cpp, for check_speed.py: one case in a process of its own, one JSON line.

    torch_peer.py CASE MODEL [--steps N]     CASE: full_f32 full_bf16 lora_bf16 (MODEL: the reference folder),
                                             generate (MODEL: the GGUF file), iris
"""
import argparse, json, statistics, time

BATCH, LENGTH, WARM = 4, 256, 2


def finetune(args):
    import torch
    from common import quiet
    from transformers import AutoModelForCausalLM

    quiet()
    torch.manual_seed(0)
    torch.set_num_threads(2)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).train()
    if args.case == "lora_bf16":
        from peft import LoraConfig, get_peft_model

        targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=targets, task_type="CAUSAL_LM"))
    # Fused where every weight is trained; for the few of LoRA it makes no difference.
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=True)
    ids = torch.randint(0, 49152, (BATCH, LENGTH))
    seconds = []
    for _ in range(WARM + args.steps):
        began = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.case.endswith("bf16")):
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - began)
    return {"tokens_per_second": BATCH * LENGTH / statistics.median(seconds[WARM:])}


def generate(args):
    """Tokens a second, the prompt not counted, as llama.cpp's own tools measure."""
    from llama_cpp import Llama

    llama = Llama(args.model, n_ctx=512, n_threads=2, n_threads_batch=2, verbose=False)
    llama.eval(list(range(1000, 1016)))
    began = time.perf_counter()
    for i in range(args.steps):
        llama.eval([2000 + i])
    return {"tokens_per_second": args.steps / (time.perf_counter() - began)}


def iris(_):
    """The recipe of examples/iris.c on numbers of its shape."""
    import torch
    from torch import nn

    x, y = torch.randn(120, 4), torch.randint(0, 3, (120,))
    model = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 3))
    optimizer = torch.optim.Adam(model.parameters())
    data = torch.utils.data.TensorDataset(x[:96], y[:96])
    for _ in range(100):
        for a, b in torch.utils.data.DataLoader(data, batch_size=32, shuffle=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(a), b).backward()
            optimizer.step()
        with torch.no_grad():
            nn.functional.cross_entropy(model(x[96:]), y[96:])
    return {}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=["full_f32", "full_bf16", "lora_bf16", "generate", "iris"])
    parser.add_argument("model", nargs="?")
    parser.add_argument("--steps", type=int, default=4)
    args = parser.parse_args()
    work = {"generate": generate, "iris": iris}.get(args.case, finetune)
    print(json.dumps(work(args)), flush=True)


main()
