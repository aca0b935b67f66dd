# SPDX-License-Identifier: Apache-2.0
"""`ImageClassifier`: images and their classes in, a calibrated classifier out, beside a linear model of the pixels."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .. import augment, losses, nn, optim
from ..data import Dataset, ImageFolder, preprocess_from_config, split
from ..data.inputs import as_network_inputs
from ..data.preprocess import fit_array
from ..errors import ArgumentError, DataError, ShapeError, explain, shown
from ..metrics.scores import softmax
from ..models.cnn import cnn
from ..models.resnet import resnet_cifar
from ..train.evaluate import predict
from ..train.fit import fit
from .answers import Classification
from .base import NETWORK
from .forms import is_pair

MODELS = ("auto", "cnn", "resnet")
STEPS = 1800  # of the optimiser, where the number of epochs is not given
SIDE = 64     # pixels to which images are brought whose sizes differ
LARGE = 24    # pixels from which colour images get a residual network
LINEAR_EPOCHS = 8


class ImageClassifier(Classification):
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
    augment: Any = True
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    label_smoothing: float = 0.05
    held_out: float = 0.1
    progress: bool = False
    backend: str | None = None

    def check(self) -> None:
        """Raise ArgumentError for settings that make no sense."""
        super().check()
        if self.model not in MODELS:
            raise ArgumentError(explain("there is no such model of images", got=f"model={shown(self.model)}",
                                        expected=" | ".join(MODELS)))
        if not 0 <= self.label_smoothing < 1:
            raise ArgumentError(explain("label_smoothing is a share", got=f"{self.label_smoothing}",
                                        expected="a number from 0 to below 1"))

    # ---- forms of data

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """(H, W, C) of an image as the network takes it; ArgumentError before `fit`."""
        self._need_fit()
        return tuple(self._preprocess.feature_shape)

    @property
    def _preprocess(self) -> Any:
        return preprocess_from_config(self.state["preprocess"])

    def _inputs(self, data: Any) -> np.ndarray:
        return as_network_inputs(data, self._preprocess)

    def _pairs(self, data: Any) -> tuple[np.ndarray, np.ndarray]:
        images, labels = self._images_and_labels(data, "test", self.feature_shape[:2])
        return self._inputs(images), labels

    def _images_and_labels(self, data: Any, part: str, size: Any) -> tuple[np.ndarray, np.ndarray]:
        """(images (n, H, W, C), labels as they came in)."""
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
            data = ImageFolder(data, size=size,
                               colour=None if size is None else {1: "grey", 3: "rgb"}.get(self._channels))
        if isinstance(data, ImageFolder):
            return self._of_folder(data)
        raise DataError(explain("these are no images with their classes", got=shown(data),
                                expected="(images, labels), a folder of class folders, or a data.Dataset"))

    @property
    def _channels(self) -> int:
        return self._preprocess.feature_shape[-1] if "preprocess" in self.state else 3

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

    def _learn(self, data: Any, validation: Any, seed: int) -> None:
        images, labels = self._images_and_labels(data, "train", self.size)
        codes = self._classes_of(labels, fix="to predict numbers of images, give a network of your own to cr.fit")
        kept, held = (np.arange(len(codes)), None) if validation is not None or not self.held_out else \
            split(len(codes), (1 - self.held_out, self.held_out), seed, stratify=codes)
        self.state["preprocess"] = fit_array(images[kept]).to_config()
        x = self._inputs(images)
        checked = (x[held], codes[held]) if held is not None else None
        if validation is not None:
            more, names = self._images_and_labels(validation, "test", x.shape[1:3])
            checked = self._inputs(more), self._codes(names)
        self.notes.append(f"{len(kept):,} images of {'x'.join(map(str, x.shape[1:]))} to learn from"
                          + ("" if checked is None else f", {len(checked[1]):,} to check by"))
        self._choose(len(kept))
        network, training = self._network(x.shape[1:]), (x[kept], codes[kept])
        fit(network, training, loss=losses.cross_entropy.using(label_smoothing=self.label_smoothing),
            optimizer=self._optimizer(len(kept)), epochs=self.epochs or 1, batch_size=self.batch_size or 1,
            validation=checked, metrics=["accuracy"], augment=self._augmentation(images[kept], codes[kept]), seed=seed,
            progress=self.progress, backend=self.backend)
        self.parts = {NETWORK: network, "linear": self._linear(training, seed)}
        self.state["temperature"] = 1.0
        if checked is not None:
            self.state["temperature"] = best_temperature(self._logits(checked[0], NETWORK), checked[1])

    def _choose(self, images: int) -> None:
        self.batch_size = min(images, self.batch_size or (128 if images >= 20_000 else 64 if images >= 4000 else 32))
        self.epochs = self.epochs or int(np.clip(round(STEPS * self.batch_size / images), 4, 40))

    def _network(self, shape: tuple[int, ...]) -> nn.Module:
        kind = self.model
        if kind == "auto":
            kind = "resnet" if shape[-1] == 3 and min(shape[:2]) >= LARGE else "cnn"
        count = len(self.classes)
        self.notes.append(f"model: {kind}")
        return resnet_cifar(20, count, shape) if kind == "resnet" else cnn(count, shape, width=16)  # type: ignore[arg-type]

    def _optimizer(self, images: int) -> Any:
        steps = (self.epochs or 1) * -(-images // (self.batch_size or 1))
        return optim.AdamW(optim.schedules.one_cycle(self.learning_rate, steps), weight_decay=self.weight_decay)

    def _augmentation(self, images: np.ndarray, codes: np.ndarray) -> Any:
        if not isinstance(self.augment, bool):
            return self.augment
        if not self.augment:
            return None
        steps: list[Any] = [augment.Translate(1 / 14, fill="edge")]
        found = augment.handedness(images, codes)
        self.notes.append(str(found))
        if not found.matters:
            steps.append(augment.Flip())
        return augment.Compose(steps)

    def _linear(self, training: Any, seed: int) -> nn.Module:
        linear = nn.Sequential([nn.Flatten(), nn.Dense(len(self.classes), weight_initializer="zeros")])
        fit(linear, training, loss="cross_entropy", optimizer=optim.AdamW(1e-3), epochs=LINEAR_EPOCHS,
            batch_size=self.batch_size or 1, seed=seed, progress=False, backend=self.backend)
        return linear

    # ---- answers

    def _logits(self, x: np.ndarray, part: str) -> np.ndarray:
        return predict(self.parts[part], x, backend=self.backend, batch_size=256).numpy().astype(np.float64)

    def _proba(self, x: Any, part: str = NETWORK) -> np.ndarray:
        return softmax(self._logits(x, part) / (self.state.get("temperature", 1.0) if part == NETWORK else 1.0))


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


def best_temperature(logits: np.ndarray, codes: np.ndarray) -> float:
    """The T with the least cross-entropy of softmax(logits / T), between 0.05 and 20: it is convex in 1 / T, so
    bisected by its slope.

    Targets are smoothed by one sample in n + 2 (Platt, 1999), without which T were 0 where all n samples are right.
    """
    n, k = logits.shape
    targets = np.full((n, k), 1 / (n + 2) / max(1, k - 1))
    targets[np.arange(n), codes] = 1 - 1 / (n + 2)
    low, high = 1 / 20, 20.0  # of 1 / T
    for _ in range(60):
        middle = np.sqrt(low * high)
        slope = ((softmax(logits * middle) - targets) * logits).sum()
        low, high = (low, middle) if slope > 0 else (middle, high)
    return float(1 / np.sqrt(low * high))
