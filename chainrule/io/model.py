# SPDX-License-Identifier: Apache-2.0
"""A model in one file: weights as tensors of a safetensors file, architecture (and what else is needed to use the
model,
such as its preprocessing and class names) as JSON in the header. Loading executes nothing from the file.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import nn
from ..errors import ArgumentError, ChainruleError, DataError, explain, shown
from ..foundations.files import reading
from ..nn.core.budget import building_at_most
from ..nn.core.module import REGISTRY
from ..typing import ModelLike
from .tensors import assign_arrays, read_tensors, variable_arrays, write_tensors

FORMAT = "chainrule model 1"
LIBRARY = ("models", "generative", "rl", "tasks", "io.onnx")  # where chainrule defines modules outside of nn
OTHERS = {".pt": "PyTorch", ".pth": "PyTorch", ".bin": "PyTorch", ".h5": "Keras", ".hdf5": "Keras", ".keras": "Keras",
          ".pb": "TensorFlow",
          ".tflite": "TensorFlow", ".onnx": "ONNX", ".gguf": "GGUF", ".msgpack": "Flax", ".pkl": "pickle",
          ".pickle": "pickle", ".joblib": "pickle",
          ".npz": "NumPy", ".npy": "NumPy"}
IN_FOLDER = "model.safetensors"  # of a run folder
SPARE_BYTES, SPARE_MODULES = 1 << 20, 1000


def save(model: ModelLike, path: str | Path, extra: dict[str, Any] | None = None) -> Path:
    """Write architecture and weights to `path` (.safetensors).

    Args:
        model: a built module whose class chainrule knows or that was registered by being defined; or a fitted task of
            `cr.tasks`.
        extra: plain JSON data kept beside the model, such as preprocessing and class names.

    Raises ArgumentError for the suffix of another framework's files, whose readers would take it for one of theirs.

    >>> model = nn.Dense(2, input_shape=(3,))
    >>> cr.save(model, "model.safetensors").name
    'model.safetensors'
    """
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(explain("the second argument is the path of a file", got=shown(path),
                                    fix='cr.save(model, "model.safetensors")'))
    if (suffix := Path(path).suffix.lower()) in OTHERS:
        raise ArgumentError(explain(f"{suffix} is the suffix of files of {OTHERS[suffix]}, and this will be a "
                                    "safetensors file", got=str(path),
                                    fix=f'cr.save(model, "{Path(path).with_suffix(".safetensors")}")'))
    if not isinstance(model, nn.Module) and hasattr(model, "saved"):
        model, own = model.saved()
        extra = own | (extra or {})
    if not isinstance(model, nn.Module):
        raise ArgumentError(explain("only a model is saved", got=shown(model), expected="a nn.Module",
                                    fix='cr.save(model, "model.safetensors")'))
    variables = model.variables()
    if not variables and not model.built:
        raise DataError(explain("this model has no weights yet", got=repr(model),
                                fix="call it on a first batch, or give input_shape"))
    header = {"format": FORMAT, "model": nn.to_config(model), "extra": extra or {}}
    try:
        return write_tensors(path, variable_arrays(variables), header)
    except (PermissionError, FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise DataError(explain(f"{path}: no file can be written here: {error.strerror}",
                                fix="name a file in a folder of your own")) from None


def load(path: str | Path) -> Any:
    """The model or task in a file that `save` wrote, with its weights; or a run folder of `chainrule train`, as the
    task it trained or a
    `train.SavedRun`.

    Classes of chainrule's are known whatever was imported; a class of your own must be defined before. Raises DataError
    for a damaged or foreign file.

    >>> model = nn.Dense(2, input_shape=(3,))
    >>> path = cr.save(model, "model.safetensors")
    >>> cr.load(path)
    Dense(units=2)
    """
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(explain("the path of a file or a run folder is expected", got=shown(path),
                                    expected="a str or a Path"))
    if Path(path).is_dir() and not (Path(path) / IN_FOLDER).is_file():
        # it lies above this package, and says what is missing
        return importlib.import_module("...train.saved", __name__).SavedRun(path)
    model, extra = read_model(Path(path) / IN_FOLDER if Path(path).is_dir() else path)
    if isinstance(extra.get("task"), dict):
        return importlib.import_module("...tasks.base", __name__).opened(model, extra["task"], path)
    return importlib.import_module("...train.saved", __name__).SavedRun(path) if Path(path).is_dir() else model


def read_model(path: str | Path) -> tuple[Any, dict[str, Any]]:
    """(model, extra) of a file that `save` wrote; raises DataError for a damaged or foreign file.

    >>> path = cr.io.save(nn.Dense(2, input_shape=(3,)), "model.safetensors", extra={"epoch": 7})
    >>> model, extra = cr.io.read_model(path)
    >>> extra
    {'epoch': 7}
    """
    arrays, header = read_tensors(path, "model file")
    if header.get("format") != FORMAT:
        raise DataError(explain("this file is not a model of chainrule",
                                got=f"{path} with format {shown(header.get('format'))}", expected=FORMAT,
                                fix=_foreign(header, path)))
    extra = header.get("extra")
    if not isinstance(header.get("model"), dict) or not isinstance(extra, dict):
        raise DataError(explain(f"{path}: the model file is damaged", got=f"keys {', '.join(header)}",
                                expected="model and extra, two objects"))
    try:
        with reading(path, "model file"):
            return _built(header["model"], arrays, path), extra
    except ChainruleError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(str(error)) from error  # a description of nonsense is a fault of the file


def _built(config: dict[str, Any], arrays: dict[str, Any], path: str | Path) -> Any:
    """The model that a config describes with these arrays; it may ask for no more than belongs to them."""
    know_classes(config)
    # layers are made whole before they are quantised
    size = 16 * sum(array.nbytes for array in arrays.values()) + SPARE_BYTES
    with building_at_most(size, 20 * (len(arrays) + len(list(_class_names(config)))) + SPARE_MODULES, str(path)):
        model = nn.from_config(config)
        variables = model.variables()
    assign_arrays(variables, arrays, "model")
    return model


def _foreign(header: dict[str, Any], path: str | Path) -> str:
    if str(header.get("format", "")).startswith("chainrule checkpoint"):
        return f"this is a checkpoint: go on with cr.fit(..., resume={str(path)!r})"
    return "build the model in Python and assign the arrays to model.variables()"


def know_classes(config: Any) -> None:
    """Import the rest of the library if a config names one of its classes that nobody has imported yet."""
    if all(name in REGISTRY for name in _class_names(config)):
        return
    package = __name__.split(".")[0]
    for name in LIBRARY:  # some lie above this package: they are imported by name when a file asks for them
        importlib.import_module(f"{package}.{name}")


def _class_names(config: Any) -> Iterator[str]:
    waiting = [config]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if isinstance(item.get("class"), str) and item["class"].startswith("chainrule."):
                yield item["class"]
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
