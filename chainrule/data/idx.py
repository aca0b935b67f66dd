# SPDX-License-Identifier: Apache-2.0
"""The idx format of MNIST: two zero bytes, a type code, the number of axes, the sizes (big-endian), the data.

A path (plain or gzip) comes in, an array goes out; anything wrong is told with the file and the byte.
Source: Y. LeCun, C. Cortes, "The MNIST database of handwritten digits", section on file formats.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .arrays import MOST_AXES, prepare
from .files import close_names, existing, fault, list_folder, read_bytes
from .parts import Part, Parts

DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
PART_WORDS = {"train": "train", "t10k": "test", "test": "test", "val": "val"}


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """The array in an idx file; raises DataError for a wrong magic, an unknown type code, missing or extra bytes.

    >>> header = bytes([0, 0, 8, 1, 0, 0, 0, 3])
    >>> from pathlib import Path
    >>> size = Path("labels.idx").write_bytes(header + bytes([7, 2, 1]))
    >>> cr.data.read_idx("labels.idx")
    array([7, 2, 1], dtype=uint8)
    """
    path = existing(path)
    shape, dtype = _header(path, read_bytes(path, limit=4 + 4 * 255))
    start = 4 + 4 * len(shape)
    expected = start + int(np.prod(shape, dtype=object)) * dtype.itemsize
    content = read_bytes(path, limit=expected + 1)
    if len(content) < expected:
        raise fault(f"{path}: the file ends too early, at byte {len(content):,}",
                    got=f"{len(content) - start:,} data bytes",
                    expected=f"{expected - start:,} data bytes for shape {shape}, as bytes 4 to {start - 1} say",
                    fix="copy or download the file again")
    if len(content) > expected:
        raise fault(f"{path}: extra bytes after the data, from byte {expected:,} on",
                    expected=f"{expected:,} bytes for shape {shape}, as bytes 4 to {start - 1} say")
    native = dtype.newbyteorder("=")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(native)


def _header(path: Path, start: bytes) -> tuple[tuple[int, ...], np.dtype]:
    if len(start) < 4:
        raise fault(f"{path}: the file ends too early, at byte {len(start)}",
                    expected="an idx header of 4 bytes or more")
    if start[:2] != b"\0\0" or start[3] == 0:
        raise fault(f"{path}: this is not an idx file: wrong magic in bytes 0 to 3", got=f"0x{start[:4].hex()}",
                    expected="0x0000, a type code and the number of axes, such as 0x00000803 for images")
    if start[2] not in DTYPES:
        raise fault(f"{path}: unknown idx type code in byte 2", got=f"0x{start[2]:02x}",
                    expected=", ".join(f"0x{code:02x}" for code in DTYPES))
    end = 4 + 4 * start[3]
    if len(start) < end:
        raise fault(f"{path}: the file ends too early, at byte {len(start)}, inside the header",
                    expected=f"{end} header bytes for {start[3]} axes")
    shape = tuple(int(size) for size in np.frombuffer(start[4:end], ">u4"))
    if len(shape) > MOST_AXES or 0 in shape:
        raise fault(f"{path}: the shape in bytes 4 to {end - 1} cannot be used",
                    got=f"{len(shape)} axes, {shape[:6]!s}", expected=f"1 to {MOST_AXES} axes, none of them empty")
    return shape, np.dtype(DTYPES[start[2]])


def read_pair(images: str | os.PathLike, labels: str | os.PathLike | None = None) -> Part:
    """Images and labels as one part; `labels` defaults to the neighbour file with the same beginning of its name."""
    images = existing(images)
    labels = existing(labels) if labels is not None else _labels_beside(images)
    x, y = read_idx(images), read_idx(labels)
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise fault(f"{labels}: labels must be whole numbers on one axis", got=f"{y.dtype} of shape {y.shape}")
    if len(x) != len(y):
        raise fault(f"{images} and {labels} do not belong together", got=f"{len(x):,} images, {len(y):,} labels",
                    expected="as many labels as images")
    return Part(prepare(x, str(images), [], image=True), y, str(images),
                lambda item: f"{labels}: item {item} (byte {8 + item * y.itemsize})")


def _labels_beside(images: Path) -> Path:
    name = images.name.replace("images", "labels").replace("idx3", "idx1")
    for candidate in (name, name.removesuffix(".gz"), name + ".gz"):
        if candidate != images.name and (images.parent / candidate).exists():
            return images.parent / candidate
    raise fault(f"{images}: the file with the labels is not beside it", expected=name,
                fix='name both: load(("images.idx", "labels.idx"))')


def is_idx_folder(folder: Path) -> bool:
    """Whether a folder holds a training image file in idx format."""
    return _image_file(folder, "train") is not None


def read_folder(folder: Path) -> Parts:
    """The four MNIST files of a folder (plain or gzip): ``train-images-idx3-ubyte`` … ``t10k-labels-idx1-ubyte``."""
    parts = {}
    for word, part in PART_WORDS.items():
        images = _image_file(folder, word)
        if images is not None and part not in parts:
            parts[part] = read_pair(images)
    sizes = ", ".join(f"{part} {len(found.y):,}" for part, found in parts.items())
    return Parts(parts["train"], parts.get("test"), parts.get("val"), [f"{folder}: idx files, {sizes} images"])


def _image_file(folder: Path, word: str) -> Path | None:
    names = list_folder(folder)
    found = [name for name in names if name.startswith(word) and "images" in name and "idx" in name]
    if found:
        return folder / found[0]
    if word == "train" and any("idx3-ubyte" in name for name in names):
        close = close_names("train-images-idx3-ubyte.gz", names)
        raise fault(f"{folder}: there are idx files, but no training images", got=", ".join(names[:6]),
                    expected="train-images-idx3-ubyte or train-images-idx3-ubyte.gz",
                    fix=f"rename {close[0]}, or name the two files" if close else None)
    return None
