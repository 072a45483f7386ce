"""Logits of `hone forward` against transformers on the same weights: in f32 at every position, in bf16 as a distance
from f32 beside that of PyTorch's autocast. And the perplexity of tokens read one by one, as in generation, whose products take
activations of 8 bits."""
import numpy as np

from common import Check, quiet, torch_logits

LENGTHS = [16, 24, 48, 64, 96, 128, 192, 256, 384, 512]
TOLERANCE = 1e-3  # of f32
BF16 = 1.2  # times PyTorch's own distance
LONG, MANY = 512, 12  # tokens of a text that is read one by one; so many texts: with fewer, chance alone moves the mean so far
ROUGH = 0.005  # of the perplexity in f32


def texts(check):
    """Reviews, code, numbers, other scripts and a conversation, cut to the lengths."""
    ingredients = [
        "def fibonacci(n):\n    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)\n",
        "1234567890, 3.14159, 2^31 - 1 = 2147483647; 12:59 on 2024-02-29. ",
        "Ça dépend. Быстрая лиса, 速い狐, ثعلب سريع, 🦊🌲! ",
        check.render([{"role": "user", "content": "Name three seas."}, {"role": "assistant", "content": "Red, Black, White."}]),
    ]
    for n, length in enumerate(LENGTHS):
        parts = [ingredients[n % len(ingredients)], *check.reviews[n * 37 : n * 37 + 60]]
        ids = check.encode("\n".join(parts if n % 2 else parts[1:]))[:length]
        assert len(ids) == length
        yield ids


def perplexity(check, texts_, *options, dtype):
    """Of every token but the first, given those before."""
    losses = []
    for ids in texts_:
        rows = check.logits(ids, *options, dtype=dtype)[:-1].astype(np.float64)
        top = rows.max(axis=1)
        losses += list(top + np.log(np.exp(rows - top[:, None]).sum(axis=1)) - rows[np.arange(len(ids) - 1), ids[1:]])
    return float(np.exp(np.mean(losses)))


def rms(x):
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def main():
    check = Check(__doc__)
    quiet()
    model = check.reference()
    worst, ours, theirs = [], [], []
    for ids in texts(check):
        exact = torch_logits(model, ids)
        worst.append(float(np.abs(check.logits(ids) - exact).max()))
        ours.append(rms(check.logits(ids, dtype="bf16") - exact))
        theirs.append(rms(torch_logits(model, ids, bf16=True) - exact))
    check.tell(max(worst) <= TOLERANCE, "logits f32",
               f"at most {max(worst):.1e} from PyTorch's over {len(worst)} texts of {LENGTHS[0]} to {LENGTHS[-1]} tokens "
               f"({TOLERANCE:g} is allowed)")
    ratio = rms(ours) / rms(theirs)
    check.tell(ratio <= BF16, "logits bf16",
               f"{rms(ours):.4f} from f32, root mean square; PyTorch {rms(theirs):.4f}: {ratio:.2f}x ({BF16}x is allowed), "
               f"worst text {max(a / b for a, b in zip(ours, theirs)):.2f}x")
    long = [check.encode("\n".join(check.reviews[n * 45 : n * 45 + 45]))[:LONG] for n in range(MANY)]
    exact = perplexity(check, long, dtype="f32")
    rough = perplexity(check, long, "--one-by-one", dtype="bf16")
    check.tell(abs(rough / exact - 1) <= ROUGH, "perplexity, 8 bits",
               f"{rough:.2f} over {MANY} texts of {LONG} tokens, in f32 {exact:.2f}: {100 * (rough / exact - 1):+.2f} % "
               f"({100 * ROUGH:g} % are allowed)")
    check.finish()


main()
