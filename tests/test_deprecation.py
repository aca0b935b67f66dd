# SPDX-License-Identifier: Apache-2.0
"""What is deprecated warns where it is used, for two minor versions, and is gone when it was said to be."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import chainrule
from chainrule.foundations.deprecation import deprecated


def test_the_warning_stands_at_the_users_line_and_says_what_to_write():
    with pytest.warns(DeprecationWarning, match="cr.old goes away") as found:
        deprecated("cr.old", instead="cr.new", since="0.3", gone="0.5")
    assert found[0].filename == __file__
    assert "write cr.new" in str(found[0].message) and "0.5" in str(found[0].message)


def version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def overdue(source: str, now: str) -> list[str]:
    """Calls of `deprecated` in a program that allow less than two minor versions, or whose time is up."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and getattr(node.func, "id", "")
             == "deprecated"]
    found = []
    for call in calls:
        told = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg in ("since", "gone")}
        (major, since), (last_major, gone) = version(told["since"]), version(told["gone"])
        if version(now) >= (last_major, gone) or (major == last_major and gone < since + 2):
            found.append(f"line {call.lineno}: {told}")
    return found


def test_nothing_is_overdue():
    files = Path(chainrule.__file__).parent.rglob("*.py")
    assert {str(path): late for path in files
            if (late := overdue(path.read_text(encoding="utf-8"), chainrule.__version__))} == {}


@pytest.mark.parametrize("since, gone, now, late", [("0.3", "0.5", "0.4.1", False), ("0.3", "0.5", "0.5.0", True),
                                                    ("0.3", "0.4", "0.3.0", True), ("0.9", "1.0", "0.9.0", False)])
def test_time_is_up_when_the_version_is_reached(since, gone, now, late):
    assert bool(overdue(f'deprecated("x", instead="y", since="{since}", gone="{gone}")', now)) is late
