# SPDX-License-Identifier: Apache-2.0
"""A run as a file: every array and number that the next step depends on, so that a resumed run ends with the same bits.

Arrays (Variables of model and optimiser, the random state, sums of an unfinished epoch) are tensors of a safetensors
file; everything else is JSON in its header. Nothing in the file is ever executed. It is written whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, explain
from ..files import write_atomically

FORMAT, KEY = "chainrule checkpoint 1", "chainrule"
ARRAY = "array:"  # a JSON string that begins like this stands for the array of that name


def write_state(path: str | Path, state: Any) -> Path:
    """Write nested plain data (dicts with string keys, lists, numbers, strings, None, arrays) to a safetensors file."""
    from safetensors.numpy import save

    arrays: dict[str, np.ndarray] = {}
    plain = _take_arrays(state, arrays, "")
    blob = save(arrays, metadata={KEY: json.dumps({"format": FORMAT, "state": plain})})
    return write_atomically(path, blob)


def read_state(path: str | Path) -> Any:
    """The nested data of `write_state`; raises DataError for a file that is damaged or of another kind."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get(KEY, "{}"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except FileNotFoundError:
        raise DataError(explain("there is no such checkpoint", got=str(path), fix="check the path; a run folder holds checkpoint.safetensors")) from None
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise DataError(explain("the checkpoint cannot be read", got=f"{path}: {error}", fix="use an earlier checkpoint")) from error
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


def variable_arrays(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The content of each Variable, by name."""
    return {name: variable.numpy() for name, variable in variables.items()}


def assign_arrays(variables: Mapping[str, Any], arrays: Mapping[str, np.ndarray], whose: str) -> None:
    """Put saved arrays into the Variables of the same names; all names, shapes and dtypes must agree before any changes."""
    missing, extra = sorted(variables.keys() - arrays.keys()), sorted(arrays.keys() - variables.keys())
    if missing or extra:
        raise DataError(explain(f"the saved arrays do not belong to this {whose}",
                                got="; ".join(filter(None, [f"not needed: {', '.join(extra)}" if extra else "",
                                                            f"missing: {', '.join(missing)}" if missing else ""])),
                                expected=f"{len(variables)} arrays: {', '.join(list(variables)[:6])}{', …' if len(variables) > 6 else ''}",
                                fix=f"build the {whose} as it was when the file was written"))
    for name, variable in variables.items():
        if arrays[name].shape != variable.shape or arrays[name].dtype != variable.dtype:
            raise DataError(explain(f"the saved array {name} does not fit this {whose}", got=f"{arrays[name].dtype}{list(arrays[name].shape)}",
                                    expected=f"{variable.dtype}{list(variable.shape)}", fix=f"build the {whose} as it was"))
    for name, variable in variables.items():
        variable.assign(arrays[name])
