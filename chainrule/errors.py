# SPDX-License-Identifier: Apache-2.0
"""Every exception of the library, and the one form in which a mistake is told.

A message says in one line what is wrong, then what came, what was expected, one fix, the path of the layer and the line
of the user's own code:

    model[4] Dense: the last axis of the input has 1352 features, this layer was built for 128
      got       (batch 4, features 1352), from model[3] Flatten
      expected  (batch, features 128)
      fix       use Dense(10) without a fixed input size, or Dense(1352, 10)
      at        train.py:12  logits = model(images)
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
import linecache
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
STARTS_PROCESSES = os.path.join(os.path.dirname(threading.__file__), "multiprocessing", "")
NOT_THE_USERS = (PACKAGE, STARTS_PROCESSES, "<frozen", "<string>")  # the last: what dataclasses and named tuples write
WRAPPERS = frozenset({contextlib.__file__, functools.__file__, dataclasses.__file__, threading.__file__})


class ChainruleError(Exception):
    """Base of every error that chainrule raises on purpose."""


class ShapeError(ChainruleError, ValueError):
    """Shapes do not fit together."""


class DTypeError(ChainruleError, TypeError):
    """Data types do not fit together."""


class ArgumentError(ChainruleError, ValueError):
    """An argument has a value that makes no sense."""


class CallError(ArgumentError, TypeError):
    """A function was called with an argument of another kind than it takes, or with one that it does not have."""


class BoundsError(ChainruleError, IndexError):
    """An index, a label or a token id lies outside the valid range.

    Where it is known, `place` is its position in an array of this `shape`, and `moved(place)` the error with another
    position in its
    words: that of the whole data in the place of that of a batch.
    """

    place: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    step: int = 0  # of several in one call
    moved: Callable[[tuple[int, ...]], BoundsError] | None = None

    @staticmethod
    def at(place: tuple[int, ...], shape: tuple[int, ...], words: Callable[[tuple[int, ...]], str]) -> BoundsError:
        """The error with the words for this place."""
        error = BoundsError(words(place))
        error.place, error.shape, error.moved = place, shape, lambda told: BoundsError.at(told, shape, words)
        return error


class AxisError(ShapeError, BoundsError):
    """There is no such axis."""


class TraceError(ChainruleError, TypeError):
    """Python needed the value of a tensor that does not exist yet, because its function is being compiled."""


class GraphError(ChainruleError, AssertionError):
    """A graph breaks a rule of the language: a bug in chainrule, not in the user's program."""


class NonFiniteError(ChainruleError, ArithmeticError):
    """A NaN or an infinity turned up in training."""


class OutOfMemoryError(ChainruleError, MemoryError):
    """There is not enough memory for an array."""


class DataError(ChainruleError, ValueError):
    """A file or a data set cannot be used as it is."""


class MissingExtra(ChainruleError, ImportError):
    """A feature needs an optional dependency that is not installed."""

    def __init__(self, feature: str, package: str, extra: str):
        super().__init__(f"{feature} needs {package}; install it with: pip install 'chainrule[{extra}]'")


