# SPDX-License-Identifier: Apache-2.0
"""What a server asks of a model: its inputs and outputs by name, and their values for a batch of rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import io, nn
from ..data import TablePreprocess
from ..errors import ArgumentError, ShapeError, explain
from ..foundations.arguments import brief
from ..tasks import ImageClassifier, Task
from ..tasks.answers import Classification, Regression
from ..tasks.tabular import Tabular
from ..tasks.text import TextClassifier
from ..train.evaluate import predict
from ..train.saved import SavedRun

Arrays = dict[str, np.ndarray]
DATATYPES = {"BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64",
             "INT8": "int8",
             "INT16": "int16", "INT32": "int32", "INT64": "int64", "FP16": "float16", "FP32": "float32",
             "FP64": "float64",
             "BYTES": "object"}
NAMES = {dtype: name for name, dtype in DATATYPES.items()}
TEXT, NUMBER = "BYTES", "FP32"


@dataclass(frozen=True)
class Field:
    """One input or output: its name, the protocol's datatype, and its shape, in which -1 is any extent.

    Attributes:
        numbers: whether numbers may stand for their texts, as in a column of a table.

    >>> cr.serving.Field("x", "FP32", (-1, 4)).described()
    {'name': 'x', 'datatype': 'FP32', 'shape': [-1, 4]}
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    numbers: bool = False

    def described(self) -> dict[str, Any]:
        """As the protocol's metadata has it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}

    def checked(self, array: np.ndarray) -> np.ndarray:
        """The array of a request, in this dtype; ArgumentError or ShapeError for what does not fit.

        Numbers of every kind are taken for numbers, and become this dtype where it is no text: a whole number may stand
        for a float.
        """
        if (array.dtype.kind == "O") != (self.datatype == TEXT) and not self.numbers:
            raise ArgumentError(explain(f"input {self.name!r} has another datatype",
                                        got=NAMES.get(array.dtype.name, str(array.dtype)), expected=self.datatype))
        if array.ndim != len(self.shape) or any(want not in (-1, have)
                                                for want, have in zip(self.shape, array.shape, strict=True)):
            raise ShapeError(explain(f"input {self.name!r} has another shape", got=f"{list(array.shape)}",
                                     expected=f"{list(self.shape)}"))
        if array.dtype.kind == "f" and not self.numbers and not np.isfinite(array).all():  # of a column: missing
            raise ArgumentError(explain(f"input {self.name!r} holds what is no number", got="NaN or infinity",
                                        expected="finite numbers"))
        if array.dtype.kind == "f" and self.datatype.startswith(("INT", "UINT", "BOOL")):
            raise ArgumentError(explain(f"input {self.name!r} takes whole numbers", got=NAMES[array.dtype.name],
                                        expected=self.datatype))
        return array


@dataclass(frozen=True)
class Served:
    """A model as a server sees it: rows in, rows out.

    Attributes:
        name: in addresses.
        platform: what it is: "chainrule_run", "chainrule_task" or "chainrule_model".
        inputs, outputs: the fields, whose first axis is the batch.
        call: from arrays by name to arrays by name.
        of_file: what the model says of a file of the user's, a dict for each sample; None if it reads none.

    >>> x, y = cr.serving.Field("x", "FP32", (-1,)), cr.serving.Field("y", "FP32", (-1,))
    >>> twice = cr.serving.Served("twice", "function", (x,), (y,), lambda arrays: {"y": 2 * arrays["x"]})
    >>> twice.call(twice.checked({"x": np.array([1.0, 2.0])}))["y"].tolist()
    [2.0, 4.0]
    """

    name: str
    platform: str
    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    call: Callable[[Arrays], Arrays]
    of_file: Callable[[Path], list[dict[str, Any]]] | None = None

    def metadata(self) -> dict[str, Any]:
        """As the protocol has it."""
        return {"name": self.name, "versions": ["1"], "platform": self.platform,
                "inputs": [x.described() for x in self.inputs], "outputs": [x.described() for x in self.outputs]}

    def checked(self, arrays: Mapping[str, np.ndarray]) -> Arrays:
        """The inputs of a request, complete, of the right types and shapes, all with the same number of rows."""
        names = [field.name for field in self.inputs]
        if unknown := [name for name in arrays if name not in names]:
            raise ArgumentError(explain(f"{self.name} has no input of this name", got=brief(unknown[0]),
                                        expected=", ".join(names)))
        if absent := [name for name in names if name not in arrays]:
            raise ArgumentError(explain(f"{self.name} needs more inputs", got=", ".join(arrays) or "none",
                                        expected=", ".join(names), fix=f"add {', '.join(absent)}"))
        found = {field.name: field.checked(np.asarray(arrays[field.name])) for field in self.inputs}
        rows = {name: len(array) for name, array in found.items()}
        if len(set(rows.values())) > 1 or not next(iter(rows.values())):
            raise ShapeError(explain("inputs have one row for each sample", got=f"rows {rows}",
                                     expected="the same number for all, 1 or more"))
        return found


def served(source: str | os.PathLike[str] | SavedRun | Task | nn.Module, name: str | None = None) -> Served:
    """Something to serve, of a run folder, a file that `cr.save` wrote, or what `cr.load` gave.

    Args:
        source: a path, a `SavedRun`, a task (ImageClassifier, TextClassifier, TabularClassifier, TabularRegressor) or a
            built Module.
        name: in addresses; None: of the folder or file, or "model".

    Raises ArgumentError for a task that answers in another form, and for a model that is not built.

    >>> model = nn.Dense(2, input_shape=(3,))
    >>> cr.serving.served(model, "lines").inputs
    (Field(name='input', datatype='FP32', shape=(-1, 3), numbers=False),)
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        name = name or (path.name if path.is_dir() else path.name.split(".")[0])
        source = io.load(path)
    name = name or "model"
    if isinstance(source, SavedRun):
        return _of_run(source, name)
    if isinstance(source, Task):
        return _of_task(source, name)
    if isinstance(source, nn.Module):
        return _of_module(source, name)
    raise ArgumentError(explain("this cannot be served", got=brief(source),
                                expected="a run folder, a file of cr.save, a task or a Module"))


