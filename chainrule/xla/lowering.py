# SPDX-License-Identifier: Apache-2.0
"""The dictionary of the xla backend: each primitive as a function of JAX arrays with the attributes of its record.

A rule takes the operands and the attributes and returns what the NumPy meaning would, in the same dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..ir import Graph
from ..ir.node import Shape
from ..ops.packed import OFFSET
from ..ops.require import Demand
from . import faults
from .attention import attention, attention_gradient
from .emit import emit
from .philox import random_bits

EXACT = lax.Precision.HIGHEST  # float32 stays float32 on every device

# ---- elementwise


def _rounded(rule: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Integers are round already."""
    return lambda x: rule(x) if jnp.issubdtype(x.dtype, jnp.floating) else x


def _power(a: Any, b: Any) -> Any:
    return lax.pow(a, b) if jnp.issubdtype(a.dtype, jnp.floating) else jnp.power(a, b)


def _floor_divide(a: Any, b: Any) -> Any:
    if jnp.issubdtype(a.dtype, jnp.floating):
        return _divided(a, b)[0]
    zero = b == 0
    divided = jnp.floor_divide(a, jnp.where(zero, jnp.ones_like(b), b))
    return jnp.where(zero, jnp.zeros_like(a), divided)


def _remainder(a: Any, b: Any) -> Any:
    if jnp.issubdtype(a.dtype, jnp.floating):
        return _divided(a, b)[1]
    zero = b == 0
    return jnp.where(zero, jnp.zeros_like(a), jnp.remainder(a, jnp.where(zero, jnp.ones_like(b), b)))


def _divided(a: Any, b: Any) -> tuple[Any, Any]:
    """floor(a / b) and a - b floor(a / b) of floats; zeros have NumPy's signs, those of a / b and of b."""
    rest = lax.rem(a, b)
    quotient = (a - rest) / b
    across = (rest != 0) & ((b < 0) != (rest < 0))
    quotient = jnp.where(across, quotient - 1, quotient)
    rest = jnp.where(rest != 0, jnp.where(across, rest + b, rest), jnp.copysign(jnp.zeros_like(b), b))
    low = jnp.floor(quotient)
    low = jnp.where(quotient - low > 0.5, low + 1, low)
    low = jnp.where(quotient != 0, low, jnp.copysign(jnp.zeros_like(a), a / b))
    return jnp.where(b == 0, a / b, low), rest


# ---- movement

def _slice(x: Any, *, start: Shape, count: Shape, step: Shape) -> Any:
    low = [min(s, s + (n - 1) * d) if n else 0 for s, n, d in zip(start, count, step, strict=True)]
    stride = [abs(d) for d in step]
    high = [s + (n - 1) * d + 1 if n else 0 for s, n, d in zip(low, count, stride, strict=True)]
    y = lax.slice(x, low, high, [d if n > 1 else 1 for n, d in zip(count, stride, strict=True)])
    backwards = [i for i, d in enumerate(step) if d < 0]
    return lax.rev(y, backwards) if backwards else y


def _pad(x: Any, *, low: Shape, high: Shape, interior: Shape, value: float) -> Any:
    return lax.pad(x, jnp.asarray(value, x.dtype), list(zip(low, high, interior, strict=True)))


