# SPDX-License-Identifier: Apache-2.0
"""Random numbers whose generator is a Variable: the same bits eagerly and compiled, saved and resumed with the model.

A generator holds uint32[4]: a key of 64 bits (the seed) and a stream of 64 bits, which each draw advances by one. The
bits of a draw are a pure function of these (Philox 4x32-10; Salmon et al., 2011), whatever the backend and the threads.
The functions of this module draw from one default generator, whose seed is 0 until `seed` is called.
"""

from __future__ import annotations

import itertools
import math
import operator
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import ArgumentError, CallError, DTypeError, ShapeError, explain
from .foundations.arguments import brief, guard, guard_methods, is_whole
from .ir.bind import as_tensor
from .ir.dtype import canonical, float32, float64, int32, int64, is_float, is_integer, uint32, uint64
from .ir.node import Shape
from .ir.tensor import Tensor
from .ir.variable import ThreadVariable, Variable
from .ops.broadcast import broadcast_to
from .ops.compose import concat
from .ops.control import stop_gradient
from .ops.elementwise import (
    add,
    as_float,
    astype,
    bitcast,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    cos,
    equal,
    less,
    less_equal,
    log,
    negative,
    remainder,
    sqrt,
    where,
)
from .ops.index import argsort, take
from .ops.movement import reshape, slice_axis
from .ops.random import random_bits
from .ops.reduce import argmax
from .ops.types import broadcast_shapes, normalize_axis
from .typing import ArrayLike, DTypeLike

_LAST = 2**32 - 1


