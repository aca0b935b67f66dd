# SPDX-License-Identifier: Apache-2.0
"""Everything that decides a training run, as one frozen record; `config.toml` of a run folder holds it, to run it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, DataError, explain
from ..files import write_atomically
from ..settings import read, to_dict, toml

MODELS = ("auto", "cnn", "mlp")


@dataclass(frozen=True)
class Settings:
    """A training run. None means: chosen by the data, and written down as chosen."""

    source: str = "digits"
    target: str | None = None
    test: str | None = None
    drop: tuple[str, ...] = ()
    resize: int | None = None
    validation_fraction: float = 0.1
    model: str = "auto"
    hidden: tuple[int, ...] = ()
    dropout: float | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float = 0.01
    patience: int | None = None
    seed: int = 0
    backend: str | None = None

    def write(self, path: Path, **facts: Any) -> None:
        """Write the settings, and `facts` about the run in a table of their own, as TOML."""
        head = "# everything needed to run this again:  chainrule train --config config.toml\n"
        write_atomically(path, head + toml({"settings": to_dict(self), "made_by": facts}))


def read_settings(path: Path) -> Settings:
    """The settings in a config.toml; raises DataError that names the file for anything that does not belong there."""
    if not path.exists():
        raise DataError(explain("there is no such file", got=str(path), fix="name a run folder, or its config.toml"))
    return read(Settings, path, table="settings")


def check(settings: Settings) -> Settings:
    """The settings themselves, if they make sense; ArgumentError otherwise."""
    if settings.model not in MODELS:
        raise ArgumentError(explain("there is no such model", got=settings.model, expected=" | ".join(MODELS)))
    for name, low in (("epochs", 0), ("batch_size", 1), ("patience", 1)):
        value = getattr(settings, name)
        if value is not None and value < low:
            raise ArgumentError(explain(f"--{name.replace('_', '-')} is too small", got=str(value), expected=f"at least {low}"))
    if settings.learning_rate is not None and not settings.learning_rate > 0:
        raise ArgumentError(explain("--learning-rate must be positive", got=str(settings.learning_rate), expected="for example 0.001"))
    return settings
