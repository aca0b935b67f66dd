# SPDX-License-Identifier: Apache-2.0
"""Whether a mirror image still means the same: are flipped samples, by their nearest neighbours, of their own class?

Cats flipped are cats; a flipped 2 is no digit and a flipped b is a d. What the data themselves say decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ShapeError, explain
from ..typing import ArrayLike

LOST = 0.15  # share of samples that a harmless flip does not lose


@dataclass(frozen=True)
class Handedness:
    """Share of samples whose nearest neighbour has their class, as they are and flipped; prints as a verdict.

    >>> digits = cr.data.digits()
    >>> found = cr.augment.handedness(digits.x_train[:300], digits.y_train[:300])
    >>> isinstance(found, cr.augment.Handedness)
    True
    """

    plain: float
    flipped: float

    @property
    def matters(self) -> bool:
        """Whether flipping changes what samples mean."""
        return self.plain - self.flipped > LOST

    def __str__(self) -> str:
        verdict = "changes what they mean" if self.matters else "does no harm that neighbours could see"
        return (f"flipping {verdict}: the nearest neighbour has the right class for {self.plain:.0%} of the samples, "
                f"for {self.flipped:.0%} of them flipped")


def handedness(x: ArrayLike, y: ArrayLike, axis: str = "horizontal", samples: int = 1000) -> Handedness:
    """Compare each image (n, H, W, C) and its mirror image with all the others; y (n,) are labels.

    >>> digits = cr.data.digits()
    >>> found = cr.augment.handedness(digits.x_train[:300], digits.y_train[:300])
    >>> found.plain > found.flipped
    True
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 4 or y.ndim != 1 or len(x) != len(y):
        raise ShapeError(explain("handedness is a matter of images and labels", got=f"x {x.shape}, y {y.shape}",
                                 expected="(n, H, W, C) and (n,)"))
    chosen = np.unique(np.linspace(0, len(x) - 1, min(samples, len(x))).astype(int))
    x, y = x[chosen].astype(np.float32), y[chosen]
    mirrored = x[:, :, ::-1] if axis == "horizontal" else x[:, ::-1]
    return Handedness(_neighbours(x, x, y), _neighbours(mirrored, x, y))


def _neighbours(asked: np.ndarray, known: np.ndarray, y: np.ndarray) -> float:
    a, b = (part.reshape(len(part), -1) for part in (asked, known))
    distances = np.square(b).sum(axis=1) - 2 * a @ b.T
    np.fill_diagonal(distances, np.inf)
    return float((y[distances.argmin(axis=1)] == y).mean())