# ---- runs


def _of_run(run: SavedRun, name: str) -> Served:
    preprocess = run.preprocess
    if isinstance(preprocess, TablePreprocess):
        inputs = tuple(Field(key, TEXT, (-1,), numbers=True) for key in preprocess.used)

        def raw(arrays: Arrays) -> Any:
            return [dict(zip(arrays, row, strict=True))
                    for row in zip(*(x.tolist() for x in arrays.values()), strict=True)]
    else:
        inputs = (Field("input", NUMBER, (-1, *preprocess.feature_shape)),)

        def raw(arrays: Arrays) -> Any:
            return arrays["input"]

    def call(arrays: Arrays) -> Arrays:
        return _answers(run.outputs(run.inputs(raw(arrays))), run.task == "classification", run.class_names)

    def of_file(path: Path) -> list[dict[str, Any]]:
        return _told(_answers(run.outputs(run.inputs(str(path))), run.task == "classification", run.class_names),
                     run.class_names)

    return Served(name, "chainrule_run", inputs, _fields(run.task == "classification", len(run.class_names),
                                                         len(np.atleast_1d(run.target.mean))
                                                         if run.task == "regression" else 0), call, of_file)


def _fields(classes: bool, count: int, outputs: int) -> tuple[Field, ...]:
    if classes:
        return Field("class", TEXT, (-1,)), Field("probabilities", NUMBER, (-1, count))
    return (Field("prediction", NUMBER, (-1, outputs)),)


def _answers(outputs: np.ndarray, classes: bool, names: Any) -> Arrays:
    if not classes:
        return {"prediction": np.asarray(outputs, np.float32)}
    chosen = np.array([names[i] for i in outputs.argmax(axis=1)], object)
    return {"class": chosen, "probabilities": np.asarray(outputs, np.float32)}


def _told(answers: Arrays, names: Any) -> list[dict[str, Any]]:
    """A dict for each row."""
    if "class" not in answers:
        return [{"prediction": [float(x) for x in np.atleast_1d(row)]} for row in answers["prediction"]]
    return [{"class": chosen, "probabilities": {str(n): float(p) for n, p in zip(names, row, strict=True)}}
            for chosen, row in zip(answers["class"], answers["probabilities"], strict=True)]


# ---- tasks


def _of_task(task: Task, name: str) -> Served:
    kind = type(task).__name__
    if isinstance(task, ImageClassifier):
        return _of_images(task, name)
    if not isinstance(task, TextClassifier | Tabular):
        raise ArgumentError(explain(f"a {kind} answers in a form of its own", got=kind,
                                    expected="a classifier or regressor of rows, texts or images",
                                    fix="serve its network: cr.serving.served(task.network)"))
    if isinstance(task, TextClassifier):
        inputs = (Field("text", TEXT, (-1,)),)

        def raw(arrays: Arrays) -> Any:
            return arrays["text"].tolist()
    else:
        inputs = tuple(Field(column, TEXT, (-1,), numbers=True) for column in task.used)

        def raw(arrays: Arrays) -> Any:
            return {key: array.tolist() for key, array in arrays.items()}

    if isinstance(task, Classification):
        names = [str(label) for label in task.classes]

        def call(arrays: Arrays) -> Arrays:
            probabilities = task.predict_proba(raw(arrays))
            chosen = np.array([names[i] for i in task.choose(probabilities)], object)
            return {"class": chosen, "probabilities": probabilities.astype(np.float32)}
        return Served(name, "chainrule_task", inputs, _fields(True, len(names), 0), call)
    assert isinstance(task, Regression)
    return Served(name, "chainrule_task", inputs, _fields(False, 0, 1),
                  lambda arrays: {"prediction": np.asarray(task.predict(raw(arrays)), np.float32).reshape(-1, 1)})


def _of_images(task: ImageClassifier, name: str) -> Served:
    names = [str(label) for label in task.classes]

    def answers(source: Any) -> Arrays:
        probabilities = task.predict_proba(source)
        return {"class": np.array([names[i] for i in task.choose(probabilities)], object),
                "probabilities": probabilities.astype(np.float32)}
    return Served(name, "chainrule_task", (Field("input", NUMBER, (-1, *task.feature_shape)),),
                  _fields(True, len(names), 0), lambda arrays: answers(arrays["input"]),
                  lambda path: _told(answers(str(path)), names))


# ---- models


def _of_module(model: nn.Module, name: str) -> Served:
    shape = getattr(model, "input_shape", None)
    if shape is None or any(not isinstance(size, int) for size in shape):
        raise ArgumentError(explain("the shape of the model's input is not known", got=brief(model),
                                    expected="a model that was built",
                                    fix="call it once, or give its first layer input_shape="))
    kind = NAMES[np.dtype(model.input_dtype).name]
    trial = np.asarray(predict(model, np.zeros((1, *shape), DATATYPES[kind])))
    outputs = (Field("output", NAMES[trial.dtype.name], (-1, *trial.shape[1:])),)
    return Served(name, "chainrule_model", (Field("input", kind, (-1, *shape)),), outputs,
                  lambda arrays: {"output": np.asarray(predict(model, arrays["input"].astype(DATATYPES[kind])))})
