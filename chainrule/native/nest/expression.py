# SPDX-License-Identifier: Apache-2.0
"""The second, smaller language: what one kernel computes, as expressions over positions and stages of loops.

In: nothing of the graph's identity, so two layers of one network give the same text, and the same text is compiled
once. An expression is a load at a form, a constant, a position, or an operation on expressions; a stage stores
expressions over a nest of loops, or reduces them over one; a kernel is a list of stages under common outer loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .affine import Form, Var, name, text

Condition = tuple[Form, int]  # 0 <= form < n
Conditions = tuple[Condition, ...]


class Expression:
    """One value per element: `kind` is load, take, require, constant, position, random, guard or the name of an
    operation."""

    __slots__ = ("args", "attr", "dtype", "kind", "number")

    def __init__(self, kind: str, dtype: str, args: tuple[Expression, ...], attr: Any, number: int):
        self.kind, self.dtype, self.args, self.attr, self.number = kind, dtype, args, attr, number


class Table:
    """Expressions of one kernel, each made once."""

    def __init__(self) -> None:
        self.known: dict[Any, Expression] = {}

    def make(self, kind: str, dtype: str, args: Sequence[Expression] = (), attr: Any = ()) -> Expression:
        """The expression of these parts."""
        key = (kind, dtype, tuple(x.number for x in args), attr)
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = Expression(kind, dtype, tuple(args), attr, len(self.known))
        return found


@dataclass
class Store:
    """`value` goes to position `form` of slot `slot`."""

    slot: int
    form: Form
    value: Expression


@dataclass
class Stage:
    """Loops `inner` under the kernel's outer loops; `sums` are reduced by `reduce` over the loops in `over`.

    `stores` happen at every element, of the reduced loops too. `lane` is the variable that runs through the lanes of
    vectors: the last of `inner`, or the last of `over`, or None. `index` is the position that argmax and argmin report.
    """

    inner: tuple[Var, ...]
    stores: list[Store]
    reduce: str | None = None
    over: tuple[Var, ...] = ()
    lane: Var | None = None
    index: Form | None = None
    sums: list[Store] = field(default_factory=list)


@dataclass
class Kernel:
    """Stages under outer loops; the first `units` of these are shared out among threads.

    `slots` are the dtypes of the buffers, `limits` the forms that bound the variables of cut loops from above. The last
    slots are local to the kernel: `local` says how many elements each has, enough for one row.
    """

    outer: tuple[Var, ...]
    units: int
    stages: list[Stage]
    slots: list[str]
    limits: dict[Var, Form] = field(default_factory=dict)
    local: tuple[int, ...] = ()


def conditions_text(conditions: Conditions) -> str:
    """The conditions as text."""
    return "".join(f" if 0 <= {text(form)} < {n}" for form, n in conditions)


def expression_text(x: Expression, names: dict[Expression, str], lines: list[str]) -> str:
    """The name of `x` in the text; lines for it and what it needs are added once."""
    if x in names:
        return names[x]
    args = [expression_text(a, names, lines) for a in x.args]
    names[x] = f"v{len(names)}"
    lines.append(f"{names[x]}: {x.dtype} = {x.kind}({', '.join(args)}){_attr_text(x)}")
    return names[x]


def _attr_text(x: Expression) -> str:
    if x.kind in ("load", "random"):
        slot, form, conditions = x.attr
        return f" b{slot}[{text(form)}]{conditions_text(conditions)}"
    if x.kind == "take":
        slot, form, stride, extent, check, conditions = x.attr
        return f" b{slot}[{text(form)} + {stride}*index < {extent}] check {check}{conditions_text(conditions)}"
    if x.kind == "require":
        return f" check {x.attr[0]}{conditions_text(x.attr[1])}"
    if x.kind == "position":
        return f" {text(x.attr)}"
    if x.kind == "guard":
        return conditions_text(x.attr)
    return f" {x.attr}" if x.attr != () else ""


def kernel_text(kernel: Kernel) -> str:
    """The kernel as text."""
    lines = [f"slots {' '.join(kernel.slots)} local {kernel.local}",
             f"outer {_loops(kernel.outer, kernel.limits)} units {kernel.units}"]
    for stage in kernel.stages:
        kind = f"{stage.reduce} over {_loops(stage.over, kernel.limits)}" if stage.reduce else "map"
        lane = f" lane {name(stage.lane)}" if stage.lane else ""
        index = f" index {text(stage.index)}" if stage.index else ""
        lines.append(f"stage {_loops(stage.inner, kernel.limits)} {kind}{lane}{index}")
        names: dict[Expression, str] = {}
        for store, sign in [*((x, "=") for x in stage.stores), *((x, "<-") for x in stage.sums)]:
            value = expression_text(store.value, names, lines)
            lines.append(f"b{store.slot}[{text(store.form)}] {sign} {value}")
    return "\n".join(lines)


def _loops(loops: Sequence[Var], limits: dict[Var, Form]) -> str:
    return "(" + ", ".join(f"{name(v)}<{v.n}" + (f" and {text(limits[v])}" if v in limits else "") for v in loops) + ")"


def operands(stage: Stage) -> list[Expression]:
    """All expressions of a stage, each once, arguments first."""
    return operands_of([*stage.stores, *stage.sums])


def operands_of(stores: Sequence[Store]) -> list[Expression]:
    """All expressions behind some stores, each once, arguments first."""
    found: dict[Expression, None] = {}

    def visit(x: Expression) -> None:
        if x not in found:
            for a in x.args:
                visit(a)
            found[x] = None

    for store in stores:
        visit(store.value)
    return list(found)


def forms_of(x: Expression) -> list[Form]:
    """The forms in an expression itself (not in its arguments)."""
    if x.kind in ("load", "random"):
        return [x.attr[1], *(form for form, _ in x.attr[2])]
    if x.kind == "take":
        return [x.attr[1], *(form for form, _ in x.attr[5])]
    if x.kind == "require":
        return [form for form, _ in x.attr[1]]
    if x.kind == "position":
        return [x.attr]
    return [form for form, _ in x.attr] if x.kind == "guard" else []
