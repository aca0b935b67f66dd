# SPDX-License-Identifier: Apache-2.0
"""Broadcasting and indexing do what NumPy does, for any shapes and keys. Oracle: NumPy itself, errors included."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import chainrule as cr
from chainrule.errors import ArgumentError, BoundsError, ShapeError
from chainrule.ops.movement import window
from chainrule.testing import check_gradient

SHAPES = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
LIMITED = settings(max_examples=150, deadline=None, derandomize=True)


def numbers(shape: tuple[int, ...], start: float = 1.0) -> np.ndarray:
    return (np.arange(np.prod(shape, dtype=int)) + start).reshape(shape)


# ---- broadcasting

def test_every_pair_of_shapes_to_rank_4() -> None:
    extents = [(), (0, 1, 2, 3), (0, 1, 2, 3), (1, 2, 3), (1, 2)]
    shapes = [shape for rank in range(5) for shape in itertools.product(extents[rank], repeat=rank)]
    for a, b in itertools.product(shapes, shapes):
        x, y = numbers(a), numbers(b, 2.0)
        try:
            wanted = x - y
        except ValueError:
            with pytest.raises(ShapeError, match="do not broadcast"):
                cr.asarray(x) - cr.asarray(y)
            continue
        np.testing.assert_array_equal(cr.asarray(x) - cr.asarray(y), wanted)


def test_products_of_every_pair_of_shapes_to_rank_4_have_their_gradients() -> None:
    """To order two: of sum w x y that is sum w y where x was repeated, and sum w where both were."""
    shapes = [shape for rank in range(5) for shape in itertools.product((1, 2), repeat=rank)]
    count = 0
    for a, b in itertools.product(shapes, shapes):
        try:
            whole = np.broadcast_shapes(a, b)
        except ValueError:
            continue
        x, y, w = numbers(a), numbers(b, 2.0), numbers(whole, 3.0)
        gx, gy = cr.grad(lambda x, y, w=w: cr.sum(x * y * w), (0, 1))(x, y)
        np.testing.assert_array_equal(gx, summed_to(np.broadcast_to(y, whole) * w, a))
        np.testing.assert_array_equal(gy, summed_to(np.broadcast_to(x, whole) * w, b))
        mixed = cr.grad(lambda y, x=x, w=w: cr.sum(cr.grad(lambda x: cr.sum(x * y * w))(cr.asarray(x))))(y)
        np.testing.assert_array_equal(mixed, summed_to(w, b))
        count += 1
    assert count > 300


def summed_to(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The sum over the axes along which `shape` was repeated."""
    lead = x.ndim - len(shape)
    axes = (*range(lead), *(i + lead for i, n in enumerate(shape) if n == 1))
    return x.sum(axis=axes, keepdims=True).reshape(shape)


@LIMITED
@given(npst.mutually_broadcastable_shapes(num_shapes=3, max_dims=4, min_side=0, max_side=3))
def test_the_gradient_of_broadcasting_is_the_sum(shapes: npst.BroadcastableShapes) -> None:
    arrays = [numbers(shape) for shape in shapes.input_shapes]
    found = cr.grad(lambda x, y, z: cr.sum(x * y + z), (0, 1, 2))(*arrays)
    x, y, z = (np.broadcast_to(a, shapes.result_shape) for a in arrays)
    for g, wanted, array in zip(found, (y, x, np.ones_like(z)), arrays, strict=True):
        np.testing.assert_allclose(g, summed_to(wanted, array.shape), rtol=1e-12)


# ---- indexing

@st.composite
def arrays_and_keys(draw: st.DrawFn) -> tuple[np.ndarray, object]:
    shape = draw(npst.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4))
    key = draw(npst.basic_indices(shape, allow_ellipsis=True, allow_newaxis=True, max_dims=6))
    return numbers(shape), key


@LIMITED
@given(arrays_and_keys())
def test_slices_integers_and_new_axes(case: tuple[np.ndarray, object]) -> None:
    x, key = case
    found = cr.asarray(x)[key]
    np.testing.assert_array_equal(found, x[key])
    assert found.shape == np.shape(x[key])
    weights = np.zeros_like(x)
    weights[key] = 3.0
    np.testing.assert_array_equal(cr.grad(lambda t: cr.sum(t[key] * 3.0))(x), weights)


