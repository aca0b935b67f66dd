# SPDX-License-Identifier: Apache-2.0
"""The blocks of the transformer (Vaswani et al., 2017): attention and a two-layer network, each with a residual
connection."""

from __future__ import annotations

from typing import Any

from ...errors import ArgumentError, explain, shown
from ...ir.dtype import canonical
from ...typing import ActivationLike, DTypeLike
from ..composition.containers import Sequential
from ..core.checks import positive, probability
from ..core.module import Module
from ..layers.linear import Dense
from ..layers.normalization import LayerNorm, RMSNorm
from ..layers.regularization import Dropout
from .attention import MultiHeadAttention
from .cache import KeyValueCache


class GatedFeedForward(Module):
    """y = down(activation(gate(x)) * up(x)), each a Dense; with silu this is SwiGLU (Shazeer, 2020).

    Args:
        hidden: width of gate and up.
        activation: name, function or layer.
        bias: of the three.
        dropout: rate before down.

    >>> nn.GatedFeedForward(hidden=32)(cr.ones((2, 5, 8))).shape
    (2, 5, 8)
    """

    def __init__(self, hidden: int, activation: ActivationLike = "silu", bias: bool = False, dropout: float = 0.0,
                 dtype: DTypeLike = "float32"):
        self.hidden, self.use_bias, self.dtype = positive("hidden", hidden), bias, canonical(dtype)
        self.gate = Dense(hidden, activation=activation, bias=bias, dtype=dtype)
        self.up = Dense(hidden, bias=bias, dtype=dtype)
        self.dropout = Dropout(dropout)

    def _input_type(self) -> Any:
        return self.dtype

    def build(self, x: Any) -> None:
        self.down = Dense(x.shape[-1], bias=self.use_bias, dtype=self.dtype)

    def forward(self, x: Any) -> Any:
        return self.down(self.dropout(self.gate(x) * self.up(x)))


