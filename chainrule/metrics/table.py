# SPDX-License-Identifier: Apache-2.0
"""The short name of each metric, and what other libraries call it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable

from ..errors import ArgumentError, explain, shown
from .base import Metric
from .classification import F1, Accuracy, Precision, Recall, TopKAccuracy
from .regression import R2, Mean, MeanAbsoluteError, MeanSquaredError, RootMeanSquaredError
from .scores import AUC, AveragePrecision, LogLoss

# words of other libraries for the same thing, without underscores and the kind of classes
ANSWERS = {
    "acc": "accuracy", "accuracy": "accuracy", "topkaccuracy": "top_5", "balancedaccuracy": "recall_macro",
    "rocauc": "auc", "auroc": "auc", "auc": "auc",
    "f1": "f1", "fbeta": "f1", "precision": "precision", "recall": "recall", "averageprecision": "average_precision",
    "prauc": "average_precision",
    "crossentropy": "log_loss", "logloss": "log_loss", "neglogloss": "log_loss", "r2": "r2",
    "coefficientofdetermination": "r2", "mse": "mse", "mae": "mae",
    "meansquarederror": "mse", "negmeansquarederror": "mse", "negmeanabsoluteerror": "mae", "meanabsoluteerror": "mae",
    "rootmeansquarederror": "rmse",
}

# fmt: off
NAMES: dict[str, type[Metric]] = {
    "accuracy": Accuracy,         "top_k_accuracy": TopKAccuracy,
    "precision": Precision,       "recall": Recall,      "f1": F1,
    "auc": AUC,                   "log_loss": LogLoss,
    "average_precision": AveragePrecision,               "map": AveragePrecision,
    "mean_absolute_error": MeanAbsoluteError,            "mae": MeanAbsoluteError,
    "mean_squared_error": MeanSquaredError,              "mse": MeanSquaredError,
    "root_mean_squared_error": RootMeanSquaredError,     "rmse": RootMeanSquaredError,
    "r2": R2,
}
# fmt: on


def get(metric: str | Metric | type[Metric] | Callable, **options) -> Metric:
    """The metric of that name, new: a key of `NAMES`, "top_5" (any k), or "f1_macro" (precision, recall; any average).

    `options` go to its class: `probabilities=True` (classification), `average`, `positive`, `k`. A metric is given back
    as it is, a class is called, and any other function(outputs, targets) → one value per item becomes a `Mean`.
    Raises ArgumentError for an unknown name.

    >>> cr.metrics.get("top_3").name
    'top_3'
    """
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, type) and issubclass(metric, Metric):
        return metric(**options)
    if callable(metric):
        return Mean(metric, **options)
    kind, implied = resolve(metric)
    try:
        made = kind(**implied, **options)
    except TypeError as error:
        raise ArgumentError(explain(f"the metric {metric!r} does not take these options", got=str(options),
                                    expected=str(error))) from error
    made.name = metric.lower()
    return made


def resolve(name: str) -> tuple[type[Metric], dict]:
    """The class of a name and the options that it implies."""
    lowered = name.lower() if isinstance(name, str) else ""
    if lowered in NAMES:
        return NAMES[lowered], {}
    if match := re.fullmatch(r"top_(\d+)(_accuracy)?", lowered):
        return TopKAccuracy, {"k": int(match[1])}
    if match := re.fullmatch(r"(precision|recall|f1)_(binary|macro|micro|weighted)", lowered):
        return NAMES[match[1]], {"average": match[2]}
    raise ArgumentError(explain(f"unknown metric {name!r}", got=shown(name), expected=", ".join(NAMES),
                                fix=answer(str(name), NAMES)))


def answer(name: str, known: Iterable[str]) -> str | None:
    """What one writes here for another library's name, or the nearest of the known names."""
    plain = name.lower().replace("_", "")
    for word in ("score", "sparse", "categorical", "binary", "multiclass", "multilabel"):
        plain = plain.replace(word, "")
    if plain in ANSWERS:
        return f"use metrics=[{ANSWERS[plain]!r}]"
    lower = {key.lower(): key for key in known}
    close = difflib.get_close_matches(name.lower(), lower, 1)
    return f"did you mean {lower[close[0]]!r}?" if close else None
