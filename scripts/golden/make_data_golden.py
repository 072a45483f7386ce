"""What scikit-learn, NumPy, PyTorch and librosa make of small data: tests/data/csv/people.csv, people_new.csv, tests/data/data/*.
Needs numpy, scikit-learn, torch, pillow, librosa (0.11), soundfile.

    python scripts/golden/make_data_golden.py
"""
import csv, gzip, math, pathlib, struct

import librosa, numpy, PIL.Image, soundfile, torch
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import LabelEncoder, MinMaxScaler, OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "data"
OUT = ROOT / "data"
golden = {}


def write_csv(name, rows):
    with (ROOT / "csv" / name).open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["age", "height", "city", "grade", "income", "bought"])
        out.writerows([["" if v is None else v for v in row] for row in rows])


def people(random, n, cities, missing):
    rows = []
    for i in range(n):
        age = int(random.integers(18, 90))
        row = [age, round(float(random.normal(170, 12)), 2), cities[int(random.integers(len(cities)))],
               int(random.integers(1, 4)), round(float(random.lognormal(8, 1.2)), 2), ["no", "yes"][int(random.integers(2))]]
        for k in range(4):
            if missing and random.random() < 0.12:
                row[k] = None
        rows.append(row)
    return rows


def column(rows, k):
    return numpy.array([math.nan if r[k] is None else float(r[k]) for r in rows]).reshape(-1, 1)


def text(rows, k):
    return numpy.array([r[k] for r in rows], dtype=object).reshape(-1, 1)


def tables():
    random = numpy.random.default_rng(7)
    train = people(random, 40, ["Ulm", "Bonn", "Köln"], True)
    new = people(random, 12, ["Ulm", "Bonn", "Köln", "Jena"], True)
    write_csv("people.csv", train)
    write_csv("people_new.csv", new)
    for name, make in {"standard": StandardScaler, "min_max": MinMaxScaler, "robust": RobustScaler,
                       "min_max_symmetric": lambda: MinMaxScaler((-1, 1)),
                       "robust_wide": lambda: RobustScaler(quantile_range=(10.0, 90.0))}.items():
        for k, what in ((0, "age"), (1, "height"), (4, "income")):
            scaler = make().fit(column(train, k))
            golden[f"{name}.{what}"] = scaler.transform(column(new, k))[:, 0]
    for strategy in ("mean", "median", "most_frequent"):
        for k, what in ((0, "age"), (1, "height"), (3, "grade")):
            imputer = SimpleImputer(strategy=strategy).fit(column(train, k))
            golden[f"impute_{strategy}.{what}"] = imputer.transform(column(new, k))[:, 0]
    for name, low, high in (("quantiles", 0.05, 0.9), ("iqr", None, None)):
        values = column(train, 4)
        if low is None:
            q1, q3 = numpy.nanquantile(values, [0.25, 0.75])
            edges = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
        else:
            edges = numpy.nanquantile(values, [low, high])
        golden[f"clip_{name}.income"] = numpy.clip(column(new, 4), *edges)[:, 0]
    # Labels: text and numbers. LabelEncoder has no answer to unknown ones; OrdinalEncoder, which numbers alike, has.
    known = lambda rows, k: [r[k] for r in rows if r[k] is not None]
    for k, what in ((2, "city"), (3, "grade"), (4, "income")):
        labels = LabelEncoder().fit(known(train, k))
        golden[f"label.{what}"] = labels.transform(known(train, k))
        if k != 2:
            golden[f"label.{what}.classes"] = labels.classes_
        assert (labels.inverse_transform(labels.transform(known(train, k))) == known(train, k)).all()
        codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-7, encoded_missing_value=-7, dtype=float)
        codes.fit(numpy.array(known(train, k), dtype=object).reshape(-1, 1))
        golden[f"label.{what}.unknown"] = codes.transform(
            numpy.array([math.nan if r[k] is None else r[k] for r in new], dtype=object).reshape(-1, 1))[:, 0]
    # The whole of it: impute, encode, scale.
    cities = SimpleImputer(missing_values=None, strategy="most_frequent").fit(text(train, 2))
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(cities.transform(text(train, 2)))
    numbers = lambda rows: numpy.concatenate([column(rows, 0), column(rows, 1)], 1)
    imputer = SimpleImputer(strategy="median").fit(numbers(train))
    scaler = StandardScaler().fit(imputer.transform(numbers(train)))
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    ordinal.fit(column([r for r in train if r[3] is not None], 3))
    robust = RobustScaler().fit(column(train, 4))
    golden["pipeline"] = numpy.concatenate(
        [scaler.transform(imputer.transform(numbers(new))), encoder.transform(cities.transform(text(new, 2))),
         ordinal.transform(column(new, 3)), robust.transform(column(new, 4))], 1)


