# SPDX-License-Identifier: Apache-2.0
"""`exact_program`: a random program of nearly all words, in all dtypes, most of whose values are the same in any order
of rounding.

Floats begin as small multiples of 1/4, and each value carries how large and how fine it is, so that sums, products and
convolutions are exact whichever way they are grouped or fused: a backend must give them to the bit, and what is not
continuous (order, argmax, casts, comparisons) may follow them. What rounds (tanh, softmax, attention, gradients) makes
values `loose`; they pass through continuous words only, and are compared within a tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import chainrule as cr
from chainrule.ir import Graph, Tensor, Type, tracing
from chainrule.ir.graph import close, input_node
from chainrule.ops import attention as attend
from chainrule.ops import compose as c
from chainrule.ops import elementwise as e
from chainrule.ops import index, pool
from chainrule.ops import movement as m
from chainrule.ops import reduce as r
from chainrule.ops.broadcast import broadcast_to
from chainrule.ops.contract import conv, conv_transpose
from chainrule.ops.random import unit_uniform
from chainrule.ops.scan import scan

EXTENTS, CHANCES = (0, 1, 2, 3, 5, 8, 17, 33, 70), (0.02, 0.13, 0.15, 0.15, 0.15, 0.15, 0.1, 0.1, 0.05)
LARGEST = 20_000  # elements of a value
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
INPUT_DTYPES = ("float32",) * 5 + ("float64",) * 3 + INTEGERS + ("bool",)


@dataclass(frozen=True)
class Value:
    """A tensor; an exact float is a multiple of 2**-fine, at most 2**large. `loose`: how far it may be off, if it was
    rounded somewhere."""

    x: Tensor
    large: int = 0
    fine: int = 0
    loose: float = 0.0

    @property
    def is_float(self) -> bool:
        return self.x.dtype.kind == "f"

    @property
    def kind(self) -> str:
        return self.x.dtype.kind


def exact_program(seed: int, size: int = 14) -> tuple[Graph, list[np.ndarray], list[float]]:
    """(graph, operands, how far each output may be off)."""
    return Maker(seed).program(size)


class Maker:
    """One program being made."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)
        self.pool: list[Value] = []

    def program(self, size: int) -> tuple[Graph, list[np.ndarray], list[float]]:
        """Inputs, then words on what there is, then outputs."""
        arrays = [self.array(self.shape(), str(self.pick(INPUT_DTYPES))) for _ in range(4)]
        arrays.append(self.array((self.extent(3), self.extent(14), self.extent(14), self.extent(20)), "float32"))
        symbols = [input_node(Type(x.shape, x.dtype)) for x in arrays]
        with tracing():
            self.pool = [Value(Tensor(node), 2, 2) for node in symbols]
            while len(self.pool) < size + len(symbols):
                made = STEPS[self.rng.integers(len(STEPS))](self, self.any())
                if made is not None and made.x.size <= LARGEST and made.x.ndim <= 6:
                    self.pool.append(made)
        outputs = [self.pool[-1], self.pool[-2], *(self.any() for _ in range(size // 4))]
        return close(symbols, [v.x.node for v in outputs]), arrays, [v.loose for v in outputs]

    # ---- draws

    def pick(self, values):
        return values[int(self.rng.integers(len(values)))]

    def extent(self, most: int) -> int:
        return int(self.rng.integers(1, most + 1))

    def coin(self, p: float = 0.5) -> bool:
        return bool(self.rng.random() < p)

    def shape(self) -> tuple[int, ...]:
        shape = tuple(int(self.rng.choice(EXTENTS, p=CHANCES)) for _ in range(self.rng.integers(0, 5)))
        return shape if math.prod(shape) <= LARGEST else shape[:2]

    def array(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        if dtype == "bool":
            return self.rng.random(shape) < 0.5
        if np.dtype(dtype).kind == "f":
            return (self.rng.integers(-16, 17, shape) / 4).astype(dtype)
        info = np.iinfo(dtype)
        few = self.rng.integers(max(info.min, -20), 21, shape)
        wide = self.rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
        return np.where(self.rng.random(shape) < 0.8, few, wide).astype(dtype)

    def any(self, accept: Callable[[Value], bool] = lambda v: True) -> Value | None:
        found = [v for v in self.pool if accept(v)]
        # rather a late one
        return found[max(self.rng.integers(len(found)), self.rng.integers(len(found)))] if found else None

    def axis(self, x: Tensor) -> int:
        return int(self.rng.integers(x.ndim))

    # ---- keeping values exact

    def tame(self, v: Value, large: int, fine: int) -> Value:
        """`v`, clipped and rounded where it is larger or finer than that."""
        x = v.x
        if not v.is_float:
            return v
        if v.loose:
            return rounded(e.tanh(x), 0, v.loose) if v.large > large else v
        if v.large > large:
            x = c.clip(x, -2.0**large, 2.0**large)
        if v.fine > fine:
            x = e.floor(x * 2.0**fine) * 2.0**-fine
        return Value(x, min(v.large, large), min(v.fine, fine))

    def room(self, v: Value) -> int:
        return 20 if v.x.dtype == np.float32 else 44

    def checked(self, v: Value) -> Value:
        """A float with room for what comes next."""
        return self.tame(v, 4, 3) if v.is_float and (v.loose or v.large + v.fine > self.room(v) // 2) else v

    def to_float(self, v: Value, dtype: str | None = None) -> Value:
        """`v` as a float, exactly."""
        dtype = dtype or ("float32" if self.coin(0.7) else "float64")
        if v.is_float:
            if v.x.dtype == dtype:
                return v
            v = self.checked(v)
            return Value(e.astype(v.x, dtype), v.large, v.fine, v.loose and max(v.loose, OFF[dtype]))
        x = v.x if v.kind == "b" else e.remainder(v.x, e.full_like(v.x, 13))
        return Value(e.astype(x, dtype), 4, 0)

    def partner(self, v: Value) -> Value:
        """Another value of the same dtype that broadcasts with `v`."""
        same = lambda o: o.x.dtype == v.x.dtype and fits(o.x.shape, v.x.shape)
        other = self.any(same)
        if other is None or self.coin(0.1):
            shape = tuple(1 if self.coin(0.4) else n for n in v.x.shape)[int(self.rng.integers(v.x.ndim + 1)):]
            other = Value(cr.asarray(self.array(shape, str(v.x.dtype))), 2, 2)
        return self.checked(other)


def fits(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether two shapes broadcast."""
    try:
        return math.prod(np.broadcast_shapes(a, b)) <= LARGEST
    except ValueError:
        return False


OFF = {"float32": 2e-3, "float64": 1e-8}


def rounded(x: Tensor, large: int, loose: float = 0.0) -> Value:
    """What was rounded on its way, from something that may be off by `loose`."""
    return Value(x, large, 99, max(loose, OFF[str(x.dtype)]))


# ---- words: (maker, value) -> value, or None where the word does not fit

def unary(g: Maker, v: Value) -> Value | None:
    if v.kind == "b":
        return Value(c.logical_not(v.x))
    if v.kind in "iu":
        return Value(g.pick((e.abs, e.sign, e.negative, c.square, e.bitwise_invert) if v.kind == "i"
                            else (c.square, e.bitwise_invert, e.sign))(v.x))
    if v.loose or g.coin(0.3):
        v = g.checked(v)
        functions = (e.tanh, e.sin, e.cos, e.erf, c.sigmoid, c.gelu, c.softplus, lambda x: e.exp(-e.abs(x)),
                     lambda x: e.log1p(e.abs(x)), lambda x: e.sqrt(e.abs(x) + 1.0), lambda x: 1.0 / (1.0 + x * x),
                     e.expm1, lambda x: c.atan(x), lambda x: (e.abs(x) + 0.5) ** 1.5, lambda x: e.atan2(x, x * x + 1.0),
                     c.silu, lambda x: e.log2(x * x + 1.0))
        return rounded(g.pick(functions)(v.x), 7, v.loose)
    v = g.checked(v)
    name = g.rng.integers(9)
    if name < 6:
        return Value((e.abs, e.sign, e.negative, c.relu, e.floor, e.ceil)[name](v.x), v.large + 1, v.fine)
    if name == 6:
        return Value(e.round(v.x), v.large + 1, 0)
    return Value(c.square(v.x), 2 * v.large, 2 * v.fine) if name == 7 else Value(v.x * 0.5, v.large, v.fine + 1)


def binary(g: Maker, v: Value) -> Value | None:
    v = g.checked(v)
    o = g.partner(v)
    if v.kind == "b":
        return Value(g.pick((c.logical_and, c.logical_or, c.logical_xor, e.equal))(v.x, o.x))
    if v.kind in "iu":
        return integer(g, v, o)
    large, fine, loose = max(v.large, o.large), max(v.fine, o.fine), max(v.loose, o.loose)
    name = g.rng.integers(7)
    if name < 3:
        return Value((e.add, e.subtract, lambda a, b: a - b * 2.0)[name](v.x, o.x), large + 2, fine, loose)
    if name < 5:
        return Value((e.maximum, e.minimum)[name - 3](v.x, o.x), large, fine, loose)
    if name == 5:
        return Value(v.x * o.x, v.large + o.large, v.fine + o.fine, loose)
    a, b, d = g.tame(v, 3, 2), g.tame(o, 3, 2), g.tame(g.partner(v), 3, 2)
    if not fits(np.broadcast_shapes(a.x.shape, b.x.shape), d.x.shape):
        return None
    return Value(a.x * b.x + d.x, 7, 4, max(a.loose, b.loose, d.loose))


def integer(g: Maker, v: Value, o: Value) -> Value:
    bits = v.x.dtype.itemsize * 8
    positive = lambda x: e.bitwise_and(x, e.full_like(x, 7)) + 1
    functions = (e.add, e.subtract, e.multiply, e.maximum, e.minimum, e.bitwise_and, e.bitwise_or, e.bitwise_xor,
                 lambda a, b: e.floor_divide(a, positive(b)), lambda a, b: e.remainder(a, positive(b)),
                 lambda a, b: e.bitwise_left_shift(a, e.bitwise_and(b, e.full_like(b, bits - 1))),
                 lambda a, b: e.bitwise_right_shift(a, e.bitwise_and(b, e.full_like(b, bits - 1))),
                 lambda a, b: e.floor_divide(a, e.full_like(a, 7)), lambda a, b: e.remainder(a, e.full_like(a, 10)))
    return Value(g.pick(functions)(v.x, o.x))


def compare(g: Maker, v: Value) -> Value | None:
    if v.loose:
        return None
    o = g.partner(v)
    return None if o.loose else Value(g.pick((e.less, e.less_equal, e.equal, c.greater, c.not_equal))(v.x, o.x))


def choose(g: Maker, v: Value) -> Value | None:
    v = g.checked(v)
    o, mask = g.partner(v), g.any(lambda o: o.kind == "b" and fits(o.x.shape, v.x.shape))
    if mask is None or not fits(np.broadcast_shapes(mask.x.shape, v.x.shape), o.x.shape):
        return None
    return Value(c.where(mask.x, v.x, o.x), max(v.large, o.large), max(v.fine, o.fine), max(v.loose, o.loose))


def cast(g: Maker, v: Value) -> Value | None:
    if not v.is_float:
        return Value(e.astype(v.x, g.pick(INTEGERS)), 2, 2) if g.coin(0.4) else g.to_float(v)
    if v.loose or g.coin(0.3):
        return g.to_float(v, "float64" if v.x.dtype == np.float32 else "float32")
    v = g.tame(v, 6, 3)
    kind = g.pick((*INTEGERS, "bool"))
    x = e.abs(v.x) if kind.startswith("u") else v.x
    return Value(e.astype(x, kind))


def move(g: Maker, v: Value) -> Value | None:
    x, rng = v.x, g.rng
    kept = lambda y: Value(y, v.large, v.fine, v.loose)
    kind = rng.integers(12)
    if kind == 0 and x.ndim > 1:
        return kept(m.permute_dims(x, tuple(int(a) for a in rng.permutation(x.ndim))))
    if kind == 1:
        return kept(m.reshape(x, factors(g, x.size)))
    if kind == 2 and x.ndim:
        return kept(m.flip(x, axis=g.axis(x)))
    if kind in (3, 4) and x.ndim:
        return kept(x[tuple(a_slice(g, n) for n in x.shape)])
    if kind == 5 and x.ndim:
        return kept(m.pad(x, [(g.extent(3) - 1, g.extent(3) - 1) for _ in x.shape], 0 if v.kind != "f" else 0.5))
    if kind == 6 and x.ndim < 5:
        return kept(broadcast_to(cr.expand_dims(x, axis=0), (g.extent(4), *x.shape)))
    if kind == 7 and x.ndim:
        return kept(cr.roll(x, int(rng.integers(-5, 6)), axis=g.axis(x)))
    if kind == 8 and x.ndim:
        return kept(cr.repeat(x, g.extent(3), axis=g.axis(x)))
    if kind == 9 and x.ndim > 1:
        return kept(g.pick((cr.tril, cr.triu))(x, k=int(rng.integers(-2, 3))))
    if kind == 10 and 0 < x.ndim < 4:
        return kept(cr.tile(x, (g.extent(3),) * x.ndim))
    if kind == 11 and 0 < x.ndim < 4:
        axis = g.axis(x)
        taps = min(x.shape[axis], g.extent(3))
        return kept(m.window(x, (axis,), (taps,), (g.extent(3),), (1,))) if taps else None
    return kept(cr.expand_dims(x, axis=int(rng.integers(x.ndim + 1)))) if x.ndim < 5 else None


def factors(g: Maker, size: int) -> tuple[int, ...]:
    if not size:
        return (0, g.extent(3))
    shape = []
    for n in (2, 3, 5, 7, 4):
        if size % n == 0 and g.coin():
            shape.append(n)
            size //= n
    return tuple(int(n) for n in g.rng.permutation([*shape, size]))


def a_slice(g: Maker, n: int) -> slice:
    if g.coin(0.4):
        return slice(None)
    ends = [None if g.coin(0.3) else int(g.rng.integers(-n - 1, n + 2)) for _ in range(2)]
    return slice(*ends, int(g.pick((1, 1, 2, 3, -1, -2, -3))))


def join(g: Maker, v: Value) -> Value | None:
    if not v.x.ndim:
        return None
    axis = g.axis(v.x)
    rest = lambda s: (*s[:axis], *s[axis + 1:])
    o = g.any(lambda o: o.x.dtype == v.x.dtype and o.x.ndim == v.x.ndim and rest(o.x.shape) == rest(v.x.shape))
    parts = [v.x, o.x, v.x][:g.extent(2) + 1]
    return Value(c.concat(parts, axis=axis), max(v.large, o.large), max(v.fine, o.fine), max(v.loose, o.loose))


def some_axes(g: Maker, x: Tensor) -> tuple[int, ...]:
    return tuple(int(a) for a in g.rng.permutation(x.ndim)[:g.extent(x.ndim)])


def reduce(g: Maker, v: Value) -> Value | None:
    if not v.x.ndim:
        return None
    axes, keep = some_axes(g, v.x), g.coin()
    count = math.prod(v.x.shape[a] for a in axes)
    kind = g.rng.integers(6)
    if v.kind == "b" or kind == 0:
        return Value(g.pick((r.any, r.all))(v.x, axis=axes, keepdims=keep))
    if kind in (1, 2):
        return Value(g.pick((r.max, r.min))(v.x, axis=axes, keepdims=keep), v.large, v.fine, v.loose) if count else None
    if kind == 3:
        if v.loose or not v.x.shape[axes[0]]:
            return None
        return Value(g.pick((r.argmax, r.argmin))(v.x, axis=axes[0], keepdims=keep))
    if v.kind in "iu":
        return Value(r.sum(v.x, axis=axes, keepdims=keep))
    v = g.tame(v, 4, 3)
    if kind == 4 and count:
        return rounded(
            g.pick((r.mean, r.var, lambda x, axis, keepdims: c.logsumexp(x, axis=axis, keepdims=keepdims)))(
                v.x, axis=axes, keepdims=keep
            ),
            9,
            v.loose,
        )
    return Value(r.sum(v.x, axis=axes, keepdims=keep), 4 + max(count, 1).bit_length(), 3, v.loose)


def cumulate(g: Maker, v: Value) -> Value | None:
    if not v.x.ndim or v.kind == "b":
        return None
    axis = g.axis(v.x)
    if v.is_float:
        v = g.tame(v, 4, 2)
    return Value(r.cumulative_sum(v.x, axis=axis), 4 + max(v.x.shape[axis], 1).bit_length(), 2, v.loose)


def order(g: Maker, v: Value) -> Value | None:
    if not v.x.ndim or v.loose or v.kind == "b":
        return None
    axis, down = g.axis(v.x), g.coin()
    if g.coin():
        return Value(index.sort(v.x, axis=axis, descending=down), v.large, v.fine)
    return Value(index.argsort(v.x, axis=axis, descending=down))


def gather(g: Maker, v: Value) -> Value | None:
    if not v.x.ndim:
        return None
    axis = g.axis(v.x)
    n = v.x.shape[axis]
    if not n:
        return None
    source = g.any(lambda o: o.kind == "i" and 0 < o.x.size < 200 and o.x.ndim < 3)
    at = (e.remainder(source.x, e.full_like(source.x, min(n, 100))) if source and g.coin()
          else cr.asarray(g.rng.integers(-n, n, (g.extent(9),))))
    if g.coin(0.3):
        shape = tuple(g.extent(5) if a == axis else k for a, k in enumerate(v.x.shape))
        return Value(index.take_along_axis(v.x, cr.asarray(g.rng.integers(-n, n, shape)), axis=axis), v.large, v.fine,
                     v.loose)
    return Value(index.take(v.x, at, axis=axis), v.large, v.fine, v.loose)


def put(g: Maker, v: Value) -> Value | None:
    if not v.x.ndim or v.kind == "b" or not v.x.size:
        return None
    axis, v = g.axis(v.x), g.checked(v)
    n = v.x.shape[axis]
    count = g.extent(6)
    shape = tuple(count if a == axis else k for a, k in enumerate(v.x.shape))
    if g.coin():  # every place once, so that "set" has one meaning
        at, mode = g.rng.permutation(n)[:count], "set"
        shape = tuple(len(at) if a == axis else k for a, k in enumerate(v.x.shape))
    else:
        at, mode = g.rng.integers(-n, n, (count,)), "add"
    o = g.partner(v)
    updates = (broadcast_to(o.x, shape) if fits(o.x.shape, shape) and np.broadcast_shapes(o.x.shape, shape) == shape
               else cr.asarray(g.array(shape, str(v.x.dtype))))
    return Value(index.scatter(v.x, cr.asarray(at), updates, axis=axis, mode=mode), max(v.large, o.large, 2) + 3,
                 max(v.fine, o.fine, 2), max(v.loose, o.loose))


def product(g: Maker, v: Value) -> Value | None:
    if not v.is_float or v.x.ndim < 1:
        return None
    v = g.tame(v, 3, 2)
    k = v.x.shape[-1]
    o = g.any(lambda o: o.x.dtype == v.x.dtype and o.x.ndim == 2 and o.x.shape[0] == k)
    p = g.any(lambda o: o.x.dtype == v.x.dtype and o.x.ndim == 2 and o.x.shape[1] == k)
    own = Value(cr.asarray(g.array((k, g.extent(40)), str(v.x.dtype))), 2, 2)
    kind = g.rng.integers(5)
    if kind == 0 and v.x.ndim > 1:
        return Value(c.matmul(v.x, c.matrix_transpose(v.x)), 6 + k.bit_length(), 4, v.loose)
    if kind == 1 and v.x.ndim > 1:
        return Value(c.matmul(c.matrix_transpose(v.x), v.x), 6 + v.x.shape[-2].bit_length(), 4, v.loose)
    if kind == 2 and p is not None:
        p = g.tame(p, 3, 2)
        return Value(c.matmul(v.x, c.matrix_transpose(p.x)), 6 + k.bit_length(), 4, max(v.loose, p.loose))
    o = g.tame(o, 3, 2) if o is not None and kind == 3 else own
    y = c.matmul(v.x, o.x)
    if g.coin(0.4):  # what is fused behind a product
        bias = cr.asarray(g.array((o.x.shape[1],), str(v.x.dtype)))
        y = (c.relu(y + bias) if g.coin() else c.where(e.less(y, 0.0), y * 0.5, y) if not max(v.loose, o.loose) else y
             + bias)
    return Value(y, 8 + k.bit_length(), 5, max(v.loose, o.loose))


def convolve(g: Maker, v: Value) -> Value | None:
    image = (v if v.is_float and 3 <= v.x.ndim <= 5 and v.x.size
             else g.any(lambda o: o.is_float and 3 <= o.x.ndim <= 5 and o.x.size))
    image = g.tame(image, 3, 2)
    x, rank = image.x, image.x.ndim - 2
    channels = x.shape[-1]
    divisors = [n for n in range(1, channels + 1) if channels % n == 0]
    groups = g.pick((1, 1, channels, int(g.pick(divisors))))
    kernel = tuple(g.extent(4) for _ in range(rank))
    w = cr.asarray(g.array((*kernel, channels // groups, groups * g.extent(3 if groups > 1 else 20)), str(x.dtype)))
    attrs = {"stride": tuple(g.extent(3) for _ in range(rank)), "dilation": tuple(g.extent(2) for _ in range(rank)),
             "padding": tuple((int(g.rng.integers(-1, 3)), int(g.rng.integers(0, 3))) for _ in range(rank)),
             "groups": groups}
    try:
        y = conv(x, w, **attrs)
    except cr.errors.ShapeError:
        return None
    if y.size > LARGEST:
        return None
    bits = (math.prod(kernel) * channels // groups).bit_length()
    kind = g.rng.integers(5)
    if kind == 0 and y.size:  # the gradients of the image and of the filter
        dx, dw = cr.gradients(r.sum(y * cr.asarray(g.array(y.shape, str(x.dtype)))), [x, w])
        return Value(g.pick((dx, dw)), 6 + max(bits, y.size.bit_length()), 4, image.loose)
    if kind == 1 and y.size:
        return Value(conv_transpose(c.clip(y, -4.0, 4.0), w, extents=x.shape[1:-1], **attrs),
                     7 + bits + w.shape[-1].bit_length(), 5, image.loose)
    if kind == 2:
        y = c.relu(y + cr.asarray(g.array(y.shape[-1:], str(x.dtype)))) + (
            1.0 if g.coin() else cr.asarray(g.array(y.shape, str(x.dtype)))
        )
    return Value(y, 8 + bits, 5, image.loose)


def pooled(g: Maker, v: Value) -> Value | None:
    image = g.any(lambda o: o.is_float and 3 <= o.x.ndim <= 5 and o.x.size)
    image = g.tame(image, 4, 3)
    x, rank = image.x, image.x.ndim - 2
    kernel = tuple(min(n, g.extent(3)) for n in x.shape[1:-1])
    stride, padding = (tuple(g.extent(3) for _ in range(rank)),
                       tuple((int(g.rng.integers(k)), int(g.rng.integers(k))) for k in kernel))
    if g.coin(0.3):
        return rounded(pool.avg_pool(x, kernel, stride, padding), 5, image.loose)
    y = pool.max_pool(x, kernel, stride, padding)
    if g.coin() and y.size and not image.loose:
        gradient, = cr.gradients(r.sum(y * cr.asarray(g.array(y.shape, str(x.dtype)))), [x])
        return Value(gradient, 3 + math.prod(kernel).bit_length(), 2)
    return Value(y, image.large, image.fine, image.loose)


def attention(g: Maker, v: Value) -> Value | None:
    heads, groups, width = g.pick(((1, 1), (2, 1), (4, 2), (3, 3))), None, g.extent(20)
    heads, groups = heads
    n, t, s = g.extent(2), int(g.pick((1, 7, 8, 9, 33, 65))), int(g.pick((8, 20, 70)))
    dtype = "float32" if g.coin(0.8) else "float64"
    q, k, w = (cr.asarray(g.array(shape, dtype))
               for shape in ((n, t, heads, width), (n, s, groups, width), (n, s, groups, g.extent(20))))
    if v.is_float and v.x.size:  # depends on what was there
        q = q + e.tanh(r.mean(e.astype(g.checked(v).x, dtype)))
    mask = cr.asarray(g.rng.random((n if g.coin() else 1, 1, t, s)) < 0.7) if g.coin(0.3) else None
    y = attend.attention(q, k, w, mask, causal=g.coin() and t <= s)
    if g.coin(0.4):
        gradient = g.pick(cr.gradients(r.sum(y * cr.asarray(g.array(y.shape, dtype))), [q, k, w]))
        return rounded(e.tanh(gradient * 0.1), 1, v.loose)
    return rounded(y, 3, v.loose)


def loop(g: Maker, v: Value) -> Value | None:
    if not v.x.ndim or not v.is_float or v.x.size > 3000 or not v.x.shape[0]:
        return None
    v = g.tame(v, 3, 2)
    step = v.x.shape[1:]
    start = cr.asarray(g.array(step, str(v.x.dtype)))
    w = cr.asarray(g.array((step[-1], step[-1]), str(v.x.dtype))) * 0.1 if step else None
    if g.coin() or not step:
        body = lambda h, x, _: ([c.clip(h[0] + x[0] * 0.5, -4.0, 4.0)], [h[0] * 2.0, e.maximum(h[0], x[0])])
        last, ys = scan(body, [start], [v.x], reverse=g.coin())
        return Value(g.pick((*last, *ys)), 4, 3, v.loose)
    body = lambda h, x, fixed: ([e.tanh(c.matmul(h[0], fixed[0]) + x[0])], [h[0]])
    last, ys = scan(body, [start], [v.x], [w], reverse=g.coin())
    return rounded(g.pick((*last, *ys)), 2, v.loose)


def smooth(g: Maker, v: Value) -> Value | None:
    if not v.is_float or not v.x.ndim or not v.x.shape[-1]:
        return None
    v = g.tame(v, 3, 2)
    axis = g.axis(v.x)
    if not v.x.shape[axis]:
        return None
    normal = lambda x: (x - r.mean(x, axis=axis, keepdims=True)) / e.sqrt(r.var(x, axis=axis, keepdims=True) + 0.1)
    return rounded(g.pick((lambda x: c.softmax(x, axis=axis), lambda x: c.log_softmax(x, axis=axis), normal))(v.x), 6,
                   v.loose)


def slope(g: Maker, v: Value) -> Value | None:
    """The gradient of what a late value adds up to, by an earlier one."""
    y, x = (g.any(lambda o: o.is_float and 0 < o.x.size < 3000) for _ in range(2))
    if y is None or x is None or x.x.node is y.x.node:
        return None
    y = g.tame(y, 4, 99)
    gradient, = cr.gradients(r.sum(e.tanh(y.x * 0.125)), [x.x], unrelated="zero")
    return rounded(e.tanh(gradient * 0.25), 1, OFF["float32"])


def noise(g: Maker, v: Value) -> Value | None:
    state = cr.asarray(g.rng.integers(0, 2**32, 4, dtype=np.uint32))
    return Value(e.floor(unit_uniform(state, g.shape()) * 8.0) * 0.5, 2, 1)


STEPS = (unary, unary, binary, binary, binary, compare, choose, choose, cast, move, move, move, join, reduce, reduce,
         cumulate, order, gather, put, product, product, convolve, convolve, pooled, attention, loop, smooth, slope,
         noise)
