# SPDX-License-Identifier: Apache-2.0
"""Connectionist temporal classification: -log of the probability of a label sequence over all its alignments with the
steps (Graves et al., 2006), from logits (batch, steps, classes).

Forward and backward variables run through `scan` in the log domain; the derivative with respect to the logits is
softmax - occupation of the classes. Equations and symbols (alpha, beta, l') are the paper's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError, BoundsError, DTypeError, ShapeError, explain
from ..ir import Tensor, as_tensor
from ..ir.dtype import is_float, is_integer
from ..ops import compose, reduce
from ..ops.broadcast import broadcast_to
from ..ops.contract import contract
from ..ops.control import custom_gradient
from ..ops.elementwise import equal, exp, less, log, maximum, where, zeros_like
from ..ops.index import iota, take_along_axis
from ..ops.movement import pad, permute_dims, reshape, slice_axis
from ..ops.scan import scan
from ..typing import ArrayLike
from .base import loss, tensor
from .targets import Sequences

NEVER = -1e30  # a log-probability that stands for 0: unlike -inf it can be subtracted from itself


@loss(targets=Sequences())
def ctc(outputs: ArrayLike, targets: ArrayLike, *, output_lengths: Any = None, target_lengths: Any = None,
        blank: int = 0, zero_infinity: bool = False) -> Any:
    """-log p(target | outputs), one value for each sample.

    Args:
        outputs: logits (batch, steps, classes).
        targets: integer labels (batch, length); after the end of a target anything if `target_lengths` are given, else
            negative numbers.
        output_lengths: steps that exist (batch); default: all.
        target_lengths: labels that exist (batch).
        blank: the class that stands between labels.
        zero_infinity: a target too long for its steps costs 0; without this, infinity. Its gradient is 0 either way.

    >>> logits = np.zeros((1, 4, 3), "float32")
    >>> cr.losses.ctc(logits, np.array([[1, 2]]))
    Tensor(1.686399, dtype=float32)
    """
    _check(outputs, targets, blank)
    n, steps, _ = outputs.shape
    lengths = _lengths(output_lengths, n, steps, "output_lengths")
    given = _lengths(target_lengths, n, targets.shape[1], "target_lengths") if target_lengths is not None \
        else reduce.sum(compose.astype(Sequences.inside(compose.astype(targets, "int64"), None), "int64"), axis=1)
    lattice = _Lattice(targets, given, lengths, blank, steps, outputs.shape[2])

    def rule(g: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor]:
        possible = reshape(less(y, -NEVER / 2), (n, 1, 1))
        slope = (compose.softmax(x) - lattice.occupation(x)) * reshape(g, (n, 1, 1))
        return (where(compose.logical_and(lattice.exists(x.shape), possible), slope, zeros_like(slope)),)
    value = custom_gradient(-lattice.log_probability(outputs), (outputs,), rule)
    return where(less(value, -NEVER / 2), value, 0.0 if zero_infinity else np.inf)


class _Lattice:
    """The paths through l' = (blank, label, blank, label, ..., blank) of every sample, of width 2 length + 1."""

    def __init__(self, labels: Tensor, label_lengths: Tensor, lengths: Tensor, blank: int, steps: int, classes: int):
        n, length = labels.shape
        self.width, self.steps, self.classes, self.lengths = 2 * length + 1, steps, classes, lengths
        shape = (n, self.width)
        inside = less(iota((n, length), 1), reshape(label_lengths, (n, 1)))
        labels = where(inside, compose.astype(labels, "int64"), blank)
        spread = compose.stack([broadcast_to(as_tensor(blank, labels.dtype), labels.shape), labels], axis=2)
        self.symbols = pad(reshape(spread, (n, 2 * length)), [(0, 0), (0, 1)], blank)
        place = iota(shape, 1)
        last = reshape(2 * label_lengths, (n, 1))
        self.ends = compose.logical_or(equal(place, last), compose.logical_and(equal(place, last - 1), less(0, last)))
        skips = compose.not_equal(self.symbols, blank)
        if self.width > 2:
            before = pad(slice_axis(self.symbols, 1, 0, self.width - 2), [(0, 0), (2, 0)], blank)
            skips = compose.logical_and(skips, compose.not_equal(self.symbols, before))
        self.skips = compose.logical_and(skips, less(1, place))
        self.first = less(place, 2)

    def exists(self, shape: tuple[int, ...]) -> Tensor:
        """Where a step of (batch, steps, ...) is one."""
        return less(iota(shape, 1), reshape(self.lengths, (shape[0], *(1,) * (len(shape) - 1))))

    def _emissions(self, x: Tensor) -> Tensor:
        """log p of each symbol of l' at each step, (steps, batch, width)."""
        log_p = compose.log_softmax(x)
        symbols = reshape(self.symbols, (x.shape[0], 1, self.width))
        rows = take_along_axis(log_p, broadcast_to(symbols, (x.shape[0], self.steps, self.width)), axis=2)
        return permute_dims(maximum(rows, NEVER), (1, 0, 2))

    def _there(self) -> Tensor:
        n = self.lengths.shape[0]
        return permute_dims(self.exists((n, self.steps, 1)), (1, 0, 2))

    def _forward(self, emissions: Tensor) -> tuple[Tensor, Tensor]:
        """(alpha after the last step, alpha of every step): alpha_t = (alpha + shifted once + shifted twice) y_t."""
        start = where(self.first, 0.0, broadcast_to(as_tensor(NEVER, emissions.dtype), self.first.shape))

        def step(carry: Any, now: Any, constants: Any) -> Any:
            alpha, (y, there, is_first) = carry[0], now
            first, skips = constants
            moved = _log_sum(alpha, _shift(alpha, 1), where(skips, _shift(alpha, 2), NEVER))
            new = maximum(where(is_first, where(first, alpha, NEVER), moved) + y, NEVER)
            new = where(there, new, alpha)
            return [new], [new]
        shape = (self.steps, 1, 1)
        (last,), (every,) = scan(step, [start], [emissions, self._there(), equal(iota(shape, 0), 0)],
                                 [self.first, self.skips])
        return last, every

    def _total(self, last: Tensor) -> Tensor:
        """log p of the whole target: both last symbols of l', (batch, 1)."""
        ends = where(self.ends, last, NEVER)
        high = reduce.max(ends, axis=1, keepdims=True)
        total = high + log(reduce.sum(exp(ends - high), axis=1, keepdims=True))
        return where(less(total, NEVER / 2), NEVER, total)

    def log_probability(self, x: Tensor) -> Tensor:
        """log p(target | x) for each sample; NEVER if no path fits."""
        if not self.steps:
            empty = where(equal(iota(self.first.shape, 1), 0), as_tensor(0.0, x.dtype), NEVER)
            return reshape(self._total(empty), (x.shape[0],))
        return reshape(self._total(self._after(self._forward(self._emissions(x))[0])), (x.shape[0],))

    def _after(self, last: Tensor) -> Tensor:
        """The state after the last step; where a sample has no steps, the only path is that of no labels."""
        nothing = where(equal(iota(self.first.shape, 1), 0), as_tensor(0.0, last.dtype), NEVER)
        return where(equal(reshape(self.lengths, (-1, 1)), 0), nothing, last)

    def occupation(self, x: Tensor) -> Tensor:
        """The probability of being in each class at each step, given the target, (batch, steps, classes)."""
        emissions = self._emissions(x)
        last, alphas = self._forward(emissions)
        total = self._total(self._after(last))
        start = where(self.ends, as_tensor(0.0, x.dtype), NEVER)

        def step(carry: Any, now: Any, constants: Any) -> Any:
            beta, (y, alpha, there) = carry[0], now
            skips, total = constants
            after = beta + y
            moved = _log_sum(after, _shift(after, -1), _shift(where(skips, after, NEVER), -2))
            share = exp(compose.minimum(alpha + beta - total, 0.0))
            return [where(there, maximum(moved, NEVER), beta)], [share]
        _, (shares,) = scan(step, [start], [emissions, alphas, self._there()], [self.skips, total], reverse=True)
        chosen = compose.one_hot(self.symbols, self.classes, x.dtype)
        return contract(permute_dims(shares, (1, 0, 2)), chosen, contracting=((2,), (1,)), batch=((0,), (0,)))


