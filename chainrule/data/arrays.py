# SPDX-License-Identifier: Apache-2.0
"""Arrays in an .npz file: x and y, with or without parts, under the names that data sets in the wild use.

    x, y · x_train, y_train, x_test, y_test · images, labels · train_images, train_labels, val_images, … · data, target

Images come out as uint8 or uint16 (N, H, W, C), everything else as float32 or uint8, or as float64 where float32 is too
coarse. Pickled (object) arrays are never opened, and what an array says of its size is compared with what is there.
"""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..foundations.files import DAMAGES, open_regular, reading, told
from .files import count, fault, listed, refuse_unpacked, unpacked_limit
from .parts import Part, Parts

INPUTS = ("x", "images", "image", "data", "features", "inputs")
TARGETS = ("y", "labels", "label", "target", "targets", "t")
PART_WORDS = {"train": ("train", "training"), "test": ("test",), "val": ("val", "valid", "validation")}
LONGEST_HEADER = 10_000
MOST_AXES = 32
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
FINEST = 1e-5  # of the spread of a feature: larger steps between neighbouring numbers are too coarse
CLASS_NAMES = ("class_names", "classes", "label_names", "target_names")


def read_npz(path: Path, target: str | None = None) -> Parts:
    """The parts in an .npz file, `target` being the name of y (without its part) if it is none of the usual ones.

    Raises DataError if x and y are not there, do not fit together or cannot be used.
    """
    targets = TARGETS if target is None else (target.lower(),)
    arrays = _open(path)
    notes: list[str] = []
    parts = {part: found for part in PART_WORDS if (found := _part(path, arrays, part, notes, targets)) is not None}
    if "train" not in parts:
        raise fault(f"{path}: x and {target or 'y'} are not in the file",
                    got=", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "no arrays",
                    expected="x and y, or x_train, y_train (x_test, y_test), or images and labels",
                    fix="np.savez(path, x=..., y=...)")
    shapes = {part.x.shape[1:] for part in parts.values()}
    if len(shapes) > 1:
        raise fault(f"{path}: the parts differ in the shape of a sample",
                    got=", ".join(f"{name} {part.x.shape[1:]}" for name, part in parts.items()))
    sizes = ", ".join(f"{name} {len(part):,}" for name, part in parts.items())
    notes.insert(0, f"{path}: {sizes} samples of shape {parts['train'].x.shape[1:]}, {parts['train'].x.dtype}")
    return Parts(parts["train"], parts.get("test"), parts.get("val"), notes, _class_names(arrays))


