# SPDX-License-Identifier: Apache-2.0
"""`export`: a trained model as one file that runs without chainrule."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, DataError, explain, shown
from ..foundations.files import write_atomically
from ..version import __version__
from . import onnx
from .sizes import family
from .traced import Program, free_axes, inference, program, result_names, variable_names, weights

LARGEST_ONNX = 2**31 - 1  # bytes of one message of protocol buffers


def export(model: Any, path: str | os.PathLike[str], x: Any, *, free: Any = (0,), longest: int = 1024) -> Path:
    """Write a model, in inference mode, as a file for another program; the suffix of `path` says of which kind.

    | suffix | what it is | free axes |
    |---|---|---|
    | .onnx | ONNX, opset 18, for ONNX Runtime and whatever else reads it | yes |
    | .stablehlo | StableHLO text, by the xla backend (extra `xla`); the weights are constants in it | no |

    Args:
        model: a layer, a model, or a function of arrays.
        x: an example of its input, of which shape and dtype count: an array, a tuple of them for `model(*x)`, or a dict
            for `model(**x)`.
        free: the axes of the inputs that may have any size, by default the batch; `(0, 1)` for batch and time, `()` for
            none. Axes of one number whose examples are equally long are one axis. A dict gives each input its own, with
            names: `{"tokens": {0: "batch", 1: "length"}}`.
        longest: the most elements along a free axis other than the batch, for models with tables of positions, such as
            sinusoidal ones. What is longer is refused where the model runs.

    Inputs are called like the arguments of `forward`, the output `y`, or by the keys of a dict; weights by their dotted
    names. What a layer checks of values (`require`) is not in the file. Returns the path. Raises ArgumentError for an
    operation that the format does not have, by its layer, for a model that changes its Variables when it is called, and
    for one that is another program for another size of a free axis.

    >>> model = nn.Sequential([nn.Dense(8, activation="relu"), nn.Dense(3)])
    >>> cr.export(model, "model.onnx", np.zeros((2, 4), "float32")).name
    'model.onnx'
    """
    path = Path(path)
    if path.suffix not in WRITERS:
        raise ArgumentError(explain("the suffix says which kind of file is wanted, and this is none that can be "
                                    "written", got=shown(path.name),
                                    expected=", ".join(WRITERS)))
    made = program(model, x)
    # builds what is not built yet; what is wrong at any size is said before others are tried
    inference(made.trace(made.types))
    return write_atomically(path, WRITERS[path.suffix](made, free, longest))


def _onnx(made: Program, free: Any, longest: int) -> bytes:
    captured = []

    def trace(types: Any) -> Any:
        captured.append(made.trace(types))
        return inference(captured[-1])
    found = family(trace, made.types, free_axes(free, made.names, made.types))
    first, count = captured[-1], len(made.types)
    content = onnx.model(found, made.names, result_names(first), weights(first, variable_names(made.model), count),
                         __version__, longest)
    if len(content) > LARGEST_ONNX:
        raise DataError(explain("an ONNX file of one part holds 2 GiB", got=f"{len(content):,} bytes",
                                fix="save the weights as safetensors: cr.save(model, path)"))
    return content


WRITERS: dict[str, Callable[[Program, Any, int], bytes]] = {".onnx": _onnx}
