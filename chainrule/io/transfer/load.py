# SPDX-License-Identifier: Apache-2.0
"""`load_weights`: all that fits, or, where it must all fit, nothing; and a report of what was done with what."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ... import nn
from ...errors import ArgumentError, DataError, explain, shown
from ...ir import Tensor, Variable
from ...nn.core.module import own_parameters
from ...nn.layers.convolution import Convolution, DepthwiseConvolution, TransposedConvolution
from ..weights import Weights, read_weights
from .dialects import spoken
from .layouts import KERAS, LAYOUTS, OURS, TORCH, Shape, flattened, layout_of, told, turns
from .match import Layer, layers, pairs
from .names import IGNORED, Rename, dotted, renamed
from .parts import apart, gru_biases


@dataclass
class LoadReport:
    """What `load_weights` did.

    `taken`: our name -> name in the file. `missing`: our names that kept what they had. `left_over`: names in the file
    that went nowhere.
    `other_shape`: our name -> (name in the file, its shape, ours). `changed`: our name -> what was done to make it fit.
    `layout`: in which the axes of the file lie. `open`: layers of which nothing tells which is which.
    """

    taken: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    other_shape: dict[str, tuple[str, Shape, Shape]] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    layout: str = ""
    open: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every Variable got its array, and every array its Variable."""
        return not (self.missing or self.left_over or self.other_shape)

    def faults(self) -> list[str]:
        """A phrase for each thing that did not fit."""
        return [*(f"open: {text}" for text in self.open),
                *(f"another shape: {theirs} {shape} (for {name} {ours})"
                  for name, (theirs, shape, ours) in self.other_shape.items()),
                *(f"missing: {name}" for name in self.missing if name not in self.other_shape),
                *(f"left over: {name}" for name in self.left_over)]

    def rename(self, names: Mapping[str, str]) -> None:
        """Say the names in the file by other ones, where these are known."""
        self.taken = {ours: names.get(theirs, theirs) for ours, theirs in self.taken.items()}
        self.left_over = [names.get(theirs, theirs) for theirs in self.left_over]
        self.other_shape = {ours: (names.get(theirs, theirs), *shapes)
                            for ours, (theirs, *shapes) in self.other_shape.items()}

    def __repr__(self) -> str:
        counts = (f"{len(self.taken)} taken, {len(self.missing)} missing, {len(self.left_over)} left over, "
                  f"{len(self.other_shape)} of another shape")
        lines = [f"LoadReport({counts}, layout {self.layout})", *(f"  {fault}" for fault in self.faults()[:20]),
                 *(f"  changed: {name}, {what}" for name, what in self.changed.items())]
        return "\n".join(lines)


@dataclass(frozen=True)
class Slot:
    """A place for an array: a Variable, the layer that holds it and its role there."""

    name: str
    variable: Variable
    module: nn.Module
    role: str


def load_weights(model: nn.Module, source: Any, rename: Rename = None, strict: bool = True,
                 layout: str | None = None) -> LoadReport:
    """See `Module.load_weights`."""
    if layout is not None and layout not in LAYOUTS:
        raise ArgumentError(explain("there is no such layout", got=shown(layout), expected=" | ".join(LAYOUTS)))
    slots = _slots(model)
    weights, path = _read(source)
    told_layout = layout or told(weights, path, weights.metadata)
    known = (spoken(getattr(model, "family", None), weights, {name.rpartition(".")[0] for name in slots})
             if rename is None else renamed(weights, rename))
    names = {name: new for name, new in known.items() if not IGNORED.search(dotted(new))}
    weights = weights.renamed(names)
    weights = gru_biases(weights) if told_layout == KERAS else apart(weights) if told_layout != OURS else weights
    report, values = _fitted(model, slots, weights, told_layout, strict)
    report.rename({new: old for old, new in names.items()} if rename is None else {})
    if strict and not report.complete:
        faults = report.faults()
        raise DataError(explain("the weights do not fit the model",
                                got="; ".join(faults[:12]) + ("; …" if len(faults) > 12 else ""),
                                expected=f"{len(slots)} arrays, of which {len(report.taken)} are there"
                                + (f", in {path}" if path else ""),
                                fix="rename={'old.*': 'new.*'} says what is what; strict=False takes what fits and "
                                    "leaves the rest new"))
    if not report.taken:
        raise DataError(explain("none of these weights fits the model", got=", ".join(list(weights)[:6]) or "no arrays",
                                expected=", ".join(list(slots)[:6]),
                                fix="is it the same architecture? rename={'old.*': 'new.*'} says what is what"))
    for name, value in values.items():
        slots[name].variable.assign(value)
    return report


