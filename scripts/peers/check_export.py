"""What `hone export` and `hone finetune` write, opened by its real readers: transformers, PEFT, llama.cpp."""
import numpy as np

from common import Check, first_difference, quiet, torch_logits

TOLERANCE = 1e-3  # of f32 logits
TOKENS = 32
TIE = 0.05  # of llama.cpp's logits: it rounds activations to f16
PROMPTS = ["The capital of France is", "Once upon a time, in a small village by the sea,",
           "<|im_start|>user\nWhat is gravity?<|im_end|>\n<|im_start|>assistant\n"]


def difference(a, b):
    return float(np.abs(a - b).max())


def tokens(check):
    return check.encode("\n".join(check.reviews[:20]))[:200]


def base_folder(check, ids):
    """The whole model as a Hugging Face folder."""
    from transformers import AutoTokenizer, GenerationConfig

    folder = check.scratch / "base"
    check.hone("export", "--model", check.model, "--format", "safetensors", "--output", folder)
    off = difference(torch_logits(check.reference(folder), ids), check.logits(ids))
    check.tell(off <= TOLERANCE, "export safetensors", f"transformers' logits are at most {off:.1e} from ours")
    off = difference(check.logits(ids, model=folder), check.logits(ids))
    check.tell(off == 0, "export safetensors, read back", f"logits {off:.1e} from those of the GGUF file")

    theirs = AutoTokenizer.from_pretrained(folder)
    lines = [*check.reviews[::20], "1234 5,678.90", "naïve Œuvre 日本語 🦊", " two  blanks", "<|im_start|>user\nhi<|im_end|>"]
    wrong = [line for line in lines if theirs(line, add_special_tokens=False).input_ids != check.encode(line)]
    check.tell(not wrong, "export tokenizer", f"{len(lines) - len(wrong)} of {len(lines)} texts give the same ids" +
               (f", not {wrong[0]!r}" if wrong else ""))
    messages = [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "?"}]
    for name, conversation in (("", messages), (" with a system message", [{"role": "system", "content": "Be brief."}, *messages])):
        text = theirs.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
        check.tell(text == check.render(conversation, answer_follows=True), "export chat template" + name, repr(text[-60:]))
    ends = GenerationConfig.from_pretrained(folder).eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    check.tell(check.tokenizer.token_to_id("<|im_end|>") in ends, "export generation config", f"ends at {ends}")


def adapter(check, ids):
    """An adapter that was trained for a few steps: by itself, and merged."""
    from peft import PeftModel

    trained, merged, again = check.scratch / "adapter", check.scratch / "merged", check.scratch / "again"
    data = check.write_jsonl("train.jsonl", [{"text": review} for review in check.reviews[:16]])
    check.hone("finetune", "--model", check.model, "--data", data, "--output-dir", trained, "--dtype", "f32", "--max-steps", 3,
               "--batch-size", 1, "--max-seq-length", 128, "--learning-rate", 1e-3, "--lr-scheduler-type", "constant", "--quiet")
    ours = check.logits(ids, "--adapter", trained)
    moved = difference(ours, check.logits(ids))
    off = difference(torch_logits(PeftModel.from_pretrained(check.reference(), trained), ids), ours)
    check.tell(off <= TOLERANCE < moved, "adapter in PEFT",
               f"logits at most {off:.1e} from ours, which the adapter moved by up to {moved:.2f}")
    check.hone("export", "--model", check.model, "--adapter", trained, "--format", "peft", "--output", again)
    off = difference(check.logits(ids, "--adapter", again), ours)
    check.tell(off == 0, "export peft", f"logits {off:.1e} from those of the adapter")
    check.hone("export", "--model", check.model, "--adapter", trained, "--format", "safetensors", "--output", merged)
    off = difference(torch_logits(check.reference(merged), ids), ours)
    check.tell(off <= TOLERANCE, "export merged", f"transformers' logits are at most {off:.1e} from ours with the adapter")


