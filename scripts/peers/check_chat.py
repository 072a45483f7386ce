"""Conversations: `hone eval` must see the tokens that apply_chat_template gives, predict the answers alone (its loss is
PyTorch's), and `hone chat` must answer what PyTorch answers, over two turns."""
import json

from common import Check, first_difference, quiet, torch_greedy, torch_logits

import numpy as np

TOLERANCE = 1e-4  # of a loss, relative
TOKENS = 48
TIE = 1e-3
CONVERSATIONS = {
    "default system message": ["user: What is 12 times 12?", "assistant: 144."],
    "own system message": ["system: Be brief.", "user: Hello!", "assistant: Hi there, how can I help?"],
    "several turns": ["user: Name a colour.", "assistant: Red.", "user: Another.", "assistant: Blue, like the sea."],
    "blanks and other scripts": ["user:   two  blanks \n and a line ", "assistant: C'est ça: 日本語, 🦊.\n\nA second paragraph. "],
}
TURNS = ["Name the largest planet.", "And the smallest one?"]


def loss(model, ids, learnt):
    logits = torch_logits(model, ids).astype(np.float64)[:-1]
    top = logits.max(-1, keepdims=True)
    log_sum = np.log(np.exp(logits - top).sum(-1)) + top[:, 0]
    each = log_sum - logits[np.arange(len(ids) - 1), ids[1:]]
    return each[np.array(learnt[1:])].mean()


def main():
    check = Check(__doc__)
    quiet()
    model = check.reference()
    for name, lines in CONVERSATIONS.items():
        messages = [dict(zip(("role", "content"), line.split(": ", 1))) for line in lines]
        ids, learnt = check.chat_ids(messages)
        data = check.write_jsonl("chat.jsonl", [{"messages": messages}])
        got = json.loads(check.hone("eval", "--model", check.model, "--dtype", "f32", "--data", data, "--json", "--quiet"))
        want = loss(model, ids, learnt)
        check.tell(got["tokens"] == sum(learnt) and abs(got["loss"] - want) <= TOLERANCE * want, f"chat, {name}",
                   f"{got['tokens']} tokens learnt with loss {got['loss']:.5f}; transformers {sum(learnt)} with {want:.5f}")

    # Several lines make several turns; of each answer the tokens are found by generating up to its end.
    printed = check.hone("chat", "--model", check.model, "--dtype", "f32", "--max-tokens", TOKENS, "--json", "--quiet",
                         input="".join(turn + "\n" for turn in TURNS).encode())
    messages = []
    for turn, line in zip(TURNS, printed.decode().splitlines(), strict=True):
        messages.append({"role": "user", "content": turn})
        answer = json.loads(line)["content"]
        made = torch_greedy(model, check.encode(check.render(messages, answer_follows=True)), TOKENS, check.end_ids)
        difference = first_difference(check, answer.encode(), made)
        check.tell(not difference or difference[1] <= TIE, f"chat, turn {len(messages) // 2 + 1}",
                   f"{answer!r}" + (f" differs at token {difference[0]}, gap {difference[1]:.4f}" if difference else ""))
        messages.append({"role": "assistant", "content": answer})
    check.finish()


main()
