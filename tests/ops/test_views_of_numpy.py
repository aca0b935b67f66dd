# SPDX-License-Identifier: Apache-2.0
"""Arrays of any dtype, shape and strides (negative, zero, none) come in as NumPy has them, and elementwise operations,
movements and
sums of them are NumPy's: exactly for integers, to 1e-12 for float64 and 1e-6 for float32; eagerly and compiled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import chainrule as cr
from chainrule.testing import available

LIMITED = settings(max_examples=200, deadline=None, derandomize=True)
DTYPES = ["float64", "float32", "int64", "int32", "int8", "uint8", "bool"]
BACKENDS = [name for name in ("reference", "native", "xla") if available(name)]


@st.composite
def views(draw: st.DrawFn) -> np.ndarray:
    """A view of an array: transposed, with steps of either sign, with an axis of stride 0 or of extent 0."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    x = (np.random.default_rng(draw(st.integers(0, 99))).normal(size=shape) * 9)
    x = (x > 0) if dtype.kind == "b" else (np.abs(x) if dtype.kind == "u" else x).astype(dtype)
    x = x.transpose(draw(st.permutations(range(x.ndim))))
    x = x[tuple(slice(None, None, draw(st.sampled_from([1, -1, 2, -2]))) for _ in range(x.ndim))]
    return np.broadcast_to(x, (draw(st.integers(0, 3)), *x.shape)) if draw(st.booleans()) else np.asarray(x)


def operations(m, x):
    """The same program in NumPy's and our words."""
    turned = m.permute_dims(x, tuple(range(x.ndim))[::-1])
    found = [x, turned, m.reshape(turned, (-1,)) if 0 not in x.shape else turned, m.flip(x),
             m.concat([m.reshape(x, (x.size,))] * 2)]
    if x.dtype == np.bool_:
        return [*found, m.logical_not(x), m.logical_and(x, x), m.any(x), m.all(x)]
    found += [x + x, x - x, x * x, m.where(x > 1, x, x * 0), m.maximum(x, x * 0), m.abs(x), x == x, x < 3]
    if x.ndim:
        found += [x[::-1], x[..., ::2], m.sum(x, axis=0), m.sum(x, axis=-1, keepdims=True), m.expand_dims(x, axis=0)]
        if 0 not in x.shape:
            found += [m.max(x, axis=-1), m.argmin(x, axis=0), x[0], x[..., -1],
                      m.take(x, m.asarray([0, -1 % x.shape[0], 0]), axis=0)]
    return found


def compare(found: list[object], wanted: list[object]) -> None:
    for value, expected in zip(found, wanted, strict=True):
        value, expected = np.asarray(value), np.asarray(expected)
        assert (value.shape, value.dtype) == (expected.shape, expected.dtype)
        if expected.dtype.kind == "f":
            rtol = 1e-12 if expected.dtype == np.float64 else 1e-6
            np.testing.assert_allclose(value, expected, rtol=rtol, atol=50 * rtol)
        else:
            np.testing.assert_array_equal(value, expected)


@LIMITED
@given(views())
def test_eagerly(x: np.ndarray) -> None:
    compare(operations(cr, cr.asarray(x)), operations(np, x))


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(views())
def test_compiled(backend: str, x: np.ndarray) -> None:
    compare(cr.compile(lambda x: operations(cr, x), backend=backend)(x), operations(np, x))


@LIMITED
@given(views())
def test_from_dlpack(x: np.ndarray) -> None:
    """Through DLPack too, as other libraries hand over what they have."""
    if x.size and all(x.strides) and x.flags.writeable:
        np.testing.assert_array_equal(cr.from_dlpack(x), x)


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i2", ">u8"])
def test_numbers_in_the_other_byte_order(dtype: str) -> None:
    x = np.arange(6, dtype=dtype).reshape(2, 3)
    native = x.astype(x.dtype.newbyteorder("="))
    for found in (cr.asarray(x), cr.astype(native, x.dtype),
                  *(cr.compile(lambda t: t * 1, backend=backend)(x) for backend in BACKENDS)):
        assert found.numpy().dtype == native.dtype
        np.testing.assert_array_equal(found, native)
