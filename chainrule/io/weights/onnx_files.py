# SPDX-License-Identifier: Apache-2.0
"""The initialisers of ONNX files: the arrays of a graph, in the file or in files beside it.

Source: onnx.proto3, messages ModelProto, GraphProto and TensorProto.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import shown
from ...foundations.files import reading
from .contents import Entry, Mapped, Weights, damaged, element_count, native, view
from .numbers import WIDENED, widened
from .protobuf import Message

GRAPH, INITIALIZERS, SPARSE = 7, 5, 15  # of ModelProto and GraphProto
# of TensorProto
DIMS, KIND, FLOATS, INT32S, INT64S, NAME, RAW, DOUBLES, UINT64S, OUTSIDE, PLACE = 1, 2, 4, 5, 7, 8, 9, 10, 11, 13, 14
DTYPES = {1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8", 12: "<u4",
          13: "<u8", 14: "<c8", 15: "<c16"}
WIDE = {16: "bfloat16", 17: "float8_e4m3fn", 19: "float8_e5m2"}


def read_onnx(path: Path) -> Weights:
    """The initialisers of a model by name."""
    with reading(path, "ONNX file"):
        graphs = Message(Mapped(path).bytes).message(GRAPH)
        if len(graphs) != 1:
            raise damaged(path, "this is no ONNX model", got=f"{len(graphs)} graphs", expected="one graph")
        if graphs[0].values.get(SPARSE):
            raise damaged(path, "sparse initialisers cannot be read", fix="save the model with dense weights")
        found = [(tensor.text(NAME), tensor) for tensor in graphs[0].message(INITIALIZERS)]
        names = dict(found)
        if len(names) != len(found):
            raise damaged(path, "two initialisers have one name")
        return Weights({name: tensor_entry(path, name, tensor) for name, tensor in found})


def tensor_entry(path: Path, name: str, tensor: Message) -> Entry:
    """The array of a TensorProto."""
    what, kind, shape = f"initialiser {name!r}", tensor.integer(KIND), tuple(tensor.integers(DIMS))
    if kind not in DTYPES and kind not in WIDE:
        raise damaged(path, f"{what} has a type that cannot be read", got=f"type {kind}", expected="numbers")
    dtype = np.dtype(DTYPES[kind] if kind in DTYPES else WIDENED[WIDE[kind]][0])
    size = element_count(shape, path, what) * dtype.itemsize
    if tensor.integer(PLACE) == 1:
        entry = _outside(path, what, tensor, dtype, shape, size)
    else:
        content = _content(tensor, kind, dtype)
        if len(content) != size:
            raise damaged(path, f"{what} has another size than its shape says", got=f"{len(content):,} bytes",
                          expected=f"{size:,} bytes for {dtype}{list(shape)}")
        entry = Entry(shape, native(dtype), view(content, dtype, shape))
    return widened(WIDE[kind], entry) if kind in WIDE else entry


def _content(tensor: Message, kind: int, dtype: np.dtype) -> memoryview:
    """The bytes of a tensor, which lie as they are or in a field of its kind of numbers."""
    if raw := tensor.contents(RAW):
        return raw[-1]
    if kind in (1, 14):
        return memoryview(tensor.numbers(FLOATS, "<f4").tobytes())
    if kind in (11, 15):
        return memoryview(tensor.numbers(DOUBLES, "<f8").tobytes())
    field = INT64S if kind == 7 else UINT64S if kind in (12, 13) else INT32S
    return memoryview(_integers(tensor.integers(field), kind, dtype).tobytes())


def _integers(values: list[int], kind: int, dtype: np.dtype) -> np.ndarray:
    """Integers, or the bits of small floats, in a field of integers."""
    wide = np.array([value & (1 << 64) - 1 for value in values], np.uint64)
    return wide.astype("<u2").view("<f2") if kind == 10 else wide.astype(dtype)


def _outside(path: Path, what: str, tensor: Message, dtype: np.dtype, shape: tuple[int, ...], size: int) -> Entry:
    """The array in a file that must lie in the folder of the model."""
    said = {pair.text(1): pair.text(2) for pair in tensor.message(OUTSIDE)}
    place = said.get("location", "")
    target = _within(path, place, what)
    start, length = _whole(path, said.get("offset", "0"), what), _whole(path, said.get("length", str(size)), what)
    return Mapped(target).array(dtype, shape, start, what, length)


def _within(path: Path, place: str, what: str) -> Path:
    """The file of this name in the folder of the model, or below; DataError for one elsewhere, also by way of a link.
    """
    folder = Path(os.path.realpath(path.parent))
    with reading(path, "name of a file with arrays"):
        target = Path(os.path.realpath(folder / place))
    if not place or Path(place).is_absolute() or ".." in Path(place).parts or not target.is_relative_to(folder):
        raise damaged(path, f"{what} lies outside of the folder of the model: refused", got=shown(place),
                      expected="a file beside the model", fix=None)
    return target


def _whole(path: Path, text: Any, what: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise damaged(path, f"{what} lies at no place of its file", got=shown(text))
    return int(text)
