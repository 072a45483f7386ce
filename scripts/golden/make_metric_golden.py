"""What scikit-learn, sacrebleu, rouge-score and jiwer make of some answers: tests/data/metrics.golden.json.

    python scripts/golden/make_metric_golden.py tests/data/metrics.golden.json

Each case has predictions and targets, as lists, weights of rows if it has `weights`, and `results`: [metric, options as hone_metric_opts names them, value]. test_metrics.c
feeds them in batches of several sizes.
"""

import json
import sys

import jiwer
import numpy as np
import sacrebleu
import sklearn.metrics as sk
from rouge_score import rouge_scorer

random = np.random.default_rng(3)
AVERAGES = ["macro", "micro", "weighted"]


def by_average(metric, score, averages=AVERAGES, **options):
    return [[metric, {"average": average, **options}, float(score(average))] for average in averages]


def classification(target, answer, averages=AVERAGES):
    rows = [["accuracy", {}, sk.accuracy_score(target, answer)]]
    given = {"zero_division": 0}
    rows += by_average("precision", lambda a: sk.precision_score(target, answer, average=a, **given), averages)
    rows += by_average("recall", lambda a: sk.recall_score(target, answer, average=a, **given), averages)
    rows += by_average("f1", lambda a: sk.f1_score(target, answer, average=a, **given), averages)
    rows += by_average("f_beta", lambda a: sk.fbeta_score(target, answer, beta=0.5, average=a, **given), averages, beta=0.5)
    rows += by_average("mean_iou", lambda a: sk.jaccard_score(target, answer, average=a, **given), averages)
    return {"target": target.tolist(), "prediction": answer.tolist(), "results": rows}


def many_classes():
    """Class 2 is never an answer, class 4 never a target; class 3 is not met at all."""
    target = random.choice([0, 1, 2, 5], 60, p=[0.4, 0.3, 0.2, 0.1])
    answer = np.where(random.random(60) < 0.6, target, random.choice([0, 1, 4], 60))
    return classification(target, np.where(answer == 2, 0, answer))


def two_classes():
    target = (random.random(50) < 0.3).astype(int)
    return classification(target, np.where(random.random(50) < 0.7, target, 1 - target), AVERAGES + ["binary"])


def scores_of_classes():
    """Scores with one decimal: with ties."""
    target = np.concatenate([np.arange(4), random.integers(0, 4, 56)])
    raw = np.round(random.random((60, 4)) + 0.5 * np.eye(4)[target], 1) + 0.1
    p = raw / raw.sum(1, keepdims=True)
    rows = [["top_k_accuracy", {"k": k}, sk.top_k_accuracy_score(target, p, k=k)] for k in (1, 2, 3)]
    rows += [["log_loss", {}, sk.log_loss(target, p)], ["perplexity", {}, float(np.exp(sk.log_loss(target, p)))]]
    rows += by_average("roc_auc", lambda a: sk.roc_auc_score(target, p, multi_class="ovr", average=a), ["macro", "weighted"])
    rows += by_average("average_precision", lambda a: sk.average_precision_score(target, p, average=a), ["macro", "weighted", "micro"])
    logits = np.log(p)
    return {"target": target.tolist(), "prediction": p.tolist(), "results": rows}, {
        "target": target.tolist(), "prediction": logits.tolist(), "results": [["log_loss", {"from_logits": True}, sk.log_loss(target, p)]]}


def single_scores():
    target = (random.random(50) < 0.4).astype(int)
    p = np.clip(np.round(0.3 * target + 0.7 * random.random(50), 1), 0, 1)  # ties, 0 and 1
    rows = [["roc_auc", {}, sk.roc_auc_score(target, p)], ["average_precision", {}, sk.average_precision_score(target, p)],
            ["log_loss", {}, sk.log_loss(target, p)], ["accuracy", {"threshold": 0.45}, sk.accuracy_score(target, p > 0.45)],
            ["precision", {}, sk.precision_score(target, p > 0.5)], ["f1", {}, sk.f1_score(target, p > 0.5)]]
    x, y, _ = sk.roc_curve(target, p, drop_intermediate=False)
    precision, recall, _ = sk.precision_recall_curve(target, p)
    return {"target": target.tolist(), "prediction": p.tolist(), "results": rows, "roc": [x.tolist(), y.tolist()],
            "precision_recall": [recall[-2::-1].tolist(), precision[-2::-1].tolist()]}


