# SPDX-License-Identifier: Apache-2.0
"""A model in one file: weights as tensors of a safetensors file, architecture (and what else is needed to use the model,
such as its preprocessing and class names) as JSON in the header. Loading executes nothing from the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import nn
from ..errors import DataError, explain
from .tensors import assign_arrays, read_tensors, variable_arrays, write_tensors

FORMAT = "chainrule model 1"


def save(model: Any, path: str | Path, extra: dict[str, Any] | None = None) -> Path:
    """Write architecture and weights to `path` (.safetensors).

    Args:
        model: a built module whose class chainrule knows or that was registered by being defined.
        extra: plain JSON data kept beside the model, such as preprocessing and class names.
    """
    variables = model.variables()
    if not variables and not model.built:
        raise DataError(explain("this model has no weights yet", got=repr(model), fix="call it on a first batch, or give input_shape"))
    header = {"format": FORMAT, "model": nn.to_config(model), "extra": extra or {}}
    return write_tensors(path, variable_arrays(variables), header)


def load(path: str | Path) -> Any:
    """The model in a file that `save` wrote, with its weights."""
    return read_model(path)[0]


def read_model(path: str | Path) -> tuple[Any, dict[str, Any]]:
    """(model, extra) of a file that `save` wrote; raises DataError for a damaged or foreign file."""
    arrays, header = read_tensors(path, "model file")
    if header.get("format") != FORMAT:
        raise DataError(explain("this file is not a model of chainrule", got=f"{path} with format {header.get('format')!r}", expected=FORMAT,
                                fix="build the model in Python and assign the arrays to model.variables()"))
    model = nn.from_config(header["model"])
    assign_arrays(model.variables(), arrays, "model")
    return model, header["extra"]
