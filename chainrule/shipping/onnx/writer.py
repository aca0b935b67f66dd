# SPDX-License-Identifier: Apache-2.0
"""`Writer`: an ONNX graph as it grows, and the extents that are known in it; `Value`, an array in it.

Arrays that are the same along some axes stay small: a `Value` that is *thin* has the rank of its type or less, and
broadcasts to it. ONNX broadcasts the operands of what works on elements itself, so only what moves elements about asks
for the full array.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ...errors import ArgumentError, explain
from ..sizes import Sizes, fixed
from . import wire

OPSET, IR_VERSION = 18, 8
LAST = 2**63 - 1


@dataclass(frozen=True)
class Value:
    """The name of an array; `thin` if it only broadcasts to its type."""

    name: str
    thin: bool = False


@dataclass
class Operation:
    """One node: encoded when the graph is finished, if somebody needs what it gives."""

    kind: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    bodies: dict[str, Writer]
    name: str


class Writer:
    """A graph: `above` is the one around the body of a loop, whose arrays it may read."""

    def __init__(self, above: Writer | None = None):
        self.above = above
        self.root: Writer = above.root if above else self
        self.operations: list[Operation] = []
        self.known: dict[Sizes, tuple[str, int]] = {}  # sizes of an axis -> an array and its axis
        self.extents: dict[Sizes, str] = {}  # sizes -> int64[1]
        self.results: list[str] = []
        self.layer = ""
        self.longest: int = above.longest if above else 0  # extent of a free axis for which tables are made
        if above is None:
            self.tensors: dict[str, np.ndarray] = {}
            self._constants: dict[Any, str] = {}
            self._numbers = itertools.count()
            self._moved: dict[Any, str] = {}

    # ---- what is written

    def new(self, hint: str) -> str:
        """A name that nothing has yet."""
        return f"{hint}_{next(self.root._numbers)}"

    def add(self, kind: str, *inputs: str, outputs: int = 1, bodies: dict[str, Writer] | None = None,
            **attributes: Any) -> Any:
        """One node; the name of its result, or of its results."""
        names = [self.new(kind.lower()) for _ in range(outputs)]
        name = f"{self.layer}/{names[0]}" if self.layer else names[0]
        self.operations.append(Operation(kind, list(inputs), names, attributes, bodies or {}, name))
        return names[0] if outputs == 1 else names

    def constant(self, array: Any, dtype: Any = None, hint: str = "constant") -> str:
        """An array that stands in the file; equal small ones are one."""
        array = np.asarray(array, dtype)
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size <= 64 else id(array)
        if key not in self.root._constants:
            name = hint if hint not in self.root.tensors and hint != "constant" else self.new(hint)
            self.root.tensors[name] = array
            self.root._constants[key] = name
        return self.root._constants[key]

    def integers(self, *numbers: int) -> str:
        """int64[n]."""
        return self.constant(np.array(numbers, np.int64))

    def transposed(self, name: str, axes: Sequence[int]) -> str:
        """An array with its axes in another order; what stands in the file is turned there."""
        axes = tuple(axes)
        if axes == tuple(range(len(axes))):
            return name
        if name not in self.root.tensors:
            return str(self.add("Transpose", name, perm=axes))
        if (name, axes) not in self.root._moved:
            self.root._moved[name, axes] = moved = self.new(name)
            self.root.tensors[moved] = np.ascontiguousarray(self.root.tensors[name].transpose(axes))
        return self.root._moved[name, axes]

    # ---- extents

    def learn(self, name: str, extents: Sequence[Sizes]) -> None:
        """The axes of this array have these sizes."""
        for axis, sizes in enumerate(extents):
            if not fixed(sizes) and all(sizes not in writer.known for writer in self._scopes()):
                self.known[sizes] = name, axis

    def _scopes(self) -> Iterator[Writer]:
        writer: Writer | None = self
        while writer is not None:
            yield writer
            writer = writer.above

    def extent(self, sizes: Sizes) -> str:
        """int64[1]: the number that has these sizes; ArgumentError if it cannot be computed from what is known."""
        if fixed(sizes):
            return self.integers(sizes[0])
        for writer in self._scopes():
            if sizes in writer.extents:
                return writer.extents[sizes]
        self.extents[sizes] = found = self._extent(sizes)
        return found

    def teach(self, sizes: Sizes, name: str) -> str:
        """int64[1]: what has these sizes is computed so."""
        return self.extents.setdefault(sizes, name)

    def _extent(self, sizes: Sizes) -> str:
        known = {s: place for writer in self._scopes() for s, place in writer.known.items()}
        if sizes in known:
            name, axis = known[sizes]
            return str(self.add("Shape", name, start=axis, end=axis + 1))
        for s in known:
            if (line := _line(s, sizes)) is not None:
                return self._scaled(self.extent(s), *line)
        for count in (2, 3):
            for some in itertools.combinations_with_replacement(known, count):
                product = tuple(int(np.prod(numbers, dtype=object)) for numbers in zip(*some, strict=True))
                if (line := _line(product, sizes)) is not None and not line[1]:
                    return self._scaled(self._product([self.extent(s) for s in some]), *line)
        for some in itertools.combinations(known, 2):
            if tuple(a + b for a, b in zip(*some, strict=True)) == sizes:
                return str(self.add("Add", *(self.extent(s) for s in some)))
        raise ArgumentError(explain("a size depends on the free axes in a way that cannot be written",
                                    got=f"{sizes} for {list(known)}", layer=self.layer or None))

    def _product(self, names: list[str]) -> str:
        product = names[0]
        for name in names[1:]:
            product = self.add("Mul", product, name)
        return product

    def _scaled(self, name: str, factor: Fraction, shift: Fraction) -> str:
        """(numerator x + rest) / denominator, which leaves no remainder."""
        below = factor.denominator * shift.denominator
        up, rest = int(factor * below), int(shift * below)
        name = self.add("Mul", name, self.integers(up)) if up != 1 else name
        name = self.add("Add", name, self.integers(rest)) if rest else name
        return self.add("Div", name, self.integers(below)) if below != 1 else name

    def shape(self, extents: Sequence[Sizes]) -> str:
        """int64[n]: a shape."""
        if all(map(fixed, extents)):
            return self.integers(*(sizes[0] for sizes in extents))
        parts = [self.integers(*(s[0] for s in group)) if still else None for still, group in _groups(extents)]
        groups = _groups(extents)
        names = [part if part is not None else self.extent(group[0])
                 for part, (_, group) in zip(parts, groups, strict=True)]
        return names[0] if len(names) == 1 else str(self.add("Concat", *names, axis=0))

    # ---- the end

    def needed(self) -> set[str]:
        """Drop what nobody needs; returns the names that are read from outside."""
        wanted, kept = set(self.results), []
        for operation in reversed(self.operations):
            if wanted.isdisjoint(operation.outputs):
                continue
            kept.append(operation)
            wanted.update(operation.inputs)
            for body in operation.bodies.values():
                wanted |= body.needed()
        self.operations = kept[::-1]
        return wanted - {name for operation in self.operations for name in operation.outputs}

    def encoded(self) -> Iterator[bytes]:
        """The nodes."""
        for one in self.operations:
            bodies = {name: body.packed for name, body in one.bodies.items()}
            yield wire.node(one.kind, one.inputs, one.outputs, one.name, {**one.attributes, **bodies})

    inputs: Sequence[bytes] = ()
    outputs: Sequence[bytes] = ()

    @property
    def packed(self) -> wire.Packed:
        """The body of a loop as a message."""
        return wire.graph(self.new("body"), self.encoded(), self.inputs, self.outputs)


def _groups(extents: Sequence[Sizes]) -> list[tuple[bool, list[Sizes]]]:
    """Neighbours that are fixed, together; each of the others alone."""
    numbered = [(fixed(sizes), 0 if fixed(sizes) else i + 1, sizes) for i, sizes in enumerate(extents)]
    return [(key[0], [sizes for *_, sizes in group])
            for key, group in itertools.groupby(numbered, key=lambda item: item[:2])]


def _line(x: Sizes, y: Sizes) -> tuple[Fraction, Fraction] | None:
    """(a, b) with y = a x + b everywhere; None if there are none."""
    places = [i for i in range(1, len(x)) if x[i] != x[0]]
    if not places:
        return None
    factor = Fraction(y[places[0]] - y[0], x[places[0]] - x[0])
    shift = y[0] - factor * x[0]
    return (factor, shift) if factor and all(factor * a + shift == b for a, b in zip(x, y, strict=True)) else None
