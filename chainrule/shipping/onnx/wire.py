# SPDX-License-Identifier: Apache-2.0
"""What ONNX files are made of, as bytes: tensors, nodes, graphs and a model, in the encoding of protocol buffers.

Source: onnx.proto3 (numbers of the fields) and the description of the encoding, protobuf.dev.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import DTypeError, explain

FLOAT, INT, STRING, TENSOR, GRAPH, FLOATS, INTS, STRINGS = 1, 2, 3, 4, 5, 6, 7, 8  # kinds of attributes
KINDS = {"float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float16": 10,
         "float64": 11,
         "uint32": 12, "uint64": 13, "complex64": 14, "complex128": 15, "bfloat16": 16}


class Packed(bytes):
    """A message that is encoded already: a graph within a node."""


def kind_of(dtype: Any) -> int:
    """ONNX's number of a dtype; DTypeError if it has none."""
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name not in KINDS:
        raise DTypeError(explain("ONNX has no tensors of this dtype", got=name, expected=", ".join(KINDS)))
    return KINDS[name]


def varint(value: int) -> bytes:
    """An integer in groups of seven bits, a negative one as one of 64 bits."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer(field: int, value: int) -> bytes:
    """A field that is an integer."""
    return varint(field << 3) + varint(value)


def content(field: int, value: bytes | str) -> bytes:
    """A field of bytes: a text or a message."""
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def tensor(name: str, array: np.ndarray) -> bytes:
    """TensorProto: an array with its name."""
    raw = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    head = b"".join(integer(1, n) for n in array.shape) + integer(2, kind_of(array.dtype))
    return head + content(8, name) + content(9, raw)


def attribute(name: str, value: Any) -> bytes:
    """AttributeProto: the kind follows from the value, which is a number, a text, an array, a graph, or a list of
    numbers or texts."""
    return content(1, name) + _value(value)


def _value(value: Any) -> bytes:
    if isinstance(value, Packed):
        return content(6, value) + integer(20, GRAPH)
    if isinstance(value, np.ndarray):
        return content(5, tensor("", value)) + integer(20, TENSOR)
    if isinstance(value, str):
        return content(4, value) + integer(20, STRING)
    if isinstance(value, float):
        return varint(2 << 3 | 5) + struct.pack("<f", value) + integer(20, FLOAT)
    if isinstance(value, int | np.integer):
        return integer(3, int(value)) + integer(20, INT)
    items = list(value)
    if items and isinstance(items[0], str):
        return b"".join(content(9, item) for item in items) + integer(20, STRINGS)
    if items and isinstance(items[0], float):
        return b"".join(varint(7 << 3 | 5) + struct.pack("<f", item) for item in items) + integer(20, FLOATS)
    return b"".join(integer(8, int(item)) for item in items) + integer(20, INTS)


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], name: str, attributes: Mapping[str, Any]) -> bytes:
    """NodeProto: one use of an operator."""
    links = b"".join(content(1, x) for x in inputs) + b"".join(content(2, y) for y in outputs)
    return (links + content(3, name) + content(4, kind)
            + b"".join(content(5, attribute(*item)) for item in sorted(attributes.items())))


def value_info(name: str, dtype: Any, shape: Sequence[int | str | None]) -> bytes:
    """ValueInfoProto: name, dtype and shape of an array; an axis without a fixed extent has a name or None."""
    dims = b"".join(content(1, b"" if n is None else content(2, n) if isinstance(n, str) else integer(1, n))
                    for n in shape)
    array = integer(1, kind_of(dtype)) + content(2, dims)
    return content(1, name) + content(2, content(1, array))


def graph(name: str, nodes: Iterable[bytes], inputs: Iterable[bytes], outputs: Iterable[bytes],
          tensors: Iterable[bytes] = ()) -> Packed:
    """GraphProto."""
    fields = [(1, nodes), (2, [name]), (5, tensors), (11, inputs), (12, outputs)]
    return Packed(b"".join(content(field, value) for field, values in fields for value in values))


def model(packed: Packed, opset: int, version: str, ir: int) -> bytes:
    """ModelProto: the file."""
    head = integer(1, ir) + content(2, "chainrule") + content(3, version)
    return head + content(7, packed) + content(8, content(1, "") + integer(2, opset))
