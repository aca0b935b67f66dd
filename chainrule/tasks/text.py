# SPDX-License-Identifier: Apache-2.0
"""`TextClassifier`: texts and their classes in, a classifier out, beside naive Bayes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import optim
from ..data import split
from ..errors import ArgumentError, DataError, explain, shown
from ..models.ensemble import of_members
from ..models.texts import NaiveBayesBag, TextNetwork
from ..train.fit import fit
from .answers import Classification
from .base import NETWORK
from .forms import is_pair, named, table, texts_of
from .words import Vocabulary

MODELS = ("ngrams", "cnn", "both")


class TextClassifier(Classification):
    """Which class a text belongs to.

    Args:
        model: "ngrams" (fastText's: the mean vector of words, pairs of words, and beginnings and ends of words), "cnn"
            (convolutions over words in order) or "both".
        members: networks of each kind that learn side by side and whose probabilities are averaged.
        n: longest run of words that counts as one n-gram.
        least: texts in which an n-gram must occur.
        width: of the vectors.
        dropout: share that is left out before the last layer in training.
        epochs, batch_size, learning_rate: of Adam, with a rate that falls to 0 by a half cosine; epochs None: by the
            number of texts.
        held_out: share of the training data to choose the best epoch by; 0: the last epoch.
        text, target: names of the columns, where data are tables.
        progress, backend: as in `cr.fit`.

    Data are (texts, labels); or a table (file, DataFrame, dict of columns, list of dicts) with the columns `text` and
    `target`. To predict: texts, or such a table. Baselines: the most frequent class, and multinomial naive Bayes on the
    same n-grams.

    >>> good = ["good fun", "great film", "good film", "great fun"]
    >>> bad = ["bad plot", "dull film", "bad end", "dull plot"]
    >>> texts = (good + bad) * 4
    >>> task = cr.tasks.TextClassifier(epochs=20).fit((texts, ["+", "+", "+", "+", "-", "-", "-", "-"] * 4))
    >>> task.predict(["what fun", "what a plot"]).tolist()
    ['+', '-']
    """

    model: str = "ngrams"
    members: int = 2
    n: int = 2
    least: int = 1
    width: int = 16
    dropout: float = 0.2
    epochs: int | None = None
    batch_size: int = 64
    learning_rate: float = 0.01
    held_out: float = 0.0
    text: str = "text"
    target: str = "label"
    progress: bool = False
    backend: str | None = None

    def check(self) -> None:
        """Raise ArgumentError for settings that make no sense."""
        super().check()
        if self.model not in MODELS:
            raise ArgumentError(explain("there is no such model of texts", got=f"model={shown(self.model)}",
                                        expected=" | ".join(MODELS)))

    def _learn(self, data: Any, validation: Any, seed: int) -> None:
        texts, labels = self._texts_and_labels(data)
        codes = self._classes_of(labels, fix="to predict numbers from texts, use cr.tasks.TabularRegressor")
        self._vocabularies(texts)
        x = self._ids(texts)
        self.epochs = self.epochs or max(4, min(10, round(200_000 / (4 * len(texts)))))
        network = TextNetwork(len(self.classes), len(self._grams), len(self._words), self._kinds(), self.width,
                              self.dropout)
        training, held = self._parts_of(x, codes, validation, seed)
        fit(network, training, loss=of_members("cross_entropy"), optimizer=self._optimizer(len(training[1])),
            epochs=self.epochs, batch_size=self.batch_size, validation=held, seed=seed, progress=self.progress,
            backend=self.backend)
        bayes = NaiveBayesBag.of(training[0][0], training[1], len(self.classes), len(self._grams))
        self.parts = {NETWORK: network, "naive Bayes": bayes}

    def _kinds(self) -> list[str]:
        chosen = ("ngrams", "cnn") if self.model == "both" else (self.model,)
        return [kind for kind in chosen for _ in range(self.members)]

    def _optimizer(self, samples: int) -> Any:
        steps = (self.epochs or 1) * -(-samples // self.batch_size)
        return optim.Adam(optim.schedules.cosine(self.learning_rate, steps), lazy=True)

    def _parts_of(self, x: Any, codes: np.ndarray, validation: Any, seed: int) -> tuple[Any, Any]:
        """(what is learnt from, what chooses the epoch)."""
        if validation is not None:
            texts, labels = self._texts_and_labels(validation)
            return (x, codes), (self._ids(texts), self._codes(labels))
        if not self.held_out:
            return (x, codes), None
        kept, held = split(len(codes), (1 - self.held_out, self.held_out), seed, stratify=codes)
        return tuple((tuple(part[rows] for part in x), codes[rows])
                     for rows in (kept, held))  # type: ignore[return-value]

    # ---- texts

    def _vocabularies(self, texts: list[str]) -> None:
        grams = Vocabulary.of(texts, self.n, self.least)
        if not grams.known:
            raise DataError(explain("the texts have no words", got=f"{len(texts):,} texts, such as {shown(texts[0])}",
                                    expected="words, or least=1"))
        words = (Vocabulary.of(texts, 1, self.least, ordered=True) if self.model != "ngrams"
                 else Vocabulary([], ordered=True))
        self.state["grams"], self.state["words"] = grams.to_config(), words.to_config()
        self.notes.append(f"{len(texts):,} texts, {len(grams.known):,} n-grams")

    @property
    def _grams(self) -> Vocabulary:
        return Vocabulary.from_config(self.state["grams"])

    @property
    def _words(self) -> Vocabulary:
        return Vocabulary.from_config(self.state["words"])

    def _ids(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """(ids of n-grams, ids of words in order); one column of zeros for the words where no network reads them."""
        grams = self._grams(texts)
        return grams, self._words(texts) if self.model != "ngrams" else np.zeros((len(texts), 1), np.int64)

    def _inputs(self, data: Any) -> Any:
        columns = table(data) if not isinstance(data, str) else None
        return self._ids(texts_of(named(columns, self.text, "the text") if columns is not None else data,
                                  type(self).__name__))

    def _pairs(self, data: Any) -> tuple[Any, np.ndarray]:
        texts, labels = self._texts_and_labels(data)
        return self._ids(texts), np.asarray(labels)

    def _texts_and_labels(self, data: Any) -> tuple[list[str], np.ndarray]:
        if is_pair(data):
            texts, labels = texts_of(data[0], type(self).__name__), np.asarray(data[1])
        elif (columns := table(data)) is not None:
            texts, labels = (texts_of(named(columns, self.text, "the text"), type(self).__name__),
                             named(columns, self.target, "the class"))
        else:
            raise DataError(explain("these are no texts with their classes", got=shown(data),
                                    expected="(texts, labels), or a table"))
        if len(texts) != len(labels) or labels.ndim != 1:
            raise DataError(explain("texts and labels come in pairs",
                                    got=f"{len(texts):,} texts, labels of shape {labels.shape}",
                                    expected="one label for each text"))
        return texts, labels
