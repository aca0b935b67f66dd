# SPDX-License-Identifier: Apache-2.0
"""The command line, `chainrule` or `python -m chainrule`: train, evaluate and predict on the user's files."""

from __future__ import annotations


def main() -> None:
    """Run the command line; a mistake of the user ends with its message and status 1, without a traceback."""
    from .app import run

    run()
