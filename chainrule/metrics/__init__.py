# SPDX-License-Identifier: Apache-2.0
"""Metrics that are exact over an epoch for any batch size, each with a confidence interval.

    accuracy = metrics.get("accuracy")
    for images, labels in batches:
        accuracy.update(model(images).numpy(), labels)
    print(accuracy.estimate())        # 98.6 % (95 % interval 96.8 to 99.4 %)

`NAMES` has the short name of each.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import ArgumentError, explain, shown
from .base import Metric
from .classification import F1, Accuracy, ConfusionMatrix, Precision, Recall, TopKAccuracy, confusion_matrix
from .direction import direction, larger_is_better
from .intervals import Estimate, bootstrap, wilson
from .regression import R2, Mean, MeanAbsoluteError, MeanSquaredError, RootMeanSquaredError
from .scores import AUC, AveragePrecision, LogLoss
from .text import BLEU

__all__ = [
    "AUC", "BLEU", "F1", "NAMES", "R2", "Accuracy", "AveragePrecision", "ConfusionMatrix", "Estimate", "LogLoss", "Mean", "MeanAbsoluteError",
    "MeanSquaredError", "Metric", "Precision", "Recall", "RootMeanSquaredError", "TopKAccuracy", "bootstrap",
    "confusion_matrix", "direction", "get", "larger_is_better", "wilson",
]

# words of other libraries for the same thing, without underscores and the kind of classes
ANSWERS = {
    "acc": "accuracy", "accuracy": "accuracy", "topkaccuracy": "top_5", "balancedaccuracy": "recall_macro", "rocauc": "auc", "auroc": "auc", "auc": "auc",
    "f1": "f1", "fbeta": "f1", "precision": "precision", "recall": "recall", "averageprecision": "average_precision", "prauc": "average_precision",
    "crossentropy": "log_loss", "logloss": "log_loss", "neglogloss": "log_loss", "r2": "r2", "coefficientofdetermination": "r2", "mse": "mse", "mae": "mae",
    "meansquarederror": "mse", "negmeansquarederror": "mse", "negmeanabsoluteerror": "mae", "meanabsoluteerror": "mae", "rootmeansquarederror": "rmse",
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
    """
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, type) and issubclass(metric, Metric):
        return metric(**options)
    if callable(metric):
        return Mean(metric, **options)
    kind, implied = _resolve(metric)
    try:
        made = kind(**implied, **options)
    except TypeError as error:
        raise ArgumentError(explain(f"the metric {metric!r} does not take these options", got=str(options),
                                    expected=str(error))) from error
    made.name = metric.lower()
    return made


def _resolve(name: str) -> tuple[type[Metric], dict]:
    lowered = name.lower() if isinstance(name, str) else ""
    if lowered in NAMES:
        return NAMES[lowered], {}
    if match := re.fullmatch(r"top_(\d+)(_accuracy)?", lowered):
        return TopKAccuracy, {"k": int(match[1])}
    if match := re.fullmatch(r"(precision|recall|f1)_(binary|macro|micro|weighted)", lowered):
        return NAMES[match[1]], {"average": match[2]}
    raise ArgumentError(explain(f"unknown metric {name!r}", got=shown(name), expected=", ".join(NAMES), fix=_answer(str(name), NAMES)))


def _answer(name: str, known: Iterable[str]) -> str | None:
    """What one writes here for another library's name, or the nearest of the known names."""
    plain = name.lower().replace("_", "")
    for word in ("score", "sparse", "categorical", "binary", "multiclass", "multilabel"):
        plain = plain.replace(word, "")
    if plain in ANSWERS:
        return f"use metrics=[{ANSWERS[plain]!r}]"
    lower = {key.lower(): key for key in known}
    close = difflib.get_close_matches(name.lower(), lower, 1)
    return f"did you mean {lower[close[0]]!r}?" if close else None


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    raise AttributeError(explain(f"metrics has no {name}", got=f"metrics.{name}", expected="a name in metrics.__all__",
                                 fix=_answer(name, __all__) or "see dir(chainrule.metrics)"))
