# SPDX-License-Identifier: Apache-2.0
"""A model in one file: weights as tensors of a safetensors file, architecture (and what else is needed to use the model,
such as its preprocessing and class names) as JSON in the header. Loading executes nothing from the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn
from ..errors import DataError, explain
from ..files import write_atomically

FORMAT, KEY = "chainrule model 1", "chainrule"


def save(model: Any, path: str | Path, extra: dict[str, Any] | None = None) -> Path:
    """Write architecture and weights to `path` (.safetensors).

    Args:
        model: a built module whose class chainrule knows or that was registered by being defined.
        extra: plain JSON data kept beside the model, such as preprocessing and class names.
    """
    from safetensors.numpy import save as to_bytes

    variables = model.variables()
    if not variables:
        raise DataError(explain("this model has no weights yet", got=repr(model), fix="call it on a first batch, or give input_shape"))
    header = json.dumps({"format": FORMAT, "model": nn.to_config(model), "extra": extra or {}})
    # one entry, because safetensors writes several in an order that changes: the same model gives the same bytes
    return write_atomically(path, to_bytes({name: v.numpy() for name, v in variables.items()}, metadata={KEY: header}))


def load(path: str | Path) -> Any:
    """The model in a file that `save` wrote, with its weights."""
    return read_model(path)[0]


def read_model(path: str | Path) -> tuple[Any, dict[str, Any]]:
    """(model, extra) of a file that `save` wrote; raises DataError for a damaged or foreign file."""
    arrays, header = _read(Path(path))
    if header.get("format") != FORMAT:
        raise DataError(explain("this file is not a model of chainrule", got=f"{path} with format {header.get('format')!r}", expected=FORMAT,
                                fix="build the model in Python and assign the arrays to model.variables()"))
    model = nn.from_config(header["model"])
    _assign(model.variables(), arrays, path)
    return model, header["extra"]


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get(KEY, "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, header
    except FileNotFoundError:
        raise DataError(explain("there is no such file", got=str(path))) from None
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise DataError(explain("the model file cannot be read", got=f"{path}: {error}", expected="a whole .safetensors file")) from error


def _assign(variables: dict[str, Any], arrays: dict[str, np.ndarray], path: str | Path) -> None:
    missing, extra = sorted(variables.keys() - arrays.keys()), sorted(arrays.keys() - variables.keys())
    if missing or extra:
        raise DataError(explain(f"{path} does not hold the weights of its own architecture", got=f"missing {missing}, unknown {extra}"))
    for name, variable in variables.items():
        if arrays[name].shape != variable.shape or arrays[name].dtype != variable.dtype:
            raise DataError(explain(f"the array {name} in {path} does not fit", got=f"{arrays[name].dtype}{list(arrays[name].shape)}",
                                    expected=f"{variable.dtype}{list(variable.shape)}"))
    for name, variable in variables.items():
        variable.assign(arrays[name])
