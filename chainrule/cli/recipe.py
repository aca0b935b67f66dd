# SPDX-License-Identifier: Apache-2.0
"""From a data set to a network, a loss, metrics and an optimiser: the choices the command line makes unless told."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from .. import models, optim
from ..data import Dataset, Target
from ..errors import ArgumentError, explain, shortened, shown
from ..foundations.names import closest
from .settings import Settings


def is_image(dataset: Dataset) -> bool:
    """Whether the inputs are images (H, W, C) worth convolving."""
    return len(dataset.feature_shape) == 3 and min(dataset.feature_shape[:2]) >= 4


def choose(settings: Settings, dataset: Dataset) -> Settings:
    """The settings with everything that was left open decided by the form and the size of the data."""
    _check_model(settings, dataset)
    class_weight(settings, dataset)
    kind = settings.model if settings.model != "auto" else "cnn" if is_image(dataset) else "mlp"
    samples = len(dataset.x_train)
    small = samples < 5000
    return replace(
        settings, model=kind,
        hidden=settings.hidden or ((128,) if kind == "cnn" else (256, 128) if not small else (64, 32)),
        dropout=_default(settings.dropout, 0.25 if kind == "cnn" else 0.2 if not small and dataset.task
                         == "classification" else 0.0),
        epochs=_default(settings.epochs, 30 if kind == "cnn" and small else 8 if kind == "cnn" else 100 if small
                        else _epochs(dataset)),
        batch_size=_default(settings.batch_size, 32 if small else 128),
        learning_rate=_default(settings.learning_rate, 2e-3 if kind == "cnn" or small else 1e-3),
    )


def _check_model(settings: Settings, dataset: Dataset) -> None:
    """ArgumentError for a network that does not fit the data, and for options that would change nothing in it."""
    if settings.model == "cnn" and not is_image(dataset):
        raise ArgumentError(explain("--model cnn needs images",
                                    got=f"{dataset.name}: samples of shape {dataset.feature_shape}",
                                    fix="--model mlp, or leave it out"))
    if len(settings.hidden) > 1 and (settings.model == "cnn" or (settings.model == "auto" and is_image(dataset))):
        raise ArgumentError(explain("a cnn has one hidden layer",
                                    got=" ".join(f"--hidden {width}" for width in settings.hidden),
                                    fix="give --hidden once, or --model mlp"))


def _epochs(dataset: Dataset) -> int:
    """Of a network for a large table. Numbers take longer to fit than classes: 15 epochs leave R2 of the California
    housing at 0.77, 40 reach 0.80."""
    return 15 if dataset.task == "classification" else max(15, min(40, 800_000 // len(dataset.x_train)))


def _default(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


def build(settings: Settings, dataset: Dataset) -> Any:
    """The network."""
    if settings.model == "cnn":
        return models.cnn(dataset.outputs, dataset.feature_shape, hidden=settings.hidden[0], dropout=settings.dropout)
    return models.mlp(dataset.outputs, settings.hidden, settings.dropout, input_shape=dataset.feature_shape)


def optimizer(settings: Settings, steps: int) -> Any:
    """AdamW with a short warm-up and a cosine decay over all steps."""
    warm = max(1, min(steps // 20, 200))
    schedule = optim.schedules.warmup_cosine(settings.learning_rate, warmup_steps=warm,
                                             decay_steps=max(steps, warm + 1))
    return optim.AdamW(schedule, weight_decay=settings.weight_decay)


def steps(settings: Settings, samples: int) -> int:
    """Steps of the whole run."""
    return settings.epochs * math.ceil(samples / settings.batch_size)


def loss_name(dataset: Dataset) -> str:
    """The loss of the task."""
    return "cross_entropy" if dataset.task == "classification" else "mean_squared_error"


BALANCED = "balanced"


def class_weight(settings: Settings, dataset: Dataset) -> str | dict[int, float] | None:
    """What each class counts in training, as `fit` takes it; ArgumentError for what is neither balanced nor weights of
    known classes."""
    given = settings.class_weight
    if not given:
        return None
    if dataset.task != "classification":
        raise ArgumentError(explain("--class-weight weighs classes, and this is a regression",
                                    got=_weights_given(given), fix="leave it out"))
    if given == (BALANCED,):
        return BALANCED
    pairs = [_weight(text, dataset.target) for text in given]
    if len({label for label, _ in pairs}) < len(pairs):
        raise ArgumentError(explain("--class-weight names a class twice", got=_weights_given(given),
                                    expected="each class once"))
    return dict(pairs)


def class_weight_line(settings: Settings, dataset: Dataset) -> list[str]:
    """What is said of the weights: each class with what one of its samples counts."""
    if (weights := class_weight(settings, dataset)) is None:
        return []
    sizes = np.bincount(dataset.y_train, minlength=len(dataset.class_names))
    if weights == BALANCED:
        weights = {int(i): sizes.sum() / (np.count_nonzero(sizes) * sizes[i]) for i in np.flatnonzero(sizes)}
    each = [f"{dataset.class_names[i]} {weights.get(i, 1.0):.4g}" for i in range(len(sizes))]
    return [f"class weights{' (balanced)' if settings.class_weight == (BALANCED,) else ''}: "
            f"{', '.join(each[:8])}{', …' if len(each) > 8 else ''}; "
            "in training only: what is measured counts each sample once"]


def _weight(text: str, target: Target) -> tuple[int, float]:
    """(class number, weight) of LABEL=WEIGHT; a label may hold = itself."""
    label, sign, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not sign or not math.isfinite(value) or value < 0:
        raise ArgumentError(explain("--class-weight takes balanced, or a class and what it counts",
                                    got=_weights_given((text,)), expected="LABEL=WEIGHT with a weight of 0 or more",
                                    fix="for example --class-weight balanced"))
    for names in (target.values, target.class_names):
        if label in names:
            return names.index(label), value
    raise ArgumentError(explain("--class-weight names a class that is not in the data", got=_weights_given((text,)),
                                expected=shown(list(target.class_names)), fix=closest(label, target.class_names)))


def _weights_given(given: tuple[str, ...]) -> str:
    return shortened(" ".join(f"--class-weight {text}" for text in given), 200)


def metric_names(dataset: Dataset) -> list[str]:
    """What is measured after each epoch."""
    return ["accuracy"] if dataset.task == "classification" else ["mae"]


def final_metrics(target: Target) -> list[str]:
    """What is measured on the test set."""
    if target.task == "regression":
        return ["rmse", "mae", "r2"]
    return ["accuracy", "f1_macro", "auc"] if len(target.class_names) == 2 else ["accuracy", "f1_macro"]


def targets(dataset: Dataset, part: str) -> np.ndarray:
    """What the network learns: class numbers, or targets standardised by the training set."""
    y = getattr(dataset, f"y_{part}")
    return y if dataset.task == "classification" else standardise(dataset, y)


def standardise(dataset: Dataset, y: np.ndarray) -> np.ndarray:
    """Regression targets with mean 0 and spread 1 over the training set."""
    mean, std = np.asarray(dataset.target.mean), np.asarray(dataset.target.std)
    return ((y - mean) / np.where(std > 0, std, 1)).astype(np.float32)


def unstandardise(target: Target, outputs: np.ndarray) -> np.ndarray:
    """Outputs of the network in the unit of the targets."""
    std = np.asarray(target.std)
    return outputs * np.where(std > 0, std, 1) + np.asarray(target.mean)
