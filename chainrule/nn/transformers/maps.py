# SPDX-License-Identifier: Apache-2.0
"""What attention looks at: queries, keys, values and weights of every attention that runs, for inspection."""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...ir import Tensor
from ...ops.broadcast import broadcast_to
from ...ops.compose import softmax
from ...ops.contract import contract
from ...ops.elementwise import where, zeros_like
from ...typing import ArrayLike


@dataclass(frozen=True)
class AttentionRecord:
    """One run of one attention layer.

    Attributes:
        layer: the MultiHeadAttention.
        query: (batch, steps, heads, width), turned if positions are rotary.
        key, value: (batch, sources, heads, width), shared heads repeated.
        mask: what may be attended to, broadcasting to the weights; None for everything.
        bias: what is added to the scores; None for nothing.

    >>> layer, x = nn.MultiHeadAttention(heads=2), cr.ones((1, 3, 8))
    >>> with nn.recorded_attention() as records:
    ...     y = layer(x)
    >>> isinstance(records[0], nn.AttentionRecord), records[0].query.shape
    (True, (1, 3, 2, 4))
    """

    layer: Any
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None = None
    bias: Any = None

    @property
    def weights(self) -> Tensor:
        """softmax(q k^T / sqrt(d) + bias), (batch, heads, steps, sources): each row sums to 1 (0 if all is masked)."""
        return attention_weights(self.query, self.key, self.mask, self.bias)


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None = None, bias: ArrayLike | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias), (N, H, T, S).

    >>> q = cr.ones((1, 3, 1, 8))
    >>> nn.attention_weights(q, q).numpy()[0, 0, 0]
    array([0.33333334, 0.33333334, 0.33333334], dtype=float32)
    """
    scores = contract(q * (1 / math.sqrt(q.shape[-1])), k, contracting=((3,), (3,)), batch=((0, 2), (0, 2)))
    scores = scores if bias is None else scores + bias
    if mask is None:
        return softmax(scores)
    allowed = broadcast_to(mask, scores.shape)
    weights = softmax(where(allowed, scores, -1e30))
    return where(allowed, weights, zeros_like(weights))


Records = contextvars.ContextVar[list[AttentionRecord] | None]
_records: Records = contextvars.ContextVar("chainrule_attention", default=None)


@contextlib.contextmanager
def recorded_attention() -> Iterator[list[AttentionRecord]]:
    """Within, every MultiHeadAttention that runs outside `cr.compile` adds a record to the list that is given.

        with nn.recorded_attention() as records:
            model(ids)
        records[0].weights.numpy()

    Blocks may be nested; the innermost one gets the records.

    >>> layer, x = nn.MultiHeadAttention(heads=2), cr.ones((1, 3, 8))
    >>> with nn.recorded_attention() as records:
    ...     y = layer(x)
    >>> records[0].weights.shape
    (1, 2, 3, 3)
    """
    records: list[AttentionRecord] = []
    token = _records.set(records)
    try:
        yield records
    finally:
        _records.reset(token)


def recording_attention() -> bool:
    """Whether somebody wants records."""
    return _records.get() is not None


def record_attention(layer: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, bias: Any) -> None:
    """Called by attention layers with what they attend with."""
    records = _records.get()
    if records is not None:
        records.append(AttentionRecord(layer, q, k, v, mask, bias))
