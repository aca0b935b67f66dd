# SPDX-License-Identifier: Apache-2.0
"""Sparse gradients of embedding tables: gradients of tables, as the rows that a batch took of them.

In: the gradient of a table of V rows, as back-propagation writes it: zeros, to which rows are added at `ids` (an
Embedding of K ids). Out: `Rows`, K ids and K rows, which an optimiser can use without touching the other V - K rows of
the table and of its slots: a step costs the same for any V. Equal ids are added up first where the rule is not linear.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..ir import Node, Tensor
from ..ir.node import CONSTANT
from ..ops import reduce as reductions
from ..ops.compose import concat, not_equal
from ..ops.elementwise import astype, equal, where, zeros_like
from ..ops.index import SCATTER, argsort, iota, scatter, take
from ..ops.movement import reshape

VIEWS = ("broadcast", "reshape", "cast")
FEW = 1024  # ids that are compared with each other; more are sorted, which leaves the machine code of the step
NOWHERE = 2**62  # a row that no table has: what is written there is dropped


@dataclass(frozen=True)
class Rows:
    """`values` (K, ...) at rows `ids` (K,), int64, of a table of `shape`; the values of equal ids add up."""

    ids: Tensor
    values: Tensor
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        """Of the values."""
        return self.values.dtype

    @cached_property
    def place(self) -> Tensor:
        """For each id, the last place at which it occurs; int64 (K,)."""
        count = self.ids.shape[0]
        if count <= FEW:
            same = equal(self.ids[:, None], self.ids[None, :])
            return reductions.max(where(same, iota((count, count), 1), 0), axis=1)
        order = argsort(self.ids)
        ordered = take(self.ids, order, axis=0)
        changes, zeros = astype(not_equal(ordered[1:], ordered[:-1]), "int64"), iota((count,), 0) * 0
        number = reductions.cumulative_sum(concat([zeros[:1], changes]))
        last = scatter(zeros, number, order * concat([changes, zeros[:1] + 1]))  # one of each group counts
        return scatter(zeros, order, take(last, number, axis=0), mode="set")

    @cached_property
    def totals(self) -> Tensor:
        """(K, ...): the sum of each id's values at its last place, 0 at its other places."""
        return scatter(zeros_like(self.values), self.place, self.values)

    @property
    def each(self) -> Tensor:
        """(K, ...): the sum of its id's values at every place."""
        return take(self.totals, self.place, axis=0)

    def map(self, function: Callable[[Tensor], Tensor]) -> Rows:
        """The rows after a function of elements that leaves 0 alone."""
        return Rows(self.ids, function(self.totals), self.shape)

    def scaled(self, factor: Any) -> Rows:
        """The rows times a number."""
        return Rows(self.ids, self.values * factor, self.shape)


def rows_of(g: Any) -> Rows | None:
    """The rows that make up a gradient, if it is zeros with rows added to them, or a sum of such."""
    found = _parts(g.node) if isinstance(g, Tensor) else None
    if not found:
        return None
    ids = [reshape(astype(Tensor(i), "int64"), (-1,)) for i, _ in found]
    values = [reshape(Tensor(v), (i.shape[0], *g.shape[1:])) for i, (_, v) in zip(ids, found, strict=True)]
    return Rows(*(x[0] if len(x) == 1 else concat(x) for x in (ids, values)), g.shape)


def count_of(g: Any) -> int:
    """How many rows make up a gradient; as many as the table has, if it is not made of rows."""
    found = _parts(g.node) if isinstance(g, Tensor) else None
    return sum(i.type.size for i, _ in found) if found else g.shape[0] if g.shape else 1


def _parts(node: Node) -> list[tuple[Node, Node]]:
    """(ids, rows) of each scatter that is added up; empty where the gradient is something else."""
    if node.op.name == "add":
        parts = [_parts(x) for x in node.inputs]
        return [one for part in parts for one in part] if all(parts) else []
    made_of_rows = (node.op is SCATTER and node.attrs == {"axis": 0, "mode": "add"} and _is_zero(node.inputs[0])
                    and node.inputs[1].type.size)
    return [(node.inputs[1], node.inputs[2])] if made_of_rows else []


def _is_zero(node: Node) -> bool:
    while node.op.name in VIEWS:
        node = node.inputs[0]
    return node.op is CONSTANT and node.type.size == 1 and not np.any(node.attrs.get("value", node.data))
