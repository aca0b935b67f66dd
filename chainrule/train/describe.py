# SPDX-License-Identifier: Apache-2.0
"""What a run was made with, as plain text: a checkpoint holds it, and a run with something else does not go on from
there."""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, explain

DEPTH = 6  # of objects in objects


def describe(value: Any, depth: int = DEPTH) -> str:
    """The class of an object and its settings; never where it lies in memory."""
    if value is None or isinstance(value, bool | int | float | str | np.generic):
        return repr(value.item() if isinstance(value, np.generic) else value)
    if depth == 0:
        return type(value).__name__
    if isinstance(value, np.ndarray):
        return f"array {fingerprint(value)}"
    if isinstance(value, Mapping):
        return f"{{{_pairs(value, depth)}}}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(describe(item, depth - 1) for item in value)}]"
    if inspect.isroutine(value):
        return _function(value, depth)
    settings = getattr(value, "arguments", None)
    known = (settings if isinstance(settings, Mapping)
             else {k: v for k, v in getattr(value, "__dict__", {}).items() if not k.startswith("_")})
    return f"{type(value).__qualname__}({_pairs(known, depth)})"


def _pairs(items: Mapping[Any, Any], depth: int) -> str:
    return ", ".join(f"{name}={describe(item, depth - 1)}" for name, item in items.items())


def _function(function: Any, depth: int) -> str:
    """Its name and what it holds: a schedule is a function in which its rates are enclosed. Lengths may differ: a run
    may get longer."""
    cells = zip(getattr(getattr(function, "__code__", None), "co_freevars", ()), getattr(function, "__closure__", None)
                or (), strict=True)
    held = {name: cell.cell_contents for name, cell in cells if cell.cell_contents is not function
            and not isinstance(cell.cell_contents, int)}
    return f"{function.__qualname__}({_pairs(held, depth)})" if held else function.__qualname__


def settings_of(made: Any) -> dict[str, str]:
    """The arguments an object was made with, as far as it keeps them under their names."""
    names = inspect.signature(type(made)).parameters
    return {name: describe(getattr(made, name)) for name in names if hasattr(made, name)}


def fingerprint(*arrays: np.ndarray) -> str:
    """Tells data sets apart: shapes, dtypes and a checksum of all values, in their order."""
    return " ".join(
        f"{array.dtype.str}{list(array.shape)}:{zlib.crc32(np.ascontiguousarray(array).view(np.uint8).reshape(-1)):08x}"
        if array.size
        else f"{array.dtype.str}{list(array.shape)}"
        for array in arrays
    )


def check_same(now: Mapping[str, str], saved: Mapping[str, str]) -> None:
    """ArgumentError if a run was made with something else than the one that is to go on."""
    for name, value in now.items():
        if saved.get(name) != value:
            got, was = _difference(value, str(saved.get(name)))
            raise ArgumentError(explain(f"the checkpoint belongs to a run with another {name}", got=got, expected=was,
                                        fix=f"go on with the same {name}, or begin a new run: save the model, load it, "
                                            "and call fit without resume="))


def _difference(now: str, was: str, most: int = 120) -> tuple[str, str]:
    """Both, cut to where they begin to differ."""
    same = next((i for i, (a, b) in enumerate(zip(now, was, strict=False)) if a != b), min(len(now), len(was)))
    start = max(0, same - most // 2) if max(len(now), len(was)) > most else 0
    cut = lambda text: ("…" if start else "") + text[start:start + most] + ("…" if len(text) > start + most else "")
    return cut(now), cut(was)


__all__: Sequence[str] = ["check_same", "describe", "fingerprint", "settings_of"]
