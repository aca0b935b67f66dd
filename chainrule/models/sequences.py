# SPDX-License-Identifier: Apache-2.0
"""Templates for sequences: one answer for a sequence, one for each step, and another sequence.

Sequences of ids (N, T), with 0 where a shorter one has ended, or of vectors (N, T, features). The encoder-decoder is a
recurrent network that looks back at the source by additive attention (Bahdanau, Cho and Bengio, 2015; Luong, Pham and
Manning, 2015).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import nn
from ..compiler.compile import compile
from ..errors import ArgumentError, explain
from ..foundations.names import closest
from ..ir import no_grad
from ..ops.compose import concat, not_equal
from ..typing import ArrayLike

KINDS = {"rnn": nn.SimpleRNN, "lstm": nn.LSTM, "gru": nn.GRU}


def _recurrent(kind: str) -> Any:
    if kind not in KINDS:
        raise ArgumentError(explain("there is no such recurrent layer", got=repr(kind), expected=" | ".join(KINDS),
                                    fix=closest(kind, KINDS)))
    return KINDS[kind]


def _stack(kind: str, units: int, layers: int, both_ways: bool, dropout: float, every_step: bool) -> list[nn.Module]:
    found: list[nn.Module] = []
    for i in range(layers):
        layer = _recurrent(kind)(units, return_sequences=every_step or i + 1 < layers)
        found += [nn.Bidirectional(layer) if both_ways else layer, *([nn.Dropout(dropout)] if dropout else [])]
    return found


def _model(outputs: int, vocabulary: int | None, embedding: int, parts: list[nn.Module],
           dropout: float) -> nn.Sequential:
    first = [] if vocabulary is None else [nn.Embedding(vocabulary, embedding, mask_id=0),
                                           *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential([*first, *parts, nn.Dense(outputs)])


def sequence_classifier(outputs: int, vocabulary: int | None = None, units: int = 64, embedding: int = 64,
                        kind: str = "gru", layers: int = 1, both_ways: bool = True,
                        dropout: float = 0.0) -> nn.Sequential:
    """Many to one: logits (or numbers) (N, outputs) for sequences.

    Args:
        vocabulary: number of ids, 0 among them for what does not exist; None for sequences of vectors.
        units, embedding: widths.
        kind: "gru", "lstm" or "rnn".
        layers: on top of each other.
        both_ways: from both ends.
        dropout: rate after the embedding and each layer.

    >>> model = cr.models.sequence_classifier(3, vocabulary=50, units=8, embedding=8)
    >>> model(np.array([[1, 2, 3, 4]])).shape
    (1, 3)
    """
    return _model(outputs, vocabulary, embedding, _stack(kind, units, layers, both_ways, dropout, False), dropout)


def sequence_tagger(outputs: int, vocabulary: int | None = None, units: int = 64, embedding: int = 64,
                    kind: str = "gru", layers: int = 1, both_ways: bool = True, dropout: float = 0.0) -> nn.Sequential:
    """Many to many: logits (N, T, outputs), one for each step; with both_ways=False a step sees only what came before,
    which makes a language model. Arguments as of `sequence_classifier`.

    >>> model = cr.models.sequence_tagger(3, vocabulary=50, units=8, embedding=8)
    >>> model(np.array([[1, 2, 3, 4]])).shape
    (1, 4, 3)
    """
    return _model(outputs, vocabulary, embedding, _stack(kind, units, layers, both_ways, dropout, True), dropout)


class EncoderDecoder(nn.Module):
    """Sequence to sequence: ids (N, S) and the target's ids (N, T) -> logits (N, T, outputs) of each next id.

    In training the target comes shifted by one step, with a start mark in front (teacher forcing); `generate` gives its
    own answers back to the decoder.

    Args:
        vocabulary: of the source, with 0 for what does not exist.
        outputs: vocabulary of the target, with 0 for what does not exist.
        units, embedding: widths.
        kind: "gru", "lstm" or "rnn".
        dropout: rate after the embeddings and before the last layer.

    >>> model = cr.models.EncoderDecoder(vocabulary=50, outputs=40, units=8, embedding=8)
    >>> model(np.array([[1, 2, 3]]), np.array([[4, 5]])).shape
    (1, 2, 40)
    """

    input_dtype = "int64"

    def __init__(self, vocabulary: int, outputs: int, units: int = 64, embedding: int = 64, kind: str = "gru",
                 dropout: float = 0.0):
        layer = _recurrent(kind)
        self.source, self.target = nn.Embedding(vocabulary, embedding), nn.Embedding(outputs, embedding)
        self.encoder = nn.Bidirectional(layer(units, return_sequences=True))
        self.decoder = layer(2 * units, return_sequences=True, return_state=True)
        self.attention = nn.AdditiveAttention(units)
        self.joined, self.logits = nn.Dense(units, activation="tanh"), nn.Dense(outputs)
        self.dropout = nn.Dropout(dropout)

    def encode(self, source: ArrayLike) -> tuple[Any, Any]:
        """(what the decoder looks back at, (N, S, 2 units); which steps of it exist)."""
        mask = not_equal(source, 0)
        return self.encoder(self.dropout(self.source(source)), mask=mask), mask

    def decode(self, target: ArrayLike, memory: ArrayLike, mask: ArrayLike, states: Any = None) -> tuple[Any, Any]:
        """(logits for the id after each step of the target, states after the last one)."""
        steps, states = self.decoder(self.dropout(self.target(target)), states=states)
        context = self.attention(steps, memory, mask=mask)
        return self.logits(self.dropout(self.joined(concat([steps, context], axis=-1)))), states

    def forward(self, source: Any, target: Any) -> Any:
        memory, mask = self.encode(source)
        return self.decode(target, memory, mask)[0]

    def generate(self, source: ArrayLike, start: int, end: int, most: int = 50) -> list[list[int]]:
        """The likeliest next id, step by step, until `end` or `most` steps; without start and end marks."""
        with no_grad():
            memory, mask = compile(self.encode)(np.asarray(source))
            n = memory.shape[0]
            states = self.decoder._states(None, n)
            step = compile(lambda ids, states: self.decode(ids, memory, mask, states))

            def following(ids: np.ndarray) -> Any:
                nonlocal states
                logits, states = step(ids, list(states))
                return logits[:, -1]
            return greedy(following, n, start, end, most)


def greedy(following: Callable[[np.ndarray], Any], count: int, start: int, end: int, most: int) -> list[list[int]]:
    """So many sequences, each step the likeliest by the logits (count, ids) that `following` gives for the last ids
    (count, 1), until all have ended or `most` steps; without start and end marks."""
    if most < 1:
        raise ArgumentError(explain("nothing is asked for", got=f"most={most}", expected="at least 1 step"))
    ids, found = np.full((count, 1), start), []
    for _ in range(most):
        ids = following(ids).numpy().argmax(-1)[:, None]
        found.append(ids[:, 0])
        if np.all(np.any(np.stack(found) == end, axis=0)):
            break
    return [_until(row, end) for row in np.stack(found, 1).tolist()]


def _until(ids: list[int], end: int) -> list[int]:
    return ids[:ids.index(end)] if end in ids else ids
