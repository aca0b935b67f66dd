# SPDX-License-Identifier: Apache-2.0
"""The task of masked language modelling: hide some tokens, and ask what stood there (Devlin et al., 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ArgumentError, explain
from ..metrics.scores import softmax
from ..typing import ArrayLike, ModelLike, Tokenizer

IGNORED = -100


def mask_tokens(ids: ArrayLike, vocabulary: int, mask_id: int, special: Sequence[int] = (), rate: float = 0.15,
                seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(inputs, targets): each token is chosen with probability `rate`; of the chosen ones 80 % become `mask_id`, 10 % a
    random token and 10 % stay. Targets are the tokens where chosen and -100 elsewhere, for cross_entropy's
    ignore_label=-100.

    Args:
        ids: tokens (batch, steps).
        special: tokens that are never chosen, such as padding and separators.
        seed: the choice is a function of it.

    >>> ids = np.arange(10, 30)[None]
    >>> inputs, targets = cr.models.mask_tokens(ids, vocabulary=100, mask_id=1, rate=0.5, seed=0)
    >>> inputs.shape, bool((inputs == 1).any())
    ((1, 20), True)
    """
    if not 0 < rate < 1:
        raise ArgumentError(explain("the rate of hidden tokens is not a probability", got=str(rate),
                                    expected="0 < rate < 1"))
    ids, rng = np.asarray(ids), np.random.default_rng(seed)
    chosen = (rng.random(ids.shape) < rate) & ~np.isin(ids, list(special))
    way = rng.random(ids.shape)
    shown = np.where(way < 0.8, mask_id, np.where(way < 0.9, rng.integers(0, vocabulary, ids.shape), ids))
    return np.where(chosen, shown, ids), np.where(chosen, ids, IGNORED)


def fill_mask(model: ModelLike, tokenizer: Tokenizer, text: str, top: int = 5,
              mask: str = "[MASK]") -> list[list[tuple[str, float]]]:
    """For each mask in a text, the `top` likeliest tokens with their probabilities.

    Args:
        model: a MaskedLanguageModel.
        tokenizer: something with encode(text) -> ids (or an object with .ids), token_to_id(token) and id_to_token(id).

    >>> from tokenizers import Tokenizer, models, pre_tokenizers
    >>> words = Tokenizer(models.WordLevel({"[MASK]": 0, "the": 1, "cat": 2}, unk_token="the"))
    >>> words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    >>> encoder = cr.models.BERT(vocabulary=3, length=8, width=8, depth=1, heads=2)
    >>> found = cr.models.fill_mask(cr.models.MaskedLanguageModel(encoder), words, "the [MASK]", top=2)
    >>> len(found[0])
    2
    """
    encoded = tokenizer.encode(text)
    ids = np.asarray([list(getattr(encoded, "ids", encoded))], np.int64)
    places = np.flatnonzero(ids[0] == tokenizer.token_to_id(mask))
    if not len(places):
        raise ArgumentError(explain("the text hides nothing", got=repr(text), expected=f"at least one {mask}"))
    p = softmax(model(ids).numpy()[0, places].astype(np.float64))
    best = np.argsort(-p, axis=-1, kind="stable")[:, :top]
    return [[(tokenizer.id_to_token(int(i)), float(row[i])) for i in found] for row, found in zip(p, best, strict=True)]
