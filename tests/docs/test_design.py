# SPDX-License-Identifier: Apache-2.0
"""The page of the design names every room of the package, and counts its primitives right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chainrule.ir import REGISTRY

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
ROOMS = sorted(f"{path.name}/" if path.is_dir() else path.name for path in (ROOT / "chainrule").iterdir()
               if not path.name.startswith("__") and (path.suffix == ".py" or (path / "__init__.py").exists()))


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_is_in_the_table(room):
    assert any(f"`{room}`" in line.split("|")[1] for line in PAGE.splitlines() if line.startswith("|"))


def test_files_that_are_named_exist():
    named = set(re.findall(r"`((?:\w+/)+\w+\.py)`", PAGE))
    assert len(named) > 10
    assert [name for name in named if not ((ROOT / "chainrule") / name).exists() and not (ROOT / name).exists()] == []


def test_the_number_of_primitives():
    assert f"**{len(REGISTRY)} primitives**" in PAGE
