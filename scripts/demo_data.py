#!/usr/bin/env python3
"""The rated movie reviews that come with vaderSentiment (C. J. Hutto, MIT licence) as train.jsonl and test.jsonl.

Each line of movieReviewSnippets_GroundTruth.txt is a number, a mean rating of -4 to 4 and a sentence, between tabs.
Reviews rated -1 or less are negative, 1 or more positive; the others are left out. The test set is balanced and drawn
by the seed; no text is in two of the files. Needs nothing but Python itself.
"""
import argparse
import json
import os
import random

LABELS = ("negative", "positive")


def read_reviews(path):
    """[(text, label)], each text once, in the file's order."""
    with open(path, encoding="utf-8") as file:
        lines = file.read().replace("\r", "").split("\n")
    reviews, seen = [], set()
    for line in filter(None, lines):
        _, rating, text = line.split("\t")
        text, rating = " ".join(text.split()), float(rating)
        if abs(rating) >= 1 and text.lower() not in seen:
            seen.add(text.lower())
            reviews.append((text, LABELS[rating > 0]))
    return reviews


def take(reviews, count, seed):
    """`count` reviews, as many of each label, and the others in their order."""
    rng = random.Random(seed)
    chosen = []
    for label in LABELS:
        chosen += rng.sample([r for r in reviews if r[1] == label], count // len(LABELS))
    rng.shuffle(chosen)
    out = set(chosen)
    return chosen, [r for r in reviews if r not in out]


def write(folder, name, reviews, prompt):
    path = os.path.join(folder, name)
    with open(path + ".part", "w", encoding="utf-8") as file:
        for text, label in reviews:
            record = {"prompt": prompt.replace("{review}", text), "completion": label}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    os.replace(path + ".part", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reviews", help="movieReviewSnippets_GroundTruth.txt, see scripts/get-data")
    parser.add_argument("folder", help="where train.jsonl, test.jsonl and perhaps valid.jsonl go")
    parser.add_argument("--prompt", required=True, help="what is asked; {review} stands for the review")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--test", type=int, default=600, help="reviews held out for the test, half of each label")
    parser.add_argument("--valid", type=int, default=0, help="of the others, reviews held out for choosing settings")
    args = parser.parse_args()
    if "{review}" not in args.prompt:
        raise SystemExit("demo_data.py: --prompt needs {review}")
    os.makedirs(args.folder, exist_ok=True)
    test, train = take(read_reviews(args.reviews), args.test, args.seed)
    write(args.folder, "test.jsonl", test, args.prompt)
    valid_path = os.path.join(args.folder, "valid.jsonl")
    if args.valid:
        valid, train = take(train, args.valid, args.seed + 1)
        write(args.folder, "valid.jsonl", valid, args.prompt)
    elif os.path.exists(valid_path):
        os.remove(valid_path)
    write(args.folder, "train.jsonl", train, args.prompt)
    print(f"{len(train)} reviews to learn from, {len(test)} held out for the test")


main()
