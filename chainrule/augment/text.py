# SPDX-License-Identifier: Apache-2.0
"""Text: words dropped, deleted or exchanged, in rows of token ids (N, T) or words, with `padding` at the end.

A single sample may be a list of words; deleted words then make it shorter. Words of the padding are never touched.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError, explain
from .base import Augmentation, Batch, changed
from .checks import share
from .draws import Draws


def _rows(x: np.ndarray) -> np.ndarray:
    if x.ndim != 2 or x.dtype.kind not in "iuU":
        raise ShapeError(explain("rows of tokens are needed", got=f"{x.dtype} of shape {x.shape[1:]} for one sample",
                                 expected="token ids or words, (length,)"))
    return x


def _padding(x: np.ndarray, padding: Any) -> Any:
    return "" if x.dtype.kind == "U" else padding


class WordDropout(Augmentation):
    """Each word becomes `unknown` with probability `rate` (Iyyer et al., 2015).

    Args:
        rate: share of words.
        unknown: token id (for words: the text) that stands for a dropped word; by default 1 or "<unk>".
        padding: token id of the padding; the padding of words is "".
        probability: share of samples that are changed.

    >>> words = np.array([[5, 6, 7, 8]])
    >>> set(cr.augment.WordDropout(rate=0.5, unknown=1).batch(words, seed=0)[0].ravel()) <= {1, 5, 6, 7, 8}
    True
    """

    def __init__(self, rate: float = 0.1, unknown: Any = None, padding: int = 0, probability: float = 1.0):
        self.rate, self.unknown, self.padding, self.probability = share(rate), unknown, padding, share(probability)

    def apply(self, batch: Batch, draws: Draws) -> Batch:
        x = _rows(batch.x)
        dropped = (draws.uniform(x.shape[1]) < self.rate) & (x != _padding(x, self.padding))
        words = x.dtype.kind == "U"
        unknown = np.asarray(("<unk>" if words else 1) if self.unknown is None else self.unknown,
                             None if words else x.dtype)
        return changed(batch, x=np.where(dropped, unknown, x))


class WordDeletion(Augmentation):
    """Each word is left out with probability `rate`, at least one stays (Wei and Zou, 2019); the rest moves up and the
    padding grows. The arguments are those of WordDropout. Masks (N, T), numbers of the words such as tags, follow, with
    0 for the padding.

    >>> words = np.array([[5, 6, 7, 8]])
    >>> cr.augment.WordDeletion(rate=0.5).batch(words, seed=0)[0].shape
    (1, 4)
    """

    leaves_behind = ("boxes", "keypoints")

    def __init__(self, rate: float = 0.1, padding: int = 0, probability: float = 1.0):
        self.rate, self.padding, self.probability = share(rate), padding, share(probability)

    def apply(self, batch: Batch, draws: Draws) -> Batch:
        x = _rows(batch.x)
        padding = _padding(x, self.padding)
        u, word = draws.uniform(x.shape[1]), x != padding
        kept = word & (u >= self.rate)
        luckiest = np.where(word, u, -1).argmax(axis=1)
        none = word.any(axis=1) & ~kept.any(axis=1)
        kept[np.flatnonzero(none), luckiest[none]] = True
        order = np.argsort(~kept, axis=1, kind="stable")
        stays = np.take_along_axis(kept, order, axis=1)
        masks = None if batch.masks is None else _moved(np.asarray(batch.masks), order, stays, 0)
        return changed(batch, x=_moved(x, order, stays, padding), masks=masks)


def _moved(x: np.ndarray, order: np.ndarray, stays: np.ndarray, padding: Any) -> np.ndarray:
    """The words in `order`, and `padding` where none stays."""
    order, stays = (a.reshape(*a.shape, *(1,) * (x.ndim - 2)) for a in (order, stays))
    return np.where(stays, np.take_along_axis(x, order, axis=1), np.asarray(padding, x.dtype))


class WordSwap(Augmentation):
    """`times` times two words of the text, chosen at random, change places (Wei and Zou, 2019). Masks (N, T) follow.

    >>> words = np.array([[5, 6, 7, 8]])
    >>> sorted(cr.augment.WordSwap().batch(words, seed=0)[0].ravel().tolist())
    [5, 6, 7, 8]
    """

    leaves_behind = ("boxes", "keypoints")

    def __init__(self, times: int = 1, padding: int = 0, probability: float = 1.0):
        self.times, self.padding, self.probability = int(times), padding, share(probability)

    def apply(self, batch: Batch, draws: Draws) -> Batch:
        x, masks = _rows(batch.x).copy(), None if batch.masks is None else np.array(batch.masks)
        lengths = (x != _padding(x, self.padding)).sum(axis=1)
        rows = np.flatnonzero(lengths > 1)
        for _ in range(self.times):
            first, second = (np.floor(u * lengths).astype(np.intp)[rows] for u in draws.uniform(2).T)
            for array in (x, masks):
                if array is not None:
                    array[rows, first], array[rows, second] = array[rows, second], array[rows, first]
        return changed(batch, x=x, masks=masks)
