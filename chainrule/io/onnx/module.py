# SPDX-License-Identifier: Apache-2.0
"""`load_onnx`: a network from an ONNX file, as a Module whose weights are Variables."""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ArgumentError, ChainruleError, DataError, explain, shown
from ...foundations.files import DAMAGES
from ...foundations.files import told as mistake
from ...ir import Tensor, Variable, as_tensor
from ...ir.trace import eager
from ...nn.core.module import Module
from . import elementwise, layers, losses, movement, quantized, reductions, regions, sequences  # noqa: F401  (they enter their words)
from .parse import File, Foreign, Graph, Node, read_file, told
from .words import DTYPES, WORDS, Call

Values = MutableMapping[str, Any]
# operands that are no weights
SETTINGS = {"Resize": (1, 2, 3), "Upsample": (1,), "Pad": (2,), "Dropout": (1, 2), "Clip": (1, 2), "OneHot": (1,),
            "Range": (0, 1, 2)}


class OnnxModel(Module):
    """The network of an ONNX file; called with arrays in the order of `input_names`, or by these names.

    Arrays of floats with axes that stand in the file are its Variables, by their names; everything else is part of the
    program. Numbers of half precision are taken as float32. In training mode it computes what it computes in inference
    mode: dropout and norms are as the file has them.

    Args:
        path: the file.

    Attributes:
        input_names, output_names: of the file.

    Raises DataError for a file that cannot be read, and for one with an operator that is not known, by its name.

    >>> model = nn.Sequential([nn.Dense(3, activation="relu")])
    >>> path = cr.export(model, "model.onnx", np.zeros((2, 4), "float32"))
    >>> again = cr.io.load_onnx(path)
    >>> x = np.ones((5, 4), "float32")
    >>> bool(cr.all(again(x) == model(x))), sorted(again.parameters())
    (True, ['weights.0.bias', 'weights.0.weight'])
    """

    takes_arrays = False

    def __init__(self, path: str | os.PathLike[str]):
        file = read_file(Path(path))
        _check(file, Path(path))
        file = replace(file, graph=_gathered(file.graph))
        self.input_names, self.output_names = file.graph.inputs, file.graph.outputs
        chosen = _trained(file)
        self.weights = {name: Variable(_float32(array), name=name) for name, array in file.graph.arrays.items()
                        if name in chosen}
        self._file, self._constants = (file, {name: _float32(array) for name, array in file.graph.arrays.items()
                                              if name not in chosen})

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The output of the graph, or a tuple of its outputs."""
        given = dict(zip(self.input_names, inputs, strict=False)) | named
        missing = [name for name in self.input_names if name not in given]
        if missing or len(inputs) > len(self.input_names) or set(named) - set(self.input_names):
            raise ArgumentError(explain("the network takes other inputs",
                                        got=f"{len(inputs)} arrays, {', '.join(named) or 'none'} by name",
                                        expected=", ".join(self.input_names)))
        values = ChainMap({}, {name: self._taken(name, value) for name, value in given.items()}, self.weights,
                          self._constants)
        results = tuple(Runner(self._file).run(self._file.graph, values))
        results = tuple(_read(value) for value in results)
        return results[0] if len(results) == 1 else results

    def _taken(self, name: str, value: Any) -> Any:
        """An input, as a tensor of the dtype that the file says."""
        kind, extents = self._file.graph.kinds.get(name, (0, ()))
        value = value if isinstance(value, Tensor) else np.asarray(value)
        wanted = np.dtype(DTYPES.get(kind, "float32")) if kind else value.dtype
        if value.dtype != wanted:
            raise ArgumentError(explain(f"the input {name!r} has another dtype", got=str(value.dtype),
                                        expected=str(wanted)))
        fits = (len(value.shape) == len(extents)
                and all(not isinstance(n, int) or n < 0 or n == m for n, m in zip(extents, value.shape, strict=True)))
        if extents and not fits:
            raise ArgumentError(explain(f"the input {name!r} has another shape", got=str(tuple(value.shape)),
                                        expected=str(tuple(extents))))
        return value if isinstance(value, Tensor) else as_tensor(value)


def load_onnx(path: str | os.PathLike[str]) -> OnnxModel:
    """The network in an ONNX file, as a Module that can be called, compiled, trained and exported again.

    Whoever wrote the file (PyTorch, Keras, scikit-learn, chainrule): operators of ONNX up to opset 25, with loops,
    branches and functions, and those of 8-bit integers. Nothing of ONNX needs to be installed, and nothing in the file
    is executed. Weights in files beside the model are read too. Layouts are those of the
    file: images of most exporters have their channels first.

    See `cr.io.OnnxModel` for what it gives. Raises DataError for a damaged file and for an operator that is not known.

    >>> path = cr.export(nn.Dense(3), "model.onnx", np.zeros((2, 4), "float32"))
    >>> cr.io.load_onnx(path)(np.ones((5, 4), "float32")).shape
    (5, 3)
    """
    return OnnxModel(path)


def _read(value: Any) -> Any:
    """What comes out as a tensor."""
    if isinstance(value, Foreign):
        raise DataError(explain("the network gives what is no array of numbers", got=value.what))
    return (value if isinstance(value, Tensor)
            else as_tensor(np.asarray(value) if not isinstance(value, Variable) else value))


def _float32(array: Any) -> Any:
    return array.astype(np.float32) if isinstance(array, np.ndarray) and array.dtype == np.float16 else array


def _gathered(graph: Graph) -> Graph:
    """With the constants that are nodes among the arrays: some exporters write weights so."""
    known = {node.outputs[0]: node.attributes["value"] for node in graph.nodes if node.kind == "Constant"
             and isinstance(node.attributes.get("value"), np.ndarray)}
    rest = tuple(node for node in graph.nodes if not (node.kind == "Constant" and node.outputs[0] in known))
    return replace(graph, nodes=rest, arrays=graph.arrays | known)


def _trained(file: File) -> set[str]:
    """The arrays that are weights: floats that no operator takes as a setting."""
    settings = {name for node in file.graph.nodes for i, name in enumerate(node.inputs)
                if i in SETTINGS.get(node.kind, ())}
    return {name for name, array in file.graph.arrays.items() if isinstance(array, np.ndarray) and array.dtype.kind
            == "f" and array.ndim and name not in settings}


def _check(file: File, path: Path) -> None:
    """DataError for operators that nobody knows."""
    unknown: dict[str, Node] = {}
    for graph in (file.graph, *file.functions.values()):
        for node in _all_nodes(graph):
            if node.kind not in WORDS and node.kind not in file.functions:
                unknown.setdefault(node.kind, node)
    if unknown:
        raise DataError(explain(f"{path}: the network has operators that cannot be read", got=", ".join(unknown),
                                expected="operators of ONNX on dense arrays of numbers"))


def _all_nodes(graph: Graph) -> list[Node]:
    found = list(graph.nodes)
    for node in graph.nodes:
        for value in node.attributes.values():
            found += _all_nodes(value) if isinstance(value, Graph) else []
    return found


class Runner:
    """One walk over the nodes of a file."""

    def __init__(self, file: File):
        self.file = file

    def run(self, graph: Graph, values: Values, attributes: dict[str, Any] | None = None) -> list[Any]:
        """The outputs; `values` holds the inputs, and what is computed."""
        for node in graph.nodes:
            results = self._results(node, values, attributes or {})
            values.update(zip(node.outputs, results, strict=False))
        return [_value(values, name, None) for name in graph.outputs]

    def _results(self, node: Node, values: Values, around: dict[str, Any]) -> Sequence[Any]:
        inputs = [None if name == "" else _value(values, name, node) for name in node.inputs]
        attributes = node.attributes | {name: around[other] for name, other in node.references.items()
                                        if other in around}
        if node.kind in self.file.functions and node.kind not in WORDS:
            return self._called(node, inputs, attributes)
        call = Call(node, attributes, self.file.opset,
                    lambda graph, given=(): self._inner(graph, given, values, around), {})
        word = WORDS[node.kind]
        if all(x is None or isinstance(x, np.ndarray) for x in inputs) and node.kind not in ("Loop", "If", "Scan"):
            with eager():
                return [_array(x) for x in _listed(_tried(word, call, inputs))]
        return _listed(_tried(word, call, inputs))

    def _called(self, node: Node, inputs: Sequence[Any], attributes: dict[str, Any]) -> Sequence[Any]:
        function = self.file.functions[node.kind]
        given = dict.fromkeys(function.inputs) | dict(zip(function.inputs, inputs, strict=False))
        return self.run(function, given, attributes)

    def _inner(self, graph: Graph, given: Sequence[Any], values: Values, around: dict[str, Any]) -> list[Any]:
        """A graph within a node, which reads what is around it."""
        return self.run(graph, ChainMap({}, dict(zip(graph.inputs, given, strict=True)), graph.arrays, values), around)


def _tried(word: Any, call: Call, inputs: Sequence[Any]) -> Any:
    """What the operator gives; DataError where its operands or attributes make no sense."""
    try:
        return word(call, *inputs)
    except ChainruleError:
        raise
    except DAMAGES as error:
        raise DataError(explain(f"{told(call.node)}: these operands or attributes make no sense",
                                got=shown([np.shape(x) for x in inputs if x is not None]),
                                expected=f"those of ONNX's {call.node.kind}: {mistake(error)}")) from error


def _value(values: Values, name: str, node: Node | None) -> Any:
    if name not in values:
        raise DataError(explain("the file names a value before it is made" if node
                                else "the file names an output that nothing makes", got=shown(name),
                                expected="nodes in order, each after those that it needs"))
    return values[name]


def _listed(result: Any) -> Sequence[Any]:
    return result if isinstance(result, tuple | list) else (result,)


def _array(value: Any) -> Any:
    return value.numpy() if isinstance(value, Tensor) else value
