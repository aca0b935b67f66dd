# SPDX-License-Identifier: Apache-2.0
"""`einsum`: sums of products in index notation, as a sequence of pairwise `contract`s.

The string is read into one tuple of labels per operand; repeated labels become diagonals, labels that nobody else needs
are summed away, and the pair whose product costs least (a greedy choice, as in opt_einsum by Smith and Gray, 2018) is
contracted next. All steps are operations, so an einsum is traced and differentiated like anything else.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from ..errors import ArgumentError, ShapeError, explain
from ..foundations.arguments import guard
from ..ir.bind import as_tensor
from ..ir.dtype import promote
from ..ir.tensor import Tensor
from ..ops.broadcast import broadcast_to, sum_over
from ..ops.contract import contract
from ..ops.elementwise import astype
from ..ops.movement import permute_dims, reshape, slice_axis
from ..typing import ArrayLike

Labels = tuple[Any, ...]
Term = tuple[Tensor, Labels]


def einsum(subscripts: str, /, *operands: ArrayLike) -> Tensor:
    """Sum of products in index notation: einsum("bik,bkj->bij", a, b).

    A label in several operands multiplies along it; a label that is not in the result is summed; a label that occurs
    twice in one operand takes the diagonal; `...` stands for further axes, which broadcast. Without `->` the result has
    the axes of `...` and then the labels that occur once, in alphabetical order.

    Raises:
        ArgumentError: the string is malformed. ShapeError: it does not fit the operands.

    >>> cr.einsum("ij,j->i", [[1.0, 2.0], [3.0, 4.0]], [1.0, 10.0])
    Tensor([21., 43.], dtype=float32)
    """
    tensors = [as_tensor(x) for x in operands]
    inputs, output = _parse(subscripts, tensors)
    dtype = promote(*(x.dtype for x in tensors))
    terms = [_diagonals(astype(x, dtype), labels) for x, labels in zip(tensors, inputs, strict=True)]
    extents = _extents(terms)
    terms = [_without_repeated(x, labels, extents) for x, labels in terms]
    while len(terms) > 1:
        i, j = _cheapest(terms, output)
        rest = [term for k, term in enumerate(terms) if k not in (i, j)]
        terms = [*rest, _product(terms[i], terms[j], _needed(rest, output))]
    x, labels = _summed(terms[0], set(output))
    x = permute_dims(x, [labels.index(label) for label in output])
    return broadcast_to(x, tuple(extents[label] for label in output))


# ---- the string

def _parse(subscripts: str, tensors: list[Tensor]) -> tuple[list[Labels], Labels]:
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    parts = left.split(",")
    if len(parts) != len(tensors):
        raise _malformed(subscripts, f"{len(parts)} terms for {len(tensors)} operands")
    for part in (*parts, right):
        _check_characters(part, subscripts)
    spread = max((_spread(part, x, subscripts) for part, x in zip(parts, tensors, strict=True)), default=0)
    inputs = [_labels(part, x.ndim - _letters(part)) for part, x in zip(parts, tensors, strict=True)]
    output = _labels(right, spread) if arrow else _implicit(inputs)
    known = set(itertools.chain(*inputs))
    if len(set(output)) != len(output) or not set(output) <= known:
        raise _malformed(subscripts, "each label of the result must occur once there, and in some operand")
    return inputs, output


def _malformed(subscripts: str, why: str) -> ArgumentError:
    return ArgumentError(explain("this einsum string does not work", got=f"{subscripts!r}: {why}",
                                 expected='something like "ij,jk->ik", or "...ij,...jk->...ik"'))


def _letters(part: str) -> int:
    return len(part.replace("...", ""))


def _spread(part: str, x: Tensor, subscripts: str) -> int:
    """How many axes `...` stands for."""
    extra = x.ndim - _letters(part)
    if extra < 0 or (extra > 0 and "..." not in part):
        raise ShapeError(explain(f"the term {part!r} of the einsum {subscripts!r} does not fit its operand",
                                 got=f"shape {x.shape}",
                                 expected=f"{_letters(part)} axes{' or more' if '...' in part else ''}"))
    return extra


def _check_characters(part: str, subscripts: str) -> None:
    if not all(letter.isalpha() and letter.isascii() for letter in part.replace("...", "", 1)):
        raise _malformed(subscripts, f"unexpected characters in {part!r}")


def _labels(part: str, spread: int) -> Labels:
    """Letters as they are; the axes of `...` as numbers counted from the last, so that they broadcast."""
    head, dots, tail = part.partition("...")
    return (*head, *(range(-spread, 0) if dots else ()), *tail)


def _implicit(inputs: list[Labels]) -> Labels:
    every = list(itertools.chain(*inputs))
    dots = sorted({label for label in every if isinstance(label, int)})
    return (*dots, *sorted(label for label in every if isinstance(label, str) and every.count(label) == 1))


# ---- one operand

def _diagonals(x: Tensor, labels: Labels) -> Term:
    """The operand with each label once: x[..., i, ..., i, ...] along the diagonal."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            a = labels.index(label)
            x, labels = _diagonal(x, labels, a, labels.index(label, a + 1))
    return x, labels


