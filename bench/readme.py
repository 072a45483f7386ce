"""The table of speeds in both READMEs, from the JSON of `bench/run --peers`."""
import statistics

from documents import ROOT, fill, number, table

# What a row measures, in English and Chinese; a row without its line is shown by its name.
TITLES = {
    "full_f32": ("full fine-tuning, f32, 4 x 256", "全参数微调，f32，4 x 256"),
    "full_bf16": ("full fine-tuning, bf16, 4 x 256", "全参数微调，bf16，4 x 256"),
    "full_bf16_8x512": ("full fine-tuning, bf16, 8 x 512", "全参数微调，bf16，8 x 512"),
    "full_bf16_8bit": ("full fine-tuning, bf16, 4 x 256, adamw8bit", "全参数微调，bf16，4 x 256，adamw8bit"),
    "lora_bf16": ("LoRA rank 16, bf16, 4 x 256", "LoRA 秩 16，bf16，4 x 256"),
    "lora_checkpointing": ("LoRA, bf16, 4 x 256, gradient checkpointing", "LoRA，bf16，4 x 256，梯度检查点"),
    "prompt_bf16": ("reading a prompt of 512, bf16 weights", "读入 512 个词元的提示，bf16 权重"),
    "prompt": ("reading a prompt of 512, the Q4_1 file", "读入 512 个词元的提示，Q4_1 文件"),
    "prompt_q8_0": ("reading a prompt of 512, a Q8_0 file", "读入 512 个词元的提示，Q8_0 文件"),
    "generate": ("generating, the Q4_1 file", "生成，Q4_1 文件"),
    "generate_bf16": ("generating, bf16 weights", "生成，bf16 权重"),
    "generate_8": ("generating 8 sequences at once, the Q4_1 file", "同时生成 8 个序列，Q4_1 文件"),
    "load": ("start to first token, a whole process", "从进程启动到第一个词元"),
    "gpt2_f32": ("GPT-2 124M, training, f32, 4 x 64", "训练 GPT-2 124M，f32，4 x 64"),
    "gpt2_bf16": ("GPT-2 124M, training, bf16, 4 x 64", "训练 GPT-2 124M，bf16，4 x 64"),
    "mlp": ("training 784-512-512-10, f32, 128 a step", "训练 784-512-512-10，f32，每步 128 张"),
    "cnn_f32": ("training a small convolutional network, f32", "训练小型卷积网络，f32"),
    "cnn_bf16": ("training a small convolutional network, bf16", "训练小型卷积网络，bf16"),
    "lstm_f32": ("training an LSTM, 2 x 512 units, f32, 32 x 128", "训练 LSTM，2 层 x 512 单元，f32，32 x 128"),
    "lstm_bf16": ("training an LSTM, 2 x 512 units, bf16, 32 x 128", "训练 LSTM，2 层 x 512 单元，bf16，32 x 128"),
    "resnet_f32": ("training ResNet-20 on 32 x 32 pictures, f32, 64 a step", "训练 ResNet-20，32 x 32 图像，f32，每步 64 张"),
    "resnet_bf16": ("training ResNet-20 on 32 x 32 pictures, bf16, 64 a step", "训练 ResNet-20，32 x 32 图像，bf16，每步 64 张"),
    "bert_f32": ("training a BERT classifier, 6 x 384, f32, 32 x 128", "训练 BERT 分类器，6 层 x 384，f32，32 x 128"),
    "bert_bf16": ("training a BERT classifier, 6 x 384, bf16, 32 x 128", "训练 BERT 分类器，6 层 x 384，bf16，32 x 128"),
    "full_f32@avx2": ("full fine-tuning, f32, 4 x 256, everyone limited to AVX2", "全参数微调，f32，4 x 256，双方都限于 AVX2"),
    "mlp@avx2": ("training 784-512-512-10, f32, limited to AVX2", "训练 784-512-512-10，f32，限于 AVX2"),
    "iris": ("iris: start, 100 epochs, test", "iris：启动、100 轮训练、测试"),
    "nodes": ("a node of a graph of small ones", "小节点图中的一个节点"),
}
WORDS = [
    {"file": "README.md", "head": ["work", "Hone", "peer", "", "ratio", "memory, GB: Hone, peer"],
     "said": {},
     "where": "Both sides 2 threads, in turn ({pairs}, medians within); SmolLM2-135M where nothing else is named. Machine: {cpus} cores of an "
              "{cpu} ({instructions}), {memory_gb} GB, {system}. Builds: {builds}. `bench/run --peers` measures it again, "
              "`bench/run --write-readme` writes it here; [docs/performance.md](docs/performance.md) shows how speed and "
              "memory depend on sizes.",
     "without_amx": "llama.cpp is built without AMX, because its AMX code crashes on this machine; with every other instruction "
                    "set that the CPU has (`scripts/peers/environment`)."},
    {"file": "README.zh-CN.md", "head": ["任务", "Hone", "对手", "", "比值", "内存（GB）：Hone，对手"],
     "said": {"images/s": "张/s", "texts/s": "篇/s", "llama.cpp without AMX": "llama.cpp（未启用 AMX）", "Hone, one sequence": "Hone，一个序列",
              "PyTorch eager, fused AdamW": "PyTorch eager，fused AdamW", "PyTorch compiled, fused AdamW": "PyTorch compiled，fused AdamW",
              "PyTorch eager, fused Adam": "PyTorch eager，fused Adam", "PyTorch compiled, fused Adam": "PyTorch compiled，fused Adam"},
     "where": "双方各 2 线程，轮流运行（{pairs}，各取中位数）；未注明的任务使用 SmolLM2-135M。机器：{cpu}，{cpus} 核（{instructions}），"
              "{memory_gb} GB，{system}。版本：{builds}。`bench/run --peers` 重新测量，`bench/run --write-readme` 写入此表；"
              "速度和内存如何随规模变化见 [docs/performance.md](docs/performance.md)（英文）。",
     "without_amx": "llama.cpp 编译时未启用 AMX，因为它的 AMX 代码在这台机器上会崩溃；CPU 具有的其他指令集全部启用"
                    "（`scripts/peers/environment`）。"},
]


