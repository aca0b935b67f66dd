# SPDX-License-Identifier: Apache-2.0
"""Unpacking: a panel of a matrix of small integers as floats, so that a register tile reads it front to back.

In: integers of 8 or 4 bits, (k, n) with n next to each other, and scales (k / group, n). Out: panel[step, part, column]
= q scale, of each column that exists, zeros in the others. One step is one row of bytes: of 4 bits it has two parts,
row i and row i + k / 2. The panel is as large as the nearest cache, so the integers are all that comes from memory; the
rows ahead are fetched meanwhile, for they lie far apart.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from llvmlite import ir

from ...llvm.writer import (
    INDEX,
    POINTER,
    SHORT,
    Index,
    Writer,
    constant,
    in_all_lanes,
    intrinsic,
    load_lanes,
    open_function,
)
from ...target import Target

OFFSET = 8  # that numbers of 4 bits are kept with
BYTE, WORD = ir.IntType(8), ir.IntType(32)


@dataclass(frozen=True)
class Packing:
    """How the right operand of a product is kept: in `bits` bits, with a scale for each column of `group` rows."""

    bits: int
    group: int

    @property
    def parts(self) -> int:
        """Rows of the matrix in one row of bytes."""
        return 8 // self.bits


@dataclass(frozen=True)
class Unpacking:
    """The constants of one function: `valid` columns of `width` exist; `n` columns and `k` rows in all; rows of bytes
    `ahead` are fetched."""

    dtype: str
    packing: Packing
    width: int
    valid: int
    n: int
    k: int
    ahead: int

    @property
    def name(self) -> str:
        """The name of the function in its module."""
        return f"unpack_{SHORT[self.dtype]}_{self.width}_{hashlib.sha256(repr(self).encode()).hexdigest()[:16]}"


def emit_unpack(module: ir.Module, unpacking: Unpacking, target: Target) -> ir.Function:
    """The function ``void (integers, scales, panel, i64 start, i64 count)`` that unpacks rows of bytes; both pointers
    are at the first column."""
    known = module.globals.get(unpacking.name)
    if known:
        return known
    arguments = [("integers", POINTER), ("scales", POINTER), ("panel", POINTER), ("start", INDEX), ("count", INDEX)]
    function, writer = open_function(module, unpacking.name, arguments, unpacking.dtype, target, internal=True)
    integers, scales, panel, start, count = function.args
    parts, half = unpacking.packing.parts, unpacking.k // unpacking.packing.parts
    with writer.loop(0, count) as step:
        row = writer.add(start, step)
        source = writer.at(integers, writer.mul(row, unpacking.n), BYTE)
        groups = [writer.divide(writer.add(row, part * half), unpacking.packing.group)[0] for part in range(parts)]
        here = [writer.at(scales, writer.mul(group, unpacking.n)) for group in groups]
        _row(writer, unpacking, source, here, writer.at(panel, writer.mul(step, parts * unpacking.width)))
        _fetch(writer, unpacking, source)
    writer.builder.ret_void()
    return function


def _row(writer: Writer, unpacking: Unpacking, source: ir.Value, scales: list[ir.Value], panel: ir.Value) -> None:
    """One row of bytes, vector by vector."""
    for first in range(0, unpacking.width, writer.lanes):
        exist = max(0, min(writer.lanes, unpacking.valid - first))
        mask = None if exist == writer.lanes else writer.mask(exist)
        raw = load_lanes(writer.builder, BYTE, writer.lanes, writer.at(source, first, BYTE), mask) if exist else None
        for part, numbers in enumerate(_numbers(writer, unpacking.packing.bits, raw)):
            value = (writer.builder.fmul(numbers, writer.load_vector(writer.at(scales[part], first), mask)) if exist
                     else writer.zeros())
            writer.store_vector(value, writer.at(panel, part * unpacking.width + first))


def _numbers(writer: Writer, bits: int, raw: ir.Value | None) -> list[ir.Value]:
    """The integers of a vector of bytes as floats, one vector for each part."""
    if raw is None:
        return [writer.zeros()] * (8 // bits)
    b, wide = writer.builder, ir.VectorType(WORD, writer.lanes)
    if bits == 8:
        return [b.sitofp(b.sext(raw, wide), writer.vector)]
    both, all_lanes = b.zext(raw, wide), lambda value: in_all_lanes(b, WORD(value), writer.lanes)
    halves = b.and_(both, all_lanes(15)), b.lshr(both, all_lanes(4))
    return [b.sitofp(b.sub(half, all_lanes(OFFSET)), writer.vector) for half in halves]


def _fetch(writer: Writer, unpacking: Unpacking, source: ir.Value) -> None:
    """Bring a row of bytes nearer that comes later; there may be none, a fetch never fails."""
    narrow = ir.IntType(32)
    function = intrinsic(writer.module, "llvm.prefetch.p0", ir.VoidType(), [POINTER, narrow, narrow, narrow])
    ahead: Index = unpacking.ahead * unpacking.n
    for place in sorted({*range(0, unpacking.valid, 64), unpacking.valid - 1}):
        address = writer.builder.gep(source, [constant(writer.add(ahead, place))], source_etype=BYTE)
        writer.builder.call(function, [address, narrow(0), narrow(3), narrow(1)])
