# SPDX-License-Identifier: Apache-2.0
"""Files .safetensors: the length of a header (8 bytes), the header (JSON: dtype, shape and place of each array), the
bytes.

Source: the description of the format in the repository of safetensors. A folder, or an index of parts, is read as one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ...errors import shown
from ...foundations.files import parse_json, read_regular, reading
from .contents import Entry, Mapped, Weights, damaged
from .numbers import WIDENED, widened

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8",
          "U32": "<u4",
          "U16": "<u2", "U8": "u1", "BOOL": "?", "C64": "<c8"}
WIDE = {"BF16": "bfloat16", "F8_E5M2": "float8_e5m2", "F8_E4M3": "float8_e4m3fn"}
LONGEST_HEADER = 100_000_000
INDEX = ".index.json"


def read_safetensors(path: Path) -> Weights:
    """The arrays of one file."""
    mapped = Mapped(path)
    length = int.from_bytes(mapped.part(0, 8, "the length of the header"), "little")
    if length > min(LONGEST_HEADER, len(mapped) - 8):
        raise damaged(path, "the file is damaged: its header is longer than the file", got=f"{length:,} bytes",
                      expected=f"at most {len(mapped) - 8:,}")
    header = parse_json(_once(path, bytes(mapped.part(8, length, "the header"))), path, "header of the file")
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise damaged(path, "the header is damaged", got=f"__metadata__ {shown(metadata)}", expected="an object")
    entries, end = {}, 0
    for name, fields in sorted(header.items(), key=lambda item: _start(item[1])):
        entries[name], end = _entry(mapped, name, fields, 8 + length, end)
    if 8 + length + end != len(mapped):
        raise damaged(path, "there are bytes that belong to no array", got=f"{len(mapped):,} bytes",
                      expected=f"{8 + length + end:,} bytes")
    return Weights({name: entries[name] for name in header}, metadata)


def _once(path: Path, content: bytes) -> bytes:
    """The header; DataError if a name occurs twice in it, of which JSON's readers would take the last."""
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) != len(found):
            raise damaged(path, "a name occurs twice in the header", got=", ".join(name for name, _ in found[:6]))
        return made
    with reading(path, "header of the file"):
        json.loads(content.decode("utf-8"), object_pairs_hook=pairs)
    return content


def _start(fields: Any) -> int:
    place = fields.get("data_offsets") if isinstance(fields, dict) else None
    return place[0] if isinstance(place, list) and place and type(place[0]) is int else 0


def _entry(mapped: Mapped, name: str, fields: Any, base: int, end: int) -> tuple[Entry, int]:
    """The array that begins where the one before it ended, and where it ends."""
    what = f"array {shown(name)}"
    with reading(mapped.path, what):
        dtype, shape, (start, stop) = fields["dtype"], tuple(fields["shape"]), fields["data_offsets"]
        if dtype not in DTYPES and dtype not in WIDE:
            raise damaged(mapped.path, f"{what} has a dtype that is not known", got=shown(dtype),
                          expected=", ".join([*DTYPES, *WIDE]))
        if start != end or type(stop) is not int or stop < start:
            raise damaged(mapped.path, f"{what} does not begin where the one before it ends",
                          got=f"bytes {start} to {stop}", expected=f"from byte {end}")
        stored = DTYPES[dtype] if dtype in DTYPES else WIDENED[WIDE[dtype]][0]
        entry = mapped.array(stored, shape, base + start, what, stop - start)
        return (entry if dtype in DTYPES else widened(WIDE[dtype], entry)), stop


def read_parts(path: Path) -> Weights:
    """The arrays of all files that an index names, which lie beside it."""
    found = parse_json(read_regular(path), path, "list of parts").get("weight_map")
    if not isinstance(found, dict) or not found or not all(isinstance(name, str) for name in found.values()):
        raise damaged(path, "the list of parts is damaged", got=shown(found), expected='"weight_map": {array: file}')
    wrong = [name for name in found.values() if Path(name).name != name or "\\" in name
             or not name.endswith(".safetensors")]
    if wrong:
        raise damaged(path, "a part of the weights lies outside the folder, or is no safetensors file",
                      got=shown(wrong[0]), expected="names of files .safetensors")
    parts = {name: read_safetensors(path.parent / name) for name in sorted(set(found.values()))}
    if missing := [name for name, part in found.items() if name not in parts[part]]:
        raise damaged(path, "the list names arrays that are not in the parts", got=", ".join(missing[:6]))
    return Weights({name: dict.__getitem__(part, name) for part in parts.values() for name in part})


def read_folder(folder: Path) -> Weights:
    """The arrays of model.safetensors in a folder, or of the parts that model.safetensors.index.json names."""
    index = folder / f"model.safetensors{INDEX}"
    if os.path.lexists(index):
        return read_parts(index)
    if not os.path.lexists(folder / "model.safetensors"):
        raise damaged(folder, "there are no weights in this folder",
                      expected="model.safetensors, or model.safetensors.index.json and what it names",
                      fix="name the file: cr.io.read_weights(path)")
    return read_safetensors(folder / "model.safetensors")
