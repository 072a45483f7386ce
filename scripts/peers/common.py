"""What the checks share: their arguments, the program, the same model in transformers, and how results are told.

Every check prints a line `ok NAME: detail`, `FAILED NAME: why` or `skipped NAME: why` for each thing it looked at, and
ends with status 1 when one failed. scripts/test-peers counts these lines."""
import argparse, functools, json, pathlib, subprocess, sys, tempfile

import numpy as np


class Check:
    """One run of a check: its arguments, a scratch folder, and what it has found so far."""

    def __init__(self, description, options=()):
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("hone", help="the program, build/hone")
        parser.add_argument("--model", required=True, help="SmolLM2-135M-Instruct.Q4_1.gguf, see scripts/get-data")
        parser.add_argument("--reviews", required=True, help="movieReviewSnippets_GroundTruth.txt")
        parser.add_argument("--work", help="a folder for what is made on the way (the reference is kept there)")
        for names, settings in options:
            parser.add_argument(*names, **settings)
        self.args = parser.parse_args()
        self.model = self.args.model
        self.temporary = tempfile.TemporaryDirectory(prefix="hone-peers-")
        self.scratch = pathlib.Path(self.temporary.name)
        self.work = pathlib.Path(self.args.work) if self.args.work else self.scratch
        self.failures = 0

    # ---- telling ----

    def tell(self, good, name, detail):
        self.failures += not good
        print(f"{'ok' if good else 'FAILED'} {name}: {detail}", flush=True)
        return good

    def skip(self, name, why):
        print(f"skipped {name}: {why}", flush=True)

    def finish(self):
        self.temporary.cleanup()
        sys.exit(1 if self.failures else 0)

    # ---- the program ----

    def hone(self, command, *options, input=None):
        """What `hone COMMAND OPTIONS` prints, as bytes."""
        run = subprocess.run([self.args.hone, command, *map(str, options)], input=input, capture_output=True)
        if run.returncode:
            raise RuntimeError(f"hone {command} {' '.join(map(str, options))}\n{run.stderr.decode(errors='replace')}")
        return run.stdout

    def logits(self, ids, *options, model=None, dtype="f32"):
        path = self.scratch / "logits.npy"
        self.hone("forward", "--model", model or self.model, "--dtype", dtype, "--tokens", ",".join(map(str, ids)),
                  "--output", path, *options)
        return np.load(path)

    def losses(self, *options):
        """The metrics of every step of `hone finetune OPTIONS`, which must not name the output folder."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            self.hone("finetune", "--model", self.model, "--output-dir", folder, "--quiet", *options)
            lines = (pathlib.Path(folder) / "metrics.jsonl").read_text().splitlines()
        return [step for step in map(json.loads, lines) if "loss" in step]

    def write_jsonl(self, name, records):
        path = self.scratch / name
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        return path

    # ---- data ----

    @functools.cached_property
    def reviews(self):
        lines = pathlib.Path(self.args.reviews).read_text("utf-8", "replace").split("\n")
        return [line.split("\t")[-1].strip() for line in lines if line.strip()]

    # ---- the peers ----

    @functools.cached_property
    def tokenizer(self):
        return gguf_tokenizer(self.model)

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    @functools.cached_property
    def end_ids(self):
        return {self.tokenizer.token_to_id(t) for t in ("<|im_end|>", "<|endoftext|>")}

    def to_bytes(self, ids):
        alphabet = byte_alphabet()
        text = "".join(self.tokenizer.id_to_token(i) for i in ids)
        return b"".join(bytes([alphabet[c]]) if c in alphabet else c.encode() for c in text)

    @functools.cached_property
    def reference_folder(self):
        """The GGUF's weights in f32 as a Hugging Face folder, dequantized by transformers. (Its tokenizer lacks the
        digits rule: token ids come from `encode`.)"""
        folder = self.work / "reference"
        if not (folder / "complete").exists():
            import torch
            from safetensors.torch import save_model
            from transformers import AutoModelForCausalLM, AutoTokenizer

            source = pathlib.Path(self.model)
            model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
            if hasattr(model.config, "quantization_config"):
                del model.config.quantization_config
            folder.mkdir(parents=True, exist_ok=True)
            model.config.save_pretrained(folder)
            AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(folder)
            save_model(model, str(folder / "model.safetensors"), metadata={"format": "pt"})
            (folder / "complete").touch()
        return folder

    def reference(self, folder=None):
        """The model of a folder (default: the reference) in PyTorch, f32."""
        import torch
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(folder or self.reference_folder, dtype=torch.float32).eval()

    def render(self, messages, answer_follows=False):
        """Messages as text, by the GGUF's own template."""
        from transformers import AutoTokenizer

        if not hasattr(self, "_chat"):
            self._chat = AutoTokenizer.from_pretrained(self.reference_folder)
        return self._chat.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer_follows)

    def chat_ids(self, messages):
        """The ids of a rendered conversation, and which of them are learnt: each answer with the token that ends it."""
        ids = self.encode(self.render(messages))
        start, end = self.encode("<|im_start|>assistant\n"), self.tokenizer.token_to_id("<|im_end|>")
        learnt, inside = [], False
        for i, token in enumerate(ids):
            learnt.append(inside)
            if token == end:
                inside = False
            elif ids[max(i + 1 - len(start), 0) : i + 1] == start:
                inside = True
        return ids, learnt


def quiet():
    """transformers without its progress bars and advice."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def torch_logits(model, ids, bf16=False):
    import torch

    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        return model(torch.tensor([ids])).logits[0].float().numpy()


def torch_greedy(model, ids, count, ends):
    """[(token, how far its logit is above the next best)], until one of `ends`, which is part of it."""
    import torch

    made, cache, x = [], None, torch.tensor([ids])
    with torch.inference_mode():
        while len(made) < count and not (made and made[-1][0] in ends):
            out = model(x, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = out.past_key_values
            best = torch.topk(out.logits[0, -1], 2)
            made.append((best.indices[0].item(), (best.values[0] - best.values[1]).item()))
            x = best.indices[:1].view(1, 1)
    return made


def first_difference(check, text, made):
    """Compares what Hone wrote (bytes) with a peer's [(token, gap)]. None: the same. Else the number of the first token
    that differs, and its gap: below the tolerance it was a tie, and what follows cannot be compared."""
    tokens = [token for token, _ in made if token not in check.end_ids]
    whole = check.to_bytes(tokens)
    if text == whole or text == whole.decode("utf-8", "ignore").encode():  # half a character is not printed
        return None
    for i in range(len(tokens)):
        if not text.startswith(check.to_bytes(tokens[: i + 1])):
            return i, made[i][1]
    return (len(tokens), made[len(tokens)][1]) if len(made) > len(tokens) else (len(made), float("inf"))


def byte_alphabet():
    """The characters of GPT-2's byte-level vocabularies and the bytes they stand for."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b if b in printable else 256 + others.index(b)): b for b in range(256)}


@functools.cache
def gguf_tokenizer(path):
    """The vocabulary of a GGUF file under the pre-tokenizer of SmolLM2's tokenizer.json."""
    import gguf
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, k in zip(tokens, types) if k == 3])
    return tok
