# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all tests: the seed, and the one place that knows where real data for tests may lie."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

from chainrule import random

hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None)  # the same examples in every run
hypothesis.settings.load_profile("fixed")

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random numbers, whatever ran before it."""
    random.seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets: CHAINRULE_TEST_DATA, or ../shared/data beside the project; skips where absent."""
    folder = Path(os.environ.get("CHAINRULE_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"real test data is not there: {folder} (set CHAINRULE_TEST_DATA to its folder)")
    return folder