class TransformerLayer(Module):
    """What both blocks share.

    Args:
        heads: of each attention.
        hidden: width of the inner layer of the network.
        dropout: rate after each part, within the network and, unless attention_dropout says otherwise, of the weights
            of attention.
        activation: of the inner layer.
        norm_first: normalise what goes into each part (x + part(norm(x))), or what comes out (norm(x + part(x))).
        key_heads, positions: of the self-attention, see MultiHeadAttention.
        gated: the network is a GatedFeedForward.
        norm: "layer" (LayerNorm) or "rms" (RMSNorm).
        bias: of the attention and the network.
        epsilon: of the normalisations; None for their own default.
        rotary_base: of the angles of rotary positions.
        attention_dropout: rate for the weights of attention; with 0, training on long sequences needs memory for T + S
            instead of T x S.
        attention_options: further arguments of the self-attention, see MultiHeadAttention.
    """

    def __init__(self, heads: int, hidden: int, dropout: float = 0.0, activation: ActivationLike = "gelu",
                 norm_first: bool = True, dtype: DTypeLike = "float32", key_heads: int | None = None,
                 positions: str | None = None, gated: bool = False, norm: str = "layer", bias: bool = True,
                 epsilon: float | None = None, rotary_base: float = 10000.0, attention_dropout: float | None = None,
                 attention_options: dict[str, Any] | None = None):
        self.attention_options = dict(attention_options or {})
        self.key_heads, self.positions, self.gated, self.use_bias = key_heads, positions, gated, bias
        self.epsilon, self.rotary_base = epsilon, rotary_base
        if norm not in ("layer", "rms"):
            raise ArgumentError(explain("there is no such normalisation here", got=shown(norm), expected="layer | rms"))
        self.norm = norm
        self.heads, self.hidden = positive("heads", heads), positive("hidden", hidden)
        if hidden < heads:
            raise ArgumentError(explain("the inner layer is narrower than the number of heads",
                                        got=f"heads {heads}, hidden {hidden}",
                                        expected=f"{type(self).__name__}(heads, hidden): the width of the vectors is "
                                                 "read from the input",
                                        fix=f"if {heads} is the width: {type(self).__name__}({hidden}, {4 * heads})"))
        self.rate = probability("dropout", dropout)
        self.attention_rate = (self.rate if attention_dropout is None
                               else probability("attention_dropout", attention_dropout))
        self.activation, self.norm_first, self.dtype = activation, norm_first, canonical(dtype)

    def _input_type(self) -> Any:
        return self.dtype

    def _part(self, name: str, module: Module) -> None:
        options = {} if self.epsilon is None else {"epsilon": self.epsilon}
        setattr(self, f"norm_{name}", (LayerNorm if self.norm == "layer" else RMSNorm)(dtype=self.dtype, **options))
        setattr(self, name, module)
        setattr(self, f"dropout_{name}", Dropout(self.rate))

    def _network(self, width: int) -> Module:
        if self.gated:
            return GatedFeedForward(self.hidden, self.activation, self.use_bias, self.rate, self.dtype)
        return Sequential([Dense(self.hidden, activation=self.activation, bias=self.use_bias, dtype=self.dtype),
                           Dropout(self.rate), Dense(width, bias=self.use_bias, dtype=self.dtype)])

    def _self_attention(self) -> MultiHeadAttention:
        options = {"bias": self.use_bias, **self.attention_options}
        return MultiHeadAttention(self.heads, self.attention_rate, dtype=self.dtype, key_heads=self.key_heads,
                                  positions=self.positions, rotary_base=self.rotary_base, **options)

    def cache(self, batch: int, length: int) -> KeyValueCache:
        """Room for the self-attention's keys and values of so many steps."""
        self._build_from_shape()
        return self.attention.cache(batch, length)

    def _around(self, name: str, x: Any, run: Any) -> Any:
        norm, dropout = getattr(self, f"norm_{name}"), getattr(self, f"dropout_{name}")
        if self.norm_first:
            return x + dropout(run(norm(x)))
        return norm(x + dropout(run(x)))


class TransformerEncoderLayer(TransformerLayer):
    __doc__ = f"""Self-attention, then the network: (batch, steps, width) -> the same shape. {TransformerLayer.__doc__}

    >>> nn.TransformerEncoderLayer(heads=2, hidden=16)(cr.ones((2, 5, 8))).shape
    (2, 5, 8)
    """

    def build(self, x: Any) -> None:
        self._part("attention", self._self_attention())
        self._part("network", self._network(x.shape[-1]))

    def forward(self, x: Any, mask: Any = None, causal: bool = False, cache: Any = None) -> Any:
        x = self._around("attention", x, lambda y: self.attention(y, mask=mask, causal=causal, cache=cache))
        return self._around("network", x, self.network)


class TransformerDecoderLayer(TransformerLayer):
    __doc__ = f"""Causal self-attention, attention to `source` if there is one, then the network.
    {TransformerLayer.__doc__}

    >>> nn.TransformerDecoderLayer(heads=2, hidden=16)(cr.ones((2, 5, 8)), cr.ones((2, 7, 8))).shape
    (2, 5, 8)
    """

    def build(self, x: Any, source: Any = None) -> None:
        self._part("attention", self._self_attention())
        if source is not None:
            self._part("cross_attention",
                       MultiHeadAttention(self.heads, self.attention_rate, self.use_bias, self.dtype))
        self._part("network", self._network(x.shape[-1]))

    def forward(self, x: Any, source: Any = None, mask: Any = None, source_mask: Any = None, cache: Any = None) -> Any:
        x = self._around("attention", x, lambda y: self.attention(y, mask=mask, causal=True, cache=cache))
        if source is not None:
            x = self._around("cross_attention", x, lambda y: self.cross_attention(y, source, mask=source_mask))
        return self._around("network", x, self.network)
