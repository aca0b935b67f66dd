# SPDX-License-Identifier: Apache-2.0
"""Language models that read from left to right: tokens -> logits of the next token at each step.

One class; `gpt` and `llama` are its two well-known settings (Radford et al., 2019; Touvron et al., 2023).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from .. import nn
from ..errors import ArgumentError, ShapeError, explain
from ..ir import Type
from ..nn.transformers.cache import KeyValueCache
from ..ops.compose import matmul
from ..ops.index import iota
from ..ops.movement import permute_dims
from ..typing import ActivationLike

START = partial(nn.initializers.normal, std=0.02)


class LanguageModel(nn.Module):
    """Tokens (batch, steps) -> logits (batch, steps, vocabulary); a step sees itself and what came before.

    Args:
        vocabulary: number of tokens.
        length: most steps of a text.
        width, depth, heads: of the blocks; `heads` divides `width`.
        hidden: width of the network in each block; None: 4 * width.
        key_heads: see nn.MultiHeadAttention.
        positions: "learned" (added to the tokens), "rotary" or "alibi" (inside attention).
        norm, gated, activation, bias, dropout, epsilon, rotary_base, attention_dropout: of the blocks, see
            nn.TransformerEncoderLayer.
        attention_options: further arguments of the attention in each block, see nn.MultiHeadAttention.
        tied: the last layer is the table of tokens, transposed (Press and Wolf, 2017).

    >>> model = cr.models.LanguageModel(vocabulary=50, length=16, width=8, depth=1, heads=2)
    >>> model(np.array([[1, 2, 3]])).shape
    (1, 3, 50)
    """

    input_dtype = "int64"

    def __init__(self, vocabulary: int, length: int, width: int = 128, depth: int = 4, heads: int = 4,
                 hidden: int | None = None, key_heads: int | None = None, positions: str = "learned",
                 norm: str = "layer", gated: bool = False, activation: ActivationLike = "gelu_tanh", bias: bool = True,
                 dropout: float = 0.0, epsilon: float = 1e-5, rotary_base: float = 10000.0, tied: bool = True,
                 attention_dropout: float | None = None, attention_options: dict[str, Any] | None = None):
        if positions not in ("learned", "rotary", "alibi"):
            raise ArgumentError(explain("a language model knows no such positions", got=repr(positions),
                                        expected='"learned" | "rotary" | "alibi"'))
        self.vocabulary, self.length = vocabulary, length
        self.width, self.tied, self.attention_options = width, tied, attention_options
        self.tokens = nn.Embedding(vocabulary, width, weight_initializer=START)
        self.positions = nn.Embedding(length, width, weight_initializer=START) if positions == "learned" else None
        self.dropout = nn.Dropout(dropout)
        self.blocks = [nn.TransformerEncoderLayer(
            heads, hidden or 4 * width, dropout=dropout, activation=activation, key_heads=key_heads, gated=gated,
            norm=norm, bias=bias, positions=None if positions == "learned" else positions, epsilon=epsilon,
            rotary_base=rotary_base, attention_dropout=attention_dropout, attention_options=attention_options)
                       for _ in range(depth)]
        self.norm = (nn.LayerNorm if norm == "layer" else nn.RMSNorm)(epsilon=epsilon)
        self.head = None if tied else nn.Dense(vocabulary, bias=False)

    def forward(self, ids: Any, cache: list[KeyValueCache] | None = None, last: bool = False) -> Any:
        """Logits after each step; `last`: after the last one alone, (batch, 1, vocabulary), which spares the products
        of the others."""
        if ids.ndim != 2:
            raise ShapeError(explain("a language model reads tokens", got=f"shape {ids.shape}",
                                     expected="(batch, steps)", fix="one text is ids[None]"))
        x = self.dropout(self._placed(self.tokens(ids), cache))
        for i, block in enumerate(self.blocks):
            x = block(x, causal=True, cache=None if cache is None else cache[i])
        x = self.norm(x[:, -1:] if last else x)
        return matmul(x, permute_dims(self.tokens.weight.value, (1, 0))) if self.head is None else self.head(x)

    def _placed(self, x: Any, cache: list[KeyValueCache] | None) -> Any:
        """x with the learned positions added."""
        steps = x.shape[1]
        if steps > self.length:
            raise ShapeError(explain("the text is longer than the model can read", got=f"{steps} steps",
                                     expected=f"at most {self.length}", fix=f"cut it: ids[:, -{self.length}:]"))
        if self.positions is None:
            return x
        start: Any = 0 if cache is None else cache[0].start(steps)
        return x + self.positions(start + iota((steps,), 0))

    def cache(self, batch: int, length: int | None = None) -> list[KeyValueCache]:
        """Room for the keys and values of `length` steps (all that the model can read), one for each block."""
        if not self.built:
            self.trace(Type((batch, 1), np.dtype("int64")))
        return [block.cache(batch, length or self.length) for block in self.blocks]


def gpt(vocabulary: int, length: int = 1024, width: int = 768, depth: int = 12, heads: int = 12,
        dropout: float = 0.0) -> LanguageModel:
    """GPT-2 (Radford et al., 2019); the defaults are the small one, 124,439,808 parameters at a vocabulary of 50,257.

    >>> model = cr.models.gpt(vocabulary=50, length=16, width=8, depth=1, heads=2)
    >>> model(np.array([[1, 2, 3]])).shape
    (1, 3, 50)
    """
    return LanguageModel(vocabulary, length, width, depth, heads, dropout=dropout)


def llama(vocabulary: int, length: int = 2048, width: int = 768, depth: int = 12, heads: int = 12,
          key_heads: int | None = None, hidden: int | None = None, rotary_base: float = 10000.0, epsilon: float = 1e-6,
          tied: bool = False) -> LanguageModel:
    """Llama (Touvron et al., 2023): RMSNorm, rotary positions, SwiGLU, shared key heads, no biases.

    `hidden` is 8/3 width, rounded up to a multiple of 64, if not given.

    >>> model = cr.models.llama(vocabulary=50, length=16, width=8, depth=1, heads=2)
    >>> model(np.array([[1, 2, 3]])).shape
    (1, 3, 50)
    """
    hidden = hidden or -(-8 * width // 3 // 64) * 64
    return LanguageModel(vocabulary, length, width, depth, heads, hidden, key_heads, positions="rotary", norm="rms",
                         gated=True, activation="silu", bias=False, epsilon=epsilon, rotary_base=rotary_base, tied=tied)