def _slots(model: nn.Module) -> dict[str, Slot]:
    """Dotted name -> place, for parameters and running statistics."""
    model.parameters()  # which says so if the model is not built
    wanted = {id(variable) for variable in own_parameters(model)}
    found, seen = {}, set[int]()
    for path, module in model.modules().items():
        for name, value in module.attributes():
            if (
                isinstance(value, Variable)
                and id(value) not in seen
                and (id(value) in wanted or name in getattr(module, "statistics", ()))
            ):
                seen.add(id(value))
                full = f"{path}.{name}" if path else name
                found[full] = Slot(full, value, module, name.rpartition(".")[2])
    return found


def _read(source: Any) -> tuple[Weights, Any]:
    """(name -> array, path) of a file or of a dict, whose values may be arrays of any library that NumPy understands.
    """
    if isinstance(source, str | os.PathLike):
        return read_weights(source), source
    if not isinstance(source, Mapping) or not all(isinstance(name, str) for name in source):
        raise ArgumentError(explain("weights come from a file or from a dict by name", got=shown(source),
                                    expected="a path, or {name: array}", fix="model.load_weights(other.state_dict())"))
    if isinstance(source, Weights):
        return source, None
    return Weights({name: _array(name, value) for name, value in source.items() if value is not None}), None


def _array(name: str, value: Any) -> np.ndarray:
    try:
        value = value.detach().cpu() if hasattr(value, "detach") else value
        array = value.numpy() if isinstance(value, Variable | Tensor) else np.asarray(value)
    except Exception as error:
        raise ArgumentError(explain(f"{name} cannot be read as an array", got=f"{type(value).__name__}: {error}",
                                    expected="arrays")) from None
    if array.dtype.kind not in "biufc":
        raise ArgumentError(explain(f"{name} holds no numbers", got=shown(value), expected="arrays of numbers"))
    return array


# ---- what goes where

def _fitted(model: nn.Module, slots: Mapping[str, Slot], weights: Weights, said: str | None,
            strict: bool) -> tuple[LoadReport, dict[str, np.ndarray]]:
    shapes = {name: shape for name, (shape, _) in weights.types.items()}
    own_names = set(shapes) == set(slots)
    ours = layers({name: slot.variable.shape for name, slot in slots.items()})
    paired, open_ = ([(layer, layer) for layer in ours], []) if own_names else pairs(ours, layers(shapes))
    found = _arrays(paired, slots)
    layout = layout_of(((slots[name].module, slots[name].role, shapes[theirs], slots[name].variable.shape)
                        for name, theirs in found.items()), said, own_names)
    report, values = LoadReport(layout=layout, open=open_), {}
    flat = flattened(model) if layout == TORCH else {}
    _refuse_mixed(found, slots, shapes, layout, flat)
    first = next((slot.name for slot in slots.values() if isinstance(slot.module, Convolution) and slot.role
                  == "weight"), None)
    for part in _by_layer(found, slots):
        made = {name: _value(report, slots[name], theirs, weights, layout, flat.get(id(slots[name].variable)),
                             adapt=not strict and name == first)
                for name, theirs in part.items()}
        if all(value is not None for value in made.values()):  # a layer is taken as a whole or stays new
            values.update(made)  # type: ignore[arg-type]
            report.taken.update(part)
    report.missing = [name for name in slots if name not in values]
    report.left_over = [name for name in shapes if name not in set(report.taken.values())
                        and name not in {theirs for theirs, _, _ in report.other_shape.values()}]
    return report, values


