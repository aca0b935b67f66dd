# SPDX-License-Identifier: Apache-2.0
"""A run as a file: every array and number that the next step depends on, so that a resumed run ends with the same bits.

Arrays (Variables of model and optimiser, the random state, sums of an unfinished epoch) are tensors of a safetensors
file; everything else is JSON in its header, with a checksum of all of it. Nothing in the file is ever executed. It is
written whole or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, explain, shown
from ..foundations.files import alone, reading
from ..io.tensors import read_tensors, write_tensors

KIND = "chainrule checkpoint"
FORMAT = f"{KIND} 2"
ARRAY = "array:"  # a JSON string that begins like this stands for the array of that name


class Claims(contextlib.ExitStack):
    """The checkpoints and logs of one run: from the first time it writes to one until it ends, no other run may."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: set[str] = set()

    def claim(self, path: str | Path) -> None:
        """ArgumentError if another run, here or in another process, writes to this file."""
        place = os.path.realpath(path)
        if place in self.paths:
            return
        with contextlib.suppress(OSError):  # said when it is written
            os.makedirs(os.path.dirname(place), exist_ok=True)
        self.enter_context(alone(place, "wait until it has ended, or name another file"))
        self.paths.add(place)

    def __exit__(self, *details: Any) -> bool:
        self.paths.clear()
        return bool(super().__exit__(*details))


def write_state(path: str | Path, state: Any) -> Path:
    """Write nested plain data (dicts with string keys, lists, numbers, strings, None, arrays) to a safetensors file."""
    arrays: dict[str, np.ndarray] = {}
    plain = _take_arrays(state, arrays, "")
    try:
        return write_tensors(path, arrays, {"format": FORMAT, "state": plain, "checksum": _checksum(plain, arrays)})
    except OSError as error:
        raise DataError(explain("the checkpoint cannot be written; the file that was there before is as it was",
                                got=f"{path}: {error.strerror or error}",
                                expected="a folder that can be written to, with room for "
                                         f"{sum(a.nbytes for a in arrays.values()) / 2**20:,.1f} MiB",
                                fix="make room, or name another file: fit(..., checkpoint=path)")) from error


def read_state(path: str | Path) -> Any:
    """The nested data of `write_state`; raises DataError for a file that is damaged or of another kind."""
    arrays, header = read_tensors(path, "checkpoint", fix="use an earlier checkpoint")
    found = header.get("format")
    if found != FORMAT:
        older = str(found).startswith(KIND)
        raise DataError(explain("this checkpoint was written by another version" if older
                                else "this file is not a checkpoint of a run",
                                got=f"{path} with format {shown(found)}", expected=FORMAT,
                                fix="go on with the version that wrote it" if older
                                else "to use a saved model, call cr.load(path)"))
    if header.get("checksum") != _checksum(header.get("state"), arrays):
        raise DataError(explain("the checkpoint is damaged: its content is not what was written",
                                got=f"{path}, which does not fit its checksum", fix="use an earlier checkpoint"))
    with reading(path, "checkpoint", "use an earlier checkpoint"):
        return _put_arrays(header["state"], arrays)


def _checksum(state: Any, arrays: Mapping[str, np.ndarray]) -> str:
    total = zlib.crc32(json.dumps(state, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        total = zlib.crc32(f"{name}{array.dtype.str}{array.shape}".encode(), total)
        total = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8), total)
    return f"{total:08x}"


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