def _shift(x: Tensor, by: int) -> Tensor:
    """Rows moved by so many places, NEVER moved in."""
    width = x.shape[1]
    count = min(by if by > 0 else -by, width)
    kept = slice_axis(x, 1, 0, width - count) if by > 0 else slice_axis(x, 1, count, width)
    return pad(kept, [(0, 0), (count, 0) if by > 0 else (0, count)], NEVER)


def _log_sum(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    high = maximum(maximum(a, b), c)
    return high + log(exp(a - high) + exp(b - high) + exp(c - high))


def _lengths(lengths: Any, n: int, most: int, name: str) -> Tensor:
    if lengths is None:
        return broadcast_to(as_tensor(most, "int64"), (n,))
    lengths = tensor(lengths)
    if lengths.shape != (n,) or not is_integer(lengths.dtype):
        raise ShapeError(explain(f"{name} holds one integer per sample", got=f"{lengths.dtype}{list(lengths.shape)}",
                                 expected=f"int64[{n}]"))
    data = lengths.node.data
    if data is not None and data.size and (data.min() < 0 or data.max() > most):
        raise BoundsError(explain(f"{name} do not fit", got=f"{data.min()} to {data.max()}", expected=f"0 to {most}"))
    return compose.astype(lengths, "int64")


def _check(outputs: Tensor, targets: Tensor, blank: int) -> None:
    if outputs.ndim != 3 or not is_float(outputs.dtype):
        raise ShapeError(explain("ctc needs logits for each step", got=f"{outputs.dtype}{list(outputs.shape)}",
                                 expected="(batch, steps, classes)"))
    if not is_integer(targets.dtype):
        raise DTypeError(explain(f"the labels are {targets.dtype}", got=f"{targets.dtype}{list(targets.shape)}",
                                 expected="integers", fix="cast them: y.astype('int64')"))
    if targets.ndim != 2 or targets.shape[0] != outputs.shape[0]:
        raise ShapeError(explain("the labels do not fit the logits",
                                 got=f"labels {targets.shape}, logits {outputs.shape}",
                                 expected=f"({outputs.shape[0]}, length)", fix="pad shorter targets with -1"))
    if not 0 <= blank < outputs.shape[2]:
        raise ArgumentError(explain("the blank is one of the classes", got=f"blank={blank}",
                                    expected=f"0 to {outputs.shape[2] - 1}"))
