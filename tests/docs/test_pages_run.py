# SPDX-License-Identifier: Apache-2.0
"""The programs on the how-to and comparison pages run as they stand, from top to bottom of a page, in an empty folder.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
NEEDS = {"several-devices": "jax", "serve": "starlette"}  # what is not there in every environment
PAGES = sorted([*DOCS.glob("how-to/*.md"), *DOCS.glob("from-*.md")])


def program(page: Path) -> str:
    """All blocks marked as python; those marked otherwise belong to other libraries."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S))


@pytest.mark.parametrize("page", [page for page in PAGES if program(page)], ids=lambda page: page.stem)
def test_a_page_runs(page: Path, tmp_path: Path) -> None:
    if page.stem in NEEDS:
        pytest.importorskip(NEEDS[page.stem])
    found = subprocess.run([sys.executable, "-W", "error", "-c", program(page)], cwd=tmp_path, capture_output=True,
                           text=True, env={**os.environ, "PYTHONPATH": str(DOCS.parent)})
    assert found.returncode == 0, found.stderr[-2000:]
