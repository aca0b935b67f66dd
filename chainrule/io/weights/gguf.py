# SPDX-License-Identifier: Apache-2.0
"""llama.cpp's files .gguf: settings and tokenizer as named values, a table of arrays, their blocks.

Source: the description of the format, docs/gguf.md of ggml, versions 2 and 3.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import shown
from ...foundations.files import reading
from .contents import Entry, Mapped, Weights, damaged, element_count
from .gguf_blocks import BLOCKS
from .numbers import from_bfloat16

PLAIN = {0: "<f4", 1: "<f2", 24: "i1", 25: "<i2", 26: "<i4", 27: "<i8", 28: "<f8"}
BFLOAT16 = 30
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TEXT, LIST = 8, 9
MOST_NESTED = 8
ALIGNMENT = "general.alignment"


class Metadata(dict[str, Any]):
    """Settings by name; texts and lists are made of their bytes when they are asked for."""

    def __getitem__(self, name: str) -> Any:
        item = super().__getitem__(name)
        return item() if callable(item) else item

    def get(self, name: str, default: Any = None) -> Any:
        """The setting of this name, or `default`."""
        return self[name] if name in self else default

    def items(self) -> Any:
        """(name, value) of each."""
        return [(name, self[name]) for name in self]

    def values(self) -> Any:
        """The values."""
        return [self[name] for name in self]


class Cursor:
    """A place in the file from which numbers and texts are read."""

    def __init__(self, mapped: Mapped):
        self.mapped, self.at = mapped, 0

    def number(self, code: str) -> Any:
        """The next number, little-endian."""
        size = struct.calcsize(f"<{code}")
        self.at += size
        return struct.unpack(f"<{code}", self.mapped.part(self.at - size, size, "the header"))[0]

    def text(self) -> memoryview:
        """The next text: its length and its bytes."""
        size = self.number("Q")
        self.at += size
        return self.mapped.part(self.at - size, size, "a text of the header")

    def value(self, kind: int, depth: int = 0) -> Any:
        """The next value of a kind; for texts and lists a function that makes it."""
        if kind in SCALARS:
            return self.number(SCALARS[kind])
        if kind == TEXT:
            content = self.text()
            return lambda: str(content, "utf-8", "replace")
        if kind != LIST or depth > MOST_NESTED:
            raise damaged(self.mapped.path, "a setting is of a kind that is not known", got=str(kind))
        return self._list(depth)

    def _list(self, depth: int) -> Callable[[], list[Any]]:
        kind, count = self.number("I"), self.number("Q")
        if kind in SCALARS:
            size = struct.calcsize(SCALARS[kind])
            content = self.mapped.part(self.at, count * size, "a list of the header")
            self.at += count * size
            return lambda: np.frombuffer(content, np.dtype(f"<{SCALARS[kind]}")).tolist() if count else []
        if count > len(self.mapped) // 8:
            raise damaged(self.mapped.path, "a list of the header is longer than the file", got=f"{count:,} items")
        if kind == TEXT:
            return self._texts(count)
        items = [self.value(kind, depth + 1) for _ in range(count)]
        return lambda: [item() if callable(item) else item for item in items]

    def _texts(self, count: int) -> Callable[[], list[str]]:
        """So many texts; only their ends are looked for now."""
        content, unpack, start, at = self.mapped.bytes, struct.Struct("<Q").unpack_from, self.at, self.at
        with reading(self.mapped.path, "list of texts in the header"):
            for _ in range(count):
                at += 8 + unpack(content, at)[0]
        self.mapped.part(start, at - start, "a list of texts of the header")
        self.at = at
        return lambda: _decoded(content, start, count)


def _decoded(content: memoryview, at: int, count: int) -> list[str]:
    made = []
    for _ in range(count):
        size = int.from_bytes(content[at:at + 8], "little")
        made.append(str(content[at + 8:at + 8 + size], "utf-8", "replace"))
        at += 8 + size
    return made


def read_gguf(path: Path) -> Weights:
    """The arrays of a file, and in `metadata` its settings and its tokenizer."""
    mapped = Mapped(path)
    cursor = Cursor(mapped)
    if bytes(mapped.part(0, 4, "the header")) != b"GGUF":
        raise damaged(path, "this is no GGUF file", got=shown(bytes(mapped.bytes[:4])), expected="GGUF")
    cursor.at = 4
    if (version := cursor.number("I")) not in (2, 3):
        raise damaged(path, "a GGUF file of this version cannot be read", got=f"version {version}" if version < 2**16
                      else "big-endian numbers",
                      expected="version 2 or 3, little-endian", fix="convert the model again")
    arrays, settings = cursor.number("Q"), cursor.number("Q")
    if arrays + settings > len(mapped) // 12:
        raise damaged(path, "the header names more than the file has room for",
                      got=f"{arrays:,} arrays, {settings:,} settings")
    metadata = Metadata()
    for _ in range(settings):
        with reading(path, "name of a setting"):
            name = str(cursor.text(), "utf-8")
        if name in metadata:
            raise damaged(path, "a setting occurs twice", got=shown(name))
        metadata[name] = cursor.value(cursor.number("I"))
    return Weights(_entries(mapped, cursor, arrays, metadata), metadata)


def _entries(mapped: Mapped, cursor: Cursor, count: int, metadata: Metadata) -> dict[str, Entry]:
    table = [_row(mapped, cursor) for _ in range(count)]
    alignment = metadata.get(ALIGNMENT, 32)
    if type(alignment) is not int or not 0 < alignment <= 1 << 20 or alignment & (alignment - 1):
        raise damaged(mapped.path, "the alignment is no power of two", got=shown(alignment))
    base = -(-cursor.at // alignment) * alignment
    made = {name: _entry(mapped, name, shape, kind, base + offset) for name, shape, kind, offset in table}
    if len(made) != count:
        raise damaged(mapped.path, "two arrays have one name")
    return made


def _row(mapped: Mapped, cursor: Cursor) -> tuple[str, tuple[int, ...], int, int]:
    """(name, shape, kind, offset); the file counts axes from the fastest."""
    with reading(mapped.path, "name of an array"):
        name = str(cursor.text(), "utf-8")
    if (axes := cursor.number("I")) > 8:
        raise damaged(mapped.path, f"array {name!r} has too many axes", got=str(axes))
    shape = tuple(cursor.number("Q") for _ in range(axes))[::-1]
    return name, shape, cursor.number("I"), cursor.number("Q")


def _entry(mapped: Mapped, name: str, shape: tuple[int, ...], kind: int, start: int) -> Entry:
    what = f"array {name!r}"
    if kind in PLAIN:
        return mapped.array(PLAIN[kind], shape, start, what)
    if kind == BFLOAT16:
        return mapped.array("<u2", shape, start, what).then(from_bfloat16, np.float32)
    if kind not in BLOCKS:
        raise damaged(mapped.path, f"{what} is packed in a way that cannot be read", got=f"type {kind}",
                      expected="F32, F16, BF16, " + ", ".join(block.name for block in BLOCKS.values()),
                      fix="quantise the model in one of these")
    block = BLOCKS[kind]
    if not shape or shape[-1] % block.count:
        raise damaged(mapped.path, f"{what} does not divide into blocks", got=str(shape),
                      expected=f"a last axis in a multiple of {block.count}")
    count = element_count(shape, mapped.path, what) // block.count
    raw = mapped.array(block.layout, (count,), start, what)
    return Entry(shape, np.dtype(np.float32), lambda: block.unpack(raw.read()).reshape(shape))
