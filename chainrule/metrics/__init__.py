# SPDX-License-Identifier: Apache-2.0
"""Metrics that are exact over an epoch for any batch size, each with a confidence interval.

    accuracy = metrics.get("accuracy")
    for images, labels in batches:
        accuracy.update(model(images).numpy(), labels)
    print(accuracy.estimate())        # 98.6 % (95 % interval 96.8 to 99.4 %)

`NAMES` has the short name of each.
"""

from __future__ import annotations

from typing import Any

from ..errors import explain
from .base import Metric
from .classification import F1, Accuracy, ConfusionMatrix, Precision, Recall, TopKAccuracy, confusion_matrix
from .detection import DetectionScores, mean_average_precision
from .direction import direction, larger_is_better
from .intervals import Estimate, bootstrap, wilson
from .regression import R2, Mean, MeanAbsoluteError, MeanSquaredError, RootMeanSquaredError
from .samples import Coverage, PrecisionRecall, coverage, energy_distance, frechet_distance, precision_recall
from .scores import AUC, AveragePrecision, LogLoss
from .table import NAMES, answer, get
from .text import BLEU

__all__ = [
    "AUC", "BLEU", "F1", "NAMES", "R2", "Accuracy", "AveragePrecision", "ConfusionMatrix", "Coverage",
    "DetectionScores", "Estimate", "LogLoss", "Mean", "MeanAbsoluteError",
    "MeanSquaredError", "Metric", "Precision", "PrecisionRecall", "Recall", "RootMeanSquaredError", "TopKAccuracy",
    "bootstrap",
    "confusion_matrix", "coverage", "direction", "energy_distance", "frechet_distance", "get", "larger_is_better",
    "mean_average_precision", "precision_recall", "wilson",
]

def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    raise AttributeError(explain(f"metrics has no {name}", got=f"metrics.{name}", expected="a name in metrics.__all__",
                                 fix=answer(name, __all__) or "see dir(chainrule.metrics)"))
