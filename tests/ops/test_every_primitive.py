# SPDX-License-Identifier: Apache-2.0
"""Each primitive against its own record: the type rule, derivatives by finite differences, and every backend.

Oracle: the NumPy meaning (checked by its gradients and in test_meanings.py). All cases of a row go into one program per
backend, so that it is compiled once.
"""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from tables.ops import LEAVES, ROWS, Case, apply

import chainrule as cr
from chainrule.compiler.compile import optimise
from chainrule.ir import REGISTRY, Type
from chainrule.testing import available, check_gradient
from chainrule.testing.backends import assert_same
from chainrule.trace import capture, read_call

NAMES = sorted(ROWS)
WITHOUT_MACHINE_CODE = {"argsort", "cholesky", "eigh", "qr", "scan", "scatter", "slogdet", "solve", "sort", "svd"}
Use = tuple[Case, np.dtype, tuple[np.ndarray, ...]]


def uses(name: str) -> list[Use]:
    """Every case of the row in every dtype, with operands."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    pairs = [(case, np.dtype(dtype)) for case in ROWS[name].cases for dtype in case.dtypes]
    return [(case, dtype, case.draw(rng, dtype)) for case, dtype in pairs]


def differentiable() -> list[str]:
    return [name for name in NAMES if ROWS[name].gradient]


def test_the_table_is_complete() -> None:
    assert set(ROWS) | set(LEAVES) == set(REGISTRY)


def test_a_derivative_is_declared_and_tested() -> None:
    without = {name for name in NAMES if REGISTRY[name].vjp is None}
    assert without & set(differentiable()) == set()
    untested = set(NAMES) - without - set(differentiable())
    assert untested == {"custom_gradient"}, "its rule is the user's: see test_laws.py"


def test_every_primitive_has_a_lowering_to_xla() -> None:
    if not available("xla"):
        pytest.skip("needs jax")
    from chainrule.xla import LOWERINGS
    assert set(LOWERINGS) == set(REGISTRY) - set(LEAVES)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT_MACHINE_CODE])
def test_every_other_primitive_has_machine_code(name: str) -> None:
    """In the first case with elements, no step runs by its NumPy meaning."""
    if not available("native"):
        pytest.skip("needs llvmlite")
    from chainrule.native.plan.steps import HostStep
    case, _, arrays = next(use for use in uses(name) if all(x.size for x in use[2]))
    entry = cr.compile(lambda *tensors: apply(name, case, tensors), backend="native").lower(*arrays)
    assert [step.node.op.name for step in entry.program.plan.steps if isinstance(step, HostStep)] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_type_rule_is_what_the_meaning_returns(name: str) -> None:
    record = REGISTRY[name]
    for case, dtype, arrays in uses(name):
        inputs = [y.numpy() for y in ROWS[name].prepare(*map(cr.asarray, arrays))] if ROWS[name].prepare else arrays
        inferred = record.infer(*(Type(x.shape, x.dtype) for x in inputs), **case.attrs)
        with np.errstate(all="ignore"):
            found = record.meaning(*inputs, **case.attrs)
        if not isinstance(inferred, tuple):
            inferred, found = (inferred,), (found,)
        got = tuple(Type(np.shape(y), np.asarray(y).dtype) for y in found)
        assert got == inferred, f"{name} {case.label} {dtype} {case.attrs}"


@pytest.mark.parametrize("name", differentiable())
def test_derivatives_agree_with_finite_differences(name: str) -> None:
    row = ROWS[name]
    for case, dtype, arrays in uses(name):
        if dtype != np.float64 or case.label == "special" or not any(x.size for x in arrays):
            continue
        if case.attrs.get("dtype", np.dtype("float64")) != np.float64:  # a cast to float32 is no smooth function
            continue

        def function(*tensors: cr.Tensor, case: Case = case) -> tuple[cr.Tensor, ...]:
            return apply(name, case, tensors)
        try:
            check_gradient(function, *arrays, order=row.gradient, rtol=1e-5, atol=1e-6)
        except AssertionError as error:
            raise AssertionError(f"{name} {[x.shape for x in arrays]} {case.attrs}: {error}") from None


@pytest.mark.parametrize("backend", ["reference", "native", "xla"])
@pytest.mark.parametrize("name", NAMES)
def test_a_compiled_program_gives_what_numpy_gives(name: str, backend: str) -> None:
    if not available(backend):
        pytest.skip(f"the {backend} backend is not available here")
    row, drawn = ROWS[name], uses(name)
    everything = [x for _, _, arrays in drawn for x in arrays]

    def program(*tensors: cr.Tensor) -> list[tuple[cr.Tensor, ...]]:
        rest = iter(tensors)
        return [apply(name, case, tuple(next(rest) for _ in arrays)) for case, _, arrays in drawn]

    compiled = cr.compile(program, backend=backend)(*everything)
    for (case, dtype, arrays), found in zip(drawn, compiled, strict=True):
        expected = [y.numpy() for y in apply(name, case, arrays)]
        values = [y.numpy() for y in found]
        what = f"{name} {case.label} {dtype} {[x.shape for x in arrays]} {case.attrs}"
        assert [(y.shape, y.dtype) for y in values] == [(y.shape, y.dtype) for y in expected], what
        if row.canonical is not None:
            expected, values = row.canonical(*expected), row.canonical(*values)
        scale = 1e-4 if dtype == np.float64 else 1.0
        for value, wanted in zip(values, expected, strict=True):
            assert_same(value, wanted, what, row.rtol * scale, row.atol * scale)


@pytest.mark.parametrize("name", [name for name in differentiable() if not ROWS[name].canonical])
def test_passes_keep_the_gradient(name: str) -> None:
    """The gradient program, optimised, has the bits of the one that was traced."""
    from chainrule.ir.graph import interpret
    for case, dtype, arrays in uses(name)[:4]:
        floats = tuple(i for i, x in enumerate(arrays) if x.dtype.kind == "f")
        if dtype.kind != "f" or not floats:
            continue

        def loss(*tensors: cr.Tensor, case: Case = case) -> cr.Tensor:
            return sum((cr.sum(cr.astype(y * y, "float64")) for y in apply(name, case, tensors) if y.dtype.kind == "f"),
                       cr.asarray(0.0, dtype="float64"))
        graph = capture(cr.grad(loss, floats), read_call(arrays, {})).graph
        before, after = interpret(graph, arrays), interpret(optimise(graph), arrays)
        for a, b in zip(before, after, strict=True):
            np.testing.assert_array_equal(a, b)
