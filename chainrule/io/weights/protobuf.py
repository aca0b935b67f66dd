# SPDX-License-Identifier: Apache-2.0
"""Protocol buffers as far as files of models need them: the fields of a message, by number, without a schema.

Source: the description of the encoding, protobuf.dev. A message is read where it lies; nothing is copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...errors import DataError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class Message:
    """The fields of a message: number -> values, numbers as int, everything else as bytes."""

    def __init__(self, content: memoryview):
        self.values: dict[int, list[Any]] = {}
        for field, value in _fields(content):
            self.values.setdefault(field, []).append(value)

    def message(self, field: int) -> list[Message]:
        """The messages in a field."""
        return [Message(content) for content in self.contents(field)]

    def contents(self, field: int) -> list[memoryview]:
        """The bytes of each value of a field; ValueError for numbers."""
        found = self.values.get(field, [])
        if not all(isinstance(value, memoryview) for value in found):
            raise ValueError(f"field {field} holds numbers")
        return found

    def text(self, field: int, default: str = "") -> str:
        """The last text in a field."""
        found = self.contents(field)
        return str(found[-1], "utf-8") if found else default

    def integer(self, field: int, default: int = 0) -> int:
        """The last integer in a field."""
        value = self.values.get(field, [default])[-1]
        if not isinstance(value, int):
            raise ValueError(f"field {field} holds no number")
        return signed(value)

    def integers(self, field: int) -> list[int]:
        """All integers of a field, packed or not."""
        return [signed(n) for value in self.values.get(field, [])
                for n in ([value] if isinstance(value, int) else _packed(value))]

    def numbers(self, field: int, dtype: str) -> np.ndarray:
        """All numbers of 4 or 8 bytes in a field, packed or not."""
        size = np.dtype(dtype).itemsize
        parts = [value.to_bytes(size, "little") if isinstance(value, int) else bytes(value)
                 for value in self.values.get(field, [])]
        return np.frombuffer(b"".join(parts), dtype)


def signed(value: int) -> int:
    """A number of 64 bits as one with a sign."""
    return value - (1 << 64) if value >= 1 << 63 else value


def _fields(content: memoryview) -> Iterator[tuple[int, Any]]:
    at, end = 0, len(content)
    while at < end:
        key, at = varint(content, at)
        kind, field = key & 7, key >> 3
        if kind == VARINT:
            value, at = varint(content, at)
            yield field, value
            continue
        if kind == BYTES:
            size, at = varint(content, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise DataError(f"a field of kind {kind}, of which there is none")
        if size > end - at:
            raise DataError(f"a field of {size:,} bytes where {end - at:,} are left")
        part = content[at:at + size]
        yield field, part if kind == BYTES else int.from_bytes(part, "little")
        at += size


def varint(content: memoryview, at: int) -> tuple[int, int]:
    """(a number in groups of seven bits, where it ends)."""
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value & (1 << 64) - 1, at
        if shift > 63:
            raise DataError("a number of more than ten bytes")


def _packed(content: memoryview) -> Iterator[int]:
    at = 0
    while at < len(content):
        value, at = varint(content, at)
        yield value