@st.composite
def mixed_keys(draw: st.DrawFn) -> tuple[np.ndarray, tuple[object, ...]]:
    """Slices, integers, integer arrays that broadcast together, new axes and `...`, in any order."""
    shape = draw(npst.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4))
    count = draw(st.integers(1, len(shape)))
    kinds = [draw(st.sampled_from(("array", "slice", "integer"))) for _ in range(count)]
    sides = draw(npst.mutually_broadcastable_shapes(num_shapes=count, max_dims=2, min_side=1, max_side=3)).input_shapes
    key: list[object] = []
    for n, kind, side in zip(shape, kinds, sides, strict=False):
        place = st.integers(-n, n - 1)
        key.append(draw({"array": npst.arrays(np.int64, side, elements=place), "slice": st.slices(n),
                         "integer": place}[kind]))
    if draw(st.booleans()):
        key.insert(draw(st.integers(0 if count == len(shape) else count, count)), ...)
    if draw(st.booleans()):
        key.insert(draw(st.integers(0, len(key))), None)
    return numbers(shape), tuple(key)


@LIMITED
@given(mixed_keys())
def test_integer_arrays_among_slices(case: tuple[np.ndarray, tuple[object, ...]]) -> None:
    x, key = case
    wanted = x[key]
    found = cr.asarray(x)[key]
    assert found.shape == wanted.shape
    np.testing.assert_array_equal(found, wanted)
    weights = np.zeros_like(x)
    np.add.at(weights, key, 2.0)
    np.testing.assert_array_equal(cr.grad(lambda t: cr.sum(t[key] * 2.0))(x), weights)


@LIMITED
@given(mixed_keys())
def test_assignment_among_slices(case: tuple[np.ndarray, tuple[object, ...]]) -> None:
    x, key = case
    ours, theirs = cr.asarray(x.copy()), x.copy()
    before = ours + 0.0
    ours[key] = -1.0
    theirs[key] = -1.0
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(before, x)


@LIMITED
@given(st.data())
def test_boolean_masks(data: st.DataObject) -> None:
    shape = data.draw(npst.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
    rank = data.draw(st.integers(1, len(shape)))
    mask = data.draw(npst.arrays(bool, shape[:rank]))
    x = numbers(shape)
    np.testing.assert_array_equal(cr.asarray(x)[mask], x[mask])
    ours, theirs = cr.asarray(x.copy()), x.copy()
    ours[mask], theirs[mask] = 0.0, 0.0
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("key", [3, -4, (0, 5), (slice(None), -6), np.array([0, 3]),
                                 (np.array([0, 3]), np.array([0, 0])),
                                 (np.array([0]), np.array([5])), (np.array([-4]), np.array([1])), (0, 0, 0),
                                 np.array([True, False])])
def test_indices_out_of_bounds_are_refused(key: object) -> None:
    x = numbers((3, 5))
    with pytest.raises(IndexError):
        x[key]
    with pytest.raises(BoundsError):
        cr.asarray(x)[key]


@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 2), (3, 8), (3, 16, 4)])
def test_an_index_far_out_does_not_come_back_by_overflow(shape: tuple[int, ...]) -> None:
    """A mark of -2^62 times an extent of 4 is 0 in 64 bits."""
    with pytest.raises(BoundsError):
        cr.asarray(numbers(shape))[tuple(np.array([5 if axis == 0 else 0]) for axis in range(len(shape)))]


# ---- movement and positions

