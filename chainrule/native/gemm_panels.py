# SPDX-License-Identifier: Apache-2.0
"""Panels of a right operand packed once for many products: the weights of a loop, which every step reads.

In: a `ProductSpec` with `packed`, whose strides say how b lies. Out: a function that writes panel after panel, each one
column tile wide with its steps in turn, as the register tile reads them: front to back, from few pages, and without a
transpose or (of bfloat16) an interleaving in every step.
"""

from __future__ import annotations

from llvmlite import ir

from chainrule.native.gemm import SIZES, ProductSpec, canonical, make_plan
from chainrule.native.gemm_pack import Panel, emit_pack
from chainrule.native.gemm_pairs import emit_pairs
from chainrule.native.kernel_build import INDEX, POINTER, Index, Writer, constant, open_function
from chainrule.native.target import Target


def panels_pay(spec: ProductSpec, target: Target, length: int) -> bool:
    """Whether a product that is made `length` times with one right operand shall have it packed once.

    Law: packing costs about as much as one of the products, so it pays from a few on; a narrow left operand must be readable
    as pairs where it lies, because column tiles are taken one by one.
    """
    dense = not spec.batch and spec.c_strides[-1] == 1 and spec.n >= target.lanes(spec.dtype)
    return dense and length >= FEWEST and (not spec.narrow or spec.reads_pairs)


FEWEST = 8  # products with the same panels


def panels_size(spec: ProductSpec, target: Target) -> int:
    """Elements of all panels (of bfloat16: pairs)."""
    lanes = target.lanes(spec.dtype)
    return spec.steps * -(-spec.n // lanes) * lanes


def panel_count(spec: ProductSpec, target: Target) -> int:
    """How many panels there are; each can be packed by another thread."""
    plan = make_plan(canonical(spec, target)[0], target)
    return plan.whole_tiles + bool(plan.rest)


def emit_panels(module: ir.Module, name: str, spec: ProductSpec, target: Target) -> ir.Function:
    """The function ``void (b, panels, i64 begin, i64 end)`` that packs some of the panels."""
    arguments = [("b", POINTER), ("panels", POINTER), ("begin", INDEX), ("end", INDEX)]
    function, writer = open_function(module, name, arguments, spec.dtype, target)
    b, panels, begin, end = function.args
    plan = make_plan(canonical(spec, target)[0], target)
    width = plan.vectors * writer.lanes
    with writer.loop(begin, writer.minimum(end, plan.whole_tiles)) as tile:
        _pack(writer, spec, b, panels, writer.mul(tile, width), width)
    if plan.rest:
        with writer.builder.if_then(writer.less(plan.whole_tiles, end)):
            _pack(writer, spec, b, panels, plan.whole_tiles * width, plan.rest)
    writer.builder.ret_void()
    return function


def _pack(writer: Writer, spec: ProductSpec, b: ir.Value, panels: ir.Value, column: Index, valid: int) -> None:
    """One panel: the columns from `column` on, of which `valid` exist."""
    width = -(-valid // writer.lanes) * writer.lanes
    panel = Panel(spec.dtype, width, valid, spec.b_strides[-1], spec.b_strides[-2])
    emit, kind = (emit_pairs, ir.IntType(16)) if spec.narrow else (emit_pack, None)
    source = writer.at(b, writer.mul(column, spec.b_strides[-1]), kind)
    writer.builder.call(emit(writer.module, panel, writer.target), [source, writer.at(panels, writer.mul(column, spec.steps)), constant(spec.k)])


__all__ = ["SIZES", "emit_panels", "panel_count", "panels_pay", "panels_size"]
