"""How fast Hone is beside PyTorch and llama.cpp, with 2 threads each: pairs of runs in turn, so that both see the same
machine. A ratio is the median over the pairs. It prints the ratios; with --strict those below their bar fail."""
import json, os, pathlib, statistics, subprocess, sys, tempfile, time

from common import Check

BATCH, LENGTH, WARM = 4, 256, 2
STEPS = 4  # timed, after the warm ones
TOKENS = 192  # generated
BARS = {"full_f32": 1.2, "full_bf16": 2.0, "lora_bf16": 2.0, "generate": 1.2}
PEAK_BYTES = 0.9e9  # of LoRA in bf16
IRIS_SECONDS = 0.050

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "2"}
OPTIONS = [
    (["--strict"], {"action": "store_true", "help": "a ratio below its bar is a failure"}),
    (["--pairs"], {"type": int, "default": 2, "help": "how often each pair is run"}),
    (["--only"], {"help": "comma-separated: " + ",".join(BARS) + ",iris"}),
]


def run(*command, cwd=None):
    """stdout, seconds and peak memory of a process of its own. (This one must stay small: a child's peak begins with
    what its parent had.)"""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=errors, env=ENVIRONMENT, cwd=cwd)
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"{command}: {errors.read().decode(errors='replace')}")
    return out, seconds, usage.ru_maxrss * 1024


def peer(case, model="", steps=STEPS):
    script = pathlib.Path(__file__).with_name("torch_peer.py")
    out, seconds, peak = run(sys.executable, "-W", "ignore", script, case, model, "--steps", steps)
    return {**json.loads(out), "seconds": seconds, "peak": peak}


def finetune(check, case, data):
    method, dtype = case.split("_")
    folder = check.scratch / case
    _, _, peak = run(check.args.hone, "finetune", "--model", check.model, "--data", data, "--output-dir", folder, "--method", method,
                     "--dtype", dtype, "--threads", 2, "--batch-size", BATCH, "--max-seq-length", LENGTH, "--max-steps",
                     WARM + STEPS, "--quiet")
    steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rates = [step["tokens_per_second"] for step in steps if "loss" in step]
    return {"tokens_per_second": statistics.median(rates[WARM:]), "peak": peak}


def generate(check):
    """The difference between a long and a short continuation: starting, loading and the prompt don't count."""
    seconds = []
    for count in (8, 8 + TOKENS):
        out, took, peak = run(check.args.hone, "generate", "--model", check.model, "--threads", 2, "--max-tokens", count, "--json",
                              "--prompt", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,")
        assert json.loads(out)["tokens"] == count, "the continuation ended too early to be timed"
        seconds.append(took)
    return {"tokens_per_second": TOKENS / (seconds[1] - seconds[0]), "peak": peak}


def full_rows(check):
    """A text long enough that every row is full, and no row comes twice."""
    text = " ".join(check.reviews)
    return check.write_jsonl("long.jsonl", [{"text": text}])


def judge(check, good, name, detail):
    if good or check.args.strict:
        check.tell(good, name, detail)
    else:
        print(f"BELOW THE BAR {name}: {detail}", flush=True)


def compare(check, case, ours, theirs):
    pairs = [(ours(), theirs()) for _ in range(check.args.pairs)]
    ratio = statistics.median(a["tokens_per_second"] / b["tokens_per_second"] for a, b in pairs)
    rates = ["/".join(f"{pair[i]['tokens_per_second']:.0f}" for pair in pairs) for i in (0, 1)]
    peaks = [max(pair[i]["peak"] for pair in pairs) / 1e9 for i in (0, 1)]
    judge(check, ratio >= BARS[case], f"speed {case}",
          f"{ratio:.2f}x (bar {BARS[case]}x): {rates[0]} tokens/s beside {rates[1]}; peak memory {peaks[0]:.2f} GB beside {peaks[1]:.2f}")
    return max(pair[0]["peak"] for pair in pairs)


def iris(check):
    # build/example_iris beside build/hone; it finds its data from the project's folder
    program, root = pathlib.Path(check.args.hone).resolve().with_name("example_iris"), pathlib.Path(__file__).resolve().parents[2]
    if not program.exists():
        return check.skip("speed iris", f"{program} is not built")
    seconds = [run(program, cwd=root)[1] for _ in range(11)]
    judge(check, statistics.median(seconds) <= IRIS_SECONDS, "speed iris",
          f"{1e3 * statistics.median(seconds):.0f} ms as a process (bar {1e3 * IRIS_SECONDS:.0f} ms); PyTorch {1e3 * peer('iris')['seconds']:.0f} ms")


def reference_folder(check):
    """Made in another process, so that this one stays small."""
    code = "from common import Check, quiet; quiet(); print(Check('').reference_folder)"
    out, _, _ = run(sys.executable, "-W", "ignore", "-c", code, check.args.hone, "--model", check.model, "--reviews",
                    check.args.reviews, "--work", check.work, cwd=pathlib.Path(__file__).parent)
    return out.decode().splitlines()[-1]


def main():
    check = Check(__doc__, OPTIONS)
    for name in ("hone", "model", "reviews"):
        setattr(check.args, name, os.path.abspath(getattr(check.args, name)))
    check.model, check.work = check.args.model, check.work.absolute()
    cases = check.args.only.split(",") if check.args.only else [*BARS, "iris"]
    folder, data = reference_folder(check), full_rows(check)
    for case in cases:
        if case == "iris":
            iris(check)
        elif case == "generate":
            compare(check, case, lambda: generate(check), lambda: peer("generate", check.model, TOKENS))
        else:
            peak = compare(check, case, lambda: finetune(check, case, data), lambda: peer(case, folder))
            if case == "lora_bf16":
                judge(check, peak <= PEAK_BYTES, "memory lora_bf16", f"peak {peak / 1e9:.2f} GB (bar {PEAK_BYTES / 1e9} GB)")
    check.finish()


main()
