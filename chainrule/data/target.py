# SPDX-License-Identifier: Apache-2.0
"""What a network is to predict: raw targets of any source come in, class numbers or float32 numbers go out.

A Target is fitted on the training part and is plain data, so that it can be saved inside a model and turn the model's
outputs back into class names or numbers. A class or a value that cannot be used is told with its place in the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, explain, shown
from .arrays import FINEST
from .files import fault, listed
from .table import parse_number

MANY = 20
TASKS = ("classification", "regression")


@dataclass(frozen=True)
class Target:
    """The fitted target: for classes their texts in the file and their names, for numbers mean and spread per output.

    >>> target = cr.data.digits().target
    >>> isinstance(target, cr.data.Target), target.decode(np.array([3, 7]))
    (True, ['3', '7'])
    """

    task: str
    values: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    decimal: str = "."

    def __repr__(self) -> str:
        if self.task == "classification":
            return f"Target({len(self.class_names)} classes: {listed(self.class_names)})"
        return f"Target(regression of {len(self.mean)}: mean {listed([f'{m:.4g}' for m in self.mean], 4)})"

    def encode(self, y: np.ndarray, where: Callable[[int], str]) -> np.ndarray:
        """Raw targets as int64 class numbers (N,), or as numbers (N, outputs) in their own unit:
        float32, or float64 where the spread is too small beside the numbers for float32.
        """
        if self.task == "regression":
            numbers = _numbers(y, where, self.decimal)
            return numbers if self._fine() else numbers.astype(np.float32)
        unique, inverse = np.unique(y, return_inverse=True)
        texts = [_text(value) for value in unique]
        codes = self._codes(texts)
        for position in np.flatnonzero(codes < 0)[:1]:
            raise self._unknown(texts[position], where(int(np.flatnonzero(inverse.reshape(-1) == position)[0])))
        return codes[inverse.reshape(-1)]

    def known(self, y: np.ndarray, where: Callable[[int], str]) -> np.ndarray:
        """As `encode`, with -1 for a class that is not known."""
        if self.task == "regression":
            return self.encode(y, where)
        unique, inverse = np.unique(y, return_inverse=True)
        return self._codes([_text(value) for value in unique])[inverse.reshape(-1)]

    def unknown(self, y: np.ndarray) -> list[str]:
        """The classes among raw targets that are not known, as texts."""
        if self.task == "regression":
            return []
        texts = [_text(value) for value in np.unique(y)]
        return [text for text, code in zip(texts, self._codes(texts), strict=True) if code < 0]

    def _fine(self) -> bool:
        """Whether float32 is too coarse for the spread of these numbers, as for times in seconds."""
        largest = np.abs(self.mean) + 4 * np.asarray(self.std)
        return bool((np.spacing(largest.astype(np.float32)) > FINEST * np.asarray(self.std)).any())

    def _codes(self, texts: Sequence[str]) -> np.ndarray:
        known = {value: code for code, value in enumerate(self.values)}
        texts = [text if text in known else _whole(text) for text in texts]
        if not any(text in known for text in texts):
            texts = [text.removesuffix(".") for text in texts]
        return np.array([known.get(text, -1) for text in texts], np.int64)

    def dotted(self, y: np.ndarray) -> bool:
        """Whether these labels match the classes only without a trailing dot, as in the adult test set."""
        texts = {_text(value) for value in np.unique(y)}
        return self.task == "classification" and not texts & set(self.values) and all(t.endswith(".") for t in texts)

    def _unknown(self, text: str, place: str) -> Exception:
        whole = all(value.isdigit() for value in self.values)
        counted = f"0..{len(self.values) - 1}" if whole and self.values == _digits(len(self.values)) else None
        fix = "are the labels 1-based?" if counted and text == str(len(self.values)) else None
        return fault(f"{place}: the class {shown(text)} is none of the {len(self.values)} classes of the training data",
                     expected=counted or _shortened(self.values), fix=fix)

    def decode(self, outputs: np.ndarray) -> list[str] | np.ndarray:
        """Class names of class numbers (N,), or the numbers themselves."""
        if self.task == "regression":
            return np.asarray(outputs)
        return [self.class_names[int(code)] for code in np.asarray(outputs).reshape(-1)]

    def to_config(self) -> dict[str, Any]:
        """Plain data for JSON; `from_config` gives the same target back."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Target:
        """The target that `to_config` described."""
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in config.items()})


