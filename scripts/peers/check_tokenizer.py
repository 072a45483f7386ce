"""Compares `hone tokenize` with `tokenizers` and llama.cpp on SmolLM2's vocabulary: every review of vaderSentiment and
hard Unicode strings; decoding must give the bytes back. Also what Hone's chat template and its exported files do, as
far as the program offers them. Needs tokenizers, gguf, llama-cpp-python.

    python scripts/peers/check_tokenizer.py build/hone [--model FILE.gguf] [--reviews FILE.txt] [--data /tmp/data]
"""
import argparse, io, json, pathlib, random, subprocess, sys, tarfile

import gguf
import llama_cpp
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

REVIEWS = "movieReviewSnippets_GroundTruth.txt"


def find_in_archive(data):
    """The reviews in a .tar.gz, or in one of the .tar.gz inside of it; None: they are not there."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar.getmembers():
            if member.name.endswith(REVIEWS):
                return tar.extractfile(member).read()
            if member.name.endswith(".tar.gz"):
                found = find_in_archive(tar.extractfile(member).read())
                if found is not None:
                    return found
    return None


def find_inputs(args):
    if not args.model:
        args.model = next(iter(sorted(map(str, pathlib.Path(args.data).rglob("*.gguf")))), None)
    if args.reviews:
        text = pathlib.Path(args.reviews).read_text("utf-8", "replace")
    else:
        archive = next(iter(sorted(pathlib.Path(args.data).glob("vader*.tar.gz"))), None)
        if not archive or not args.model:
            sys.exit(f"no model (*.gguf) or no vaderSentiment archive below {args.data}")
        data = find_in_archive(archive.read_bytes())
        if data is None:
            sys.exit(f"{archive} holds no {REVIEWS}")
        text = data.decode("utf-8", "replace")
    return [line for line in text.split("\n") if line]


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


def hf_tokenizer(fields):
    """The vocabulary of the GGUF file under the pre-tokenizer of SmolLM2's tokenizer.json."""
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, k in zip(tokens, types) if k == 3])
    return tok


def hone(args, lines, *options):
    run = subprocess.run([args.hone, "tokenize", "--model", args.model, *options],
                         input=b"".join(line + b"\n" for line in lines), stdout=subprocess.PIPE, check=True)
    out = run.stdout.split(b"\n")
    if out and not out[-1]:
        out.pop()
    return out


def report(name, wrong, total):
    print(f"{name}: {total - len(wrong)} of {total} agree")
    for line, ours, theirs in wrong[:5]:
        print("  ", repr(line), "\n     hone ", ours, "\n     other", theirs)
    return not wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("hone")
    parser.add_argument("--model")
    parser.add_argument("--reviews")
    parser.add_argument("--data", default="/tmp/data")
    args = parser.parse_args()
    lines = find_inputs(args) + hard_lines()
    raw = hone(args, [line.encode() for line in lines])
    if len(raw) != len(lines):
        sys.exit(f"{len(lines)} lines went in and {len(raw)} came out")
    ours = [[int(i) for i in line.split()] for line in raw]

    fields = gguf.GGUFReader(args.model).fields
    reference = hf_tokenizer(fields)
    theirs = [e.ids for e in reference.encode_batch(lines, add_special_tokens=False)]
    ok = report("tokenizers", [w for w in zip(lines, ours, theirs) if w[1] != w[2]], len(lines))

    llama = llama_cpp.Llama(model_path=args.model, vocab_only=True, verbose=False)
    theirs = [llama.tokenize(line.encode(), add_bos=False, special=True) for line in lines]
    ok &= report("llama.cpp", [w for w in zip(lines, ours, theirs) if w[1] != w[2]], len(lines))

    # Bytes that the vocabulary lacks are left out by all three.
    vocabulary = set(fields["tokenizer.ggml.tokens"].contents())
    alphabet = dict(zip(range(256), [None] * 256))
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    for b in range(256):
        alphabet[b] = chr(b if b in printable else 256 + others.index(b)) in vocabulary
    whole = [i for i, line in enumerate(lines) if all(alphabet[b] for b in line.encode())]
    back = hone(args, [raw[i] for i in whole], "--decode")
    ok &= report("decoding", [(lines[i], b, lines[i].encode()) for i, b in zip(whole, back) if b != lines[i].encode()],
                 len(whole))
    sys.exit(0 if ok and len(back) == len(whole) else 1)


main()
