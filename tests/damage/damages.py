# SPDX-License-Identifier: Apache-2.0
"""Ways in which files come to harm, as a function of a seed: what is cut off, turned over, swapped, or something else
altogether."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Damage = Callable[[bytes, np.random.Generator], bytes]

OTHERS = [b"", b"\0", b"\n" * 50, b"PK\x03\x04" + b"\0" * 60, b"PK\x05\x06" + b"\0" * 18, b"\x80\x04\x95pickle.",
          b"\x93NUMPY\x01\x00",
          b"\x89PNG\r\n\x1a\n", b"RIFF\xff\xff\xff\xffWAVEfmt ", b"\x1f\x8b\x08\0\0\0\0\0", b"{}", b"[]", b"null", b"3",
          b'"text"', b"[" * 3000,
          b'{"a":' * 3000, b"<html>404 not found</html>", "ä;ö\n1,5;2\n".encode("latin-1"), b"\xff\xfea\0,\0b",
          b"%!PS-Adobe-3.0 EPSF-3.0\n",
          b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", b"\0\0\x08\x03" + b"\xff" * 12,
          gzip.compress(b"hello")]


def cut(content: bytes, r: np.random.Generator) -> bytes:
    return content[:int(r.integers(0, max(1, len(content))))]


def turned(content: bytes, r: np.random.Generator) -> bytes:
    """Some bits turned over, most of them near the beginning, where the headers are."""
    changed = bytearray(content)
    for _ in range(int(r.integers(1, 6))):
        changed[int(len(changed) * r.random() ** 3)] ^= 1 << int(r.integers(8))
    return bytes(changed)


def swapped(content: bytes, r: np.random.Generator) -> bytes:
    """Four bytes replaced by a size that something may believe."""
    at = int(len(content) * r.random() ** 3)
    size = [0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1][int(r.integers(6))]
    return content[:at] + struct.pack(["<I", ">I"][int(r.integers(2))], size) + content[at + 4:]


def doubled(content: bytes, r: np.random.Generator) -> bytes:
    """A part of it that comes twice, or is left out."""
    a, b = sorted(r.integers(0, len(content) + 1, 2).tolist())
    return content[:b] + content[a:] if r.integers(2) else content[:a] + content[b:]


def another(content: bytes, r: np.random.Generator) -> bytes:
    return OTHERS[int(r.integers(len(OTHERS)))]


def noise(content: bytes, r: np.random.Generator) -> bytes:
    return content[:int(r.integers(0, 17))] + r.bytes(int(r.integers(1, 300)))


BYTES: tuple[Damage, ...] = (cut, turned, swapped, doubled, another, noise)
VALUES = [None, True, -1, 0, 10**9, 10**30, 1e100, float("nan"), "", "x", "../../etc/passwd", [], {}, [[]], [None] * 3,
          {"class": "os.system"}, [-1, 0]]


def damaged(content: bytes, count: int, seed: int, ways: tuple[Damage, ...] = BYTES) -> Iterator[tuple[str, bytes]]:
    """`count` harmed forms of a content, with the name of what happened."""
    for i in range(count):
        way = ways[i % len(ways)]
        yield f"{way.__name__} {i}", way(content, np.random.default_rng([seed, i]))


def mistyped(values: Any, count: int, seed: int) -> Iterator[tuple[str, Any]]:
    """`count` forms of nested plain data in which one place holds something else, or is gone."""
    for i in range(count):
        r = np.random.default_rng([seed, 7, i])
        copy = json.loads(json.dumps(values))
        places = list(_places(copy))
        holder, key = places[int(r.integers(len(places)))]
        if isinstance(holder, dict) and r.integers(4) == 0:
            del holder[key]
        else:
            holder[key] = VALUES[int(r.integers(len(VALUES)))]
        yield f"mistyped {key} {i}", copy


def _places(values: Any) -> Iterator[tuple[Any, Any]]:
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, item in list(items):
        yield values, key
        yield from _places(item)