def _window(x: Any, *, axes: Shape, kernel: Shape, stride: Shape, dilation: Shape) -> Any:
    for axis, k, s, d in zip(axes, kernel, stride, dilation, strict=True):
        count = max((x.shape[axis] - (k - 1) * d - 1) // s + 1, 0)
        positions = jnp.arange(count)[:, None] * s + jnp.arange(k) * d
        x = jnp.moveaxis(jnp.take(x, positions, axis=axis, mode="clip"), axis + 1, -1)
    return x


def _unwindow(x: Any, *, extents: Shape, axes: Shape, **attrs: Any) -> Any:
    shape = list(x.shape[: x.ndim - len(axes)])
    for axis, extent in zip(axes, extents, strict=True):
        shape[axis] = extent
    if not x.size:
        return jnp.zeros(shape, x.dtype)
    image = jax.ShapeDtypeStruct(tuple(shape), x.dtype)
    return jax.linear_transpose(lambda image: _window(image, axes=axes, **attrs), image)(x)[0]


# ---- products

def _packed_product(x: Any, integers: Any, scale: Any, *, bits: int) -> Any:
    q = integers if bits == 8 else jnp.concatenate([integers & 15, integers >> 4]).astype(jnp.int8) - OFFSET
    groups, columns = scale.shape
    weight = q.astype(scale.dtype).reshape(groups, q.shape[0] // groups if groups else 0, columns) * scale[:, None]
    return jnp.matmul(x, weight.reshape(q.shape), precision=EXACT)


def _contract(a: Any, b: Any, *, contracting: Any, batch: Any) -> Any:
    return lax.dot_general(a, b, (contracting, batch), precision=EXACT, preferred_element_type=_sum_dtype(a))


def _sum_dtype(x: Any) -> Any:
    """The dtype in which products are summed: float32 for bfloat16 operands."""
    return jnp.float32 if x.dtype == jnp.bfloat16 else x.dtype


def _conv(x: Any, w: Any, *, stride: Shape, padding: Any, dilation: Shape, groups: int) -> Any:
    space = "DHW"[-len(stride):] if len(stride) <= 3 else "".join(map(str, range(len(stride))))
    image = f"N{space}C"
    return lax.conv_general_dilated(x, w, stride, padding, rhs_dilation=dilation, feature_group_count=groups,
                                    precision=EXACT, dimension_numbers=(image, f"{space}IO", image),
                                    preferred_element_type=_sum_dtype(x))


def _conv_input_gradient(g: Any, w: Any, *, extents: Shape, **attrs: Any) -> Any:
    shape = (g.shape[0], *extents, w.shape[-2] * attrs["groups"])
    if not g.size or not w.size:
        return jnp.zeros(shape, g.dtype)
    return jax.linear_transpose(lambda x: _conv(x, w, **attrs), jax.ShapeDtypeStruct(shape, g.dtype))(g)[0]


def _conv_filter_gradient(x: Any, g: Any, *, kernel: Shape, **attrs: Any) -> Any:
    shape = (*kernel, x.shape[-1] // attrs["groups"], g.shape[-1])
    if not g.size or not x.size:
        return jnp.zeros(shape, g.dtype)
    return jax.linear_transpose(lambda w: _conv(x, w, **attrs), jax.ShapeDtypeStruct(shape, g.dtype))(g)[0]


# ---- positions

def _checked(indices: Any, extent: int) -> Any:
    """Indices counted from the front; the first one out of bounds is noted, and moved inside."""
    wide = indices.astype(jnp.int64)
    if not wide.size:
        return wide
    outside = ((wide < -extent) | (wide >= extent)).reshape(-1)
    place = jnp.argmax(outside)
    faults.note(extent, outside.any(), wide.reshape(-1)[place], place)
    return jnp.clip(jnp.where(wide < 0, wide + extent, wide), 0, max(extent - 1, 0))


def _require(x: Any, ok: Any, *, demand: Demand) -> Any:
    if x.size:
        wrong = ~ok.reshape(-1)
        place = jnp.argmax(wrong)
        value = x.reshape(-1)[place].astype(jnp.float64)
        faults.note(0, wrong.any(), lax.bitcast_convert_type(value, jnp.int64), place)
    return x


def _take(x: Any, indices: Any, *, axis: int) -> Any:
    places = _checked(indices, x.shape[axis])
    if not x.shape[axis]:
        return jnp.zeros((*x.shape[:axis], *indices.shape, *x.shape[axis + 1:]), x.dtype)
    return jnp.take(x, places, axis=axis, mode="clip")


def _scatter(base: Any, indices: Any, updates: Any, *, axis: int, mode: str, drop: bool = False) -> Any:
    extent = base.shape[axis]
    if not drop:
        indices = _checked(indices, extent)
    else:
        wide = indices.astype(jnp.int64)
        # JAX counts from the end, and drops what lies behind the last
        indices = jnp.where(wide < -extent, extent, wide)
    if not base.size or not updates.size:
        return base
    target, outside = base.at[(*(slice(None),) * axis, indices)], "drop" if drop else "clip"
    return target.add(updates, mode=outside) if mode == "add" else target.set(updates, mode=outside)


# ---- loops

def _scan(*inputs: Any, body: Graph, carries: int, sequences: int, length: int, reverse: bool,
          history: bool) -> tuple[Any, ...]:
    fixed = inputs[carries + sequences:]
    sites: list[faults.Fault] = []

    def step(carry: Any, slices: Any) -> Any:
        with faults.collecting() as found:
            outputs = emit(body, [*carry, *slices, *fixed], LOWERINGS)
        sites[:] = found
        kept = (*outputs[carries:], *(carry if history else ()))
        return (tuple(outputs[:carries]),
                (kept, tuple((fault.wrong, jnp.stack([fault.index, fault.place])) for fault in found)))

    carry, (kept, notes) = lax.scan(step, tuple(inputs[:carries]), tuple(inputs[carries:carries + sequences]),
                                    length=length, reverse=reverse)
    for site, (wrong, index) in zip(sites, notes, strict=True):
        if length:
            faults.note(site.extent, wrong.any(), *index[jnp.argmax(wrong)], node=site.node)
    return (*carry, *kept)


def _while(*inputs: Any, body: Graph, carries: int, sequences: int, length: int, reverse: bool,
           history: bool) -> tuple[Any, ...]:
    """Rounds as long as the first carry is true; the first fault of each site is carried along."""
    fixed, sites = inputs[carries:], list[faults.Fault]()

    def turn(carry: Any) -> tuple[Any, Any]:
        with faults.collecting() as found:
            outputs = emit(body, [*carry, *fixed], LOWERINGS)
        sites[:] = found
        return tuple(outputs[:carries]), tuple((fault.wrong, jnp.stack([fault.index, fault.place])) for fault in found)

    def step(state: Any) -> Any:
        rounds, carry, notes = state
        after, new = turn(carry)
        return (rounds + 1, after,
                tuple((was | wrong, jnp.where(was, at, place))
                      for (was, at), (wrong, place) in zip(notes, new, strict=True)))

    _, kinds = jax.eval_shape(turn, tuple(inputs[:carries]))
    none = tuple((jnp.zeros((), bool), jnp.zeros(place.shape, place.dtype)) for _, place in kinds)
    start = jnp.zeros((), jnp.int64), tuple(inputs[:carries]), none
    _, carry, notes = lax.while_loop(lambda state: state[1][0] & (state[0] < length), step, start)
    for site, (wrong, index) in zip(sites, notes, strict=True):
        faults.note(site.extent, wrong, *index, node=site.node)
    return carry


# fmt: off
LOWERINGS: dict[str, Callable[..., Any]] = {
    "require": _require,

    "neg":   lax.neg,
    "abs":   lax.abs,
    "sign":  lambda x: jnp.where(x == 0, jnp.zeros_like(x), lax.sign(x)),  # of -0.0 it is 0.0
    "exp":   lax.exp,
    "expm1": lax.expm1,
    "log":   lax.log,
    "log1p": lax.log1p,
    "log2":  jnp.log2,
    "log10": jnp.log10,
    "sqrt":  lax.sqrt,
    "sin":   lax.sin,
    "cos":   lax.cos,
    "tan":   lax.tan,
    "asin":  lax.asin,
    "acos":  lax.acos,
    "sinh":  lax.sinh,
    "cosh":  lax.cosh,
    "tanh":  lax.tanh,
    "asinh": lax.asinh,
    "acosh": lax.acosh,
    "atanh": lax.atanh,
    "erf":   lax.erf,
    "floor": _rounded(lax.floor),
    "ceil":  _rounded(lax.ceil),
    "round": _rounded(lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN)),
    "not":   lax.bitwise_not,

    "add": lax.add,
    "sub": lax.sub,
    "mul": lax.mul,
    "div": lax.div,
    "pow": _power,
    "maximum": lax.max,
    "minimum": lax.min,
    "atan2":   lax.atan2,
    "floor_divide": _floor_divide,
    "remainder":    _remainder,
    "and": lax.bitwise_and,
    "or":  lax.bitwise_or,
    "xor": lax.bitwise_xor,
    "shift_left":  jnp.left_shift,
    "shift_right": jnp.right_shift,
    "equal":      lax.eq,
    "less":       lax.lt,
    "less_equal": lax.le,
    "where":   lax.select,
    "cast":    lambda x, *, dtype: x.astype(dtype),
    "bitcast": lambda x, *, dtype: lax.bitcast_convert_type(x, dtype),
    "bfloat16": lambda x: lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7),

    "reshape":   lambda x, *, shape: lax.reshape(x, shape),
    "transpose": lambda x, *, axes: lax.transpose(x, axes),
    "slice":     _slice,
    "pad":       _pad,
    "concat":    lambda *parts, axis: lax.concatenate(parts, axis),
    "window":    _window,
    "unwindow":  _unwindow,
    "broadcast": lambda x, *, shape: jnp.broadcast_to(x, shape),

    "sum":    lambda x, *, axes: jnp.sum(x, axis=axes, dtype=x.dtype),
    "max":    lambda x, *, axes: jnp.max(x, axis=axes),
    "min":    lambda x, *, axes: jnp.min(x, axis=axes),
    "argmax": lambda x, *, axis: jnp.argmax(x, axis=axis).astype(jnp.int64),
    "argmin": lambda x, *, axis: jnp.argmin(x, axis=axis).astype(jnp.int64),
    "cumsum": lambda x, *, axis: jnp.cumsum(x, axis=axis, dtype=x.dtype),

    "contract":             _contract,
    "packed_product":       _packed_product,
    "conv":                 _conv,
    "conv_input_gradient":  _conv_input_gradient,
    "conv_filter_gradient": _conv_filter_gradient,

    "attention":          attention,
    "attention_gradient": attention_gradient,

    "custom_gradient": lambda y, *_, rule: y,
    "barrier":         lax.optimization_barrier,
    "scan":            _scan,
    "while":           _while,

    "take":    _take,
    "scatter": _scatter,
    "sort":    lambda x, *, axis: jnp.sort(x, axis=axis),
    "argsort": lambda x, *, axis: jnp.argsort(x, axis=axis, stable=True).astype(jnp.int64),
    "iota":    lambda *, shape, axis, dtype: lax.broadcasted_iota(dtype, shape, axis),
    "random_bits": random_bits,

    "cholesky": lambda x: lax.linalg.cholesky(x, symmetrize_input=False),
    "solve":    jnp.linalg.solve,
    "slogdet":  lambda x: tuple(jnp.linalg.slogdet(x)),
    "qr":       lambda x: tuple(jnp.linalg.qr(x, mode="reduced")),
    "eigh":     lambda x: tuple(jnp.linalg.eigh(x, symmetrize_input=False)),
    "svd":      lambda x: tuple(jnp.linalg.svd(x, full_matrices=False)),
}
# fmt: on
