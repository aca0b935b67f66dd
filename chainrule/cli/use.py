# SPDX-License-Identifier: Apache-2.0
"""Saved models at work: measured on data, used on files. The preprocessing comes out of the model file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .. import data, io, metrics, train
from ..errors import DataError, explain
from ..metrics.scores import softmax
from . import kept, recipe
from .settings import read_settings

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")


class Saved:
    """The model of a run folder with its preprocessing and its target."""

    def __init__(self, run: Path):
        path = run / "model.safetensors" if run.is_dir() else run
        self.model, extra = io.read_model(path)
        if "preprocess" not in extra:
            raise DataError(explain("this model was saved without its preprocessing", got=str(path), fix="name a run folder of `chainrule train`"))
        self.preprocess = data.preprocess_from_config(extra["preprocess"])
        self.target = data.Target.from_config(extra["target"])
        self.feature_shape = tuple(extra["feature_shape"])

    def outputs(self, inputs: np.ndarray, backend: str | None) -> np.ndarray:
        """What the network says of preprocessed inputs: probabilities, or numbers in their own unit."""
        outputs = train.predict(self.model, inputs, backend=backend).numpy()
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


def predict_files(run: Path, files: list[Path], top: int, backend: str | None) -> Iterator[str]:
    """One line per sample."""
    saved = Saved(run)
    for path in files:
        raw = _read(path, saved)
        outputs = saved.outputs(raw, backend)
        for i, row in enumerate(outputs):
            name = str(path) if len(outputs) == 1 else f"{path}[{i}]"
            yield f"{name}\t{_describe(row, saved.target, top)}"


def _describe(row: np.ndarray, target: Any, top: int) -> str:
    if target.task == "regression":
        return "\t".join(f"{value:.6g}" for value in row)
    best = np.argsort(-row, kind="stable")[:max(top, 1)]
    return "\t".join(f"{target.class_names[i]}\t{row[i] * 100:.1f} %" for i in best)


def _read(path: Path, saved: Saved) -> np.ndarray:
    """The inputs of the network in a file."""
    suffix = path.suffix.lower()
    if not path.exists():
        raise DataError(explain("there is no such file", got=str(path)))
    if suffix in IMAGES:
        return saved.preprocess.transform(data.read_image(path, saved.feature_shape)[None])
    if suffix == ".npy":
        return saved.preprocess.transform(_batched(np.load(path, allow_pickle=False), saved.feature_shape, path))
    if suffix == ".csv":
        return saved.preprocess.transform(data.read_table(path, None))
    raise DataError(explain("this kind of file cannot be predicted", got=str(path), expected="PNG, JPEG, .npy or .csv"))


def _batched(array: np.ndarray, shape: tuple[int, ...], path: Path) -> np.ndarray:
    """One sample or a batch of them, with or without the channel axis, as (N, *shape)."""
    for wanted in (shape, shape[:-1] if shape[-1:] == (1,) else shape):
        if array.shape == wanted:
            return array.reshape(1, *shape)
        if array.shape[1:] == wanted:
            return array.reshape(-1, *shape)
    raise DataError(explain("the array does not fit the model", got=f"{path} of shape {array.shape}", expected=f"{shape} or (N, {', '.join(map(str, shape))})"))
