"""What bench/scaling's figures say: cliffs, tables and charts of docs/performance.md."""
import os, pathlib, subprocess, sys

from documents import ROOT, fill, number, table
from random_model import multiplied

NAMES = {"full_f32": "full f32", "full_bf16": "full bf16", "lora_bf16": "LoRA bf16", "prompt": "prompt", "generate": "generation"}
SMOLLM2 = {"width": 576, "depth": 30, "vocabulary": 49152, "head": 64}
MODELS = ("vocabulary", "width", "head", "depth")  # parts that vary the model
SLOWER = 1.25  # than both neighbours, per token (or per operation, where sizes of the model differ): a cliff
MATPLOTLIB = "matplotlib==3.11.2"


def sizes_of(point):
    return {**SMOLLM2, **(point.get("model") or {})}


def x_of(part, point):
    """What the part varies."""
    if part == "batch":
        return point["batch"]
    if part in ("length", "odd"):
        return point.get("context", point["length"])
    return sizes_of(point)[part]


def describe(point):
    model = ", ".join(f"{key} {value}" for key, value in (point.get("model") or {}).items()) or "SmolLM2-135M"
    size = f"{point['batch']} x {point['length']}" if "batch" in point else f"{point.get('context', point['length'])}"
    return f"{NAMES[point['workload']]:10} {size:9} {model}"


def flops(point):
    """Floating-point operations a token in products with weights. Training in full makes two more products of each for its
    gradients, LoRA one more; of a prompt only the last token meets the output layer."""
    sizes = sizes_of(point)
    if point["workload"] == "prompt":
        return 2 * (multiplied(**sizes) - sizes["vocabulary"] * sizes["width"])
    return 2 * multiplied(**sizes) * {"full_f32": 3, "full_bf16": 3, "lora_bf16": 2, "generate": 1}[point["workload"]]


def gigaflops(point):
    return point["value"] * flops(point) / 1e9


def series(part, points, batch=None):
    """{workload: [(x, point)...]} in order of x."""
    out = {}
    for point in points:
        if batch is None or point.get("batch", 1) == batch:
            out.setdefault(point["workload"], []).append((x_of(part, point), point))
    return {name: sorted(values, key=lambda value: value[0]) for name, values in out.items()}


def cliffs(part, points):
    """Sizes at which Hone is slower by more than a quarter than at the sizes before and behind them: [(point, how much)...]."""
    out = []
    for batch in sorted({point.get("batch", 1) for point in points}):
        for values in series(part, points, batch if part == "odd" else None).values():
            cost = [1 / gigaflops(point) for _, point in values]
            for i in range(1, len(values) - 1):
                slower = cost[i] / max(cost[i - 1], cost[i + 1])
                if slower > SLOWER:
                    out.append((values[i][1], slower - 1))
        if part != "odd":
            break
    return out


def told(part, points):
    return [f"{describe(point)}: {100 * slower:.0f} % slower than at both neighbours" for point, slower in cliffs(part, points)]


# ---- docs/performance.md ----

def grid(part, points, cell, batch=None):
    """A line for each size, a column for each workload."""
    columns = series(part, points, batch)
    xs = sorted({x for values in columns.values() for x, _ in values})
    rows = [[f"{x:,}", *(next((cell(p) for at, p in values if at == x), "-") for values in columns.values())] for x in xs]
    return table([part if part != "odd" else "length", *(NAMES[name] for name in columns)], rows)


def speed(point):
    return number(point["value"])


def memory(point):
    return f"{point['peak_memory_bytes'] / 1e9:.2f}"


def speed_and_memory(part, points, batch=None):
    return f"Tokens a second:\n\n{grid(part, points, speed, batch)}\n\nPeak memory, GB:\n\n{grid(part, points, memory, batch)}"


def slopes(points):
    """Is memory linear in length? Bytes that a token more takes, in each half of the range."""
    rows = []
    for name, values in series("length", points).items():
        peak = {x: p["peak_memory_bytes"] for x, p in values}
        if {1024, 2048, 4096} <= set(peak):
            rows.append([NAMES[name], *(f"{(peak[2 * x] - peak[x]) / x / 1e3:.0f}" for x in (1024, 2048))])
    return table(["kB a token more", "1,024 to 2,048", "2,048 to 4,096"], rows)


def found(data):
    lines = [line for part, points in data["parts"].items() for line in told(part, points)]
    return "\n".join(f"- {line}" for line in lines) or \
        f"None of the sizes on this page is slower per operation than both of its neighbours by more than {100 * (SLOWER - 1):.0f} %."


def model_tables(part, points):
    return f"Tokens a second:\n\n{grid(part, points, speed)}\n\nGflop/s in products with weights:\n\n" \
           f"{grid(part, points, lambda p: number(gigaflops(p)))}\n\nPeak memory, GB:\n\n{grid(part, points, memory)}"


def odd_tables(points):
    return "Batch 1, tokens a second:\n\n" + grid("odd", points, speed, 1) + "\n\nBatch 4, tokens a second:\n\n" + \
           grid("odd", [p for p in points if "batch" in p], speed, 4)


def blocks(data):
    """{block: text} of what was measured."""
    parts = data["parts"]
    out = {"machine": "{cpus} cores of an {cpu} ({instructions}), {memory_gb} GB, {system}".format(**data["machine"]) +
                      f". {data['build']}.", "cliffs": found(data)}
    for part, points in parts.items():
        out[part] = odd_tables(points) if part == "odd" else model_tables(part, points) if part in MODELS else \
            speed_and_memory(part, points)
    if "length" in parts:
        out["slopes"] = slopes(parts["length"])
    return out


def charts(path):
    """Made by matplotlib, in a virtual environment of its own."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    environment = pathlib.Path(os.environ.get("HONE_CHARTS", cache / "hone/charts"))
    python = environment / "bin/python"
    if subprocess.run([python, "-c", "import matplotlib"], stderr=subprocess.DEVNULL).returncode if python.exists() else True:
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        subprocess.run([python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", MATPLOTLIB], check=True)
    subprocess.run([python, "-B", ROOT / "bench/charts.py", path, ROOT / "docs/charts"], check=True)


def write(data, document=ROOT / "docs/performance.md"):
    """Parts that were not measured stay as the document has them."""
    for block, text in blocks(data).items():
        fill(document, block, text)
