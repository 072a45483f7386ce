"""The tables of speeds and of examples in both READMEs, and the long one of speeds in docs/performance.md, from the JSON of
`bench/run --peers` and `bench/examples`. scripts/peers must be in the path of modules."""
import re, statistics

from documents import ROOT, fill, number, table
from rows import BY_NAME

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
    "loader": ("a loader of one thread: PNG files of 32 x 32 read, cropped, flipped, scaled", "单线程加载器：读取 32 x 32 的 PNG 文件，裁剪、翻转、归一化"),
    "loader_2": ("the same with two threads", "同上，两个线程"),
    "cnn_files": ("training the small convolutional network, bf16, fed by that loader", "由该加载器供数训练小型卷积网络，bf16"),
    "lstm_f32": ("training an LSTM, 2 x 512 units, f32, 32 x 128", "训练 LSTM，2 层 x 512 单元，f32，32 x 128"),
    "lstm_bf16": ("training an LSTM, 2 x 512 units, bf16, 32 x 128", "训练 LSTM，2 层 x 512 单元，bf16，32 x 128"),
    "resnet_f32": ("training ResNet-20 on 32 x 32 pictures, f32, 64 a step", "训练 ResNet-20，32 x 32 图像，f32，每步 64 张"),
    "resnet_bf16": ("training ResNet-20 on 32 x 32 pictures, bf16, 64 a step", "训练 ResNet-20，32 x 32 图像，bf16，每步 64 张"),
    "bert_f32": ("training a BERT classifier, 6 x 384, f32, 32 x 128", "训练 BERT 分类器，6 层 x 384，f32，32 x 128"),
    "bert_bf16": ("training a BERT classifier, 6 x 384, bf16, 32 x 128", "训练 BERT 分类器，6 层 x 384，bf16，32 x 128"),
    "full_f32@avx2": ("full fine-tuning, f32, 4 x 256, everyone limited to AVX2", "全参数微调，f32，4 x 256，双方都限于 AVX2"),
    "gpt2_f32@avx2": ("GPT-2 124M, training, f32, limited to AVX2", "训练 GPT-2 124M，f32，限于 AVX2"),
    "mlp@avx2": ("training 784-512-512-10, f32, limited to AVX2", "训练 784-512-512-10，f32，限于 AVX2"),
    "cnn_f32@avx2": ("training a small convolutional network, f32, limited to AVX2", "训练小型卷积网络，f32，限于 AVX2"),
    "lstm_f32@avx2": ("training an LSTM, f32, limited to AVX2", "训练 LSTM，f32，限于 AVX2"),
    "resnet_f32@avx2": ("training ResNet-20, f32, limited to AVX2", "训练 ResNet-20，f32，限于 AVX2"),
    "bert_f32@avx2": ("training a BERT classifier, f32, limited to AVX2", "训练 BERT 分类器，f32，限于 AVX2"),
    "iris": ("iris: start, 100 epochs, test", "iris：启动、100 轮训练、测试"),
    "nodes": ("a node of a graph of small ones", "小节点图中的一个节点"),
}
# Rows of the READMEs, each beside the peer that comes nearest; docs/performance.md has all of them, beside every peer.
SHORT = ("full_bf16", "full_f32", "lora_bf16", "prompt_bf16", "prompt", "generate", "generate_8", "load", "gpt2_bf16", "mlp", "cnn_bf16",
         "lstm_bf16", "resnet_bf16", "bert_bf16", "full_f32@avx2", "iris")
