# SPDX-License-Identifier: Apache-2.0
"""Named arrays with a JSON header in one safetensors file, and how they get into Variables; models and checkpoints
share it.

The header is one entry, because safetensors writes several in an order that changes: the same content gives the same
bytes. Files are written whole or not at all, and nothing in them is executed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, explain
from ..foundations.files import open_regular, parse_json, reading, write_atomically

KEY = "chainrule"


def write_tensors(path: str | Path, arrays: dict[str, np.ndarray], header: dict[str, Any]) -> Path:
    """Write the arrays, with `header` (plain JSON data) beside them."""
    from safetensors.numpy import save

    return write_atomically(path, save(arrays, metadata={KEY: json.dumps(header)}))


def read_tensors(path: str | Path, what: str, fix: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(arrays, header) of a file; DataError naming it as a `what` if it is missing or damaged. A foreign file has
    header {}.

    What its header says of sizes is compared with the file before anything is allocated (by safetensors).
    """
    from safetensors import SafetensorError, safe_open

    if not os.path.lexists(path):
        raise DataError(explain(f"there is no such file: a {what} is expected", got=str(path)))
    open_regular(path).close()
    try:
        with reading(path, what, fix), safe_open(str(path), framework="numpy") as file:
            header = parse_json((file.metadata() or {}).get(KEY, "{}"), path, what)
            return {name: file.get_tensor(name) for name in file.keys()}, header
    except SafetensorError as error:
        raise DataError(explain(f"the {what} cannot be read", got=f"{path}: {error}",
                                expected="a whole .safetensors file", fix=fix)) from error


def variable_arrays(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The content of each Variable, by name."""
    return {name: variable.numpy() for name, variable in variables.items()}


def check_arrays(variables: Mapping[str, Any], arrays: Mapping[str, np.ndarray], whose: str) -> None:
    """DataError unless saved arrays and Variables have the same names, shapes and dtypes."""
    missing, extra = sorted(variables.keys() - arrays.keys()), sorted(arrays.keys() - variables.keys())
    if missing or extra:
        raise DataError(explain(f"the saved arrays do not belong to this {whose}",
                                got="; ".join(filter(None, [f"not needed: {', '.join(extra)}" if extra else "",
                                                            f"missing: {', '.join(missing)}" if missing else ""])),
                                expected=f"{len(variables)} arrays: "
                                         f"{', '.join(list(variables)[:6])}{', …' if len(variables) > 6 else ''}",
                                fix=f"build the {whose} as it was when the file was written"))
    for name, variable in variables.items():
        if arrays[name].shape != variable.shape or arrays[name].dtype != variable.dtype:
            raise DataError(explain(f"the saved array {name} does not fit this {whose}",
                                    got=f"{arrays[name].dtype}{list(arrays[name].shape)}",
                                    expected=f"{variable.dtype}{list(variable.shape)}",
                                    fix=f"build the {whose} as it was"))


def assign_arrays(variables: Mapping[str, Any], arrays: Mapping[str, np.ndarray], whose: str) -> None:
    """Put saved arrays into the Variables of the same names; all names, shapes and dtypes must agree before any
    changes."""
    check_arrays(variables, arrays, whose)
    for name, variable in variables.items():
        variable.assign(arrays[name])
