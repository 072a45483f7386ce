"""The same work in PyTorch and llama.cpp, for rows.py: one case in a process of its own, one JSON line: "value" (the median,
tokens or images a second), "peak_memory_bytes", "build" (what it is and what it uses of the CPU).

    torch_peer.py CASE [MODEL] [--batch N --length N] [--compile] [--checkpointing] [--repeats N]

CASE: full_f32 full_bf16 lora_bf16 prompt_bf16 generate_bf16 load (MODEL: a Hugging Face folder), llama_prompt llama_generate
(MODEL: a GGUF file), gpt2_f32 gpt2_bf16 mlp cnn_f32 cnn_bf16 lstm_f32 lstm_bf16 resnet_f32 resnet_bf16
bert_f32 bert_bf16 iris
"""
import argparse, json, re, statistics, time

WARM = 2
PROMPT = 16  # tokens before generation
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def median_rate(count, repeats, repeat):
    """`count` a call of repeat(), over the median time; the first calls don't count."""
    seconds = []
    for _ in range(WARM + repeats):
        began = time.perf_counter()
        repeat()
        seconds.append(time.perf_counter() - began)
    return count / statistics.median(seconds[WARM:])


def peak_memory():
    """VmHWM, bytes."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def causal_lm(args, dtype):
    import torch
    from common import quiet
    from transformers import AutoModelForCausalLM

    quiet()
    torch.manual_seed(0)
    torch.set_num_threads(2)
    return torch, AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype or torch.float32)


def trainer(torch, args, model, ids):
    """A step of `model` on ids as inputs and labels, autocast for bf16, with the fused AdamW."""
    # Fused where every weight is trained; for the few of LoRA it makes no difference.
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=True)
    run = torch.compile(model) if args.compile else model

    def step():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.case.endswith("bf16")):
            loss = run(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return median_rate(ids.numel(), args.repeats, step)


def finetune(args):
    torch, model = causal_lm(args, None)
    model.train()
    if args.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if args.case == "lora_bf16":
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=TARGETS, task_type="CAUSAL_LM"))
    return trainer(torch, args, model, torch.randint(0, 49152, (args.batch, args.length)))


def gpt2(args):
    import torch
    from common import quiet
    from transformers import GPT2Config, GPT2LMHeadModel

    quiet()
    torch.set_num_threads(2)
    model = GPT2LMHeadModel(GPT2Config(resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)).train()
    return trainer(torch, args, model, torch.randint(0, 50257, (args.batch, args.length)))


def prompt(args):
    import torch

    _, model = causal_lm(args, torch.bfloat16)
    model.eval()
    ids = torch.randint(0, 49152, (1, args.length))
    with torch.inference_mode():
        return median_rate(args.length, args.repeats, lambda: model(ids, logits_to_keep=1))


def generate(args):
    """Tokens a second, the prompt not counted."""
    import torch

    _, model = causal_lm(args, torch.bfloat16)
    model.eval()
    ids = torch.randint(0, 49152, (1, PROMPT))

    def seconds(count):
        began = time.perf_counter()
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, min_new_tokens=count, do_sample=False)
        return time.perf_counter() - began

    with torch.inference_mode():
        seconds(8)
        return statistics.median(args.length / (seconds(8 + args.length) - seconds(8)) for _ in range(args.repeats))


def load(args):
    """To the first token; what counts is the whole process."""
    import torch

    _, model = causal_lm(args, torch.bfloat16)
    with torch.inference_mode():
        model(torch.randint(0, 49152, (1, PROMPT)), logits_to_keep=1).logits.argmax()
    return None


def llama(args):
    """As llama.cpp's own tools measure."""
    from llama_cpp import Llama

    reads = args.case == "llama_prompt"
    model = Llama(args.model, n_ctx=1024, n_threads=2, n_threads_batch=2, n_batch=512, n_ubatch=512, verbose=False)
    ids = [1000 + i for i in range(args.length if reads else PROMPT)]

    def repeat():
        if reads:
            model.reset()
            return model.eval(ids)
        model.n_tokens = PROMPT
        for i in range(args.length):
            model.eval([2000 + i])

    model.eval(ids)
    return median_rate(args.length, args.repeats, repeat)


def classifier(torch, args, model, x, steps, classes=10, places=()):
    """Examples a second of training `model` on x, with one of the classes for each, or for each place of each, so many steps a repeat, autocast for bf16."""
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    y = torch.randint(0, classes, (args.batch, *places))
    run = torch.compile(model) if args.compile else model

    def repeat():
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.case.endswith("bf16")):
                loss = torch.nn.functional.cross_entropy(run(x), y)
            loss.backward()
            optimizer.step()

    return median_rate(steps * args.batch, args.repeats, repeat)


