# SPDX-License-Identifier: Apache-2.0
"""Attention as one word: softmax(scale q k^T) v over heads, and its gradient, without the scores of all pairs in
memory.

In: queries (N, T, H, d), keys (N, S, G, d), values (N, S, G, e); each of the G heads of keys serves H / G heads of
queries. Out: (N, T, H, e) and the logarithm of each softmax's denominator, from which the derivative makes the weights
again. `composed` and `composed_gradient` say the same in other words: the derivative of the derivative, and what a
backend without kernels runs. After Dao et al., "FlashAttention" (2022).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autodiff import backward
from ..errors import DTypeError, ShapeError, explain
from ..ir.bind import as_tensor, bind
from ..ir.dtype import bool_, int32, is_float
from ..ir.node import Op, Shape, Type, op
from ..ir.tensor import Tensor
from .broadcast import broadcast_to
from .contract import contract
from .control import barrier
from .elementwise import equal, exp, less_equal, log, where, zeros_like
from .index import iota
from .movement import permute_dims, reshape
from .reduce import max as maximum_over
from .reduce import sum as total

# ---- what it means


def _parts(q: np.ndarray, k: np.ndarray) -> tuple[int, int, int, int, int, int]:
    """(N, T, S, G, queries' heads of each key head, d)."""
    n, steps, heads, width = q.shape
    return n, steps, k.shape[1], k.shape[2], heads // max(k.shape[2], 1), width


def _scores(q: np.ndarray, k: np.ndarray, mask: Sequence[np.ndarray], causal: bool, scale: float) -> np.ndarray:
    """(N, G, R, T, S), minus infinity where a query may not attend."""
    n, steps, sources, groups, shared, width = _parts(q, k)
    left = q.reshape(n, steps, groups, shared, width).transpose(0, 2, 3, 1, 4)
    scores = np.matmul(left, k.transpose(0, 2, 3, 1)[:, :, None]) * np.asarray(scale, q.dtype)
    if mask:
        allowed = np.broadcast_to(mask[0], (n, groups * shared, steps, sources)).reshape(scores.shape)
        scores = np.where(allowed, scores, -np.inf)
    if causal:
        scores = np.where(np.tri(steps, sources, sources - steps, dtype=bool), scores, -np.inf)
    return scores.astype(q.dtype, copy=False)


def _in_front(x: np.ndarray, groups: int) -> np.ndarray:
    """(N, T, H, …) as (N, G, R, T, …)."""
    n, steps, heads, *rest = x.shape
    return np.moveaxis(x.reshape(n, steps, groups, heads // max(groups, 1), *rest), 1, 3)


def _at_back(x: np.ndarray) -> np.ndarray:
    """(N, G, R, T, …) as (N, T, H, …)."""
    n, groups, shared, steps, *rest = x.shape
    return np.ascontiguousarray(np.moveaxis(x, 3, 1)).reshape(n, steps, groups * shared, *rest)


def _mean_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, *mask: np.ndarray, causal: bool,
                    scale: float) -> tuple[np.ndarray, np.ndarray]:
    scores = _scores(q, k, mask, causal, scale)
    high = scores.max(-1, keepdims=True, initial=-np.inf)
    high = np.where(high == -np.inf, np.zeros_like(high), high)
    weights = np.exp(scores - high)
    sums = weights.sum(-1, keepdims=True)
    y = np.matmul(weights, v.transpose(0, 2, 1, 3)[:, :, None]) / np.where(sums == 0, np.ones_like(sums), sums)
    return _at_back(y), _at_back((high + np.log(sums))[..., 0])


def _mean_gradient(q: np.ndarray, k: np.ndarray, v: np.ndarray, denominator: np.ndarray, delta: np.ndarray,
                   g: np.ndarray, *mask: np.ndarray, causal: bool,
                   scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    groups = k.shape[2]
    base = np.where(denominator == -np.inf, np.zeros_like(denominator), denominator)
    weights = np.exp(_scores(q, k, mask, causal, scale) - _in_front(base, groups)[..., None])
    g_y = _in_front(g, groups)
    slopes = np.matmul(g_y, v.transpose(0, 2, 3, 1)[:, :, None])
    slopes = weights * (slopes - _in_front(delta, groups)[..., None]) * np.asarray(scale, q.dtype)
    g_q = _at_back(np.matmul(slopes, k.transpose(0, 2, 1, 3)[:, :, None]))
    g_k = np.matmul(slopes.swapaxes(-1, -2), _in_front(q, groups)).sum(2).transpose(0, 2, 1, 3)
    g_v = np.matmul(weights.swapaxes(-1, -2), g_y).sum(2).transpose(0, 2, 1, 3)
    return g_q, np.ascontiguousarray(g_k), np.ascontiguousarray(g_v)


# ---- its types

def _check(q: Type, k: Type, v: Type, mask: tuple[Type, ...]) -> None:
    kinds = f"q {q}, k {k}, v {v}"
    if not q.dtype == k.dtype == v.dtype or not is_float(q.dtype):
        raise DTypeError(explain("attention needs queries, keys and values of one floating-point dtype", got=kinds))
    if not len(q.shape) == len(k.shape) == len(v.shape) == 4:
        raise ShapeError(explain("attention needs four axes", got=kinds, expected="(batch, steps, heads, width)"))
    if k.shape[:3] != v.shape[:3] or (q.shape[0], q.shape[3]) != (k.shape[0], k.shape[3]):
        raise ShapeError(explain("queries, keys and values do not fit each other", got=kinds,
                                 expected="q (N, T, H, d), k (N, S, G, d), v (N, S, G, e)"))
    if q.shape[2] % max(k.shape[2], 1) or (not k.shape[2] and q.shape[2]):
        raise ShapeError(explain("the heads of keys must divide those of queries", got=kinds))
    whole = (q.shape[0], q.shape[2], q.shape[1], k.shape[1])
    for m in mask:
        if m.dtype != bool_ or len(m.shape) != 4 or any(a not in (1, b) for a, b in zip(m.shape, whole, strict=True)):
            raise ShapeError(explain("the mask does not fit the attention scores", got=str(m),
                                     expected=f"bool with extents {whole}, or 1 in their places"))


def _infer_attention(q: Type, k: Type, v: Type, *mask: Type, causal: bool, scale: float) -> tuple[Type, Type]:
    _check(q, k, v, mask)
    return Type((*q.shape[:3], v.shape[3]), q.dtype), Type(q.shape[:3], q.dtype)


def _infer_gradient(q: Type, k: Type, v: Type, denominator: Type, delta: Type, g: Type, *mask: Type, causal: bool,
                    scale: float) -> tuple[Type, Type, Type]:
    y, sums = _infer_attention(q, k, v, *mask, causal=causal, scale=scale)
    if g != y or denominator != sums or delta != sums:
        raise ShapeError(explain("the gradient does not fit what attention gave", got=f"{g}, {denominator}, {delta}",
                                 expected=f"{y}, {sums}, {sums}"))
    return q, k, v


# ---- its derivatives

def _attention_vjp(g: Sequence[Tensor | None], y: Sequence[Tensor], q: Tensor, k: Tensor, v: Tensor, *mask: Tensor,
                   causal: bool, scale: float) -> tuple[Tensor | None, ...]:
    slope = g[0] if g[0] is not None else zeros_like(y[0])
    delta = total(slope * y[0], axis=3)  # what the weights' gradient loses because they sum to one
    delta = delta - g[1] if g[1] is not None else delta
    found = bind(GRADIENT, q, k, v, y[1], delta, slope, *mask, causal=causal, scale=scale)
    return (*found, *(None for _ in mask))


def _gradient_vjp(g: Sequence[Tensor | None], y: Any, *inputs: Tensor, causal: bool,
                  scale: float) -> list[Tensor | None]:
    """The derivative of what `composed_gradient` says; operands that are one node are told apart."""
    given = [barrier(x) for x in inputs]
    results = composed_gradient(*given, causal=causal, scale=scale)
    seeds = [(result.node, seed) for result, seed in zip(results, g, strict=True) if seed is not None]
    wanted = [x.node for x in given[:6]]
    found = backward([node for node, _ in seeds], [seed for _, seed in seeds], wanted, stops=set(wanted))
    return [*found, *(None for _ in inputs[6:])]


ATTENTION = op("attention", infer=_infer_attention, meaning=_mean_attention, vjp=_attention_vjp)
GRADIENT: Op = op("attention_gradient", infer=_infer_gradient, meaning=_mean_gradient, vjp=_gradient_vjp)


# ---- the same in other words

def _composed_scores(q: Tensor, k: Tensor, mask: Sequence[Tensor], causal: bool, scale: float) -> Tensor:
    """(N, G, T, R, S), minus infinity where a query may not attend."""
    scores = contract(_grouped(q * scale, k), k, contracting=((4,), (3,)), batch=((0, 2), (0, 2)))
    _, groups, steps, shared, sources = scores.shape
    for part in mask:
        a, h, t, s = part.shape
        part = reshape(part, (a, groups if h > 1 else 1, shared if h > 1 else 1, t, s))
        scores = _allowed(permute_dims(part, (0, 1, 3, 2, 4)), scores)
    return _allowed(reshape(causal_mask(steps, sources), (1, 1, steps, 1, sources)), scores) if causal else scores


def _allowed(mask: Tensor, scores: Tensor) -> Tensor:
    return where(broadcast_to(mask, scores.shape), scores, -math.inf)


def _grouped(x: Tensor, k: Tensor) -> Tensor:
    """(N, T, H, …) as (N, T, G, R, …)."""
    n, steps, heads, *rest = x.shape
    return reshape(x, (n, steps, k.shape[2], heads // k.shape[2], *rest))


def _by_row(x: Tensor, k: Tensor) -> Tensor:
    """(N, T, H) as (N, G, T, R, 1)."""
    x = permute_dims(_grouped(x, k), (0, 2, 1, 3))
    return reshape(x, (*x.shape, 1))


def _back(x: Tensor, shape: Shape) -> Tensor:
    """(N, G, T, R, …) as (N, T, H, …)."""
    return reshape(permute_dims(x, (0, 2, 1, *range(3, x.ndim))), shape)


def composed(q: Tensor, k: Tensor, v: Tensor, *mask: Tensor, causal: bool, scale: float) -> tuple[Tensor, Tensor]:
    """What `attention` gives, as a sentence of other words."""
    scores = _composed_scores(q, k, mask, causal, scale)
    high = (maximum_over if scores.size else total)(scores, axis=4, keepdims=True)
    high = where(equal(high, -math.inf), zeros_like(high), high)
    weights = exp(scores - high)
    sums = total(weights, axis=4, keepdims=True)
    y = contract(weights / where(equal(sums, 0), 1.0, sums), v, contracting=((4,), (1,)), batch=((0, 1), (0, 2)))
    return _back(y, (*q.shape[:3], v.shape[3])), _back((high + log(sums))[..., 0], q.shape[:3])


def composed_gradient(q: Tensor, k: Tensor, v: Tensor, denominator: Tensor, delta: Tensor, g: Tensor, *mask: Tensor,
                      causal: bool, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """What `attention_gradient` gives, as a sentence of other words."""
    base = where(equal(denominator, -math.inf), zeros_like(denominator), denominator)
    weights = exp(_composed_scores(q, k, mask, causal, scale) - _by_row(base, k))
    g = _grouped(g, k)
    slopes = contract(g, v, contracting=((4,), (3,)), batch=((0, 2), (0, 2)))
    slopes = weights * (slopes - _by_row(delta, k)) * scale
    g_q = contract(slopes, k, contracting=((4,), (1,)), batch=((0, 1), (0, 2)))
    g_k = contract(slopes, _grouped(q, k), contracting=((2, 3), (1, 3)), batch=((0, 1), (0, 2)))
    g_v = contract(weights, g, contracting=((2, 3), (1, 3)), batch=((0, 1), (0, 2)))
    return _back(g_q, q.shape), permute_dims(g_k, (0, 2, 1, 3)), permute_dims(g_v, (0, 2, 1, 3))


# ---- the public functions

def causal_mask(steps: int, sources: int) -> Tensor:
    """(1, 1, T, S): a step sees itself and what came before; the last step sees all sources.

    >>> from chainrule.nn import causal_mask
    >>> causal_mask(3, 3).numpy()[0, 0].astype(int)
    array([[1, 0, 0],
           [1, 1, 0],
           [1, 1, 1]])
    """
    shape = (1, 1, steps, sources)
    return less_equal(iota(shape, 3, int32), iota(shape, 2, int32) + (sources - steps))


def attention(q: Any, k: Any, v: Any, mask: Any = None, *, causal: bool = False, scale: float | None = None) -> Tensor:
    """softmax(scale q k^T) v for q (N, T, H, d), k (N, S, G, d), v (N, S, G, e) -> (N, T, H, e); G divides H.

    Args:
        mask: booleans whose axes are those of (N, H, T, S), or 1: True where to attend. A query that may attend to
            nothing gets 0.
        causal: a step sees itself and what came before; the last one sees all sources.
        scale: default 1 / sqrt(d).

    Memory grows with T + S, not with their product. Raises ShapeError or DTypeError where the operands do not fit.
    """
    q, k, v = as_tensor(q), as_tensor(k), as_tensor(v)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else float(scale)
    more = () if mask is None else (as_tensor(mask),)
    return bind(ATTENTION, q, k, v, *more, causal=bool(causal), scale=scale)[0]