def labels():
    """Three decisions a row."""
    target = (random.random((40, 3)) < [0.5, 0.3, 0.2]).astype(int)
    p = np.round(0.4 * target + 0.6 * random.random((40, 3)), 2)
    given = {"elementwise": True}
    rows = [["accuracy", given, sk.accuracy_score(target.ravel(), p.ravel() > 0.5)],
            ["f1", given, sk.f1_score(target.ravel(), p.ravel() > 0.5)]]
    rows += by_average("roc_auc", lambda a: sk.roc_auc_score(target, p, average=a), **given)
    rows += by_average("average_precision", lambda a: sk.average_precision_score(target, p, average=a), **given)
    return {"target": target.astype(float).tolist(), "prediction": p.tolist(), "results": rows}


def regression(*shape):
    target = 100 + random.normal(size=shape)
    answer = target + 0.3 * random.normal(size=shape)
    rows = [["mae", {}, sk.mean_absolute_error(target, answer)], ["mse", {}, sk.mean_squared_error(target, answer)],
            ["rmse", {}, sk.root_mean_squared_error(target, answer)], ["r2", {}, sk.r2_score(target, answer)]]
    return {"target": target.tolist(), "prediction": answer.tolist(), "results": rows}


def weighted():
    """What rows count: 0 among others, and no whole numbers. The seed is of its own, so that the cases above stay as they are."""
    weights = np.random.default_rng(5).integers(0, 9, 60) / 4
    target, p = np.array(of_classes[0]["target"]), np.array(of_classes[0]["prediction"])
    w = weights.tolist()
    answer, given = p.argmax(1), {"zero_division": 0, "sample_weight": weights}
    rows = [["accuracy", {}, sk.accuracy_score(target, answer, sample_weight=weights)]]
    rows += by_average("precision", lambda a: sk.precision_score(target, answer, average=a, **given))
    rows += by_average("recall", lambda a: sk.recall_score(target, answer, average=a, **given))
    rows += by_average("f_beta", lambda a: sk.fbeta_score(target, answer, beta=2, average=a, **given), beta=2)
    rows += by_average("mean_iou", lambda a: sk.jaccard_score(target, answer, average=a, **given))
    rows += [["top_k_accuracy", {"k": 2}, sk.top_k_accuracy_score(target, p, k=2, sample_weight=weights)]]
    loss = sk.log_loss(target, p, sample_weight=weights)
    rows += [["log_loss", {}, loss], ["perplexity", {}, float(np.exp(loss))]]
    rows += by_average("average_precision", lambda a: sk.average_precision_score(target, p, average=a, sample_weight=weights))
    rows += by_average("roc_auc", lambda a: sk.roc_auc_score(target, p, multi_class="ovr", average=a, sample_weight=weights),
                       ["macro", "weighted"])
    binary, q = (target == 1).astype(int), p[:, 1]
    one = [["roc_auc", {}, sk.roc_auc_score(binary, q, sample_weight=weights)],
           ["average_precision", {}, sk.average_precision_score(binary, q, sample_weight=weights)],
           ["log_loss", {}, sk.log_loss(binary, q, sample_weight=weights)],
           ["f1", {}, sk.f1_score(binary, q > 0.5, sample_weight=weights)]]
    y = 100 + np.random.default_rng(6).normal(size=(60, 2))
    said, given = y + 0.3 * np.random.default_rng(7).normal(size=(60, 2)), {"sample_weight": weights}
    errors = [["mae", {}, sk.mean_absolute_error(y, said, **given)], ["mse", {}, sk.mean_squared_error(y, said, **given)],
              ["rmse", {}, sk.root_mean_squared_error(y, said, **given)], ["r2", {}, sk.r2_score(y, said, **given)]]
    return [{"target": target.tolist(), "prediction": p.tolist(), "weights": w, "results": rows},
            {"target": binary.tolist(), "prediction": q.tolist(), "weights": w, "results": one},
            {"target": y.tolist(), "prediction": said.tolist(), "weights": w, "results": errors}]


