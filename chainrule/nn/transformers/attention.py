# SPDX-License-Identifier: Apache-2.0
"""Attention: softmax(q k^T / sqrt(d)) v over several heads (Vaswani et al., 2017). A mask is True where to attend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import ArgumentError, DTypeError, ShapeError, explain, shown
from ...ir import Tensor, as_tensor
from ...ir.dtype import bool_, canonical
from ...ops import types
from ...ops.attention import attention as heads
from ...ops.attention import causal_mask
from ...ops.contract import contract
from ...ops.elementwise import less, less_equal
from ...ops.index import iota, take
from ...ops.movement import permute_dims, reshape
from ...typing import ArrayLike, DTypeLike
from ..core.checks import describe, need_float, origin, positive, probability
from ..core.module import Module
from ..layers.linear import Dense
from ..layers.normalization import RMSNorm
from ..layers.regularization import drop, own_generator
from .cache import KeyValueCache
from .maps import attention_weights, record_attention, recording_attention
from .positions import alibi_bias, rotate

NAMES = ("batch", "steps", "width")


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, bias: ArrayLike | None = None,
              causal: bool = False, weigh: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v for q (N, T, H, d), k and v (N, S, H, d) -> (N, T, H, d).

    Args:
        mask: (N, H, T, S) or what broadcasts to it, True where to attend. A query that may attend to nothing gets 0.
        bias: what is added to the scores.
        causal: a step sees itself and what came before; the last one sees all sources.
        weigh: a function that the weights (N, H, T, S) go through before they meet v, such as dropout.

    With `bias` or `weigh` all weights are in memory at once. Without, memory grows with T + S only, and k and v may
    have fewer heads, each shared by several heads of queries.

    >>> q = cr.ones((2, 5, 4, 8))
    >>> nn.attention(q, q, q, causal=True).shape
    (2, 5, 4, 8)
    """
    if bias is None and weigh is None:
        mask = None if mask is None else reshape(as_tensor(mask), (*(1,) * (4 - as_tensor(mask).ndim), *mask.shape))
        return heads(q, k, v, mask, causal=causal)
    if causal:
        mask = causal_mask(q.shape[1], k.shape[1]) if mask is None else mask & causal_mask(q.shape[1], k.shape[1])
    weights = attention_weights(q, k, mask, bias)
    weights = weights if weigh is None else weigh(weights)
    y = contract(weights, v, contracting=((3,), (1,)), batch=((0, 1), (0, 2)))
    return permute_dims(y, (0, 2, 1, 3))


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
        dropout: rate for the weights of attention in training, as PyTorch and Keras have it; all of them are in memory
            then.
        bias: of the four Dense layers query, key, value and output.
        key_heads: fewer heads for keys and values, each shared by heads / key_heads queries (Ainslie et al., 2023); 1
            is multi-query attention (Shazeer, 2019).
        positions: None, "rotary" (turned queries and keys) or "alibi" (scores fall with the distance): see
            `nn.positions`; or a module such as `nn.RelativeBias()` or `nn.RelativeKeys()`.
        rotary_base: of the angles.
        output_bias: whether the output has one; None: as the others.
        head_width: features of each head; None: width / heads.
        head_norm: epsilon of an RMSNorm of each head's queries and keys (Qwen3); None for none.
        rotary_scaling: how the angles are stretched for longer texts, see `nn.rotate`.
        window: a step sees so many steps at most, itself the last, where it is `causal` or has a cache (Mistral); None:
            all.

    Call it with x (batch, steps, width) for self-attention, with (x, source) or (x, key, value) to look elsewhere.
    `mask`: (batch, sources), (batch, steps, sources) or (batch, heads, steps, sources), True: attend; `causal`: a step
    sees itself and what came before. With `cache` (from `cache(batch, length)`), x are the next steps, and they see all
    steps so far: what comes out is what the whole sequence would give with `causal`.

    >>> layer, x = nn.MultiHeadAttention(heads=2), cr.ones((2, 5, 8))
    >>> layer(x, causal=True).shape
    (2, 5, 8)
    """

    def __init__(self, heads: int, dropout: float = 0.0, bias: bool = True, dtype: DTypeLike = "float32",
                 key_heads: int | None = None, positions: Any = None, rotary_base: float = 10000.0,
                 output_bias: bool | None = None, head_width: int | None = None, head_norm: float | None = None,
                 rotary_scaling: dict[str, Any] | None = None, window: int | None = None):
        self.output_bias = bias if output_bias is None else output_bias
        self.head_width, self.head_norm = None if head_width is None else positive("head_width", head_width), head_norm
        self.rotary_scaling, self.window = rotary_scaling, None if window is None else positive("window", window)
        self.heads, self.use_bias, self.dtype = positive("heads", heads), bias, canonical(dtype)
        if isinstance(dropout, int) and dropout > 0 and heads % dropout == 0:
            raise ArgumentError(explain("dropout is the share of weights that is dropped",
                                        got=f"MultiHeadAttention({heads}, {dropout})",
                                        expected="MultiHeadAttention(heads, dropout): the width is read from the input",
                                        fix=f"if {heads} is the width: MultiHeadAttention({dropout})"))
        self.rate = probability("dropout", dropout)
        self.key_heads = heads if key_heads is None else positive("key_heads", key_heads)
        self.positions, self.rotary_base = positions, rotary_base
        if heads % self.key_heads:
            raise ArgumentError(explain("key_heads must divide the heads", got=f"heads {heads}, key_heads {key_heads}"))
        if positions not in (None, "rotary", "alibi") and not isinstance(positions, Module):
            raise ArgumentError(explain("attention knows no such positions", got=shown(positions),
                                        expected='None | "rotary" | "alibi", or a module such as nn.RelativeBias()'))

    def _input_type(self) -> Any:
        return self.dtype

    def build(self, x: Any) -> None:
        self._check(x)
        width = x.shape[-1]
        if self.head_width is None and width % self.heads:
            choices = sorted((n for n in range(1, width + 1) if width % n == 0), key=lambda n: abs(n - self.heads))[:3]
            wider = -(-width // self.heads) * self.heads
            raise ArgumentError(explain(f"{self.heads} heads do not divide the width {width}",
                                        got=describe(x.shape, NAMES) + origin(x),
                                        expected=f"a number of heads that divides {width}",
                                        fix="heads of " + ", ".join(map(str, sorted(choices)))
                                        + f", or a width of {wider}"))
        self.width = width
        self.each = self.head_width or width // self.heads
        wide, narrow = self.each * self.heads, self.each * self.key_heads
        self.query, self.key, self.value, self.output = (
            Dense(n, bias=bias, dtype=self.dtype)
            for n, bias in ((wide, self.use_bias), (narrow, self.use_bias), (narrow, self.use_bias),
                            (width, self.output_bias)))
        if self.head_norm is not None:
            self.query_norm, self.key_norm = (RMSNorm(self.head_norm, self.dtype) for _ in range(2))
        if self.rate:
            self.random = own_generator()

    def _check(self, x: Any) -> None:
        if x.ndim != 3:
            raise ShapeError(explain("attention needs sequences of vectors", got=describe(x.shape) + origin(x),
                                     expected="(batch, steps, width)",
                                     fix="reshape the input, or add the missing axis: x[None]"))
        need_float(x, self.dtype)

    def cache(self, batch: int, length: int) -> KeyValueCache:
        """Room for the keys and values of so many steps; the layer must have been called, or know its input's shape."""
        self._build_from_shape()
        if not self.built:
            raise ArgumentError(explain("the width of the heads is not known yet", got="a layer that was never called",
                                        fix="call it first, or give it input_shape=(steps, width)"))
        return KeyValueCache(batch, length, self.key_heads, self.each, self.dtype)

    def forward(self, x: Any, key: Any = None, value: Any = None, mask: Any = None, causal: bool = False,
                cache: KeyValueCache | None = None, training: bool = False) -> Any:
        key = x if key is None else key
        value = key if value is None else value
        for part in (x, key, value):
            self._check(part)
        n, steps = x.shape[:2]
        q, k, v = self._split(self.query(x)), self._split(self.key(key)), self._split(self.value(value))
        start: Any = 0 if cache is None else cache.start(steps)
        if self.head_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        if self.positions == "rotary":
            q, k = (rotate(part, start, self.rotary_base, cache.length if cache is not None else None,
                           self.rotary_scaling)
                    for part in (q, k))
        if cache is not None:
            k, v, start = cache.append(k, v)
        sources = k.shape[1]
        allowed = read_mask(mask, (n, self.heads, steps, sources)) if mask is not None else None
        if cache is not None:
            seen, causal = _seen(steps, sources, start), False
            allowed = seen if allowed is None else allowed & seen
        if self.window is not None and (causal or cache is not None):
            near = _near(steps, sources, start if cache is not None else sources - steps, self.window)
            allowed = near if allowed is None else allowed & near
        weigh = self._drop if training and self.rate else None
        y = self._attend(q, k, v, allowed, causal, sources - steps if cache is None else start, weigh)
        return self.output(reshape(y, (n, steps, self.heads * self.each)))

    def _drop(self, weights: Any) -> Any:
        return drop(weights, self.rate, self.random)

    def _attend(self, q: Any, k: Any, v: Any, allowed: Any, causal: bool, start: Any, weigh: Any) -> Any:
        if self.positions in (None, "rotary") and weigh is None and not recording_attention():
            return attention(q, k, v, allowed, causal=causal)
        if causal:
            triangle = causal_mask(q.shape[1], k.shape[1])
            allowed = triangle if allowed is None else allowed & triangle
        k, v = self._shared(k), self._shared(v)
        bias = self._position_bias(q, k, start)
        record_attention(self, q, k, v, allowed, bias)
        return attention(q, k, v, allowed, bias, weigh=weigh)

    def _position_bias(self, q: Any, k: Any, start: Any) -> Any:
        """What the distances add to the scores; the first query stands at `start`."""
        if self.positions == "alibi":
            return alibi_bias(self.heads, q.shape[1], k.shape[1], start, q.dtype)
        return self.positions(q, k, start) if isinstance(self.positions, Module) else None

    def _split(self, x: Any) -> Any:
        return reshape(x, (*x.shape[:2], x.shape[2] // self.each, self.each))

    def _shared(self, x: Any) -> Any:
        """The heads of keys or values, each as often as queries share it."""
        if self.key_heads == self.heads:
            return x
        return take(x, np.repeat(np.arange(self.key_heads), self.heads // self.key_heads), axis=2)


def _seen(steps: int, sources: int, start: Tensor) -> Tensor:
    """(1, 1, T, S): the step at start + t sees the places up to its own."""
    shape = (1, 1, steps, sources)
    return less_equal(iota(shape, 3), iota(shape, 2) + start)


def _near(steps: int, sources: int, start: Any, window: int) -> Tensor:
    """(1, 1, T, S): the step at start + t sees places of which fewer than `window` lie between."""
    shape = (1, 1, steps, sources)
    return less(iota(shape, 2) + start, iota(shape, 3) + window)
