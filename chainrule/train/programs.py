# SPDX-License-Identifier: Apache-2.0
"""Programs that are remembered between calls of `fit`, `evaluate` and `predict`, with the model and for as long as it
lives.

A program was traced from a model as it was: which layers, with which settings, Variables and constants. All of that is
read again at each call (`look`), so a model in which anything was changed is compiled anew.
"""

from __future__ import annotations

import weakref
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..foundations import config
from ..ir import Tensor, Variable
from ..nn.core.module import Module

MOST, ENTRIES = 8, 24  # programs of one kind, and signatures of one program, that a model remembers
PLAIN = (bool, int, float, complex, str, bytes, type(None))


class Programs:
    """What one model remembers: kind -> (what was looked at, program), the last used at the end. Copies of a model
    begin empty."""

    def __init__(self) -> None:
        self.kinds: dict[str, list[tuple[Any, Any]]] = {}

    def __reduce__(self) -> Any:
        return Programs, ()

    def __deepcopy__(self, memo: Any) -> Programs:
        return Programs()

    def find(self, kind: str, seen: Any, make: Callable[[], Any]) -> Any:
        """The program of this kind that was made of the same, or a new one."""
        known = self.kinds.get(kind, [])
        found = next((step for before, step in known if before == seen and len(step.entries) < ENTRIES), None)
        step = make() if found is None else found
        self.kinds[kind] = [*((before, other) for before, other in known if other is not step and before != seen),
                            (seen, step)][-MOST:]
        return step


def remembered(kind: str, model: Any, parts: tuple[Any, ...], backend: str | None, make: Callable[..., Any],
               owner: Any = None) -> Any:
    """The compiled step that `make` gives for the model and `parts` as they are now; made once.

    It is kept with the model, or with an `owner` that the step changes too, such as an optimiser. `make` gets both as
    weak references that can be used in their place, so that nothing lives longer for being remembered.
    """
    if not isinstance(model, Module):
        return make(model) if owner is None else make(model, owner)
    keeper = model._record if owner is None else owner
    if getattr(keeper, "programs", None) is None:
        keeper.programs = Programs()
    seen = (backend or config.backend(), config.threads(), config.instructions(), config.debug(), look(parts),
            look(model), _settings(owner))
    weak = [Weakly(x) for x in (model, owner) if x is not None]
    return keeper.programs.find(kind, seen, lambda: make(*weak))


def _settings(owner: Any) -> Any:
    return ([(name, look(value)) for name, value in vars(owner).items() if name != "programs"] if owner is not None
            else None)


class Weakly:
    """An object without keeping it alive."""

    def __init__(self, held: Any):
        self.held = weakref.ref(held)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.held()(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.held(), name)


def strong(held: Any) -> Any:
    """The object itself."""
    return held.held() if isinstance(held, Weakly) else held


def look(value: Any) -> Any:
    """All that a trace could read of an object, as nested tuples that are equal if nothing has changed."""
    return _look(value, {})


def _look(value: Any, seen: dict[int, int]) -> Any:
    kind = type(value)
    if kind in PLAIN:
        return kind, value
    if isinstance(value, Variable):
        return id(value), value.type
    if id(value) in seen:
        return seen[id(value)]
    seen[id(value)] = len(seen)
    if isinstance(value, Module):
        return (kind, kind.forward, id(value),
                [(name, _look(item, seen)) for name, item in vars(value).items() if name != "_record"])
    if isinstance(value, tuple | list):
        return kind, [_look(item, seen) for item in value]
    if isinstance(value, Mapping):
        return kind, [(key if type(key) in PLAIN else id(key), _look(item, seen)) for key, item in value.items()]
    return _other(value, seen)


def _other(value: Any, seen: dict[int, int]) -> Any:
    """Arrays by their content, functions by what they enclose, other objects by their attributes; all with the object
    itself."""
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, zlib.crc32(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
                if value.size and value.dtype != object else 0)
    if isinstance(value, Tensor):
        return "tensor", _Same(value.node)
    if isinstance(value, type):
        return "class", value
    cells = [_enclosed(cell, seen) for cell in getattr(value, "__closure__", None) or ()]
    defaults = _look(getattr(value, "__defaults__", None), seen)
    attributes = [(name, _look(item, seen)) for name, item in getattr(value, "__dict__", {}).items()]
    owner = _look(value.__self__, seen) if hasattr(value, "__self__") else None
    return _Same(getattr(value, "__func__", value)), cells, defaults, attributes, owner


def _enclosed(cell: Any, seen: dict[int, int]) -> Any:
    try:
        return _look(cell.cell_contents, seen)
    except ValueError:  # not filled yet
        return None


class _Same:
    """Equal if it is the same object, which stays alive so that no other one takes its place."""

    __slots__ = ("held",)

    def __init__(self, held: Any):
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.held is self.held

    __hash__ = None  # type: ignore[assignment]
