# SPDX-License-Identifier: Apache-2.0
"""Nested inputs and outputs: how a model is called with them, and what their leaves are called.

A tuple is several inputs by position, `model(*x)`; a dict several by name, `model(**x)`. Sequences of different lengths
travel as `Ragged(values, lengths)`, and the model gets their values with a mask (batch, steps) that is True where a
step exists.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..data import Ragged
from ..errors import ArgumentError, ShapeError, explain
from ..foundations import tree as trees
from ..ir import Tensor, Type, tracing
from ..ir.graph import input_node
from ..nn.core.module import Module
from ..nn.masks import length_mask


def called(model: Any, x: Any, **options: Any) -> Any:
    """What the model gives for x: an array, a tuple (several inputs), a dict (inputs by name) or Ragged."""
    if isinstance(x, Ragged):
        return model(x.values, mask=_mask(model, x, "mask", "x"), **options)
    if isinstance(x, Mapping):
        return model(**_named(model, x), **options)
    if isinstance(x, tuple | list):
        ragged = [i for i, item in enumerate(x) if isinstance(item, Ragged)]
        masks = {} if not ragged else {"mask": _mask(model, x[ragged[0]], "mask", f"x[{ragged[0]}]")}
        if len(ragged) > 1:
            raise ArgumentError(explain("two inputs are sequences of different lengths, and there is one mask",
                                        got=", ".join(f"x[{i}]" for i in ragged),
                                        fix="give the inputs by name, {\"a\": ..., \"b\": ...}, to a forward(a, b, "
                                            "a_mask, b_mask)"))
        return model(*(item.values if isinstance(item, Ragged) else item for item in x), **masks, **options)
    return model(x, **options)


def _named(model: Any, x: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs by name, and beside each ragged one its mask: `mask` where there is one, else `NAME_mask`."""
    given: dict[str, Any] = {}
    single = sum(isinstance(item, Ragged) for item in x.values()) == 1
    for name, item in x.items():
        if isinstance(item, Ragged):
            own = f"{name}_mask" if not single or f"{name}_mask" in _parameters(model) else "mask"
            given |= {name: item.values, own: _mask(model, item, own, name)}
        else:
            given[name] = item
    return given


def _mask(model: Any, x: Ragged, name: str, place: str) -> Tensor:
    known = _parameters(model)
    if name not in known and known[-1:] != ["**"]:
        raise ArgumentError(explain(f"the lengths of {place} would be lost: forward of "
                                    f"{getattr(model, '__name__', type(model).__name__)} takes no {name}",
                                    got=f"sequences of different lengths and forward({', '.join(known)})",
                                    expected=f"forward(..., {name}=None), True where a step exists",
                                    fix="nn.Sequential hands masks to the layers that take one; or pad the sequences "
                                        "yourself"))
    return length_mask(x.lengths, x.values.shape[1])


def _parameters(model: Any) -> list[str]:
    """The names that the model takes, "**" at the end if it takes any."""
    held = getattr(model, "held", None)
    model = held() if held is not None and not isinstance(model, Module) else model  # behind a weak reference
    found = inspect.signature(model.forward if isinstance(model, Module) else model).parameters.values()
    return [p.name for p in found
            if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)] + ["**"] * any(p.kind is p.VAR_KEYWORD for p in found)


def symbols(x: Any, rows: int) -> Any:
    """So many samples like those of x, as symbols."""
    return trees.map(lambda a: Tensor(input_node(Type((rows, *a.shape[1:]), a.dtype))), x)


def traced(model: Any, x: Any, rows: int, training: bool = False) -> Any:
    """What the model gives for so many samples like those of x, as symbols; builds what is not built yet."""
    with tracing():
        return called(model, symbols(x, rows), training=training)


def take(x: Any, indices: Any) -> Any:
    """These samples, contiguous."""
    return x[indices] if isinstance(x, np.ndarray) else trees.map(lambda a: a[indices], x)


def leaves(x: Any) -> list[Any]:
    """The arrays of a structure."""
    return [x] if isinstance(x, np.ndarray) else trees.flatten(x)[0]


def at(x: Any, path: tuple[Any, ...]) -> Any:
    """The part of a structure that a path of keys leads to."""
    for key in path:
        x = x[key]
    return x


def one_length(x: Any, name: str) -> None:
    """ShapeError unless all arrays of x have as many samples."""
    counts = {path: len(array) for path, array in zip(trees.paths(x, name), leaves(x), strict=True)}
    if len(set(counts.values())) > 1:
        usual = max(set(counts.values()), key=list(counts.values()).count)
        odd = next(path for path, count in counts.items() if count != usual)
        raise ShapeError(explain(f"{odd} has another number of samples than the rest", got=f"{counts[odd]}",
                                 expected=f"{usual}, as in "
                                 + ", ".join(path for path, count in counts.items() if count == usual),
                                 fix="one entry of each array per sample"))
