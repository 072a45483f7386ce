"""`hone tokenize` against `tokenizers` and llama.cpp on SmolLM2's vocabulary: every review of vaderSentiment and hard
Unicode strings; decoding must give the bytes back."""
import json, pathlib, random

import gguf
import llama_cpp

from common import Check, byte_alphabet


def hard_lines():
    golden = pathlib.Path(__file__).resolve().parents[2] / "tests" / "data" / "tokenizer" / "golden.json"
    lines = [t for t in json.loads(golden.read_text())["texts"] if "\n" not in t and "\0" not in t and t]
    rng = random.Random(1)
    ranges = [(0x20, 0x7F), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700), (0x900, 0x980), (0xE00, 0xE80),
              (0x1E00, 0x2000), (0x2000, 0x2070), (0x2100, 0x2200), (0x3000, 0x3100), (0x4E00, 0x4F00), (0xAC00, 0xAD00),
              (0xFE00, 0xFE10), (0xFF00, 0xFF60), (0x1F300, 0x1F650), (0x1D400, 0x1D800)]
    for _ in range(3000):
        pool = rng.sample(ranges, 3) + [(0x20, 0x7F)]
        chars = [chr(rng.randrange(*rng.choice(pool))) if rng.random() < 0.7 else rng.choice(" \t 0123456789'\u00a0")
                 for _ in range(rng.randrange(1, 40))]
        lines.append("".join(chars))
    return lines


def hone(check, lines, *options):
    """One line of output for each line."""
    out = check.hone("tokenize", "--model", check.model, *options, input=b"".join(line + b"\n" for line in lines)).split(b"\n")
    if out and not out[-1]:
        out.pop()
    if len(out) != len(lines):
        raise SystemExit(f"{len(lines)} lines went in and {len(out)} came out")
    return out


def report(check, name, lines, ours, theirs):
    wrong = [w for w in zip(lines, ours, theirs, strict=True) if w[1] != w[2]]
    first = "".join(f"; {line!r}: {a} and not {b}" for line, a, b in wrong[:1])
    check.tell(not wrong, f"tokenizer, {name}", f"{len(lines) - len(wrong)} of {len(lines)} agree{first}")


def main():
    check = Check(__doc__)
    lines = pathlib.Path(check.args.reviews).read_text("utf-8", "replace").split("\n")
    lines = [line for line in lines if line] + hard_lines()
    raw = hone(check, [line.encode() for line in lines])
    ours = [[int(i) for i in line.split()] for line in raw]

    theirs = [e.ids for e in check.tokenizer.encode_batch(lines, add_special_tokens=False)]
    report(check, "tokenizers", lines, ours, theirs)

    llama = llama_cpp.Llama(model_path=check.model, vocab_only=True, verbose=False)
    theirs = [llama.tokenize(line.encode(), add_bos=False, special=True) for line in lines]
    report(check, "llama.cpp", lines, ours, theirs)

    # Bytes that the vocabulary lacks are left out by all three.
    vocabulary = set(gguf.GGUFReader(check.model).fields["tokenizer.ggml.tokens"].contents())
    known = {byte for char, byte in byte_alphabet().items() if char in vocabulary}
    whole = [i for i, line in enumerate(lines) if known.issuperset(line.encode())]
    back = hone(check, [raw[i] for i in whole], "--decode")
    report(check, "decoding", [lines[i] for i in whole], back, [lines[i].encode() for i in whole])
    check.finish()


main()
