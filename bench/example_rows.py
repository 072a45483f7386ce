"""The examples in full: how each is run, what it must reach, and how long it may take on two cores with AMX. Used by
bench/examples."""
import collections, re

# name: what is read; pattern: where in the output, the last place counts; bar: at least this, with most=True at most; None: it is
# only told
Figure = collections.namedtuple("Figure", "name pattern bar most", defaults=(None, False))
# name: the example, and behind a blank what tells several ways to run it apart; arguments: {data} is the folder of
# scripts/get-data; sets: what is needed of it; seconds: the most allowed
Example = collections.namedtuple("Example", "name figures seconds arguments sets", defaults=((), ()))

ACCURACY = r"Accuracy: ([\d.]+)"
FASHION = "/usr/share/datasets/fashion-mnist"
DIGITS = "{data}/mnist_5k.csv"
EXAMPLES = [
    Example("iris", [Figure("accuracy", ACCURACY, 0.8)], 2),
    Example("simple_cnn", [Figure("accuracy", ACCURACY, 0.905)], 120),
    Example("first_networks", [Figure("Sequential", r"Sequential: loss [\d.]+, accuracy ([\d.]+)", 0.95),
                               Figure("Module", r"Module: loss [\d.]+, accuracy ([\d.]+)", 0.95),
                               Figure("regression, loss", r"Regression: loss ([\d.]+)", 0.02, most=True)], 10),
    Example("gradient_tape", [Figure("loss", r"loss ([\d.]+)", 0.3, most=True)], 5),
    Example("fashion_cnn", [Figure("accuracy", ACCURACY, 0.92)], 180),
    Example("fashion_gan", [Figure("score", r"Score: ([\d.]+)", 4.6), Figure("of real pictures", r"of real pictures: ([\d.]+)"), Figure("discriminator, least loss", r"Discriminator: ([\d.]+)", 0.5),
                            Figure("discriminator, loss", r"Discriminator: ([\d.]+)", 1.5, most=True)],
            220, [FASHION, "10", "60000", "/tmp/fashion_gan.png"]),
    Example("autoencoder", [Figure("error", r"Error: ([\d.]+)", 0.0075, most=True)], 150, [FASHION, "10", "60000", "0", "/tmp/autoencoder.png"]),
    Example("autoencoder noisy", [Figure("error", r"Error: ([\d.]+)", 0.0105, most=True)],
            180, [FASHION, "10", "60000", "0.3", "/tmp/autoencoder_noisy.png"]),
    Example("review_sentiment", [Figure("accuracy", r"accuracy ([\d.]+)", 0.72)], 20,
            ["{data}/movieReviewSnippets_GroundTruth.txt"], ["reviews"]),
    Example("translate_letters", [Figure("letters", r"Letters: ([\d.]+)", 0.95), Figure("words", r"Words: ([\d.]+)", 0.9)], 60),
    Example("pronounce", [Figure("words, wrong", r"word error rate ([\d.]+)", 0.35, most=True),
                          Figure("phonemes, wrong", r"phoneme error rate ([\d.]+)", 0.1, most=True)], 600,
            ["{data}/cmudict.dict"], ["cmudict"]),
    Example("japanese_vowels", [Figure("accuracy", r"accuracy ([\d.]+)", 0.95)], 10, ["{data}"], ["vowels"]),
    Example("forecast", [Figure("mean error", r"LSTM: MAE ([\d.]+)", 26.7, most=True), Figure("as a year ago", r"As a year ago: MAE ([\d.]+)")], 5, ["{data}/Airline.csv"], ["airline"]),
    Example("recommend", [Figure("error", r"Factorization, epoch \d+: RMSE ([\d.]+)", 0.865, most=True),
                          Figure("biases alone", r"Biases: RMSE ([\d.]+)")], 10,
            ["{data}/movieReviewSnippets_anonDataRatings.txt"], ["ratings"]),
    Example("word_vectors", [Figure("-s among the nearest", r"nearest of \d+: ([\d.]+)", 0.05)], 120, ["{data}/austen.txt", "10"], ["austen"]),
    Example("digits", [Figure("accuracy", ACCURACY, 0.97)], 60, [DIGITS], ["digits"]),
    Example("wine", [Figure("accuracy", ACCURACY, 0.96)], 5, ["{data}/wine.csv"], ["wine"]),
    Example("scenes segment", [Figure("mean IoU", r"Mean IoU: ([\d.]+)", 0.8)], 240, ["segment", DIGITS], ["digits"]),
    Example("scenes detect", [Figure("mean IoU", r"Mean IoU: ([\d.]+)", 0.8), Figure("precision", r"Precision: ([\d.]+)", 0.9),
                              Figure("recall", r"Recall: ([\d.]+)", 0.9),
                              Figure("average precision", r"Average precision: ([\d.]+)", 0.9)],
            120, ["detect", DIGITS], ["digits"]),
]
BY_NAME = {example.name: example for example in EXAMPLES}


def program(example):
    return example.name.split()[0]


def judge(example, output, seconds):
    """What was reached, as JSON has it: figures not found are None, and missed."""
    figures = []
    for figure in example.figures:
        found = re.findall(figure.pattern, output)
        value = float(found[-1]) if found else None
        kept = value is not None and (figure.bar is None or (value <= figure.bar if figure.most else value >= figure.bar))
        figures.append({"name": figure.name, "value": value, "bar": figure.bar, "most": figure.most, "missed": not kept})
    return {"name": example.name, "arguments": list(example.arguments), "figures": figures, "seconds": round(seconds, 2),
            "seconds_bar": example.seconds, "slow": seconds > example.seconds}


def missed(row):
    """Names of what is not as it should be."""
    return [f"{row['name']} ({what})" for what in
            [figure["name"] for figure in row["figures"] if figure["missed"]] + ["seconds"] * row["slow"]]
