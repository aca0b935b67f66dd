# SPDX-License-Identifier: Apache-2.0
"""Arguments that do not fit are refused with our own errors, by every public function of arrays: no raw exception of
Python or
NumPy, nothing computed that was not asked for. One row per function: a call that is right, of which one argument at a
time is made wrong.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import arrays, integration, linalg, random, signal
from chainrule.nn import activations

A, V = np.arange(6, dtype="float32").reshape(2, 3) + 1, np.array([1.0, 2.0, 3.0])
I, M = np.arange(6).reshape(2, 3), np.array([[4.0, 1.0], [1.0, 3.0]])
G = random.Generator(0)

ONE = """
    abs acos acosh all any argmax argmin argsort asarray asin asinh atan atanh ceil conj cos cosh count_nonzero
    diff elu empty_like erf exp expand_dims expm1 flip floor gelu hard_sigmoid hard_tanh imag isfinite isinf
    isnan leaky_relu log log10 log1p log2 log_sigmoid log_softmax logical_not logsumexp matrix_transpose max
    mean min mish negative nonzero ones_like positive prod real reciprocal relu round selu sigmoid sign signbit
    silu sin sinh softmax softplus softsign sort sqrt square std stop_gradient sum tan tanh tril triu trunc
    unique_all unique_counts unique_inverse unique_values unstack var zeros_like
""".split()
TWO = """
    add atan2 broadcast_arrays copysign divide equal floor_divide greater greater_equal hypot less less_equal
    logaddexp logical_and logical_or logical_xor maximum minimum multiply nextafter not_equal pow remainder
    subtract vecdot
""".split()
BITS = "bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor".split()
MATRIX = """
    cholesky cond det diagonal eig eigh eigvals eigvalsh inv matrix_norm matrix_rank matrix_transpose pinv qr
    slogdet svd svdvals trace vector_norm