class Generator:
    """A source of random numbers with a state of its own.

    Args:
        seed: an integer from 0 to 2^64 - 1; generators with different seeds give unrelated numbers.
        name: of the Variable that holds the state, shown in files and messages.

    Attributes:
        state: Variable uint32[4]: key 0, key 1, stream 0, stream 1.

    >>> first, second = cr.random.Generator(7), cr.random.Generator(7)
    >>> cr.all(first.normal((3,)) == second.normal((3,)))
    Tensor(True, dtype=bool)
    """

    def __init__(self, seed: int = 0, name: str = "random"):
        self.state = Variable(_initial(seed), name=name, trainable=False)

    def seed(self, seed: int) -> None:
        """Start again from `seed`, an integer from 0 to 2^64 - 1 (ArgumentError otherwise)."""
        self.state.assign(_initial(seed))

    def next(self) -> Tensor:
        """The state for one draw; the next one gets another stream."""
        state = self.state.value
        low = slice_axis(state, 0, 2, 3)
        carry = astype(equal(low, _LAST), uint32)
        step = concat([as_tensor(np.array([0, 0, 1], np.uint32)), carry])
        self.state.assign(add(state, step))
        return state

    def bits(self, shape: int | Sequence[int] = ()) -> Tensor:
        """uint32, each of the 2^32 values equally likely.

        >>> cr.random.seed(0)
        >>> a = cr.random.bits((2,))
        >>> cr.random.seed(0)
        >>> cr.all(cr.random.bits((2,)) == a)
        Tensor(True, dtype=bool)
        """
        return random_bits(self.next(), _shape(shape))

    def uniform(self, shape: int | Sequence[int] = (), low: ArrayLike = 0.0, high: ArrayLike = 1.0, *,
                dtype: DTypeLike = float32) -> Tensor:
        """Equally likely in [low, high); `low` and `high` may be tensors. Multiples of 2^-24 (float64: 2^-53) of the
        range.

        >>> draws = cr.random.uniform((1000,), low=-1.0, high=1.0)
        >>> bool(cr.all(draws >= -1.0)), bool(cr.all(draws < 1.0))
        (True, True)
        """
        dtype = _float_dtype(dtype)
        u = _unit(self.next(), _shape(shape), dtype)
        if isinstance(low, float | int) and isinstance(high, float | int):
            if low > high:
                raise ArgumentError(explain("the lower bound is above the upper one", got=f"low {low}, high {high}",
                                            expected="low <= high"))
            if (low, high) == (0, 1):
                return u
        return _between(*(astype(as_tensor(bound, dtype if isinstance(bound, float | int) else None), dtype)
                          for bound in (low, high)), u)

    def normal(self, shape: int | Sequence[int] = (), mean: ArrayLike = 0.0, std: ArrayLike = 1.0, *,
               dtype: DTypeLike = float32) -> Tensor:
        """Normally distributed around `mean` with standard deviation `std` (numbers or tensors).

        z = sqrt(-2 log u) cos(2 pi v) for uniform u in (0, 1] and v in [0, 1) (Box and Muller, 1958).

        >>> cr.random.seed(0)
        >>> draws = cr.random.normal((10_000,), mean=5.0, std=2.0)
        >>> round(float(cr.mean(draws)), 1), round(float(cr.std(draws)), 1)
        (5.0, 2.0)
        """
        dtype = _float_dtype(dtype)
        draw = _wide if dtype == float64 else random_bits
        first, second = _halves(draw(self.next(), (2, *_shape(shape))))
        z = sqrt(-2 * log(_positive(first, dtype))) * cos((2 * math.pi) * _fraction(second, dtype))
        return astype(as_tensor(mean, like=dtype), dtype) + astype(as_tensor(std, like=dtype), dtype) * z

    def randint(self, low: int, high: int | None = None, shape: int | Sequence[int] = (), *,
                dtype: DTypeLike = int64) -> Tensor:
        """Integers, equally likely in low, ..., high - 1; with one bound, in 0, ..., low - 1.

        64 random bits modulo the number of values: no value is preferred by more than that number / 2^64.

        >>> draws = cr.random.randint(1, 7, (1000,))
        >>> int(cr.min(draws)), int(cr.max(draws))
        (1, 6)
        """
        low, high = (0, low) if high is None else (low, high)
        if not 0 < high - low < 2**63:
            raise ArgumentError(explain("randint needs low < high", got=f"low {low}, high {high}"))
        dtype = canonical(dtype)
        if is_integer(dtype) and not np.iinfo(dtype).min <= low <= high - 1 <= np.iinfo(dtype).max:
            raise ArgumentError(explain(f"numbers from {low} to {high - 1} do not fit into {dtype}",
                                        got=f"randint({low}, {high}, dtype={dtype})", fix="take a wider dtype"))
        offset = remainder(_wide(self.next(), _shape(shape)), high - low)
        return astype(astype(offset, int64) + low, dtype)

    def bernoulli(self, p: ArrayLike = 0.5, shape: int | Sequence[int] | None = None) -> Tensor:
        """True with probability `p` (a number or a tensor), of shape `shape`, by default that of `p`.

        >>> cr.random.seed(0)
        >>> cr.random.bernoulli(0.5, (4,)).dtype
        dtype('bool')
        """
        p = as_float(p)
        if p.node.data is not None and ((p.node.data < 0) | (p.node.data > 1)).any():
            raise ArgumentError(explain("a probability lies between 0 and 1",
                                        got=f"{p.node.data.min():g} to {p.node.data.max():g}",
                                        fix="of logits, bernoulli(cr.sigmoid(logits))"))
        return less(_unit(self.next(), p.shape if shape is None else _shape(shape), p.dtype), p)

    def exponential(self, shape: int | Sequence[int] = (), scale: ArrayLike = 1.0, *,
                    dtype: DTypeLike = float32) -> Tensor:
        """Exponentially distributed with mean `scale`: -scale log(u) for uniform u in (0, 1].

        >>> cr.random.seed(0)
        >>> draws = cr.random.exponential((10_000,), scale=3.0)
        >>> abs(float(cr.mean(draws)) - 3.0) < 0.1
        True
        """
        dtype = _float_dtype(dtype)
        draw = _wide if dtype == float64 else random_bits
        return astype(as_tensor(scale, like=dtype), dtype) * -log(_positive(draw(self.next(), _shape(shape)), dtype))

    def categorical(self, logits: ArrayLike, shape: int | Sequence[int] | None = None, *, axis: int = -1) -> Tensor:
        """Class indices (int64) with probabilities softmax(logits) along `axis`, by adding Gumbel noise and taking the
        largest.

        Args:
            shape: of the result; it must broadcast with the other axes of `logits`, whose shape is the default.

        >>> cr.random.categorical(np.array([0.0, 100.0, 0.0]), (3,))
        Tensor([1, 1, 1], dtype=int64)
        """
        logits = as_float(logits)
        axis = normalize_axis(axis, logits.ndim) - logits.ndim
        rest = tuple(n for i, n in enumerate(logits.shape) if i != axis % logits.ndim)
        wanted = rest if shape is None else _shape(shape)
        place = len(wanted) + 1 + axis
        full = (*wanted[:place], logits.shape[axis], *wanted[place:])
        if broadcast_shapes(full, logits.shape) != full:
            raise ShapeError(explain("the shape of the samples does not fit the logits",
                                     got=f"{wanted} and {logits.shape}"))
        noise = negative(log(-log(_open_unit(self.next(), full, logits.dtype))))
        return argmax(broadcast_to(logits, full) + noise, axis=place)

    def permutation(self, x: ArrayLike, *, axis: int = 0) -> Tensor:
        """The numbers 0, ..., x - 1 in random order; or, of an array, its slices along `axis` in random order.

        >>> cr.sort(cr.random.permutation(5))
        Tensor([0, 1, 2, 3, 4], dtype=int64)
        """
        if is_whole(x) and not getattr(x, "shape", ()):
            if x < 0:
                raise ArgumentError(explain("a permutation is of 0 numbers or more", got=str(x)))
            return argsort(_wide(self.next(), (int(x),)))
        x = as_tensor(x)
        axis = normalize_axis(axis, x.ndim)
        return take(x, argsort(_wide(self.next(), (x.shape[axis],))), axis=axis)


