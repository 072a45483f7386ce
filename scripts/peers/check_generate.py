"""Greedy continuations of `hone generate` in f32 against transformers."""
from common import Check, first_difference, quiet, torch_greedy

TOKENS = 64
TIE = 1e-3  # two logits as close as this may be taken either way
PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a small village by the sea,",
    "def quicksort(a):\n",
    "Water boils at 100 degrees Celsius because",
    "1, 1, 2, 3, 5, 8, 13,",
    "The film begins slowly, but",
    "Ingredients: 2 eggs, 250 g flour, 1 pinch of salt.\n",
    "Q: Who wrote Hamlet?\nA:",
    "In 1969, the first",
    "<|im_start|>user\nWhat is gravity?<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\nWrite a haiku about rain.<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>system\nAnswer in one word.<|im_end|>\n<|im_start|>user\nIs ice cold?<|im_end|>\n<|im_start|>assistant\n",
    "Dear Sir or Madam,\n\n",
    "La mer est",
    "{\"name\": \"Ada\", \"born\":",
    "# How to plant a tree\n\n1.",
    "x",
    "The three laws of thermodynamics state that",
    "To be, or not to be,",
    "#include <stdio.h>\n\nint main(void)\n{\n",
]


def main():
    check = Check(__doc__)
    quiet()
    model = check.reference()
    tokens = ties = 0
    wrong = []
    for prompt in PROMPTS:
        made = torch_greedy(model, check.encode(prompt), TOKENS, check.end_ids)
        text = check.hone("generate", "--model", check.model, "--dtype", "f32", "--max-tokens", TOKENS, "--prompt", prompt)
        tokens += len(made)
        difference = first_difference(check, text, made)
        if difference and difference[1] <= TIE:
            ties += 1
        elif difference:
            wrong.append(f"{prompt!r} differs at token {difference[0]}, where PyTorch's choice leads by {difference[1]:.4f}")
    check.tell(not wrong, "generate",
               f"{len(PROMPTS) - len(wrong)} of {len(PROMPTS)} continuations the same ({ties} up to a tie), {tokens} tokens"
               + "".join("; " + w for w in wrong))
    check.finish()


main()
