# SPDX-License-Identifier: Apache-2.0
"""`SoundClassifier`: sounds and their classes in, a calibrated classifier of their log-mel spectrograms out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import augment, nn
from ..data import AudioFolder
from ..data.sources.folders import read_any_sound
from ..errors import ArgumentError, DataError, explain, shown
from ..models.cnn import cnn
from ..signal import log_mel
from .forms import is_pair
from .grids import GridClassifier

FRAME, STEP = 0.025, 0.010  # seconds of a frame, and between frames: what speech recognition takes
MOST = 95                   # percentile of the training lengths to which sounds are filled or cut
BLOCK = 64                  # sounds whose spectra are made at once


class SoundClassifier(GridClassifier):
    """Which class a sound belongs to.

    Args:
        rate: steps per second of sounds that are arrays; files say their own.
        seconds: length to which sounds are cut at the end or filled with silence; None: what 95 % of the training
            sounds do not exceed.
        bands: of the mel scale (Slaney, 1998).
        augment: True: shifts in time by up to a tenth and by one band; False: none; or an augmentation of your own, of
            spectrograms (frames, bands, 1).
        epochs, batch_size, learning_rate, weight_decay, label_smoothing, held_out, progress, backend: as in
        `ImageClassifier`.

    Data are (sounds, labels): sounds is an array (n, steps) or a list of arrays (steps,) or (steps, channels); a folder
    with a folder of files for each class; or a `data.AudioFolder`. To predict: sounds, a file, or a list of files. The
    network is a small convolutional one on log-mel spectrograms of frames of 25 ms every 10 ms. Baselines: the most
    frequent class, and a linear model of the spectrogram.

    >>> rng = np.random.default_rng(0)
    >>> pitch = rng.choice([300, 600], 60)
    >>> sounds = [np.sin(2 * np.pi * f * np.arange(2000) / 8000) + 0.1 * rng.standard_normal(2000) for f in pitch]
    >>> task = cr.tasks.SoundClassifier(rate=8000, epochs=3).fit((sounds, np.where(pitch == 300, "low", "high")))
    >>> task.predict(sounds[:2]).tolist() == np.where(pitch[:2] == 300, "low", "high").tolist()
    True
    """

    rate: int | None = None
    seconds: float | None = None
    bands: int = 40

    def check(self) -> None:
        """Raise ArgumentError for settings that make no sense."""
        super().check()
        for name in ("rate", "seconds"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value
                                          < 1e9):
                raise ArgumentError(explain(f"{name} is a number above 0", got=f"{name}={shown(value)}",
                                            expected="16000" if name == "rate" else "1.5"))

    # ---- forms of data

    def _inputs(self, data: Any) -> np.ndarray:
        return self._preprocess.transform(self._spectra(self._sounds(data)))

    def _sounds(self, data: Any) -> list[np.ndarray]:
        """Sounds (steps,) of arrays or files."""
        if isinstance(data, str | os.PathLike):
            data = [data]
        if not isinstance(data, Sequence | np.ndarray):
            raise DataError(explain("these are no sounds", got=shown(data),
                                    expected="an array (n, steps), a list of arrays, or files"))
        if isinstance(data, np.ndarray) and data.ndim == 1 and data.dtype.kind in "iuf":
            raise DataError(explain("this is one sound, where several are expected", got=f"shape {data.shape}",
                                    expected="(n, steps)", fix="put it into a list: [sound]"))
        return [self._of_file(x) if isinstance(x, str | os.PathLike) else _mono(x) for x in data]

    def _of_file(self, path: Any) -> np.ndarray:
        sound, rate = read_any_sound(str(path))
        if self.state.setdefault("rate", rate) != rate:
            raise DataError(explain(f"{Path(path)}: the sound has another rate than those that were learnt",
                                    got=f"{rate:,} steps per second", expected=f"{self.state['rate']:,}"))
        return _mono(sound)

    def _grids_and_labels(self, data: Any, part: str) -> tuple[np.ndarray, np.ndarray]:
        if self.rate is not None:
            self.state.setdefault("rate", int(self.rate))
        if isinstance(data, str | os.PathLike):
            data = AudioFolder(data)
        if isinstance(data, AudioFolder):
            if not data.class_names:
                raise DataError(explain("the sounds have no classes", got=shown(data),
                                        expected="a folder of sounds for each class"))
            self.state.setdefault("rate", data.rate)
            found = [data[i] for i in range(len(data))]
            sounds, labels = [_mono(x) for x, _ in found], np.array([data.class_names[int(y)] for _, y in found])
        elif is_pair(data):
            sounds, labels = self._sounds(data[0]), np.asarray(data[1])
        else:
            raise DataError(explain("these are no sounds with their classes", got=shown(data),
                                    expected="(sounds, labels), or a folder of class folders"))
        if labels.ndim != 1 or len(labels) != len(sounds):
            raise DataError(explain("sounds and labels come in pairs",
                                    got=f"{len(sounds):,} sounds, labels of shape {labels.shape}",
                                    expected="one label for each sound"))
        return self._spectra(sounds), labels

    def _spectra(self, sounds: list[np.ndarray]) -> np.ndarray:
        """Log-mel spectrograms (n, frames, bands, 1) of sounds brought to one length."""
        if "rate" not in self.state:
            raise ArgumentError(explain("the rate of the sounds is not known", got="arrays",
                                        expected="steps per second", fix="SoundClassifier(rate=16000)"))
        rate = self.state["rate"]
        if "steps" not in self.state:
            length = (round(rate * self.seconds) if self.seconds
                      else round(np.percentile([len(x) for x in sounds], MOST)))
            self.state["steps"] = int(max(length, rate * FRAME))
            self.notes.append(f"sounds of {self.state['steps'] / rate:.2f} s at {rate:,} steps per second")
        whole = np.zeros((len(sounds), self.state["steps"]), np.float32)
        for row, sound in zip(whole, sounds, strict=True):
            row[:len(sound)] = sound[:len(row)]
        size, hop = 1 << (int(rate * FRAME) - 1).bit_length(), max(1, round(rate * STEP))
        parts = [log_mel(whole[i:i + BLOCK], rate, size, hop, self.bands).numpy() for i in range(0, len(whole), BLOCK)]
        return np.concatenate(parts)[..., np.newaxis]

    # ---- learning

    def _network(self, shape: tuple[int, ...]) -> nn.Module:
        return cnn(len(self.classes), shape, width=16)  # type: ignore[arg-type]

    def _augmentation(self, grids: np.ndarray, codes: np.ndarray) -> Any:
        return augment.Translate((1 / self.bands, 0.1), fill="edge")


def _mono(x: Any) -> np.ndarray:
    """A sound (steps,) in float32, the mean of its channels; DataError for what is none."""
    x = np.asarray(x)
    if x.ndim == 2 and x.shape[1] <= 8:
        x = x.mean(axis=1)
    if x.ndim != 1 or x.dtype.kind not in "iuf" or not len(x):
        raise DataError(explain("this is no sound", got=shown(x),
                                expected="numbers of shape (steps,) or (steps, channels)"))
    if x.dtype.kind in "iu":
        x = x / float(np.iinfo(x.dtype).max)
    return x.astype(np.float32)
