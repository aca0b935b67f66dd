# SPDX-License-Identifier: Apache-2.0
"""The table of a model: traced once on symbols, so nothing is computed; products are counted where they stand.

FLOPs are two (multiply, add) per product of matrix products and convolutions, for one sample. The receptive field is
the width of the input window that one output element sees.
"""

from __future__ import annotations

import math
from typing import Any

from ...errors import ArgumentError, explain
from ...ir import Node, Tensor, Type, Variable, no_grad
from ...ir.graph import topological
from ..core import module as modules
from ..core.module import Module, display
from ..layers.convolution import Convolution
from .receptive import receptive_fields


def flops(node: Node) -> int:
    """Multiplications and additions of one product node."""
    if node.op.name == "contract":
        return 2 * node.type.size * math.prod(node.inputs[0].shape[i] for i in node.attrs["contracting"][0])
    if node.op.name == "packed_product":
        return 2 * node.type.size * node.inputs[0].shape[1]
    if node.op.name == "conv":
        return 2 * node.type.size * math.prod(node.inputs[1].shape[:-1])
    if node.op.name == "conv_input_gradient":
        return 2 * node.inputs[0].type.size * math.prod(node.inputs[1].shape[:-1])
    return 0


class Summary(str):
    """The table as text; what a prompt or a notebook shows of it, and `print` of one that has been printed, is one
    line: its heading."""

    heading: str
    printed = False

    def __repr__(self) -> str:
        return f"<{self.heading}>"

    def __str__(self) -> str:
        return repr(self) if self.printed else self[:]

    def __format__(self, spec: str) -> str:
        return format(self[:], spec)


def summary(model: Module, input_shape: tuple[int, ...] | None = None) -> Summary:
    """The table as text."""
    text = Summary(_render(model, _rows(model, input_shape)))
    text.heading = (f"Summary of {type(model).__name__}: "
                    f"{sum(v.size for v in model.variables().values() if v.dtype.kind == 'f'):,} parameters")
    return text


def _rows(model: Module, input_shape: tuple[int, ...] | None) -> list[dict[str, Any]]:
    shape = input_shape or model.input_shape
    if shape is None:
        raise ArgumentError(explain("the shape of the input is not known yet",
                                    got=f"{type(model).__name__} that was never called",
                                    expected="the shape of one sample",
                                    fix="model.summary(input_shape=(28, 28, 1)), or call the model first"))
    dtype = model._record.inputs[0].dtype if model._record.inputs else model._input_type()
    seen: dict[int, Any] = {}
    with no_grad(), modules.watching(lambda m, y: seen.setdefault(id(m), y)):
        _, result = model.trace(Type((1, *shape), dtype))
    nodes = topological([x.node for x in _tensors(result)])
    fields = receptive_fields(model, shape)
    rows = [_row(name, m, seen.get(id(m)), nodes, fields.get(id(m))) for name, m in model.modules().items()]
    return [row for row in rows if row["leaf"] or row["flops"] or row["own"]]


def _row(name: str, module: Module, output: Any, nodes: Any, field: Any) -> dict[str, Any]:
    path, below = display(name, module), list(module.attributes())
    leaf = not any(isinstance(value, Module) for _, value in below)
    parts = _tensors(output)
    own = sum(v.size for _, v in below if isinstance(v, Variable) and v.dtype.kind == "f")
    return {
        "layer": path, "leaf": leaf, "output": " ".join(str(tuple(x.shape[1:])) for x in parts) or "-", "own": own,
        "flops": sum(flops(node) for node in nodes if node.layer == path),
        "memory": sum(x.node.type.bytes for x in parts) if leaf else 0, "field": _seen(module, field),
    }


def _tensors(output: Any) -> list[Tensor]:
    items = output if isinstance(output, list | tuple) else output.values() if isinstance(output, dict) else [output]
    return [x for x in items if isinstance(x, Tensor)]


def _seen(module: Module, field: Any) -> tuple[int, ...] | None:
    """The width of the field along each axis, from the first window on."""
    sizes = tuple(size for size, _, _ in field or ())
    return sizes if max(sizes, default=0) > 1 or isinstance(module, Convolution) else None


# ---- text

HEADS = ("layer", "output", "parameters", "FLOPs", "memory", "receptive field")


def _render(model: Module, rows: list[dict[str, Any]]) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for head in HEADS:
        table.add_column(head, justify="left" if head in ("layer", "output") else "right", no_wrap=True)
    for row in rows:
        table.add_row(row["layer"].replace("[", "\\["), row["output"], f"{row['own']:,}", number(row["flops"]),
                      size(row["memory"]),
                      " x ".join(map(str, row["field"])) if row["field"] else "")
    console = Console(width=160, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n") + "\n" + _totals(model, rows)


def _totals(model: Module, rows: list[dict[str, Any]]) -> str:
    variables = [v for v in model.variables().values() if v.dtype.kind == "f"]
    trainable, fixed = (sum(v.size for v in variables if v.trainable is kind) for kind in (True, False))
    weights = sum(v.type.bytes for v in variables)
    return (f" parameters  {trainable + fixed:,} ({trainable:,} trainable, {fixed:,} not), {size(weights)}\n"
            f" per sample  {number(sum(r['flops'] for r in rows))} FLOPs, "
            f"{size(sum(r['memory'] for r in rows))} of layer outputs")


def number(n: float) -> str:
    """A count in three digits: 1.23 M."""
    for unit in ("", " k", " M", " G", " T"):
        if n < 1000 or unit == " T":
            return f"{n:.3g}{unit}" if unit else f"{n:g}"
        n /= 1000
    return ""


def size(n: float) -> str:
    """Bytes in three digits: 1.2 KiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if n < 1024 or unit == "TiB":
            return f"{n:.4g} {unit}"
        n /= 1024
    return ""


def count_parameters(model: Module, trainable: bool | None = None) -> dict[str, int]:
    """Parameters of a built model by dtype, each shared one once; running statistics and random states do not count.

    Args:
        trainable: only those that are (True) or are not (False) trained; default: all.

    >>> model = nn.Sequential([nn.Dense(8), nn.Dense(2)])
    >>> y = model(cr.ones((1, 4)))
    >>> nn.count_parameters(model)
    {'float32': 58}
    """
    found: dict[str, int] = {}
    for variable in {id(v): v for v in modules.own_parameters(model)}.values():
        if trainable is None or variable.trainable is trainable:
            found[str(variable.dtype)] = found.get(str(variable.dtype), 0) + variable.size
    return found
