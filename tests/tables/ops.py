# SPDX-License-Identifier: Apache-2.0
"""One row per primitive: operands, attributes, domain and how smooth it is. Every generated test of operations reads
it.

A case draws operands of a dtype from a generator; `dtypes` are NumPy names. `gradient` says how often the primitive is
differentiated in the check (0: it passes no gradient). `prepare` makes operands special (symmetric, positive definite)
with chainrule's own words, so that derivatives pass through it. `canonical` undoes what a result leaves open (signs).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.ir import REGISTRY, Graph, Tensor, Type, as_tensor, bind, tracing
from chainrule.ir.graph import close, input_node
from chainrule.ops import compose, linalg
from chainrule.ops import elementwise as e
from chainrule.ops.require import Demand

FLOATS = ("float32", "float64")
INTS = ("int32", "int64", "uint8", "uint32")
SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
BOOL = ("bool",)
Draw = Callable[[np.random.Generator, np.dtype], tuple[np.ndarray, ...]]


@dataclass(frozen=True)
class Case:
    """One use of a primitive."""

    draw: Draw
    attrs: dict[str, Any]
    dtypes: tuple[str, ...] = FLOATS
    label: str = ""


@dataclass(frozen=True)
class Row:
    """How to test one primitive."""

    cases: tuple[Case, ...]
    gradient: int = 0
    prepare: Callable[..., tuple[Tensor, ...]] | None = None
    canonical: Callable[..., Any] | None = None
    rtol: float = 2e-5
    atol: float = 2e-6


# ---- operands

def array(shape: tuple[int, ...], low: float = -2.0,
          high: float = 2.0) -> Callable[[np.random.Generator, np.dtype], np.ndarray]:
    """Uniform in [low, high) for floats (integers: at the ends included, cut at 0 for unsigned; booleans: a coin)."""
    def draw(rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
        if dtype.kind == "b":
            return rng.random(shape) < 0.5
        if dtype.kind in "iu":
            least = max(int(low), 0) if dtype.kind == "u" else int(low)
            return rng.integers(least, max(int(high), least), size=shape, endpoint=True).astype(dtype)
        return rng.uniform(low, high, shape).astype(dtype)
    return draw


def integers(shape: tuple[int, ...], low: int, high: int, dtype: str = "int64") -> Callable[..., np.ndarray]:
    """Integers low <= i < high of a dtype of their own."""
    return lambda rng, _: rng.integers(low, high, size=shape).astype(dtype)


def distinct(shape: tuple[int, ...], count: int) -> Callable[..., np.ndarray]:
    """Different positions below `count`."""
    return lambda rng, _: rng.permutation(count)[: int(np.prod(shape))].reshape(shape)


def operands(*draws: Callable[[np.random.Generator, np.dtype], np.ndarray]) -> Draw:
    """Several operands drawn one after another."""
    return lambda rng, dtype: tuple(draw(rng, dtype) for draw in draws)


def fixed(*arrays: Any) -> Draw:
    """Given values in the dtype of the case."""
    return lambda rng, dtype: tuple(np.asarray(x).astype(dtype) for x in arrays)


SHAPES = ((), (2, 0, 3), (3, 5), (4, 33), (2, 3, 17))


def elementwise(arity: int, dtypes: tuple[str, ...] = FLOATS, gradient: int = 0, low: float = -2.0, high: float = 2.0,
                special: tuple[Any, ...] = (), **tolerances: float) -> Row:
    """Every shape in every dtype; `special` values are compared between backends in floats only."""
    cases = [Case(operands(*[array(shape, low, high)] * arity), {}, dtypes) for shape in SHAPES]
    if special:
        grid = np.meshgrid(*[np.asarray(special, np.float64)] * arity)
        cases.append(Case(fixed(*(x.reshape(-1) for x in grid)), {}, tuple(d for d in dtypes if d in FLOATS),
                          "special"))
    return Row(tuple(cases), gradient, **tolerances)


def cases(draw_shapes: Any, *attrs: dict[str, Any], dtypes: tuple[str, ...] = FLOATS) -> tuple[Case, ...]:
    """One case per entry: (shape or shapes of the operands, attributes)."""
    return tuple(Case(operands(*map(array, _shapes(shapes))), a, dtypes)
                 for shapes, a in zip(draw_shapes, attrs, strict=True))


def _shapes(shapes: Any) -> list[tuple[int, ...]]:
    return [shapes] if not shapes or isinstance(shapes[0], int) else list(shapes)


# ---- special matrices

def symmetric(x: Tensor) -> tuple[Tensor, ...]:
    return (x + linalg.transposed(x),)


def positive(x: Tensor) -> tuple[Tensor, ...]:
    return (linalg.product(x, linalg.transposed(x)) + linalg.eye_like(x),)


def regular(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
    return (x + 4.0 * linalg.eye_like(x), *rest)


def eigen_projections(w: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
    """Eigenvalues and the projection on each eigenvector: no sign left."""
    return w, np.einsum("...ik,...jk->...kij", v, v)


def singular_projections(u: np.ndarray, s: np.ndarray, vh: np.ndarray) -> tuple[np.ndarray, ...]:
    """Singular values and the rank-one parts: no sign left."""
    return s, np.einsum("...ik,...kj->...kij", u, vh)


def triangle_projections(q: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, ...]:
    """The rank-one parts of q r: no sign left."""
    return (np.einsum("...ik,...kj->...kij", q, r),)


# ---- loops

def make_body(dtype: np.dtype) -> Graph:
    """(carry [3], count, x [3], w [3, 3]) -> (new carry, count + 1, carry * count)."""
    kinds = [Type((3,), dtype), Type((), np.dtype("int64")), Type((3,), dtype), Type((3, 3), dtype)]
    inputs = [input_node(kind) for kind in kinds]
    with tracing():
        carry, count, x, w = map(Tensor, inputs)
        new = e.tanh(compose.matmul(carry, w) + compose.softplus(x))
        results = [new, count + 1, new * e.astype(count, dtype) + carry]
    return close(inputs, [y.node for y in results])


BODIES = {name: make_body(np.dtype(name)) for name in FLOATS}


def scan_case(dtype: str, length: int, reverse: bool, history: bool) -> Case:
    draw = operands(array((3,)), integers((), 0, 3), array((length, 3)), array((3, 3)))
    attrs = {"body": BODIES[dtype], "carries": 2, "sequences": 1, "length": length, "reverse": reverse,
             "history": history}
    return Case(draw, attrs, (dtype,))


def make_stopping_body(dtype: np.dtype) -> Graph:
    """(flag, carry [3], count, w [3]) -> (count < 3, carry * w + count, count + 1)."""
    kinds = [Type((), np.dtype(bool)), Type((3,), dtype), Type((), np.dtype("int64")), Type((3,), dtype)]
    inputs = [input_node(kind) for kind in kinds]
    with tracing():
        _, carry, count, w = map(Tensor, inputs)
        results = [e.less(count, 3), e.tanh(carry * w) + e.astype(count, dtype), count + 1]
    return close(inputs, [y.node for y in results])


STOPPING = {name: make_stopping_body(np.dtype(name)) for name in FLOATS}


def while_case(dtype: str, length: int) -> Case:
    draw = operands(integers((), 0, 2, "bool"), array((3,)), integers((), 0, 3), array((3,)))
    return Case(draw, {"body": STOPPING[dtype], "carries": 3, "sequences": 0, "length": length, "reverse": False,
                       "history": False}, (dtype,))


# ---- convolution: (image, filter, stride, padding, dilation, groups)

CONVOLUTIONS = (
    ((2, 7, 5, 3), (3, 3, 3, 4), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    ((2, 8, 9, 4), (3, 2, 2, 6), (2, 3), ((0, 1), (2, 0)), (1, 2), 2),
    ((1, 6, 6, 2), (3, 3, 1, 2), (1, 1), ((-1, 2), (0, -1)), (1, 1), 2),
    ((3, 9, 2), (4, 2, 5), (2,), ((3, 0),), (2,), 1),
    ((1, 4, 5, 3, 2), (2, 2, 2, 2, 3), (1, 2, 1), ((0, 0), (1, 1), (0, 1)), (1, 1, 1), 1),
    ((2, 2, 2, 1), (3, 3, 1, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    ((0, 5, 5, 2), (3, 3, 2, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    ((1, 1, 1, 8), (1, 1, 8, 8), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
)


def _convolution_cases(face: str) -> tuple[Case, ...]:
    found = []
    for image, weights, stride, padding, dilation, groups in CONVOLUTIONS:
        attrs: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        out = (image[0], *(max((s + a + b - d * (k - 1) - 1) // t + 1, 0) for s, k, t, (a, b), d in
                           zip(image[1:-1], weights[:-2], stride, padding, dilation, strict=True)), weights[-1])
        if face == "conv":
            shapes = (image, weights)
        elif face == "input":
            shapes, attrs["extents"] = (out, weights), image[1:-1]
        else:
            shapes, attrs["kernel"] = (image, out), weights[:-2]
        found += cases([shapes], attrs)
    return tuple(found)


SPECIAL = (0.0, -0.0, 0.5, -1.0, 3.0, 80.0, -80.0, np.inf, -np.inf, np.nan)
WINDOWS = (((2, 7, 6, 3), (1, 2), (3, 2), (2, 1), (1, 2)), ((9,), (0,), (3,), (2,), (1,)),
           ((4, 2), (0,), (5,), (1,), (1,)), ((3, 8), (1,), (2,), (3,), (1,)))


def _window_case(shape: Any, axes: Any, kernel: Any, stride: Any, dilation: Any, back: bool) -> Case:
    attrs = {"axes": axes, "kernel": kernel, "stride": stride, "dilation": dilation}
    extents = [max((shape[a] - d * (k - 1) - 1) // s + 1, 0)
               for a, k, s, d in zip(axes, kernel, stride, dilation, strict=True)]
    out = list(shape)
    for axis, extent in zip(axes, extents, strict=True):
        out[axis] = extent
    if back:
        return cases([(*out, *kernel)], {**attrs, "extents": tuple(shape[a] for a in axes)})[0]
    return cases([shape], attrs)[0]


def _casts() -> tuple[Case, ...]:
    pairs = [(a, b) for a in ("bool", "int32", "int64", "uint8", "float32", "float64") for b in
             ("bool", "int8", "int32", "int64", "uint8", "uint32", "float32", "float64")]
    return tuple(Case(operands(array((3, 4), 0, 100)), {"dtype": np.dtype(b)}, (a,)) for a, b in pairs)


def _extremes() -> tuple[Case, ...]:
    shapes = ((7,), (3, 5), (3, 5), (2, 3, 4), (2, 3, 4), (0, 3), ())
    axes = ((0,), (0,), (1,), (0, 2), (0, 1, 2), (1,), ())
    return (*cases(shapes, *({"axes": a} for a in axes), dtypes=(*FLOATS, "int32", "uint8", "bool")),
            Case(fixed([[1.0, np.nan, 3.0], [-np.inf, 2.0, np.inf]]), {"axes": (1,)}, FLOATS, "special"))


def _index_of() -> tuple[Case, ...]:
    return (*cases(((7,), (3, 5), (3, 5), (2, 3, 4), (0, 3)), *({"axis": a} for a in (0, 0, 1, 1, 1)),
                   dtypes=(*FLOATS, "int32", "uint8", "bool")),
            Case(fixed([[1.0, np.nan, 3.0], [2.0, 2.0, 1.0]]), {"axis": 1}, FLOATS, "special"))


def _sums() -> tuple[Case, ...]:
    shapes = ((7,), (3, 5), (3, 5), (2, 3, 4), (2, 3, 4), (0, 3), (4, 0), (2, 1, 3), (5, 700))
    axes = ((0,), (0,), (1,), (0, 2), (0, 1, 2), (0,), (1,), (1,), (1,))
    return cases(shapes, *({"axes": a} for a in axes), dtypes=(*FLOATS, "int32", "int64", "uint8"))


def _takes() -> tuple[Case, ...]:
    return (Case(operands(array((5, 3)), integers((4,), -5, 5)), {"axis": 0}, (*FLOATS, "int32", "bool")),
            Case(operands(array((2, 6, 3)), integers((2, 3), 0, 6, "int32")), {"axis": 1}),
            Case(operands(array((2, 6)), integers((), -6, 6)), {"axis": 1}),
            Case(operands(array((7,)), integers((0,), 0, 7)), {"axis": 0}),
            Case(operands(array((9, 2)), integers((5,), 0, 9, "uint8")), {"axis": 0}))


def _scatters() -> tuple[Case, ...]:
    add, put = {"axis": 0, "mode": "add"}, {"axis": 1, "mode": "set"}
    return (Case(operands(array((5, 3)), integers((9,), -5, 5), array((9, 3))), add, (*FLOATS, "int32")),
            Case(operands(array((4,)), integers((2, 3), 0, 4, "int32"), array((2, 3))), add),
            Case(operands(array((2, 6, 3)), distinct((2, 2), 6), array((2, 2, 2, 3))), put, (*FLOATS, "int32", "bool")),
            Case(operands(array((2, 6)), distinct((1,), 6), array((2, 1))), put),
            Case(operands(array((3, 2)), integers((0,), 0, 3), array((0, 2))), add),
            Case(operands(array((5, 3)), integers((9,), -8, 9), array((9, 3))), add | {"drop": True},
                 (*FLOATS, "int32")),
            Case(operands(array((4,)), integers((2, 3), -6, 7, "int32"), array((2, 3))), add | {"drop": True}),
            Case(operands(array((2, 4, 3)), distinct((3, 2), 6), array((2, 3, 2, 3))), put | {"drop": True},
                 (*FLOATS, "int32", "bool")))


# ---- attention: (q, k, v, mask or None, causal)

HEADS: tuple[Any, ...] = (
    ((2, 5, 2, 3), (2, 5, 2, 3), (2, 5, 2, 3), None, False),
    ((2, 5, 2, 4), (2, 5, 2, 4), (2, 5, 2, 4), None, True),
    ((1, 37, 4, 5), (1, 70, 2, 5), (1, 70, 2, 3), None, True),
    ((2, 70, 2, 16), (2, 41, 1, 16), (2, 41, 1, 16), (2, 1, 1, 41), False),
    ((2, 9, 4, 3), (2, 11, 2, 3), (2, 11, 2, 33), (1, 4, 9, 11), True),
    ((1, 9, 1, 3), (1, 4, 1, 3), (1, 4, 1, 3), None, True),
    ((2, 1, 2, 8), (2, 40, 2, 8), (2, 40, 2, 8), (1, 1, 1, 40), False),
    ((0, 3, 2, 4), (0, 3, 2, 4), (0, 3, 2, 4), None, True),
    ((2, 3, 2, 4), (2, 0, 2, 4), (2, 0, 2, 5), None, False),
)


def _heads(back: bool) -> tuple[Case, ...]:
    """Each row for attention or for its gradient; queries without any key (denominator minus infinity) are special."""
    found = []
    for q, k, v, mask, causal in HEADS:
        shapes = [q, k, v, *([q[:3], q[:3], (*q[:3], v[3])] if back else [])]
        draws: list[Any] = [array(s, -1.0, 1.0) for s in shapes]
        if mask is not None:
            draws.append(lambda rng, _, mask=mask: (rng.random(mask) < 0.4) | (np.arange(mask[3]) == 0))
        without = k[1] == 0 or (causal and q[1] > k[1])
        found.append(Case(operands(*draws), {"causal": causal, "scale": 0.7}, label="special" if without and not back
                          else ""))
    return tuple(found)


def _shift(shape: tuple[int, ...], dtypes: tuple[str, ...]) -> Case:
    return Case(operands(array(shape, -100, 100), array(shape, 0, 6)), {}, dtypes)


# fmt: off
def _packed_products() -> tuple[Case, ...]:
    """(m, k, n, groups, bits): one row and several, columns that fill no vector, groups that 4 bits cut in two, nothing
    at all."""
    uses = ((1, 64, 40, 2, 8), (3, 6, 5, 3, 8), (17, 96, 7, 3, 4), (2, 10, 1, 5, 4), (1, 4, 3, 1, 4),
            (2, 700, 19, 7, 8), (0, 4, 3, 2, 8), (2, 0, 3, 1, 8), (2, 4, 0, 1, 4))
    return tuple(Case(operands(array((m, k)), integers((k, n), -127, 128, "int8") if bits == 8
                               else integers((k // 2, n), 0, 256, "uint8"), array((groups, n), 0.1, 1.0)),
                      {"bits": bits}) for m, k, n, groups, bits in uses)


ROWS: dict[str, Row] = {
    # elementwise, one operand
    "neg":   elementwise(1, (*FLOATS, *INTS), 2, special=SPECIAL),
    "abs":   elementwise(1, (*FLOATS, "int32", "int8"), 2, special=SPECIAL),
    "sign":  elementwise(1, (*FLOATS, *INTS), special=SPECIAL),
    "exp":   elementwise(1, FLOATS, 2, special=SPECIAL),
    "expm1": elementwise(1, FLOATS, 2, special=SPECIAL),
    "log":   elementwise(1, FLOATS, 2, 0.2, 5.0, special=SPECIAL),
    "log1p": elementwise(1, FLOATS, 2, -0.7, 3.0, special=SPECIAL),
    "log2":  elementwise(1, FLOATS, 2, 0.2, 5.0, special=SPECIAL),
    "log10": elementwise(1, FLOATS, 2, 0.2, 5.0, special=SPECIAL),
    "sqrt":  elementwise(1, FLOATS, 2, 0.2, 5.0, special=SPECIAL),
    "sin":   elementwise(1, FLOATS, 2, -9.0, 9.0, special=SPECIAL),
    "cos":   elementwise(1, FLOATS, 2, -9.0, 9.0, special=SPECIAL),
    "tan":   elementwise(1, FLOATS, 2, -1.2, 1.2, special=SPECIAL),
    "asin":  elementwise(1, FLOATS, 2, -0.9, 0.9, special=SPECIAL),
    "acos":  elementwise(1, FLOATS, 2, -0.9, 0.9, special=SPECIAL),
    "sinh":  elementwise(1, FLOATS, 2, special=SPECIAL),
    "cosh":  elementwise(1, FLOATS, 2, special=SPECIAL),
    "tanh":  elementwise(1, FLOATS, 2, special=SPECIAL),
    "asinh": elementwise(1, FLOATS, 2, special=SPECIAL),
    "acosh": elementwise(1, FLOATS, 2, 1.2, 5.0, special=SPECIAL),
    "atanh": elementwise(1, FLOATS, 2, -0.9, 0.9, special=SPECIAL),
    "erf":   elementwise(1, FLOATS, 2, special=SPECIAL),
    "floor": elementwise(1, FLOATS, special=SPECIAL),
    "ceil":  elementwise(1, FLOATS, special=SPECIAL),
    "round": elementwise(1, FLOATS, special=(*SPECIAL, 1.5, 2.5, -0.5)),
    "not":   elementwise(1, (*BOOL, *SIGNED, *UNSIGNED)),
    # elementwise, two operands
    "add":     elementwise(2, (*FLOATS, *INTS), 2, special=SPECIAL),
    "sub":     elementwise(2, (*FLOATS, *INTS), 2, special=SPECIAL),
    "mul":     elementwise(2, (*FLOATS, *INTS), 2, special=SPECIAL),
    "div":     elementwise(2, FLOATS, 2, 0.5, 3.0, special=SPECIAL),
    "pow":     elementwise(2, (*FLOATS, "int32", "int64", "uint8"), 2, 0.5, 3.0,
                           special=(0.0, 0.5, 1.0, 2.0, -1.0, -2.0, np.inf, np.nan)),
    "maximum": elementwise(2, (*FLOATS, *INTS), 2, special=SPECIAL),
    "minimum": elementwise(2, (*FLOATS, *INTS), 2, special=SPECIAL),
    "atan2":   elementwise(2, FLOATS, 2, 0.3, 2.0, special=SPECIAL),
    "floor_divide": elementwise(2, (*FLOATS, *INTS), low=-40, high=40, special=(0.5, -0.5, 3.0, -3.0, 7.25, -7.0)),
    "remainder":    elementwise(2, (*FLOATS, *INTS), 2, low=-40, high=40, special=(0.5, -0.5, 3.0, -3.0, 7.25, -7.0)),
    "and": elementwise(2, (*BOOL, "int32", "uint8", "int64"), low=-99, high=99),
    "or":  elementwise(2, (*BOOL, "int32", "uint8", "int64"), low=-99, high=99),
    "xor": elementwise(2, (*BOOL, "int32", "uint8", "int64"), low=-99, high=99),
    "shift_left":  Row((_shift((3, 5), ("int32", "int64", "uint8", "uint32", "uint64")), _shift((), ("int64",)))),
    "shift_right": Row((_shift((3, 5), ("int32", "int64", "uint8", "uint32", "uint64")), _shift((), ("int64",)))),
    "equal":      elementwise(2, (*FLOATS, *INTS, *BOOL), special=SPECIAL),
    "less":       elementwise(2, (*FLOATS, *INTS), special=SPECIAL),
    "less_equal": elementwise(2, (*FLOATS, *INTS), special=SPECIAL),
    "where": Row(tuple(Case(operands(lambda rng, _, s=s: rng.random(s) < 0.5, array(s), array(s)), {},
                            (*FLOATS, "int64", "bool")) for s in SHAPES), 2),
    "cast":    Row(_casts(), 2),
    "bitcast": Row((Case(operands(array((3, 5))), {"dtype": np.dtype("int32")}, ("float32", "uint32")),
                    Case(operands(array((3,))), {"dtype": np.dtype("float64")}, ("int64",)))),
    "bfloat16": elementwise(1, ("float32",), special=(*SPECIAL, 1e-40, -3e-45, 1.00390625, 1.01171875, 3.4e38)),
    # movement
    "reshape":   Row(cases(((3, 4), (3, 4), (), (1,), (2, 0), (2, 3, 4)),
                           *({"shape": s} for s in ((2, 6), (12,), (1, 1), (), (0, 5), (4, 6))),
                           dtypes=(*FLOATS, "int64", "bool")), 2),
    "transpose": Row(cases(((3, 4), (2, 3, 4), (2, 3, 4), (0, 2), (2, 3, 4, 5)),
                           *({"axes": a} for a in ((1, 0), (2, 0, 1), (0, 2, 1), (1, 0), (3, 1, 0, 2))),
                           dtypes=(*FLOATS, "int64", "bool")), 2),
    "slice": Row(cases(((7, 5), (7, 5), (6,), (6,), (4, 3), (3, 0)),
                       {"start": (1, 0), "count": (3, 5), "step": (2, 1)},
                       {"start": (6, 4), "count": (3, 2), "step": (-3, -2)},
                       {"start": (5,), "count": (6,), "step": (-1,)}, {"start": (0,), "count": (0,), "step": (1,)},
                       {"start": (3, 1), "count": (1, 1), "step": (1, -1)},
                       {"start": (0, 0), "count": (2, 0), "step": (2, 1)}, dtypes=(*FLOATS, "int32", "bool")), 2),
    "pad": Row((*cases(((3, 4), (5,), (2, 0), (4, 3), ()),
                       {"low": (1, 0), "high": (0, 2), "interior": (0, 0), "value": 0.0},
                       {"low": (2,), "high": (1,), "interior": (2,), "value": 0.0},
                       {"low": (0, 1), "high": (1, 2), "interior": (1, 1), "value": 0.0},
                       {"low": (0, 3), "high": (1, 0), "interior": (1, 0), "value": 2.0},
                       {"low": (), "high": (), "interior": (), "value": 1.0}, dtypes=(*FLOATS, "int32")),
                Case(operands(array((3,))), {"low": (1,), "high": (1,), "interior": (0,), "value": -np.inf}, FLOATS,
                     "special")), 2),
    "concat": Row(cases((((2, 3), (4, 3)), ((2, 3), (2, 1), (2, 0)), ((5,),), ((0, 2), (3, 2))),
                        *({"axis": a} for a in (0, 1, 0, 0)), dtypes=(*FLOATS, "int64", "bool")), 2),
    "window":   Row(tuple(_window_case(*w, back=False) for w in WINDOWS), 2),
    "unwindow": Row(tuple(_window_case(*w, back=True) for w in WINDOWS), 2),
    "broadcast": Row(cases(((), (3,), (1, 3), (2, 1, 3), (1,), (0,)),
                           *({"shape": s} for s in ((2, 3), (2, 3), (4, 3), (5, 2, 4, 3), (0,), (2, 0))),
                           dtypes=(*FLOATS, "int64", "bool")), 2),
    # reductions
    "sum": Row(_sums(), 2, rtol=1e-4, atol=1e-4),
    "max": Row(_extremes(), 2),
    "min": Row(_extremes(), 2),
    "argmax": Row(_index_of()),
    "argmin": Row(_index_of()),
    "cumsum": Row(cases(((7,), (3, 5), (3, 5), (0, 2), (2, 70, 3)), *({"axis": a} for a in (0, 0, 1, 0, 1)),
                        dtypes=(*FLOATS, "int32", "int64", "uint8")),
                  2, rtol=1e-4, atol=1e-4),
    # products
    "contract": Row(cases((((3, 4), (4, 5)), ((4, 3), (5, 4)), ((2, 3, 4), (2, 4, 5)), ((2, 3, 4, 5), (5, 3, 6, 2)),
                           ((4,), (4,)), ((3,), (4,)), ((3, 0), (0, 2)), ((2, 3, 0), (2, 0, 4)), ((1, 65), (65, 33)),
                           ((0, 3), (3, 4))),
                          {"contracting": ((1,), (0,)), "batch": ((), ())},
                          {"contracting": ((0,), (1,)), "batch": ((), ())},
                          {"contracting": ((2,), (1,)), "batch": ((0,), (0,))},
                          {"contracting": ((1, 3), (1, 0)), "batch": ((0,), (3,))},
                          {"contracting": ((0,), (0,)), "batch": ((), ())},
                          {"contracting": ((), ()), "batch": ((), ())},
                          {"contracting": ((1,), (0,)), "batch": ((), ())},
                          {"contracting": ((2,), (1,)), "batch": ((0,), (0,))},
                          {"contracting": ((1,), (0,)), "batch": ((), ())},
                          {"contracting": ((1,), (0,)), "batch": ((), ())}, dtypes=(*FLOATS, "int64")), 2, rtol=1e-4,
                    atol=1e-5),
    "packed_product": Row(_packed_products(), 2, rtol=1e-4, atol=1e-4),
    "attention":          Row(_heads(back=False), 2, rtol=1e-4, atol=1e-5),
    "attention_gradient": Row(_heads(back=True), 1, rtol=1e-4, atol=1e-5),
    "conv":                 Row(_convolution_cases("conv"), 2, rtol=1e-4, atol=1e-5),
    "conv_input_gradient":  Row(_convolution_cases("input"), 2, rtol=1e-4, atol=1e-5),
    "conv_filter_gradient": Row(_convolution_cases("filter"), 2, rtol=1e-4, atol=2e-5),
    # control
    "custom_gradient": Row((Case(operands(array((3, 4))), {"rule": None}),)),
    "barrier": Row((Case(operands(array((3, 4))), {}, (*FLOATS, "int64")),), 2),
    "scan": Row(tuple(scan_case(d, n, reverse, history) for d in FLOATS for n, reverse, history in
                      ((4, False, False), (3, True, False), (4, False, True), (3, True, True), (1, False, False),
                       (0, False, False))), 2, rtol=1e-4, atol=1e-5),
    "while": Row(tuple(while_case(d, n) for d in FLOATS for n in (1, 2, 10)), 2, rtol=1e-4, atol=1e-5),
    # positions
    "take":    Row(_takes(), 2),
    "require": Row(tuple(Case(operands(array(shape), integers(shape, 1, 2, "bool")),
                              {"demand": Demand("a number", -9.0, 9.0)}, (*FLOATS, "int32", "bool"))
                         for shape in ((3, 4), (), (0, 2), (33,))), 1),
    "scatter": Row(_scatters(), 2),
    "argsort": Row((*cases(((7,), (3, 5), (3, 5), (2, 0), (2, 40, 3)), *({"axis": a} for a in (0, 0, 1, 1, 1)),
                           dtypes=(*FLOATS, "int32", "bool", "uint8")),
                    Case(fixed([1.0, np.nan, -np.inf, np.inf, 0.0, -0.0, np.nan, 1.0]), {"axis": 0}, FLOATS,
                         "special"))),
    "sort": Row((*cases(((7,), (3, 5), (3, 5), (2, 0), (2, 40, 3)), *({"axis": a} for a in (0, 0, 1, 1, 1)),
                        dtypes=(*FLOATS, "int32", "bool", "uint8")),
                 Case(fixed([1.0, np.nan, -np.inf, np.inf, 0.0, -0.0, np.nan, 1.0]), {"axis": 0}, FLOATS, "special")),
                2),
    "iota": Row(tuple(Case(operands(), {"shape": s, "axis": a, "dtype": np.dtype(d)}, ("float32",)) for s, a, d in
                      (((5,), 0, "int64"), ((3, 4), 1, "int32"), ((3, 4), 0, "float32"), ((0, 2), 0, "int64")))),
    "random_bits": Row(tuple(Case(operands(integers((4,), 0, 2**32, "uint32")), {"shape": s}, ("float32",))
                             for s in ((), (1,), (7,), (3, 5), (0, 2), (1000,)))),
    # matrices
    "cholesky": Row(cases(((3, 3), (2, 4, 4), (1, 1), (0, 3, 3)), {}, {}, {}, {}), 2, positive, rtol=1e-3, atol=1e-4),
    "solve":    Row(cases((((3, 3), (3, 2)), ((2, 4, 4), (2, 4, 1)), ((1, 1), (1, 0))), {}, {}, {}), 2, regular,
                    rtol=1e-3, atol=1e-4),
    "slogdet":  Row(cases(((3, 3), (2, 4, 4), (1, 1)), {}, {}, {}), 2, regular, rtol=1e-3, atol=1e-4),
    "qr":   Row(cases(((4, 3), (3, 3), (2, 3, 5)), {}, {}, {}), 2, None, triangle_projections, rtol=1e-3, atol=1e-4),
    "eigh": Row(cases(((3, 3), (2, 4, 4)), {}, {}), 2, symmetric, eigen_projections, rtol=1e-3, atol=1e-3),
    "svd":  Row(cases(((4, 3), (3, 3), (2, 3, 5)), {}, {}, {}), 2, None, singular_projections, rtol=1e-3, atol=1e-3),
}
# fmt: on

LEAVES = ("input", "constant", "output")  # the nodes that no function makes


def apply(name: str, case: Case, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """The results of a case as a tuple of tensors."""
    row, inputs = ROWS[name], [as_tensor(x) for x in arrays]
    inputs = list(row.prepare(*inputs)) if row.prepare is not None else inputs
    result = bind(REGISTRY[name], *inputs, **case.attrs)
    return result if isinstance(result, tuple) else (result,)
