# SPDX-License-Identifier: Apache-2.0
"""The epilogue: what happens to a finished tile of results while it is still in the L1 cache.

An epilogue is a function `epilogue(builder, value, row, column, mask, pointers) -> value`. It gets one vector of
results, the flat index of its row, the index of its first column, the mask of the columns that exist (None: all) and
the extra pointers that the caller of the kernel passes after the result; it may load and store through them. The named
steps of a spec (bias, relu, residual) are made into such a function here; a new step is one function in `STEPS`.
The result must not share memory with the extra pointers, because sums pass through it before they are finished.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from ...errors import ArgumentError, explain
from ..llvm.writer import INDEX, POINTER, Index, Writer, constant, open_function
from ..target import Target

Epilogue = Callable[[ir.IRBuilder, ir.Value, ir.Value, ir.Value, ir.Value | None, list[ir.Value]], ir.Value]


def _bias(writer: Writer, value: ir.Value, row: Index, column: Index, mask: ir.Value | None, columns: int,
          pointer: ir.Value) -> ir.Value:
    return writer.builder.fadd(value, writer.load_vector(writer.at(pointer, column), mask))


def _residual(writer: Writer, value: ir.Value, row: Index, column: Index, mask: ir.Value | None, columns: int,
              pointer: ir.Value) -> ir.Value:
    place = writer.add(writer.mul(row, columns), column)
    return writer.builder.fadd(value, writer.load_vector(writer.at(pointer, place), mask))


def _relu(writer: Writer, value: ir.Value, *_: object) -> ir.Value:
    below = writer.builder.fcmp_ordered("<", value, writer.zeros())  # a NaN stays a NaN
    return writer.builder.select(below, writer.zeros(), value)


# name of a step: (how many extra pointers it takes, its function)
STEPS: dict[str, tuple[int, Callable[..., ir.Value]]] = {"bias": (1, _bias), "relu": (0, _relu),
                                                         "residual": (1, _residual)}


def named_epilogue(steps: Sequence[tuple[str, ...]], dtype: str, columns: int,
                   target: Target) -> tuple[Epilogue | None, int]:
    """The epilogue made of named steps and the number of extra pointers it takes; `columns` is the length of a row."""
    unknown = [step for step, *_ in steps if step not in STEPS]
    if unknown:
        raise ArgumentError(explain(f"no epilogue step is called {unknown[0]!r}", expected=", ".join(STEPS)))

    def epilogue(builder: ir.IRBuilder, value: ir.Value, row: ir.Value, column: ir.Value, mask: ir.Value | None,
                 pointers: list[ir.Value]) -> ir.Value:
        writer, left = Writer(builder, dtype, target), list(pointers)
        for step, *_ in steps:
            count, function = STEPS[step]
            value = function(writer, value, row, column, mask, columns, *[left.pop(0) for _ in range(count)])
        return value

    return (epilogue if steps else None), sum(STEPS[step][0] for step, *_ in steps)


def emit_finish(module: ir.Module, name: str, dtype: str, out_step: int, columns: int, epilogue: Epilogue,
                pointers: int, target: Target) -> ir.Function:
    """The function ``void (out, row, row step, column, rows, extras…)`` that finishes `columns` columns of rows in
    place."""
    name = f"{name}_{columns}"
    known = module.globals.get(name)
    if known:
        return known
    arguments = [("out", POINTER), ("row", INDEX), ("row_step", INDEX), ("column", INDEX), ("rows", INDEX)]
    arguments += [(f"extra{number}", POINTER) for number in range(pointers)]
    function, writer = open_function(module, name, arguments, dtype, target, internal=True)
    out, first_row, row_step, first_column, rows, *extras = function.args
    out.add_attribute("noalias")  # so that what does not change from row to row is loaded once
    whole, rest = divmod(columns, writer.lanes)
    with writer.loop(0, rows) as number:
        here = writer.at(out, writer.mul(number, out_step))
        row = writer.add(first_row, writer.mul(number, row_step))
        for vector in range(whole + bool(rest)):
            mask = writer.mask(rest) if vector == whole else None
            place, column = writer.at(here, vector * writer.lanes), writer.add(first_column, vector * writer.lanes)
            value = epilogue(writer.builder, writer.load_vector(place, mask), row, constant(column), mask, extras)
            writer.store_vector(value, place, mask)
    writer.builder.ret_void()
    return function


def emit_ahead(module: ir.Module, name: str, dtype: str, columns: int, epilogue: Epilogue, pointers: int,
               target: Target) -> ir.Function:
    """The function ``void (row, row step, column, rows, extras…)`` that fetches what `emit_finish` will need of the
    extras."""
    name = f"{name}_ahead_{columns}"
    known = module.globals.get(name)
    if known:
        return known
    arguments = [("row", INDEX), ("row_step", INDEX), ("column", INDEX), ("rows", INDEX)]
    arguments += [(f"extra{number}", POINTER) for number in range(pointers)]
    function, writer = open_function(module, name, arguments, dtype, target, internal=True)
    first_row, row_step, first_column, rows, *extras = function.args
    with writer.loop(0, rows) as number:
        row = writer.add(first_row, writer.mul(number, row_step))
        for column in range(0, columns, writer.lanes):
            epilogue.ahead(writer.builder, row, writer.add(first_column, column), extras)  # type: ignore[attr-defined]
    writer.builder.ret_void()
    return function
