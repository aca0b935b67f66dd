# SPDX-License-Identifier: Apache-2.0
"""Text as numbers: a tokenizer of characters, and a long text cut into training samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..errors import DataError, explain
from ..typing import ArrayLike


class CharacterTokenizer:
    """Each character of a text is a token; ids follow the order of the code points.

    Args:
        text: whose characters are the vocabulary, or the characters themselves in order.
        unknown: a character that stands for all that are not in the vocabulary; None raises DataError for them.

    >>> tokenizer = cr.data.CharacterTokenizer("banana")
    >>> tokenizer.encode("nab"), tokenizer.decode([2, 0, 1])
    ([2, 0, 1], 'nab')
    """

    def __init__(self, text: Iterable[str], unknown: str | None = None):
        self.characters = sorted(set(text) | ({unknown} if unknown else set()))
        self.ids = {c: i for i, c in enumerate(self.characters)}
        self.unknown = unknown

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        if self.unknown is not None:
            return [self.ids.get(c, self.ids[self.unknown]) for c in text]
        try:
            return [self.ids[c] for c in text]
        except KeyError as error:
            raise DataError(explain("a character is not in the vocabulary",
                                    got=f"{error.args[0]!r} at position {text.index(error.args[0])}",
                                    expected=f"one of {len(self)} characters",
                                    fix="CharacterTokenizer(text, unknown='?')")) from None

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids."""
        return "".join(self.characters[int(i)] for i in ids)

    def token_to_id(self, token: str) -> int | None:
        """The id of a character, if it has one."""
        return self.ids.get(token)

    def id_to_token(self, index: int) -> str:
        """The character of an id."""
        return self.characters[index]


def pack(tokens: ArrayLike, length: int, stride: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(x, y), both (samples, length): each y is its x one token later, as next-token prediction wants it.

    Args:
        tokens: one long text (n,), or several texts to be put one after another.
        stride: from the start of a sample to the next; None: `length`, so that each token is predicted once.

    >>> x, y = cr.data.pack([0, 1, 2, 3, 4], length=2)
    >>> x, y
    (array([[0, 1],
           [2, 3]]), array([[1, 2],
           [3, 4]]))
    """
    parts = [np.asarray(t, np.int64).ravel() for t in (tokens if isinstance(tokens, list | tuple) and len(tokens)
                                                       and np.ndim(tokens[0]) else [tokens])]
    flat, stride = np.concatenate(parts), stride or length
    if len(flat) <= length:
        raise DataError(explain("the text is too short", got=f"{len(flat)} tokens", expected=f"more than {length}",
                                fix="use shorter samples"))
    windows = np.lib.stride_tricks.sliding_window_view(flat, length + 1)[::stride]
    return np.ascontiguousarray(windows[:, :-1]), np.ascontiguousarray(windows[:, 1:])
