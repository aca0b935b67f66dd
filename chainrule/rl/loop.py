# SPDX-License-Identifier: Apache-2.0
"""`repeat`: a loop inside a program whose body may read and assign Variables, such as a rollout: they are what it carries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import arrays as cr
from ..ir import Tensor, as_tensor
from ..ir.bind import bind
from ..ir.graph import close, input_node
from ..ir.node import Type
from ..ir.trace import tracing
from ..ops.scan import SCAN, _outside


def repeat(body: Callable[..., Sequence[Any]], length: int, sequences: Sequence[Any] = (), *, reverse: bool = False) -> tuple[Tensor, ...]:
    """ys[i] = body(i, *(x[i] for x in sequences)) for i = 0, …, length - 1; returns the stacked ys.

    The body is traced once. What it assigns to Variables is there in the next step, and after the loop.
    """
    sliced = [as_tensor(np.arange(length)), *map(as_tensor, sequences)]
    symbols = [input_node(Type(x.shape[1:], x.dtype)) for x in sliced]
    with tracing() as trace:
        ys = [as_tensor(y).node for y in body(*map(Tensor, symbols))]
    written = list(trace.writes)
    carried = [trace.reads[v] if v in trace.reads else input_node(v.type) for v in written]
    read = [v for v in trace.reads if v not in trace.writes]
    outputs = [*trace.writes.values(), *ys]
    outside = _outside(symbols, outputs)
    places = {node: input_node(node.type) for node in outside}
    graph = close((*carried, *symbols, *(trace.reads[v] for v in read), *places.values()), outputs, instead=places)
    results = bind(SCAN, *(v.value for v in written), *sliced, *(v.value for v in read), *map(Tensor, outside), body=graph,
                   carries=len(written), sequences=len(sliced), length=length, reverse=reverse, history=False)
    for variable, value in zip(written, results, strict=False):
        variable.assign(value)
    return tuple(results[len(written):])


def flat(x: Tensor) -> Tensor:
    """(steps, batch, …) as (steps × batch, …)."""
    return cr.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))