@LIMITED
@given(st.data())
def test_take_along_axis(data: st.DataObject) -> None:
    shape = data.draw(npst.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    picked = list(shape)
    picked[axis] = data.draw(st.integers(0, 4))
    indices = data.draw(npst.arrays(np.int64, tuple(picked), elements=st.integers(-shape[axis], shape[axis] - 1)))
    x = numbers(shape)
    np.testing.assert_array_equal(cr.take_along_axis(x, indices, axis=axis), np.take_along_axis(x, indices, axis=axis))


@LIMITED
@given(npst.arrays(np.float64, SHAPES, elements=st.sampled_from([0.0, -0.0, 1.0, -2.0, np.inf, -np.inf, np.nan])),
       st.data())
def test_sorting(x: np.ndarray, data: st.DataObject) -> None:
    if not x.ndim:
        return
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    np.testing.assert_array_equal(cr.sort(x, axis=axis), np.sort(x, axis=axis, stable=True))
    np.testing.assert_array_equal(cr.argsort(x, axis=axis), np.argsort(x, axis=axis, stable=True))
    down = cr.argsort(x, axis=axis, descending=True).numpy()
    values = np.take_along_axis(x, down, axis)
    np.testing.assert_array_equal(values, np.flip(np.sort(x, axis=axis), axis))
    equal = np.diff(np.nan_to_num(values, posinf=9, neginf=-9, nan=99), axis=axis) == 0
    assert np.all(np.diff(down, axis=axis)[equal] > 0)  # equal elements keep their order


def test_gradients_of_indexing() -> None:
    x = np.random.default_rng(0).standard_normal((4, 5))
    rows, columns = np.array([0, 3, 3]), np.array([[1], [1]])
    check_gradient(lambda t: t[rows, columns] ** 3, x)
    check_gradient(lambda t: t[::-2, 1:4] ** 3, x)
    check_gradient(lambda t: cr.take_along_axis(t, np.argsort(x, axis=1)[:, :2], axis=1) ** 2, x)
    check_gradient(lambda t: cr.sort(t, axis=0, descending=True)[:2] ** 2, x)


@pytest.mark.parametrize("shape", [(4,), (3, 5), (2, 1, 4)])
@pytest.mark.parametrize("mode, numpys", [("constant", "constant"), ("reflect", "reflect"), ("symmetric", "symmetric"),
                                          ("edge", "edge"),
                                          ("circular", "wrap"), ("wrap", "wrap")])
def test_pad(mode, numpys, shape):
    """Also further than the axis is long, with gradients to second order, and compiled."""
    x, widths = np.random.default_rng(0).standard_normal(shape), [(2, 7), (0, 3), (1, 0)][:len(shape)]
    expected = np.pad(x, widths, mode=numpys)
    np.testing.assert_array_equal(cr.pad(x, widths, mode=mode).numpy(), expected)
    np.testing.assert_array_equal(cr.compile(lambda x: cr.pad(x, widths, mode=mode))(x).numpy(), expected)
    np.testing.assert_array_equal(cr.pad(np.arange(3), [(1, 1)], mode=mode).numpy(),
                                  np.pad(np.arange(3), 1, mode=numpys))
    check_gradient(lambda x: cr.pad(x, widths, mode=mode), x)


def test_pad_says_what_it_cannot():
    with pytest.raises(ArgumentError, match="use 'edge'"):
        cr.pad(np.ones(3), [(1, 1)], mode="replicate")
    with pytest.raises(ShapeError, match="cannot be continued"):
        cr.pad(np.ones(0), [(1, 1)], mode="edge")
    with pytest.raises(ShapeError, match="one pair"):
        cr.pad(np.ones((3, 3)), [(1, 1)], mode="edge")


@pytest.mark.parametrize("axes", [(4, 5), (4,), (1, 2), (0,), (3,)])
@pytest.mark.parametrize("name", ["max", "min"])
def test_extremes_of_windows(name: str, axes: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(-4, 5, (2, 7, 9, 3)).astype("float32")
    x[0, 2, 3, 1] = np.nan
    views = np.lib.stride_tricks.sliding_window_view(x, (3, 2), axis=(1, 2))[:, ::2, ::2]
    mine = window(cr.asarray(x), (1, 2), (3, 2), (2, 2))
    np.testing.assert_array_equal(getattr(cr, name)(mine, axis=axes), getattr(np, name)(views, axis=axes))
    truth = {"max": cr.any, "min": cr.all}[name]
    np.testing.assert_array_equal(truth(mine > 0, axis=axes), getattr(np, name)(views > 0, axis=axes))
