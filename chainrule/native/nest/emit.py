# SPDX-License-Identifier: Apache-2.0
"""From a kernel to LLVM: loops, levels, vectors.

In: a `Kernel`. Out: a function ``void (slots…, status, i64 begin, i64 end)`` that runs the units begin … end - 1. Every
value is written at the outermost loop level at which all it depends on is known, so nothing is computed twice and no
optimisation pass has to find that out. Vectors always have the same width; the rest of a row is done under a mask, so
the arithmetic of an element does not depend on where a range begins.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from llvmlite import ir

from ..llvm import operations
from ..llvm.checks import FIRST_CHECK, report_function
from ..llvm.math.lanes import splat
from ..llvm.writer import INDEX, POINTER, Index, Writer, constant, intrinsic, load_lanes, size_of, spread, store_lanes
from ..target import Target
from .affine import Form, Var, bounds, coefficient, variables
from .expression import Conditions, Expression, Kernel, Stage, Store, forms_of
from .reduce import Reduction

BIT, BYTE, NARROW = ir.IntType(1), ir.IntType(8), ir.IntType(32)


class Level:
    """One depth of the loop nest: where its values are written, and those that are there already."""

    def __init__(self, builder: ir.IRBuilder):
        here, after = builder.append_basic_block("level"), builder.append_basic_block("body")
        builder.branch(here)
        builder.position_at_end(here)
        end = builder.branch(after)
        builder.position_at_end(after)
        self.builder = ir.IRBuilder(here)
        self.builder.position_before(end)
        self.known: dict[object, ir.Value] = {}


class KernelEmitter:
    """Writes one kernel."""

    def __init__(self, module: ir.Module, name: str, kernel: Kernel, target: Target):
        self.module, self.kernel, self.target = module, kernel, target
        self.lanes = target.lanes("float32")
        type_ = ir.FunctionType(ir.VoidType(), [POINTER] * (len(kernel.slots) - len(kernel.local) + 1) + [INDEX, INDEX])
        self.function = ir.Function(module, type_, name)
        self.function.attributes.add("nounwind")
        *self.pointers, self.status, self.begin, self.end = self.function.args
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.entry = self.builder.block
        for dtype, count in zip(kernel.slots[len(kernel.slots) - len(kernel.local):], kernel.local, strict=True):
            place = self.builder.alloca(operations.memory_type(dtype), size=INDEX(count))
            place.align = 64
            first = self.builder.gep(place, [INDEX(0)], source_etype=operations.memory_type(dtype))
            first.type = POINTER  # llvmlite gives addresses on the stack a typed pointer
            self.pointers.append(first)
        self.writer = Writer(self.builder, "float32", target)
        self.levels: list[Level] = []
        self.depth: dict[Var, int] = {}
        self.values: dict[Var, Index] = {}
        self.lane: Var | None = None
        self.tail: ir.Value | None = None
        self.written: set[int] = set()
        self.depths: dict[Expression, int] = {}
        self.last_depth: dict[Var, int] = {}
        self.stage_level = 0
        # for checks of `require`, the lanes in which one failed, as bits
        self.unmet: dict[tuple[int, int], ir.Value] = {}
        self.failed: ir.Value | None = None  # where the number of the first check that failed is kept until the end

    # ---- the nest

    def emit(self) -> ir.Function:
        """Write the function and return it."""
        kernel = self.kernel
        with self.level({}), self.writer.loop(self.begin, self.end) as unit:
            places = self.writer.unravel(unit, [v.n for v in kernel.outer[:kernel.units]])
            with self.level(dict(zip(kernel.outer[:kernel.units], places,
                                     strict=True))), self.nest(kernel.outer[kernel.units:]):
                for stage in kernel.stages:
                    self.stage(stage)
        for (check, _), place in self.unmet.items():
            bits = self.builder.load(place, typ=place.allocated_type)
            self.report(self.builder.icmp_unsigned("!=", bits, bits.type(0)), check, self.builder)
        if self.failed is not None:
            number = self.builder.load(self.failed, typ=INDEX)
            bad = self.builder.icmp_signed("<", number, INDEX(FIRST_CHECK))
            self.builder.call(report_function(self.module), [self.status, bad, number])
        self.builder.ret_void()
        return self.function

    @contextlib.contextmanager
    def level(self, variables_: dict[Var, Index]) -> Iterator[None]:
        """A new depth at which these variables are known."""
        self.levels.append(Level(self.builder))
        for v, value in variables_.items():
            self.depth[v], self.values[v] = len(self.levels) - 1, value
            if self.last_depth.get(v) != self.depth[v]:  # parts of one stage may nest differently
                self.depths, self.last_depth[v] = {}, self.depth[v]
        yield
        for v in variables_:
            del self.depth[v], self.values[v]
        self.levels.pop()

    @contextlib.contextmanager
    def nest(self, loops: Sequence[Var]) -> Iterator[None]:
        """Plain loops, one level each."""
        if not loops:
            yield
            return
        with self.writer.loop(0, self.stop(loops[0])) as i, self.level({loops[0]: i}), self.nest(loops[1:]):
            yield

    def stop(self, var: Var) -> Index:
        """How far a loop runs."""
        limit = self.kernel.limits.get(var)
        return var.n if limit is None else self.writer.minimum(var.n, self.offset(limit))

    def lane_loop(self, var: Var, copies: int = 1, begin: Index = 0) -> Iterator[int]:
        """Whole vectors, then the rest under a mask; the body is written for each part that exists.

        With `copies`, that many vectors are treated in one round; what is yielded is the number of the copy. Elements
        before `begin`, whole vectors, are left out.
        """
        limit, lanes = self.kernel.limits.get(var), self.lanes
        total = bounds(limit)[1] if limit is not None else var.n  # extents of cut loops differ by whole vectors
        stop, rest = self.stop(var), total % lanes
        whole = self.writer.mul(self.writer.divide(stop, lanes)[0], lanes)
        self.lane = var
        if copies > 1:
            step = copies * lanes
            begin = self.writer.mul(self.writer.divide(stop, step)[0], step)
            with self.writer.loop(0, begin, step) as i:
                for copy in range(copies):
                    with self.level({var: self.writer.add(i, copy * lanes)}):
                        yield copy
        if total >= lanes and not (isinstance(begin, int) and begin == whole):
            with self.writer.loop(begin, whole, lanes) as i, self.level({var: i}):
                yield 0
        if rest:
            self.tail = self.writer.mask(rest)
            with self.maybe(limit is not None and self.writer.less(whole, stop)), self.level({var: whole}):
                yield 0
            self.tail = None
        self.lane = None

    @contextlib.contextmanager
    def maybe(self, condition: ir.Value | bool) -> Iterator[None]:
        """Under a condition, if there is one."""
        if isinstance(condition, bool):
            yield
        else:
            with self.builder.if_then(condition):
                yield

    def stage(self, stage: Stage) -> None:
        """One stage, at a level of its own, so that it sees what the stages before it have stored."""
        with self.level({}):
            self.stage_level = len(self.levels) - 1
            self.depths = {}
            if stage.reduce:
                Reduction(self, stage).emit()
            elif stage.lane is None:
                with self.nest(stage.inner):
                    self.stores(stage.stores)
            else:
                with self.nest(stage.inner[:-1]):
                    for _ in self.lane_loop(stage.lane):
                        self.stores(stage.stores)
        self.written |= {store.slot for store in (*stage.stores, *stage.sums)}

    def stores(self, stores: Sequence[Store]) -> None:
        """Store values at the present depth."""
        for value, store in [(self.value(store.value), store) for store in stores]:
            self.store(store, value)

    # ---- positions

    def level_of(self, variables_: set[Var]) -> int:
        """The depth at which all these variables are known."""
        return max((self.depth[v] for v in variables_), default=0)

    def offset(self, form: Form) -> Index:
        """A form as a number (of the first lane), each part written at its own level."""
        if not form.terms:
            return form.const
        depth = self.level_of(variables(form))
        known = self.levels[depth].known
        if form not in known:
            deep = [t for t in form.terms if self.level_of(variables(Form(0, (t,)))) == depth]
            total: Index = self.offset(Form(form.const, tuple(t for t in form.terms if t not in deep)))
            writer = self.writer_at(depth)
            for v, c in deep:
                total = writer.add(total, writer.mul(self.variable(v), c))
            known[form] = total
        return known[form]

    def variable(self, var: Var) -> Index:
        """The value of a variable, quotient or remainder."""
        if var.kind == "i":
            return self.values[var]
        writer = self.writer_at(self.level_of(variables(var.of)))
        quotient, rest = writer.divide(self.offset(var.of), var.n)
        return quotient if var.kind == "/" else rest

    def writer_at(self, depth: int) -> Writer:
        """A writer that writes at a level."""
        return Writer(self.levels[depth].builder, "float32", self.target)

    def varies(self, form: Form) -> bool:
        """Whether a form differs from lane to lane."""
        return self.lane is not None and self.lane in variables(form)

    def offsets(self, form: Form) -> ir.Value:
        """A form in every lane, as a vector of 64-bit integers."""
        b = self.levels[self.level_of(variables(form))].builder
        wide = ir.VectorType(INDEX, self.lanes)
        if not self.varies(form):
            return self.spread(constant(self.offset(form)), b)
        step = coefficient(form, self.lane)
        if step is not None:
            return b.add(self.spread(constant(self.offset(form)), b),
                         ir.Constant(wide, [step * i for i in range(self.lanes)]))
        total = ir.Constant(wide, [form.const] * self.lanes)
        for v, c in form.terms:
            total = b.add(total, b.mul(self.variables_of(v, b), splat(wide, c)))
        return total

    def variables_of(self, var: Var, b: ir.IRBuilder) -> ir.Value:
        """A variable, quotient or remainder in every lane."""
        if var.kind == "i":
            return self.offsets(Form(0, ((var, 1),)))
        inner = self.offsets(var.of)
        if bounds(var.of)[1] < 1 << 31:  # 32-bit division by a constant is much cheaper
            narrow = ir.VectorType(NARROW, self.lanes)
            inner = b.trunc(inner, narrow)
        result = (b.udiv if var.kind == "/" else b.urem)(inner, splat(inner.type, var.n))
        return result if result.type.element == INDEX else b.zext(result, ir.VectorType(INDEX, self.lanes))

    def spread(self, value: ir.Value, b: ir.IRBuilder) -> ir.Value:
        """A scalar in every lane; a vector as it is."""
        return spread(b, value, self.lanes)

    def condition(self, conditions: Conditions, depth: int) -> ir.Value | None:
        """Whether all hold: one bit, one bit per lane, or None where there are none."""
        b, found = self.levels[depth].builder, None
        for form, n in sorted(conditions, key=lambda item: self.varies(item[0])):
            place = self.offsets(form) if self.varies(form) else constant(self.offset(form))
            bit = b.icmp_unsigned("<", place, splat(place.type, n))
            if found is not None and bit.type != found.type:
                found = self.spread(found, b)
            found = bit if found is None else b.and_(found, bit)
        return found

    def mask(self, conditions: Conditions, depth: int) -> ir.Value | None:
        """The lanes that exist and for which the conditions hold, as a vector, or None for all."""
        b, found = self.levels[depth].builder, self.condition(conditions, depth)
        if found is None:
            return self.tail
        found = self.spread(found, b)
        return found if self.tail is None else b.and_(found, self.tail)

    # ---- values

    def depth_of(self, x: Expression) -> int:
        """The level at which an expression is written."""
        if x not in self.depths:
            depth = max((self.depth_of(a) for a in x.args), default=0)
            for form in forms_of(x):
                depth = max(depth, self.level_of(variables(form)))
            if x.kind in ("load", "take", "random") and x.attr[0] in self.written:
                depth = max(depth, self.stage_level)
            self.depths[x] = depth
        return self.depths[x]

    def value(self, x: Expression) -> ir.Value:
        """The value of an expression, a scalar if it is the same in all lanes."""
        depth = self.depth_of(x)
        known = self.levels[depth].known
        if x not in known:
            known[x] = self.make(x, depth)
        return known[x]

    def make(self, x: Expression, depth: int) -> ir.Value:
        """Write an expression at a level."""
        b = self.levels[depth].builder
        special = {"load": self.load, "take": self.take, "guard": self.guard, "random": self.random,
                   "require": self.require}.get(x.kind)
        if special is not None:
            return special(x, depth)
        if x.kind == "constant":
            return operations.constant(x.dtype, x.attr)
        if x.kind == "position":
            place = self.offsets(x.attr) if self.varies(x.attr) else constant(self.offset(x.attr))
            return operations.cast(b, place, "int64", x.dtype)
        return operations.operation(b, x.kind, x.dtype, [a.dtype for a in x.args],
                                    self.even([self.value(a) for a in x.args], b))

    def even(self, values: list[ir.Value], b: ir.IRBuilder) -> list[ir.Value]:
        """All vectors or all scalars."""
        if any(isinstance(v.type, ir.VectorType) for v in values):
            return [self.spread(v, b) for v in values]
        return values

    def guard(self, x: Expression, depth: int) -> ir.Value:
        """A choice by conditions on positions."""
        b = self.levels[depth].builder
        found = self.condition(x.attr, depth)
        values = [self.value(a) for a in x.args]
        if isinstance(found.type, ir.VectorType):
            values = [self.spread(v, b) for v in values]
        values = self.even(values, b)
        return b.select(found, *values)

    def load(self, x: Expression, depth: int) -> ir.Value:
        """An element or a vector of a buffer."""
        slot, form, conditions = x.attr
        return self.fetch(x.dtype, slot, form, None, conditions, depth)

    def fetch(self, dtype: str, slot: int, form: Form, extra: ir.Value | None, conditions: Conditions,
              depth: int) -> ir.Value:
        """What lies at form + extra of a slot, where the conditions hold."""
        b, type_ = self.levels[depth].builder, operations.memory_type(dtype)
        spread = self.varies(form) or any(self.varies(f) for f, _ in conditions)
        spread = spread or (extra is not None and isinstance(extra.type, ir.VectorType))
        if not spread:
            raw = self._scalar(b, type_, slot, form, extra, conditions, depth)
        elif coefficient(form, self.lane) == 1 and (extra is None or not isinstance(extra.type, ir.VectorType)):
            raw = self._contiguous(b, type_, slot, form, extra, conditions, depth)
        else:
            raw = self._gather(b, type_, slot, form, extra, conditions, depth)
        return b.icmp_unsigned("!=", raw, splat(raw.type, 0)) if dtype == "bool" else raw

    def _at(self, b: ir.IRBuilder, type_: ir.Type, slot: int, place: Index | ir.Value) -> ir.Value:
        if isinstance(place, int) and place == 0:
            return self.pointers[slot]
        return b.gep(self.pointers[slot], [constant(place)], source_etype=type_)

    def _many(self, b: ir.IRBuilder, type_: ir.Type, slot: int, places: ir.Value) -> ir.Value:
        """The addresses of the elements at `places`."""
        pointers = b.gep(self.pointers[slot], [places], source_etype=type_)
        pointers.type = ir.VectorType(POINTER, self.lanes)  # llvmlite does not infer it from the vector of positions
        return pointers

    def _place(self, b: ir.IRBuilder, form: Form, extra: ir.Value | None) -> Index:
        return self.offset(form) if extra is None else b.add(constant(self.offset(form)), extra)

    def _scalar(self, b: ir.IRBuilder, type_: ir.Type, slot: int, form: Form, extra: ir.Value | None,
                conditions: Conditions, depth: int) -> ir.Value:
        found = self.condition(conditions, depth)
        place = self._place(b, form, extra)
        if found is not None:
            place = b.select(found, constant(place), INDEX(0))
        return b.load(self._at(b, type_, slot, place), typ=type_)

    def _contiguous(self, b: ir.IRBuilder, type_: ir.Type, slot: int, form: Form, extra: ir.Value | None,
                    conditions: Conditions, depth: int) -> ir.Value:
        place = self._place(b, form, extra)
        if conditions and not any(self.varies(f) for f, _ in conditions):
            # Where they fail, a guard chooses something else and what is read does not matter; the first vector is
            # always there.
            place, conditions = b.select(self.condition(conditions, depth), constant(place), INDEX(0)), ()
        return load_lanes(b, type_, self.lanes, self._at(b, type_, slot, place), self.mask(conditions, depth))

    def _gather(self, b: ir.IRBuilder, type_: ir.Type, slot: int, form: Form, extra: ir.Value | None,
                conditions: Conditions, depth: int) -> ir.Value:
        mask = self.mask(conditions, depth)
        if mask is None:
            return self._one_by_one(b, type_, slot, form, extra)
        places, wide = self.offsets(form), ir.VectorType(type_, self.lanes)
        if extra is not None:
            places = b.add(places, self.spread(extra, b))
        pointers = self._many(b, type_, slot, places)
        callee = intrinsic(self.module, f"llvm.masked.gather.v{self.lanes}{type_.intrinsic_name}.v{self.lanes}p0", wide,
                           [ir.VectorType(POINTER, self.lanes), NARROW, mask.type, wide])
        return b.call(callee, [pointers, NARROW(size_of(type_)), mask, splat(wide, 0)])

    def _one_by_one(self, b: ir.IRBuilder, type_: ir.Type, slot: int, form: Form, extra: ir.Value | None) -> ir.Value:
        """A vector of loads of one element each, which is quicker than the processor's gather."""
        step = coefficient(form, self.lane) if extra is None else None
        first = self.offset(form) if step is not None else 0
        places = self.offsets(form) if step is None else None
        if extra is not None:
            places = b.add(places, self.spread(extra, b))
        result = ir.Constant(ir.VectorType(type_, self.lanes), ir.Undefined)
        base = self._at(b, type_, slot, first)
        for i in range(self.lanes):
            place = b.extract_element(places, NARROW(i)) if places is not None else INDEX(i * (step or 0))
            one = b.load(b.gep(base, [place], source_etype=type_), typ=type_)
            result = b.insert_element(result, one, NARROW(i))
        return result

    def store(self, store: Store, value: ir.Value) -> None:
        """Store a value at the present depth."""
        b, dtype = self.builder, store.value.dtype
        type_ = operations.memory_type(dtype)
        if dtype == "bool":
            value = b.zext(value, operations.widened(value.type, BYTE))
        if self.lane is None or not self.varies(store.form):
            b.store(value, self._at(b, type_, store.slot, self.offset(store.form)))
            return
        value = self.spread(value, b)
        if coefficient(store.form, self.lane) == 1:
            store_lanes(b, value, self._at(b, type_, store.slot, self.offset(store.form)), self.tail)
        else:
            self._scatter(b, type_, value, self._many(b, type_, store.slot, self.offsets(store.form)))

    def _scatter(self, b: ir.IRBuilder, type_: ir.Type, value: ir.Value, pointers: ir.Value) -> None:
        mask = self.tail if self.tail is not None else ir.Constant(ir.VectorType(BIT, self.lanes), [1] * self.lanes)
        callee = intrinsic(self.module, f"llvm.masked.scatter.v{self.lanes}{type_.intrinsic_name}.v{self.lanes}p0",
                           ir.VoidType(), [value.type, ir.VectorType(POINTER, self.lanes), NARROW, mask.type])
        b.call(callee, [value, pointers, NARROW(size_of(type_)), mask])

    # ---- positions that are data

    def take(self, x: Expression, depth: int) -> ir.Value:
        """The element that an index chooses; an index out of bounds is reported and read as 0."""
        slot, form, stride, extent, check, conditions = x.attr
        b = self.levels[depth].builder
        index = operations.cast(b, self.value(x.args[0]), x.args[0].dtype, "int64")
        index = b.select(b.icmp_signed("<", index, splat(index.type, 0)), b.add(index, splat(index.type, extent)),
                         index)
        bad = b.icmp_unsigned(">=", index, splat(index.type, extent))
        self.report(self._exists(bad, conditions, depth), check, b)
        if not extent:
            return splat(operations.ELEMENTS[x.dtype], 0)
        place = b.mul(b.select(bad, splat(index.type, 0), index), splat(index.type, stride))
        return self.fetch(x.dtype, slot, form, place, conditions, depth)

    def require(self, x: Expression, depth: int) -> ir.Value:
        """A value, whose condition is reported where it does not hold."""
        check, conditions = x.attr
        b = self.levels[depth].builder
        value, ok = (self.value(a) for a in x.args)
        bad = self._existing(b.not_(ok), conditions, depth)
        if not isinstance(bad.type, ir.VectorType):
            self.report(bad, check, b)
            return value
        place = self._bits_of(check, bad.type.count)  # whether any is set is asked at the end only
        b.store(b.or_(b.load(place, typ=place.allocated_type), b.bitcast(bad, place.allocated_type)), place)
        return value

    def _bits_of(self, check: int, lanes: int) -> ir.Value:
        """Where the lanes in which a check failed are kept, in a register."""
        key = check, lanes
        if key not in self.unmet:
            first = ir.IRBuilder(self.entry)
            first.position_at_start(self.entry)
            self.unmet[key] = first.alloca(ir.IntType(lanes))
            first.store(ir.IntType(lanes)(0), self.unmet[key])
        return self.unmet[key]

    def _exists(self, bad: ir.Value, conditions: Conditions, depth: int) -> ir.Value:
        """Whether any lane that exists is bad."""
        return self._any(self._existing(bad, conditions, depth), self.levels[depth].builder)

    def _existing(self, bad: ir.Value, conditions: Conditions, depth: int) -> ir.Value:
        """What is bad in the lanes that exist."""
        b = self.levels[depth].builder
        if not isinstance(bad.type, ir.VectorType):
            found = self.condition(tuple(c for c in conditions if not self.varies(c[0])), depth)
            return bad if found is None else b.and_(bad, found)
        mask = self.mask(conditions, depth)
        return bad if mask is None else b.and_(bad, mask)

    def _any(self, bad: ir.Value, b: ir.IRBuilder) -> ir.Value:
        """Whether any lane is bad."""
        if not isinstance(bad.type, ir.VectorType):
            return bad
        return b.call(intrinsic(self.module, f"llvm.vector.reduce.or.v{bad.type.count}i1", BIT, [bad.type]), [bad])

    def report(self, bad: ir.Value, check: int, b: ir.IRBuilder) -> None:
        """Remember the smallest number of a failed check; a register, so that no call interrupts the loop."""
        if self.failed is None:
            first = ir.IRBuilder(self.entry)
            first.position_at_start(self.entry)
            self.failed = first.alloca(INDEX)
            first.store(INDEX(FIRST_CHECK), self.failed)
        known = b.load(self.failed, typ=INDEX)
        smaller = b.and_(bad, b.icmp_signed("<", INDEX(check), known))
        b.store(b.select(smaller, INDEX(check), known), self.failed)

    def random(self, x: Expression, depth: int) -> ir.Value:
        """Random bits of a position."""
        from ..llvm.philox import emit_random_bits

        slot, form, _ = x.attr
        b = self.levels[depth].builder
        words = [b.load(self._at(b, NARROW, slot, i), typ=NARROW) for i in range(4)]
        index = self.offsets(form) if self.varies(form) else constant(self.offset(form))
        return emit_random_bits(b, index, words)


def emit_kernel(module: ir.Module, name: str, kernel: Kernel, target: Target) -> ir.Function:
    """The function of a kernel."""
    return KernelEmitter(module, name, kernel, target).emit()