# Predictions and their references; the first of these for wer and cer.
TEXTS = [
    ["The cat sat on the mat.", ["The cat is sitting on the mat.", "A cat sat on a mat, quietly."]],
    ["It costs 1,000.50 dollars - or 5-10 less; isn't it \"cheap\"?", ["It costs 1,000.50 dollars, 5-10 less: cheap!"]],
    ["", ["Nothing was said."]],
    ["Größe\u00a0zählt nicht\u3000immer", ["Größe zählt fast nicht immer ."]],
    ["AT&amp;T &quot;said&quot; <skipped>yes-\nterday\nand today", ["AT&T said yesterday and today"]],
    ["  two  blanks\tand a \t tab  ", ["two blanks\tand a tab"]],
    ["the the the the the the the", ["the cat is on the mat", "there is a cat on the mat", "the"]],
    ["日本語 の テスト です", ["日本語 の 試験 です"]],
    ["300\u212aelvin \u0130stanbul NAÏVE", ["300kelvin i stanbul na ve"]],
    ["Ends in 1999. Or .5 or 3.", ["Ends in 1999 . Or .5, or 3 ."]],
    ["a b c d e f g h", ["a b c d x e f g h", "h g f e d c b a"]],
]


def bleu(texts):
    most = max(len(r) for _, r in texts)
    references = [[r[i] if i < len(r) else None for _, r in texts] for i in range(most)]
    return sacrebleu.corpus_bleu([p for p, _ in texts], references, force=True).score


def texts(chosen):
    scorer = rouge_scorer.RougeScorer(["rougeL"])
    predictions, first = [p for p, _ in chosen], [r[0] for _, r in chosen]
    results = {"bleu": bleu(chosen), "wer": jiwer.wer(first, predictions), "cer": jiwer.cer(first, predictions),
               "rouge_l": float(np.mean([scorer.score_multi(r, p)["rougeL"].fmeasure for p, r in chosen]))}
    return {"texts": chosen, "results": results}


def random_texts(n):
    """All that tokenizers trip over, in any order."""
    pieces = list("ab1.,-!'&<>()/ \t\n") + ["the ", " cat", "3.5", "1-2", "&quot;", "&amp;lt;", "<skipped>", "\u00a0", "\u3000", "é", "日", "-\n", "  "]

    def text():
        return "".join(random.choice(pieces, random.integers(1, 25)))

    return [[text(), [text() for _ in range(random.integers(1, 4))]] for _ in range(n)]


def report(target, answer, names=None, digits=2, classes=None):
    given = {} if names is None else {"labels": range(len(names)), "target_names": names}
    text = sk.classification_report(target, answer, digits=digits, zero_division=0, **given)
    return {"target": target, "prediction": answer, "names": names, "digits": digits, "classes": classes or 1 + max(target + answer),
            "text": text, "counts": sk.confusion_matrix(target, answer, labels=range(classes or 1 + max(target + answer))).tolist()}