""".split()

Row = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
ROWS: dict[str, Row] = {
    **{name: (getattr(arrays, name), (A,), {}) for name in ONE},
    **{name: (getattr(arrays, name), (A, A[::-1]), {}) for name in TWO},
    **{name: (getattr(arrays, name), (I, I), {}) for name in BITS},
    **{name: (getattr(linalg, name), (M,), {}) for name in MATRIX},
    "bitwise_invert": (arrays.bitwise_invert, (I,), {}), "cumulative_sum": (arrays.cumulative_sum, (A,), {"axis": 1}),
    "cumulative_prod": (arrays.cumulative_prod, (A,), {"axis": 1}), "clip": (arrays.clip, (A, 0.0, 1.0), {}),
    "where": (arrays.where, (A > 2, A, A), {}),
    "astype": (arrays.astype, (A, "int32"), {}), "matmul": (arrays.matmul, (A, A.T), {}),
    "tensordot": (arrays.tensordot, (A, A.T), {"axes": 1}),
    "concat": (arrays.concat, ([A, A],), {}), "stack": (arrays.stack, ([A, A],), {}),
    "broadcast_to": (arrays.broadcast_to, (V, (2, 3)), {}),
    "moveaxis": (arrays.moveaxis, (A, 0, 1), {}), "permute_dims": (arrays.permute_dims, (A, (1, 0)), {}),
    "reshape": (arrays.reshape, (A, (3, 2)), {}),
    "repeat": (arrays.repeat, (A, 2), {}), "roll": (arrays.roll, (A, 1), {}),
    "squeeze": (arrays.squeeze, (A[None], 0), {}),
    "tile": (arrays.tile, (A, (2, 1)), {}), "pad": (arrays.pad, (A, [(1, 1), (0, 2)]), {}),
    "take": (arrays.take, (V, I[0]), {}),
    "take_along_axis": (arrays.take_along_axis, (A, I % 3), {}), "searchsorted": (arrays.searchsorted, (V, V), {}),
    "one_hot": (arrays.one_hot, (I, 7), {}), "arange": (arrays.arange, (0, 5, 1), {}), "eye": (arrays.eye, (2, 3), {}),
    "empty": (arrays.empty, ((2, 3),), {}), "full": (arrays.full, ((2, 3), 1.0), {}),
    "full_like": (arrays.full_like, (A, 2.0), {}),
    "linspace": (arrays.linspace, (0.0, 1.0, 5), {}), "ones": (arrays.ones, ((2, 3),), {}),
    "zeros": (arrays.zeros, ((2, 3),), {}),
    "from_dlpack": (arrays.from_dlpack, (A,), {}), "meshgrid": (arrays.meshgrid, (V, V), {}),
    "can_cast": (arrays.can_cast, (A, "float64"), {}),
    "finfo": (arrays.finfo, ("float32",), {}), "iinfo": (arrays.iinfo, ("int8",), {}),
    "isdtype": (arrays.isdtype, (A.dtype, "integral"), {}),
    "result_type": (arrays.result_type, (A, V), {}),
    "cross": (linalg.cross, (A, A), {}), "outer": (linalg.outer, (V, V), {}), "lstsq": (linalg.lstsq, (M, M[0]), {}),
    "solve": (linalg.solve, (M, M[0]), {}), "matrix_power": (linalg.matrix_power, (M, 3), {}),
    "convolve": (signal.convolve, (V, V), {}), "correlate": (signal.correlate, (V, V), {}),
    "einsum": (cr.einsum, ("ij,kj->ik", A, A), {}),
    "trapezoid": (integration.trapezoid, (A,), {}), "simpson": (integration.simpson, (A,), {}),
    **{name: (function, (M if name.endswith("glu") else A,), {}) for name, function in activations.FUNCTIONS.items()
       if name not in ONE and name != "linear"},
    "random uniform": (G.uniform, ((2,), 0.0, 1.0), {}), "random normal": (G.normal, ((2,), 0.0, 1.0), {}),
    "randint": (G.randint, (0, 5, (2,)), {}),
    "bernoulli": (G.bernoulli, (0.5, (2,)), {}), "random exponential": (G.exponential, ((2,), 1.0), {}),
    "categorical": (G.categorical, (A,), {}),
    "permutation": (G.permutation, (A,), {}), "bits": (G.bits, ((2,),), {}),
}

NO_AXES = [5, -7, 1.5, "x", True, [1.0], (0, 9)]
SWITCH, NUMBER, WHOLE = ["yes", 2, None], ["x", {}], [1.5, "x"]
WRONG: dict[str, list[Any]] = {
    "axis": NO_AXES, "axes": [9, "x", 1.5, ((5,), (0,)), ((0,),)], "shape": [(-3, 2), "x", 1.5, (2, "a"), (2.5,)],
    "dtype": ["flot32", "complex64", object, "U3"],
    "device": ["gpu"], "copy": ["x"], "k": WHOLE, "n": WHOLE, "offset": WHOLE, "shift": [*WHOLE, (1, 2, 3)],
    "repeats": [-1, 1.5, "x", [1, 2, 3, 4, 5, 6, 7]],
    "repetitions": [(-1,), "x", (1.5,), 3.5], "classes": [-1, 0.5, "x"], "n_rows": [-2, *WHOLE], "n_cols": [-2, *WHOLE],
    "num": [-2, *WHOLE],
    "widths": [[(1, 1)], [(-1, 0), (0, 0)], "x", 3, [(1, 2, 3), (1, 1)], [(1.5, 0), (0, 0)]], "mode": ["nope", 3],
    "side": ["middle", 1], "method": ["x"],
    "approximate": ["tahn", 1], "ord": ["nope", [1]], "kind": ["nope"], "source": [7, "x", (0, 0)],
    "destination": [7, "x"], "step": [0, "x"],
    "sorter": ["x", [9, 9, 9]], "p": ["x", 2.0, -1.0], "fill_value": ["x"], "correction": ["x"],
    **dict.fromkeys(("keepdims", "descending", "stable", "full_matrices", "upper", "include_initial", "endpoint"),
                    SWITCH),
    **dict.fromkeys(("start", "stop", "rtol", "negative_slope", "alpha", "min", "max", "low", "high", "mean", "std",
                     "scale", "value", "dx"), NUMBER),
}
NO_ARRAYS = ["abc", b"abc", None, object(), {"a": 1}, {1, 2}, 1j, np.array(["a"]), np.array([object()], object),
             np.ones(2, "complex64"),
             np.array(["2020-01-01"], "datetime64[D]"), np.ones(2, [("a", "f4")]), [[1, 2], [3]], [1.0, None], len,
             np.ma.masked_array([1.0, 2.0], [0, 1])]
FITS = {("can_cast", "from_"), ("diff", "n"), ("meshgrid", "indexing"), ("arange", "stop")}


def wrong_calls(name: str) -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    function, args, options = ROWS[name]
    for i, (parameter, kind) in enumerate(inspect.signature(function).parameters.items()):
        given = i < len(args) and kind.kind is not kind.VAR_POSITIONAL
        for value in () if kind.kind is kind.VAR_POSITIONAL or (name, parameter) in FITS else WRONG.get(parameter, ()):
            if given:
                yield f"{parameter}={value!r}", (*args[:i], value, *args[i + 1:]), options
            elif kind.kind is not kind.POSITIONAL_ONLY:
                yield f"{parameter}={value!r}", args, {**options, parameter: value}
        for value in NO_ARRAYS if given and isinstance(args[i], np.ndarray) and (name, parameter) not in FITS else ():
            yield f"{parameter} is {value!r}", (*args[:i], value, *args[i + 1:]), options
    yield "dim=0", args, {**options, "dim": 0}


@pytest.mark.parametrize("name", ROWS)
def test_every_wrong_argument_is_refused(name: str) -> None:
    function, args, options = ROWS[name]
    function(*args, **options)
    bad = []
    for what, wrong, wrong_options in wrong_calls(name):
        try:
            function(*wrong, **wrong_options)
            bad.append(f"{what}: computes")
        except (cr.errors.ChainruleError, np.linalg.LinAlgError):
            pass
        except Exception as error:
            bad.append(f"{what}: {type(error).__name__}: {error}")
    assert not bad


def test_every_public_function_has_a_row() -> None:
    public = {name for module in (arrays, linalg) for name in module.__all__
              if inspect.isfunction(getattr(module, name))}
    assert public | set(activations.FUNCTIONS) <= set(ROWS) | {"linear", "__array_namespace_info__"}


CASES: dict[str, Callable[[Any], Any]] = {
    "ranks of take_along_axis": lambda x: cr.take_along_axis(x, cr.asarray([0, 1]), axis=0),
    "axis of cumulative_sum": lambda x: cr.cumulative_sum(x),
    "axis of cumulative_prod": lambda x: cr.cumulative_prod(x), "nothing to join": lambda x: cr.concat([]),
    "nothing to stack": lambda x: cr.stack([]),
    "axis of cross": lambda x: linalg.cross(x, x, axis=5),
    "integer to a negative power": lambda x: cr.astype(x, "int64") ** -1,
    "a shift that is no integer": lambda x: cr.roll(x, 1.5), "negative extent": lambda x: cr.zeros((-1, 2)) + x,
    "negative eye": lambda x: cr.eye(-2) + x,
    "negative shrinkage": lambda x: activations.soft_shrink(x, -0.5),
    "two open extents": lambda x: cr.reshape(x, (-1, -1)),
    "an extent beside 0": lambda x: cr.reshape(x[:0], (0, -1)),
    "too many axes summed": lambda x: cr.tensordot(x, x, axes=3),
    "shapes": lambda x: x + x[:, :2], "inner extents": lambda x: x @ x, "index": lambda x: x[5],
    "two ellipses": lambda x: x[..., ...],
    "index of text": lambda x: x["a"], "more indices": lambda x: x[0, 0, 0], "step 0": lambda x: x[::0],
    "index of float": lambda x: x[1.5], "slice of floats": lambda x: x[0.5:],
}


@pytest.mark.parametrize("backend", ["eager", "native", "xla"])
@pytest.mark.parametrize("name", CASES)
def test_compiled_functions_refuse_the_same(name: str, backend: str) -> None:
    if backend == "xla":
        pytest.importorskip("jax")
    function = CASES[name] if backend == "eager" else cr.compile(CASES[name], backend=backend)
    with pytest.raises(cr.errors.ChainruleError):
        function(cr.asarray(A))


def test_a_message_shows_the_call() -> None:
    with pytest.raises(cr.errors.ArgumentError, match=r"sum\(float32\[2, 3\], dim=0\)[\s\S]*use 'axis'"):
        cr.sum(A, dim=0)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="keepdims='yes'"):
        cr.sum(A, keepdims="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize("enter", [cr.asarray, cr.sum, cr.Variable, lambda x: cr.compile(cr.sum)(x),
                                   lambda x: cr.asarray([x, x]), cr.Tensor.__add__])
def test_masked_elements_do_not_count_unseen(enter: Any) -> None:
    masked = np.ma.masked_array([1.0, 2.0, 999.0], [False, False, True])
    enter = (lambda x: cr.ones(3) + x) if enter is cr.Tensor.__add__ else enter
    with pytest.raises(cr.errors.ArgumentError, match="1 of 3 masked"):
        enter(masked)
    np.testing.assert_array_equal(cr.asarray(np.ma.masked_array([1.0, 2.0], [False, False])), [1.0, 2.0])
