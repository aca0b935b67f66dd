# SPDX-License-Identifier: Apache-2.0
"""Small trainable parts beside frozen layers: LoRA (Hu et al., 2022), DoRA (Liu et al., 2024) and IA3 (Liu et al.,
2022).

In: a trained model. Out: a copy of it in which some layers are wrapped and everything else is frozen; `merge_lora`
makes a plain model of it again. A wrapped layer computes with x W + (alpha / rank) (x A) B + b where it computed with x
W + b, before its activation.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, explain, shown
from ...foundations.names import closest
from ...ir import Tensor, as_tensor
from ...ops.compose import matmul
from ...ops.control import stop_gradient
from ...ops.elementwise import sqrt
from ...ops.reduce import sum
from ...typing import ModelLike
from .. import initializers
from ..composition.config import copy_model
from ..composition.replacing import replace_layers
from ..core.checks import positive, probability
from ..core.module import Module
from ..layers.convolution import Conv1D, Conv2D, Conv3D, Convolution, DepthwiseConvolution, TransposedConvolution
from ..layers.linear import Dense, Maxout
from ..layers.regularization import Dropout
from .quantized import QuantizedDense

RANKS: dict[int, type[Convolution]] = {1: Conv1D, 2: Conv2D, 3: Conv3D}
TARGETS = ("*.query", "*.value")


class Adapter(Module):
    """A frozen layer `base` (Dense, QuantizedDense or a convolution of one group) with something trainable beside it.

    >>> model = nn.Sequential([nn.Dense(2)])
    >>> y = model(cr.ones((1, 4)))
    >>> isinstance(nn.lora(model, rank=2, targets=("*",)).layers[0], nn.Adapter)
    True
    """

    base: Any

    def _input_type(self) -> Any:
        return self.base._input_type()

    def build(self, x: Any) -> None:
        self.base(x)  # builds it and checks what comes in
        self.base.freeze()

    def plain(self) -> np.ndarray:
        """The weight (..., in, out) with which this layer computes, float64."""
        raise NotImplementedError

    def _finished(self, y: Any, scale: Any = None) -> Any:
        y = y + self.base.bias if self.base.use_bias else y
        return self.base.activation(y if scale is None else y * scale)


class LowRank(Adapter):
    """y = activation(x W + s (drop(x) A) B + b), s = alpha / rank; A starts at random, B with zeros, so that nothing
    changes at first.

    Args:
        base: the layer, whose W and b are frozen.
        rank: columns of A.
        alpha: s = alpha / rank.
        dropout: rate for what goes into A, in training.
        magnitude: scale each column of W + s A B to a length that is learnt apart from its direction, which starts as
            it was (DoRA).

    >>> layer = nn.LowRank(nn.Dense(3), rank=2)
    >>> layer(cr.ones((1, 4))).shape
    (1, 3)
    """

    def __init__(self, base: ModelLike, rank: int = 8, alpha: float = 8.0, dropout: float = 0.0,
                 magnitude: bool = False):
        self.base, self.rank = base, positive("rank", rank)
        self.alpha, self.rate = float(alpha), probability("dropout", dropout)
        self.has_magnitude = magnitude
        self.dropout = Dropout(dropout) if dropout else None

    def build(self, x: Any) -> None:
        super().build(x)
        base = self.base
        bound = initializers.variance_scaling(1 / 3, "in", "uniform")  # between -1 / sqrt(in) and 1 / sqrt(in)
        if isinstance(base, Convolution):
            self.down: Module = RANKS[base.rank](self.rank, base.kernel, base.stride, base.padding, base.dilation,
                                                 bias=False, weight_initializer=bound, dtype=base.dtype,
                                                 padding_mode=base.padding_mode)
        else:
            self.down = Dense(self.rank, bias=False, weight_initializer=bound, dtype=base.dtype)
        self.up = Dense(outputs(base), bias=False, weight_initializer="zeros", dtype=base.dtype)
        self.up(self.down(x))
        if self.has_magnitude:
            lengths = np.sqrt((weight_of(base) ** 2).sum(tuple(range(weight_of(base).ndim - 1))))
            self.magnitude = initializers.make(lambda shape, dtype: lengths.astype(dtype), lengths.shape, base.dtype,
                                               "magnitude")

    def forward(self, x: Any) -> Any:
        y = self.base.convolve(x) if isinstance(self.base, Convolution) else matmul(x, _matrix(self.base))
        y = y + self.up(self.down(x if self.dropout is None else self.dropout(x))) * (self.alpha / self.rank)
        return self._finished(y * (self.magnitude / self._lengths()) if self.has_magnitude else y)

    def _lengths(self) -> Tensor:
        """|W + s A B| of each column, as a constant in derivatives (section 4.3 of the paper)."""
        whole = _matrix(self.base) + matmul(as_tensor(self.down.weight),
                                            as_tensor(self.up.weight)) * (self.alpha / self.rank)
        return stop_gradient(sqrt(sum(whole * whole, axis=tuple(range(whole.ndim - 1)))))

    def plain(self) -> np.ndarray:
        whole = weight_of(self.base) + self.alpha / self.rank * (wide(self.down.weight) @ wide(self.up.weight))
        if not self.has_magnitude:
            return whole
        return whole * (wide(self.magnitude) / np.sqrt((whole ** 2).sum(tuple(range(whole.ndim - 1)))))


class Scaled(Adapter):
    """y = activation((x W + b) * scale), or activation((x * scale) W + b): a factor for each feature, which starts with
    1 (IA3).

    Args:
        base: the layer, whose W and b are frozen.
        inputs: whether the factors are for what comes in.

    >>> layer = nn.Scaled(nn.Dense(3))
    >>> layer(cr.ones((1, 4))).shape
    (1, 3)
    """

    def __init__(self, base: ModelLike, inputs: bool = False):
        self.base, self.inputs = base, inputs

    def build(self, x: Any) -> None:
        super().build(x)
        self.scale = initializers.make("ones", (x.shape[-1] if self.inputs else outputs(self.base),), self.base.dtype,
                                       "scale")

    def forward(self, x: Any) -> Any:
        if self.inputs:
            return self.base(x * self.scale)
        y = self.base.convolve(x) if isinstance(self.base, Convolution) else matmul(x, _matrix(self.base))
        return self._finished(y, self.scale)

    def plain(self) -> np.ndarray:
        return weight_of(self.base) * (wide(self.scale)[:, None] if self.inputs else wide(self.scale))


def wide(variable: Any) -> np.ndarray:
    """The content in float64."""
    return variable.numpy().astype(np.float64)


def weight_of(layer: Any) -> np.ndarray:
    """The weight (..., in, out) of a layer in float64."""
    return np.asarray(_matrix(layer)).astype(np.float64)


def outputs(layer: Any) -> int:
    """The features or channels that come out of a layer."""
    return layer.filters if isinstance(layer, Convolution) else layer.units


def _matrix(layer: Any) -> Tensor:
    return layer.weight() if isinstance(layer, QuantizedDense) else as_tensor(layer.weight)


# ---- whole models

def lora(model: Module, rank: int = 8, targets: Sequence[str] = TARGETS, alpha: float | None = None,
         dropout: float = 0.0, dora: bool = False, train: Sequence[str] = ()) -> Any:
    """A copy of a built model in which low-rank changes of some layers are trained, and nothing else.

        adapted = nn.lora(model, rank=8, targets=("*.query", "*.value"), train=("head.*",))
        cr.fit(adapted, data, ...)
        plain = nn.merge_lora(adapted)

    Args:
        model: its layers stay as they are; weights of 8 or 4 bits (`nn.quantize`) too.
        rank: of the changes; rank * (in + out) parameters for each layer.
        targets: patterns, as for files, of the dotted names of Dense layers and convolutions of one group.
        alpha: the change counts alpha / rank times; None: rank, that is once.
        dropout: rate for what goes into the change, in training.
        dora: learn the length of each column of the weight apart from its direction.
        train: patterns of what else is trained, such as a new head.

    Raises ArgumentError if a pattern fits no such layer.

    >>> model = nn.Sequential([nn.Dense(8), nn.Dense(2)])
    >>> x = cr.ones((1, 4))
    >>> y = model(x)
    >>> adapted = nn.lora(model, rank=2, targets=("*",))
    >>> np.allclose(adapted(x).numpy(), y.numpy())
    True
    """
    positive("rank", rank)
    alpha = float(rank if alpha is None else alpha)
    return _adapted(model, targets, train, lambda _, layer: LowRank(layer, rank, alpha, dropout, dora))


def ia3(model: Module, targets: Sequence[str] = ("*.key", "*.value"), inputs: Sequence[str] = (),
        train: Sequence[str] = ()) -> Any:
    """A copy of a built model in which a factor for each feature of some layers is trained, and nothing else.

    Args:
        targets: patterns of the layers of which what comes out is scaled.
        inputs: patterns of the layers of which what comes in is scaled, such as the second one of each network in a
            transformer.
        train: patterns of what else is trained.

    >>> model = nn.Sequential([nn.Dense(8), nn.Dense(2)])
    >>> y = model(cr.ones((1, 4)))
    >>> adapted = nn.ia3(model, targets=("*",))
    >>> np.allclose(adapted(cr.ones((1, 4))).numpy(), y.numpy())
    True
    """
    outer = {id(layer) for layer in _chosen(model, targets)} if targets or not inputs else set()
    inner = {id(layer) for layer in _chosen(model, inputs)} if inputs else set()
    if outer & inner:
        raise ArgumentError(explain("a layer is scaled before or after, not both",
                                    got=f"targets={shown(targets)}, inputs={shown(inputs)}",
                                    expected="patterns of different layers"))
    names = {name: id(layer) for name, layer in model.modules().items()}
    chosen = [name for name, key in names.items() if key in outer | inner]
    within = {name for name, key in names.items() if key in inner}
    return _adapted(model, chosen, train, lambda name, layer: Scaled(layer, name in within))


def merge_lora(model: Module) -> Any:
    """A plain copy of an adapted model: what was learnt beside a layer is added to its weight. Nothing of it is frozen.

    The outputs stay what they were, to rounding. Layers of 8 or 4 bits become Dense layers.

    >>> model = nn.Sequential([nn.Dense(8), nn.Dense(2)])
    >>> x = cr.ones((1, 4))
    >>> y = model(x)
    >>> merged = nn.merge_lora(nn.lora(model, rank=2, targets=("*",)))
    >>> np.allclose(merged(x).numpy(), y.numpy(), atol=1e-6)
    True
    """
    if not any(isinstance(module, Adapter) for module in model.modules().values()):
        raise ArgumentError(explain("there is nothing to merge: the model has no adapted layer", got=shown(model),
                                    fix="adapted = nn.lora(model, rank=8)"))
    made = copy_model(model)
    made = replace_layers(made, {id(layer): _merged(layer) for layer in made.modules().values()
                                 if isinstance(layer, Adapter)})
    made.unfreeze()
    return made


def _adapted(model: Module, targets: Sequence[str], train: Sequence[str], wrap: Callable[[str, Module], Module]) -> Any:
    """A copy of the model, frozen, whose layers of these names are wrapped."""
    if not model.built or any(isinstance(module, Adapter) for module in model.modules().values()):
        raise ArgumentError(explain("a plain model that was called once is adapted", got=shown(model),
                                    fix="model(x) first; nn.merge_lora(adapted) makes a plain model of an adapted one"))
    made = copy_model(model)
    chosen = {id(layer) for layer in _chosen(made, targets)}
    made.freeze()
    replaced = {}
    for name, layer in made.modules().items():
        if id(layer) in chosen:
            replaced[id(layer)] = wrap(name, layer)
            replaced[id(layer)].trace(*(layer._record.inputs or ()))
    made = replace_layers(made, replaced)
    if train:
        made.unfreeze(*([train] if isinstance(train, str) else train))
    return made


def _chosen(model: Module, targets: Sequence[str]) -> list[Module]:
    """The layers that the patterns name; ArgumentError for a pattern that names none."""
    patterns = [targets] if isinstance(targets, str) else list(targets)
    if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
        raise ArgumentError(explain("targets are patterns of names of layers", got=shown(targets),
                                    expected='for example ("*.query", "*.value")'))
    known = {name: module for name, module in model.modules().items() if _adaptable(module)}
    found: dict[str, Module] = {}
    for pattern in patterns:
        fitting = {name: module for name, module in known.items() if fnmatch.fnmatchcase(f".{name}", pattern)
                   or fnmatch.fnmatchcase(name, pattern)}
        if not fitting:
            raise ArgumentError(explain("no layer that can be adapted has such a name", got=pattern,
                                        fix=closest(pattern, known),
                                        expected=(", ".join([*known][:8])
                                                  or "a Dense layer or a convolution of one group")
                                        + (", …" if len(known) > 8 else "")))
        found |= fitting
    return list(found.values())


def _adaptable(module: Module) -> bool:
    if isinstance(module, Maxout | DepthwiseConvolution | TransposedConvolution) or not module.built:
        return False
    return isinstance(module, Dense | QuantizedDense) or (isinstance(module, Convolution) and module.groups == 1)


def _merged(adapter: Adapter) -> Module:
    """The layer with the weight of the adapted one."""
    base = adapter.base
    if isinstance(base, Convolution):
        made: Any = type(base)(**base.config())
    else:
        made = Dense(base.units, base.activation, base.use_bias, dtype=base.dtype)
    made.trace(*(adapter._record.inputs or ()))
    made.weight.assign(adapter.plain().astype(base.dtype))
    if base.use_bias:
        bias = wide(base.bias)
        made.bias.assign((bias * wide(adapter.scale) if isinstance(adapter, Scaled) and not adapter.inputs
                          else bias).astype(base.dtype))
    return made
