# SPDX-License-Identifier: Apache-2.0
"""Random bits as a pure function of a state and a position: Philox 4x32-10 (Salmon et al., 2011).

The state is uint32[4] (key 0, key 1, stream 0, stream 1); element i uses word i % 4 of block i // 4. The same bits come
out on every backend, in any order, on any number of threads. The public generators are in `chainrule.random`.
"""

from __future__ import annotations

from ..errors import ShapeError, explain
from ..ir.bind import bind
from ..ir.dtype import float32, uint32
from ..ir.node import Shape, Type, op
from ..ir.tensor import Tensor
from . import philox
from .elementwise import astype, bitwise_right_shift


def _infer_bits(state: Type, *, shape: Shape) -> Type:
    if state != Type((4,), uint32):
        raise ShapeError(explain("the state of the generator must be uint32[4]", got=str(state)))
    return Type(shape, uint32)


RANDOM_BITS = op("random_bits", infer=_infer_bits, vjp=None,
                 meaning=lambda state, *, shape: philox.random_bits(state, Type(shape, uint32).size).reshape(shape))


def random_bits(state: Tensor, shape: Shape) -> Tensor:
    """uint32 random bits of the given shape, a pure function of `state`."""
    return bind(RANDOM_BITS, state, shape=tuple(shape))


def unit_uniform(state: Tensor, shape: Shape) -> Tensor:
    """float32 in [0, 1): the upper 24 bits of each word times 2^-24."""
    return astype(bitwise_right_shift(random_bits(state, shape), 8), float32) * 2.0**-24
