# SPDX-License-Identifier: Apache-2.0
"""Saved models measured on data. The preprocessing comes out of the model file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .. import data, io, metrics, train
from ..errors import DataError, explain
from ..metrics.scores import softmax
from . import kept, recipe
from .settings import read_settings


class Saved:
    """The model of a run folder with its preprocessing and its target."""

    def __init__(self, run: Path):
        path = run / "model.safetensors" if run.is_dir() else run
        if run.is_dir() and not path.exists():
            go_on = (run / "config.toml").exists()
            raise DataError(explain("there is no finished model in this folder", got=str(run), expected=str(path),
                                    fix=f"go on with the run: chainrule train --resume {run}" if go_on else "name a run folder of `chainrule train`"))
        self.model, extra = io.read_model(path)
        if "preprocess" not in extra:
            raise DataError(explain("this model was saved without its preprocessing", got=str(path), fix="name a run folder of `chainrule train`"))
        self.preprocess = data.preprocess_from_config(extra["preprocess"])
        self.target = data.Target.from_config(extra["target"])
        self.feature_shape = tuple(extra["feature_shape"])

    @property
    def depth(self) -> str | None:
        """The dtype that images must have."""
        return self.preprocess.dtype or "uint8" if isinstance(self.preprocess, data.ImageScaling) else None

    def outputs(self, inputs: np.ndarray, backend: str | None, batch_size: int = 256) -> np.ndarray:
        """What the network says of preprocessed inputs: probabilities, or numbers in their own unit."""
        outputs = train.predict(self.model, inputs, backend=backend, batch_size=batch_size).numpy()
        return softmax(outputs) if self.target.task == "classification" else recipe.unstandardise(self.target, outputs)


def evaluate_run(run: Path, source: str | None, target: str | None, backend: str | None) -> str:
    """The measured values of the model, as text."""
    saved = Saved(run)
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
        raise DataError(explain("a model alone does not say what it was tested on", got=str(run), fix=f"chainrule evaluate {run} DATA"))
    dataset = kept.held_out(run, read_settings(run / "config.toml"))
    return dataset.inputs("test"), dataset.y_test, dataset.description


def _other(run: Path, saved: Saved, source: str, target: str | None) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Other data, all of them, and how many of them the model was trained on."""
    x, y = data.load_like(source, saved.preprocess, saved.target, target)
    if not (run / kept.FILE).exists():
        return x, y, []
    found = data.assign(data.fingerprints(x, y), kept.read_kept(run).split)
    known = sum(len(rows) for part, rows in found.rows.items() if part != "test")
    return x, y, [f"{known:,} of the {len(x):,} samples were trained on: their values are better than those of new samples"] if known else []