def _diagonal(x: Tensor, labels: Labels, a: int, b: int) -> Term:
    n = x.shape[a]
    if x.shape[b] != n:
        raise ShapeError(explain(f"the label {labels[a]!r} of an einsum names axes of two extents",
                                 got=f"{n} and {x.shape[b]}"))
    rest = [i for i in range(x.ndim) if i not in (a, b)]
    flat = reshape(permute_dims(x, (*rest, a, b)), (*(x.shape[i] for i in rest), n * n))
    return slice_axis(flat, flat.ndim - 1, 0, n * n, n + 1), (*(labels[i] for i in rest), labels[a])


def _summed(term: Term, needed: set[Any]) -> Term:
    x, labels = term
    gone = tuple(i for i, label in enumerate(labels) if label not in needed)
    return sum_over(x, gone), tuple(label for label in labels if label in needed)


def _extents(terms: list[Term]) -> dict[Any, int]:
    """The extent of each label; extents of 1 give way to others."""
    found: dict[Any, int] = {}
    for x, labels in terms:
        for label, extent in zip(labels, x.shape, strict=True):
            if found.get(label, 1) not in (1, extent) and extent != 1:
                raise ShapeError(explain(f"the label {label!r} of an einsum names axes of two extents",
                                         got=f"{found[label]} and {extent}", expected="one extent, or 1",
                                         fix="compare the string with the shapes of the operands"))
            found[label] = extent if found.get(label, 1) == 1 else found[label]
    return found


def _without_repeated(x: Tensor, labels: Labels, extents: dict[Any, int]) -> Term:
    """Axes of extent 1 that another operand has with more are dropped: a product repeats them anyway."""
    kept = [i for i, label in enumerate(labels) if x.shape[i] == extents[label]]
    return reshape(x, tuple(x.shape[i] for i in kept)), tuple(labels[i] for i in kept)


# ---- pairs

def _needed(rest: list[Term], output: Labels) -> set[Any]:
    return {*output, *itertools.chain(*(labels for _, labels in rest))}


def _cheapest(terms: list[Term], output: Labels) -> tuple[int, int]:
    """The pair whose product grows memory least, then takes the fewest multiplications."""
    return min(itertools.combinations(range(len(terms)), 2), key=lambda pair: _cost(terms, pair, output))


def _cost(terms: list[Term], pair: tuple[int, int], output: Labels) -> tuple[int, int]:
    (a, left), (b, right) = terms[pair[0]], terms[pair[1]]
    extents = {**dict(zip(left, a.shape, strict=True)), **dict(zip(right, b.shape, strict=True))}
    needed = _needed([term for k, term in enumerate(terms) if k not in pair], output)
    result = math.prod(n for label, n in extents.items() if label in needed)
    return result - a.size - b.size, math.prod(extents.values())


def _product(first: Term, second: Term, needed: set[Any]) -> Term:
    a, left = _summed(first, needed | set(second[1]))
    b, right = _summed(second, needed | set(left))
    shared = [label for label in left if label in right]
    batch = [label for label in shared if label in needed]
    inner = [label for label in shared if label not in needed]
    product = contract(a, b, contracting=_places(left, right, inner), batch=_places(left, right, batch))
    free = [label for labels in (left, right) for label in labels if label not in shared]
    return product, (*batch, *free)


def _places(left: Labels, right: Labels, chosen: list[Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return tuple(left.index(label) for label in chosen), tuple(right.index(label) for label in chosen)


guard(globals(), ("einsum",))
