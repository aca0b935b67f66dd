# SPDX-License-Identifier: Apache-2.0
"""The programs of the tutorial fit into their column of the page: no line of code is to be scrolled."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

CHAPTERS = sorted((Path(__file__).parents[2] / "docs" / "tutorial").glob("*.py"))
WIDTH = 85


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_code_is_at_most_85_columns_wide(chapter: Path) -> None:
    text = chapter.read_text(encoding="utf-8")
    # the docstring becomes text of the page, as comments at the margin do
    prose = ast.parse(text).body[0].end_lineno or 0
    wide = [number for number, line in enumerate(text.splitlines(), 1) if number > prose and len(line) > WIDTH
            and not line.startswith("#")]
    assert wide == []
