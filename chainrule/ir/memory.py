# SPDX-License-Identifier: Apache-2.0
"""What is said where memory does not suffice: the operation, its layer and line, and how many bytes it wanted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..errors import OutOfMemoryError, describe_frame, explain
from .node import Node, Type

FIX = "use smaller batches or smaller arrays, or give the process more memory"


def _bytes_of(kind: Any) -> int:
    """Bytes of one Type, or of several."""
    return sum(map(_bytes_of, kind)) if isinstance(kind, tuple) else kind.bytes


def _described(kind: Any) -> str:
    """Types and bytes of a result."""
    types = ", ".join(map(str, kind)) if isinstance(kind, tuple) else str(kind)
    return f"{types}: {_bytes_of(kind):,} bytes"


def no_room(error: MemoryError, operation: str, kind: Any, node: Node | None = None) -> MemoryError:
    """The error for an operation that had no room for its result or on the way to it; of what is running, or of `node`.
    """
    if isinstance(error, OutOfMemoryError):
        return error
    at, layer = (None, None) if node is None else (describe_frame(node.where), node.layer)
    return OutOfMemoryError(explain(f"there is not enough memory for {operation!r}", got=_described(kind), fix=FIX,
                                    at=at, layer=layer))


@contextlib.contextmanager
def room_for(operation: str, shape: tuple[int, ...], dtype: Any) -> Iterator[None]:
    """Within, an array of this kind is made by NumPy alone; where there is no room, OutOfMemoryError."""
    try:
        yield
    except MemoryError as error:
        raise no_room(error, operation, Type(shape, np.dtype(dtype))) from None


def no_room_between(size: int, nodes: Iterable[Node]) -> MemoryError:
    """The error for a program without room for `size` bytes of what it keeps from one operation to the next: says which
    is the largest."""
    node = max(nodes, key=lambda x: _bytes_of(x.type))
    return OutOfMemoryError(explain("there is not enough memory for what the compiled program keeps between its "
                                    "operations",
                                    got=f"{size:,} bytes; its largest array is that of {node.op.name!r}, "
                                        f"{_described(node.type)}", fix=FIX,
                                    at=describe_frame(node.where), layer=node.layer))