guard_methods(Generator, ("bernoulli", "bits", "categorical", "exponential", "normal", "permutation", "randint", "seed",
                          "uniform"))


# ---- from bits to numbers

def _initial(seed: int) -> np.ndarray:
    seed = _whole_seed(seed)
    return np.array([seed & _LAST, (seed >> 32) & _LAST, 0, 0], np.uint32)


def _whole_seed(seed: Any) -> int:
    if not is_whole(seed) or getattr(seed, "shape", ()) != ():
        raise CallError(explain("a seed is one integer", got=f"seed={brief(seed)}",
                                expected="an integer from 0 to 2**64 - 1",
                                fix="turn it into a number first, for example zlib.crc32(text.encode())"
                                if isinstance(seed, str) else None))
    number = operator.index(seed)
    if not 0 <= number < 2**64:
        raise ArgumentError(explain("a seed has 64 bits and no sign", got=f"seed={brief(number)}",
                                    expected="an integer from 0 to 2**64 - 1", fix="seed % 2**64"))
    return number


def _shape(shape: int | Sequence[int]) -> Shape:
    return (int(shape),) if isinstance(shape, int | np.integer) else tuple(int(n) for n in shape)


def _float_dtype(dtype: Any) -> np.dtype:
    dtype = canonical(dtype)
    if not is_float(dtype):
        raise DTypeError(explain("these random numbers are real", got=str(dtype), expected="float32 or float64",
                                 fix="use randint for integers"))
    return dtype


def _halves(pair: Tensor) -> tuple[Tensor, Tensor]:
    first, second = (reshape(slice_axis(pair, 0, i, i + 1), pair.shape[1:]) for i in (0, 1))
    return first, second


def _wide(state: Tensor, shape: Shape) -> Tensor:
    """uint64 random bits."""
    high, low = _halves(astype(random_bits(state, (2, *shape)), uint64))
    return bitwise_or(bitwise_left_shift(high, 32), low)


def _fraction(bits: Tensor, dtype: np.dtype) -> Tensor:
    """In [0, 1): the upper 24 of 32 bits times 2^-24 (float32), the upper 53 of 64 times 2^-53 (float64)."""
    drop, unit = (11, 2.0**-53) if dtype == float64 else (8, 2.0**-24)
    return astype(bitwise_right_shift(bits, drop), dtype) * unit


