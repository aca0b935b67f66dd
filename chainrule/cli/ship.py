# SPDX-License-Identifier: Apache-2.0
"""A trained run as a file for another program: network inputs in, probabilities or numbers in their own unit out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import asarray
from ..ops.compose import softmax
from ..shipping import export
from ..train.saved import SavedRun


def export_run(run: Path, path: Path, free: bool) -> str:
    """Write the file; returns a line that says what it is."""
    saved = SavedRun(run)
    export(answering(saved), path, {"x": np.zeros((2, *saved.feature_shape), "float32")}, free=(0,) if free else ())
    what = (f"probabilities of {len(saved.class_names)} classes" if saved.task == "classification"
            else "numbers in their own unit")
    return (f"{path} written ({path.stat().st_size:,} bytes): x (batch, {', '.join(map(str, saved.feature_shape))}) to "
            f"{what}")


def answering(saved: SavedRun) -> Callable[[Any], Any]:
    """The network of a run with what `SavedRun.outputs` does to its results."""
    if saved.task == "classification":
        return lambda x: softmax(saved.model(x))
    std, mean = np.asarray(saved.target.std, "float32"), np.asarray(saved.target.mean, "float32")
    return lambda x: saved.model(x) * asarray(np.where(std > 0, std, 1).astype("float32")) + asarray(mean)
