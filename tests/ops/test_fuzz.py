# SPDX-License-Identifier: Apache-2.0
"""The first calls of the fuzz of public functions: what NumPy gives, eager and compiled."""

from __future__ import annotations

import pytest

from chainrule.testing import available

check = pytest.importorskip("tools.fuzz").check


@pytest.mark.parametrize("seed", range(0, 120, 40))
def test_like_numpy(seed: int) -> None:
    if not available("native"):
        pytest.skip("needs llvmlite")
    assert not [line for number in range(seed, seed + 40) for line in check(number)]
