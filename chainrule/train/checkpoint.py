# SPDX-License-Identifier: Apache-2.0
"""A run as a file: every array and number that the next step depends on, so that a resumed run ends with the same bits.

Arrays (Variables of model and optimiser, the random state, sums of an unfinished epoch) are tensors of a safetensors
file; everything else is JSON in its header. Nothing in the file is ever executed. It is written whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, explain
from ..io.tensors import read_tensors, write_tensors

FORMAT = "chainrule checkpoint 1"
ARRAY = "array:"  # a JSON string that begins like this stands for the array of that name


def write_state(path: str | Path, state: Any) -> Path:
    """Write nested plain data (dicts with string keys, lists, numbers, strings, None, arrays) to a safetensors file."""
    arrays: dict[str, np.ndarray] = {}
    plain = _take_arrays(state, arrays, "")
    return write_tensors(path, arrays, {"format": FORMAT, "state": plain})


def read_state(path: str | Path) -> Any:
    """The nested data of `write_state`; raises DataError for a file that is damaged or of another kind."""
    arrays, header = read_tensors(path, "checkpoint", fix="use an earlier checkpoint")
    if header.get("format") != FORMAT:
        raise DataError(explain("this file is not a checkpoint of a run", got=f"{path} with format {header.get('format')!r}", expected=FORMAT,
                                fix="to use a saved model, call cr.load(path)"))
    return _put_arrays(header["state"], arrays)


def _take_arrays(value: Any, arrays: dict[str, np.ndarray], path: str) -> Any:
    if isinstance(value, np.ndarray):
        arrays[path] = np.asarray(value, order="C")
        return ARRAY + path
    if isinstance(value, Mapping):
        return {key: _take_arrays(item, arrays, f"{path}/{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_take_arrays(item, arrays, f"{path}/{i}") for i, item in enumerate(value)]
    return value.item() if isinstance(value, np.generic) else value


def _put_arrays(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, str) and value.startswith(ARRAY):
        return arrays[value.removeprefix(ARRAY)]
    if isinstance(value, dict):
        return {key: _put_arrays(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_put_arrays(item, arrays) for item in value]
    return value
