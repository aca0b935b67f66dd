# SPDX-License-Identifier: Apache-2.0
"""Modules made of modules: one after another (`Sequential`), and with a residual (skip) connection (`Residual`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...errors import ArgumentError, ShapeError, explain, shown
from ...ops.movement import reshape
from ...typing import ActivationLike, ModelLike
from .. import activations
from ..activations import Activation
from ..core.module import Module, _held, class_for_layer
from ..core.symbols import Symbol
from ..masks import run_masked


class Sequential(Module):
    """Layers one after another; functions among them become layers, and an `nn.Input` before them says what comes in.

    `model.add(layer)` appends; `model[2]`, `len(model)` and iteration give the layers. Parameters are named by their
    position: "0.weight", "0.bias", "3.weight". A mask (batch, steps) travels to the layers that take one.

    >>> model = nn.Sequential([nn.Dense(8, activation="relu"), nn.Dropout(0.2), nn.Dense(2)])
    >>> model(cr.ones((3, 4))).shape
    (3, 2)
    """

    takes_arrays = False

    def __init__(self, layers: Sequence[Any] = ()):
        self.layers: list[Module] = []
        for layer in _listed(layers):
            self.add(layer)

    def add(self, layer: ModelLike) -> Sequential:
        """Append a layer; returns the model."""
        if isinstance(layer, Symbol):
            return self._begin(layer)
        if isinstance(layer, type) and issubclass(layer, Module):
            raise class_for_layer(layer)
        if isinstance(layer, str) or not callable(layer):
            raise ArgumentError(explain("a layer is a module or a function of one tensor", got=shown(layer),
                                        expected="an instance of nn.Module, or a function",
                                        fix=f"use nn.Activation({layer!r})" if isinstance(layer, str)
                                        else "nn.Dense(10), for example"))
        self.layers.append(layer if isinstance(layer, Module) else Activation(layer))
        if self._record.built and not self.layers[-1].built:
            self._record.built = False
        return self

    def _begin(self, symbol: Symbol) -> Sequential:
        if self.layers or symbol.layer is not None:
            raise ArgumentError(explain("a symbol stands for what comes in: only an Input can be in a Sequential, "
                                        "before all layers", got=shown(symbol),
                                        expected="nn.Sequential([nn.Input(shape), layer, ...])",
                                        fix="for other graphs use nn.Functional(inputs, outputs)"))
        self._record.input_shape = symbol.type.shape[1:]
        return self

    def attributes(self) -> Iterator[tuple[str, Any]]:
        for i, layer in enumerate(self.layers):
            yield from _held(str(i), layer)

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        return super().input_shape or (self.layers[0].input_shape if self.layers else None)

    def _input_type(self) -> Any:
        return self.layers[0]._input_type() if self.layers else super()._input_type()

    def config(self) -> dict[str, Any]:
        return {"layers": list(self.layers)}

    def forward(self, x: Any, mask: Any = None) -> Any:
        _check_mask(mask)
        given = mask is not None
        for i, layer in enumerate(self.layers):
            before = mask
            x, mask = run_masked(layer, (x,), {}, mask)
            if given and before is not None and mask is None and not layer.takes_mask:
                raise _lost(i, layer)
            if x is None:
                raise ArgumentError(explain(f"layer {i}, {type(layer).__name__}, returns nothing", got="None",
                                            expected="a tensor", fix="end its forward with `return ...`"))
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: Any) -> Any:
        return Sequential(self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)


def _lost(i: int, layer: Module) -> ArgumentError:
    """A mask was given, and what would come next takes the padding for data."""
    return ArgumentError(explain(f"layer {i}, {type(layer).__name__}, changes the steps and takes no mask: the lengths "
                                 "of the sequences would be lost",
                                 got="a mask (batch, steps)",
                                 expected="a layer that takes the mask, or one that keeps the steps",
                                 fix="nn.GlobalAvgPool1D() or a recurrent layer before it; without sequences of "
                                     "different lengths, call it without mask"))


def _check_mask(mask: Any) -> None:
    """What comes second is a mask: numbers there are a second input, which no layer would look at."""
    if mask is not None and getattr(getattr(mask, "dtype", None), "kind", "b") == "f":
        raise ArgumentError(explain("Sequential takes one input; what comes second is a mask",
                                    got=f"a second input, {shown(mask)}",
                                    expected="booleans (batch, steps), True where a step exists",
                                    fix="nn.Functional([a, b], output) takes several inputs, as does a forward(self, "
                                        "a, b) of your own"))


def _listed(layers: Any) -> Sequence[Any]:
    if not isinstance(layers, list | tuple):
        raise ArgumentError(explain("Sequential takes one list of layers", got=type(layers).__name__, expected="a list",
                                    fix="nn.Sequential([layer, layer, ...])"))
    return layers


class TimeDistributed(Module):
    """The same layer for each step: (N, T, ...) -> (N, T, ...), as if every step were a sample.

    Dense needs this not: it works along the last axis anyway.

    Args:
        layer: for one step, (N, ...).

    >>> nn.TimeDistributed(nn.Conv2D(4, 3))(cr.ones((2, 5, 8, 8, 1))).shape
    (2, 5, 6, 6, 4)
    """

    def __init__(self, layer: ModelLike):
        self.layer = Sequential(layer) if isinstance(layer, list | tuple) else layer

    def _input_type(self) -> Any:
        return self.layer._input_type()

    def forward(self, x: Any) -> Any:
        if x.ndim < 3:
            raise ShapeError(explain("there are no steps", got=f"shape {x.shape}", expected="(batch, steps, ...)"))
        y = self.layer(reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:])))
        return reshape(y, (*x.shape[:2], *y.shape[1:]))


class Residual(Module):
    """y = activation(body(x) + shortcut(x)) (He et al., 2016).

    Args:
        body: a module, or a list of layers.
        shortcut: a module for the way round; None for the identity.
        activation: name, function or layer.

    >>> nn.Residual(nn.Dense(4))(cr.ones((2, 4))).shape
    (2, 4)
    """

    takes_arrays = False

    def __init__(self, body: Any, shortcut: Any = None, activation: ActivationLike = None):
        self.body = Sequential(body) if isinstance(body, list | tuple) else body
        self.shortcut = Sequential(shortcut) if isinstance(shortcut, list | tuple) else shortcut
        self.activation = activations.get(activation)

    def _input_type(self) -> Any:
        return self.body._input_type()

    def forward(self, x: Any) -> Any:
        y, way = self.body(x), x if self.shortcut is None else self.shortcut(x)
        if y.shape != way.shape:
            raise ShapeError(explain("the two ways of a residual block have different shapes",
                                     got=f"body {y.shape}, shortcut {way.shape}",
                                     expected="one shape",
                                     fix="give a shortcut that changes the shape as the body does: "
                                         f"Residual(body, shortcut=nn.Conv2D({y.shape[-1]}, 1, stride=...))"))
        return self.activation(y + way)
