# SPDX-License-Identifier: Apache-2.0
"""Saved models measured on data. The preprocessing comes out of the model file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .. import data, metrics
from ..errors import DataError, explain
from ..train.saved import SavedRun
from . import kept, recipe
from .settings import read_settings


def evaluate_run(run: Path, source: str | None, target: str | None, backend: str | None) -> str:
    """The measured values of the model, as text."""
    saved = SavedRun(run)
    x, y, notes = _held_out(run) if source is None else _other(run, saved, source, target)
    outputs = saved.outputs(x, backend)
    lines = notes
    for name in recipe.final_metrics(saved.target):
        metric = metrics.get(name, probabilities=True) if saved.target.task == "classification" else metrics.get(name)
        metric.update(outputs, y)
        lines.append(f"{name:9} {metric.estimate()}  on {len(x):,} samples")
    return "\n".join(lines)


def _held_out(run: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The test part of the data that the run was trained on, and what changed since."""
    if not run.is_dir():
        raise DataError(explain("a model alone does not say what it was tested on", got=str(run),
                                fix=f"chainrule evaluate {run} DATA"))
    dataset = kept.held_out(run, read_settings(run / "config.toml"))
    return dataset.inputs("test"), dataset.y_test, dataset.description


def _other(run: Path, saved: SavedRun, source: str, target: str | None) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Other data, all of them, and how many of them the model was trained on."""
    x, y = data.load_like(source, saved.preprocess, saved.target, target)
    if not (run / kept.FILE).exists():
        return x, y, []
    found = data.assign(data.fingerprints(x, y), kept.read_kept(run).split)
    known = sum(len(rows) for part, rows in found.rows.items() if part != "test")
    return (x, y, [f"{known:,} of the {len(x):,} samples were trained on: their values are better than those of new "
                   "samples"] if known else [])
