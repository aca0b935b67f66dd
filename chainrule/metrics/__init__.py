# SPDX-License-Identifier: Apache-2.0
"""Metrics that are exact over an epoch for any batch size, each with a confidence interval.

    accuracy = metrics.get("accuracy")
    for images, labels in batches:
        accuracy.update(model(images).numpy(), labels)
    print(accuracy.estimate())        # 98.6 % (95 % interval 96.8 to 99.4 %)
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable

from ..errors import ArgumentError, explain
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
    close = difflib.get_close_matches(lowered, NAMES, 1)
    raise ArgumentError(explain(f"unknown metric {name!r}", got=repr(name), expected=", ".join(NAMES),
                                fix=f"did you mean {close[0]!r}?" if close else None))
