# SPDX-License-Identifier: Apache-2.0
"""The blocks of the transformer (Vaswani et al., 2017): attention and a two-layer network, each with a way round."""

from __future__ import annotations

from typing import Any

from ..ir.dtype import canonical
from .attention import MultiHeadAttention
from .checks import positive, probability
from .containers import Sequential
from .linear import Dense
from .module import Module
from .normalization import LayerNorm
from .regularization import Dropout


class TransformerLayer(Module):
    """What both blocks share.

    Args:
        heads: of each attention.
        hidden: width of the inner layer of the network.
        dropout: rate after each part.
        activation: of the inner layer.
        norm_first: normalise what goes into each part (x + part(norm(x))), or what comes out (norm(x + part(x))).
    """

    def __init__(self, heads: int, hidden: int, dropout: float = 0.0, activation: Any = "gelu", norm_first: bool = True,
                 dtype: Any = "float32"):
        self.heads, self.hidden = positive("heads", heads), positive("hidden", hidden)
        self.rate = probability("dropout", dropout)
        self.activation, self.norm_first, self.dtype = activation, norm_first, canonical(dtype)

    def _input_type(self) -> Any:
        return self.dtype

    def _part(self, name: str, module: Module) -> None:
        setattr(self, f"norm_{name}", LayerNorm(dtype=self.dtype))
        setattr(self, name, module)
        setattr(self, f"dropout_{name}", Dropout(self.rate))

    def _network(self, width: int) -> Module:
        return Sequential([Dense(self.hidden, activation=self.activation, dtype=self.dtype), Dropout(self.rate),
                           Dense(width, dtype=self.dtype)])

    def _around(self, name: str, x: Any, run: Any) -> Any:
        norm, dropout = getattr(self, f"norm_{name}"), getattr(self, f"dropout_{name}")
        if self.norm_first:
            return x + dropout(run(norm(x)))
        return norm(x + dropout(run(x)))


class TransformerEncoderLayer(TransformerLayer):
    __doc__ = f"Self-attention, then the network: (batch, steps, width) -> the same shape. {TransformerLayer.__doc__}"

    def build(self, x: Any) -> None:
        self._part("attention", MultiHeadAttention(self.heads, dtype=self.dtype))
        self._part("network", self._network(x.shape[-1]))

    def forward(self, x: Any, mask: Any = None, causal: bool = False) -> Any:
        x = self._around("attention", x, lambda y: self.attention(y, mask=mask, causal=causal))
        return self._around("network", x, self.network)


class TransformerDecoderLayer(TransformerLayer):
    __doc__ = f"""Causal self-attention, attention to `source` if there is one, then the network.
    {TransformerLayer.__doc__}"""

    def build(self, x: Any, source: Any = None) -> None:
        self._part("attention", MultiHeadAttention(self.heads, dtype=self.dtype))
        if source is not None:
            self._part("cross_attention", MultiHeadAttention(self.heads, dtype=self.dtype))
        self._part("network", self._network(x.shape[-1]))

    def forward(self, x: Any, source: Any = None, mask: Any = None, source_mask: Any = None) -> Any:
        x = self._around("attention", x, lambda y: self.attention(y, mask=mask, causal=True))
        if source is not None:
            x = self._around("cross_attention", x, lambda y: self.cross_attention(y, source, mask=source_mask))
        return self._around("network", x, self.network)
