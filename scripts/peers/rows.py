"""What is compared for speed and memory, and how: Hone's workload (`hone bench NAME`) and the peers that do the same work, run
in turn, so that both see the same machine. Used by bench/run and check_speed.py."""
import collections, json, os, pathlib, statistics, subprocess, sys, time

# options: of torch_peer.py
Peer = collections.namedtuple("Peer", "label case model options bar")
Row = collections.namedtuple("Row", "name peers")

FOLDER, FILE, Q8_0 = "folder", "file", "q8_0"  # which form of the model a peer reads
HONE = "hone"  # the peer is another workload of our own
EAGER, COMPILED = "PyTorch eager, fused AdamW", "PyTorch compiled, fused AdamW"
LLAMA = "llama.cpp"
ONE_SEQUENCE = "Hone, one sequence"


def torch(label, case, bar, *options, model=FOLDER):
    return Peer(label, case, model, options, bar)


LONG, SHORT = ("--batch", "8", "--length", "512"), ("--batch", "4", "--length", "64")
ROWS = [
    Row("full_f32", [torch(EAGER, "full_f32", 1.5)]),
    Row("full_bf16", [torch(COMPILED, "full_bf16", 2.4, "--compile"), torch(EAGER, "full_bf16", None)]),
    Row("full_bf16_8x512", [torch(EAGER, "full_bf16", 3.0, *LONG)]),
    Row("lora_bf16", [torch(COMPILED, "lora_bf16", 2.4, "--compile"), torch(EAGER, "lora_bf16", 4.0)]),
    Row("prompt_bf16", [torch("PyTorch", "prompt_bf16", 2.0, "--length", "512")]),
    Row("prompt", [torch(LLAMA, "llama_prompt", 5.0, "--length", "512", model=FILE)]),
    Row("prompt_q8_0", [torch(LLAMA, "llama_prompt", 5.0, "--length", "512", model=Q8_0)]),
    Row("generate", [torch(LLAMA, "llama_generate", 2.4, "--length", "64", model=FILE)]),
    Row("generate_8", [Peer(ONE_SEQUENCE, "generate", HONE, (), 5.0)]),
    Row("generate_bf16", [torch("PyTorch", "generate_bf16", 3.0, "--length", "64")]),
    Row("load", [torch("PyTorch", "load", None)]),
    Row("gpt2_f32", [torch(EAGER, "gpt2_f32", 1.4, *SHORT, model=None)]),
    Row("gpt2_bf16", [torch(EAGER, "gpt2_bf16", 2.4, *SHORT, model=None)]),
    Row("mlp", [torch("PyTorch eager, fused Adam", "mlp", 2.0, "--batch", "128", model=None),
                torch("PyTorch compiled, fused Adam", "mlp", None, "--batch", "128", "--compile", model=None)]),
    Row("iris", [torch("PyTorch", "iris", None, model=None)]),
    Row("nodes", []),
]
BY_NAME = {row.name: row for row in ROWS}
WHOLE_PROCESS = {"load", "iris"}  # seconds, less is better

Side = collections.namedtuple("Side", "value peak share unit build")
Pair = collections.namedtuple("Pair", "hone peer")


def run(*command):
    """stdout and seconds of a process with 2 threads; the peers find their modules beside this file."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
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
        out, _ = run(self.hone, "bench", name, "--json", "--quiet", "--threads", 2, "--repeats", self.repeats, "--model",
                     self.models[FILE])
        machine, result = map(json.loads, out.decode().splitlines())
        return Side(result["value"], result["peak_memory_bytes"], result["share_of_limit"], result["unit"],
                    f"Hone {machine['hone']}: {machine['hardware']}")

    def run_peer(self, name, peer):
        if peer.model == HONE:
            return self.run_hone(peer.case)
        script = pathlib.Path(__file__).with_name("torch_peer.py")
        out, seconds = run(self.python, "-W", "ignore", script, peer.case, self.model(peer.model), *peer.options,
                           "--repeats", self.repeats)
        result = json.loads(out)
        return Side(seconds if name in WHOLE_PROCESS else result["value"], result["peak_memory_bytes"], None, None, result["build"])

    def pairs(self, name, peer, count):
        return [Pair(self.run_hone(name), self.run_peer(name, peer)) for _ in range(count)]


def ratios(name, pairs):
    """How many times better Hone is: median, least, most."""
    each = [p.peer.value / p.hone.value if name in WHOLE_PROCESS else p.hone.value / p.peer.value for p in pairs]
    return statistics.median(each), min(each), max(each)


def median(pairs, side, field):
    return statistics.median(getattr(getattr(pair, side), field) for pair in pairs)