def pictures():
    random = numpy.random.default_rng(3)
    smooth = numpy.kron(random.integers(0, 256, (3, 4, 3)), numpy.ones((4, 4, 1)))  # [12, 16, 3]
    picture = PIL.Image.fromarray(smooth.astype(numpy.uint8))
    for k, folder in enumerate(("cat", "dog")):
        (OUT / "images" / folder).mkdir(parents=True, exist_ok=True)
    picture.save(OUT / "images" / "cat" / "a.png")
    picture.save(OUT / "images" / "dog" / "b.jpg", quality=95, subsampling=0)
    PIL.Image.fromarray(random.integers(0, 256, (5, 7), dtype=numpy.uint8)).save(OUT / "images" / "dog" / "grey.png")
    chw = lambda path: numpy.asarray(PIL.Image.open(path).convert("RGB"), numpy.float32).transpose(2, 0, 1) / 255
    golden["image.png"] = chw(OUT / "images" / "cat" / "a.png")
    golden["image.jpg"] = chw(OUT / "images" / "dog" / "b.jpg")
    x = torch.tensor(golden["image.png"])[None]
    for size in ((5, 7), (12, 9), (20, 31)):
        y = torch.nn.functional.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)
        golden[f"resize.{size[0]}x{size[1]}"] = y[0].numpy()


def sound():
    random = numpy.random.default_rng(5)
    rate, n = 8000, 3000
    t = numpy.arange(n) / rate
    x = 0.4 * numpy.sin(2 * math.pi * 440 * t) + 0.2 * numpy.sin(2 * math.pi * 1234 * t * (1 + t)) + 0.02 * random.normal(size=n)
    x = x.astype(numpy.float32)
    golden["sound"] = x
    stereo = numpy.stack([x, -0.5 * x], 1)
    for name, kind in (("16", "PCM_16"), ("24", "PCM_24"), ("32", "PCM_32"), ("float", "FLOAT")):
        soundfile.write(OUT / f"sound_{name}.wav", stereo[:200], rate, subtype=kind)
        golden[f"wav.{name}"] = soundfile.read(OUT / f"sound_{name}.wav", dtype="float32")[0].T
    # librosa in double, as its own rounding would hide ours where it is nearly silent
    x = x.astype(numpy.float64)
    for name, options in (("a", dict(n_fft=512, hop_length=128, n_mels=40)),
                          ("b", dict(n_fft=400, hop_length=160, n_mels=32, fmin=50, fmax=3500)),
                          ("c", dict(n_fft=512, hop_length=200, win_length=300, n_mels=20))):
        power = librosa.feature.melspectrogram(y=x, sr=rate, **options)
        golden[f"mel.{name}"] = power
        golden[f"log_mel.{name}"] = librosa.power_to_db(power)
    golden["mfcc"] = librosa.feature.mfcc(y=x, sr=rate, n_mfcc=13, n_fft=512, hop_length=128, n_mels=40)
    for rate_of in (0.8, 1.25):
        golden[f"stretch.{rate_of}"] = librosa.effects.time_stretch(x, rate=rate_of)


def idx():
    values = {0x08: ("u1", [0, 1, 255, 7, 8, 9]), 0x09: ("i1", [-128, 1, 127, 0, -1, 5]), 0x0B: (">i2", [-300, 1, 2, 3, 4, 500]),
              0x0C: (">i4", [-70000, 1, 2, 3, 4, 5]), 0x0D: (">f4", [-1.5, 0, 1, 2, 3, 4]), 0x0E: (">f8", [-1.5, 0, 1, 2, 3, math.pi])}
    for code, (kind, numbers) in values.items():
        body = struct.pack(">BBBBII", 0, 0, code, 2, 2, 3) + numpy.array(numbers, kind).tobytes()
        if code == 0x08:
            (OUT / "numbers.idx.gz").write_bytes(gzip.compress(body, mtime=0))
        else:
            (OUT / f"numbers_{code:02x}.idx").write_bytes(body)
        golden[f"idx.{code:02x}"] = numpy.array(numbers, "f8").reshape(2, 3)


def series():
    """Sequences of two features, a quantity and a kind that are functions of them."""
    random = numpy.random.default_rng(5)
    x = random.normal(50, 20, (80, 6, 2)).astype("f4")
    y = 3 * x[:, 5, 0] - x[:, 4, 1] + 1000.0
    numpy.savez_compressed(OUT / "series.npz", x=x, y=y, kind=numpy.where(y > numpy.median(y), 7, -2).astype("i8"), pair=x[:, 0])


def main():
    OUT.mkdir(exist_ok=True)
    tables()
    pictures()
    sound()
    idx()
    series()
    numpy.savez_compressed(OUT / "golden.npz", **{k: numpy.ascontiguousarray(v, "f8") for k, v in golden.items()})
    numpy.savez(OUT / "plain.npz", a=numpy.arange(6, dtype="i4").reshape(2, 3), b=numpy.float32(2.5), c=numpy.zeros((0, 3), "u1"))
    print(f"{len(golden)} arrays")


main()