def fit_target(y: np.ndarray, where: Callable[[int], str], task: str | None = None,
               classes: int | Sequence[str] | None = None, decimal: str = ".") -> Target:
    """Decide the task and fit it: classes in numerical order if all are whole numbers, else in alphabetical order.

    Regression is chosen for numbers with a fraction and for numbers with more than 20 distinct values; arrays of an
    integer or bool dtype, class names and targets with few whole numbers are classification. `task` overrides the
    rule; `classes` fixes the number of classes (labels 0..classes-1) or their names.
    """
    if task not in (None, *TASKS):
        raise ArgumentError(explain("unknown task", got=repr(task), expected=" or ".join(TASKS)))
    if (task or ("classification" if classes is not None else choose_task(y, decimal))) == "regression":
        numbers = _numbers(y, where, decimal)
        std = numbers.std(axis=0)
        return Target("regression", mean=tuple(map(float, numbers.mean(axis=0))),
                      std=tuple(float(value) if value > 0 else 1.0 for value in std), decimal=decimal)
    if y.ndim != 1:
        raise fault(f"{where(0)}: a class needs one label per sample", got=f"targets of shape {y.shape}",
                    expected="(N,) or one-hot rows", fix='load(..., task="regression") for several numbers per sample')
    return _fit_classes(sorted({_text(value) for value in np.unique(y)}), where, classes)


def _fit_classes(found: list[str], where: Callable[[int], str], classes: int | Sequence[str] | None) -> Target:
    if all(parse_number(text) is not None for text in found):
        found = sorted({_whole(text) for text in found}, key=lambda text: (float(text), text))
    names = _digits(classes) if isinstance(classes, int) else tuple(classes or found)
    named = classes is not None and not isinstance(classes, int)
    values = _digits(len(names)) if named and not set(found) <= set(names) else names
    if len(names) < 2:
        raise fault(f"{where(0)}: all samples have one class, {names[0] if names else 'none'}",
                    expected="2 classes or more")
    return Target("classification", values, names)


def choose_task(y: np.ndarray, decimal: str = ".") -> str:
    """The rule of `fit_target` for the task."""
    if y.dtype.kind in "bui":
        return "classification" if y.ndim == 1 else "regression"
    if y.ndim > 1:
        return "regression"
    numbers = [parse_number(str(value), decimal) for value in np.unique(y)]
    if any(number is None for number in numbers):
        return "classification"
    fraction = any(not float(number).is_integer() for number in numbers)  # type: ignore[arg-type]
    return "regression" if fraction or len(numbers) > MANY else "classification"


def class_sizes(names: Sequence[str], codes: np.ndarray) -> str:
    """``<=50K 24,720 · >50K 7,841``, at most ten classes, the rest summed up."""
    sizes = np.bincount(codes, minlength=len(names))
    if len(names) > 10:
        return f"{sizes.min():,} to {sizes.max():,} samples per class"
    return " · ".join(f"{name} {size:,}" for name, size in zip(names, sizes, strict=True))




def _numbers(y: np.ndarray, where: Callable[[int], str], decimal: str) -> np.ndarray:
    if y.dtype.kind == "U":
        parsed = [parse_number(str(text), decimal) for text in y]
        y = np.array([np.nan if number is None else number for number in parsed])
    numbers = y.astype(np.float64).reshape(len(y), -1)
    with np.errstate(over="ignore"):
        bad = np.flatnonzero(~np.isfinite(numbers.astype(np.float32)).all(axis=1))
    if len(bad):
        raise fault(f"{where(int(bad[0]))}: the target is not a finite number", expected="a number, for regression",
                    fix='use task="classification" if these are class names')
    return numbers


def _text(value: Any) -> str:
    if isinstance(value, np.floating | float) and float(value).is_integer():
        return str(int(value))
    return str(int(value)) if isinstance(value, np.integer | np.bool_) else str(value)


def _whole(text: str) -> str:
    """``1.0`` as ``1``: the same label in files that have also fractions or gaps and in those that have none."""
    return text.partition(".")[0] if re.fullmatch(r"-?\d+\.0+", text) else text


def _digits(number: int) -> tuple[str, ...]:
    return tuple(map(str, range(number)))


def _shortened(values: Sequence[str]) -> str:
    return ", ".join(value[:40] for value in values[:10]) + (", …" if len(values) > 10 else "")
