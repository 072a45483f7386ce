"""What bench/run and bench/scaling write into the documents: text between two markers, so that every figure there comes from
a measurement and one command makes them again."""
import os, pathlib, re, shlex

ROOT = pathlib.Path(__file__).resolve().parent.parent


def machine():
    """What was measured on, for people: names and sizes, no date."""
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    name = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.M)
    flags = set(re.search(r"^flags\s*:\s*(.*)$", cpuinfo, re.M)[1].split()) if "\nflags" in cpuinfo else set()
    known = [("amx_bf16", "AMX"), ("avx512_bf16", "AVX512-BF16"), ("avx512f", "AVX-512"), ("avx2", "AVX2")]
    best = next((shown for flag, shown in known if flag in flags), None)
    kilobytes = int(re.search(r"^MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.M)[1])
    release = pathlib.Path("/etc/os-release")
    values = dict(line.split("=", 1) for line in release.read_text().splitlines() if "=" in line) if release.exists() else {}
    system = "".join(shlex.split(values.get("PRETTY_NAME", "'an unknown system'")))
    return {"cpu": re.sub(r"\((R|TM)\)", "", name[1]).strip() if name else "an unknown CPU", "instructions": best,
            "cpus": os.cpu_count(), "memory_gb": round(kilobytes * 1024 / 1e9), "system": re.sub(r" \(.*\)$", "", system)}


def fill(path, block, text):
    """Replaces what lies between the markers <!-- begin BLOCK --> and <!-- end BLOCK --> of a document."""
    begin, end = f"<!-- begin {block} -->", f"<!-- end {block} -->"
    path = pathlib.Path(path)
    old = path.read_text(encoding="utf-8")
    if old.count(begin) != 1 or old.count(end) != 1 or old.index(begin) > old.index(end):
        raise SystemExit(f"{path}: '{begin}' and behind it '{end}' must be there, once each")
    head, tail = old[:old.index(begin) + len(begin)], old[old.index(end):]
    path.write_text(f"{head}\n{text.strip()}\n{tail}", encoding="utf-8")


def number(value, digits=3):
    """As many digits as say something: 1,339, 86.5, 0.0072."""
    return f"{value:,.0f}" if value >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def table(head, rows):
    """Markdown; a column of numbers is right-aligned."""
    columns = [[str(row[i]) for row in rows] for i in range(len(head))]
    right = [all(cell in ("", "-") or cell[0].isdigit() for cell in cells) for cells in columns]
    lines = [head, ["---:" if r else "---" for r in right], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
