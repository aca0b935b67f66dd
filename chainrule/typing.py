# SPDX-License-Identifier: Apache-2.0
"""Names for what public functions take, so that an editor completes and a type checker checks a program that uses them.

Whatever has `__array__` is array-like, so a Tensor and a Variable are; nothing here needs to know their classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

__all__ = [
    "ActivationLike", "ArrayLike", "Axes", "AxisLike", "DTypeLike", "DataLike", "Device", "Extents", "InitializerLike",
    "LearningRate", "LossLike", "ModelLike", "OptimizerLike", "PaddingLike", "PolicyLike", "RangeLike", "ShapeLike",
    "SourceLike", "TableLike", "Tokenizer", "TrainingRun",
]


class Updates(Protocol):
    """What an optimiser does."""

    def update(self, model: Any, grads: Any) -> None:
        """One step from gradients."""


class Samples(Protocol):
    """Samples by number: a data set of PyTorch or Hugging Face, a list, a `data.Source`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


class Acts(Protocol):
    """What an agent does."""

    def act(self, observation: Any, /, *, deterministic: bool = True) -> Any:
        """One action for each observation of a batch."""


class Axes(Protocol):
    """A place for a picture in a figure of matplotlib."""

    def get_figure(self) -> Any:
        """The figure that it is in."""


class Tokenizer(Protocol):
    """From text to ids and back: `data.CharacterTokenizer`, or one of the library `tokenizers`."""

    def encode(self, text: str, /) -> Any: ...

    def decode(self, ids: Any, /) -> str: ...


class TrainingRun(Protocol):
    """A run of `fit` or of a Trainer, as its callbacks see it; also under the name `train.Run`.

    Attributes:
        model: the model; of a Trainer with several, all its objects together: both have `variables()`.
        optimizer: the optimiser, the first of several.
        history: the rows so far, that of the epoch which has just ended included.
        epoch, epochs: epochs that are done, and how many there will be.
        step_number: steps that are done, over all epochs.
        stop: set it to True, and the run ends after the current step (or call with many steps).
        validation: what is measured after each epoch, None if nothing is.
        reporter: `reporter.say(text)` tells the reader something.
        loss, data, examples: of `fit` alone: the loss; the training samples `data.x`, `data.y`, `data.weights`,
            ArgumentError where they come in batches; and samples to look at, which are all of them in memory, or the
            first batch.

    >>> class Steps(cr.train.Callback):
    ...     def end(self, run: cr.train.Run):
    ...         print(run.step_number)
    >>> x = np.ones((8, 1), "float32")
    >>> history = cr.fit(nn.Dense(1), (x, x), loss="mse", epochs=3, callbacks=[Steps()], progress=False)
    3
    """

    model: Any
    optimizer: Any
    loss: Any
    data: Any
    examples: Any
    history: Any
    epoch: int
    epochs: int
    step_number: int
    stop: bool
    validation: Any
    reporter: Any

    def save(self, path: Any) -> None:
        """Write the whole run to a file, from which it goes on with the same bits."""


AxisLike: TypeAlias = int | Sequence[int] | None
ShapeLike: TypeAlias = int | Sequence[int]
Device: TypeAlias = str | None
Extents: TypeAlias = int | Sequence[int]
"""One number for all spatial axes, or one for each."""
PaddingLike: TypeAlias = str | int | Sequence[int | tuple[int, int]]
"""A name such as "same", one number, or a number or pair (before, after) for each spatial axis."""
RangeLike: TypeAlias = float | tuple[float, float]
"""(low, high), or one number that stands for such a pair."""
ActivationLike: TypeAlias = str | Callable[..., Any] | None
"""A name such as "relu", a function or a layer; None for none."""
InitializerLike: TypeAlias = str | Callable[..., Any] | ArrayLike
"""A name such as "he_normal", or a function of shape and dtype."""
LearningRate: TypeAlias = float | np.number | Callable[..., Any]
"""A number, or a schedule: a function of the step."""
LossLike: TypeAlias = str | Callable[..., Any] | Sequence[Any] | Mapping[str, Any]
"""A name, a loss or a function (outputs, targets) -> values; of several outputs a structure of them."""
OptimizerLike: TypeAlias = str | Updates | type[Updates]
"""A name, an optimiser or its class."""
ModelLike: TypeAlias = Callable[..., Any]
"""A module, or any function from inputs to outputs."""
PolicyLike: TypeAlias = Acts | Callable[..., Any]
"""An agent, or a function from a batch of observations to actions."""
SourceLike: TypeAlias = Samples | Iterable[Any]
"""Samples by number, or an iterable of them."""
DataLike: TypeAlias = tuple[Any, ...] | Mapping[str, Any] | SourceLike
"""(x, y), (x, y, weights), arrays or nested structures of them, a source or a stream."""
TableLike: TypeAlias = DataLike | str | PathLike[str]
"""What a task learns from: the path of a table, a frame of pandas, polars or Arrow, columns by name, or what `fit`
takes."""
