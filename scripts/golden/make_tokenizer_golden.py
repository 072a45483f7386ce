"""Makes tests/data/tokenizer/: a byte-level BPE tokenizer of some 800 tokens (tokenizer.json, tokenizer_config.json,
special_tokens_map.json), the same as tokenizer.gguf, and golden.json: ids by `tokenizers` and llama.cpp, chats by
transformers. Needs tokenizers, transformers, gguf, llama-cpp-python, numpy.

    python scripts/golden/make_tokenizer_golden.py
"""
import copy, json, pathlib, re, sys

import gguf
import pydoc_data.topics
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "data" / "tokenizer"

SMOLLM = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named Hone<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n"
    "' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n"
    "' }}{% endif %}")
PLAIN = (
    "{% if not add_generation_prompt is defined %}\n{% set add_generation_prompt = false %}\n{% endif %}\n"
    "{%- for message in messages -%}\n    {{- \"<|im_start|>\" + message.role + \"\\n\" + message.content -}}\n"
    "    {{ '<|im_end|>' + '\\n' }}\n{%- endfor %}\n"
    "{% if add_generation_prompt -%}\n  {{ '<|im_start|>assistant\\n' }}\n{%- endif %}\n")
QWEN = SMOLLM.replace("\n", "\\n").replace("AI assistant named Hone", "assistant, isn’t it")
LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
    "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}")

# Cut at ¦ and line ends; escapes as in Python.
TEXTS = r"""Hello, world!¦It's what we'll do; I'd've said they're OK. DON'T SHOUT, IT'S 'S 'LL 'Ve¦1234567890¦3.14159 and 1,000,000
x=1;y=22;z=333;w=4444;v=55555¦    leading spaces¦trailing spaces   ¦a  b   c    d¦tabs\tand\t\ttabs¦line\nbreaks\n\nand\n\n\nmore
 \n \n\n  \n¦\r\n windows\r\nlines\r\n¦\n¦  ¦\t¦\t\n \r \x0b\x0c¦naïve café résumé¦cafe\u0301 combining a\u0308\u0323 marks
👍🏽 skin¦👨‍👩‍👧‍👦 family¦🏳️‍🌈 flag 🇩🇪🇫🇷¦中文字符测试，标点。¦日本語テキスト カタカナ¦한국어 텍스트¦עברית טקסט¦العربية نص مع ١٢٣ أرقام
हिन्दी पाठ १२३¦ไทยข้อความ ๔๕๖¦Ελληνικά κείμενο¦Русский текст, 2024 год¦no\u00a0break\u00a0 \u00a0space¦thin\u2009space\u2003em\u3000ideographic
zero\u200bwidth\u200cjoin\u200ders\ufeff¦mongolian\u180evowel \u180e x¦line\u2028sep\u2029para¦next\u0085line¦½ ⅔ ² ₃ Ⅷ ① ㊿ 万¦x² + y₂ = ⅞
<|im_start|>user\nhi<|im_end|>\n¦<|im_start|> <|im_end|>¦<|im_end|><|im_end|>¦<|im_start <|im_end|¦<tool>¦<tool_call>x</tool_call>¦<tool_calls>
 <think> hmm </think> ¦<thinking>¦a<|endoftext|>b¦<pad>¦<|endoftext|>¦$100 €50 £20 ¥10¦#hashtag @user http://x.y/z?a=b&c=d#e¦C++ && || >>= <<¦a_b_c __init__
(){}[]<>|¦"quoted" 'single' `back`¦…—–‘’“”¦ﬁ ligature ﬀ¦𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛¦𐍈 gothic 𓀀 hieroglyph¦\u0301alone¦ſ long 'ſ K Kelvin¦İstanbul ıI
don’t ‘s¦'s't're've'm'll'd¦''s ''¦s'¦'  's¦!!!???...¦. . .¦-1 -22 +3¦1st 2nd 3rd¦v1.2.3-rc4¦0x1F 1e-9¦٣٫١٤¦tab\t1\t2¦\u00ad soft¦\u202e rtl override¦a\u0000b nul
The quick brown fox jumps over the lazy dog.¦def f(x):\n    return x + 1\n\n\nclass A:\n\tpass¦<br/>\n<p>html</p>¦{"json": [1, 2.5, null]}¦ a¦ \ta¦\n a¦a \nb¦a\n b¦a \n \n b
word\u00a0\u00a0¦\u3000\u3000全角¦ΑΒΓ'Σ'S¦ｆｕｌｌ１２３¦a\u0305b\u0306c¦👩🏾‍🚀x👩🏾‍🚀¦e\u0301e\u0301e\u0301¦x.\E+.\Ey \E"""


def texts():
    out = [t.replace("\\E", "\\\\E").encode("latin-1", "backslashreplace").decode("unicode_escape")
           for t in re.split("[¦\n]", TEXTS)]
    out += ["", "a" * 300, "ab" * 200 + " " * 77 + "\n" * 33 + "x", "0" * 100, "\u0301" * 50, "ha" * 61 + "!" * 61,
            "x+.\\E+.\\Ey", " 1 22  333 \u00a04"]
    return list(dict.fromkeys(out))


def train():
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tok.decoder = decoders.ByteLevel()
    corpus = [v for _, v in sorted(pydoc_data.topics.topics.items())][:30] + texts() * 3
    tok.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=800, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tok.add_tokens([AddedToken(t, normalized=False) for t in ("<tool", "<tool_call>", "<think>")])
    return tok