def read_npy(path: Path) -> np.ndarray:
    """The array in an .npy file; DataError for Python objects and for a shape that the file does not hold."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        return _array(file, str(path), size)


def read_inputs_npz(path: Path) -> np.ndarray:
    """The inputs in an .npz file: its only array, or the one under a usual name of inputs."""
    arrays = _open(path)
    name = next(iter(arrays)) if len(arrays) == 1 else _find(arrays, INPUTS, "train") or _find(arrays, INPUTS, "test")
    if name is None:
        raise fault(f"{path}: it is not clear which array holds the inputs", got=listed(list(arrays)) or "no arrays",
                    expected="x")
    return arrays[name]


def _open(path: Path) -> dict[str, np.ndarray]:
    place, arrays = str(path), {}
    with open_regular(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                _refuse_bombs(path, archive)
                for member in archive.infolist():
                    if member.filename.endswith(".npy"):
                        name = member.filename.removesuffix(".npy")
                        place = f"{path}: the array {name}"
                        with archive.open(member) as stream:
                            arrays[name] = _array(stream, place, member.file_size)
        except DAMAGES as error:
            if isinstance(error, DataError):
                raise
            raise fault(f"{place} cannot be read: the file is damaged or cut off", got=told(error),
                        fix="copy or save the file again") from error
    return arrays


def _refuse_bombs(path: Path, archive: zipfile.ZipFile) -> None:
    limit = unpacked_limit(path)
    if (size := sum(member.file_size for member in archive.infolist())) > limit:
        raise refuse_unpacked(str(path), size, limit)


def _array(stream: Any, place: str, size: int) -> np.ndarray:
    """The array in a stream of `size` bytes: what its header says is compared with that before anything is allocated.
    """
    with reading(place, "array"):
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError(f"version {version} of the format")
        shape, fortran, dtype = _HEADERS[version](stream, max_header_size=LONGEST_HEADER)
        if dtype.hasobject:
            raise fault(f"{place} holds Python objects (dtype object), which could run code when opened: refused",
                        expected="arrays of numbers",
                        fix="save numbers of one dtype and shape: np.stack(...).astype('float32')")
        wanted = math.prod(shape) * dtype.itemsize
        if wanted > size or len(shape) > MOST_AXES or min(shape, default=0) < 0:
            raise fault(f"{place} cannot be read: the file is damaged or cut off", got=f"{size:,} bytes",
                        expected=f"{wanted:,} for {dtype} of shape {shape}, as its header says",
                        fix="copy or save the file again")
        content = stream.read(wanted)
        if len(content) < wanted:
            raise fault(f"{place} cannot be read: the file is damaged or cut off",
                        got=f"{len(content):,} bytes of data",
                        expected=f"{wanted:,} for {dtype} of shape {shape}, as its header says",
                        fix="copy or save the file again")
        if dtype.itemsize == 0:
            raise fault(f"{place} holds nothing", got=str(dtype))
        stream.read(1)  # the end of a member of an archive is where its checksum is compared
        flat = np.frombuffer(bytearray(content), dtype)
        return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _part(path: Path, arrays: dict[str, np.ndarray], part: str, notes: list[str],
          targets: tuple[str, ...]) -> Part | None:
    x_name, y_name = _find(arrays, INPUTS, part), _find(arrays, targets, part)
    if x_name is None or y_name is None:
        return None
    x, y = arrays[x_name], arrays[y_name]
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise fault(f"{path}: {x_name} and {y_name} do not belong together", expected="one target per sample",
                    got=f"{x_name} {x.shape}, {y_name} {y.shape}")
    said = notes if part == "train" else []
    image = x_name.lower().strip("_").replace(part, "").strip("_") in ("images", "image")
    return Part(prepare(x, f"{path}: {x_name}", said, image), _flat(y, f"{path}: {y_name}", said), str(path),
                lambda item: f"{path}: {y_name}[{item}]")


def _find(arrays: dict[str, np.ndarray], words: tuple[str, ...], part: str) -> str | None:
    lowered = {name.lower(): name for name in arrays}
    for word in words:
        for beside in PART_WORDS[part]:
            for name in (f"{word}_{beside}", f"{beside}_{word}", f"{beside}{word}", f"{word}{beside}"):
                if name in lowered:
                    return lowered[name]
        if part == "train" and word in lowered:
            return lowered[word]
    return None


def _class_names(arrays: dict[str, np.ndarray]) -> tuple[str, ...] | None:
    for name in CLASS_NAMES:
        if name in arrays and arrays[name].dtype.kind == "U" and arrays[name].ndim == 1:
            return tuple(str(text) for text in arrays[name])
    return None


# ---- bringing arrays into the common form


def prepare(x: np.ndarray, name: str, notes: list[str], image: bool = False) -> np.ndarray:
    """Inputs at least (N, features), images channels-last; says in `notes` what was done.

    They are uint8 or float32, uint16 for deep images, float64 where float32 is too coarse for the spread of a feature;
    floats are finite.
    """
    if x.dtype.kind not in "buif":
        raise fault(f"{name} does not hold numbers", got=f"dtype {x.dtype}", expected="integers or floats")
    if x.ndim == 1:
        x = x[:, np.newaxis]
    x = _channels_last(_narrow(x, name), notes)
    if x.ndim == 3 and (image or x.dtype in (np.uint8, np.uint16)):
        x = x[..., np.newaxis]
    return finite(x, name)


def _narrow(x: np.ndarray, name: str) -> np.ndarray:
    """uint8 or float32 where that loses nothing that matters, uint16 for deep images, else float64."""
    if x.dtype in (np.uint8, np.float32):
        return np.ascontiguousarray(x)
    if x.ndim >= 3 and x.dtype.kind in "ui" and x.size and x.min() >= 0 and x.max() <= 65535:
        return x.astype(np.uint8 if x.max() <= 255 else np.uint16)
    with np.errstate(over="ignore"):
        narrow = x.astype(np.float32)
    if x.dtype.kind == "b" or x.dtype.itemsize <= 2 or not x.size or not np.isfinite(narrow).all():
        return narrow  # what is not finite is refused afterwards, with its place
    wide = x.astype(np.float64)
    if x.dtype.kind in "ui":
        _refuse_merged(x, wide, name)
    return wide if loses(wide) else narrow


def loses(x: np.ndarray) -> bool:
    """Whether float32 is too coarse for a feature of float64 `x` (last axis): its steps there exceed 1e-5 of the
    spread."""
    features = x.reshape(-1, x.shape[-1])
    least, most, spread = features.min(axis=0), features.max(axis=0), features.std(axis=0)
    step = np.spacing(np.maximum(np.abs(least), np.abs(most)).astype(np.float32)).astype(np.float64)
    return bool(((step > FINEST * spread) & (least < most)).any())


def _refuse_merged(x: np.ndarray, wide: np.ndarray, name: str) -> None:
    """DataError if whole numbers that differ are all the same in float64."""
    whole, floats = (values.reshape(-1, values.shape[-1]) for values in (x, wide))
    merged = np.flatnonzero((whole.min(axis=0) < whole.max(axis=0)) & (floats.min(axis=0) == floats.max(axis=0)))
    if len(merged):
        raise fault(f"{name}: the numbers of feature {merged[0]} differ by less than float64 can hold",
                    got=f"{whole[:, merged[0]].min()} to {whole[:, merged[0]].max()}",
                    fix="subtract the smallest one before saving, or leave the feature out")


def _channels_last(x: np.ndarray, notes: list[str]) -> np.ndarray:
    if x.ndim != 4 or x.shape[3] in (1, 3, 4) or x.shape[1] not in (1, 3, 4):
        return x
    notes.append(f"images {x.shape[1:]} with the channels first → channels last")
    return np.ascontiguousarray(np.moveaxis(x, 1, 3))


def finite(x: np.ndarray, name: str) -> np.ndarray:
    """`x` itself; a DataError with the index of the first value that is NaN, infinite or too large for float32."""
    if x.dtype.kind != "f" or np.isfinite(x.sum(dtype=np.float64)):
        return x
    bad = np.argwhere(~np.isfinite(x))
    if len(bad) == 0:
        return x
    index = tuple(int(i) for i in bad[0])
    raise fault(f"{name}{list(index)} is {x[index]}", got=f"{count(len(bad), 'value')} not finite in float32",
                expected="finite numbers", fix="replace or leave out these samples before saving")


def _flat(y: np.ndarray, name: str, notes: list[str]) -> np.ndarray:
    """Targets as they are, but (N, 1) as (N,), and one-hot rows as class numbers."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 1 and y.dtype.kind in "buifU":
        return y if y.dtype.kind in "U" else finite(y, name)
    if y.ndim != 2 or y.dtype.kind not in "buif":
        raise fault(f"{name} cannot be a target", got=f"{y.dtype} of shape {y.shape}",
                    expected="class numbers, class names or numbers of shape (N,), or numbers of shape (N, outputs)")
    finite(y, name)
    if np.all((y == 0) | (y == 1)) and np.all(y.sum(axis=1) == 1):
        notes.append(f"targets: one-hot of width {y.shape[1]} → class numbers")
        return y.argmax(axis=1)
    return y
