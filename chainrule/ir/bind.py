# SPDX-License-Identifier: Apache-2.0
"""`bind`: the one door through which every operation passes.

Outside a trace it checks the types, computes by the NumPy meaning and records the node, so that gradients can be taken;
inside a trace it makes a symbolic node. Errors appear at the user's line either way.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import errors
from ..foundations.arguments import brief, unmasked
from . import dtype as dtypes
from .memory import no_room
from .node import CONSTANT, OUTPUT, REGISTRY, Node, Op, Type
from .tensor import Tensor
from .trace import current_trace
from .variable import Variable


class _Recording(threading.local):
    on: bool = True


_recording = _Recording()


def recording() -> bool:
    """Whether eager operations remember their inputs, so that gradients can be taken."""
    return _recording.on


@contextlib.contextmanager
def recorded() -> Iterator[None]:
    """Within, eager operations remember their inputs, whatever was said outside: a derivative needs them."""
    before, _recording.on = _recording.on, True
    try:
        yield
    finally:
        _recording.on = before


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """Within, eager operations keep no history: less memory, and no gradients of what is computed here.

    >>> w = cr.Variable([1.0, 2.0])
    >>> with cr.no_grad():
    ...     y = cr.sum(w * w)
    >>> y
    Tensor(5., dtype=float32)
    """
    before, _recording.on = _recording.on, False
    try:
        yield
    finally:
        _recording.on = before


def bind(op: Op, *inputs: Tensor, **attrs: Any) -> Any:
    """Apply a primitive: a Tensor, or a tuple of Tensors for operations with several results."""
    nodes = tuple(x.node for x in inputs)
    kind = op.infer(*(node.type for node in nodes), **attrs)
    if current_trace() is None and all(node.data is not None for node in nodes):
        node = _run(op, nodes, attrs, kind)
    else:
        node = Node(op, nodes, attrs, kind, where=errors.user_frame(), layer=errors.layer_path())
    tensors = tuple(pick(node, i) for i in range(len(kind))) if isinstance(kind, tuple) else (Tensor(node),)
    if not _recording.on and node.data is None:
        tensors = tuple(map(forget, tensors))
    return tensors if isinstance(kind, tuple) else tensors[0]


def unrecorded(*_: Any) -> tuple[()]:
    """The rule of what is computed under `no_grad`: no gradients. It differs from `stop_gradient`, which is no mistake.
    """
    return ()


def forget(x: Tensor) -> Tensor:
    """The same value without its history, through which no gradient passes: what `no_grad` means."""
    node = x.node
    if node.data is not None:
        return Tensor(Node(CONSTANT, (), {}, node.type, node.data))
    return Tensor(Node(REGISTRY["custom_gradient"], (node,), {"rule": unrecorded}, node.type, where=node.where,
                       layer=node.layer))


def _run(op: Op, nodes: tuple[Node, ...], attrs: dict[str, Any], kind: Any) -> Node:
    try:
        with np.errstate(all="ignore"):
            data = op.meaning(*(node.data for node in nodes), **attrs)
    except MemoryError as error:
        raise no_room(error, op.name, kind) from None
    if isinstance(kind, tuple):
        return Node(op, nodes if _recording.on else (), attrs, kind, data, layer=errors.layer_path())
    data = np.asarray(data)
    if not _recording.on or not nodes or kind.dtype.kind != "f":
        return Node(CONSTANT, (), {}, kind, data)
    return Node(op, nodes, attrs, kind, data, layer=errors.layer_path())


def pick(node: Node, index: int) -> Tensor:
    """Result `index` of a node with several results."""
    data = None if node.data is None else np.asarray(node.data[index])
    inputs = (node,) if node.inputs or data is None else ()
    op, attrs = (OUTPUT, {"index": index}) if inputs else (CONSTANT, {})
    return Tensor(Node(op, inputs, attrs, node.type[index], data, where=node.where, layer=node.layer))


def leaf(array: np.ndarray) -> Tensor:
    """A tensor that holds `array` (not copied) and has no history."""
    return Tensor(Node(CONSTANT, (), {}, Type(array.shape, array.dtype), array))


def as_tensor(x: Any, dtype: Any = None, like: np.dtype | None = None) -> Tensor:
    """Tensor, Variable, NumPy array, scalar or nested sequence as a Tensor.

    A bare Python scalar takes the dtype `like` where that loses nothing in kind (2 beside float32 is float32).
    Floats in sequences become float32, as everything made from Python numbers.
    """
    if isinstance(x, Tensor):
        return x
    if isinstance(x, Variable):
        return x.value
    if isinstance(x, np.ndarray | np.generic):
        array = np.asarray(unmasked(x))
        return leaf(np.asarray(array, dtype=_target(array, dtype)))
    if isinstance(x, bool | int | float):
        return leaf(_scalar(x, dtypes.canonical(dtype) if dtype is not None else dtypes.of_scalar(x, like)))
    return _from_sequence(x, dtype)


def _target(array: np.ndarray, dtype: Any) -> np.dtype:
    number = array.dtype.kind in "biuf"  # strings and complex numbers are refused by name
    return dtypes.canonical(dtype if dtype is not None and number else array.dtype)


def _scalar(x: Any, dtype: np.dtype) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):
            return np.asarray(x, dtype=dtype)
    except OverflowError:
        raise errors.DTypeError(errors.explain(f"{x} does not fit into {dtype}", got=str(x),
                                               expected=str(dtype))) from None


def _from_sequence(x: Any, dtype: Any) -> Tensor:
    if contains(x, Tensor | Variable):
        raise errors.ArgumentError(errors.explain("a list of tensors is not an array yet",
                                                  fix="join them with cr.stack([...])"))
    array = _numpy(unmasked(x), None if dtype is None else dtypes.canonical(dtype))
    if (
        dtype is None
        and array.dtype.kind == "f"
        and isinstance(x, list | tuple)
        and not contains(x, np.ndarray | np.generic)
    ):
        dtype = dtypes.DEFAULT_FLOAT
    return leaf(np.asarray(array, dtype=_target(array, dtype)))


def _numpy(x: Any, dtype: np.dtype | None) -> np.ndarray:
    """`x` as NumPy takes it, then in `dtype`: never from texts, and None is no number."""
    try:
        array = np.asarray(x)
    except (ValueError, TypeError):
        raise _no_array(x) from None
    if dtype is None or array.dtype.kind not in "biufO" or (array.dtype == object and not contains_only_numbers(x)):
        if array.dtype == object:
            raise _no_array(x)
        return array
    try:
        return np.asarray(x, dtype)
    except (OverflowError, ValueError, TypeError):
        raise errors.DTypeError(errors.explain(f"a number does not fit into {dtype}", got=brief(x),
                                               expected=str(dtype))) from None


def _no_array(x: Any) -> errors.ShapeError:
    """The error for what holds no numbers; its type may say under `instead_of_array` what to do with it."""
    if isinstance(x, list | tuple):
        return errors.ShapeError(errors.explain(
            "these values do not form an array", got=f"{type(x).__name__} of unequal rows or of objects",
            expected="numbers in equally long rows", fix="pad the rows to one length"))
    return errors.ShapeError(errors.explain("this is not an array", got=type(x).__name__,
                                            expected="a tensor, a NumPy array or nested lists of numbers",
                                            fix=getattr(type(x), "instead_of_array",
                                                        "make an array of numbers of it first")))


def contains_only_numbers(x: Any) -> bool:
    """Whether the nested sequence `x` holds numbers and nothing else; large ones make an array of objects."""
    return (all(map(contains_only_numbers, x)) if isinstance(x, list | tuple)
            else isinstance(x, bool | int | float | np.number))


def contains(x: Any, kinds: Any) -> bool:
    """Whether the nested sequence `x` holds an instance of `kinds`."""
    return isinstance(x, kinds) or (isinstance(x, list | tuple) and any(contains(item, kinds) for item in x))