# Examples in the order of the table: what it is, what it reached ({name of a figure}), in English and Chinese. Several rows of
# bench/examples may belong to one program.
EXAMPLES = {
    "simple_cnn": ("the network of every course on Fashion-MNIST as 3 x 32 x 32", "accuracy {accuracy:.3f}",
                   "每门课程都有的卷积网络，Fashion-MNIST 作 3 x 32 x 32", "正确率 {accuracy:.3f}"),
    "fashion_cnn": ("clothes in pictures (Fashion-MNIST), a convolutional network", "accuracy {accuracy:.3f}",
                    "区分服装图片（Fashion-MNIST），卷积网络", "正确率 {accuracy:.3f}"),
    "digits": ("handwritten digits, from 4,000 of them", "accuracy {accuracy:.3f}", "手写数字，只用 4,000 个样本", "正确率 {accuracy:.3f}"),
    "review_sentiment": ("movie reviews, a GRU that begins from nothing", "accuracy {accuracy:.3f}",
                         "影评，从零训练的 GRU", "正确率 {accuracy:.3f}"),
    "pronounce": ("how English words are said (CMUdict), a transformer", "{words, wrong:.3f} of unseen words wrong",
                  "英语单词的读音（CMUdict），Transformer", "未见过的单词错误率 {words, wrong:.3f}"),
    "japanese_vowels": ("who of nine men speaks, a GRU", "accuracy {accuracy:.3f}", "九人之中谁在说话，GRU", "正确率 {accuracy:.3f}"),
    "scenes segment": ("digits in pictures: which pixels", "mean IoU {mean IoU:.3f}", "图片里的数字：像素分割", "平均 IoU {mean IoU:.3f}"),
    "scenes detect": ("digits in pictures: which boxes", "average precision {average precision:.3f}",
                      "图片里的数字：目标检测", "平均精度 {average precision:.3f}"),
    "forecast": ("airline passengers, an LSTM", "mean error {mean error:.1f} thousand; as a year ago: {as a year ago:.1f}",
                 "航空旅客数，LSTM", "平均误差 {mean error:.1f} 千人；沿用去年同期为 {as a year ago:.1f}"),
    "recommend": ("what a reader will think of a review, matrix factorization", "RMSE {error:.3f}; biases alone: {biases alone:.3f}",
                  "读者会给影评打几分，矩阵分解", "RMSE {error:.3f}；只用偏置为 {biases alone:.3f}"),
    "word_vectors": ("words of Jane Austen's novels, skip-gram", "{-s among the nearest:.3f} of plurals among the nearest",
                     "简·奥斯汀小说的词向量，skip-gram", "{-s among the nearest:.3f} 的复数形式在近邻之中"),
    "wine": ("wines, stratified cross-validation", "accuracy {accuracy:.3f}", "葡萄酒，分层交叉验证", "正确率 {accuracy:.3f}"),
    "autoencoder": ("clothes squeezed into 32 numbers", "mean squared error {error:.4f}", "把服装图片压缩成 32 个数", "均方误差 {error:.4f}"),
    "fashion_gan": ("new clothes, two networks against each other", "score {score:.1f}; of real ones: {of real pictures:.1f}",
                    "两个网络相互对抗，画出新的服装", "得分 {score:.1f}；真实图片为 {of real pictures:.1f}"),
}
EXAMPLE_HEADS = [["example", "what", "reached", "seconds"], ["示例", "内容", "结果", "秒"]]


