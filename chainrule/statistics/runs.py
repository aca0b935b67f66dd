# SPDX-License-Identifier: Apache-2.0
"""`compare`: is B better than A? One line: the difference, its confidence interval and the p-value of the fitting test.

In come two runs: what each got right on one and the same test set, or one score per seed or fold. Runs on different
test sets are refused, because nothing follows from comparing them. Out comes a Comparison that prints as its verdict.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError, explain
from ..foundations.arguments import guard
from ..metrics.intervals import Interval, bootstrap, check_level
from ..metrics.items import class_items
from ..typing import ArrayLike
from . import paired
from .checks import by_name

TESTS = ("auto", "mcnemar", "paired_t", "wilcoxon", "permutation")


def fingerprint(*arrays: ArrayLike) -> str:
    """Sixteen hexadecimal digits that tell data sets apart: SHA-256 of the arrays' shapes, dtypes and contents.

    >>> x = np.arange(6.0)
    >>> cr.statistics.fingerprint(x) == cr.statistics.fingerprint(x.copy()), len(cr.statistics.fingerprint(x))
    (True, 16)
    """
    digest = hashlib.sha256()
    for array in map(np.asarray, arrays):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Run:
    """What one run measured.

    Attributes:
        name: for the verdict.
        values: one number per item of the test set, or one per seed or fold.
        per: "item" or "repeat" (seed, fold).
        test_set: fingerprint of the test set, or None if it is not known.
        percent: whether the values are shares, told in percentage points (pt).
        higher_is_better: False for losses and errors.

    >>> a = cr.statistics.Run.of_predictions("A", np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]))
    >>> a.values, a.per
    (array([1., 1., 0., 1.]), 'item')
    """

    name: str
    values: np.ndarray
    per: str = "repeat"
    test_set: str | None = None
    percent: bool = True
    higher_is_better: bool = True

    @classmethod
    def of_predictions(cls, name: str, outputs: Any, targets: Any, inputs: Any = None) -> Run:
        """A classifier's outputs: logits or probabilities (n, classes), or predicted labels (n,) as integers.

        The test set is known by its targets, and by its inputs if they are given.
        """
        outputs, targets = np.asarray(outputs), np.asarray(targets)
        labels = outputs.dtype.kind in "iub" and outputs.shape == targets.shape
        right = outputs == targets if labels else _right(outputs, targets)
        return cls(name, right.astype(np.float64), "item", fingerprint(targets, *(() if inputs is None else (inputs,))))

    @classmethod
    def of_scores(cls, name: str, scores: Sequence[float], *, test_set: Any = None, percent: bool = True,
                  higher_is_better: bool = True) -> Run:
        """One score per seed or fold, in the same order for all runs; `test_set` is a fingerprint or an array."""
        return cls(name, np.asarray(scores, np.float64), "repeat", _known(test_set), percent, higher_is_better)

    @classmethod
    def of_losses(cls, name: str, losses: Any, *, test_set: Any = None) -> Run:
        """One loss per item of the test set."""
        return cls(name, np.asarray(losses, np.float64).ravel(), "item", _known(test_set), False, False)


def _right(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    items = class_items(outputs, targets, None)
    predicted = items.scores.argmax(axis=1) if items.scores.shape[1] > 1 else items.scores[:, 0] > 0
    return predicted == items.labels


def _known(test_set: Any) -> str | None:
    return test_set if test_set is None or isinstance(test_set, str) else fingerprint(test_set)


@dataclass(frozen=True)
class Comparison:
    """B less A (in the direction that is better), with the interval and the p-value; `str()` is the verdict.

    Attributes:
        difference, low, high: how much better B is; negative where A is better.
        p: two-sided p-value of no difference (adjusted, if `corrected_for` > 1 comparisons).
        test: the test's name; `pairs`: from how many pairs.

    >>> a = cr.statistics.Run.of_scores("A", [0.80, 0.81, 0.79, 0.80])
    >>> b = cr.statistics.Run.of_scores("B", [0.90, 0.92, 0.89, 0.91])
    >>> found = cr.compare(a, b)
    >>> isinstance(found, cr.statistics.Comparison), found.significant, round(found.difference, 3)
    (True, True, 0.105)
    """

    names: tuple[str, str]
    difference: float
    low: float
    high: float
    p: float
    test: str
    pairs: int
    level: float = 0.95
    percent: bool = True
    corrected_for: int = 1

    @property
    def significant(self) -> bool:
        """Whether p <= 1 - level."""
        return self.p <= 1 - self.level + 1e-12

    def __str__(self) -> str:
        a, b = self.names
        winner, sign = (b, 1) if self.difference >= 0 else (a, -1)
        low, high = sorted((sign * self.low, sign * self.high))
        scale, unit = (100, " pt") if self.percent else (1, "")
        digits = _digits(scale * (high - low), scale * abs(self.difference))
        show = lambda x: f"{round(scale * x, digits) + 0.0:.{digits}f}"
        gain = f"{winner} better by {show(abs(self.difference))}{unit}" if self.difference else f"0{unit}"
        text = f"{gain}, {100 * self.level:g} % CI [{show(low)}, {show(high)}], {_p_text(self.p)}"
        text += f" (corrected for {self.corrected_for} comparisons)" if self.corrected_for > 1 else ""
        return text if self.significant else f"no difference shown: {text}"

    __repr__ = __str__


def _digits(width: float, size: float) -> int:
    """One decimal for an interval as wide as 0.5 or more, one more for each factor of ten below."""
    largest = 2 * width if width > 0 else size
    return min(max(1, math.ceil(-math.log10(largest)) + 1), 10) if largest > 0 else 1


def _p_text(p: float) -> str:
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.0995 else f"p = {p:.2f}"


def compare(a: ArrayLike, b: ArrayLike, targets: ArrayLike | None = None, *, test: str = "auto", level: float = 0.95,
            names: tuple[str, str] = ("A", "B"), percent: bool = True, higher_is_better: bool = True,
            resamples: int = 9999, seed: int = 0) -> Comparison:
    """Is B better than A?

    Args:
        a, b: Runs, or results of `evaluate`; or, with `targets`, the outputs of two classifiers on the same items; or
            two lists of scores, one per seed or fold in the same order.
        test: "auto" takes McNemar's test (mid-p) for right and wrong answers and the paired t-test for numbers;
            "wilcoxon" and "permutation" do not assume normal differences.
        level: of the interval, and 1 - level that of the test.
        percent, higher_is_better: of lists of scores; Runs know it.
        resamples, seed: of the permutation test.

    Intervals: Newcombe's from Wilson's for McNemar, Student's for the t-test, else the BCa bootstrap.
    Raises ArgumentError for runs on different test sets, ShapeError for different numbers of values.

    >>> right_a = np.array([1, 0, 0, 1, 0, 1, 0, 0] * 10)
    >>> right_b = np.array([1, 1, 0, 1, 1, 1, 0, 1] * 10)
    >>> found = cr.compare(cr.statistics.Run("A", right_a), cr.statistics.Run("B", right_b))
    >>> round(found.difference, 3)
    0.375
    """
    check_level(level)
    if test not in TESTS:
        raise ArgumentError(explain("there is no such test", got=repr(test), expected=" | ".join(TESTS)))
    a, b = (_run(x, name, targets, percent, higher_is_better) for x, name in zip((a, b), names, strict=True))
    _check_pair(a, b)
    d = paired.differences(a.values, b.values) * (1 if a.higher_is_better else -1)
    binary = a.per == "item" and _is_binary(a.values) and _is_binary(b.values)
    test = ("mcnemar" if binary else "paired_t") if test == "auto" else test
    if test == "mcnemar" and not binary:
        raise ArgumentError(explain("McNemar's test needs right and wrong answers to the same items",
                                    got="other numbers",
                                    fix="pass predictions and targets, or use test='paired_t'"))
    p, interval = _answer(test, a.values, b.values, d, level, resamples, seed)
    return Comparison((a.name, b.name), float(d.mean()), *interval, p, test, len(d), level, a.percent)


def _run(x: Any, name: str, targets: Any, percent: bool, higher_is_better: bool) -> Run:
    if isinstance(x, Run):
        return x
    if hasattr(x, "test_set") and hasattr(x, "each_is_right"):
        return _of_result(x, name)
    if targets is not None:
        return Run.of_predictions(name, x, targets)
    return Run.of_scores(name, x, percent=percent, higher_is_better=higher_is_better)


def _of_result(result: Any, name: str) -> Run:
    """What `evaluate` returned, sample by sample."""
    if result.each is None:
        raise ArgumentError(explain("this result says nothing about single samples",
                                    got="outputs that do not look like the targets",
                                    fix="compare predictions: compare(p_a, p_b, targets), or Run.of_losses"))
    if result.each_is_right:
        return Run(name, result.each, "item", result.test_set)
    return Run.of_losses(name, result.each, test_set=result.test_set)


def _check_pair(a: Run, b: Run) -> None:
    if a.test_set is not None and b.test_set is not None and a.test_set != b.test_set:
        raise ArgumentError(explain("the two runs used different test sets: their difference says nothing about the "
                                    "models",
                                    got=f"{a.name}: {a.test_set}, {b.name}: {b.test_set}",
                                    expected="one test set, in one order",
                                    fix="evaluate both models on the same test data"))
    if (a.per, a.percent, a.higher_is_better) != (b.per, b.percent, b.higher_is_better):
        raise ArgumentError(explain("the two runs measured different things",
                                    got=f"{a.name}: per {a.per}, {b.name}: per {b.per}",
                                    expected="the same kind of values in the same unit"))
    if not a.values.ndim and not b.values.ndim:
        raise ShapeError(explain("one number for each run says nothing about chance",
                                 got=f"{a.values:g} and {b.values:g}",
                                 expected="a score for each seed or fold, predictions, or two results of evaluate"))
    if a.values.shape != b.values.shape or a.values.ndim != 1:
        raise ShapeError(explain("the two runs have different numbers of values",
                                 got=f"{a.name}: {a.values.shape}, {b.name}: {b.values.shape}",
                                 fix="use the same test items, or the same seeds or folds, for both"))


def _is_binary(values: np.ndarray) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


def _answer(test: str, a: np.ndarray, b: np.ndarray, d: np.ndarray, level: float, resamples: int,
            seed: int) -> tuple[float, Interval]:
    if test == "mcnemar":
        both, only_a, only_b = (int(np.count_nonzero(x))
                                for x in ((a == 1) & (b == 1), (a == 1) & (b == 0), (a == 0) & (b == 1)))
        return (paired.mcnemar(only_a, only_b),
                paired.paired_proportions(both, only_a, only_b, len(d) - both - only_a - only_b, level))
    if test == "paired_t":
        return paired.paired_t(d), paired.t_interval(d, level)
    p = paired.wilcoxon(d) if test == "wilcoxon" else paired.permutation(d, resamples=resamples, seed=seed)
    mean = float(d.mean())
    return (p, bootstrap(lambda counts: counts @ d / counts.sum(axis=1), np.ones(len(d)), level=level, seed=seed)
            or (mean, mean))


def compare_all(runs: Sequence[Run], *, baseline: Run | None = None, correction: str = "holm",
                **options: Any) -> list[Comparison]:
    """Every run against the baseline, or every pair, with p-values corrected for the number of comparisons.

    Args:
        correction: "holm" | "benjamini-hochberg" | "none".
        options: of `compare`.

    >>> scores = {"A": [0.80, 0.81, 0.79, 0.80], "B": [0.90, 0.92, 0.89, 0.91]}
    >>> runs = [cr.statistics.Run.of_scores(name, values) for name, values in scores.items()]
    >>> [found.significant for found in cr.statistics.compare_all(runs)]
    [True]
    """
    pairs = ([(baseline, run) for run in runs if run is not baseline] if baseline is not None
             else list(itertools.combinations(runs, 2)))
    found = [compare(a, b, **options) for a, b in pairs]
    p = paired.adjust([c.p for c in found], correction)
    number = 1 if correction == "none" else len(found)
    return [replace(c, p=float(value), corrected_for=number) for c, value in zip(found, p, strict=True)]


def _several(value: Any) -> str | None:
    return None if isinstance(value, list | tuple) and all(isinstance(run, Run) for run in value) else "a list of Runs"


guard(globals(), ("compare", "compare_all", "fingerprint"), by_name(("compare", "compare_all"), runs=_several))

__all__ = ["Comparison", "Run", "compare", "compare_all", "fingerprint"]
