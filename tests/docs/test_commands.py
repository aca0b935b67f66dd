# SPDX-License-Identifier: Apache-2.0
"""README's commands: one line each, in a virtual environment of their own, and the CI script runs them as they stand
there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMANDS = re.findall(r"^    (python3 -m venv .*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_two_commands_make_their_own_environment():
    assert len(COMMANDS) == 2
    for command in COMMANDS:
        first, *rest = command.split(" && ")
        assert (
            first == "python3 -m venv .venv" and len(rest) == 2 and all(part.startswith(".venv/bin/") for part in rest)
        )


def test_the_script_takes_them_from_there():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    words = re.findall(r'^in_a_copy \w+ "?([^"\n]+)"?$', script, re.MULTILINE)
    assert len(words) == 2 and [sum(word in command for command in COMMANDS) for word in words] == [1, 1]
    assert "install --quiet -e" not in script.split("README's main job")[0]
