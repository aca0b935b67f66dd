# SPDX-License-Identifier: Apache-2.0
"""The epilogue of a product as expressions: a map over rows and columns of its result.

In: stores of expressions whose positions are affine in the row and the column; the load of the product's own result is
the vector in the registers. Out: the callback that `kernel_finish` calls with each vector of a finished tile. What does
not depend on the column is loaded once per row, what does not depend on the row is hoisted out of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from llvmlite import ir

from ..buffers import Buffer
from ..llvm import operations
from ..llvm.math.lanes import splat
from ..llvm.writer import POINTER, Index, Writer, constant, intrinsic, load_lanes, spread, store_lanes
from ..target import Target
from .affine import Form, Var, add, coefficient, form_of, scale, text
from .expression import Expression, Store, expression_text, operands_of

SPECIAL = ("take", "require", "random", "position", "guard")


@dataclass
class Finish:
    """A map behind a product: `own` is the slot of the product's result, `main` the store that takes its place, if any.
    """

    row: Var | None
    column: Var
    stores: list[Store]
    buffers: list[Any]
    own: int
    main: int | None = None

    @property
    def place(self) -> Form:
        """The position of an element in the product's result."""
        row = scale(form_of(self.row), self.column.n) if self.row else form_of(self.column)
        return add(row, form_of(self.column)) if self.row else row

    def operations(self) -> list[Expression]:
        """All expressions, arguments first."""
        return operands_of(self.stores)

    def is_possible(self) -> bool:
        """Whether the callback can compute everything: plain loads and stores, the product's result at its own element.
        """
        if any(self._step(s.form) != 1 or s.slot == self.own for s in self.stores):
            return False
        return all(x.kind not in SPECIAL and (x.kind != "load" or self._is_plain(x)) for x in self.operations())

    def _is_plain(self, x: Expression) -> bool:
        slot, form, conditions = x.attr
        if conditions or self._step(form) not in (0, 1):
            return False
        return form == self.place if slot == self.own else True

    def _step(self, form: Form) -> int | None:
        """How far apart neighbouring columns lie; None where a position is not affine."""
        return None if any(v.kind != "i" for v, _ in form.terms) else coefficient(form, self.column)

    def extras(self) -> list[Buffer]:
        """The buffers behind the extra pointers, in order."""
        taken = None if self.main is None else self.buffers[self.stores[self.main].slot]
        own = self.buffers[self.own]
        slots = [x.attr[0] for x in self.operations() if x.kind == "load"] + [s.slot for s in self.stores]
        return [b for b in dict.fromkeys(self.buffers[i] for i in slots) if b is not own and b is not taken]

    def anywhere(self) -> Finish:
        """The same map on buffers of which nothing is known but which of them are one, and their dtypes."""
        others = {b: Buffer((), b.dtype) for b in self.buffers}
        return replace(self, buffers=[others[b] for b in self.buffers])

    @property
    def text(self) -> str:
        """The map as text."""
        extras = self.extras()
        number = lambda slot: extras.index(self.buffers[slot]) if self.buffers[slot] in extras else "own"
        lines: list[str] = []
        names: dict[Expression, str] = {}
        slots = " ".join(f"b{i}: {number(i)} {b.dtype}" for i, b in enumerate(self.buffers))
        for i, store in enumerate(self.stores):
            value = expression_text(store.value, names, lines)
            lines.append(f"b{store.slot}[{text(store.form)}] = {value}{' stays' if i == self.main else ''}")
        return "\n".join([f"rows {self.row} columns {self.column} {slots} result b{self.own}", *lines])

    def streams(self) -> list[tuple[int, Form, bool]]:
        """(slot, position, whether it is stored) of what differs from element to element."""
        loads = {(x.attr[0], x.attr[1]) for x in self.operations() if x.kind == "load" and x.attr[0] != self.own}
        stores = {(s.slot, s.form) for i, s in enumerate(self.stores) if i != self.main}
        both = dict.fromkeys([*sorted(loads - stores, key=str), *sorted(stores, key=str)])
        return [(*x, x in stores) for x in both if self.row
                and all(coefficient(x[1], v) for v in (self.row, self.column))]

    def emitter(self, target: Target) -> FinishEmitter:
        """The callback; see `kernel_finish`."""
        return FinishEmitter(self, target)


