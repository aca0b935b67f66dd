# SPDX-License-Identifier: Apache-2.0
"""Receptive fields: which pixels of the input one output of a layer depends on.

Along each axis, output o of a layer sees the pixels first + o * stride to first + o * stride + size - 1; `first` is
negative where padding is. A window of k pixels at distance d, taken every s, makes of (size, stride, first) the field
(size + (k - 1) d stride, stride s, first - padding stride) (Araujo et al., "Computing receptive fields of
convolutional neural networks", 2019). `effective_receptive_field` finds the same by gradients, for any model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...compiler.transform import gradients
from ...errors import ArgumentError, ShapeError, explain
from ...ir import Tensor, Type, Variable, no_grad
from ...ops.reduce import sum as total
from ...typing import ArrayLike, ModelLike
from .. import activations
from ..composition.containers import Residual, Sequential
from ..composition.functional import Functional, _first_place
from ..core import module as modules
from ..core.module import Module, display
from ..layers.convolution import Convolution, SeparableConvolution, TransposedConvolution, pads
from ..layers.linear import Dense, Identity
from ..layers.merging import Merging
from ..layers.normalization import BatchNorm, LayerNorm, RMSNorm
from ..layers.padding import Cropping, Padding
from ..layers.pooling import Pooling
from ..layers.regularization import Dropout, GaussianNoise

Axis = tuple[int, int, int]  # (size, stride, first)
Field = tuple[Axis, ...] | None  # None: all of the image, or not known
POINTWISE = (BatchNorm, Dense, Dropout, GaussianNoise, Identity, LayerNorm, RMSNorm)  # and activations


@dataclass(frozen=True)
class ReceptiveField:
    """What one output of a layer sees, along each spatial axis.

    Attributes:
        layer: path of the layer, such as "model[2] Conv2D".
        size: pixels from the first to the last one that is seen.
        stride: pixels between what neighbouring outputs see.
        first: the first pixel that output 0 sees; negative in the padding.

    >>> model = nn.Sequential([nn.Conv2D(4, 3, stride=2)], input_shape=(16, 16, 1))
    >>> nn.receptive_field(model)[0]
    ReceptiveField(layer='model[0] Conv2D', size=(3, 3), stride=(2, 2), first=(0, 0))
    """

    layer: str
    size: tuple[int, ...]
    stride: tuple[int, ...]
    first: tuple[int, ...]

    @property
    def centre(self) -> tuple[float, ...]:
        """The middle of what output 0 sees, in pixels."""
        return tuple(f + (n - 1) / 2 for f, n in zip(self.first, self.size, strict=True))

    def box(self, position: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        """(first, last) pixel along each axis that the output at `position` sees, padding included."""
        begins = [f + o * s for f, o, s in zip(self.first, position, self.stride, strict=True)]
        return tuple((b, b + n - 1) for b, n in zip(begins, self.size, strict=True))


def receptive_field(model: Module, input_shape: tuple[int, ...] | None = None) -> list[ReceptiveField]:
    """The receptive field of each convolution and pooling layer, in order, by arithmetic.

    Chains, residual blocks and drawn graphs (Sequential, Residual, Functional) are followed until a layer sees the
    whole image or its way of moving pixels is not known.

    Args:
        input_shape: of one sample, (*S, channels); known to a model that was called or given it.

    >>> model = nn.Sequential([nn.Conv2D(4, 3), nn.MaxPool2D(2), nn.Conv2D(4, 3)], input_shape=(16, 16, 1))
    >>> [field.size for field in nn.receptive_field(model)]
    [(3, 3), (4, 4), (8, 8)]
    """
    fields = receptive_fields(model, input_shape)
    windows = Convolution | Pooling
    return [ReceptiveField(display(name, m), *map(tuple, zip(*fields[id(m)], strict=True)))
            for name, m in model.modules().items() if isinstance(m, windows) and fields.get(id(m))]


def receptive_fields(model: Module, input_shape: tuple[int, ...] | None = None) -> dict[int, tuple[Axis, ...]]:
    """id of each module -> (size, stride, first) along each axis, for those that have one."""
    shape = input_shape or model.input_shape
    if shape is None:
        raise ArgumentError(explain("the shape of the input is not known yet",
                                    got=f"{type(model).__name__} that was never called",
                                    expected="the shape of one sample",
                                    fix="give input_shape=(28, 28, 1), or call the model first"))
    shapes: dict[int, tuple[int, ...]] = {}
    kinds = model._record.inputs
    with no_grad(), modules.watching(lambda m, y: shapes.setdefault(id(m), getattr(y, "shape", ()))):
        model.trace(Type((1, *shape), kinds[0].dtype if kinds else model._input_type()))
    follow = _Follower(shapes)
    follow(model, ((1, 1, 0),) * max(len(shape) - 1, 0) or None, (1, *shape))
    return {key: field for key, field in follow.found.items() if field is not None}


class _Follower:
    """Walks the layers with the field of what goes in; `found` holds the field of what comes out of each."""

    def __init__(self, shapes: dict[int, tuple[int, ...]]):
        self.shapes, self.found = shapes, {}

    def __call__(self, module: Module, field: Field, shape: tuple[int, ...]) -> Field:
        result = self._through(module, field, shape) if field is not None and len(shape) == len(field) + 2 else None
        self.found.setdefault(id(module), result)
        return result

    def _through(self, module: Module, field: Any, shape: tuple[int, ...]) -> Field:
        if isinstance(module, Functional):
            return self._graph(module, field, shape)
        if isinstance(module, Residual):
            way = field if module.shortcut is None else self(module.shortcut, field, shape)
            return _union([self(module.body, field, shape), way])
        if isinstance(module, Sequential | SeparableConvolution):
            layers = module.layers if isinstance(module, Sequential) else [module.depthwise, module.pointwise]
            return self._chain(layers, field, shape)
        if isinstance(module, Convolution | Pooling) and not isinstance(module, TransposedConvolution):
            padding = pads(module.padding, shape[1:-1], module.kernel, module.stride, module.dilation)
            return tuple((n + (k - 1) * d * s, s * t, f - low * s) for (n, s, f), k, d, t, (low, _)
                         in zip(field, module.kernel, module.dilation, module.stride, padding, strict=True))
        if isinstance(module, Padding | Cropping):
            adds = isinstance(module, Padding)
            moved = [-low for low, _ in module.padding] if adds else [low for low, _ in module.cropping]
            return tuple((n, s, f + by * s) for (n, s, f), by in zip(field, moved, strict=True))
        pointwise = isinstance(module, POINTWISE) or type(module).__module__ == activations.__name__
        return field if pointwise else None

    def _chain(self, layers: Any, field: Field, shape: tuple[int, ...]) -> Field:
        for layer in layers:
            field, shape = self(layer, field, shape), self.shapes.get(id(layer), ())
        return field

    def _graph(self, module: Any, field: Field, shape: tuple[int, ...]) -> Field:
        fields: dict[Any, Field] = {("input", 0): field}
        shapes: dict[Any, tuple[int, ...]] = {("input", 0): shape}
        for k, (layer, places, _) in enumerate(module.plan):
            before = [p[:2] for p in _places(places)]
            if isinstance(layer, Merging):
                result = _union([fields.get(p) for p in before])
                self.found.setdefault(id(layer), result)
            else:
                result = self(layer, fields.get(before[0]), shapes.get(before[0], ()))
            fields["result", k], shapes["result", k] = result, self.shapes.get(id(layer), ())
        return fields.get(_first_place([module.outputs])[:2])


def _places(value: Any) -> list[Any]:
    """The places ("input" or "result", number, ...) in a structure."""
    if isinstance(value, tuple) and value and value[0] in ("input", "result"):
        return [value]
    return [p for item in value for p in _places(item)] if isinstance(value, list | tuple) else []


def _union(fields: list[Field]) -> Field:
    """The smallest field that holds all of them; None if they do not move in step."""
    if any(f is None for f in fields) or len({tuple(s for _, s, _ in f or ()) for f in fields}) > 1:
        return None
    joined = []
    for axes in zip(*fields, strict=True):  # type: ignore[arg-type]
        first = min(f for _, _, f in axes)
        joined.append((max(f + n for n, _, f in axes) - first, axes[0][1], first))
    return tuple(joined)


# ---- by gradients

def effective_receptive_field(model: ModelLike, x: ArrayLike, position: tuple[int, ...] | None = None) -> np.ndarray:
    """How strongly each pixel bears on the output at `position`: |d sum_c y[:, position, c] / dx|, (*S), largest 1.

    Averaged over the batch, summed over channels (Luo et al., 2016). Its support lies within the analytic field.

    Args:
        model: from (N, *S, C) to (N, *O, K), run as in inference.
        x: images.
        position: of the output; by default its middle.

    >>> model = nn.Sequential([nn.Conv2D(4, 3, padding="same"), nn.Conv2D(4, 3, padding="same")])
    >>> field = nn.effective_receptive_field(model, np.ones((1, 9, 9, 1), "float32"))
    >>> np.count_nonzero(field)
    np.int64(25)
    """
    source = Variable(np.asarray(x))
    y = model(source)
    if not isinstance(y, Tensor) or y.ndim != source.ndim:
        raise ShapeError(explain("the output has no positions", got=f"shape {getattr(y, 'shape', '?')}",
                                 expected=f"{source.ndim} axes, (N, *S, channels)",
                                 fix="take the part of the model before Flatten or the global pooling"))
    place = tuple(n // 2 for n in y.shape[1:-1]) if position is None else tuple(position)
    slope = np.abs(gradients(total(y[(slice(None), *place)]), source).numpy()).sum(axis=(0, -1))
    return slope / (slope.max() or 1.0)
