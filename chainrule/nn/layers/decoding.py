# SPDX-License-Identifier: Apache-2.0
"""From the logits of a network trained with `losses.ctc` to label sequences: the best path, or the best labelling by
prefix beam search (Hannun, "Sequence modeling with CTC", 2017).

A path gives each step a class; its labelling is what is left once repeats are merged and blanks removed. The best
path's labelling need not be the most probable one, whose probability is the sum over all its paths. NumPy, outside any
graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, ShapeError, explain
from ...typing import ArrayLike
from ..core.checks import positive

NEVER = -math.inf


def ctc_greedy(logits: ArrayLike, lengths: ArrayLike | None = None, blank: int = 0) -> list[list[int]]:
    """The labelling of the best path of each sample.

    Args:
        logits: (batch, steps, classes).
        lengths: steps that exist (batch); default: all.
        blank: the class that stands between labels.

    >>> logits = np.log([[[0.1, 0.9], [0.8, 0.2], [0.1, 0.9]]])
    >>> nn.ctc_greedy(logits)
    [[1, 1]]
    """
    log_p, lengths = _checked(logits, lengths, blank)
    result = []
    for rows, length in zip(log_p, lengths, strict=True):
        path = rows[:length].argmax(1)
        changed = np.r_[True, path[1:] != path[:-1]][:length]
        result.append([int(c) for c in path[changed] if c != blank])
    return result


def ctc_beam(logits: ArrayLike, lengths: ArrayLike | None = None, blank: int = 0, beam: int = 16,
             best: int = 1) -> list[list[tuple[list[int], float]]]:
    """The most probable labellings of each sample with their log-probabilities, the best one first.

    With a beam as wide as there are labellings the search is exact.

    Args:
        logits, lengths, blank: as in `ctc_greedy`.
        beam: prefixes that are kept from step to step.
        best: labellings that are given for each sample.

    >>> logits = np.log([[[0.1, 0.9], [0.8, 0.2], [0.1, 0.9]]])
    >>> nn.ctc_beam(logits)[0][0][0]
    [1, 1]
    """
    log_p, lengths = _checked(logits, lengths, blank)
    positive("beam", beam)
    return [_search(rows[:length], blank, beam)[:positive("best", best)]
            for rows, length in zip(log_p, lengths, strict=True)]


def _search(log_p: np.ndarray, blank: int, beam: int) -> list[tuple[list[int], float]]:
    """Prefix -> (log p of its paths that end in blank, log p of those that end in its last label), step by step."""
    kept: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, NEVER)}
    for row in log_p.tolist():
        found: dict[tuple[int, ...], list[float]] = {}
        for prefix, (by_blank, by_label) in kept.items():
            whole = _log_sum(by_blank, by_label)
            _add(found, prefix, 0, whole + row[blank])
            for c, p in enumerate(row):
                if c == blank:
                    continue
                repeats = bool(prefix) and prefix[-1] == c
                if repeats:
                    _add(found, prefix, 1, by_label + p)
                _add(found, (*prefix, c), 1, (by_blank if repeats else whole) + p)
        possible = (item for item in found.items() if max(item[1]) > NEVER)
        ranked = sorted(possible, key=lambda item: -_log_sum(*item[1]))
        kept = {prefix: (both[0], both[1]) for prefix, both in ranked[:beam]}
    return [(list(prefix), _log_sum(*both)) for prefix, both in kept.items()]


def _add(found: dict[tuple[int, ...], list[float]], prefix: tuple[int, ...], end: int, log_p: float) -> None:
    both = found.setdefault(prefix, [NEVER, NEVER])
    both[end] = _log_sum(both[end], log_p)


def _log_sum(a: float, b: float) -> float:
    high, low = max(a, b), min(a, b)
    return high if low == NEVER else high + math.log1p(math.exp(low - high))


def _checked(logits: Any, lengths: Any, blank: int) -> tuple[np.ndarray, Sequence[int]]:
    x = np.asarray(logits, np.float64)
    if x.ndim != 3:
        raise ShapeError(explain("ctc decodes logits for each step", got=f"shape {x.shape}",
                                 expected="(batch, steps, classes)", fix="one sample is a batch of one: logits[None]"))
    if not 0 <= blank < x.shape[2]:
        raise ArgumentError(explain("the blank is one of the classes", got=f"blank={blank}",
                                    expected=f"0 to {x.shape[2] - 1}"))
    steps = [x.shape[1]] * len(x) if lengths is None else [int(n) for n in np.asarray(lengths)]
    if len(steps) != len(x) or any(not 0 <= n <= x.shape[1] for n in steps):
        raise ShapeError(explain("the lengths do not fit", got=str(steps)[:60],
                                 expected=f"{len(x)} numbers from 0 to {x.shape[1]}"))
    high = x.max(-1, keepdims=True, initial=-math.inf)
    return x - high - np.log(np.exp(x - high).sum(-1, keepdims=True)), steps
