# SPDX-License-Identifier: Apache-2.0
"""`ImageClassifier`: images and their classes in, a calibrated classifier out, beside a linear model of the pixels."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .. import augment, nn
from ..data import Dataset, ImageFolder
from ..data.inputs import as_network_inputs
from ..errors import ArgumentError, DataError, ShapeError, explain, shown
from ..models.cnn import cnn
from ..models.resnet import resnet_cifar
from .forms import is_pair
from .grids import GridClassifier

MODELS = ("auto", "cnn", "resnet")
SIDE = 64     # pixels to which images are brought whose sizes differ
LARGE = 24    # pixels from which colour images get a residual network


class ImageClassifier(GridClassifier):
    """Which class an image belongs to.

    Args:
        model: "cnn" (pairs of 3x3 convolutions between poolings), "resnet" (He et al.'s residual network for small
            images, 20 layers), or "auto": "resnet" for colour images of 24 pixels or more, "cnn" else.
        size: (height, width) or one number to which image files are brought; None: as they are, or 64 pixels where
            their sizes differ.
        augment: True: shifts by a fourteenth, and mirror images where these do not change the class
            (`augment.handedness`); False: none; or an augmentation of your own.
        epochs, batch_size, learning_rate, weight_decay: of AdamW, with a rate that rises and falls again (one cycle);
            None: by the number of images.
        label_smoothing: share of a target that goes to the other classes.
        held_out: share of the training images that chooses the best epoch and the temperature of the probabilities.
        progress, backend: as in `cr.fit`.

    Data are (images (n, H, W) or (n, H, W, C), labels (n,)); a folder with a folder of images for each class; a
    `data.ImageFolder`; or a `data.Dataset` (its training part is learnt, its test part measured). To predict: images, a
    file, a list of files or a folder. Images lie in memory. Probabilities are calibrated by a temperature (Guo et al.,
    2017). Baselines: the most frequent class, and a linear model of the pixels.

    >>> digits = cr.data.digits()
    >>> task = cr.tasks.ImageClassifier(epochs=3).fit(digits)
    >>> task.evaluate(digits)["accuracy"] > 0.8
    True
    """

    model: str = "auto"
    size: int | tuple[int, int] | None = None

    def check(self) -> None:
        """Raise ArgumentError for settings that make no sense."""
        super().check()
        if self.model not in MODELS:
            raise ArgumentError(explain("there is no such model of images", got=f"model={shown(self.model)}",
                                        expected=" | ".join(MODELS)))

    # ---- forms of data

    def _inputs(self, data: Any) -> np.ndarray:
        return as_network_inputs(data, self._preprocess)

    def _grids_and_labels(self, data: Any, part: str) -> tuple[np.ndarray, np.ndarray]:
        if isinstance(data, Dataset):
            x, y = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
            return _images(x), np.array(data.target.decode(y))
        if is_pair(data):
            images, labels = _images(data[0]), np.asarray(data[1])
            if labels.ndim != 1 or len(labels) != len(images):
                raise ShapeError(explain("images and labels come in pairs",
                                         got=f"{len(images):,} images, labels of shape {labels.shape}",
                                         expected="one label for each image"))
            return images, labels
        if isinstance(data, str | os.PathLike):
            data = self._folder(data)
        if isinstance(data, ImageFolder):
            return self._of_folder(data)
        raise DataError(explain("these are no images with their classes", got=shown(data),
                                expected="(images, labels), a folder of class folders, or a data.Dataset"))

    def _folder(self, path: Any) -> ImageFolder:
        """The images of a folder, as those that were learnt where there are any."""
        if "preprocess" not in self.state:
            return ImageFolder(path, size=self.size, colour=None if self.size is None else "rgb")
        height, width, channels = self._preprocess.feature_shape
        return ImageFolder(path, size=(height, width), colour={1: "grey", 3: "rgb"}.get(channels))

    def _of_folder(self, source: ImageFolder) -> tuple[np.ndarray, np.ndarray]:
        if not source.class_names:
            raise DataError(explain("the images have no classes", got=shown(source),
                                    expected="a folder of images for each class",
                                    fix="for images with boxes: cr.data.BoxImages"))
        found = [source[i] for i in range(len(source))]
        shapes = {image.shape for image, _ in found}
        if len(shapes) > 1:
            self.notes.append(f"images of {len(shapes):,} sizes are brought to {SIDE} x {SIDE} pixels")
            return self._of_folder(ImageFolder(source.path, size=SIDE, colour="rgb", classes=source.class_names))
        return np.stack([image for image, _ in found]), np.array([source.class_names[int(label)] for _, label in found])

    # ---- learning

    def _network(self, shape: tuple[int, ...]) -> nn.Module:
        kind = self.model
        if kind == "auto":
            kind = "resnet" if shape[-1] == 3 and min(shape[:2]) >= LARGE else "cnn"
        count = len(self.classes)
        self.notes.append(f"model: {kind}")
        return resnet_cifar(20, count, shape) if kind == "resnet" else cnn(count, shape, width=16)  # type: ignore[arg-type]

    def _augmentation(self, images: np.ndarray, codes: np.ndarray) -> Any:
        steps: list[Any] = [augment.Translate(1 / 14, fill="edge")]
        found = augment.handedness(images, codes)
        self.notes.append(str(found))
        if not found.matters:
            steps.append(augment.Flip())
        return augment.Compose(steps)


def _images(x: Any) -> np.ndarray:
    """(n, H, W, C) numbers; DataError, naming the task that fits, for other things."""
    x = np.asarray(x)
    if x.ndim == 2:
        raise DataError(explain("these are rows, not images", got=f"shape {x.shape}",
                                expected="(n, H, W) or (n, H, W, C)",
                                fix="cr.tasks.TabularClassifier, or x.reshape(-1, H, W, 1)"))
    if x.ndim not in (3, 4) or x.dtype.kind not in "buif":
        raise DataError(explain("these are no images", got=f"{x.dtype} of shape {x.shape}",
                                expected="numbers of shape (n, H, W) or (n, H, W, C)"))
    if x.ndim == 4 and x.shape[1] in (1, 3) and x.shape[-1] not in (1, 2, 3, 4):
        raise DataError(explain("the channels of an image come last", got=f"shape {x.shape}", expected="(n, H, W, C)",
                                fix="np.moveaxis(x, 1, -1)"))
    return x[..., np.newaxis] if x.ndim == 3 else x
