# SPDX-License-Identifier: Apache-2.0
"""Everything that decides a training run, as one frozen record; `config.toml` of a run folder holds it, to run it
again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, DataError, explain
from ..foundations.config import BACKENDS
from ..foundations.files import write_atomically
from ..foundations.names import closest
from ..settings import read, to_dict, toml

MODELS = ("auto", "cnn", "mlp")


@dataclass(frozen=True)
class Settings:
    """A training run. None means: chosen by the data, and written down as chosen."""

    source: str = "digits"
    target: str | None = None
    test: str | None = None
    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    task: str | None = None
    header: bool | None = None
    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    missing: tuple[str, ...] | None = None
    resize: int | None = None
    validation_fraction: float = 0.1
    model: str = "auto"
    hidden: tuple[int, ...] = ()
    dropout: float | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float = 0.01
    class_weight: tuple[str, ...] = ()
    patience: int | None = None
    seed: int = 0
    backend: str | None = None
    devices: int = 1

    def write(self, path: Path, **facts: Any) -> None:
        """Write the settings, and `facts` about the run in a table of their own, as TOML."""
        head = "# everything needed to run this again:  chainrule train --config config.toml\n"
        write_atomically(path, head + toml({"settings": to_dict(self), "made_by": facts}))


def read_settings(path: Path) -> Settings:
    """The settings in a config.toml; raises DataError that names the file for anything that does not belong there."""
    if not path.exists():
        raise DataError(explain("there is no such file", got=str(path), fix="name a run folder, or its config.toml"))
    return read(Settings, path, table="settings")


# name: (least, most, whether the ends themselves are allowed)
RANGES: dict[str, tuple[float, float, bool]] = {
    "epochs": (1, math.inf, True), "batch_size": (1, math.inf, True), "patience": (1, math.inf, True),
    "resize": (1, 65_535, True), "seed": (0, 2**32 - 1, True),
    "devices": (1, math.inf, True), "learning_rate": (0, math.inf, False), "weight_decay": (0, 1e6, True),
    "dropout": (0, 0.99, True), "validation_fraction": (0, 0.9, True),
}


def option(name: str) -> str:
    """A setting as it is written on the command line."""
    return f"--{name.replace('_', '-')}"


def check(settings: Settings) -> Settings:
    """The settings themselves, if they make sense; ArgumentError otherwise."""
    if settings.model not in MODELS:
        raise ArgumentError(explain("there is no such model", got=settings.model, expected=" | ".join(MODELS),
                                    fix=closest(settings.model, MODELS)))
    if settings.task not in (None, "classification", "regression"):
        raise ArgumentError(explain("there is no such task", got=settings.task, expected="classification | regression",
                                    fix=closest(settings.task, ("classification", "regression"))))
    check_backend(settings.backend)
    if settings.devices > 1 and settings.backend not in (None, "xla"):
        raise ArgumentError(explain("several devices belong to the xla backend",
                                    got=f"--backend {settings.backend} --devices {settings.devices}",
                                    expected="--backend xla, or no --backend", fix="leave out --backend"))
    for name, (low, high, closed) in RANGES.items():
        value = getattr(settings, name)
        if value is not None and not (low <= value <= high if closed else low < value < high):
            what = ("too small" if value < low or (value == low and not closed) else "too large" if value > high
                    else "not a number")
            above = f"at least {low:g}" if closed else f"more than {low:g}"
            raise ArgumentError(explain(f"{option(name)} is {what}", got=str(value), expected=above if high == math.inf
                                        else f"{above}, at most {high:g}"))
    if any(width < 1 for width in settings.hidden):
        raise ArgumentError(explain("--hidden is too small", got=str(min(settings.hidden)), expected="at least 1"))
    if settings.patience is not None and settings.validation_fraction == 0:
        raise ArgumentError(explain("--patience waits for a better validation loss, and there is no validation part",
                                    got="--validation-fraction 0", fix="leave out one of the two"))
    return settings


def check_backend(backend: str | None) -> None:
    """ArgumentError for a backend that is not known."""
    if backend not in (None, *BACKENDS):
        raise ArgumentError(explain("there is no such backend", got=str(backend), expected=" | ".join(BACKENDS),
                                    fix=closest(str(backend), BACKENDS)))
