# SPDX-License-Identifier: Apache-2.0
"""The tests' own house rule: pytest finds files by base name, so each is used once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path


def test_base_names_are_unique():
    names = Counter(path.name for path in Path(__file__).parent.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
