# SPDX-License-Identifier: Apache-2.0
"""Boxes: overlaps against loops of plain arithmetic, the loss against the same, suppression against its definition, AP
against pycocotools."""

from __future__ import annotations

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import boxes, losses, metrics
from chainrule.boxes import Detections
from chainrule.errors import ArgumentError, ShapeError

KINDS = {"plain": boxes.iou, "generalized": boxes.generalized_iou, "distance": boxes.distance_iou,
         "complete": boxes.complete_iou}


def some(n: int, seed: int = 0, extent: float = 20.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, extent, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(0.5, extent / 2, (n, 2))], axis=1)


def by_hand(a: np.ndarray, b: np.ndarray, kind: str) -> float:
    """The papers' formulas, one pair at a time."""
    sides = [max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    both = sides[0] * sides[1]
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    overlap = both / union
    width, height = (max(a[i + 2], b[i + 2]) - min(a[i], b[i]) for i in (0, 1))
    if kind == "plain":
        return overlap
    if kind == "generalized":
        return overlap - (width * height - union) / (width * height)
    apart = sum(((a[i] + a[i + 2] - b[i] - b[i + 2]) / 2) ** 2 for i in (0, 1))
    near = overlap - apart / (width**2 + height**2)
    v = 4 / math.pi**2 * (math.atan((a[2] - a[0]) / (a[3] - a[1])) - math.atan((b[2] - b[0]) / (b[3] - b[1]))) ** 2
    return near if kind == "distance" else near - v * v / (1 - overlap + v)


@pytest.mark.parametrize("kind", KINDS)
def test_overlaps_are_the_formulas(kind):
    a, b = some(12), some(9, 1)
    expected = [[by_hand(x, y, kind) for y in b] for x in a]
    np.testing.assert_allclose(KINDS[kind](a, b), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_one_minus_the_overlap(kind):
    a, b = some(16), some(16, 1)
    expected = 1 - np.diagonal(KINDS[kind](a, b))
    np.testing.assert_allclose(losses.box_iou(a, b, kind=kind, reduction="none").numpy(), expected, rtol=1e-5,
                               atol=1e-6)
    compiled = cr.compile(lambda x, y: losses.box_iou(x, y, kind=kind, reduction="none"))
    np.testing.assert_allclose(compiled(a.astype("float32"), b.astype("float32")).numpy(), expected, rtol=1e-4,
                               atol=1e-5)


@pytest.mark.parametrize("kind", ["generalized", "distance", "complete"])
def test_the_loss_brings_a_box_to_its_own_from_afar(kind):
    x, target = np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[5.0, 4.0, 9.0, 10.0]])
    slope = cr.value_and_grad(lambda x: losses.box_iou(x, target, kind=kind))
    first = float(losses.box_iou(x, target, kind=kind))
    for _ in range(200):
        g = slope(cr.asarray(x))[1].numpy()
        x = x - 0.1 * g / np.linalg.norm(g)
    assert float(losses.box_iou(x, target, kind=kind)) < first / 3


def test_boxes_without_area_overlap_nothing():
    empty = [[3.0, 3.0, 3.0, 3.0]]
    assert boxes.iou(empty, empty).tolist() == [[0.0]]
    for function in KINDS.values():
        assert np.isfinite(function(empty, [*empty, [0, 0, 4, 4]])).all()
        assert function([], some(3)).shape == (0, 3)


def test_formats_there_and_back():
    rows = some(5)
    for name in boxes.FORMATS:
        np.testing.assert_allclose(boxes.convert(boxes.convert(rows, "xyxy", name), name), rows)
    with pytest.raises(ArgumentError, match="xywh"):
        boxes.convert(rows, "whxy")
    with pytest.raises(ShapeError, match=r"\(boxes, 4\)"):
        boxes.area(np.zeros((3, 5)))


def suppressed(rows: np.ndarray, scores: np.ndarray, threshold: float, classes: np.ndarray) -> list[int]:
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if all(classes[i] != classes[j] or by_hand(rows[i], rows[j], "plain") <= threshold for j in kept):
            kept.append(int(i))
    return kept


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_suppression_is_its_definition(threshold):
    rng = np.random.default_rng(2)
    rows, scores, classes = some(60), rng.integers(0, 20, 60) / 20, rng.integers(0, 3, 60)
    assert boxes.nms(rows, scores, threshold, classes).tolist() == suppressed(rows, scores, threshold, classes)
    assert boxes.nms(rows, scores, threshold).tolist() == suppressed(rows, scores, threshold, np.zeros(60))
    assert boxes.nms([], [], threshold).tolist() == []