def llama_greedy(llama, ids, ends):
    """[(token, how far its logit is above the next best)], until an end token, which is part of it."""
    llama.reset()
    llama.eval(ids)
    made = []
    while True:
        logits = llama.scores[llama.n_tokens - 1]
        second, best = np.argsort(logits)[-2:]
        made.append((int(best), float(logits[best] - logits[second])))
        if best in ends or len(made) == TOKENS:
            return made
        llama.eval([int(best)])


def blocks(check, file):
    """Our Q8_0 against gguf's own quantizer on the values that the source file holds."""
    from gguf import GGUFReader
    from gguf.constants import GGMLQuantizationType as Type
    from gguf.quants import dequantize, quantize

    source = {tensor.name: tensor for tensor in GGUFReader(check.model).tensors}
    wrong = total = 0
    for tensor in GGUFReader(file).tensors:
        if tensor.tensor_type == Type.Q8_0:
            original = source[tensor.name]
            wanted = quantize(dequantize(original.data, original.tensor_type), Type.Q8_0)
            wrong += int((tensor.data.reshape(-1, 34) != wanted.reshape(-1, 34)).any(1).sum())
            total += tensor.data.size // 34
    check.tell(total > 0 and wrong == 0, "export Q8_0", f"{total - wrong} of {total} blocks are those of gguf's quantizer")


def gguf(check, ids, name, options, agreement, distance_allowed):
    """llama.cpp rounds activations to the file's own kind of number (8 bits beside Q8_0), prompts in Hone don't: the two
    bounds say that it opens the file and means the same by it; that the weights are right is told by blocks()."""
    from llama_cpp import Llama

    file = check.scratch / f"{name}.gguf"
    check.hone("export", "--model", check.model, "--format", "gguf", *options, "--output", file)
    if name == "Q8_0":
        blocks(check, file)
    llama = Llama(str(file), n_ctx=512, n_batch=512, logits_all=True, verbose=False)
    ours = check.logits(ids, model=file)
    llama.eval(ids)
    theirs = np.array(llama.scores[: len(ids)])
    same = float((ours.argmax(-1) == theirs.argmax(-1)).mean())
    distance = float(np.sqrt(((ours - theirs) ** 2).mean()) / ours.std())
    check.tell(same >= agreement and distance <= distance_allowed, f"export {name} in llama.cpp",
               f"the likeliest token is the same at {same:.1%} of {len(ids)} positions, logits {distance:.1e} apart, relative")
    texts = ["1234 5,678.90", "naïve Œuvre 日本語 🦊", *check.reviews[:50]]
    wrong = [t for t in texts if llama.tokenize(t.encode(), add_bos=False, special=True) != check.encode(t)]
    check.tell(not wrong, f"export {name}, tokenizer in llama.cpp", f"{len(texts) - len(wrong)} of {len(texts)} texts give the same ids")
    if name != "F16":
        return
    wrong = []
    for prompt in PROMPTS:
        made = llama_greedy(llama, check.encode(prompt), check.end_ids)
        text = check.hone("generate", "--model", file, "--dtype", "f32", "--max-tokens", TOKENS, "--prompt", prompt)
        first = first_difference(check, text, made)
        if first and first[1] > TIE:
            wrong.append(f"; {prompt!r} differs at token {first[0]}, where llama.cpp's choice leads by {first[1]:.3f}")
    check.tell(not wrong, f"export {name}, continued by llama.cpp and Hone",
               f"{len(PROMPTS) - len(wrong)} of {len(PROMPTS)} alike for {TOKENS} tokens" + "".join(wrong))


def main():
    check = Check(__doc__)
    quiet()
    ids = tokens(check)
    base_folder(check, ids)
    adapter(check, ids)
    gguf(check, ids, "F16", ["--dtype", "f16"], 0.99, 0.005)
    gguf(check, ids, "Q8_0", ["--quantize", "Q8_0"], 0.9, 0.06)
    check.finish()


main()