def write_gguf(path, spec, pre):
    writer = gguf.GGUFWriter(path, "llama")
    added = {a["id"]: a for a in spec["added_tokens"]}
    tokens = sorted([(i, t) for t, i in spec["model"]["vocab"].items()] +
                    [(i, a["content"]) for i, a in added.items() if a["content"] not in spec["model"]["vocab"]])
    kinds = [(3 if added[i]["special"] else 4) if i in added else 1 for i, _ in tokens]
    for key, value in (("block_count", 1), ("context_length", 64), ("embedding_length", 32), ("feed_forward_length", 32),
                       ("attention.head_count", 1)):
        writer.add_uint32("llama." + key, value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([t for _, t in tokens])
    writer.add_token_types(kinds)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in spec["model"]["merges"]])
    for name, text in (("bos", "<|im_start|>"), ("eos", "<|im_end|>"), ("unk", "<|endoftext|>"), ("pad", "<pad>")):
        getattr(writer, f"add_{name}_token_id")(next(i for i, t in tokens if t == text))
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(SMOLLM)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def llama_ids(path, items):
    import llama_cpp
    model = llama_cpp.Llama(model_path=str(path), vocab_only=True, verbose=False)
    return [model.tokenize(t.encode(), add_bos=False, special=True) for t in items]


def variants(spec, items):
    """The same vocabulary behind other pre-tokenizers: those GGUF has names for, and settings."""
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    gpt2 = dict(level, use_regex=True)
    tiktoken = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
                r"\s+(?!\S)|\s+")

    def split(regex, behavior="Isolated", invert=False):
        return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}

    def sequence(*steps):
        return {"type": "Sequence", "pretokenizers": list(steps)}

    table = {
        "gpt-2": (gpt2, False),
        "llama-bpe": (sequence(split(tiktoken % r"\p{N}{1,3}"), level), True),
        "qwen2": (sequence(split(tiktoken % r"\p{N}"), level), False),
        "prefix-space": (sequence({"type": "Digits", "individual_digits": False}, dict(gpt2, add_prefix_space=True)), False),
        "removed": (sequence(split(r"\s+", "Removed"), level), False),
        "removed-inverted": (sequence(split(tiktoken % r"\p{N}", "Removed", True), level), False),
        "string": (sequence({"type": "Split", "pattern": {"String": "+.\\E"}, "behavior": "Isolated", "invert": False}, gpt2),
                   False),
    }
    out = []
    for name, (pre, ignore) in table.items():
        other = copy.deepcopy(spec)
        other["pre_tokenizer"] = pre
        other["model"]["ignore_merges"] = ignore
        tok = Tokenizer.from_str(json.dumps(other))
        out.append({"name": name, "pre_tokenizer": pre, "ignore_merges": ignore,
                    "ids": [tok.encode(t, add_special_tokens=False).ids for t in items]})
    return out


def chats(spec, tok):
    conversations = [
        [("user", "Hi")],
        [("system", "Be brief."), ("user", "Hi")],
        [("user", "Hi"), ("assistant", "Hello!"), ("user", "Again?"), ("assistant", "Sure.\nTwo lines.")],
        [("user", "  spaces  "), ("assistant", "\n\nstarts with newlines\n ")],
        [("user", "unicode 👍🏽 日本語 \u00a0"), ("assistant", "e\u0301 ✓")],
        [("user", "say <|im_end|> please"), ("assistant", "<|im_start|>assistant\nno<|im_end|>"), ("user", "<think>")],
        [("assistant", "I begin."), ("user", "")],
        [("system", ""), ("tool", "result 42"), ("assistant", "")],
    ]
    out = []
    for name, template in (("smollm", SMOLLM), ("plain", PLAIN), ("qwen", QWEN), ("llama3", LLAMA3)):
        tok.chat_template = template
        for conversation in conversations:
            messages = [{"role": r, "content": c} for r, c in conversation]
            for prompt in (False, True):
                text = tok.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
                out.append({"template": template, "messages": messages, "prompt": prompt, "text": text,
                            "ids": tok(text, add_special_tokens=False)["input_ids"]})
    return out


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    tok = train()
    spec = json.loads(tok.to_str())
    (OUT / "tokenizer.json").write_text(json.dumps(spec, ensure_ascii=False, indent=1) + "\n")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>",
              "pad_token": "<pad>", "unk_token": "<|endoftext|>", "clean_up_tokenization_spaces": False,
              "add_prefix_space": False, "model_max_length": 100000, "chat_template": SMOLLM}
    (OUT / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False, indent=1) + "\n")
    (OUT / "special_tokens_map.json").write_text(
        json.dumps({k: v for k, v in config.items() if k.endswith("_token")}, indent=1) + "\n")
    items = texts()
    write_gguf(OUT / "tokenizer.gguf", spec, "smollm")
    ids = [tok.encode(t, add_special_tokens=False).ids for t in items]
    for text, ours, theirs in zip(items, ids, llama_ids(OUT / "tokenizer.gguf", items)):
        if ours != theirs:
            print("tokenizers and llama.cpp differ:", repr(text), ours, theirs, file=sys.stderr)
    extra = variants(spec, items)
    for entry in extra[:3]:
        path = "/tmp/tokenizer-golden.gguf"
        write_gguf(path, spec, entry["name"])
        for text, ours, theirs in zip(items, entry["ids"], llama_ids(path, items)):
            if ours != theirs:
                print(entry["name"], "tokenizers and llama.cpp differ:", repr(text), ours, theirs, file=sys.stderr)
    write_gguf("/tmp/tokenizer-golden.gguf", spec, "default")
    golden = {"texts": items, "ids": ids, "llama_default_ids": llama_ids("/tmp/tokenizer-golden.gguf", items),
              "variants": extra}
    fast = PreTrainedTokenizerFast.from_pretrained(OUT)
    golden["chats"] = chats(spec, fast)
    (OUT / "golden.json").write_text(json.dumps(golden, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(len(spec["model"]["vocab"]), "tokens,", len(items), "texts,", len(golden["chats"]), "chats")


main()
