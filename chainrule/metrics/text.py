# SPDX-License-Identifier: Apache-2.0
"""BLEU (Papineni, Roukos, Ward and Zhu, 2002) of written texts against references, as WMT and sacreBLEU compute it.

In come texts as people write them, and their references; they are cut into words by the rules of mteval-v13a, so that
figures can be compared with published ones. From each text stay ten numbers, whose sums give the value of the corpus.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError, explain, shown
from ..typing import ArrayLike
from .base import Metric, Records, record_interval
from .intervals import Interval

__all__ = ["BLEU", "words_13a"]

ORDERS = 4
ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
CUTS = ((re.compile(r"([!-&(-+/:-@[-`{-~ ])"), r" \1 "),  # all ASCII punctuation but ' , - .
        (re.compile(r"([^0-9])([.,])"), r"\1 \2 "), (re.compile(r"([.,])([^0-9])"), r" \1 \2"),
        (re.compile(r"([0-9])(-)"), r"\1 \2 "))  # points and commas stay within numbers, as hyphens do outside them


def words_13a(text: str) -> list[str]:
    """The words and marks of a text by the rules of NIST's mteval-v13a."""
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, character in ENTITIES:
        text = text.replace(entity, character)
    text = f" {text} "
    for pattern, new in CUTS:
        text = pattern.sub(new, text)
    return text.split()


class BLEU(Metric):
    """100 min(1, e^(1 - r/h)) (p1 p2 p3 p4)^(1/4): p_n is the share of the texts' n-grams that a reference has too,
    each
    as often as in the reference that has it most often; h and r are the lengths of texts and nearest references.

    `update(texts, references)` takes strings, with one reference or a list of them for each text. Where no n-gram of an
    order fits, its share is half of that of one, a quarter for the next such order (sacreBLEU's smoothing "exp").
    Interval: bootstrap of the texts (Koehn, 2004).

    Args:
        tokenize: text -> words; None: the words are separated by spaces already.
        lowercase: before that.

    >>> metric = cr.metrics.BLEU()
    >>> metric.update(["the cat sat on the mat"], [["the cat sat on the mat"]])
    >>> metric.result()
    100.0
    """

    name = "bleu"

    def __init__(self, tokenize: Any = words_13a, lowercase: bool = False):
        self.tokenize, self.lowercase = tokenize or str.split, lowercase
        super().__init__()

    def reset(self) -> None:
        super().reset()
        self.sums = np.zeros(2 * ORDERS + 2)
        self.records = Records()

    def update(self, outputs: Sequence[str], targets: Sequence[Any], weights: ArrayLike | None = None) -> None:
        if weights is not None:
            raise ArgumentError(explain("BLEU does not weigh texts", got="weights",
                                        fix="leave texts that shall not count out"))
        if isinstance(outputs, str) or isinstance(targets, str):
            raise DTypeError(explain("BLEU compares lists of texts", got="one string",
                                     fix="update([text], [reference])"))
        if len(outputs) != len(targets):
            raise ShapeError(explain("each text needs its references",
                                     got=f"{len(outputs)} texts, {len(targets)} references"))
        rows = np.array([self._row(text, given)
                         for text, given in zip(outputs, targets, strict=True)]).reshape(-1, 2 * ORDERS + 2)
        self.sums += rows.sum(0)
        self.total += len(rows)
        self.records.add(rows)

    def _row(self, text: str, given: Any) -> list[float]:
        """Fitting n-grams of each order, all of them, length, length of the nearest reference."""
        references = [self._words(one) for one in ([given] if isinstance(given, str) else given)]
        if not references:
            raise ArgumentError(explain("a text has no reference", got=shown(text)))
        words = self._words(text)
        fitting, all_of_them = [], []
        for order in range(1, ORDERS + 1):
            counts, most = _grams(words, order), Counter()
            for reference in references:
                most |= _grams(reference, order)
            fitting.append((counts & most).total())
            all_of_them.append(counts.total())
        nearest = min((len(reference) for reference in references), key=lambda n: (abs(n - len(words)), n))
        return [*fitting, *all_of_them, len(words), nearest]

    def _words(self, text: str) -> list[str]:
        if not isinstance(text, str):
            raise DTypeError(explain("BLEU compares texts", got=f"{type(text).__name__} {text!r}"[:80],
                                     expected="strings", fix="decode the ids first: tokenizer.decode(ids)"))
        return self.tokenize(text.lower() if self.lowercase else text)

    def _value(self) -> float:
        return float(_bleu(self.sums[None])[0])

    def statistic(self, counts: np.ndarray) -> np.ndarray:
        """BLEU (resamples,) of samples in which each text that was kept occurs `counts` (resamples, texts) times."""
        return _bleu(counts @ self.records.rows)

    def _interval(self, level: float, value: float) -> Interval | None:
        return record_interval(value, self.statistic, len(self.records.rows), self.records.seen, level)


def _grams(words: list[str], order: int) -> Counter:
    return Counter(zip(*(words[i:] for i in range(order)), strict=False))


def _bleu(sums: np.ndarray) -> np.ndarray:
    """BLEU of each row of sums (n, 10)."""
    fitting, every, length, nearest = sums[:, :ORDERS], sums[:, ORDERS:2 * ORDERS], sums[:, -2], sums[:, -1]
    nothing = (fitting == 0) & (every > 0)
    smoothed = np.where(nothing, 0.5 ** np.cumsum(nothing, axis=1), fitting)
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithm = np.log(smoothed / every).mean(1) + np.minimum(0, 1 - nearest / length)
    return np.where((fitting.sum(1) > 0) & (every > 0).all(1), 100 * np.exp(np.nan_to_num(logarithm, neginf=-np.inf)),
                    0.0)