def test_wrong_arguments_are_told():
    with pytest.raises(ShapeError, match="one score"):
        boxes.nms(some(3), [0.1])
    with pytest.raises(ArgumentError, match="share"):
        boxes.nms(some(3), [0.1, 0.2, 0.3], 1.5)
    with pytest.raises(ShapeError, match="one label"):
        Detections(some(3), [1])
    with pytest.raises(ArgumentError, match="generalized"):
        losses.box_iou(some(3), some(3), kind="general")
    with pytest.raises(ShapeError, match="four numbers"):
        losses.box_iou(np.ones((2, 5)), np.ones((2, 5)))
    with pytest.raises(ArgumentError, match="scores"):
        metrics.mean_average_precision([Detections(some(2), [0, 0])], [Detections(some(2), [0, 0])])
    with pytest.raises(ShapeError, match="1 found, 0 true"):
        metrics.mean_average_precision([Detections([], [])], [])


# ---- average precision

def images(seed: int) -> tuple[list[Detections], list[Detections]]:
    """Objects and noisy guesses at them, with crowds, equal scores and an image without objects."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for i in range(12):
        n = 0 if i == 3 else int(rng.integers(1, 9))
        true = some(n, seed + 100 * i, 60.0) if n else np.zeros((0, 4))
        labels = rng.integers(0, 3, n)
        truth.append(Detections(true, labels, crowd=rng.random(n) < 0.15))
        guesses = np.concatenate([true + rng.normal(size=true.shape), true + 3 * rng.normal(size=true.shape),
                                  some(4, i, 60.0)])
        guesses[:, 2:] = np.maximum(guesses[:, 2:], guesses[:, :2] + 0.5)
        classes = np.concatenate([labels, labels, rng.integers(0, 3, 4)])
        found.append(Detections(guesses, classes, rng.integers(0, 12, len(guesses)) / 12))
    return found, truth


def theirs(found: list[Detections], truth: list[Detections]) -> np.ndarray:
    coco, cocoeval = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    rows = [{"id": 0, "image_id": i, "category_id": int(label),
             "bbox": boxes.convert(box[None], "xyxy", "xywh")[0].tolist(), "iscrowd": int(crowd),
             "area": float(boxes.area(box[None])[0])} for i, one in enumerate(truth)
            for box, label, crowd in zip(one.boxes, one.labels, one.crowd, strict=True)]
    rows = [{**row, "id": i + 1} for i, row in enumerate(rows)]
    true = coco.COCO()
    true.dataset = {"images": [{"id": i} for i in range(len(truth))], "annotations": rows,
                    "categories": [{"id": i} for i in range(3)]}
    true.createIndex()
    guesses = [{"image_id": i, "category_id": int(label), "bbox": boxes.convert(box[None], "xyxy", "xywh")[0].tolist(),
                "score": float(score)}
               for i, one in enumerate(found)
               for box, label, score in zip(one.boxes, one.labels, one.scores, strict=True)]
    run = cocoeval.COCOeval(true, true.loadRes(guesses), "bbox")
    run.evaluate()
    run.accumulate()
    run.summarize()
    return run.stats[:3]


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_that_of_pycocotools(seed):
    found, truth = images(seed)
    ours = metrics.mean_average_precision(found, truth, resamples=0)
    np.testing.assert_allclose([ours.ap, ours.ap50, ours.ap75], theirs(found, truth), atol=1e-6)


def test_intervals_hold_the_value_and_seeds_repeat():
    found, truth = images(0)
    one, two = (metrics.mean_average_precision(found, truth, resamples=40) for _ in range(2))
    assert one.ap50.low < one.ap50 < one.ap50.high
    assert (one.ap.low, one.ap.high) == (two.ap.low, two.ap.high)


def test_nothing_true_is_no_number_and_nothing_found_is_zero():
    nothing, truth = [Detections([], [], [])], [Detections(some(2), [0, 1])]
    assert math.isnan(metrics.mean_average_precision(nothing, [Detections([], [])]).ap)
    assert metrics.mean_average_precision(nothing, truth).ap == 0