class FinishEmitter:
    """The callback of a `Finish`: called with a vector it computes the map; `ahead` fetches what it will read."""

    def __init__(self, finish: Finish, target: Target):
        self.finish, self.target = finish, target
        self.places = {b: i for i, b in enumerate(finish.extras())}
        self.reads_ahead = bool(finish.streams())

    def __call__(self, builder: ir.IRBuilder, value: ir.Value, row: Index, column: Index, mask: ir.Value | None,
                 pointers: list[ir.Value]) -> ir.Value:
        return self._vector(builder, value, row, column, mask, pointers).run()

    def ahead(self, builder: ir.IRBuilder, row: Index, column: Index, pointers: list[ir.Value]) -> None:
        """Bring the cache lines of one vector nearer before the sums are made; they lie in short pieces far apart."""
        vector = self._vector(builder, None, row, column, None, pointers)
        kinds = [POINTER, *[ir.IntType(32)] * 3]
        function = intrinsic(builder.module, "llvm.prefetch.p0", ir.VoidType(), kinds)
        for slot, form, stored in self.finish.streams():
            type_ = operations.memory_type(self.finish.buffers[slot].dtype)
            builder.call(function, [vector.at(slot, form, type_), *map(ir.IntType(32), (int(stored), 2, 1))])

    def _vector(self, builder: ir.IRBuilder, value: ir.Value | None, row: Index, column: Index, mask: ir.Value | None,
                pointers: list[ir.Value]) -> _Vector:
        slots = {i: pointers[self.places[b]] for i, b in enumerate(self.finish.buffers) if b in self.places}
        return _Vector(self.finish, builder, self.target, value, (row, column), mask, slots)


class _Vector:
    """The map of one vector being written."""

    def __init__(self, finish: Finish, builder: ir.IRBuilder, target: Target, value: ir.Value | None,
                 place: tuple[Index, Index], mask: ir.Value | None, slots: dict[int, ir.Value]):
        self.finish, self.builder, self.own, self.place = finish, builder, value, place
        self.mask, self.slots = mask, slots
        self.writer = Writer(builder, "float32", target)
        self.known: dict[Expression, ir.Value] = {}

    def run(self) -> ir.Value:
        """Store what is stored elsewhere; the vector that stays in the product's result."""
        result = self.own
        values = [spread(self.builder, self.value(store.value), self.writer.lanes) for store in self.finish.stores]
        for i, (store, value) in enumerate(zip(self.finish.stores, values, strict=True)):
            if i == self.finish.main:
                result = value
                continue
            type_ = operations.memory_type(store.value.dtype)
            if store.value.dtype == "bool":
                value = self.builder.zext(value, ir.VectorType(type_, self.writer.lanes))
            store_lanes(self.builder, value, self.at(store.slot, store.form, type_), self.mask)
        return result

    def value(self, x: Expression) -> ir.Value:
        """The value of an expression: a vector, or a scalar if it is the same for all columns."""
        if x not in self.known:
            self.known[x] = self._made(x)
        return self.known[x]

    def _made(self, x: Expression) -> ir.Value:
        if x.kind == "constant":
            return operations.constant(x.dtype, x.attr)
        if x.kind == "load":
            return self.own if x.attr[0] == self.finish.own else self._load(x)
        values = [self.value(a) for a in x.args]
        if any(isinstance(v.type, ir.VectorType) for v in values):
            values = [spread(self.builder, v, self.writer.lanes) for v in values]
        return operations.operation(self.builder, x.kind, x.dtype, [a.dtype for a in x.args], values)

    def _load(self, x: Expression) -> ir.Value:
        slot, form, _ = x.attr
        b, type_ = self.builder, operations.memory_type(x.dtype)
        pointer = self.at(slot, form, type_)
        if coefficient(form, self.finish.column):
            raw = load_lanes(b, type_, self.writer.lanes, pointer, self.mask)
        else:
            raw = b.load(pointer, typ=type_)
        return b.icmp_unsigned("!=", raw, splat(raw.type, 0)) if x.dtype == "bool" else raw

    def at(self, slot: int, form: Form, type_: ir.Type) -> ir.Value:
        """The address of the first lane."""
        finish, writer, (row, column) = self.finish, self.writer, self.place
        step = coefficient(form, finish.row) if finish.row else 0
        place = writer.add(writer.mul(row, step or 0), writer.mul(column, coefficient(form, finish.column) or 0))
        return self.builder.gep(self.slots[slot], [constant(writer.add(place, form.const))], source_etype=type_)
