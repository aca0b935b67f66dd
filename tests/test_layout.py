# SPDX-License-Identifier: Apache-2.0
"""House rules: no circle of imports in the package, wherever an import stands; and pytest finds files by base name, so
each is used once."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "chainrule"


def test_base_names_are_unique():
    names = Counter(path.name for path in Path(__file__).parent.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(name: str, path: Path) -> Iterator[str]:
    """What a module imports at its top, within functions, and for type checkers only, as dotted names."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else []
            whole = ".".join([*base, *([node.module] if node.module else [])])
            yield whole
            yield from (f"{whole}.{alias.name}" for alias in node.names)


def test_imports_have_no_circle():
    paths = modules()
    packages = {name for name, path in paths.items() if path.name == "__init__.py"}  # they only gather names
    graph = {name: {x for x in imported(name, path) if x in paths and x not in packages} - {name}
             for name, path in paths.items() if name not in packages}
    assert list(TopologicalSorter(graph).static_order())  # CycleError names the circle
