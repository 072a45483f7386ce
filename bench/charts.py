"""The charts of docs/performance.md: charts.py SCALING_JSON FOLDER. Needs matplotlib (bench/performance.py installs it)."""
import json, pathlib, sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

from performance import NAMES, gigaflops, series  # noqa: E402

# Text stays text: small files, and searchable. The salt keeps ids the same from run to run.
plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "hone", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3,
                     "axes.spines.top": False, "axes.spines.right": False, "figure.figsize": (8, 3.4)})
COLOURS = dict(zip(NAMES, ("#1b6ca8", "#d1495b", "#2a9d5c", "#8a5fbf", "#c77d0a")))
SPEED, MEMORY, WORK = "tokens / s", "peak memory, GB", "Gflop / s"
HOW = {SPEED: lambda p: p["value"], MEMORY: lambda p: p["peak_memory_bytes"] / 1e9, WORK: gigaflops}
CHARTS = [  # file, part, batch, what is along x, panels
    ("batch", "batch", None, "sequences of 256 tokens a step", [SPEED, MEMORY]),
    ("length", "length", None, "tokens of one sequence", [SPEED, MEMORY]),
    ("width", "width", None, "width of a model of 8 blocks", [SPEED, WORK]),
    ("depth", "depth", None, "blocks of width 576", [SPEED, MEMORY]),
]


def draw(axes, part, points, batch, along, what):
    for name, values in series(part, points, batch).items():
        xs, ys = [x for x, _ in values], [HOW[what](point) for _, point in values]
        axes.plot(xs, ys, marker="o", markersize=3, linewidth=1.4, color=COLOURS[name], label=NAMES[name])
    axes.set_xlabel(along)
    axes.set_title(what, loc="left", fontsize=9)
    if what == MEMORY:  # linear both ways: a straight line is linear growth
        axes.set_ylim(bottom=0)
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    if part != "width":
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:,.0f}"))


def main():
    data, folder = json.loads(pathlib.Path(sys.argv[1]).read_text()), pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for file, part, batch, along, panels in CHARTS:
        if part not in data["parts"]:
            continue
        figure, all_axes = plt.subplots(1, len(panels), layout="constrained")
        for axes, what in zip(all_axes, panels):
            draw(axes, part, data["parts"][part], batch, along, what)
        figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(NAMES), frameon=False)
        figure.savefig(folder / f"{file}.svg", metadata={"Date": None})
        plt.close(figure)


main()
