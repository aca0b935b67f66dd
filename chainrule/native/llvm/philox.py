# SPDX-License-Identifier: Apache-2.0
"""Emit the Philox 4x32 generator with ten rounds, bit for bit the one of ops/philox.py, which names its source.

In: counter and key words as i32 values, or element indices as i64 values; all of them scalars, or vectors of one width.
Out: the random words as i32 values of that width. `emit_random_bits` may be given any indices; where a loop produces
consecutive elements, `emit_random_run` makes the same words with a quarter of the work.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from ...ops.philox import KEY_STEPS, MULTIPLIERS, ROUNDS, WORD
from .math.lanes import Lanes, splat

I32, I64 = ir.IntType(32), ir.IntType(64)


def emit_philox4x32_10(builder: ir.IRBuilder, c0: ir.Value, c1: ir.Value, c2: ir.Value, c3: ir.Value,
                       k0: ir.Value, k1: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value, ir.Value]:
    """Four random words from the counter c0 … c3 and the key k0, k1, all of type i32 or vectors of i32 of one width."""
    # Words travel in the low halves of 64-bit lanes, whose high halves are garbage that the multiplication ignores.
    words = [Lanes(builder, c).convert("zext", I64) for c in (c0, c1, c2, c3)]
    keys = [Lanes(builder, k) for k in (k0, k1)]
    for i in range(ROUNDS):
        if i:
            keys = [key + step for key, step in zip(keys, KEY_STEPS, strict=True)]
        words = _round(words, [key.convert("zext", I64) for key in keys])
    w0, w1, w2, w3 = (word.convert("trunc", I32).value for word in words)
    return w0, w1, w2, w3


def _round(words: Sequence[Lanes], keys: Sequence[Lanes]) -> list[Lanes]:
    c0, c1, c2, c3 = words
    left, right = ((word & WORD) * factor for word, factor in zip((c0, c2), MULTIPLIERS, strict=True))
    return [right.logical_right(32) ^ c1 ^ keys[0], right, left.logical_right(32) ^ c3 ^ keys[1], left]


def emit_random_bits(builder: ir.IRBuilder, index: ir.Value, state: Sequence[ir.Value]) -> ir.Value:
    """Element `index` (i64 or a vector of i64) of the stream `state` (four i32: key0, key1, stream0, stream1)."""
    element = Lanes(builder, index)
    words = _blocks(builder, element.logical_right(2), state)
    which = (element & 3).convert("trunc", I32)
    low, high = ((which & 1).equals(0).choose(words[j], words[j + 1]) for j in (0, 2))
    return (which < 2).choose(low, high).value


def emit_random_run(builder: ir.IRBuilder, first: ir.Value, width: int, state: Sequence[ir.Value]) -> list[ir.Value]:
    """Elements first … first + 4 width - 1 as four vectors <width x i32>; `first` (i64) is a multiple of 4."""
    vector = ir.VectorType(I64, width)
    block = spread(builder, builder.lshr(first, I64(2)), width)
    block = builder.add(block, ir.Constant(vector, list(range(width))))
    w0, w1, w2, w3 = (word.value for word in _blocks(builder, Lanes(builder, block), state))
    # Lane b of word w is element 4 b + w: zip the words by twos, then the pairs, into that order.
    halves = [_shuffle(builder, a, b, range(2 * width)) for a, b in ((w0, w1), (w2, w3))]
    order = [(i % 4 >> 1) * 2 * width + (i % 2) * width + i // 4 for i in range(4 * width)]
    return [_shuffle(builder, *halves, order[j * width : (j + 1) * width]) for j in range(4)]


def _blocks(builder: ir.IRBuilder, block: Lanes, state: Sequence[ir.Value]) -> list[Lanes]:
    """The four words of the blocks with the given numbers."""
    low = block.convert("trunc", I32)
    high = block.logical_right(32).convert("trunc", I32)
    width = low.type.count if isinstance(low.type, ir.VectorType) else 1
    key0, key1, stream0, stream1 = (spread(builder, word, width) if width > 1 else word for word in state)
    words = emit_philox4x32_10(builder, low.value, high.value, stream0, stream1, key0, key1)
    return [Lanes(builder, word) for word in words]


def spread(builder: ir.IRBuilder, value: ir.Value, width: int) -> ir.Value:
    """A scalar in all lanes of a vector."""
    empty = ir.Constant(ir.VectorType(value.type, width), ir.Undefined)
    single = builder.insert_element(empty, value, I32(0))
    return builder.shuffle_vector(single, empty, splat(ir.VectorType(I32, width), 0))


def _shuffle(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, order: Sequence[int]) -> ir.Value:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(order)), list(order)))