def at_least():
    """The most of one where the other is at least so much, from scikit-learn's curves; agreement beyond chance; means of Keras's formulas."""
    target, p = np.array(single["target"]), np.array(single["prediction"])
    precision, recall, _ = sk.precision_recall_curve(target, p)
    precision, recall = precision[:-1], recall[:-1]
    false, true, _ = sk.roc_curve(target, p, drop_intermediate=False)
    rows = []
    for least in (0.3, 0.5, 0.8, 1.0):
        given = {"at_least": least}
        rows += [["precision_at_recall", given, precision[recall >= least].max(initial=0)],
                 ["recall_at_precision", given, recall[precision >= least].max(initial=0)],
                 ["sensitivity_at_specificity", given, true[1 - false >= least].max(initial=0)],
                 ["specificity_at_sensitivity", given, (1 - false)[true >= least].max(initial=0)]]
    ranked = {"target": single["target"], "prediction": single["prediction"], "results": [[n, o, float(v)] for n, o, v in rows]}
    agreed = []
    for case in (many, two):
        y, a = case["target"], case["prediction"]
        agreed.append({"target": y, "prediction": a, "results": [["matthews_correlation", {}, sk.matthews_corrcoef(y, a)],
                                                                 ["cohen_kappa", {}, sk.cohen_kappa_score(y, a)],
                                                                 ["balanced_accuracy", {}, sk.recall_score(y, a, average="macro", labels=np.unique(y))]]})
    random = np.random.default_rng(8)
    t, p, w = random.random((20, 4)), 0.05 + random.random((20, 4)), random.integers(0, 4, 20) / 2
    t[0, 0] = 0
    sign, hot = np.where(t > 0.5, 1.0, -1.0), np.eye(4)[random.integers(0, 4, 20)]
    share, answer = t / t.sum(1, keepdims=True), p / p.sum(1, keepdims=True)
    cut = [np.clip(v, 1e-7, 1) for v in (share, answer)]
    cases = [(p, t, {"mape": 100 * np.abs(t - p) / np.maximum(np.abs(t), 1e-7),
                     "msle": (np.log(np.maximum(p, 1e-7) + 1) - np.log(np.maximum(t, 1e-7) + 1)) ** 2, "log_cosh": np.log(np.cosh(p - t)),
                     "poisson": p - t * np.log(p + 1e-7),
                     "cosine_similarity": (p * t).sum(1) / np.linalg.norm(p, axis=1) / np.linalg.norm(t, axis=1)}),
             (3 * p - 1, sign, {"hinge": np.maximum(0, 1 - (3 * p - 1) * sign), "squared_hinge": np.maximum(0, 1 - (3 * p - 1) * sign) ** 2}),
             (p, hot, {"categorical_hinge": np.maximum(0, 1 + ((1 - hot) * p).max(1) - (hot * p).sum(1))}),
             (answer, share, {"kl_divergence": (cut[0] * np.log(cut[0] / cut[1])).sum(1)})]
    means = []
    for answers, targets, values in cases:
        values = {name: v.mean(1) if v.ndim > 1 else v for name, v in values.items()}
        for weights in (None, w):
            means.append({"target": targets.tolist(), "prediction": answers.tolist(), **({} if weights is None else {"weights": weights.tolist()}),
                          "results": [[name, {}, float(np.average(v, weights=weights))] for name, v in values.items()]})
    means[0]["results"].append(["pearson_correlation", {}, float(np.mean([np.corrcoef(p[:, c], t[:, c])[0, 1] for c in range(4)]))])
    return [ranked, *agreed, *means]


many, of_classes = many_classes(), scores_of_classes()
two, single = two_classes(), single_scores()
golden = {
    "numbers": [many, two, *of_classes, single, labels(), regression(30), regression(30, 3), *weighted(), *at_least()],
    "texts": [texts(TEXTS), *(texts([t]) for t in TEXTS[:2] + TEXTS[9:]), texts([["short", ["a short one"]]]), texts([["", [""]]]),
              texts(random_texts(60)), *(texts(random_texts(3)) for _ in range(10))],
    "reports": [report(many["target"], many["prediction"]),
                report(many["target"], many["prediction"], ["zero", "one", "two", "three", "four", "five"]),
                report([0, 1, 1, 0, 1], [0, 1, 0, 0, 1], ["négatif", "a very long name of a class"], digits=4),
                report([0, 0, 2], [0, 2, 2], ["a", "b", "c"], digits=0), report([3], [3], digits=15)],
}
with open(sys.argv[1], "w") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")
