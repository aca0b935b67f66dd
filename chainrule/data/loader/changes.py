# SPDX-License-Identifier: Apache-2.0
"""Augmentation in a Loader: of single samples or whole batches, a function of (seed, epoch, index), whichever worker
does it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ArgumentError, ChainruleError, DataError, explain, shown
from .order import Job

STREAM = 2**62  # of the generators that functions are given, apart from those of orders


class Changes:
    """What `augment` does: a pipeline of `chainrule.augment`, or a function (sample, generator) -> sample."""

    def __init__(self, augment: Any, seed: int):
        if augment is not None and not callable(augment):
            raise ArgumentError(explain("this is not an augmentation", got=shown(augment),
                                        expected="augment.Compose([...]), or a function (sample, generator) -> sample"))
        self.augment, self.seed = augment, seed
        self.pipeline = hasattr(augment, "batch")

    @property
    def by_sample(self) -> bool:
        """Whether samples are changed one by one, before they are a batch."""
        return self.augment is not None and not self.pipeline

    def of_samples(self, samples: list[Any], job: Job) -> list[Any]:
        """Each sample changed, with a generator of its own; a dict with an image by the pipeline."""
        if self.augment is None:
            return samples
        if not self.pipeline:
            return [self._called(sample, job.epoch, index, draw)
                    for sample, index, draw in zip(samples, job.rows.indices.tolist(), job.rows.draws.tolist(),
                                                   strict=True)]
        if isinstance(samples[0], dict):
            return [self._checked(self.augment(sample, seed=self.seed, epoch=job.epoch, index=int(draw)), sample)
                    for sample, draw in zip(samples, job.rows.draws, strict=True)]
        return samples

    def _called(self, sample: Any, epoch: int, index: int, draw: int) -> Any:
        generator = np.random.Generator(np.random.Philox(key=np.array([self.seed, STREAM], np.uint64),
                                                         counter=np.array([0, 0, draw, epoch], np.uint64)))
        try:
            return self.augment(sample, generator)
        except ChainruleError:
            raise
        except Exception as error:
            raise DataError(explain(f"the augmentation of sample {index:,} failed",
                                    got=f"{type(error).__name__}: {error}",
                                    expected="a function (sample, generator) -> sample")) from error

    def of_batch(self, batch: Any, job: Job) -> Any:
        """The batch changed by the pipeline: the first of a tuple is the image, the second what belongs to it."""
        if not self.pipeline or isinstance(batch, dict):
            return batch
        x, y, rest = (batch[0], batch[1],
                      batch[2:]) if isinstance(batch, tuple) and len(batch) > 1 else (batch, None, None)
        if not isinstance(x, np.ndarray):
            raise ArgumentError(explain("a pipeline changes the images of (image, target)", got=shown(x),
                                        expected="an array (B, ...) first",
                                        fix="a dict with an image, or augment=function of (sample, generator)"))
        self._check_range(x)
        new_x, new_y = self._piped(x, y, job)
        return new_x if rest is None else (new_x, new_y, *rest)

    def _piped(self, x: np.ndarray, y: Any, job: Job) -> tuple[np.ndarray, Any]:
        try:
            return self.augment.batch(x, y, seed=self.seed, epoch=job.epoch, indices=job.rows.draws)
        except ChainruleError:
            raise
        except Exception as error:
            raise DataError(explain("the augmentation failed",
                                    got=f"{type(error).__name__}: {error}, for samples "
                                        f"{job.rows.indices[:8].tolist()}…")) from error

    def _checked(self, changed: Any, sample: dict[str, Any]) -> Any:
        self._check_range(np.asarray(sample["image"]))
        return changed

    def _check_range(self, x: np.ndarray) -> None:
        """What black and white are must not be guessed from each batch, of which one may be darker than the others."""
        if x.dtype != np.uint8 and getattr(self.augment, "needs_range",
                                           False) and getattr(self.augment, "value_range", None) is None:
            raise ArgumentError(explain("the augmentation must know which values are black and white",
                                        got=f"{x.dtype} images, read batch by batch",
                                        expected="uint8 images, or a stated range",
                                        fix="augment.Compose([...], value_range=(0, 1))"))
