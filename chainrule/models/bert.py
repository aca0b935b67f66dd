# SPDX-License-Identifier: Apache-2.0
"""BERT (Devlin et al., 2019): a transformer that sees a whole text at once, and the task it is pre-trained with."""

from __future__ import annotations

from functools import partial
from typing import Any

from .. import nn
from ..errors import ShapeError, explain
from ..ops.compose import matmul, not_equal
from ..ops.elementwise import astype, zeros_like
from ..ops.index import iota
from ..ops.movement import permute_dims
from ..ops.reduce import cumulative_sum
from ..typing import ActivationLike

START = partial(nn.initializers.normal, std=0.02)


class BERT(nn.Module):
    """Tokens (batch, steps) -> (hidden states (batch, steps, width), pooled (batch, width)).

    Args:
        vocabulary, length: number of tokens; most steps of a text.
        width, depth, heads, hidden: of the blocks; the defaults are BERT base, 109,482,240 parameters at 30,522 tokens.
        types: kinds of segments (first text, second text); 0: none, as in DistilBERT.
        activation, dropout, epsilon, attention_dropout: of the blocks, see nn.TransformerEncoderLayer.
        pooled: whether the first token's hidden state goes through a layer with tanh; if not, it comes out as it is.
        padding: the id of padding, whose tokens have no positions: those of the others are counted from padding + 1, as
            in RoBERTa.

    Call it with `types` (batch, steps), 0 if not given, and `mask` (batch, steps), True where there is a token.

    >>> model = cr.models.BERT(vocabulary=100, length=16, width=8, depth=1, heads=2)
    >>> hidden, pooled = model(np.array([[1, 2, 3]]))
    >>> hidden.shape, pooled.shape
    ((1, 3, 8), (1, 8))
    """

    input_dtype = "int64"

    def __init__(self, vocabulary: int = 30522, length: int = 512, width: int = 768, depth: int = 12, heads: int = 12,
                 hidden: int | None = None, types: int = 2, activation: ActivationLike = "gelu", dropout: float = 0.1,
                 epsilon: float = 1e-12, attention_dropout: float | None = None, pooled: bool = True,
                 padding: int | None = None):
        self.length, self.padding = length, padding
        self.tokens, self.positions = (nn.Embedding(n, width, weight_initializer=START) for n in (vocabulary, length))
        self.types = nn.Embedding(types, width, weight_initializer=START) if types else None
        self.norm, self.dropout = nn.LayerNorm(epsilon=epsilon), nn.Dropout(dropout)
        self.blocks = [nn.TransformerEncoderLayer(heads, hidden or 4 * width, dropout=dropout, activation=activation,
                                                  norm_first=False, epsilon=epsilon,
                                                  attention_dropout=attention_dropout) for _ in range(depth)]
        self.pooler = nn.Dense(width, activation="tanh") if pooled else None

    def forward(self, ids: Any, types: Any = None, mask: Any = None) -> tuple[Any, Any]:
        most = self.length - (0 if self.padding is None else self.padding + 1)
        if ids.ndim != 2 or ids.shape[1] > most:
            raise ShapeError(explain("BERT reads tokens", got=f"shape {ids.shape}",
                                     expected=f"(batch, steps), at most {most} steps",
                                     fix="one text is ids[None]" if ids.ndim == 1 else f"cut it: ids[:, :{most}]"))
        x = self.tokens(ids) + self.positions(self._places(ids))
        x = x if self.types is None else x + self.types(zeros_like(ids) if types is None else types)
        x = self.dropout(self.norm(x))
        for block in self.blocks:
            x = block(x, mask=mask)
        return x, x[:, 0] if self.pooler is None else self.pooler(x[:, 0])

    def _places(self, ids: Any) -> Any:
        if self.padding is None:
            return iota((ids.shape[1],), 0)
        there = astype(not_equal(ids, self.padding), "int64")
        return cumulative_sum(there, axis=1) * there + self.padding


class MaskedLanguageModel(nn.Module):
    """Tokens, some of them hidden, -> logits (batch, steps, vocabulary) of what stands at each step.

    Args:
        encoder: a BERT; its table of tokens, transposed, is the last layer.

    >>> encoder = cr.models.BERT(vocabulary=100, length=16, width=8, depth=1, heads=2)
    >>> cr.models.MaskedLanguageModel(encoder)(np.array([[1, 2, 3]])).shape
    (1, 3, 100)
    """

    input_dtype = "int64"

    def __init__(self, encoder: BERT):
        self.encoder = encoder

    def build(self, ids: Any) -> None:
        width, vocabulary = self.encoder.tokens.width, self.encoder.tokens.vocabulary
        self.transform = nn.Dense(width, activation=self.encoder.blocks[0].activation)
        self.norm = nn.LayerNorm(epsilon=self.encoder.norm.epsilon)
        self.bias = nn.initializers.make("zeros", (vocabulary,), "float32", "bias")

    def forward(self, ids: Any, types: Any = None, mask: Any = None) -> Any:
        hidden, _ = self.encoder(ids, types=types, mask=mask)
        return matmul(self.norm(self.transform(hidden)),
                      permute_dims(self.encoder.tokens.weight.value, (1, 0))) + self.bias
