# SPDX-License-Identifier: Apache-2.0
"""NumPy's .npz and .npy: arrays that are not compressed are views of the file; arrays of Python objects are refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from ...foundations.files import reading
from .contents import Entry, Mapped, Weights, damaged, element_count, native, own
from .zips import Members

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
LONGEST_HEADER = 10_000


def read_npz(path: Path) -> Weights:
    """The arrays of an .npz file."""
    members = Members(Mapped(path))
    return Weights({name.removesuffix(".npy"): _member(path, members, name) for name in members.infos
                    if name.endswith(".npy")})


def read_npy(path: Path) -> Weights:
    """The one array of an .npy file, under the name of the file."""
    return Weights({path.stem: _array(path, path.stem, Mapped(path).bytes)})


def _member(path: Path, members: Members, name: str) -> Entry:
    if members.place(name) is not None:
        return _array(path, name, members.bytes(name))
    with reading(path, f"array {name!r}"), members.file.open(name) as stream:
        shape, _, dtype, start = _header(path, name, stream.read(LONGEST_HEADER + 12))  # type: ignore[arg-type]
    _fits(path, name, shape, dtype, members.infos[name].file_size - start)
    return Entry(shape, native(dtype), lambda: _array(path, name, members.bytes(name)).read())


def _array(path: Path, name: str, content: memoryview) -> Entry:
    shape, fortran, dtype, start = _header(path, name, content)
    _fits(path, name, shape, dtype, len(content) - start)

    def read() -> np.ndarray:
        flat = np.frombuffer(content[start:], dtype) if len(content) > start else np.zeros(0, dtype)
        return own(flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape))
    return Entry(shape, native(dtype), read)


def _header(path: Path, name: str, content: memoryview) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    with reading(path, f"array {name!r}"):
        stream = io.BytesIO(content[:LONGEST_HEADER + 12])
        version = np.lib.format.read_magic(stream)
        if version not in HEADERS:
            raise ValueError(f"version {version} of the format")
        shape, fortran, dtype = HEADERS[version](stream, max_header_size=LONGEST_HEADER)
    if dtype.kind not in "biufc":
        raise damaged(path, f"array {name!r} holds no numbers: refused", got=f"dtype {dtype}", expected="numbers",
                      fix="save arrays of numbers alone")
    return shape, fortran, dtype, stream.tell()


def _fits(path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype, size: int) -> None:
    wanted = element_count(shape, path, f"array {name!r}") * dtype.itemsize
    if size != wanted:
        raise damaged(path, f"array {name!r} has another size than its shape says", got=f"{size:,} bytes",
                      expected=f"{wanted:,} bytes for {dtype}{list(shape)}")
