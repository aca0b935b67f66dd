# SPDX-License-Identifier: Apache-2.0
"""Texts as rows of ids: words, and the n-grams of neighbouring words, that the training texts have often enough."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

WORD = re.compile(r"\w+(?:'\w+)?|[^\w\s]")
JOIN = " "
BEGIN, END = 5, 3  # letters
LONGEST = 1024  # ids of one text; what comes after says little more of what it is about


def words(text: str) -> list[str]:
    """Lower-case words, numbers and signs.

    >>> from chainrule.tasks.words import words
    >>> words("It's good, isn't it?")
    ["it's", 'good', ',', "isn't", 'it', '?']
    """
    return WORD.findall(str(text).lower())


def grams(tokens: Sequence[str], n: int) -> list[str]:
    """All runs of 1 to n neighbouring words, the start and the end of the text being words of their own, and how long
    words begin and end,
    which tells of words that were never seen (as the subwords of Bojanowski et al., 2017)."""
    found = [*tokens, *(f"{word[:BEGIN]}-" for word in tokens if len(word) > BEGIN),
             *(f"-{word[-END:]}" for word in tokens if len(word) > END + 1)]
    ends = ["<", *tokens, ">"]
    for size in range(2, n + 1):
        found += [JOIN.join(ends[i:i + size]) for i in range(len(ends) - size + 1)]
    return found


class Vocabulary:
    """The n-grams of training texts and their ids 1, 2, …; 0 fills up rows, and what is not known is left out or, in
    order, 1.

    Args:
        known: n-grams by id, from 1 (with `ordered`: from 2).
        n: longest run of words.
        ordered: keep the order of the words and mark unknown ones, for networks that see order; else a bag.
    """

    def __init__(self, known: Sequence[str], n: int = 1, ordered: bool = False):
        self.known, self.n, self.ordered = list(known), n, ordered
        self.ids = {gram: i for i, gram in enumerate(self.known, 2 if ordered else 1)}

    @classmethod
    def of(cls, texts: Iterable[str], n: int = 1, least: int = 2, most: int = 200_000,
           ordered: bool = False) -> Vocabulary:
        """Of the n-grams in at least `least` of the texts, the `most` that are in most texts."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(set(grams(words(text), n)))
        kept = sorted((gram for gram, count in counts.items() if count >= least),
                      key=lambda gram: (-counts[gram], gram))
        return cls(kept[:most], n, ordered)

    def __len__(self) -> int:
        """Ids, 0 included."""
        return len(self.known) + (2 if self.ordered else 1)

    def __call__(self, texts: Iterable[str], least: int = 1) -> np.ndarray:
        """Rows of ids (texts, longest), int64, filled up with 0 to at least `least` columns."""
        rows = [self._row(text)[:LONGEST] for text in texts]
        out = np.zeros((len(rows), max([least, *map(len, rows)])), np.int64)
        for i, row in enumerate(rows):
            out[i, :len(row)] = row
        return out

    def _row(self, text: str) -> list[int]:
        if self.ordered:
            return [self.ids.get(word, 1) for word in words(text)]
        return [self.ids[gram] for gram in grams(words(text), self.n) if gram in self.ids]

    def to_config(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"known": self.known, "n": self.n, "ordered": self.ordered}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Vocabulary:
        """The vocabulary that `to_config` described."""
        return cls(config["known"], int(config["n"]), bool(config["ordered"]))
