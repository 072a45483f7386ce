"""How fast Hone is beside PyTorch and llama.cpp, with 2 threads each: pairs of runs in turn, so that both see the same
machine. A ratio is the median over the pairs. It prints the ratios; with --strict those below their bar fail. bench/run
--peers measures more, and against each peer's best configuration."""
import os

from common import Check
from rows import BY_NAME, Bench, median, missed, ratios

BARS = {"full_f32": 1.2, "full_bf16": 2.0, "lora_bf16": 2.0, "generate": 1.2}
IRIS_SECONDS = 0.050

OPTIONS = [
    (["--strict"], {"action": "store_true", "help": "a ratio below its bar is a failure"}),
    (["--pairs"], {"type": int, "default": 2, "help": "how often each pair is run"}),
    (["--only"], {"help": "comma-separated: " + ",".join(BARS) + ",iris"}),
]


def judge(check, good, name, detail):
    if good or check.args.strict:
        check.tell(good, name, detail)
    else:
        print(f"BELOW THE BAR {name}: {detail}", flush=True)


def compare(check, bench, case):
    peer = next(p for p in BY_NAME[case].peers if "--compile" not in p.options)  # compiling takes minutes
    pairs = bench.pairs(case, peer, check.args.pairs)
    ratio, least, most = ratios(case, pairs)
    hone, other = ("/".join(f"{getattr(pair, side).value:.0f}" for pair in pairs) for side in ("hone", "peer"))
    peak = max(pair.hone.peak for pair in pairs)
    judge(check, ratio >= BARS[case], f"speed {case}",
          f"{ratio:.2f}x ({least:.2f} to {most:.2f}; bar {BARS[case]}x): {hone} tokens/s beside {other}; peak memory "
          f"{peak / 1e9:.2f} GB beside {max(pair.peer.peak for pair in pairs) / 1e9:.2f}")
    if BY_NAME[case].memory:
        judge(check, "memory" not in missed(BY_NAME[case], peer, pairs), f"memory {case}",
              f"peak {peak / 1e9:.2f} GB (bar {BY_NAME[case].memory / 1e9} GB)")


def iris(check, bench):
    pairs = bench.pairs("iris", BY_NAME["iris"].peers[0], check.args.pairs)
    seconds = median(pairs, "hone", "value")
    judge(check, seconds <= IRIS_SECONDS, "speed iris",
          f"{1e3 * seconds:.0f} ms as a process (bar {1e3 * IRIS_SECONDS:.0f} ms); PyTorch {1e3 * median(pairs, 'peer', 'value'):.0f} ms")


def main():
    check = Check(__doc__, OPTIONS)
    bench = Bench(os.path.abspath(check.args.hone), os.path.abspath(check.args.model), check.scratch)
    for case in check.args.only.split(",") if check.args.only else [*BARS, "iris"]:
        if case == "iris":
            iris(check, bench)
        else:
            compare(check, bench, case)
    check.finish()


main()
