# SPDX-License-Identifier: Apache-2.0
"""The small words that kernel generators write machine code with: loops, vectors, masks, transposes.

In: an `ir.IRBuilder`. Out: LLVM IR that needs hardly any optimisation afterwards: loop variables are phi nodes,
constants are folded while writing, addresses are a pointer plus a constant wherever the shape allows it. Integers may
be Python ints or 64-bit LLVM values everywhere; all pointers are opaque, all offsets count elements, never bytes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from llvmlite import ir

from ..target import Target

Index = int | ir.Value

INDEX = ir.IntType(64)
POINTER = ir.PointerType()
ELEMENTS = {"float32": ir.FloatType(), "float64": ir.DoubleType()}
SHORT = {"float32": "f32", "float64": "f64"}


class BFloat(ir.Type):
    """LLVM's type for bfloat16, which llvmlite does not know."""

    intrinsic_name = "bf16"

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloat)

    def __hash__(self) -> int:
        return hash(BFloat)


def constant(value: Index) -> ir.Value:
    """`value` as a 64-bit LLVM value."""
    return ir.Constant(INDEX, value) if isinstance(value, int) else value


class Word(ir.Constant):
    """A vector of equal lanes that is written as one word: most of the text of a kernel would be lists of equal lanes.
    """

    def __init__(self, kind: ir.VectorType, lane: object, word: str):
        super().__init__(kind, [lane] * kind.count)
        self.word = word

    def _get_reference(self) -> str:
        return self.word


def all_zero(kind: ir.VectorType) -> ir.Value:
    """A vector of zeros."""
    return Word(kind, 0, "zeroinitializer")


def undefined(kind: ir.VectorType) -> ir.Value:
    """A vector whose lanes nobody reads."""
    return Word(kind, ir.Undefined, "undef")


def in_all_lanes(b: ir.IRBuilder, value: ir.Value, lanes: int) -> ir.Value:
    """A vector with `value` in every lane."""
    kind, index = ir.VectorType(value.type, lanes), ir.IntType(32)
    single = b.insert_element(undefined(kind), value, index(0))
    return b.shuffle_vector(single, undefined(kind), all_zero(ir.VectorType(index, lanes)))


def intrinsic(module: ir.Module, name: str, result: ir.Type, arguments: Sequence[ir.Type]) -> ir.Function:
    """The declaration of an LLVM intrinsic, made once per module."""
    known = module.globals.get(name)
    return known or ir.Function(module, ir.FunctionType(result, arguments), name)


