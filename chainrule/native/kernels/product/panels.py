# SPDX-License-Identifier: Apache-2.0
"""Panels of a right operand packed once for many products: the weights of a loop, which every step reads.

In: how the operand lies and how wide the products' column tiles are. Out: a function that writes panel after panel,
each one column tile wide with its steps in turn, as the register tile reads them: front to back, from few pages, and
without a transpose or (of bfloat16) an interleaving in every step.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from llvmlite import ir

from ...llvm.writer import INDEX, POINTER, Index, Writer, constant, open_function
from ...target import Target
from .pack import Panel, emit_pack
from .pack_pairs import emit_pairs
from .product import ProductSpec, make_plan

FEWEST = 8  # products with the same panels
MOST_ROWS = 128  # of the left operand, which every panel meets as a whole


@dataclass(frozen=True)
class Panels:
    """The right operand of products, (k, n) with strides in elements, cut into panels of `width` columns, a whole
    number of vectors."""

    dtype: str
    narrow: bool
    k: int
    n: int
    strides: tuple[int, int]
    width: int
    lanes: int

    @property
    def steps(self) -> int:
        """Steps of the reduction: pairs of elements if they are bfloat16."""
        return -(-self.k // 2) if self.narrow else self.k

    @property
    def count(self) -> int:
        """How many panels there are; each can be packed by another thread."""
        return -(-self.n // self.width)

    @property
    def size(self) -> int:
        """Elements of all panels (of bfloat16: pairs); the last one is as wide as its columns need."""
        return self.steps * -(-self.n // self.lanes) * self.lanes


def panels_of(spec: ProductSpec, target: Target) -> Panels:
    """The panels that a product with `packed` reads."""
    plan, lanes = make_plan(dataclasses.replace(spec, packed=True), target), target.lanes(spec.dtype)
    return Panels(spec.dtype, spec.narrow, spec.k, spec.n, spec.b_strides[-2:], plan.vectors * lanes,
                  lanes)  # type: ignore[arg-type]


def panels_pay(spec: ProductSpec, target: Target, length: int) -> bool:
    """Whether a product that is made `length` times with one right operand shall have it packed once.

    Law: packing costs about as much as one of the products, so it pays from a few on; column tiles are taken one by
    one, so the left operand must stay in the cache meanwhile, and a narrow one be readable as pairs where it lies.
    """
    dense = not spec.batch and spec.m <= MOST_ROWS and spec.c_strides[-1] == 1 and spec.n >= target.lanes(spec.dtype)
    return dense and length >= FEWEST and (not spec.narrow or spec.reads_pairs)


def emit_panels(module: ir.Module, name: str, panels: Panels, target: Target) -> ir.Function:
    """The function ``void (b, panels, i64 begin, i64 end)`` that packs some of the panels."""
    arguments = [("b", POINTER), ("panels", POINTER), ("begin", INDEX), ("end", INDEX)]
    function, writer = open_function(module, name, arguments, panels.dtype, target)
    b, place, begin, end = function.args
    whole, rest = divmod(panels.n, panels.width)
    with writer.loop(begin, writer.minimum(end, whole)) as number:
        _pack(writer, panels, b, place, writer.mul(number, panels.width), panels.width)
    if rest:
        with writer.builder.if_then(writer.less(whole, end)):
            _pack(writer, panels, b, place, whole * panels.width, rest)
    writer.builder.ret_void()
    return function


def _pack(writer: Writer, panels: Panels, b: ir.Value, place: ir.Value, column: Index, valid: int) -> None:
    """One panel: the columns from `column` on, of which `valid` exist."""
    step, across = panels.strides
    panel = Panel(panels.dtype, -(-valid // panels.lanes) * panels.lanes, valid, across, step)
    emit, kind = (emit_pairs, ir.IntType(16)) if panels.narrow else (emit_pack, None)
    source = writer.at(b, writer.mul(column, across), kind)
    writer.builder.call(emit(writer.module, panel, writer.target),
                        [source, writer.at(place, writer.mul(column, panels.steps)), constant(panels.k)])
