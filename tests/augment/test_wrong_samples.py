# SPDX-License-Identifier: Apache-2.0
"""Mistakes in arguments and samples are told before anything is computed, with what was expected."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import augment
from chainrule.errors import ArgumentError, ShapeError

IMAGE = np.random.default_rng(0).random((8, 10, 3), np.float32)
FLIP = augment.Flip(probability=1)
MISTAKES = {
    "a text is no range": (lambda: augment.Rotate("15"), ArgumentError, "degrees is a range"),
    "a range has two ends": (lambda: augment.Scale((0.5, 1, 2)), ArgumentError, "scale is a range"),
    "a share is at most 1": (lambda: augment.TimeShift(2.0), ArgumentError, r"lies in \[0, 1\]"),
    "an operation is not its class": (lambda: augment.Compose([augment.Flip]), ArgumentError, r"Flip\(\.\.\.\)"),
    "boxes are rows": (lambda: FLIP({"image": IMAGE, "boxes": [1, 2, 3, 4]}), ShapeError, "one box is"),
    "boxes have four edges": (lambda: FLIP({"image": IMAGE, "boxes": [[1, 2, 3]]}), ShapeError, r"\(boxes, 4\)"),
    "boxes have edges in order": (lambda: FLIP({"image": IMAGE, "boxes": [[0, 0, 3, 4], [5, 5, 2, 2]]}), ArgumentError,
                                  r"box 1.*x \+ width"),
    "a label per box": (lambda: FLIP({"image": IMAGE, "boxes": [[0, 0, 2, 2]], "labels": [1, 2]}), ShapeError,
                        "1 boxes, 2 labels"),
    "a mask of the image's size": (lambda: FLIP({"image": IMAGE, "masks": np.zeros((4, 4))}), ShapeError,
                                   r"mask \(4, 4\), image \(8, 10\)"),
    "points are rows": (lambda: FLIP({"image": IMAGE, "keypoints": [1, 2]}), ShapeError, r"one point is \[\[x, y\]\]"),
    "boxes of a batch": (lambda: augment.Compose([FLIP], targets="boxes").batch(IMAGE[None], [[[1, 2, 3]]]), ShapeError,
                         r"\(boxes, 4\)"),
    "whole numbers": (lambda: FLIP((IMAGE * 255).astype(int)), ShapeError, r"astype\('uint8'\)"),
    "x and y": (lambda: augment.Augmented(IMAGE[None], [1, 2], FLIP), ShapeError, "x 1, y 2"),
    "one image is no batch": (lambda: augment.resize(IMAGE, (4, 4)), ShapeError, r"x\[None\]"),
    "a size is positive": (lambda: augment.resize(IMAGE[None], 0), ArgumentError, "a size is positive"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told(name):
    make, kind, text = MISTAKES[name]
    with pytest.raises(kind, match="(?s)" + text):
        make()


def test_what_is_short_is_understood():
    np.testing.assert_array_equal(augment.Compose(FLIP)(IMAGE), IMAGE[:, ::-1])
    assert FLIP({"image": IMAGE, "boxes": []})["boxes"].shape == (0, 4)
    np.testing.assert_array_equal(FLIP({"image": IMAGE, "keypoints": [[1, 2]]})["keypoints"], [[9, 2]])
    assert augment.WordDropout(1.0)(["a", "b"]) == ["<unk>", "<unk>"]
    np.testing.assert_array_equal(augment.WordDropout(1.0)(np.array([5, 6, 0])), [1, 1, 0])
    assert augment.resize(IMAGE[None], 4).shape == (1, 4, 4, 3)
    np.testing.assert_array_equal(augment.Blur(1.0)(IMAGE), augment.Blur((1.0, 1.0))(IMAGE))
