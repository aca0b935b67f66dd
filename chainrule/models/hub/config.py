# SPDX-License-Identifier: Apache-2.0
"""config.json: what a model needs of it, and what would make of the same weights another function."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ...errors import DataError, explain
from ...foundations.files import parse_json, read_regular

ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu_fast": "gelu_tanh", "swish": "silu"}


class Config(dict[str, Any]):
    """What config.json says; DataError for what a model needs and it does not say."""

    def __missing__(self, name: str) -> Any:
        raise DataError(explain("the description of the model is incomplete", got=", ".join(sorted(self)),
                                expected=f"{name} in config.json"))

    def need(self, **plain: Any) -> None:
        """DataError if a switch is there that makes of the same weights another function than ours."""
        other = {name: self[name] for name, value in plain.items() if self.get(name) not in (None, value)}
        if other:
            raise DataError(explain("this variant of the model cannot be read",
                                    got=", ".join(f"{name} {value!r}" for name, value in other.items()),
                                    expected=", ".join(f"{name} {plain[name]!r}" for name in other)))


def read_config(folder: Path) -> Config:
    """The description in a folder."""
    path = folder / "config.json"
    if not os.path.lexists(path):
        raise DataError(explain("this folder holds no model", got=str(folder),
                                expected="config.json and model.safetensors"))
    return Config(parse_json(read_regular(path), path, "description of the model"))


def activation(name: str) -> str:
    """Our name of an activation."""
    return ACTIVATIONS.get(name, name)


def their_activation(name: Any) -> str:
    """Their name of an activation of ours."""
    return {"gelu_tanh": "gelu_new"}.get(name, name) if isinstance(name, str) else "gelu"
