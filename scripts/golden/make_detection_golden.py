"""What pycocotools and VOC's rules make of boxes, and the generalized intersection over union: tests/data/detection.golden.json.

    python scripts/golden/make_detection_golden.py tests/data/detection.golden.json

Needs pycocotools. VOC's is written out here in NumPy, by section 4.2.2 of its development kit of 2012 (without the kit's + 1 of sides).
"""

import contextlib
import io
import json
import sys

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

random = np.random.default_rng(11)
CLASSES = 4


def picture(most):
    """Boxes that are there, and answers near some of them, some twice, and anywhere; scores with ties; class 3 is only ever an answer."""
    there = random.integers(0, most + 1)
    truth = np.round(random.random((there, 4)) * [60, 60, 30, 30] + [0, 0, 8, 8], 1)
    truth[:, 2:] += truth[:, :2]
    kinds = random.integers(0, 3, there)
    near = np.repeat(np.arange(there), random.integers(0, 3, there)) if there else np.zeros(0, int)
    boxes = truth[near] + np.round(random.normal(scale=2.5, size=(len(near), 4)), 1)
    boxes[: len(near) // 4] = truth[near][: len(near) // 4]  # exactly
    classes = np.where(random.random(len(near)) < 0.85, kinds[near], random.integers(0, CLASSES, len(near)))
    wild = random.integers(0, 3)
    corner = np.round(random.random((wild, 2)) * 60, 1)
    boxes = np.concatenate([boxes, np.concatenate([corner, corner + 10], 1)])
    classes = np.concatenate([classes, random.integers(0, CLASSES, wild)])
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
    return {"truth": truth.tolist(), "true_classes": kinds.tolist(), "boxes": boxes.tolist(), "classes": classes.tolist(),
            "scores": np.round(random.random(len(boxes)), 1).tolist()}


def sides(box):
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def coco(pictures, iou):
    gt = {"images": [{"id": i + 1} for i in range(len(pictures))], "categories": [{"id": c + 1} for c in range(CLASSES)], "annotations": []}
    dt = []
    for i, p in enumerate(pictures):
        for box, c in zip(p["truth"], p["true_classes"]):
            b = sides(box)
            gt["annotations"].append({"id": len(gt["annotations"]) + 1, "image_id": i + 1, "category_id": c + 1, "bbox": b,
                                      "area": b[2] * b[3], "iscrowd": 0})
        dt += [{"image_id": i + 1, "category_id": int(c) + 1, "bbox": sides(b), "score": s}
               for b, c, s in zip(p["boxes"], p["classes"], p["scores"])]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = gt
        truth.createIndex()
        e = COCOeval(truth, truth.loadRes(dt), "bbox")
        if iou:
            e.params.iouThrs = np.array([iou])
        e.evaluate()
        e.accumulate()
    by_class = e.eval["precision"][:, :, :, 0, -1].mean((0, 1))  # [thresholds, recalls, classes, areas, most]
    return [None if v < 0 else v for v in by_class]


def overlap(a, b):
    w, h = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = max(w, 0) * max(h, 0)
    union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both
    hull = np.prod(np.maximum(a[2:], b[2:]) - np.minimum(a[:2], b[:2]))
    iou = both / union if union > 0 else 0.0
    return iou, iou - ((hull - union) / hull if hull > 0 else 0)


def voc(pictures, iou):
    results = []
    for c in range(CLASSES):
        wanted = sum(p["true_classes"].count(c) for p in pictures)
        if not wanted:
            results.append(None)
            continue
        answers = [(-s, i, k) for i, p in enumerate(pictures) for k, s in enumerate(p["scores"]) if p["classes"][k] == c]
        hits, used = [], set()
        for _, i, k in sorted(answers):
            p = pictures[i]
            shared = [(overlap(np.array(p["boxes"][k]), np.array(t))[0], -j) for j, t in enumerate(p["truth"]) if p["true_classes"][j] == c]
            best, j = max(shared, default=(-1, 0))
            hits.append(best >= iou and (i, j) not in used)
            if hits[-1]:
                used.add((i, j))
        tp = np.cumsum(hits)
        recall = np.concatenate([[0], tp / wanted, [1]])
        precision = np.concatenate([[0], tp / (np.arange(len(hits)) + 1), [0]])
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        results.append(float(((recall[1:] - recall[:-1]) * precision[1:]).sum()))
    return results


# the last one is a crowd: more answers of a class than COCO looks at
crowd = {"truth": [[0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0]], "true_classes": [0, 0],
         "boxes": [[0.0, 0.0, 10.0, 10.0 + i / 50] for i in range(120)] + [[20.0, 0.0, 30.0, 10.0]], "classes": [0] * 121,
         "scores": [round(1 - i / 200, 4) for i in range(121)]}
sets = [[picture(6) for _ in range(30)], [picture(2) for _ in range(3)], [picture(4) for _ in range(5)] + [crowd]]
golden = {"sets": []}
for pictures in sets:
    cases = [["coco", iou, coco(pictures, iou)] for iou in (0, 0.5, 0.75)] + [["voc", iou, voc(pictures, iou)] for iou in (0.5, 0.7)]
    golden["sets"].append({"pictures": pictures, "results": cases})
a, b = np.round(random.random((6, 4)) * 9, 2), np.round(random.random((5, 4)) * 9, 2)
for boxes in (a, b):
    boxes[:, 2:] += boxes[:, :2]
a[0, 2:] = a[0, :2]
b[0] = a[0]  # without area, both
golden["giou"] = {"a": a.tolist(), "b": b.tolist(), "values": [[float(overlap(x, y)[1]) for y in b] for x in a]}
with open(sys.argv[1], "w") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")
