# SPDX-License-Identifier: Apache-2.0
"""Crops, shifts and mirror images are copies of slices: the same pixels that looking each of them up gives."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.augment import pixels


@pytest.mark.parametrize("channels", [(), (3,), (2, 2)])
def test_slices_are_what_looking_up_gives(channels, monkeypatch):
    random = np.random.default_rng(0)
    cases = []
    for _ in range(150):
        (count, height, width), (h, w) = random.integers(1, 8, 3), random.integers(2, 12, 2)
        x = random.integers(1, 255, (count, height, width, *channels), dtype=np.uint8)
        rows = (random.integers(-14, 14, (count, 1)) + np.arange(h)
                * random.choice([-1, 1], (count, 1)))[:, :, np.newaxis]
        columns = (random.integers(-14, 14, (count, 1)) + np.arange(w)
                   * random.choice([-1, 1], (count, 1)))[:, np.newaxis, :]
        cases.append((x, rows, columns, pixels._gather(x, rows, columns, "constant", 7.0)))
    monkeypatch.setattr(pixels, "_are_runs", lambda index: False)
    for x, rows, columns, found in cases:
        assert (found == pixels._gather(x, rows, columns, "constant", 7.0)).all()