class Writer:
    """A builder that knows the element type and the vector width it writes for."""

    def __init__(self, builder: ir.IRBuilder, dtype: str, target: Target):
        self.builder, self.dtype, self.target = builder, dtype, target
        self.module = builder.module
        self.element = ELEMENTS[dtype]
        self.size = 8 if dtype == "float64" else 4
        self.lanes = target.lanes(dtype)
        self.vector = ir.VectorType(self.element, self.lanes)
        self.suffix = f"v{self.lanes}{SHORT[dtype]}"

    # ---- integers, folded when both sides are known

    def add(self, left: Index, right: Index) -> Index:
        """left + right."""
        if isinstance(left, int) and isinstance(right, int):
            return left + right
        if isinstance(right, int) and right == 0:
            return left
        if isinstance(left, int) and left == 0:
            return right
        return self.builder.add(constant(left), constant(right))

    def mul(self, left: Index, right: Index) -> Index:
        """left * right."""
        if isinstance(left, int):
            left, right = right, left
        if isinstance(right, int) and (isinstance(left, int) or right in (0, 1)):
            return left * right if isinstance(left, int) else (left if right == 1 else 0)
        return self.builder.mul(constant(left), constant(right))

    def sub(self, left: Index, right: Index) -> Index:
        """left - right."""
        if isinstance(left, int) and isinstance(right, int):
            return left - right
        return left if isinstance(right, int) and right == 0 else self.builder.sub(constant(left), constant(right))

    def divide(self, left: Index, right: Index) -> tuple[Index, Index]:
        """(left // right, left % right) of numbers that are not negative."""
        if isinstance(left, int) and isinstance(right, int):
            return divmod(left, right)
        if isinstance(right, int) and right == 1:
            return left, 0
        quotient = self.builder.udiv(constant(left), constant(right))
        return quotient, self.builder.sub(constant(left), self.builder.mul(quotient, constant(right)))

    def quotient(self, left: Index, right: Index) -> Index:
        """left // right of numbers that are not negative."""
        both = isinstance(left, int) and isinstance(right, int)
        return (self.divide(left, right)[0] if both or (isinstance(right, int) and right == 1)
                else self.builder.udiv(constant(left), constant(right)))

    def minimum(self, left: Index, right: Index) -> Index:
        """The smaller of both."""
        if isinstance(left, int) and isinstance(right, int):
            return min(left, right)
        left, right = constant(left), constant(right)
        return self.builder.select(self.builder.icmp_signed("<", left, right), left, right)

    def maximum(self, left: Index, right: Index) -> Index:
        """The larger of both."""
        if isinstance(left, int) and isinstance(right, int):
            return max(left, right)
        left, right = constant(left), constant(right)
        return self.builder.select(self.builder.icmp_signed(">", left, right), left, right)

    def less(self, left: Index, right: Index) -> ir.Value:
        """left < right, as one bit."""
        return self.builder.icmp_signed("<", constant(left), constant(right))

    def unravel(self, index: Index, extents: Sequence[int]) -> list[Index]:
        """The coordinates of a flat index in a row-major grid."""
        places: list[Index] = []
        for extent in reversed(extents[1:]):
            index, place = self.divide(index, extent)
            places.insert(0, place)
        return [index, *places] if extents else []

    def dot(self, places: Sequence[Index], strides: Sequence[int]) -> Index:
        """The sum of place * stride."""
        total: Index = 0
        for place, stride in zip(places, strides, strict=True):
            total = self.add(total, self.mul(place, stride))
        return total

    def share(self, units: int, thread: Index, threads: Index) -> tuple[Index, Index]:
        """The range of `units` equal units of work that belongs to one thread."""
        return (self.quotient(self.mul(thread, units), threads),
                self.quotient(self.mul(self.add(thread, 1), units), threads))

    # ---- memory

    def at(self, pointer: ir.Value, offset: Index, element: ir.Type | None = None) -> ir.Value:
        """`pointer` moved by `offset` elements, of the writer's type or another."""
        if isinstance(offset, int) and offset == 0:
            return pointer
        return self.builder.gep(pointer, [constant(offset)], source_etype=element or self.element)

    def load(self, pointer: ir.Value) -> ir.Value:
        """One element."""
        return self.builder.load(pointer, typ=self.element, align=self.size)

    def store(self, value: ir.Value, pointer: ir.Value) -> None:
        """One element."""
        self.builder.store(value, pointer, align=self.size)

    def load_vector(self, pointer: ir.Value, mask: ir.Value | None = None) -> ir.Value:
        """One vector from any address; lanes that `mask` leaves out are zero and not touched in memory."""
        if mask is None:
            return self.builder.load(pointer, typ=self.vector, align=self.size)
        arguments = [POINTER, ir.IntType(32), mask.type, self.vector]
        function = intrinsic(self.module, f"llvm.masked.load.{self.suffix}.p0", self.vector, arguments)
        return self.builder.call(function, [pointer, ir.IntType(32)(self.size), mask, self.zeros()])

    def store_vector(self, value: ir.Value, pointer: ir.Value, mask: ir.Value | None = None) -> None:
        """One vector to any address; lanes that `mask` leaves out are not touched."""
        if mask is None:
            self.builder.store(value, pointer, align=self.size)
            return
        arguments = [self.vector, POINTER, ir.IntType(32), mask.type]
        function = intrinsic(self.module, f"llvm.masked.store.{self.suffix}.p0", ir.VoidType(), arguments)
        self.builder.call(function, [value, pointer, ir.IntType(32)(self.size), mask])

    # ---- vectors

    def zeros(self) -> ir.Value:
        """A vector of zeros."""
        return all_zero(self.vector)

    def splat(self, value: ir.Value) -> ir.Value:
        """A vector with `value` in every lane."""
        return in_all_lanes(self.builder, value, self.lanes)

    def permute(self, vector: ir.Value, order: Sequence[int]) -> ir.Value:
        """The vector with element `order[i]` in lane i."""
        places = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), list(order))
        return self.builder.shuffle_vector(vector, undefined(self.vector), places)

    def multiply_add(self, left: ir.Value, right: ir.Value, total: ir.Value) -> ir.Value:
        """left * right + total with one rounding where the processor can."""
        function = intrinsic(self.module, f"llvm.fmuladd.{self.suffix}", self.vector, [self.vector] * 3)
        return self.builder.call(function, [left, right, total])

    def multiply_pairs(self, left: ir.Value, right: ir.Value, total: ir.Value) -> ir.Value:
        """The same with pairs of bfloat16 in every 32-bit lane: both products are added; needs `Target.pairs`."""
        numbers = ir.VectorType(BFloat(), 2 * self.lanes)
        function = intrinsic(self.module, "llvm.x86.avx512bf16.dpbf16ps.512", self.vector,
                             [self.vector, numbers, numbers])
        return self.builder.call(function, [total, self.builder.bitcast(left, numbers),
                                            self.builder.bitcast(right, numbers)])

    def multiply_pair_at(self, pointer: ir.Value, offset: int, right: ir.Value, total: ir.Value) -> ir.Value:
        """The same with the pair at pointer + offset in every lane, read by the instruction itself: LLVM would read it
        before."""
        kind = ir.FunctionType(self.vector, [self.vector, self.vector, POINTER])
        code = ir.InlineAsm(kind, f"vdpbf16ps {self.size * offset}($3){{1to{self.lanes}}}, $2, $0", "=v,0,v,r")
        return self.builder.call(code, [total, right, pointer])

    def mask(self, valid: Index) -> ir.Value:
        """A mask of the first `valid` lanes."""
        bits = ir.VectorType(ir.IntType(1), self.lanes)
        if isinstance(valid, int):
            return ir.Constant(bits, [int(lane < valid) for lane in range(self.lanes)])
        narrow = ir.IntType(32)
        wide = ir.VectorType(narrow, self.lanes)
        limit = in_all_lanes(self.builder, self.builder.trunc(self.minimum(valid, self.lanes), narrow), self.lanes)
        return self.builder.icmp_signed("<", ir.Constant(wide, list(range(self.lanes))), limit)

    def transpose(self, rows: list[ir.Value]) -> list[ir.Value]:
        """The transpose of a square of lanes x lanes elements: in round s, bit s of row and lane change places."""
        pairs = ir.VectorType(ir.IntType(32), self.lanes)
        for step in (1 << bit for bit in range(self.lanes.bit_length() - 1)):
            low = [lane if not lane & step else lane - step + self.lanes for lane in range(self.lanes)]
            high = [lane + step if not lane & step else lane + self.lanes for lane in range(self.lanes)]
            after = list(rows)
            for row in (row for row in range(self.lanes) if not row & step):
                for place, order in ((row, low), (row + step, high)):
                    after[place] = self.builder.shuffle_vector(rows[row], rows[row + step], ir.Constant(pairs, order))
            rows = after
        return rows

    # ---- control flow

    @contextlib.contextmanager
    def loop(self, start: Index, stop: Index, step: int = 1) -> Iterator[Index]:
        """Repeat the body for start, start + step, … below stop; the body runs not at all when start >= stop."""
        inner, after, phi = self._open(start, stop)
        yield phi
        self._close(phi, inner, after, stop, step)

    def _open(self, start: Index, stop: Index) -> tuple[ir.Block, ir.Block, ir.PhiInstr]:
        builder, before = self.builder, self.builder.block
        inner, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
        if isinstance(start, int) and isinstance(stop, int) and start < stop:
            builder.branch(inner)
        else:
            builder.cbranch(self.less(start, stop), inner, after)
        builder.position_at_end(inner)
        phi = builder.phi(INDEX)
        phi.add_incoming(constant(start), before)
        return inner, after, phi

    def _close(self, phi: ir.PhiInstr, inner: ir.Block, after: ir.Block, stop: Index, step: int) -> None:
        following = self.builder.add(phi, constant(step))
        phi.add_incoming(following, self.builder.block)
        self.builder.cbranch(self.less(following, stop), inner, after)
        self.builder.position_at_end(after)

    def fold(self, start: Index, stop: Index, step: int, values: list[ir.Value],
             body: Callable[[Index, list[ir.Value]], list[ir.Value]]) -> list[ir.Value]:
        """A loop that carries `values` in registers; `body(index, values)` returns them for the next round."""
        before = self.builder.block
        inner, after, phi = self._open(start, stop)
        carried = [self.builder.phi(value.type) for value in values]
        results = body(phi, list(carried))
        last = self.builder.block
        self._close(phi, inner, after, stop, step)
        for place, value, result in zip(carried, values, results, strict=True):
            place.add_incoming(value, before)
            place.add_incoming(result, last)
        if isinstance(start, int) and isinstance(stop, int) and start < stop:
            return results
        return [self._join(before, value, last, result) for value, result in zip(values, results, strict=True)]

    def _join(self, before: ir.Block, value: ir.Value, last: ir.Block, result: ir.Value) -> ir.Value:
        joined = self.builder.phi(value.type)
        joined.add_incoming(value, before)
        joined.add_incoming(result, last)
        return joined

    def if_else(self, condition: ir.Value, then: Callable[[], list[ir.Value]],
                otherwise: Callable[[], list[ir.Value]]) -> list[ir.Value]:
        """The values of one of two branches."""
        with self.builder.if_else(condition) as (yes, no):
            with yes:
                left, left_block = then(), self.builder.block
            with no:
                right, right_block = otherwise(), self.builder.block
        return [self._join(left_block, one, right_block, other) for one, other in zip(left, right, strict=True)]


