"""What is compared for speed and memory, and how: Hone's workload (`hone bench NAME`) and the peers that do the same work, run
in turn, so that both see the same machine. Used by bench/run and check_speed.py."""
import collections, json, os, pathlib, statistics, subprocess, sys, time

# options: of torch_peer.py
Peer = collections.namedtuple("Peer", "label case model options bar")
# name: the workload; WORKLOAD@avx2: everyone limited as LIMITS says. memory: the most that Hone may take, bytes; most: the
# largest value allowed, in the workload's own unit; share: the least of what this CPU could do. None: no bar
Row = collections.namedtuple("Row", "name peers memory most share", defaults=(None, None, None))

FOLDER, FILE, Q8_0 = "folder", "file", "q8_0"  # which form of the model a peer reads
HONE = "hone"  # the peer is another workload of our own
EAGER, COMPILED = "PyTorch eager, fused AdamW", "PyTorch compiled, fused AdamW"
LLAMA = "llama.cpp without AMX"  # scripts/peers/environment says why
ONE_SEQUENCE = "Hone, one sequence"
FROM_MEMORY, NEEDED = "Hone, from memory", "Hone, training that network"
EAGER_ADAM, COMPILED_ADAM = "PyTorch eager, fused Adam", "PyTorch compiled, fused Adam"


def torch(label, case, bar, *options, model=FOLDER):
    return Peer(label, case, model, options, bar)


LONG, SHORT = ("--batch", "8", "--length", "512"), ("--batch", "4", "--length", "64")
ROWS = [
    Row("full_f32", [torch(EAGER, "full_f32", 1.5)]),
    Row("full_bf16", [torch(COMPILED, "full_bf16", 2.4, "--compile"), torch(EAGER, "full_bf16", None)], memory=3.0e9, share=0.6),
    Row("full_bf16_8x512", [torch(EAGER, "full_bf16", 3.0, *LONG)], memory=4.2e9),
    Row("full_bf16_8bit", [], memory=2.3e9),
    Row("lora_bf16", [torch(COMPILED, "lora_bf16", 2.4, "--compile"), torch(EAGER, "lora_bf16", 4.0)], memory=0.9e9),
    Row("lora_checkpointing", [torch(EAGER, "lora_bf16", None, "--checkpointing")], memory=0.65e9),
    Row("prompt_bf16", [torch("PyTorch", "prompt_bf16", 2.0, "--length", "512")]),
    Row("prompt", [torch(LLAMA, "llama_prompt", 5.0, "--length", "512", model=FILE)]),
    Row("prompt_q8_0", [torch(LLAMA, "llama_prompt", 5.0, "--length", "512", model=Q8_0)]),
    Row("generate", [torch(LLAMA, "llama_generate", 2.4, "--length", "64", model=FILE)], share=0.6),
    Row("generate_8", [Peer(ONE_SEQUENCE, "generate", HONE, (), 5.0)]),
    Row("generate_bf16", [torch("PyTorch", "generate_bf16", 3.0, "--length", "64")]),
    Row("load", [torch("PyTorch", "load", None)], most=0.3),
    Row("gpt2_f32", [torch(EAGER, "gpt2_f32", 1.4, *SHORT, model=None)]),
    Row("gpt2_bf16", [torch(EAGER, "gpt2_bf16", 2.4, *SHORT, model=None)]),
    Row("mlp", [torch(EAGER_ADAM, "mlp", 2.0, "--batch", "128", model=None),
                torch(COMPILED_ADAM, "mlp", 2.0, "--batch", "128", "--compile", model=None)]),
    *(Row(case, [torch(EAGER_ADAM, case, 2.0, "--batch", "128", model=None),
                 torch(COMPILED_ADAM, case, 2.0, "--batch", "128", "--compile", model=None)]) for case in ("cnn_f32", "cnn_bf16")),
    Row("loader", [Peer(NEEDED, "cnn_bf16", HONE, (), 1.3)]),  # faster than training needs
    Row("loader_2", [Peer(NEEDED, "cnn_bf16", HONE, (), 2.0)]),
    Row("cnn_files", [Peer(FROM_MEMORY, "cnn_bf16", HONE, (), 0.85)]),
    *(Row(case, [torch(EAGER_ADAM, case, 1.3, "--batch", "32", "--length", "128", model=None),
                 torch(COMPILED_ADAM, case, 1.3, "--batch", "32", "--length", "128", "--compile", model=None)])
      for case in ("lstm_f32", "lstm_bf16")),
    *(Row(case, [torch(EAGER_ADAM, case, bar, "--batch", "64", model=None),
                 torch(COMPILED_ADAM, case, bar, "--batch", "64", "--compile", model=None)])
      for case, bar in (("resnet_f32", None), ("resnet_bf16", 2.0))),
    *(Row(case, [torch(EAGER_ADAM, case, bar, "--batch", "32", "--length", "128", model=None),
                 torch(COMPILED_ADAM, case, bar, "--batch", "32", "--length", "128", "--compile", model=None)])
      for case, bar in (("bert_f32", None), ("bert_bf16", 3.0))),
    Row("full_f32@avx2", [torch(EAGER, "full_f32", 1.0)]),
    Row("gpt2_f32@avx2", [torch(EAGER, "gpt2_f32", 1.0, *SHORT, model=None)]),
    *(Row(f"{case}@avx2", [torch(EAGER_ADAM, case, 1.0, *options, model=None)])
      for case, *options in (("mlp", "--batch", "128"), ("cnn_f32", "--batch", "128"), ("lstm_f32", "--batch", "32", "--length", "128"),
                             ("resnet_f32", "--batch", "64"), ("bert_f32", "--batch", "32", "--length", "128"))),
    Row("iris", [torch("PyTorch", "iris", None, model=None)], most=0.020),
    Row("nodes", [], most=100),
]
BY_NAME = {row.name: row for row in ROWS}
# PyTorch's products in f32 are MKL's, which has a limit of its own.
LIMITS = {"avx2": {"HONE_ISA": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}}
WHOLE_PROCESS = {"load", "iris"}  # seconds, less is better