def _arrays(paired: list[tuple[Layer, Layer]], slots: Mapping[str, Slot]) -> dict[str, str]:
    """Our name -> their name, for each array of layers that belong together."""
    found = {}
    for ours, theirs in paired:
        names = [name for name, _ in ours.arrays.values()]
        for i, name in enumerate(names):
            role = slots[name].role
            other = theirs.arrays.get(role) or theirs.arrays.get(f"#{i}")
            if other is None and len(names) == len(theirs.arrays) == 1:
                other = next(iter(theirs.arrays.values()))
            if other is not None:
                found[name] = other[0]
    return found


def _by_layer(found: Mapping[str, str], slots: Mapping[str, Slot]) -> list[dict[str, str]]:
    """The pairs of names, together for each layer."""
    made: dict[int, dict[str, str]] = {}
    for name, theirs in found.items():
        made.setdefault(id(slots[name].module), {})[name] = theirs
    return list(made.values())


def _refuse_mixed(found: Mapping[str, str], slots: Mapping[str, Slot], shapes: Mapping[str, Shape], layout: str,
                  flat: Mapping[int, Shape]) -> None:
    """ArgumentError if some matrices lie in another layout than the rest, and of some nothing tells in which: no square
    one is guessed."""
    if layout != TORCH:
        return
    matrices = {name: shapes[theirs] for name, theirs in found.items() if isinstance(slots[name].module, nn.Dense)
                and slots[name].role == "weight" and len(shapes[theirs]) == 2}
    other = [name for name, shape in matrices.items() if shape[0] != shape[1] and shape == slots[name].variable.shape]
    square = [name for name, shape in matrices.items() if shape[0] == shape[1]]
    if other and square:
        raise ArgumentError(
            explain(
                "some matrices of the file lie as (in, out), so nothing tells how the square ones lie",
                got=f"{found[other[0]]} as (in, out); {found[square[0]]} is square",
                expected="one layout",
                fix="turn them yourself: read = cr.io.read_weights(path); read[name] = read[name].T",
            )
        )


def _value(report: LoadReport, slot: Slot, theirs: str, weights: Weights, layout: str, flat: Shape | None,
           adapt: bool) -> np.ndarray | None:
    shape, ours = weights.types[theirs][0], slot.variable.shape
    turn = (turns(slot.module, slot.role, shape, ours, layout, flat)
            or (None if layout != TORCH else turns(slot.module, slot.role, shape, ours, OURS)))
    if turn is None and adapt:
        turn = _other_channels(report, slot, shape, layout)
    if turn is None:
        report.other_shape[slot.name] = (theirs, shape, ours)
        return None
    value = turn(weights[theirs])
    if value.dtype.kind == "c" or value.dtype.kind not in "fiub":
        report.other_shape[slot.name] = (f"{theirs} ({value.dtype})", shape, ours)
        return None
    return np.ascontiguousarray(value).astype(slot.variable.dtype)


def _other_channels(report: LoadReport, slot: Slot, shape: Shape, layout: str) -> Any:
    """How the first convolution takes images of another number of channels: their sum for one, and for more each
    several times, scaled to the same sum."""
    if isinstance(slot.module, DepthwiseConvolution
                  | TransposedConvolution) or slot.module.groups != 1 or len(shape) != len(slot.variable.shape):
        return None
    ours = slot.variable.shape
    channels, wanted = (shape[1] if layout == TORCH else shape[-2]), ours[-2]
    turn = turns(slot.module, slot.role, shape, (*ours[:-2], channels, ours[-1]), layout)
    if turn is None:
        return None
    report.changed[slot.name] = (f"{channels} input channels "
                                 + ("added up to 1" if wanted == 1
                                    else f"repeated for {wanted}, times {channels}/{wanted}"))
    if wanted == 1:
        return lambda array: turn(array).sum(axis=-2, keepdims=True)
    return lambda array: np.take(turn(array), np.arange(wanted) % channels, axis=-2) * (channels / wanted)

