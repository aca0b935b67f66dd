# SPDX-License-Identifier: Apache-2.0
"""NumPy's methods and functions on Tensors and Variables: NumPy's values, gradients that pass, the same in compiled
code."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

import chainrule as cr
from chainrule.arrays import numpy_functions
from chainrule.errors import ArgumentError, BoundsError, ChainruleError, ShapeError, TraceError

DATA = np.float32([[0.3, 0.9, 0.1], [0.55, 0.7, 0.25]])
KINDS = {"tensor": cr.asarray, "variable": cr.Variable}
METHODS = {
    "sum": [{}, {"axis": 0}, {"axis": (0, 1), "keepdims": True}], "prod": [{}, {"axis": 1}],
    "mean": [{}, {"axis": 0}, {"dtype": "float64"}],
    "var": [{}, {"axis": 0, "ddof": 1}], "std": [{}, {"axis": 1, "ddof": 1, "keepdims": True}],
    "max": [{}, {"axis": -1}], "min": [{}, {"axis": 0}],
    "any": [{}, {"axis": 0}], "all": [{}, {"axis": 1}], "argmax": [{}, {"axis": 1}],
    "argmin": [{}, {"axis": 0, "keepdims": True}],
    "cumsum": [{}, {"axis": 0}, {"axis": 1}], "cumprod": [{}, {"axis": 1}], "transpose": [{}], "squeeze": [{}],
    "flatten": [{}], "ravel": [{}],
    "clip": [{"min": 0.2, "max": 0.6}, {"max": 0.5}], "round": [{}, {"decimals": 1}, {"decimals": -1}], "copy": [{}],
    "argsort": [{}, {"axis": 0}],
    "repeat": [{"repeats": 2}, {"repeats": 2, "axis": 1}],
    "take": [{"indices": [1, 0]}, {"indices": [1, 0], "axis": 1}], "tolist": [{}],
    "astype": [{"dtype": "float64"}], "nonzero": [{}], "swapaxes": [{"axis1": 0, "axis2": 1}],
    "reshape": [{"shape": (3, 2)}], "item": [{"args": 4}],
    "dot": [{"b": DATA.T}],
}
POSITIONAL = ("reshape", "item", "dot", "swapaxes")
CALLS = [(name, options) for name, all_options in METHODS.items() for options in all_options]


def ours(name, options):
    given = tuple(options.values()) if name in POSITIONAL else ()
    return lambda x: getattr(x, name)(*given, **({} if given else options))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "options"), CALLS, ids=str)
def test_methods_have_numpys_values(name, options, kind):
    call = ours(name, options)
    np.testing.assert_allclose(call(KINDS[kind](DATA)), call(DATA), rtol=1e-6)


@pytest.mark.parametrize(("name", "options"), [call for call in CALLS if call[0] not in ("item", "tolist", "nonzero")],
                         ids=str)
def test_methods_in_compiled_functions(name, options):
    call = ours(name, options)
    np.testing.assert_allclose(cr.compile(call)(DATA), call(DATA), rtol=1e-6)


def test_every_method_is_tried():
    assert set(METHODS) == set(numpy_functions.METHODS)


def test_numbers_of_arrays_of_one_axis():
    x = cr.Variable([1.0, 2.5])
    assert len(x) == 2 and [float(one) for one in x] == [1.0, 2.5] and 2.5 in x and 3.0 not in x and x.value.nbytes == 8
    flag = cr.Variable(False)
    assert not flag and bool(cr.Variable(True)) and int(cr.Variable(3)) == 3 and [5, 6][cr.Variable(1)] == 6
    assert (x > 2).any() and not (x > 2).all()


def test_items_by_place():
    x = cr.asarray(DATA)
    assert x.item(1, 2) == x.item((1, 2)) == x.item(5) == DATA[1, 2]
    with pytest.raises(BoundsError, match="no such element"):
        x.item(6)
    with pytest.raises(ShapeError, match="exactly one element"):
        x.item()


def test_options_that_do_not_fit():
    x = cr.asarray(DATA)
    with pytest.raises(ArgumentError, match="use 'axis'"):
        x.sum(dim=0)
    with pytest.raises(ArgumentError, match="is called otherwise"):
        x.sum(0, None, None, False, 5)
    with pytest.raises(ArgumentError, match="not written into"):
        x.sum(out=np.zeros(()))
    with pytest.raises(ArgumentError, match=r"x.swapaxes\(0, 1\)"):
        cr.zeros((2, 3, 4)).transpose(0, 1)
    with pytest.raises(ArgumentError, match="row-major"):
        x.reshape(3, 2, order="F")
    with pytest.raises(ArgumentError, match="rounded to tens"):
        cr.asarray([14, 15]).round(-1)


# ---- format, pickle, copies

def test_one_element_is_formatted_like_a_number():
    assert f"{cr.asarray(1.23456):.3f} {cr.asarray([7]):03d} {cr.Variable(0.5):.0%}" == "1.235 007 50%"
    assert f"{cr.asarray([1.0, 2.0])}" == str(cr.asarray([1.0, 2.0])) and format(cr.asarray([1.0, 2.0])) == repr(
        cr.asarray([1.0, 2.0])
    )
    assert round(cr.asarray(1.23456), 2) == np.float32(1.23)
    with pytest.raises(ShapeError, match="exactly one element"):
        f"{cr.asarray([1.0, 2.0]):.2f}"
    with pytest.raises(TraceError, match="format"):
        cr.compile(lambda x: f"{x:.2f}")(1.0)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint64", "bool"])
@pytest.mark.parametrize("shape", [(), (0, 2), (2, 3)])
def test_pickles_hold_the_data(dtype, shape):
    x = cr.ones(shape, dtype=dtype)
    y = pickle.loads(pickle.dumps(x * x if dtype != "bool" else x))
    assert type(y) is cr.Tensor and y.dtype == x.dtype and y.shape == shape and (y == x).all()


def test_pickles_of_variables_keep_what_they_are_and_who_shares_them():
    w = cr.Variable(DATA, name="w", trainable=False)
    a, b = pickle.loads(pickle.dumps([w, w]))
    assert a is b and a.name == "w" and not a.trainable and np.array_equal(a.numpy(), DATA)
    a.assign(DATA + 1)
    assert np.array_equal(w.numpy(), DATA)


def test_a_symbol_has_no_pickle():
    with pytest.raises(TraceError, match="pickle"):
        cr.compile(pickle.dumps)(DATA)


def test_a_copy_has_memory_of_its_own_and_passes_gradients():
    array = DATA.copy()
    x = cr.asarray(array)
    for same in (x.copy(), copy.deepcopy(x), np.copy(x)):
        array[:] = DATA + 1
        assert np.array_equal(same.numpy(), DATA)
        array[:] = DATA
        assert np.array_equal(cr.gradients((same * same).sum(), x), 2 * DATA)
    other = copy.copy(x)
    other[0, 0] = 5.0
    assert x[0, 0] == DATA[0, 0]


def test_an_element_of_a_variable_is_assigned():
    w = cr.Variable(DATA)
    w[0, 1] = 5
    w[1] += 1
    expected = DATA.copy()
    expected[0, 1], expected[1] = 5, expected[1] + 1
    assert np.array_equal(w.numpy(), expected)

    @cr.compile
    def step(x):
        w[1] = x
        return w.sum()
    assert step(np.float32([1, 2, 3])) == expected[0].sum() + 6 and np.array_equal(w.numpy()[1], [1, 2, 3])
    with pytest.raises(BoundsError):
        w[2] = 1


# ---- NumPy's functions

TWO = {name for name in numpy_functions.UFUNCS if getattr(np, name).nin == 2}
INTEGERS = ("bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift", "invert")


@pytest.mark.parametrize("name", sorted(numpy_functions.UFUNCS))
@pytest.mark.parametrize("kind", KINDS)
def test_ufuncs_are_our_functions(name, kind):
    function = getattr(np, name)
    data = np.int64([[1, 2], [3, 1]]) if name in INTEGERS else DATA[:, :2] + (1 if name == "arccosh" else 0)
    x = KINDS[kind](data)
    calls = [(x, data), (data, x), (x, x)] if name in TWO else [(x,)]
    for call in calls:
        y = function(*call)
        assert isinstance(y, cr.Tensor)
        np.testing.assert_allclose(y, function(*(np.asarray(one) for one in call)), rtol=2e-6)


def test_gradients_pass_through_numpys_functions():
    x = cr.Variable(DATA)
    np.testing.assert_allclose(cr.gradients(np.sum(np.exp(x)), x), np.exp(DATA), rtol=1e-6)
    np.testing.assert_allclose(cr.gradients(np.mean(np.concatenate([x, 2 * x])), x), np.full_like(DATA, 3 / 12),
                               rtol=1e-6)
    np.testing.assert_allclose(cr.gradients((DATA * x).sum(), x), DATA)
    np.testing.assert_allclose(cr.gradients(np.where(DATA > 0.5, x, 0).sum(), x), DATA > 0.5)
    np.testing.assert_allclose(cr.grad(lambda v: np.linalg.norm(v))(DATA), DATA / np.linalg.norm(DATA), rtol=1e-6)
    np.testing.assert_allclose(cr.compile(cr.grad(lambda v: np.log(v).sum()))(DATA), 1 / DATA, rtol=1e-6)


FUNCTION_CALLS = {
    "shape": (), "ndim": (), "size": (), "reshape": ((3, 2),), "expand_dims": (1,), "moveaxis": (0, 1),
    "broadcast_to": ((4, 2, 3),), "flip": (0,),
    "roll": (1,), "tile": (2,), "sort": (), "take_along_axis": (np.int64([[0], [1]]), 1), "tensordot": (DATA,),
    "outer": (DATA,), "diff": (),
    "tril": (), "triu": (1,), "zeros_like": (), "ones_like": (), "full_like": (2.0,), "where": (1.0, 2.0),
    "clip": (0.2, 0.5), "repeat": (2,),
    "take": ([0, 1],), "dot": (DATA.T,), "swapaxes": (0, 1), "norm": (),
}


@pytest.mark.parametrize("function", numpy_functions.FUNCTIONS, ids=lambda f: f.__name__)
def test_functions_have_numpys_values(function):
    x, name = cr.asarray(DATA), function.__name__
    if name in ("concatenate", "stack", "vstack", "hstack"):
        np.testing.assert_allclose(function([x, DATA]), function([DATA, DATA]))
    elif name == "einsum":
        np.testing.assert_allclose(function("ij,kj->ik", x, DATA), function("ij,kj->ik", DATA, DATA), rtol=1e-6)
    else:
        more = FUNCTION_CALLS.get(name, ())
        np.testing.assert_allclose(function(x, *more), function(DATA, *more), rtol=1e-6)


@pytest.mark.parametrize("call", [
    lambda x: np.sum(x, axis=1, keepdims=True), lambda x: np.std(x, axis=0, ddof=1), lambda x: np.max(x, axis=(0, 1)),
    lambda x: np.hstack([x[0], x[1]]),
    lambda x: np.linalg.norm(x, axis=1), lambda x: np.linalg.norm(x, 1, axis=(0, 1)),
    lambda x: np.linalg.norm(x, "fro"), lambda x: np.sort(x, axis=None),
    lambda x: np.add.reduce(x), lambda x: np.multiply.accumulate(x, axis=1), lambda x: np.maximum.reduce(x, axis=None),
    lambda x: np.stack([x, x], axis=1),
    lambda x: np.dot(x, 2.0), lambda x: np.dot(x, x[0]), lambda x: np.vstack([x, x[0]]),
    lambda x: np.argsort(x, axis=None),
])
def test_arguments_of_numpys_functions(call):
    y = call(cr.asarray(DATA))
    assert isinstance(y, cr.Tensor)
    np.testing.assert_allclose(y, call(DATA), rtol=1e-6)


def test_functions_without_a_counterpart_see_the_data():
    x = cr.asarray(DATA)
    assert (
        np.allclose(x, DATA)
        and np.array_equal(x, DATA)
        and isinstance(np.fft.fft(x), np.ndarray)
        and isinstance(np.cbrt(x), np.ndarray)
    )
    with pytest.raises(TraceError):
        cr.compile(np.fft.fft)(DATA)
    with pytest.raises(TraceError):
        cr.compile(np.cbrt)(DATA)


def test_written_over_an_array_and_still_differentiable():
    x, total = cr.Variable(DATA), DATA.copy()
    first = total
    total *= x
    assert isinstance(total, cr.Tensor) and np.array_equal(first, DATA * DATA)
    assert np.array_equal(cr.gradients(total.sum(), x), DATA)

    def writes(x):
        total = np.zeros((2, 3), "float32")
        total += x
        return total
    with pytest.raises(TraceError, match="a = a \\+ x"):
        cr.compile(writes)(DATA)


def test_options_of_numpy_that_would_lose_gradients_are_refused():
    x = cr.asarray(DATA)
    for call in (lambda: np.exp(x, where=DATA > 1), lambda: np.exp(x, dtype="float64"),
                 lambda: np.concatenate([x, x], dtype="float64"), lambda: np.add(DATA, 1, out=x)):
        with pytest.raises(ChainruleError):
            call()


def test_methods_of_other_libraries_say_what_to_write():
    for name in ("view", "permute", "unsqueeze", "clone", "detach", "to", "backward", "clamp", "numel"):
        with pytest.raises(AttributeError, match="fix"):
            getattr(cr.asarray(DATA), name)
    assert math.floor(cr.asarray(2.5)) == 2