def middle(row, side, field):
    return statistics.median(pair[side][field] for pair in row["pairs"])


def value(row, side, said):
    amount, unit = middle(row, side, "value"), row["unit"]
    if unit == "s" and amount < 1:
        amount, unit = 1e3 * amount, "ms"
    return f"{number(amount)} {said.get(unit, unit)}"


def peak(row, side):
    return f"{max(pair[side]['peak'] for pair in row['pairs']) / 1e9:.2f}"


def cells(row, language, words):
    title = TITLES.get(row["name"], (f"`{row['name']}`",) * 2)[language]
    ours = [title, value(row, "hone", words["said"])]
    if row["peer"] is None:
        return ours + ["-", "", "-", peak(row, "hone")]
    ratio = f"{row['ratio']:.2f}" if row["ratio"] < 100 else f"{row['ratio']:.0f}"
    return ours + [words["said"].get(row["peer"], row["peer"]), value(row, "peer", words["said"]), ratio,
                   f"{peak(row, 'hone')}, {peak(row, 'peer')}"]


def write(results, folder=ROOT):
    """results: what bench/run --peers has saved; folder: where both READMEs are."""
    for language, words in enumerate(WORDS):
        text = table(words["head"], [cells(row, language, words) for row in results["rows"]]) + "\n\n"
        least, most = (of(len(row["pairs"]) for row in results["rows"]) for of in (min, max))
        said = ((f"{least}" if least == most else f"{least} to {most}") + f" pair{'s' * (most > 1)} of processes a row",
                f"每行 {least} 对进程" if least == most else f"每行 {least} 到 {most} 对进程")[language]
        text += words["where"].format(**results["machine"], builds="; ".join(results["builds"]), pairs=said)
        if any("without AMX" in (row["peer"] or "") for row in results["rows"]):
            text += ("" if language else " ") + words["without_amx"]
        fill(folder / words["file"], "bench/run", text)
