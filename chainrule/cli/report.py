# SPDX-License-Identifier: Apache-2.0
"""What a finished run shows: measured values with intervals, and the pictures of the run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from .. import metrics, train
from ..data import Dataset
from ..foundations.files import write_atomically
from ..inspect import draw_confusion_matrix, draw_history, draw_mistakes, draw_regression
from ..metrics.scores import softmax
from . import recipe


def report(model: Any, dataset: Dataset, history: Any, folder: Path, backend: str | None) -> dict[str, Any]:
    """Evaluate on the test part, write result.json and the pictures; returns name → Estimate."""
    outputs = train.predict(model, dataset.inputs("test"), backend=backend).numpy()
    result = measure(outputs, dataset)
    write_atomically(folder / "result.json", json.dumps(plain(result), indent=2) + "\n")
    if len(history):
        draw_history(history.rows, folder / "learning_curves.png")
    if dataset.task == "classification":
        _draw_classes(outputs, dataset, folder)
    else:
        draw_regression(dataset.y_test[:, 0], recipe.unstandardise(dataset.target, outputs)[:, 0],
                        folder / "regression.png")
    return result


def measure(outputs: np.ndarray, dataset: Dataset) -> dict[str, Any]:
    """Estimates of the final metrics from the outputs of the network for the test part."""
    values = outputs if dataset.task == "classification" else recipe.unstandardise(dataset.target, outputs)
    result = {}
    for name in recipe.final_metrics(dataset.target):
        metric = metrics.get(name)
        metric.update(values, dataset.y_test)
        result[name] = metric.estimate()
    return result


def plain(result: dict[str, Any]) -> dict[str, Any]:
    """The estimates as JSON data."""
    return {name: {"value": e.value, "low": e.low, "high": e.high, "level": e.level} for name, e in result.items()}


def summary_lines(result: dict[str, Any], dataset: Dataset) -> str:
    """The measured values as text."""
    head = f"on {len(dataset.x_test):,} held-out samples"
    return "\n".join(f"{name:9} {estimate}  {head}" for name, estimate in result.items())


def _draw_classes(outputs: np.ndarray, dataset: Dataset, folder: Path) -> None:
    probabilities = softmax(outputs)
    predicted, true = probabilities.argmax(-1), dataset.y_test
    names = list(dataset.class_names)
    draw_confusion_matrix(metrics.confusion_matrix(true, predicted, len(names)), names, folder / "confusion_matrix.png")
    draw_mistakes(dataset.x_test, true, predicted, probabilities.max(-1), names, folder / "mistakes.png")