def shown(value: object, most: int = 80) -> str:
    """A value in a message: dtype, shape and first numbers of an array, the beginning of anything else that is long;
    one line."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and shape and dtype is not None and hasattr(value, "__array__"):
        return shortened(f"{dtype} of shape {tuple(shape)}{_first_numbers(value, shape)}", 2 * most)
    if isinstance(shape, tuple) and hasattr(value, "columns"):
        return f"{type(value).__name__} of shape {shape}, columns {shown(list(value.columns), most)}"
    if isinstance(value, str | bytes):
        return shortened(repr(value[:most + 1]), most)
    if type(value) in (list, tuple, dict):
        return _items(value, most)  # type: ignore[arg-type]
    return shortened(repr(value), most)


def shortened(text: str, most: int) -> str:
    """The text in one line, and not longer than `most`: its beginning."""
    if "\n" in text:
        text = " ".join(line.strip() for line in text.splitlines())
    return text if len(text) <= most else text[:most - 1] + "…"


def _items(value: list[Any] | tuple[Any, ...] | dict[Any, Any], most: int) -> str:
    """Those of a container as they stand in it, as many as there is room for; how many there are if they are not all
    there."""
    parts, room = [], most
    for item in value.items() if isinstance(value, dict) else value:
        parts.append(f"{_item(item[0], most)}: {_item(item[1], most)}" if isinstance(value, dict)
                     else _item(item, most))
        room -= len(parts[-1]) + 2
        if room < 0:
            break
    begin, end = {list: "[]", tuple: "()", dict: "{}"}[type(value)]
    text = begin + ", ".join(parts) + ("," if isinstance(value, tuple) and len(value) == 1 else "")
    if len(parts) == len(value) and len(text) < most:
        return text + end
    text = text if len(text) <= most else text[:most - 1]
    return (f"{type(value).__name__} of {len(value):,} items, " if len(value) > 8 else "") + text + "…"


def _item(value: object, most: int) -> str:
    """One of a container; containers in containers get less room each time, so that one that holds itself comes to an
    end."""
    if type(value) not in (list, tuple, dict):
        return shown(value, most)
    return shown(value, most // 2) if most >= 10 else "…"


def _first_numbers(value: object, shape: tuple[int, ...], most: int = 6) -> str:
    try:
        first = [value.reshape(-1)[i].item() for i in range(min(most, math.prod(shape)))]  # type: ignore[attr-defined]
    except Exception:  # a symbol has no numbers, and a message must not fail
        return ""
    numbers = ", ".join(f"{number:.4g}" if isinstance(number, float) else str(number) for number in first)
    return f": [{numbers}{', …' if math.prod(shape) > most else ''}]" if first else ""


# ---- where we are: the layer's path and the user's line

_layers: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("chainrule_layers", default=())


@contextlib.contextmanager
def inside_layer(path: str) -> Iterator[None]:
    """Everything that happens within is told to happen in the layer `path`, such as ``model[4] Dense``."""
    token = _layers.set((*_layers.get(), path))
    try:
        yield
    finally:
        _layers.reset(token)


class BackwardFrame(tuple[str, int]):
    """The line of an operation whose derivative is computed."""


_derived: contextvars.ContextVar[BackwardFrame | None] = contextvars.ContextVar("chainrule_derived", default=None)


@contextlib.contextmanager
def deriving(layer: str | None, frame: tuple[str, int] | None) -> Iterator[None]:
    """Everything that happens within is told to happen for the derivative of what stands on that line of that layer."""
    layers = _layers.set((*_layers.get(), layer or ""))
    derived = _derived.set(BackwardFrame(frame)) if frame is not None else None
    try:
        yield
    finally:
        _layers.reset(layers)
        if derived is not None:
            _derived.reset(derived)


def layer_path() -> str | None:
    """The path of the innermost layer that is running, or None outside any layer."""
    layers = _layers.get()
    return layers[-1] if layers else None


def user_frame() -> tuple[str, int] | None:
    """(file, line) of the innermost frame that is neither chainrule's own nor a wrapper of Python's own; for a
    derivative, of the
    operation that is derived."""
    if (derived := _derived.get()) is not None:
        return derived
    frame = sys._getframe(1)
    while frame is not None:
        filename = frame.f_code.co_filename
        if not filename.startswith(NOT_THE_USERS) and filename not in WRAPPERS:
            return filename, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return None


def describe_frame(frame: tuple[str, int] | None) -> str | None:
    """A frame as text: ``train.py:12  logits = model(images)``."""
    if frame is None:
        return None
    filename, line = frame
    text = linecache.getline(filename, line).strip()
    return f"{os.path.basename(filename)}:{line}" + (f"  {text}" if text else "")


# characters of each part of a message: what came may be anything, what is expected may list all names that there are
MOST = {"problem": 600, "got": 400, "expected": 1200, "fix": 600, "at": 300}


def explain(problem: str, *, got: str | None = None, expected: str | None = None, fix: str | None = None,
            at: str | None = None, layer: str | None = None) -> str:
    """The text of a message; `layer` and `at` default to the running layer and to the user's line.

    Each part is one line that has an end; values in it are best given by `shown`.
    """
    layer = layer or layer_path()
    problem = problem if len(problem) <= MOST["problem"] else problem[:MOST["problem"] - 1] + "…"
    lines = [f"{layer}: {problem}" if layer else problem]
    rows = {"got": got, "expected": expected, "fix": fix, "at": at or describe_frame(user_frame())}
    lines += [f"  {name:9} {shortened(text, MOST[name])}" for name, text in rows.items() if text]
    return "\n".join(lines)