def open_function(module: ir.Module, name: str, arguments: Sequence[tuple[str, ir.Type]], dtype: str, target: Target,
                  internal: bool = False) -> tuple[ir.Function, Writer]:
    """A new function with named arguments and a writer at its start; internal ones are never inlined."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [kind for _, kind in arguments]), name)
    for argument, (label, _) in zip(function.args, arguments, strict=True):
        argument.name = label
    if internal:
        function.linkage = "internal"
        function.attributes.add("noinline")
    function.attributes.add("nounwind")
    return function, Writer(ir.IRBuilder(function.append_basic_block("entry")), dtype, target)


def copy_elements(writer: Writer, source: ir.Value | None, destination: ir.Value, count: Index) -> None:
    """destination[0:count] = source[0:count], or zeros where `source` is None, vector by vector with one masked tail.
    """
    whole, rest = writer.divide(count, writer.lanes)
    stop = writer.mul(whole, writer.lanes)

    def move(offset: Index, mask: ir.Value | None) -> None:
        value = writer.zeros() if source is None else writer.load_vector(writer.at(source, offset), mask)
        writer.store_vector(value, writer.at(destination, offset), mask)

    with writer.loop(0, stop, writer.lanes) as offset:
        move(offset, None)
    if not isinstance(rest, int) or rest:
        with writer.builder.if_then(writer.less(0, rest)):
            move(stop, writer.mask(rest))


# ---- vectors of any element type

def spread(b: ir.IRBuilder, value: ir.Value, lanes: int) -> ir.Value:
    """A scalar in every lane; a vector as it is."""
    if isinstance(value.type, ir.VectorType):
        return value
    if isinstance(value, ir.Constant):
        return ir.Constant(ir.VectorType(value.type, lanes), [value.constant] * lanes)
    return in_all_lanes(b, value, lanes)


def size_of(type_: ir.Type) -> int:
    """Bytes of one element."""
    return {"i8": 1, "i16": 2, "i32": 4, "float": 4, "i64": 8, "double": 8}[str(type_)]


def load_lanes(b: ir.IRBuilder, type_: ir.Type, lanes: int, pointer: ir.Value, mask: ir.Value | None) -> ir.Value:
    """A vector of neighbours from any address; lanes that `mask` leaves out are zero and not touched in memory."""
    wide = ir.VectorType(type_, lanes)
    if mask is None:
        return b.load(pointer, typ=wide, align=size_of(type_))
    callee = intrinsic(b.module, f"llvm.masked.load.v{lanes}{type_.intrinsic_name}.p0", wide,
                       [POINTER, ir.IntType(32), mask.type, wide])
    return b.call(callee, [pointer, ir.IntType(32)(size_of(type_)), mask, all_zero(wide)])


def store_lanes(b: ir.IRBuilder, value: ir.Value, pointer: ir.Value, mask: ir.Value | None) -> None:
    """A vector to neighbours at any address; lanes that `mask` leaves out are not touched.

    One lane is stored as a scalar: of a vector narrowed from 32 to 16 or 8 bits, LLVM 22 would store all 32 bits of it.
    """
    type_, lanes = value.type.element, value.type.count
    chosen = [i for i, x in enumerate(mask.constant) if x.constant] if isinstance(mask, ir.Constant) else []
    if len(chosen) == 1:
        lane = ir.IntType(32)(chosen[0])
        place = b.gep(pointer, [lane], source_etype=type_)
        b.store(b.extract_element(value, lane), place, align=size_of(type_))
        return
    if mask is None:
        b.store(value, pointer, align=size_of(type_))
        return
    callee = intrinsic(b.module, f"llvm.masked.store.v{lanes}{type_.intrinsic_name}.p0", ir.VoidType(),
                       [value.type, POINTER, ir.IntType(32), mask.type])
    b.call(callee, [value, pointer, ir.IntType(32)(size_of(type_)), mask])
