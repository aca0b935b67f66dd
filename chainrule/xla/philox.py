# SPDX-License-Identifier: Apache-2.0
"""Philox 4x32-10 (Salmon et al., 2011) in JAX: the bits of `ops.philox`, computed in parallel for every block."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from ..ir import Type
from ..ir.dtype import uint32
from ..ir.node import Shape
from ..ops.philox import KEY_STEPS, MULTIPLIERS, ROUNDS


def _product(a: Any, factor: Any) -> tuple[Any, Any]:
    """The upper and the lower 32 bits of the 64-bit product."""
    wide = a.astype(jnp.uint64) * jnp.uint64(factor)
    return (wide >> jnp.uint64(32)).astype(jnp.uint32), wide.astype(jnp.uint32)


def random_bits(state: Any, *, shape: Shape) -> Any:
    """uint32 of the given shape: element i is word i % 4 of the block with counter (i // 4, stream words of the state).
    """
    count = Type(shape, uint32).size
    blocks = jnp.arange((count + 3) // 4, dtype=jnp.uint64)
    c0, c1 = blocks.astype(jnp.uint32), (blocks >> jnp.uint64(32)).astype(jnp.uint32)
    c2, c3 = jnp.full_like(c0, state[2]), jnp.full_like(c0, state[3])
    k0, k1 = state[0], state[1]
    for _ in range(ROUNDS):
        (high0, low0), (high1, low1) = _product(c0, MULTIPLIERS[0]), _product(c2, MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + jnp.uint32(KEY_STEPS[0]), k1 + jnp.uint32(KEY_STEPS[1])
    return jnp.stack([c0, c1, c2, c3], axis=-1).reshape(-1)[:count].reshape(shape)
