# SPDX-License-Identifier: Apache-2.0
"""What a trained network is asked about, in the user's own form: files, folders, DataFrames, rows or arrays to network
inputs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..typing import SourceLike
from . import idx, images
from .arrays import read_inputs_npz, read_npy
from .files import existing, fault, sniff
from .preprocess import ImageScaling, Scaling, TablePreprocess
from .table import MISSING, Dialect, read_dialect

PATHS = (str, os.PathLike)


def as_network_inputs(source: SourceLike, preprocess: TablePreprocess | Scaling) -> np.ndarray:
    """Float32 (N, *feature_shape) of what a fitted preprocessing understands.

    Args:
        source: a path or a list of paths: images, folders of images, tables (.csv, …), .npy, .npz and idx files; or a
            DataFrame, a dict or list of dicts (name to value), lists of values, or an array of one sample or of many.

    Raises DataError that names the file and the place of what cannot be used.

    >>> digits = cr.data.digits()
    >>> cr.data.as_network_inputs(digits.x_test[0], digits.preprocess).shape
    (1, 8, 8, 1)
    """
    if isinstance(source, PATHS):
        return _of_path(existing(source), preprocess)
    if isinstance(source, list | tuple) and source and all(isinstance(item, PATHS) for item in source):
        paths = [existing(item) for item in source]
        if not isinstance(preprocess, TablePreprocess) and all(images.is_image(path) for path in paths):
            return preprocess.transform(images.read_files(paths, _pictures(preprocess)))
        return np.concatenate([_of_path(path, preprocess) for path in paths])
    if isinstance(preprocess, TablePreprocess):
        rows = [source] if isinstance(source, Mapping) else source
        if isinstance(rows, np.ndarray) and rows.ndim == 1:
            rows = rows[np.newaxis]
        return preprocess.transform(rows)
    return preprocess.transform(batched(_numbers(source), preprocess.feature_shape, "the input"))


def batched(array: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    """One sample or a batch of them, with or without the channel axis, as (N, *shape)."""
    for wanted in (shape, shape[:-1] if shape[-1:] == (1,) else shape):
        if array.shape == wanted:
            return array.reshape(1, *shape)
        if array.ndim and array.shape[1:] == wanted:
            return array.reshape(-1, *shape)
    raise fault(f"{name}: the array does not fit the model", got=f"shape {array.shape}",
                expected=f"{shape} or (N, {', '.join(map(str, shape))})")


def _numbers(source: Any) -> np.ndarray:
    try:
        array = np.asarray(source)
    except ValueError as error:
        raise fault("the input is no array", got=f"{type(source).__name__}: {error}",
                    expected="samples of one shape") from None
    if array.dtype.kind not in "buif":
        raise fault("the input does not hold numbers", got=f"{type(source).__name__} of dtype {array.dtype}")
    return array


def _of_path(path: Path, preprocess: TablePreprocess | Scaling) -> np.ndarray:
    if isinstance(preprocess, TablePreprocess):
        words = None if preprocess.missing == MISSING else sorted(preprocess.missing)
        return preprocess.transform(read_dialect(path, Dialect(missing=words)))
    if path.is_dir():
        found = list(_images_below(path))
        if not found:
            raise fault(f"{path}: the folder holds no images")
        return preprocess.transform(images.read_files(found, _pictures(preprocess)))
    kind = sniff(path)
    if kind == "image" or images.is_image(path):
        return preprocess.transform(images.read_files([path], _pictures(preprocess)))
    readers = {"npy": read_npy, "npz": read_inputs_npz, "idx": idx.read_idx}
    if kind not in readers:
        raise fault(f"{path}: this kind of file cannot be predicted", got="a text or another file" if kind == "table"
                    else f"a {kind} file",
                    expected="images, .npy, .npz or idx files")
    return preprocess.transform(batched(readers[kind](path), preprocess.feature_shape, str(path)))


def _images_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if images.is_image(path) and path.is_file():
            yield path


def _pictures(preprocess: Scaling) -> images.Pictures:
    shape = preprocess.feature_shape
    if len(shape) != 3:
        raise fault("the model was not trained on images", expected=f"arrays of shape {shape}")
    colour = {1: "grey", 3: "rgb"}.get(shape[-1])
    return images.pictures_from(shape[:2], colour, (preprocess.dtype or "uint8") if isinstance(preprocess, ImageScaling)
                                else None)
