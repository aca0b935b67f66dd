# SPDX-License-Identifier: Apache-2.0
"""The transformer as its paper used it (Vaswani et al., 2017): ids of one language in, logits of the other's next id
out."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from .. import nn
from ..compiler.compile import compile
from ..errors import ArgumentError, BoundsError, explain
from ..ir import no_grad
from ..nn.layers.embedding import sinusoidal
from ..ops.compose import matmul, not_equal
from ..ops.index import iota, take
from ..ops.movement import permute_dims
from ..typing import ActivationLike, ArrayLike
from .sequences import greedy


class TranslationTransformer(nn.Module):
    """Sequence to sequence: ids (N, S) and the target's ids (N, T) -> logits (N, T, outputs) of each next id.

    In training the target comes shifted by one step, with a start mark in front (teacher forcing); `generate` gives its
    own answers back to the decoder. Id 0 is what does not exist, in both.

    Args:
        vocabulary: of the source.
        outputs: vocabulary of the target; None: both share one table, which transposed is the last layer too.
        width, depth, heads, hidden: of the blocks, `depth` in the encoder and in the decoder; `heads` divides `width`.
        length: most steps of a sequence.
        dropout, norm_first, activation, attention_dropout: see nn.TransformerEncoderLayer; dropout also after the
            embeddings.

    >>> model = cr.models.TranslationTransformer(vocabulary=50, outputs=40, width=8, depth=1, heads=2)
    >>> model(np.array([[1, 2, 3]]), np.array([[4, 5]])).shape
    (1, 2, 40)
    """

    input_dtype = "int64"

    def __init__(self, vocabulary: int, outputs: int | None = None, width: int = 256, depth: int = 3, heads: int = 4,
                 hidden: int | None = None, length: int = 512, dropout: float = 0.1, norm_first: bool = True,
                 activation: ActivationLike = "relu", attention_dropout: float | None = None):
        start = partial(nn.initializers.normal, std=width**-0.5)
        self.width, self.length = width, length
        self.source = nn.Embedding(vocabulary, width, weight_initializer=start)
        self.target = None if outputs is None else nn.Embedding(outputs, width, weight_initializer=start)
        self.logits = None if outputs is None else nn.Dense(outputs, bias=False)
        self.transformer = nn.Transformer(heads, hidden or 4 * width, depth, depth, dropout=dropout,
                                          norm_first=norm_first, activation=activation,
                                          attention_dropout=attention_dropout)
        self.dropout = nn.Dropout(dropout)

    def _placed(self, table: nn.Embedding, ids: Any, start: Any = 0) -> Any:
        """Vectors of the ids, scaled by the root of their width, with the sinusoids of their positions."""
        steps = ids.shape[1]
        if steps > self.length:
            raise BoundsError(explain("the sequence is longer than the model can read", got=f"{steps} steps",
                                      expected=f"at most {self.length}", fix=f"length={steps}, or cut it"))
        waves = take(sinusoidal(self.length, self.width).astype(np.float32), start + iota((steps,), 0), axis=0)
        return self.dropout(table(ids) * math.sqrt(self.width) + waves)

    def encode(self, source: ArrayLike) -> tuple[Any, Any]:
        """(what the decoder looks at, (N, S, width); which steps of it exist)."""
        mask = not_equal(source, 0)
        return self.transformer.encode(self._placed(self.source, source), mask), mask

    def decode(self, target: ArrayLike, memory: ArrayLike, mask: ArrayLike, cache: Any = None) -> Any:
        """Logits for the id after each step of the target; with `cache`, of its next steps."""
        start: Any = 0 if cache is None else cache[0].start(target.shape[1])
        steps = self._placed(self.source if self.target is None else self.target, target, start)
        steps = self.transformer.decode(steps, memory, mask, cache=cache)
        return (matmul(steps, permute_dims(self.source.weight.value, (1, 0))) if self.logits is None
                else self.logits(steps))

    def forward(self, source: Any, target: Any) -> Any:
        return self.decode(target, *self.encode(source))

    def generate(self, source: ArrayLike, start: int, end: int, most: int = 50) -> list[list[int]]:
        """The likeliest next id, step by step, until `end` or `most` steps; without start and end marks."""
        if not 1 <= most <= self.length:
            raise ArgumentError(explain("the model cannot write so much", got=f"most={most}",
                                        expected=f"1 to {self.length}"))
        source = np.asarray(source)
        with no_grad():
            if not self.built:
                self(source[:1], np.full((1, 1), start))
            memory, mask = compile(self.encode)(source)
            cache = self.transformer.cache(len(source), most)
            step = compile(lambda ids, memory, mask: self.decode(ids, memory, mask, cache)[:, -1])
            return greedy(lambda ids: step(ids, memory, mask), len(source), start, end, most)
