# SPDX-License-Identifier: Apache-2.0
"""Attention: softmax(q k^T / sqrt(d)) v over several heads (Vaswani et al., 2017). A mask is True where to attend."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ArgumentError, DTypeError, ShapeError, explain
from ..ir import Tensor, as_tensor
from ..ir.dtype import bool_, canonical, int32
from ..ops import types
from ..ops.broadcast import broadcast_to
from ..ops.compose import softmax
from ..ops.contract import contract
from ..ops.elementwise import less_equal, where, zeros_like
from ..ops.index import iota
from ..ops.movement import permute_dims, reshape
from .checks import describe, need_float, origin, positive, probability
from .linear import Dense
from .module import Module
from .regularization import Dropout

NAMES = ("batch", "steps", "width")


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d)) v for q (N, T, H, d), k and v (N, S, H, d) -> (N, T, H, d).

    The mask (N, H, T, S) is True where to attend. A query that may attend to nothing gets 0.
    """
    weights = attention_weights(q, k, mask)
    y = contract(weights, v, contracting=((3,), (1,)), batch=((0, 1), (0, 2)))
    return permute_dims(y, (0, 2, 1, 3))


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d)), (N, H, T, S)."""
    scores = contract(q * (1 / math.sqrt(q.shape[-1])), k, contracting=((3,), (3,)), batch=((0, 2), (0, 2)))
    if mask is None:
        return softmax(scores)
    allowed = broadcast_to(mask, scores.shape)
    weights = softmax(where(allowed, scores, -1e30))
    return where(allowed, weights, zeros_like(weights))


def causal_mask(steps: int, sources: int) -> Tensor:
    """(1, 1, T, S): a step sees itself and what came before; the last step sees all sources."""
    shape = (1, 1, steps, sources)
    return less_equal(iota(shape, 3, int32), iota(shape, 2, int32) + (sources - steps))


def read_mask(mask: Any, shape: tuple[int, ...]) -> Tensor:
    """A mask (N, S), (N, T, S) or (N, H, T, S) as one that broadcasts to `shape` = (N, H, T, S)."""
    mask = as_tensor(mask)
    if mask.dtype != bool_:
        raise DTypeError(explain(f"the mask holds {mask.dtype}", got=f"{mask.dtype}{list(mask.shape)}",
                                 expected="booleans, True: attend",
                                 fix="compare first, for example mask = ids != 0"))
    n, _, _, sources = shape
    given = mask.shape
    if mask.ndim == 2 and given in ((n, sources), (1, sources)):
        mask = reshape(mask, (given[0], 1, 1, sources))
    elif mask.ndim == 3:
        mask = reshape(mask, (given[0], 1, *given[1:]))
    try:
        fits = mask.ndim == 4 and types.broadcast_shapes(mask.shape, shape) == shape
    except ShapeError:
        fits = False
    if not fits:
        raise ShapeError(explain("the mask does not fit the attention scores", got=f"mask {given}",
                                 expected=f"(batch {n}, sources {sources}), (batch, steps, sources) or "
                                          f"(batch, heads, steps, sources) for scores {shape}",
                                 fix="a mask for all samples gets an axis in front: mask[None]"))
    return mask


class MultiHeadAttention(Module):
    """y = output(attention(query(x), key(s), value(s))) with `heads` heads of width / heads each.

    Args:
        heads: must divide the width of what comes in.
        dropout: rate for what comes out of the heads, before the output layer.
        bias: of the four Dense layers query, key, value and output.

    Call it with x (batch, steps, width) for self-attention, with (x, source) or (x, key, value) to look elsewhere.
    `mask`: (batch, sources), (batch, steps, sources) or (batch, heads, steps, sources), True: attend; `causal`: a step
    sees itself and what came before.
    """

    def __init__(self, heads: int, dropout: float = 0.0, bias: bool = True, dtype: Any = "float32"):
        self.heads, self.use_bias, self.dtype = positive("heads", heads), bias, canonical(dtype)
        self.rate = probability("dropout", dropout)

    def _input_type(self) -> Any:
        return self.dtype

    def build(self, x: Any) -> None:
        self._check(x)
        width = x.shape[-1]
        if width % self.heads:
            choices = sorted((n for n in range(1, width + 1) if width % n == 0), key=lambda n: abs(n - self.heads))[:3]
            wider = -(-width // self.heads) * self.heads
            raise ArgumentError(explain(f"{self.heads} heads do not divide the width {width}",
                                        got=describe(x.shape, NAMES) + origin(x),
                                        expected=f"a number of heads that divides {width}",
                                        fix="heads of " + ", ".join(map(str, sorted(choices)))
                                        + f", or a width of {wider}"))
        self.width = width
        self.query, self.key, self.value, self.output = (Dense(width, bias=self.use_bias, dtype=self.dtype)
                                                         for _ in range(4))
        self.dropout = Dropout(self.rate)

    def _check(self, x: Any) -> None:
        if x.ndim != 3:
            raise ShapeError(explain("attention needs sequences of vectors", got=describe(x.shape) + origin(x),
                                     expected="(batch, steps, width)",
                                     fix="reshape the input, or add the missing axis: x[None]"))
        need_float(x, self.dtype)

    def forward(self, x: Any, key: Any = None, value: Any = None, mask: Any = None, causal: bool = False) -> Any:
        key = x if key is None else key
        value = key if value is None else value
        for part in (x, key, value):
            self._check(part)
        n, steps, sources = x.shape[0], x.shape[1], key.shape[1]
        q, k, v = self._split(self.query(x)), self._split(self.key(key)), self._split(self.value(value))
        allowed = read_mask(mask, (n, self.heads, steps, sources)) if mask is not None else None
        if causal:
            triangle = causal_mask(steps, sources)
            allowed = triangle if allowed is None else allowed & triangle
        y = reshape(attention(q, k, v, allowed), (n, steps, self.width))
        return self.output(self.dropout(y))

    def _split(self, x: Any) -> Any:
        return reshape(x, (*x.shape[:2], self.heads, self.width // self.heads))
