# SPDX-License-Identifier: Apache-2.0
"""The embedded data set: 1,797 handwritten digits of 8 x 8 pixels, split once and for all.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository (1998),
test part, CC BY 4.0; see digits.LICENSE.txt. The file is written by tools/make_digits.py.
"""

from __future__ import annotations

from importlib import resources

import numpy as np

from .parts import Part, Parts
from .splits import split

TRAIN, TEST = 1437, 360


def read_digits() -> Parts:
    """Images (N, 8, 8, 1) uint8, 0 to 255, and labels: 1,437 for training, 360 for testing, each class in its share."""
    with resources.as_file(resources.files(__package__)
                           / "digits.npz") as path, np.load(path, allow_pickle=False) as file:
        counts, labels = file["images"].reshape(-1, 8, 8, 1), file["labels"]
    images = ((counts.astype(np.uint16) * 255 + 8) // 16).astype(np.uint8)  # 0..16 as common grey values
    everything = Part(images, labels, "digits", lambda item: f"digits: item {item}")
    train, test = split(len(labels), (TRAIN, TEST), seed=0, stratify=labels)
    note = f"digits: {len(labels):,} handwritten digits of 8 x 8 pixels (UCI, CC BY 4.0), {TRAIN:,} train, {TEST} test"
    return Parts(everything.take(train), everything.take(test), notes=[note])
