# SPDX-License-Identifier: Apache-2.0
"""A run folder of `chainrule train`, opened in Python: the network with the preprocessing and the classes it was
trained with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .. import data
from ..errors import ArgumentError, DataError, explain
from ..foundations.files import reading
from ..io.model import read_model
from ..metrics.scores import softmax
from ..typing import SourceLike
from .evaluate import predict

MODEL = "model.safetensors"


class SavedRun:
    """What `cr.load(RUN_FOLDER)` gives: raw data in, class names or numbers in their own unit out.

    Args:
        path: a run folder, or the model.safetensors of one.

    Attributes:
        model: the network, whose inputs are what `inputs` gives.
        preprocess: fitted on the training data.
        target: what is predicted: `target.task`, `target.class_names`.
        name: of the data set it was trained on.

    Raises DataError for a folder without a finished run.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        file = self.path / MODEL if self.path.is_dir() else self.path
        if not file.exists():
            raise DataError(explain(f"{self.path}: this folder holds no finished run", expected=MODEL,
                                    fix=_advice(self.path)))
        self.model, extra = read_model(file)
        if "preprocess" not in extra:
            raise DataError(explain("this model was saved without its preprocessing", got=str(file),
                                    fix="name a run folder of `chainrule train`"))
        with reading(file, "model file"):
            self.preprocess = data.preprocess_from_config(extra["preprocess"])
            self.target = data.Target.from_config(extra["target"])
            self.feature_shape = tuple(int(size) for size in extra["feature_shape"])
            self.name = str(extra.get("name", self.path.name))

    @property
    def task(self) -> str:
        """ "classification" or "regression"."""
        return self.target.task

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names by class number; empty for regression."""
        return self.target.class_names

    def inputs(self, source: SourceLike) -> np.ndarray:
        """Float32 network inputs (N, *feature_shape) of raw data: a file, folder or list of them, a DataFrame, rows, an
        array."""
        return data.as_network_inputs(source, self.preprocess)

    def outputs(self, inputs: np.ndarray, backend: str | None = None, batch_size: int = 256) -> np.ndarray:
        """What the network says of network inputs: probabilities (N, classes), or numbers in their own unit (N,
        outputs)."""
        outputs = predict(self.model, inputs, backend=backend, batch_size=batch_size).numpy()
        if self.task == "classification":
            return softmax(outputs)
        std = np.asarray(self.target.std)
        return outputs * np.where(std > 0, std, 1) + np.asarray(self.target.mean)

    def predict_proba(self, source: SourceLike, backend: str | None = None, batch_size: int = 256) -> np.ndarray:
        """Probabilities (N, classes) of raw data, in the order of `class_names`; ArgumentError for a regression."""
        if self.task != "classification":
            raise ArgumentError(explain("a regression has no probabilities", got=repr(self), fix="call predict"))
        return self.outputs(self.inputs(source), backend, batch_size)

    def predict(self, source: SourceLike, backend: str | None = None, batch_size: int = 256) -> np.ndarray:
        """Class names (N,) of raw data, or numbers in their own unit, (N,) or (N, outputs) if there are several."""
        outputs = self.outputs(self.inputs(source), backend, batch_size)
        if self.task == "classification":
            return np.array(self.target.decode(outputs.argmax(axis=1)))
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def __repr__(self) -> str:
        what = f"{len(self.class_names)} classes" if self.task == "classification" else "regression"
        return f"SavedRun({str(self.path)!r}: {what}, inputs of shape {self.feature_shape})"


def _advice(folder: Path) -> str | None:
    if (folder / "checkpoint.safetensors").exists():
        return f"go on with it: chainrule train --resume {folder}"
    return f"cr.models.load_pretrained({str(folder)!r})" if (folder / "config.json").exists() else None