WORDS = [
    {"file": "README.md", "head": ["work", "Hone", "of limit", "peer", "", "ratio", "memory, GB: Hone, peer"],
     "said": {},
     "where": "Both sides 2 threads, in turn ({pairs}; medians, and the least and greatest ratio); SmolLM2-135M where nothing else is "
              "named; the nearest peer's best configuration. Of limit: the share of what this CPU could do, if matrix products ran at their "
              "best measured rates and all other bytes at the memory's bandwidth (above 100 %: from the caches). Machine: {cpus} cores of an "
              "{cpu} ({instructions}), {memory_gb} GB, {system}. Builds: {builds}. `bench/run --peers` measures it again. "
              "[docs/performance.md](docs/performance.md) has every row and peer with its bar, and how speed and memory depend on sizes.",
     "without_amx": "llama.cpp is built without AMX, because its AMX code crashes on this machine; with every other instruction "
                    "set that the CPU has (`scripts/peers/environment`)."},
    {"file": "README.zh-CN.md", "head": ["任务", "Hone", "占极限", "对手", "", "比值", "内存（GB）：Hone，对手"],
     "said": {"images/s": "张/s", "texts/s": "篇/s", "llama.cpp without AMX": "llama.cpp（未启用 AMX）", "Hone, one sequence": "Hone，一个序列",
              "Hone, from memory": "Hone，数据在内存中", "Hone, training that network": "Hone，训练该网络",
              "PyTorch eager, fused AdamW": "PyTorch eager，fused AdamW", "PyTorch compiled, fused AdamW": "PyTorch compiled，fused AdamW",
              "PyTorch eager, fused Adam": "PyTorch eager，fused Adam", "PyTorch compiled, fused Adam": "PyTorch compiled，fused Adam"},
     "where": "双方各 2 线程，轮流运行（{pairs}；取中位数，并列出比值的最小与最大）；未注明的任务使用 SmolLM2-135M；对手取其最快的配置。占极限："
              "若矩阵乘法都以实测最快速度运行、其余字节都以内存带宽搬运，所达到的比例（超过 100 % 表示数据来自缓存）。机器：{cpu}，{cpus} 核（{instructions}），"
              "{memory_gb} GB，{system}。版本：{builds}。`bench/run --peers` 重新测量。全部任务、全部对手和各自的目标，以及速度和内存如何随规模变化，"
              "见 [docs/performance.md](docs/performance.md)（英文）。",
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
    shares = [pair["hone"]["share"] for pair in row["pairs"]]
    ours = [title, value(row, "hone", words["said"]), f"{100 * statistics.median(shares):.0f} %" if all(shares) else "-"]
    if row["peer"] is None:
        return ours + ["-", "", "-", peak(row, "hone")]
    ratio = f"{row['ratio']:.2f}" if row["ratio"] < 100 else f"{row['ratio']:.0f}"
    if len(row["pairs"]) > 1 and row["ratio"] < 100:
        ratio += f" ({row['least']:.2f}–{row['most']:.2f})"
    return ours + [words["said"].get(row["peer"], row["peer"]), value(row, "peer", words["said"]), ratio,
                   f"{peak(row, 'hone')}, {peak(row, 'peer')}"]


def example_cells(row, language):
    title, reached = EXAMPLES[row["name"]][2 * language:2 * language + 2]
    for figure in row["figures"]:
        reached = re.sub(r"\{" + re.escape(figure["name"]) + r":(\.\df)\}", lambda found: format(figure["value"], found[1]), reached)
    program = row["name"].split()[0]
    return [f"[{program}](examples/{program}.c)", title, reached, number(row["seconds"], 2)]


def write_examples(results, folder=ROOT):
    """results: what bench/examples has saved."""
    rows = {row["name"]: row for row in results["rows"]}
    lacking = [name for name in EXAMPLES if name not in rows]
    if lacking:
        raise SystemExit(f"bench/examples has no figures of {', '.join(lacking)}: run it with these names")
    for language, words in enumerate(WORDS):
        text = table(EXAMPLE_HEADS[language], [example_cells(rows[name], language) for name in EXAMPLES])
        fill(folder / words["file"], "bench/examples", text)


def nearest(rows):
    """Of each row in SHORT, what is beside the peer that comes nearest to Hone."""
    best = {}
    for row in rows:
        if row["name"] in SHORT and (row["name"] not in best or row["ratio"] < best[row["name"]]["ratio"]):
            best[row["name"]] = row
    return [best[name] for name in SHORT if name in best]


def bar(row):
    """The least ratio to that peer that is aimed at; in bold where it is missed."""
    peer = next((p for p in BY_NAME[row["name"]].peers if p.label == row["peer"]), None)
    if not peer or not peer.bar:
        return "-"
    return f"{peer.bar:g}" if row["ratio"] >= peer.bar else f"**{peer.bar:g}**"


def write(results, folder=ROOT):
    """results: what bench/run --peers has saved; folder: where both READMEs and docs/ are."""
    for language, words in enumerate(WORDS):
        rows = nearest(results["rows"])
        text = table(words["head"], [cells(row, language, words) for row in rows]) + "\n\n"
        least, most = (of(len(row["pairs"]) for row in rows) for of in (min, max))
        said = ((f"{least}" if least == most else f"{least} to {most}") + f" pair{'s' * (most > 1)} of processes a row",
                f"每行 {least} 对进程" if least == most else f"每行 {least} 到 {most} 对进程")[language]
        text += words["where"].format(**results["machine"], builds="; ".join(results["builds"]), pairs=said)
        if any("without AMX" in (row["peer"] or "") for row in rows):
            text += ("" if language else " ") + words["without_amx"]
        fill(folder / words["file"], "bench/run", text)
    head = [*WORDS[0]["head"][:6], "bar", WORDS[0]["head"][6]]
    rows = [cells(row, 0, WORDS[0]) for row in results["rows"]]
    fill(folder / "docs/performance.md", "bench/run",
         table(head, [[*row[:6], bar(result), row[6]] for row, result in zip(rows, results["rows"])]))
