# SPDX-License-Identifier: Apache-2.0
"""Index arithmetic: positions as affine forms of loop variables: c0 + c1 i1 + c2 i2 + …, with exact division.

Every movement of elements (reshape, transpose, slice, pad, window, broadcast) is a map of such forms, so a chain of
movements costs nothing: the load at its end has one form. Where a division does not come out even, its quotient and its
remainder become variables of their own, and n (x // n) + x % n folds back to x.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple


class Var(NamedTuple):
    """A variable: loop number `of` with values 0 … n - 1 ("i"), or the quotient ("/") or remainder ("%") of form `of`
    by n."""

    kind: str
    of: Any
    n: int


class Form(NamedTuple):
    """const + the sum of coefficient * variable, sorted by variable."""

    const: int
    terms: tuple[tuple[Var, int], ...]


ZERO = Form(0, ())
Extents = Sequence[int]


def number(value: int) -> Form:
    """A constant form."""
    return Form(value, ())


def loop(index: int, extent: int) -> Var:
    """Loop variable number `index`, with `extent` values."""
    return Var("i", index, extent)


def form_of(var: Var) -> Form:
    """The form that is one variable (0 where it has one value)."""
    return Form(0, ((var, 1),)) if var.kind != "i" or var.n > 1 else ZERO


@lru_cache(maxsize=1 << 16)
def text(form: Form) -> str:
    """The form as text: `3 + 16*i0 + i1`."""
    parts = [str(form.const)] if form.const or not form.terms else []
    parts += [(f"{c}*" if c != 1 else "") + name(v) for v, c in form.terms]
    return " + ".join(parts)


@lru_cache(maxsize=1 << 16)
def name(var: Var) -> str:
    """The variable as text: `i0`, or `(3 + i0)//5`."""
    return f"i{var.of}" if var.kind == "i" else f"({text(var.of)}){'//' if var.kind == '/' else '%'}{var.n}"


def _make(const: int, terms: Mapping[Var, int]) -> Form:
    kept = {v: c for v, c in terms.items() if c}
    for v, c in list(kept.items()):
        if v.kind == "%" and v in kept:
            quotient = Var("/", v.of, v.n)
            if kept.get(quotient) == c * v.n:  # n (x // n) + x % n = x
                del kept[v], kept[quotient]
                return add(_make(const, kept), scale(v.of, c))
    if len(kept) > 1:
        return Form(const, tuple(sorted(kept.items(), key=lambda item: (item[0].kind != "i", name(item[0])))))
    return Form(const, tuple(kept.items()))


def add(*forms: Form) -> Form:
    """The sum."""
    const, terms = 0, dict[Var, int]()
    for form in forms:
        const += form.const
        for v, c in form.terms:
            terms[v] = terms.get(v, 0) + c
    return _make(const, terms)


def scale(form: Form, factor: int) -> Form:
    """The form times an integer."""
    if factor == 1:
        return form
    return Form(form.const * factor, tuple((v, c * factor) for v, c in form.terms)) if factor else ZERO


def dot(forms: Iterable[Form], strides: Iterable[int]) -> Form:
    """The sum of form * stride."""
    return add(*(scale(f, s) for f, s in zip(forms, strides, strict=True)))


@lru_cache(maxsize=1 << 16)
def bounds(form: Form) -> tuple[int, int]:
    """The smallest and the largest value that the form can take."""
    low = high = form.const
    for v, c in form.terms:
        top = c * _largest(v)
        low, high = low + min(top, 0), high + max(top, 0)
    return low, high


def _largest(var: Var) -> int:
    if var.kind == "i":
        return max(var.n - 1, 0)
    top = bounds(var.of)[1]
    return max(top // var.n, 0) if var.kind == "/" else max(min(top, var.n - 1), 0)


@lru_cache(maxsize=1 << 16)
def divide(form: Form, n: int) -> tuple[Form, Form]:
    """(form // n, form % n), rounded down."""
    if n == 1:
        return form, ZERO
    quotient = _make(form.const // n, {v: c // n for v, c in form.terms})
    rest = _make(form.const % n, {v: c % n for v, c in form.terms})
    if bounds(rest)[1] < n:
        return quotient, rest
    return add(quotient, Form(0, ((Var("/", rest, n), 1),))), Form(0, ((Var("%", rest, n), 1),))


def row_major(shape: Extents) -> tuple[int, ...]:
    """Strides, in elements, of a contiguous array."""
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


def linear(places: Sequence[Form], shape: Extents) -> Form:
    """The position in a contiguous array of `shape`."""
    return dot(places, row_major(shape))


def unravel(position: Form, shape: Extents) -> tuple[Form, ...]:
    """The coordinates of a position in a contiguous array of `shape`."""
    places = []
    for extent in reversed(shape[1:]):
        position, place = divide(position, extent) if extent else (ZERO, ZERO)
        places.append(place)
    return (position, *reversed(places)) if shape else ()


def variables(form: Form) -> set[Var]:
    """All loop variables in the form, also those within quotients and remainders."""
    found: set[Var] = set()
    for v, _ in form.terms:
        found |= {v} if v.kind == "i" else variables(v.of)
    return found


def coefficient(form: Form, var: Var) -> int | None:
    """How much the form grows with `var`; None where that is not constant."""
    total = 0
    for v, c in form.terms:
        if v == var:
            total = c
        elif v.kind != "i" and var in variables(v.of):
            return None
    return total


def substitute(form: Form, values: Mapping[Var, Form]) -> Form:
    """The form with variables replaced by forms."""
    return add(number(form.const), *(scale(_replaced(v, values), c) for v, c in form.terms))


def _replaced(var: Var, values: Mapping[Var, Form]) -> Form:
    if var.kind == "i":
        return values.get(var, form_of(var))
    quotient, rest = divide(substitute(var.of, values), var.n)
    return quotient if var.kind == "/" else rest


def splits(form: Form) -> set[tuple[Var, int]]:
    """(loop variable, n) for every quotient or remainder that would vanish if the variable were split at n."""
    found: set[tuple[Var, int]] = set()
    for v, _ in form.terms:
        if v.kind == "i":
            continue
        found |= splits(v.of)
        for inner, c in v.of.terms:
            if inner.kind == "i" and v.n % c == 0 and 1 < v.n // c < inner.n and inner.n % (v.n // c) == 0:
                found.add((inner, v.n // c))
    return found
