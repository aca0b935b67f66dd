# SPDX-License-Identifier: Apache-2.0
"""How axes lie: PyTorch has (out, in, *kernel) and (out, in), Keras (*kernel, in, out) and (in, out), as we have.

A square matrix does not tell which of these it is, and turned the wrong way it would compute something else without any
complaint: so which layout a file has is taken from what it says of itself, from its names, or from those of its arrays
that fit one way only, and where nothing tells it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ... import nn
from ...errors import ArgumentError, explain
from ...ir import Tensor, Type, Variable
from ...ir.graph import input_node, topological
from ...ir.node import CONSTANT, Node
from ...ir.trace import tracing
from ...nn.layers.convolution import Convolution, DepthwiseConvolution
from ...nn.layers.recurrent import Recurrent
from .names import dotted

Shape = tuple[int, ...]
Turn = Callable[[np.ndarray], np.ndarray]
TORCH, KERAS, OURS = "torch", "keras", "chainrule"
LAYOUTS = (TORCH, KERAS, OURS)
SUFFIXES = {".pt": TORCH, ".pth": TORCH, ".th": TORCH, ".ckpt": TORCH, ".bin": TORCH, ".gguf": TORCH, ".keras": KERAS,
            ".h5": KERAS, ".hdf5": KERAS}
WORDS = {"kernel": KERAS, "gamma": KERAS, "moving_mean": KERAS, "moving_variance": KERAS, "recurrent_kernel": KERAS,
         "vars": KERAS, "depthwise_kernel": KERAS,
         "running_var": TORCH, "num_batches_tracked": TORCH, "in_proj_weight": TORCH, "weight_ih_l0": TORCH,
         "LayerNorm": TORCH,
         "running_variance": OURS, "recurrent_weight": OURS}


def told(names: Iterable[str], path: Any, metadata: Mapping[str, Any]) -> str | None:
    """The layout that a file tells by its kind, by what it says of itself, or by the words of its names."""
    if "chainrule" in metadata:
        return OURS
    found = next((layout for suffix, layout in SUFFIXES.items() if path is not None
                  and Path(path).name.lower().endswith(suffix)), None)
    if found or metadata.get("format") == "pt":
        return found or TORCH
    said = {WORDS[word] for name in names for word in dotted(name).split(".") if word in WORDS}
    return said.pop() if len(said) == 1 else None


def turns(module: nn.Module, role: str, theirs: Shape, ours: Shape, layout: str,
          flat: Shape | None = None) -> Turn | None:
    """How an array of another model becomes one of ours; None if it does not fit in this layout.

    Args:
        flat: the axes (*S, C) that were laid out as one to make the rows of this matrix.
    """
    if layout == TORCH and role == "weight" and isinstance(module, Convolution) and len(theirs) == len(ours):
        axes = (*range(2, len(ours)), 1, 0)
        return _checked(lambda array: np.transpose(array, axes), tuple(theirs[i] for i in axes), ours)
    if (
        layout == TORCH
        and role in ("weight", "recurrent_weight")
        and isinstance(module, nn.Dense | Recurrent)
        and len(theirs) == 2
    ):
        return _checked(_rows(flat), theirs[::-1], ours)
    if (
        layout == KERAS
        and isinstance(module, DepthwiseConvolution)
        and role == "weight"
        and math.prod(theirs) == math.prod(ours)
    ):
        return lambda array: array.reshape(ours)
    if (
        layout == KERAS
        and isinstance(module, nn.Dense)
        and theirs != ours
        and len(theirs) > len(ours)
        and math.prod(theirs) == math.prod(ours)
    ):
        return lambda array: array.reshape(ours)  # heads on an axis of their own
    if isinstance(module, nn.PReLU) and theirs == (1,):
        return lambda array: np.broadcast_to(array, ours)
    if (
        layout == TORCH
        and not isinstance(module, Convolution | nn.Dense | Recurrent)
        and len(theirs) != len(ours)
        and theirs
        and ours
        and max(theirs) == math.prod(theirs) == math.prod(ours) == max(ours)
    ):
        # a number for each channel, with or without axes of one element for the places
        return lambda array: array.reshape(ours)
    if layout == TORCH and flat is not None and len(theirs) == 1:
        return _checked(lambda array: _rows(flat)(array[None])[:, 0], theirs, ours)
    return _checked(lambda array: array, theirs, ours)


def _rows(flat: Shape | None) -> Turn:
    """(out, in) -> (in, out); where the rows were the pixels of C channels one after the other, they come as the
    channels of each pixel."""
    if flat is None or math.prod(flat[:-1]) == 1:
        return lambda array: array.T
    *places, channels = flat
    order = (*range(1, len(flat)), 0, len(flat))
    return lambda array: array.T.reshape(channels, *places, -1).transpose(order).reshape(math.prod(flat), -1)


def _checked(turn: Turn, after: Shape, ours: Shape) -> Turn | None:
    return turn if after == ours else None


# ---- which layout

Pair = tuple[nn.Module, str, Shape, Shape]  # module, role, their shape, ours


def layout_of(pairs: Iterable[Pair], said: str | None, own_names: bool) -> str:
    """The layout in which the pairs fit, if it is told, or if only one fits; ArgumentError where nothing tells.

    Args:
        said: what the file tells.
        own_names: whether the names are ours, letter for letter, so that the arrays may be ours as well.
    """
    if said is not None:
        return said
    pairs = list(pairs)
    fits = {layout: sum(turns(*pair, layout) is not None for pair in pairs) for layout in LAYOUTS}
    best = [layout for layout, count in fits.items() if count == max(fits.values())]
    if len(best) == 1 or not any(_differs(pair) for pair in pairs):
        return best[0]
    if TORCH not in best:
        return OURS if OURS in best else KERAS
    if not own_names and fits[TORCH] and any(pair[1] == "weight" for pair in pairs) and KERAS not in best:
        return TORCH
    square = next(pair for pair in pairs if _differs(pair))
    raise ArgumentError(explain("nothing tells in which order the axes of these weights lie: they fit either way",
                                got=f"weights of shape {square[3]}",
                                expected='(out, in) as in PyTorch, or (in, out) as in Keras and here',
                                fix='say it: model.load_weights(..., layout="torch"), "keras" or "chainrule"'))


def _differs(pair: Pair) -> bool:
    """Whether the layouts make different things of an array."""
    module, role, theirs, _ = pair
    return (role in ("weight", "recurrent_weight") and isinstance(module, Convolution | nn.Dense | Recurrent)
            and len(theirs) > 1)


# ---- what is laid out as one axis

# may keep a shape, and not the places
MIXING = ("contract", "attention", "scan", "while", "sort", "argsort", "take", "scatter", "concat", "cumulative_sum",
          "reverse")

def flattened(model: nn.Module) -> dict[int, Shape]:
    """id of a matrix, or of a vector such as a BatchNorm's, -> the axes (*S, C) of the images whose pixels its rows, or
    its elements, are."""
    kinds = model._record.inputs
    if not kinds:
        return {}
    try:
        with tracing() as trace:
            result = model(*(Tensor(input_node(kind)) for kind in kinds), training=False)
    except Exception:  # models that need more than arrays
        return {}
    variables = {node: variable for variable, node in trace.reads.items()}
    found, alone = {}, dict[Node, list[Variable] | None]()
    for node in topological([leaf.node for leaf in _tensors(result)]):
        alone[node] = _alone(node, variables, alone)
        if (
            alone[node] is None
            and isinstance(node.type, Type)
            and len(node.type.shape) == 2
            and node.op.name not in MIXING
        ):
            vectors = [variable for x in node.inputs for variable in alone[x] or () if variable.shape
                       == node.type.shape[1:]]
            if vectors and (flat := _images(node)):
                found.update(dict.fromkeys(map(id, vectors), flat))
        if (
            node.op.name == "contract"
            and (variable := _read_by(node, variables)) is not None
            and (flat := _images(node.inputs[0]))
        ):
            found[id(variable)] = flat
    return found


def _alone(node: Node, variables: Mapping[Node, Variable],
           known: Mapping[Node, list[Variable] | None]) -> list[Variable] | None:
    """The Variables that a node is computed from, if it depends on nothing else."""
    if node in variables:
        return [variables[node]]
    if node.op.name == "input" or any(known.get(x) is None for x in node.inputs):
        return None
    return [variable for x in node.inputs for variable in known[x] or ()]


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [leaf for item in items for leaf in _tensors(item)]


def _read_by(node: Node, variables: Mapping[Node, Variable]) -> Variable | None:
    return variables.get(node.inputs[1]) if len(node.inputs) > 1 else None


def _images(node: Node) -> Shape | None:
    """The axes that a reshape put into one, if nothing but functions of elements came after it."""
    shape = node.type.shape
    while len(shape) == 2:
        if node.op.name in MIXING:
            return None
        if node.op.name == "reshape" and len(node.inputs[0].type.shape) > 2:
            before = node.inputs[0].type.shape
            return before[1:] if before[0] == shape[0] and (len(before) > 3 or _convolved(node.inputs[0])) else None
        node = next((x for x in node.inputs if x.type.shape == shape and x.op is not CONSTANT),
                    node.inputs[0] if node.inputs else node)
        if node.type.shape != shape or not node.inputs:
            return None
    return None


def _convolved(node: Node) -> bool:
    """Whether a convolution came last, whose channels others keep first."""
    seen = 0
    while node.inputs and seen < 200:
        if node.op.name in ("conv", "window"):
            return True
        if node.op.name in ("contract", "attention", "scan"):
            return False
        node, seen = max(node.inputs, key=lambda x: x.type.size), seen + 1
    return False