def mlp(args):
    import torch
    from torch import nn

    torch.set_num_threads(2)
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    return classifier(torch, args, model, torch.randn(args.batch, 784), 20)


def cnn(args):
    """The network of examples/simple_cnn.c with ten classes, channels last, which is PyTorch's fastest layout."""
    import torch
    from torch import nn

    torch.set_num_threads(2)
    model = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
                          nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4096, 128), nn.ReLU(), nn.Linear(128, 10))
    x = torch.randn(args.batch, 3, 32, 32).to(memory_format=torch.channels_last)
    return classifier(torch, args, model.to(memory_format=torch.channels_last), x, 8)


def lstm(args):
    """A language model of letters, as cli/bench_net.c has it."""
    import torch
    from torch import nn

    class Letters(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.lstm, self.out = nn.Embedding(96, 128), nn.LSTM(128, 512, 2, batch_first=True), nn.Linear(512, 96)

        def forward(self, x):
            return self.out(self.lstm(self.embedding(x))[0]).transpose(1, 2)  # the loss wants classes second

    torch.set_num_threads(2)
    return classifier(torch, args, Letters(), torch.randint(0, 96, (args.batch, args.length)), 4, 96, (args.length,)) * args.length


def resnet(args):
    """ResNet-20 as cli/bench_deep.c has it, channels last."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, before, filters, stride):
            super().__init__()
            self.conv1, self.norm1 = nn.Conv2d(before, filters, 3, stride, 1, bias=False), nn.BatchNorm2d(filters)
            self.conv2, self.norm2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False), nn.BatchNorm2d(filters)
            self.shortcut = nn.Identity()
            if stride > 1:
                self.shortcut = nn.Sequential(nn.Conv2d(before, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))

        def forward(self, x):
            y = self.norm1(self.conv1(x)).relu()
            return (self.norm2(self.conv2(y)) + self.shortcut(x)).relu()

    torch.set_num_threads(2)
    sizes = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)] + [(64, 64, 1)] * 2
    model = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), *(Block(*size) for size in sizes),
                          nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    x = torch.randn(args.batch, 3, 32, 32).to(memory_format=torch.channels_last)
    return classifier(torch, args, model.to(memory_format=torch.channels_last), x, 8)


def bert(args):
    """A classifier of texts with the sizes of cli/bench_deep.c; the rates of dropout are BERT's own, 0.1 everywhere."""
    import torch
    from common import quiet
    from transformers import BertConfig, BertForSequenceClassification

    class Scores(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = BertForSequenceClassification(BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12,
                                                                 intermediate_size=1536, vocab_size=30522, num_labels=2))

        def forward(self, ids):
            return self.bert(ids).logits.float()

    quiet()
    torch.set_num_threads(2)
    return classifier(torch, args, Scores().train(), torch.randint(0, 30522, (args.batch, args.length)), 2, 2)


def iris(_):
    """The recipe of examples/iris.c on numbers of its shape; what counts is the whole process."""
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
    return None


def build(case):
    """Version, and which instructions it uses here."""
    if case.startswith("llama"):
        import llama_cpp

        flags = llama_cpp.llama_print_system_info().decode()
        used = [part.split("=")[0].split(":")[-1].strip() for part in flags.split("|") if part.strip().endswith("= 1")]
        return f"llama.cpp of llama-cpp-python {llama_cpp.__version__}: {' '.join(used)}"
    import torch

    onednn = re.search(r"MKL-DNN v([\d.]+)", torch.__config__.show())
    return f"PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}" + (f", oneDNN {onednn[1]}" if onednn else "")


CASES = {"full_f32": finetune, "full_bf16": finetune, "lora_bf16": finetune, "prompt_bf16": prompt, "generate_bf16": generate,
         "load": load, "llama_prompt": llama, "llama_generate": llama, "gpt2_f32": gpt2, "gpt2_bf16": gpt2, "mlp": mlp,
         "cnn_f32": cnn, "cnn_bf16": cnn, "lstm_f32": lstm, "lstm_bf16": lstm,
         "resnet_f32": resnet, "resnet_bf16": resnet, "bert_f32": bert, "bert_bf16": bert, "iris": iris}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--repeats", type=int, default=4)
    args = parser.parse_args()
    value = CASES[args.case](args)
    print(json.dumps({"value": value, "peak_memory_bytes": peak_memory(), "build": build(args.case)}), flush=True)


main()