def _between(low: Tensor, high: Tensor, u: Tensor) -> Tensor:
    """low + (high - low) u, which rounding may carry to `high` or past it: then the number below; also where high - low
    overflows."""
    span = high - low
    value = where(less(span, math.inf), low + span * u, low * (1 - u) + high * u)
    return where(less_equal(high, value) & less(low, high), stop_gradient(_below(high)), value)


def _below(x: Tensor) -> Tensor:
    """The largest number of the dtype that is smaller than x: the bits of a float, read as an integer, count the floats
    by magnitude."""
    bits = bitcast(x, int64 if x.dtype == float64 else int32)
    least = float(np.nextafter(np.zeros((), x.dtype), -1))
    return where(equal(x, 0), least, bitcast(where(less(0, x), bits - 1, bits + 1), x.dtype))


def _positive(bits: Tensor, dtype: np.dtype) -> Tensor:
    """In (0, 1], fine near 0, where a logarithm needs it: (n + 1/2) 2^-32 (float32), (n + 1/2) 2^-64 (float64),
    rounded."""
    return (astype(bits, dtype) + 0.5) * (2.0**-64 if dtype == float64 else 2.0**-32)


def _unit(state: Tensor, shape: Shape, dtype: np.dtype) -> Tensor:
    return _fraction(_wide(state, shape) if dtype == float64 else random_bits(state, shape), dtype)


def _open_unit(state: Tensor, shape: Shape, dtype: np.dtype) -> Tensor:
    """In (0, 1): with 0 replaced by half of the smallest step."""
    u = _unit(state, shape, dtype)
    return where(less(0, u), u, 2.0**-54 if dtype == float64 else 2.0**-25)


# ---- the default generator

class _Default(Generator):
    """The default generator: each thread has a state of its own, so that runs in several threads do not take numbers
    from each other.

    A thread that has not been seeded draws from a stream of the main thread's seed that no other has.
    """

    def __init__(self) -> None:
        self._seed, self._threads = 0, itertools.count(1)
        self.state = ThreadVariable(self._start, name="random")
        self.seed(0)

    def _start(self) -> np.ndarray:
        state = _initial(self._seed)
        if threading.current_thread() is not threading.main_thread():
            state[3] = next(self._threads) % 2**32
        return state

    def seed(self, seed: int) -> None:
        """Start again from `seed` in this thread; in the main thread, also those that were not seeded."""
        state = self.state
        state.assign(_initial(seed))
        if threading.current_thread() is threading.main_thread():
            self._seed = seed
            state.restart()
        state.own()


default = _Default()


def seed(seed: int) -> None:
    """Start the default generator again from `seed`: the same draws follow in the same order.

    A seed is an integer from 0 to 2^64 - 1, ArgumentError otherwise. Each thread has a state of its own; what the main
    thread says holds for all threads that say nothing themselves.

    >>> cr.random.seed(3)
    >>> a = cr.random.normal((2,))
    >>> cr.random.seed(3)
    >>> cr.all(cr.random.normal((2,)) == a)
    Tensor(True, dtype=bool)
    """
    default.seed(seed)


def variables() -> dict[str, Variable]:
    """The state of the default generator, for checkpoints.

    >>> state = {name: v.numpy().copy() for name, v in cr.random.variables().items()}
    >>> a = cr.random.normal((2,))
    >>> for name, v in cr.random.variables().items():
    ...     v.assign(state[name])
    >>> cr.all(cr.random.normal((2,)) == a)
    Tensor(True, dtype=bool)
    """
    return {"random": default.state}


bits = default.bits
uniform = default.uniform
normal = default.normal
randint = default.randint
bernoulli = default.bernoulli
exponential = default.exponential
categorical = default.categorical
permutation = default.permutation

__all__ = ["Generator", "bernoulli", "bits", "categorical", "default", "exponential", "normal", "permutation",
           "randint",
           "seed", "uniform", "variables"]

guard(globals(), ("seed",))