Side = collections.namedtuple("Side", "value peak share unit build")
Pair = collections.namedtuple("Pair", "hone peer")


def run(*command, name=""):
    """stdout and seconds of a process with 2 threads, limited as the row's name says; the peers find their modules beside
    this file."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    environment.update(LIMITS.get(name.partition("@")[2], {}))
    began = time.perf_counter()
    done = subprocess.run(list(map(str, command)), capture_output=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}:\n{done.stderr.decode(errors='replace')}")
    return done.stdout, time.perf_counter() - began


class Bench:
    """The program, the peers' Python, and the model in the forms that they read."""

    def __init__(self, hone, model, work, python=sys.executable, repeats=3):
        self.hone, self.work, self.python, self.repeats = hone, pathlib.Path(work), python, repeats
        self.models = {None: "", FILE: str(model)}

    def model(self, form):
        """Made by `hone export` when first asked for: the same values for everyone."""
        if form not in self.models:
            options = ["--format", "gguf", "--quantize", "Q8_0"] if form == Q8_0 else ["--format", "safetensors"]
            path = self.work / ("model-q8_0.gguf" if form == Q8_0 else "model-f32")
            run(self.hone, "export", "--model", self.models[FILE], *options, "--output", path, "--quiet")
            self.models[form] = str(path)
        return self.models[form]

    def run_hone(self, name):
        out, _ = run(self.hone, "bench", name.partition("@")[0], "--json", "--quiet", "--threads", 2, "--repeats", self.repeats,
                     "--model", self.models[FILE], name=name)
        machine, result = map(json.loads, out.decode().splitlines())
        return Side(result["value"], result["peak_memory_bytes"], result["share_of_limit"], result["unit"],
                    f"Hone {machine['hone']}: {machine['hardware']}")

    def run_peer(self, name, peer):
        if peer.model == HONE:
            return self.run_hone(peer.case)
        script = pathlib.Path(__file__).with_name("torch_peer.py")
        out, seconds = run(self.python, "-W", "ignore", script, peer.case, self.model(peer.model), *peer.options,
                           "--repeats", self.repeats, name=name)
        result = json.loads(out)
        return Side(seconds if name in WHOLE_PROCESS else result["value"], result["peak_memory_bytes"], None, None, result["build"])

    def pairs(self, name, peer, count):
        """Hone and the peer in turn; Hone alone when there is none."""
        return [Pair(self.run_hone(name), peer and self.run_peer(name, peer)) for _ in range(count)]


def ratios(name, pairs):
    """How many times better Hone is: median, least, most; None without a peer."""
    if pairs[0].peer is None:
        return None
    each = [p.peer.value / p.hone.value if name in WHOLE_PROCESS else p.hone.value / p.peer.value for p in pairs]
    return statistics.median(each), min(each), max(each)


def median(pairs, side, field):
    return statistics.median(getattr(getattr(pair, side), field) for pair in pairs)


def missed(row, peer, pairs):
    """Which bars of the row these figures miss: of "ratio", "value", "memory", "share of the limit"."""
    bad = ["ratio"] if peer and peer.bar and ratios(row.name, pairs)[0] < peer.bar else []
    bad += ["value"] if row.most and median(pairs, "hone", "value") > row.most else []
    bad += ["share of the limit"] if row.share and median(pairs, "hone", "share") < row.share else []
    return bad + (["memory"] if row.memory and max(pair.hone.peak for pair in pairs) > row.memory else [])
