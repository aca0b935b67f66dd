# SPDX-License-Identifier: Apache-2.0
"""Pictures of samples: images in a grid, points in the plane, saved after each epoch."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from ..train import Callback
from ..typing import ArrayLike, ModelLike, TrainingRun


def grid(samples: np.ndarray, columns: int = 8) -> np.ndarray:
    """Images (N, H, W) or (N, H, W, C) side by side with a border of one pixel: (rows (H + 1) + 1, columns (W + 1) + 1,
    C).

    >>> import numpy as np
    >>> from chainrule.generative import grid
    >>> grid(np.zeros((10, 4, 4, 1)), columns=5).shape
    (11, 26, 1)
    """
    samples = samples[..., None] if samples.ndim == 3 else samples
    count, height, width, channels = samples.shape
    rows = -(-count // columns)
    page = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, channels), samples.max(initial=0),
                   samples.dtype)
    for i, image in enumerate(samples):
        top, left = i // columns * (height + 1) + 1, i % columns * (width + 1) + 1
        page[top:top + height, left:left + width] = image
    return page


def draw(samples: np.ndarray, path: str | Path, low: float | None = None, high: float | None = None) -> Path:
    """Save samples as a picture: images as a grid, points (N, 2) as dots, anything else as rows of numbers."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    if samples.ndim >= 3:
        page = grid(samples)
        low, high = samples.min() if low is None else low, samples.max() if high is None else high
        axes.imshow(np.clip((page - low) / max(high - low, 1e-9), 0, 1).squeeze(-1) if page.shape[-1] == 1
                    else np.clip((page - low) / max(high - low, 1e-9), 0, 1),
                    cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.axis("off")
    elif samples.shape[-1] == 2:
        axes.scatter(*samples.T, s=4, alpha=0.5)
        axes.set_aspect("equal")
    else:
        axes.imshow(samples, aspect="auto", interpolation="nearest")
    path = Path(path)
    figure.savefig(path, dpi=110)
    return path


class SampleGrid(Callback):
    """After each epoch a picture of samples in a folder: `samples-0001.png`, …; `condition` gives one for each sample.

    >>> model = cr.generative.VAE(nn.Dense(4), nn.Dense(2), latent=2)
    >>> callback = cr.generative.SampleGrid(model, "pictures", count=16)
    >>> callback.count
    16
    """

    def __init__(self, model: ModelLike, folder: str | Path, average: Any = None, count: int = 64,
                 condition: ArrayLike | None = None):
        self.model, self.folder = model, Path(folder)
        self.average, self.count, self.condition = average, count, condition

    def after_epoch(self, run: TrainingRun, row: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.nullcontext() if self.average is None else self.average.swapped():
            draw(self.model.sample(self.count, condition=self.condition),
                 self.folder / f"samples-{row['epoch']:04}.png")
