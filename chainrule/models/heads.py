# SPDX-License-Identifier: Apache-2.0
"""What an encoder is fine-tuned for: a class for each text, a class for each token, an answer in a text (Devlin et al.,
2019, section 4)."""

from __future__ import annotations

from functools import partial
from typing import Any

from .. import nn
from .bert import BERT

START = partial(nn.initializers.normal, std=0.02)


class WithEncoder(nn.Module):
    """What the heads share: tokens (batch, steps), with `types` and `mask` as a BERT takes them."""

    input_dtype = "int64"

    def _hidden(self, ids: Any, types: Any, mask: Any) -> tuple[Any, Any]:
        return self.encoder(ids, types=types, mask=mask)


class SequenceClassifier(WithEncoder):
    """Tokens -> logits (batch, classes) of the text.

    Args:
        encoder: a BERT.
        classes: how many logits come out.
        dropout: rate before the last layer.
        activation: of a layer between the first token's hidden state and the last layer ("tanh" in RoBERTa, "relu" in
            DistilBERT); None: the encoder's pooled state goes into the last layer.

    >>> encoder = cr.models.BERT(vocabulary=9, length=8, width=8, depth=1, heads=2)
    >>> ids = np.array([[1, 4, 2]])
    >>> cr.models.SequenceClassifier(encoder, classes=3)(ids).shape
    (1, 3)
    """

    def __init__(self, encoder: BERT, classes: int, dropout: float = 0.1, activation: str | None = None):
        self.encoder, self.classes, self.dropout = encoder, classes, nn.Dropout(dropout)
        self.transform = (None if activation is None
                          else nn.Dense(encoder.tokens.width, activation=activation, weight_initializer=START))
        self.head = nn.Dense(classes, weight_initializer=START)

    def forward(self, ids: Any, types: Any = None, mask: Any = None) -> Any:
        hidden, pooled = self._hidden(ids, types, mask)
        return self.head(self.dropout(pooled if self.transform is None else self.transform(hidden[:, 0])))


class TokenClassifier(WithEncoder):
    """Tokens -> logits (batch, steps, classes), such as the kinds of names.

    Args:
        encoder, classes, dropout: as in SequenceClassifier.

    >>> encoder = cr.models.BERT(vocabulary=9, length=8, width=8, depth=1, heads=2)
    >>> ids = np.array([[1, 4, 2]])
    >>> cr.models.TokenClassifier(encoder, classes=3)(ids).shape
    (1, 3, 3)
    """

    def __init__(self, encoder: BERT, classes: int, dropout: float = 0.1):
        self.encoder, self.classes, self.dropout = encoder, classes, nn.Dropout(dropout)
        self.head = nn.Dense(classes, weight_initializer=START)

    def forward(self, ids: Any, types: Any = None, mask: Any = None) -> Any:
        return self.head(self.dropout(self._hidden(ids, types, mask)[0]))


class SpanReader(WithEncoder):
    """Tokens of a question and a text -> (logits of the answer's first token, of its last one), each (batch, steps).

    Args:
        encoder: a BERT.

    >>> encoder = cr.models.BERT(vocabulary=9, length=8, width=8, depth=1, heads=2)
    >>> ids = np.array([[1, 4, 2]])
    >>> first, last = cr.models.SpanReader(encoder)(ids)
    >>> first.shape, last.shape
    ((1, 3), (1, 3))
    """

    def __init__(self, encoder: BERT):
        self.encoder, self.head = encoder, nn.Dense(2, weight_initializer=START)

    def forward(self, ids: Any, types: Any = None, mask: Any = None) -> tuple[Any, Any]:
        y = self.head(self._hidden(ids, types, mask)[0])
        return y[:, :, 0], y[:, :, 1]
