# SPDX-License-Identifier: Apache-2.0
"""Classifiers of texts as ids: bags of n-grams (Joulin et al., 2017) and convolutions over words (Kim, 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import nn
from ..arrays import ones
from ..errors import ArgumentError, explain, shown
from ..ops.compose import concat, not_equal
from ..ops.elementwise import astype, less, where
from ..ops.movement import reshape
from ..ops.reduce import max as largest
from .ensemble import joined, members_of

KINDS = ("ngrams", "cnn")


class GramBag(nn.Module):
    """Logits of the mean vector of a text's n-grams, ids (N, count) with 0 for none; in training a share of the n-grams
    is left out.

    >>> cr.models.GramBag(2, vocabulary=10)(np.array([[1, 2, 0]])).shape
    (1, 2)
    """

    input_dtype = "int64"

    def __init__(self, outputs: int, vocabulary: int, width: int = 16, dropout: float = 0.2, gram_dropout: float = 0.3):
        self.bag = nn.EmbeddingBag(vocabulary, width, mask_id=0)
        self.leave_out, self.dropout, self.out = nn.Dropout(gram_dropout), nn.Dropout(dropout), nn.Dense(outputs)

    def forward(self, ids: Any) -> Any:
        kept = less(0.0, self.leave_out(ones(ids.shape)))
        return self.out(self.dropout(self.bag(where(kept, ids, 0))))


class TextCNN(nn.Module):
    """Logits of the largest answers of convolutions over 2, 3 and 4 neighbouring words, ids (N, words) with 0 behind
    the end.

    >>> cr.models.TextCNN(2, vocabulary=10)(np.array([[1, 2, 3, 4, 0]])).shape
    (1, 2)
    """

    input_dtype = "int64"

    def __init__(self, outputs: int, vocabulary: int, width: int = 64, filters: int = 64, dropout: float = 0.5):
        self.embedding = nn.Embedding(vocabulary, width)
        self.convolutions = [nn.Conv1D(filters, size, padding="same", activation="relu") for size in (2, 3, 4)]
        self.first, self.last, self.out = nn.Dropout(dropout), nn.Dropout(dropout), nn.Dense(outputs)

    def forward(self, ids: Any) -> Any:
        there = reshape(astype(not_equal(ids, 0), self.embedding.dtype), (*ids.shape, 1))
        x = self.first(self.embedding(ids)) * there
        found = [largest(convolution(x) * there, axis=1) for convolution in self.convolutions]
        return self.out(self.last(concat(found, axis=-1)))


class TextNetwork(nn.Module):
    """Several classifiers of texts as one, on (ids of n-grams, ids of words in order); its loss is one of
    `models.of_members`.

    Args:
        outputs: classes.
        grams, words: sizes of the two vocabularies.
        members: the kind of each, "ngrams" or "cnn".
        width: of the vectors of n-grams; words have four times as many numbers.
        dropout: of what comes before the last layer.

    >>> ids = np.array([[1, 2, 3, 4]])
    >>> cr.models.TextNetwork(2, grams=10, words=10, members=("ngrams", "cnn"))(ids, ids).shape
    (1, 2)
    """

    input_dtype = "int64"

    def __init__(self, outputs: int, grams: int, words: int, members: Sequence[str] = ("ngrams", "ngrams"),
                 width: int = 16, dropout: float = 0.2):
        if not members or any(kind not in KINDS for kind in members):
            raise ArgumentError(explain("there are no such classifiers of texts", got=shown(members),
                                        expected=f"several of {', '.join(KINDS)}"))
        self.reads = [kind == "ngrams" for kind in members]
        self.members = [GramBag(outputs, grams, width, dropout) if bag else TextCNN(outputs, words, 4 * width)
                        for bag in self.reads]

    def forward(self, grams: Any, words: Any, training: bool = False) -> Any:
        found = [member(grams if bag else words) for bag, member in zip(self.reads, self.members, strict=True)]
        return joined(members_of(found), "classes", training)


class NaiveBayesBag(nn.Module):
    """log P(class) + sum of log P(n-gram | class), of (ids of n-grams, ids of words): multinomial naive Bayes as a
    network.

    >>> ids = np.array([[1, 2], [3, 0]])
    >>> bayes = cr.models.NaiveBayesBag.of(ids, np.array([0, 1]), outputs=2, vocabulary=4)
    >>> np.asarray(bayes(ids, ids)).argmax(axis=1)
    array([0, 1])
    """

    input_dtype = "int64"

    def __init__(self, outputs: int, vocabulary: int):
        self.bag = nn.EmbeddingBag(vocabulary, outputs, "sum", mask_id=0)
        self.prior = nn.Dense(outputs)

    def forward(self, grams: Any, words: Any) -> Any:
        return self.prior(self.bag(grams))

    @classmethod
    def of(cls, ids: np.ndarray, labels: np.ndarray, outputs: int, vocabulary: int,
           alpha: float = 1.0) -> NaiveBayesBag:
        """From n-grams (N, count) and class numbers (N,), with `alpha` added to each count (Laplace's smoothing: 1)."""
        counts = np.full((vocabulary, outputs), alpha)
        np.add.at(counts, (ids, labels[:, None]), 1.0)
        counts[0] = alpha
        made = cls(outputs, vocabulary)
        made(ids[:1], ids[:1])
        made.bag.weight.assign((np.log(counts) - np.log(counts[1:].sum(axis=0))).astype(np.float32))
        made.prior.weight.assign(np.eye(outputs, dtype=np.float32))
        made.prior.bias.assign(np.log(np.bincount(labels, minlength=outputs) / len(labels)).astype(np.float32))
        return made
