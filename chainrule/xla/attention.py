# SPDX-License-Identifier: Apache-2.0
"""Attention and its gradient as functions of JAX arrays, all scores at once; XLA decides what it keeps.

In and out: as the records in `ops/attention.py`. Axes in the letters of einsum: n samples, t queries, s sources, g
heads of keys, r heads of queries for each of them, d and e widths.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

EXACT = lax.Precision.HIGHEST


def _product(words: str, a: Any, b: Any) -> Any:
    return jnp.einsum(words, a, b, precision=EXACT, preferred_element_type=a.dtype)


def _grouped(x: Any, k: Any) -> Any:
    n, steps, heads, *rest = x.shape
    return x.reshape(n, steps, k.shape[2], heads // max(k.shape[2], 1), *rest)


def _scores(q: Any, k: Any, mask: tuple[Any, ...], causal: bool, scale: float) -> Any:
    scores = _product("ntgrd,nsgd->ngrts", _grouped(q * scale, k), k)
    steps, sources = scores.shape[3:]
    if mask:
        heads = (*scores.shape[1:3],) if mask[0].shape[1] != 1 else (1, 1)
        scores = jnp.where(mask[0].reshape(mask[0].shape[0], *heads, *mask[0].shape[2:]), scores, -jnp.inf)
    return jnp.where(jnp.tri(steps, sources, sources - steps, dtype=bool), scores, -jnp.inf) if causal else scores


def attention(q: Any, k: Any, v: Any, *mask: Any, causal: bool, scale: float) -> tuple[Any, Any]:
    """(what the heads give, the logarithm of each softmax's denominator)."""
    scores = _scores(q, k, mask, causal, scale)
    high = scores.max(-1, keepdims=True, initial=-jnp.inf)
    high = jnp.where(high == -jnp.inf, 0, high)
    weights = jnp.exp(scores - high)
    sums = weights.sum(-1, keepdims=True)
    y = _product("ngrts,nsge->ntgre", weights / jnp.where(sums == 0, 1, sums), v)
    denominator = jnp.moveaxis((high + jnp.log(sums))[..., 0], 3, 1)
    return y.reshape(*q.shape[:3], v.shape[3]), denominator.reshape(q.shape[:3])


def attention_gradient(q: Any, k: Any, v: Any, denominator: Any, delta: Any, g: Any, *mask: Any, causal: bool,
                       scale: float) -> tuple[Any, Any, Any]:
    """Gradients of queries, keys and values."""
    row = lambda x: jnp.moveaxis(_grouped(x, k), 1, 3)[..., None]
    base = jnp.where(denominator == -jnp.inf, 0, denominator)
    weights = jnp.exp(_scores(q, k, mask, causal, scale) - row(base))
    g = _grouped(g, k)
    slopes = weights * (_product("ntgre,nsge->ngrts", g, v) - row(delta)) * scale
    return (_product("ngrts,nsgd->ntgrd", slopes, k).reshape(q.shape),
            _product("ngrts,ntgrd->nsgd", slopes, _grouped(q, k)), _product("ngrts,ntgre->nsge", weights, g))
