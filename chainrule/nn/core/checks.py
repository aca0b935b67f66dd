# SPDX-License-Identifier: Apache-2.0
"""What layers ask of their input, told with the names of the axes, where the input came from, and one fix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, DTypeError, ShapeError, explain, shown
from ...ir import Tensor
from ...ir.dtype import canonical, is_float

SPATIAL = {1: ("steps",), 2: ("height", "width"), 3: ("depth", "height", "width")}


def axis_names(rank: int) -> tuple[str, ...]:
    """Names of all axes of a batch with `rank` spatial axes."""
    return ("batch", *SPATIAL[rank], "channels")


def describe(shape: Sequence[int], names: Sequence[str] | None = None) -> str:
    """A shape with names: ``(batch 4, height 28, width 28, channels 1)``."""
    if names is None or len(names) != len(shape):
        return f"shape {tuple(shape)}"
    return "(" + ", ".join(f"{name} {n}" for name, n in zip(names, shape, strict=True)) + ")"


def origin(x: Tensor) -> str:
    """", from model[3] Flatten", with the extents that were flattened into features, as far as they are known."""
    text = f", from {x.node.layer}" if x.node.layer else ""
    if x.node.op.name == "reshape" and x.node.inputs and len(x.node.inputs[0].shape) > 2 and x.ndim == 2:
        inner = x.node.inputs[0].shape[1:]
        text += f" ({x.shape[-1]} = {' x '.join(map(str, inner))})"
    return text


def need_float(x: Tensor, dtype: Any, images: bool = False) -> None:
    """The input has the dtype of the layer's weights."""
    dtype = canonical(dtype)
    if x.dtype == dtype:
        return
    if not is_float(x.dtype):
        pixels = images and x.dtype.itemsize == 1
        fix = "scale the images: x.astype('float32') / 255" if pixels else f"cast the data: x.astype('{dtype}')"
        raise DTypeError(explain(f"the input holds {'booleans' if x.dtype.kind == 'b' else 'integers'}",
                                 got=f"{x.dtype}{list(x.shape)}{origin(x)}",
                                 expected=str(dtype), fix=fix))
    raise DTypeError(explain(f"the input is {x.dtype}, the weights of this layer are {dtype}",
                             got=f"{x.dtype}{list(x.shape)}{origin(x)}",
                             expected=str(dtype),
                             fix=f"cast the data once, x.astype('{dtype}'), or make the layer with dtype='{x.dtype}'"))


def need_features(x: Tensor, features: int, names: Sequence[str], fix: str) -> None:
    """The last axis has the extent for which the layer was built."""
    if x.shape[-1] != features:
        last = names[-1]
        raise ShapeError(explain(f"the input has {x.shape[-1]} {last}, this layer was built for {features}",
                                 got=describe(x.shape, names) + origin(x), expected=describe_last(names, features),
                                 fix=fix))


def describe_last(names: Sequence[str], features: int) -> str:
    """``(batch, features 128)``."""
    return "(" + ", ".join([*names[:-1], f"{names[-1]} {features}"]) + ")"


def need_rank(x: Tensor, rank: int) -> None:
    """A batch of channels-last images (or sequences, or volumes) with `rank` spatial axes."""
    names = axis_names(rank)
    if x.ndim == len(names):
        return
    fixes = {-1: "add the missing axis: x[..., None] if the channels are missing, x[None] if the batch is",
             1: "remove the axis that is too many, for example x[0]"}
    fix = fixes.get(x.ndim - len(names), "reshape the input, or leave out the Flatten before it")
    raise ShapeError(explain(f"the input has {x.ndim} axes, this layer needs {len(names)}",
                             got=describe(x.shape) + origin(x),
                             expected="(" + ", ".join(names) + ")", fix=fix))


def positive(name: str, value: Any) -> int:
    """A positive integer."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ArgumentError(explain(f"{name} must be a positive integer", got=shown(value), expected="for example 64",
                                    fix=_as_integer(value)))
    return value


def _as_integer(value: Any) -> str | None:
    """How a number that came in another form is written."""
    if isinstance(value, str) and value.strip().isdecimal():
        return f"write {int(value)}, without quotes"
    if isinstance(value, float | np.integer | np.floating) and value == value // 1 >= 1:
        return f"write {int(value)}, or int(...) of what was computed"
    return ("layers are told what comes out, and called with what comes in: nn.Dense(10)(x)"
            if isinstance(value, Tensor | np.ndarray) else None)


def probability(name: str, value: Any) -> float:
    """A number in [0, 1)."""
    if not isinstance(value, int | float) or not 0 <= value < 1:
        fix = f"a share in percent is {value / 100:g}" if isinstance(value, int | float) and 1 < value <= 100 else None
        raise ArgumentError(explain(f"{name} is the share that is dropped", got=shown(value), expected="0 <= rate < 1",
                                    fix=fix))
    return float(value)


ONLY_WHAT_COMES_OUT = "layers are told only what comes out, what comes in is inferred: "


def small(name: str, value: Any) -> float:
    """What is added so that nothing is divided by zero: a number in [0, 1)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ArgumentError(explain(f"{name} is a small number against a division by zero", got=shown(value),
                                    expected=f"0 <= {name} < 1",
                                    fix=ONLY_WHAT_COMES_OUT + "LayerNorm(), not LayerNorm(64)"))
    return value


def flag(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise ArgumentError(explain(f"{name} is a switch", got=shown(value), expected="True or False",
                                    fix=ONLY_WHAT_COMES_OUT + "LSTM(64), not LSTM(32, 64)"))
    return value


def extents(name: str, value: Any, rank: int) -> tuple[int, ...]:
    """One positive integer for all spatial axes, or one for each."""
    items = (value,) * rank if isinstance(value, int) else tuple(value) if isinstance(value, tuple | list) else ()
    if len(items) != rank or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in items):
        raise ArgumentError(explain(f"{name} does not fit {rank} spatial {'axis' if rank == 1 else 'axes'}",
                                    got=shown(value),
                                    expected="a positive integer" + (f", or {rank} of them" if rank > 1 else ""),
                                    fix=f"for example {name}=3" + (f" or {name}={(3,) * rank}" if rank > 1 else "")))
    return items
